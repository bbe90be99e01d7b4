"""What went wrong in a run, in the words of the error that stopped it."""

from collections.abc import Iterable

import dagster as dg


def first_failure(events: Iterable[dg.DagsterEvent]) -> str:
    """The step that failed first and its error, without the frames around it."""
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return f"{event.step_key}: {data.user_failure_data.description}"
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            return f"{event.step_key}: {error.message.strip() if error is not None else 'failed'}"
    return "the run ended before its first step; a blocking check may have failed, see the run's log"
