"""Hours, budgets and learning phases of the simulated market."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from learning_assets.sandbox import delivery
from learning_assets.sandbox.delivery import HOUR_SHARES, SATURATION, BudgetEdit
from learning_assets.sandbox.market import Market, MarketParams

EPOCH = date(2026, 3, 1)
KEYS = ["date", "account_id", "ad_id"]
COUNTS = ["impressions", "link_clicks", "clicks_all", "spend_micros"]
TONGA, TOKYO = "4000008", "4000005"


def day(number: int) -> date:
    """The day `number` days after the epoch."""
    return EPOCH + timedelta(days=number)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(MarketParams(accounts=13, ads=12, deleted_share=0.2), EPOCH)


def summed(hours: pl.DataFrame) -> pl.DataFrame:
    """Hours as days."""
    views = pl.when(pl.col("video_3s_views").count() > 0).then(pl.col("video_3s_views").sum())
    return hours.group_by(KEYS).agg(pl.col(COUNTS).sum(), views).sort(KEYS)


@settings(max_examples=20, deadline=None)
@given(number=st.integers(-60, 60), seed=st.integers(0, 1000), impressions=st.sampled_from([3, 40, 1_000, 20_000]))
def test_hours_sum_to_their_day_and_are_possible(number: int, seed: int, impressions: int):
    market = Market(MarketParams(seed=seed, accounts=5, ads=8, impressions=impressions), EPOCH)
    hours = market.hourly(day(number), day(number + 1))
    days = market.actuals(day(number), day(number + 1), day(number + 1))
    assert_frame_equal(summed(hours), days.select([*KEYS, *COUNTS, "video_3s_views"]).sort(KEYS))
    assert (hours["clicks_all"] <= hours["impressions"]).all()
    assert (hours["link_clicks"] <= hours["clicks_all"]).all()
    assert (hours["video_3s_views"].fill_null(0) <= hours["impressions"]).all()
    assert (hours["spend_micros"] >= 0).all()
    assert not hours.select([*KEYS, "hour"]).is_duplicated().any()


def test_hours_follow_the_profile(market: Market):
    share = market.hourly(day(-20), day(-1)).group_by("hour").agg(pl.col("impressions", "link_clicks").sum()).sort("hour")
    impressions = share["impressions"].to_numpy() / share["impressions"].sum()
    assert np.abs(impressions - np.array(HOUR_SHARES)).max() < 0.004
    clicks = share["link_clicks"].to_numpy() / share["link_clicks"].sum()
    assert np.abs(clicks - np.array(HOUR_SHARES)).max() < 0.008


def test_clicks_of_an_hour_are_as_noisy_as_chance():
    """A test that looks every hour relies on it: given the day, clicks fall on its impressions at random."""
    market = Market(MarketParams(accounts=10, impressions=20_000), EPOCH)
    hours = market.hourly(day(0), day(0)).filter(pl.col("impressions") > 300)
    days = market.actuals(day(0), day(0), day(0)).select([*KEYS, pl.col("link_clicks", "impressions").name.suffix("_day")])
    both = hours.join(days, on=KEYS)
    share = both["impressions"] / both["impressions_day"]
    expected = both["link_clicks_day"] * share
    deviation = ((both["link_clicks"] - expected) ** 2 / (expected * (1 - share))).mean()
    assert deviation == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(
    ("zone", "changed", "labels"),
    [
        ("Europe/Berlin", date(2026, 3, 29), [h for h in range(24) if h != 2]),
        ("Europe/Berlin", date(2026, 10, 25), sorted([*range(24), 2])),
        ("America/New_York", date(2026, 3, 8), [h for h in range(24) if h != 2]),
        ("America/New_York", date(2026, 11, 1), sorted([*range(24), 1])),
        ("Pacific/Auckland", date(2026, 9, 27), [h for h in range(24) if h != 2]),
        ("Pacific/Tongatapu", date(2026, 3, 29), list(range(24))),
    ],
)
def test_daylight_saving_days_have_23_or_25_hours(zone: str, changed: date, labels: list[int]):
    assert list(delivery.hour_labels(zone, changed)) == labels
    market = Market(MarketParams(accounts=13, ads=12), EPOCH)
    chosen = market.accounts().filter(pl.col("timezone") == zone)["account_id"][0]
    hours = market.hourly(changed, changed).filter(pl.col("account_id") == chosen)
    assert sorted(hours["hour"].unique()) == sorted(set(labels))
    days = market.actuals(changed, changed, changed).filter(pl.col("account_id") == chosen)
    assert_frame_equal(summed(hours), days.select([*KEYS, *COUNTS, "video_3s_views"]).sort(KEYS))
    repeated = [label for label in set(labels) if labels.count(label) == 2]
    for label in repeated:
        by_hour = hours.group_by("hour").agg(pl.col("impressions").sum())
        share = by_hour.filter(pl.col("hour") == label)["impressions"][0] / by_hour["impressions"].sum()
        assert share == pytest.approx(2 * HOUR_SHARES[label] / (1 + HOUR_SHARES[label]), rel=0.25)


def test_the_running_day_is_its_finished_hours_and_part_of_the_running_one(market: Market):
    noon = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    whole = market.hourly(EPOCH, EPOCH)
    until = market.hourly(EPOCH, EPOCH, until=noon)
    # In Tonga it is one o'clock of the next day, in Tokyo nine in the evening, in New York seven in the morning.
    same = (pl.col("account_id") == TONGA) | ((pl.col("account_id") == TOKYO) & (pl.col("hour") < 21))
    assert_frame_equal(until.filter(same), whole.filter(same))
    assert until.filter((pl.col("account_id") == TOKYO) & (pl.col("hour") >= 21)).is_empty()
    assert until.filter(pl.col("account_id") == "4000001")["hour"].max() == 6
    found = market.delivered(EPOCH, EPOCH, until=noon)
    assert int(found.counts.impressions.sum()) == until["impressions"].sum()
    part = market.hourly(EPOCH, EPOCH, until=noon + timedelta(minutes=30))
    running = (pl.col("account_id") == TOKYO) & (pl.col("hour") == 21)
    assert part.filter(running)["impressions"].sum() == pytest.approx(whole.filter(running)["impressions"].sum() / 2, rel=0.1)
    unit = 1_000_000
    assert (part.filter(running)["spend_micros"] % unit == 0).all()


def test_a_deleted_ad_delivers_until_noon_of_its_last_day():
    market = Market(MarketParams(accounts=10, ads=12, deleted_share=0.9, launches_per_week=10), EPOCH)
    deleted = market.catalog(EPOCH).filter(pl.col("status") == "deleted")
    assert deleted.height > 3
    hours = market.hourly(EPOCH, EPOCH).join(deleted, on=["account_id", "ad_id"], how="semi")
    assert hours["hour"].max() == 11


# Budgets.


def edit(entity_id: str, at: datetime, market: Market, factor: float) -> BudgetEdit:
    """A budget times `factor`."""
    return BudgetEdit(entity_id, at, round(market.base_budget(entity_id) * factor))


def owner(market: Market, account: str, kind: str) -> str:
    """An ad set or campaign that has a budget of its own."""
    catalog = market.catalog(EPOCH).filter((pl.col("account_id") == account) & (pl.col("budget_owner") == kind))
    return catalog["campaign_id" if kind == "campaign" else "ad_set_id"][-1]


def of(market: Market, frame: pl.DataFrame, entity_id: str) -> pl.DataFrame:
    """Rows of the ads under an ad set or campaign."""
    catalog = pl.concat([market.catalog(day(n)) for n in range(-5, 15)]).unique(["account_id", "ad_id"])
    under = catalog.filter((pl.col("ad_set_id") == entity_id) | (pl.col("campaign_id") == entity_id))
    return frame.join(under, on=["account_id", "ad_id"], how="semi")


@pytest.mark.parametrize("kind", ["ad_set", "campaign"])
@pytest.mark.parametrize("factor", [0.4, 1.2, 3.0])
def test_an_edited_budget_is_what_is_spent(kind: str, factor: float):
    market = Market(MarketParams(accounts=2, ads=12, impressions=20_000), EPOCH)
    entity_id = owner(market, "4000001", kind)
    # Ten in the morning in New York.
    edits = [edit(entity_id, datetime(2026, 3, 1, 15, 0, tzinfo=UTC), market, factor)]
    plain = market.actuals(day(-2), day(9), day(60))
    changed = market.actuals(day(-2), day(9), day(60), edits)
    ours, before = of(market, changed, entity_id), of(market, plain, entity_id)
    others = changed.join(ours, on=KEYS, how="anti")
    assert_frame_equal(others, plain.join(before, on=KEYS, how="anti"))
    later = pl.col("date") > EPOCH
    assert_frame_equal(ours.filter(pl.col("date") < EPOCH), before.filter(pl.col("date") < EPOCH))

    def ratio(column: str) -> float:
        return int(ours.filter(later)[column].sum()) / int(before.filter(later)[column].sum())

    assert ratio("spend_micros") == pytest.approx(factor, rel=0.02)
    assert ratio("impressions") == pytest.approx(factor**SATURATION, rel=0.02)
    assert ratio("link_clicks") == pytest.approx(factor**SATURATION, rel=0.05)


def test_an_edit_changes_nothing_before_the_next_hour(market: Market):
    entity_id = owner(market, "4000001", "ad_set")
    at = datetime(2026, 3, 1, 15, 20, tzinfo=UTC)
    edits = [edit(entity_id, at, market, 2.0)]
    plain, changed = market.hourly(EPOCH, EPOCH), market.hourly(EPOCH, EPOCH, edits=edits)
    # Twenty past ten in New York: from eleven on.
    early = pl.col("hour") < 11
    assert_frame_equal(changed.filter(early), plain.filter(early))
    late = of(market, changed, entity_id).filter(~early)["spend_micros"].sum()
    assert late == pytest.approx(2 * of(market, plain, entity_id).filter(~early)["spend_micros"].sum(), rel=0.1)
    daily = market.actuals(EPOCH, EPOCH, EPOCH, edits).select([*KEYS, *COUNTS, "video_3s_views"]).sort(KEYS)
    assert_frame_equal(summed(changed), daily)
    # What the running day shows at any moment before it is not moved by an edit that comes later.
    for until in (at - timedelta(hours=3), at + timedelta(minutes=30)):
        assert_frame_equal(market.hourly(EPOCH, EPOCH, until=until, edits=edits), market.hourly(EPOCH, EPOCH, until=until))


def test_several_edits_of_one_day_each_govern_their_hours(market: Market):
    entity_id = owner(market, "4000001", "ad_set")
    at = [datetime(2026, 3, 1, hour, 0, tzinfo=UTC) for hour in (13, 17, 21)]
    edits = [edit(entity_id, moment, market, factor) for moment, factor in zip(at, (2.0, 0.5, 1.0), strict=True)]
    plain = of(market, market.hourly(EPOCH, EPOCH), entity_id)
    changed = of(market, market.hourly(EPOCH, EPOCH, edits=list(reversed(edits))), entity_id)

    def ratio(low: int, high: int) -> float:
        within = pl.col("hour").is_between(low, high)
        return int(changed.filter(within)["spend_micros"].sum()) / int(plain.filter(within)["spend_micros"].sum())

    assert [ratio(0, 7), ratio(16, 23)] == pytest.approx([1.0, 1.0])
    assert ratio(8, 11) == pytest.approx(2.0, rel=0.15)
    assert ratio(12, 15) == pytest.approx(0.5, rel=0.15)
    assert_frame_equal(market.actuals(day(1), day(5), day(9), edits), market.actuals(day(1), day(5), day(9)))


def test_what_is_no_budget_is_refused(market: Market):
    for wrong in ("123000000000000000", "17", "122999999000000000", "not an id"):
        with pytest.raises(ValueError, match="of this market"):
            market.base_budget(wrong)


# Learning phases.


def phases(market: Market, at: datetime, edits: Sequence[BudgetEdit] = ()) -> dict[str, dict[str, Any]]:
    """Learning phases by ad set."""
    return {row["ad_set_id"]: row for row in market.learning_phases(at, edits=edits).iter_rows(named=True)}


def test_a_launch_starts_a_learning_phase_of_seven_days_or_fifty_conversions():
    for impressions, wanted in ((1_000, "FAIL"), (60_000, "SUCCESS")):
        market = Market(MarketParams(accounts=3, ads=12, impressions=impressions), EPOCH)
        catalog = market.catalog(EPOCH).filter(pl.col("status") == "active")
        newest = catalog.sort("starts_on").group_by("ad_set_id").agg(pl.col("starts_on").last(), pl.col("account_id").first())
        zone = dict(market.accounts().select("account_id", "timezone").iter_rows())
        at = datetime(2026, 3, 1, 12, tzinfo=UTC)
        found = phases(market, at)
        assert set(found) == set(newest["ad_set_id"])
        for ad_set, starts_on, account in newest.iter_rows():
            assert found[ad_set]["last_sig_edit"] == delivery.midnight(zone[account], starts_on)
        ad_set, starts_on, account = newest.row(0)
        begun = delivery.midnight(zone[account], starts_on)
        assert phases(market, begun + timedelta(minutes=30))[ad_set]["status"] == "LEARNING"
        done = phases(market, begun + timedelta(days=7, hours=1))[ad_set]
        assert done["status"] == wanted
        assert (done["conversions"] >= 50) == (wanted == "SUCCESS")


def test_only_a_large_budget_change_starts_learning_again(market: Market):
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    settled = next(
        ad_set for ad_set, row in phases(market, at).items() if row["status"] == "FAIL" and row["account_id"] == "4000001"
    )
    catalog = market.catalog(EPOCH).filter(pl.col("ad_set_id") == settled)
    entity = settled if catalog["budget_owner"][0] == "ad_set" else catalog["campaign_id"][0]
    changed = at + timedelta(hours=1)
    for factor, wanted in ((1.2, "FAIL"), (0.85, "FAIL"), (1.25, "LEARNING"), (0.7, "LEARNING")):
        found = phases(market, at + timedelta(hours=2), [edit(entity, changed, market, factor)])[settled]
        assert found["status"] == wanted
        assert (found["last_sig_edit"] == changed) == (wanted == "LEARNING")
    # Steps are compared with the budget before them, not with the first one.
    steps = [edit(entity, changed, market, 1.2), edit(entity, changed + timedelta(minutes=9), market, 1.44)]
    assert phases(market, at + timedelta(hours=2), steps)[settled]["status"] == "FAIL"
