"""Every fault of the Graph server: what a client sees while it is on, and that nothing is wrong when it is off."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from facebook_business.adobjects.adaccount import AdAccount

from learning_assets.sandbox.control import Control, ControlError
from learning_assets.sandbox.graph.faults import FAULTS
from learning_assets_tests.sandbox.graph_client import DOLLARS, EUROS, EVERY_STATUS, Client, node, purchases, sdk

HOURLY = "hourly_stats_aggregated_by_advertiser_time_zone"
TESTED: set[str] = set()
FIELDS = "ad_id,impressions,spend,reach,frequency,actions,action_values,purchase_roas"


def shows(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks which faults a test shows."""
    TESTED.update(names)
    return lambda function: function


def week(client: Client, account: str = DOLLARS, **params: Any) -> list[dict[str, Any]]:
    """A week of an account's ads."""
    return client.insights(account, "2026-03-01", "2026-03-07", fields=FIELDS, filtering=EVERY_STATUS, **params)


def code(reply: requests.Response) -> tuple[int, int | None]:
    """Code and subcode of an error."""
    error = reply.json()["error"]
    return error["code"], error.get("error_subcode")


@shows("throttle")
@pytest.mark.parametrize(("which", "wanted"), [("app", 4), ("account", 17), ("business", 80000), ("spike", 613)])
def test_throttle(control: Control, client: Client, which: str, wanted: int):
    control.fault("throttle", account=DOLLARS, times=2, code=which, wait=120)
    for _ in range(2):
        reply = client.get(f"act_{DOLLARS}/insights")
        assert reply.status_code == 400
        assert code(reply)[0] == wanted
        assert json.loads(reply.headers["x-ad-account-usage"])["reset_time_duration"] == 120
        business = json.loads(reply.headers["x-business-use-case-usage"])[DOLLARS]
        assert max(entry["estimated_time_to_regain_access"] for entry in business) == 2
        assert (json.loads(reply.headers["x-app-usage"])["call_count"] == 100) == (which == "app")
    assert client.get(f"act_{DOLLARS}/insights").status_code == 200


@shows("throttle_headers")
def test_throttle_headers(control: Control, client: Client):
    control.fault("throttle_headers", account=DOLLARS, pct=91)
    reply = client.get(f"act_{DOLLARS}")
    assert reply.status_code == 200
    assert json.loads(reply.headers["x-fb-ads-insights-throttle"])["acc_id_util_pct"] == 91
    assert json.loads(client.get(f"act_{DOLLARS}").headers["x-fb-ads-insights-throttle"])["acc_id_util_pct"] < 1


@shows("empty_page")
def test_empty_page_stops_the_sdk_and_not_a_client_that_follows_next(control: Control, client: Client):
    whole = week(client)
    control.fault("empty_page", account=DOLLARS, after=1)
    params = {
        "level": "ad",
        "time_increment": 1,
        "time_range": {"since": "2026-03-01", "until": "2026-03-07"},
        "limit": 20,
        "filtering": EVERY_STATUS,
    }
    by_sdk = list(node(AdAccount, f"act_{DOLLARS}", sdk(control)).get_insights(fields=["ad_id"], params=params))
    assert len(by_sdk) == 20 < len(whole)
    control.clear()
    control.fault("empty_page", account=DOLLARS, after=1, times=2)
    assert week(client, limit=20) == whole


@shows("repeated_cursor")
def test_repeated_cursor(control: Control, client: Client):
    control.fault("repeated_cursor", account=DOLLARS, after=1, times=None)
    params: dict[str, Any] = {"level": "ad", "limit": 3, "date_preset": "yesterday", "fields": "ad_id"}
    seen = []
    for _ in range(4):
        page = client.get(f"act_{DOLLARS}/insights", **params).json()
        assert page["paging"]["next"]
        params["after"] = page["paging"]["cursors"]["after"]
        seen.append((params["after"], page["data"]))
    assert seen[0][1] != seen[1][1]
    assert seen[1] == seen[2] == seen[3]


@shows("doubled_page")
def test_doubled_page(control: Control, client: Client):
    whole = week(client)
    control.fault("doubled_page", account=DOLLARS, after=1)
    rows = week(client, limit=20)
    assert len(rows) == len(whole) + 20
    assert rows[20:40] == rows[40:60]


@shows("dropped_rows")
def test_dropped_rows_are_missing_although_the_account_has_their_spend(control: Control, client: Client):
    whole = sum(float(row["spend"]) for row in week(client))
    control.fault("dropped_rows", account=DOLLARS, times=None)
    rows = sum(float(row["spend"]) for row in week(client))
    account = client.insights(DOLLARS, "2026-03-01", "2026-03-07", level="account", time_increment="all_days", fields="spend")
    assert float(account[0]["spend"]) == pytest.approx(whole)
    assert rows < 0.8 * whole
    assert week(client, EUROS)


def report(client: Client, account: str = DOLLARS) -> str:
    """A report that was just asked for."""
    asked: dict[str, Any] = {"level": "ad", "time_increment": 1, "time_range": {"since": "2026-03-01", "until": "2026-03-07"}}
    return client.post(f"act_{account}/insights", **asked, fields=["ad_id", "spend"]).json()["report_run_id"]


@shows("running_at_100")
def test_running_at_100(control: Control, client: Client):
    control.fault("running_at_100", account=DOLLARS, times=3)
    run = report(client)
    for _ in range(3):
        status = client.get(f"{run}/").json()
        assert (status["async_status"], status["async_percent_completion"]) == ("Job Running", 100)
        assert code(client.get(f"{run}/insights")) == (2601, 1815107)
    assert [client.get(f"{run}/").json()["async_status"] for _ in range(2)] == ["Job Running", "Job Completed"]
    assert client.get(f"{run}/insights").json()["data"]


@shows("report_failed")
def test_report_failed(control: Control, client: Client):
    control.fault("report_failed", account=DOLLARS)
    run = report(client)
    for _ in range(2):
        status = client.get(f"{run}/").json()
        assert (status["async_status"], status["error_code"], status["error_subcode"]) == ("Job Failed", -2, 2490547)
        assert {"error_message", "error_user_title", "error_user_msg"} <= status.keys()
    again = report(client)
    assert [client.get(f"{again}/").json()["async_status"] for _ in range(2)] == ["Job Running", "Job Completed"]


@shows("report_skipped")
def test_report_skipped(control: Control, client: Client):
    control.fault("report_skipped", account=DOLLARS)
    run = report(client)
    assert [client.get(f"{run}/").json()["async_status"] for _ in range(2)] == ["Job Skipped"] * 2


@shows("report_stuck")
def test_report_stuck(control: Control, client: Client):
    control.fault("report_stuck", account=DOLLARS)
    run = report(client)
    assert {client.get(f"{run}/").json()["async_percent_completion"] for _ in range(8)} == {40}
    other = report(client, EUROS)
    assert [client.get(f"{other}/").json()["async_status"] for _ in range(2)][-1] == "Job Completed"


@shows("not_ready")
def test_not_ready(control: Control, client: Client):
    control.fault("not_ready", account=DOLLARS)
    run = report(client)
    client.get(f"{run}/")
    assert client.get(f"{run}/").json()["async_status"] == "Job Completed"
    assert code(client.get(f"{run}/insights")) == (2601, 1815107)
    assert client.get(f"{run}/insights").json()["data"]


@shows("fresh_report_missing")
def test_fresh_report_missing(control: Control, client: Client):
    control.fault("fresh_report_missing", account=DOLLARS)
    run = report(client)
    assert code(client.get(f"{run}/")) == (100, 33)
    assert client.get(f"{run}/").json()["async_status"] == "Job Running"


@shows("html_502", "http_500", "not_json", "transient")
def test_answers_that_are_none(control: Control, client: Client):
    for name, status in (("html_502", 502), ("http_500", 500), ("not_json", 200)):
        control.fault(name, account=DOLLARS)
        reply = client.get(f"act_{DOLLARS}/insights")
        assert reply.status_code == status
        with pytest.raises(requests.JSONDecodeError):
            reply.json()
    control.fault("transient", account=DOLLARS)
    reply = client.get(f"act_{DOLLARS}/insights")
    assert (reply.json()["error"]["code"], reply.json()["error"]["is_transient"]) == (2, True)
    assert client.get(f"act_{DOLLARS}/insights").status_code == 200


@shows("too_much_data", "too_much_1487534")
@pytest.mark.parametrize(("name", "wanted"), [("too_much_data", (1, None)), ("too_much_1487534", (100, 1487534))])
def test_too_much_data(control: Control, client: Client, name: str, wanted: tuple[int, int | None]):
    asked: dict[str, Any] = {
        "level": "ad",
        "time_range": {"since": "2026-03-01", "until": "2026-03-07"},
        "fields": "ad_id,spend",
    }
    control.fault(name, times=None, limit=100)
    assert code(client.get(f"act_{DOLLARS}/insights", **asked, limit=101)) == wanted
    assert client.get(f"act_{DOLLARS}/insights", **asked, limit=100).json()["data"]
    assert "report_run_id" in client.post(f"act_{DOLLARS}/insights", **asked).json()
    control.clear()
    control.fault(name, times=None, days=6)
    assert code(client.post(f"act_{DOLLARS}/insights", **asked)) == wanted
    asked["time_range"]["since"] = "2026-03-02"
    assert "report_run_id" in client.post(f"act_{DOLLARS}/insights", **asked).json()
    control.clear()
    control.fault(name, times=None, fields=1)
    reply = client.get(f"act_{DOLLARS}/insights", **asked)
    assert code(reply) == wanted
    assert ("reduce the amount of data" in reply.json()["error"]["message"]) == (name == "too_much_data")
    assert client.get(f"act_{DOLLARS}/insights", **{**asked, "fields": "spend"}).json()["data"]


@shows("slow")
def test_slow_holds_up_nobody_else(control: Control, client: Client):
    control.fault("slow", account=DOLLARS, seconds=1.2)
    with pytest.raises(requests.ReadTimeout):
        client.session.get(f"{control.url}/v26.0/act_{DOLLARS}", params={"access_token": control.token}, timeout=(2, 0.3))
    begun = time.monotonic()
    assert client.get(f"act_{EUROS}").status_code == 200
    assert time.monotonic() - begun < 0.7


def ad_set(client: Client, account: str) -> tuple[str, int]:
    """An ad set that has a budget of its own."""
    found = [s for s in client.rows(f"act_{account}/adsets", fields="daily_budget", limit=500) if "daily_budget" in s]
    return found[-1]["id"], int(found[-1]["daily_budget"])


@shows("reset")
def test_reset_closes_the_connection_and_a_write_was_made_all_the_same(control: Control, client: Client):
    entity, before = ad_set(client, EUROS)
    control.fault("reset", account=EUROS, times=2)
    with pytest.raises(requests.ConnectionError):
        client.get(f"act_{EUROS}")
    with pytest.raises(requests.ConnectionError):
        client.post(entity, daily_budget=before + 7)
    assert client.get(entity, fields="daily_budget").json()["daily_budget"] == str(before + 7)
    assert [r["status"] for r in control.requests() if r["fault"] == "reset"] == [0, 0]
    client.post(entity, daily_budget=before)


@shows("success_without_effect")
def test_success_without_effect(control: Control, client: Client):
    entity, before = ad_set(client, EUROS)
    control.fault("success_without_effect", account=EUROS)
    assert client.post(entity, daily_budget=before + 9).json() == {"success": True}
    assert client.get(entity, fields="daily_budget").json()["daily_budget"] == str(before)


@shows("token_expired", "permission", "unknown_account")
def test_what_a_person_must_mend(control: Control, client: Client):
    for name, options, wanted in (
        ("token_expired", {}, (190, 463)),
        ("permission", {}, (200, None)),
        ("permission", {"code": 10}, (10, None)),
        ("unknown_account", {}, (100, 33)),
    ):
        control.fault(name, account=DOLLARS, times=None, **options)
        assert code(client.get(f"act_{DOLLARS}/insights")) == wanted
        assert code(client.post(f"act_{DOLLARS}/insights")) == wanted
        assert client.get(f"act_{EUROS}/insights").status_code == 200
        control.clear()


@shows("restated_down")
def test_restated_down(control: Control, client: Client):
    before = {(row["date_start"], row["ad_id"]): purchases(row) for row in week(client)}
    control.fault("restated_down", account=DOLLARS, times=None, day="2026-03-03")
    after = {(row["date_start"], row["ad_id"]): purchases(row) for row in week(client)}
    assert {key[0] for key in before if before[key] != after[key]} == {"2026-03-03"}
    assert all(after[key] == before[key] // 2 for key in before if key[0] == "2026-03-03")


@shows("clicks_lost")
def test_clicks_lost(control: Control, client: Client):
    def clicks() -> dict[tuple[str, str], int]:
        asked = {"fields": "ad_id,inline_link_clicks", "filtering": EVERY_STATUS}
        rows = client.insights(DOLLARS, "2026-03-01", "2026-03-07", **asked)
        return {(row["date_start"], row["ad_id"]): int(row["inline_link_clicks"]) for row in rows}

    before = clicks()
    control.fault("clicks_lost", account=DOLLARS, times=None, since="2026-03-03", share=0.4)
    after = clicks()
    assert {key[0] for key in before if before[key] != after[key]} <= {key[0] for key in before if key[0] >= "2026-03-03"}
    assert all(after[key] == int(before[key] * (0.6 if key[0] >= "2026-03-03" else 1)) for key in before)
    assert sum(after.values()) < sum(before.values())


@shows("late_hourly")
def test_late_hourly(control: Control, client: Client):
    asked: dict[str, Any] = {"breakdowns": [HOURLY], "fields": "ad_id,impressions"}
    # It is eight in the morning in New York.
    assert max(row[HOURLY][:2] for row in client.insights(DOLLARS, "2026-03-10", **asked)) == "07"
    control.fault("late_hourly", account=DOLLARS, times=None, hours=3)
    assert max(row[HOURLY][:2] for row in client.insights(DOLLARS, "2026-03-10", **asked)) == "05"
    assert max(row[HOURLY][:2] for row in client.insights(DOLLARS, "2026-03-09", **asked)) == "20"


@shows("missing_hourly_key")
def test_missing_hourly_key(control: Control, client: Client):
    asked: dict[str, Any] = {"breakdowns": [HOURLY], "fields": "ad_id,impressions"}
    whole = client.insights(DOLLARS, "2026-03-09", **asked)
    control.fault("missing_hourly_key", account=DOLLARS)
    rows = client.insights(DOLLARS, "2026-03-09", **asked)
    assert len(rows) == len(whole)
    assert [row["impressions"] for row in rows if HOURLY not in row] == [whole[0]["impressions"]]
    control.fault("missing_hourly_key", account=DOLLARS, zero=True)
    rows = client.insights(DOLLARS, "2026-03-09", **asked)
    assert [row["impressions"] for row in rows if HOURLY not in row] == ["0"]
    assert rows[1:] == whole


@shows("missing_actions", "missing_action_values", "reach_absent")
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("missing_actions", {"actions"}),
        ("missing_action_values", {"action_values", "purchase_roas"}),
        ("reach_absent", {"reach", "frequency"}),
    ],
)
def test_missing_keys(control: Control, client: Client, name: str, keys: set[str]):
    whole = week(client)
    control.fault(name, account=DOLLARS)
    rows = week(client)
    assert any(keys <= row.keys() for row in whole)
    assert not any(keys & row.keys() for row in rows)
    assert rows == [{key: value for key, value in row.items() if key not in keys} for row in whole]


@shows("unknown_cta")
def test_unknown_cta(control: Control, client: Client):
    control.fault("unknown_cta", account=DOLLARS)
    text = client.get(
        f"act_{DOLLARS}/ads", fields="creative{object_story_spec,asset_feed_spec,call_to_action_type}", limit=100
    ).text
    assert "TRY_IN_STORE_TODAY" in text
    assert "SHOP_NOW" not in text


@shows("same_ids")
def test_same_ids(control: Control, client: Client):
    def ids(account: str) -> set[str]:
        return {ad["id"] for ad in client.rows(f"act_{account}/ads", fields="adset_id", limit=100)}

    before = ids(EUROS)
    control.fault("same_ids", account=EUROS, times=None)
    ours, theirs = ids(EUROS), ids(DOLLARS)
    assert before != ours
    assert {name[:9] for name in ours} == {name[:9] for name in theirs} == {"123000000"}
    assert ours & theirs
    rows = client.insights(EUROS, "2026-03-09", fields="ad_id,adset_id,campaign_id")
    assert {row["ad_id"] for row in rows} <= ours
    chosen = [{"field": "adset.id", "operator": "IN", "value": [rows[0]["adset_id"]]}]
    assert {row["adset_id"] for row in client.insights(EUROS, "2026-03-09", fields="adset_id", filtering=chosen)} == {
        rows[0]["adset_id"]
    }


@shows("version_expired")
def test_version_expired(control: Control, client: Client):
    control.fault("version_expired", account=DOLLARS, version="v28.0")
    assert client.get(f"act_{DOLLARS}").headers["facebook-api-version"] == "v28.0"
    assert client.get(f"act_{DOLLARS}").headers["facebook-api-version"] == "v26.0"


@shows("foreign_edit")
def test_foreign_edit(control: Control, client: Client):
    control.step(timedelta(days=2))
    entity, before = ad_set(client, "4000003")
    control.fault("foreign_edit", account="4000003", factor=1.5)
    assert client.get(entity, fields="daily_budget").json()["daily_budget"] == str(before)
    assert int(client.get(entity, fields="daily_budget").json()["daily_budget"]) == round(1.5 * before)
    event = client.rows("act_4000003/activities", fields="event_type,actor_name,application_name,object_id")[0]
    assert (event["event_type"], event["application_name"], event["object_id"]) == (
        "update_ad_set_budget",
        "Ads Manager",
        entity,
    )


@shows("budget_changes")
def test_budget_changes(control: Control, client: Client):
    entity, before = ad_set(client, EUROS)
    control.fault("budget_changes", account=EUROS)
    assert code(client.post(entity, daily_budget=before + 1)) == (613, 1487632)
    assert client.get(entity, fields="daily_budget").json()["daily_budget"] == str(before)


def test_every_fault_is_tested():
    assert set(FAULTS) == TESTED


def test_faults_count_the_calls_that_they_concern(control: Control, client: Client):
    control.fault("transient", account=DOLLARS, after=2, times=2)
    statuses = [client.get(f"act_{account}").status_code for account in (DOLLARS, EUROS) for _ in range(6)]
    assert statuses == [200, 200, 500, 500, 200, 200] + [200] * 6
    control.clear()
    control.fault("transient", times=None, path="/ads", method="GET")
    assert client.get(f"act_{DOLLARS}").status_code == 200
    assert client.get(f"act_{DOLLARS}/ads").status_code == 500
    logged = [(r["path"], r["status"], r["fault"], r["account"]) for r in control.requests()[-2:]]
    assert logged == [
        (f"/v26.0/act_{DOLLARS}", 200, None, DOLLARS),
        (f"/v26.0/act_{DOLLARS}/ads", 500, "transient", DOLLARS),
    ]
    control.clear_requests()
    assert control.requests() == []
    control.clear()
    assert client.get(f"act_{DOLLARS}/ads").status_code == 200


def test_a_fault_that_is_none_is_refused(control: Control):
    with pytest.raises(ControlError, match="there is no fault 'gremlins'; there are: throttle"):
        control.fault("gremlins")
