"""The gate: who wins, how often by luck, and what leaves the champion in force."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from learning_assets.learning.champion import Verdict, contest
from learning_assets.settings import Models

SETTINGS = Models.model_validate({})
MODELS = ["champion", "challenger", "baseline"]


def holdout(seed: int, ads: int = 300, days: int = 7, impressions: int = 1_000, **errors: float) -> pl.DataFrame:
    """Ads of 1.5 % CTR with day noise, and models that are off by a log-normal error of their own on each ad.

    `errors`: standard deviation of each model's log error; the baseline knows the mean only.
    """
    rng = np.random.default_rng(seed)
    spread = 0.3
    effect = spread * rng.standard_normal(ads)
    rate = 0.015 * np.exp(effect + 0.05 * rng.standard_normal((days, ads)))
    seen = rng.poisson(impressions, (days, ads))
    frame = {
        "account_id": np.tile(np.arange(ads) % 10, days).astype(str),
        "ad_id": np.tile(np.arange(ads), days).astype(str),
        "impressions": seen.ravel(),
        "link_clicks": rng.binomial(seen, rate).ravel(),
        "baseline": np.full(ads * days, 0.015 * math.exp(spread**2 / 2)),
    }
    for name, error in errors.items():
        frame[name] = np.tile(0.015 * np.exp(effect + error * rng.standard_normal(ads)), days)
    return pl.DataFrame(frame)


def fight(rows: pl.DataFrame, champion: str | None = "champion", settings: Models = SETTINGS) -> Verdict:
    return contest(rows, champion, "challenger", "baseline", settings)


def test_equal_models_are_promoted_by_luck_in_at_most_five_percent():
    promoted = [fight(holdout(seed, ads=150, champion=0.15, challenger=0.15)).winner == "challenger" for seed in range(400)]
    assert 0 < np.mean(promoted) <= 0.05


def test_a_better_model_is_promoted():
    won = [fight(holdout(seed, champion=0.15, challenger=0.10)).winner == "challenger" for seed in range(60)]
    assert np.mean(won) >= 0.9


def test_a_model_that_only_repeats_the_account_mean_never_enters():
    won = [fight(holdout(seed, ads=100, challenger=0.31), None).winner for seed in range(100)]
    assert won.count("challenger") <= 5
    assert set(won) <= {"challenger", "none"}


def test_the_figures_are_those_of_the_definition():
    rows = holdout(1, ads=120, champion=0.2, challenger=0.1)
    verdict = fight(rows)
    clicks, seen = rows["link_clicks"].to_numpy(), rows["impressions"].to_numpy()

    def loss(name: str) -> np.ndarray:
        rate = rows[name].to_numpy()
        return -(clicks * np.log(rate) + (seen - clicks) * np.log(1 - rate))

    assert verdict.winner == "challenger"
    assert (verdict.n_ads, verdict.exposure, verdict.events) == (120, seen.sum(), clicks.sum())
    assert verdict.log_loss is not None
    assert verdict.calibration is not None
    assert_allclose(verdict.log_loss, loss("challenger").sum() / seen.sum(), rtol=1e-12)
    assert_allclose(verdict.calibration, clicks.sum() / (seen * rows["challenger"].to_numpy()).sum(), rtol=1e-12)
    predicted = rows["challenger"].to_numpy()
    assert verdict.mae is not None
    assert verdict.r2 is not None
    assert_allclose(verdict.mae, np.abs(clicks - seen * predicted).sum() / seen.sum(), rtol=1e-12)
    mean = clicks.sum() / seen.sum()
    variation, left = ((seen * (clicks / seen - other) ** 2).sum() for other in (mean, predicted))
    assert_allclose(verdict.r2, 1 - left / variation, rtol=1e-12)
    assert verdict.against_champion is not None
    assert verdict.against_champion.r2 is not None
    assert verdict.r2 > verdict.against_champion.r2
    assert verdict.mae < verdict.against_champion.mae
    for comparison, name in ((verdict.against_champion, "champion"), (verdict.against_baseline, "baseline")):
        assert comparison is not None
        gain = (loss(name) - loss("challenger")).reshape(7, 120).sum(0)
        per_ad = seen.reshape(7, 120).sum(0)
        difference = gain.sum() / per_ad.sum()
        error = math.sqrt(120 / 119 * ((gain - difference * per_ad) ** 2).sum()) / per_ad.sum()
        assert comparison.opponent == name
        assert_allclose(comparison.log_loss, loss(name).sum() / seen.sum(), rtol=1e-12)
        assert_allclose(comparison.difference, difference, rtol=1e-9)
        assert_allclose(comparison.standard_error, error, rtol=1e-9)
        assert_allclose(comparison.lower_bound, difference - 1.9801 * error, rtol=1e-4)
    assert verdict.against_champion is not None
    assert (verdict.difference, verdict.lower_bound) == (
        verdict.against_champion.difference,
        verdict.against_champion.lower_bound,
    )


def test_days_of_one_ad_are_no_further_evidence():
    rows = holdout(2, ads=60, champion=0.15, challenger=0.12)
    again = pl.concat([rows] * 4)
    assert fight(rows).difference == pytest.approx(fight(again).difference, rel=1e-9)
    assert fight(rows).lower_bound == pytest.approx(fight(again).lower_bound, rel=1e-9)


def test_ads_of_two_accounts_with_one_id_are_two_ads():
    rows = holdout(3, ads=60, challenger=0.1)
    same_ids = rows.with_columns(ad_id=(pl.col("ad_id").cast(pl.Int64) // 10).cast(pl.String))
    assert fight(same_ids, None).n_ads == 60


def test_better_log_loss_does_not_excuse_worse_calibration():
    rows = holdout(4, ads=1_000, champion=0.3, challenger=0.05)
    rows = rows.with_columns(
        pl.col(name) * pl.col("link_clicks").sum() / (pl.col("impressions") * pl.col(name)).sum()
        for name in ("champion", "challenger")
    )

    def with_calibration(ratio: float) -> Verdict:
        return fight(rows.with_columns(challenger=pl.col("challenger") / ratio))

    # Between 2 % and 3 % it may still be chance: the clicks of both are uncertain by 0.7 %.
    for ratio in (0.975, 0.985, 1.015, 1.025):
        assert with_calibration(ratio).winner == "challenger"
    for ratio in (0.95, 1.05):
        verdict = with_calibration(ratio)
        assert verdict.lower_bound is not None
        assert verdict.lower_bound > 0
        assert verdict.winner == "champion"
        assert "surely worse by more than 2%" in verdict.reason


def test_calibration_that_both_share_is_known_without_error():
    """Both expect too little, so that their distance is that of their totals, whatever the clicks."""
    rows = holdout(4, ads=1_000, champion=0.3, challenger=0.05)
    total = rows["link_clicks"].sum()

    def at(champion: float, challenger: float) -> str:
        scaled = rows.with_columns(
            pl.col(name) * total / (pl.col("impressions") * pl.col(name)).sum() / ratio
            for name, ratio in (("champion", champion), ("challenger", challenger))
        )
        return fight(scaled).winner

    assert at(1.05, 1.05 * 1.019) == "challenger"
    assert at(1.05, 1.05 * 1.021) == "champion"
    assert at(1.05, 1.0) == "challenger"


def test_noise_in_calibration_does_not_cost_a_better_model_its_place():
    won = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = holdout(seed, ads=100, champion=0.2, challenger=0.1)
        won += fight(rows.with_columns(pl.col("challenger") * math.exp(rng.normal(0, 0.02)))).winner == "challenger"
    assert won >= 50


def test_a_worse_champion_does_not_help_a_challenger_below_the_baseline():
    rows = holdout(5, champion=1.0, challenger=0.6)
    verdict = fight(rows)
    assert verdict.lower_bound is not None
    assert verdict.lower_bound > 0
    assert verdict.winner == "champion"
    assert "not surely better than baseline" in verdict.reason
    assert fight(rows, None).winner == "none"


@given(seed=st.integers(0, 1_000), scale=st.floats(0.5, 2))
@hypothesis_settings(max_examples=20, deadline=None)
def test_ties_keep_the_champion(seed, scale):
    rows = holdout(seed, ads=60, days=2, champion=0.1).with_columns(pl.col("champion") * scale)
    verdict = fight(rows.with_columns(challenger="champion"))
    assert verdict.winner == "champion"
    assert (verdict.difference, verdict.lower_bound) == (0, 0)
    assert fight(rows.with_columns(challenger="baseline"), None).winner == "none"


@given(
    seed=st.integers(0, 1_000),
    at=st.integers(0, 119),
    model=st.sampled_from(MODELS),
    unknown=st.sampled_from([None, math.nan]),
    has_champion=st.booleans(),
)
@hypothesis_settings(max_examples=30, deadline=None)
def test_an_unknown_prediction_keeps_the_champion(seed, at, model, unknown, has_champion):
    rows = holdout(seed, ads=60, days=2, champion=0.5, challenger=0.01)
    row = pl.int_range(pl.len()) == at
    rows = rows.with_columns(pl.when(row).then(pl.lit(unknown, pl.Float64)).otherwise(pl.col(model)).alias(model))
    verdict = fight(rows, "champion" if has_champion else None)
    if has_champion or model != "champion":
        assert verdict.winner == ("champion" if has_champion else "none")
        assert f"{model} has no prediction for 1 of 120 rows" in verdict.reason
        assert verdict.difference is None
        assert verdict.log_loss is None
    else:
        assert verdict.against_champion is None
        assert verdict.difference is not None


@given(ads=st.integers(0, 60), has_champion=st.booleans())
@hypothesis_settings(max_examples=20, deadline=None)
def test_small_and_empty_hold_outs_keep_the_champion(ads, has_champion):
    rows = holdout(6, ads=60, champion=0.5, challenger=0.01)
    rows = rows.with_columns(
        pl.when(pl.col("ad_id").cast(pl.Int64) < ads).then("impressions").otherwise(0).alias("impressions"),
        pl.when(pl.col("ad_id").cast(pl.Int64) < ads).then("link_clicks").otherwise(0).alias("link_clicks"),
    )
    stays = "champion" if has_champion else "none"
    verdict = fight(rows, "champion" if has_champion else None)
    assert verdict.n_ads == ads
    assert verdict.winner == (stays if ads < 50 else "challenger")
    assert ads >= 50 or f"{ads} ads with impressions, 50 are needed" in verdict.reason
    assert fight(rows.clear(), stays if has_champion else None).winner == stays


def test_one_ad_is_too_few_whatever_the_settings():
    rows = holdout(6, ads=1, champion=0.5, challenger=0.01)
    assert fight(rows, settings=SETTINGS.model_copy(update={"min_ads": 1})).winner == "champion"


def test_a_hold_out_without_clicks_keeps_the_champion():
    rows = holdout(7, champion=0.1, challenger=0.1).with_columns(link_clicks=0)
    verdict = fight(rows.with_columns(pl.col("challenger") / 100))
    assert verdict.winner == "champion"
    assert "Nobody clicked" in verdict.reason


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.5, math.inf, -math.inf])
def test_a_prediction_that_is_no_rate_is_an_error_that_names_the_row(model, value):
    rows = holdout(8, ads=60, champion=0.1, challenger=0.1)
    rows = rows.with_columns(pl.when(pl.int_range(pl.len()) == 77).then(value).otherwise(pl.col(model)).alias(model))
    with pytest.raises(ValueError, match=rf"row 77, ad '17': {model} predicts {value}"):
        fight(rows)


@given(rate=st.floats(0, 1, exclude_min=True, exclude_max=True), model=st.sampled_from(MODELS))
@hypothesis_settings(max_examples=30, deadline=None)
def test_any_rate_inside_the_bounds_gives_a_verdict(rate, model):
    verdict = fight(holdout(8, ads=60, days=1, champion=0.1, challenger=0.1).with_columns(pl.lit(rate).alias(model)))
    assert verdict.winner in ("champion", "challenger")
    assert verdict.difference is not None
    assert math.isfinite(verdict.difference)


@pytest.mark.parametrize(("clicks", "impressions"), [(5, 4), (-1, 4), (None, 4), (0, None)])
def test_impossible_counts_are_an_error_that_names_the_row(clicks, impressions):
    rows = holdout(9, ads=60, champion=0.1, challenger=0.1)
    row = pl.int_range(pl.len()) == 3
    rows = rows.with_columns(
        link_clicks=pl.when(row).then(pl.lit(clicks, pl.Int64)).otherwise("link_clicks"),
        impressions=pl.when(row).then(pl.lit(impressions, pl.Int64)).otherwise("impressions"),
    )
    with pytest.raises(ValueError, match=f"row 3, ad '3': {clicks} link_clicks of {impressions} impressions"):
        fight(rows)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="no column 'challenger'"):
        fight(holdout(9, champion=0.1))
