"""The code location: what it is made of, as a reviewed snapshot; that it hangs together; that it loads fast and anywhere.

After a change that is meant, `REWRITE_SNAPSHOT=1 .venv/bin/python -m pytest learning_assets_tests/test_definitions.py` writes
definitions.json anew, and the change is reviewed as a diff of that file.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from learning_assets.definitions import defs
from learning_assets.store.embedded import EmbeddedPostgres

PROJECT = Path(__file__).parents[1]
SNAPSHOT = Path(__file__).with_name("definitions.json")

EXTERNAL: frozenset[str] = frozenset()
"""Keys of the graph that something outside of it materializes. There is none."""

LOAD_SECONDS = 15
"""Budget for a fresh interpreter to load the code location; it takes 1.5 to 3 s on two cores, and more while they are busy."""

HEAVY = (
    "xgboost",
    "sklearn",
    "altair",
    "alembic",
    "wordllama",
    "scipy",
    "pandas",
    "vl_convert",
    "statsmodels",
    "dagster_slack",
)
"""What only training, drawing, migrating or sending needs: sensors and the UI load without them."""


def described() -> dict[str, Any]:
    """What a reviewer wants to see changing: the graph, the checks, and what starts runs."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    assets = {
        key.to_user_string(): {
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "group": node.group_name,
            "owners": sorted(node.owners),
            "kinds": sorted(node.kinds),
            "tags": {name: value for name, value in sorted(node.tags.items()) if not name.startswith("dagster/kind/")},
            "code_version": node.code_version,
            "partitions": partitions(node.partitions_def),
        }
        for key, node in sorted(((node.key, node) for node in graph.asset_nodes), key=lambda pair: pair[0])
    }
    checks = {
        f"{node.key.asset_key.to_user_string()}: {node.key.name}": {
            "blocking": node.blocking,
            "partitions": partitions(node.partitions_def),
        }
        for node in sorted(graph.asset_check_nodes, key=lambda one: (one.key.asset_key, one.key.name))
    }
    jobs = {
        job.name: {
            "assets": sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys),
            "ops": [] if job.asset_layer.executable_asset_keys else sorted(node.name for node in job.nodes),
            "tags": dict(sorted(job.tags.items())),
            "executor": job.executor_def.name,
        }
        for job in sorted(repository.get_all_jobs(), key=lambda one: one.name)
        if not job.name.startswith("__")
    }
    schedules = {
        schedule.name: {
            "cron": schedule.cron_schedule,
            "timezone": schedule.execution_timezone,
            "job": schedule.job_name,
            "status": schedule.default_status.name,
        }
        for schedule in sorted(repository.schedule_defs, key=lambda one: one.name)
    }
    sensors = {
        sensor.name: {
            "type": sensor.sensor_type.name,
            "jobs": sorted(target.job_name for target in sensor.targets),
            "status": sensor.default_status.name,
            "seconds": sensor.minimum_interval_seconds,
        }
        for sensor in sorted(repository.sensor_defs, key=lambda one: one.name)
    }
    return {"assets": assets, "checks": checks, "jobs": jobs, "schedules": schedules, "sensors": sensors}


def partitions(definition: dg.PartitionsDefinition[str] | None) -> str | None:
    """A partitioning but for its first day, which is each store's own."""
    if definition is None:
        return None
    assert isinstance(definition, dg.DailyPartitionsDefinition)
    return f"daily, end_offset={definition.end_offset}, {definition.timezone}"


def test_the_definitions_are_those_that_were_reviewed() -> None:
    found = described()
    if os.environ.get("REWRITE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n")
    assert found == json.loads(SNAPSHOT.read_text())


def test_no_dependency_dangles() -> None:
    """A key that nothing makes is one that is declared to come from outside."""
    graph = defs.get_repository_def().asset_graph
    made = {node.key.to_user_string() for node in graph.asset_nodes if node.is_executable}
    named = {key.to_user_string() for node in graph.asset_nodes for key in (node.key, *node.parent_keys)}
    assert named - made == EXTERNAL
    checked = {key.asset_key.to_user_string() for key in graph.asset_check_keys}
    assert checked <= made


def test_every_asset_introduces_itself() -> None:
    nodes = list(defs.get_repository_def().asset_graph.asset_nodes)
    assert len(nodes) >= 9
    for node in nodes:
        name = node.key.to_user_string()
        assert len((node.description or "").split()) >= 8, name
        assert node.group_name not in (None, "default"), name
        assert node.owners, name
        assert node.kinds, name
        assert node.code_version, name


def test_everything_that_a_person_can_start_says_what_it_does() -> None:
    repository = defs.get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    for one in (*jobs, *repository.schedule_defs, *repository.sensor_defs):
        assert len((one.description or "").split()) >= 6, one.name
    for node in repository.asset_graph.asset_check_nodes:
        assert len((node.description or "").split()) >= 5, node.key


def test_every_job_can_be_planned_for_a_day() -> None:
    repository = defs.get_repository_def()
    for name in ("learning_cycle", "retrain_check", "actuals_refresh"):
        job = repository.get_job(name)
        assert job.partitions_def is not None
        assert job.partitions_def.has_partition_key("2026-03-01"), name


LOAD = """
import json, sys, time
before = set(sys.modules)
began = time.perf_counter()
import learning_assets.definitions
print(json.dumps({"seconds": time.perf_counter() - began, "modules": sorted({name.split(".")[0] for name in sys.modules} - before)}))
"""


def fresh(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder with no variables but those that are named."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEARNING_", "DAGSTER_"))}
    environment = {**kept, "PYTHONPATH": str(PROJECT), **environment}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_location_loads_fast_and_without_what_is_heavy(tmp_path: Path) -> None:
    done = fresh(["-c", LOAD], tmp_path, LEARNING_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in HEAVY if name in found["modules"]] == []
    assert found["seconds"] < LOAD_SECONDS
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["store.json"], "loading opened more than the identity"


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A folder with the project's own configuration of Dagster and nothing else."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder)
    yield folder
    server = EmbeddedPostgres(folder / "home")
    if server.folder.exists():
        server.stop()
        shutil.rmtree(server.folder)


def validate(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    return fresh(command, clone, LEARNING_HOME=str(clone / "home"), **environment)


def test_dagster_validates_the_location_in_a_fresh_clone(clone: Path) -> None:
    done = validate(clone)
    assert done.returncode == 0, done.stderr
    assert "Validation successful for code location learning_assets" in done.stdout + done.stderr
    assert {path.name for path in clone.iterdir()} == {"dagster.yaml", "workspace.yaml", "home"}


WRONG = {
    "LEARNING_PATTERNS_Q_ACTIVE": ("2", "patterns.q_active"),
    "LEARNING_PATTERNS_Q_ACTIV": ("0.1", "patterns.q_activ"),
    "LEARNING_TIMEZONE": ("Mars/Olympus", "LEARNING_TIMEZONE: 'Mars/Olympus' is not an IANA time zone"),
    "LEARNING_NOW": ("2026-03-01T09:00:00", "LEARNING_NOW needs an offset"),
    "LEARNING_SOURCE": ("archive", "LEARNING_SOURCE=archive needs LEARNING_ARCHIVE_PATH"),
}
"""Variables with a value that is wrong, and what the error says of it."""

LOAD_WRONG = """
import json, os
said = {}
for name, value in json.loads(os.environ["CASES"]).items():
    os.environ[name] = value
    try:
        import learning_assets.definitions
    except Exception as error:
        said[name] = str(error)
    del os.environ[name]
print(json.dumps(said))
"""


def test_a_wrong_setting_stops_the_location_by_its_name(tmp_path: Path) -> None:
    cases = json.dumps({name: value for name, (value, _) in WRONG.items()})
    done = fresh(["-c", LOAD_WRONG], tmp_path, LEARNING_HOME=str(tmp_path / "home"), CASES=cases)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert {name: expected in said.get(name, "") for name, (_, expected) in WRONG.items()} == dict.fromkeys(WRONG, True), said
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LEARNING_PATTERNS_Q_ACTIVE", "2", "patterns.q_active"),
        ("LEARNING_DATABASE_URL", "mysql://u:s3cret@h/d", "LEARNING_DATABASE_URL is not the URL of a PostgreSQL"),
    ],
)
def test_dagster_does_not_validate_a_location_with_a_wrong_setting(clone: Path, name: str, value: str, said: str) -> None:
    done = validate(clone, **{name: value})
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr
