"""Addresses: what people write into LEARNING_DATABASE_URL, right and wrong, against a server that asks for passwords."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa

from learning_assets.settings import Settings
from learning_assets.store import embedded
from learning_assets.store.address import Address, AddressError, parse, resolve

PASSWORD = "p@ss/w:o#rd %41+é?"
"""Every character that has to be percent-encoded in a URL, and one sequence that looks as if it were."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """`host:port` of a PostgreSQL on TCP that asks for passwords: role `owner`, and role `limited`, which may not create databases."""
    account = embedded._account()
    install = embedded._install_for(account)
    folder = Path(tempfile.mkdtemp(prefix="learning-guarded-"))
    folder.chmod(0o755)
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o644)
    (folder / "data").mkdir(mode=0o700)
    if account.switch:
        shutil.chown(folder / "data", account.uid, account.gid)
    initdb = [str(install / "bin" / "initdb"), f"--pgdata={folder / 'data'}", "--username=owner", "--encoding=UTF8"]
    initdb += ["--locale=C", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/", **account.popen())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(install / "bin" / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **account.popen())
    try:
        deadline = time.monotonic() + 30
        while True:
            with suppress(psycopg.OperationalError):
                connection = psycopg.connect(
                    host="127.0.0.1", port=port, user="owner", password=PASSWORD, dbname="postgres", autocommit=True
                )
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with connection:
            connection.execute("CREATE ROLE limited LOGIN PASSWORD 'small secret'")
            connection.execute("CREATE DATABASE ads")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def url(guarded: str, database: str = "ads", scheme: str = "postgresql") -> str:
    return f"{scheme}://owner:{quote(PASSWORD, safe='')}@{guarded}/{database}"


def settings(database_url: str, **overrides: str) -> Settings:
    return Settings.model_validate({"database_url": database_url, **overrides})


def everything_said(error: BaseException) -> str:
    """The error with all its causes, contexts and arguments: what a log shows, lines of source left out."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None:
        chain.append(step)
        step = step.__cause__ or step.__context__
    return "\n".join(f"{link} {link!r} {link.args}" for link in chain)


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "POSTGRESQL+asyncpg"]
)
def test_every_spelling_reaches_the_server_through_every_driver(guarded: str, scheme: str) -> None:
    address = resolve(settings(url(guarded, scheme=scheme) + "?application_name=ads%20learner&sslmode=prefer"))
    address.ensure_dagster_database()
    for spelled, driver, database in ((address.learning(), "psycopg", "ads"), (address.dagster(), "psycopg2", "dagster")):
        engine = sa.create_engine(spelled)
        assert engine.driver == driver
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT current_database(), current_user")).one() == (database, "owner")
            assert connection.execute(sa.text("SHOW application_name")).scalar() == "ads learner"
        engine.dispose()
    found = pl.read_database_uri("SELECT current_database()::text AS name", address.libpq(), engine="adbc")
    assert found["name"].to_list() == ["ads"]
    with psycopg.connect(address.libpq("postgres")) as connection:
        assert connection.info.dbname == "postgres"


def test_nothing_that_is_printed_shows_a_password(guarded: str) -> None:
    address = resolve(settings(url(guarded)))
    shown = f"{address} {address!r} {address.with_database('other')!r}"
    assert "ads on 127.0.0.1" in shown
    assert PASSWORD not in shown
    assert quote(PASSWORD, safe="") not in shown


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("mysql://me:hush-hush@host/ads", "not the URL of a PostgreSQL"),
        ("hush-hush", "no scheme"),
        ("host=localhost password=hush-hush", "no scheme"),
        ("", "no scheme"),
        ("postgresql://me:hush-hush@host:five/ads", "port"),
        ("postgresql://me:hush-hush@host:70000/ads", "port"),
        ("postgresql://me:hush-hush@host", "names no database"),
        ("postgresql://me:hush-hush@host/", "names no database"),
        ("postgresql://me:x@hush-hush@host/ads", "%40"),
        ("postgresql://me:hush-hush@host/dagster", "LEARNING_DAGSTER_DATABASE"),
    ],
)
def test_a_url_that_cannot_be_right_is_refused_before_anything_is_asked(text: str, remedy: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse(text)
    assert "LEARNING_DATABASE_URL" in str(caught.value)
    assert remedy in str(caught.value)
    assert "hush-hush" not in everything_said(caught.value)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (lambda good: good.replace("owner:", "owner:hush"), "Check its user and password"),
        (lambda good: good.replace("owner:", "nobody-of-this-name:"), "Check its user and password"),
        (lambda good: good.replace("/ads", "/no_such_database"), 'CREATE DATABASE "no_such_database"'),
        (lambda good: good.replace("127.0.0.1", "no-such-host.invalid"), "Check its host name"),
        (lambda good: good.rsplit(":", 1)[0] + ":1/ads", "Check that the server runs"),
        (lambda good: good + "?sslmode=require", "sslmode"),
        (lambda good: good + "?flavour=vanilla", "Leave out what libpq does not know"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_explained_without_the_password(
    guarded: str, change: Callable[[str], str], remedy: str
) -> None:
    with pytest.raises(AddressError) as caught:
        resolve(settings(change(url(guarded))))
    said = everything_said(caught.value)
    assert "LEARNING_DATABASE_URL" in str(caught.value)
    assert remedy in str(caught.value)
    for secret in (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), "p@ss"):
        assert secret not in said


def test_a_password_among_the_parameters_is_a_password(guarded: str) -> None:
    address = resolve(settings(f"postgresql://owner@{guarded}/ads?password={quote(PASSWORD, safe='')}"))
    assert PASSWORD not in repr(address)
    with sa.create_engine(address.learning()).connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    with pytest.raises(AddressError) as caught:
        resolve(settings(f"postgresql://owner@{guarded}/ads?password=hush-hush"))
    assert "hush-hush" not in everything_said(caught.value)


def test_dagsters_database_that_may_not_be_created_is_asked_for(guarded: str) -> None:
    limited = settings(f"postgresql://limited:small%20secret@{guarded}/ads", dagster_database="orchestration")
    with pytest.raises(
        AddressError, match=r"'orchestration' does not exist.*CREATE DATABASE \"orchestration\" OWNER \"limited\""
    ) as caught:
        resolve(limited).ensure_dagster_database()
    assert "small secret" not in everything_said(caught.value)
    with psycopg.connect(parse(url(guarded)).libpq(), autocommit=True) as owner:
        owner.execute("CREATE DATABASE orchestration OWNER limited")
    resolve(limited).ensure_dagster_database()


def test_the_embedded_server_serves_every_driver_and_any_database(server: Address) -> None:
    mine = server.with_database("with space + ünïcode")
    mine.ensure_database()
    mine.ensure_database()
    mine.verify()
    with sa.create_engine(mine.learning()).connect() as connection:
        assert connection.execute(sa.text("SELECT current_database()")).scalar() == mine.database
    found = pl.read_database_uri("SELECT current_database()::text AS name", mine.libpq(), engine="adbc")
    assert found["name"].to_list() == [mine.database]
    with sa.create_engine(mine.dagster()).connect() as connection:
        assert connection.execute(sa.text("SELECT current_database()")).scalar() == "dagster"
    assert "on the embedded PostgreSQL in" in str(mine)
    # Its own URL is one that a person may set, too.
    again = resolve(settings(mine.learning()))
    assert again.database == mine.database
    with psycopg.connect(server.libpq("postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{mine.database}" WITH (FORCE)')  # type: ignore[arg-type]
