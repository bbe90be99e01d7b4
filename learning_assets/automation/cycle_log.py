"""The audit log of runs: one row per run, failed ones included, written by run-status sensors and by replays."""

from dataclasses import asdict, dataclass
from datetime import date, datetime

import polars as pl

from learning_assets.store.store import Store


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: `status` is success, failure or canceled; moments are UTC; `written_by` says who saw it end."""

    run_id: str
    job: str
    partition_day: date | None
    status: str
    cause: str | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    error: str | None
    written_by: str


def write_log(store: Store, run: Ended) -> None:
    """Record a run that has ended; a run is recorded once, by whoever sees it first."""
    columns = store.tables.schema("learning_cycle_log")
    row = asdict(run) | {"written_at": store.now}
    store.tables.upsert("learning_cycle_log", pl.DataFrame([row], schema=columns), overwrite=False)
