"""The niche of an ad by its text: a multinomial logistic regression on the text's embedding and on keywords.

What belongs here: features, fit, probabilities. It is fitted at first use, in about a third of a second, on the ads of `ads.csv` by themselves
and joined to longer texts; `unknown` is a class of its own, with ads that belong to no niche. Keywords count as whole words only ("hair" is
not "ai"), singular or plural. Nothing is drawn at random.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from learning_assets.learning import embedding
from learning_assets.learning.hooks import normalised
from learning_assets.learning.niche.names import LABELS, UNKNOWN

VERSION = f"1+{embedding.VERSION}"

Floats = npt.NDArray[np.floating]

_SCALE = 3.0
"""Weight of the embedding beside the keywords: how much of it the penalty lets through."""
_INVERSE_PENALTY = 4.0
_JOINED = 3
"""Ads of a niche that are joined to one text: creatives are often longer than a headline."""


def training_ads() -> pl.DataFrame:
    """The ads that the classifier is fitted on: `niche` (one of LABELS), `text`."""
    return _table("ads.csv")


@cache
def _keywords() -> pl.DataFrame:
    """One row per sub-niche: `niche`, `sub_niche`, `pattern` (regular expression of its words, singular or plural)."""
    table = _table("keywords.csv")
    return table.select(
        "niche", "sub_niche", pattern=pl.Series([_pattern(words.split("|")) for words in table["words"]], dtype=pl.String)
    )


def _table(name: str) -> pl.DataFrame:
    return pl.read_csv(files("learning_assets.learning.niche").joinpath(name).read_bytes())


def _pattern(words: Sequence[str]) -> str:
    """Longer words first, so that the longest is what is counted."""
    listed = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    return rf"\b(?:{listed})(?:e?s)?(?:\W|$)"


def _counts(texts: Sequence[str | None]) -> Floats:
    """How often words of each sub-niche occur, shape (n, sub-niches)."""
    text = normalised(pl.col("text")).str.replace_all("%", " percent", literal=True).str.replace_all("  ", " ", literal=True)
    counted = pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(
        text.str.count_matches(pattern).fill_null(0).cast(pl.Float64).alias(str(index))
        for index, pattern in enumerate(_keywords()["pattern"])
    )
    return counted.to_numpy()


def _features(texts: Sequence[str | None], vectors: Floats) -> Floats:
    """The embedding, log(1 + hits) by niche, and each niche's share of the hits; shape (n, 256 + 2 * 16)."""
    of_niche = np.array([[niche == label for label in LABELS] for niche in _keywords()["niche"]], dtype=float)
    hits = _counts(texts) @ of_niche
    return np.hstack([_SCALE * vectors, np.log1p(hits), hits / (1.0 + hits.sum(axis=1, keepdims=True))])


def fit(ads: pl.DataFrame) -> tuple[Floats, Floats]:
    """Coefficients (16, features) and intercepts (16,), in the order of LABELS, from ads with `niche` and `text`.

    Raises
    ------
    ValueError : a label is missing among the ads, or one is not of LABELS.
    """
    from sklearn.linear_model import LogisticRegression  # pyright: ignore[reportMissingTypeStubs]

    if set(ads["niche"]) != set(LABELS):
        raise ValueError(
            f"The ads are of {', '.join(sorted(set(ads['niche'])))}; each of {', '.join(LABELS)} is needed, and no other."
        )
    longer = pl.concat(
        ads.filter(pl.col("niche") == label)
        .select(
            "niche", text=pl.concat_str([pl.col("text").shift(-step, fill_value="") for step in range(_JOINED)], separator=" ")
        )
        .gather_every(2)
        for label in LABELS
    )
    every = pl.concat([ads.select("niche", "text"), longer])
    texts = every["text"].to_list()
    classes = [LABELS.index(niche) for niche in every["niche"]]
    model: Any = LogisticRegression(C=_INVERSE_PENALTY, max_iter=300)
    model.fit(_features(texts, embedding.embed(texts)), classes)
    return model.coef_, model.intercept_


@cache
def _fitted() -> tuple[Floats, Floats]:
    return fit(training_ads())


def probabilities(
    texts: Sequence[str | None], vectors: Floats | None = None, model: tuple[Floats, Floats] | None = None
) -> Floats:
    """How probable each label is for each text.

    Parameters
    ----------
    texts : n texts; None or blank where there is none.
    vectors : their embeddings (n, 256) where they are known already, as `embedding.embed` gives them.
    model : as `fit` gives it; by default that of `training_ads`.

    Returns
    -------
    Shape (n, 16), columns in the order of LABELS, rows that sum to 1; NaN where there is nothing to read.

    Raises
    ------
    ValueError : as many vectors as texts are needed.
    """
    vectors = embedding.embed(texts) if vectors is None else vectors
    if vectors.shape != (len(texts), embedding.DIMENSIONS):
        raise ValueError(f"vectors have shape {vectors.shape}; expected ({len(texts)}, {embedding.DIMENSIONS})")
    if not len(texts):
        return np.empty((0, len(LABELS)))
    coefficients, intercepts = _fitted() if model is None else model
    scores = _features(texts, vectors) @ coefficients.T + intercepts
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def label(texts: Sequence[str | None], min_confidence: float, vectors: Floats | None = None) -> pl.DataFrame:
    """The niche of each text: `niche` (one of LABELS) and `confidence` (0 to 1, that of the most probable label).

    `unknown` where no label reaches `min_confidence`; both are NULL where there is nothing to read.

    Raises
    ------
    ValueError : `min_confidence` outside [0, 1], or vectors of another shape.
    """
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence is {min_confidence}; it must be 0 to 1")
    found = probabilities(texts, vectors)
    readable: npt.NDArray[np.bool_] = np.isfinite(found.sum(axis=1))
    filled = np.nan_to_num(found)
    first = pl.Series(np.array(LABELS)[filled.argmax(axis=1)], dtype=pl.String)
    frame = pl.DataFrame({"niche": first, "confidence": filled.max(axis=1), "readable": readable})
    sure = pl.when(pl.col("confidence") >= min_confidence).then("niche").otherwise(pl.lit(UNKNOWN))
    return frame.select(
        niche=pl.when("readable").then(sure), confidence=pl.when("readable").then(pl.col("confidence").cast(pl.Float64))
    )


def sub_niche(texts: Sequence[str], niche: str) -> str | None:
    """The sub-niche whose words stand in most of the texts, of those that `keywords.csv` lists for a niche; None where none occurs."""
    listed = _keywords()
    mine = listed.with_row_index("at").filter(niche=niche)["at"].to_numpy()
    if not len(texts) or not mine.size:
        return None
    told: npt.NDArray[np.integer] = np.count_nonzero(_counts(texts)[:, mine], axis=0)
    return str(listed["sub_niche"][int(mine[told.argmax()])]) if told.max() > 0 else None
