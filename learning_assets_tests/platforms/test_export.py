"""Exports as a source: what is read from files of the shape that Ads Manager gives, and what is said about a bad one."""

import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.platforms.export import ExportSource, cells, summary
from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, HOURLY, MANIFEST, REACH, Source, SourceError
from learning_assets.settings import Export

EXPORTS = Path(__file__).parent / "exports"
MADE = datetime(2026, 9, 20, 12, tzinfo=UTC)
FIRST, LAST = date(2026, 9, 1), date(2026, 9, 3)

Write = Callable[..., ExportSource]


def put(path: Path, content: str | bytes | pl.DataFrame, made: datetime = MADE) -> None:
    """Write a file as it was at `made`."""
    if isinstance(content, pl.DataFrame):
        content.write_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (made.timestamp(), made.timestamp()))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files (name → content) into a folder, and open it."""

    def make(files: dict[str, Any], made: datetime = MADE, **settings: Any) -> ExportSource:
        for name, content in files.items():
            put(tmp_path / name, content, made)
        return ExportSource(Export.model_validate({"path": tmp_path, **settings}))

    return make


def fixture(folder: Path, *names: str, **settings: Any) -> ExportSource:
    """Fixtures as if exported at MADE."""
    for name in names:
        shutil.copy(EXPORTS / name, folder / name)
        os.utime(folder / name, (MADE.timestamp(), MADE.timestamp()))
    return ExportSource(Export.model_validate({"path": folder, **settings}))


def rows(source: ExportSource, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of everything that the source has, sorted by day and ad."""
    found = source.actuals(source.first_day(), date(2027, 1, 1), date(2027, 1, 1)).rows
    return found.sort("date", "account_id", "ad_id").select(columns).rows()


def simple(*lines: str, header: str = "Day,Account ID,Ad ID,Impressions,Link clicks,Amount spent (USD)") -> str:
    return "\n".join([header, *lines]) + "\n"


GOOD = simple("2026-09-01,1,10,1000,20,5.50", "2026-09-02,1,10,1100,22,6")


def refusal(source: ExportSource) -> str:
    with pytest.raises(SourceError) as error:
        _ = source.book
    return str(error.value)


def test_answers_have_the_protocols_schemas(tmp_path: Path):
    source: Source = fixture(tmp_path, "daily.csv")
    fetched = source.actuals(FIRST, LAST, LAST)
    assert source.accounts().schema == ACCOUNTS
    assert (fetched.rows.schema, fetched.manifest.schema) == (ACTUALS, MANIFEST)
    assert source.catalog(FIRST).rows.schema == CATALOG
    assert source.catalog(FIRST).manifest.schema == MANIFEST
    assert (source.hourly(FIRST).rows.schema, source.hourly(FIRST).rows.height) == (HOURLY, 0)
    people = source.reach(FIRST, LAST)
    assert (people.rows.schema, people.rows.height, people.manifest.schema, people.manifest.height) == (REACH, 0, MANIFEST, 0)
    assert (source.kind, source.cadence, source.looks_back) == ("ads", "day", False)
    account = {"account_id": "900000000000001", "owner": "900000000000001", "name": "Example Shoes", "currency": "USD"}
    assert source.accounts().to_dicts() == [account | {"timezone": "UTC", "consents": None}]


def test_a_daily_export(tmp_path: Path):
    """Byte-order mark, a doubled header, the total in row 2, texts with commas, quotes and line breaks, blank cells, an ad that was not shown."""
    source = fixture(tmp_path, "daily.csv")
    red, blue = "120200000000000301", "120200000000000302"
    assert rows(
        source, "date", "ad_id", "impressions", "link_clicks", "clicks_all", "outbound_clicks", "video_3s_views", "reach"
    ) == [
        (date(2026, 9, 1), red, 1042, 22, 31, 20, 310, 880),
        (date(2026, 9, 1), blue, 1508, 30, 41, None, None, 1200),
        (date(2026, 9, 2), red, 2400, 40, 55, 38, 700, 1900),
        (date(2026, 9, 3), red, 2530, 41, 60, 39, 720, 2010),
    ]
    assert rows(source, "spend_micros", "conversions", "revenue_micros", "conversion_type", "currency") == [
        (12_340_000, 3, 150_500_000, "omni_purchase", "USD"),
        (21_005_000, None, None, "omni_purchase", "USD"),
        (38_455_556, 5, 249_950_000, "omni_purchase", "USD"),
        (39_500_000, 1, 49_990_000, "omni_purchase", "USD"),
    ]
    assert source.notes == ("daily.csv: left out the total without an ad, row 2",)
    texts = source.catalog(FIRST).rows.sort("ad_id").select("ad_id", "ad_set_id", "status", "headline", "body").rows()
    assert texts == [
        (red, "120200000000000201", "active", "Run\nfaster", "Our lightest shoe, now in red."),
        (blue, "120200000000000201", "active", "Run further", 'The same shoe "in blue".'),
    ]
    # Not shown on that day, so not live.
    assert source.catalog(LAST).rows["ad_id"].to_list() == [red]


def test_an_export_by_age_and_gender_is_summed_to_the_ad(tmp_path: Path):
    source = fixture(tmp_path, "age_gender.csv", account="act_5")
    shown = rows(source, "date", "impressions", "link_clicks", "conversions", "reach", "spend_micros", "revenue_micros")
    assert set(shown) == {
        # Reach does not add up; revenue is ROAS times spend where no column has the value.
        (FIRST, 16_000, 160, 3, None, 1_600_750_000, 800_750_000),
        (FIRST, 500, None, None, 480, 10_000_000, None),
        (date(2026, 9, 2), 600, 7, 0, 590, 50_000_000, 0),
    }
    assert {row[0] for row in rows(source, "conversion_type")} == {"offsite_conversion.fb_pixel_purchase"}
    assert source.accounts().select("account_id", "currency").rows() == [("5", "EUR")]


def test_names_become_stable_ids(tmp_path: Path):
    source = fixture(tmp_path, "age_gender.csv", account="act_5")
    found = source.catalog(FIRST).rows.sort("ad_id").select("campaign_id", "ad_set_id", "ad_id", "creative_id").rows()
    # Stable over versions of Python and polars, or history would lose its ads.
    assert found == [
        ("nbb95ca9d4a528704", "n5025988055ffe678", "n2e7d862f9190d510", "ad-n2e7d862f9190d510"),
        ("nbb95ca9d4a528704", "n5025988055ffe678", "n3280ff24959c6617", "ad-n3280ff24959c6617"),
    ]


def test_an_account_known_by_name_gets_an_id(write: Write):
    text = simple(
        "2026-09-01,Shoes & Co,10,1000,20,5", header="Day,Account name,Ad ID,Impressions,Link clicks,Amount spent (USD)"
    )
    source = write({"a.csv": text})
    (account,) = source.accounts().select("account_id", "name").rows()
    assert account[0].startswith("n")
    assert len(account[0]) == 17
    assert account[1] == "Shoes & Co"
    assert source.actuals(FIRST, FIRST, FIRST).manifest.select("account_id", "status").rows() == [(account[0], "complete")]


def test_decimal_commas_are_refused_or_read(tmp_path: Path):
    remedy = "Export again with English (US) number format, or set LEARNING_EXPORT_DECIMAL=','."
    assert refusal(fixture(tmp_path, "comma.csv")) == (
        f"comma.csv, row 2, column 'Impressions': '10.500' is not a whole number. It is a count. {remedy}"
    )
    read = rows(ExportSource(Export(path=tmp_path, decimal=",")), "account_id", "impressions", "spend_micros", "revenue_micros")
    assert read == [("42", 10_500, 1_234_500_000, 99_999_000), ("42", 900, 5_000, None)]


@pytest.mark.parametrize(
    "value", ["1.234,50", "1,23", "12,34.5", "12 34", "1e5", "NaN", "inf", "$5", "5 USD", "1,2345", "0x10"]
)
def test_a_number_of_another_form_is_refused(write: Write, value: str):
    text = simple("2026-09-01,1,10,1000,20,5", f'2026-09-02,1,10,1000,20,"{value}"')
    assert refusal(write({"a.csv": text})) == (
        f"a.csv, row 3, column 'Amount spent (USD)': '{value}' is not a number. "
        "Export again with English (US) number format, or set LEARNING_EXPORT_DECIMAL=','."
    )


def test_period_totals_are_refused(tmp_path: Path):
    assert refusal(fixture(tmp_path, "period.csv", account="5")) == (
        "period.csv, row 2: a total of 2026-08-01 to 2026-08-31, without a day. "
        "Export again from the Ads tab with Breakdown > By time > Day."
    )


WHOLE = " of its whole period."
DAY = "Export again from the Ads tab with Breakdown > By time > Day."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv is empty. Export it again, or take it out of the folder."),
        ("Day,Account ID,Ad ID\n", "a.csv has no column Impressions. Its columns are Day, Account ID, Ad ID. Add it to the columns"),
        ("Tag,Konto-ID,Impressionen\n", "Set Ads Manager's language to English (US) and export again"),
        (
            "Day,Account ID,Campaign name,Impressions\n2026-09-01,1,x,5\n",
            "a.csv has no column Ad ID or Ad name. Its columns are Day, Account ID, Campaign name, Impressions. Export from the Ads tab",
        ),
        ("Account ID,Ad ID,Impressions\n1,2,5\n", f"a.csv has no column Day. Its columns are Account ID, Ad ID, Impressions. It may be a total{WHOLE} {DAY}"),
        ("Reporting starts,Account ID,Ad ID,Impressions\n2026-09-01,1,2,5\n", f"has no column Day, and its 'Reporting starts' may begin any period. {DAY}"),
        ("Day,Ad ID,Impressions\n2026-09-01,2,5\n", "a.csv names no account. Export it again with the columns Account ID and Account name, or set"),
        (simple("2026-09-01,1,10,1000,20,-5"), "a.csv, row 2, column 'Amount spent (USD)': '-5' is negative."),
        (simple("2026-09-01,1,10,1000,2.5,5"), "a.csv, row 2, column 'Link clicks': '2.5' is not a whole number."),
        (simple("2026-09-01,1,10,99999999999999,20,5"), "column 'Impressions': '99999999999999' is too large to be true."),
        (simple("2026-09-01,1,10,1000,1001,5"), "row 2, column 'Link clicks': 1001 is above the ad's 1000 of 'Impressions' on 2026-09-01."),
        (simple("2026-09-31,1,10,1000,20,5"), "a.csv, row 2, column 'Day': '2026-09-31' is not a day. Days are written 2026-09-30."),
        (simple("9/1/2026,1,10,1000,20,5"), "a.csv, row 2, column 'Day': '9/1/2026' may be day/month or month/day. Write days as 2026-09-30"),
        (simple("9/13/2026,1,10,9,2,5", "13/9/2026,1,11,9,2,5"), "'9/13/2026' stands beside days written the other way round"),
        (simple("2026-09-01,1,1.2E+17,1000,20,5"), "a.csv, row 2, column 'Ad ID': '1.2E+17' is an id that a spreadsheet has shortened."),
        (simple("2026-09-22,1,10,1000,20,5"), "a.csv, row 2, column 'Day': '2026-09-22' is after the file's own date, 2026-09-20."),
        (simple("2026-09-01,,10,1000,20,5"), "a.csv, row 2, column 'Account ID': the cell names no account. Export again with Account ID"),
        (simple("2026-09-01,1,10,1000,20,5", "2026-09-01,1,10,1000,21,5"), "a.csv, rows 2 and 3: both are the day 2026-09-01 of one ad, and nothing tells"),
        (
            "Day,Account ID,Campaign name,Ad ID,Impressions\n2026-09-01,1,x,,5\n",
            "a.csv, row 2, column 'Ad ID': the cell names no ad. Export from the Ads tab, with Ad ID among the columns.",
        ),
        (
            "Day,Account ID,Ad ID,Impressions,Amount spent\n2026-09-01,1,2,5,1\n",
            "a.csv, column 'Amount spent': its amounts have no currency. Export with the currency in the column's name",
        ),
        (
            "Day,Account ID,Ad ID,Impressions,Amount spent (USD),Amount spent (EUR)\n2026-09-01,1,2,5,1,1\n",
            "a.csv has the columns 'Amount spent (USD)' and 'Amount spent (EUR)'. Export each account in its own currency",
        ),
        (
            "Day,Account ID,Ad ID,Impressions,Amount spent (USD),Purchases,Purchases conversion value (EUR)\n2026-09-01,1,2,5,1,1,1\n",
            "a.csv mixes currencies in the columns 'Amount spent (USD)' and 'Purchases conversion value (EUR)'.",
        ),
        (
            "Day,Account ID,Ad ID,Impressions,Amount spent (USD),Currency\n2026-09-01,1,2,5,1,EUR\n",
            "a.csv, row 2, column 'Currency': 'EUR' is not that of 'Amount spent (USD)'.",
        ),
        (
            "Day,Account ID,Ad ID,Impressions,Reach,Reach\n2026-09-01,1,2,5,1,2\n",
            "a.csv, row 2: the columns 5 and 6 are both called 'Reach', and say '1' and '2'. Take one of them out of the export.",
        ),
        (
            "Day,Account ID,Ad ID,Age,Impressions\n2026-09-01,1,2,18-24,5\n2026-09-01,1,2,,7\n",
            "a.csv, row 3, column 'Age': the cell is empty, but the row is not the total of its ad on 2026-09-01 (7 impressions, its parts 5).",
        ),
        (
            simple("2026-09-01,1,10,1000,20,5", ",,,2000,40,10"),
            "a.csv, row 3, column 'Impressions': the export's own total is 2,000, its rows add up to 1,000. The file may have been cut off",
        ),
        (b"Day,Account ID,Ad ID,Impressions\n2026-09-01,1,\xe4,5\n", "a.csv cannot be read as CSV: invalid utf-8 sequence. Save it as CSV UTF-8"),
        ("Day,Account ID,Ad ID,Impressions\n2026-09-01,1,2,5,6,7\n", "a.csv cannot be read as CSV: found more fields than defined in 'Schema'."),
        (GOOD[:-8], "a.csv ends in the middle of row 3: it was cut off. Export it again."),
        (simple("2026-09-01,1,10,0,0,0"), "holds no ad with delivery on any day. Export a period in which ads ran."),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused(write: Write, text: str | bytes, message: str):
    assert message in refusal(write({"a.csv": text}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": None}, "LEARNING_SOURCE=export needs LEARNING_EXPORT_PATH: the folder of the exports, or one file."),
        (
            {"timezone": "Mars/Olympus"},
            "LEARNING_EXPORT_TIMEZONE: 'Mars/Olympus' is not an IANA time zone, such as Europe/Berlin.",
        ),
        ({"currency": "usd"}, "LEARNING_EXPORT_CURRENCY=usd is not a currency."),
    ],
)
def test_a_bad_setting_is_refused(write: Write, settings: dict[str, Any], message: str):
    assert message in refusal(write({"a.csv": GOOD}, **settings))


def test_a_folder_without_exports(tmp_path: Path, write: Write):
    assert "holds no .csv and no .parquet file" in refusal(write({}))
    assert "does not exist. Set LEARNING_EXPORT_PATH" in refusal(write({}, path=tmp_path / "nowhere"))
    assert refusal(write({"a.csv": GOOD, "b.xlsx": b"PK"})) == (
        "b.xlsx is an Excel workbook. Export it as CSV, and take the workbook out of the folder."
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("sign", [",", "\t", ";"])
def test_encodings_and_separators(write: Write, encoding: str, sign: str):
    source = write({"a.csv": GOOD.replace(",", sign).replace("\n", "\r\n").encode(encoding)})
    assert rows(source, "impressions", "spend_micros") == [(1000, 5_500_000), (1100, 6_000_000)]


@pytest.mark.parametrize(
    "day", ["2026-09-13", "2026-09-13 00:00:00", "9/13/2026", "13/9/2026", "13.09.2026", "Sep 13, 2026", "13 September 2026"]
)
def test_forms_of_days(write: Write, day: str):
    assert write({"a.csv": simple(f'"{day}",1,10,1000,20,5')}).first_day() == date(2026, 9, 13)


def test_reporting_starts_are_the_day_where_the_period_is_one(write: Write):
    lines = ("2026-09-01,2026-09-01,1,2,5", "2026-09-01,2026-09-02,1,2,12", "2026-09-02,2026-09-02,1,2,7")
    text = simple(*lines, header="Reporting starts,Reporting ends,Account ID,Ad ID,Impressions")
    source = write({"a.csv": text})
    assert rows(source, "date", "impressions") == [(FIRST, 5), (date(2026, 9, 2), 7)]
    assert source.notes == ("a.csv: left out totals of the whole period, row 3",)


def test_an_ads_own_total_stands_for_its_breakdown(write: Write):
    """A total beside its parts keeps what does not add up, and nothing is counted twice."""
    text = (
        "Day,Account ID,Ad ID,Age,Gender,Impressions,Reach\n"
        "2026-09-01,1,2,,,12,9\n2026-09-01,1,2,18-24,All,12,9\n2026-09-01,1,2,18-24,female,5,4\n2026-09-01,1,2,18-24,male,7,6\n"
        "2026-09-01,1,3,18-24,female,5,4\n2026-09-01,1,3,18-24,male,7,6\n"
    )
    assert rows(write({"a.csv": text}), "ad_id", "impressions", "reach") == [("2", 12, 9), ("3", 12, None)]


def test_a_row_that_was_pasted_twice_counts_once(write: Write):
    line = "2026-09-01,1,10,1000,20,5"
    assert rows(write({"a.csv": simple(line, line)}), "impressions") == [(1000,)]


@pytest.mark.parametrize(
    ("header", "cells_", "expected"),
    [
        ("Purchases,Website purchases,Purchases conversion value,Website purchases conversion value", "2,1,20,10", ("omni_purchase", 2, 20_000_000)),
        ("Website purchases,Purchases conversion value", "1,20", ("offsite_conversion.fb_pixel_purchase", 1, None)),
        ("Results,Result indicator,Results value", "4,actions:lead,9", ("lead", 4, 9_000_000)),
        ("Results,Result indicator", "4,Website purchases", ("offsite_conversion.fb_pixel_purchase", 4, None)),
        ("Results,Result indicator", "4,actions:link_click", (None, None, None)),
        ("Results", "4", (None, None, None)),
        ("Purchases,Purchase ROAS (return on ad spend)", ",2.5", ("omni_purchase", None, 12_500_000)),
        ("Purchases,Purchases conversion value,Purchase ROAS (return on ad spend)", "1,,2.5", ("omni_purchase", 1, None)),
        ("Frequency", "1.5", (None, None, None)),
    ],
)  # fmt: skip
def test_one_type_of_conversion_counts(write: Write, header: str, cells_: str, expected: tuple[Any, ...]):
    text = f"Day,Account ID,Ad ID,Impressions,Amount spent (USD),{header}\n2026-09-01,1,2,500,5,{cells_}\n"
    assert rows(write({"a.csv": text}), "conversion_type", "conversions", "revenue_micros") == [expected]


def test_of_an_accounts_results_purchases_count_before_leads(write: Write):
    text = (
        "Day,Account ID,Ad ID,Impressions,Results,Result indicator\n"
        "2026-09-01,1,2,500,4,actions:lead\n2026-09-01,1,3,500,2,actions:omni_purchase\n2026-09-01,7,4,500,9,actions:lead\n"
    )
    found = rows(write({"a.csv": text}), "ad_id", "conversion_type", "conversions")
    assert found == [("2", None, None), ("3", "omni_purchase", 2), ("4", "lead", 9)]


def test_the_same_ad_day_in_two_files(write: Write):
    """Identical is one; columns that only one of them has are taken from it."""
    clicks = "Day,Account ID,Ad ID,Impressions,Outbound clicks\n2026-09-01,1,10,1000,18\n"
    source = write({"a.csv": GOOD, "b.csv": GOOD, "c.csv": clicks})
    assert rows(source, "impressions", "spend_micros", "outbound_clicks") == [(1000, 5_500_000, 18), (1100, 6_000_000, None)]
    assert summary(source)["files"].to_list() == ["a.csv, b.csv, c.csv", "a.csv, b.csv"]


def test_two_files_that_differ_are_refused(write: Write):
    write({"b.csv": GOOD}, made=MADE - timedelta(days=5))
    assert refusal(write({"a.csv": GOOD.replace(",22,", ",23,")})) == (
        "b.csv (row 3) and a.csv (row 3) both have 2026-09-02 of the ad 10, but differ in link_clicks: 22 and 23. Take out the older one, "
        "b.csv of 2026-09-15 12:00, or export periods that do not overlap."
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            GOOD.replace("USD", "EUR").replace(",10,", ",11,"),
            "The account 1 has two currencies: a.csv has USD and b.csv has EUR.",
        ),
        (
            "Day,Account ID,Ad name,Impressions\n2026-10-01,1,x,5\n".replace("2026-10", "2026-08"),
            "b.csv knows its ads by name and a.csv by id; the same ones would be counted twice. Export all files again with Ad ID",
        ),
        (
            "Day,Account name,Ad ID,Impressions\n2026-08-01,x,5,5\n",
            "b.csv knows its accounts by name and a.csv by id; the same ones would be counted twice. Export all files again with Account ID",
        ),
        (
            "Day,Ad ID,Impressions\n2026-09-01,10,1000\n",
            "b.csv names no account, so its ad 10 would be of LEARNING_EXPORT_ACCOUNT=2, but a.csv has it on 2026-09-01 as of the account 1.",
        ),
    ],
)
def test_files_that_contradict_each_other_are_refused(write: Write, other: str, message: str):
    assert message in refusal(write({"a.csv": GOOD, "b.csv": other}, account="2"))


def test_types_of_conversion_may_not_change_between_files(write: Write):
    text = "Day,Account ID,Ad ID,Impressions,{}\n{},1,2,5,1\n"
    files = {"a.csv": text.format("Purchases", "2026-09-01"), "b.csv": text.format("Website purchases", "2026-09-02")}
    assert refusal(write(files)) == (
        "The account 1 counts omni_purchase in a.csv and offsite_conversion.fb_pixel_purchase in b.csv. "
        "Export all its files with the same columns of conversions."
    )


def test_currencies_differ_between_accounts_only(write: Write):
    source = write({"a.csv": GOOD, "b.csv": GOOD.replace("USD", "JPY").replace(",1,10", ",2,11")})
    assert source.accounts().select("account_id", "currency").rows() == [("1", "USD"), ("2", "JPY")]


def test_a_day_is_complete_once_the_file_is_of_a_later_one(write: Write):
    text = simple(*(f"2026-09-{day:02d},1,10,1000,20,5" for day in (1, 19, 20)))
    source = write({"a.csv": text}, made=datetime(2026, 9, 19, 23, 30, tzinfo=UTC), timezone="Europe/Berlin")
    assert rows(source, "date", "complete", "is_final", "restated")[1:] == [
        (date(2026, 9, 19), True, False, False),
        (date(2026, 9, 20), False, False, False),
    ]
    assert source.last_day(date(2026, 12, 1)) == date(2026, 9, 19)
    assert source.last_day(date(2026, 9, 19)) == date(2026, 9, 1)
    assert source.last_day(date(2026, 9, 1)) == date(2026, 8, 31)
    statuses = source.actuals(date(2026, 9, 18), date(2026, 9, 21), date(2026, 9, 21)).manifest
    assert statuses.select("status", "rows").rows() == [("no_data", 0), ("complete", 1), ("running", 1), ("incomplete", 0)]
    assert statuses["reason"][3] == "no file has the account 1 on 2026-09-21: export that day into LEARNING_EXPORT_PATH"


def test_days_older_than_28_are_final(write: Write):
    text = simple("2026-08-22,1,10,1000,20,5", "2026-08-23,1,10,1000,20,5", "2026-08-24,1,10,1000,20,5")
    assert [row[0] for row in rows(write({"a.csv": text}), "is_final")] == [True, True, False]


def test_the_period_of_an_export_without_delivery_is_no_data(write: Write):
    text = "Day,Reporting starts,Reporting ends,Account ID,Ad ID,Impressions\n2026-09-02,2026-09-01,2026-09-03,1,2,5\n"
    manifest = write({"a.csv": text}).actuals(FIRST, date(2026, 9, 4), LAST).manifest
    assert manifest["status"].to_list() == ["no_data", "complete", "no_data", "incomplete"]


def test_texts_of_a_later_day_are_not_known_before(write: Write):
    text = simple("2026-09-01,1,10,1000,20,5,", "2026-09-02,1,10,1000,20,5,New", header=GOOD.splitlines()[0] + ",Headline")
    source = write({"a.csv": text})
    assert source.catalog(FIRST).rows["headline"].to_list() == [None]
    assert source.catalog(date(2026, 9, 2)).rows["headline"].to_list() == ["New"]


FACTS = pl.DataFrame(
    {
        "date": [FIRST, FIRST, date(2026, 9, 2)],
        "account_id": ["1", "2", "1"],
        "ad_id": ["10", "10", "10"],
        "impressions": [1000, 500, 1100],
        "link_clicks": [20, None, 22],
        "spend_micros": [5_500_000, 700, 6_000_000],
        "currency": ["USD", "JPY", "USD"],
        "headline": ["One", None, "One"],
    }
)


def test_parquet_in_our_own_schema(write: Write):
    catalog = pl.DataFrame(
        {
            "account_id": ["1", "1", "1"],
            "ad_id": ["10", "11", "12"],
            "creative_id": ["c", None, None],
            "starts_on": [None, date(2026, 9, 2), date(2026, 9, 9)],
            "status": ["paused", "scheduled", "scheduled"],
            "body": ["Text", None, None],
        }
    )
    source = write({"facts.parquet": FACTS, "catalog.parquet": catalog})
    assert rows(source, "date", "account_id", "link_clicks", "spend_micros", "reach", "complete") == [
        (FIRST, "1", 20, 5_500_000, None, True),
        (FIRST, "2", None, 700, None, True),
        (date(2026, 9, 2), "1", 22, 6_000_000, None, True),
    ]
    listed = (
        source.catalog(FIRST)
        .rows.sort("account_id", "ad_id")
        .select("account_id", "ad_id", "creative_id", "status", "headline", "body")
    )
    assert listed.rows() == [
        ("1", "10", "c", "active", "One", "Text"),
        ("1", "11", "ad-11", "scheduled", None, None),
        ("2", "10", "ad-10", "active", None, None),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clicks": pl.lit(1)}, "facts.parquet has the column 'clicks', which means nothing here. Known ones are account_id,"),
        (
            {"impressions": pl.col("impressions") + 0.5},
            "facts.parquet, row 1, column 'impressions': '1000.5' is not a whole number.",
        ),
        (
            {"spend_micros": -pl.col("spend_micros")},
            "facts.parquet, row 1, column 'spend_micros': '-5500000' is negative (and 2 more",
        ),
        (
            {"date": pl.lit("yesterday")},
            "facts.parquet: a value does not fit the type of its column, one of date (String). Correct",
        ),
        (
            {"ad_id": pl.lit(None, dtype=pl.String)},
            "facts.parquet, row 1, column 'ad_id': the cell is empty (and 2 more like it).",
        ),
        ({"date": pl.lit(FIRST)}, "facts.parquet, rows 1 and 3: both are the day 2026-09-01 of one ad. Correct the file."),
        (
            {"link_clicks": pl.lit(1001)},
            "facts.parquet, row 1, column 'link_clicks': 1001 is above the ad's 1000 of 'impressions'",
        ),
    ],
)
def test_a_bad_parquet_file_is_refused(write: Write, change: dict[str, pl.Expr], message: str):
    assert message in refusal(write({"facts.parquet": FACTS.with_columns(**change)}))


def test_parquet_without_a_column_or_not_parquet_at_all(write: Write):
    assert "facts.parquet has no column 'impressions'. Its columns are date," in refusal(
        write({"facts.parquet": FACTS.drop("impressions")})
    )
    assert "facts.parquet cannot be read as Parquet: " in refusal(write({"facts.parquet": b"no"}))


def test_a_summary_by_account_and_day(tmp_path: Path):
    found = summary(fixture(tmp_path, "daily.csv"))
    assert found.select("account_id", "date", "ads", "impressions", "spend", "conversions", "currency", "files").row(0) == (
        "900000000000001", FIRST, 2, 2550, 33.345, 3, "USD", "daily.csv",
    )  # fmt: skip


def sheet(values: Sequence[str | None]) -> cells.Sheet:
    frame = pl.DataFrame({"row": range(2, len(values) + 2), "x": pl.Series(values, dtype=pl.String)})
    return cells.Sheet("a.csv", frame, {"x": "X"})


amounts = st.decimals(min_value=0, max_value=8_999_999_999_999, allow_nan=False, allow_infinity=False, places=8).map(abs)


def spelled(value: Decimal, decimal: str, *, thousands: bool) -> str:
    text = f"{value:,f}" if thousands else f"{value:f}"
    return text if decimal == "." else text.translate(str.maketrans(",.", ".,"))


@given(values=st.lists(st.tuples(amounts, st.booleans()), min_size=1), decimal=st.sampled_from([".", ","]))
def test_money_is_exact_to_the_micro(values: list[tuple[Decimal, bool]], decimal: str):
    texts = [spelled(value, decimal, thousands=parted) for value, parted in values]
    page = sheet([*texts, None])
    expected = [int((value * 1_000_000).to_integral_value(ROUND_HALF_UP)) for value, _ in values]
    assert page.frame.select(cells.money(page, "x", decimal)).to_series().to_list() == [*expected, None]


@given(value=st.integers(0, 8_999_999_999_999), thousands=st.booleans(), decimal=st.sampled_from([".", ","]))
def test_counts_are_exact(value: int, thousands: bool, decimal: str):
    page = sheet([spelled(Decimal(value), decimal, thousands=thousands)])
    assert page.frame.select(cells.counts(page, "x", decimal)).item() == value


@given(text=st.text(alphabet="0123456789.,-+eE NaNinf$%\u00a0", min_size=1, max_size=12), decimal=st.sampled_from([".", ","]))
def test_text_is_a_number_in_one_way_or_refused(text: str, decimal: str):
    """What is read is what a person would read: without the thousands' signs it is the number, and those part it in threes."""
    page = sheet([text])
    try:
        found = page.frame.select(cells.money(page, "x", decimal)).item()
    except SourceError:
        return
    whole, _, part = text.partition(decimal)
    groups = whole.replace(",", " ").replace(".", " ").replace("\u00a0", " ").split(" ")
    assert len(groups) == 1 or (all(len(group) == 3 for group in groups[1:]) and 1 <= len(groups[0]) <= 3)
    number = Decimal("".join(groups) + (f".{part}" if part else ""))
    assert found == int((number * 1_000_000).to_integral_value(ROUND_HALF_UP))


@given(day=st.dates(date(2004, 1, 1), date(2100, 1, 1)))
def test_every_form_of_a_day_is_the_day(day: date):
    forms = [
        day.isoformat(),
        f"{day.day}.{day.month}.{day.year}",
        f"{day:%b} {day.day}, {day.year}",
        f"{day.day} {day:%B} {day.year}",
    ]
    page = sheet(forms)
    assert set(page.frame.select(cells.days(page, "x")).to_series()) == {day}
    american = sheet([f"{day.month}/{day.day}/{day.year}"])
    if day.day > 12:
        assert american.frame.select(cells.days(american, "x")).item() == day
    else:
        with pytest.raises(SourceError, match="may be day/month or month/day"):
            american.frame.select(cells.days(american, "x"))
