"""What can be seen in a clip or a picture: light, colours, motion, and where it cuts.

What belongs here: measures of pictures. What does not: decoding files and looking for faces and text (`platforms.media`), sound (`hearing`),
and the row that all of it makes (`footage`).

A cut is a change that stands out: of the colours (histogram), or of what is left of a picture after each part of it was sought in the one
before (so that pans and moving things are none). It is no cut if its neighbours change as much (a fade, a dissolve), if what was before
comes back within two samples (a flash), or if the picture stays and only its light changes. Plain mean absolute differences at 5 a second
with an adaptive threshold found fewer of the true cuts in moving scenes, at more false ones.

Colourfulness is Hasler & Süsstrunk's (SPIE Human Vision 2003). Luma is Rec. 709's, of the values as they are stored.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Reals = NDArray[np.float64]
Cells = NDArray[np.float32]

SAMPLES_A_SECOND = 5
"""Pictures a second that `Watcher` takes of a clip; a scene shorter than three of them (0.6 s) may be taken for a flash."""

_LUMA = np.array([0.2126, 0.7152, 0.0722])
_SHORT, _LONG = 24, 40
"""Cells that a picture is reduced to for comparisons, along its short and its long side."""
_BLOCK, _REACH_SHORT, _REACH_LONG = 8, 4, 10
"""Cells a side of the parts that are sought, and how far from their place: a quarter of the long side."""
_STILL = 0.01
"""Difference below which nothing moves, so that nothing has to be sought."""
_COLOURS_CHANGE, _SHAPES_CHANGE, _SAME_PICTURE = 0.2, 0.025, 0.85
"""Least distance of colours and least rest of a cut; the correlation from which it is the same picture in another light."""
_BACK = 3
"""Samples that pictures are compared over."""
_NEAR = 4
"""Samples on each side that say what is usual there."""
_COLOURS, _COLOUR_DISTANCE, _COLOUR_SHARE = 5, 15.0, 0.05
"""Of a palette: most colours, least distance between two (CIELAB), and least share of the pictures."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen.

    Attributes
    ----------
    brightness : mean luma, 0 to 1.
    contrast : standard deviation of luma within a picture, 0 to 0.5.
    colourfulness : 0 (grey) to about 150, on the scale of the paper.
    palette : up to five colours as #rrggbb, those of the largest share first.
    motion : mean absolute difference of successive samples, 0 to 1, cuts left out; NULL of a single picture.
    cut_seconds : when it cuts, within 0.1 s; NULL of a picture that is no clip.
    """

    brightness: float
    contrast: float
    colourfulness: float
    palette: tuple[str, ...]
    motion: float | None
    cut_seconds: tuple[float, ...] | None


class _Reduced(NamedTuple):
    cells: Cells
    luma: Cells
    histogram: Reals


class Watcher:
    """Watches a clip picture by picture, and keeps a few numbers of each, never the pictures."""

    def __init__(self) -> None:
        self._light: list[tuple[float, float, float]] = []
        self._colours = np.zeros((4, 4_096))
        self._last: deque[_Reduced] = deque(maxlen=_BACK)
        self._differences: list[list[float]] = []
        self._distances: list[list[float]] = []
        self._left: list[float] = []
        self._alike: list[float] = []

    def add(self, picture: Picture) -> None:
        """Watch on.

        Parameters
        ----------
        picture : RGB, shape (height, width, 3), of the size of the others and small (about 160 pixels on its long side); of a clip,
            the one that shows at each fifth of a second.

        Raises
        ------
        ValueError : another shape or type.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
            raise ValueError(f"a picture has the shape (height, width, 3) of uint8, not {picture.shape} of {picture.dtype}")
        self._light.append(_light(picture))
        self._count_colours(picture)
        now = _reduced(picture)
        before = list(self._last)[::-1]
        self._differences.append([_difference(then.cells, now.cells) for then in before])
        self._distances.append([0.5 * float(np.abs(then.histogram - now.histogram).sum()) for then in before])
        moved = bool(before) and self._differences[-1][0] >= _STILL
        self._left.append(left_over(before[0].luma, now.luma) if moved else 0.0)
        # Dear, and asked of few: of what cannot be a cut anyway it is not.
        changed = moved and (self._distances[-1][0] >= _COLOURS_CHANGE or self._left[-1] >= _SHAPES_CHANGE)
        self._alike.append(_alikeness(before[0].luma, now.luma) if changed else 1.0)
        self._last.append(now)

    def _count_colours(self, picture: Picture) -> None:
        pixels = picture.reshape(-1, 3)
        cell = (pixels >> 4).astype(np.int64) @ np.array([256, 16, 1])
        self._colours[0] += np.bincount(cell, minlength=4_096)
        for channel in range(3):
            self._colours[channel + 1] += np.bincount(cell, pixels[:, channel], minlength=4_096)

    def seen(self, *, is_clip: bool = True) -> Seen:
        """What has been seen so far.

        Parameters
        ----------
        is_clip : pictures follow each other in time; otherwise there is neither motion nor a cut.

        Raises
        ------
        ValueError : no picture was added.
        """
        if not self._light:
            raise ValueError("nothing was seen")
        brightness, contrast, colourfulness = (float(value) for value in np.mean(self._light, axis=0))
        cuts = self._cuts() if is_clip else []
        between = np.array([differences[0] for differences in self._differences[1:]])
        steady = np.delete(between, [cut - 1 for cut in cuts])
        return Seen(
            brightness,
            contrast,
            colourfulness,
            _palette(self._colours),
            float(steady.mean()) if is_clip and steady.size else None,
            tuple((cut - 0.5) / SAMPLES_A_SECOND for cut in cuts) if is_clip else None,
        )

    def _cuts(self) -> list[int]:
        """Samples that begin a scene."""
        difference = np.array([0.0, *(found[0] for found in self._differences[1:])])
        distance = np.array([0.0, *(found[0] for found in self._distances[1:])])
        left = np.array(self._left)
        colours_change = (distance >= _COLOURS_CHANGE) & _stands_out(distance, 2.5, 1.6) & (difference >= 0.02)
        colours_change &= _stands_out(difference, 0, 1.3) | _stands_out(left, 0, 1.3)
        shapes_change = (left >= _SHAPES_CHANGE) & _stands_out(left, 3.0, 1.6)
        return [
            int(sample)
            for sample in np.flatnonzero(colours_change | shapes_change)
            if self._alike[sample] < _SAME_PICTURE and not self._comes_back(int(sample))
        ]

    def _comes_back(self, sample: int) -> bool:
        """Whether the picture before a change is there again within two samples, or the one after it was there before: a flash."""
        return any(
            found[later][span - 1] < 0.5 * found[sample][0]
            for found in (self._differences, self._distances)
            for span in range(2, _BACK + 1)
            for later in range(sample, min(sample + span, len(found)))
            if span <= len(found[later])
        )


def _stands_out(series: Reals, times_usual: float, times_next: float) -> NDArray[np.bool_]:
    """Where a series is so many times what is usual on both sides of it, and so many times either neighbour."""
    usual = np.zeros(len(series))
    for at in range(1, len(series)):
        sides = (series[max(1, at - _NEAR) : at], series[at + 1 : at + 1 + _NEAR])
        usual[at] = max((float(np.median(side)) for side in sides if side.size), default=0.0)
    neighbours = np.maximum(np.append(0.0, series[:-1]), np.append(series[1:], 0.0))
    return (series >= times_usual * usual) & (series >= times_next * neighbours)


def _light(picture: Picture) -> tuple[float, float, float]:
    """Brightness, contrast and colourfulness of one picture."""
    red, green, blue = (picture[..., channel].astype(np.float64) for channel in range(3))
    luma = (picture @ _LUMA) / 255
    across, along = red - green, (red + green) / 2 - blue
    spread = np.hypot(across.std(), along.std())
    return float(luma.mean()), float(luma.std()), float(spread + 0.3 * np.hypot(across.mean(), along.mean()))


def _reduced(picture: Picture) -> _Reduced:
    """A picture as comparisons need it: lying, by its long side, in few cells, and its colours in 64 bins."""
    coarse = (picture >> 6).astype(np.int64) @ np.array([16, 4, 1])
    histogram = np.bincount(coarse.ravel(), minlength=64) / coarse.size
    lying = picture if picture.shape[1] >= picture.shape[0] else picture.swapaxes(0, 1)
    cells = _cells(_cells(lying.astype(np.float32) / np.float32(255), _SHORT, 0), _LONG, 1)
    return _Reduced(cells, cells.mean(axis=2), histogram)


def _cells(values: Cells, count: int, axis: int) -> Cells:
    """Means of equal parts of an axis; where it is shorter than that, its values repeated."""
    length = values.shape[axis]
    starts = np.arange(count) * length // count
    if length < count:
        return cast("Cells", values.take(starts, axis=axis))
    shape = [1] * values.ndim
    shape[axis] = count
    sums: Cells = np.add.reduceat(values, starts, axis=axis)
    counts: Cells = np.diff(np.append(starts, length)).astype(np.float32).reshape(shape)
    return sums / counts


def _difference(before: Cells, now: Cells) -> float:
    return float(np.abs(before - now).mean())


def _shifted(luma: Cells) -> Cells:
    """A picture at every shift within reach; shape (2 * _REACH_SHORT + 1, 2 * _REACH_LONG + 1, _SHORT, _LONG)."""
    wide = np.pad(luma, ((_REACH_SHORT, _REACH_SHORT), (_REACH_LONG, _REACH_LONG)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(wide, (_SHORT, _LONG))


def left_over(before: Cells, now: Cells) -> float:
    """Mean absolute difference of luma that is left when each part of `now` is taken from where it fits best in `before`.

    Parameters
    ----------
    before, now : luma, 0 to 1, shape (24, 40).
    """
    apart = np.abs(_shifted(before) - now)
    rows, columns = apart.shape[:2]
    blocks = apart.reshape(rows, columns, _SHORT // _BLOCK, _BLOCK, _LONG // _BLOCK, _BLOCK).mean(axis=(3, 5))
    return float(blocks.min(axis=(0, 1)).mean())


def _alikeness(before: Cells, now: Cells) -> float:
    """Largest correlation of two pictures' luma over shifts within reach: 1 where only light or place changed; 0 of an even picture.

    What has not changed at all, such as a caption over a cut, says nothing; where hardly anything else is left it has to.
    """
    changed = np.abs(before - now) >= _STILL
    inner = changed.copy()
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(changed, step, axis)
    weights = inner if inner.mean() >= 0.1 else np.ones_like(inner)
    shifted = _shifted(before)[..., weights]
    there = shifted - shifted.mean(axis=2, keepdims=True)
    here = now[weights] - now[weights].mean()
    spread = np.sqrt((there**2).sum(axis=2) * (here**2).sum())
    even = np.sqrt(spread / here.size) < 0.01
    return float(np.where(even, 0.0, (there * here).sum(axis=2) / np.maximum(spread, 1e-12)).max())


def _palette(counted: Reals) -> tuple[str, ...]:
    """Dominant colours by k-means in CIELAB over the counted cells; close ones are one, rare ones are left out."""
    filled = counted[0] > 0
    weights = counted[0, filled] / counted[0].sum()
    colours = (counted[1:, filled] / counted[0, filled]).T
    points = _lab(colours)
    centres = points[[int(np.argmax(weights))]]
    while len(centres) < min(_COLOURS, len(points)):
        far = ((points[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
        centres = np.vstack([centres, points[int(np.argmax(weights * far))]])
    for _ in range(10):
        nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        mass = np.bincount(nearest, weights, len(centres))
        held = np.flatnonzero(mass)
        sums = np.stack([np.bincount(nearest, weights * points[:, axis], len(centres)) for axis in range(3)], axis=1)
        centres = sums[held] / mass[held, None]
    nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    mass = np.bincount(nearest, weights, len(centres))
    kept: list[int] = []
    for index in np.argsort(-mass, kind="stable").tolist():
        apart = [float(np.linalg.norm(centres[index] - centres[other])) for other in kept]
        if mass[index] >= _COLOUR_SHARE and all(distance >= _COLOUR_DISTANCE for distance in apart):
            kept.append(index)
    means = [np.average(colours[nearest == index], axis=0, weights=weights[nearest == index]) for index in kept]
    return tuple("#" + "".join(f"{round(value):02x}" for value in mean) for mean in means)


def _lab(colours: Reals) -> Reals:
    """sRGB, 0 to 255, as CIELAB with white D65; shape (n, 3)."""
    stored = colours / 255
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
    relative = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    root = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)
