"""Rollback: the champion before comes back, stays on its day, is recorded for good, and is refused where it cannot do the work."""

import json
import shutil

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from learning_assets import cli
from learning_assets.assets.champions import champion_of
from learning_assets.learning.targets import CTR
from learning_assets.rollback import history, put_back
from learning_assets.store.champions import ChampionError, Rollback
from learning_assets.store.walls import Wall
from learning_assets_tests.conftest import LEARNED
from learning_assets_tests.world import Learned, metadata

FORCE = {"retrained_model": {"config": {"force": True}}}
OF = ("ctr", "shared")


@pytest.fixture
def two(learned_copy: Learned) -> tuple[Learned, str, str]:
    """The world, its first champion, and the second challenger, which has been in force from its own day on."""
    first, second = learned_copy.table("models", target="ctr").sort("as_of")["model_id"].to_list()
    won = sa.text(
        "UPDATE champions SET model_id = :model, status = CASE WHEN as_of = :day THEN 'retrained' ELSE status END WHERE as_of >= :day"
    )
    learned_copy.store.tables.execute(won, {"model": second, "day": learned_copy.days[5]})
    return learned_copy, first, second


def in_force(world: Learned) -> tuple[str | None, str]:
    (row,) = world.table("champions", target="ctr", as_of=world.days[-1], pool="shared").to_dicts()
    return row["model_id"], row["status"]


def words(result: Result) -> str:
    return " ".join(result.output.replace("│", " ").split())


@pytest.fixture
def run(two: tuple[Learned, str, str], monkeypatch: pytest.MonkeyPatch):
    """Runs a command on the world of `two`."""
    settings = two[0].settings
    assert settings.database_url is not None
    monkeypatch.setenv("LEARNING_HOME", str(settings.home))
    monkeypatch.setenv("LEARNING_DATABASE_URL", settings.database_url.get_secret_value())
    for group, values in LEARNED.items():
        for name, value in values.items():
            monkeypatch.setenv(f"LEARNING_{group}_{name}".upper(), str(value))
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)


def test_the_champion_before_is_in_force_again_and_predictions_use_it(two, run):
    world, first, second = two
    day = world.days[-1]
    result = run("rollback", *OF, "--by", "Ann Other", "--why", "CTR of new ads fell")
    assert result.exit_code == 0, result.output
    assert f"{first} is in force again for ctr of shared, in place of {second}." in words(result)
    assert in_force(world) == (first, "rolled_back")
    (recorded,) = world.store.champions.rollbacks()
    assert recorded == Rollback(day, None, *OF, second, first, "Ann Other", "CTR of new ads fell", world.store.now)
    (pool,) = world.store.pools()
    found = champion_of(world.store, pool, CTR, day)
    assert found is not None
    assert found[0] == first
    assert world.run(day, "predictions").success
    rows = world.store.lake.read("predictions", day)
    assert rows.filter(model="xgboost", metric="ctr")["model_id"].unique().to_list() == [first]
    shown = words(run("rollback", "--list"))
    assert "Models in force (simulated)" in shown
    told = history(world.store).filter(target="ctr")
    assert told.select("since", "until", "model_id").rows() == [
        (world.days[0], world.days[4], first),
        (world.days[5], world.days[6], second),
        (day, None, first),
    ]
    assert told["how"][:2].to_list() == ["won its contest", "won its contest"]
    assert told["how"][2] == f"Rolled back from {second} by Ann Other on 2026-03-02 09:00 UTC: CTR of new ads fell"


def test_it_stays_when_its_day_is_decided_anew_and_may_be_contested_from_the_next(two):
    world, first, second = two
    day = world.days[-1]
    put_back(world.store, *OF, None, "Ann", "too bold")
    for ops in (None, FORCE):
        result = world.run(day, "retrained_model", ops=ops)
        assert result.success
        assert in_force(world) == (first, "rolled_back")
        assert metadata(result, "retrained_model")["rolled_back"] == 1
    (row,) = world.table("champions", target="ctr", as_of=day).to_dicts()
    assert "takes no champion's place on this day" in row["reason"]
    (model,) = world.table("models", target="ctr", as_of=day).to_dicts()
    assert json.loads(model["card"])["promoted"] is False
    assert len(world.store.champions.rollbacks()) == 1, "what is recorded stays as it was"
    # A replay of an earlier day and of this one comes to the same.
    assert world.run(world.days[-2], "retrained_model", replaying=True).success
    assert world.run(day, "retrained_model", replaying=True).success
    assert in_force(world) == (first, "rolled_back")
    assert second in world.table("models", target="ctr")["model_id"].to_list()


def test_it_goes_further_back_each_time_and_forward_by_name(two):
    world, first, second = two
    put_back(world.store, *OF, None, "Ann", "one")
    with pytest.raises(ChampionError, match=f"{first} is the first champion of ctr of shared: there is no earlier one"):
        put_back(world.store, *OF, None, "Ann", "two")
    put_back(world.store, *OF, second, "Bob", "it was the weather")
    assert in_force(world) == (second, "rolled_back")
    assert [(one.from_model_id, one.to_model_id, one.said_by) for one in world.store.champions.rollbacks()] == [
        (second, first, "Ann"),
        (first, second, "Bob"),
    ]
    assert world.run(world.days[-1], "retrained_model").success
    assert in_force(world) == (second, "rolled_back"), "the newest one of the day holds"


def test_the_first_champion_has_none_before_it(learned_copy: Learned):
    first = learned_copy.table("champions", target="ctr", as_of=learned_copy.days[0])["model_id"][0]
    learned_copy.store.tables.execute(sa.text("UPDATE champions SET model_id = :model"), {"model": first})
    with pytest.raises(ChampionError, match=r"there is no earlier one to put back.*force: true"):
        put_back(learned_copy.store, *OF, None, "Ann", "x")
    learned_copy.store.tables.execute(sa.text("UPDATE champions SET model_id = NULL"))
    with pytest.raises(ChampionError, match="No model of ctr of shared is in force yet"):
        put_back(learned_copy.store, *OF, None, "Ann", "x")


def test_what_cannot_do_the_work_is_refused(two):
    world, first, second = two
    folder = world.store.artifacts.folder(first)

    def refused(says: str, to: str | None = None) -> None:
        with pytest.raises(ChampionError, match=says):
            put_back(world.store, *OF, to, "Ann", "x")
        assert in_force(world)[0] == second
        assert world.store.champions.rollbacks() == []

    refused(f"{second} is in force already", second)
    refused("ctr-shared-nothing never was champion of ctr of shared; ctr-shared-", "ctr-shared-nothing")
    text = (folder / "card.json").read_text()
    (folder / "card.json").write_text("{")
    refused(f"The artifact of {first} cannot be read .*--to .*force: true")
    (folder / "card.json").write_text(text)
    (folder / "model.ubj").write_bytes(b"xx")
    refused(f"The artifact of {first} cannot be read")
    shutil.rmtree(folder)
    refused(f"The artifact of model {first} is not in .*It cannot be put back")
    change = sa.text("UPDATE models SET features_hash = 'other' WHERE model_id = :model")
    world.store.tables.execute(change, {"model": first})
    refused(rf"{first} was trained with other features \(other\) than the newest model")
    world.store.tables.execute(sa.text("DELETE FROM models WHERE model_id = :model"), {"model": first})
    refused(f"{first} is not in the registry any more")


def test_a_model_that_is_gone_since_does_not_stay(two):
    """The day is decided anew after the artifact was lost: the decision stands, and says so."""
    world, first, _ = two
    put_back(world.store, *OF, None, "Ann", "x")
    shutil.rmtree(world.store.artifacts.folder(first))
    assert world.run(world.days[-1], "retrained_model").success
    (row,) = world.table("champions", target="ctr", as_of=world.days[-1]).to_dicts()
    assert row["status"] == "no_retrain_needed"
    assert row["reason"].endswith(f"The champion put back by Ann, {first}, is gone.")


def test_the_pointer_is_compared_before_it_is_set(two):
    world, first, second = two
    stale = Rollback(world.days[-1], None, *OF, "ctr-shared-x", first, "Ann", "x", world.store.now)
    with pytest.raises(ChampionError, match=r"is not ctr-shared-x any more\. Nothing was changed"):
        world.store.champions.put_back(stale, "x")
    assert in_force(world)[0] == second
    assert world.store.champions.rollbacks() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["ctr", "nobody", "--by", "A", "--why", "x"],
            "Nothing was decided for ctr of nobody. There are ctr of shared, cvr of shared, roas of shared.",
        ),
        (["ctr", "shared", "--why", "x"], "needs the name of who decides (--by) and the reason (--why)"),
        (["ctr"], "Name target and pool"),
    ],
)
def test_errors_are_sentences_with_a_remedy(run, arguments: list[str], says: str):
    result = run("rollback", *arguments)
    assert result.exit_code == 1
    assert says in words(result)


def test_rollbacks_stand_before_walls(two):
    world, *_ = two
    put_back(world.store, *OF, None, "Ann", "x")
    rows = {"owner": "owner_0001", "pool": "owner_0001"}
    world.store.tables.execute(sa.text("UPDATE champion_rollbacks SET owner = :owner, pool = :pool"), rows)
    assert world.table("champion_rollbacks", Wall("owner_0001")).height == 1
    assert world.table("champion_rollbacks", Wall("owner_0002")).is_empty()
