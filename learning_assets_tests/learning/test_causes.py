"""What a drop of accuracy is put down to: each cause where it was simulated, and nothing where the figures do not tell."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from learning_assets.learning import causes
from learning_assets.learning.causes import CELLS, FLOWS, Cause, diagnose
from learning_assets.settings import Causes

RULES = Causes()
NOTHING = FLOWS.to_frame()


def ad_days(seed: int, accounts: int = 8, old: int = 20, new: int = 4, days: int = 7, metric: str = "ctr") -> pl.DataFrame:
    """A week of a model that is right about the rate of every ad; its counts are not drawn yet."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for account in range(accounts):
        for ad in range(old + new):
            predicted = 0.015 * np.exp(0.3 * rng.standard_normal())
            for _ in range(days):
                seen = int(rng.poisson(2_000))
                rows.append(
                    {
                        "account_id": f"a{account}",
                        "ad_id": f"a{account}-{ad}",
                        "new": ad >= old,
                        "predicted": predicted,
                        "den": seen,
                    }
                )
    return pl.DataFrame(rows).with_columns(metric=pl.lit(metric), true=pl.col("predicted"))


def drawn(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    counts = np.random.default_rng(seed).poisson((rows["true"] * rows["den"]).to_numpy())
    return rows.with_columns(num=pl.Series(counts).clip(0, rows["den"]))


def told(rows: pl.DataFrame, seed: int, flows: pl.DataFrame = NOTHING, metric: str = "ctr") -> Cause:
    return diagnose(causes.cells(drawn(rows, seed), None), flows, metric, RULES)


def times(which: pl.Expr, factor: float) -> pl.Expr:
    return pl.when(which).then(pl.col("true") * factor).otherwise("true")


def scatter(rows: pl.DataFrame, which: pl.Expr, spread: float, seed: int) -> pl.DataFrame:
    """Ads that are off by an error of their own, up as often as down."""
    ads = rows.select("ad_id").unique(maintain_order=True)
    error = np.exp(spread * np.random.default_rng(seed).standard_normal(ads.height))
    joined = rows.join(ads.with_columns(error=pl.Series(error)), on="ad_id")
    return joined.with_columns(true=pl.when(which).then(pl.col("true") * pl.col("error")).otherwise("true")).drop("error")


SEEDS = range(15)
CASES: dict[str, tuple[str, Any]] = {
    "everything falls by a quarter": ("drift", lambda rows, _: rows.with_columns(true=times(pl.lit(value=True), 0.75))),
    "everything rises by two fifths": ("drift", lambda rows, _: rows.with_columns(true=times(pl.lit(value=True), 1.4))),
    "one account's clicks are gone": (
        "tracking",
        lambda rows, _: rows.with_columns(true=times(pl.col("account_id") == "a3", 0.0)),
    ),
    "two accounts' clicks are nearly gone": (
        "tracking",
        lambda rows, _: rows.with_columns(true=times(pl.col("account_id") < "a2", 0.02)),
    ),
    "new ads are off both ways": ("new_creatives", lambda rows, seed: scatter(rows, pl.col("new"), 0.9, seed)),
    "new ads are half as good": ("new_creatives", lambda rows, _: rows.with_columns(true=times(pl.col("new"), 0.4))),
    "all ads are off both ways": ("unknown", lambda rows, seed: scatter(rows, pl.lit(value=True), 0.5, seed)),
    "one account falls by half": ("unknown", lambda rows, _: rows.with_columns(true=times(pl.col("account_id") == "a3", 0.5))),
    "nothing is wrong": ("unknown", lambda rows, _: rows),
}


@pytest.mark.parametrize("case", CASES)
def test_each_cause_is_told_where_it_was_simulated(case: str):
    expected, change = CASES[case]
    found = [told(change(ad_days(seed), seed), seed).name for seed in SEEDS]
    assert found.count(expected) >= 0.9 * len(found), found


def test_what_is_told_says_how_sure_it_is_and_where():
    gone = told(ad_days(1).with_columns(true=times(pl.col("account_id") == "a3", 0.0)), 1)
    assert (gone.name, gone.sure, gone.accounts) == ("tracking", "likely", ("a3",))
    assert gone.share is not None
    assert 0.8 <= gone.share <= 1
    assert gone.reason.startswith("In one account clicks are gone while impressions go on: 0 on ")
    assert "a3" not in gone.reason
    drift = told(ad_days(1).with_columns(true=times(pl.lit(value=True), 0.75)), 1)
    assert (drift.sure, len(drift.accounts)) == ("likely", 8)
    assert (
        "Clicks are below what was predicted across the board, 0.75 times as many, in new and old ads, in 8 of 8 accounts"
        in drift.reason
    )
    one = told(ad_days(1).with_columns(true=times(pl.col("account_id") == "a3", 0.5)), 1)
    assert (one.share, one.sure, one.accounts) == (None, None, ())
    assert one.reason.startswith("One account alone has ")


def flow(counted: str, actual: int, usual: float | None, base: int = 5_000) -> pl.DataFrame:
    return pl.DataFrame([("a3", counted, base, actual, usual)], schema=FLOWS, orient="row")


def test_conversions_that_are_gone_while_clicks_go_on_are_tracking():
    """Where a platform reports none, the ad-days have no result and are in no comparison; the flow shows it."""
    rows = ad_days(2, metric="cvr").with_columns(true=times(pl.col("account_id") == "a3", 0.5))
    found = told(rows, 2, flow("conversions", 3, 90.0), "cvr")
    assert (found.name, found.accounts) == ("tracking", ("a3",))
    assert "conversions are gone while clicks go on: 3 on 5,000 clicks, where about 90 were to come" in found.reason
    for other in (flow("conversions", 60, 90.0), flow("conversions", 0, 12.0), flow("conversions", 0, None), NOTHING):
        assert told(rows, 2, other, "cvr").name == "unknown"
    # Conversions say nothing about errors of clicks.
    assert told(rows.with_columns(metric=pl.lit("ctr")), 2, flow("conversions", 3, 90.0)).name == "unknown"


def test_revenue_is_judged_by_what_it_rests_on():
    rows = ad_days(3, accounts=4, metric="roas").with_columns(true=times(pl.col("account_id") == "a3", 0.0))
    assert told(rows, 3, flow("conversions", 0, 90.0), "roas").name == "tracking"


def test_an_account_alone_can_drift():
    rows = ad_days(4, accounts=1).with_columns(true=times(pl.lit(value=True), 0.7))
    assert told(rows, 4).name == "drift"


def test_accounts_are_named_by_their_part_of_the_error():
    rows = drawn(ad_days(5).with_columns(true=times(pl.col("account_id") == "a6", 0.3)), 5)
    found = causes.concerned(causes.cells(rows, None))
    assert found["account_id"][0] == "a6"
    assert found["share"].sum() == pytest.approx(1)
    assert found["share"][0] > 0.8


def test_nothing_is_said_of_nothing():
    empty = CELLS.to_frame()
    assert diagnose(empty, NOTHING, "ctr", RULES).name == "unknown"
    assert causes.concerned(empty).is_empty()
    with pytest.raises(ValueError, match="'cpm' is not one of ctr, cvr, roas"):
        diagnose(empty, NOTHING, "cpm", RULES)


def test_cells_are_sums_over_ad_days_that_are_known():
    rows = drawn(ad_days(6, accounts=2, old=3, new=1), 6)
    gone = pl.concat([rows, rows.with_columns(num=pl.lit(None, pl.Int64)), rows.with_columns(den=0)], how="vertical_relaxed")
    found = causes.cells(gone, 1.5)
    assert found.schema == CELLS
    assert found.select("account_id", "new", "ads").rows() == [
        ("a0", False, 3),
        ("a0", True, 1),
        ("a1", False, 3),
        ("a1", True, 1),
    ]
    assert found["actual"].sum() == rows["num"].sum()
    assert found["absolute"].sum() == pytest.approx((rows["num"] - rows["den"] * rows["predicted"]).abs().sum())
    assert set(found["dispersion"]) == {1.5}
