"""Turns errors that a retry cannot mend into failures that are not retried and that name the remedy."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import dagster as dg

from learning_assets.platforms.source import SourceError
from learning_assets.store.identity import IdentityError
from learning_assets.store.lake import LakeError
from learning_assets.store.migrations import MigrationError
from learning_assets.store.models import ModelError
from learning_assets.store.store import ChainError
from learning_assets.store.tables import TableError

P = ParamSpec("P")
R = TypeVar("R")

PERMANENT = (SourceError, IdentityError, LakeError, MigrationError, ModelError, ChainError, TableError, ValueError)


def fails_for_good(function: Callable[P, R]) -> Callable[P, R]:
    """Let an asset fail at once, with the error's own sentence, where trying again would not help."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except PERMANENT as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    return run
