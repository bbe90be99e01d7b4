"""Which ads are compared with each other."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from learning_assets.learning.experiments import ARMS, DEFINED, arms
from learning_assets.platforms.source import CATALOG

DAY = date(2026, 3, 1)


def catalog(*ads: dict[str, Any]) -> pl.DataFrame:
    common = {
        "account_id": "a",
        "campaign_id": "c",
        "status": "active",
        "budget_owner": "ad_set",
        "budget_micros": 20_000_000,
        "currency": "EUR",
        "starts_on": date(2026, 2, 1),
    }
    return pl.DataFrame([common | ad for ad in ads], schema=CATALOG)


def defined(*rows: tuple[str, str, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [("a", experiment, ad, share, date(2026, 2, 20)) for experiment, ad, share in rows], schema=DEFINED, orient="row"
    )


def campaign(*ads: str, **more: Any) -> list[dict[str, Any]]:
    """Ad sets of one campaign with one ad each, as a source tells them."""
    return [{"ad_id": ad, "ad_set_id": f"set-{ad}", "experiment_id": "c", "assignment": "delivery"} | more for ad in ads]


def test_ad_sets_of_a_campaign_with_one_ad_each_are_arms_that_a_budget_moves():
    found = arms(catalog(*campaign("1", "2")), DEFINED.to_frame())
    assert found.schema == ARMS
    assert found.select("experiment_id", "ad_id", "isolated", "origin", "budget_micros").rows() == [
        ("c", "1", True, "campaign", 20_000_000),
        ("c", "2", True, "campaign", 20_000_000),
    ]


def test_ads_of_one_ad_set_are_an_experiment_that_no_budget_parts():
    ads = [{"ad_id": ad, "ad_set_id": "s"} for ad in ("1", "2", "3")]
    paused = {"ad_id": "4", "ad_set_id": "s", "status": "paused"}
    found = arms(catalog(*ads, paused, {"ad_id": "5", "ad_set_id": "alone"}), DEFINED.to_frame())
    assert found.select("experiment_id", "ad_id", "assignment", "isolated").rows() == [
        ("s", "1", "delivery", False),
        ("s", "2", "delivery", False),
        ("s", "3", "delivery", False),
    ]


def test_a_campaigns_budget_moves_no_single_arm():
    found = arms(catalog(*campaign("1", "2", budget_owner="campaign")), DEFINED.to_frame())
    assert found["isolated"].to_list() == [False, False]


def test_an_experiment_ends_with_its_last_rival():
    ads = [*campaign("1", "2"), *campaign("3", status="paused"), *campaign("4", status="scheduled")]
    assert arms(catalog(*ads), DEFINED.to_frame())["ad_id"].to_list() == ["1", "2"]
    ads[1]["status"] = "deleted"
    assert arms(catalog(*ads), DEFINED.to_frame()).is_empty()


def test_what_a_person_defined_goes_before_what_the_account_shows():
    ads = [*campaign("1", "2", "3"), {"ad_id": "4", "ad_set_id": "x", "campaign_id": "d"}]
    found = arms(catalog(*ads), defined(("mine", "3", 0.5), ("mine", "4", 0.5), ("mine", "gone", None)))
    assert found.select("experiment_id", "ad_id", "origin", "planned_share").rows() == [
        ("c", "1", "campaign", None),
        ("c", "2", "campaign", None),
        ("mine", "3", "table", 0.5),
        ("mine", "4", "table", 0.5),
    ]
    assert found.filter(experiment_id="mine")["starts_on"].to_list() == [date(2026, 2, 20)] * 2


def test_an_imported_test_keeps_its_assignment_and_its_shares():
    found = arms(catalog(*campaign("1", "2", assignment="random", planned_share=0.5)), DEFINED.to_frame())
    assert found.select("assignment", "origin", "planned_share").unique().rows() == [("random", "imported", 0.5)]


def test_an_ad_in_two_defined_experiments_is_named():
    with pytest.raises(ValueError, match="Ad '1' of account 'a' stands in 2 experiments"):
        arms(catalog(*campaign("1", "2")), defined(("x", "1", None), ("y", "1", None)))
