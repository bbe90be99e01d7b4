"""The CTR model learns what the market hides, looks back only, and is the same each time."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from polars.testing import assert_frame_equal

from learning_assets.learning import champion
from learning_assets.learning.ctr_model import CtrModel, Feature, features, readiness, schema_hash, thin, train
from learning_assets.learning.targets import CTR, CVR, Target
from learning_assets.settings import Models

SETTINGS = Models.model_validate({})
QUICK = SETTINGS.model_copy(update={"trees": 20})
START = date(2026, 1, 5)
HOOKS = ["curiosity", "offer", "question", "story"]


class Market:
    """Ads of several accounts that come and go; hooks, a creative number, texts and the ads themselves move their CTR."""

    def __init__(self, seed: int, accounts: int = 8, ads: int = 60, days: int = 50, impressions: int = 600) -> None:
        rng = np.random.default_rng(seed)
        count = accounts * ads
        account = np.repeat(np.arange(accounts), ads)
        hook, audience, template = rng.integers(0, [4, 5, 3], (count, 3)).T
        words, text, own = rng.poisson(9, count), rng.normal(0, 0.2, count), rng.normal(0, 0.2, count)
        base = (
            np.log(0.015)
            + rng.normal(0, 0.4, accounts)[account]
            + np.array([0.3, -0.2, 0.1, -0.2])[hook]
            + np.array([0.2, 0.1, 0.0, -0.1, -0.2])[audience]
            - 0.03 * (words - 9)
            + text
            + own
        )
        born = rng.integers(-15, days, count)
        day, ad = (axis.ravel() for axis in np.indices((days, count)))
        live = (day >= born[ad]) & (day < born[ad] + 25)
        day, ad = day[live], ad[live]
        rate = np.exp(base[ad] - 0.01 * (day - born[ad]) + 0.05 * rng.normal(size=len(ad)))
        seen = rng.poisson(impressions, len(ad))

        def named(prefix: str, codes: np.ndarray) -> list[str]:
            return [f"{prefix} {code}" for code in codes]

        self.creatives = pl.DataFrame(
            {
                "account_id": named("account", account),
                "creative_id": named("creative", np.arange(count)),
                "hook_types": [[HOOKS[code]] for code in hook],
                "hook_words": words,
                "has_question": hook == 2,
                "text_score": text + 0.05 * rng.normal(size=count),
            }
        )
        self.facts = pl.DataFrame(
            {
                "date": pl.Series(np.datetime64(START) + day.astype("timedelta64[D]")),
                "account_id": named("account", account[ad]),
                "ad_id": named("ad", ad),
                "creative_id": named("creative", ad),
                "impressions": seen,
                "link_clicks": rng.binomial(seen, rate),
                "audience": named("audience", audience[ad]),
                "template": named("template", template[ad]),
                "cta": pl.Series([None] * len(ad), dtype=pl.String),
            }
        )
        self.last = START + timedelta(days - 1)

    def features(self, settings: Models = SETTINGS) -> pl.DataFrame:
        return features(self.facts, self.facts, self.creatives, settings)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(seed=1)


@pytest.fixture(scope="module")
def frame(market: Market) -> pl.DataFrame:
    return market.features()


@pytest.fixture(scope="module")
def small(frame: pl.DataFrame) -> CtrModel:
    return train(frame, QUICK)


def log_loss(rows: pl.DataFrame, rate: np.ndarray) -> float:
    clicks, seen = rows["link_clicks"].to_numpy(), rows["impressions"].to_numpy()
    return -(clicks * np.log(rate) + (seen - clicks) * np.log1p(-rate)).sum() / seen.sum()


@pytest.mark.parametrize("seed", [1, 2])
def test_it_beats_both_baselines_on_later_days(seed):
    market = Market(seed)
    rows = market.features()
    cut = market.last - timedelta(SETTINGS.holdout_days)
    model = train(rows.filter(pl.col("date") <= cut), SETTINGS)
    later = rows.filter(pl.col("date") > cut)
    predicted = model.predict(later)
    account, own = (np.exp(later[f"{name}_log_rate"].to_numpy()) for name in ("account", "own"))
    constant = log_loss(later, np.full(later.height, model.card.events / model.card.exposure))
    gain = {
        name: 1 - log_loss(later, rate) / constant for name, rate in (("model", predicted), ("account", account), ("own", own))
    }
    assert gain["model"] > 1.3 * gain["account"] > 0
    assert gain["model"] > gain["own"]
    assert 0.95 < later["link_clicks"].sum() / (later["impressions"].to_numpy() * predicted).sum() < 1.05

    holdout = later.with_columns(challenger=predicted, account_mean=account)
    assert champion.contest(holdout, None, "challenger", "account_mean", SETTINGS).winner == "challenger"


def test_new_ads_are_told_apart_by_their_creatives(market, frame):
    cut = market.last - timedelta(7)
    new = frame.filter((pl.col("date") > cut) & (pl.col("age_days") == 0))
    model = train(frame.filter(pl.col("date") <= cut), SETTINGS)
    assert new.height > 50
    assert log_loss(new, model.predict(new)) < log_loss(new, np.exp(new["account_log_rate"].to_numpy()))


@given(days_back=st.integers(0, 49), multiply=st.integers(0, 3), drop=st.booleans())
@example(days_back=49, multiply=0, drop=True)
@example(days_back=20, multiply=0, drop=True)
@hypothesis_settings(max_examples=15, deadline=None)
def test_facts_of_the_target_day_and_later_change_none_of_its_features(days_back, multiply, drop):
    market = Market(seed=3, accounts=2, ads=20)
    target = market.last - timedelta(days_back)
    ads = market.facts.unique(["account_id", "ad_id"], maintain_order=True).drop("impressions", "link_clicks")
    asked = ads.with_columns(date=pl.lit(target))
    past = pl.col("date") < target
    changed = (
        market.facts.filter(past)
        if drop
        else market.facts.with_columns(
            pl.when(past).then(pl.col(name)).otherwise(pl.col(name) * multiply) for name in ("impressions", "link_clicks")
        )
    )
    expected = features(asked, market.facts, market.creatives, SETTINGS)
    assert_frame_equal(features(asked, changed, market.creatives, SETTINGS), expected, check_exact=True)


def test_features_are_what_was_known():
    schema = ["date", "account_id", "ad_id", "creative_id", "impressions", "link_clicks", "audience", "template", "cta"]
    day = [START + timedelta(offset) for offset in (0, 2, 5)]
    facts = pl.DataFrame(
        [
            (day[0], "a", "old", "c1", 1_000, 10, "women", None, "SHOP_NOW"),
            (day[1], "a", "old", "c1", 1_000, 30, "women", None, "SHOP_NOW"),
            (day[1], "a", "young", "c2", 1_000, 20, "men", "video", None),
        ],
        schema=schema,
        orient="row",
    )
    creatives = pl.DataFrame(
        {
            "account_id": ["a", "a", "other"],
            "creative_id": ["c1", "c2", "c3"],
            "hook_types": [["offer"], None, ["story"]],
            "template": ["image", "image", "image"],
        }
    )
    asked = pl.DataFrame(
        [
            (day[2], "a", "young", "c2", "men", "video", None),
            (day[2], "a", "old", "c1", "women", None, "SHOP_NOW"),
            (day[2], "a", "new", "c3", None, None, None),
        ],
        schema=[name for name in schema if name not in ("impressions", "link_clicks")],
        schema_overrides={"cta": pl.String},
        orient="row",
    )
    found = features(asked, facts, creatives, SETTINGS)
    assert found["ad_id"].to_list() == ["young", "old", "new"]
    assert found["weekday"].to_list() == [6, 6, 6]  # Saturday, 10 January 2026
    assert found["age_days"].to_list() == [3, None, 0]  # `old` began with the facts or before
    assert found["template"].to_list() == ["video", "image", None]
    assert found["cta"].to_list() == [None, "SHOP_NOW", None]
    assert found["hook_types"].to_list() == [None, ["offer"], None]  # a creative of another account is not this one
    weight = 0.95 ** np.array([5, 3, 3])
    account = np.log(weight @ [10, 30, 20] / (weight @ [1_000, 1_000, 1_000]))
    np.testing.assert_allclose(found["account_log_rate"].to_numpy(), account, rtol=1e-6)
    own = dict(zip(found["ad_id"], found["own_log_rate"], strict=True))
    assert own["new"] == pytest.approx(account)
    assert "impressions" not in found.columns


def test_training_twice_gives_the_same_bytes_whatever_the_order_of_the_rows(frame, small):
    shuffled = frame.sample(fraction=1, shuffle=True, seed=5).select(reversed(frame.columns))
    again = train(shuffled, QUICK)
    assert again.to_bytes() == small.to_bytes()
    assert again.card == small.card
    assert train(frame, QUICK.model_copy(update={"trees": 21})).to_bytes() != small.to_bytes()


def test_what_is_saved_is_what_is_loaded(frame, small, tmp_path: Path):
    folder = tmp_path / "models" / "ctr 1"
    small.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.ubj"]
    loaded = CtrModel.load(folder)
    assert loaded.card == small.card
    assert loaded.to_bytes() == small.to_bytes()
    assert_array_equal(loaded.predict(frame), small.predict(frame))
    assert_frame_equal(loaded.importance(), small.importance())
    loaded.save(tmp_path / "again")
    for name in ("card.json", "model.ubj"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_card_says_what_the_model_saw(market, frame, small, tmp_path):
    small.save(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    assert (card["first_day"], card["last_day"]) == (START.isoformat(), market.last.isoformat())
    assert (card["rows"], card["ads"]) == (frame.height, frame["ad_id"].n_unique())
    assert card["events"] == frame["link_clicks"].sum()
    assert card["parameters"]["max_depth"] == SETTINGS.max_depth
    assert card["parameters"]["base_score"] == frame["link_clicks"].sum() / frame["impressions"].sum()
    assert [feature["name"] for feature in card["features"]] == sorted(
        set(frame.columns) - {"date", "account_id", "ad_id", "impressions", "link_clicks"}
    )


def test_files_of_two_models_are_not_mixed_up(frame, small, tmp_path):
    small.save(tmp_path)
    train(frame.drop("hook_words"), QUICK).save(tmp_path / "other")
    (tmp_path / "model.ubj").write_bytes((tmp_path / "other" / "model.ubj").read_bytes())
    with pytest.raises(ValueError, match=r"do not belong together\. Train again\."):
        CtrModel.load(tmp_path)
    (tmp_path / "model.ubj").unlink()
    with pytest.raises(FileNotFoundError):
        CtrModel.load(tmp_path)


def test_unseen_levels_are_missing(frame, small):
    def predicted(**columns: pl.Expr) -> np.ndarray:
        return small.predict(frame.with_columns(**columns))

    null = pl.lit(None, pl.String)
    assert_array_equal(predicted(audience=pl.lit("Mars")), predicted(audience=null))
    assert_array_equal(predicted(audience=pl.lit("Mars").cast(pl.Categorical)), predicted(audience=null))
    assert_array_equal(predicted(hook_types=pl.lit(["sarcasm"])), predicted(hook_types=pl.lit([], pl.List(pl.String))))
    assert (predicted(audience=null) != small.predict(frame)).any()


def test_the_code_of_a_level_does_not_depend_on_what_else_is_predicted(frame, small):
    one_by_one = np.concatenate([small.predict(row) for row in frame.tail(30).iter_slices(1)])
    assert_array_equal(one_by_one, small.predict(frame.tail(30)))
    assert small.predict(frame.clear()).shape == (0,)


def test_everything_may_be_missing(frame, small):
    names = [feature.name for feature in small.card.features]
    nothing = frame.head(3).with_columns(pl.lit(None, frame.schema[name]).alias(name) for name in names)
    found = small.predict(nothing)
    assert ((found > 0.001) & (found < 0.1)).all()


@pytest.mark.parametrize("target", [CTR, CVR], ids=lambda target: target.name)
@pytest.mark.parametrize("searched", [{}, {"max_depth": 6, "min_child_clicks": 5.0, "l2": 1.0}], ids=["own", "searched"])
def test_a_predicted_rate_never_falls_with_the_histories_and_the_text_score_not_even_where_the_data_say_so(
    frame: pl.DataFrame, target: Target, searched: dict[str, float]
):
    """Of either loss, and however large the trees that a search may choose."""
    frame = frame.rename({"link_clicks": target.events, "impressions": target.exposure})
    rising = ("own_log_rate", "text_score", "account_log_rate")
    small = train(frame.with_columns(-pl.col(*rising)), QUICK.model_copy(update=searched), target)
    row = frame.with_columns(-pl.col(*rising)).filter(pl.col("own_weight") > 0.5).head(200)
    for name in rising:
        steps = [small.predict(row.with_columns(pl.lit(value).alias(name))) for value in np.linspace(-7, 7, 33)]
        assert (np.diff(steps, axis=0) >= 0).all(), name


def test_importance_adds_up_and_knows_what_matters(small):
    found = small.importance()
    assert set(found["feature"]) == {feature.name for feature in small.card.features}
    assert found["gain"].sum() == pytest.approx(1)
    assert found["gain"].to_list() == sorted(found["gain"], reverse=True)
    assert found["feature"][0] == "own_log_rate"
    assert found.filter(pl.col("feature") == "cta")["gain"].item() == 0


def test_only_the_most_frequent_levels_are_kept_in_the_order_of_their_names(frame):
    model = train(frame, QUICK.model_copy(update={"max_levels": 3}))
    top = frame["audience"].value_counts().sort("count", descending=True)["audience"].head(3)
    audience = next(feature for feature in model.card.features if feature.name == "audience")
    assert audience.levels == tuple(sorted(top))


def test_the_schema_hash_follows_names_and_kinds_but_not_levels(frame, small):
    described = small.card.features
    assert small.card.schema_hash == schema_hash(described)
    assert train(frame.filter(pl.col("audience") != "audience 0"), QUICK).card.schema_hash == small.card.schema_hash
    assert train(frame.drop("hook_words"), QUICK).card.schema_hash != small.card.schema_hash
    assert schema_hash((Feature("cta", "number"),)) != schema_hash((Feature("cta", "category"),))


def test_rows_without_impressions_or_with_unknown_counts_teach_nothing(frame, small):
    useless = frame.head(3).with_columns(
        date=frame["date"].max(), impressions=pl.Series([0, None, 50]), link_clicks=pl.Series([0, 1, None])
    )
    assert train(pl.concat([frame, useless]), QUICK).to_bytes() == small.to_bytes()


@pytest.mark.parametrize("max_rows", [200, 1_000, 5_000])
def test_thinning_keeps_every_ad_and_every_weekday_and_is_the_same_each_time(market, max_rows):
    kept = thin(market.facts, max_rows)
    assert kept.height <= 1.1 * max_rows
    assert kept.height >= 0.4 * max_rows
    assert_frame_equal(thin(market.facts.reverse(), max_rows).reverse(), kept)
    assert kept["date"].dt.weekday().n_unique() == 7
    step = -(-market.facts.height // max_rows)
    long_lived = market.facts.group_by("ad_id").agg(days=pl.len()).filter(pl.col("days") >= step)
    assert set(long_lived["ad_id"]) <= set(kept["ad_id"])


def test_nothing_is_thinned_that_fits(market):
    assert thin(market.facts, market.facts.height) is market.facts
    assert thin(market.facts.clear(), 5).is_empty()
    with pytest.raises(ValueError, match="max_rows is 0"):
        thin(market.facts, 0)


def test_training_is_bounded_and_owns_up_to_every_day_that_it_was_given(market, frame):
    card = train(frame, QUICK.model_copy(update={"max_rows": 2_000})).card
    assert card.rows <= 2_200
    last = frame.with_columns(date=pl.when(pl.int_range(pl.len()) == 0).then(market.last + timedelta(1)).otherwise("date"))
    assert [train(last.slice(skip), QUICK.model_copy(update={"max_rows": 2_000})).card.last_day for skip in (0, 1)] == [
        market.last + timedelta(1),
        market.last,
    ]


def test_readiness_counts_ads_with_enough_impressions():
    facts = pl.DataFrame(
        {
            "account_id": "a",
            "ad_id": [str(ad) for ad in range(50) for _ in range(2)],
            "impressions": [50, 50] * 49 + [99, None],
            "link_clicks": [1, 0] * 49 + [3, 7],
        }
    )
    found = readiness(facts, SETTINGS)
    assert (found.ready, found.ads) == (False, 49)
    assert found.reason == "49 ads have at least 100 impressions; 50 are needed to train."
    enough = facts.with_columns(pl.col("impressions").fill_null(1))
    assert (readiness(enough, SETTINGS).ready, readiness(enough, SETTINGS).ads) == (True, 50)
    assert not readiness(enough.with_columns(link_clicks=0), SETTINGS).ready
    assert not readiness(facts.clear(), SETTINGS).ready


def test_what_cannot_be_trained_is_an_error_that_says_why(frame):
    with pytest.raises(ValueError, match="0 ad-days with 0 clicks"):
        train(frame.clear(), QUICK)
    with pytest.raises(ValueError, match="with 0 clicks teach no model"):
        train(frame.with_columns(link_clicks=0), QUICK)
    with pytest.raises(ValueError, match=r"link_clicks outside 0 to impressions: .*'ad_id'"):
        train(frame.with_columns(link_clicks=pl.col("impressions") + 1), QUICK)
    with pytest.raises(ValueError, match="feature 'seen' is Date"):
        train(frame.with_columns(seen="date"), QUICK)
    with pytest.raises(ValueError, match="no column 'link_clicks'"):
        train(frame.drop("link_clicks"), QUICK)


def test_frames_that_do_not_fit_are_an_error_that_says_why(market, small, frame):
    with pytest.raises(ValueError, match="no feature 'hook_words', 'text_score' in the frame"):
        small.predict(frame.drop("hook_words", "text_score"))
    asked = market.facts.head(2)
    with pytest.raises(ValueError, match="ad_days: no column 'audience'"):
        features(asked.drop("audience"), market.facts, market.creatives, SETTINGS)
    with pytest.raises(ValueError, match=r"creatives: .* appears more than once"):
        features(asked, market.facts, pl.concat([market.creatives, market.creatives.head(1)]), SETTINGS)
    with pytest.raises(ValueError, match="creatives: column 'weekday' is computed here"):
        features(asked, market.facts, market.creatives.with_columns(weekday=1), SETTINGS)
