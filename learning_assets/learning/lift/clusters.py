"""Errors of pooled lifts: clustered by ad within an account, by account (or another unit) over several.

What belongs here: sums by codes, and the variance of a Mantel-Haenszel log ratio with its degrees of freedom. What does not: which rows are
compared (`estimates`, `interactions`, `timing`). The formulae are derived in the package's docstring.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning.lift.found import Codes, Floats

_CELLS = 8_000_000
"""Ads x values held at once while errors within accounts are computed (64 MB an array)."""


def codes(frame: pl.DataFrame, column: str) -> Codes:
    """A column of codes."""
    return frame[column].to_numpy().astype(np.int64)


def floats(frame: pl.DataFrame, column: str) -> Floats:
    """A column of amounts, 0 where NULL."""
    amounts = frame[column].to_numpy().astype(np.float64)
    return np.where(np.isnan(amounts), 0.0, amounts) if frame[column].null_count() else amounts


def sum_by(code: Codes, values: Floats | None, size: int) -> Floats:
    """Sums (or counts) by code, added in row order, so that the same rows give the same bits."""
    return np.asarray(np.bincount(code, values, size), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Clustered:
    """Variance of a log ratio, its degrees of freedom, and the number of clusters that it rests on, per pattern."""

    variance: Floats
    freedom: Floats
    clusters: Floats


@dataclass(frozen=True, slots=True)
class Coded:
    """Rows with `ad` and `s` (stratum) as codes from 0, n_METRIC and m_METRIC as floats, and the attributes, sorted by ad.

    `strata` and `ads` are their numbers, `first_ad` is the first ad of every account.
    """

    rows: pl.DataFrame
    strata: int
    ads: int
    first_ad: Codes


@dataclass(frozen=True, slots=True)
class Cells:
    """Strata x values with ads on both sides, for one metric. `pattern` numbers what a cell is evidence for; `patterns`
    says how many."""

    metric: str
    stratum: Codes
    account: Codes
    value: Codes
    pattern: Codes
    patterns: int
    values: int
    n1: Floats
    m1: Floats
    n0: Floats
    m0: Floats
    impressions: Floats

    def per_pattern(self, amounts: Floats | None = None) -> Floats:
        return sum_by(self.pattern, amounts, self.patterns)


Side = tuple[Floats, Floats, NDArray[np.bool_]]
"""R and S of every cell, and whether the cell says anything; zeros where it does not."""


def between(pattern: Codes, patterns: int, cluster: Codes, clusters: int, *sides: Side) -> Clustered:
    """Error of log(ΣR / ΣS), clustered by what `cluster` codes; with two sides, of the difference of their log ratios.

    A cluster's weight is its mean share of the sums; it is counted where every side has cells in it.

    Parameters
    ----------
    pattern, cluster : of every cell, codes below `patterns` and `clusters`.
    """

    def by_cluster(amounts: Floats) -> Floats:
        return sum_by(pattern * clusters + cluster, amounts, patterns * clusters).reshape(-1, clusters)

    share, weight = np.zeros((2, patterns, clusters))
    everywhere = np.ones((patterns, clusters), dtype=bool)
    for sign, (r, s, there) in zip((1, -1), sides, strict=False):
        r, s = (part / np.maximum(part.sum(axis=1, keepdims=True), np.finfo(float).tiny) for part in map(by_cluster, (r, s)))
        share += sign * (r - s)
        weight += (r + s) / (2 * len(sides))
        everywhere &= by_cluster(there.astype(np.float64)) > 0
    alone = weight > 1 - 1e-9
    variance = np.where(alone, np.nan, share**2 / np.where(alone, 1, 1 - weight)).sum(axis=1)
    freedom = 1 / np.maximum((weight**2).sum(axis=1), np.finfo(float).tiny) - 1
    return Clustered(variance, freedom, everywhere.sum(axis=1).astype(np.float64))


def between_ads(
    coded: Coded, attribute: str, value: pl.Expr, cells: Cells, total_r: Floats, total_s: Floats
) -> tuple[Floats, Floats]:
    """Variance of the log lift clustered by ad, and its degrees of freedom, per account and value.

    Every ad of a stratum is on the other side of every value that it does not have. Those shares are products of the
    sparse matrix ads x strata with dense matrices strata x values; the pairs of an ad and its own value, which are few,
    are then put right.
    """
    from scipy.sparse import csr_array  # pyright: ignore[reportMissingTypeStubs]

    n_all = cells.n1 + cells.n0
    possible = (total_r > 0) & (total_s > 0)
    r, s = np.where(possible, total_r, np.inf)[cells.pattern], np.where(possible, total_s, np.inf)[cells.pattern]
    theta = np.where(possible, total_r, 1)[cells.pattern] / np.where(possible, total_s, 1)[cells.pattern]
    size = cells.per_pattern(cells.n1 * cells.n0 / n_all)[cells.pattern]
    mu = (cells.m1 + theta * cells.m0) / n_all
    x1, x0 = cells.n0 / n_all, cells.n1 / n_all
    # What an ad's row is multiplied by: numerator and denominator in its share u, leverage g, noise a, a with residuals' factor.
    without = (-x0 / s, x0 / s * mu / theta, x0**2 / size, x0 * mu, x0 * mu)
    with_ = (x1 / r, -x1 / r * mu, x1**2 / size, x1 * mu, x1 * mu)

    rows = coded.rows.filter(pl.col(attribute).is_not_null())
    ad, stratum = rows["ad"].to_numpy(), rows["s"].to_numpy()
    n, m = rows[f"n_{cells.metric}"].to_numpy(), rows[f"m_{cells.metric}"].to_numpy()
    n_stratum = sum_by(stratum, n, coded.strata)
    others = 1 - n / np.where(n_stratum > 0, n_stratum, 1)[stratum]
    factor = 1 / np.where(others > 0, others, 1)
    root = np.sqrt(factor)
    amounts = (root * m, root * n, factor * n, n, root * n)
    starts = np.searchsorted(ad, np.arange(coded.ads + 1))
    matrices = [csr_array((amount, stratum, starts), shape=(coded.ads, coded.strata)) for amount in amounts]
    pairs = rows.select(pl.int_range(pl.len()).alias("row"), attribute)
    if isinstance(rows.schema[attribute], pl.List):
        pairs = pairs.explode(attribute)
        row = codes(pairs, "row")
        ad, stratum, amounts = ad[row], stratum[row], tuple(amount[row] for amount in amounts)
    own_value = codes(pairs.select(value), "value")

    variance = np.empty((coded.first_ad.size, cells.values))
    freedom = np.empty_like(variance)
    width = max(1, _CELLS // coded.ads)
    for start in range(0, cells.values, width):
        block = slice(start, min(start + width, cells.values))
        columns = block.stop - start
        cell = np.flatnonzero((cells.value >= start) & (cells.value < block.stop))
        place = cells.stratum[cell] * columns + cells.value[cell] - start
        own = slice(None) if columns == cells.values else np.flatnonzero((own_value >= start) & (own_value < block.stop))
        own_place, own_cluster = (code[own] * columns + own_value[own] - start for code in (stratum, ad))
        shares: list[Floats] = []
        for matrix, amount, weight0, weight1 in zip(matrices, amounts, without, with_, strict=True):
            weights, change = np.zeros((2, coded.strata * columns))
            weights[place], change[place] = weight0[cell], (weight1 - weight0)[cell]
            share = np.asarray(matrix @ weights.reshape(-1, columns), dtype=np.float64)
            share += sum_by(own_cluster, amount[own] * change[own_place], share.size).reshape(share.shape)
            shares.append(share)
        u, leverage, noise, lowered = shares[0] + shares[1], shares[2], shares[3], shares[4]
        alone = leverage > 1 - 1e-9
        squares = np.where(noise > 0, u**2 / np.where(alone, np.nan, 1 - leverage), 0)
        variance[:, block] = np.add.reduceat(squares, coded.first_ad)
        has = np.zeros(noise.size, dtype=bool)
        has[own_cluster] = True
        total, of_sides = np.zeros((2, *variance[:, block].shape))
        for side in (has.reshape(noise.shape), ~has.reshape(noise.shape)):
            first, second, below = (
                np.add.reduceat(np.where(side, amount, 0), coded.first_ad) for amount in (noise, noise**2, lowered**2)
            )
            effective = first**2 / np.where(below > 0, below, 1)
            total += second
            of_sides += np.where(effective > 1, second**2 / np.where(effective > 1, effective - 1, 1), np.inf)
        freedom[:, block] = total**2 / np.where(of_sides > 0, of_sides, np.inf)
    return variance.ravel(), freedom.ravel()
