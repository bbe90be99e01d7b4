"""Hours and weekdays: each ad is its own control, and what a day does to all ads is no finding."""

import math

import numpy as np
import polars as pl
import pytest

from learning_assets.learning import lift
from learning_assets.settings import Patterns

RULES = Patterns()


def market(
    seed: int, accounts: int = 10, ads: int = 10, weeks: int = 10, effect: float = 0.0, shock: float = 0.1
) -> pl.DataFrame:
    """Ads by weekday; day 2 has `effect`; every day of an account, and of all, has a level of its own (`shock`)."""
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), ads)
    level = math.log(0.015) + rng.normal(0, 0.4, accounts)[account] + rng.normal(0, 0.3, account.size)
    days = rng.normal(0, shock, (accounts, weeks, 7)) + rng.normal(0, shock / 2, (weeks, 7))
    expected = level[:, None, None] + days[account]
    expected[:, :, 2] += effect
    impressions = rng.poisson(1_000, expected.shape)
    ad, week, day = np.indices(expected.shape)
    found = pl.DataFrame(
        {
            "week": week.ravel(),
            "account_id": account[ad.ravel()],
            "ad_id": ad.ravel(),
            "value": day.ravel(),
            "impressions": impressions.ravel(),
            "link_clicks": rng.binomial(impressions, np.exp(expected)).ravel(),
        }
    )
    return found.with_columns(
        pl.col("account_id", "ad_id", "value").cast(pl.String),
        week=pl.date(2026, 1, 4) + pl.duration(days=7 * pl.col("week")),
        attribute=pl.lit("posting_weekday"),
        **dict.fromkeys(("conversions", "spend_micros", "revenue_micros"), pl.lit(None, pl.Int64)),
    )


def counts(rows: pl.DataFrame) -> tuple[int, int]:
    """Impressions and clicks of some rows."""
    return int(rows["impressions"].sum()), int(rows["link_clicks"].sum())


def mined(rows: pl.DataFrame, scope: lift.Scope) -> pl.DataFrame:
    return lift.mine_times(lift.compare_times(rows.lazy()), RULES, scope)


def test_the_lift_is_that_of_the_definition():
    rows = market(1, accounts=1, ads=4, weeks=3)
    found = mined(rows, "account")
    assert found.schema == lift.FOUND
    assert found.height == 7
    r = s = 0.0
    for _, stratum in rows.group_by("ad_id", "week"):
        at = stratum.filter(value="2")
        n1, m1 = counts(at)
        n0, m0 = (whole - part for whole, part in zip(counts(stratum), (n1, m1), strict=True))
        r, s = r + m1 * n0 / (n1 + n0), s + m0 * n1 / (n1 + n0)
    row = found.filter(value="2").row(0, named=True)
    assert row["log_lift"] == pytest.approx(math.log(r / s))
    assert (row["ads_with"], row["ads_without"], row["accounts"], row["strata"]) == (4, 4, 1, 3)
    assert row["evidence"] == "observational"


def test_which_ads_are_shown_when_does_not_matter():
    """Good ads that run on weekends only do not make the weekend good."""
    rows = market(2, accounts=1, ads=40, shock=0.02)
    clicks = pl.col("link_clicks")
    late = pl.col("ad_id").cast(pl.Int64) < 20
    mixed = rows.with_columns(link_clicks=pl.when(late).then(3 * clicks).otherwise(clicks)).filter(
        ~late | pl.col("value").is_in(["5", "6"])
    )
    weekend = mined(mixed, "account").filter(pl.col("value").is_in(["5", "6"]))
    assert (weekend["log_lift"].abs() < 0.15).all()


@pytest.mark.parametrize("scope", ["account", "all"])
def test_what_a_day_does_to_all_ads_is_no_finding(scope: lift.Scope):
    p = pl.concat([mined(market(seed), scope) for seed in range(30 if scope == "all" else 5)])["p_value"]
    assert p.len() > 200
    assert (p < 0.05).sum() < 0.09 * p.len()


def test_a_good_day_is_found():
    found = mined(market(3, effect=0.2), "all")
    best = found.sort("p_value").row(0, named=True)
    assert best["value"] == "2"
    assert best["q_value"] < 0.01
    assert best["log_lift"] == pytest.approx(0.2, abs=0.1)


def test_a_metric_that_is_not_known_by_the_hour_is_left_out():
    assert set(mined(market(4), "all")["metric"]) == {"ctr"}
    nothing = market(4).with_columns(link_clicks=pl.lit(None, pl.Int64))
    assert mined(nothing, "account").is_empty()


def test_one_week_says_nothing_of_its_days():
    found = mined(market(5, accounts=1, weeks=1), "account")
    assert found["se"].null_count() == found.height == 7
