"""Requests and their answers: tokens, nodes, edges, pages, reports, batches, budget changes, and what faults do to them.

What belongs here: everything between a parsed request and the answer's status, headers and body. What does not: the shapes of nodes
and rows (`objects`, `insights`), the transport and the control API (`app`).
"""

import base64
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from learning_assets.sandbox.graph import errors, insights, objects, usage
from learning_assets.sandbox.graph.errors import GraphError, invalid
from learning_assets.sandbox.graph.faults import Call, Fault, Faults, Stage
from learning_assets.sandbox.graph.insights import HIDDEN, Query
from learning_assets.sandbox.graph.objects import Made, Objects, chosen, parse_fields
from learning_assets.sandbox.graph.world import CHANGES_AN_HOUR, Account, Launched, Listing, World

VERSION = "v26.0"
VERSIONS = ("v25.0", "v26.0")
"""Versions that are served; older ones are answered as the oldest of these, as the platform upgrades them by itself."""
PAGE = 25
MOST_REPORTS = 10_000
"""Reports that are kept."""
MOST_LOGGED = 200_000
"""Requests that are remembered."""
MOST_ROWS = 60_000
"""Rows of insights that are kept as text."""
HIGHEST_DAILY_USD = 1_000_000

APP_ID = "1500000000000001"
"""The app that the token is of."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the platform sees it: the path without the host, and the parameters of the query and the body together."""

    method: str
    path: str
    params: Mapping[str, str]
    bearer: str | None = None


@dataclass
class Reply:
    """An answer; `seconds` to wait before it is sent, and `dropped` if the connection is closed instead."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0
    dropped: bool = False


@dataclass
class Report:
    """An asynchronous report."""

    report_id: str
    account: Account
    query: Query
    as_of: datetime
    asked: Mapping[str, str]
    polls: int = 0
    outcome: str | None = None
    """`failed`, `skipped` or `stuck`, if a fault decided so."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What a path names."""

    node: str
    edge: str | None
    account: Account | None
    report: Report | None
    version: str


class Graph:
    """The Graph API over a world.

    Parameters
    ----------
    world : what is served.
    url : where the server stands, without a slash at the end.
    token : the access token that is valid.
    """

    def __init__(self, world: World, url: str, token: str) -> None:
        self.world = world
        self.url = url
        self.token = token
        self.objects = Objects(world, url)
        self.faults = Faults()
        self.usage = usage.Usage()
        self.report_polls = 1
        """Looks at a report before the one that finds it complete."""
        self.log: list[dict[str, Any]] = []
        self.reports: dict[str, Report] = {}
        self._rows: OrderedDict[object, list[str]] = OrderedDict()
        self._kept = 0
        self._requests = 0
        self._launched = 0

    # Requests.

    def answer(self, request: Request, logged: bool = True) -> Reply:
        """The answer to a request; errors of the API are answers too."""
        self._requests += 1
        trace = "A" + hashlib.sha256(str(self._requests).encode()).hexdigest()[:22]
        started = len(self.log)
        target = self._target(request)
        hit: dict[str, Fault] = {}
        try:
            self._authorize(request)
            hit = self._hit(request, target)
            reply = self._faulty(request, target, hit)
        except GraphError as error:
            reply = Reply(error.status, _encode(error.body(trace)), dict(error.headers))
        account = target.account.account_id if target.account else None
        reply.headers = {**self._headers(request, target, hit, trace), **reply.headers}
        if logged:
            entry = {
                "method": request.method,
                "path": request.path,
                "account": account,
                "status": 0 if reply.dropped else reply.status,
                "fault": ",".join(hit) or None,
                "at": self.world.clock.now().isoformat(),
            }
            self.log.insert(started, entry)
            if len(self.log) > MOST_LOGGED:
                del self.log[: MOST_LOGGED // 10]
        return reply

    def _target(self, request: Request) -> _Target:
        parts = [part for part in request.path.split("/") if part]
        version = VERSION
        if parts and parts[0].startswith("v") and parts[0][1:].replace(".", "", 1).isdigit():
            version = parts.pop(0)
        node, edge = (parts[0] if parts else ""), (parts[1] if len(parts) > 1 else None)
        report = self.reports.get(node)
        account = (
            report.account
            if report
            else self.world.accounts.get(node.removeprefix("act_"))
            if node.startswith("act_")
            else self.world.account_of(node)
        )
        if account is None and (audience := objects.audience_of(node)):
            account = self.world.accounts.get(audience[0])
        return _Target(node, edge, account, report, version)

    def _authorize(self, request: Request) -> None:
        given = request.params.get("access_token") or request.bearer
        if not given:
            raise errors.no_token()
        if given == "EXPIRED":
            raise errors.expired_token()
        # An app token is an id and a secret; the sandbox knows no apps, so any pair is one.
        if given != self.token and "|" not in given:
            raise errors.invalid_token()

    def _hit(self, request: Request, target: _Target) -> dict[str, Fault]:
        if not self.faults:
            return {}
        stages: set[Stage] = {"any"}
        params, days, fields, limit = request.params, 0, 0, int(_number(request.params, "limit", PAGE))
        if request.method == "GET" and target.edge is not None:
            stages.add("list")
        asked = params
        if target.edge == "insights":
            if target.report:
                asked = target.report.asked
                stages |= {"result"} if request.method == "GET" else set[Stage]()
            if request.method == "GET":
                stages |= {"insights", "query"}
                level = asked.get("level") or ("ad" if target.node.startswith("123") else "")
                if level == "ad":
                    stages.add("rows")
                if asked.get("breakdowns", "[]") not in ("", "[]"):
                    stages.add("hourly")
            else:
                # A report has no pages yet, so it cannot ask for too many rows a page.
                stages |= {"launch", "query"}
                limit = 0
            days, fields = _asked_days(asked), len(insights.listed(asked.get("fields", "")))
        elif target.report and target.edge is None:
            stages.add("status")
        elif request.method == "POST" and "daily_budget" in params:
            stages.add("budget")
        elif request.method == "GET" and target.edge is None and target.node[:3] in ("121", "122"):
            stages.add("object")
        if request.method == "GET" and (target.edge in ("ads", "adcreatives") or target.node[:3] in ("123", "124")):
            stages.add("ads")
        account = target.account.account_id if target.account else None
        return self.faults.hitting(Call(request.method, request.path, account, frozenset(stages), days, fields, limit))

    def _headers(self, request: Request, target: _Target, hit: Mapping[str, Fault], trace: str) -> dict[str, str]:
        account = target.account.account_id if target.account else "0"
        at = self.world.clock.now().timestamp()
        account_pct = self.usage.count(account, request.method, at)
        app_pct, wait = self.usage.count("app", request.method, at) / max(len(self.world.accounts), 1), 0
        if (fault := hit.get("throttle_headers")) is not None:
            account_pct = app_pct = float(fault.options.get("pct", 95))
        if (fault := hit.get("throttle")) is not None:
            account_pct, wait = 100.0, int(fault.options.get("wait", 60))
            app_pct = 100.0 if fault.options.get("code") == "app" else app_pct
        version = target.version if target.version in VERSIONS else VERSIONS[0]
        if (fault := hit.get("version_expired")) is not None:
            version = str(fault.options.get("version", "v27.0"))
        kind = "ads_insights" if target.edge == "insights" or target.report else "ads_management"
        return {
            "content-type": "application/json; charset=UTF-8",
            "facebook-api-version": version,
            "x-fb-trace-id": trace,
            "x-fb-request-id": trace,
            **usage.headers(account, account_pct, app_pct, wait, kind),
        }

    # Faults.

    def _faulty(self, request: Request, target: _Target, hit: Mapping[str, Fault]) -> Reply:
        """The answer as the faults that hit the request leave it."""
        self._refuse(request, target, hit)
        if "html_502" in hit:
            return _html(502)
        if "http_500" in hit:
            return Reply(500, b"", {"content-type": "text/html; charset=utf-8"})
        if "not_json" in hit:
            return Reply(200, b"Service Unavailable", {"content-type": "text/plain"})
        if "same_ids" in hit and target.account is not None:
            request = replace(request, params=_with_account(request.params, target.account))
        reply = self._answer(request, target, hit)
        if (fault := hit.get("slow")) is not None:
            reply.seconds = float(fault.options.get("seconds", 5))
        if "reset" in hit:
            reply.dropped = True
        if "same_ids" in hit and target.account is not None:
            reply.body = _without_account(reply.body, target.account)
        if "foreign_edit" in hit:
            self._edit_foreign(target.node, hit["foreign_edit"])
        return reply

    def _refuse(self, request: Request, target: _Target, hit: Mapping[str, Fault]) -> None:
        if (fault := hit.get("throttle")) is not None:
            raise errors.throttled(str(fault.options.get("code", "account")))
        if "token_expired" in hit:
            raise errors.expired_token()
        if (fault := hit.get("permission")) is not None:
            raise errors.permission(int(fault.options.get("code", 200)), str(fault.options.get("name", "ads_read")))
        if "unknown_account" in hit or "fresh_report_missing" in hit:
            raise errors.unknown_object(target.node, request.method.lower())
        if "transient" in hit:
            raise errors.transient()
        if "too_much_data" in hit:
            raise errors.reduce_data()
        if "too_much_1487534" in hit:
            raise errors.too_much_data()
        if "budget_changes" in hit:
            raise errors.budget_changes()
        account = target.account.account_id if target.account else "0"
        at = self.world.clock.now().timestamp()
        if (wait := self.usage.seconds_until_free(account, at)) > 0:
            error = errors.throttled("business" if target.edge == "insights" else "account")
            error.headers = usage.headers(account, 100.0, 0.0, wait)
            raise error

    def _edit_foreign(self, node: str, fault: Fault) -> None:
        account = self.world.account_of(node)
        if account is None:
            return
        micros = round(self.world.budget(node) * float(fault.options.get("factor", 1.3)) / account.minor_micros)
        self.world.change_budget(node, micros * account.minor_micros, "A person", "Ads Manager")

    # Answers.

    def _answer(self, request: Request, target: _Target, hit: Mapping[str, Fault]) -> Reply:
        if target.node == "" and request.method == "POST":
            return self._batch(request)
        if target.node == "" and "ids" in request.params:
            return _reply(self._several(request, hit))
        if target.node == "me":
            return self._me(request, target, hit)
        if target.node == "app":
            return _reply({"id": APP_ID, "name": "Learning assets (simulated)"})
        if target.node == "debug_token":
            return _reply(self._debug_token(request))
        if request.method == "POST":
            return _reply(self._post(request, target, hit))
        if request.method != "GET":
            raise GraphError("Unsupported method", 100, 33, kind="GraphMethodException")
        if target.edge == "insights":
            return self._insights(request, target, hit)
        if target.report is not None and target.edge is None:
            return _reply(self._report(target.report, hit))
        if target.account is None:
            raise errors.unknown_object(target.node)
        if target.edge is None:
            made, kind = self._node(target.node, target.account)
            fields = parse_fields(request.params.get("fields", ""))
            return _reply(_unknown_cta(chosen(made, fields, kind), hit))
        return self._edge(request, target, target.account, hit)

    def _several(self, request: Request, hit: Mapping[str, Fault]) -> dict[str, Any]:
        """Several nodes by their ids in one read; one that is unknown fails all."""
        found: dict[str, Any] = {}
        fields = parse_fields(request.params.get("fields", ""))
        for node in insights.listed(request.params["ids"]):
            account = self.world.accounts.get(node.removeprefix("act_")) or self.world.account_of(node)
            if account is None:
                raise errors.unknown_object(node)
            made, kind = self._node(node, account)
            found[node] = _unknown_cta(chosen(made, fields, kind), hit)
        return found

    def _node(self, node: str, account: Account) -> tuple[Made, str]:
        if node.startswith("act_"):
            return self.objects.account(account), "AdAccount"
        if audience := objects.audience_of(node):
            return objects.audience_node(account, audience[1]), "CustomAudience"
        listing = self.world.listing(account)
        if node in listing.ads:
            return self.objects.ad(listing.ads[node]), "Ad"
        known: tuple[tuple[dict[str, list[Launched]], Callable[[list[Launched]], Made], str], ...] = (
            (listing.campaigns, self.objects.campaign, "Campaign"),
            (listing.ad_sets, self.objects.ad_set, "AdSet"),
            (listing.creatives, lambda ads: self.objects.creative(ads[0]), "AdCreative"),
            (listing.videos, lambda ads: self.objects.video(ads[0]), "Video"),
        )
        for group, make, kind in known:
            if node in group:
                return make(group[node]), kind
        raise errors.unknown_object(node)

    def _me(self, request: Request, target: _Target, hit: Mapping[str, Fault]) -> Reply:
        if target.edge is None:
            return _reply({"id": "100000000000001", "name": "Learning assets (simulated)"})
        if target.edge == "permissions":
            granted = ("ads_read", "ads_management", "business_management", "read_insights")
            return _reply({"data": [{"permission": name, "status": "granted"} for name in granted]})
        if target.edge != "adaccounts":
            raise errors.unknown_object("me")
        fields = parse_fields(request.params.get("fields", "")) or {"account_id": None, "id": None}
        nodes = [
            lambda a=account: _text(chosen(self.objects.account(a), fields, "AdAccount")) for account in self.world.by_index
        ]
        return self._page(request, nodes, hit)

    def _debug_token(self, request: Request) -> dict[str, Any]:
        given = request.params.get("access_token") or request.bearer or ""
        if "|" not in given:
            raise invalid(
                "You must provide an app access token, or a user access token that is an owner or developer of the app"
            )
        asked = request.params.get("input_token", "")
        app_id = given.partition("|")[0]
        if asked != self.token:
            code, text = (
                (190, "Error validating access token: Session has expired")
                if asked == "EXPIRED"
                else (190, "Invalid OAuth access token.")
            )
            return {"data": {"app_id": app_id, "error": {"code": code, "message": text}, "is_valid": False, "scopes": []}}
        scopes = ["ads_read", "ads_management", "business_management"]
        return {
            "data": {
                "app_id": app_id,
                "type": "SYSTEM_USER",
                "application": "Learning assets (simulated)",
                "data_access_expires_at": 0,
                "expires_at": 0,
                "is_valid": True,
                "issued_at": int(datetime.combine(self.world.first_day, datetime.min.time(), UTC).timestamp()),
                "scopes": scopes,
                "granular_scopes": [{"scope": scope} for scope in scopes],
                "user_id": "100000000000001",
            }
        }

    # Edges and pages.

    def _edge(self, request: Request, target: _Target, account: Account, hit: Mapping[str, Fault]) -> Reply:
        edge, params = target.edge, request.params
        if edge == "minimum_budgets":
            least = objects.minimum_budget(account)
            row = {
                "currency": account.currency,
                "min_daily_budget_imp": least,
                "min_daily_budget_video_views": least,
                "min_daily_budget_high_freq": 5 * least,
                "min_daily_budget_low_freq": 40 * least,
            }
            return self._page(request, [lambda: _text(row)], hit)
        if edge == "activities":
            return self._page(request, [lambda e=event: _text(e) for event in self._activities(request, account)], hit)
        if edge == "customaudiences":
            fields = parse_fields(params.get("fields", ""))
            made = [objects.audience_node(account, kind) for kind in ("lookalike", "retargeting")]
            return self._page(request, [lambda m=m: _text(chosen(m, fields, "CustomAudience")) for m in made], hit)
        listing = self.world.listing(account)
        ads = _under(listing, target.node)
        fields = parse_fields(params.get("fields", ""))
        nodes: list[Callable[[], str]]
        if edge == "ads":
            shown = [ad for ad in ads if _wanted(params, ad.effective_status, "ad", ad)]
            nodes = [lambda a=ad: _text(_unknown_cta(chosen(self.objects.ad(a), fields, "Ad"), hit)) for ad in shown]
        elif edge == "adcreatives":
            unique = {ad.facts["creative_id"]: ad for ad in ads}
            nodes = [
                lambda a=ad: _text(_unknown_cta(chosen(self.objects.creative(a), fields, "AdCreative"), hit))
                for ad in unique.values()
            ]
        elif edge == "advideos":
            made = [self.objects.video(held[0]) for held in listing.videos.values()]
            nodes = [lambda m=one: _text(chosen(m, fields, "Video")) for one in made]
        elif edge == "adimages":
            asked = insights.listed(params.get("hashes", ""))
            with_image = {objects.image_hash_of(ad.facts["creative_id"]): ad for ad in ads if ad.facts["template"] != "video"}
            nodes = [
                lambda a=ad: _text(chosen(self.objects.image(a), fields, "AdImage"))
                for image_hash, ad in with_image.items()
                if not asked or image_hash in asked
            ]
        elif edge in ("adsets", "campaigns"):
            name, group = ("ad_set_id", listing.ad_sets) if edge == "adsets" else ("campaign_id", listing.campaigns)
            make, kind = (self.objects.ad_set, "AdSet") if edge == "adsets" else (self.objects.campaign, "Campaign")
            level = "adset" if edge == "adsets" else "campaign"
            entities = [group[entity] for entity in dict.fromkeys(ad.facts[name] for ad in ads)]
            wanted = [
                entity
                for entity in entities
                if _wanted(
                    params, entity[-1].ad_set_status if edge == "adsets" else entity[-1].campaign_status, level, entity[-1]
                )
            ]
            nodes = [lambda e=entity: _text(chosen(make(e), fields, kind)) for entity in wanted]
        else:
            raise invalid(f"Tried accessing nonexisting field ({edge}) on node type (AdAccount)")
        return self._page(request, nodes, hit)

    def _activities(self, request: Request, account: Account) -> list[dict[str, Any]]:
        listing, zone = self.world.listing(account), ZoneInfo(account.timezone)
        now = self.world.clock.now()
        events: list[tuple[datetime, dict[str, Any]]] = []
        for change in self.world.changes_of(account):
            if change.moment > now:
                continue
            campaign = change.entity_id in listing.campaigns
            extra = {
                "old_value": {
                    "type": "payment_amount",
                    "currency": account.currency,
                    "old_value": change.old_micros // account.minor_micros,
                },
                "new_value": {
                    "type": "payment_amount",
                    "currency": account.currency,
                    "new_value": change.new_micros // account.minor_micros,
                },
                "type": "payment_amount",
            }
            ads = listing.campaigns.get(change.entity_id) or listing.ad_sets.get(change.entity_id)
            events.append(
                (
                    change.moment,
                    {
                        "event_type": "update_campaign_budget" if campaign else "update_ad_set_budget",
                        "translated_event_type": "Campaign budget updated" if campaign else "Ad set budget updated",
                        "actor_id": f"{int(hashlib.sha256(change.actor.encode()).hexdigest()[:12], 16)}",
                        "actor_name": change.actor,
                        "application_id": None if change.application == "Ads Manager" else "7001",
                        "application_name": change.application,
                        "object_id": change.entity_id,
                        "object_name": insights.name_of(ads[0].facts, "campaign" if campaign else "ad_set") if ads else "",
                        "object_type": "CAMPAIGN_GROUP" if campaign else "CAMPAIGN",
                        "extra_data": json.dumps(extra),
                    },
                )
            )
        for ad in listing.ads.values():
            made = datetime.fromisoformat(objects.local_time(account, ad.facts["starts_on"] - timedelta(days=1), 15))
            if made <= now:
                events.append(
                    (
                        made,
                        {
                            "event_type": "create_ad",
                            "translated_event_type": "Ad created",
                            "actor_id": "100000000000002",
                            "actor_name": "A marketer (simulated)",
                            "application_name": "Ads Manager",
                            "object_id": ad.facts["ad_id"],
                            "object_name": insights.name_of(ad.facts, "ad"),
                            "object_type": "ADGROUP",
                            "extra_data": "{}",
                        },
                    )
                )
        since = _moment(request.params.get("since"), now - timedelta(days=7))
        until = _moment(request.params.get("until"), now)
        fields = [f for f in insights.listed(request.params.get("fields", "")) if f != "event_time"] or [
            "event_type",
            "object_id",
        ]
        return [
            {"event_time": objects.stamp(at.astimezone(zone)), **{f: event[f] for f in fields if event.get(f) is not None}}
            for at, event in sorted(events, key=lambda e: e[0], reverse=True)
            if since <= at <= until
        ]

    def _page(self, request: Request, nodes: Sequence[Callable[[], str]], hit: Mapping[str, Fault]) -> Reply:
        """One page of an edge; its nodes are made only if they are on it."""
        offset, size, _, salt = self._position(request)
        return self._paged(request, [make() for make in nodes[offset : offset + size]], len(nodes), None, salt, hit)

    def _position(self, request: Request) -> tuple[int, int, datetime | None, int]:
        """Offset, size, moment and salt that the request's cursor says."""
        size = int(_number(request.params, "limit", PAGE))
        if size < 1:
            raise invalid("Param limit must be a positive integer")
        size = min(size, 5_000)
        cursor, backwards = request.params.get("after"), False
        if not cursor and request.params.get("before"):
            cursor, backwards = request.params["before"], True
        if not cursor:
            return 0, size, None, 0
        try:
            offset, moment, salt = base64.urlsafe_b64decode(cursor.removesuffix("ZD") + "===").decode().split(":")
            at = datetime.fromtimestamp(float(moment), UTC) if moment else None
            return (max(0, int(offset) - size) if backwards else int(offset)), size, at, int(salt)
        except ValueError:
            raise GraphError("(#100) Invalid parameter: cursors", 100) from None

    def _paged(
        self, request: Request, rows: Sequence[str], total: int, as_of: datetime | None, salt: int, hit: Mapping[str, Fault]
    ) -> Reply:
        offset, size, _, _ = self._position(request)
        after, more = offset + size, offset + size < total
        if "empty_page" in hit:
            rows, after, more, salt = [], offset, True, salt + 1
        if "doubled_page" in hit and rows:
            after, more, salt = offset, True, salt + 1
        if not rows and not more:
            return Reply(200, b'{"data":[]}')
        cursors = {"before": _cursor(offset, as_of, salt), "after": _cursor(after, as_of, salt)}
        if "repeated_cursor" in hit:
            cursors["after"], more = request.params.get("after") or _cursor(0, as_of, 0), True
        paging: dict[str, Any] = {"cursors": cursors}
        kept = {name: value for name, value in request.params.items() if name not in ("after", "before")}
        if more:
            paging["next"] = f"{self.url}{request.path}?{urlencode({**kept, 'limit': size, 'after': cursors['after']})}"
        if offset > 0:
            paging["previous"] = f"{self.url}{request.path}?{urlencode({**kept, 'limit': size, 'before': cursors['before']})}"
        return Reply(200, ('{"data":[' + ",".join(rows) + '],"paging":' + json.dumps(paging) + "}").encode())

    # Insights.

    def _insights(self, request: Request, target: _Target, hit: Mapping[str, Fault]) -> Reply:
        offset, size, moment, salt = self._position(request)
        if target.report is not None:
            report = target.report
            if "not_ready" in hit or not self._complete(report):
                raise errors.report_not_ready()
            query, account, as_of, moment = report.query, report.account, report.as_of, None
        else:
            if target.account is None:
                raise errors.unknown_object(target.node)
            account = target.account
            query = self._query(request, target, account)
            # All pages of a request say what its first one knew.
            moment = as_of = moment or self.world.clock.now()
        rows = self._cached(account, query, as_of)
        page = rows[offset : offset + size]
        if hit:
            page = _faulty_rows(page, account, self.world, hit)
        return self._paged(request, page, len(rows), moment, salt, hit)

    def _query(self, request: Request, target: _Target, account: Account) -> Query:
        if target.node.startswith("act_"):
            level, node = "account", None
        else:
            level, node = {"121": "campaign", "122": "adset", "123": "ad"}.get(target.node[:3], ""), target.node
            if not level:
                raise errors.unknown_object(target.node)
        return insights.parse(request.params, level, node, self.world.today(account))

    def _cached(self, account: Account, query: Query, as_of: datetime) -> list[str]:
        minute = as_of.replace(second=0, microsecond=0)
        # Statuses are those of now, and change at most at noon and midnight.
        today = self.world.today(account)
        noon = self.world.clock.now().astimezone(ZoneInfo(account.timezone)).hour >= 12
        key = (account.index, query, minute, len(self.world.changes), today, noon)
        rows = self._rows.get(key)
        if rows is None:
            rows = insights.rows(self.world, account, query, minute)
            self._rows[key] = rows
            self._kept += len(rows)
            while self._kept > MOST_ROWS and len(self._rows) > 1:
                self._kept -= len(self._rows.popitem(last=False)[1])
        else:
            self._rows.move_to_end(key)
        return rows

    # Reports.

    def _launch(self, request: Request, target: _Target, account: Account) -> dict[str, Any]:
        query = self._query(request, target, account)
        self._launched += 1
        report_id = str(6_023_920_149_050 + self._launched)
        while len(self.reports) >= MOST_REPORTS:
            del self.reports[next(iter(self.reports))]
        self.reports[report_id] = Report(report_id, account, query, self.world.clock.now(), dict(request.params))
        return {"report_run_id": report_id}

    def _complete(self, report: Report) -> bool:
        return report.outcome is None and report.polls > self.report_polls

    def _report(self, report: Report, hit: Mapping[str, Fault]) -> dict[str, Any]:
        for name in ("failed", "skipped", "stuck"):
            if f"report_{name}" in hit and report.outcome is None:
                report.outcome = name
        found: dict[str, Any] = {
            "id": report.report_id,
            "account_id": report.account.account_id,
            "time_ref": int(report.as_of.timestamp()),
            "date_start": str(report.query.since),
            "date_stop": str(report.query.until),
        }
        if "running_at_100" in hit:
            return {**found, "async_status": "Job Running", "async_percent_completion": 100, "is_running": True}
        report.polls += 1
        if report.outcome == "failed":
            return {
                **found,
                "async_status": "Job Failed",
                "async_percent_completion": 0,
                "error_code": -2,
                "error_subcode": 2490547,
                "error_message": "An error occurred while processing the report.",
                "error_user_title": "Report Failed",
                "error_user_msg": "The report could not be made. Try again.",
            }
        if report.outcome == "skipped":
            return {**found, "async_status": "Job Skipped", "async_percent_completion": 0}
        if report.outcome == "stuck" or not self._complete(report):
            begins = ("Job Not Started", "Job Started")[report.polls - 1 :] if self.report_polls > 2 else ()
            if begins and report.outcome is None:
                return {**found, "async_status": begins[0], "async_percent_completion": 0, "is_running": True}
            part = 40 if report.outcome == "stuck" else round(100 * report.polls / (self.report_polls + 1))
            return {**found, "async_status": "Job Running", "async_percent_completion": part, "is_running": True}
        completed = int(report.as_of.timestamp()) + report.polls
        return {**found, "async_status": "Job Completed", "async_percent_completion": 100, "time_completed": completed}

    # Writes.

    def _post(self, request: Request, target: _Target, hit: Mapping[str, Fault]) -> dict[str, Any]:
        if target.account is None or target.report is not None:
            raise errors.unknown_object(target.node, "post")
        if target.edge == "insights":
            return self._launch(request, target, target.account)
        listing = self.world.listing(target.account)
        ads = listing.ad_sets.get(target.node) or listing.campaigns.get(target.node)
        if target.edge is not None or ads is None:
            raise errors.unknown_object(target.node, "post")
        if "daily_budget" not in request.params:
            raise invalid("This server changes daily budgets only: param daily_budget is missing.")
        return self._change_budget(request, target, target.account, ads, hit)

    def _change_budget(
        self, request: Request, target: _Target, account: Account, ads: Sequence[Launched], hit: Mapping[str, Fault]
    ) -> dict[str, Any]:
        given = request.params["daily_budget"]
        if not given.isdigit():
            raise invalid("Param daily_budget must be an integer, in the currency's minor unit.")
        is_campaign = target.node.startswith("121")
        owner = ads[0].facts["budget_owner"]
        if owner != ("campaign" if is_campaign else "ad_set"):
            raise errors.campaign_has_budget()
        status = ads[-1].campaign_status if is_campaign else ads[-1].ad_set_status
        if status in HIDDEN:
            raise invalid(
                "Invalid parameter", 1487566, "The Object Is Archived Or Deleted", "Its budget can not be changed any more."
            )
        least = objects.minimum_budget(account)
        if int(given) < least:
            raise errors.budget_too_low(
                insights.money(least * account.minor_micros, account.minor_micros) + f" {account.currency}"
            )
        if int(given) > HIGHEST_DAILY_USD * least:
            raise invalid(
                "Invalid parameter", 1885261, "Your Budget Is Too High", "A daily budget is at most one million US dollars."
            )
        if self.world.changed_lately(target.node) >= CHANGES_AN_HOUR:
            raise errors.budget_changes()
        if (
            "validate_only" not in insights.listed(request.params.get("execution_options", ""))
            and "success_without_effect" not in hit
        ):
            self.world.change_budget(
                target.node, int(given) * account.minor_micros, "Learning assets (simulated)", "Learning assets"
            )
        return {"success": True}

    def _batch(self, request: Request) -> Reply:
        try:
            calls: list[dict[str, Any]] = json.loads(request.params["batch"])
        except (KeyError, ValueError):
            raise invalid("Param batch must be a JSON array of requests.") from None
        if len(calls) > 50:
            raise invalid("Too many requests in batch message. Maximum batch size is 50")
        version = "/" + next((part for part in request.path.split("/") if part), VERSION)
        replies: list[dict[str, Any] | None] = []
        for call in calls:
            url = str(call.get("relative_url", "")).lstrip("/")
            path, _, query = url.partition("?")
            params = {"access_token": request.params.get("access_token") or request.bearer or ""}
            params |= dict(parse_qsl(query, keep_blank_values=True)) | dict(
                parse_qsl(str(call.get("body", "")), keep_blank_values=True)
            )
            own = path if path[:1] == "v" and path[1:2].isdigit() else f"{version[1:]}/{path}"
            inner = self.answer(Request(str(call.get("method", "GET")).upper(), f"/{own}", params))
            if inner.dropped:
                replies.append(None)
                continue
            headers = [{"name": name, "value": value} for name, value in inner.headers.items()]
            replies.append({"code": inner.status, "headers": headers, "body": inner.body.decode()})
        return Reply(200, _encode(replies))


def _reply(body: Any) -> Reply:
    return Reply(200, _encode(body))


def _encode(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _text(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))


def _html(status: int) -> Reply:
    page = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Sorry, something went wrong.</h1></body></html>"
    return Reply(status, page, {"content-type": "text/html; charset=utf-8"})


def _cursor(offset: int, as_of: datetime | None, salt: int) -> str:
    text = f"{offset}:{as_of.timestamp() if as_of else ''}:{salt}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") + "ZD"


def _number(params: Mapping[str, str], name: str, otherwise: int) -> int:
    text = params.get(name, str(otherwise))
    if not text.lstrip("-").isdigit():
        raise invalid(f"Param {name} must be an integer")
    return int(text)


def _moment(text: str | None, otherwise: datetime) -> datetime:
    if not text:
        return otherwise
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"{text!r} is no time") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _asked_days(params: Mapping[str, str]) -> int:
    try:
        asked = json.loads(params.get("time_range", ""))
        return (date.fromisoformat(asked["until"]) - date.fromisoformat(asked["since"])).days + 1
    except (ValueError, KeyError, TypeError):
        return 0


def _under(listing: Listing, node: str) -> list[Launched]:
    if node.startswith("act_"):
        return list(listing.ads.values())
    for group in (listing.campaigns, listing.ad_sets, listing.creatives):
        if node in group:
            return group[node]
    raise errors.unknown_object(node)


def _wanted(params: Mapping[str, str], status: str, level: str, ad: Launched) -> bool:
    """Whether an edge lists an entity of that status: archived and deleted ones only when they are asked for."""
    asked = frozenset(insights.listed(params.get("effective_status", "")))
    for chosen_filter in json.loads(params.get("filtering") or "[]"):
        values = chosen_filter.get("value")
        allowed = frozenset(str(v) for v in (values if isinstance(values, list) else [values]))
        name = str(chosen_filter.get("field", ""))
        if name in ("effective_status", f"{level}.effective_status"):
            asked = asked & allowed if asked else allowed
        elif name in ("id", f"{level}.id"):
            own = {"ad": "ad_id", "adset": "ad_set_id", "campaign": "campaign_id"}[level]
            if ad.facts[own] not in allowed:
                return False
            asked = asked or insights.ALL_STATUSES
        elif name in ("campaign.id", "adset.id"):
            if ad.facts["campaign_id" if name == "campaign.id" else "ad_set_id"] not in allowed:
                return False
        elif not name.endswith(("updated_time", "created_time")):
            raise invalid(f"Param filtering: {name!r} is no field that is known.")
    return status in asked if asked else status not in HIDDEN


def _unknown_cta(node: dict[str, Any], hit: Mapping[str, Fault]) -> dict[str, Any]:
    """A call to action that no list knows, where the fault asks for it."""
    if "unknown_cta" not in hit:
        return node
    known = json.dumps(node)
    for cta in ("SHOP_NOW", "LEARN_MORE", "SIGN_UP", "GET_OFFER", "SUBSCRIBE", "BOOK_NOW"):
        known = known.replace(f'"{cta}"', f'"{objects.UNKNOWN_CTA}"')
    return json.loads(known)


def _without_account(body: bytes, account: Account) -> bytes:
    """Ids of campaigns, ad sets, ads, creatives and videos as if the account were the market's first one."""
    return re.sub(rf"\b(12[1-5]){account.index:06d}(?=\d{{9}}\b)", r"\g<1>000000", body.decode()).encode()


def _with_account(params: Mapping[str, str], account: Account) -> Mapping[str, str]:
    """Parameters with such ids read as those of the account."""
    return {k: re.sub(r"\b(12[1-5])000000(?=\d{9}\b)", rf"\g<1>{account.index:06d}", v) for k, v in params.items()}


def _faulty_rows(page: Sequence[str], account: Account, world: World, hit: Mapping[str, Fault]) -> list[str]:
    """Rows of a page as the faults leave them."""
    changing = hit.keys() & _ROW_FAULTS
    if not changing:
        return list(page)
    rows: list[dict[str, Any]] = [json.loads(row) for row in page]
    if "dropped_rows" in hit:
        rows = [row for number, row in enumerate(rows) if number % 3 != 0]
    for name, keys in (
        ("missing_actions", ("actions",)),
        ("missing_action_values", ("action_values", "purchase_roas", "website_purchase_roas")),
        ("reach_absent", ("reach", "frequency", "cpp")),
    ):
        if name in hit:
            rows = [{key: value for key, value in row.items() if key not in keys} for row in rows]
    if (fault := hit.get("restated_down")) is not None:
        day = fault.options.get("day")
        rows = [_halved(row) if day in (None, row["date_start"]) else row for row in rows]
    if (fault := hit.get("clicks_lost")) is not None:
        since, share = fault.options.get("since", ""), float(fault.options.get("share", 0.5))
        rows = [_fewer_clicks(row, share) if row["date_start"] >= since else row for row in rows]
    if (fault := hit.get("late_hourly")) is not None:
        hours = int(fault.options.get("hours", 3))
        today, now = world.today(account), world.clock.now().astimezone(ZoneInfo(account.timezone))
        rows = [
            row
            for row in rows
            if int(row[insights.HOURLY][:2]) < (now.hour + 1 if row["date_start"] == str(today) else 24) - hours
        ]
    if (fault := hit.get("missing_hourly_key")) is not None and rows:
        first = dict(rows[0])
        del first[insights.HOURLY]
        if fault.options.get("zero"):
            # An ad without any delivery on the day: the platform gives one row for it, without an hour.
            first = {k: v for k, v in first.items() if not isinstance(v, list)}
            first |= {k: "0" for k in ("impressions", "clicks", "inline_link_clicks", "spend") if k in first}
            rows = [first, *rows]
        else:
            rows[0] = first
    return [_text(row) for row in rows]


_ROW_FAULTS = frozenset(
    {
        "dropped_rows",
        "missing_actions",
        "missing_action_values",
        "reach_absent",
        "restated_down",
        "clicks_lost",
        "late_hourly",
        "missing_hourly_key",
    }
)


def _halved(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose purchases have fallen to half, rounded down."""
    changed = dict(row)
    for name in ("actions", "action_values"):
        if name not in row:
            continue
        entries: list[dict[str, str]] = []
        for entry in row[name]:
            if entry["action_type"] in insights.PURCHASES:
                halves = {k: (v if k == "action_type" else str(int(float(v)) // 2)) for k, v in entry.items()}
                if halves.get("value") not in (None, "0"):
                    entries.append(halves)
            else:
                entries.append(entry)
        changed[name] = entries
        if not entries:
            del changed[name]
    return changed


def _fewer_clicks(row: dict[str, Any], share: float) -> dict[str, Any]:
    """A row of whose clicks a share was not counted, rounded down; ratios stay as they were."""
    counted = {name: str(int(int(row[name]) * (1 - share))) for name in ("clicks", "inline_link_clicks") if name in row}
    return row | counted
