"""Numbers as categories: where the bins of a length, a duration or an hour begin, learned from the creatives of a family of accounts.

What belongs here: learning edges, keeping them, and naming the bin of a number. What does not: which numbers a creative has (`dna`,
`footage`), and what goes with a bin (`lift`).

A bin's name states its bounds, so a pattern means the same on every day even where later bins are cut otherwise. Edges are kept as they are
while they serve: were they learned anew each day, no pattern could grow old.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl

from learning_assets.learning.lift import TIMES
from learning_assets.learning.lift.found import COUNTS
from learning_assets.settings import Patterns

BINS = pl.Schema({"pool": pl.String, "attribute": pl.String, "edges": pl.List(pl.Float64), "learned_on": pl.Date})
"""One row per pool and attribute: the inner edges, ascending; a bin includes its lower edge."""


@dataclass(frozen=True, slots=True)
class Binned:
    """A number of creatives that patterns mine as bins.

    Attributes
    ----------
    column : the number's column.
    unit : what it counts, as it stands in names.
    step : edges are multiples of it.
    starting : edges until a family has enough creatives.
    """

    column: str
    unit: str
    step: float
    starting: tuple[float, ...]


BINNED: Mapping[str, Binned] = {
    "headline_length": Binned("headline_words", "words", 1, (6, 12, 16)),
    "copy_length": Binned("copy_words", "words", 5, (20, 60, 120)),
    "duration": Binned("duration_seconds", "s", 1, (6, 15, 30, 60)),
    "first_scene": Binned("first_scene_seconds", "s", 0.5, (1, 3, 6)),
}
"""The attributes, by the name that patterns give them."""

_PARTS = 4
"""Bins of a number, and parts of a day."""


def learn(creatives: pl.DataFrame, kept: pl.DataFrame, day: date, settings: Patterns) -> pl.DataFrame:
    """The edges in force on a day.

    Quartiles of the family's creatives, every account weighing the same, rounded to the attribute's step. Edges are kept until a bin has
    become rare or has swallowed the others (below 5 % or above 60 % of the family's creatives), and for `bins_days` at least.

    Parameters
    ----------
    creatives : one row per creative: pool, account_id, and the columns of BINNED that are known.
    kept : the edges of the day before, schema BINS.
    settings : `min_creatives`, below which a family gets the starting edges; `bins_days`.

    Returns
    -------
    Schema BINS, a row for every pool and attribute that has learned edges, sorted.
    """
    before = {(row["pool"], row["attribute"]): row for row in kept.to_dicts()}
    rows: list[dict[str, object]] = []
    for (pool,), family in creatives.sort("pool", "account_id").group_by("pool", maintain_order=True):
        for attribute, binned in BINNED.items():
            if binned.column not in family.columns:
                continue
            known = family.filter(pl.col(binned.column).is_not_null()).select(
                "account_id", x=pl.col(binned.column).cast(pl.Float64)
            )
            old = before.get((str(pool), attribute))
            if old is not None and ((day - old["learned_on"]).days < settings.bins_days or _serves(known, old["edges"])):
                rows.append(old)
            elif known.height >= settings.min_creatives and (edges := _quartiles(known, binned.step)):
                rows.append({"pool": pool, "attribute": attribute, "edges": edges, "learned_on": day})
            elif old is not None:
                rows.append(old)
    return pl.DataFrame(rows, schema=BINS).sort("pool", "attribute")


def _weights(known: pl.DataFrame) -> np.ndarray:
    """Weights by which every account counts the same."""
    return known.select(1 / pl.len().over("account_id")).to_series().to_numpy()


def _quartiles(known: pl.DataFrame, step: float) -> list[float]:
    """Edges at the quartiles, multiples of `step`, of bins that hold at least 5 % each; none where the numbers hardly differ."""
    ordered = known.with_columns(weight=pl.Series(_weights(known))).sort("x", "account_id")
    x, share = ordered["x"].to_numpy(), np.cumsum(ordered["weight"].to_numpy())
    share = share / share[-1]
    at = [float(x[np.searchsorted(share, part / _PARTS - 1e-12)]) for part in range(1, _PARTS)]
    edges = sorted({round(round(edge / step) * step, 6) for edge in at})
    while edges and min(sizes := _shares(known, edges)) < 0.05:
        # The smallest bin joins its smaller neighbour.
        small = int(np.argmin(sizes))
        left = small > 0 and (small == len(edges) or sizes[small - 1] <= sizes[small + 1])
        edges.pop(small - 1 if left else small)
    return edges


def _shares(known: pl.DataFrame, edges: list[float]) -> list[float]:
    place = np.searchsorted(np.asarray(edges), known["x"].to_numpy(), side="right")
    sizes = np.bincount(place, _weights(known), len(edges) + 1)
    return list(sizes / max(float(sizes.sum()), np.finfo(float).tiny))


def _serves(known: pl.DataFrame, edges: list[float]) -> bool:
    """Whether the edges still part the creatives."""
    return known.is_empty() or _balanced(_shares(known, edges))


def _balanced(shares: Sequence[float]) -> bool:
    """Whether every bin is worth having: none below 5 %, none above 60 %."""
    return all(0.05 <= share <= 0.60 for share in shares)


def named(creatives: pl.DataFrame, bins: pl.DataFrame) -> pl.DataFrame:
    """The creatives with every attribute of BINNED as the name of a bin, such as `6 to 11 words`, by the edges of their pool.

    Parameters
    ----------
    creatives : pool and the columns of BINNED; an attribute whose column is missing is NULL, as is one whose number is.
    bins : schema BINS; a pool without edges takes the starting ones.
    """
    for attribute, binned in BINNED.items():
        if binned.column not in creatives.columns:
            creatives = creatives.with_columns(pl.lit(None, pl.String).alias(attribute))
            continue
        of_pool = bins.filter(pl.col("attribute") == attribute).select("pool", "edges")
        number = pl.col(binned.column).cast(pl.Float64)
        name = pl.lit(None, pl.String)
        for pool, edges in [(None, list(binned.starting)), *of_pool.iter_rows()]:
            other = ~pl.col("pool").is_in(of_pool["pool"].to_list()) if pool is None else pl.col("pool") == pool
            name = pl.when(other).then(_name(number, edges, binned)).otherwise(name)
        creatives = creatives.with_columns(name.alias(attribute))
    return creatives


def _name(number: pl.Expr, edges: list[float], binned: Binned) -> pl.Expr:
    """The bin's name; whole numbers end one before the next bin, others `to under` it."""
    whole = binned.unit == "words"
    name = pl.when(number < edges[0]).then(pl.lit(f"under {edges[0]:g} {binned.unit}"))
    for low, high in pairwise(edges):
        end = f"{high - 1:g}" if whole else f"under {high:g}"
        single = whole and high - 1 == low
        name = name.when(number < high).then(pl.lit(f"{low:g} {binned.unit}" if single else f"{low:g} to {end} {binned.unit}"))
    return name.when(number >= edges[-1]).then(pl.lit(f"{edges[-1]:g} {binned.unit} and more"))


def learn_hours(delivery: pl.DataFrame, kept: pl.DataFrame, day: date, settings: Patterns) -> pl.DataFrame:
    """Hours at which the parts of a day begin: whole hours that part a family's impressions into quarters, from midnight on.

    Parameters
    ----------
    delivery : pool, account_id, hour (0 to 23) and impressions, a row per account and hour.
    kept, day, settings : see `learn`; a family's first delivery is enough, since its profile by hour hardly depends on chance.

    Returns
    -------
    Schema BINS, attribute `posting_hour`; every account weighs the same.
    """
    before = {row["pool"]: row for row in kept.filter(pl.col("attribute") == "posting_hour").to_dicts()}
    rows: list[dict[str, object]] = []
    share = pl.col("impressions") / pl.col("impressions").sum().over("pool", "account_id")
    by_account = delivery.with_columns(share=share).sort("pool", "account_id", "hour")
    for (pool,), hours in by_account.group_by("pool", maintain_order=True):
        weights = np.bincount(hours["hour"].to_numpy(), hours["share"].to_numpy(), 24)
        weights /= weights.sum()
        old = before.get(str(pool))
        if old is not None and (
            (day - old["learned_on"]).days < settings.bins_days
            or _balanced(np.add.reduceat(weights, [0, *map(int, old["edges"])]).tolist())
        ):
            rows.append(old)
            continue
        share_until = np.cumsum(weights)
        edges = sorted({int(np.searchsorted(share_until, part / _PARTS)) + 1 for part in range(1, _PARTS)})
        rows.append(
            {"pool": pool, "attribute": "posting_hour", "edges": [float(e) for e in edges if e < 24], "learned_on": day}
        )
    return pl.DataFrame(rows, schema=BINS)


def named_hours(times: pl.LazyFrame, bins: pl.DataFrame) -> pl.LazyFrame:
    """Sums by time with the hours as parts of the day, such as `06 to 12 h`, by the edges of their pool; weekdays stay as they are.

    Parameters
    ----------
    times : the columns of `lift.TIMES` and pool; the `value` of `posting_hour` is an hour with two digits.
    bins : schema BINS.
    """
    of_hours = bins.filter(pl.col("attribute") == "posting_hour")
    hours = pl.DataFrame(
        [
            {"pool": pool, "value": f"{hour:02d}", "part": f"{low:02d} to {high:02d} h"}
            for pool, edges in of_hours.select("pool", "edges").iter_rows()
            for low, high in pairwise([0, *map(int, edges), 24])
            for hour in range(low, high)
        ],
        schema={"pool": pl.String, "value": pl.String, "part": pl.String},
    )
    named = times.filter(pl.col("attribute") == "posting_hour").join(hours.lazy(), on=["pool", "value"])
    by_part = (
        named.group_by("week", "account_id", "ad_id", "attribute", value="part")
        .agg(pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).sum()) for name in COUNTS)
        .select(TIMES.names())
    )
    return pl.concat([times.filter(pl.col("attribute") != "posting_hour").select(TIMES.names()), by_part])
