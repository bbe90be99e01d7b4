"""Does the local classifier say what an ad is about, and does it know when it does not know?

    python -m benchmarks.niche_detection [--texts PATH] [--sample PATH] [--seed N] [--short]

PATH is a Parquet of ads of real advertisers with `Category`, `Advertiser` and `Ad_copy`; categories are mapped to niches by CATEGORIES and all
other ads are left out. Nothing was developed on it. The sample (`benchmarks/data/niche_ads.csv`, see the README beside it) is our own: written
by hand apart from the ads that the classifier is fitted on, with ads of no niche (`unknown`). Claude is not asked. The last line is one JSON object:

    texts               ads of the file that are mapped; its figures are null without a file
    accuracy_all        share of them whose most probable label, whatever its confidence, is theirs
    macro_f1            mean F1 of their niches as answered, unanswered ads being misses
    answered            share with an answer: another than `unknown`
    unknown_share       share without
    accuracy_answered   share of the answered that are right
    answered_low, answered_high, accuracy_answered_low, accuracy_answered_high      95 % bootstrap intervals over advertisers
    wrong_when_sure     share of the answers with a confidence of 0.8 or more that are wrong; `sure` is their share of the ads
    mean_confidence     of the answered; beside `accuracy_answered` it says whether confidences mean what they say
    niches              per niche: texts, answered, right, precision, recall
    accounts, accounts_answered, accounts_accuracy_answered     the same of advertisers with two ads or more, pooled as accounts are
    own_...             the same of our own sample; answered, accuracy and macro F1 over its ads with a niche
    own_unknown_said    share of its ads of no niche that are said to be of none
    seconds_to_fit, texts_per_second        one process; texts include their embedding
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from learning_assets.learning import embedding
from learning_assets.learning.niche import LABELS, NICHES, UNKNOWN, label, of_accounts, training_ads
from learning_assets.learning.niche.classifier import fit
from learning_assets.settings import Niches

SAMPLE = Path(__file__).parent / "data" / "niche_ads.csv"
CATEGORIES = {
    "automotive": "automotive",
    "food & beverage": "food",
    "restaurants": "food",
    "travel": "travel",
    "financial": "finance",
    "insurance": "finance",
    "beauty": "beauty",
    "media & entertainment": "entertainment",
    "health care": "health",
    "education": "education",
    "electronics": "tech",
    "technology": "tech",
    "residential": "real_estate",
}
"""Categories in lower case, and the niches that they are."""
SURE = 0.8


def mapped(path: Path) -> pl.DataFrame:
    """Ads of a file: `niche`, `account_id` (the advertiser) and `text`. Raises ValueError for a file without the columns."""
    wanted = ("Category", "Advertiser", "Ad_copy")
    found = pl.read_parquet(path)
    missing = [name for name in wanted if name not in found.columns]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(missing)}; it has {', '.join(found.columns)}.")
    category = pl.col("Category").str.strip_chars().str.to_lowercase()
    return found.select(
        niche=category.replace_strict(CATEGORIES, default=None, return_dtype=pl.String), account_id="Advertiser", text="Ad_copy"
    ).drop_nulls(["niche", "text"])


def sample(path: Path) -> pl.DataFrame:
    """Our own ads: `niche`, `account_id` (each its own) and `text`. Raises ValueError for a label that is none."""
    found = pl.read_csv(path)
    wrong = sorted(set(found["niche"]) - set(LABELS))
    if wrong:
        raise ValueError(f"{path} has the labels {', '.join(wrong)}; there are {', '.join(LABELS)}.")
    return found.select("niche", account_id=pl.int_range(pl.len()).cast(pl.String), text="text")


def judged(ads: pl.DataFrame, settings: Niches) -> pl.DataFrame:
    """The ads with `said`, `first` (most probable whatever its confidence), `confidence`, `answered` and `right`."""
    texts = ads["text"].to_list()
    vectors = embedding.embed(texts)
    said = label(texts, settings.min_confidence, vectors)
    first = label(texts, 0.0, vectors)["niche"]
    return ads.with_columns(said=said["niche"].fill_null(UNKNOWN), first=first, confidence=said["confidence"]).with_columns(
        answered=pl.col("said") != UNKNOWN, right=pl.col("said") == pl.col("niche")
    )


def figures(ads: pl.DataFrame, draws: int, seed: int) -> dict[str, Any]:
    """Figures of ads with a niche that were `judged`."""
    answered = ads.filter("answered")
    sure = answered.filter(pl.col("confidence") >= SURE)
    of_niche = {niche: _of_niche(ads, niche) for niche in NICHES if (ads["niche"] == niche).any()}
    f1 = [2 * one["right"] / (one["texts"] + one["said"]) for one in of_niche.values()]
    return {
        "texts": ads.height,
        "accuracy_all": float((ads["first"] == ads["niche"]).sum()) / ads.height,
        "macro_f1": float(np.mean(f1)),
        "answered": answered.height / ads.height,
        "unknown_share": 1 - answered.height / ads.height,
        "accuracy_answered": _share(answered["right"]),
        **_intervals(ads, draws, seed),
        "wrong_when_sure": None if sure.is_empty() else float((~sure["right"]).sum()) / sure.height,
        "sure": sure.height / ads.height,
        "mean_confidence": float(np.mean(answered["confidence"].to_numpy())) if answered.height else None,
        "niches": of_niche,
    }


def _share(true: pl.Series) -> float | None:
    return float(true.sum()) / len(true) if len(true) else None


def _of_niche(ads: pl.DataFrame, niche: str) -> dict[str, Any]:
    mine, said = ads.filter(pl.col("niche") == niche), ads.filter(pl.col("said") == niche)
    right = float(mine["right"].sum())
    return {
        "texts": mine.height,
        "answered": float(mine["answered"].sum()) / mine.height,
        "said": said.height,
        "right": right,
        "precision": right / said.height if said.height else None,
        "recall": right / mine.height,
    }


def _intervals(ads: pl.DataFrame, draws: int, seed: int) -> dict[str, float]:
    """95 % intervals of two shares; advertisers are drawn with replacement."""
    sums = ads.group_by("account_id", maintain_order=True).agg(
        n=pl.len(), answered=pl.col("answered").sum(), right=(pl.col("right") & pl.col("answered")).sum()
    )
    counts = sums.select("n", "answered", "right").to_numpy().astype(float)
    drawn = counts[np.random.default_rng(seed).integers(len(counts), size=(draws, len(counts)))].sum(axis=1)
    found: dict[str, float] = {}
    for name, shares in (
        ("answered", drawn[:, 1] / drawn[:, 0]),
        ("accuracy_answered", drawn[:, 2] / np.maximum(drawn[:, 1], 1)),
    ):
        found[f"{name}_low"], found[f"{name}_high"] = (float(one) for one in np.quantile(shares, (0.025, 0.975)))
    return found


def pooled(ads: pl.DataFrame, settings: Niches) -> dict[str, float | None]:
    """The same of advertisers with two ads or more; one with ads of several niches counts with the one that most are of."""
    creatives = ads.with_columns(
        embedding=pl.Series(embedding.to_bytes(embedding.embed(ads["text"].to_list())), dtype=pl.Binary)
    )
    several = ads.group_by("account_id").agg(n=pl.len(), true=pl.col("niche").mode().sort().first()).filter(pl.col("n") >= 2)
    found = several.join(of_accounts(creatives, settings), on="account_id")
    answered = found.filter(pl.col("niche") != UNKNOWN)
    return {
        "accounts": found.height,
        "accounts_answered": _share(pl.Series(found["niche"] != UNKNOWN)),
        "accounts_accuracy_answered": _share(pl.Series(answered["niche"] == answered["true"])),
    }


def run(
    texts: Path | None, own: Path = SAMPLE, *, draws: int = 2_000, seed: int = 1, most: int | None = None
) -> dict[str, Any]:
    """All figures; `most` reads the first ads of the file only."""
    settings = Niches()
    label(["a text by which everything is loaded"], settings.min_confidence)
    began = time.perf_counter()
    fit(training_ads())
    fitted = time.perf_counter() - began
    ours = judged(sample(own), settings)
    found: dict[str, Any] = {"texts": None}
    began = time.perf_counter()
    speaking = pl.concat([ours] * 10)["text"].to_list()
    label(speaking, settings.min_confidence)
    speed = len(speaking) / (time.perf_counter() - began)
    if texts is not None:
        ads = mapped(texts).head(most) if most else mapped(texts)
        found = figures(judged(ads, settings), draws, seed) | pooled(ads, settings)
    known = figures(ours.filter(pl.col("niche") != UNKNOWN), draws, seed)
    none = ours.filter(pl.col("niche") == UNKNOWN)
    return {
        **found,
        **{f"own_{name}": value for name, value in known.items()},
        "own_unknown_texts": none.height,
        "own_unknown_said": _share(none["said"] == UNKNOWN),
        "seconds_to_fit": fitted,
        "texts_per_second": speed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Does the local classifier say what an ad is about?")
    parser.add_argument("--texts", type=Path, help="Parquet with Category, Advertiser and Ad_copy")
    parser.add_argument("--sample", type=Path, default=SAMPLE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="fewer bootstrap draws; for tests")
    arguments = parser.parse_args()
    draws = 100 if arguments.short else 2_000
    print(json.dumps(run(arguments.texts, arguments.sample, draws=draws, seed=arguments.seed)))


if __name__ == "__main__":
    main()
