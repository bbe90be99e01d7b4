"""Which of two arms earns more for what it costs: money has no counts, so this holds only for large numbers of conversions.

What belongs here: the asymptotic confidence sequence of the ratio of two ROAS. What does not: the rule (`decisions`).

An arm's revenue is a compound Poisson sum; its variance is estimated by the squared differences of days from the arm's own ROAS, since platforms tell no
single orders. The sequence is the asymptotic one of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (Annals of Statistics 2024, arXiv 2103.06476), with the
conversions as its clock. It takes thousands of conversions to find +20 %.
"""

import numpy as np
import polars as pl

from learning_assets.settings import Promotion

ROAS = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "ad_id": pl.String,
        "other_id": pl.String,
        "conversions": pl.Int64,
        "other_conversions": pl.Int64,
        "lift": pl.Float64,
        "standard_error": pl.Float64,
        "lift_low": pl.Float64,
        "lift_high": pl.Float64,
    }
)
"""One row per ordered pair in which both arms have enough conversions: the log ratio of their ROAS with its confidence sequence."""

_ARM = ["account_id", "experiment_id", "ad_id"]


def ratio_of_roas(days: pl.DataFrame, rules: Promotion) -> pl.DataFrame:
    """Compare the ROAS of every two arms.

    Parameters
    ----------
    days : account_id, experiment_id, ad_id, date, `conversions`, `revenue_micros`, `spend_micros`, unique by arm and date; rows where one is NULL are left out.
    rules : `alpha`, `min_conversions`.

    Returns
    -------
    Frame with schema ROAS, sorted.
    """
    known = days.drop_nulls(["conversions", "revenue_micros", "spend_micros"])
    money, spent = pl.col("revenue_micros").cast(pl.Float64), pl.col("spend_micros").cast(pl.Float64)
    roas = (money.sum() / spent.sum()).over(_ARM)
    arms = (
        known.with_columns(square=(money - roas * spent) ** 2)
        .group_by(_ARM)
        .agg(
            conversions=pl.col("conversions").sum().cast(pl.Int64),
            revenue=money.sum(),
            spend=spent.sum(),
            square=pl.col("square").sum() * pl.len() / (pl.len() - 1),
            days=pl.len(),
        )
        .filter(
            pl.col("conversions") >= rules.min_conversions,
            pl.col("days") > 1,
            pl.col("revenue") > 0,
            pl.col("spend") > 0,
            pl.col("square") > 0,
        )
        .with_columns(log_roas=(pl.col("revenue") / pl.col("spend")).log(), variance=pl.col("square") / pl.col("revenue") ** 2)
    )
    pairs = arms.join(arms, on=_ARM[:2], suffix="_other").filter(pl.col("ad_id") != pl.col("ad_id_other"))
    clock = (pl.col("conversions") + pl.col("conversions_other")).cast(pl.Float64)
    # Sharpest at the fewest conversions that are judged.
    tuned = (-2 * np.log(rules.alpha) + np.log(1 - 2 * np.log(rules.alpha))) / (2 * rules.min_conversions)
    wide = ((1 + 1 / (clock * tuned)) * ((clock * tuned + 1) / rules.alpha**2).log()).sqrt()
    lift, error = pl.col("log_roas") - pl.col("log_roas_other"), (pl.col("variance") + pl.col("variance_other")).sqrt()
    return (
        pairs.with_columns(lift=lift, standard_error=error)
        .with_columns(
            lift_low=pl.col("lift") - wide * pl.col("standard_error"),
            lift_high=pl.col("lift") + wide * pl.col("standard_error"),
        )
        .rename({"ad_id_other": "other_id", "conversions_other": "other_conversions"})
        .select(pl.col(name).cast(kind) for name, kind in ROAS.items())
        .sort(*_ARM, "other_id")
    )
