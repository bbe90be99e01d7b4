"""Identity: a store belongs to one kind of source and one market, and says so to whoever asks for another."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from learning_assets.assets import LAKE
from learning_assets.opening import open_identity, open_source
from learning_assets.settings import Settings
from learning_assets.store import identity as identities
from learning_assets.store.identity import IdentityError
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

MakeSettings = Callable[..., Settings]
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
MARKET: dict[str, int | str] = {"epoch": "2026-03-02", "seed": 7}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of two arms of one test in October 2014."""
    path = tmp_path / "tests.csv"
    path.write_text("experiment,time,headline,impressions,clicks\na,201442,One,1000,10\na,201442,Two,1000,20\n")
    return path


def test_a_new_home_is_made_once(make_settings: MakeSettings):
    settings = make_settings()
    made = open_identity(settings)
    assert (made.kind, made.start_day, made.created_at) == ("sandbox", date(2013, 1, 1), NOW)
    assert made.market == {
        "epoch": "2026-03-02",
        "seed": 7,
        "accounts": 20,
        "ads": 30,
        "impressions": 1_000,
        "history_days": 90,
    }
    later = Settings(home=settings.home, now=datetime(2026, 5, 1, tzinfo=UTC), start_day=date(2020, 1, 1))
    assert open_identity(later) == made
    assert identities.read(settings.home) == made
    assert [path.name for path in settings.home.iterdir()] == ["store.json"]


def test_the_first_partition_is_as_set_or_as_old_as_the_facts(make_settings: MakeSettings, tmp_path: Path, archive: Path):
    set_by_hand = make_settings(home=tmp_path / "1", start_day=date(2025, 1, 1))
    in_days = make_settings(home=tmp_path / "2", start_day=None, start_days=10)
    of_facts = make_settings(home=tmp_path / "3", start_day=None, source="archive", archive={"path": archive})
    found = [open_identity(settings).start_day for settings in (set_by_hand, in_days, of_facts)]
    assert found == [date(2025, 1, 1), date(2026, 2, 20), date(2014, 10, 19)]


def test_another_kind_of_source_is_refused_with_the_remedy(make_settings: MakeSettings, archive: Path):
    mine = open_identity(make_settings())
    other = make_settings(source="archive", archive={"path": archive})
    home = other.home.resolve()
    with pytest.raises(IdentityError) as refusal:
        open_identity(other)
    assert str(refusal.value) == (
        f"{home} holds what was learned from the source kind 'sandbox', but LEARNING_SOURCE asks for 'archive'. Numbers of different "
        "kinds are never mixed: set another LEARNING_HOME, or the source that this store was made with."
    )
    with pytest.raises(IdentityError, match="LEARNING_SOURCE asks for 'archive'"):
        _ = Store(other, LAKE, mine).identity


def test_another_market_is_refused_with_the_remedy(make_settings: MakeSettings):
    open_identity(make_settings(sandbox={"accounts": 6}))
    with pytest.raises(IdentityError) as refusal:
        open_identity(make_settings(sandbox={"accounts": 8}))
    home = make_settings().home.resolve()
    assert str(refusal.value) == (
        f"The simulated market in {home} was made with accounts=6, but LEARNING_SANDBOX_ACCOUNTS=8. Unset it, or set another LEARNING_HOME."
    )


def test_what_the_settings_leave_out_is_what_the_store_was_made_with(make_settings: MakeSettings):
    made = open_identity(make_settings(sandbox={"accounts": 6, "history_days": 40}))
    settings = make_settings(now=datetime(2026, 6, 1, tzinfo=UTC))
    source = open_source(settings, open_identity(settings))
    assert source.accounts().height == 6
    assert source.first_day() == date(2026, 1, 21)
    assert open_identity(make_settings(sandbox={"accounts": 6})) == made


GOOD = {"store_id": "x", "kind": "sandbox", "start_day": "2026-01-01", "created_at": "2026-03-02T09:00:00+00:00", "market": {}}


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"store_id": "x", "kind": "sand',
        "[1, 2]",
        "null",
        json.dumps({name: value for name, value in GOOD.items() if name != "store_id"}),
        json.dumps(GOOD | {"start_day": "1 March"}),
        json.dumps(GOOD | {"created_at": None}),
        json.dumps(GOOD | {"market": 7}),
    ],
)
def test_a_file_that_cannot_be_understood_is_named_and_left(make_settings: MakeSettings, content: str):
    settings = make_settings()
    settings.home.mkdir()
    path = settings.home / "store.json"
    path.write_text(content)
    with pytest.raises(IdentityError) as refusal:
        open_identity(settings)
    assert str(refusal.value).startswith(f"{path.resolve()}: not the identity of a store (")
    assert str(refusal.value).endswith(". Restore the file, or set another LEARNING_HOME.")
    assert path.read_text() == content


CREATE = """
import sys, time
from datetime import UTC, date, datetime
from pathlib import Path
from learning_assets.store import identity
home, start = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not start.exists():
    time.sleep(0.0005)
made = [identity.create(home, "sandbox", date(2026, 1, 1), datetime.now(UTC), {"by": sys.argv[3]}).store_id for _ in range(20)]
print(*made)
"""


def test_two_processes_that_create_at_once_get_one_identity(tmp_path: Path):
    home, start = tmp_path / "home", tmp_path / "start"
    both = [
        subprocess.Popen([sys.executable, "-c", CREATE, home, start, name], stdout=subprocess.PIPE, text=True) for name in "12"
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    start.touch()
    answers = [process.communicate(timeout=60)[0].split() for process in both]
    stored = identities.read(home)
    assert stored is not None
    assert answers == [[stored.store_id] * 20] * 2
    assert [path.name for path in home.iterdir()] == ["store.json"], "no drafts are left"


def test_the_database_of_another_home_is_refused(make_settings: MakeSettings, tmp_path: Path):
    """One database, two homes: the second is told whose database it is."""
    first, second = make_settings(home=tmp_path / "first"), make_settings(home=tmp_path / "second")
    store = Store(first, LAKE, lambda: open_identity(first))
    stored = store.tables.read("store_identity", PIPELINE)
    assert stored.select("store_id", "kind", "start_day").row(0) == (store.identity.store_id, "sandbox", date(2013, 1, 1))
    other = Store(second, LAKE, lambda: open_identity(second))
    with pytest.raises(IdentityError) as refusal:
        _ = other.tables
    assert str(refusal.value) == (
        f"The database belongs to another store (of kind 'sandbox', created 2026-03-02) than {second.home.resolve()}. "
        "Set LEARNING_HOME to that store's folder, or LEARNING_DATABASE_URL to another database."
    )
    again = Store(first, LAKE, lambda: open_identity(first)).tables.read("store_identity", PIPELINE)
    assert again.equals(stored), "opening it again records nothing"


def test_the_lake_of_a_refused_store_is_not_opened(make_settings: MakeSettings, archive: Path):
    open_identity(make_settings())
    other = make_settings(source="archive", archive={"path": archive})
    store = Store(other, LAKE, lambda: open_identity(other))
    with pytest.raises(IdentityError):
        store.lake.write("account_days", date(2026, 1, 1), pl.DataFrame(schema=LAKE["account_days"]))
    assert not (other.home / "lake").exists()
