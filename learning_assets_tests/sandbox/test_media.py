"""Files of the simulated ads: what is known of them is true, they come from seed and id alone, and differ."""

import io
from itertools import pairwise

import av
import numpy as np
import pytest

from learning_assets.sandbox.media import Film, draw, film_of, luma, picture, play, video

FILMS = [film_of(7, str(125 * 10**15 + number)) for number in range(200)]
SHORT = min(FILMS, key=lambda film: film.frames)


def test_films_are_what_is_promised():
    assert all(6 <= film.seconds <= 20.1 for film in FILMS)
    assert all(160 <= side <= 320 for film in FILMS for side in (film.width, film.height))
    assert {film.sound for film in FILMS} == {"music", "speech", "silent"}
    assert all((film.bpm is not None) == (film.sound == "music") for film in FILMS)
    assert all((film.loudness_lufs is None) == (film.sound == "silent") for film in FILMS)
    assert {film.words is None for film in FILMS} == {True, False}
    # No scene is shorter than what can be told from a flash.
    scenes = [np.diff([0, *film.cuts, film.frames]).min() / film.rate for film in FILMS]
    assert min(scenes) >= 0.95


def test_the_same_film_gives_the_same_bytes_and_another_seed_another_film():
    assert video(SHORT) == video(SHORT)
    number = str(SHORT.key[1])
    assert film_of(7, number) == SHORT
    assert film_of(8, number) != SHORT


def test_pictures_change_at_cuts_and_hardly_elsewhere():
    frames = [frame.astype(float) for frame in draw(SHORT)]
    assert len(frames) == SHORT.frames
    changes = np.array([np.abs(now - before).mean() for before, now in pairwise(frames)])
    cuts = np.array(SHORT.cuts) - 1
    assert changes[cuts].min() > 3 * np.delete(changes, cuts).max()


def test_a_video_is_what_its_truth_says():
    content, truth = video(SHORT)
    assert truth.cut_seconds == tuple(cut / SHORT.rate for cut in SHORT.cuts)
    assert truth.brightness == pytest.approx(np.mean([luma(frame) for frame in draw(SHORT)]))
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", SHORT.width, SHORT.height)
        assert sum(1 for _ in container.decode(stream)) == SHORT.frames
        assert bool(container.streams.audio) == (SHORT.sound != "silent")


def test_loudness_is_as_loud_as_planned_where_it_does_not_clip():
    loud = Film(160, 160, 25, 25, (), "music", 120, -20.0, None, (1, 2))
    _, truth = video(loud)
    assert truth.loudness_lufs == pytest.approx(-20.0)
    assert np.abs(play(loud)).max() > 0


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8")])
def test_pictures_of_creatives(kind, magic: bytes):
    content, truth = picture(7, "124000000000100042", kind=kind)
    assert content.startswith(magic)
    assert 0 < truth.brightness < 1
    assert (truth.cut_seconds, truth.sound) == (None, None)
    assert picture(7, "124000000000100042", kind=kind) == (content, truth)
    assert picture(7, "124000000000100043", kind=kind)[0] != content
