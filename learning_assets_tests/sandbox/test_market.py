"""The simulated market: one function of the day, with the moments that its parameters promise."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from learning_assets.learning.hooks import HOOK_TYPES
from learning_assets.platforms.source import ACTUALS, CATALOG, HOURLY, REACH
from learning_assets.sandbox import copywriter
from learning_assets.sandbox.delivery import HOUR_SHARES, RETRACTED_SHARE
from learning_assets.sandbox.draws import poisson
from learning_assets.sandbox.market import (
    NICHES,
    VARIANTS,
    WEEKDAY_CTR,
    WEEKDAY_VOLUME,
    Market,
    MarketParams,
    Places,
    launch_at_random,
)

EPOCH = date(2026, 3, 1)
LATE = EPOCH + timedelta(days=365)
FIRST, LAST = EPOCH - timedelta(days=90), EPOCH - timedelta(days=1)


def day(number: int) -> date:
    """The day `number` days after the epoch."""
    return EPOCH + timedelta(days=number)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(MarketParams(), EPOCH)


@pytest.fixture(scope="module")
def actuals(market: Market) -> pl.DataFrame:
    return market.actuals(FIRST, LAST, LATE)


@pytest.fixture(scope="module")
def crowd() -> Market:
    """Enough accounts for the moments between accounts."""
    return Market(MarketParams(accounts=600), EPOCH)


def test_a_seed_is_a_market(actuals: pl.DataFrame):
    assert_frame_equal(Market(MarketParams(), EPOCH).actuals(FIRST, LAST, LATE), actuals)
    other = Market(MarketParams(seed=8), EPOCH).actuals(FIRST, LAST, LATE)
    assert other["link_clicks"].sum() != actuals["link_clicks"].sum()


@settings(max_examples=15, deadline=None)
@given(number=st.integers(-90, 40), known=st.integers(-90, 80), seed=st.integers(0, 2**31), length=st.integers(1, 60))
def test_a_day_alone_equals_the_day_in_a_range(number: int, known: int, seed: int, length: int):
    market = Market(MarketParams(seed=seed, accounts=4, ads=8), EPOCH)
    first = number - seed % length
    ranged = market.actuals(day(first), day(first + length - 1), day(known))
    alone = market.actuals(day(number), day(number), day(known))
    assert_frame_equal(ranged.filter(pl.col("date") == day(number)), alone)
    rates = market.expected_rates(day(first), day(first + length - 1)).filter(pl.col("date") == day(number))
    assert_frame_equal(rates, market.expected_rates(day(number), day(number)), rel_tol=0, abs_tol=0)


def test_an_account_does_not_depend_on_how_many_others_there_are(actuals: pl.DataFrame):
    few = Market(MarketParams(accounts=3), EPOCH).actuals(FIRST, LAST, LATE)
    assert_frame_equal(actuals.join(few.select("account_id").unique(), on="account_id", how="semi"), few)


def test_the_epoch_moves_dates_and_weekdays_only(market: Market):
    week_later = Market(MarketParams(), EPOCH + timedelta(days=7))
    moved = week_later.actuals(day(7), day(7), day(7)).with_columns(pl.col("date").dt.offset_by("-7d"))
    assert_frame_equal(moved, market.actuals(EPOCH, EPOCH, EPOCH))


def test_columns_are_those_of_a_source(market: Market, actuals: pl.DataFrame):
    assert actuals.select(ACTUALS.names()).schema == ACTUALS
    assert market.catalog(EPOCH).select(CATALOG.names()).schema == CATALOG
    assert market.hourly(EPOCH, EPOCH).schema == HOURLY


def test_size_and_unique_keys(actuals: pl.DataFrame):
    assert actuals.height == 20 * 30 * 90
    assert not actuals.select("date", "account_id", "ad_id").is_duplicated().any()
    assert actuals.null_count().select(pl.exclude("video_3s_views")).sum_horizontal().item() == 0
    assert actuals["impressions"].mean() == pytest.approx(1_000, rel=0.1)


def test_counts_are_possible(actuals: pl.DataFrame):
    for parent, part in (
        ("impressions", "link_clicks"),
        ("link_clicks", "conversions"),
        ("link_clicks", "outbound_clicks"),
        ("clicks_all", "link_clicks"),
        ("impressions", "clicks_all"),
        ("impressions", "reach"),
        ("impressions", "video_3s_views"),
    ):
        assert (actuals[part] <= actuals[parent]).all(), part
        assert (actuals[part] >= 0).all()
    assert (actuals["spend_micros"] >= 0).all()
    assert ((actuals["revenue_micros"] > 0) == (actuals["conversions"] > 0)).all()


def test_people_of_a_week_are_fewer_than_those_of_its_days(market: Market, actuals: pl.DataFrame):
    key = ["account_id", "ad_id"]
    for last in (LAST, LAST - timedelta(days=40)):
        first = last - timedelta(days=6)
        week = market.reach(first, last)
        assert week.match_to_schema(REACH).equals(week)
        inside = actuals.filter(pl.col("date").is_between(first, last)).group_by(key)
        days = inside.agg(pl.col("impressions").sum(), sum=pl.col("reach").sum(), most=pl.col("reach").max(), days=pl.len())
        both = week.join(days, on=key, suffix=" of days")
        assert both.height == week.height == days.height
        assert (both["impressions"] == both["impressions of days"]).all()
        assert (both["reach"] >= both["most"]).all()
        several = both.filter(pl.col("days of days") > 1)
        assert (several["reach"] < several["sum"]).all()
    one = market.reach(LAST, LAST).select(*key, "reach").sort(key)
    assert one.equals(actuals.filter(date=LAST).select(*key, "reach").sort(key))


def test_people_see_an_old_ad_more_often(market: Market):
    week = market.reach(LAST - timedelta(days=6), LAST)
    starts = market.catalog(LAST).select("ad_id", age=(LAST - pl.col("starts_on")).dt.total_days())
    seen = week.join(starts, on="ad_id").with_columns(frequency=pl.col("impressions") / pl.col("reach"))
    young, month = seen.filter(pl.col("age").is_between(7, 12)), seen.filter(pl.col("age").is_between(28, 34))
    old = seen.filter(pl.col("age") > 70)
    assert young["frequency"].mean() == pytest.approx(1.9, abs=0.15)
    assert month["frequency"].mean() == pytest.approx(2.6, abs=0.15)
    assert old["frequency"].mean() == pytest.approx(3.4, abs=0.2)


def test_mean_rates_are_the_parameters(crowd: Market):
    rates = crowd.expected_rates(day(-6), day(0))
    # The account effects alone leave 0.4 / sqrt(600) = 1.6 % of standard error.
    assert rates["ctr"].mean() == pytest.approx(0.015, rel=0.06)
    assert rates["ctr_forecast"].mean() == pytest.approx(rates["ctr"].mean(), rel=0.002)
    assert rates["cvr"].mean() == pytest.approx(0.03, rel=0.04)


def test_standard_deviations_are_the_parameters(crowd: Market):
    truth = crowd.truth(day(0), day(0))
    ads = truth.ads.unique("creative_id")
    assert ads.group_by("account_id").agg(pl.col("account_effect").first())["account_effect"].std() == pytest.approx(
        0.4, rel=0.1
    )
    assert ads["ad_effect"].std() == pytest.approx(0.3, rel=0.05)
    levels = truth.effects.filter(pl.col("scope") != "account")
    sds = levels.group_by("attribute", "scope_id").agg(pl.col("log_effect").var(), pl.col("log_effect").mean().alias("mean"))
    assert np.sqrt(sds["log_effect"].to_numpy().mean()) == pytest.approx(0.15, rel=0.2)
    assert (sds["mean"].abs() < 1e-12).all()
    deviations = truth.effects.filter(pl.col("scope") == "account")
    assert deviations.height == 600 * (16 + 4 + 4 + 6 + 6)
    assert deviations["log_effect"].std() == pytest.approx(0.10, rel=0.03)


def test_estimated_ad_day_deviation_is_the_parameter():
    """On 200,000 impressions a day, what is left of log CTR after the forecast and the count noise is the day noise."""
    for sd in (0.05, 0.10):
        market = Market(MarketParams(accounts=10, impressions=200_000, ad_day_sd=sd), EPOCH)
        seen = market.actuals(day(-30), day(0), LATE).join(
            market.expected_rates(day(-30), day(0)), on=["date", "account_id", "ad_id"]
        )
        residual = seen.select(pl.col("link_clicks") / pl.col("impressions") / pl.col("ctr_forecast")).to_series().log()
        count_noise = (1 / seen["link_clicks"].to_numpy()).mean()
        assert np.sqrt(residual.to_numpy().var() - count_noise) == pytest.approx(sd, rel=0.03)


def test_clicks_are_drawn_from_the_true_rates(market: Market, actuals: pl.DataFrame):
    seen = actuals.join(market.expected_rates(FIRST, LAST), on=["date", "account_id", "ad_id"])
    expected = seen["impressions"] * seen["ctr"]
    assert seen["link_clicks"].sum() == pytest.approx(expected.sum(), rel=0.005)
    assert (((seen["link_clicks"] - expected) ** 2) / expected).mean() == pytest.approx(1.0, abs=0.03)
    bought = seen["link_clicks"] * seen["cvr"]
    assert seen["conversions"].sum() == pytest.approx(bought.sum(), rel=0.03)


def test_effects_can_be_recovered_from_the_rates(market: Market):
    """The true CTR of an ad is what its parts say: fatigue, weekday and drift are the same for ads of one account and age."""
    truth = market.truth(day(0), day(0)).ads
    rates = market.expected_rates(day(0), day(0)).join(truth, on=["account_id", "ad_id"])
    age = (pl.lit(day(0)) - pl.col("starts_on")).dt.total_days()
    fatigue = 0.55 + 0.45 * pl.lit(2.0).pow(-age / 21)
    rest = rates.with_columns(rest=(pl.col("ctr_forecast") / fatigue).log() - pl.col("log_ctr"))
    assert rest.group_by("account_id").agg(pl.col("rest").std())["rest"].to_numpy().max() < 1e-12


def test_fatigue_halves_what_wears_off_every_21_days():
    market = Market(MarketParams(accounts=30, drift_sd=0.0), EPOCH)
    rates = market.expected_rates(day(-84), day(0)).join(market.truth(day(-84), day(0)).ads, on=["account_id", "ad_id"])
    age = (pl.col("date") - pl.col("starts_on")).dt.total_days()
    by_age = {
        days: rates.filter(age == days).select((pl.col("ctr_forecast").log() - pl.col("log_ctr")).mean()).item()
        for days in (0, 21, 42)
    }
    assert np.exp(by_age[21] - by_age[0]) == pytest.approx(0.55 + 0.45 / 2, rel=0.01)
    assert np.exp(by_age[42] - by_age[0]) == pytest.approx(0.55 + 0.45 / 4, rel=0.01)


def test_roas_is_about_two_in_every_currency(actuals: pl.DataFrame):
    roas = actuals.group_by("account_id", "currency").agg(
        (pl.col("revenue_micros").sum() / pl.col("spend_micros").sum()).alias("roas")
    )
    assert roas["roas"].mean() == pytest.approx(2.0, rel=0.15)
    assert roas["roas"].is_between(0.8, 4).all()
    yen = roas.filter(pl.col("currency") == "JPY")["roas"]
    assert yen.is_between(1, 4).all()


def test_money_is_whole_minor_units(actuals: pl.DataFrame):
    whole = pl.col("currency").is_in(["JPY", "KRW"])
    unit = pl.when(whole).then(1_000_000).otherwise(10_000)
    assert actuals.filter(whole).height > 0
    assert actuals.select(((pl.col("spend_micros") % unit == 0) & (pl.col("revenue_micros") % unit == 0)).all()).item()


def test_order_values_are_60_plus_minus_30(actuals: pl.DataFrame):
    single = actuals.filter((pl.col("currency") == "USD") & (pl.col("conversions") == 1))["revenue_micros"] / 1e6
    assert single.mean() == pytest.approx(60, rel=0.05)
    assert single.std() == pytest.approx(30, rel=0.08)


def test_conversions_become_known_with_a_mean_lag_of_one_and_a_half_days():
    market = Market(MarketParams(accounts=20, impressions=20_000), EPOCH)
    known = [int(market.actuals(day(0), day(0), day(lag))["conversions"].sum()) for lag in range(30)]
    assert known[:4] == sorted(known[:4])
    assert known[28] == known[29]
    final = known[28]
    mean_lag = sum((final - seen) / final for seen in known)
    assert mean_lag == pytest.approx(1.5, rel=0.05)
    assert known[0] / final == pytest.approx(0.4, rel=0.05)


def test_what_is_known_moves_both_ways_and_is_final_at_28_days():
    market = Market(MarketParams(impressions=5_000), EPOCH)
    keys = ["date", "account_id", "ad_id"]
    before = market.actuals(day(-40), day(0), day(-40))
    risen = fallen = 0
    for known in range(-39, 29, 4):
        now = market.actuals(day(-40), day(0), day(known))
        both = before.join(now, on=keys, suffix="_now")
        assert both.height == before.height
        for column in ("conversions", "revenue_micros"):
            risen += (both[f"{column}_now"] > both[column]).sum()
            fallen += (both[f"{column}_now"] < both[column]).sum()
        for column in ("impressions", "link_clicks", "clicks_all", "outbound_clicks", "spend_micros", "reach"):
            assert (both[f"{column}_now"] == both[column]).all()
        assert now.filter(pl.col("is_final"))["date"].max() == (day(known - 28) if known >= -12 else None)
        before = now
    assert risen > 20 * fallen > 20
    final = market.actuals(day(-40), day(0), day(28))
    assert final["is_final"].all()
    assert_frame_equal(final, market.actuals(day(-40), day(0), LATE))


def test_a_small_share_of_conversions_is_taken_back():
    market = Market(MarketParams(impressions=50_000), EPOCH)
    found = market.delivered(day(0), day(0))
    taken = np.isfinite(found.orders.gone) & ~found.orders.late
    assert taken.sum() / (~found.orders.late).sum() == pytest.approx(RETRACTED_SHARE, rel=0.25)
    assert (found.orders.gone >= found.orders.known).all()
    # Whatever is taken back was never part of what stands in the end.
    final = int(market.actuals(day(0), day(0), LATE)["conversions"].sum())
    assert final == int((~found.orders.late & ~taken).sum())


def test_windows_are_nested_and_the_value_is_clicks_of_seven_days_and_views_of_one():
    market = Market(MarketParams(impressions=20_000), EPOCH)
    found = market.delivered(day(-3), day(0))
    for known in (-2.5, 0.0, 1.0, 5.0, 40.0):
        for amounts in (found.conversions(known).counts, found.conversions(known).micros):
            assert (amounts["1d_click"] <= amounts["7d_click"]).all()
            assert (amounts["7d_click"] <= amounts["28d_click"]).all()
            assert (amounts["7d_click"] + amounts["1d_view"] == amounts["value"]).all()
    late = found.conversions(40.0).counts
    assert late["28d_click"].sum() > late["7d_click"].sum() > late["1d_click"].sum() > late["1d_view"].sum() > 0
    actuals = market.actuals(day(-3), day(0), LATE)
    assert (actuals["conversions_7d_click"] + actuals["conversions_1d_view"] == actuals["conversions"]).all()


def test_no_row_is_known_before_its_day_has_ended(market: Market):
    assert market.actuals(day(-1), day(5), day(0))["date"].max() == day(0)
    assert market.actuals(day(1), day(5), day(0)).is_empty()


def test_every_ad_with_delivery_is_in_the_days_catalog(market: Market, actuals: pl.DataFrame):
    for number in range(-90, 0, 9):
        catalog = market.catalog(day(number))
        assert not catalog.select("account_id", "ad_id").is_duplicated().any()
        delivered = actuals.filter(pl.col("date") == day(number))
        live = catalog.filter(pl.col("status").is_in(["active", "deleted"]))
        assert sorted(live["ad_id"]) == sorted(delivered["ad_id"])
        assert live.group_by("account_id").len()["len"].to_list() == [30] * 20


def test_scheduled_ads_start_the_next_day(market: Market):
    announced = pl.concat([market.catalog(day(number)).filter(pl.col("status") == "scheduled") for number in range(-28, 0)])
    assert announced.height > 80
    for number in range(-28, 0):
        ads = announced.filter(pl.col("starts_on") == day(number + 1))["ad_id"]
        assert set(ads) <= set(market.catalog(day(number + 1)).filter(pl.col("status") != "scheduled")["ad_id"])
        assert not set(ads) & set(market.actuals(day(number), day(number), LATE)["ad_id"])


def test_launches_are_two_a_week_an_account():
    market = Market(MarketParams(accounts=100), EPOCH)
    launched = market.truth(day(-364), day(-1)).ads.filter(pl.col("starts_on") >= day(-364))
    assert launched.height / 100 / 52 == pytest.approx(2, rel=0.02)


def test_ab_groups_share_audience_budget_and_days_and_hold_one_ad_each(market: Market):
    catalog = market.catalog(EPOCH).filter(pl.col("status") != "scheduled")
    tests = catalog.filter(pl.col("experiment_id").is_not_null())
    assert tests.height == 20 * 9
    arms = tests.group_by("experiment_id").agg(
        pl.len(), *(pl.col(name).n_unique() for name in ("ad_set_id", "audience", "budget_micros", "starts_on", "ends_on"))
    )
    assert sorted(arms["len"].unique()) == [2, 3, 4]
    assert (arms["len"] == arms["ad_set_id"]).all()
    assert (arms.select("audience", "budget_micros", "starts_on", "ends_on") == 1).to_numpy().all()
    assert tests["experiment_id"].equals(tests["campaign_id"])
    assert tests["assignment"].unique().to_list() == ["delivery"]
    assert tests["planned_share"].null_count() == tests.height
    others = catalog.filter(pl.col("experiment_id").is_null())
    assert others["assignment"].null_count() == others.height
    assert others.group_by("ad_set_id").len()["len"].unique().to_list() == [3]
    # Ad sets of one campaign differ in audience, so no second experiment hides there.
    sets = others.unique("ad_set_id").group_by("campaign_id").agg(pl.len(), pl.col("audience").n_unique())
    assert (sets["len"] == sets["audience"]).all()


def test_aa_arms_are_one_creative_with_one_true_effect():
    market = Market(MarketParams(accounts=100), EPOCH)
    ads = market.truth(EPOCH, EPOCH).ads.filter(pl.col("in_experiment"))
    groups = ads.group_by("campaign_id").agg(
        pl.col("is_aa").first(), pl.col("creative_id", "log_ctr", "hook").n_unique(), pl.len()
    )
    assert groups["is_aa"].mean() == pytest.approx(0.25, abs=0.08)
    same = groups.filter("is_aa")
    assert (same.select("creative_id", "log_ctr", "hook") == 1).to_numpy().all()
    different = groups.filter(~pl.col("is_aa"))
    assert (different["log_ctr"] == different["len"]).all()


def test_budgets_are_spent(market: Market, actuals: pl.DataFrame):
    catalog = market.catalog(LAST).filter(pl.col("status") != "scheduled")
    level = pl.when(pl.col("budget_owner") == "campaign").then("campaign_id").otherwise("ad_set_id")
    spent = catalog.join(actuals.filter(pl.col("date") == LAST), on=["account_id", "ad_id"])
    by_budget = spent.group_by(level.alias("owner")).agg(pl.col("budget_micros").first(), pl.col("spend_micros").sum())
    ratio = by_budget["spend_micros"] / by_budget["budget_micros"]
    assert ratio.is_between(0.5, 1.6).all()
    assert int(by_budget["spend_micros"].sum()) / int(by_budget["budget_micros"].sum()) == pytest.approx(
        WEEKDAY_VOLUME[LAST.weekday()], rel=0.1
    )
    assert set(catalog["budget_owner"]) == {"ad_set", "campaign"}


def test_deleted_ads_end_on_the_day_they_are_deleted():
    market = Market(MarketParams(accounts=60, deleted_share=0.5), EPOCH)
    deleted = market.catalog(EPOCH).filter(pl.col("status") == "deleted")
    assert deleted.height > 3
    assert deleted["ends_on"].unique().to_list() == [EPOCH]
    assert not set(deleted["ad_id"]) & set(market.catalog(day(1))["ad_id"])


def test_accounts_cover_niches_zones_currencies_and_walls(market: Market):
    accounts = market.accounts()
    assert accounts["account_id"].n_unique() == 20
    assert set(accounts["niche"]) == set(NICHES)
    assert len(NICHES) == 15
    assert {"JPY", "USD", "EUR"} <= set(accounts["currency"])
    assert {"Pacific/Tongatapu", "Pacific/Auckland", "America/New_York"} <= set(accounts["timezone"])
    assert sorted(accounts.group_by("owner").len()["len"]) == [1] * 16 + [2] * 2


def test_profiles_are_shares():
    assert sum(HOUR_SHARES) == pytest.approx(1)
    assert len(HOUR_SHARES) == 24
    assert np.mean(WEEKDAY_VOLUME) == pytest.approx(1)
    assert np.mean(WEEKDAY_CTR) == pytest.approx(1)


def test_variants():
    assert {name: params.impressions for name, params in VARIANTS.items()} == {
        "reference": 1_000,
        "large": 20_000,
        "small": 300,
        "noisy": 1_000,
    }
    small = Market(replace(VARIANTS["small"], accounts=5), EPOCH).actuals(day(-6), day(0), LATE)
    assert small["impressions"].mean() == pytest.approx(300, rel=0.2)


def test_what_is_launched_can_be_replaced(market: Market):
    def always_questions(params: MarketParams, places: Places) -> dict[str, np.ndarray]:
        chosen = launch_at_random(params, places)
        follow = places.starts >= 0
        return chosen | {"hook": np.where(follow, HOOK_TYPES.index("question"), chosen["hook"])}

    follower = Market(MarketParams(), EPOCH, launch=always_questions)
    ads = follower.truth(day(-30), day(60)).ads
    assert ads.filter(pl.col("starts_on") >= EPOCH)["hook"].unique().to_list() == ["question"]
    old = pl.col("starts_on") < EPOCH
    assert_frame_equal(ads.filter(old), market.truth(day(-30), day(60)).ads.filter(old))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"ctr": 0.0}, "MarketParams.ctr"), ({"ads": 2, "launches_per_week": 7}, "launches_per_week"), ({"ads": 5_000}, "4,095")],
)
def test_impossible_markets_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        MarketParams(**change)


def test_days_long_before_the_epoch_are_refused(market: Market):
    with pytest.raises(ValueError, match="3650 days before the market's epoch 2026-03-01"):
        market.catalog(day(-4_000))


@pytest.mark.parametrize("mean", [0.05, 0.45, 3.0, 9.9, 10.1, 15.0, 300.0])
def test_counts_arepoisson(mean: float):
    n = 200_000
    drawn = poisson(1, "test", np.arange(n, dtype=np.uint64), np.full(n, mean))
    assert drawn.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / n))
    assert drawn.var() == pytest.approx(mean, abs=4 * np.sqrt((2 * mean**2 + mean) / n))


def test_texts_differ_and_say_their_hook_and_angle():
    market = Market(MarketParams(accounts=60), EPOCH)
    texts = pl.concat([market.catalog(day(number)) for number in range(-360, 1, 60)]).unique(["account_id", "ad_id"])
    ads = market.truth(day(-360), day(1)).ads.select("account_id", "ad_id", "niche", "hook", "angle")
    told = texts.join(ads, on=["account_id", "ad_id"])
    assert told.group_by("niche").agg(pl.struct("headline", "body").n_unique().alias("n"))["n"].to_numpy().min() > 200
    for niche, body, angle in told.sample(300, seed=1).select("niche", "body", "angle").iter_rows():
        assert copywriter.NICHES[niche].angles[angle] in body
    questions = told.filter(pl.col("hook") == "question")["headline"]
    assert questions.str.ends_with("?").all()
    assert not told.filter(pl.col("hook") != "question")["headline"].str.contains("?", literal=True).any()
    assert told.filter(pl.col("hook") == "offer")["headline"].str.contains(r"\d+%|free").all()


@pytest.mark.parametrize("niche", NICHES)
def test_every_niche_can_write_every_ad(niche: str):
    brand = copywriter.brand(niche, 4)
    words = copywriter.NICHES[niche]
    assert (len(words.angles), len(words.products), len(words.people), len(words.pains)) == (6, 4, 4, 4)
    for hook in HOOK_TYPES:
        for angle in copywriter.angle_names(niche):
            written = copywriter.write(niche, brand, hook, angle, (1, 2, 3, 1, 5, 6, 7))
            assert brand in written.body
            assert "{" not in written.headline + written.body + written.description
            assert written.headline[0].isupper() or not written.headline[0].isalpha()
