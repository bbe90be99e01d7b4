"""The connector's tables: which must be there, which columns they have, and reading those as polars types.

What belongs here: names of tables and columns that are required, and reading a table in whatever types the connector gave it. What does not:
what the rows mean (`facts`, `histories`, `accounts`), and how the database is reached (`connection`).
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from learning_assets.platforms.meta.money import MICROS
from learning_assets.platforms.source import SourceError
from learning_assets.settings import Warehouse

if TYPE_CHECKING:
    import sqlalchemy as sa

REQUIRED = {
    "basic_ad": ("ad_id", "date", "account_id", "impressions", "inline_link_clicks", "spend"),
    "basic_ad_actions": ("ad_id", "date", "action_type", "value"),
    "account_history": ("id",),
    "ad_history": ("id", "account_id", "ad_set_id", "campaign_id", "creative_id"),
}
"""Tables that must be there, and the columns that each must have."""
OPTIONAL = {
    "basic_ad_action_values": ("ad_id", "date", "action_type", "value"),
    "ad_set_history": ("id",),
    "campaign_history": ("id",),
    "creative_history": ("id",),
}
"""Tables that may be missing; what they would say is then NULL."""

AD = ["account_id", "ad_id"]
AD_DAY = ["date", *AD]
"""What names one ad, and one day of it."""
UTC_TIME = pl.Datetime("us", "UTC")
"""How times are read."""


class Tables:
    """The connector's tables in an open transaction."""

    def __init__(self, connection: "sa.Connection", settings: Warehouse) -> None:
        self.connection, self.settings = connection, settings
        self._columns: dict[str, dict[str, Any]] = {}
        self._tables: dict[str, sa.TableClause] = {}

    def name(self, table: str) -> str:
        """A table as the database knows it, with schema and prefix."""
        schema = f"{self.settings.db_schema}." if self.settings.db_schema else ""
        return f"{schema}{self.settings.prefix}{table}"

    def columns(self, table: str) -> dict[str, Any]:
        """The columns of a table and their types; empty where an optional table is missing.

        Raises
        ------
        SourceError : a table or a column is missing that must be there.
        """
        import sqlalchemy as sa
        from sqlalchemy import exc

        if table not in self._columns:
            inspector = sa.inspect(self.connection)
            schema, named = self.settings.db_schema or None, f"{self.settings.prefix}{table}"
            found: dict[str, Any] | None = None
            try:
                found = {column["name"]: column["type"] for column in inspector.get_columns(named, schema)}
            except exc.NoSuchTableError:
                found = None
            if found is None and table in REQUIRED:
                there = sorted([*inspector.get_table_names(schema), *inspector.get_view_names(schema)])
                raise SourceError(
                    f"The warehouse has no table {self.name(table)}. Tables there: {', '.join(there[:20]) or 'none'}. "
                    "Set LEARNING_WAREHOUSE_DB_SCHEMA and LEARNING_WAREHOUSE_PREFIX, or let the connector sync the table."
                )
            for column in (REQUIRED | OPTIONAL)[table] if found else ():
                if found and column not in found:
                    raise SourceError(
                        f"The table {self.name(table)} has no column {column}. Its columns are {', '.join(found)}. "
                        "Let the connector sync that column."
                    )
            self._columns[table] = found or {}
        return self._columns[table]

    def of(self, table: str) -> "sa.TableClause":
        """A table to select from, with all of its columns."""
        import sqlalchemy as sa

        if table not in self._tables:
            # One object each: SQLAlchemy takes two of one name for two tables.
            columns = (sa.column(name, kind) for name, kind in self.columns(table).items())
            self._tables[table] = sa.table(f"{self.settings.prefix}{table}", *columns, schema=self.settings.db_schema or None)
        return self._tables[table]

    def kept(self, table: str) -> list["sa.ColumnElement[bool]"]:
        """Conditions that leave out the rows that the connector has marked as deleted."""
        import sqlalchemy as sa

        if "_fivetran_deleted" not in self.columns(table):
            return []
        return [sa.func.coalesce(self.of(table).c["_fivetran_deleted"], sa.false()) == sa.false()]

    def select(
        self,
        table: str,
        schema: Mapping[str, Any],
        names: Mapping[str, str],
        between: tuple[date, date] | None = None,
        where: Sequence[Any] = (),
    ) -> pl.DataFrame:
        """Columns of a table that it has (`names`: ours → theirs), as the polars types of `schema`; missing ones are NULL."""
        import sqlalchemy as sa

        source, kinds = self.of(table), self.columns(table)
        present = {ours: theirs for ours, theirs in names.items() if theirs in kinds}
        chosen = [read_as(source.c[theirs], kinds[theirs], ours, schema[ours]).label(ours) for ours, theirs in present.items()]
        query = sa.select(*chosen).where(*where)
        if between is not None:
            day = source.c["date"] if isinstance(kinds["date"], sa.Date) else sa.cast(source.c["date"], sa.Date)
            query = query.where(day.between(*between))
        found = self.read(query, {ours: schema[ours] for ours in present})
        absent = {ours: kind for ours, kind in schema.items() if ours not in present}
        return found.with_columns(pl.lit(None, dtype=kind).alias(ours) for ours, kind in absent.items()).select(list(schema))

    def read(self, query: Any, schema: Mapping[str, Any]) -> pl.DataFrame:
        """All rows of a statement."""
        moments = {name: kind for name, kind in schema.items() if isinstance(kind, pl.Datetime)}
        rows = [tuple(row) for row in self.connection.execute(query)]
        frame = pl.DataFrame(rows, schema=None if not rows else list(schema), orient="row", infer_schema_length=None)
        if not rows:
            return pl.DataFrame(schema=dict(schema))
        return frame.with_columns(
            *(_moment(frame, name) for name in moments),
            *(pl.col(name).cast(kind) for name, kind in schema.items() if name not in moments),
        )


def read_as(column: Any, kind: Any, ours: str, wanted: Any) -> Any:
    """A column in the type that is wanted; micros are counted in the database, where its decimals are exact.

    Raises
    ------
    SourceError : an id stands in a column of floating numbers, in which it loses digits.
    """
    import sqlalchemy as sa

    if ours.endswith("_micros"):
        return sa.cast(sa.func.round(sa.cast(column, sa.Numeric(38, 9)) * MICROS), sa.BigInteger)
    if wanted == pl.String:
        if isinstance(kind, sa.Float):
            raise SourceError(
                f"The column {column.name} of {column.table.name} is a floating number, in which ids lose digits. Have it synced as text or as integer."
            )
        return sa.cast(column, sa.String)
    if wanted == pl.Date and not isinstance(kind, sa.Date):
        return sa.cast(column, sa.Date)
    if wanted == pl.Int64 and not isinstance(kind, sa.Integer):
        return sa.cast(column, sa.BigInteger)
    if wanted == pl.Float64 and not isinstance(kind, sa.Float):
        return sa.cast(column, sa.Double)
    return column


def _moment(frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column of times in UTC; times without a zone are UTC, as the connector writes them."""
    kind, value = frame.schema[name], pl.col(name)
    if kind == pl.String:
        value = value.str.replace(" ", "T").str.to_datetime(strict=False, time_unit="us")
    elif kind == pl.Null:
        value = value.cast(pl.Datetime("us"))
    elif isinstance(kind, pl.Datetime) and kind.time_zone:
        return value.dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(name)
    return value.dt.replace_time_zone("UTC").dt.cast_time_unit("us").alias(name)
