"""Which store this is: the kind of source that it belongs to, its first partition and the market it was made with.

Written once, at the first use of a home, into `store.json`; the database keeps a copy, so that a home and a database that do not
belong together are noticed. What does not belong here: anything that changes later.
"""

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast

from learning_assets.settings import SourceKind

FILE = "store.json"


class IdentityError(Exception):
    """The store belongs to something else than what was asked for; the message says what and the remedy."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a store was created as.

    Attributes
    ----------
    store_id : a random name, the same in the home and in the database.
    kind : the kind of source that the store belongs to.
    start_day : the first partition.
    created_at : when the store was created, UTC.
    market : seed, epoch and size of the simulated market; empty for other sources.
    """

    store_id: str
    kind: SourceKind
    start_day: date
    created_at: datetime
    market: Mapping[str, int | str]


def read(home: Path) -> Identity | None:
    """The identity of the store in `home`, or None where there is no store yet.

    Raises
    ------
    IdentityError : the file is there but cannot be understood.
    """
    path = home / FILE
    try:
        stored = cast("dict[str, Any]", json.loads(path.read_text()))
        return Identity(
            store_id=str(stored["store_id"]),
            kind=cast("SourceKind", stored["kind"]),
            start_day=date.fromisoformat(stored["start_day"]),
            created_at=datetime.fromisoformat(stored["created_at"]),
            market=dict(stored["market"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IdentityError(
            f"{path}: not the identity of a store ({error}). Restore the file, or set another LEARNING_HOME."
        ) from error


def create(home: Path, kind: SourceKind, start_day: date, now: datetime, market: Mapping[str, int | str]) -> Identity:
    """Write the identity of a new store; where another process was first, its identity is the answer."""
    made = Identity(uuid.uuid4().hex, kind, start_day, now, dict(market))
    home.mkdir(parents=True, exist_ok=True)
    draft = home / f".{FILE}.{made.store_id}"
    content = asdict(made) | {"start_day": start_day.isoformat(), "created_at": now.isoformat()}
    with draft.open("w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, home / FILE)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    found = read(home)
    assert found is not None
    return found


def require(identity: Identity, home: Path, kind: SourceKind) -> None:
    """Refuse a store that belongs to another kind of source.

    Raises
    ------
    IdentityError : with the remedy.
    """
    if identity.kind != kind:
        raise IdentityError(
            f"{home} holds what was learned from the source kind '{identity.kind}', but LEARNING_SOURCE asks for '{kind}'. "
            "Numbers of different kinds are never mixed: set another LEARNING_HOME, or the source that this store was made with."
        )
