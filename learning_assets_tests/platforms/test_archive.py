"""An archive of finished experiments as a source: its answers, and what it says about a bad file."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.platforms.archive import ArchiveSource
from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, MANIFEST, REACH, Source, SourceError
from learning_assets.settings import Archive

SHARED = Path(os.environ.get("LEARNING_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
UPWORTHY = SHARED / "upworthy" / "upworthy_to_2014w42.parquet"
TODAY = date(2026, 1, 1)

GOOD: dict[str, list[Any]] = {
    "experiment": ["a", "a", "b", "b", "b", "c"],
    "time": [201442, 201442, 201443, 201443, 201443, 201445],
    "headline": ["One", "Two", "One", None, "One", "  "],
    "body": ["x", "x", "y", "y", "y", "z"],
    "image": ["i", "j", "i", "i", "i", None],
    "impressions": [1000, 1100, 2000, 2100, 2200, 0],
    "clicks": [10, 20, 30, 40, 50, 0],
    "winner": [True, False, False, False, True, True],
}


def open_archive(**settings: Any) -> ArchiveSource:
    return ArchiveSource(Archive.model_validate(settings))


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., ArchiveSource]:
    """Write a table with some cells changed (column → row → value), and open it."""

    def make(
        cells: dict[str, dict[int, Any]] | None = None,
        drop: tuple[str, ...] = (),
        suffix: str = ".parquet",
        table: dict[str, list[Any]] = GOOD,
        **settings: Any,
    ) -> ArchiveSource:
        changed = {name: list(values) for name, values in table.items() if name not in drop}
        for name, rows in (cells or {}).items():
            for row, value in rows.items():
                changed[name][row - 1] = value
        mixed = {name for name, values in changed.items() if len({type(v) for v in values if v is not None}) > 1}
        frame = pl.DataFrame(
            {n: [None if v is None else str(v) for v in vs] if n in mixed else vs for n, vs in changed.items()}
        )
        path = tmp_path / f"tests{suffix}"
        if suffix == ".csv":
            frame.write_csv(path)
        else:
            frame.write_parquet(path)
        return open_archive(path=path, **settings)

    return make


Make = Callable[..., ArchiveSource]


def test_answers_have_the_protocols_schemas(archive: Make):
    source: Source = archive()
    fetched = source.actuals(date(2014, 10, 19), date(2014, 10, 19), TODAY)
    assert source.accounts().schema == ACCOUNTS
    assert source.catalog(date(2014, 10, 19)).rows.schema == CATALOG
    assert fetched.rows.schema == ACTUALS
    assert fetched.manifest.schema == MANIFEST
    assert (source.kind, source.cadence) == ("archive", "week")
    assert source.reach(TODAY, TODAY).rows.equals(REACH.to_frame())
    account = {"account_id": "archive", "owner": "archive", "name": "Archive tests.parquet", "currency": None}
    assert source.accounts().to_dicts() == [account | {"timezone": "UTC", "consents": True}]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_weeks_arms_are_active_and_the_next_weeks_scheduled(archive: Make, suffix: str):
    catalog = archive(suffix=suffix).catalog(date(2014, 10, 19)).rows.sort("ad_id")
    shown = catalog.select(
        "ad_id", "experiment_id", "assignment", "planned_share", "status", "starts_on", "headline", "image_id"
    )
    first, second = date(2014, 10, 19), date(2014, 10, 26)
    assert shown.rows() == [
        ("a-1", "a", "random", 0.5, "active", first, "One", "i"),
        ("a-2", "a", "random", 0.5, "active", first, "Two", "j"),
        ("b-1", "b", "random", 1 / 3, "scheduled", second, "One", "i"),
        ("b-2", "b", "random", 1 / 3, "scheduled", second, None, "i"),
        ("b-3", "b", "random", 1 / 3, "scheduled", second, "One", "i"),
    ]


def test_results_of_the_week(archive: Make):
    fetched = archive().actuals(date(2014, 10, 19), date(2014, 10, 26), TODAY)
    shown = fetched.rows.select("date", "ad_id", "impressions", "link_clicks", "conversions", "spend_micros", "is_final")
    assert shown.rows()[0] == (date(2014, 10, 19), "a-1", 1000, 10, None, None, True)
    assert shown["link_clicks"].to_list() == [10, 20, 30, 40, 50]
    manifest = fetched.manifest.select("date", "fact", "status", "rows", "spend_micros", "reason").rows()
    assert manifest == [
        (date(2014, 10, 19), "daily", "complete", 2, None, None),
        (date(2014, 10, 26), "daily", "complete", 3, None, None),
    ]


def test_results_are_not_known_before_their_date(archive: Make):
    fetched = archive().actuals(date(2014, 10, 19), date(2014, 10, 26), date(2014, 10, 25))
    assert fetched.rows["ad_id"].to_list() == ["a-1", "a-2"]


def test_a_week_without_arms_is_no_data(archive: Make):
    fetched = archive().actuals(date(2014, 11, 2), date(2014, 11, 2), TODAY)
    assert fetched.rows.is_empty()
    assert fetched.manifest.select("status", "rows", "reason").rows() == [
        ("no_data", 0, "the archive has no arm dated 2014-11-02")
    ]


def test_an_arm_without_impressions_is_in_the_catalog_only(archive: Make):
    source, week = archive(), date(2014, 11, 9)
    assert source.catalog(week).rows.select("ad_id", "headline", "body").rows() == [("c-1", None, "z")]
    assert source.actuals(week, week, TODAY).rows.is_empty()


def test_days_of_the_archive(archive: Make):
    source = archive()
    assert source.first_day() == date(2014, 10, 19)
    assert source.last_day(TODAY) == date(2014, 11, 9)
    assert source.last_day(date(2014, 11, 9)) == date(2014, 10, 26)
    assert source.last_day(date(2014, 10, 19)) == date(2014, 10, 18)


def test_same_texts_and_image_are_one_creative(archive: Make):
    arms = archive().arms
    ids = dict(zip(arms["ad_id"], arms["creative_id"], strict=True))
    assert ids["b-1"] == ids["b-3"]
    assert len(set(ids.values())) == 5
    # Stable over versions of Python and polars, or memory would lose its creatives.
    assert ids["a-1"] == "1a13bba2005888e29d7e47f3"


def test_columns_are_mapped(archive: Make):
    table = {{"experiment": "test", "body": "lede"}.get(name, name): values for name, values in GOOD.items()}
    mapped = archive(table=table, columns="experiment=test, body=lede")
    assert mapped.arms["body"].to_list() == GOOD["body"]
    assert mapped.arms["description"].null_count() == 6


def test_days_instead_of_weeks(archive: Make):
    days = ["2014-03-31", "2014-03-31", "2014-04-01", "2014-04-01", "2014-04-01", "2014-04-02"]
    for table in (GOOD | {"time": days}, GOOD | {"time": [date.fromisoformat(day) for day in days]}):
        source = archive(table=table, time_format="date")
        assert source.cadence == "day"
        catalog = source.catalog(date(2014, 3, 31)).rows
        assert catalog["status"].to_list() == ["active"] * 2 + ["scheduled"] * 3
        assert source.actuals(date(2014, 4, 1), date(2014, 4, 1), TODAY).rows.height == 3


@given(day=st.dates(date(1, 1, 8), date(9998, 1, 1)))
def test_a_week_is_dated_on_its_sunday(day: date, tmp_path_factory: pytest.TempPathFactory):
    year, week, _ = day.isocalendar()
    path = tmp_path_factory.mktemp("weeks") / "tests.csv"
    path.write_text(f"experiment,time,headline,impressions,clicks\na,{year:04d}{week:02d},Hello,10,1\n")
    dated = open_archive(path=path).first_day()
    assert dated == date.fromisocalendar(year, week, 7)


def test_week_00_is_the_week_before_week_01(archive: Make):
    assert archive({"time": {6: 201400}}).arms.filter(pl.col("experiment") == "c")["date"].item() == date(2013, 12, 29)
    assert archive({"time": {6: 202053}}).arms.filter(pl.col("experiment") == "c")["date"].item() == date(2021, 1, 3)


COUNTS = "Counts are whole numbers without separators, such as 3052; leave rows without a known result out of the file."
WEEKS = "Weeks are written YYYYWW, such as 201442, and most years have 52; for days set LEARNING_ARCHIVE_TIME_FORMAT=date."


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"clicks": {4: "abc"}}, f", row 4, column 'clicks': 'abc' is not a number. {COUNTS}"),
        ({"clicks": {4: "1,234"}}, f", row 4, column 'clicks': '1,234' is not a number. {COUNTS}"),
        ({"clicks": {2: None}}, f", row 2, column 'clicks': the value is empty. {COUNTS}"),
        ({"impressions": {3: "12.5"}}, f", row 3, column 'impressions': '12.5' is not a whole number. {COUNTS}"),
        ({"impressions": {3: "NaN"}}, f", row 3, column 'impressions': 'NaN' is not a number. {COUNTS}"),
        ({"impressions": {1: -5, 3: -7}}, f", row 1, column 'impressions': '-5' is negative (and 1 more like it). {COUNTS}"),
        (
            {"clicks": {5: 2201}},
            ", row 5, column 'clicks': '2201' is above the row's impressions. "
            "Check that LEARNING_ARCHIVE_COLUMNS does not mix the two up.",
        ),
        ({"experiment": {2: None}}, ", row 2, column 'experiment': the value is empty. Give every arm its experiment."),
        ({"time": {2: None}}, ", row 2, column 'time': the value is empty. Every arm needs the time of its test."),
        ({"time": {2: 201353}}, f", row 2, column 'time': '201353' is not an ISO week. {WEEKS}"),
        ({"time": {6: "2014-10-19"}}, f", row 6, column 'time': '2014-10-19' is not an ISO week. {WEEKS}"),
        ({"time": {6: 201499}}, f", row 6, column 'time': '201499' is not an ISO week. {WEEKS}"),
    ],
)
def test_a_bad_value_is_named(archive: Make, cells: dict[str, dict[int, Any]], message: str, suffix: str):
    with pytest.raises(SourceError) as error:
        _ = archive(cells, suffix=suffix).arms
    assert str(error.value) == f"tests{suffix}{message}"


def test_a_bad_day_is_named(archive: Make):
    table = GOOD | {"time": ["2014-03-31"] * 5 + ["2014-02-30"]}
    with pytest.raises(SourceError) as error:
        archive(table=table, time_format="date").first_day()
    assert str(error.value) == (
        "tests.parquet, row 6, column 'time': '2014-02-30' is not a day. "
        "Days are written 2014-03-31; for weeks (YYYYWW) set LEARNING_ARCHIVE_TIME_FORMAT=iso_week."
    )


def test_a_mapped_column_is_named_as_in_the_file(archive: Make):
    table = {("views" if name == "impressions" else name): values for name, values in GOOD.items()}
    with pytest.raises(SourceError, match=r"^tests.parquet, row 1, column 'views': '-1' is negative"):
        _ = archive({"views": {1: -1}}, table=table, columns="impressions=views").arms


@pytest.mark.parametrize(
    ("settings", "drop", "message"),
    [
        (
            {},
            ("clicks",),
            "tests.parquet has no column 'clicks'. Its columns are experiment, time, headline, body, image, impressions, "
            "winner. Map the right one: LEARNING_ARCHIVE_COLUMNS=clicks=NAME.",
        ),
        (
            {"columns": "description=excerpt"},
            (),
            "tests.parquet has no column 'excerpt' for description. Its columns are experiment, time, headline, body, image, "
            "impressions, clicks, winner. Map the right one: LEARNING_ARCHIVE_COLUMNS=description=NAME.",
        ),
        (
            {},
            ("headline", "body"),
            "tests.parquet has no column of text. Its columns are experiment, time, image, impressions, clicks, winner. "
            "Map headline, body or description: LEARNING_ARCHIVE_COLUMNS=headline=NAME.",
        ),
        (
            {"columns": "picture=image"},
            (),
            "LEARNING_ARCHIVE_COLUMNS maps 'picture', which means nothing here. Names on the left are experiment, time, "
            "impressions, clicks, headline, body, description, image.",
        ),
    ],
)
def test_a_missing_column_is_named(archive: Make, settings: dict[str, str], drop: tuple[str, ...], message: str):
    with pytest.raises(SourceError) as error:
        _ = archive(drop=drop, **settings).arms
    assert str(error.value) == message


def test_texts_may_be_missing_in_a_row_but_not_everywhere(archive: Make):
    some = archive({"headline": dict.fromkeys(range(1, 7)), "body": dict.fromkeys(range(1, 6))})
    assert some.arms["body"].to_list() == [None] * 5 + ["z"]
    with pytest.raises(SourceError) as error:
        _ = archive({"headline": dict.fromkeys(range(1, 7), " "), "body": dict.fromkeys(range(1, 7))}).arms
    assert str(error.value) == (
        "tests.parquet: no row has a text. Map headline, body or description to a column with text: "
        "LEARNING_ARCHIVE_COLUMNS=headline=NAME."
    )


def test_no_file(tmp_path: Path):
    with pytest.raises(SourceError, match="needs LEARNING_ARCHIVE_PATH"):
        open_archive().accounts()
    with pytest.raises(SourceError, match=r"nothing\.csv does not exist\. Set LEARNING_ARCHIVE_PATH"):
        open_archive(path=tmp_path / "nothing.csv").first_day()


def test_the_wrong_file(tmp_path: Path):
    sheet = tmp_path / "tests.xlsx"
    sheet.write_bytes(b"PK")
    with pytest.raises(
        SourceError, match=r"^tests.xlsx is not a .parquet or .csv file. Convert it, or set LEARNING_ARCHIVE_PATH"
    ):
        open_archive(path=sheet).first_day()
    broken = tmp_path / "tests.parquet"
    broken.write_bytes(b"not parquet at all")
    with pytest.raises(SourceError, match=r"^tests.parquet cannot be read as PARQUET: .*Export the file again\."):
        open_archive(path=broken).first_day()


def test_a_file_without_rows(archive: Make):
    with pytest.raises(SourceError, match=r"^tests.csv has no rows"):
        _ = archive(table={name: [] for name in GOOD}, suffix=".csv").arms


def test_the_same_row_twice_is_two_arms(archive: Make):
    twice = {name: values[:2] + values[1:2] for name, values in GOOD.items()}
    source = archive(table=twice)
    assert source.arms.select("ad_id", "planned_share").rows() == [("a-1", 1 / 3), ("a-2", 1 / 3), ("a-3", 1 / 3)]
    assert source.arms["creative_id"].n_unique() == 2


@pytest.mark.skipif(not UPWORTHY.exists(), reason=f"the Upworthy archive is not at {UPWORTHY}")
def test_upworthy():
    source = open_archive(
        path=UPWORTHY,
        columns="experiment=clickability_test_id,time=test_week,body=lede,description=excerpt,image=eyecatcher_id",
    )
    arms = source.arms
    assert (arms.height, arms["experiment"].n_unique(), arms["ad_id"].n_unique()) == (16_331, 3_602, 16_331)
    # 93 names of weeks: 201352 and 201400 are two parts of one.
    assert arms["date"].n_unique() == 92
    assert (source.first_day(), source.last_day(TODAY)) == (date(2013, 1, 20), date(2014, 10, 19))
    assert set(arms["date"].dt.weekday()) == {7}
    raw = pl.read_parquet(UPWORTHY)
    fetched = source.actuals(source.first_day(), source.last_day(TODAY), TODAY)
    assert fetched.rows["impressions"].sum() == raw["impressions"].sum()
    assert fetched.rows["link_clicks"].sum() == raw["clicks"].sum()
    listed = pl.concat([source.catalog(day).rows.filter(pl.col("status") == "active") for day in arms["date"].unique()])
    assert listed.height == 16_331
    shares = arms.group_by("experiment").agg(pl.col("planned_share").sum())["planned_share"]
    assert ((shares - 1).abs() < 1e-12).all()
