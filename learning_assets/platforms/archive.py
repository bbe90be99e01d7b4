"""A table of finished experiments, read as history.

What belongs here: reading a Parquet or CSV file with one row per arm, saying precisely what is wrong with it, and answering as
a source. What does not: knowledge of one particular archive; its column names come from the settings.

An archive's time is a week or a day, and that is the only time there is: an arm's whole result is dated on it. The catalog
lists an arm one step before its result, without the result, so that it can be predicted first.
"""

from datetime import date, timedelta
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from time import perf_counter

import polars as pl

from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, HOURLY, MANIFEST, REACH, Cadence, Fetched, SourceError
from learning_assets.settings import Archive, SourceKind

_TEXTS = ("headline", "body", "description")
_REQUIRED = ("experiment", "time", "impressions", "clicks")
_OPTIONAL = (*_TEXTS, "image")
_COUNTS = ("impressions", "clicks")
_STEP = {"iso_week": timedelta(days=7), "date": timedelta(days=1)}


class ArchiveSource:
    """An archive by its settings; the file is opened at the first question and read once.

    `time_format` `iso_week` reads YYYYWW and dates on that ISO week's Sunday. Week 00, which calendars have that begin with the
    year's first Sunday or Monday, is read as the week before week 01; week 53 is refused where the year has none.
    """

    kind: SourceKind = "archive"
    looks_back = True

    def __init__(self, settings: Archive) -> None:
        self.settings = settings
        self.controlled_delivery = settings.controlled_delivery
        self.cadence: Cadence = "week" if settings.time_format == "iso_week" else "day"

    @cached_property
    def arms(self) -> pl.DataFrame:
        """One row per arm, sorted by date in the file's order: experiment, date, ad_id, creative_id, planned_share, texts,
        image, impressions, clicks.

        Raises
        ------
        SourceError : the file, a column or a value is not as it should be; the message names it and the remedy.
        """
        return _load(self.settings)

    def accounts(self) -> pl.DataFrame:
        """The one account that the arms get, with schema ACCOUNTS; its currency is not known."""
        account = self.settings.account
        row = {"account_id": account, "owner": account, "name": f"Archive {_path(self.settings).name}", "timezone": "UTC"}
        return pl.DataFrame([row | {"currency": None, "consents": True}], schema=ACCOUNTS)

    def first_day(self) -> date:
        """Oldest date of the archive."""
        return self.arms["date"][0]

    def last_day(self, today: date) -> date:
        """Newest date of the archive before `today`; the day before the first where none is."""
        ended = self.arms["date"].filter(self.arms["date"] < today)
        return ended[-1] if len(ended) else self.first_day() - timedelta(days=1)

    def catalog(self, day: date) -> Fetched:
        """Arms of `day` (active), and of the next step (scheduled), with schema CATALOG."""
        begun = perf_counter()
        following = day + _STEP[self.settings.time_format]
        listed = (
            self.arms.filter(pl.col("date").is_in([day, following]))
            .with_columns(
                pl.lit(self.settings.account).alias("account_id"),
                pl.col("experiment").alias("experiment_id"),
                pl.col("experiment").alias("campaign_id"),
                pl.col("ad_id").alias("ad_set_id"),
                pl.lit("random").alias("assignment"),
                pl.when(pl.col("date") == day).then(pl.lit("active")).otherwise(pl.lit("scheduled")).alias("status"),
                pl.col("date").alias("starts_on"),
                pl.col("date").alias("ends_on"),
                pl.col("image").alias("image_id"),
            )
            .match_to_schema(CATALOG, missing_columns="insert", extra_columns="ignore")
            .select(CATALOG.names())
        )
        return Fetched(
            listed, self._manifest("catalog", pl.Series("date", [day]), listed.select(pl.lit(day).alias("date")), begun)
        )

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        """Results of the arms dated `first` to `last` and not after `known_on`; they are final. Money is not known."""
        begun = perf_counter()
        found = (
            self.arms.filter(pl.col("date").is_between(first, min(last, known_on)) & (pl.col("impressions") > 0))
            .with_columns(
                pl.lit(self.settings.account).alias("account_id"),
                pl.col("clicks").alias("link_clicks"),
                pl.lit(True).alias("is_final"),
                pl.lit(True).alias("complete"),
                pl.lit(False).alias("restated"),
            )
            .match_to_schema(ACTUALS, missing_columns="insert", extra_columns="ignore")
            .select(ACTUALS.names())
        )
        asked = pl.date_range(first, last, _STEP[self.settings.time_format], eager=True).alias("date")
        return Fetched(found, self._manifest("daily", asked, found, begun))

    def hourly(self, day: date) -> Fetched:  # noqa: ARG002
        """Nothing: an archive knows no hours."""
        return Fetched(HOURLY.to_frame(), MANIFEST.to_frame())

    def reach(self, first: date, last: date) -> Fetched:  # noqa: ARG002
        """Nothing: an archive knows no people."""
        return Fetched(REACH.to_frame(), MANIFEST.to_frame())

    def _manifest(self, fact: str, asked: pl.Series, found: pl.DataFrame, begun: float) -> pl.DataFrame:
        """One row for each date that was asked for."""
        counts = found.group_by("date").agg(rows=pl.len().cast(pl.Int64))
        missing = pl.col("rows").is_null()
        return (
            pl.DataFrame([asked])
            .join(counts, on="date", how="left", maintain_order="left")
            .with_columns(
                account_id=pl.lit(self.settings.account),
                fact=pl.lit(fact),
                status=pl.when(missing).then(pl.lit("no_data")).otherwise(pl.lit("complete")),
                reason=pl.when(missing).then(pl.format("the archive has no arm dated {}", "date")),
                rows=pl.col("rows").fill_null(0),
                seconds=pl.lit((perf_counter() - begun) / max(len(asked), 1)),
            )
            .match_to_schema(MANIFEST, missing_columns="insert")
        )


def _path(settings: Archive) -> Path:
    if settings.path is None:
        raise SourceError("LEARNING_SOURCE=archive needs LEARNING_ARCHIVE_PATH: the Parquet or CSV file of the archive.")
    return settings.path


def _load(settings: Archive) -> pl.DataFrame:
    """Read and check the file; see `ArchiveSource.arms`."""
    path = _path(settings)
    raw = _read(path, settings)
    _refuse(path, settings, raw, "experiment", pl.col("experiment").is_null(), "is empty", "Give every arm its experiment.")
    dated = raw.with_columns(_dates(path, settings, raw))
    counted = dated.with_columns(_counts(path, settings, dated, name) for name in _COUNTS)
    _refuse(
        path,
        settings,
        counted,
        "clicks",
        pl.col("clicks") > pl.col("impressions"),
        "is above the row's impressions",
        "Check that LEARNING_ARCHIVE_COLUMNS does not mix the two up.",
    )
    if counted.select(pl.all_horizontal(pl.col(_TEXTS).is_null().all())).item():
        raise SourceError(
            f"{path.name}: no row has a text. Map headline, body or description to a column with text: "
            "LEARNING_ARCHIVE_COLUMNS=headline=NAME."
        )
    arm = pl.int_range(1, pl.len() + 1).over("experiment")
    return counted.select(
        "experiment",
        pl.col("time").alias("date"),
        pl.format("{}-{}", "experiment", arm).alias("ad_id"),
        _creative_ids(counted),
        (1 / pl.len().over("experiment")).alias("planned_share"),
        *_OPTIONAL,
        *_COUNTS,
    ).sort("date", maintain_order=True)


def _read(path: Path, settings: Archive) -> pl.DataFrame:
    """The mapped columns under our names, texts NULL where empty, with the 1-based number of the data row in `row`."""
    unknown = sorted(set(settings.columns) - {*_REQUIRED, *_OPTIONAL})
    if unknown:
        raise SourceError(
            f"LEARNING_ARCHIVE_COLUMNS maps {unknown[0]!r}, which means nothing here. Names on the left are "
            f"{', '.join((*_REQUIRED, *_OPTIONAL))}."
        )
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise SourceError(f"{path.name} is not a .parquet or .csv file. Convert it, or set LEARNING_ARCHIVE_PATH to another.")
    if not path.is_file():
        raise SourceError(f"{path} does not exist. Set LEARNING_ARCHIVE_PATH to the archive's Parquet or CSV file.")
    try:
        # A CSV is read as text, so that an error can quote the value as it stands there.
        scan = pl.scan_csv(path, infer_schema=False) if suffix == ".csv" else pl.scan_parquet(path)
        names = scan.collect_schema().names()
        for ours in (*_REQUIRED, *settings.columns):
            if (theirs := _theirs(settings, ours)) not in names:
                purpose = "" if theirs == ours else f" for {ours}"
                raise SourceError(
                    f"{path.name} has no column {theirs!r}{purpose}. Its columns are {', '.join(names)}. "
                    f"Map the right one: LEARNING_ARCHIVE_COLUMNS={ours}=NAME."
                )
        if not any(_theirs(settings, name) in names for name in _TEXTS):
            raise SourceError(
                f"{path.name} has no column of text. Its columns are {', '.join(names)}. Map headline, body or description: "
                "LEARNING_ARCHIVE_COLUMNS=headline=NAME."
            )
        present = [name for name in (*_REQUIRED, *_OPTIONAL) if _theirs(settings, name) in names]
        frame = scan.select(pl.col(_theirs(settings, name)).alias(name) for name in present).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"{path.name} cannot be read as {suffix.lstrip('.').upper()}: {error}. Export the file again."
        ) from error
    if frame.is_empty():
        raise SourceError(f"{path.name} has no rows. Set LEARNING_ARCHIVE_PATH to a file with one row per arm.")
    texts = pl.col("experiment", *(name for name in _OPTIONAL if name in present)).cast(pl.String)
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in _OPTIONAL if name not in present]
    return frame.with_columns(pl.when(texts.str.strip_chars() != "").then(texts), *absent).with_row_index("row", offset=1)


def _theirs(settings: Archive, ours: str) -> str:
    return settings.columns.get(ours, ours)


def _refuse(path: Path, settings: Archive, frame: pl.DataFrame, column: str, wrong: pl.Expr, what: str, remedy: str) -> None:
    """Raise SourceError for the first row where `wrong` holds; `what` follows the value, `remedy` ends the message."""
    rows = frame.lazy().filter(wrong).select("row", column).collect()
    if rows.is_empty():
        return
    row, value = rows.row(0)
    shown = "the value" if value is None else f"'{value}'"
    others = f" (and {rows.height - 1:,} more like it)" if rows.height > 1 else ""
    raise SourceError(f"{path.name}, row {row}, column {_theirs(settings, column)!r}: {shown} {what}{others}. {remedy}")


def _counts(path: Path, settings: Archive, frame: pl.DataFrame, name: str) -> pl.Expr:
    """`name` as whole numbers; SourceError where a value is none."""
    value = pl.col(name)
    text = frame.schema[name] == pl.String
    remedy = "Counts are whole numbers without separators, such as 3052; leave rows without a known result out of the file."
    number = (value.str.strip_chars() if text else value).cast(pl.Float64, strict=False)
    empty = value.is_null() | (value == "") if text else value.is_null()
    _refuse(path, settings, frame, name, empty, "is empty", remedy)
    _refuse(path, settings, frame, name, number.is_null() | ~number.is_finite(), "is not a number", remedy)
    _refuse(path, settings, frame, name, number != number.floor(), "is not a whole number", remedy)
    _refuse(path, settings, frame, name, number < 0, "is negative", remedy)
    return number.cast(pl.Int64).alias(name)


def _dates(path: Path, settings: Archive, frame: pl.DataFrame) -> pl.Expr:
    """`time` as dates; SourceError where a value is none."""
    time = pl.col("time")
    text = time.cast(pl.String).str.strip_chars()
    _refuse(path, settings, frame, "time", time.is_null() | (text == ""), "is empty", "Every arm needs the time of its test.")
    if settings.time_format == "date":
        day = time.cast(pl.Date) if frame.schema["time"].is_temporal() else text.str.to_date("%Y-%m-%d", strict=False)
        _refuse(
            path,
            settings,
            frame,
            "time",
            day.is_null(),
            "is not a day",
            "Days are written 2014-03-31; for weeks (YYYYWW) set LEARNING_ARCHIVE_TIME_FORMAT=iso_week.",
        )
        return day.alias("time")
    number = pl.when(text.str.contains(r"^\d{6}$")).then(text).cast(pl.Int32, strict=False)
    year, week = number // 100, number % 100
    # 4 January lies in week 01 of every ISO year.
    fourth = pl.date(year, 1, 4)
    sunday = fourth + pl.duration(days=week.cast(pl.Int64) * 7 - fourth.dt.weekday())
    exists = (week == 0) | ((sunday.dt.iso_year() == year) & (sunday.dt.week() == week))
    _refuse(
        path,
        settings,
        frame,
        "time",
        ~(exists & (year > 0)).fill_null(False),
        "is not an ISO week",
        "Weeks are written YYYYWW, such as 201442, and most years have 52; for days set LEARNING_ARCHIVE_TIME_FORMAT=date.",
    )
    return sunday.alias("time")


def _creative_ids(frame: pl.DataFrame) -> pl.Series:
    """Ids of the creatives: a hash of texts and image that does not depend on a library's version."""
    parts = [pl.col(name).fill_null("\x00") for name in (*_TEXTS, "image")]
    identity = frame.select(pl.concat_str(parts, separator="\x1f")).to_series()
    ids = [blake2b(text.encode(), digest_size=12).hexdigest() for text in identity.to_list()]
    return pl.Series("creative_id", ids, dtype=pl.String)
