"""How well two sources agree that say several labels of each thing, such as rules and a person on hook types of ads.

What belongs here: counts and measures of agreement over labels. What does not: who said what, and where it comes from.

Agreement per label is precision and recall, F1, and Cohen's kappa (Educational and Psychological Measurement 1960), which takes out what
chance alone would give. Intervals are percentiles of the bootstrap over things (Efron 1979): things are drawn, with all their labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

PER_LABEL = pl.Schema(
    {
        "label": pl.String,
        "said": pl.Int64,
        "true": pl.Int64,
        "both": pl.Int64,
        "precision": pl.Float64,
        "recall": pl.Float64,
        "f1": pl.Float64,
        "kappa": pl.Float64,
    }
)
"""One row per label: how often it was said, how often it is true, how often both; measures 0 to 1 (kappa -1 to 1), NULL where a
denominator is zero."""

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement over all labels and on each.

    Attributes
    ----------
    things : number of things compared.
    micro_f1, macro_f1 : F1 of all labels' counts together, and the mean of the labels' F1 that are known.
    micro_low, micro_high, macro_low, macro_high : their 95 % bootstrap intervals.
    exact : share of things of which exactly the same labels were said.
    labels : schema PER_LABEL, in the order asked for.
    """

    things: int
    micro_f1: float
    micro_low: float
    micro_high: float
    macro_f1: float
    macro_low: float
    macro_high: float
    exact: float
    labels: pl.DataFrame


def agreement(said: pl.Series, true: pl.Series, labels: Sequence[str], *, seed: int = 7, draws: int = 2_000) -> Agreement:
    """Compare labels said with true ones.

    Parameters
    ----------
    said, true : List[String], shape (n,), without NULL; labels outside `labels` do not count.
    labels : the labels that count.
    seed, draws : of the bootstrap.

    Raises
    ------
    ValueError : nothing to compare, lengths that differ, NULL, or labels of which none is ever said or true.
    """
    if not len(said) or len(said) != len(true) or said.null_count() or true.null_count():
        raise ValueError(
            f"{len(said)} and {len(true)} things are to be compared; they must be as many, at least one, and none NULL"
        )
    a, b = _matrix(said, labels), _matrix(true, labels)
    if not (a | b).any():
        raise ValueError("none of the labels is ever said or true")
    rows = [_counts(a, b)]
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        drawn = rng.integers(0, len(a), len(a))
        rows.append(_counts(a[drawn], b[drawn]))
    counts = np.stack(rows)
    micro = _f1(counts.sum(axis=2))
    macro = _mean_of_known(_f1(counts))
    micro_low, micro_high = np.nanpercentile(micro[1:], (2.5, 97.5))
    macro_low, macro_high = np.nanpercentile(macro[1:], (2.5, 97.5))
    return Agreement(
        things=len(a),
        micro_f1=float(micro[0]),
        micro_low=float(micro_low),
        micro_high=float(micro_high),
        macro_f1=float(macro[0]),
        macro_low=float(macro_low),
        macro_high=float(macro_high),
        exact=float((a == b).all(axis=1).mean()),
        labels=_per_label(a, b, labels),
    )


def _matrix(lists: pl.Series, labels: Sequence[str]) -> Bools:
    """Whether each thing has each label, shape (n, labels)."""
    frame = lists.to_frame("has").select(pl.col("has").list.contains(label).alias(label) for label in labels)
    return cast("Bools", frame.to_numpy())


def _counts(a: Bools, b: Bools) -> Floats:
    """How often each label was said, is true, and both; shape (3, labels)."""
    return np.stack([a.sum(axis=0), b.sum(axis=0), (a & b).sum(axis=0)]).astype(np.float64)


def _f1(counts: Floats) -> Floats:
    """F1 from counts of said, true and both, shape (draws, 3, ...); NaN where the label is neither said nor true."""
    either = counts[:, 0] + counts[:, 1]
    with np.errstate(invalid="ignore"):
        return 2 * counts[:, 2] / np.where(either > 0, either, np.nan)


def _mean_of_known(f1: Floats) -> Floats:
    """Mean over labels, shape (draws,); NaN where a draw has none of them."""
    with np.errstate(invalid="ignore"):
        return np.nansum(f1, axis=1) / np.isfinite(f1).sum(axis=1)


def _per_label(a: Bools, b: Bools, labels: Sequence[str]) -> pl.DataFrame:
    said, true, both = (row.astype(np.int64) for row in _counts(a, b))
    n = len(a)
    counts = pl.DataFrame({"label": list(labels), "said": said, "true": true, "both": both})
    # in counts and not in shares, so that what is zero is exactly zero
    alike = n * (n - pl.col("said") - pl.col("true") + 2 * pl.col("both"))
    by_chance = pl.col("said") * pl.col("true") + (n - pl.col("said")) * (n - pl.col("true"))
    return counts.select(
        "label",
        "said",
        "true",
        "both",
        precision=_ratio(pl.col("both"), pl.col("said")),
        recall=_ratio(pl.col("both"), pl.col("true")),
        f1=_ratio(2 * pl.col("both"), pl.col("said") + pl.col("true")),
        kappa=_ratio(alike - by_chance, n**2 - by_chance),
    ).cast(PER_LABEL)


def _ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(part / whole)
