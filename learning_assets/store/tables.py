"""Reading and writing the tables in bulk: one statement per table, never one per row.

A day's rows are replaced by delete and COPY in one transaction. Every read names its wall. What does not belong here: what a table's
columns mean (`schema`), which rows may be fitted together (`walls`).
"""

import functools
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import OperationalError

from learning_assets.store import schema
from learning_assets.store.walls import Wall

_UNOWNED = {"store_identity", "asset_days", "learning_cycle_log"}
"""Tables of the pipeline itself, without rows of any owner."""


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
        kept = [self._wall(table, wall)]
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

    def _wall(self, table: sa.Table, wall: Wall) -> sa.ColumnElement[bool]:
        if wall.owner is None or table.name in _UNOWNED:
            return sa.true()
        if table is schema.consents:
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
        self, name: str, day: date, rows: pl.DataFrame, *, asset: str | None = None, now: datetime, onward: bool = False
    ) -> Written:
        """Replace the rows of a day, in one transaction; a reader sees the old rows or the new ones.

        Parameters
        ----------
        rows : with the table's columns except `revision`, in any order, `as_of` equal to `day` throughout; may be empty.
        asset : whose day this is, by default the table's name.
        now : the moment that is recorded.
        onward : later days are deleted too, as a replay does that makes them anew.

        Raises
        ------
        TableError : columns are missing, unknown or of another type, a number is not finite, or a row is of another day; nothing changed.
        """
        table = self._table(name)
        asset = asset or name
        since = "as_of"
        if rows.height and not (rows[since] == day).all():
            raise TableError(f"{name}: rows of another day than {day} were to be written as that day. Nothing was changed.")
        with self._engine.begin() as connection:
            # Two writers of a table would each delete what they see and add the rows of both.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"table/{name}", 0))))
            days = schema.asset_days
            revision = (
                connection.execute(sa.select(days.c.revision).where(days.c.asset == asset, days.c.day == day)).scalar() or 0
            )
            if "revision" in table.c:
                rows = rows.with_columns(revision=pl.lit(revision + 1, pl.Int64))
            rows = self._checked(table, rows)
            old = table.c[since] >= day if onward else table.c[since] == day
            connection.execute(sa.delete(table).where(old))
            self._copy(connection, table, rows)
            if onward:
                connection.execute(sa.delete(days).where(days.c.asset == asset, days.c.day > day))
            insert = pg.insert(days).values(asset=asset, day=day, rows=rows.height, revision=revision + 1, written_at=now)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=[days.c.asset, days.c.day],
                    set_={"rows": rows.height, "revision": revision + 1, "written_at": now},
                )
            )
        return Written(name, rows.height, revision + 1)

    def upsert(self, name: str, rows: pl.DataFrame, *, overwrite: bool = True) -> int:
        """Add rows by primary key in one statement; those that exist are overwritten, or left as they are.

        Returns
        -------
        Rows added or overwritten.
        """
        table = self._table(name)
        rows = self._checked(table, rows, given=True)
        if rows.is_empty():
            return 0
        key = [column.name for column in table.primary_key.columns]
        with self._engine.begin() as connection:
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
        quoted = '"' + pl.element().cast(pl.String).str.replace_all(r'(["\\])', r"\${1}") + '"'
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
