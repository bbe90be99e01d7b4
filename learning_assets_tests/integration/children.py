"""Processes that are killed: they write again and again, or learn days, until somebody ends them or they end themselves.

What belongs here: what runs inside such a process, and how it is started. What does not: what must be true afterwards (`test_kill`).

The processes are forked from one server that has imported everything, so that a kill costs milliseconds; the server has opened nothing.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from learning_assets.assets.day import QUIET_TAG
from learning_assets.automation.failures import first_failure
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.build import open_store
from learning_assets.learning import graph
from learning_assets.platforms.source import ACTUALS
from learning_assets.settings import Settings
from learning_assets.store import identity
from learning_assets.store.store import Store
from learning_assets_tests import made_up
from learning_assets_tests.world import World

DAY, OTHER_DAY = date(2026, 2, 1), date(2026, 2, 2)
NOW = datetime(2026, 2, 3, tzinfo=UTC)
MODEL = "ctr-shared-2026-02-01-00000000"
PROJECT = Path(__file__).parents[2]

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__, "xgboost", "sklearn.linear_model", "scipy.stats", "wordllama"])


class Child:
    """A process that runs `work(log, *arguments)`; `log` is the file that it tells its progress to."""

    def __init__(self, log: Path, work: Callable[..., None], *arguments: object) -> None:
        self.log = log
        log.unlink(missing_ok=True)
        self.process = _processes.Process(target=work, args=(log, *arguments), daemon=True)
        self.process.start()

    def said(self) -> list[str]:
        """Its lines so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def wait_for(self, enough: Callable[[list[str]], bool], seconds: float = 60) -> list[str]:
        """Its lines, as soon as there are enough of them."""
        deadline = time.monotonic() + seconds
        while not enough(said := self.said()):
            assert self.process.is_alive(), f"it ended by itself with {self.process.exitcode}, having said {said}"
            assert time.monotonic() < deadline, f"it only said {said}"
            time.sleep(0.002)
        return said

    def kill(self) -> list[str]:
        """Kill it as the kernel does when memory is short; its lines."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        assert self.process.exitcode == -signal.SIGKILL
        return self.said()

    def end(self, seconds: float = 120) -> int:
        """Wait until it has ended by itself; its exit code."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"it did not end, having said {self.said()}"
        return self.process.exitcode


def say(log: Path, line: str) -> None:
    """Add a line to a log in one write, so that no reader sees half of it."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


# Writing again and again ------------------------------------------------------------------------------------------------------


def facts(number: int, height: int = 50_000) -> pl.DataFrame:
    """A day of actuals whose every row holds `number`; one row more or less tells numbers apart as well."""
    ads = pl.int_range(height + number % 2, eager=True)
    filled = {name: pl.lit(number) for name, kind in ACTUALS.items() if kind == pl.Int64}
    columns = {"date": DAY, "account_id": "a", "currency": "USD", "conversion_type": "purchase"}
    columns |= {"is_final": True, "complete": True, "restated": False}
    return (
        pl.DataFrame({"ad_id": ads.cast(pl.String)})
        .with_columns(**filled, **{name: pl.lit(value) for name, value in columns.items()})
        .select(pl.col(name).cast(kind) for name, kind in ACTUALS.items())
    )


def manifest(day: date, number: int, height: int) -> pl.DataFrame:
    """Rows of `fetch_manifest` for a day, every one of which holds `number`."""
    accounts = pl.int_range(height, eager=True).cast(pl.String)
    return pl.DataFrame({"account_id": accounts}).select(
        pl.lit(day).alias("as_of"),
        "account_id",
        pl.lit("daily").alias("fact"),
        pl.lit("o").alias("owner"),
        pl.lit("complete").alias("status"),
        pl.lit(number, pl.Int64).alias("rows"),
        pl.lit(1, pl.Int64).alias("pages"),
        pl.lit(1, pl.Int64).alias("requests"),
        pl.lit(None, pl.Int64).alias("spend_micros"),
        pl.lit(None, pl.Int64).alias("account_spend_micros"),
        pl.lit(0.5).alias("seconds"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("requested_at"),
        pl.lit(None, pl.String).alias("job_id"),
        pl.lit(None, pl.String).alias("api_version"),
        pl.lit(None, pl.Float64).alias("throttle_pct"),
        pl.lit(None, pl.String).alias("reason"),
    )


def replaced(number: int) -> pl.DataFrame:
    """The rows that a day is replaced by: their number changes too, so that a mixture of two versions shows."""
    return manifest(DAY, number, 50_000 - number % 7)


def opened(settings: Settings) -> Store:
    """The store with its connections made, so that a write takes its own time only."""
    store = open_store(settings)
    assert store.newest_day("nothing") is None
    return store


def write_lake(log: Path, settings: Settings, first: int, fatal: int | None = None) -> None:
    """Write one day of the lake for ever, each time with other content; or die before the file of number `fatal` gets its name."""
    store = opened(settings)
    if fatal is not None:
        Moments(log, fatal).watch_files(store.lake.root, ("os.rename",))
    for number in itertools.count(first):
        frame = facts(number)
        say(log, f"begun {number}")
        store.lake.write("actuals", DAY, frame)
        say(log, f"done {number}")


def write_table(log: Path, settings: Settings, first: int) -> None:
    """Replace a day of a table for ever, each time by other rows; what fails because the server was killed is said and left."""
    store = opened(settings)
    for number in itertools.count(first):
        rows = replaced(number)
        say(log, f"begun {number}")
        try:
            store.tables.replace_day("fetch_manifest", DAY, rows, now=NOW)
            say(log, f"done {number}")
        except (OperationalError, psycopg.OperationalError):
            say(log, f"failed {number}")


def write_upsert(log: Path, settings: Settings, first: int, height: int) -> None:
    """Overwrite the same rows of a table for ever, each time with another number."""
    store = opened(settings)
    for number in itertools.count(first):
        rows = manifest(OTHER_DAY, number, height)
        say(log, f"begun {number}")
        store.tables.upsert("fetch_manifest", rows)
        say(log, f"done {number}")


# Ending at a chosen moment ----------------------------------------------------------------------------------------------------


@dataclass
class Moments:
    """Counts the moments at which something becomes visible to others, and kills this process before one of them.

    `fatal` is its number, or a word of it.
    """

    log: Path
    fatal: int | str | None
    reached: int = 0

    def reach(self, what: str) -> None:
        """Count one, and say what is about to happen."""
        self.reached += 1
        say(self.log, f"moment {self.reached}: {what}")
        if self.reached == self.fatal or (isinstance(self.fatal, str) and self.fatal in what):
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_files(self, folder: Path, events: tuple[str, ...]) -> None:
        """Count operations on files and folders below `folder`, by the names of Python's audit events."""
        inside = f"{folder}{os.sep}"

        def audit(name: str, arguments: tuple[Any, ...]) -> None:
            if name in events and str(arguments[0]).startswith(inside):
                self.reach(f"{name} {arguments[1] if name in ('os.rename', 'os.link') else arguments[0]}")

        sys.addaudithook(audit)

    def watch_commits(self, database: str) -> None:
        """Count commits in a database, naming the tables that were written."""
        written: list[str] = []

        def before(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            words = statement.replace('"', "").split()
            if words[0] in ("INSERT", "DELETE", "UPDATE", "CREATE"):
                written.append(" ".join(words[:3]))

        def commit(connection: sa.Connection) -> None:
            if written and connection.engine.url.database == database:
                self.reach(f"commit {', '.join(written)}")
            written.clear()

        event.listen(sa.Engine, "before_cursor_execute", before)
        event.listen(sa.Engine, "commit", commit)


_FILES = ("open", "os.mkdir", "os.rename", "os.link", "os.remove", "shutil.rmtree")


def create_identity(log: Path, home: Path, fatal: int) -> None:
    """Create the identity of a store, and die at its file operation of number `fatal`."""
    Moments(log, fatal).watch_files(home, _FILES)
    identity.create(home, "sandbox", DAY, NOW, {"seed": fatal})


def save(folder: Path, number: int) -> None:
    """A model of two files, both of which hold `number`."""
    for name in ("trees.json", "text.json"):
        (folder / name).write_text(str(number) * 100)


def publish(log: Path, settings: Settings, number: int, fatal: int) -> None:
    """Publish a model, and die at its file operation of number `fatal`."""
    store = open_store(settings)
    root = store.home / "artifacts"
    Moments(log, fatal).watch_files(root, _FILES)
    store.artifacts.publish(MODEL, lambda folder: save(folder, number))


def register(log: Path, settings: Settings, accounts: pl.DataFrame, fatal: int) -> None:
    """Make accounts known, and die before its commit of number `fatal`."""
    store = opened(settings)
    Moments(log, fatal).watch_commits(str(store.tables.engine.url.database))
    store.register(accounts)


def learn_graph(log: Path, settings: Settings, after: int, patterns: pl.DataFrame, fatal: int | None = None) -> None:
    """Learn a day of the knowledge graph, undoing later ones, and die before its commit of number `fatal`."""
    store, day = opened(settings), made_up.DAY + timedelta(days=after)
    change = graph.advance(store.graph_before(day), patterns, day, settings.graph, controlled_delivery=False)
    if fatal is not None:
        Moments(log, fatal).watch_commits(str(store.tables.engine.url.database))
    store.replace_graph(day, change, onward=True)


def remember(log: Path, settings: Settings, day: date, looks: pl.DataFrame, fatal: int) -> None:
    """Replace a day of the winner memory, undoing later ones, and die before its commit of number `fatal`."""
    store = opened(settings)
    Moments(log, fatal).watch_commits(str(store.tables.engine.url.database))
    store.memory.replace(day, looks, now=NOW, onward=True)


# Learning ---------------------------------------------------------------------------------------------------------------------


def learn(log: Path, settings: Settings, day: date, fatal: str | None) -> None:
    """One run of `learning_cycle`; ends with 1 where it fails."""
    world = World.of(settings)
    moments = Moments(log, fatal)
    moments.watch_files(world.store.home / "lake", ("os.rename",))
    moments.watch_files(world.store.home / "artifacts", ("os.rename",))
    moments.watch_commits(str(world.store.tables.engine.url.database))
    say(log, "begun")
    result = world.cycle.execute_in_process(
        run_config=QUIET_CONSOLE,
        partition_key=day.isoformat(),
        instance=world.instance,
        tags={QUIET_TAG: "1"},
        raise_on_error=False,
    )
    if not result.success:
        say(log, first_failure(result.all_events))
        sys.exit(1)


def decide(log: Path, settings: Settings, day: date, fatal: str | None = None) -> None:
    """Train a challenger and let it contest the champion; say how that ended. `fatal`: before which moment to die."""
    world = World.of(settings)
    moments = Moments(log, fatal)
    moments.watch_files(world.store.home / "artifacts", ("os.rename",))
    moments.watch_commits(str(world.store.tables.engine.url.database))
    say(log, "begun")
    result = world.run(day, "retrained_model", ops={"retrained_model": {"config": {"force": True}}})
    say(log, "decided" if result.success else first_failure(result.all_events))


def replay(log: Path, environment: dict[str, str], first: date, fatal: int | None) -> None:
    """The command `learning-assets replay --from`, on Dagster's storage in Postgres."""
    from learning_assets.cli.learning import run_replay
    from learning_assets.cli.terminal import settings_now

    os.environ.update(environment, DAGSTER_HOME=str(PROJECT))
    settings = settings_now()
    moments = Moments(log, fatal)
    moments.watch_files(settings.home.resolve() / "lake", ("os.rename",))
    assert settings.database_url is not None
    moments.watch_commits(str(sa.make_url(settings.database_url.get_secret_value()).database))
    say(log, "begun")
    run_replay(settings, first, None)
