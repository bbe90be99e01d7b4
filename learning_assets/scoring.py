"""Scores of new creatives and what to change in them, from what a store has learned: reading creatives, and asking the newest formula.

What belongs here: files and texts in, scored creatives out. What does not: how scores and suggestions are made (`learning.score`,
`learning.suggestions`), and how a terminal shows them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from learning_assets.assets.attributes import ATTRIBUTES, bins_of, described
from learning_assets.assets.formulas import known_to
from learning_assets.learning import dna, footage, score, suggestions
from learning_assets.learning.hooks import UNKNOWN
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, SHARED, Wall

TEXTS = ("headline", "body", "description")
COLUMNS = (*TEXTS, "cta", "template", "audience")
"""What is read of a creative; `name` may stand beside it."""

_FILES = (".csv", ".json", ".txt")


class ScoringError(ValueError):
    """Creatives cannot be read, or nothing is known to score them by; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A creative and what is said of it.

    Attributes
    ----------
    name : its name, or its place in the file.
    score, low, high : probability to beat the account's median ad, per cent, with bounds; None where it is unknown.
    reason : what the score rests on, or why there is none.
    attributes : what was found in it; unknown ones are left out.
    suggestions : schema `suggestions.SUGGESTIONS`.
    """

    name: str
    score: float | None
    low: float | None
    high: float | None
    reason: str
    attributes: Mapping[str, Any]
    suggestions: pl.DataFrame

    @property
    def says(self) -> str:
        """The score in words."""
        known = self.score is not None
        return f"score {self.score:.0f} of 100, between {self.low:.0f} and {self.high:.0f}" if known else "score unknown"

    @property
    def made_of(self) -> str:
        """The attributes in words."""
        values = {name: ", ".join(value) if isinstance(value, list) else value for name, value in self.attributes.items()}
        return "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items()) or "nothing"


def read(said: str) -> pl.DataFrame:
    """Creatives from a file or a text.

    Parameters
    ----------
    said : path of a CSV (columns of COLUMNS, and `name`), of JSON (an object or a list of them with those keys), or of a plain text; or the
        text itself. The first line of a text is the headline, what follows is the body.

    Returns
    -------
    `name` and COLUMNS, String; NULL where nothing is said.

    Raises
    ------
    ScoringError : the file is not there or cannot be read, or a creative has no text.
    """
    path = Path(said)
    is_file = "\n" not in said and len(said) < 1_000 and path.is_file()
    if not is_file:
        if path.suffix.lower() in _FILES and " " not in said:
            raise ScoringError(
                f"There is no file {said}. Give the path of a CSV, JSON or text file, or the text itself in quotes."
            )
        return _creatives([_of_text(said)], "the text")
    try:
        if path.suffix.lower() == ".csv":
            rows = pl.read_csv(path, infer_schema=False).to_dicts()
        elif path.suffix.lower() == ".json":
            told = json.loads(path.read_text())
            rows = told if isinstance(told, list) else [told]
        else:
            rows = [_of_text(path.read_text())]
    except (pl.exceptions.PolarsError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ScoringError(
            f"{path.name} cannot be read: {error}. Save it as UTF-8 {path.suffix.lstrip('.').upper()}."
        ) from error
    return _creatives(rows, path.name)


def _of_text(text: str) -> dict[str, str | None]:
    first, _, rest = text.strip().partition("\n")
    return {"headline": first.strip() or None, "body": rest.strip() or None}


def _creatives(rows: list[Any], source: str) -> pl.DataFrame:
    if not rows:
        raise ScoringError(f"{source} holds no creative. Its columns are {', '.join(('name', *COLUMNS))}.")
    found: list[dict[str, str | None]] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise ScoringError(f"{source}, creative {number} is no object with the keys {', '.join(COLUMNS)}.")
        said = {name: str(row[name]).strip() or None for name in ("name", *COLUMNS) if row.get(name) is not None}
        if not any(said.get(name) for name in TEXTS):
            raise ScoringError(f"{source}, creative {number} has no text. Give it at least one of {', '.join(TEXTS)}.")
        found.append({"name": None, **dict.fromkeys(COLUMNS), **said})
    frame = pl.DataFrame(found, schema=dict.fromkeys(("name", *COLUMNS), pl.String))
    return frame.with_columns(name=pl.coalesce("name", pl.format("creative {}", pl.int_range(1, pl.len() + 1))))


def scored(store: Store, creatives: pl.DataFrame, account_id: str | None) -> tuple[date, list[Scored]]:
    """What the newest learned day says of creatives.

    Parameters
    ----------
    creatives : as `read` gives them.
    account_id : whose creatives they are to be. It is told what its owner may know; None is told what was learned over all consenting accounts.

    Returns
    -------
    The learned day, and the creatives in the order given.

    Raises
    ------
    ScoringError : nothing was learned yet, or the account is not known.
    """
    accounts = {row["account_id"]: row for row in store.accounts(PIPELINE).to_dicts()}
    if account_id is not None and account_id not in accounts:
        raise ScoringError(f"There is no account {account_id!r}; there are {', '.join(sorted(accounts)) or 'none yet'}.")
    day = store.newest_day("winning_formulas")
    if day is None:
        raise ScoringError("Nothing was learned yet to score creatives by. Learn first: learning-assets replay")
    account = accounts.get(account_id or "", {})
    wall = Wall(account["owner"]) if account else PIPELINE
    formulas = known_to(store.tables.read("winning_formulas", wall, as_of=day), account_id, account.get("niche"))
    patterns = store.tables.read("learning_patterns", wall, until=day, latest=True)
    patterns = known_to(patterns, account_id, account.get("niche"))
    found = _attributes(store, creatives, account_id, day)
    said, reason = _scores(found, formulas, account_id)
    told = [
        Scored(
            name=name,
            score=one["score"],
            low=one["score_low"],
            high=one["score_high"],
            reason=reason,
            attributes={key: value for key, value in row.items() if value not in (None, [], [UNKNOWN])},
            suggestions=suggestions.suggest(row, formulas, patterns, ATTRIBUTES, store.settings.formula),
        )
        for name, row, one in zip(creatives["name"], found.iter_rows(named=True), said.iter_rows(named=True), strict=True)
    ]
    return day, told


def _attributes(store: Store, creatives: pl.DataFrame, account_id: str | None, day: date) -> pl.DataFrame:
    """What is found in the creatives: ATTRIBUTES, with numbers in the bins of the account's pool."""
    numbered = creatives.with_columns(
        creative_id=pl.int_range(pl.len()).cast(pl.String), account_id=pl.lit(account_id or "", pl.String)
    )
    extracted = dna.extract(numbered, store.settings.hooks.min_confidence)
    unseen = [pl.lit(None, kind).alias(name) for name, kind in footage.FOOTAGE.items() if name not in extracted.columns]
    pools = dict(store.pool_of_accounts().select("account_id", "pool").iter_rows())
    named = described(extracted.with_columns(*unseen, pool=pl.lit(pools.get(account_id or "", SHARED))), bins_of(store, day))
    return named.with_columns(audience=creatives["audience"]).select(ATTRIBUTES)


def _scores(found: pl.DataFrame, formulas: pl.DataFrame, account_id: str | None) -> tuple[pl.DataFrame, str]:
    """Scores by the nearest scope that has one, and what they rest on; why there is none where all say nothing."""
    whys: list[str] = []
    own = formulas.filter(pl.col("scope") == "account", pl.col("kind") == "choice")
    for scope, words in (("account", "this account"), ("niche", "the niche"), ("all", "all consenting accounts")):
        rows = formulas.filter(pl.col("scope") == scope)
        if rows.is_empty():
            continue
        model, validation = score.restored(rows)
        if model is not None:
            shares = own.select("attribute", "value", "share") if account_id is not None else None
            return score.score(found, model, validation, shares), f"Learned from {words}. {validation.reason}"
        whys.append(f"By {words}: {validation.reason}")
    nothing = score.score(found, None, score.Validation(True, "", 0, 0))
    return nothing, " ".join(whys) or "Nothing was learned that this account may know."
