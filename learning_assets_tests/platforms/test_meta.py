"""The source against the sandbox's Graph server: what it answers, and what it says when the server misbehaves."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from learning_assets.platforms.meta import MetaSource
from learning_assets.platforms.source import (
    ACCOUNTS,
    ACTUALS,
    CATALOG,
    HOURLY,
    MANIFEST,
    REACH,
    Fetched,
    PlatformDown,
    Source,
    SourceError,
)
from learning_assets.sandbox.control import Control
from learning_assets.sandbox.market import Market, MarketParams
from learning_assets.sandbox.process import start
from learning_assets.settings import Meta

EPOCH = date(2026, 11, 1)
# Midnight in London, which is Europe's winter time; Tonga is a day ahead, America still in the day before.
NOW = datetime(2026, 11, 11, 0, 0, tzinfo=UTC)
YESTERDAY = date(2026, 11, 10)
FIRST = date(2026, 10, 1)
SIZE: dict[str, Any] = {"seed": 7, "accounts": 8, "ads": 8, "impressions": 1_000}
NEW_YORK, BERLIN, LONDON, _, TOKYO, AUCKLAND, _, TONGA = (str(4_000_001 + i) for i in range(8))
KEY = ["date", "account_id", "ad_id"]
CONVERSIONS = ["conversions", "conversions_7d_click", "conversions_1d_view", "revenue_micros"]

Make = Callable[..., MetaSource]


@pytest.fixture(scope="module")
def server() -> Iterator[Control]:
    with start({"epoch": EPOCH.isoformat(), "history_days": 50, **SIZE}, now=NOW) as control:
        yield control


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(MarketParams(**SIZE), EPOCH)


@pytest.fixture
def control(server: Control) -> Iterator[Control]:
    server.clear()
    server.clear_requests()
    yield server
    server.clear()


@pytest.fixture
def make(control: Control, tmp_path: Path) -> Make:
    """A source of some of the accounts that is quick to try again."""

    folders = count()

    def made(*accounts: str, now: datetime = NOW, aside: Path | None = None, **changes: Any) -> MetaSource:
        chosen = {
            "access_token": control.token,
            "graph_url": control.url,
            "accounts": ",".join(accounts) or "all",
            "backoff_seconds": 0.01,
            "poll_seconds": 0.01,
            "throttle_pause_seconds": 0.02,
            "wait_minutes": 0.1,
        }
        folder = aside or tmp_path / f"aside {next(folders)}"
        return MetaSource(Meta.model_validate(chosen | changes), kind="sandbox", aside=folder, now=lambda: now, consents=True)

    return made


def day(n: int) -> date:
    """The day `n` days before yesterday."""
    return YESTERDAY - timedelta(days=n)


def differing(ours: pl.DataFrame, theirs: pl.DataFrame, key: list[str]) -> dict[str, int]:
    """Columns of two tables with the same keys that differ, and in how many rows."""
    assert ours.select(key).sort(key).equals(theirs.select(key).sort(key))
    both = ours.join(theirs, on=key, suffix=" then")
    columns = [c for c in ours.columns if f"{c} then" in both.columns]
    counts = both.select((~pl.col(c).eq_missing(pl.col(f"{c} then"))).sum().alias(c) for c in columns).row(0, named=True)
    return {column: count for column, count in counts.items() if count}


# What it answers.


def test_it_is_a_source(make: Make):
    source: Source = make()
    assert (source.kind, source.cadence, source.looks_back, source.first_day()) == ("sandbox", "day", False, None)
    assert source.last_day(date(2026, 11, 11)) == YESTERDAY


def test_accounts(make: Make, market: Market):
    found = make().accounts()
    assert found.schema == ACCOUNTS
    known = market.accounts()
    assert found["account_id"].equals(found["owner"].rename("account_id"))
    assert found.select("account_id", "name", "currency", "timezone").equals(
        known.select("account_id", "name", "currency", "timezone")
    )
    assert found["consents"].all()
    two = make(f"act_{TOKYO}", NEW_YORK).accounts()
    assert two["account_id"].to_list() == [TOKYO, NEW_YORK]


def test_people_of_a_week_are_asked_for_as_one_window(make: Make, market: Market):
    fetched = make().reach(day(6), YESTERDAY)
    assert (fetched.rows.schema, fetched.manifest.schema) == (REACH, MANIFEST)
    told = dict(fetched.manifest.select("account_id", "status").iter_rows())
    assert fetched.manifest.select("date", "fact").unique().rows() == [(YESTERDAY, "reach")]
    assert (told[LONDON], told[NEW_YORK]) == ("complete", "running")
    # Where the day has ended; elsewhere people are still being reached.
    ended = [account for account, status in told.items() if status == "complete"]
    known = market.reach(day(6), YESTERDAY).filter(pl.col("account_id").is_in(ended))
    assert fetched.rows.filter(pl.col("account_id").is_in(ended)).sort(KEY).equals(known.sort(KEY).select(REACH.names()))
    nothing = make(LONDON, reach_days=200).reach(date(2026, 8, 1), date(2026, 8, 7))
    assert (nothing.rows.height, nothing.manifest["status"].to_list()) == (0, ["no_data"])
    for old in (make(LONDON).reach(date(2026, 8, 1), date(2026, 8, 7)), make(LONDON, reach_days=0).reach(day(6), YESTERDAY)):
        assert (old.rows.height, old.manifest.height) == (0, 0)


def test_reach_that_is_absent_is_unknown_and_an_account_that_fails_stops_nobody(make: Make, control: Control):
    control.fault("reach_absent", account=BERLIN, times=None)
    control.fault("permission", account=TOKYO, times=None)
    fetched = make(BERLIN, LONDON, TOKYO).reach(day(7), day(1))
    rows = fetched.rows.group_by("account_id").agg(pl.len(), known=pl.col("reach").count()).sort("account_id").rows()
    assert [(account, known > 0) for account, _, known in rows] == [(BERLIN, False), (LONDON, True)]
    told = {row["account_id"]: row for row in fetched.manifest.iter_rows(named=True)}
    assert {account: row["status"] for account, row in told.items()} == {
        BERLIN: "complete",
        LONDON: "complete",
        TOKYO: "stopped",
    }
    assert "did not say how many people were reached" in told[BERLIN]["reason"]
    assert told[LONDON]["reason"] is None
    assert told[TOKYO]["date"] == day(1)


def test_daily_facts_are_the_markets(make: Make, market: Market):
    fetched = make().actuals(FIRST, YESTERDAY, YESTERDAY)
    assert fetched.rows.schema == ACTUALS
    assert fetched.manifest.schema == MANIFEST
    known = market.actuals(FIRST, YESTERDAY, YESTERDAY)
    # West of London the day has not ended; its figures grow.
    ended = fetched.rows.filter("complete")
    assert differing(ended, known.join(ended, on=KEY, how="semi"), KEY).keys() <= {*CONVERSIONS, "is_final", "restated"}
    # Conversions are known as of the account's own time: at midnight where the market's day ends too.
    london = ended.filter(pl.col("account_id") == LONDON)
    assert differing(london, known.filter(pl.col("account_id") == LONDON), KEY).keys() == {"is_final", "restated"}
    assert london.filter("is_final")["date"].max() == date(2026, 10, 14)
    final = ended.filter("is_final")
    assert final.height > 500
    assert differing(final, known.join(final, on=KEY, how="semi"), KEY).keys() <= {"is_final", "restated"}
    assert not fetched.rows.select(pl.struct(KEY).is_duplicated().any()).item()


def test_hours_are_the_markets(make: Make, market: Market):
    source = make(hourly_days=60)
    # On 1 November clocks go back in New York, on 25 October in Berlin; in Auckland they went forward on 27 September.
    for when in (date(2026, 11, 1), date(2026, 10, 25), date(2026, 9, 27), day(1)):
        fetched = source.hourly(when)
        assert fetched.rows.schema == HOURLY
        assert set(fetched.manifest["status"]) == {"complete"}
        key = [*KEY, "hour"]
        assert not differing(fetched.rows, market.hourly(when, when), key)


def test_the_catalog_is_the_markets(make: Make, market: Market):
    fetched = make().catalog(YESTERDAY)
    assert fetched.rows.schema == CATALOG
    known = market.catalog(YESTERDAY)
    live = fetched.rows.filter(pl.col("status") != "paused")
    key = ["account_id", "ad_id"]
    found = differing(live, known, key)
    # Media have addresses and hashes on the platform; several ads in one ad set are an experiment for patterns.
    assert found.keys() <= {
        "experiment_id", "assignment", "status", "ends_on", "budget_micros", "image_id", "image_url", "video_url", "optimization_goal",
        "cta", "headline", "body", "description",
    }  # fmt: skip
    both = live.join(known, on=key, suffix=" then")
    groups = both.filter(pl.col("experiment_id then").is_not_null())
    assert groups.height > 5
    assert groups["experiment_id"].equals(groups["experiment_id then"].rename("experiment_id"))
    others = both.filter(pl.col("experiment_id then").is_null() & pl.col("experiment_id").is_not_null())
    assert others["experiment_id"].equals(others["ad_set_id"].rename("experiment_id"))
    # Texts that are there are the market's; an existing post has none.
    for name in ("cta", "headline", "body", "description", "budget_micros", "optimization_goal"):
        told = both.filter(pl.col(name).is_not_null() & pl.col(f"{name} then").is_not_null())
        assert told[name].equals(told[f"{name} then"].rename(name))
        assert told.height > 0.6 * both.height
    videos = live.filter(pl.col("template") == "video")
    assert videos.height > 3
    assert videos.select("video_id", "video_url").null_count().row(0) == (0, 0)
    assert live["image_url"].null_count() == 0


def test_the_catalog_is_asked_for_once(make: Make, control: Control):
    source = make()
    source.catalog(YESTERDAY)
    control.clear_requests()
    older = source.catalog(day(20)).rows
    assert control.requests() == []
    assert older["budget_micros"].null_count() == older.height
    assert older.filter(pl.col("starts_on") > day(19)).is_empty()
    assert set(older["status"]) >= {"active"}


def test_the_manifest_tells_each_day(make: Make):
    fetched = make().actuals(day(4), date(2026, 11, 12), YESTERDAY)
    manifest = fetched.manifest
    assert manifest.height == 8 * 7
    asked = manifest.group_by("account_id").agg(pl.col("requests").sum())["requests"]
    assert (asked > 3).all()
    status = {(a, d): s for a, d, s in manifest.select("account_id", "date", "status").iter_rows()}
    assert status[LONDON, YESTERDAY] == "complete"
    assert (
        status[LONDON, date(2026, 11, 11)] == status[NEW_YORK, YESTERDAY] == status[AUCKLAND, date(2026, 11, 11)] == "running"
    )
    reasons = {(a, d): r for a, d, r in manifest.select("account_id", "date", "reason").iter_rows()}
    assert reasons[NEW_YORK, YESTERDAY] == f"account {NEW_YORK}: 2026-11-10 has not ended in America/New_York."
    assert reasons[NEW_YORK, date(2026, 11, 12)] == f"account {NEW_YORK}: 2026-11-12 has not begun in America/New_York."
    assert reasons[LONDON, YESTERDAY] is None
    complete = manifest.filter(pl.col("status") == "complete")
    assert complete["spend_micros"].equals(complete["account_spend_micros"].rename("spend_micros"))
    assert set(manifest["api_version"]) == {"v26.0"}
    running = fetched.rows.filter(~pl.col("complete"))
    assert set(running.filter(pl.col("account_id") == NEW_YORK)["date"]) == {YESTERDAY}
    assert not fetched.rows["restated"].all()
    assert set(fetched.rows.filter("restated")["date"]) == {day(4), day(3), day(2), day(1)} - set(
        fetched.rows.filter(~pl.col("restated") & (pl.col("account_id") == TONGA))["date"]
    )


def test_days_before_the_history_have_no_data(make: Make):
    fetched = make(LONDON).actuals(date(2026, 8, 1), date(2026, 8, 2), YESTERDAY)
    assert fetched.rows.is_empty()
    assert fetched.manifest["status"].to_list() == ["no_data"] * 2
    assert fetched.manifest["reason"][0] == f"account {LONDON} had no delivery on 2026-08-01."


def test_hours_are_asked_for_in_the_days_that_have_them(make: Make, control: Control):
    for source in (make(LONDON), make(LONDON, hourly_days=0)):
        fetched = source.hourly(day(40))
        assert (fetched.rows.height, fetched.manifest.height) == (0, 0)
    assert control.requests() == []
    assert make(LONDON).hourly(date(2026, 11, 11)).manifest["status"].to_list() == ["running"]


def test_long_ranges_are_asked_for_in_reports(make: Make, control: Control):
    one = make(LONDON).actuals(day(20), YESTERDAY, YESTERDAY).rows
    control.clear_requests()
    assert make(LONDON, report_days=5).actuals(day(20), YESTERDAY, YESTERDAY).rows.equals(one)
    assert sum(r["method"] == "POST" for r in control.requests()) == 4


def test_what_counts_as_a_conversion_is_chosen_by_account(make: Make):
    wanted = {LONDON: "offsite_conversion.fb_pixel_purchase", "*": "lead"}
    rows = make(LONDON, BERLIN, conversions=wanted).actuals(day(9), day(1), YESTERDAY).rows
    usual = make(LONDON).actuals(day(9), day(1), YESTERDAY).rows
    london = rows.filter(pl.col("account_id") == LONDON)
    assert set(london["conversion_type"]) == {"offsite_conversion.fb_pixel_purchase"}
    # The same event under another name, not added to it.
    assert london["conversions"].equals(usual["conversions"])
    berlin = rows.filter(pl.col("account_id") == BERLIN)
    assert berlin.select("conversions", "conversion_type", "revenue_micros").null_count().row(0) == (berlin.height,) * 3


# When the server misbehaves.


def fetch(source: MetaSource, days: int = 4) -> Fetched:
    return source.actuals(day(days), day(1), YESTERDAY)


def statuses(fetched: Fetched) -> dict[str, set[str]]:
    return {a: set(m["status"]) for (a,), m in fetched.manifest.group_by("account_id")}


def test_one_failing_account_leaves_the_others_whole(make: Make, control: Control):
    whole = fetch(make())
    for fault, status, says in (
        ("html_502", "failed", f"account {TOKYO}: the platform did not answer: HTTP 502 with a body that is not JSON."),
        ("permission", "stopped", f"account {TOKYO}: the token may not read it: "),
        ("unknown_account", "stopped", f"account {TOKYO}: the platform knows no such account, or the token may not see it: "),
        ("report_failed", "failed", f"account {TOKYO}: the platform's report failed: report "),
    ):
        control.clear()
        control.fault(fault, account=TOKYO, times=None)
        fetched = fetch(make())
        assert fetched.rows.equals(whole.rows.filter(pl.col("account_id") != TOKYO))
        assert statuses(fetched).pop(TOKYO) == {status}
        failed = fetched.manifest.filter(pl.col("account_id") == TOKYO)
        assert failed.height == 4
        assert all(reason.startswith(says) for reason in failed["reason"])


def test_unknown_accounts_are_told_in_every_manifest(make: Make):
    source = make(LONDON, "999")
    assert source.accounts()["account_id"].to_list() == [LONDON]
    for fetched in (fetch(source), source.catalog(YESTERDAY), source.hourly(YESTERDAY)):
        told = fetched.manifest.filter(pl.col("account_id") == "999")
        assert set(told["status"]) == {"stopped"}
        assert told["reason"][0].endswith("Correct LEARNING_META_ACCOUNTS, or assign the account to the token's system user.")
        assert not fetched.rows.is_empty()


def test_a_token_that_expires_in_the_middle_stops_the_rest(make: Make, control: Control):
    control.fault("token_expired", after=25, times=None)
    fetched = fetch(make(concurrency=1))
    stopped = fetched.manifest.filter(pl.col("status") == "stopped")
    done = fetched.manifest.filter(pl.col("status") != "stopped")
    assert stopped["account_id"].n_unique() + done["account_id"].n_unique() == 8
    assert done.height > 0
    assert set(fetched.rows["account_id"]) == set(done["account_id"])
    for account, reason in stopped.select("account_id", "reason").iter_rows():
        assert reason == (
            f"account {account}: the access token has expired. Make a new one for the system user in Business settings and set "
            "LEARNING_META_ACCESS_TOKEN."
        )


def test_lost_rows_make_the_day_incomplete(make: Make, control: Control):
    control.fault("dropped_rows", account=LONDON, times=None)
    fetched = fetch(make(LONDON, BERLIN))
    assert statuses(fetched) == {LONDON: {"incomplete"}, BERLIN: {"complete"}}
    assert set(fetched.rows["account_id"]) == {BERLIN}
    reason = fetched.manifest.filter(pl.col("account_id") == LONDON)["reason"][0]
    assert reason.startswith(f"account {LONDON}, {day(4)}: its ads spent ")
    assert reason.endswith("which is more than 0.5 % apart. It is fetched again with the next cycle.")
    control.clear()
    # Once, the second fetch within the fetch has them.
    control.fault("dropped_rows", account=LONDON)
    assert statuses(fetch(make(LONDON, BERLIN)))[LONDON] == {"complete"}


def test_doubled_rows_are_kept_once(make: Make, control: Control):
    whole = fetch(make(LONDON)).rows
    for times in (1, 2, 3):
        control.clear()
        control.fault("doubled_page", account=LONDON, times=times)
        fetched = fetch(make(LONDON))
        assert fetched.rows.equals(whole)
        assert statuses(fetched) == {LONDON: {"complete"}}


def test_what_is_not_reported_is_null(make: Make, control: Control):
    control.fault("missing_action_values", account=LONDON, times=None)
    rows = fetch(make(LONDON)).rows
    bought = rows.filter(pl.col("conversions") > 0)
    assert bought.height > 0
    assert rows["revenue_micros"].null_count() == rows.height
    control.clear()
    control.fault("missing_actions", account=BERLIN, times=None)
    control.fault("reach_absent", account=BERLIN, times=None)
    rows = fetch(make(BERLIN)).rows
    unknown = ("conversions", "conversion_type", "revenue_micros", "video_3s_views", "reach")
    assert rows.select(unknown).null_count().row(0) == (rows.height,) * 5
    assert rows["link_clicks"].sum() > 0


def test_hours_that_come_late_make_the_day_incomplete(make: Make, control: Control):
    control.fault("late_hourly", account=LONDON, times=None)
    fetched = make(LONDON).hourly(YESTERDAY)
    assert fetched.rows.is_empty()
    (reason,) = fetched.manifest["reason"]
    assert "impressions by hour, the account" in reason


def test_a_row_without_its_hour(make: Make, control: Control):
    whole = make(LONDON).hourly(YESTERDAY).rows
    control.fault("missing_hourly_key", account=LONDON, times=None, zero=True)
    fetched = make(LONDON).hourly(YESTERDAY)
    assert fetched.rows.equals(whole)
    control.clear()
    control.fault("missing_hourly_key", account=LONDON, times=None)
    fetched = make(LONDON).hourly(YESTERDAY)
    assert fetched.manifest["reason"].to_list() == [
        f"account {LONDON}, 2026-11-10: 1 rows with delivery do not say their hour. It is fetched again with the next cycle."
    ]


def test_two_accounts_may_have_the_same_ids(make: Make, control: Control):
    control.fault("same_ids", account=BERLIN, times=None)
    rows = fetch(make(NEW_YORK, BERLIN)).rows
    ids = [set(rows.filter(pl.col("account_id") == a)["ad_id"]) for a in (NEW_YORK, BERLIN)]
    assert ids[0] & ids[1]
    assert not rows.select(pl.struct(KEY).is_duplicated().any()).item()


def test_too_much_data_leaves_optional_fields_unknown_and_says_so(make: Make, control: Control):
    control.fault("too_much_data", account=LONDON, times=None, fields=8, days=2)
    fetched = fetch(make(LONDON))
    assert statuses(fetched) == {LONDON: {"complete"}}
    assert fetched.rows.select("reach", "outbound_clicks").null_count().row(0) == (fetched.rows.height,) * 2
    assert fetched.rows["clicks_all"].null_count() == 0
    assert fetched.manifest["reason"][0] == (
        f"account {LONDON}: reach, outbound_clicks are unknown, for the platform refused them as too much data"
    )


def test_a_rate_limit_that_outlasts_the_budget(make: Make, control: Control):
    control.fault("throttle", account=LONDON, times=None, code="business", wait=3_600)
    fetched = fetch(make(LONDON, BERLIN))
    assert statuses(fetched) == {LONDON: {"rate_limited"}, BERLIN: {"complete"}}
    reason = fetched.manifest.filter(pl.col("account_id") == LONDON)["reason"][0]
    assert "the platform's rate limit asks to wait 60 minutes more" in reason


def test_another_version_than_asked_is_told(make: Make, control: Control):
    control.fault("version_expired", times=None, version="v27.0")
    assert set(fetch(make(LONDON)).manifest["api_version"]) == {"v27.0"}


def test_a_call_to_action_that_nobody_knows(make: Make, control: Control):
    control.fault("unknown_cta", times=None)
    known = {"SHOP_NOW", "LEARN_MORE", "SIGN_UP", "GET_OFFER", "SUBSCRIBE", "BOOK_NOW"}
    assert not set(make(LONDON).catalog(YESTERDAY).rows["cta"].drop_nulls()) & known


def test_videos_need_a_permission_that_may_be_missing(make: Make, control: Control):
    whole = make(LONDON).catalog(YESTERDAY).rows
    control.fault("permission", times=None, path="125")
    rows = make(LONDON).catalog(YESTERDAY).rows
    assert rows["video_id"].equals(whole["video_id"])
    assert rows["video_url"].null_count() == rows.height


def test_nothing_answers(make: Make, control: Control):
    for accounts in ((LONDON, BERLIN), ()):
        source = make(*accounts, graph_url="http://127.0.0.1:9")
        with pytest.raises(PlatformDown) as error:
            fetch(source)
        assert control.token not in str(error.value)
    source = make()
    source.accounts()
    control.fault("http_500", times=None)
    with pytest.raises(
        PlatformDown, match=r"^No account answered \(8 asked\)\. The first said: account 4000001: the platform did not answer"
    ):
        fetch(source)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"access_token": None}, "LEARNING_SOURCE=meta needs LEARNING_META_ACCESS_TOKEN"),
        ({"accounts": "shop"}, "LEARNING_META_ACCOUNTS: 'shop' is not the id of an ad account. Ids are digits"),
        ({"accounts": " , "}, "LEARNING_META_ACCOUNTS: it is empty. Ids are digits"),
        (
            {"access_token": "EXPIRED", "accounts": "all"},
            "LEARNING_META_ACCESS_TOKEN: the access token has expired. Make a new one",
        ),
    ],
)
def test_settings_that_cannot_work(make: Make, changes: dict[str, Any], says: str):
    with pytest.raises(SourceError) as error:
        fetch(make(**changes))
    assert str(error.value).startswith(says)


def test_no_secret_in_answers_logs_or_files(make: Make, control: Control, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    said = ""
    for fault in ("html_502", "not_json", "reset", "permission", "token_expired", "transient"):
        control.clear()
        control.fault(fault, account=LONDON, times=None)
        source = make(LONDON, BERLIN, attempts=2)
        said += "".join(f.manifest.write_json() + repr(f) for f in (fetch(source), source.catalog(YESTERDAY)))
        said += repr(source.__dict__) + repr(source.settings)
    said += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert "insights" in caplog.text
    assert control.token not in said + caplog.text


# Killed, and going on.


def test_what_was_fetched_is_used_again_until_it_is_released(make: Make, control: Control, tmp_path: Path):
    first = fetch(make(aside=tmp_path / "aside"))
    control.clear_requests()
    second = fetch(make(aside=tmp_path / "aside"))
    assert second.rows.equals(first.rows)
    # What still was running may be used again for a few minutes, so nothing is asked but the accounts.
    assert {r["path"].rsplit("/", 1)[-1] for r in control.requests()} == {"adaccounts"}
    second.release()
    assert not list((tmp_path / "aside").iterdir())
    control.clear_requests()
    assert fetch(make(aside=tmp_path / "aside")).rows.equals(first.rows)
    assert len(control.requests()) > 30


def test_what_was_put_aside_grows_old(make: Make, control: Control, tmp_path: Path):
    aside = tmp_path / "aside"
    first = make(NEW_YORK, aside=aside).actuals(day(3), YESTERDAY, YESTERDAY)
    for now, again in (
        (NOW + timedelta(minutes=10), False),
        (NOW + timedelta(minutes=16), True),
        (NOW - timedelta(minutes=1), True),
    ):
        control.clear_requests()
        make(NEW_YORK, now=now, aside=aside).actuals(day(3), YESTERDAY, YESTERDAY)
        assert any("insights" in r["path"] for r in control.requests()) is again, now
        first.release()
        make(NEW_YORK, aside=aside).actuals(day(3), YESTERDAY, YESTERDAY)
    # Days that had ended last longer, but not beyond the setting.
    for now, again in ((NOW + timedelta(hours=2), False), (NOW + timedelta(hours=4), True)):
        fetch(make(LONDON, aside=aside))
        control.clear_requests()
        fetch(make(LONDON, now=now, aside=aside))
        assert any("insights" in r["path"] for r in control.requests()) is again, now


CHILD = """
    import sys, json
    from datetime import date, datetime
    from pathlib import Path
    from learning_assets.platforms.meta import MetaSource
    from learning_assets.settings import Meta
    settings, aside, now, first, last = json.loads(sys.argv[1])
    source = MetaSource(Meta.model_validate(settings), kind="sandbox", aside=Path(aside), now=lambda: datetime.fromisoformat(now))
    source.actuals(date.fromisoformat(first), date.fromisoformat(last), date.fromisoformat(last))
"""


def test_a_fetch_that_is_killed_goes_on_where_it_was(make: Make, control: Control, tmp_path: Path):
    whole = make(aside=tmp_path / "whole").actuals(day(25), YESTERDAY, YESTERDAY).rows
    aside = tmp_path / "aside"
    settings = {
        "access_token": control.token,
        "graph_url": control.url,
        "poll_seconds": 0.01,
        "report_days": 3,
        "concurrency": 2,
    }
    told = json.dumps([settings, str(aside), NOW.isoformat(), str(day(25)), str(YESTERDAY)])
    kept = 0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), told])
        deadline = time.monotonic() + 30
        while len(list(aside.glob("*.json"))) < kept + 8 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        kept = len(list(aside.glob("*.json")))
    assert kept >= 8
    control.clear_requests()
    last = make(report_days=3, aside=aside).actuals(day(25), YESTERDAY, YESTERDAY)
    launched = sum(r["method"] == "POST" for r in control.requests())
    assert launched <= 8 * 9 - kept
    assert last.rows.sort(KEY).equals(whole.sort(KEY))
    last.release()
    assert not list(aside.glob("*.json"))


def test_the_source_loads_without_the_sdk():
    code = "import sys, learning_assets.platforms.meta; assert not {'facebook_business', 'requests', 'tenacity'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_source_that_is_interrupted_ends_at_once(make: Make, control: Control):
    source = make(throttle_pause_seconds=60, wait_minutes=20)
    source.accounts()
    control.fault("throttle", times=None, code="business", wait=0)
    begun = time.monotonic()
    # The interrupt's own signal is switched off where tests run in the background.
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            fetch(source)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - begun < 10
