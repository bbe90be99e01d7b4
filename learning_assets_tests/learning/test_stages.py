"""Budgets of promoted arms: step by step towards a share, and back."""

import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.learning.stages import MOVES, PROMOTED, moves
from learning_assets.settings import Stages

RULES = Stages()
CENT = 10_000
EURO = 1_000_000


def promoted(**more: Any) -> pl.DataFrame:
    row = {"account_id": "a", "experiment_id": "x", "ad_id": "w", "kind": "promotion", "lift": math.log(1.5), "stage": 1}
    return pl.DataFrame([row | more], schema=PROMOTED)


def arms(*budgets: int | None, minor: int | None = CENT) -> pl.DataFrame:
    """The winner's budget first, in micros."""
    return pl.DataFrame(
        {
            "account_id": "a",
            "experiment_id": "x",
            "ad_id": ["w", *(f"r{n}" for n in range(1, len(budgets)))],
            "ad_set_id": ["set-w", *(f"set-r{n}" for n in range(1, len(budgets)))],
            "currency": "EUR",
            "budget_micros": pl.Series(budgets, dtype=pl.Int64),
            "minor_micros": pl.Series([minor] * len(budgets), dtype=pl.Int64),
        }
    )


def one(of: pl.DataFrame, among: pl.DataFrame, rules: Stages = RULES) -> dict[str, Any]:
    found = moves(of, among, rules)
    assert found.schema == MOVES
    return found.row(0, named=True)


def test_a_large_lift_raises_by_a_fifth_and_a_small_one_by_itself():
    found = one(promoted(), arms(20 * EURO, 20 * EURO))
    assert found["move"] == "step"
    assert found["why"] == "one step towards 60 % of the experiment's budget"
    assert (found["entity_kind"], found["entity_id"], found["currency"]) == ("ad_set", "set-w", "EUR")
    assert (found["expected_micros"], found["wanted_micros"]) == (20 * EURO, 24 * EURO)
    assert found["wanted_share"] == pytest.approx(24 / 44)
    assert one(promoted(lift=math.log(1.05)), arms(20 * EURO, 20 * EURO))["wanted_micros"] == 21 * EURO


def test_the_last_step_ends_at_the_share():
    found = one(promoted(), arms(28 * EURO, 20 * EURO))
    assert found["wanted_micros"] == 30 * EURO
    assert found["wanted_share"] == pytest.approx(0.6)


def test_a_share_is_kept_until_the_evidence_since_then_speaks_again():
    at = arms(30 * EURO, 20 * EURO)
    just = one(promoted(), at)
    assert (just["move"], just["reached"], just["stage"]) == ("hold", True, 1)
    assert just["why"] == "60 % is reached; the evidence of 3 more days decides on the next share"
    assert one(promoted(reached_days=2, lift_since=0.1), at)["move"] == "hold"
    behind = one(promoted(reached_days=5, lift_since=-0.1), at)
    assert (behind["move"], behind["stage"]) == ("hold", 1)
    assert one(promoted(reached_days=5, lift_since=None), at)["move"] == "hold"
    ahead = one(promoted(reached_days=3, lift_since=0.1), at)
    assert (ahead["move"], ahead["stage"], ahead["wanted_micros"]) == ("step", 2, 36 * EURO)


def test_a_step_waits_for_the_one_before():
    at = arms(24 * EURO, 20 * EURO)
    early = one(promoted(stepped_hours=71.9), at)
    assert (early["move"], early["why"]) == ("hold", "a step was taken 71 h ago; the next one can be 72 h after it")
    assert one(promoted(stepped_hours=72.0), at)["move"] == "step"
    assert one(promoted(kind="demotion", before_micros=20 * EURO, stepped_hours=1.0), at)["move"] == "step"


def test_nothing_is_left_to_do_at_the_last_share():
    found = one(promoted(stage=3, reached_days=9, lift_since=0.2), arms(80 * EURO, 20 * EURO))
    assert (found["move"], found["stage"], found["wanted_micros"]) == ("done", 3, None)
    assert found["why"] == "the last share, 80 %, is reached"


def test_a_demoted_arm_goes_back_to_what_it_had():
    found = one(promoted(kind="demotion", before_micros=20 * EURO), arms(36 * EURO, 20 * EURO))
    assert (found["move"], found["wanted_micros"]) == ("step", 20 * EURO)
    alike = one(promoted(kind="demotion"), arms(36 * EURO, 20 * EURO, 22 * EURO))
    assert (alike["move"], alike["wanted_micros"]) == ("step", 21 * EURO)
    assert one(promoted(kind="demotion", before_micros=20 * EURO), arms(18 * EURO, 20 * EURO))["move"] == "done"


def test_what_is_not_known_moves_nothing():
    assert one(promoted(), arms(20 * EURO, None))["why"] == "the present budget of an arm is not known"
    assert one(promoted(), arms(0, 20 * EURO))["move"] == "hold"
    assert one(promoted(), arms(20 * EURO, 20 * EURO, minor=None))["move"] == "hold"
    assert one(promoted(ad_id="gone"), arms(20 * EURO, 20 * EURO))["why"] == "the winner is not an arm at present"


def test_budgets_are_whole_minor_units():
    assert one(promoted(lift=0.03), arms(1_337 * EURO, 1_400 * EURO, minor=EURO))["wanted_micros"] == 1_377 * EURO
    assert one(promoted(lift=0.001), arms(5 * EURO, 5 * EURO, minor=EURO))["why"].startswith(
        "a step on the shrunk lift is less"
    )


@pytest.mark.parametrize(
    ("of", "among", "says"),
    [
        (promoted(kind="raise"), arms(EURO, EURO), "kind 'raise'"),
        (promoted(stage=4), arms(EURO, EURO), "stage 4"),
        (promoted(), arms(-EURO, EURO), "cannot be below 0"),
    ],
)
def test_wrong_input_is_refused(of: pl.DataFrame, among: pl.DataFrame, says: str):
    with pytest.raises(ValueError, match=says):
        moves(of, among, RULES)


@given(
    budgets=st.lists(st.integers(100, 10**6), min_size=2, max_size=6),
    lift=st.floats(-0.5, 2),
    stage=st.integers(1, 3),
    since=st.none() | st.floats(-1, 1),
    days=st.none() | st.integers(0, 30),
    kind=st.sampled_from(["promotion", "demotion"]),
    minor=st.sampled_from([CENT, EURO]),
)
def test_no_step_is_too_large(
    budgets: list[int], lift: float, stage: int, since: float | None, days: int | None, kind: str, minor: int
):
    among = arms(*(budget * minor for budget in budgets), minor=minor)
    found = one(promoted(lift=lift, stage=stage, lift_since=since, reached_days=days, kind=kind), among)
    assert (found["wanted_micros"] is not None) is (found["move"] == "step")
    assert found["stage"] in (stage, stage + 1)
    if found["move"] == "step":
        before, after = found["expected_micros"], found["wanted_micros"]
        assert after % minor == 0
        assert (before < after <= 1.2 * before) if kind == "promotion" else after < before
        assert kind == "demotion" or found["wanted_share"] <= found["target_share"] + 1e-12


def test_steps_reach_every_share_in_turn():
    budget, stage, reached, seen = 20 * EURO, 1, None, []
    for _ in range(60):
        found = one(promoted(stage=stage, reached_days=reached, lift_since=0.1), arms(budget, 20 * EURO))
        stage = found["stage"]
        budget = found["wanted_micros"] or budget
        seen.append(round(budget / (budget + 20 * EURO), 2))
        reached = (reached or 0) + 1 if found["reached"] else None
    assert [share for share in (0.6, 0.7, 0.8) if share in seen] == [0.6, 0.7, 0.8]
    assert seen[-1] == 0.8
