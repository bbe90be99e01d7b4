"""What leaves an owner: one clipped, shrunk log ratio per attribute value and metric, and its rates against a public reference.

What belongs here: that choice and nothing else. No text, ids of ads or accounts, names, volumes or variances leave. What does not belong here:
what is made of the insights of several owners (`aggregate`, `release`).

A lift is shrunk by the *root* of its reliability r = σ² / (σ² + se²), σ being the spread of true lifts over owners (constrained empirical Bayes;
Louis, JASA 79, 1984). Insights then spread by σ whatever the volume behind them: plain shrinkage by r would let large accounts dominate a mean of
five, and its amount would tell their volume. A lift of which less than `min_reliability` is no noise does not leave.
"""

from collections.abc import Sequence

import polars as pl

from learning_assets.learning.lift import METRICS, PAIR
from learning_assets.settings import Network

KEY = ("attribute", "value", "metric")

INSIGHTS = pl.Schema({**dict.fromkeys(("owner", "niche", *KEY), pl.String), "log_ratio": pl.Float64})
"""One row per owner, attribute value and metric. `niche` is NULL where unknown. `log_ratio`: natural log of a lift, or, of the attribute BENCHMARK,
of the owner's rate over the reference."""

BENCHMARK = "benchmark"
"""Attribute of what an owner's ads reach as a whole; its one value is `rate`."""


def lifts(patterns: pl.DataFrame, accounts: pl.DataFrame, settings: Network) -> pl.DataFrame:
    """Log lifts as they leave the owners.

    Parameters
    ----------
    patterns : columns of `lift.FOUND`; rows of scope `account` about single attributes are used, of two grades of evidence the surer one.
    accounts : those that consent, one row each: `account_id`, `owner`, `niche`.

    Returns
    -------
    A frame with schema INSIGHTS, |log_ratio| <= `settings.clip`. An owner's accounts weigh the same, and only those of the niche that most of them
    are in count. Of an attribute of which the owner has two values only, one is the other's mirror image and the first by name is told.
    """
    prior = settings.prior_sd**2
    reliability = prior / (prior + pl.col("se") ** 2)
    shrunk = (
        patterns.filter(
            pl.col("scope") == "account",
            ~pl.col("attribute").str.contains(PAIR, literal=True),
            reliability >= settings.min_reliability,
        )
        .sort("se", "evidence")
        .unique(["account_id", *KEY], keep="first", maintain_order=True)
        .with_columns(log_ratio=(pl.col("log_lift") * reliability.sqrt()).clip(-settings.clip, settings.clip))
    )
    told = _by_owner(shrunk, accounts)
    values = pl.col("value").n_unique().over("owner", "attribute", "metric")
    first = pl.col("value") == pl.col("value").min().over("owner", "attribute", "metric")
    return told.filter((values != 2) | first)


def benchmarks(sums: pl.DataFrame, accounts: pl.DataFrame, settings: Network) -> pl.DataFrame:
    """Rates as they leave the owners: logs of their ratio to the reference, |log_ratio| <= `settings.benchmark_clip`.

    Parameters
    ----------
    sums : one row per account: `account_id`, `impressions`, `link_clicks`, `conversions`, `spend_micros`, `revenue_micros`. A rate of
        fewer than `settings.benchmark_events` clicks or conversions is not known.
    accounts : as for `lifts`.
    """
    reference = {"ctr": settings.reference_ctr, "cvr": settings.reference_cvr, "roas": settings.reference_roas}
    clip, counted = settings.benchmark_clip, {"ctr": "link_clicks", "cvr": "conversions", "roas": "conversions"}
    parts: Sequence[pl.DataFrame] = [
        sums.filter(pl.col(counted[metric]) >= settings.benchmark_events, pl.col(above) > 0, pl.col(below) > 0).select(
            "account_id",
            attribute=pl.lit(BENCHMARK),
            value=pl.lit("rate"),
            metric=pl.lit(metric),
            log_ratio=(pl.col(above) / pl.col(below) / reference[metric]).log().clip(-clip, clip),
        )
        for metric, (above, below) in METRICS.items()
    ]
    return _by_owner(pl.concat(parts), accounts)


def _by_owner(rows: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Mean over the accounts of each owner that are of its usual niche, every account weighing the same."""
    usual = (
        accounts.group_by("owner", "niche")
        .agg(accounts=pl.len())
        .sort(["owner", "accounts", "niche"], descending=[False, True, False])
        .unique("owner", keep="first", maintain_order=True)
        .select("owner", "niche")
    )
    counted = accounts.select("account_id", "owner", "niche").join(usual, on=["owner", "niche"], nulls_equal=True)
    return (
        rows.select("account_id", *KEY, "log_ratio")
        .join(counted, on="account_id")
        .group_by("owner", "niche", *KEY)
        .agg(pl.col("log_ratio").mean())
        .select(INSIGHTS.names())
        .sort("owner", *KEY)
    )
