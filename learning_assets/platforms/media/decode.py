"""Opens one media file after the other and measures what is in it: a process of its own, since files come from outside.

What belongs here: decoding within limits, and what is said of a file that cannot be decoded. What does not: who starts this process and
keeps its answers (`reading`), and the measures themselves (`learning`).

`python -m learning_assets.platforms.media.decode LIMITS` reads a path (JSON) a line and answers with an object (JSON) a line: `measures`, or
`reason` and whether it is `final`, that is of the file and not of the limits. Memory and processor time are limited by the kernel, the
process cannot write files, and the decoder gets an open file and a list of formats, so that no playlist leads it elsewhere. Pictures and
samples stream through: never more than a few are held.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from learning_assets.learning.hearing import RATE, Listener
from learning_assets.learning.sight import SAMPLES_A_SECOND, Watcher

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,apng,png_pipe,jpeg_pipe,webp_pipe,webp,bmp_pipe,tiff_pipe,"
    "mp3,aac,wav,flac"
)
_STILLS = ("gif", "apng", "webp")
"""Formats that hold a picture or a clip; all others that hold pictures are named `..._pipe`."""
_WATCHED_SIDE = 160
_MOST_LOOKS = 16
"""Pictures of a clip in which faces and text are looked for, at most one a second."""
_DAMAGED_SHARE = 0.05
"""Share of a file that cannot be decoded, from which its measures would be of something else."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may cost.

    Attributes
    ----------
    max_seconds : longest clip.
    max_side : most pixels a side.
    cpu_seconds : processor time of one file.
    memory_mb : address space of the process.
    """

    max_seconds: float
    max_side: int
    cpu_seconds: float
    memory_mb: int


class Unreadable(Exception):
    """A file cannot be measured; the message says why. `final`: whatever the limits are."""

    def __init__(self, reason: str, *, final: bool = True) -> None:
        super().__init__(reason)
        self.final = final


def measure(path: Path, limits: Limits) -> dict[str, object]:
    """The columns `footage.MEASURES` of a file.

    Raises
    ------
    Unreadable : the file is damaged, holds neither pictures nor sound, or passes a limit.
    """
    import av
    from av.error import FFmpegError

    with path.open("rb") as file:
        try:
            with av.open(_Nameless(file), "r", options={"format_whitelist": _FORMATS}, metadata_errors="ignore") as container:
                return _Clip(container, limits).measures()
        except MemoryError as error:
            raise Unreadable(f"decoding it takes more than {limits.memory_mb:,} MB of memory", final=False) from error
        except (FFmpegError, ValueError) as error:
            raise Unreadable(f"it is damaged, or no picture, video or sound that can be read ({_said(error)})") from error


class _Nameless:
    """An open file of which a decoder knows the content only: by its name it would take a picture for one of a numbered series."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _said(error: Exception) -> str:
    """The decoder's own words, without the file's name."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).partition(":")[0].strip() or type(error).__name__


@dataclass
class _Looks:
    """What was found in the pictures that were looked at."""

    every: float
    due: float = 0.0
    faces: list[int] = field(default_factory=list[int])
    text: list[float] = field(default_factory=list[float])

    def look(self, frame: "av.VideoFrame", at: float) -> None:
        """Look at a picture if it is time."""
        from learning_assets.platforms.media import overlays

        if at + 1e-6 < self.due:
            return
        self.due += self.every
        self.faces.append(overlays.count_faces(_upright(_grey(frame, overlays.FACE_SIDE), frame.rotation)))
        self.text.append(overlays.text_share(_upright(_grey(frame, overlays.TEXT_SIDE), frame.rotation)))


class _Clip:
    """One open file on its way through the measures."""

    def __init__(self, container: "InputContainer", limits: Limits) -> None:
        from av.stream import Disposition

        self.container = container
        self.limits = limits
        pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
        self.video = pictures[0] if pictures else None
        self.audio = container.streams.audio[0] if container.streams.audio else None
        if self.video is None and self.audio is None:
            raise Unreadable("it holds neither pictures nor sound")
        self.told = container.duration / 1_000_000 if container.duration else None
        if self.told is not None and self.told > limits.max_seconds:
            raise self._too_long(self.told)
        if self.video is not None:
            self._check_size(self.video.codec_context.width, self.video.codec_context.height)
            self.video.thread_type = "NONE"
        self.watcher, self.listener = Watcher(), Listener()
        self.looks = _Looks(max(1.0, (self.told or limits.max_seconds) / _MOST_LOOKS))
        self.shown: tuple[av.VideoFrame, float] | None = None
        self.small: np.ndarray | None = None
        self.began: float | None = None
        self.end = 0.0
        self.frames = self.samples = self.sampled = 0
        self.parts = self.broken = 0

    def measures(self) -> dict[str, object]:
        """Decode everything, and say what it was."""
        from learning_assets.learning import footage

        for frame in self._decoded():
            if hasattr(frame, "samples"):
                self._hear(frame)
            else:
                self._see(frame)
        self._check_whole()
        if self.video is None:
            return footage.measures("audio", None, self.listener.heard(), self.samples / RATE)
        name = self.container.format.name
        if name.endswith("_pipe") or (name in _STILLS and self.frames == 1):
            self._show_until(0.5 / SAMPLES_A_SECOND)
            seen = self.watcher.seen(is_clip=False)
            return footage.measures("image", seen, None, None, self.looks.faces, self.looks.text)
        self._show_until(self.end)
        heard = self.listener.heard() if self.audio is not None and self.samples else None
        return footage.measures("video", self.watcher.seen(), heard, self.end, self.looks.faces, self.looks.text)

    def _decoded(self) -> "Iterator[Any]":
        """Frames of the two streams; what cannot be decoded is counted and passed over."""
        from av.error import InvalidDataError

        streams = [stream for stream in (self.video, self.audio) if stream is not None]
        packets = self.container.demux(streams)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                self.parts += 1
                yield from packet.decode()
            except InvalidDataError:
                self.broken += 1
                if self.broken > 1_000:
                    return

    def _see(self, frame: "av.VideoFrame") -> None:
        self._check_size(frame.width, frame.height)
        assert self.video is not None
        rate = self.video.average_rate or self.video.guessed_rate
        step = 1 / float(rate) if rate else 1 / 25
        at = frame.time
        if at is not None and self.began is None:
            self.began = at
        # Without a time of its own, or with one before the last, a frame follows when the last one ends.
        starts = self.end if at is None or self.began is None else max(at - self.began, self.shown[1] if self.shown else 0.0)
        lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else step
        if starts + lasts > self.limits.max_seconds + 1:
            raise self._too_long(starts + lasts)
        self._show_until(starts)
        self.frames += 1
        self.shown, self.small = (frame, starts), None
        self.end = max(self.end, starts + lasts)

    def _show_until(self, until: float) -> None:
        """Watch the frame that is shown at each sample before `until`."""
        while self.shown is not None and self.sampled / SAMPLES_A_SECOND < until - 1e-6:
            frame, _ = self.shown
            if self.small is None:
                self.small = _reduced(frame, _WATCHED_SIDE, "rgb24")
            self.watcher.add(self.small)
            self.looks.look(frame, self.sampled / SAMPLES_A_SECOND)
            self.sampled += 1

    def _hear(self, frame: "av.AudioFrame") -> None:
        import av

        if not self.samples:
            layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
            self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=RATE)
        frame.pts = None
        for part in self._resampler.resample(frame):
            heard = part.to_ndarray().T
            self.samples += len(heard)
            self.listener.add(np.clip(np.nan_to_num(heard), -8, 8).astype(np.float32, copy=False))
        if self.samples > (self.limits.max_seconds + 1) * RATE:
            raise self._too_long(self.samples / RATE)

    def _check_size(self, width: int, height: int) -> None:
        if max(width, height) > self.limits.max_side:
            reason = f"its pictures have {width:,} x {height:,} pixels, more than {self.limits.max_side:,} a side"
            raise Unreadable(reason, final=False)

    def _check_whole(self) -> None:
        """Refuse what is broken off or broken through."""
        if self.video is not None and not self.frames:
            raise Unreadable("it is damaged: none of its pictures can be decoded")
        if self.video is None and not self.samples:
            raise Unreadable("it is damaged: none of its sound can be decoded")
        if self.broken > _DAMAGED_SHARE * self.parts:
            raise Unreadable(f"it is damaged: {self.broken:,} of its {self.parts:,} parts cannot be decoded")
        came = max(self.end, self.samples / RATE)
        if self.told is not None and came < (1 - _DAMAGED_SHARE) * self.told - 1 / SAMPLES_A_SECOND:
            raise Unreadable(f"it is damaged: it breaks off after {came:.1f} of {self.told:.1f} seconds")

    def _too_long(self, seconds: float) -> Unreadable:
        return Unreadable(f"it lasts {seconds:,.0f} seconds, more than {self.limits.max_seconds:,.0f}", final=False)


def _reduced(frame: "av.VideoFrame", side: int, pixels: str) -> np.ndarray:
    """A frame as an array whose long side has at most so many pixels."""
    from av.video.reformatter import Interpolation

    share = min(1.0, side / max(frame.width, frame.height))
    size = (max(1, round(frame.width * share)), max(1, round(frame.height * share)))
    return frame.reformat(*size, format=pixels, interpolation=Interpolation.AREA).to_ndarray()


def _grey(frame: "av.VideoFrame", side: int) -> np.ndarray:
    return _reduced(frame, side, "gray")


def _upright(picture: np.ndarray, degrees: int) -> np.ndarray:
    """A picture turned as players show it."""
    return np.ascontiguousarray(np.rot90(picture, round(degrees / 90)))


def main() -> None:
    """Answer until there is nothing left to read."""
    answers = os.fdopen(os.dup(1), "w")
    # Libraries that write where they should not must not be taken for answers.
    os.dup2(2, 1)
    limits = Limits(**json.loads(sys.argv[1]))
    size = limits.memory_mb * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import av.logging
    import cv2

    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        until = int(used.ru_utime + used.ru_stime + limits.cpu_seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))
        try:
            _answer(answers, {"measures": measure(Path(json.loads(line)), limits)})
        except Unreadable as error:
            _answer(answers, {"reason": str(error), "final": error.final})
        except MemoryError:
            _answer(answers, {"reason": f"decoding it takes more than {limits.memory_mb:,} MB of memory", "final": False})


def _answer(answers: Any, answer: dict[str, object]) -> None:
    answers.write(json.dumps(answer, allow_nan=False) + "\n")
    answers.flush()


def arguments(limits: Limits) -> list[str]:
    """The command that starts this process."""
    return [sys.executable, "-m", "learning_assets.platforms.media.decode", json.dumps(asdict(limits))]


if __name__ == "__main__":
    main()
