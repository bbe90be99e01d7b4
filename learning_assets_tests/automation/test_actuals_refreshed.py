"""The sensor `actuals_refreshed`: new delivery asks for decisions once, of the day that comes next, and no cursor can harm it."""

from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets_tests.world import Learned, MakeWorld, World

DAY = date(2026, 3, 1)
TODAY = DAY + timedelta(days=1)


def look(world: World, cursor: str | None = None) -> SensorExecutionData:
    """One tick."""
    resources = {"settings": world.settings, "store": world.store, "source": world.source}
    repository = world.definitions.get_repository_def()
    with dg.build_sensor_context(world.instance, cursor, repository_def=repository, resources=resources) as context:
        return world.definitions.resolve_sensor_def("actuals_refreshed").evaluate_tick(context)


def refresh(world: World, day: date, tags: dict[str, str] | None = None) -> None:
    """Fetch a day, as each hour does."""
    job = world.definitions.resolve_job_def("actuals_refresh")
    done = job.execute_in_process(run_config=QUIET_CONSOLE, partition_key=str(day), instance=world.instance, tags=tags or {})
    assert done.success


def asked(data: SensorExecutionData) -> list[tuple[str | None, str | None]]:
    return [(request.partition_key, request.run_key) for request in data.run_requests or ()]


def test_new_delivery_of_the_running_day_asks_once(learned_copy: Learned):
    world = learned_copy
    assert look(world).skip_message == "No delivery was fetched since the last tick."
    refresh(world, DAY)
    refresh(world, TODAY)
    data = look(world)
    version = world.store.lake.version("actuals_hourly", TODAY)
    # The day before is learned; what is new of it is known to the decisions of the next.
    assert asked(data) == [("2026-03-02", f"decide/2026-03-02/{version}")]
    assert look(world, data.cursor).skip_message == "No delivery was fetched since the last tick."
    # The same delivery again is no new fact; Dagster does not start the same run key twice.
    refresh(world, TODAY)
    assert asked(look(world, data.cursor)) == asked(data)
    hours = world.store.lake.read("actuals_hourly", TODAY)
    world.store.lake.write("actuals_hourly", TODAY, hours.filter(pl.col("hour") < 12))
    assert asked(look(world)) != asked(data)


def test_cycles_and_replays_decide_themselves(learned_copy: Learned):
    refresh(learned_copy, TODAY, {"learning/replay": "1"})
    data = look(learned_copy)
    assert data.skip_message == "1 fetches, none of the day that is decided next."


@pytest.mark.parametrize("cursor", ["", "nonsense", "-1", '{"a": 1}', "99999999"])
def test_a_lost_cursor_asks_for_the_same_run(learned_copy: Learned, cursor: str):
    refresh(learned_copy, TODAY)
    assert asked(look(learned_copy, cursor)) == asked(look(learned_copy))


def test_it_waits_while_decisions_are_under_way(learned_copy: Learned):
    world = learned_copy
    refresh(world, TODAY)
    job = world.definitions.resolve_job_def("decide")
    run = world.instance.create_run_for_job(job, tags={"dagster/partition": str(TODAY)})
    data = look(world)
    assert data.run_requests == []
    assert data.cursor is None
    world.instance.report_run_canceling(run)
    world.instance.report_run_canceled(run)
    assert len(asked(look(world))) == 1


def test_nothing_is_decided_before_the_first_cycle(make_world: MakeWorld):
    world = make_world(sandbox={"accounts": 2, "ads": 9})
    refresh(world, DAY)
    assert asked(look(world)) == []


def test_the_job_decides_the_running_day_as_often_as_it_is_asked(learned_copy: Learned):
    world = learned_copy
    job = world.definitions.resolve_job_def("decide")
    refresh(world, TODAY)
    for revision in (1, 2):
        done = job.execute_in_process(run_config=QUIET_CONSOLE, partition_key=str(TODAY), instance=world.instance)
        assert done.success
        assert world.store.promotions.revision(TODAY) == revision
    # A day that goes on holds no cycle up, not even one that learns the day before again.
    assert world.store.newest_day("promotions") == DAY
    assert world.store.promotions.newest_day() == TODAY
    assert world.run(DAY, "promotions").success
    assert world.store.promotions.newest_day() == DAY
