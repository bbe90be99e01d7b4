"""What events start: the audit log of runs, alerts, and a retrain when accuracy drops outside of the daily jobs or purchases are told of."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from learning_assets.assets.champions import decided_on
from learning_assets.assets.day import REPLAY_TAG
from learning_assets.automation.accuracy_alerts import alert_on_accuracy_drop
from learning_assets.automation.alerts import Notifier
from learning_assets.automation.calendar import days_to_learn, step_days
from learning_assets.automation.cursors import materialized
from learning_assets.automation.cycle_log import Ended, write_log
from learning_assets.automation.deciding import actuals_refreshed
from learning_assets.automation.failures import failure_of
from learning_assets.automation.jobs import retrain_check
from learning_assets.automation.replay import CAUSE_TAG
from learning_assets.automation.schedules import under_way
from learning_assets.learning import triggers
from learning_assets.learning.triggers import Evidence
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

DECIDES_ITSELF = {"retrain_check", "learning_cycle"}
"""Jobs in which accuracy and the decision to retrain follow each other anyway."""


@dg.sensor(
    job=retrain_check,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="When accuracy was measured outside of the daily jobs and calls for a retrain: retrain_check for that day.",
)
def accuracy_drop(
    context: dg.SensorEvaluationContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.SensorResult | dg.SkipReason:
    """Read what was materialized since the cursor; ask for a retrain once per day and revision of the accuracy row."""
    new = materialized(context, "prediction_accuracy", lambda run: run.job_name in DECIDES_ITSELF or REPLAY_TAG in run.tags)
    if new is None:
        return dg.SkipReason("Accuracy was not measured since the last tick.")
    step = timedelta(days=step_days(source))
    requests = [request for day in new.days for request in _retrains(store, settings, day, step)]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else f"{new.records} measurements, none of which calls for a retrain.",
        cursor=new.cursor,
    )


def _retrains(store: Store, settings: Settings, day: date, step: timedelta) -> Iterator[dg.RunRequest]:
    """A request where the accuracy of a pool's champion on `day` fires a trigger that rests on it."""
    if store.newest_day("retrained_model") not in (None, day - step, day):
        return  # the chain is at another day: an older one is not decided again, and none is left out
    columns = ["pool", "metric", "made", "impressions", "revision", "account_id", *triggers.FIGURES]
    rows = store.tables.read("prediction_comparisons", PIPELINE, columns=columns, as_of=day, segment="all", model="xgboost")
    for row in decided_on(rows).iter_rows(named=True):
        evidence = Evidence(day, None, 0, **{name: row[name] for name in triggers.FIGURES})
        fired = [trigger for rule in triggers.OF_ACCURACY if (trigger := rule(evidence, settings.models)).fired]
        if fired:
            yield dg.RunRequest(
                run_key=f"accuracy/{day}/r{row['revision']}",
                partition_key=day.isoformat(),
                tags={CAUSE_TAG: f"accuracy_drop: {row['metric'].upper()} of {row['pool']}: {fired[0].reason}"},
            )
            return


BY_SIGNALS = {"learning/asked_by": "purchase_signal"}
"""Tag of the runs that signals asked for."""

SIGNALS_TAG, SIGNALS_UNTIL_TAG, ASKED_AT_TAG = "learning/signals", "learning/signals_until", "learning/asked_at"
"""Of a run that signals asked for: how many, the number of the newest of them, and when it was asked for by the store's clock."""

BETWEEN_CHECKS = timedelta(hours=1)
"""Signals ask for one check in this time, however many arrive."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for last: up to which signal, and when; None where it is not known."""

    until: int = 0
    at: datetime | None = None


def read_asked(text: str | None, newest: int, now: datetime) -> Asked:
    """What a cursor says was asked for; the beginning where it cannot be read, or says what cannot be."""
    try:
        told = json.loads(text or "{}")
        until, at = told["until"], datetime.fromisoformat(told["at"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return Asked()
    sound = (
        isinstance(until, int) and not isinstance(until, bool) and 0 <= until <= newest and at.tzinfo is not None and at <= now
    )
    return Asked(until, at) if sound else Asked()


def last_asked(instance: dg.DagsterInstance, newest: int, now: datetime) -> Asked:
    """What the newest run says that signals asked for: the cursor's own words, where that is lost."""
    runs = instance.get_runs(dg.RunsFilter(job_name=retrain_check.name, tags=BY_SIGNALS), limit=1)
    tags = runs[0].tags if runs else {}
    until = tags.get(SIGNALS_UNTIL_TAG, "")
    told = json.dumps({"until": int(until) if until.isdecimal() else None, "at": tags.get(ASKED_AT_TAG)})
    return read_asked(told, newest, now)


def day_to_check(store: Store, source: Source, today: date) -> date | dg.SkipReason:
    """The newest day that a retrain can be checked for: the one that 02:00 would take, or the newest decided one."""
    days = days_to_learn(store, source, today)
    if len(days) > 1:
        return dg.SkipReason(
            f"{len(days)} days are to be learned; the cycle takes them oldest first, and the signals with them."
        )
    decided = store.newest_day("retrained_model")
    if days and store.lake.days("actuals", days[0], days[0]):
        return days[0]
    return decided or dg.SkipReason("No day was learned yet; the first cycle takes the signals with it.")


@dg.sensor(
    job=retrain_check,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="When purchase signals arrived: retrain_check for the newest day, at most once an hour.",
)
def purchase_signal(
    context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store], source: dg.ResourceParam[Source]
) -> dg.SensorResult | dg.SkipReason:
    """Ask for a check for the signals after the last one that was asked for; those that arrive during a check wait for the next."""
    now, newest = store.now, store.signals.newest()
    told, ran = read_asked(context.cursor, newest, now), last_asked(context.instance, newest, now)
    # A run that was started knows what a cursor that was lost, or was not written yet, does not.
    last = max((told, ran), key=lambda one: one.until)
    moments = [one.at for one in (told, ran) if one.at is not None]
    arrived = store.signals.after(last.until)
    if not arrived.signals:
        return dg.SkipReason("No purchase signal arrived since the last check.")
    waiting = f"{arrived.signals:,} purchase signals wait"
    if moments and now < max(moments) + BETWEEN_CHECKS:
        return dg.SkipReason(f"{waiting}: a check was asked for at {max(moments):%H:%M} UTC, the next can be an hour later.")
    if busy := under_way(context.instance, retrain_check.name):
        return dg.SkipReason(f"{waiting}. {busy.skip_message}")
    day = day_to_check(store, source, now.date())
    if isinstance(day, dg.SkipReason):
        return dg.SkipReason(f"{waiting}. {day.skip_message}")
    tags = {
        **BY_SIGNALS,
        CAUSE_TAG: f"purchase_signal: {arrived.signals:,} signals of {arrived.accounts:,} accounts",
        SIGNALS_TAG: str(arrived.signals),
        SIGNALS_UNTIL_TAG: str(arrived.newest),
        ASKED_AT_TAG: now.isoformat(),
    }
    request = dg.RunRequest(run_key=f"purchase_signal/{day}/{arrived.newest}", partition_key=day.isoformat(), tags=tags)
    return dg.SensorResult(run_requests=[request], cursor=json.dumps({"until": arrived.newest, "at": now.isoformat()}))


def _day_of(run: dg.DagsterRun) -> date | None:
    key = run.tags.get("dagster/partition")
    return date.fromisoformat(key) if key else None


def _log_run(context: dg.RunStatusSensorContext, store: Store, status: str) -> None:
    run = context.dagster_run
    record = context.instance.get_run_record_by_id(run.run_id)
    started, ended = (
        datetime.fromtimestamp(at, UTC) if at is not None else None
        for at in ((record.start_time, record.end_time) if record else (None, None))
    )
    error = failure_of(context.instance, run.run_id) if status == "failure" else None
    seconds = (ended - started).total_seconds() if started and ended else None
    write_log(
        store,
        Ended(
            run.run_id, run.job_name, _day_of(run), status, run.tags.get(CAUSE_TAG), started, ended, seconds, error, "sensor"
        ),
    )


def _logs(status: str, on: dg.DagsterRunStatus) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        run_status=on,
        name=f"cycle_log_{status}",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Writes runs that ended in {status} to learning_cycle_log.",
    )
    def sensor(context: dg.RunStatusSensorContext, store: dg.ResourceParam[Store]) -> None:
        _log_run(context, store, status)

    return sensor


@dg.run_failure_sensor(
    name="alert_on_failure",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people which run failed, on which day and why: on Slack where it is configured, else in the log.",
)
def alert_on_failure(context: dg.RunFailureSensorContext, alerts: dg.ResourceParam[Notifier]) -> None:
    """One alert per failed run, without anything but its ids, its day and the error's own sentence."""
    run = context.dagster_run
    day = _day_of(run)
    why = failure_of(context.instance, run.run_id)
    alerts.send(f"Run {run.run_id[:8]} of {run.job_name}{f' for {day}' if day else ''} failed: {why}")


def sensors() -> list[dg.SensorDefinition]:
    """All sensors, running by default."""
    ends = {
        "success": dg.DagsterRunStatus.SUCCESS,
        "failure": dg.DagsterRunStatus.FAILURE,
        "canceled": dg.DagsterRunStatus.CANCELED,
    }
    ends_logged = [_logs(status, on) for status, on in ends.items()]
    return [accuracy_drop, purchase_signal, actuals_refreshed, *ends_logged, alert_on_failure, alert_on_accuracy_drop]
