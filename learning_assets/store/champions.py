"""The pointer to the models in force, its history, and who may move it.

What belongs here: that one process at a time decides about champions, that pointer and registry change together, and that a champion which a
person put back stays. What does not: whether a challenger wins (`learning.champion`), and the models' files (`models`).

`champions` holds the pointer day by day, `champion_rollbacks` what people did to it. Artifacts are published before the pointer moves, and
rows of `models` in its transaction: whatever is killed, a pointer names a model that is there.
"""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from time import monotonic, sleep
from typing import Any

import polars as pl
import sqlalchemy as sa

from learning_assets.store import schema
from learning_assets.store.tables import Locked, Tables, Written
from learning_assets.store.walls import PIPELINE

ASSET = "retrained_model"
ROLLED_BACK = "rolled_back"
"""Status of a pool's day on which a person put an earlier champion back."""
_GRACE_SECONDS = 5.0
"""How long the server may take to notice that a process which decided was killed."""


class ChampionError(Exception):
    """A champion cannot be decided or put back now; the message says why and names the remedy."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """An earlier champion that a person put back: whose, on which day, from which model to which, who did it, why, and when (UTC)."""

    as_of: date
    owner: str | None
    target: str
    pool: str
    from_model_id: str
    to_model_id: str
    said_by: str
    why: str
    at: datetime


class Champions:
    """The pointer of one database."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @contextmanager
    def deciding(self) -> Generator[None]:
        """Be the only process that decides about champions; freed by the server when the process dies.

        Two that decide at once would each let a challenger contest the same champion, and both could win.

        Raises
        ------
        ChampionError : another process decides.
        """
        deadline = monotonic() + _GRACE_SECONDS
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(self._tables.lock(f"{ASSET}/deciding", wait=False))
                    break
                except Locked:
                    if monotonic() > deadline:
                        raise ChampionError(
                            "Another run decides about the champions at this moment. Nothing was changed; run this again when it has ended."
                        ) from None
                    sleep(0.05)
            yield

    def replace(
        self, day: date, champions: pl.DataFrame, beside: Mapping[str, pl.DataFrame], *, now: datetime, onward: bool = False
    ) -> Written:
        """Replace what was decided on a day: the rows of `champions`, and those of the tables `beside` that they rest on, in one transaction;
        see `Tables.replace_day`."""

        def others(connection: sa.Connection) -> None:
            for name, rows in beside.items():
                self._tables.replace_rows(connection, name, day, rows, onward=onward)

        return self._tables.replace_day("champions", day, champions, asset=ASSET, now=now, onward=onward, then=others)

    def history(self, target: str | None = None, pool: str | None = None) -> pl.DataFrame:
        """The pointer day by day, for the pipeline: columns of `champions`, by target, pool and day, oldest first."""
        which: dict[str, Any] = {name: value for name, value in (("target", target), ("pool", pool)) if value is not None}
        return self._tables.read("champions", PIPELINE, **which).sort("target", "pool", "as_of")

    def rollbacks(self, as_of: date | None = None) -> list[Rollback]:
        """What people put back, on a day or ever; those of a target and pool in the order in which they did."""
        which: dict[str, Any] = {} if as_of is None else {"as_of": as_of}
        rows = self._tables.read("champion_rollbacks", PIPELINE, **which).sort("number").drop("number")
        return [Rollback(**row) for row in rows.to_dicts()]

    def put_back(self, rollback: Rollback, reason: str) -> None:
        """Record a rollback and move the pointer of its day, in one transaction. To be called while nobody else decides.

        Raises
        ------
        ChampionError : the pointer of that day is not at `from_model_id` any more; nothing was changed.
        """
        pointer = schema.champions
        of_day = (pointer.c.as_of == rollback.as_of, pointer.c.target == rollback.target, pointer.c.pool == rollback.pool)
        move = sa.update(pointer).where(*of_day, pointer.c.model_id == rollback.from_model_id)
        ledger = schema.champion_rollbacks
        before = sa.select(sa.func.count()).where(ledger.c.target == rollback.target, ledger.c.pool == rollback.pool)
        with self._tables.engine.begin() as connection:
            number = connection.execute(before).scalar_one() + 1
            connection.execute(sa.insert(ledger), {"number": number, **asdict(rollback)})
            changed = connection.execute(move.values(model_id=rollback.to_model_id, status=ROLLED_BACK, reason=reason)).rowcount
            if changed != 1:
                raise ChampionError(
                    f"The champion of {rollback.target} of {rollback.pool} is not {rollback.from_model_id} any more. Nothing was changed; "
                    "look at learning-assets rollback --list and decide anew."
                )
