"""Versions of the facts: what a later cycle changes, an earlier one still reads as it was."""

from datetime import date, timedelta

import polars as pl
import pytest

from learning_assets.platforms.source import ACTUALS
from learning_assets.store import facts as versions
from learning_assets.store.lake import LakeError
from learning_assets.store.store import Store
from learning_assets.store.sums import weekly_sums

DAY = date(2026, 2, 2)


def later(days: int) -> date:
    return DAY + timedelta(days=days)


def rows(conversions: dict[str, int | None], *, day: date = DAY, complete: bool = True) -> pl.DataFrame:
    found = pl.DataFrame(
        [
            {"date": day, "account_id": "1", "ad_id": ad, "impressions": 100, "link_clicks": 10, "conversions": count}
            | {"complete": complete, "restated": False, "is_final": False}
            for ad, count in conversions.items()
        ],
        schema={name: ACTUALS[name] for name in ACTUALS},
    )
    return found.select(ACTUALS.names())


def known(store: Store, on: date | None) -> dict[str, int | None]:
    return dict(versions.facts(store.lake, DAY, DAY, on).select("ad_id", "conversions").sort("ad_id").collect().iter_rows())


def test_every_cycle_reads_what_it_saw(store: Store) -> None:
    lake = store.lake
    assert versions.swap(lake, DAY, rows({"a": 1, "b": 0}), DAY).written.changed
    changed = versions.swap(lake, DAY, rows({"a": 3, "b": 0}), later(2))
    assert changed.superseded["ad_id"].to_list() == ["a"]
    versions.swap(lake, DAY, rows({"a": 2, "b": 1}), later(5))
    assert [known(store, later(n)) for n in (0, 1, 2, 4, 5)] == [
        {"a": 1, "b": 0},
        {"a": 1, "b": 0},
        {"a": 3, "b": 0},
        {"a": 3, "b": 0},
        {"a": 2, "b": 1},
    ]
    assert known(store, None) == {"a": 2, "b": 1}
    assert [versions.changed_since(lake, DAY, DAY, later(n)) for n in (4, 5)] == [True, False]


def test_the_same_rows_again_change_nothing(store: Store) -> None:
    versions.swap(store.lake, DAY, rows({"a": 1}), DAY)
    again = versions.swap(store.lake, DAY, rows({"a": 1}), later(3))
    assert (again.written.changed, again.superseded.height) == (False, 0)
    assert store.lake.days("actuals_asof") == []


def test_a_cycle_that_is_repeated_keeps_what_it_superseded_first(store: Store) -> None:
    versions.swap(store.lake, DAY, rows({"a": 1}), DAY)
    for count in (2, 3):
        versions.swap(store.lake, DAY, rows({"a": count}), later(1))
    assert (known(store, DAY), known(store, later(1))) == ({"a": 1}, {"a": 3})


def test_rows_that_only_later_cycles_saw_are_not_put_aside_by_an_earlier_one(store: Store) -> None:
    versions.swap(store.lake, DAY, rows({"a": 9}), later(8))
    versions.swap(store.lake, DAY, rows({"a": 1}), later(1))
    assert store.lake.days("actuals_asof") == []


def test_rows_that_are_not_complete_are_left_out_as_they_were_then(store: Store) -> None:
    versions.swap(store.lake, DAY, rows({"a": 1}, complete=False), DAY)
    versions.swap(store.lake, DAY, rows({"a": 4}), later(1))
    assert (known(store, DAY), known(store, later(1))) == ({}, {"a": 4})


def test_sums_of_a_week_are_those_that_the_cycle_knew(store: Store) -> None:
    week = later(6)
    versions.swap(store.lake, DAY, rows({"a": 1}), DAY)
    versions.swap(store.lake, DAY, rows({"a": 5}), later(9))

    def conversions(until: date) -> int:
        return int(weekly_sums(store.lake, until, 21).filter(pl.col("week") == week).collect()["conversions"].sum())

    assert [conversions(later(n)) for n in (7, 9, 7)] == [1, 5, 1]


def test_the_triangle_says_what_was_known_at_each_age(store: Store) -> None:
    versions.swap(store.lake, DAY, rows({"a": 1, "b": 0}), DAY)
    versions.swap(store.lake, DAY, rows({"a": 3, "b": 0}), later(2))
    versions.swap(store.lake, DAY, rows({"a": 2, "b": 1}), later(3))
    found = versions.by_age(store.lake, DAY, DAY, later(4), 28).collect()
    assert found["age_days"].to_list() == [0, 1, 2, 3, 4]
    assert found["conversions"].to_list() == [1, 1, 3, 3, 3]


def test_a_frame_of_other_columns_is_refused_and_the_day_stays(store: Store) -> None:
    versions.swap(store.lake, DAY, rows({"a": 1}), DAY)
    with pytest.raises(LakeError):
        versions.swap(store.lake, DAY, rows({"a": 2}).with_columns(pl.col("reach").cast(pl.Float64)), later(1))
    assert known(store, None) == {"a": 1}
