"""New delivery by the hour asks for new decisions: the sensor `actuals_refreshed`.

What belongs here: which day is decided anew, and when. What does not: the decisions (`assets.promotions`), and what is done about them.
"""

import dagster as dg

from learning_assets.assets.day import REPLAY_TAG
from learning_assets.automation.calendar import days_to_decide
from learning_assets.automation.cursors import materialized
from learning_assets.automation.jobs import decide, learning_cycle
from learning_assets.automation.replay import CAUSE_TAG
from learning_assets.automation.schedules import under_way
from learning_assets.platforms.source import Source
from learning_assets.store.store import Store


@dg.sensor(
    job=decide,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="When new delivery by the hour was fetched outside of the cycle: decide for the day after the last learned one.",
)
def actuals_refreshed(
    context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store], source: dg.ResourceParam[Source]
) -> dg.SensorResult | dg.SkipReason:
    """Read what was materialized since the cursor; ask for decisions once per day and content of its hours."""
    new = materialized(context, "actuals", lambda run: run.job_name == learning_cycle.name or REPLAY_TAG in run.tags)
    if new is None:
        return dg.SkipReason("No delivery was fetched since the last tick.")
    for job in (decide.name, learning_cycle.name):
        if busy := under_way(context.instance, job):
            return busy
    days = [day for day in days_to_decide(store, source, new.days) if store.lake.days("actuals_hourly", day, day)]
    requests = [
        dg.RunRequest(
            run_key=f"decide/{day}/{store.lake.version('actuals_hourly', day)}",
            partition_key=day.isoformat(),
            tags={CAUSE_TAG: "actuals_refreshed"},
        )
        for day in days
    ]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else f"{new.records} fetches, none of the day that is decided next.",
        cursor=new.cursor,
    )
