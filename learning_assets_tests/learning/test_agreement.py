"""Agreement over several labels: counts by hand, the bounds of the measures, and independence of order."""

import math
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning_assets.learning.agreement import PER_LABEL, agreement

LABELS = ("a", "b", "c")


def lists(*rows: list[str]) -> pl.Series:
    return pl.Series(rows, dtype=pl.List(pl.String))


def test_counts_and_measures_by_hand():
    found = agreement(lists(["a"], ["a", "b"], [], ["x"]), lists(["a"], ["b"], ["a"], ["b"]), LABELS, draws=50)
    assert found.labels.schema == PER_LABEL
    a, b, c = found.labels.rows(named=True)
    assert (a["said"], a["true"], a["both"], a["precision"], a["recall"], a["f1"]) == (2, 2, 1, 0.5, 0.5, 0.5)
    assert a["kappa"] == 0  # half alike, half by chance
    assert (b["said"], b["true"], b["both"], b["precision"], b["recall"]) == (1, 2, 1, 1.0, 0.5)
    assert b["kappa"] == pytest.approx(0.5)
    assert list(c.values())[1:] == [0, 0, 0, None, None, None, None]
    assert found.micro_f1 == pytest.approx(2 * 2 / (3 + 4))
    assert found.macro_f1 == pytest.approx((0.5 + 2 / 3) / 2)
    assert (found.things, found.exact) == (4, 0.25)


def test_sources_that_agree_agree_wholly():
    same = lists(["a"], ["b", "c"], [], ["c"])
    found = agreement(same, same, LABELS, draws=200)
    assert (found.micro_f1, found.micro_low, found.micro_high, found.macro_f1, found.exact) == (1, 1, 1, 1, 1)
    assert found.labels["kappa"].to_list() == [1, 1, 1]


def test_what_is_said_at_random_has_no_kappa():
    rng = np.random.default_rng(3)
    said, true = (lists(*(["a"] if coin else [] for coin in rng.random(4_000) < share)) for share in (0.3, 0.6))
    assert abs(agreement(said, true, LABELS, draws=20).labels["kappa"][0]) < 0.05


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """F1 of labels that are right with 0.8 each: precision and recall 0.8."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(50):
        has = rng.random(300) < 0.5
        told = np.where(rng.random(300) < 0.8, has, ~has)
        said, true = (lists(*(["a"] if one else [] for one in column)) for column in (told, has))
        found = agreement(said, true, LABELS, draws=150)
        covered += found.micro_low <= 0.8 <= found.micro_high
    assert covered >= 43


drawn = st.lists(st.tuples(*[st.lists(st.sampled_from([*LABELS, "x"]), unique=True)] * 2), min_size=1, max_size=12)


@settings(deadline=None)
@given(drawn, st.randoms())
def test_measures_stay_within_bounds_and_do_not_depend_on_the_order(rows: list[tuple[list[str], list[str]]], random: Random):
    if not any(set(said + true) & set(LABELS) for said, true in rows):
        return
    found = agreement(lists(*(said for said, _ in rows)), lists(*(true for _, true in rows)), LABELS, draws=5)
    assert 0 <= found.micro_f1 <= 1
    assert 0 <= found.macro_f1 <= 1
    assert 0 <= found.exact <= 1
    for name, low in (("precision", 0), ("recall", 0), ("f1", 0), ("kappa", -1)):
        assert found.labels[name].drop_nulls().is_between(low, 1).all()
    random.shuffle(rows)
    again = agreement(lists(*(said for said, _ in rows)), lists(*(true for _, true in rows)), LABELS, draws=5)
    assert again.labels.equals(found.labels)
    assert math.isclose(again.micro_f1, found.micro_f1)


@pytest.mark.parametrize(
    ("said", "true", "words"),
    [
        (lists(), lists(), "0 and 0 things"),
        (lists(["a"]), lists(["a"], ["b"]), "1 and 2 things"),
        (pl.Series([None], dtype=pl.List(pl.String)), lists(["a"]), "none NULL"),
        (lists(["x"]), lists([]), "none of the labels"),
    ],
)
def test_what_cannot_be_compared_is_refused(said: pl.Series, true: pl.Series, words: str):
    with pytest.raises(ValueError, match=words):
        agreement(said, true, LABELS)
