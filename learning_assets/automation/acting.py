"""Decisions become budgets: the job `act` and the sensor that starts it.

What belongs here: when budgets are moved, and telling people. What does not: the guards and the ledger (`learning_assets.acting`). The job stands outside of
the partitioned graph, and never runs for a replay, a backfill or a re-execution.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from learning_assets.acting.writer import Outcome, act
from learning_assets.assets.day import BACKFILL_TAG, REPLAY_TAG
from learning_assets.assets.report import markdown_table
from learning_assets.assets.retries import PERMANENT
from learning_assets.automation.alerts import Notifier, outside
from learning_assets.automation.replay import CAUSE_TAG
from learning_assets.automation.schedules import under_way
from learning_assets.learning.guards import Wish
from learning_assets.platforms.budgets import Budgets
from learning_assets.platforms.source import Source
from learning_assets.store.ledger import wishes as as_wishes
from learning_assets.store.store import Store

ACT = "act"
ACTING_TAG = {"learning/acting": "one_at_a_time"}
"""Budgets are moved by one run at a time; the limit of this tag stands in `dagster.yaml`."""
_NEVER = (REPLAY_TAG, BACKFILL_TAG, "dagster/parent_run_id", "dagster/root_run_id")
"""Tags of runs that must not move a budget."""


def fresh_wishes(store: Store) -> list[Wish]:
    """What decisions asked for lately enough to be acted on, as written by decisions and not by replays."""
    since = store.now - timedelta(hours=store.settings.acting.decision_hours)
    rows = store.promotions.wishes()
    return as_wishes(rows.filter((rows["decided_at"] >= since) & (rows["decided_at"] <= store.now)))


def budgets_of(source: Source) -> Budgets | None:
    """The budgets behind a source; None where it has none that can be moved."""
    found = getattr(source, "budgets", None)
    return found if isinstance(found, Budgets) else None


@dg.op(
    description="Carry out what fresh decisions ask of budgets, each under all guards; a dry run for accounts that are not armed."
)
def move_budgets(
    context: dg.OpExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    alerts: dg.ResourceParam[Notifier],
) -> None:
    """Act, and tell what came of it: in the run's metadata and, for whatever moved or would have to be looked at, to people."""
    refused = [tag for tag in _NEVER if tag in context.run.tags]
    if refused:
        raise dg.Failure(
            f"Budgets are not moved by a replay, a backfill or a re-execution ({', '.join(refused)}). Start the job {ACT} itself.",
            allow_retries=False,
        )
    budgets = budgets_of(source)
    if budgets is None:
        context.log.info(f"The source '{store.settings.source}' has no budgets that can be moved.")
        return
    try:
        done = act(store, budgets, fresh_wishes(store))
    except PERMANENT as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    for one in done:
        context.log.info(f"{one.wish.entity_id}: {one.outcome}{f' ({one.guard})' if one.guard else ''}: {one.reason}")
    for one in done:
        if one.new and worth_telling(one):
            alerts.send(told(one, simulated=budgets.simulated))
    context.add_output_metadata(figures(done) | {"table": dg.MetadataValue.md(table(done, simulated=budgets.simulated))})


ROUTINE = ("working_hours", "cooldown", "actions_per_day", "fresh")
"""Guards that only make a budget wait."""


def worth_telling(one: Outcome) -> bool:
    """Whether people are to hear of it: a winner, what was moved or would be, and what keeps it from that, but for what only waits."""
    return one.outcome != "done" and one.guard not in ROUTINE


def told(one: Outcome, *, simulated: bool) -> str:
    """One alert: before, after, why, and the command that takes it back or lets it go on."""
    wish = one.wish
    label = "Simulated market. " if simulated else ""
    head = f"{label}Account {outside(wish.account_id)}, {one.outcome}: {outside_long(one.reason)}."
    why = f" Why: {outside_long(wish.reason)}."
    undo = f" To take it back: learning-assets undo {one.change_id}" if one.outcome == "applied" else ""
    look = " To resolve it: learning-assets reconcile" if one.outcome == "unknown" else ""
    return head + why + undo + look


def outside_long(text: str) -> str:
    """Words that hold what came from outside, on one line."""
    return " ".join(text.split()).rstrip(".").replace("://", ":\u200b//")[:600]


def figures(done: Sequence[Outcome]) -> dict[str, int]:
    """Counts under stable keys."""
    kinds = ("applied", "failed", "unknown", "blocked", "dry_run", "done")
    return {"wishes": len(done)} | {kind: sum(one.outcome == kind for one in done) for kind in kinds}


def table(done: Sequence[Outcome], *, simulated: bool) -> str:
    """What became of each wish, as markdown."""
    rows = [
        {
            "account": one.wish.account_id,
            "entity": one.wish.entity_id,
            "outcome": one.outcome,
            "guard": one.guard,
            "reason": one.reason,
        }
        for one in done
    ]
    columns = pl.Schema(dict.fromkeys(("account", "entity", "outcome", "guard", "reason"), pl.String))
    return markdown_table(pl.DataFrame(rows, schema=columns), simulated, "What became of the budgets that were asked for.")


@dg.job(
    name=ACT,
    description="Move the budgets that fresh decisions ask for, under all guards. Accounts that are not armed get a dry run.",
    executor_def=dg.in_process_executor,
    tags=ACTING_TAG,
)
def act_job() -> None:
    """One op."""
    move_budgets()


@dg.sensor(
    job=act_job,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="When decisions less than 3 hours old ask for budgets that were not looked at yet: act.",
)
def decisions_made(context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store]) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run for all wishes that were written since the cursor."""
    busy = under_way(context.instance, ACT)
    if busy:
        return busy
    last = _moment(context.cursor)
    new = [wish for wish in fresh_wishes(store) if last is None or wish.decided_at > last]
    if not new:
        return dg.SkipReason("No decision asks for a budget since the last tick.")
    newest = max(wish.decided_at for wish in new)
    request = dg.RunRequest(
        run_key=f"act/{newest.isoformat()}", tags={CAUSE_TAG: f"decisions_made: {len(new)} budgets asked for"}
    )
    return dg.SensorResult(run_requests=[request], cursor=newest.isoformat())


def _moment(cursor: str | None) -> datetime | None:
    """The moment of a cursor; None where it is none, so that everything fresh is looked at, which is harmless."""
    try:
        found = datetime.fromisoformat(cursor or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
