"""The ledger of purchase signals: once each, in the order in which they can be read, and never taken back."""

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from learning_assets.store.signals import SIGNALS, Arrived, Recorded
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Wall

NOON = datetime(2026, 2, 10, 12, tzinfo=UTC)
DAY = NOON.date()


def told(*ids: str, **more: Any) -> pl.DataFrame:
    row = {"account_id": "a", "owner": "ann", "at": NOON, "source": "test", **more}
    return pl.DataFrame([row | {"signal_id": one} for one in ids], schema=SIGNALS)


def test_a_repeated_id_is_the_same_signal_of_its_account(store: Store):
    assert store.signals.record(told("1", "2", "2"), NOON) == Recorded(2, 1)
    later = NOON + timedelta(days=1)
    assert store.signals.record(told("2", "3", value_micros=5, currency="EUR"), later) == Recorded(1, 1)
    assert store.signals.record(told("1", account_id="b", owner="bob"), later) == Recorded(1, 0), "another account's own ids"
    rows = store.tables.read("purchase_signals", PIPELINE).sort("received_no")
    assert rows.select("account_id", "signal_id", "received_on", "value_micros").rows() == [
        ("a", "1", DAY, None),
        ("a", "2", DAY, None),
        ("a", "3", DAY + timedelta(days=1), 5),
        ("b", "1", DAY + timedelta(days=1), None),
    ]
    assert store.tables.read("purchase_signals", Wall("bob"))["account_id"].to_list() == ["b"]
    assert store.signals.after(2) == Arrived(2, 2, rows["received_no"][-1])
    assert store.signals.after(10**9) == Arrived(0, 0, 10**9)


def test_whoever_reads_while_others_record_misses_none(store: Store):
    """A reader that goes on from the newest number it saw ends up with every signal."""
    assert store.signals.newest() == 0
    stop, seen, last = threading.Event(), 0, 0

    def record(name: int) -> None:
        for n in range(25):
            store.signals.record(told(f"{name}-{n}", f"{name}-{n}b"), NOON)

    writers = [threading.Thread(target=record, args=(name,)) for name in range(3)]
    for one in writers:
        one.start()
    while not stop.is_set():
        if not any(one.is_alive() for one in writers):
            stop.set()
        arrived = store.signals.after(last)
        seen, last = seen + arrived.signals, arrived.newest
    assert seen == store.tables.read("purchase_signals", PIPELINE).height == 150


def test_signals_wait_for_the_day_before_and_their_own_until_a_challenger_was_trained(store: Store):
    store.signals.record(told("1", "2"), NOON)
    store.signals.record(told("3", account_id="b"), NOON)

    def waiting(days: int, trained: int | None) -> int:
        day = None if trained is None else DAY + timedelta(days=trained)
        return store.signals.waiting(["a"], DAY + timedelta(days=days), day)

    assert [waiting(days, None) for days in (-2, -1, 0, 5)] == [0, 2, 2, 2]
    assert waiting(-1, -5) == 2
    assert waiting(0, -1) == 2, "trained before the facts of their day"
    assert waiting(1, 0) == 0
    assert store.signals.waiting([], DAY, None) == 0


def test_what_signals_named_by_the_days_on_which_they_came(store: Store):
    store.signals.record(pl.concat([told("1", "2", creative_id="c"), told("3", ad_id="x"), told("4")]), NOON)
    store.signals.record(told("5", creative_id="c"), NOON + timedelta(days=1))
    assert store.signals.told(None, DAY).rows() == [("a", None, "x", 1), ("a", "c", None, 2)]
    assert store.signals.told(DAY, DAY + timedelta(days=1)).rows() == [("a", "c", None, 1)]
    assert store.signals.told(None, date(2026, 2, 1)).is_empty()
