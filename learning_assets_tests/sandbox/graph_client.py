"""The official SDK as a client of the Graph server, and a plain HTTP client beside it for what the SDK hides."""

import json
from datetime import UTC, date, datetime
from typing import Any

import requests
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from learning_assets.sandbox.control import Control
from learning_assets.sandbox.market import Market, MarketParams

EPOCH = date(2026, 3, 1)
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MARKET: dict[str, int | str | float] = {
    "epoch": "2026-03-01",
    "seed": 7,
    "accounts": 9,
    "ads": 12,
    "impressions": 1_000,
    "history_days": 60,
    "deleted_share": 0.25,
}
"""Nine accounts, so that there are yen (the fifth) and a zone of +13 (the eighth)."""
DOLLARS, EUROS, YEN, TONGA = "4000001", "4000002", "4000005", "4000008"


def market() -> Market:
    """The market that is served, in process."""
    return Market(MarketParams(seed=7, accounts=9, ads=12, impressions=1_000, deleted_share=0.25), EPOCH)


def sdk(control: Control) -> FacebookAdsApi:
    """The official SDK, pointed at a server."""
    session: Any = FacebookSession(access_token=control.token, app_secret="not a secret", timeout=(5, 60))
    session.GRAPH = control.url
    session.requests.trust_env = False
    return FacebookAdsApi(session, api_version="v26.0")


def node(kind: Any, node_id: str, api: FacebookAdsApi) -> Any:
    """An object of the SDK, whose own types leave open what its methods return."""
    return kind(node_id, api=api)


class Client:
    """Plain requests to the Graph API, with the token in the query."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str, **params: Any) -> requests.Response:
        """A read; values that are no text are sent as JSON."""
        return self._send("GET", path, params)

    def post(self, path: str, **params: Any) -> requests.Response:
        """A write."""
        return self._send("POST", path, params)

    def rows(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All rows of an edge, following the cursor as long as there is a next page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(path, **params).json()
            found += page["data"]
            if "next" not in page.get("paging", {}):
                return found
            params["after"] = page["paging"]["cursors"]["after"]

    def insights(self, account: str, since: str, until: str | None = None, **params: Any) -> list[dict[str, Any]]:
        """Daily insights of an account's ads."""
        asked = {"level": "ad", "time_increment": 1, "limit": 500, "time_range": {"since": since, "until": until or since}}
        return self.rows(f"act_{account}/insights", **{**asked, **params})

    def _send(self, method: str, path: str, params: dict[str, Any]) -> requests.Response:
        text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
        query = {"access_token": self.control.token}
        if method == "GET":
            query |= text
        url = f"{self.control.url}/v26.0/{path}"
        return self.session.request(method, url, params=query, data=text if method == "POST" else None, timeout=20)


ALL = ["ACTIVE", "PAUSED", "CAMPAIGN_PAUSED", "ADSET_PAUSED", "ARCHIVED", "DELETED", "DISAPPROVED", "IN_PROCESS", "WITH_ISSUES"]
EVERY_STATUS = [{"field": "ad.effective_status", "operator": "IN", "value": ALL}]


def purchases(row: dict[str, Any], key: str = "value", what: str = "actions") -> float:
    """Purchases of a row, of one name."""
    return next((float(a.get(key, 0)) for a in row.get(what, []) if a["action_type"] == "omni_purchase"), 0.0)
