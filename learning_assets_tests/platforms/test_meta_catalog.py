"""What a day's catalog says of ads as the platform describes them."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from learning_assets.platforms.meta import catalog, money
from learning_assets.platforms.meta.accounts import AdAccount
from learning_assets.platforms.source import CATALOG

TONGA = AdAccount("1", "Shop", "USD", "Pacific/Tongatapu")
TOKYO = AdAccount("1", "Shop", "JPY", "Asia/Tokyo")
NOW = datetime(2026, 11, 10, 0, 0, tzinfo=UTC)
TODAY = date(2026, 11, 10)
BROAD = {"age_min": 18, "geo_locations": {"countries": ["US"]}}


def ad(number: int, ad_set: int, **changes: Any) -> catalog.Node:
    plain = {
        "created_time": "2026-10-01T09:00:00+1300",
        "updated_time": "2026-10-01T09:00:00+1300",
        "effective_status": "ACTIVE",
    }
    return {"id": f"a{number}", "adset_id": f"s{ad_set}", "campaign_id": "c1", "status": "ACTIVE", **plain, **changes}


def rows(ads: list[catalog.Node], day: date = TODAY, account: AdAccount = TONGA, **nodes: Any) -> pl.DataFrame:
    sets = {f"s{n}": {"id": f"s{n}", "campaign_id": "c1", "targeting": BROAD, "daily_budget": "5000"} for n in range(1, 6)}
    for name, changes in nodes.items():
        if name in sets:
            sets[name] |= changes
    campaign = {"id": "c1"} | nodes.get("campaign", {})
    return catalog.rows(
        catalog.Raw(ads, sets, {"c1": campaign}, nodes.get("videos", {}), nodes.get("images", {})), account, day, NOW
    )


def one(creative: catalog.Node, **nodes: Any) -> dict[str, Any]:
    found = rows([ad(1, 1, creative={"id": "k1", **creative})], **nodes)
    assert found.schema == CATALOG
    return found.row(0, named=True)


# Who lives when.


@pytest.mark.parametrize(
    ("day", "changes", "status"),
    [
        (TODAY, {}, "active"),
        (TODAY, {"effective_status": "CAMPAIGN_PAUSED"}, "paused"),
        (TODAY, {"effective_status": "PENDING_REVIEW"}, "paused"),
        (TODAY, {"effective_status": "WITH_ISSUES"}, "active"),
        # Paused since: on that day it ran.
        (date(2026, 11, 5), {"effective_status": "PAUSED", "updated_time": "2026-11-06T09:00:00+1300"}, "active"),
        (date(2026, 11, 7), {"effective_status": "PAUSED", "updated_time": "2026-11-06T09:00:00+1300"}, "paused"),
        (date(2026, 11, 5), {"effective_status": "DELETED", "updated_time": "2026-11-06T12:00:00+1300"}, "active"),
        (date(2026, 11, 6), {"effective_status": "DELETED", "updated_time": "2026-11-06T12:00:00+1300"}, "deleted"),
        (date(2026, 11, 6), {"effective_status": "ARCHIVED", "updated_time": "2026-11-06T12:00:00+1300"}, "archived"),
        (date(2026, 11, 7), {"effective_status": "DELETED", "updated_time": "2026-11-06T12:00:00+1300"}, None),
        # One hour before midnight in UTC is the next day in Tonga.
        (date(2026, 11, 9), {"ad_schedule_start_time": "2026-11-09T23:00:00+0000"}, "scheduled"),
        (date(2026, 11, 10), {"ad_schedule_start_time": "2026-11-09T23:00:00+0000"}, "active"),
        (date(2026, 11, 8), {"ad_schedule_start_time": "2026-11-09T23:00:00+0000"}, None),
        (date(2026, 9, 29), {}, None),
        (date(2026, 9, 30), {}, "scheduled"),
        # What ends at midnight ends on the day before.
        (date(2026, 11, 8), {"ad_schedule_end_time": "2026-11-09T00:00:00+1300"}, "active"),
        (date(2026, 11, 9), {"ad_schedule_end_time": "2026-11-09T00:00:00+1300"}, None),
    ],
)
def test_status_on_a_day(day: date, changes: dict[str, str], status: str | None):
    assert rows([ad(1, 1, **changes)], day)["status"].to_list() == ([] if status is None else [status])


def test_an_ad_ends_with_its_ad_set():
    found = rows([ad(1, 1)], s1={"start_time": "2026-10-05T00:00:00+1300", "end_time": "2026-11-12T00:00:00+1300"})
    assert found.select("starts_on", "ends_on").row(0) == (date(2026, 10, 5), date(2026, 11, 11))


# Budgets.


def test_who_owns_the_budget():
    own = rows([ad(1, 1)]).row(0, named=True)
    assert (own["budget_owner"], own["budget_micros"], own["currency"]) == ("ad_set", 50_000_000, "USD")
    shared = rows([ad(1, 1)], campaign={"daily_budget": "9900"}, s1={"daily_budget": None}).row(0, named=True)
    assert (shared["budget_owner"], shared["budget_micros"]) == ("campaign", 99_000_000)
    # A lifetime budget is no day's budget.
    life = rows([ad(1, 1)], campaign={"daily_budget": "0", "lifetime_budget": "70000"}, s1={"daily_budget": None}).row(
        0, named=True
    )
    assert (life["budget_owner"], life["budget_micros"]) == ("campaign", None)


def test_currencies_without_a_minor_unit():
    assert rows([ad(1, 1)], account=TOKYO)["budget_micros"].to_list() == [5_000_000_000]
    with pytest.raises(money.UnknownCurrency, match="the minor unit of the currency XTS is not known"):
        rows([ad(1, 1)], account=AdAccount("1", None, "XTS", "UTC"))


def test_a_past_days_budget_is_not_known():
    assert rows([ad(1, 1)], date(2026, 11, 9))["budget_micros"].to_list() == [50_000_000]
    assert rows([ad(1, 1)], date(2026, 11, 8))["budget_micros"].to_list() == [None]


# Experiments.


def experiments(*arguments: Any, **nodes: Any) -> dict[str, str | None]:
    found = rows(*arguments, **nodes)
    assert found["assignment"].is_null().equals(found["experiment_id"].is_null())
    return dict(found.select("ad_id", "experiment_id").iter_rows())


def test_ad_sets_with_one_ad_and_the_same_audience_are_an_experiment():
    ads = [ad(1, 1), ad(2, 2), ad(3, 3)]
    assert experiments(ads, s3={"targeting": {"age_min": 30}}) == {"a1": "c1", "a2": "c1", "a3": None}
    assert experiments(ads, s3={"optimization_goal": "REACH"}) == {"a1": "c1", "a2": "c1", "a3": None}
    # The order of keys in a targeting says nothing.
    assert experiments(ads, s3={"targeting": dict(reversed(BROAD.items()))}) == dict.fromkeys(["a1", "a2", "a3"], "c1")
    assert experiments([ad(1, 1), ad(2, 2, effective_status="PAUSED")]) == {"a1": None, "a2": None}


def test_several_groups_of_one_campaign_are_told_apart():
    other = {"targeting": {"age_min": 30}}
    found = experiments([ad(n, n) for n in range(1, 5)], s3=other, s4=other)
    assert found == {"a1": "c1-s1", "a2": "c1-s1", "a3": "c1-s3", "a4": "c1-s3"}


def test_several_ads_in_one_ad_set_are_an_experiment_for_patterns():
    assert experiments([ad(1, 1), ad(2, 1), ad(3, 2)]) == {"a1": "s1", "a2": "s1", "a3": None}


def test_an_ad_that_has_not_begun_is_an_arm_only_where_its_ad_set_has_no_other():
    later = {"ad_schedule_start_time": "2026-11-11T00:00:00+1300"}
    assert experiments([ad(1, 1), ad(2, 2), ad(3, 2, **later)]) == {"a1": "c1", "a2": "c1", "a3": None}
    assert experiments([ad(1, 1, **later), ad(2, 2, **later)]) == {"a1": "c1", "a2": "c1"}


# Creatives.


@pytest.mark.parametrize(
    ("creative", "template", "texts"),
    [
        ({"title": "T", "body": "B", "image_hash": "h", "object_type": "SHARE"}, "single_image", ("T", "B", None, None)),
        (
            {
                "object_story_spec": {
                    "link_data": {
                        "name": "N",
                        "message": "M",
                        "description": "D",
                        "image_hash": "h",
                        "call_to_action": {"type": "X"},
                    }
                }
            },
            "single_image",
            ("N", "M", "D", "X"),
        ),
        (
            {"object_story_spec": {"video_data": {"video_id": "v", "title": "T", "message": "M", "link_description": "D"}}},
            "video",
            ("T", "M", "D", None),
        ),
        (
            {
                "object_story_spec": {
                    "link_data": {"message": "M", "child_attachments": [{"name": "C", "description": "D"}, {}]}
                }
            },
            "carousel",
            ("C", "M", "D", None),
        ),
        (
            {
                "object_story_spec": {"link_data": {"message": "M", "collection_thumbnails": [{}]}},
                "call_to_action_type": "SHOP_NOW",
            },
            "collection",
            (None, "M", None, "SHOP_NOW"),
        ),
        (
            {
                "asset_feed_spec": {
                    "titles": [{"text": "T1"}, {"text": "T2"}],
                    "bodies": [{"text": "B1"}],
                    "descriptions": [{"text": "D1"}],
                    "videos": [{"video_id": "v", "thumbnail_url": "http://t"}],
                    "call_to_action_types": ["BRAND_NEW_ACTION"],
                    "ad_formats": ["SINGLE_VIDEO"],
                }
            },
            "video",
            ("T1", "B1", "D1", "BRAND_NEW_ACTION"),
        ),
        ({"asset_feed_spec": {"images": [{"hash": "h"}], "ad_formats": ["AUTOMATIC_FORMAT"]}}, "single_image", (None,) * 4),
        # An existing post says nothing of itself.
        ({"object_type": "PRIVACY_CHECK_FAIL", "title": "  "}, None, (None,) * 4),
    ],
)
def test_texts_and_template(creative: catalog.Node, template: str | None, texts: tuple[str | None, ...]):
    found = one(creative)
    assert found["template"] == template
    assert (found["headline"], found["body"], found["description"], found["cta"]) == texts


def test_media():
    found = one(
        {
            "image_hash": "h",
            "thumbnail_url": "http://small",
            "object_story_spec": {"video_data": {"video_id": "v", "image_url": "http://i"}},
        },
        videos={"v": "http://v"},
    )
    assert [found[n] for n in ("image_id", "image_url", "video_id", "video_url")] == ["h", "http://i", "v", "http://v"]
    assert one({"video_id": "w", "thumbnail_url": "http://small"})["video_url"] is None
    # The thumbnail of an image is too small to be read; its hash has an address in the account's library.
    image = {"image_hash": "h", "thumbnail_url": "http://small"}
    assert one(image)["image_url"] is None
    assert one(image, images={"h": "http://large"})["image_url"] == "http://large"


@pytest.mark.parametrize(
    ("targeting", "audience"),
    [
        (BROAD, "broad"),
        ({"custom_audiences": [{"id": "1", "name": "Website visitors 30 days"}]}, "retargeting"),
        ({"custom_audiences": [{"id": "1", "name": "Lookalike (US, 1%) - Buyers"}]}, "lookalike"),
        ({"custom_audiences": [{"id": "1", "name": "Buyers", "subtype": "LOOKALIKE"}]}, "lookalike"),
        ({"flexible_spec": [{"interests": [{"id": "6003"}]}]}, "interest"),
        ({"behaviors": [{"id": "6"}]}, "interest"),
        (None, None),
    ],
)
def test_audience(targeting: dict[str, Any] | None, audience: str | None):
    assert one({}, s1={"targeting": targeting})["audience"] == audience
