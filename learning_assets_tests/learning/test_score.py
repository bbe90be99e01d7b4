"""The score: it finds what tells later ads apart, says so when nothing does, and keeps what it says."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.learning import formula, score
from learning_assets.settings import Formula

RULES = Formula()
SUNDAY, WEEKS = date(2026, 1, 4), 12
HOOKS, TYPES = ("h0", "h1", "h2", "h3"), ("t0", "t1", "t2")
ATTRIBUTES = ("hook", "types")
EFFECTS = {"h0": 0.5, "h1": -0.3, "h2": 0.0, "h3": -0.2}


def market(seed: int, accounts: int = 10, ads: int = 40, size: float = 1.0) -> pl.DataFrame:
    """Ads that start in some week and go on; a hook lifts the rate by `size` times EFFECTS, the first of the types by 0.3 times it."""
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), ads)
    n = account.size
    hook, first = rng.integers(0, 4, n), rng.integers(0, WEEKS - 1, n)
    has = rng.uniform(size=(n, 3)) < 0.4
    level = rng.normal(0, 0.4, accounts)[account] + rng.normal(0, 0.3, n)
    level = level + size * (np.array(list(EFFECTS.values()))[hook] + 0.3 * has[:, 0])
    rows: list[dict[str, Any]] = []
    for ad in range(n):
        for week in range(first[ad], WEEKS):
            shown = int(rng.poisson(4_000)) + 1
            rows.append(
                {
                    "owner": f"owner {account[ad]}",
                    "account_id": f"a{account[ad]}",
                    "ad_id": f"ad {ad}",
                    "week": SUNDAY + timedelta(days=7 * week),
                    "impressions": shown,
                    "link_clicks": int(rng.binomial(shown, min(0.02 * np.exp(level[ad]), 1))),
                    "hook": HOOKS[hook[ad]],
                    "types": [name for name, one in zip(TYPES, has[ad], strict=True) if one] or ["unknown"],
                }
            )
    unknown = {name: pl.lit(None, pl.Int64) for name in ("spend_micros", "revenue_micros")}
    return pl.DataFrame(rows).with_columns(
        fingerprint=pl.lit(None, pl.String), experiment_id=pl.lit(None, pl.String), **unknown
    )


def learn(sums: pl.DataFrame, account_ids: list[str] | None = None, **more: Any) -> tuple[score.Model | None, score.Validation]:
    return score.learn(score.history(sums, ATTRIBUTES, RULES), RULES, account_ids, **more)


def known(model: score.Model | None) -> score.Model:
    assert model is not None
    return model


def test_weights_are_the_effects_and_the_slope_is_right():
    model, validation = learn(market(1))
    weights = {
        (name, value): weight for name, value, weight in known(model).weights.select("attribute", "value", "weight").rows()
    }
    assert weights["hook", "h0"] - weights["hook", "h1"] == pytest.approx(0.8, abs=0.15)
    assert weights["types", "t0"] > 0.1
    assert known(model).spread == pytest.approx(0.3, abs=0.06)
    assert not validation.says_nothing
    assert validation.earlier_ads == 400
    assert validation.later_ads > 150
    assert validation.spearman is not None
    assert validation.spearman > 0.5
    assert validation.slope_low is not None
    assert validation.slope_high is not None
    assert 0 < validation.slope_low < 1 < validation.slope_high
    assert validation.brier is not None
    assert validation.brier < 0.22
    assert validation.brier_base == 0.25
    assert validation.reason.startswith("The score told later ads apart: slope")


def conversions(seed: int, size: float) -> pl.DataFrame:
    """Conversions of the market's clicks at 10 %, which the hooks lift in the opposite way; half of the last week's are known."""
    sums = market(seed, size=0.0)
    rng = np.random.default_rng(seed)
    lift = sums["hook"].replace_strict(EFFECTS, return_dtype=pl.Float64).to_numpy()
    known = np.where(sums["week"].to_numpy() == sums["week"].max(), 0.5, 1.0)
    exposed = sums["link_clicks"].to_numpy() * known
    return sums.with_columns(
        clicks_exposed=pl.Series(exposed), conversions=pl.Series(rng.poisson(0.1 * np.exp(-size * lift) * exposed))
    )


def test_any_rate_has_weights_of_its_own():
    units = formula.units(conversions(3, 1.0), ATTRIBUTES, "conversions", "clicks_exposed")
    weights = (
        known(score.learn_rates(units, ATTRIBUTES, RULES)).weights.filter(attribute="hook").sort("value")["weight"].to_list()
    )
    assert weights[1] - weights[0] == pytest.approx(0.8, abs=0.2)
    types = known(score.learn_rates(units, ATTRIBUTES, RULES)).weights.filter(attribute="types")["weight"]
    assert types.abs().max() < 0.1, "types lift clicks only"  # type: ignore[operator]


def test_a_rate_of_which_too_little_is_known_has_none():
    units = formula.units(conversions(4, 1.0), ATTRIBUTES, "conversions", "clicks_exposed")
    assert score.learn_rates(units.with_columns(expected=4.9), ATTRIBUTES, RULES) is None
    assert score.learn_rates(units.head(RULES.min_scored - 1), ATTRIBUTES, RULES) is None
    one_owner = units.with_columns(owner=pl.lit("me"))
    assert known(score.learn_rates(one_owner, ATTRIBUTES, RULES, min_owners=2)).weights.is_empty()


def test_probabilities_are_those_of_ads_that_come_later():
    """A model of the first weeks scores ads of other weeks, whose true levels it never saw: of those said 70 %, 70 % beat the median."""
    said, beat = [], []
    for seed in range(4):
        past = market(seed)
        model, validation = learn(past)
        new = market(seed + 100)
        true = formula.units(new, ATTRIBUTES)
        scores = score.score(true, known(model), validation)["score"].to_numpy() / 100
        said.append(scores)
        beat.append((true["log_ratio"] > true.select(pl.col("log_ratio").median().over("account_id"))["log_ratio"]).to_numpy())
    chance, won = np.concatenate(said), np.concatenate(beat)
    for low, high in ((0.0, 0.3), (0.3, 0.45), (0.55, 0.7), (0.7, 1.0)):
        inside = (chance >= low) & (chance < high)
        assert inside.sum() > 80
        assert won[inside].mean() == pytest.approx(chance[inside].mean(), abs=0.12)


def test_without_effects_it_says_so_and_gives_no_score():
    told = [learn(market(seed, size=0.0, accounts=6))[1] for seed in range(10)]
    assert sum(not one.says_nothing for one in told) <= 1
    model, validation = learn(market(3, size=0.0, accounts=6))
    assert validation.says_nothing
    scores = score.score(pl.DataFrame({"hook": ["h0", "h1"]}), model, validation)
    assert scores.null_count().row(0) == (2, 2, 2)
    assert validation.reason.startswith(("The attributes did not tell", "The score did not tell"))


def test_few_ads_are_said():
    model, validation = learn(market(4, accounts=1, ads=20))
    assert model is None
    assert validation.reason == f"{validation.earlier_ads} ads have 1,000 impressions; 30 are needed for a score."
    assert "later ads can be compared" in learn(market(4, accounts=1, ads=40))[1].reason


def test_what_happens_later_does_not_change_what_was_said_before():
    """The models of the blocks see nothing of the weeks and ads that they are checked on."""
    sums = market(5)
    cut = score.history(sums, ATTRIBUTES, RULES).before[0][0]
    later = pl.col("week") >= cut
    changed = sums.with_columns(link_clicks=pl.when(later).then(pl.col("link_clicks") // 3).otherwise("link_clicks"))
    first, second = (score.history(one, ATTRIBUTES, RULES).before[0][1].frame for one in (sums, changed))
    assert_frame_equal(first, second)
    assert (first["first_week"] < cut).all()


def test_a_score_is_against_the_accounts_own_habits():
    model, validation = learn(market(6))
    creative = pl.DataFrame({"hook": ["h0"]})
    usual = pl.DataFrame({"attribute": ["hook"], "value": ["h0"], "share": [1.0]})
    rare = usual.with_columns(share=pl.lit(0.0))
    same, better = (score.score(creative, model, validation, shares)["score"].item() for shares in (usual, rare))
    assert same == pytest.approx(50, abs=8)
    assert better > 60


def test_bounds_hold_the_score_and_unknown_attributes_are_the_average():
    model, validation = learn(market(7))
    creatives = pl.DataFrame({"hook": ["h0", "h1", None, "never seen"], "types": [["t0"], None, None, ["unknown"]]})
    scores = score.score(creatives, model, validation)
    assert scores.select((pl.col("score_low") <= pl.col("score")) & (pl.col("score") <= pl.col("score_high"))).to_series().all()
    assert scores["score"][0] > 60 > 40 > scores["score"][1]
    assert scores["score"][2] == pytest.approx(50)


def test_values_of_few_owners_carry_no_weight():
    sums = market(8).with_columns(hook=pl.when(account_id="a0", hook="h0").then(pl.lit("ours")).otherwise("hook"))
    model, _ = learn(sums, min_owners=5)
    assert "ours" not in known(model).weights["value"]
    assert "ours" in known(learn(sums)[0]).weights["value"]


def test_accounts_are_learned_alone_as_if_there_were_no_others():
    sums = market(9, accounts=3, ads=150)
    one = learn(sums.filter(account_id="a1"))
    same = learn(sums, ["a1"])
    assert one[1] == same[1]
    assert_frame_equal(known(one[0]).weights, known(same[0]).weights)


def test_order_changes_nothing():
    sums = market(10)
    again = learn(sums.sample(fraction=1.0, shuffle=True, seed=1))
    assert learn(sums)[1] == again[1]


def test_what_is_kept_is_restored():
    sums = market(11)
    model, validation = learn(sums)
    rows = formula.mine(formula.judge(sums, ATTRIBUTES, date(2026, 4, 1), RULES), ATTRIBUTES, [], RULES, "all")
    kept = score.kept(rows, model, validation)
    assert list(kept.schema.items()) == [*formula.FORMULA.items(), *score.KEPT.items()]
    back, told = score.restored(kept)
    assert told == validation
    creatives = pl.DataFrame({"hook": ["h0", "h3"], "types": [["t0", "t1"], ["t2"]]})
    assert_frame_equal(score.score(creatives, back, told), score.score(creatives, model, validation), abs_tol=1.5)
    silent = score.Validation(True, "nothing", 400, 0)
    assert score.restored(score.kept(rows, None, silent)) == (None, silent)
    assert score.kept(rows, None, silent)["weight"].is_null().all()
