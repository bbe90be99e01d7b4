"""The knowledge graph in the pipeline: it follows the patterns day by day, replays to itself, keeps owners apart, and can be read."""

import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from learning_assets.assets.graph import REPORTS, pictured
from learning_assets.assets.words import choice, in_a_sentence
from learning_assets.learning import graph, lift
from learning_assets.learning.graph import Graph
from learning_assets.platforms.archive import ArchiveSource
from learning_assets.settings import Archive
from learning_assets.store import schema
from learning_assets.store.walls import PIPELINE, Wall, label
from learning_assets_tests.assets.test_patterns import archive, learn_archive
from learning_assets_tests.made_up import pattern
from learning_assets_tests.world import Learned, MakeWorld, World, failure, metadata

NAMES = ("knowledge_nodes", "knowledge_relationships")


def versions(world: World) -> Graph:
    return Graph(*(world.table(name) for name in NAMES))


def assert_same(left: Graph, right: Graph) -> None:
    assert_frame_equal(left.nodes, right.nodes, check_row_order=False)
    assert_frame_equal(left.relationships, right.relationships, check_row_order=False)


def effects(found: Graph) -> pl.DataFrame:
    return found.relationships.filter(pl.col("kind").is_in(graph.EFFECTS))


def test_every_day_holds_the_active_patterns_and_nothing_else(learned: Learned):
    found = learned.store.graph(learned.days[0] - timedelta(days=1), PIPELINE).relationships
    assert found.is_empty()
    for day in learned.days:
        active = learned.table("learning_patterns", as_of=day, status="active")
        found = effects(learned.store.graph(day, PIPELINE))
        key = ["owner", *lift.KEY]
        assert_frame_equal(found.select(key), active.select(key), check_row_order=False)
        told = found.join(active, on=key, nulls_equal=True)
        assert told.select(pl.col("strength") == pl.coalesce("shrunk_log_lift", "log_lift")).to_series().all()
        assert (told["confirmed_on"] == told["last_validated"]).all()
    assert found.height > 5


def test_each_day_is_the_day_before_carried_on(learned: Learned):
    history = Graph.empty()
    for day in learned.days:
        before = learned.store.graph_before(day)
        found = learned.table("learning_patterns", as_of=day)
        change = graph.advance(before, found, day, learned.settings.graph, controlled_delivery=False)
        history = graph.applied(history, change, day)
    columns = (graph.NODES.names(), graph.RELATIONSHIPS.names())
    stored = versions(learned)
    assert_same(Graph(stored.nodes.select(columns[0]), stored.relationships.select(columns[1])), history)
    assert set(effects(stored)["kind"]) <= {"correlates", "enhances", "conflicts"}, "an ad platform chooses who sees which arm"
    assert effects(stored)["ended"].drop_nulls().len() > 0, "the world was made so that patterns come and go"


def test_no_owner_sees_the_graph_of_another(learned: Learned):
    day = learned.days[-1]
    whole = learned.store.graph(day, PIPELINE)
    assert whole.relationships["owner"].n_unique() > 2
    for owner in learned.store.accounts(PIPELINE)["owner"]:
        seen = learned.store.graph(day, Wall(owner))
        for rows, everything in ((seen.nodes, whole.nodes), (seen.relationships, whole.relationships)):
            assert set(rows["owner"].drop_nulls()) <= {owner}
            assert rows.filter(pl.col("owner").is_null()).height == everything.filter(pl.col("owner").is_null()).height
        data = json.loads((learned.store.home / REPORTS / f"{label(owner)}.json").read_text())
        assert {link["key"] for link in data["links"]} == set(seen.relationships.filter(owner=owner)["relationship_id"])
        assert {link[end] for link in data["links"] for end in ("source", "target")} == {node["id"] for node in data["nodes"]}
        assert {node.get("owner") for node in data["nodes"]} <= {owner, None}
    nobodys = json.loads((learned.store.home / REPORTS / "shared.json").read_text())
    assert nobodys["links"]
    assert all("owner" not in one for one in (*nobodys["links"], *nobodys["nodes"]))


def test_the_newest_day_again_changes_nothing_and_is_told_in_words(learned_copy: Learned):
    day, before = learned_copy.days[-1], versions(learned_copy)
    files = {path.name: path.read_text() for path in (learned_copy.store.home / REPORTS).iterdir()}
    (learned_copy.store.home / REPORTS / "an_owner_that_left.json").touch()
    result = learned_copy.run(day, "knowledge_graph")
    assert result.success
    assert_same(versions(learned_copy), before)
    assert {path.name: path.read_text() for path in (learned_copy.store.home / REPORTS).iterdir()} == files
    told, now = metadata(result, "knowledge_graph"), learned_copy.store.graph(day, PIPELINE)
    assert told["nodes"] == now.nodes.height
    assert told["relationships"] == told["dagster/row_count"] - told["nodes"] == now.relationships.height
    assert told["patterns_active"] == sum(told[f"relationships_{kind}"] for kind in graph.EFFECTS) == effects(now).height
    opened = effects(versions(learned_copy)).filter(pl.col("valid_from") == day).height
    ended = effects(versions(learned_copy)).filter(pl.col("valid_to") == day)
    assert (told["relationships_opened"], told["relationships_closed"]) == (opened, ended.height)
    assert told["relationships_contradicted"] == ended.filter(ended="contradicted").height
    assert told["plot"].startswith("![plot](data:image/png;base64,")
    strongest = graph.top(now, 1).relationships.row(0, named=True)
    assert in_a_sentence(strongest).split(",")[0].partition(":")[0] in told["table"].replace("\\", "")
    assert "*Simulated market.*" in told["table"]
    assert str(learned_copy.store.home) not in told["export"]
    assert "reports/knowledge" in told["export"]


def test_a_replay_from_the_middle_is_the_straight_run(learned_copy: Learned):
    straight, middle = versions(learned_copy), len(learned_copy.days) // 2
    kept = learned_copy.store.graph(learned_copy.days[middle - 1], PIPELINE)
    for day in learned_copy.days[middle:]:
        assert learned_copy.run(day, "knowledge_graph", replaying=True).success
        assert learned_copy.store.newest_day("knowledge_graph") == day
        assert_same(learned_copy.store.graph(learned_copy.days[middle - 1], PIPELINE), kept)
        if day != learned_copy.days[-1]:
            assert versions(learned_copy).relationships["valid_from"].max() <= day  # type: ignore[operator]
    assert_same(versions(learned_copy), straight)


def test_an_older_day_is_refused_with_the_remedy(learned_copy: Learned):
    day, before = learned_copy.days[-3], versions(learned_copy)
    said = failure(learned_copy.run(day, "knowledge_graph"))
    assert said.startswith(f"knowledge_graph: knowledge_graph of {day} rests on the state of the day before")
    assert said.endswith(f"learning-assets replay --from {day}")
    assert_same(versions(learned_copy), before)


def test_the_check_sees_what_is_wrong(learned_copy: Learned):
    day, relationships = learned_copy.days[-1], schema.knowledge_relationships
    assert learned_copy.check(day, "knowledge_graph", "sound").passed
    for kind, broken, says in (
        ("correlates", {"kind": "causes"}, "is said to cause, on observational evidence"),
        ("causes", {"target_id": "nowhere"}, "ends at a node that is not in force"),
    ):
        held = (relationships.c.kind == kind) & relationships.c.valid_to.is_(None)
        learned_copy.store.tables.execute(sa.update(relationships).where(held).values(broken))
        found = learned_copy.check(day, "knowledge_graph", "sound")
        assert not found.passed
        assert says in (found.description or "")


def test_an_archive_of_a_sites_own_tests_shows_causes(make_world: MakeWorld, tmp_path: Path):
    world, day = archive(make_world, tmp_path / "tests.csv", mismatched=0), date(2014, 11, 2)
    learn_archive(world)
    assert world.run(day, "knowledge_graph", replaying=True).success
    found = effects(world.store.graph(day, Wall("archive"))).filter(attribute="hook_types", value="question")
    assert found.select("kind", "evidence", "metric").rows() == [("causes", "randomized", "ctr")]
    assert world.store.graph(day + timedelta(days=27), PIPELINE).relationships["age_days"].max() == 27
    of_a_platform = Archive(path=tmp_path / "tests.csv", controlled_delivery=False)
    assert not ArchiveSource(of_a_platform).controlled_delivery


# -- words and the picture


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"strength": 0.113, "low": 0.04, "high": 0.18, "accounts": 3},
            "question hooks: +12 % CTR, 95 % between +4 and +20, 14 ads, 3 accounts, observational",
        ),
        (
            {"attribute": "cta × hook_types", "value": "SHOP_NOW × pain_point", "low": None, "ads_with": 1, "metric": "roas"},
            "the button Shop now with pain point hooks: +11 % ROAS beyond the two apart, interval unknown, 1 ad, 1 account, observational",
        ),
        ({"strength": None, "attribute": "angle", "value": "a_b"}, "angle a b: unknown CTR"),
    ],
)
def test_a_sentence_says_what_is_known(row: dict, says: str):
    known = {"attribute": "hook_types", "value": "question", "metric": "ctr", "strength": 0.1, "low": 0.05, "high": 0.15}
    assert in_a_sentence(known | {"ads_with": 14, "accounts": 1, "evidence": "observational"} | row).startswith(says)


def test_patterns_speak_in_the_same_sentence():
    assert in_a_sentence(pattern(strength=0.1)) == (
        "question hooks: +13 % CTR, 95 % between +2 and +25, 14 ads, 1 account, observational"
    )
    assert choice("has_question", "no") == "no question in the opening"
    assert choice("posting_weekday", "Tue") == "Tuesdays"


def test_a_picture_holds_no_more_than_can_be_read(learned: Learned):
    now = learned.store.graph(learned.days[-1], PIPELINE)
    for nodes in (2, 5, 14):
        shown = pictured(now, nodes)
        assert 0 < len({row[end] for row in shown for end in ("choice", "metric")}) <= nodes
        assert len(shown) <= nodes
    assert (
        shown[0]["lift"]
        == in_a_sentence(graph.top(now, 1).relationships.row(0, named=True)).partition(": ")[2][: len(str(shown[0]["lift"]))]
    )
