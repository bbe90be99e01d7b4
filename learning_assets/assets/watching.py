"""Whether clicks leave what the champions expect of them, hour by hour: the hours that a day adds, and the pools' detectors after it.

What belongs here: which finished hours of which accounts a day adds to which detector, and the rows that keep both. What does not: the detector
and when it begins anew (`learning.drift`), and what follows from its evidence (`models`).

A day starts from what is stored as of earlier days, and stores what it did under its own: learned again, it gives the same rows. Hours count as
they stood when a day first found them whole.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.assets.outcomes import predicted
from learning_assets.assets.report import Number
from learning_assets.clock import days_between
from learning_assets.learning import drift
from learning_assets.learning.drift import State
from learning_assets.learning.targets import CTR, Target
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Pool

LATE_DAYS = 2
"""Days after which an account's hours, which its time zone or a failed fetch made late, are still judged."""

_ACCOUNT_DAY = ["account_id", "date"]
_SUMS = ("hour", "clicks", "flat")


@dataclass(frozen=True, slots=True)
class Expecting:
    """Who says what is expected of a pool's clicks: the champion in force before the day, None where there is none, and φ of its ads by then."""

    pool: Pool
    model_id: str | None
    dispersion: float


@dataclass(frozen=True, slots=True)
class Watched:
    """What a day's hours did: rows of `click_drift`, one per pool, and of `click_hours`."""

    drift: pl.DataFrame
    hours: pl.DataFrame

    def evidence(self, pool: Pool, target: Target) -> dict[str, Any]:
        """What the triggers of a pool's target are told of its hours: fields of `triggers.Evidence`."""
        if target is not CTR:
            return {"drift_unknown": "platforms tell clicks by hour, and nothing of what follows them"}
        row = self.drift.filter(pool=pool.name).row(0, named=True)
        if row["evidence"] is None:
            return {"drift_unknown": row["reason"]}
        return {"drift": row["evidence"], "drift_change": row["change"]}

    def figures(self, pools: list[Pool]) -> dict[str, Number]:
        """What the UI plots: each pool's evidence in hours, how many pools were judged, and how often their detectors alarmed."""
        peaks = dict(self.drift.select("pool", "evidence").iter_rows())
        return {
            "pools_watched": self.drift["evidence"].count(),
            "drift_alarms": int(self.drift["alarms"].list.len().sum()),
            **{f"drift_hours_{pool.label}": peaks[pool.name] for pool in pools},
        }


def watch(store: Store, day: Day, before: date | None, expecting: list[Expecting]) -> Watched:
    """Bring every pool's detector forward by the hours that are found finished on the day, as far as its champion predicted them.

    Parameters
    ----------
    before : the day whose states the detectors start from, None where there is none.
    expecting : one per pool.
    """
    rules = store.settings.models
    earlier = days_between(day.date - timedelta(days=rules.drift_profile_days), day.date - timedelta(days=1))
    kept = store.tables.read("click_hours", PIPELINE, as_of=earlier)
    finished = _finished(store, day, kept)
    hours = _hours(store, day, finished)
    streams = store.pool_of_accounts().select("account_id", stream="pool")
    model_of = pl.DataFrame(
        [(one.pool.name, one.model_id) for one in expecting],
        schema={"stream": pl.String, "model_id": pl.String},
        orient="row",
    )
    new = hours.join(streams, on="account_id")
    today = new.join(model_of, on=["stream", "model_id"], how="semi")
    past = kept.explode(*_SUMS).join(streams, on="account_id")
    states = _states(store, before, expecting)
    phi = {one.pool.name: max(one.dispersion, 1.0) for one in expecting}
    found = drift.watch(day.date, today, past, states, phi, rules)

    def row(one: Expecting) -> dict[str, Any]:
        mine = pl.col("account_id").is_in(one.pool.account_ids)
        did = found.get(one.pool.name, drift.Day(State(), None, None, ()))
        reason = None
        if did.peak is None:
            whole, said = finished.filter(mine).height, today.filter(stream=one.pool.name).height
            reason = _why_not(one, whole=whole > 0, said=said > 0, least=rules.drift_min_days)
        return {
            "as_of": day.date,
            "owner": one.pool.owner,
            "target": CTR.name,
            "pool": one.pool.name,
            "model_id": one.model_id,
            "evidence": did.peak,
            "change": did.change,
            "alarms": [hour for _, hour in did.alarms],
            "reason": reason,
            "state": json.dumps(did.state.to_json()),
        }

    rows = pl.DataFrame([row(one) for one in expecting], schema=store.tables.schema("click_drift"))
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    packed = hours.group_by(_ACCOUNT_DAY, maintain_order=True).agg(_SUMS).join(owners, on="account_id")
    return Watched(rows, packed.with_columns(as_of=pl.lit(day.date)).select(store.tables.schema("click_hours").names()))


def _finished(store: Store, day: Day, kept: pl.DataFrame) -> pl.DataFrame:
    """Account and date of the hours that are whole by now and were not kept by an earlier day."""
    recent = days_between(day.date - timedelta(days=LATE_DAYS), day.date)
    told = store.tables.read(
        "fetch_manifest", PIPELINE, columns=["account_id", "as_of"], fact="hourly", status="complete", as_of=recent
    )
    return told.rename({"as_of": "date"}).join(kept, on=_ACCOUNT_DAY, how="anti")


def _hours(store: Store, day: Day, finished: pl.DataFrame) -> pl.DataFrame:
    """Hours of these accounts and dates that a champion predicted: the columns of `drift.hourly`, and the champion's `model_id`."""
    first = finished.select(pl.col("date").min()).item() or day.date
    said = predicted(store, day, first, metric=CTR.name, model="xgboost").collect()
    models = said.group_by(_ACCOUNT_DAY).agg(pl.col("model_id").first())
    delivery = (
        store.lake.scan("actuals_hourly", first, day.date)
        .select(*_ACCOUNT_DAY, "hour", "ad_id", "impressions", "link_clicks")
        .join(finished.lazy(), on=_ACCOUNT_DAY, how="semi")
        .collect()
    )
    return drift.hourly(delivery, said).join(models, on=_ACCOUNT_DAY, maintain_order="left")


def _states(store: Store, before: date | None, expecting: list[Expecting]) -> dict[str, State]:
    """The detectors after the day before, but for pools whose champion is another since."""
    if before is None:
        return {}
    rows = store.tables.read("click_drift", PIPELINE, columns=["pool", "model_id", "state"], as_of=before, target=CTR.name)
    models: Mapping[str, str | None] = {one.pool.name: one.model_id for one in expecting}
    return {
        pool: State.from_json(json.loads(state))
        for pool, model_id, state in rows.iter_rows()
        if pool in models and model_id == models[pool]
    }


def _why_not(one: Expecting, *, whole: bool, said: bool, least: int) -> str:
    """Why no hour of a pool was judged."""
    if not whole:
        return "no hours of the day are known that are finished"
    if one.model_id is None:
        return "no champion was there to predict the day's clicks"
    if not said:
        return "the champion in force did not predict the day"
    return f"an account's hours are judged once {least} earlier days of them are known, and no account has as many"
