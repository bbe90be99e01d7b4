"""A warehouse in the connector schema as a source, on real masked rows and on small invented tables; a real PostgreSQL."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from learning_assets.platforms.source import ACCOUNTS, ACTUALS, CATALOG, HOURLY, MANIFEST, REACH, Source, SourceError
from learning_assets.platforms.warehouse import WarehouseSource
from learning_assets.settings import Warehouse
from learning_assets.store.address import Address

KINDS: dict[str, Any] = {
    "date": sa.Date,
    "impressions": sa.BigInteger,
    "inline_link_clicks": sa.BigInteger,
    "clicks": sa.BigInteger,
    "reach": sa.BigInteger,
    "spend": sa.Double,
    "value": sa.Double,
    "_7_d_click": sa.Double,
    "_1_d_view": sa.Double,
    "inline": sa.Double,
    "index": sa.Integer,
    "_fivetran_synced": sa.DateTime(timezone=True),
    "updated_time": sa.DateTime(timezone=True),
    "start_time": sa.DateTime(timezone=True),
    "end_time": sa.DateTime(timezone=True),
    "_fivetran_deleted": sa.Boolean,
    "daily_budget": sa.BigInteger,
}
IDS = ("id", "ad_id", "account_id", "ad_set_id", "campaign_id", "creative_id")
SYNCED = datetime(2026, 9, 10, 6, tzinfo=UTC)
FIRST, LAST = date(2026, 9, 1), date(2026, 9, 3)

Rows = Sequence[dict[str, Any]]
Load = Callable[..., WarehouseSource]


def kind(column: str, *, text: bool) -> Any:
    """The type that the connector gives a column; `text` where everything is text."""
    if text:
        return sa.Text()
    return KINDS.get(column, sa.BigInteger() if column in IDS else sa.Text())


@pytest.fixture
def engine(database: Address) -> Iterator[sa.Engine]:
    made = sa.create_engine(database.learning())
    yield made
    made.dispose()


@pytest.fixture
def load(database: Address, engine: sa.Engine) -> Load:
    """Make the tables (name → rows) in a schema, and open them."""

    def make(tables: dict[str, Rows], *, text: bool = False, schema: str = "facebook_ads", **settings: Any) -> WarehouseSource:
        with engine.begin() as connection:
            connection.execute(sa.text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
            for name, rows in tables.items():
                columns = [sa.Column(column, kind(column, text=text)) for column in {c: 0 for row in rows for c in row}]
                table = sa.Table(settings.get("prefix", "") + name, sa.MetaData(schema=schema), *columns)
                table.drop(connection, checkfirst=True)
                table.create(connection)
                connection.execute(
                    sa.insert(table), [{column.name: row.get(column.name) for column in columns} for row in rows]
                )
        url = settings.pop("url", database.learning())
        return WarehouseSource(Warehouse.model_validate({"url": url, "db_schema": schema, **settings}))

    return make


def fact(day: str, ad: int, impressions: int = 1000, clicks: int = 20, spend: float = 5.5, **more: Any) -> dict[str, Any]:
    row = {
        "ad_id": ad,
        "date": date.fromisoformat(day),
        "account_id": 1,
        "impressions": impressions,
        "inline_link_clicks": clicks,
    }
    return row | {"spend": spend, "reach": 900, "_fivetran_synced": SYNCED} | more


def action(day: str, ad: int, type_: str, value: float | None, **more: Any) -> dict[str, Any]:
    row = {"ad_id": ad, "date": date.fromisoformat(day), "action_type": type_, "value": value, "_fivetran_id": f"{day}-{ad}"}
    return row | {"_7_d_click": None, "_1_d_view": None} | more


def version(id_: int, updated: str, **more: Any) -> dict[str, Any]:
    moment = datetime.fromisoformat(updated).replace(tzinfo=UTC)
    return {"id": id_, "account_id": 1, "updated_time": moment, "_fivetran_synced": moment, **more}


def ad(id_: int, updated: str = "2026-08-01T00:00:00", **more: Any) -> dict[str, Any]:
    return version(id_, updated, **{"ad_set_id": id_ + 100, "campaign_id": 7, "creative_id": id_ + 500, **more})


ACCOUNT = {"id": 1, "name": "Shoes", "currency": "USD", "timezone_name": "America/New_York", "_fivetran_synced": SYNCED}
TABLES: dict[str, Rows] = {
    "basic_ad": [fact("2026-09-01", 10), fact("2026-09-02", 10, 1100, 22, 6.1234567), fact("2026-09-02", 11, 500, 5, 2)],
    "basic_ad_actions": [
        action("2026-09-01", 10, "purchase", 9),
        action("2026-09-01", 10, "omni_purchase", 3, _7_d_click=2, _1_d_view=1),
        action("2026-09-01", 10, "video_view", 310),
        action("2026-09-02", 11, "lead", 4),
    ],
    "basic_ad_action_values": [action("2026-09-01", 10, "omni_purchase", 150.5), action("2026-09-01", 10, "purchase", 999)],
    "account_history": [ACCOUNT],
    "ad_history": [ad(10), ad(11)],
}


def actuals(source: WarehouseSource, *columns: str) -> list[tuple[Any, ...]]:
    return source.actuals(FIRST, LAST, LAST).rows.select(columns).rows()


def test_answers_have_the_protocols_schemas(load: Load):
    source: Source = load(TABLES)
    fetched = source.actuals(FIRST, LAST, LAST)
    assert (fetched.rows.schema, fetched.manifest.schema) == (ACTUALS, MANIFEST)
    assert (source.catalog(FIRST).rows.schema, source.catalog(FIRST).manifest.schema) == (CATALOG, MANIFEST)
    assert (source.hourly(FIRST).rows.schema, source.hourly(FIRST).rows.height) == (HOURLY, 0)
    people = source.reach(FIRST, LAST)
    assert (people.rows.schema, people.rows.height, people.manifest.schema, people.manifest.height) == (REACH, 0, MANIFEST, 0)
    assert source.accounts().schema == ACCOUNTS
    assert (source.kind, source.cadence, source.looks_back) == ("ads", "day", False)
    assert source.accounts().rows() == [("1", "1", "Shoes", "USD", "America/New_York", None)]
    assert (source.first_day(), source.last_day(date(2026, 9, 5)), source.last_day(date(2027, 1, 1))) == (
        FIRST,
        date(2026, 9, 4),
        date(2026, 9, 9),
    )


@pytest.mark.parametrize("text", [False, True])
def test_facts(load: Load, text: bool):
    """Types as the connector has them, and everything as text."""
    shown = {
        name: [{c: str(v) if text and v is not None else v for c, v in row.items()} for row in rows]
        for name, rows in TABLES.items()
    }
    source = load(shown, text=text)
    assert actuals(
        source, "date", "ad_id", "impressions", "link_clicks", "spend_micros", "reach", "clicks_all", "currency"
    ) == [
        (FIRST, "10", 1000, 20, 5_500_000, 900, None, "USD"),
        (date(2026, 9, 2), "10", 1100, 22, 6_123_457, 900, None, "USD"),
        (date(2026, 9, 2), "11", 500, 5, 2_000_000, 900, None, "USD"),
    ]


def test_conversions_are_of_one_type_and_their_value_of_the_same(load: Load):
    source = load(TABLES)
    names = (
        "conversion_type",
        "conversions",
        "revenue_micros",
        "conversions_7d_click",
        "conversions_1d_view",
        "video_3s_views",
    )
    assert actuals(source, *names) == [
        ("omni_purchase", 3, 150_500_000, 2, 1, 310),
        ("omni_purchase", None, None, None, None, None),
        ("omni_purchase", None, None, None, None, None),
    ]
    leads = actuals(load(TABLES, conversions="lead"), "conversion_type", "conversions", "revenue_micros")
    assert leads == [("lead", None, None), ("lead", None, None), ("lead", 4, None)]
    own = actuals(load(TABLES, conversions="purchase"), "conversion_type")
    assert own == actuals(source, "conversion_type")
    assert (
        actuals(load(TABLES, conversions="offsite_conversion.custom.9"), "conversion_type", "conversions") == [(None, None)] * 3
    )


def test_the_type_is_chosen_over_all_days(load: Load):
    """A day alone and a range with it count the same."""
    source = load(TABLES)
    later = date(2026, 9, 2)
    assert source.actuals(later, later, later).rows["conversion_type"].to_list() == ["omni_purchase"] * 2


def test_parts_of_one_report_add_up(load: Load):
    tables = TABLES | {
        "basic_ad_actions": [
            action("2026-09-01", 10, "omni_purchase", 3, index=1),
            action("2026-09-01", 10, "omni_purchase", 2, index=2),
        ]
    }
    assert actuals(load(tables), "conversions")[0] == (5,)


@pytest.mark.parametrize(
    ("table", "row", "what"),
    [
        (
            "basic_ad",
            fact("2026-09-01", 30, -1),
            "facebook_ads.basic_ad has a count or amount below 0 for the ad 30 of the account 1",
        ),
        (
            "basic_ad",
            fact("2026-09-01", 30, 10, 11),
            "facebook_ads.basic_ad has more link clicks than impressions for the ad 30",
        ),
        (
            "basic_ad",
            fact("2026-09-01", 10, 1001),
            "facebook_ads.basic_ad has several rows that differ for the ad 10 of the account 1",
        ),
        (
            "basic_ad_actions",
            action("2026-09-02", 10, "omni_purchase", 1.5),
            "basic_ad_actions has a count that is not a whole number for",
        ),
        (
            "basic_ad_actions",
            action("2026-09-02", 10, "omni_purchase", -1),
            "basic_ad_actions has a count below 0 for the ad 10",
        ),
        (
            "basic_ad_actions",
            action("2026-09-01", 10, "omni_purchase", 1, _fivetran_id="x"),
            "has one action from several reports for the",
        ),
        (
            "basic_ad_action_values",
            action("2026-09-02", 10, "omni_purchase", float("nan")),
            "has a value that is below 0 or no number",
        ),
    ],
)
def test_an_account_that_contradicts_itself_is_left_out_and_the_others_stay(
    load: Load, table: str, row: dict[str, Any], what: str
):
    other = fact("2026-09-01", 20, account_id=2)
    tables = TABLES | {"basic_ad": [*TABLES["basic_ad"], other]}
    source = load(tables | {table: [*tables[table], row]})
    fetched = source.actuals(FIRST, FIRST, FIRST) if "2026-09-01" in str(row["date"]) else source.actuals(FIRST, LAST, LAST)
    assert fetched.rows["account_id"].unique().to_list() == ["2"]
    first = fetched.manifest.filter(pl.col("account_id") == "1").row(0, named=True)
    assert (first["status"], first["rows"]) == ("incomplete", 0)
    assert what in first["reason"]
    assert first["reason"].endswith("let the connector sync the account again")
    assert fetched.manifest.filter(pl.col("account_id") == "2")["status"][0] == "complete"


def test_a_row_that_stands_twice_is_one(load: Load):
    assert len(actuals(load(TABLES | {"basic_ad": [*TABLES["basic_ad"], TABLES["basic_ad"][0]]}), "ad_id")) == 3


def test_a_row_that_was_deleted_is_left_out(load: Load):
    rows = [row | {"_fivetran_deleted": row["ad_id"] == 11} for row in TABLES["basic_ad"]]
    assert actuals(load(TABLES | {"basic_ad": rows}), "ad_id") == [("10",), ("10",)]


def test_a_day_is_complete_once_the_connector_has_synced_after_it(load: Load):
    """06:00 UTC on 2 September is 2 September in New York: that day runs. In Honolulu it is the first still."""
    synced = datetime(2026, 9, 2, 6, tzinfo=UTC)
    rows = [row | {"_fivetran_synced": synced} for row in [*TABLES["basic_ad"], fact("2026-09-01", 20, account_id=2)]]
    accounts = [ACCOUNT, ACCOUNT | {"id": 2, "timezone_name": "Pacific/Honolulu"}]
    source = load(TABLES | {"basic_ad": rows, "account_history": accounts})
    fetched = source.actuals(FIRST, LAST, LAST)
    assert fetched.rows.select("account_id", "date", "complete").unique(maintain_order=True).rows() == [
        ("1", FIRST, True),
        ("2", FIRST, False),
        ("1", date(2026, 9, 2), False),
    ]
    assert fetched.manifest.select("account_id", "status").rows() == [
        ("1", "complete"),
        ("2", "running"),
        ("1", "running"),
        ("2", "incomplete"),
        ("1", "incomplete"),
        ("2", "incomplete"),
    ]
    assert (
        fetched.manifest["reason"][3]
        == "the connector has synced the account 2 up to 2026-09-01 only: wait for it, or start it"
    )
    assert fetched.manifest["requested_at"][0] == synced
    assert source.last_day(date(2026, 12, 1)) == FIRST


def test_without_a_time_of_sync_the_newest_day_is_not_complete(load: Load):
    rows = [{name: value for name, value in row.items() if name != "_fivetran_synced"} for row in TABLES["basic_ad"]]
    source = load(TABLES | {"basic_ad": rows})
    assert actuals(source, "date", "complete", "is_final") == [
        (FIRST, True, False),
        (date(2026, 9, 2), False, False),
        (date(2026, 9, 2), False, False),
    ]


def test_days_older_than_28_are_final(load: Load):
    rows = [fact("2026-08-13", 10), fact("2026-08-14", 10)]
    found = load(TABLES | {"basic_ad": rows}).actuals(date(2026, 8, 1), LAST, LAST).rows
    assert found["is_final"].to_list() == [True, False]


HISTORIES: dict[str, Rows] = {
    "ad_history": [
        ad(10, "2026-08-01T00:00:00", effective_status="ACTIVE"),
        # 23:00 in New York on the first.
        ad(10, "2026-09-02T03:00:00", effective_status="PAUSED", creative_id=999),
        ad(10, "2026-09-03T12:00:00", effective_status="ARCHIVED"),
        ad(11, "2026-09-05T00:00:00", effective_status="PAUSED"),
        ad(12, effective_status="ACTIVE"),
        ad(13, effective_status="ACTIVE"),
        ad(14, effective_status="ACTIVE", _fivetran_deleted=True),
        ad(15, effective_status="PAUSED"),
    ],
    "ad_set_history": [
        version(112, "2026-08-01T00:00:00", daily_budget=5000, start_time=datetime(2026, 8, 1, tzinfo=UTC), optimization_goal="REACH"),
        version(113, "2026-08-01T00:00:00", daily_budget=0, start_time=datetime(2026, 9, 2, 12, tzinfo=UTC), optimization_goal=None),
    ],
    "campaign_history": [version(7, "2026-08-01T00:00:00", daily_budget=None)],
    "creative_history": [
        {"id": 999, "body": "", "object_story_link_data_message": "Hello", "title": "Shoes", "call_to_action_type": "SHOP_NOW", "_fivetran_synced": SYNCED},
        {"id": 512, "video_id": "77", "object_story_link_data_child_attachments": None, "_fivetran_synced": SYNCED},
        {"id": 513, "object_story_link_data_child_attachments": '[{"link":"a"}, {"link":"b"}]', "_fivetran_synced": SYNCED},
    ],
}  # fmt: skip


def test_the_catalog_is_as_of_the_end_of_the_accounts_day(load: Load):
    source = load(TABLES | HISTORIES)
    names = (
        "ad_id",
        "ad_set_id",
        "creative_id",
        "status",
        "starts_on",
        "budget_owner",
        "budget_micros",
        "optimization_goal",
        "template",
    )
    day_before = date(2026, 8, 31)
    assert source.catalog(day_before).rows.select(names).rows() == [
        ("10", "110", "510", "active", None, None, None, None, None),
        ("12", "112", "512", "active", date(2026, 7, 31), "ad_set", 50_000_000, "REACH", "video"),
    ]
    first = source.catalog(FIRST).rows.select(names)
    assert first.rows() == [
        ("10", "110", "999", "paused", None, None, None, None, None),
        ("12", "112", "512", "active", date(2026, 7, 31), "ad_set", 50_000_000, "REACH", "video"),
        ("13", "113", "513", "scheduled", date(2026, 9, 2), None, None, None, "carousel"),
    ]
    second = source.catalog(date(2026, 9, 2)).rows
    # The only version of 11 is of later: what it belongs to is taken from it, its status is not.
    assert second.select("ad_id", "ad_set_id", "status").rows()[:2] == [("10", "110", "paused"), ("11", "111", "active")]
    texts = second.filter(pl.col("ad_id") == "10").select("headline", "body", "cta", "description", "currency")
    assert texts.rows() == [("Shoes", "Hello", "SHOP_NOW", None, "USD")]


def test_budgets_of_an_unknown_currency_are_unknown(load: Load):
    tables = TABLES | HISTORIES | {"account_history": [ACCOUNT | {"currency": "XTS"}]}
    assert load(tables).catalog(FIRST).rows["budget_micros"].null_count() == 3
    yen = TABLES | HISTORIES | {"account_history": [ACCOUNT | {"currency": "JPY"}]}
    assert load(yen).catalog(FIRST).rows["budget_micros"].drop_nulls().to_list() == [5_000_000_000]


def test_optional_tables_may_be_missing(load: Load):
    tables = {name: rows for name, rows in TABLES.items() if name != "basic_ad_action_values"}
    source = load(tables, schema="other", prefix="fb_")
    assert actuals(source, "conversions", "revenue_micros")[0] == (3, None)
    assert source.catalog(FIRST).rows.select("ad_id", "creative_id", "status").rows() == [("10", "510", "active")]


@pytest.mark.parametrize("table", ["basic_ad", "basic_ad_actions", "account_history", "ad_history"])
def test_a_missing_table_is_named(load: Load, table: str):
    source = load({name: rows for name, rows in TABLES.items() if name != table})
    with pytest.raises(SourceError) as error:
        source.catalog(FIRST) if table == "ad_history" else source.actuals(FIRST, LAST, LAST)
    assert str(error.value).startswith(f"The warehouse has no table facebook_ads.{table}. Tables there: ")
    assert "Set LEARNING_WAREHOUSE_DB_SCHEMA and LEARNING_WAREHOUSE_PREFIX" in str(error.value)


@pytest.mark.parametrize("column", ["account_id", "inline_link_clicks", "spend"])
def test_a_missing_column_is_named(load: Load, column: str):
    rows = [{name: value for name, value in row.items() if name != column} for row in TABLES["basic_ad"]]
    with pytest.raises(
        SourceError, match=rf"^The table facebook_ads.basic_ad has no column {column}. Its columns are ad_id, date, "
    ):
        load(TABLES | {"basic_ad": rows}).first_day()


def test_a_time_zone_that_is_none_is_named(load: Load):
    source = load(TABLES | {"account_history": [ACCOUNT | {"timezone_name": "Mars/Olympus"}]})
    with pytest.raises(SourceError, match="The account 1 has the time zone 'Mars/Olympus' in account_history"):
        source.accounts()


def test_no_facts(load: Load, engine: sa.Engine):
    source = load(TABLES)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM facebook_ads.basic_ad"))
    assert (source.first_day(), source.last_day(LAST)) == (None, date(2026, 9, 2))
    fetched = source.actuals(FIRST, LAST, LAST)
    assert (fetched.rows.schema, fetched.rows.height) == (ACTUALS, 0)
    assert fetched.manifest["status"].to_list() == ["incomplete"] * 3
    assert fetched.manifest["reason"][0].startswith("the warehouse has no facts at all, so none of the account 1")


def test_accounts_without_new_facts(load: Load):
    """One that has slept for long has no data; one whose facts have just ended may have been synced no more."""
    old = fact("2026-07-01", 20, account_id=2, _fivetran_synced=datetime(2026, 7, 29, tzinfo=UTC))
    stuck = fact("2026-08-20", 30, account_id=3, _fivetran_synced=datetime(2026, 8, 21, tzinfo=UTC))
    never = ACCOUNT | {"id": 4}
    source = load(TABLES | {"basic_ad": [*TABLES["basic_ad"], old, stuck], "account_history": [ACCOUNT, never]})
    manifest = source.actuals(FIRST, FIRST, FIRST).manifest
    assert manifest.select("account_id", "status").rows() == [
        ("1", "complete"),
        ("2", "no_data"),
        ("3", "incomplete"),
        ("4", "no_data"),
    ]


def test_nothing_is_written(load: Load):
    """The transaction itself is read only."""
    source = load(TABLES)
    with pytest.raises(SourceError, match="cannot execute DELETE in a read-only transaction"), source._open() as tables:
        tables.connection.execute(sa.text("DELETE FROM facebook_ads.basic_ad"))


def test_a_bound_parameter_is_no_sql(load: Load):
    source = load(TABLES, conversions="x'; DROP TABLE facebook_ads.basic_ad; --")
    assert len(actuals(source, "ad_id")) == 3


SECRET = "p%40ss-w0rd"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://reader:{SECRET}@127.0.0.1:1/facts",
        f"postgres://reader:{SECRET}@nowhere.invalid:1/facts",
        f"postgresql://reader@127.0.0.1:1/facts?password={SECRET}",
        f"postgresql://reader:{SECRET}@127.0.0.1:port/facts",
        f"nosuchdialect://reader:{SECRET}@127.0.0.1/facts",
        f"reader:{SECRET}@127.0.0.1",
    ],
)
def test_a_password_is_never_shown(url: str):
    with pytest.raises(SourceError) as error:
        WarehouseSource(Warehouse.model_validate({"url": url})).accounts()
    told = "".join(traceback.format_exception(error.value))
    assert "LEARNING_WAREHOUSE_URL" in str(error.value)
    assert SECRET not in told
    assert "p@ss-w0rd" not in told
    assert "w0rd" not in repr(WarehouseSource(Warehouse.model_validate({"url": url})).settings)


def test_no_address(load: Load):
    with pytest.raises(SourceError, match="needs LEARNING_WAREHOUSE_URL"):
        load(TABLES, url=None).accounts()


def test_an_address_without_a_driver_is_understood(load: Load, database: Address):
    assert load(TABLES, url=database.learning().replace("+psycopg", "")).first_day() == FIRST


@pytest.fixture
def real(load: Load, shared_data: Path) -> tuple[WarehouseSource, dict[str, pl.DataFrame]]:
    """The connector's masked rows, loaded as they are."""
    folder = shared_data / "facebook_connector_schema"
    if not folder.is_dir():
        pytest.skip(f"the connector's rows are not at {folder}")
    names = {
        path.name.removeprefix("facebook_ads_").removesuffix("_data.csv").removesuffix("_json"): path
        for path in folder.glob("*.csv")
        if "demographics" not in path.name
    }
    tables = {name: pl.read_csv(path, infer_schema=False) for name, path in names.items()}
    whole = {"impressions", "inline_link_clicks", "reach", "index", *IDS}
    decimals = {"spend", "value", "_7_d_click", "_1_d_view", "inline"}

    def typed(frame: pl.DataFrame) -> Rows:
        return frame.with_columns(
            *(pl.col(name).cast(pl.Int64) for name in frame.columns if name in whole),
            *(pl.col(name).cast(pl.Float64) for name in frame.columns if name in decimals),
            *(pl.col(name).str.to_date() for name in frame.columns if name == "date"),
            *(
                pl.col(name).str.replace(" ", "T").str.to_datetime(time_zone="UTC")
                for name in frame.columns
                if name in ("_fivetran_synced", "updated_time")
            ),
        ).to_dicts()

    return load({name: typed(frame) for name, frame in tables.items()}), tables


def test_the_connectors_own_rows(real: tuple[WarehouseSource, dict[str, pl.DataFrame]]):
    """Sums of what is read against sums straight from the files."""
    source, raw = real
    facts = raw["basic_ad"]
    first, last = date(2020, 12, 1), date(2020, 12, 31)
    found = source.actuals(first, last, last).rows
    assert found.height == facts.height
    for ours, theirs in (("impressions", "impressions"), ("link_clicks", "inline_link_clicks"), ("reach", "reach")):
        assert found[ours].sum() == facts[theirs].cast(pl.Int64).sum()
    assert found["spend_micros"].sum() == round(facts["spend"].cast(pl.Float64).sum() * 1_000_000)
    # The rows hold purchases in their values only, so nothing counts as a purchase; their leads stand under two names and are counted once.
    assert found["conversions"].null_count() == found.height
    leads = WarehouseSource(source.settings.model_copy(update={"conversions": "lead"})).actuals(first, last, last).rows
    assert set(leads["conversion_type"]) == {"lead"}
    ours = WarehouseSource(source.settings.model_copy(update={"conversions": "offsite_conversion.fb_pixel_lead"}))
    direct = (
        raw["basic_ad_actions"]
        .filter(pl.col("action_type") == "offsite_conversion.fb_pixel_lead")
        .join(facts.select("ad_id", "date"), on=["ad_id", "date"], how="semi")
    )
    counted = ours.actuals(first, last, last).rows
    assert counted["conversions"].sum() == direct["value"].cast(pl.Float64).sum() > 0
    assert counted["conversions_7d_click"].sum() == direct["_7_d_click"].cast(pl.Float64).sum()


def test_the_connectors_own_catalog(real: tuple[WarehouseSource, dict[str, pl.DataFrame]]):
    source, raw = real
    assert source.accounts()["account_id"].to_list() == ["1700252260223815"]
    assert source.accounts()["currency"].to_list() == [None]
    day = date(2020, 12, 5)
    shown = raw["basic_ad"].filter(pl.col("date") == str(day))["ad_id"].sort().to_list()
    listed = source.catalog(day).rows
    assert listed["ad_id"].to_list() == shown
    history = raw["ad_history"].unique("id").select(pl.col("id").alias("ad_id"), pl.col("campaign_id").alias("campaign"))
    joined = listed.join(history, on="ad_id")
    assert joined.height == len(shown)
    assert joined["campaign_id"].to_list() == joined["campaign"].to_list()
    assert source.first_day() == date(2020, 12, 2)
