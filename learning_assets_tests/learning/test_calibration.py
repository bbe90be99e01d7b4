"""Predicted against happened in bins: their weights, their intervals, and what they refuse."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.learning.calibration import BINS, jeffreys, table

FIRST = date(2026, 2, 1)


def compared(seed: int, ads: int = 200, days: int = 7, spread: float = 0.0, factor: float = 1.0) -> pl.DataFrame:
    """Ads that are `factor` times as good as predicted, and beyond that off by a log-normal error of their own."""
    rng = np.random.default_rng(seed)
    predicted = 0.015 * np.exp(0.4 * rng.standard_normal(ads))
    rate = factor * predicted * np.exp(spread * rng.standard_normal(ads) - spread**2 / 2)
    seen = rng.poisson(1_000, (days, ads)) + 1
    return pl.DataFrame(
        {
            "date": [FIRST + timedelta(days=n) for n in range(days) for _ in range(ads)],
            "account_id": np.tile(np.arange(ads) % 7, days).astype(str),
            "ad_id": np.tile(np.arange(ads), days).astype(str),
            "predicted": np.tile(predicted, days),
            "num": rng.binomial(seen, np.minimum(rate, 1)).ravel(),
            "den": seen.ravel(),
        }
    ).with_columns(metric=pl.lit("ctr"))


def test_bins_are_of_equal_weight_and_sum_to_the_whole():
    rows = compared(1)
    found = table(rows, ["metric"], 10, 0.95)
    assert found.columns == ["metric", *BINS]
    assert found["bin"].to_list() == list(range(1, 11))
    assert found["weight"].sum() == rows["den"].sum()
    assert found["happened"].sum() == rows["num"].sum()
    assert found["weight"].max() / found["weight"].min() < 1.3  # type: ignore[operator]
    assert found["lowest"].to_list()[1:] > found["highest"].to_list()[:-1]
    first = rows.filter(pl.col("predicted") <= found["highest"][0])
    assert found["predicted"][0] == pytest.approx(float((first["predicted"] * first["den"]).sum()) / int(first["den"].sum()))
    assert found["rate"][0] == pytest.approx(int(first["num"].sum()) / int(first["den"].sum()))
    assert (found["ads"][0], found["ad_days"][0]) == (first["ad_id"].n_unique(), first.height)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_intervals_hold_the_prediction_of_a_model_that_is_right_on_average(spread: float):
    held = []
    for seed in range(40):
        found = table(compared(seed, spread=spread), ["metric"], 8, 0.95)
        held += found.select(pl.col("predicted").is_between("low", "high"))["predicted"].to_list()
    assert 0.92 <= np.mean(held) <= 0.99


def test_a_model_that_is_off_is_seen_to_be():
    found = table(compared(3, factor=0.7), ["metric"], 5, 0.95)
    assert (found["high"] < found["predicted"]).all()


def test_equal_predictions_share_a_bin_and_a_bin_of_one_ad_has_no_interval():
    (row,) = table(compared(1).with_columns(predicted=0.02), ["metric"], 10, 0.95).to_dicts()
    assert (row["bin"], row["lowest"], row["highest"]) == (1, 0.02, 0.02)
    (one,) = table(compared(1).filter(ad_id="3"), ["metric"], 10, 0.95).to_dicts()
    assert (one["low"], one["high"], one["ads"]) == (None, None, 1)


def test_unknown_results_are_left_out():
    rows = compared(1)
    gone = pl.concat(
        [rows, rows.with_columns(num=pl.lit(None, pl.Int64)), rows.with_columns(num=0, den=0)], how="vertical_relaxed"
    )
    assert_frame_equal(table(gone, ["metric"], 10, 0.95), table(rows, ["metric"], 10, 0.95))
    assert table(rows.clear(), ["metric"], 10, 0.95).is_empty()


def test_no_clicks_at_all_have_an_interval_from_zero():
    found = table(compared(1).with_columns(num=0), ["metric"], 4, 0.95)
    assert (found["low"] == 0).all()
    assert found["high"].is_between(0, 0.001, closed="none").all()


def test_money_is_no_count():
    rows = compared(1, spread=0.3).with_columns(
        num=pl.col("num") * 150_000_000, den=pl.col("den") * 1_000_000, metric=pl.lit("roas")
    )
    found = table(rows, ["metric"], 5, 0.95)
    assert (found["rate"] > 1).all()
    assert (found["low"] < found["rate"]).all()
    assert (found["rate"] < found["high"]).all()
    scaled = table(rows.with_columns(pl.col("num") * 3, pl.col("den") * 3), ["metric"], 5, 0.95)
    assert scaled["low"].to_list() == pytest.approx(found["low"].to_list())


@pytest.mark.parametrize(
    ("change", "bins", "said"),
    [
        (pl.lit("ctr").alias("metric"), 0, "one bin at least"),
        (pl.lit(-1).alias("num"), 5, "below 0"),
        (pl.when(pl.col("ad_id") > "5").then(pl.lit("ctr")).otherwise(pl.lit("cvr")).alias("metric"), 5, "several metrics"),
    ],
)
def test_what_makes_no_sense_is_refused(change: pl.Expr, bins: int, said: str):
    rows = compared(1).with_columns(change, model=pl.lit("m"))
    with pytest.raises(ValueError, match=said):
        table(rows, ["model"], bins, 0.95)


def test_a_share_of_trials_has_jeffreys_interval():
    assert jeffreys(2, 10, 0.95) == pytest.approx((0.0441, 0.5028), abs=1e-4)
    assert jeffreys(0, 3, 0.95)[0] == 0
    assert jeffreys(3, 3, 0.95)[1] == 1
    for happened, tried in ((0, 0), (4, 3), (-1, 3)):
        with pytest.raises(ValueError, match="is no share"):
            jeffreys(happened, tried, 0.95)
