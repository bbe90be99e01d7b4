"""Where Dagster keeps what is its own: runs and events in our PostgreSQL, artifacts and logs in our home folder.

What belongs here: the classes that `dagster.yaml` names. They need no configuration, so that every `dagster` command works in a
fresh clone; they read the same settings as everything else. What does not: anything that we have learned.

A relative `LEARNING_HOME` is one of the current folder, as everywhere; Dagster's processes keep the folder they started in.
"""

from typing import Any

from dagster._config import UserConfigSchema
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from typing_extensions import override

from learning_assets.settings import Settings
from learning_assets.store import address


def _folder(name: str) -> str:
    """A folder of Dagster's below `LEARNING_HOME`, absolute."""
    return str((Settings().home / "dagster" / name).expanduser().resolve())


class Storage(DagsterPostgresStorage):
    """Runs, events and schedules in the database `LEARNING_DAGSTER_DATABASE`, which is created as needed.

    The embedded server, where it is used, runs at least as long as the process that opened the storage.
    """

    @classmethod
    @override
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "Storage":
        found = address.resolve(Settings())
        found.ensure_dagster_database()
        return cls(found.dagster(), inst_data=inst_data)


class Artifacts(LocalArtifactStorage):
    """Files that Dagster passes between steps, below `LEARNING_HOME`."""

    @classmethod
    @override
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "Artifacts":
        return cls(_folder("artifacts"), inst_data=inst_data)


class ComputeLogs(LocalComputeLogManager):
    """What the steps print, below `LEARNING_HOME`."""

    @classmethod
    @override
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    @override
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "ComputeLogs":
        return cls(_folder("logs"), inst_data=inst_data)
