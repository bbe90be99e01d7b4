"""Creative DNA: every creative is read once, again when the rules have changed, and its text stays in the house."""

from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from learning_assets.assets.creative import VERSION
from learning_assets.learning import dna, embedding
from learning_assets.store import schema
from learning_assets.store.walls import Wall
from learning_assets_tests.world import Learned, MakeWorld, World, metadata

KEY = ["account_id", "creative_id"]
DAY = date(2026, 2, 20)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(sandbox={"accounts": 2, "ads": 6})


def read(world: World, day: date) -> dg.ExecuteInProcessResult:
    result = world.run(day, "ad_catalog", "creative_dna", replaying=True)
    assert result.success
    return result


def test_every_creative_of_the_catalog_is_read(world: World):
    shown = metadata(read(world, DAY), "creative_dna")
    catalog = world.source.catalog(DAY).rows.unique(KEY).sort(KEY)
    stored = world.table("creative_dna").sort(KEY)
    assert stored.select(KEY).equals(catalog.select(KEY))
    texts = catalog.select(text=dna.text_of(pl.col("headline"), pl.col("body"), pl.col("description")))["text"]
    assert stored["text"].to_list() == texts.to_list()
    assert stored["embedding"].to_list() == embedding.to_bytes(embedding.embed(texts.to_list()))
    said = dna.extract(catalog.select(dna.CREATIVES.names()), world.settings.hooks.min_confidence)
    assert_frame_equal(stored.select(dna.DNA.names()), said.sort(KEY), check_dtypes=False)
    assert stored["first_seen"].to_list() == [DAY] * catalog.height
    assert stored["version"].unique().to_list() == [VERSION]
    assert shown["dagster/row_count"] == shown["creatives_read"] == shown["creatives_live"] == catalog.height
    assert set(world.table("creative_dna", Wall("owner_0001"))["owner"]) == {"owner_0001"}


def test_a_creative_is_read_once(world: World):
    read(world, DAY)
    before = world.table("creative_dna").sort(KEY)
    shown = metadata(read(world, DAY), "creative_dna")
    assert (shown["dagster/row_count"], shown["creatives_read"]) == (0, 0)
    assert world.table("creative_dna").sort(KEY).equals(before)
    later = DAY + timedelta(days=7)
    shown = metadata(read(world, later), "creative_dna")
    stored = world.table("creative_dna").sort(KEY)
    new = stored.join(before, on=KEY, how="anti")
    assert 0 < new.height == shown["creatives_read"] == shown["creatives_known"] - before.height
    assert new["first_seen"].unique().to_list() == [later]
    assert stored.join(before, on=KEY, how="semi").equals(before)


def test_new_rules_read_every_creative_again_and_keep_the_day_it_was_first_seen(world: World):
    read(world, DAY)
    before = world.table("creative_dna").sort(KEY)
    world.store.tables.execute(sa.update(schema.creative_dna).values(version="0", hook_types=["offer"]))
    shown = metadata(read(world, DAY + timedelta(days=1)), "creative_dna")
    listed = world.source.catalog(DAY + timedelta(days=1)).rows.unique(KEY)
    # Those that have left the catalog are read again too: patterns still look at them.
    assert shown["creatives_read"] == pl.concat([before.select(KEY), listed.select(KEY)]).unique().height
    assert world.table("creative_dna").sort(KEY).join(before, on=KEY, how="semi").equals(before)


def test_a_day_without_ads_reads_nothing(world: World):
    before = world.source.first_day()
    assert before is not None
    shown = metadata(read(world, before - timedelta(days=1)), "creative_dna")
    assert (shown["creatives_live"], shown["creatives_known"]) == (0, 0)
    assert "share_without_hook_type" not in shown
    assert world.table("creative_dna").is_empty()


def test_no_text_of_an_ad_and_no_name_stands_in_any_metadata(learned_copy: Learned):
    """The UI has no login of its own: it shows figures, ids and attribute values."""
    result = learned_copy.run(learned_copy.days[-1])
    assert result.success
    said = " ".join(
        str(value.value)
        for event in result.get_asset_materialization_events()
        for value in event.materialization.metadata.values()
    )
    said += " ".join(str(evaluation) for evaluation in result.get_asset_check_evaluations())
    assert "4000001" in said
    catalog = learned_copy.store.lake.read("ad_catalog", learned_copy.days[-1])
    secret = [*catalog["headline"], *catalog["body"], *learned_copy.source.accounts()["name"]]
    assert not [text for text in secret if text and text in said]
