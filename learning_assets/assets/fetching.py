"""What is asked of the platform, and how its answers are stored: accounts that answer replace their rows, the others keep theirs.

What belongs here: the way from an answer to the lake and the manifest. What does not: what changed later (`restating`), and asking
(`platforms`).
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.platforms.source import ACTUALS, MANIFEST, USABLE, WHOLE, Fetched, Source
from learning_assets.store.facts import Swapped, swap
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

AT_ONCE = 31
"""Days that are fetched together before a replay."""

KEPT_IN = {"daily": "actuals", "hourly": "actuals_hourly", "reach": "actuals_reach"}


def kept(store: Store, source: Source, day: Day, fact: str) -> Fetched | None:
    """In a replay: what was fetched of the day already, where that is complete and the source cannot say what was known then."""
    if not day.replaying or source.looks_back or not store.lake.days(KEPT_IN[fact], day.date, day.date):
        return None
    told = store.tables.read("fetch_manifest", PIPELINE, as_of=day.date, fact=fact).rename({"as_of": "date"})
    whole = told.filter(pl.col("status").is_in(WHOLE)).select("account_id")
    if store.accounts(PIPELINE).join(whole, on="account_id", how="anti").height:
        return None
    return Fetched(store.lake.read(KEPT_IN[fact], day.date), told.select(MANIFEST.names()))


def fetch_range(store: Store, source: Source, days: Sequence[date], progress: Callable[[int, int], None] | None = None) -> None:
    """Before a replay of a source that cannot look back: fetch in bulk the days that are not complete yet, a month at a time.

    A range that was interrupted goes on where it stopped. `progress` is called with the days done and how many there are.
    """
    if source.looks_back:
        return
    store.register(source.accounts())
    known = store.accounts(PIPELINE).height
    told = store.tables.read("fetch_manifest", PIPELINE, columns=["as_of", "account_id", "status"], fact="daily")
    done = told.filter(pl.col("status").is_in(WHOLE)).group_by("as_of").len().filter(pl.col("len") >= known)
    missing = sorted(set(days) - (set(done["as_of"]) & set(store.lake.days("actuals"))))
    for start in range(0, len(missing), AT_ONCE):
        part = missing[start : start + AT_ONCE]
        fetched = source.actuals(part[0], part[-1], part[-1])
        for past in part:
            swap_in(store, fetched, past, past)
        asked = fetched.manifest.filter(pl.col("date").is_in(part))
        record(store, Fetched(fetched.rows, asked, fetched.release))
        if progress is not None:
            progress(start + len(part), len(missing))


def next_cycle(store: Store, day: Day) -> date:
    """The cycle that will be the first to see what is fetched now: that of the day itself, or the one after the last learned."""
    learned = store.newest_day("snapshots")
    return day.date if learned is None else max(day.date, learned + timedelta(days=day.step_days))


def record(store: Store, fetched: Fetched) -> None:
    """Keep the manifest; rows of accounts that the store does not know (they could never be read) are kept under their own name."""
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    rows = fetched.manifest.join(owners, on="account_id", how="left").with_columns(
        pl.col("owner").fill_null(pl.col("account_id"))
    )
    store.tables.upsert("fetch_manifest", rows.rename({"date": "as_of"}))
    fetched.release()


def keep_unusable(fetched: Fetched, old: pl.DataFrame) -> pl.DataFrame:
    """The new rows of a day, and the old ones of accounts whose answer is not to be used."""
    unusable = fetched.manifest.filter(~pl.col("status").is_in(USABLE)).select("account_id")
    return pl.concat(
        [fetched.rows.join(unusable, on="account_id", how="anti"), old.join(unusable, on="account_id", how="semi")]
    )


def swap_in(store: Store, fetched: Fetched, day: date, seen_by: date) -> Swapped:
    """Replace a day of `actuals` by what was fetched of it; accounts whose answer is not to be used keep their old rows."""
    old = store.lake.scan("actuals", day, day).collect()
    new = keep_unusable(of_day(fetched, day), old)
    return swap(store.lake, day, first_known(new, old), seen_by)


def of_day(fetched: Fetched, day: date) -> Fetched:
    """The part of an answer that is about one day."""
    return Fetched(fetched.rows.filter(pl.col("date") == day), fetched.manifest.filter(pl.col("date") == day))


def first_known(new: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """A row that was there before it was restated has its history kept, however late it is fetched again."""
    key = ["account_id", "ad_id"]
    before = old.select(*key, was_restated="restated").unique(key, keep="any")
    return (
        new.join(before, on=key, how="left")
        .with_columns(restated=pl.coalesce("was_restated", "restated"))
        .select(ACTUALS.names())
    )
