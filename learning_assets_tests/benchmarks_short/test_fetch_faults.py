"""The short form of the benchmark of faults; every fault, in every way, on a small market."""

import pytest

from benchmarks import fetch_faults
from learning_assets.sandbox.graph.faults import FAULTS

STOPPED = {"token_expired", "permission", "unknown_account"}
UNHARMED = {
    "throttle_headers", "version_expired", "same_ids", "missing_action_values", "missing_actions", "reach_absent", "restated_down",
    "clicks_lost", "too_much_data", "too_much_1487534", "success_without_effect", "budget_changes", "foreign_edit", "unknown_cta",
}  # fmt: skip
"""Faults under which a fetch is complete all the same."""
HALF = sorted(FAULTS)[::2], sorted(FAULTS)[1::2]


@pytest.mark.parametrize("faults", HALF)
def test_nothing_is_lost_doubled_or_hidden(faults: list[str]):
    figures = fetch_faults.run(seed=3, accounts=2, days=3, ads=4, faults=faults, general=("daily",))
    found = figures["faults"]
    assert isinstance(found, dict)
    assert list(found) == faults
    assert figures["silent_gaps"] == 0
    for name, told in found.items():
        assert (told["rows_lost"], told["rows_doubled"], told["rows_wrong"]) == (0, 0, 0), name
        wanted = "stopped-with-remedy" if name in STOPPED else "complete" if name in UNHARMED else "incomplete-and-said-so"
        assert told["outcome"] == wanted, name
        assert told["requests"] > 5
