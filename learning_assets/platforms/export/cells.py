"""Cells of a spreadsheet as numbers, money, days and ids, and the refusal of those that are none.

What belongs here: reading text, whatever its column means, and saying which cell is wrong. What does not: which columns an
export has (`ads_manager`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from learning_assets.platforms.source import SourceError

MICROS = 1_000_000
_SPACES = " \u00a0\u202f"
_NOTHING = ["", "-", "--", "–", "—"]
"""What stands in a cell where nothing was reported."""
_LARGEST = 9_000_000_000_000
"""Largest whole part of a number: beyond it micros do not fit into 64 bits."""
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Rows of one file under our names, with the number of each in `row` as a spreadsheet shows it (the header is row 1).

    `labels` are the columns' names in the file, by ours.
    """

    file: str
    frame: pl.DataFrame
    labels: Mapping[str, str]

    def refuse(self, column: str, wrong: pl.Expr, what: str, remedy: str, frame: pl.DataFrame | None = None) -> None:
        """Raise SourceError for the first row where `wrong` holds; `what` follows the value, `remedy` ends the message."""
        rows = (self.frame if frame is None else frame).lazy().filter(wrong).select("row", column).collect()
        if rows.is_empty():
            return
        row, value = rows.row(0)
        shown = "the cell" if value is None else f"'{value}'"
        others = f" (and {rows.height - 1:,} more like it)" if rows.height > 1 else ""
        raise SourceError(
            f"{self.file}, row {row}, column '{self.labels.get(column, column)}': {shown} {what}{others}. {remedy}"
        )


def reported(text: pl.Expr) -> pl.Expr:
    """`text` without surrounding space, NULL where nothing was reported."""
    bare = text.str.strip_chars(_SPACES + "\t\r\n\ufeff")
    return pl.when(~bare.is_in(_NOTHING)).then(bare)


def pattern(decimal: str) -> str:
    """Regular expression of a number without sign: whole part (1) and decimals (2). Thousands are parted right or not at all."""
    parting = {".": ",", ",": "."}[decimal]
    groups = "|".join(rf"\d{{1,3}}(?:{one}\d{{3}})+" for one in (re.escape(parting), f"[{_SPACES}]"))
    return rf"^(\d+|{groups})(?:{re.escape(decimal)}(\d+))?$"


def numbers_remedy(decimal: str) -> str:
    """What to do about a number that cannot be read."""
    other = "," if decimal == "." else "."
    how = "with English (US) number format" if decimal == "." else "with a decimal comma"
    return f"Export again {how}, or set LEARNING_EXPORT_DECIMAL='{other}'."


def _parts(sheet: Sheet, column: str, decimal: str) -> pl.DataFrame:
    """The whole part (Int64) and the decimals (text) of a column of numbers, NULL where nothing was reported.

    Raises
    ------
    SourceError : a cell is no number, is negative or too large.
    """
    form, remedy = pattern(decimal), numbers_remedy(decimal)
    text = pl.col(column)
    unsigned = text.str.strip_prefix("-").str.strip_prefix("−")
    parsed = sheet.frame.select(
        "row",
        column,
        (unsigned != text).alias("signed"),
        unsigned.str.extract_groups(form).struct.rename_fields(["whole", "part"]).alias("parsed"),
    ).unnest("parsed")
    is_number = pl.col("whole").is_not_null()
    below = "Nothing in an export of delivery is below 0; export the file again."
    sheet.refuse(column, pl.col("signed") & is_number, "is negative", below, parsed)
    sheet.refuse(column, text.is_not_null() & ~is_number, "is not a number", remedy, parsed)
    whole = pl.col("whole").str.replace_all(r"\D", "").cast(pl.Int64, strict=False)
    numbers = parsed.with_columns(whole, pl.col("part").fill_null(""))
    large = is_number & ~(pl.col("number") < _LARGEST).fill_null(value=False)
    sheet.refuse(column, large, "is too large to be true", "Export the file again.", parsed.with_columns(number=whole))
    return numbers


def counts(sheet: Sheet, column: str, decimal: str) -> pl.Series:
    """A column as whole numbers (Int64)."""
    parts = _parts(sheet, column, decimal)
    uneven = pl.col("part").str.contains("[1-9]")
    sheet.refuse(column, uneven, "is not a whole number", f"It is a count. {numbers_remedy(decimal)}", parts)
    return parts["whole"].alias(column)


def money(sheet: Sheet, column: str, decimal: str) -> pl.Series:
    """A column of amounts as micros (Int64), exact; half a micro goes up."""
    tenths = pl.col("part").str.slice(0, 7).str.pad_end(7, "0").cast(pl.Int64)
    return _parts(sheet, column, decimal).select((pl.col("whole") * MICROS + (tenths + 5) // 10).alias(column)).to_series()


def ratios(sheet: Sheet, column: str, decimal: str) -> pl.Series:
    """A column of ratios as floats."""
    text = pl.concat_str(pl.col("whole").cast(pl.String), pl.lit("."), "part", pl.lit("0"))
    return _parts(sheet, column, decimal).select(text.cast(pl.Float64).alias(column)).to_series()


def days(sheet: Sheet, column: str, *, strict: bool = True) -> pl.Series:
    """A column as days.

    ISO 8601, `1.9.2026`, `Sep 1, 2026` and `1 Sep 2026` are read; `9/13/2026` or `13/9/2026` where a day above 12 in the same column
    tells which of the two it is. Where not `strict`, a cell that cannot be read is NULL.

    Raises
    ------
    SourceError : a cell is no day, or month and day cannot be told apart.
    """
    text = pl.col(column)
    slashes = r"^(\d{1,2})/(\d{1,2})/(\d{4})$"
    values = sheet.frame.select(pl.col(column).unique()).with_columns(
        text.str.extract(slashes, 1).cast(pl.Int32).alias("left"), text.str.extract(slashes, 2).cast(pl.Int32).alias("right")
    )
    left, right = values["left"].max(), values["right"].max()
    day_first, month_first = (left or 0) > 12, (right or 0) > 12  # type: ignore[operator]
    told = day_first != month_first
    if strict and left is not None and not told:
        why = "stands beside days written the other way round" if day_first else "may be day/month or month/day"
        remedy = "Write days as 2026-09-30, as Ads Manager does; a spreadsheet has changed them."
        sheet.refuse(column, text.str.contains(slashes), why, remedy)
    iso = text.str.extract(r"^(\d{4}-\d{2}-\d{2})(?:[T ]00:00(?::00)?)?$", 1).str.to_date("%Y-%m-%d", strict=False)
    dotted = text.str.extract(r"^(\d{1,2}\.\d{1,2}\.\d{4})$", 1).str.to_date("%d.%m.%Y", strict=False)
    slashed = pl.when(told & text.str.contains(slashes)).then(text)
    slashed = slashed.str.to_date("%d/%m/%Y" if day_first else "%m/%d/%Y", strict=False)
    found = values.select(column, pl.coalesce(iso, dotted, slashed, _named(text)).alias("found"))
    if strict:
        wrong = found.filter(text.is_not_null() & pl.col("found").is_null())[column]
        sheet.refuse(column, text.is_in(wrong.implode()), "is not a day", "Days are written 2026-09-30.")
    joined = sheet.frame.select(column).join(found, on=column, how="left", nulls_equal=True, maintain_order="left")
    return joined["found"].alias(column)


def _named(text: pl.Expr) -> pl.Expr:
    """Days whose month is an English name."""
    low = text.str.to_lowercase()
    us = r"^([a-z]{3})[a-z]*\.? (\d{1,2}),? (\d{4})$"
    other = r"^(\d{1,2}) ([a-z]{3})[a-z]*\.?,? (\d{4})$"
    month = pl.coalesce(low.str.extract(us, 1), low.str.extract(other, 2))
    number = month.replace_strict(_MONTHS, [f"{n:02d}" for n in range(1, 13)], default=None, return_dtype=pl.String)
    day = pl.coalesce(low.str.extract(us, 2), low.str.extract(other, 1)).str.zfill(2)
    year = pl.coalesce(low.str.extract(us, 3), low.str.extract(other, 3))
    return pl.concat_str([year, number, day], separator="-").str.to_date("%Y-%m-%d", strict=False)


def ids(sheet: Sheet, column: str) -> pl.Expr:
    """A column of ids as text, without `act_`, the letter that bulk exports put before them, or a spreadsheet's `="..."`.

    Raises
    ------
    SourceError : a spreadsheet has shortened an id to 1.2E+17; its digits are lost.
    """
    text = pl.col(column)
    sheet.refuse(
        column,
        text.str.contains(r"^\d+([.,]\d+)?[eE]\+?\d+$"),
        "is an id that a spreadsheet has shortened",
        "Its digits are lost: use the file as Ads Manager gave it, without saving it from a spreadsheet.",
    )
    bare = text.str.replace(r'^="?(.*?)"?$', "$1").str.replace(r"^'", "").str.replace(r"^[a-z]{1,2}:", "")
    return bare.str.strip_prefix("act_").str.strip_chars(_SPACES).alias(column)
