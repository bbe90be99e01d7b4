"""What leaves an owner, what is made of it, and when it is told."""

import math
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from learning_assets.learning import lift, wisdom
from learning_assets.learning.wisdom import State
from learning_assets.settings import Network

NETWORK = Network()
START = date(2026, 1, 1)
KEY = {"attribute": "hook", "value": "question", "metric": "ctr"}


def owners(count: int, first: int = 0) -> list[str]:
    return [f"o{number:02}" for number in range(first, first + count)]


def told(of: Iterable[str] | Mapping[str, float], niche: str | None = "fitness", **key: str) -> pl.DataFrame:
    """Insights of one cell: 0.1 each, or what is said."""
    values = of if isinstance(of, Mapping) else dict.fromkeys(of, 0.1)
    rows = [{"owner": owner, "niche": niche, **KEY, **key, "log_ratio": value} for owner, value in values.items()]
    return pl.DataFrame(rows, schema=wisdom.INSIGHTS)


def after(state: State, insights: pl.DataFrame, consenting: Iterable[str], day: int = 0) -> State:
    return wisdom.advance(state, insights, pl.Series(list(consenting), dtype=pl.String), START + timedelta(day), NETWORK)


def cell(state: State, scope: str = "niche", **key: str) -> dict[str, Any] | None:
    """What is told of a cell, or None where nothing ever was."""
    found = wisdom.published(state).filter(pl.col("scope") == scope)
    rows = found.filter(*(pl.col(name) == value for name, value in key.items())).to_dicts()
    assert len(rows) <= 1
    return rows[0] if rows else None


def patterns(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"scope": "account", "evidence": "observational", "metric": "ctr", "se": 0.1, "log_lift": 0.2}
    return pl.DataFrame([base | row for row in rows], schema=lift.FOUND)


def accounts(**niches: str | None) -> pl.DataFrame:
    """Accounts by name, each of the owner that its first letter says."""
    return pl.DataFrame({"account_id": list(niches), "owner": [name[0] for name in niches], "niche": list(niches.values())})


def test_a_lift_leaves_clipped_and_shrunk_by_the_root_of_its_reliability():
    found = wisdom.lifts(
        patterns(
            {"account_id": "a1", "attribute": "cta", "value": "shop_now", "log_lift": 0.3, "se": 0.25},
            {"account_id": "a1", "attribute": "hook", "value": "offer", "log_lift": -2.0, "se": 0.01},
        ),
        accounts(a1="fitness"),
        NETWORK,
    )
    assert found.schema == wisdom.INSIGHTS
    assert found["log_ratio"].to_list() == pytest.approx([0.3 * math.sqrt(0.5), -0.5])
    assert found.select("owner", "niche").unique().rows() == [("a", "fitness")]


def test_insights_spread_alike_whatever_the_volume():
    rng = np.random.default_rng(1)
    for se in (0.02, 0.24):
        lifts = rng.normal(0, math.hypot(NETWORK.prior_sd, se), 4_000)
        rows = patterns(
            *({"account_id": f"a{n}", "attribute": "cta", "value": "v", "log_lift": x, "se": se} for n, x in enumerate(lifts))
        )
        wide = Network(clip=0.99)
        who = pl.DataFrame({"account_id": rows["account_id"], "owner": rows["account_id"], "niche": "fitness"})
        spread = wisdom.lifts(rows, who, wide).select(pl.col("log_ratio").std()).item()
        assert spread == pytest.approx(NETWORK.prior_sd, rel=0.05)


def test_what_is_mostly_noise_or_about_pairs_or_of_several_accounts_does_not_leave():
    found = wisdom.lifts(
        patterns(
            {"account_id": "a1", "attribute": "cta", "value": "a", "se": 0.26},
            {"account_id": "a1", "attribute": "cta", "value": "b", "se": None},
            {"account_id": "a1", "attribute": f"cta{lift.PAIR}hook", "value": "c"},
            {"scope": "niche", "niche": "fitness", "attribute": "cta", "value": "d"},
            {"account_id": "b1", "attribute": "cta", "value": "e"},
        ),
        accounts(a1="fitness"),
        NETWORK,
    )
    assert found.is_empty(), "b1 is not among those that consent"


def test_an_owners_accounts_weigh_the_same_and_count_in_their_usual_niche():
    rows = [
        {"account_id": name, "attribute": "cta", "value": "v", "log_lift": x, "se": 1e-9}
        for name, x in {"a1": 0.1, "a2": 0.3, "a3": -0.4}.items()
    ]
    found = wisdom.lifts(patterns(*rows), accounts(a1="fitness", a2="fitness", a3="travel"), NETWORK)
    assert found.select("niche", "log_ratio").rows() == [("fitness", pytest.approx(0.2))]


def test_the_surer_grade_of_evidence_is_told_and_of_two_mirror_images_one():
    found = wisdom.lifts(
        patterns(
            {"account_id": "a1", "attribute": "question", "value": "yes", "log_lift": 0.1, "se": 0.2},
            {
                "account_id": "a1",
                "attribute": "question",
                "value": "yes",
                "log_lift": 0.4,
                "se": 1e-9,
                "evidence": "randomized",
            },
            {"account_id": "a1", "attribute": "question", "value": "no", "log_lift": -0.1, "se": 0.2},
            {
                "account_id": "a1",
                "attribute": "question",
                "value": "no",
                "log_lift": -0.4,
                "se": 1e-9,
                "evidence": "randomized",
            },
        ),
        accounts(a1="fitness"),
        NETWORK,
    )
    assert found.select("value", "log_ratio").rows() == [("no", pytest.approx(-0.4))]


def test_benchmarks_are_ratios_to_a_reference_and_few_conversions_say_nothing():
    sums = pl.DataFrame(
        {
            "account_id": ["a1", "b1"],
            "impressions": [10_000, 10_000],
            "link_clicks": [300, 100_000],
            "conversions": [29, 30],
            "spend_micros": [10, 10],
            "revenue_micros": [20, 20],
        }
    )
    found = wisdom.benchmarks(sums, accounts(a1="fitness", b1=None), NETWORK)
    assert found.select("owner", "metric", "log_ratio").rows() == [
        ("a", "ctr", pytest.approx(math.log(2))),
        ("b", "ctr", 1.0),
        ("b", "cvr", -1.0),
        ("b", "roas", pytest.approx(0)),
    ]


def test_below_five_owners_nothing_is_told():
    state = after(State.empty(), told(owners(4)), owners(4))
    assert wisdom.published(state).is_empty()


def test_five_owners_are_told_as_their_rounded_mean_in_a_band():
    values = dict(zip(owners(5), (0.5, -0.1, 0.2, 0.3, 0.1), strict=True))
    found = cell(after(State.empty(), told(values), values))
    assert found is not None
    assert (found["status"], found["owners"], found["log_ratio"]) == ("published", "5-9", 0.25), "0.20 in steps of 0.125"
    assert found["low"] < 0.2 < found["high"]
    assert all(round(found[end] / 0.05, 6).is_integer() for end in ("low", "high"))


def test_at_five_owners_the_interval_is_about_33_log_points_wide_to_each_side():
    widths = list[float]()
    rng = np.random.default_rng(2)
    for _ in range(60):
        values = dict(zip(owners(5), np.clip(rng.normal(0, 0.25, 5), -0.5, 0.5), strict=True))
        found = cell(after(State.empty(), told(values), values))
        assert found is not None
        widths.append((found["high"] - found["low"]) / 2)
    assert 0.3 < np.mean(widths) < 0.42


@pytest.mark.parametrize(
    ("count", "band", "step"), [(5, "5-9", 0.125), (14, "10-19", 0.5 / 9), (23, "20-49", 0.05), (100, "100 or more", 0.05)]
)
def test_bands_and_steps(count: int, band: str, step: float):
    frame = pl.DataFrame({"attribute": ["hook"], "k": [count]})
    found = frame.select(band=wisdom.band(pl.col("k")), grain=wisdom.grain(pl.col("k"), NETWORK))
    assert found.row(0) == (band, pytest.approx(step))


def test_one_more_changes_nothing_and_five_more_do():
    low, high = dict.fromkeys(owners(5), 0.0), dict.fromkeys(owners(5, 5), 0.4)
    state = first = after(State.empty(), told(low), low)
    for number in range(1, 5):
        there = low | dict(list(high.items())[:number])
        state = after(state, told(there), there, number)
        assert_frame_equal(wisdom.published(state), wisdom.published(first))
    state = after(state, told(low | high), low | high, 5)
    found = cell(state)
    assert found is not None
    assert (found["owners"], found["log_ratio"], found["released_on"]) == (
        "10-19",
        pytest.approx(3 * 0.5 / 9),
        START + timedelta(5),
    )


def test_who_leaves_darkens_its_cells_at_once_and_takes_no_other_group_along():
    state = after(State.empty(), told(owners(10)), owners(10))
    state = after(state, told(owners(10)), owners(9, 1), 1)
    for scope in ("niche", "all"):
        found = cell(state, scope)
        assert found is not None
        assert (found["status"], found["log_ratio"], found["low"], found["owners"]) == ("dark", None, None, None)
    state = after(state, told(owners(10)), owners(9, 1), 2)
    found = cell(state)
    assert found is not None
    assert (found["status"], found["owners"]) == ("published", "5-9"), "five memberships have ended"


def test_a_cell_of_one_group_stays_dark_until_five_have_come():
    state = after(State.empty(), told(owners(5)), owners(5))
    for day in range(1, 7):
        there = owners(3 + day, 1)
        state = after(state, told(there), there, day)
        found = cell(state)
        assert found is not None
        assert found["status"] == ("dark" if day < 6 else "published")
    assert set(state.members.drop_nulls("group")["owner"]) == set(owners(5, 5)), (
        "the four that were left over are not among them"
    )


def test_who_comes_back_does_not_enter_a_second_time():
    state = after(State.empty(), told(owners(5)), owners(5))
    state = after(state, told(owners(4, 1)), owners(4, 1), 1)
    state = after(state, told(owners(9)), owners(9), 2)
    assert state.groups.is_empty()


def test_a_forgotten_owner_is_missed_although_no_row_says_so():
    state = after(State.empty(), told(owners(5)), owners(5))
    state = State(state.members.filter(pl.col("owner") != "o00"), state.groups, state.cells)
    state = after(state, told(owners(4, 1)), owners(4, 1), 1)
    found = cell(state)
    assert found is not None
    assert found["status"] == "dark"
    assert "o00" not in state.members["owner"]
    assert state.groups.is_empty()


def test_thin_niches_are_told_over_all_niches_only():
    there = [told(owners(3), "fitness"), told(owners(2, 3), "travel")]
    state = after(State.empty(), pl.concat(there), owners(5))
    assert cell(state) is None
    found = cell(state, "all")
    assert found is not None
    assert (found["niche"], found["owners"]) == (None, "5-9")
    shown = wisdom.of_niche(wisdom.published(state), "fitness")
    assert shown["scope"].to_list() == ["all"]


def test_an_account_is_told_its_niche_before_all_niches_and_no_other():
    insights = pl.concat([told(dict.fromkeys(owners(5), -0.5), "fitness"), told(dict.fromkeys(owners(5, 5), 0.5), "travel")])
    seen = wisdom.published(after(State.empty(), insights, owners(10)))
    assert wisdom.of_niche(seen, "travel").select("scope", "log_ratio").rows() == [("niche", 0.5)]
    assert wisdom.of_niche(seen, None).select("scope", "log_ratio").rows() == [("all", 0.0)]


def test_of_few_values_one_is_never_told():
    values = {"a": 6, "b": 5, "c": 8}
    insights = pl.concat(told(owners(count), value=value) for value, count in values.items())
    state = State.empty()
    for day in range(3):
        state = after(state, insights, owners(8), day)
    entered = state.members.group_by("owner").agg(pl.len()).sort("owner")
    have = insights.group_by("owner").agg(pl.len()).sort("owner")
    few = have.filter(pl.col("len") > 1).join(entered, on="owner", suffix="_entered")
    assert (few["len_entered"] < few["len"]).all()
    assert cell(state, value="b") is None


def test_two_insights_for_one_thing_are_refused():
    twice = pl.concat([told(owners(5)), told(owners(1), "travel")])
    with pytest.raises(ValueError, match="several insights"):
        after(State.empty(), twice, owners(5))


histories = st.lists(st.sets(st.integers(0, 17)), min_size=2, max_size=10)


@given(
    histories,
    st.lists(st.floats(-0.5, 0.5), min_size=18, max_size=18),
    st.lists(st.sampled_from(["fitness", "travel", None]), min_size=18, max_size=18),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_and_goes(history: list[set[int]], values: list[float], niches: list[str | None]):
    """Nothing is told of fewer than five, nobody stands in two groups, a cell holds still for fewer than five changes, leavers go dark."""
    names = owners(18)
    insights = pl.concat(told({name: x}, niche) for name, x, niche in zip(names, values, niches, strict=True))
    state, entered = State.empty(), dict[str, int]()
    for day, there in enumerate(history):
        consenting = [names[number] for number in sorted(there)]
        before, state = state, after(state, insights, consenting, day)
        groups = state.groups.join(state.members.drop_nulls("group"), on="group")
        assert (state.groups["owners"] == 5).all()
        assert set(groups["owner"]) <= set(consenting)
        assert not state.members.select("owner", *KEY).is_duplicated().any()
        for owner, group in state.members.drop_nulls("group").select("owner", "group").iter_rows():
            assert entered.setdefault(owner, group) == group, "once in a group, never in another"
        left = set(before.members.drop_nulls("group")["owner"]) - set(consenting)
        for scope, niche in before.cells.select("scope", "niche").iter_rows():
            of = pl.col("niche").eq_missing(pl.lit(niche, pl.String)) & (pl.col("scope") == scope)
            old, new = before.cells.filter(of).drop("changed"), state.cells.filter(of).drop("changed")
            inside = before.groups.filter(pl.lit(scope == "all") | pl.col("niche").eq_missing(pl.lit(niche, pl.String)))
            members = set(before.members.join(inside, on="group")["owner"])
            still = set(
                state.members.join(
                    state.groups.filter(pl.lit(scope == "all") | pl.col("niche").eq_missing(pl.lit(niche, pl.String))),
                    on="group",
                )["owner"]
            )
            if left & members:
                assert new["status"].to_list() == ["dark"]
                assert new["log_ratio"].to_list() == [None]
            elif members == still and old["status"].item() == "published":
                assert_frame_equal(old, new)
            if new["status"].item() == "published":
                assert len(still) >= 5
                assert new["low"].item() <= new["log_ratio"].item() <= new["high"].item()
