"""Past winners that resemble an idea, from what is stored: for the command line.

What belongs here: whose winners are searched, what an idea is, and what is said where there is none. What does not: the search itself
(`store.memory`), and who is a winner (`learning.memory`).
"""

from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.assets.memory import in_words
from learning_assets.learning import embedding
from learning_assets.store.memory import ASSET
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Wall

_TEXT_CHARS = 80
"""Of a winner's text, its first ones are shown."""


@dataclass(frozen=True, slots=True)
class Idea:
    """What is looked for: an embedding, shape (256,), NaN where nothing of the text is known, and the creative that it is of, if any."""

    vector: NDArray[np.floating[Any]]
    creative: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes
    ----------
    owner : whose winners were searched.
    as_of : the newest day that the memory was learned for.
    winners : one row per winner, nearest first: similarity, its text, and the columns of `assets.memory.in_words`.
    says : one sentence: how many of how many winners, or why there is none.
    """

    owner: str
    as_of: date
    winners: pl.DataFrame
    says: str


def search(
    store: Store,
    text: str | None = None,
    *,
    creative_id: str | None = None,
    account_id: str | None = None,
    owner: str | None = None,
    count: int | None = None,
    min_similarity: float | None = None,
    min_ctr: float = 0.0,
) -> Found:
    """Winners of one owner that resemble a text, or a creative of the owner's.

    Parameters
    ----------
    text, creative_id : one of the two.
    account_id, owner : whose winners: of the owner named, or of the account's. Neither is needed where all accounts have one owner.
    count, min_similarity, min_ctr : see `store.memory.WinnerMemory.search`.

    Raises
    ------
    ValueError : nothing was learned yet, no idea or two of them are given, or owner, account or creative are not known; with the remedy.
    """
    if (text is None or not text.strip()) == (creative_id is None):
        raise ValueError("Give a text, or a creative by --creative, and not both.")
    day = store.newest_day(ASSET)
    if day is None:
        raise ValueError("No winner memory was learned yet. Learn some days: learning-assets replay")
    whose = _owner(store, account_id, owner)
    wall = Wall(whose)
    idea = Idea(embedding.embed([text])[0]) if creative_id is None else _idea_of(store, wall, creative_id, account_id)
    limits = {"count": count, "min_similarity": min_similarity, "min_ctr": min_ctr}
    found = store.memory.search(idea.vector, wall, but=idea.creative, **limits)
    least = store.settings.memory.min_similarity if min_similarity is None else min_similarity
    says = _said(store, wall, idea, found.height, least, min_ctr)
    return Found(whose, day, _with_texts(store, wall, found), says)


def _owner(store: Store, account_id: str | None, owner: str | None) -> str:
    accounts = store.accounts(PIPELINE)
    owners = dict(accounts.select("account_id", "owner").iter_rows())
    if account_id is not None and account_id not in owners:
        raise ValueError(f"There is no account {account_id}; there are {', '.join(owners)}.")
    named = {one for one in (owner, owners.get(account_id or "")) if one is not None} or set(owners.values())
    if unknown := named - set(owners.values()):
        raise ValueError(f"There is no owner {unknown.pop()}; there are {', '.join(sorted(set(owners.values())))}.")
    if len(named) == 1:
        return named.pop()
    if account_id is not None and owner is not None:
        raise ValueError(f"Account {account_id} belongs to {owners[account_id]}, not to {owner}. Leave one of the two out.")
    raise ValueError(
        f"Winners are searched within one owner. Name an account with --account ({', '.join(owners)}), or an owner with --owner."
    )


def _idea_of(store: Store, wall: Wall, creative_id: str, account_id: str | None) -> Idea:
    """A creative of the owner's as an idea; it is not among its own results, whatever other creatives show the same."""
    key = ["account_id", "creative_id"]
    known = store.tables.read("creative_dna", wall, columns=key)
    if account_id is not None:
        known = known.filter(pl.col("account_id") == account_id)
    of = known.filter(pl.col("creative_id") == creative_id)
    where = f"account {account_id}" if account_id else f"the accounts of {wall.owner}"
    if of.is_empty():
        near = get_close_matches(creative_id, known["creative_id"].unique().sort().to_list())
        like = f" Ids like it: {', '.join(near)}." if near else ""
        raise ValueError(f"There is no creative {creative_id} in {where}.{like}")
    if of.height > 1:
        accounts = ", ".join(of["account_id"].sort())
        raise ValueError(f"Creatives called {creative_id} are in the accounts {accounts}. Name one of them with --account.")
    row = store.tables.read("creative_dna", wall, columns=["owner", "fingerprint", "embedding"], **of.row(0, named=True)).row(
        0, named=True
    )
    itself = None if row["fingerprint"] is None else (row["owner"], row["fingerprint"])
    return Idea(embedding.from_bytes([row["embedding"]])[0], itself)


def _said(store: Store, wall: Wall, idea: Idea, found: int, least: float, min_ctr: float) -> str:
    members = store.memory.members(wall).height
    rules = store.settings.memory
    if np.isnan(idea.vector).any():
        return "Nothing can be compared: there is no text, or none of its words are known."
    if not members:
        return (
            f"{wall.owner} has no proven winner yet: of no creative does the lower end of the {100 * rules.confidence_level:g} % interval "
            f"reach a CTR of {100 * rules.enter_ctr:g} %, a CVR of {100 * rules.enter_cvr:g} % or a ROAS of {rules.enter_roas:g}."
        )
    of = f"of the {members:,} winners of {wall.owner}" if members > 1 else f"of the one winner of {wall.owner}"
    with_ctr = f" with a CTR of at least {100 * min_ctr:g} %" if min_ctr > 0 else ""
    if found:
        return f"{found} {of} resemble it by {least:g} or more{with_ctr}."
    nearest = store.memory.search(idea.vector, wall, count=1, min_similarity=-1, min_ctr=min_ctr, but=idea.creative)
    near = (
        f"the nearest{with_ctr} by {nearest['similarity'][0]:.2f}"
        if nearest.height
        else f"there is no other{with_ctr} that has text"
    )
    return f"None {of} resembles it by {least:g} or more{with_ctr}: {near}."


def _with_texts(store: Store, wall: Wall, winners: pl.DataFrame) -> pl.DataFrame:
    key = ["account_id", "creative_id"]
    accounts, creatives = (winners[name].unique().to_list() for name in key)
    texts = store.tables.read("creative_dna", wall, columns=[*key, "text"], account_id=accounts, creative_id=creatives)
    said = winners.join(texts, on=key, how="left", maintain_order="left")["text"]
    short = pl.when(said.str.len_chars() > _TEXT_CHARS).then(pl.format("{} ...", said.str.head(_TEXT_CHARS))).otherwise(said)
    return pl.concat([winners.select("similarity", text=short), in_words(winners)], how="horizontal")
