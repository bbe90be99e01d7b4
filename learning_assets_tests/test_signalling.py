"""Purchase signals as they are told: by options, by file, and what is said of those that are wrong."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from learning_assets import cli
from learning_assets.platforms.source import ACCOUNTS
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def run(store: Store, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command on a store of two accounts."""
    url = make_settings().database_url
    assert url is not None
    monkeypatch.setenv("LEARNING_HOME", str(store.home))
    monkeypatch.setenv("LEARNING_DATABASE_URL", url.get_secret_value())
    rows = [
        {"account_id": name, "owner": owner, "name": name, "currency": "EUR", "timezone": "UTC", "consents": None}
        for name, owner in (("a1", "ann"), ("b1", "bob"))
    ]
    store.register(pl.DataFrame(rows, schema=ACCOUNTS))
    return lambda *arguments: CliRunner().invoke(cli.app, ["signal", *arguments], catch_exceptions=False)


def ledger(store: Store) -> list[dict]:
    return store.tables.read("purchase_signals", PIPELINE).sort("received_no").to_dicts()


def words(result: Result) -> str:
    return " ".join(result.output.split())


def test_one_signal_with_everything_and_one_with_nothing(run: Callable[..., Result], store: Store):
    at = "2026-03-01T22:30:00+02:00"
    all_of_it = (
        "a1",
        "--creative",
        "c7",
        "--value",
        "49.90",
        "--currency",
        "EUR",
        "--id",
        "order-1",
        "--at",
        at,
        "--by",
        "shop",
    )
    assert "1 signals recorded (simulated)." in words(run(*all_of_it))
    assert "0 signals recorded (simulated); 1 known already and left as they were." in words(run(*all_of_it))
    assert "1 signals recorded" in words(run("b1", "--ad", "x9"))
    one, other = ledger(store)
    assert one == {
        "account_id": "a1",
        "signal_id": "order-1",
        "owner": "ann",
        "received_no": 1,
        "received_on": NOW.date(),
        "received_at": NOW,
        "at": datetime(2026, 3, 1, 20, 30, tzinfo=UTC),
        "creative_id": "c7",
        "ad_id": None,
        "value_micros": 49_900_000,
        "currency": "EUR",
        "source": "shop",
    }
    assert (other["owner"], other["ad_id"], other["value_micros"], other["at"]) == ("bob", "x9", None, NOW)
    assert len(other["signal_id"]) == 32
    assert run("b1").exit_code == run("b1").exit_code == 0
    assert len(ledger(store)) == 4, "without an id each is another one"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody"], "account: there is no account nobody. The accounts are listed by: learning-assets accounts"),
        ([], "Name the account, or a file with --file."),
        (["a1", "--value", "49.90"], "--currency: a value needs its currency"),
        (["a1", "--value", "49,90", "--currency", "EUR"], "--value: '49,90' is not an amount. Write it with a point"),
        (["a1", "--value=-1", "--currency", "EUR"], "--value: '-1' is not an amount"),
        (["a1", "--value", "NaN", "--currency", "EUR"], "--value: 'NaN' is not an amount"),
        (["a1", "--value", "0.0000001", "--currency", "EUR"], "is not an amount"),
        (["a1", "--value", "1", "--currency", "euro"], "--currency: 'euro' is not a currency. Write its ISO 4217 code"),
        (["a1", "--at", "2026-03-01"], "--at: '2026-03-01' is not a moment. Write it with its offset"),
        (["a1", "--at", "2026-03-02T10:00:00+00:00"], "lies ahead of the clock, which says 2026-03-02T09:00"),
        (["a1", "--ad", "x", "--creative", "c"], "a signal names one of them. Leave one out."),
        (["a1", "--by", " "], "A signal needs the name of who tells it."),
        (["a1", "--file", "x.csv", "--ad", "x"], "With --file every signal is told by its row"),
        (["a1", "--file", "no-such.csv"], "There is no file no-such.csv."),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(run: Callable[..., Result], store: Store, arguments: list[str], says: str):
    result = run(*arguments)
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert says in words(result)
    assert ledger(store) == []


HEAD = "account,id,creative,ad,at,value,currency\n"


def test_many_from_a_file(run: Callable[..., Result], store: Store, tmp_path: Path):
    file = tmp_path / "orders.csv"
    at = "2026-03-01T08:00:00Z"
    file.write_text(HEAD + f"a1,o1,c1,,{at},10.5,EUR\nb1,o1,,x1,,,\na1,,c2,,{at},,\na1,,c2,,{at},,\n")
    assert "4 signals recorded" in words(run("--file", str(file)))
    assert "0 signals recorded (simulated); 4 known already" in words(run("--file", str(file))), "also those without an id"
    rows = ledger(store)
    assert [(row["account_id"], row["creative_id"], row["ad_id"], row["value_micros"]) for row in rows] == [
        ("a1", "c1", None, 10_500_000),
        ("b1", None, "x1", None),
        ("a1", "c2", None, None),
        ("a1", "c2", None, None),
    ]
    own = tmp_path / "own.csv"
    own.write_text("id\no9\n")
    assert "1 signals recorded" in words(run("a1", "--file", str(own)))
    assert ledger(store)[-1]["account_id"] == "a1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "a1,o1,c1,,,,\na1,o2,,,,1.234.5,EUR\n", "orders.csv, row 3, column value: '1.234.5' is not an amount"),
        (HEAD + "a1,o1,,,yesterday,,\n", "orders.csv, row 2, column at: 'yesterday' is not a moment"),
        (HEAD + "zz,o1,,,,,\n", "orders.csv, row 2, column account: there is no account zz. The accounts are listed by"),
        (HEAD + ",o1,,,,,\n", "orders.csv, row 2, column account: no account is named."),
        (HEAD + "a1,,c1,,,,\n", "orders.csv, row 2, column id: the row has neither an id nor a moment"),
        ("account,identifier\na1,o1\n", "orders.csv: column 'identifier' is not one of account, id, creative, ad, at"),
        ("id\no1\n", "orders.csv: there is no column 'account'. Add it, or name the account of all rows"),
        ("", "orders.csv is not a CSV file with a header of account, id"),
    ],
)
def test_a_file_is_read_whole_or_not_at_all(run: Callable[..., Result], store: Store, tmp_path: Path, text: str, says: str):
    file = tmp_path / "orders.csv"
    file.write_text(text)
    result = run("--file", str(file))
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert says in words(result)
    assert ledger(store) == []
