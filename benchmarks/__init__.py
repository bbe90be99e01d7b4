"""Benchmarks: one module per figure that is claimed; each prints one JSON object as its last line."""
