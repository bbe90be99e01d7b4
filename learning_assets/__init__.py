"""A Dagster code location that learns from what every ad achieved. The rooms are its packages; `definitions` is where Dagster enters."""
