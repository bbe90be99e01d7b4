"""Small videos and pictures for the simulated ads, whose cuts, light, motion, loudness and tempo are known.

What belongs here: what a file shows and sounds like (from the seed and the id alone), drawing and encoding it, and what is true of it. What
does not: who asks for it (`graph.app`), and measuring files (`platforms.media`).

Drawing and encoding need the extra `media`; without it the simulated platform has no media. Speech is not spoken by anybody: bursts with
formants at the rhythm of syllables, with pauses. The loudness that is known is measured in the samples before they are encoded, by FFmpeg's
own meter of EBU R 128, and not by what is tested against it. Nothing of a file influences the market.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av
    from av.filter import Graph

Picture = NDArray[np.uint8]
Reals = NDArray[np.float64]
Sound = Literal["music", "speech", "silent"]

PICTURE_SIDE = 320
"""Pixels a side of the picture of a creative."""
SAMPLE_RATE = 48_000
_SHAPES = ((180, 320), (320, 180), (240, 240))
_RATES = (24, 25, 30)
_WORDS = ("SHOP NOW", "50% OFF TODAY", "NEW IN", "TRY IT FREE", "LAST CHANCE", "FREE SHIPPING")
_GOLDEN_TURN = 0.61803398875


@dataclass(frozen=True, slots=True)
class Film:
    """A video as it is planned.

    Attributes
    ----------
    width, height : pixels.
    rate : frames a second.
    frames : how many there are.
    cuts : frames that begin a scene, the first scene's excluded.
    sound : what is heard; a silent film has no sound track.
    bpm : beats a minute of the music.
    loudness_lufs : loudness aimed at.
    words : what is written over the pictures.
    key : seed of everything that is drawn.
    """

    width: int
    height: int
    rate: int
    frames: int
    cuts: tuple[int, ...]
    sound: Sound
    bpm: int | None
    loudness_lufs: float | None
    words: str | None
    key: tuple[int, int]

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames / self.rate


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a file, known before it was encoded.

    Attributes
    ----------
    seconds, cut_seconds : length and cuts; NULL of a picture.
    brightness : mean luma (Rec. 709), 0 to 1.
    sound, bpm, loudness_lufs : see Film; NULL of a picture.
    has_text : something is written over it.
    """

    seconds: float | None
    cut_seconds: tuple[float, ...] | None
    brightness: float
    sound: Sound | None
    bpm: int | None
    loudness_lufs: float | None
    has_text: bool


def film_of(seed: int, video_id: str) -> Film:
    """The film of a video, from the market's seed and the video's id; 6 to 20 s."""
    key = (seed, int(video_id))
    rng = np.random.default_rng(key)
    width, height = _SHAPES[rng.integers(len(_SHAPES))]
    rate = _RATES[rng.integers(len(_RATES))]
    frames = round(rng.uniform(6, 20) * rate)
    cuts: list[int] = []
    at = 0
    longest = rng.uniform(1.5, 6)
    while (at := at + round(rng.uniform(1.0, longest) * rate)) < frames - rate:
        cuts.append(at)
    sound: Sound = ("music", "music", "speech", "silent")[rng.integers(4)]
    loudness = None if sound == "silent" else round(float(rng.uniform(-30, -14)), 1)
    bpm = int(rng.integers(66, 168)) if sound == "music" else None
    words = _WORDS[rng.integers(len(_WORDS))] if rng.random() < 0.5 else None
    return Film(width, height, rate, frames, tuple(cuts), sound, bpm, loudness, words, key)


def video(film: Film) -> tuple[bytes, Truth]:
    """The film as MP4 (H.264, AAC), and what is true of it. The same film gives the same bytes.

    Raises
    ------
    ImportError : the extra `media` is not installed.
    """
    import av

    target = io.BytesIO()
    light = 0.0
    loudness: float | None = None
    with av.open(target, "w", format="mp4") as container:
        pictures = container.add_stream("libx264", rate=film.rate, options={"preset": "ultrafast", "crf": "23"})
        pictures.width, pictures.height, pictures.pix_fmt = film.width, film.height, "yuv420p"
        pictures.codec_context.thread_count = 1
        sound = (
            None if film.sound == "silent" else container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", bit_rate=160_000)
        )
        for picture in draw(film):
            light += luma(picture)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(pictures.encode())
        if sound is not None:
            samples, loudness = _at_loudness(play(film), film.loudness_lufs or 0.0)
            for frame in _audio_frames(samples):
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
    cuts = tuple(cut / film.rate for cut in film.cuts)
    truth = Truth(film.seconds, cuts, light / film.frames, film.sound, film.bpm, loudness, film.words is not None)
    return target.getvalue(), truth


def picture(seed: int, creative_id: str, side: int = PICTURE_SIDE, kind: Literal["png", "jpeg"] = "png") -> tuple[bytes, Truth]:
    """The picture of a creative, and what is true of it.

    Raises
    ------
    ImportError : the extra `media` is not installed.
    """
    import cv2

    key = (seed, int(creative_id))
    rng = np.random.default_rng(key)
    words = _WORDS[rng.integers(len(_WORDS))] if rng.random() < 0.5 else None
    drawn = _Scene(rng, side, side).at(0)
    if words is not None:
        _Caption(words, side, side).put(drawn)
    done, encoded = cv2.imencode(f".{kind}", drawn[..., ::-1])
    assert done
    return encoded.tobytes(), Truth(None, None, luma(drawn), None, None, None, words is not None)


def luma(picture: Picture) -> float:
    """Mean luma of a picture, 0 to 1."""
    import cv2

    red, green, blue, _ = cv2.mean(picture)
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


# Pictures.


def draw(film: Film) -> Iterator[Picture]:
    """The film's frames."""
    rng = np.random.default_rng((*film.key, 1))
    hue = rng.random()
    caption = None if film.words is None else _Caption(film.words, film.width, film.height)
    begin = 0
    for end in (*film.cuts, film.frames):
        # A third of the circle of colours and more from scene to scene, so that every cut is to be seen.
        hue = (hue + _GOLDEN_TURN) % 1
        scene = _Scene(rng, film.width, film.height, hue)
        for frame in range(begin, end):
            shown = scene.at((frame - begin) / film.rate)
            if caption is not None:
                caption.put(shown)
            yield shown
        begin = end


class _Scene:
    """A coloured ground with soft shapes on it, still or gliding past, and at times a ball that crosses it."""

    def __init__(self, rng: np.random.Generator, width: int, height: int, hue: float | None = None) -> None:
        hue = rng.random() if hue is None else hue
        value, depth = rng.uniform(0.45, 1.0), rng.uniform(0.15, 0.35)
        turned = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
        tint = value * (1 - rng.uniform(0.2, 0.8) * (1 - np.clip(turned, 0, 1)))
        self.width, self.height = width, height
        wide = _soft(rng, height, 2 * width, max(width, height) // 4)
        self.ground = (255 * np.clip(tint * (1 - depth + 2 * depth * (wide[..., None] - 0.5)), 0, 1)).astype(np.uint8)
        self.glide = float(rng.uniform(-0.3, 0.3)) * width if rng.random() < 0.5 else 0.0
        self.ball = rng.random() < 0.5
        self.start, self.speed = rng.uniform(0.2, 0.8, 2), rng.uniform(-0.15, 0.15, 2)
        self.radius = float(rng.uniform(0.06, 0.12)) * min(width, height)
        self.colour = rng.integers(0, 256, 3).astype(np.uint8)

    def at(self, seconds: float) -> Picture:
        """The scene after so many seconds."""
        columns = (np.arange(self.width) + round(self.glide * seconds)) % (2 * self.width)
        shown = self.ground[:, columns]
        if self.ball:
            # Reflected at the edges: a ball that left on one side and came in on the other would be another ball.
            place = 1 - np.abs(1 - (self.start + self.speed * seconds) % 2)
            down, across = np.ogrid[: self.height, : self.width]
            inside = (down - place[0] * self.height) ** 2 + (across - place[1] * self.width) ** 2 < self.radius**2
            shown[inside] = self.colour
        return shown


def _soft(rng: np.random.Generator, height: int, width: int, scale: int) -> Reals:
    """Soft random shapes, 0 to 1, that join at the left and right edges."""
    rows, columns = height // scale + 3, max(2, width // scale)
    coarse = rng.random((rows, columns))
    down, across = np.arange(height) / scale, np.arange(width) * columns / width
    top, left = down.astype(np.int64), across.astype(np.int64)
    low, right = (0.5 - 0.5 * np.cos(np.pi * (where - begin)) for where, begin in ((down, top), (across, left)))
    above = coarse[top][:, left] * (1 - right) + coarse[top][:, (left + 1) % columns] * right
    below = coarse[top + 1][:, left] * (1 - right) + coarse[top + 1][:, (left + 1) % columns] * right
    return above * (1 - low)[:, None] + below * low[:, None]


class _Caption:
    """Words on a dark bar across the lower third."""

    def __init__(self, words: str, width: int, height: int) -> None:
        import cv2

        font, thick = cv2.FONT_HERSHEY_DUPLEX, 1 if width < 240 else 2
        (wide, _), _ = cv2.getTextSize(words, font, 1.0, thick)
        size = 0.8 * width / wide
        (wide, high), _ = cv2.getTextSize(words, font, size, thick)
        bar = np.full((round(2.2 * high), width, 3), 24, np.uint8)
        self.bar = cv2.putText(
            bar, words, ((width - wide) // 2, round(1.6 * high)), font, size, (240, 240, 240), thick, cv2.LINE_AA
        )
        self.top = max(0, round(0.75 * height - 1.6 * high))

    def put(self, picture: Picture) -> None:
        """Put it onto a picture."""
        picture[self.top : self.top + len(self.bar)] = self.bar


# Sound.


def play(film: Film) -> Reals:
    """The film's samples before their loudness is set, shape (n, 2)."""
    rng = np.random.default_rng((*film.key, 2))
    length = round(film.seconds * SAMPLE_RATE)
    mono = _music(rng, length, film.bpm) if film.bpm is not None else _speech(rng, length)
    return np.stack([mono, mono], axis=1)


def _music(rng: np.random.Generator, length: int, bpm: int) -> Reals:
    """A drum on every beat, a snare on every second one, and chords under them."""
    found = np.zeros(length)
    beat = 60 * SAMPLE_RATE / bpm
    time = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    drum = np.sin(2 * np.pi * (55 * time + 6 * (1 - np.exp(-time * 40)))) * np.exp(-time * 18)
    snare = rng.normal(size=len(time)) * np.exp(-time * 30)
    root = rng.uniform(110, 220)
    for index in range(int(np.ceil(length / beat))):
        start = round(index * beat)
        end = min(length, start + len(time))
        found[start:end] += drum[: end - start] + (0.35 * snare[: end - start] if index % 2 else 0)
    for bar in range(int(np.ceil(length / (4 * beat)))):
        start, end = round(bar * 4 * beat), min(length, round((bar + 1) * 4 * beat))
        tone = root * 2 ** (rng.choice([0, 3, 5, 7]) / 12)
        of = np.arange(end - start) / SAMPLE_RATE
        soft = np.minimum(1, np.minimum(of, of[::-1]) / 0.05) if end > start else of
        found[start:end] += 0.12 * soft * sum(np.sin(2 * np.pi * tone * ratio * of) for ratio in (1, 1.25, 1.5))
    return found


def _speech(rng: np.random.Generator, length: int) -> Reals:
    """Voiced bursts with two formants, three to six a second and none evenly, with a pause after some words."""
    found = np.zeros(length)
    at = round(0.1 * SAMPLE_RATE)
    pitch = rng.uniform(100, 210)
    left = int(rng.integers(5, 12))
    while at < length:
        time = np.arange(round(rng.uniform(0.11, 0.24) * SAMPLE_RATE)) / SAMPLE_RATE
        tone = pitch * rng.uniform(0.85, 1.2)
        formants = rng.uniform(300, 800), rng.uniform(900, 2_400)
        voice = np.zeros(len(time))
        for harmonic in range(1, int(4_000 / tone)):
            near = sum(np.exp(-(((harmonic * tone - formant) / 180) ** 2)) for formant in formants)
            voice += (0.05 / harmonic + near) * np.sin(2 * np.pi * harmonic * tone * time)
        end = min(length, at + len(time))
        found[at:end] += (voice * np.hanning(len(time)) * rng.uniform(0.5, 1))[: end - at]
        at = end + round(rng.uniform(0.02, 0.09) * SAMPLE_RATE)
        left -= 1
        if not left:
            at += round(rng.uniform(0.3, 0.6) * SAMPLE_RATE)
            left = int(rng.integers(5, 12))
    return found


def _at_loudness(samples: Reals, target: float) -> tuple[NDArray[np.float32], float]:
    """The samples as loud as wanted, or as loud as they can be without clipping, and how loud that is."""
    found = _ebu_r128(samples)
    gain = min(10 ** ((target - found) / 20), 0.95 / float(np.abs(samples).max()))
    return (gain * samples).astype(np.float32), found + 20 * float(np.log10(gain))


def _ebu_r128(samples: Reals) -> float:
    """Integrated loudness by FFmpeg's meter, LUFS."""
    from av.filter import Graph

    graph = Graph()
    source = graph.add_abuffer(sample_rate=SAMPLE_RATE, format="fltp", layout="stereo", time_base=Fraction(1, SAMPLE_RATE))
    meter, sink = graph.add("ebur128", "metadata=1:framelog=quiet"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    found = None
    for frame in _audio_frames(samples.astype(np.float32)):
        graph.push(frame)
        found = _last_of(graph, found)
    graph.push(None)
    found = _last_of(graph, found)
    assert found is not None
    return float(found)


def _last_of(graph: "Graph", found: str | None) -> str | None:
    """The newest reading of a meter."""
    from av.error import BlockingIOError, EOFError

    while True:
        try:
            frame = graph.pull()
        except (BlockingIOError, EOFError):
            return found
        found = frame.metadata.get("lavfi.r128.I", found)


def _audio_frames(samples: NDArray[np.float32]) -> "Iterator[av.AudioFrame]":
    import av

    for start in range(0, len(samples), 1_024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[start : start + 1_024].T), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield frame
