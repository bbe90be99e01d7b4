"""The Graph server's process: started for a while, shared by a home, killed, restarted."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from learning_assets.sandbox.control import Control, ControlError
from learning_assets.sandbox.process import ProcessError, ensure, start
from learning_assets_tests.sandbox.graph_client import DOLLARS, MARKET, NOW, Client

SMALL = {**MARKET, "accounts": 2, "ads": 9}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose server ends with the test."""
    yield tmp_path
    address = tmp_path / "sandbox" / "server.json"
    if address.exists():
        end(json.loads(address.read_text())["pid"])


def end(pid: int, how: int = signal.SIGTERM) -> None:
    """End a process, and wait until it has ended."""
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return
    for _ in range(500):
        if not alive(pid):
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} does not end")


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def budget(client: Client) -> tuple[str, int]:
    """An ad set that has a budget of its own."""
    found = [s for s in client.rows(f"act_{DOLLARS}/adsets", fields="daily_budget", limit=100) if "daily_budget" in s]
    return found[-1]["id"], int(found[-1]["daily_budget"])


def test_it_ends_with_the_context():
    with start(SMALL, now=NOW) as control:
        assert alive(control.pid)
        assert control.now() == NOW
        assert control.url.startswith("http://127.0.0.1:")
    assert not alive(control.pid)
    with pytest.raises(ControlError, match="does not answer"):
        control.now()


def test_a_restarted_server_still_has_the_budgets(tmp_path: Path):
    state = tmp_path / "state.json"
    with start(SMALL, now=NOW, state=state) as control:
        client = Client(control)
        entity, before = budget(client)
        client.post(entity, daily_budget=before + 11)
        end(control.pid, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == [state]
    with start(SMALL, now=NOW + timedelta(hours=5), state=state) as control:
        client = Client(control)
        assert client.get(entity, fields="daily_budget").json()["daily_budget"] == str(before + 11)
        events = client.rows(f"act_{DOLLARS}/activities", fields="event_type,object_id")
        assert {"event_type": "update_ad_set_budget", "object_id": entity}.items() <= events[0].items()
        control.step(timedelta(hours=-6))
        assert client.get(entity, fields="daily_budget").json()["daily_budget"] == str(before)


def test_what_makes_no_market_is_said():
    with pytest.raises(ProcessError, match="a market has no shoes"), start({**SMALL, "shoes": 2}):
        pass
    with pytest.raises(ProcessError, match="needs its epoch"), start({"seed": 7}):
        pass


CHILD = """
import sys, json
from pathlib import Path
from learning_assets.sandbox.process import ensure
control = ensure(Path(sys.argv[1]), json.loads(sys.argv[2]))
print(control.pid, control.url)
"""


def test_several_processes_share_one_server_that_outlives_them(home: Path):
    command = [sys.executable, "-c", CHILD, str(home), json.dumps(SMALL)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {child.communicate(timeout=60)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(said) == 1
    control = ensure(home, SMALL)
    assert f"{control.pid} {control.url}" in said
    address = home / "sandbox" / "server.json"
    assert stat.S_IMODE(address.stat().st_mode) == 0o600
    assert requests.get(f"{control.url}/v26.0/me", params={"access_token": control.token}, timeout=10).status_code == 200


def test_a_killed_server_is_started_again_with_its_budgets(home: Path):
    control = ensure(home, SMALL, now=NOW)
    client = Client(control)
    entity, before = budget(client)
    client.post(entity, daily_budget=before + 5)
    end(control.pid, signal.SIGKILL)
    again = ensure(home, SMALL, now=NOW + timedelta(hours=1))
    assert again.pid != control.pid
    assert Client(again).get(entity, fields="daily_budget").json()["daily_budget"] == str(before + 5)


def test_the_clock_is_set_to_the_moment_that_is_asked_for(home: Path):
    assert ensure(home, SMALL, now=NOW).now() == NOW
    assert ensure(home, SMALL).now() == NOW
    assert ensure(home, SMALL, now=NOW + timedelta(days=1)).now() == NOW + timedelta(days=1)


def test_another_market_is_refused(home: Path):
    control = ensure(home, SMALL, now=NOW)
    with pytest.raises(ProcessError, match=f"seed differ.*kill {control.pid}"):
        ensure(home, {**SMALL, "seed": 8})


def test_an_address_that_leads_to_nobody_is_replaced(home: Path):
    address = home / "sandbox" / "server.json"
    address.parent.mkdir()
    address.write_text("{")
    first = ensure(home, SMALL, now=NOW)
    end(first.pid)
    assert not address.exists()
    address.write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "t", "pid": 1}))
    second = ensure(home, SMALL, now=NOW)
    assert isinstance(second, Control)
    assert second.pid != first.pid


def test_it_ends_when_nobody_asks(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("learning_assets.sandbox.process.IDLE_SECONDS", 1.0)
    control = ensure(home, SMALL, now=NOW)
    for _ in range(200):
        if not alive(control.pid):
            break
        time.sleep(0.05)
    assert not alive(control.pid)
    assert not (home / "sandbox" / "server.json").exists()


def test_it_ends_when_the_process_that_started_it_was_killed():
    code = (
        "import sys, json, os, signal\n"
        "from learning_assets.sandbox.process import start\n"
        "with start(json.loads(sys.argv[1])) as control:\n"
        "    print(control.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, json.dumps(SMALL)], capture_output=True, text=True, timeout=60, check=False
    )
    pid = int(told.stdout)
    for _ in range(200):
        if not alive(pid):
            break
        time.sleep(0.05)
    assert not alive(pid)


def test_it_is_quiet(tmp_path: Path):
    with start(SMALL, now=NOW, state=tmp_path / "state.json") as control:
        client = Client(control)
        client.insights(DOLLARS, "2026-03-01", fields="spend")
        client.get("act_17")
        log = next(Path("/proc").glob(f"{control.pid}/fd/2")).resolve()
        assert log.name == "server.log"
        assert log.read_text() == ""
        assert control.token not in Path(f"/proc/{control.pid}/cmdline").read_text()


def test_importing_it_imports_no_server():
    heavy = "import sys, learning_assets.sandbox.process, learning_assets.sandbox.control\n"
    heavy += "print(sorted({'starlette', 'uvicorn', 'polars', 'numpy', 'requests'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout.strip() == "[]"
