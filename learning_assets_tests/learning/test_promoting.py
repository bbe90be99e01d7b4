"""The life of a promotion."""

from datetime import date, timedelta
from typing import Any

import polars as pl

from learning_assets.learning import stages
from learning_assets.learning.promoting import EXPERIMENT, STATE, advance, moved, standing
from learning_assets.settings import Stages

DAY = date(2026, 3, 1)
NONE = pl.DataFrame(schema=dict.fromkeys(EXPERIMENT, pl.String))
THIS = pl.DataFrame({"account_id": ["a"], "experiment_id": ["x"]})
EURO = 1_000_000


def arms(*ads: str, budget: int = 20 * EURO) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "account_id": "a",
            "experiment_id": "x",
            "ad_id": list(ads),
            "ad_set_id": [f"set-{ad}" for ad in ads],
            "starts_on": [DAY - timedelta(days=10 + number) for number in range(len(ads))],
            "currency": "EUR",
            "budget_micros": budget,
            "minor_micros": 10_000,
        }
    )


def proof(status: str, ad: str | None = "w", **more: Any) -> pl.DataFrame:
    row = {"account_id": "a", "experiment_id": "x", "status": status, "ad_id": ad, "guard": None, "reason": "because"}
    schema = {**dict.fromkeys(row, pl.String), **{name: pl.Float64 for name in more if name != "guard"}}
    return pl.DataFrame([row | more], schema=schema)


def decide(
    before: pl.DataFrame, of: pl.DataFrame, reversed_: pl.DataFrame = NONE, day: date = DAY, **kept: Any
) -> dict[str, Any]:
    state = standing(kept.get("arms", arms("w", "r")), before, day)
    return advance(of, state, reversed_, day).row(0, named=True)


def state(**given: Any) -> pl.DataFrame:
    row = {"account_id": "a", "experiment_id": "x", "evidence_from": date(2026, 2, 1)}
    return pl.DataFrame([row | given], schema=STATE)


PROMOTED = state(promoted_on=DAY - timedelta(days=3), moved_ad_id="w", before_micros=20 * EURO, stage=1)


def test_evidence_counts_from_the_first_arm_on():
    found = decide(STATE.to_frame(), proof("continue_testing"))
    assert found["evidence_from"] == DAY - timedelta(days=11)
    assert (found["promoted_on"], found["stage"], found["event"]) == (None, None, None)


def test_a_winner_is_promoted_once():
    found = decide(STATE.to_frame(), proof("promoted"))
    assert (found["promoted_on"], found["moved_ad_id"], found["stage"], found["event"]) == (DAY, "w", 1, "promoted")
    again = decide(state(**{name: found[name] for name in STATE if name not in EXPERIMENT}), proof("continue_testing"))
    assert (again["status"], again["event"], again["reason"]) == ("promoted", "promoted", "because")
    later = decide(PROMOTED, proof("continue_testing", "r"))
    assert (later["status"], later["event"], later["moved_ad_id"]) == ("promoted", None, "w")
    assert later["reason"] == "promoted on 2026-02-26, and the evidence since then does not speak against it"


def test_a_guard_holds_a_promotion_up_and_does_not_end_it():
    found = decide(PROMOTED, proof("blocked", guard="incomplete"))
    assert (found["status"], found["guard"], found["promoted_on"]) == ("blocked", "incomplete", DAY - timedelta(days=3))


def test_evidence_that_reverses_demotes_and_begins_anew():
    found = decide(PROMOTED, proof("promoted"), THIS)
    assert (found["status"], found["event"], found["promoted_on"]) == ("continue_testing", "demoted", None)
    assert found["evidence_from"] == DAY + timedelta(days=1)
    assert (found["moved_ad_id"], found["stage"], found["before_micros"]) == ("w", 1, 20 * EURO)


def test_a_winner_that_is_gone_is_no_winner_any_more():
    found = decide(PROMOTED, proof("continue_testing", "r"), arms=arms("r", "s"))
    assert (found["status"], found["promoted_on"], found["moved_ad_id"], found["stage"]) == (
        "continue_testing",
        None,
        None,
        None,
    )
    assert found["evidence_from"] == date(2026, 2, 1)


def follow(before: pl.DataFrame, reversed_: pl.DataFrame, budget: int, day: date) -> dict[str, Any]:
    """A day of a promotion with its budget."""
    among = arms("w", "r").with_columns(budget_micros=pl.when(pl.col("ad_id") == "w").then(budget).otherwise(20 * EURO))
    status = "promoted" if before.is_empty() else "continue_testing"
    decided = advance(proof(status, shrunk_lift=0.3), standing(among, before, day), reversed_, day)
    kind = pl.when(pl.col("promoted_on").is_not_null()).then(pl.lit("promotion")).otherwise(pl.lit("demotion"))
    days = (pl.lit(day) - pl.col("reached_on")).dt.total_days()
    of = decided.filter(pl.col("stage").is_not_null()).select(
        *EXPERIMENT,
        "stage",
        "before_micros",
        ad_id="moved_ad_id",
        kind=kind,
        lift="shrunk_lift",
        reached_days=days,
        lift_since=0.1,
        stepped_hours=None,
    )
    return moved(decided, stages.moves(of.select(stages.PROMOTED.names()), among, Stages()), day).row(0, named=True)


def test_a_budget_goes_up_stage_by_stage_and_back_when_the_evidence_reverses():
    budget, before, seen = 20 * EURO, STATE.to_frame(), []
    found: dict[str, Any] = {}
    for number in range(40):
        found = follow(before, NONE, budget, DAY + timedelta(days=number))
        budget = found["wanted_micros"] or budget
        seen.append((found["stage"], found["move"]))
        before = pl.DataFrame([found]).select(pl.col(name).cast(kind) for name, kind in STATE.items())
    assert seen[0] == (1, "step")
    assert seen[-1] == (3, "done")
    assert [stage for stage, _ in seen] == sorted(stage for stage, _ in seen)
    assert seen.count((1, "hold")) == seen.count((2, "hold")) == 3
    assert (budget, found["before_micros"]) == (80 * EURO, 20 * EURO)

    day = DAY + timedelta(days=40)
    turned = follow(before, THIS, budget, day)
    assert (turned["event"], turned["move"], turned["wanted_micros"]) == ("demoted", "step", 20 * EURO)
    before = pl.DataFrame([turned]).select(pl.col(name).cast(kind) for name, kind in STATE.items())
    waits = follow(before, NONE, budget, day + timedelta(days=1))
    assert (waits["move"], waits["wanted_micros"]) == ("step", 20 * EURO)
    over = follow(before, NONE, 20 * EURO, day + timedelta(days=1))
    assert (over["move"], over["stage"], over["moved_ad_id"], over["event"]) == ("done", None, None, None)
