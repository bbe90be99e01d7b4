"""Money on the wire, as integer micros.

What belongs here: exact conversion of amounts (major units as decimal text, or minor units as integers), and how many minor units a
currency has. What does not: exchange rates; currencies are never converted.
"""

from decimal import Decimal, InvalidOperation, localcontext

import polars as pl

from learning_assets.platforms.meta.errors import Contradiction

MICROS = 1_000_000
_WHOLE_CURRENCIES = frozenset({"CLP", "COP", "CRC", "HUF", "IDR", "ISK", "JPY", "KRW", "PYG", "TWD", "VND"})
# fmt: off
_CENT_CURRENCIES = frozenset({
    "AED", "ARS", "AUD", "BDT", "BOB", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "DZD", "EGP", "EUR",
    "GBP", "GTQ", "HKD", "HNL", "ILS", "INR", "KES", "KZT", "LKR", "MOP", "MXN", "MYR", "NGN", "NIO",
    "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RUB", "SAR", "SEK", "SGD", "THB", "TRY",
    "UAH", "USD", "UYU", "VES", "ZAR",
})
# fmt: on
"""Currencies whose amounts the platform counts in hundredths, also where the coin is smaller."""
_PLAIN = r"^-?\d{1,12}(\.\d+)?$"
_LARGEST = 2**63 - 1


class UnknownCurrency(ValueError):
    """The minor unit of a currency is not known, so a budget in it cannot be read."""


def minor_units(currency: str) -> int:
    """Minor units in one `currency`: 100, or 1; UnknownCurrency where it is not known, for a guess would be wrong by a factor of 100."""
    if currency in _WHOLE_CURRENCIES:
        return 1
    if currency in _CENT_CURRENCIES:
        return 100
    raise UnknownCurrency(
        f"the minor unit of the currency {currency} is not known here, so its budgets cannot be read. "
        "Take the account out of LEARNING_META_ACCOUNTS, or add the currency to platforms/meta/money.py."
    )


def minor_unit_micros(currencies: pl.Series) -> pl.DataFrame:
    """`currency` and how many micros its minor unit has (`minor_unit_micros`), each once, for currencies where that is known."""
    known: dict[str, int] = {}
    for currency in currencies.drop_nulls().unique():
        try:
            known[currency] = MICROS // minor_units(currency)
        except UnknownCurrency:
            # Its budgets stay NULL: a guess would be wrong by a factor of 100.
            continue
    return pl.DataFrame(
        {"currency": list(known), "minor_unit_micros": list(known.values())},
        schema={"currency": pl.String, "minor_unit_micros": pl.Int64},
    )


def minor_to_micros(amount: int, currency: str) -> int:
    """Micros of an amount in minor units."""
    return amount * (MICROS // minor_units(currency))


def exact(text: str) -> int:
    """Micros of an amount in major units, half a micro away from zero; Contradiction where it is no number or beyond 64 bits."""
    try:
        with localcontext(prec=60):
            value = Decimal(text.strip())
            micros = int((value * MICROS).to_integral_value("ROUND_HALF_UP")) if value.is_finite() else None
    except InvalidOperation:
        micros = None
    if micros is None or abs(micros) > _LARGEST:
        raise Contradiction(f"'{text}' is not an amount of money")
    return micros


def micros(amounts: pl.Series) -> pl.Series:
    """Micros of amounts in major units (text), exact and in bulk; NULL stays NULL. Raises Contradiction as `exact` does."""
    plain = amounts.str.contains(_PLAIN).fill_null(value=True)
    text = amounts.set(~plain, None)
    parts = pl.DataFrame({"text": text}).select(
        pl.col("text").str.starts_with("-").alias("negative"),
        pl.col("text")
        .str.strip_chars_start("-")
        .str.split_exact(".", 1)
        .struct.rename_fields(["whole", "part"])
        .alias("split"),
    )
    found = parts.unnest("split").select(
        pl.col("negative"),
        (
            pl.col("whole").cast(pl.Int64) * MICROS
            + pl.col("part").fill_null("").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
            # Half up by the seventh digit alone: what follows it cannot turn it.
            + (pl.col("part").fill_null("").str.slice(6, 1).replace("", "0").cast(pl.Int64) >= 5).cast(pl.Int64)
        ).alias("micros"),
    )
    result = found.select(pl.when("negative").then(-pl.col("micros")).otherwise("micros").alias(amounts.name)).to_series()
    if plain.all():
        return result
    odd = (~plain).arg_true()
    return result.scatter(odd, [exact(value) for value in amounts.gather(odd).to_list()])
