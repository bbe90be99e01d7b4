"""The store: who owns an account and what it consented to, which day a chain may learn next, and what a wall lets through."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
import sqlalchemy as sa

from learning_assets.assets import LAKE
from learning_assets.opening import open_identity
from learning_assets.platforms.source import ACCOUNTS
from learning_assets.settings import Settings
from learning_assets.store import schema
from learning_assets.store.store import POOLED_LEARNING, REPLAY, ChainError, Store
from learning_assets.store.walls import PIPELINE, SHARED, Wall
from learning_assets_tests.world import Learned

DAY = date(2026, 2, 10)


def told(account: str, owner: str, name: str = "A", currency: str | None = "EUR", *, consents: bool | None = True) -> dict:
    return {
        "account_id": account,
        "owner": owner,
        "name": name,
        "currency": currency,
        "timezone": "UTC",
        "consents": consents,
    }


def accounts(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ACCOUNTS)


def consents(store: Store) -> list[tuple]:
    found = store.tables.read("consents", PIPELINE, columns=["account_id", "purpose", "given", "given_by"])
    return sorted(found.rows())


def test_an_account_keeps_its_owner_whatever_else_changes(store: Store):
    store.register(accounts(told("a", "ann"), told("b", "bob")))
    store.register(accounts(told("a", "bob")))
    store.register(accounts(told("a", "bob", name="Renamed", currency="USD")))
    found = store.accounts(PIPELINE).select("account_id", "owner", "name", "currency")
    assert found.rows() == [("a", "ann", "Renamed", "USD"), ("b", "bob", "A", "EUR")]
    assert store.accounts(Wall("bob"))["account_id"].to_list() == ["b"]


def test_an_account_keeps_the_moment_it_was_added(make_settings: Callable[..., Settings]):
    for now, name in ((datetime(2026, 3, 2, tzinfo=UTC), "A"), (datetime(2026, 3, 9, tzinfo=UTC), "Renamed")):
        settings = make_settings(now=now)
        store = Store(settings, LAKE, lambda settings=settings: open_identity(settings))
        store.register(accounts(told("a", "ann", name)))
    found = store.tables.read("accounts", PIPELINE, columns=["name", "created_at"])
    assert found.rows() == [("Renamed", datetime(2026, 3, 2, tzinfo=UTC))]


def test_an_owner_who_owns_nothing_is_not_made(store: Store):
    store.register(accounts(told("a", "ann")))
    store.register(accounts(told("a", "eve", name="Renamed")))
    assert store.tables.read("owners", PIPELINE)["owner"].to_list() == ["ann"]


def test_a_consent_is_recorded_once(store: Store):
    for name in ("A", "A", "Renamed"):
        store.register(accounts(told("a", "ann", name), told("b", "bob", consents=False), told("c", "cid", consents=None)))
    assert consents(store) == [("a", POOLED_LEARNING, True, "source"), ("b", POOLED_LEARNING, False, "source")]
    assert dict(store.accounts(PIPELINE).select("account_id", "consents").rows()) == {"a": True, "b": False, "c": False}


def test_the_newest_consent_is_in_force(store: Store):
    store.register(accounts(told("a", "ann"), told("b", "bob")))

    def say(account: str, given: bool, at: datetime, purpose: str = POOLED_LEARNING) -> None:
        row = {"account_id": account, "purpose": purpose, "given": given, "given_by": account, "at": at}
        store.tables.execute(sa.insert(schema.consents), [row])

    say("a", False, store.now + timedelta(hours=1))
    say("a", True, store.now - timedelta(days=1))
    say("b", False, store.now + timedelta(hours=1), purpose="niche_by_llm")
    assert dict(store.accounts(PIPELINE).select("account_id", "consents").rows()) == {"a": False, "b": True}
    say("a", True, store.now + timedelta(hours=2))
    assert store.accounts(Wall("ann"))["consents"].to_list() == [True]
    assert len(consents(store)) == 6, "a consent is added, never changed"


def test_pools_follow_the_consents_in_force(store: Store):
    store.register(accounts(*(told(f"a{n}", f"o{n}") for n in range(5)), told("z", "zoe", consents=False)))
    found = store.pool_of_accounts()
    assert found.rows() == [*((f"a{n}", SHARED, None) for n in range(5)), ("z", "zoe", "zoe")]
    row = {
        "account_id": "a0",
        "purpose": POOLED_LEARNING,
        "given": False,
        "given_by": "o0",
        "at": store.now + timedelta(hours=1),
    }
    store.tables.execute(sa.insert(schema.consents), [row])
    assert [(pool.name, pool.owners) for pool in store.pools()] == [(name, 1) for name in ("o0", "o1", "o2", "o3", "o4", "zoe")]


# -- chains


def learn(store: Store, *days: date) -> None:
    """Mark days of `patterns` as learned."""
    rows = pl.DataFrame(schema=store.tables.schema("learning_patterns"))
    for day in days:
        store.replace_day("learning_patterns", day, rows, asset="patterns")


def refusal(store: Store, day: date, step_days: int = 1, *, replaying: bool = False) -> str:
    with pytest.raises(ChainError) as refused:
        store.require_next("patterns", day, step_days, replaying=replaying)
    return str(refused.value)


def test_a_chain_begins_anywhere_goes_on_tomorrow_and_may_repeat_its_newest_day(store: Store):
    store.require_next("patterns", DAY, 1)
    learn(store, DAY, DAY + timedelta(days=1))
    store.require_next("patterns", DAY + timedelta(days=1), 1)
    store.require_next("patterns", DAY + timedelta(days=2), 1)
    store.require_next("another_asset", DAY - timedelta(days=9), 1)


def test_an_older_day_is_refused_with_the_replay_that_makes_it(store: Store):
    learn(store, DAY, DAY + timedelta(days=1))
    assert refusal(store, DAY) == (
        "patterns of 2026-02-10 rests on the state of the day before, and days up to 2026-02-11 were learned from it. "
        "To learn 2026-02-10 and all later days anew: learning-assets replay --from 2026-02-10"
    )
    store.require_next("patterns", DAY, 1, replaying=True)


def test_a_day_after_a_gap_is_refused_with_the_days_to_learn_first(store: Store):
    learn(store, DAY)
    says = (
        "patterns of 2026-02-13 rests on the state of the day before, which is not learned yet (the newest before it is 2026-02-10). "
        "Learn the days between first: learning-assets replay --from 2026-02-11 --to 2026-02-13"
    )
    assert refusal(store, DAY + timedelta(days=3)) == says
    assert refusal(store, DAY + timedelta(days=3), replaying=True) == says


def test_an_archives_next_step_is_a_week_away(store: Store):
    learn(store, DAY)
    store.require_next("patterns", DAY + timedelta(days=7), 7)
    assert refusal(store, DAY + timedelta(days=14), 7).endswith("replay --from 2026-02-17 --to 2026-02-24")


def test_nothing_is_learned_beside_a_replay(store: Store, make_settings: Callable[..., Settings]):
    learn(store, DAY)
    settings = make_settings(sandbox={"accounts": 6, "ads": 12})
    elsewhere = Store(settings, LAKE, lambda: open_identity(settings))
    tomorrow = DAY + timedelta(days=1)
    with elsewhere.tables.lock(REPLAY, wait=False):
        assert refusal(store, tomorrow) == (
            "A replay is under way; patterns of 2026-02-11 can be learned when it has ended. Try again then."
        )
        elsewhere.require_next("patterns", tomorrow, 1, replaying=True)
    store.require_next("patterns", tomorrow, 1)


def test_the_clock_is_that_of_the_settings(store: Store):
    assert store.now == datetime(2026, 3, 2, 9, tzinfo=UTC)
    learn(store, DAY)
    written = store.tables.read("asset_days", PIPELINE, asset="patterns")
    assert written["written_at"].to_list() == [store.now]


# -- what is read in bulk


def test_a_scan_of_the_lake_stands_before_the_wall(learned: Learned):
    store, day = learned.store, learned.days[-1]
    everybody = store.accounts(PIPELINE)
    for owner in ("owner_0000", "owner_0004", "nobody"):
        mine = everybody.filter(pl.col("owner") == owner)["account_id"].to_list()
        for asset in ("actuals", "ad_catalog", "predictions", "weekly_sums", "actuals_asof"):
            seen = store.scan(asset, learned.facts_from, day, Wall(owner)).collect()
            assert seen["account_id"].unique().to_list() == mine, (owner, asset)
    assert store.scan("actuals", day, day, PIPELINE).collect()["account_id"].n_unique() == everybody.height == 6


def test_ad_days_are_the_windows_facts_with_what_is_known_of_the_ad(learned: Learned):
    store, until = learned.store, learned.days[-1]
    first = until - timedelta(days=9)
    found = store.ad_days(until, 10)
    facts = pl.concat([store.lake.read("actuals", first + timedelta(days=n)) for n in range(10)])
    counted = ["date", "account_id", "ad_id", "impressions", "link_clicks"]
    assert found.select(counted).equals(facts.select(counted).sort("date", "account_id", "ad_id"))
    assert found["experiment_id"].null_count() == found.height, "delivery chose the arms here, nobody drew them"
    ads = store.lake.read("ad_catalog", until).filter(pl.col("status") == "active")
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    expected = ads.join(owners, on="account_id").select(
        "owner", "account_id", "ad_id", "creative_id", "audience", "template", "cta"
    )
    today = found.filter(pl.col("date") == until).join(ads, on=["account_id", "ad_id"], how="semi")
    assert today.height > 60
    assert today.select(expected.columns).sort("ad_id").equals(expected.sort("ad_id"))


def test_an_ad_that_ended_early_in_the_window_is_known_too(learned: Learned):
    """The window may begin in the middle of a week, in which such an ad was last seen."""
    until = learned.days[-1]
    facts = learned.store.facts(learned.facts_from, until).collect()
    last = facts.group_by("account_id", "ad_id").agg(pl.col("date").max())["date"]
    ended = last.filter((last < until) & (last.dt.weekday() < 7)).max()  # type: ignore[operator]
    assert isinstance(ended, date)
    found = learned.store.ad_days(until, (until - ended).days + 1)
    assert found.filter(pl.col("date") == ended)["owner"].null_count() == 0
    assert found["creative_id"].null_count() == 0
