"""The jobs: which assets run together, and the job that learns a range of days."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from learning_assets import clock
from learning_assets.assets.fetching import fetch_range
from learning_assets.assets.retries import PERMANENT
from learning_assets.automation.calendar import range_to_replay
from learning_assets.automation.replay import ReplayError, replay
from learning_assets.platforms.source import PlatformDown, Source
from learning_assets.store.store import Store

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

CYCLE = (
    "ad_catalog",
    "actuals",
    "creative_dna",
    "prediction_accuracy",
    "patterns",
    "knowledge_graph",
    "winning_formulas",
    "winner_memory",
    "account_insights",
    "niche_wisdom",
    "retrained_model",
    "predictions",
    "accuracy_report",
    "promotions",
    "budget_allocation",
    "ad_fatigue",
    "snapshots",
    "learning_cycles",
)
"""Everything that a day teaches."""

DECISIONS = ("promotions", "budget_allocation")
"""What new delivery decides anew."""

CHAIN_TAG = {"learning/chain": "one_at_a_time"}
"""Runs of chained assets wait for each other; the limit of this tag stands in `dagster.yaml`."""


def _job(
    name: str, keys: tuple[str, ...], description: str, tags: dict[str, str] | None = None
) -> "UnresolvedAssetJobDefinition":
    selection = dg.AssetSelection.assets(*keys)
    return dg.define_asset_job(name, selection, description=description, tags=tags, executor_def=dg.in_process_executor)


learning_cycle = _job(
    "learning_cycle",
    CYCLE,
    "Learn one day: what the ads achieved, how good the predictions were, which creative choices worked, whether a model is trained anew, what is "
    "expected of the next day, and whether the accounts got better.",
    CHAIN_TAG,
)
retrain_check = _job(
    "retrain_check",
    ("prediction_accuracy", "retrained_model"),
    "Measure yesterday's predictions and train a challenger if that calls for it.",
    CHAIN_TAG,
)
decide = _job("decide", DECISIONS, "Decide about experiments by the delivery that is known by now, nothing else.", CHAIN_TAG)
actuals_refresh = _job("actuals_refresh", ("ad_catalog", "actuals"), "Fetch a day's catalog and actuals, nothing else.")


class ReplayRange(dg.Config):
    """Which days to learn anew; every day after `first` that was learned is made anew too."""

    first: str
    """First day, YYYY-MM-DD."""
    last: str = ""
    """Last day, YYYY-MM-DD; the newest ended day where left empty."""


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"{text!r} is not a day. Write it as YYYY-MM-DD.") from None


def replay_range(resolve: Callable[[], dg.JobDefinition]) -> dg.JobDefinition:
    """The job that replays a range in the UI; `resolve` gives the job of one day."""

    @dg.op(name="replay_days", description="Learn the range day by day, oldest first, each day one run of learning_cycle.")
    def replay_days(
        context: dg.OpExecutionContext, config: ReplayRange, store: dg.ResourceParam[Store], source: dg.ResourceParam[Source]
    ) -> None:
        try:
            days = range_to_replay(store, source, _day(config.first), _day(config.last), clock.today(store.settings))
            fetch_range(store, source, days, lambda n, of: context.log.info(f"fetched {n} of {of} days"))
            done = replay(
                resolve(),
                context.instance,
                store,
                days,
                lambda day, n, of: context.log.info(f"learned {day} ({n} of {of})"),
                cause="replay_range",
            )
        except (*PERMANENT, PlatformDown, ReplayError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.add_output_metadata({"days": len(done.days), "seconds": done.seconds})

    @dg.job(
        name="replay_range",
        description="Learn a range of days anew, oldest first, and all later ones that rest on them.",
        executor_def=dg.in_process_executor,
        tags=CHAIN_TAG,
    )
    def job() -> None:
        replay_days()

    return job
