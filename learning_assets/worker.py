"""A process of one's own that is asked and answers, a line of JSON each, within a deadline; it may die without harm to who asks.

What belongs here: starting it, asking it, and ending it. What does not: what it does, and what it means that it has not answered.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

_CHUNK = 65_536


class NoAnswer(Exception):
    """No line came: in time (`late`), or at all, because the process has ended with the exit code or negative signal `status`."""

    def __init__(self, *, late: bool, status: int | None = None) -> None:
        super().__init__("it did not answer in time" if late else "it ended")
        self.late = late
        self.status = status


class Worker:
    """The process. After a `NoAnswer` it has to be stopped.

    Parameters
    ----------
    arguments : of the command. Its first line says that it is ready.
    environment : all of its variables.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        # Its own session, so that it is ended with whatever it has started, and Ctrl-C is for its owner to handle.
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
        self._owner = os.getpid()
        self._unread = b""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether this process can ask it; one that was forked since cannot."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, question: object, seconds: float) -> Any:
        """Its answer.

        Raises
        ------
        NoAnswer : it has ended, or there is none after so many seconds.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        return self.answer(seconds)

    def answer(self, seconds: float) -> Any:
        """The next line that it says; errors as for `ask`."""
        assert self._process.stdout is not None
        deadline = monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - monotonic())):
                    raise NoAnswer(late=True)
                chunk = os.read(self._process.stdout.fileno(), _CHUNK)
                if not chunk:
                    raise NoAnswer(late=False, status=self._process.wait())
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def stop(self) -> None:
        """End it and what it has started, whatever they are doing."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
