"""Puts assets, checks, jobs, schedules, sensors and resources together. Keyword overrides replace parts for tests."""

from datetime import timedelta

import dagster as dg

from learning_assets.assets import GROUPS, LAKE
from learning_assets.assets.accuracy import prediction_accuracy
from learning_assets.assets.accuracy_report import accuracy_report
from learning_assets.assets.actuals import actuals, ad_catalog
from learning_assets.assets.allocation import budget_allocation
from learning_assets.assets.creative import creative_dna
from learning_assets.assets.fatigue import ad_fatigue
from learning_assets.assets.formulas import winning_formulas
from learning_assets.assets.graph import knowledge_graph
from learning_assets.assets.growth import learning_cycles, snapshots
from learning_assets.assets.memory import winner_memory
from learning_assets.assets.models import retrained_model
from learning_assets.assets.network import account_insights, niche_wisdom
from learning_assets.assets.patterns import patterns
from learning_assets.assets.predictions import predictions
from learning_assets.assets.promotions import promotions
from learning_assets.automation.acting import act_job
from learning_assets.automation.alerts import Notifier, notifier
from learning_assets.automation.jobs import actuals_refresh, decide, learning_cycle, replay_range, retrain_check
from learning_assets.automation.schedules import schedules
from learning_assets.automation.sensors import sensors
from learning_assets.checks.checks import all_checks
from learning_assets.opening import open_identity, open_source
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store

FETCHED = {dg.AssetKey("ad_catalog"), dg.AssetKey("actuals")}
ASSETS = [
    ad_catalog,
    actuals,
    creative_dna,
    prediction_accuracy,
    patterns,
    knowledge_graph,
    winning_formulas,
    winner_memory,
    account_insights,
    niche_wisdom,
    retrained_model,
    predictions,
    accuracy_report,
    promotions,
    budget_allocation,
    ad_fatigue,
    snapshots,
    learning_cycles,
]
OWNERS = ["team:learning"]
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=27))
"""Of what a live source's day teaches: the cycle of 03:00 takes well under three hours."""
FRESH_FACTS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=6), warn_window=timedelta(hours=3))
"""Of what is fetched every hour."""


def open_store(settings: Settings) -> Store:
    """The store of the settings, opened at first use."""
    return Store(settings, LAKE, lambda: open_identity(settings))


def build_definitions(
    *,
    settings: Settings | None = None,
    store: Store | None = None,
    source: Source | None = None,
    alerts: Notifier | None = None,
) -> dg.Definitions:
    """The code location.

    Parameters
    ----------
    settings : by default those of the environment.
    store, source, alerts : by default those that the settings name.
    """
    settings = settings or Settings()
    source = source or open_source(settings, open_identity(settings))
    simulated = {"simulated": "true"} if source.kind == "sandbox" else {}
    assets = dg.map_asset_specs(
        lambda spec: spec.replace_attributes(
            group_name=GROUPS[spec.key.to_user_string()],
            owners=OWNERS,
            tags={**spec.tags, **simulated},
            freshness_policy=None if source.kind == "archive" else FRESH_FACTS if spec.key in FETCHED else FRESH,
        ),
        ASSETS,
    )
    defs: dg.Definitions

    def cycle() -> dg.JobDefinition:
        return defs.resolve_job_def("learning_cycle")

    defs = dg.Definitions(
        assets=assets,
        asset_checks=all_checks(),
        jobs=[learning_cycle, retrain_check, decide, act_job, actuals_refresh, replay_range(cycle)],
        schedules=schedules(settings),
        sensors=sensors(),
        resources={
            "settings": settings,
            "store": store or open_store(settings),
            "source": source,
            "alerts": alerts or notifier(settings),
        },
        executor=dg.in_process_executor,
    )
    return defs
