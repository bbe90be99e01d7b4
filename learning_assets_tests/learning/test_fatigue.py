"""Fatigue: what is proven, what is ruled out, what is only watched, and what it does not depend on."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import special

from learning_assets.learning import fatigue
from learning_assets.settings import Fatigue

START = date(2026, 1, 5)
LAST = 40
"""The day that is judged, counted from the start."""
Rate = Callable[[int], float]
Changes = Mapping[str, Callable[[str, int], Any]]
"""What columns of the catalog say, by ad and day."""


def on(number: int) -> date:
    return START + timedelta(days=number)


def steady(number: int) -> float:  # noqa: ARG001
    return 0.02


def falls(to: float) -> Rate:
    """A CTR that is `to` times what it was from day 25 on."""
    return lambda number: 0.02 * (to if number >= 25 else 1)


def days(rates: dict[str, Rate], shown: Callable[[str, int], int] = lambda _ad, _day: 5_000, last: int = LAST) -> pl.DataFrame:
    """Ad-days of one account whose clicks are exactly what the rates say."""
    rows = [
        {
            "date": on(n),
            "account_id": "1",
            "ad_id": ad,
            "impressions": shown(ad, n),
            "link_clicks": round(shown(ad, n) * rate(n)),
        }
        for ad, rate in rates.items()
        for n in range(last + 1)
        if shown(ad, n)
    ]
    return pl.DataFrame(rows, schema=fatigue.DAYS)


def others(rate: Rate = steady, count: int = 12) -> dict[str, Rate]:
    return {f"other {n:02d}": rate for n in range(count)}


def windows(rows: pl.DataFrame, frequency: Callable[[int], float] = lambda n: 2 + n / 40) -> pl.DataFrame:
    """Reach of every week, so that each person saw an ad `frequency` times in the week that ends on a day."""
    week = pl.col("impressions").rolling_sum(7, min_samples=1).over(fatigue.KEY)
    seen = pl.col("date").map_elements(lambda day: frequency((day - START).days), return_dtype=pl.Float64)
    found = (
        rows.sort("date")
        .with_columns(impressions=week)
        .with_columns(reach=(pl.col("impressions") / seen).round().cast(pl.Int64))
    )
    return found.select(fatigue.WINDOWS.names())


def catalog(rows: pl.DataFrame, changes: Changes) -> pl.LazyFrame:
    """What the ads were on each day; `changes` say otherwise, by ad and day."""
    plain = {
        "ad_set_id": "s",
        "creative_id": "c",
        "audience": "broad",
        "optimization_goal": "sales",
        "budget_micros": 50_000_000,
    }
    told = [
        {"date": row["date"], "account_id": "1", "ad_id": row["ad_id"]}
        | plain
        | {name: of(row["ad_id"], (row["date"] - START).days) for name, of in changes.items()}
        for row in rows.iter_rows(named=True)
    ]
    return pl.LazyFrame(told, schema=fatigue.CATALOG)


def judge(
    rows: pl.DataFrame, changes: Changes | None = None, *, reach: pl.DataFrame | None = None, last: int = LAST
) -> pl.DataFrame:
    edits = fatigue.edits(catalog(rows, changes or {}), Fatigue())
    told = windows(rows) if reach is None else reach
    return fatigue.judge(rows.lazy(), edits, told.lazy(), on(last), Fatigue())


def of_ad(found: pl.DataFrame, ad: str = "a") -> dict[str, Any]:
    return found.row(by_predicate=pl.col("ad_id") == ad, named=True)


# What is proven.


def test_a_fall_that_nothing_else_explains_limits_an_ad_and_half_its_ctr_tires_it():
    for to, state, cost in ((0.7, "limited", 1 / 0.7), (0.45, "fatigued", 1 / 0.45)):
        row = of_ad(judge(days({"a": falls(to), **others()})))
        assert (row["state"], row["cause"]) == (state, None)
        assert sorted(row["ruled_out"]) == ["account", "audience", "budget", "learning"]
        assert row["cost_ratio"] == pytest.approx(cost)
        assert row["log_change"] == pytest.approx(np.log(to))
        assert row["low"] < row["log_change"] < row["high"] < 0
        assert row["beyond_account"] == pytest.approx(np.log(to))
        assert (row["account_ads"], row["account_log_change"]) == (12, pytest.approx(0, abs=1e-12))
        # 2,000 impressions were reached on the first day.
        assert (row["baseline_from"], row["baseline_until"]) == (on(1), on(7))
        assert (row["frequency_then"], row["frequency_now"]) == (pytest.approx(2.175, abs=0.01), pytest.approx(3, abs=0.01))
        assert f"is -{100 - 100 * to:.1f} % (between -" in row["reason"]
        assert f"against the 7 days from {on(1)}, its first full ones that are known." in row["reason"]
        assert f"A click costs {cost:.1f} times what it did" in row["reason"]
        assert "lower the ad's budget" in row["remedy"]


def test_a_steady_ad_and_one_that_fell_too_little_are_left_alone():
    found = judge(days({"a": falls(0.85), **others()}))
    assert set(found["state"]) == {"none"}
    assert found["reason"].str.ends_with(" that are known.").all()
    assert found["remedy"].null_count() == found["cause"].null_count() == found.height
    assert of_ad(found)["log_change"] == pytest.approx(np.log(0.85))
    assert found["ad_id"].is_sorted()


def test_a_fall_within_the_noise_is_none():
    row = of_ad(judge(days({"a": falls(0.6), **others()}, shown=lambda _ad, _day: 500)))
    assert (row["state"], row["log_change"] < np.log(0.8), row["high"] > 0) == ("none", True, True)


def test_the_interval_is_that_of_two_overdispersed_counts():
    found = judge(days({"a": falls(0.7), **others()}))
    row = of_ad(found)
    # Clicks are exactly their means, so what is learned of the noise is none.
    assert row["day_noise"] == 0
    se = np.sqrt(1 / row["link_clicks_then"] + 1 / row["link_clicks_now"])
    assert row["high"] - row["log_change"] == pytest.approx(special.ndtri(0.999) * se)


def test_day_noise_is_learned_and_a_slow_fall_is_not_taken_for_it():
    rng = np.random.default_rng(3)
    noisy = days(others(count=40))
    for noise in (0.0, 0.1, 0.2):
        path = np.exp(-0.02 * noisy["date"].rank("dense").to_numpy())
        rate = 0.02 * path * np.exp(rng.normal(0, noise, noisy.height))
        rows = noisy.with_columns(link_clicks=pl.Series(rng.poisson(20_000 * rate)), impressions=pl.lit(20_000))
        assert judge(rows)["day_noise"][0] == pytest.approx(noise, abs=0.02)


def test_the_account_without_the_ad_is_clustered_by_ad():
    """The variance of the account's movement is that of a ratio of sums over its other ads, as numpy computes it."""
    rng = np.random.default_rng(5)
    rates = {
        f"other {n:02d}": (lambda rate: lambda number: rate * (1.3 if number % 2 else 1))(rng.uniform(0.01, 0.03))
        for n in range(9)
    }
    late = {"other 07": range(20, 99), "other 08": range(15)}
    rows = days({"a": falls(0.4), **rates}, shown=lambda ad, n: 5_000 if n in late.get(ad, range(99)) else 0)
    row = of_ad(judge(rows))
    rest = rows.filter(pl.col("ad_id") != "a")
    sums = [
        rest.filter(pl.col("date").is_between(*ends)).group_by("ad_id").agg(pl.col("impressions", "link_clicks").sum())
        for ends in ((on(1), on(7)), (on(34), on(40)))
    ]
    both = sums[0].join(sums[1], on="ad_id", how="full", coalesce=True).fill_null(0)
    n0, x0, n1, x1 = (both[name].to_numpy() for name in both.columns[1:])
    change = np.log(x1.sum() / n1.sum()) - np.log(x0.sum() / n0.sum())
    influence = x1 / x1.sum() - n1 / n1.sum() - x0 / x0.sum() + n0 / n0.sum()
    se = np.sqrt(9 / 8 * (influence**2).sum())
    assert (row["account_ads"], row["account_log_change"]) == (9, pytest.approx(change))
    own = (row["high"] - row["log_change"]) ** 2
    assert row["beyond_high"] - row["beyond_account"] == pytest.approx(np.sqrt(own + (special.stdtrit(8, 0.999) * se) ** 2))


# What else could explain it.


def test_an_account_that_falls_as_a_whole_explains_the_fall():
    found = judge(days({"a": falls(0.6), **others(falls(0.65))}))
    assert set(found["state"]) == {"watch"}
    assert set(found["cause"]) == {"account"}
    row = of_ad(found)
    assert row["account_log_change"] == pytest.approx(np.log(0.65))
    assert (
        "But the account's other ads moved by -35.0 % in the same time; what is left of the fall is less than 20 %."
        in row["reason"]
    )
    assert "what the ads of the account share" in row["remedy"]
    assert "account" not in row["ruled_out"]


def test_an_ad_alone_in_its_account_is_only_watched():
    row = of_ad(judge(days({"a": falls(0.4)})))
    assert (row["state"], row["cause"], row["account_log_change"]) == ("watch", "account", None)
    assert "no other ads" in row["reason"]


def test_few_other_ads_that_came_and_went_prove_little():
    shown = {"x": range(20), "y": range(18, 99), "z": range(99)}
    rates = {"x": lambda _: 0.01, "y": lambda _: 0.02, "z": lambda _: 0.015}
    row = of_ad(judge(days({"a": falls(0.6), **rates}, shown=lambda ad, n: 5_000 if n in shown.get(ad, range(99)) else 0)))
    assert (row["state"], row["cause"]) == ("watch", "account")
    assert "beyond the account's own movement" in row["reason"]
    assert "a fall is not proven" in row["reason"]


@pytest.mark.parametrize(
    ("column", "value", "cause", "says"),
    [
        ("budget_micros", 60_000_000, "budget", "its budget was changed on"),
        ("audience", "lookalike", "audience", "its audience or ad set was changed on"),
        ("ad_set_id", "t", "audience", "its audience or ad set was changed on"),
        ("creative_id", "d", "learning", "the platform learns anew, after another creative or goal or a pause, since"),
        (
            "optimization_goal",
            "clicks",
            "learning",
            "the platform learns anew, after another creative or goal or a pause, since",
        ),
    ],
)
def test_a_change_explains_the_fall_until_there_is_a_week_after_it(column: str, value: Any, cause: str, says: str):
    plain = catalog(days({"a": steady}, last=0), {}).collect()[column][0]
    changed = {column: lambda ad, n: value if ad == "a" and n >= 30 else plain}
    rows = days({"a": falls(0.5), **others()})
    row = of_ad(judge(rows, changed))
    assert (row["state"], row["cause"]) == ("watch", cause)
    assert (cause in row["ruled_out"], "account" in row["ruled_out"]) == (False, True)
    assert f"But {says} {on(30)}, and the ad has no full week to compare with since then." in row["reason"]
    assert "Leave the ad as it is" in row["remedy"]
    # Later the ad is compared with its first week after the change, and is as good as then.
    longer = days({"a": falls(0.5), **others()}, last=60)
    later = of_ad(judge(longer, changed, last=60))
    assert (later["state"], later["baseline_from"]) == ("none", on(31))


def test_a_small_step_of_the_budget_and_a_value_that_is_not_known_are_no_changes():
    rows = days({"a": falls(0.5), **others()})
    step = {"budget_micros": lambda _ad, n: 54_000_000 if n >= 30 else 50_000_000}
    assert of_ad(judge(rows, step))["state"] == "fatigued"
    gaps = {"audience": lambda _ad, n: None if n in (25, 31) else "broad"}
    assert of_ad(judge(rows, gaps))["state"] == "fatigued"


def test_what_nobody_knows_is_not_ruled_out_and_said():
    row = of_ad(judge(days({"a": falls(0.5), **others()}), {"budget_micros": lambda _ad, n: 50_000_000 if n > 20 else None}))
    assert row["state"] == "fatigued"
    assert sorted(row["ruled_out"]) == ["account", "audience", "learning"]
    assert "Not known is whether these were changed: budget." in row["reason"]


def test_an_ad_that_paused_for_a_week_learns_anew():
    row = of_ad(judge(days({"a": falls(0.5), **others()}, shown=lambda ad, n: 0 if ad == "a" and 20 <= n < 29 else 5_000)))
    assert (row["state"], row["cause"]) == ("watch", "learning")
    row = of_ad(judge(days({"a": falls(0.5), **others()}, shown=lambda ad, n: 0 if ad == "a" and 20 <= n < 25 else 5_000)))
    assert row["state"] == "fatigued"


# Frequency.


def test_without_reach_an_ad_is_at_most_watched():
    rows = days({"a": falls(0.3), **others()})
    told = windows(rows)
    blind = told.with_columns(reach=pl.lit(None, pl.Int64))
    now_only, then_only = told.filter(pl.col("date") == on(LAST)), told.filter(pl.col("date") == on(7))
    for reach in (told.clear(), blind, now_only, then_only):
        row = of_ad(judge(rows, reach=reach))
        assert (row["state"], row["cause"]) == ("watch", None)
        assert "reach of one of the two weeks is not known" in row["reason"].lower()


@pytest.mark.parametrize("frequency", [lambda n: 1.5 + n / 60, lambda n: 4 - n / 40], ids=["seldom", "less_often"])
def test_people_who_saw_it_seldom_or_less_often_did_not_tire(frequency: Callable[[int], float]):
    rows = days({"a": falls(0.3), **others()})
    row = of_ad(judge(rows, reach=windows(rows, frequency)))
    assert (row["state"], row["cause"]) == ("watch", None)
    assert "tiring takes at least 2.5" in row["reason"]
    assert "offer, landing page and audience" in row["remedy"]


# What is not judged.


def test_what_cannot_be_judged_says_why():
    young = days({"a": steady, **others()}, shown=lambda ad, n: 5_000 if ad != "a" or n > 30 else 0)
    assert "no 7 full days after 2,000 impressions" in of_ad(judge(young))["reason"]
    rare = days({"a": lambda _: 0.0005, **others()})
    assert "14 link clicks in the ad's first full days, 30 are needed" in of_ad(judge(rare))["reason"]
    paused = days({"a": falls(0.3), **others()}, shown=lambda ad, n: 0 if ad == "a" and 34 <= n < 38 else 5_000)
    row = of_ad(judge(paused))
    assert "3 days with delivery in the last 7, 5 are needed" in row["reason"]
    assert (row["state"], row["log_change"], row["cost_ratio"]) == ("none", None, None)
    gone = days({"a": falls(0.3), **others()}, shown=lambda ad, n: 0 if ad == "a" and n == LAST else 5_000)
    assert "a" not in judge(gone)["ad_id"]


def test_an_ad_without_a_click_left_is_fatigued():
    row = of_ad(judge(days({"a": falls(0), **others()})))
    assert (row["state"], row["ctr_now"], row["cost_ratio"]) == ("fatigued", 0, None)
    assert "A click costs many times what it did" in row["reason"]


def test_the_baseline_begins_after_the_impressions_were_reached_and_needs_days_in_a_row():
    slow = days({"a": steady}, shown=lambda _ad, n: 0 if n == 9 else 900)
    # 2,000 are reached on the third day; the week must not hold the gap.
    assert of_ad(judge(slow))["baseline_from"] == on(10)
    assert of_ad(judge(days({"a": steady}, shown=lambda _ad, _n: 900)))["baseline_from"] == on(3)


# What it does not depend on.


ROWS = days({"a": falls(0.5), "b": falls(0.75), **others(count=4)})


@given(st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=15)
def test_the_order_of_rows_changes_nothing(random: Any):
    order = random.sample(range(ROWS.height), ROWS.height)
    assert_frame_equal(judge(ROWS[order], reach=windows(ROWS)), judge(ROWS))


def test_the_columns_are_as_declared_also_where_there_is_nothing():
    edits = fatigue.edits(catalog(ROWS, {}), Fatigue())
    empty = fatigue.judge(ROWS.clear().lazy(), edits, windows(ROWS).lazy(), on(LAST), Fatigue())
    assert empty.schema == judge(ROWS).schema == fatigue.FATIGUE
    assert empty.is_empty()


def test_another_account_changes_nothing():
    rows = days({"a": falls(0.5), **others()})
    stranger = days({"a": falls(0.2), "s": steady, "u": falls(3)}).with_columns(account_id=pl.lit("2"))
    both = pl.concat([rows, stranger])
    edits = fatigue.edits(catalog(rows, {}), Fatigue())
    found = fatigue.judge(both.lazy(), edits, windows(both).lazy(), on(LAST), Fatigue())
    assert_frame_equal(found.filter(account_id="1"), judge(rows))


def test_wrong_days_are_refused():
    rows = days({"a": steady})
    with pytest.raises(ValueError, match="1 ad-days are later than 2026-02-13"):
        judge(rows, last=LAST - 1)
    with pytest.raises(ValueError, match="twice on a day"):
        judge(pl.concat([rows, rows]), reach=windows(rows))
