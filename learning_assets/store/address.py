"""Which PostgreSQL is used, and how each of its drivers is told.

What belongs here: the `LEARNING_DATABASE_URL` of the user or the embedded server, spelled for SQLAlchemy, Dagster and ADBC, and
proof that it answers. What does not: running the embedded server (`embedded.py`), and tables.

A password never leaves this module except inside the URLs that need it: not in an error, its cause or context, nor in a `repr`.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError

from learning_assets.settings import Settings
from learning_assets.store.embedded import DATABASES, PORT, ROLE, EmbeddedPostgres

if TYPE_CHECKING:
    import psycopg

CONNECT_SECONDS = 10
"""How long a server may take to answer before it counts as unreachable."""

_FORM = "postgresql://user:password@host:5432/database"
_EMBEDDED = "Or unset LEARNING_DATABASE_URL to use the embedded PostgreSQL."


class AddressError(RuntimeError):
    """The PostgreSQL that is set cannot be used; the message names the setting and the remedy, never the password."""


@dataclass(frozen=True, slots=True)
class Address:
    """A PostgreSQL database, and beside it on the same server the one of Dagster's storage."""

    url: sa.URL = field(repr=False)
    database: str
    dagster_database: str
    embedded: EmbeddedPostgres | None
    """The embedded server, or None where the user has set one."""

    def learning(self) -> str:
        """URL of our tables for SQLAlchemy with psycopg 3; holds the password."""
        return self._sqlalchemy("postgresql+psycopg", self.database)

    def dagster(self) -> str:
        """URL of Dagster's storage for SQLAlchemy with psycopg2, which is what Dagster needs; holds the password."""
        return self._sqlalchemy("postgresql+psycopg2", self.dagster_database)

    def libpq(self, database: str | None = None) -> str:
        """URL for libpq (ADBC, psql, psycopg) of `database`, by default our own; holds the password."""
        url = self.url
        user = "" if url.username is None else quote(url.username, safe="")
        password = "" if url.password is None else ":" + quote(str(url.password), safe="")
        host = f"[{url.host}]" if url.host and ":" in url.host else url.host or ""
        port = "" if url.port is None else f":{url.port}"
        # libpq takes `+` for itself, so a space is written as %20.
        query = urlencode(url.query, doseq=True, quote_via=quote, safe="")
        return f"postgresql://{user}{password}@{host}{port}/{quote(database or self.database, safe='')}{query and '?' + query}"

    def with_database(self, name: str) -> "Address":
        """The same server with `name` as the database of our tables. `ensure_database` makes it."""
        return replace(self, database=name)

    def ensure_database(self) -> None:
        """Create the database of our tables unless there is one.

        Raises
        ------
        AddressError : it is missing and the user may not create it.
        """
        self._ensure(self.database, "LEARNING_DATABASE_URL")

    def ensure_dagster_database(self) -> None:
        """Create the database of Dagster's storage unless there is one.

        Raises
        ------
        AddressError : it is missing and the user may not create it, or may not connect to it.
        """
        self._ensure(self.dagster_database, "LEARNING_DAGSTER_DATABASE")

    def verify(self, database: str | None = None) -> None:
        """Connect once to `database`, by default our own.

        Raises
        ------
        AddressError : no answer, wrong password, no such database.
        """
        self._connect(database or self.database).close()

    def __str__(self) -> str:
        """The server and database as a person reads them, without a password."""
        if self.embedded is not None:
            return f"{self.database} on the embedded PostgreSQL in {self.embedded.folder}"
        host = self.url.host or self.url.query.get("host", "the local socket")
        return f"{self.database} on {host if isinstance(host, str) else ', '.join(host)}"

    def _sqlalchemy(self, driver: str, database: str) -> str:
        return self.url.set(drivername=driver, database=database).render_as_string(hide_password=False)

    def _ensure(self, name: str, setting: str) -> None:
        import psycopg
        from psycopg import sql

        # One of the two exists: the other is made from within it.
        inside = self.database if name != self.database else ROLE if self.embedded is not None else self.dagster_database
        failure = None
        with self._connect(inside) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                present = True
            else:
                present = False
                try:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    present = True
                except psycopg.Error as error:
                    failure = self._scrubbed(error)
        if failure is not None:
            raise AddressError(
                f"The database {name!r} does not exist on the server of LEARNING_DATABASE_URL and cannot be created: {failure}. Have "
                f'an administrator run `CREATE DATABASE "{name}" OWNER "{self.url.username}"`, or name another in {setting}.'
            )
        if present:
            self.verify(name)

    def _connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        import psycopg

        failure = None
        try:
            return psycopg.connect(
                self.libpq(database),
                autocommit=True,
                connect_timeout=int(str(self.url.query.get("connect_timeout", CONNECT_SECONDS))),
            )
        except (psycopg.Error, ValueError) as error:
            failure = self._scrubbed(error)
        # Raised outside of the handler: an exception's context would carry the driver's own words along.
        raise AddressError(f"{self._setting()}: {failure}. {self._remedy(failure, database)}")

    def _setting(self) -> str:
        return "LEARNING_DATABASE_URL" if self.embedded is None else f"The embedded PostgreSQL in {self.embedded.folder}"

    def _remedy(self, failure: str, database: str) -> str:
        if self.embedded is not None:
            return f"See {self.embedded.log}."
        if "authentication failed" in failure or "no password supplied" in failure:
            return f"Check its user and password; percent-encode characters such as @ / : # in the password. {_EMBEDDED}"
        if f'database "{database}" does not exist' in failure:
            return f'Create it (`CREATE DATABASE "{database}"`) or name an existing one. {_EMBEDDED}'
        if "could not translate host name" in failure or "failed to resolve host" in failure:
            return f"Check its host name. {_EMBEDDED}"
        if "connection option" in failure or "URI query parameter" in failure:
            return f"Leave out what libpq does not know (a URL is of the form {_FORM}?sslmode=require). {_EMBEDDED}"
        return f"Check that the server runs, its host, port and firewall, and `sslmode` where it asks for TLS. {_EMBEDDED}"

    def _scrubbed(self, error: Exception) -> str:
        return _without_password(" ".join(str(error).split()).rstrip("."), self.url)


def resolve(settings: Settings) -> Address:
    """The PostgreSQL of these settings, known to answer: the user's, or the embedded one, which is made and started as needed.

    The embedded server is held until this process ends.

    Raises
    ------
    AddressError : `LEARNING_DATABASE_URL` is not the URL of a PostgreSQL that lets us in.
    EmbeddedPostgresError : the embedded server cannot be run.
    """
    if settings.database_url is None:
        return of_embedded(EmbeddedPostgres(settings.home, settings.postgres_dir), settings.dagster_database)
    address = parse(settings.database_url.get_secret_value(), settings.dagster_database)
    address.verify()
    return address


def of_embedded(server: EmbeddedPostgres, dagster_database: str = DATABASES[1]) -> Address:
    """The databases of an embedded server, which is started as needed and held until this process ends.

    Raises
    ------
    EmbeddedPostgresError : it cannot be run.
    """
    socket = str(server.ensure_running())
    _embedded[socket] = server
    url = sa.URL.create("postgresql", username=ROLE, port=PORT, query={"host": socket})
    return Address(url, DATABASES[0], dagster_database, server)


_embedded: dict[str, EmbeddedPostgres] = {}
"""The embedded servers of this process, by the folders of their sockets."""


@event.listens_for(sa.Engine, "do_connect")
def _start_again(dialect: sa.Dialect, _record: object, arguments: list[Any], parameters: dict[str, Any]) -> Any:
    """Connect to an embedded server that was killed by starting it again; Dagster's engines have no other way to it.

    None, which leaves it to SQLAlchemy, where the server is another. One that this process has let go of is not started again.
    """
    server = _embedded.get(parameters.get("host", ""))
    if server is None:
        return None
    try:
        return dialect.connect(*arguments, **parameters)
    except dialect.loaded_dbapi.OperationalError:
        if not server.held:
            raise
        server.ensure_running()
        return dialect.connect(*arguments, **parameters)


def parse(text: str, dagster_database: str = DATABASES[1]) -> Address:
    """The address that a user's URL gives; nothing is connected to.

    `postgres://`, `postgresql://` and `postgresql+driver://` are understood, as are libpq's parameters (`sslmode`, `host` for a
    socket).

    Raises
    ------
    AddressError : it is not a URL of a PostgreSQL database.
    """
    scheme, mark, rest = text.strip().partition("://")
    name = scheme.split("+")[0].lower()
    if not mark or name not in {"postgres", "postgresql"}:
        # A text without a scheme may be a password; it is not repeated.
        found = f"its scheme is {name!r}" if mark and name.isalnum() else "it has no scheme"
        raise AddressError(f"LEARNING_DATABASE_URL is not the URL of a PostgreSQL: {found}. It should be {_FORM}. {_EMBEDDED}")
    url = None
    try:
        url = sa.make_url(f"postgresql://{rest}")
        port_is_good = url.port is None or 0 < url.port < 65536
    except (ArgumentError, ValueError):
        port_is_good = False
    if url is None or not port_is_good:
        raise AddressError(
            f"LEARNING_DATABASE_URL cannot be read: its port is not a number from 1 to 65535, or its parts are out of order. "
            f"It should be {_FORM}; percent-encode characters such as @ / : # in the password. {_EMBEDDED}"
        )
    if "@" in (url.host or "") or "@" in (url.database or ""):
        raise AddressError(
            f"LEARNING_DATABASE_URL has more than one @. Write the one in the user name or password as %40. {_EMBEDDED}"
        )
    if isinstance(hidden := url.query.get("password"), str):
        url = url.set(password=url.password or hidden).difference_update_query(["password"])
    if isinstance(named := url.query.get("dbname"), str):
        url = url.set(database=url.database or named).difference_update_query(["dbname"])
    if not url.database:
        raise AddressError(f"LEARNING_DATABASE_URL names no database. It should be {_FORM}. {_EMBEDDED}")
    if url.database == dagster_database:
        raise AddressError(
            f"LEARNING_DATABASE_URL names the database {dagster_database!r}, which is Dagster's own. "
            "Name another in it, or another for Dagster in LEARNING_DAGSTER_DATABASE: both keep a table `alembic_version`."
        )
    return Address(url, url.database, dagster_database, None)


def _without_password(text: str, url: sa.URL) -> str:
    secrets = [url.password, url.query.get("sslpassword")]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            for written in (secret, quote(secret, safe="")):
                text = text.replace(written, "***")
    return text
