"""Running totals of creatives: what each achieved since the first day, at the cost of the newest weeks.

At the end of each week the totals are those of the week before and the week's own, kept with the versions of what they were added up from:
where a day has changed since (a forgotten account), its week and all later ones are added up again. So the totals always equal those that
would be recomputed from all facts. What does not belong here: what the sums mean (`learning.memory`).
"""

from datetime import date, timedelta

import polars as pl

from learning_assets.learning.memory import DAYS, SUMS, add_up, together
from learning_assets.store.facts import changed_since, facts
from learning_assets.store.lake import Lake
from learning_assets.store.sums import keep, listed

ASSET = "creative_totals"
"""Totals in the lake, dated on Sundays: columns `learning.memory.SUMS` over all days up to that one."""

_COUNTS = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")


def creative_days(lake: Lake, first: date, until: date, known_on: date | None) -> pl.LazyFrame:
    """Sums of each creative and day from `first`, a Monday, to `until`; what an ad shows is said by its week's newest catalog.

    Returns
    -------
    Rows with the columns DAYS. A sum is NULL where that of one of the creative's ads is unknown.
    """
    weeks: list[pl.LazyFrame] = []
    for monday in (first + timedelta(days=n) for n in range(0, (until - first).days + 1, 7)):
        last = min(monday + timedelta(days=6), until)
        ads = listed(lake, monday, last).select("account_id", "ad_id", "creative_id").drop_nulls()
        weeks.append(
            facts(lake, monday, last, known_on)
            .select("date", "account_id", "ad_id", *_COUNTS)
            .join(ads, on=["account_id", "ad_id"])
        )
    if not weeks:
        return pl.LazyFrame(schema=DAYS)
    return (
        pl.concat(weeks)
        .group_by("account_id", "creative_id", "date")
        .agg(pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).sum()) for name in _COUNTS)
        .select(pl.col(name).cast(kind) for name, kind in DAYS.items())
    )


def settled(lake: Lake, until: date, known_on: date) -> pl.LazyFrame:
    """Totals of every creative from the first day to `until`, a Sunday, as the cycle of `known_on` knew them.

    Returns
    -------
    Rows with the columns SUMS; every day counts as one whose conversions are known.
    """
    days = lake.days("actuals", last=until)
    if not days:
        return pl.LazyFrame(schema=SUMS)
    monday = days[0] - timedelta(days=days[0].weekday())
    if changed_since(lake, monday, until, known_on):
        return add_up(creative_days(lake, monday, until, known_on), until)

    newest = None
    for sunday in (monday + timedelta(days=n) for n in range(6, (until - monday).days + 1, 7)):
        before = newest

        def added(lake: Lake, week: date, until: date, known_on: date | None, before: date | None = before) -> pl.LazyFrame:
            own = add_up(creative_days(lake, week - timedelta(days=6), until, known_on), until)
            return together([own] if before is None else [lake.scan(ASSET, before, before), own])

        version = "" if before is None else f" {lake.version(ASSET, before)}"
        if keep(lake, ASSET, sunday, added, ("actuals", "ad_catalog"), version):
            newest = sunday
    assert newest is not None, "a week with facts is kept"
    return lake.scan(ASSET, newest, newest)


def creative_totals(lake: Lake, until: date, recent_days: int, mature_days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What each creative achieved up to a day, as the cycle of that day knew it.

    Parameters
    ----------
    recent_days : newest days that are added up anew.
    mature_days : age in days above which a day's conversions count as known.

    Returns
    -------
    Totals (columns SUMS, sorted) and the recent days by themselves (columns DAYS): those since the last Sunday that is at least
    `recent_days` old.
    """
    old = until - timedelta(days=max(recent_days, mature_days))
    sunday = old - timedelta(days=(old.weekday() + 1) % 7)
    recent = creative_days(lake, sunday + timedelta(days=1), until, until).collect()
    own = add_up(recent.lazy(), until - timedelta(days=mature_days))
    return together([settled(lake, sunday, until), own]).collect(), recent
