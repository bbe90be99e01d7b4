"""Commands that learn, and serve what was learned: `replay`, `demo`, `dev`, `migrate`, `doctor`."""

import os
import socket
import subprocess
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from learning_assets.cli.terminal import app, console, opened, plain_errors, settings_now, show

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from learning_assets.settings import Settings

DEMO_ACCOUNTS, DEMO_DAYS = 8, 60


def instance_folder() -> Path:
    """The folder of `dagster.yaml`: DAGSTER_HOME, the current folder, or that of the source tree."""
    for folder in (os.environ.get("DAGSTER_HOME"), Path.cwd(), Path(__file__).parents[2]):
        if folder and (Path(folder) / "dagster.yaml").exists():
            return Path(folder).resolve()
    raise ValueError("There is no dagster.yaml here. Run this in the project's folder, or set DAGSTER_HOME to it.")


def dagster_instance() -> "DagsterInstance":
    """Dagster's instance, as the UI uses it, made fast for runs in this process.

    What the steps print is not captured, which takes four processes a run. Connections are kept, as the webserver does, where Dagster
    would open one for each of the hundreds of events of a day.
    """
    from dagster import DagsterInstance
    from dagster._core.instance.ref import InstanceRef

    uncaptured = {
        "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    }
    instance = DagsterInstance.from_ref(InstanceRef.from_dir(str(instance_folder()), overrides=uncaptured))
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=4)
    return instance


def run_replay(settings: "Settings", first: date | None, last: date | None) -> None:
    """Learn a range of days with a progress bar."""
    from learning_assets import clock
    from learning_assets.assets.fetching import fetch_range
    from learning_assets.automation.calendar import range_to_replay
    from learning_assets.automation.replay import replay as learn
    from learning_assets.build import build_definitions

    store, source = opened(settings)
    days = range_to_replay(store, source, first, last, clock.today(settings))
    job = build_definitions(settings=settings, store=store, source=source).resolve_job_def("learning_cycle")
    bar = Progress(
        TextColumn("learning {task.fields[day]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with console.status("Fetching what is not here yet") as status:
        fetch_range(store, source, days, lambda n, of: status.update(f"Fetched {n} of {of} days"))
    with dagster_instance() as instance, bar:
        task = bar.add_task("learning", total=len(days), day=str(days[0]))
        done = learn(job, instance, store, days, lambda day, n, _: bar.update(task, completed=n, day=str(day)))
    console.print(f"Learned {len(done.days)} days in {done.seconds:.0f} s.")


@app.command()
def replay(
    from_: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; by default the source's first.")
    ] = None,
    to: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; by default the newest that has ended.")
    ] = None,
) -> None:
    """Learn days anew, oldest first; what was learned of later days is replaced too."""
    with plain_errors():
        run_replay(settings_now(), from_.date() if from_ else None, to.date() if to else None)
        print_learned()


@app.command()
def migrate() -> None:
    """Bring the tables of the database up to this version."""
    import sqlalchemy as sa

    from learning_assets.store import address, migrations

    with plain_errors():
        found = address.resolve(settings_now())
        found.ensure_dagster_database()
        migrations.migrate(sa.create_engine(found.learning()))
        console.print(f"{found} is at revision {migrations.head()}.", markup=False)


@app.command()
def demo() -> None:
    """Learn weeks of the simulated market and print what was learned; nothing is served."""
    with plain_errors():
        learn_first_weeks(settings_now())
        print_learned()


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Port of the UI; the next free one is taken.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Address that the UI listens on. It has no login: keep it on loopback.")
    ] = "127.0.0.1",
    since: Annotated[
        float | None, typer.Option(help="When all this began, in seconds since 1970, to say how long it took.")
    ] = None,
) -> None:
    """Learn weeks of history if nothing was learned yet, then serve the Dagster UI."""
    began = since or time.time()
    with plain_errors():
        learn_first_weeks(settings_now())
        print_learned()
        port = free_port(host, port)
        console.print(f"\nThe Dagster UI is starting on http://{host}:{port} ...")
        command = [sys.executable, "-m", "dagster", "dev", "-h", host, "-p", str(port), "--log-level", "warning"]
        server = subprocess.Popen(command, cwd=instance_folder())
        try:
            if wait_for(f"http://{host}:{port}/server_info", server):
                console.print(f"Ready, {time.time() - began:.0f} s after the start: [bold]http://{host}:{port}[/bold]")
                console.print("Lineage shows the assets, Automation the schedules and sensors. Stop with Ctrl-C.")
            code = server.wait()
        except KeyboardInterrupt:
            code = server.wait()
        raise typer.Exit(0 if code in (0, -2, 130) else code)


def wait_for(address: str, server: "subprocess.Popen[bytes]") -> bool:
    """Wait until the server answers; False where it has ended instead."""
    from urllib.error import URLError
    from urllib.request import urlopen

    while server.poll() is None:
        try:
            with urlopen(address, timeout=5):
                return True
        except (URLError, OSError):
            time.sleep(0.5)
    return False


def learn_first_weeks(settings: "Settings") -> None:
    """Learn the weeks before today, unless the store has learned something already."""
    from learning_assets import clock
    from learning_assets.automation.calendar import last_learned
    from learning_assets.store import identity

    if settings.source == "sandbox" and identity.read(settings.home.resolve()) is None:
        os.environ.setdefault("LEARNING_SANDBOX_ACCOUNTS", str(DEMO_ACCOUNTS))
        settings = settings_now()
    store, source = opened(settings)
    if last_learned(store) is not None:
        return
    first = source.last_day(clock.today(settings)) - timedelta(days=DEMO_DAYS - 1) if settings.source == "sandbox" else None
    run_replay(settings, first, None)


def free_port(host: str, port: int) -> int:
    """The first port from `port` on that nobody listens on."""
    for candidate in range(port, port + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return candidate
    raise ValueError(f"No port from {port} to {port + 99} is free on {host}. Choose another with --port.")


def print_learned() -> None:
    """What was learned, as tables: patterns, models, accuracy against the noise floor, growth."""
    from learning_assets.summary import summary

    store, _ = opened(settings_now())
    for table in summary(store):
        console.print()
        console.print(table)


@app.command()
def doctor() -> None:
    """What is set, what is reachable, and what to do about what is not."""
    from learning_assets.doctor import examine

    if not show(examine(), "learning_assets"):
        raise typer.Exit(1)
