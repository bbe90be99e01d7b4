"""Processes and servers that are killed in the middle: what was there is readable, the next run completes, nothing is doubled."""

import random
import shutil
import signal
import time as clock
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import polars.selectors as cs
import psutil
import pytest
import sqlalchemy as sa

from learning_assets.assets import LAKE
from learning_assets.assets.champions import champion_of
from learning_assets.build import open_store
from learning_assets.clock import days_between
from learning_assets.learning import memory
from learning_assets.learning.footage import FOOTAGE
from learning_assets.learning.targets import CTR
from learning_assets.opening import open_source
from learning_assets.settings import Settings
from learning_assets.store import identity, schema
from learning_assets.store.address import Address
from learning_assets.store.embedded import EmbeddedPostgres
from learning_assets.store.lake import content_version
from learning_assets.store.models import ModelError
from learning_assets.store.store import Store
from learning_assets.store.tables import Locked
from learning_assets.store.walls import PIPELINE
from learning_assets_tests import made_up
from learning_assets_tests.conftest import LEARNED, _learned_copy
from learning_assets_tests.integration import children
from learning_assets_tests.integration.children import DAY, MODEL, NOW, OTHER_DAY, Child
from learning_assets_tests.world import Learned, World


def numbers(said: list[str], word: str) -> list[int]:
    """The numbers that a child said after a word."""
    return [int(line.split()[1]) for line in said if line.split()[0] == word]


def soon_free(store: Store, name: str) -> bool:
    """Whether a lock is free as soon as the server has noticed that its holder is dead."""
    deadline = clock.monotonic() + 5
    while clock.monotonic() < deadline:
        try:
            with store.tables.lock(name, wait=False):
                return True
        except Locked:
            clock.sleep(0.01)
    return False


def names(folder: Path) -> set[str]:
    """What is in a folder, hidden files included."""
    return {path.name for path in folder.iterdir()}


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = clock.monotonic()
    work()
    return clock.monotonic() - began


# Facts on disk ----------------------------------------------------------------------------------------------------------------


def test_a_killed_write_leaves_the_day_as_it_was_or_as_it_should_be(store: Store, tmp_path: Path) -> None:
    chance = random.Random(1)
    store.lake.write("actuals", DAY, children.facts(0))
    seconds = timed(lambda: store.lake.write("actuals", DAY, children.facts(1)))
    folder = store.lake.path("actuals", DAY).parent
    there, tried, interrupted = 1, 1, 0
    for _ in range(15):
        child = Child(tmp_path / "log", children.write_lake, store.settings, tried + 1)
        child.wait_for(bool)
        clock.sleep(chance.uniform(0, 2 * seconds))
        said = child.kill()
        begun, done = numbers(said, "begun"), numbers(said, "done")
        found = store.lake.read("actuals", DAY)
        assert found["impressions"][0] in {begun[-1], *(done or [there])[-1:]}
        there, tried = found["impressions"][0], begun[-1]
        assert found.equals(children.facts(there))
        assert store.lake.version("actuals", DAY) == content_version(found)
        assert store.lake.days("actuals") == [DAY]
        assert soon_free(store, f"lake/actuals/{DAY}")
        interrupted += len(done) < len(begun)
    assert interrupted >= 3
    child = Child(tmp_path / "log", children.write_lake, store.settings, tried + 1, 1)
    assert child.end() == -signal.SIGKILL
    assert len(names(folder)) == 2
    assert store.lake.read("actuals", DAY).equals(children.facts(there))
    assert not store.lake.write("actuals", DAY, children.facts(there)).changed
    assert names(folder) == {f"{DAY}.parquet"}


# Tables -----------------------------------------------------------------------------------------------------------------------


def written_day(store: Store) -> tuple[int, int]:
    """Number and revision of the day that `write_table` writes, which is exactly one of its versions."""
    found = store.tables.read("fetch_manifest", PIPELINE, as_of=DAY)
    number = found["rows"][0]
    expected = children.replaced(number)
    assert found.sort("account_id").equals(expected.select(found.columns).sort("account_id"))
    (day,) = store.tables.read("asset_days", PIPELINE, asset="fetch_manifest", day=DAY).to_dicts()
    if store.tables.read("fetch_manifest", PIPELINE, as_of=DAY)["rows"][0] != number:
        return written_day(store)  # the server was still at the commit of a writer that had died
    assert day["rows"] == expected.height
    return number, day["revision"]


def test_a_killed_replacement_leaves_the_old_rows_or_the_new_ones(store: Store, tmp_path: Path) -> None:
    chance = random.Random(2)
    store.tables.replace_day("fetch_manifest", DAY, children.replaced(0), now=NOW)
    seconds = timed(lambda: store.tables.replace_day("fetch_manifest", DAY, children.replaced(1), now=NOW))
    there, revision, tried, interrupted = 1, 2, 1, 0
    for _ in range(6):
        child = Child(tmp_path / "log", children.write_table, store.settings, tried + 1)
        child.wait_for(bool)
        clock.sleep(chance.uniform(0, 1.5 * seconds))
        said = child.kill()
        begun, done = numbers(said, "begun"), numbers(said, "done")
        found, counted = written_day(store)
        assert found in {begun[-1], *(done or [there])[-1:]}
        # Every version that was committed counts once: those that were done, and the last one if it is there all the same.
        assert counted == revision + len(done) + (found == begun[-1] and found not in done)
        there, revision, tried = found, counted, begun[-1]
        interrupted += len(done) < len(begun)
    assert interrupted >= 3
    assert store.tables.replace_day("fetch_manifest", DAY, children.replaced(0), now=NOW).revision == revision + 1
    assert written_day(store) == (0, revision + 1)


def test_a_killed_upsert_changes_all_rows_or_none(store: Store, tmp_path: Path) -> None:
    chance = random.Random(3)
    height = 20_000
    store.tables.upsert("fetch_manifest", children.manifest(OTHER_DAY, 0, height))
    seconds = timed(lambda: store.tables.upsert("fetch_manifest", children.manifest(OTHER_DAY, 1, height)))
    there, tried = 1, 1
    for _ in range(4):
        child = Child(tmp_path / "log", children.write_upsert, store.settings, tried + 1, height)
        child.wait_for(bool)
        clock.sleep(chance.uniform(0, 1.5 * seconds))
        said = child.kill()
        begun, done = numbers(said, "begun"), numbers(said, "done")
        found = store.tables.read("fetch_manifest", PIPELINE, as_of=OTHER_DAY)
        assert found.height == height
        assert found["rows"].n_unique() == 1
        assert found["rows"][0] in {begun[-1], *(done or [there])[-1:]}
        there, tried = found["rows"][0], begun[-1]
    assert store.tables.upsert("fetch_manifest", children.manifest(OTHER_DAY, 0, height)) == height
    assert store.tables.read("fetch_manifest", PIPELINE, as_of=OTHER_DAY)["rows"].unique().to_list() == [0]


def test_two_writers_of_a_day_leave_the_rows_of_one(store: Store, tmp_path: Path) -> None:
    writers = [Child(tmp_path / f"log-{first}", children.write_table, store.settings, first) for first in (1, 1001)]
    for writer in writers:
        writer.wait_for(lambda said: len(numbers(said, "done")) >= 3)
    said = [writer.kill() for writer in writers]
    found, revision = written_day(store)
    assert found in {number for lines in said for number in [numbers(lines, "begun")[-1], numbers(lines, "done")[-1]]}
    assert sum(len(numbers(lines, "done")) for lines in said) <= revision <= sum(len(numbers(lines, "begun")) for lines in said)


def test_a_killed_day_of_the_graph_leaves_the_graph_of_the_day_before(store: Store, tmp_path: Path) -> None:
    """Whether a day is learned or, with two later ones to be undone, learned anew: all of it is there or nothing."""

    def versions() -> list[pl.DataFrame]:
        names = ("knowledge_nodes", "knowledge_relationships", "asset_days")
        return [store.tables.read(name, PIPELINE).drop("revision", strict=False).sort(pl.all()) for name in names]

    def learned(after: int, fatal: int | None = None) -> list[pl.DataFrame]:
        if fatal is None:
            children.learn_graph(tmp_path / "log", store.settings, after, days[after])
        else:
            child = Child(tmp_path / "log", children.learn_graph, store.settings, after, days[after], fatal)
            assert child.end() == -signal.SIGKILL, child.said()
        return versions()

    days = [made_up.RICH, made_up.frame(made_up.pattern(strength=0.4)), made_up.frame()]
    before = [learned(after) for after in (0, 1)][-1]
    assert all(left.equals(right) for left, right in zip(learned(2, fatal=1), before, strict=True))
    straight = learned(2)
    assert straight[1]["valid_to"].null_count() < straight[1].height
    assert all(left.equals(right) for left, right in zip(learned(0, fatal=1), straight, strict=True))
    again = [learned(after) for after in range(len(days))][-1]
    assert all(left.equals(right) for left, right in zip(again, straight, strict=True))


def test_a_killed_day_of_the_winner_memory_leaves_looks_and_members_as_they_were(store: Store, tmp_path: Path) -> None:
    """Whether a day is learned or, with a later one to be undone, learned anew."""

    def known() -> list[pl.DataFrame]:
        return [
            store.tables.read(name, PIPELINE).sort(pl.all().exclude("embedding")) for name in ("winner_looks", "winner_memory")
        ]

    look = dict.fromkeys(memory.LOOKS) | dict.fromkeys(("owner", "fingerprint", "account_id", "creative_id"), "x")
    look |= dict.fromkeys(("creatives", "impressions", "looks", "next_look_impressions", "validations"), 1)
    entered = pl.DataFrame([look | {"outcome": "entered", "entered_on": DAY}], schema=memory.LOOKS)
    left = entered.with_columns(outcome=pl.lit("left"), left_on=pl.lit(OTHER_DAY))

    def killed(day: date, looks: pl.DataFrame) -> None:
        before = known()
        child = Child(tmp_path / "log", children.remember, store.settings, day, looks, 1)
        assert child.end() == -signal.SIGKILL, child.said()
        assert all(one.equals(other) for one, other in zip(known(), before, strict=True))

    store.memory.replace(DAY, entered, now=NOW)
    killed(OTHER_DAY, left)
    store.memory.replace(OTHER_DAY, left, now=NOW)
    killed(DAY, entered)
    assert known()[1]["left_on"].to_list() == [OTHER_DAY]
    store.memory.replace(DAY, entered, now=NOW, onward=True)
    assert known()[1]["left_on"].to_list() == [None]


# What a store is, and its models ----------------------------------------------------------------------------------------------


def test_an_identity_is_whole_or_not_there_and_the_next_process_makes_it(tmp_path: Path) -> None:
    for fatal in range(1, 20):
        home = tmp_path / f"home-{fatal}"
        child = Child(tmp_path / "log", children.create_identity, home, fatal)
        if child.end() == 0:
            break
        before = identity.read(home)
        assert before is None or before.market == {"seed": fatal}
        made = identity.create(home, "sandbox", DAY, NOW, {"seed": 0})
        assert made == (before or made)
        assert identity.read(home) == made
    else:
        pytest.fail("it never came to its end")
    assert fatal >= 3


@pytest.mark.parametrize("known", [None, 1, 2], ids=["new", "same", "other"])
def test_a_model_is_whole_or_not_there_and_is_published_by_the_next_attempt(
    store: Store, tmp_path: Path, known: int | None
) -> None:
    root = store.home / "artifacts"
    for fatal in range(1, 40):
        if known is not None:
            store.artifacts.publish(MODEL, lambda folder: children.save(folder, known))
        child = Child(tmp_path / "log", children.publish, store.settings, 1, fatal)
        if child.end() == 0:
            break
        try:
            files = {path.name: path.read_text() for path in store.artifacts.folder(MODEL).iterdir()}
        except ModelError:
            # A model that is published again as it was is there at every moment.
            assert known != 1
        else:
            assert files in [{name: str(n) * 100 for name in ("trees.json", "text.json")} for n in (1, known)]
        store.artifacts.publish(MODEL, lambda folder: children.save(folder, 1))
        assert names(root) == {MODEL}
        assert (root / MODEL / "text.json").read_text() == "1" * 100
        if known is None:
            store.artifacts.folder(MODEL).rename(tmp_path / f"aside-{fatal}")
    else:
        pytest.fail("it never came to its end")
    assert fatal >= 4


def test_accounts_are_registered_with_their_consents_by_the_next_attempt(store: Store, tmp_path: Path) -> None:
    accounts = open_source(store.settings, store.identity).accounts()
    for fatal in range(1, 10):
        child = Child(tmp_path / "log", children.register, store.settings, accounts, fatal)
        if child.end() == 0:
            break
        assert store.tables.read("consents", PIPELINE).is_empty()
        store.register(accounts)
        assert store.accounts(PIPELINE)["consents"].to_list() == [True] * 6
        store.register(accounts)
        assert store.tables.read("consents", PIPELINE).height == 6
        for name in ("consents", "accounts", "owners"):
            store.tables.execute(sa.delete(schema.metadata.tables[name]))
    else:
        pytest.fail("it never came to its end")
    assert fatal == 4


# Learning ---------------------------------------------------------------------------------------------------------------------

State = dict[str, list[str]]
CLOCKS_AND_IDS = {"made_at", "created_at", "written_at", "at", "seconds", "consent_id", "revision", "requested_at", "job_id"}
OF_THE_FETCH = {"image_url", "video_url", "requests", "pages", "throttle_pct", "api_version"}
"""Two servers of one market differ in where they listen, and a run that goes on asks less than one that begins."""


def state(store: Store, before: date | None = None) -> State:
    """Everything that is known, by table and by file of the lake; of days before a day where one is given."""
    found: dict[str, pl.DataFrame] = {}
    for name in sorted(schema.metadata.tables):
        rows = store.tables.read(name, PIPELINE)
        when = next((column for column in ("as_of", "day", "first_seen") if column in rows.columns), None)
        if before is not None and "valid_to" in rows.columns:
            rows = as_known_before(rows, before)
        if before is not None and "superseded_on" in rows.columns:
            rows = rows.with_columns(superseded_on=pl.when(pl.col("superseded_on") < before).then("superseded_on"))
        if before is not None and name == "creative_dna":
            # A file is read in its turn, whatever the day on which its creative was seen first.
            rows = rows.drop(FOOTAGE.names())
        if name == "promotion_decisions":
            # A run that is made again adds a revision; the newest is what was decided.
            rows = rows.filter(pl.col("revision") == pl.col("revision").max().over("as_of")).drop("revision", "decision_id")
        if name == "promotion_evidence":
            # Of the file, which a fetch that went on wrote twice.
            rows = rows.drop("facts_version")
        if name == "budget_wishes":
            # Each revision asks again.
            rows = rows.drop("decision_id", "decided_at", "reason").unique()
        # The members are the newest looks at creatives: of days before a day the looks themselves are compared.
        if name != "learning_cycle_log" and (name != "winner_memory" or before is None):
            found[name] = rows if before is None or when is None else rows.filter(pl.col(when) < before)
    for asset in sorted(LAKE):
        for day in store.lake.days(asset, last=before and before - timedelta(days=1)):
            found[f"{asset} {day}"] = store.lake.read(asset, day)
    # The order in which threads add numbers up differs from run to run, and with it the last digits.
    told = {
        name: rows.drop(CLOCKS_AND_IDS | OF_THE_FETCH, strict=False).with_columns(
            cs.float().round_sig_figs(9), cs.by_dtype(pl.List(pl.Float64)).list.eval(pl.element().round_sig_figs(9))
        )
        for name, rows in found.items()
    }
    return {name: sorted(map(repr, rows.iter_rows())) for name, rows in told.items()}


def as_known_before(versions: pl.DataFrame, day: date) -> pl.DataFrame:
    """Versions that were opened before a day, in force where they ended on it or later."""
    ended = pl.col("valid_to") < day
    return versions.filter(pl.col("valid_from") < day).with_columns(
        pl.when(ended).then(name).alias(name) for name in ("valid_to", "ended")
    )


def differences(left: State, right: State) -> dict[str, tuple[list[str], list[str]]]:
    """Where two states differ: rows that only the left one has, and those that only the right one has."""
    return {
        name: (
            [row for row in left.get(name, []) if row not in right.get(name, [])],
            [row for row in right.get(name, []) if row not in left.get(name, [])],
        )
        for name in {*left, *right}
        if left.get(name) != right.get(name)
    }


@pytest.fixture
def twins(server: Address, _learned_once: tuple[str, Path], tmp_path: Path) -> Iterator[tuple[Learned, Learned]]:
    """Two copies of the world that has learned: one that nobody disturbs, and one whose processes are killed."""
    with (
        _learned_copy(server, _learned_once, tmp_path / "undisturbed") as undisturbed,
        _learned_copy(server, _learned_once, tmp_path / "killed") as killed,
    ):
        yield undisturbed, killed


def moments(said: list[str]) -> list[str]:
    """What became visible to others in a child, in its order."""
    return [line.partition(": ")[2] for line in said if line.startswith("moment")]


def unchanged(killed: Learned, before: State, day: date) -> State:
    """What was known before a day is as it was, but for past facts that the day's run restates, and what accounts are about by now, which is no day's;
    models can be used. What has changed."""
    found = state(killed.store, before=day)
    changed = differences(before, found)
    fetched = {"actuals", "actuals_asof", "weekly_sums", "account_days", "times", "fetch_manifest", "account_niches"}
    assert {name.split()[0] for name in changed} <= fetched
    for pool in killed.store.pools():
        champion = champion_of(killed.store, pool, CTR, day - timedelta(days=1))
        assert champion is not None
        assert champion[1].trained_until < day
    return {name: found[name] for name in changed if name != "fetch_manifest"}


def test_a_killed_cycle_is_run_again(twins: tuple[Learned, Learned], tmp_path: Path) -> None:
    undisturbed, killed = twins
    log, chance, day = tmp_path / "log", random.Random(4), killed.days[-1] + timedelta(days=1)

    def learning(world: Learned, fatal: str | None = None) -> Child:
        # At nine of the morning after the day, and with a model that is old enough to be challenged.
        now = datetime.combine(day + timedelta(days=1), time(9), UTC)
        models = world.settings.models.model_copy(update={"max_age_days": 2})
        return Child(log, children.learn, world.settings.model_copy(update={"now": now, "models": models}), day, fatal)

    child = learning(undisturbed)
    child.wait_for(bool)
    seconds = timed(child.end)
    assert child.end() == 0, child.said()
    assert last_trained(undisturbed) == day
    before, after = state(killed.store, before=day), state(undisturbed.store)
    for fatal in FATAL:
        child = learning(killed, fatal)
        assert child.end() == -signal.SIGKILL, child.said()
        assert unchanged(killed, before, day).items() <= after.items()
    for _ in range(2):
        child = learning(killed)
        child.wait_for(bool)
        clock.sleep(chance.uniform(0, 0.8 * seconds))
        child.kill()
        assert unchanged(killed, before, day).items() <= after.items()
    child = learning(killed)
    assert child.end() == 0, child.said()
    assert differences(state(killed.store), after) == {}


FATAL = ("lake/actuals_asof", "lake/actuals/2026-02-25", "commit DELETE FROM champions", "lake/predictions")
"""Moments that runs are killed at: before and amid the restatement of past days, before a new model is judged, before the last steps."""


def last_trained(world: World) -> date | None:
    """The newest day on which a model was trained."""
    return world.table("models")["as_of"].max()  # type: ignore[return-value]


def test_a_killed_replay_is_resumed(twins: tuple[Learned, Learned], tmp_path: Path) -> None:
    undisturbed, killed = twins
    log, first = tmp_path / "log", date(2026, 2, 28)

    def replaying(world: Learned, day: date, fatal: int | None) -> Child:
        assert world.settings.database_url is not None
        environment = {
            "LEARNING_HOME": str(world.settings.home),
            "LEARNING_DATABASE_URL": world.settings.database_url.get_secret_value(),
            "LEARNING_DAGSTER_DATABASE": "dagster_killed",
        }
        for group, values in LEARNED.items():
            environment |= {f"LEARNING_{group}_{name}".upper(): str(value) for name, value in values.items()}
        return Child(log, children.replay, environment, day, fatal)

    def replayed(world: Learned) -> list[date]:
        return sorted(world.table("learning_cycle_log")["partition_day"])

    child = replaying(undisturbed, first, None)
    assert child.end() == 0, child.said()
    reached, after = moments(child.said()), state(undisturbed.store)
    days = days_between(first, killed.days[-1])
    assert replayed(undisturbed) == sorted([*killed.days, *days])

    for part in (0.3, 0.7):
        before = state(killed.store, before=first)
        done = len(replayed(killed)) - len(killed.days)
        child = replaying(killed, days[done], round(part * len(reached)))
        assert child.end() == -signal.SIGKILL, child.said()
        unchanged(killed, before, first)
    done = len(replayed(killed)) - len(killed.days)
    assert 0 < done < len(days)
    child = replaying(killed, days[done], None)
    assert child.end() == 0, child.said()
    assert differences(state(killed.store), after) == {}
    assert replayed(killed) == replayed(undisturbed)


# The server -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with an embedded server of its own, which may be killed."""
    store = open_store(Settings(home=tmp_path_factory.mktemp("own") / "home"))
    store.tables.replace_day("fetch_manifest", DAY, children.replaced(0), now=NOW)
    yield store
    server = EmbeddedPostgres(store.home)
    server.stop()
    shutil.rmtree(server.folder)


def kill_server(store: Store, whole: bool, last: bool = True) -> None:
    """Kill the postmaster, or all processes of the server as an outage does; wait until the last one has ended unless told not to."""
    server = EmbeddedPostgres(store.home)
    pid = server.status().pid
    assert pid is not None
    postmaster = psutil.Process(pid)
    for process in (*(postmaster.children() if whole else []), postmaster):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = clock.monotonic() + 20
    while last and server.status().running:
        assert clock.monotonic() < deadline
        clock.sleep(0.01)


@pytest.mark.parametrize("whole", [False, True], ids=["postmaster", "all"])
def test_a_process_outlives_the_server_without_help(own: Store, whole: bool) -> None:
    small = children.facts(1, height=10)
    own.lake.write("actuals", DAY, small)
    number, revision = written_day(own)
    kill_server(own, whole)
    assert written_day(own) == (number, revision)
    kill_server(own, whole)
    own.lake.write("actuals", DAY, children.facts(2, height=10))
    assert own.lake.read("actuals", DAY)["impressions"].unique().to_list() == [2]
    kill_server(own, whole)
    assert own.tables.replace_day("fetch_manifest", DAY, children.replaced(number + 1), now=NOW).revision == revision + 1
    assert written_day(own) == (number + 1, revision + 1)


def test_the_error_of_the_work_is_told_where_the_lock_went_with_the_server(own: Store) -> None:
    def work() -> None:
        with own.tables.lock("somewhere"):
            kill_server(own, whole=True)
            raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        work()
    assert soon_free(own, "somewhere")


@pytest.mark.parametrize("whole", [False, True], ids=["postmaster", "all"])
def test_a_server_that_is_killed_while_rows_are_written_has_the_old_ones_or_the_new_ones(
    own: Store, tmp_path: Path, whole: bool
) -> None:
    chance = random.Random(5)
    number, revision = written_day(own)
    child = Child(tmp_path / "log", children.write_table, own.settings, number + 1)
    so_far = len(numbers(child.wait_for(lambda said: bool(numbers(said, "done"))), "done"))
    clock.sleep(chance.uniform(0, 0.4))
    kill_server(own, whole, last=False)
    child.wait_for(lambda said: len(numbers(said, "done")) > so_far + 1)
    # An outage takes the writers along; the next process finds everything and goes on.
    kill_server(own, whole, last=False)
    said = child.kill()
    begun, done = numbers(said, "begun"), numbers(said, "done")
    found, counted = written_day(own)
    assert found in {begun[-1], done[-1]}
    assert revision + len(done) <= counted <= revision + len(begun)
    kill_server(own, whole)
    child = Child(tmp_path / "log", children.write_table, own.settings, begun[-1] + 1)
    child.wait_for(lambda said: bool(numbers(said, "done")))
    child.kill()
    assert written_day(own)[0] > begun[-1]


def test_dagster_outlives_the_server_without_help(own: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNING_HOME", str(own.home))
    with dg.DagsterInstance.from_config(str(children.PROJECT)) as instance:
        run = instance.add_run(dg.DagsterRun("learning_cycle", status=dg.DagsterRunStatus.SUCCESS))
        kill_server(own, whole=True)
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.SUCCESS
