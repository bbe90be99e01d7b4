"""Learning a range of days, oldest first, each day one run of `learning_cycle`."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date

import dagster as dg

from learning_assets.assets.day import QUIET_TAG, REPLAY_TAG
from learning_assets.automation.cycle_log import Ended, write_log
from learning_assets.automation.failures import first_failure
from learning_assets.store.store import REPLAY, Store
from learning_assets.store.tables import Locked

CAUSE_TAG = "learning/cause"

QUIET_CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Hundreds of lines a day say nothing beside a progress bar; the run's events are in the UI, and failures are raised."""

Progress = Callable[[date, int, int], None]
"""Called after each day with the day, how many are done and how many there are."""


class ReplayError(Exception):
    """A day of a replay failed; the message names the day, the error and the remedy."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did: its days, and the seconds that they took."""

    days: tuple[date, ...]
    seconds: float


def replay(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    store: Store,
    days: Sequence[date],
    progress: Progress | None = None,
    cause: str = "replay",
) -> Replayed:
    """Learn `days` in their order, one replay at a time. A day that fails ends it; the days before stay learned.

    Raises
    ------
    ReplayError : a day failed, or another replay is under way.
    """
    began = time.monotonic()
    with ExitStack() as held:
        try:
            held.enter_context(store.tables.lock(REPLAY, wait=False))
        except Locked:
            raise ReplayError("Another replay is under way. Wait until it has ended, or cancel it.") from None
        for done, day in enumerate(days, start=1):
            started, ticks = store.now, time.monotonic()
            tags = {REPLAY_TAG: "1", CAUSE_TAG: cause} | ({QUIET_TAG: "1"} if done < len(days) else {})
            result = job.execute_in_process(
                run_config=QUIET_CONSOLE, partition_key=day.isoformat(), instance=instance, tags=tags, raise_on_error=False
            )
            error = None if result.success else first_failure(result.all_events)
            status = "success" if error is None else "failure"
            seconds = time.monotonic() - ticks
            write_log(store, Ended(result.run_id, job.name, day, status, cause, started, store.now, seconds, error, "replay"))
            if error is not None:
                raise ReplayError(
                    f"{day}: {error}\nThe days before it are learned. When mended: learning-assets replay --from {day}"
                )
            if progress is not None:
                progress(day, done, len(days))
    return Replayed(tuple(days), time.monotonic() - began)
