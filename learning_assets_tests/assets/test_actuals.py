"""Catalog and actuals: what the platform said is what is stored; what it did not say is not invented."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from learning_assets.assets import fetching
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import ACTUALS, CATALOG, Fetched, PlatformDown, Source, SourceError
from learning_assets.settings import Sandbox
from learning_assets.store.facts import swap
from learning_assets.store.walls import PIPELINE
from learning_assets_tests.world import MakeWorld, World, failure, materialized, metadata

EPOCH = date(2026, 3, 2)
DAY = date(2026, 2, 20)
MARKET = Sandbox(accounts=3, ads=6)
KEY = ["account_id", "ad_id"]
Change = Callable[[pl.DataFrame], pl.DataFrame]


class Shaky(SandboxSource):
    """The market, of which the accounts in `down` cannot be fetched and whose rows `change` may alter."""

    def __init__(self, settled: bool = False) -> None:
        super().__init__(MARKET, EPOCH)
        self.down: dict[str, str] = {}
        self.change: Change = lambda rows: rows
        self.settled = settled
        """Whether every day is told as it will be in the end."""

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        fetched = super().actuals(first, last, max(known_on, last + timedelta(days=40)) if self.settled else known_on)
        failed = pl.col("account_id").is_in(list(self.down))
        status = pl.col("account_id").replace_strict(self.down, default=None, return_dtype=pl.String)
        manifest = fetched.manifest.with_columns(
            pl.when(failed).then(status).otherwise("status").alias("status"),
            pl.when(failed).then(0).otherwise("rows").alias("rows"),
            *(pl.when(~failed).then(name).alias(name) for name in ("spend_micros", "account_spend_micros")),
            pl.when(failed).then(pl.lit("the token has expired")).otherwise("reason").alias("reason"),
        )
        return Fetched(self.change(fetched.rows.filter(~failed)), manifest)


@pytest.fixture
def source() -> Shaky:
    return Shaky()


@pytest.fixture
def world(make_world: MakeWorld, source: Shaky) -> World:
    return make_world(source, sandbox=MARKET.model_dump())


def fetch(world: World, day: date = DAY, *, replaying: bool = True) -> dg.ExecuteInProcessResult:
    """Fetch a day; in a replay as it was known at its end."""
    result = world.run(day, "ad_catalog", "actuals", replaying=replaying)
    assert result.success
    return result


def told(source: Source, day: date, known_on: date) -> pl.DataFrame:
    return source.actuals(day, day, known_on).rows.sort(KEY)


def manifest(world: World, day: date = DAY) -> dict[str, str]:
    return dict(world.table("fetch_manifest", as_of=day, fact="daily").select("account_id", "status").iter_rows())


def test_what_the_platform_said_is_stored(world: World, source: Shaky):
    result = fetch(world)
    lake = world.store.lake
    assert lake.read("ad_catalog", DAY).equals(source.catalog(DAY).rows.sort(KEY))
    rows = lake.read("actuals", DAY)
    assert rows.equals(told(source, DAY, DAY))
    assert rows.height == 18
    assert set(world.table("fetch_manifest")["fact"]) == {"catalog", "daily", "hourly", "reach"}
    stored = world.table("fetch_manifest", fact="daily").sort("account_id")
    expected = source.actuals(DAY, DAY, DAY).manifest.sort("account_id")
    same = ["account_id", "status", "rows", "spend_micros", "account_spend_micros"]
    assert stored.select(same).equals(expected.select(same))
    assert stored["owner"].to_list() == ["owner_0000", "owner_0001", "owner_0002"]
    assert (stored["as_of"] == DAY).all()
    accounts = world.store.accounts(PIPELINE)
    assert accounts["account_id"].to_list() == expected["account_id"].to_list()
    assert accounts["consents"].all()
    versions = [
        (event.materialization.tags or {}).get("dagster/data_version")
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("actuals")
    ]
    assert versions == [lake.version("actuals", DAY)]


def test_the_figures_of_the_run_are_those_of_the_rows(world: World):
    shown = metadata(fetch(world), "actuals")
    rows = world.store.lake.read("actuals", DAY)
    clicks, impressions = (int(rows[name].sum()) for name in ("link_clicks", "impressions"))
    assert shown["dagster/row_count"] == shown["ads"] == rows.height
    assert (shown["impressions"], shown["link_clicks"]) == (impressions, clicks)
    assert shown["ctr"] == pytest.approx(clicks / impressions)
    assert (shown["fetches"], shown["fetches_successful"], shown["fetches_failed"]) == (3, 3, 0)
    assert "roas" not in shown, "three currencies are not added"
    assert [column.name for column in shown["dagster/column_schema"].columns] == ACTUALS.names()
    catalog = metadata(fetch(world), "ad_catalog")
    assert (catalog["accounts"], catalog["live_ads"]) == (3, 18)
    assert catalog["ads"] == world.store.lake.read("ad_catalog", DAY).height


def test_a_day_without_data_is_an_explicit_empty_day(world: World, source: Shaky):
    before = source.first_day() - timedelta(days=1)
    shown = metadata(fetch(world, before), "actuals")
    lake = world.store.lake
    assert (lake.days("actuals"), lake.days("ad_catalog")) == ([before], [before])
    assert lake.read("actuals", before).equals(ACTUALS.to_frame())
    assert lake.read("ad_catalog", before).equals(CATALOG.to_frame())
    assert set(manifest(world, before).values()) == {"no_data"}
    assert (shown["dagster/row_count"], shown["fetches_without_data"]) == (0, 3)
    assert "ctr" not in shown
    assert "impressions" not in shown, "nothing was reported, which is not zero"


def test_fetching_a_day_again_writes_nothing(world: World):
    fetch(world)
    before = world.store.lake.path("actuals", DAY).stat()
    fetch(world)
    after = world.store.lake.path("actuals", DAY).stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert world.table("fetch_manifest").height == 12


def test_people_of_the_week_are_stored_with_the_day(world: World, source: Shaky):
    shown = metadata(fetch(world), "actuals")
    week = source.reach(DAY - timedelta(days=6), DAY).rows.sort(KEY)
    assert world.store.lake.read("actuals_reach", DAY).equals(week)
    assert shown["ads_with_reach"] == week.height
    told = world.table("fetch_manifest", fact="reach")
    assert told.select("as_of", "status").unique().rows() == [(DAY, "complete")]


@pytest.mark.parametrize("error", [PlatformDown("nobody answers"), SourceError("the token has no permission")])
def test_reach_that_cannot_be_fetched_stops_nothing_and_is_told(
    world: World, source: Shaky, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    fetch(world)
    old = world.store.lake.read("actuals_reach", DAY)
    later = DAY + timedelta(days=1)

    def broken(first: date, last: date) -> Fetched:  # noqa: ARG001
        raise error

    monkeypatch.setattr(source, "reach", broken)
    for day, kept in ((DAY, old), (later, old.clear())):
        result = world.run(day, "ad_catalog", "actuals")
        assert result.success
        assert world.store.lake.read("actuals", day).height == 18
        assert world.store.lake.read("actuals_reach", day).equals(kept)
        told = world.table("fetch_manifest", fact="reach", as_of=day)
        assert told.select("status", "reason").unique().rows() == [("failed", str(error))]
        shown = metadata(result, "actuals")
        assert shown["ads_with_reach"] == kept.height
        assert str(error) in shown["accounts_not_complete"]
        assert world.check(day, "actuals", "accounts_complete").passed


@pytest.mark.parametrize("status", ["failed", "rate_limited"])
def test_an_account_that_fails_keeps_its_old_rows_and_stops_nobody(world: World, source: Shaky, status: str):
    fetch(world)
    old = world.store.lake.read("actuals", DAY)
    down = source.accounts()["account_id"][1]
    source.down = {down: status}
    shown = metadata(fetch(world, replaying=False), "actuals")
    rows = world.store.lake.read("actuals", DAY)
    of_it = pl.col("account_id") == down
    assert rows.filter(of_it).equals(old.filter(of_it))
    assert rows.filter(~of_it).equals(told(source, DAY, EPOCH - timedelta(days=1)))
    assert not rows.filter(~of_it).equals(old.filter(~of_it)), "the others' later conversions came in"
    row = world.table("fetch_manifest", account_id=down, fact="daily").row(0, named=True)
    assert (row["status"], row["rows"], row["spend_micros"], row["reason"]) == (status, 0, None, "the token has expired")
    assert shown[f"fetches_{status}"] == 1
    assert shown["fetches_successful"] == 2


def test_an_account_that_never_answered_has_no_rows(world: World, source: Shaky):
    down = source.accounts()["account_id"][0]
    source.down = {down: "failed"}
    fetch(world)
    assert world.store.lake.read("actuals", DAY)["account_id"].n_unique() == 2
    assert manifest(world)[down] == "failed"


# -- restated days

PAST = [DAY - timedelta(days=n) for n in (3, 2, 1)]


def files(world: World) -> dict[date, tuple[int, int]]:
    found = {day: world.store.lake.path("actuals", day).stat() for day in PAST}
    return {day: (state.st_mtime_ns, state.st_ino) for day, state in found.items()}


def test_conversions_that_become_known_later_come_in_and_the_old_rows_are_kept(world: World, source: Shaky):
    yesterday = DAY - timedelta(days=1)
    fetch(world, yesterday)
    old = world.store.lake.read("actuals", yesterday)
    shown = metadata(fetch(world), "actuals")
    new = world.store.lake.read("actuals", yesterday)
    assert new.equals(told(source, yesterday, DAY))
    assert new["conversions"].sum() > old["conversions"].sum()
    kept = world.store.lake.read("actuals_asof", yesterday)
    assert (kept["known_until"] == yesterday).all()
    assert kept.drop("known_until").equals(old.join(new, on=old.columns, how="anti", nulls_equal=True))
    assert (shown["restated_days"], shown["restated_rows"]) == (1, kept.height)


def test_only_days_that_changed_are_swapped_in(make_world: MakeWorld):
    source = Shaky(settled=True)
    world = make_world(source, sandbox=MARKET.model_dump())
    for day in PAST:
        fetch(world, day)
    before, old = files(world), world.store.lake.read("actuals", PAST[1])
    corrected, gone = old["ad_id"][4], old["ad_id"][7]
    of_day = pl.col("date") == PAST[1]
    source.change = lambda rows: rows.filter(~(of_day & (pl.col("ad_id") == gone))).with_columns(
        pl.col("conversions") + (of_day & (pl.col("ad_id") == corrected))
    )
    shown = metadata(fetch(world, replaying=False), "actuals")
    assert [day for day in PAST if files(world)[day] != before[day]] == [PAST[1]]
    assert (shown["restated_days"], shown["restated_rows"]) == (1, 2)
    assert world.store.lake.days("actuals_asof") == [PAST[1]]
    kept = world.store.lake.read("actuals_asof", PAST[1])
    assert (kept["known_until"] == DAY - timedelta(days=1)).all()
    assert kept.drop("known_until").equals(old.filter(pl.col("ad_id").is_in([corrected, gone])))
    new = world.store.lake.read("actuals", PAST[1])
    assert new.height == old.height - 1
    assert new["conversions"].sum() == old.filter(pl.col("ad_id") != gone)["conversions"].sum() + 1
    fetched = world.instance.fetch_materializations(dg.AssetKey("actuals"), limit=10).records
    runless = [
        record.asset_materialization
        for record in fetched
        if record.event_log_entry.run_id == "" and record.asset_materialization
    ]
    assert [(event.partition, event.description) for event in runless] == [
        (str(PAST[1]), f"restated by the platform, seen on {DAY}")
    ]


def test_the_past_of_an_account_that_fails_stays(make_world: MakeWorld):
    source = Shaky(settled=True)
    world = make_world(source, sandbox=MARKET.model_dump())
    for day in PAST:
        fetch(world, day)
    before = files(world)
    source.down = {source.accounts()["account_id"][0]: "failed"}
    assert metadata(fetch(world), "actuals")["restated_days"] == 0
    assert files(world) == before


def test_a_refresh_of_one_day_does_not_ask_for_the_past(world: World):
    fetch(world, PAST[2])
    before = world.store.lake.read("actuals", PAST[2])
    job = world.definitions.resolve_job_def("actuals_refresh")
    result = job.execute_in_process(partition_key=str(DAY), instance=world.instance, raise_on_error=False)
    assert result.success
    assert materialized(result) == {"ad_catalog", "actuals"}
    assert metadata(result, "actuals")["restated_days"] == 0
    assert world.store.lake.read("actuals", PAST[2]).equals(before)
    assert world.store.lake.days("actuals_asof") == []


# -- a file that is not as it should be

GOOD = "experiment,time,headline,impressions,clicks\na,201442,One,1000,10\na,201442,Two,1000,20\n"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (
            GOOD.replace("1000,20", "1000,2O"),
            "tests.csv, row 2, column 'clicks': '2O' is not a number. Counts are whole numbers",
        ),
        (GOOD.replace("1000,10", "1000,1001"), "tests.csv, row 1, column 'clicks': '1001' is above the row's impressions."),
        (GOOD.replace("a,201442,Two", "a,201499,Two"), "tests.csv, row 2, column 'time': '201499' is not an ISO week"),
    ],
)
def test_a_bad_file_is_named_by_row_and_column_and_leaves_the_day(make_world: MakeWorld, tmp_path: Path, bad: str, says: str):
    path, day = tmp_path / "tests.csv", date(2014, 10, 19)
    path.write_text(GOOD)
    world = make_world(source="archive", archive={"path": path})
    fetch(world, day)
    lake, stored = world.store.lake, world.table("fetch_manifest")
    before = [lake.path(asset, day).read_bytes() for asset in ("ad_catalog", "actuals")]
    assert lake.read("actuals", day)["link_clicks"].to_list() == [10, 20]
    path.write_text(bad)
    result = make_world(source="archive", archive={"path": path}).run(day, "ad_catalog", "actuals")
    assert failure(result).startswith(f"ad_catalog: {says}")
    assert materialized(result) == set()
    assert [lake.path(asset, day).read_bytes() for asset in ("ad_catalog", "actuals")] == before
    assert world.table("fetch_manifest").equals(stored)


# -- a platform that is down, and one that cannot look back


class Down(Shaky):
    """The market, whose platform answers nobody for so many questions about actuals."""

    failures = 0
    asked = 0

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        self.asked += 1
        if self.asked <= self.failures:
            raise PlatformDown("No account answered.")
        return super().actuals(first, last, known_on)


@pytest.mark.parametrize(("failures", "asked"), [(2, 3), (9, 4)])
def test_a_platform_that_is_down_is_asked_again_within_bounds(make_world: MakeWorld, failures: int, asked: int):
    source = Down()
    source.failures = failures
    world = make_world(source, sandbox=MARKET.model_dump(), automation={"platform_retry_seconds": 0.01})
    result = world.run(DAY, "ad_catalog", "actuals", replaying=True)
    assert source.asked == asked
    assert result.success == (failures < 4)
    if not result.success:
        assert failure(result) == "actuals: No account answered. Tried 4 times."
        assert world.store.lake.days("actuals") == []


class OnlyNow(Shaky):
    """The market as a platform tells it that cannot look back: what it knows at the end of its `today`, and how often it was asked."""

    looks_back = False

    def __init__(self, today: date) -> None:
        super().__init__()
        self.today = today
        self.asked: list[tuple[date, date]] = []

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:  # noqa: ARG002
        self.asked.append((first, last))
        return super().actuals(first, last, self.today)


def test_a_range_is_fetched_in_bulk_and_days_that_are_there_are_not_asked_for(make_world: MakeWorld):
    source = OnlyNow(DAY)
    world = make_world(source, sandbox=MARKET.model_dump())
    days = [*PAST, DAY]
    fetching.fetch_range(world.store, source, days[:2])
    progress: list[tuple[int, int]] = []
    fetching.fetch_range(world.store, source, days, lambda n, of: progress.append((n, of)))
    assert (source.asked, progress) == ([(days[0], days[1]), (days[2], days[3])], [(2, 2)])
    source.asked.clear()
    assert world.run(DAY, "ad_catalog", "actuals", replaying=True).success
    assert source.asked == []
    source.asked.clear()
    assert world.store.lake.read("actuals", DAY).equals(told(source, DAY, DAY))
    assert set(world.table("fetch_manifest", fact="daily")["as_of"]) == set(days)


def test_a_day_that_lacks_an_account_is_fetched_again(make_world: MakeWorld):
    source = OnlyNow(DAY)
    world = make_world(source, sandbox=MARKET.model_dump())
    source.down = {source.accounts()["account_id"][0]: "failed"}
    fetching.fetch_range(world.store, source, [DAY])
    assert world.store.lake.read("actuals", DAY)["account_id"].n_unique() == 2
    source.down = {}
    fetching.fetch_range(world.store, source, [DAY])
    assert world.store.lake.read("actuals", DAY).height == 18


def test_a_replay_reads_each_day_as_its_cycle_knew_it(make_world: MakeWorld):
    source = OnlyNow(PAST[0])
    world = make_world(source, sandbox=MARKET.model_dump())
    for day in PAST:
        source.today = day
        assert world.run(day, "ad_catalog", "actuals").success
    first = PAST[0]

    def known(until: date) -> int:
        return int(world.store.facts(first, until).filter(pl.col("date") == first).collect()["conversions"].sum())

    then, now = known(first), known(PAST[2])
    assert then < now, "conversions became known in between"
    assert world.store.lake.read("actuals", first)["conversions"].sum() == now
    source.asked.clear()
    assert world.run(first, "ad_catalog", "actuals", replaying=True).success
    assert source.asked == []
    assert (known(first), known(PAST[2])) == (then, now)


def test_rows_that_only_became_final_are_no_restatement(make_world: MakeWorld):
    source = Shaky(settled=True)
    world = make_world(source, sandbox=MARKET.model_dump())
    assert world.run(PAST[2], "ad_catalog", "actuals", replaying=True).success
    lake, day = world.store.lake, PAST[2]
    before = lake.read("actuals", day)
    swap(lake, day, before.with_columns(is_final=~pl.col("is_final")), day)
    shown = metadata(fetch(world, replaying=False), "actuals")
    assert lake.read("actuals", day).equals(before)
    assert (shown["restated_days"], shown["restated_rows"]) == (0, 0)
