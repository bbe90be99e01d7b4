"""Growth rows: windows, projections, trend, status, and what they say of accounts whose truth is known."""

import time
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.flat_growth import CORRELATIONS, TENFOLD_A_YEAR, grown
from learning_assets.learning import growth
from learning_assets.settings import Growth

SETTINGS = Growth()
START = date(2025, 1, 1)
SPEND = 1_000_000_000


def history(rates, *, start=START, step=1, account="a", spend=SPEND, metric="roas") -> pl.DataFrame:
    """Days (or weeks, with step=7) whose ROAS, or CTR at 100,000 impressions, is `rates`."""
    rates = np.asarray(rates, dtype=float)
    dates = [start + timedelta(days=step * i) for i in range(len(rates))]
    revenue = (rates * spend).round().astype(int).tolist() if metric == "roas" else [None] * len(rates)
    clicks = (rates * 100_000).round().astype(int).tolist() if metric == "ctr" else [1_000] * len(rates)
    return pl.DataFrame(
        {
            "account_id": [account] * len(rates),
            "date": dates,
            "impressions": [100_000] * len(rates),
            "link_clicks": clicks,
            "spend_micros": [spend] * len(rates),
            "revenue_micros": revenue,
        },
        schema_overrides={"revenue_micros": pl.Int64},
    )


def mature(days: pl.DataFrame) -> date:
    """First day on which all of `days` are mature."""
    newest = days["date"].max()
    assert isinstance(newest, date)
    return newest + timedelta(days=SETTINGS.mature_days + 1)


def one(days: pl.DataFrame, as_of: date | None = None) -> dict:
    rows = growth.measure(days, as_of or mature(days), SETTINGS)
    assert rows.schema == growth.GROWTH
    assert rows.height == 1
    return rows.row(0, named=True)


def share(mask: pl.Series) -> float:
    return float(mask.to_numpy().mean())


def test_windows_are_ratios_of_sums():
    days = history([2.0] * 14 + [9.0] * 6 + [4.0] * 14)
    days = days.with_columns(
        spend_micros=pl.when(pl.int_range(pl.len()) == 0).then(3 * SPEND).otherwise("spend_micros"),
        revenue_micros=pl.when(pl.int_range(pl.len()) == 0).then(12 * SPEND).otherwise("revenue_micros"),
    )
    row = one(days)
    # 13 days of 2.0 and one day of 4.0 with three times the spend.
    assert row["baseline_value"] == pytest.approx((13 * 2 + 12) / 16)
    assert row["current_value"] == pytest.approx(4.0)
    assert row["improvement_factor"] == pytest.approx(4.0 / 2.375)
    assert (row["days_of_history"], row["days_since_baseline"], row["first_day"]) == (34, 20, START)


def test_steady_growth_is_recovered_and_projected_from_the_baseline():
    days = history(2.0 * 1.01 ** np.arange(120), spend=10**12)
    row = one(days)
    assert row["daily_rate"] == pytest.approx(0.01, abs=1e-9)
    assert row["trend"] == pytest.approx(np.log(1.01), abs=1e-9)
    assert row["trend_low"] < row["trend"] < row["trend_high"]
    for k in (30, 90, 365):
        assert row[f"projected_{k}"] == pytest.approx(row["baseline_value"] * 1.01**k, rel=1e-6)
    # Without noise nothing is shrunk: the last week's level plus what is left of the slope, damped.
    level = np.log(days["revenue_micros"].tail(7).to_numpy().sum() / days["spend_micros"].tail(7).to_numpy().sum())
    for k in (30, 90, 365):
        damped = level + np.log(1.01) * 0.98 * (1 - 0.98**k) / 0.02
        assert np.log(row[f"damped_{k}"]) == pytest.approx(damped, abs=1e-4)
    assert row["damped_factor"] == pytest.approx(row["damped_365"] / row["baseline_value"])
    assert row["status"] == "improving"


def test_a_noisy_slope_is_shrunk_towards_zero():
    rng = np.random.default_rng(3)
    row = one(history(2.0 * np.exp(0.01 * np.arange(60) + rng.normal(0, 0.6, 60))))
    se = (row["trend_high"] - row["trend_low"]) / 2 / 3.1824463  # t quantile of three contrasts in 60 days
    shrunk = row["trend"] * 0.001**2 / (0.001**2 + se**2)
    gain = shrunk * 0.98 * (0.98**30 - 0.98**90) / 0.02
    assert np.log(row["damped_90"] / row["damped_30"]) == pytest.approx(gain, rel=1e-5)


def test_the_trend_is_poisson_pseudo_likelihood_with_zeros():
    rng = np.random.default_rng(4)
    week = np.arange(13)
    impressions = rng.integers(100, 2_000, 13)
    clicks = rng.poisson(impressions * 0.002 * np.exp(0.1 * week))
    assert (clicks == 0).any()
    days = history([0.01] * 13, step=7, metric="ctr")
    days = days.with_columns(impressions=pl.Series(impressions), link_clicks=pl.Series(clicks))
    oracle = sm.GLM(clicks, sm.add_constant(7 * week), sm.families.Poisson(), offset=np.log(impressions)).fit()
    row = one(days)
    assert row["metric"] == "ctr"
    assert row["trend"] == pytest.approx(oracle.params[1], rel=1e-6)
    # Five contrasts are a noisy estimate of a dispersion of 1, and never below it.
    se = (row["trend_high"] - row["trend_low"]) / 2 / 2.5705818
    assert oracle.bse[1] * 0.9999 <= se < 2 * oracle.bse[1]


def test_nothing_looks_ahead():
    days = history(2.0 * 1.01 ** np.arange(60))
    as_of = mature(days)
    later = history([50.0] * 30, start=START + timedelta(days=60))
    assert one(pl.concat([days, later]), as_of) == one(days, as_of)


@pytest.mark.parametrize(
    ("figure", "reason", "needed", "words"),
    [
        ("projected_30", "reason_30", 14 + 14, "A 30-day projection needs 14 days after the baseline; there are 13."),
        ("damped_30", "reason_30", 14 + 14, "A 30-day projection needs 14 days after the baseline; there are 13."),
        ("trend", "reason", 14 + 14, "A trend needs 14 days after the baseline; there are 13."),
        ("projected_90", "reason_90", 14 + 30, "A 90-day projection needs 30 days after the baseline; there are 29."),
        ("projected_365", "reason_365", 90, "A 365-day projection needs 90 days of history; there are 89."),
        ("damped_365", "reason_365", 90, "A 365-day projection needs 90 days of history; there are 89."),
        ("on_track_for_10x", "reason_on_track", 14 + 30, "The 10x question needs 30 days after the baseline; there are 29."),
        ("improvement_factor", "reason", 14, "The baseline needs 14 mature days; there are 13."),
    ],
)
def test_figures_are_unknown_before_their_history_and_say_why(figure, reason, needed, words):
    rates = 2.0 + 0.1 * np.sin(np.arange(needed))
    early, ready = one(history(rates[:-1])), one(history(rates))
    assert early[figure] is None
    assert early[reason] == words
    assert ready[figure] is not None
    assert ready[reason] != words


def test_the_metric_is_ctr_where_the_baseline_has_no_revenue():
    unknown = one(history([0.02] * 40, metric="ctr"))
    assert (unknown["metric"], unknown["baseline_value"]) == ("ctr", 0.02)
    zero = one(history([0.0] * 40))
    assert (zero["metric"], zero["baseline_value"]) == ("ctr", 0.01)
    late = one(pl.concat([history([0.0] * 20), history([3.0] * 20, start=START + timedelta(days=20))]))
    assert late["metric"] == "ctr"


def test_days_with_unknown_revenue_are_no_days_of_zero():
    days = history([2.0] * 40).with_columns(
        revenue_micros=pl.when(pl.int_range(pl.len()) % 3 == 1).then(None).otherwise("revenue_micros")
    )
    row = one(days)
    assert (row["metric"], row["baseline_value"], row["current_value"]) == ("roas", 2.0, 2.0)
    began_later = one(pl.concat([history([0.01] * 10, metric="ctr"), history([2.0] * 30, start=START + timedelta(days=10))]))
    assert (began_later["metric"], began_later["first_day"]) == ("roas", START + timedelta(days=10))


def test_an_account_without_a_comparable_baseline_is_unknown_and_not_zero():
    row = one(history([0.0] * 14 + [0.01] * 40, metric="ctr"))
    assert row["baseline_value"] == 0
    assert all(row[name] is None for name in ("improvement_factor", "daily_rate", "projected_30", "damped_30", "damped_factor"))
    assert row["status"] == "insufficient_data"
    assert row["reason"] == "The baseline has no link clicks, so nothing can be compared with it."


def test_an_account_that_stopped_delivering_has_no_present():
    days = history([2.0] * 60)
    row = one(days, mature(days) + timedelta(days=14))
    assert row["current_value"] is None
    assert row["status"] == "insufficient_data"
    assert row["reason"] == row["reason_30"] == "No delivery in the last 14 mature days."


def test_an_account_without_mature_days_has_a_row():
    row = one(history([2.0] * 5), START + timedelta(days=5))
    assert row["metric"] is None
    assert row["status"] == "insufficient_data"
    assert row["reason"] == "No day with delivery is older than 7 days yet."


def test_a_fall_to_zero_is_shown_as_a_fall():
    row = one(history([2.0] * 40 + [1.0] * 30 + [0.0] * 20))
    assert row["improvement_factor"] == 0
    assert row["daily_rate"] == -1
    assert row["projected_365"] == 0
    assert row["status"] == "declining"
    assert row["damped_30"] is None
    assert row["on_track_for_10x"] is None
    assert row["reason_on_track"] == "No trend, or no revenue in the last 7 mature days, to damp the projection from."


def test_revenue_in_the_last_week_only_has_no_trend():
    row = one(pl.concat([history([1.0] + [0.0] * 129), history([2.0], start=START + timedelta(days=130))]))
    assert row["trend"] is None
    assert row["status"] == "insufficient_data"
    assert row["reason"] == "Too few days with revenue in the last 91 mature days for a trend."


def test_flat_counts_without_any_noise_are_stable():
    row = one(history([0.02] * 120, metric="ctr"))
    assert row["status"] == "stable"
    assert row["improvement_factor"] == 1
    assert row["improvement_low"] < 1 < row["improvement_high"]
    assert one(history([2.0] * 120))["status"] == "stable"


def test_statuses_follow_the_shape():
    rng = np.random.default_rng(5)
    day, noise = np.arange(104), rng.normal(0, 0.03, 104)
    shapes = {
        "accelerating": 0.00008 * day**2,
        "improving": 0.006 * day,
        "stable": 0.0 * day,
        "declining": -0.006 * day,
    }
    rows = {status: one(history(2.0 * np.exp(shape + noise))) for status, shape in shapes.items()}
    assert {status: row["status"] for status, row in rows.items()} == {status: status for status in shapes}
    assert rows["declining"]["improvement_factor"] < 0.7
    assert "clearly down" in rows["declining"]["reason"]


def test_a_decline_after_a_good_year_is_a_decline():
    rates = 2.0 * np.exp(np.concatenate([0.004 * np.arange(300), 1.2 - 0.003 * np.arange(91)]))
    row = one(history(rates * np.exp(np.random.default_rng(6).normal(0, 0.05, 391))))
    assert row["status"] == "declining"
    assert row["improvement_factor"] > 2


def test_on_track_needs_the_lower_bound():
    rates = 2.0 * np.exp(np.log(14) / 200 * np.arange(200))
    steady = one(history(rates))
    assert steady["damped_factor_low"] > 10
    assert steady["on_track_for_10x"] is True
    noisy = one(history(rates * np.exp(np.random.default_rng(7).normal(0, 0.9, 200))))
    assert noisy["damped_factor"] > 10 > noisy["damped_factor_low"]
    assert noisy["on_track_for_10x"] is False


def test_weekly_points_are_measured_in_days():
    weekly = one(history(2.0 * np.exp(0.005 * 7 * np.arange(16)), step=7))
    assert weekly["days_of_history"] == 15 * 7 + 1
    assert weekly["days_since_baseline"] == 15 * 7 + 1 - 14
    assert weekly["trend"] == pytest.approx(0.005, rel=1e-6)
    assert weekly["status"] == "improving"
    assert weekly["damped_365"] is not None
    # Two weeks make the baseline.
    assert weekly["baseline_value"] == pytest.approx(1 + np.exp(0.035), rel=1e-6)


def test_gaps_are_spanned_by_date():
    full = history(2.0 * np.exp(0.005 * np.arange(100)), spend=10**12)
    gappy = full.filter(~pl.int_range(pl.len()).is_between(20, 70), pl.int_range(pl.len()) % 4 != 3)
    row = one(gappy, mature(full))
    assert row["days_since_baseline"] == 86
    assert row["trend"] == pytest.approx(0.005, rel=1e-4)


def test_a_weekday_profile_is_no_noise_of_the_trend():
    profile = np.tile([0.5, 0.5, 0.2, 0.0, -0.1, -0.6, -0.5], 15)[:98]
    row = one(history(2.0 * np.exp(0.003 * np.arange(98) + profile)))
    assert row["status"] == "improving"
    assert row["trend"] == pytest.approx(0.003, abs=0.0005)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_flat_accounts_are_rarely_called_anything_but_stable(correlation):
    rng = np.random.default_rng(8)
    for days in (28, 44, 104):
        rows = grown(rng, 2_000, days, 0.0, correlation)
        # 2.5 % nominal on each side; three standard errors of the simulation are 1 %.
        assert share(rows["status"].is_in(["improving", "accelerating"])) < 0.045, days
        assert share(rows["status"] == "declining") < 0.045, days
        assert share(rows["status"] == "accelerating") < 0.012, days
        assert not (rows["status"] == "insufficient_data").any()
        assert rows["on_track_for_10x"].sum() == 0
        held = (rows["improvement_low"] <= 1) & (rows["improvement_high"] >= 1)
        assert 0.92 < share(held) < 0.99, days
        assert (rows["on_track_for_10x"].null_count() > 0) == (days < 44)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_intervals_of_the_damped_view_hold_the_truth_of_flat_accounts(correlation):
    rows = grown(np.random.default_rng(9), 2_000, 104, 0.0, correlation)
    for k in (30, 90, 365):
        held = share((rows[f"damped_{k}_low"] <= 2.0) & (rows[f"damped_{k}_high"] >= 2.0))
        assert held > 0.93, k


def test_accounts_that_compound_are_called_improving_and_not_on_track_too_soon():
    rows = grown(np.random.default_rng(10), 1_000, 90, TENFOLD_A_YEAR, 0.5)
    assert share(rows["status"].is_in(["improving", "accelerating"])) > 0.8
    assert (rows["projected_365"] / rows["baseline_value"]).median() == pytest.approx(10, rel=0.35)


@settings(max_examples=25, deadline=None)
@given(scale=st.integers(2, 50), seed=st.integers(0, 2**16))
def test_the_unit_of_money_and_the_order_of_rows_do_not_matter(scale, seed):
    rng = np.random.default_rng(seed)
    days = history(2.0 * np.exp(rng.normal(0, 0.3, 60)), spend=10**9)
    scaled = days.with_columns(pl.col("spend_micros", "revenue_micros") * scale).sample(fraction=1, shuffle=True, seed=seed)
    plain, other = one(days), one(scaled)
    for name in ("improvement_factor", "improvement_low", "trend", "trend_low", "damped_90_high"):
        assert other[name] == pytest.approx(plain[name], rel=1e-6), name


def test_accounts_do_not_influence_each_other():
    rng = np.random.default_rng(11)
    frames = [
        history(2.0 * np.exp(rng.normal(0, 0.2, 120)), account="a"),
        history(0.02 * np.exp(rng.normal(0, 0.2, 30)), account="b", metric="ctr"),
        history([2.0] * 3, account="c"),
        history(2.0 * np.exp(rng.normal(0, 0.2, 16)), account="d", step=7),
    ]
    as_of = mature(pl.concat(frames))
    together = growth.measure(pl.concat(frames), as_of, SETTINGS)
    alone = pl.concat([growth.measure(frame, as_of, SETTINGS) for frame in frames])
    assert together["account_id"].to_list() == ["a", "b", "c", "d"]
    assert together["status"].to_list() == alone["status"].to_list()
    np.testing.assert_allclose(together["trend"].to_numpy(), alone["trend"].to_numpy(), rtol=1e-9)
    np.testing.assert_allclose(together["trend_low"].to_numpy(), alone["trend_low"].to_numpy(), rtol=1e-9)


def test_bad_days_are_named():
    days = history([2.0] * 3)
    with pytest.raises(ValueError, match="account a has 2 rows for 2025-01-01"):
        one(pl.concat([days, days.head(1)]))
    with pytest.raises(ValueError, match="account a, 2025-01-01: link_clicks is -1"):
        one(days.with_columns(link_clicks=pl.lit(-1)))


def test_no_accounts_give_no_rows():
    rows = growth.measure(history([2.0]).clear(), START, SETTINGS)
    assert rows.schema == growth.GROWTH
    assert rows.height == 0


def test_the_reference_curve():
    np.testing.assert_allclose(growth.reference_factor([0, 30, 60, 90, 365, 900]), [1, 2, np.sqrt(10), 5, 10, 10])


def test_over_all_is_the_mean_log_improvement_of_measured_accounts():
    rates = {"a": [1.0] * 30 + [2.0] * 30, "b": [1.0] * 30 + [8.0] * 30, "c": [1.0] * 5}
    rows = growth.measure(
        pl.concat([history(rate, account=name) for name, rate in rates.items()]), START + timedelta(days=67), SETTINGS
    )
    total = growth.over_all(rows, Growth()).row(0, named=True)
    assert (total["accounts"], total["accounts_measured"], total["insufficient_data"]) == (3, 2, 1)
    assert total["improvement_factor"] == pytest.approx(4.0)
    margin = 12.7062047 * np.log(4) / 2  # t quantile of one degree of freedom; the two logs lie log 4 apart
    assert np.log(total["improvement_high"] / 4) == pytest.approx(margin, rel=1e-6)
    lone = growth.over_all(rows.filter(pl.col("account_id") == "a"), Growth()).row(0, named=True)
    assert lone["improvement_factor"] == pytest.approx(2.0)
    assert lone["improvement_low"] is None
    nobody = growth.over_all(rows.clear(), Growth()).row(0, named=True)
    assert (nobody["accounts"], nobody["improvement_factor"]) == (0, None)


def test_two_hundred_accounts_of_a_year_take_well_under_a_second():
    rng = np.random.default_rng(12)
    days = pl.concat([history(2.0 * np.exp(rng.normal(0, 0.2, 365)), account=f"a{i}") for i in range(200)])
    growth.measure(days, mature(days), SETTINGS)
    began = time.perf_counter()
    growth.measure(days, mature(days), SETTINGS)
    assert time.perf_counter() - began < 0.5
