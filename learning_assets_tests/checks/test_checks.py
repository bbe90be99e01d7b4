"""Checks: each reads what was really written; a blocking one that fails stops what rests on the day."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa

from learning_assets.checks.checks import FACTS, LEARNED
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import Fetched
from learning_assets.settings import Sandbox
from learning_assets.store import schema
from learning_assets.store.walls import PIPELINE
from learning_assets_tests.world import Learned, MakeWorld, World, failure, materialized

DAY = date(2026, 2, 20)
MARKET = Sandbox(accounts=2, ads=4)
Change = Callable[[pl.DataFrame], pl.DataFrame]

first_ad = pl.int_range(pl.len()) == 0
BROKEN: dict[tuple[str, str], tuple[Change, int, str]] = {
    ("ad_catalog", "schema"): (
        lambda rows: rows.drop("audience"),
        -1,
        "columns differ from the schema: [('audience', String)]",
    ),
    ("ad_catalog", "unique_key"): (lambda rows: pl.concat([rows, rows.head(1)]), 2, "appears more than once"),
    ("actuals", "schema"): (lambda rows: rows.cast({"reach": pl.Float64}), -1, "('reach', Float64), ('reach', Int64)"),
    ("actuals", "unique_key"): (lambda rows: pl.concat([rows, rows.head(1)]), 2, "appears more than once"),
    ("actuals", "no_negatives"): (
        lambda rows: rows.with_columns(conversions=pl.when(first_ad).then(-1).otherwise("conversions")),
        1,
        "conversions is -1",
    ),
    ("actuals", "clicks_within_impressions"): (
        lambda rows: rows.with_columns(link_clicks=pl.when(first_ad).then(pl.col("impressions") + 1).otherwise("link_clicks")),
        1,
        "link clicks on",
    ),
    ("actuals", "dated_inside"): (lambda rows: rows.with_columns(date=pl.lit(date(2026, 2, 19))), -1, "is dated 2026-02-19"),
    ("actuals", "spend_reconciles"): (lambda rows: rows.tail(rows.height - 1), 1, "account 4000001: its ads spent"),
}
"""What breaks each check of the facts: a change of the rows, how many rows are broken then (-1: all), and what is said."""


def test_every_check_of_the_facts_is_broken_here():
    assert set(BROKEN) == {(asset, name) for asset, named in FACTS.items() for name in named}


def test_checks_of_the_facts_pass_on_what_was_fetched_and_fail_on_what_is_broken(make_world: MakeWorld):
    """A file is broken behind the store's back, as a faulty disk or a hurried hand would do; the check reads the file."""
    world = make_world(sandbox=MARKET.model_dump())
    result = world.run(DAY, "ad_catalog", "actuals", replaying=True)
    assert result.success
    passed = {(one.asset_key.to_user_string(), one.check_name): one for one in result.get_asset_check_evaluations()}
    assert set(passed) == {*BROKEN, ("actuals", "hours_within_the_day"), ("actuals", "accounts_complete")}
    assert all(evaluation.passed for evaluation in passed.values())
    for key, evaluation in ((key, passed[key]) for key in BROKEN):
        assert (evaluation.passed, evaluation.blocking, evaluation.partition) == (True, True, str(DAY)), key
        assert evaluation.metadata["rows"].value == world.store.lake.read(key[0], DAY).height
    for (asset, name), (change, count, says) in BROKEN.items():
        path = world.store.lake.path(asset, DAY)
        good = path.read_bytes()
        broken = change(pl.read_parquet(path))
        broken.write_parquet(path)
        found = world.check(DAY, asset, name)
        assert not found.passed, (asset, name)
        assert found.severity == dg.AssetCheckSeverity.ERROR
        assert found.metadata["rows_broken"].value == (broken.height if count < 0 else count), (asset, name)
        assert found.description is not None
        assert says in found.description
        assert found.description.startswith(f"{DAY}: ")
        path.write_bytes(good)
        assert world.check(DAY, asset, name).passed


def test_checks_of_what_was_learned_pass_and_fail_on_the_stored_rows(learned_copy: Learned):
    day, tables = learned_copy.days[-1], learned_copy.store.tables
    wrong = {
        "prediction_accuracy": ({"accuracy": 1.5}, "accuracy is 1.5, outside 0 to 1."),
        "patterns": ({"q_value": -0.25}, "q_value is -0.25, outside 0 to 1."),
        "winning_formulas": ({"share": 1.5}, "share is 1.5, outside 0 to 1."),
        "winner_memory": ({"ctr": 1.5}, "ctr is 1.5, outside 0 to 1."),
        "promotions": ({"anytime_p": 1.5}, "anytime_p is 1.5, outside 0 to 1."),
        "budget_allocation": ({"share": 1.5}, "share is 1.5, outside 0 to 1."),
        "ad_fatigue": ({"ctr_now": -0.1}, "ctr_now is -0.1, outside 0 to 1."),
        "snapshots": ({"trend": float("nan")}, "column trend holds nan. What is unknown must be NULL."),
        "account_insights": ({"log_ratio": 1.5}, "log_ratio is 1.5, outside -1 to 1."),
        "niche_wisdom": ({"log_ratio": 1.5}, "log_ratio is 1.5, outside -1 to 1."),
        "retrained_model": ({"seconds": float("inf")}, "column seconds holds inf. What is unknown must be NULL."),
    }
    assert set(wrong) == set(LEARNED)
    for asset, (values, says) in wrong.items():
        assert learned_copy.check(day, asset, "sound").passed
        table = schema.metadata.tables[LEARNED[asset][0]]
        tables.execute(sa.update(table).where(table.c.as_of == day).values(**values))
        found = learned_copy.check(day, asset, "sound")
        assert (found.passed, found.blocking, found.severity) == (False, True, dg.AssetCheckSeverity.ERROR), asset
        assert found.description == f"{day}: {says}"
        assert found.metadata["rows"].value == learned_copy.table(table.name, as_of=day).height
        assert learned_copy.check(day - timedelta(days=1), asset, "sound").passed, "another day is another partition"


class Doubled(SandboxSource):
    """The market, whose every answer comes twice while `doubled`."""

    doubled = True

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        fetched, times = super().actuals(first, last, known_on), 1 + self.doubled
        manifest = fetched.manifest.with_columns(pl.col("account_spend_micros") * times)
        return Fetched(pl.concat([fetched.rows] * times), manifest)


def test_a_failing_check_stops_what_rests_on_the_day_in_the_same_run(make_world: MakeWorld):
    source = Doubled(MARKET, date(2026, 3, 2))
    world = make_world(source, sandbox=MARKET.model_dump())
    result = world.run(DAY, replaying=True)
    assert failure(result) == (
        f"actuals, check unique_key: {DAY}: account_id 4000001, ad_id {source.actuals(DAY, DAY, DAY).rows['ad_id'].min()} appears more than once. "
        "The platform's answer was doubled: fetch the day again."
    )
    assert materialized(result) == {"ad_catalog", "actuals", "creative_dna"}, "the catalog was sound"
    failed = {one.check_name for one in result.get_asset_check_evaluations() if not one.passed}
    assert failed == {"unique_key"}
    assert world.table("learning_patterns").is_empty()
    assert world.table("champions").is_empty()
    assert world.store.newest_day("patterns") is None
    source.doubled = False
    mended = world.run(DAY, replaying=True)
    assert mended.success
    assert world.store.newest_day("patterns") == DAY
    assert world.store.lake.read("actuals", DAY).height == 8


def experiments(make_world: MakeWorld, path: Path, traffic: int) -> World:
    """An archive week of two tests of two arms; one arm of the second got `traffic` where 10,000 were planned."""
    rows = [
        {"experiment": test, "time": 201442, "headline": f"{test} {arm}", "impressions": shown, "clicks": 100 + 9 * arm}
        for test, arms in (("even", (10_000, 10_050)), ("other", (10_000, traffic)))
        for arm, shown in enumerate(arms)
    ]
    pl.DataFrame(rows).write_csv(path)
    return make_world(source="archive", archive={"path": path})


@pytest.mark.parametrize(("traffic", "mismatches"), [(10_100, 0), (11_000, 1)])
def test_other_traffic_than_planned_warns_and_stops_nothing(
    make_world: MakeWorld, tmp_path: Path, traffic: int, mismatches: int
):
    world, day = experiments(make_world, tmp_path / "tests.csv", traffic), date(2014, 10, 19)
    result = world.run(day, replaying=True)
    assert result.success
    (found,) = (one for one in result.get_asset_check_evaluations() if one.check_name == "sample_ratio")
    assert (found.passed, found.blocking) == (mismatches == 0, False)
    counts = {name: found.metadata[name].value for name in ("sound", "mismatch", "not_applicable")}
    assert counts == {"sound": 2 - mismatches, "mismatch": mismatches, "not_applicable": 0}
    assert {"patterns", "snapshots", "learning_cycles"} <= materialized(result)
    if mismatches:
        assert found.severity == dg.AssetCheckSeverity.WARN
        assert found.description is not None
        assert found.description.startswith("1 of 2 experiments of the week got other traffic than planned; first: other (p = ")
        assert found.description.endswith("They give no randomized evidence.")


def test_arms_without_planned_shares_are_not_judged(learned_copy: Learned):
    found = learned_copy.check(learned_copy.days[-1], "patterns", "sample_ratio")
    assert found.passed
    assert [found.metadata[name].value for name in ("sound", "mismatch", "not_applicable")] == [0, 0, 0]


def test_hours_that_exceed_their_day_or_stand_twice_are_found(make_world: MakeWorld):
    world = make_world(sandbox=MARKET.model_dump())
    assert world.run(DAY, "ad_catalog", "actuals", replaying=True).success
    lake = world.store.lake
    hours = lake.read("actuals_hourly", DAY)
    assert hours["impressions"].sum() == lake.read("actuals", DAY)["impressions"].sum()
    assert world.check(DAY, "actuals", "hours_within_the_day").passed
    lake.write("actuals_hourly", DAY, pl.concat([hours, hours.head(1)]))
    twice = world.check(DAY, "actuals", "hours_within_the_day")
    assert (twice.passed, twice.blocking) == (False, True)
    assert "appears more than once" in (twice.description or "")
    lake.write("actuals_hourly", DAY, hours.with_columns(impressions=pl.col("impressions") + first_ad))
    over = world.check(DAY, "actuals", "hours_within_the_day")
    assert not over.passed
    assert "impressions in its hours" in (over.description or "")


def test_an_account_that_was_not_fetched_completely_is_named(make_world: MakeWorld):
    world = make_world(sandbox=MARKET.model_dump())
    assert world.run(DAY, "ad_catalog", "actuals", replaying=True).success
    found = world.check(DAY, "actuals", "accounts_complete")
    assert (found.passed, found.metadata["accounts_complete"].value) == (True, 2)
    manifest = schema.metadata.tables["fetch_manifest"]
    failed = sa.update(manifest).where(manifest.c.account_id == "4000002", manifest.c.fact == "daily")
    world.store.tables.execute(failed.values(status="stopped", reason="account 4000002: the token has expired."))
    found = world.check(DAY, "actuals", "accounts_complete")
    assert (found.passed, found.blocking, found.severity) == (False, False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["accounts_complete"].value == 1
    says = "1 of 2 accounts are not complete; first: 4000002 (daily): stopped. account 4000002: the token has expired."
    assert found.description == f"{DAY}: {says}"


def test_reach_that_was_not_told_is_said_at_the_fatigue_of_the_day(learned_copy: Learned):
    day, tables = learned_copy.days[-1], learned_copy.store.tables
    assert learned_copy.check(day, "ad_fatigue", "reach_known").passed
    told = tables.read("fetch_manifest", PIPELINE, as_of=day, fact="reach").sort("account_id")
    failed = told.head(1).with_columns(status=pl.lit("failed"), reason=pl.lit("nobody answers"))
    tables.upsert("fetch_manifest", failed)
    found = learned_copy.check(day, "ad_fatigue", "reach_known")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"1 of 6 accounts; first: {told['account_id'][0]}: nobody answers" in str(found.description)
