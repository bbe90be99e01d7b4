"""Experiments as people define them: by file, and what is said of rows that are wrong."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from learning_assets import cli
from learning_assets.platforms.source import ACCOUNTS, CATALOG
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

DAY = date(2026, 3, 1)
HEADER = "account,experiment,ad,share,starts,ends\n"

Run = Callable[..., Result]


@pytest.fixture
def run(store: Store, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Adds a file of these rows to a store of two accounts with three ads each."""
    url = make_settings().database_url
    assert url is not None
    monkeypatch.setenv("LEARNING_HOME", str(store.home))
    monkeypatch.setenv("LEARNING_DATABASE_URL", url.get_secret_value())
    rows = [
        {"account_id": name, "owner": owner, "name": name, "currency": "EUR", "timezone": "UTC", "consents": None}
        for name, owner in (("a1", "ann"), ("b1", "bob"))
    ]
    store.register(pl.DataFrame(rows, schema=ACCOUNTS))
    ads = [
        {
            "account_id": account,
            "ad_id": f"{account}-{ad}",
            "ad_set_id": f"{account}-set{ad}",
            "campaign_id": account,
            "status": "active",
            "budget_owner": "ad_set",
            "starts_on": date(2026, 2, 1),
        }
        for account in ("a1", "b1")
        for ad in (1, 2, 3)
    ]
    store.lake.write("ad_catalog", DAY, pl.DataFrame(ads, schema=CATALOG))

    def add(*rows: str, header: str = HEADER, more: tuple[str, ...] = ()) -> Result:
        file = tmp_path / "tests.csv"
        file.write_text(header + "\n".join(rows) + "\n")
        arguments = ["experiments", "add", str(file), "--by", "pat", *more]
        return CliRunner().invoke(cli.app, arguments, catch_exceptions=False)

    return add


def words(result: Result) -> str:
    return " ".join(result.output.split())


def test_a_defined_experiment_runs_from_its_first_day_to_its_last(run: Run, store: Store):
    result = run("a1,x,a1-1,0.5,2026-02-20,2026-03-05", "a1,x,a1-2,0.5,2026-02-20,2026-03-05")
    assert "2 arms of 1 experiments are recorded." in words(result)
    found = store.arms(DAY)
    assert found.select("owner", "experiment_id", "ad_id", "origin", "planned_share", "starts_on").rows() == [
        ("ann", "x", "a1-1", "table", 0.5, date(2026, 2, 20)),
        ("ann", "x", "a1-2", "table", 0.5, date(2026, 2, 20)),
    ]
    listed = words(CliRunner().invoke(cli.app, ["experiments"]))
    assert "1 experiments by the catalog of 2026-03-01 (simulated)" in listed
    assert "a1-1, a1-2" in listed
    for day, runs in ((date(2026, 2, 19), False), (date(2026, 3, 5), True), (date(2026, 3, 6), False)):
        store.lake.write("ad_catalog", day, store.lake.read("ad_catalog", DAY))
        assert (store.arms(day).height > 0) is runs


def test_a_row_that_is_told_again_replaces_the_one_before(run: Run, store: Store):
    run("x,a1-1,2026-02-20", "x,a1-2,2026-02-20", header="experiment,ad,starts\n", more=("--account", "a1"))
    result = run("a1,x,a1-2,,2026-02-20,2026-02-28")
    assert "1 arms" in words(result)
    kept = store.tables.read("experiment_arms", PIPELINE).sort("ad_id")
    assert kept.select("ad_id", "ends_on", "defined_by").rows() == [("a1-1", None, "pat"), ("a1-2", date(2026, 2, 28), "pat")]
    assert store.arms(DAY).is_empty()


GOOD = "a1,x,a1-1,,2026-02-20,"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ((GOOD, "zz,x,a1-2,,2026-02-20,"), "row 3, column account: 'zz': there is no such account"),
        ((GOOD, "a1,,a1-2,,2026-02-20,"), "row 3, column experiment: it is empty"),
        ((GOOD, "a1,x,b1-1,,2026-02-20,"), "row 3, column ad: 'b1-1': the account has no such ad in the catalog of 2026-03-01"),
        ((GOOD, "a1,x,a1-2,1.5,2026-02-20,"), "row 3, column share: '1.5': it is no part from 0 to 1"),
        ((GOOD, "a1,x,a1-2,half,2026-02-20,"), "row 3, column share: 'half': it is no part"),
        ((GOOD, "a1,x,a1-2,nan,2026-02-20,"), "row 3, column share: 'nan': it is no part"),
        ((GOOD, "a1,x,a1-2,,20.2.2026,"), "row 3, column starts: '20.2.2026': it is no day"),
        ((GOOD, "a1,x,a1-2,,2026-02-20,soon"), "row 3, column ends: 'soon': it is no day"),
        ((GOOD, "a1,x,a1-2,,2026-02-20,2026-02-19"), "row 3, column ends: '2026-02-19': it lies before the start"),
        ((GOOD, GOOD), "row 2, column ad: 'a1-1': the file names it twice"),
        ((GOOD,), "row 2: experiment 'x' of account 'a1' has one arm"),
        ((GOOD, "a1,x,a1-2,0.5,2026-02-20,"), "row 2: experiment 'x' of account 'a1' has planned shares for 1 of 2 arms"),
        (("a1,x,a1-1,0.5,2026-02-20,", "a1,x,a1-2,0.4,2026-02-20,"), "planned shares that add up to 0.9"),
        (
            (GOOD, "a1,x,a1-2,,2026-02-20,", "a1,y,a1-1,,2026-02-25,", "a1,y,a1-3,,2026-02-25,"),
            "row 2, column ad: 'a1-1' is in experiment 'y' at the same time",
        ),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_recorded(run: Run, store: Store, rows: tuple[str, ...], says: str):
    result = run(*rows)
    assert result.exit_code == 1
    assert says in words(result)
    assert store.tables.read("experiment_arms", PIPELINE).is_empty()


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("account,experiment,ad,start\n", "column 'start' is not one of account, experiment, ad, share, starts, ends"),
        ("experiment,ad,starts\n", "there is no column 'account'. Add it, or name the account"),
        ("account,experiment,starts\n", "there is no column 'ad'. Add it."),
    ],
)
def test_a_wrong_header_is_named(run: Run, header: str, says: str):
    result = run("a,b,c", header=header)
    assert result.exit_code == 1
    assert says in words(result)
