"""Real accounts from end to end: the command line and the assets on a Graph server that behaves as it likes."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from learning_assets import cli
from learning_assets.assets import fetching
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.clock import days_between
from learning_assets.opening import open_meta
from learning_assets.sandbox.control import Control
from learning_assets.sandbox.process import start
from learning_assets.store.address import Address
from learning_assets_tests.world import MakeWorld, World, materialized, metadata

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = date(2026, 3, 1)
MARKET = {"epoch": "2026-02-20", "seed": 5, "accounts": 3, "ads": 8, "impressions": 1_000, "history_days": 30}
FIRST, SECOND, THIRD = "4000001", "4000002", "4000003"


@pytest.fixture(scope="module")
def platform() -> Iterator[Control]:
    with start(MARKET, now=NOW) as control:
        yield control


@pytest.fixture
def control(platform: Control) -> Iterator[Control]:
    """The server, well behaved and at NOW."""
    platform.clear()
    platform.step(NOW)
    yield platform
    platform.clear()


@pytest.fixture
def world(make_world: MakeWorld, control: Control) -> World:
    bounds = {"backoff_seconds": 0.01, "poll_seconds": 0.02, "throttle_pause_seconds": 0.01, "wait_minutes": 0.02}
    meta = {"graph_url": control.url, "access_token": control.token, **bounds}
    # Reading media is a test of its own (`assets/test_media.py`).
    return make_world(
        source="meta", meta=meta, now=NOW, automation={"platform_retry_seconds": 0.01}, media={"files_per_day": 0}
    )


def refresh(world: World, day: date = DAY) -> dg.ExecuteInProcessResult:
    """Fetch a day as the hourly job does."""
    job = world.definitions.resolve_job_def("actuals_refresh")
    return job.execute_in_process(
        run_config=QUIET_CONSOLE, partition_key=str(day), instance=world.instance, raise_on_error=False
    )


def status(world: World, day: date = DAY, fact: str = "daily") -> dict[str, str]:
    return dict(world.table("fetch_manifest", as_of=day, fact=fact).select("account_id", "status").iter_rows())


def test_a_day_is_fetched_by_account_and_by_hour(world: World):
    result = refresh(world)
    assert result.success
    rows, hours = (world.store.lake.read(name, DAY) for name in ("actuals", "actuals_hourly"))
    # At 09:00 in Greenwich the first of March has ended in New York, Berlin and London.
    assert status(world) == dict.fromkeys((FIRST, SECOND, THIRD), "complete")
    assert rows["complete"].all()
    by_ad = hours.group_by("account_id", "ad_id").agg(pl.col("impressions").sum()).sort("account_id", "ad_id")
    assert by_ad.equals(rows.select("account_id", "ad_id", "impressions").sort("account_id", "ad_id"))
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_a_day_that_goes_on_is_left_out_of_learning(world: World):
    today = NOW.date()
    assert refresh(world, today).success
    assert set(status(world, today).values()) == {"running"}
    assert world.store.lake.read("actuals", today).height > 0
    assert world.store.facts(today, today).collect().is_empty()


def test_an_account_that_fails_keeps_its_rows_is_named_and_stops_nobody(world: World, control: Control):
    assert refresh(world).success
    before = world.store.lake.read("actuals", DAY)
    control.step(NOW + timedelta(hours=2))
    control.fault("permission", account=SECOND, times=None)
    again = world.again(open_meta(world.settings))
    result = refresh(again)
    assert result.success
    assert status(world) == {FIRST: "complete", SECOND: "stopped", THIRD: "complete"}
    of_it = pl.col("account_id") == SECOND
    assert world.store.lake.read("actuals", DAY).filter(of_it).equals(before.filter(of_it))
    (told,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "accounts_complete"]
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"{SECOND} (" in (told.description or "")
    assert "ads_read" in (told.description or "")
    assert metadata(result, "actuals")["fetches_stopped"] == 1


def test_a_platform_that_is_down_fails_the_run_in_the_end(world: World, control: Control):
    control.fault("html_502", times=None)
    result = refresh(world)
    assert not result.success
    assert materialized(result) == set()
    retried = [event for event in result.all_events if event.is_step_up_for_retry]
    assert len(retried) == 3
    assert world.store.lake.days("actuals") == []


def test_the_token_stands_in_no_event_and_no_file(world: World, control: Control, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(0):
        whole = refresh(world)
        control.fault("reset", times=None)
        failed = refresh(world)
    assert (whole.success, failed.success) == (True, False)
    said = [caplog.text, *(str(event) for event in (*whole.all_events, *failed.all_events))]
    assert FIRST in "".join(said)
    said += [path.read_bytes().decode("latin-1") for path in world.store.home.rglob("*") if path.is_file()]
    for name in ("fetch_manifest", "accounts", "owners"):
        said.append(world.table(name).write_csv())
    assert [text[:80] for text in said if control.token in text] == []


def test_days_restated_since_are_swapped_in_and_a_replay_reads_them_as_they_were(world: World, control: Control):
    days = days_between(DAY - timedelta(days=3), DAY)
    fetching.fetch_range(world.store, world.source, days)
    control.fault("restated_down", account=FIRST, times=None, day=str(days[0]))
    again = world.again(open_meta(world.settings))
    result = again.run(DAY, "ad_catalog", "actuals")
    assert result.success
    assert metadata(result, "actuals")["restated_days"] == 1
    now, then = (
        again.store.facts(days[0], until).filter(pl.col("date") == days[0]).collect()["conversions"].sum()
        for until in (DAY, days[0])
    )
    assert now < then
    assert "restatement" in metadata(result, "actuals")


# -- what a person reads


@pytest.fixture
def connect(control: Control, database: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `connect` with the server's address and a token; the words of its table, in a line each."""
    monkeypatch.setenv("LEARNING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LEARNING_DATABASE_URL", database.learning())
    monkeypatch.setenv("LEARNING_SOURCE", "meta")
    monkeypatch.setenv("LEARNING_META_GRAPH_URL", control.url)
    monkeypatch.setattr(cli.terminal.console, "_width", 400)

    def run(token: str, **environment: str) -> tuple[int, str]:
        asked = {"LEARNING_META_ACCESS_TOKEN": token, **environment}
        result = CliRunner().invoke(cli.app, ["connect", "--yes"], env=asked, catch_exceptions=False)
        return result.exit_code, result.output

    return run


def test_accounts_are_checked_and_known(connect, control: Control):
    code, said = connect(control.token)
    assert code == 0
    assert f"Account {FIRST} is readable: USD, America/New_York." in said
    assert "3 accounts are known. Learn their history: learning-assets replay --from DAY" in said
    assert control.token not in said
    listed = CliRunner().invoke(cli.app, ["accounts"], env={"LEARNING_META_ACCESS_TOKEN": control.token})
    assert FIRST in listed.output
    assert "None is armed" in listed.output


@pytest.mark.parametrize(
    ("token", "environment", "says", "remedy"),
    [
        ("EXPIRED", {}, "The access token has expired.", "Make a new one for the system user in Business settings"),
        ("nonsense", {}, "The access token is not valid:", "Make a new one for the system user in Business settings"),
        (
            "",
            {"LEARNING_META_ACCOUNTS": "999"},
            "Account 999: the platform knows no such account, or the token may not see it:",
            "Correct LEARNING_META_ACCOUNTS, or assign the account to the token's system user.",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(
    connect, control: Control, token: str, environment: dict[str, str], says: str, remedy: str
):
    code, said = connect(token or control.token, **environment)
    assert code == 1
    (line,) = [line for line in said.splitlines() if says in line]
    assert remedy in line


def test_a_missing_permission_is_said_with_its_remedy(connect, control: Control):
    control.fault("permission", account=SECOND, times=None)
    code, said = connect(control.token, LEARNING_META_ACCOUNTS=f"{FIRST},{SECOND}")
    assert code == 1
    (line,) = [line for line in said.splitlines() if f"Account {SECOND}: the token may not read it:" in line]
    assert "Give the token the permission ads_read, and assign the account to its system user." in line


def test_an_import_says_what_a_folder_holds(tmp_path: Path):
    folder = Path(__file__).parents[1] / "platforms" / "exports"
    daily = tmp_path / "daily.csv"
    daily.write_bytes((folder / "daily.csv").read_bytes())
    result = CliRunner().invoke(cli.app, ["import", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "account-days" in result.output
    period = CliRunner().invoke(cli.app, ["import", str(folder / "period.csv")], env={"LEARNING_EXPORT_ACCOUNT": "1"})
    assert period.exit_code == 1
    assert "Breakdown" in period.output
