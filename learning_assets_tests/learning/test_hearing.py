"""What can be heard: loudness by the standard's own test signals, tempo of known beats, and what is not a beat."""

import numpy as np
import pytest
from numpy.typing import NDArray

from learning_assets.learning.hearing import RATE, Heard, Listener, gated_loudness, tempo
from learning_assets.sandbox.media import film_of, play
from learning_assets_tests.clips import tone


def heard(samples: NDArray[np.floating], chunk: int = 4_096) -> Heard:
    listener = Listener()
    for start in range(0, len(samples), chunk):
        listener.add(samples[start : start + chunk].astype(np.float32))
    return listener.heard()


def decibels(level: float) -> float:
    return 10 ** (level / 20)


def clicks(bpm: float, seconds: float = 10, noise: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(1)
    found = rng.normal(0, noise, round(seconds * RATE)) if noise else np.zeros(round(seconds * RATE))
    click = np.sin(2 * np.pi * 200 * np.arange(2_400) / RATE) * np.exp(-np.arange(2_400) / 400)
    for start in np.arange(0.05, seconds - 0.1, 60 / bpm):
        at = round(start * RATE)
        found[at : at + len(click)] += 0.5 * click
    return found[:, None]


# EBU Tech 3341, cases 1 to 3, shortened: a sine of 1 kHz at so many dBFS on both channels reads the same in LUFS, within 0.1.
@pytest.mark.parametrize("level", [-23.0, -33.0, -12.0])
def test_a_sine_reads_its_level(level: float):
    assert heard(tone(3, decibels(level), 1_000)).loudness_lufs == pytest.approx(level, abs=0.1)


def test_quiet_parts_are_gated_out():
    parts = [tone(3, decibels(-36), 1_000), tone(20, decibels(-23), 1_000), tone(3, decibels(-36), 1_000)]
    assert heard(np.concatenate(parts)).loudness_lufs == pytest.approx(-23.0, abs=0.1)


def test_one_channel_is_three_decibels_less_than_two():
    both = tone(2)
    assert heard(both[:, :1]).loudness_lufs == pytest.approx((heard(both).loudness_lufs or 0) - 10 * np.log10(2), abs=1e-6)


def test_it_does_not_matter_how_the_samples_come():
    samples = play(film_of(7, "1"))[: 6 * RATE]
    whole, parts = heard(samples, len(samples)), heard(samples, 1_337)
    assert whole.sound == parts.sound
    assert whole.tempo_bpm == parts.tempo_bpm
    assert whole.loudness_lufs == pytest.approx(parts.loudness_lufs, abs=1e-3)


@pytest.mark.parametrize("bpm", [63, 90, 120.5, 144, 171])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_tempo_of_clicks(bpm: float, noise: float):
    found = heard(clicks(bpm, noise=noise))
    assert found.tempo_bpm == pytest.approx(bpm, abs=0.7)
    assert found.sound == "music"


def test_steady_noise_and_a_tone_have_no_beat_and_are_not_told_apart():
    noise = np.random.default_rng(2).normal(0, 0.1, (8 * RATE, 1))
    for samples in (noise, tone(8)):
        found = heard(samples)
        assert (found.tempo_bpm, found.sound) == (None, "unknown")


def test_bursts_and_pauses_of_syllables_are_speech():
    films = [film for n in range(40) if (film := film_of(3, str(n))).sound == "speech"]
    for film in sorted(films, key=lambda film: film.frames)[:3]:
        found = heard(play(film))
        assert (found.sound, found.tempo_bpm) == ("speech", None)


def test_silence_is_silent_and_what_is_too_short_is_unknown():
    assert heard(np.zeros((RATE, 2))) == Heard(None, None, None, "silent")
    assert heard(tone(0.05)).sound == "unknown"
    short = heard(tone(1))
    assert short.loudness_lufs is not None
    assert short.beat_strength is None
    assert Listener().heard().sound == "unknown"


def test_gates_and_envelopes_without_anything():
    assert gated_loudness(np.zeros(10)) is None
    assert gated_loudness(np.ones(3)) is None
    assert tempo(np.zeros(1_000)) is None
    assert tempo(np.ones(100)) is None


def test_wrong_samples_are_refused():
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        Listener().add(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="not finite"):
        Listener().add(np.full((4, 1), np.nan, np.float32))
