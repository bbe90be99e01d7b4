"""How often the text model names the better of two headlines that it has not seen.

    python -m benchmarks.headline_pairs --archive PATH --train-until YYYYWW [--seed N] [--short]

Pairs are arms of one test with the same image and different headlines, whose click rates differ by |z| > 1.96. Models learn from tests
up to the week `--train-until` and are scored on later ones. Weeks 201325 to 201402 are left out of both: the archive's authors report that a
cache fault broke the randomization. PATH is a Parquet file with the columns of the Upworthy Research Archive (Matias et al., Sci Data 2021,
doi 10.1038/s41597-021-00934-7); `--short` makes a small simulated table instead. The last line is one JSON object:

    pairs                   pairs scored
    pairwise_accuracy       share of pairs in which the product's text model ranks the headlines as the readers did
    hook_features_accuracy  the same for a linear model of the product's hook and copy features alone
    tfidf_accuracy          the same for a linear model of TF-IDF words
    accuracy_z3             `pairwise_accuracy` on pairs with |z| > 3

All three learn from differences inside a test. A tie counts as half right. Chance is 0.5.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from learning_assets.learning import dna, text_model

BROKEN_WEEKS = (201325, 201402)
COLUMNS = ("clickability_test_id", "test_week", "headline", "lede", "excerpt", "eyecatcher_id", "impressions", "clicks")
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)
SHORT_UNTIL = 201420

Floats = npt.NDArray[np.float64]


def arms(archive: Path) -> pl.DataFrame:
    """The archive's arms outside the broken weeks, with columns COLUMNS only (labels such as `winner` are never read)."""
    return _sound(pl.read_parquet(archive, columns=list(COLUMNS)))


def simulated(seed: int, tests: int = 400) -> pl.DataFrame:
    """Arms of simulated tests, in the archive's columns: some words lift clicks, all others do nothing."""
    rng = np.random.default_rng(seed)
    lifts = {"secret": 0.35, "tears": 0.3, "you": 0.25, "surprising": 0.2, "policy": -0.35, "report": -0.3, "committee": -0.25}
    plain = [
        "city",
        "school",
        "story",
        "people",
        "house",
        "work",
        "family",
        "day",
        "water",
        "music",
        "road",
        "garden",
        "letter",
    ]
    rows: list[dict[str, object]] = []
    for test in range(tests):
        image, rate = f"image {test}", 0.015 * np.exp(rng.normal(0, 0.3))
        for _ in range(4):
            words = [*rng.choice(plain, 6, replace=False), *rng.choice(list(lifts), 2, replace=False)]
            rng.shuffle(words)
            lift = sum(lifts.get(word, 0.0) for word in words) + rng.normal(0, 0.1)
            impressions = int(rng.integers(3_000, 6_000))
            rows.append(
                {
                    "clickability_test_id": f"test {test}",
                    "test_week": 201405 + test * 30 // tests,
                    "headline": " ".join(words).capitalize(),
                    "lede": "<p>The same for all arms.</p>",
                    "excerpt": None,
                    "eyecatcher_id": image,
                    "impressions": impressions,
                    "clicks": int(rng.binomial(impressions, min(rate * np.exp(lift), 0.5))),
                }
            )
    return _sound(pl.DataFrame(rows, schema_overrides={"excerpt": pl.String}))


def _sound(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(~pl.col("test_week").is_between(*BROKEN_WEEKS)).with_row_index("arm")


def pairs(table: pl.DataFrame) -> pl.DataFrame:
    """Pairs of arms of one test with one image and two headlines: `arm`, `arm_b` (rows of `table`) and `z` of the pooled two-proportion test."""
    both = table.join(table, on=["clickability_test_id", "eyecatcher_id"], suffix="_b").filter(
        pl.col("arm") < pl.col("arm_b"), pl.col("headline") != pl.col("headline_b")
    )
    rate = (pl.col("clicks") + pl.col("clicks_b")) / (pl.col("impressions") + pl.col("impressions_b"))
    error = (rate * (1 - rate) * (1 / pl.col("impressions") + 1 / pl.col("impressions_b"))).sqrt()
    z = (pl.col("clicks") / pl.col("impressions") - pl.col("clicks_b") / pl.col("impressions_b")) / error
    return both.select("arm", "arm_b", "test_week", z=z).filter(pl.col("z").abs() > 1.96)


def measure(table: pl.DataFrame, train_until: int) -> dict[str, float | int]:
    """Train on weeks up to `train_until`, score later pairs; the figures of the module's docstring.

    Raises
    ------
    ValueError : no arms before, or no pairs after, `train_until`.
    """
    before = table["test_week"] <= train_until
    later = pairs(table).filter(pl.col("test_week") > train_until)
    if not before.any() or not later.height:
        raise ValueError(
            f"week {train_until} leaves {int(before.sum())} arms to train on and {later.height} pairs to score; choose another"
        )
    trained = before.to_numpy()
    texts = table.select(dna.text_of(pl.col("headline"), pl.col("lede"), pl.col("excerpt"))).to_series()
    model = text_model.fit(
        table.select(
            owner=pl.lit("archive"),
            account_id=pl.lit("archive"),
            group="clickability_test_id",
            text=texts,
            impressions="impressions",
            link_clicks="clicks",
        ).filter(before)
    )
    accuracy, strong = _accuracy(model.score(texts.to_list()), later)
    return {
        "pairs": later.height,
        "pairwise_accuracy": accuracy,
        "hook_features_accuracy": _accuracy(_linear(_hook_features(table), table, trained), later)[0],
        "tfidf_accuracy": _accuracy(_linear(_tfidf(table, trained), table, trained), later)[0],
        "accuracy_z3": strong,
    }


def _accuracy(scores: Floats, later: pl.DataFrame) -> tuple[float, float]:
    """Share of pairs ranked right: all of them, and those with |z| > 3."""
    difference = scores[later["arm"].to_numpy()] - scores[later["arm_b"].to_numpy()]
    z = later["z"].to_numpy()
    right = np.where(difference == 0, 0.5, np.sign(difference) == np.sign(z))
    return round(float(right.mean()), 4), round(float(right[np.abs(z) > 3].mean()), 4)


def _hook_features(table: pl.DataFrame) -> Floats:
    """The product's hook and copy features of the headline, categories as indicators, standardised."""
    empty = [pl.lit(None, dtype=pl.String).alias(name) for name in ("body", "description", "cta", "template")]
    found = dna.extract(
        table.select(
            pl.lit("archive").alias("account_id"), pl.col("arm").cast(pl.String).alias("creative_id"), "headline", *empty
        )
    )
    features = found.select(dna.FEATURES).to_dummies([name for name in dna.FEATURES if found.schema[name] == pl.String])
    values = features.cast(pl.Float64).fill_null(0.0).to_numpy()
    spread = values.std(axis=0)
    return (values[:, spread > 0] - values[:, spread > 0].mean(axis=0)) / spread[spread > 0]


def _tfidf(table: pl.DataFrame, trained: npt.NDArray[np.bool_]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    headlines = table["headline"].to_list()
    words = TfidfVectorizer(min_df=2, sublinear_tf=True)
    words.fit([headline for headline, use in zip(headlines, trained, strict=True) if use])
    return words.transform(headlines)


def _linear(features: Any, table: pl.DataFrame, trained: npt.NDArray[np.bool_]) -> Floats:
    """Scores of a ridge on differences inside tests, its penalty chosen by test-grouped folds within the training weeks."""
    from scipy.sparse import csr_array, diags_array
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold

    test = table["clickability_test_id"].rank("dense").to_numpy().astype(int)[trained]
    _, test = np.unique(test, return_inverse=True)
    shown, clicks = (table[name].to_numpy().astype(float)[trained] for name in ("impressions", "clicks"))
    expected = shown * (np.bincount(test, clicks) / np.bincount(test, shown))[test]
    target = np.log((clicks + 2) / (expected + 2))
    weight = 1 / (1 / (expected + 2) + 0.2)
    total = np.bincount(test, weight)
    member = csr_array((weight / total[test], (test, np.arange(len(test)))))
    inside = features[trained] - (member @ features[trained])[test]
    root = np.sqrt(weight)
    scaled = diags_array(root) @ inside if not isinstance(inside, np.ndarray) else root[:, None] * inside
    search = GridSearchCV(Ridge(fit_intercept=False), {"alpha": PENALTIES}, cv=GroupKFold(5), scoring="r2")
    search.fit(scaled, root * (target - (member @ target)[test]), groups=test)
    return np.asarray(features @ search.best_estimator_.coef_)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark and print its figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--archive", type=Path, help="Parquet file with the columns of the Upworthy Research Archive")
    parser.add_argument("--train-until", type=int, help="last ISO week of the training tests, YYYYWW")
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated table of --short; all else is deterministic")
    parser.add_argument("--short", action="store_true", help="a small simulated table instead of --archive")
    given = parser.parse_args(arguments)
    if given.short:
        table, until = simulated(given.seed), given.train_until or SHORT_UNTIL
    elif given.archive is None or given.train_until is None:
        parser.error("--archive and --train-until are needed (or --short)")
    else:
        table, until = arms(given.archive), given.train_until
    print(json.dumps(measure(table, until)))


if __name__ == "__main__":
    main()
