"""Tables: a day is replaced whole or not at all, every read stands before a wall, and every value comes back as it was."""

import math
from datetime import UTC, date, datetime

import polars as pl
import pytest
from sqlalchemy.dialects import postgresql as pg

from learning_assets.store import migrations, schema
from learning_assets.store.store import Store
from learning_assets.store.tables import TableError, frame_schema
from learning_assets.store.walls import PIPELINE, Wall

DAY = date(2026, 2, 1)
NOW = datetime(2026, 2, 2, 3, tzinfo=UTC)


def _rows(table: str, **values: list[object]) -> pl.DataFrame:
    columns = frame_schema(schema.metadata.tables[table])
    height = len(next(iter(values.values())))
    return pl.DataFrame(
        {name: values.get(name, [None] * height) for name in columns if name != "revision"}, schema_overrides=columns
    )


def _manifest(day: date, **values: list[object]) -> pl.DataFrame:
    height = len(values["account_id"])
    fixed = {"as_of": [day], "fact": ["daily"], "owner": ["o"], "status": ["complete"], "rows": [1], "seconds": [0.1]}
    return _rows("fetch_manifest", **{name: value * height for name, value in fixed.items()} | values)


def test_the_migrated_tables_are_those_of_the_schema(store: Store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.tables.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": migrations.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []


def test_a_day_is_replaced_and_counted(store: Store):
    tables = store.tables
    first = tables.replace_day("fetch_manifest", DAY, _manifest(DAY, account_id=["a", "b"]), now=NOW)
    again = tables.replace_day("fetch_manifest", DAY, _manifest(DAY, account_id=["c"]), now=NOW)
    assert (first.rows, first.revision, again.rows, again.revision) == (2, 1, 1, 2)
    assert tables.read("fetch_manifest", PIPELINE)["account_id"].to_list() == ["c"]


def test_a_day_without_rows_is_a_day_that_was_written(store: Store):
    store.tables.replace_day("fetch_manifest", DAY, _manifest(DAY, account_id=[]), now=NOW)
    assert store.newest_day("fetch_manifest") == DAY


def test_onward_takes_the_later_days_away(store: Store):
    later = date(2026, 2, 3)
    store.tables.replace_day("fetch_manifest", later, _manifest(later, account_id=["a"]), now=NOW)
    store.tables.replace_day("fetch_manifest", DAY, _manifest(DAY, account_id=["a"]), now=NOW, onward=True)
    assert store.tables.read("fetch_manifest", PIPELINE)["as_of"].to_list() == [DAY]
    assert store.newest_day("fetch_manifest") == DAY


def test_every_kind_of_value_comes_back(store: Store):
    rows = _rows(
        "creative_dna",
        account_id=["a", "b"],
        creative_id=["1", "2"],
        owner=["x", "y"],
        first_seen=[DAY, DAY],
        version=["1", "1"],
        text=['He said: "no", \\ and\nleft, {then} NULL', ""],
        embedding=[bytes(range(256)), None],
        hook_types=[["question", 'a"b\\c,{d}'], []],
        hook_confidences=[[0.25, None], None],
        hook_sources=[["NULL", None], [None]],
        reading_ease=[-3.5, None],
        hook_words=[7, None],
    )
    store.tables.upsert("creative_dna", rows)
    found = store.tables.read("creative_dna", PIPELINE).sort("account_id")
    assert found.equals(rows.select(found.columns).sort("account_id"))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_not_a_number_is_refused_and_nothing_changes(store: Store, number: float):
    store.tables.replace_day("fetch_manifest", DAY, _manifest(DAY, account_id=["a"]), now=NOW)
    with pytest.raises(TableError, match=r"fetch_manifest, row 1, column 'seconds': .* must be NULL"):
        store.tables.replace_day("fetch_manifest", DAY, _manifest(DAY, account_id=["b", "c"], seconds=[1.0, number]), now=NOW)
    assert store.tables.read("fetch_manifest", PIPELINE)["account_id"].to_list() == ["a"]


def test_wrong_columns_and_days_are_named(store: Store):
    with pytest.raises(TableError, match=r"columns missing: .*'seconds'"):
        store.tables.replace_day("fetch_manifest", DAY, _manifest(DAY, account_id=["a"]).drop("seconds"), now=NOW)
    with pytest.raises(TableError, match="rows of another day"):
        store.tables.replace_day("fetch_manifest", DAY, _manifest(date(2026, 1, 1), account_id=["a"]), now=NOW)
    with pytest.raises(TableError, match="no table 'no_such_table'"):
        store.tables.read("no_such_table", PIPELINE)


def test_latest_reads_the_newest_day_up_to_a_day(store: Store):
    for day in (date(2026, 2, 1), date(2026, 2, 2), date(2026, 2, 5)):
        store.tables.replace_day("fetch_manifest", day, _manifest(day, account_id=["a"]), now=NOW)
    found = store.tables.read("fetch_manifest", PIPELINE, until=date(2026, 2, 4), latest=True)
    assert found["as_of"].to_list() == [date(2026, 2, 2)]


def test_no_read_of_an_owner_returns_a_row_of_another(store: Store):
    """Every table is filled with rows of two owners; whatever an owner reads is the owner's or nobody's."""
    accounts = pl.DataFrame(
        {
            "account_id": ["a", "b"],
            "owner": ["ann", "bob"],
            "name": ["A", "B"],
            "currency": ["EUR", "JPY"],
            "timezone": ["UTC", "UTC"],
            "consents": [True, True],
        }
    )
    store.register(accounts)
    for name, table in schema.metadata.tables.items():
        if name in ("accounts", "owners", "consents") or "owner" not in table.c:
            continue
        kinds = frame_schema(table)
        texts_of_key = [column.name for column in table.primary_key.columns if kinds[column.name] == pl.String]
        texts_of_key = [column for column in texts_of_key if column != "owner"]
        filler = {
            pl.String: "x",
            pl.Date: DAY,
            pl.Int64: 1,
            pl.Float64: 0.5,
            pl.Boolean: True,
            pl.Binary: b"x",
            pl.List: [],
            pl.Datetime: NOW,
        }
        rows = [
            {
                column: who
                if column == "owner"
                else ("{}" if isinstance(table.c[column].type, pg.JSONB) else filler.get(kind.base_type()))
                for column, kind in kinds.items()
            }
            | {column: f"{name}-{who}" for column in (*texts_of_key, "account_id", "pool") if column in kinds}
            for who in ("ann", "bob")
        ]
        frame = pl.DataFrame(rows, schema=kinds)
        if "as_of" in kinds and not table.primary_key.columns:
            store.tables.replace_day(name, DAY, frame.drop("revision", strict=False), now=NOW)
        else:
            store.tables.upsert(name, frame)
    owned = 0
    for name in schema.metadata.tables:
        seen = store.tables.read(name, Wall("ann"))
        assert "bob" not in str(seen.to_dicts()), name
        owned += int("ann" in str(seen.to_dicts()))
    assert owned >= 8
    assert store.accounts(Wall("ann"))["account_id"].to_list() == ["a"]
