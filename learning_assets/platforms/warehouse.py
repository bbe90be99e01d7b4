"""Tables of the widely used connector schema as a source, read only.

What belongs here: reading `basic_ad`, its actions and the histories of ads, ad sets, campaigns, creatives and accounts through SQLAlchemy, one
statement per table, and answering as a source. What does not: filling those tables.

`inline_link_clicks` are the link clicks and `clicks`, where the table has them, all clicks. A day is complete when the connector has synced the
account after it had ended; without `_fivetran_synced` the newest day of an account counts as not ended.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import polars as pl

from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, HOURLY, MANIFEST, Cadence, Fetched, SourceError
from learning_assets.settings import SourceKind, Warehouse

if TYPE_CHECKING:
    import sqlalchemy as sa

CONNECT_SECONDS = 10
FINAL_DAYS = 28
"""Days after which the platform does not restate its figures any more."""

GOALS = {
    "purchase": (
        "omni_purchase",
        "purchase",
        "offsite_conversion.fb_pixel_purchase",
        "onsite_web_purchase",
        "onsite_conversion.purchase",
    ),
    "lead": ("lead", "onsite_conversion.lead_grouped", "offsite_conversion.fb_pixel_lead"),
}
"""Action types of a goal, in order. One conversion stands under several of them: the first that an account has counts, and they are never added up."""

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

_TEXTS = {
    "headline": ("title", "object_story_link_data_name", "object_story_video_data_title"),
    "body": ("body", "object_story_link_data_message", "object_story_video_data_message"),
    "description": ("object_story_link_data_description", "object_story_video_data_link_description"),
    "cta": (
        "call_to_action_type",
        "object_story_link_data_call_to_action_type",
        "object_story_video_data_call_to_action_type",
    ),
    "image_id": ("image_hash", "object_story_link_data_image_hash"),
    "image_url": ("image_url", "object_story_link_data_picture"),
    "video_id": ("video_id", "object_story_video_data_video_id"),
    "carousel": ("object_story_link_data_child_attachments",),
}
"""Columns of creative_history for ours, the first that says something counts."""

_STATUSES = {
    "ACTIVE": "active",
    "PAUSED": "paused",
    "CAMPAIGN_PAUSED": "paused",
    "ADSET_PAUSED": "paused",
    "ARCHIVED": "archived",
    "DELETED": "deleted",
}
_AD = ["account_id", "ad_id"]
_DAY = ["date", *_AD]


class WarehouseSource:
    """A warehouse by its settings; every answer is read anew in one read-only transaction."""

    kind: SourceKind = "ads"
    cadence: Cadence = "day"
    looks_back: bool = False

    def __init__(self, settings: Warehouse) -> None:
        self.settings = settings

    def accounts(self) -> pl.DataFrame:
        """Accounts with facts or with a history, with schema ACCOUNTS; each is its own owner, and was not asked for consent.

        Raises
        ------
        SourceError : the warehouse cannot be read; the message names the setting, table or column and the remedy, never the password.
        """
        with self._open() as tables:
            return _accounts(tables, _state(tables))

    def first_day(self) -> date | None:
        """Oldest day with facts, or None where there are none."""
        with self._open() as tables:
            return _state(tables)["first"].min()  # type: ignore[return-value]

    def last_day(self, today: date) -> date:
        """Newest day before `today` that is complete for an account; yesterday where there are no facts."""
        with self._open() as tables:
            state = _state(tables)
            known = _known(state, _accounts(tables, state))
        newest = known["complete_until"].max()
        return min(today - timedelta(days=1), newest) if isinstance(newest, date) else today - timedelta(days=1)

    def catalog(self, day: date) -> Fetched:
        """Ads with delivery on `day` or active at its end, and those whose ad set starts on the next, as the histories have them at the day's end."""
        begun = perf_counter()
        with self._open() as tables:
            state = _state(tables)
            accounts = _accounts(tables, state)
            rows = _catalog(tables, accounts, day)
        found = rows.with_columns(date=pl.lit(day))
        return Fetched(rows, _manifest("catalog", [day], found, _known(state, accounts), {}, perf_counter() - begun))

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:  # noqa: ARG002
        """What the ads achieved on `first` to `last` as the tables have it now, whatever `known_on` is, with schema ACTUALS.

        An account whose rows contradict themselves has none in the answer; the manifest says why.
        """
        begun = perf_counter()
        with self._open() as tables:
            state = _state(tables)
            accounts = _accounts(tables, state)
            types = self._types(tables)
            rows, broken = _facts(tables, first, last, types)
        known = _known(state, accounts)
        rows = (
            rows.join(accounts.select("account_id", "currency"), on="account_id", how="left")
            .join(known.select("account_id", "complete_until", "synced_on"), on="account_id", how="left")
            .with_columns(
                (pl.col("date") <= pl.col("complete_until")).fill_null(value=False).alias("complete"),
                (pl.col("date") <= pl.col("synced_on") - timedelta(days=FINAL_DAYS)).fill_null(value=False).alias("is_final"),
                pl.lit(value=False).alias("restated"),
            )
            .match_to_schema(ACTUALS, missing_columns="insert", extra_columns="ignore")
            .select(ACTUALS.names())
            .sort(_DAY)
        )
        asked = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return Fetched(rows, _manifest("daily", asked, rows, known, broken, perf_counter() - begun))

    def hourly(self, day: date) -> Fetched:  # noqa: ARG002
        """No rows: the tables are by day."""
        return Fetched(HOURLY.to_frame(), MANIFEST.to_frame())

    @cached_property
    def _engine(self) -> "sa.Engine":
        import sqlalchemy as sa
        from sqlalchemy import exc
        from sqlalchemy.pool import NullPool

        url = self._url
        # A server that does not answer is an error, not a wait without end.
        options = {"connect_args": {"connect_timeout": CONNECT_SECONDS}} if url.get_backend_name() == "postgresql" else {}
        failure = ""
        try:
            return sa.create_engine(url, poolclass=NullPool, hide_parameters=True, **options)
        except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
            failure = _scrubbed(error, url)
        raise SourceError(
            f"LEARNING_WAREHOUSE_URL: {failure}. Install the SQLAlchemy dialect and the driver of {url.drivername}."
        )

    @cached_property
    def _url(self) -> "sa.URL":
        import sqlalchemy as sa
        from sqlalchemy import exc

        if self.settings.url is None:
            raise SourceError(
                "LEARNING_SOURCE=warehouse needs LEARNING_WAREHOUSE_URL, such as postgresql://user:password@host:5432/database."
            )
        url = None
        try:
            url = sa.make_url(self.settings.url.get_secret_value().strip())
        except (exc.ArgumentError, ValueError):
            # Said outside of the handler: the text holds the password.
            url = None
        if url is None:
            raise SourceError(
                "LEARNING_WAREHOUSE_URL is not an address of SQLAlchemy. It should be of the form "
                "postgresql://user:password@host:5432/database; percent-encode characters such as @ / : # in the password."
            )
        return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url

    @contextmanager
    def _open(self) -> Iterator["_Tables"]:
        """The tables, in one read-only transaction."""
        from sqlalchemy import exc

        failure = ""
        engine = self._engine
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "postgresql":
                    connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                yield _Tables(connection, self.settings)
        except (exc.SQLAlchemyError, OSError) as error:
            failure = _scrubbed(error, self._url)
        if failure:
            raise SourceError(
                f"LEARNING_WAREHOUSE_URL ({self._shown()}): {failure}. Check that it answers, and that its user may read "
                f"the tables of the schema {self.settings.db_schema or 'by default'} (LEARNING_WAREHOUSE_DB_SCHEMA)."
            ) from None

    def _shown(self) -> str:
        """The address as a person may see it: parameters may hold secrets, too."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    def _types(self, tables: "_Tables") -> pl.DataFrame:
        """account_id and the action type that counts as its conversion: the first of the goal that the account has at all.

        It is chosen over all days, so that a range of days does not choose another than the day alone.
        """
        if self._chosen is None:
            goal = self.settings.conversions
            order = GOALS.get(goal, (goal,))
            import sqlalchemy as sa

            facts, actions = tables.of("basic_ad"), tables.of("basic_ad_actions")
            ads = sa.select(facts.c.account_id, facts.c.ad_id).distinct().subquery()
            query = (
                sa.select(sa.cast(ads.c.account_id, sa.String).label("account_id"), actions.c.action_type)
                .join_from(ads, actions, sa.cast(ads.c.ad_id, sa.String) == sa.cast(actions.c.ad_id, sa.String))
                .where(actions.c.action_type.in_(order), *tables.kept("basic_ad_actions"))
                .distinct()
            )
            found = tables.read(query, {"account_id": pl.String, "action_type": pl.String})
            ranked = found.with_columns(
                rank=pl.col("action_type").replace_strict(list(order), range(len(order)), return_dtype=pl.Int64)
            )
            self._chosen = (
                ranked.sort("rank").group_by("account_id").agg(pl.col("action_type").first().alias("conversion_type"))
            )
        return self._chosen

    _chosen: pl.DataFrame | None = None


class _Tables:
    """The connector's tables in an open transaction."""

    def __init__(self, connection: "sa.Connection", settings: Warehouse) -> None:
        self.connection, self.settings = connection, settings
        self._columns: dict[str, dict[str, Any]] = {}
        self._tables: dict[str, sa.TableClause] = {}

    def name(self, table: str) -> str:
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
        chosen = [_read_as(source.c[theirs], kinds[theirs], ours, schema[ours]).label(ours) for ours, theirs in present.items()]
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


def _read_as(column: Any, kind: Any, ours: str, wanted: Any) -> Any:
    """A column in the type that is wanted; micros are counted in the database, where its decimals are exact."""
    import sqlalchemy as sa

    if ours.endswith("_micros"):
        return sa.cast(sa.func.round(sa.cast(column, sa.Numeric(38, 9)) * 1_000_000), sa.BigInteger)
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


_UTC = pl.Datetime("us", "UTC")


def _state(tables: _Tables) -> pl.DataFrame:
    """One row per account with facts: account_id, first and newest day (first, newest), and when the connector last synced it (synced)."""
    import sqlalchemy as sa

    facts, kinds = tables.of("basic_ad"), tables.columns("basic_ad")
    day = facts.c.date if isinstance(kinds["date"], sa.Date) else sa.cast(facts.c.date, sa.Date)
    account = _read_as(facts.c.account_id, kinds["account_id"], "account_id", pl.String)
    synced = sa.func.max(facts.c["_fivetran_synced"]) if "_fivetran_synced" in kinds else sa.null()
    query = (
        sa.select(account.label("account_id"), sa.func.min(day), sa.func.max(day), synced)
        .where(*tables.kept("basic_ad"))
        .group_by(account)
        .order_by(account)
    )
    return tables.read(query, {"account_id": pl.String, "first": pl.Date, "newest": pl.Date, "synced": _UTC})


def _accounts(tables: _Tables, state: pl.DataFrame) -> pl.DataFrame:
    """Schema ACCOUNTS: the newest version of each account, and those that have facts but no history."""
    schema = {"id": pl.String, "name": pl.String, "currency": pl.String, "timezone": pl.String, "synced": _UTC}
    names = {"id": "id", "name": "name", "currency": "currency", "timezone": "timezone_name", "synced": "_fivetran_synced"}
    history = tables.select("account_history", schema, names, where=tables.kept("account_history"))
    newest = history.sort("synced", nulls_last=False).group_by("id", maintain_order=True).last()
    for account, zone in newest.select("id", "timezone").drop_nulls().iter_rows():
        _zone(account, zone)
    every = pl.concat([newest.select("id"), state.select(pl.col("account_id").alias("id"))]).unique().sort("id")
    return (
        every.join(newest, on="id", how="left")
        .select(
            pl.col("id").alias("account_id"),
            pl.col("id").alias("owner"),
            pl.coalesce("name", "id").alias("name"),
            "currency",
            "timezone",
            pl.lit(None, dtype=pl.Boolean).alias("consents"),
        )
        .match_to_schema(ACCOUNTS)
    )


def _zone(account: str, name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError) as error:
        raise SourceError(
            f"The account {account} has the time zone {name!r} in account_history, which is not an IANA time zone. Correct it there."
        ) from error


def _known(state: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """account_id, when the connector last synced it (synced), that as its local day (synced_on), and its newest complete day (complete_until).

    Where the connector does not say when it synced, the newest day may be half a day: it is not complete. An account without facts in the days that
    the connector reads again has no rows that could tell: what was synced last of all holds for it.
    """
    whole = state.select(pl.col("synced").max(), pl.col("newest").max()).row(0, named=True)
    latest = whole["synced"].date() if whole["synced"] else whole["newest"]
    asleep = pl.col("newest").is_null() | (
        pl.col("newest") < latest - timedelta(days=FINAL_DAYS) if latest else pl.lit(value=False)
    )
    every = accounts.select("account_id", "timezone").join(state, on="account_id", how="left")
    every = every.with_columns(
        pl.when(asleep).then(pl.lit(whole[name], dtype=kind)).otherwise(name).alias(name)
        for name, kind in (("synced", _UTC), ("newest", pl.Date))
    )
    days: list[date | None] = [
        (synced.astimezone(_zone(account, zone)).date() if synced else newest)
        for account, zone, synced, newest in every.select("account_id", "timezone", "synced", "newest").iter_rows()
    ]
    until = [day - timedelta(days=1) if day else None for day in days]
    return every.select(
        "account_id", "synced", pl.Series("synced_on", days, dtype=pl.Date), pl.Series("complete_until", until, dtype=pl.Date)
    )


def _facts(tables: _Tables, first: date, last: date, types: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """Rows of the days without the accounts that contradict themselves, and the reasons of those."""
    schema = {
        "date": pl.Date,
        "account_id": pl.String,
        "ad_id": pl.String,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
        "clicks_all": pl.Int64,
        "spend_micros": pl.Int64,
        "reach": pl.Int64,
    }
    names = {name: name for name in schema} | {
        "link_clicks": "inline_link_clicks",
        "clicks_all": "clicks",
        "spend_micros": "spend",
    }
    facts = tables.select("basic_ad", schema, names, (first, last), tables.kept("basic_ad")).unique(maintain_order=True)
    wanted = [*types["conversion_type"].unique(), "video_view"]
    actions = _actions(tables, "basic_ad_actions", first, last, wanted)
    values = _actions(tables, "basic_ad_action_values", first, last, wanted)
    broken = _contradictions(tables, facts, actions, values)
    key = ["date", "ad_id", "conversion_type"]
    counted = actions.rename({"action_type": "conversion_type"}).select(
        *key,
        pl.col("value").alias("conversions"),
        pl.col("seven").alias("conversions_7d_click"),
        pl.col("view").alias("conversions_1d_view"),
    )
    videos = actions.filter(pl.col("action_type") == "video_view").select(
        "date", "ad_id", pl.col("value").alias("video_3s_views")
    )
    earned = values.rename({"action_type": "conversion_type"}).select(
        *key, (pl.col("value") * 1_000_000).round().alias("revenue_micros")
    )
    rows = (
        facts.filter(~pl.col("account_id").is_in(list(broken)))
        .join(types, on="account_id", how="left")
        .join(counted, on=key, how="left")
        .join(earned, on=key, how="left")
        .join(videos, on=["date", "ad_id"], how="left")
    )
    whole = ("conversions", "conversions_7d_click", "conversions_1d_view", "video_3s_views", "revenue_micros")
    happened = pl.any_horizontal(pl.col("impressions", "link_clicks", "spend_micros", "conversions") > 0)
    return rows.with_columns(pl.col(whole).cast(pl.Int64)).filter(happened), broken


def _actions(tables: _Tables, table: str, first: date, last: date, wanted: Iterable[str]) -> pl.DataFrame:
    """date, ad_id, action_type, value, seven (7 days after a click) and view (1 day after a view) of the wanted types, and how many reports
    they come from (reports); the parts of one report add up."""
    schema = {
        "date": pl.Date,
        "ad_id": pl.String,
        "action_type": pl.String,
        "value": pl.Float64,
        "seven": pl.Float64,
        "view": pl.Float64,
        "report": pl.String,
    }
    names = {name: name for name in schema} | {"seven": "_7_d_click", "view": "_1_d_view", "report": "_fivetran_id"}
    if not tables.columns(table):
        return pl.DataFrame(schema={**schema, "reports": pl.UInt32}).drop("report")
    where = [tables.of(table).c.action_type.in_(sorted(set(wanted))), *tables.kept(table)]
    found = tables.select(table, schema, names, (first, last), where)
    return found.group_by("date", "ad_id", "action_type").agg(
        *(pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in ("value", "seven", "view")),
        pl.col("report").n_unique().alias("reports"),
    )


def _contradictions(tables: _Tables, facts: pl.DataFrame, actions: pl.DataFrame, values: pl.DataFrame) -> dict[str, str]:
    """Why the rows of an account are not to be used, by account: the first row that cannot be."""
    ads = facts.select(_DAY).unique()
    basic, acts, worths = (tables.name(name) for name in ("basic_ad", "basic_ad_actions", "basic_ad_action_values"))
    done = actions.join(ads, on=["date", "ad_id"], how="inner")
    worth = values.join(ads, on=["date", "ad_id"], how="inner")
    sums = pl.col("value", "seven", "view")
    money = pl.col("impressions", "link_clicks", "clicks_all", "spend_micros", "reach")
    tests = (
        (basic, facts.filter(pl.any_horizontal(money < 0)), "a count or amount below 0"),
        (basic, facts.filter(pl.col("link_clicks") > pl.col("impressions").fill_null(0)), "more link clicks than impressions"),
        (basic, facts.filter(facts.select(_DAY).is_duplicated()), "several rows that differ"),
        (acts, done.filter(pl.any_horizontal(sums < 0)), "a count below 0"),
        (
            acts,
            done.filter(pl.any_horizontal(~sums.is_finite() | (sums != sums.round()))),
            "a count that is not a whole number",
        ),
        (acts, done.filter(pl.col("reports") > 1), "one action from several reports"),
        (worths, worth.filter(pl.any_horizontal((sums < 0) | ~sums.is_finite())), "a value that is below 0 or no number"),
        (worths, worth.filter(pl.col("reports") > 1), "one value from several reports"),
    )
    reasons: dict[str, str] = {}
    for table, wrong, what in tests:
        for account, ad, day in (
            wrong.sort(_DAY).unique("account_id", keep="first", maintain_order=True).select(*_AD, "date").iter_rows()
        ):
            reasons.setdefault(
                account,
                f"{table} has {what} for the ad {ad} of the account {account} on {day}: let the connector sync the account again",
            )
    return reasons


def _versions(tables: _Tables, table: str, columns: Mapping[str, tuple[str, ...]], ends: pl.DataFrame) -> pl.DataFrame:
    """One row per id of a history: its newest version as of the end of the account's day (`ends`: account_id, end; a single row of account_id NULL
    holds for accounts that are not in it), else its oldest, whose `early` is then set.

    `columns`: ours and theirs, of which the first that says something counts.
    """
    kinds = tables.columns(table)
    flat = {
        f"{ours} {place}": theirs
        for ours, several in columns.items()
        for place, theirs in enumerate(several)
        if theirs in kinds
    }
    moments = ("updated", "synced")
    schema: dict[str, Any] = {"id": pl.String, "account_id": pl.String, "updated": _UTC, "synced": _UTC, "deleted": pl.Boolean}
    schema |= {name: _UTC if name.split(" ")[0].endswith("_time") else pl.String for name in flat}
    names = {
        "id": "id",
        "account_id": "account_id",
        "updated": "updated_time",
        "synced": "_fivetran_synced",
        "deleted": "_fivetran_deleted",
    }
    found = tables.select(table, schema, {**names, **flat}) if kinds else pl.DataFrame(schema=schema)
    default = ends["end"].max()
    found = (
        found.join(ends, on="account_id", how="left")
        .with_columns(pl.col("end").fill_null(default), pl.coalesce(*moments).alias("from"))
        .with_columns(
            ((pl.col("from") >= pl.col("end")) | pl.col("from").is_null()).fill_null(value=True).alias("early"),
            # A mark that was set by a later sync says nothing about the day.
            (pl.col("deleted") & (pl.col("synced") < pl.col("end"))).fill_null(value=False).alias("deleted"),
        )
    )
    # The newest of those that were known, else the oldest that came later.
    order = pl.when("early").then(-pl.col("from").dt.epoch("us")).otherwise(pl.col("from").dt.epoch("us"))
    chosen = (
        found.with_columns(order=order, synced=pl.col("synced").dt.epoch("us"))
        .sort(~pl.col("early"), "order", "synced", nulls_last=False)
        .group_by("id", maintain_order=True)
        .last()
    )

    def said(ours: str) -> pl.Expr:
        places = [name for name in flat if name.rsplit(" ", 1)[0] == ours]
        kind = _UTC if ours.endswith("_time") else pl.String
        texts = [pl.col(name) if kind == _UTC else pl.when(pl.col(name).str.strip_chars() != "").then(name) for name in places]
        return (pl.coalesce(texts) if texts else pl.lit(None, dtype=kind)).alias(ours)

    return chosen.select("id", "account_id", "early", "deleted", *(said(ours) for ours in columns))


def _catalog(tables: _Tables, accounts: pl.DataFrame, day: date) -> pl.DataFrame:
    """Rows of CATALOG for a day; see `WarehouseSource.catalog`."""
    zones = {account: _zone(account, zone) for account, zone in accounts.select("account_id", "timezone").iter_rows()}
    following = day + timedelta(days=1)
    midnight = [datetime.combine(following, datetime.min.time(), zone).astimezone(UTC) for zone in zones.values()]
    ends = pl.DataFrame({"account_id": list(zones), "end": midnight}, schema={"account_id": pl.String, "end": _UTC})
    schema = {"account_id": pl.String, "ad_id": pl.String, "impressions": pl.Int64}
    facts = tables.select("basic_ad", schema, {name: name for name in schema}, (day, day), tables.kept("basic_ad"))
    shown = facts.filter(pl.col("impressions") > 0).select(_AD).unique()

    status = ("effective_status", "status", "configured_status")
    own = {name: (name,) for name in ("ad_set_id", "campaign_id", "creative_id")}
    ads = _versions(tables, "ad_history", {**own, "status": status}, ends).rename({"id": "ad_id"})
    sets = _versions(
        tables,
        "ad_set_history",
        {
            "start_time": ("start_time",),
            "end_time": ("end_time",),
            "daily_budget": ("daily_budget",),
            "optimization_goal": ("optimization_goal",),
        },
        ends,
    ).select(
        pl.col("id").alias("ad_set_id"),
        "start_time",
        "end_time",
        "optimization_goal",
        _known_then("daily_budget", "set_budget"),
    )
    campaigns = _versions(tables, "campaign_history", {"daily_budget": ("daily_budget",)}, ends).select(
        pl.col("id").alias("campaign_id"), _known_then("daily_budget", "campaign_budget")
    )
    creatives = (
        _versions(tables, "creative_history", _TEXTS, ends).drop("account_id", "early", "deleted").rename({"id": "creative_id"})
    )

    told = pl.when(~pl.col("early")).then(
        pl.col("status").str.to_uppercase().replace_strict(_STATUSES, default=None, return_dtype=pl.String)
    )
    gone = pl.col("deleted") & ~pl.col("early")
    ads = ads.with_columns(pl.when(gone).then(pl.lit("deleted")).otherwise(told).alias("status"))
    listed = (
        shown.with_columns(shown=pl.lit(value=True))
        .join(ads, on=_AD, how="full", coalesce=True)
        .join(sets, on="ad_set_id", how="left")
        .join(campaigns, on="campaign_id", how="left")
        .join(creatives, on="creative_id", how="left")
        .join(accounts.select("account_id", "currency"), on="account_id", how="left")
        .with_columns(_local("start_time", "starts_on", zones), _local("end_time", "ends_on", zones))
    )
    starts = (pl.col("status") == "active") & (pl.col("starts_on") == following)
    begun = pl.col("starts_on").is_null() | (pl.col("starts_on") <= day)
    live = (pl.col("status") == "active") & begun & (pl.col("ends_on").is_null() | (pl.col("ends_on") >= day))
    money = pl.coalesce("campaign_budget", "set_budget")
    minor = _minor_units(accounts)
    return (
        listed.filter(pl.col("shown").fill_null(value=False) | live | starts)
        .join(minor, on="currency", how="left")
        .with_columns(
            pl.when(starts & pl.col("shown").is_null())
            .then(pl.lit("scheduled"))
            .otherwise(pl.coalesce("status", pl.lit("active")))
            .alias("status"),
            pl.coalesce("creative_id", pl.format("ad-{}", "ad_id")).alias("creative_id"),
            pl.when(pl.col("campaign_budget").is_not_null())
            .then(pl.lit("campaign"))
            .when(pl.col("set_budget").is_not_null())
            .then(pl.lit("ad_set"))
            .alias("budget_owner"),
            (money * pl.col("micros")).alias("budget_micros"),
            pl.when(pl.col("carousel").str.contains(r"\}\s*,\s*\{"))
            .then(pl.lit("carousel"))
            .when(pl.col("video_id").is_not_null())
            .then(pl.lit("video"))
            .when(pl.any_horizontal(pl.col("image_id", "image_url").is_not_null()))
            .then(pl.lit("single_image"))
            .alias("template"),
        )
        .match_to_schema(CATALOG, missing_columns="insert", extra_columns="ignore")
        .select(CATALOG.names())
        .sort(_AD)
    )


def _known_then(column: str, ours: str) -> pl.Expr:
    """A budget in minor units, NULL where it was not known on the day or there is none at this level."""
    amount = pl.col(column).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    return pl.when(~pl.col("early") & (amount > 0)).then(amount).alias(ours)


def _local(moment: str, ours: str, zones: Mapping[str, ZoneInfo]) -> pl.Expr:
    """A time as the date of its account."""
    local = pl.lit(None, dtype=pl.Date)
    for name in sorted({str(zone) for zone in zones.values()}):
        those = [account for account, zone in zones.items() if str(zone) == name]
        local = (
            pl.when(pl.col("account_id").is_in(those))
            .then(pl.col(moment).dt.convert_time_zone(name).dt.date())
            .otherwise(local)
        )
    return local.alias(ours)


def _minor_units(accounts: pl.DataFrame) -> pl.DataFrame:
    """currency and how many micros its minor unit has (micros), for currencies where that is known."""
    from learning_assets.platforms.meta.money import MICROS, UnknownCurrency, minor_units

    known: dict[str, int] = {}
    for currency in accounts["currency"].drop_nulls().unique():
        try:
            known[currency] = MICROS // minor_units(currency)
        except UnknownCurrency:
            # Its budgets stay NULL: a guess would be wrong by a factor of 100.
            continue
    return pl.DataFrame(
        {"currency": list(known), "micros": list(known.values())}, schema={"currency": pl.String, "micros": pl.Int64}
    )


def _manifest(
    fact: str, asked: Sequence[date], rows: pl.DataFrame, known: pl.DataFrame, broken: Mapping[str, str], seconds: float
) -> pl.DataFrame:
    """One row per account and day, with an equal part of the seconds each."""
    money = (
        pl.col("spend_micros").sum() if "spend_micros" in rows.columns else pl.lit(None, dtype=pl.Int64).alias("spend_micros")
    )
    sums = rows.group_by("account_id", "date").agg(pl.len().cast(pl.Int64).alias("rows"), money)
    reasons = pl.DataFrame(
        {"account_id": list(broken), "why": list(broken.values())}, schema={"account_id": pl.String, "why": pl.String}
    )
    found = (
        known.join(pl.DataFrame({"date": asked}, schema={"date": pl.Date}), how="cross")
        .join(sums, on=["account_id", "date"], how="left")
        .join(reasons, on="account_id", how="left")
        .with_columns(pl.col("rows").fill_null(0))
    )
    wrong = pl.col("why").is_not_null()
    running = pl.col("date") == pl.col("synced_on")
    ahead = pl.col("synced_on").is_null() | (pl.col("date") > pl.col("synced_on"))
    empty = pl.col("rows") == 0
    account, day, synced = pl.col("account_id"), pl.col("date").cast(pl.String), pl.col("synced_on").cast(pl.String)
    status = pl.when(wrong | ahead).then(pl.lit("incomplete")).when(running).then(pl.lit("running"))
    reason = (
        pl.when(wrong)
        .then("why")
        .when(pl.col("synced_on").is_null())
        .then(pl.format("the warehouse has no facts at all, so none of the account {}: let the connector sync", account))
        .when(ahead)
        .then(pl.format("the connector has synced the account {} up to {} only: wait for it, or start it", account, synced))
        .when(running)
        .then(pl.format("the connector last synced the account {} on {} itself, before the day had ended", account, day))
        .when(empty)
        .then(pl.format("the warehouse has no delivery of the account {} on {}", account, day))
    )
    return (
        found.with_columns(
            pl.lit(fact).alias("fact"),
            status.when(empty).then(pl.lit("no_data")).otherwise(pl.lit("complete")).alias("status"),
            reason.alias("reason"),
            pl.lit(seconds / max(found.height, 1)).alias("seconds"),
            pl.col("synced").alias("requested_at"),
        )
        .match_to_schema(MANIFEST, missing_columns="insert", extra_columns="ignore")
        .select(MANIFEST.names())
        .sort("date", "account_id")
    )


def _scrubbed(error: BaseException, url: "sa.URL") -> str:
    """What the driver says, on one line, without the statement and the password."""
    cause = getattr(error, "orig", None) or error
    text = re.sub(r"\s+", " ", str(cause).split("[SQL:")[0]).strip().rstrip(".")
    for secret in (url.password, url.query.get("password"), url.query.get("sslpassword")):
        if isinstance(secret, str) and secret:
            for written in (secret, quote(secret, safe="")):
                text = text.replace(written, "***")
    return text
