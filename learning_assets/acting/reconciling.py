"""Resolving changes whose outcome is not known, from the platform, before anything else is done for the account.

What belongs here: what an interrupted or unanswered change turned out to be. What does not: sending anything.

A change that was never marked as sent was not sent: the mark is written before the call. One that was sent is looked up: the budget as it is now,
then the platform's own log. A budget that has not moved may still do so for a while; until then the change stays unknown.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from learning_assets.acting.facts import CLOCKS_APART, kind_of
from learning_assets.platforms.budgets import Budgets, Refused, Unanswered
from learning_assets.store.store import Store


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of a change: `applied`, `failed`, or `unknown` where that cannot be said yet."""

    change_id: str
    account_id: str
    status: str
    why: str


def reconcile(store: Store, budgets: Budgets, account_id: str) -> list[Resolved]:
    """Resolve what is open of an account; the caller holds the account's lock."""
    found: list[Resolved] = []
    for row in store.ledger.open_changes(account_id).to_dicts():
        one, read_micros = _resolve(store, budgets, row)
        if one.status != row["status"]:
            store.ledger.advance(one.change_id, one.status, at=store.now, why=one.why, read_micros=read_micros)
        found.append(one)
    return found


def _resolve(store: Store, budgets: Budgets, row: dict[str, Any]) -> tuple[Resolved, int | None]:
    def told(status: str, why: str, read_micros: int | None = None) -> tuple[Resolved, int | None]:
        return Resolved(row["change_id"], row["account_id"], status, why), read_micros

    if row["sent_at"] is None:
        return told("failed", "ended before it was sent; nothing was changed")
    sent: datetime = row["sent_at"]
    try:
        budget = budgets.read(kind_of(row["entity_kind"]), row["entity_id"])
        edits = budgets.edits(row["account_id"], sent - CLOCKS_APART)
    except (Refused, Unanswered) as error:
        return told("unknown", f"the platform cannot be asked: {error}")
    step = (row["before_micros"], row["after_micros"])
    logged = sum(edit.entity_id == row["entity_id"] and (edit.old_micros, edit.new_micros) == step for edit in edits)
    others = store.ledger.changes(entity_id=row["entity_id"], before_micros=step[0], after_micros=step[1], status="applied")
    known = others.filter(pl.col("sent_at") >= sent - CLOCKS_APART).height
    if budget.micros == row["after_micros"]:
        return told("applied", "the budget is what was asked for", budget.micros)
    if logged > known:
        return told("applied", "the platform's log has the change; the budget was changed again since", budget.micros)
    waited = store.now - sent
    if budget.micros == row["before_micros"] and waited < timedelta(minutes=store.settings.acting.settle_minutes):
        return told("unknown", "the budget has not moved; it may still do so", budget.micros)
    return told("failed", "the budget did not move, and the platform's log has no such change", budget.micros)
