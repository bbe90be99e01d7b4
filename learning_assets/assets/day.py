"""The day that a run learns, as the assets see it."""

import datetime
from dataclasses import dataclass

import dagster as dg

from learning_assets import clock
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import ChainError, Store

REPLAY_TAG, QUIET_TAG, BACKFILL_TAG = "learning/replay", "learning/quiet", "dagster/backfill"


@dataclass(frozen=True, slots=True)
class Day:
    """A partition's day in a run.

    Attributes
    ----------
    date : the day that is learned.
    next : the day of the source's next step, which predictions are made for.
    known_on : the day at whose end the platform is asked: this day in a replay, else the newest that has ended.
    step_days : days between steps.
    replaying : the run is part of a replay, which makes this and all later days anew.
    quiet : plots are left out, since a later run will draw them.
    archive : the source is an archive, whose windows have settings of their own.
    simulated : every figure comes from the simulated market.
    """

    date: datetime.date
    next: datetime.date
    known_on: datetime.date
    step_days: int
    replaying: bool
    quiet: bool
    archive: bool
    simulated: bool

    def pick(self, live: int, archive: int) -> int:
        """The setting of a live source, or that of an archive."""
        return archive if self.archive else live


def day_of(context: dg.AssetExecutionContext, source: Source, settings: Settings) -> Day:
    """The run's day, from its partition and its tags."""
    tags = context.run.tags
    day = datetime.date.fromisoformat(context.partition_key)
    return day_by_itself(day, source, settings, replaying=REPLAY_TAG in tags, quiet=QUIET_TAG in tags)


def day_by_itself(
    day: datetime.date, source: Source, settings: Settings, *, replaying: bool = False, quiet: bool = False
) -> Day:
    """A day outside of any run, as the command line asks for it."""
    step = 7 if source.cadence == "week" else 1
    return Day(
        date=day,
        next=day + datetime.timedelta(days=step),
        known_on=day if replaying else max(day, clock.today(settings) - datetime.timedelta(days=1)),
        step_days=step,
        replaying=replaying,
        quiet=quiet,
        archive=source.kind == "archive",
        simulated=source.kind == "sandbox",
    )


def next_in_chain(context: dg.AssetExecutionContext, store: Store, source: Source, asset: str) -> Day:
    """The run's day, if a chained asset may learn it now.

    Raises
    ------
    ChainError : the day before is missing, or a later day is learned already; with the remedy.
    """
    day = day_of(context, source, store.settings)
    if BACKFILL_TAG in context.run.tags:
        raise ChainError(
            f"{asset} of {day.date} rests on the state of the day before, and a backfill starts days in any order. "
            f"Start the job replay_range with first: {day.date}, or: learning-assets replay --from {day.date}"
        )
    store.require_next(asset, day.date, day.step_days, replaying=day.replaying)
    return day
