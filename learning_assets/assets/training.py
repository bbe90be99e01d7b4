"""Training bounded in time and memory: a challenger is trained in a process of its own, which is ended where it takes too much.

What belongs here: starting that process, handing it the facts, its deadline, and what its end means. What does not: what runs in it
(`trainer`), and whether the challenger takes the champion's place (`models`).
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import polars as pl

from learning_assets.assets import trainer
from learning_assets.learning.retraining import RateModel
from learning_assets.settings import Models
from learning_assets.worker import NoAnswer, Worker

_START_SECONDS = 120.0
_PASSED_ON = (
    *("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "HOME"),
    *("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    "OPENBLAS_CORETYPE",
)
"""Variables that the training process gets; tokens and addresses of databases are none of its business. Without the kind of processor that OpenBLAS was
told to compute for, sums would differ there in their last digit."""
_OF_MEMORY = (
    "memoryerror",
    "bad_alloc",
    "memory allocation of",
    "unable to allocate",
    "cannot allocate memory",
    "start new thread",
)
"""What libraries say where there is no more memory, in lower case."""
_OF_LIMITS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL)


class TrainingError(Exception):
    """No model came out of a training; the message says why and names the setting or the remedy."""


class _Trainer:
    """The process that trains, one training at a time."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._worker = Worker([sys.executable, "-m", trainer.__name__], environment)
        self._ready = False
        self.pid, self.alive, self.stop = self._worker.pid, self._worker.alive, self._worker.stop

    def ask(self, folder: Path, settings: Models) -> dict[str, Any]:
        """Its answer about a training.

        Raises
        ------
        TrainingError : the process does not start.
        NoAnswer : the training took too long, or the process was killed; it has to be stopped.
        """
        if not self._ready:
            try:
                self._worker.answer(_START_SECONDS)
            except NoAnswer as error:
                raise TrainingError(
                    f"The process that trains models does not start ({error}). Try: {sys.executable} -m {trainer.__name__}"
                ) from error
            self._ready = True
        cpu_seconds = ceil(settings.max_seconds * (os.cpu_count() or 1)) + 1
        asked = {"folder": str(folder), "memory_mb": settings.max_memory_mb, "cpu_seconds": cpu_seconds}
        return self._worker.ask(asked, settings.max_seconds)


class _Trainers:
    """The training process of this process, started at its first training and kept for the next ones."""

    def __init__(self) -> None:
        self._one: _Trainer | None = None
        self._lock = threading.RLock()

    def start(self) -> _Trainer:
        """Start it if it does not run; it gets ready by itself."""
        with self._lock:
            if self._one is None or not self._one.alive():
                self._one = _Trainer()
            return self._one

    def ask(self, folder: Path, settings: Models) -> dict[str, Any]:
        """The answer about a training; the process is ended where there is none."""
        with self._lock:
            one = self.start()
            try:
                return one.ask(folder, settings)
            except BaseException:
                one.stop()
                self._one = None
                raise


TRAINERS = _Trainers()


def bounded(room: Path, facts: pl.DataFrame, creatives: pl.DataFrame, settings: Models, **arguments: object) -> RateModel:
    """What `retraining.train` makes of the same arguments, to the byte, by a process that may take `settings.max_seconds` and
    `settings.max_memory_mb`.

    Parameters
    ----------
    room : folder of the store in which the facts lie while they are trained on; what killed processes left there is removed.
    facts, creatives, settings : as for `retraining.train`.
    arguments : its other ones, of JSON's kinds; `target` by its name.

    Raises
    ------
    TrainingError : it took more than it may, or broke off. Nothing is left of it.
    ValueError : the facts teach nothing.
    """
    room.mkdir(parents=True, exist_ok=True)
    _clear(room)
    with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=room) as name:
        folder = Path(name).resolve()
        TRAINERS.start()
        facts.write_parquet(folder / "facts.parquet", compression="lz4")
        creatives.write_parquet(folder / "creatives.parquet", compression="lz4")
        job = {"settings": settings.model_dump(mode="json"), "arguments": arguments}
        (folder / "job.json").write_text(json.dumps(job))
        try:
            answer = TRAINERS.ask(folder, settings)
        except NoAnswer as error:
            if error.late:
                raise _too_slow(settings, arguments) from error
            raise TrainingError(
                "The process that trains models was killed; the champion stays in force. Run this again; if that happens again, the machine "
                "may be short of memory: lower LEARNING_MODELS_MAX_ROWS."
            ) from error
        if answer["status"] == 0:
            return RateModel.load(folder / "model")
        raise _failure(folder, answer, settings, arguments)


def _too_slow(settings: Models, arguments: Mapping[str, object]) -> TrainingError:
    search = (
        " It searched for parameters, which takes several times as long: leave the search out."
        if arguments.get("search")
        else ""
    )
    return TrainingError(
        f"Training takes more than {settings.max_seconds:g} seconds and was ended; the champion stays in force.{search} "
        "Raise LEARNING_MODELS_MAX_SECONDS, or lower LEARNING_MODELS_MAX_ROWS."
    )


def _clear(room: Path) -> None:
    """Remove what processes that were killed had put there."""
    for folder in room.iterdir():
        try:
            os.kill(int(folder.name.split("-")[0]), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue


def _failure(folder: Path, answer: dict[str, Any], settings: Models, arguments: Mapping[str, object]) -> Exception:
    """What to raise for a training that has ended without a model."""
    status, note = answer["status"], folder / "error.json"
    error: dict[str, Any] = json.loads(note.read_text()) if note.exists() and note.stat().st_size else {}
    said = (folder / "said").read_text(errors="replace") if (folder / "said").exists() else ""
    told = f"{error.get('kind', '')} {error.get('says', '')} {said}"
    if status == -signal.SIGXCPU:
        return _too_slow(settings, arguments)
    if any(word in told.lower() for word in _OF_MEMORY) or -status in _OF_LIMITS:
        return TrainingError(
            f"Training takes more than {settings.max_memory_mb:,} MB of memory and was ended at {answer['peak_mb']:,.0f} MB; the champion stays in "
            "force. Raise LEARNING_MODELS_MAX_MEMORY_MB, or lower LEARNING_MODELS_MAX_ROWS."
        )
    if error.get("of_facts"):
        return ValueError(error["says"])
    how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
    return TrainingError(f"Training broke off ({how}): {error.get('says') or said.strip()[-300:] or 'it did not say why'}.")
