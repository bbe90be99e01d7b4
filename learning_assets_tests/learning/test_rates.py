"""Rates are ratios of sums, and what is not known stays NULL."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.learning import rates

FACTS = pl.DataFrame(
    {
        "account_id": ["a", "a", "b", "c"],
        "impressions": [1_000, 3_000, 0, 500],
        "link_clicks": [10, 90, 0, 5],
        "conversions": [1, 4, 0, None],
        "spend_micros": [2_000_000, 8_000_000, 0, 1_000_000],
        "revenue_micros": [4_000_000, None, None, None],
        "video_3s_views": [400, 600, 0, None],
        "currency": ["EUR", "EUR", "EUR", "USD"],
    }
)


def test_rates_are_ratios_of_sums_and_not_means_of_rates():
    row = FACTS.filter(pl.col("account_id") == "a").select(
        rates.ctr(), rates.cvr(), rates.cpa(), rates.cpm(), rates.hook_rate()
    )
    assert row.to_dicts() == [
        {
            "ctr": 100 / 4_000,
            "cvr": 5 / 100,
            "cpa": 10_000_000 / 5,
            "cpm": 1_000 * 10_000_000 / 4_000,
            "hook_rate": 1_000 / 4_000,
        }
    ]


def test_a_row_without_revenue_is_in_neither_sum_of_roas():
    assert FACTS.filter(pl.col("account_id") == "a").select(rates.roas()).item() == 2.0


@pytest.mark.parametrize("account", ["b", "c"])
def test_nothing_known_or_nothing_to_divide_by_gives_null(account: str):
    row = FACTS.filter(pl.col("account_id") == account).select(rates.cvr(), rates.roas(), rates.cpa(), rates.hook_rate())
    assert row.row(0) == (None, None, None, None)


def test_totals_of_unknown_are_null_and_of_nothing_spent_are_zero():
    by = FACTS.group_by("account_id").agg(rates.totals()).sort("account_id")
    assert by["conversions"].to_list() == [5, 0, None]
    assert by["revenue_micros"].to_list() == [4_000_000, None, None]
    assert by["spend_micros"].to_list() == [10_000_000, 0, 1_000_000]


def test_money_of_several_currencies_is_never_added():
    row = FACTS.select(*rates.totals(), *rates.ratios()).row(0, named=True)
    assert (row["impressions"], row["spend_micros"], row["revenue_micros"], row["roas"]) == (4_500, None, None, None)
    assert FACTS.drop("currency").select(rates.totals(currency=None))["spend_micros"].item() == 11_000_000


def test_ratio_works_element_by_element():
    assert FACTS.select(rates.ratio(pl.col("link_clicks"), pl.col("impressions"))).to_series().to_list() == [
        0.01,
        0.03,
        None,
        0.01,
    ]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.none() | st.integers(0, 10**6)), min_size=1, max_size=20))
def test_a_ratio_of_sums_is_null_exactly_where_its_known_denominator_is_zero(rows: list[tuple[int, int | None]]):
    frame = pl.DataFrame(rows, schema={"d": pl.Int64, "n": pl.Int64}, orient="row")
    known = [(d, n) for d, n in rows if n is not None]
    below = sum(d for d, _ in known)
    expected = sum(n for _, n in known) / below if below else None
    assert frame.select(rates.ratio_of_sums("n", "d")).item() == expected
