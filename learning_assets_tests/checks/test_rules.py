"""Rules: each holds on good rows, and where it is broken says how many rows, which is the first and what to do."""

import math
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.checks import rules
from learning_assets.checks.rules import Broken, Rule
from learning_assets.platforms.source import ACTUALS, MANIFEST

DAY = date(2026, 2, 1)


def actuals(*changes: dict) -> pl.DataFrame:
    """One sound row per argument, with its changes."""
    sound = {
        "date": DAY,
        "account_id": "a",
        "impressions": 100,
        "link_clicks": 5,
        "conversions": 1,
        "spend_micros": 2_000_000,
        "revenue_micros": None,
        "video_3s_views": None,
        "reach": 80,
        "currency": "EUR",
        "is_final": False,
    }
    return pl.DataFrame([sound | {"ad_id": str(number)} | change for number, change in enumerate(changes)], schema=ACTUALS)


def manifest(**spend: int | None) -> pl.DataFrame:
    rows = [dict.fromkeys(MANIFEST) | {"account_id": account, "account_spend_micros": told} for account, told in spend.items()]
    return pl.DataFrame(rows, schema=MANIFEST)


KEY = rules.unique_key(("account_id", "ad_id"))
SCHEMA = rules.has_schema(ACTUALS)
SPEND = rules.spend_reconciles(manifest(a=2_000_000, b=None), 0.005)
FACTS: dict[str, Rule] = {
    "schema": SCHEMA,
    "key": KEY,
    "negatives": rules.no_negatives,
    "clicks": rules.clicks_within_impressions,
    "dated": rules.dated_inside,
    "spend": SPEND,
    "finite": rules.numbers_are_finite,
    "bounds": rules.within({"impressions": (0, 100)}),
}


@pytest.mark.parametrize("rule", FACTS.values(), ids=FACTS)
def test_every_rule_holds_on_sound_rows(rule: Rule):
    assert rule(actuals({}), DAY) is None


@pytest.mark.parametrize(
    "rule", [rule for name, rule in FACTS.items() if name != "spend"], ids=[n for n in FACTS if n != "spend"]
)
def test_every_rule_but_that_of_spend_holds_on_a_day_without_rows(rule: Rule):
    assert rule(actuals(), DAY) is None


@pytest.mark.parametrize(
    "column", ["impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros", "video_3s_views", "reach"]
)
def test_what_is_unknown_breaks_nothing(column: str):
    """NULL is neither negative, nor above its parent count, nor infinite."""
    for rule in (rules.no_negatives, rules.clicks_within_impressions, rules.numbers_are_finite, FACTS["bounds"]):
        assert rule(actuals({column: None}), DAY) is None


def test_a_doubled_ad_is_named():
    broken = KEY(actuals({}, {"ad_id": "7"}, {"ad_id": "7"}), DAY)
    assert broken == Broken(
        2, "2026-02-01: account_id a, ad_id 7 appears more than once. The platform's answer was doubled: fetch the day again."
    )
    assert KEY(actuals({"ad_id": "7"}, {"ad_id": "7", "account_id": "b"}), DAY) is None


def test_a_key_with_unknown_parts_is_still_a_key():
    rows = pl.DataFrame(
        {"account_id": [None, None, "a"], "segment": ["all", "all", "all"]}, schema_overrides={"account_id": pl.String}
    )
    broken = rules.unique_key(("account_id", "segment"))(rows, DAY)
    assert broken is not None
    assert broken.rows == 2


@pytest.mark.parametrize("column", ["impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros", "reach"])
def test_a_negative_is_named_with_its_column(column: str):
    broken = rules.no_negatives(actuals({}, {column: -3}, {column: -1}), DAY)
    assert broken == Broken(
        2, f"2026-02-01: account_id a, ad_id 1: {column} is -3. Correct it at the source and fetch the day again."
    )


def test_more_clicks_than_impressions_are_named():
    broken = rules.clicks_within_impressions(actuals({"link_clicks": 100}, {"link_clicks": 101}), DAY)
    assert broken == Broken(
        1,
        "2026-02-01: account_id a, ad_id 1: 101 link clicks on 100 impressions. Check which click column the source reads, and fetch the day again.",
    )


def test_a_row_of_another_day_is_named():
    broken = rules.dated_inside(actuals({}, {"date": date(2026, 1, 31)}, {"date": None}), DAY)
    assert broken == Broken(2, "2026-02-01: account_id a, ad_id 1 is dated 2026-01-31. Fetch the day again.")


@pytest.mark.parametrize(
    "wrong",
    [
        actuals({}).drop("reach"),
        actuals({}).with_columns(extra=1),
        actuals({}).cast({"impressions": pl.Float64}),
    ],
    ids=["missing", "extra", "type"],
)
def test_other_columns_than_declared_are_named(wrong: pl.DataFrame):
    broken = SCHEMA(wrong, DAY)
    assert broken is not None
    assert broken.rows == 1
    name = next(iter({*wrong.schema.items()} ^ {*ACTUALS.items()}))[0]
    assert f"'{name}'" in broken.says
    assert broken.says.endswith("Materialize the day again with this version.")


def test_spend_that_does_not_reconcile_is_named_with_both_sums():
    rule = rules.spend_reconciles(manifest(a=2_020_000, b=4_000_000), 0.005)
    broken = rule(actuals({}, {"account_id": "b", "spend_micros": 4_000_000}), DAY)
    assert broken == Broken(
        1,
        "2026-02-01: account a: its ads spent 2.00, the account 2.02; more than 0.5% apart. Ads are missing or doubled: fetch the day again.",
    )


def test_an_account_whose_ads_are_all_missing_does_not_reconcile():
    broken = SPEND(actuals({"account_id": "b"}), DAY)
    assert broken is not None
    assert "account a: its ads spent 0.00, the account 2.00" in broken.says


@given(st.integers(1, 10**12), st.floats(-0.02, 0.02))
def test_spend_reconciles_within_half_a_percent_of_the_account(whole: int, apart: float):
    parts = round(whole * (1 + apart))
    broken = rules.spend_reconciles(manifest(a=whole), 0.005)(actuals({"spend_micros": parts}), DAY)
    assert (broken is None) == (abs(parts - whole) <= 0.005 * whole)


def test_an_account_that_does_not_say_what_it_spent_is_not_judged():
    assert rules.spend_reconciles(manifest(a=None), 0.005)(actuals({"spend_micros": 10**9}), DAY) is None
    assert rules.spend_reconciles(manifest(), 0.005)(actuals({}), DAY) is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_named_with_its_column(number: float):
    rows = pl.DataFrame({"a": [0.5, None, 1.0], "b": [0.5, number, None]})
    broken = rules.numbers_are_finite(rows, DAY)
    assert broken == Broken(1, f"2026-02-01: column b holds {number}. What is unknown must be NULL.")


def test_bounds_are_included_and_named():
    rule = rules.within({"q": (0, 1)})
    assert rule(pl.DataFrame({"q": [0.0, 1.0, None]}), DAY) is None
    assert rule(pl.DataFrame({"q": [0.5, 1.25, -1.0]}), DAY) == Broken(2, "2026-02-01: q is 1.25, outside 0 to 1.")


def test_a_relationship_that_ends_nowhere_is_named():
    rows = pl.DataFrame({"relationship_id": ["r", "s"], "kind": "measures", "source_id": ["a", "b"], "target_id": ["b", "c"]})
    assert rules.ends_are_there(pl.DataFrame({"node_id": ["a", "b", "c"]}))(rows, DAY) is None
    assert rules.ends_are_there(pl.DataFrame({"node_id": ["a", "b"]}))(rows, DAY) == Broken(
        1,
        "2026-02-01: relationship_id s, kind measures ends at a node that is not in force. Learn the day again: "
        "learning-assets replay --from 2026-02-01",
    )


def test_a_cause_without_random_arms_is_named():
    rows = pl.DataFrame(
        {"relationship_id": ["r", "s"], "attribute": "cta", "value": ["A", "B"], "evidence": ["randomized", "observational"]}
    )
    assert rules.causes_are_random(rows.with_columns(kind=pl.lit("correlates")), DAY) is None
    broken = rules.causes_are_random(rows.with_columns(kind=pl.lit("causes")), DAY)
    assert broken is not None
    assert broken.says.startswith(
        "2026-02-01: relationship_id s, attribute cta, value B is said to cause, on observational evidence."
    )
