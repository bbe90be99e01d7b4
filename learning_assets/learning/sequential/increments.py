"""What each local day adds to the evidence about two arms.

What belongs here: pairs of arms, their hours, and the likelihoods of a day. What does not: sums over days (`evidence`).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from learning_assets.learning.sequential.grid import GRID, log_likelihoods

HOURS = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "ad_id": pl.String,
        "date": pl.Date,
        "hour": pl.Int64,
        "exposure": pl.Float64,
        "events": pl.Int64,
    }
)
"""Arms by finished period: the local hour for clicks, exposed by impressions; the local day for conversions (`hour` 0), exposed by impressions or lagged
clicks. Unique by arm, date and hour."""

PAIR_DAYS = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "ad_id": pl.String,
        "other_id": pl.String,
        "date": pl.Date,
        "log_likelihood": pl.List(pl.Float64),
        "hours": pl.Int64,
        "dispersion": pl.Float64,
        "exposure": pl.Float64,
        "other_exposure": pl.Float64,
        "events": pl.Int64,
        "other_events": pl.Int64,
        "information": pl.Float64,
        "excess": pl.Float64,
    }
)
"""One row per pair of arms and local day, `ad_id` before `other_id` in order of text; the other direction is its mirror image, since the likelihood that
B leads A by r is that A leads B by -r.

`log_likelihood`: of each r of GRID (the arm over the other) against r = 0, divided by `dispersion`, nats. `hours`: periods in which both were
exposed, which alone count in all that follows. `information`: sum over hours of m q0 (1 - q0), events; `excess`: events of the arm less those expected at
r = 0. The last two are what `dispersion` is learned from."""

_EXPERIMENT = ["account_id", "experiment_id"]
_PAIR = [*_EXPERIMENT, "ad_id", "other_id"]


def increments(hours: pl.DataFrame, dispersion: pl.DataFrame) -> pl.DataFrame:
    """The evidence of each pair of arms and local day.

    Parameters
    ----------
    hours : HOURS, finished periods only; any number of experiments.
    dispersion : `account_id`, `experiment_id`, `date` and `dispersion` (at least 1), known before the date. Every date of `hours` needs one.

    Returns
    -------
    Frame with schema PAIR_DAYS, sorted by pair and date. A day on which a pair was never exposed together has no row.

    Raises
    ------
    ValueError : an arm has two rows for a period, a negative or unknown count, events without exposure, or a date without dispersion or one below 1.
    """
    _refuse(hours)
    key = [*_EXPERIMENT, "date", "hour"]
    both = (
        hours.filter(pl.col("exposure") > 0)
        .join(hours.filter(pl.col("exposure") > 0), on=key, suffix="_other")
        .filter(pl.col("ad_id") < pl.col("ad_id_other"))
        .rename({"ad_id_other": "other_id", "exposure_other": "other_exposure", "events_other": "other_events"})
        .join(dispersion.select(*_EXPERIMENT, "date", "dispersion"), on=[*_EXPERIMENT, "date"], how="left")
        .sort(*_PAIR, "date", "hour")
    )
    unknown = both.filter(~(pl.col("dispersion") >= 1).fill_null(value=False))
    if unknown.height:
        row = unknown.row(0, named=True)
        raise ValueError(
            f"experiment {row['experiment_id']!r} of account {row['account_id']!r} has the dispersion {row['dispersion']} for {row['date']}; "
            "it is at least 1 and known before the day"
        )
    share, total = (
        pl.col("exposure") / (pl.col("exposure") + pl.col("other_exposure")),
        pl.col("events") + pl.col("other_events"),
    )
    days = both.group_by(*_PAIR, "date", maintain_order=True).agg(
        hours=pl.len().cast(pl.Int64),
        dispersion=pl.col("dispersion").first(),
        exposure=pl.col("exposure").sum(),
        other_exposure=pl.col("other_exposure").sum(),
        events=pl.col("events").sum(),
        other_events=pl.col("other_events").sum(),
        information=(total * share * (1 - share)).sum(),
        excess=(pl.col("events") - total * share).sum(),
    )
    found = _summed(both, days)
    return days.with_columns(log_likelihood=found).select(pl.col(name).cast(kind) for name, kind in PAIR_DAYS.items())


def _summed(both: pl.DataFrame, days: pl.DataFrame) -> pl.Series:
    """Log likelihoods of the hours of each day, added up and divided by its dispersion; in blocks, so that memory stays bounded."""
    starts = np.concatenate([[0], days["hours"].to_numpy().cumsum()])
    ours, theirs = (both[name].cast(pl.Float64).to_numpy() for name in ("events", "other_events"))
    exposure, other = both["exposure"].to_numpy(), both["other_exposure"].to_numpy()
    found = np.empty((days.height, len(GRID)))
    for first in range(0, days.height, _DAYS_AT_ONCE):
        last = min(first + _DAYS_AT_ONCE, days.height)
        of = slice(starts[first], starts[last])
        values = log_likelihoods(ours[of], theirs[of], exposure[of] / (exposure[of] + other[of]))
        found[first:last] = np.add.reduceat(values, starts[first:last] - starts[first], axis=0)
    found /= days["dispersion"].to_numpy()[:, None]
    return pl.Series("log_likelihood", found, dtype=pl.Array(pl.Float64, len(GRID))).cast(pl.List(pl.Float64))


_DAYS_AT_ONCE = 200
"""A few megabytes of hours, which stay in the processor's cache."""


def lagged(clicks: pl.DataFrame, share_known: Sequence[float]) -> pl.DataFrame:
    """Exposure of each arm and day to conversions that are counted on the day they become known: its clicks of each age times their part that comes then.

    An arm that starts late has clicks that are younger, whose conversions have not come yet; by clicks alone it would look worse, and the old one better.

    Parameters
    ----------
    clicks : `account_id`, `experiment_id`, `ad_id`, `date` and `clicks`, unique by arm and date.
    share_known : part of the conversions of a day's clicks that is known at each age in days, from age 0, ascending, at most about 1.

    Returns
    -------
    `account_id`, `experiment_id`, `ad_id`, `date`, `exposure`: one row per arm and day from its first clicks to the last date of `clicks`, sorted.
    """
    arm = [*_EXPERIMENT, "ad_id"]
    comes = np.diff(np.asarray(share_known, dtype=np.float64), prepend=0.0)
    ages = pl.DataFrame({"age": range(len(comes)), "part": comes}, schema={"age": pl.Int64, "part": pl.Float64})
    last = clicks["date"].max()
    return (
        clicks.join(ages, how="cross")
        .with_columns(date=pl.col("date") + pl.duration(days="age"))
        .filter(pl.col("date") <= last)
        .group_by(*arm, "date")
        .agg(exposure=(pl.col("clicks") * pl.col("part")).sum())
        .sort(*arm, "date")
    )


def _refuse(hours: pl.DataFrame) -> None:
    missing = [name for name in HOURS if name not in hours.columns]
    if missing:
        raise ValueError(f"hours have no column {', '.join(missing)}; expected {', '.join(HOURS)}")
    wrong = hours.filter(
        ~((pl.col("exposure") >= 0) & pl.col("exposure").is_finite() & (pl.col("events") >= 0)).fill_null(value=False)
        | ((pl.col("exposure") == 0) & (pl.col("events") > 0))
    )
    if wrong.height:
        row = wrong.row(0, named=True)
        raise ValueError(
            f"ad {row['ad_id']!r} on {row['date']}, hour {row['hour']}: {row['events']} events of an exposure of {row['exposure']}; both are known and at "
            "least 0, and there are no events without exposure"
        )
    twice = hours.filter(hours.select(*_EXPERIMENT, "ad_id", "date", "hour").is_duplicated())
    if twice.height:
        row = twice.row(0, named=True)
        raise ValueError(f"ad {row['ad_id']!r} has several rows for {row['date']}, hour {row['hour']}; add them up")
