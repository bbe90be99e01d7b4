"""Jobs: what a day's runs write together, and that the queue knows them by their tags."""

from collections.abc import Set
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from learning_assets.automation.acting import ACTING_TAG
from learning_assets.automation.jobs import CHAIN_TAG, CYCLE
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.store.facts import changed_since
from learning_assets_tests.world import Learned, World, failure, materialized

PROJECT = Path(__file__).parents[2]
DAY = date(2026, 3, 2)


def run(world: World, job: str, only: Set[str] | None = None) -> dg.ExecuteInProcessResult:
    """A run of a job for DAY, or of some of its assets."""
    definition = world.definitions.resolve_job_def(job)
    if only is not None:
        definition = definition.get_subset(asset_selection={dg.AssetKey(name) for name in only})
    return definition.execute_in_process(
        run_config=QUIET_CONSOLE, partition_key=str(DAY), instance=world.instance, raise_on_error=False
    )


@pytest.fixture
def tomorrow(learned_copy: Learned) -> World:
    """The world that has learned, on the next day at 03:00."""
    return World.of(learned_copy.settings.model_copy(update={"now": datetime(2026, 3, 3, 3, tzinfo=UTC)}))


def test_a_night_of_jobs_learns_the_day_once(tomorrow: World) -> None:
    """The hourly fetch, the check at 02:00 and the rest at 03:00 write what one cycle would."""
    assert materialized(run(tomorrow, "actuals_refresh")) == {"ad_catalog", "actuals"}
    assert tomorrow.store.newest_day("patterns") == date(2026, 3, 1)
    lake, last = tomorrow.store.lake, DAY - timedelta(days=1)
    assert not changed_since(lake, last - timedelta(days=28), last, last), "the hourly fetch does not restate past days"
    assert materialized(run(tomorrow, "retrain_check")) == {"prediction_accuracy", "retrained_model"}
    rest = set(CYCLE) - {"prediction_accuracy", "retrained_model"}
    assert materialized(run(tomorrow, "learning_cycle", rest)) >= rest
    assert changed_since(lake, last - timedelta(days=28), last, last)
    for table in ("learning_patterns", "champions", "prediction_comparisons", "improvement_snapshots"):
        assert tomorrow.table(table, latest=True)["as_of"].unique().to_list() == [DAY], table
    revisions = tomorrow.table("asset_days").filter(pl.col("day") == DAY)
    written = dict(revisions.select("asset", "revision").iter_rows())
    assert written["retrained_model"] == written["prediction_accuracy"] == written["patterns"] == written["snapshots"] == 1
    assert written["conversion_lags"] == 1
    predicted = tomorrow.store.lake.read("predictions", DAY)
    assert predicted["date"].unique().to_list() == [date(2026, 3, 3)]
    assert predicted["made"].unique().to_list() == ["live"]


def test_a_day_that_would_leave_a_gap_is_refused_with_the_remedy(learned_copy: Learned) -> None:
    result = learned_copy.run(date(2026, 3, 3), "patterns")
    assert failure(result) == (
        "patterns: patterns of 2026-03-03 rests on the state of the day before, which is not learned yet (the newest before it is "
        "2026-03-01). Learn the days between first: learning-assets replay --from 2026-03-02 --to 2026-03-03"
    )
    assert learned_copy.store.newest_day("patterns") == date(2026, 3, 1)


def test_the_queue_lets_one_run_of_a_chain_through() -> None:
    limits = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert limits == [{"key": name, "limit": 1} for name in (*CHAIN_TAG, *ACTING_TAG)]


def test_a_range_that_is_no_range_fails_with_its_reason(learned: Learned) -> None:
    job = learned.definitions.resolve_job_def("replay_range")
    for first, reason in (
        ("2026-03-02", "replay_days: 2026-03-02 has not ended yet"),
        ("2012-01-01", "replay_days: 2012-01-01 is before the first partition"),
        ("yesterday", "replay_days: 'yesterday' is not a day. Write it as YYYY-MM-DD."),
    ):
        config = {"ops": {"replay_days": {"config": {"first": first, "last": first}}}, **QUIET_CONSOLE}
        result = job.execute_in_process(run_config=config, instance=learned.instance, raise_on_error=False)
        assert reason in failure(result)
