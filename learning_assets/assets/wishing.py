"""From decisions to budgets that are asked for: where each promoted arm stands, and the rows of `budget_wishes`.

What belongs here: what a day's decisions ask of budgets, and when they may. What does not: how far a step goes (`learning.stages`), and carrying
one out, which has guards of its own.
"""

from datetime import timedelta

import polars as pl

from learning_assets import clock
from learning_assets.assets.day import Day
from learning_assets.learning import stages
from learning_assets.platforms.meta import money
from learning_assets.settings import Stages
from learning_assets.store.store import Store

EXPERIMENT = ["account_id", "experiment_id"]


def budgets(arms: pl.DataFrame) -> pl.DataFrame:
    """The arms' present budgets as `stages.moves` reads them; the smallest unit is NULL where the currency's is not known."""
    units = money.minor_unit_micros(arms["currency"]).rename({"minor_unit_micros": "minor_micros"})
    return arms.join(units, on="currency", how="left", maintain_order="left")


def moves(store: Store, decided: pl.DataFrame, arms: pl.DataFrame, day: Day, rules: Stages) -> pl.DataFrame:
    """The next step of every arm that was promoted, or whose budget is taken back (schema `stages.MOVES`).

    Parameters
    ----------
    decided : the day's decisions: EXPERIMENT, status, moved_ad_id, before_micros, promoted_on, stage (NULL where no budget is to move), reached_on,
        lift_since and shrunk_lift. One that is blocked waits, unless its budget is taken back.
    arms : those of the day.
    """
    promoted = (
        decided.filter(pl.col("stage").is_not_null(), (pl.col("status") != "blocked") | pl.col("promoted_on").is_null())
        .join(
            _steps_taken(store, arms, day, rules),
            left_on=["account_id", "moved_ad_id"],
            right_on=["account_id", "ad_id"],
            how="left",
        )
        .select(
            *EXPERIMENT,
            *("before_micros", "stage", "lift_since", "stepped_hours"),
            ad_id="moved_ad_id",
            kind=pl.when(pl.col("promoted_on").is_not_null()).then(pl.lit("promotion")).otherwise(pl.lit("demotion")),
            lift="shrunk_lift",
            reached_days=(pl.lit(day.date) - pl.col("reached_on")).dt.total_days(),
        )
    )
    return stages.moves(promoted.select(stages.PROMOTED.names()), budgets(arms), rules)


def _steps_taken(store: Store, arms: pl.DataFrame, day: Day, rules: Stages) -> pl.DataFrame:
    """Arms whose present budget is what was asked for within `step_hours`: account_id, ad_id, stepped_hours. A replay knows of none."""
    asked = store.promotions.wishes_since(store.now - timedelta(hours=rules.step_hours))
    hours = (pl.lit(store.now) - pl.col("decided_at")).dt.total_seconds() / 3600
    taken = arms.join(
        asked.filter(kind="promotion"), left_on=["account_id", "ad_set_id"], right_on=["account_id", "entity_id"]
    ).filter(pl.col("budget_micros") == pl.col("wanted_micros"), pl.lit(not day.replaying))
    return taken.group_by("account_id", "ad_id").agg(stepped_hours=hours.min())


def may_ask(store: Store, day: Day) -> bool:
    """Whether decisions of a day may ask for budgets: those of yesterday and today, and never in a replay."""
    return not day.replaying and day.date >= clock.today(store.settings) - timedelta(days=1)


def wishes(store: Store, decided: pl.DataFrame, day: Day) -> pl.DataFrame:
    """The budgets that a day's decisions ask for, with the columns of `budget_wishes`.

    A step that was not carried out is asked for by every decision anew, since a wish is good for hours only; carrying out one of them is what ends
    that, by the budget that is found then.

    `decided` : columns of `promotion_decisions` with those of `stages.MOVES` and `owner`.
    """
    columns = store.tables.schema("budget_wishes")
    if not may_ask(store, day):
        return columns.to_frame()
    return (
        decided.filter(pl.col("move") == "step")
        .with_columns(
            kind="moved_kind", reason=pl.format("{} ({})", "reason", "move_reason"), lift="shrunk_lift", share="wanted_share"
        )
        .select(pl.col(name).cast(kind) for name, kind in columns.items())
    )
