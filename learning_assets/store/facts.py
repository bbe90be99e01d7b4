"""The facts as they were known: swapping in a day's rows, keeping those that they supersede, and reading what a cycle could know.

What belongs here: versions of `actuals`. What does not: fetching them (`platforms`), and what is derived from them (`sums`).

A version is told by the cycle that saw it first, not by the clock: the cycle of day D fetches a few hours after D has ended, and what is
fetched between that cycle and the next is seen first by the next. `actuals` holds the newest version of each day. A version that a later
cycle superseded lies in `actuals_asof` of the same day, with `known_until`, the last cycle that saw it.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from learning_assets.store.lake import DayFile, Lake

KEY = ("date", "account_id", "ad_id")
_SEEN, _UNTIL = "known_on", "known_until"


@dataclass(frozen=True, slots=True)
class Swapped:
    """What swapping in a day did, whether rows became final aside: its file, the rows of the old version that the new one changes or lacks,
    and how many rows of the new one are new."""

    written: DayFile
    superseded: pl.DataFrame
    added: int = 0


def swap(lake: Lake, day: date, rows: pl.DataFrame, known_on: date) -> Swapped:
    """Replace the actuals of a day; what an earlier cycle has seen of it is put aside first.

    A process that is killed in between leaves the old version readable, and the next attempt puts nothing aside twice.

    Parameters
    ----------
    rows : all rows of the day, with the columns of `actuals`.
    known_on : the cycle that sees these rows first.

    Raises
    ------
    LakeError : columns or types differ from those of `actuals`; nothing was changed.
    """
    rows = lake.checked("actuals", day, rows).sort(KEY)
    notes = lake.notes("actuals", day)
    if notes is None:
        return Swapped(lake.write("actuals", day, rows, {_SEEN: str(known_on)}), rows.clear(), rows.height)
    old = lake.read("actuals", day)
    if rows.equals(old):
        return Swapped(DayFile(old.height, lake.version("actuals", day) or "", changed=False), old.clear())
    told = [name for name in old.columns if name not in ("is_final", "restated")]
    superseded = old.join(rows, on=told, how="anti", nulls_equal=True)
    until = known_on - timedelta(days=1)
    # Rows that were seen first by a later cycle (a replay comes by again) were never what this one superseded.
    if date.fromisoformat(notes.get(_SEEN, str(day))) <= known_on and until >= day and superseded.height:
        aside = pl.concat(
            [lake.scan("actuals_asof", day, day).collect(), superseded.select(pl.lit(until).alias(_UNTIL), pl.all())]
        )
        kept = aside.unique([*KEY, _UNTIL], keep="first").sort(*KEY, _UNTIL)
        lake.write("actuals_asof", day, kept, {_UNTIL: str(kept[_UNTIL].max())})
    added = rows.join(old, on=list(KEY), how="anti").height
    return Swapped(lake.write("actuals", day, rows, {_SEEN: str(known_on)}), superseded, added)


def changed_since(lake: Lake, first: date, last: date, known_on: date) -> bool:
    """Whether a day from `first` to `last` has a version that the cycle of `known_on` saw and a later one superseded."""
    days = lake.days("actuals_asof", first, last)
    return any((lake.notes("actuals_asof", day) or {}).get(_UNTIL, "") >= str(known_on) for day in days)


def facts(lake: Lake, first: date, last: date, known_on: date | None = None) -> pl.LazyFrame:
    """Complete rows of `actuals` from `first` to `last`, both included, as the cycle of `known_on` saw them; the newest where None.

    A row whose account's day had not ended, or was not fetched completely, is left out.
    """
    newest = lake.scan("actuals", first, last)
    if known_on is not None and changed_since(lake, first, last, known_on):
        then = lake.scan("actuals_asof", first, last).filter(pl.col(_UNTIL) >= known_on).sort(_UNTIL).unique(KEY, keep="first")
        newest = pl.concat([newest.join(then, on=KEY, how="anti"), then.select(newest.collect_schema().names())])
    return newest.filter(pl.col("complete").ne_missing(other=False))


def by_age(lake: Lake, first: date, last: date, known_on: date, ages: int) -> pl.LazyFrame:
    """Conversions of each account and day as they were known 0, 1, ... cycles after it: a run-off triangle.

    Days whose rows were first fetched late, or of which nothing was reported, are left out. A row that the platform added later counts from
    the first cycle on, since versions say what changed and not what was added.

    Returns
    -------
    Columns account_id, date, age_days (0 to `ages` and at most the cycles since), conversions.
    """
    columns = [*KEY, "conversions"]
    fresh = pl.col("complete").ne_missing(other=False) & pl.col("restated").ne_missing(other=True)
    newest = lake.scan("actuals", first, last).filter(fresh).select(*columns, pl.lit(None, pl.Date).alias(_UNTIL))
    aside = lake.scan("actuals_asof", first, last).filter(fresh).select(*columns, _UNTIL)
    versions = pl.concat([aside, newest]).sort(*KEY, _UNTIL, nulls_last=True)
    count = pl.col("conversions").fill_null(0)
    # What is known on a day is the newest version, less what each later version added.
    added = versions.with_columns(added=count - count.shift(1, fill_value=0).over(KEY), since=pl.col(_UNTIL).shift(1).over(KEY))
    steps = added.group_by("account_id", "date", "since").agg(pl.col("added").sum())
    days = (
        versions.filter(pl.col("conversions").is_not_null())
        .select("account_id", "date")
        .unique()
        .join(pl.LazyFrame({"age_days": range(ages + 1)}, schema={"age_days": pl.Int64}), how="cross")
        .with_columns(on=pl.col("date") + pl.duration(days=pl.col("age_days")))
        .filter(pl.col("on") <= known_on)
    )
    return (
        days.join(steps, on=["account_id", "date"])
        .filter(pl.col("since").is_null() | (pl.col("since") < pl.col("on")))
        .group_by("account_id", "date", "age_days")
        .agg(conversions=pl.col("added").sum().cast(pl.Int64))
        .sort("account_id", "date", "age_days")
    )
