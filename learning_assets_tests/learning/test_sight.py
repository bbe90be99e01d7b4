"""What can be seen: cuts are found exactly, and what looks like one is none; light and colours by their formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from learning_assets.learning.sight import SAMPLES_A_SECOND, Seen, Watcher, left_over

Frame = NDArray[np.float64]
HEIGHT, WIDTH = 54, 96


def ground(rng: np.random.Generator, width: int = WIDTH) -> Frame:
    """Soft coloured shapes, 0 to 1."""
    coarse = rng.random((HEIGHT // 9, width // 9 + 1, 3))
    wide = coarse.repeat(9, 0).repeat(9, 1)[:HEIGHT, :width]
    kernel = np.ones(7) / 7
    for axis in (0, 1):
        wide = np.apply_along_axis(lambda line: np.convolve(np.pad(line, 3, mode="edge"), kernel, "valid"), axis, wide)
    return 0.1 + 0.8 * wide


def scenes(rng: np.random.Generator, *lengths: int) -> list[Frame]:
    """Still scenes of so many samples each, with a little noise."""
    shown = [ground(rng) for _ in lengths]
    return [
        np.clip(scene + rng.normal(0, 0.01, scene.shape), 0, 1)
        for scene, length in zip(shown, lengths, strict=True)
        for _ in range(length)
    ]


def watched(frames: list[Frame]) -> Seen:
    watcher = Watcher()
    for frame in frames:
        watcher.add(np.round(255 * np.clip(frame, 0, 1)).astype(np.uint8))
    return watcher.seen()


def cuts(frames: list[Frame]) -> list[int]:
    """Samples that begin a scene."""
    found = watched(frames).cut_seconds
    assert found is not None
    return [round(cut * SAMPLES_A_SECOND + 0.5) for cut in found]


@pytest.mark.parametrize("seed", range(6))
def test_hard_cuts_are_found_exactly(seed: int):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, 8)
    assert cuts(scenes(rng, *lengths)) == np.cumsum(lengths)[:-1].tolist()


def test_cuts_of_a_standing_clip_are_those_of_a_lying_one():
    frames = scenes(np.random.default_rng(1), 5, 7, 6)
    assert cuts([frame.swapaxes(0, 1) for frame in frames]) == cuts(frames) == [5, 12]


@pytest.mark.parametrize("speed", [2, 6, 12])
def test_a_pan_is_no_cut(speed: int):
    wide = ground(np.random.default_rng(2), WIDTH + 30 * speed)
    assert cuts([wide[:, speed * n : speed * n + WIDTH] for n in range(30)]) == []


def test_a_cut_in_moving_scenes_is_found():
    rng = np.random.default_rng(3)
    frames = [wide[:, 4 * n : 4 * n + WIDTH] for wide in (ground(rng, 200), ground(rng, 200)) for n in range(20)]
    assert cuts(frames) == [20]


@pytest.mark.parametrize("samples", [1, 2])
def test_a_flash_is_no_cut(samples: int):
    frames = scenes(np.random.default_rng(4), 30)
    for at in (8, 20):
        frames[at : at + samples] = [0.2 * frame + 0.8 for frame in frames[at : at + samples]]
    assert cuts(frames) == []


@pytest.mark.parametrize("length", [3, 5, 8])
def test_a_fade_and_a_dissolve_are_no_cuts(length: int):
    first, second = scenes(np.random.default_rng(5), 40), scenes(np.random.default_rng(6), 40)
    black = [
        frame * min(1, abs(n - 20) / length)
        for n, frame in enumerate(a if n < 20 else b for n, (a, b) in enumerate(zip(first, second, strict=True)))
    ]
    assert cuts(black) == []
    share = np.clip((np.arange(40) - 18 + 0.5) / length, 0, 1)
    assert cuts([(1 - s) * a + s * b for s, a, b in zip(share, first, second, strict=True)]) == []


def test_another_light_on_the_same_picture_is_no_cut():
    frames = scenes(np.random.default_rng(7), 30)
    assert cuts([frame * (0.5 if n >= 15 else 1) for n, frame in enumerate(frames)]) == []


def test_a_caption_over_a_cut_does_not_hide_it():
    frames = scenes(np.random.default_rng(8), 10, 12)
    for frame in frames:
        frame[36:46] = 0.05
        frame[38:44, 8:88:6] = 1.0
    assert cuts(frames) == [10]


def test_even_colours_are_scenes():
    frames = [
        np.broadcast_to(np.array(colour), (HEIGHT, WIDTH, 3)) for colour in ((0.9, 0.1, 0.1), (0.1, 0.2, 0.8)) for _ in range(8)
    ]
    assert cuts(frames) == [8]


def test_motion_leaves_cuts_out():
    rng = np.random.default_rng(9)
    one, other = ground(rng), ground(rng)
    assert watched([one] * 10 + [other] * 10).motion == pytest.approx(0, abs=1e-6)
    wide = ground(rng, 200)
    slow, fast = (watched([wide[:, step * n : step * n + WIDTH] for n in range(15)]).motion for step in (1, 5))
    assert slow is not None
    assert fast is not None
    assert 0 < slow < fast < 1


def test_light_and_colours_by_their_formulas():
    half = np.zeros((40, 60, 3))
    half[:, 30:] = 1
    seen = watched([half])
    assert seen.brightness == pytest.approx(0.5)
    assert seen.contrast == pytest.approx(0.5)
    assert seen.colourfulness == pytest.approx(0)
    assert sorted(seen.palette) == ["#000000", "#ffffff"]
    # Half red, half blue: rg = 255 and 0, yb = 127.5 and -255 (Hasler & Süsstrunk 2003, equation 14).
    half[:, :30], half[:, 30:] = (1, 0, 0), (0, 0, 1)
    seen = watched([half])
    assert seen.colourfulness == pytest.approx(np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75))
    assert seen.brightness == pytest.approx((0.2126 + 0.0722) / 2)
    assert sorted(seen.palette) == ["#0000ff", "#ff0000"]


def test_the_palette_is_sorted_by_share_and_leaves_rare_colours_out():
    picture = np.zeros((40, 100, 3))
    picture[:, :60], picture[:, 60:98], picture[:, 98:] = (0.2, 0.6, 0.3), (0.9, 0.8, 0.1), (1, 0, 1)
    assert watched([picture]).palette == ("#33994c", "#e6cc1a")


def test_a_single_picture_has_no_motion_and_a_picture_that_is_no_clip_no_cuts():
    watcher = Watcher()
    watcher.add(np.full((20, 30, 3), 128, np.uint8))
    assert watcher.seen().motion is None
    assert watcher.seen().cut_seconds == ()
    assert watcher.seen(is_clip=False).cut_seconds is None


def test_wrong_pictures_are_refused():
    with pytest.raises(ValueError, match=r"not \(20, 30\) of uint8"):
        Watcher().add(np.zeros((20, 30), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        Watcher().add(np.zeros((20, 30, 3)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nothing was seen"):
        Watcher().seen()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_measures_keep_their_ranges_at_any_size(height: int, width: int, seed: int):
    rng = np.random.default_rng(seed)
    watcher = Watcher()
    for _ in range(4):
        watcher.add(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    seen = watcher.seen()
    assert 0 <= seen.brightness <= 1
    assert 0 <= seen.contrast <= 0.5
    assert seen.colourfulness >= 0
    assert seen.motion is None or 0 <= seen.motion <= 1
    assert len(seen.palette) <= 5


def test_nothing_is_left_over_of_what_only_moved():
    rng = np.random.default_rng(10)
    wide = rng.random((24, 60)).astype(np.float32)
    assert left_over(wide[:, 4:44], wide[:, 8:48]) < 0.25 * left_over(wide[:, 4:44], rng.random((24, 40)).astype(np.float32))
