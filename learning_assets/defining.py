"""Experiments as people define them, in a CSV file: which ads are compared with each other, from when to when, and with which planned shares.

What belongs here: reading and checking definitions, each error with its row, its column and a remedy. What does not: the experiments that the
accounts' structure shows (`learning.experiments`), and who won.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

COLUMNS = ("account", "experiment", "ad", "share", "starts", "ends")
"""Columns that a file may have; `share` and `ends` may be left out or empty, `account` where the command names it."""

_OPTIONAL = ("share", "ends")
_SUM_TOLERANCE = 0.001


@dataclass(frozen=True, slots=True)
class Defined:
    """What was recorded: how many arms of how many experiments."""

    arms: int
    experiments: int


def define(store: Store, path: Path, by: str, account: str | None = None) -> Defined:
    """Record the experiments of a CSV file with a header of COLUMNS: all of them, or none. An arm that is told again replaces the earlier row.

    Parameters
    ----------
    by : name of who defines them; it is stored with the moment.
    account : the account of every row, in place of the column.

    Raises
    ------
    ValueError : a row is not as it must be, with its number and the remedy; nothing was recorded.
    """
    if not by.strip():
        raise ValueError("An experiment needs the name of who defines it.")
    told = _read(path, account)
    rows = _checked(store, told, path.name)
    known = store.tables.read("experiment_arms", PIPELINE).with_columns(row=pl.lit(None, pl.Int64))
    key = ["account_id", "experiment_id", "ad_id"]
    whole = pl.concat([known.join(rows, on=key, how="anti").select(rows.columns), rows])
    touched = whole.join(rows.select(key[:2]).unique(), on=key[:2], how="semi")
    _refuse_bad_experiments(touched, path.name)
    _refuse_ads_in_two(whole, path.name)
    new = rows.drop("row").with_columns(defined_by=pl.lit(by.strip()), at=pl.lit(store.now).dt.cast_time_unit("us"))
    store.tables.upsert("experiment_arms", new)
    return Defined(rows.height, rows.select(key[:2]).unique().height)


def _read(path: Path, account: str | None) -> pl.DataFrame:
    """The rows as text, stripped, with the number that each has in the file as `row`."""
    if not path.is_file():
        raise ValueError(f"There is no file {path}.")
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not a CSV file with a header of {', '.join(COLUMNS)}: {error}") from error
    allowed = [name for name in COLUMNS if name != "account" or account is None]
    if unknown := [name for name in rows.columns if name not in allowed]:
        raise ValueError(f"{path.name}: column {unknown[0]!r} is not one of {', '.join(allowed)}. Rename it or leave it out.")
    if missing := [name for name in allowed if name not in rows.columns and name not in _OPTIONAL]:
        more = " Add it, or name the account of all rows in the command." if missing[0] == "account" else " Add it."
        raise ValueError(f"{path.name}: there is no column {missing[0]!r}.{more}")
    if rows.is_empty():
        raise ValueError(f"{path.name} has a header and no row.")
    given = [pl.lit(account).alias("account")] if account is not None else []
    absent = [pl.lit(None, pl.String).alias(name) for name in _OPTIONAL if name not in rows.columns]
    return rows.with_columns(pl.all().str.strip_chars().replace("", None)).select(
        pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias("row"), pl.all(), *given, *absent
    )


def _checked(store: Store, told: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows of the table that the file's rows are, each by itself as it must be."""
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    newest = next(iter(reversed(store.lake.days("ad_catalog"))), None)
    listed = [] if newest is None else store.lake.read("ad_catalog", newest).select("account_id", "ad_id").rows()
    rows = told.select(
        "row",
        pl.col("account").alias("account_id"),
        pl.col("experiment").alias("experiment_id"),
        pl.col("ad").alias("ad_id"),
        share_text="share",
        starts_text="starts",
        ends_text="ends",
        planned_share=pl.col("share").cast(pl.Float64, strict=False),
        starts_on=pl.col("starts").str.to_date("%Y-%m-%d", strict=False),
        ends_on=pl.col("ends").str.to_date("%Y-%m-%d", strict=False),
    ).join(owners, on="account_id", how="left", maintain_order="left")
    ads = pl.DataFrame(listed, schema={"account_id": pl.String, "ad_id": pl.String}, orient="row").with_columns(known=True)
    rows = rows.join(ads.unique(), on=["account_id", "ad_id"], how="left", maintain_order="left")
    day = "Write it as YYYY-MM-DD."
    rules: list[tuple[pl.Expr, str, str]] = [
        (pl.col("owner").is_null(), "account", "there is no such account. The accounts are listed by: learning-assets accounts"),
        (pl.col("experiment_id").is_null(), "experiment", "it is empty. Name the experiment that the ad is an arm of."),
        (pl.col("ad_id").is_null(), "ad", "it is empty. Give the platform's id of the ad."),
        (pl.col("known").is_null(), "ad", f"the account has no such ad in the catalog of {newest}. Correct the id, or fetch that day again."),
        (
            pl.col("share_text").is_not_null() & ~pl.col("planned_share").is_between(0, 1).fill_null(value=False),
            "share",
            "it is no part from 0 to 1. Write it with a point, such as 0.5, or leave it empty where none was planned.",
        ),
        (pl.col("starts_on").is_null(), "starts", f"it is no day. {day}"),
        (pl.col("ends_text").is_not_null() & pl.col("ends_on").is_null(), "ends", f"it is no day. {day} Leave it empty while the experiment goes on."),
        (pl.col("ends_on") < pl.col("starts_on"), "ends", "it lies before the start. Correct one of them."),
        (pl.struct("account_id", "experiment_id", "ad_id").is_duplicated(), "ad", "the file names it twice in this experiment. Leave one row out."),
    ]  # fmt: skip
    for wrong, column, what in rules:
        bad = rows.filter(wrong)
        if bad.height:
            value = told.filter(pl.col("row") == bad["row"][0])[column][0]
            said = "" if value is None else f"{value!r}: "
            raise ValueError(f"{name}, row {bad['row'][0]}, column {column}: {said}{what}")
    return rows.select("row", "account_id", "experiment_id", "ad_id", "owner", "planned_share", "starts_on", "ends_on")


def _refuse_bad_experiments(arms: pl.DataFrame, name: str) -> None:
    """Refuse an experiment of one arm, and shares that are no plan."""
    of = arms.group_by("account_id", "experiment_id").agg(
        row=pl.col("row").min(), arms=pl.len(), planned=pl.col("planned_share").count(), total=pl.col("planned_share").sum()
    )
    for row in of.sort("row").iter_rows(named=True):
        where = f"{name}, row {row['row']}: experiment {row['experiment_id']!r} of account {row['account_id']!r}"
        if row["arms"] < 2:
            raise ValueError(f"{where} has one arm; nothing can be compared. Add a row for each ad of it.")
        if 0 < row["planned"] < row["arms"]:
            raise ValueError(f"{where} has planned shares for {row['planned']} of {row['arms']} arms. Give all or none.")
        if row["planned"] and abs(row["total"] - 1) > _SUM_TOLERANCE:
            raise ValueError(f"{where} has planned shares that add up to {row['total']:g}. They must add up to 1.")


def _refuse_ads_in_two(arms: pl.DataFrame, name: str) -> None:
    """Refuse an ad that is in two experiments on one day."""
    forever = pl.col("ends_on").fill_null(date.max)
    spans = arms.with_columns(until=forever).select("row", "account_id", "ad_id", "experiment_id", "starts_on", "until")
    both = spans.join(spans, on=["account_id", "ad_id"], suffix="_other").filter(
        pl.col("experiment_id") != pl.col("experiment_id_other"),
        pl.col("row").is_not_null(),
        pl.col("starts_on") <= pl.col("until_other"),
        pl.col("starts_on_other") <= pl.col("until"),
    )
    if both.height:
        one = both.sort("row").row(0, named=True)
        raise ValueError(
            f"{name}, row {one['row']}, column ad: {one['ad_id']!r} is in experiment {one['experiment_id_other']!r} at the same time; an ad can be in "
            "one. End that one first, with a row that has its `ends`."
        )
