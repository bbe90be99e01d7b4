"""The simulated market behind the protocol of a source."""

from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, MANIFEST, REACH, Source
from learning_assets.settings import Sandbox

EPOCH = date(2026, 3, 1)


def sandbox(**chosen: int) -> SandboxSource:
    return SandboxSource(Sandbox.model_validate({"accounts": 4, "ads": 10, **chosen}), EPOCH)


def test_answers_have_the_protocols_schemas():
    source: Source = sandbox()
    fetched = source.actuals(EPOCH, EPOCH, EPOCH)
    assert source.accounts().schema == ACCOUNTS
    assert source.catalog(EPOCH).rows.schema == CATALOG
    assert fetched.rows.schema == ACTUALS
    assert fetched.manifest.schema == MANIFEST
    assert (source.kind, source.cadence) == ("sandbox", "day")
    people = source.reach(EPOCH - timedelta(days=6), EPOCH)
    assert (people.rows.schema, people.manifest.schema) == (REACH, MANIFEST)
    assert people.rows["days"].unique().to_list() == [7]
    assert people.manifest.select("date", "fact", "status").unique().rows() == [(EPOCH, "reach", "complete")]
    before = source.reach(date(2025, 1, 1), date(2025, 1, 7))
    assert (before.rows.schema, before.rows.height, before.manifest["status"].unique().to_list()) == (REACH, 0, ["no_data"])


def test_settings_make_the_market():
    source = sandbox(impressions=5_000, seed=3)
    assert source.accounts()["consents"].to_list() == [True] * 4
    fetched = source.actuals(EPOCH, EPOCH + timedelta(days=6), EPOCH + timedelta(days=6))
    assert fetched.rows.height == 4 * 10 * 7
    assert fetched.rows["impressions"].mean() == pytest.approx(5_000, rel=0.25)
    other = sandbox(impressions=5_000, seed=4).actuals(EPOCH, EPOCH, EPOCH).rows
    assert other["link_clicks"].sum() != fetched.rows.filter(pl.col("date") == EPOCH)["link_clicks"].sum()


def test_history_begins_before_the_epoch_and_no_earlier():
    source = sandbox(history_days=60)
    first = source.first_day()
    assert first == date(2025, 12, 31)
    assert source.catalog(first).rows.height >= 40
    before = first - timedelta(days=1)
    assert source.catalog(before).rows.is_empty()
    assert source.catalog(before).rows.schema == CATALOG
    fetched = source.actuals(before, before, EPOCH)
    assert fetched.rows.is_empty()
    assert fetched.rows.schema == ACTUALS
    assert fetched.manifest["status"].to_list() == ["no_data"] * 4
    across = source.actuals(before, first, EPOCH).rows
    assert across["date"].unique().to_list() == [first]


def test_yesterday_is_the_newest_day():
    assert sandbox().last_day(EPOCH) == date(2026, 2, 28)


def test_the_manifest_reconciles_with_the_rows():
    fetched = sandbox().actuals(EPOCH, EPOCH + timedelta(days=2), EPOCH + timedelta(days=2))
    rows = fetched.rows.group_by("account_id", "date").agg(pl.len().cast(pl.Int64).alias("rows"), pl.col("spend_micros").sum())
    told = fetched.manifest.select("account_id", "date", "rows", "spend_micros")
    assert_frame_equal(told, rows, check_row_order=False)
    assert fetched.manifest["status"].to_list() == ["complete"] * 12
    assert fetched.manifest["account_spend_micros"].equals(fetched.manifest["spend_micros"])
    assert fetched.manifest["reason"].null_count() == 12
    assert (fetched.manifest["seconds"] > 0).all()


def test_a_day_that_has_not_ended_has_no_data():
    source = sandbox()
    fetched = source.actuals(EPOCH + timedelta(days=1), EPOCH + timedelta(days=1), EPOCH)
    assert fetched.rows.is_empty()
    assert fetched.manifest["reason"].to_list() == ["the market has nothing on 2026-03-02"] * 4


def test_every_ad_with_delivery_is_in_the_catalog_and_was_announced():
    source = sandbox()
    for number in range(30):
        today = EPOCH + timedelta(days=number)
        catalog, yesterdays = source.catalog(today).rows, source.catalog(today - timedelta(days=1)).rows
        assert not catalog.select("account_id", "ad_id").is_duplicated().any()
        delivered = source.actuals(today, today, today).rows
        live = catalog.filter(pl.col("status") != "scheduled")
        assert set(delivered["ad_id"]) == set(live["ad_id"])
        assert set(live["ad_id"]) <= set(yesterdays["ad_id"])
        assert delivered.join(catalog, on=["account_id", "ad_id", "currency"]).height == delivered.height
