"""What the creatives say: `creative_dna`."""

from datetime import timedelta

import dagster as dg
import polars as pl

from learning_assets.assets.asking import ask_hooks
from learning_assets.assets.day import Day, day_of
from learning_assets.assets.media import read_media
from learning_assets.assets.report import markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import dna, embedding, footage
from learning_assets.partitions import DAILY
from learning_assets.platforms import claude
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.tables import Written
from learning_assets.store.walls import PIPELINE

_KEY = ["account_id", "creative_id"]

VERSION = f"{dna.VERSION}+{embedding.VERSION}+claude-{claude.PROMPT}"


@dg.asset(
    partitions_def=DAILY,
    deps=["ad_catalog"],
    kinds={"polars", "postgres"},
    code_version=f"{VERSION}+footage-{footage.VERSION}",
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
    """
    day = day_of(context, source, store.settings)
    listed = store.lake.scan("ad_catalog", day.date, day.date).unique(["account_id", "creative_id"], keep="first").collect()
    known = store.creatives(["account_id", "creative_id", "version", "hook_types", "first_seen"])
    current = known.filter(pl.col("version") == VERSION)
    window = day.pick(settings.patterns.window_days, settings.patterns.archive_window_days)
    outdated = outdated_creatives(store, day, window, known.filter(pl.col("version") != VERSION))
    new = pl.concat([listed.join(current, on=_KEY, how="anti"), outdated]).unique(_KEY, keep="first").sort(_KEY)
    seen = known.select("account_id", "creative_id", "first_seen")
    read = (
        describe(new, settings.hooks.min_confidence)
        .join(seen, on=_KEY, how="left")
        .with_columns(first_seen=pl.min_horizontal("first_seen", pl.lit(day.date)))
    )
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    rows = store.tables.upsert("creative_dna", read.join(owners, on="account_id"))
    asked = ask_hooks(store, settings, pl.concat([new, listed]).unique(_KEY, keep="first"))
    watched = read_media(store, settings, day, listed)
    live = store.creatives([*_KEY, "hook_types"]).join(listed, on=_KEY, how="semi")
    hooks = live.explode("hook_types").group_by(hook="hook_types").len("creatives").sort("creatives", descending=True)
    numbers = {
        "creatives_read": read.height,
        "creatives_live": live.height,
        "creatives_known": known.height + new.join(known, on=_KEY, how="anti").height,
        "share_without_hook_type": hooks.filter(pl.col("hook") == "unknown")["creatives"].sum() / live.height
        if live.height
        else None,
        **asked.numbers,
        **watched.numbers,
    }
    schema = {name: kind for name, kind in read.schema.items() if name not in ("text", "embedding")}
    return report(
        Written("creative_dna", rows, 1),
        schema,
        numbers,
        table=markdown_table(hooks, day.simulated, "Hook types of the live creatives."),
        tables={
            "llm_status": markdown_table(
                asked.table, day.simulated, "What became of the creatives that Claude may be asked about."
            ),
            "media_status": markdown_table(watched.table, day.simulated, "What is known of the files of the live creatives."),
        },
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
