"""Which model is in force for a pool and a target, as of a day, and how it does.

What belongs here: reads of the tables of champions and models, and what a day's decision is. What does not: deciding (`models`), and telling of it
(`cards`).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import polars as pl

from learning_assets.assets.outcomes import live_first
from learning_assets.learning import triggers
from learning_assets.learning.retraining import RateModel
from learning_assets.learning.targets import Target
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Pool

Status = Literal["no_retrain_needed", "retrained", "insufficient_data", "kept_champion", "rolled_back"]


@dataclass(frozen=True, slots=True)
class Retrained:
    """What became of a pool's champion of a target on a day; a row of `champions`, and of `models` where a challenger was trained."""

    status: Status
    reason: str
    champion: dict[str, Any]
    model: dict[str, Any] | None = None


def last_champion(store: Store, pool: Pool, target: Target, day: date) -> dict[str, Any] | None:
    """A pool's row of `champions` of the newest day before `day`."""
    before = store.newest_day("retrained_model", before=day)
    if before is None:
        return None
    rows = store.tables.read("champions", PIPELINE, as_of=before, target=target.name, pool=pool.name).to_dicts()
    return rows[0] if rows else None


def champion_of(store: Store, pool: Pool, target: Target, day: date) -> tuple[str, RateModel] | None:
    """A pool's champion as of a day, with its id; None where none has won yet."""
    rows = store.tables.read("champions", PIPELINE, until=day, latest=True, target=target.name, pool=pool.name).to_dicts()
    if not rows or rows[0]["model_id"] is None:
        return None
    return rows[0]["model_id"], RateModel.load(store.artifacts.folder(rows[0]["model_id"]))


def last_trained(store: Store, pool: Pool, target: Target, day: date) -> date | None:
    """The newest day before `day` on which a challenger was trained."""
    rows = store.tables.read("models", PIPELINE, columns=["as_of"], target=target.name, pool=pool.name)
    return rows.filter(pl.col("as_of") < day)["as_of"].max()  # pyright: ignore[reportReturnType]


def decided_on(comparisons: pl.DataFrame) -> pl.DataFrame:
    """Of rows of `prediction_comparisons` the one on which a pool's retraining is decided, by metric and pool."""
    whole = comparisons.filter(pl.col("account_id").is_null(), pl.col("expected").is_not_null())
    return live_first(whole, ["pool", "metric"]).sort("metric", "pool")


def measured(store: Store, pool: Pool, target: Target, day: date, model_id: str | None) -> dict[str, Any]:
    """What was measured of the champion's predictions over the pool as of `day` (`triggers.FIGURES`); None where there is none or nothing was."""
    nothing = dict.fromkeys(triggers.FIGURES)
    if model_id is None:
        return nothing
    rows = store.tables.read(
        "prediction_comparisons",
        PIPELINE,
        columns=["pool", "metric", "made", "impressions", "account_id", *triggers.FIGURES],
        as_of=day,
        pool=pool.name,
        segment="all",
        model="xgboost",
        metric=target.name,
    )
    best = decided_on(rows).select(triggers.FIGURES).to_dicts()
    return best[0] if best else nothing
