"""How sensors read the event log, and remember how far they have."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import dagster as dg

BATCH = 50
"""Events that one tick reads, at most."""


def read_cursor(text: str | None, newest: int) -> int:
    """Where a sensor stopped reading, at most the `newest` event's id; the beginning where that cannot be read, since run keys make a
    second reading harmless."""
    try:
        position = json.loads(text or "0")
    except ValueError:
        return 0
    return position if isinstance(position, int) and not isinstance(position, bool) and 0 <= position <= newest else 0


@dataclass(frozen=True, slots=True)
class Materialized:
    """What was materialized since a cursor: how many `records`, the `days` that count, oldest record first, and the `cursor` from here on."""

    records: int
    days: tuple[date, ...]
    cursor: str


def materialized(
    context: dg.SensorEvaluationContext, asset: str, leave_out: Callable[[dg.DagsterRun], bool]
) -> Materialized | None:
    """The next days of an asset that runs have materialized since the sensor's cursor, but for runs to leave out; None where there is nothing new."""
    since = read_cursor(context.cursor, context.instance.event_log_storage.get_maximum_record_id() or 0)
    filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), after_storage_id=since)
    records = context.instance.fetch_materializations(filters, limit=BATCH, ascending=True).records
    if not records:
        return None
    days: dict[date, None] = {}
    for record in records:
        run = context.instance.get_run_by_id(record.run_id)
        if record.partition_key is not None and (run is None or not leave_out(run)):
            days[date.fromisoformat(record.partition_key)] = None
    return Materialized(len(records), tuple(days), json.dumps(records[-1].storage_id))
