"""The simulated market as a source, read in process.

What belongs here: the market's answers in the shape of the protocol. What does not: the market itself (`sandbox.market`), and
where its epoch is kept (the store records it at first use and hands it in).
"""

from datetime import date, timedelta
from functools import cached_property
from time import perf_counter

import polars as pl

from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, MANIFEST, Cadence, Fetched
from learning_assets.sandbox.market import Market, MarketParams
from learning_assets.settings import Sandbox, SourceKind


class SandboxSource:
    """A market by its settings and its epoch, the date of its first use; all it says is simulated.

    History begins `settings.history_days` before the epoch. Every account consents to pooled learning.
    """

    kind: SourceKind = "sandbox"
    cadence: Cadence = "day"

    def __init__(self, settings: Sandbox, epoch: date) -> None:
        self.settings = settings
        self.epoch = epoch

    @cached_property
    def market(self) -> Market:
        """The market behind the source."""
        chosen = self.settings
        params = MarketParams(seed=chosen.seed, accounts=chosen.accounts, ads=chosen.ads, impressions=chosen.impressions)
        return Market(params, self.epoch)

    def accounts(self) -> pl.DataFrame:
        """Accounts, with schema ACCOUNTS."""
        return self.market.accounts().with_columns(consents=True).select(ACCOUNTS.names())

    def first_day(self) -> date:
        """First day of the simulated history."""
        return self.epoch - timedelta(days=self.settings.history_days)

    def last_day(self, today: date) -> date:
        """Yesterday."""
        return today - timedelta(days=1)

    def catalog(self, day: date) -> pl.DataFrame:
        """Ads live on `day` and those that start the day after, with schema CATALOG; empty before the history begins."""
        if day < self.first_day():
            return CATALOG.to_frame()
        return self.market.catalog(day).select(CATALOG.names())

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        """What the ads achieved on `first` to `last`, as it was known at the end of `known_on`.

        The market answers for all accounts at once, so the manifest's `seconds` are an equal part of that time each.
        """
        begun = perf_counter()
        first = max(first, self.first_day())
        found = self.market.actuals(first, last, known_on).select(ACTUALS.names()) if first <= last else ACTUALS.to_frame()
        seconds = (perf_counter() - begun) / self.settings.accounts
        sums = found.group_by("account_id").agg(pl.len().cast(pl.Int64).alias("rows"), pl.col("spend_micros").sum())
        manifest = self.accounts().join(sums, on="account_id", how="left", maintain_order="left")
        delivered = pl.col("rows") > 0
        return Fetched(
            found,
            manifest.with_columns(pl.col("rows", "spend_micros").fill_null(0))
            .select(
                "account_id",
                pl.when(delivered).then(pl.lit("complete")).otherwise(pl.lit("no_data")).alias("status"),
                "rows",
                "spend_micros",
                pl.col("spend_micros").alias("account_spend_micros"),
                pl.lit(seconds).alias("seconds"),
                pl.when(~delivered).then(pl.lit("the market has no delivery on these days")).alias("reason"),
            )
            .match_to_schema(MANIFEST),
        )
