"""Tests of moving budgets, on the real embedded Postgres and the simulated Graph server."""
