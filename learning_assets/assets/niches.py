"""What accounts are about, by the texts of their creatives: a part of `creative_dna`.

What belongs here: which accounts are due, what is read of them, and what is stored. What does not: reading a text (`learning.niche`), asking
Claude (`assets.asking`), and whose word is in force (`store`).
"""

from dataclasses import dataclass

import polars as pl

from learning_assets.assets.asking import Asked, ask_niches
from learning_assets.learning import niche
from learning_assets.settings import Settings
from learning_assets.store.store import TEXT_TO_CLAUDE, Store
from learning_assets.store.walls import PIPELINE

TEXTS_SENT = 10
"""Texts of an account that are sent at most, each with its share of the characters."""

SAID_BY = "classifier"
"""Who is named in `account_niches.said_by` for the local classifier."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the accounts' niches after a day.

    Attributes
    ----------
    read : accounts whose texts were read for it.
    in_force : rows of `account_niches`, one per account that anybody spoke of.
    asked : what came of asking Claude.
    """

    read: int
    in_force: pl.DataFrame
    asked: Asked

    @property
    def numbers(self) -> dict[str, int | float]:
        """Figures under stable keys."""
        return {
            "niches_read": self.read,
            "niches_known": self.in_force["niche"].count(),
            "niches_unknown": self.in_force["niche"].null_count(),
            "niches_mixed": self.in_force["second_niche"].count(),
            "niches_llm_usd": self.asked.cost_usd_micros / 1e6,
        }

    @property
    def table(self) -> pl.DataFrame:
        """How many accounts are of which niche, as said by whom, most first."""
        return (
            self.in_force.group_by(pl.col("niche").fill_null(niche.UNKNOWN), "source")
            .agg(accounts=pl.len(), mixed=pl.col("second_niche").count(), mean_confidence=pl.col("confidence").mean())
            .sort("accounts", "niche", "source", descending=[True, False, False])
        )


def find_niches(store: Store, settings: Settings, spent_usd_micros: int = 0) -> Found:
    """Detect the niche of every account whose creatives are others than when it was last detected, and store it.

    Claude is asked where a key is set and the account allowed it; where no answer comes, the local classifier's stands, and Claude is asked
    again with the next cycle. What a person said stays in force; the detection is stored beside it.

    Parameters
    ----------
    spent_usd_micros : what the run spent on Claude already, millionths of a US dollar.
    """
    changed = due_accounts(store)
    due = pl.concat([changed, _unasked(store, settings).join(changed, on="account_id", how="anti")])
    asked = Asked()
    if due.height:
        texts = _newest_texts(store, due["account_id"].to_list(), settings.niches.max_creatives)
        local = due.join(niche.of_accounts(texts, settings.niches), on="account_id", how="left").with_columns(
            pl.col("niche").replace({niche.UNKNOWN: None}),
            texts=pl.col("texts").fill_null(0),
            source=pl.lit("local"),
            said_by=pl.lit(SAID_BY),
            version=pl.lit(niche.VERSION),
        )
        said, asked = ask_niches(store, settings, _sent(texts, settings), spent_usd_micros)
        silent = local.join(changed, on="account_id", how="semi").join(said, on="account_id", how="anti")
        store.add_detected_niches(pl.concat([silent, _by_claude(local, said, settings)]))
    return Found(due.height, store.account_niches(PIPELINE), asked)


def due_accounts(store: Store) -> pl.DataFrame:
    """Accounts with another number of creatives than when their niche was last detected, or detected by another version: `account_id`, `creatives`."""
    counted = store.creatives(["account_id", "creative_id"]).group_by("account_id").agg(creatives=pl.len().cast(pl.Int64))
    known = store.detected_niches().filter(version=niche.VERSION).select("account_id", "creatives")
    return counted.join(known, on=["account_id", "creatives"], how="anti").sort("account_id")


def _unasked(store: Store, settings: Settings) -> pl.DataFrame:
    """Accounts that Claude may be asked about and that the local classifier spoke of: `account_id`, `creatives`."""
    allowed = [] if settings.llm_key is None else store.consenting(TEXT_TO_CLAUDE)
    local = store.detected_niches().filter(pl.col("source") == "local", pl.col("texts") > 0)
    return local.filter(pl.col("account_id").is_in(allowed)).select("account_id", "creatives")


def _newest_texts(store: Store, account_ids: list[str], most: int) -> pl.DataFrame:
    """`account_id`, `owner`, `text` and `embedding` of the newest creatives of accounts."""
    newest = pl.col("first_seen").rank("ordinal", descending=True).over("account_id") <= most
    return store.creatives(["account_id", "creative_id", "owner", "first_seen", "text", "embedding"], account_ids).filter(
        newest
    )


def _sent(texts: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """What is sent of each account: as many distinct texts, spread evenly over all, as share the characters of one ad's text."""
    most = settings.llm.max_text_chars
    distinct = (
        texts.filter(pl.col("embedding").is_not_null()).unique(["account_id", "text"], keep="any").sort("account_id", "text")
    )
    step = (pl.len() / TEXTS_SENT).ceil().cast(pl.Int64)
    return (
        distinct.filter((pl.int_range(pl.len()) % step == 0).over("account_id"))
        .with_columns(pl.col("text").str.head(most // TEXTS_SENT))
        .group_by("account_id", "owner", maintain_order=True)
        .agg(opening=pl.col("text").first(), sent=pl.col("text").str.join("\n---\n"))
        .with_columns(pl.col("opening", "sent").str.head(most))
    )


def _by_claude(local: pl.DataFrame, said: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Rows of `account_niches` of accounts with an answer; its niches below the bar are not said."""
    sure = settings.niches.llm_min_confidence
    first, second = (pl.col("niches").list.get(at, null_on_oob=True) for at in (0, 1))
    confidence, other = (pl.col("niche_confidences").list.get(at, null_on_oob=True) for at in (0, 1))
    heard = said.select(
        "account_id",
        claude_niche=pl.when(confidence >= sure).then(first),
        claude_confidence=confidence,
        claude_second=pl.when(other >= sure).then(second),
        claude_second_confidence=pl.when(other >= sure).then(other),
    )
    return (
        local.join(heard, on="account_id")
        .with_columns(
            sub_niche=pl.when(pl.col("niche") == pl.col("claude_niche")).then("sub_niche"),
            niche="claude_niche",
            confidence="claude_confidence",
            second_niche="claude_second",
            second_confidence="claude_second_confidence",
            source=pl.lit("llm"),
            said_by=pl.lit(settings.llm.model),
        )
        .select(local.columns)
    )
