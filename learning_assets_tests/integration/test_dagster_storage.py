"""Dagster on our storage: the instance of `dagster.yaml`, opened in a fresh folder with nothing set."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from learning_assets.store.address import Address
from learning_assets.store.embedded import EmbeddedPostgres

PROJECT = Path(__file__).parents[2]

RUN = """
import json, os
import dagster as dg
from dagster._core.instance.ref import InstanceRef

@dg.asset
def greeting() -> None:
    print("written by a step")

instance = dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else dg.DagsterInstance.from_ref(InstanceRef.from_dir(os.getcwd()))
# What a run's own process does: the instance travels as text.
with dg.DagsterInstance.from_ref(InstanceRef.from_dict(instance.get_ref().to_dict())) as again:
    done = dg.materialize([greeting], instance=again)
record = instance.get_latest_materialization_event(dg.AssetKey("greeting"))
print(json.dumps({
    "run": done.run_id == record.run_id,
    "engine": instance.event_log_storage.postgres_url.split("://")[0],
    "artifacts": instance.storage_directory(),
    "telemetry": instance.telemetry_enabled,
    "retry_failures": instance.get_settings("run_retries")["retry_on_asset_or_op_failure"],
    "free_slots": instance.get_settings("run_monitoring")["free_slots_after_run_end_seconds"],
}))
"""


@pytest.fixture
def clone() -> Iterator[Path]:
    """A project folder of its own, without an environment."""
    folder = Path(tempfile.mkdtemp(prefix="learning clone "))
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    yield folder
    server = EmbeddedPostgres(folder / ".learning")
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)
    shutil.rmtree(folder)


def run(folder: Path, **environment: str) -> dict[str, object]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEARNING_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_fresh_clone_needs_no_environment(clone: Path) -> None:
    found = run(clone)
    assert found == {
        "run": True,
        "engine": "postgresql+psycopg2",
        "artifacts": str((clone / ".learning" / "dagster" / "artifacts" / "storage").resolve()),
        "telemetry": False,
        "retry_failures": False,
        "free_slots": 300,
    }
    logs = list((clone / ".learning" / "dagster" / "logs").rglob("*.out"))
    assert ["written by a step" in log.read_text() for log in logs] == [True]
    server = EmbeddedPostgres(clone / ".learning")
    assert server.data.is_dir()
    until = time.monotonic() + 20  # the server stops a moment after its last user has gone
    while server.status().running and time.monotonic() < until:
        time.sleep(0.1)
    assert not server.status().running
    assert {path.name for path in clone.iterdir()} == {".learning", "dagster.yaml", "workspace.yaml"}


def test_a_database_and_a_home_that_are_set_are_used(clone: Path, server: Address, tmp_path: Path) -> None:
    settings = {"LEARNING_DATABASE_URL": server.learning(), "LEARNING_DAGSTER_DATABASE": "dagster_elsewhere"}
    found = run(clone, DAGSTER_HOME=str(clone), LEARNING_HOME=str(tmp_path / "home"), **settings)
    assert found["run"] is True
    assert found["artifacts"] == str(tmp_path / "home" / "dagster" / "artifacts" / "storage")
    assert not (clone / ".learning").exists()


def test_the_instance_reads_no_environment_of_its_own() -> None:
    """A variable that is not set would fail every dagster command in the folder, validation included."""
    for name in ("dagster.yaml", "workspace.yaml"):
        text = (PROJECT / name).read_text()
        assert yaml.safe_load(text)
        assert "env:" not in text
