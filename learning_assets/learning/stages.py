"""How far a promoted arm's budget goes next: small steps towards a share, and a new look before the next share.

What belongs here: the next absolute budget of the winner's ad set. What does not: who won (`sequential`), the guards of the writer that carries a
budget out (they may refuse any of this), and clocks: a step is taken by whoever decides next, nobody sleeps between two.

A promoted arm is to have 60 %, then 70 %, then 80 % of its experiment's budget. Each decision asks for one step: up by the shrunk lift, at most
by `max_step`. The rivals' budgets stay: the experiment's whole budget grows by what the winner gets, and the caps of acting bound it.
When a share is reached, the evidence since then has to speak for the winner again before the next share is aimed at. A demoted arm goes back to
what it had before its first step.
"""

import polars as pl

from learning_assets.settings import Stages

PROMOTED = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "ad_id": pl.String,
        "kind": pl.String,
        "lift": pl.Float64,
        "stage": pl.Int64,
        "reached_days": pl.Int64,
        "lift_since": pl.Float64,
        "before_micros": pl.Int64,
        "stepped_hours": pl.Float64,
    }
)
"""One row per experiment whose winner's budget is to move. `ad_id`: the winner. `kind`: `promotion`, or `demotion` where the evidence has
reversed. `lift`: shrunk log lift over the best rival. `stage`: which of the shares is aimed at, from 1. `reached_days`: whole days since that
share was reached, NULL where it was not when last looked at. `lift_since`: observed log lift over the best rival since then, NULL where
nothing is known. `before_micros`: the winner's budget before its first step, NULL where no step was taken. `stepped_hours`: since the last step that was
carried out, NULL where none was."""

MOVES = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "ad_id": pl.String,
        "kind": pl.String,
        "move": pl.String,
        "why": pl.String,
        "stage": pl.Int64,
        "target_share": pl.Float64,
        "share": pl.Float64,
        "reached": pl.Boolean,
        "entity_kind": pl.String,
        "entity_id": pl.String,
        "currency": pl.String,
        "expected_micros": pl.Int64,
        "wanted_micros": pl.Int64,
        "wanted_share": pl.Float64,
    }
)
"""One row per row of PROMOTED. `move`: `step` (a budget is asked for), `hold` (not now, `why` says for what) or `done` (the last share is
reached, or there is nothing to take back). `share`: the winner's part of the experiment's present budgets, 0 to 1, and `wanted_share` what it would
be after the step; `reached`: `share` is at `target_share` of `stage`. Budgets are micros of `currency` a day, whole minor units; `wanted_micros`
is NULL but for a step."""

_KEY = ["account_id", "experiment_id"]
_SLACK = 0.005
"""Part of a share that rounding to minor units may leave open."""


def moves(promoted: pl.DataFrame, arms: pl.DataFrame, rules: Stages) -> pl.DataFrame:
    """The next absolute budget of every winner.

    Parameters
    ----------
    promoted : PROMOTED.
    arms : the arms of these experiments at present: account_id, experiment_id, ad_id, ad_set_id, currency, budget_micros (a day's budget, NULL
        where it is not known) and minor_micros (micros of the currency's smallest unit).

    Returns
    -------
    Frame with schema MOVES, sorted by account and experiment.

    Raises
    ------
    ValueError : a budget is negative, or a kind or stage is none.
    """
    promoted = promoted.select(pl.col(name).cast(kind) for name, kind in PROMOTED.items())
    _refuse(promoted, arms, rules)
    mine = pl.col("budget_micros").filter(pl.col("ad_id") == pl.col("winner"))
    known = pl.col("budget_micros").is_not_null().all() & (pl.col("budget_micros") > 0).all()
    budgets = (
        arms.join(promoted.select(*_KEY, winner="ad_id"), on=_KEY)
        .group_by(_KEY)
        .agg(
            there=(pl.col("ad_id") == pl.col("winner")).any(),
            known=known,
            expected_micros=mine.first(),
            others=pl.col("budget_micros").filter(pl.col("ad_id") != pl.col("winner")).sum(),
            others_mean=pl.col("budget_micros").filter(pl.col("ad_id") != pl.col("winner")).mean(),
            entity_id=pl.col("ad_set_id").filter(pl.col("ad_id") == pl.col("winner")).first(),
            currency=pl.col("currency").filter(pl.col("ad_id") == pl.col("winner")).first(),
            minor=pl.col("minor_micros").filter(pl.col("ad_id") == pl.col("winner")).first(),
        )
    )
    shares = pl.DataFrame(
        {"stage": range(1, len(rules.shares) + 1), "target_share": rules.shares},
        schema={"stage": pl.Int64, "target_share": pl.Float64},
    )
    now = pl.col("expected_micros")
    looked = promoted.join(budgets, on=_KEY, how="left", maintain_order="left").with_columns(
        share=now / (now + pl.col("others"))
    )
    at = looked.join(shares, on="stage", how="left", maintain_order="left").with_columns(
        at_share=pl.col("share") >= pl.col("target_share") - _SLACK
    )
    waited = pl.col("reached_days") >= rules.recheck_days
    goes_on = pl.col("at_share") & waited & (pl.col("lift_since") > 0) & (pl.col("stage") < len(rules.shares))
    stepped = (
        at.with_columns(stage=pl.col("stage") + goes_on.fill_null(value=False).cast(pl.Int64))
        .drop("target_share")
        .join(shares, on="stage", how="left", maintain_order="left")
        .with_columns(reached=pl.col("share") >= pl.col("target_share") - _SLACK)
    )
    up = pl.min_horizontal(
        now * (1 + pl.min_horizontal(pl.col("lift").exp() - 1, rules.max_step)),
        pl.col("others") * pl.col("target_share") / (1 - pl.col("target_share")),
    )
    down = pl.coalesce("before_micros", "others_mean")
    aim = pl.when(pl.col("kind") == "promotion").then(up).otherwise(down)
    # Down to whole minor units: a step never passes the share, nor `max_step`.
    wanted = (aim / pl.col("minor")).floor().cast(pl.Int64) * pl.col("minor")
    return (
        stepped.with_columns(wanted_micros=wanted)
        .with_columns(_move(rules))
        .with_columns(wanted_micros=pl.when(pl.col("move") == "step").then("wanted_micros"), entity_kind=pl.lit("ad_set"))
        .with_columns(wanted_share=pl.col("wanted_micros") / (pl.col("wanted_micros") + pl.col("others")))
        .select(pl.col(name).cast(kind) for name, kind in MOVES.items())
        .sort(_KEY)
    )


def _move(rules: Stages) -> list[pl.Expr]:
    """What is done and why, from the columns that `moves` has by then."""
    up, last = pl.col("kind") == "promotion", pl.col("stage") == len(rules.shares)
    target = (100 * pl.col("target_share")).round().cast(pl.Int64)
    higher, lower = pl.col("wanted_micros") > pl.col("expected_micros"), pl.col("wanted_micros") < pl.col("expected_micros")
    early = pl.col("reached_days").is_null() | (pl.col("reached_days") < rules.recheck_days)
    cases: list[tuple[pl.Expr, str, pl.Expr]] = [
        (~pl.col("there").fill_null(value=False), "hold", pl.lit("the winner is not an arm at present")),
        (
            ~pl.col("known").fill_null(value=False) | pl.col("minor").is_null(),
            "hold",
            pl.lit("the present budget of an arm is not known"),
        ),
        (~up & lower, "step", pl.lit("the evidence has reversed: back to the budget before the first step")),
        (~up, "done", pl.lit("the evidence has reversed, and the budget is not above what it was before the first step")),
        (pl.col("reached") & last, "done", pl.format("the last share, {} %, is reached", target)),
        (
            pl.col("reached") & early,
            "hold",
            pl.format(f"{{}} % is reached; the evidence of {rules.recheck_days} more days decides on the next share", target),
        ),
        (
            pl.col("reached"),
            "hold",
            pl.format("since {} % was reached the winner is not ahead; the next share waits for that", target),
        ),
        (
            pl.col("stepped_hours") < rules.step_hours,
            "hold",
            pl.format(
                f"a step was taken {{}} h ago; the next one can be {rules.step_hours} h after it",
                pl.col("stepped_hours").floor().cast(pl.Int64, strict=False),
            ),
        ),
        (higher, "step", pl.format("one step towards {} % of the experiment's budget", target)),
        (pl.lit(value=True), "hold", pl.lit("a step on the shrunk lift is less than the currency's smallest unit")),
    ]
    move, why = pl.lit(None, pl.String), pl.lit(None, pl.String)
    for condition, what, because in reversed(cases):
        move = pl.when(condition).then(pl.lit(what)).otherwise(move)
        why = pl.when(condition).then(because).otherwise(why)
    return [move.alias("move"), why.alias("why")]


def _refuse(promoted: pl.DataFrame, arms: pl.DataFrame, rules: Stages) -> None:
    below = arms.filter(pl.col("budget_micros") < 0)
    if below.height:
        raise ValueError(f"The budget of ad {below['ad_id'][0]!r} is {below['budget_micros'][0]} micros; it cannot be below 0.")
    wrong = promoted.filter(
        ~pl.col("kind").is_in(["promotion", "demotion"])
        | ~pl.col("stage").is_between(1, len(rules.shares)).fill_null(value=False)
    )
    if wrong.height:
        row = wrong.row(0, named=True)
        raise ValueError(
            f"Experiment {row['experiment_id']!r}: kind {row['kind']!r} at stage {row['stage']}; kinds are promotion and demotion, "
            f"stages 1 to {len(rules.shares)}."
        )
