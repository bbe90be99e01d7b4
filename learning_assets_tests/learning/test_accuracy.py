"""Accuracy: each measure against an independent computation, the noise floor, skill, leaks, and what is unknown."""

import time
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss, mean_absolute_error, r2_score, root_mean_squared_error

from learning_assets.learning import accuracy
from learning_assets.settings import Accuracy

SETTINGS = Accuracy()


def comparisons(clicks, impressions, predicted, *, account=None, history=None, days=1, **columns) -> pl.DataFrame:
    """CTR comparisons of ads with `days` successive rows each; further columns as given."""
    n = len(clicks)
    rates = np.asarray(predicted, dtype=float)
    frame = {
        "date": [date(2025, 3, 1 + i % days) for i in range(n)],
        "account_id": ["a"] * n,
        "ad_id": [f"ad{i // days}" for i in range(n)],
        "model": ["xgb"] * n,
        "metric": ["ctr"] * n,
        "predicted": rates,
        "link_clicks": np.asarray(clicks, dtype=np.int64),
        "impressions": np.asarray(impressions, dtype=np.int64),
        "baseline_account": np.full(n, 0.02) if account is None else account,
        "baseline_history": np.full(n, 0.02) if history is None else history,
    }
    return pl.DataFrame(frame | columns, schema_overrides={"baseline_account": pl.Float64, "baseline_history": pl.Float64})


def simulated(rng, ads=400, days=7, impressions=1_000, spread=0.37, day_noise=0.0, median=0.015) -> pl.DataFrame:
    """Ads with log-normal CTR and a perfect prediction of it; `day_noise` is the deviation of the log rate of a day."""
    rate = np.repeat(median * np.exp(spread * rng.normal(size=ads)), days)
    n = np.full(ads * days, impressions)
    clicks = rng.poisson(n * rate * np.exp(day_noise * rng.normal(size=ads * days) - day_noise**2 / 2))
    return comparisons(clicks, n, rate, days=days)


def one(frame: pl.DataFrame, by=("model",), **arguments) -> dict:
    rows = accuracy.measure(frame, list(by), SETTINGS, **arguments)
    assert rows.height == 1
    assert dict(rows.select(accuracy.MEASURES.names()).schema) == dict(accuracy.MEASURES)
    return rows.row(0, named=True)


def test_errors_are_weighted_by_impressions():
    row = one(comparisons([10, 2, 30], [500, 100, 1_000], [0.03, 0.02, 0.02]))
    weights, rates, predicted = [500, 100, 1_000], [0.02, 0.02, 0.03], [0.03, 0.02, 0.02]
    assert row["wape"] == pytest.approx((5 + 0 + 10) / 42)
    assert row["accuracy"] == pytest.approx(1 - 15 / 42)
    assert row["mae"] == pytest.approx(mean_absolute_error(rates, predicted, sample_weight=weights))
    assert row["rmse"] == pytest.approx(root_mean_squared_error(rates, predicted, sample_weight=weights))
    assert row["r2"] == pytest.approx(r2_score(rates, predicted, sample_weight=weights))
    assert row["calibration_ratio"] == pytest.approx(42 / 37)
    assert (row["ads"], row["ad_days"], row["impressions"], row["actual"], row["expected"]) == (3, 3, 1_600, 42, 37.0)
    assert (row["status"], row["reason"]) == ("measured", None)


def test_log_loss_is_that_of_single_impressions():
    clicks, impressions, predicted = [10, 2, 30], [500, 100, 1_000], [0.03, 0.02, 0.02]
    row = one(comparisons(clicks, impressions, predicted))
    labels = np.tile([1, 0], 3)
    weights = np.array([(c, n - c) for c, n in zip(clicks, impressions, strict=True)]).ravel()
    expected = log_loss(labels, np.repeat(predicted, 2), sample_weight=weights)
    constant = log_loss(labels, np.full(6, 42 / 1_600), sample_weight=weights)
    assert row["log_loss"] == pytest.approx(expected)
    assert row["normalized_entropy"] == pytest.approx(expected / constant)


def test_accuracy_ends_at_zero_and_wape_does_not():
    row = one(comparisons([1, 1], [1_000, 1_000], [0.01, 0.02]))
    assert row["wape"] == pytest.approx(14)
    assert row["accuracy"] == 0


@settings(max_examples=60, deadline=None)
@given(mean=st.floats(0.01, 400), dispersion=st.one_of(st.just(1.0), st.floats(1.001, 20)))
def test_mean_deviation_is_the_expected_absolute_difference(mean, dispersion):
    size, chance = mean / max(dispersion - 1, 1e-12), 1 / dispersion
    k = np.arange(int(mean + 60 * np.sqrt(dispersion * mean) + 60 * dispersion + 60))
    mass = stats.poisson.pmf(k, mean) if dispersion == 1 else stats.nbinom.pmf(k, size, chance)
    expected = float(np.sum(np.abs(k - mean) * mass))
    assert accuracy.mean_deviation(np.array([mean]), np.array([dispersion]))[0] == pytest.approx(expected, rel=1e-6)


def test_mean_deviation_at_the_edges():
    means = np.array([0.0, 1e-9, 3.0, 1e6])
    poisson = accuracy.mean_deviation(means, np.array(1.0))
    assert poisson[0] == 0
    assert poisson[1] == pytest.approx(2e-9)
    assert poisson[3] == pytest.approx(np.sqrt(2e6 / np.pi), rel=1e-5)
    np.testing.assert_allclose(accuracy.mean_deviation(means, np.array(1 + 0.9e-4)), poisson, rtol=2e-4)
    np.testing.assert_allclose(accuracy.mean_deviation(means, np.array(1 + 1.1e-4)), poisson, rtol=2e-4)
    with pytest.raises(ValueError, match="dispersions of at least 1"):
        accuracy.mean_deviation(means, np.array(0.9))


@pytest.mark.parametrize(("impressions", "expected"), [(100, 0.38), (300, 0.64), (1_000, 0.80), (3_000, 0.89)])
def test_a_perfect_model_reaches_the_noise_floor_and_no_more(impressions, expected):
    row = one(simulated(np.random.default_rng(1), ads=2_000, impressions=impressions))
    assert 1 - row["noise_floor"] == pytest.approx(expected, abs=0.01)
    assert row["wape"] == pytest.approx(row["noise_floor"], rel=0.02)
    assert row["mae"] == pytest.approx(row["mae_floor"], rel=0.02)
    assert row["dispersion"] == pytest.approx(1, abs=0.03)


def test_the_noise_floor_follows_the_dispersion_of_days():
    row = one(simulated(np.random.default_rng(2), ads=2_000, impressions=4_000, spread=0.0, day_noise=0.2))
    # Variance of a day over its mean: 1 + expected clicks × (variance of the rate over its squared mean).
    assert row["dispersion"] == pytest.approx(1 + 60 * (np.exp(0.2**2) - 1), rel=0.05)
    assert row["wape"] == pytest.approx(row["noise_floor"], rel=0.03)


def test_a_wrong_model_does_not_raise_its_noise_floor():
    rng = np.random.default_rng(3)
    frame = simulated(rng, impressions=2_000)
    right = one(frame)
    doubled = one(frame.with_columns(predicted=pl.col("predicted") * 2))
    shuffled = one(frame.with_columns(predicted=pl.Series(np.repeat(rng.permutation(frame["predicted"][::7].to_numpy()), 7))))
    zero = one(frame.with_columns(predicted=pl.lit(0.0)))
    for wrong in (doubled, shuffled, zero):
        assert wrong["noise_floor"] == pytest.approx(right["noise_floor"], rel=0.1)
        assert wrong["dispersion"] == pytest.approx(right["dispersion"], abs=0.02)
        assert wrong["wape"] > 1.25 * wrong["noise_floor"]
    assert doubled["calibration_ratio"] == pytest.approx(0.5, abs=0.01)
    assert abs(np.log(doubled["calibration_ratio"])) > 3 * doubled["calibration_se"]
    assert abs(np.log(right["calibration_ratio"])) < 3 * right["calibration_se"]
    assert (zero["accuracy"], zero["calibration_ratio"]) == (0, None)


@pytest.mark.parametrize("mean", [0.15, 0.5, 1.6, 15])
@pytest.mark.parametrize("dispersion", [1.5, 2.0, 4.0])
def test_dispersion_is_right_however_few_clicks_an_ad_has(mean, dispersion):
    rng = np.random.default_rng(12)
    ads, days = 6_000, 7
    clicks = rng.negative_binomial(mean / (dispersion - 1), 1 / dispersion, ads * days)
    row = one(comparisons(clicks, np.full(ads * days, 1_000), np.full(ads * days, mean / 1_000), days=days))
    assert row["dispersion"] == pytest.approx(dispersion, rel=0.06)


def test_dispersion_is_unknown_where_no_ad_ran_twice():
    row = one(comparisons([10, 20], [1_000, 1_000], [0.015, 0.015]))
    assert row["dispersion"] is None
    poisson = accuracy.mean_deviation(np.array([15.0]), np.array([1.0]))[0] / 15
    assert row["noise_floor"] == pytest.approx(poisson)
    assert row["calibration_se"] == pytest.approx(np.sqrt(1 / 30))


def test_calibration_error_by_bins_of_equal_weight():
    # Forty rows of equal weight, two a bin: each bin is off by 0.01, by turns up and down, and the whole is not off at all.
    predicted = 0.02 + 0.001 * np.arange(40)
    clicks = (predicted * 10_000).round() + np.repeat(np.tile([100, -100], 10), 2)
    frame = comparisons(clicks, [10_000] * 40, predicted)
    row = one(frame.sample(fraction=1, shuffle=True, seed=1))
    assert row["calibration_ratio"] == pytest.approx(1)
    assert row["calibration_error"] == pytest.approx(0.01)


def test_a_constant_prediction_has_one_bin():
    rng = np.random.default_rng(4)
    clicks = rng.poisson(20, 500)
    row = one(comparisons(clicks, [1_000] * 500, [0.02] * 500))
    assert row["calibration_error"] == pytest.approx(abs(clicks.sum() / 500_000 - 0.02))


def test_skill_is_over_the_better_baseline():
    frame = simulated(np.random.default_rng(5)).with_columns(
        baseline_account=pl.lit(0.016), baseline_history=pl.col("predicted") * 1.1
    )
    row = one(frame)
    history = one(frame.with_columns(predicted="baseline_history"))
    account = one(frame.with_columns(predicted="baseline_account"))
    assert row["baseline"] == "history"
    assert history["log_loss"] < account["log_loss"]
    assert row["skill"] == pytest.approx(1 - row["log_loss"] / history["log_loss"])
    assert (history["skill"], history["skill_low"], history["skill_high"]) == (0, 0, 0)
    assert one(frame.with_columns(baseline_history=pl.lit(0.5)))["baseline"] == "account"
    always_zero = one(frame.with_columns(predicted=pl.lit(0.0)))
    assert always_zero["skill_high"] < 0


def test_an_ad_without_history_has_the_accounts_mean_as_baseline():
    frame = comparisons([20, 30], [1_000, 1_000], [0.02, 0.03], account=[0.025, 0.025], history=[0.018, None])
    filled = frame.with_columns(pl.col("baseline_history").fill_null(0.025))
    assert one(frame)["skill"] == one(filled)["skill"]
    nothing = one(frame.with_columns(pl.lit(None, pl.Float64).alias("baseline_account")))
    assert (nothing["skill"], nothing["baseline"], nothing["skill_high"]) == (None, None, None)
    assert nothing["status"] == "measured"


def test_bounds_of_skill_are_clustered_by_ad():
    rng = np.random.default_rng(6)
    frame = simulated(rng, ads=60).with_columns(baseline_account=pl.lit(0.016), baseline_history=pl.lit(None, pl.Float64))
    row = one(frame)
    p, q = frame["predicted"].to_numpy(), np.full(frame.height, 0.016)
    x, n = frame["link_clicks"].to_numpy(), frame["impressions"].to_numpy()
    model, base = (-(x * np.log(r) + (n - x) * np.log(1 - r)).reshape(60, 7).sum(axis=1) for r in (p, q))
    ratio = model.sum() / base.sum()
    influence = (model - ratio * base) / base.sum()
    margin = stats.t.ppf(0.995, 59) * np.sqrt(60 / 59 * (influence**2).sum())
    assert row["skill"] == pytest.approx(1 - ratio)
    assert row["skill_low"] == pytest.approx(1 - ratio - margin)
    assert row["skill_high"] == pytest.approx(1 - ratio + margin)
    # Seven copies of each day are no seven times as much evidence.
    copies = pl.concat([frame] * 7)
    assert one(copies)["skill_high"] == pytest.approx(row["skill_high"])
    lone = one(frame, clusters=("account_id",))
    assert (lone["skill"], lone["skill_high"]) == (pytest.approx(row["skill"]), None)


def test_upper_bound_of_an_equal_models_skill_is_seldom_below_zero():
    rng = np.random.default_rng(7)
    frames = []
    for i in range(1_000):
        rate = np.repeat(0.015 * np.exp(0.3 * rng.normal(size=40)), 7)
        clicks = rng.poisson(1_000 * rate)
        # Model and baseline err equally and independently.
        model, base = (rate * np.repeat(np.exp(0.1 * rng.normal(size=40)), 7) for _ in range(2))
        frames.append(comparisons(clicks, [1_000] * 280, model, account=base, history=base, days=7, fold=[i] * 280))
    highest = accuracy.measure(pl.concat(frames), ["fold"], SETTINGS)["skill_high"].to_numpy()
    assert (highest < 0).mean() < 0.015


def test_conversion_rates_weigh_clicks_and_roas_weighs_spend():
    n = 3
    frame = comparisons(
        [50, 40, 10],
        [1_000, 2_000, 500],
        [0.1, 0.2, 0.5],
        metric=["cvr"] * n,
        conversions=[5, 4, None],
        clicks_exposed=[50.0, 20.0, 10.0],
        share_known=[1.0, 0.5, 1.0],
    )
    cvr = one(frame)
    assert (cvr["ad_days"], cvr["actual"], cvr["expected"], cvr["impressions"]) == (2, 9, 9, 3_000)
    assert cvr["share_known"] == pytest.approx(70 / 90)
    assert cvr["wape"] == pytest.approx(0)
    assert one(frame.with_columns(predicted=pl.lit(0.2)))["mae"] == pytest.approx(5 / 70)

    money = comparisons(
        [50, 40, 10],
        [1_000, 2_000, 500],
        [2.0, 3.0, 1.0],
        account=[2.0] * n,
        metric=["roas"] * n,
        spend_in_orders=[10.0, 30.0, 0.0],
        revenue_in_orders=[25.0, 60.0, 0.0],
        share_known=[1.0, 1.0, 1.0],
    )
    roas = one(money)
    assert roas["ad_days"] == 2
    assert roas["wape"] == pytest.approx((5 + 30) / 85)
    assert roas["mae"] == pytest.approx(35 / 40)
    assert roas["rmse"] == pytest.approx(np.sqrt((10 * 0.5**2 + 30 * 1.0**2) / 40))
    assert roas["calibration_ratio"] == pytest.approx(85 / 110)
    assert all(roas[name] is None for name in ("log_loss", "normalized_entropy", "noise_floor", "mae_floor", "dispersion"))
    # Baselines of 2.0 and, where better, of 0.02 for the history: squared errors 2.5 and 0 against 2.5 and 30.
    assert (roas["baseline"], roas["skill"]) == ("account", pytest.approx(1 - 32.5 / 2.5))


def test_groups_without_evidence_are_unknown():
    small = comparisons([1, 2], [99, 50], [0.02, 0.02])
    row = one(small)
    assert (row["status"], row["ads"], row["ad_days"], row["impressions"]) == ("insufficient_data", 0, 0, 0)
    sizes = {"ads", "ad_days", "impressions", "status", "reason"}
    assert all(row[name] is None for name in accuracy.MEASURES.names() if name not in sizes)
    assert row["reason"] == "No ad-day has 100 impressions, a prediction and a known result."
    silent = one(comparisons([0, 0], [500, 500], [0.02, 0.02]))
    assert (silent["status"], silent["accuracy"], silent["wape"], silent["noise_floor"]) == (
        "insufficient_data",
        None,
        None,
        None,
    )
    assert silent["mae"] == pytest.approx(0.02)
    assert silent["reason"] == "2 ad-days without any clicks: errors relative to it are not defined."
    assert accuracy.measure(small.clear(), ["model"], SETTINGS).height == 0


def test_groups_are_measured_apart_and_keep_unknown_segments():
    rng = np.random.default_rng(8)
    frame = simulated(rng, ads=60).with_columns(
        segment=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).when(pl.int_range(pl.len()) % 3 == 1).then(pl.lit("b"))
    )
    frame = pl.concat([frame, frame.with_columns(model=pl.lit("text"), predicted=pl.col("predicted") * 1.5)])
    frame = frame.with_columns(segment=pl.when(pl.col("ad_id") > "ad4").then(pl.lit("c")).otherwise("segment"))
    rows = accuracy.measure(frame, ["model", "segment"], SETTINGS)
    assert rows.select("model", "segment").rows() == [
        (model, segment) for model in ("text", "xgb") for segment in (None, "b", "c")
    ]
    for model, segment in rows.select("model", "segment").rows():
        part = frame.filter(pl.col("model") == model, pl.col("segment").eq_missing(pl.lit(segment, pl.String)))
        alone = accuracy.measure(part, ["model", "segment"], SETTINGS)
        together = rows.filter(pl.col("model") == model, pl.col("segment").eq_missing(pl.lit(segment, pl.String)))
        for name in accuracy.MEASURES.names():
            assert together[name].item() == pytest.approx(alone[name].item()), name


def test_mixtures_and_impossible_rows_are_refused():
    frame = comparisons([10, 20], [1_000, 1_000], [0.015, 0.015])
    with pytest.raises(ValueError, match="several values of 'model'; add it to `by`"):
        accuracy.measure(pl.concat([frame, frame.with_columns(model=pl.lit("b"))]), ["account_id"], SETTINGS)
    with pytest.raises(ValueError, match="metric 'ctrr' is not one of ctr, cvr, roas"):
        one(frame.with_columns(metric=pl.lit("ctrr")))
    for change, words in (
        ({"predicted": pl.lit(float("nan"))}, "ad ad0, 2025-03-01, model xgb, ctr: predicted is impossible"),
        ({"predicted": pl.lit(1.5)}, "predicted is impossible"),
        ({"baseline_history": pl.lit(-0.1)}, "baseline_history is impossible"),
        ({"link_clicks": pl.lit(2_000)}, "happened 2000 of 1000"),
        ({"link_clicks": pl.lit(-1)}, "numerator is impossible"),
    ):
        with pytest.raises(ValueError, match=words):
            one(frame.with_columns(**change))


def test_leaks_are_refused_by_name():
    frame = comparisons([10, 20], [1_000, 1_000], [0.015, 0.015]).with_columns(as_of=pl.lit(date(2025, 2, 28)))
    accuracy.refuse_leaks(frame.lazy())
    accuracy.refuse_leaks(frame.clear().lazy())
    same_day = frame.with_columns(as_of=pl.Series([date(2025, 2, 28), date(2025, 3, 1)]))
    with pytest.raises(
        ValueError, match=r"1 of 2 .*account_id a, ad_id ad1, model xgb.*for 2025-03-01 from facts up to 2025-03-01"
    ):
        accuracy.refuse_leaks(same_day.lazy())
    with pytest.raises(ValueError, match="facts up to an unknown day"):
        accuracy.refuse_leaks(frame.with_columns(as_of=pl.lit(None, pl.Date)).lazy())


def test_half_a_million_comparisons_cost_little_more_than_adding_them_up():
    rng = np.random.default_rng(9)
    accounts, ads, days, models = 200, 100, 7, 4
    frame = simulated(rng, ads=accounts * ads, days=days)
    frame = frame.with_columns(account_id=pl.format("a{}", pl.int_range(pl.len()) // (ads * days)))
    frame = pl.concat(
        [frame.with_columns(model=pl.lit(f"m{i}"), predicted=pl.col("predicted") * (1 + i / 10)) for i in range(models)]
    )
    by = ["model", "account_id"]
    took: list[float] = []
    plain: list[float] = []
    for _ in range(3):
        began = time.perf_counter()
        assert accuracy.measure(frame, by, SETTINGS).height == accounts * models
        took.append(time.perf_counter() - began)
        began = time.perf_counter()
        assert frame.group_by(*by, "ad_id", "date").agg(pl.col("link_clicks", "impressions").sum()).height == frame.height
        plain.append(time.perf_counter() - began)
    assert min(took) < 10 * min(plain)
