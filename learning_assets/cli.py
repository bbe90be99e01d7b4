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
from enum import StrEnum
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
    from learning_assets.store.store import TEXT_TO_CLAUDE
    from learning_assets.store.walls import PIPELINE

    with plain_errors():
        store, _ = opened(settings_now())
        told = store.tables.read("fetch_manifest", PIPELINE, columns=["as_of", "account_id", "status"], fact="daily")
        whole = told.filter(pl.col("status").is_in(WHOLE)).group_by("account_id").agg(last=pl.col("as_of").max())
        found = store.accounts(PIPELINE).join(whole, on="account_id", how="left", maintain_order="left")
        to_claude = store.consenting(TEXT_TO_CLAUDE)
        heads = ("account", "owner", "niche", "currency", "time zone", "pooled learning", "text to Claude", "last complete day")
        table = Table(*heads, title="Accounts" + simulated(store), caption="None is armed: nothing here changes a budget.")
        for row in found.iter_rows(named=True):
            consents = "yes" if row["consents"] else "no"
            last = str(row["last"] or "none")
            claude = "yes" if row["account_id"] in to_claude else "no"
            table.add_row(
                row["account_id"], row["owner"], row["niche"], row["currency"], row["timezone"], consents, claude, last
            )
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


class Purpose(StrEnum):
    """What an account may allow."""

    TEXT_TO_CLAUDE = "text-to-claude"


@app.command()
def consent(
    account: Annotated[str, typer.Argument(help="Account id.")],
    purpose: Annotated[Purpose, typer.Option(help="text-to-claude: the text of the account's ads is sent to Claude.")],
    given: Annotated[bool, typer.Option("--give/--withdraw", help="Allow it, or allow it no longer.", show_default=False)],
    by: Annotated[str, typer.Option(help="Name of who decides; it is stored with the moment.")],
) -> None:
    """Record what an account allows. Nothing is allowed until it is given here; what was withdrawn is not done again."""
    from learning_assets.build import open_store

    with plain_errors():
        store = open_store(settings_now())
        recorded = store.consent(account, purpose.name.lower(), given=given, by=by)
        state = "given" if given else "not given"
        say(
            f"Account {account}, {purpose}: {state}, recorded as decided by {by.strip()}."
            if recorded
            else f"Account {account}, {purpose}: {state} already; nothing was changed."
        )


@app.command()
def niche(
    account: Annotated[str, typer.Argument(help="Account id.")],
    of: Annotated[str, typer.Argument(metavar="NICHE", help="Such as fitness or beauty; `unknown` takes back what was said.")],
    by: Annotated[str, typer.Option(help="Name of who says so; it is stored with the moment.")],
) -> None:
    """Say what an account is about. Consenting accounts of one niche are also learned from together, once they are of five owners."""
    from learning_assets.build import open_store

    with plain_errors():
        open_store(settings_now()).set_niche(account, None if of == "unknown" else of, by)
        say(f"Account {account} is of the niche {of}, as said by {by.strip()}. The next day that is learned sees it.")


@app.command()
def score(
    what: Annotated[str, typer.Argument(metavar="FILE|TEXT", help="CSV, JSON or text file of creatives, or the text of one.")],
    account: Annotated[
        str | None, typer.Option(help="Account that they are for; by default what was learned over all consenting accounts.")
    ] = None,
) -> None:
    """How likely new creatives beat their account's median ad, what they are made of, and what to change in them, as of the newest learned day."""
    from learning_assets.scoring import read, scored

    with plain_errors():
        creatives = read(what)
        store, _ = opened(settings_now())
        day, told = scored(store, creatives, account)
        say(f"As of {day}{simulated(store)}, for {f'account {account}' if account else 'any account'}.")
        for one in told:
            say("")
            say(f"{one.name}: {one.says}. {one.reason}")
            say(f"Found in it: {one.made_of}.")
            for suggestion in one.suggestions["reason"]:
                say(f"  - {suggestion}")
            if one.suggestions.is_empty():
                say("  No change is carried by the evidence so far.")
        if any(one.suggestions.height > 1 for one in told):
            say("Make one change at a time: what is expected of several does not add up.")


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="The idea: the text of an ad.")] = None,
    creative: Annotated[str | None, typer.Option(help="Id of a creative that is the idea, in place of a text.")] = None,
    account: Annotated[str | None, typer.Option(help="Whose winners: those of the account's owner.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose winners, by the owner's name.")] = None,
    min_ctr: Annotated[float, typer.Option(min=0, max=1, help="Least CTR of a winner, a fraction.")] = 0.0,
    min_similarity: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Least cosine similarity; by default LEARNING_MEMORY_MIN_SIMILARITY.")
    ] = None,
    k: Annotated[int | None, typer.Option(min=1, help="How many at most; by default LEARNING_MEMORY_RESULTS.")] = None,
) -> None:
    """Past winners that resemble an idea, nearest first, within one owner: what they achieved, with intervals, and since when they are known."""
    from learning_assets.searching import search as find

    with plain_errors():
        store, _ = opened(settings_now())
        limits = {"count": k, "min_similarity": min_similarity, "min_ctr": min_ctr}
        found = find(store, text, creative_id=creative, account_id=account, owner=owner, **limits)
        say(f"As of {found.as_of}{simulated(store)}: {found.says}")
        if found.winners.is_empty():
            return
        table = Table(*found.winners.columns)
        for row in found.winners.iter_rows():
            table.add_row(
                *(escape(f"{one:.2f}" if isinstance(one, float) else "-" if one is None else str(one)) for one in row)
            )
        console.print(table)


@app.command()
def why(
    ad: Annotated[str, typer.Argument(help="Ad id.")],
    account: Annotated[str | None, typer.Option(help="Account of the ad, where its id stands in several.")] = None,
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="As it was known on a day; by default now.")
    ] = None,
) -> None:
    """Why an ad did well or badly against its account: its numbers, and the reasons in the knowledge graph, strongest first, with evidence."""
    from learning_assets.assets.words import in_a_sentence, place
    from learning_assets.explaining import explain, in_plain_words

    with plain_errors():
        store, _ = opened(settings_now())
        found = explain(store, ad, account, as_of.date() if as_of else None)
        say(f"Ad {found.ad_id} of account {found.account_id}, as of {found.as_of}{simulated(store)}")
        for line in in_plain_words(found):
            say(line)
        if found.reasons.is_empty():
            return
        heads = ("", "reason", "where", "as", "sure of the direction", "since", "last confirmed")
        table = Table(*heads, title="Reasons, strongest first", caption="What correlates is no proof of a cause.")
        for number, row in enumerate(found.reasons.iter_rows(named=True), start=1):
            dates = (str(row["valid_from"]), str(row["confirmed_on"]))
            cells = (in_a_sentence(row), place(row), row["kind"], f"{100 * row['confidence']:.0f} %", *dates)
            table.add_row(str(number), *(escape(cell) for cell in cells))
        console.print(table)


@app.command()
def graph(
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", formats=["%Y-%m-%d"], help="As it was on a day; by default the newest one.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Whose graph: that of the account's owner. By default what belongs to nobody.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; by default it is printed.")] = None,
) -> None:
    """The knowledge graph of a day as node-link JSON, for d3, networkx and others. Another owner's part is never in it."""
    import json

    from learning_assets.explaining import learned_day, wall_of
    from learning_assets.learning.graph import to_node_link
    from learning_assets.store.walls import SHARED

    with plain_errors():
        store, _ = opened(settings_now())
        wall, day = wall_of(store, account), learned_day(store, as_of.date() if as_of else None)
        found = store.graph(day, wall)
        text = json.dumps(to_node_link(found, day), indent=1, ensure_ascii=False)
        if out is None:
            say(text)
            return
        out.write_text(text + "\n")
        whose = "of nobody's part" if wall.owner == SHARED else f"of {wall.owner}'s and nobody's part"
        counts = f"{found.nodes.height} nodes, {found.relationships.height} relationships"
        say(f"{out}: {counts} {whose}, as of {day}{simulated(store)}.")


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
