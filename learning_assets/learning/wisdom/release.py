"""What is told of a cell on a day: who enters, what is frozen, what goes dark. State in, state out.

What belongs here: the life of groups and cells. What does not: what a figure is (`aggregate`), where state is kept. Only `published` may be shown;
members and groups are the pipeline's own.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from learning_assets.learning.wisdom.aggregate import FIGURES, WISDOM, cell_figures, group_figures
from learning_assets.learning.wisdom.insights import INSIGHTS, KEY
from learning_assets.settings import Network

_KEY, _CELL = list(KEY), ["scope", "niche", *KEY]

MIRRORED = 4
"""Values of an attribute that an owner has, up to which one of them never enters: the others nearly add up to it (complementary suppression)."""

MEMBERS = pl.Schema({"owner": pl.String, **dict.fromkeys(KEY, pl.String), "group": pl.Int64, "entered_on": pl.Date})
"""Owners that ever entered a cell, once per KEY; `group` is NULL where it was dissolved because an owner left it. Rows of owners that left stay, so
that they do not enter again when they come back; those of a forgotten owner are deleted."""

GROUPS = pl.Schema(
    {
        "group": pl.Int64,
        "niche": pl.String,
        **dict.fromkeys(KEY, pl.String),
        "owners": pl.Int64,
        "mean": pl.Float64,
        "spread": pl.Float64,
    }
)
"""Groups that are whole, with what was taken when they entered; `niche` is NULL where no niche had enough owners for a group of its own."""

CELLS = pl.Schema({**WISDOM, "changed": pl.Int64})
"""What is told, and how many owners entered its groups or fell out of them since it was."""


@dataclass(frozen=True, slots=True)
class State:
    """All that is kept from day to day: frames with the schemas MEMBERS, GROUPS and CELLS."""

    members: pl.DataFrame
    groups: pl.DataFrame
    cells: pl.DataFrame

    @classmethod
    def empty(cls) -> "State":
        """Before the first day."""
        return cls(MEMBERS.to_frame(), GROUPS.to_frame(), CELLS.to_frame())


def advance(state: State, insights: pl.DataFrame, consenting: pl.Series, day: date, settings: Network) -> State:
    """The state after a day.

    - An owner that does not consent any more, or whose rows in `state.members` are deleted, leaves: its groups are dissolved, its cells and
      those over all niches are dark on that day.
    - Owners with an insight that never entered its cell wait (but with one value of an attribute of few); as soon as `settings.min_owners` of a
      niche do, they enter as a group, in the order of their names. Where no niche has a group, those of all niches that wait do, and are
      told of in the cell over all niches.
    - A cell is told anew when `settings.min_owners` memberships have changed since it was told (owners that entered, left, or lost their group)
      and its whole groups have as many owners. Until then it stays as it is, dark or not.

    Parameters
    ----------
    state : after the day before.
    insights : the day's, with schema INSIGHTS; of owners that consent only those count.
    consenting : names of all owners that consent, with or without insights.

    Raises
    ------
    ValueError : an owner has several insights for one attribute value and metric.
    """
    if insights.select("owner", *_KEY).is_duplicated().any():
        raise ValueError(
            "An owner has several insights for one attribute value and metric. Make one of them with insights.lifts."
        )
    members, groups, cells, darkened = _without_leavers(state, consenting)
    waiting = insights.select(INSIGHTS.names()).filter(pl.col("owner").is_in(consenting.implode()))
    waiting = waiting.join(members, on=["owner", *_KEY], how="anti").pipe(_but_one_value, members)
    entering = _entering(waiting, groups, settings)
    members = pl.concat([members, entering.select("owner", *_KEY, "group", entered_on=pl.lit(day))])
    come = group_figures(entering, settings).select(GROUPS.names())
    groups, cells = pl.concat([groups, come]), _counted(cells, come)
    frozen = pl.concat([cells.filter(pl.col("changed") < settings.min_owners).select(_CELL), darkened])
    fresh = cell_figures(_scoped(groups), day, settings).select(*WISDOM.names(), changed=pl.lit(0, pl.Int64))
    told = fresh.join(frozen, on=_CELL, how="anti", nulls_equal=True)
    kept = cells.join(told, on=_CELL, how="anti", nulls_equal=True)
    return State(members.sort("owner", *_KEY), groups.sort("group"), pl.concat([kept, told]).select(CELLS.names()).sort(_CELL))


def published(state: State) -> pl.DataFrame:
    """What may be shown of the cells: schema WISDOM, sorted."""
    return state.cells.select(WISDOM.names())


def of_niche(wisdom: pl.DataFrame, niche: str | None) -> pl.DataFrame:
    """What an account of a niche is told: the niche's own cell where it is published, else that over all niches; schema WISDOM."""
    own = (pl.col("niche") == pl.lit(niche, pl.String)).fill_null(value=False)
    told = wisdom.filter(pl.col("status") == "published", own | (pl.col("scope") == "all"))
    return told.sort("scope", descending=True).unique(_KEY, keep="first", maintain_order=True).sort(_KEY)


def _without_leavers(state: State, consenting: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Members, groups and cells after those that consent no more are gone, and the names of the cells that go dark for that."""
    there = state.members.filter(pl.col("owner").is_in(consenting.implode())).group_by("group").agg(there=pl.len())
    # By who is missing and not by who leaves: of a forgotten owner no row is left that could say so.
    whole = pl.col("there").fill_null(0) == pl.col("owners")
    groups = state.groups.join(there, on="group", how="left")
    lost, groups = groups.filter(~whole), groups.filter(whole).drop("there")
    members = state.members.with_columns(group=pl.when(pl.col("group").is_in(groups["group"].implode())).then("group"))
    darkened = _scoped(lost.select("niche", *_KEY)).select(_CELL).unique()
    dark = state.cells.join(darkened, on=_CELL, how="semi", nulls_equal=True).with_columns(
        status=pl.lit("dark"), **{name: pl.lit(None, WISDOM[name]) for name in (*FIGURES, "owners", "released_on")}
    )
    rest = state.cells.join(darkened, on=_CELL, how="anti", nulls_equal=True)
    return members, groups, _counted(pl.concat([rest, dark]), lost), darkened


def _counted(cells: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Cells with further changes of membership counted: those of groups that came or were dissolved."""
    counts = groups.select("niche", *_KEY, more="owners").pipe(_scoped).group_by(_CELL).agg(pl.col("more").sum())
    return cells.join(counts, on=_CELL, how="left", nulls_equal=True).select(
        *WISDOM.names(), changed=pl.col("changed") + pl.col("more").fill_null(0)
    )


def _entering(waiting: pl.DataFrame, groups: pl.DataFrame, settings: Network) -> pl.DataFrame:
    """Those of the waiting that form groups today: INSIGHTS, with `niche` that of the group, and `group`."""
    least, place = settings.min_owners, ["niche", *KEY]
    many = waiting.drop_nulls("niche").filter(pl.len().over(place) >= least)
    # Owners of thin niches enter over all niches only while nothing is told there: who entered once cannot enter its niche's cell later.
    nowhere = waiting.join(groups, on=_KEY, how="anti").join(many, on=_KEY, how="anti")
    rest = nowhere.filter(pl.len().over(_KEY) >= least).with_columns(niche=pl.lit(None, pl.String))
    # Groups of the least size: where one of them is dissolved the others stay, and whoever still waits fills the next one.
    part = (pl.int_range(pl.len()) // least).over(place, order_by="owner")
    entering = pl.concat([many, rest]).with_columns(part=part).filter(pl.len().over(*place, "part") == least)
    first = groups["group"].max()
    number = pl.struct(*place, "part").rle_id().cast(pl.Int64) + (0 if first is None else int(str(first)) + 1)
    return entering.sort(*place, "part", "owner").with_columns(group=number).drop("part")


def _but_one_value(waiting: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Those waiting, without one value of an attribute of which an owner has few: the one that the fewest owners of its niche wait with."""
    table = ["owner", "attribute", "metric"]
    entered = members.group_by(table).agg(entered=pl.len())
    held = (
        waiting.with_columns(size=pl.len().over("niche", *KEY), values=pl.len().over(table))
        .join(entered, on=table, how="left")
        .filter((pl.col("values") + pl.col("entered").fill_null(0)).is_between(2, MIRRORED))
        .sort(*table, "size", "value")
        .unique(table, keep="first", maintain_order=True)
    )
    return waiting.join(held, on=["owner", *_KEY], how="anti")


def _scoped(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows once for their niche's cell and once for that over all niches."""
    alone = rows.drop_nulls("niche").with_columns(scope=pl.lit("niche"))
    return pl.concat([alone, rows.with_columns(scope=pl.lit("all"), niche=pl.lit(None, pl.String))])
