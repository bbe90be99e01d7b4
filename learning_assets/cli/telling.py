"""Commands by which people tell what was not learned: `signal`, `rollback`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from learning_assets.cli.terminal import app, console, plain_errors, say, settings_now, simulated


@app.command()
def signal(
    account: Annotated[
        str | None,
        typer.Argument(help="Account id; may be left out with a file that has a column account.", show_default=False),
    ] = None,
    creative: Annotated[str | None, typer.Option(help="Id of the creative that led to the purchase.")] = None,
    ad: Annotated[str | None, typer.Option(help="Id of the ad that led to it, in place of the creative's.")] = None,
    value: Annotated[str | None, typer.Option(help="What it was worth, such as 49.90.")] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of the value, ISO 4217, such as EUR.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Your own id of it: told again, it is the same signal.")] = None,
    at: Annotated[
        str | None,
        typer.Option(help="When it was made, ISO 8601 with offset, such as 2026-03-01T09:30:00+01:00; by default now."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="CSV file of many, with a header of account, id, creative, ad, at, value, currency.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who tells it; stored with it.")] = "command line",
) -> None:
    """Tell of a purchase: a retrain is checked within the hour, and its creative is looked at by the next winner memory."""
    from learning_assets.build import open_store
    from learning_assets.signalling import Told, read, record

    with plain_errors():
        one = Told(account, id_, creative, ad, at, value, currency)
        if file is None:
            if account is None:
                raise ValueError(
                    "Name the account, or a file with --file. The accounts are listed by: learning-assets accounts"
                )
            told, where = [one], None
        elif any((id_, creative, ad, at, value, currency)):
            raise ValueError(
                "With --file every signal is told by its row; leave --id, --creative, --ad, --at, --value and --currency out."
            )
        else:
            told, where = read(file, account)
        store = open_store(settings_now())
        done = record(store, told, by, where)
        known = f"; {done.known:,} known already and left as they were" if done.known else ""
        say(f"{done.new:,} signals recorded{simulated(store)}{known}.")


@app.command()
def rollback(
    target: Annotated[str | None, typer.Argument(help="What the model predicts, such as ctr.", show_default=False)] = None,
    pool: Annotated[str | None, typer.Argument(help="Whose model: shared, or an owner's name.", show_default=False)] = None,
    to: Annotated[str | None, typer.Option(help="Id of an earlier champion; by default the one before.")] = None,
    by: Annotated[str, typer.Option(help="Name of who decides; it is stored with the moment.")] = "",
    why: Annotated[str, typer.Option(help="The reason; it is stored too.")] = "",
    list_: Annotated[bool, typer.Option("--list", help="Show which models were in force and how each came to be.")] = False,
) -> None:
    """Put the champion before back in force, or show the history of the champions. Later challengers have to beat the one put back."""
    from learning_assets.build import open_store
    from learning_assets.rollback import history, put_back

    with plain_errors():
        if not list_ and (target is None or pool is None):
            raise ValueError("Name target and pool, such as: learning-assets rollback ctr shared. Both are listed by --list.")
        store = open_store(settings_now())
        if not list_:
            assert target is not None
            assert pool is not None
            done = put_back(store, target, pool, to, by, why)
            say(f"{done.to_model_id} is in force again for {target} of {pool}, in place of {done.from_model_id}.")
            say("Predictions use it from their next run on.")
            return
        found = history(store, target, pool)
        table = Table(
            *(name.replace("_", " ") for name in found.columns),
            title="Models in force" + simulated(store),
            caption="Nothing was decided yet: learning-assets replay" if found.is_empty() else None,
        )
        for row in found.iter_rows(named=True):
            cells = {**row, "until": row["until"] or "now", "model_id": row["model_id"] or "none"}
            table.add_row(*("-" if value is None else escape(str(value)) for value in cells.values()))
        console.print(table)
