"""Putting an earlier champion back in force, and the history of the pointer.

What belongs here: which model is meant, and whether it can do the work. What does not: moving the pointer (`store.champions`), and how long it
stays there (`assets.pointer`).
"""

import zipfile
from datetime import date

import polars as pl

from learning_assets.assets.pointer import in_words
from learning_assets.learning.retraining import RateModel
from learning_assets.store.champions import ChampionError, Rollback
from learning_assets.store.models import ModelError
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, pl.exceptions.PolarsError)

HISTORY = pl.Schema(
    {
        "target": pl.String,
        "pool": pl.String,
        "since": pl.Date,
        "until": pl.Date,
        "model_id": pl.String,
        "trained_until": pl.Date,
        "how": pl.String,
    }
)
"""One row per model and time in force, oldest first; `until` is NULL for the one in force, `model_id` where there was none."""


def put_back(store: Store, target: str, pool: str, to: str | None, by: str, why: str) -> Rollback:
    """Put a champion back in force for a target and a pool: the one before, or the one that is named.

    The pointer of the newest decided day moves; predictions use the champion from their next run on. On that day it stays whatever is decided
    anew, later challengers have to beat it.

    Raises
    ------
    ChampionError : there is no earlier champion, or it cannot do the work; nothing was changed.
    ValueError : nobody is named who decides, or no reason is given.
    """
    if not by.strip() or not why.strip():
        raise ValueError("A rollback needs the name of who decides (--by) and the reason (--why); both are stored.")
    with store.champions.deciding():
        history = store.champions.history(target, pool)
        day = store.newest_day("retrained_model")
        now = history.filter(pl.col("as_of") == day).to_dicts()
        if day is None or not now:
            raise ChampionError(f"Nothing was decided for {target} of {pool}. {_known(store)}")
        if now[0]["model_id"] is None:
            raise ChampionError(f"No model of {target} of {pool} is in force yet, so that there is none to go back from.")
        found = _chosen(store, history, now[0]["model_id"], target, pool, to)
        _require_able(store, found, target, pool)
        rollback = Rollback(
            as_of=day,
            owner=now[0]["owner"],
            target=target,
            pool=pool,
            from_model_id=now[0]["model_id"],
            to_model_id=found,
            said_by=by.strip(),
            why=why.strip(),
            at=store.now,
        )
        store.champions.put_back(rollback, in_words(rollback))
    return rollback


def _known(store: Store) -> str:
    pairs = store.champions.history().select("target", "pool").unique().sort("target", "pool").rows()
    return f"There are {', '.join(f'{target} of {pool}' for target, pool in pairs)}." if pairs else "Learn a day first."


def _chosen(store: Store, history: pl.DataFrame, now: str, target: str, pool: str, to: str | None) -> str:
    """The model to put back."""
    mine = [one for one in store.champions.rollbacks() if (one.target, one.pool) == (target, pool)]
    were = history.drop_nulls("model_id").sort("as_of", descending=True)["model_id"].unique(maintain_order=True).to_list()
    withdrawn: set[str] = set()
    for one in mine:
        withdrawn.add(one.from_model_id)
        withdrawn.discard(one.to_model_id)
    if to is None:
        before = [model for model in were if model != now and model not in withdrawn]
        if not before:
            raise ChampionError(
                f"{now} is the first champion of {target} of {pool}: there is no earlier one to put back. "
                f"To train another: materialize retrained_model of the newest day with force: true."
            )
        return before[0]
    if to == now:
        raise ChampionError(f"{to} is in force already. Nothing was changed.")
    ever = [*were, *(one.from_model_id for one in mine if one.from_model_id not in were)]
    if to not in ever:
        others = [model for model in ever if model != now]
        raise ChampionError(f"{to} never was champion of {target} of {pool}; {', '.join(others) or 'no other model'} was.")
    return to


def _require_able(store: Store, model_id: str, target: str, pool: str) -> None:
    """Refuse a model that is gone, cannot be read, or was made for other features than those that are described today."""
    remedy = "Choose another with --to (learning-assets rollback --list), or train anew: retrained_model with force: true."
    models = store.tables.read("models", PIPELINE, target=target, pool=pool).sort("as_of", "model_id")
    row = models.filter(pl.col("model_id") == model_id).to_dicts()
    if not row:
        raise ChampionError(f"{model_id} is not in the registry any more, since its day was learned anew. {remedy}")
    newest = models.row(-1, named=True)
    if row[0]["features_hash"] != newest["features_hash"]:
        raise ChampionError(
            f"{model_id} was trained with other features ({row[0]['features_hash']}) than the newest model, {newest['model_id']} "
            f"({newest['features_hash']}), and cannot predict from what is described today. {remedy}"
        )
    try:
        model = RateModel.load(store.artifacts.folder(model_id))
    except ModelError as error:
        raise ChampionError(f"{error} It cannot be put back. {remedy}") from error
    except _UNREADABLE as error:
        raise ChampionError(f"The artifact of {model_id} cannot be read ({type(error).__name__}: {error}). {remedy}") from error
    if model.trees.card.schema_hash != row[0]["features_hash"]:
        raise ChampionError(f"The artifact of {model_id} is of another feature schema than the registry says. {remedy}")


def history(store: Store, target: str | None = None, pool: str | None = None) -> pl.DataFrame:
    """The pointer's history (schema HISTORY), optionally of one target or pool.

    A model that was put out of force on the day on which it had won has no day of its own; the row of the one put back names it.
    """
    days = store.champions.history(target, pool)
    trained = dict(store.tables.read("models", PIPELINE, columns=["model_id", "trained_until"]).iter_rows())
    said = {(one.as_of, one.target, one.pool): in_words(one) for one in store.champions.rollbacks()}
    rows: list[dict[str, object]] = []
    for (of_target, of_pool), part in days.group_by("target", "pool", maintain_order=True):
        last: date | None = None
        standing: list[dict[str, object]] = []
        for row in part.iter_rows(named=True):
            put = said.get((row["as_of"], of_target, of_pool)) if row["status"] == "rolled_back" else None
            if not standing or row["model_id"] != standing[-1]["model_id"] or put:
                if standing:
                    standing[-1]["until"] = last
                how = put or {"retrained": "won its contest"}.get(
                    row["status"], "none has won yet" if row["model_id"] is None else "in force"
                )
                standing.append(
                    {
                        "target": of_target,
                        "pool": of_pool,
                        "since": row["as_of"],
                        "until": None,
                        "how": how,
                        "model_id": row["model_id"],
                        "trained_until": trained.get(row["model_id"] or ""),
                    }
                )
            last = row["as_of"]
        rows += standing
    return pl.DataFrame(rows, schema=HISTORY)
