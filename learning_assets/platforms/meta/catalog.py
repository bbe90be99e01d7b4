"""Ads, ad sets, campaigns, creatives and their media as the catalog of a day.

What belongs here: reading the edges of one account, and what a day's catalog says of each ad. What does not: facts.

The platform tells what is, not what was: an ad of a past day is listed with today's texts, and its budget of that day is not known. What can
be told of the past is told: when an ad began, and when it was deleted or archived (its last update, which nothing changes afterwards).
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from learning_assets.platforms.meta import errors, money
from learning_assets.platforms.meta.accounts import AdAccount
from learning_assets.platforms.meta.reports import AD_SET_STATUSES, AD_STATUSES, CAMPAIGN_STATUSES
from learning_assets.platforms.meta.transport import Graph, Scope
from learning_assets.platforms.source import CATALOG

Node = dict[str, Any]

_CREATIVE = "id,object_type,title,body,call_to_action_type,image_hash,image_url,thumbnail_url,video_id,object_story_spec,asset_feed_spec"
_AD = f"id,campaign_id,adset_id,status,effective_status,created_time,updated_time,ad_schedule_start_time,ad_schedule_end_time,creative{{{_CREATIVE}}}"
_AD_SET = "id,campaign_id,status,effective_status,daily_budget,lifetime_budget,optimization_goal,targeting,start_time,end_time,created_time,updated_time"
_CAMPAIGN = "id,status,effective_status,daily_budget,lifetime_budget,start_time,stop_time"
_VIDEO = "source,length"
_IMAGE = "hash,url,permalink_url"
_IMAGES_A_CALL = 50
"""Hashes that one call asks for; the platform's addresses have a longest length."""

_LIVE = frozenset({"ACTIVE", "IN_PROCESS", "WITH_ISSUES"})
_ENDED = {"DELETED": "deleted", "ARCHIVED": "archived"}
_LOOKALIKE = re.compile(r"\b(look-?\s?alike|lal)\b", re.IGNORECASE)
_INTERESTS = ("interests", "behaviors", "life_events", "industries", "work_positions", "work_employers", "education_majors")


@dataclass(frozen=True, slots=True)
class Raw:
    """The account's edges as they came: nodes by id, the addresses of its videos, and those of images by hash."""

    ads: list[Node]
    ad_sets: dict[str, Node]
    campaigns: dict[str, Node]
    videos: dict[str, str]
    images: dict[str, str] = field(default_factory=dict[str, str])


def fetch(graph: Graph, account: str, scope: Scope) -> Raw:
    """Read ads of every status with their creatives, ad sets, campaigns, and the videos that the token may see.

    Raises GraphError, but not for media: the address of a video needs a permission of the page, and is NULL without it.
    """
    edge = f"act_{account}"
    ads = graph.rows((edge, "ads"), {"fields": _AD, "effective_status": list(AD_STATUSES)}, scope)
    ad_sets = graph.rows((edge, "adsets"), {"fields": _AD_SET, "effective_status": list(AD_SET_STATUSES)}, scope)
    campaigns = graph.rows((edge, "campaigns"), {"fields": _CAMPAIGN, "effective_status": list(CAMPAIGN_STATUSES)}, scope)
    # An ad that moved over a page's edge while the pages were read comes twice.
    unique = {str(ad["id"]): ad for ad in ads}
    creatives = [_node(ad, "creative") for ad in unique.values()]
    wanted = sorted({video for creative in creatives if (video := _video_id(creative)) is not None})
    try:
        found = graph.batch(wanted, _VIDEO, scope) if wanted else {}
    except (errors.PermissionRefused, errors.Missing, errors.Misconfigured, errors.Contradiction):
        found = {}
    videos = {key: source for key, video in found.items() if isinstance(source := video.get("source"), str)}
    return Raw(
        list(unique.values()), _by_id(ad_sets), _by_id(campaigns), videos, _image_addresses(graph, edge, creatives, scope)
    )


def _image_addresses(graph: Graph, edge: str, creatives: Iterable[Node], scope: Scope) -> dict[str, str]:
    """Addresses by hash of the images of which the creatives tell no more than that and a thumbnail."""
    told = [_media(creative, {}, {}) for creative in creatives]
    hashes = sorted({one["image_id"] for one in told if one["image_id"] and one["video_id"] is None and not one["image_url"]})
    found: dict[str, str] = {}
    for start in range(0, len(hashes), _IMAGES_A_CALL):
        asked = {"fields": _IMAGE, "hashes": hashes[start : start + _IMAGES_A_CALL]}
        try:
            images = graph.rows((edge, "adimages"), asked, scope)
        except (errors.PermissionRefused, errors.Missing, errors.Misconfigured, errors.Contradiction):
            break
        for image in images:
            address = _one(image.get("url"), image.get("permalink_url"))
            if address is not None and image.get("hash") is not None:
                found[str(image["hash"])] = address
    return found


def rows(raw: Raw, account: AdAccount, day: date, now: datetime) -> pl.DataFrame:
    """The catalog of `day` with schema CATALOG, sorted by ad.

    Raises UnknownCurrency where a budget's currency has no known minor unit.
    """
    listed = [row for ad in raw.ads if (row := _row(raw, account, day, now, ad)) is not None]
    for row, (experiment, assignment) in zip(listed, _experiments(raw, listed), strict=True):
        row |= {"experiment_id": experiment, "assignment": assignment}
    return pl.DataFrame(listed, schema=CATALOG).sort("ad_id")


def _row(raw: Raw, account: AdAccount, day: date, now: datetime, ad: Node) -> Node | None:
    """One ad on `day`, or None where it did not live."""
    ad_set = raw.ad_sets.get(str(ad.get("adset_id")), {})
    campaign = raw.campaigns.get(str(ad.get("campaign_id")), {})
    begins = [
        _local(node.get(name), account)
        for node, name in (
            (ad, "created_time"),
            (ad, "ad_schedule_start_time"),
            (ad_set, "start_time"),
            (campaign, "start_time"),
        )
    ]
    starts = max((moment for moment in begins if moment is not None), default=None)
    if starts is not None and starts > day + timedelta(days=1):
        return None
    ended = next((_ENDED[s] for s in (ad.get("effective_status"), ad.get("status")) if s in _ENDED), None)
    gone = _local(ad.get("updated_time"), account) if ended else None
    planned = [
        _local(node.get(name), account, ends=True)
        for node, name in ((ad, "ad_schedule_end_time"), (ad_set, "end_time"), (campaign, "stop_time"))
    ]
    ends = min((moment for moment in (gone, *planned) if moment is not None), default=None)
    if ends is not None and ends < day:
        return None
    if starts is not None and starts > day:
        status = "scheduled"
    elif ended:
        # Deleted later means that it lived on this day.
        status = ended if gone is None or gone <= day else "active"
    else:
        status = "active" if ad.get("effective_status", ad.get("status")) in _LIVE else "paused"
        touched = _local(ad.get("updated_time"), account)
        if status == "paused" and day < account.today(now) and touched is not None and touched >= day:
            # Paused since: on that past day it still ran, or nobody can say that it did not.
            status = "active"
    of_campaign = _amount(campaign, "daily_budget") or _amount(campaign, "lifetime_budget")
    budget = _amount(campaign if of_campaign else ad_set, "daily_budget")
    is_past = day < account.today(now) - timedelta(days=1)
    creative = _node(ad, "creative")
    return {
        "account_id": account.account_id,
        "campaign_id": _text(ad.get("campaign_id")),
        "ad_set_id": _text(ad.get("adset_id")),
        "ad_id": str(ad["id"]),
        "creative_id": _text(creative.get("id")),
        "planned_share": None,
        "status": status,
        "starts_on": starts,
        "ends_on": ends,
        "budget_owner": "campaign" if of_campaign else "ad_set",
        "budget_micros": None if budget is None or is_past else money.minor_to_micros(budget, account.currency),
        "currency": account.currency,
        "optimization_goal": _text(ad_set.get("optimization_goal")),
        "template": _template(creative),
        "audience": _audience(ad_set.get("targeting")),
        **_words(creative),
        **_media(creative, raw.videos, raw.images),
    }


def _experiments(raw: Raw, listed: list[Node]) -> list[tuple[str | None, str | None]]:
    """Experiment and assignment of each row.

    The ad sets of one campaign with the same targeting and optimization goal that hold one live ad each are arms; several live ads in one ad
    set are compared within it. An ad that has not begun counts only where its ad set has no other.
    """
    lived = Counter(row["ad_set_id"] for row in listed if row["status"] in ("active", "deleted", "archived"))
    live = [
        row["status"] in ("active", "deleted", "archived") or (row["status"] == "scheduled" and not lived[row["ad_set_id"]])
        for row in listed
    ]
    held = Counter(row["ad_set_id"] for row, lives in zip(listed, live, strict=True) if lives)
    groups: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    group_of: dict[str, tuple[str, str, str]] = {}
    for ad_set, count in held.items():
        node = raw.ad_sets.get(str(ad_set))
        if count == 1 and node is not None and node.get("targeting") is not None and node.get("campaign_id") is not None:
            targeting = json.dumps(node["targeting"], sort_keys=True)
            group_of[ad_set] = (str(node["campaign_id"]), targeting, str(node.get("optimization_goal")))
            groups[group_of[ad_set]].add(ad_set)
    names: dict[tuple[str, str, str], str] = {}
    of_campaign: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for group, members in groups.items():
        if len(members) > 1:
            of_campaign[group[0]].append(group)
    for campaign, found in of_campaign.items():
        # Several in one campaign are told apart by their smallest ad set, which a new group does not change.
        for group in found:
            names[group] = campaign if len(found) == 1 else f"{campaign}-{min(groups[group])}"
    result: list[tuple[str | None, str | None]] = []
    for row, lives in zip(listed, live, strict=True):
        ad_set = row["ad_set_id"]
        name = None
        if lives and ad_set is not None:
            name = ad_set if held[ad_set] > 1 else names.get(group_of.get(ad_set, ("", "", "")))
        result.append((name, None if name is None else "delivery"))
    return result


def _template(creative: Node) -> str | None:
    story, feed = _node(creative, "object_story_spec"), _node(creative, "asset_feed_spec")
    link = _node(story, "link_data")
    formats = {str(one).upper() for one in feed.get("ad_formats") or []}
    if link.get("collection_thumbnails") or "COLLECTION" in formats or creative.get("object_type") == "COLLECTION":
        return "collection"
    if link.get("child_attachments") or "CAROUSEL" in formats or formats & {"CAROUSEL_IMAGE", "CAROUSEL_VIDEO"}:
        return "carousel"
    if _video_id(creative) is not None or creative.get("object_type") == "VIDEO":
        return "video"
    has_image = creative.get("image_hash") or creative.get("image_url") or link or story.get("photo_data") or feed.get("images")
    return "single_image" if has_image or creative.get("object_type") in ("SHARE", "PHOTO") else None


def _audience(targeting: Any) -> str | None:
    """Audience by what an ad set targets, the narrowest kind first; NULL where the targeting is not told."""
    if not isinstance(targeting, Mapping):
        return None
    audiences = [one for one in targeting.get("custom_audiences") or [] if isinstance(one, Mapping)]
    if audiences:
        named = any(_LOOKALIKE.search(str(one.get("name", ""))) or one.get("subtype") == "LOOKALIKE" for one in audiences)
        return "lookalike" if named else "retargeting"
    flexible = [one for one in targeting.get("flexible_spec") or [] if isinstance(one, Mapping)]
    return "interest" if any(one.get(name) for one in (targeting, *flexible) for name in _INTERESTS) else "broad"


def _words(creative: Node) -> Node:
    """Texts and call to action; where an ad has several, the first."""
    story, feed = _node(creative, "object_story_spec"), _node(creative, "asset_feed_spec")
    link, video, photo = _node(story, "link_data"), _node(story, "video_data"), _node(story, "photo_data")
    child = _first(link.get("child_attachments"))
    actions = feed.get("call_to_action_types") or []
    return {
        "cta": _one(
            creative.get("call_to_action_type"),
            _node(link, "call_to_action").get("type"),
            _node(video, "call_to_action").get("type"),
            _node(child, "call_to_action").get("type"),
            actions[0] if actions else None,
        ),
        "headline": _one(
            creative.get("title"),
            link.get("name"),
            video.get("title"),
            child.get("name"),
            _first(feed.get("titles")).get("text"),
        ),
        "body": _one(
            creative.get("body"),
            link.get("message"),
            video.get("message"),
            photo.get("caption"),
            _first(feed.get("bodies")).get("text"),
        ),
        "description": _one(
            link.get("description"),
            video.get("link_description"),
            child.get("description"),
            _first(feed.get("descriptions")).get("text"),
        ),
    }


def _media(creative: Node, videos: Mapping[str, str], images: Mapping[str, str]) -> Node:
    """Ids and addresses of the creative's media. A thumbnail stands for a video only: that of an image is too small to be read."""
    story, feed = _node(creative, "object_story_spec"), _node(creative, "asset_feed_spec")
    link, video, photo = _node(story, "link_data"), _node(story, "video_data"), _node(story, "photo_data")
    child, image, moving = _first(link.get("child_attachments")), _first(feed.get("images")), _first(feed.get("videos"))
    video_id = _video_id(creative)
    image_id = _one(
        creative.get("image_hash"),
        link.get("image_hash"),
        video.get("image_hash"),
        child.get("image_hash"),
        photo.get("image_hash"),
        image.get("hash"),
    )
    return {
        "image_id": image_id,
        "image_url": _one(
            creative.get("image_url"),
            link.get("picture"),
            video.get("image_url"),
            child.get("picture"),
            photo.get("url"),
            image.get("url"),
            images.get(image_id) if image_id else None,
            *([moving.get("thumbnail_url"), creative.get("thumbnail_url")] if video_id else []),
        ),
        "video_id": video_id,
        "video_url": videos.get(video_id) if video_id else None,
    }


def _video_id(creative: Node) -> str | None:
    story, feed = _node(creative, "object_story_spec"), _node(creative, "asset_feed_spec")
    return _one(
        creative.get("video_id"), _node(story, "video_data").get("video_id"), _first(feed.get("videos")).get("video_id")
    )


def _node(node: Mapping[str, Any], name: str) -> Node:
    value = node.get(name)
    return value if isinstance(value, dict) else {}


def _first(values: Any) -> Node:
    return values[0] if isinstance(values, list) and values and isinstance(values[0], dict) else {}


def _one(*values: Any) -> str | None:
    """The first text that is not blank."""
    return next((str(value) for value in values if value is not None and str(value).strip()), None)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _amount(node: Node, name: str) -> int | None:
    """A budget in minor units, NULL where there is none; the platform writes 0 for a budget of the other kind."""
    try:
        return int(node.get(name) or 0) or None
    except (TypeError, ValueError):
        raise errors.Contradiction(f"{name} of {node.get('id')} is no whole number: {node.get(name)!r}") from None


def _local(value: Any, account: AdAccount, *, ends: bool = False) -> date | None:
    """Local date of a moment such as 2026-11-18T09:00:00-0800, or of seconds since 1970; what `ends` at midnight ends on the day before."""
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(value, account.zone)
    except (TypeError, ValueError):
        raise errors.Contradiction(f"{value!r} is not a moment") from None
    local = moment if moment.tzinfo is None else moment.astimezone(account.zone)
    return (local - timedelta(microseconds=1) if ends else local).date()


def _by_id(nodes: Iterable[Node]) -> dict[str, Node]:
    return {str(node["id"]): node for node in nodes}
