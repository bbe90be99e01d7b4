"""Two attributes together, beyond their separate effects.

What belongs here: which pairs can be judged, and their estimates. What does not: lifts of single attributes (`estimates`).

The effect of a with b is the difference of two log lifts, of a among the ads that have b and of a among those that have another value of that
attribute: log(ΣR₁/ΣS₁) - log(ΣR₀/ΣS₀), both Mantel-Haenszel within strata. Within an account the two rest on different ads, so their variances
add up (degrees of freedom by Satterthwaite 1946). Over several accounts an account stands in both, and its share of the one less its share of
the other is what varies.

Only pairs are looked at that could become active: with enough ads in each of the four cells, and enough accounts. All other pairs would add
tests, and errors, without a chance to be found.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from learning_assets.learning.lift.clusters import Side, between, codes, floats, sum_by
from learning_assets.learning.lift.estimates import Facts, collect, facts_of, lifts, select
from learning_assets.learning.lift.found import EVIDENCE, PAIR, Evidence, Floats, Scope, estimated, judged
from learning_assets.settings import Patterns

_PARTS = "\x1f"
"""Parts an account's name from the value of the second attribute, where both together stand for an account."""


def mine(
    sums: pl.LazyFrame | pl.DataFrame, attributes: Sequence[str], settings: Patterns, scope: Scope, niche: str | None = None
) -> pl.DataFrame:
    """Effects of every two values of two attributes on CTR, CVR and ROAS, beyond the effects that each has by itself.

    Parameters, errors and the columns that are returned are those of `estimates.mine`; `attribute` and `value` name both parts, joined by
    `found.PAIR`, in the order of `attributes`. The q-values are those of a family of its own.
    """
    # Pairs are joined by the names of both values.
    frame = select(sums, attributes).with_columns(pl.col(pl.Categorical).cast(pl.String))
    pooled = scope != "account"
    if pooled and frame["account_id"].n_unique() < settings.min_accounts:
        frame = frame.clear()
    parts: list[pl.DataFrame] = []
    for evidence in EVIDENCE:
        known = pl.col("experiment_id").is_not_null() if evidence == "randomized" else pl.col("experiment_id").is_null()
        of_evidence = frame.filter(known)
        if of_evidence.is_empty():
            continue
        facts = facts_of(of_evidence, attributes, evidence, scope) if pooled else None
        for place, second in enumerate(attributes):
            asked = {first: _candidates(of_evidence, first, second, settings.min_ads, pooled) for first in attributes[:place]}
            asked = {first: candidates for first, candidates in asked.items() if candidates.height}
            halves = _halves(of_evidence, evidence, asked, second) if asked and facts is None else []
            for first, candidates in asked.items():
                found = (
                    _in_accounts(halves, candidates, first, settings.confidence_level)
                    if facts is None
                    else _pooled(facts, candidates, first, second, settings.confidence_level)
                )
                parts += [
                    part.with_columns(
                        attribute=pl.lit(f"{first}{PAIR}{second}"),
                        value=pl.concat_str("first", "second", separator=PAIR),
                        evidence=pl.lit(evidence),
                    )
                    for part in found
                ]
    named = {"scope": pl.lit(scope), "niche": pl.lit(niche, pl.String)}
    return judged([part.with_columns(**named) for part in parts], settings.confidence_level)


def _exploded(frame: pl.DataFrame, *attributes: str) -> pl.DataFrame:
    """One row per value of the attributes that hold several."""
    for name in attributes:
        if isinstance(frame.schema[name], pl.List):
            frame = frame.explode(name)
    return frame


def _candidates(frame: pl.DataFrame, first: str, second: str, min_ads: int, pooled: bool) -> pl.DataFrame:
    """Pairs of values with at least `min_ads` ads that have both, the one only, the other only, and neither; by account unless pooled.

    Returns
    -------
    account_id (NULL if pooled), first, second, ads_with (both) and ads_without (the smallest of the other three).
    """
    own = pl.lit(None, pl.String).alias("account_id") if pooled else pl.col("account_id")
    ads = (
        frame.filter(pl.col(first).is_not_null(), pl.col(second).is_not_null())
        .group_by("account_id", "ad_id", maintain_order=True)
        .agg(pl.col(first).last(), pl.col(second).last())
        .select(own, pl.col(first).alias("first"), pl.col(second).alias("second"))
    )
    both = _exploded(ads, "first", "second").group_by("account_id", "first", "second").agg(n=pl.len())
    one = _exploded(ads, "first").group_by("account_id", "first").agg(n_first=pl.len())
    other = _exploded(ads, "second").group_by("account_id", "second").agg(n_second=pl.len())
    counted = (
        both.join(one, on=["account_id", "first"], nulls_equal=True)
        .join(other, on=["account_id", "second"], nulls_equal=True)
        .join(ads.group_by("account_id").agg(n_all=pl.len()), on="account_id", nulls_equal=True)
        .with_columns(pl.selectors.unsigned_integer().cast(pl.Int64))
    )
    n, n_first, n_second, n_all = (pl.col(name) for name in ("n", "n_first", "n_second", "n_all"))
    return (
        counted.select(
            "account_id",
            "first",
            "second",
            ads_with=n,
            ads_without=pl.min_horizontal(n_first - n, n_second - n, n_all - n_first - n_second + n),
        )
        .filter(pl.min_horizontal("ads_with", "ads_without") >= min_ads)
        .sort("account_id", "first", "second")
    )


def _halves(frame: pl.DataFrame, evidence: Evidence, asked: Mapping[str, pl.DataFrame], second: str) -> list[Facts]:
    """The ads that have a value of the second attribute, and those that have another, each as an account of their own, for every value that
    is asked for in an account (`asked`: candidates by first attribute)."""
    rows = frame.filter(pl.col(second).is_not_null())
    values = pl.concat(asked.values()).select("account_id", "second").unique(maintain_order=True)
    listed = isinstance(rows.schema[second], pl.List)
    has = pl.col(second).list.contains(pl.col("second")) if listed else pl.col(second) == pl.col("second")
    apart = pl.concat_str("account_id", "second", separator=_PARTS).alias("account_id")
    paired = rows.join(values, on="account_id", maintain_order="left")
    return [
        facts_of(paired.filter(side).with_columns(apart).drop("second"), list(asked), evidence, "account")
        for side in (has, ~has)
    ]


def _in_accounts(halves: Sequence[Facts], candidates: pl.DataFrame, first: str, level: float) -> Iterator[pl.DataFrame]:
    """Effects within each account, of the two `_halves` of its ads."""
    found = [list(lifts(half, first, level)) if half.strata.height else [] for half in halves]
    if not all(found):
        return
    having, others = (pl.concat(parts).filter(pl.col("se").is_not_null()) for parts in found)
    keep = ["account_id", "value", "metric", "log_lift", "se", "freedom", "strata", "impressions"]
    v1, v0 = pl.col("se") ** 2, pl.col("se_not") ** 2
    both = (
        having.select(keep)
        .join(others.select(keep), on=["account_id", "value", "metric"], suffix="_not")
        .with_columns(
            pl.col("account_id").str.split_exact(_PARTS, 1).struct.rename_fields(["account_id", "second"]).struct.unnest()
        )
        .rename({"value": "first"})
        .join(candidates, on=["account_id", "first", "second"])
        .with_columns(variance=v1 + v0, together=(v1 + v0) ** 2 / (v1**2 / pl.col("freedom") + v0**2 / pl.col("freedom_not")))
        .sort("metric", "account_id", "first", "second")
    )
    for (metric,), rows in both.group_by("metric", maintain_order=True):
        counts = {
            "ads_with": floats(rows, "ads_with"),
            "ads_without": floats(rows, "ads_without"),
            "accounts": np.ones(rows.height),
            "strata": np.minimum(floats(rows, "strata"), floats(rows, "strata_not")),
            "impressions": floats(rows, "impressions"),
        }
        lift = rows["log_lift"].to_numpy() - rows["log_lift_not"].to_numpy()
        found = estimated(lift, floats(rows, "variance"), floats(rows, "together"), counts, level)
        yield pl.concat([found, rows.select("account_id", "first", "second")], how="horizontal").with_columns(
            metric=pl.lit(metric)
        )


def _pooled(facts: Facts, candidates: pl.DataFrame, first: str, second: str, level: float) -> Iterator[pl.DataFrame]:
    """Effects over all accounts of the facts, which are the clusters."""
    counted = sorted({"impressions", *(facts.counts[f"{side}_{metric}"] for metric in facts.metrics for side in "nm")})
    stratum = ["account_id", "stratum"]
    rows = facts.rows.filter(pl.col(first).is_not_null(), pl.col(second).is_not_null())
    rows = rows.select(*stratum, pl.col(first).alias("first"), pl.col(second).alias("second"), *counted)

    def summed(*by: str) -> pl.DataFrame:
        told = rows
        for name in by:
            if isinstance(facts.ads.schema[{"first": first, "second": second}[name]], pl.List):
                told = told.explode(name)
        return collect(told.group_by(*stratum, *by).agg(pl.col(counted).sum()))

    pairs = candidates.with_row_index("pattern")
    cells = (
        pairs.select("pattern", "first", "second")
        .join(facts.strata, how="cross")
        .join(summed("first", "second"), on=[*stratum, "first", "second"], how="left")
        .join(summed("first"), on=[*stratum, "first"], how="left", suffix="_first")
        .join(summed("second"), on=[*stratum, "second"], how="left", suffix="_second")
        .join(summed(), on=stratum, how="left", suffix="_all")
        .sort("pattern", "s")
    )
    pattern, account = codes(cells, "pattern"), codes(cells, "account")
    for metric in facts.metrics:
        unit = facts.money_unit[account] if metric == "roas" else np.ones(account.size)
        unit = np.where(np.isfinite(unit), unit, 0)

        def cell(side: str, suffix: str = "", metric: str = metric, unit: Floats = unit) -> Floats:
            return unit * floats(cells, facts.counts[f"{side}_{metric}"] + suffix)

        n, m = cell("n"), cell("m")
        sides: list[Side] = []
        for n1, m1, n0, m0 in (
            (n, m, cell("n", "_second") - n, cell("m", "_second") - m),
            (
                cell("n", "_first") - n,
                cell("m", "_first") - m,
                cell("n", "_all") - cell("n", "_first") - cell("n", "_second") + n,
                cell("m", "_all") - cell("m", "_first") - cell("m", "_second") + m,
            ),
        ):
            there = (n1 > 0) & (n0 > 0)
            whole = np.where(there, n1 + n0, 1)
            sides.append((np.where(there, m1 * n0 / whole, 0), np.where(there, m0 * n1 / whole, 0), there))
        clustered = between(pattern, pairs.height, account, facts.account_ids.len(), *sides)
        sums = [sum_by(pattern, amounts, pairs.height) for r, s, _ in sides for amounts in (r, s)]
        possible = np.all([amounts > 0 for amounts in sums], axis=0)
        r1, s1, r0, s0 = (np.where(possible, amounts, 1) for amounts in sums)
        lift = np.where(possible, np.log(r1 * s0 / (s1 * r0)), np.nan)
        counts = {
            "ads_with": floats(pairs, "ads_with"),
            "ads_without": floats(pairs, "ads_without"),
            "accounts": clustered.clusters,
            "strata": sum_by(pattern, (sides[0][2] & sides[1][2]).astype(np.float64), pairs.height),
            "impressions": sum_by(pattern, np.where(sides[0][2], floats(cells, "impressions"), 0), pairs.height),
        }
        found = estimated(lift, clustered.variance, clustered.freedom, counts, level)
        yield pl.concat([found, pairs.select("account_id", "first", "second")], how="horizontal").with_columns(
            metric=pl.lit(metric)
        )
