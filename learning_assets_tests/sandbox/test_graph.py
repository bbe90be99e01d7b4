"""The Graph server, seen by the official SDK and by plain requests that know the platform and not the server."""

import json
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
import requests
from facebook_business.adobjects.ad import Ad
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.adreportrun import AdReportRun
from facebook_business.adobjects.adset import AdSet
from facebook_business.adobjects.user import User
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError

from learning_assets.sandbox.control import Control
from learning_assets.sandbox.media import film_of
from learning_assets.sandbox.media import video as render
from learning_assets_tests.sandbox.graph_client import (
    DOLLARS,
    EVERY_STATUS,
    MARKET,
    NOW,
    TONGA,
    YEN,
    Client,
    market,
    node,
    purchases,
    sdk,
)

HOURLY = "hourly_stats_aggregated_by_advertiser_time_zone"
RECIPE = (
    "account_id,account_currency,campaign_id,campaign_name,adset_id,adset_name,ad_id,ad_name,objective,optimization_goal,"
    "attribution_setting,buying_type,impressions,reach,frequency,clicks,inline_link_clicks,outbound_clicks,spend,actions,"
    "action_values,conversions,conversion_values,purchase_roas,results,video_play_actions,video_thruplay_watched_actions,"
    "video_15_sec_watched_actions,video_p25_watched_actions,video_p50_watched_actions,video_p75_watched_actions,"
    "video_p100_watched_actions,video_avg_time_watched_actions,quality_ranking,engagement_rate_ranking,"
    "conversion_rate_ranking,date_start,date_stop"
)
WINDOWS = ["1d_click", "7d_click", "28d_click", "1d_view"]


@pytest.fixture
def api(control: Control) -> FacebookAdsApi:
    return sdk(control)


# The official SDK.


def test_the_sdk_lists_accounts(api: FacebookAdsApi):
    accounts = list(node(User, "me", api).get_ad_accounts(fields=["name", "currency", "timezone_name"], params={"limit": 2}))
    assert [a["id"] for a in accounts] == [f"act_{4_000_001 + n}" for n in range(9)]
    assert accounts[4]["currency"] == "JPY"


def test_the_sdk_reads_insights_in_pages(api: FacebookAdsApi):
    account = node(AdAccount, f"act_{DOLLARS}", api)
    params: dict[str, Any] = {
        "level": "ad",
        "time_increment": 1,
        "time_range": {"since": "2026-03-01", "until": "2026-03-03"},
        "limit": 7,
        "filtering": EVERY_STATUS,
    }
    rows = list(account.get_insights(fields=["ad_id", "impressions", "spend"], params=params))
    truth = market().actuals(date(2026, 3, 1), date(2026, 3, 3), date(2026, 3, 3)).filter(pl.col("account_id") == DOLLARS)
    assert len(rows) == truth.height
    assert {(r["date_start"], r["ad_id"]): int(r["impressions"]) for r in rows} == {
        (str(day), ad): impressions for day, ad, impressions in truth.select("date", "ad_id", "impressions").iter_rows()
    }


def test_the_sdk_runs_an_asynchronous_report(api: FacebookAdsApi, control: Control):
    control.limit(report_polls=2)
    account = node(AdAccount, f"act_{DOLLARS}", api)
    params = {"level": "ad", "time_increment": 1, "time_range": {"since": "2026-03-01", "until": "2026-03-02"}}
    job: Any = account.get_insights(fields=["ad_id", "clicks"], params=params, is_async=True)
    assert type(job) is AdReportRun
    with pytest.raises(FacebookRequestError) as early:
        list(job.get_result())
    assert (early.value.api_error_code(), early.value.api_error_subcode()) == (2601, 1815107)
    assert early.value.api_transient_error()
    seen: list[tuple[str, int]] = []
    for _ in range(3):
        job = job.api_get()
        seen.append((job["async_status"], job["async_percent_completion"]))
    assert seen == [("Job Running", 33), ("Job Running", 67), ("Job Completed", 100)]
    sync = list(account.get_insights(fields=["ad_id", "clicks"], params=params | {"limit": 500}))
    assert [dict(r) for r in job.get_result(params={"limit": 5})] == [dict(r) for r in sync]
    assert len(sync) > 10


def test_a_report_passes_through_all_statuses(control: Control, client: Client):
    control.limit(report_polls=3)
    run = client.post(f"act_{DOLLARS}/insights", level="ad", date_preset="yesterday").json()["report_run_id"]
    statuses = [client.get(f"{run}/").json()["async_status"] for _ in range(4)]
    assert statuses == ["Job Not Started", "Job Started", "Job Running", "Job Completed"]


def test_a_report_says_what_was_known_when_it_was_asked_for(control: Control, client: Client):
    asked: dict[str, Any] = {
        "level": "account",
        "time_range": {"since": "2026-03-10", "until": "2026-03-10"},
        "fields": "spend",
    }
    report = client.post(f"act_{DOLLARS}/insights", **asked).json()["report_run_id"]
    control.step(timedelta(hours=3))
    client.get(f"{report}/")
    client.get(f"{report}/")
    then = Decimal(client.get(f"{report}/insights").json()["data"][0]["spend"])
    now = Decimal(client.get(f"act_{DOLLARS}/insights", **asked).json()["data"][0]["spend"])
    assert then < now


def test_the_sdk_changes_a_budget_and_reads_it_back(api: FacebookAdsApi):
    account = node(AdAccount, f"act_{DOLLARS}", api)
    ad_sets = [s for s in account.get_ad_sets(fields=["daily_budget", "campaign_id"]) if "daily_budget" in s]
    chosen = ad_sets[-1]
    before = int(chosen["daily_budget"])
    chosen.api_update(params={"daily_budget": before + 100, "execution_options": ["validate_only"]})
    assert node(AdSet, chosen["id"], api).api_get(fields=["daily_budget"])["daily_budget"] == str(before)
    chosen.api_update(params={"daily_budget": before + 100})
    assert node(AdSet, chosen["id"], api).api_get(fields=["daily_budget"])["daily_budget"] == str(before + 100)
    events = list(
        account.get_activities(
            fields=["event_type", "event_time", "actor_name", "application_name", "object_id", "extra_data"],
            params={"since": "2026-03-10"},
        )
    )
    changed = next(e for e in events if e["event_type"] == "update_ad_set_budget")
    assert changed["object_id"] == chosen["id"]
    told = json.loads(changed["extra_data"])
    assert (told["old_value"]["old_value"], told["new_value"]["new_value"]) == (before, before + 100)
    chosen.api_update(params={"daily_budget": before})


def test_the_sdk_reads_in_a_batch(api: FacebookAdsApi):
    ads = list(node(AdAccount, f"act_{DOLLARS}", api).get_ads(fields=["id"], params={"limit": 3}))[:3]
    bodies: list[dict[str, Any]] = []
    failed: list[int] = []
    batch = api.new_batch()
    for ad in ads:
        node(Ad, ad["id"], api).api_get(
            fields=["name", "effective_status"],
            batch=batch,
            success=lambda response: bodies.append(response.json()),
        )
    node(Ad, "123999999999999999", api).api_get(
        batch=batch, failure=lambda response: failed.append(response.error().api_error_subcode())
    )
    assert batch.execute() is None
    assert [body["id"] for body in bodies] == [ad["id"] for ad in ads]
    assert failed == [33]


def test_a_batch_carries_the_headers_of_each_call(client: Client):
    calls = [{"method": "GET", "relative_url": f"act_{DOLLARS}?fields=name"}, {"method": "GET", "relative_url": "17"}]
    replies = client.post("", batch=calls).json()
    assert [reply["code"] for reply in replies] == [200, 400]
    names = {header["name"] for header in replies[0]["headers"]}
    assert {"x-ad-account-usage", "facebook-api-version"} <= names
    assert json.loads(replies[0]["body"])["id"] == f"act_{DOLLARS}"


def test_the_sdk_takes_every_field_of_the_recipe(api: FacebookAdsApi, recwarn: pytest.WarningsRecorder):
    rows = node(AdAccount, f"act_{DOLLARS}", api).get_insights(
        fields=RECIPE.split(","),
        params={"level": "ad", "date_preset": "yesterday", "limit": 100, "action_attribution_windows": WINDOWS},
    )
    assert len(rows) > 5
    assert not [w for w in recwarn if "does not allow field" in str(w.message)]


# Shapes.


def test_rows_have_the_shapes_of_the_platform(client: Client):
    rows = client.insights(
        DOLLARS,
        "2026-02-01",
        "2026-03-09",
        fields=RECIPE,
        filtering=EVERY_STATUS,
        action_attribution_windows=WINDOWS,
        use_unified_attribution_setting=True,
    )
    listed = {"actions", "action_values", "purchase_roas", "outbound_clicks", "results"}
    for row in rows:
        assert all(
            isinstance(value, list if name in listed or name.startswith("video_") else str) for name, value in row.items()
        )
        assert row["attribution_setting"] == "7d_click_1d_view"
        assert re.fullmatch(r"\d+\.\d\d", row["spend"])
        assert not {"conversions", "conversion_values"} & row.keys()
        names = [action["action_type"] for action in row.get("actions", [])]
        assert len(names) == len(set(names))
    bought = [row for row in rows if purchases(row)]
    assert len(bought) > 30
    for row in bought:
        every = {a["action_type"]: a["value"] for a in row["actions"] if "purchase" in a["action_type"]}
        assert len(every) == 5
        assert len(set(every.values())) == 1
        assert purchases(row) == purchases(row, "7d_click") + purchases(row, "1d_view")
        assert purchases(row, "1d_click") <= purchases(row, "7d_click") <= purchases(row, "28d_click")
        roas = float(row["purchase_roas"][0]["value"])
        assert roas == pytest.approx(purchases(row, what="action_values") / float(row["spend"]), rel=1e-4)
    without = [row for row in rows if not purchases(row) and not purchases(row, "28d_click")]
    assert without
    assert not any("action_values" in row for row in without)
    videos = [row for row in rows if "video_play_actions" in row]
    assert 0 < len(videos) < len(rows)


def test_facts_equal_the_market(client: Client):
    truth = market().actuals(date(2026, 3, 1), date(2026, 3, 5), date(2026, 3, 5))
    for account in (DOLLARS, YEN, TONGA):
        # All of them are known at the end of the account's 5 March.
        client.control.step(datetime(2026, 3, 6, 5, tzinfo=UTC) if account == DOLLARS else datetime(2026, 3, 5, 15, tzinfo=UTC))
        if account == TONGA:
            client.control.step(datetime(2026, 3, 5, 11, tzinfo=UTC))
        rows = client.insights(account, "2026-03-01", "2026-03-05", fields=RECIPE, filtering=EVERY_STATUS)
        expected = truth.filter(pl.col("account_id") == account).rows_by_key(["date", "ad_id"], named=True, unique=True)
        assert len(rows) == len(expected)
        for row in rows:
            fact = expected[date.fromisoformat(row["date_start"]), row["ad_id"]]
            assert int(row["impressions"]) == fact["impressions"]
            assert int(row["clicks"]) == fact["clicks_all"]
            assert int(row.get("inline_link_clicks", 0)) == fact["link_clicks"]
            assert int(Decimal(row["spend"]) * 1_000_000) == fact["spend_micros"]
            assert int(row["reach"]) == fact["reach"]
            assert purchases(row) == fact["conversions"]
            assert purchases(row, what="action_values") == pytest.approx(fact["revenue_micros"] / 1e6)


def test_yen_have_no_decimals(client: Client):
    rows = client.insights(YEN, "2026-03-01", "2026-03-09", fields="spend,account_currency,action_values")
    assert all(row["account_currency"] == "JPY" and row["spend"].isdigit() for row in rows)
    assert all(a["value"].isdigit() for row in rows for a in row.get("action_values", []))
    ad_set = client.rows(f"act_{YEN}/adsets", fields="daily_budget")[-1]
    spent = client.insights(YEN, "2026-03-01", "2026-03-09", level="adset", fields="adset_id,spend")
    mine = [int(row["spend"]) for row in spent if row["adset_id"] == ad_set["id"]]
    assert sum(mine) / len(mine) == pytest.approx(int(ad_set["daily_budget"]), rel=0.3)


def test_days_are_those_of_the_account(client: Client):
    # It is one in the morning of the eleventh in Tonga, and the tenth everywhere else.
    assert client.insights(TONGA, "2026-03-11", fields="impressions")
    assert not client.insights(DOLLARS, "2026-03-11", fields="impressions")
    account = client.get(f"act_{TONGA}", fields="timezone_name,timezone_offset_hours_utc").json()
    assert account == {
        "timezone_name": "Pacific/Tongatapu",
        "timezone_offset_hours_utc": 13.0,
        "id": f"act_{TONGA}",
    }
    ad = client.rows(f"act_{TONGA}/ads", fields="created_time")[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+1300", ad["created_time"])


def test_only_fields_that_were_asked_for_are_returned(client: Client):
    row = client.insights(DOLLARS, "2026-03-09", fields="impressions")[0]
    assert set(row) == {"impressions", "date_start", "date_stop"}
    assert set(client.get(f"act_{DOLLARS}").json()) == {"id"}
    wrong = client.get(f"act_{DOLLARS}/insights", level="ad", fields="hook_rate")
    assert wrong.status_code == 400
    assert wrong.json()["error"]["code"] == 100
    assert client.get(f"act_{DOLLARS}", fields="hook_rate").json()["error"]["code"] == 100


def test_an_answer_without_rows_has_no_paging(client: Client):
    assert client.get(f"act_{DOLLARS}/insights", time_range={"since": "2025-01-01", "until": "2025-01-02"}).json() == {
        "data": []
    }


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_pages_cover_all_rows_once(client: Client, limit: int):
    first = client.get(f"act_{DOLLARS}/insights", level="ad", date_preset="yesterday", fields="ad_id", limit=limit).json()
    whole = client.insights(DOLLARS, "2026-03-09", fields="ad_id")
    assert client.insights(DOLLARS, "2026-03-09", fields="ad_id", limit=limit) == whole
    assert ("next" in first["paging"]) == (limit < len(whole))
    assert set(first["paging"]["cursors"]) == {"before", "after"}
    if limit < len(whole):
        followed = requests.get(first["paging"]["next"], timeout=10).json()
        assert followed["data"] == whole[limit : 2 * limit]
        back = requests.get(followed["paging"]["previous"], timeout=10).json()
        assert back["data"] == whole[:limit]


def test_levels_and_increments_are_sums(client: Client):
    def total(name: str = "impressions", **params: Any) -> int:
        rows = client.insights(DOLLARS, "2026-03-01", "2026-03-07", fields=name, filtering=EVERY_STATUS, **params)
        return sum(int(row[name]) for row in rows)

    ads = total()
    for level in ("adset", "campaign", "account"):
        assert total(level=level) == ads
    for increment in (2, 7, "all_days"):
        assert total(time_increment=increment) == ads
    fields = "ad_id,reach,frequency"
    week = client.insights(DOLLARS, "2026-03-01", "2026-03-07", fields=fields, time_increment=7, filtering=EVERY_STATUS)
    truth = market().reach(date(2026, 3, 1), date(2026, 3, 7)).filter(account_id=DOLLARS)
    assert {row["ad_id"]: int(row["reach"]) for row in week} == dict(truth.select("ad_id", "reach").iter_rows())
    assert len({row["ad_id"] for row in week}) == len(week)
    assert {(row["date_start"], row["date_stop"]) for row in week} == {("2026-03-01", "2026-03-07")}
    parts = client.insights(DOLLARS, "2026-03-01", "2026-03-07", fields="impressions", level="account", time_increment=3)
    assert [(row["date_start"], row["date_stop"]) for row in parts] == [
        ("2026-03-01", "2026-03-03"),
        ("2026-03-04", "2026-03-06"),
        ("2026-03-07", "2026-03-07"),
    ]


def test_archived_and_deleted_ads_are_left_out_unless_asked_for(client: Client):
    every = client.insights(DOLLARS, "2026-01-10", "2026-03-09", fields="ad_id,spend", filtering=EVERY_STATUS)
    shown = client.insights(DOLLARS, "2026-01-10", "2026-03-09", fields="ad_id,spend")
    account = client.insights(DOLLARS, "2026-01-10", "2026-03-09", fields="spend", level="account")
    assert len(shown) < len(every)

    def spent(rows: list[dict[str, Any]]) -> Decimal:
        return sum((Decimal(row["spend"]) for row in rows), Decimal())

    assert spent(every) == spent(account) > spent(shown)
    listed = client.rows(f"act_{DOLLARS}/ads", fields="effective_status", limit=500)
    assert not {ad["effective_status"] for ad in listed} & {"ARCHIVED", "DELETED"}
    gone = client.rows(f"act_{DOLLARS}/ads", fields="effective_status", effective_status=["ARCHIVED", "DELETED"], limit=500)
    assert {ad["effective_status"] for ad in gone} == {"ARCHIVED", "DELETED"}
    assert {row["ad_id"] for row in every} - {row["ad_id"] for row in shown} <= {ad["id"] for ad in gone}
    deleted = next(ad["id"] for ad in gone if ad["effective_status"] == "DELETED")
    assert client.rows(f"{deleted}/insights", date_preset="maximum", time_increment=1, fields="impressions", limit=500)


def test_hours_sum_to_the_day_and_hold_no_purchases(client: Client):
    fields = "ad_id,impressions,clicks,inline_link_clicks,spend,reach,frequency,actions,action_values,purchase_roas"
    days = {row["ad_id"]: row for row in client.insights(DOLLARS, "2026-03-09", fields=fields, filtering=EVERY_STATUS)}
    hours = client.insights(DOLLARS, "2026-03-09", fields=fields, filtering=EVERY_STATUS, breakdowns=[HOURLY])
    keys = Counter((row["ad_id"], row[HOURLY]) for row in hours)
    assert max(keys.values()) == 1
    assert {row[HOURLY] for row in hours} <= {f"{h:02d}:00:00 - {h:02d}:59:59" for h in range(24)}
    for row in hours:
        assert not row.keys() & {"reach", "frequency", "action_values", "purchase_roas"}
        assert not any("purchase" in a["action_type"] for a in row.get("actions", []))
    for ad_id, day in days.items():
        mine = [row for row in hours if row["ad_id"] == ad_id]
        for name in ("impressions", "clicks", "inline_link_clicks", "spend"):
            assert sum(Decimal(row.get(name, "0")) for row in mine) == Decimal(day.get(name, "0"))


def test_the_running_day_grows_by_the_hour(control: Control, client: Client):
    seen = []
    for _ in range(4):
        day = client.insights(DOLLARS, "2026-03-10", fields="impressions,spend", level="account")[0]
        hours = client.insights(DOLLARS, "2026-03-10", fields="impressions,spend", breakdowns=[HOURLY])
        assert sum(int(row["impressions"]) for row in hours) == int(day["impressions"])
        assert max(row[HOURLY][:2] for row in hours) <= f"{control.now().hour - 4:02d}"
        seen.append(int(day["impressions"]))
        control.step(timedelta(hours=1, minutes=20))
    assert seen == sorted(set(seen))


def test_an_hour_that_daylight_saving_repeats_comes_twice(control: Control, client: Client):
    control.step(datetime(2026, 11, 3, 12, tzinfo=UTC))
    ad = client.insights(DOLLARS, "2026-11-01", fields="ad_id,impressions", breakdowns=[HOURLY])
    labels = Counter(row[HOURLY][:2] for row in ad if row["ad_id"] == ad[5]["ad_id"])
    assert labels["01"] == 2
    assert len(labels) == 24
    control.step(datetime(2027, 3, 16, 12, tzinfo=UTC))
    spring = {row[HOURLY][:2] for row in client.insights(DOLLARS, "2027-03-14", fields="ad_id", breakdowns=[HOURLY])}
    assert "02" not in spring
    assert len(spring) == 23


def test_conversions_are_restated_up_and_down_until_day_28(control: Control, client: Client):
    seen: list[dict[tuple[str, str], float]] = []
    for days in (0, 2, 4, 7, 14, 27, 40):
        control.step(NOW + timedelta(days=days))
        rows = [
            row
            for account in range(9)
            for row in client.insights(
                str(4_000_001 + account),
                "2026-03-01",
                "2026-03-09",
                fields="ad_id,actions,impressions",
                filtering=EVERY_STATUS,
            )
        ]
        seen.append({(row["date_start"], row["ad_id"]): purchases(row) for row in rows})
    assert all(now.keys() == seen[0].keys() for now in seen)
    steps = [(after[key] - before[key]) for before, after in pairwise(seen) for key in before]
    assert max(steps) > 0 > min(steps)
    assert sum(seen[-1].values()) > sum(seen[0].values())
    final = market().actuals(date(2026, 3, 1), date(2026, 3, 9), date(2026, 6, 1))
    assert sum(seen[-1].values()) == final["conversions"].sum()


# Objects.


def test_every_ad_of_the_catalog_is_served(client: Client):
    for account in (DOLLARS, YEN):
        today = date(2026, 3, 10)
        truth = market().catalog(today).filter(pl.col("account_id") == account)
        ads = client.rows(
            f"act_{account}/ads",
            fields="status,effective_status,campaign_id,adset_id,ad_schedule_start_time,creative{id,video_id},"
            "adset{daily_budget,start_time,end_time,optimization_goal},campaign{daily_budget}",
            effective_status=["ACTIVE", "DELETED"],
            limit=500,
        )
        by_id = {ad["id"]: ad for ad in ads}
        for row in truth.iter_rows(named=True):
            ad = by_id[row["ad_id"]]
            assert (ad["campaign_id"], ad["adset_id"], ad["creative"]["id"]) == (
                row["campaign_id"],
                row["ad_set_id"],
                row["creative_id"],
            )
            assert ad["creative"].get("video_id") == row["video_id"]
            assert ad["ad_schedule_start_time"].startswith(str(row["starts_on"]))
            assert (ad["ad_schedule_start_time"][:10] > "2026-03-10") == (row["status"] == "scheduled")
            owner = "campaign" if row["budget_owner"] == "campaign" else "adset"
            other = "adset" if owner == "campaign" else "campaign"
            unit = 1_000_000 if account == YEN else 10_000
            assert int(ad[owner]["daily_budget"]) * unit == row["budget_micros"]
            assert "daily_budget" not in ad[other]
            assert ("end_time" in ad["adset"]) == (row["experiment_id"] is not None)


def test_creatives_say_their_texts_in_all_the_ways_of_the_platform(client: Client):
    shapes: Counter[str] = Counter()
    for number in range(9):
        account = str(4_000_001 + number)
        texts = {
            row["creative_id"]: (row["headline"], row["body"], row["description"], row["cta"], row["template"])
            for row in market().launches(date(2025, 12, 31), date(2026, 3, 11)).iter_rows(named=True)
        }
        for creative in client.rows(
            f"act_{account}/adcreatives",
            fields="title,body,object_type,object_story_spec,asset_feed_spec,call_to_action_type,video_id,image_url,"
            "thumbnail_url,effective_object_story_id",
            limit=500,
        ):
            headline, body, description, cta, template = texts[creative["id"]]
            assert ("video_id" in creative) == (template == "video")
            if spec := creative.get("object_story_spec"):
                data = spec.get("video_data") or spec["link_data"]
                assert (data.get("title") or data.get("name"), data["message"]) == (headline, body)
                assert (data.get("link_description") or data.get("description")) == description
                assert data["call_to_action"]["type"] == cta
                assert ("child_attachments" in data) == (template == "carousel")
                assert ("collection_thumbnails" in data) == (template == "collection")
                shapes[f"story {template}"] += 1
            elif feed := creative.get("asset_feed_spec"):
                assert (feed["titles"][0]["text"], feed["bodies"][0]["text"]) == (headline, body)
                assert feed["call_to_action_types"] == [cta]
                shapes["feed"] += 1
            elif "title" in creative:
                assert (creative["title"], creative["body"], creative["call_to_action_type"]) == (headline, body, cta)
                shapes["plain"] += 1
            else:
                assert creative["effective_object_story_id"]
                shapes["post"] += 1
    assert set(shapes) == {
        "story video",
        "story single_image",
        "story carousel",
        "story collection",
        "feed",
        "plain",
        "post",
    }


def test_audiences_can_be_told_from_the_targeting(client: Client):
    truth = {row["ad_set_id"]: row["audience"] for row in market().catalog(date(2026, 3, 10)).iter_rows(named=True)}
    for ad_set in client.rows(f"act_{DOLLARS}/adsets", fields="targeting", limit=500):
        targeting = ad_set["targeting"]
        audiences = targeting.get("custom_audiences", [])
        kind = "interest" if "flexible_spec" in targeting else "broad"
        if audiences:
            subtype = client.get(audiences[0]["id"], fields="subtype,name").json()["subtype"]
            kind = {"LOOKALIKE": "lookalike", "WEBSITE": "retargeting"}[subtype]
            assert audiences[0]["name"].startswith("Lookalike") == (kind == "lookalike")
        if ad_set["id"] in truth:
            assert kind == truth[ad_set["id"]]


def test_groups_share_audience_and_goal_and_hold_one_ad_each(client: Client):
    ads = client.rows(
        f"act_{DOLLARS}/ads",
        fields="campaign_id,adset_id,campaign{name},adset{targeting,optimization_goal,daily_budget}",
        limit=500,
    )
    by_campaign: dict[str, list[dict[str, Any]]] = {}
    for ad in ads:
        by_campaign.setdefault(ad["campaign_id"], []).append(ad)
    groups = [arms for arms in by_campaign.values() if arms[0]["campaign"]["name"].startswith("Test")]
    assert groups
    for arms in groups:
        assert len({arm["adset_id"] for arm in arms}) == len(arms) >= 2
        assert len({json.dumps(arm["adset"]["targeting"]) for arm in arms}) == 1
        assert len({arm["adset"]["daily_budget"] for arm in arms}) == 1


def test_videos_and_media(client: Client):
    creatives = client.rows(f"act_{DOLLARS}/adcreatives", fields="video_id,image_url,thumbnail_url", limit=500)
    video_id = next(c["video_id"] for c in creatives if "video_id" in c)
    video = client.get(f"{video_id}/", fields="source,length,picture,title,description,status,permalink_url").json()
    assert video["status"] == {"video_status": "ready"}
    film = film_of(7, video_id)
    assert video["length"] == round(film.seconds, 2)
    source = requests.get(video["source"], timeout=60)
    assert source.headers["content-type"] == "video/mp4"
    assert source.content == render(film)[0]
    image = requests.get(next(c["image_url"] for c in creatives if "image_url" in c), timeout=10)
    assert image.headers["content-type"] == "image/png"
    assert image.content.startswith(b"\x89PNG")
    thumbnail = requests.get(creatives[0]["thumbnail_url"], timeout=10)
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert client.control.token not in video["source"]
    for name in ("img_124999999999999999.png", "other.png"):
        assert requests.get(f"{client.control.url}/media/{name}", timeout=10).status_code == 404


def test_the_media_library_names_videos_and_images(client: Client):
    creatives = client.rows(f"act_{DOLLARS}/adcreatives", fields="video_id,image_hash,image_url", limit=500)
    videos = client.rows(f"act_{DOLLARS}/advideos", fields="source,length,title", limit=500)
    assert {video["id"] for video in videos} == {c["video_id"] for c in creatives if "video_id" in c}
    images = client.rows(f"act_{DOLLARS}/adimages", fields="hash,url,permalink_url,width,height", limit=500)
    assert {(one["hash"], one["url"]) for one in images} == {
        (c["image_hash"], c["image_url"]) for c in creatives if "image_hash" in c
    }
    two = [image["hash"] for image in images[:2]]
    asked = client.rows(f"act_{DOLLARS}/adimages", fields="hash,url", hashes=two)
    assert asked == [{name: image[name] for name in ("hash", "url", "id")} for image in images[:2]]


def test_an_account_has_the_fields_of_the_recipe(client: Client):
    fields = (
        "account_id,name,currency,timezone_name,timezone_offset_hours_utc,account_status,disable_reason,min_daily_budget,"
        "spend_cap,amount_spent,attribution_spec,user_tasks"
    )
    account = client.get(f"act_{DOLLARS}/", fields=fields).json()
    assert set(account) == {*fields.split(","), "id"}
    assert isinstance(account["min_daily_budget"], int)
    assert account["amount_spent"].isdigit()
    spent = client.insights(DOLLARS, "2025-12-31", "2026-03-10", level="account", fields="spend")
    assert int(account["amount_spent"]) == sum(int(Decimal(row["spend"]) * 100) for row in spent)


def test_learning_stage_info_follows_the_market(client: Client):
    phases = {row["ad_set_id"]: row for row in market().learning_phases(NOW).iter_rows(named=True)}
    ad_sets = client.rows(f"act_{DOLLARS}/adsets", fields="learning_stage_info", limit=500)
    told = {s["id"]: s["learning_stage_info"] for s in ad_sets if "learning_stage_info" in s}
    assert told
    for ad_set, info in told.items():
        assert (info["status"], info["conversions"]) == (phases[ad_set]["status"], phases[ad_set]["conversions"])
        assert info["last_sig_edit_ts"] == int(phases[ad_set]["last_sig_edit"].timestamp())


def test_several_nodes_in_one_read(client: Client):
    ids = [ad["id"] for ad in client.rows(f"act_{DOLLARS}/ads", fields="id", limit=3)[:3]]
    found = client.get("", ids=",".join(ids), fields="name,creative{id}").json()
    assert list(found) == ids
    assert all("id" in node["creative"] for node in found.values())


# Tokens and headers.


def test_tokens(client: Client, control: Control):
    url = f"{control.url}/v26.0/act_{DOLLARS}"

    def error(token: str | None) -> tuple[int | None, int | None]:
        reply = client.session.get(url, params={"access_token": token} if token else {}, timeout=10)
        told = reply.json().get("error", {})
        if told.get("code") == 190:
            assert reply.headers["www-authenticate"].startswith('OAuth "Facebook Platform" "invalid_token"')
        return told.get("code"), told.get("error_subcode")

    assert error("EXPIRED") == (190, 463)
    assert error("another") == (190, 467)
    assert error(None) == (104, None)
    assert error(control.token) == (None, None)
    bearer = client.session.get(url, headers={"Authorization": f"Bearer {control.token}"}, timeout=10)
    assert bearer.status_code == 200
    inspected = client.get("debug_token", input_token=control.token)
    assert inspected.json()["error"]["code"] == 100

    def inspect(token: str) -> dict[str, Any]:
        asked = {"access_token": "17|secret", "input_token": token}
        return client.session.get(f"{control.url}/v26.0/debug_token", params=asked, timeout=10).json()["data"]

    assert inspect(control.token)["is_valid"] is True
    assert inspect(control.token)["expires_at"] == 0
    assert "ads_read" in inspect(control.token)["scopes"]
    assert inspect("EXPIRED")["is_valid"] is False


def test_the_control_api_needs_the_token(control: Control):
    assert requests.get(f"{control.url}/sandbox/requests", timeout=10).status_code == 403
    assert requests.post(f"{control.url}/sandbox/clock", json={"to": None}, timeout=10).status_code == 403


def test_headers_count_what_was_called(control: Control, client: Client):
    control.step(timedelta(days=1))
    control.limit(quota=20)
    told = []
    for _ in range(3):
        reply = client.get(f"act_{DOLLARS}")
        assert reply.headers["facebook-api-version"] == "v26.0"
        assert reply.headers["content-type"] == "application/json; charset=UTF-8"
        assert reply.headers["x-fb-trace-id"]
        business = json.loads(reply.headers["x-business-use-case-usage"])[DOLLARS]
        told.append(json.loads(reply.headers["x-ad-account-usage"])["acc_id_util_pct"])
        assert max(entry["call_count"] for entry in business) == int(told[-1])
        assert {"x-app-usage", "x-fb-ads-insights-throttle"} <= reply.headers.keys()
    assert told == [5.0, 10.0, 15.0]
    for _ in range(17):
        client.get(f"act_{DOLLARS}")
    refused = client.get(f"act_{DOLLARS}")
    while refused.status_code == 200:
        refused = client.get(f"act_{DOLLARS}")
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == 17
    wait = json.loads(refused.headers["x-ad-account-usage"])["reset_time_duration"]
    assert 0 < wait <= 3600
    control.step(timedelta(seconds=wait + 1))
    assert client.get(f"act_{DOLLARS}").status_code == 200


def test_old_versions_are_answered_as_newer_ones(control: Control, client: Client):
    asked = {"access_token": control.token}
    for version, told in (("v26.0", "v26.0"), ("v25.0", "v25.0"), ("v19.0", "v25.0")):
        reply = client.session.get(f"{control.url}/{version}/act_{DOLLARS}", params=asked, timeout=10)
        assert reply.headers["facebook-api-version"] == told


def test_unknown_objects(client: Client):
    for path in ("act_17", "act_17/insights", "act_17/ads", "6023920149999", "123000000099900000", "120/insights"):
        error = client.get(path).json()["error"]
        assert (error["code"], error["error_subcode"]) == (100, 33), path
    assert client.post("act_17/insights").json()["error"]["error_subcode"] == 33


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"level": "creative"}, 100),
        ({"time_range": "yesterday"}, 100),
        ({"time_range": {"since": "2026-03-02", "until": "2026-03-01"}}, 100),
        ({"time_range": {"since": "2020-01-01", "until": "2020-01-02"}}, 3018),
        ({"breakdowns": ["dma"]}, 2),
        ({"time_increment": "monthly"}, 100),
        ({"limit": "many"}, 100),
        ({"after": "nonsense"}, 100),
        ({"action_attribution_windows": ["3d_click"]}, 100),
        ({"filtering": [{"field": "ad.shoe_size", "operator": "IN", "value": ["9"]}]}, 100),
    ],
)
def test_impossible_requests_are_refused(client: Client, params: dict[str, Any], code: int):
    reply = client.get(f"act_{DOLLARS}/insights", **params)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == code


def test_windows_of_views_that_ended_are_accepted_and_not_returned(client: Client):
    rows = client.insights(
        DOLLARS, "2026-03-01", "2026-03-09", fields="actions", action_attribution_windows=["7d_view", "1d_view"]
    )
    keys = {key for row in rows for action in row.get("actions", []) for key in action}
    assert keys == {"action_type", "value", "1d_view"}


# Budgets.


def budgets(client: Client, account: str) -> dict[str, tuple[str, int]]:
    """An ad set and a campaign that have a budget of their own, and an ad set whose campaign has it: id and daily budget."""
    ads = client.rows(f"act_{account}/ads", fields="campaign_id,adset_id,adset{daily_budget},campaign{daily_budget}", limit=500)
    found: dict[str, tuple[str, int]] = {}
    for ad in ads:
        if "daily_budget" in ad["adset"]:
            found["ad_set"] = ad["adset_id"], int(ad["adset"]["daily_budget"])
        else:
            found["campaign"] = ad["campaign_id"], int(ad["campaign"]["daily_budget"])
            found["under"] = ad["adset_id"], 0
    return found


def test_budgets_change_what_is_delivered_from_the_next_hour(control: Control, client: Client):
    account = "4000004"
    for kind in ("ad_set", "campaign"):
        entity, before = budgets(client, account)[kind]

        def hours(entity: str = entity) -> list[Decimal]:
            rows = client.rows(
                f"{entity}/insights",
                time_range={"since": "2026-03-11", "until": "2026-03-11"},
                breakdowns=[HOURLY],
                fields="spend",
                limit=500,
            )
            return [Decimal(row["spend"]) for row in sorted(rows, key=lambda row: row[HOURLY])]

        control.step(datetime(2026, 3, 12, 12, tzinfo=UTC))
        plain = hours()
        # Half past nine in Los Angeles.
        control.step(datetime(2026, 3, 11, 16, 30, tzinfo=UTC))
        assert client.post(entity, daily_budget=2 * before).json() == {"success": True}
        control.step(datetime(2026, 3, 12, 12, tzinfo=UTC))
        changed = hours()
        assert changed[:10] == plain[:10]
        assert sum(changed[10:]) / sum(plain[10:]) == pytest.approx(Decimal(2), rel=Decimal("0.05"))


def test_budgets_that_cannot_be_are_refused(client: Client):
    found = budgets(client, DOLLARS)

    def refused(entity: str, value: object, **params: Any) -> tuple[int, int | None]:
        error = client.post(entity, daily_budget=value, **params).json()["error"]
        return error["code"], error.get("error_subcode")

    entity, before = found["ad_set"]
    minimum = client.rows(f"act_{DOLLARS}/minimum_budgets")[0]
    assert minimum["currency"] == "USD"
    assert refused(entity, minimum["min_daily_budget_imp"] - 1) == (100, 1885272)
    assert refused(entity, 0, execution_options=["validate_only"]) == (100, 1885272)
    assert refused(entity, 10**12) == (100, 1885261)
    assert refused(entity, "12.50") == (100, None)
    assert refused(found["under"][0], 5_000) == (100, 1885621)
    assert refused("122000000099900000", 5_000) == (100, 33)
    ended = next(iter(client.rows(f"act_{DOLLARS}/adsets", fields="id", effective_status=["ARCHIVED"])))
    assert refused(ended["id"], 5_000) == (100, 1487566)
    assert int(client.get(entity, fields="daily_budget").json()["daily_budget"]) == before


def test_the_fifth_change_within_an_hour_is_refused(control: Control, client: Client):
    control.step(datetime(2026, 3, 20, 12, tzinfo=UTC))
    entity, before = budgets(client, "4000003")["ad_set"]
    for step in range(4):
        assert client.post(entity, daily_budget=before + step + 1).json() == {"success": True}
    error = client.post(entity, daily_budget=before).json()["error"]
    assert (error["code"], error["error_subcode"]) == (613, 1487632)
    assert client.get(entity, fields="daily_budget").json()["daily_budget"] == str(before + 4)
    control.step(timedelta(minutes=61))
    assert client.post(entity, daily_budget=before).json() == {"success": True}


def test_the_wall_clock_can_be_followed(control: Control):
    control.follow_wall()
    assert abs(control.now() - datetime.now(UTC)) < timedelta(seconds=30)
    control.step(timedelta(days=3))
    assert abs(control.now() - datetime.now(UTC) - timedelta(days=3)) < timedelta(seconds=30)
    control.step(NOW)
    assert control.now() == NOW
    assert control.about()["market"] == MARKET
