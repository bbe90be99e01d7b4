"""A warehouse as a source: the answers of the protocol, and the manifest that says what each account's day is worth.

What belongs here: putting the answers together from what the other modules read. What does not: reading tables and what their rows mean
(`accounts`, `facts`, `catalog`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from time import perf_counter

import polars as pl

from learning_assets.platforms.source import ACTUALS, HOURLY, MANIFEST, REACH, Cadence, Fetched
from learning_assets.platforms.warehouse.accounts import FINAL_DAYS, account_rows, known_days, synced_facts
from learning_assets.platforms.warehouse.catalog import catalog_rows
from learning_assets.platforms.warehouse.connection import Database
from learning_assets.platforms.warehouse.facts import conversion_types, daily_facts
from learning_assets.platforms.warehouse.tables import AD_DAY, Tables
from learning_assets.settings import SourceKind, Warehouse


class WarehouseSource:
    """A warehouse by its settings; every answer is read anew in one read-only transaction."""

    kind: SourceKind = "ads"
    cadence: Cadence = "day"
    looks_back: bool = False
    controlled_delivery: bool = False

    def __init__(self, settings: Warehouse) -> None:
        self.settings = settings
        self._database = Database(settings)
        self._types: pl.DataFrame | None = None

    def accounts(self) -> pl.DataFrame:
        """Accounts with facts or with a history, with schema ACCOUNTS; each is its own owner, and was not asked for consent.

        Raises
        ------
        SourceError : the warehouse cannot be read; the message names the setting, table or column and the remedy, never the password.
        """
        with self._open() as tables:
            return account_rows(tables, synced_facts(tables))

    def first_day(self) -> date | None:
        """Oldest day with facts, or None where there are none."""
        with self._open() as tables:
            return synced_facts(tables)["first"].min()  # type: ignore[return-value]

    def last_day(self, today: date) -> date:
        """Newest day before `today` that is complete for an account; yesterday where there are no facts."""
        with self._open() as tables:
            state = synced_facts(tables)
            known = known_days(state, account_rows(tables, state))
        newest = known["complete_until"].max()
        return min(today - timedelta(days=1), newest) if isinstance(newest, date) else today - timedelta(days=1)

    def catalog(self, day: date) -> Fetched:
        """Ads with delivery on `day` or active at its end, and those whose ad set starts on the next, as the histories have them at the day's end."""
        begun = perf_counter()
        with self._open() as tables:
            state = synced_facts(tables)
            accounts = account_rows(tables, state)
            rows = catalog_rows(tables, accounts, day)
        found = rows.with_columns(date=pl.lit(day))
        return Fetched(rows, _manifest("catalog", [day], found, known_days(state, accounts), {}, perf_counter() - begun))

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:  # noqa: ARG002
        """What the ads achieved on `first` to `last` as the tables have it now, whatever `known_on` is, with schema ACTUALS.

        An account whose rows contradict themselves has none in the answer; the manifest says why.
        """
        begun = perf_counter()
        with self._open() as tables:
            state = synced_facts(tables)
            accounts = account_rows(tables, state)
            types = self._conversion_types(tables)
            facts, broken = daily_facts(tables, first, last, types)
        known = known_days(state, accounts)
        rows = _actuals(facts, accounts, known)
        asked = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return Fetched(rows, _manifest("daily", asked, rows, known, broken, perf_counter() - begun))

    def hourly(self, day: date) -> Fetched:  # noqa: ARG002
        """No rows: the tables are by day."""
        return Fetched(HOURLY.to_frame(), MANIFEST.to_frame())

    def reach(self, first: date, last: date) -> Fetched:  # noqa: ARG002
        """No rows: the tables are by day, and people of several days do not add up."""
        return Fetched(REACH.to_frame(), MANIFEST.to_frame())

    @contextmanager
    def _open(self) -> Iterator[Tables]:
        """The tables, in one read-only transaction."""
        with self._database.read_only() as connection:
            yield Tables(connection, self.settings)

    def _conversion_types(self, tables: Tables) -> pl.DataFrame:
        """What counts as a conversion of each account, chosen once: all answers of a source count the same."""
        if self._types is None:
            self._types = conversion_types(tables, self.settings.conversions)
        return self._types


def _actuals(facts: pl.DataFrame, accounts: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Daily facts with schema ACTUALS: in the account's currency, and with whether their day is complete and final."""
    return (
        facts.join(accounts.select("account_id", "currency"), on="account_id", how="left")
        .join(known.select("account_id", "complete_until", "synced_on"), on="account_id", how="left")
        .with_columns(
            (pl.col("date") <= pl.col("complete_until")).fill_null(value=False).alias("complete"),
            (pl.col("date") <= pl.col("synced_on") - timedelta(days=FINAL_DAYS)).fill_null(value=False).alias("is_final"),
            pl.lit(value=False).alias("restated"),
        )
        .match_to_schema(ACTUALS, missing_columns="insert", extra_columns="ignore")
        .select(ACTUALS.names())
        .sort(AD_DAY)
    )


def _manifest(
    fact: str, asked: Sequence[date], rows: pl.DataFrame, known: pl.DataFrame, broken: Mapping[str, str], seconds: float
) -> pl.DataFrame:
    """Schema MANIFEST: one row per account and day asked for, with an equal part of the seconds each.

    `known`: see `known_days`; `broken`: why an account has no rows, by account.
    """
    reasons = pl.DataFrame(
        {"account_id": list(broken), "why": list(broken.values())}, schema={"account_id": pl.String, "why": pl.String}
    )
    found = (
        known.join(pl.DataFrame({"date": asked}, schema={"date": pl.Date}), how="cross")
        .join(_delivered(rows), on=["account_id", "date"], how="left")
        .join(reasons, on="account_id", how="left")
        .with_columns(pl.col("rows").fill_null(0))
    )
    return (
        found.with_columns(
            pl.lit(fact).alias("fact"),
            *_verdict(),
            pl.lit(seconds / max(found.height, 1)).alias("seconds"),
            pl.col("synced").alias("requested_at"),
        )
        .match_to_schema(MANIFEST, missing_columns="insert", extra_columns="ignore")
        .select(MANIFEST.names())
        .sort("date", "account_id")
    )


def _delivered(rows: pl.DataFrame) -> pl.DataFrame:
    """How many rows an account has on a day, and what it spent, NULL where the rows do not say."""
    money = (
        pl.col("spend_micros").sum() if "spend_micros" in rows.columns else pl.lit(None, dtype=pl.Int64).alias("spend_micros")
    )
    return rows.group_by("account_id", "date").agg(pl.len().cast(pl.Int64).alias("rows"), money)


def _verdict() -> tuple[pl.Expr, pl.Expr]:
    """status and reason of an account's day, from its rows, when it was synced (synced_on), and why it is not to be used (why)."""
    account, day, synced = pl.col("account_id"), pl.col("date").cast(pl.String), pl.col("synced_on").cast(pl.String)
    wrong = pl.col("why").is_not_null()
    never = pl.col("synced_on").is_null()
    ahead = never | (pl.col("date") > pl.col("synced_on"))
    running = pl.col("date") == pl.col("synced_on")
    empty = pl.col("rows") == 0
    status = (
        pl.when(wrong | ahead)
        .then(pl.lit("incomplete"))
        .when(running)
        .then(pl.lit("running"))
        .when(empty)
        .then(pl.lit("no_data"))
        .otherwise(pl.lit("complete"))
    )
    reason = (
        pl.when(wrong)
        .then("why")
        .when(never)
        .then(pl.format("the warehouse has no facts at all, so none of the account {}: let the connector sync", account))
        .when(ahead)
        .then(pl.format("the connector has synced the account {} up to {} only: wait for it, or start it", account, synced))
        .when(running)
        .then(pl.format("the connector last synced the account {} on {} itself, before the day had ended", account, day))
        .when(empty)
        .then(pl.format("the warehouse has no delivery of the account {} on {}", account, day))
    )
    return status.alias("status"), reason.alias("reason")
