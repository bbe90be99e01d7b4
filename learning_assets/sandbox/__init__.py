"""The simulated market. What belongs here: how it behaves. What does not: how the pipeline reads it (`platforms.sandbox`)."""
