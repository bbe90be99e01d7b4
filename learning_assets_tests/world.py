"""A store with its source and the code location around them, as tests run days in it.

What belongs here: running a day, or the checks of a day, on real components. What does not: fixtures (`conftest`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import polars as pl
from typer.testing import Result

from learning_assets.assets.day import REPLAY_TAG
from learning_assets.automation.alerts import notifier
from learning_assets.automation.failures import first_failure
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.build import build_definitions, open_store
from learning_assets.clock import days_between
from learning_assets.opening import open_identity, open_source
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.facts import swap
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Wall


def source_of(settings: Settings) -> Source:
    """The source of the settings; the simulated market in process, which tells what was known on past days and takes no server."""
    identity = open_identity(settings)
    if settings.source != "sandbox":
        return open_source(settings, identity)
    return SandboxSource.of(identity.market)


@dataclass(frozen=True, slots=True)
class World:
    """One store and everything that learns in it."""

    settings: Settings
    store: Store
    source: Source
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    @classmethod
    def of(cls, settings: Settings, source: Source | None = None) -> "World":
        """The world of the settings; `source` replaces the one that they name. A simulated market is read in process."""
        source = source or source_of(settings)
        store = open_store(settings)
        definitions = build_definitions(settings=settings, store=store, source=source, alerts=notifier(settings))
        return cls(settings, store, source, dg.DagsterInstance.ephemeral(), definitions)

    def again(self, source: Source | None = None, **changes: object) -> "World":
        """The same store, opened anew with other settings or another source."""
        return World.of(Settings(**(self.settings.model_dump(exclude_unset=True) | changes)), source or self.source)  # type: ignore[arg-type]

    @property
    def cycle(self) -> dg.JobDefinition:
        """The job that learns a day."""
        return self.definitions.resolve_job_def("learning_cycle")

    def run(
        self,
        day: date,
        *assets: str,
        replaying: bool = False,
        ops: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Learn a day as `learning_cycle` does, or only some of its assets, with their checks.

        `ops` configures assets by name.
        """
        job = self.cycle.get_subset(asset_selection={dg.AssetKey(name) for name in assets}) if assets else self.cycle
        return job.execute_in_process(
            run_config=dict(QUIET_CONSOLE) | ({"ops": dict(ops)} if ops else {}),
            partition_key=day.isoformat(),
            instance=self.instance,
            raise_on_error=False,
            tags={REPLAY_TAG: "1"} if replaying else {},
        )

    def fetch(self, first: date, last: date) -> None:
        """Put the facts of a range into the lake as one fetch at the end of `last` brings them; nothing is learned from them."""
        self.store.register(self.source.accounts())
        found = self.source.actuals(first, last, last).rows
        for day in days_between(first, last):
            self.store.lake.write("ad_catalog", day, self.source.catalog(day).rows.sort("account_id", "ad_id"))
            swap(self.store.lake, day, found.filter(pl.col("date") == day), last)

    def check(self, day: date, asset: str, name: str) -> dg.AssetCheckEvaluation:
        """What one check says of a day as it lies there."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), name)
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_check_selection={key})
        result = job.execute_in_process(
            run_config=QUIET_CONSOLE, partition_key=day.isoformat(), instance=self.instance, raise_on_error=False
        )
        (found,) = result.get_asset_check_evaluations()
        return found

    def table(self, name: str, wall: Wall = PIPELINE, **which: Any) -> pl.DataFrame:
        """Rows of a table."""
        return self.store.tables.read(name, wall, **which)


@dataclass(frozen=True, slots=True)
class Learned(World):
    """A world that has learned: `facts_from` is the first day with facts, `days` are the learned ones."""

    facts_from: date
    days: tuple[date, ...]


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """What an asset reported in a run: the plain values of its metadata."""
    (event,) = (
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset) and event.node_name == asset
    )
    return {name: value.value for name, value in event.materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The step that failed first and why."""
    assert not result.success
    return first_failure(result.all_events)


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    """The assets that a run wrote."""
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}


MakeWorld = Callable[..., World]
Run = Callable[..., Result]
"""Runs a command with these arguments."""
"""Makes a world of its own: keywords are settings; a first argument is the source, in place of the one that they name."""
