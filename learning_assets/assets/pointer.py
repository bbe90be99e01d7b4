"""Moving the pointer to the champions: one run at a time, and never against a person who has put a champion back.

What belongs here: what holds for every decision about champions, whatever the target. What does not: the decision (`models`), and the pointer's
tables (`store.champions`).
"""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from learning_assets.store.champions import ROLLED_BACK, Rollback
from learning_assets.store.models import ModelError
from learning_assets.store.store import Store

if TYPE_CHECKING:
    from learning_assets.assets.champions import Retrained

P = ParamSpec("P")
R = TypeVar("R")


def one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """Let an asset run only while no other run decides about champions; from reading the pointer to moving it."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        store = kwargs["store"]
        assert isinstance(store, Store)
        with store.champions.deciding():
            return function(*args, **kwargs)

    return run


def in_words(rollback: Rollback) -> str:
    """A rollback in a sentence: what was done, by whom, when and why."""
    return (
        f"Rolled back from {rollback.from_model_id} by {rollback.said_by} on {rollback.at:%Y-%m-%d %H:%M} UTC: {rollback.why}"
    )


def with_rollbacks(store: Store, day: date, done: "list[Retrained]") -> "list[Retrained]":
    """What was decided on a day, but for pools whose champion a person put back on that very day: there that one stays.

    From the next day on challengers may contest it. Where its artifact is gone the decision stands, and says so.
    """
    newest = {(one.target, one.pool): one for one in store.champions.rollbacks(day)}
    return [_with_rollback(store, newest.get((one.champion["target"], one.champion["pool"])), one) for one in done]


def _with_rollback(store: Store, rollback: Rollback | None, one: "Retrained") -> "Retrained":
    if rollback is None:
        return one
    try:
        store.artifacts.folder(rollback.to_model_id)
    except ModelError:
        reason = f"{one.reason} The champion put back by {rollback.said_by}, {rollback.to_model_id}, is gone."
        return replace(one, reason=reason, champion=one.champion | {"reason": reason})
    said, model = in_words(rollback), one.model
    if model is not None:
        said += f" The challenger {model['model_id']} takes no champion's place on this day."
        model = model | {"card": json.dumps(json.loads(model["card"]) | {"promoted": False})}
    champion = one.champion | {"model_id": rollback.to_model_id, "status": ROLLED_BACK, "reason": said}
    return replace(one, status=ROLLED_BACK, reason=said, champion=champion, model=model)
