"""Two attributes together: the estimate is that of the definition, errors hold, and only pairs are tested that could be believed."""

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.learning import lift
from learning_assets.settings import Patterns

RULES = Patterns()
PAIR = ("hook", "cta")


def market(seed: int, accounts: int = 12, ads: int = 40, effect: float = 0.0, hooks: int = 3, ctas: int = 3) -> pl.DataFrame:
    """Ads of two weeks; hook h0 with button c0 has `effect` beyond those of either."""
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), ads)
    hook, cta = rng.integers(0, hooks, account.size), rng.integers(0, ctas, account.size)
    expected = math.log(0.02) + rng.normal(0, 0.4, accounts)[account] + rng.normal(0, 0.2, account.size)
    expected += rng.normal(0, 0.2, hooks)[hook] + rng.normal(0, 0.2, ctas)[cta] + effect * ((hook == 0) & (cta == 0))
    impressions = rng.poisson(10_000, (account.size, 2))
    clicks = rng.binomial(impressions, np.exp(expected)[:, None])
    unknown = pl.lit(None, pl.Int64)
    return pl.DataFrame(
        {
            "account_id": np.repeat(account, 2),
            "ad_id": np.repeat(np.arange(account.size), 2),
            "hook": np.repeat(hook, 2),
            "cta": np.repeat(cta, 2),
            "week": np.tile([0, 1], account.size),
            "impressions": impressions.ravel(),
            "link_clicks": clicks.ravel(),
        }
    ).with_columns(
        pl.col("account_id", "ad_id").cast(pl.String),
        hook=pl.format("h{}", "hook"),
        cta=pl.format("c{}", "cta"),
        week=date(2026, 1, 4) + pl.duration(days=7 * pl.col("week")),
        experiment_id=pl.lit(None, pl.String),
        conversions=unknown,
        spend_micros=unknown,
        revenue_micros=unknown,
    )


def counts(rows: pl.DataFrame) -> tuple[int, int]:
    """Impressions and clicks of some rows."""
    return int(rows["impressions"].sum()), int(rows["link_clicks"].sum())


def log_lift(rows: pl.DataFrame, value: str) -> float:
    """Mantel-Haenszel log lift of a hook, added up stratum by stratum."""
    r = s = 0.0
    for _, stratum in rows.group_by("account_id", "week"):
        has = stratum.filter(hook=value)
        n1, m1 = counts(has)
        n0, m0 = (whole - part for whole, part in zip(counts(stratum), (n1, m1), strict=True))
        if n1 and n0:
            r, s = r + m1 * n0 / (n1 + n0), s + m0 * n1 / (n1 + n0)
    return math.log(r / s)


@pytest.mark.parametrize(("scope", "accounts", "ads"), [("all", 12, 40), ("account", 1, 120)])
def test_the_effect_is_the_difference_of_two_lifts(scope: lift.Scope, accounts: int, ads: int):
    rows = market(1, accounts, ads, effect=0.5)
    found = lift.mine_pairs(rows, PAIR, RULES, scope).filter(metric="ctr")
    assert found.height == 9
    for row in found.to_dicts():
        hook, cta = row["value"].split(lift.PAIR)
        expected = log_lift(rows.filter(cta=cta), hook) - log_lift(rows.filter(pl.col("cta") != cta), hook)
        assert row["log_lift"] == pytest.approx(expected)
    top = found.filter(value="h0 × c0").row(0, named=True)
    assert top["attribute"] == "hook × cta"
    assert top["low"] < 0.5 < top["high"]
    assert top["q_value"] < 0.1
    ads_with = rows.filter(hook="h0", cta="c0")["ad_id"].n_unique()
    assert top["ads_with"] == ads_with
    assert top["strata"] == 2 * accounts


def test_several_values_at_once_are_each_looked_at():
    rows = market(2, 1, 120, effect=0.5)
    listed = rows.with_columns(pl.concat_list("hook"), pl.concat_list("cta"))
    both: list[tuple[lift.Scope, pl.DataFrame]] = [("account", rows), ("all", market(2))]
    for scope, some in both:
        as_lists = listed if scope == "account" else some.with_columns(pl.concat_list("hook"), pl.concat_list("cta"))
        assert_frame_equal(
            lift.mine_pairs(as_lists, PAIR, RULES, scope), lift.mine_pairs(some, PAIR, RULES, scope), rel_tol=1e-9
        )


def test_pairs_that_could_not_be_believed_are_no_tests():
    """Too few ads in one of the four cells, or too few accounts."""
    rows = market(3, 1, 120)
    rare = rows.with_columns(hook=pl.when(pl.col("ad_id").cast(pl.Int64) < 6).then(pl.lit("rare")).otherwise("hook"))
    assert not lift.mine_pairs(rare, PAIR, RULES, "account")["value"].str.contains("rare").any()
    assert lift.mine_pairs(market(3, RULES.min_accounts - 1), PAIR, RULES, "all").is_empty()
    assert lift.mine_pairs(rows.clear(), PAIR, RULES, "account").schema == lift.FOUND


def test_other_owners_change_nothing_within_an_account():
    rows = market(4, 3, 100)
    alone = lift.mine_pairs(rows.filter(account_id="1"), PAIR, RULES, "account")
    assert alone.height > 0
    assert_frame_equal(lift.mine_pairs(rows, PAIR, RULES, "account").filter(account_id="1"), alone, rel_tol=1e-9)


@pytest.mark.parametrize(("scope", "accounts", "ads"), [("all", 20, 30), ("account", 2, 150)])
def test_without_an_effect_the_p_values_are_those_of_chance(scope: lift.Scope, accounts: int, ads: int):
    p = pl.concat([lift.mine_pairs(market(seed, accounts, ads), PAIR, RULES, scope) for seed in range(25)])["p_value"]
    assert p.len() > 200
    assert (p < 0.05).sum() < 0.09 * p.len()
    assert 0.4 * p.len() < p.sum() < 0.6 * p.len()


def test_arms_of_experiments_are_evidence_of_their_own():
    rows = market(5, 1, 160, effect=0.5)
    drawn = rows.with_columns(experiment_id=pl.when(pl.col("ad_id").cast(pl.Int64) < 80).then(pl.lit("test")))
    found = lift.mine_pairs(drawn, PAIR, RULES, "account")
    assert set(found["evidence"]) == {"randomized", "observational"}
    apart = lift.mine_pairs(drawn.filter(pl.col("experiment_id").is_null()), PAIR, RULES, "account")
    assert_frame_equal(found.filter(evidence="observational"), apart, rel_tol=1e-9)
