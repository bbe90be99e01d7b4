"""Snapshots: the day's totals and the growth of each account, and what may be said over all of them."""

from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.learning import growth
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, MakeWorld, metadata

COUNTS = ["impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros"]


def totals(world: Learned, until: date) -> pl.DataFrame:
    """Totals of accounts and days as they were known at the end of `until`: the stored days, but for what was restated since."""
    lake, key = world.store.lake, ["date", "account_id", "ad_id"]
    now = pl.concat(lake.read("actuals", day) for day in lake.days("actuals", last=until))
    restated = pl.concat(lake.read("actuals_asof", day) for day in lake.days("actuals_asof"))
    then = (
        restated.filter(pl.col("known_until") >= until, pl.col("date") <= until).sort("known_until").unique(key, keep="first")
    )
    facts = pl.concat([then.drop("known_until"), now.join(then, on=key, how="anti")])
    return facts.group_by("account_id", "date").agg(pl.len().alias("ads"), pl.col(COUNTS).sum())


def snapshots(world: Learned, day: date) -> tuple[pl.DataFrame, dict]:
    """The rows of accounts, and the one over all."""
    rows = world.table("improvement_snapshots", as_of=day)
    (whole,) = rows.filter(pl.col("account_id").is_null()).to_dicts()
    return rows.filter(pl.col("account_id").is_not_null()).sort("account_id"), whole


def test_an_accounts_row_holds_its_day(learned: Learned):
    day = learned.days[-1]
    rows, _ = snapshots(learned, day)
    expected = totals(learned, day).filter(pl.col("date") == day).sort("account_id")
    assert_frame_equal(
        rows.select("account_id", "ads", *COUNTS), expected.select("account_id", "ads", *COUNTS), check_dtypes=False
    )
    for row in rows.to_dicts():
        assert row["ctr"] == pytest.approx(row["link_clicks"] / row["impressions"])
        assert row["cvr"] == pytest.approx(row["conversions"] / row["link_clicks"])
        assert row["roas"] == pytest.approx(row["revenue_micros"] / row["spend_micros"])
    registered = learned.store.accounts(PIPELINE)
    assert rows.select("account_id", "owner", "currency").equals(registered.select("account_id", "owner", "currency"))
    assert rows["models"].null_count() == 6, "models belong to pools"


def test_an_accounts_growth_is_that_of_its_history_as_it_was_known_then(learned: Learned):
    for day in (learned.days[0], learned.days[3], learned.days[-1]):
        rows, whole = snapshots(learned, day)
        grown = growth.measure(totals(learned, day), day, learned.settings.growth)
        assert_frame_equal(rows.select(growth.GROWTH.names()), grown.sort("account_id"), check_exact=False, rel_tol=1e-6)
        over_all = growth.over_all(grown, learned.settings.growth).row(0, named=True)
        for name in ("improvement_factor", "improvement_low", "improvement_high"):
            assert whole[name] == pytest.approx(over_all[name])


def test_too_short_a_history_is_said_and_not_guessed(learned: Learned):
    """33 days of facts on the first learned day: a baseline, and too few days after it for any projection."""
    rows, whole = snapshots(learned, learned.days[0])
    assert set(rows["status"]) == {"insufficient_data"}
    for name in ("projected_30", "projected_365", "damped_30", "on_track_for_10x"):
        assert rows[name].null_count() == 6
    assert rows["reason_30"].null_count() == rows["reason_on_track"].null_count() == 0
    assert (whole["status"], whole["improvement_factor"]) == ("insufficient_data", None)
    assert whole["reason"] == "0 of 6 accounts have history enough to be measured."
    later, _ = snapshots(learned, learned.days[-1])
    assert later["projected_30"].null_count() == 0
    assert later["projected_365"].null_count() == later["on_track_for_10x"].null_count() == 6


def test_currencies_are_not_added(learned: Learned):
    rows, whole = snapshots(learned, learned.days[-1])
    assert rows["currency"].n_unique() > 1
    assert [whole[name] for name in ("currency", "spend_micros", "revenue_micros", "roas")] == [None] * 4
    assert whole["impressions"] == rows["impressions"].sum()
    assert whole["ads"] == rows["ads"].sum() == 72
    assert whole["ctr"] == pytest.approx(sum(rows["link_clicks"]) / sum(rows["impressions"]))
    assert whole["owner"] is None


def test_one_currency_is_shown(make_world: MakeWorld):
    world, day = make_world(sandbox={"accounts": 1, "ads": 6}), date(2026, 2, 20)
    world.fetch(day, day)
    assert world.run(day, "snapshots").success
    (one,) = world.table("improvement_snapshots").filter(pl.col("account_id").is_not_null()).to_dicts()
    (whole,) = world.table("improvement_snapshots").filter(pl.col("account_id").is_null()).to_dicts()
    for name in ("currency", "spend_micros", "revenue_micros", "roas", "impressions"):
        assert whole[name] == one[name] is not None


def test_what_was_learned_by_the_day_is_counted(learned: Learned):
    for day in learned.days:
        rows, whole = snapshots(learned, day)
        patterns = learned.table("learning_patterns", as_of=day)
        assert (whole["patterns"], whole["active_patterns"]) == (patterns.height, patterns.filter(status="active").height)
        assert whole["models"] == learned.table("models", until=day).height
        own = patterns.filter(scope="account").group_by("account_id").len("patterns").sort("account_id")
        assert_frame_equal(rows.select("account_id", "patterns"), own, check_dtypes=False)


def test_an_owner_sees_the_own_account_and_the_whole(learned: Learned):
    seen = learned.table("improvement_snapshots", Wall("owner_0001"), as_of=learned.days[-1])
    assert set(seen["account_id"]) == {"4000002", None}


def test_any_day_may_be_measured_anew_alone(learned_copy: Learned):
    day, before = learned_copy.days[2], learned_copy.table("improvement_snapshots")
    result = learned_copy.run(day, "snapshots")
    assert result.success
    after = learned_copy.table("improvement_snapshots")
    assert after.height == before.height
    later = pl.col("as_of") != day
    assert_frame_equal(after.filter(later), before.filter(later), check_row_order=False)
    rows, whole = snapshots(learned_copy, day)
    shown = metadata(result, "snapshots")
    assert shown["dagster/row_count"] == 7
    assert shown["impressions"] == whole["impressions"]
    assert shown["improvement_factor"] == pytest.approx(whole["improvement_factor"])
    assert "roas" not in shown
    counted = {name: shown[f"accounts_{name}"] for name in ("improving", "stable", "declining", "insufficient_data")}
    assert counted == {name: rows.filter(status=name).height for name in counted}


def test_the_audit_log_holds_every_day_of_the_replay(learned_copy: Learned):
    log = learned_copy.table("learning_cycle_log").sort("partition_day")
    assert log["partition_day"].to_list() == list(learned_copy.days)
    assert set(log["status"]) == {"success"}
    assert log["run_id"].n_unique() == 8
    result = learned_copy.run(learned_copy.days[-1], "learning_cycles")
    assert result.success
    shown = metadata(result, "learning_cycles")
    assert (shown["runs"], shown["runs_failed"], shown["cycles"], shown["success_rate"]) == (8, 0, 8, 1.0)
    assert shown["median_cycle_seconds"] == pytest.approx(log["seconds"].median())
