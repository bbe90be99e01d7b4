"""What can be heard in a clip: loudness, tempo, and whether it is music or speech.

What belongs here: measures of samples. What does not: decoding files (`platforms.media`), pictures (`sight`), and the row that all of it
makes (`footage`).

Loudness is ITU-R BS.1770-4's: K-weighting, blocks of 400 ms every 100 ms, gates at -70 LUFS and 10 LU below the mean. Tempo comes from the
autocorrelation of an onset envelope (Ellis, J. New Music Research 2007), without any beat it is NULL. Music and speech are told apart by
rules on the beat, on pauses and on the rhythm of syllables (Scheirer & Slaney, ICASSP 1997); what fits neither is `unknown`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Reals = NDArray[np.float64]
Sound = Literal["music", "speech", "silent", "unknown"]

RATE = 48_000
"""Samples a second that `Listener` takes; the weighting filters of the standard are given at this rate."""
SLOWEST_BPM, FASTEST_BPM = 60.0, 180.0
"""Tempi that are told. A beat outside is told as its double or its half, as people tap it."""

# BS.1770-4, tables 1 and 2: numerator and denominator of the head's shelf, and of the high pass.
_K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
_TAPS = 8_192
"""Samples after which the answer of these filters to a click has died away, to far below what a number can hold."""
_PART = RATE // 10
_PARTS_A_BLOCK = 4
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0

_HOP, _WINDOW = RATE // 100, 2_048
_FRAMES_A_SECOND = RATE // _HOP
_BAND_EDGES = np.unique(np.round(np.geomspace(60, 16_000, 25) * _WINDOW / RATE).astype(np.int64))
_FAINT = 1e-7
"""Power that onsets are measured above, so that noise of the codec in silence is none."""
_SHORTEST_BEAT_SECONDS = 4.0
_BEAT = 0.35
"""Strength from which a pulse is a beat: noise and speech stay below it, music with percussion is far above (see docs/methods.md)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What is heard in a clip.

    Attributes
    ----------
    loudness_lufs : integrated loudness, LUFS; NULL where nothing is above -70 LUFS, or the clip is shorter than 400 ms.
    tempo_bpm : beats a minute, 60 to 180; NULL without a beat.
    beat_strength : how periodic the onsets are, about 0 to 1; NULL below 4 s of sound.
    sound : music, speech, silent, or unknown.
    """

    loudness_lufs: float | None
    tempo_bpm: float | None
    beat_strength: float | None
    sound: Sound


SILENCE = Heard(None, None, None, "silent")
"""Of a clip without any sound track."""


class Listener:
    """Listens to a clip as its samples come, and keeps a few numbers for each 10 ms, never the samples."""

    def __init__(self) -> None:
        self._waiting: list[Samples] = []
        self._before: Reals | None = None
        self._unweighted: Reals | None = None
        self._powers: list[float] = []
        self._tail: Reals = np.zeros(_WINDOW - _HOP)
        self._last_bands: Reals | None = None
        self._onsets: list[Reals] = []
        self._levels: list[Reals] = []

    def add(self, samples: Samples) -> None:
        """Listen on.

        Parameters
        ----------
        samples : shape (n, channels), -1 to 1, RATE a second; one or two channels, the same in every call.

        Raises
        ------
        ValueError : other shapes, or samples that are not finite.
        """
        if samples.ndim != 2 or samples.shape[1] not in (1, 2):
            raise ValueError(f"samples have the shape {samples.shape}, not (n, 1) or (n, 2)")
        if not np.isfinite(samples).all():
            raise ValueError("samples are not finite numbers")
        self._waiting.append(samples)
        if sum(map(len, self._waiting)) >= RATE:
            self._listen()

    def _listen(self) -> None:
        """Measure what has come since the last time; a second at a time costs a tenth of a frame at a time."""
        if self._waiting:
            samples = np.concatenate(self._waiting).astype(np.float64)
            self._waiting = []
            for start in range(0, len(samples), RATE):
                part = samples[start : start + RATE]
                self._weigh(part)
                self._hear(part.mean(axis=1))

    def _weigh(self, samples: Reals) -> None:
        """Power of the weighted samples for each 100 ms, summed over channels."""
        if self._before is None or self._unweighted is None:
            self._before = np.zeros((_TAPS - 1, samples.shape[1]))
            self._unweighted = samples[:0]
        samples = np.concatenate([self._unweighted, samples])
        whole = len(samples) // _PART * _PART
        self._unweighted = samples[whole:]
        if whole:
            heard = np.concatenate([self._before, samples[:whole]])
            self._before = heard[len(heard) - _TAPS + 1 :]
            size = 2 ** int(np.ceil(np.log2(len(heard) + _TAPS)))
            weighted = np.fft.irfft(np.fft.rfft(heard, size, axis=0) * _k_weighting(size)[:, None], size, axis=0)
            parts = weighted[_TAPS - 1 : len(heard)].reshape(-1, _PART, heard.shape[1])
            self._powers += (parts**2).mean(axis=1).sum(axis=1).tolist()

    def _hear(self, mono: Reals) -> None:
        """Onsets and levels for each 10 ms."""
        mono = np.concatenate([self._tail, mono])
        frames = (len(mono) - _WINDOW) // _HOP + 1
        if frames < 1:
            self._tail = mono
            return
        windows = np.lib.stride_tricks.sliding_window_view(mono, _WINDOW)[: frames * _HOP : _HOP]
        spectra = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), axis=1)) ** 2 / _WINDOW**2
        bands = np.log(np.add.reduceat(spectra, _BAND_EDGES, axis=1)[:, :-1] + _FAINT)
        before = bands[:1] if self._last_bands is None else self._last_bands
        self._onsets.append(np.maximum(np.diff(bands, axis=0, prepend=before), 0).mean(axis=1))
        self._levels.append(np.sqrt((windows[:, -_HOP:] ** 2).mean(axis=1)))
        self._last_bands = bands[-1:]
        self._tail = mono[frames * _HOP :]

    def heard(self) -> Heard:
        """What has been heard so far."""
        self._listen()
        loudness = gated_loudness(np.array(self._powers))
        if loudness is None:
            return Heard(None, None, None, "silent" if self._powers else "unknown")
        levels = np.concatenate(self._levels)
        pulse = tempo(np.concatenate(self._onsets))
        bpm, strength = (None, None) if pulse is None else pulse
        has_beat = strength is not None and strength >= _BEAT
        sound: Sound = "music" if has_beat else "speech" if _is_speech(levels) else "unknown"
        return Heard(loudness, bpm if has_beat else None, strength, sound)


@cache
def _k_weighting(size: int) -> NDArray[np.complex128]:
    """Spectrum of the filters' answer to a click, for transforms of `size` samples."""
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(2 * _TAPS))
    response = np.ones(len(turn), dtype=np.complex128)
    for numerator, denominator in _K_WEIGHTING:
        response *= np.polyval(numerator[::-1], turn) / np.polyval(denominator[::-1], turn)
    return np.fft.rfft(np.fft.irfft(response, 2 * _TAPS)[:_TAPS], size)


def gated_loudness(powers: Reals) -> float | None:
    """Integrated loudness by BS.1770-4, LUFS; NULL where no block is above the absolute gate.

    Parameters
    ----------
    powers : mean square of the K-weighted samples for each 100 ms, summed over channels; shape (n,).
    """
    if len(powers) < _PARTS_A_BLOCK:
        return None
    blocks = np.convolve(powers, np.full(_PARTS_A_BLOCK, 1 / _PARTS_A_BLOCK), mode="valid")
    blocks = blocks[blocks > _power(_ABSOLUTE_GATE)]
    if not blocks.size:
        return None
    loud = blocks[blocks > _power(_lufs(float(blocks.mean())) + _RELATIVE_GATE)]
    return _lufs(float(loud.mean()))


def _lufs(power: float) -> float:
    return -0.691 + 10 * float(np.log10(power))


def _power(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def tempo(onsets: Reals) -> tuple[float, float] | None:
    """The pulse of an onset envelope: beats a minute, and how strong it is (about 0 to 1; a strong one is a beat).

    The strength of a tempo is the mean autocorrelation at one to four of its beats. The fastest tempo of nearly the greatest strength is
    the one, since every beat is also a slower one.

    Parameters
    ----------
    onsets : one number for each 10 ms, at least 0; shape (n,).

    Returns
    -------
    None for an envelope shorter than 4 s or without any onset.
    """
    if len(onsets) < _SHORTEST_BEAT_SECONDS * _FRAMES_A_SECOND:
        return None
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2)
    smooth = np.convolve(onsets, kernel / kernel.sum(), mode="same")
    around = np.convolve(smooth, np.full(_FRAMES_A_SECOND, 1 / _FRAMES_A_SECOND), mode="same")
    above = np.maximum(smooth - around, 0)
    above -= above.mean()
    size = 2 ** int(np.ceil(np.log2(2 * len(above))))
    power: Reals = np.abs(np.fft.rfft(above, size)) ** 2
    matched: Reals = np.fft.irfft(power, size)[: len(above)]
    if matched[0] <= 0:
        return None
    # Each lag by the number of its pairs, so that long ones do not look weak.
    matched = matched / matched[0] * len(above) / np.arange(len(above), 0, -1)
    bpm: Reals = np.arange(SLOWEST_BPM, FASTEST_BPM + 0.05, 0.1)
    lags: Reals = 60 * _FRAMES_A_SECOND / bpm[:, None] * np.arange(1, 5)
    # A lag that leaves less than half of the clip to compare says little.
    usable: Reals = (lags <= len(above) / 2).astype(np.float64)
    values: Reals = np.interp(lags.ravel(), np.arange(len(above)), matched).reshape(lags.shape)
    strengths: Reals = (values * usable).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
    if strengths.max() <= 0:
        return float(bpm[int(np.argmax(strengths))]), 0.0
    fastest = int(np.flatnonzero(strengths >= 0.7 * strengths.max())[-1])
    # The top of the peak that it belongs to.
    near = np.flatnonzero(np.abs(bpm / bpm[fastest] - 1) < 0.04)
    best = int(near[np.argmax(strengths[near])])
    return float(bpm[best]), float(np.clip(strengths[best], 0, 1))


def _is_speech(levels: Reals) -> bool:
    """Whether levels of 10 ms rise and fall as syllables and pauses do.

    Speech pauses (a third of the time is far below the mean of its second) and its level moves mostly 2 to 8 times a second.
    """
    second = _FRAMES_A_SECOND
    if len(levels) < 2 * second:
        return False
    seconds = levels[: len(levels) // second * second].reshape(-1, second)
    sounding = seconds[seconds.mean(axis=1) > 0.05 * seconds.mean()]
    quiet = float((sounding < 0.5 * sounding.mean(axis=1, keepdims=True)).mean())
    moved = np.abs(np.fft.rfft((levels - levels.mean()) * np.hanning(len(levels)))) ** 2
    frequency = np.fft.rfftfreq(len(levels), 1 / second)
    audible = moved[(frequency >= 0.5) & (frequency <= 20)].sum()
    syllables = moved[(frequency >= 2) & (frequency <= 8)].sum()
    return bool(quiet >= 0.3 and audible > 0 and syllables / audible >= 0.35)
