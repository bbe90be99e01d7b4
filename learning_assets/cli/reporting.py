"""The command that writes pages for people, and says where they are: `report`."""

from datetime import datetime
from typing import Annotated

import typer

from learning_assets.cli.terminal import app, opened, plain_errors, say, settings_now


@app.command()
def report(
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Write the page of this learned day anew; by default the newest page is named."
        ),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="A page of this owner's accounts alone, which may be given to the owner; written anew.")
    ] = None,
) -> None:
    """Where the page on the accuracy of the predictions lies; written where there is none, or on request."""
    from learning_assets.assets.accuracy_report import folder_of, pages, written
    from learning_assets.assets.day import day_by_itself
    from learning_assets.store.walls import PIPELINE, Wall

    with plain_errors():
        settings = settings_now()
        store, source = opened(settings)
        wall = PIPELINE if owner is None else Wall(owner)
        if owner is not None and store.accounts(wall).is_empty():
            raise ValueError(f"There is no owner {owner!r}. learning-assets accounts lists them.")
        found = pages(folder_of(store, wall))
        if day is None and owner is None and found:
            say(f"The newest page is {found[-1]}")
            return
        of = day.date() if day else store.newest_day("prediction_accuracy")
        if of is None:
            raise ValueError("Nothing was learned yet: learning-assets replay")
        if store.tables.read("asset_days", PIPELINE, asset="prediction_accuracy", day=of).is_empty():
            raise ValueError(f"{of} was not learned. learning-assets replay --from {of} learns it and all later days.")
        path, said = written(store, day_by_itself(of, source, settings), settings, wall)
        for line in said.lead:
            say(line)
        say(f"The page of {of} is {path}")
