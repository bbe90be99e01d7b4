"""How much of its limits a caller has used, and the headers that tell it.

What belongs here: counting calls over the last hour of the server's clock, and the four usage headers. What does not: errors.
"""

import json
from collections import deque
from math import ceil

SCORE = {"GET": 1, "POST": 3, "DELETE": 3}


class Usage:
    """Calls of the last hour by account, against a quota of score an hour (a read is 1, a write 3)."""

    def __init__(self, quota: int = 10_000_000) -> None:
        self.quota = quota
        self._calls: dict[str, deque[tuple[float, int]]] = {}
        self._sums: dict[str, int] = {}

    def count(self, account: str, method: str, at: float) -> float:
        """Count a call at `at` (seconds) and give the utilisation in per cent."""
        calls = self._calls.setdefault(account, deque())
        if calls and calls[-1][0] > at:
            # The clock was set back: what was called later has not been called yet.
            calls.clear()
            self._sums[account] = 0
        score = SCORE.get(method, 1)
        calls.append((at, score))
        total = self._sums.get(account, 0) + score
        while calls and calls[0][0] <= at - 3600:
            total -= calls.popleft()[1]
        self._sums[account] = total
        return 100 * total / self.quota

    def seconds_until_free(self, account: str, at: float) -> int:
        """Seconds until the account may call again."""
        calls, over = self._calls.get(account, deque()), self._sums.get(account, 0) - self.quota
        for when, score in calls:
            if over <= 0:
                break
            over -= score
            if over <= 0:
                return ceil(when + 3600 - at)
        return 0


def headers(account: str, account_pct: float, app_pct: float, wait: int = 0, kind: str = "ads_insights") -> dict[str, str]:
    """The four headers of utilisations in per cent; `wait` is in seconds."""
    tier = "standard_access"
    account_used, app_used = round(account_pct, 2), round(app_pct, 2)
    business = {
        "type": kind,
        "call_count": int(account_pct),
        "total_cputime": int(account_pct) // 2,
        "total_time": int(account_pct) // 2,
        "estimated_time_to_regain_access": ceil(wait / 60),
        "ads_api_access_tier": tier,
    }
    other = {**business, "type": "ads_management", "call_count": 0, "total_cputime": 0, "total_time": 0}
    other["estimated_time_to_regain_access"] = 0
    return {
        "x-business-use-case-usage": json.dumps({account: [other, business]}),
        "x-app-usage": json.dumps(
            {"call_count": int(app_pct), "total_cputime": int(app_pct) // 2, "total_time": int(app_pct) // 2}
        ),
        "x-ad-account-usage": json.dumps(
            {"acc_id_util_pct": account_used, "reset_time_duration": wait, "ads_api_access_tier": tier}
        ),
        "x-fb-ads-insights-throttle": json.dumps(
            {"app_id_util_pct": app_used, "acc_id_util_pct": account_used, "ads_api_access_tier": tier}
        ),
    }
