"""Faces and written text in a picture, by OpenCV with what its package brings along; nothing is downloaded.

What belongs here: looking at one picture. What does not: which pictures are looked at (`decode`).

Faces are found by a Haar cascade (Viola & Jones 2001), frontal ones only: a face in profile or under a hat is missed. Written text is taken to
be a lying box of dense edges (Chen, Bourlard & Thiran, CVPR 2001) in two even tones with strokes between them: small, slanted or faint text is
missed, and a grid or a fence may be taken for it.
"""

from functools import cache
from pathlib import Path

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

FACE_SIDE, TEXT_SIDE = 320, 480
"""Long side, in pixels, of the pictures that are looked at."""
_LEAST_FACE = 0.075
"""Smallest face, as a share of the long side."""
_LINE = (0.02, 0.15)
"""Height of a line of text, as a share of the long side."""


@cache
def _cascade() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"))


def count_faces(picture: Grey) -> int:
    """Frontal faces in a grey picture whose long side is FACE_SIDE."""
    least = round(_LEAST_FACE * max(picture.shape))
    return len(_cascade().detectMultiScale(picture, scaleFactor=1.1, minNeighbors=5, minSize=(least, least)))


def text_share(picture: Grey) -> float:
    """Share of a grey picture whose long side is TEXT_SIDE that lies under written text, 0 to 1."""
    long = max(picture.shape)
    edges = cv2.morphologyEx(picture, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    threshold, dense = cv2.threshold(edges, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if threshold < 30:
        _, dense = cv2.threshold(edges, 30, 255, cv2.THRESH_BINARY)
    written = np.zeros(picture.shape, np.bool_)
    for gap in (long // 50, long // 28):
        joined = cv2.morphologyEx(dense, cv2.MORPH_CLOSE, np.ones((1, max(3, gap)), np.uint8))
        joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((3, max(3, long // 40)), np.uint8))
        _, _, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
        for left, top, width, height, area in boxes[1:].tolist():
            is_line = _LINE[0] * long <= height <= _LINE[1] * long and width >= 2.5 * height and area >= 0.55 * width * height
            box = (slice(top, top + height), slice(left, left + width))
            if is_line and _is_written(picture[box]):
                written[box] = True
    return float(written.mean())


def _is_written(box: Grey) -> bool:
    """Whether a box holds two even tones, well apart, that change as often along a line as strokes of letters do."""
    _, two = cv2.threshold(box, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    ink = two > 0
    share = float(ink.mean())
    if not 0.1 <= share <= 0.9:
        return False
    bright, dark = box[ink].astype(np.float64), box[~ink].astype(np.float64)
    apart = bright.mean() - dark.mean()
    within = np.sqrt(share * bright.var() + (1 - share) * dark.var())
    if apart < 50 or within > 0.3 * apart:
        return False
    height, width = box.shape
    middle = ink[height // 4 : max(height // 4 + 1, 3 * height // 4)]
    changes = float((middle[:, 1:] != middle[:, :-1]).sum(axis=1).mean())
    return changes >= max(6.0, 1.2 * width / height)
