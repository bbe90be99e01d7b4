"""The sensor `purchase_signal`: a check an hour at most, no signal lost, and no cursor can harm it."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.automation.sensors import Asked, read_asked
from learning_assets.store.signals import SIGNALS
from learning_assets_tests.world import Learned, MakeWorld, World

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = date(2026, 3, 1)


def at(world: World, moment: datetime) -> World:
    """The world at a moment; runs stay where they were."""
    return replace(world.again(now=moment), instance=world.instance)


def tell(world: World, *ids: str, **more: str) -> None:
    account = world.store.pools()[0].account_ids[0]
    rows = [
        {"account_id": account, "owner": "o", "signal_id": one, "at": world.store.now, "source": "test", **more} for one in ids
    ]
    world.store.signals.record(pl.DataFrame(rows, schema=SIGNALS), world.store.now)


def look(world: World, cursor: str | None = None) -> SensorExecutionData:
    """One tick."""
    resources = {"settings": world.settings, "store": world.store, "source": world.source}
    repository = world.definitions.get_repository_def()
    with dg.build_sensor_context(world.instance, cursor, repository_def=repository, resources=resources) as context:
        return world.definitions.resolve_sensor_def("purchase_signal").evaluate_tick(context)


def asked(data: SensorExecutionData) -> list[tuple[str | None, str]]:
    """Run keys, and how many signals asked for each."""
    return [(request.run_key, request.tags["learning/signals"]) for request in data.run_requests or ()]


def start(world: World, data: SensorExecutionData, *, ends: bool = True) -> dg.DagsterRun:
    """The run that was asked for, as the daemon makes it, ended or under way."""
    (request,) = list(data.run_requests or ())
    job = world.definitions.resolve_job_def("retrain_check")
    tags = {**request.tags, "dagster/partition": str(request.partition_key)}
    run = world.instance.create_run_for_job(job, tags=tags)
    world.instance.report_run_canceling(run)
    if ends:
        world.instance.report_run_canceled(run)
    return run


@pytest.fixture
def noon(learned_copy: Learned) -> World:
    """The world that has learned, at noon of the day after."""
    return at(learned_copy, NOON)


def test_signals_ask_for_one_check_of_the_newest_day_and_say_how_many(noon: World):
    assert look(noon).skip_message == "No purchase signal arrived since the last check."
    tell(noon, *(f"{n}" for n in range(120)))
    data = look(noon)
    (request,) = list(data.run_requests or ())
    assert (request.run_key, request.partition_key) == ("purchase_signal/2026-03-01/120", "2026-03-01")
    assert request.tags["learning/cause"] == "purchase_signal: 120 signals of 1 accounts"
    assert request.tags["learning/signals"] == "120"
    assert json.loads(data.cursor or "") == {"until": 120, "at": NOON.isoformat()}
    assert look(noon, data.cursor).skip_message == "No purchase signal arrived since the last check."
    assert asked(look(noon)) == asked(data), "a tick that is replayed asks for the same run, which is not started twice"


def test_a_check_an_hour_however_many_arrive_and_none_is_lost(noon: World):
    """Signals every ten minutes for five hours, with ticks in between: every one is asked for, by one check an hour at most."""
    cursor, checks, total = None, [], 0
    for step in range(30):
        world = at(noon, NOON + timedelta(minutes=10 * step))
        tell(world, f"{step}a", f"{step}b")
        for _ in range(2):
            data = look(world, cursor)
            cursor = data.cursor or cursor
            for _, signals in asked(data):
                checks.append(world.store.now)
                total += int(signals)
                start(world, data)
        world.store.tables.engine.dispose()
    assert checks == [NOON + timedelta(hours=n) for n in range(5)]
    late = at(noon, NOON + timedelta(hours=5))
    assert total + int(asked(look(late, cursor))[0][1]) == 60


def test_signals_during_a_check_wait_for_the_next(noon: World):
    tell(noon, "1")
    first = look(noon)
    run = start(noon, first, ends=False)
    later = at(noon, NOON + timedelta(hours=2))
    tell(later, "2", "3")
    waits = look(later, first.cursor)
    assert asked(waits) == []
    assert waits.skip_message is not None
    assert waits.skip_message.startswith(f"2 purchase signals wait. Run {run.run_id[:8]} of retrain_check is still under way")
    noon.instance.report_run_canceled(run)
    assert asked(look(later, first.cursor)) == [("purchase_signal/2026-03-01/3", "2")]


CORRUPT = (
    "",
    "garbage",
    "-7",
    "[3]",
    "null",
    '{"until": "x"}',
    '{"until": 1}',
    '{"until": true, "at": "x"}',
    "9" * 5000,
    "[" * 5000,
)


def test_a_corrupt_cursor_loses_nothing_and_asks_no_more_often(noon: World):
    tell(noon, "1", "2")
    assert {tuple(asked(look(noon, cursor))) for cursor in CORRUPT} == {(("purchase_signal/2026-03-01/2", "2"),)}
    start(noon, look(noon))
    soon = at(noon, NOON + timedelta(minutes=20))
    tell(soon, "3")
    for cursor in CORRUPT:
        data = look(soon, cursor)
        assert asked(data) == []
        assert data.skip_message is not None
        assert data.skip_message.startswith("1 purchase signals wait: a check was asked for at 12:00 UTC")
    later = at(noon, NOON + timedelta(minutes=61))
    assert {tuple(asked(look(later, cursor))) for cursor in CORRUPT} == {(("purchase_signal/2026-03-01/3", "1"),)}


@given(st.text() | st.dictionaries(st.sampled_from(["until", "at"]), st.integers() | st.text() | st.none()).map(json.dumps))
def test_every_text_is_a_cursor(text: str):
    found = read_asked(text, 10, NOON)
    assert 0 <= found.until <= 10
    assert found.at is None or found.at <= NOON


@given(st.integers(0, 10), st.integers(0, 10**9))
def test_a_cursor_that_was_written_is_read(until: int, seconds: int):
    moment = NOON - timedelta(seconds=seconds)
    assert read_asked(json.dumps({"until": until, "at": moment.isoformat()}), 10, NOON) == Asked(until, moment)


def test_a_clock_that_was_set_back_does_not_silence_it(noon: World):
    tell(noon, "1")
    cursor = look(noon).cursor
    back = at(noon, NOON - timedelta(days=1))
    assert asked(look(back, cursor)) == [("purchase_signal/2026-03-01/1", "1")]


def test_where_several_days_are_to_be_learned_the_cycle_takes_the_signals_with_them(noon: World):
    late = at(noon, NOON + timedelta(days=3))
    tell(late, "1")
    data = look(late)
    assert asked(data) == []
    assert data.skip_message == (
        "1 purchase signals wait. 3 days are to be learned; the cycle takes them oldest first, and the signals with them."
    )


def test_before_anything_was_learned_they_wait(make_world: MakeWorld):
    world = make_world(sandbox={"accounts": 5, "ads": 3, "impressions": 100}, now=NOON)
    world.store.register(world.source.accounts())
    tell(world, "1")
    data = look(world)
    assert asked(data) == []
    assert data.skip_message is not None
    assert "No day was learned yet" in data.skip_message


def test_the_check_trains_because_of_the_signals(noon: World):
    """What was asked for can be run: the trigger fires in it, and after the training nothing waits."""
    tell(noon, "1", "2", "3")
    (request,) = list(look(noon).run_requests or ())
    job = noon.definitions.resolve_job_def("retrain_check")
    done = job.execute_in_process(
        run_config=QUIET_CONSOLE, partition_key=request.partition_key, instance=noon.instance, tags=request.tags
    )
    assert done.success
    (row,) = noon.table("champions", target="ctr", as_of=DAY).to_dicts()
    fired = {one["name"]: (one["fired"], one["value"]) for one in json.loads(row["triggers"])}
    assert fired["purchase_signal"] == (True, 3.0)
    assert row["challenger_id"] is not None
    pool = noon.store.pools()[0].account_ids
    assert noon.store.signals.waiting(pool, DAY + timedelta(days=2), DAY + timedelta(days=1)) == 0
