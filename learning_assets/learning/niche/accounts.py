"""The niche of an account from the texts of its creatives.

What belongs here: pooling over creatives, and when an account counts as mixed. What does not: who is believed where several speak (`store`).
"""

import numpy as np
import polars as pl

from learning_assets.learning import embedding
from learning_assets.learning.niche.classifier import probabilities, sub_niche
from learning_assets.learning.niche.names import LABELS, NICHES, UNKNOWN
from learning_assets.settings import Niches

ACCOUNTS = pl.Schema(
    {
        "account_id": pl.String,
        "niche": pl.String,
        "confidence": pl.Float64,
        "second_niche": pl.String,
        "second_confidence": pl.Float64,
        "sub_niche": pl.String,
        "texts": pl.Int64,
    }
)
"""The niche of accounts: `niche` is one of LABELS, `confidence` 0 to 1, `second_niche` NULL but where the account is mixed, `texts` the
distinct texts that were read."""


def of_accounts(creatives: pl.DataFrame, settings: Niches) -> pl.DataFrame:
    """The niche of each account, pooled over the distinct texts of its creatives.

    Texts that are sure of a label (at `min_confidence`) speak, each as loud as any other; the pooled probability of a label is the mean of
    theirs (a linear opinion pool, Stone 1961). It is a cautious confidence: agreement of many texts does not raise it. The account is
    `unknown` where fewer than `min_share` of its texts speak, or where no niche is most probable at `min_confidence`. It is **mixed** where a second
    niche has `second_share` or more of the pooled probability and at least two texts of its own.

    Parameters
    ----------
    creatives : `account_id`, `text` (NULL where there is none) and `embedding` (bytes, as `embedding.to_bytes` gives them).

    Returns
    -------
    Frame with schema ACCOUNTS, one row per account with at least one text, sorted by account.
    """
    read = (
        creatives.filter(pl.col("embedding").is_not_null())
        .unique(["account_id", "text"], keep="any")
        .sort("account_id", "text")
    )
    every = probabilities(read["text"].to_list(), embedding.from_bytes(read["embedding"]))
    accounts = read["account_id"].to_numpy()
    texts = read["text"].to_list()
    rows = [
        (account, *_pooled(every[mine], [texts[index] for index in mine], settings))
        for account in np.unique(accounts)
        for mine in [np.flatnonzero(accounts == account)]
    ]
    return pl.DataFrame(rows, schema=ACCOUNTS, orient="row")


def _pooled(
    found: np.ndarray, texts: list[str], settings: Niches
) -> tuple[str, float | None, str | None, float | None, str | None, int]:
    """What `of_accounts` says of one account but its name."""
    sure = found.max(axis=1) >= settings.min_confidence
    if sure.mean() < settings.min_share:
        return UNKNOWN, None, None, None, None, len(texts)
    pooled = found[sure].mean(axis=0)
    first = LABELS[int(pooled.argmax())]
    if first == UNKNOWN or pooled.max() < settings.min_confidence:
        return UNKNOWN, float(pooled.max()), None, None, None, len(texts)
    votes = found.argmax(axis=1)
    others = [index for index, label in enumerate(NICHES) if label != first]
    second = max(others, key=lambda index: float(pooled[index]))
    mixed = pooled[second] >= settings.second_share and int((votes[sure] == second).sum()) >= 2
    about = [text for text, vote, speaks in zip(texts, votes, sure, strict=True) if speaks and LABELS[vote] == first]
    return (
        first,
        float(pooled.max()),
        NICHES[second] if mixed else None,
        float(pooled[second]) if mixed else None,
        sub_niche(about, first),
        len(texts),
    )
