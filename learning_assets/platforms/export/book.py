"""All files of a folder of exports as one.

What belongs here: which files are read, what they must agree on, and ids where a file has names only. What does not: how one file is
read (`ads_manager`, `own_schema`), and answering as a source.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from learning_assets.platforms.export import ads_manager, own_schema
from learning_assets.platforms.export.rows import ATTRIBUTES, FACTS, Contents
from learning_assets.platforms.source import SourceError
from learning_assets.settings import Export

_NEEDED = "LEARNING_SOURCE=export needs LEARNING_EXPORT_PATH: the folder of the exports, or one file."
_TEXTS = ("headline", "body", "description", "cta", "image_id", "image_url", "video_id", "video_url")
FINAL_DAYS = 28
"""Days after which the platform does not restate its figures any more."""


@dataclass(frozen=True, slots=True)
class Book:
    """What the files say together.

    `facts`: one row per ad and day, the columns of ACTUALS and of CATALOG. `sources`: the file, its time (`modified`, local) and the row for each of
    an ad's days; several where files repeat one. `accounts`: account_id, name, currency. `spans`: the days that each file covers,
    by account (account_id, file, first, last, modified). `listed`: rows of files of catalog, `date` NULL where they are of every day.
    """

    facts: pl.DataFrame
    sources: pl.DataFrame
    accounts: pl.DataFrame
    spans: pl.DataFrame
    listed: pl.DataFrame
    notes: tuple[str, ...]


def open_book(settings: Export) -> Book:
    """Read every file.

    Raises
    ------
    SourceError : a file cannot be read, or two contradict each other; the message names them and the remedy.
    """
    zone = _zone(settings)
    files = [_read(path, file, zone, settings) for path, file in _files(settings)]
    for one in files:
        one.check()
    _alike(files)
    frames = [
        one.rows.with_columns(
            pl.lit(one.file).alias("file"),
            pl.lit(one.modified.replace(tzinfo=None)).alias("modified"),
            pl.lit(one.modified.astimezone(UTC)).dt.cast_time_unit("us").alias("requested_at"),
            pl.lit(one.settled).alias("settled"),
            pl.lit(bool(one.labels) and one.labels.keys().isdisjoint({"account_id", "account_name"})).alias("assumed"),
        )
        for one in files
        if one.rows.height
    ]
    if not frames:
        raise SourceError(f"{settings.path} holds no ad with delivery on any day. Export a period in which ads ran.")
    rows = pl.concat(frames)
    rows = _with_ids(rows)
    names = rows.filter(pl.col("account_name").is_not_null()).sort("modified", maintain_order=True)
    named = names.group_by("account_id", maintain_order=True).agg(pl.col("account_name").last().alias("name"))
    currencies = _one_currency(rows)
    rows = _one_type(rows)
    _one_account(rows)
    facts = _agreed(rows)
    spans = [
        {"account_id": account, "file": one.file, "first": first, "last": last, "modified": one.modified.replace(tzinfo=None)}
        for one in files
        for account, (first, last) in one.spans.items()
    ]
    day = pl.Schema(
        {"account_id": pl.String, "file": pl.String, "first": pl.Date, "last": pl.Date, "modified": pl.Datetime("us")}
    )
    covered = _account_ids(
        pl.DataFrame(spans, schema=day).with_columns(account_name=pl.col("account_id")), by_name=_by_name(files)
    )
    return Book(
        facts,
        rows.select("date", "account_id", "ad_id", "file", "row", "modified", "requested_at"),
        currencies.join(named, on="account_id", how="left").sort("account_id"),
        covered.drop("account_name"),
        pl.concat([one.listed for one in files]),
        tuple(note for one in files for note in one.notes),
    )


def _zone(settings: Export) -> ZoneInfo:
    try:
        return ZoneInfo(settings.timezone)
    except (KeyError, ValueError, OSError) as error:
        raise SourceError(
            f"LEARNING_EXPORT_TIMEZONE: {settings.timezone!r} is not an IANA time zone, such as Europe/Berlin."
        ) from error


def _files(settings: Export) -> list[tuple[Path, str]]:
    """The files to read with the names that messages give them, sorted."""
    root = settings.path
    if root is None:
        raise SourceError(_NEEDED)
    if not root.exists():
        raise SourceError(f"{root} does not exist. Set LEARNING_EXPORT_PATH to the folder of the exports, or to one file.")
    inside = (
        [(root, root.name)] if root.is_file() else [(path, str(path.relative_to(root))) for path in sorted(root.rglob("*"))]
    )
    seen = [(path, name) for path, name in inside if path.is_file() and not any(part[:1] in ".~" for part in Path(name).parts)]
    for path, name in seen:
        if path.suffix.lower() in (".xlsx", ".xls"):
            raise SourceError(f"{name} is an Excel workbook. Export it as CSV, and take the workbook out of the folder.")
    found = [(path, name) for path, name in seen if path.suffix.lower() in (".csv", ".tsv", ".txt", ".parquet")]
    if not found:
        raise SourceError(f"{root} holds no .csv and no .parquet file. Export reports from Ads Manager into it as CSV.")
    return found


def _read(path: Path, file: str, zone: ZoneInfo, settings: Export) -> Contents:
    modified = datetime.fromtimestamp(path.stat().st_mtime, zone)
    if path.suffix.lower() != ".parquet":
        return ads_manager.read(path, file, modified, settings)
    read = own_schema.read_catalog if path.name.startswith("catalog") else own_schema.read
    return read(path, file, modified, settings)


def _by_name(files: list[Contents]) -> bool:
    """Whether the accounts are known by name only."""
    return any("account_name" in one.labels and "account_id" not in one.labels for one in files)


def _alike(files: list[Contents]) -> None:
    """Raise SourceError where one file has ids and another names for the same things, which would count them twice."""
    exports = [one for one in files if one.rows.height]
    for what, with_id, key in (
        ("accounts", "Account ID", lambda one: one.rows["account_id"].is_not_null().all()),
        ("ads", "Ad ID", lambda one: one.rows["ad_id"].is_not_null().all()),
    ):
        sides: dict[bool, str] = {}
        for one in exports:
            sides.setdefault(key(one), one.file)
        if len(sides) == 2:
            raise SourceError(
                f"{sides[False]} knows its {what} by name and {sides[True]} by id; the same ones would be counted twice. "
                f"Export all files again with {with_id} among the columns."
            )


def _digest(*parts: str | None) -> str:
    """An id of names that does not depend on a library's version."""
    return "n" + blake2b("\x1f".join(part or "" for part in parts).encode(), digest_size=8).hexdigest()


def _hashed(frame: pl.DataFrame, names: list[str], ours: str) -> pl.DataFrame:
    """`ours` filled with an id of `names` where it is NULL and the last of them is not."""
    needed = frame.filter(pl.col(ours).is_null() & pl.col(names[-1]).is_not_null()).select(names).unique()
    made = needed.with_columns(pl.Series("made", [_digest(*row) for row in needed.iter_rows()], dtype=pl.String))
    joined = frame.join(made, on=names, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(pl.coalesce(ours, "made").alias(ours)).drop("made")


def _account_ids(frame: pl.DataFrame, *, by_name: bool = False) -> pl.DataFrame:
    """Accounts that are known by name with an id of it."""
    cleared = frame.with_columns(pl.lit(None, dtype=pl.String).alias("account_id")) if by_name else frame
    return _hashed(cleared, ["account_name"], "account_id")


def _with_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """Ids of the names where a file has no others: of the account; campaign, ad set and ad with the names above them.

    A creative is known by its texts and media, else by its ad.
    """
    path = ["account_id", "campaign_name", "ad_set_name", "ad_name"]
    rows = _account_ids(rows)
    for length, ours in ((2, "campaign_id"), (3, "ad_set_id"), (4, "ad_id")):
        rows = _hashed(rows, path[:length], ours)
    told = rows.filter(pl.any_horizontal(pl.col(_TEXTS).is_not_null())).select(_TEXTS).unique()
    made = told.with_columns(pl.Series("made", [_digest(*row) for row in told.iter_rows()], dtype=pl.String))
    rows = rows.join(made, on=list(_TEXTS), how="left", nulls_equal=True, maintain_order="left")
    return rows.with_columns(pl.coalesce("creative_id", "made", pl.format("ad-{}", "ad_id")).alias("creative_id")).drop("made")


def _one_currency(rows: pl.DataFrame) -> pl.DataFrame:
    """account_id and currency; SourceError where an account has several."""
    known = rows.filter(pl.col("currency").is_not_null()).unique(["account_id", "currency"], maintain_order=True)
    several = known.filter(pl.col("account_id").is_duplicated()).sort("account_id", "file")
    if several.height:
        (account, one, file), (_, two, other) = several.select("account_id", "currency", "file").head(2).rows()
        where = f"{file} has {one} and {other} has {two}" if file != other else f"{file} has {one} and {two}"
        raise SourceError(f"The account {account} has two currencies: {where}. Export it in its own currency only.")
    accounts = rows.select("account_id").unique()
    return accounts.join(known.select("account_id", "currency"), on="account_id", how="left")


def _one_type(rows: pl.DataFrame) -> pl.DataFrame:
    """Conversions of one type an account.

    Files with a column for them must have the same; of results, which are of several types, those of purchases count, else those of leads.

    Raises
    ------
    SourceError : two files of an account count different types.
    """
    typed = rows.filter(pl.col("conversion_type").is_not_null() & pl.col("conversions").is_not_null())
    columns = typed.filter("settled").unique(["account_id", "conversion_type"], maintain_order=True)
    several = columns.filter(pl.col("account_id").is_duplicated()).sort("account_id", "file")
    if several.height:
        (account, one, file), (_, two, other) = several.select("account_id", "conversion_type", "file").head(2).rows()
        raise SourceError(
            f"The account {account} counts {one} in {file} and {two} in {other}. Export all its files with the same columns of conversions."
        )
    kind = pl.col("conversion_type")
    preference = (
        pl.when("settled")
        .then(0)
        .when(kind.str.contains("purchase"))
        .then(1)
        .when(kind.str.contains("lead"))
        .then(2)
        .otherwise(3)
    )
    # The platform's own sum over web, app and page first.
    whole = pl.when(kind.str.starts_with("omni_")).then(0).otherwise(1)
    chosen = (
        typed.with_columns(preference=preference, whole=whole)
        .sort("account_id", "preference", "whole", "conversion_type")
        .group_by("account_id", maintain_order=True)
        .agg(kind.first().alias("chosen"))
    )
    kept = rows.join(chosen, on="account_id", how="left", maintain_order="left")
    right = (kind == pl.col("chosen")) | pl.col("settled")
    return kept.with_columns(
        pl.when(right).then(
            pl.col("conversions", "conversion_type", "revenue_micros", "conversions_7d_click", "conversions_1d_view")
        )
    ).drop("chosen")


def _one_account(rows: pl.DataFrame) -> None:
    """Raise SourceError where an ad's day stands under the account that the setting names and under one that a file names."""
    key = ["date", "ad_id"]
    by_setting = rows.filter("assumed")
    clash = by_setting.join(rows.filter(~pl.col("assumed")), on=key, how="inner").filter(
        pl.col("account_id") != pl.col("account_id_right")
    )
    if clash.height:
        row = clash.row(0, named=True)
        raise SourceError(
            f"{row['file']} names no account, so its ad {row['ad_id']} would be of LEARNING_EXPORT_ACCOUNT={row['account_id']}, but {row['file_right']} "
            f"has it on {row['date']} as of the account {row['account_id_right']}. Take one of the files out, or correct the setting."
        )


def _agreed(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per ad and day; files that have the same must say the same.

    Raises
    ------
    SourceError : two files differ in a fact.
    """
    key = ["date", "account_id", "ad_id"]
    day = pl.col("modified").dt.date()
    rows = rows.with_columns(
        complete=pl.coalesce("complete", pl.col("date") < day),
        is_final=pl.coalesce("is_final", pl.col("date") <= day - timedelta(days=FINAL_DAYS)),
        restated=pl.coalesce("restated", pl.lit(value=False)),
    ).sort("modified", "file", maintain_order=True)
    repeated = rows.filter(rows.select(key).is_duplicated())
    if repeated.height:
        for name in FACTS:
            value = pl.col(name)
            differ = repeated.filter((value.min() != value.max()).over(key) & value.is_not_null()).sort(*key, "modified")
            if differ.height:
                older, newer = _pair(differ, key, name)
                raise SourceError(
                    f"{older['file']} (row {older['row']}) and {newer['file']} (row {newer['row']}) both have {older['date']} of the ad {older['ad_id']}, "
                    f"but differ in {name}: {older[name]} and {newer[name]}. Take out the older one, {older['file']} of "
                    f"{older['modified']:%Y-%m-%d %H:%M}, or export periods that do not overlap."
                )
    latest = [name for name in (*FACTS, "currency", *ATTRIBUTES) if name not in key]
    return (
        rows.group_by(key, maintain_order=True)
        .agg(
            *(pl.col(name).drop_nulls().last().alias(name) for name in latest),
            pl.col("complete", "is_final").any(),
            pl.col("restated").all(),
        )
        .sort(key)
    )


def _pair(differ: pl.DataFrame, key: list[str], name: str) -> tuple[dict[str, object], dict[str, object]]:
    """The newest row of the first ad's day that differs, and the oldest that says something else."""
    first = differ.join(differ.head(1).select(key), on=key, how="semi").sort("modified", "file")
    newer = first.row(-1, named=True)
    older = first.filter(pl.col(name) != newer[name]).row(0, named=True)
    return older, newer
