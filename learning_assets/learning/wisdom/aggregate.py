"""Figures of a group of owners, and of a cell that is made of groups.

What belongs here: means, spreads, intervals, rounding and bands. What does not: which owners form a group and when a cell is told (`release`).
"""

from datetime import date

import polars as pl

from learning_assets.learning.wisdom.insights import BENCHMARK, KEY
from learning_assets.settings import Network

BANDS = {5: "5-9", 10: "10-19", 20: "20-49", 50: "50-99", 100: "100 or more"}
"""Names of the bands of numbers of owners, by their lower ends."""

WISDOM = pl.Schema(
    {
        "scope": pl.String,
        "niche": pl.String,
        **dict.fromkeys(KEY, pl.String),
        "status": pl.String,
        **dict.fromkeys(("log_ratio", "low", "high"), pl.Float64),
        "owners": pl.String,
        "released_on": pl.Date,
    }
)
"""What is told of a cell. `scope`: `niche`, or `all` with NULL as niche. `status`: `published`, or `dark` with NULL as figures. `log_ratio` as
in INSIGHTS: mean over owners, each weighing the same; `low` and `high` are the ends of its interval, rounded outwards. `owners`: a band."""

FIGURES = ("log_ratio", "low", "high")


def band(owners: pl.Expr) -> pl.Expr:
    """The band that a number of owners is in; NULL below five."""
    return _step(owners, {low: pl.lit(name) for low, name in BANDS.items()})


def grain(owners: pl.Expr, settings: Network) -> pl.Expr:
    """The step in log units that a mean over so many owners is rounded to.

    At least `settings.rounding`, and never finer than the furthest that one owner can move what a contributor is left with when it takes
    itself out: the mean of the fewest owners of the band but one.
    """
    clip = pl.when(pl.col("attribute") == BENCHMARK).then(settings.benchmark_clip).otherwise(settings.clip)
    return pl.max_horizontal(_step(owners, {low: clip / (low - 1) for low in BANDS}), pl.lit(settings.rounding))


def _to_step(count: pl.Expr, step: pl.Expr | float) -> pl.Expr:
    """So many steps, without a negative zero or what binary fractions leave."""
    return (count * step).round(10) + 0.0


def _step(owners: pl.Expr, steps: dict[int, pl.Expr]) -> pl.Expr:
    return pl.coalesce(*(pl.when(owners >= low).then(at) for low, at in sorted(steps.items(), reverse=True)))


def group_figures(joined: pl.DataFrame, settings: Network) -> pl.DataFrame:
    """What is kept of groups when they enter: `owners`, `mean` (rounded to the grain) and `spread` (standard deviation, rounded up to `rounding`).

    Parameters
    ----------
    joined : one row per owner that enters: `group`, `niche` (of the group), KEY, `log_ratio`.
    """
    step = grain(pl.col("owners"), settings)
    # Sorted, so that a sum does not depend on the order of the rows.
    return (
        joined.sort("group", "log_ratio")
        .group_by("group", "niche", *KEY, maintain_order=True)
        .agg(owners=pl.len().cast(pl.Int64), mean=pl.col("log_ratio").mean(), spread=pl.col("log_ratio").std())
        .with_columns(
            mean=_to_step((pl.col("mean") / step).round(), step),
            spread=_to_step((pl.col("spread") / settings.rounding).ceil(), settings.rounding),
        )
    )


def cell_figures(groups: pl.DataFrame, day: date, settings: Network) -> pl.DataFrame:
    """What groups say together, of cells with at least `settings.min_owners` owners: schema WISDOM, and `k`, the number of owners.

    The mean weighs owners alike. Its variance is that between owners over their number (a random-effects model in which the spread of
    the insights holds both what owners differ by and what each is unsure of), and that of rounding; Student's t with k - 1 degrees of freedom.

    Parameters
    ----------
    groups : rows of `group_figures` with `scope`; `niche` is that of the cell.
    """
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    cell, k = ["scope", "niche", *KEY], pl.col("owners")
    cells = (
        groups.sort(*cell, "group")
        .group_by(*cell, maintain_order=True)
        .agg(
            k=k.sum(),
            centre=(k * pl.col("mean")).sum() / k.sum(),
            squares=(k * pl.col("mean") ** 2).sum() + ((k - 1) * pl.col("spread") ** 2).sum(),
            rounding=((k * grain(k, settings)) ** 2).sum() / 12 / k.sum() ** 2,
        )
        .filter(pl.col("k") >= settings.min_owners)
    )
    step, fine = grain(pl.col("k"), settings), settings.rounding
    t = special.stdtrit(cells["k"].to_numpy() - 1, (1 + settings.confidence_level) / 2)
    between = (pl.col("squares") - pl.col("k") * pl.col("centre") ** 2) / (pl.col("k") - 1)
    half = pl.Series(t, dtype=pl.Float64) * (between / pl.col("k") + pl.col("rounding") + step**2 / 12).sqrt()
    return cells.select(
        *cell,
        status=pl.lit("published"),
        log_ratio=_to_step((pl.col("centre") / step).round(), step),
        low=_to_step(((pl.col("centre") - half) / fine).floor(), fine),
        high=_to_step(((pl.col("centre") + half) / fine).ceil(), fine),
        owners=band(pl.col("k")),
        released_on=pl.lit(day),
        k=pl.col("k"),
    )
