"""What the platform changes of days that were fetched: swapped in, told by age, and what it teaches about late conversions.

What belongs here: the restatement window of a cycle. What does not: fetching the day itself (`fetching`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.assets.fetching import record, swap_in
from learning_assets.learning import lag
from learning_assets.platforms.source import USABLE, Fetched, Source
from learning_assets.store.facts import by_age
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

AGES = (1, 2, 3, 7, 14, 28)
"""Upper ends, in days, of the ages by which restatements are reported."""


@dataclass(frozen=True, slots=True)
class Restated:
    """Past days that the platform has changed since they were fetched, how many of their rows, and the changes by age."""

    days: tuple[date, ...]
    rows: int
    by_age: pl.DataFrame | None = None


def restate(store: Store, source: Source, day: Day) -> Restated:
    """Fetch the days of the restatement window again and swap in those that have changed; the old rows are kept in `actuals_asof`.

    What was learned on past days stays as it is; the next cycle reads the new figures. In a replay a source that cannot say what was known
    on a past day is not asked: the kept versions say it.
    """
    window = store.settings.automation.restate_days
    first, last = day.date - timedelta(days=window), day.date - timedelta(days=1)
    known = store.lake.days("actuals", first, last)
    if source.kind == "archive" or not known or (day.replaying and not source.looks_back):
        return Restated((), 0)
    fetched = source.actuals(first, last, day.known_on)
    changed: list[date] = []
    changes: list[pl.DataFrame] = []
    for past in known:
        swapped = swap_in(store, fetched, past, day.date)
        if swapped.superseded.height or swapped.added:
            changed.append(past)
            changes.append(swapped.superseded.with_columns(age=pl.lit((day.date - past).days)))
    usable = fetched.manifest.filter(pl.col("status").is_in(USABLE) & pl.col("date").is_in(known))
    record(store, Fetched(fetched.rows.clear(), usable, fetched.release))
    ages = restatement(store, changes, known) if changes else None
    learn_lag(store, day, window)
    return Restated(tuple(changed), sum(frame.height for frame in changes), ages)


def restatement(store: Store, changes: Sequence[pl.DataFrame], known: Sequence[date]) -> pl.DataFrame:
    """What changed by age of the day: rows, and conversions and impressions against what they were."""
    counted = ("impressions", "conversions")
    was = pl.concat(changes).select(
        "age", "date", "account_id", "ad_id", *(pl.col(name).alias(f"{name}_was") for name in counted)
    )
    now = store.lake.scan("actuals", min(known), max(known)).select("date", "account_id", "ad_id", *counted).collect()
    band = pl.coalesce(pl.when(pl.col("age") <= end).then(pl.lit(f"up to {end}")) for end in AGES)
    both = was.join(now, on=["date", "account_id", "ad_id"], how="left")
    return (
        both.with_columns(age_days=band)
        .group_by("age_days")
        .agg(
            rows=pl.len(),
            days=pl.col("date").n_unique(),
            **{f"{name}_before": pl.col(f"{name}_was").sum() for name in counted},
            **{f"{name}_now": pl.col(name).sum() for name in counted},
            oldest=pl.col("age").max(),
        )
        .sort("oldest")
        .drop("oldest")
    )


def learn_lag(store: Store, day: Day, window: int) -> None:
    """Learn from the kept versions how many of a day's conversions are known after so many days, account by account."""
    first = day.date - timedelta(days=2 * window)
    seen = by_age(store.lake, first, day.date - timedelta(days=1), day.date, window).collect()
    found = lag.curve(seen, window).join(store.accounts(PIPELINE).select("account_id", "owner"), on="account_id")
    rows = found.with_columns(as_of=pl.lit(day.date))
    store.replace_day("conversion_lags", day.date, rows, onward=day.replaying)
