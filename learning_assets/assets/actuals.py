"""What the ads are and what they achieved: `ad_catalog` and `actuals`."""

import time
from datetime import timedelta

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, day_of
from learning_assets.assets.fetching import keep_unusable, kept, next_cycle, record, swap_in
from learning_assets.assets.report import Number, markdown_table, report
from learning_assets.assets.restating import Restated, restate
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import rates
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import (
    ACTUALS,
    CATALOG,
    MANIFEST,
    REACH,
    USABLE,
    Fetched,
    PlatformDown,
    Source,
    SourceError,
)
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

POOL = "platform"
"""Pool of the runs that ask the platform; how many may at a time stands in `dagster.yaml`."""


@dg.asset(partitions_def=DAILY, kinds={"polars", "parquet"}, code_version="2", pool=POOL)
@bounded_retries
def ad_catalog(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], source: dg.ResourceParam[Source]
) -> dg.MaterializeResult[None]:
    """The ads of the day: campaign, ad set, creative, texts, status, budget owner and experiment.

    One row per ad that is live on the day or known to start on the next step. An account that could not be asked keeps the rows that it had.
    """
    day = day_of(context, source, store.settings)
    accounts = source.accounts()
    store.register(accounts)
    fetched = source.catalog(day.date)
    old = store.lake.scan("ad_catalog", day.date, day.date).collect()
    ads = keep_unusable(fetched, old)
    written = store.lake.write("ad_catalog", day.date, ads.sort("account_id", "ad_id"))
    record(store, fetched)
    live = ads.filter(pl.col("status") == "active")
    numbers = {
        "accounts": accounts.height,
        "accounts_not_answering": fetched.manifest.filter(~pl.col("status").is_in(USABLE)).height,
        "ads": ads.height,
        "live_ads": live.height,
        "scheduled_ads": ads.filter(pl.col("status") == "scheduled").height,
        "experiments": live["experiment_id"].n_unique() - int(live["experiment_id"].has_nulls()),
    }
    by_template = live.group_by("template").len("ads").sort("ads", descending=True).head(10)
    return report(written, CATALOG, numbers, table=markdown_table(by_template, day.simulated, "Live ads by template."))


@dg.asset(partitions_def=DAILY, deps=["ad_catalog"], kinds={"polars", "parquet"}, code_version="2", pool=POOL)
@bounded_retries
def actuals(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], source: dg.ResourceParam[Source]
) -> dg.MaterializeResult[None]:
    """What each ad achieved on the account's local day: impressions, link clicks, conversions, spend, revenue.

    Counts are integers, money is in micros of the account's currency, and NULL means that the platform reported nothing. An account that
    could not be fetched keeps its old rows and is marked in `fetch_manifest`; an account whose own day has not ended, or whose answer is
    incomplete, is left out of learning until it is whole.
    """
    day = day_of(context, source, store.settings)
    began = time.monotonic()
    cycle = context.job_name == "learning_cycle"
    fetched = kept(store, source, day, "daily") or source.actuals(day.date, day.date, day.known_on)
    swapped = swap_in(store, fetched, day.date, day.date if cycle or day.replaying else next_cycle(store, day))
    record(store, fetched)
    hours = fetch_hours(store, source, day)
    reach = fetch_reach(store, source, day) if cycle else Fetched(REACH.to_frame(), MANIFEST.to_frame())
    restated = restate(store, source, day) if cycle else Restated((), 0)
    for changed in () if day.replaying else restated.days:
        what = f"restated by the platform, seen on {day.date}"
        context.instance.report_runless_asset_event(
            dg.AssetMaterialization("actuals", partition=str(changed), description=what)
        )
    rows = store.lake.read("actuals", day.date)
    numbers = {
        **fetch_statistics(fetched.manifest, time.monotonic() - began),
        "hours": hours,
        "ads_with_reach": reach.rows["reach"].count() if cycle else None,
        "restated_days": len(restated.days),
        "restated_rows": restated.rows,
        **totals(rows),
    }
    table = markdown_table(per_account(rows).head(20), day.simulated, "By account.")
    told = troubles(pl.concat([fetched.manifest, reach.manifest]), restated, day)
    return report(swapped.written, ACTUALS, numbers, table=table, tables=told)


def fetch_hours(store: Store, source: Source, day: Day) -> int:
    """Store delivery by hour; how many rows the day has."""
    fetched = kept(store, source, day, "hourly") or source.hourly(day.date)
    old = store.lake.scan("actuals_hourly", day.date, day.date).collect()
    rows = keep_unusable(fetched, old).sort("account_id", "ad_id", "hour")
    store.lake.write("actuals_hourly", day.date, rows)
    record(store, fetched)
    return rows.height


def fetch_reach(store: Store, source: Source, day: Day) -> Fetched:
    """Store the people reached in the week that ends on the day; accounts that cannot say keep what is there, and nothing else waits for it."""
    first = day.date - timedelta(days=store.settings.fatigue.window_days - 1)
    old = store.lake.scan("actuals_reach", day.date, day.date).collect()
    try:
        fetched = kept(store, source, day, "reach") or source.reach(first, day.date)
    except (PlatformDown, SourceError) as error:
        why = {"date": day.date, "fact": "reach", "status": "failed", "rows": 0, "seconds": 0.0, "reason": str(error)}
        accounts = store.accounts(PIPELINE).select("account_id", **{name: pl.lit(value) for name, value in why.items()})
        fetched = Fetched(REACH.to_frame(), pl.concat([MANIFEST.to_frame(), accounts], how="diagonal_relaxed"))
    rows = keep_unusable(fetched, old).sort("account_id", "ad_id")
    store.lake.write("actuals_reach", day.date, rows)
    record(store, fetched)
    return Fetched(rows, fetched.manifest)


def totals(rows: pl.DataFrame) -> dict[str, Number]:
    """The day over all accounts; money of several currencies is not added, and so not there."""
    whole = rows.select(*rates.totals(), *rates.ratios(), ads=pl.len()).row(0, named=True)
    return {name: whole[name] for name in ("ads", "impressions", "link_clicks", "conversions", "ctr", "cvr", "roas")}


def troubles(manifest: pl.DataFrame, restated: Restated, day: Day) -> dict[str, str]:
    """Which accounts are not complete and why, and what the platform changed, as tables."""
    troubled = manifest.filter(pl.col("reason").is_not_null() & (pl.col("status") != "no_data"))
    shown = troubled.select("account_id", "fact", "status", "reason")
    found = {"accounts_not_complete": markdown_table(shown, day.simulated)}
    if restated.by_age is not None:
        says = "What the platform changed since, by age in days."
        found["restatement"] = markdown_table(restated.by_age, day.simulated, says)
    return found


def fetch_statistics(manifest: pl.DataFrame, seconds: float) -> dict[str, Number]:
    """What the fetch asked for and got, and how far the ads' spend is from the accounts'."""
    status = dict(manifest["status"].value_counts().iter_rows())
    told = manifest.filter(pl.col("account_spend_micros") > 0)
    gaps = (told["spend_micros"] / told["account_spend_micros"] - 1).abs().drop_nulls()
    return {
        "fetches": manifest.height,
        "fetches_successful": status.get("complete", 0),
        "fetches_running": status.get("running", 0),
        "fetches_incomplete": status.get("incomplete", 0),
        "fetches_failed": status.get("failed", 0),
        "fetches_rate_limited": status.get("rate_limited", 0),
        "fetches_stopped": status.get("stopped", 0),
        "fetches_without_data": status.get("no_data", 0),
        "fetch_requests": int(manifest["requests"].sum()) if manifest["requests"].count() else None,
        "fetch_seconds": seconds,
        "largest_spend_gap": max(gaps) if len(gaps) else None,
    }


def per_account(rows: pl.DataFrame) -> pl.DataFrame:
    """Figures of the day by account, largest first; money in units of the account's currency."""
    return (
        rows.group_by("account_id", "currency")
        .agg(
            *rates.totals(),
            *rates.ratios(),
            ads=pl.len(),
            complete=pl.col("complete").all(),
            conversion=pl.col("conversion_type").first(),
        )
        .sort("impressions", descending=True)
        .select(
            "account_id",
            "ads",
            "impressions",
            "link_clicks",
            "conversions",
            "conversion",
            pl.col("spend_micros") / 1e6,
            "currency",
            "ctr",
            "cvr",
            "roas",
            "complete",
        )
        .rename({"spend_micros": "spend"})
    )
