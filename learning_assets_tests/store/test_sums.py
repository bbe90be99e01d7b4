"""Sums: whatever happened to the facts, the kept sums equal those that are computed from all facts; and a day costs a day."""

import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning_assets.assets import LAKE
from learning_assets.platforms.source import ACTUALS, CATALOG
from learning_assets.store.lake import Lake
from learning_assets.store.sums import ACCOUNT_DAYS, WEEKLY_SUMS, account_days, weekly_sums

MONDAY = date(2026, 2, 2)
COUNTS = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")
OF_AD = ("creative_id", "experiment_id", "assignment", "planned_share", "audience")
ADS = (("a", "1"), ("a", "2"), ("b", "1"))

Key = tuple[str, str]


@dataclass
class Facts:
    """Facts in plain dictionaries, by day; the naive side of the comparison."""

    actuals: dict[date, dict[Key, dict[str, Any]]] = field(default_factory=dict)
    catalog: dict[date, dict[Key, dict[str, Any]]] = field(default_factory=dict)

    def store(self, lake: Lake, day: date) -> None:
        """Write a day into the lake, with what there is of it."""
        for asset, schema, of in (("actuals", ACTUALS, self.actuals), ("ad_catalog", CATALOG, self.catalog)):
            if day in of:
                rows = [{"account_id": key[0], "ad_id": key[1], **row} for key, row in of[day].items()]
                lake.write(asset, day, pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema))

    def weekly(self, until: date, days: int) -> list[dict[str, Any]]:
        """Weekly sums as one would write them down by hand."""
        last = until + timedelta(days=6 - until.weekday())
        found = []
        for back in range(-(-days // 7)):
            sunday = last - timedelta(days=7 * back)
            week = [sunday - timedelta(days=6 - n) for n in range(7) if sunday - timedelta(days=6 - n) <= until]
            for key in ADS:
                rows = [self.actuals[day][key] for day in week if key in self.actuals.get(day, {})]
                if not rows:
                    continue
                known = [
                    self.catalog[day][key]
                    for day in week
                    if key in self.catalog.get(day, {}) and self.catalog[day][key]["status"] != "scheduled"
                ]
                newest = known[-1] if known else dict.fromkeys(OF_AD)
                sums = {
                    name: None if any(row[name] is None for row in rows) else sum(row[name] for row in rows) for name in COUNTS
                }
                found.append(
                    {"week": sunday, "account_id": key[0], "ad_id": key[1]} | {name: newest[name] for name in OF_AD} | sums
                )
        return sorted(found, key=lambda row: (row["week"], row["account_id"], row["ad_id"]))

    def account_days(self, first: date, until: date) -> list[dict[str, Any]]:
        """Totals of accounts and days as one would write them down by hand."""
        monday = first - timedelta(days=first.weekday())
        found = []
        for day in sorted(day for day in self.actuals if monday <= day <= until):
            for account in ("a", "b"):
                rows = [row for key, row in self.actuals[day].items() if key[0] == account]
                if rows:
                    known = {name: [row[name] for row in rows if row[name] is not None] for name in COUNTS}
                    sums = {name: sum(values) if values else None for name, values in known.items()}
                    found.append({"account_id": account, "date": day, "currency": "EUR", "ads": len(rows)} | sums)
        return sorted(found, key=lambda row: (row["account_id"], row["date"]))


def lake_in(folder: Path) -> Lake:
    return Lake(folder, LAKE, lambda _: nullcontext())


def stored_weekly(lake: Lake, until: date, days: int) -> list[dict[str, Any]]:
    found = weekly_sums(lake, until, days).collect()
    assert found.schema == WEEKLY_SUMS
    return found.sort("week", "account_id", "ad_id").to_dicts()


def stored_account_days(lake: Lake, first: date, until: date) -> list[dict[str, Any]]:
    found = account_days(lake, first, until).collect()
    assert found.schema == ACCOUNT_DAYS
    return found.sort("account_id", "date").to_dicts()


def counts(day: date) -> st.SearchStrategy[dict[str, Any]]:
    numbers = st.fixed_dictionaries(dict.fromkeys(COUNTS, st.none() | st.integers(0, 10**12)))
    return numbers.map(lambda row: {"date": day, "currency": "EUR", "is_final": False, **row})


ad = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["active", "scheduled", "paused"]),
        "creative_id": st.sampled_from(["x", "y"]),
        "experiment_id": st.sampled_from([None, "e"]),
        "assignment": st.sampled_from([None, "random"]),
        "planned_share": st.sampled_from([None, 0.5]),
        "audience": st.sampled_from([None, "broad"]),
    }
)
week_days = st.integers(0, 15).map(lambda n: MONDAY + timedelta(days=n))


@st.composite
def changes(draw: st.DrawFn) -> tuple[date, Mapping[Key, Any] | None, Mapping[Key, Any] | None]:
    """A day and what it becomes: its actuals, its catalog, or both."""
    day = draw(week_days)
    what = draw(st.sampled_from(["both", "actuals", "catalog"]))
    ads = st.dictionaries(st.sampled_from(ADS), counts(day), max_size=3)
    listed = st.dictionaries(st.sampled_from(ADS), ad, max_size=3)
    return day, None if what == "catalog" else draw(ads), None if what == "actuals" else draw(listed)


@settings(max_examples=25, deadline=None)
@given(st.lists(changes(), min_size=1, max_size=8), week_days, st.integers(1, 17))
def test_kept_sums_equal_those_of_all_facts_whatever_changed(history: list, until: date, days: int):
    """Days come, are restated and lose their rows in any order, while the sums are read in between."""
    facts = Facts()
    with tempfile.TemporaryDirectory() as folder:
        lake = lake_in(Path(folder))
        for day, of_ads, listed in history:
            if of_ads is not None:
                facts.actuals[day] = dict(of_ads)
            if listed is not None:
                facts.catalog[day] = dict(listed)
            facts.store(lake, day)
            assert stored_weekly(lake, until, days) == facts.weekly(until, days)
            first = until - timedelta(days=days - 1)
            assert stored_account_days(lake, first, until) == facts.account_days(first, until)


@pytest.fixture
def facts(tmp_path: Path) -> tuple[Lake, Facts]:
    """Ten days of one ad in a lake: a finished week and three days of the next."""
    told, lake = Facts(), lake_in(tmp_path)
    for n in range(10):
        day = MONDAY + timedelta(days=n)
        row = dict.fromkeys(COUNTS, 10 * (n + 1)) | {"date": day, "currency": "EUR", "is_final": False}
        told.actuals[day] = {("a", "1"): row}
        told.catalog[day] = {("a", "1"): dict.fromkeys(OF_AD) | {"status": "active", "creative_id": f"x{n}"}}
        told.store(lake, day)
    return lake, told


def files(lake: Lake, asset: str) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (lake.root / asset).iterdir()}


@pytest.mark.parametrize("asset", ["weekly_sums", "account_days"])
def test_a_day_costs_no_second_look_at_finished_weeks(facts: tuple[Lake, Facts], asset: str):
    lake, told = facts

    def plan(until: date) -> str:
        lazy = weekly_sums(lake, until, 14) if asset == "weekly_sums" else account_days(lake, MONDAY, until)
        return lazy.explain(optimized=False)

    wednesday, thursday = MONDAY + timedelta(days=9), MONDAY + timedelta(days=10)
    plan(wednesday)
    kept = files(lake, asset)
    assert set(kept) == {"2026-02-08.parquet"}, "the running week is not kept"
    told.actuals[thursday] = told.actuals[wednesday]
    told.catalog[thursday] = told.catalog[wednesday]
    told.store(lake, thursday)
    read = plan(thursday)
    assert files(lake, asset) == kept
    assert f"{asset}/2026-02-08.parquet" in read
    assert "actuals/2026-02-09" in read
    assert not any(f"actuals/{MONDAY + timedelta(days=n)}" in read for n in range(7))


def test_a_restated_day_changes_its_week_and_no_other(facts: tuple[Lake, Facts]):
    lake, told = facts
    until = MONDAY + timedelta(days=20)
    assert [row["impressions"] for row in stored_weekly(lake, until, 21)] == [280, 270]
    kept = files(lake, "weekly_sums")
    restated = MONDAY + timedelta(days=8)
    told.actuals[restated][("a", "1")]["impressions"] += 5
    told.store(lake, restated)
    assert [row["impressions"] for row in stored_weekly(lake, until, 21)] == [280, 275]
    after = files(lake, "weekly_sums")
    assert after["2026-02-08.parquet"] == kept["2026-02-08.parquet"]
    assert after["2026-02-15.parquet"] != kept["2026-02-15.parquet"]


def test_a_day_that_disappears_leaves_the_sums(facts: tuple[Lake, Facts]):
    lake, _ = facts
    until = MONDAY + timedelta(days=13)
    assert [row["impressions"] for row in stored_weekly(lake, until, 14)] == [280, 270]
    lake.path("actuals", MONDAY).unlink()
    assert [row["impressions"] for row in stored_weekly(lake, until, 14)] == [270, 270]


def test_one_unknown_day_makes_an_ads_week_unknown_and_an_accounts_day_counts_what_was_reported(facts: tuple[Lake, Facts]):
    lake, told = facts
    told.actuals[MONDAY][("a", "1")]["revenue_micros"] = None
    told.actuals[MONDAY][("a", "2")] = told.actuals[MONDAY][("a", "1")] | {"revenue_micros": 4}
    told.store(lake, MONDAY)
    sunday = MONDAY + timedelta(days=6)
    by_ad = {row["ad_id"]: row["revenue_micros"] for row in stored_weekly(lake, sunday, 7)}
    assert by_ad == {"1": None, "2": 4}
    assert stored_account_days(lake, MONDAY, MONDAY)[0]["revenue_micros"] == 4


def test_what_an_ad_was_is_taken_from_its_newest_day_in_the_week(facts: tuple[Lake, Facts]):
    lake, _ = facts
    until = MONDAY + timedelta(days=8)
    assert [row["creative_id"] for row in stored_weekly(lake, until, 14)] == ["x6", "x8"]
    assert [row["creative_id"] for row in stored_weekly(lake, MONDAY + timedelta(days=2), 7)] == ["x2"], "nothing looks ahead"
