"""Accounts of the warehouse, their time zones, and up to which of their days the connector has synced them.

What belongs here: who the accounts are, and which of their days are known and complete. What does not: what their ads achieved (`facts`).

A day is complete when the connector has synced the account after it had ended; without `_fivetran_synced` the newest day of an account counts
as not ended.
"""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from learning_assets.platforms.source import ACCOUNTS, SourceError
from learning_assets.platforms.warehouse.tables import UTC_TIME, Tables, read_as

FINAL_DAYS = 28
"""Days after which the platform does not restate its figures any more."""


def synced_facts(tables: Tables) -> pl.DataFrame:
    """One row per account with facts: account_id, first and newest day (first, newest), and when the connector last synced it (synced)."""
    import sqlalchemy as sa

    facts, kinds = tables.of("basic_ad"), tables.columns("basic_ad")
    day = facts.c.date if isinstance(kinds["date"], sa.Date) else sa.cast(facts.c.date, sa.Date)
    account = read_as(facts.c.account_id, kinds["account_id"], "account_id", pl.String)
    synced = sa.func.max(facts.c["_fivetran_synced"]) if "_fivetran_synced" in kinds else sa.null()
    query = (
        sa.select(account.label("account_id"), sa.func.min(day), sa.func.max(day), synced)
        .where(*tables.kept("basic_ad"))
        .group_by(account)
        .order_by(account)
    )
    return tables.read(query, {"account_id": pl.String, "first": pl.Date, "newest": pl.Date, "synced": UTC_TIME})


def account_rows(tables: Tables, state: pl.DataFrame) -> pl.DataFrame:
    """Schema ACCOUNTS: the newest version of each account, and those that have facts (`state`: see `synced_facts`) but no history.

    Raises
    ------
    SourceError : an account has a time zone that is none.
    """
    schema = {"id": pl.String, "name": pl.String, "currency": pl.String, "timezone": pl.String, "synced": UTC_TIME}
    names = {"id": "id", "name": "name", "currency": "currency", "timezone": "timezone_name", "synced": "_fivetran_synced"}
    history = tables.select("account_history", schema, names, where=tables.kept("account_history"))
    newest = history.sort("synced", nulls_last=False).group_by("id", maintain_order=True).last()
    for account, zone in newest.select("id", "timezone").drop_nulls().iter_rows():
        time_zone(account, zone)
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


def time_zone(account: str, name: str | None) -> ZoneInfo:
    """The time zone of an account, UTC where none is known; SourceError where the name is none of IANA's."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError) as error:
        raise SourceError(
            f"The account {account} has the time zone {name!r} in account_history, which is not an IANA time zone. Correct it there."
        ) from error


def known_days(state: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
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
        for name, kind in (("synced", UTC_TIME), ("newest", pl.Date))
    )
    days: list[date | None] = [
        (synced.astimezone(time_zone(account, zone)).date() if synced else newest)
        for account, zone, synced, newest in every.select("account_id", "timezone", "synced", "newest").iter_rows()
    ]
    until = [day - timedelta(days=1) if day else None for day in days]
    return every.select(
        "account_id", "synced", pl.Series("synced_on", days, dtype=pl.Date), pl.Series("complete_until", until, dtype=pl.Date)
    )
