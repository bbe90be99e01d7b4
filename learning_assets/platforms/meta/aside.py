"""What a fetch puts aside so that it need not be fetched again when the run is killed.

What belongs here: pieces (one account, one fact, one range of days) as files in a folder, and when one may be used again. What does not:
the lake; a piece is deleted as soon as its rows are stored there.

A piece is a Parquet file of its rows and a JSON file that names it; the JSON is renamed into place last, so that half a piece is none.
"""

import contextlib
import hashlib
import io
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from learning_assets.platforms.source import MANIFEST

VERSION = 1
"""Raised when the content of a piece changes its meaning."""
_GROWING_MINUTES = 15
"""Minutes in which a catalog, or a piece with a day that is still running, may be used again: what they say is of now."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one account, fact and range, and their manifest."""

    rows: pl.DataFrame
    manifest: pl.DataFrame


class Aside:
    """A folder of pieces that may be used again for `hours`, by the wall and by the product's own clock, which may be stepped."""

    def __init__(self, folder: Path, hours: float) -> None:
        self.folder = folder
        self.lifetime = timedelta(hours=hours)

    def key(self, **decides: Any) -> str:
        """Name of a piece, made of everything that decides its content."""
        text = json.dumps({"version": VERSION, **decides}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def put(self, key: str, piece: Piece, now: datetime) -> None:
        """Put a piece aside under its key, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{key}-{uuid.uuid4().hex[:12]}.parquet"
        with self._swapped(name) as path:
            piece.rows.write_parquet(path)
        note = {"rows": name, "at": now.isoformat(), "wall": _wall().isoformat(), "manifest": piece.manifest.write_json()}
        with self._swapped(f"{key}.json") as path:
            path.write_text(json.dumps(note))

    def get(self, key: str, now: datetime, schema: pl.Schema) -> Piece | None:
        """The piece that an earlier run put aside and did not store, if it is young enough."""
        try:
            note = json.loads((self.folder / f"{key}.json").read_text())
            manifest = pl.read_json(io.StringIO(note["manifest"]), schema=MANIFEST)
            grows = ((manifest["status"] == "running") | (manifest["fact"] == "catalog")).any()
            if not self._young(note, now, grows=bool(grows)):
                return None
            rows = pl.read_parquet(self.folder / note["rows"])
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError):
            # A piece that cannot be read is one that is not there: it is fetched again.
            return None
        return Piece(rows, manifest) if rows.schema == schema else None

    def release(self, keys: list[str]) -> None:
        """Delete pieces whose rows are stored, and those that are too old to be used."""
        for key in keys:
            for path in [self.folder / f"{key}.json", *self.folder.glob(f"{key}-*.parquet")]:
                path.unlink(missing_ok=True)
        oldest = (_wall() - self.lifetime).timestamp()
        for path in self.folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime < oldest:
                    path.unlink()

    def _young(self, note: Mapping[str, str], now: datetime, *, grows: bool) -> bool:
        limit = min(self.lifetime, timedelta(minutes=_GROWING_MINUTES)) if grows else self.lifetime
        ages = now - datetime.fromisoformat(note["at"]), _wall() - datetime.fromisoformat(note["wall"])
        return all(timedelta(0) <= age <= limit for age in ages)

    @contextlib.contextmanager
    def _swapped(self, name: str):
        """A temporary path that becomes `name` when nothing went wrong."""
        path = self.folder / f".{name}.{os.getpid()}.{uuid.uuid4().hex[:6]}.tmp"
        try:
            yield path
            path.replace(self.folder / name)
        finally:
            path.unlink(missing_ok=True)


def _wall() -> datetime:
    # The age of a file is a matter of the machine, not of the clock that the product may be told.
    return datetime.now(UTC)
