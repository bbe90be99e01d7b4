"""How much more the split of events between two arms varies than counts do.

What belongs here: the dispersion that evidence is divided by, from days before the one that it judges. What does not: the evidence.

Noise of an arm's rate from day to day, of standard deviation s in its logarithm, adds 2 s^2 information^2 to the variance of the day's split, so that the
dispersion is phi = 1 + 2 s^2 information, with information = sum of m q0 (1 - q0): half of an arm's daily events where two share alike. It grows with
volume, so that phi of a small experiment says too little of a large one; s does not (`log_rate_variance`). An experiment begins with the phi that its
account's past gives at its own volume, which counts as several days, and learns from its own days' splits. The level that the arms truly differ by is
taken out. Whatever moves both arms alike cancels in the split.
"""

import polars as pl

from learning_assets.settings import Promotion

DISPERSION = pl.Schema(
    {"account_id": pl.String, "experiment_id": pl.String, "date": pl.Date, "dispersion": pl.Float64, "days": pl.Int64}
)
"""One row per experiment and date: `dispersion`, at least 1, from `days` days before the date."""

_EXPERIMENT = ["account_id", "experiment_id"]
_PAIR = [*_EXPERIMENT, "ad_id", "other_id"]


def log_rate_variance(past: pl.DataFrame, rules: Promotion) -> pl.DataFrame:
    """Variance s^2 of an arm's log rate from day to day, pooled over an account's experiments.

    Each pair-day's squared residual over its variance exceeds 1 by 2 s^2 information on average; the estimate weighs them by how much they tell, and
    a new account's s (`new_account_noise`), worth `noise_prior_days` pair-days, is one of them.

    Parameters
    ----------
    past : PAIR_DAYS of the account's experiments, days before the one that is judged only.

    Returns
    -------
    `account_id`, `log_rate_variance`, `pair_days`: accounts without past are not there; theirs is `new_account_noise` squared.
    """
    prior = rules.new_account_noise**2
    # The fitted level of a pair takes a degree of freedom off its days.
    days = _residuals(past).filter(pl.len().over(_PAIR) > 1)
    freedom = 1 - 1 / pl.len().over(_PAIR)
    weight = 2 * pl.col("information") / (1 + 2 * pl.col("guess") * pl.col("information")) ** 2
    found = days.with_columns(excess_square=pl.col("square") / freedom - 1, guess=pl.lit(prior))
    for _ in range(_STEPS):
        sums = (
            found.with_columns(w=weight)
            .group_by("account_id")
            .agg(
                above=(pl.col("w") * pl.col("excess_square")).sum(),
                below=(pl.col("w") * 2 * pl.col("information")).sum(),
                each=(pl.col("w") * 2 * pl.col("information")).mean(),
                pair_days=pl.len().cast(pl.Int64),
            )
        )
        held = pl.col("each") * rules.noise_prior_days
        told = sums.select(
            "account_id",
            "pair_days",
            log_rate_variance=((pl.col("above") + held * prior) / (pl.col("below") + held)).clip(lower_bound=0.0),
        )
        found = found.drop("guess").join(told.select("account_id", guess="log_rate_variance"), on="account_id")
    return told.select("account_id", "log_rate_variance", "pair_days").sort("account_id")  # pyright: ignore[reportPossiblyUnboundVariable]


_STEPS = 3


def dispersion(own: pl.DataFrame, days: pl.DataFrame, variance: pl.DataFrame, rules: Promotion) -> pl.DataFrame:
    """The dispersion of each experiment's days, each from days before it.

    Parameters
    ----------
    own : PAIR_DAYS of the experiments, as far as known.
    days : `account_id`, `experiment_id`, `date`: what is to be judged.
    variance : from `log_rate_variance`.
    rules : settings.

    Returns
    -------
    Frame with schema DISPERSION, one row per row of `days`, sorted. The prior needs the experiment's information a day; on its first day, when none is known,
    `first_information` stands in.
    """
    usual = rules.new_account_noise**2
    asked = days.unique([*_EXPERIMENT, "date"]).sort(*_EXPERIMENT, "date")
    experiments = asked.select(_EXPERIMENT).unique(maintain_order=True)
    mine = own.join(experiments, on=_EXPERIMENT, how="semi")
    rows = asked.join(mine.select(*_PAIR, "information", "excess", past="date"), on=_EXPERIMENT, how="inner").filter(
        pl.col("past") < pl.col("date")
    )
    by_pair = (
        _residuals(rows, [*_PAIR, "date"])
        .group_by(*_EXPERIMENT, "date", "ad_id", "other_id")
        .agg(squares=pl.col("square").sum(), n=pl.len(), information=pl.col("information").mean())
    )
    told = by_pair.group_by(*_EXPERIMENT, "date").agg(
        # Pairs of one experiment share arms: their mean counts as one pair's days.
        squares=pl.col("squares").mean(),
        days=pl.col("n").max().cast(pl.Int64),
        information=pl.col("information").mean(),
    )
    noise = variance.select("account_id", "log_rate_variance")
    known = asked.join(told, on=[*_EXPERIMENT, "date"], how="left").join(noise, on="account_id", how="left")
    prior = 1 + 2 * pl.col("log_rate_variance").fill_null(usual) * pl.col("information").fill_null(rules.first_information)
    freedom = (pl.col("days").fill_null(0) - 1).clip(lower_bound=0)
    weight = rules.dispersion_prior_days
    value = (weight * prior + pl.col("squares").fill_null(0.0)) / (weight + freedom)
    return known.select(
        *_EXPERIMENT, "date", dispersion=value.clip(lower_bound=1.0), days=pl.col("days").fill_null(0).cast(pl.Int64)
    )


def _residuals(pair_days: pl.DataFrame, by: list[str] | None = None) -> pl.DataFrame:
    """Rows with `square`: the squared difference of the day's split from the pair's own level, over its variance as a count.

    A pair's level is its excess over its information, a first-order log rate ratio, which is all that small differences need.
    """
    of = by or _PAIR
    level = (pl.col("excess").sum() / pl.col("information").sum()).over(of)
    return pair_days.filter(pl.col("information") > 0).with_columns(
        square=(pl.col("excess") - level * pl.col("information")) ** 2 / pl.col("information")
    )
