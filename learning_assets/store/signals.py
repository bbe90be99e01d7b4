"""The ledger of purchase signals: what was told, once each, in the order in which it can be read.

What belongs here: recording signals and counting them by what rests on them. What does not: reading them from a command or a file
(`learning_assets.signalling`), when they start a retrain check (`automation.sensors`) and what they change in the memory of winners
(`learning.memory`).

**Order.** Signals are numbered while no other process can record any, so that whoever has read up to a number has missed none before it.

**Days.** A signal counts on the date (UTC) on which it was received, which no later event changes: a replay sees what the first run saw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl
import sqlalchemy as sa

from learning_assets.store import schema
from learning_assets.store.tables import Tables

SIGNALS = pl.Schema(
    {
        **dict.fromkeys(("account_id", "signal_id", "owner"), pl.String),
        "at": pl.Datetime("us", "UTC"),
        **dict.fromkeys(("creative_id", "ad_id"), pl.String),
        "value_micros": pl.Int64,
        **dict.fromkeys(("currency", "source"), pl.String),
    }
)
"""Signals as they are told: `signal_id` is the teller's own, `at` when the purchase was made; creative, ad, value and currency may be NULL."""

TOLD = pl.Schema({**dict.fromkeys(("account_id", "creative_id", "ad_id"), pl.String), "signals": pl.Int64})
"""How many signals named a creative, or an ad."""

_LEDGER = schema.purchase_signals


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of signals that were told: how many are new, and how many were known already and stay as they were."""

    new: int
    known: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """Signals after a number: how many, of how many accounts, and the number of the newest."""

    signals: int
    accounts: int
    newest: int


class Signals:
    """The ledger of one database."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def record(self, signals: pl.DataFrame, now: datetime) -> Recorded:
        """Add signals (schema SIGNALS) that are not known yet; one whose id the account has used before is the same signal.

        Either all are recorded or none.
        """
        once = signals.unique(["account_id", "signal_id"], keep="first", maintain_order=True)
        with self._tables.engine.begin() as connection:
            # Numbers of two that record at once would become readable in another order.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(_LEDGER.name, 0))))
            newest = connection.execute(sa.select(sa.func.coalesce(sa.func.max(_LEDGER.c.received_no), 0))).scalar_one()
            rows = once.with_columns(
                received_no=pl.int_range(newest + 1, newest + 1 + once.height, dtype=pl.Int64),
                received_on=pl.lit(now.date()),
                received_at=pl.lit(now).dt.cast_time_unit("us"),
            )
            new = self._tables.upsert(_LEDGER.name, rows, overwrite=False, within=connection)
        return Recorded(new, signals.height - new)

    def newest(self) -> int:
        """The number of the newest signal; 0 where there is none."""
        return self.after(0).newest

    def after(self, number: int) -> Arrived:
        """What arrived after the signal of a number, over all accounts, for the pipeline."""
        counted = sa.select(
            sa.func.count(),
            sa.func.count(_LEDGER.c.account_id.distinct()),
            sa.func.coalesce(sa.func.max(_LEDGER.c.received_no), number),
        )
        with self._tables.engine.connect() as connection:
            return Arrived(*connection.execute(counted.where(_LEDGER.c.received_no > number)).one())

    def waiting(self, account_ids: Sequence[str], day: date, trained_on: date | None) -> int:
        """How many signals of these accounts call for a retrain when a day is decided, for the pipeline.

        Those received up to the day after, on which the day is the newest to learn from, and after the day of the last training: a signal
        calls for one at once, and for one with the facts of its own day.

        Parameters
        ----------
        trained_on : the newest day before `day` on which a challenger was trained, None where there is none.
        """
        of = [_LEDGER.c.account_id.in_(account_ids), _LEDGER.c.received_on <= day + timedelta(days=1)]
        if trained_on is not None:
            of.append(_LEDGER.c.received_on > trained_on)
        with self._tables.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).where(*of)).scalar_one()

    def told(self, after: date | None, until: date) -> pl.DataFrame:
        """How often creatives and ads were named by signals received after a day (None: ever) and up to another, for the pipeline.

        Returns
        -------
        Schema TOLD; signals that named neither are not among them.
        """
        named = sa.or_(_LEDGER.c.creative_id.is_not(None), _LEDGER.c.ad_id.is_not(None))
        of = [named, _LEDGER.c.received_on <= until]
        if after is not None:
            of.append(_LEDGER.c.received_on > after)
        columns = [_LEDGER.c[name] for name in TOLD if name != "signals"]
        query = sa.select(*columns, sa.func.count().label("signals")).where(*of).group_by(*columns)
        return self._tables.frame(query, TOLD).sort(TOLD.names())
