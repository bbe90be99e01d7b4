"""What all days together say about two arms: the e-value, its confidence sequence, and the lift that budgets move on.

What belongs here: sums of days and what they mean. What does not: the days themselves (`increments`) and what is decided (`decisions`).
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning.sequential import grid
from learning_assets.learning.sequential.grid import GRID, Floats
from learning_assets.settings import Promotion

EVIDENCE = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "ad_id": pl.String,
        "other_id": pl.String,
        "days": pl.Int64,
        "hours": pl.Int64,
        "exposure": pl.Float64,
        "other_exposure": pl.Float64,
        "events": pl.Int64,
        "other_events": pl.Int64,
        "dispersion": pl.Float64,
        "log_e": pl.Float64,
        "peak_log_e": pl.Float64,
        "anytime_p": pl.Float64,
        "lift": pl.Float64,
        "lift_low": pl.Float64,
        "lift_high": pl.Float64,
        "shrunk_lift": pl.Float64,
        "shrunk_low": pl.Float64,
        "shrunk_high": pl.Float64,
        "naive_p": pl.Float64,
    }
)
"""One row per ordered pair: what speaks for `ad_id` being better than `other_id`.

`log_e`: logarithm of the e-value now, nats; `peak_log_e`: its highest at the end of any day; `anytime_p`: min(1, 1 / highest e-value). Lifts are log rate
ratios: `lift` as observed, hour by hour, with the confidence sequence `lift_low` to `lift_high` (NULL where it goes beyond the grid, 0.9 either way);
`shrunk_lift` drawn towards 0 for the winner's curse. `dispersion`: of the newest day. `naive_p`: one-sided p of a z-test on the sums, which may not be
looked at more than once."""

_PAIR = ["account_id", "experiment_id", "ad_id", "other_id"]


def evidence(pair_days: pl.DataFrame, rules: Promotion) -> pl.DataFrame:
    """Add up days, in both directions.

    Parameters
    ----------
    pair_days : PAIR_DAYS, unique by pair and date; those of the days that count.
    rules : `alpha`, `prior_sd`, `shrink_sd`.

    Returns
    -------
    Frame with schema EVIDENCE, sorted.

    Raises
    ------
    ValueError : a pair has two rows for a day.
    """
    twice = pair_days.filter(pair_days.select(*_PAIR, "date").is_duplicated())
    if twice.height:
        row = twice.row(0, named=True)
        raise ValueError(
            f"the pair {row['ad_id']!r}, {row['other_id']!r} has two rows for {row['date']}; a restated day replaces its own"
        )
    days = pair_days.sort(*_PAIR, "date")
    if days.is_empty():
        return EVIDENCE.to_frame()
    sums = days.group_by(_PAIR, maintain_order=True).agg(
        days=pl.len().cast(pl.Int64),
        hours=pl.col("hours").sum(),
        **{name: pl.col(name).sum() for name in ("exposure", "other_exposure", "events", "other_events")},
        dispersion=pl.col("dispersion").last(),
    )
    here, there = _figures(_matrix(days), sums["days"].to_numpy().astype(np.int64), rules)
    mirrored = sums.rename(
        {
            "ad_id": "other_id",
            "other_id": "ad_id",
            "exposure": "other_exposure",
            "other_exposure": "exposure",
            "events": "other_events",
            "other_events": "events",
        }
    ).select(sums.columns)
    return (
        pl.concat([_judged(sums, here), _judged(mirrored, there)])
        .select(pl.col(name).cast(kind) for name, kind in EVIDENCE.items())
        .sort(_PAIR)
    )


def _matrix(days: pl.DataFrame) -> Floats:
    return days["log_likelihood"].cast(pl.List(pl.Float64)).list.to_array(len(GRID)).to_numpy()


def _figures(days: Floats, lengths: NDArray[np.int64], rules: Promotion) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Figures of every pair in both directions, in blocks of pairs that stay in the processor's cache. `lengths`: days of each pair, in the order of `days`."""
    ends = lengths.cumsum()
    blocks: list[tuple[dict[str, Floats], dict[str, Floats]]] = []
    for first in range(0, len(lengths), _PAIRS_AT_ONCE):
        some = lengths[first : first + _PAIRS_AT_ONCE]
        begins = some.cumsum() - some
        running: Floats = days[ends[first] - lengths[first] : ends[first + len(some) - 1]].cumsum(axis=0)
        before: Floats = np.where((begins > 0)[:, None], running[begins - 1], 0.0)
        # What had been summed by each day's end, for the highest e-value.
        path: Floats = running - np.repeat(before, some, axis=0)
        last = begins + some - 1
        blocks.append((_one_way(path, begins, last, rules), _one_way(path[:, ::-1], begins, last, rules)))
    here, there = ({name: np.concatenate([block[way][name] for block in blocks]) for name in blocks[0][way]} for way in (0, 1))
    return here, there


_PAIRS_AT_ONCE = 200


def _one_way(path: Floats, begins: NDArray[np.int64], last: NDArray[np.int64], rules: Promotion) -> dict[str, Floats]:
    e_values, total = grid.mixture(path, grid.one_sided(rules.prior_sd)), path[last]
    peak = np.maximum.reduceat(e_values, begins)
    low, high = grid.confidence_set(total, rules.prior_sd, rules.alpha)
    shrunk, shrunk_low, shrunk_high = grid.shrunk(total, rules.shrink_sd, 1 - rules.alpha)
    return {
        "log_e": e_values[last],
        "peak_log_e": peak,
        "anytime_p": np.minimum(1.0, np.exp(-peak)),
        "lift": grid.most_likely(total),
        "lift_low": np.where(np.isfinite(low), low, np.nan),
        "lift_high": np.where(np.isfinite(high), high, np.nan),
        "shrunk_lift": shrunk,
        "shrunk_low": shrunk_low,
        "shrunk_high": shrunk_high,
    }


def _judged(sums: pl.DataFrame, figures: dict[str, Floats]) -> pl.DataFrame:
    found = figures | {"naive_p": _naive(sums)}
    return sums.with_columns(pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in found.items())


def _naive(sums: pl.DataFrame) -> Floats:
    """One-sided p of the pooled two-proportion z-test on sums; NaN without events."""
    from scipy.special import ndtr  # pyright: ignore[reportMissingTypeStubs]

    ours, theirs, shown, other = (
        sums[name].cast(pl.Float64).to_numpy() for name in ("events", "other_events", "exposure", "other_exposure")
    )
    rate = (ours + theirs) / (shown + other)
    error = np.sqrt(rate * np.maximum(1 - rate, 0.0) * (1 / shown + 1 / other))
    z = np.divide(ours / shown - theirs / other, error, out=np.full(len(rate), np.nan), where=error > 0)
    return np.asarray(ndtr(-z), dtype=np.float64)
