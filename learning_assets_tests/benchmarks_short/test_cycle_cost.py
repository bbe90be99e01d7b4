"""The short form of the cost of a day: real processes, real stores, a small market."""

from benchmarks import cycle_cost


def test_a_small_market_is_measured():
    found = cycle_cost.run_short(seed=7)
    assert set(found) == {"cycle_s", "dagster_overhead_s", "ratio_to_scan", "history_ratio", "peak_mb"}
    assert 0 < found["dagster_overhead_s"] < found["cycle_s"]
    assert found["peak_mb"] < 2_000
