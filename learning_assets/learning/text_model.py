"""What the words of an ad say about its click rate, learned from differences inside experiments or accounts.

What belongs here: the ridge on within-group differences of log click rate, its out-of-fold scores, and its file. What does not: hook rules and
word lists (`hooks`, `dna`), embeddings (`embedding`), and models of anything else than text.

Arms of one group (an experiment where there is one, else the account) share audience, time and product. Only differences of log click rate inside
a group are learned from, so whatever the arms share cancels; where every group is an experiment with random assignment, what is left is
the effect of the text. The method is a ridge regression (Hoerl & Kennard, Technometrics 1970) with group fixed effects and precision weights:

    log((clicks + s) / (expected + s)) = group + text . weights + noise,   variance = 1 / (expected + s) + u

with expected clicks at the group's rate, s = 2 clicks of smoothing and u = 0.2 for what arms differ by beyond count noise. A text is four
blocks: words and pairs of words with a mark where the text starts, character n-grams (both of the first line, present or not, scaled to unit
length), words of the other lines at half the weight, and a dense part: static embeddings of the first line and, at half the weight, of the first
half of its words, and style (the text features of `dna` of the first line). The penalty is fixed: 200 is a prior standard deviation of about 0.1
for a text's log rate, and penalties from 100 to 1,000 did equally well on headline tests before August 2014 (Upworthy Research Archive, Matias
et al., Sci Data 2021), rolling forward in time; choosing it anew on little data did worse. The scores are scaled by their out-of-fold slope, so
that they are log rates also where the prior is wrong, and 0 where words tell nothing.

How a text begins tells more than the rest of it. The start mark and the first half are the two that were kept of some 110 variants compared on
the same tests (until week 30 of 2014). With both, scores of unseen tests explain 9.7 instead of 9.1 % of the variance inside tests in folds of
tests (paired difference 0.58, standard error 0.15), 9.5 instead of 8.9 % in blocks of weeks (0.58, 0.15), and 10.4 instead of 10.0 % rolling
forward (0.40, 0.21). Other block weights, n-gram ranges, TF-IDF, lengths in bins, kernels of embedding and style, other smoothing and weights by
age gained nothing clear in all three.
"""

# scipy.sparse and scikit-learn have no complete types
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from learning_assets.learning import dna, embedding

if TYPE_CHECKING:
    from scipy.sparse import csr_array

VERSION = f"3+dna-{dna.VERSION}+{embedding.VERSION}"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROWS = pl.Schema(
    {
        "owner": pl.String,
        "account_id": pl.String,
        "group": pl.String,
        "text": pl.String,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
    }
)
"""What is learned from: arms, with text as `dna.text_of` gives it and counts. Rows of one text in one group are added up."""

RIDGE = 200.0
SMOOTHING = 2.0
UNEXPLAINED = 0.2
MIN_TEXTS = 2
STYLE_WEIGHT = 0.1
MAX_DEVIATIONS = 3.0
OTHER_LINES_WEIGHT = 0.5
FIRST_HALF_WEIGHT = 0.5

_HASHES = 2**31 - 1
_START = "\x02"
_TOKEN = rf"(?u)\b\w+(?:['’]\w+)?\b|[!?…\"$%{_START}]"
_FLAGS = ("has_question", "has_number", "second_person", "emoji", "price", "offer", "time_limit")
_EMOTIONS = tuple(dna.EMOTIONS)
_NUMBERS = (
    *(name for name in dna.FEATURES if name.startswith("hook_confidence_")),
    "hook_words",
    "copy_sentences",
    "reading_ease",
    "sentiment",
    "power_words",
    "emoji_count",
    "percent_off",
)
STYLE = (*_NUMBERS, *_FLAGS, *(f"hook_emotion={name}" for name in _EMOTIONS))


class NotEnoughText(ValueError):
    """There are no differences to learn from; the message says what is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """A fitted model; `score` is all that callers need.

    `hashes` (k,) int64, sorted: hashed n-grams that carry a weight; `weights` (k,) float32 and `dense_weights` (512 + len(STYLE),) float32 in
    log-rate units; `style_mean`, `style_sd` (len(STYLE),) float32. `correlation`: weighted out-of-fold correlation of scores and log rates
    inside groups. `texts`, `groups`, `owners`: what it was fitted on.
    """

    version: str
    hashes: Ints
    weights: npt.NDArray[np.float32]
    dense_weights: npt.NDArray[np.float32]
    style_mean: npt.NDArray[np.float32]
    style_sd: npt.NDArray[np.float32]
    correlation: float
    texts: int
    groups: int
    owners: int

    def score(self, texts: Sequence[str | None]) -> Floats:
        """Log click rate of each text relative to an average one of its group, shape (n,); NaN where there is no text.

        Only differences between scores have a meaning: exp(score[i] - score[j]) is the expected ratio of click rates.
        """
        scores = np.full(len(texts), np.nan)
        known = [index for index, text in enumerate(texts) if text and text.strip()]
        if not known:
            return scores
        described = [str(texts[index]) for index in known]
        hashes, grams = _grams(described)
        place = np.searchsorted(self.hashes, hashes).clip(max=max(len(self.hashes) - 1, 0))
        weights = np.zeros(len(hashes))
        if len(self.hashes):
            weights = np.where(self.hashes[place] == hashes, self.weights[place], 0.0).astype(np.float64)
        scores[known] = grams @ weights + _dense(described, self.style_mean, self.style_sd) @ self.dense_weights.astype(
            np.float64
        )
        return scores

    def save(self, path: Path) -> None:
        """Write the model as `.npz` without pickles; the same model gives the same bytes."""
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)) for name in self.__slots__}
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)


def load(path: Path) -> TextModel:
    """Read a model that `TextModel.save` wrote.

    Raises
    ------
    ValueError : the file was written by another version of the features; it must be trained again.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    found = str(arrays.get("version", "unknown"))
    if found != VERSION:
        raise ValueError(f"{path.name} was fitted by text model {found}, this is {VERSION}: train it again")
    plain = {name: value.item() if value.ndim == 0 else value for name, value in arrays.items()}
    return TextModel(**plain)


def fit(rows: pl.DataFrame, *, min_owners: int = 5, folds: int = 5) -> TextModel:
    """Fit the model. It has no randomness: the same rows give the same model.

    Parameters
    ----------
    rows : schema ROWS. Rows without text, impressions or clicks are left out, and so are groups with fewer than two texts.
    min_owners : where rows come from several owners, only n-grams seen in at least so many keep a weight.
    folds : parts for measuring the scale and the correlation, at least 2.

    Raises
    ------
    NotEnoughText : no group holds two different texts, there are fewer texts than folds, or several owners but fewer than `min_owners`.
    ValueError : a missing column, negative counts, or clicks above impressions.
    """
    return fit_and_score(rows, min_owners=min_owners, folds=folds)[0]


def fit_and_score(rows: pl.DataFrame, *, min_owners: int = 5, folds: int = 5) -> tuple[TextModel, Floats]:
    """What `fit` and `out_of_fold` give, with one cross-fit for both."""
    data = _prepare(rows, min_owners)
    chosen = _cross_fit(data, min_owners, folds)
    everything = np.ones(len(data.y), dtype=bool)
    sparse, dense, kept = _solve(data, everything, min_owners)
    model = TextModel(
        version=VERSION,
        hashes=data.hashes[kept],
        weights=(sparse[kept] * chosen.slope).astype(np.float32),
        dense_weights=(dense * chosen.slope).astype(np.float32),
        style_mean=data.style_mean,
        style_sd=data.style_sd,
        correlation=chosen.correlation,
        texts=len(data.texts),
        groups=int(data.group.max()) + 1,
        owners=int(data.owner.max()) + 1,
    )
    return model, _aligned(rows, data, chosen.scores)


def out_of_fold(rows: pl.DataFrame, folds: int = 5, *, min_owners: int = 5) -> Floats:
    """Score of each row by a model that saw neither its text nor, where that can be, its group.

    Groups that share a text go into one fold, so that a text is never scored by a model that saw it. Where this leaves no sound split (one
    account; one text that joins everything; too few owners left to learn from), folds are made of texts instead. The scale is measured on all
    folds together: one number, not a fitted weight.

    Parameters
    ----------
    rows : schema ROWS.
    folds : number of parts, at least 2.
    min_owners : as for `fit`.

    Returns
    -------
    Log-rate units as `TextModel.score`, shape (n,), aligned with `rows`; NaN where the row could not be learned from (no text, no impressions, or
    alone in its group).

    Raises
    ------
    As `fit`.
    """
    data = _prepare(rows, min_owners)
    return _aligned(rows, data, _cross_fit(data, min_owners, folds).scores)


def _aligned(rows: pl.DataFrame, data: "_Data", scores: Floats) -> Floats:
    """Scores of the texts, one for each of `rows`; NaN where the row could not be learned from."""
    by_text = pl.DataFrame({"text": data.texts, "score": scores})
    keys = ["account_id", "group"]
    learned = data.groups.unique().with_columns(learned=True)
    joined = rows.select(*keys, "text").join(by_text, on="text", how="left", maintain_order="left")
    joined = joined.join(learned, on=keys, how="left", maintain_order="left")
    return joined.select(pl.when("learned").then("score").fill_null(np.nan)).to_series().to_numpy()


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """Arms to learn from: one per group and text, n rows; features are kept per text, m of them."""

    texts: list[str]
    groups: pl.DataFrame
    text: Ints
    group: Ints
    owner: Ints
    y: Floats
    precision: Floats
    hashes: Ints
    grams: "csr_array"
    dense: Floats
    style_mean: npt.NDArray[np.float32]
    style_sd: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _CrossFit:
    scores: Floats
    slope: float
    correlation: float


def _prepare(rows: pl.DataFrame, min_owners: int) -> _Data:
    missing = [name for name in ROWS if name not in rows.columns]
    if missing:
        raise ValueError(f"rows have no column {', '.join(missing)}; expected {', '.join(ROWS)}")
    wrong = rows.filter((pl.col("link_clicks") < 0) | (pl.col("link_clicks") > pl.col("impressions")))
    if wrong.height:
        first = wrong.row(0, named=True)
        raise ValueError(
            f"{wrong.height} rows have negative clicks or more clicks than impressions; the first is of account {first['account_id']}: "
            f"{first['link_clicks']} clicks of {first['impressions']} impressions"
        )
    arms = (
        rows.filter(
            pl.col("text").str.strip_chars().str.len_chars() > 0, pl.col("impressions") > 0, pl.col("link_clicks").is_not_null()
        )
        .group_by("owner", "account_id", "group", "text")
        .agg(pl.col("impressions", "link_clicks").sum())
        .filter(pl.col("text").n_unique().over("account_id", "group") > 1)
        .sort("account_id", "group", "text", "owner")
    )
    if not arms.height:
        raise NotEnoughText("no group (experiment or account) holds two different texts with impressions: nothing to compare")
    owners = arms["owner"].n_unique()
    if 1 < owners < min_owners:
        raise NotEnoughText(f"rows of {owners} owners; fit one owner alone, or at least {min_owners} that consent")
    expected = (
        pl.col("impressions")
        * pl.col("link_clicks").sum().over("account_id", "group")
        / pl.col("impressions").sum().over("account_id", "group")
        + SMOOTHING
    )
    y = arms.select(((pl.col("link_clicks") + SMOOTHING) / expected).log()).to_series().to_numpy()
    precision = arms.select(1.0 / (1.0 / expected + UNEXPLAINED)).to_series().to_numpy()
    texts, text = np.unique(arms["text"].to_numpy().astype(str), return_inverse=True)
    listed = [str(value) for value in texts]
    hashes, grams = _grams(listed)
    style = _style(listed)
    known = np.isfinite(style)
    count = known.sum(axis=0).clip(min=1)
    mean = np.where(known, style, 0.0).sum(axis=0) / count
    sd = np.sqrt(np.where(known, (style - mean) ** 2, 0.0).sum(axis=0) / count)
    mean, sd = mean.astype(np.float32), sd.astype(np.float32)
    return _Data(
        texts=listed,
        groups=arms.select("account_id", "group"),
        text=text.astype(np.int64),
        group=_codes(arms.select(pl.struct("account_id", "group")).to_series()),
        owner=_codes(arms["owner"]),
        y=y,
        precision=precision,
        hashes=hashes,
        grams=grams,
        dense=_dense(listed, mean, sd, style),
        style_mean=mean,
        style_sd=sd,
    )


def _codes(names: pl.Series) -> Ints:
    return names.rank("dense").to_numpy().astype(np.int64) - 1


def _grams(texts: Sequence[str]) -> "tuple[Ints, csr_array]":
    """Hashed n-grams: their hashes (k,), sorted, and the weight of each in each text, shape (n, k)."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import HashingVectorizer

    lines = [text.strip().partition("\n") for text in texts]
    first, others = [line[0] for line in lines], [line[2] for line in lines]
    # hashes so wide that two n-grams hardly ever share one: a weight then belongs to one n-gram, whose owners can be counted
    common: dict[str, Any] = {"n_features": _HASHES, "binary": True, "norm": "l2", "alternate_sign": False}
    words = HashingVectorizer(ngram_range=(1, 2), token_pattern=_TOKEN, **common)
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), **common)
    marked = [_START + line for line in first]
    blocks = [(words, marked, 1.0), (characters, first, 1.0), (words, others, OTHER_LINES_WEIGHT)]
    hashes: list[Ints] = []
    row: list[Ints] = []
    value: list[Floats] = []
    for number, (vectorizer, part, weight) in enumerate(blocks):
        found = vectorizer.transform(part).tocsr()
        hashes.append(found.indices.astype(np.int64) + number * _HASHES)
        row.append(np.repeat(np.arange(len(texts)), np.diff(found.indptr)))
        value.append(found.data * weight)
    names, column = np.unique(np.concatenate(hashes), return_inverse=True)
    shape = (len(texts), len(names))
    return names, csr_array((np.concatenate(value), (np.concatenate(row), column)), shape=shape)


def _style(texts: Sequence[str]) -> Floats:
    """The text features of `dna` of each first line, shape (n, len(STYLE)); NaN where not known."""
    first = [text.strip().partition("\n")[0] for text in texts]
    empty = pl.lit(None, dtype=pl.String)
    creatives = pl.DataFrame({"headline": first}).with_columns(
        empty.alias(name) for name in dna.CREATIVES if name != "headline"
    )
    measured = dna.extract(creatives)
    return (
        measured.select(
            *(pl.col(name).cast(pl.Float64) for name in _NUMBERS),
            *((pl.col(name) == "yes").cast(pl.Float64).alias(name) for name in _FLAGS),
            *((pl.col("hook_emotion") == name).cast(pl.Float64).alias(f"emotion {name}") for name in _EMOTIONS),
        )
        .fill_null(np.nan)
        .to_numpy()
    )


def _dense(
    texts: Sequence[str], mean: npt.NDArray[np.float32], sd: npt.NDArray[np.float32], style: Floats | None = None
) -> Floats:
    """Embeddings of the first line and of its first half, and standardised style, shape (n, 512 + len(STYLE)); what is not known is average, 0."""
    first = [text.strip().partition("\n")[0] for text in texts]
    whole, half = embedding.embed(first).astype(np.float64), embedding.embed(_first_half(first)).astype(np.float64)
    measured = _style(texts) if style is None else style
    standard = np.divide(measured - mean, sd, out=np.zeros_like(measured), where=sd > 0)
    # What is rarely said lies many deviations from its mean; a single text would weigh as much as hundreds.
    standard = np.clip(standard, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    return np.nan_to_num(np.hstack([whole, FIRST_HALF_WEIGHT * half, STYLE_WEIGHT * standard]), nan=0.0)


def _first_half(lines: Sequence[str]) -> list[str]:
    """The first half of the words of each line, the middle one with it."""
    words = [line.split() for line in lines]
    return [" ".join(line[: (len(line) + 1) // 2]) for line in words]


def _solve(data: _Data, rows: npt.NDArray[np.bool_], min_owners: int) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Weights of n-grams (k,) and of the dense part from `rows`, and which n-grams may carry one.

    Conjugate gradients on the normal equations (Hestenes & Stiefel 1952): a product with the features a step, no matrix of the texts.
    """
    from scipy.sparse.linalg import LinearOperator, cg

    kept = _allowed(data, rows, min_owners)
    grams = data.grams[:, np.flatnonzero(kept)]
    back = grams.T.tocsr()
    text, precision = data.text[rows], data.precision[rows]
    _, group = np.unique(data.group[rows], return_inverse=True)
    total = np.bincount(group, precision)
    split, size = grams.shape[1], grams.shape[1] + data.dense.shape[1]

    def centred(values: Floats) -> Floats:
        return values - (np.bincount(group, precision * values) / total)[group]

    def to_weights(residual: Floats) -> Floats:
        by_text = np.bincount(text, precision * residual, minlength=len(data.texts))
        return np.concatenate([back @ by_text, data.dense.T @ by_text])

    def normal(weights: Floats) -> Floats:
        fitted = grams @ weights[:split] + data.dense @ weights[split:]
        return to_weights(centred(fitted[text])) + RIDGE * weights

    # the tolerance is far below what the data can tell; the iteration limit is never near it at this penalty
    weights, left = cg(
        LinearOperator((size, size), matvec=normal, dtype=np.float64), to_weights(centred(data.y[rows])), rtol=1e-4, maxiter=500
    )
    if left:
        raise ArithmeticError(f"the text model did not converge in {left} steps")
    sparse = np.zeros(len(kept))
    sparse[kept] = weights[:split]
    return sparse, weights[split:], kept


def _allowed(data: _Data, rows: npt.NDArray[np.bool_], min_owners: int) -> npt.NDArray[np.bool_]:
    """N-grams in at least MIN_TEXTS texts and, over several owners, in texts of at least `min_owners` of them; shape (k,)."""
    from scipy.sparse import csr_array

    seen = np.zeros(len(data.texts), dtype=bool)
    seen[data.text[rows]] = True
    present = csr_array((np.ones(data.grams.nnz), data.grams.indices, data.grams.indptr), shape=data.grams.shape)
    kept = seen.astype(np.float64) @ present >= MIN_TEXTS
    owners = int(data.owner.max()) + 1
    if owners > 1:
        pairs = np.unique(np.stack([data.owner[rows], data.text[rows]]), axis=1)
        wrote = csr_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(owners, len(data.texts)))
        kept &= np.bincount((wrote @ present).tocsr().indices, minlength=len(kept)) >= min_owners
    return kept


def _cross_fit(data: _Data, min_owners: int, folds: int) -> _CrossFit:
    """Out-of-fold scores of every text, scaled by their own slope."""
    if folds < 2:
        raise ValueError(f"folds is {folds}; at least 2 are needed")
    if len(data.texts) < folds:
        raise NotEnoughText(f"{len(data.texts)} different texts for {folds} folds: nothing to test a model on")
    fold = _split(data, min_owners, folds)
    scores = np.zeros(len(data.texts))
    for part in range(folds):
        sparse, dense, _ = _solve(data, fold[data.text] != part, min_owners)
        mine = np.flatnonzero(fold == part)
        scores[mine] = data.grams[mine] @ sparse + data.dense[mine] @ dense
    slope, correlation = _agreement(data, fold, scores)
    # a slope below zero says that the words tell nothing here: the score is then 0 for every text
    slope = max(slope, 0.0)
    return _CrossFit(scores * slope, slope, correlation)


def _agreement(data: _Data, fold: Ints, scores: Floats) -> tuple[float, float]:
    """Slope and correlation of log rates on scores between arms of one group and fold, weighted by precision."""
    _, cell = np.unique(np.stack([data.group, fold[data.text]]), axis=1, return_inverse=True)
    cell = cell.reshape(-1)
    total = np.bincount(cell, data.precision)

    def centred(values: Floats) -> Floats:
        return values - (np.bincount(cell, data.precision * values) / total)[cell]

    x, y = centred(scores[data.text]), centred(data.y)
    xx, xy, yy = (float(np.sum(data.precision * product)) for product in (x * x, x * y, y * y))
    if xx == 0 or yy == 0:
        return 0.0, 0.0
    return xy / xx, xy / (xx * yy) ** 0.5


def _split(data: _Data, min_owners: int, folds: int) -> Ints:
    """Fold of each text, shape (m,): by groups joined through shared texts, or by text where that gives no sound split."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    texts, groups = len(data.texts), int(data.group.max()) + 1
    links = csr_array((np.ones(len(data.text)), (data.text, data.group + texts)), shape=(texts + groups, texts + groups))
    _, component = connected_components(links, directed=False)
    by_group = _balanced(component[:texts], folds)
    share = np.bincount(by_group[data.text], minlength=folds) / len(data.text)
    several = bool(data.owner.max() > 0)
    left = [len(np.unique(data.owner[by_group[data.text] != part])) for part in range(folds)]
    if share.min() > 0 and share.max() <= 0.5 and (not several or min(left) >= min_owners):
        return by_group
    return _balanced(np.arange(texts), folds)


def _balanced(unit: npt.NDArray[np.integer], folds: int) -> Ints:
    """Fold of each text so that texts of one unit stay together: largest units first, each to the smallest fold."""
    sizes = np.bincount(unit)
    fold_of, filled = np.zeros(len(sizes), dtype=np.int64), np.zeros(folds)
    for index in np.argsort(-sizes, kind="stable"):
        fold_of[index] = np.argmin(filled)
        filled[fold_of[index]] += sizes[index]
    return fold_of[unit]
