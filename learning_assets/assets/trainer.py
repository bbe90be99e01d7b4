"""The process in which models are trained: started once, it loads what training needs, and forks a process for each training.

What belongs here: what runs in that process. What does not: who starts it, and what is made of how a training ended (`training`); training
itself (`learning`).

`python -m learning_assets.assets.trainer` says `{"ready": true}` and then reads a line (JSON) per training: `folder`, with the facts
(`facts.parquet`), the creatives (`creatives.parquet`) and the `job.json` in it, `memory_mb` and `cpu_seconds`. It answers each with a line: `status`, the
exit code or the negative signal, and `peak_mb`, the most memory that was resident. The model stands in `model` below the folder then, the
error in `error.json`. A fork costs milliseconds where a new process loads for seconds; this process starts no threads of polars of its own,
so that the forked ones can. It ends, and the training with it, as soon as nobody holds the other end of its input.
"""

import json
import os
import resource
import select
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from learning_assets.learning import embedding, retraining
from learning_assets.learning.targets import TARGETS
from learning_assets.settings import Models

FAILED = 3
"""Exit code of a training that left an `error.json`."""
_POLL_SECONDS = 0.02


def train(folder: Path) -> None:
    """Train on what lies in the folder, and leave the model there."""
    import polars as pl

    job = json.loads((folder / "job.json").read_text())
    facts, creatives = (pl.read_parquet(folder / f"{name}.parquet") for name in ("facts", "creatives"))
    arguments = job["arguments"] | {"target": TARGETS[job["arguments"].get("target", "ctr")]}
    model = retraining.train(facts, creatives, Models.model_validate(job["settings"]), **arguments)
    (folder / "model").mkdir()
    model.save(folder / "model")


def _in_child(folder: Path, memory_mb: int, cpu_seconds: int) -> None:
    """Train within limits, in the forked process; what goes wrong is written down before it ends."""
    os.dup2(os.open(folder / "said", os.O_WRONLY | os.O_CREAT), 2)
    size = memory_mb * 1024**2
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    # Ends it also where nobody is left to look at the time.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        train(folder)
    except Exception as error:
        told = {"kind": type(error).__name__, "of_facts": isinstance(error, ValueError), "says": str(error)}
        (folder / "error.json").write_text(json.dumps(told))
        raise SystemExit(FAILED) from error


def _run(folder: Path, memory_mb: int, cpu_seconds: int, answers: TextIO) -> dict[str, Any]:
    """Fork a training and wait for its end; it is killed where the other end of this process's input is closed."""
    pid = os.fork()
    if pid == 0:
        # Whoever waits for an answer is to see that this process's parent was killed.
        answers.close()
        code = FAILED
        try:
            _in_child(folder, memory_mb, cpu_seconds)
            code = 0
        finally:
            os._exit(code)
    ended, status = 0, 0
    used = None
    while not ended:
        ended, status, used = os.wait4(pid, os.WNOHANG)
        # A line comes only after the answer: readable means that nobody is there any more.
        if not ended and select.select([0], [], [], _POLL_SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
            os.wait4(pid, 0)
            sys.exit(1)
    assert used is not None
    return {"status": os.waitstatus_to_exitcode(status), "peak_mb": used.ru_maxrss / 1024}


def main() -> None:
    """Answer until there is nothing left to read."""
    answers = os.fdopen(os.dup(1), "w")
    # Libraries that write where they should not must not be taken for answers.
    os.dup2(2, 1)
    import xgboost  # noqa: F401

    embedding.load()

    def answer(told: dict[str, Any]) -> None:
        answers.write(json.dumps(told) + "\n")
        answers.flush()

    answer({"ready": True})
    while line := sys.stdin.buffer.raw.readline():  # pyright: ignore[reportAttributeAccessIssue]
        asked = json.loads(line)
        answer(_run(Path(asked["folder"]), asked["memory_mb"], asked["cpu_seconds"], answers))


if __name__ == "__main__":
    main()
