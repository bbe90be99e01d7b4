"""What niches know, in its tables: the state of a day, and replacing it.

What belongs here: which rows make a state. What does not: what a state means (`learning.wisdom`).
"""

from datetime import date, datetime

import polars as pl
import sqlalchemy as sa

from learning_assets.learning import wisdom
from learning_assets.learning.wisdom import State
from learning_assets.store.tables import Tables, Written
from learning_assets.store.walls import PIPELINE

ASSET = "niche_wisdom"
_CELL = ["scope", "niche", "attribute", "value", "metric"]


def before(tables: Tables, day: date) -> State:
    """The state as it was after the newest day before a day, for the pipeline."""
    newest = tables.newest_day(ASSET, before=day)
    if newest is None:
        return State.empty()

    def read(name: str) -> pl.DataFrame:
        return tables.read(name, PIPELINE, as_of=newest)

    cells = read("niche_patterns").join(read("wisdom_cells"), on=_CELL, nulls_equal=True)
    frames = (read("wisdom_members"), read("wisdom_groups"), cells)
    kinds = (wisdom.MEMBERS, wisdom.GROUPS, wisdom.CELLS)
    return State(*(frame.select(kind.names()) for frame, kind in zip(frames, kinds, strict=True)))


def replace(tables: Tables, day: date, state: State, *, now: datetime, onward: bool) -> Written:
    """Put a day's state in the place of what was there, in one transaction; with `onward`, later days are deleted."""
    dated = pl.lit(day).alias("as_of")

    def rest(connection: sa.Connection) -> None:
        parts = {
            "wisdom_members": state.members,
            "wisdom_groups": state.groups,
            "wisdom_cells": state.cells.select(*_CELL, "changed"),
        }
        for name, rows in parts.items():
            tables.replace_rows(connection, name, day, rows.with_columns(dated), onward=onward)

    rows = wisdom.published(state).with_columns(dated)
    return tables.replace_day("niche_patterns", day, rows, asset=ASSET, now=now, onward=onward, then=rest)
