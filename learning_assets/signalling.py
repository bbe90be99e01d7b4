"""Purchase signals as people and programs tell them: one by one, or as a CSV file.

What belongs here: reading and checking them, each error with its row, its column and a remedy. What does not: the ledger (`store.signals`).
"""

import hashlib
import uuid
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from learning_assets.store.signals import SIGNALS, Recorded
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

COLUMNS = ("account", "id", "creative", "ad", "at", "value", "currency")
"""Columns that a file may have; `account` where the command names none."""
_AHEAD = timedelta(minutes=5)
"""How far another machine's clock may be ahead."""
_MOST_MICROS = 10**15


@dataclass(frozen=True, slots=True)
class Told:
    """A signal in the words of who tells it; None is what was left out.

    `value` is an amount of `currency` (ISO 4217), such as 49.90; `at` is ISO 8601 with an offset; `id` is the teller's own.
    """

    account: str | None = None
    id: str | None = None
    creative: str | None = None
    ad: str | None = None
    at: str | None = None
    value: str | None = None
    currency: str | None = None


def record(store: Store, told: list[Told], source: str, where: list[str] | None = None) -> Recorded:
    """Record signals as told by `source`: all of them, or none.

    Parameters
    ----------
    where : what each is called in errors, such as `orders.csv, row 3, column `; by default the options of the command.

    Raises
    ------
    ValueError : one of them is not as it must be; nothing was recorded.
    """
    if not source.strip():
        raise ValueError("A signal needs the name of who tells it.")
    now = store.now
    owners = dict(store.accounts(PIPELINE).select("account_id", "owner").iter_rows())
    rows = [_row(one, owners, now, source.strip(), place) for one, place in zip(told, where or ["--"] * len(told), strict=True)]
    return store.signals.record(pl.DataFrame(rows, schema=SIGNALS), now)


def _row(one: Told, owners: dict[str, str], now: datetime, source: str, place: str) -> dict[str, object]:
    """A row of the ledger."""
    if one.account not in owners:
        said = "no account is named" if one.account is None else f"there is no account {one.account}"
        raise ValueError(f"{place}account: {said}. The accounts are listed by: learning-assets accounts")
    if one.creative is not None and one.ad is not None:
        raise ValueError(f"{place}creative and ad: a signal names one of them. Leave one out.")
    at = _moment(one.at, now, place)
    return {
        "account_id": one.account,
        "signal_id": one.id or uuid.uuid4().hex,
        "owner": owners[one.account],
        "at": at,
        "creative_id": one.creative,
        "ad_id": one.ad,
        "value_micros": _micros(one.value, one.currency, place),
        "currency": one.currency,
        "source": source,
    }


def _moment(text: str | None, now: datetime, place: str) -> datetime:
    if text is None:
        return now
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(f"{place}at: {text!r} is not a moment. Write it with its offset, such as 2026-03-01T09:30:00+01:00")
    if at > now + _AHEAD:
        raise ValueError(
            f"{place}at: {text} lies ahead of the clock, which says {now:%Y-%m-%dT%H:%M%z}. Correct it or leave it out."
        )
    return at


def _micros(text: str | None, currency: str | None, place: str) -> int | None:
    if currency is not None and not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        raise ValueError(f"{place}currency: {currency!r} is not a currency. Write its ISO 4217 code, such as EUR")
    if text is None:
        return None
    if currency is None:
        raise ValueError(f"{place}currency: a value needs its currency. Add it, such as EUR")
    try:
        micros = Decimal(text) * 1_000_000
    except ArithmeticError:
        micros = Decimal("NaN")
    if not micros.is_finite() or micros != micros.to_integral_value() or not 0 <= micros <= _MOST_MICROS:
        raise ValueError(
            f"{place}value: {text!r} is not an amount. Write it with a point and without separators, such as 1249.90"
        )
    return int(micros)


def read(path: Path, account: str | None = None) -> tuple[list[Told], list[str]]:
    """The signals of a CSV file with a header, and what each is called in errors.

    A row without an id gets one made of its content, so that a file can be read again without counting twice; it has to say when, then.

    Parameters
    ----------
    account : the account of every row, in place of the column.

    Raises
    ------
    ValueError : a column is missing or unknown, or a row has neither an id nor a moment.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a CSV file with a header of {', '.join(COLUMNS)}: {error}") from error
    allowed = [name for name in COLUMNS if name != "account" or account is None]
    if unknown := [name for name in rows.columns if name not in allowed]:
        raise ValueError(f"{path.name}: column {unknown[0]!r} is not one of {', '.join(allowed)}. Rename it or leave it out.")
    if account is None and "account" not in rows.columns:
        raise ValueError(f"{path.name}: there is no column 'account'. Add it, or name the account of all rows in the command.")
    seen: Counter[str] = Counter()
    told, where = [], []
    for number, row in enumerate(
        rows.with_columns(pl.all().str.strip_chars().replace("", None)).iter_rows(named=True), start=2
    ):
        one, place = Told(**({"account": account} | row)), f"{path.name}, row {number}, column "
        if one.id is None:
            if one.at is None:
                raise ValueError(
                    f"{place}id: the row has neither an id nor a moment (at), and would count twice where the file is read again. Add one."
                )
            content = repr(asdict(one))
            seen[content] += 1
            one = Told(**(asdict(one) | {"id": hashlib.sha256(f"{content} {seen[content]}".encode()).hexdigest()[:32]}))
        told.append(one)
        where.append(place)
    return told, where
