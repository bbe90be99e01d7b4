"""Walls between owners: who may see which rows, and whose rows may be fitted together. The only place that decides.

Every read of the store names a `Wall`. A wall of one owner lets through the owner's rows and those that belong to nobody because
they were fitted over several consenting owners; `PIPELINE` is the learning cycle itself, which keeps rows apart by account.
"""

import hashlib
import re
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Wall:
    """Who reads: one owner, or the pipeline (`owner` None)."""

    owner: str | None


PIPELINE = Wall(None)
"""The learning cycle. It reads every row and must not show one owner's rows to another."""

SHARED = "shared"
"""Name of the pool of consenting owners."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Accounts whose rows may be fitted together.

    Attributes
    ----------
    name : `shared`, or the owner's name.
    owner : the one owner of all its accounts, or None for the shared pool.
    account_ids : sorted.
    owners : number of owners in it.
    """

    name: str
    owner: str | None
    account_ids: tuple[str, ...]
    owners: int

    @property
    def label(self) -> str:
        """The name as it may stand in a file name."""
        return label(self.name)


def label(name: str) -> str:
    """The name of an owner or a pool as it may stand in a file name; different names have different labels."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name)[:32]
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def pools(accounts: pl.DataFrame, min_owners: int) -> list[Pool]:
    """Whose rows may be fitted together.

    Parameters
    ----------
    accounts : one row per account, columns `account_id`, `owner`, `consents`.
    min_owners : consenting owners below which nothing is shared.

    Returns
    -------
    The shared pool, where at least `min_owners` owners have accounts that consent, then one pool for each owner of the other accounts,
    by name. Every account is in exactly one pool.
    """
    consenting = accounts.filter(pl.col("consents").fill_null(value=False))
    found: list[Pool] = []
    rest = accounts
    if consenting["owner"].n_unique() >= min_owners:
        found.append(Pool(SHARED, None, tuple(sorted(consenting["account_id"])), consenting["owner"].n_unique()))
        rest = accounts.join(consenting.select("account_id"), on="account_id", how="anti")
    for (owner,), rows in rest.sort("owner").group_by("owner", maintain_order=True):
        found.append(Pool(str(owner), str(owner), tuple(sorted(rows["account_id"])), 1))
    return found


def niches(accounts: pl.DataFrame, min_owners: int) -> list[Pool]:
    """Consenting accounts of a niche, where they are of at least `min_owners` owners, by the niche's name.

    Parameters
    ----------
    accounts : as for `pools`, with the column `niche`.
    """
    consenting = accounts.filter(pl.col("consents").fill_null(value=False), pl.col("niche").is_not_null())
    return [
        Pool(str(niche), None, tuple(sorted(rows["account_id"])), rows["owner"].n_unique())
        for (niche,), rows in consenting.sort("niche").group_by("niche", maintain_order=True)
        if rows["owner"].n_unique() >= min_owners
    ]
