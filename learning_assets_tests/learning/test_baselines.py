"""Histories look back only, and the estimates from counts shrink as they should."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from polars.testing import assert_frame_equal

from learning_assets.learning.baselines import history

DAY = date(2026, 3, 1)


def facts(rows: Sequence[tuple[int, str, str, int | None, int | None]]) -> pl.DataFrame:
    """(day number, account, ad, impressions, clicks) as facts."""
    schema = {
        "date": pl.Int64,
        "account_id": pl.String,
        "ad_id": pl.String,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(date=pl.lit(DAY) + pl.duration(days="date"))


def gamma_poisson(seed: int, ads_per_account: int, impressions: int, accounts: int = 30, days: int = 20) -> pl.DataFrame:
    """Ads whose true CTR (column `truth`) is Gamma around their account's, and the account's around 2 %."""
    rng = np.random.default_rng(seed)
    account_rate = 0.02 * rng.gamma(9, 1 / 9, accounts)
    rate = np.repeat(account_rate, ads_per_account) * rng.gamma(16, 1 / 16, accounts * ads_per_account)
    seen = rng.poisson(impressions, (days, len(rate)))
    clicks = rng.binomial(seen, rate)
    day, ad = (axis.ravel() for axis in np.indices(seen.shape))
    return pl.DataFrame(
        {
            "date": pl.Series(day).cast(pl.Int32).cast(pl.Date),
            "account_id": [f"account {i // ads_per_account}" for i in ad],
            "ad_id": [f"ad {i}" for i in ad],
            "impressions": seen.ravel(),
            "link_clicks": clicks.ravel(),
            "truth": rate[ad],
        }
    )


def day_after(known: pl.DataFrame) -> date:
    return known.select(pl.col("date").max() + pl.duration(days=1)).item()


row = st.tuples(
    st.one_of(st.integers(0, 12), st.integers(700, 730)),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["1", "2", "3"]),
    st.one_of(st.none(), st.integers(0, 5_000)),
    st.one_of(st.none(), st.integers(0, 200)),
)


@given(
    rows=st.lists(row, min_size=1, max_size=30),
    more=st.lists(row, max_size=5),
    decay=st.sampled_from([0.0, 0.01, 0.95, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_history_equals_a_naive_loop(rows, more, decay):
    known, asked = facts(rows), facts(rows + more)
    found = history(known, asked, decay)
    assert found.columns[: asked.width] == asked.columns
    assert_frame_equal(found.select(asked.columns), asked)

    past = [fact for fact in known.iter_rows(named=True) if None not in (fact["impressions"], fact["link_clicks"])]

    def decayed(of: dict, keys: tuple[str, ...], count: str) -> float:
        return sum(
            decay ** (of["date"] - fact["date"]).days * fact[count]
            for fact in past
            if fact["date"] < of["date"] and all(fact[key] == of[key] for key in keys)
        )

    for at in found.iter_rows(named=True):
        for name, keys in (("own", ("account_id", "ad_id")), ("account", ("account_id",))):
            for column, count in (("seen", "impressions"), ("clicks", "link_clicks")):
                assert_allclose(at[f"{name}_{column}"], decayed(at, keys, count), rtol=1e-12)
        if at["own_rate"] is not None:
            assert at["own_rate"] > 0
            assert at["account_rate"] > 0
            assert 0 <= at["own_weight"] <= 1


@given(rows=st.lists(row, min_size=3, max_size=25), later=st.lists(row, max_size=10), target=st.integers(1, 731))
@settings(max_examples=40, deadline=None)
def test_facts_of_the_day_and_later_change_nothing(rows, later, target):
    live = facts([(target, "a", "1", None, None), (target, "b", "9", None, None)])
    before = facts([entry for entry in rows if entry[0] < target])
    after = facts([(max(day, target), *rest) for day, *rest in later])
    assert_frame_equal(history(before, live, 0.95), history(pl.concat([after, before]), live, 0.95), check_exact=True)


def test_one_day_asked_alone_equals_the_same_day_among_many():
    known = gamma_poisson(seed=1, ads_per_account=4, impressions=300)
    last = known["date"].max()
    every = history(known, known, 0.95).filter(pl.col("date") == last)
    assert_frame_equal(every, history(known, known.filter(pl.col("date") == last), 0.95), check_exact=True)


def test_weeks_decay_by_their_days():
    known = facts([(0, "a", "1", 1_000, 20), (7, "a", "1", 500, 5)])
    found = history(known, facts([(14, "a", "1", None, None)]), 0.95).row(0, named=True)
    assert_allclose(found["own_seen"], 1_000 * 0.95**14 + 500 * 0.95**7, rtol=1e-15)
    assert_allclose(found["own_clicks"], 20 * 0.95**14 + 5 * 0.95**7, rtol=1e-15)


def test_nothing_is_known_before_the_first_click():
    known = facts([(0, "a", "1", 1_000, 0), (1, "a", "1", 1_000, 5), (2, "a", "1", 1_000, 5)])
    found = history(known, known, 0.95)
    assert found["own_seen"].to_list()[0] == 0
    for column in ("own_rate", "account_rate", "own_weight"):
        assert [value is None for value in found[column]] == [True, True, False]
    empty = history(known.clear(), known, 0.95)
    assert empty["own_rate"].null_count() == 3
    assert history(known, known.clear(), 0.95).is_empty()


def test_a_new_account_gets_the_rate_of_all_and_a_new_ad_that_of_its_account():
    known = gamma_poisson(seed=2, ads_per_account=5, impressions=1_000)
    day = day_after(known)
    asked = pl.DataFrame({"date": [day] * 2, "account_id": ["new", "account 0"], "ad_id": ["x", "y"]})
    found = history(known, asked, 1.0)
    mean = known.select(pl.col("link_clicks").sum() / pl.col("impressions").sum()).item()
    assert_allclose(found["account_rate"][0], mean, rtol=1e-12)
    assert found["own_rate"].to_list() == found["account_rate"].to_list()
    assert found["own_weight"].to_list() == [0.0, 0.0]


@pytest.mark.parametrize("decay", [0.95, 1.0])
def test_shrinkage_beats_raw_rates_and_account_means_on_ads_with_few_clicks(decay):
    known = gamma_poisson(seed=3, ads_per_account=30, impressions=60)
    day = day_after(known)
    truth = known.unique("ad_id", maintain_order=True).with_columns(date=pl.lit(day))
    found = history(known, truth, decay)

    def error(rate: pl.Expr) -> float:
        return found.select(((rate - pl.col("truth")) ** 2).mean().sqrt()).item()

    shrunk = error(pl.col("own_rate"))
    assert shrunk < 0.97 * error(pl.col("account_rate"))
    # Spread 25 %, count noise 20 %: the best shrinkage leaves 0.78 of the raw error.
    assert shrunk < 0.85 * error(pl.col("own_clicks") / pl.col("own_seen"))


def test_the_strength_of_shrinkage_is_that_of_the_gamma_the_rates_come_from():
    known = gamma_poisson(seed=4, ads_per_account=40, impressions=2_000)
    day = day_after(known)
    found = history(known, known.unique("ad_id", maintain_order=True).with_columns(date=pl.lit(day)), 0.95)
    expected = found["own_seen"] * found["account_rate"]
    strength = (expected / found["own_weight"] - expected).to_numpy()
    assert_allclose(strength, strength[0], rtol=1e-6)
    assert 13 < strength[0] < 19  # 16 is the truth


def test_units_that_do_not_differ_get_the_mean():
    known = facts([(day, "a", str(ad), 1_000, 20) for day in range(5) for ad in range(10)])
    found = history(known, known.filter(pl.col("date") == DAY + timedelta(4)), 0.95)
    assert_allclose(found["own_rate"].to_numpy(), 0.02)
    assert_allclose(found["own_weight"].to_numpy(), 0)


def test_accounts_that_start_later_change_not_even_the_last_digit():
    known = gamma_poisson(seed=5, ads_per_account=2, impressions=500, accounts=300)
    starts = pl.when(pl.col("account_id").str.ends_with("3")).then(11).otherwise(0)
    known = known.filter(pl.col("date").cast(pl.Int32) >= starts)
    for day in (date(1970, 1, 5), date(1970, 1, 9), date(1970, 1, 11)):
        live = known.filter(pl.col("date") == day)
        alone = history(known.filter(pl.col("date") < day), live, 0.95)
        assert_frame_equal(history(known, live, 0.95), alone, check_exact=True)


@pytest.mark.parametrize("seed", range(10))
def test_where_no_account_has_two_ads_nothing_is_said_about_ads(seed):
    known = gamma_poisson(seed, ads_per_account=1, impressions=1_000)
    day = known["date"].max()
    found = history(known, known.filter(pl.col("date") == day), 0.95)
    assert_array_equal(found["own_weight"].to_numpy(), 0)
    assert found["own_rate"].to_list() == found["account_rate"].to_list()
    assert found["account_rate"].n_unique() == 30


def test_any_ratio_of_counts_will_do():
    rows = [(day, "a", str(ad), 10, (10 + 8 * ad) * (1 + day % 2)) for day in range(6) for ad in range(4)]
    known = facts(rows).rename({"impressions": "spend_micros", "link_clicks": "revenue_micros"})
    live = facts([(6, "a", str(ad), None, None) for ad in range(4)])
    found = history(known, live, 1.0, numerator="revenue_micros", denominator="spend_micros")
    assert found["own_rate"].to_list() == sorted(found["own_rate"])
    assert found["own_rate"][3] > 3


def test_wrong_input_is_named():
    known = facts([(0, "a", "1", 1_000, 5)])
    with pytest.raises(ValueError, match=r"decay is 1\.5"):
        history(known, known, 1.5)
    with pytest.raises(ValueError, match="facts: no column 'conversions'"):
        history(known, known, 0.95, numerator="conversions")
    with pytest.raises(ValueError, match="ad_days: NULL in ad_id"):
        history(known, known.with_columns(ad_id=pl.lit(None, pl.String)), 0.95)
    with pytest.raises(ValueError, match=r"negative count in .*'link_clicks': -5"):
        history(known.with_columns(link_clicks=-pl.col("link_clicks")), known, 0.95)
