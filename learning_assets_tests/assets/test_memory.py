"""Winner memory: it rests on the facts up to its day, is carried on from day to day, and is searched within one owner."""

import re
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import Result

from learning_assets.assets import GROUPS
from learning_assets.learning import memory
from learning_assets.searching import search
from learning_assets.store.signals import SIGNALS
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, Run, failure, metadata

KEY = list(memory.KEY)


def looks(world: Learned) -> pl.DataFrame:
    return world.table("winner_looks").sort("as_of", *KEY)


def test_looks_rest_on_everything_that_was_delivered_up_to_their_day(learned: Learned):
    rows = looks(learned)
    assert rows.filter(outcome="entered").height >= 3
    assert rows["as_of"].min() == learned.days[0]
    actuals = learned.store.lake.scan("actuals", learned.facts_from, learned.days[-1])
    ads = learned.store.lake.scan("ad_catalog", learned.facts_from, learned.days[-1])
    shown = ads.select("account_id", "ad_id", "creative_id").unique(["account_id", "ad_id"])
    prints = learned.table("creative_dna", columns=["owner", "account_id", "creative_id", "fingerprint"])
    by_day = (
        actuals.join(shown, on=["account_id", "ad_id"])
        .join(prints.lazy(), on=["account_id", "creative_id"])
        .group_by(*KEY, "date")
        .agg(pl.col("impressions", "link_clicks").sum())
        .collect()
    )
    expected = (
        rows.select("as_of", *KEY)
        .join(by_day, on=KEY)
        .filter(pl.col("date") <= pl.col("as_of"))
        .group_by("as_of", *KEY)
        .agg(pl.col("impressions", "link_clicks").sum())
    )
    assert_frame_equal(rows.select(expected.columns), expected, check_row_order=False)
    assert (rows["impressions"] >= learned.settings.memory.first_look_impressions).all()
    twice = rows.with_columns(before=pl.col("impressions").shift(1).over(KEY)).drop_nulls("before")
    assert twice.height > 3
    assert (twice["impressions"] >= 2 * twice["before"]).all()
    assert (twice["looks"] > 1).all()


def test_members_are_those_whose_lower_end_holds(learned: Learned):
    rules, members = learned.settings.memory, learned.store.memory.members(PIPELINE)
    assert members.height >= 3
    by_ctr = members.filter(metric="ctr")
    assert (by_ctr["ctr_low"] >= rules.leave_ctr).all()
    first = looks(learned).filter(outcome="entered", metric="ctr")
    assert (first["ctr_low"] >= rules.enter_ctr).all()
    assert (first["entered_on"] == first["as_of"]).all()
    others = looks(learned).filter(outcome="passed_over")
    assert (others["ctr_low"] < rules.enter_ctr).all()
    owners = dict(learned.store.accounts(PIPELINE).select("account_id", "owner").iter_rows())
    assert members["owner"].to_list() == [owners[account] for account in members["account_id"]]
    assert members["embedding"].null_count() == 0


def test_a_replay_from_the_middle_ends_where_the_straight_run_did(learned_copy: Learned):
    tables = ("winner_looks", "winner_memory")
    before = [learned_copy.table(name) for name in tables]
    again, later = learned_copy.days[3], learned_copy.days[4:]
    assert learned_copy.run(again, "winner_memory", replaying=True).success
    assert learned_copy.store.newest_day("winner_memory") == again
    assert looks(learned_copy).filter(pl.col("as_of") > again).is_empty()
    assert learned_copy.table("winner_memory").filter(pl.col("looked_on") > again).is_empty()
    for day in later:
        assert learned_copy.run(day, "winner_memory", replaying=True).success
    for name, expected in zip(tables, before, strict=True):
        assert_frame_equal(learned_copy.table(name), expected, check_row_order=False, check_exact=True)


def test_an_older_day_is_refused_and_the_newest_replaces_itself(learned_copy: Learned):
    day, before = learned_copy.days[-1], learned_copy.table("winner_memory")
    refused = learned_copy.run(learned_copy.days[2], "winner_memory")
    assert failure(refused).endswith(f"learning-assets replay --from {learned_copy.days[2]}")
    result = learned_copy.run(day, "winner_memory")
    assert result.success
    assert_frame_equal(learned_copy.table("winner_memory"), before, check_row_order=False, check_exact=True)
    shown, members = metadata(result, "winner_memory"), learned_copy.store.memory.members(PIPELINE)
    assert shown["members"] == members.height
    assert shown["looked_at"] == learned_copy.table("winner_looks", as_of=day).height
    assert shown["search_is_exact"] == 0
    assert 0 <= shown["hit_rate"] <= 1
    assert {"entered", "returned", "validated", "left", "members_without_text"} <= shown.keys()
    assert "pgvector" in shown["summary"]
    assert shown["plot"].startswith("![plot](data:image/png;base64,")
    assert "Simulated market." in shown["table"]
    best = members.sort("ctr_low")["creative_id"][-1]
    assert best in shown["table"]
    assert members["account_id"][0] in shown["by_account"]
    texts = learned_copy.table("creative_dna", columns=["text"])["text"].drop_nulls()
    everything = " ".join(value for value in shown.values() if isinstance(value, str))
    assert not any(part in everything for text in texts for part in text.split(" . ") if len(part) > 12)
    assert GROUPS["winner_memory"] == "creative"


# -- on the command line


def words(result: Result) -> str:
    return " ".join(result.output.split())


def winner(world: Learned) -> dict[str, str]:
    """A member, with its text."""
    told = world.table("creative_dna", columns=["account_id", "creative_id", "text"])
    return world.store.memory.members(PIPELINE).join(told, on=["account_id", "creative_id"]).row(0, named=True)


def test_a_text_finds_the_winner_that_says_it(learned: Learned, run: Run):
    known = winner(learned)
    result = run("search", known["text"], "--account", known["account_id"], "--k", "1")
    assert result.exit_code == 0, result.output
    assert f"As of {learned.days[-1]} (simulated): 1 of the" in words(result)
    assert re.search(r"│ 1\.00 +│", result.output)
    assert str(known["entered_on"]) in result.output
    found = search(learned.store, known["text"], owner=known["owner"])
    assert found.winners["creative"][0] == known["creative_id"]
    assert found.winners["similarity"][0] == pytest.approx(1, abs=2e-3)
    assert found.winners["text"][0].startswith(known["text"][:40])


def test_another_owners_winner_is_not_found(learned: Learned):
    known = winner(learned)
    others = [owner for owner in learned.store.accounts(PIPELINE)["owner"] if owner != known["owner"]]
    for owner in others:
        found = search(learned.store, known["text"], owner=owner, min_similarity=-1)
        mine = set(learned.store.memory.members(Wall(owner))["creative_id"])
        assert set(found.winners["creative"]) <= mine
        assert known["creative_id"] not in found.winners["creative"]


def test_a_creative_finds_others_and_not_itself(learned: Learned, run: Run):
    members = learned.store.memory.members(PIPELINE)
    owner = members["owner"].value_counts(sort=True)["owner"][0]
    one = members.filter(owner=owner).row(0, named=True)
    found = search(learned.store, creative_id=one["creative_id"], owner=owner, min_similarity=-1)
    assert set(found.winners["creative"]) == set(members.filter(owner=owner)["creative_id"]) - {one["creative_id"]}
    result = run("search", "--creative", one["creative_id"][:-1] + "x", "--owner", owner)
    assert result.exit_code == 1
    assert re.search(rf"There is no creative \S+x in the accounts of {owner}\. Ids like it: \d+", words(result))


def test_it_is_honest_where_nothing_is_found(learned: Learned):
    owners = learned.store.accounts(PIPELINE)["owner"].to_list()
    members = learned.store.memory.members(PIPELINE)
    (without, *_) = [owner for owner in owners if owner not in set(members["owner"])]
    assert search(learned.store, "anything", owner=without).says.startswith(f"{without} has no proven winner yet: ")
    owner = members["owner"][0]
    nothing = search(learned.store, "quantum chromodynamics lecture notes", owner=owner, min_similarity=0.95)
    assert nothing.winners.is_empty()
    assert re.search(r"resembles it by 0.95 or more: the nearest by -?0\.\d\d\.$", nothing.says)
    assert "there is no other with a CTR of at least 90 %" in search(learned.store, "x ray", owner=owner, min_ctr=0.9).says


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["text", "--account", "nobody"], "There is no account nobody; there are 4000001, 4000002,"),
        (["text", "--owner", "nobody"], "There is no owner nobody; there are owner_0000, owner_0001,"),
        (
            ["text", "--account", "4000001", "--owner", "owner_0003"],
            "Account 4000001 belongs to owner_0000, not to owner_0003.",
        ),
        (["text"], "Winners are searched within one owner. Name an account with --account"),
        (["--account", "4000001"], "Give a text, or a creative by --creative, and not both."),
        (["text", "--creative", "1", "--account", "4000001"], "and not both."),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(run: Run, arguments: list[str], says: str):
    result = run("search", *arguments)
    assert result.exit_code == 1
    assert says in words(result)
    assert "Traceback" not in result.output


# -- purchase signals


def tell(world: Learned, day: date, *creatives: dict[str, str | None]) -> None:
    """Let signals have been received on a day."""
    owners = dict(world.store.accounts(PIPELINE).select("account_id", "owner").iter_rows())
    noon = datetime.combine(day, time(12), UTC)
    rows = [
        {**one, "owner": owners[str(one["account_id"])], "signal_id": f"{day} {n}", "at": noon, "source": "test"}
        for n, one in enumerate(creatives)
    ]
    world.store.signals.record(pl.DataFrame(rows, schema=SIGNALS), noon)


def test_what_signals_name_is_looked_at_and_the_doublings_stay(learned_copy: Learned):
    """Also by its ad; once a day however many name it; by the same rule, and counted."""
    day = learned_copy.days[-1]
    known = looks(learned_copy).filter(pl.col("as_of") < day).unique(KEY, keep="last", maintain_order=True)
    today = learned_copy.table("winner_looks", as_of=day).select(KEY)
    ads = learned_copy.store.lake.read("ad_catalog", day).filter(pl.col("status") != "scheduled")
    waiting = known.join(today, on=KEY, how="anti").join(ads, on=["account_id", "creative_id"], how="semi")
    one, other, *_ = waiting.sort(KEY).to_dicts()
    ad = ads.filter(account_id=other["account_id"], creative_id=other["creative_id"])["ad_id"][0]
    named = {"account_id": one["account_id"], "creative_id": one["creative_id"]}
    stray = {"account_id": one["account_id"], "ad_id": "no such ad"}
    tell(learned_copy, day, named, named, {"account_id": other["account_id"], "ad_id": ad}, stray)
    tell(
        learned_copy, day + timedelta(days=1), {"account_id": known["account_id"][-1], "creative_id": known["creative_id"][-1]}
    )
    before = learned_copy.table("winner_looks", as_of=day)
    result = learned_copy.run(day, "winner_memory")
    assert result.success
    found = learned_copy.table("winner_looks", as_of=day)
    assert_frame_equal(found.filter(cause="impressions"), before, check_row_order=False, check_exact=True)
    extra = {row["fingerprint"]: row for row in found.filter(cause="signal").to_dicts()}
    assert extra.keys() == {one["fingerprint"], other["fingerprint"]}
    for was in (one, other):
        now = extra[was["fingerprint"]]
        assert (now["looks"], now["signal_looks"]) == (was["looks"] + 1, 1)
        assert now["next_look_impressions"] == was["next_look_impressions"] > now["impressions"]
    shown = metadata(result, "winner_memory")
    assert (shown["signals"], shown["creatives_with_signals"], shown["looked_at_for_signals"]) == (4, 2, 2)
    assert (shown["signals_without_creative"], shown["too_new_for_signals"]) == (1, 0)


def test_a_replay_looks_again_at_what_signals_named(learned_copy: Learned):
    """Signals count on the day on which they came, however late a day is learned anew."""
    middle, last = learned_copy.days[4], learned_copy.days[-1]
    known = (
        looks(learned_copy).filter(pl.col("as_of") < middle).select("account_id", "creative_id").unique().sort("creative_id")
    )
    tell(learned_copy, middle, *known.to_dicts())
    for day in learned_copy.days[4:]:
        assert learned_copy.run(day, "winner_memory", replaying=True).success
    straight = looks(learned_copy)
    assert straight.filter(cause="signal", as_of=middle).height > 0
    assert straight.filter(pl.col("as_of") != middle, cause="signal").is_empty()
    for day in learned_copy.days[3:]:
        assert learned_copy.run(day, "winner_memory", replaying=True).success
    assert_frame_equal(looks(learned_copy), straight, check_row_order=False, check_exact=True)
    assert learned_copy.store.newest_day("winner_memory") == last
