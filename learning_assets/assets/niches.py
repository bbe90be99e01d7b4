"""What accounts are about, by the texts of their creatives: a part of `creative_dna`.

What belongs here: which accounts are due, what is read of them, and what is stored. What does not: reading a text (`learning.niche`), asking
Claude (`assets.asking`), and whose word is in force (`store`).
"""

from dataclasses import dataclass

import polars as pl

from learning_assets.learning import niche
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

SAID_BY = "classifier"
"""Who is named in `account_niches.said_by` for the local classifier."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of the accounts' niches after a day.

    Attributes
    ----------
    read : accounts whose texts were read for it.
    in_force : rows of `account_niches`, one per account that anybody spoke of.
    """

    read: int
    in_force: pl.DataFrame

    @property
    def numbers(self) -> dict[str, int]:
        """Figures under stable keys."""
        return {
            "niches_read": self.read,
            "niches_known": self.in_force["niche"].count(),
            "niches_unknown": self.in_force["niche"].null_count(),
            "niches_mixed": self.in_force["second_niche"].count(),
        }

    @property
    def table(self) -> pl.DataFrame:
        """How many accounts are of which niche, as said by whom, most first."""
        return (
            self.in_force.group_by(pl.col("niche").fill_null(niche.UNKNOWN), "source")
            .agg(accounts=pl.len(), mixed=pl.col("second_niche").count(), mean_confidence=pl.col("confidence").mean())
            .sort("accounts", "niche", "source", descending=[True, False, False])
        )


def find_niches(store: Store, settings: Settings) -> Found:
    """Detect the niche of every account whose creatives are others than when it was last detected, and store it.

    What a person said stays in force; the detection is stored beside it.
    """
    due = due_accounts(store)
    if due.height:
        newest = pl.col("first_seen").rank("ordinal", descending=True).over("account_id") <= settings.niches.max_creatives
        texts = store.creatives(["account_id", "creative_id", "first_seen", "text", "embedding"], due["account_id"].to_list())
        local = niche.of_accounts(texts.filter(newest), settings.niches)
        store.add_detected_niches(
            due.join(local, on="account_id", how="left").with_columns(
                pl.col("niche").replace({niche.UNKNOWN: None}),
                texts=pl.col("texts").fill_null(0),
                source=pl.lit("local"),
                said_by=pl.lit(SAID_BY),
                version=pl.lit(niche.VERSION),
            )
        )
    return Found(due.height, store.account_niches(PIPELINE))


def due_accounts(store: Store) -> pl.DataFrame:
    """Accounts with another number of creatives than when their niche was last detected, or detected by another version: `account_id`, `creatives`."""
    counted = store.creatives(["account_id", "creative_id"]).group_by("account_id").agg(creatives=pl.len().cast(pl.Int64))
    known = store.detected_niches().filter(version=niche.VERSION).select("account_id", "creatives")
    return counted.join(known, on=["account_id", "creatives"], how="anti").sort("account_id")
