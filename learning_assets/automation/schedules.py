"""What the clock starts. Ticks are functions of their scheduled time, the store and the runs that are under way."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from learning_assets.automation.calendar import days_to_learn
from learning_assets.automation.jobs import CYCLE, actuals_refresh, learning_cycle, retrain_check
from learning_assets.automation.replay import CAUSE_TAG
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

Tick = Iterator[dg.RunRequest | dg.SkipReason]


def under_way(instance: dg.DagsterInstance, job: str) -> dg.SkipReason | None:
    """Why a tick of `job` is skipped, or None where no run of it is queued or running."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY), limit=1)
    return (
        dg.SkipReason(f"Run {runs[0].run_id[:8]} of {job} is still under way; the next tick takes its place.") if runs else None
    )


def moment(context: dg.ScheduleEvaluationContext, settings: Settings) -> datetime:
    """The moment of a tick, UTC: the clock that is set, or the time that the tick was scheduled for."""
    return settings.clock or context.scheduled_execution_time.astimezone(UTC)


def local_dates(store: Store, at: datetime) -> set[date]:
    """The current and the previous date at the accounts' own places, and in UTC."""
    zones = [UTC, *(ZoneInfo(name) for name in store.accounts(PIPELINE)["timezone"].drop_nulls().unique())]
    today = {at.astimezone(zone).date() for zone in zones}
    return today | {day - timedelta(days=1) for day in today}


def _request(day: date, at: datetime, cause: str, **more: object) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{cause}/{day}@{at:%Y-%m-%dT%H:%M}",
        partition_key=day.isoformat(),
        tags={CAUSE_TAG: cause},
        **more,  # pyright: ignore[reportArgumentType]
    )


def schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """All schedules, in the time zone of the settings, running by default."""
    common = {"execution_timezone": settings.timezone, "default_status": dg.DefaultScheduleStatus.RUNNING}

    @dg.schedule(
        "5 * * * *",
        job=actuals_refresh,
        description="Each hour: the catalog and actuals of each account's current and previous local date.",
        **common,
    )
    def actuals_hourly(
        context: dg.ScheduleEvaluationContext,
        store: dg.ResourceParam[Store],
        source: dg.ResourceParam[Source],
        settings: dg.ResourceParam[Settings],
    ) -> Tick:
        if busy := under_way(context.instance, "actuals_refresh"):
            yield busy
            return
        at = moment(context, settings)
        newest = source.last_day(at.date())
        wanted = {newest} if source.kind == "archive" else local_dates(store, at)
        # Where past days can be asked for, a day is known when it has ended; a platform tells it from its first hour.
        days = sorted(day for day in wanted if store.identity.start_day <= day and (not source.looks_back or day <= newest))
        if not days:
            yield dg.SkipReason(f"The store's first day, {store.identity.start_day}, has not come yet.")
        for day in days:
            yield _request(day, at, "actuals_hourly")

    @dg.schedule(
        "0 2 * * *",
        job=retrain_check,
        description="02:00: yesterday's accuracy, and a challenger if that calls for one.",
        **common,
    )
    def retrain_check_daily(
        context: dg.ScheduleEvaluationContext,
        store: dg.ResourceParam[Store],
        source: dg.ResourceParam[Source],
        settings: dg.ResourceParam[Settings],
    ) -> Tick:
        if busy := under_way(context.instance, "retrain_check"):
            yield busy
            return
        at = moment(context, settings)
        days = days_to_learn(store, source, at.date())
        if not days:
            yield dg.SkipReason("Every ended day is learned.")
        elif len(days) > 1:
            yield dg.SkipReason(
                f"{len(days)} days are to be learned; the cycle takes them oldest first, accuracy and retraining included."
            )
        elif not store.lake.days("actuals", days[0], days[0]):
            yield dg.SkipReason(
                f"The actuals of {days[0]} are not fetched yet; the cycle will fetch them, measure and retrain."
            )
        else:
            yield _request(days[0], at, "retrain_check_daily")

    @dg.schedule(
        "0 3 * * *", job=learning_cycle, description="03:00: everything that was not learned yet, oldest day first.", **common
    )
    def learning_cycle_daily(
        context: dg.ScheduleEvaluationContext,
        store: dg.ResourceParam[Store],
        source: dg.ResourceParam[Source],
        settings: dg.ResourceParam[Settings],
    ) -> Tick:
        if busy := under_way(context.instance, "learning_cycle"):
            yield busy
            return
        at = moment(context, settings)
        days = days_to_learn(store, source, at.date())
        if not days:
            yield dg.SkipReason("Every ended day is learned.")
        for position, day in enumerate(days):
            checked = [name for name in ("prediction_accuracy", "retrained_model") if store.newest_day(name) == day]
            rest = [dg.AssetKey(name) for name in CYCLE if name not in checked] if len(checked) == 2 else None
            request = _request(day, at, "learning_cycle_daily", asset_selection=rest)
            yield request._replace(tags={**request.tags, "dagster/priority": str(len(days) - position)})

    return [actuals_hourly, retrain_check_daily, learning_cycle_daily]
