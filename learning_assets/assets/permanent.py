"""Which errors of an asset are tried again: a platform that is down, within bounds; what a retry cannot mend fails at once."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import dagster as dg

from learning_assets.platforms.source import PlatformDown, SourceError
from learning_assets.store.identity import IdentityError
from learning_assets.store.lake import LakeError
from learning_assets.store.migrations import MigrationError
from learning_assets.store.models import ModelError
from learning_assets.store.store import ChainError
from learning_assets.store.tables import TableError

RETRIES, FIRST_PAUSE_SECONDS = 3, 30
"""Attempts after the first at a platform that is down, and the pause before them, doubled each time."""

P = ParamSpec("P")
R = TypeVar("R")

PERMANENT = (SourceError, IdentityError, LakeError, MigrationError, ModelError, ChainError, TableError, ValueError)


def fails_for_good(function: Callable[P, R]) -> Callable[P, R]:
    """Let an asset fail at once, with the error's own sentence, where trying again would not help; ask for a retry where it may."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except PERMANENT as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except PlatformDown as error:
            context = kwargs.get("context", args[0] if args else None)
            tried = context.retry_number if isinstance(context, dg.AssetExecutionContext) else RETRIES
            if tried >= RETRIES:
                raise dg.Failure(f"{error} Tried {tried + 1} times.", allow_retries=False) from error
            raise dg.RetryRequested(RETRIES, FIRST_PAUSE_SECONDS * 2**tried) from error

    return run
