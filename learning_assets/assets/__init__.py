"""The loops as software-defined assets, one module per loop: read, call `learning`, write, report.

This page is the registry of their groups and of the columns of what they keep in the lake.
"""

import polars as pl

from learning_assets.learning.lift import TIMES
from learning_assets.learning.memory import SUMS
from learning_assets.platforms.source import ACTUALS, CATALOG, HOURLY, REACH
from learning_assets.store.sums import ACCOUNT_DAYS, WEEKLY_SUMS

GROUPS = {
    "ad_catalog": "actuals",
    "actuals": "actuals",
    "prediction_accuracy": "actuals",
    "creative_dna": "creative",
    "patterns": "knowledge",
    "knowledge_graph": "knowledge",
    "winning_formulas": "creative",
    "winner_memory": "creative",
    "account_insights": "network",
    "niche_wisdom": "network",
    "retrained_model": "models",
    "predictions": "models",
    "accuracy_report": "models",
    "promotions": "decisions",
    "budget_allocation": "decisions",
    "ad_fatigue": "decisions",
    "snapshots": "growth",
    "learning_cycles": "growth",
}
"""The group of every asset, in the order in which data flows."""

PREDICTIONS = pl.Schema(
    {
        "as_of": pl.Date,
        "date": pl.Date,
        "made_at": pl.Datetime("us", "UTC"),
        "made": pl.String,
        "account_id": pl.String,
        "ad_id": pl.String,
        "metric": pl.String,
        "model": pl.String,
        "model_id": pl.String,
        "predicted": pl.Float64,
        **dict.fromkeys(("low", "high", "weight_own_history", "weight_xgboost", "weight_dna_score"), pl.Float64),
        "note": pl.String,
    }
)
"""What each model expects of an ad on `date`, from facts up to `as_of`. `made`: `live`, or `replayed` where the day had ended when the
prediction was made. `predicted`: a rate; `model_id` is NULL for models that are no more than counts. Of the ensemble alone: `low` and `high`, the
interval of the true rate at `models.ensemble_level`; what each member counts, together 1; and which member was missing."""

ACTUALS_ASOF = pl.Schema({"known_until": pl.Date, **ACTUALS})
"""Rows of actuals that the platform restated: how they stood until `known_until`."""

LAKE = {
    "ad_catalog": CATALOG,
    "actuals": ACTUALS,
    "actuals_asof": ACTUALS_ASOF,
    "actuals_hourly": HOURLY,
    "actuals_reach": REACH,
    "weekly_sums": WEEKLY_SUMS,
    "account_days": ACCOUNT_DAYS,
    "times": TIMES,
    "creative_totals": SUMS,
    "predictions": PREDICTIONS,
}
"""Columns of everything that is kept in the lake, by asset."""
