"""The Dagster UI as a person opens it: the graph and a page of what was learned, all daemons healthy, and nothing left when it stops."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import sqlalchemy as sa

from learning_assets.assets import GROUPS
from learning_assets.automation.replay import replay
from learning_assets.clock import days_between
from learning_assets.settings import Settings
from learning_assets.store.address import Address
from learning_assets_tests.conftest import copy_of
from learning_assets_tests.world import World

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROJECT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
START_SECONDS, STOP_SECONDS = 120, 30

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (Debian: apt-get install chromium)"),
]


@dataclass(frozen=True)
class Served:
    """`dagster dev` that serves a small learned home."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def ask(self, query: str) -> dict[str, Any]:
        """Answer of the GraphQL server."""
        request = urllib.request.Request(
            f"{self.url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return found["data"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def served(server: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two days are learned into Dagster's own storage, and served from a copy of the project's configuration."""
    from dagster import DagsterInstance

    folder = tmp_path_factory.mktemp("served")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    with copy_of(server, "template_learning") as database, pytest.MonkeyPatch.context() as patch:
        dagster_database = f"{database.database}_dagster"
        environment = {
            "LEARNING_START_DAY": "2026-02-01",
            "LEARNING_HOME": str(folder / "home"),
            "LEARNING_DATABASE_URL": database.learning(),
            "LEARNING_DAGSTER_DATABASE": dagster_database,
            "LEARNING_SANDBOX_ACCOUNTS": "5",
            "LEARNING_SANDBOX_ADS": "6",
            "LEARNING_SANDBOX_IMPRESSIONS": "3000",
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        world = World.of(Settings())
        with DagsterInstance.from_config(str(folder)) as instance:
            replay(world.cycle, instance, world.store, days_between(date(2026, 2, 28), date(2026, 3, 1)))
        world.store.tables.engine.dispose()
        port, log = free_port(), folder / "dev.log"
        command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running = Served(process, f"http://127.0.0.1:{port}", log)
        try:
            wait_for_server(running)
            yield running
        finally:
            kill(process)
            engine = sa.create_engine(server.with_database("postgres").learning(), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{dagster_database}" WITH (FORCE)'))
            engine.dispose()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that a test has not stopped, and all that it has started."""
    if process.poll() is None:
        for one in (*psutil.Process(process.pid).children(recursive=True), process):
            one.kill()
    process.wait()


def wait_for_server(running: Served) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert running.process.poll() is None, running.log.read_text()
        try:
            if running.ask("{ version }")["version"]:
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"the UI did not answer within {START_SECONDS} s:\n{running.log.read_text()}")


def test_every_daemon_is_healthy_and_everything_runs_by_default(served: Served) -> None:
    query = (
        "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy lastHeartbeatErrors { message } } } } }"
    )
    deadline = time.monotonic() + START_SECONDS
    while True:
        daemons = served.ask(query)["instance"]["daemonHealth"]["allDaemonStatuses"]
        required = {one["daemonType"]: one for one in daemons if one["required"]}
        if all(one["healthy"] for one in required.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert required.keys() >= {"SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING", "BACKFILL", "ASSET"}
    assert {name: (one["healthy"], one["lastHeartbeatErrors"]) for name, one in required.items()} == {
        name: (True, []) for name in required
    }
    (location,) = served.ask(
        "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"
    )["workspaceOrError"]["locationEntries"]
    assert location == {"name": "learning_assets", "locationOrLoadError": {"__typename": "RepositoryLocation"}}
    (repository,) = served.ask(
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { "
        "schedules { name scheduleState { status } } sensors { name sensorState { status } } } } } }"
    )["repositoriesOrError"]["nodes"]
    states = {one["name"]: one["scheduleState"]["status"] for one in repository["schedules"]}
    states |= {one["name"]: one["sensorState"]["status"] for one in repository["sensors"]}
    assert states == dict.fromkeys(states, "RUNNING")
    assert len(states) == 12


@pytest.fixture(scope="module")
def page(served: Served) -> Iterator["Page"]:
    """A browser's page; what goes wrong in it is kept in the page's own script."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000}, base_url=served.url)
        page.set_default_timeout(30_000)
        # The UI invites to its community in a box of its own, now and then, and over whatever is shown.
        page.add_locator_handler(page.get_by_text("Skip", exact=True), lambda skip: skip.click())
        yield page
        browser.close()


def look(page: "Page", path: str, *expected: str) -> str:
    """All text of a page, once it shows what is expected of it and without an error."""
    wrong: list[str] = []

    def keep(error: object) -> None:
        wrong.append(str(error))

    page.on("pageerror", keep)
    page.goto(path)
    for text in expected:
        page.get_by_text(text, exact=True).first.wait_for()
    page.remove_listener("pageerror", keep)
    shown = page.inner_text("body")
    assert wrong == []
    assert not re.search(
        r"GraphQL error|unexpected error|something went wrong|failed to load|not found|PythonError", shown, re.I
    ), shown
    return shown


def test_the_graph_shows_the_groups(page: "Page") -> None:
    shown = look(page, "/asset-groups", "Global asset lineage", *set(GROUPS.values()))
    assert "Materialize all" in shown


def test_the_page_of_patterns_shows_what_a_day_taught(page: "Page") -> None:
    shown = look(page, "/assets/patterns?view=partitions&partition=2026-03-01", "Materialized (2)", "table", "patterns_testing")
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    assert int(lines[lines.index("patterns_testing") + 1]) > 0
    assert "Failed (0)" in lines
    page.get_by_text("[Show Markdown]").first.click()
    dialog = page.get_by_role("dialog").filter(has=page.get_by_role("columnheader", name="what was found"))
    dialog.get_by_role("columnheader", name="what was found").first.wait_for()
    said = dialog.inner_text()
    assert "Simulated market." in said
    assert "The surest patterns of the" in said


def test_an_asset_introduces_itself(page: "Page") -> None:
    look(
        page,
        "/assets/patterns",
        "Description",
        "Which creative choices lift CTR, CVR and ROAS, as of the day, by account, by niche and over all consenting accounts.",
    )


def test_it_stops_at_an_interrupt_and_leaves_nothing_running(served: Served) -> None:
    whole = psutil.Process(served.process.pid)
    family = whole.children(recursive=True)
    assert len(family) >= 3
    served.process.send_signal(signal.SIGINT)
    served.process.wait(timeout=STOP_SECONDS)
    _, left = psutil.wait_procs(family, timeout=STOP_SECONDS)
    assert left == []
    assert {path.name for path in served.log.parent.iterdir()} == {"dagster.yaml", "workspace.yaml", "home", "dev.log"}
    assert "Traceback" not in served.log.read_text()
