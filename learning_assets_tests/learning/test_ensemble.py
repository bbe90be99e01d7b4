"""The vote of three models: what it rests on, what it says of new and of old ads, and whether its intervals hold."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from polars.testing import assert_frame_equal

from learning_assets.learning import ensemble
from learning_assets.learning.ensemble import Parameters, learn, vote
from learning_assets.learning.targets import CTR, Target
from learning_assets.settings import Models

CVR = Target("cvr", "conversions", "link_clicks")
ROAS = Target("roas", "revenue_micros", "spend_micros", money=True)

SETTINGS = Models()
START = date(2026, 3, 1)
WEIGHTS = [f"weight_{name}" for name in ensemble.MEMBERS]
FIXED = Parameters(
    target="ctr",
    learned=False,
    reason="set by hand",
    first_day=None,
    last_day=None,
    known_until=None,
    ad_days=0,
    events=0.0,
    strength=50.0,
    dna_weight=0.25,
    dna_strength=10.0,
    prior_variance=0.02,
    widening=1.0,
    day_noise=0.0,
    calibration=(),
    units={},
)
UNCALIBRATED = SETTINGS.model_copy(update={"calibration_events": 1e12, "calibration_account_events": 1e12})


def simulated(
    seed: int,
    *,
    differ: float,
    ads: int = 300,
    days: int = 40,
    shown: float = 2_000,
    day_noise: float = 0.0,
    bias: float = 1.0,
    dna_error: float | None = None,
) -> pl.DataFrame:
    """Ads whose true rate is Gamma around XGBoost's (coefficient of variation `differ`), which is off by `bias`; `truth` is each day's mean."""
    rng = np.random.default_rng(seed)
    said = 0.015 * np.exp(0.3 * rng.normal(size=ads))
    truth = said * (rng.gamma(1 / differ**2, differ**2, ads) if differ else 1.0)
    day, ad = (axis.ravel() for axis in np.indices((days, ads)))
    rate = truth[ad] * np.exp(day_noise * rng.normal(size=len(ad)) - day_noise**2 / 2)
    impressions = rng.poisson(shown, len(ad))
    dna = np.full(ads, np.nan) if dna_error is None else truth * np.exp(dna_error * rng.normal(size=ads))
    return pl.DataFrame(
        {
            "date": [START + timedelta(days=int(number)) for number in day],
            "account_id": [f"account {number % 10}" for number in ad],
            "ad_id": [f"ad {number}" for number in ad],
            "impressions": impressions,
            "link_clicks": rng.poisson(impressions * rate),
            "own_history": 0.015,
            "xgboost": said[ad] / bias,
            "dna_score": dna[ad],
            "truth": truth[ad],
        }
    ).with_columns(pl.col("dna_score").fill_nan(None))


def facts(rows: list[tuple[int, str, int, int, float | None, float | None]]) -> pl.DataFrame:
    """(day, ad, impressions, clicks, xgboost, dna score) of one account."""
    names = ["day", "ad_id", "impressions", "link_clicks", "xgboost", "dna_score"]
    kinds = [pl.Int64, pl.String, pl.Int64, pl.Int64, pl.Float64, pl.Float64]
    frame = pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row")
    return frame.select(
        pl.lit(START).alias("date") + pl.duration(days="day"), pl.lit("account").alias("account_id"), *names[1:]
    )


def asked(ad: str = "a", day: int = 30, **members: float | None) -> pl.DataFrame:
    """One ad to predict."""
    said = dict.fromkeys(ensemble.MEMBERS) | members
    schema = {"date": pl.Date, "account_id": pl.String, "ad_id": pl.String, **dict.fromkeys(ensemble.MEMBERS, pl.Float64)}
    return pl.DataFrame([{"date": START + timedelta(days=day), "account_id": "account", "ad_id": ad, **said}], schema=schema)


def split(rows: pl.DataFrame, day: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Facts before a day, and the ad-days of it."""
    cut = START + timedelta(days=day)
    return rows.filter(pl.col("date") < cut), rows.filter(pl.col("date") == cut)


NOTHING = facts([])


# The formula.


def test_a_new_ad_has_the_rate_of_its_prior():
    voted = vote(asked(own_history=0.02, xgboost=0.01, dna_score=0.04), NOTHING, FIXED, CTR, SETTINGS).row(0, named=True)
    assert voted["ensemble"] == pytest.approx(0.01**0.75 * 0.04**0.25)
    assert (voted["weight_own_history"], voted["weight_xgboost"], voted["weight_dna_score"]) == (0, 0.75, 0.25)
    # Its own history is that of its account.
    assert voted["fixed_vote"] == pytest.approx((0.4 * 0.01 + 0.2 * 0.04) / 0.6)
    assert "no past" in voted["vote_note"]


def test_three_clicks_change_little_and_thousands_decide():
    parameters = FIXED.__class__.from_json(FIXED.to_json())
    few = facts([(29, "a", 100, 3, 0.01, None)])
    many = facts([(day, "a", 20_000, 600, 0.01, None) for day in range(30)])
    lightly = vote(asked(own_history=0.02, xgboost=0.01), few, parameters, CTR, UNCALIBRATED)
    heavily = vote(asked(own_history=0.03, xgboost=0.01), many, parameters, CTR, UNCALIBRATED)
    assert lightly["ensemble"].item() == pytest.approx(0.01 * (50 + 3 * 0.95) / (50 + 1 * 0.95))
    assert lightly["weight_own_history"].item() < 0.02
    assert heavily["ensemble"].item() == pytest.approx(0.03, rel=0.02)
    assert heavily["weight_own_history"].item() > 0.97
    assert heavily["rate_variance"].item() < lightly["rate_variance"].item() / 50


def test_own_counts_are_decayed_by_age_and_expected_is_what_was_said_before():
    past = facts([(27, "a", 1_000, 30, 0.02, None), (29, "a", 1_000, 10, 0.01, None), (29, "b", 9_000, 900, 0.01, None)])
    voted = vote(asked(own_history=0.01, xgboost=0.05), past, FIXED, CTR, UNCALIBRATED).row(0, named=True)
    events, expected = 30 * 0.95**3 + 10 * 0.95, 20 * 0.95**3 + 10 * 0.95
    assert (voted["own_events"], voted["own_expected"]) == (pytest.approx(events), pytest.approx(expected))
    assert voted["ensemble"] == pytest.approx(0.05 * (50 + events) / (50 + expected))
    assert voted["weight_own_history"] == pytest.approx(expected / (50 + expected))


def test_a_day_without_a_stored_prediction_counts_as_the_present_one_says():
    past = facts([(29, "a", 1_000, 30, None, None)])
    voted = vote(asked(xgboost=0.02), past, FIXED, CTR, SETTINGS).row(0, named=True)
    assert voted["own_expected"] == pytest.approx(0.95 * 1_000 * 0.02)


def test_the_newest_days_calibrate_and_few_clicks_do_so_little():
    def factor(impressions: int) -> float:
        past = facts([(day, "b", impressions, impressions // 50, 0.01, None) for day in range(20, 30)])
        return vote(asked(xgboost=0.01), past, FIXED, CTR, SETTINGS)["prior"].item() / 0.01

    assert 1 < factor(200) < 1.04
    assert factor(1_000_000) == pytest.approx(2, rel=0.02)


@given(
    own=st.none() | st.floats(0, 0.2),
    xgboost=st.none() | st.floats(0, 0.2),
    dna=st.none() | st.floats(0, 0.2),
    history=st.lists(
        st.tuples(st.integers(0, 20_000), st.integers(0, 500), st.none() | st.floats(0, 0.2), st.none() | st.floats(0, 0.2)),
        max_size=8,
    ),
)
@effort(max_examples=60, deadline=None)
def test_weights_sum_to_one_and_the_vote_is_a_rate(own: Any, xgboost: Any, dna: Any, history: Any):
    past = facts([(day, "a", shown, clicks, one, other) for day, (shown, clicks, one, other) in enumerate(history)])
    voted = vote(asked(own_history=own, xgboost=xgboost, dna_score=dna), past, FIXED, CTR, SETTINGS).row(0, named=True)
    if own is None and xgboost is None and dna is None:
        assert [voted[name] for name in ("ensemble", "fixed_vote", *WEIGHTS)] == [None] * 5
        assert voted["vote_note"] == "No member says anything of this ad."
        return
    weights = [voted[name] for name in WEIGHTS]
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert 0 <= voted["ensemble"] <= 1
    said = [value for value in (own, xgboost, dna) if value is not None]
    assert min(said) - 1e-9 <= voted["fixed_vote"] <= max(said) + 1e-9


@pytest.mark.parametrize(
    ("members", "ensemble_rate", "weights", "fixed", "note"),
    [
        ({"xgboost": 0.01}, 0.01, (0, 1, 0), 0.01, "no past"),
        ({"dna_score": 0.03}, 0.03, (0, 0, 1), 0.03, "no past"),
        ({"own_history": 0.02}, 0.02, (1, 0, 0), 0.02, "stands alone"),
    ],
)
def test_a_missing_member_is_left_out(members, ensemble_rate, weights, fixed, note):
    voted = vote(asked(**members), NOTHING, FIXED, CTR, SETTINGS).row(0, named=True)
    assert voted["ensemble"] == pytest.approx(ensemble_rate)
    assert tuple(voted[name] for name in WEIGHTS) == weights
    assert voted["fixed_vote"] == pytest.approx(fixed)
    assert note in voted["vote_note"]
    interval = ensemble.intervals(vote(asked(**members), NOTHING, FIXED, CTR, SETTINGS), 0.8).row(0, named=True)
    assert (interval["rate_low"] is None) == ("own_history" in members)


def test_the_dna_score_alone_has_a_strength_of_its_own():
    past = facts([(29, "a", 1_000, 30, None, 0.01)])
    voted = vote(asked(own_history=0.02, dna_score=0.01), past, FIXED, CTR, UNCALIBRATED).row(0, named=True)
    assert voted["ensemble"] == pytest.approx(0.01 * (10 + 28.5) / (10 + 9.5))
    assert voted["weight_xgboost"] == 0
    assert voted["rate_variance"] == pytest.approx(1 / (10 + 28.5))
    assert voted["vote_note"] == "XGBoost says nothing: the DNA score is the prior."


def test_mean_weights_sum_to_one():
    rows = simulated(1, differ=0.2, ads=30, days=10, dna_error=0.2)
    past, ads = split(rows, 9)
    means = ensemble.mean_weights(vote(ads, past, FIXED, CTR, SETTINGS))
    assert list(means) == list(ensemble.MEMBERS)
    assert sum(value for value in means.values() if value is not None) == pytest.approx(1)


def test_nothing_to_predict_gives_no_rows():
    voted = vote(asked().clear(), NOTHING, FIXED, CTR, SETTINGS)
    assert voted.height == 0
    assert voted.columns == [*asked().columns, *ensemble.VOTE]
    assert ensemble.mean_weights(voted) == dict.fromkeys(ensemble.MEMBERS)


# What is learned.


def test_a_strong_prior_is_chosen_where_ads_do_not_differ_from_it():
    assert learn(simulated(2, differ=0.0), CTR, SETTINGS).strength >= 3_200


@pytest.mark.parametrize("seed", [3, 4])
def test_the_strength_is_that_by_which_ads_differ(seed):
    found = learn(simulated(seed, differ=0.2), CTR, SETTINGS)
    assert found.learned
    assert 10 <= found.strength <= 50  # 1 / 0.2² = 25
    assert found.dna_weight == 0


def test_the_dna_score_is_pooled_where_it_helps():
    knows = learn(simulated(5, differ=0.3, days=20, shown=300, dna_error=0.1), CTR, SETTINGS)
    noise = learn(simulated(5, differ=0.1, days=20, shown=300, dna_error=0.8), CTR, SETTINGS)
    assert knows.dna_weight >= 0.3
    assert noise.dna_weight <= 0.05
    assert knows.dna_strength > noise.dna_strength


def test_the_vote_beats_prior_and_own_history():
    lasting = SETTINGS.model_copy(update={"history_decay": 1.0})  # these ads do not change
    past, ads = split(simulated(6, differ=0.25, days=20, bias=1.15, shown=100), 19)
    voted = vote(ads, past, learn(past, CTR, lasting), CTR, lasting)
    own = past.group_by("ad_id").agg(own=pl.col("link_clicks").sum() / pl.col("impressions").sum())
    told = voted.join(own, on="ad_id")
    errors = {
        name: float(told.select(((pl.col(name) - pl.col("truth")) ** 2).sum()).item()) for name in ("ensemble", "prior", "own")
    }
    assert errors["ensemble"] < 0.8 * min(errors["prior"], errors["own"])


def test_what_the_calibration_was_is_told():
    found = learn(simulated(7, differ=0.1, bias=1.2), CTR, SETTINGS)
    (one,) = found.calibration
    assert one.member == "xgboost"
    assert one.factor == pytest.approx(1.2, rel=0.02)
    assert one.events / one.expected == pytest.approx(1.2, rel=0.02)


def test_too_little_is_said_and_not_learned():
    rows = simulated(8, differ=0.2, ads=20, days=3)
    found = learn(rows, CTR, SETTINGS)
    assert not found.learned
    assert found.reason.startswith("3 days with")
    assert (found.strength, found.dna_strength) == (SETTINGS.ensemble_strength, SETTINGS.ensemble_dna_strength)
    nothing = learn(rows.clear(), CTR, SETTINGS)
    assert (nothing.learned, nothing.first_day, nothing.known_until, nothing.calibration) == (False, None, None, ())
    unstored = learn(simulated(8, differ=0.2).with_columns(xgboost=pl.lit(None, pl.Float64)), CTR, SETTINGS)
    assert not unstored.learned
    assert unstored.reason.startswith("0 days with 0 events")


def test_a_member_with_too_few_events_keeps_its_strength_and_the_reason_says_so():
    found = learn(simulated(8, differ=0.2), CTR, SETTINGS)
    assert found.learned
    assert found.dna_strength == SETTINGS.ensemble_dna_strength
    assert found.reason.endswith("The DNA score has too few events, so that its strength is that of the settings.")
    lonely = simulated(8, differ=0.2).with_columns(dna_score="xgboost", xgboost=pl.lit(None, pl.Float64))
    found = learn(lonely, CTR, SETTINGS)
    assert found.strength == SETTINGS.ensemble_strength
    assert 10 <= found.dna_strength <= 50
    assert "XGBoost has too few events" in found.reason


@pytest.mark.parametrize("target", [CTR, ROAS])
def test_parameters_are_kept_as_text(target):
    rows = simulated(9, differ=0.2, ads=40, days=30).with_columns(
        spend_micros=pl.col("impressions"), revenue_micros=10 * pl.col("link_clicks")
    )
    found = learn(rows, target, SETTINGS)
    assert found.learned
    assert Parameters.from_json(found.to_json()) == found


def test_the_order_of_the_rows_does_not_matter():
    rows = simulated(10, differ=0.2, ads=40, days=20, dna_error=0.2)
    past, ads = split(rows, 19)
    mixed = past.sample(fraction=1, shuffle=True, seed=1)
    found, again = learn(past, CTR, SETTINGS), learn(mixed, CTR, SETTINGS)
    assert (again.strength, again.dna_weight, again.day_noise) == (found.strength, found.dna_weight, found.day_noise)
    assert_frame_equal(
        vote(ads, past, found, CTR, SETTINGS), vote(ads.reverse(), mixed, found, CTR, SETTINGS).reverse(), rel_tol=1e-9
    )


# No look-ahead.


def test_the_day_itself_and_later_days_change_nothing():
    rows = simulated(11, differ=0.2, ads=40, days=25, dna_error=0.2)
    past, ads = split(rows, 20)
    parameters = learn(past, CTR, SETTINGS)
    told = rows.with_columns(
        pl.when(pl.col("date") >= START + timedelta(days=20)).then(1_000).otherwise("link_clicks").alias("link_clicks")
    )
    assert_frame_equal(vote(ads, past, parameters, CTR, SETTINGS), vote(ads, told, parameters, CTR, SETTINGS))


def test_what_is_scored_was_predicted_from_days_before_it():
    """Clicks of the newest day change the loss, but not what was said of that day."""
    rows = simulated(12, differ=0.2, ads=40, days=12)
    past, newest = split(rows, 11)
    blind = vote(newest, past, FIXED, CTR, SETTINGS)
    seeing = vote(newest, pl.concat([past, newest.with_columns(link_clicks=pl.lit(0, pl.Int64))]), FIXED, CTR, SETTINGS)
    assert_frame_equal(blind, seeing)


def test_parameters_that_saw_the_day_are_refused():
    rows = simulated(13, differ=0.2, ads=20, days=12)
    past, ads = split(rows, 11)
    with pytest.raises(ValueError, match="rest on facts up to 2026-03-12, and 2026-03-12 is to be predicted"):
        vote(ads, past, learn(rows, CTR, SETTINGS), CTR, SETTINGS)


# Intervals.


@pytest.mark.parametrize(("shown", "day_noise"), [(300, 0.05), (10_000, 0.10)])
def test_intervals_hold_what_they_promise(shown, day_noise):
    inside, true, transformed = [], [], []
    rng = np.random.default_rng(1)
    for seed in range(2):
        rows = simulated(20 + seed, differ=0.2, days=31, shown=shown, day_noise=day_noise)
        past, ads = split(rows, 30)
        parameters = learn(past, CTR, SETTINGS)
        voted = ensemble.intervals(vote(ads, past, parameters, CTR, SETTINGS), 0.8)
        voted = ensemble.count_intervals(voted, "impressions", parameters, 0.8)
        inside.append(voted.select(pl.col("link_clicks").is_between("numerator_low", "numerator_high")).to_series())
        true.append(voted.select(pl.col("truth").is_between("rate_low", "rate_high")).to_series())
        transformed.append(ensemble.pit(voted, CTR, parameters, rng.random(voted.height)))
    coverage = pl.concat(inside).mean()
    pit = np.concatenate(transformed)
    assert 0.77 <= np.mean((pit >= 0.1) & (pit <= 0.9)) <= 0.83
    assert 0.45 <= np.mean(pit) <= 0.55
    assert isinstance(coverage, float)
    assert 0.77 <= coverage <= 0.90  # closed intervals of counts hold more
    assert 0.70 <= float(pl.concat(true).mean()) <= 0.90  # pyright: ignore[reportArgumentType]


def test_the_transform_is_uniform_for_rare_counts():
    rows = simulated(30, differ=0.2, ads=4_000, days=1, shown=20)
    voted = vote(rows, rows.clear(), FIXED, CTR, SETTINGS)
    parameters = Parameters.from_json(FIXED.to_json())
    pit = ensemble.pit(voted, CTR, parameters, np.random.default_rng(2).random(voted.height))
    assert_allclose(np.quantile(pit, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)


def test_unknown_is_not_transformed():
    voted = vote(pl.concat([asked(xgboost=0.01), asked()]), NOTHING, FIXED, CTR, SETTINGS)
    known = voted.with_columns(impressions=pl.Series([None, 10]), link_clicks=pl.Series([1, 1]))
    assert np.isnan(ensemble.pit(known, CTR, FIXED, [0.5, 0.5])).all()
    ends = ensemble.count_intervals(known, "impressions", FIXED, 0.8)
    assert ends["numerator_low"].null_count() == ends["numerator_high"].null_count() == 2


# Conversions and money.


def test_more_conversions_than_clicks_are_no_error():
    rows = simulated(14, differ=0.2, ads=40, days=20).rename({"link_clicks": "conversions", "impressions": "link_clicks"})
    rows = rows.with_columns(link_clicks=pl.when(pl.col("ad_id") == "ad 1").then(1).otherwise("link_clicks"))
    assert learn(rows, CVR, SETTINGS).learned


def money(seed: int, currency: float, ads: int = 120, days: int = 30) -> pl.DataFrame:
    """Orders worth 60 ± 30 of a currency; the true ROAS of ads varies by 30 % around 2."""
    rng = np.random.default_rng(seed)
    truth = 2 * np.exp(0.3 * rng.normal(size=ads) - 0.045)
    day, ad = (axis.ravel() for axis in np.indices((days, ads)))
    spend = rng.uniform(50, 150, len(ad))
    orders = rng.poisson(spend * truth[ad] / 60)
    revenue = np.where(orders > 0, rng.gamma(np.maximum(4 * orders, 1), 15), 0)
    return pl.DataFrame(
        {
            "date": [START + timedelta(days=int(number)) for number in day],
            "account_id": [f"account {number % 4}" for number in ad],
            "ad_id": [f"ad {number}" for number in ad],
            "spend_micros": np.rint(spend * currency * 1e6).astype(np.int64),
            "revenue_micros": np.rint(revenue * currency * 1e6).astype(np.int64),
            "own_history": 2.0,
            "xgboost": 2.0,
            "dna_score": None,
            "truth": truth[ad],
        },
        schema_overrides={"dna_score": pl.Float64},
    )


def test_money_is_reckoned_in_equivalent_events_whatever_the_currency():
    dollars, yen = (money(15, currency) for currency in (1.0, 150.0))
    for rows, currency in ((dollars, 1.0), (yen, 150.0)):
        found = learn(split(rows, 29)[0], ROAS, SETTINGS)
        # Variance over mean of compound Poisson sums: E[value²] / E[value] = 75.
        assert list(found.units.values()) == pytest.approx([75e6 * currency] * 4, rel=0.15)
        assert 5 <= found.strength <= 20  # 1 / 0.3² = 11
        past, ads = split(rows, 29)
        voted = vote(ads, past, found, ROAS, SETTINGS)
        error = voted.select((pl.col("ensemble") / pl.col("truth")).log().std()).item()
        assert error < 0.2
        pit = ensemble.pit(voted, ROAS, found, np.random.default_rng(3).random(voted.height))
        assert 0.65 <= np.mean((pit >= 0.1) & (pit <= 0.9)) <= 0.93
    told = [
        vote(split(rows, 29)[1], split(rows, 29)[0], learn(split(rows, 29)[0], ROAS, SETTINGS), ROAS, SETTINGS)
        for rows in (dollars, yen)
    ]
    assert_allclose(told[0]["ensemble"].to_numpy(), told[1]["ensemble"].to_numpy(), rtol=1e-4)


def test_an_account_whose_revenue_is_not_understood_has_no_own_history():
    rows = money(16, 1.0).with_columns(
        revenue_micros=pl.when(pl.col("account_id") == "account 1").then(0).otherwise("revenue_micros")
    )
    past, ads = split(rows, 29)
    found = learn(past, ROAS, SETTINGS)
    assert sorted(found.units) == ["account 0", "account 2", "account 3"]
    voted = vote(ads, past, found, ROAS, SETTINGS).filter(pl.col("account_id") == "account 1")
    assert voted["weight_own_history"].unique().to_list() == [0]
    assert voted["own_events"].null_count() == voted.height
    assert "How the account's revenue varies is not known" in voted["vote_note"][0]


# What is refused.


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"link_clicks": pl.lit(-1)}, "link_clicks is -1"),
        ({"ad_id": pl.lit("same"), "account_id": pl.lit("same")}, "appears more than once"),
        ({"account_id": pl.lit(None, pl.String)}, "NULL in account_id"),
        ({"xgboost": pl.lit(-0.1)}, "a predicted rate is at least 0"),
        ({"dna_score": pl.lit(float("nan"))}, "a predicted rate is at least 0"),
    ],
)
def test_wrong_rows_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        learn(simulated(17, differ=0.2, ads=5, days=2).with_columns(**change), CTR, SETTINGS)


def test_wrong_arguments_are_refused():
    rows = simulated(18, differ=0.2, ads=5, days=2)
    with pytest.raises(ValueError, match="no column 'xgboost'"):
        learn(rows.drop("xgboost"), CTR, SETTINGS)
    with pytest.raises(ValueError, match="no column 'own_history'"):
        vote(asked().drop("own_history"), NOTHING, FIXED, CTR, SETTINGS)
    with pytest.raises(ValueError, match="learned for ctr, not for cvr"):
        vote(asked(), NOTHING, FIXED, CVR, SETTINGS)
    with pytest.raises(ValueError, match="'prior' is computed here"):
        vote(asked().with_columns(prior=1.0), NOTHING, FIXED, CTR, SETTINGS)
    voted = vote(asked(xgboost=0.01), NOTHING, FIXED, CTR, SETTINGS).with_columns(impressions=10, link_clicks=1)
    for level in (0, 1):
        with pytest.raises(ValueError, match="level"):
            ensemble.intervals(voted, level)
        with pytest.raises(ValueError, match="level"):
            ensemble.count_intervals(voted, "impressions", FIXED, level)
    with pytest.raises(ValueError, match="1 draws from 0 to 1"):
        ensemble.pit(voted, CTR, FIXED, [0.5, 0.5])
    with pytest.raises(ValueError, match="1 draws from 0 to 1"):
        ensemble.pit(voted, CTR, FIXED, [1.5])


def test_a_target_may_have_other_columns():
    rows = simulated(19, differ=0.2, ads=40, days=20).rename({"link_clicks": "views"})
    assert learn(rows, Target("hook_rate", "views", "impressions"), SETTINGS).learned
