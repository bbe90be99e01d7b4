"""Commands about accounts and where their ads come from: `accounts`, `connect`, `consent`, `niche`, `import`, `sandbox`."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from learning_assets.cli.terminal import app, console, opened, plain_errors, say, settings_now, show, simulated


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
        niches = {row["account_id"]: row for row in store.account_niches(PIPELINE).iter_rows(named=True)}
        to_claude = store.consenting(TEXT_TO_CLAUDE)
        heads = ("account", "owner", "niche", "currency", "time zone", "pooled learning", "text to Claude", "last complete day")
        table = Table(*heads, title="Accounts" + simulated(store), caption="None is armed: nothing here changes a budget.")
        for row in found.iter_rows(named=True):
            consents = "yes" if row["consents"] else "no"
            last = str(row["last"] or "none")
            claude = "yes" if row["account_id"] in to_claude else "no"
            niche = _niche_in_short(niches.get(row["account_id"]))
            table.add_row(row["account_id"], row["owner"], niche, row["currency"], row["timezone"], consents, claude, last)
        console.print(table)


def _niche_in_short(known: dict[str, Any] | None) -> str:
    """Such as `food (local 0.83)` or `beauty (human)`."""
    if known is None:
        return "-"
    sure = "" if known["confidence"] is None else f" {known['confidence']:.2f}"
    niches = " + ".join(name for name in (known["niche"] or "unknown", known["second_niche"]) if name)
    return f"{niches} ({known['source']}{sure})"


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
    of: Annotated[
        str | None,
        typer.Argument(
            metavar="[NICHE]", help="Such as fitness or beauty; `unknown` takes back what was said. Without it, shows."
        ),
    ] = None,
    by: Annotated[str, typer.Option(help="Name of who says so; it is stored with the moment.")] = "",
) -> None:
    """Say what an account is about, or show what is known of it. Consenting accounts of one niche are also learned from together, once they
    are of five owners."""
    from learning_assets.build import open_store

    with plain_errors():
        store = open_store(settings_now())
        if of is not None:
            store.set_niche(account, None if of == "unknown" else of, by)
            say(
                f"What was said of account {account} is taken back by {by.strip()}."
                if of == "unknown"
                else f"Account {account} is of the niche {of}, as said by {by.strip()}. The next day that is learned sees it."
            )
        if of in (None, "unknown"):
            say(_niche_in_words(account, store.niche_of(account)))


_SOURCES = {"human": "a person", "llm": "Claude", "local": "the local classifier"}


def _niche_in_words(account: str, known: dict[str, Any] | None) -> str:
    """What is known of an account's niche: which, how surely, whether it is mixed, and who said so when."""
    if known is None:
        return f"Account {account}: nobody has said a niche and none was detected yet; the next day that is learned detects it."
    who = f"{_SOURCES[known['source']]} ({known['said_by']}) on {known['at']:%Y-%m-%d}"
    if known["source"] != "human":
        who += f", from {known['texts']} different texts"
    sure = "" if known["confidence"] is None else f", confidence {known['confidence']:.2f}"
    if known["niche"] is None:
        return f"Account {account}: unknown{sure}, said by {who}. Say it: learning-assets niche {account} NICHE --by NAME"
    sub = "" if known["sub_niche"] is None else f" ({known['sub_niche']})"
    mixed = f"; mixed with {known['second_niche']}, {known['second_confidence']:.2f}" if known["second_niche"] else ""
    return f"Account {account}: {known['niche']}{sub}{sure}{mixed}, said by {who}."


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
