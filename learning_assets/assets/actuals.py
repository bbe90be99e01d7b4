"""What the ads are and what they achieved: `ad_catalog` and `actuals`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, day_of
from learning_assets.assets.permanent import fails_for_good
from learning_assets.assets.report import Number, markdown_table, report
from learning_assets.learning import lag, rates
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import ACTUALS, CATALOG, MANIFEST, USABLE, Fetched, Source
from learning_assets.store.facts import Swapped, by_age, swap
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

POOL = "platform"
"""Pool of the runs that ask the platform; how many may at a time stands in `dagster.yaml`."""

AT_ONCE = 31
"""Days that are fetched together before a replay."""

AGES = (1, 2, 3, 7, 14, 28)
"""Upper ends, in days, of the ages by which restatements are reported."""


@dg.asset(partitions_def=DAILY, kinds={"polars", "parquet"}, code_version="2", pool=POOL)
@fails_for_good
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
    ads = keep_unusable(fetched, old, ["account_id"])
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
@fails_for_good
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
    seen_by = day.date if cycle or day.replaying else next_cycle(store, day)
    fetched = kept(store, source, day, "daily") or source.actuals(day.date, day.date, day.known_on)
    swapped = swap_in(store, fetched, day.date, seen_by)
    record(store, fetched)
    hours = kept(store, source, day, "hourly") or source.hourly(day.date)
    old = store.lake.scan("actuals_hourly", day.date, day.date).collect()
    by_hour = keep_unusable(hours, old, ["account_id"]).sort("account_id", "ad_id", "hour")
    store.lake.write("actuals_hourly", day.date, by_hour)
    record(store, hours)
    restated = restate(store, source, day) if cycle else Restated((), 0)
    if not day.replaying:
        for changed in restated.days:
            context.instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    "actuals", partition=str(changed), description=f"restated by the platform, seen on {day.date}"
                )
            )
    rows = store.lake.read("actuals", day.date)
    totals = rows.select(*rates.totals(), *rates.ratios(), ads=pl.len()).to_dicts()[0]
    numbers: dict[str, Number] = {
        **fetch_statistics(fetched.manifest, time.monotonic() - began),
        "hours": by_hour.height,
        "restated_days": len(restated.days),
        "restated_rows": restated.rows,
        **{name: totals[name] for name in ("ads", "impressions", "link_clicks", "conversions", "ctr", "cvr", "roas")},
    }
    troubled = fetched.manifest.filter(pl.col("reason").is_not_null() & (pl.col("status") != "no_data"))
    tables = {"accounts_not_complete": markdown_table(troubled.select("account_id", "status", "reason"), day.simulated)}
    if restated.by_age is not None:
        tables["restatement"] = markdown_table(
            restated.by_age, day.simulated, "What the platform changed since, by age in days."
        )
    return report(
        swapped.written,
        ACTUALS,
        numbers,
        table=markdown_table(per_account(rows).head(20), day.simulated, "By account."),
        tables=tables,
    )


KEPT_IN = {"daily": "actuals", "hourly": "actuals_hourly"}


def kept(store: Store, source: Source, day: Day, fact: str) -> Fetched | None:
    """In a replay: what was fetched of the day already, where that is complete and the source cannot say what was known then."""
    if not day.replaying or source.looks_back or not store.lake.days(KEPT_IN[fact], day.date, day.date):
        return None
    told = store.tables.read("fetch_manifest", PIPELINE, as_of=day.date, fact=fact).rename({"as_of": "date"})
    whole = told.filter(pl.col("status").is_in(["complete", "no_data"])).select("account_id")
    if store.accounts(PIPELINE).join(whole, on="account_id", how="anti").height:
        return None
    return Fetched(store.lake.read(KEPT_IN[fact], day.date), told.select(MANIFEST.names()))


def fetch_range(store: Store, source: Source, days: Sequence[date], progress: Callable[[int, int], None] | None = None) -> None:
    """Before a replay of a source that cannot look back: fetch in bulk the days that are not complete yet, a month at a time.

    A range that was interrupted goes on where it stopped. `progress` is called with the days done and how many there are.
    """
    if source.looks_back:
        return
    store.register(source.accounts())
    known = store.accounts(PIPELINE).height
    told = store.tables.read("fetch_manifest", PIPELINE, columns=["as_of", "account_id", "status"], fact="daily")
    done = told.filter(pl.col("status").is_in(["complete", "no_data"])).group_by("as_of").len().filter(pl.col("len") >= known)
    missing = sorted(set(days) - (set(done["as_of"]) & set(store.lake.days("actuals"))))
    for start in range(0, len(missing), AT_ONCE):
        part = missing[start : start + AT_ONCE]
        fetched = source.actuals(part[0], part[-1], part[-1])
        for past in part:
            swap_in(store, fetched, past, past)
        asked = fetched.manifest.filter(pl.col("date").is_in(part))
        record(store, Fetched(fetched.rows, asked, fetched.release))
        if progress is not None:
            progress(start + len(part), len(missing))


def next_cycle(store: Store, day: Day) -> date:
    """The cycle that will be the first to see what is fetched now: that of the day itself, or the one after the last learned."""
    learned = store.newest_day("snapshots")
    return day.date if learned is None else max(day.date, learned + timedelta(days=day.step_days))


def record(store: Store, fetched: Fetched) -> None:
    """Keep the manifest; rows of accounts that the store does not know (they could never be read) are kept under their own name."""
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    rows = fetched.manifest.join(owners, on="account_id", how="left").with_columns(
        pl.col("owner").fill_null(pl.col("account_id"))
    )
    store.tables.upsert("fetch_manifest", rows.rename({"date": "as_of"}))
    fetched.release()


def keep_unusable(fetched: Fetched, old: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The new rows, and the old ones of accounts (and days) whose answer is not to be used."""
    unusable = fetched.manifest.filter(~pl.col("status").is_in(USABLE)).select(key)
    return pl.concat([fetched.rows.join(unusable, on=key, how="anti"), old.join(unusable, on=key, how="semi")])


def swap_in(store: Store, fetched: Fetched, day: date, seen_by: date) -> Swapped:
    """Replace a day of `actuals` by what was fetched of it; accounts whose answer is not to be used keep their old rows."""
    old = store.lake.scan("actuals", day, day).collect()
    new = keep_unusable(of_day(fetched, day), old, ["account_id"])
    return swap(store.lake, day, first_known(new, old), seen_by)


def of_day(fetched: Fetched, day: date) -> Fetched:
    """The part of an answer that is about one day."""
    return Fetched(fetched.rows.filter(pl.col("date") == day), fetched.manifest.filter(pl.col("date") == day))


def first_known(new: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """A row that was there before it was restated has its history kept, however late it is fetched again."""
    key = ["account_id", "ad_id"]
    before = old.select(*key, was_restated="restated").unique(key, keep="any")
    return (
        new.join(before, on=key, how="left")
        .with_columns(restated=pl.coalesce("was_restated", "restated"))
        .select(ACTUALS.names())
    )


@dataclass(frozen=True, slots=True)
class Restated:
    """Past days that the platform has changed since they were fetched, how many of their rows, and the changes by age."""

    days: tuple[date, ...]
    rows: int
    by_age: pl.DataFrame | None = None


def restate(store: Store, source: Source, day: Day) -> Restated:
    """Fetch the days of the restatement window again and swap in those that have changed; the old rows are kept in `actuals_asof`.

    What was learned on past days stays as it is; the next cycle reads the new figures. In a replay a source that cannot say what was known
    on a past day is not asked: the kept versions say it.
    """
    window = store.settings.automation.restate_days
    first, last = day.date - timedelta(days=window), day.date - timedelta(days=1)
    known = store.lake.days("actuals", first, last)
    if source.kind == "archive" or not known or (day.replaying and not source.looks_back):
        return Restated((), 0)
    fetched = source.actuals(first, last, day.known_on)
    changed: list[date] = []
    changes: list[pl.DataFrame] = []
    for past in known:
        swapped = swap_in(store, fetched, past, day.date)
        if swapped.written.changed:
            changed.append(past)
            changes.append(swapped.superseded.with_columns(age=pl.lit((day.date - past).days)))
    usable = fetched.manifest.filter(pl.col("status").is_in(USABLE) & pl.col("date").is_in(known))
    record(store, Fetched(fetched.rows.clear(), usable, fetched.release))
    ages = restatement(store, changes, known) if changes else None
    learn_lag(store, day, window)
    return Restated(tuple(changed), sum(frame.height for frame in changes), ages)


def restatement(store: Store, changes: Sequence[pl.DataFrame], known: Sequence[date]) -> pl.DataFrame:
    """What changed by age of the day: rows, and conversions and impressions against what they were."""
    counted = ("impressions", "conversions")
    was = pl.concat(changes).select(
        "age", "date", "account_id", "ad_id", *(pl.col(name).alias(f"{name}_was") for name in counted)
    )
    now = store.lake.scan("actuals", min(known), max(known)).select("date", "account_id", "ad_id", *counted).collect()
    band = pl.coalesce(pl.when(pl.col("age") <= end).then(pl.lit(f"up to {end}")) for end in AGES)
    both = was.join(now, on=["date", "account_id", "ad_id"], how="left")
    return (
        both.with_columns(age_days=band)
        .group_by("age_days")
        .agg(
            rows=pl.len(),
            days=pl.col("date").n_unique(),
            **{f"{name}_before": pl.col(f"{name}_was").sum() for name in counted},
            **{f"{name}_now": pl.col(name).sum() for name in counted},
            oldest=pl.col("age").max(),
        )
        .sort("oldest")
        .drop("oldest")
    )


def learn_lag(store: Store, day: Day, window: int) -> None:
    """Learn from the kept versions how many of a day's conversions are known after so many days, account by account."""
    first = day.date - timedelta(days=2 * window)
    seen = by_age(store.lake, first, day.date - timedelta(days=1), day.date, window).collect()
    found = lag.curve(seen, window).join(store.accounts(PIPELINE).select("account_id", "owner"), on="account_id")
    rows = found.with_columns(as_of=pl.lit(day.date))
    store.replace_day("conversion_lags", day.date, rows, onward=day.replaying)


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
