"""Winners and losers, what tells them apart, and that copies, order and other accounts change nothing."""

import math
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

from learning_assets.learning import formula
from learning_assets.settings import Formula

RULES = Formula()
SUNDAY, WEEKS = date(2026, 1, 4), 6
DAY = SUNDAY + timedelta(days=7 * WEEKS)
HOOKS = ("h0", "h1", "h2", "h3")


def market(
    seed: int,
    accounts: int = 1,
    ads: int = 60,
    effect: float = 0.0,
    *,
    money: bool = False,
    impressions: int = 5_000,
    spread: float = 0.3,
) -> pl.DataFrame:
    """Sums by ad and week; hook h0 lifts the rate by `effect`, `filler` (a category), `list` and `words` do nothing."""
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), ads)
    n = account.size
    hook = rng.integers(0, len(HOOKS), n)
    level = rng.normal(0, 0.4, accounts)[account] + rng.normal(0, spread, n) + effect * (hook == 0)
    shown = rng.poisson(impressions, (n, WEEKS)) + 1
    clicks = rng.binomial(shown, np.minimum(0.015 * np.exp(level), 1)[:, None])
    orders = rng.poisson(clicks * 0.05)
    frame = pl.DataFrame(
        {
            "ad": np.repeat(np.arange(n), WEEKS),
            "account_id": np.repeat(account, WEEKS),
            "week": np.tile(np.datetime64(SUNDAY) + 7 * np.arange(WEEKS), n),
            "impressions": shown.ravel(),
            "link_clicks": clicks.ravel(),
            "spend_micros": shown.ravel() * 20_000,
            "revenue_micros": orders.ravel() * 60_000_000,
            "hook": np.array(HOOKS)[np.repeat(hook, WEEKS)],
            "filler": np.repeat(np.array(["x", "y", "z"])[rng.integers(0, 3, n)], WEEKS),
            "words": np.repeat(rng.integers(3, 30, n), WEEKS),
        }
    )
    return frame.select(
        owner=pl.format("owner {}", "account_id"),
        account_id=pl.format("a{}", "account_id"),
        ad_id=pl.format("ad {}", "ad"),
        fingerprint=pl.lit(None, pl.String),
        experiment_id=pl.lit(None, pl.String),
        week="week",
        impressions="impressions",
        link_clicks="link_clicks",
        spend_micros="spend_micros",
        revenue_micros=pl.when(pl.lit(money)).then("revenue_micros"),
        hook="hook",
        filler="filler",
        words="words",
        list=pl.concat_list("filler", pl.lit("always")),
    )


CARRIED = ["hook", "filler", "list", "words"]


def learn(sums: pl.DataFrame, scope: formula.Scope = "account", rules: Formula = RULES, **more: Any) -> pl.DataFrame:
    judged = formula.judge(sums, CARRIED, DAY, rules)
    return formula.mine(judged, CARRIED[:3], CARRIED[3:], rules, scope, **more)


def copied(sums: pl.DataFrame, copies: int, ad: str) -> pl.DataFrame:
    """One ad served as `copies` ads with one fingerprint, each with a part of what it had."""
    marked = sums.with_columns(fingerprint=pl.when(pl.col("ad_id") == ad).then(pl.lit("f")))
    one = marked.filter(ad_id=ad)
    counts = ["impressions", "link_clicks", "spend_micros", "revenue_micros"]
    parts = [
        one.with_columns(
            *(pl.col(name) * (place + 1) // copies - pl.col(name) * place // copies for name in counts),
            ad_id=pl.format("{} copy {}", "ad_id", pl.lit(place)),
        )
        for place in range(copies)
    ]
    return pl.concat([marked.filter(pl.col("ad_id") != ad), *parts])


# -- verdicts


def test_a_winner_by_roas_has_the_return_and_a_loser_surely_has_not():
    sums = market(1, money=True, ads=80)
    judged = formula.judge(sums, CARRIED, DAY, RULES)
    assert set(judged["metric"]) == {"roas"}
    mature = sums.filter(pl.col("week") <= DAY - timedelta(days=RULES.mature_days))
    roas = mature.group_by(unit=pl.format("ad {}", "ad_id")).agg(
        roas=pl.col("revenue_micros").sum() / pl.col("spend_micros").sum()
    )
    told = judged.join(roas, on="unit")
    assert told.height == 80
    assert ((told["rate"] - told["roas"]).abs() < 1e-12).all()
    assert ((told["verdict"] == "winner") == (told["roas"] >= 3)).all()
    losers = told.filter(verdict="loser")
    assert losers.height > 10
    assert (losers["rate_high"] < 3).all()
    assert told.filter(verdict="undecided").height > 0


def test_conversions_that_are_not_mature_do_not_count():
    sums = market(2, money=True)
    late = pl.col("week") > DAY - timedelta(days=RULES.mature_days)
    silent = sums.with_columns(revenue_micros=pl.when(late).then(0).otherwise("revenue_micros"))
    shown = ["unit", "rate", "rate_low", "rate_high", "verdict"]
    assert_frame_equal(*(formula.judge(one, CARRIED, DAY, RULES).select(shown) for one in (sums, silent)))


def test_unknown_revenue_is_judged_by_ctr_and_money_is_not_guessed():
    judged = formula.judge(market(3, effect=0.5), CARRIED, DAY, RULES)
    assert set(judged["metric"]) == {"ctr"}
    assert (judged.filter(verdict="winner")["rate_low"] > 1).all()
    assert (judged.filter(verdict="loser")["rate_high"] < 1).all()
    assert 10 < judged.filter(verdict="winner").height < 40


def test_few_impressions_are_not_judged():
    judged = formula.judge(market(4, impressions=100), CARRIED, DAY, RULES)
    assert set(judged["verdict"]) == {"few"}


def test_ads_that_do_not_differ_are_neither_winners_nor_losers():
    told = [formula.judge(market(seed, spread=0.0), CARRIED, DAY, RULES)["verdict"] for seed in range(20)]
    decided = sum(int(verdicts.is_in(["winner", "loser"]).sum()) for verdicts in told)
    assert decided < 0.02 * 20 * 60


def test_noise_of_weeks_beyond_chance_widens_the_bounds():
    calm = market(5, spread=0.0, ads=100)
    rng = np.random.default_rng(5)
    factor = pl.Series(np.exp(rng.normal(0, 0.3, calm.height)))
    rough = calm.with_columns(link_clicks=(pl.col("link_clicks") * factor).round().cast(pl.Int64))
    verdicts = formula.judge(rough, CARRIED, DAY, RULES)
    assert (verdicts["dispersion"] > 3).all()
    assert verdicts.filter(pl.col("verdict").is_in(["winner", "loser"])).height < 0.1 * verdicts.height


def test_verdicts_rest_on_the_account_alone():
    both = market(6, accounts=2)
    alone = both.filter(account_id="a0")
    assert_frame_equal(
        formula.judge(both, CARRIED, DAY, RULES).filter(account_id="a0"), formula.judge(alone, CARRIED, DAY, RULES)
    )


def test_an_attribute_with_the_name_of_a_figure_is_refused():
    with pytest.raises(ValueError, match="carry 'expected' under another name"):
        formula.judge(market(1).with_columns(expected="hook"), ["expected"], DAY, RULES)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="lack the columns \\['fingerprint'\\]"):
        formula.judge(market(1).drop("fingerprint"), CARRIED, DAY, RULES)


# -- log-odds


def test_a_single_account_is_monroes_log_odds_with_its_variance():
    found = learn(market(7, effect=0.6, ads=120))
    row = found.filter(attribute="hook", value="h0").row(0, named=True)
    judged = formula.judge(market(7, effect=0.6, ads=120), CARRIED, DAY, RULES)
    p = judged.filter(hook="h0").height / judged.height
    with_: dict[str, float] = {}
    without: dict[str, float] = {}
    for side in ("winner", "loser"):
        mine = judged.filter(verdict=side)
        with_[side] = mine.filter(hook="h0").height + RULES.prior_ads * p
        without[side] = mine.filter(pl.col("hook") != "h0").height + RULES.prior_ads * (1 - p)
    log_odds = math.log(with_["winner"] * without["loser"] / (with_["loser"] * without["winner"]))
    se = math.sqrt(sum(1 / cell for cells in (with_, without) for cell in cells.values()))
    assert row["log_odds"] == pytest.approx(log_odds)
    assert row["z"] == pytest.approx(log_odds / se)
    assert (row["low"], row["high"]) == pytest.approx((log_odds - 1.959964 * se, log_odds + 1.959964 * se), rel=1e-5)
    assert row["p_value"] == pytest.approx(2 * stats.norm.sf(abs(log_odds / se)))
    assert row["share"] == pytest.approx(p)


def test_what_winners_have_is_found_and_what_does_nothing_is_not():
    found = learn(market(8, effect=0.7, ads=120))
    sure = found.filter(pl.col("q_value") <= 0.1)
    assert sure["attribute"].unique().to_list() == ["hook"]
    assert sure.filter(value="h0")["log_odds"].item() > 1
    assert found.filter(attribute="list", value="always").is_empty() or found.filter(value="always")["log_odds"].item() is None


def test_q_values_are_benjamini_hochberg_over_the_scope():
    found = learn(market(9, accounts=3, effect=0.4, ads=80))
    for (_,), rows in found.drop_nulls("p_value").group_by("account_id"):
        np.testing.assert_allclose(rows["q_value"], stats.false_discovery_control(rows["p_value"].to_numpy()))


def test_without_any_effect_nothing_is_found_beyond_the_level():
    """Of families in which nothing is true, at most the level may hold a find."""
    found = pl.concat([learn(market(100 + seed, accounts=30, ads=60)) for seed in range(3)])
    families = (
        found.drop_nulls("q_value")
        .group_by(pl.col("account_id"), pl.int_range(pl.len()) // 10_000)
        .agg(pl.col("q_value").min())
    )
    assert families.filter(pl.col("q_value") <= 0.1).height <= 0.1 * families.height
    tested = found.drop_nulls("p_value")
    assert tested.filter(pl.col("p_value") < 0.05).height < 0.05 * tested.height


def test_the_level_of_accounts_is_no_choice_of_winners():
    """An account that does better and has its own habit: within the account the habit says nothing."""
    sums = market(11, accounts=12, ads=40, money=True)
    better = pl.col("account_id").str.slice(1).cast(pl.Int64) % 2 == 0
    rng = np.random.default_rng(11)
    habit = pl.Series(rng.uniform(size=sums["ad_id"].n_unique())).gather(sums["ad_id"].str.slice(3).cast(pl.Int64))
    sums = sums.with_columns(
        revenue_micros=pl.when(better).then(pl.col("revenue_micros") * 3).otherwise("revenue_micros"),
        filler=pl.when(pl.when(better).then(habit < 0.8).otherwise(habit < 0.2)).then(pl.lit("x")).otherwise(pl.lit("y")),
    )
    row = learn(sums, "all").filter(attribute="filler", value="x").row(0, named=True)
    raw = math.log(
        row["winners_with"]
        * (row["losers"] - row["losers_with"])
        / ((row["winners"] - row["winners_with"]) * row["losers_with"])
    )
    assert raw > 1
    assert abs(row["log_odds"]) < 0.5
    assert row["low"] < 0 < row["high"]


def test_too_few_winners_are_said_and_nothing_is_estimated():
    found = learn(market(12, ads=12))
    own = found.filter(kind="scope").row(0, named=True)
    assert own["status"] == "insufficient_data"
    assert (
        own["reason"] == f"{own['winners']} winners and {own['losers']} losers of 12 creatives are told; 10 of each are needed."
    )
    assert found.select("log_odds", "z", "low", "high", "p_value", "q_value").null_count().row(0) == (found.height,) * 6


def test_a_value_of_one_ad_is_never_said():
    sums = market(13, ads=80).with_columns(hook=pl.when(pl.col("ad_id") == "ad 3").then(pl.lit("rare")).otherwise("hook"))
    assert learn(sums).filter(value="rare").is_empty()


def test_values_of_few_owners_stay_with_them():
    sums = market(14, accounts=6, ads=40)
    sums = sums.with_columns(hook=pl.when(account_id="a0", hook="h0").then(pl.lit("ours")).otherwise("hook"))
    assert learn(sums).filter(value="ours").height == 1
    assert learn(sums, "all", min_owners=5).filter(value="ours").is_empty()


def test_numbers_are_cut_at_quartiles_and_their_rows_are_the_lift_curve():
    sums = market(15, ads=120)
    steeper = pl.when(pl.col("words") > 22).then(1.6).otherwise(1.0)
    sums = sums.with_columns(link_clicks=(pl.col("link_clicks") * steeper).round().cast(pl.Int64))
    curve = learn(sums).filter(attribute="words").sort("bin_low", nulls_last=False)
    assert curve["kind"].unique().to_list() == ["number"]
    assert curve["bin_high"].to_list()[:-1] == curve["bin_low"].to_list()[1:]
    assert curve["value"].to_list() == [
        f"at most {curve['bin_high'][0]:g}",
        *(f"{a:g} to {b:g}" for a, b in curve.select("bin_low", "bin_high").rows()[1:-1]),
        f"above {curve['bin_low'][-1]:g}",
    ]
    assert curve["log_odds"][-1] > 1
    assert curve.select(pl.col("winners_with").sum() == pl.col("winners").first()).item()
    judged = formula.judge(sums, CARRIED, DAY, RULES)
    quartiles = [judged.filter(verdict="winner")["words"].quantile(q, "linear") for q in (0.25, 0.5, 0.75)]
    assert curve["winners_quartiles"][0].to_list() == quartiles


# -- what must not matter


@hypothesis_settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1_000), copies=st.integers(2, 20), ad=st.integers(0, 39))
def test_order_and_copies_change_nothing(seed: int, copies: int, ad: int):
    sums = market(seed, ads=40, money=seed % 2 == 0)
    before = learn(sums)
    assert_frame_equal(learn(sums.sample(fraction=1.0, shuffle=True, seed=seed)), before)
    after = learn(copied(sums, copies, f"ad {ad}"))
    # The impressions of a copied ad are the same numbers in other parts: sums of whole numbers do not change.
    assert_frame_equal(after, before, rel_tol=1e-9)


def test_nothing_is_learned_from_nothing():
    assert learn(market(1).clear()).is_empty()
