"""What all commands share: the app, the terminal, plain errors, and opening what the settings name.

What belongs here: how a command begins, prints and fails. What does not: the commands.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
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


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print what went wrong and what to do, without frames, and end with 1."""
    from learning_assets.assets.retries import PERMANENT
    from learning_assets.automation.replay import ReplayError
    from learning_assets.platforms.budgets import Refused, Unanswered
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
    except (
        *PERMANENT,
        PlatformDown,
        Refused,
        Unanswered,
        ProcessError,
        ReplayError,
        AddressError,
        EmbeddedPostgresError,
    ) as error:
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


def simulated(store: "Store") -> str:
    """What is added to titles where every figure comes from the simulated market."""
    return " (simulated)" if store.identity.kind == "sandbox" else ""
