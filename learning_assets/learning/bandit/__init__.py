"""How the traffic of an experiment is shared between its arms while it is not known which is best: Thompson sampling on counts.

Modules: `posterior` (what is known of each arm), `shares` (how much of the traffic each gets, and which arm a request gets), `budgets`
(shares in money). All are pure, and vectorized over experiments.

What does not belong here: whether an arm is proven to be better (the promotion test), what an experiment is (`learning.experiments`), and
whether budgets are moved.
"""

import polars as pl

from learning_assets.learning.bandit.budgets import BUDGETS, WISHES, budgets, largest_remainder, moves, wishes
from learning_assets.learning.bandit.posterior import (
    COUNTS,
    DAILY,
    POSTERIOR,
    PRIORS,
    carried,
    counts,
    posterior,
    priors,
    rewards,
    with_day,
)
from learning_assets.learning.bandit.shares import SHARES, allocate, floored, leading, request_seed, select, top_two
from learning_assets.settings import Bandit

VERSION = "1"
"""Changes when the same counts would give other shares."""

ARM = ("account_id", "experiment_id", "ad_id")
"""What names an arm."""

PLACE = pl.Schema(
    {
        "live": pl.Boolean,
        "last_live": pl.Date,
        "starts_on": pl.Date,
        "origin": pl.String,
        "ad_set_id": pl.String,
        "budget_owner": pl.String,
        "isolated": pl.Boolean,
        "currency": pl.String,
        "unit_micros": pl.Int64,
        "budget_micros": pl.Int64,
    }
)
"""What an arm is besides its counts. `live`: it gets traffic; `last_live`: the newest day on which it did; `starts_on`: the first one that
counts, NULL for all. `origin`: as in `experiments.ARMS`, or
`registered` (by a program, until the catalog says whether the ad is there). `unit_micros`: micros of a minor unit of `currency`."""

STATE = pl.Schema({**POSTERIOR, **SHARES, **PLACE, **BUDGETS})
"""One row per arm and reward. An arm that is not live has no share; only rows of the reward that budgets follow have budgets."""


def assess(arms: pl.DataFrame, expected: pl.DataFrame, decided: pl.DataFrame, rules: Bandit) -> pl.DataFrame:
    """What the counts of arms say: posteriors of all, shares of those that are live, budgets by the shares of the reward in force.

    Parameters
    ----------
    arms : columns of COUNTS and PLACE; others are handed through.
    expected : schema PRIORS.
    decided : `account_id` and `experiment_id` of the experiments that are decided.

    Returns
    -------
    Rows with the columns of STATE, sorted.
    """
    known = posterior(arms, expected, rules)
    live = allocate(known.filter("live"), decided, rules)
    by_reward = pl.col("metric") == rules.reward
    parts = [known.filter(~pl.col("live")), live.filter(~by_reward), budgets(live.filter(by_reward), rules)]
    found = pl.concat(parts, how="diagonal_relaxed")
    return found.select(pl.exclude(STATE.names()), *(pl.col(name).cast(kind) for name, kind in STATE.items())).sort(
        *ARM, "metric"
    )


def reassess(state: pl.DataFrame, rules: Bandit) -> pl.DataFrame:
    """The same from a stored state whose counts have changed: with its own priors, and decided what was decided. Schema STATE and whatever else."""
    expected = state.filter(prior_from="ensemble").select(PRIORS.names()).unique(["account_id", "ad_id", "metric"])
    told = [name for name in (*POSTERIOR, *SHARES, *BUDGETS) if name not in COUNTS]
    return assess(state.drop(told), expected, state.filter(rule="thompson"), rules)


__all__ = [
    "ARM",
    "BUDGETS",
    "COUNTS",
    "DAILY",
    "PLACE",
    "POSTERIOR",
    "PRIORS",
    "SHARES",
    "STATE",
    "VERSION",
    "WISHES",
    "allocate",
    "assess",
    "budgets",
    "carried",
    "counts",
    "floored",
    "largest_remainder",
    "leading",
    "moves",
    "posterior",
    "priors",
    "reassess",
    "request_seed",
    "rewards",
    "select",
    "top_two",
    "wishes",
    "with_day",
]
