"""What is known at the moment before a budget would be moved; whatever cannot be found out is None, which every guard refuses.

What belongs here: reading store and platform for the guards. What does not: judging it.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TypeVar

import polars as pl

from learning_assets.checks.checks import first_broken
from learning_assets.learning.guards import Facts, Move, Wish
from learning_assets.platforms.budgets import AccountFacts, Budget, Budgets, EntityKind, Refused, Unanswered
from learning_assets.platforms.source import USABLE
from learning_assets.store.ledger import MOVED
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

LOOK_BACK = timedelta(days=40)
"""Time in which changes are read: a calendar month, and a week beyond."""
CLOCKS_APART = timedelta(hours=1)
"""By how much the platform's log may differ from our clock in when a change of ours was made."""
_USUAL_DAYS = 7

_T = TypeVar("_T")


def gather(store: Store, budgets: Budgets, wish: Wish) -> tuple[Facts, Budget | None, AccountFacts | None]:
    """Everything that the guards ask for, with the budget and the account as the platform tells them now (None where it does not)."""
    now, ledger = store.now, store.ledger
    budget = _told(lambda: budgets.read(kind_of(wish.entity_kind), wish.entity_id))
    if budget is not None and budget.account_id != wish.account_id:
        budget = None
    account = _told(lambda: budgets.account(wish.account_id))
    moves = moved(store, wish.account_id, now)
    rules = store.settings
    approved = ledger.approved(wish.entity_id, now - timedelta(hours=rules.acting.approval_hours))
    known = Facts(
        now=now,
        timezone=None if account is None else account.timezone,
        simulated_store=store.identity.kind == "sandbox",
        simulated_platform=budgets.simulated,
        killed="by the setting LEARNING_ACTING_KILL" if rules.acting.kill else ledger.killed(),
        armed=ledger.caps(wish.account_id),
        protected=ledger.is_protected(wish.entity_id),
        approved_micros=approved,
        current_micros=None if budget is None else budget.micros,
        minimum_micros=None if account is None else account.minimum_micros,
        currency=None if account is None else account.currency,
        live=None if budget is None else budget.live,
        learning=None if budget is None else budget.learning,
        unknown=ledger.open_changes(wish.account_id).height,
        moves=moves,
        foreign=foreign(store, budgets, wish, now),
        budgets=_present(budgets, wish, moves),
        mature_days=mature_days(store, wish),
        complete=complete(store, wish),
        checks=_told(lambda: first_broken(store, wish.as_of)) if store.lake.days("actuals", wish.as_of, wish.as_of) else None,
        spend_ratio=spend_ratio(store, wish),
    )
    return known, budget, account


def moved(store: Store, account_id: str, now: datetime) -> list[Move]:
    """The account's changes that were, or may have been, made lately."""
    rows = store.ledger.changes(account_id=account_id, since=now - LOOK_BACK)
    undone = set(rows.filter(pl.col("status").is_in(MOVED))["undoes"].drop_nulls())
    return [
        Move(
            row["entity_id"],
            row["sent_at"] or row["intent_at"],
            row["before_micros"],
            row["after_micros"],
            row["change_id"] in undone,
        )
        for row in rows.filter(pl.col("status").is_in(MOVED)).iter_rows(named=True)
    ]


def foreign(store: Store, budgets: Budgets, wish: Wish, now: datetime) -> list[datetime] | None:
    """When others changed this budget, by the platform's log: every change there that the ledger does not know as one of ours."""
    since = now - timedelta(hours=store.settings.acting.foreign_hours)
    edits = _told(lambda: budgets.edits(wish.account_id, since))
    if edits is None:
        return None
    ours = [
        (row["before_micros"], row["after_micros"], row["sent_at"])
        for row in store.ledger.changes(entity_id=wish.entity_id).filter(pl.col("sent_at").is_not_null()).iter_rows(named=True)
    ]
    return [
        edit.at
        for edit in edits
        if edit.entity_id == wish.entity_id
        and not any(
            (edit.old_micros, edit.new_micros) == (before, after) and abs(edit.at - at) <= CLOCKS_APART
            for before, after, at in ours
        )
    ]


def _present(budgets: Budgets, wish: Wish, moves: list[Move]) -> dict[str, int] | None:
    """Present budgets of the other entities of the account that were moved."""
    found: dict[str, int] = {}
    for name in {move.entity_id for move in moves} - {wish.entity_id}:
        budget = _told(lambda name=name: budgets.read("ad_set", name))
        if budget is None or budget.micros is None:
            return None
        found[name] = budget.micros
    return found


def mature_days(store: Store, wish: Wish) -> int | None:
    """Days of the decision's experiment that are mature, from its first evidence, or from when its youngest arm began; None where neither is known."""
    rows = store.tables.read("promotion_decisions", PIPELINE, columns=["evidence_from"], decision_id=wish.decision_id)
    first: date | None = rows["evidence_from"].min()  # pyright: ignore[reportAssignmentType]
    if rows.is_empty() and store.lake.days("ad_catalog", wish.as_of, wish.as_of):
        arms = store.arms(wish.as_of)
        mine = arms.filter(ad_set_id=wish.entity_id)
        together = arms.join(mine, on=["account_id", "experiment_id"], how="semi")["starts_on"]
        first = None if together.is_empty() or together.has_nulls() else together.max()  # pyright: ignore[reportAssignmentType]
    if first is None:
        return None
    return max((wish.as_of - first).days + 1 - store.settings.growth.mature_days, 0)


def complete(store: Store, wish: Wish) -> bool | None:
    """Whether everything that was asked of the account's day came; None where nothing was asked."""
    rows = store.tables.read("fetch_manifest", PIPELINE, columns=["status"], as_of=wish.as_of, account_id=wish.account_id)
    return None if rows.is_empty() else bool(rows["status"].is_in(USABLE).all())


def spend_ratio(store: Store, wish: Wish) -> float | None:
    """Spend of the account's newest whole day over its mean of the week before; None where a day of these is not known whole."""
    first = wish.as_of - timedelta(days=_USUAL_DAYS + 1)
    whole = store.tables.read(
        "fetch_manifest", PIPELINE, columns=["as_of"], account_id=wish.account_id, fact="daily", status=["complete", "no_data"]
    ).filter(pl.col("as_of").is_between(first, wish.as_of))
    if whole.is_empty():
        return None
    newest: date = whole["as_of"].max()  # pyright: ignore[reportAssignmentType]
    days = (
        store.lake.scan("actuals", newest - timedelta(days=_USUAL_DAYS), newest)
        .filter(pl.col("account_id") == wish.account_id)
        .group_by("date")
        .agg(pl.col("spend_micros").sum())
        .collect()
    )
    usual, last = days.filter(pl.col("date") < newest)["spend_micros"], days.filter(pl.col("date") == newest)["spend_micros"]
    if usual.len() < _USUAL_DAYS or last.is_empty() or not usual.sum():
        return None
    return float(last[0]) / (float(usual.sum()) / usual.len())


def kind_of(entity_kind: str) -> EntityKind:
    """The kind as the platform's protocol knows it."""
    return "campaign" if entity_kind == "campaign" else "ad_set"


def _told(ask: Callable[[], _T]) -> _T | None:
    """What the platform tells, None where it refuses or does not answer."""
    try:
        return ask()
    except (Refused, Unanswered):
        return None
