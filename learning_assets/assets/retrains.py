"""How retraining itself does: how often it succeeds, and by how much its samples grow.

What belongs here: figures over runs and models that were. What does not: how good a model is (`learning.accuracy`, `learning.champion`).
"""

from datetime import date, timedelta
from typing import Any

import polars as pl

from learning_assets.assets.report import Number
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

SUCCESS_DAYS = 30
"""Days of retrains behind the success rate."""


def figures(store: Store, day: date, trained: list[dict[str, Any]]) -> dict[str, Number]:
    """What the UI plots of the retrains up to a day.

    Parameters
    ----------
    trained : the rows of `models` of the day itself, which are not written yet.

    Returns
    -------
    `retrains_30d`, days on which a challenger was trained, and `failed_retrains_30d`, runs that failed in `retrained_model`, of the
    SUCCESS_DAYS days ending on `day`; `success_rate_30d`, trained over both, a fraction, NULL where none was tried; `sample_growth`,
    ad-days of the day's models over those of their pools' models before, less one, NULL where none had one.
    """
    first = day - timedelta(days=SUCCESS_DAYS - 1)
    models = store.tables.read("models", PIPELINE, columns=["as_of", "target", "pool", "ad_days"]).filter(pl.col("as_of") < day)
    days = set(models.filter(pl.col("as_of") >= first)["as_of"]) | ({day} if trained else set())
    runs = store.tables.read("learning_cycle_log", PIPELINE, columns=["partition_day", "status", "error"], status="failure")
    failed = runs.filter(
        pl.col("partition_day").is_between(first, day), pl.col("error").str.starts_with("retrained_model:")
    ).height
    tried = len(days) + failed
    before = models.sort("as_of").group_by("target", "pool").agg(before=pl.col("ad_days").last())
    now = pl.DataFrame(
        [(row["target"], row["pool"], row["ad_days"]) for row in trained],
        schema={"target": pl.String, "pool": pl.String, "ad_days": pl.Int64},
        orient="row",
    )
    grown = now.join(before, on=["target", "pool"])
    ad_days, ad_days_before = (int(grown[name].sum()) for name in ("ad_days", "before"))
    return {
        "retrains_30d": len(days),
        "failed_retrains_30d": failed,
        "success_rate_30d": len(days) / tried if tried else None,
        "sample_growth": ad_days / ad_days_before - 1 if grown.height else None,
    }
