"""Sensors: what they make of real events of real runs, and that no cursor can harm them."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa
from dagster._core.definitions.sensor_definition import SensorExecutionData
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.assets import PREDICTIONS
from learning_assets.automation import alerts
from learning_assets.automation.alerts import LogNotifier, SlackNotifier, notifier
from learning_assets.automation.cursors import read_cursor
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.build import build_definitions
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import Fetched, Source, SourceError
from learning_assets.settings import Settings
from learning_assets.store import schema
from learning_assets_tests.world import Learned, MakeWorld, World

DAY = date(2026, 3, 1)


def measure(world: World, day: date, job: str | None = None, tags: dict[str, str] | None = None) -> str:
    """Measure accuracy of a day, outside of the jobs by default; the run's id."""
    whole = world.definitions.resolve_implicit_global_asset_job_def() if job is None else world.definitions.resolve_job_def(job)
    only = whole.get_subset(asset_selection={dg.AssetKey("prediction_accuracy")})
    done = only.execute_in_process(
        run_config=QUIET_CONSOLE, partition_key=str(day), instance=world.instance, tags=tags or {}, raise_on_error=False
    )
    assert done.success
    return done.run_id


def mislead(world: World, day: date, factor: float = 5.0) -> None:
    """Let what was predicted for a day have been `factor` times what happened, by the model in force."""
    for written in world.store.lake.days("predictions"):
        world.store.lake.write("predictions", written, PREDICTIONS.to_frame())
    happened = world.store.lake.read("actuals", day).filter(pl.col("impressions") > 0)
    rate = pl.col("link_clicks") / pl.col("impressions") * factor
    before = day - timedelta(days=1)
    rows = happened.select(
        pl.lit(before).alias("as_of"),
        pl.lit(day).alias("date"),
        pl.lit(datetime(2026, 3, 1, tzinfo=UTC)).dt.cast_time_unit("us").alias("made_at"),
        pl.lit("live").alias("made"),
        "account_id",
        "ad_id",
        pl.lit("ctr").alias("metric"),
        pl.lit("xgboost").alias("model"),
        pl.lit("ctr-test").alias("model_id"),
        rate.alias("predicted"),
    )
    world.store.lake.write("predictions", before, rows.match_to_schema(PREDICTIONS, missing_columns="insert"))


def look(world: World, cursor: str | None = None, sensor: str = "accuracy_drop") -> SensorExecutionData:
    """One tick of a sensor."""
    resources = {"settings": world.settings, "store": world.store, "source": world.source}
    repository = world.definitions.get_repository_def()
    with dg.build_sensor_context(world.instance, cursor, repository_def=repository, resources=resources) as context:
        return world.definitions.resolve_sensor_def(sensor).evaluate_tick(context)


def keys(data: SensorExecutionData) -> list[str | None]:
    return [request.run_key for request in data.run_requests or ()]


# -- accuracy_drop


def test_a_drop_asks_once_for_a_check_and_names_the_cause(learned_copy: Learned) -> None:
    world = learned_copy
    mislead(world, DAY)
    measure(world, DAY)
    data = look(world)
    (request,) = list(data.run_requests or ())
    row = world.table("prediction_comparisons", as_of=DAY, segment="all", model="xgboost", metric="ctr").filter(
        pl.col("account_id").is_null()
    )
    assert row["wape"][0] > 1
    assert row["revision"].to_list() == [2]
    assert (request.run_key, request.partition_key) == ("accuracy/2026-03-01/r2", "2026-03-01")
    assert request.tags["dagster/partition"] == "2026-03-01"
    cause = request.tags["learning/cause"]
    assert cause.startswith(f"accuracy_drop: CTR of shared: WAPE {row['wape'][0]:.1%} is above ")
    # It has read on; and a tick that is replayed asks for the same run, which Dagster then does not start again.
    assert look(world, data.cursor).skip_message == "Accuracy was not measured since the last tick."
    assert keys(look(world)) == keys(data)


def test_several_measurements_between_ticks_ask_once(learned_copy: Learned) -> None:
    world = learned_copy
    mislead(world, DAY)
    for _ in range(3):
        measure(world, DAY)
    data = look(world)
    assert keys(data) == ["accuracy/2026-03-01/r4"]
    # A later measurement is another revision, and another question.
    measure(world, DAY)
    assert keys(look(world, data.cursor)) == ["accuracy/2026-03-01/r5"]


def test_nothing_is_asked_for_where_accuracy_has_not_dropped(learned_copy: Learned) -> None:
    world = learned_copy
    mislead(world, DAY, factor=1.02)
    measure(world, DAY)
    data = look(world)
    assert data.run_requests == []
    assert data.skip_message == "1 measurements, none of which calls for a retrain."
    assert read_cursor(data.cursor, 10**6) > 0


def test_runs_that_decide_themselves_are_left_alone(learned_copy: Learned) -> None:
    world = learned_copy
    mislead(world, DAY)
    measure(world, DAY, "retrain_check")
    measure(world, DAY, "learning_cycle")
    measure(world, DAY, tags={"learning/replay": "1"})
    assert look(world).skip_message == "3 measurements, none of which calls for a retrain."
    measure(world, DAY)
    assert keys(look(world)) == ["accuracy/2026-03-01/r5"]


def test_a_day_whose_successor_was_decided_is_not_decided_again(learned_copy: Learned) -> None:
    world = learned_copy
    before = DAY - timedelta(days=1)
    mislead(world, before)
    measure(world, before)
    assert world.table("prediction_comparisons", as_of=before, model="xgboost").filter(pl.col("wape") > 1).height > 0
    assert look(world).run_requests == []


@pytest.mark.parametrize(("days_back", "asks"), [(1, True), (2, False)])
def test_a_day_that_comes_next_is_decided_and_none_is_left_out(learned_copy: Learned, days_back: int, asks: bool) -> None:
    world, days = learned_copy, schema.asset_days
    decided = DAY - timedelta(days=days_back)
    world.store.tables.execute(sa.delete(days).where(days.c.asset == "retrained_model", days.c.day > decided))
    mislead(world, DAY)
    measure(world, DAY)
    assert keys(look(world)) == (["accuracy/2026-03-01/r2"] if asks else [])


def test_an_event_without_a_run_or_a_day_does_no_harm(learned_copy: Learned) -> None:
    world = learned_copy
    mislead(world, DAY)
    world.instance.report_runless_asset_event(dg.AssetMaterialization("prediction_accuracy"))
    assert look(world).run_requests == []
    measure(world, DAY)
    assert keys(look(world)) == ["accuracy/2026-03-01/r2"]
    world.instance.report_runless_asset_event(dg.AssetMaterialization("prediction_accuracy", partition="2026-03-01"))
    assert keys(look(world)) == ["accuracy/2026-03-01/r2"]


def test_what_was_asked_for_can_be_run(learned_copy: Learned) -> None:
    """The requested run decides: the trigger that the sensor saw fires in it, too, and stands in the champion's row."""
    world = learned_copy
    mislead(world, DAY)
    measure(world, DAY)
    (request,) = list(look(world).run_requests or ())
    job = world.definitions.resolve_job_def(str(request.job_name or "retrain_check"))
    done = job.execute_in_process(
        run_config=QUIET_CONSOLE, partition_key=request.partition_key, instance=world.instance, tags=request.tags
    )
    assert done.success
    fired = world.table("champions", target="ctr", as_of=DAY)["triggers"].str.json_path_match("$[0].fired").to_list()
    assert "true" in fired
    assert look(world, None).skip_message is None


CORRUPT = (
    *("", "garbage", "-7", "true", "false", "1.5", "null", "[3]", '{"a": 1}', '"9"', "NaN", "1e400"),
    *("9" * digits for digits in (12, 18, 30, 5000)),
)


def test_a_corrupt_cursor_does_no_harm(learned_copy: Learned) -> None:
    """Nothing is missed and nothing is asked for twice: it reads from the beginning, and run keys are those of the facts."""
    world = learned_copy
    mislead(world, DAY)
    measure(world, DAY)
    found = {cursor[:20]: look(world, cursor) for cursor in CORRUPT}
    assert {cursor: keys(data) for cursor, data in found.items()} == {
        cursor[:20]: ["accuracy/2026-03-01/r2"] for cursor in CORRUPT
    }
    assert len({data.cursor for data in found.values()}) == 1


@given(st.text() | st.integers().map(str) | st.floats().map(str) | st.booleans().map(str), st.integers(0, 10**12))
def test_every_text_is_a_cursor(text: str, newest: int) -> None:
    assert 0 <= read_cursor(text, newest) <= newest


@given(st.data(), st.integers(0, 10**12))
def test_a_cursor_that_was_written_is_read(data: st.DataObject, newest: int) -> None:
    position = data.draw(st.integers(0, newest))
    assert read_cursor(str(position), newest) == position


# -- the log of runs, and alerts


@dataclass
class Recorder:
    """Keeps the alerts that it is given."""

    sent: list[str] = field(default_factory=list)

    def send(self, text: str) -> None:
        """Keep an alert."""
        self.sent.append(text)


class Broken(SandboxSource):
    """The simulated market, whose actuals cannot be read."""

    @classmethod
    def like(cls, source: Source) -> "Broken":
        """The same market, broken."""
        assert isinstance(source, SandboxSource)
        return cls(source.settings, source.epoch)

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        """Fail as a platform does."""
        assert first <= last <= known_on
        raise SourceError(f"The token of account <a&b> has expired for {first}. Connect it again.")


SMALL = {"accounts": 5, "ads": 3, "impressions": 100}


def refresh(world: World, tags: dict[str, str] | None = None) -> dg.ExecuteInProcessResult:
    job = world.definitions.resolve_job_def("actuals_refresh")
    return job.execute_in_process(
        run_config=QUIET_CONSOLE, partition_key=str(DAY), instance=world.instance, tags=tags or {}, raise_on_error=False
    )


def broken(world: World, recorder: Recorder | None = None) -> World:
    """The world when its source fails."""
    source = Broken.like(world.source)
    definitions = build_definitions(settings=world.settings, store=world.store, source=source, alerts=recorder)
    return replace(world, source=source, definitions=definitions)


def first_tick(world: World, sensor: str) -> str:
    """The cursor of a run-status sensor before anything has run."""
    cursor = look(world, None, sensor).cursor
    assert cursor is not None
    return cursor


def test_runs_that_end_are_logged_with_their_cause_and_error(make_world: MakeWorld) -> None:
    world = make_world(sandbox=SMALL)
    failing = broken(world)
    cursors = {name: first_tick(world, f"cycle_log_{name}") for name in ("success", "failure")}
    good, bad = refresh(world, {"learning/cause": "by hand"}), refresh(failing)
    assert (good.success, bad.success) == (True, False)
    for name, cursor in cursors.items():
        look(world, cursor, f"cycle_log_{name}")
    log = {row["run_id"]: row for row in world.table("learning_cycle_log").to_dicts()}
    assert log.keys() == {good.run_id, bad.run_id}
    one = log[good.run_id]
    assert (one["job"], one["partition_day"], one["status"], one["cause"]) == ("actuals_refresh", DAY, "success", "by hand")
    assert (one["error"], one["written_by"]) == (None, "sensor")
    assert one["seconds"] == pytest.approx((one["ended_at"] - one["started_at"]).total_seconds())
    assert one["seconds"] > 0
    two = log[bad.run_id]
    assert (two["status"], two["cause"]) == ("failure", None)
    assert two["error"] == "actuals: The token of account <a&b> has expired for 2026-03-01. Connect it again."


def test_a_run_is_logged_once_by_whoever_sees_it_first(make_world: MakeWorld) -> None:
    world = make_world(sandbox=SMALL)
    cursor = first_tick(world, "cycle_log_success")
    refresh(world)
    for _ in range(2):
        look(world, cursor, "cycle_log_success")
    assert world.table("learning_cycle_log").height == 1
    assert look(world, "not a cursor", "cycle_log_success").skip_message
    assert world.table("learning_cycle_log").height == 1


def test_a_run_that_was_canceled_is_logged(make_world: MakeWorld) -> None:
    world = make_world(sandbox=SMALL)
    cursor = first_tick(world, "cycle_log_canceled")
    job = world.definitions.resolve_job_def("actuals_refresh")
    run = world.instance.create_run_for_job(job, tags={"dagster/partition": str(DAY)})
    world.instance.report_run_canceling(run)
    world.instance.report_run_canceled(run)
    look(world, cursor, "cycle_log_canceled")
    (row,) = world.table("learning_cycle_log").to_dicts()
    assert (row["run_id"], row["status"], row["partition_day"], row["error"]) == (run.run_id, "canceled", DAY, None)


def test_a_failed_run_sends_one_alert_with_run_day_and_error(make_world: MakeWorld) -> None:
    recorder = Recorder()
    world = make_world(sandbox=SMALL)
    failing = broken(world, recorder)
    cursor = first_tick(failing, "alert_on_failure")
    refresh(world)
    bad = refresh(failing)
    resources = {"alerts": recorder, "settings": world.settings, "store": world.store}
    sensor = failing.definitions.resolve_sensor_def("alert_on_failure")
    repository = failing.definitions.get_repository_def()
    for _ in range(2):
        with dg.build_sensor_context(
            failing.instance, cursor, repository_def=repository, resources=resources, sensor_name="alert_on_failure"
        ) as context:
            data = sensor.evaluate_tick(context)
            assert data.cursor is not None
            cursor = data.cursor
    assert recorder.sent == [
        f"Run {bad.run_id[:8]} of actuals_refresh for 2026-03-01 failed: "
        "actuals: The token of account <a&b> has expired for 2026-03-01. Connect it again."
    ]


def test_a_check_that_blocks_is_named_in_the_alert(make_world: MakeWorld) -> None:
    """Rows that are wrong stop the run; the alert names the check and says what is wrong."""
    world = make_world(sandbox=SMALL)

    class Miscounted(Broken):
        def actuals(self, first: date, last: date, known_on: date) -> Fetched:
            fetched = SandboxSource.actuals(self, first, last, known_on)
            clicks = pl.when(pl.col("ad_id") == fetched.rows["ad_id"].min()).then(pl.col("impressions") + 1)
            return replace(fetched, rows=fetched.rows.with_columns(link_clicks=clicks.otherwise("link_clicks")))

    definitions = build_definitions(settings=world.settings, store=world.store, source=Miscounted.like(world.source))
    miscounted = replace(world, definitions=definitions)
    cursor = first_tick(world, "cycle_log_failure")
    assert not refresh(miscounted).success
    look(world, cursor, "cycle_log_failure")
    (row,) = world.table("learning_cycle_log").to_dicts()
    assert re.fullmatch(
        r"actuals, check clicks_within_impressions: 2026-03-01: .*: \d+ link clicks on \d+ impressions\. Check which .*",
        row["error"],
    )


def test_a_run_that_ended_without_a_failed_step_says_so(make_world: MakeWorld) -> None:
    """A process that was killed leaves no error; the log then says what Dagster knows."""
    world = make_world(sandbox=SMALL)
    cursor = first_tick(world, "cycle_log_failure")
    run = world.instance.create_run_for_job(
        world.definitions.resolve_job_def("actuals_refresh"), tags={"dagster/partition": str(DAY)}
    )
    world.instance.report_run_failed(run, "Run worker process unexpectedly exited")
    look(world, cursor, "cycle_log_failure")
    (row,) = world.table("learning_cycle_log").to_dicts()
    assert row["error"] == "Run worker process unexpectedly exited"


def test_slack_shows_text_as_it_is() -> None:
    assert alerts.escape("<@U1> & <https://x|y>") == "&lt;@U1&gt; &amp; &lt;https://x|y&gt;"
    assert alerts.escape("&lt;") == "&amp;lt;"


def test_alerts_go_to_slack_where_it_is_set_and_to_the_log_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(notifier(Settings(automation={"slack_token": "xoxb-1"})), SlackNotifier)  # type: ignore[arg-type]
    plain = notifier(Settings())
    assert isinstance(plain, LogNotifier)
    plain.send("Run 1 failed: 50 % of <rows>")
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", "Run 1 failed: 50 % of <rows>")]
