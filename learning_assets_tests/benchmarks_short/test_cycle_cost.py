"""The short forms of the costs of a day: real processes, real stores, a small market."""

from typing import Any

import pytest

from benchmarks import cycle_cost, incremental_day


@pytest.fixture(scope="module")
def measured() -> dict[int, dict[str, Any]]:
    """One small market with two lengths of history, for both benchmarks."""
    return {days: cycle_cost.measured(ads=60, days=days, seed=7, history=15, warm_up=1) for days in (10, 15)}


def test_a_cycle_is_measured(measured: dict[int, dict[str, Any]]):
    found = cycle_cost.figures(measured[10], measured[15])
    assert set(found) == {"cycle_s", "dagster_overhead_s", "ratio_to_scan", "history_ratio", "peak_mb"}
    assert 0 < found["dagster_overhead_s"] < found["cycle_s"]
    assert found["peak_mb"] < 2_000


def test_a_day_is_measured_asset_by_asset(measured: dict[int, dict[str, Any]]):
    found = incremental_day.figures(measured[10], measured[15])
    assert set(found) == {"ratio_365_90", "seconds_90", "seconds_365", *(f"ratio_{name}" for name in incremental_day.ASSETS)}
    assert all(figure > 0 for figure in found.values())
