"""Budget allocation: it counts what was delivered up to its day, shares it out within each experiment, and is carried on from day to day."""

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.assets import GROUPS
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.learning import bandit
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, MakeWorld, World, failure, metadata

ARM = list(bandit.ARM)


def states(world: Learned) -> pl.DataFrame:
    return world.table("thompson_arms").sort("as_of", *ARM, "metric")


def test_every_arm_of_the_day_has_a_share_of_its_experiment(learned: Learned):
    rows = states(learned)
    assert rows["as_of"].unique().to_list() == list(learned.days)
    for day in (learned.days[0], learned.days[-1]):
        live = rows.filter("live", as_of=day)
        expected = learned.store.arms(day).select(ARM)
        assert expected.height >= 8
        for metric in ("ctr", "cvr", "roas"):
            assert_frame_equal(live.filter(metric=metric).select(ARM), expected, check_row_order=False)
        shares = live.group_by("account_id", "experiment_id", "metric").agg(pl.col("share").sum(), least=pl.col("share").min())
        assert shares["share"].to_list() == pytest.approx([1] * shares.height)
        assert (shares["least"] >= learned.settings.bandit.floor - 1e-12).all()
    owners = dict(learned.store.accounts(PIPELINE).select("account_id", "owner").iter_rows())
    assert rows["owner"].to_list() == [owners[account] for account in rows["account_id"]]
    (owner,) = rows["owner"].head(1)
    assert set(learned.table("thompson_arms", Wall(owner))["owner"]) == {owner}


def test_counts_are_the_discounted_facts_up_to_the_day(learned: Learned):
    for day in (learned.days[0], learned.days[-1]):
        arms = states(learned).filter("live", as_of=day, metric="ctr")
        facts = (
            learned.store.facts(learned.facts_from, day)
            .collect()
            .join(arms.select(*ARM, "starts_on"), on=["account_id", "ad_id"])
        )
        weight = 0.99 ** (pl.lit(day) - pl.col("date")).dt.total_days()
        expected = (
            facts.filter(pl.col("starts_on").is_null() | (pl.col("date") >= pl.col("starts_on")))
            .group_by(ARM)
            .agg(events=(pl.col("link_clicks") * weight).sum(), exposure=(pl.col("impressions") * weight).sum())
        )
        delivered = arms.filter(pl.col("exposure") > 0)
        assert delivered.height >= 8
        assert_frame_equal(delivered.select(*ARM, "events", "exposure"), expected, check_row_order=False)


def test_the_prior_is_the_ensembles(learned: Learned):
    day = learned.days[-1]
    said = learned.store.lake.read("predictions", day).filter(model="ensemble")
    rows = states(learned).filter("live", as_of=day).join(said, on=["account_id", "ad_id", "metric"])
    assert rows.height > 20
    assert rows["prior_from"].unique().to_list() == ["ensemble"]
    assert rows["prior_rate"].to_list() == rows["predicted"].to_list()
    assert rows["prior_strength"].is_between(1, 20).all()
    assert rows["alpha"].to_list() == pytest.approx((rows["prior_strength"] + rows["events"]).to_list())


def test_budgets_are_shared_where_arms_have_their_own(learned: Learned):
    rows = states(learned).filter("live", as_of=learned.days[-1], metric="ctr")
    shared = rows.filter(pl.col("budget_note").is_null())
    assert shared.height >= 2
    assert (shared["budget_owner"] == "ad_set").all()
    sums = shared.group_by("account_id", "experiment_id", "unit_micros").agg(
        pl.col("budget_micros", "target_micros", "wanted_micros").sum()
    )
    assert (sums["target_micros"] == sums["wanted_micros"]).all()
    assert (
        (sums["budget_micros"] // sums["unit_micros"] * sums["unit_micros"] - sums["target_micros"])
        .is_between(0, sums["unit_micros"] * 9)
        .all()
    )
    assert rows.filter(pl.col("budget_note").is_not_null())["target_micros"].null_count() == rows.height - shared.height
    others = states(learned).filter(pl.col("metric") != "ctr")
    assert others["target_micros"].null_count() == others.height


def test_a_replay_from_the_middle_ends_where_the_straight_run_did(learned_copy: Learned):
    before = states(learned_copy)
    again, later = learned_copy.days[3], learned_copy.days[4:]
    assert learned_copy.run(again, "budget_allocation", replaying=True).success
    assert learned_copy.store.newest_day("budget_allocation") == again
    assert states(learned_copy).filter(pl.col("as_of") > again).is_empty()
    for day in later:
        assert learned_copy.run(day, "budget_allocation", replaying=True).success
    assert_frame_equal(states(learned_copy), before)


def test_an_older_day_is_refused_and_the_newest_replaces_itself(learned_copy: Learned):
    day, before = learned_copy.days[-1], states(learned_copy)
    refused = learned_copy.run(learned_copy.days[2], "budget_allocation")
    assert failure(refused).endswith(f"learning-assets replay --from {learned_copy.days[2]}")
    result = learned_copy.run(day, "budget_allocation")
    assert result.success, failure(result)
    assert_frame_equal(states(learned_copy), before)
    shown, live = metadata(result, "budget_allocation"), before.filter("live", as_of=day, metric="ctr")
    assert shown["arms"] == live.height
    assert (
        shown["experiments"]
        == live.select(ARM[:2]).n_unique()
        == sum(shown[f"experiments_{rule}"] for rule in ("top_two", "thompson", "equal"))
    )
    assert shown["floor"] == 0.05
    assert shown["smallest_share"] >= 0.05
    assert {"gain_over_equal_split", "arms_gone", "experiments_with_budgets", "arms_whose_budget_would_move"} <= shown.keys()
    assert shown["plot"].startswith("![plot](data:image/png;base64,")
    assert "equal split" in shown["table"]
    assert "Simulated market." in shown["table"]
    assert "No arm gets less than 5%" in shown["summary"]
    texts = learned_copy.table("creative_dna", columns=["text"])["text"].drop_nulls()
    everything = " ".join(value for value in shown.values() if isinstance(value, str))
    assert not any(part in everything for text in texts for part in text.split(" . ") if len(part) > 12)
    assert GROUPS["budget_allocation"] == "decisions"
    assert learned_copy.check(day, "budget_allocation", "sound").passed


def say(world: Learned, arm: dict[str, object], day: date, event: str, revision: int = 1) -> None:
    """Let an experiment have been promoted or demoted on a day."""
    kinds = world.store.tables.schema("promotion_decisions")
    told = {
        "decision_id": f"{event} {day}",
        "owner": arm["owner"],
        "decided_at": world.store.now,
        "replayed": False,
        "evidence": "observational",
        "reason": "test",
    }
    row = {
        **told,
        "as_of": day,
        "revision": revision,
        "status": "promoted",
        "event": event,
        "evidence_from": day,
        "ad_id": arm["ad_id"],
    }
    of = {name: arm[name] for name in ARM[:2]}
    world.store.tables.upsert("promotion_decisions", pl.DataFrame([row | of], schema=kinds))


def test_a_decided_experiment_is_shared_by_thompson_until_it_is_demoted(learned_copy: Learned):
    day, before = learned_copy.days[-1], states(learned_copy).filter("live", as_of=learned_copy.days[-1], metric="ctr")
    arm = before.filter(rule="top_two").sort("p_best").row(-1, named=True)
    of = {"as_of": day, "metric": "ctr", "account_id": arm["account_id"], "experiment_id": arm["experiment_id"]}
    say(learned_copy, arm, day - timedelta(days=2), "promoted")
    assert learned_copy.run(day, "budget_allocation").success
    found = states(learned_copy).filter("live", **of)
    assert found["rule"].unique().to_list() == ["thompson"]
    arms = found.height
    assert found["share"].to_list() == pytest.approx((0.05 + (1 - arms * 0.05) * found["p_best"]).to_list())
    others = states(learned_copy).filter("live", as_of=day, metric="ctr").join(found, on=ARM[:2], how="anti")
    assert_frame_equal(others, before.join(found, on=ARM[:2], how="anti"))
    say(learned_copy, arm, day - timedelta(days=1), "demoted")
    assert learned_copy.run(day, "budget_allocation").success
    assert_frame_equal(states(learned_copy).filter("live", as_of=day, metric="ctr"), before)


def test_arms_come_and_go_and_come_back(learned_copy: Learned):
    """An arm that is paused has no share, is remembered, and goes on from what was known of it."""
    day, before = learned_copy.days[-1], states(learned_copy)
    catalog = learned_copy.store.lake.read("ad_catalog", day)
    arm = before.filter("live", as_of=day, metric="ctr").filter(pl.len().over(ARM[:2]) > 2).sort("exposure").row(-1, named=True)
    of_arm = {name: arm[name] for name in ARM}
    paused = catalog.with_columns(status=pl.when(pl.col("ad_id") == arm["ad_id"]).then(pl.lit("paused")).otherwise("status"))
    learned_copy.store.lake.write("ad_catalog", day, paused)
    assert learned_copy.run(day, "budget_allocation").success
    gone = states(learned_copy).filter(as_of=day, metric="ctr", **of_arm).row(0, named=True)
    assert (gone["live"], gone["share"], gone["p_best"], gone["last_live"]) == (False, None, None, day - timedelta(days=1))
    assert gone["events"] == pytest.approx(
        before.filter(as_of=day - timedelta(days=1), metric="ctr", **of_arm)["events"][0] * 0.99
    )
    learned_copy.store.lake.write("ad_catalog", day, catalog)
    assert learned_copy.run(day, "budget_allocation").success
    assert_frame_equal(states(learned_copy), before)


def test_the_running_days_hours_count_until_the_day_is_whole(learned_copy: Learned):
    """Intraday: of an account whose day is not complete clicks of the hours that have come, each refresh in place of the one before."""
    day, before = learned_copy.days[-1], states(learned_copy)
    store = learned_copy.store
    whole, hours = store.lake.read("actuals", day), store.lake.read("actuals_hourly", day)
    account = before.filter("live", as_of=day)["account_id"][0]
    running = whole.with_columns(complete=pl.col("complete") & (pl.col("account_id") != account))
    store.lake.write("actuals", day, running)
    mine = {"as_of": day, "account_id": account, "metric": "ctr"}
    for until in (9, 15):
        store.lake.write("actuals_hourly", day, hours.filter(pl.col("hour") < until))
        assert learned_copy.run(day, "budget_allocation").success
        found = states(learned_copy).filter("live", **mine)
        come = hours.filter(pl.col("hour") < until, account_id=account).group_by("ad_id").agg(pl.col("link_clicks").sum())
        known = found.join(come, on="ad_id")
        assert known.height > 2
        assert known["day_events"].to_list() == known["link_clicks"].to_list()
    store.lake.write("actuals", day, whole)
    assert learned_copy.run(day, "budget_allocation").success
    assert_frame_equal(states(learned_copy), before)


def test_a_registered_arm_lives_on_its_day_and_later_if_the_catalog_has_it(learned_copy: Learned):
    day = learned_copy.days[-1]
    arm = states(learned_copy).filter("live", as_of=day).row(0, named=True)
    learned_copy.store.bandits.register(arm["account_id"], arm["experiment_id"], ["new"], day, PIPELINE)
    assert learned_copy.run(day, "budget_allocation").success
    (row,) = states(learned_copy).filter(as_of=day, ad_id="new", metric="ctr").to_dicts()
    assert row["live"]
    assert row["origin"] == "registered"
    assert row["share"] >= 0.05


def test_an_archives_tests_are_shared_week_by_week(make_world: MakeWorld, tmp_path: Path):
    """Its arms have no budgets, no hours and one step each, and a week without tests is a step, too."""
    rows = [
        f"{week}-{n},{week},headline {arm} of {n},1000,{20 + 10 * arm}"
        for week in ("202551", "202601")
        for n in range(2)
        for arm in range(2)
    ]
    (tmp_path / "tests.csv").write_text("\n".join(["experiment,time,headline,impressions,clicks", *rows]))
    world = make_world(source="archive", archive={"path": tmp_path / "tests.csv"})
    weeks = (date(2025, 12, 21), date(2025, 12, 28), date(2026, 1, 4))
    for week in weeks:
        world.store.register(world.source.accounts())
        for asset in ("ad_catalog", "actuals", "budget_allocation"):
            result = world.run(week, asset)
            assert result.success, failure(result)
    state = world.table("thompson_arms", metric="ctr")
    for week, live in zip(weeks, (4, 0, 4), strict=True):
        assert state.filter("live", as_of=week).height == live
    now = state.filter("live", as_of=weeks[-1]).sort("experiment_id", "events")
    assert now["events"].to_list() == [20, 30, 20, 30]
    assert now["share"].to_list() == pytest.approx([0.5] * 4)
    assert now["p_best"].to_list() == pytest.approx([0.08, 0.92] * 2, abs=0.03)
    assert now["target_micros"].null_count() == 4
    assert state.filter(~pl.col("live"), as_of=weeks[-1])["events"].max() == pytest.approx(30 * 0.99**14)


def test_new_delivery_shares_the_running_day_without_ending_it(learned_copy: Learned):
    """The job `decide`: the hours that have come count, and the cycle can still learn the day before and this one."""
    day = learned_copy.days[-1] + timedelta(days=1)
    world = World.of(learned_copy.settings.model_copy(update={"now": datetime.combine(day, time(15), UTC)}))
    for job in ("actuals_refresh", "decide"):
        result = world.definitions.resolve_job_def(job).execute_in_process(
            run_config=QUIET_CONSOLE, partition_key=str(day), instance=world.instance, raise_on_error=False
        )
        assert result.success, failure(result)
    now = states(learned_copy).filter("live", as_of=day, metric="ctr")
    come = world.store.lake.read("actuals_hourly", day).group_by("account_id", "ad_id").agg(pl.col("link_clicks").sum())
    assert come["link_clicks"].sum() > 0
    known = now.join(come, on=["account_id", "ad_id"])
    assert known.height > 20
    assert known["day_events"].to_list() == known["link_clicks"].to_list()
    assert now["prior_from"].to_list().count("ensemble") > 20, "the newest predictions are those of the day before"
    assert learned_copy.store.newest_day("budget_allocation") == learned_copy.days[-1]
    before = states(learned_copy).filter(pl.col("as_of") < day)
    assert learned_copy.run(learned_copy.days[-1], "budget_allocation").success
    assert_frame_equal(states(learned_copy).filter(pl.col("as_of") < day), before)
