"""Whether token, permissions and accounts are as they should be, in words for a person.

What belongs here: reading accounts, and the checks of `learning-assets connect`. What does not: printing them, and fetching facts.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from learning_assets.finding import Finding
from learning_assets.platforms.meta import errors
from learning_assets.platforms.meta.accounts import AdAccount
from learning_assets.platforms.meta.transport import Fetch, Graph, Params, Scope
from learning_assets.platforms.source import SourceError
from learning_assets.settings import Meta

ACCOUNT_FIELDS = "account_id,name,currency,timezone_name"
_SOON = timedelta(days=7)


def describe(graph: Graph, account: str, scope: Scope) -> AdAccount:
    """An account by its id, asked directly; GraphError where it cannot be read or says no currency or no known time zone."""
    return _account(graph.read((f"act_{account}", ""), {"fields": ACCOUNT_FIELDS}, scope))


def listed(graph: Graph, scope: Scope) -> list[AdAccount]:
    """All accounts of the token, in the platform's order; GraphError as in `describe`."""
    found = [_account(row) for row in graph.rows(("me", "adaccounts"), {"fields": ACCOUNT_FIELDS}, scope)]
    return list({one.account_id: one for one in found}.values())


def _account(node: dict[str, Any]) -> AdAccount:
    name = str(node.get("account_id") or node.get("id") or "").removeprefix("act_")
    currency, zone = node.get("currency"), node.get("timezone_name")
    if not name or not isinstance(currency, str) or not isinstance(zone, str):
        raise errors.Misconfigured(f"the platform does not say id, currency and time zone of account {name or '?'}")
    try:
        ZoneInfo(zone)
    except (OSError, ValueError):
        raise errors.Misconfigured(f"the time zone {zone!r} of account {name} is not known here") from None
    return AdAccount(name, node.get("name"), currency, zone)


def examine(settings: Meta, now: datetime) -> list[Finding]:
    """Check token, its expiry, permissions, the version that is served, and every account, in this order.

    Stops after the token where the platform refuses it. Raises nothing that the platform says; SourceError never.
    """
    try:
        graph = Graph(settings)
    except SourceError:
        return [
            Finding(
                False,
                "token",
                "There is no access token.",
                "Set LEARNING_META_ACCESS_TOKEN to the token of a system user with the permission ads_read.",
            )
        ]
    scope = graph.scope(Fetch())
    try:
        me = graph.read(("me", ""), {"fields": "id,name"}, scope)
    except errors.TokenRefused as error:
        says, remedy = errors.token_words(error)
        return [Finding(False, "token", _sentence(says), remedy)]
    except errors.GraphError as error:
        return [
            Finding(
                False,
                "server",
                f"{settings.graph_url} does not answer as a Graph server: {error}.",
                "Check LEARNING_META_GRAPH_URL and the network, then try again.",
            )
        ]
    findings = [
        Finding(True, "token", f"The platform accepts the token, of {me.get('name') or me.get('id') or 'an unnamed user'}.")
    ]
    findings.append(_expiry(graph, settings, now))
    findings += _permissions(graph)
    findings.append(_version(scope, settings))
    findings += _accounts(graph, settings)
    return findings


def _expiry(graph: Graph, settings: Meta, now: datetime) -> Finding:
    """When the token expires; only the app itself may ask, with its secret."""
    what = "expiry"
    secret = settings.app_secret.get_secret_value().strip() if settings.app_secret else ""
    if not secret:
        return Finding(
            None,
            what,
            "When the token expires cannot be said without the app's secret.",
            "Set LEARNING_META_APP_SECRET to be warned a week before.",
        )
    scope = graph.scope(Fetch())
    try:
        app = graph.read(("app", ""), {"fields": "id"}, scope)
        # The app asks for itself here: its token replaces the user's, and the signature, which is of the user's token, is left out.
        params: Params = {"input_token": graph.token, "access_token": f"{app.get('id')}|{secret}", "appsecret_proof": None}
        data = graph.read(("debug_token", ""), params, scope).get("data")
    except errors.GraphError as error:
        return Finding(None, what, f"When the token expires cannot be said: {error}.")
    if not isinstance(data, dict):
        return Finding(None, what, "When the token expires cannot be said: the platform did not tell.")
    moments = [int(data[name]) for name in ("expires_at", "data_access_expires_at") if data.get(name)]
    if not moments:
        return Finding(True, what, "The token does not expire.")
    ends = datetime.fromtimestamp(min(moments), UTC)
    soon = ends - now < _SOON
    return Finding(
        not soon,
        what,
        f"The token expires on {ends:%Y-%m-%d at %H:%M} UTC.",
        "Make a new one for the system user in Business settings and set LEARNING_META_ACCESS_TOKEN." if soon else None,
    )


def _permissions(graph: Graph) -> list[Finding]:
    try:
        rows = graph.rows(("me", "permissions"), {}, graph.scope(Fetch()))
    except errors.GraphError as error:
        return [Finding(None, "permissions", f"The token's permissions cannot be read: {error}.")]
    granted = {str(row.get("permission")) for row in rows if row.get("status") == "granted"}
    reads = "ads_read" in granted or "ads_management" in granted
    findings = [
        Finding(True, "permission to read", "The token may read ads (ads_read).")
        if "ads_read" in granted
        else Finding(True, "permission to read", "The token may read ads (by ads_management).")
        if reads
        else Finding(
            False,
            "permission to read",
            "The token lacks the permission ads_read.",
            "Make a token for the system user that has it: Business settings, System users, Generate token, ads_read.",
        )
    ]
    findings.append(
        Finding(True, "permission to act", "The token may change budgets (ads_management).")
        if "ads_management" in granted
        else Finding(
            True,
            "permission to act",
            "The token may not change budgets: it is read only, and acting stays off (ads_management is missing).",
        )
    )
    return findings


def _version(scope: Scope, settings: Meta) -> Finding:
    what, served = "version", scope.api_version
    if served is None:
        return Finding(None, what, f"Version {settings.api_version} was asked for; the platform does not say which it served.")
    if served == settings.api_version:
        return Finding(True, what, f"The platform serves version {served}, as asked.")
    return Finding(
        False,
        what,
        f"The platform serves version {served} where {settings.api_version} was asked for, which it serves no more; figures may mean something else.",
        f"Read the platform's changelog, then set LEARNING_META_API_VERSION={served}.",
    )


def _accounts(graph: Graph, settings: Meta) -> list[Finding]:
    from learning_assets.platforms.meta.source import account_ids

    fetch = Fetch()
    try:
        if settings.accounts.strip().lower() == "all":
            found = listed(graph, graph.scope(fetch))
            if not found:
                return [
                    Finding(
                        False,
                        "accounts",
                        "The token can read no ad account.",
                        "Assign accounts to its system user in Business settings.",
                    )
                ]
            return [_readable(one) for one in found]
        names = account_ids(settings.accounts)
    except SourceError as error:
        said, _, remedy = str(error).partition(". ")
        return [Finding(False, "accounts", f"{said}.", remedy)]
    except errors.GraphError as error:
        return [
            Finding(
                False,
                "accounts",
                f"The accounts of the token cannot be listed: {error}.",
                "Name them in LEARNING_META_ACCOUNTS.",
            )
        ]
    findings: list[Finding] = []
    for name in names:
        try:
            findings.append(_readable(describe(graph, name, graph.scope(fetch, name))))
        except errors.GraphError as error:
            told = errors.explain(name, error)
            findings.append(Finding(False, f"account {name}", _sentence(told.says), told.remedy))
    return findings


def _readable(account: AdAccount) -> Finding:
    return Finding(
        True,
        f"account {account.account_id}",
        f"Account {account.account_id} is readable: {account.currency}, {account.timezone}.",
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
