"""Did the accounts get better: `snapshots`, and the audit of the runs, `learning_cycles`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, day_of
from learning_assets.assets.report import Number, markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import growth, rates
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.tables import Written
from learning_assets.store.walls import PIPELINE

if TYPE_CHECKING:
    import altair as alt

COUNTS = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")


@dg.asset(partitions_def=DAILY, deps=["actuals", "patterns", "retrained_model"], kinds={"polars", "postgres"}, code_version="1")
@bounded_retries
def snapshots(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """The day's performance of each account and over all, and whether it got better since its first two mature weeks.

    Two projections stand side by side: plain compounding of the two ends, and a damped trend with its interval. Each is NULL, with the reason,
    until there is history enough. Declines are shown as declines.
    """
    day = day_of(context, source, store.settings)
    days = store.account_days(day.date)
    grown = growth.measure(days, day.date, settings.growth)
    rows = pl.concat([per_account(store, day, days, grown), over_all(store, day, days, grown, settings)], how="diagonal")
    written = store.replace_day("improvement_snapshots", day.date, rows, asset="snapshots", onward=day.replaying)
    whole = rows.filter(pl.col("account_id").is_null()).row(0, named=True)
    return report(
        written,
        store.tables.schema("improvement_snapshots"),
        figures(whole, grown),
        says=whole["reason"],
        table=markdown_table(in_words(rows).head(30), day.simulated, f"Growth as of {day.date}."),
        plot=None if day.quiet else curve(store, day),
    )


def figures(whole: Mapping[str, Any], grown: pl.DataFrame) -> dict[str, Number]:
    """What the UI plots: the day over all accounts, and how many accounts go which way."""
    statuses = dict(grown["status"].value_counts().iter_rows())
    totals = ("impressions", "link_clicks", "conversions", "ctr", "cvr", "roas", "ads", "patterns", "active_patterns", "models")
    kinds = ("accelerating", "improving", "stable", "declining", "insufficient_data")
    return {
        **{name: whole[name] for name in totals},
        "improvement_factor": whole["improvement_factor"],
        "improvement_factor_low": whole["improvement_low"],
        "improvement_factor_high": whole["improvement_high"],
        **{f"accounts_{status}": statuses.get(status, 0) for status in kinds},
        "accounts_on_track_for_10x": int(grown["on_track_for_10x"].fill_null(value=False).sum()),
    }


def in_words(rows: pl.DataFrame) -> pl.DataFrame:
    """Growth by account as a table, that over all accounts first."""
    return rows.sort("account_id", nulls_last=False).select(
        pl.col("account_id").fill_null("all accounts"),
        "metric",
        baseline="baseline_value",
        current="current_value",
        factor="improvement_factor",
        low="improvement_low",
        high="improvement_high",
        damped_365="damped_365",
        on_track_for_10x="on_track_for_10x",
        status="status",
    )


def per_account(store: Store, day: Day, days: pl.DataFrame, grown: pl.DataFrame) -> pl.DataFrame:
    """One row per account: the day's totals, what was learned of it so far, and its growth."""
    ratios = ["ctr", "cvr", "roas"]
    today = days.filter(pl.col("date") == day.date).with_columns(
        ctr=rates.ratio(pl.col("link_clicks"), pl.col("impressions")),
        cvr=rates.ratio(pl.col("conversions"), pl.col("link_clicks")),
        roas=rates.ratio(pl.col("revenue_micros"), pl.col("spend_micros")),
    )
    owners = store.accounts(PIPELINE).select("account_id", "owner", "currency")
    learned = store.tables.read("learning_patterns", PIPELINE, columns=["account_id", "status"], as_of=day.date)
    counted = learned.group_by("account_id").agg(
        patterns=pl.len().cast(pl.Int64), active_patterns=(pl.col("status") == "active").sum().cast(pl.Int64)
    )
    return (
        grown.join(owners, on="account_id", how="left")
        .join(today.select("account_id", "ads", *COUNTS, *ratios), on="account_id", how="left")
        .join(counted, on="account_id", how="left")
        .with_columns(pl.col("patterns", "active_patterns").fill_null(0), models=pl.lit(None, pl.Int64))
    )


def over_all(store: Store, day: Day, days: pl.DataFrame, grown: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """One row over all accounts, of figures without a currency; money only where all accounts share one."""
    whole = growth.over_all(grown, settings.growth).row(0, named=True)
    today = days.filter(pl.col("date") == day.date)
    single = today["currency"].n_unique() == 1
    totals = today.select(pl.col("ads").sum(), *(rates.total(name) for name in COUNTS)).with_columns(
        pl.when(single).then(pl.col(name)) for name in ("spend_micros", "revenue_micros")
    )
    learned = store.tables.read("learning_patterns", PIPELINE, columns=["status"], as_of=day.date)
    models = store.tables.read("models", PIPELINE, columns=["as_of"], until=day.date)
    measured, accounts = whole["accounts_measured"], whole["accounts"]
    reason = f"{measured} of {accounts} accounts have history enough to be measured."
    if whole["improvement_factor"] is not None:
        interval = (
            ""
            if whole["improvement_low"] is None
            else f" (95 % between {whole['improvement_low']:.2f} and {whole['improvement_high']:.2f})"
        )
        reason += f" Their metric is {whole['improvement_factor']:.2f} times its baseline in the geometric mean{interval}."
    return totals.with_columns(
        ctr=rates.ratio(pl.col("link_clicks"), pl.col("impressions")),
        cvr=rates.ratio(pl.col("conversions"), pl.col("link_clicks")),
        roas=rates.ratio(pl.col("revenue_micros"), pl.col("spend_micros")),
        currency=pl.lit(today["currency"].first() if single else None, pl.String),
        as_of=pl.lit(day.date),
        account_id=pl.lit(None, pl.String),
        owner=pl.lit(None, pl.String),
        improvement_factor=pl.lit(whole["improvement_factor"], pl.Float64),
        improvement_low=pl.lit(whole["improvement_low"], pl.Float64),
        improvement_high=pl.lit(whole["improvement_high"], pl.Float64),
        patterns=pl.lit(learned.height, pl.Int64),
        active_patterns=pl.lit((learned["status"] == "active").sum(), pl.Int64),
        models=pl.lit(models.height, pl.Int64),
        status=pl.lit("insufficient_data" if measured == 0 else overall_status(whole)),
        reason=pl.lit(reason),
    )


def overall_status(whole: dict[str, float | None]) -> str:
    """The accounts' mean improvement against 1: improving or declining where its interval excludes it, stable where not."""
    low, high = whole["improvement_low"], whole["improvement_high"]
    if low is None or high is None:
        return "insufficient_data"
    return "improving" if low > 1 else "declining" if high < 1 else "stable"


def curve(store: Store, day: Day) -> "alt.TopLevelMixin | None":
    """The improvement factor over all accounts with its interval, beside the reference curve of a tenfold year."""
    import altair as alt

    rows = store.tables.read(
        "improvement_snapshots",
        PIPELINE,
        columns=["as_of", "account_id", "improvement_factor", "improvement_low", "improvement_high", "reference_factor"],
        until=day.date,
    )
    reference = (
        rows.filter(pl.col("reference_factor").is_not_null())
        .group_by("as_of")
        .agg(factor=pl.col("reference_factor").max())
        .with_columns(what=pl.lit("10x in a year, for comparison"))
    )
    whole = rows.filter(pl.col("account_id").is_null(), pl.col("improvement_factor").is_not_null())
    if whole.is_empty():
        return None
    found = whole.select("as_of", factor="improvement_factor", what=pl.lit("all accounts"))
    lines = (
        alt.Chart(pl.concat([found, reference.select("as_of", "factor", "what")]))
        .mark_line()
        .encode(
            x=alt.X("as_of:T", title=None),
            y=alt.Y("factor:Q", title="times the baseline", scale=alt.Scale(type="log")),
            color=alt.Color("what:N", title=None),
        )
    )
    band = (
        alt.Chart(whole.drop_nulls("improvement_low"))
        .mark_area(opacity=0.2)
        .encode(x="as_of:T", y="improvement_low:Q", y2="improvement_high:Q")
    )
    return alt.layer(band, lines).properties(
        width=560, height=240, title="Improvement" + (" (simulated)" if day.simulated else "")
    )


@dg.asset(partitions_def=DAILY, deps=["snapshots", "predictions", "prediction_accuracy"], kinds={"postgres"}, code_version="1")
@bounded_retries
def learning_cycles(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], source: dg.ResourceParam[Source]
) -> dg.MaterializeResult[None]:
    """The audit log of the runs up to now, failed ones included: a summary of `learning_cycle_log`, which runs write when they end."""
    day = day_of(context, source, store.settings)
    log = store.tables.read("learning_cycle_log", PIPELINE, columns=["job", "status", "seconds", "ended_at"])
    by_job = (
        log.group_by("job")
        .agg(
            runs=pl.len(),
            successful=(pl.col("status") == "success").sum(),
            failed=(pl.col("status") == "failure").sum(),
            median_seconds=pl.col("seconds").median(),
            last_ended=pl.col("ended_at").max().dt.strftime("%Y-%m-%d %H:%M"),
        )
        .sort("job")
    )
    ended = log.filter(pl.col("job") == "learning_cycle")
    numbers = {
        "runs": log.height,
        "runs_failed": (log["status"] == "failure").sum(),
        "cycles": ended.height,
        "success_rate": (ended["status"] == "success").mean() if ended.height else None,
        "median_cycle_seconds": ended["seconds"].median() if ended.height else None,
    }
    written = Written("learning_cycle_log", log.height, 1)
    return report(
        written,
        store.tables.schema("learning_cycle_log"),
        numbers,
        table=markdown_table(by_job, day.simulated, "Runs that have ended, by job."),
    )  # pyright: ignore[reportArgumentType]
