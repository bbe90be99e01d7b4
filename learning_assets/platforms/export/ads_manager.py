"""CSV exports of Ads Manager.

What belongs here: the names that Ads Manager gives its columns, which of its rows are totals, and how rows of a breakdown become one row
per ad and day. What does not: what a number looks like (`cells`), and what several files say together (`book`).
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from learning_assets.platforms.export import cells
from learning_assets.platforms.export.cells import Sheet
from learning_assets.platforms.export.rows import ATTRIBUTES, COUNTS, FLAGS, ROWS, WINDOWS, Contents, delivered
from learning_assets.platforms.source import SourceError
from learning_assets.settings import Export

COLUMNS = {
    "day": ("day", "date"),
    "starts": ("reporting starts",),
    "ends": ("reporting ends",),
    "account_id": ("account id", "ad account id"),
    "account_name": ("account name", "ad account name"),
    "campaign_id": ("campaign id",),
    "campaign_name": ("campaign name", "campaign"),
    "ad_set_id": ("ad set id", "adset id"),
    "ad_set_name": ("ad set name", "ad set"),
    "ad_id": ("ad id",),
    "ad_name": ("ad name",),
    "impressions": ("impressions",),
    "reach": ("reach",),
    "link_clicks": ("link clicks",),
    "clicks_all": ("clicks (all)",),
    "outbound_clicks": ("outbound clicks",),
    "video_3s_views": ("3-second video plays", "3-second video views"),
    "spend_micros": ("amount spent",),
    "currency": ("currency",),
    "indicator": ("result indicator", "result type"),
    "creative_id": ("creative id", "ad creative id"),
    "headline": ("headline (ad settings)", "headline", "title"),
    "body": ("body (ad settings)", "body", "primary text", "text", "ad creative"),
    "description": ("description (ad settings)", "description", "link description"),
    "cta": ("call to action type", "call to action"),
    "image_id": ("image hash", "image name"),
    "image_url": ("image url",),
    "video_id": ("video id",),
    "optimization_goal": ("optimization goal", "performance goal"),
    "starts_on": ("starts",),
    "ends_on": ("ends",),
}
"""Our columns by the names that Ads Manager's have in English, small letters and without the currency; the first name that a file has counts."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Columns that count one type of conversion, and its value."""

    type: str | None
    """The platform's action type, or None where each row says its own."""
    count: str
    value: str
    ratio: str


GOALS = (
    Goal("omni_purchase", "purchases", "purchases conversion value", "purchase roas (return on ad spend)"),
    Goal(
        "offsite_conversion.fb_pixel_purchase",
        "website purchases",
        "website purchases conversion value",
        "website purchase roas (return on ad spend)",
    ),
    Goal(None, "results", "results value", "results roas"),
)
"""What counts as a conversion, in order; the first that a file has counts, and they are never added up."""

RESULTS = {
    "purchases": "omni_purchase",
    "purchase": "omni_purchase",
    "website purchases": "offsite_conversion.fb_pixel_purchase",
    "website purchase": "offsite_conversion.fb_pixel_purchase",
    "leads": "lead",
    "website leads": "offsite_conversion.fb_pixel_lead",
    "on-facebook leads": "onsite_conversion.lead_grouped",
    "leads (form)": "onsite_conversion.lead_grouped",
    "meta leads": "onsite_conversion.lead_grouped",
}
"""Action types by the words for them in the column Result indicator, which may also have the type itself."""

BREAKDOWNS = (
    "age", "gender", "country", "region", "dma region", "city", "platform", "placement", "device", "device platform",
    "impression device", "conversion device", "media type", "time of day (ad account time zone)", "time of day (viewer's time zone)",
    "product id", "publisher platform", "audience segments", "audience segment", "user segment", "destination", "image, video and slideshow",
    "business locations", "business location", "brand", "category", "landing page", "frequency value", "hourly", "attribution setting",
    "app id", "skadnetwork campaign id", "skadnetwork conversion id", "prior ad set id", "carousel card", "post reaction type",
    "video view type", "video sound", "gaming console", "message destination", "crm objects",
)  # fmt: skip
"""Columns by which one ad's day is broken down into several rows that add up to it."""

_TEXTS = ("headline", "body", "description", "cta", "image_id", "image_url", "video_id", "creative_id", "optimization_goal")
_CURRENCY = re.compile(r"^(.*?)\s*\(([A-Z]{3})\)$")
_TOTAL = r"(?i)^(all|total|grand total|results from .*)$"
_BY_DAY = "Export again from the Ads tab with Breakdown > By time > Day."
_ENGLISH = "Set Ads Manager's language to English (US) and export again"


def read(path: Path, file: str, modified: datetime, settings: Export) -> Contents:
    """One row per ad and day of a file.

    Raises
    ------
    SourceError : the file cannot be read, has no day, ad or impressions, or a cell is wrong; the message names it and the remedy.
    """
    header, raw = _table(path, file)
    book = _Header(file, header, raw)
    for needed, what, remedy in (
        ("impressions", "Impressions", f"Add it to the columns of the table. {_ENGLISH} where it is called otherwise."),
        ("ad_id ad_name", "Ad ID or Ad name", "Export from the Ads tab, with Ad ID among the columns."),
        ("day starts", "Day", f"It may be a total of its whole period. {_BY_DAY}"),
    ):
        if not any(name in book.found for name in needed.split()):
            raise SourceError(f"{file} has no column {what}. Its columns are {', '.join(filter(None, header))}. {remedy}")
    sheet, goal = book.sheet()
    return _contents(sheet, goal, book, modified, settings)


def _table(path: Path, file: str) -> tuple[list[str], pl.DataFrame]:
    """The header, and the rows below it as text with their number in `row`."""
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            raw = raw.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise SourceError(f"{file} cannot be read as UTF-16: {error}. Save it as CSV UTF-8, or export it again.") from error
    first = re.sub(rb'"[^"]*"', b"", raw.split(b"\n", 1)[0])
    separator = max((",", "\t", ";"), key=lambda sign: first.count(sign.encode()))
    try:
        table = pl.read_csv(raw, has_header=False, infer_schema=False, separator=separator)
    except pl.exceptions.NoDataError as error:
        raise SourceError(f"{file} is empty. Export it again, or take it out of the folder.") from error
    except pl.exceptions.PolarsError as error:
        why = str(error).splitlines()[0]
        raise SourceError(f"{file} cannot be read as CSV: {why}. Save it as CSV UTF-8, or export it again.") from error
    header = [(name or "").strip("\ufeff \t") for name in table.row(0)]
    if table.width > 1 and table.row(-1)[-1] is None and not raw.endswith((b"\n", separator.encode(), b'""')):
        raise SourceError(f"{file} ends in the middle of row {table.height}: it was cut off. Export it again.")
    rows = table.slice(1).with_row_index("row", offset=2).with_columns(pl.col("row").cast(pl.Int64))
    return header, rows.filter(pl.any_horizontal(pl.exclude("row").is_not_null()))


class _Header:
    """Which column of a file is which of ours, and in which currency its amounts are."""

    def __init__(self, file: str, header: list[str], raw: pl.DataFrame) -> None:
        self.file, self.header = file, header
        self.raw = raw.with_columns(cells.reported(pl.exclude("row")))
        self.positions: dict[str, list[int]] = {}
        self.currencies: dict[int, str] = {}
        for position, name in enumerate(header):
            match = _CURRENCY.match(name)
            base = match[1] if match else name
            if match:
                self.currencies[position] = match[2]
            self.positions.setdefault(" ".join(base.lower().split()), []).append(position)
        self.found = {ours: name for ours, names in COLUMNS.items() if (name := self._first(names)) is not None}
        self.breakdowns = [name for name in BREAKDOWNS if name in self.positions and name not in self.found.values()]

    def _first(self, names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in self.positions), None)

    def label(self, name: str) -> str:
        """A column's name as it stands in the file."""
        return self.header[self.positions[name][0]]

    def column(self, name: str, ours: str) -> pl.Series:
        """The cells of a column; where its header stands several times, they must agree.

        Raises
        ------
        SourceError : two columns of that name differ.
        """
        several = self.positions[name]
        named = [f"column_{position}" for position in several]
        if len({self.currencies.get(position) for position in several}) > 1:
            titles = " and ".join(f"'{self.header[position]}'" for position in several)
            raise SourceError(
                f"{self.file} has the columns {titles}. Export each account in its own currency, in a file of its own."
            )
        for position, other in zip(several[1:], named[1:], strict=True):
            differ = self.raw.filter(pl.col(other) != pl.col(named[0]))
            if differ.height:
                row, one, two = differ.select("row", named[0], other).row(0)
                raise SourceError(
                    f"{self.file}, row {row}: the columns {several[0] + 1} and {position + 1} are both called '{self.header[position]}', "
                    f"and say '{one}' and '{two}'. Take one of them out of the export."
                )
        return self.raw.select(pl.coalesce(named).alias(ours)).to_series()

    def sheet(self) -> tuple[Sheet, Goal | None]:
        """All columns that mean something here, as text, and what counts as a conversion."""
        wanted = {ours: name for ours, name in self.found.items() if ours != "indicator"}
        goal = next((goal for goal in GOALS if goal.count in self.positions), None) or next(
            (goal for goal in GOALS if {goal.value, goal.ratio} & set(self.positions)), None
        )
        if goal is not None and goal.type is None:
            # Results of what? Link clicks count as results, too.
            goal = goal if "indicator" in self.found else None
            wanted |= {"indicator": self.found["indicator"]} if goal else {}
        if goal is not None:
            ours = {"conversions": goal.count, "revenue_micros": goal.value, "ratio": goal.ratio}
            wanted |= {name: theirs for name, theirs in ours.items() if theirs in self.positions}
        wanted |= {f"by {name}": name for name in self.breakdowns}
        frame = pl.DataFrame([self.raw["row"], *(self.column(name, ours) for ours, name in wanted.items())])
        return Sheet(self.file, frame, {ours: self.label(name) for ours, name in wanted.items()}), goal

    def currency(self) -> str | None:
        """The currency that stands in the headers of the columns that are read.

        Raises
        ------
        SourceError : they name several.
        """
        read = [self.found.get("spend_micros"), *(goal.value for goal in GOALS)]
        positions = [position for name in read if name in self.positions for position in self.positions[name]]
        named = {self.currencies[p]: self.header[p] for p in positions if p in self.currencies}
        if len(named) > 1:
            titles = " and ".join(f"'{title}'" for title in named.values())
            raise SourceError(f"{self.file} mixes currencies in the columns {titles}. Export each account in its own currency.")
        return next(iter(named), None)


def _contents(sheet: Sheet, goal: Goal | None, header: _Header, modified: datetime, settings: Export) -> Contents:
    sheet = _identified(sheet, settings)
    frame = sheet.frame
    anonymous = pl.col("ad_id").is_null() & pl.col("ad_name").is_null()
    whole = anonymous & pl.all_horizontal(pl.col("campaign_id", "campaign_name", "ad_set_id", "ad_set_name").is_null())
    totals, listed = frame.filter(whole), frame.filter(~whole)
    sheet = Sheet(sheet.file, listed, sheet.labels)
    known = "ad_id" if "ad_id" in sheet.labels else "ad_name"
    sheet.refuse(known, pl.col(known).is_null(), "names no ad", "Export from the Ads tab, with Ad ID among the columns.")
    account = "account_id" if "account_id" in sheet.labels else "account_name"
    if account in sheet.labels:
        sheet.refuse(account, pl.col(account).is_null(), "names no account", "Export again with Account ID among the columns.")
    sheet, of_period = _dated(sheet, modified)
    numbered = _numbered(sheet, goal, header, settings)
    single = _without_subtotals(_distinct(sheet, numbered, header.raw), sheet)
    rows = _summed(sheet, single)
    for total in (totals, of_period):
        _compare(sheet.file, total, rows, settings, cut=total is totals)
    notes = tuple(
        f"{sheet.file}: left out {what}, row {left['row'][0]}{f' and {left.height - 1:,} more' if left.height > 1 else ''}"
        for left, what in ((totals, "the total without an ad"), (of_period, "totals of the whole period"))
        if left.height
    )
    if not rows.height:
        notes = (*notes, f"{sheet.file}: no ad has delivery in it")
    return Contents(
        sheet.file,
        modified,
        delivered(rows),
        sheet.labels,
        _spans(sheet, rows, modified),
        goal is None or goal.type is not None,
        notes,
    )


def _identified(sheet: Sheet, settings: Export) -> Sheet:
    """Ids as they are, words for a total as NULL, accounts by the setting where no column has them."""
    frame, labels = sheet.frame, dict(sheet.labels)
    by = [name for name in frame.columns if name.startswith("by ")]
    absent = [
        name
        for name in (
            "account_id",
            "account_name",
            "campaign_id",
            "campaign_name",
            "ad_set_id",
            "ad_set_name",
            "ad_id",
            "ad_name",
        )
        if name not in frame.columns
    ]
    frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    frame = frame.with_columns(
        cells.ids(Sheet(sheet.file, frame, labels), name)
        for name in ("account_id", "campaign_id", "ad_set_id", "ad_id", "creative_id", "video_id")
        if name in labels
    )
    dated = [name for name in ("day", "starts", "ends") if name in labels]
    spoken = pl.col("campaign_name", "ad_set_name", "ad_name", *dated, *by)
    frame = frame.with_columns(pl.when(~spoken.str.contains(_TOTAL)).then(spoken))
    frame = frame.with_columns(
        # An ad may be called Total; one that has an id is no total.
        pl.coalesce("ad_name", pl.when(pl.col("ad_id").is_not_null()).then(sheet.frame["ad_name"])).alias("ad_name")
        if "ad_name" in labels
        else pl.col("ad_name")
    )
    if "account_id" not in labels and "account_name" not in labels:
        if not settings.account:
            raise SourceError(
                f"{sheet.file} names no account. Export it again with the columns Account ID and Account name, or set LEARNING_EXPORT_ACCOUNT."
            )
        frame = frame.with_columns(pl.lit(settings.account.strip().removeprefix("act_")).alias("account_id"))
    return Sheet(sheet.file, frame, labels)


def _dated(sheet: Sheet, modified: datetime) -> tuple[Sheet, pl.DataFrame]:
    """Rows of a day, with it in `date`, and those that are totals of the period of an ad whose days the file has.

    Raises
    ------
    SourceError : a row has no day, or one that the file cannot know yet.
    """
    names = [name for name in ("day", "starts", "ends") if name in sheet.labels]
    frame = sheet.frame.with_columns(cells.days(sheet, name) for name in names)
    if "day" in names:
        day = pl.col("day")
    elif "ends" in names:
        day = pl.when(pl.col("starts") == pl.col("ends")).then("starts")
    else:
        raise SourceError(f"{sheet.file} has no column Day, and its 'Reporting starts' may begin any period. {_BY_DAY}")
    frame = frame.with_columns(day.alias("date"))
    ad = ["account_id", "account_name", "campaign_name", "ad_set_name", "ad_id", "ad_name"]
    other = frame.filter(pl.col("date").is_null())
    dated = frame.filter(pl.col("date").is_not_null())
    alone = other.join(dated, on=ad, how="anti", nulls_equal=True)
    if alone.height:
        row = alone.row(0, named=True)
        period = (
            f"a total of {row['starts']} to {row['ends']}"
            if row.get("starts") and row.get("ends")
            else "a total of its whole period"
        )
        raise SourceError(f"{sheet.file}, row {row['row']}: {period}, without a day. {_BY_DAY}")
    late = Sheet(sheet.file, dated, {**sheet.labels, "date": sheet.labels["day" if "day" in names else "starts"]})
    late.refuse(
        "date",
        # An account's day may begin before that of the set time zone.
        pl.col("date") > modified.date() + timedelta(days=1),
        f"is after the file's own date, {modified.date()}",
        "Keep the file's date when it is copied, or export it again.",
    )
    return late, other


def _numbered(sheet: Sheet, goal: Goal | None, header: _Header, settings: Export) -> pl.DataFrame:
    """Rows with their counts and amounts as numbers, their currency and type of conversion."""
    frame, decimal = sheet.frame, settings.decimal
    whole = [name for name in (*COUNTS, "reach") if name in sheet.labels]
    amounts = [name for name in ("spend_micros", "revenue_micros") if name in sheet.labels]
    columns = [cells.counts(sheet, name, decimal) for name in whole] + [cells.money(sheet, name, decimal) for name in amounts]
    if "ratio" in sheet.labels:
        columns.append(cells.ratios(sheet, "ratio", decimal))
    frame = frame.with_columns(columns)
    if "ratio" in sheet.labels and "revenue_micros" not in sheet.labels and "spend_micros" in sheet.labels:
        frame = frame.with_columns((pl.col("ratio") * pl.col("spend_micros")).round().cast(pl.Int64).alias("revenue_micros"))
    if goal is not None:
        kind = pl.lit(goal.type) if goal.type else _result_type(pl.col("indicator"))
        frame = frame.with_columns(kind.alias("conversion_type"))
        if goal.type is None:
            told = pl.col("conversion_type").is_not_null()
            frame = frame.with_columns(
                pl.when(told).then(pl.col(name)) for name in ("conversions", "revenue_micros") if name in frame.columns
            )
    frame = frame.with_columns(_currency(Sheet(sheet.file, frame, sheet.labels), header.currency(), settings))
    for name in ("starts_on", "ends_on"):
        if name in sheet.labels:
            frame = frame.with_columns(cells.days(sheet, name, strict=False))
    if "cta" in sheet.labels:
        frame = frame.with_columns(pl.col("cta").str.to_uppercase().str.replace_all(r"[\s-]+", "_"))
    absent = {name: kind for name, kind in ROWS.items() if name not in frame.columns and name not in FLAGS}
    return frame.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in absent.items())


def _result_type(indicator: pl.Expr) -> pl.Expr:
    """The action type of purchases, leads and conversions off the platform; NULL for clicks, views and whatever else a result may be."""
    bare = indicator.str.to_lowercase().str.replace(r"^(actions|conversions):", "")
    bare = bare.replace(list(RESULTS), list(RESULTS.values()))
    counted = bare.is_in(["omni_purchase", "purchase", "onsite_web_purchase", "onsite_conversion.purchase", "lead"])
    return pl.when(counted | bare.str.contains(r"^offsite_conversion\.|^onsite_conversion\.lead")).then(bare)


def _currency(sheet: Sheet, titled: str | None, settings: Export) -> pl.Expr:
    """The currency of each row: from the headers, else its own column, else the setting.

    Raises
    ------
    SourceError : headers and column contradict each other, it is no code, or amounts have none.
    """
    code = r"^[A-Z]{3}$"
    if "currency" in sheet.labels:
        own = pl.col("currency")
        sheet.refuse(
            "currency", ~own.str.contains(code), "is not a currency", "Currencies are written as in ISO 4217, such as USD."
        )
        if titled is not None:
            label = sheet.labels.get("spend_micros", sheet.labels.get("revenue_micros", ""))
            sheet.refuse("currency", own != titled, f"is not that of '{label}'", "Export each account in its own currency.")
            return pl.lit(titled).alias("currency")
        found = pl.coalesce(own, pl.lit(settings.currency, dtype=pl.String))
    else:
        found = pl.lit(titled or settings.currency, dtype=pl.String)
    if settings.currency is not None and not re.match(code, settings.currency):
        raise SourceError(
            f"LEARNING_EXPORT_CURRENCY={settings.currency} is not a currency. Write it as in ISO 4217, such as USD."
        )
    for name in ("spend_micros", "revenue_micros"):
        if name in sheet.labels and sheet.frame.select((pl.col(name).is_not_null() & found.is_null()).any()).item():
            raise SourceError(
                f"{sheet.file}, column '{sheet.labels[name]}': its amounts have no currency. Export with the currency in the column's name, "
                "as in 'Amount spent (USD)', or set LEARNING_EXPORT_CURRENCY."
            )
    return found.alias("currency")


_OF_AD = ["date", "account_id", "account_name", "campaign_name", "ad_set_name", "ad_id", "ad_name"]


def _ad_day(sheet: Sheet) -> list[str]:
    """What tells an ad's day from another within a file: its id, or all of its names."""
    return ["date", "account_id", "account_name", "ad_id"] if "ad_id" in sheet.labels else _OF_AD


def _distinct(sheet: Sheet, frame: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """Rows without exact repetitions.

    Raises
    ------
    SourceError : two rows of an ad's day differ, and no breakdown tells them apart.
    """
    by = [name for name in sheet.labels if name.startswith("by ")]
    texts = [name for name in _TEXTS if name in sheet.labels]
    key = [*_ad_day(sheet), *by, *texts]
    everything = [name for name in raw.columns if name != "row"]
    joined = frame.join(raw, on="row", how="left", maintain_order="left")
    once = joined.unique(everything, keep="first", maintain_order=True).select(frame.columns)
    doubled = once.filter(once.select(key).is_duplicated()).sort(*key, "row", nulls_last=True)
    if doubled.height:
        first, second = doubled["row"][0], doubled["row"][1]
        remedy = (
            "Take rows out that were pasted twice, or export again without the breakdown that is not known here."
            if "ad_id" in sheet.labels
            else "Two ads may have the same names: export again with Ad ID among the columns."
        )
        raise SourceError(
            f"{sheet.file}, rows {first} and {second}: both are the day {doubled['date'][0]} of one ad, and nothing tells them apart. {remedy}"
        )
    return once


def _without_subtotals(frame: pl.DataFrame, sheet: Sheet) -> pl.DataFrame:
    """Each ad's day at one level of its breakdown: where the file has the ad's own total beside the parts, the total.

    Raises
    ------
    SourceError : a row without its breakdown is not the sum of the others.
    """
    by = [name for name in sheet.labels if name.startswith("by ")]
    if not by:
        return frame
    key = _ad_day(sheet)
    depth = pl.sum_horizontal(pl.col(*by).is_not_null())
    frame = frame.with_columns(depth=depth)
    coarse = pl.col("depth").min().over(key)
    mixed = pl.col("depth").n_unique().over(key) > 1
    level = pl.col("impressions").fill_null(0)
    compared = frame.filter(mixed).with_columns(
        finest=level.filter(pl.col("depth") == pl.col("depth").max()).sum().over(key),
        total=level.filter(pl.col("depth") == pl.col("depth").min()).sum().over(key),
        coarse=pl.col("depth") == coarse,
    )
    wrong = compared.filter((pl.col("finest") != pl.col("total")) & pl.col("coarse"))
    if wrong.height:
        row = wrong.row(0, named=True)
        name = sheet.labels[next(one for one in by if row[one] is None)]
        raise SourceError(
            f"{sheet.file}, row {row['row']}, column '{name}': the cell is empty, but the row is not the total of its ad on {row['date']} "
            f"({row['total']:,} impressions, its parts {row['finest']:,}). Export again without the breakdown."
        )
    return frame.filter(pl.col("depth") == coarse).drop("depth")


def _summed(sheet: Sheet, frame: pl.DataFrame) -> pl.DataFrame:
    """One row per ad and day. Counts and amounts add up over a breakdown; people who were reached do not."""
    key = _ad_day(sheet)

    def one(*names: str) -> pl.Expr:
        """The value on which all rows agree, NULL where they do not."""
        value = pl.col(*names)
        return pl.when(value.min() == value.max()).then(value.min())

    added = (*COUNTS, *WINDOWS, "spend_micros", "revenue_micros")
    carried = [name for name in ("conversion_type", "currency", *ATTRIBUTES, *_OF_AD) if name not in key]
    summed = frame.group_by(key, maintain_order=True).agg(
        pl.col("row").min(),
        *(pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in added),
        pl.when(pl.len() == 1).then(pl.col("reach").first()).alias("reach"),
        *(one(name).alias(name) for name in carried),
    )
    return (
        summed.with_columns(pl.lit(None, dtype=pl.Boolean).alias(name) for name in FLAGS)
        .match_to_schema(ROWS, extra_columns="ignore")
        .select(ROWS.names())
    )


def _compare(file: str, totals: pl.DataFrame, rows: pl.DataFrame, settings: Export, *, cut: bool) -> None:
    """Raise SourceError where the export's own total of everything is not what its rows add up to, as when a file was cut off."""
    if not cut or totals.height != 1 or "impressions" not in totals.columns:
        return
    sheet = Sheet(file, totals, {"impressions": "Impressions"})
    said = totals.select(cells.counts(sheet, "impressions", settings.decimal)).item()
    found = rows["impressions"].sum()
    if said is not None and abs(said - found) > 0.005 * max(said, found):
        raise SourceError(
            f"{file}, row {totals['row'][0]}, column 'Impressions': the export's own total is {said:,}, its rows add up to {found:,}. "
            "The file may have been cut off: export it again."
        )


def _spans(sheet: Sheet, rows: pl.DataFrame, modified: datetime) -> dict[str, tuple[date, date]]:
    """First and last day that the file covers, by account: those of its rows, and the period that it was exported for."""
    frame = sheet.frame
    account = pl.coalesce("account_id", "account_name").alias("account")
    first, last = pl.col("date").min(), pl.col("date").max()
    if {"day", "starts", "ends"} <= set(sheet.labels):
        first, last = pl.min_horizontal(first, pl.col("starts").min()), pl.max_horizontal(last, pl.col("ends").max())
    found = frame.group_by(account).agg(first.alias("first"), pl.min_horizontal(last, pl.lit(modified.date())).alias("last"))
    return {account: (first, last) for account, first, last in found.iter_rows()} if rows.height else {}
