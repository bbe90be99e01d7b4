"""What following the predictions would have saved: the figure, its interval, and when nothing can be said."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.learning.following import SAVED, saved
from learning_assets.settings import Following

RULES = Following()
BY = ["model", "metric"]
FIRST = date(2026, 2, 1)


def market(
    seed: int, skill: float, accounts: int = 4, ads: int = 30, days: int = 28, metric: str = "ctr"
) -> tuple[pl.DataFrame, float]:
    """Ads with true results per unit of spend, predictions that know the share `skill` of their logarithm, and the true gain.

    The true gain is that of the rule with every result replaced by its expectation.
    """
    rng = np.random.default_rng(seed)
    size = accounts * ads
    effect = 0.4 * rng.standard_normal(size)
    rate = 0.01 * np.exp(effect)
    known = 0.015 * np.exp(skill * effect + np.sqrt(1 - skill**2) * 0.4 * rng.standard_normal(size))
    shape = (days, size)
    spend = rng.gamma(4, 25, shape).round().astype(np.int64) + 1
    expected = spend * rate
    frame = pl.DataFrame(
        {
            "date": [FIRST + timedelta(days=n) for n in range(days) for _ in range(size)],
            "account_id": np.tile(np.arange(size) % accounts, days).astype(str),
            "ad_id": np.tile(np.arange(size), days).astype(str),
            "predicted": np.tile(known, days),
            "impressions": (spend * 10).ravel(),
            "spend_micros": spend.ravel(),
            "link_clicks": rng.poisson(expected).ravel(),
            "expected": expected.ravel(),
        }
    ).with_columns(as_of=pl.col("date") - timedelta(days=1), model=pl.lit("m"), metric=pl.lit(metric), currency=pl.lit("EUR"))
    truth = saved(frame.with_columns(link_clicks=pl.col("expected")), BY, RULES)["gain"].item()
    return frame, truth


def test_the_figure_is_that_of_the_definition():
    """Two ads that give, four that take, two days: by hand."""
    rows = [
        # day, ad, predicted, spend, clicks
        *((0, "low1", 0.005, 100, 1), (0, "low2", 0.005, 100, 1)),
        *((0, f"a{n}", 0.02, 100, 4) for n in range(4)),
        *((1, "low1", 0.005, 300, 2), (1, "a0", 0.02, 100, 1), (1, "a1", 0.02, 200, 8)),
    ]
    frame = pl.DataFrame(rows, schema=["day", "ad_id", "predicted", "spend_micros", "link_clicks"], orient="row").with_columns(
        date=pl.lit(FIRST) + pl.duration(days="day"),
        as_of=pl.lit(FIRST) + pl.duration(days=pl.col("day") - 1),
        account_id=pl.lit("a"),
        impressions=pl.lit(1_000),
        currency=pl.lit("EUR"),
        model=pl.lit("m"),
        metric=pl.lit("ctr"),
    )
    row = saved(frame, BY, RULES.model_copy(update={"min_ads": 2})).row(0, named=True)
    extra = (200 * 16 / 400 - 2) + (300 * 9 / 300 - 2)
    clicks, spend = 2 + 16 + 2 + 9, 600 + 600
    assert (row["accounts"], row["days"], row["ads"], row["moved_ads"]) == (1, 2, 6, 2)
    assert (row["spend_micros"], row["moved_micros"], row["currency"]) == (spend, 500, "EUR")
    assert row["gain"] == pytest.approx(extra / clicks)
    assert row["saved_share"] == pytest.approx(1 - 1 / (1 + extra / clicks))
    assert row["saved_micros"] == round(spend * row["saved_share"])
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    assert row["status"] == "measured"


@pytest.mark.parametrize("skill", [0.0, 0.7])
def test_intervals_hold_the_truth(skill: float):
    held = []
    for seed in range(60):
        frame, truth = market(seed, skill, accounts=3, ads=24, days=14)
        row = saved(frame, BY, RULES).row(0, named=True)
        held.append(row["gain_low"] <= truth <= row["gain_high"])
    # Given the ads, chance is in the clicks only; the interval is of other ads too, and so too wide for this.
    assert np.mean(held) >= 0.95


@pytest.mark.parametrize("skill", [0.0, 0.7])
def test_intervals_hold_what_other_ads_of_the_same_kind_would_give(skill: float):
    kind = float(np.mean([market(seed, skill, accounts=3, ads=400, days=2)[1] for seed in range(10)]))
    held = []
    for seed in range(120):
        frame, _ = market(1_000 + seed, skill, accounts=3, ads=24, days=14)
        row = saved(frame, BY, RULES).row(0, named=True)
        held.append(row["gain_low"] <= kind <= row["gain_high"])
    # A draw of other ads moves the accounts' means too, which the interval does not know.
    assert np.mean(held) >= 0.88


def test_good_predictions_save_and_worthless_ones_do_not():
    good = [saved(market(seed, 0.8)[0], BY, RULES).row(0, named=True) for seed in range(10)]
    none = [saved(market(seed, 0.0)[0], BY, RULES).row(0, named=True) for seed in range(30)]
    assert sum(row["gain_low"] > 0 for row in good) >= 9
    assert sum(row["gain_low"] > 0 for row in none) <= 3
    assert abs(np.mean([row["gain"] for row in none])) < 0.02


def test_predictions_that_are_upside_down_lose():
    frame, _ = market(3, 0.9)
    row = saved(frame.with_columns(predicted=0.0003 / pl.col("predicted")), BY, RULES).row(0, named=True)
    assert row["gain_high"] < 0
    assert row["saved_micros"] < 0


def test_what_cannot_be_said_is_null_with_the_reason():
    frame, _ = market(1, 0.5)
    cases = {
        "the same for all": (frame.with_columns(predicted=0.02), "No ad was predicted 20 % or more below"),
        "no spend": (frame.with_columns(spend_micros=pl.lit(None, pl.Int64)), None),
        "few ads": (frame.filter(pl.col("ad_id").cast(pl.Int64) < 12), "No account has 3 ads"),
        "no clicks": (frame.with_columns(link_clicks=0), "No account"),
    }
    for name, (rows, reason) in cases.items():
        (row,) = saved(rows, BY, RULES).to_dicts()
        assert row["status"] == "insufficient_data", name
        assert row["reason"], name
        assert row["reason"].startswith(reason or "Spend"), name
        assert [row[column] for column in ("gain", "gain_low", "saved_share", "saved_micros", "moved_share")] == [None] * 5, (
            name
        )


def test_a_prediction_that_came_too_late_is_refused():
    frame, _ = market(1, 0.5, days=2)
    with pytest.raises(ValueError, match="not made before their day"):
        saved(frame.with_columns(as_of=pl.col("date")), BY, RULES)


def test_currencies_are_never_added():
    frame, _ = market(2, 0.7)
    two = frame.with_columns(currency=pl.when(pl.col("account_id") < "2").then(pl.lit("EUR")).otherwise(pl.lit("USD")))
    whole = saved(two, BY, RULES).row(0, named=True)
    assert [whole[name] for name in ("currency", "spend_micros", "moved_micros", "saved_micros")] == [None] * 4
    assert whole["gain"] is not None
    by_currency = saved(two, [*BY, "currency"], RULES)
    assert by_currency["currency"].to_list() == ["EUR", "USD"]
    assert by_currency["saved_micros"].null_count() == 0
    accounts = saved(two, [*BY, "account_id"], RULES)
    assert accounts.height == 4
    assert accounts.columns == [*BY, "account_id", *SAVED]
    eur = accounts.filter(currency="EUR")
    assert by_currency["spend_micros"][0] == eur["spend_micros"].sum()
    assert by_currency["gain"][0] == pytest.approx(
        float((eur["gain"] * eur["spend_micros"]).sum()) / int(eur["spend_micros"].sum())
    )


def test_revenue_and_conversions_are_results_of_their_metrics():
    frame, _ = market(4, 0.7)
    as_clicks = saved(frame, BY, RULES).row(0, named=True)
    for metric, column in (("cvr", "conversions"), ("roas", "revenue_micros")):
        renamed = frame.rename({"link_clicks": column}).with_columns(metric=pl.lit(metric))
        row = saved(renamed, BY, RULES).row(0, named=True)
        assert row | {"metric": "ctr"} == pytest.approx(as_clicks) if metric else None


def test_unknown_revenue_is_left_out_and_not_taken_for_none():
    frame, _ = market(5, 0.7, metric="roas")
    frame = frame.rename({"link_clicks": "revenue_micros"})
    gone = frame.with_columns(revenue_micros=pl.when(pl.col("date") == FIRST).then("revenue_micros"))
    assert saved(gone, BY, RULES).row(0) == pytest.approx(saved(frame.filter(date=FIRST), BY, RULES).row(0))


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_money_in_other_units_changes_nothing_but_money(seed: int, factor: float):
    frame, _ = market(seed, 0.6, accounts=2, ads=20, days=4)
    base = saved(frame, BY, RULES).row(0, named=True)
    scaled = saved(frame.with_columns(pl.col("predicted") * factor, pl.col("spend_micros") * 7), BY, RULES).row(0, named=True)
    unit_free: list[Any] = ["gain", "gain_low", "gain_high", "saved_share", "moved_share"]
    assert [scaled[name] for name in unit_free] == pytest.approx([base[name] for name in unit_free])
