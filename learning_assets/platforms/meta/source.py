"""The Marketing API as a source: many accounts at once, each whole or told.

What belongs here: the answers of the protocol, put together from the accounts' parts, and what happens to an account that fails. What does
not: how one account is asked (`accounts`, `catalog`) and how a call is made (`transport`).
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from learning_assets.clock import days_between
from learning_assets.platforms.meta import conversions
from learning_assets.platforms.meta.aside import Aside, Piece
from learning_assets.platforms.source import (
    ACCOUNTS,
    ACTUALS,
    CATALOG,
    HOURLY,
    MANIFEST,
    REACH,
    USABLE,
    Cadence,
    Fetched,
    PlatformDown,
    SourceError,
)
from learning_assets.settings import Meta, SourceKind

if TYPE_CHECKING:
    # The SDK is heavy, and a source that is only named must load fast.
    from learning_assets.platforms.budgets import Budgets
    from learning_assets.platforms.meta.accounts import AdAccount, Work
    from learning_assets.platforms.meta.catalog import Raw
    from learning_assets.platforms.meta.errors import GraphError
    from learning_assets.platforms.meta.transport import Fetch, Graph, Scope

_MEMORY = timedelta(minutes=15)
"""Time in which accounts and their catalogs are remembered, so that a replay over many days does not ask again for each."""
_MOST_THREADS = 64
_THREADS_A_REQUEST = 4
"""Threads for each request under way: the others wait for reports."""


_T = TypeVar("_T")
_Ask = Callable[["AdAccount", "Scope", datetime, date, date], Piece]
"""Asks an account for a range of days."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an account gave nothing: status and reason of its manifest, and whether its other ranges would fail alike."""

    status: str
    reason: str
    error: "GraphError"
    lasting: bool
    scope: "Scope | None" = None


@dataclass(slots=True)
class _Part:
    """An account's part of a fetch. `answered`: at least one range was."""

    pieces: list[Piece] = field(default_factory=list[Piece])
    answered: bool = False
    failure: _Failure | None = None


@dataclass(slots=True)
class _Known:
    """Something remembered, and since when by the machine and by the product's clock."""

    value: Any
    since: datetime
    at: float = field(default_factory=monotonic)

    def fresh(self, now: datetime) -> bool:
        """Whether it may still be used."""
        return monotonic() - self.at < _MEMORY.total_seconds() and abs(now - self.since) < _MEMORY


class MetaSource:
    """The ad accounts of the settings, read through the Graph server of the settings.

    Parameters
    ----------
    settings : addresses, token and bounds.
    kind : `ads`, or `sandbox` where the server is simulated.
    aside : folder for what a killed run had fetched.
    now : the product's clock; the accounts' days are judged by it.
    consents : what accounts say to pooled learning, None where they were not asked.
    tolerance : by which share the ads' spend (by hour: impressions) may differ from the account's own.
    """

    cadence: Cadence = "day"
    looks_back: bool = False
    controlled_delivery: bool = False

    def __init__(
        self,
        settings: Meta,
        *,
        kind: SourceKind = "ads",
        aside: Path,
        now: Callable[[], datetime],
        consents: bool | None = None,
        tolerance: float = 0.005,
    ) -> None:
        self.settings = settings
        self.kind: SourceKind = kind
        self.now = now
        self.consents = consents
        self.tolerance = tolerance
        self._aside = Aside(aside, settings.aside_hours)
        self._lock = threading.Lock()
        self._accounts: dict[str, _Known] = {}
        self._listed: _Known | None = None
        self._catalogs: dict[str, _Known] = {}

    @cached_property
    def graph(self) -> "Graph":
        """The server behind the source; SourceError where there is no token."""
        from learning_assets.platforms.meta.transport import Graph

        return Graph(self.settings)

    @property
    def budgets(self) -> "Budgets":
        """The budgets behind the same server, to be moved under guards."""
        from learning_assets.platforms.meta.budgets import MetaBudgets

        return MetaBudgets(lambda: self.graph, simulated=self.kind == "sandbox")

    def accounts(self) -> pl.DataFrame:
        """Accounts that can be read, with schema ACCOUNTS; each is its own owner. Those that cannot are told in every manifest.

        Raises
        ------
        SourceError : no token; with `all`, a token that is refused.
        PlatformDown : no account answered.
        """
        found, _ = self._open(self._fetch(), self.now())
        rows = [
            {"account_id": one.account_id, "owner": one.account_id, "name": one.name, "currency": one.currency}
            | {"timezone": one.timezone, "consents": self.consents}
            for one in found
        ]
        return pl.DataFrame(rows, schema=ACCOUNTS)

    def first_day(self) -> date | None:
        """Not told by the platform."""
        return None

    def last_day(self, today: date) -> date:
        """Yesterday."""
        return today - timedelta(days=1)

    def catalog(self, day: date) -> Fetched:
        """Ads live on `day` and those that start the day after, with schema CATALOG, as the platform describes them now."""
        from learning_assets.platforms.meta import accounts, catalog, money
        from learning_assets.platforms.meta.transport import stopwatch

        def ask(account: "AdAccount", scope: "Scope", now: datetime, first: date, last: date) -> Piece:  # noqa: ARG001
            seconds = stopwatch()
            raw = self._raw(account, scope, now)
            try:
                rows = catalog.rows(raw, account, day, now)
            except money.UnknownCurrency as error:
                reason = f"account {account.account_id}: {error}"
                return Piece(
                    CATALOG.to_frame(), accounts.plain(account.account_id, "catalog", [day], "stopped", reason, now, scope)
                )
            status = "complete" if rows.height else "no_data"
            reason = None if rows.height else f"account {account.account_id} had no ads on {day}."
            told = accounts.plain(account.account_id, "catalog", [day], status, reason, now, scope)
            return Piece(rows, told.with_columns(rows=pl.lit(rows.height, dtype=pl.Int64), seconds=pl.lit(seconds())))

        return self._gather("catalog", CATALOG, lambda _account, _now: [(day, day)], self._kept("catalog", CATALOG, ask))

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:  # noqa: ARG002
        """What the ads achieved on `first` to `last`, as the platform says now: it does not look back to `known_on`.

        A day of an account whose ads do not add up to the account's own spend is asked for once more, and is `incomplete` if they still do
        not; its rows are then left out. The account's own running day is `running`. Raises PlatformDown and SourceError.
        """
        from learning_assets.platforms.meta import accounts

        ranges = _ranges(first, last, self.settings.report_days)
        return self._gather(
            "daily", ACTUALS, lambda _account, _now: ranges, self._kept("daily", ACTUALS, self._worked(accounts.daily))
        )

    def hourly(self, day: date) -> Fetched:
        """Delivery by local hour on `day`, with schema HOURLY; nothing for an account where the day is older than `hourly_days` or to come.

        A day that has ended is compared with the account's own impressions, so that hours that come late are told.
        """
        from learning_assets.platforms.meta import accounts

        asked = _recent(day, self.settings.hourly_days)
        if not asked(None, self.now()):
            return Fetched(HOURLY.to_frame(), MANIFEST.to_frame())
        return self._gather("hourly", HOURLY, asked, self._kept("hourly", HOURLY, self._worked(accounts.hourly)))

    def reach(self, first: date, last: date) -> Fetched:
        """People reached by each ad on `first` to `last` together, with schema REACH, as the platform counts them over the whole window; nothing
        for an account where the window ended more than `reach_days` ago, or is to come.

        Raises PlatformDown and SourceError.
        """
        from learning_assets.platforms.meta import accounts

        asked = _recent(last, self.settings.reach_days)
        if not asked(None, self.now()):
            return Fetched(REACH.to_frame(), MANIFEST.to_frame())
        # A piece is known by its last day, on which its rows and its manifest are dated.
        ask = self._worked(lambda work, _, end: accounts.reach(work, first, end))
        return self._gather("reach", REACH, asked, self._kept("reach", REACH, ask))

    # One account.

    def _worked(self, ask: Callable[["Work", date, date], Piece]) -> "_Ask":
        """`ask` with all that an account's part of a fetch needs."""
        from learning_assets.platforms.meta.accounts import Work

        return lambda account, scope, now, first, last: ask(Work(self.graph, account, scope, now, self.tolerance), first, last)

    def _kept(self, fact: str, schema: pl.Schema, ask: "_Ask") -> "_Ask":
        """`ask`, or the piece that an earlier run put aside; what is fetched is put aside where it is whole."""

        def asked(account: "AdAccount", scope: "Scope", now: datetime, first: date, last: date) -> Piece:
            key = self._key(fact, account, first, last)
            piece = self._aside.get(key, now, schema)
            if piece is None:
                piece = ask(account, scope, now, first, last)
                if piece.manifest["status"].is_in(USABLE).all():
                    self._aside.put(key, piece, now)
            return piece

        return asked

    def _key(self, fact: str, account: "AdAccount", first: date, last: date) -> str:
        return self._aside.key(
            fact=fact,
            server=self.settings.graph_url,
            api_version=self.settings.api_version,
            account=account.account_id,
            currency=account.currency,
            timezone=account.timezone,
            conversions=conversions.preference(self.settings.conversions, account.account_id),
            tolerance=self.tolerance,
            first=first,
            last=last,
        )

    def _raw(self, account: "AdAccount", scope: "Scope", now: datetime) -> "Raw":
        from learning_assets.platforms.meta import catalog

        with self._lock:
            known = self._catalogs.get(account.account_id)
        if known is None or not known.fresh(now):
            known = _Known(catalog.fetch(self.graph, account.account_id, scope), now)
            with self._lock:
                self._catalogs[account.account_id] = known
        return known.value

    # All accounts.

    def _fetch(self) -> "Fetch":
        from learning_assets.platforms.meta.transport import Fetch

        _ = self.graph
        return Fetch()

    def _gather(
        self,
        fact: str,
        schema: pl.Schema,
        ranges: Callable[["AdAccount | None", datetime], list[tuple[date, date]]],
        ask: "_Ask",
    ) -> Fetched:
        """The parts of all accounts; see `actuals` for what is raised."""
        from learning_assets.platforms.meta import accounts

        fetch, now = self._fetch(), self.now()
        found, unread = self._open(fetch, now)
        parts = self._run(
            fetch, {a.account_id: (lambda a=a: self._part(fetch, fact, schema, a, now, ranges(a, now), ask)) for a in found}
        )
        failures = unread | {
            name: part.failure for name, part in parts.items() if part.failure is not None and not part.answered
        }
        _raise_for_all(failures, len(found) + len(unread))
        pieces = [piece for part in parts.values() for piece in part.pieces]
        for name, failure in unread.items():
            days = [day for first, last in ranges(None, now) for day in days_between(first, last)]
            told = accounts.plain(name, fact, days, failure.status, failure.reason, now, failure.scope)
            pieces.append(Piece(schema.to_frame(), told))
        keys = [self._key(fact, a, *span) for a in found for span in ranges(a, now)]
        return Fetched(
            pl.concat([schema.to_frame(), *(piece.rows for piece in pieces)]),
            pl.concat([MANIFEST.to_frame(), *(piece.manifest for piece in pieces)]).sort("account_id", "date"),
            release=lambda: self._aside.release(keys),
        )

    def _part(
        self,
        fetch: "Fetch",
        fact: str,
        schema: pl.Schema,
        account: "AdAccount",
        now: datetime,
        ranges: list[tuple[date, date]],
        ask: "_Ask",
    ) -> "_Part":
        """One account's pieces. A range that fails does not stop the others, unless they would fail in the same way."""
        from learning_assets.platforms.meta import accounts, errors

        part = _Part()
        allowance = None
        for first, last in ranges:
            scope = self.graph.scope(fetch, account.account_id)
            # What an account may wait is for the whole fetch; what it asked is told for each range.
            scope.allowance = scope.allowance if allowance is None else allowance
            try:
                if part.failure is not None and part.failure.lasting:
                    raise part.failure.error
                part.pieces.append(ask(account, scope, now, first, last))
                part.answered = True
            except errors.GraphError as error:
                part.failure = _failure(account.account_id, error)
                told = accounts.plain(
                    account.account_id, fact, days_between(first, last), part.failure.status, part.failure.reason, now, scope
                )
                part.pieces.append(Piece(schema.to_frame(), told))
            allowance = scope.allowance
        return part

    def _run(self, fetch: "Fetch", tasks: dict[str, Callable[[], _T]]) -> dict[str, _T]:
        """Results of tasks by account, run by threads; all are called off when one breaks or the run is interrupted."""
        if not tasks:
            return {}
        threads = min(len(tasks), _THREADS_A_REQUEST * self.settings.concurrency, _MOST_THREADS)
        with ThreadPoolExecutor(threads, thread_name_prefix="meta") as pool:
            futures = {account: pool.submit(task) for account, task in tasks.items()}
            try:
                return {account: future.result() for account, future in futures.items()}
            except BaseException:
                fetch.call_off()
                pool.shutdown(cancel_futures=True, wait=False)
                raise

    def _open(self, fetch: "Fetch", now: datetime) -> tuple[list["AdAccount"], dict[str, _Failure]]:
        """Accounts that can be read, and why the others cannot."""
        chosen = self.settings.accounts.strip()
        if chosen.lower() == "all":
            return self._open_all(fetch, now), {}
        names = account_ids(chosen)
        known = {name: self._accounts[name] for name in names if name in self._accounts and self._accounts[name].fresh(now)}
        scopes = {name: self.graph.scope(fetch, name) for name in names}
        results = self._run(fetch, {name: (lambda n=name: self._describe(n, scopes[n])) for name in names if name not in known})
        unread: dict[str, _Failure] = {}
        for name, got in results.items():
            if isinstance(got, _Failure):
                unread[name] = replace(got, scope=scopes[name])
            else:
                known[name] = self._accounts[name] = _Known(got, now)
        _raise_for_all(unread, len(names))
        return [known[name].value for name in names if name in known], unread

    def _describe(self, name: str, scope: "Scope") -> "AdAccount | _Failure":
        from learning_assets.platforms.meta.connection import describe
        from learning_assets.platforms.meta.errors import GraphError

        try:
            return describe(self.graph, name, scope)
        except GraphError as error:
            return _failure(name, error)

    def _open_all(self, fetch: "Fetch", now: datetime) -> list["AdAccount"]:
        from learning_assets.platforms.meta import errors
        from learning_assets.platforms.meta.connection import listed

        if self._listed is None or not self._listed.fresh(now):
            try:
                found = listed(self.graph, self.graph.scope(fetch))
            except errors.TokenRefused as error:
                raise SourceError(f"LEARNING_META_ACCESS_TOKEN: {' '.join(errors.token_words(error))}") from None
            except (errors.Transient, errors.Throttled, errors.WaitTooLong) as error:
                raise PlatformDown(f"The accounts of the token cannot be listed: {error}. Try again later.") from None
            except errors.GraphError as error:
                raise SourceError(
                    f"LEARNING_META_ACCOUNTS=all: the accounts of the token cannot be listed: {error}. Give the token ads_read, or name the accounts."
                ) from None
            if not found:
                raise SourceError(
                    "LEARNING_META_ACCOUNTS=all: the token can read no ad account. Assign accounts to its system user in Business settings."
                )
            self._listed = _Known(found, now)
        return self._listed.value


def _failure(account: str, error: "GraphError") -> _Failure:
    from learning_assets.platforms.meta import errors

    told = errors.explain(account, error)
    passing = (errors.Contradiction, errors.TooMuch, errors.ReportFailed, errors.ReportStuck, errors.NotReady)
    return _Failure(told.status, told.reason, error, lasting=not isinstance(error, passing))


def _raise_for_all(failures: dict[str, _Failure], accounts: int) -> None:
    """Raise what concerns every account alike."""
    if not failures or len(failures) < accounts:
        return
    from learning_assets.platforms.meta import errors

    first = next(iter(failures.values()))
    if all(isinstance(failure.error, errors.Transient) for failure in failures.values()):
        raise PlatformDown(f"No account answered ({accounts} asked). The first said: {first.reason}")
    if all(isinstance(failure.error, errors.Misconfigured) for failure in failures.values()):
        raise SourceError(first.reason[0].upper() + first.reason[1:])


def _recent(day: date, days: int) -> "Callable[[AdAccount | None, datetime], list[tuple[date, date]]]":
    """What to ask an account for: `day` alone, if it lies at most `days` days back by the account's own date; for 0 nothing."""

    def asked(account: "AdAccount | None", now: datetime) -> list[tuple[date, date]]:
        # The date of an account that cannot be read is not known: within a day of the clock's.
        local = [account.today(now)] if account is not None else [(now + timedelta(days=i)).date() for i in (-1, 0, 1)]
        return [(day, day)] if days and any(0 <= (today - day).days <= days for today in local) else []

    return asked


def account_ids(chosen: str) -> list[str]:
    """Ids of the setting LEARNING_META_ACCOUNTS, without act_; SourceError where one is none."""
    names = [part.strip().removeprefix("act_") for part in chosen.split(",") if part.strip()]
    strange = [name for name in names if not name.isdigit()]
    if strange or not names:
        said = f"{strange[0]!r} is not the id of an ad account" if strange else "it is empty"
        raise SourceError(
            f"LEARNING_META_ACCOUNTS: {said}. Ids are digits, with or without act_, such as act_1234567890; or set it to all."
        )
    return list(dict.fromkeys(names))


def _ranges(first: date, last: date, days: int) -> list[tuple[date, date]]:
    """`first` to `last` in ranges of at most `days` days."""
    found: list[tuple[date, date]] = []
    while first <= last:
        end = min(first + timedelta(days=days - 1), last)
        found.append((first, end))
        first = end + timedelta(days=1)
    return found
