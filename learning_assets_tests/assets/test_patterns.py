"""Patterns: they rest on the facts of their window, live from day to day, and stay behind the walls."""

import itertools
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.assets.attributes import ATTRIBUTES, bins_of, described, measured
from learning_assets.learning import lift
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, MakeWorld, World, failure, materialized, metadata

KEY = list(lift.KEY)
AD = ["account_id", "ad_id"]
COUNTS = ["impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros"]


def window(world: Learned, until: date) -> pl.DataFrame:
    """The window's facts by ad and week with what the creatives say, added up day by day from the stored days themselves."""
    days = world.store.lake.days("actuals", last=until)
    week = pl.col("date") + pl.duration(days=7 - pl.col("date").dt.weekday())
    facts = pl.concat([world.store.lake.read("actuals", day) for day in days]).with_columns(week=week)
    listed = pl.concat(
        [
            world.store.lake.read("ad_catalog", day).filter(pl.col("status") != "scheduled").with_columns(date=pl.lit(day))
            for day in days
        ]
    ).with_columns(week=week)
    ads = listed.sort("date").group_by(*AD, "week").agg(pl.col("creative_id", "audience").last())
    sums = facts.group_by(*AD, "week").agg(pl.col(COUNTS).sum())
    creatives = described(measured(world.store), bins_of(world.store, until))
    return (
        sums.join(ads, on=[*AD, "week"])
        .join(creatives, on=["account_id", "creative_id"], how="left")
        .with_columns(experiment_id=pl.lit(None, pl.String))
    )


def times(world: Learned, until: date) -> pl.LazyFrame:
    """The window's facts by ad, week and weekday, and by ad, week and part of the day, row by row from the stored days."""
    days = world.store.lake.days("actuals", last=until)
    week = pl.col("date") + pl.duration(days=7 - pl.col("date").dt.weekday())
    daily = pl.concat([world.store.lake.read("actuals", day) for day in days])
    hourly = world.store.lake.scan("actuals_hourly", days[0], until).collect()
    (edges,) = bins_of(world.store, until).filter(attribute="posting_hour")["edges"].to_list()
    bounds = [0, *map(int, edges), 24]
    parts = {hour: f"{low:02d} to {high:02d} h" for low, high in itertools.pairwise(bounds) for hour in range(low, high)}
    named = [
        daily.with_columns(attribute=pl.lit("posting_weekday"), value=pl.col("date").dt.strftime("%a")),
        hourly.with_columns(attribute=pl.lit("posting_hour"), value=pl.col("hour").replace_strict(parts)),
    ]
    counted = [rows.with_columns(week=week).group_by("week", *AD, "attribute", "value") for rows in named]
    sums = [counted[0].agg(pl.col(COUNTS).sum()), counted[1].agg(pl.col("impressions", "link_clicks", "spend_micros").sum())]
    return pl.concat(sums, how="diagonal").select(lift.TIMES.names()).lazy()


def test_the_newest_patterns_are_those_of_the_facts_up_to_their_day(learned: Learned):
    """All scopes and families, computed anew from the stored days; nothing of the store's kept sums is used."""
    day = learned.days[-1]
    facts, rules, hours = window(learned, day), learned.settings.patterns, times(learned, day)
    scopes: list[lift.Scope] = ["account", "all"]
    found = pl.concat(
        [
            part
            for scope in scopes
            for part in (
                lift.mine(facts, ATTRIBUTES, rules, scope),
                lift.mine_pairs(facts, rules.pairs, rules, scope),
                lift.mine_times(lift.compare_times(hours), rules, scope),
            )
        ]
    )
    assert {"posting_hour", "posting_weekday", "headline_length", "copy_length"} <= set(found["attribute"])
    assert found.filter(pl.col("attribute").str.contains(lift.PAIR)).height > 0
    stored = learned.table("learning_patterns", as_of=day)
    tested = stored.filter(pl.col("note").is_null() | (pl.col("note") != "not_tested"))
    assert_frame_equal(
        tested.select(lift.FOUND.names()).sort(KEY),
        found.sort(KEY),
        check_dtypes=False,
        check_exact=False,
        rel_tol=1e-6,
        abs_tol=1e-9,
    )
    assert stored.filter(pl.col("scope") == "all").height > 100


def test_each_day_is_the_day_before_carried_on(learned: Learned):
    states = [learned.table("learning_patterns", as_of=day) for day in learned.days]
    for day, before, now in zip(learned.days[1:], states, states[1:], strict=False):
        found = now.filter(pl.col("note").is_null() | (pl.col("note") != "not_tested")).select(lift.FOUND.names())
        expected = lift.advance(before, found, day, learned.settings.patterns)
        assert_frame_equal(now.select(expected.columns).sort(KEY), expected.sort(KEY), check_dtypes=False)
        assert before.join(now, on=KEY, how="anti", nulls_equal=True).is_empty(), "what was known once is not dropped"
    first, last = states[0].filter(status="active"), states[-1].filter(status="active")
    assert first.height > 0
    assert set(first["discovered_at"]) == {learned.days[0]}
    assert set(first["validation_count"]) == {1}
    lasting = last.join(first.select(KEY), on=KEY, nulls_equal=True)
    assert lasting.height > 0
    assert set(lasting["discovered_at"]) == set(lasting["since"]) == {learned.days[0]}
    assert lasting["validation_count"].max() == len(learned.days)
    assert lasting["last_validated"].max() == learned.days[-1]


def test_only_what_proved_itself_is_active(learned: Learned):
    """Each became active on a day on which it met every bound."""
    rules = learned.settings.patterns
    rows = learned.table("learning_patterns")
    began = rows.filter(pl.col("status") == "active", pl.col("as_of") == pl.col("discovered_at"))
    assert began.height > 0
    assert (began["q_value"] <= rules.q_active).all()
    assert (began.select(pl.min_horizontal("ads_with", "ads_without")).to_series() >= rules.min_ads).all()
    assert (began["strata"] >= rules.min_strata).all()
    assert (began.filter(scope="all")["accounts"] >= rules.min_accounts).all()
    suggestive, deprecated = rows.filter(note="suggestive"), rows.filter(note="weak")
    assert (suggestive["status"] == "testing").all()
    assert (suggestive["accounts"] < rules.min_accounts).all()
    assert (deprecated["status"] == "deprecated").all()
    assert (deprecated["weak_days"] >= rules.deprecate_days).all()


def test_an_account_sees_its_own_patterns_and_those_of_all(learned: Learned):
    day = learned.days[-1]
    everything = learned.table("learning_patterns", as_of=day)
    owners = dict(learned.store.accounts(PIPELINE).select("account_id", "owner").iter_rows())
    assert everything.filter(pl.col("owner").is_null()).equals(everything.filter(scope="all"))
    own = everything.filter(scope="account")
    assert own["owner"].to_list() == [owners[account] for account in own["account_id"]]
    seen = learned.table("learning_patterns", Wall("owner_0002"), as_of=day)
    assert set(seen["account_id"]) == {"4000003", None}
    assert seen.filter(scope="all").height == everything.filter(scope="all").height


@pytest.mark.parametrize(("accounts", "scopes"), [(4, {"account"}), (5, {"account", "all"})])
def test_patterns_over_all_need_five_owners(make_world: MakeWorld, accounts: int, scopes: set[str]):
    world = make_world(sandbox={"accounts": accounts, "ads": 6})
    day = date(2026, 2, 20)
    result = world.run(day, "ad_catalog", "actuals", "creative_dna", "patterns", replaying=True)
    assert result.success
    assert set(world.table("learning_patterns")["scope"]) == scopes


def test_a_niche_is_mined_where_five_owners_of_it_consent(make_world: MakeWorld):
    world = make_world(sandbox={"accounts": 6, "ads": 6})
    day = date(2026, 2, 20)
    assert world.run(day, "ad_catalog", "actuals", "creative_dna").success
    accounts = world.store.accounts(PIPELINE)["account_id"].to_list()
    for account in accounts[:5]:
        world.store.set_niche(account, "beauty", "Ada")
    with pytest.raises(ValueError, match="There is no niche 'beuty'; there are fitness"):
        world.store.set_niche(accounts[5], "beuty", "Ada")
    with pytest.raises(ValueError, match="There is no account 17"):
        world.store.set_niche("17", "beauty", "Ada")
    assert world.run(day, "patterns").success
    found = world.table("learning_patterns")
    niche = found.filter(scope="niche")
    assert set(niche["niche"]) == {"beauty"}
    assert niche["owner"].null_count() == niche["account_id"].null_count() == niche.height > 0
    assert niche["accounts"].max() == 5
    assert found.filter(pl.col("scope") != "niche")["niche"].null_count() == found.height - niche.height
    detected = dict(world.store.detected_niches().select("account_id", "niche").iter_rows())
    world.store.set_niche(accounts[0], None, "Ada")
    expected = [detected[accounts[0]], *["beauty"] * 4, detected[accounts[5]]]
    assert world.store.accounts(PIPELINE)["niche"].to_list() == expected
    assert world.store.niches() == []


# -- which day may be learned


def test_an_older_day_is_refused_with_the_remedy_and_nothing_changes(learned_copy: Learned):
    day, before = learned_copy.days[-3], learned_copy.table("learning_patterns")
    result = learned_copy.run(day)
    assert failure(result) == (
        f"patterns: patterns of {day} rests on the state of the day before, and days up to {learned_copy.days[-1]} were learned from it. "
        f"To learn {day} and all later days anew: learning-assets replay --from {day}"
    )
    assert "snapshots" not in materialized(result)
    assert result.retry_attempts_for_node("patterns") == 0
    assert learned_copy.table("learning_patterns").equals(before)


def test_a_day_too_far_ahead_is_refused_with_the_days_between(learned_copy: Learned):
    ahead = learned_copy.days[-1] + timedelta(days=2)
    result = learned_copy.run(ahead, "patterns")
    assert failure(result).endswith(f"learning-assets replay --from {ahead - timedelta(days=1)} --to {ahead}")
    assert learned_copy.table("learning_patterns", as_of=ahead).is_empty()


def test_the_newest_day_is_replaced_by_itself(learned_copy: Learned):
    day, before = learned_copy.days[-1], learned_copy.table("learning_patterns")
    result = learned_copy.run(day, "patterns")
    assert result.success
    assert_frame_equal(learned_copy.table("learning_patterns"), before, check_row_order=False)
    written = learned_copy.table("asset_days", asset="patterns", day=day)
    assert (written["revision"].item(), written["rows"].item()) == (2, before.filter(as_of=day).height)


def test_a_replayed_day_takes_the_later_ones_away(learned_copy: Learned):
    kept, again = learned_copy.days[:4], learned_copy.days[3]
    before = learned_copy.table("learning_patterns").filter(pl.col("as_of").is_in(kept[:3]))
    assert learned_copy.run(again, "patterns", replaying=True).success
    after = learned_copy.table("learning_patterns")
    assert after["as_of"].unique().sort().to_list() == list(kept)
    assert_frame_equal(after.filter(pl.col("as_of") < again), before, check_row_order=False)
    assert learned_copy.store.newest_day("patterns") == again
    assert learned_copy.store.newest_day("snapshots") == learned_copy.days[-1]


# -- experiments


def archive(world_of: MakeWorld, path: Path, mismatched: int) -> World:
    """Twelve tests of two headlines, a question against none, of which the last `mismatched` got twice the traffic on one arm."""
    rows = [
        {
            "experiment": f"t{test:02}",
            "time": 201442 + test % 3,
            "headline": f"Would you believe story number {test}?" if question else f"The story of number {test}, told in full",
            "impressions": 40_000 if question and test >= 12 - mismatched else 20_000,
            "clicks": 400 + 10 * test + 100 * question,
        }
        for test in range(12)
        for question in (False, True)
    ]
    pl.DataFrame(rows).write_csv(path)
    return world_of(source="archive", archive={"path": path})


def learn_archive(world: World) -> dict:
    for sunday in (date(2014, 10, 19), date(2014, 10, 26)):
        assert world.run(sunday, "ad_catalog", "actuals", "creative_dna", replaying=True).success
    result = world.run(date(2014, 11, 2), "ad_catalog", "actuals", "creative_dna", "patterns", replaying=True)
    assert result.success
    return metadata(result, "patterns")


def of_questions(world: World) -> pl.DataFrame:
    rows = world.table("learning_patterns", attribute="hook_types", value="question", metric="ctr")
    return rows.select("evidence", "strata", "ads_with", "impressions", "log_lift")


def test_arms_that_were_drawn_are_randomized_evidence(make_world: MakeWorld, tmp_path: Path):
    world = archive(make_world, tmp_path / "tests.csv", mismatched=0)
    shown = learn_archive(world)
    (row,) = of_questions(world).to_dicts()
    assert (row["evidence"], row["strata"], row["ads_with"], row["impressions"]) == ("randomized", 12, 12, 240_000)
    clicks = sum(400 + 10 * test for test in range(12))
    assert row["log_lift"] == pytest.approx(pl.Series([(clicks + 1_200) / clicks]).log().item())
    assert shown["sample_ratio_mismatches"] == 0


def test_an_experiment_with_other_traffic_than_planned_gives_no_randomized_evidence(make_world: MakeWorld, tmp_path: Path):
    world = archive(make_world, tmp_path / "tests.csv", mismatched=3)
    shown = learn_archive(world)
    rows = {row["evidence"]: row for row in of_questions(world).to_dicts()}
    assert (rows["randomized"]["strata"], rows["randomized"]["impressions"]) == (9, 180_000)
    assert (rows["observational"]["ads_with"], rows["observational"]["impressions"]) == (3, 120_000)
    assert rows["observational"]["strata"] == 3, "what is left of them is compared by week"
    assert shown["sample_ratio_mismatches"] == 3
