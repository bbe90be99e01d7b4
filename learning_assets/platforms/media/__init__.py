"""Media of ads: files are fetched from the platform's own hosts or opened from a folder, decoded in processes of their own, and measured.

`fetch` gets one file by its address, `decode` is the process that opens files, `overlays` looks for faces and written text, `reading` puts
these together for many files. What is measured is the science's business (`learning.sight`, `learning.hearing`, `learning.footage`).
"""
