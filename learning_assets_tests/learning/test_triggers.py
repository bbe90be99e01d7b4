"""What makes a model be trained again, and what does not."""

import math
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.learning.triggers import Evidence, Trigger, evaluate
from learning_assets.settings import Models

SETTINGS = Models.model_validate({})
TODAY = date(2026, 3, 31)
CALM = Evidence(day=TODAY, tried_on=TODAY - timedelta(3), max_age_days=7, wape=0.15, noise_floor=0.14)


def by_name(evidence: Evidence, settings: Models = SETTINGS) -> dict[str, Trigger]:
    return {trigger.name: trigger for trigger in evaluate(evidence, settings)}


def test_a_calm_day_fires_nothing_and_shows_everything():
    found = by_name(CALM)
    assert list(found) == ["accuracy", "age", "purchase_signal", "force"]
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


@pytest.mark.parametrize("waiting", [0, 1, 12_000])
def test_purchase_signals_that_wait_fire(waiting: int):
    trigger = by_name(replace(CALM, purchase_signals=waiting))["purchase_signal"]
    assert (trigger.fired, trigger.value, trigger.threshold) == (waiting > 0, waiting, 0)
    assert trigger.reason == (f"{waiting:,} purchase signals wait." if waiting else "No purchase signal waits.")
