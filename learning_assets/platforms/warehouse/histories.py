"""What a table of versions said at the end of a day.

What belongs here: choosing one version per id, and one text where several columns may hold it. What does not: what versions of ads, ad sets,
campaigns and creatives mean together (`catalog`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from learning_assets.platforms.warehouse.tables import UTC_TIME, Tables


def versions(tables: Tables, table: str, columns: Mapping[str, tuple[str, ...]], ends: pl.DataFrame) -> pl.DataFrame:
    """One row per id of a history: its newest version as of the end of the account's day (`ends`: account_id, end; a single row of account_id NULL
    holds for accounts that are not in it), else its oldest, whose `early` is then set.

    `columns`: ours and theirs, of which the first that says something counts. A name of ours that ends with `_time` is a time, all others are texts.
    """
    kinds = tables.columns(table)
    candidates = {
        f"{ours} {place}": theirs
        for ours, several in columns.items()
        for place, theirs in enumerate(several)
        if theirs in kinds
    }
    chosen = _one_per_id(_placed_in_time(_every_version(tables, table, candidates), ends))
    return chosen.select("id", "account_id", "early", "deleted", *(_first_said(ours, candidates) for ours in columns))


def _kind(ours: str) -> Any:
    return UTC_TIME if ours.endswith("_time") else pl.String


def _ours(candidate: str) -> str:
    return candidate.rsplit(" ", 1)[0]


def _every_version(tables: Tables, table: str, candidates: Mapping[str, str]) -> pl.DataFrame:
    """All rows of a history, with when they were updated and synced, and the candidates of our columns; none where there is no such table."""
    schema: dict[str, Any] = {
        "id": pl.String,
        "account_id": pl.String,
        "updated": UTC_TIME,
        "synced": UTC_TIME,
        "deleted": pl.Boolean,
    }
    schema |= {name: _kind(_ours(name)) for name in candidates}
    if not tables.columns(table):
        return pl.DataFrame(schema=schema)
    names = {
        "id": "id",
        "account_id": "account_id",
        "updated": "updated_time",
        "synced": "_fivetran_synced",
        "deleted": "_fivetran_deleted",
    }
    return tables.select(table, schema, {**names, **candidates})


def _placed_in_time(found: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """Versions with when they began (from), whether that was after the day (early: the day is too early for them), and whether they were
    deleted by its end."""
    return (
        found.join(ends, on="account_id", how="left")
        .with_columns(pl.col("end").fill_null(ends["end"].max()), pl.coalesce("updated", "synced").alias("from"))
        .with_columns(
            ((pl.col("from") >= pl.col("end")) | pl.col("from").is_null()).fill_null(value=True).alias("early"),
            # A mark that was set by a later sync says nothing about the day.
            (pl.col("deleted") & (pl.col("synced") < pl.col("end"))).fill_null(value=False).alias("deleted"),
        )
    )


def _one_per_id(found: pl.DataFrame) -> pl.DataFrame:
    """The newest version of those that were known, else the oldest that came later."""
    began = pl.col("from").dt.epoch("us")
    return (
        found.with_columns(order=pl.when("early").then(-began).otherwise(began), synced=pl.col("synced").dt.epoch("us"))
        .sort(~pl.col("early"), "order", "synced", nulls_last=False)
        .group_by("id", maintain_order=True)
        .last()
    )


def _first_said(ours: str, candidates: Iterable[str]) -> pl.Expr:
    """The first of a column's candidates that is neither missing nor blank."""
    kind = _kind(ours)
    several = [
        pl.col(name) if kind == UTC_TIME else pl.when(pl.col(name).str.strip_chars() != "").then(name)
        for name in candidates
        if _ours(name) == ours
    ]
    return (pl.coalesce(several) if several else pl.lit(None, dtype=kind)).alias(ours)
