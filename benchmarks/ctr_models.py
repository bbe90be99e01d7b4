"""Do three models together say CTR better than each of them, and how near do they come to what can be known?

    python -m benchmarks.ctr_models --seed 7 [--short]

Three simulated markets of 20 accounts x 30 live ads, with 1,000 impressions an ad and day (`reference`), 20,000 (`large`) and 300 (`small`),
are lived through day by day, as the product lives: every week a challenger is trained on the days before the hold-out (`retraining.train`) and
contests the champion (`retraining.contest`); every day the score is learned from the window, and champion, own history and score predict the
next day's ads from facts before it; the ensemble learns its parameters from the predictions that were stored so far, and votes. The last 30
of 120 days are scored; each is predicted before it is known.

A gain is 1 − log loss / entropy of the mean rate, in per cent, over all ad-days of the last 30 days (He et al., ADKDD 2014). Where a model says
nothing of an ad-day, the account's mean is taken.

- `members`: gains of the ad's own history, the champion, the DNA score, and the plain fixed vote of the three.
- `rivals`: gains of LightGBM and of logistic regression, trained anew every week on the rows and features that the challenger was trained on,
  whether or not the challenger won, and of the ad's plain mean over the window (its account's where it has none, or no click).
- `ensemble`: its gain. `oracle`: that of the true rate, but for what the day itself adds to it, which nobody can know before.
- `beats_all`: whether the ensemble is above every member and every rival in the large market and in the small one.
- `share_of_oracle`: gain of the ensemble over that of the oracle.
- `calibration_ratio`: clicks over the clicks that the ensemble expected.
- `coverage_80`: share of the randomized PIT between 0.1 and 0.9: what 80 % intervals of an ad-day's clicks hold.
- `ad_days`: scored, over all markets.
"""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.formula_truth import ATTRIBUTES, OWNERS, described
from learning_assets.learning import baselines, ctr_model, dna, ensemble, retraining, score
from learning_assets.learning.accuracy import SMALLEST_RATE
from learning_assets.learning.retraining import RateModel
from learning_assets.learning.targets import CTR
from learning_assets.sandbox.market import VARIANTS, Market, MarketParams
from learning_assets.settings import Formula, Models, Patterns

Floats = NDArray[np.float64]

EPOCH = date(2026, 1, 5)
REGIMES = ("reference", "large", "small")
JUDGED = ("large", "small")
RIVALS = ("lightgbm", "logistic", "ad_mean")
WEEK = 7
RULES, FORMULA, MIN_OWNERS = Models(), Formula(), Patterns().min_owners
COUNTS = ["impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros"]


@dataclass(frozen=True)
class Span:
    """Days of a market: all, before the first prediction, and the last ones, which are scored."""

    days: int = 120
    before: int = 56
    scored: int = 30


@dataclass(frozen=True, eq=False)
class World:
    """What the product knows of a market: facts of every day, creatives, attributes of the ads; and the truth, which it does not know."""

    facts: pl.DataFrame
    creatives: pl.DataFrame
    attributes: pl.DataFrame
    truth: pl.DataFrame


class Rival(Protocol):
    """A model that learned from the challenger's training rows."""

    def predict(self, x: NDArray[np.float32]) -> Floats: ...


def world(params: MarketParams, days: int) -> World:
    """All of a market's days."""
    market = Market(params, EPOCH)
    first, last = EPOCH, EPOCH + timedelta(days=days - 1)
    ads = market.launches(first, last).with_columns(image_id=pl.lit(None, pl.String))
    unique = ads.unique(["account_id", "creative_id"], keep="first", maintain_order=True)
    texts = unique.select(
        "account_id", "creative_id", text=pl.concat_str("headline", "body", "description", separator="\n", ignore_nulls=True)
    )
    found = market.delivered(first, last)
    truth = pl.DataFrame(
        {
            "day": found.day,
            "ad_id": pl.Series(market.ad_ids(found)).gather(found.ad),
            "oracle": found.days.forecast[found.row],
        }
    ).select("ad_id", "oracle", date=pl.lit(EPOCH) + pl.duration(days="day"))
    facts = (
        market.actuals(first, last, last)
        .select("date", "account_id", "ad_id", *COUNTS)
        .join(ads.select("account_id", "ad_id", "creative_id", "audience", "template", "cta"), on=["account_id", "ad_id"])
        .join(market.accounts().select("account_id", "owner"), on="account_id")
        .with_columns(experiment_id=pl.lit(None, pl.String))
        .sort("date", "account_id", "ad_id")
    )
    creatives = dna.extract(unique).join(texts, on=["account_id", "creative_id"])
    return World(facts, creatives, described(market, first, last), truth)


def dna_rates(known: World, window: pl.DataFrame, rates: pl.DataFrame) -> pl.Series:
    """What the DNA score of the window expects of ads whose account's rate is known."""
    sums = (
        window.with_columns(week=pl.col("date") + pl.duration(days=WEEK - pl.col("date").dt.weekday()))
        .group_by("owner", "account_id", "ad_id", "week", "experiment_id")
        .agg(pl.col(COUNTS).sum())
        .join(known.attributes, on=["account_id", "ad_id"])
    )
    model, _ = score.learn(score.history(sums, ATTRIBUTES, FORMULA), FORMULA, min_owners=OWNERS)
    ads = rates.select("account_id", "ad_id", "account_rate").join(
        known.attributes, on=["account_id", "ad_id"], how="left", maintain_order="left"
    )
    return score.rates(ads, model)


def live(known: World, span: Span) -> pl.DataFrame:
    """Live through the days: one row per ad-day from the first prediction on, with every model's prediction of it but the ensemble's."""
    champion: RateModel | None = None
    challenger: RateModel | None = None
    rivals: dict[str, Rival] = {}
    told: list[pl.DataFrame] = []
    for number in range(span.before, span.days):
        day = EPOCH + timedelta(days=number)
        newest = day - timedelta(days=1)
        window = known.facts.filter(pl.col("date").is_between(newest - timedelta(days=RULES.window_days - 1), newest))
        if (number - span.before) % WEEK == 0:
            seen = window.filter(pl.col("date") <= newest - timedelta(days=RULES.holdout_days))
            challenger = retraining.train(seen, known.creatives, RULES, MIN_OWNERS)
            verdict = retraining.contest(champion, challenger, window, known.creatives, RULES)
            champion = challenger if verdict.winner == "challenger" else champion
            rivals = train_rivals(challenger, seen, known.creatives)
            print(f"day {number}: {verdict.winner} wins", file=sys.stderr)
        assert challenger is not None
        ads = known.facts.filter(pl.col("date") == day)
        rates = baselines.history(window, ads, RULES.history_decay)
        found: dict[str, pl.Series | Floats | None] = {
            "own_history": rates["own_rate"],
            "xgboost": None if champion is None else champion.predict(ads, window, known.creatives, RULES),
            "dna_score": dna_rates(known, window, rates),
            "ad_mean": ad_mean(window, rates),
            "account_mean": rates["account_rate"],
        }
        x = ctr_model.matrix(challenger.features(ads, window, known.creatives, RULES), challenger.trees.card.features)
        found |= {name: rival.predict(x) for name, rival in rivals.items()}
        told.append(
            ads.select("date", "account_id", "ad_id", "impressions", "link_clicks").with_columns(
                pl.Series(name, [None] * ads.height if values is None else values, dtype=pl.Float64)
                for name, values in found.items()
            )
        )
    return pl.concat(told).join(known.truth, on=["date", "ad_id"], how="left", maintain_order="left")


def vote(known: World, told: pl.DataFrame, span: Span, seed: int) -> pl.DataFrame:
    """The last days with the ensemble's vote, each from what was stored before it, and with the randomized PIT of what came."""
    rng = np.random.default_rng(seed)
    keys = ["date", "account_id", "ad_id"]
    stored = known.facts.select(*keys, "impressions", "link_clicks").join(
        told.select(*keys, "xgboost", "dna_score"), on=keys, how="left", maintain_order="left"
    )
    votes: list[pl.DataFrame] = []
    for number in range(span.days - span.scored, span.days):
        day = EPOCH + timedelta(days=number)
        past = stored.filter(pl.col("date").is_between(day - timedelta(days=RULES.window_days), day - timedelta(days=1)))
        parameters = ensemble.learn(past, CTR, RULES)
        voted = ensemble.vote(told.filter(pl.col("date") == day), past, parameters, CTR, RULES)
        draws = rng.random(voted.height)
        votes.append(voted.with_columns(pit=pl.Series(ensemble.pit(voted, CTR, parameters, draws))))
        if number % WEEK == 0:
            print(f"day {number}: {replace(parameters, units={})}; {ensemble.mean_weights(voted)}", file=sys.stderr)
    return pl.concat(votes)


def ad_mean(window: pl.DataFrame, rates: pl.DataFrame) -> pl.Series:
    """The plain mean of each ad over the window, its account's where it has none or no click."""
    means = window.group_by("account_id", "ad_id").agg(mean=pl.col("link_clicks").sum() / pl.col("impressions").sum())
    joined = rates.join(means, on=["account_id", "ad_id"], how="left", maintain_order="left")
    return joined.select(pl.when(pl.col("mean") > 0).then("mean").otherwise("account_rate")).to_series()


@dataclass(frozen=True, eq=False)
class Trees:
    """LightGBM, with the sizes of our own trees."""

    booster: Any

    def predict(self, x: NDArray[np.float32]) -> Floats:
        return np.asarray(self.booster.predict(x, num_threads=1), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Linear:
    """Logistic regression on standardised numbers (missing ones at their mean) and one column per level of a category."""

    model: Any
    categories: list[tuple[int, int]]
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]

    @staticmethod
    def encode(x: NDArray[np.float32], categories: list[tuple[int, int]]) -> NDArray[np.float32]:
        """`x` with the columns of codes, given with their numbers of levels, replaced by one column per level."""
        levels = [x[:, place, None] == np.arange(count) for place, count in categories]
        return np.concatenate([np.delete(x, [place for place, _ in categories], axis=1), *levels], axis=1, dtype=np.float32)

    def predict(self, x: NDArray[np.float32]) -> Floats:
        z = np.nan_to_num((self.encode(x, self.categories) - self.centre) / self.scale)
        return np.asarray(self.model.predict_proba(z)[:, 1], dtype=np.float64)


def train_rivals(challenger: RateModel, seen: pl.DataFrame, creatives: pl.DataFrame) -> dict[str, Rival]:
    """LightGBM and logistic regression on the rows and features of the challenger."""
    import lightgbm
    from sklearn.linear_model import LogisticRegression

    rows = seen.filter(pl.col("impressions") > 0)
    described_by = challenger.trees.card.features
    x = ctr_model.matrix(challenger.features(rows, seen, creatives, RULES), described_by)
    clicks, shown = (rows[name].to_numpy().astype(np.float64) for name in ("link_clicks", "impressions"))
    columns = [(feature, name) for feature in described_by for name in feature.columns]
    categories = [(n, len(feature.levels)) for n, (feature, _) in enumerate(columns) if feature.kind == "category"]
    booster = lightgbm.train(
        {
            "objective": "cross_entropy",
            "learning_rate": RULES.learning_rate,
            "num_leaves": 2**RULES.max_depth,
            "min_sum_hessian_in_leaf": RULES.min_child_clicks,
            "lambda_l2": RULES.l2,
            "seed": RULES.seed,
            "deterministic": True,
            "num_threads": 1,
            "verbosity": -1,
        },
        lightgbm.Dataset(
            x, clicks / shown, weight=shown, categorical_feature=[n for n, _ in categories], params={"verbosity": -1}
        ),
        num_boost_round=RULES.trees,
    )
    z = Linear.encode(x, categories)
    centre = np.nan_to_num(np.nanmean(np.where(np.isnan(z).all(axis=0), 0, z), axis=0))
    scale = np.nan_to_num(np.nanstd(np.where(np.isnan(z).all(axis=0), 0, z), axis=0))
    scale[scale == 0] = 1
    z = np.nan_to_num((z - centre) / scale)
    # Every ad-day twice, as clicks and as impressions without one; mean weight 1, or the solver's tolerances do not fit.
    weight = np.concatenate([clicks, shown - clicks])
    model = LogisticRegression(C=1.0, tol=1e-6, max_iter=500).fit(
        np.concatenate([z, z]), np.repeat([1, 0], len(z)), sample_weight=weight / weight.mean()
    )
    return {"lightgbm": Trees(booster), "logistic": Linear(model, categories, centre, scale)}


def gain(rows: pl.DataFrame, prediction: str) -> float | None:
    """1 − log loss / entropy of the mean rate, per cent; None for a model that speaks of no ad-day."""
    if rows[prediction].null_count() == rows.height:
        return None
    clicks, shown = (rows[name].to_numpy().astype(np.float64) for name in ("link_clicks", "impressions"))
    said = rows.select(pl.coalesce(prediction, "account_mean").clip(SMALLEST_RATE, 1 - SMALLEST_RATE))
    p = said.to_series().to_numpy()
    mean = clicks.sum() / shown.sum()
    entropy = -(mean * np.log(mean) + (1 - mean) * np.log1p(-mean)) * shown.sum()
    loss = -(clicks * np.log(p) + (shown - clicks) * np.log1p(-p)).sum()
    return float(100 * (1 - loss / entropy))


def run(seed: int, short: bool = False) -> dict[str, Any]:
    """All figures; `short` takes seconds and shows that they can be computed, not what they are."""
    span = Span(days=50, before=36, scored=5) if short else Span()
    members: dict[str, dict[str, float | None]] = {}
    rivals: dict[str, dict[str, float | None]] = {}
    together: dict[str, float] = {}
    oracle: dict[str, float] = {}
    ratio: dict[str, float] = {}
    coverage: dict[str, float] = {}
    ad_days = 0
    for regime in JUDGED if short else REGIMES:
        print(f"{regime} market", file=sys.stderr)
        params = replace(VARIANTS[regime], seed=seed, **({"accounts": 7, "ads": 12} if short else {}))
        known = world(params, span.days)
        rows = vote(known, live(known, span), span, seed)
        members[regime] = {name: gain(rows, name) for name in (*ensemble.MEMBERS, "fixed_vote")}
        rivals[regime] = {name: gain(rows, name) for name in RIVALS}
        together[regime], oracle[regime] = gain(rows, "ensemble") or 0.0, gain(rows, "oracle") or 0.0
        clicks, shown, rate = (rows[name].to_numpy() for name in ("link_clicks", "impressions", "ensemble"))
        ratio[regime] = float(clicks.sum() / (shown * rate).sum())
        coverage[regime] = float(np.mean(rows["pit"].is_between(0.1, 0.9).to_numpy()))
        ad_days += rows.height
    return {
        "members": members,
        "rivals": rivals,
        "ensemble": together,
        "oracle": oracle,
        "beats_all": all(
            together[regime] > value
            for regime in JUDGED
            for value in (*members[regime].values(), *rivals[regime].values())
            if value is not None
        ),
        "share_of_oracle": {regime: together[regime] / oracle[regime] for regime in JUDGED},
        "calibration_ratio": {regime: ratio[regime] for regime in JUDGED},
        "coverage_80": {regime: coverage[regime] for regime in JUDGED},
        "ad_days": ad_days,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Do three models together say CTR better than each of them?")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes, for tests")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, arguments.short)))


if __name__ == "__main__":
    main()
