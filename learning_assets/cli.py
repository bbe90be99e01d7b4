"""The command `learning-assets`: what a person does outside the Dagster UI.

Commands print plain words and end with 0, or with 1 and the remedy. What does not belong here: anything that an asset or a job could do.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from learning_assets.finding import Finding
    from learning_assets.platforms.source import Source
    from learning_assets.settings import Settings
    from learning_assets.store.store import Store

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Learn from what every ad achieved.", pretty_exceptions_enable=False
)
console = Console()
if not console.is_terminal:
    console = Console(width=150)  # a log or a pipe has no width of its own; tables are cut at less

DEMO_ACCOUNTS, DEMO_DAYS = 8, 60


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print what went wrong and what to do, without frames, and end with 1."""
    from learning_assets.assets.retries import PERMANENT
    from learning_assets.automation.replay import ReplayError
    from learning_assets.platforms.source import PlatformDown
    from learning_assets.sandbox.process import ProcessError
    from learning_assets.store.address import AddressError
    from learning_assets.store.embedded import EmbeddedPostgresError

    try:
        yield
    except ValidationError as error:
        for one in error.errors():
            name = "LEARNING_" + "_".join(str(part) for part in one["loc"]).upper()
            console.print(f"[red]{name}:[/red] {one['msg']}", markup=True)
        raise typer.Exit(1) from None
    except (*PERMANENT, PlatformDown, ProcessError, ReplayError, AddressError, EmbeddedPostgresError) as error:
        console.print(f"[red]{type(error).__name__}:[/red] ", end="")
        console.print(str(error), markup=False, highlight=False)
        raise typer.Exit(1) from None


def settings_now() -> "Settings":
    """The settings of the environment."""
    from learning_assets.settings import Settings

    return Settings()


def opened(settings: "Settings") -> "tuple[Store, Source]":
    """The store and the source that the settings name."""
    from learning_assets.build import open_store
    from learning_assets.opening import open_identity, open_source

    store = open_store(settings)
    return store, open_source(settings, open_identity(settings))


def instance_folder() -> Path:
    """The folder of `dagster.yaml`: DAGSTER_HOME, the current folder, or that of the source tree."""
    for folder in (os.environ.get("DAGSTER_HOME"), Path.cwd(), Path(__file__).parents[1]):
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
def accounts() -> None:
    """The accounts: owner, currency, time zone, consent, and the last day that was fetched completely."""
    import polars as pl

    from learning_assets.platforms.source import WHOLE
    from learning_assets.store.walls import PIPELINE

    with plain_errors():
        store, _ = opened(settings_now())
        told = store.tables.read("fetch_manifest", PIPELINE, columns=["as_of", "account_id", "status"], fact="daily")
        whole = told.filter(pl.col("status").is_in(WHOLE)).group_by("account_id").agg(last=pl.col("as_of").max())
        found = store.accounts(PIPELINE).join(whole, on="account_id", how="left", maintain_order="left")
        heads = ("account", "owner", "currency", "time zone", "pooled learning", "last complete day")
        table = Table(*heads, title="Accounts" + simulated(store), caption="None is armed: nothing here changes a budget.")
        for row in found.iter_rows(named=True):
            consents = "yes" if row["consents"] else "no"
            last = str(row["last"] or "none")
            table.add_row(row["account_id"], row["owner"], row["currency"], row["timezone"], consents, last)
        console.print(table)


@app.command()
def connect(
    owner: Annotated[
        str | None,
        typer.Option(help="Owner of all accounts; asked for each where not given. Accounts of one owner see each other."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: each account is its own owner, or that of --owner.")] = False,
) -> None:
    """Check token, permissions and accounts of the Marketing API, say what to set, and record who owns which account. No secret is stored."""
    import polars as pl

    from learning_assets import clock
    from learning_assets.build import open_store
    from learning_assets.opening import open_meta
    from learning_assets.platforms.meta.connection import examine

    with plain_errors():
        settings = settings_now()
        findings = examine(settings.meta, clock.now(settings))
        sound = show(findings, f"Marketing API at {settings.meta.graph_url}")
        if any(finding.ok is False and finding.what in ("token", "server") for finding in findings):
            raise typer.Exit(1)
        found = open_meta(settings).accounts()
        ids = found["account_id"].to_list()
        if settings.source == "meta":
            owners = [owner or (one if yes else typer.prompt(f"Owner of account {one}", default=one)) for one in ids]
            open_store(settings).register(found.with_columns(owner=pl.Series(owners, dtype=pl.String)))
            say(f"{len(ids)} accounts are known. Learn their history: learning-assets replay --from DAY")
        else:
            say("To learn from these accounts, set these beside the token and run this again:")
            say(f"  LEARNING_SOURCE=meta LEARNING_META_ACCOUNTS={','.join(ids)} LEARNING_HOME=.learning-meta")
        if not sound:
            raise typer.Exit(1)


def say(text: str) -> None:
    """Print text as it is: no markup, no line breaks of the terminal's, so that commands can be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def show(findings: "Iterable[Finding]", title: str) -> bool:
    """Print what was examined; whether nothing was found to be wrong."""
    table = Table("", "what", "found", "what to do", title=title)
    marks = {True: "[green]ok[/green]", False: "[red]no[/red]", None: "[yellow]?[/yellow]"}
    sound = True
    for finding in findings:
        sound &= finding.ok is not False
        table.add_row(marks[finding.ok], escape(finding.what), escape(finding.says), escape(finding.remedy or ""))
    console.print(table)
    return sound


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Port on loopback; any free one by default.")] = 0,
) -> None:
    """Serve the simulated ad platform until Ctrl-C: a Graph server for trying things out. All its numbers are simulated."""
    from learning_assets import clock
    from learning_assets.sandbox.process import start

    with plain_errors():
        settings = settings_now()
        market = {"epoch": clock.today(settings).isoformat(), **settings.sandbox.model_dump()}
        with start(market, now=settings.clock, port=port) as control:
            say(f"The simulated platform listens on {control.url}. To read it as a real one:")
            say(
                f"  LEARNING_SOURCE=meta LEARNING_META_GRAPH_URL={control.url} LEARNING_META_ACCESS_TOKEN={control.token} "
                "LEARNING_HOME=.learning-trial learning-assets connect"
            )
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                console.print("Stopped.")


@app.command("import")
def import_(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of exports, or one file; by default LEARNING_EXPORT_PATH.")
    ] = None,
) -> None:
    """Check a folder of exports and say what it holds, by account and day. Nothing is stored."""
    from learning_assets.platforms.export import ExportSource, summary

    with plain_errors():
        settings = settings_now().export
        source = ExportSource(settings.model_copy(update={"path": folder}) if folder else settings)
        found = summary(source)
        for note in source.notes:
            say(note)
        table = Table(*(name.replace("_", " ") for name in found.columns), title=f"{found.height} account-days")
        for row in found.iter_rows():
            table.add_row(*("-" if value is None else escape(str(value)) for value in row))
        console.print(table)
        say("To learn from it: LEARNING_SOURCE=export LEARNING_EXPORT_PATH=FOLDER learning-assets replay")


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


def simulated(store: "Store") -> str:
    """What is added to titles where every figure comes from the simulated market."""
    return " (simulated)" if store.identity.kind == "sandbox" else ""


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


if __name__ == "__main__":
    app()
