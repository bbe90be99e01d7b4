"""Winner memory in its tables: renewed with the looks, searched within one owner, with pgvector and without."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from learning_assets.assets import LAKE
from learning_assets.doctor import examine
from learning_assets.learning import embedding, memory
from learning_assets.opening import open_identity
from learning_assets.settings import Settings
from learning_assets.store import migrations
from learning_assets.store.address import Address
from learning_assets.store.store import Store
from learning_assets.store.tables import TableError
from learning_assets.store.walls import PIPELINE, Wall

DAY = date(2026, 2, 1)
NOW = datetime(2026, 2, 3, tzinfo=UTC)
IDEA = np.eye(embedding.DIMENSIONS)[0]


def looked(owner: str, name: str, **more: Any) -> dict[str, Any]:
    """A first look by which a creative enters on DAY, but for what is said."""
    base = dict.fromkeys(memory.LOOKS) | dict.fromkeys(("creatives", "impressions", "looks", "next_look_impressions"), 1)
    named = {"owner": owner, "fingerprint": name, "account_id": f"account of {owner}", "creative_id": name}
    entered = {"outcome": "entered", "metric": "ctr", "ctr": 0.04, "validations": 0, "entered_on": DAY}
    return base | named | entered | more


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=memory.LOOKS)


def describe(store: Store, rows: pl.DataFrame, vectors: NDArray[np.floating], version: str = "1") -> None:
    """Say what the creatives of some looks say, as `creative_dna` does."""
    columns = store.tables.schema("creative_dna")
    told = rows.select("owner", "account_id", "creative_id", "fingerprint").with_columns(
        first_seen=pl.lit(DAY),
        version=pl.lit(version),
        embedding=pl.Series(embedding.to_bytes(vectors), dtype=pl.Binary),
    )
    missing = [pl.lit(None, kind).alias(name) for name, kind in columns.items() if name not in told.columns]
    store.tables.upsert("creative_dna", told.with_columns(missing))


def learn(store: Store, rows: pl.DataFrame, day: date = DAY, *, onward: bool = False) -> pl.DataFrame:
    """Replace the looks of a day; the members afterwards."""
    store.memory.replace(day, rows, now=NOW, onward=onward)
    return everything(store)


def everything(store: Store) -> pl.DataFrame:
    return store.tables.read("winner_memory", PIPELINE).sort(memory.KEY)


def near(cosines: list[float]) -> NDArray[np.float64]:
    """Embeddings with these cosines to IDEA."""
    rest = np.random.default_rng(1).normal(size=(len(cosines), embedding.DIMENSIONS - 1))
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    across = np.array(cosines)[:, None]
    return np.hstack([across, np.sqrt(1 - across**2) * rest])


@pytest.fixture
def bare(server: Address, tmp_path: Path) -> Iterator[Store]:
    """A store in a database whose owner may not add pgvector, which only an administrator may."""
    role, name = "owner_without_rights", "without_pgvector"
    administrator = sa.create_engine(server.with_database("postgres").learning(), isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(sa.text(f"CREATE ROLE {role}"))
        connection.execute(sa.text(f"CREATE DATABASE {name} OWNER {role}"))
    url = f"{server.with_database(name).learning()}&options=-c%20role%3D{role}"
    migrations.migrate(sa.create_engine(url))
    settings = Settings(home=tmp_path / "home", database_url=url, sandbox={"accounts": 6, "ads": 12})  # type: ignore[arg-type]
    yield Store(settings, LAKE, lambda: open_identity(settings))
    with administrator.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(sa.text(f"DROP ROLE {role}"))
    administrator.dispose()


@pytest.fixture(params=["pgvector", "none"])
def either(request: pytest.FixtureRequest) -> Store:
    """A store with pgvector, and one without."""
    return request.getfixturevalue("store" if request.param == "pgvector" else "bare")


# -- the chain


def test_members_are_the_newest_looks_at_what_ever_entered(store: Store):
    rows = frame(looked("ann", "x"), looked("ann", "y", outcome="passed_over", entered_on=None, metric=None))
    describe(store, rows, near([0.9, 0.1]))
    (member,) = learn(store, rows).to_dicts()
    assert (member["fingerprint"], member["looked_on"], member["dna_version"]) == ("x", DAY, "1")
    assert np.allclose(member["embedding"], near([0.9])[0], atol=1e-3)
    left = looked("ann", "x", outcome="left", left_on=DAY + timedelta(days=1), looks=2)
    (member,) = learn(store, frame(left, looked("ann", "y")), DAY + timedelta(days=1)).filter(fingerprint="x").to_dicts()
    assert (member["left_on"], member["looks"]) == (DAY + timedelta(days=1), 2)
    assert store.memory.members(PIPELINE)["fingerprint"].to_list() == ["y"]
    assert store.memory.before(DAY + timedelta(days=1))["looks"].to_list() == [1, 1]
    assert store.memory.before(DAY + timedelta(days=2)).sort("fingerprint")["looks"].to_list() == [2, 1]


def test_a_day_that_is_learned_anew_puts_back_what_it_and_later_ones_did(store: Store):
    days = [DAY + timedelta(days=n) for n in range(4)]
    later = {"outcome": "validated", "looks": 2}
    steps = [
        frame(looked("ann", "stays"), looked("ann", "leaves"), looked("bob", "waits", entered_on=None, outcome="passed_over")),
        frame(looked("ann", "stays", **later), looked("bob", "waits", entered_on=days[1])),
        frame(looked("ann", "leaves", outcome="left", left_on=days[2], looks=2), looked("ann", "new", entered_on=days[2])),
        frame(),
    ]
    describe(store, pl.concat(steps).unique(memory.KEY), near([0.5] * 4))
    straight = [learn(store, step, day) for day, step in zip(days, steps, strict=True)]
    for back in (3, 2, 1, 0):
        again = learn(store, steps[back], days[back], onward=True)
        assert again.equals(straight[back])
        assert store.newest_day("winner_memory") == days[back]
        for day, step, expected in list(zip(days, steps, straight, strict=True))[back + 1 :]:
            assert learn(store, step, day).equals(expected)
    assert learn(store, steps[3], days[3]).equals(straight[3]), "the newest day is replaced by itself"
    changed = learn(store, frame(looked("ann", "new", entered_on=days[3])), days[3])
    assert changed.filter(fingerprint="new")["entered_on"].to_list() == [days[3]]
    assert learn(store, frame(), days[3]).equals(straight[3])


def test_what_cannot_be_written_leaves_looks_and_members_as_they_were(store: Store):
    rows = frame(looked("ann", "x"))
    before = learn(store, rows)
    with pytest.raises(TableError, match="not a number"):
        store.memory.replace(DAY, rows.with_columns(ctr=float("nan")), now=NOW)
    assert everything(store).equals(before)
    assert store.memory.before(DAY + timedelta(days=1)).height == 1


def test_a_creative_that_is_described_anew_is_found_by_its_new_text(store: Store):
    rows = frame(looked("ann", "x"))
    describe(store, rows, near([0.1]))
    learn(store, rows)
    assert store.memory.search(IDEA, Wall("ann")).is_empty()
    describe(store, rows, near([0.9]), version="2")
    learn(store, frame(), DAY + timedelta(days=1))
    assert store.memory.search(IDEA, Wall("ann"))["similarity"].to_list() == [pytest.approx(0.9, abs=1e-3)]


# -- the search


def test_the_nearest_come_first_and_limits_hold(either: Store):
    rows = frame(*(looked("ann", f"{n}", ctr=0.03 + n / 1_000) for n in range(9)), looked("ann", "mute"))
    cosines = [0.95, 0.3, 0.9, 0.8, 0.7, 0.6, 0.85, 0.55, 0.45]
    describe(either, rows, np.vstack([near(cosines), np.full(embedding.DIMENSIONS, np.nan)]))
    learn(either, rows)
    found = either.memory.search(IDEA, Wall("ann"))
    assert found["fingerprint"].to_list() == ["0", "2", "6", "3", "4", "5", "7"], "those from the least similarity on"
    assert found["similarity"].to_list() == pytest.approx(sorted(cosines, reverse=True)[:7], abs=2e-3)
    assert either.memory.search(IDEA, Wall("ann"), count=2)["fingerprint"].to_list() == ["0", "2"]
    assert either.memory.search(IDEA, Wall("ann"), min_similarity=-1).height == 9
    assert either.memory.search(IDEA, Wall("ann"), min_ctr=0.0345)["fingerprint"].to_list() == ["6", "5", "7"]
    assert either.memory.search(IDEA, Wall("ann"), but=("ann", "0"), count=1)["fingerprint"].to_list() == ["2"]
    assert either.memory.search(np.full(embedding.DIMENSIONS, np.nan), Wall("ann")).is_empty()
    learn(either, frame(looked("ann", "0", outcome="left", left_on=DAY)), DAY + timedelta(days=1))
    assert either.memory.search(IDEA, Wall("ann"), count=1)["fingerprint"].to_list() == ["2"], "who has left is not found"
    for wrong in ({"idea": IDEA[:3]}, {"idea": IDEA, "count": 0}):
        with pytest.raises(ValueError, match="256"):
            either.memory.search(wall=Wall("ann"), **wrong)  # type: ignore[arg-type]


def test_nobody_finds_another_owners_winners(either: Store):
    rows = frame(looked("ann", "same"), looked("bob", "same"), looked("bob", "nearer"))
    describe(either, rows, near([0.8, 0.8, 0.99]))
    learn(either, rows)
    found = either.memory.search(IDEA, Wall("ann"), min_similarity=-1)
    assert found.select(memory.KEY).rows() == [("ann", "same")]
    assert either.memory.search(IDEA, Wall("carl"), min_similarity=-1).is_empty()
    assert either.memory.members(Wall("ann"))["owner"].to_list() == ["ann"]


def test_an_owner_of_few_among_many_gets_all_that_are_asked_for(store: Store):
    """Also where every other owner's winner is nearer to the idea."""
    rng = np.random.default_rng(2)
    rows = frame(*(looked("many", f"{n}") for n in range(800)), *(looked("few", f"{n}") for n in range(12)))
    vectors = np.vstack([near(rng.uniform(0.8, 0.99, 800).tolist()), near(np.linspace(0.2, 0.5, 12).tolist())])
    describe(store, rows, vectors)
    learn(store, rows)
    for analyzed in (False, True):
        if analyzed:
            store.tables.execute(sa.text("ANALYZE winner_memory"))
        found = store.memory.search(IDEA, Wall("few"), min_similarity=-1)
        assert found["fingerprint"].to_list() == [str(n) for n in range(11, 1, -1)]
    # The index is what a search over all goes by.
    with store.tables.engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        query = (
            "EXPLAIN SELECT 1 FROM winner_memory WHERE left_on IS NULL ORDER BY (embedding::halfvec(256)) <=> :idea LIMIT 10"
        )
        plan = connection.execute(sa.text(query), {"idea": str(IDEA.tolist())}).scalars().all()
    assert any("ix_winner_memory_embedding" in line for line in plan)


def test_hits_are_new_creatives_that_resemble_a_winner_of_their_owner(store: Store):
    day = DAY + timedelta(days=20)
    rows = frame(looked("ann", "old"), looked("bob", "other"))
    describe(store, rows, near([0.99, -0.99]))
    learn(store, rows)
    assert store.memory.hit_rate(DAY) == 0, "nothing was known before"
    new = pl.DataFrame([looked("ann", "new"), looked("bob", "new"), looked("carl", "new")], schema=memory.LOOKS)
    describe(store, new, near([0.98, 0.98, 0.98]))
    store.tables.execute(sa.text("UPDATE creative_dna SET first_seen = :day WHERE creative_id = 'new'"), {"day": day})
    assert store.memory.hit_rate(day + timedelta(days=27)) == pytest.approx(1 / 3)
    assert store.memory.hit_rate(day + timedelta(days=28)) is None, "none is new any more"


# -- pgvector


def test_with_pgvector_there_is_an_index(store: Store):
    how = store.memory.how()
    assert not how.exact
    assert "HNSW" in how.says
    assert how.remedy == ""


def test_without_pgvector_it_is_said_and_the_index_is_made_once_it_is_there(
    bare: Store, server: Address, monkeypatch: pytest.MonkeyPatch
):
    how = bare.memory.how()
    assert how.exact
    assert how.says == "pgvector is not installed: search is exact, in memory"
    assert "CREATE EXTENSION vector" in how.remedy
    assert bare.settings.database_url is not None
    monkeypatch.setenv("LEARNING_HOME", str(bare.home))
    monkeypatch.setenv("LEARNING_DATABASE_URL", bare.settings.database_url.get_secret_value())
    for name in ("ACCOUNTS", "ADS"):
        monkeypatch.setenv(f"LEARNING_SANDBOX_{name}", {"ACCOUNTS": "6", "ADS": "12"}[name])
    (finding,) = (one for one in examine() if one.what == "search for winners")
    assert (finding.ok, finding.says, finding.remedy) == (True, how.says, how.remedy)
    rows = frame(*(looked("ann", f"{n}") for n in range(5)))
    describe(bare, rows, near([0.9, 0.8, 0.7, 0.6, 0.55]))
    learn(bare, rows)
    exact = bare.memory.search(IDEA, Wall("ann"))
    administrator = sa.create_engine(server.with_database("without_pgvector").learning())
    with administrator.begin() as connection:
        connection.execute(sa.text("CREATE EXTENSION vector"))
    administrator.dispose()
    assert not bare.memory.how().exact
    found = bare.memory.search(IDEA, Wall("ann"))
    assert found.drop("similarity").equals(exact.drop("similarity"))
    assert np.allclose(found["similarity"], exact["similarity"], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "says", "remedy"),
    [
        (
            ["DROP INDEX ix_winner_memory_embedding", "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'"],
            "pgvector 0.7.4 is too old",
            "ALTER EXTENSION vector UPDATE",
        ),
        (
            ["DROP EXTENSION vector CASCADE", "CREATE SCHEMA aside", "CREATE EXTENSION vector SCHEMA aside"],
            "in a schema that is not searched",
            "ALTER EXTENSION vector SET SCHEMA public",
        ),
    ],
    ids=["old", "aside"],
)
def test_a_pgvector_that_cannot_be_used_is_told_apart(store: Store, change: list[str], says: str, remedy: str):
    for statement in change:
        store.tables.execute(sa.text(statement))
    rows = frame(looked("ann", "x"))
    describe(store, rows, near([0.9]))
    learn(store, rows)
    how = store.memory.how()
    assert how.exact
    assert says in how.says
    assert remedy in how.remedy
    assert store.memory.search(IDEA, Wall("ann")).height == 1
