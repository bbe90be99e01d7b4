"""Reading and writing the tables in bulk: one statement per table, never one per row.

A day's rows are replaced by delete and COPY in one transaction. Every read names its wall. What does not belong here: what a table's
columns mean (`schema`), which rows may be fitted together (`walls`).
"""

import functools
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import OperationalError

from learning_assets.learning.graph import Versions
from learning_assets.store import schema
from learning_assets.store.walls import Wall

_UNOWNED = {"store_identity", "asset_days", "learning_cycle_log", "acting_switch", "niche_patterns"}
"""Tables of the pipeline itself, and what everybody may be told, without rows of any owner."""

_CLOSED = {"wisdom_cells", "wisdom_groups"}
"""Tables that no owner reads: what stands behind that which everybody is told."""


class TableError(Exception):
    """Rows cannot be written or read; the message names the table, the column and the remedy."""


class Locked(Exception):
    """Another process is inside a context that admits one."""


@dataclass(frozen=True, slots=True)
class Written:
    """What replacing a day did: rows written, and how often that day has been written (1 at first)."""

    table: str
    rows: int
    revision: int


@functools.cache
def frame_schema(table: sa.Table) -> pl.Schema:
    """The polars schema of a table's rows; JSON is text."""
    kinds: list[tuple[type[Any], Any]] = [
        (pg.JSONB, pl.String),
        (sa.LargeBinary, pl.Binary),
        (sa.DateTime, pl.Datetime("us", "UTC")),
        (sa.Date, pl.Date),
        (sa.Boolean, pl.Boolean),
        (sa.BigInteger, pl.Int64),
        (sa.Double, pl.Float64),
        (sa.REAL, pl.Float32),
        (sa.Text, pl.String),
    ]

    def of(column_type: sa.types.TypeEngine[Any]) -> Any:
        if isinstance(column_type, sa.ARRAY):
            return pl.List(of(cast("Any", column_type).item_type))
        return next(to for kind, to in kinds if isinstance(column_type, kind))

    return pl.Schema({column.name: of(column.type) for column in table.columns})


class Tables:
    """The tables of one database.

    Parameters
    ----------
    engine : SQLAlchemy engine on psycopg.
    libpq_uri : the same database for ADBC.
    """

    def __init__(self, engine: sa.Engine, libpq_uri: str) -> None:
        self._engine = engine
        self._uri = libpq_uri
        self._reader: Any = None
        self._reading = threading.Lock()

    @property
    def engine(self) -> sa.Engine:
        """For migrations and tests; rows are read and written through the methods."""
        return self._engine

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Generator[None]:
        """Be the only process inside the context of that name; freed by the server when the process dies.

        Raises
        ------
        Locked : another process is inside, and `wait` is False.
        """
        key = sa.func.hashtextextended(name, 0)
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if wait:
                connection.execute(sa.select(sa.func.pg_advisory_lock(key)))
            elif not connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar():
                raise Locked(f"Another process is at '{name}'.")
            try:
                yield
            except BaseException:
                # Where the server has gone the lock has too; the error of the work inside is the one to tell.
                with suppress(OperationalError):
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
                raise
            connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))

    # -- reading

    def schema(self, name: str) -> pl.Schema:
        """Columns of a table."""
        return frame_schema(self._table(name))

    def read(
        self,
        name: str,
        wall: Wall,
        *,
        columns: Sequence[str] | None = None,
        until: date | None = None,
        latest: bool = False,
        **equal: object,
    ) -> pl.DataFrame:
        """Rows of a table that the wall lets through, in no particular order.

        Parameters
        ----------
        columns : which columns; all where None.
        until : only rows with `as_of` up to that day.
        latest : only the rows of the newest day so selected.
        equal : columns and the value (or list of values) that they must have.

        Raises
        ------
        TableError : there is no such table or column.
        """
        table = self._table(name)
        if columns is not None and (unknown := [column for column in columns if column not in table.c]):
            raise TableError(f"{name} has no column {', '.join(unknown)}; it has {', '.join(table.c.keys())}.")
        kept = [self.behind(table, wall)]
        kept += [
            table.c[column].in_(cast("Sequence[object]", value))
            if isinstance(value, (list, tuple))
            else table.c[column] == value
            for column, value in equal.items()
        ]
        if until is not None:
            kept.append(table.c.as_of <= until)
        if latest:
            kept.append(table.c.as_of == sa.select(sa.func.max(table.c.as_of)).where(*kept).scalar_subquery())
        wanted = [table.c[column] for column in columns or table.c.keys()]
        query = sa.select(*(sa.cast(c, sa.Text).label(c.name) if isinstance(c.type, pg.JSONB) else c for c in wanted)).where(
            *kept
        )
        return self.frame(query, pl.Schema({c.name: frame_schema(table)[c.name] for c in wanted}))

    def in_force(self, name: str, wall: Wall, day: date) -> pl.DataFrame:
        """Rows of a table of versions that held on a day, as far as the wall lets through, and as was known then: none has ended yet."""
        table = self._table(name)
        held = (table.c.valid_from <= day) & (table.c.valid_to.is_(None) | (table.c.valid_to > day))
        found = self.frame(sa.select(table).where(self.behind(table, wall), held), frame_schema(table))
        return found.with_columns(pl.lit(None, found.schema[name]).alias(name) for name in ("valid_to", "ended"))

    def last_versions(self, name: str, before: date) -> pl.DataFrame:
        """The newest version of everything in a table of versions as it was before a day, for the pipeline."""
        table = self._table(name)
        key = [*table.primary_key.columns]
        known = sa.select(table).where(table.c.valid_from < before)
        newest = known.order_by(key[0], key[1].desc()).ext(pg.distinct_on(key[0]))
        ended = pl.col("valid_to") < before
        return self.frame(newest, frame_schema(table)).with_columns(
            pl.when(ended).then(name).alias(name) for name in ("valid_to", "ended")
        )

    def frame(self, query: sa.Select[Any], columns: pl.Schema) -> pl.DataFrame:
        """The rows of a query in bulk."""
        text = str(query.compile(dialect=pg.dialect(paramstyle="named"), compile_kwargs={"literal_binds": True}))
        found = self._fetch(text)
        return found.select(pl.col(name).cast(kind) for name, kind in columns.items())

    def _fetch(self, text: str) -> pl.DataFrame:
        """Run a query on the one connection that is kept for bulk reads; where the server has gone since, on a new one."""
        from adbc_driver_manager import Error  # pyright: ignore[reportMissingTypeStubs]
        from adbc_driver_postgresql import dbapi  # pyright: ignore[reportMissingTypeStubs]

        with self._reading:
            for fresh in (self._reader is None, True):
                if fresh:
                    # The engine's connections start an embedded server that was killed; this driver's do not.
                    self._engine.connect().close()
                    self._reader = cast("Any", dbapi).connect(self._uri, autocommit=True)
                try:
                    return pl.read_database(text, self._reader)
                except Error:
                    if fresh:
                        raise
        raise AssertionError("the second attempt returns or raises")

    def behind(self, table: sa.Table, wall: Wall) -> sa.ColumnElement[bool]:
        """The condition on a table's rows that the wall lets them through."""
        if wall.owner is None or table.name in _UNOWNED:
            return sa.true()
        if table.name in _CLOSED:
            return sa.false()
        if table in (schema.consents, schema.account_niches):
            mine = sa.select(schema.accounts.c.account_id).where(schema.accounts.c.owner == wall.owner)
            return table.c.account_id.in_(mine)
        return (table.c.owner == wall.owner) | table.c.owner.is_(None)

    def _table(self, name: str) -> sa.Table:
        try:
            return schema.metadata.tables[name]
        except KeyError:
            raise TableError(f"There is no table '{name}'; there are {', '.join(sorted(schema.metadata.tables))}.") from None

    # -- writing

    def replace_day(
        self,
        name: str,
        day: date,
        rows: pl.DataFrame,
        *,
        asset: str | None = None,
        now: datetime,
        onward: bool = False,
        then: Callable[[sa.Connection], None] | None = None,
    ) -> Written:
        """Replace the rows of a day, in one transaction; a reader sees the old rows or the new ones.

        Parameters
        ----------
        rows : with the table's columns except `revision`, in any order, `as_of` equal to `day` throughout; may be empty.
        asset : whose day this is, by default the table's name.
        now : the moment that is recorded.
        onward : later days are deleted too, as a replay does that makes them anew.
        then : what else changes with these rows, in the same transaction.

        Raises
        ------
        TableError : columns are missing, unknown or of another type, a number is not finite, or a row is of another day; nothing changed.
        """
        table = self._table(name)
        asset = asset or name
        with self._engine.begin() as connection:
            revision = self._begin_day(connection, name, asset, day)
            if "revision" in table.c:
                rows = rows.with_columns(revision=pl.lit(revision, pl.Int64))
            self.replace_rows(connection, name, day, rows, onward=onward)
            if then is not None:
                then(connection)
            self._record_day(connection, asset, day, rows.height, revision, now, onward=onward)
        return Written(name, rows.height, revision)

    def replace_rows(
        self, connection: sa.Connection, name: str, day: date, rows: pl.DataFrame, *, onward: bool = False
    ) -> None:
        """Replace the rows of a day as a part of a transaction; arguments and errors as for `replace_day`."""
        table = self._table(name)
        if rows.height and not (rows["as_of"] == day).all():
            raise TableError(f"{name}: rows of another day than {day} were to be written as that day. Nothing was changed.")
        rows = self._checked(table, rows)
        old = table.c["as_of"] >= day if onward else table.c["as_of"] == day
        connection.execute(sa.delete(table).where(old))
        self._copy(connection, table, rows)

    def add_rows(self, connection: sa.Connection, name: str, rows: pl.DataFrame) -> None:
        """Add rows (with all of the table's columns) as a part of a transaction; errors as for `replace_day`, and where a key is there already."""
        table = self._table(name)
        self._copy(connection, table, self._checked(table, rows))

    @staticmethod
    def _begin_day(connection: sa.Connection, name: str, asset: str, day: date) -> int:
        """Keep other writers of a table out of the transaction; which revision of the asset's day this is."""
        # Two writers of a table would each delete what they see and add the rows of both.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"table/{name}", 0))))
        days = schema.asset_days
        written = sa.select(days.c.revision).where(days.c.asset == asset, days.c.day == day)
        return (connection.execute(written).scalar() or 0) + 1

    @staticmethod
    def _record_day(
        connection: sa.Connection, asset: str, day: date, rows: int, revision: int, now: datetime, *, onward: bool
    ) -> None:
        """Say that an asset's day was written, and with `onward` that no later one is."""
        days = schema.asset_days
        if onward:
            connection.execute(sa.delete(days).where(days.c.asset == asset, days.c.day > day))
        told = {"rows": rows, "revision": revision, "written_at": now}
        insert = pg.insert(days).values(asset=asset, day=day, **told)
        connection.execute(insert.on_conflict_do_update(index_elements=[days.c.asset, days.c.day], set_=told))

    def replace_versions(
        self, asset: str, day: date, changes: Mapping[str, Versions], *, now: datetime, onward: bool = False
    ) -> Written:
        """Replace what a day did to tables of versions, in one transaction: versions that it or a later day opened go, those that it or a
        later day closed are open again, then the day's own are opened and closed.

        Parameters
        ----------
        changes : by table, each with an id, `version`, `valid_from`, `valid_to` (exclusive, NULL while in force) and `ended`.
        asset : whose day this is.
        now : the moment that is recorded.
        onward : later days are undone too, as a replay does that makes them anew.

        Returns
        -------
        What was done; its rows are the versions in force afterwards, over all tables.

        Raises
        ------
        TableError : columns are missing, unknown or of another type, a number is not finite, a version is of another day, or a later day
            was written and `onward` is False; nothing changed.
        """
        with self._engine.begin() as connection:
            revision, rows = self._begin_day(connection, asset, asset, day), 0
            days = schema.asset_days
            newest = connection.execute(sa.select(sa.func.max(days.c.day)).where(days.c.asset == asset)).scalar()
            if not onward and newest is not None and newest > day:
                raise TableError(
                    f"{asset} of {day} was to be written before that of {newest}, which is there. Nothing was changed."
                )
            for name, change in changes.items():
                table = self._table(name)
                opened = self._checked(table, change.opened)
                if opened.height and not (opened["valid_from"] == day).all():
                    raise TableError(f"{name}: versions of another day than {day} were to be opened. Nothing was changed.")
                connection.execute(sa.delete(table).where(table.c.valid_from >= day))
                connection.execute(sa.update(table).where(table.c.valid_to >= day).values(valid_to=None, ended=None))
                self._close(connection, table, change.closed, day)
                self._copy(connection, table, opened)
                in_force = sa.select(sa.func.count()).select_from(table).where(table.c.valid_to.is_(None))
                rows += connection.execute(in_force).scalar_one()
            self._record_day(connection, asset, day, rows, revision, now, onward=onward)
        return Written(asset, rows, revision)

    def _close(self, connection: sa.Connection, table: sa.Table, closed: pl.DataFrame, day: date) -> None:
        """End versions (columns: the table's key, and why they `ended`) on a day."""
        key = [column.name for column in table.primary_key.columns]
        columns = [*key, "ended"]
        like = ", ".join(f'"{column}"' for column in columns)
        name = f"closing_{table.name}"
        connection.execute(
            sa.text(f'CREATE TEMPORARY TABLE "{name}" ON COMMIT DROP AS SELECT {like} FROM "{table.name}" WITH NO DATA')
        )
        closing = sa.table(name, *(cast("Any", sa.column(column)) for column in columns))
        self._copy(connection, closing, closed.select(columns))
        same = [table.c[column] == closing.c[column] for column in key]
        in_force = table.c.valid_to.is_(None) & (table.c.valid_from < day)
        done = connection.execute(sa.update(table).where(*same, in_force).values(valid_to=day, ended=closing.c.ended)).rowcount
        if done != closed.height:
            raise TableError(
                f"{table.name}: of {closed.height} versions that were to end on {day}, {done} were in force. Nothing was changed."
            )

    def upsert(self, name: str, rows: pl.DataFrame, *, overwrite: bool = True, within: sa.Connection | None = None) -> int:
        """Add rows by primary key in one statement; those that exist are overwritten, or left as they are.

        `within` is the transaction that it is part of, by default one of its own.

        Returns
        -------
        Rows added or overwritten.
        """
        table = self._table(name)
        rows = self._checked(table, rows, given=True)
        if rows.is_empty():
            return 0
        key = [column.name for column in table.primary_key.columns]
        with self._engine.begin() if within is None else nullcontext(within) as connection:
            connection.execute(sa.text(f'CREATE TEMPORARY TABLE incoming (LIKE "{name}" INCLUDING DEFAULTS) ON COMMIT DROP'))
            incoming = sa.table("incoming", *(cast("Any", sa.column(column)) for column in rows.columns))
            self._copy(connection, incoming, rows)
            source = sa.select(*(incoming.c[column] for column in rows.columns))
            insert = pg.insert(table).from_select(rows.columns, source)
            changes = {column: insert.excluded[column] for column in rows.columns if column not in key}
            statement = (
                insert.on_conflict_do_update(index_elements=key, set_=changes)
                if overwrite and changes
                else insert.on_conflict_do_nothing()
            )
            return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount

    def _checked(self, table: sa.Table, rows: pl.DataFrame, *, given: bool = False) -> pl.DataFrame:
        expected = frame_schema(table)
        wanted = [name for name in expected if not given or name in rows.columns]
        missing, unknown = [c for c in wanted if c not in rows.columns], [c for c in rows.columns if c not in expected]
        if missing or unknown:
            raise TableError(f"{table.name}: columns missing: {missing}, unknown: {unknown}. Nothing was changed.")
        try:
            rows = rows.select(pl.col(name).cast(expected[name]) for name in wanted)
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{table.name}: {error}. Nothing was changed.") from error
        for name in wanted:
            if expected[name] == pl.Float64 and not rows[name].drop_nulls().is_finite().all():
                at = cast("int", (~rows[name].is_finite()).arg_true()[0])
                raise TableError(
                    f"{table.name}, row {at}, column '{name}': {rows[name][at]} is not a number. What is unknown must be NULL. Nothing was changed."
                )
        return rows

    @staticmethod
    def _copy(connection: sa.Connection, table: sa.FromClause, rows: pl.DataFrame) -> None:
        """COPY in CSV: strings quoted, so that an unquoted empty field is NULL and a quoted one the empty string."""
        quoted = ('"' + pl.element().cast(pl.String).str.replace_all(r'(["\\])', r"\${1}") + '"').fill_null("NULL")
        lists = [
            ("{" + pl.col(name).list.eval(quoted).list.join(",") + "}").alias(name)
            for name, kind in rows.schema.items()
            if isinstance(kind, pl.List)
        ]
        binary = [
            ("\\x" + pl.col(name).bin.encode("hex")).alias(name) for name, kind in rows.schema.items() if kind == pl.Binary
        ]
        text = rows.with_columns(*lists, *binary).write_csv(include_header=False, quote_style="non_numeric")
        columns = ", ".join(f'"{name}"' for name in rows.columns)
        driver = cast("Any", connection.connection.driver_connection)
        target = table.name if isinstance(table, sa.TableClause) else str(table)
        with driver.cursor() as cursor, cursor.copy(f'COPY "{target}" ({columns}) FROM STDIN (FORMAT csv)') as copy:
            copy.write(text)

    # -- which days were written

    def newest_day(self, asset: str, before: date | None = None) -> date | None:
        """Newest day that an asset's table was written for, optionally strictly before a day."""
        days = schema.asset_days
        query = sa.select(sa.func.max(days.c.day)).where(days.c.asset == asset)
        if before is not None:
            query = query.where(days.c.day < before)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def execute(
        self, statement: sa.Executable, values: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None
    ) -> int:
        """One statement in a transaction of its own; the number of rows that it touched."""
        with self._engine.begin() as connection:
            return connection.execute(statement, cast("Any", values)).rowcount
