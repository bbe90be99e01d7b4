"""How good the predictions are, as a page that opens offline: `accuracy_report`."""

from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from learning_assets.assets import accuracy_page, page
from learning_assets.assets.day import Day, day_of
from learning_assets.assets.report import Number, escape
from learning_assets.assets.retries import bounded_retries
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Wall, label

REPORTS = Path("reports") / "accuracy"
"""Where the pages are, below the store's home: one a day, and those of an owner in a folder of its own."""


@dg.asset(
    partitions_def=DAILY, deps=["prediction_accuracy", "retrained_model", "predictions"], kinds={"altair"}, code_version="1"
)
@bounded_retries
def accuracy_report(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """One page for people who were not there: calibration, error over time, by segment, each retraining, and what following would have saved.

    It is a file that opens offline, below `.learning/reports/accuracy`. Only the last day of a replay writes one; that of any other learned day is
    written by `learning-assets report --day`.
    """
    day = day_of(context, source, store.settings)
    if day.quiet:
        return _result({"summary": "Left out: a later day of the replay writes the page."})
    path, told = written(store, day, settings)
    known = {name: float(value) for name, value in figures(told).items() if value is not None}
    summary = dg.MetadataValue.md("\n\n".join(map(escape, told.lead)))
    return _result({"summary": summary, "page": dg.MetadataValue.path(str(path)), **known})


def _result(metadata: dict[str, Any]) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata=metadata)  # pyright: ignore[reportReturnType]


def written(store: Store, day: Day, settings: Settings, wall: Wall = PIPELINE) -> tuple[Path, accuracy_page.Said]:
    """Write the page of a day anew; where it is, and what it says. Of the older pages only the newest `settings.report.kept_pages` are left."""
    said = accuracy_page.said(accuracy_page.read(store, day, settings, wall), settings)
    folder = folder_of(store, wall)
    path = folder / f"{day.date}.html"
    page.write(path, page.render(said.page, page.vega_bundle(store.home / "reports")))
    for old in pages(folder)[: -settings.report.kept_pages]:
        if old != path:
            old.unlink(missing_ok=True)
    return path, said


def folder_of(store: Store, wall: Wall = PIPELINE) -> Path:
    """Where the pages behind a wall are."""
    return store.home / REPORTS if wall.owner is None else store.home / REPORTS / label(wall.owner)


def pages(folder: Path) -> list[Path]:
    """The pages in a folder, oldest first."""
    return sorted(path for path in folder.glob("*.html") if _dated(path))


def _dated(path: Path) -> bool:
    try:
        date.fromisoformat(path.stem)
    except ValueError:
        return False
    return True


def figures(said: accuracy_page.Said) -> dict[str, Number]:
    """What the UI plots: how many contests were won, and what following each model would have gained."""
    measured = said.saved.filter(made="live") if "live" in said.saved["made"] else said.saved
    gains = {f"{row['metric']}_{row['model']}_gain": row["gain"] for row in measured.iter_rows(named=True)}
    return {"contests": said.contests, "retrain_success_rate": said.won / said.contests if said.contests else None, **gains}
