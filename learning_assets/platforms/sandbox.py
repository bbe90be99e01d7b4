"""The simulated market as a source: through its Graph server, as every real account is read, or in process.

What belongs here: where the simulated platform is found, and the market's answers in the shape of the protocol. What does not: the market
itself (`sandbox.market`), its server (`sandbox.graph`), how Graph servers are read (`platforms.meta`), and where the market's epoch is kept
(the store records it at first use and hands it in).
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

import polars as pl
from pydantic import SecretStr

from learning_assets.platforms.meta import MetaSource
from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, HOURLY, MANIFEST, REACH, Cadence, Fetched, SourceError
from learning_assets.sandbox.market import Market, MarketParams
from learning_assets.settings import Meta, Sandbox, SourceKind

if TYPE_CHECKING:
    from learning_assets.platforms.meta.transport import Graph
    from learning_assets.sandbox.control import Control

LOOK_AGAIN_SECONDS = 60
"""Seconds after which the server is looked for again; it ends only when nobody has asked it anything for much longer."""


class SimulatedPlatform(MetaSource):
    """The simulated market behind its Graph server, which is started when nobody serves the home yet; all it says is simulated.

    Parameters
    ----------
    settings : bounds of the requests; address, token and accounts are the server's.
    home : the store's folder, whose server it is.
    market : epoch and numbers of the market, as the store recorded them.
    now : the product's clock.
    clock_set : the clock was set by a person, so that the server's follows it.
    tolerance : as in MetaSource.
    """

    def __init__(
        self,
        settings: Meta,
        *,
        home: Path,
        market: Mapping[str, int | str],
        now: Callable[[], datetime],
        clock_set: bool,
        tolerance: float,
    ) -> None:
        super().__init__(settings, kind="sandbox", aside=home / "aside", now=now, consents=True, tolerance=tolerance)
        self._bounds = settings
        self._home, self._market, self._clock_set = home, market, clock_set
        self._found: tuple[Control, Graph, float] | None = None

    @property
    def graph(self) -> "Graph":  # type: ignore[override]
        """The market's server, started where it does not run."""
        from learning_assets.platforms.meta.transport import Graph
        from learning_assets.sandbox.process import ProcessError, ensure

        with self._lock:
            if self._found is None or monotonic() - self._found[2] > LOOK_AGAIN_SECONDS:
                try:
                    control = ensure(self._home, self._market, now=self.now() if self._clock_set else None)
                except ProcessError as error:
                    raise SourceError(str(error)) from error
                known = {
                    "graph_url": control.url,
                    "access_token": SecretStr(control.token),
                    "app_secret": None,
                    "accounts": "all",
                }
                self.settings = self._bounds.model_copy(update=known)
                same = self._found is not None and self._found[0] == control
                graph = self._found[1] if same and self._found is not None else Graph(self.settings)
                self._found = (control, graph, monotonic())
            return self._found[1]

    def first_day(self) -> date:
        """First day of the simulated history."""
        return date.fromisoformat(str(self._market["epoch"])) - timedelta(days=int(self._market["history_days"]))


class SandboxSource:
    """A market in process, by its settings and its epoch, the date of its first use; all it says is simulated.

    History begins `settings.history_days` before the epoch. Every account consents to pooled learning.
    """

    kind: SourceKind = "sandbox"
    cadence: Cadence = "day"
    looks_back = True
    controlled_delivery = False

    def __init__(self, settings: Sandbox, epoch: date) -> None:
        self.settings = settings
        self.epoch = epoch

    @classmethod
    def of(cls, market: Mapping[str, int | str]) -> "SandboxSource":
        """The market that a store recorded: its epoch and its settings."""
        numbers = {name: value for name, value in market.items() if name != "epoch"}
        return cls(Sandbox.model_validate(numbers), date.fromisoformat(str(market["epoch"])))

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

    def catalog(self, day: date) -> Fetched:
        """Ads live on `day` and those that start the day after, with schema CATALOG; empty before the history begins."""
        begun = perf_counter()
        listed = CATALOG.to_frame() if day < self.first_day() else self.market.catalog(day).select(CATALOG.names())
        return Fetched(listed, self._manifest("catalog", day, day, listed.with_columns(date=pl.lit(day)), begun))

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        """What the ads achieved on `first` to `last`, as it was known at the end of `known_on`."""
        begun = perf_counter()
        since = max(first, self.first_day())
        found = self.market.actuals(since, last, known_on).select(ACTUALS.names()) if since <= last else ACTUALS.to_frame()
        return Fetched(found, self._manifest("daily", first, last, found, begun))

    def hourly(self, day: date) -> Fetched:
        """Delivery by hour on `day`, as it will be when the day has ended."""
        begun = perf_counter()
        found = self.market.hourly(day, day).select(HOURLY.names()) if day >= self.first_day() else HOURLY.to_frame()
        return Fetched(found, self._manifest("hourly", day, day, found, begun))

    def reach(self, first: date, last: date) -> Fetched:
        """People reached by each ad on `first` to `last` together."""
        begun = perf_counter()
        since = max(first, self.first_day())
        found = self.market.reach(since, last).match_to_schema(REACH) if since <= last else REACH.to_frame()
        return Fetched(found, self._manifest("reach", last, last, found, begun))

    def _manifest(self, fact: str, first: date, last: date, found: pl.DataFrame, begun: float) -> pl.DataFrame:
        """One row per account and date. The market answers for all at once, so `seconds` are an equal part of that time each."""
        asked = (
            self.accounts()
            .select("account_id")
            .join(pl.date_range(first, last, eager=True).alias("date").to_frame(), how="cross")
        )
        seconds = (perf_counter() - begun) / asked.height
        money = [pl.col("spend_micros").sum()] if "spend_micros" in found.columns else []
        sums = found.group_by("account_id", "date").agg(pl.len().cast(pl.Int64).alias("rows"), *money)
        delivered = pl.col("rows").is_not_null()
        spent = (
            [pl.col("spend_micros").fill_null(0), pl.col("spend_micros").fill_null(0).alias("account_spend_micros")]
            if money
            else []
        )
        return (
            asked.join(sums, on=["account_id", "date"], how="left", maintain_order="left")
            .with_columns(
                *spent,
                pl.col("rows").fill_null(0),
                fact=pl.lit(fact),
                status=pl.when(delivered).then(pl.lit("complete")).otherwise(pl.lit("no_data")),
                seconds=pl.lit(seconds),
                reason=pl.when(~delivered).then(pl.format("the market has nothing on {}", "date")),
            )
            .match_to_schema(MANIFEST, missing_columns="insert")
        )
