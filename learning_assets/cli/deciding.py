"""Commands about experiments and what was decided of them: `experiments`, `decisions`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from learning_assets.cli.terminal import app, console, opened, plain_errors, say, settings_now, simulated

experiments = typer.Typer(
    help="The experiments that run: ads that are compared with each other; `add` defines some by hand.",
    invoke_without_command=True,
)
app.add_typer(experiments, name="experiments")


@experiments.callback()
def list_experiments(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Of one account; by default of all.")] = None,
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="By the catalog of a day; by default the newest one.")
    ] = None,
) -> None:
    """The experiments that run: ads that are compared with each other; `add` defines some by hand."""
    import polars as pl

    if context.invoked_subcommand is not None:
        return
    with plain_errors():
        store, _ = opened(settings_now())
        days = store.lake.days("ad_catalog", last=day.date() if day else None)
        if not days:
            raise ValueError("No catalog was fetched yet. Learn a day first: learning-assets replay --from DAY")
        arms = store.arms(days[-1])
        if account is not None:
            arms = arms.filter(pl.col("account_id") == account)
        found = arms.group_by("account_id", "experiment_id", maintain_order=True).agg(
            pl.col("ad_id"),
            pl.col("origin").first(),
            pl.col("assignment").first(),
            pl.col("isolated").all(),
            pl.col("starts_on").max(),
        )
        heads = ("account", "experiment", "arms (ads)", "from", "assigned by", "budget can part them", "all run since")
        table = Table(*heads, title=f"{found.height} experiments by the catalog of {days[-1]}{simulated(store)}")
        for row in found.iter_rows(named=True):
            parts = "yes" if row["isolated"] else "no: give each ad an ad set with its own budget"
            cells = (row["account_id"], row["experiment_id"], ", ".join(row["ad_id"]), row["origin"], row["assignment"], parts)
            table.add_row(*(escape(cell) for cell in cells), str(row["starts_on"] or "unknown"))
        console.print(table)


@experiments.command("add")
def add_experiments(
    file: Annotated[Path, typer.Argument(help="CSV file with the columns account, experiment, ad, share, starts, ends.")],
    by: Annotated[str, typer.Option(help="Name of who defines them; it is stored with the moment.")],
    account: Annotated[str | None, typer.Option(help="Account of every row, in place of the column.")] = None,
) -> None:
    """Define experiments: which ads are compared, from when to when, with which planned shares. All rows are recorded, or none."""
    from learning_assets.build import open_store
    from learning_assets.defining import define

    with plain_errors():
        done = define(open_store(settings_now()), file, by, account)
        say(f"{done.arms} arms of {done.experiments} experiments are recorded. The next day that is learned sees them.")


@app.command()
def decisions(
    account: Annotated[str | None, typer.Argument(help="Of one account; by default of all.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only of one experiment, with its whole card.")] = None,
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As of a day; by default the newest that was decided.")
    ] = None,
) -> None:
    """The newest decisions about experiments: what was decided, how sure it is, where the budget goes, and why."""
    import polars as pl

    from learning_assets.assets.decision_cards import card_lines, in_words, to_look_at

    with plain_errors():
        store, _ = opened(settings_now())
        as_of = day.date() if day else store.promotions.newest_day()
        if as_of is None:
            raise ValueError("Nothing was decided yet. Learn a day first: learning-assets replay --from DAY")
        of = {name: value for name, value in (("account_id", account), ("experiment_id", experiment)) if value is not None}
        found = store.promotions.decisions(as_of).filter(*(pl.col(name) == value for name, value in of.items()))
        if found.is_empty():
            asked = " ".join(f"{name.removesuffix('_id')} {value}" for name, value in of.items())
            raise ValueError(
                f"Nothing was decided about {asked or 'any experiment'} as of {as_of}. See: learning-assets experiments"
            )
        shown = in_words(to_look_at(found, found.height))
        heads = [name for name in shown.columns if name != "why" or account or experiment]
        title = f"{found.height} decisions as of {as_of}, revision {found['revision'][0]}{simulated(store)}"
        table = Table(
            *heads,
            title=title,
            caption="Lifts are after shrinkage. Nothing here has changed a budget; see: learning-assets changes",
        )
        for row in shown.select(heads).iter_rows():
            table.add_row(
                *(escape(f"{one:.2g}" if isinstance(one, float) else "-" if one is None else str(one)) for one in row)
            )
        console.print(table)
        for row in found.iter_rows(named=True) if experiment else ():
            for name, text in card_lines(row).items():
                say(f"{name}: {text}")
