"""Fixtures: one embedded Postgres for the whole session, a database and a home of its own for each store."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest

ROOM = Path(tempfile.mkdtemp(prefix="learning-tests-"))
for _name in [name for name in os.environ if name.startswith("LEARNING_")]:
    if _name != "LEARNING_SHARED_DATA":
        del os.environ[_name]
# Partitions are made when the code location is imported: early enough for an archive of 2013.
os.environ["LEARNING_HOME"] = str(ROOM / "location")
os.environ["LEARNING_START_DAY"] = "2013-01-01"
os.environ["LEARNING_NOW"] = "2026-03-02T09:00:00+00:00"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"

import hypothesis  # noqa: E402
import sqlalchemy as sa  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from learning_assets import cli  # noqa: E402
from learning_assets.assets import LAKE  # noqa: E402
from learning_assets.automation.replay import replay  # noqa: E402
from learning_assets.clock import days_between  # noqa: E402
from learning_assets.opening import open_identity  # noqa: E402
from learning_assets.platforms.source import Source  # noqa: E402
from learning_assets.settings import Settings  # noqa: E402
from learning_assets.store import address as addresses  # noqa: E402
from learning_assets.store import migrations  # noqa: E402
from learning_assets.store.address import Address  # noqa: E402
from learning_assets.store.store import Store  # noqa: E402
from learning_assets_tests.platforms import messages_api  # noqa: E402
from learning_assets_tests.platforms.messages_api import MessagesApi  # noqa: E402
from learning_assets_tests.world import Learned, MakeWorld, Run, World  # noqa: E402

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session")
def server() -> Iterator[Address]:
    """The embedded Postgres of this test session, with a migrated database to copy."""
    address = addresses.resolve(Settings(home=ROOM / "server"))
    template = address.with_database("template_learning")
    template.ensure_database()
    engine = sa.create_engine(template.learning())
    migrations.migrate(engine)
    engine.dispose()
    yield address
    assert address.embedded is not None
    folder = address.embedded.folder
    address.embedded.stop()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(ROOM, ignore_errors=True)


@contextmanager
def copy_of(server: Address, template: str) -> Iterator[Address]:
    """A copy of a database, for as long as the context lasts; nobody may be connected to the original."""
    mine = server.with_database(f"t_{uuid.uuid4().hex}")
    engine = sa.create_engine(server.with_database("postgres").learning(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{mine.database}" TEMPLATE "{template}"'))
    yield mine
    with engine.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{mine.database}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture
def database(server: Address) -> Iterator[Address]:
    """A database of its own, with all tables and no rows."""
    with copy_of(server, "template_learning") as mine:
        yield mine


@pytest.fixture
def make_settings(database: Address, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a store of its own; keywords override."""

    def make(**overrides: object) -> Settings:
        values: dict[str, object] = {"home": tmp_path / "home", "database_url": database.learning(), **overrides}
        return Settings(**values)  # type: ignore[arg-type]

    return make


@pytest.fixture
def store(make_settings: Callable[..., Settings]) -> Store:
    """An empty store of the simulated market: 6 accounts of 5 or more owners."""
    settings = make_settings(sandbox={"accounts": 6, "ads": 12})
    return Store(settings, LAKE, lambda: open_identity(settings))


@pytest.fixture
def make_world(make_settings: Callable[..., Settings]) -> MakeWorld:
    """Worlds in the test's own database; give each its own `home` where there are several."""

    def make(platform: Source | None = None, **overrides: object) -> World:
        return World.of(make_settings(**overrides), platform)

    return make


LEARNED = {
    "sandbox": {"accounts": 6, "ads": 12, "impressions": 5_000},
    "patterns": {"min_accounts": 5, "q_active": 0.4, "q_deprecated": 0.6},
    "models": {"max_age_days": 4, "trees": 60},
    "formula": {"min_winners": 5, "min_scored": 20, "confidence_level": 0.8},
}
"""Settings of the world that has learned: six owners, bounds so loose that patterns come and go within days, a model that is contested twice,
a score from few ads."""

FACTS_FROM, LEARNED_FROM, LEARNED_UNTIL = date(2026, 1, 20), date(2026, 2, 22), date(2026, 3, 1)


@pytest.fixture(scope="session")
def _learned_once(server: Address) -> tuple[str, Path]:
    """A database and a home in which eight days were replayed on top of a month of facts. Nobody is connected to it."""
    name, home = "learned", ROOM / "learned"
    with copy_of(server, "template_learning") as draft:
        world = World.of(Settings(home=home, database_url=draft.learning(), **LEARNED))  # type: ignore[arg-type]
        world.fetch(FACTS_FROM, LEARNED_FROM - timedelta(days=1))
        replay(world.cycle, world.instance, world.store, days_between(LEARNED_FROM, LEARNED_UNTIL))
        world.store.tables.engine.dispose()
        engine = sa.create_engine(server.with_database("postgres").learning(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            leave = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
            connection.execute(sa.text(leave), {"name": draft.database})
            connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE "{draft.database}"'))
        engine.dispose()
    return name, home


@contextmanager
def _learned_copy(server: Address, once: tuple[str, Path], home: Path) -> Iterator[Learned]:
    shutil.copytree(once[1], home)
    with copy_of(server, once[0]) as mine:
        world = World.of(Settings(home=home, database_url=mine.learning(), **LEARNED))  # type: ignore[arg-type]
        parts = (world.settings, world.store, world.source, world.instance, world.definitions)
        yield Learned(*parts, FACTS_FROM, tuple(days_between(LEARNED_FROM, LEARNED_UNTIL)))


@pytest.fixture(scope="session")
def learned(server: Address, _learned_once: tuple[str, Path]) -> Iterator[Learned]:
    """A small simulated market that has learned eight days, for tests that only read.

    6 accounts of as many owners with 12 ads each; facts since FACTS_FROM, everything learned from LEARNED_FROM to LEARNED_UNTIL, the
    day before LEARNING_NOW. Made once a session (about 15 s); a test that changes anything takes `learned_copy`.
    """
    with _learned_copy(server, _learned_once, ROOM / "learned-to-read") as world:
        yield world


@pytest.fixture
def learned_copy(server: Address, _learned_once: tuple[str, Path], tmp_path: Path) -> Iterator[Learned]:
    """The world of `learned` for one test, which may change it (about 0.3 s)."""
    with _learned_copy(server, _learned_once, tmp_path / "home") as world:
        yield world


@pytest.fixture(scope="session")
def _messages_server() -> Iterator[MessagesApi]:
    with messages_api.serve() as api:
        yield api


@pytest.fixture
def api(_messages_server: MessagesApi) -> MessagesApi:
    """The Messages API on loopback, without faults and without memory of earlier tests."""
    _messages_server.forget()
    return _messages_server


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, where there is one."""
    folder = Path(os.environ.get("LEARNING_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}; set LEARNING_SHARED_DATA")
    return folder


@pytest.fixture
def run(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the world that has learned."""
    assert learned.settings.database_url is not None
    monkeypatch.setenv("LEARNING_HOME", str(learned.settings.home))
    monkeypatch.setenv("LEARNING_DATABASE_URL", learned.settings.database_url.get_secret_value())
    for group, values in LEARNED.items():
        for name, value in values.items():
            monkeypatch.setenv(f"LEARNING_{group}_{name}".upper(), str(value))
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
