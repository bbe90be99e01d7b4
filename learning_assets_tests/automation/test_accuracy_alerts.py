"""The alert on a drop of accuracy: sent once, with figures, accounts and a cause; silent where nothing dropped or in a replay."""

from dataclasses import dataclass, field
from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from learning_assets.assets import PREDICTIONS
from learning_assets.assets.day import day_by_itself
from learning_assets.automation.accuracy_alerts import flows, tell
from learning_assets.automation.alerts import outside
from learning_assets.learning.causes import FLOWS
from learning_assets_tests.automation.test_sensors import measure, mislead
from learning_assets_tests.world import Learned

DAY = date(2026, 3, 1)


@dataclass
class Recorder:
    """Keeps the alerts that it is given, or fails."""

    sent: list[str] = field(default_factory=list)
    broken: bool = False

    def send(self, text: str) -> None:
        """Keep an alert."""
        if self.broken:
            raise ConnectionError("Slack is down")
        self.sent.append(text)


def look(world: Learned, recorder: Recorder, cursor: str | None = None) -> SensorExecutionData:
    """One tick of the sensor."""
    resources = {"settings": world.settings, "store": world.store, "source": world.source, "alerts": recorder}
    repository = world.definitions.get_repository_def()
    with dg.build_sensor_context(world.instance, cursor, repository_def=repository, resources=resources) as context:
        return world.definitions.resolve_sensor_def("alert_on_accuracy_drop").evaluate_tick(context)


def lose_clicks(world: Learned, account: str, days: int = 7) -> None:
    """An account's clicks vanish while its impressions go on."""
    for day in (DAY - timedelta(days=n) for n in range(days)):
        rows = world.store.lake.read("actuals", day)
        gone = pl.when(pl.col("account_id") == account).then(0).otherwise("link_clicks").cast(pl.Int64)
        world.store.lake.write("actuals", day, rows.with_columns(link_clicks=gone))


def test_a_drop_is_told_once_a_revision_with_its_figures(learned_copy: Learned):
    world, recorder = learned_copy, Recorder()
    mislead(world, DAY)
    measure(world, DAY, "retrain_check")
    data = look(world, recorder)
    (text,) = recorder.sent
    row = world.table("prediction_comparisons", as_of=DAY, segment="all", model="xgboost", metric="ctr").filter(
        pl.col("account_id").is_null()
    )
    assert text.startswith("Simulated market. The predictions for 2026-03-01 went wrong, of all consenting accounts.\n")
    assert f"CTR by xgboost (live): WAPE {row['wape'].item():.1%} is above" in text
    assert "Concerned most: account 40000" in text
    assert "and 3 more." in text
    assert "Cause: drift, likely. Clicks are below what was predicted across the board, 0.20 times as many" in text
    # A cursor that was lost, or a tick that is repeated, tells nobody twice; a new measurement is another revision.
    look(world, recorder)
    look(world, recorder, "garbage")
    assert look(world, recorder, data.cursor).skip_message == "Accuracy was not measured since the last tick."
    assert len(recorder.sent) == 1
    measure(world, DAY)
    look(world, recorder, data.cursor)
    assert len(recorder.sent) == 2
    kept = world.table("accuracy_alerts").sort("revision")
    assert kept["revision"].to_list() == [2, 3]
    assert kept["cause"].to_list() == ["drift", "drift"]
    assert "accuracy" in kept["triggers"][0].split(",")
    assert kept["owner"].to_list() == [None, None]


def test_lost_clicks_are_told_as_tracking(learned_copy: Learned):
    world, recorder = learned_copy, Recorder()
    lose_clicks(world, "4000005")
    measure(world, DAY)
    look(world, recorder)
    (text,) = recorder.sent
    assert "Concerned most: account 4000005, " in text
    assert "Cause: tracking" in text
    assert "clicks are gone while impressions go on: 0 on" in text
    assert world.table("accuracy_alerts")["cause"].to_list() == ["tracking"]


def test_nothing_is_told_where_nothing_dropped_or_in_a_replay(learned_copy: Learned):
    world, recorder = learned_copy, Recorder()
    measure(world, DAY)
    first = look(world, recorder)
    assert first.skip_message == "1 days measured, 0 alerts."
    mislead(world, DAY)
    measure(world, DAY, tags={"learning/replay": "1"})
    assert look(world, recorder, first.cursor).skip_message == "0 days measured, 0 alerts."
    assert recorder.sent == []


def test_plain_baselines_alarm_nobody(learned_copy: Learned):
    world, recorder = learned_copy, Recorder()
    mislead(world, DAY)
    before = DAY - timedelta(days=1)
    rows = world.store.lake.read("predictions", before).with_columns(
        model=pl.lit("account_mean"), model_id=pl.lit(None, pl.String)
    )
    world.store.lake.write("predictions", before, rows.match_to_schema(PREDICTIONS, missing_columns="insert"))
    measure(world, DAY)
    look(world, recorder)
    assert recorder.sent == []


def test_an_alert_that_could_not_be_sent_is_sent_by_the_next_tick(learned_copy: Learned):
    world, recorder = learned_copy, Recorder(broken=True)
    mislead(world, DAY)
    measure(world, DAY)
    with pytest.raises(Exception, match=r"Slack is down|accuracy_drop"):
        look(world, recorder)
    assert world.table("accuracy_alerts").is_empty()
    recorder.broken = False
    look(world, recorder)
    assert len(recorder.sent) == 1


def test_what_comes_from_outside_is_one_line_of_plain_characters(learned_copy: Learned):
    assert outside("act_1\n\x1b[31m<@here> https://x") == "act_1 [31m<@here> https:\u200b//x"
    assert len(outside("a" * 500)) == 80
    world, recorder = learned_copy, Recorder()
    mislead(world, DAY)
    before = DAY - timedelta(days=1)
    rows = world.store.lake.read("predictions", before).with_columns(model=pl.lit("evil\nmodel http://x"))
    world.store.lake.write("predictions", before, rows.match_to_schema(PREDICTIONS, missing_columns="insert"))
    measure(world, DAY)
    assert tell(world.store, day_by_itself(DAY, world.source, world.settings), world.settings, recorder) == 1
    assert "CTR by evil model http:\u200b//x (live)" in recorder.sent[0]


def test_flows_compare_the_newest_day_with_the_days_before(learned: Learned):
    day = day_by_itself(DAY, learned.source, learned.settings)
    accounts = ["4000001", "4000002"]
    found = flows(learned.store, day, accounts, learned.settings)
    assert found.schema == FLOWS
    facts = learned.store.facts(DAY - timedelta(days=14), DAY).filter(pl.col("account_id") == "4000001").collect()
    clicks = found.filter(account_id="4000001", counted="clicks").row(0, named=True)
    now, before = facts.filter(date=DAY), facts.filter(pl.col("date") < DAY)
    assert (clicks["base"], clicks["actual"]) == (now["impressions"].sum(), now["link_clicks"].sum())
    assert clicks["usual"] == pytest.approx(
        int(now["impressions"].sum()) * int(before["link_clicks"].sum()) / int(before["impressions"].sum())
    )
