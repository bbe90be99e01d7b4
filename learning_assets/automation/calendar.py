"""Which days are to be learned next: pure functions of the store, the source and the day that it is."""

from collections.abc import Sequence
from datetime import date, timedelta

from learning_assets.clock import days_between
from learning_assets.platforms.source import Source
from learning_assets.store.store import Store

CHAIN = ("patterns", "winner_memory", "retrained_model", "promotions", "budget_allocation")
"""Chained assets of the cycle: each day of theirs rests on the day before."""


def step_days(source: Source) -> int:
    """Days from one step of the source to the next."""
    return 7 if source.cadence == "week" else 1


def last_learned(store: Store) -> date | None:
    """Newest day that the whole cycle has learned, or None before the first."""
    return store.newest_day("snapshots")


def days_to_learn(store: Store, source: Source, today: date) -> list[date]:
    """Ended days since the last learned one, oldest first, at most `cycle_days`; the newest ended day alone where none was learned.

    The oldest come first even where more have ended: each rests on the day before, and later cycles take the others.
    """
    last = source.last_day(today)
    done = last_learned(store)
    if done is None:
        return [last] if last >= store.identity.start_day else []
    step = step_days(source)
    return days_between(done + timedelta(days=step), last, step)[: store.settings.automation.cycle_days]


def days_to_decide(store: Store, source: Source, refreshed: Sequence[date]) -> list[date]:
    """Of days whose delivery was refreshed the one that can be decided now: that after the last learned one, whether or not it has ended.

    A later day waits until the cycle has learned this one, for each day's decisions rest on those of the day before; an older one is known to the
    decisions of the next. Before the first cycle nothing is decided, and a source of weeks knows no hours.
    """
    done = last_learned(store)
    if done is None or step_days(source) > 1:
        return []
    return [day for day in refreshed if day == done + timedelta(days=1)]


def range_to_replay(store: Store, source: Source, first: date | None, last: date | None, today: date) -> list[date]:
    """The days from `first` to `last` that the source has steps on, oldest first.

    Parameters
    ----------
    first : by default the source's first day.
    last : by default the newest ended day.

    Raises
    ------
    ValueError : the range is empty, or begins before the first partition, with the remedy.
    """
    ended = source.last_day(today)
    oldest = source.first_day() or store.identity.start_day
    start, end = first or max(oldest, store.identity.start_day), last or ended
    if start < store.identity.start_day:
        raise ValueError(
            f"{start} is before the first partition, {store.identity.start_day}. Begin there or later, or set LEARNING_START_DAY in a new home."
        )
    if max(start, end) > ended:
        raise ValueError(
            f"{max(start, end)} has not ended yet, or the source has no facts for it. The newest day that can be learned is {ended}."
        )
    step = step_days(source)
    if step > 1:
        start += timedelta(days=(ended - start).days % step)
    days = days_between(start, end, step)
    if not days:
        raise ValueError(f"There is no day to learn from {start} to {end}.")
    return days
