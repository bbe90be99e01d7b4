"""Money on the wire becomes micros exactly."""

from decimal import ROUND_HALF_UP, Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.platforms.meta import money
from learning_assets.platforms.meta.errors import Contradiction

amounts = st.decimals(min_value=-999_999_999, max_value=999_999_999, places=8, allow_nan=False)


@given(st.lists(st.none() | amounts))
def test_amounts_are_exact_in_bulk(values: list[Decimal | None]):
    text = pl.Series("spend", [None if v is None else f"{v:f}" for v in values], dtype=pl.String)
    wanted = [None if v is None else int((v * 1_000_000).to_integral_value(ROUND_HALF_UP)) for v in values]
    assert money.micros(text).to_list() == wanted


@given(st.integers(0, 10**12 - 1), st.integers(0, 99))
def test_cents_are_not_rounded(whole: int, cents: int):
    assert money.micros(pl.Series([f"{whole}.{cents:02d}"])).item() == whole * 1_000_000 + cents * 10_000


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("12", 12_000_000),
        ("0", 0),
        ("1e3", 1_000_000_000),
        (" 7.5 ", 7_500_000),
        ("+1", 1_000_000),
        ("9223372036854", 9_223_372_036_854_000_000),
    ],
)
def test_other_spellings_of_a_number(text: str, micros: int):
    assert money.micros(pl.Series([None, text, "0.01"])).to_list() == [None, micros, 10_000]


@pytest.mark.parametrize("text", ["", "1,5", "NaN", "Infinity", "12 USD", "99999999999999999999"])
def test_what_is_no_amount_is_refused(text: str):
    with pytest.raises(Contradiction) as error:
        money.micros(pl.Series(["1.00", text]))
    assert str(error.value) == f"'{text}' is not an amount of money"


def test_minor_units():
    assert money.minor_to_micros(5_000, "USD") == 50_000_000
    assert money.minor_to_micros(5_000, "JPY") == 5_000_000_000
    assert {money.minor_units(c) for c in ("CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND")} == {1}
    with pytest.raises(money.UnknownCurrency) as error:
        money.minor_to_micros(1, "XTS")
    assert str(error.value) == (
        "the minor unit of the currency XTS is not known here, so its budgets cannot be read. Take the account out of "
        "LEARNING_META_ACCOUNTS, or add the currency to platforms/meta/money.py."
    )
