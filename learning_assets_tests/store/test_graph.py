"""The graph's tables: what is read of a day is what was in force on it, however often days are written, and before every wall."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.learning import graph
from learning_assets.learning.graph import Change, Graph, Versions
from learning_assets.store.store import Store
from learning_assets.store.tables import TableError
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.made_up import DAY, RICH, frame, of_all, pattern

NOW = datetime(2026, 2, 9, 3, tzinfo=UTC)
NAMES = ("knowledge_nodes", "knowledge_relationships")
DAYS = [
    RICH,
    frame(pattern(strength=0.3), of_all(strength=0.2)),
    frame(pattern(status="deprecated", note="sign_reversed"), of_all(strength=0.2), pattern(owner="bob", account_id="9")),
    frame(pattern(strength=-0.3), of_all(strength=0.21), pattern(owner="bob", account_id="9")),
]


def on(after: int) -> date:
    return DAY + timedelta(days=after)


def learn(store: Store, after: int, patterns: pl.DataFrame, *, onward: bool = False) -> Change:
    day = on(after)
    change = graph.advance(store.graph_before(day), patterns, day, store.settings.graph, controlled_delivery=False)
    store.replace_graph(day, change, onward=onward)
    return change


def versions(store: Store, wall: Wall = PIPELINE) -> Graph:
    return Graph(*(store.tables.read(name, wall) for name in NAMES))


def assert_same(left: Graph, right: Graph) -> None:
    for one, other in ((left.nodes, right.nodes), (left.relationships, right.relationships)):
        assert_frame_equal(one.select(other.columns), other, check_row_order=False)


@pytest.fixture
def written(store: Store) -> Store:
    """A store in which four days were learned."""
    for after, patterns in enumerate(DAYS):
        learn(store, after, patterns)
    return store


def test_what_is_read_is_what_follows_from_the_days(store: Store):
    """The tables after each day are the history of the pure functions; so is each day's graph, whatever came later."""
    history, stood = Graph.empty(), []
    for after, patterns in enumerate(DAYS):
        change = learn(store, after, patterns)
        history = graph.applied(history, change, on(after))
        assert_same(versions(store), history)
        stood.append(store.graph(on(after), PIPELINE))
    for after, before in enumerate(stood):
        found = store.graph(on(after), PIPELINE)
        assert_same(found, before)
        half_life = store.settings.graph.half_life_days
        assert_same(found, graph.as_seen(graph.as_of(history, on(after)), frame(), on(after), half_life))
    assert store.graph(on(-1), PIPELINE).nodes.is_empty()
    assert store.graph(on(30), PIPELINE).relationships.height == stood[-1].relationships.height


def test_the_newest_day_again_changes_nothing(written: Store):
    before = versions(written)
    learn(written, 3, DAYS[3])
    assert_same(versions(written), before)
    (day,) = written.tables.read("asset_days", PIPELINE, asset="knowledge_graph", day=on(3)).to_dicts()
    in_force = sum(rows["valid_to"].null_count() for rows in (before.nodes, before.relationships))
    assert (day["rows"], day["revision"]) == (in_force, 2)


def test_the_newest_day_learned_otherwise_replaces_what_it_did(written: Store):
    learn(written, 3, DAYS[2])
    assert versions(written).relationships["contradicts"].drop_nulls().is_empty()
    learn(written, 3, DAYS[3])
    assert versions(written).relationships["contradicts"].drop_nulls().to_list() == [2]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_replay_from_the_middle_is_the_straight_run(written: Store, first: int):
    straight, kept = versions(written), written.graph(on(first - 1), PIPELINE)
    for after in range(first, len(DAYS)):
        learn(written, after, DAYS[after], onward=True)
        assert written.newest_day("knowledge_graph") == on(after)
        assert_same(written.graph(on(first - 1), PIPELINE), kept)
    assert_same(versions(written), straight)


def test_a_replayed_day_takes_the_later_ones_away_and_reopens_what_they_closed(written: Store):
    before = graph.known(versions(written), on(1))
    learn(written, 1, DAYS[1], onward=True)
    assert_same(versions(written), before)


def test_what_cannot_be_written_changes_nothing(written: Store):
    before = versions(written)
    nothing = {name: getattr(Graph.empty(), name).clear() for name in ("nodes", "relationships")}
    ends = pl.DataFrame({"node_id": ["nobody"], "version": [1], "ended": ["unreferenced"]})
    none = Versions(nothing["relationships"], ends.clear().rename({"node_id": "relationship_id"}))
    wrong = before.nodes.head(1).with_columns(valid_from=pl.lit(on(3)))
    for day, nodes, says in (
        (on(4), Versions(nothing["nodes"], ends), "of 1 versions that were to end on 2026-02-05, 0 were in force"),
        (on(4), Versions(wrong, ends.clear()), "versions of another day than 2026-02-05"),
        (on(2), Versions(nothing["nodes"], ends.clear()), "of 2026-02-03 was to be written before that of 2026-02-04"),
    ):
        with pytest.raises(TableError, match=says):
            written.replace_graph(day, Change(nodes, none))
        assert_same(versions(written), before)
        assert written.newest_day("knowledge_graph") == on(3)


def test_an_owner_sees_the_own_graph_and_what_belongs_to_nobody(written: Store):
    for after in range(len(DAYS)):
        whole, bobs = (written.graph(on(after), wall) for wall in (PIPELINE, Wall("bob")))
        for name in ("nodes", "relationships"):
            everything, seen = getattr(whole, name), getattr(bobs, name)
            expected = everything.filter(pl.col("owner").is_null() | (pl.col("owner") == "bob"))
            assert_frame_equal(seen, expected, check_row_order=False)
            assert "ann" not in set(seen["owner"])
    assert "bob" in set(written.graph(on(3), Wall("bob")).relationships["owner"])


def test_the_figures_of_a_day_come_from_its_patterns(store: Store):
    for after, row in enumerate((pattern(), pattern(strength=0.12, ads_with=20, last_validated=on(1)))):
        rows = frame(row | {"validation_count": 1, "weak_days": 0, "since": DAY}).with_columns(as_of=pl.lit(on(after)))
        store.replace_day("learning_patterns", on(after), rows, asset="patterns")
        learn(store, after, rows)
    assert versions(store).relationships.filter(kind="correlates").height == 1
    for after, strength, ads, confirmed in ((0, 0.1, 14, DAY), (1, 0.12, 20, on(1)), (9, 0.12, 20, on(1))):
        (found,) = store.graph(on(after), Wall("ann")).relationships.filter(kind="correlates").to_dicts()
        assert (found["strength"], found["ads_with"], found["confirmed_on"]) == (strength, ads, confirmed)
        assert found["age_days"] == (on(after) - confirmed).days
