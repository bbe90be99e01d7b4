"""Deciding about champions: one process at a time, and a process that is killed leaves the old champion in force."""

from pathlib import Path

import pytest

from learning_assets.assets.champions import champion_of
from learning_assets.learning.targets import CTR
from learning_assets_tests.integration import children
from learning_assets_tests.integration.children import Child
from learning_assets_tests.world import Learned, failure

FORCE = {"retrained_model": {"config": {"force": True}}}


@pytest.fixture
def easy(learned_copy: Learned) -> Learned:
    """The world that has learned, in which nearly every challenger wins."""
    models = {
        **learned_copy.settings.models.model_dump(exclude_unset=True),
        "gate_confidence": 0.001,
        "max_calibration_loss": 9.0,
    }
    world = learned_copy.again(models=models)
    parts = (world.settings, world.store, world.source, world.instance, world.definitions)
    return Learned(*parts, learned_copy.facts_from, learned_copy.days)


def decided(world: Learned) -> tuple[list, list]:
    """Pointer and registry of the newest day."""
    day = world.days[-1]
    return world.table("champions", target="ctr", as_of=day).to_dicts(), world.table("models", target="ctr", as_of=day)[
        "model_id"
    ].to_list()


def test_who_comes_while_another_decides_is_refused_and_changes_nothing(learned_copy: Learned):
    day, before = learned_copy.days[-1], decided(learned_copy)
    artifacts = sorted(path.name for path in (learned_copy.store.home / "artifacts").iterdir())
    other = learned_copy.again()
    with other.store.champions.deciding():
        refused = learned_copy.run(day, "retrained_model", ops=FORCE)
    assert failure(refused) == (
        "retrained_model: Another run decides about the champions at this moment. Nothing was changed; run this again when it has ended."
    )
    assert decided(learned_copy) == before
    assert sorted(path.name for path in (learned_copy.store.home / "artifacts").iterdir()) == artifacts
    assert learned_copy.run(day, "retrained_model", ops=FORCE).success


def test_of_two_that_decide_at_once_one_pointer_comes_with_its_registry(easy: Learned, tmp_path: Path):
    """Each by itself would win. They never overlap: the second begins after the first has ended, or is refused."""
    day, standing = easy.days[-1], easy.table("champions", target="ctr", as_of=easy.days[-2])["model_id"][0]
    two = [Child(tmp_path / f"log{n}", children.decide, easy.settings, day) for n in range(2)]
    for child in two:
        assert child.end(300) == 0
    ends = [child.said()[-1] for child in two]
    assert "decided" in ends
    assert all(end == "decided" or "Another run decides about the champions" in end for end in ends), ends
    (pointer,), registry = decided(easy)
    assert (pointer["status"], registry) == ("retrained", [pointer["model_id"]])
    assert pointer["model_id"] != standing
    revision = easy.table("asset_days", asset="retrained_model", day=day)["revision"][0]
    assert revision == 1 + ends.count("decided")


def test_a_decision_that_is_killed_before_the_pointer_moves_leaves_the_old_champion(easy: Learned, tmp_path: Path):
    day, before = easy.days[-1], decided(easy)
    (pool,) = easy.store.pools()
    standing = champion_of(easy.store, pool, CTR, day)
    assert standing is not None
    child = Child(tmp_path / "log", children.decide, easy.settings, day, "champions")
    child.end(300)
    said = child.said()
    assert "os.rename" in " ".join(said), "the challenger's artifact was published before"
    assert "champions" in said[-1]
    assert decided(easy) == before
    now = champion_of(easy.store, pool, CTR, day)
    assert now is not None
    assert now[0] == standing[0]
    assert easy.run(day, "retrained_model", ops=FORCE).success, "the lock went with the process"
    (pointer,), registry = decided(easy)
    assert registry == [pointer["model_id"]] != [standing[0]]
