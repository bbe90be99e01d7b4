"""The store: one object through which assets read and write what is known. Opened at first use, not when it is made.

What belongs here: putting lake, tables, artifacts, identity and walls together. What does not: how each of them works.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from learning_assets import clock
from learning_assets.learning import experiments
from learning_assets.learning.graph import Change, Graph
from learning_assets.learning.lift import Scope
from learning_assets.learning.niche import NICHES
from learning_assets.learning.wisdom import State
from learning_assets.settings import Settings
from learning_assets.store import address as addresses
from learning_assets.store import graph as graphs
from learning_assets.store import identity as identities
from learning_assets.store import schema
from learning_assets.store import wisdom as wisdoms
from learning_assets.store.bandits import Bandits
from learning_assets.store.champions import Champions
from learning_assets.store.facts import facts
from learning_assets.store.lake import Lake
from learning_assets.store.ledger import Ledger
from learning_assets.store.memory import WinnerMemory
from learning_assets.store.migrations import ensure_current
from learning_assets.store.models import Artifacts
from learning_assets.store.promotions import Promotions
from learning_assets.store.signals import Signals
from learning_assets.store.sums import account_days, listed, times, weekly_sums
from learning_assets.store.tables import Locked, Tables, Written
from learning_assets.store.totals import creative_totals
from learning_assets.store.walls import PIPELINE, SHARED, Pool, Wall, niches, pools

POOLED_LEARNING = "pooled_learning"
"""Purpose of the consent to be fitted together with other owners' rows."""

TEXT_TO_CLAUDE = "text_to_claude"
"""Purpose of the consent that the text of an account's ads is sent to Claude."""


REPLAY = "replay"
"""Name of the lock that a replay holds."""


class ChainError(Exception):
    """A day of a chained asset cannot be learned now; the message says why and names the remedy."""


class Store:
    """Everything that is known, below one home and in one database.

    Parameters
    ----------
    settings : where it is.
    schemas : columns of the lake's assets, by asset.
    identity : made by `identity.create`; read from the home where not given.
    """

    def __init__(
        self,
        settings: Settings,
        schemas: Mapping[str, pl.Schema],
        identity: identities.Identity | Callable[[], identities.Identity],
    ) -> None:
        self.settings = settings
        self._schemas = schemas
        self._identity = identity

    @cached_property
    def home(self) -> Path:
        """The folder of the lake and the artifacts."""
        return self.settings.home.resolve()

    @cached_property
    def identity(self) -> identities.Identity:
        """What the store was created as; refused where the settings ask for another kind of source."""
        found = self._identity if isinstance(self._identity, identities.Identity) else self._identity()
        identities.require(found, self.home, self.settings.source_kind)
        return found

    @cached_property
    def tables(self) -> Tables:
        """The tables, migrated, and known to belong to this home."""
        address = addresses.resolve(self.settings)
        engine = sa.create_engine(address.learning(), pool_size=4, pool_pre_ping=True)
        tables = Tables(engine, address.libpq())
        ensure_current(engine, may_migrate=self.settings.database_url is None)
        self._require_own_database(tables)
        return tables

    @cached_property
    def lake(self) -> Lake:
        """The facts, by asset and day."""
        return Lake(self.home / "lake", self._schemas, lambda name: self.tables.lock(name), self.settings.lake.compression)

    @cached_property
    def memory(self) -> WinnerMemory:
        """The memory of winners."""
        return WinnerMemory(self.tables, self.settings.memory)

    @cached_property
    def bandits(self) -> Bandits:
        """The state of the arms of experiments."""
        return Bandits(self.tables, self.settings.bandit)

    @cached_property
    def champions(self) -> Champions:
        """The pointer to the models in force."""
        return Champions(self.tables)

    @cached_property
    def promotions(self) -> Promotions:
        """Evidence and decisions about experiments."""
        return Promotions(self.tables)

    @cached_property
    def signals(self) -> Signals:
        """The ledger of purchase signals."""
        return Signals(self.tables)

    @cached_property
    def ledger(self) -> Ledger:
        """Who may move budgets, and what was moved."""
        return Ledger(self.tables)

    @cached_property
    def artifacts(self) -> Artifacts:
        """Trained models on disk."""
        return Artifacts(self.home / "artifacts")

    def _require_own_database(self, tables: Tables) -> None:
        mine = self.identity
        stored = tables.read("store_identity", PIPELINE)
        if stored.is_empty():
            row = {"store_id": mine.store_id, "kind": mine.kind, "start_day": mine.start_day, "created_at": mine.created_at}
            tables.upsert("store_identity", pl.DataFrame([row]), overwrite=False)
        elif stored["store_id"][0] != mine.store_id:
            raise identities.IdentityError(
                f"The database belongs to another store (of kind '{stored['kind'][0]}', created {stored['created_at'][0]:%Y-%m-%d}) than {self.home}. "
                "Set LEARNING_HOME to that store's folder, or LEARNING_DATABASE_URL to another database."
            )

    # -- time

    @property
    def now(self) -> datetime:
        """The present moment, UTC."""
        return clock.now(self.settings)

    def newest_day(self, asset: str, before: date | None = None) -> date | None:
        """Newest day that a learned asset was written for."""
        return self.tables.newest_day(asset, before)

    def require_next(self, asset: str, day: date, step_days: int, *, replaying: bool = False) -> None:
        """Refuse a day of a chained asset whose yesterday is missing, or whose tomorrow is learned already.

        Raises
        ------
        ChainError : with the remedy.
        """
        if not replaying:
            try:
                with self.tables.lock(REPLAY, wait=False):
                    pass
            except Locked:
                raise ChainError(
                    f"A replay is under way; {asset} of {day} can be learned when it has ended. Try again then."
                ) from None
        newest = self.newest_day(asset)
        if newest is None:
            return
        if day < newest and not replaying:
            raise ChainError(
                f"{asset} of {day} rests on the state of the day before, and days up to {newest} were learned from it. "
                f"To learn {day} and all later days anew: learning-assets replay --from {day}"
            )
        before = self.newest_day(asset, before=day)
        first = day if before is None else before + timedelta(days=step_days)
        if first < day:
            raise ChainError(
                f"{asset} of {day} rests on the state of the day before, which is not learned yet (the newest before it is {before}). "
                f"Learn the days between first: learning-assets replay --from {first} --to {day}"
            )

    def replace_day(
        self, name: str, day: date, rows: pl.DataFrame, *, asset: str | None = None, onward: bool = False
    ) -> Written:
        """Replace an asset's day in a table; see `Tables.replace_day`."""
        return self.tables.replace_day(name, day, rows, asset=asset, now=self.now, onward=onward)

    # -- the knowledge graph

    def graph(self, day: date, wall: Wall) -> Graph:
        """The knowledge graph as it stood on a day, its relationships with schema `learning.graph.SEEN`."""
        return graphs.read(self.tables, day, wall, self.settings.graph.half_life_days)

    def graph_before(self, day: date) -> Graph:
        """The newest version of every node and relationship as it was before a day, for the pipeline."""
        return graphs.before(self.tables, day)

    def replace_graph(self, day: date, change: Change, *, onward: bool = False) -> Written:
        """Replace what a day did to the graph; see `Tables.replace_versions`."""
        return graphs.replace(self.tables, day, change, now=self.now, onward=onward)

    # -- what niches know

    def wisdom_before(self, day: date) -> State:
        """What niches knew after the newest day before a day, and what stands behind it, for the pipeline."""
        return wisdoms.before(self.tables, day)

    def replace_wisdom(self, day: date, state: State, *, onward: bool = False) -> Written:
        """Replace the state of a day; see `store.wisdom`."""
        return wisdoms.replace(self.tables, day, state, now=self.now, onward=onward)

    def withdrawn_since(self, day: date | None) -> list[str]:
        """Owners of accounts whose newest word on pooled learning is no and was said on a day or later, sorted; none where it is None."""
        said = self.tables.read(
            "consents", PIPELINE, columns=["account_id", "given", "at", "consent_id"], purpose=POOLED_LEARNING
        )
        newest = said.sort("at", "consent_id").group_by("account_id").agg(pl.col("given", "at").last())
        withdrawn = newest.filter(~pl.col("given"), pl.col("at").dt.date() >= pl.lit(day, pl.Date))
        return withdrawn.join(self.accounts(PIPELINE), on="account_id")["owner"].unique().sort().to_list()

    # -- owners and accounts

    def register(self, accounts: pl.DataFrame) -> None:
        """Add accounts (columns `account_id`, `owner`, `name`, `currency`, `timezone`, `consents`) and what they consented to.

        An account that is known keeps its owner; a consent is recorded once. `consents` NULL records nothing.
        """
        if (accounts["owner"] == SHARED).any():
            raise ValueError(
                f"An owner cannot be called '{SHARED}', the name of what is fitted over several owners. Rename the owner."
            )
        now = pl.lit(self.now).dt.cast_time_unit("us")
        known = self.tables.read("accounts", PIPELINE)
        told = accounts.join(known, on=["account_id", "name", "currency", "timezone"], how="anti", nulls_equal=True)
        if told.height:
            before = known.select("account_id", "created_at", owner_before="owner")
            told = told.join(before, on="account_id", how="left").with_columns(
                owner=pl.coalesce("owner_before", "owner"), created_at=pl.coalesce("created_at", now)
            )
            self.tables.upsert("owners", told.select("owner", created_at=now).unique(), overwrite=False)
            self.tables.upsert("accounts", told.select("account_id", "owner", "name", "currency", "timezone", "created_at"))
        # By what was recorded and not by which accounts are new: a process may have ended between the two.
        asked = self.tables.read("consents", PIPELINE, columns=["account_id"], purpose=POOLED_LEARNING)
        fresh = accounts.join(asked, on="account_id", how="anti").filter(pl.col("consents").is_not_null())
        if fresh.height:
            rows = fresh.select(
                "account_id",
                pl.lit(POOLED_LEARNING).alias("purpose"),
                pl.col("consents").alias("given"),
                pl.lit("source").alias("given_by"),
            )
            self.tables.execute(sa.insert(schema.consents), [row | {"at": self.now} for row in rows.to_dicts()])

    def accounts(self, wall: Wall) -> pl.DataFrame:
        """Accounts of an owner: `account_id`, `owner`, `name`, `currency`, `timezone`, `consents` (to pooled learning; false where never asked),
        `niche` (NULL where it is unknown; see `account_niches`)."""
        found = self.tables.read("accounts", wall, columns=["account_id", "owner", "name", "currency", "timezone"])
        said = self.tables.read("consents", wall, columns=["account_id", "given", "at", "consent_id"], purpose=POOLED_LEARNING)
        newest = said.sort("at", "consent_id").group_by("account_id").agg(consents=pl.col("given").last())
        niches = self.account_niches(wall).select("account_id", "niche")
        return (
            found.join(newest, on="account_id", how="left")
            .join(niches, on="account_id", how="left")
            .with_columns(pl.col("consents").fill_null(value=False))
            .sort("account_id")
        )

    def consent(self, account_id: str, purpose: str, *, given: bool, by: str) -> bool:
        """Record that an account gives or withdraws a consent; nothing where that is in force already.

        Returns
        -------
        Whether it was recorded.

        Raises
        ------
        ValueError : the account is not known, or nobody is named who decided.
        """
        if not by.strip():
            raise ValueError("A consent needs the name of who gives or withdraws it.")
        self._known_account(account_id)
        with self.tables.lock(f"consents/{account_id}"):
            said = self.tables.read("consents", PIPELINE, account_id=account_id, purpose=purpose).sort("at", "consent_id")
            if (said["given"].to_list() or [False])[-1] is given:
                return False
            # A clock that stands still must not hide which came later.
            moments = [self.now, *(moment + timedelta(microseconds=1) for moment in said["at"][-1:])]
            row = {"account_id": account_id, "purpose": purpose, "given": given, "given_by": by.strip(), "at": max(moments)}
            self.tables.execute(sa.insert(schema.consents), row)
        return True

    def consenting(self, purpose: str) -> list[str]:
        """Accounts whose newest word on the purpose is yes, sorted; who was never asked is not among them."""
        said = self.tables.read("consents", PIPELINE, columns=["account_id", "given", "at", "consent_id"], purpose=purpose)
        newest = said.sort("at", "consent_id").group_by("account_id").agg(pl.col("given").last())
        return newest.filter(pl.col("given"))["account_id"].sort().to_list()

    def pools(self) -> list[Pool]:
        """Whose rows may be fitted together; see `walls.pools`."""
        return pools(self.accounts(PIPELINE), self.settings.patterns.min_owners)

    def niches(self) -> list[Pool]:
        """Consenting accounts by niche, of at least as many owners as a pool needs; see `walls.niches`."""
        return niches(self.accounts(PIPELINE), self.settings.patterns.min_owners)

    def shared_scopes(self) -> Iterator[tuple[Scope, Pool]]:
        """What is learned over several accounts, and over whose: those of a niche, and all that consent."""
        for pool in self.niches():
            yield "niche", pool
        for pool in self.pools():
            if pool.name == SHARED:
                yield "all", pool

    def account_niches(self, wall: Wall) -> pl.DataFrame:
        """What accounts are about: one row of the table `account_niches` per account that anybody spoke of, the one in force.

        A person's word stands, also against a later one of a machine, until a person takes it back.
        """
        rows = self.tables.read("account_niches", wall)
        by_human = pl.col("source") == "human"
        human = rows.filter(by_human).sort("at").unique("account_id", keep="last").filter(pl.col("niche").is_not_null())
        detected = self._newest_detected(rows).join(human, on="account_id", how="anti")
        return pl.concat([human, detected]).sort("account_id")

    def niche_of(self, account_id: str) -> dict[str, Any] | None:
        """The row of `account_niches` that is in force of an account, None where nobody spoke of it; ValueError where it is not known."""
        self._known_account(account_id)
        found = self.account_niches(PIPELINE).filter(account_id=account_id)
        return found.row(0, named=True) if found.height else None

    def detected_niches(self) -> pl.DataFrame:
        """The newest row of `account_niches` per account that a machine wrote, whatever people say, for the pipeline."""
        return self._newest_detected(self.tables.read("account_niches", PIPELINE))

    @staticmethod
    def _newest_detected(rows: pl.DataFrame) -> pl.DataFrame:
        """Of two of one moment, the language model's."""
        machine = rows.filter(pl.col("source") != "human")
        return machine.sort("at", "source", descending=[False, True]).unique("account_id", keep="last").sort("account_id")

    def add_detected_niches(self, found: pl.DataFrame) -> int:
        """Record what machines find accounts to be about; rows of `account_niches` without `at`. How many were written."""
        rows = found.with_columns(at=pl.lit(self.now).dt.cast_time_unit("us"))
        return self.tables.upsert("account_niches", rows)

    def set_niche(self, account_id: str, niche: str | None, by: str) -> None:
        """Record a person's word on which niche an account is of; None takes it back, and what was detected is in force again.

        Raises
        ------
        ValueError : the account or the niche is not known, or nobody is named who says so.
        """
        if not by.strip():
            raise ValueError("A niche needs the name of who says so.")
        if niche is not None and niche not in NICHES:
            raise ValueError(f"There is no niche {niche!r}; there are {', '.join(NICHES)}.")
        self._known_account(account_id)
        row = {"account_id": account_id, "at": self.now, "niche": niche, "said_by": by.strip(), "source": "human"}
        self.tables.upsert("account_niches", pl.DataFrame([row], schema=self.tables.schema("account_niches")))

    def _known_account(self, account_id: str) -> None:
        known = self.accounts(PIPELINE)["account_id"].to_list()
        if account_id not in known:
            raise ValueError(f"There is no account {account_id}; there are {', '.join(known) or 'none, learn a day first'}.")

    def pool_of_accounts(self) -> pl.DataFrame:
        """One row per account: `account_id`, its `pool`, and the pool's `owner` (NULL for the shared one)."""
        rows = [(account, pool.name, pool.owner) for pool in self.pools() for account in pool.account_ids]
        return pl.DataFrame(rows, schema={"account_id": pl.String, "pool": pl.String, "owner": pl.String}, orient="row")

    def scan(self, asset: str, first: date, last: date, wall: Wall) -> pl.LazyFrame:
        """Days of a lake asset as far as the wall lets through."""
        found = self.lake.scan(asset, first, last)
        if wall.owner is None:
            return found
        return found.filter(pl.col("account_id").is_in(self.accounts(wall)["account_id"].implode()))

    # -- what the learning assets read in bulk

    def facts(self, first: date, until: date) -> pl.LazyFrame:
        """Complete rows of actuals from `first` to `until` as the cycle of `until` knew them, for the pipeline."""
        return facts(self.lake, first, until, until)

    def arms(self, day: date) -> pl.DataFrame:
        """The arms of the experiments that run by a day's catalog (columns `learning.experiments.ARMS`, and `owner`), for the pipeline."""
        return self.arms_of([day]).drop("day")

    def arms_of(self, days: Sequence[date]) -> pl.DataFrame:
        """The arms of each of several days, with its `day`; see `arms`."""
        defined = self.tables.read("experiment_arms", PIPELINE)
        owners = self.accounts(PIPELINE).select("account_id", "owner")

        def of(day: date) -> pl.DataFrame:
            runs = (pl.col("starts_on") <= day) & (pl.col("ends_on").is_null() | (pl.col("ends_on") >= day))
            ads = self.lake.scan("ad_catalog", day, day).select(experiments.LISTED).collect()
            found = experiments.arms(ads, defined.filter(runs).select(experiments.DEFINED.names()))
            return found.join(owners, on="account_id", how="left", maintain_order="left").with_columns(day=pl.lit(day))

        return pl.concat([of(day) for day in days])

    def sums(self, until: date, days: int) -> pl.DataFrame:
        """Weekly sums of ads (columns `sums.WEEKLY_SUMS`) over the window, for the pipeline."""
        return weekly_sums(self.lake, until, days).collect()

    def times(self, until: date, days: int) -> pl.LazyFrame:
        """Sums of ads by hour and by weekday (columns `lift.TIMES`) over the window, for the pipeline."""
        return times(self.lake, until, days)

    def creative_totals(self, until: date) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What every creative achieved up to a day (columns `learning.memory.SUMS`), and its recent days by themselves (DAYS), for the
        pipeline."""
        rules = self.settings.memory
        return creative_totals(self.lake, until, rules.recent_days, rules.mature_days)

    def signalled(self, day: date) -> pl.DataFrame:
        """Creatives that purchase signals named since the day before of `winner_memory` and up to a day, for the pipeline.

        An ad stands for what it shows by its newest catalog of the last `memory.recent_days`.

        Returns
        -------
        `account_id`, `creative_id` (NULL for an ad that is in no catalog) and `signals`, sorted.
        """
        told = self.signals.told(self.newest_day("winner_memory", before=day), day)
        if told["ad_id"].null_count() < told.height:
            ads = listed(self.lake, day - timedelta(days=self.settings.memory.recent_days), day)
            shown = ads.select("account_id", "ad_id", shown="creative_id").collect()
            told = told.join(shown, on=["account_id", "ad_id"], how="left").with_columns(
                creative_id=pl.coalesce("creative_id", "shown")
            )
        return told.group_by("account_id", "creative_id").agg(pl.col("signals").sum()).sort("account_id", "creative_id")

    def account_days(self, until: date) -> pl.DataFrame:
        """Totals of every account and day since the first (columns `sums.ACCOUNT_DAYS`), for the pipeline."""
        first = next(iter(self.lake.days("actuals", last=until)), until)
        return account_days(self.lake, first, until).collect()

    def creatives(self, columns: list[str], account_ids: Sequence[str] | None = None) -> pl.DataFrame:
        """Columns of `creative_dna` of all accounts or of some, for the pipeline."""
        of: dict[str, Any] = {} if account_ids is None else {"account_id": list(account_ids)}
        return self.tables.read("creative_dna", PIPELINE, columns=columns, **of).sort("account_id", "creative_id")

    def ad_days(self, until: date, days: int) -> pl.DataFrame:
        """The window's facts as models read them, for the pipeline.

        Returns
        -------
        One row per ad and day with impressions: `date`, `owner`, `account_id`, `ad_id`, `creative_id`, `experiment_id` (where arms were
        random), `audience`, `template`, `cta`, `impressions`, `link_clicks`, `conversions`, `spend_micros`, `revenue_micros`, and `age_days`,
        how old the day was when it was looked up: on `until`, or now where a past day was fetched late; sorted by date, account and ad.
        """
        first = until - timedelta(days=days - 1)
        ads = (
            # A week more, since the window may begin in the middle of one.
            weekly_sums(self.lake, until, days + 6)
            .sort("week")
            .group_by("account_id", "ad_id")
            .agg(
                pl.col("creative_id", "audience").last(),
                pl.col("experiment_id").filter(pl.col("assignment") == "random").last(),
            )
            .collect()
        )
        creatives = self.creatives(["account_id", "creative_id", "template", "cta"])
        owners = self.accounts(PIPELINE).select("account_id", "owner")
        described = ads.join(creatives, on=["account_id", "creative_id"], how="left").join(owners, on="account_id", how="left")
        counts = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")
        looked_up = pl.when(pl.col("restated").fill_null(value=False)).then(max(until, self.now.date())).otherwise(until)

        def rows(begin: date) -> pl.DataFrame:
            return (
                facts(self.lake, begin, min(begin + timedelta(days=6), until), until)
                .select("date", "account_id", "ad_id", *counts, age_days=(looked_up - pl.col("date")).dt.total_days())
                .join(described.lazy(), on=["account_id", "ad_id"], how="left")
                .sort("date", "account_id", "ad_id")
                .collect()
            )

        # Joined and sorted week by week: memory is that of the result, not several times it.
        return pl.concat([rows(begin) for begin in clock.days_between(first, until, 7)])
