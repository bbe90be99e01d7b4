"""What makes a model be trained again, and what does not."""

import json
import math
from dataclasses import asdict, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.learning import accuracy
from learning_assets.learning.triggers import FIGURES, OF_ACCURACY, Evidence, Trigger, evaluate
from learning_assets.settings import Accuracy, Models

SETTINGS = Models.model_validate({})
TODAY = date(2026, 3, 31)
CALM = Evidence(day=TODAY, tried_on=TODAY - timedelta(3), max_age_days=7, wape=0.15, noise_floor=0.14)


def by_name(evidence: Evidence, settings: Models = SETTINGS) -> dict[str, Trigger]:
    return {trigger.name: trigger for trigger in evaluate(evidence, settings)}


def test_a_calm_day_fires_nothing_and_shows_everything():
    found = by_name(CALM)
    assert list(found) == ["accuracy", "mae", "calibration", "skill", "drift", "age", "purchase_signal", "force"]
    assert not any(trigger.fired for trigger in found.values())
    assert (found["accuracy"].value, found["accuracy"].threshold) == (0.15, 0.20)
    assert (found["age"].value, found["age"].threshold) == (3.0, 7.0)


@pytest.mark.parametrize(
    ("wape", "noise_floor", "threshold", "fired"),
    [
        (0.21, 0.10, 0.20, True),
        (0.20, 0.10, 0.20, False),
        (0.50, 0.45, 0.5625, False),  # a perfect model on ads with few impressions
        (0.60, 0.45, 0.5625, True),
        (0.15, 0.01, 0.20, False),
        (1.70, 0.0, 0.20, True),
    ],
)
def test_accuracy_needs_an_error_beyond_both_bounds(wape, noise_floor, threshold, fired):
    trigger = by_name(replace(CALM, wape=wape, noise_floor=noise_floor))["accuracy"]
    assert trigger.threshold == pytest.approx(threshold)
    assert trigger.fired is fired
    assert ("is above" if fired else "is not above") in trigger.reason


@given(
    wape=st.one_of(st.none(), st.just(math.nan), st.floats(0, 5)),
    noise_floor=st.one_of(st.none(), st.just(math.nan), st.floats(0, 2)),
)
def test_accuracy_fires_exactly_beyond_both_bounds_and_never_on_the_unknown(wape, noise_floor):
    trigger = by_name(replace(CALM, wape=wape, noise_floor=noise_floor))["accuracy"]
    unknown = [value is None or math.isnan(value) for value in (wape, noise_floor)]
    if any(unknown):
        assert not trigger.fired
        assert trigger.reason.startswith("Not fired: the ")
        assert ("WAPE" in trigger.reason, "noise floor" in trigger.reason) == tuple(unknown)
        assert trigger.value is None or trigger.value == wape
    else:
        assert trigger.fired == (wape > 0.20 and wape > 1.25 * noise_floor)
        assert trigger.value == wape


@pytest.mark.parametrize(
    ("days", "limit", "fired"), [(7, 7, False), (8, 7, True), (0, 7, False), (28, 28, False), (35, 28, True)]
)
def test_age_counts_from_the_last_training_day(days, limit, fired):
    trigger = by_name(replace(CALM, tried_on=TODAY - timedelta(days), max_age_days=limit))["age"]
    assert (trigger.value, trigger.threshold, trigger.fired) == (days, limit, fired)
    assert f"{days} days ago" in trigger.reason


def test_without_a_model_age_fires():
    trigger = by_name(replace(CALM, tried_on=None, wape=None, noise_floor=None))["age"]
    assert (trigger.fired, trigger.value, trigger.reason) == (True, None, "No model was trained yet.")


def test_a_champion_from_the_future_is_refused():
    with pytest.raises(ValueError, match="after 2026-03-31; nothing looks ahead"):
        evaluate(replace(CALM, tried_on=TODAY + timedelta(1)), SETTINGS)


def test_force_fires_when_asked_for():
    assert by_name(replace(CALM, forced=True))["force"].fired
    assert [trigger.name for trigger in evaluate(replace(CALM, forced=True), SETTINGS) if trigger.fired] == ["force"]


def test_thresholds_are_those_of_the_settings():
    settings = SETTINGS.model_copy(update={"max_wape": 0.10, "noise_floor_factor": 1.0})
    assert by_name(CALM, settings)["accuracy"].fired


# -- errors beyond their noise floor


@pytest.mark.parametrize(
    ("mae", "mae_floor", "threshold", "fired"),
    [
        (0.019, 0.001, 0.02, False),  # large against its floor, but small
        (0.021, 0.010, 0.02, True),
        (0.024, 0.022, 0.0275, False),  # a perfect model on ads with high rates and few impressions
        (0.030, 0.022, 0.0275, True),
    ],
)
def test_mae_needs_an_error_that_is_large_and_beyond_its_floor(mae, mae_floor, threshold, fired):
    trigger = by_name(replace(CALM, mae=mae, mae_floor=mae_floor))["mae"]
    assert (trigger.threshold, trigger.fired) == (pytest.approx(threshold), fired)
    assert trigger.reason.startswith(f"MAE {mae:.1%} is {'above' if fired else 'not above'} ")


def test_few_ad_days_need_more_than_the_factor():
    # 35 ad-days of 3 clicks: their mean deviation alone varies by 13 %, so that 1.25 times the floor is two standard errors only.
    floor = float(accuracy.mean_deviation(np.array(3.0), np.array(1.0))) / 3
    few = replace(CALM, wape=1.3 * floor, noise_floor=floor, actual=105, ads=5, ad_days=35, dispersion=1.0)
    assert not by_name(few)["accuracy"].fired
    many = replace(few, actual=10_500, ads=500, ad_days=3_500)
    assert by_name(many)["accuracy"].fired
    assert by_name(many)["accuracy"].threshold == pytest.approx(1.25 * floor)


# -- calibration


def calibration(actual: float | None, expected: float | None, **known: Any) -> Trigger:
    return by_name(replace(CALM, actual=actual, expected=expected, **known))["calibration"]


@pytest.mark.parametrize(
    ("actual", "expected", "dispersion", "fired"),
    [
        (1_200, 1_500, 1.0, True),
        (1_500, 1_200, 1.0, True),
        (1_200, 1_500, 2.0, True),
        (1_200, 1_310, 1.0, False),  # 3 standard errors, but not 10 %
        (105_000, 115_000, 1.0, False),  # surely off, by less than 10 %
        (105_000, 116_000, 1.0, True),
        (120, 150, 1.0, False),  # 25 %, but chance explains it
        (600, 700, 4.0, False),
        (6, 0.0, None, False),
        (7, 0.0, None, True),
        (1_200, 0.0, 2.0, True),
        (1, 0.01, None, False),  # a hundred times as many, and one click
        (0, 3.0, None, False),
        (0, 30.0, None, True),
        (0, 0.0, None, False),
    ],
)
def test_calibration_fires_on_what_is_off_and_surely_so(actual, expected, dispersion, fired):
    trigger = calibration(actual, expected, dispersion=dispersion, ads=60, ad_days=420)
    assert trigger.fired is fired
    assert f"{actual:,} clicks came where {expected:,.1f} were expected" in trigger.reason
    assert ("not above both 1.1 times" not in trigger.reason) is fired
    known = actual > 0 and expected > 0
    assert trigger.value == (pytest.approx(abs(math.log(actual / expected))) if known else None)


@given(
    actual=st.integers(0, 10**6),
    expected=st.one_of(st.just(0.0), st.floats(1e-9, 1e6)),
    dispersion=st.one_of(st.none(), st.floats(1, 50)),
    ad_days=st.one_of(st.none(), st.integers(1, 10_000)),
)
def test_value_and_threshold_of_calibration_are_finite_and_say_whether_it_fired(actual, expected, dispersion, ad_days):
    trigger = calibration(actual, expected, dispersion=dispersion, ads=1, ad_days=ad_days)
    json.dumps(asdict(trigger), allow_nan=False)
    if trigger.value is not None and trigger.threshold is not None:
        assert trigger.fired == (trigger.value > trigger.threshold) or trigger.value == pytest.approx(trigger.threshold)
    if trigger.threshold is not None:
        assert trigger.threshold >= math.log(1.1) * (1 - 1e-12)
    if trigger.fired and dispersion is None:
        # Never on less than three standard errors, by the usual approximation.
        assert actual == 0 or trigger.value is None or trigger.value > 3 / math.sqrt(max(actual, expected)) * 0.9


def test_calibration_allows_for_the_guess_in_its_own_dispersion():
    many, few = (calibration(1_200, 1_425, dispersion=1.5, ads=2, ad_days=days) for days in (400, 8))
    assert (many.fired, few.fired) == (True, False)
    assert many.threshold is not None
    assert few.threshold is not None
    assert many.threshold < few.threshold


@pytest.mark.parametrize(
    ("actual", "expected", "named"), [(None, 5.0, "clicks"), (5, None, "expected clicks"), (5, math.nan, "exp")]
)
def test_unknown_counts_do_not_fire_calibration(actual, expected, named):
    trigger = calibration(actual, expected)
    assert (trigger.fired, trigger.value, trigger.threshold) == (False, None, None)
    assert trigger.reason.startswith(f"Not fired: the {named}")


# -- skill, drift, signals


@pytest.mark.parametrize(("high", "fired"), [(0.01, False), (0.0, False), (-0.001, True), (None, False), (math.nan, False)])
def test_skill_fires_below_zero_at_its_upper_bound(high, fired):
    assert by_name(replace(CALM, skill_high=high))["skill"].fired is fired


@pytest.mark.parametrize(("found", "fired"), [(None, False), (0.0, False), (19_999.0, False), (20_000.0, True), (1e300, True)])
def test_drift_fires_where_the_detector_alarmed(found, fired):
    trigger = by_name(replace(CALM, drift=found, drift_change=-0.1))["drift"]
    assert (trigger.fired, trigger.value, trigger.threshold) == (fired, found, 20_000)
    assert ("the likeliest change of the rate is -10%" in trigger.reason) is fired
    if found is None:
        assert trigger.reason == "Not fired: the hourly stream is not watched."
        assert by_name(replace(CALM, drift_unknown="it rained"))["drift"].reason == "Not fired: it rained."


@pytest.mark.parametrize(
    ("waiting", "reason"), [(0, "No purchase signals wait."), (1, "1 purchase signal waits."), (3, "3 purchase signals wait.")]
)
def test_waiting_purchase_signals_fire(waiting, reason):
    trigger = by_name(replace(CALM, purchase_signals=waiting))["purchase_signal"]
    assert (trigger.fired, trigger.value, trigger.reason) == (waiting > 0, waiting, reason)
    with pytest.raises(ValueError, match="a count is 0 or more"):
        evaluate(replace(CALM, purchase_signals=-1), SETTINGS)


# -- from predictions to triggers


def measured(predicted: float, rate: float, ads: int = 60, impressions: int = 300, seed: int = 1) -> dict[str, Any]:
    """What a week of ads with one true CTR shows of a model that predicts one CTR."""
    rng = np.random.default_rng(seed)
    size = ads * 7
    frame = pl.DataFrame(
        {
            "date": np.tile(np.datetime64("2026-03-01") + np.arange(7), ads),
            "account_id": np.full(size, "a"),
            "ad_id": np.repeat(np.arange(ads), 7).astype(str),
            "model": np.full(size, "xgboost"),
            "metric": np.full(size, "ctr"),
            "predicted": np.full(size, predicted),
            "baseline_account": np.full(size, rate),
            "baseline_history": np.full(size, rate),
            "impressions": np.full(size, impressions),
            "link_clicks": rng.binomial(impressions, rate, size),
        }
    )
    return accuracy.measure(frame, ["model", "metric"], Accuracy()).select(FIGURES).row(0, named=True)


@pytest.mark.parametrize(("predicted", "fires"), [(0.0, True), (1e-9, True), (0.0125, False), (0.01, True), (0.025, True)])
def test_a_model_that_is_off_is_caught_and_a_perfect_one_is_not(predicted, fires):
    evidence = replace(CALM, **measured(predicted, 0.0125))
    fired = [trigger.name for trigger in (rule(evidence, SETTINGS) for rule in OF_ACCURACY) if trigger.fired]
    assert bool(fired) is fires
    assert not fires or "calibration" in fired


def test_a_model_of_nothing_is_caught_on_ads_with_hardly_any_clicks():
    evidence = replace(CALM, **measured(0.0, 0.002, ads=20, impressions=150))
    assert evidence.actual is not None
    assert evidence.actual < 100
    assert by_name(evidence)["calibration"].fired


def test_every_trigger_can_be_stored():
    for evidence in (CALM, replace(CALM, **measured(0.0, 0.01)), replace(CALM, tried_on=None, wape=math.nan)):
        for trigger in evaluate(evidence, SETTINGS):
            values = [value for value in (trigger.value, trigger.threshold) if value is not None]
            assert all(map(math.isfinite, values))
            assert trigger.reason.endswith(".")
