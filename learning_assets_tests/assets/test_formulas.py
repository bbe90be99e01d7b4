"""Winning formulas: they rest on the facts of their window and can be learned alone, stay behind the walls, and show what they know."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.assets.attributes import ATTRIBUTES
from learning_assets.learning import formula, score
from learning_assets.store.walls import Wall
from learning_assets_tests.world import Learned, MakeWorld, metadata

SCOPE = ["scope", "account_id", "niche"]


def test_every_scope_says_what_it_rests_on(learned: Learned):
    rows = learned.table("winning_formulas", as_of=learned.days[-1])
    own = rows.filter(kind="scope")
    accounts = learned.store.accounts(Wall(None))["account_id"].to_list()
    assert own.filter(scope="account")["account_id"].sort().to_list() == accounts
    assert own.filter(scope="all").height == 1
    assert own.select("attribute", "value", "log_odds").null_count().row(0) == (own.height,) * 3
    assert rows.join(own, on=SCOPE, nulls_equal=True, how="anti").is_empty()
    insufficient = rows.filter(status="insufficient_data")
    few = learned.settings.formula.min_winners
    assert (own.select(few=pl.min_horizontal("winners", "losers") < few)["few"] == (own["status"] == "insufficient_data")).all()
    assert insufficient.filter(kind="scope")["reason"].str.contains(f"{few} of each are needed").all()
    assert insufficient["log_odds"].is_null().all()
    assert insufficient["q_value"].is_null().all()
    told = rows.drop_nulls("log_odds")
    assert told.height > 0
    assert told.select(
        (pl.col("winners_with") <= pl.col("winners")).all() & (pl.col("losers_with") <= pl.col("losers")).all()
    ).item()
    assert rows.filter(kind="choice")["attribute"].is_in(list(ATTRIBUTES)).all()
    assert not rows["value"].drop_nulls().is_in(["unknown"]).any()


def test_the_winners_are_those_of_the_stored_facts(learned: Learned):
    """Counted anew from the days themselves: ads with a ROAS of 3 in the weeks whose conversions are known."""
    day = learned.days[-1]
    rules = learned.settings.formula
    facts = pl.concat([learned.store.lake.read("actuals", one) for one in learned.store.lake.days("actuals", last=day)])
    week = pl.col("date") + pl.duration(days=7 - pl.col("date").dt.weekday())
    old = facts.with_columns(week=week).filter(pl.col("week") <= day - pl.duration(days=rules.mature_days))
    ads = pl.concat([learned.store.lake.read("ad_catalog", one) for one in learned.store.lake.days("ad_catalog", last=day)])
    creative = ads.select("account_id", "ad_id", "creative_id").unique()
    prints = learned.table("creative_dna", columns=["account_id", "creative_id", "fingerprint"])
    sums = (
        old.join(creative, on=["account_id", "ad_id"])
        .join(prints, on=["account_id", "creative_id"], how="left")
        .group_by("account_id", unit=pl.coalesce("fingerprint", "ad_id"))
        .agg(pl.col("impressions", "spend_micros", "revenue_micros").sum())
    )
    won = sums.filter(
        pl.col("impressions") >= rules.min_impressions, pl.col("revenue_micros") >= rules.min_roas * pl.col("spend_micros")
    )
    stored = learned.table("winning_formulas", as_of=day, kind="scope", scope="account")
    counted = stored.select("account_id").join(won.group_by("account_id").len("winners"), on="account_id", how="left")
    assert dict(counted.fill_null(0).iter_rows()) == dict(stored.select("account_id", "winners").iter_rows())


def test_an_owner_sees_no_other_owners_formula(learned: Learned):
    seen = learned.table("winning_formulas", Wall("owner_0002"), as_of=learned.days[-1])
    assert set(seen["account_id"]) == {"4000003", None}
    assert set(seen.filter(pl.col("account_id").is_null())["scope"]) == {"all"}


def test_any_day_can_be_learned_alone_and_again(learned_copy: Learned):
    before, middle = learned_copy.table("winning_formulas"), learned_copy.days[3]
    shown = metadata(learned_copy.run(middle, "winning_formulas"), "winning_formulas")
    order: dict[str, Any] = {"check_row_order": False, "check_exact": True}
    assert_frame_equal(learned_copy.table("winning_formulas"), before, **order)
    assert shown["dagster/row_count"] == before.filter(as_of=middle).height
    whole = before.filter(as_of=middle, scope="all", kind="scope").row(0, named=True)
    assert (shown["winners"], shown["losers"]) == (whole["winners"], whole["losers"])
    assert shown["score_says_nothing"] == whole["says_nothing"]
    assert shown["scopes_with_formula"] == before.filter(as_of=middle, kind="scope", status="learned").height
    assert "Simulated market" in shown["table"]
    assert shown["plot"].startswith("![plot](data:image/png;base64,")
    assert whole["score_reason"].rstrip(".") in shown["summary"].replace("\\", "")


def test_a_stored_score_is_the_score(learned: Learned):
    rows = learned.table("winning_formulas", as_of=learned.days[-1], scope="all")
    model, validation = score.restored(rows)
    assert validation.reason == rows.filter(kind="scope")["score_reason"].item()
    assert validation.says_nothing is (model is None)
    assert (rows["weight"].is_not_null().any()) is (model is not None)


def test_a_niche_needs_five_owners(make_world: MakeWorld):
    world = make_world(sandbox={"accounts": 12, "ads": 6, "impressions": 2_000})
    day = date(2026, 2, 20)
    world.fetch(date(2026, 2, 8), day)
    accounts = world.store.accounts(Wall(None)).sort("owner").unique("owner", keep="first", maintain_order=True)["account_id"]
    for account in accounts[:5]:
        world.store.set_niche(account, "beauty", by="test")
    for account in accounts[5:9]:
        world.store.set_niche(account, "tech", by="test")
    assert world.run(day, "creative_dna", "patterns", "winning_formulas", replaying=True).success
    own = world.table("winning_formulas", kind="scope")
    assert own.filter(scope="niche")["niche"].to_list() == ["beauty"]
    assert own.filter(scope="niche")["accounts"].item() == 5


@pytest.mark.parametrize("level", ["learned", "empty"])
def test_the_schema_is_that_of_the_science(learned: Learned, level: str):
    rows = (
        learned.table("winning_formulas") if level == "learned" else learned.table("winning_formulas", as_of=date(2020, 1, 1))
    )
    assert {*formula.FORMULA, *score.KEPT} <= set(rows.columns)
