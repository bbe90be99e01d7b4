"""What is known of each arm: discounted counts, a prior from the ensemble, and the Gamma posterior of both.

**Reward.** CTR counts link clicks per impression, CVR conversions per click that could have been followed by them, ROAS revenue per spend,
both counted in orders (`learning.targets`). A rate is Gamma–Poisson: with a prior of mean m and strength k, in events, the posterior is
Gamma(k + events, k / m + exposure) (Chapelle & Li, NeurIPS 2011; Clayton & Kaldor, Biometrics 1987). At rates of a few per cent this is the
Beta of a Bernoulli reward to every digit that matters, and it also holds for rates above 1 and for exposures that are no whole numbers. An
order of revenue counts 1 / `order_dispersion` events, since order values vary (compound Poisson: McCullagh & Nelder 1989, §9.2).

**Discount.** Events and exposure lose 1 % a day; the prior does not, so that what is not seen any more is forgotten towards the prior
(discounted Thompson sampling: Qi et al., 2023; Trovò et al., JAIR 2020).

**Chain.** The state of an arm is the sum of its settled days, which are older than `recent_days`; recent days are added up anew on every day,
as the platform restates them and conversions become known. So the state of a day is a function of the state of the day before and of the
facts known on it, and learning the day again gives it again.
"""

from datetime import date, timedelta

import numpy as np
import polars as pl

from learning_assets.learning import rates
from learning_assets.learning.targets import TARGETS
from learning_assets.settings import Bandit

_ARM = ["account_id", "experiment_id", "ad_id"]
_OF = [*_ARM, "metric"]
_EXPERIMENT = ["account_id", "experiment_id", "metric"]
_KEYS = dict.fromkeys(_OF, pl.String)

DAILY = pl.Schema({**_KEYS, "date": pl.Date, "events": pl.Float64, "exposure": pl.Float64})
"""What an arm achieved on a day, by reward (`ctr`, `cvr`, `roas`)."""

COUNTS = pl.Schema(
    {
        **_KEYS,
        "settled_until": pl.Date,
        **dict.fromkeys(("settled_events", "settled_exposure", "events", "exposure", "day_events", "day_exposure"), pl.Float64),
    }
)
"""Discounted sums of an arm. `settled_*`: of the days up to `settled_until`, as they counted on that day; `events` and `exposure`: of all
days, as they count on the day of the state, of which `day_*` are that day's own."""

PRIORS = pl.Schema(
    {"account_id": pl.String, "ad_id": pl.String, "metric": pl.String, "prior_rate": pl.Float64, "prior_strength": pl.Float64}
)
"""What is expected of an ad before its own counts: a rate, and the events that this counts as."""

POSTERIOR = pl.Schema(
    {
        **COUNTS,
        **dict.fromkeys(("prior_rate", "prior_strength", "alpha", "beta", "rate", "rate_low", "rate_high"), pl.Float64),
        "prior_from": pl.String,
    }
)
"""COUNTS with the Gamma posterior of the rate: shape `alpha`, inverse scale `beta`, mean `rate` and its interval; NULL where neither the ensemble
nor any arm of the experiment says anything. `prior_from`: `ensemble`, or `experiment` (the rate of all its arms, as one event)."""


def rewards(facts: pl.DataFrame, rules: Bandit) -> pl.DataFrame:
    """What arms achieved on each day, by reward.

    Parameters
    ----------
    facts : one row per arm and day with `date` and the columns that `targets.exposed` gives.

    Returns
    -------
    Frame with schema DAILY; a reward of which a number is not known has no row.
    """
    parts = [
        facts.select(
            *_ARM,
            metric=pl.lit(target.name),
            date="date",
            events=pl.col(target.events) / scale,
            exposure=pl.col(target.exposure) / scale,
        )
        for target in TARGETS.values()
        for scale in [rules.order_dispersion if target.money else 1.0]
    ]
    return pl.concat([DAILY.to_frame(), *parts], how="vertical_relaxed").drop_nulls(["events", "exposure"])


def counts(arms: pl.DataFrame, before: pl.DataFrame, daily: pl.DataFrame, as_of: date, rules: Bandit) -> pl.DataFrame:
    """The state of arms as of a day, from their state before it and the days that have come since.

    Parameters
    ----------
    arms : ARM columns, each once; other columns are handed through.
    before : their newest earlier state, schema COUNTS (further columns are ignored); an arm that is not in it begins with `daily`.
    daily : schema DAILY, every day after `settled_until` of `before` up to `as_of`; older days and other arms are left out. Rows of an arm
        and day add up.
    as_of : the day.

    Returns
    -------
    One row per arm and reward: `arms` with the columns of COUNTS, sorted.

    Raises
    ------
    ValueError : a number is negative or not finite, or a day comes after `as_of`.
    """
    wrong = daily.filter(
        ~pl.all_horizontal(pl.col("events", "exposure").is_finite() & (pl.col("events", "exposure") >= 0))
        | (pl.col("date") > as_of)
    )
    if wrong.height:
        raise ValueError(
            f"{wrong.height} rows cannot be counted as of {as_of}, such as {wrong.row(0, named=True)}: numbers must be 0 or more, and days not "
            "after it. Correct the source and run the day again."
        )
    was = before.select(*_OF, was_until="settled_until", was_events="settled_events", was_exposure="settled_exposure")
    until = pl.lit(as_of - timedelta(days=rules.recent_days))
    state = (
        arms.join(pl.DataFrame({"metric": list(TARGETS)}), how="cross")
        .join(was, on=_OF, how="left")
        .with_columns(settled_until=pl.max_horizontal(until, "was_until"))
    )
    on_day, on_settling = _weight(pl.lit(as_of), pl.col("date"), rules), _weight(pl.col("settled_until"), pl.col("date"), rules)
    settled = pl.col("date") <= pl.col("settled_until")
    added = (
        daily.join(state.select(*_OF, "was_until", "settled_until"), on=_OF)
        .filter(pl.col("was_until").is_null() | (pl.col("date") > pl.col("was_until")))
        .group_by(_OF)
        .agg(
            *((pl.col(name) * on_settling).filter(settled).sum().alias(f"settled_{name}") for name in ("events", "exposure")),
            *((pl.col(name) * on_day).filter(~settled).sum() for name in ("events", "exposure")),
            *(pl.col(name).filter(pl.col("date") == as_of).sum().alias(f"day_{name}") for name in ("events", "exposure")),
        )
    )
    found = state.join(added, on=_OF, how="left")
    old = _weight(pl.col("settled_until"), pl.col("was_until"), rules)
    for name in ("events", "exposure"):
        carried = (pl.col(f"was_{name}") * old).fill_null(0.0)
        found = found.with_columns(carried.add(pl.col(f"settled_{name}").fill_null(0.0)).alias(f"settled_{name}"))
        still = pl.col(f"settled_{name}") * _weight(pl.lit(as_of), pl.col("settled_until"), rules)
        found = found.with_columns(still.add(pl.col(name).fill_null(0.0)).alias(name), pl.col(f"day_{name}").fill_null(0.0))
    return found.select(*arms.columns, "metric", *(name for name in COUNTS if name not in _OF)).sort(_OF)


def carried(state: pl.DataFrame, days: int, rules: Bandit) -> pl.DataFrame:
    """The state of arms so many days later, without anything new: schema COUNTS and whatever else, which is handed through.

    Raises
    ------
    ValueError : `days` is negative; a state does not grow younger.
    """
    if days < 0:
        raise ValueError(
            f"the state is {-days} days newer than the day that it is to be carried to; a state does not grow younger"
        )
    left = pl.lit(rules.discount**days)
    fresh = {name: pl.lit(0.0) for name in ("day_events", "day_exposure")} if days else {}
    return state.with_columns(pl.col("events", "exposure") * left, **fresh)


def with_day(state: pl.DataFrame, achieved: pl.DataFrame) -> pl.DataFrame:
    """The state with other figures for its own day, of the arms and rewards that are named; the others stay as they are.

    Parameters
    ----------
    state : schema COUNTS and whatever else, which is handed through.
    achieved : ARM columns, `metric`, `events` and `exposure` of the whole day so far, each arm and reward once.
    """
    named = achieved.select(*_OF, new_events="events", new_exposure="exposure")
    found = state.join(named, on=_OF, how="left", maintain_order="left")
    for name in ("events", "exposure"):
        told = pl.coalesce(f"new_{name}", f"day_{name}")
        # Differences of sums can be a rounding below nothing.
        total = (pl.col(name) - pl.col(f"day_{name}") + told).clip(lower_bound=0.0)
        found = found.with_columns(total.alias(name), told.alias(f"day_{name}"))
    return found.drop("new_events", "new_exposure")


def priors(predictions: pl.DataFrame, level: float, rules: Bandit) -> pl.DataFrame:
    """What the ensemble expects of ads, as a prior of at most `prior_events` events, and fewer where its own interval is wider.

    The interval of a Gamma of shape k spans about 2 z / √k on the logarithm.

    Parameters
    ----------
    predictions : `account_id`, `ad_id`, `metric`, `predicted` (a rate), and `low` and `high`, NULL where the ensemble gives no interval.
    level : of those intervals.

    Returns
    -------
    Frame with schema PRIORS; a rate that is not positive says nothing and is left out.
    """
    from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs]

    width = (pl.col("high") / pl.col("low")).log()
    told = pl.when(pl.col("low") > 0, width > 0).then((2 * float(ndtri((1 + level) / 2)) / width) ** 2)
    return predictions.filter(pl.col("predicted") > 0).select(
        "account_id",
        "ad_id",
        "metric",
        prior_rate="predicted",
        prior_strength=pl.coalesce(told, pl.lit(rules.prior_events)).clip(1.0, rules.prior_events),
    )


def posterior(arms: pl.DataFrame, expected: pl.DataFrame, rules: Bandit) -> pl.DataFrame:
    """The Gamma posterior of every arm's rate.

    Parameters
    ----------
    arms : from `counts`; other columns are handed through.
    expected : schema PRIORS, one row per ad and reward. An ad that is not in it has the rate of all arms of its experiment as a prior of one event.

    Returns
    -------
    `arms` in their order with the columns of POSTERIOR.
    """
    from scipy.special import gammaincinv  # pyright: ignore[reportMissingTypeStubs]

    pooled = rates.ratio(pl.col("events").sum().over(_EXPERIMENT), pl.col("exposure").sum().over(_EXPERIMENT))
    found = (
        arms.join(expected, on=["account_id", "ad_id", "metric"], how="left", maintain_order="left")
        .with_columns(
            prior_from=pl.when(pl.col("prior_rate").is_not_null())
            .then(pl.lit("ensemble"))
            .when(pooled > 0)
            .then(pl.lit("experiment")),
            prior_rate=pl.coalesce("prior_rate", pl.when(pooled > 0).then(pooled)),
        )
        .with_columns(prior_strength=pl.when(pl.col("prior_rate").is_not_null()).then(pl.col("prior_strength").fill_null(1.0)))
        .with_columns(
            alpha=pl.col("prior_strength") + pl.col("events"),
            beta=pl.col("prior_strength") / pl.col("prior_rate") + pl.col("exposure"),
        )
    )
    alpha, beta = (found[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("alpha", "beta"))
    ends = {"rate_low": (1 - rules.level) / 2, "rate_high": (1 + rules.level) / 2}
    return found.with_columns(
        (pl.col("alpha") / pl.col("beta")).alias("rate"),
        *(pl.Series(name, gammaincinv(alpha, at) / beta, dtype=pl.Float64).fill_nan(None) for name, at in ends.items()),
    )


def _weight(on: pl.Expr, day: pl.Expr, rules: Bandit) -> pl.Expr:
    """What a day's counts weigh on another day."""
    return pl.lit(rules.discount) ** (on - day).dt.total_days()
