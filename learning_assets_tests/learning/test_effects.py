"""Partial effects are what the model answers, of few values, and of levels that many owners have."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from learning_assets.learning import ctr_model, effects
from learning_assets.learning.ctr_model import CtrModel
from learning_assets.learning.effects import Effect, partial
from learning_assets.settings import Models
from learning_assets_tests.learning.test_ctr_model import Market

EAGER = Models.model_validate({"trees": 40, "min_child_clicks": 5, "l2": 1})
MARKET = Market(seed=2, accounts=6, ads=20, days=30)
OWNERS = MARKET.facts.select("account_id", owner="account_id").unique()


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Few enough rows that all of them are in the sample, as long as the history allows it: the effects are then plain means over them."""
    return ctr_model.thin(MARKET.features(), effects.SAMPLE)[: effects.SAMPLE]


@pytest.fixture(scope="module")
def model(frame: pl.DataFrame) -> CtrModel:
    return ctr_model.train(frame, EAGER)


def shown(
    model: CtrModel, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, owners: pl.DataFrame = OWNERS
) -> dict[str, Effect]:
    """Effects of all features, not of the first few alone."""
    monkeypatch.setattr(effects, "FEATURES", 99)
    return {one.feature: one for one in partial(model, frame, owners, min_owners=5, seed=7)}


def test_an_effect_is_the_mean_prediction_with_the_feature_set_to_each_value(
    model: CtrModel, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
):
    found = shown(model, frame, monkeypatch)
    assert set(found) >= {"own_log_rate", "hook_words", "weekday", "audience", "hook_types"}
    for name, effect in found.items():
        dtype = frame.schema[name]
        for value, predicted in zip(effect.values, effect.predicted, strict=True):
            told = ([] if value is None else [value]) if dtype == pl.List(pl.String) else value
            column = pl.Series(name, [told] * frame.height, dtype=dtype, strict=False)
            assert_allclose(predicted, model.predict(frame.with_columns(column)).mean(), rtol=1e-6)


def test_values_are_few_and_numbers_rise(model: CtrModel, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch):
    found = shown(model, frame, monkeypatch)
    assert all(2 <= len(one.values) <= effects.VALUES for one in found.values())
    assert found["weekday"].values == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert found["hook_types"].values == (None, "curiosity", "offer", "question", "story")
    assert found["audience"].values == tuple(f"audience {code}" for code in range(5))
    own = found["own_log_rate"]
    assert list(own.values) == sorted(float(f"{value:.2g}") for value in own.values), "two digits, so that they are nobody's"
    low, high = frame["own_log_rate"].quantile(0.03), frame["own_log_rate"].quantile(0.97)
    assert low is not None
    assert high is not None
    assert low < own.values[0] < own.values[-1] < high  # pyright: ignore[reportOperatorIssue]
    assert list(own.predicted) == sorted(own.predicted), "an ad's own history can only raise what is expected of it"


def test_the_most_important_features_come_first_whatever_the_order_of_the_rows(model: CtrModel, frame: pl.DataFrame):
    found = partial(model, frame, OWNERS, min_owners=5, seed=7)
    assert [one.feature for one in found] == model.importance()["feature"].head(effects.FEATURES).to_list()
    assert partial(model, frame.sample(fraction=1, shuffle=True, seed=5), OWNERS, min_owners=5, seed=7) == found
    many = MARKET.features()
    assert many.height > effects.SAMPLE
    drawn = partial(model, many, OWNERS, min_owners=5, seed=7)
    assert drawn == partial(model, many.reverse(), OWNERS, min_owners=5, seed=7)
    assert drawn != partial(model, many, OWNERS, min_owners=5, seed=8)


def test_levels_of_few_owners_are_not_shown_but_to_themselves(frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch):
    """One audience is that of four of the six owners, and one label that of a single owner."""
    own = pl.col("account_id") == "account 0"
    rare = frame.with_columns(
        audience=pl.when((pl.col("audience") == "audience 1") & pl.col("account_id").is_in(["account 4", "account 5"]))
        .then(pl.lit("audience 0"))
        .otherwise("audience"),
        hook_types=pl.when(own).then(pl.lit(["secret"])).otherwise("hook_types"),
    )
    model = ctr_model.train(rare, EAGER)
    found = shown(model, rare, monkeypatch)
    assert found["audience"].values == ("audience 0", "audience 2", "audience 3", "audience 4")
    assert found["hook_types"].values == (None, "curiosity", "offer", "question", "story")
    mine = shown(model, rare.filter(own), monkeypatch, OWNERS.filter(own))
    assert "secret" in mine["hook_types"].values
    assert "audience 1" in mine["audience"].values


def test_a_model_that_uses_nothing_has_no_effects(frame: pl.DataFrame):
    idle = ctr_model.train(frame, EAGER.model_copy(update={"min_child_clicks": 1e9}))
    assert partial(idle, frame, OWNERS, min_owners=5, seed=7) == ()
    assert np.allclose(idle.predict(frame), idle.card.events / idle.card.exposure, rtol=1e-3)
