"""The market behind HTTP, as the Graph API would serve it: same paths, shapes, strings, headers and errors.

What belongs here: everything that imitates the platform's protocol, its limits and its failures. What does not: the numbers
(`sandbox.market`), how the server is started (`sandbox.process`), and how it is steered (`sandbox.control`).
"""
