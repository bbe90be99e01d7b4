"""The Graph server's own process: starting it for a while, or finding the one that serves a home.

What belongs here: processes, the address file and the lock by which several processes share one server. What does not: what the
server answers (`graph`), and steering it (`control`).

A server writes its address file when it listens. It ends on SIGTERM, when the process that started it for a while has ended, or
when nobody has asked for anything for `IDLE_SECONDS`.
"""

import contextlib
import fcntl
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from learning_assets.sandbox.control import Control, ControlError

IDLE_SECONDS = 900.0
START_SECONDS = 60.0
Market = Mapping[str, int | str | float]
_outliving: list[subprocess.Popen[bytes]] = []
"""Servers of homes that this process has started."""


class ProcessError(Exception):
    """A server could not be started or does not serve the market that was asked for; the message says the remedy."""


@contextmanager
def start(market: Market, *, now: datetime | None = None, state: Path | None = None, port: int = 0) -> Iterator[Control]:
    """A server of its own on the loopback interface, for as long as the context lasts.

    Parameters
    ----------
    market : epoch (ISO date), seed, accounts, ads, impressions, history_days; other numbers of `MarketParams` too.
    now : moment at which the server's clock stands until it is stepped; it follows the wall clock if none is given.
    state : file in which budget changes are kept over restarts.
    port : port to listen on; any free one by default.

    Raises
    ------
    ProcessError : the server did not start; the message has its last words.
    """
    with tempfile.TemporaryDirectory(prefix="learning-graph-") as room:
        address = Path(room) / "server.json"
        log = Path(room) / "server.log"
        child = _spawn(market, now=now, state=state, port=port, address=address, log=log, parent=os.getpid())
        try:
            yield _await(child, address, log)
        finally:
            _stop(child)


def ensure(home: Path, market: Market, *, now: datetime | None = None) -> Control:
    """The server of a home: the one that runs, or a new one that outlives this process.

    Several processes share it (a lock holds while one of them starts it). Budget changes are kept in the home. If `now` is given, the
    server's clock is set to it.

    Raises
    ------
    ProcessError : the home's server serves another market, or none could be started.
    """
    room = home / "sandbox"
    room.mkdir(parents=True, exist_ok=True)
    address, log = room / "server.json", room / "server.log"
    with (room / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        control = _running(address)
        if control is None:
            address.unlink(missing_ok=True)
            child = _spawn(market, now=now, state=room / "state.json", port=0, address=address, log=log, parent=None)
            # Ended ones are waited for here, so that none stays a zombie of a long process.
            _outliving[:] = [*(former for former in _outliving if former.poll() is None), child]
            return _await(child, address, log)
    served = control.about()["market"]
    if served != dict(market):
        differing = sorted(k for k in {*served, *market} if served.get(k) != market.get(k))
        raise ProcessError(
            f"the Graph server of {home} (process {control.pid}) serves another market: {', '.join(differing)} differ. "
            f"Stop it (kill {control.pid}) or use another home."
        )
    if now is not None and control.now() != now:
        control.step(now)
    return control


def _running(address: Path) -> Control | None:
    """The server of an address file, if it answers."""
    try:
        known = json.loads(address.read_text())
        control = Control(known["url"], known["token"], known["pid"])
    except (OSError, ValueError, KeyError):
        return None
    with contextlib.suppress(ControlError):
        control.about(seconds=10)
        return control
    return None


def _spawn(
    market: Market,
    *,
    now: datetime | None,
    state: Path | None,
    port: int,
    address: Path,
    log: Path,
    parent: int | None,
) -> subprocess.Popen[bytes]:
    options = {
        "market": dict(market),
        "now": now.isoformat() if now is not None else None,
        "state": str(state.resolve()) if state is not None else None,
        "port": port,
        "address": str(address.resolve()),
        "token": secrets.token_urlsafe(24),
        "parent": parent,
        "idle": IDLE_SECONDS,
    }
    with log.open("wb") as words:
        child = subprocess.Popen(
            [sys.executable, "-m", "learning_assets.sandbox.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=words,
            start_new_session=parent is None,
        )
    assert child.stdin is not None
    # The token goes by a pipe: arguments and the environment of a process can be read by others.
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(json.dumps(options).encode())
    return child


def _await(child: subprocess.Popen[bytes], address: Path, log: Path) -> Control:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if address.exists():
            control = _running(address)
            if control is not None:
                return control
        if child.poll() is not None:
            break
        time.sleep(0.02)
    else:
        _stop(child)
    words = log.read_text(errors="replace").strip().splitlines()
    raise ProcessError(f"the Graph server did not start: {words[-1] if words else 'it said nothing'} (see {log})")


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


# In the server's process.


def serve(options: Mapping[str, Any]) -> None:
    """Serve until SIGTERM, idleness, or the end of the parent; options as `_spawn` writes them."""
    import asyncio
    import signal
    import socket

    import uvicorn

    from learning_assets.sandbox.graph.answers import Graph
    from learning_assets.sandbox.graph.app import Protocol, Server, application
    from learning_assets.sandbox.graph.clock import Clock
    from learning_assets.sandbox.graph.world import World, market_of

    market, history_days = market_of(dict(options["market"]))
    clock = Clock(datetime.fromisoformat(options["now"]) if options["now"] else None)
    world = World(market, history_days, clock, Path(options["state"]) if options["state"] else None)
    # With the protocol named, asyncio sets TCP_NODELAY; without it every small reply waits for a delayed acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", int(options["port"])))
    control = Control(f"http://127.0.0.1:{listening.getsockname()[1]}", options["token"], os.getpid())
    server = Server(Graph(world, control.url, control.token), {"market": dict(options["market"])})
    config = uvicorn.Config(
        application(server),
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
    running = uvicorn.Server(config)

    # uvicorn ends on these signals and then raises them again, which would end the process before it has tidied up.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.SIG_IGN)

    async def main() -> None:
        address = Path(options["address"])
        serving = asyncio.create_task(running.serve(sockets=[listening]))
        while not running.started and not serving.done():
            await asyncio.sleep(0.005)
        _write_private(address, asdict(control))
        while not serving.done():
            await asyncio.sleep(0.5)
            orphaned = options["parent"] is not None and os.getppid() != options["parent"]
            if orphaned or time.monotonic() - server.last_request > float(options["idle"]):
                running.should_exit = True
        await serving
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads(address.read_text())["pid"] == os.getpid():
                address.unlink()

    asyncio.run(main())


def _write_private(path: Path, content: Mapping[str, object]) -> None:
    """Write a file that only its owner may read, at once."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
    beside.replace(path)


if __name__ == "__main__":
    serve(json.loads(sys.stdin.read()))
