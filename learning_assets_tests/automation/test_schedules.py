"""Schedules: every tick is evaluated at a fixed time, on a real store and a real instance."""

from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._utils.schedules import schedule_execution_time_iterator

from learning_assets.automation.jobs import CYCLE
from learning_assets.automation.schedules import UNDER_WAY, local_dates, schedules
from learning_assets.clock import days_between
from learning_assets.opening import open_identity
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import ACCOUNTS
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets_tests.world import World

NIGHT = datetime(2026, 3, 2, 3, tzinfo=UTC)
YESTERDAY = date(2026, 3, 1)
MakeSettings = Callable[..., Settings]
SANDBOX = {"accounts": 5, "ads": 3, "impressions": 100}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance on disk: a schedule opens its own, by reference."""
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


@pytest.fixture
def world(make_settings: MakeSettings, instance: dg.DagsterInstance) -> World:
    """A store of the simulated market, created on 2026-03-02, in which the time is that of the tick."""
    open_identity(make_settings(sandbox=SANDBOX))
    instance.wipe()
    return replace(World.of(make_settings(sandbox=SANDBOX, now=None)), instance=instance)


def learn(store: Store, day: date, *assets: str) -> None:
    """Record that assets have written a day, without rows; by default those that end a cycle."""
    tables = {
        "snapshots": "improvement_snapshots",
        "prediction_accuracy": "prediction_comparisons",
        "retrained_model": "champions",
    }
    for asset in assets or ("snapshots",):
        empty = store.tables.schema(tables[asset]).to_frame()
        store.replace_day(tables[asset], day, empty.drop("revision", strict=False), asset=asset)


def fetch(world: World, day: date) -> None:
    world.store.lake.write("actuals", day, world.source.actuals(day, day, day).rows)


def tick(world: World, name: str, at: datetime) -> ScheduleExecutionData:
    """What a schedule does at a moment."""
    with dg.build_schedule_context(
        instance=world.instance,
        scheduled_execution_time=at,
        resources={"settings": world.settings, "store": world.store, "source": world.source},
        repository_def=world.definitions.get_repository_def(),
    ) as context:
        return world.definitions.resolve_schedule_def(name).evaluate_tick(context)


def started(world: World, job: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """A run of a job, as far as `status` says, that the daemon launched from this code location."""
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("learning_assets"), "__repository__").get_job_origin(job)
    return world.instance.create_run_for_job(
        world.definitions.resolve_job_def(job),
        status=status,
        remote_job_origin=origin,
        tags={"dagster/partition": str(YESTERDAY)},
    )


def days(data: ScheduleExecutionData) -> list[date]:
    """The days that a tick asks for, in its order."""
    return [date.fromisoformat(str(request.partition_key)) for request in data.run_requests or ()]


def left_out(request: dg.RunRequest) -> Set[str]:
    """The assets of the cycle that a request does not ask for."""
    if request.asset_selection is None:
        return set()
    return set(CYCLE) - {key.to_user_string() for key in request.asset_selection}


# -- the nightly cycle


def test_the_days_since_the_last_learned_one_are_asked_for_oldest_first(world: World) -> None:
    learn(world.store, date(2026, 2, 24))
    data = tick(world, "learning_cycle_daily", NIGHT)
    assert days(data) == days_between(date(2026, 2, 25), YESTERDAY)
    assert [request.tags["dagster/priority"] for request in data.run_requests or ()] == ["5", "4", "3", "2", "1"]
    assert {request.tags["learning/cause"] for request in data.run_requests or ()} == {"learning_cycle_daily"}
    assert {request.tags["dagster/partition"] for request in data.run_requests or ()} == {str(day) for day in days(data)}
    assert [left_out(request) for request in data.run_requests or ()] == [set()] * 5


def test_a_cycle_takes_28_days_at_most_and_later_ones_the_rest(world: World) -> None:
    """Each day rests on the day before, so that the oldest 28 are taken and none is left out between them."""
    learn(world.store, date(2026, 1, 1))
    first = days(tick(world, "learning_cycle_daily", NIGHT))
    assert first == days_between(date(2026, 1, 2), date(2026, 1, 29))
    learn(world.store, first[-1])
    second = days(tick(world, "learning_cycle_daily", NIGHT + timedelta(days=1)))
    assert second == days_between(date(2026, 1, 30), date(2026, 2, 26))
    learn(world.store, second[-1])
    assert days(tick(world, "learning_cycle_daily", NIGHT + timedelta(days=2))) == days_between(
        date(2026, 2, 27), date(2026, 3, 3)
    )


def test_a_store_that_has_learned_nothing_begins_with_yesterday(world: World) -> None:
    assert days(tick(world, "learning_cycle_daily", NIGHT)) == [YESTERDAY]


def test_nothing_is_asked_for_when_everything_is_learned(world: World) -> None:
    learn(world.store, YESTERDAY)
    for name in ("learning_cycle_daily", "retrain_check_daily"):
        data = tick(world, name, NIGHT)
        assert (days(data), data.skip_message) == ([], "Every ended day is learned.")


@pytest.mark.parametrize(
    ("schedule", "job"),
    [
        ("learning_cycle_daily", "learning_cycle"),
        ("retrain_check_daily", "retrain_check"),
        ("actuals_hourly", "actuals_refresh"),
    ],
)
def test_a_tick_is_skipped_while_a_run_of_its_job_is_under_way(world: World, schedule: str, job: str) -> None:
    fetch(world, YESTERDAY)
    others = {"learning_cycle", "retrain_check", "actuals_refresh"} - {job}
    for other in others:
        started(world, other, dg.DagsterRunStatus.QUEUED)
    assert days(tick(world, schedule, NIGHT)) == [YESTERDAY]
    assert dg.DagsterRunStatus.QUEUED in UNDER_WAY
    for status in UNDER_WAY:
        run = started(world, job, status)
        data = tick(world, schedule, NIGHT)
        assert days(data) == []
        assert data.skip_message == f"Run {run.run_id[:8]} of {job} is still under way; the next tick takes its place."
        world.instance.delete_run(run.run_id)
    started(world, job, dg.DagsterRunStatus.FAILURE)
    assert days(tick(world, schedule, NIGHT)) == [YESTERDAY]


def test_a_replayed_tick_asks_for_the_same_runs(world: World) -> None:
    learn(world.store, date(2026, 2, 26))
    fetch(world, YESTERDAY)
    for name in ("learning_cycle_daily", "actuals_hourly"):
        keys = [[request.run_key for request in tick(world, name, NIGHT).run_requests or ()] for _ in range(2)]
        assert keys[0] == keys[1]
        assert len(set(keys[0])) == len(keys[0]) > 0
        # What failed is asked for anew at the next tick, which a key of the day alone would prevent for ever.
        later = {request.run_key for request in tick(world, name, NIGHT + timedelta(days=1)).run_requests or ()}
        assert not later & set(keys[0])


# -- the nightly check


def test_the_check_asks_for_yesterday_and_the_cycle_then_leaves_it_out(world: World) -> None:
    learn(world.store, date(2026, 2, 28))
    fetch(world, YESTERDAY)
    data = tick(world, "retrain_check_daily", NIGHT - timedelta(hours=1))
    assert days(data) == [YESTERDAY]
    assert [left_out(request) for request in tick(world, "learning_cycle_daily", NIGHT).run_requests or ()] == [set()]
    learn(world.store, YESTERDAY, "prediction_accuracy")
    # Half of the check is no check.
    assert [left_out(request) for request in tick(world, "learning_cycle_daily", NIGHT).run_requests or ()] == [set()]
    learn(world.store, YESTERDAY, "retrained_model")
    (request,) = list(tick(world, "learning_cycle_daily", NIGHT).run_requests or ())
    assert left_out(request) == {"prediction_accuracy", "retrained_model"}


def test_only_the_day_that_was_checked_is_left_out(world: World) -> None:
    learn(world.store, date(2026, 2, 27))
    learn(world.store, date(2026, 2, 28), "prediction_accuracy", "retrained_model")
    requests = tick(world, "learning_cycle_daily", NIGHT).run_requests or ()
    assert [left_out(request) for request in requests] == [{"prediction_accuracy", "retrained_model"}, set()]


def test_the_check_leaves_several_days_to_the_cycle(world: World) -> None:
    learn(world.store, date(2026, 2, 26))
    data = tick(world, "retrain_check_daily", NIGHT)
    assert days(data) == []
    assert str(data.skip_message).startswith("3 days are to be learned; the cycle takes them oldest first")


def test_the_check_waits_for_facts(world: World) -> None:
    learn(world.store, date(2026, 2, 28))
    data = tick(world, "retrain_check_daily", NIGHT)
    assert days(data) == []
    assert str(data.skip_message).startswith("The actuals of 2026-03-01 are not fetched yet")


# -- the hourly fetch


def test_a_simulated_day_is_fetched_when_it_has_ended(world: World) -> None:
    assert days(tick(world, "actuals_hourly", datetime(2026, 3, 2, 0, 5, tzinfo=UTC))) == [YESTERDAY]
    assert days(tick(world, "actuals_hourly", datetime(2026, 3, 1, 23, 5, tzinfo=UTC))) == [date(2026, 2, 28)]


def test_a_clock_that_is_set_governs(world: World) -> None:
    """LEARNING_NOW: the day is lived again whatever the time of the tick."""
    still = replace(world, settings=world.settings.model_copy(update={"now": datetime(2026, 2, 10, 9, tzinfo=UTC)}))
    assert days(tick(still, "learning_cycle_daily", NIGHT)) == [date(2026, 2, 9)]


def test_a_store_whose_first_day_has_not_come_asks_for_nothing(
    make_settings: MakeSettings, instance: dg.DagsterInstance
) -> None:
    later = replace(World.of(make_settings(now=None, start_day="2026-06-01", sandbox=SANDBOX)), instance=instance)
    for name in ("learning_cycle_daily", "retrain_check_daily", "actuals_hourly"):
        data = tick(later, name, NIGHT)
        assert days(data) == []
        assert data.skip_message
    assert data.skip_message == "The store's first day, 2026-06-01, has not come yet."
    assert days(tick(later, "learning_cycle_daily", datetime(2026, 6, 2, 3, tzinfo=UTC))) == [date(2026, 6, 1)]


# -- time zones


def ticks(cron: str, zone: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """The moments at which Dagster evaluates a schedule."""
    for moment in schedule_execution_time_iterator(first.timestamp(), cron, zone):
        if moment >= last:
            return
        yield moment


def test_schedules_run_in_the_time_zone_that_is_set() -> None:
    for zone in ("UTC", "Europe/Berlin", "Asia/Tokyo"):
        assert {one.execution_timezone for one in schedules(Settings(timezone=zone))} == {zone}


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("America/Los_Angeles", date(2026, 3, 1)),
        ("Europe/Berlin", date(2026, 3, 1)),
        # 03:00 in Tokyo is 18:00 UTC of the day before: 1 March has not ended everywhere.
        ("Asia/Tokyo", date(2026, 2, 28)),
    ],
)
def test_a_day_is_learned_when_it_has_ended_everywhere(world: World, zone: str, expected: date) -> None:
    assert days(tick(world, "learning_cycle_daily", NIGHT.replace(tzinfo=ZoneInfo(zone)))) == [expected]


@pytest.mark.parametrize(
    ("zone", "changes"), [("Europe/Berlin", ["2026-03-29", "2026-10-25"]), ("America/New_York", ["2026-03-08"])]
)
def test_daylight_saving_neither_skips_a_day_nor_learns_one_twice(world: World, zone: str, changes: list[str]) -> None:
    cron = "0 3 * * *"
    for change in changes:
        middle = datetime.fromisoformat(change).replace(tzinfo=UTC)
        first, last = middle - timedelta(days=3), middle + timedelta(days=4)
        learn(world.store, first.date() - timedelta(days=2))
        asked = []
        for at in ticks(cron, zone, first, last):
            asked += days(tick(world, "learning_cycle_daily", at))
            learn(world.store, asked[-1])
        assert asked == days_between(asked[0], asked[-1])
        assert len(asked) == 7


@pytest.mark.parametrize("cron", ["0 2 * * *", "0 3 * * *"])
def test_each_local_day_of_a_year_has_its_tick(cron: str) -> None:
    """02:00 does not exist on one night in Berlin and exists twice on another."""
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 1, 1, tzinfo=zone)
    found = [at.astimezone(zone).date() for at in ticks(cron, str(zone), first, datetime(2027, 1, 1, tzinfo=zone))]
    assert found == days_between(date(2026, 1, 1), date(2026, 12, 31))


# -- an archive, which knows only weeks


@pytest.fixture
def weekly(make_settings: MakeSettings, instance: dg.DagsterInstance, tmp_path: Path) -> World:
    """An archive of eleven weeks, whose Sundays are 2025-12-21 to 2026-03-01; week 202604 has no test."""
    weeks = ["202551", "202552", "202601", "202602", "202603", *(f"2026{week:02}" for week in range(5, 10))]
    lines = [
        f"{week}-{test},{week},headline {arm} of {test},{1000 + arm},{20 + arm}"
        for week in weeks
        for test in range(3)
        for arm in range(2)
    ]
    file = tmp_path / "archive.csv"
    file.write_text("\n".join(["experiment,time,headline,impressions,clicks", *lines]))
    return replace(World.of(make_settings(source="archive", archive={"path": file}, now=None)), instance=instance)


def test_an_archive_is_learned_week_by_week(weekly: World) -> None:
    assert weekly.source.cadence == "week"
    assert days(tick(weekly, "learning_cycle_daily", NIGHT)) == [YESTERDAY]
    learn(weekly.store, date(2026, 1, 11))
    data = tick(weekly, "learning_cycle_daily", NIGHT)
    # The week without a test is a step, too: an empty partition.
    assert days(data) == days_between(date(2026, 1, 18), YESTERDAY, 7)
    assert {day.isoweekday() for day in days(data)} == {7}
    learn(weekly.store, YESTERDAY)
    assert tick(weekly, "learning_cycle_daily", NIGHT).skip_message == "Every ended day is learned."


def test_an_archive_is_fetched_by_its_newest_week_only(weekly: World) -> None:
    assert days(tick(weekly, "actuals_hourly", datetime(2026, 2, 26, 7, 5, tzinfo=UTC))) == [date(2026, 2, 22)]
    assert days(tick(weekly, "actuals_hourly", datetime(2026, 3, 9, 7, 5, tzinfo=UTC))) == [YESTERDAY]


def test_the_hours_of_every_accounts_own_days_are_fetched(world: World) -> None:
    """A platform tells a day from its first hour, which comes in Tonga before it comes in Greenwich, and in Los Angeles after."""
    zones = ("Pacific/Tongatapu", "America/Los_Angeles")
    rows = [
        {"account_id": zone, "owner": zone, "name": None, "currency": "USD", "timezone": zone, "consents": None}
        for zone in zones
    ]
    world.store.register(pl.DataFrame(rows, schema=ACCOUNTS))
    at = datetime(2026, 3, 2, 11, 5, tzinfo=UTC)
    assert local_dates(world.store, at) == {date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)}
    assert local_dates(world.store, datetime(2026, 3, 2, 6, 5, tzinfo=UTC)) == {
        date(2026, 2, 28),
        date(2026, 3, 1),
        date(2026, 3, 2),
    }

    class OnlyNow(SandboxSource):
        looks_back = False

    live = replace(World.of(world.settings, OnlyNow.of(world.store.identity.market)), instance=world.instance)
    assert days(tick(live, "actuals_hourly", at)) == [date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)]
