"""Changes of the tables, one numbered revision per file of `versions`, applied by Alembic."""

from pathlib import Path

import sqlalchemy as sa

VERSION_TABLE = "learning_assets_revision"


class MigrationError(Exception):
    """The tables are not what this version of the code expects; the message names the remedy."""


def head() -> str:
    """The newest revision that this code knows."""
    return max(path.name.split("_")[0] for path in (Path(__file__).parent / "versions").glob("[0-9]*.py"))


def current(connection: sa.Connection) -> str | None:
    """The revision that a database is at, or None where it has no tables yet."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def migrate(engine: sa.Engine) -> None:
    """Bring a database to the newest revision; several processes may ask at once."""
    from alembic import command
    from alembic.config import Config

    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("migrate", 0))))
        if current(connection) == head():
            return
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def ensure_current(engine: sa.Engine, *, may_migrate: bool) -> None:
    """Migrate the embedded database at first use; refuse to work on a user's own that is behind or ahead.

    Raises
    ------
    MigrationError : with the remedy.
    """
    with engine.connect() as connection:
        found = current(connection)
    if found == head():
        return
    if found is not None and found > head():
        raise MigrationError(f"The database is at revision {found}, newer than this code ({head()}). Update learning_assets.")
    if not may_migrate:
        at = "has no tables yet" if found is None else f"is at revision {found}, {head()} is needed"
        raise MigrationError(f"The database of LEARNING_DATABASE_URL {at}. Run: learning-assets migrate")
    migrate(engine)
