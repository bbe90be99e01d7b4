"""How good the predictions were: `prediction_accuracy`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, day_of
from learning_assets.assets.outcomes import live_first, observed, predicted
from learning_assets.assets.report import markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import accuracy
from learning_assets.learning.targets import TARGETS
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

if TYPE_CHECKING:
    import altair as alt

SEGMENTS = ("hook_type", "template", "audience")
_KEY = ["date", "account_id", "ad_id"]
_ROWS_AT_ONCE = 300_000


SHOWN = (
    *("pool", "metric", "model", "made", "accuracy", "wape", "noise_floor", "calibration_ratio"),
    *("skill", "skill_low", "skill_high", "share_known", "ads", "ad_days"),
)
"""Columns of the table that the UI shows."""


@dg.asset(partitions_def=DAILY, deps=["actuals", "creative_dna"], kinds={"polars", "postgres"}, code_version="2")
@bounded_retries
def prediction_accuracy(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What was predicted for the last days against what happened, by model, metric, horizon, pool, account and segment.

    `accuracy` is 1 - WAPE over ad-days with enough impressions; beside it stands the noise floor, the error that a perfect predictor would
    show, and the skill over the better of two plain baselines. What is expected of late conversions is what can be known of them by now
    (`share_known`). Nothing measured is NULL, with the reason.
    """
    day = day_of(context, source, store.settings)
    days, pools = day.pick(settings.accuracy.window_days, settings.accuracy.archive_window_days), store.pool_of_accounts()
    parts, ad_days = list[pl.DataFrame](), 0
    for compared in comparisons(store, settings, day, days):
        parts.append(measure(compared.join(pools, on="account_id", how="inner"), settings))
        ad_days += compared.height
    rows = pl.concat(parts)
    owners = store.accounts(PIPELINE).select("account_id", account_owner="owner")
    owned = rows.join(owners, on="account_id", how="left").with_columns(owner=pl.coalesce("account_owner", "owner"))
    kept = owned.drop("account_owner").with_columns(as_of=pl.lit(day.date))
    written = store.replace_day("prediction_comparisons", day.date, kept, asset="prediction_accuracy", onward=day.replaying)
    overall = rows.filter(pl.col("account_id").is_null(), pl.col("segment") == "all").sort("pool", "metric", "model")
    return report(
        written,
        store.tables.schema("prediction_comparisons"),
        figures(overall) | {"ad_days_compared": ad_days},
        table=markdown_table(
            overall.select(SHOWN),
            day.simulated,
            "A perfect predictor shows the noise floor as its WAPE; skill is over the better baseline.",
        ),
        plot=None if day.quiet else history(store, day),
    )


def figures(overall: pl.DataFrame) -> dict[str, float | None]:
    """What the UI plots: of the pool with most impressions, of live predictions where there are any."""
    main = live_first(overall, ["metric", "model"])
    names = ("accuracy", "wape", "noise_floor", "skill", "calibration_ratio", "log_loss")
    return {f"{row['metric']}_{row['model']}_{name}": row[name] for row in main.iter_rows(named=True) for name in names}


def comparisons(store: Store, settings: Settings, day: Day, days: int) -> Iterator[pl.DataFrame]:
    """Predictions for the window's days beside what happened and what the baselines said, one metric after the other; of many ads a few models at a
    time, so that memory is bounded.

    Raises
    ------
    ValueError : a prediction could have known its target day.
    """
    first = day.date - timedelta(days=days - 1)
    said = predicted(store, day, first).select(*_KEY, "made", "horizon_days", "metric", "model", "predicted")
    happened = observed(store, settings, day).filter(pl.col("date") >= first)
    hooks = store.creatives(["account_id", "creative_id", "hook_types"]).rename({"hook_types": "hook_type"})
    described = happened.join(hooks, on=["account_id", "creative_id"], how="left")
    of_ad = [*_KEY, "hook_type", "template", "audience", "impressions", "share_known"]
    for target in TARGETS.values():
        mine = said.filter(metric=target.name).collect()
        for model, name in (("account_mean", "baseline_account"), ("own_history", "baseline_history")):
            plain = mine.filter(model=model).select(*_KEY, pl.col("predicted").alias(name))
            mine = mine.join(plain, on=_KEY, how="left")
        sides = {target.events, target.exposure} - {"impressions"}
        models = mine["model"].unique().sort()
        at_once = max(1, _ROWS_AT_ONCE * models.len() // max(mine.height, 1))
        for start in range(0, max(models.len(), 1), at_once):
            some = mine.filter(pl.col("model").is_in(models[start : start + at_once].implode()))
            yield some.join(described.select(*of_ad, *sorted(sides)), on=_KEY, how="inner")


def measure(compared: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Rows of `prediction_comparisons` but for `as_of`: every pool, account and segment that has comparisons."""
    what = ["made", "horizon_days", "model", "metric"]
    by = ["pool", "owner", *what]
    whole = accuracy.measure(compared, by, settings.accuracy).with_columns(
        account_id=pl.lit(None, pl.String), segment=pl.lit("all"), segment_value=pl.lit(None, pl.String)
    )
    accounts = compared.join(whole.select("pool").unique(), on="pool").drop("owner")
    parts = [whole]
    of_account = accuracy.measure(accounts, ["pool", "account_id", *what], settings.accuracy)
    parts.append(of_account.with_columns(segment=pl.lit("all"), segment_value=pl.lit(None, pl.String)))
    for name in SEGMENTS:
        known = compared.filter(pl.col(name).is_not_null())
        # An ad of several hook types counts in each of them.
        known = known.explode(name) if isinstance(known.schema[name], pl.List) else known
        found = accuracy.measure(known, [*by, name], settings.accuracy)
        parts.append(
            found.rename({name: "segment_value"}).with_columns(account_id=pl.lit(None, pl.String), segment=pl.lit(name))
        )
    return pl.concat(parts, how="diagonal")


def history(store: Store, day: Day) -> "alt.TopLevelMixin | None":
    """WAPE of each model over time against the noise floor, for the largest pool."""
    import altair as alt

    rows = store.tables.read(
        "prediction_comparisons",
        PIPELINE,
        columns=["as_of", "pool", "account_id", "model", "wape", "noise_floor", "impressions"],
        segment="all",
        metric="ctr",
        until=day.date,
    )
    rows = rows.filter(pl.col("account_id").is_null(), pl.col("wape").is_not_null())
    if rows.is_empty():
        return None
    pool = rows.sort("impressions")["pool"].last()
    rows = rows.filter(pl.col("pool") == pool, pl.col("as_of") > day.date - timedelta(days=120 * day.step_days))
    floor = (
        rows.group_by("as_of")
        .agg(wape=pl.col("noise_floor").mean())
        .with_columns(model=pl.lit("noise floor (a perfect predictor)"))
    )
    lines = pl.concat([rows.select("as_of", "wape", "model"), floor.select("as_of", "wape", "model")])
    title = f"Error of the predicted CTR, {pool}" + (" (simulated)" if day.simulated else "")
    return (
        alt.Chart(lines)
        .mark_line(point=True)
        .encode(
            x=alt.X("as_of:T", title=None),
            y=alt.Y("wape:Q", title="WAPE", scale=alt.Scale(zero=False)),
            color=alt.Color("model:N", title=None),
        )
        .properties(width=560, height=240, title=title)
    )
