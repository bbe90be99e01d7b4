"""What the creatives say: `creative_dna`."""

from datetime import timedelta

import dagster as dg
import polars as pl

from learning_assets.assets.asking import ask_hooks
from learning_assets.assets.day import Day, day_of
from learning_assets.assets.media import read_media
from learning_assets.assets.niches import find_niches
from learning_assets.assets.report import markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import dna, embedding, footage, niche
from learning_assets.partitions import DAILY
from learning_assets.platforms import claude
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.tables import Written
from learning_assets.store.walls import PIPELINE

_KEY = ["account_id", "creative_id"]

VERSION = f"{dna.VERSION}+{embedding.VERSION}+claude-{claude.HOOKS.version}"


@dg.asset(
    partitions_def=DAILY,
    deps=["ad_catalog"],
    kinds={"polars", "postgres"},
    code_version=f"{VERSION}+footage-{footage.VERSION}+niche-{niche.VERSION}",
)
@bounded_retries
def creative_dna(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What each creative is made of: hook types, copy, call to action, and the embedding of its text.

    One row per creative, read once; a creative is read again when the rules have changed. What its words do not say is NULL. Hook types
    are said by Claude where a key is set and the account allowed it, else by rules. Files are read where there are any, so many a cycle.
    What an account is about is told from its texts again whenever it has new ones.
    """
    day = day_of(context, source, store.settings)
    listed = store.lake.scan("ad_catalog", day.date, day.date).unique(["account_id", "creative_id"], keep="first").collect()
    new, known = to_read(store, settings, day, listed)
    rows = store.tables.upsert("creative_dna", read(store, settings, day, new, known))
    asked = ask_hooks(store, settings, pl.concat([new, listed]).unique(_KEY, keep="first"))
    watched = read_media(store, settings, day, listed)
    niches = find_niches(store, settings, asked.cost_usd_micros)
    live = store.creatives([*_KEY, "hook_types"]).join(listed, on=_KEY, how="semi")
    hooks = (
        live.explode("hook_types")
        .group_by(hook=pl.col("hook_types").fill_null("no text"))
        .len("creatives")
        .sort("creatives", descending=True)
    )
    unknown = hooks.filter(pl.col("hook") == "unknown")["creatives"].sum()
    numbers = {
        "creatives_read": new.height,
        "creatives_live": live.height,
        "creatives_known": known.height + new.join(known, on=_KEY, how="anti").height,
        "share_without_hook_type": unknown / live.height if live.height else None,
        **asked.numbers,
        **watched.numbers,
        **niches.numbers,
    }
    of_claude, of_files = "What became of the creatives that Claude may be asked about.", "What is known of the files."
    return report(
        Written("creative_dna", rows, 1),
        {name: kind for name, kind in store.tables.schema("creative_dna").items() if name not in ("text", "embedding")},
        numbers,
        table=markdown_table(hooks, day.simulated, "Hook types of the live creatives."),
        tables={
            "llm_status": markdown_table(asked.table, day.simulated, of_claude),
            "media_status": markdown_table(watched.table, day.simulated, of_files),
            "niches": markdown_table(niches.table, day.simulated, "What the accounts are about, and who says so."),
        },
    )


def to_read(store: Store, settings: Settings, day: Day, listed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Catalog rows of the creatives that were never read, or by other rules, and what is stored of those that were."""
    known = store.creatives([*_KEY, "version", "first_seen"])
    is_current = pl.col("version") == VERSION
    window = day.pick(settings.patterns.window_days, settings.patterns.archive_window_days)
    outdated = outdated_creatives(store, day, window, known.filter(~is_current))
    fresh = listed.join(known.filter(is_current), on=_KEY, how="anti")
    return pl.concat([fresh, outdated]).unique(_KEY, keep="first").sort(_KEY), known


def read(store: Store, settings: Settings, day: Day, new: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Rows of `creative_dna` of new creatives; `first_seen` stays what it was."""
    return (
        describe(new, settings.hooks.min_confidence)
        .join(known.select(*_KEY, "first_seen"), on=_KEY, how="left")
        .with_columns(first_seen=pl.min_horizontal("first_seen", pl.lit(day.date)))
        .join(store.accounts(PIPELINE).select("account_id", "owner"), on="account_id")
    )


def outdated_creatives(store: Store, day: Day, window_days: int, read_before: pl.DataFrame) -> pl.DataFrame:
    """Catalog rows of creatives that were read by other rules and may have left the catalog, as far as the window of patterns reaches."""
    if read_before.is_empty():
        return store.lake.schema("ad_catalog").to_frame()
    listed = store.lake.scan("ad_catalog", day.date - timedelta(days=window_days - 1), day.date)
    return listed.join(read_before.lazy().select(_KEY), on=_KEY, how="semi").unique(_KEY, keep="any").collect()


def describe(creatives: pl.DataFrame, min_confidence: float) -> pl.DataFrame:
    """Rows of `creative_dna` but for `owner` and `first_seen`, for creatives with the columns of the catalog."""
    texts = creatives.select(text=dna.text_of(pl.col("headline"), pl.col("body"), pl.col("description")))["text"]
    vectors = embedding.to_bytes(embedding.embed(texts.to_list()))
    return dna.extract(creatives.select(dna.CREATIVES.names()), min_confidence).with_columns(
        version=pl.lit(VERSION), text=texts, embedding=pl.Series(vectors, dtype=pl.Binary)
    )
