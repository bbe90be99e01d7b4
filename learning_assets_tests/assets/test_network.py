"""What accounts give and what niches know, as it lies in the tables after days of learning."""

from datetime import timedelta

import polars as pl
from polars.testing import assert_frame_equal

from learning_assets.learning import wisdom
from learning_assets.store.store import POOLED_LEARNING
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, metadata

CELL = ["scope", "niche", "attribute", "value", "metric"]


def test_only_owners_that_consent_give_and_only_what_may_leave(learned: Learned):
    rows = learned.table("account_insights", as_of=learned.days[-1])
    accounts = learned.store.accounts(PIPELINE)
    assert rows.columns == ["as_of", "owner", "attribute", "value", "metric", "niche", "log_ratio"]
    assert set(rows["owner"]) == set(accounts.filter("consents")["owner"])
    assert rows.filter(pl.col("attribute") != wisdom.BENCHMARK)["log_ratio"].abs().max() <= 0.5  # type: ignore[operator]
    assert rows.filter(pl.col("attribute") == wisdom.BENCHMARK)["metric"].n_unique() == 3


def test_niche_tables_hold_no_name_of_anybody(learned: Learned):
    accounts = learned.store.accounts(PIPELINE)
    told = learned.table("niche_patterns")
    assert told.filter(pl.col("status") == "published").height > 0
    assert set(told["scope"]) == {"all"}, "six accounts in as many niches"
    text = str(told.select(pl.col(pl.String).unique().implode()).to_dicts())
    for column in ("account_id", "owner", "name"):
        assert not any(f"'{name}'" in text for name in accounts[column])


def test_an_owner_reads_what_is_told_and_nothing_behind_it(learned: Learned):
    owner = learned.store.accounts(PIPELINE)["owner"][0]
    assert learned.table("niche_patterns", Wall(owner)).height == learned.table("niche_patterns").height
    for name in ("wisdom_cells", "wisdom_groups"):
        assert learned.table(name).height > 0
        assert learned.table(name, Wall(owner)).is_empty()
    assert set(learned.table("wisdom_members", Wall(owner))["owner"]) == {owner}


def test_a_cell_holds_still_while_nobody_comes_or_goes(learned: Learned):
    first, last = (
        learned.table("niche_patterns", as_of=day, status="published").drop("as_of").sort(CELL)
        for day in (learned.days[0], learned.days[-1])
    )
    assert_frame_equal(first, last.join(first.select(CELL), on=CELL, how="semi", nulls_equal=True))


def test_who_withdraws_darkens_its_cells_on_the_next_day(learned_copy: Learned):
    members = learned_copy.table("wisdom_members", as_of=learned_copy.days[-1]).drop_nulls("group")
    owner = members["owner"].sort()[0]
    account = learned_copy.store.accounts(Wall(owner))["account_id"][0]
    learned_copy.store.consent(account, POOLED_LEARNING, given=False, by="Ann")
    day = learned_copy.days[-1]
    result = learned_copy.run(day, "account_insights", "niche_wisdom", replaying=True)
    assert result.success
    rows = learned_copy.table("niche_patterns", as_of=day)
    key = ["attribute", "value", "metric"]
    touched = rows.join(members.filter(pl.col("owner") == owner), on=key, how="semi")
    assert touched.height > 0
    assert set(touched["status"]) == {"dark"}
    assert touched["log_ratio"].null_count() == touched.height
    assert owner not in learned_copy.table("account_insights", as_of=day)["owner"]
    assert metadata(result, "niche_wisdom")["cells_dark"] == rows.filter(pl.col("status") == "dark").height


def test_a_replayed_day_is_the_same_day(learned_copy: Learned):
    day = learned_copy.days[-1]
    before = learned_copy.table("niche_patterns", as_of=day).sort(CELL)
    assert learned_copy.run(day, "niche_wisdom").success
    assert_frame_equal(learned_copy.table("niche_patterns", as_of=day).sort(CELL), before)
    late = learned_copy.run(day - timedelta(days=1), "niche_wisdom")
    assert not late.success
