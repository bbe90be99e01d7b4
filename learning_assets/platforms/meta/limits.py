"""Rate limits: what the headers tell of them, and who must wait until when.

What belongs here: reading the four usage headers, and holding accounts (or all of them) back. What does not: sending requests.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

_PERCENT = ("call_count", "total_cputime", "total_time")


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer's headers tell: utilisation of the account's and of the app's limits, per cent, and seconds to wait; NULL where untold.

    `reset` is the time until the account's own count starts anew, `regain` the time until a refused business use case is let in again.
    """

    account_pct: float | None = None
    app_pct: float | None = None
    regain: float | None = None
    reset: float | None = None

    @property
    def pct(self) -> float | None:
        """The highest utilisation."""
        return max((pct for pct in (self.account_pct, self.app_pct) if pct is not None), default=None)

    def wait(self, code: int | None) -> float | None:
        """Seconds that a refusal with `code` asks to wait, or None where the headers do not say."""
        seconds = self.reset or self.regain if code == 17 else self.regain
        return seconds or None


def usage(headers: Mapping[str, str]) -> Usage:
    """Read the headers, whose names may have any case; what is not as described is left out, for headers are advice."""
    lower = {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-")}
    account: list[float] = []
    app: list[float] = []
    regain: list[float] = []
    cases = _parsed(lower.get("x-business-use-case-usage"))
    for entries in cases.values():
        # One id has an entry for each of its use cases; the first is not the fullest.
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict):
                account += _numbers(entry, *_PERCENT)
                regain += [60 * minutes for minutes in _numbers(entry, "estimated_time_to_regain_access")]
    app += _numbers(_parsed(lower.get("x-app-usage")), *_PERCENT)
    own = _parsed(lower.get("x-ad-account-usage"))
    account += _numbers(own, "acc_id_util_pct")
    insights = _parsed(lower.get("x-fb-ads-insights-throttle"))
    account += _numbers(insights, "acc_id_util_pct")
    app += _numbers(insights, "app_id_util_pct")
    return Usage(
        account_pct=max(account, default=None),
        app_pct=max(app, default=None),
        regain=max(regain, default=None),
        reset=max(_numbers(own, "reset_time_duration"), default=None),
    )


def _parsed(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _numbers(entry: Mapping[str, Any], *names: str) -> list[float]:
    found: list[float] = []
    for name in names:
        value = entry.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.append(float(value))
    return found


class Holds:
    """Until when each account, and the app as a whole, must not be asked; safe for threads.

    A hold after a refusal is binding, one after high utilisation is courtesy.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str | None, bool], float] = {}

    def hold(self, account: str | None, seconds: float, *, binding: bool) -> None:
        """Hold `account`, or everybody where it is None, for `seconds` from now."""
        with self._lock:
            key = (account, binding)
            self._until[key] = max(self._until.get(key, 0.0), monotonic() + seconds)

    def left(self, account: str | None, *, binding: bool) -> float:
        """Seconds that a request for `account` has to wait still."""
        with self._lock:
            until = max(self._until.get((who, binding), 0.0) for who in (account, None))
        return max(until - monotonic(), 0.0)
