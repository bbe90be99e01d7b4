"""Parquet files in our own schema.

What belongs here: files whose columns are those of ACTUALS and CATALOG. What does not: exports of an ad platform (`ads_manager`).
"""

from datetime import datetime
from pathlib import Path

import polars as pl

from learning_assets.platforms.export.cells import Sheet
from learning_assets.platforms.export.rows import AMOUNTS, COUNTS, ROWS, WINDOWS, Contents, delivered
from learning_assets.platforms.source import ACTUALS, CATALOG, SourceError
from learning_assets.settings import Export

_KEY = ("date", "account_id", "ad_id")
_AGAIN = "Correct the file."


def read(path: Path, file: str, modified: datetime, settings: Export) -> Contents:
    """One row per ad and day of a file of facts; columns of CATALOG may stand beside them. Missing columns are NULL.

    Rows are counted from 1.

    Raises
    ------
    SourceError : a column is unknown, missing or of another type, or a value is wrong; the message names it.
    """
    frame = _typed(path, file, {**CATALOG, **ACTUALS})
    if "account_id" not in frame.columns and settings.account:
        frame = frame.with_columns(pl.lit(settings.account).alias("account_id"))
    _require(file, frame, (*_KEY, "impressions"))
    sheet = Sheet(file, frame, {})
    for name in (*_KEY, "impressions"):
        sheet.refuse(name, pl.col(name).is_null(), "is empty", _AGAIN)
    for name in (*COUNTS, *WINDOWS, *AMOUNTS, "reach"):
        if name in frame.columns:
            sheet.refuse(name, pl.col(name) < 0, "is negative", _AGAIN)
    if "currency" not in frame.columns:
        frame = frame.with_columns(pl.lit(settings.currency, dtype=pl.String).alias("currency"))
    for name in AMOUNTS:
        if name in frame.columns:
            wrong = pl.col(name).is_not_null() & pl.col("currency").is_null()
            sheet.refuse(
                name, wrong, "micros have no currency", "Add the column currency, or set LEARNING_EXPORT_CURRENCY.", frame
            )
    doubled = frame.filter(frame.select(_KEY).is_duplicated()).sort(*_KEY, "row")
    if doubled.height:
        first, second, day = doubled["row"][0], doubled["row"][1], doubled["date"][0]
        raise SourceError(f"{file}, rows {first} and {second}: both are the day {day} of one ad. {_AGAIN}")
    if "conversions" in frame.columns and "conversion_type" not in frame.columns:
        frame = frame.with_columns(pl.lit("conversions").alias("conversion_type"))
    found = frame.group_by("account_id").agg(pl.col("date").min().alias("first"), pl.col("date").max().alias("last"))
    rows = frame.match_to_schema(ROWS, missing_columns="insert", extra_columns="ignore").select(ROWS.names())
    return Contents(file, modified, delivered(rows), {}, {account: (first, last) for account, first, last in found.iter_rows()})


def read_catalog(path: Path, file: str, modified: datetime, settings: Export) -> Contents:
    """Rows of a file of catalog, with the columns of CATALOG and, where they are of certain days only, `date`.

    Raises
    ------
    SourceError : as `read`.
    """
    frame = _typed(path, file, {**CATALOG, "date": pl.Date()})
    if "account_id" not in frame.columns and settings.account:
        frame = frame.with_columns(pl.lit(settings.account).alias("account_id"))
    _require(file, frame, ("account_id", "ad_id"))
    sheet = Sheet(file, frame, {})
    for name in ("account_id", "ad_id"):
        sheet.refuse(name, pl.col(name).is_null(), "is empty", _AGAIN)
    schema = pl.Schema({"date": pl.Date, **CATALOG})
    listed = frame.match_to_schema(schema, missing_columns="insert", extra_columns="ignore").select(schema.names())
    doubled = listed.select("date", "account_id", "ad_id").is_duplicated()
    if doubled.any():
        first, second = (doubled.arg_true() + 1).head(2)
        raise SourceError(
            f"{file}, rows {first} and {second}: both are of one ad{' and day' if 'date' in frame.columns else ''}. {_AGAIN}"
        )
    return Contents(file, modified, ROWS.to_frame(), {}, {}, listed=listed)


def _typed(path: Path, file: str, known: dict[str, pl.DataType]) -> pl.DataFrame:
    """The file with our types, and the number of each row in `row`."""
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]}. Write the file again.") from error
    if unknown := [name for name in frame.columns if name not in known]:
        raise SourceError(f"{file} has the column '{unknown[0]}', which means nothing here. Known ones are {', '.join(known)}.")
    try:
        typed = frame.cast({name: known[name] for name in frame.columns})
    except pl.exceptions.PolarsError as error:
        wrong = ", ".join(f"{name} ({frame.schema[name]})" for name in frame.columns if frame.schema[name] != known[name])
        raise SourceError(f"{file}: a value does not fit the type of its column, one of {wrong}. {_AGAIN}") from error
    for name, kind in frame.schema.items():
        # A cast of floats to integers drops their decimals.
        if kind.is_float() and known[name].is_integer():
            uneven = (frame[name].is_not_null() & (frame[name] != typed[name])).arg_true()
            if len(uneven):
                raise SourceError(
                    f"{file}, row {uneven[0] + 1}, column '{name}': '{frame[name][uneven[0]]}' is not a whole number. {_AGAIN}"
                )
    return typed.with_row_index("row", offset=1).with_columns(pl.col("row").cast(pl.Int64))


def _require(file: str, frame: pl.DataFrame, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        have = ", ".join(name for name in frame.columns if name != "row")
        raise SourceError(
            f"{file} has no column '{missing[0]}'. Its columns are {have}. Columns are named as in ACTUALS and CATALOG."
        )
