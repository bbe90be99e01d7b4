"""Nodes of the Graph API: accounts, campaigns, ad sets, ads, creatives, videos and audiences, as objects of JSON.

What belongs here: the fields of each node, and choosing those that were asked for. What does not: edges, paging and requests
(`answers`).

Only fields that were asked for are returned, and a field without a value is left out, as the platform does. A field is made
when it is asked for, so that dear ones (learning phases, amount spent) cost only those who want them.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from learning_assets.sandbox.graph.errors import invalid
from learning_assets.sandbox.graph.insights import name_of
from learning_assets.sandbox.graph.world import Account, Launched, World
from learning_assets.sandbox.media import PICTURE_SIDE, film_of

Fields = dict[str, "Fields | None"]
"""Names of fields, each with the fields of the object it stands for, or None."""
Made = Mapping[str, Callable[[], Any]]
"""A node: how each of its fields is made."""

UNKNOWN_CTA = "TRY_IN_STORE_TODAY"
_COUNTRIES = {
    "USD": "US",
    "EUR": "DE",
    "GBP": "GB",
    "JPY": "JP",
    "NZD": "NZ",
    "AUD": "AU",
    "BRL": "BR",
    "KRW": "KR",
    "INR": "IN",
}
_PER_USD = {
    "USD": 1.0,
    "EUR": 0.92,
    "GBP": 0.79,
    "JPY": 150.0,
    "NZD": 1.65,
    "AUD": 1.52,
    "BRL": 5.1,
    "KRW": 1_350.0,
    "INR": 84.0,
}
_ATTRIBUTION = [{"event_type": "CLICK_THROUGH", "window_days": 7}, {"event_type": "VIEW_THROUGH", "window_days": 1}]


def parse_fields(text: str) -> Fields:
    """Reads `id,name,creative{id,body}`, or a JSON array of such.

    Raises
    ------
    GraphError : braces that do not close.
    """
    text = text.strip()
    if text.startswith("["):
        text = ",".join(str(item) for item in json.loads(text))
    found, rest = _read_fields(text)
    if rest:
        raise invalid(f"Syntax error in fields: {text[:80]!r}")
    return found


def _read_fields(text: str) -> tuple[Fields, str]:
    found: Fields = {}
    while text and text[0] != "}":
        end = next((i for i, letter in enumerate(text) if letter in ",{}"), len(text))
        name, text = text[:end].split(".")[0].strip(), text[end:]
        inner: Fields | None = None
        if text.startswith("{"):
            inner, text = _read_fields(text[1:])
            if not text.startswith("}"):
                raise invalid("Syntax error in fields: a brace does not close")
            text = text[1:]
        if name:
            found[name] = inner
        text = text.removeprefix(",")
    return found, text


def chosen(made: Made, fields: Fields, kind: str) -> dict[str, Any]:
    """The fields that were asked for, and the id.

    Raises
    ------
    GraphError : a field that the node does not have.
    """
    found: dict[str, Any] = {}
    for name, inner in fields.items():
        if name not in made:
            raise invalid(f"Tried accessing nonexisting field ({name}) on node type ({kind})")
        value = made[name]()
        if value is None:
            continue
        if isinstance(value, _Node):
            value = chosen(value.made, inner or {}, value.kind)
        elif inner and isinstance(value, dict):
            value = {key: value[key] for key in (*inner, "id") if key in value}
        found[name] = value
    if "id" in made:
        found["id"] = made["id"]()
    return found


class _Node:
    """A node as the value of another node's field."""

    def __init__(self, made: Made, kind: str) -> None:
        self.made, self.kind = made, kind


class Objects:
    """The nodes of a world; `url` is where the server stands, for the addresses of media."""

    def __init__(self, world: World, url: str) -> None:
        self.world = world
        self.url = url
        self._spent: dict[tuple[int, date], int] = {}

    # Accounts.

    def account(self, account: Account) -> Made:
        """An ad account."""
        zone = ZoneInfo(account.timezone)
        now = self.world.clock.now()
        offset = now.astimezone(zone).utcoffset() or timedelta()
        owner = str(9_000_000_000 + int(account.owner.rpartition("_")[2]))
        return {
            "id": lambda: f"act_{account.account_id}",
            "account_id": lambda: account.account_id,
            "name": lambda: account.name,
            "currency": lambda: account.currency,
            "timezone_name": lambda: account.timezone,
            "timezone_id": lambda: 1 + account.index % 13,
            "timezone_offset_hours_utc": lambda: offset.total_seconds() / 3600,
            "account_status": lambda: 1,
            "disable_reason": lambda: 0,
            "age": lambda: float((self.world.today(account) - self.world.first_day).days),
            "min_daily_budget": lambda: minimum_budget(account),
            "spend_cap": lambda: "0",
            "amount_spent": lambda: str(self._amount_spent(account) // account.minor_micros),
            "balance": lambda: "0",
            "attribution_spec": lambda: _ATTRIBUTION,
            "user_tasks": lambda: ["DRAFT", "ANALYZE", "ADVERTISE", "MANAGE"],
            "owner": lambda: owner,
            "business": lambda: {"id": owner, "name": f"{account.owner} (simulated)"},
            "business_name": lambda: f"{account.owner} (simulated)",
            "created_time": lambda: local_time(account, self.world.first_day, 9),
            "is_personal": lambda: 0,
            "funding_source": lambda: None,
        }

    def _amount_spent(self, account: Account) -> int:
        key = (account.index, self.world.today(account))
        if key not in self._spent:
            now = self.world.clock.now()
            found = self.world.market.delivered(
                self.world.first_day, key[1], np.array([account.index]), now, self.world.edits(account, now)
            )
            self._spent[key] = int(found.counts.spend.sum())
        return self._spent[key]

    # Campaigns, ad sets and ads.

    def campaign(self, ads: list[Launched]) -> Made:
        """A campaign, of its ads."""
        first, newest = ads[0], ads[-1]
        account, facts = first.account, first.facts
        campaign_id = facts["campaign_id"]
        owns = facts["budget_owner"] == "campaign"
        return {
            "id": lambda: campaign_id,
            "account_id": lambda: account.account_id,
            "name": lambda: name_of(facts, "campaign"),
            "objective": lambda: "OUTCOME_SALES",
            "buying_type": lambda: "AUCTION",
            "status": lambda: newest.campaign_status,
            "configured_status": lambda: newest.campaign_status,
            "effective_status": lambda: newest.campaign_status,
            "special_ad_categories": lambda: [],
            "bid_strategy": lambda: "LOWEST_COST_WITHOUT_CAP" if owns else None,
            "daily_budget": lambda: self._budget(account, campaign_id) if owns else None,
            "lifetime_budget": lambda: "0" if owns else None,
            "budget_remaining": lambda: self._budget(account, campaign_id) if owns else "0",
            "spend_cap": lambda: None,
            "smart_promotion_type": lambda: "GUIDED_CREATION",
            "is_adset_budget_sharing_enabled": lambda: False,
            "is_budget_schedule_enabled": lambda: False,
            "created_time": lambda: local_time(account, facts["starts_on"] - timedelta(days=1), 15),
            "updated_time": lambda: self._updated(account, campaign_id, newest),
            "start_time": lambda: local_time(account, facts["starts_on"], 0),
            "stop_time": lambda: self._planned_end(newest),
        }

    def ad_set(self, ads: list[Launched]) -> Made:
        """An ad set, of its ads."""
        first, newest = ads[0], ads[-1]
        account, facts = first.account, first.facts
        ad_set_id = facts["ad_set_id"]
        owns = facts["budget_owner"] == "ad_set"
        effective = "CAMPAIGN_PAUSED" if newest.ad_set_status == "PAUSED" else newest.ad_set_status
        own = "ACTIVE" if effective == "CAMPAIGN_PAUSED" else effective
        campaign = self.world.listing(account).campaigns[facts["campaign_id"]]
        return {
            "id": lambda: ad_set_id,
            "account_id": lambda: account.account_id,
            "campaign_id": lambda: facts["campaign_id"],
            "campaign": lambda: _Node(self.campaign(campaign), "Campaign"),
            "name": lambda: name_of(facts, "ad_set"),
            "status": lambda: own,
            "configured_status": lambda: own,
            "effective_status": lambda: effective,
            "daily_budget": lambda: self._budget(account, ad_set_id) if owns else None,
            "lifetime_budget": lambda: "0" if owns else None,
            "budget_remaining": lambda: self._budget(account, ad_set_id) if owns else "0",
            "optimization_goal": lambda: "OFFSITE_CONVERSIONS",
            "billing_event": lambda: "IMPRESSIONS",
            "bid_strategy": lambda: "LOWEST_COST_WITHOUT_CAP" if owns else None,
            "attribution_spec": lambda: _ATTRIBUTION,
            "learning_stage_info": lambda: self._phase(account, ad_set_id),
            "promoted_object": lambda: {"pixel_id": f"77{account.account_id}", "custom_event_type": "PURCHASE"},
            "targeting": lambda: targeting(account, facts),
            "destination_type": lambda: "WEBSITE",
            "created_time": lambda: local_time(account, facts["starts_on"] - timedelta(days=1), 15),
            "updated_time": lambda: self._updated(account, ad_set_id, newest),
            "start_time": lambda: local_time(account, facts["starts_on"], 0),
            "end_time": lambda: self._planned_end(newest),
        }

    def ad(self, ad: Launched) -> Made:
        """An ad."""
        account, facts = ad.account, ad.facts
        listing = self.world.listing(account)
        return {
            "id": lambda: facts["ad_id"],
            "account_id": lambda: account.account_id,
            "campaign_id": lambda: facts["campaign_id"],
            "adset_id": lambda: facts["ad_set_id"],
            "campaign": lambda: _Node(self.campaign(listing.campaigns[facts["campaign_id"]]), "Campaign"),
            "adset": lambda: _Node(self.ad_set(listing.ad_sets[facts["ad_set_id"]]), "AdSet"),
            "creative": lambda: _Node(self.creative(ad), "AdCreative"),
            "name": lambda: name_of(facts, "ad"),
            "status": lambda: ad.status,
            "configured_status": lambda: ad.status,
            "effective_status": lambda: ad.effective_status,
            "created_time": lambda: local_time(account, facts["starts_on"] - timedelta(days=1), 15),
            "updated_time": lambda: self._updated(account, facts["ad_id"], ad),
            "ad_schedule_start_time": lambda: local_time(account, facts["starts_on"], 0),
            "ad_schedule_end_time": lambda: self._planned_end(ad),
            "bid_type": lambda: "ABSOLUTE_OCPM",
            "conversion_domain": lambda: "shop.example",
            "preview_shareable_link": lambda: f"https://fb.me/simulated{facts['ad_id'][-6:]}",
        }

    def _budget(self, account: Account, entity_id: str) -> str:
        return str(self.world.budget(entity_id) // account.minor_micros)

    def _phase(self, account: Account, ad_set_id: str) -> dict[str, Any] | None:
        phase = self.world.phases(account).get(ad_set_id)
        if phase is None:
            return None
        return {
            "status": phase["status"],
            "conversions": phase["conversions"],
            "last_sig_edit_ts": int(phase["last_sig_edit"].timestamp()),
            "attribution_windows": ["7d_click", "1d_view"],
        }

    def _planned_end(self, ad: Launched) -> str | None:
        """Groups are planned to an end; other ads run until somebody ends them."""
        return local_time(ad.account, ad.facts["ends_on"] + timedelta(days=1), 0) if ad.facts["in_group"] else None

    def _updated(self, account: Account, entity_id: str, newest: Launched) -> str:
        changes = self.world.changes_to(entity_id)
        facts = newest.facts
        if newest.effective_status != "ACTIVE":
            hour = 12 if facts["deleted"] else 23
            return local_time(account, facts["ends_on"], hour)
        if changes:
            return stamp(changes[-1].moment.astimezone(ZoneInfo(account.timezone)))
        return local_time(account, facts["starts_on"] - timedelta(days=1), 15)

    # Creatives and media.

    def media(self, name: str) -> str:
        """Address of a media file; it is signed, and expires."""
        return f"{self.url}/media/{name}?oe=7F000000"

    def creative(self, ad: Launched) -> Made:
        """A creative. One in twenty-five is an existing post of a partner and says nothing of its texts; others have them in a story
        (most), in an asset feed, or beside the story's id."""
        account, facts = ad.account, ad.facts
        creative_id, video_id, template, draw = (
            facts["creative_id"],
            facts["video_id"],
            facts["template"],
            facts["creative_draw"],
        )
        image = f"img_{creative_id}.png"
        shape = "post" if draw < 0.04 else "feed" if draw < 0.20 and template in ("video", "single_image") else "story"
        shape = "plain" if shape == "story" and 0.20 <= draw < 0.28 and template in ("video", "single_image") else shape
        link = f"https://shop.example/{account.account_id}/{creative_id[-9:]}"
        action = {"type": facts["cta"], "value": {"link": link}}
        page = f"55{account.account_id}"

        def story() -> dict[str, Any] | None:
            if shape != "story":
                return None
            if template == "video":
                data = {
                    "video_id": video_id,
                    "title": facts["headline"],
                    "message": facts["body"],
                    "link_description": facts["description"],
                    "image_url": self.media(image),
                    "call_to_action": action,
                }
                return {"page_id": page, "instagram_user_id": f"66{account.account_id}", "video_data": data}
            data = {
                "link": link if template != "collection" else f"https://fb.com/canvas_doc/{creative_id}",
                "message": facts["body"],
                "name": facts["headline"],
                "description": facts["description"],
                "caption": "shop.example",
                "image_hash": image_hash_of(creative_id),
                "call_to_action": action,
            }
            if template == "carousel":
                data["multi_share_end_card"] = True
                data["child_attachments"] = [
                    {
                        "link": f"{link}/{n}",
                        "name": facts["headline"],
                        "description": facts["description"],
                        "image_hash": f"{int(creative_id) + n:032x}",
                        "picture": self.media(image),
                        "call_to_action": action,
                    }
                    for n in (1, 2, 3)
                ]
            if template == "collection":
                data["collection_thumbnails"] = [
                    {"element_id": f"{creative_id[-6:]}{n}", "element_crops": {}} for n in range(4)
                ]
            return {"page_id": page, "link_data": data}

        def feed() -> dict[str, Any] | None:
            if shape != "feed":
                return None
            media = (
                {"videos": [{"video_id": video_id, "thumbnail_url": self.media(image)}]}
                if template == "video"
                else {"images": [{"hash": image_hash_of(creative_id), "url": self.media(image)}]}
            )
            return {
                **media,
                "bodies": [{"text": facts["body"]}],
                "titles": [{"text": facts["headline"]}],
                "descriptions": [{"text": facts["description"]}],
                "call_to_action_types": [facts["cta"]],
                "link_urls": [{"website_url": link}],
                "ad_formats": ["SINGLE_VIDEO" if template == "video" else "SINGLE_IMAGE"],
                "optimization_type": "DEGREES_OF_FREEDOM",
            }

        return {
            "id": lambda: creative_id,
            "account_id": lambda: account.account_id,
            "name": lambda: f"{facts['template']} {creative_id[-9:]}",
            "status": lambda: "ACTIVE",
            "object_type": lambda: "VIDEO" if template == "video" else "SHARE",
            "title": lambda: facts["headline"] if shape == "plain" else None,
            "body": lambda: facts["body"] if shape == "plain" else None,
            "link_url": lambda: link if shape == "plain" else None,
            "call_to_action_type": lambda: facts["cta"] if shape in ("story", "plain") else None,
            "thumbnail_url": lambda: self.media(f"thumb_{creative_id}.jpg"),
            "image_url": lambda: self.media(image) if template != "video" else None,
            "image_hash": lambda: image_hash_of(creative_id) if template != "video" else None,
            "video_id": lambda: video_id,
            "effective_object_story_id": lambda: f"{page}_{creative_id[-12:]}",
            "object_story_id": lambda: f"{page}_{creative_id[-12:]}" if shape in ("plain", "post") else None,
            "object_story_spec": story,
            "asset_feed_spec": feed,
            "template_url": lambda: None,
            "product_set_id": lambda: f"88{creative_id[-9:]}" if template == "collection" else None,
            "url_tags": lambda: "utm_source=facebook&utm_medium=paid",
            "instagram_permalink_url": lambda: None,
            "branded_content": lambda: {"partners": [{"fb_page_id": "990001"}]} if shape == "post" else None,
        }

    def video(self, ad: Launched) -> Made:
        """A video."""
        facts = ad.facts
        video_id = facts["video_id"]
        film = film_of(self.world.market.params.seed, video_id)
        created = local_time(ad.account, facts["starts_on"] - timedelta(days=1), 14)
        return {
            "id": lambda: video_id,
            "source": lambda: self.media(f"vid_{video_id}.mp4"),
            "length": lambda: round(film.seconds, 2),
            "title": lambda: facts["headline"],
            "description": lambda: facts["body"],
            "picture": lambda: self.media(f"img_{facts['creative_id']}.png"),
            "permalink_url": lambda: f"/watch/{video_id}/",
            "created_time": lambda: created,
            "updated_time": lambda: created,
            "status": lambda: {"video_status": "ready"},
            "format": lambda: [
                {"embed_html": "", "filter": "native", "height": film.height, "width": film.width, "picture": None}
            ],
        }

    def image(self, ad: Launched) -> Made:
        """The image of a creative."""
        facts, account = ad.facts, ad.account
        image_hash = image_hash_of(facts["creative_id"])
        created = local_time(account, facts["starts_on"] - timedelta(days=1), 14)
        return {
            "id": lambda: f"{account.account_id}:{image_hash}",
            "hash": lambda: image_hash,
            "name": lambda: f"{facts['creative_id']}.png",
            "url": lambda: self.media(f"img_{facts['creative_id']}.png"),
            "permalink_url": lambda: self.media(f"img_{facts['creative_id']}.png"),
            "width": lambda: PICTURE_SIDE,
            "height": lambda: PICTURE_SIDE,
            "status": lambda: "ACTIVE",
            "created_time": lambda: created,
            "updated_time": lambda: created,
        }


def image_hash_of(creative_id: str) -> str:
    """The platform's hash of a creative's image."""
    return f"{int(creative_id):032x}"


def minimum_budget(account: Account) -> int:
    """The smallest daily budget, about one US dollar, in minor units."""
    return round(_PER_USD[account.currency] * 1_000_000 / account.minor_micros)


def targeting(account: Account, facts: dict[str, Any]) -> dict[str, Any]:
    """Whom an ad set addresses: everybody, a lookalike or a retargeting audience, or an interest."""
    country = _COUNTRIES[account.currency]
    found: dict[str, Any] = {
        "age_min": 18,
        "age_max": 65,
        "geo_locations": {"countries": [country], "location_types": ["home", "recent"]},
        "targeting_automation": {"advantage_audience": 1 if facts["audience"] == "broad" else 0},
    }
    if facts["audience"] in ("lookalike", "retargeting"):
        found["custom_audiences"] = [custom_audience(account, facts["audience"])]
    if facts["audience"] == "interest":
        found["flexible_spec"] = [{"interests": [{"id": f"6003{account.index:09d}", "name": "Online shopping"}]}]
    return found


def custom_audience(account: Account, audience: str) -> dict[str, str]:
    """The account's audience of a kind, as an ad set refers to it."""
    name = (
        f"Lookalike ({_COUNTRIES[account.currency]}, 1%) - Purchasers 180 days"
        if audience == "lookalike"
        else "Website visitors 30 days"
    )
    return {"id": f"{_AUDIENCE_KINDS[audience]}{account.account_id}", "name": name}


_AUDIENCE_KINDS = {"lookalike": "2384", "retargeting": "2385"}


def audience_node(account: Account, audience: str) -> Made:
    """A custom audience."""
    known = custom_audience(account, audience)
    return {
        "id": lambda: known["id"],
        "account_id": lambda: account.account_id,
        "name": lambda: known["name"],
        "subtype": lambda: "LOOKALIKE" if audience == "lookalike" else "WEBSITE",
        "lookalike_spec": lambda: {"country": _COUNTRIES[account.currency], "ratio": 0.01} if audience == "lookalike" else None,
        "retention_days": lambda: 30 if audience == "retargeting" else None,
    }


def audience_of(object_id: str) -> tuple[str, str] | None:
    """Account id and kind of a custom audience's id."""
    for audience, prefix in _AUDIENCE_KINDS.items():
        if object_id.startswith(prefix) and len(object_id) < 15:
            return object_id.removeprefix(prefix), audience
    return None


def local_time(account: Account, day: date, hour: int) -> str:
    """A full hour of an account's local day, as the platform writes it."""
    return stamp(datetime.combine(day, time(hour), ZoneInfo(account.timezone)))


def stamp(at: datetime) -> str:
    """A moment as the platform writes it: local, and the offset without a colon."""
    return at.strftime("%Y-%m-%dT%H:%M:%S%z")
