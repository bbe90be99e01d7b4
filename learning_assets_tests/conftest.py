"""Fixtures: one embedded Postgres for the whole session, a database and a home of its own for each store."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
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

import sqlalchemy as sa  # noqa: E402

from learning_assets.assets import LAKE  # noqa: E402
from learning_assets.opening import open_identity  # noqa: E402
from learning_assets.settings import Settings  # noqa: E402
from learning_assets.store import address as addresses  # noqa: E402
from learning_assets.store import migrations  # noqa: E402
from learning_assets.store.address import Address  # noqa: E402
from learning_assets.store.store import Store  # noqa: E402


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


@pytest.fixture
def database(server: Address) -> Iterator[Address]:
    """A database of its own, with all tables and no rows."""
    mine = server.with_database(f"t_{uuid.uuid4().hex}")
    engine = sa.create_engine(server.with_database("postgres").learning(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{mine.database}" TEMPLATE template_learning'))
    yield mine
    with engine.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{mine.database}" WITH (FORCE)'))
    engine.dispose()


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


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, where there is one."""
    folder = Path(os.environ.get("LEARNING_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}; set LEARNING_SHARED_DATA")
    return folder
