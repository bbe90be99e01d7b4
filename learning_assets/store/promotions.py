"""Evidence and decisions about experiments, and the budgets that decisions ask for.

What belongs here: that evidence, decisions and wishes of a day change together, which version of a day's evidence counts, and that no decision is
lost. What does not: the evidence itself and the rule (`learning.sequential`), and carrying a wish out.

`promotion_evidence` keeps a row per pair, metric and local day, and a new one where the day was restated: the newest by a day is what was known by
then, so a replay finds what it found. `promotion_decisions` keeps every revision of a day, those of days that were replayed too.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from learning_assets.store import schema
from learning_assets.store.tables import Tables, Written, frame_schema
from learning_assets.store.walls import PIPELINE, Wall

ASSET, RUNNING = "promotions", "promotions/running"
"""Under which name a day is recorded: decided by the cycle, or while it goes on, which holds no later cycle up."""

PAIR = ("account_id", "experiment_id", "metric", "ad_id", "other_id", "date")
"""What evidence is about; versions of it differ by `as_of`."""


class Promotions:
    """Evidence and decisions of one database."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def evidence(self, until: date, experiments: Sequence[str]) -> pl.DataFrame:
        """Evidence by pair, metric and local day as it was known by the decisions of a day, sorted, for the pipeline: columns of `promotion_evidence`.

        `experiments` : only of these, by id.
        """
        return self._known(until, frame_schema(schema.promotion_evidence).names(), experiment_id=experiments)

    def splits(self, until: date, first: date, account_ids: Sequence[str]) -> pl.DataFrame:
        """The same of all experiments of these accounts since `first`, without likelihoods: what the dispersion is learned from."""
        columns = [name for name in frame_schema(schema.promotion_evidence) if name != "log_likelihood"]
        return self._known(until, columns, account_id=account_ids).filter(pl.col("date") >= first)

    def _known(self, until: date, columns: Sequence[str], **which: Sequence[str]) -> pl.DataFrame:
        table = schema.promotion_evidence
        key = [table.c[name] for name in PAIR]
        of = [table.c[name].in_(values) for name, values in which.items()]
        known = sa.select(*(table.c[name] for name in columns)).where(table.c.as_of <= until, *of)
        newest = known.order_by(*key, table.c.as_of.desc()).ext(pg.distinct_on(*key))
        kinds = frame_schema(table)
        return self._tables.frame(newest, pl.Schema({name: kinds[name] for name in columns})).sort(PAIR)

    def decisions(self, day: date, wall: Wall = PIPELINE, **equal: Any) -> pl.DataFrame:
        """The decisions of a day in its newest revision, sorted: columns of `promotion_decisions`.

        `equal` : columns and the value (or list of values) that they must have.
        """
        rows = self._tables.read("promotion_decisions", wall, as_of=day, revision=self.revision(day), **equal)
        return rows.sort("account_id", "experiment_id")

    def states(self, first: date, until: date) -> pl.DataFrame:
        """The newest decision about each experiment from `first` to `until`, for the pipeline: columns of `promotion_decisions`."""
        table = schema.promotion_decisions
        key = [table.c.account_id, table.c.experiment_id]
        known = sa.select(table).where(table.c.as_of.between(first, until))
        newest = known.order_by(*key, table.c.as_of.desc(), table.c.revision.desc()).ext(pg.distinct_on(*key))
        return self._tables.frame(newest, frame_schema(table)).sort("account_id", "experiment_id")

    def events(self, until: date, wall: Wall = PIPELINE) -> pl.DataFrame:
        """The decisions up to a day that promoted or demoted an arm, each in the newest revision of its day, oldest first."""
        table = schema.promotion_decisions
        later = table.alias()
        newest = sa.select(sa.func.max(later.c.revision)).where(later.c.as_of == table.c.as_of).scalar_subquery()
        query = sa.select(table).where(
            self._tables.behind(table, wall), table.c.as_of <= until, table.c.event.is_not(None), table.c.revision == newest
        )
        return self._tables.frame(query, frame_schema(table)).sort("as_of", "account_id", "experiment_id")

    def wishes(self, wall: Wall = PIPELINE, **equal: Any) -> pl.DataFrame:
        """Budgets that were asked for, oldest first: columns of `budget_wishes`."""
        return self._tables.read("budget_wishes", wall, **equal).sort("decided_at", "decision_id", "entity_id")

    def wishes_since(self, moment: datetime) -> pl.DataFrame:
        """Budgets that were asked for after a moment, for the pipeline: columns of `budget_wishes`."""
        table = schema.budget_wishes
        return self._tables.frame(sa.select(table).where(table.c.decided_at > moment), frame_schema(table))

    def newest_day(self) -> date | None:
        """The newest day that was decided, by the cycle or while it goes on."""
        days = (self._tables.newest_day(ASSET), self._tables.newest_day(RUNNING))
        return max((day for day in days if day is not None), default=None)

    def revision(self, day: date) -> int:
        """How often a day was decided."""
        table = schema.promotion_decisions
        with self._tables.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(table.c.revision)).where(table.c.as_of == day)).scalar() or 0

    def replace(
        self,
        day: date,
        evidence: pl.DataFrame,
        decisions: pl.DataFrame,
        wishes: pl.DataFrame,
        *,
        now: datetime,
        running: bool = False,
        onward: bool = False,
    ) -> Written:
        """Replace a day's evidence, add a revision of its decisions, and the budgets that they ask for, in one transaction.

        Parameters
        ----------
        evidence : columns of `promotion_evidence`.
        decisions : columns of `promotion_decisions`, all of one `revision` that is not there yet.
        wishes : columns of `budget_wishes`; one that is there already stays as it is.
        now : the moment that is recorded.
        running : the day goes on; otherwise what was decided of it and of later days while they went on is not in force any more.
        onward : as for `Tables.replace_day`.

        Raises
        ------
        TableError : as `Tables.replace_day`; nothing changed.
        """

        def others(connection: sa.Connection) -> None:
            self._tables.add_rows(connection, "promotion_decisions", decisions)
            self._tables.upsert("budget_wishes", wishes, overwrite=False, within=connection)
            if not running:
                days = schema.asset_days
                connection.execute(sa.delete(days).where(days.c.asset == RUNNING, days.c.day >= day))

        asset = RUNNING if running else ASSET
        return self._tables.replace_day("promotion_evidence", day, evidence, asset=asset, now=now, onward=onward, then=others)
