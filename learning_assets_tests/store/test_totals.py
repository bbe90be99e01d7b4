"""Running totals: whatever became of the facts, they equal those of all facts; and a day reads the newest weeks only."""

import tempfile
from contextlib import nullcontext
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from learning_assets.assets import LAKE
from learning_assets.learning import memory
from learning_assets.platforms.source import ACTUALS, CATALOG
from learning_assets.store.facts import swap
from learning_assets.store.lake import Lake
from learning_assets.store.totals import creative_totals

MONDAY = date(2026, 2, 2)
RECENT, MATURE = 8, 3
CREATIVES = {"1": "x", "2": "x", "3": "y"}
"""What the ads of the account show."""


def lake_in(folder: Path) -> Lake:
    return Lake(folder, LAKE, lambda _: nullcontext())


def store(lake: Lake, day: date, clicks: dict[str, int], known_on: date | None = None) -> None:
    """Write a day on which each ad had the clicks, and a hundred times the impressions; a later version where `known_on` is later."""
    rows = [
        {"date": day, "account_id": "a", "ad_id": ad, "impressions": 100 * n, "link_clicks": n, "conversions": n // 2}
        for ad, n in clicks.items()
    ]
    filled = [dict.fromkeys(ACTUALS) | row | {"complete": True, "is_final": False, "restated": False} for row in rows]
    swap(lake, day, pl.DataFrame(filled, schema=ACTUALS), known_on or day)
    listed = [{"account_id": "a", "ad_id": ad, "creative_id": shown, "status": "active"} for ad, shown in CREATIVES.items()]
    lake.write("ad_catalog", day, pl.DataFrame([dict.fromkeys(CATALOG) | row for row in listed], schema=CATALOG))


def by_hand(facts: dict[date, dict[str, int]], until: date) -> list[dict[str, Any]]:
    """The sums as one would write them down from all facts."""
    found: dict[str, dict[str, Any]] = {}
    for day, clicks in facts.items():
        if day > until:
            continue
        for creative in sorted({CREATIVES[ad] for ad in clicks}):
            own = [n for ad, n in clicks.items() if CREATIVES[ad] == creative]
            row = found.setdefault(creative, dict.fromkeys(memory.SUMS, 0) | {"account_id": "a", "creative_id": creative})
            row["impressions"] += 100 * sum(own)
            row["link_clicks"] += sum(own)
            row["impressions_squared"] += (100 * sum(own)) ** 2
            if day <= until - timedelta(days=MATURE):
                row["mature_clicks"] += sum(own)
                row["mature_clicks_squared"] += sum(own) ** 2
                row["conversions"] += sum(n // 2 for n in own)
    return [found[creative] for creative in sorted(found)]


day = st.integers(0, 34).map(lambda n: MONDAY + timedelta(days=n))
change = st.tuples(day, st.dictionaries(st.sampled_from(sorted(CREATIVES)), st.integers(0, 1_000), max_size=3))


@settings(max_examples=12, deadline=None)
@given(st.lists(change, min_size=1, max_size=8), day)
def test_totals_equal_those_of_all_facts_whatever_changed(history: list[tuple[date, dict[str, int]]], until: date):
    """Days come, are restated and lose their rows in any order, while the totals are read in between."""
    facts: dict[date, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        lake = lake_in(Path(folder))
        for changed, clicks in history:
            facts[changed] = clicks
            store(lake, changed, clicks)
            found, recent = creative_totals(lake, until, RECENT, MATURE)
            assert found.schema == memory.SUMS
            assert found.to_dicts() == by_hand(facts, until)
            assert recent.schema == memory.DAYS
            assert all(until - timedelta(days=RECENT + 6) <= one <= until for one in recent["date"])


def test_totals_are_those_that_the_cycle_of_the_day_knew(tmp_path: Path):
    lake, first, late = lake_in(tmp_path), MONDAY, MONDAY + timedelta(days=30)
    until = MONDAY + timedelta(days=25)
    for n in range(26):
        store(lake, first + timedelta(days=n), {"1": 10})
    before = creative_totals(lake, until, RECENT, MATURE)[0]
    store(lake, first + timedelta(days=1), {"1": 500}, known_on=late)
    store(lake, first + timedelta(days=24), {"1": 500}, known_on=late)
    assert creative_totals(lake, until, RECENT, MATURE)[0].equals(before)
    for n in range(26, 31):
        store(lake, first + timedelta(days=n), {"1": 10})
    assert creative_totals(lake, late, RECENT, MATURE)[0]["link_clicks"].to_list() == [29 * 10 + 2 * 500]


def test_an_ad_counts_for_what_it_showed_in_each_week(tmp_path: Path):
    lake = lake_in(tmp_path)
    for n in range(14):
        store(lake, MONDAY + timedelta(days=n), {"3": 1})
        if n >= 7:
            shown = lake.read("ad_catalog", MONDAY + timedelta(days=n)).with_columns(creative_id=pl.lit("new"))
            lake.write("ad_catalog", MONDAY + timedelta(days=n), shown)
    found, _ = creative_totals(lake, MONDAY + timedelta(days=40), RECENT, MATURE)
    assert dict(found.select("creative_id", "link_clicks").iter_rows()) == {"y": 7, "new": 7}


def test_a_day_writes_at_most_the_week_that_has_settled(tmp_path: Path):
    lake = lake_in(tmp_path)
    for n in range(40):
        store(lake, MONDAY + timedelta(days=n), {"1": 1, "3": 2})

    def kept() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in sorted((lake.root / "creative_totals").iterdir())}

    creative_totals(lake, MONDAY + timedelta(days=33), RECENT, MATURE)
    before = kept()
    assert list(before) == ["2026-02-08.parquet", "2026-02-15.parquet", "2026-02-22.parquet"]
    creative_totals(lake, MONDAY + timedelta(days=34), RECENT, MATURE)
    assert kept() == before
    creative_totals(lake, MONDAY + timedelta(days=35), RECENT, MATURE)
    assert {name: at for name, at in kept().items() if name in before} == before
    assert set(kept()) - set(before) == {"2026-03-01.parquet"}


def test_without_facts_there_are_no_totals(tmp_path: Path):
    found, recent = creative_totals(lake_in(tmp_path), MONDAY, RECENT, MATURE)
    assert found.equals(memory.SUMS.to_frame())
    assert recent.equals(memory.DAYS.to_frame())
