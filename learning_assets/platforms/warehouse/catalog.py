"""The ads of a day, as the histories have them at the end of the account's day.

What belongs here: which ads are listed on a day, their status, budget and creative. What does not: choosing one version of a history
(`histories`), and what the ads achieved (`facts`).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from learning_assets.platforms.meta.money import minor_unit_micros
from learning_assets.platforms.source import CATALOG
from learning_assets.platforms.warehouse.accounts import time_zone
from learning_assets.platforms.warehouse.histories import versions
from learning_assets.platforms.warehouse.tables import AD, UTC_TIME, Tables

TEXTS = {
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

STATUSES = {
    "ACTIVE": "active",
    "PAUSED": "paused",
    "CAMPAIGN_PAUSED": "paused",
    "ADSET_PAUSED": "paused",
    "ARCHIVED": "archived",
    "DELETED": "deleted",
}
"""The platform's statuses for ours; one that is not here says nothing."""


def catalog_rows(tables: Tables, accounts: pl.DataFrame, day: date) -> pl.DataFrame:
    """Schema CATALOG: ads with delivery on `day` or active at its end, and those whose ad set starts on the next.

    `accounts`: with schema ACCOUNTS.
    """
    zones = {account: time_zone(account, zone) for account, zone in accounts.select("account_id", "timezone").iter_rows()}
    ads = _ads_of_every_day(tables, accounts, zones, day)
    active, starts_on, ends_on = pl.col("status") == "active", pl.col("starts_on"), pl.col("ends_on")
    starts_next = active & (starts_on == day + timedelta(days=1))
    live = active & (starts_on.is_null() | (starts_on <= day)) & (ends_on.is_null() | (ends_on >= day))
    delivered = pl.col("delivered").fill_null(value=False)
    return (
        ads.filter(delivered | live | starts_next)
        .join(minor_unit_micros(accounts["currency"]), on="currency", how="left")
        .with_columns(
            pl.when(starts_next & ~delivered)
            .then(pl.lit("scheduled"))
            .otherwise(pl.coalesce("status", pl.lit("active")))
            .alias("status"),
            pl.coalesce("creative_id", pl.format("ad-{}", "ad_id")).alias("creative_id"),
            _budget_owner(),
            (pl.coalesce("campaign_budget", "set_budget") * pl.col("minor_unit_micros")).alias("budget_micros"),
            _template(),
        )
        .match_to_schema(CATALOG, missing_columns="insert", extra_columns="ignore")
        .select(CATALOG.names())
        .sort(AD)
    )


def _ads_of_every_day(tables: Tables, accounts: pl.DataFrame, zones: Mapping[str, ZoneInfo], day: date) -> pl.DataFrame:
    """Every ad that has a history or delivery on the day (delivered), with its ad set, campaign, creative and account at the day's end."""
    ends = _day_ends(zones, day)
    return (
        _with_delivery(tables, day)
        .join(_ads(tables, ends), on=AD, how="full", coalesce=True)
        .join(_ad_sets(tables, ends), on="ad_set_id", how="left")
        .join(_campaigns(tables, ends), on="campaign_id", how="left")
        .join(_creatives(tables, ends), on="creative_id", how="left")
        .join(accounts.select("account_id", "currency"), on="account_id", how="left")
        .with_columns(_local("start_time", "starts_on", zones), _local("end_time", "ends_on", zones))
    )


def _day_ends(zones: Mapping[str, ZoneInfo], day: date) -> pl.DataFrame:
    """account_id and the midnight in its time zone at which its day is over (end)."""
    following = day + timedelta(days=1)
    midnights = [datetime.combine(following, datetime.min.time(), zone).astimezone(UTC) for zone in zones.values()]
    return pl.DataFrame({"account_id": list(zones), "end": midnights}, schema={"account_id": pl.String, "end": UTC_TIME})


def _with_delivery(tables: Tables, day: date) -> pl.DataFrame:
    """Ads that were shown on the day, marked as delivered."""
    schema = {"account_id": pl.String, "ad_id": pl.String, "impressions": pl.Int64}
    facts = tables.select("basic_ad", schema, {name: name for name in schema}, (day, day), tables.kept("basic_ad"))
    return facts.filter(pl.col("impressions") > 0).select(AD).unique().with_columns(delivered=pl.lit(value=True))


def _ads(tables: Tables, ends: pl.DataFrame) -> pl.DataFrame:
    """What each ad belongs to, and its status, NULL where it was not known on the day."""
    columns = {
        "ad_set_id": ("ad_set_id",),
        "campaign_id": ("campaign_id",),
        "creative_id": ("creative_id",),
        "status": ("effective_status", "status", "configured_status"),
    }
    told = pl.col("status").str.to_uppercase().replace_strict(STATUSES, default=None, return_dtype=pl.String)
    known, gone = ~pl.col("early"), pl.col("deleted") & ~pl.col("early")
    status = pl.when(gone).then(pl.lit("deleted")).otherwise(pl.when(known).then(told)).alias("status")
    return versions(tables, "ad_history", columns, ends).rename({"id": "ad_id"}).with_columns(status)


def _ad_sets(tables: Tables, ends: pl.DataFrame) -> pl.DataFrame:
    """When each ad set starts and ends, what it is optimised for, and its own budget."""
    columns = {name: (name,) for name in ("start_time", "end_time", "daily_budget", "optimization_goal")}
    return versions(tables, "ad_set_history", columns, ends).select(
        pl.col("id").alias("ad_set_id"), "start_time", "end_time", "optimization_goal", _budget("set_budget")
    )


def _campaigns(tables: Tables, ends: pl.DataFrame) -> pl.DataFrame:
    """Each campaign's own budget."""
    found = versions(tables, "campaign_history", {"daily_budget": ("daily_budget",)}, ends)
    return found.select(pl.col("id").alias("campaign_id"), _budget("campaign_budget"))


def _creatives(tables: Tables, ends: pl.DataFrame) -> pl.DataFrame:
    """Texts and media of each creative, also of one that became known only later."""
    found = versions(tables, "creative_history", TEXTS, ends)
    return found.drop("account_id", "early", "deleted").rename({"id": "creative_id"})


def _budget(ours: str) -> pl.Expr:
    """A daily budget in minor units, NULL where it was not known on the day or there is none at this level."""
    amount = pl.col("daily_budget").cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    return pl.when(~pl.col("early") & (amount > 0)).then(amount).alias(ours)


def _budget_owner() -> pl.Expr:
    """The level whose budget holds: a campaign's goes before its ad sets'."""
    return (
        pl.when(pl.col("campaign_budget").is_not_null())
        .then(pl.lit("campaign"))
        .when(pl.col("set_budget").is_not_null())
        .then(pl.lit("ad_set"))
        .alias("budget_owner")
    )


def _template() -> pl.Expr:
    """What a creative is made of: several attachments, a video or an image."""
    return (
        pl.when(pl.col("carousel").str.contains(r"\}\s*,\s*\{"))
        .then(pl.lit("carousel"))
        .when(pl.col("video_id").is_not_null())
        .then(pl.lit("video"))
        .when(pl.any_horizontal(pl.col("image_id", "image_url").is_not_null()))
        .then(pl.lit("single_image"))
        .alias("template")
    )


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
