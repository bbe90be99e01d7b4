"""Which errors of an asset are tried again: a platform that is down, within bounds, and nothing that a retry cannot mend."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import dagster as dg

from learning_assets.assets.training import TrainingError
from learning_assets.platforms.source import PlatformDown, SourceError
from learning_assets.store.champions import ChampionError
from learning_assets.store.identity import IdentityError
from learning_assets.store.lake import LakeError
from learning_assets.store.ledger import LedgerError
from learning_assets.store.migrations import MigrationError
from learning_assets.store.models import ModelError
from learning_assets.store.store import ChainError, Store
from learning_assets.store.tables import TableError

P = ParamSpec("P")
R = TypeVar("R")

PERMANENT = (
    *(SourceError, IdentityError, LakeError, LedgerError, MigrationError, ModelError, ChainError, ChampionError, TableError),
    TrainingError,
    ValueError,
)


def bounded_retries(function: Callable[P, R]) -> Callable[P, R]:
    """Let an asset fail at once, with the error's own sentence, where trying again would not help; ask for another attempt at a platform
    that is down, `automation.platform_retries` times, each after twice the pause of the one before."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except PERMANENT as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except PlatformDown as error:
            context, store = args[0] if args else kwargs["context"], kwargs["store"]
            assert isinstance(context, dg.AssetExecutionContext)
            assert isinstance(store, Store)
            bounds, tried = store.settings.automation, context.retry_number
            if tried >= bounds.platform_retries:
                raise dg.Failure(f"{error} Tried {tried + 1} times.", allow_retries=False) from error
            raise dg.RetryRequested(bounds.platform_retries, bounds.platform_retry_seconds * 2**tried) from error

    return run
