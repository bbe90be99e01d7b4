"""Sample-ratio mismatch."""

import os
from pathlib import Path

import polars as pl
import pytest
from scipy import stats

from learning_assets.learning.experiments import SAMPLE_RATIO, sample_ratio

ARCHIVE = (
    Path(os.environ.get("LEARNING_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "upworthy"
    / "upworthy_to_2014w42.parquet"
)


def arms(experiment: str | None, impressions: list[int | None], shares: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "account_id": "a",
            "experiment_id": pl.Series([experiment] * len(impressions), dtype=pl.String),
            "ad_id": [f"{experiment}-{number}" for number in range(len(impressions))],
            "impressions": pl.Series(impressions, dtype=pl.Int64),
            "planned_share": pl.Series(shares, dtype=pl.Float64),
        }
    )


def test_p_is_pearsons_against_the_planned_shares():
    rows = pl.concat([arms("x", [1_000, 1_040, 2_060], [0.25, 0.25, 0.5]), arms("y", [900, 1_100], [0.5, 0.5])])
    judged = sample_ratio(rows, 0.001)
    expected = stats.chisquare([1_000, 1_040, 2_060], [1_025, 1_025, 2_050]).pvalue
    assert judged.schema == SAMPLE_RATIO
    assert judged["p_value"].to_list() == pytest.approx([expected, stats.chisquare([900, 1_100]).pvalue])
    assert judged["status"].to_list() == ["sound", "mismatch"]
    assert judged["impressions"].to_list() == [4_100, 2_000]


@pytest.mark.parametrize(
    ("impressions", "shares"),
    [([100, 900], [None, None]), ([100, 900], [0.5, None]), ([1_000], [1.0]), ([0, 0], [0.5, 0.5]), ([None, 10], [0.5, 0.5])],
)
def test_what_cannot_be_judged_is_not_applicable(impressions: list[int | None], shares: list[float | None]):
    judged = sample_ratio(arms("x", impressions, shares), 0.001)
    assert judged["status"].to_list() == ["not_applicable"]
    assert judged["p_value"].to_list() == [None]


def test_an_arm_planned_for_nothing_must_get_nothing():
    shares: list[float | None] = [0.5, 0.5, 0]
    judged = sample_ratio(pl.concat([arms("x", [500, 500, 0], shares), arms("y", [500, 500, 1], shares)]), 0.001)
    assert judged["status"].to_list() == ["sound", "mismatch"]


def test_rows_outside_experiments_are_ignored():
    assert sample_ratio(arms(None, [1, 2], [0.5, 0.5]), 0.001).height == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pl.concat([arms("x", [1, 2], [0.5, 0.5])] * 2), "'x-0' of experiment 'x'.*several rows"),
        (arms("x", [-1, 2], [0.5, 0.5]), "'x-0'.*negative impressions"),
        (arms("x", [1, 2], [0.5, -0.5]), "'x-1'.*negative planned_share"),
    ],
)
def test_wrong_rows_are_named(rows: pl.DataFrame, message: str):
    with pytest.raises(ValueError, match=message):
        sample_ratio(rows, 0.001)


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"the Upworthy archive is not at {ARCHIVE}")
def test_the_archives_broken_weeks_are_caught():
    table = pl.read_parquet(ARCHIVE).with_row_index("arm")
    test = pl.col("clickability_test_id")
    judged = sample_ratio(
        table.select(
            account_id=pl.lit("archive"),
            experiment_id=test,
            ad_id=pl.col("arm").cast(pl.String),
            impressions="impressions",
            planned_share=1 / pl.len().over(test),
        ),
        0.001,
    )
    broken = table.group_by(experiment_id=test).agg(broken=pl.col("test_week").is_between(201325, 201402).any())
    counts = dict(
        judged.filter(pl.col("status") == "mismatch").join(broken, on="experiment_id")["broken"].value_counts().iter_rows()
    )
    assert judged.height == 3_602
    assert counts == {True: 736, False: 16}
