"""Facts on disk: one Parquet file per asset and day. The only place that knows the paths.

A day is written under a temporary name and swapped in under an advisory lock, so that a reader sees the old day or the new one and a
killed writer leaves the old. What does not belong here: what the columns mean (the asset that writes them knows).
"""

import hashlib
import io
import os
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

Lock = Callable[[str], AbstractContextManager[None]]
"""Gives a context that one process at a time is in, by name."""

_DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.parquet")


@dataclass(frozen=True, slots=True)
class DayFile:
    """A day as it was written: its rows, and a version that changes if and only if its content does."""

    rows: int
    version: str
    changed: bool


class LakeError(Exception):
    """A day cannot be written or read; the message names the asset, the column and the remedy."""


def content_version(frame: pl.DataFrame) -> str:
    """A short hash of a frame's schema and values, rows in order."""
    # As text, because frames that are equal differ in memory: in the bytes beneath a NULL, and in where strings lie.
    buffer = io.BytesIO()
    frame.write_csv(buffer, quote_style="non_numeric")
    version = hashlib.sha256(repr(frame.schema).encode())
    version.update(buffer.getbuffer())
    return version.hexdigest()[:16]


class Lake:
    """Day files of the assets named in `schemas` below the folder `root`."""

    def __init__(self, root: Path, schemas: Mapping[str, pl.Schema], lock: Lock, compression: str = "zstd") -> None:
        self.root = root
        self._schemas = dict(schemas)
        self._lock = lock
        self._compression = compression
        self._versions: dict[tuple[str, int, int], dict[str, str]] = {}

    def schema(self, asset: str) -> pl.Schema:
        """Columns of an asset's day files.

        Raises
        ------
        LakeError : the asset keeps no files.
        """
        try:
            return self._schemas[asset]
        except KeyError:
            raise LakeError(f"'{asset}' keeps no day files; those that do: {', '.join(sorted(self._schemas))}.") from None

    def path(self, asset: str, day: date) -> Path:
        """Where a day is kept."""
        self.schema(asset)
        return self.root / asset / f"{day:%Y-%m-%d}.parquet"

    def write(self, asset: str, day: date, frame: pl.DataFrame, note: Mapping[str, str] | None = None) -> DayFile:
        """Replace a day. Writing what is there already changes nothing.

        Parameters
        ----------
        frame : with exactly the columns of the asset's schema, in any order; an empty frame makes an explicit empty day.
        note : short texts that are kept in the file's own metadata.

        Raises
        ------
        LakeError : columns or types differ from the asset's schema; nothing was written.
        """
        frame = self.checked(asset, day, frame)
        path = self.path(asset, day)
        version = content_version(frame)
        metadata = {"version": version, "rows": str(frame.height), **(note or {})}
        with self._lock(f"lake/{asset}/{day}"):
            for left_over in path.parent.glob(f".{path.name}.*"):
                left_over.unlink()
            if path.exists() and self.notes(asset, day) == metadata:
                return DayFile(frame.height, version, changed=False)
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.parent / f".{path.name}.{uuid.uuid4().hex}"
            with draft.open("wb") as file:
                frame.write_parquet(file, compression=self._compression, metadata=metadata)  # pyright: ignore[reportArgumentType]
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return DayFile(frame.height, version, changed=True)

    def checked(self, asset: str, day: date, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with its columns in the order of the asset's schema.

        Raises
        ------
        LakeError : columns or types differ from the asset's schema.
        """
        schema = self.schema(asset)
        if dict(frame.schema) != dict(schema):
            wrong = sorted({*frame.schema.items()} ^ {*schema.items()}, key=str)
            raise LakeError(f"{asset} of {day}: columns differ from the asset's schema: {wrong}. The day was left as it was.")
        return frame.select(schema.names())

    def notes(self, asset: str, day: date) -> dict[str, str] | None:
        """The short texts in a day file's metadata, its `version` and `rows` among them; None where there is no such day."""
        path = self.path(asset, day)
        try:
            state = path.stat()
        except FileNotFoundError:
            return None
        key = (str(path), state.st_mtime_ns, state.st_ino)
        if key not in self._versions:
            found = pl.read_parquet_metadata(path)
            self._versions[key] = {name: text for name, text in found.items() if name != "ARROW:schema"}
        return self._versions[key]

    def version(self, asset: str, day: date) -> str | None:
        """Version of a day's content, or None where there is no such day."""
        notes = self.notes(asset, day)
        return None if notes is None else notes["version"]

    def days(self, asset: str, first: date | None = None, last: date | None = None) -> list[date]:
        """Days that exist, oldest first, optionally from `first` to `last`, both included."""
        folder = self.root / asset
        self.schema(asset)
        if not folder.exists():
            return []
        found = sorted(date.fromisoformat(name[:10]) for name in os.listdir(folder) if _DAY_FILE.fullmatch(name))  # noqa: PTH208
        return [day for day in found if (first is None or day >= first) and (last is None or day <= last)]

    def scan(self, asset: str, first: date, last: date, *, dated: str | None = None) -> pl.LazyFrame:
        """The existing days from `first` to `last`, both included, as one lazy frame; without rows where there are none.

        `dated` names a further column that gets the day of each row's file.
        """
        paths = [self.path(asset, day) for day in self.days(asset, first, last)]
        schema = dict(self.schema(asset))
        if not paths:
            return pl.LazyFrame(schema=schema if dated is None else {**schema, dated: pl.Date()})
        found = pl.scan_parquet(paths, missing_columns="insert", schema=schema, include_file_paths=dated)
        if dated is None:
            return found
        return found.with_columns(pl.col(dated).str.extract(r"(\d{4}-\d{2}-\d{2})\.parquet$").str.to_date())

    def read(self, asset: str, day: date) -> pl.DataFrame:
        """One day.

        Raises
        ------
        LakeError : there is no such day.
        """
        if not self.path(asset, day).exists():
            raise LakeError(f"{asset} of {day} does not exist. Materialize that day of '{asset}' first.")
        return self.scan(asset, day, day).collect()

    def read_as_written(self, asset: str, day: date) -> pl.DataFrame:
        """One day with the columns that its file really has, for checks of it.

        Raises
        ------
        LakeError : there is no such day.
        """
        path = self.path(asset, day)
        if not path.exists():
            raise LakeError(f"{asset} of {day} does not exist. Materialize that day of '{asset}' first.")
        return pl.read_parquet(path)
