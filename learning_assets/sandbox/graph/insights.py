"""Insights: what was delivered, as rows of the Graph API.

What belongs here: the parameters of an insights request, and its rows as JSON text. What does not: paging, reports and faults
(`answers`), and the numbers (`market`).

Rows are built by column: each field becomes a list of JSON texts, one a row, in which None means that the row lacks the key.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from learning_assets.sandbox.delivery import WINDOWS
from learning_assets.sandbox.draws import Ints
from learning_assets.sandbox.graph.errors import GraphError, invalid
from learning_assets.sandbox.graph.world import Account, Launched, World

LEVELS = ("account", "campaign", "adset", "ad")
HOURLY = "hourly_stats_aggregated_by_advertiser_time_zone"
PURCHASES = (
    "omni_purchase",
    "purchase",
    "offsite_conversion.fb_pixel_purchase",
    "onsite_web_purchase",
    "onsite_web_app_purchase",
)
"""Names under which one and the same purchase is reported."""
ALL_STATUSES = frozenset({"ACTIVE", "PAUSED", "CAMPAIGN_PAUSED", "ADSET_PAUSED", "ARCHIVED", "DELETED"})
HIDDEN = frozenset({"ARCHIVED", "DELETED"})
"""Statuses that are listed only when they are asked for."""
MONTHS_KEPT = 37
DEFAULT_FIELDS = ("account_id", "impressions", "spend")


@dataclass(frozen=True, slots=True)
class Query:
    """An insights request: days are local dates and included; `increment` is in days, 0 for the whole range."""

    level: str
    since: date
    until: date
    increment: int
    fields: tuple[str, ...]
    windows: tuple[str, ...]
    hourly: bool
    statuses: tuple[tuple[str, frozenset[str]], ...]
    """Allowed effective statuses by level."""
    ids: tuple[tuple[str, frozenset[str]], ...]
    """Allowed ids by level."""

    @property
    def days(self) -> int:
        """Days in the range."""
        return (self.until - self.since).days + 1


def parse(params: Mapping[str, str], node_level: str, node_id: str | None, today: date) -> Query:
    """Reads the parameters of a request for insights of a node.

    Raises
    ------
    GraphError : a parameter that the platform would refuse too.
    """
    level = params.get("level") or node_level
    if level not in LEVELS:
        raise invalid(f"Param level must be one of {{{', '.join(LEVELS)}}} - got value {level!r}.")
    hourly = _hourly(params)
    since, until = _days(params, today)
    if since > until:
        raise invalid("The start date of the time range must be before the end date", 1487792)
    if (today.year - since.year) * 12 + today.month - since.month > MONTHS_KEPT:
        raise GraphError(
            f"(#3018) The start date of the time range cannot be beyond {MONTHS_KEPT} months from the current date", 3018
        )
    fields = tuple(dict.fromkeys(listed(params.get("fields", "")))) or DEFAULT_FIELDS
    for field in fields:
        if field not in FIELDS:
            raise invalid(f"{field} is not valid for fields param.")
    windows = tuple(dict.fromkeys(listed(params.get("action_attribution_windows", ""))))
    # Windows of 7 and 28 days after a view are accepted, and not returned any more.
    for window in windows:
        if window not in (*WINDOWS, "default", "7d_view", "28d_view"):
            raise invalid(f"Param action_attribution_windows: {window!r} is no window.")
    statuses, ids = _filters(params)
    if node_id is not None:
        ids.append((node_level, frozenset({node_id})))
    return Query(
        level,
        since,
        until,
        _increment(params),
        fields,
        tuple(w for w in windows if w in WINDOWS and w != "value"),
        hourly,
        tuple(statuses),
        tuple(ids),
    )


def listed(text: str) -> list[str]:
    """A parameter that is a JSON array, or names with commas."""
    text = text.strip()
    if text.startswith("["):
        try:
            return [str(item) for item in json.loads(text)]
        except ValueError:
            raise invalid(f"Param {text[:40]!r} must be an array.") from None
    return [item.strip() for item in text.split(",") if item.strip()]


def _hourly(params: Mapping[str, str]) -> bool:
    breakdowns = listed(params.get("breakdowns", ""))
    for breakdown in breakdowns:
        if breakdown != HOURLY:
            raise GraphError(f"(#100) {breakdown} breakdown is not served by this server", 2, 1504041)
    return bool(breakdowns)


def _days(params: Mapping[str, str], today: date) -> tuple[date, date]:
    if "time_range" in params:
        try:
            chosen = json.loads(params["time_range"])
            return date.fromisoformat(chosen["since"]), date.fromisoformat(chosen["until"])
        except (ValueError, KeyError, TypeError):
            raise invalid("Param time_range must be {'since':YYYY-MM-DD,'until':YYYY-MM-DD}") from None
    if "since" in params and "until" in params:
        return date.fromisoformat(params["since"]), date.fromisoformat(params["until"])
    preset = params.get("date_preset", "last_30d")
    yesterday = today - timedelta(days=1)
    last = {f"last_{n}d": (today - timedelta(days=n), yesterday) for n in (3, 7, 14, 28, 30, 90)}
    known = {
        "today": (today, today),
        "yesterday": (yesterday, yesterday),
        "maximum": (today - timedelta(days=1100), today),
        **last,
    }
    if preset not in known:
        raise invalid(f"Param date_preset must be one of {{{', '.join(known)}}}")
    return known[preset]


def _increment(params: Mapping[str, str]) -> int:
    text = params.get("time_increment", "all_days")
    if text == "all_days":
        return 0
    if not (text.isdigit() and 1 <= int(text) <= 90):
        raise invalid("Param time_increment must be an integer from 1 to 90, or all_days.")
    return int(text)


def _filters(params: Mapping[str, str]) -> tuple[list[tuple[str, frozenset[str]]], list[tuple[str, frozenset[str]]]]:
    statuses: list[tuple[str, frozenset[str]]] = []
    ids: list[tuple[str, frozenset[str]]] = []
    try:
        filters: list[dict[str, Any]] = json.loads(params.get("filtering") or "[]")
    except ValueError:
        raise invalid("Param filtering must be an array.") from None
    for chosen in filters:
        field, value = str(chosen.get("field", "")).replace("ad_set.", "adset."), chosen.get("value")
        level, _, what = field.partition(".")
        values = frozenset(str(item) for item in (value if isinstance(value, list) else [value]))
        if chosen.get("operator") in ("GREATER_THAN",) and what in ("impressions", "spend"):
            continue
        if level not in LEVELS or what not in ("effective_status", "id") or chosen.get("operator") not in ("IN", "EQUAL"):
            raise invalid(f"Param filtering: {json.dumps(chosen)} is not a filter that is known.")
        (statuses if what == "effective_status" else ids).append((level, values))
    return statuses, ids


# Rows.


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows before they are text: who and when, and integer columns."""

    account: Account
    ads: list[Launched]
    """For each row an ad of its entity."""
    begins: list[date]
    ends: list[date]
    labels: list[int] | None
    columns: dict[str, Ints]
    windows: tuple[str, ...]
    hourly: bool

    def __len__(self) -> int:
        return len(self.ads)


def rows(world: World, account: Account, query: Query, as_of: datetime) -> list[str]:
    """The rows of a request as JSON texts, as known at `as_of`, in the order of day and entity."""
    table = _table(world, account, query, as_of)
    if not len(table):
        return []
    fields = dict.fromkeys((*query.fields, "date_start", "date_stop", *((HOURLY,) if query.hourly else ())))
    absent = _UNKNOWN_BY_HOUR if query.hourly else frozenset[str]()
    above = frozenset(_FIELDS_OF_LEVEL[level] for level in LEVELS[LEVELS.index(query.level) + 1 :])
    lower = {name for names in above for name in names}
    keys = [f for f in fields if f not in absent and f not in lower]
    columns = [FIELDS[f](table) if f != HOURLY else _hours(table) for f in keys]
    names = [f'"{f}":' for f in keys]
    return [
        "{" + ",".join([name + text for name, text in zip(names, cells, strict=True) if text is not None]) + "}"
        for cells in zip(*columns, strict=True)
    ]


_COUNTS: tuple[str, ...] = ("impressions", "clicks", "clicks_all", "views", "spend")


def _table(world: World, account: Account, query: Query, as_of: datetime) -> _Table:
    market = world.market
    today = world.today(account, as_of)
    first, last = max(query.since, world.first_day), min(query.until, today)
    nothing = _Table(account, [], [], [], None, {}, query.windows, query.hourly)
    if first > last:
        return nothing
    found = market.delivered(first, last, np.array([account.index]), as_of, world.edits(account, as_of))
    listing = world.listing(account)
    ads = [listing.ads.get(ad_id) for ad_id in market.ad_ids(found)]
    shown = np.array([ad is not None and _shown(ad, query) for ad in ads], dtype=bool)
    counts = found.counts
    video = market.is_video(found)
    if query.hourly:
        hours = market.by_hour(found)
        row, elapsed = np.nonzero((hours.impressions > 0) & shown[found.ad][:, None])
        each = [values[row, elapsed] for values in hours.each()]
        labels = market.hour_labels(found)[row, elapsed]
        columns: dict[str, Ints] = dict(zip(_COUNTS, each, strict=True))
        columns["outbound"] = np.rint(columns["clicks"] * 0.9).astype(np.int64)
    else:
        row = np.flatnonzero(shown[found.ad])
        elapsed, labels = np.zeros(len(row), dtype=np.int64), np.zeros(len(row), dtype=np.int64)
        columns = dict(zip(_COUNTS, [v[row] for v in counts.each()], strict=True))
        columns |= {"outbound": found.outbound[row], "reach": found.reach[row]}
        orders = found.conversions(market.moment(account.index, as_of))
        for window in WINDOWS:
            columns[f"orders {window}"] = orders.counts[window][row]
            columns[f"micros {window}"] = orders.micros[window][row]
    if not len(row):
        return nothing
    columns["views"] = np.where(video[row], columns["views"], 0)
    columns["video"] = video[row].astype(np.int64)
    day, ad = found.day[row], found.ad[row]
    offset = (query.since - market.epoch).days
    period = (day - offset) // query.increment if query.increment else np.zeros(len(row), dtype=np.int64)
    entity_ids = [_entity_id(a, query.level) if a is not None else "" for a in ads]
    order = {entity: number for number, entity in enumerate(sorted(set(entity_ids)))}
    entity = np.array([order[e] for e in entity_ids])[ad]
    code = ((period * (len(order) + 1) + entity) * 32 + labels) * 32 + (elapsed if query.hourly and query.level == "ad" else 0)
    kept, where, size = np.unique(code, return_inverse=True, return_counts=True)
    one = np.zeros(len(kept), dtype=np.int64)
    one[where] = np.arange(len(row))
    summed = {
        name: values[one] if (size == 1).all() else np.bincount(where, weights=values, minlength=len(kept)).astype(np.int64)
        for name, values in columns.items()
    }
    if "reach" in summed:
        # People are reached by several ads and on several days.
        summed["reach"] = market.people(found, row, where)
    starts = [query.since + timedelta(days=int(n) * query.increment) for n in period[one]]
    stops = [
        min(start + timedelta(days=query.increment - 1), query.until) if query.increment else query.until for start in starts
    ]
    chosen = [a for a in (ads[i] for i in ad[one].tolist()) if a is not None]
    return _Table(
        account, chosen, starts, stops, labels[one].tolist() if query.hourly else None, summed, query.windows, query.hourly
    )


def _entity_id(ad: Launched, level: str) -> str:
    name = {"ad": "ad_id", "adset": "ad_set_id", "campaign": "campaign_id"}.get(level)
    return ad.facts[name] if name else ad.account.account_id


def _status(ad: Launched, level: str) -> str:
    return {"ad": ad.effective_status, "adset": ad.ad_set_status, "campaign": ad.campaign_status}.get(level, "ACTIVE")


def _shown(ad: Launched, query: Query) -> bool:
    for level, ids in query.ids:
        if _entity_id(ad, level) not in ids:
            return False
    for level, statuses in query.statuses:
        if _status(ad, level) not in statuses:
            return False
    asked = {level for level, _ in (*query.statuses, *query.ids)}
    return query.level == "account" or query.level in asked or _status(ad, query.level) not in HIDDEN


# Fields.

Cells = list[str | None]
_Field = Callable[[_Table], Cells]


def _quoted(values: list[Any]) -> Cells:
    return [json.dumps(value) for value in values]


def _fact(name: str) -> _Field:
    def cells(table: _Table) -> Cells:
        return [f'"{ad.facts[name]}"' for ad in table.ads]

    return cells


def _same(value: Callable[[Account], str] | str) -> _Field:
    def cells(table: _Table) -> Cells:
        text = json.dumps(value if isinstance(value, str) else value(table.account))
        return [text] * len(table)

    return cells


def _name(kind: str) -> _Field:
    def cells(table: _Table) -> Cells:
        return _quoted([name_of(ad.facts, kind) for ad in table.ads])

    return cells


def name_of(facts: dict[str, Any], kind: str) -> str:
    """Name of a campaign, ad_set or ad."""
    number = facts[f"{kind}_id"][-9:]
    test = "Test" if facts["in_group"] else "Always on"
    if kind == "campaign":
        return f"{test} {number[:4]}/{number[4:]}"
    if kind == "ad_set":
        return f"{test} {facts['audience']} {number[:4]}/{number[4:]}"
    return f"{facts['template']} {facts['audience']} {number[:4]}/{number[4:]}"


def _count(name: str, zero: str | None) -> _Field:
    def cells(table: _Table) -> Cells:
        return [f'"{v}"' if v else zero for v in table.columns[name].tolist()]

    return cells


def money(micros: int, minor_micros: int) -> str:
    """An amount in major units, with the currency's own decimals."""
    units = micros // minor_micros
    return f"{units}" if minor_micros == 1_000_000 else f"{units // 100}.{units % 100:02d}"


def short_money(micros: int, minor_micros: int) -> str:
    """The same without zeros at the end."""
    text = money(micros, minor_micros)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _spend(table: _Table) -> Cells:
    minor = table.account.minor_micros
    return [f'"{money(v, minor)}"' for v in table.columns["spend"].tolist()]


def _ratio(above: str, below: str, scale: float) -> _Field:
    def cells(table: _Table) -> Cells:
        pairs = zip(table.columns[above].tolist(), table.columns[below].tolist(), strict=True)
        return [f'"{scale * a / b:.6f}"' if b else None for a, b in pairs]

    return cells


def _single(action: str, value: Callable[[_Table], Ints]) -> _Field:
    def cells(table: _Table) -> Cells:
        return [f'[{{"action_type":"{action}","value":"{v}"}}]' if v else None for v in value(table).tolist()]

    return cells


def _of_views(share: float) -> Callable[[_Table], Ints]:
    return lambda table: np.rint(table.columns["views"] * share).astype(np.int64)


def _plays(table: _Table) -> Ints:
    return np.where(table.columns["video"] > 0, np.rint(table.columns["impressions"] * 0.9).astype(np.int64), 0)


def _actions(table: _Table) -> Cells:
    c, windows = table.columns, table.windows
    clicked = [w for w in windows if w.endswith("_click")]

    def on_platform(action: str, values: list[int], by_click: bool) -> list[str]:
        found: list[str] = []
        for v in values:
            also = (
                "".join([f',"{w}":"{v}"' for w in clicked])
                if by_click
                else (f',"1d_view":"{v}"' if "1d_view" in windows else "")
            )
            found.append(f'{{"action_type":"{action}","value":"{v}"{also}}},' if v else "")
        return found

    parts = [
        on_platform("link_click", c["clicks"].tolist(), True),
        on_platform("video_view", c["views"].tolist(), False),
    ]
    if not table.hourly:
        landed = np.rint(c["clicks"] * 0.78).astype(np.int64).tolist()
        parts += [on_platform("landing_page_view", landed, True), _purchases(table, "orders", str)]
    return [f"[{text[:-1]}]" if (text := "".join(cells)) else None for cells in zip(*parts, strict=True)]


def _purchases(table: _Table, what: str, shown: Callable[[int], str]) -> list[str]:
    """One purchase under all its names, with the windows that were asked for."""
    values = table.columns[f"{what} value"].tolist()
    beside = [(w, table.columns[f"{what} {w}"].tolist()) for w in table.windows]
    found: list[str] = []
    for i, value in enumerate(values):
        also = "".join([f',"{w}":"{shown(v[i])}"' for w, v in beside if v[i]])
        # An order that only a longer window counts leaves a value of 0.
        head = f'"value":"{shown(value)}"' if value or also else ""
        found.append("".join([f'{{"action_type":"{action}",{head}{also}}},' for action in PURCHASES]) if head else "")
    return found


def _action_values(table: _Table) -> Cells:
    minor = table.account.minor_micros
    return [f"[{text[:-1]}]" if text else None for text in _purchases(table, "micros", lambda v: short_money(v, minor))]


def _roas(table: _Table) -> Cells:
    pairs = zip(table.columns["micros value"].tolist(), table.columns["spend"].tolist(), strict=True)
    return [f'[{{"action_type":"omni_purchase","value":"{a / b:.6f}"}}]' if a and b else None for a, b in pairs]


def _results(table: _Table) -> Cells:
    indicator = '"indicator":"actions:offsite_conversion.fb_pixel_purchase"'
    return [
        f'[{{{indicator},"values":[{{"value":"{v}","attribution_windows":["default"]}}]}}]' if v else f"[{{{indicator}}}]"
        for v in table.columns["orders value"].tolist()
    ]


def _ranking(table: _Table) -> Cells:
    return ['"AVERAGE"' if v >= 500 else '"UNKNOWN"' for v in table.columns["impressions"].tolist()]


def _hours(table: _Table) -> Cells:
    return [f'"{h:02d}:00:00 - {h:02d}:59:59"' for h in table.labels or []]


def _never(table: _Table) -> Cells:
    return [None] * len(table)


FIELDS: dict[str, _Field] = {
    "account_id": _same(lambda account: account.account_id),
    "account_name": _same(lambda account: account.name),
    "account_currency": _same(lambda account: account.currency),
    "campaign_id": _fact("campaign_id"),
    "campaign_name": _name("campaign"),
    "adset_id": _fact("ad_set_id"),
    "adset_name": _name("ad_set"),
    "ad_id": _fact("ad_id"),
    "ad_name": _name("ad"),
    "objective": _same("OUTCOME_SALES"),
    "optimization_goal": _same("OFFSITE_CONVERSIONS"),
    "attribution_setting": _same("7d_click_1d_view"),
    "buying_type": _same("AUCTION"),
    "impressions": _count("impressions", '"0"'),
    "reach": _count("reach", '"0"'),
    "frequency": _ratio("impressions", "reach", 1),
    "clicks": _count("clicks_all", '"0"'),
    "inline_link_clicks": _count("clicks", None),
    "outbound_clicks": _single("outbound_click", lambda table: table.columns["outbound"]),
    "spend": _spend,
    "actions": _actions,
    "action_values": _action_values,
    "conversions": _never,
    "conversion_values": _never,
    "purchase_roas": _roas,
    "website_purchase_roas": _roas,
    "results": _results,
    "ctr": _ratio("clicks_all", "impressions", 100),
    "inline_link_click_ctr": _ratio("clicks", "impressions", 100),
    "cpc": _ratio("spend", "clicks_all", 1e-6),
    "cpm": _ratio("spend", "impressions", 1e-3),
    "cpp": _ratio("spend", "reach", 1e-3),
    "cost_per_inline_link_click": _ratio("spend", "clicks", 1e-6),
    "video_play_actions": _single("video_view", _plays),
    "video_thruplay_watched_actions": _single("video_view", _of_views(0.36)),
    "video_15_sec_watched_actions": _single("video_view", _of_views(0.33)),
    "video_30_sec_watched_actions": _single("video_view", _of_views(0.18)),
    "video_p25_watched_actions": _single("video_view", _of_views(0.62)),
    "video_p50_watched_actions": _single("video_view", _of_views(0.41)),
    "video_p75_watched_actions": _single("video_view", _of_views(0.30)),
    "video_p95_watched_actions": _single("video_view", _of_views(0.22)),
    "video_p100_watched_actions": _single("video_view", _of_views(0.19)),
    "video_avg_time_watched_actions": _single("video_view", lambda table: np.where(table.columns["views"] > 0, 5, 0)),
    "quality_ranking": _ranking,
    "engagement_rate_ranking": _ranking,
    "conversion_rate_ranking": _ranking,
    "date_start": lambda table: [f'"{day}"' for day in table.begins],
    "date_stop": lambda table: [f'"{day}"' for day in table.ends],
}
"""Fields by name."""

_UNKNOWN_BY_HOUR = frozenset(
    {
        "reach",
        "frequency",
        "cpp",
        "action_values",
        "purchase_roas",
        "website_purchase_roas",
        "results",
        "conversions",
        "conversion_values",
    }
)
"""What the platform does not report by hour."""
_FIELDS_OF_LEVEL = {
    "account": ("account_id", "account_name", "account_currency"),
    "campaign": ("campaign_id", "campaign_name", "objective", "buying_type"),
    "adset": ("adset_id", "adset_name", "optimization_goal", "attribution_setting"),
    "ad": ("ad_id", "ad_name", "quality_ranking", "engagement_rate_ranking", "conversion_rate_ranking"),
}
