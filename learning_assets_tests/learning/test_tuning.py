"""Parameters are chosen by later days inside the training days, the same ones each time, and the settings' own win ties."""

from datetime import timedelta

import polars as pl
import pytest

from learning_assets.learning import champion, ctr_model, tuning
from learning_assets.learning.targets import CTR
from learning_assets.learning.tuning import Search
from learning_assets.settings import Models
from learning_assets_tests.learning.test_ctr_model import Market

OWN = Models.model_validate({"trees": 6, "learning_rate": 0.3})
SMALL = Market(seed=1, accounts=4, ads=20, days=24)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return SMALL.features()


def test_the_grid_is_small_and_the_settings_own_parameters_come_first():
    found = tuning.grid(Models())
    assert len(found) == 12
    own = Models()
    assert found[0] == {name: getattr(own, name) for name in ("max_depth", "min_child_clicks", "l2", "trees")}
    for one in found:
        assert Models.model_validate(one).model_dump(include=set(one)) == one
    least = tuning.grid(Models.model_validate({"max_depth": 1, "trees": 1}))
    assert len(least) == len({tuple(one.values()) for one in least}) == 4
    assert {one["max_depth"] for one in least} == {1, 3}


def test_the_newest_quarter_of_the_known_days_is_scored():
    days = SMALL.facts["date"].unique().sort()
    assert tuning.first_scored(SMALL.facts, OWN, CTR) == days[-6]
    unknown = SMALL.facts.with_columns(link_clicks=pl.when(pl.col("date") < days[-4]).then("link_clicks"))
    assert tuning.first_scored(unknown, OWN, CTR) == days[-9], "days whose results are not known do not count"
    two, one = (SMALL.facts.filter(pl.col("date") >= days[-n]) for n in (2, 1))
    assert tuning.first_scored(two, OWN, CTR) == days[-1]
    assert tuning.first_scored(one, OWN, CTR) is None
    assert tuning.first_scored(one.clear(), OWN, CTR) is None


def test_the_least_loss_of_days_that_no_candidate_saw_wins(frame: pl.DataFrame):
    since = SMALL.last - timedelta(5)
    found = tuning.choose(frame, since, OWN, CTR)
    before, later = frame.filter(pl.col("date") < since), frame.filter(pl.col("date") >= since)
    events, exposure = (later[name].to_numpy().astype(float) for name in ("link_clicks", "impressions"))
    assert [dict(one.parameters) for one in found.candidates] == tuning.grid(OWN)
    for one in found.candidates:
        model = ctr_model.train(before, OWN.model_copy(update=dict(one.parameters)))
        assert one.log_loss == champion.log_loss(events, exposure, model.predict(later), CTR)
    best = min(found.candidates, key=lambda one: one.log_loss)
    assert found.chosen == best.parameters
    assert best.log_loss < found.candidates[0].log_loss
    assert (found.fit_until, found.scored_from) == (since - timedelta(1), since)
    assert (found.ad_days, found.exposure, found.events) == (later.height, exposure.sum(), events.sum())
    assert found.reason.startswith(
        f"Of 12 candidates, trained on days up to {found.fit_until} and scored on those from {since}"
    )
    assert Search.from_json(found.to_json()) == found
    shuffled = frame.sample(fraction=1, shuffle=True, seed=5)
    assert tuning.choose(shuffled, since, OWN, CTR).chosen == found.chosen


def test_ties_keep_the_settings_own_parameters(frame: pl.DataFrame):
    idle = OWN.model_copy(update={"learning_rate": 1e-30})
    found = tuning.choose(frame, SMALL.last - timedelta(5), idle, CTR)
    assert len({one.log_loss for one in found.candidates}) == 1
    assert found.chosen == tuning.grid(idle)[0]
    assert found.reason.endswith("the settings' own parameters predicted best.")


def test_where_nothing_came_of_the_later_days_nothing_is_chosen(frame: pl.DataFrame):
    since = SMALL.last - timedelta(5)
    none = frame.with_columns(link_clicks=pl.when(pl.col("date") < since).then("link_clicks").otherwise(0))
    found = tuning.choose(none, since, OWN, CTR)
    assert (found.chosen, found.candidates) == ({}, ())
    assert found.reason == f"From {since} on no link clicks are known: the settings' own parameters hold."
    assert Search.from_json(found.to_json()) == found
