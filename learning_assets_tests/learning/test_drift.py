"""The hourly detector: how seldom it errs, how soon it notices, what it expects of an hour, and that chunks do not matter."""

import json
import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from learning_assets.learning import drift
from learning_assets.learning.drift import CHANGES, State
from learning_assets.settings import Models

START = date(2026, 3, 1)
THRESHOLD = 20_000.0


def stream_hours(
    seed: int, streams: int, days: int, volume: float, rate: float = 1.0, dispersion: float = 1.0, told: float | None = None
) -> pl.DataFrame:
    """Hours of streams whose clicks have `rate` times the expected mean, and `dispersion` times its variance."""
    rng = np.random.default_rng(seed)
    expected = rng.uniform(0.5, 1.5, (streams, days * 24)) * volume
    mean = expected * rate
    clicks = rng.poisson(mean) if dispersion == 1 else rng.negative_binomial(mean / (dispersion - 1), 1 / dispersion)
    size = expected.size
    return pl.DataFrame(
        {
            "stream": np.repeat(np.arange(streams), days * 24).astype(str),
            "date": np.tile(np.repeat(np.datetime64(START) + np.arange(days), 24), streams),
            "hour": np.tile(np.arange(24), streams * days),
            "clicks": clicks.ravel(),
            "expected": expected.ravel(),
            "dispersion": np.full(size, told or dispersion),
        }
    )


def alarms(hours: pl.DataFrame, threshold: float = THRESHOLD) -> dict[str, list[int]]:
    """Hours from the start to each alarm, by stream."""
    found = drift.advance({}, hours, threshold)
    return {stream: [(day - START).days * 24 + hour + 1 for day, hour in result.alarms] for stream, result in found.items()}


# -- the detector


@pytest.mark.parametrize(("volume", "dispersion"), [(2.0, 1.0), (50.0, 1.0), (50.0, 2.0), (500.0, 1.0)])
def test_false_alarms_are_as_rare_as_the_threshold_says(volume, dispersion):
    # At a threshold of 1,000 hours 100 streams of 2,000 hours may alarm 200 times; three standard errors above would be 242.
    found = alarms(stream_hours(1, streams=100, days=83, volume=volume, dispersion=dispersion), 1_000)
    assert 0 < sum(map(len, found.values())) <= 242


def test_dispersion_that_is_not_told_makes_false_alarms():
    told, untold = (
        sum(map(len, alarms(stream_hours(2, 50, 60, 50.0, dispersion=3.0, told=phi)).values())) for phi in (3.0, 1.0)
    )
    assert told <= 10 < 50 < untold


@pytest.mark.parametrize(("rate", "longest"), [(0.9, 12), (1.1, 12), (0.8, 4), (1.3, 3), (0.0, 1)])
def test_a_shift_is_noticed_within_hours_at_two_hundred_clicks_an_hour(rate, longest):
    calm, shifted = (stream_hours(seed, 200, days, 200.0, rate=r) for seed, days, r in ((3, 7, 1.0), (4, 4, rate)))
    states = {stream: result.state for stream, result in drift.advance({}, calm, THRESHOLD).items()}
    later = shifted.with_columns(date=pl.col("date") + pl.duration(days=7))
    found = drift.advance(states, later, THRESHOLD)
    first = [
        (result.alarms[0][0] - START).days * 24 - 168 + result.alarms[0][1] + 1 if result.alarms else math.inf
        for result in found.values()
    ]
    assert np.median(first) <= longest
    signs = [np.sign(result.change) for result in found.values() if result.change is not None]
    assert np.mean(np.array(signs) == np.sign(rate - 1)) > 0.95


def test_three_percent_alarm_now_and_then_and_ten_all_the_time():
    small, large = (sum(map(len, alarms(stream_hours(5, 40, 14, 200.0, rate=rate)).values())) / 40 for rate in (0.97, 0.9))
    assert small < 1 < 20 < large


def test_it_begins_anew_after_an_alarm():
    hours = stream_hours(6, 1, 1, 500.0, rate=0.7)
    found = drift.advance({}, hours, THRESHOLD)["0"]
    assert len(found.alarms) > 3
    day, hour = found.alarms[-1]
    after = hours.filter((pl.col("date") > day) | (pl.col("hour") > hour))
    assert drift.advance({}, after, THRESHOLD)["0"].state.evidence == found.state.evidence if after.height else True
    assert np.mean(found.state.evidence) < THRESHOLD


def test_the_figures_are_those_of_the_definition():
    hours = stream_hours(7, 1, 2, 20.0, rate=0.95, dispersion=1.5)
    evidence, peak = np.zeros(len(CHANGES)), 0.0
    for clicks, expected in hours.select("clicks", "expected").iter_rows():
        evidence = (evidence + 1) * np.exp((clicks * np.log1p(CHANGES) - expected * np.array(CHANGES)) / 1.5)
        peak = max(peak, evidence.mean())
    found = drift.advance({}, hours, THRESHOLD)["0"]
    assert_allclose(found.state.evidence, evidence, rtol=1e-9)
    assert found.peak == pytest.approx(peak, rel=1e-9)
    assert found.state.last == (START + timedelta(1), 23)


@given(seed=st.integers(0, 10_000), cuts=st.sets(st.integers(1, 71), max_size=6), shuffle=st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=25, deadline=None)
def test_chunks_and_order_do_not_matter(seed, cuts, shuffle):
    hours = stream_hours(seed, 3, 3, 100.0, rate=0.9)
    whole = drift.advance({}, hours, 500)
    states: dict[str, State] = {}
    told: dict[str, list[tuple[date, int]]] = {"0": [], "1": [], "2": []}
    at = (pl.col("date") - pl.lit(START)).dt.total_days() * 24 + pl.col("hour")
    for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), 72], strict=True):
        rows = hours.filter(at.is_between(low, high, closed="left"))
        order = list(range(rows.height))
        shuffle.shuffle(order)
        found = drift.advance(states, rows[order], 500)
        # The state goes through the store as JSON.
        states = {name: State.from_json(json.loads(json.dumps(result.state.to_json()))) for name, result in found.items()}
        for name, result in found.items():
            told[name] += result.alarms
    for name, result in whole.items():
        assert states[name].last == result.state.last
        assert_allclose(states[name].evidence, result.state.evidence, rtol=1e-12)
        assert tuple(told[name]) == result.alarms


def test_a_day_is_learned_again_from_the_states_before_it_and_not_from_its_own():
    first, second = stream_hours(8, 2, 2, 20.0).sort("date").partition_by("date")
    before = {name: result.state for name, result in drift.advance({}, first, THRESHOLD).items()}
    once = drift.advance(before, second, THRESHOLD)
    assert drift.advance(before, second, THRESHOLD) == once
    with pytest.raises(ValueError, match=r"0: the hour 2026-03-02 00 is not after 2026-03-02 23"):
        drift.advance({name: result.state for name, result in once.items()}, second, THRESHOLD)


def test_streams_do_not_disturb_each_other_and_wait_where_hours_are_missing():
    hours = stream_hours(9, 3, 2, 50.0, rate=0.93)
    alone = {name: drift.advance({}, hours.filter(stream=name), THRESHOLD)[name] for name in ("0", "1", "2")}
    assert drift.advance({}, hours, THRESHOLD) == alone
    gap = hours.filter((pl.col("stream") != "1") | (pl.col("hour") < 20))
    found = drift.advance({}, gap, THRESHOLD)
    assert {name: found[name] for name in ("0", "2")} == {name: alone[name] for name in ("0", "2")}
    assert found["1"].state.last == (START + timedelta(1), 19)
    waiting = drift.advance({"1": found["1"].state}, hours.clear(), THRESHOLD)["1"]
    assert (waiting.state, waiting.peak, waiting.change, waiting.alarms) == (found["1"].state, None, None, ())
    assert drift.advance({}, hours.clear(), THRESHOLD) == {}


@given(clicks=st.integers(0, 10**7), expected=st.floats(0, 1e7), dispersion=st.floats(1, 100), start=st.floats(0, THRESHOLD))
@hypothesis_settings(max_examples=60, deadline=None)
def test_no_hour_makes_it_overflow(clicks, expected, dispersion, start):
    hours = stream_hours(1, 1, 1, 1.0).head(1)
    hours = hours.with_columns(clicks=pl.lit(clicks), expected=pl.lit(expected), dispersion=pl.lit(dispersion))
    found = drift.advance({"0": State((start,) * len(CHANGES))}, hours, THRESHOLD)["0"]
    assert found.peak is not None
    assert math.isfinite(found.peak)
    assert all(0 <= value < len(CHANGES) * THRESHOLD for value in found.state.evidence)
    json.dumps(found.state.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clicks": -1}, "unknown or negative"),
        ({"clicks": None}, "unknown or negative"),
        ({"expected": math.nan}, "unknown or negative"),
        ({"expected": math.inf}, "unknown or negative"),
        ({"dispersion": 0.9}, "unknown or negative"),
        ({"hour": 24}, "no hour from 0 to 23"),
        ({"hour": 3}, "is there twice"),
    ],
)
def test_bad_hours_are_an_error_that_names_the_row(change, message):
    hours = stream_hours(1, 1, 1, 5.0)
    row = pl.int_range(pl.len()) == 7
    (name, value), *_ = change.items()
    bad = hours.with_columns(pl.when(row).then(pl.lit(value, hours.schema[name])).otherwise(name).alias(name))
    with pytest.raises(ValueError, match=message):
        drift.advance({}, bad, THRESHOLD)


def test_other_bad_inputs_are_named():
    hours = stream_hours(1, 1, 1, 5.0)
    with pytest.raises(ValueError, match="no column 'expected'"):
        drift.advance({}, hours.drop("expected"), THRESHOLD)
    with pytest.raises(ValueError, match="the threshold is 0"):
        drift.advance({}, hours, 0)
    for evidence in ([1.0], [-1.0] * len(CHANGES), [math.nan] * len(CHANGES)):
        with pytest.raises(ValueError, match="start it anew"):
            State.from_json({"evidence": evidence, "last": None})


# -- what is expected of an hour


def past_hours(
    seed: int, days: int, volume: float, shape: np.ndarray, level: float = 1.0, day_noise: float = 0.0
) -> pl.DataFrame:
    """Past hours of one account whose click rate follows `shape` over the day; predictions are off by `level`."""
    rng = np.random.default_rng(seed)
    flat = rng.uniform(0.5, 1.5, (days, 24)) * volume
    swing = np.exp(rng.normal(0, day_noise, (days, 1)))
    return pl.DataFrame(
        {
            "stream": ["pool"] * (days * 24),
            "account_id": ["a"] * (days * 24),
            "date": np.repeat(np.datetime64(START) + np.arange(days), 24),
            "hour": np.tile(np.arange(24), days),
            "clicks": rng.poisson(flat * shape * level * swing).ravel(),
            "flat": flat.ravel(),
            "expected": flat.ravel(),
        },
        schema_overrides={"stream": pl.String, "account_id": pl.String},
    )


EVEN = np.ones(24)
WAVE = 1 + 0.4 * np.sin(np.arange(24) / 24 * 2 * np.pi)


@pytest.mark.parametrize("level", [0.5, 1.0, 2.0])
def test_a_profile_is_learned_whatever_the_level(level):
    found = drift.profile(past_hours(1, 28, 200.0, WAVE, level=level))
    assert found["hour"].to_list() == list(range(24))
    assert_allclose(found["factor"], WAVE / WAVE.mean(), rtol=0.08)


def test_hours_that_do_not_differ_have_a_factor_of_nearly_one():
    factors = [drift.profile(past_hours(seed, 7, 3.0, EVEN))["factor"] for seed in range(30)]
    raw = 1 / math.sqrt(21)
    assert np.std(np.concatenate(factors)) < raw / 2
    assert drift.profile(past_hours(1, 0, 1.0, WAVE)).height == 0
    assert drift.profile(past_hours(1, 1, 0.0, WAVE)).height == 0


def test_expectations_add_up_over_accounts_and_know_the_hour():
    past = past_hours(2, 28, 100.0, WAVE)
    both = pl.concat([past, past.with_columns(account_id=pl.lit("b"), clicks=pl.lit(50, pl.Int64), flat=pl.lit(50.0))])
    today = both.filter(date=START).with_columns(date=START + timedelta(40))
    found = drift.expect(today, both, {})
    factors = drift.profile(past)["factor"].to_numpy()
    flat = past.filter(date=START)["flat"].to_numpy()
    assert_allclose(found["expected"], flat * factors + 50, rtol=1e-9)
    assert_allclose(found["clicks"], past.filter(date=START)["clicks"].to_numpy() + 50)
    # An account may belong to several streams; a new one, without past, is taken as even.
    again = drift.expect(pl.concat([today, today.with_columns(stream=pl.lit("own"))]), both, {})
    assert again.filter(stream="pool").equals(found)
    new = today.with_columns(account_id=pl.lit("new"), stream=pl.lit("new"))
    flat = today["flat"].to_numpy().sum()
    assert drift.expect(new, both.clear(), {"new": 3.0})["expected"].to_numpy().sum() == pytest.approx(flat)


def test_a_mix_of_hours_that_changes_is_no_swing():
    past = past_hours(5, 28, 400.0, WAVE)
    found = [
        drift.expect(past.filter(date=START + timedelta(27)), past.filter(pl.col("date") < START + timedelta(27)), {})[
            "dispersion"
        ]
        for past in (past, past.with_columns(flat=pl.col("flat") * pl.lit(1.3)))
    ]
    assert all(phi.to_list() == [1.0] * 24 for phi in found)
    assert drift.noise(past, {})["dispersion"].item() > 1


def test_nothing_is_learned_from_the_days_that_are_judged():
    past = past_hours(3, 3, 10.0, WAVE)
    with pytest.raises(ValueError, match="the past reaches to 2026-03-03, into the days from 2026-03-03"):
        drift.expect(past.filter(date=START + timedelta(2)), past, {})
    with pytest.raises(ValueError, match=r"dispersion is 0\.5"):
        drift.expect(past, past.clear(), {"pool": 0.5})


def test_swings_of_the_whole_account_are_seen_and_counting_noise_is_not():
    calm = [drift.noise(past_hours(seed, 28, 100.0, EVEN), {})["dispersion"].item() for seed in range(60)]
    assert np.mean(np.array(calm) == 1.0) > 0.85
    # 10 % a day at 2,400 clicks: 1 + 0.01 x 2,400.
    swings = [drift.noise(past_hours(seed, 28, 100.0, EVEN, day_noise=0.1), {})["dispersion"].item() for seed in range(30)]
    assert np.median(swings) == pytest.approx(25, rel=0.25)
    assert drift.noise(past_hours(1, 2, 100.0, WAVE), {"pool": 1.5})["dispersion"].item() == 1.5
    assert drift.noise(past_hours(1, 0, 100.0, WAVE), {"pool": 1.5}).height == 0


def test_one_lasting_shift_is_not_taken_for_noise():
    later = pl.col("date") >= START + timedelta(14)
    found = [
        drift.noise(days.with_columns(pl.when(later).then(pl.col("clicks") * 9 // 10).otherwise("clicks").alias("clicks")), {})
        for days in (past_hours(seed, 28, 100.0, EVEN) for seed in range(20))
    ]
    assert np.median([one["dispersion"].item() for one in found]) < 1.8


def test_hourly_counts_are_those_of_predicted_ads():
    delivery = pl.DataFrame(
        {
            "date": [START] * 5,
            "hour": [0, 0, 1, 1, 1],
            "account_id": ["a", "a", "a", "a", "a"],
            "ad_id": ["1", "2", "1", "2", "3"],
            "impressions": [100, 200, 100, None, 1_000],
            "link_clicks": [1, 5, 2, 3, 10],
        }
    )
    predictions = pl.DataFrame(
        {"date": [START] * 3, "account_id": ["a"] * 3, "ad_id": ["1", "2", "3"], "predicted": [0.01, 0.02, None]}
    )
    assert drift.hourly(delivery, predictions).rows() == [("a", START, 0, 6, 5.0), ("a", START, 1, 2, 1.0)]


# -- a day of the product

RULES = Models(drift_min_days=5, drift_profile_days=10)


def two_accounts(days: int) -> pl.DataFrame:
    """Hours of two accounts of one stream, the second by the later half of the days only."""
    first = past_hours(11, days, 60.0, WAVE).drop("expected")
    second = past_hours(12, days, 30.0, EVEN).drop("expected").with_columns(account_id=pl.lit("b"))
    return pl.concat([first, second.filter(pl.col("date") >= START + timedelta(days // 2))])


def test_days_one_by_one_give_what_one_pass_gives():
    hours, phi = two_accounts(20), {"pool": 1.3}
    states: dict[str, State] = {}
    expected, peaks = [], []
    for day in (START + timedelta(n) for n in range(20)):
        today, past = hours.filter(date=day), hours.filter(pl.col("date") < day)
        found = drift.watch(day, today, past, states, phi, RULES)
        assert drift.watch(day, today, past, states, phi, RULES) == found, "from the same state comes the same day"
        states = {name: State.from_json(json.loads(json.dumps(one.state.to_json()))) for name, one in found.items()}
        peaks += [one.peak for one in found.values()]
        # An account is judged after five days, the second from ten days later; the profile is that of the last ten days.
        judged = ["a"] * (day >= START + timedelta(5)) + ["b"] * (day >= START + timedelta(15))
        window = past.filter(pl.col("date") >= day - timedelta(10))
        expected.append(drift.expect(today.filter(pl.col("account_id").is_in(judged)), window, phi))
    whole = drift.advance({}, pl.concat(expected), RULES.drift_hours)["pool"]
    assert states["pool"] == whole.state
    assert max(peaks) == whole.peak
    assert (len(peaks), whole.alarms) == (15, ())


def test_hours_that_end_late_are_added_to_those_of_the_day():
    hours = two_accounts(20)
    day, before = START + timedelta(19), START + timedelta(18)
    late = (pl.col("account_id") == "b") & (pl.col("date") == before)
    today, past = hours.filter((pl.col("date") == day) | late), hours.filter((pl.col("date") < day) & ~late)
    state = State((5.0,) * len(CHANGES), (before, 23))
    found = drift.watch(day, today, past, {"pool": state}, {}, RULES)["pool"]
    moved = drift.expect(today.with_columns(date=pl.lit(day)), past.filter(pl.col("date") >= day - timedelta(10)), {})
    assert moved["clicks"].sum() == today["clicks"].sum()
    assert found == drift.advance({"pool": state}, moved, RULES.drift_hours)["pool"]
    assert found.state.last == (day, 23)


def test_a_day_without_hours_that_can_be_judged_leaves_the_state():
    hours, state = two_accounts(4), State((2.0,) * len(CHANGES), (START, 23))
    day = START + timedelta(3)
    today, past = hours.filter(date=day), hours.filter(pl.col("date") < day)
    for given_hours, known in ((today.clear(), past), (today, past), (today, past.clear())):
        found = drift.watch(day, given_hours, known, {"pool": state}, {"pool": 2.0}, RULES)
        assert found == {"pool": drift.Day(state, None, None, ())}
        assert drift.watch(day, given_hours, known, {}, {}, RULES) == {}
    with pytest.raises(ValueError, match="is not after 2026-03-04 23"):
        drift.watch(
            day,
            two_accounts(20).filter(date=day),
            two_accounts(20).filter(pl.col("date") < day),
            {"pool": State(last=(day, 23))},
            {},
            Models(drift_min_days=1),
        )
