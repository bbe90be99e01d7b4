"""Bins: learned from a family, kept while they serve, and named by their bounds."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from learning_assets.learning import bins
from learning_assets.learning.lift import TIMES
from learning_assets.settings import Patterns

DAY = date(2026, 3, 1)
RULES = Patterns()
NONE = bins.BINS.to_frame()


def family(words: Sequence[int | None], pool: str = "shared", account: str = "a") -> pl.DataFrame:
    return pl.DataFrame({"pool": pool, "account_id": account, "copy_words": words}, schema_overrides={"copy_words": pl.Int64})


def edges(found: pl.DataFrame, attribute: str = "copy_length") -> list[float]:
    (only,) = found.filter(attribute=attribute)["edges"].to_list()
    return only


def test_a_family_has_its_quartiles_in_round_numbers():
    assert edges(bins.learn(family(list(range(1, 101))), NONE, DAY, RULES)) == [25, 50, 75]


def test_every_account_weighs_the_same():
    """Nine hundred long texts of one account do not move what fifty short ones of another say."""
    both = pl.concat([family([10] * 25 + [20] * 25), family([100] * 450 + [200] * 450, account="b")])
    assert edges(bins.learn(both, NONE, DAY, RULES)) == [20, 100] or edges(bins.learn(both, NONE, DAY, RULES)) == [20, 100, 200]


def test_few_creatives_have_the_starting_bins():
    few = family([3, 20, 59, 60, 120, None])
    found = bins.learn(few, NONE, DAY, RULES)
    assert found.is_empty()
    assert bins.named(few, found)["copy_length"].to_list() == [
        "under 20 words",
        "20 to 59 words",
        "20 to 59 words",
        "60 to 119 words",
        "120 words and more",
        None,
    ]


def test_a_number_that_nobody_has_is_unknown():
    named = bins.named(family([1]), NONE)
    assert named["duration"].to_list() == [None]
    assert set(bins.BINNED) <= set(named.columns)


def test_numbers_that_hardly_differ_are_not_parted():
    assert bins.learn(family([40] * 100), NONE, DAY, RULES).is_empty()


def test_bins_are_kept_while_they_serve():
    old = bins.learn(family(list(range(1, 101))), NONE, DAY, RULES)
    drifted = family(list(range(10, 110)))
    for later in (1, 200):
        assert bins.learn(drifted, old, DAY + timedelta(days=later), RULES).equals(old)


def test_bins_that_have_become_useless_are_learned_again_in_time():
    old = bins.learn(family(list(range(1, 101))), NONE, DAY, RULES)
    long = family(list(range(201, 301)))
    assert bins.learn(long, old, DAY + timedelta(days=RULES.bins_days - 1), RULES).equals(old)
    later = DAY + timedelta(days=RULES.bins_days)
    found = bins.learn(long, old, later, RULES)
    assert edges(found) == [225, 250, 275]
    assert found["learned_on"].to_list() == [later]


def test_a_family_does_not_see_another():
    both = pl.concat([family(list(range(1, 101))), family(list(range(1_001, 1_101)), pool="other", account="b")])
    alone = bins.learn(family(list(range(1, 101))), NONE, DAY, RULES)
    assert bins.learn(both, NONE, DAY, RULES).filter(pool="shared").equals(alone)
    named = bins.named(both, bins.learn(both, NONE, DAY, RULES))
    assert named.filter(pool="other")["copy_length"].n_unique() == 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=50, max_size=300), st.integers(0, 2**32 - 1))
def test_every_number_has_one_bin_whatever_the_order(words: list[int], seed: int):
    learned = bins.learn(family(words), NONE, DAY, RULES)
    named = bins.named(family(words), learned)
    assert named["copy_length"].null_count() == 0
    shuffled = family(words).sample(fraction=1, shuffle=True, seed=seed)
    assert bins.learn(shuffled, NONE, DAY, RULES).equals(learned)
    if learned.height:
        sizes = named["copy_length"].value_counts()["count"]
        assert min(sizes.to_list()) >= 0.05 * len(words) - 1e-9


def test_the_parts_of_the_day_have_alike_delivery():
    rng = np.random.default_rng(1)
    hours = pl.DataFrame({"pool": "shared", "account_id": "a", "hour": range(24), "impressions": rng.integers(500, 900, 24)})
    found = bins.learn_hours(hours, NONE, DAY, RULES)
    assert len(edges(found, "posting_hour")) == 3
    times = pl.DataFrame(
        [
            {
                "week": DAY,
                "account_id": "a",
                "ad_id": "1",
                "attribute": "posting_hour",
                "value": f"{hour:02d}",
                "impressions": 10,
            }
            for hour in range(24)
        ]
        + [{"week": DAY, "account_id": "a", "ad_id": "1", "attribute": "posting_weekday", "value": "Mon", "impressions": 240}],
        schema=TIMES,
    ).with_columns(pool=pl.lit("shared"))
    named = bins.named_hours(times.lazy(), found).collect()
    parts = named.filter(attribute="posting_hour")
    assert parts.height == 4
    assert parts["impressions"].sum() == 240
    assert parts["value"].min().startswith("00 to ")  # type: ignore[union-attr]
    assert parts["value"].max().endswith(" to 24 h")  # type: ignore[union-attr]
    assert named.filter(attribute="posting_weekday").height == 1
