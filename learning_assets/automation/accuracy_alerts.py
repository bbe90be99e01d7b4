"""The alert when predictions went wrong: what dropped, against which bound, in which accounts, and the likely cause.

What belongs here: reading what a diagnosis rests on, and telling people once. What does not: whether accuracy dropped (`learning.triggers`), the
diagnosis (`learning.causes`), and what is done about it (the sensor `accuracy_drop` and the jobs decide on a retrain).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from learning_assets.assets import accuracy_page
from learning_assets.assets.day import REPLAY_TAG, Day, day_by_itself
from learning_assets.automation.alerts import Notifier, outside
from learning_assets.automation.cursors import materialized
from learning_assets.learning import causes, triggers
from learning_assets.learning.accuracy import MEASURES
from learning_assets.learning.causes import FLOWS, Cause
from learning_assets.learning.triggers import Evidence, Trigger
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.facts import by_age
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Pool

NAMED_ACCOUNTS = 3
"""Accounts that an alert names, at most."""

BEFORE_NEW_DAYS = 28
"""Days before those of new ads in which an ad must have been shown to be an old one."""

COUNTED = {"ctr": "clicks", "cvr": "conversions", "roas": "revenue"}


@dataclass(frozen=True, slots=True)
class Drop:
    """A model of a pool whose accuracy fired evidence-based triggers: the row of `prediction_comparisons`, and what fired."""

    row: dict[str, Any]
    fired: tuple[Trigger, ...]


@dg.sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="Tells people when predictions went wrong: the figure against its bound, the accounts concerned most, and the likely cause.",
)
def alert_on_accuracy_drop(
    context: dg.SensorEvaluationContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
    alerts: dg.ResourceParam[Notifier],
) -> dg.SensorResult | dg.SkipReason:
    """Read what was measured since the cursor, replays left out; one alert a day, pool and revision, also where a cursor is lost."""
    new = materialized(context, "prediction_accuracy", lambda run: REPLAY_TAG in run.tags)
    if new is None:
        return dg.SkipReason("Accuracy was not measured since the last tick.")
    sent = sum(tell(store, day_by_itself(day, source, settings), settings, alerts) for day in sorted(new.days))
    return dg.SensorResult(skip_reason=f"{len(new.days)} days measured, {sent} alerts.", cursor=new.cursor)


def tell(store: Store, day: Day, settings: Settings, alerts: Notifier) -> int:
    """Send the alerts of a day that were not sent yet; how many.

    An alert is recorded in the transaction in which it is sent: one that cannot be sent is tried again by the next tick.
    """
    sent = 0
    for pool in store.pools():
        found = drops(store, day, pool, settings)
        if not found:
            continue
        told = [(drop, *explain(store, day, pool, drop, settings)) for drop in found]
        row = {
            "as_of": day.date,
            "pool": pool.name,
            "revision": found[0].row["revision"],
            "owner": pool.owner,
            "metric": found[0].row["metric"],
            "triggers": ",".join(sorted({trigger.name for drop in found for trigger in drop.fired})),
            "cause": told[0][1].name,
            "share": told[0][1].share,
            "sent_at": store.now,
        }
        frame = pl.DataFrame([row], schema=store.tables.schema("accuracy_alerts"))
        with store.tables.engine.begin() as connection:
            if store.tables.upsert("accuracy_alerts", frame, overwrite=False, within=connection):
                alerts.send(text(day, pool, told))
                sent += 1
    return sent


def drops(store: Store, day: Day, pool: Pool, settings: Settings) -> list[Drop]:
    """Of each metric the trained model that fired triggers, the one with the largest error where there are several."""
    rows = store.tables.read("prediction_comparisons", PIPELINE, as_of=day.date, pool=pool.name, segment="all")
    trained = (
        store.lake.scan("predictions", day.date - timedelta(days=_window(day, settings) + day.step_days), day.date)
        .filter(pl.col("model_id").is_not_null())
        .select(pl.col("model").unique())
        .collect()["model"]
    )
    rows = rows.filter(pl.col("account_id").is_null(), pl.col("model").is_in(trained.implode()))
    known = [field.name for field in fields(Evidence) if field.name in MEASURES]
    found: dict[str, Drop] = {}
    for row in rows.sort("made", "wape", "model", descending=[False, True, False], nulls_last=True).to_dicts():
        # Only what rests on measured figures: the age of a model is nothing to be alarmed about.
        evidence = Evidence(day.date, tried_on=day.date, max_age_days=1, **{name: row[name] for name in known})
        fired = tuple(trigger for trigger in triggers.evaluate(evidence, settings.models) if trigger.fired)
        if fired:
            found.setdefault(row["metric"], Drop(row, fired))
    return [found[metric] for metric in sorted(found)]


def explain(store: Store, day: Day, pool: Pool, drop: Drop, settings: Settings) -> tuple[Cause, pl.DataFrame]:
    """The likely cause of a drop, and the accounts concerned (`causes.concerned`)."""
    row, accounts = drop.row, list(pool.account_ids)
    compared = accuracy_page.judged(store, day, _window(day, settings), accounts, 0).filter(
        pl.col("impressions") >= settings.accuracy.min_impressions,
        *(pl.col(name) == row[name] for name in ("metric", "model", "made")),
    )
    first_new = day.date - timedelta(days=settings.causes.new_days - 1)
    seen = (
        store.facts(first_new - timedelta(days=BEFORE_NEW_DAYS), first_new - timedelta(days=1))
        .filter(pl.col("impressions") > 0)
        .select("account_id", "ad_id")
        .unique()
        .collect()
        .with_columns(new=pl.lit(value=False))
    )
    compared = compared.join(seen, on=["account_id", "ad_id"], how="left").with_columns(pl.col("new").fill_null(value=True))
    cells = causes.cells(_as_known(store, day, compared), row["dispersion"])
    return causes.diagnose(cells, flows(store, day, accounts, settings), row["metric"], settings.causes), causes.concerned(
        cells
    )


def flows(store: Store, day: Day, accounts: list[str], settings: Settings) -> pl.DataFrame:
    """Clicks and conversions of the newest days against what the days before would have given; schema `causes.FLOWS`.

    A platform that reports no conversions at all reports NULL; where clicks are known, that counts as none. Conversions are compared with those
    that were known at the same age on earlier days, and are left out where no version tells them.
    """
    rules = settings.causes
    since = day.date - timedelta(days=(rules.flow_days - 1) * day.step_days)
    before = since - timedelta(days=rules.usual_days * day.step_days)
    facts = (
        store.facts(before, day.date)
        .filter(pl.col("account_id").is_in(accounts))
        .group_by("account_id", "date")
        .agg(pl.col("impressions", "link_clicks", "conversions").sum())
        .collect()
    )
    then = by_age(store.lake, before, since - timedelta(days=1), day.date, 0).collect()
    now, earlier = facts.filter(pl.col("date") >= since), facts.filter(pl.col("date") < since)
    fresh = earlier.drop("conversions").join(then.select("account_id", "date", "conversions"), on=["account_id", "date"])
    found: list[pl.DataFrame] = []
    for counted, count, base, past in (
        ("clicks", "link_clicks", "impressions", earlier),
        ("conversions", "conversions", "link_clicks", fresh),
    ):
        usual = past.group_by("account_id").agg(rate=pl.col(count).sum() / pl.col(base).sum())
        newest = now.group_by("account_id").agg(base=pl.col(base).sum(), actual=pl.col(count).sum())
        joined = newest.join(usual, on="account_id", how="left")
        told = joined.with_columns(counted=pl.lit(counted), usual=pl.col("base") * pl.col("rate").fill_nan(None))
        found.append(told.select(pl.col(name).cast(kind) for name, kind in FLOWS.items()))
    return pl.concat(found).sort("account_id", "counted")


def text(day: Day, pool: Pool, told: list[tuple[Drop, Cause, pl.DataFrame]]) -> str:
    """An alert in plain words."""
    of = "all consenting accounts" if pool.owner is None else f"the accounts of {outside(pool.owner)}"
    lines = [f"{'Simulated market. ' if day.simulated else ''}The predictions for {day.date} went wrong, of {of}."]
    for drop, cause, accounts in told:
        row = drop.row
        lines.append(
            f"{outside(row['metric']).upper()} by {outside(row['model'])} ({row['made']}): "
            + " ".join(trigger.reason for trigger in drop.fired)
        )
        lines += [*_concerned(accounts, row["metric"])]
        how = "Cause: unknown." if cause.name == "unknown" else f"Cause: {cause.name.replace('_', ' ')}, {cause.sure}."
        lines.append(f"{how} {cause.reason}")
    lines.append(f"See prediction_accuracy and accuracy_report of {day.date}.")
    return "\n".join(lines)


def _concerned(accounts: pl.DataFrame, metric: str) -> Iterator[str]:
    if accounts.is_empty():
        return
    shown = accounts.head(NAMED_ACCOUNTS)
    unit = 1e6 if metric == "roas" else 1.0
    named = "; ".join(
        f"account {outside(row['account_id'])}, {row['share']:.0%} of the error beyond chance "
        f"({row['actual'] / unit:,.0f} {COUNTED[metric]} where {row['expected'] / unit:,.0f} were predicted)"
        for row in shown.iter_rows(named=True)
    )
    rest = accounts.height - shown.height
    yield f"Concerned most: {named}{f'; and {rest} more' if rest else ''}."


def _window(day: Day, settings: Settings) -> int:
    return day.pick(settings.accuracy.window_days, settings.accuracy.archive_window_days)


def _as_known(store: Store, day: Day, compared: pl.DataFrame) -> pl.DataFrame:
    """Predictions of conversions and revenue, times the share of them that is known at the age that they are counted at, where that is known."""
    lags = store.tables.read(
        "conversion_lags", PIPELINE, columns=["account_id", "age_days", "share_known"], until=day.date, latest=True
    )
    aged = compared.with_columns(age_days=(pl.lit(day.date) - pl.col("date")).dt.total_days())
    late = pl.col("metric").is_in(["cvr", "roas"])
    return (
        aged.join(lags, on=["account_id", "age_days"], how="left")
        .with_columns(
            predicted=pl.when(late).then(pl.col("predicted") * pl.col("share_known").fill_null(1.0)).otherwise("predicted")
        )
        .drop("age_days", "share_known")
    )
