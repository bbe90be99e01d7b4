"""Why an ad did well or badly: honest where nothing is known, behind the owner's wall, and as of any learned day."""

import json
import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from learning_assets.explaining import Explanation, Standing, explain, in_plain_words
from learning_assets.learning import graph, lift
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, Run


@pytest.fixture(scope="module")
def told(learned: Learned) -> list[Explanation]:
    """What is known of every ad of one account."""
    ads = learned.store.sums(learned.days[-1], 91).filter(account_id="4000002")["ad_id"].unique().sort()
    return [explain(learned.store, ad, "4000002") for ad in ads]


def with_reasons(told: list[Explanation]) -> Iterator[Explanation]:
    return (one for one in told if one.reasons.height)


def test_reasons_speak_of_the_ad_and_are_ranked(learned: Learned, told: list[Explanation]):
    seen = learned.store.graph(learned.days[-1], Wall("owner_0001")).relationships
    for one in with_reasons(told):
        has = {(name, value) for name, values in one.attributes.items() for value in values}
        for row in one.reasons.iter_rows(named=True):
            assert set(graph.parts(row["attribute"], row["value"])) <= has
            assert row["account_id"] in (None, "4000002")
        expected = one.reasons.select(pl.col("strength").abs() * (2 * pl.col("confidence") - 1)).to_series()
        assert expected.is_sorted(descending=True)
        assert set(one.reasons["relationship_id"]) <= set(seen["relationship_id"])
        assert one.as_of == learned.days[-1]
    assert len(list(with_reasons(told))) > 5


def test_what_was_tested_is_told_apart_from_what_is_known(told: list[Explanation]):
    for one in told:
        assert "active" not in set(one.tested["status"])
        assert one.tested.join(one.reasons, on=lift.KEY, how="semi", nulls_equal=True).is_empty()
        assert set(one.tested["account_id"]) <= {None, "4000002"}
        assert one.tested["q_value"].drop_nulls().is_sorted()


def test_the_ads_own_numbers_are_against_its_account_in_the_same_weeks(learned: Learned, told: list[Explanation]):
    sums = learned.store.sums(learned.days[-1], 91).filter(account_id="4000002")
    for one in told[:5]:
        standing, mine = one.standing, sums.filter(ad_id=one.ad_id)
        assert standing is not None
        assert (standing.impressions, standing.clicks) == (mine["impressions"].sum(), mine["link_clicks"].sum())
        weekly = sums.group_by("week").agg(rate=pl.col("link_clicks").sum() / pl.col("impressions").sum())
        expected = mine.join(weekly, on="week").select((pl.col("rate") * pl.col("impressions")).sum()).item()
        assert standing.expected == pytest.approx(expected)
    whole = [one.standing for one in told if one.standing is not None]
    assert sum(one.expected for one in whole) == pytest.approx(sum(one.clicks for one in whole))
    for one in whole:
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.high
    assert {one.verdict for one in whole} > {"not told apart from its account"}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.1, 1.4, "above its account"),
        (0.5, 0.9, "below its account"),
        (0.9, 1.2, "not told apart from its account"),
        (None, None, "unknown"),
    ],
)
def test_a_verdict_takes_an_interval(low: float | None, high: float | None, verdict: str):
    assert Standing(1_000, 20, 15.0, low, high, 1.0).verdict == verdict


def test_where_nothing_is_active_what_was_tested_is_said(told: list[Explanation]):
    one = told[0]
    nothing = Explanation(one.as_of, one.account_id, one.ad_id, one.attributes, one.standing, one.reasons.clear(), one.tested)
    lines = list(in_plain_words(nothing))
    assert lines[2] == "No active pattern speaks about this ad."
    assert f"{one.tested.height:,} patterns of its choices" in lines[3]
    assert len(lines) == 4 + min(5, one.tested.height)
    bare = Explanation(one.as_of, one.account_id, one.ad_id, {}, None, one.reasons.clear(), one.tested.clear())
    assert list(in_plain_words(bare)) == [
        "Its numbers are not known.",
        "Nothing is known of what it is made of.",
        "No active pattern speaks about this ad.",
        "None of its choices was tested yet: too few ads with and without them, or too few clicks.",
    ]


def test_a_past_day_is_explained_by_what_was_known_then(learned: Learned, told: list[Explanation]):
    day, shown = learned.days[2], learned.store.facts(learned.days[-1], learned.days[-1]).collect()["ad_id"].to_list()
    now = next(one for one in told if one.ad_id in shown and one.ad_id in learned.store.sums(day, 91)["ad_id"])
    then = explain(learned.store, now.ad_id, as_of=day)
    assert then.as_of == day
    held = learned.store.graph(day, PIPELINE).relationships["relationship_id"]
    assert set(then.reasons["relationship_id"]) <= set(held)
    assert (then.reasons["valid_from"] <= day).all()
    assert then.standing is not None
    assert now.standing is not None
    assert then.standing.impressions < now.standing.impressions


def test_why_prints_numbers_reasons_and_evidence(run: Run, told: list[Explanation]):
    one = next(with_reasons(told))
    result = run("why", one.ad_id)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert f"Ad {one.ad_id} of account 4000002, as of 2026-03-01 (simulated)" in said
    assert one.standing is not None
    assert f"CTR {100 * one.standing.clicks / one.standing.impressions:.2f} %" in said
    for expected in ("Reasons, strongest first", "observational", "95 %", "ads,", "no proof of a cause"):
        assert expected in said, expected
    first = one.reasons.row(0, named=True)
    assert f"{100 * math.expm1(first['strength']):+.0f} % {first['metric'].upper()}" in said


def test_an_unknown_ad_names_its_neighbours_within_the_owner(run: Run, learned: Learned, told: list[Explanation]):
    near = told[0].ad_id[:-1]
    result = run("why", near, "--account", "4000002")
    said = " ".join(result.output.split())
    assert result.exit_code == 1
    assert f"No ad {near} was shown in account 4000002 in the 91 days up to 2026-03-01. Ads with ids like it:" in said
    named = set(said.rpartition(": ")[2].rstrip(".").split(", "))
    assert named <= set(learned.store.sums(learned.days[-1], 91).filter(account_id="4000002")["ad_id"])
    without = run("why", near)
    assert without.exit_code == 1
    assert "name an account with --account" in " ".join(without.output.split())
    assert not any(one.ad_id in without.output for one in told)
    other = run("why", told[0].ad_id, "--account", "4000003")
    assert other.exit_code == 1
    assert told[0].ad_id not in other.output.replace(f"No ad {told[0].ad_id}", "")
    unknown = run("why", near, "--account", "nobody")
    assert unknown.exit_code == 1
    assert "There is no account nobody" in unknown.output
    early = run("why", near, "--as-of", "2026-01-01")
    assert early.exit_code == 1
    assert "No knowledge graph was learned up to 2026-01-01. Learn some days: learning-assets replay" in " ".join(
        early.output.split()
    )


def test_a_graph_is_exported_behind_the_wall(run: Run, learned: Learned, tmp_path: Path):
    day = learned.days[3]
    for arguments, wall, whose in (
        (("--account", "4000002"), Wall("owner_0001"), "of owner_0001's and nobody's part"),
        ((), Wall("shared"), "of nobody's part"),
    ):
        file = tmp_path / "graph.json"
        result = run("graph", "--as-of", str(day), "--out", str(file), *arguments)
        assert result.exit_code == 0, result.output
        assert whose in " ".join(result.output.split())
        data, expected = json.loads(file.read_text()), learned.store.graph(day, wall)
        assert data == json.loads(json.dumps(graph.to_node_link(expected, day)))
        assert {link.get("owner") for link in data["links"]} <= {wall.owner, None}
    later = json.loads(run("graph", "--as-of", str(learned.days[-1] + timedelta(days=9))).output)
    assert later["graph"]["as_of"] == str(learned.days[-1])
