"""Suggestions: only what the evidence carries, only what can be done, one at a time; next to none where nothing is true."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from learning_assets.learning import formula, lift, suggestions
from learning_assets.settings import Formula, Patterns
from learning_assets_tests.learning.test_formula import CARRIED, DAY, market

RULES = Formula()
ATTRIBUTES = ("hook_types", "cta", "has_question", "offer", "percent_off_band", "template")


def pattern(attribute: str, value: str, log_lift: float, half: float = 0.05, **more: Any) -> dict[str, Any]:
    """An active pattern over all accounts on CTR."""
    base = {
        "scope": "all",
        "attribute": attribute,
        "value": value,
        "metric": "ctr",
        "evidence": "observational",
        "log_lift": log_lift,
        "low": log_lift - half,
        "high": log_lift + half,
        "q_value": 0.01,
        "shrunk_log_lift": log_lift,
        "shrunk_low": log_lift - half,
        "shrunk_high": log_lift + half,
        "ads_with": 30,
        "ads_without": 70,
        "accounts": 12,
        "impressions": 100_000,
        "status": "active",
    }
    return base | more


def patterns(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={**lift.FOUND, **lift.STATE})


def told(attribute: str, value: str, log_odds: float, q: float = 0.01, half: float = 0.2, scope: str = "all") -> dict[str, Any]:
    """A row of a formula."""
    return {
        "scope": scope,
        "kind": "choice",
        "status": "learned",
        "attribute": attribute,
        "value": value,
        "winners_with": 9,
        "winners": 20,
        "losers_with": 5,
        "losers": 40,
        "log_odds": log_odds,
        "low": log_odds - half,
        "high": log_odds + half,
        "q_value": q,
    }


def formulas(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=formula.FORMULA)


NOTHING = formulas()


def differing(between: float) -> pl.DataFrame:
    """A formula that says no more than how much accounts differ."""
    own = pl.DataFrame([{"scope": "all", "kind": "scope", "status": "learned"}], schema=formula.FORMULA)
    return own.with_columns(pl.lit(between).alias(name) for name in suggestions.BETWEEN)


def suggest(
    creative: dict[str, Any], known: pl.DataFrame, won: pl.DataFrame = NOTHING, rules: Formula = RULES
) -> list[dict[str, Any]]:
    return suggestions.suggest(creative, won, known, ATTRIBUTES, rules).to_dicts()


def one(*arguments: Any) -> dict[str, Any]:
    (found,) = suggest(*arguments)
    return found


def test_a_value_that_lifts_is_added_to_a_list_with_all_that_stands_behind_it():
    found = one(
        {"hook_types": ["story"]}, patterns(pattern("hook_types", "ugc", 0.2)), formulas(told("hook_types", "ugc", 1.0))
    )
    assert (found["action"], found["from_value"], found["to_value"]) == ("add", None, "ugc")
    assert (found["log_lift"], found["low"], found["high"]) == pytest.approx((0.2, 0.15, 0.25))


def test_a_change_is_from_what_the_creative_has():
    """Two values of one attribute: what one lifts, the other lowers, and the change between them is the lift itself."""
    both = patterns(
        pattern("cta", "SHOP_NOW", 0.2, ads_with=30, ads_without=70),
        pattern("cta", "LEARN_MORE", -0.2, ads_with=70, ads_without=30),
    )
    found = one({"cta": "LEARN_MORE"}, both)
    assert (found["action"], found["from_value"], found["to_value"]) == ("change", "LEARN_MORE", "SHOP_NOW")
    assert (found["log_lift"], found["low"], found["high"]) == pytest.approx((0.2, 0.15, 0.25))
    assert suggest({"cta": "SHOP_NOW"}, both) == []


def test_a_value_that_is_as_good_already_is_not_changed():
    close = patterns(pattern("cta", "SHOP_NOW", 0.20), pattern("cta", "SIGN_UP", 0.18, status="testing", q_value=0.4))
    assert suggest({"cta": "SIGN_UP"}, close) == []
    assert one({"cta": "BOOK_NOW"}, close)["to_value"] == "SHOP_NOW"


def test_what_is_not_known_is_chosen_and_what_lowers_is_dropped():
    known = patterns(pattern("cta", "SHOP_NOW", 0.2), pattern("hook_types", "story", -0.3))
    drop, choose = suggest({"hook_types": ["story", "ugc"], "cta": None}, known)
    assert (drop["action"], drop["from_value"], drop["to_value"], drop["log_lift"]) == ("drop", "story", None, 0.3)
    assert (choose["action"], choose["to_value"]) == ("choose", "SHOP_NOW")
    assert [row["action"] for row in suggest({}, known)] == ["choose"]
    leave = one({"template": "video"}, patterns(pattern("template", "video", -0.2)))
    assert (leave["action"], leave["from_value"], leave["to_value"]) == ("leave", "video", None)


def test_what_the_evidence_does_not_carry_is_not_suggested():
    for doubt in (
        {"status": "testing"},
        {"status": "deprecated"},
        {"q_value": 0.2},
        {"q_value": None},
        {"shrunk_low": -0.01},
        {"shrunk_log_lift": None},
        {"value": "unknown"},
        {"attribute": "cta × template"},
        {"attribute": "posting_hour"},
    ):
        assert suggest({}, patterns(pattern("cta", "SHOP_NOW", 0.2) | doubt)) == [], doubt


def test_winners_carry_a_value_whose_pattern_is_still_in_testing():
    young = patterns(pattern("cta", "SHOP_NOW", 0.2, status="testing", q_value=0.3))
    assert suggest({}, young, formulas(told("cta", "SHOP_NOW", 1.0, q=0.3))) == []
    assert suggest({}, young, formulas(told("cta", "SHOP_NOW", 1.0, scope="account"))) == []
    assert one({}, young, formulas(told("cta", "SHOP_NOW", 1.0)))["winners_with"] == 9


def test_what_speaks_against_it_silences_it():
    lifts = pattern("cta", "SHOP_NOW", 0.2)
    assert suggest({}, patterns(lifts, pattern("cta", "SHOP_NOW", -0.2, metric="roas"))) == []
    assert suggest({}, patterns(lifts), formulas(told("cta", "SHOP_NOW", -1.0))) == []
    own = pattern("cta", "SHOP_NOW", -0.2, scope="account", status="testing", q_value=0.5)
    assert suggest({}, patterns(lifts, own), differing(0.1)) == []


def test_an_accounts_own_lift_is_drawn_towards_the_common_one():
    """The posterior of a normal mean: error and the difference between accounts weigh the two."""
    own, wide = pattern("cta", "SHOP_NOW", 0.5, half=0.196, scope="account"), pattern("cta", "SHOP_NOW", 0.15, half=0.098)
    found = one({}, patterns(own, wide), differing(0.12))
    common, error = 0.05**2 + 0.12**2, 0.1**2
    weight = common / (common + error)
    half = 1.96 * (weight * error) ** 0.5
    expected = 0.15 + weight * 0.35
    assert (found["log_lift"], found["low"], found["high"]) == pytest.approx(
        (expected, expected - half, expected + half), abs=1e-4
    )
    assert found["scope"] == "account"
    alone = one({}, patterns(wide), differing(0.02))
    assert (alone["high"] - alone["low"]) / 2 == pytest.approx(1.96 * (0.05**2 + 0.02**2) ** 0.5, abs=1e-4)
    assert suggest({}, patterns(wide), differing(0.3)) == [], "what holds on average may not hold here"


def test_an_accounts_lucky_find_is_not_suggested_where_others_do_not_have_it():
    own = pattern("cta", "SHOP_NOW", 0.3, half=0.2, scope="account")
    silent = pattern("cta", "SHOP_NOW", 0.0, half=0.03, status="testing", q_value=0.9)
    assert one({}, patterns(own))["log_lift"] == pytest.approx(0.3)
    assert suggest({}, patterns(own, silent), differing(0.02)) == []
    assert suggest({}, patterns(own, silent)) == [], "how much accounts differ is not known"
    assert one({}, patterns(own, silent), differing(0.5))["log_lift"] == pytest.approx(0.3, abs=0.03)


def test_arms_that_were_drawn_go_first():
    drawn = pattern("cta", "SHOP_NOW", 0.3, half=0.2, evidence="randomized")
    assert one({}, patterns(pattern("cta", "SHOP_NOW", 0.1), drawn))["evidence"] == "randomized"


@pytest.mark.parametrize(
    ("creative", "attribute", "value"),
    [
        ({"hook_types": ["question"], "has_question": "yes"}, "has_question", "no"),
        ({"hook_types": ["offer"], "offer": "yes"}, "offer", "no"),
        ({"percent_off_band": "20_to_39", "offer": "yes"}, "offer", "no"),
    ],
)
def test_what_denies_what_the_creative_keeps_is_no_suggestion(creative: dict[str, Any], attribute: str, value: str):
    known = patterns(pattern(attribute, value, 0.3))
    assert suggest(creative, known) == []
    assert one({}, known)["to_value"] == value


def test_values_that_come_together_are_suggested_once():
    known = patterns(
        pattern("hook_types", "question", 0.2),
        pattern("has_question", "yes", 0.3),
        pattern("offer", "yes", 0.1),
        pattern("percent_off_band", "40_up", 0.15),
        pattern("cta", "SHOP_NOW", 0.12),
        pattern("cta", "SIGN_UP", 0.11),
    )
    creative = {"hook_types": ["story"], "has_question": "no", "offer": "no", "percent_off_band": "none", "cta": "BOOK_NOW"}
    assert [(row["attribute"], row["to_value"]) for row in suggest(creative, known)] == [
        ("has_question", "yes"),
        ("percent_off_band", "40_up"),
        ("cta", "SHOP_NOW"),
    ]


def test_the_surest_gain_comes_first_and_the_list_ends():
    known = patterns(*(pattern("hook_types", f"h{n}", 0.1 + 0.01 * n, half=0.02 * (n % 3 + 1)) for n in range(9)))
    found = suggest({"hook_types": ["story"]}, known)
    assert len(found) == RULES.suggestions
    assert [row["low"] for row in found] == sorted((row["low"] for row in found), reverse=True)


def learned(sums: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Formulas and patterns of every account, and over all."""
    with_counts = sums.with_columns(conversions=pl.lit(None, pl.Int64))
    mined = [lift.mine(with_counts, CARRIED[:3], Patterns(), scope) for scope in ("account", "all")]
    judged = formula.judge(sums, CARRIED, DAY, RULES)
    known = lift.advance(None, pl.concat(mined), DAY, Patterns())
    own, pooled = (formula.mine(judged, CARRIED[:3], [], RULES, scope) for scope in ("account", "all"))
    apart = suggestions.between_accounts(known, "all", RULES)
    won = [own, pooled.with_columns(pl.lit(apart[name], pl.Float64).alias(name) for name in suggestions.BETWEEN)]
    return pl.concat(won, how="diagonal"), known


def asked(sums: pl.DataFrame) -> list[pl.DataFrame]:
    """Suggestions for one creative of every account."""
    won, known = learned(sums)
    found: list[pl.DataFrame] = []
    for (account,), ads in sums.sort("ad_id").group_by("account_id", maintain_order=True):
        mine = (pl.col("scope") == "all") | (pl.col("account_id") == account)
        found.append(suggestions.suggest(ads.row(0, named=True), won.filter(mine), known.filter(mine), CARRIED[:3], RULES))
    return found


def test_next_to_none_is_suggested_where_nothing_is_true():
    found = [frame for seed in range(3) for frame in asked(market(400 + seed, accounts=20, ads=40))]
    assert np.mean([frame.height > 0 for frame in found]) <= 0.03


def test_what_is_true_is_suggested_with_an_interval_that_holds_it():
    found = pl.concat(asked(market(500, accounts=20, ads=40, effect=0.4)))
    gains = found.filter(attribute="hook", to_value="h0")
    assert gains.height > 8
    assert gains.select((pl.col("low") < 0.4).mean()).item() > 0.9
    assert gains.select((pl.col("high") > 0.4).mean()).item() > 0.9
    assert found.filter(pl.col("attribute") != "hook").height <= 0.1 * found.height


@pytest.mark.parametrize("truth", [0.0, 0.1, 0.3])
def test_how_much_accounts_differ_is_found(truth: float):
    rng = np.random.default_rng(5)
    errors, common = rng.uniform(0.05, 0.25, 600), rng.normal(0, 0.2, 20)
    lifts = common[np.arange(600) % 20] + rng.normal(0, np.sqrt(truth**2 + errors**2))
    rows = [
        pattern("cta", f"v{n % 20}", float(lifts[n]), scope="account", account_id=f"a{n // 20}", se=float(errors[n]))
        for n in range(600)
    ]
    wide = [pattern("cta", f"v{n}", float(common[n])) for n in range(20)]
    found = suggestions.between_accounts(patterns(*rows, *wide), "all", RULES)
    assert found["between_ctr"] == pytest.approx(truth, abs=0.04)
    assert found["between_roas"] is None


@hypothesis_settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_whatever_is_known_a_suggestion_is_carried_and_possible(seed: int):
    rng = np.random.default_rng(seed)
    values = {
        "hook_types": ("question", "story", "offer"),
        "cta": ("SHOP_NOW", "SIGN_UP"),
        "has_question": ("yes", "no"),
        "offer": ("yes", "no"),
    }
    rows = [
        pattern(
            name,
            value,
            float(rng.normal(0, 0.3)),
            float(rng.uniform(0.01, 0.4)),
            scope=scope,
            metric=metric,
            q_value=float(rng.uniform()) ** 2,
        )
        | {"status": str(rng.choice(["active", "testing", "deprecated"]))}
        for name, listed in values.items()
        for value in listed
        for scope in ("account", "all")
        for metric in ("ctr", "roas")
    ]
    creative = {name: str(rng.choice(listed)) for name, listed in values.items()} | {
        "hook_types": [str(rng.choice(values["hook_types"]))]
    }
    known = patterns(*rows)
    won = differing(float(rng.uniform(0, 0.3)))
    found = suggestions.suggest(creative, won, known, tuple(values), RULES)
    assert_frame_equal(
        suggestions.suggest(creative, won, known.sample(fraction=1, shuffle=True, seed=seed), tuple(values), RULES), found
    )
    for row in found.iter_rows(named=True):
        value = row["to_value"] or row["from_value"]
        carrying = known.filter(
            attribute=row["attribute"], value=value, scope=row["scope"], metric=row["metric"], status="active"
        )
        assert carrying["q_value"].item() <= RULES.q_level
        assert row["low"] > 0
        assert row["low"] <= row["log_lift"] <= row["high"]
        has = creative[row["attribute"]]
        assert (value in has if isinstance(has, list) else value == has) == (row["action"] in ("drop", "leave"))
        assert not (row["to_value"] == "no" and row["attribute"] == "has_question" and creative["hook_types"] == ["question"])
