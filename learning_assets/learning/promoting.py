"""The life of a promotion: an arm is promoted, stays promoted while the evidence holds, and is demoted when it reverses.

What belongs here: how the decision of a day follows from the proof of the day and from what was decided before. What does not: the proof
(`sequential`), and how far budgets go (`stages`).

An arm whose evidence has crossed its threshold stays promoted though the evidence falls below it again: crossing once is what the promise of
`alpha` over the experiment's life is about (Ville 1939). What takes a promotion back is the evidence since then, once it crosses the same threshold
against the winner. An experiment's evidence begins anew on the day after that.
"""

from datetime import date, timedelta

import polars as pl

STATE = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "evidence_from": pl.Date,
        "promoted_on": pl.Date,
        "moved_ad_id": pl.String,
        "before_micros": pl.Int64,
        "stage": pl.Int64,
        "reached_on": pl.Date,
    }
)
"""What a decision leaves to the next one about the same experiment. `evidence_from`: first local day whose evidence counts. `promoted_on`: since
when `moved_ad_id` is the winner; NULL where none is. `before_micros`: that ad's budget before its first step, NULL while it is not known.
`stage`: which share its budget is on the way to, from 1; NULL where no budget is to move. Without `promoted_on` the budget is on its way
back. `reached_on`: when the share was reached, NULL where it is not."""

EXPERIMENT = ["account_id", "experiment_id"]


def standing(arms: pl.DataFrame, before: pl.DataFrame, day: date) -> pl.DataFrame:
    """Where every experiment of the day stands before it is decided (schema STATE), sorted.

    Parameters
    ----------
    arms : the arms of the day: account_id, experiment_id, ad_id, starts_on. A promotion of an ad that is not among them is over.
    before : STATE, as the newest decision about each experiment left it.
    """
    begun = arms.group_by(EXPERIMENT).agg(first=pl.col("starts_on").min())
    state = begun.join(before, on=EXPERIMENT, how="left")
    live = arms.select(*EXPERIMENT, moved_ad_id="ad_id", live=pl.lit(value=True))
    state = state.join(live, on=[*EXPERIMENT, "moved_ad_id"], how="left")
    kept = [pl.when("live").then(name).alias(name) for name in STATE if name not in (*EXPERIMENT, "evidence_from")]
    return (
        state.with_columns(pl.coalesce("evidence_from", "first", pl.lit(day)).alias("evidence_from"), *kept)
        .select(pl.col(name).cast(kind) for name, kind in STATE.items())
        .sort(EXPERIMENT)
    )


def advance(proof: pl.DataFrame, state: pl.DataFrame, reversed_: pl.DataFrame, day: date) -> pl.DataFrame:
    """The decision of the day about every experiment.

    Parameters
    ----------
    proof : one row per experiment: EXPERIMENT, status, ad_id, guard, reason and whatever else the proof says.
    state : STATE, from `standing`; every experiment of `proof` is there.
    reversed_ : EXPERIMENT of promotions against whose winner the evidence since then has crossed the threshold.

    Returns
    -------
    The rows of `proof` with the columns of STATE as they are after the decision, and `event`: `promoted` or `demoted` where that was decided on
    the day, also in an earlier revision of it.
    """
    known = proof.join(state, on=EXPERIMENT, how="left", maintain_order="left").join(
        reversed_.select(*EXPERIMENT, against=pl.lit(value=True)), on=EXPERIMENT, how="left", maintain_order="left"
    )
    was = pl.col("promoted_on").is_not_null()
    against = was & pl.col("against").fill_null(value=False)
    keeps, begins = was & ~against, ~was & (pl.col("status") == "promoted")
    blocked = pl.col("status") == "blocked"
    said = pl.format("promoted on {}, and the evidence since then does not speak against it", "promoted_on")
    turned = pl.format("the evidence since the promotion on {} has reversed; the experiment begins anew", "promoted_on")
    return known.with_columns(
        status=pl.when(against).then(pl.lit("continue_testing")).when(keeps & ~blocked).then(pl.lit("promoted")).otherwise("status"),
        reason=pl.when(against).then(turned).when(keeps & ~blocked & (pl.col("promoted_on") < day)).then(said).otherwise("reason"),
        guard=pl.when(against | (keeps & ~blocked)).then(None).otherwise("guard"),
        evidence_from=pl.when(against).then(pl.lit(day + timedelta(days=1))).otherwise("evidence_from"),
        promoted_on=pl.when(begins).then(pl.lit(day)).when(keeps).then("promoted_on"),
        moved_ad_id=pl.when(begins).then("ad_id").otherwise("moved_ad_id"),
        before_micros=pl.when(~begins).then("before_micros"),
        stage=pl.when(begins).then(1).otherwise("stage"),
        reached_on=pl.when(keeps).then("reached_on"),
    ).with_columns(
        event=pl.when(pl.col("promoted_on") == day)
        .then(pl.lit("promoted"))
        .when(pl.col("evidence_from") > day)
        .then(pl.lit("demoted")),
    ).drop("against")  # fmt: skip


def moved(decided: pl.DataFrame, moves: pl.DataFrame, day: date) -> pl.DataFrame:
    """The decisions with where their budgets stand.

    Parameters
    ----------
    decided : from `advance`.
    moves : `stages.MOVES` of those of them whose budgets are to move.

    Returns
    -------
    The rows of `decided` with the columns of `stages.MOVES`, and STATE as the next decision finds it.
    """
    columns = [name for name in moves.columns if name not in (*EXPERIMENT, "ad_id", "kind", "stage", "currency")]
    found = decided.join(
        moves.select(*EXPERIMENT, *columns, moved_kind="kind", moved_stage="stage", moved_currency="currency"),
        on=EXPERIMENT,
        how="left",
        maintain_order="left",
    )
    back = pl.col("promoted_on").is_null() & pl.col("stage").is_not_null()
    over = back & (pl.col("move") == "done")
    same = pl.col("moved_stage").is_null() | (pl.col("moved_stage") == pl.col("stage"))
    return found.with_columns(
        before_micros=pl.when(~over).then(pl.coalesce("before_micros", pl.when(~back).then("expected_micros"))),
        stage=pl.when(~over).then(pl.coalesce("moved_stage", "stage")),
        moved_ad_id=pl.when(~over).then("moved_ad_id"),
        reached_on=pl.when(pl.col("reached")).then(pl.coalesce(pl.when(same).then("reached_on"), pl.lit(day)))
        .when(pl.col("reached").is_null()).then("reached_on"),
    )  # fmt: skip
