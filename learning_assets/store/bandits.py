"""The state of the bandits: reading it, choosing an arm from it, and changing it between two cycles.

What belongs here: one state per arm and reward, by day, and that nobody's change of it is lost. What does not: what the counts say
(`learning.bandit`), and where the cycle's counts come from.

The cycle writes the arms of all experiments in one batch. Between two cycles a program may change an experiment of an account: what it tells is
provisional, and the cycle of that day replaces it by the platform's facts. Whoever changes anything first waits for whoever does.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl
import sqlalchemy as sa

from learning_assets.learning import bandit
from learning_assets.settings import Bandit
from learning_assets.store import schema
from learning_assets.store.tables import Tables, Written
from learning_assets.store.walls import PIPELINE, Wall

ASSET, RUNNING = "budget_allocation", "budget_allocation/running"
"""Under which name a day is recorded: shared by the cycle, or while it goes on, which holds no later cycle up."""
REGISTERED = "registered"
"""Origin of an arm that a program made known; it is live on that day, and later if the catalog has it."""

ACHIEVED = pl.Schema({"ad_id": pl.String, "metric": pl.String, "events": pl.Float64, "exposure": pl.Float64})
"""What an arm of an experiment achieved on a whole day so far, by reward."""

_TABLE = "thompson_arms"
_NAMED = 12


class UnknownExperiment(ValueError):
    """An account has no such experiment, or an experiment no such arm; the message names it and those that there are."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The arm that a request gets: its ad, its share of the traffic, by which reward and rule it was chosen, and the day of the state."""

    ad_id: str
    share: float
    metric: str
    rule: str
    as_of: date


class Bandits:
    """The arms of one database."""

    def __init__(self, tables: Tables, rules: Bandit) -> None:
        self._tables = tables
        self._rules = rules

    # -- the cycle

    @contextmanager
    def refreshing(self) -> Generator[None]:
        """Be the only one who changes arms; freed by the server when the process dies."""
        with self._tables.lock(f"{_TABLE}/refresh"):
            yield

    def before(self, day: date) -> pl.DataFrame:
        """Every arm's state before a day, for the pipeline: columns of the table; without rows on the first day of all."""
        newest = self._tables.newest_day(ASSET, before=day)
        none = pl.DataFrame(schema=self._tables.schema(_TABLE))
        return none if newest is None else self._tables.read(_TABLE, PIPELINE, as_of=newest)

    def registered(self, day: date) -> pl.DataFrame:
        """Arms that programs registered on a day, for the pipeline."""
        return self._tables.read(_TABLE, PIPELINE, as_of=day, origin=REGISTERED)

    def replace(
        self, day: date, arms: pl.DataFrame, wishes: pl.DataFrame, *, now: datetime, running: bool = False, onward: bool = False
    ) -> Written:
        """Replace the arms of a day in one batch, and add the budgets that they ask for; see `Tables.replace_day`. To be called while `refreshing`.

        Parameters
        ----------
        arms : columns of the table.
        wishes : schema `bandit.WISHES`. A decision that has asked already stays as it is, with all its budgets.
        now : the moment that is recorded.
        running : the day goes on.
        onward : as for `Tables.replace_day`.
        """

        def ask(connection: sa.Connection) -> None:
            ledger = schema.budget_wishes
            ids: list[str] = wishes["decision_id"].unique().to_list()
            asked = connection.execute(sa.select(ledger.c.decision_id).where(ledger.c.decision_id.in_(ids))).scalars().all()
            new = wishes.filter(~pl.col("decision_id").is_in(asked))
            self._tables.upsert(
                ledger.name, new.with_columns(decided_at=pl.lit(now), as_of=pl.lit(day)), overwrite=False, within=connection
            )

        return self._tables.replace_day(
            _TABLE, day, arms, asset=RUNNING if running else ASSET, now=now, onward=onward, then=ask
        )

    # -- one experiment

    def statistics(self, account_id: str, experiment_id: str, wall: Wall, metric: str | None = None) -> pl.DataFrame:
        """The newest state of an experiment's arms by a reward, by default the one that budgets follow: columns of the table, by ad.

        Raises
        ------
        UnknownExperiment : behind the wall the account has no such experiment.
        """
        return self._state(account_id, experiment_id, wall).filter(metric=metric or self._rules.reward)

    def select(self, account_id: str, experiment_id: str, request: str, wall: Wall, metric: str | None = None) -> Selection:
        """The arm that a request gets, by the stored posterior and the request's id alone; see `bandit.select`.

        Raises
        ------
        UnknownExperiment : behind the wall the account has no such experiment, or none of its arms is live.
        """
        arms = self.statistics(account_id, experiment_id, wall, metric).filter("live")
        if arms.is_empty():
            raise UnknownExperiment(
                f"No arm of experiment '{experiment_id}' of account {account_id} is live. Learn a newer day."
            )
        # Arms of which nothing is known are alike.
        alpha, beta = (
            arms.select(pl.when(pl.col("rule") == "equal").then(1.0).otherwise(name)).to_series().to_numpy()
            for name in ("alpha", "beta")
        )
        seeds = np.array([bandit.request_seed(request)], dtype=np.uint64)
        decided = arms["rule"][0] == "thompson"
        (place,) = bandit.select(alpha, beta, seeds, decided=decided, floor=self._rules.floor)
        arm = arms.row(int(place), named=True)
        return Selection(arm["ad_id"], arm["share"], arm["metric"], arm["rule"], arm["as_of"])

    def register(self, account_id: str, experiment_id: str, ad_ids: Sequence[str], day: date, wall: Wall) -> pl.DataFrame:
        """Make ads arms of an experiment on a day, before the catalog has them; those that are live stay as they are, those that were come back.

        Returns
        -------
        The experiment's state, columns of the table.

        Raises
        ------
        UnknownExperiment : behind the wall the account has no such experiment.
        ValueError : its state is of a later day.
        """
        with self.refreshing():
            state = self._on(day, account_id, experiment_id, wall)
            returning = pl.col("ad_id").is_in(list(ad_ids)) & ~pl.col("live")
            state = state.with_columns(
                live=pl.col("live") | returning,
                last_live=pl.when(returning).then(pl.lit(day)).otherwise("last_live"),
                origin=pl.when(returning).then(pl.lit(REGISTERED)).otherwise("origin"),
            )
            fresh = [ad for ad in dict.fromkeys(ad_ids) if ad not in set(state["ad_id"])]
            like = state.unique("metric").select("as_of", "owner", *bandit.ARM[:2], "metric", "settled_until")
            nothing = {name: pl.lit(0.0) for name in bandit.COUNTS if bandit.COUNTS[name] == pl.Float64}
            added = like.join(pl.DataFrame({"ad_id": fresh}, schema={"ad_id": pl.String}), how="cross").with_columns(
                live=pl.lit(value=True), last_live=pl.lit(day), origin=pl.lit(REGISTERED), **nothing
            )
            return self._keep(pl.concat([state, added], how="diagonal"))

    def update(self, account_id: str, experiment_id: str, achieved: pl.DataFrame, day: date, wall: Wall) -> pl.DataFrame:
        """Tell what arms achieved on a day so far, which replaces what was told of that day before: telling it twice counts once.

        Parameters
        ----------
        achieved : schema ACHIEVED, each arm and reward once; arms and rewards that are not named stay as they are.

        Returns
        -------
        The experiment's state, columns of the table.

        Raises
        ------
        UnknownExperiment : behind the wall the account has no such experiment, or it has no such arm.
        ValueError : its state is of a later day, or a number is negative or not finite; nothing was changed.
        """
        numbers = pl.col("events", "exposure")
        if achieved.filter(~pl.all_horizontal(numbers.is_finite() & (numbers >= 0)).fill_null(value=False)).height:
            raise ValueError("Events and exposure of an arm must be numbers, 0 or more. Nothing was changed.")
        if achieved.select("ad_id", "metric").is_duplicated().any():
            raise ValueError("An arm stands in several rows of one reward; sum them into one. Nothing was changed.")
        with self.refreshing():
            state = self._on(day, account_id, experiment_id, wall)
            unknown = achieved.join(state, on=["ad_id", "metric"], how="anti")
            if unknown.height:
                ad, metric = unknown.row(0, named=True)["ad_id"], unknown.row(0, named=True)["metric"]
                raise UnknownExperiment(
                    f"Experiment '{experiment_id}' of account {account_id} has no arm '{ad}' with the reward '{metric}'; its arms are "
                    f"{_listed(state['ad_id'])}. Nothing was changed."
                )
            told = achieved.with_columns(account_id=pl.lit(account_id), experiment_id=pl.lit(experiment_id))
            return self._keep(bandit.with_day(state, told))

    def decay(self, account_id: str, experiment_id: str, day: date, wall: Wall) -> pl.DataFrame:
        """Carry an experiment's state on to a day without anything new.

        Returns
        -------
        The experiment's state, columns of the table.

        Raises
        ------
        UnknownExperiment : behind the wall the account has no such experiment.
        ValueError : its state is of a later day.
        """
        with self.refreshing():
            return self._keep(self._on(day, account_id, experiment_id, wall))

    def _state(self, account_id: str, experiment_id: str, wall: Wall) -> pl.DataFrame:
        """The newest state of an experiment, every reward, by ad."""
        found = self._tables.read(_TABLE, wall, latest=True, account_id=account_id, experiment_id=experiment_id)
        if found.is_empty():
            known = self._tables.read(_TABLE, wall, columns=["experiment_id"], latest=True, account_id=account_id)
            raise UnknownExperiment(
                f"Account {account_id} has no experiment '{experiment_id}'; it has {_listed(known['experiment_id'])}. "
                f"An experiment is known from the first day on that {ASSET} was learned with it."
            )
        return found.sort("ad_id", "metric")

    def _on(self, day: date, account_id: str, experiment_id: str, wall: Wall) -> pl.DataFrame:
        """The newest state of an experiment, carried to a day."""
        state = self._state(account_id, experiment_id, wall)
        moved = bandit.carried(state, (day - state["as_of"][0]).days, self._rules)
        return moved.with_columns(as_of=pl.lit(day))

    def _keep(self, state: pl.DataFrame) -> pl.DataFrame:
        """Write an experiment's state in one statement."""
        rows = bandit.reassess(state, self._rules)
        self._tables.upsert(_TABLE, rows)
        return rows.sort("ad_id", "metric")


def _listed(names: pl.Series) -> str:
    """Names as they may stand in a sentence, the first of many."""
    found = names.drop_nulls().unique().sort().to_list()
    more = f" and {len(found) - _NAMED} others" if len(found) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in found[:_NAMED]) + more if found else "none"
