"""Shares in money: whole minor units of a currency that sum to the experiment's budget exactly, and the steps by which they are reached.

What belongs here: sharing out. What does not: whether a budget may be changed (guards), and changing it.
"""

from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.settings import Bandit

Floats = NDArray[np.float64]
Units = NDArray[np.int64]

BUDGETS = pl.Schema({"target_micros": pl.Int64, "wanted_micros": pl.Int64, "budget_note": pl.String})
"""A day's budget of an arm, micros of its currency. `target_micros`: by its share; `wanted_micros`: the next step towards it. Both sum over an
experiment to its present budget, in whole minor units. NULL where budgets cannot be shared, with the reason in `budget_note`."""

WISHES = pl.Schema(
    {
        **dict.fromkeys(("decision_id", "entity_id", "account_id", "owner", "entity_kind", "currency"), pl.String),
        **dict.fromkeys(("expected_micros", "wanted_micros"), pl.Int64),
        **dict.fromkeys(("kind", "reason"), pl.String),
        "share": pl.Float64,
    }
)
"""Budgets that are asked for: of an ad set, `expected_micros` now and `wanted_micros` next, and the `share` of the experiment's budget that it would
have. One decision is about one experiment and day."""

_EXPERIMENT = ["account_id", "experiment_id"]
_LARGEST = 2**52


def largest_remainder(quotas: Floats, totals: Units) -> Units:
    """Whole numbers near to the quotas that sum to the totals exactly (Hamilton's method): quotas are cut off, and what is left goes to those
    that lost most, the earlier ones first where they lost the same.

    Parameters
    ----------
    quotas : at least 0, shape (experiments, arms); each row sums to its total but for rounding.
    totals : at least 0 and below 2^52, shape (experiments,).

    Raises
    ------
    ValueError : a quota is negative or not finite, a total is out of range, or a row does not sum to its total.
    """
    if not (np.isfinite(quotas) & (quotas >= 0)).all() or not ((totals >= 0) & (totals < _LARGEST)).all():
        raise ValueError("quotas must be finite and at least 0, totals at least 0 and below 2^52")
    if not np.allclose(quotas.sum(axis=1), totals, rtol=1e-9, atol=1e-6):
        raise ValueError("quotas must sum to their totals; shares of an experiment must sum to 1")
    whole = np.floor(quotas).astype(np.int64)
    left = totals - whole.sum(axis=1)
    # Rounding may have lifted a quota over a whole number: then there is one too many.
    place = (whole - quotas).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    arms = quotas.shape[1]
    whole += place < left[:, None]
    whole -= (arms - 1 - place) < -left[:, None]
    return whole


def budgets(arms: pl.DataFrame, rules: Bandit) -> pl.DataFrame:
    """Turn the shares of arms into budgets.

    An experiment's budget is the sum of its arms' present ones; nothing is added or taken away. A step raises no arm by more than `max_step`: all
    arms go the same part of their way. Where no arm's target is `min_step` away, all stay.

    Parameters
    ----------
    arms : one row per arm that gets traffic: `account_id`, `experiment_id`, `share`, `budget_micros`, `currency`, `isolated`, `budget_owner`, and
        `unit_micros`, micros of a minor unit of the currency (NULL where not known).

    Returns
    -------
    `arms` in their order with the columns of BUDGETS.

    Raises
    ------
    ValueError : a budget is negative, or shares do not sum to 1.
    """
    if arms.filter(pl.col("budget_micros") < 0).height:
        raise ValueError(
            f"a budget is negative: {arms.filter(pl.col('budget_micros') < 0).row(0, named=True)}; correct the catalog"
        )

    def any_of(condition: pl.Expr) -> pl.Expr:
        return condition.fill_null(value=True).any().over(_EXPERIMENT)

    present = pl.col("budget_micros") // pl.col("unit_micros")
    note = (
        pl.when(pl.len().over(_EXPERIMENT) < 2)
        .then(pl.lit("The experiment has one arm."))
        .when(any_of(~pl.col("isolated") | (pl.col("budget_owner") != "ad_set")))
        .then(pl.lit("An arm has no budget of its own: give each ad an ad set with a budget."))
        .when(any_of(pl.col("budget_micros").is_null()))
        .then(pl.lit("The present budget of an arm is not known."))
        .when(any_of(pl.col("unit_micros").is_null()) | (pl.col("currency").n_unique().over(_EXPERIMENT) > 1))
        .then(pl.lit("The minor unit of the currency is not known, or arms have several currencies."))
        .when(any_of(present <= 0))
        .then(pl.lit("An arm has no budget to start from."))
    )
    rows = (
        arms.with_row_index("row")
        .with_columns(budget_note=note, size=pl.len().over(_EXPERIMENT), present=present)
        .sort(*_EXPERIMENT, "row")
    )
    size, can = rows["size"].to_numpy(), rows["budget_note"].is_null().to_numpy()
    units, share = rows["present"].fill_null(0).to_numpy(), rows["share"].to_numpy()
    target, wanted = np.zeros(rows.height, np.int64), np.zeros(rows.height, np.int64)
    for several in np.unique(size[can]):
        of = np.flatnonzero(can & (size == several)).reshape(-1, int(several))
        target[of], wanted[of] = _shared(share[of], units[of], rules)
    return (
        rows.with_columns(target=pl.Series(target, dtype=pl.Int64), wanted=pl.Series(wanted, dtype=pl.Int64))
        .with_columns(
            pl.when(pl.col("budget_note").is_null()).then(pl.col(name) * pl.col("unit_micros")).alias(f"{name}_micros")
            for name in ("target", "wanted")
        )
        .sort("row")
        .drop("row", "size", "present", "target", "wanted")
    )


def moves() -> pl.Expr:
    """Whether a budget is to change, by a minor unit at least."""
    return (pl.col("wanted_micros") - pl.col("budget_micros")).abs() >= pl.col("unit_micros")


def wishes(arms: pl.DataFrame, left_alone: pl.DataFrame, today: date, rules: Bandit) -> pl.DataFrame:
    """The budgets that are asked for.

    Parameters
    ----------
    arms : live arms of the reward in force (`bandit.STATE` and `owner`), of the accounts in which the bandit may ask.
    left_alone : `account_id` and `experiment_id` of experiments whose budgets somebody else moves.
    today : the day on which is asked; a decision's id says it, so that what is asked twice a day is the same decision.

    Returns
    -------
    Frame with schema WISHES, one row per arm whose budget is to change.
    """
    of_experiment = pl.col("wanted_micros").sum().over(_EXPERIMENT)
    percent = [(100 * pl.col(name)).round(1).cast(pl.String) for name in ("share", "p_best")]
    return (
        arms.filter(pl.col("wanted_micros").is_not_null())
        .join(left_alone, on=_EXPERIMENT, how="anti")
        .with_columns(of_budget=pl.col("wanted_micros") / of_experiment)
        .filter(moves())
        .select(
            decision_id=pl.format("bandit-{}-{}-{}", "account_id", "experiment_id", pl.lit(str(today))),
            entity_id="ad_set_id",
            account_id="account_id",
            owner="owner",
            entity_kind=pl.lit("ad_set"),
            currency="currency",
            expected_micros="budget_micros",
            wanted_micros="wanted_micros",
            kind=pl.lit("bandit"),
            reason=pl.format(
                f"Its ad is to get {{}} % of the experiment's traffic by {rules.reward.upper()}; it is the best with a probability of {{}} %. This is a step "
                f"towards that, up by at most {100 * rules.max_step:.0f} %.",
                *percent,
            ),
            share="of_budget",
        )
        .sort("decision_id", "entity_id")
    )


def _shared(share: Floats, present: Units, rules: Bandit) -> tuple[Units, Units]:
    """Budgets by share, and the next step towards them, in minor units, shape (experiments, arms)."""
    total = present.sum(axis=1)
    target = largest_remainder(share * total[:, None], total)
    more = (target - present).astype(np.float64)
    # One unit less, since the remainder may give one.
    room = np.maximum(rules.max_step * present - 1, 0)
    part = np.where(more > 0, room / np.where(more > 0, more, 1), np.inf).min(axis=1).clip(max=1)
    step = largest_remainder(present + part[:, None] * more, total)
    stays = (np.abs(more) < rules.min_step * present).all(axis=1, keepdims=True)
    return target, np.where(stays, present, np.where(part[:, None] >= 1, target, step))
