"""The rules themselves: a day's frame in, the rows that break a rule out. No Dagster here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl


@dataclass(frozen=True, slots=True)
class Broken:
    """Rows that break a rule: how many, and a sentence that names the first and the remedy."""

    rows: int
    says: str


Rule = Callable[[pl.DataFrame, date], Broken | None]
"""Takes the day's rows and the day; None where the rule holds."""

_COUNTS = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros", "video_3s_views", "reach")


def _first(rows: pl.DataFrame, key: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {rows[name][0]}" for name in key if name in rows.columns)


def has_schema(schema: pl.Schema) -> Rule:
    """The columns and types are those of the schema."""

    def rule(rows: pl.DataFrame, day: date) -> Broken | None:
        wrong = sorted({*rows.schema.items()} ^ {*schema.items()}, key=str)
        if not wrong:
            return None
        return Broken(
            rows.height, f"{day}: columns differ from the schema: {wrong}. Materialize the day again with this version."
        )

    return rule


def unique_key(key: tuple[str, ...]) -> Rule:
    """No two rows share the key."""

    def rule(rows: pl.DataFrame, day: date) -> Broken | None:
        twice = rows.filter(pl.struct(key).is_duplicated())
        if twice.is_empty():
            return None
        return Broken(
            twice.height,
            f"{day}: {_first(twice, key)} appears more than once. The platform's answer was doubled: fetch the day again.",
        )

    return rule


def no_negatives(rows: pl.DataFrame, day: date) -> Broken | None:
    """No count and no amount is below zero."""
    names = [name for name in _COUNTS if name in rows.columns]
    wrong = rows.filter(pl.any_horizontal(pl.col(names) < 0))
    if wrong.is_empty():
        return None
    bad = next(name for name in names if (wrong[name][0] or 0) < 0)
    return Broken(
        wrong.height,
        f"{day}: {_first(wrong, ('account_id', 'ad_id'))}: {bad} is {wrong[bad][0]}. Correct it at the source and fetch the day again.",
    )


def clicks_within_impressions(rows: pl.DataFrame, day: date) -> Broken | None:
    """Link clicks are at most the impressions."""
    wrong = rows.filter(pl.col("link_clicks") > pl.col("impressions"))
    if wrong.is_empty():
        return None
    return Broken(
        wrong.height,
        f"{day}: {_first(wrong, ('account_id', 'ad_id'))}: {wrong['link_clicks'][0]} link clicks on {wrong['impressions'][0]} impressions. "
        "Check which click column the source reads, and fetch the day again.",
    )


def dated_inside(rows: pl.DataFrame, day: date) -> Broken | None:
    """Every row is of the partition's day."""
    wrong = rows.filter((pl.col("date") != day) | pl.col("date").is_null())
    if wrong.is_empty():
        return None
    return Broken(
        wrong.height, f"{day}: {_first(wrong, ('account_id', 'ad_id'))} is dated {wrong['date'][0]}. Fetch the day again."
    )


def spend_reconciles(manifest: pl.DataFrame, tolerance: float) -> Rule:
    """The ads' spend is the account's, within a share.

    Parameters
    ----------
    manifest : one row per account, with `account_spend_micros`, NULL where the platform does not say.
    tolerance : largest difference as a share of the account's spend.
    """

    def rule(rows: pl.DataFrame, day: date) -> Broken | None:
        ads = rows.group_by("account_id").agg(pl.col("spend_micros").sum())
        told = manifest.filter(pl.col("account_spend_micros").is_not_null()).select("account_id", "account_spend_micros")
        both = told.join(ads, on="account_id", how="left").with_columns(pl.col("spend_micros").fill_null(0))
        wrong = both.filter(
            (pl.col("spend_micros") - pl.col("account_spend_micros")).abs() > tolerance * pl.col("account_spend_micros").abs()
        )
        if wrong.is_empty():
            return None
        account, whole, parts = wrong.select("account_id", "account_spend_micros", "spend_micros").row(0)
        return Broken(
            wrong.height,
            f"{day}: account {account}: its ads spent {parts / 1e6:.2f}, the account {whole / 1e6:.2f}; more than {tolerance:.1%} apart. "
            "Ads are missing or doubled: fetch the day again.",
        )

    return rule


def hours_within(whole: pl.DataFrame) -> Rule:
    """The impressions of an ad's hours are at most those of its day.

    Parameters
    ----------
    whole : account_id, ad_id and impressions of the complete days; ads without a row here are not judged, since their day goes on.
    """

    def rule(rows: pl.DataFrame, day: date) -> Broken | None:
        sums = rows.group_by("account_id", "ad_id").agg(hours=pl.col("impressions").sum())
        wrong = sums.join(whole, on=["account_id", "ad_id"]).filter(pl.col("hours") > pl.col("impressions"))
        if wrong.is_empty():
            return None
        account, ad, hours, whole_day = (
            wrong.select("account_id", "ad_id", "hours", "impressions").sort("account_id", "ad_id").row(0)
        )
        return Broken(
            wrong.height,
            f"{day}: account {account}, ad {ad}: {hours} impressions in its hours, {whole_day} in its day. Fetch the day again.",
        )

    return rule


def numbers_are_finite(rows: pl.DataFrame, day: date) -> Broken | None:
    """No NaN and no infinity: what is unknown is NULL."""
    names = [name for name, kind in rows.schema.items() if kind in (pl.Float64, pl.Float32)]
    for name in names:
        wrong = rows.filter(~pl.col(name).is_finite().fill_null(value=True))
        if wrong.height:
            return Broken(wrong.height, f"{day}: column {name} holds {wrong[name][0]}. What is unknown must be NULL.")
    return None


def ends_are_there(nodes: pl.DataFrame) -> Rule:
    """Both ends of every relationship are nodes.

    Parameters
    ----------
    nodes : those in force, with `node_id`.
    """

    def rule(rows: pl.DataFrame, day: date) -> Broken | None:
        known = nodes["node_id"].implode()
        wrong = rows.filter(~pl.col("source_id").is_in(known) | ~pl.col("target_id").is_in(known))
        if wrong.is_empty():
            return None
        return Broken(
            wrong.height,
            f"{day}: {_first(wrong, ('relationship_id', 'kind'))} ends at a node that is not in force. Learn the day again: "
            f"learning-assets replay --from {day}",
        )

    return rule


def causes_are_random(rows: pl.DataFrame, day: date) -> Broken | None:
    """What is said to cause something rests on randomized evidence."""
    wrong = rows.filter((pl.col("kind") == "causes") & (pl.col("evidence") != "randomized"))
    if wrong.is_empty():
        return None
    return Broken(
        wrong.height,
        f"{day}: {_first(wrong, ('relationship_id', 'attribute', 'value'))} is said to cause, on {wrong['evidence'][0]} evidence. "
        f"Learn the day again: learning-assets replay --from {day}",
    )


def within(bounds: Mapping[str, tuple[float, float]]) -> Rule:
    """Columns stay within bounds, both included; NULL is allowed."""

    def rule(rows: pl.DataFrame, day: date) -> Broken | None:
        for name, (low, high) in bounds.items():
            wrong = rows.filter(~pl.col(name).is_between(low, high).fill_null(value=True))
            if wrong.height:
                return Broken(wrong.height, f"{day}: {name} is {wrong[name][0]}, outside {low:g} to {high:g}.")
        return None

    return rule
