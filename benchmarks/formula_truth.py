"""Do suggestions and scores hold against a market whose truth is known?

    python -m benchmarks.formula_truth --seed 1 [--short]

Simulated markets of 20 accounts x 30 live ads x 1,000 impressions a day are learned from 91 days: patterns and formulas of every account and
over all, and the score over all. Suggestions are asked for the five newest creatives of every account.

- `suggestions_per_creative`: of at most five.
- `right_sign`: share of the suggestions whose true effect in that account is above zero. The truth is the mean of the market's own effects of
  the attributes, over all ads that the account launches in twenty years, with the value against those it is changed from.
- `coverage`: share of their 95 % intervals that hold the true effect.
- `lift_ratio`: mean expected log lift over mean true one; above 1 promises too much.
- `score_spearman`, `score_slope`, `score_slope_low`, `score_slope_high`: as the asset measures them on ads that came after what the model saw, mean
  over the markets.
- `score_spearman_truth`: rank correlation of the score with the true log CTR less the account's median, over the ads of the next half year.
- `score_calibration_error`: over the same ads, mean absolute difference, by fifths of the score, of what was said and how many beat the median.
- `creatives_with_false_suggestion`, `false_suggestions_per_creative`: in as many markets whose attributes have no effect at all.
- `score_says_nothing_null`: share of those markets in which the score says that it says nothing.
- `seconds_to_learn`: formulas of all scopes with their scores, patterns not counted, mean over the markets.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from learning_assets.learning import bins, dna, formula, lift, score, suggestions
from learning_assets.sandbox.market import Market, MarketParams
from learning_assets.settings import Formula, Patterns

DAY = date(2026, 3, 1)
WINDOW, HALF_YEAR, TRUE_DAYS = 91, 182, 7_300
ATTRIBUTES = (*dna.ATTRIBUTES, *bins.BINNED, "audience")
NUMBERS = ("copy_words", "reading_ease")
OWNERS = 5
NEWEST = 5
RULES, PATTERNS = Formula(), Patterns()


@dataclass(frozen=True)
class Learned:
    """What a market taught: sums with attributes, and all that was learned from them."""

    sums: pl.DataFrame
    patterns: pl.DataFrame
    formulas: pl.DataFrame
    model: score.Model | None
    validation: score.Validation
    seconds: float


def described(market: Market, first: date, last: date) -> pl.DataFrame:
    """Ads that live in a range with their attributes, as the product reads them from their texts."""
    ads = market.launches(first, last).with_columns(image_id=pl.lit(None, pl.String), pool=pl.lit("shared"))
    found = dna.extract(ads.unique(["account_id", "creative_id"], keep="first", maintain_order=True))
    named = bins.named(found.with_columns(pool=pl.lit("shared")), bins.BINS.to_frame())
    mine = [name for name in ATTRIBUTES if name != "audience"]
    numbers = [name for name in NUMBERS if name not in mine]
    creatives = named.select("account_id", "creative_id", "fingerprint", *mine, *numbers)
    return ads.select("account_id", "ad_id", "creative_id", "audience", "starts_on").join(
        creatives, on=["account_id", "creative_id"]
    )


def learn(market: Market) -> Learned:
    """Everything of the last days before DAY."""
    first = DAY - timedelta(days=WINDOW - 1)
    counts = ["impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros"]
    sums = (
        market.actuals(first, DAY, DAY)
        .with_columns(week=pl.col("date") + pl.duration(days=7 - pl.col("date").dt.weekday()))
        .group_by("account_id", "ad_id", "week")
        .agg(pl.col(counts).sum())
        .join(described(market, first, DAY), on=["account_id", "ad_id"])
        .join(market.accounts().select("account_id", "owner"), on="account_id")
        .with_columns(experiment_id=pl.lit(None, pl.String))
    )
    found = pl.concat([lift.mine(sums, ATTRIBUTES, PATTERNS, scope) for scope in ("account", "all")])
    patterns = lift.advance(None, found, DAY, PATTERNS)
    began = time.perf_counter()
    judged = formula.judge(sums, [*ATTRIBUTES, *NUMBERS], DAY, RULES)
    own = formula.mine(judged, ATTRIBUTES, NUMBERS, RULES, "account")
    pooled = formula.mine(judged, ATTRIBUTES, NUMBERS, RULES, "all", min_owners=OWNERS)
    apart = suggestions.between_accounts(patterns, "all", RULES)
    pooled = pooled.with_columns(pl.lit(apart[name], kind).alias(name) for name, kind in suggestions.BETWEEN.items())
    past = score.history(sums, ATTRIBUTES, RULES)
    for account in sums["account_id"].unique():
        score.learn(past, RULES, [account])
    model, validation = score.learn(past, RULES, min_owners=OWNERS)
    seconds = time.perf_counter() - began
    return Learned(sums, patterns, pl.concat([own, pooled], how="diagonal"), model, validation, seconds)


def asked(learned: Learned) -> Iterator[tuple[str, dict[str, Any], pl.DataFrame]]:
    """Account, creative and suggestions for the newest creatives of every account."""
    newest = learned.sums.unique(["account_id", "creative_id"]).sort("starts_on", "creative_id", descending=True)
    for (account,), creatives in newest.group_by("account_id", maintain_order=True):
        known = (pl.col("scope") == "all") | (pl.col("account_id") == account)
        won, patterns = learned.formulas.filter(known), learned.patterns.filter(known)
        for creative in creatives.head(NEWEST).iter_rows(named=True):
            yield str(account), creative, suggestions.suggest(creative, won, patterns, ATTRIBUTES, RULES)


def has(ads: pl.DataFrame, attribute: str, value: str) -> pl.Series:
    """Which ads have the value; NULL where the attribute is not known."""
    listed = isinstance(ads.schema[attribute], pl.List)
    return ads.select(pl.col(attribute).list.contains(value) if listed else pl.col(attribute) == value).to_series()


def true_lift(ads: pl.DataFrame, one: dict[str, Any]) -> float | None:
    """What a suggestion truly brings, by the effects of an account's ads: in log CTR, of which ROAS is a multiple here; nothing in CVR."""
    if one["metric"] == "cvr":
        return 0.0
    value = one["to_value"] or one["from_value"]
    with_ = has(ads, one["attribute"], value)
    without = has(ads, one["attribute"], one["from_value"]) if one["action"] == "change" else ~with_
    sides = [ads.filter(side)["attribute_effect"] for side in (with_, without)]
    if min(side.len() for side in sides) < 20:
        return None
    gain = float(np.mean(sides[0].to_numpy()) - np.mean(sides[1].to_numpy()))
    return gain if one["to_value"] else -gain


def true_ads(market: Market, days: int) -> pl.DataFrame:
    """Ads that the accounts launch in years, with attributes and the market's own effects."""
    last = DAY + timedelta(days=days)
    effects = market.truth(DAY, last).ads.select("account_id", "ad_id", "attribute_effect", "log_ctr")
    return described(market, DAY, last).join(effects, on=["account_id", "ad_id"])


def score_figures(learned: Learned, ads: pl.DataFrame) -> dict[str, float]:
    """The score against the truth of the ads that are launched in the half year after DAY; nothing where none is given."""
    if learned.model is None:
        return {}
    later = ads.filter(pl.col("starts_on") > DAY, pl.col("starts_on") <= DAY + timedelta(days=HALF_YEAR))
    own = learned.formulas.filter(pl.col("scope") == "account", pl.col("kind") == "choice")
    parts: list[pl.DataFrame] = []
    for (account,), mine in later.group_by("account_id", maintain_order=True):
        said = score.score(mine, learned.model, learned.validation, own.filter(account_id=account))
        parts.append(mine.select(y=pl.col("log_ctr") - pl.col("log_ctr").median()).with_columns(said["score"] / 100))
    found = pl.concat(parts)
    fifths = found.with_columns(fifth=(pl.col("score").rank("ordinal") - 1) * 5 // pl.len()).group_by("fifth")
    off = fifths.agg(off=(pl.col("score").mean() - (pl.col("y") > 0).mean()).abs(), ads=pl.len())
    return {
        "score_spearman_truth": float(found.select(pl.corr("score", "y", method="spearman")).item()),
        "score_calibration_error": float(off.select((pl.col("off") * pl.col("ads")).sum() / pl.col("ads").sum()).item()),
    }


def one_market(params: MarketParams, true_days: int) -> tuple[list[tuple[float, float, float, float]], int, dict[str, float]]:
    """True and expected lift with bounds of every suggestion, creatives asked about, and the figures of the score."""
    market = Market(params, DAY + timedelta(days=1))
    learned, truth = learn(market), true_ads(market, true_days)
    by_account = truth.partition_by("account_id", as_dict=True)
    told: list[tuple[float, float, float, float]] = []
    creatives = 0
    for account, _, found in asked(learned):
        creatives += 1
        for one in found.iter_rows(named=True):
            gain = true_lift(by_account[account,], one)
            if gain is not None:
                told.append((gain, one["log_lift"], one["low"], one["high"]))
    v = learned.validation
    figures = {
        "score_spearman": v.spearman,
        "score_slope": v.slope,
        "score_slope_low": v.slope_low,
        "score_slope_high": v.slope_high,
    }
    kept = {name: value for name, value in figures.items() if value is not None}
    return told, creatives, {**kept, **score_figures(learned, truth), "seconds_to_learn": learned.seconds}


def run(seed: int, short: bool = False) -> dict[str, float | None]:
    """All figures; `short` takes seconds and shows that they can be computed, not what they are."""
    markets = 1 if short else 5
    params = MarketParams(accounts=8, ads=20) if short else MarketParams()
    told: list[tuple[float, float, float, float]] = []
    creatives = false = touched = asked_null = silent = 0
    scores: list[dict[str, float]] = []
    for number in range(markets):
        print(f"market {number + 1} of {markets}", file=sys.stderr)
        mine = replace(params, seed=seed * 100 + number)
        found, count, figures = one_market(mine, 400 if short else TRUE_DAYS)
        told, creatives, scores = told + found, creatives + count, [*scores, figures]
        null = learn(Market(replace(mine, attribute_sd=0.0, deviation_sd=0.0), DAY + timedelta(days=1)))
        wrong = [suggested.height for _, _, suggested in asked(null)]
        false, touched, asked_null = false + sum(wrong), touched + sum(n > 0 for n in wrong), asked_null + len(wrong)
        silent += null.validation.says_nothing
    gain, expected, low, high = np.array(told or [(np.nan,) * 4]).T

    def mean(name: str) -> float | None:
        known = [figures[name] for figures in scores if name in figures]
        return float(np.mean(known)) if known else None

    names = (
        "score_spearman",
        "score_slope",
        "score_slope_low",
        "score_slope_high",
        "score_spearman_truth",
        "score_calibration_error",
    )
    return {
        "suggestions_per_creative": len(told) / creatives,
        "right_sign": float(np.mean(gain > 0)) if told else None,
        "coverage": float(np.mean((low <= gain) & (gain <= high))) if told else None,
        "lift_ratio": float(expected.mean() / gain.mean()) if told else None,
        **{name: mean(name) for name in names},
        "creatives_with_false_suggestion": touched / asked_null,
        "false_suggestions_per_creative": false / asked_null,
        "score_says_nothing_null": silent / markets,
        "seconds_to_learn": mean("seconds_to_learn"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Do suggestions and scores hold against a market whose truth is known?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes, for tests")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, arguments.short)))


if __name__ == "__main__":
    main()
