"""Many media files, from their addresses to their measures: fetched or opened, known again by their content, decoded elsewhere.

What belongs here: where a file comes from, the processes that decode, what is kept of a file, and that one bad file never stops the others.
What does not: the rules of fetching (`fetch`), and decoding itself (`decode`).

What was measured is kept below the store's home by the SHA-256 of the file and the version of the measures; the file itself is not.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from learning_assets.learning import footage
from learning_assets.platforms.media import decode
from learning_assets.platforms.media.decode import Limits
from learning_assets.platforms.media.fetch import MediaError, fetch
from learning_assets.settings import LOOPBACK, Media, Settings
from learning_assets.worker import NoAnswer, Worker

EXTRA = "install learning_assets[media]"
"""The remedy where the decoder is not installed."""
_START_SECONDS = 30.0
_CHUNK = 1024 * 1024
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
"""Variables that the decoding process gets; tokens and addresses of databases are none of its business."""


_TOO_SLOW = "decoding it takes more than {:g} seconds (LEARNING_MEDIA_SECONDS)"


class DecoderError(Exception):
    """No file can be decoded at all; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where files may come from: below `folder` where there is one, from the platform's hosts, and with `loopback` from this machine."""

    folder: Path | None = None
    loopback: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "Origin":
        """Of the settings' source: local paths are a matter of exports, this machine of a Graph server that stands here."""
        served_here = settings.source == "meta" and urlsplit(settings.meta.graph_url).hostname in LOOPBACK
        return cls(
            folder=settings.export.path if settings.source == "export" else None,
            loopback=settings.source == "sandbox" or served_here,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a file: `read` with the columns `footage.MEASURES`, or `unknown` with the reason in plain words.

    `lasting`: the file's content is the reason, so that trying it again is of no use.
    """

    status: Literal["read", "unknown"]
    reason: str | None
    content: str | None
    measures: Mapping[str, Any]
    lasting: bool = True


def installed() -> bool:
    """Whether the extra `media` is there."""
    return all(importlib.util.find_spec(name) is not None for name in ("av", "cv2"))


def read_files(
    addresses: Sequence[str], settings: Media, *, home: Path, origin: Origin, progress: bool | None = None
) -> list[Reading]:
    """What is in the files at the addresses, in their order; a bad one is `unknown`, and the others go on.

    Parameters
    ----------
    addresses : http(s) addresses, or paths within `origin.folder`.
    home : the store's folder, below which measures are kept and files are put while they are read.
    progress : show a bar on stderr; by default where that is a terminal.

    Raises
    ------
    DecoderError : the decoder is not installed or does not start; nothing was read.
    """
    if not installed():
        raise DecoderError(EXTRA)
    found: list[Reading | None] = [None] * len(addresses)
    room = home / "media"
    room.mkdir(parents=True, exist_ok=True)
    _clear(room)
    with (
        tempfile.TemporaryDirectory(prefix=f"incoming-{os.getpid()}-", dir=room) as incoming,
        Decoders(settings) as decoders,
        ThreadPoolExecutor(settings.workers) as threads,
        _bar(len(addresses), progress) as advance,
    ):
        reader = _Reader(settings, room, Path(incoming), origin, decoders)
        waiting = {threads.submit(reader.read, address): at for at, address in enumerate(addresses)}
        try:
            for done in as_completed(waiting):
                found[waiting[done]] = done.result()
                advance()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return [reading for reading in found if reading is not None]


def _clear(room: Path) -> None:
    """Remove what processes that were killed had fetched."""
    for folder in room.glob("incoming-*"):
        try:
            os.kill(int(folder.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue


@contextlib.contextmanager
def _bar(total: int, progress: bool | None) -> Iterator[Any]:
    """A function that moves the bar by one file."""
    if not (sys.stderr.isatty() if progress is None else progress) or not total:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading media"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one file; several threads share it."""

    settings: Media
    room: Path
    incoming: Path
    origin: Origin
    decoders: "Decoders"

    def read(self, address: str) -> Reading:
        try:
            path, fetched = self._file(address)
        except MediaError as error:
            return Reading("unknown", str(error), None, {}, lasting=False)
        try:
            return self._known_or_decoded(path)
        except OSError as error:
            return Reading("unknown", f"the file cannot be read: {error.strerror}", None, {}, lasting=False)
        finally:
            if fetched:
                path.unlink(missing_ok=True)

    def _file(self, address: str) -> tuple[Path, bool]:
        """The file on disk, and whether it was put there for this."""
        if urlsplit(address).scheme in ("http", "https"):
            # A folder of its own: two addresses of one content are read at the same time, and each removes its own file.
            folder = self.incoming / uuid.uuid4().hex
            limits = {"max_bytes": round(self.settings.max_mb * 1_000_000), "seconds": self.settings.fetch_seconds}
            return fetch(address, folder, **limits, loopback=self.origin.loopback), True
        return self._local(address), False

    def _local(self, address: str) -> Path:
        if self.origin.folder is None:
            raise MediaError("its address is no https address, and this source has no folder of files")
        folder = self.origin.folder.resolve()
        folder = folder if folder.is_dir() else folder.parent
        path = (folder / (unquote(urlsplit(address).path) if address.startswith("file:") else address)).resolve()
        if not path.is_relative_to(folder):
            raise MediaError(f"{path.name} lies outside the folder of the exports; put it there")
        if not path.is_file():
            raise MediaError(f"{path.relative_to(folder)} is not in the folder of the exports")
        return path

    def _known_or_decoded(self, path: Path) -> Reading:
        size = path.stat().st_size
        if size == 0:
            return Reading("unknown", "the file is empty", None, {}, lasting=False)
        if size > self.settings.max_mb * 1_000_000:
            reason = f"the file has {size / 1e6:,.0f} MB, more than {self.settings.max_mb:,g} (LEARNING_MEDIA_MAX_MB)"
            return Reading("unknown", reason, None, {}, lasting=False)
        content = _sha256(path)
        kept = self.room / f"v{footage.VERSION}" / content[:2] / f"{content}.json"
        answer = _kept(kept)
        if answer is None:
            answer = self.decoders.measure(path)
            if "measures" in answer or answer["final"]:
                _keep(kept, answer)
        if "measures" in answer:
            return Reading("read", None, content, answer["measures"])
        return Reading("unknown", answer["reason"], content, {}, lasting=answer["final"])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _kept(path: Path) -> dict[str, Any] | None:
    """What was found in a content before; None where it was not read, or the note is damaged."""
    try:
        answer = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    is_one = isinstance(answer, dict) and ("reason" in answer or set(answer.get("measures", ())) == set(footage.MEASURES))
    return answer if is_one else None


def _keep(path: Path, answer: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("w") as file:
            json.dump(answer, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


class Decoders:
    """Processes that decode, at most `settings.workers`, started when they are needed; one that dies is replaced.

    Raises
    ------
    DecoderError : by `measure`, where a process does not start.
    """

    def __init__(self, settings: Media) -> None:
        self._seconds = settings.seconds
        self._limits = Limits(
            max_seconds=settings.max_minutes * 60,
            max_side=settings.max_pixels,
            cpu_seconds=settings.seconds,
            memory_mb=settings.memory_mb,
        )
        self._idle: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
        for _ in range(settings.workers):
            self._idle.put(None)

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            decoder = self._idle.get()
            if decoder is not None:
                decoder.stop()

    def measure(self, path: Path) -> dict[str, Any]:
        """A process's answer about a file: `measures`, or `reason` and `final`."""
        decoder = self._idle.get()
        try:
            if decoder is None:
                decoder = _start(self._limits)
            return decoder.ask(str(path.resolve()), self._seconds)
        except NoAnswer as error:
            assert decoder is not None
            decoder.stop()
            decoder = None
            return {"reason": _why(error, self._seconds), "final": False}
        finally:
            self._idle.put(decoder)


def _start(limits: Limits) -> Worker:
    """A process that decodes, ready to be asked."""
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    worker = Worker(decode.arguments(limits), {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | single)
    try:
        worker.answer(_START_SECONDS)
    except NoAnswer as error:
        worker.stop()
        raise DecoderError(
            f"the process that decodes media does not start ({error}); {EXTRA}, or raise LEARNING_MEDIA_MEMORY_MB"
        ) from error
    return worker


def _why(error: NoAnswer, seconds: float) -> str:
    """Why there is no answer about a file, in plain words."""
    if error.late or error.status == -signal.SIGXCPU:
        return _TOO_SLOW.format(seconds)
    status = error.status or 0
    return f"the decoder broke off over it ({signal.Signals(-status).name if status < 0 else f'exit code {status}'})"
