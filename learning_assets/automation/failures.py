"""What went wrong in a run, in the words of the error that stopped it."""

from collections.abc import Iterable

import dagster as dg

TELLING = {dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
"""Events that say what went wrong."""


def failure_of(instance: dg.DagsterInstance, run_id: str) -> str:
    """What ended a failed run; see `first_failure`."""
    records = instance.get_records_for_run(run_id, of_type=TELLING).records
    return first_failure(one.event_log_entry.get_dagster_event() for one in records)


def first_failure(events: Iterable[dg.DagsterEvent]) -> str:
    """The step that failed first and its error, without the frames around it; of a check that blocks, what it found."""
    found: dg.AssetCheckEvaluation | None = None
    ended: str | None = None
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if found is None and check.blocking and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
                found = check
        elif event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return f"{event.step_key}: {data.user_failure_data.description}"
            error = data.error
            if found is not None and error is not None and error.cls_name == "DagsterAssetCheckFailedError":
                return f"{found.asset_key.to_user_string()}, check {found.check_name}: {found.description}"
            while error is not None and error.cause is not None:
                error = error.cause
            return f"{event.step_key}: {error.message.strip() if error is not None else 'failed'}"
        elif event.is_run_failure:
            ended = event.message
    return ended or "no step failed: the run's process was stopped, or did not start; see the run's log"
