"""Static sentence embeddings of ad texts, and their form in storage.

What belongs here: text to unit vector, vector to bytes and back. What does not: similarity search, and anything learned from results.

The model is WordLlama (256 dimensions, averaged static token vectors distilled from language models; https://github.com/dleemiller/WordLlama).
Its weights are part of the package: nothing is downloaded.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from wordllama.inference import WordLlamaInference  # pyright: ignore[reportMissingTypeStubs]

VERSION = "wordllama-l2_supercat-256"
DIMENSIONS = 256

_STORED = np.dtype("<f2")


@cache
def _model() -> "WordLlamaInference":
    """The model, loaded once a process; FileNotFoundError if the installed package lacks its weights."""
    import wordllama  # pyright: ignore[reportMissingTypeStubs]

    # its own look-up of packaged files is off by a folder name; this folder holds weights/ and tokenizers/
    return wordllama.WordLlama.load(dim=DIMENSIONS, cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def load() -> None:
    """Load the model now, and not at the first text: for a process that forks others which embed."""
    _model()


def embed(texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
    """Unit vectors of `texts`.

    Returns
    -------
    Shape (n, 256), float32, rows of norm 1. A row is NaN where there is nothing to embed (None, blank, or no known token):
    unknown, and not similar to anything.
    """
    vectors = np.full((len(texts), DIMENSIONS), np.nan, dtype=np.float32)
    known = [index for index, text in enumerate(texts) if text and text.strip()]
    if not known:
        return vectors
    model: Any = _model()
    raw = np.asarray(model.embed([str(texts[index]) for index in known], norm=False), dtype=np.float32)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    vectors[known] = np.divide(raw, norms, out=np.full_like(raw, np.nan), where=norms > 0)
    return vectors


def to_bytes(vectors: npt.NDArray[np.floating]) -> list[bytes | None]:
    """Each row of `vectors` (n, 256) as 512 bytes of little-endian float16, None for rows with NaN.

    Raises
    ------
    ValueError : another shape.
    """
    if vectors.ndim != 2 or vectors.shape[1] != DIMENSIONS:
        raise ValueError(f"vectors have shape {vectors.shape}; expected (n, {DIMENSIONS})")
    stored = vectors.astype(_STORED)
    return [None if np.isnan(row).any() else row.tobytes() for row in stored]


def from_bytes(rows: Iterable[bytes | None]) -> npt.NDArray[np.float32]:
    """Vectors (n, 256) float32 from what `to_bytes` gave, NaN rows for None; norms are 1 within float16's precision (0.1 %).

    Raises
    ------
    ValueError : a row that is not 512 bytes.
    """
    listed = list(rows)
    vectors = np.full((len(listed), DIMENSIONS), np.nan, dtype=np.float32)
    for index, row in enumerate(listed):
        if row is None:
            continue
        if len(row) != DIMENSIONS * _STORED.itemsize:
            raise ValueError(
                f"row {index} has {len(row)} bytes; an embedding has {DIMENSIONS * _STORED.itemsize}. Embed it again"
            )
        vectors[index] = np.frombuffer(row, dtype=_STORED)
    return vectors
