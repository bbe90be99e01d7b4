"""Fatigue: what the facts say is stored, with what was ruled out; a function of the facts, whatever was learned before."""

from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.assets.fetching import of_day
from learning_assets.learning import fatigue
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import MANIFEST, REACH, Fetched
from learning_assets.settings import Fatigue, Sandbox
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, MakeWorld, Run, World, metadata

EPOCH = date(2026, 3, 2)
DAY = date(2026, 2, 28)
FIRST = date(2026, 1, 1)
MARKET = Sandbox(accounts=2, ads=40, impressions=20_000)
KEY = list(fatigue.KEY)


class Blind(SandboxSource):
    """The market, which does not say how many people were reached."""

    def reach(self, first: date, last: date) -> Fetched:  # noqa: ARG002
        return Fetched(REACH.to_frame(), MANIFEST.to_frame())


def lived(make_world: MakeWorld, source: SandboxSource) -> World:
    """A world with two months of facts, the week's people of each day among them."""
    world = make_world(source, sandbox=MARKET.model_dump())
    world.fetch(FIRST, DAY)
    for back in range(53):
        last = DAY - timedelta(days=back)
        found = of_day(source.reach(last - timedelta(days=6), last), last)
        world.store.lake.write("actuals_reach", last, found.rows.sort(KEY))
    return world


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return lived(make_world, SandboxSource(MARKET, EPOCH))


def test_what_is_stored_is_what_the_facts_say(world: World):
    result = world.run(DAY, "ad_fatigue")
    assert result.success
    rows, lake = world.table("ad_fatigue").sort(KEY), world.store.lake
    ads = pl.concat(
        lake.read("ad_catalog", day).filter(pl.col("status") != "scheduled").with_columns(date=pl.lit(day))
        for day in lake.days("ad_catalog")
    )
    expected = fatigue.judge(
        lake.scan("actuals", FIRST, DAY),
        fatigue.edits(ads.lazy(), Fatigue()),
        lake.scan("actuals_reach", FIRST, DAY),
        DAY,
        Fatigue(),
    )
    assert_frame_equal(rows.select(fatigue.FATIGUE.names()), expected)
    owners = dict(world.store.accounts(PIPELINE).select("account_id", "owner").iter_rows())
    assert rows["owner"].to_list() == [owners[account] for account in rows["account_id"]]
    # In a market in which ads tire with a half-life of three weeks, some have, and none for a reason that could be another.
    tired = rows.filter(pl.col("state").is_in(["limited", "fatigued"]))
    assert tired.height >= 2
    assert (tired["frequency_now"] >= 2.5).all()
    assert (tired["frequency_now"] > tired["frequency_then"]).all()
    assert all(sorted(causes) == sorted(fatigue.CAUSES) for causes in tired["ruled_out"])
    assert tired["remedy"].null_count() == 0
    shown = metadata(result, "ad_fatigue")
    assert shown["dagster/row_count"] == shown["ads"] == rows.height == 80
    assert shown["ads_limited"] + shown["ads_fatigued"] == tired.height
    assert sum(shown[f"ads_{state}"] for state in fatigue.STATES) == 80
    assert shown["ads_judged"] == rows["log_change"].count()
    assert tired["ad_id"][0] in shown["table"].replace("\\", "")
    assert "Simulated market" in shown["table"]
    assert shown["plot"].startswith("![plot](data:image/png;base64,")
    assert f"{tired.height} of {rows['log_change'].count()} ads that can be judged tire" in shown["summary"]
    assert world.check(DAY, "ad_fatigue", "sound").passed


def test_any_day_may_be_judged_alone_and_again(world: World):
    assert world.run(DAY, "ad_fatigue").success
    first = world.table("ad_fatigue").sort(KEY)
    earlier = DAY - timedelta(days=9)
    assert world.run(earlier, "ad_fatigue").success
    assert world.run(DAY, "ad_fatigue").success
    assert_frame_equal(world.table("ad_fatigue", as_of=DAY).sort(KEY), first)
    past = world.table("ad_fatigue", as_of=earlier)
    assert (past["baseline_until"].drop_nulls() < earlier - timedelta(days=6)).all()


def test_without_reach_none_is_more_than_watched_and_the_day_says_so(make_world: MakeWorld):
    world = lived(make_world, Blind(MARKET, EPOCH))
    result = world.run(DAY, "ad_fatigue")
    rows = world.table("ad_fatigue")
    assert set(rows["state"]) == {"none", "watch"}
    assert rows["frequency_now"].null_count() == rows.height
    blind = rows.filter(pl.col("state") == "watch", pl.col("cause").is_null())
    assert blind.height >= 2
    assert blind["reason"].str.contains("reach of one of the two weeks is not known").all()
    assert "Reach of the week is not known of any ad" in metadata(result, "ad_fatigue")["summary"]


def test_the_cycle_asks_for_reach_and_judges(learned: Learned):
    """Eight days of people are too few for a baseline's, so that nothing is more than watched."""
    assert learned.store.lake.days("actuals_reach") == list(learned.days)
    rows = learned.table("ad_fatigue")
    assert sorted(rows["as_of"].unique()) == list(learned.days)
    today = rows.filter(as_of=learned.days[-1])
    assert today["frequency_now"].null_count() == 0
    assert set(rows["state"]) <= {"none", "watch"}
    assert today["log_change"].count() > 20


def test_a_wall_hides_the_others_ads(learned: Learned):
    owner = learned.table("ad_fatigue")["owner"][0]
    assert learned.table("ad_fatigue", Wall(owner))["owner"].unique().to_list() == [owner]


def test_the_command_names_the_ads_with_a_suggestion(learned: Learned, run: Run):
    day = learned.days[-1]
    rows = learned.table("ad_fatigue", as_of=day)
    said = run("fatigue")
    assert said.exit_code == 0
    judged = rows["log_change"].count()
    assert f"As of {day} (simulated): 0 of {judged} ads that can be judged tire." in said.output
    watched = rows.filter(state="watch")
    assert watched.height >= 1
    account = watched["account_id"][0]
    said = run("fatigue", account, "--watched")
    for row in watched.iter_rows(named=True):
        assert (f"Ad {row['ad_id']} of account {account}: watch. {row['reason']}" in said.output) == (
            row["account_id"] == account
        )
        assert row["account_id"] != account or f"  - {row['remedy']}" in said.output
    wrong = run("fatigue", "999")
    assert (wrong.exit_code, "There is no account 999" in wrong.output) == (1, True)
