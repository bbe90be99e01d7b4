"""The warehouse's address, and a transaction in it that cannot write.

What belongs here: understanding LEARNING_WAREHOUSE_URL, opening a read-only transaction, and telling what the driver refused without the
password. What does not: which tables there are and what stands in them (`tables`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

from learning_assets.platforms.source import SourceError
from learning_assets.settings import Warehouse

if TYPE_CHECKING:
    import sqlalchemy as sa

CONNECT_SECONDS = 10


class Database:
    """The warehouse's database by its settings; nothing is connected before it is read."""

    def __init__(self, settings: Warehouse) -> None:
        self.settings = settings

    @contextmanager
    def read_only(self) -> Iterator["sa.Connection"]:
        """A connection in one read-only transaction.

        Raises
        ------
        SourceError : the address is none, or the database refuses, also while it is read; the message names the setting and the remedy,
            never the password.
        """
        from sqlalchemy import exc

        failure = ""
        engine = self._engine
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "postgresql":
                    connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                yield connection
        except (exc.SQLAlchemyError, OSError) as error:
            failure = _scrubbed(error, self._url)
        if failure:
            raise SourceError(
                f"LEARNING_WAREHOUSE_URL ({self._shown()}): {failure}. Check that it answers, and that its user may read "
                f"the tables of the schema {self.settings.db_schema or 'by default'} (LEARNING_WAREHOUSE_DB_SCHEMA)."
            ) from None

    @cached_property
    def _engine(self) -> "sa.Engine":
        import sqlalchemy as sa
        from sqlalchemy import exc
        from sqlalchemy.pool import NullPool

        url = self._url
        # A server that does not answer is an error, not a wait without end.
        options = {"connect_args": {"connect_timeout": CONNECT_SECONDS}} if url.get_backend_name() == "postgresql" else {}
        failure = ""
        try:
            return sa.create_engine(url, poolclass=NullPool, hide_parameters=True, **options)
        except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
            failure = _scrubbed(error, url)
        raise SourceError(
            f"LEARNING_WAREHOUSE_URL: {failure}. Install the SQLAlchemy dialect and the driver of {url.drivername}."
        )

    @cached_property
    def _url(self) -> "sa.URL":
        import sqlalchemy as sa
        from sqlalchemy import exc

        if self.settings.url is None:
            raise SourceError(
                "LEARNING_SOURCE=warehouse needs LEARNING_WAREHOUSE_URL, such as postgresql://user:password@host:5432/database."
            )
        url = None
        try:
            url = sa.make_url(self.settings.url.get_secret_value().strip())
        except (exc.ArgumentError, ValueError):
            # Said outside of the handler: the text holds the password.
            url = None
        if url is None:
            raise SourceError(
                "LEARNING_WAREHOUSE_URL is not an address of SQLAlchemy. It should be of the form "
                "postgresql://user:password@host:5432/database; percent-encode characters such as @ / : # in the password."
            )
        return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url

    def _shown(self) -> str:
        """The address as a person may see it: parameters may hold secrets, too."""
        return self._url.set(query={}).render_as_string(hide_password=True)


def _scrubbed(error: BaseException, url: "sa.URL") -> str:
    """What the driver says, on one line, without the statement and the password."""
    cause = getattr(error, "orig", None) or error
    text = re.sub(r"\s+", " ", str(cause).split("[SQL:")[0]).strip().rstrip(".")
    for secret in (url.password, url.query.get("password"), url.query.get("sslpassword")):
        if isinstance(secret, str) and secret:
            for written in (secret, quote(secret, safe="")):
                text = text.replace(written, "***")
    return text
