"""Where knowledge lives: files, tables, artifacts, and who may read them. What does not belong here: what any of it means."""
