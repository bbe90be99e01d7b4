"""The lag curve: chain ladder on what was known at each age."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.learning.lag import LAGS, curve

DAY = date(2026, 3, 1)


def triangle(*days: list[int], account: str = "a") -> pl.DataFrame:
    """One list per day: what was known at age 0, 1, ..."""
    rows = [
        (account, DAY + timedelta(days=number), age, count) for number, day in enumerate(days) for age, count in enumerate(day)
    ]
    return pl.DataFrame(rows, schema=["account_id", "date", "age_days", "conversions"], orient="row")


def test_shares_are_products_of_ratios_of_sums() -> None:
    found = curve(triangle([50, 80, 100], [100, 140], [10]), 2)
    assert found.schema == LAGS
    assert found["days"].to_list() == [2, 1, 0]
    assert found["factor"].to_list() == pytest.approx([220 / 150, 100 / 80, None])
    assert found["share_known"].to_list() == pytest.approx([1 / (220 / 150 * 100 / 80), 0.8, 1.0])


def test_a_factor_that_nobody_has_seen_leaves_younger_ages_unknown() -> None:
    found = curve(triangle([50, 80], [40, 60]), 3)
    assert found["factor"].to_list() == [pytest.approx(140 / 90), None, None, None]
    assert found["share_known"].to_list() == [None, None, None, 1.0]


def test_conversions_that_are_taken_back_make_a_share_above_one() -> None:
    assert curve(triangle([100, 90]), 1)["share_known"][0] == pytest.approx(100 / 90)


def test_accounts_are_apart() -> None:
    both = pl.concat([triangle([10, 20]), triangle([10, 10], account="b")])
    assert curve(both, 1).filter(pl.col("age_days") == 0)["share_known"].to_list() == [0.5, 1.0]


@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=8), st.integers(50, 500))
def test_a_curve_without_noise_is_found_again(steps: list[float], total: int) -> None:
    ages = sorted(steps)
    known = [*(age / ages[-1] for age in ages[:-1]), 1.0]
    days = [[round(1e6 * total * share) for share in known] for _ in range(3)]
    assert curve(triangle(*days), len(known) - 1)["share_known"].to_list() == pytest.approx(known, rel=1e-4)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="account a, 2026-03-01: -1 conversions"):
        curve(triangle([-1, 2]), 1)
