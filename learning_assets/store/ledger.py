"""Who may move budgets, and the ledger of what was moved: written before each call, its states going one way.

What belongs here: arming, the kill switch, protection, approvals, the ledger and the outcomes of wishes, as rows. What does not: whether a budget may be moved
(`learning.guards`), and moving it (`learning_assets.acting`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from learning_assets.learning.guards import Caps, Wish
from learning_assets.store import schema
from learning_assets.store.tables import Tables, frame_schema
from learning_assets.store.walls import PIPELINE, Wall

OPEN = ("intent", "validated", "sent", "unknown")
"""States of a change whose outcome is not known yet."""
MOVED = ("sent", "applied", "unknown")
"""States in which a budget was, or may have been, moved."""

QUIET = timedelta(days=7)
"""People hear of what keeps a budget from being moved when it has not been so for this time."""

_CHANGES = schema.budget_changes


class LedgerError(Exception):
    """Something that was asked of the ledger cannot be; the message says why and names the remedy."""


class Ledger:
    """The ledger of one database."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    # Who may.

    def arm(self, account_id: str, owner: str, caps: Caps, *, by: str, at: datetime) -> None:
        """Let budgets of an account be moved within caps, from now on.

        Raises
        ------
        LedgerError : a cap is not above 0 or does not fit the others, or nobody is named.
        """
        for name, cap in (("entity", caps.entity_micros), ("account", caps.account_micros), ("month", caps.month_micros)):
            if cap <= 0:
                raise LedgerError(f"The cap per {name} is {cap} micros; give an amount above 0.")
        if caps.entity_micros > caps.account_micros:
            raise LedgerError("The cap per entity is above that of the account; lower it, or raise the account's.")
        row = {
            "armed": True,
            "bandit": caps.bandit,
            "cap_entity_micros": caps.entity_micros,
            "cap_account_micros": caps.account_micros,
            "cap_month_micros": caps.month_micros,
            "currency": caps.currency,
        }
        self._add("arming", {"account_id": account_id}, row | {"owner": owner, "said_by": _named(by), "why": "armed", "at": at})

    def disarm(self, account_id: str, owner: str, *, by: str, why: str, at: datetime) -> bool:
        """Let nothing of an account be moved any more; whether it was armed."""
        if self.caps(account_id) is None:
            return False
        row = {"owner": owner, "armed": False, "bandit": False, "said_by": _named(by), "why": why, "at": at}
        self._add("arming", {"account_id": account_id}, row)
        return True

    def caps(self, account_id: str) -> Caps | None:
        """The caps in force; None where the account is not armed."""
        newest = self._newest("arming", account_id=account_id)
        if newest is None or not newest["armed"]:
            return None
        return Caps(
            currency=newest["currency"],
            entity_micros=newest["cap_entity_micros"],
            account_micros=newest["cap_account_micros"],
            month_micros=newest["cap_month_micros"],
            bandit=newest["bandit"],
        )

    def arming(self, wall: Wall = PIPELINE) -> pl.DataFrame:
        """What is in force for each account that was ever armed: columns of `arming`."""
        rows = self._tables.read("arming", wall)
        return rows.filter(pl.col("number") == pl.col("number").max().over("account_id")).sort("account_id")

    def armed_for_bandit(self) -> list[str]:
        """Accounts in which shares of traffic may move budgets, sorted."""
        return self.arming().filter("armed", "bandit")["account_id"].to_list()

    def switch(self, *, killed: bool, by: str, why: str, at: datetime) -> None:
        """Set the kill switch, or take it back."""
        self._add("acting_switch", {}, {"killed": killed, "said_by": _named(by), "why": why, "at": at})

    def killed(self) -> str:
        """Who set the kill switch and why; empty where it is not set."""
        newest = self._newest("acting_switch")
        return f"by {newest['said_by']}: {newest['why']}" if newest is not None and newest["killed"] else ""

    def protect(self, entity_id: str, account_id: str, owner: str, *, protected: bool, by: str, at: datetime) -> None:
        """Never move the budget of an ad set or campaign, or take that back."""
        row = {"account_id": account_id, "owner": owner, "protected": protected, "said_by": _named(by), "at": at}
        self._add("protected_entities", {"entity_id": entity_id}, row)

    def is_protected(self, entity_id: str) -> bool:
        """Whether the newest word on it says so."""
        newest = self._newest("protected_entities", entity_id=entity_id)
        return newest is not None and newest["protected"]

    def approve(self, wish: Wish, *, by: str, at: datetime) -> None:
        """Let a raise that needs a person go ahead."""
        row = {
            "decision_id": wish.decision_id,
            "entity_id": wish.entity_id,
            "account_id": wish.account_id,
            "owner": wish.owner,
            "wanted_micros": wish.wanted_micros,
            "said_by": _named(by),
            "at": at,
        }
        self._tables.upsert("approvals", pl.DataFrame([row], schema=self._tables.schema("approvals")), overwrite=False)

    def approved(self, entity_id: str, since: datetime) -> int | None:
        """The largest budget of an entity that was approved since a moment; None where none was."""
        rows = self._tables.read("approvals", PIPELINE, entity_id=entity_id).filter(pl.col("at") >= since)
        return rows["wanted_micros"].max()  # pyright: ignore[reportReturnType]

    # What was moved.

    def begin(self, wish: Wish, *, by: str, at: datetime, undoes: str | None = None) -> str | None:
        """Write the intent to carry a wish out; its change id, None where the entity has one for the decision's day already."""
        entity, day = wish.entity_id, wish.as_of
        number = 0 if undoes is None else self._next("budget_changes", entity_id=entity, decision_day=day)
        change_id = f"c-{entity}-{day:%Y%m%d}-{number}"
        row = {
            "entity_id": entity,
            "decision_day": day,
            "number": number,
            "change_id": change_id,
            "account_id": wish.account_id,
            "owner": wish.owner,
            "entity_kind": wish.entity_kind,
            "currency": wish.currency,
            "kind": wish.kind,
            "decision_id": wish.decision_id,
            "status": "intent",
            "before_micros": wish.expected_micros,
            "after_micros": wish.wanted_micros,
            "undoes": undoes,
            "said_by": _named(by),
            "why": wish.reason,
            "intent_at": at,
        }
        done = self._tables.execute(pg.insert(_CHANGES).values(row).on_conflict_do_nothing())
        return change_id if done else None

    def advance(
        self, change_id: str, status: str, *, at: datetime, why: str | None = None, read_micros: int | None = None
    ) -> None:
        """Bring a change to its next state.

        Raises
        ------
        LedgerError : it is not in a state that comes before; nothing was changed.
        """
        moment = {"validated": "validated_at", "sent": "sent_at"}.get(status, "settled_at")
        before = {"validated": ("intent",), "sent": ("validated",)}.get(status, OPEN)
        told: dict[str, Any] = {"status": status, moment: at}
        told |= {"settled_why": why, "read_micros": read_micros} if moment == "settled_at" else {}
        row = sa.update(_CHANGES).where(_CHANGES.c.change_id == change_id, _CHANGES.c.status.in_(before)).values(told)
        if self._tables.execute(row) != 1:
            raise LedgerError(f"The change {change_id} cannot become '{status}': it is not {' or '.join(before)} any more.")

    def changes(self, wall: Wall = PIPELINE, *, since: datetime | None = None, **equal: Any) -> pl.DataFrame:
        """Changes, oldest first: columns of `budget_changes`."""
        rows = self._tables.read("budget_changes", wall, **equal)
        rows = rows if since is None else rows.filter(pl.col("intent_at") >= since)
        return rows.sort("intent_at", "entity_id", "number")

    def open_changes(self, account_id: str) -> pl.DataFrame:
        """Changes of an account whose outcome is not known, oldest first."""
        return self.changes(account_id=account_id, status=list(OPEN))

    # What became of wishes.

    def outcome(
        self, wish: Wish, outcome: str, *, guard: str | None, reason: str, at: datetime, change_id: str | None = None
    ) -> bool:
        """Add what became of a wish, where something else came of the entity's last one; whether people are to hear of it.

        They hear of every change that was made or tried, and of anything else when it has not been so for QUIET: each revision of a day's
        decisions asks again.
        """
        rows = self._tables.read("wish_outcomes", PIPELINE, entity_id=wish.entity_id).sort("at", "number")
        acted = change_id is not None
        same = rows.filter(pl.col("outcome") == outcome, pl.col("guard").eq_missing(pl.lit(guard)))
        last = rows.tail(1).select("outcome", "guard").rows()
        if acted or last != [(outcome, guard)]:
            row = {
                "account_id": wish.account_id,
                "owner": wish.owner,
                "outcome": outcome,
                "guard": guard,
                "reason": reason,
                "change_id": change_id,
                "at": at,
            }
            self._add("wish_outcomes", {"decision_id": wish.decision_id, "entity_id": wish.entity_id}, row)
        return acted or same.filter(pl.col("at") > at - QUIET).is_empty()

    def outcomes(self, wall: Wall = PIPELINE, **equal: Any) -> pl.DataFrame:
        """What became of wishes, oldest first: columns of `wish_outcomes`."""
        return self._tables.read("wish_outcomes", wall, **equal).sort("at", "decision_id", "entity_id", "number")

    # Rows with numbers.

    def _newest(self, name: str, **equal: Any) -> dict[str, Any] | None:
        rows = self._tables.read(name, PIPELINE, **equal)
        return rows.sort("number").row(-1, named=True) if rows.height else None

    def _next(self, name: str, **equal: Any) -> int:
        newest = self._newest(name, **equal)
        return 1 if newest is None else newest["number"] + 1

    def _add(self, name: str, key: dict[str, Any], row: Mapping[str, Any]) -> None:
        """Add a row under the next number of its key."""
        with self._tables.lock(f"ledger/{name}"):
            full = {**key, **row} | {"number": self._next(name, **key)}
            self._tables.upsert(name, pl.DataFrame([full], schema=_part(frame_schema(schema.metadata.tables[name]), full)))


def _part(columns: pl.Schema, row: Mapping[str, Any]) -> pl.Schema:
    return pl.Schema({name: kind for name, kind in columns.items() if name in row})


def _named(by: str) -> str:
    if not by.strip():
        raise LedgerError("Say who decides this: --by NAME.")
    return by.strip()


def wishes(rows: pl.DataFrame) -> list[Wish]:
    """Rows of `budget_wishes` as wishes."""
    return [Wish(**row) for row in rows.select(Wish.__dataclass_fields__.keys()).to_dicts()]
