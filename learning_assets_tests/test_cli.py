"""The command line: what it does, and that its errors are sentences with a remedy and without frames or passwords."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from learning_assets import cli
from learning_assets.build import open_store
from learning_assets.cli import learning
from learning_assets.platforms.source import ACCOUNTS
from learning_assets.settings import Settings
from learning_assets.store.address import Address
from learning_assets.store.store import TEXT_TO_CLAUDE
from learning_assets.store.walls import PIPELINE
from learning_assets_tests.world import Run

PROJECT = Path(__file__).parents[1]
SANDBOX = {"ACCOUNTS": "6", "ADS": "6", "IMPRESSIONS": "500"}
YESTERDAY = date(2026, 3, 1)


def drop(server: Address, *names: str) -> None:
    engine = sa.create_engine(server.with_database("postgres").learning(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in names:
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
    engine.dispose()


@pytest.fixture(scope="module")
def dagster_database(server: Address) -> Iterator[str]:
    """A database for Dagster's own storage, which the first command makes."""
    name = "dagster_of_the_command_line"
    yield name
    drop(server, name)


@pytest.fixture
def run(database: Address, dagster_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a home and a database of its own."""
    monkeypatch.chdir(PROJECT)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("LEARNING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNING_DATABASE_URL", database.learning())
    monkeypatch.setenv("LEARNING_DAGSTER_DATABASE", dagster_database)
    for name, value in SANDBOX.items():
        monkeypatch.setenv(f"LEARNING_SANDBOX_{name}", value)

    def invoke(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(cli.app, list(arguments), env=dict(environment), catch_exceptions=False)

    return invoke


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in (
        "replay",
        "migrate",
        "accounts",
        "connect",
        "consent",
        "why",
        "fatigue",
        "search",
        "graph",
        "sandbox",
        "signal",
        "rollback",
        "experiments",
        "decisions",
        "import",
        "demo",
        "dev",
        "doctor",
    ):
        assert re.search(rf"\b{name}\b +\S", result.output), name
    for name in ("replay", "dev"):
        assert "--" in run(name, "--help").output
    assert run("no-such-command").exit_code == 2


def test_demo_learns_weeks_and_shows_what_was_learned(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "DEMO_DAYS", 3)
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert "Learned 3 days" in result.output
    for title in (
        "Patterns as of 2026-03-01 (simulated)",
        "Models (simulated)",
        "Predictions against",
        "Decisions as of 2026-03-01 (simulated)",
        "Growth as of 2026-03-01",
    ):
        assert title in result.output, title
    store = open_store(Settings())
    learned = [YESTERDAY - timedelta(days=n) for n in (2, 1, 0)]
    assert store.tables.read("improvement_snapshots", PIPELINE)["as_of"].unique().sort().to_list() == learned
    # What was learned is not learned again.
    again = run("demo")
    assert again.exit_code == 0
    assert "Learned" not in again.output
    assert "Patterns as of 2026-03-01" in again.output
    assert store.tables.read("learning_cycle_log", PIPELINE).height == 3

    accounts = run("accounts")
    assert accounts.exit_code == 0
    known = store.accounts(PIPELINE)
    assert known.height == 6
    assert all(account in accounts.output for account in known["account_id"])
    assert "Accounts (simulated)" in accounts.output

    doctor = run("doctor")
    assert doctor.exit_code == 0, doctor.output
    assert "up to 2026-03-01" in doctor.output
    assert "6 known, 1 pools of learning" in " ".join(doctor.output.split())

    before = store.tables.read("asset_days", PIPELINE).filter(pl.col("asset") == "snapshots")
    replayed = run("replay", "--from", "2026-02-28", "--to", "2026-02-28")
    assert replayed.exit_code == 0, replayed.output
    assert "Learned 1 days" in replayed.output
    after = store.tables.read("asset_days", PIPELINE).filter(pl.col("asset") == "snapshots").sort("day")
    assert before.height == 3
    assert after.select("day", "revision").rows() == [(learned[0], 1), (learned[1], 2)]


def test_a_range_that_cannot_be_learned_is_refused_in_one_sentence(run: Run) -> None:
    result = run("replay", "--from", "2026-03-02")
    assert result.exit_code == 1
    assert "The newest day that can be learned is 2026-03-01." in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert run("replay", "--from", "2.3.2026").exit_code == 2


def test_a_consent_is_given_shown_and_withdrawn(run: Run) -> None:
    store = open_store(Settings())
    row = {"account_id": "a1", "owner": "ann", "name": "A", "currency": "EUR", "timezone": "UTC", "consents": None}
    store.register(pl.DataFrame([row], schema=ACCOUNTS))
    consent = ("consent", "a1", "--purpose", "text-to-claude", "--by", "Ann Other")

    def column() -> str:
        lines = [
            re.split("[│┃]", line) for line in run("accounts").output.splitlines() if "a1" in line or "text to Claude" in line
        ]
        heads, (row,) = [cell.strip() for cell in lines[0]], lines[1:]
        return row[heads.index("text to Claude")].strip()

    assert column() == "no"
    assert "given, recorded as decided by Ann Other" in run(*consent, "--give").output
    assert (store.consenting(TEXT_TO_CLAUDE), column()) == (["a1"], "yes")
    assert "given already" in run(*consent, "--give").output
    assert "allowed by 1 accounts" in " ".join(run("doctor", LEARNING_LLM_API_KEY="sk-secret").output.replace("│", " ").split())
    assert "sk-secret" not in run("doctor", LEARNING_LLM_API_KEY="sk-secret").output
    assert "not given, recorded" in run(*consent, "--withdraw").output
    assert (store.consenting(TEXT_TO_CLAUDE), column()) == ([], "no")
    assert run(*consent).exit_code == 2
    assert run("consent", "a1", "--purpose", "anything", "--give", "--by", "Ann").exit_code == 2
    wrong = run("consent", "a2", "--purpose", "text-to-claude", "--give", "--by", "Ann")
    assert (wrong.exit_code, "There is no account a2; there are a1." in wrong.output) == (1, True)


def test_a_niche_is_shown_with_its_confidence_and_who_said_so(run: Run) -> None:
    store = open_store(Settings())
    row = {"account_id": "a1", "owner": "ann", "name": "A", "currency": "EUR", "timezone": "UTC", "consents": None}
    store.register(pl.DataFrame([row], schema=ACCOUNTS))

    def shown(*arguments: str) -> str:
        return " ".join(run("niche", "a1", *arguments).output.split())

    assert "none was detected yet" in shown()
    found = {"account_id": "a1", "niche": "food", "said_by": "classifier", "source": "local", "confidence": 0.8, "texts": 7}
    found |= {"second_niche": "travel", "second_confidence": 0.3, "sub_niche": "drinks", "creatives": 9, "version": "1"}
    store.add_detected_niches(pl.DataFrame([found]))
    assert "food (drinks), confidence 0.80; mixed with travel, 0.30, said by the local classifier (classifier)" in shown()
    assert "is of the niche beauty, as said by Ann" in shown("beauty", "--by", "Ann")
    assert "beauty, said by a person (Ann)" in shown()
    assert "taken back by Ann. Account a1: food" in shown("unknown", "--by", "Ann")
    assert run("niche", "a1", "beauty").exit_code == 1
    assert "There is no account a2; there are a1." in " ".join(run("niche", "a2").output.split())


def test_migrate_names_the_database_and_its_revision(run: Run, server: Address) -> None:
    name = "to_be_migrated"
    empty = server.with_database(name)
    empty.ensure_database()
    try:
        result = run("migrate", LEARNING_DATABASE_URL=empty.learning())
        assert result.exit_code == 0, result.output
        assert re.search(rf"{name} on .* is at revision \w+\.", " ".join(result.output.split()))
        engine = sa.create_engine(empty.learning())
        assert "learning_patterns" in sa.inspect(engine).get_table_names()
        engine.dispose()
    finally:
        drop(server, name)


def test_a_database_that_was_not_migrated_names_the_command(run: Run, server: Address) -> None:
    empty = server.with_database("never_migrated")
    empty.ensure_database()
    try:
        result = run("accounts", LEARNING_DATABASE_URL=empty.learning())
    finally:
        drop(server, "never_migrated")
    assert result.exit_code == 1
    assert "learning-assets migrate" in " ".join(result.output.split())


WRONG = {
    "LEARNING_PATTERNS_Q_ACTIVE": "2",
    "LEARNING_SANDBOX_ACCOUNTS": "none",
    "LEARNING_TIMEZONE": "Mars/Olympus",
    "LEARNING_NOW": "2026-03-01T09:00",
    "LEARNING_SOURCE": "nowhere",
}


@pytest.mark.parametrize("command", ["replay", "accounts", "migrate", "demo", "doctor"])
def test_a_wrong_setting_is_named_without_a_traceback(run: Run, command: str) -> None:
    for name, value in WRONG.items():
        result = run(command, **{name: value})
        assert result.exit_code == 1, (command, name)
        assert name in result.output, (command, name, result.output)
        assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["replay", "accounts", "migrate", "demo", "doctor"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cret%2Fword@127.0.0.1:1/learning",
        "mysql://ann:s3cret/word@host/learning",
        "s3cret/word",
        "postgresql://ann:s3cret/word@host/learning",
        "postgresql://ann@127.0.0.1:1/learning?password=s3cret/word",
    ],
)
def test_a_wrong_database_is_named_without_its_password(run: Run, command: str, url: str) -> None:
    result = run(command, LEARNING_DATABASE_URL=url)
    assert result.exit_code == 1
    assert "LEARNING_DATABASE_URL" in result.output
    assert "Traceback" not in result.output
    assert "s3cret" not in result.output


def test_another_kind_of_source_is_refused_with_the_remedy(run: Run, tmp_path: Path) -> None:
    assert run("doctor").exit_code == 0
    (tmp_path / "archive.csv").write_text("experiment,time,headline,impressions,clicks\na,202601,one,10,1\na,202601,two,10,2\n")
    archive = {"LEARNING_SOURCE": "archive", "LEARNING_ARCHIVE_PATH": str(tmp_path / "archive.csv")}
    for command in ("replay", "doctor"):
        result = run(command, **archive)
        assert result.exit_code == 1
        said = " ".join(result.output.replace("│", " ").split())
        assert "set another LEARNING_HOME" in said, result.output


def test_doctor_says_what_is_found_and_what_to_do(run: Run) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    said = " ".join(result.output.replace("│", " ").split())
    for expected in (
        "LEARNING_SANDBOX_ADS",
        "of kind 'sandbox'",
        "nothing yet",
        "learning-assets replay",
        "LEARNING_AUTOMATION_SLACK_TOKEN",
    ):
        assert expected in said, expected
    assert "no" not in re.findall(r"│ (ok|no) ", result.output)


def test_the_instance_is_found_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert learning.instance_folder() == PROJECT
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "dagster.yaml").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    assert learning.instance_folder() == tmp_path / "own"


def test_a_port_that_is_taken_is_passed_over() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = learning.free_port("127.0.0.1", port)
        assert port < found < port + 100
