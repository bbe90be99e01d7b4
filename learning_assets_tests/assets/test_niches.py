"""Niches of accounts, from the catalog to the table: detected from texts, again when there are new ones, and a person's word stands."""

from datetime import date, timedelta

import polars as pl
import pytest

from learning_assets.assets.niches import due_accounts, find_niches
from learning_assets.learning import niche
from learning_assets.store.store import TEXT_TO_CLAUDE
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.platforms.messages_api import KEY, MessagesApi, ads_of, fails
from learning_assets_tests.world import MakeWorld, World, failure, metadata

DAY = date(2026, 2, 20)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    world = make_world(sandbox={"accounts": 4, "ads": 8})
    result = world.run(DAY, "ad_catalog", "creative_dna", replaying=True)
    assert result.success, failure(result)
    return world


def test_every_account_is_told_from_its_texts_and_who_said_so(world: World):
    rows = world.table("account_niches")
    true = dict(world.source.accounts().select("account_id", "niche").iter_rows()) if "niche" in world.source.accounts() else {}
    assert set(rows["account_id"]) == set(world.store.accounts(PIPELINE)["account_id"])
    assert set(rows["source"]) == {"local"}
    assert set(rows["said_by"]) == {"classifier"}
    assert set(rows["version"]) == {niche.VERSION}
    assert rows["confidence"].drop_nulls().is_between(0, 1).all()
    assert (rows["creatives"] > 0).all()
    assert (rows["texts"] <= rows["creatives"]).all()
    assert rows["niche"].null_count() <= 1
    assert set(rows["niche"].drop_nulls()) <= set(niche.NICHES)
    assert all(true.get(account) in (None, said) for account, said in rows.select("account_id", "niche").iter_rows() if said)


def test_a_second_run_reads_nothing_and_new_creatives_are_read(world: World):
    assert find_niches(world.store, world.settings).read == 0
    result = world.run(DAY, "creative_dna", replaying=True)
    shown = metadata(result, "creative_dna")
    assert shown["niches_read"] == 0
    assert shown["niches_known"] + shown["niches_unknown"] == 4
    assert "local" in shown["niches"]
    before = world.table("account_niches")
    one = world.table("creative_dna").head(1)
    world.store.tables.upsert("creative_dna", one.with_columns(creative_id=pl.lit("new"), text=pl.lit("More of it.")))
    account = one["account_id"].item()
    assert due_accounts(world.store)["account_id"].to_list() == [account]
    world.store.tables.upsert("account_niches", before.with_columns(pl.col("at") - timedelta(days=1)))
    assert find_niches(world.store, world.settings).read == 1
    newest = world.store.account_niches(PIPELINE)
    assert newest.height == 4
    old, new = (frame.filter(account_id=account)["creatives"].item() for frame in (before, newest))
    assert new == old + 1


def test_a_persons_word_stands_until_it_is_taken_back(world: World):
    account = world.store.accounts(PIPELINE)["account_id"][0]
    detected = world.store.account_niches(PIPELINE).filter(account_id=account)["niche"].item()
    other = "travel" if detected != "travel" else "food"
    world.store.set_niche(account, other, "Ada")
    one = world.table("creative_dna", account_id=account).head(1)
    world.store.tables.upsert("creative_dna", one.with_columns(creative_id=pl.lit("new")))
    assert find_niches(world.store, world.settings).read == 1
    said = world.store.account_niches(PIPELINE).filter(account_id=account)
    assert said.select("niche", "source", "said_by").rows() == [(other, "human", "Ada")]
    assert world.store.accounts(PIPELINE).filter(account_id=account)["niche"].item() == other
    world.store.set_niche(account, None, "Ada")
    said = world.store.account_niches(PIPELINE).filter(account_id=account)
    assert said.select("niche", "source").rows() == [(detected, "local")]


def test_an_owner_sees_the_niches_of_its_own_accounts_only(world: World):
    owners = world.store.accounts(PIPELINE)
    mine = owners["owner"][0]
    seen = world.store.account_niches(Wall(mine))["account_id"].to_list()
    assert seen == owners.filter(owner=mine)["account_id"].to_list()


def test_an_account_without_words_is_unknown(world: World):
    world.store.tables.upsert(
        "creative_dna", world.table("creative_dna").with_columns(text=pl.lit(None), embedding=pl.lit(None))
    )
    one = world.table("creative_dna").unique("account_id")
    world.store.tables.upsert("creative_dna", one.with_columns(creative_id=pl.lit("new")))
    assert find_niches(world.store, world.settings).read == 4
    found = world.store.account_niches(PIPELINE)
    assert found["niche"].null_count() == found["confidence"].null_count() == 4
    assert found["texts"].to_list() == [0] * 4


@pytest.fixture
def allowed(make_world: MakeWorld, api: MessagesApi) -> World:
    """Two accounts of two owners, the first of which allows that Claude reads its texts; read by the local classifier before."""
    llm = {"api_key": KEY, "base_url": api.url, "timeout_seconds": 5, "attempts": 1}
    world = make_world(sandbox={"accounts": 2, "ads": 6}, llm=llm)
    assert world.run(DAY, "ad_catalog", "creative_dna", replaying=True).success
    assert api.niche_bodies == []
    assert world.store.consent(first(world), TEXT_TO_CLAUDE, given=True, by="Ann")
    return world


def first(world: World) -> str:
    return str(world.source.accounts()["account_id"][0])


def said_of(world: World, account: str) -> dict[str, object]:
    return world.store.account_niches(PIPELINE).filter(account_id=account).row(0, named=True)


def test_claude_says_it_once_where_the_account_allows_it(allowed: World, api: MessagesApi):
    api.niches = [
        {"type": "travel", "confidence": 0.9},
        {"type": "food", "confidence": 0.6},
        {"type": "pets", "confidence": 1.0},
    ]
    shown = metadata(allowed.run(DAY, "creative_dna", replaying=True), "creative_dna")
    said = said_of(allowed, first(allowed))
    assert [said[name] for name in ("niche", "confidence", "second_niche", "source")] == ["travel", 0.9, "food", "llm"]
    assert said["said_by"] == allowed.settings.llm.model
    assert shown["niches_llm_usd"] == pytest.approx(200e-6)
    other = allowed.store.account_niches(PIPELINE).filter(pl.col("account_id") != first(allowed))
    assert other["source"].to_list() == ["local"]
    (body,) = api.niche_bodies
    texts = allowed.table("creative_dna", account_id=first(allowed))["text"]
    (sent,) = ads_of(body)
    assert set(sent["text"].split("\n---\n")) <= {text[:200] for text in texts}
    names = allowed.source.accounts()
    whole = " ".join(api.raw)
    assert not [one for one in (*names["account_id"], *names["name"], *names["owner"]) if one in whole]
    assert find_niches(allowed.store, allowed.settings).read == 0
    assert len(api.niche_bodies) == 1
    ledger = allowed.table("llm_calls", purpose="niche")
    assert ledger.select("status", "cost_usd_micros").rows() == [("answered", 200)]


def test_where_claude_sees_no_niche_it_is_unknown(allowed: World, api: MessagesApi):
    api.niches = [{"type": "travel", "confidence": 0.2}]
    find_niches(allowed.store, allowed.settings)
    said = said_of(allowed, first(allowed))
    assert (said["niche"], said["source"]) == (None, "llm")


def test_where_claude_fails_the_local_word_stands_and_it_is_asked_again(allowed: World, api: MessagesApi):
    before = said_of(allowed, first(allowed))
    api.faults = [fails(529, "overloaded_error")]
    found = find_niches(allowed.store, allowed.settings)
    assert dict(found.asked.status) == {"overloaded": 1}
    assert said_of(allowed, first(allowed)) == before
    poor = allowed.settings.model_copy(update={"llm": allowed.settings.llm.model_copy(update={"max_usd_per_run": 0.0})})
    assert dict(find_niches(allowed.store, poor).asked.status) == {"budget_spent": 1}
    api.niches = [{"type": "travel", "confidence": 0.9}]
    assert dict(find_niches(allowed.store, allowed.settings).asked.status) == {"answered": 1}
    assert said_of(allowed, first(allowed))["niche"] == "travel"
