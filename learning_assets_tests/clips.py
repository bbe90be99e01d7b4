"""Media files as tests need them: pictures and samples in, a file out.

What belongs here: encoding. What does not: what is shown in a test's file.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def encode(
    path: Path,
    pictures: Sequence[Picture] = (),
    samples: NDArray[np.float32] | None = None,
    *,
    rate: int = 10,
    seconds: Sequence[float] | None = None,
    codec: Literal["libx264", "mpeg4", "gif"] = "libx264",
) -> Path:
    """Write a file by its suffix.

    Parameters
    ----------
    pictures : RGB; none for sound alone.
    samples : shape (n, 2), 48 kHz; no sound track if None.
    seconds : when each picture shows, for a variable frame rate.
    """
    with av.open(str(path), "w") as container:
        video: Any = None
        audio: Any = None
        if pictures:
            video = container.add_stream(codec, rate=rate)
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            if seconds is not None:
                video.codec_context.time_base = Fraction(1, 1_000)
        if samples is not None:
            audio = container.add_stream("aac" if path.suffix != ".mp3" else "libmp3lame", rate=48_000, layout="stereo")
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if seconds is not None:
                frame.pts, frame.time_base = round(1_000 * seconds[number]), Fraction(1, 1_000)
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode())
        if samples is not None:
            for start in range(0, len(samples), 1_152):
                part = np.ascontiguousarray(samples[start : start + 1_152].T.astype(np.float32))
                sound = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                sound.sample_rate, sound.pts, sound.time_base = 48_000, start, Fraction(1, 48_000)
                container.mux(audio.encode(sound))
            container.mux(audio.encode())
    return path


def textures(count: int, *, height: int = 90, width: int = 160, seed: int = 0) -> list[Picture]:
    """Pictures of coloured tiles that have nothing in common."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1) for _ in range(count)
    ]


def tone(seconds: float, amplitude: float = 0.1, hertz: float = 997.0) -> NDArray[np.float32]:
    """A sine on both channels, 48 kHz."""
    time = np.arange(round(48_000 * seconds)) / 48_000
    wave = amplitude * np.sin(2 * np.pi * hertz * time)
    return np.stack([wave, wave], axis=1).astype(np.float32)
