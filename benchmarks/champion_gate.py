"""How often does the gate let a model in that is not better, and how often one that is?

    python -m benchmarks.champion_gate --seed 7 [--short] [--archive PATH]

Simulated retrains go through `champion.contest`: 1,000 ads of 20 accounts x 7 days x 1,000 impressions. The log CTR of an ad is log 1.5 % + account
(standard deviation 0.4) + what both models know of it + what only one of them knows + what neither knows, and each ad-day's swing (0.05). A model
predicts the mean rate given what it knows. The champion gains on a constant what 80 % of the variance gives, so that it makes an error of 0.26; two
models that are equally good know different things, so that their predictions differ by 0.2 (models that were trained four weeks apart on the
Upworthy archive differ by 0.11) and their errors correlate by 0.7. The level of the market moved since both were trained (0.02), and each misses it
by its own (0.02). The baseline knows the accounts.

- `worse_promoted`: share of challengers as good as the champion that are promoted (500 retrains): they know as much, and miss the level by as much,
  to the same side or the other.
- `better_promoted`: the same of challengers whose gain over a constant, in normalized entropy, is truly 5 % above the champion's (500 retrains).
- `by_size`: `better_promoted` with 100 and with 300 ads (500 retrains each).
- `archive`: with --archive, the Upworthy Research Archive (Matias et al., Sci Data 2021, doi 10.1038/s41597-021-00934-7) week by week through
  `retraining.train` and `contest`, a challenger every fourth week as its hold-out of four weeks allows: `weeks`, `challengers`, `promoted`, and
  `promoted_worse_later`, how many of the promoted lost, in log loss over the four weeks after, to what they had replaced (the champion, or the
  accounts' means where there was none); the last four weeks have no later ones and do not count. Null without --archive.
"""

import argparse
import json
import math
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.upworthy_patterns import COLUMNS
from learning_assets.learning import baselines, champion, ctr_model, dna, retraining
from learning_assets.platforms.archive import ArchiveSource
from learning_assets.settings import Archive, Models, Patterns

CTR, ACCOUNTS, DAYS, IMPRESSIONS = 0.015, 20, 7, 1_000
ACCOUNT, VARIANCE, KNOWN = 0.4**2, 0.34, 0.8
ALONE, DAY_SD, MARKET_SD, LEVEL_SD = 0.0204, 0.05, 0.02, 0.02


def holdout(rng: np.random.Generator, ads: int, better: float) -> pl.DataFrame:
    """A hold-out for `champion.contest`; the challenger gains `better` times as much more than the champion (0.05 is 5 %)."""
    gained = KNOWN * VARIANCE
    ours = ALONE + better * gained
    account = np.resize(rng.normal(0, math.sqrt(ACCOUNT), ACCOUNTS), ads)
    shared = rng.normal(0, math.sqrt(gained - ACCOUNT - ALONE), ads)
    theirs, mine = rng.normal(0, math.sqrt(ALONE), ads), rng.normal(0, math.sqrt(ours), ads)
    rest = rng.normal(0, math.sqrt(VARIANCE - gained - ours), ads)
    truth = account + shared + theirs + mine + rest
    market = rng.normal(0, MARKET_SD)
    missed, missed_too = market + rng.normal(0, LEVEL_SD, 2)
    if not better:
        missed_too = missed * rng.choice([-1, 1])
    seen = rng.poisson(IMPRESSIONS, (DAYS, ads))
    rate = CTR * np.exp(truth - VARIANCE / 2 + rng.normal(0, DAY_SD, (DAYS, ads)))

    def predicted(known: np.ndarray, variance: float, missed: float) -> np.ndarray:
        return np.tile(CTR * np.exp(known - variance / 2 - missed), DAYS)

    return pl.DataFrame(
        {
            "account_id": np.tile(np.arange(ads) % ACCOUNTS, DAYS),
            "ad_id": np.tile(np.arange(ads), DAYS),
            "link_clicks": rng.binomial(seen, rate).ravel(),
            "impressions": seen.ravel(),
            "champion": predicted(account + shared + theirs, gained, missed),
            "challenger": predicted(account + shared + mine, gained - ALONE + ours, missed_too),
            "baseline": predicted(account, ACCOUNT, 0.0),
        }
    )


def promoted(rng: np.random.Generator, retrains: int, ads: int, better: float) -> float:
    """Share of challengers that the gate lets in."""
    settings = Models()
    verdicts = [
        champion.contest(holdout(rng, ads, better), "champion", "challenger", "baseline", settings) for _ in range(retrains)
    ]
    surely = sum(one.lower_bound is not None and one.lower_bound > 0 for one in verdicts)
    share = sum(one.winner == "challenger" for one in verdicts) / retrains
    print(f"{ads} ads, {better:+.0%}: promoted {share:.3f}, of them by the bound {surely / retrains:.3f}", file=sys.stderr)
    return share


def read(archive: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The archive as models read it: facts and creatives for `retraining.train`."""
    arms = ArchiveSource(Archive(path=archive, columns=COLUMNS)).arms.with_columns(account_id=pl.lit("archive"))
    key, absent = ["account_id", "creative_id"], pl.lit(None, pl.String)
    facts = arms.select(
        *("date", "account_id", "ad_id", "creative_id", "impressions"),
        owner=pl.lit("archive"),
        experiment_id="experiment",
        link_clicks="clicks",
        audience=absent,
        template=absent,
        cta=absent,
    )
    texts = arms.unique(key, keep="first", maintain_order=True).select(
        *(*key, "headline", "body", "description"), cta=absent, template=absent, image_id="image"
    )
    described = dna.extract(texts).select(*key, "hook_types", *dna.FEATURES)
    text = texts.select(*key, text=dna.text_of(pl.col("headline"), pl.col("body"), pl.col("description")))
    return facts.sort("date", "account_id", "ad_id"), described.join(text, on=key)


def replay(facts: pl.DataFrame, creatives: pl.DataFrame, settings: Models, every: int = 4) -> dict[str, int]:
    """Live through the archive's weeks; the figures under `archive`."""
    weeks = facts["date"].unique().sort().to_list()
    incumbent: retraining.RateModel | None = None
    counts = dict.fromkeys(("weeks", "challengers", "promoted", "promoted_worse_later"), 0) | {"weeks": len(weeks)}
    for number in range(every, len(weeks) - 1, every):
        today = weeks[number]
        known = facts.filter(pl.col("date") <= today)
        seen = known.filter(pl.col("date") <= today - timedelta(settings.archive_holdout_days))
        if not ctr_model.readiness(seen, settings).ready:
            continue
        texts = creatives.join(known, on=["account_id", "creative_id"], how="semi")
        challenger = retraining.train(seen, texts, settings, Patterns().min_owners)
        verdict = retraining.contest(incumbent, challenger, known, texts, settings)
        counts["challengers"] += 1
        print(f"{today}: {verdict.reason}", file=sys.stderr)
        if verdict.winner != "challenger":
            continue
        later = facts.filter(pl.col("date") > today, pl.col("date") <= today + timedelta(settings.archive_holdout_days))
        if number + every < len(weeks):
            counts["promoted"] += 1
            gained = gain(incumbent, challenger, later, facts, creatives, settings)
            counts["promoted_worse_later"] += gained < 0
            print(f"{today}: promoted, and gains {gained:+.2e} nats an impression over the next weeks", file=sys.stderr)
        incumbent = challenger
    return counts


def gain(
    incumbent: retraining.RateModel | None,
    challenger: retraining.RateModel,
    later: pl.DataFrame,
    facts: pl.DataFrame,
    creatives: pl.DataFrame,
    settings: Models,
) -> float:
    """Log loss of what was replaced less that of the challenger over later ad-days, nats an impression."""
    later = later.filter(pl.col("impressions") > 0)
    creatives = creatives.join(later, on=["account_id", "creative_id"], how="semi")
    ours = challenger.predict(later, facts, creatives, settings)
    if incumbent is None:
        theirs = baselines.history(facts, later, settings.history_decay)["account_rate"].to_numpy()
    else:
        theirs = incumbent.predict(later, facts, creatives, settings)
    clicks, seen = (later[name].to_numpy() for name in ("link_clicks", "impressions"))
    return float((clicks * np.log(ours / theirs) + (seen - clicks) * np.log((1 - ours) / (1 - theirs))).sum() / seen.sum())


def run(seed: int, retrains: int = 500, archive: Path | None = None) -> dict[str, Any]:
    """All figures from `retrains` retrains of each kind."""
    rng = np.random.default_rng(seed)
    return {
        "worse_promoted": promoted(rng, retrains, 1_000, 0.0),
        "better_promoted": promoted(rng, retrains, 1_000, 0.05),
        "by_size": {str(ads): {"better_promoted": promoted(rng, retrains, ads, 0.05), "ads": ads} for ads in (100, 300)},
        "archive": None if archive is None else replay(*read(archive), Models()),
    }


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated retrains")
    parser.add_argument("--short", action="store_true", help="20 retrains of each kind instead of 500, and no archive")
    parser.add_argument("--archive", type=Path, help="Parquet file of the Upworthy Research Archive")
    asked = parser.parse_args()
    print(json.dumps(run(asked.seed, 20) if asked.short else run(asked.seed, archive=asked.archive)))


if __name__ == "__main__":
    main()
