"""The state of arms: one batch a refresh, changed by one at a time, within an account and behind its wall."""

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.learning import bandit
from learning_assets.store.bandits import ACHIEVED, UnknownExperiment
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Wall

DAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 2, 3, tzinfo=UTC)
NEXT = DAY + timedelta(days=1)
ANN, BOB = Wall("ann"), Wall("bob")


def arms(account: str, experiment: str, *ads: str, owner: str) -> pl.DataFrame:
    place = {
        "live": True,
        "last_live": DAY,
        "starts_on": None,
        "origin": "campaign",
        "ad_set_id": "s",
        "budget_owner": "ad_set",
    }
    money = {"isolated": True, "currency": "EUR", "unit_micros": 10_000, "budget_micros": 5_000_000}
    rows = [{"account_id": account, "experiment_id": experiment, "ad_id": ad, "owner": owner, **place, **money} for ad in ads]
    kinds = {"account_id": pl.String, "experiment_id": pl.String, "ad_id": pl.String, "owner": pl.String, **bandit.PLACE}
    return pl.DataFrame(rows, schema=kinds)


EVERYBODY = pl.concat(
    [arms("a", "x", "p", "q", owner="ann"), arms("a", "y", "r", "s", "t", owner="ann"), arms("b", "x", "u", "v", owner="bob")]
)


def learn(store: Store, day: date = DAY, *, events: float = 40.0, running: bool = False, onward: bool = False) -> pl.DataFrame:
    """Write a day of all arms as a cycle does: since DAY each had some events of 1,000 a day, CTR only."""
    days = pl.DataFrame({"date": pl.date_range(DAY, day, eager=True)})
    daily = (
        EVERYBODY.select(*bandit.ARM, events=events + pl.int_range(pl.len()))
        .join(days, how="cross")
        .with_columns(metric=pl.lit("ctr"), exposure=pl.lit(1000.0))
    )
    with store.bandits.refreshing():
        before = store.bandits.before(day)
        counted = bandit.counts(EVERYBODY, before, daily, day, store.settings.bandit)
        state = bandit.assess(
            counted, pl.DataFrame(schema=bandit.PRIORS), decided=EVERYBODY.head(0), rules=store.settings.bandit
        )
        rows, wishes = state.with_columns(as_of=pl.lit(day)), pl.DataFrame(schema=bandit.WISHES)
        store.bandits.replace(day, rows, wishes, now=NOW, running=running, onward=onward)
    return state


def achieved(*rows: tuple[str, float, float]) -> pl.DataFrame:
    return pl.DataFrame([(ad, "ctr", events, exposure) for ad, events, exposure in rows], schema=ACHIEVED, orient="row")


def table(store: Store, wall: Wall = PIPELINE) -> pl.DataFrame:
    return store.tables.read("thompson_arms", wall).sort("as_of", *bandit.ARM, "metric")


def test_a_day_is_one_batch_that_a_rerun_replaces(store: Store):
    learn(store)
    once = table(store)
    assert once.height == 3 * EVERYBODY.height
    learn(store)
    assert_frame_equal(table(store), once)
    learn(store, NEXT)
    twice = table(store).filter(as_of=NEXT)
    learn(store, NEXT)
    assert_frame_equal(table(store).filter(as_of=NEXT), twice)
    assert_frame_equal(table(store).filter(as_of=DAY), once)
    learn(store, DAY, onward=True)
    assert_frame_equal(table(store), once)


def test_a_day_that_goes_on_holds_no_cycle_up(store: Store):
    learn(store)
    learn(store, NEXT, running=True)
    assert store.newest_day("budget_allocation") == DAY
    assert store.bandits.statistics("a", "x", ANN)["as_of"].to_list() == [NEXT, NEXT]
    store.require_next("budget_allocation", DAY, 1)
    before = table(store).filter(as_of=NEXT)
    learn(store, NEXT)
    assert store.newest_day("budget_allocation") == NEXT
    assert_frame_equal(table(store).filter(as_of=NEXT), before)


def test_what_is_asked_twice_a_day_is_asked_once(store: Store):
    learn(store)
    names = [
        "decision_id",
        "entity_id",
        "account_id",
        "owner",
        "entity_kind",
        "currency",
        "expected_micros",
        "wanted_micros",
        "kind",
        "reason",
        "share",
    ]
    told = ("bandit-a-x-2026-03-02", "s1", "a", "ann", "ad_set", "EUR", 100, 110, "bandit", "because", 0.5)
    first = pl.DataFrame([told], schema=bandit.WISHES, orient="row")
    second = pl.concat(
        [first.with_columns(entity_id=pl.lit("s2")), first.with_columns(decision_id=pl.lit("bandit-a-y-2026-03-02"))]
    )
    rows = table(store)
    for wishes in (first, second, second):
        with store.bandits.refreshing():
            store.bandits.replace(DAY, rows, wishes, now=NOW)
    found = store.promotions.wishes(ANN).select(names).rows()
    assert found == [told, ("bandit-a-y-2026-03-02", *told[1:])]
    assert store.promotions.wishes(BOB).is_empty()


def test_statistics_are_of_one_experiment_behind_its_wall(store: Store):
    learn(store)
    found = store.bandits.statistics("a", "x", ANN)
    assert found["ad_id"].to_list() == ["p", "q"]
    assert found["metric"].to_list() == ["ctr", "ctr"]
    assert found["share"].sum() == pytest.approx(1)
    assert store.bandits.statistics("a", "y", PIPELINE, "cvr")["rule"].to_list() == ["equal"] * 3
    assert store.bandits.statistics("b", "x", BOB)["ad_id"].to_list() == ["u", "v"]
    assert set(table(store, ANN)["account_id"]) == {"a"}


@pytest.mark.parametrize(
    ("account", "experiment", "wall", "says"),
    [
        ("a", "z", PIPELINE, "Account a has no experiment 'z'; it has 'x', 'y'."),
        ("c", "x", PIPELINE, "Account c has no experiment 'x'; it has none."),
        ("b", "x", ANN, "Account b has no experiment 'x'; it has none."),
        ("a", "", ANN, "Account a has no experiment ''; it has 'x', 'y'."),
    ],
)
def test_an_unknown_experiment_is_an_error_and_never_everybodys_arms(
    store: Store, account: str, experiment: str, wall: Wall, says: str
):
    learn(store)
    before, bandits = table(store), store.bandits
    calls: list[Callable[[], object]] = [
        lambda: bandits.statistics(account, experiment, wall),
        lambda: bandits.select(account, experiment, "request", wall),
        lambda: bandits.register(account, experiment, ["new"], DAY, wall),
        lambda: bandits.update(account, experiment, achieved(("p", 1, 2)), DAY, wall),
        lambda: bandits.decay(account, experiment, NEXT, wall),
    ]
    for call in calls:
        with pytest.raises(UnknownExperiment) as error:
            call()
        assert says in str(error.value)
    assert_frame_equal(table(store), before)


def test_a_request_gets_one_arm_by_its_id(store: Store):
    learn(store)
    chosen = [store.bandits.select("a", "y", f"request {n}", ANN) for n in range(60)]
    assert {one.ad_id for one in chosen} == {"r", "s", "t"}
    assert chosen[7] == store.bandits.select("a", "y", "request 7", ANN)
    assert chosen[0].metric == "ctr"
    assert chosen[0].rule == "top_two"
    assert chosen[0].as_of == DAY
    unknown = store.bandits.select("a", "y", "request 7", ANN, "roas")
    assert (unknown.rule, unknown.share) == ("equal", pytest.approx(1 / 3))


def test_an_update_replaces_what_was_told_of_its_day(store: Store):
    learn(store)
    others = table(store).filter(pl.col("experiment_id") != "x")
    told = store.bandits.update("a", "x", achieved(("p", 80, 1500)), DAY, ANN)
    again = store.bandits.update("a", "x", achieved(("p", 80, 1500)), DAY, ANN)
    assert_frame_equal(told, again)
    p, q = again.filter(metric="ctr").to_dicts()
    assert (p["events"], p["exposure"], q["events"]) == (80, 1500, 41)
    assert p["alpha"] == pytest.approx(81)
    assert_frame_equal(table(store).filter(pl.col("experiment_id") != "x"), others)
    later = store.bandits.update("a", "x", achieved(("q", 10, 100)), NEXT, ANN).filter(metric="ctr")
    assert later["events"].to_list() == pytest.approx([80 * 0.99, 41 * 0.99 + 10])
    assert later["as_of"].to_list() == [NEXT, NEXT]
    with pytest.raises(ValueError, match="does not grow younger"):
        store.bandits.update("a", "x", achieved(("q", 10, 100)), DAY, ANN)
    with pytest.raises(UnknownExperiment, match="has no arm 'z' with the reward 'ctr'; its arms are 'p', 'q'"):
        store.bandits.update("a", "x", achieved(("z", 1, 1)), NEXT, ANN)
    with pytest.raises(ValueError, match="0 or more"):
        store.bandits.update("a", "x", achieved(("p", -1, 1)), NEXT, ANN)
    with pytest.raises(ValueError, match="several rows"):
        store.bandits.update("a", "x", achieved(("p", 1, 1), ("p", 1, 1)), NEXT, ANN)
    learn(store, NEXT)
    assert store.bandits.statistics("a", "x", ANN)["events"].to_list() == pytest.approx([40 * 1.99, 41 * 1.99]), (
        "the cycle's facts count"
    )


def test_decay_forgets_towards_the_prior(store: Store):
    learn(store)
    before = store.bandits.statistics("a", "y", ANN)
    after = store.bandits.decay("a", "y", DAY + timedelta(days=10), ANN).filter(metric="ctr")
    assert after["events"].to_list() == pytest.approx((before["events"] * 0.99**10).to_list())
    assert (after["rate_high"] - after["rate_low"] > before["rate_high"] - before["rate_low"]).all()


def test_a_registered_arm_can_be_chosen_at_once_and_is_not_registered_twice(store: Store):
    learn(store)
    found = store.bandits.register("a", "x", ["new", "p"], DAY, ANN)
    assert_frame_equal(store.bandits.register("a", "x", ["new"], DAY, ANN), found)
    now = store.bandits.statistics("a", "x", ANN)
    assert now["ad_id"].to_list() == ["new", "p", "q"]
    assert now["share"].sum() == pytest.approx(1)
    assert now["origin"].to_list() == ["registered", "campaign", "campaign"]
    assert now["owner"].to_list() == ["ann"] * 3
    assert (now["prior_from"][0], now["events"][0]) == ("experiment", 0)
    assert "no budget of its own" in now["budget_note"][0]
    assert set(store.bandits.registered(DAY)["ad_id"]) == {"new"}
    assert "new" in {store.bandits.select("a", "x", str(n), ANN).ad_id for n in range(40)}


# -- several at once


def test_no_update_of_several_threads_is_lost(store: Store):
    learn(store)
    ads, told = ["p", "q"], 12

    def tell(ad: str) -> None:
        for n in range(1, told + 1):
            store.bandits.update("a", "x", achieved((ad, 100.0 + n, 5000)), DAY, ANN)

    def refresh() -> None:
        for _ in range(4):
            store.bandits.register("a", "y", [threading.current_thread().name], DAY, ANN)
            store.bandits.decay("b", "x", DAY, BOB)

    threads = [threading.Thread(target=tell, args=(ad,)) for ad in ads] + [
        threading.Thread(target=refresh, name=f"n{n}") for n in range(3)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert store.bandits.statistics("a", "x", ANN)["events"].to_list() == [100 + told, 100 + told]
    assert set(store.bandits.statistics("a", "y", ANN)["ad_id"]) == {"r", "s", "t", "n0", "n1", "n2"}
    assert table(store).height == 3 * (EVERYBODY.height + 3)


TELL = """
import sys
from datetime import date
import polars as pl
from learning_assets.build import open_store
from learning_assets.settings import Settings
from learning_assets.store.bandits import ACHIEVED
from learning_assets.store.walls import PIPELINE

bandits = open_store(Settings()).bandits
for n in range(1, 9):
    bandits.update("a", "x", pl.DataFrame([(sys.argv[1], "ctr", 100.0 + n, 5000.0)], schema=ACHIEVED, orient="row"), date(2026, 3, 1), PIPELINE)
"""


def test_no_update_of_two_processes_is_lost_beside_refreshes(store: Store):
    learn(store)
    assert store.settings.database_url is not None
    environment = {
        "LEARNING_HOME": str(store.settings.home),
        "LEARNING_DATABASE_URL": store.settings.database_url.get_secret_value(),
        "LEARNING_SANDBOX_ACCOUNTS": "6",
        "LEARNING_SANDBOX_ADS": "12",
        "PYTHONPATH": ":".join(sys.path),
    }
    running = [subprocess.Popen([sys.executable, "-c", TELL, ad], env=environment) for ad in ("p", "q")]
    refreshed = 0
    while any(one.poll() is None for one in running):
        store.bandits.decay("a", "x", DAY, ANN)
        refreshed += 1
    assert [one.wait() for one in running] == [0, 0]
    assert refreshed > 1
    assert store.bandits.statistics("a", "x", ANN)["events"].to_list() == [108, 108]


def test_a_refresh_waits_for_who_is_at_it(store: Store):
    """Two refreshes of the same day at once: one after the other, and the day is there once."""
    learn(store)
    threads = [threading.Thread(target=learn, args=(store, NEXT), kwargs={"events": events}) for events in (50.0, 60.0, 70.0)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = table(store).filter(as_of=NEXT, metric="ctr", account_id="a", experiment_id="x")
    assert found["day_events"].to_list() in [[50, 51], [60, 61], [70, 71]]
    assert table(store).filter(as_of=NEXT).height == 3 * EVERYBODY.height
