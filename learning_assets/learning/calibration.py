"""Predicted against happened, in bins: how often what was predicted came true.

What belongs here: the table behind a calibration plot, with its intervals. What does not: the one figure of it (`accuracy`), and the plot.

A bin holds predictions that lie next to each other and, as nearly as ties allow, the same weight (impressions for CTR, clicks for CVR, spend for
ROAS). The ad is the unit: an ad's days are not independent draws, so counts are divided by the design effect of ads before they are given an
interval (Korn & Graubard, Survey Methodology 1998), which is Jeffreys' (Brown, Cai & DasGupta, Statistical Science 2001).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = pl.Schema(
    {
        "bin": pl.Int64,
        "ads": pl.Int64,
        "ad_days": pl.Int64,
        "weight": pl.Int64,
        "happened": pl.Int64,
        "lowest": pl.Float64,
        "highest": pl.Float64,
        "predicted": pl.Float64,
        "rate": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
    }
)
"""What `table` adds to the group keys.

`bin`: from 1, by prediction. `weight`: sum of the denominators; `happened`: sum of the numerators. `lowest`, `highest`: predictions in the bin;
`predicted`: their mean by weight. `rate` = happened / weight, between `low` and `high`. Rates are in units of the metric. The bounds are NULL in a
bin of one ad, whose days say nothing about other ads.
"""


def table(compared: pl.DataFrame, by: Sequence[str], bins: int, level: float) -> pl.DataFrame:
    """Predicted against happened, in bins of equal weight.

    Parameters
    ----------
    compared : one row per ad, date and group: `account_id`, `ad_id`, `metric` (ctr, cvr or roas), `predicted` (a rate), `num` and `den` (counts, or
        micros for roas). Rows without one of these, or with nothing in the denominator, are left out.
    by : columns that make a group; `metric` must be among them unless there is only one.
    bins : bins a group, at most; predictions that are equal share a bin.
    level : of the intervals, 0 to 1.

    Returns
    -------
    One row per group and bin, sorted: the columns `by`, then those of BINS. Groups without rows are not there.

    Raises
    ------
    ValueError : fewer than one bin, a numerator or denominator below 0, or metrics that would be mixed in a group.
    """
    if bins < 1:
        raise ValueError(f"a calibration table needs one bin at least, not {bins}")
    if "metric" not in by and compared["metric"].n_unique() > 1:
        raise ValueError("the comparisons hold several metrics; add 'metric' to `by`, they cannot share a bin")
    if compared.filter((pl.col("num") < 0) | (pl.col("den") < 0)).height:
        raise ValueError("a numerator or a denominator is below 0")
    rows = compared.drop_nulls(["predicted", "num", "den"]).filter(pl.col("den") > 0)
    if rows.is_empty():
        return rows.select(*by, *(pl.lit(None, kind).alias(name) for name, kind in BINS.items()))
    keys = [*by, "bin"]
    ads = (
        pl.concat(_binned(part, bins) for part in rows.partition_by(by))
        .with_columns(expected=pl.col("den") * pl.col("predicted"))
        .group_by(*keys, "account_id", "ad_id")
        .agg(
            pl.col("num", "den", "expected").sum(),
            pl.len().alias("days"),
            pl.col("metric").first().alias("_metric"),
            pl.col("predicted").min().alias("lowest"),
            pl.col("predicted").max().alias("highest"),
        )
    )
    mean = pl.col("num").sum().over(keys) / pl.col("den").sum().over(keys)
    found = (
        ads.with_columns(residual=(pl.col("num") - mean * pl.col("den")) ** 2)
        .group_by(keys)
        .agg(
            pl.len().cast(pl.Int64).alias("ads"),
            pl.col("days").sum().cast(pl.Int64).alias("ad_days"),
            pl.col("den").sum().alias("weight"),
            pl.col("num").sum().alias("happened"),
            pl.col("lowest").min(),
            pl.col("highest").max(),
            predicted=pl.col("expected").sum() / pl.col("den").sum(),
            residual=pl.col("residual").sum(),
            counts=pl.col("_metric").first() != "roas",
        )
        .with_columns(rate=pl.col("happened") / pl.col("weight"))
        .sort(keys)
    )
    low, high = _bounds(found, level)
    return found.with_columns(low=low, high=high).select(*by, *(pl.col(name).cast(kind) for name, kind in BINS.items()))


def _binned(rows: pl.DataFrame, bins: int) -> pl.DataFrame:
    """The rows of one group with the number of their bin; equal predictions are in the same."""
    predicted = rows["predicted"].to_numpy()
    order = np.argsort(predicted, kind="stable")
    sums = np.cumsum(rows["den"].to_numpy().astype(np.float64)[order])
    last = np.asarray(np.searchsorted(sums, sums[-1] * np.arange(1, bins) / bins), dtype=np.int64)
    places = np.searchsorted(predicted[order][last], predicted, side="left")
    return rows.with_columns(bin=pl.Series(np.unique(places, return_inverse=True)[1] + 1, dtype=pl.Int64))


def jeffreys(happened: int, tried: int, level: float) -> tuple[float, float]:
    """Jeffreys' interval of a share of independent trials; both ends are fractions.

    Raises ValueError for no trials, or more that happened than were tried.
    """
    from scipy.special import betaincinv  # pyright: ignore[reportMissingTypeStubs]

    if not 0 <= happened <= tried or tried == 0:
        raise ValueError(f"{happened} of {tried} is no share")
    low, high = (float(betaincinv(happened + 0.5, tried - happened + 0.5, side)) for side in ((1 - level) / 2, (1 + level) / 2))
    return (low if happened > 0 else 0.0), (high if happened < tried else 1.0)


def _bounds(found: pl.DataFrame, level: float) -> tuple[pl.Series, pl.Series]:
    """Both ends of the interval of each row's rate."""
    from scipy.special import betaincinv, ndtri, stdtrit  # pyright: ignore[reportMissingTypeStubs]

    side = (1 + level) / 2
    ads, weight, happened = (found[name].to_numpy().astype(np.float64) for name in ("ads", "weight", "happened"))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = happened / weight
        variance = np.where(ads > 1, ads / (ads - 1) * found["residual"].to_numpy() / weight**2, np.nan)
        student: Floats = np.where(ads > 1, stdtrit(np.maximum(ads - 1, 1), side), np.nan)
        counted = found["counts"].to_numpy() & (happened <= weight)
        # At least the binomial variance: ads that agree by chance are no proof that there is no noise.
        effect = np.maximum(np.where(rate * (1 - rate) > 0, variance * weight / (rate * (1 - rate)), 1.0), 1.0)
        shrink = effect * (student / float(ndtri(side))) ** 2
        yes, no = happened / shrink, (weight - happened) / shrink
        lower = np.where(happened > 0, betaincinv(yes + 0.5, no + 0.5, 1 - side), 0.0)
        upper = np.where(happened < weight, betaincinv(yes + 0.5, no + 0.5, side), 1.0)
        margin = student * np.sqrt(variance)
        low = np.where(counted, lower, np.maximum(rate - margin, 0.0))
        high = np.where(counted, upper, rate + margin)
    return tuple(pl.Series(np.where(ads > 1, bound, np.nan)).fill_nan(None) for bound in (low, high))  # pyright: ignore[reportReturnType]
