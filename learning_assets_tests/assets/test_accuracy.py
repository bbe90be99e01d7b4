"""Prediction accuracy: one definition, over what was predicted and what happened; what could have known its day is refused."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.learning import accuracy
from learning_assets.learning.accuracy import MEASURES
from learning_assets.store.walls import Wall
from learning_assets_tests.world import Learned, failure, metadata

AD_DAY = ["date", "account_id", "ad_id"]
WHAT = ["model", "metric", "made"]
EVERYWHERE = ("account_mean", "own_history", "xgboost", "ensemble", "fixed_vote")
"""Models that speak of every ad; the DNA score says nothing of the first days."""
MEASURED = list(MEASURES)


def compared(world: Learned, day: date) -> pl.DataFrame:
    """The week's predictions beside what happened, put together by hand from the stored days."""
    lake, rows = world.store.lake, []
    for past in (day - timedelta(days=n) for n in range(7)):
        if past - timedelta(days=1) not in lake.days("predictions"):
            continue
        predicted = lake.read("predictions", past - timedelta(days=1)).filter(metric="ctr")
        plain = {
            name: predicted.filter(model=model).select("ad_id", pl.col("predicted").alias(name))
            for model, name in (("account_mean", "baseline_account"), ("own_history", "baseline_history"))
        }
        happened = lake.read("actuals", past).select(*AD_DAY, "impressions", "link_clicks")
        told = predicted.select(*AD_DAY, *WHAT, "predicted").join(happened, on=AD_DAY)
        for frame in plain.values():
            told = told.join(frame, on="ad_id", how="left")
        listed = world.source.catalog(past).rows.select("ad_id", "audience", "template")
        rows.append(told.join(listed, on="ad_id", how="left"))
    return pl.concat(rows)


def stored(world: Learned, day: date, **which: Any) -> pl.DataFrame:
    """Figures of a day, of CTR where nothing else is asked for."""
    asked: dict[str, Any] = {"metric": "ctr"} | which
    return world.table("prediction_comparisons", as_of=day, **asked)


def assert_same(found: pl.DataFrame, expected: pl.DataFrame, key: list[str]) -> None:
    assert found.height == expected.height > 0
    columns = [*key, *MEASURED]
    assert_frame_equal(
        found.select(columns).sort(key), expected.select(columns).sort(key), check_dtypes=False, check_exact=False, rel_tol=1e-6
    )


def test_the_stored_figures_are_those_of_the_definition(learned: Learned):
    day = learned.days[-1]
    rows, rules = compared(learned, day), learned.settings.accuracy
    everything = stored(learned, day)
    of_all = everything.filter(pl.col("segment") == "all")
    pool = of_all.filter(pl.col("account_id").is_null())
    assert_same(pool, accuracy.measure(rows, WHAT, rules), WHAT)
    assert set(pool["model"]) == {*EVERYWHERE, "dna_score"}
    assert pool.filter(pl.col("model").is_in(EVERYWHERE))["ad_days"].to_list() == [7 * 72] * len(EVERYWHERE)
    by_account = of_all.filter(pl.col("account_id").is_not_null())
    assert_same(by_account, accuracy.measure(rows, ["account_id", *WHAT], rules), ["account_id", *WHAT])
    for segment in ("template", "audience"):
        of_it = everything.filter(pl.col("segment") == segment)
        expected = accuracy.measure(rows, [*WHAT, segment], rules).rename({segment: "segment_value"})
        assert_same(of_it, expected, ["segment_value", *WHAT])
        assert of_it.filter(model="xgboost")["impressions"].sum() == pool.filter(model="xgboost")["impressions"].item()
    assert everything.height == pool.height + by_account.height + everything.filter(pl.col("segment") != "all").height


def test_figures_of_an_account_are_its_owners_and_those_of_the_pool_nobodys(learned: Learned):
    rows = stored(learned, learned.days[-1])
    assert set(rows["pool"]) == {"shared"}
    assert rows.filter(pl.col("account_id").is_null())["owner"].null_count() == rows["account_id"].null_count()
    seen = learned.table("prediction_comparisons", Wall("owner_0003"), as_of=learned.days[-1])
    assert set(seen["account_id"]) == {"4000004", None}


def test_the_first_day_has_nothing_to_compare(learned: Learned):
    first = learned.days[0]
    assert stored(learned, first).is_empty()
    written = learned.table("asset_days", asset="prediction_accuracy", day=first)
    assert written["rows"].to_list() == [0]
    assert stored(learned, learned.days[1], segment="all", model="xgboost").height == 7


def test_a_second_look_at_a_day_is_a_new_revision_and_says_the_same(learned_copy: Learned):
    """The asset is a function of its window: an older day may be measured anew, alone."""
    day = learned_copy.days[3]
    before = learned_copy.table("prediction_comparisons")
    result = learned_copy.run(day, "prediction_accuracy")
    assert result.success
    after = learned_copy.table("prediction_comparisons")
    assert set(after.filter(as_of=day)["revision"]) == {2}
    assert set(after.filter(pl.col("as_of") != day)["revision"]) == {1}
    assert after.height == before.height
    assert after.filter(pl.col("as_of") != day).drop("revision").equals(before.filter(pl.col("as_of") != day).drop("revision"))
    shown = metadata(result, "prediction_accuracy")
    xgboost = (
        after.filter(as_of=day, segment="all", model="xgboost", metric="ctr")
        .filter(pl.col("account_id").is_null())
        .row(0, named=True)
    )
    for name in ("accuracy", "wape", "noise_floor", "skill", "calibration_ratio", "log_loss"):
        assert shown[f"ctr_xgboost_{name}"] == pytest.approx(xgboost[name])
    assert shown["ad_days_compared"] > len(EVERYWHERE) * 3 * 72


def test_a_prediction_that_may_know_its_day_is_refused_and_the_figures_stay(learned_copy: Learned):
    day, lake = learned_copy.days[-1], learned_copy.store.lake
    before = stored(learned_copy, day)
    made = lake.read("predictions", day - timedelta(days=1))
    lake.write("predictions", day - timedelta(days=1), made.with_columns(as_of=pl.lit(day)))
    result = learned_copy.run(day, "prediction_accuracy")
    said = failure(result)
    assert said.startswith(f"prediction_accuracy: {made.height} of ")
    assert f"may know their target day. First: account_id 4000001, ad_id {made['ad_id'][0]}" in said
    assert f"for {day} from facts up to {day}. Predict each day from facts of earlier days only" in said
    assert stored(learned_copy, day).equals(before)


def test_what_cannot_be_measured_is_null_with_the_reason(learned_copy: Learned):
    day = learned_copy.days[-1]
    demanding = learned_copy.again(accuracy={"min_impressions": 10**9})
    result = demanding.run(day, "prediction_accuracy")
    assert result.success
    rows = stored(learned_copy, day)
    assert set(rows["status"]) == {"insufficient_data"}
    assert set(rows["reason"]) == {"No ad-day has 1000000000 impressions, a prediction and a known result."}
    for name in ("accuracy", "wape", "noise_floor", "mae", "log_loss", "skill", "calibration_ratio"):
        assert rows[name].null_count() == rows.height
    shown = metadata(result, "prediction_accuracy")
    assert "ctr_xgboost_accuracy" not in shown, "nothing is drawn where nothing is known"


def test_a_prediction_of_an_ad_that_did_not_run_is_not_compared(learned_copy: Learned):
    day, lake = learned_copy.days[-1], learned_copy.store.lake
    rows = lake.read("actuals", day)
    lake.write("actuals", day, rows.tail(rows.height - 10))
    assert learned_copy.run(day, "prediction_accuracy").success
    pool = stored(learned_copy, day, segment="all").filter(pl.col("account_id").is_null())
    assert pool.filter(pl.col("model").is_in(EVERYWHERE))["ad_days"].to_list() == [7 * 72 - 10] * len(EVERYWHERE)
