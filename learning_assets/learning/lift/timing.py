"""When ads are shown: hours and weekdays.

What belongs here: lifts of times against the other times of the same ad and week. What does not: lifts of what an ad is (`estimates`).

An ad is shown at all hours, so it is its own control: a stratum is one ad in one week, and which ads are shown at night does not matter. Its
hours are not independent of those of other ads, though: what happens on a Tuesday happens to all of them. So within an account the clusters
are weeks, not ads; over several accounts the error is the larger one of those clustered by account and by week, with the smaller one of the
degrees of freedom. Times were never assigned at random: the evidence is observational.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from learning_assets.learning.lift.clusters import between, codes, floats, sum_by
from learning_assets.learning.lift.estimates import collect, money_unit
from learning_assets.learning.lift.found import COUNTS, METRICS, Scope, estimated, judged
from learning_assets.settings import Patterns

TIMES = pl.Schema(
    {
        "week": pl.Date,
        "account_id": pl.String,
        "ad_id": pl.String,
        "attribute": pl.String,
        "value": pl.String,
        **dict.fromkeys(COUNTS, pl.Int64),
    }
)
"""One row per ad, week, attribute (`posting_hour`, `posting_weekday`) and value; a count is NULL where it is not known by that time."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What times are compared by, of each account by itself.

    `cells` : R and S by metric, attribute, account, week and value (`r`, `s`), with `n_all`, `clicks` and `impressions` of the ads at the time.
    `ads` : numbers of ads by metric, attribute, account and value, shown at the time (`ads_with`) and at another (`ads_without`).
    """

    cells: pl.DataFrame
    ads: pl.DataFrame

    @classmethod
    def together(cls, parts: Iterable["Compared"]) -> "Compared":
        """Of all accounts of the parts; an account is in one of them."""
        parts = list(parts)
        return cls(pl.concat([part.cells for part in parts]), pl.concat([part.ads for part in parts]))

    def of(self, accounts: pl.Expr) -> "Compared":
        """Of the accounts for which the expression holds."""
        return Compared(self.cells.filter(accounts), self.ads.filter(accounts))


def compare(times: pl.LazyFrame) -> Compared:
    """Compare the times of each ad and week: the costly part of `mine`, which serves every scope.

    Parameters
    ----------
    times : schema TIMES; the values of an attribute part the week.
    """
    cells, ads = zip(*((_cells(times, metric), _ads(times, metric)) for metric in METRICS), strict=True)
    return Compared(pl.concat(cells), pl.concat(ads))


def mine(compared: Compared, settings: Patterns, scope: Scope, niche: str | None = None) -> pl.DataFrame:
    """Lifts of every time on CTR, CVR and ROAS.

    Parameters
    ----------
    compared : of the scope's accounts.
    settings, scope, niche : see `estimates.mine`.

    Returns
    -------
    Frame with schema `found.FOUND`. `strata` are weeks of accounts; `ads_with` and `ads_without` were shown at the time, and at another.
    The q-values are those of a family of its own.
    """
    parts = [
        _lifts(cells, compared.ads, settings.confidence_level, pooled=scope != "account").with_columns(
            attribute=pl.lit(attribute),
            metric=pl.lit(metric),
            scope=pl.lit(scope),
            niche=pl.lit(niche, pl.String),
            evidence=pl.lit("observational"),
        )
        for (metric, attribute), cells in compared.cells.group_by("metric", "attribute", maintain_order=True)
    ]
    return judged(parts, settings.confidence_level)


def _lifts(cells: pl.DataFrame, ads: pl.DataFrame, level: float, *, pooled: bool) -> pl.DataFrame:
    """Of one metric and attribute."""
    own = pl.lit(None, pl.String).alias("account_id") if pooled else pl.col("account_id")
    names = cells.select(own, "value").unique().sort("account_id", "value").with_row_index("pattern")
    by = ["value"] if pooled else ["account_id", "value"]
    rows = (
        cells.join(names.drop("account_id") if pooled else names, on=by)
        .with_columns(
            account=pl.col("account_id").rank("dense").cast(pl.Int64) - 1, at=pl.col("week").rank("dense").cast(pl.Int64) - 1
        )
        .sort("pattern", "account", "at")
    )
    pattern, account, week = codes(rows, "pattern"), codes(rows, "account"), codes(rows, "at")
    unit = np.ones(rows.height)
    if pooled and rows["metric"][0] == "roas":
        clicks, spend = (sum_by(account, floats(rows, name), int(account.max()) + 1) for name in ("clicks", "n_all"))
        unit = np.nan_to_num(money_unit(clicks, spend))[account]
    r, s = unit * floats(rows, "r"), unit * floats(rows, "s")
    side = (r, s, unit > 0)
    by_week = between(pattern, names.height, week, int(week.max()) + 1, side)
    variance, freedom, accounts = by_week.variance, by_week.freedom, np.ones(names.height)
    if pooled:
        by_account = between(pattern, names.height, account, int(account.max()) + 1, side)
        # Where one of the two cannot be told, nothing can.
        variance = np.maximum(variance, by_account.variance)
        freedom, accounts = np.minimum(freedom, by_account.freedom), by_account.clusters
    total_r, total_s = sum_by(pattern, r, names.height), sum_by(pattern, s, names.height)
    possible = (total_r > 0) & (total_s > 0)
    lift = np.where(possible, np.log(np.where(possible, total_r, 1) / np.where(possible, total_s, 1)), np.nan)
    shown = ads.join(cells.select("metric", "attribute").unique(), on=["metric", "attribute"], how="semi")
    shown = shown.group_by(own, "value").agg(pl.col("ads_with", "ads_without").sum())
    counted = names.join(shown, on=["account_id", "value"], how="left", nulls_equal=True).sort("pattern")
    counts = {
        "ads_with": floats(counted, "ads_with"),
        "ads_without": floats(counted, "ads_without"),
        "accounts": accounts,
        "strata": sum_by(pattern, None, names.height),
        "impressions": sum_by(pattern, floats(rows, "impressions"), names.height),
    }
    found = estimated(lift, variance, freedom, counts, level)
    return pl.concat([found, names.drop("pattern")], how="horizontal")


def _known(times: pl.LazyFrame, metric: str) -> pl.LazyFrame:
    """Rows in which the metric is known, as n and m, with those of the ad's whole week and the rest of it."""
    m, n = METRICS[metric]
    of_week = ["attribute", "account_id", "ad_id", "week"]
    return (
        times.filter(pl.col(n).is_not_null(), pl.col(m).is_not_null())
        .select(*of_week, "value", "impressions", "link_clicks", n=n, m=m)
        .with_columns(pl.col("n", "m").sum().over(of_week).name.suffix("_all"))
    )


def _cells(times: pl.LazyFrame, metric: str) -> pl.DataFrame:
    """R and S by attribute, account, week and value, over the ads that were shown at the time and at another."""
    key = ["attribute", "account_id", "week", "value"]
    rows = (
        _known(times, metric)
        .filter(pl.col("n") > 0, pl.col("n_all") > pl.col("n"))
        .sort(*key, "ad_id")
        .with_columns(cell=pl.struct(key).rle_id().cast(pl.Int64))
        .collect()
    )
    cells = rows.unique("cell", keep="first", maintain_order=True).select(pl.lit(metric).alias("metric"), *key)
    cell = codes(rows, "cell")
    n, m, n_all, m_all = (floats(rows, name) for name in ("n", "m", "n_all", "m_all"))
    # Added in the order of the ads, so that the same rows give the same bits.
    sums = {"r": m * (n_all - n) / n_all, "s": (m_all - m) * n / n_all, "n_all": n}
    counts = {"clicks": floats(rows, "link_clicks"), "impressions": floats(rows, "impressions")}
    return cells.with_columns(pl.Series(name, sum_by(cell, amounts, cells.height)) for name, amounts in (sums | counts).items())


def _ads(times: pl.LazyFrame, metric: str) -> pl.DataFrame:
    """How many ads of an account were shown at the time and at another, by attribute and value."""
    return collect(
        _known(times, metric)
        .group_by("attribute", "account_id", "ad_id", "value")
        .agg(at=(pl.col("n") > 0).any(), apart=(pl.col("n_all") > pl.col("n")).any())
        .group_by("attribute", "account_id", "value")
        .agg(ads_with=pl.col("at").sum().cast(pl.Int64), ads_without=pl.col("apart").sum().cast(pl.Int64))
        .select(pl.lit(metric).alias("metric"), "attribute", "account_id", "value", "ads_with", "ads_without")
    )
