"""The knowledge graph: versions, contradictions, fading, walls of time, and the questions that it answers."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from learning_assets.learning import graph, lift
from learning_assets.learning.graph import Graph
from learning_assets.settings import Graph as GraphSettings
from learning_assets_tests.made_up import DAY, RICH, frame, histories, of_all, pattern

SETTINGS = GraphSettings()


def learn(days: Sequence[pl.DataFrame], *, controlled: bool = False, history: Graph | None = None, first: date = DAY) -> Graph:
    """The history after days, each learned from the one before."""
    history = history or Graph.empty()
    for after, patterns in enumerate(days):
        day = first + timedelta(days=after)
        last = newest(graph.known(history, day - timedelta(days=1)))
        change = graph.advance(last, patterns, day, SETTINGS, controlled_delivery=controlled)
        history = graph.applied(history, change, day)
    return history


def newest(history: Graph) -> Graph:
    """The newest version of everything."""
    return Graph(
        history.nodes.sort("version").unique("node_id", keep="last", maintain_order=True),
        history.relationships.sort("version").unique("relationship_id", keep="last", maintain_order=True),
    )


def effects(history: Graph) -> list[dict[str, Any]]:
    found = history.relationships.filter(pl.col("kind").is_in(graph.EFFECTS))
    return found.sort("relationship_id", "version").to_dicts()


def told(history: Graph, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in effects(history)]


def assert_same(left: Graph, right: Graph) -> None:
    assert_frame_equal(left.nodes, right.nodes, check_row_order=False)
    assert_frame_equal(left.relationships, right.relationships, check_row_order=False)


def seen(history: Graph, patterns: pl.DataFrame, day: date = DAY, half_life: float = 28) -> Graph:
    return graph.as_seen(graph.as_of(history, day), patterns, day, half_life)


# -- which patterns are in the graph, and as what


@pytest.mark.parametrize(
    ("evidence", "controlled", "kind"),
    [
        ("randomized", True, "causes"),
        ("randomized", False, "correlates"),
        ("observational", True, "correlates"),
        ("observational", False, "correlates"),
    ],
)
def test_a_cause_takes_random_arms_and_controlled_delivery(evidence: str, controlled: bool, kind: str):
    history = learn([frame(pattern(evidence=evidence))], controlled=controlled)
    assert told(history, "kind", "strength", "low", "high", "ads_with", "accounts", "impressions") == [
        (kind, 0.1, pytest.approx(0.05), pytest.approx(0.15), 14, 1, 100_000)
    ]


def test_only_active_patterns_are_in_the_graph():
    rows = [pattern(value=status, status=status) for status in ("testing", "active", "deprecated")]
    assert told(learn([frame(*rows)]), "value") == [("active",)]


def test_two_together_enhance_each_other_or_conflict():
    pair = {"attribute": "cta × hook_types", "value": "SHOP_NOW × question"}
    for strength, kind in ((0.1, "enhances"), (-0.1, "conflicts")):
        history = learn([frame(pattern(**pair, strength=strength, evidence="randomized"))], controlled=True)
        ((found, source, target),) = told(history, "kind", "source_id", "target_id")
        assert found == kind
        names = {row["node_id"]: (row["attribute"], row["value"]) for row in history.nodes.to_dicts()}
        assert (names[source], names[target]) == (("cta", "SHOP_NOW"), ("hook_types", "question"))


def test_a_value_may_hold_what_stands_between_two():
    assert graph.parts("audience", "a × b") == [("audience", "a × b")]
    assert graph.parts("cta × audience", "BUY × a × b") == [("cta", "BUY"), ("audience", "a × b")]


def test_what_holds_the_graph_together():
    niche = of_all(scope="niche", niche="beauty", strength=-0.2)
    history = learn([frame(pattern(), niche)])
    kinds = dict(history.nodes["kind"].value_counts().iter_rows())
    assert kinds == {"attribute": 2, "metric": 1, "niche": 1, "pattern": 2, "insight": 2}
    assert dict(history.relationships["kind"].value_counts().iter_rows()) == {
        "correlates": 2,
        "describes": 2,
        "measures": 2,
        "holds_in": 1,
        "rests_on": 2,
    }
    ends = pl.concat([history.relationships["source_id"], history.relationships["target_id"]])
    assert set(ends) == set(history.nodes["node_id"]), "no relationship without its nodes, no node without a relationship"
    assert history.nodes.filter(kind="insight").select("says", "account_id", "niche").sort("says").rows() == [
        ("lowers", None, "beauty"),
        ("raises", "1", None),
    ]


def test_ids_are_the_same_everywhere_and_differ_by_owner():
    first, again = learn([frame(pattern())]), learn([frame(pattern())])
    assert_same(first, again)
    assert effects(first)[0]["relationship_id"] == "e9d548593878c148896d3e57"
    other = learn([frame(pattern(owner="bob"))])
    shared = set(first.nodes["node_id"]) & set(other.nodes["node_id"])
    assert first.nodes.filter(pl.col("node_id").is_in(list(shared)))["kind"].to_list() == ["metric"]
    assert effects(first)[0]["relationship_id"] != effects(other)[0]["relationship_id"]


def test_an_insight_rests_on_the_few_most_important():
    rows = [pattern(value=f"v{n}", strength=0.05 * n) for n in range(1, 6)]
    rows.append(pattern(attribute="cta × template", value="a × b", strength=0.9))
    history = learn([frame(*rows)])
    rests = history.relationships.filter(kind="rests_on")["target_id"]
    names = dict(history.nodes.select("node_id", "value").iter_rows())
    assert {names[node] for node in rests} == {"v5", "v4", "v3"}


# -- versions


def test_a_wobble_writes_nothing():
    days = [frame(pattern(strength=strength, impressions=n)) for strength, n in ((0.1, 10), (0.14, 20), (0.06, 30))]
    history = learn(days)
    assert told(history, "version", "strength", "valid_to") == [(1, 0.1, None)]
    last = graph.advance(newest(history), days[-1], DAY + timedelta(days=9), SETTINGS, controlled_delivery=False)
    assert all(part.is_empty() for of in (last.nodes, last.relationships) for part in (of.opened, of.closed))


def test_an_interval_without_the_old_strength_is_a_new_version():
    history = learn([frame(pattern()), frame(pattern(strength=0.3)), frame(pattern(strength=0.31))])
    assert told(history, "version", "strength", "valid_from", "valid_to", "ended", "contradicts") == [
        (1, 0.1, DAY, DAY + timedelta(days=1), "strength_changed", None),
        (2, 0.3, DAY + timedelta(days=1), None, None, None),
    ]


def test_control_of_delivery_makes_a_new_version():
    rows = frame(pattern(evidence="randomized"))
    history = learn([rows], controlled=True, history=learn([rows]), first=DAY + timedelta(days=1))
    assert told(history, "version", "kind", "ended") == [(1, "correlates", "kind_changed"), (2, "causes", None)]


def test_what_is_no_longer_active_ends_and_may_come_back():
    gone = pattern(status="deprecated", note="weak")
    history = learn([frame(pattern()), frame(gone), frame(gone), frame(pattern()), frame()])
    assert told(history, "version", "valid_from", "valid_to", "ended", "contradicts") == [
        (1, DAY, DAY + timedelta(days=1), "deprecated", None),
        (2, DAY + timedelta(days=3), DAY + timedelta(days=4), "withdrawn", None),
    ]
    assert graph.as_of(history, DAY + timedelta(days=2)).nodes.is_empty()
    assert graph.as_of(history, DAY + timedelta(days=4)).relationships.is_empty()
    assert set(history.nodes["version"]) == {1, 2}
    assert set(history.nodes["ended"]) == {"unreferenced"}


def test_a_contradiction_ends_the_old_version_and_the_new_one_points_to_it():
    """As the life cycle has it: deprecated at once, testing again, active with the other sign two days later."""
    turned = pattern(strength=-0.1, sign=1, status="deprecated", note="sign_reversed")
    returned = pattern(strength=-0.1, status="testing", note="returned")
    history = learn([frame(pattern()), frame(turned), frame(returned), frame(pattern(strength=-0.1))])
    assert told(history, "version", "sign", "valid_from", "valid_to", "ended", "contradicts") == [
        (1, 1, DAY, DAY + timedelta(days=1), "contradicted", None),
        (2, -1, DAY + timedelta(days=3), None, None, 1),
    ]


def test_a_sign_that_turns_while_active_is_a_contradiction_too():
    history = learn([frame(pattern()), frame(pattern(strength=-0.1)), frame(pattern(strength=-0.3, half=0.1))])
    assert told(history, "version", "ended", "contradicts") == [
        (1, "contradicted", None),
        (2, "strength_changed", 1),
        (3, None, None),
    ]


def test_a_day_on_which_nothing_could_be_estimated_changes_nothing():
    history = learn([frame(pattern()), frame(pattern(strength=None, confidence=None, p_value=None))])
    assert told(history, "version", "strength", "valid_to") == [(1, 0.1, None)]
    assert learn([frame(pattern(strength=None))]).nodes.is_empty()


def test_a_lift_that_nothing_shrinks_stands_as_observed():
    alone = pattern(strength=None) | {"log_lift": 0.2, "low": 0.1, "high": 0.3, "confidence": None, "p_value": 0.04}
    assert told(learn([frame(alone)]), "strength", "low", "high", "shrunk", "confidence") == [
        (0.2, 0.1, 0.3, False, pytest.approx(0.98))
    ]


def test_another_days_graph_and_doubled_patterns_are_refused():
    history = learn([frame(pattern())])
    with pytest.raises(ValueError, match=r"versions of 2026-02-01, and 2026-02-01 is to be learned"):
        graph.advance(history, frame(pattern()), DAY, SETTINGS, controlled_delivery=False)
    with pytest.raises(ValueError, match="twice"):
        graph.advance(Graph.empty(), frame(pattern(), pattern()), DAY, SETTINGS, controlled_delivery=False)


@settings(max_examples=15, deadline=None)
@given(days=histories(), controlled=st.booleans(), again=st.integers(0, 5))
def test_the_graph_of_any_day_is_the_one_that_was_in_force(days: list[pl.DataFrame], controlled: bool, again: int):
    """Whatever follows, and also when a day and all later ones are learned anew from the day before."""
    history, then = Graph.empty(), []
    for after, patterns in enumerate(days):
        day = DAY + timedelta(days=after)
        history = learn([patterns], controlled=controlled, history=history, first=day)
        then.append(Graph(*(rows.filter(pl.col("valid_to").is_null()) for rows in (history.nodes, history.relationships))))
    for after, stood in enumerate(then):
        day = DAY + timedelta(days=after)
        found = graph.as_of(history, day)
        assert_same(found, stood)
        for rows, name in ((found.nodes, "node_id"), (found.relationships, "relationship_id")):
            assert rows[name].is_unique().all(), "one version of a thing is in force at a time"
        active = days[after].filter(pl.col("status") == "active", pl.col("shrunk_log_lift").is_not_null())
        assert set(active.join(found.relationships, on=lift.KEY, how="anti", nulls_equal=True).rows()) == set()
    start = min(again, len(days) - 1)
    kept = graph.known(history, DAY + timedelta(days=start - 1))
    replayed = learn(days[start:], controlled=controlled, history=kept, first=DAY + timedelta(days=start))
    assert_same(replayed, history)


# -- as it stood on a day


def test_confidence_fades_towards_one_half_until_something_confirms_it():
    history = learn([frame(pattern())])
    for age, confidence in ((0, 0.98), (28, 0.5 + 0.48 / 2), (84, 0.5 + 0.48 / 8)):
        day = DAY + timedelta(days=age)
        row = seen(history, frame(pattern()), day).relationships.filter(pl.col("kind").is_in(graph.EFFECTS)).row(0, named=True)
        assert row["confidence"] == pytest.approx(confidence)
        assert (row["age_days"], row["confirmed_on"]) == (age, DAY)
        assert row["importance"] == pytest.approx(0.1 * (2 * confidence - 1) * pl.Series([100_000]).log1p().item())
    confirmed = frame(pattern(last_validated=day))
    assert seen(history, confirmed, day).relationships["confidence"].max() == pytest.approx(0.98)


def test_the_figures_of_a_day_are_those_of_its_patterns():
    history = learn([frame(pattern())])
    later = frame(pattern(strength=0.13, ads_with=30, impressions=400_000, confidence=0.99))
    row = seen(history, later).relationships.row(0, named=True)
    assert (row["strength"], row["ads_with"], row["impressions"], row["confidence"]) == (0.13, 30, 400_000, 0.99)
    row = seen(history, frame()).relationships.row(0, named=True)
    assert (row["strength"], row["ads_with"], row["confirmed_on"]) == (0.1, 14, DAY)


def test_what_only_holds_the_graph_together_has_no_figures():
    ties = seen(learn([frame(pattern())]), frame(pattern())).relationships.filter(~pl.col("kind").is_in(graph.EFFECTS))
    figures = ["strength", "confidence", "confirmed_on", "age_days", "importance"]
    assert ties.height == 3
    assert ties.select(pl.col(figures).is_null().all()).row(0) == (True,) * len(figures)


# -- questions


def of_rich() -> Graph:
    return seen(learn([RICH], controlled=True), RICH)


def reasons(attributes: dict[str, list[str]], account: str = "1", niche: str | None = None) -> list[tuple[Any, ...]]:
    found = graph.why(of_rich().relationships, attributes, account, niche)
    return list(found.select("scope", "attribute", "value", "metric").iter_rows())


def test_reasons_are_ranked_by_expected_size_and_the_nearest_place_speaks():
    assert reasons({"hook_types": ["question", "story"], "cta": ["BUY"], "template": ["video"]}) == [
        ("account", "hook_types", "story", "ctr"),
        ("account", "cta", "BUY", "cvr"),
        ("all", "template", "video", "ctr"),
        ("account", "hook_types", "question", "ctr"),
        ("account", "cta × hook_types", "BUY × question", "ctr"),
    ]
    assert reasons({"hook_types": ["question"]}, account="3") == [("all", "hook_types", "question", "ctr")]
    assert reasons({"hook_types": ["story"]}, account="3", niche="beauty") == [("niche", "hook_types", "story", "ctr")]
    assert reasons({"hook_types": ["story"]}, account="3", niche="food") == []
    assert reasons({"hook_types": ["story"]}, account="3") == []
    assert reasons({}) == []


def test_two_together_need_both():
    assert ("account", "cta × hook_types", "BUY × question", "ctr") not in reasons({"cta": ["BUY"]})


def test_the_better_evidence_speaks_before_the_nearer_place():
    both = frame(pattern(strength=0.3), of_all(strength=0.1, evidence="randomized"))
    for controlled in (True, False):
        relationships = seen(learn([both], controlled=controlled), both).relationships
        assert graph.why(relationships, {"hook_types": ["question"]}, "1")["scope"].to_list() == ["all"]


def test_the_most_important_with_their_nodes():
    most = graph.top(of_rich(), 3)
    assert most.relationships["strength"].to_list() == [0.5, -0.3, 0.25]
    ends = pl.concat([most.relationships["source_id"], most.relationships["target_id"], most.relationships["pattern_id"]])
    assert set(most.nodes["node_id"]) == set(ends)
    assert graph.top(of_rich(), 100).relationships.height == RICH.height


def test_neighbours_do_not_come_through_a_metric():
    whole = of_rich()
    (start,) = whole.nodes.filter(kind="attribute", owner="ann", value="BUY")["node_id"]
    near = graph.neighbours(whole, start)
    assert set(near.nodes["kind"]) == {"attribute", "metric", "pattern"}
    assert {"BUY", "question"} <= set(near.nodes["value"])
    far = graph.neighbours(whole, start, depth=3)
    assert "story" not in set(far.nodes["value"]), "which only shares metrics with it and an insight four steps away"
    assert set(near.nodes["node_id"]) < set(far.nodes["node_id"])
    (ctr,) = whole.nodes.filter(kind="metric", metric="ctr")["node_id"]
    around = graph.neighbours(whole, ctr)
    assert around.nodes.filter(kind="attribute").height == 6
    with pytest.raises(ValueError, match="no node 'nobody'"):
        graph.neighbours(whole, "nobody")
    with pytest.raises(ValueError, match="depth is 0"):
        graph.neighbours(whole, start, depth=0)


def test_node_link_data_are_json_and_whole():
    whole = of_rich()
    data = json.loads(json.dumps(graph.to_node_link(whole, DAY)))
    ids = {node["id"] for node in data["nodes"]}
    assert data["graph"]["as_of"] == "2026-02-01"
    assert len(data["links"]) == whole.relationships.height
    assert {link[end] for link in data["links"] for end in ("source", "target")} == ids
    (question,) = (link for link in data["links"] if link.get("value") == "question" and link["scope"] == "account")
    assert question["valid_from"] == "2026-02-01"
    assert "valid_to" not in question
