"""What a language model was asked and what it said: the cache by which no text is sent twice, and the ledger that budgets are kept by.

What belongs here: reading and adding rows of `llm_calls`. What does not: asking (`platforms`), and whose texts may be sent (`store.consenting`).
Answers are an owner's own: the same text of another owner is asked about anew.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from learning_assets.store import schema
from learning_assets.store.tables import Tables
from learning_assets.store.walls import Wall


def asked(tables: Tables, owner: str, purpose: str, hashes: Sequence[str], failures: Sequence[str]) -> pl.DataFrame:
    """What is known of some questions of an owner.

    Parameters
    ----------
    failures : statuses that are counted as failures.

    Returns
    -------
    One row per question that was asked before: `request_hash`, `answer` (JSON text, the newest one; NULL where none came yet), `attempts`
    (Int64, rows of the ledger), `failures` (Int64, those of such a status).
    """
    rows = tables.read(
        "llm_calls",
        Wall(owner),
        columns=["request_hash", "attempt", "answer", "status"],
        purpose=purpose,
        request_hash=list(hashes),
    )
    return (
        rows.sort("attempt")
        .group_by("request_hash", maintain_order=True)
        .agg(
            answer=pl.col("answer").drop_nulls().last(),
            attempts=pl.col("attempt").max(),
            failures=pl.col("status").is_in(list(failures)).sum().cast(pl.Int64),
        )
    )


def spent_usd_micros(tables: Tables, since: datetime) -> int:
    """What all questions since a moment cost at most, of every owner and purpose; millionths of a US dollar."""
    calls = schema.llm_calls
    query = sa.select(sa.func.coalesce(sa.func.sum(calls.c.cost_usd_micros), 0)).where(calls.c.at >= since)
    with tables.engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def record(tables: Tables, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows of `llm_calls`; `answer` is what JSON can hold, or None."""
    if rows:
        tables.execute(sa.insert(schema.llm_calls), list(rows))
