"""What is known of arms, how traffic is shared between them, and that the shares in money lose nothing."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from polars.testing import assert_frame_equal

from learning_assets.learning import bandit
from learning_assets.settings import Bandit

DAY = date(2026, 3, 1)
RULES = Bandit()
ONE_DAY = timedelta(days=1)


def daily(rows: Sequence[tuple[str, int, float, float]], metric: str = "ctr") -> pl.DataFrame:
    """(ad, days before DAY, events, exposure) of one experiment."""
    told = [("a", "x", ad, metric, DAY - timedelta(days=age), events, exposure) for ad, age, events, exposure in rows]
    return pl.DataFrame(told, schema=bandit.DAILY, orient="row")


def arms(*ads: str, experiment: str = "x", account: str = "a") -> pl.DataFrame:
    return pl.DataFrame([{"account_id": account, "experiment_id": experiment, "ad_id": ad} for ad in ads])


def nothing() -> pl.DataFrame:
    return pl.DataFrame(schema=bandit.COUNTS)


def ctr(state: pl.DataFrame) -> pl.DataFrame:
    return state.filter(metric="ctr").sort("ad_id")


def gammas(alpha: Sequence[float], rate: Sequence[float]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    shape = np.array(alpha, dtype=np.float64)
    return shape, shape / np.array(rate)


# -- counts


def test_counts_lose_a_hundredth_a_day():
    state = ctr(bandit.counts(arms("p", "q"), nothing(), daily([("p", 0, 10, 100), ("p", 5, 20, 400)]), DAY, RULES))
    assert state["events"].to_list() == pytest.approx([10 + 20 * 0.99**5, 0])
    assert state["exposure"].to_list() == pytest.approx([100 + 400 * 0.99**5, 0])
    assert state["day_events"].to_list() == [10, 0]
    assert state["settled_events"].to_list() == [0, 0]


def test_days_settle_once_and_recent_ones_are_read_anew():
    """The chain from day to day gives what all facts at once would, and sees restated days as long as they are recent."""
    rules = Bandit(recent_days=3)
    facts = daily([("p", age, 10 + age, 100 + age) for age in range(12)])
    at_once = bandit.counts(arms("p"), nothing(), facts, DAY, rules)
    state = nothing()
    for age in range(11, -1, -1):
        day = DAY - timedelta(days=age)
        first = state["settled_until"].min() or date(2000, 1, 1)
        come = facts.filter(pl.col("date").is_between(first, day))
        state = bandit.counts(arms("p"), state, come, day, rules)
    assert_frame_equal(state, at_once)
    assert state["settled_until"].unique().to_list() == [DAY - 3 * ONE_DAY]
    before = bandit.counts(arms("p"), nothing(), facts.filter(pl.col("date") < DAY), DAY - ONE_DAY, rules)
    restated = facts.with_columns(events=pl.when(pl.col("date") > DAY - 3 * ONE_DAY).then(0.0).otherwise("events"))
    gone = facts.filter(pl.col("date") > DAY - 3 * ONE_DAY)
    lost = (gone["events"] * 0.99 ** np.arange(gone.height)).sum()
    found = ctr(bandit.counts(arms("p"), before, restated, DAY, rules))
    assert found["events"][0] == pytest.approx(ctr(at_once)["events"][0] - lost)


def test_an_archives_week_counts_by_its_age():
    before = bandit.counts(arms("p"), nothing(), daily([("p", 7, 10, 100)]), DAY - 7 * ONE_DAY, RULES)
    state = ctr(bandit.counts(arms("p"), before, daily([("p", 7, 10, 100), ("p", 0, 1, 1)]), DAY, RULES))
    assert state["events"][0] == pytest.approx(1 + 10 * 0.99**7)


@pytest.mark.parametrize("row", [("p", 0, -1.0, 10.0), ("p", 0, float("nan"), 10.0), ("p", -1, 1.0, 10.0)])
def test_what_cannot_be_counted_is_refused(row: tuple[str, int, float, float]):
    with pytest.raises(ValueError, match="cannot be counted as of 2026-03-01"):
        bandit.counts(arms("p"), nothing(), daily([row]), DAY, RULES)


def test_a_state_is_carried_and_its_own_day_is_replaced():
    state = bandit.counts(arms("p", "q"), nothing(), daily([("p", 0, 10, 100), ("p", 2, 5, 50)]), DAY, RULES)
    named = daily([("p", 0, 30, 300)])
    once = bandit.with_day(state, named)
    assert ctr(once)["events"].to_list() == pytest.approx([30 + 5 * 0.99**2, 0])
    assert_frame_equal(bandit.with_day(once, named), once)
    later = ctr(bandit.carried(once, 3, RULES))
    assert later["events"][0] == pytest.approx(0.99**3 * (30 + 5 * 0.99**2))
    assert later["day_events"][0] == 0
    with pytest.raises(ValueError, match="does not grow younger"):
        bandit.carried(state, -1, RULES)


def test_rewards_count_orders_with_their_dispersion():
    facts = arms("p").with_columns(
        date=pl.lit(DAY),
        link_clicks=pl.lit(20),
        impressions=pl.lit(1000),
        conversions=pl.lit(None, pl.Int64),
        clicks_exposed=pl.lit(10.0),
        revenue_in_orders=pl.lit(5.0),
        spend_in_orders=pl.lit(2.5),
    )
    found = bandit.rewards(facts, RULES)
    assert found.select("metric", "events", "exposure").rows() == [("ctr", 20, 1000), ("roas", 4, 2)]


# -- posterior


def test_a_prior_counts_as_its_interval_says_and_twenty_events_at_most():
    said = {"account_id": "a", "metric": "ctr", "predicted": 0.02}
    rows = [
        said | {"ad_id": "sure", "low": 0.0199, "high": 0.0201},
        said | {"ad_id": "unsure", "low": 0.01, "high": 0.04},
        said | {"ad_id": "bare", "low": None, "high": None},
        said | {"ad_id": "zero", "predicted": 0.0, "low": None, "high": None},
    ]
    found = bandit.priors(pl.DataFrame(rows), 0.8, RULES)
    assert found["ad_id"].to_list() == ["sure", "unsure", "bare"]
    assert found["prior_strength"].to_list() == pytest.approx([20, (2 * 1.2815516 / np.log(4)) ** 2, 20])


def test_the_posterior_is_gamma_and_the_prior_is_not_discounted():
    state = bandit.counts(arms("p", "q"), nothing(), daily([("p", 0, 40, 1000)]), DAY, RULES)
    prior = pl.DataFrame([("a", "p", "ctr", 0.02, 20.0)], schema=bandit.PRIORS, orient="row")
    p, q = ctr(bandit.posterior(state, prior, RULES)).to_dicts()
    assert (p["alpha"], p["beta"]) == pytest.approx((60, 2000))
    assert p["rate"] == pytest.approx(0.03)
    assert p["rate_low"] < 0.03 < p["rate_high"]
    draws = np.random.default_rng(1).gamma(60, 1 / 2000, 200_000)
    assert np.quantile(draws, [0.025, 0.975]) == pytest.approx([p["rate_low"], p["rate_high"]], rel=0.01)
    assert (q["alpha"], q["rate"], q["prior_from"]) == (1, pytest.approx(0.04), "experiment")
    long_after = bandit.posterior(bandit.carried(state, 5000, RULES), prior, RULES)
    assert ctr(long_after)["rate"][0] == pytest.approx(0.02)
    assert ctr(long_after)["alpha"][0] == pytest.approx(20)


def test_nothing_is_made_up_where_nothing_is_known():
    state = bandit.counts(arms("p", "q"), nothing(), daily([("p", 0, 0, 1000)]), DAY, RULES)
    found = bandit.posterior(state, pl.DataFrame(schema=bandit.PRIORS), RULES)
    assert (
        found.select("alpha", "beta", "rate", "rate_low", "rate_high", "prior_rate", "prior_from").null_count().row(0)
        == (6,) * 7
    )
    shared = bandit.allocate(found, decisions(), RULES)
    assert shared["share"].to_list() == [0.5] * 6
    assert shared["rule"].unique().to_list() == ["equal"]
    assert shared["p_best"].null_count() == 6


# -- shares


def decisions(*experiments: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"account_id": ["a"] * len(experiments), "experiment_id": list(experiments)},
        schema_overrides={"account_id": pl.String, "experiment_id": pl.String},
    )


@pytest.mark.parametrize("alpha", [(1, 1, 1), (1, 5, 20), (20, 200, 20, 40), (1, 300, 310, 290, 3000)])
def test_probabilities_are_those_of_draws(alpha: tuple[float, ...]):
    shape, inverse = gammas(alpha, np.linspace(0.018, 0.022, len(alpha)).tolist())
    best, second = bandit.leading(shape[None], inverse[None])
    order = np.argsort(-np.random.default_rng(2).gamma(shape, 1 / inverse, (200_000, len(alpha))), axis=1)
    for found, place in ((best, 0), (second, 1)):
        assert found.sum() == pytest.approx(1)
        assert_allclose(found[0], np.bincount(order[:, place], minlength=len(alpha)) / len(order), atol=0.006)


def test_two_arms_are_split_equally_until_they_are_decided():
    state = pl.concat([arms("p", "q"), arms("p", "q", experiment="y")]).with_columns(
        metric=pl.lit("ctr"), alpha=pl.Series([400.0, 200.0] * 2), beta=pl.Series([10_000.0, 10_000.0] * 2)
    )
    found = bandit.allocate(state, decisions("y"), RULES)
    assert found["share"].to_list() == pytest.approx([0.5, 0.5, 0.95, 0.05], abs=1e-6)
    assert found["rule"].to_list() == ["top_two", "top_two", "thompson", "thompson"]
    assert found["p_best"].to_list() == pytest.approx([1, 0, 1, 0], abs=1e-6)


def test_many_arms_share_equally_where_the_floor_leaves_nothing():
    state = arms(*(f"{n:02}" for n in range(25))).with_columns(
        metric=pl.lit("ctr"), alpha=pl.lit(50.0), beta=1000.0 + pl.int_range(25) * 100
    )
    assert bandit.allocate(state, decisions(), RULES)["share"].to_list() == pytest.approx([0.04] * 25)


posteriors = st.lists(st.tuples(st.floats(1, 1e6), st.floats(1e-4, 2)), min_size=1, max_size=24)


@given(posteriors, st.booleans(), st.floats(0, 0.5))
def test_shares_are_a_split_with_a_floor_in_any_order(told: list[tuple[float, float]], is_decided: bool, floor: float):
    rules = Bandit(floor=floor)
    shape, inverse = gammas([a for a, _ in told], [rate for _, rate in told])
    state = arms(*(f"{n:02}" for n in range(len(told)))).with_columns(
        metric=pl.lit("ctr"), alpha=pl.Series(shape), beta=pl.Series(inverse)
    )
    found = bandit.allocate(state, decisions("x") if is_decided else decisions(), rules)
    assert found["share"].sum() == pytest.approx(1)
    assert (found["share"] >= min(floor, 1 / len(told)) - 1e-12).all()
    again = bandit.allocate(state.reverse(), decisions("x") if is_decided else decisions(), rules)
    assert again["share"].reverse().to_list() == pytest.approx(found["share"].to_list(), abs=1e-9)


def test_other_experiments_change_nothing():
    rng = np.random.default_rng(3)
    rows = pl.concat([arms(*"pqrst"[: 2 + n % 4], experiment=f"e{n}").with_columns(metric=pl.lit("ctr")) for n in range(40)])
    rows = rows.with_columns(
        alpha=pl.Series(rng.uniform(1, 500, rows.height)), beta=pl.Series(rng.uniform(1e3, 2e4, rows.height))
    )
    together = bandit.allocate(rows.sample(fraction=1, shuffle=True, seed=1), decisions("e3"), RULES)
    alone = bandit.allocate(rows.filter(experiment_id="e3"), decisions("e3"), RULES)
    assert_frame_equal(together.filter(experiment_id="e3").sort("ad_id"), alone)


def test_a_seed_always_gets_the_same_arm_and_many_get_the_shares():
    shape, inverse = gammas([40, 44, 30, 90], [0.02, 0.022, 0.018, 0.021])
    seeds = np.arange(200_000, dtype=np.uint64)
    best, second = bandit.leading(shape[None], inverse[None])
    for is_decided, plain in ((False, bandit.top_two(best, second)), (True, best)):
        chosen = bandit.select(shape, inverse, seeds, decided=is_decided, floor=0.05)
        assert_array_equal(
            chosen[::-1][:1000], bandit.select(shape, inverse, seeds[::-1][:1000], decided=is_decided, floor=0.05)
        )
        counted = np.bincount(chosen, minlength=4) / len(seeds)
        assert_allclose(counted, bandit.floored(plain, 0.05)[0], atol=0.006)
    assert bandit.select(shape[:1], inverse[:1], seeds[:9], decided=False, floor=0.05).tolist() == [0] * 9
    assert bandit.request_seed("r1") != bandit.request_seed("r2")
    with pytest.raises(ValueError, match="has none to select"):
        bandit.select(shape[:0], inverse[:0], seeds[:1], decided=False, floor=0.05)
    with pytest.raises(ValueError, match="positive and finite"):
        bandit.select(np.array([np.nan]), np.array([1.0]), seeds[:1], decided=False, floor=0.05)


# -- budgets


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 10**12))
def test_whole_units_sum_exactly(weights: list[float], total: int):
    share = np.array([weights]) + 1e-9
    share /= share.sum()
    (found,) = bandit.largest_remainder(share * total, np.array([total]))
    assert found.sum() == total
    assert (found >= 0).all()
    assert_allclose(found, share[0] * total, atol=1.001)


def test_what_is_left_goes_to_those_that_lost_most():
    found = bandit.largest_remainder(np.array([[1.6, 1.2, 1.2], [0.5, 0.5, 2.0]]), np.array([4, 3]))
    assert found.tolist() == [[2, 1, 1], [1, 0, 2]]
    with pytest.raises(ValueError, match="must sum to their totals"):
        bandit.largest_remainder(np.array([[1.0, 1.0]]), np.array([3]))
    with pytest.raises(ValueError, match="finite and at least 0"):
        bandit.largest_remainder(np.array([[np.nan, 1.0]]), np.array([1]))


def placed(present: Sequence[int | None], share: Sequence[float], unit: int | None = 10_000, **more: Any) -> pl.DataFrame:
    rows = {"budget_micros": present, "share": share}
    told = {"currency": "EUR", "isolated": True, "budget_owner": "ad_set", "unit_micros": unit, **more}
    return arms(*(f"{n:02}" for n in range(len(present)))).with_columns(
        pl.Series("budget_micros", rows["budget_micros"], dtype=pl.Int64),
        pl.Series("share", rows["share"], dtype=pl.Float64),
        *(pl.lit(value, pl.Int64 if name == "unit_micros" else None).alias(name) for name, value in told.items()),
    )


@given(
    st.lists(st.tuples(st.integers(1, 10**8), st.floats(0, 1)), min_size=2, max_size=12),
    st.sampled_from([1_000_000, 10_000]),
    st.sampled_from([0.05, 0.01]),
)
def test_budgets_sum_exactly_keep_the_floor_and_go_in_steps(told: list[tuple[int, float]], unit: int, floor: float):
    weight = np.array([[w for _, w in told]]) + 1e-9
    share = bandit.floored(weight / weight.sum(), floor)[0]
    present = [units * unit for units, _ in told]
    found = bandit.budgets(placed(present, share.tolist(), unit), RULES)
    for name in ("target_micros", "wanted_micros"):
        assert found[name].sum() == sum(present)
        assert (found[name] % unit == 0).all()
        assert (found[name] >= 0).all()
    least = int(min(floor, 1 / len(told)) * (sum(present) // unit) * (1 - 1e-12))
    assert (found["target_micros"] // unit >= least).all()
    assert (found["wanted_micros"] <= found["budget_micros"] * 1.2 + 1e-6).all()
    nearer = (found["target_micros"] - found["wanted_micros"]).abs() <= (
        found["target_micros"] - found["budget_micros"]
    ).abs() + unit
    assert nearer.all()


def test_budgets_in_whole_yen_and_in_cents():
    yen = bandit.budgets(placed([1000_000_000, 1000_000_000], [0.525, 0.475], 1_000_000), RULES)
    assert yen["wanted_micros"].to_list() == [1050_000_000, 950_000_000]
    step = bandit.budgets(placed([10_000_000, 10_000_000], [0.95, 0.05]), RULES)
    assert step["target_micros"].to_list() == [19_000_000, 1_000_000]
    assert step["wanted_micros"].to_list() == [11_990_000, 8_010_000]


def test_small_changes_are_not_worth_their_price():
    near = bandit.budgets(placed([10_000_000, 10_000_000], [0.52, 0.48]), RULES)
    assert near["target_micros"].to_list() == [10_400_000, 9_600_000]
    assert near["wanted_micros"].to_list() == [10_000_000, 10_000_000]
    far = bandit.budgets(placed([10_000_000, 10_000_000], [0.525, 0.475]), RULES)
    assert far["wanted_micros"].to_list() == [10_500_000, 9_500_000]


@pytest.mark.parametrize(
    ("told", "note"),
    [
        (placed([5_000_000], [1.0]), "has one arm"),
        (placed([5_000_000] * 2, [0.5, 0.5], isolated=False), "no budget of its own"),
        (placed([5_000_000] * 2, [0.5, 0.5], budget_owner="campaign"), "no budget of its own"),
        (placed([5_000_000, None], [0.5, 0.5]), "is not known"),
        (placed([5_000_000] * 2, [0.5, 0.5], unit=None), "minor unit"),
        (placed([5_000_000, 0], [0.5, 0.5]), "no budget to start from"),
    ],
)
def test_budgets_that_cannot_be_shared_say_why(told: pl.DataFrame, note: str):
    found = bandit.budgets(told, RULES)
    assert found["target_micros"].null_count() == found["wanted_micros"].null_count() == told.height
    assert note in found["budget_note"][0]


def test_wishes_are_of_arms_that_change_and_of_experiments_that_nobody_else_moves():
    state = bandit.budgets(placed([10_000_000, 10_000_000, 5_000_000], [0.6, 0.2, 0.2]), RULES)
    rows = pl.concat([state, state.with_columns(experiment_id=pl.lit("y"))])
    rows = rows.with_columns(owner=pl.lit("ann"), ad_set_id="ad_id", p_best=pl.lit(0.5))
    found = bandit.wishes(rows, decisions("y"), DAY, RULES)
    assert found.schema == bandit.WISHES
    assert found.rows()[0] == (
        *("bandit-a-x-2026-03-01", "00", "a", "ann", "ad_set", "EUR", 10_000_000, 11_990_000, "bandit"),
        "Its ad is to get 60.0 % of the experiment's traffic by CTR; it is the best with a probability of 50.0 %. This is a step towards that, "
        "up by at most 20 %.",
        11.99 / 25,
    )
    assert found["entity_id"].to_list() == ["00", "01"]
    assert found["wanted_micros"].sum() == found["expected_micros"].sum()
    assert bandit.wishes(rows, decisions("x", "y"), DAY, RULES).is_empty()


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match="a budget is negative"):
        bandit.budgets(placed([-1, 5], [0.5, 0.5]), RULES)


def test_currencies_stay_apart():
    mixed = placed([5_000_000] * 2, [0.5, 0.5]).with_columns(currency=pl.Series(["EUR", "USD"]))
    assert "several currencies" in bandit.budgets(mixed, RULES)["budget_note"][0]
