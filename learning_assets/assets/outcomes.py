"""What happened, as models and measures read it: the events and exposures of every target."""

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.learning import targets
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE


def observed(store: Store, settings: Settings, day: Day) -> pl.DataFrame:
    """The facts of the models' window (`Store.ad_days`) with what `targets.exposed` adds, by the lag curves that are known on the day."""
    facts = store.ad_days(day.date, day.pick(settings.models.window_days, settings.models.archive_window_days))
    lags = store.tables.read("conversion_lags", PIPELINE, until=day.date, latest=True)
    return targets.exposed(facts, lags, settings.growth.mature_days)
