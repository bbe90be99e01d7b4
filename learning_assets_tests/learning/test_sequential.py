"""The promotion test: its evidence against the binomial, what it must not depend on, and the rule."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import proportion

from benchmarks import promotion_truth
from learning_assets.learning import sequential
from learning_assets.learning.sequential import grid
from learning_assets.learning.sequential.decisions import ARM_TOTALS, FLAGS
from learning_assets.settings import Promotion

RULES = Promotion()
DAY = date(2026, 3, 1)
KEY = {"account_id": "a", "experiment_id": "e"}

counts = st.integers(0, 60)
shown = st.integers(1_000, 3_000)


def hours(rows: Sequence[tuple[str, int, int, float, int]]) -> pl.DataFrame:
    """HOURS from (ad, day, hour, exposure, events)."""
    told = [
        KEY | {"ad_id": ad, "date": DAY + timedelta(days=day), "hour": hour, "exposure": float(x), "events": k}
        for ad, day, hour, x, k in rows
    ]
    return pl.DataFrame(told, schema=sequential.HOURS)


def known(of: pl.DataFrame, phi: float = 1.0) -> pl.DataFrame:
    return of.select("account_id", "experiment_id", "date").unique().with_columns(dispersion=phi)


def told(rows: Sequence[tuple[str, int, int, float, int]], phi: float = 1.0) -> pl.DataFrame:
    of = hours(rows)
    return sequential.increments(of, known(of, phi))


def row(evidence: pl.DataFrame, ad: str, other: str) -> dict[str, float]:
    return evidence.filter(pl.col("ad_id") == ad, pl.col("other_id") == other).row(0, named=True)


@given(st.lists(st.tuples(shown, counts, shown, counts), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_likelihoods_are_those_of_the_binomial_split(drawn: list[tuple[int, int, int, int]]):
    rows = [one for h, (n, x, m, y) in enumerate(drawn) for one in (("p", 0, h, n, x), ("q", 0, h, m, y))]
    found = np.array(told(rows)["log_likelihood"][0].to_list())
    expected = np.zeros(len(grid.GRID))
    for n, x, m, y in drawn:
        split = np.exp(grid.GRID) * n / (np.exp(grid.GRID) * n + m)
        expected += stats.binom.logpmf(x, x + y, split) - stats.binom.logpmf(x, x + y, n / (n + m))
    np.testing.assert_allclose(found, expected, atol=1e-8)


@given(st.lists(st.tuples(shown, counts, shown, counts), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_the_other_direction_is_the_same_with_the_arms_exchanged(drawn: list[tuple[int, int, int, int]]):
    def rows(first: str, second: str) -> list[tuple[str, int, int, float, int]]:
        return [one for h, (n, x, m, y) in enumerate(drawn) for one in ((first, h, 0, n, x), (second, h, 0, m, y))]

    one, other = (sequential.evidence(told(rows(*names)), RULES) for names in (("p", "q"), ("q", "p")))
    here, there = row(one, "p", "q"), row(other, "q", "p")
    for name in ("log_e", "peak_log_e", "anytime_p", "shrunk_lift", "events", "other_exposure"):
        assert here[name] == pytest.approx(there[name], abs=1e-9)


def test_days_add_up_and_a_restated_day_replaces_its_own():
    one, two = told([("p", 0, 0, 1_000, 30), ("q", 0, 0, 1_000, 20)]), told([("p", 1, 0, 900, 25), ("q", 1, 0, 1_100, 22)])
    both = told([("p", 0, 0, 1_000, 30), ("q", 0, 0, 1_000, 20), ("p", 1, 0, 900, 25), ("q", 1, 0, 1_100, 22)])
    assert pl.concat([one, two]).equals(both)
    with pytest.raises(ValueError, match="a restated day replaces its own"):
        sequential.evidence(pl.concat([one, one]), RULES)


def test_only_hours_in_which_both_were_shown_count():
    alone = told(
        [("p", 0, 0, 1_000, 30), ("q", 0, 0, 1_000, 20), ("p", 0, 1, 1_000, 500), ("q", 0, 2, 0, 0), ("p", 0, 2, 5, 1)]
    )
    both = told([("p", 0, 0, 1_000, 30), ("q", 0, 0, 1_000, 20)])
    assert alone.equals(both)
    assert told([("p", 0, 0, 1_000, 3), ("q", 0, 1, 1_000, 2)]).is_empty()


def test_a_common_swing_of_the_rate_changes_nothing_that_the_split_says():
    calm = told([("p", 0, 0, 1_000, 24), ("q", 0, 0, 1_000, 20), ("p", 0, 1, 1_000, 24), ("q", 0, 1, 1_000, 20)])
    wild = told([("p", 0, 0, 3_000, 24), ("q", 0, 0, 3_000, 20), ("p", 0, 1, 200, 24), ("q", 0, 1, 200, 20)])
    np.testing.assert_allclose(calm["log_likelihood"][0].to_list(), wild["log_likelihood"][0].to_list())


def test_dispersion_divides():
    rows = [("p", 0, 0, 1_000.0, 30), ("q", 0, 0, 1_000.0, 20)]
    plain, noisy = (np.array(told(rows, phi)["log_likelihood"][0].to_list()) for phi in (1.0, 2.5))
    np.testing.assert_allclose(noisy, plain / 2.5)
    with pytest.raises(ValueError, match="at least 1 and known before the day"):
        told(rows, 0.9)
    of = hours(rows)
    with pytest.raises(ValueError, match="has the dispersion None"):
        sequential.increments(of, known(of).clear())


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("p", 0, 0, 10, -1), ("q", 0, 0, 10, 1)], "-1 events of an exposure of 10"),
        ([("p", 0, 0, 0, 1), ("q", 0, 0, 10, 1)], "no events without exposure"),
        ([("p", 0, 0, float("nan"), 1), ("q", 0, 0, 10, 1)], "both are known"),
        ([("p", 0, 0, 10, 1), ("p", 0, 0, 10, 1)], "several rows for 2026-03-01, hour 0"),
    ],
)
def test_bad_hours_are_refused_by_name(rows: list[tuple[str, int, int, float, int]], says: str):
    with pytest.raises(ValueError, match=says):
        told(rows)


def test_a_clear_winner_is_seen_with_its_interval():
    rng = np.random.default_rng(5)
    rows = [
        (ad, day, hour, 500.0, int(rng.binomial(500, rate)))
        for ad, rate in (("p", 0.026), ("q", 0.02))
        for day in range(10)
        for hour in range(24)
    ]
    found = sequential.evidence(told(rows), RULES)
    here, there = row(found, "p", "q"), row(found, "q", "p")
    assert here["log_e"] > np.log(40) > 0 > there["log_e"]
    assert here["lift_low"] < np.log(1.3) < here["lift_high"]
    assert here["lift"] == pytest.approx(np.log(1.3), abs=0.08)
    assert 0 < here["shrunk_low"] < here["shrunk_lift"] < here["lift"]
    assert here["anytime_p"] < 0.01 < there["anytime_p"]


def test_the_plain_test_is_the_one_that_people_know():
    found = sequential.evidence(told([("p", 0, 0, 9_000, 230), ("q", 0, 0, 11_000, 240)]), RULES)
    _, expected = proportion.proportions_ztest([230, 240], [9_000, 11_000], alternative="larger")
    assert row(found, "p", "q")["naive_p"] == pytest.approx(expected)
    assert row(found, "q", "p")["naive_p"] == pytest.approx(1 - expected)


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(4)
    of = hours([(ad, d, h, 500.0, int(rng.poisson(10))) for ad in "pqr" for d in range(3) for h in range(4)])
    mixed = of.sample(fraction=1.0, shuffle=True, seed=1)
    assert sequential.increments(of, known(of)).equals(sequential.increments(mixed, known(mixed)))


def test_the_confidence_sequence_holds_the_truth_at_all_looks_together():
    rng = np.random.default_rng(8)
    true, looks = np.log(1.1), 60
    events = rng.poisson([100 * np.exp(true), 100], (500, looks, 2)).astype(np.float64)
    summed = grid.log_likelihoods(events[..., 0], events[..., 1], np.full((500, looks), 0.5)).cumsum(axis=1)
    low, high = grid.confidence_set(summed, RULES.prior_sd, RULES.alpha)
    assert ((low > true) | (high < true)).any(axis=1).mean() <= RULES.alpha


def test_the_dispersion_of_an_experiment_is_learned_from_its_past_only():
    variance = pl.DataFrame({"account_id": ["a"], "log_rate_variance": [0.0004], "pair_days": [100]})
    rows = [(ad, day, 0, 12_000.0, 240 + (60 if (day % 2) == (ad == "p") else 0)) for ad in ("p", "q") for day in range(8)]
    of = hours(rows)
    own = sequential.increments(of, known(of))
    found = sequential.dispersion(own, own.select("account_id", "experiment_id", "date"), variance, RULES)
    assert found["days"].to_list() == list(range(8))
    until = own.filter(pl.col("date") < DAY + timedelta(days=4))
    again = sequential.dispersion(until, own.select("account_id", "experiment_id", "date"), variance, RULES)
    assert found.head(5).equals(again.head(5))
    assert found["dispersion"][0] < 1.2 < found["dispersion"][7]
    nothing = sequential.dispersion(own.clear(), own.select("account_id", "experiment_id", "date"), variance.clear(), RULES)
    assert nothing["dispersion"].unique().to_list() == [1 + 2 * RULES.new_account_noise**2 * RULES.first_information]


@pytest.mark.parametrize(("scenario", "low", "high"), [("iid", 0.0, 0.0015), ("day_noise", 0.007, 0.014)])
def test_the_noise_of_days_is_found_from_small_experiments(scenario: str, low: float, high: float):
    # What a new account is taken for counts 30 of 310 days, and leaves a tenth of its 0.01.
    found = promotion_truth.variances(scenario, np.random.default_rng(3), RULES, accounts=30)
    assert low <= found["log_rate_variance"].to_numpy().mean() <= high


def test_a_late_arm_is_judged_by_the_clicks_whose_conversions_can_have_come():
    clicks = pl.DataFrame([KEY | {"ad_id": "p", "date": DAY + timedelta(days=d), "clicks": 100} for d in range(3)])
    found = sequential.lagged(clicks, [0.5, 0.8, 1.0])
    assert found["exposure"].to_list() == pytest.approx([50, 80, 100])


# The rule.


def decided(ours: int, theirs: int, hours_seen: int = 200, **flags: object) -> dict[str, object]:
    rows = [one for h in range(20) for one in (("p", h, 0, 10_000.0, ours), ("q", h, 0, 10_000.0, theirs))]
    evidence = sequential.evidence(told(rows), RULES)
    arms = pl.DataFrame(
        [
            KEY
            | {
                "ad_id": ad,
                "impressions": 200_000,
                "link_clicks": 20 * k,
                "conversions": flags.get("conversions"),
                "hours": hours_seen,
            }
            for ad, k in (("p", ours), ("q", theirs))
        ],
        schema=ARM_TOTALS,
    )
    said = {"isolated": True, "sample_ratio": "sound", "complete": True} | {k: v for k, v in flags.items() if k in FLAGS}
    roas = flags.get("roas", sequential.ROAS.to_frame())
    found = sequential.decide({"ctr": evidence}, arms, pl.DataFrame([KEY | said], schema=FLAGS), roas, RULES)  # type: ignore[arg-type]
    assert found.schema == sequential.DECISIONS
    return found.row(0, named=True)


def test_a_winner_is_promoted_with_its_proof():
    found = decided(130, 100)
    assert (found["status"], found["ad_id"], found["other_id"], found["guard"]) == ("promoted", "p", "q", None)
    assert found["log_threshold"] == pytest.approx(np.log(40))
    assert "Better than every other arm by clicks per impression" in str(found["reason"])
    assert found["naive"] == "promoted"


@pytest.mark.parametrize(
    ("found", "status", "guard", "says"),
    [
        (lambda: decided(101, 100), "continue_testing", None, "not surely better"),
        (lambda: decided(130, 100, hours_seen=71), "insufficient_data", None, "71 hours; 72 are needed"),
        (lambda: decided(5, 4), "insufficient_data", None, "80 clicks; 100 are needed"),
        (lambda: decided(130, 100, complete=False), "blocked", "incomplete", "not complete"),
        (lambda: decided(130, 100, complete=None), "blocked", "incomplete", "not complete"),
        (lambda: decided(130, 100, sample_ratio="mismatch"), "blocked", "sample_ratio", "traffic that was planned"),
        (lambda: decided(130, 100, isolated=False), "cannot_isolate", None, "an ad set of its own"),
    ],
)
def test_every_gate_says_why(found, status: str, guard: str | None, says: str):
    one = found()
    assert (one["status"], one["guard"]) == (status, guard)
    assert says in one["reason"]


def test_a_winner_by_clicks_that_earns_less_is_blocked():
    worse = pl.DataFrame(
        [
            KEY
            | {
                "ad_id": "p",
                "other_id": "q",
                "conversions": 60,
                "other_conversions": 60,
                "lift": -0.4,
                "standard_error": 0.1,
                "lift_low": -0.9,
                "lift_high": 0.1,
            }
        ],
        schema=sequential.ROAS,
    )
    found = decided(130, 100, roas=worse)
    assert (found["status"], found["guard"]) == ("blocked", "cvr_guard")


def both_metrics(ours: tuple[int, int], theirs: tuple[int, int], others: Sequence[str] = ()) -> dict[str, Any]:
    """The decision about 20 days of 10,000 impressions an arm, from daily clicks and all conversions of each; `others` were arms once, and sold much."""
    totals = {"p": ours, "q": theirs} | dict.fromkeys(others, (100, 200))
    proofs = [
        sequential.evidence(told([(ad, d, 0, 10_000.0, k(ad)) for d in range(20) for ad in totals]), RULES)
        for k in (lambda ad: totals[ad][0], lambda ad: totals[ad][1] // 20)
    ]
    sums = [
        KEY
        | {"ad_id": ad, "impressions": 200_000, "link_clicks": 20 * totals[ad][0], "conversions": totals[ad][1], "hours": 480}
        for ad in ("p", "q")
    ]
    flags = pl.DataFrame([KEY | {"isolated": True, "sample_ratio": "sound", "complete": True}], schema=FLAGS)
    arms = pl.DataFrame(sums, schema=ARM_TOTALS)
    found = sequential.decide(dict(zip(("ctr", "cvr"), proofs, strict=True)), arms, flags, sequential.ROAS.to_frame(), RULES)
    return found.row(0, named=True)


def test_clicks_that_do_not_convert_win_no_money():
    found = both_metrics((150, 0), (100, 20))
    assert (found["metric"], found["status"], found["guard"], found["ad_id"]) == ("ctr", "blocked", "cvr_guard", "p")
    assert "its conversions per click is credibly below" in found["reason"]
    # As many conversions of more clicks: each click is worth less, though no sale was lost.
    assert both_metrics((200, 20), (100, 20))["guard"] == "cvr_guard"
    assert both_metrics((130, 20), (100, 20))["status"] == "promoted"


def test_an_arm_that_is_gone_blocks_nobody():
    assert both_metrics((130, 20), (100, 20), others=["r"])["status"] == "promoted"


def test_conversions_decide_where_every_arm_has_enough():
    found = both_metrics((200, 400), (100, 300))
    assert (found["metric"], found["status"], found["guard"]) == ("cvr", "promoted", None)


def three_arms(daily: dict[str, int]) -> dict[str, Any]:
    """The decision about 20 days of 10,000 impressions an arm, from the daily clicks of each."""
    proof = sequential.evidence(told([(ad, d, 0, 10_000.0, k) for d in range(20) for ad, k in daily.items()]), RULES)
    sums = [
        KEY | {"ad_id": ad, "impressions": 200_000, "link_clicks": 20 * k, "conversions": None, "hours": 480}
        for ad, k in daily.items()
    ]
    flags = pl.DataFrame([KEY | {"isolated": True, "sample_ratio": "sound", "complete": True}], schema=FLAGS)
    arms = pl.DataFrame(sums, schema=ARM_TOTALS)
    return sequential.decide({"ctr": proof}, arms, flags, sequential.ROAS.to_frame(), RULES).row(0, named=True)


def test_every_other_arm_has_to_be_beaten():
    one = three_arms({"p": 130, "q": 128, "r": 90})
    assert (one["status"], one["other_id"], one["arms"]) == ("continue_testing", "q", 3)
    assert one["log_threshold"] == pytest.approx(np.log(3 / RULES.alpha))
    two = three_arms({"p": 130, "q": 100, "r": 90})
    assert (two["status"], two["ad_id"], two["other_id"]) == ("promoted", "p", "q")


def test_overwhelming_evidence_is_still_a_sentence():
    assert "evidence over 1,000,000 to 1 where 40 to 1" in str(decided(300, 100)["reason"])


def test_what_is_not_known_of_completeness_or_isolation_never_promotes():
    assert decided(130, 100, isolated=None)["status"] == "cannot_isolate"
    assert decided(130, 100, sample_ratio=None)["status"] == "blocked"


def test_roas_needs_conversions_and_covers_the_truth():
    rng = np.random.default_rng(9)
    held = 0
    rows: list[dict[str, Any]] = []
    for _ in range(40):
        rows = []
        for ad, value in (("p", 60.0), ("q", 60.0)):
            for d in range(14):
                orders = int(rng.poisson(40))
                revenue = int(1e6 * rng.normal(value, 30, orders).clip(1).sum())
                rows.append(
                    KEY
                    | {
                        "ad_id": ad,
                        "date": DAY + timedelta(days=d),
                        "conversions": orders,
                        "revenue_micros": revenue,
                        "spend_micros": 10**9,
                    }
                )
        found = sequential.ratio_of_roas(pl.DataFrame(rows), RULES)
        one = row(found, "p", "q")
        held += one["lift_low"] < 0 < one["lift_high"]
    assert held >= 38
    few = pl.DataFrame(rows).filter(pl.col("date") < DAY + timedelta(days=2)).with_columns(conversions=5)
    assert sequential.ratio_of_roas(few, RULES).is_empty()


def test_improvement_multiplies_what_is_left_after_shrinkage():
    rows = pl.DataFrame(
        {
            "account_id": ["a", "a", "b"],
            "lift": [0.4, 0.3, None],
            "shrunk_lift": [0.2, 0.1, 0.05],
            "shrunk_low": [0.1, 0.0, 0.0],
            "shrunk_high": [0.3, 0.2, 0.1],
        }
    )
    first, second = sequential.cumulative(rows).to_dicts()
    assert first["improvement"] == pytest.approx(np.exp(0.3))
    assert first["plain_product"] == pytest.approx(np.exp(0.7))
    assert first["improvement_low"] == pytest.approx(np.exp(0.3 - 0.1 * 2**0.5))
    assert second["plain_product"] is None


# The benchmark takes the same road.


def test_the_benchmark_decides_as_the_product_does():
    rng = np.random.default_rng(2)
    world = promotion_truth.simulate("iid", 0.2, 6, rng)
    accounts = np.arange(6)
    phi = promotion_truth.dispersions(world, accounts, promotion_truth.NOTHING, RULES)
    found = promotion_truth.promote(world, phi, RULES)
    for number in np.flatnonzero(np.isfinite(found.hour)).tolist():
        last = int(found.hour[number])
        rows = [
            (str(arm), at // 24, at % 24, float(world.exposure[number, arm, at]), int(world.events[number, arm, at]))
            for arm in range(2)
            for at in range(last)
        ]
        of = hours(rows)
        own = sequential.increments(of, known(of))
        noise = sequential.dispersion(own, own.select("account_id", "experiment_id", "date"), promotion_truth.NOTHING, RULES)
        evidence = sequential.evidence(sequential.increments(of, noise), RULES)
        arms = pl.DataFrame(
            [
                KEY
                | {
                    "ad_id": str(arm),
                    "impressions": 1,
                    "link_clicks": int(world.events[number, arm, :last].sum()),
                    "conversions": None,
                    "hours": last,
                }
                for arm in range(2)
            ],
            schema=ARM_TOTALS,
        )
        flags = pl.DataFrame([KEY | {"isolated": True, "sample_ratio": "sound", "complete": True}], schema=FLAGS)
        decision = sequential.decide({"ctr": evidence}, arms, flags, sequential.ROAS.to_frame(), RULES).row(0, named=True)
        assert (decision["status"], decision["ad_id"]) == ("promoted", str(int(found.arm[number])))
        assert decision["shrunk_lift"] == pytest.approx(found.shrunk[number], abs=1e-9)


@pytest.mark.parametrize("scenario", ["iid", "hour_noise", "day_noise", "moving_allocation", "late_starter", "five_arms"])
def test_hourly_looks_do_not_make_winners(scenario: str):
    rng = np.random.default_rng(17)
    world = promotion_truth.simulate(scenario, 0.0, 120, rng)
    phi = promotion_truth.dispersions(world, np.arange(120), promotion_truth.NOTHING, RULES)
    assert np.isfinite(promotion_truth.promote(world, phi, RULES).hour).mean() <= 0.06
