"""What accounts give and what niches know: `account_insights` and `niche_wisdom`."""

from datetime import timedelta

import dagster as dg
import polars as pl

from learning_assets.assets.day import day_of, next_in_chain
from learning_assets.assets.report import Number, markdown_table, percent, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import wisdom
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE


@dg.asset(partitions_def=DAILY, deps=["actuals", "patterns"], kinds={"polars", "postgres"}, code_version=wisdom.VERSION)
@bounded_retries
def account_insights(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What leaves the owners that consent, and nothing else does: log lifts of single attributes, clipped and shrunk, and benchmark rates.

    No text, ids of ads, names, volumes or variances.
    """
    day = day_of(context, source, settings)
    accounts = store.accounts(PIPELINE).filter("consents")
    found = store.tables.read("learning_patterns", PIPELINE, as_of=day.date, scope="account")
    mature = pl.lit(day.date - timedelta(days=settings.growth.mature_days + 1))
    recent = pl.col("date").is_between(mature - pl.duration(days=settings.network.benchmark_days - 1), mature)
    sums = store.account_days(day.date).filter(recent).group_by("account_id").agg(pl.col(pl.Int64).sum())
    parts = [wisdom.lifts(found, accounts, settings.network), wisdom.benchmarks(sums, accounts, settings.network)]
    rows = pl.concat(parts).with_columns(as_of=pl.lit(day.date))
    written = store.replace_day("account_insights", day.date, rows, onward=day.replaying)
    by_metric = rows.group_by("metric").agg(insights=pl.len(), owners=pl.col("owner").n_unique()).sort("metric")
    numbers: dict[str, Number] = {
        "insights": rows.height,
        "contributing_owners": rows["owner"].n_unique(),
        "consenting_accounts": accounts.height,
    }
    return report(written, rows.schema, numbers, table=markdown_table(by_metric, day.simulated, "What left the owners."))


@dg.asset(partitions_def=DAILY, deps=["account_insights"], kinds={"polars", "postgres"}, code_version=wisdom.VERSION)
@bounded_retries
def niche_wisdom(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What niches know, each figure of at least five owners and none of one of them.

    A cell is told anew when five memberships have changed, and is *dark* from the moment that an owner in it withdraws until then. Niches
    that are too thin are told what all niches know together. At five owners an interval is about 33 log points to each side.
    """
    day = next_in_chain(context, store, source, "niche_wisdom")
    insights = store.tables.read("account_insights", PIPELINE, as_of=day.date)
    accounts = store.accounts(PIPELINE).filter("consents")
    withdrawn = store.withdrawn_since(store.newest_day("niche_wisdom", before=day.date))
    consenting = accounts.filter(~pl.col("owner").is_in(withdrawn))["owner"].unique().sort()
    state = wisdom.advance(store.wisdom_before(day.date), insights, consenting, day.date, settings.network)
    written = store.replace_wisdom(day.date, state, onward=day.replaying)
    told = wisdom.published(state)
    return report(
        written,
        told.schema,
        figures(state),
        table=markdown_table(in_words(told).head(20), day.simulated, "What niches know, the largest lifts first."),
    )


def figures(state: wisdom.State) -> dict[str, Number]:
    """What the UI plots from day to day."""
    told = wisdom.published(state)
    lit = told.filter(pl.col("status") == "published")
    return {
        "cells_published": lit.height,
        "cells_dark": told.height - lit.height,
        "cells_over_all_niches": lit.filter(pl.col("scope") == "all").height,
        "niches_covered": lit["niche"].drop_nulls().n_unique(),
        "cells_whose_interval_excludes_zero": lit.filter((pl.col("low") > 0) | (pl.col("high") < 0)).height,
    }


def in_words(told: pl.DataFrame) -> pl.DataFrame:
    """Lifts as a media buyer reads them, the largest first."""
    lifts = told.filter(pl.col("status") == "published", pl.col("attribute") != wisdom.BENCHMARK)
    rows = lifts.sort(
        pl.col("log_ratio").abs(), "scope", "niche", "attribute", "value", "metric", descending=[True, *[False] * 5]
    )
    return rows.select(
        pl.col("niche").fill_null("all niches"),
        choice=pl.format("{} = {}", "attribute", "value"),
        metric="metric",
        lift=pl.col("log_ratio").map_elements(percent, return_dtype=pl.String),
        at_least=pl.col("low").map_elements(percent, return_dtype=pl.String),
        at_most=pl.col("high").map_elements(percent, return_dtype=pl.String),
        owners="owners",
        told_on="released_on",
    )
