"""The answers of a folder of exports, in the shape of the protocol.

What belongs here: accounts, days, catalog, actuals and their manifest. What does not: reading files (`book`).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import cached_property
from time import perf_counter

import polars as pl

from learning_assets.platforms.export.book import Book, open_book
from learning_assets.platforms.export.rows import ATTRIBUTES
from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, HOURLY, MANIFEST, REACH, Cadence, Fetched
from learning_assets.settings import Export, SourceKind

_AD = ["account_id", "ad_id"]

SUMMARY = pl.Schema(
    {
        "account_id": pl.String,
        "date": pl.Date,
        "ads": pl.Int64,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
        "spend": pl.Float64,
        "conversions": pl.Int64,
        "conversion_type": pl.String,
        "currency": pl.String,
        "complete": pl.Boolean,
        "files": pl.String,
    }
)
"""One row per account and day with delivery; `spend` is in units of `currency`, `files` are their names with commas."""


class ExportSource:
    """Exports by their settings; the files are opened at the first question and read once."""

    kind: SourceKind = "ads"
    cadence: Cadence = "day"
    looks_back: bool = False
    controlled_delivery: bool = False

    def __init__(self, settings: Export) -> None:
        self.settings = settings

    @cached_property
    def book(self) -> Book:
        """What the files say together.

        Raises
        ------
        SourceError : a file or a setting is not as it should be; the message names file, row, column and the remedy.
        """
        return open_book(self.settings)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the files, and why: totals, and files without delivery."""
        return self.book.notes

    def accounts(self) -> pl.DataFrame:
        """The accounts that the files name, with schema ACCOUNTS; each is its own owner, and was not asked for consent."""
        return self.book.accounts.select(
            "account_id",
            pl.col("account_id").alias("owner"),
            pl.coalesce("name", "account_id").alias("name"),
            "currency",
            pl.lit(self.settings.timezone).alias("timezone"),
            pl.lit(None, dtype=pl.Boolean).alias("consents"),
        ).match_to_schema(ACCOUNTS)

    def first_day(self) -> date:
        """Oldest day in the files."""
        return self.book.facts["date"][0]

    def last_day(self, today: date) -> date:
        """Newest complete day before `today`; the day before the first where there is none."""
        ended = self.book.facts.filter(pl.col("complete") & (pl.col("date") < today))["date"]
        return ended[-1] if len(ended) else self.first_day() - timedelta(days=1)

    def catalog(self, day: date) -> Fetched:
        """Ads with delivery on `day`, what the files say of them up to that day, and those that a file of catalog lists.

        An export shows today's settings, not those of the day: status is `active` for an ad that was shown, budgets are not known.
        """
        begun = perf_counter()
        shown = self.book.facts.filter(pl.col("date") == day).select(*_AD, "currency")
        told = (
            self.book.facts.filter(pl.col("date") <= day)
            .join(shown, on=_AD, how="semi")
            .group_by(_AD)
            .agg(pl.col(name).drop_nulls().last().alias(name) for name in ATTRIBUTES)
        )
        listed = self._listed(day)
        delivered = (
            shown.join(told, on=_AD, how="left")
            .join(listed, on=_AD, how="left", suffix=" listed")
            .with_columns(
                *(pl.coalesce(f"{name} listed", name).alias(name) for name in ATTRIBUTES),
                pl.coalesce("currency", "currency listed").alias("currency"),
            )
            .with_columns(pl.coalesce("status", pl.lit("active")).alias("status"))
            .select(CATALOG.names())
        )
        further = listed.join(shown, on=_AD, how="anti").filter(
            pl.col("dated") | (pl.col("status") == "scheduled") & (pl.col("starts_on") == day + timedelta(days=1))
        )
        further = further.with_columns(pl.coalesce("creative_id", pl.format("ad-{}", "ad_id")).alias("creative_id"))
        rows = pl.concat([delivered, further.select(CATALOG.names())]).match_to_schema(CATALOG)
        return Fetched(rows, self._manifest("catalog", [day], rows.with_columns(date=pl.lit(day)), perf_counter() - begun))

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:  # noqa: ARG002
        """What the ads achieved on `first` to `last` as the files say it now, whatever `known_on` is, with schema ACTUALS.

        A day that no file covers is `incomplete` for that account; the day on which the file was made is `running`.
        """
        begun = perf_counter()
        rows = self.book.facts.filter(pl.col("date").is_between(first, last)).select(ACTUALS.names()).match_to_schema(ACTUALS)
        asked = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        return Fetched(rows, self._manifest("daily", asked, rows, perf_counter() - begun))

    def hourly(self, day: date) -> Fetched:  # noqa: ARG002
        """No rows: exports are by day."""
        return Fetched(HOURLY.to_frame(), MANIFEST.to_frame())

    def reach(self, first: date, last: date) -> Fetched:  # noqa: ARG002
        """No rows: exports are by day, and people of several days do not add up."""
        return Fetched(REACH.to_frame(), MANIFEST.to_frame())

    def _listed(self, day: date) -> pl.DataFrame:
        """What files of catalog say of the ads on `day`; rows of the day itself (`dated`) go before those of every day."""
        of_day = self.book.listed.filter(pl.col("date").is_null() | (pl.col("date") == day))
        with_flag = of_day.with_columns(dated=pl.col("date").is_not_null()).sort("dated", descending=True)
        # A row of every day says what is now; whether the ad was live on the day, its delivery says.
        status = pl.when(pl.col("dated") | (pl.col("starts_on") == day + timedelta(days=1)))
        first = with_flag.unique(_AD, keep="first", maintain_order=True)
        return first.with_columns(
            status=status.then(pl.coalesce("status", pl.when("dated").then(pl.lit("active")).otherwise(pl.lit("scheduled")))),
        ).drop("date")

    def _manifest(self, fact: str, asked: Sequence[date], rows: pl.DataFrame, seconds: float) -> pl.DataFrame:
        """One row per account and day, with an equal part of the seconds each."""
        money = (
            pl.col("spend_micros").sum()
            if "spend_micros" in rows.columns
            else pl.lit(None, dtype=pl.Int64).alias("spend_micros")
        )
        ended = pl.col("complete").all() if "complete" in rows.columns else pl.lit(None, dtype=pl.Boolean).alias("complete")
        sums = rows.group_by("account_id", "date").agg(pl.len().cast(pl.Int64).alias("rows"), money, ended)
        asked_for = self.book.accounts.select("account_id").join(
            pl.DataFrame({"date": asked}, schema={"date": pl.Date}), how="cross"
        )
        spans = self.book.spans
        covered = (
            asked_for.join(spans, on="account_id", how="inner")
            .filter(pl.col("date").is_between(pl.col("first"), pl.col("last")))
            .group_by("account_id", "date")
            .agg(pl.len().cast(pl.Int64).alias("pages"), pl.col("modified").max())
        )
        requested = self.book.sources.group_by("account_id", "date").agg(pl.col("requested_at").max())
        found = (
            asked_for.join(sums, on=["account_id", "date"], how="left")
            .join(covered, on=["account_id", "date"], how="left")
            .join(requested, on=["account_id", "date"], how="left")
            .with_columns(pl.col("rows").fill_null(0))
        )
        missing = pl.col("pages").is_null() & (pl.col("rows") == 0)
        running = ~pl.coalesce("complete", pl.col("modified").dt.date() > pl.col("date"))
        empty = pl.col("rows") == 0
        account, day = pl.col("account_id"), pl.col("date").dt.to_string("iso:strict")
        return (
            found.with_columns(
                pl.lit(fact).alias("fact"),
                pl.when(missing)
                .then(pl.lit("incomplete"))
                .when(running)
                .then(pl.lit("running"))
                .when(empty)
                .then(pl.lit("no_data"))
                .otherwise(pl.lit("complete"))
                .alias("status"),
                pl.when(missing)
                .then(pl.format("no file has the account {} on {}: export that day into LEARNING_EXPORT_PATH", account, day))
                .when(running)
                .then(
                    pl.format(
                        "the export of the account {} was made on {} itself, before the day had ended: export it again",
                        account,
                        day,
                    )
                )
                .when(empty)
                .then(pl.format("the exports of the account {} have no delivery on {}", account, day))
                .alias("reason"),
                pl.lit(seconds / max(found.height, 1)).alias("seconds"),
            )
            .match_to_schema(MANIFEST, missing_columns="insert", extra_columns="ignore")
            .select(MANIFEST.names())
            .sort("date", "account_id")
        )


def summary(source: ExportSource) -> pl.DataFrame:
    """What the files say by account and day, with schema SUMMARY, sorted; reads and checks all of them.

    Raises
    ------
    SourceError : as `ExportSource.book`.
    """
    files = source.book.sources.group_by("account_id", "date").agg(pl.col("file").unique().sort().str.join(", ").alias("files"))

    def total(name: str) -> pl.Expr:
        return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)

    return (
        source.book.facts.group_by("account_id", "date")
        .agg(
            pl.len().cast(pl.Int64).alias("ads"),
            *(total(name) for name in ("impressions", "link_clicks", "spend_micros", "conversions")),
            pl.col("conversion_type", "currency").drop_nulls().first(),
            pl.col("complete").all(),
        )
        .join(files, on=["account_id", "date"], how="left")
        .with_columns((pl.col("spend_micros") / 1_000_000).alias("spend"))
        .sort("account_id", "date")
        .select(SUMMARY.names())
        .match_to_schema(SUMMARY)
    )
