"""What the ads are and what they achieved: `ad_catalog` and `actuals`."""

import time
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, day_of
from learning_assets.assets.permanent import fails_for_good
from learning_assets.assets.report import markdown_table, report
from learning_assets.learning import rates
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import ACTUALS, CATALOG, Source
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE


@dg.asset(partitions_def=DAILY, kinds={"polars", "parquet"}, code_version="1")
@fails_for_good
def ad_catalog(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], source: dg.ResourceParam[Source]
) -> dg.MaterializeResult[None]:
    """The ads of the day: campaign, ad set, creative, texts, status, budget owner and experiment.

    One row per ad that is live on the day or known to start on the next step.
    """
    day = day_of(context, source, store.settings)
    accounts = source.accounts()
    store.register(accounts)
    ads = source.catalog(day.date)
    written = store.lake.write("ad_catalog", day.date, ads.sort("account_id", "ad_id"))
    live = ads.filter(pl.col("status") == "active")
    numbers = {
        "accounts": accounts.height,
        "ads": ads.height,
        "live_ads": live.height,
        "scheduled_ads": ads.filter(pl.col("status") == "scheduled").height,
        "experiments": live["experiment_id"].n_unique() - int(live["experiment_id"].has_nulls()),
    }
    by_template = live.group_by("template").len("ads").sort("ads", descending=True).head(10)
    return report(written, CATALOG, numbers, table=markdown_table(by_template, day.simulated, "Live ads by template."))


@dg.asset(partitions_def=DAILY, deps=["ad_catalog"], kinds={"polars", "parquet"}, code_version="1")
@fails_for_good
def actuals(
    context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], source: dg.ResourceParam[Source]
) -> dg.MaterializeResult[None]:
    """What each ad achieved on the account's local day: impressions, link clicks, conversions, spend, revenue.

    Counts are integers, money is in micros of the account's currency, and NULL means that the platform reported nothing. An account that
    could not be fetched keeps its old rows and is marked in `fetch_manifest`.
    """
    day = day_of(context, source, store.settings)
    began = time.monotonic()
    fetched = source.actuals(day.date, day.date, day.known_on)
    rows = keep_failed(fetched.actuals, fetched.manifest, store.lake.scan("actuals", day.date, day.date).collect())
    written = store.lake.write("actuals", day.date, rows.sort("account_id", "ad_id"))
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    manifest = fetched.manifest.with_columns(as_of=pl.lit(day.date), fact=pl.lit("daily")).join(
        owners, on="account_id", how="left"
    )
    store.replace_day("fetch_manifest", day.date, manifest, asset="actuals")
    restated = restate(store, source, day) if context.job_name == "learning_cycle" else Restated((), 0)
    if not day.replaying:
        for changed in restated.days:
            context.instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    "actuals", partition=str(changed), description=f"restated by the platform, seen on {day.date}"
                )
            )
    by_status = dict(manifest["status"].value_counts().iter_rows())
    totals = rows.select(*rates.totals(), *rates.ratios(), ads=pl.len()).to_dicts()[0]
    numbers = {
        "fetches": manifest.height,
        "fetches_successful": by_status.get("complete", 0),
        "fetches_failed": by_status.get("failed", 0),
        "fetches_rate_limited": by_status.get("rate_limited", 0),
        "fetches_without_data": by_status.get("no_data", 0),
        "fetch_seconds": time.monotonic() - began,
        "restated_days": len(restated.days),
        "restated_rows": restated.rows,
        **{name: totals[name] for name in ("ads", "impressions", "link_clicks", "conversions", "ctr", "cvr", "roas")},
    }
    return report(written, ACTUALS, numbers, table=markdown_table(per_account(rows).head(20), day.simulated, "By account."))


@dataclass(frozen=True, slots=True)
class Restated:
    """Past days that the platform has changed since they were fetched, and how many of their rows."""

    days: tuple[date, ...]
    rows: int


def restate(store: Store, source: Source, day: Day) -> Restated:
    """Fetch the days of the restatement window again and swap in those that have changed; the old rows are kept in `actuals_asof`.

    What was learned on past days stays as it is; the next cycle reads the new figures. The old rows are put aside before the first day
    is swapped, and those that an earlier run of this day put aside stay, so that a run that was killed in between loses none.
    """
    first, last = day.date - timedelta(days=store.settings.automation.restate_days), day.date - timedelta(days=1)
    known = store.lake.days("actuals", first, last)
    if source.kind == "archive" or not known:
        return Restated((), 0)
    fetched = source.actuals(first, last, day.known_on)
    fresh = fetched.actuals.sort("account_id", "ad_id").partition_by("date", as_dict=True, include_key=True)
    changed: dict[date, pl.DataFrame] = {}
    superseded: list[pl.DataFrame] = []
    for past in known:
        old = store.lake.read("actuals", past)
        new = keep_failed(fresh.get((past,), old.clear()), fetched.manifest, old).sort("account_id", "ad_id")
        if not new.equals(old):
            changed[past] = new
            superseded.append(old.join(new, on=old.columns, how="anti", nulls_equal=True))
    gone = pl.concat([pl.DataFrame(schema=ACTUALS), *superseded])
    aside = store.lake.scan("actuals_asof", day.date, day.date).collect()
    # A replay that comes by again supersedes rows that were known later only; its first pass has put aside the right ones.
    if not day.replaying or store.lake.version("actuals_asof", day.date) is None:
        until = gone.select(pl.lit(day.date - timedelta(days=1)).alias("known_until"), pl.all())
        ads = ["date", "account_id", "ad_id"]
        store.lake.write("actuals_asof", day.date, pl.concat([aside, until]).unique(ads, keep="first").sort(ads))
    for past, new in changed.items():
        store.lake.write("actuals", past, new)
    return Restated(tuple(changed), gone.height)


def keep_failed(new: pl.DataFrame, manifest: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """The new rows, and the old ones of accounts whose fetch failed."""
    failed = manifest.filter(pl.col("status").is_in(["failed", "rate_limited"])).select("account_id")
    return pl.concat([new.join(failed, on="account_id", how="anti"), old.join(failed, on="account_id", how="semi")])


def per_account(rows: pl.DataFrame) -> pl.DataFrame:
    """Figures of the day by account, largest first; money in units of the account's currency."""
    return (
        rows.group_by("account_id", "currency")
        .agg(*rates.totals(), *rates.ratios(), ads=pl.len())
        .sort("impressions", descending=True)
        .select(
            "account_id",
            "ads",
            "impressions",
            "link_clicks",
            "conversions",
            pl.col("spend_micros") / 1e6,
            "currency",
            "ctr",
            "cvr",
            "roas",
        )
        .rename({"spend_micros": "spend"})
    )
