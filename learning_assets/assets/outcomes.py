"""What was predicted and what happened, as models and measures read it."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.learning import accuracy, targets
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE


def observed(store: Store, settings: Settings, day: Day) -> pl.DataFrame:
    """The facts of the models' window (`Store.ad_days`) with what `targets.exposed` adds, by the lag curves that are known on the day."""
    facts = store.ad_days(day.date, day.pick(settings.models.window_days, settings.models.archive_window_days))
    lags = store.tables.read("conversion_lags", PIPELINE, until=day.date, latest=True)
    return targets.exposed(facts, lags, settings.growth.mature_days)


def predicted(store: Store, day: Day, first: date, **which: str) -> pl.LazyFrame:
    """What was predicted for the days from `first` to the day, before each of them.

    Parameters
    ----------
    which : columns of PREDICTIONS and the value that they must have; everything where none is named.

    Returns
    -------
    Columns of PREDICTIONS, and `horizon_days`, from the newest fact behind a prediction to its day.

    Raises
    ------
    ValueError : a prediction could have known its target day.
    """
    found = (
        store.lake.scan("predictions", first - timedelta(days=day.step_days), day.date)
        .filter(pl.col("date").is_between(first, day.date), **which)
        .with_columns(horizon_days=(pl.col("date") - pl.col("as_of")).dt.total_days())
    )
    accuracy.refuse_leaks(found)
    return found


def live_first(comparisons: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Of rows of `prediction_comparisons` the one that speaks for each group: of live predictions where any were measured, with most impressions."""
    ordered = comparisons.sort(pl.col("made") == "live", "impressions", descending=True)
    return ordered.unique(list(by), keep="first", maintain_order=True)
