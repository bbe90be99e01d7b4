"""Integer sums per ad and week, and per account and day, derived from the facts and kept beside them, so that a day costs a day.

A finished week is summed once and kept with the versions of the days that it was summed from; where one of them has changed since (a
restated day, a forgotten account), the week is summed again. The week that is running is summed from its days. So the sums always equal
those that would be recomputed from all facts.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import polars as pl

from learning_assets.learning.lift import TIMES
from learning_assets.learning.rates import total
from learning_assets.store.facts import changed_since, facts
from learning_assets.store.lake import Lake

WEEKLY_SUMS = pl.Schema(
    {
        "week": pl.Date,
        "account_id": pl.String,
        "ad_id": pl.String,
        "creative_id": pl.String,
        "experiment_id": pl.String,
        "assignment": pl.String,
        "planned_share": pl.Float64,
        "audience": pl.String,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
        "conversions": pl.Int64,
        "spend_micros": pl.Int64,
        "revenue_micros": pl.Int64,
    }
)
"""One row per ad and week, dated on the week's Sunday. A sum is NULL where one of its days is unknown."""

Summed = Callable[[Lake, date, date, date | None], pl.LazyFrame]
"""Sums the days of a week (named by its Sunday) up to a day, as the cycle of the last argument knew them."""

_COUNTS = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")
_OF_AD = ("creative_id", "experiment_id", "assignment", "planned_share", "audience")


def weekly_sums(lake: Lake, until: date, days: int) -> pl.LazyFrame:
    """Sums of the whole weeks (Monday to Sunday) that cover the `days` days ending on `until`; the last one only up to `until`.

    Returns
    -------
    Rows with the columns WEEKLY_SUMS.
    """
    sunday = until + timedelta(days=6 - until.weekday())
    return _weeks(lake, "weekly_sums", [sunday - timedelta(days=7 * back) for back in range(-(-days // 7))], until, _ads)


def _weeks(
    lake: Lake, asset: str, weeks: list[date], until: date, summed: Summed, of: Sequence[str] = ("actuals", "ad_catalog")
) -> pl.LazyFrame:
    """The sums of weeks, dated on their Sundays, as the cycle of `until` knew them; `of` names the assets whose days are summed.

    Kept ones of the weeks that have ended by `until`; the running one from its days, and so are those whose facts have been restated since
    that cycle, which only a replay meets.
    """
    frames: list[pl.LazyFrame] = []
    for week in weeks:
        if week > until or changed_since(lake, week - timedelta(days=6), week, until):
            frames.append(summed(lake, week, min(week, until), until))
        elif keep(lake, asset, week, summed, of):
            frames.append(lake.scan(asset, week, week))
    return pl.concat(frames) if frames else pl.LazyFrame(schema=lake.schema(asset))


def keep(lake: Lake, asset: str, week: date, summed: Summed, of: Sequence[str], rests_on: str = "") -> bool:
    """Bring the kept sums of a finished week up to date; False where the week has no facts.

    Parameters
    ----------
    of : the assets whose days are summed.
    rests_on : the version of anything else that the sums were made from.
    """
    first = week - timedelta(days=6)
    if not lake.days("actuals", first, week):
        return False
    days = sorted({day for name in of for day in lake.days(name, first, week)})
    sources = " ".join(f"{day:%d}:" + "/".join(str(lake.version(name, day)) for name in of) for day in days) + rests_on
    notes = lake.notes(asset, week)
    if notes is None or notes.get("sources") != sources:
        lake.write(asset, week, summed(lake, week, week, None).collect(), note={"sources": sources})
    return True


def _ads(lake: Lake, week: date, until: date, known_on: date | None) -> pl.LazyFrame:
    """Sums of the days of a week up to `until`; what an ad was is taken from its newest catalog in the week."""
    first = week - timedelta(days=6)
    sums = (
        facts(lake, first, until, known_on)
        .group_by("account_id", "ad_id")
        .agg(pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).sum()) for name in _COUNTS)
    )
    return (
        sums.join(listed(lake, first, until), on=["account_id", "ad_id"], how="left")
        .with_columns(week=pl.lit(week))
        .select(pl.col(name).cast(kind) for name, kind in WEEKLY_SUMS.items())
        .sort("account_id", "ad_id")
    )


def listed(lake: Lake, first: date, until: date) -> pl.LazyFrame:
    """What each ad was by its newest catalog of these days: `account_id`, `ad_id`, creative, experiment and audience."""
    days = lake.days("ad_catalog", first, until)
    ads = pl.concat(
        [
            lake.scan("ad_catalog", day, day)
            .filter(pl.col("status") != "scheduled")
            .select("account_id", "ad_id", *_OF_AD, day=pl.lit(day))
            for day in days
        ]
        or [
            pl.LazyFrame(
                schema={"account_id": pl.String, "ad_id": pl.String, **{c: WEEKLY_SUMS[c] for c in _OF_AD}, "day": pl.Date}
            )
        ]
    )
    return ads.sort("day").group_by("account_id", "ad_id").agg(pl.col(_OF_AD).last())


def times(lake: Lake, until: date, days: int) -> pl.LazyFrame:
    """Sums of each ad, week and hour, and of each ad, week and weekday, over the weeks of `weekly_sums`.

    Returns
    -------
    Rows with the columns TIMES; `value` is the hour, 0 to 23 with two digits, or the weekday, such as Mon.
    """
    sunday = until + timedelta(days=6 - until.weekday())
    weeks = [sunday - timedelta(days=7 * back) for back in range(-(-days // 7))]
    return _weeks(lake, "times", weeks, until, _times, ("actuals", "actuals_hourly"))


def _times(lake: Lake, week: date, until: date, known_on: date | None) -> pl.LazyFrame:
    first = week - timedelta(days=6)
    of_week = {"week": pl.lit(week)}
    daily = facts(lake, first, until, known_on)
    weekdays = daily.select(
        "account_id",
        "ad_id",
        *_COUNTS,
        attribute=pl.lit("posting_weekday"),
        value=pl.col("date").dt.strftime("%a"),
        **of_week,
    )
    # Whose day counts is said by the daily facts; hours know no conversions and no revenue.
    hours = (
        lake.scan("actuals_hourly", first, until)
        .join(daily.select("date", "account_id", "ad_id"), on=["date", "account_id", "ad_id"], how="semi")
        .group_by("account_id", "ad_id", "hour")
        .agg(
            pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).sum())
            for name in ("impressions", "link_clicks", "spend_micros")
        )
        .with_columns(
            attribute=pl.lit("posting_hour"),
            value=pl.col("hour").cast(pl.String).str.zfill(2),
            conversions=pl.lit(None, pl.Int64),
            revenue_micros=pl.lit(None, pl.Int64),
            **of_week,
        )
    )
    columns = [pl.col(name).cast(kind) for name, kind in TIMES.items()]
    return pl.concat([weekdays.select(columns), hours.select(columns)]).sort("attribute", "account_id", "ad_id", "value")


ACCOUNT_DAYS = pl.Schema(
    {
        "account_id": pl.String,
        "date": pl.Date,
        "currency": pl.String,
        "ads": pl.Int64,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
        "conversions": pl.Int64,
        "spend_micros": pl.Int64,
        "revenue_micros": pl.Int64,
    }
)
"""One row per account and day. A sum is of what was reported, NULL where nothing was."""


def account_days(lake: Lake, first: date, until: date) -> pl.LazyFrame:
    """Totals of each account and day from the week of `first` to `until`; finished weeks are kept as sums, like those of ads.

    Returns
    -------
    Rows with the columns ACCOUNT_DAYS.
    """
    sunday = until + timedelta(days=6 - until.weekday())
    weeks = [sunday - timedelta(days=7 * back) for back in range((sunday - first).days // 7 + 1)]
    return _weeks(lake, "account_days", weeks, until, _account_days)


def _account_days(lake: Lake, week: date, until: date, known_on: date | None) -> pl.LazyFrame:
    return (
        facts(lake, week - timedelta(days=6), until, known_on)
        .group_by("account_id", "date")
        .agg(pl.col("currency").first(), pl.len().alias("ads"), *(total(name) for name in _COUNTS))
        .select(pl.col(name).cast(kind) for name, kind in ACCOUNT_DAYS.items())
        .sort("account_id", "date")
    )
