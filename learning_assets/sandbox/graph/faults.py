"""Faults: misbehaviour of the platform that can be switched on, per account and per call count.

What belongs here: which faults there are, which calls each of them concerns, and counting the calls. What does not: what a fault
does to an answer (`answers`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Stage = Literal["any", "list", "insights", "rows", "hourly", "query", "launch", "status", "result", "budget", "object", "ads"]
"""The calls that a fault concerns. `list`: pages of any edge; `insights`: pages of insights, of a report or not; `rows`: the same, level
ad; `hourly`: the same with hours; `query`: pages of insights and the launch of a report; `launch`: the launch of a report; `status`: a
report's node; `result`: a report's rows; `budget`: a change of a budget; `object`: reading an ad set or campaign; `ads`: reading ads or
creatives."""

FAULTS: Mapping[str, Stage] = {
    "throttle": "any",
    "throttle_headers": "any",
    "html_502": "any",
    "http_500": "any",
    "transient": "any",
    "not_json": "any",
    "slow": "any",
    "reset": "any",
    "token_expired": "any",
    "permission": "any",
    "unknown_account": "any",
    "version_expired": "any",
    "same_ids": "any",
    "empty_page": "list",
    "repeated_cursor": "list",
    "doubled_page": "list",
    "dropped_rows": "rows",
    "missing_action_values": "insights",
    "missing_actions": "insights",
    "reach_absent": "insights",
    "restated_down": "insights",
    "clicks_lost": "insights",
    "late_hourly": "hourly",
    "missing_hourly_key": "hourly",
    "too_much_data": "query",
    "too_much_1487534": "query",
    "running_at_100": "status",
    "report_failed": "status",
    "report_skipped": "status",
    "report_stuck": "status",
    "fresh_report_missing": "status",
    "not_ready": "result",
    "success_without_effect": "budget",
    "budget_changes": "budget",
    "foreign_edit": "object",
    "unknown_cta": "ads",
}


@dataclass
class Fault:
    """A fault that is switched on: it fires from the (`after` + 1)-th call that it concerns, `times` times (None: for ever)."""

    name: str
    account: str | None
    after: int
    times: int | None
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    seen: int = 0

    def fires(self) -> bool:
        """Count a call that the fault concerns, and say whether it hits it."""
        self.seen += 1
        return self.seen > self.after and (self.times is None or self.seen <= self.after + self.times)


@dataclass(frozen=True, slots=True)
class Call:
    """What a fault can see of a call."""

    method: str
    path: str
    account: str | None
    stages: frozenset[Stage]
    days: int = 0
    fields: int = 0
    limit: int = 0


class Faults:
    """The faults that are switched on."""

    def __init__(self) -> None:
        self._on: list[Fault] = []

    def switch_on(self, name: str, account: str | None, after: int, times: int | None, options: dict[str, Any]) -> None:
        """Raises ValueError for a name that is no fault."""
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}; there are: {', '.join(FAULTS)}")
        self._on.append(Fault(name, account.removeprefix("act_") if account else None, after, times, options))

    def clear(self) -> None:
        """Switch all faults off."""
        self._on.clear()

    def hitting(self, call: Call) -> dict[str, Fault]:
        """The faults that hit a call, by name; every fault that concerns it counts it.

        Options that every fault understands: `path`, a part that the call's path must have, and `method`.
        """
        hit: dict[str, Fault] = {}
        for fault in self._on:
            if fault.account is not None and fault.account != call.account:
                continue
            if FAULTS[fault.name] not in call.stages or str(fault.options.get("path", "")) not in call.path:
                continue
            if fault.options.get("method", call.method) != call.method or not _concerns(fault, call):
                continue
            if fault.fires():
                hit.setdefault(fault.name, fault)
        return hit

    def __bool__(self) -> bool:
        return bool(self._on)


def _concerns(fault: Fault, call: Call) -> bool:
    """Too much data is more than one of the bounds in the options; without options, any."""
    if fault.name not in ("too_much_data", "too_much_1487534"):
        return True
    bounds = {name: int(fault.options[name]) for name in ("limit", "days", "fields") if name in fault.options}
    asked = {"limit": call.limit, "days": call.days, "fields": call.fields}
    return not bounds or any(asked[name] > most for name, most in bounds.items())
