"""Budgets of the Marketing API: read, validated, written once, and the account's own log of changes.

What belongs here: the questions on the wire and what their answers mean. What does not: guards and the ledger.

The platform has no idempotency keys, so a write is an absolute amount that is sent once; whatever is not a clear refusal is `Unanswered`, and only reading the
budget decides. Budgets belong to the campaign or to the ad set, never to both; lifetime budgets are not touched.
(https://developers.facebook.com/docs/marketing-api/reference/ad-campaign)
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from learning_assets.platforms.budgets import AccountFacts, Budget, Edit, EntityKind, Refused, Unanswered, minor_units
from learning_assets.platforms.meta import errors, money
from learning_assets.platforms.meta.transport import Fetch, Graph

if TYPE_CHECKING:
    from collections.abc import Callable

_FIELDS = "id,account_id,status,effective_status,daily_budget,lifetime_budget"
_LEARNING = ",learning_stage_info"
_LOG = "event_type,event_time,actor_name,object_id,extra_data"
_EVENTS = ("update_ad_set_budget", "update_campaign_budget")
_LIVE = frozenset({"ACTIVE", "IN_PROCESS", "PENDING_REVIEW", "PREAPPROVED", "WITH_ISSUES"})


class MetaBudgets:
    """Budgets behind a Graph server.

    Parameters
    ----------
    graph : gives the server, found anew for each call where it may move.
    simulated : whether it is the sandbox's own.
    """

    def __init__(self, graph: "Callable[[], Graph]", *, simulated: bool) -> None:
        self._graph = graph
        self.simulated = simulated

    def account(self, account_id: str) -> AccountFacts:
        """Currency, zone and smallest budget of an account."""
        found = self._read((f"act_{account_id}",), {"fields": "account_id,currency,timezone_name,min_daily_budget"}, account_id)
        currency = str(found.get("currency"))
        try:
            unit = money.MICROS // money.minor_units(currency)
        except money.UnknownCurrency as error:
            raise Refused(str(error)) from error
        least = _whole(found.get("min_daily_budget"))
        minimum = None if least is None else least * unit
        return AccountFacts(account_id, currency, str(found.get("timezone_name")), unit, minimum)

    def read(self, entity_kind: EntityKind, entity_id: str) -> Budget:
        """The budget of an ad set or campaign."""
        fields = _FIELDS + (_LEARNING if entity_kind == "ad_set" else "")
        found = self._read((entity_id, ""), {"fields": fields}, None)
        account_id = str(found.get("account_id") or "").removeprefix("act_")
        if str(found.get("id")) != entity_id or not account_id:
            raise Refused(f"the platform's answer is not about {entity_kind.replace('_', ' ')} {entity_id}")
        facts = self.account(account_id)
        daily, lifetime = _whole(found.get("daily_budget")), _whole(found.get("lifetime_budget"))
        stage = found.get("learning_stage_info")
        return Budget(
            account_id=account_id,
            entity_kind=entity_kind,
            entity_id=entity_id,
            micros=daily * facts.minor_micros if daily and not lifetime else None,
            lifetime=bool(lifetime),
            live=str(found.get("effective_status")) in _LIVE,
            learning=str(stage["status"]) if isinstance(stage, Mapping) and stage.get("status") else None,
        )

    def edits(self, account_id: str, since: datetime) -> list[Edit]:
        """Changes of budgets in the account's log since a moment, oldest first."""
        graph = self._graph()
        facts = self.account(account_id)
        asked = {"fields": _LOG, "since": int(since.timestamp())}
        with _clear():
            rows = graph.rows((f"act_{account_id}", "activities"), asked, graph.scope(Fetch(), account_id))
        found = [_edit(row, facts.minor_micros) for row in rows if row.get("event_type") in _EVENTS]
        return sorted((edit for edit in found if edit.at >= since), key=lambda edit: edit.at)

    def validate(self, entity_id: str, micros: int, facts: AccountFacts) -> None:
        """Ask whether a budget would be accepted (`execution_options` = validate_only)."""
        self._post(entity_id, micros, facts, ["validate_only"])

    def write(self, entity_id: str, micros: int, facts: AccountFacts) -> None:
        """Set a daily budget."""
        self._post(entity_id, micros, facts, [])

    def _post(self, entity_id: str, micros: int, facts: AccountFacts, options: list[Literal["validate_only"]]) -> None:
        params: dict[str, Any] = {"daily_budget": minor_units(micros, facts.currency, facts)}
        if options:
            params["execution_options"] = options
        graph = self._graph()
        with _clear():
            graph.write((entity_id, ""), params, graph.scope(Fetch(), facts.account_id))

    def _read(self, path: tuple[str, ...], params: dict[str, Any], account_id: str | None) -> dict[str, Any]:
        graph = self._graph()
        with _clear():
            return graph.read(path, params, graph.scope(Fetch(), account_id))


@contextmanager
def _clear() -> Iterator[None]:
    """What the transport raises, as the protocol's two errors."""
    try:
        yield
    except errors.Transient as error:
        raise Unanswered(str(error)) from error
    except errors.GraphError as error:
        raise Refused(str(error)) from error


def _edit(row: Mapping[str, Any], unit: int) -> Edit:
    try:
        extra = json.loads(row.get("extra_data") or "{}")
    except ValueError:
        extra = {}
    at = datetime.strptime(str(row["event_time"]), "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)
    old, new = (
        _whole(part.get(name)) if isinstance(part := extra.get(name), Mapping) else None for name in ("old_value", "new_value")
    )
    return Edit(
        entity_id=str(row.get("object_id")),
        at=at,
        old_micros=None if old is None else old * unit,
        new_micros=None if new is None else new * unit,
        who=str(row.get("actor_name") or "somebody"),
    )


def _whole(value: Any) -> int | None:
    """An amount in minor units; None where it is not told. Refused where it is none."""
    if value is None or value == "":
        return None
    text = str(value)
    if isinstance(value, bool | float) or not text.isdigit():
        raise Refused(f"the platform says {value!r} where an amount in minor units belongs")
    return int(text)
