"""What the ads achieved by day: delivery, the actions that count as conversions, and rows that contradict themselves.

What belongs here: the meaning of `basic_ad` and its actions. What does not: which action types are names of one event
(`platforms.meta.conversions`), and whether a day is complete (`accounts`).

`inline_link_clicks` are the link clicks and `clicks`, where the table has them, all clicks.
"""

from collections.abc import Iterable
from datetime import date

import polars as pl

from learning_assets.platforms.meta.conversions import action_types
from learning_assets.platforms.meta.money import MICROS
from learning_assets.platforms.warehouse.tables import AD, AD_DAY, Tables

VIDEO_VIEW = "video_view"


def conversion_types(tables: Tables, goal: str) -> pl.DataFrame:
    """account_id and the action type that counts as its conversion (conversion_type): the first of the goal that the account has at all.

    It is chosen over all days, so that a range of days does not choose another than the day alone.
    """
    import sqlalchemy as sa

    order = action_types(goal)
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
    return ranked.sort("rank").group_by("account_id").agg(pl.col("action_type").first().alias("conversion_type"))


def daily_facts(tables: Tables, first: date, last: date, types: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """Rows of the days without the accounts that contradict themselves, and the reasons of those by account.

    `types`: see `conversion_types`. Counts are integers and money is micros; an ad and day on which nothing happened has no row.
    """
    delivered = _delivery(tables, first, last)
    wanted = [*types["conversion_type"].unique(), VIDEO_VIEW]
    actions = _actions(tables, "basic_ad_actions", first, last, wanted)
    values = _actions(tables, "basic_ad_action_values", first, last, wanted)
    broken = _contradictions(tables, delivered, actions, values)
    of_type = ["date", "ad_id", "conversion_type"]
    rows = (
        delivered.filter(~pl.col("account_id").is_in(list(broken)))
        .join(types, on="account_id", how="left")
        .join(_conversions(actions), on=of_type, how="left")
        .join(_revenue(values), on=of_type, how="left")
        .join(_video_views(actions), on=["date", "ad_id"], how="left")
    )
    whole = ("conversions", "conversions_7d_click", "conversions_1d_view", "video_3s_views", "revenue_micros")
    happened = pl.any_horizontal(pl.col("impressions", "link_clicks", "spend_micros", "conversions") > 0)
    return rows.with_columns(pl.col(whole).cast(pl.Int64)).filter(happened), broken


def _delivery(tables: Tables, first: date, last: date) -> pl.DataFrame:
    """Impressions, clicks, spend and reach by ad and day, as the table has them; a row that stands there twice is one."""
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
    return tables.select("basic_ad", schema, names, (first, last), tables.kept("basic_ad")).unique(maintain_order=True)


def _actions(tables: Tables, table: str, first: date, last: date, wanted: Iterable[str]) -> pl.DataFrame:
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


def _conversions(actions: pl.DataFrame) -> pl.DataFrame:
    """Conversions by day, ad and type, in the ad set's attribution and by window."""
    return actions.select(
        "date",
        "ad_id",
        pl.col("action_type").alias("conversion_type"),
        pl.col("value").alias("conversions"),
        pl.col("seven").alias("conversions_7d_click"),
        pl.col("view").alias("conversions_1d_view"),
    )


def _revenue(values: pl.DataFrame) -> pl.DataFrame:
    """What conversions were worth by day, ad and type."""
    worth = (pl.col("value") * MICROS).round().alias("revenue_micros")
    return values.select("date", "ad_id", pl.col("action_type").alias("conversion_type"), worth)


def _video_views(actions: pl.DataFrame) -> pl.DataFrame:
    """Views of 3 seconds by day and ad."""
    views = actions.filter(pl.col("action_type") == VIDEO_VIEW)
    return views.select("date", "ad_id", pl.col("value").alias("video_3s_views"))


def _contradictions(tables: Tables, delivered: pl.DataFrame, actions: pl.DataFrame, values: pl.DataFrame) -> dict[str, str]:
    """Why the rows of an account are not to be used, by account: the first row that cannot be."""
    ads = delivered.select(AD_DAY).unique()
    basic, acts, worths = (tables.name(name) for name in ("basic_ad", "basic_ad_actions", "basic_ad_action_values"))
    done = actions.join(ads, on=["date", "ad_id"], how="inner")
    worth = values.join(ads, on=["date", "ad_id"], how="inner")
    sums = pl.col("value", "seven", "view")
    counts = pl.col("impressions", "link_clicks", "clicks_all", "spend_micros", "reach")
    more_clicks = pl.col("link_clicks") > pl.col("impressions").fill_null(0)
    fractional = ~sums.is_finite() | (sums != sums.round())
    tests = (
        (basic, delivered.filter(pl.any_horizontal(counts < 0)), "a count or amount below 0"),
        (basic, delivered.filter(more_clicks), "more link clicks than impressions"),
        (basic, delivered.filter(delivered.select(AD_DAY).is_duplicated()), "several rows that differ"),
        (acts, done.filter(pl.any_horizontal(sums < 0)), "a count below 0"),
        (acts, done.filter(pl.any_horizontal(fractional)), "a count that is not a whole number"),
        (acts, done.filter(pl.col("reports") > 1), "one action from several reports"),
        (worths, worth.filter(pl.any_horizontal((sums < 0) | ~sums.is_finite())), "a value that is below 0 or no number"),
        (worths, worth.filter(pl.col("reports") > 1), "one value from several reports"),
    )
    reasons: dict[str, str] = {}
    for table, wrong, what in tests:
        firsts = wrong.sort(AD_DAY).unique("account_id", keep="first", maintain_order=True).select(*AD, "date")
        for account, ad, day in firsts.iter_rows():
            reasons.setdefault(
                account,
                f"{table} has {what} for the ad {ad} of the account {account} on {day}: let the connector sync the account again",
            )
    return reasons
