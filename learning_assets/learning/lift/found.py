"""What is said of a pattern, and what follows from all that were tested together.

What belongs here: the columns of estimates and of the life cycle, intervals and p-values from a variance and its degrees of freedom,
q-values, and shrinkage. What does not: where lifts and their variances come from.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Scope = Literal["account", "niche", "all"]
Evidence = Literal["randomized", "observational"]
EVIDENCE: tuple[Evidence, ...] = ("randomized", "observational")
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

METRICS = {
    "ctr": ("link_clicks", "impressions"),
    "cvr": ("conversions", "link_clicks"),
    "roas": ("revenue_micros", "spend_micros"),
}
"""Numerator and denominator of every metric."""

KEY = ("scope", "account_id", "niche", "attribute", "value", "metric", "evidence")
"""What names a pattern."""

PAIR = " × "
"""Stands between the two attributes, and the two values, of a pattern that is about both together."""

FOUND = pl.Schema(
    {
        **dict.fromkeys(KEY, pl.String),
        **dict.fromkeys(("log_lift", "se", "low", "high", "p_value", "q_value"), pl.Float64),
        **dict.fromkeys(("shrunk_log_lift", "shrunk_low", "shrunk_high", "confidence"), pl.Float64),
        **dict.fromkeys(("ads_with", "ads_without", "accounts", "strata", "impressions"), pl.Int64),
    }
)
"""Estimates, one row per pattern; `account_id` is NULL but in scope `account`, `niche` but in scope `niche`.

Lifts, errors and bounds are natural logs of a ratio. `ads_with`, `ads_without`, `accounts`, `strata` and `impressions`
(of the ads with the value) count what stands behind the estimate: strata with ads on both sides. An ad that has the
value in one week and another in the next counts as with. Of a pair of attributes, `ads_with` have both values, and
`ads_without` is the smallest number of those that have the one, the other, or neither."""

STATE = pl.Schema(
    {
        "status": pl.String,
        "note": pl.String,
        "sign": pl.Int64,
        "discovered_at": pl.Date,
        "last_validated": pl.Date,
        "validation_count": pl.Int64,
        "weak_days": pl.Int64,
        "since": pl.Date,
    }
)
"""Life cycle of a pattern; see `life_cycle.advance`."""

COUNTS = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")


def estimated(log_lift: Floats, variance: Floats, freedom: Floats, counts: Mapping[str, Floats], level: float) -> pl.DataFrame:
    """Estimates with errors, intervals at `level` and two-sided p-values of Student's t, one row per pattern.

    `freedom`, the degrees of freedom, stands beside what FOUND has.
    A variance that is not above zero, or fewer than one degree of freedom, is no error: `se` and what follows from it are NULL then.
    """
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    known = np.isfinite(log_lift) & (variance > 0) & (freedom >= 1)
    se, freedom = np.sqrt(np.where(known, variance, np.nan)), np.where(known, freedom, np.nan)
    half = special.stdtrit(freedom, (1 + level) / 2) * se
    return pl.DataFrame(
        {
            "log_lift": log_lift,
            "se": se,
            "low": log_lift - half,
            "high": log_lift + half,
            "p_value": 2 * special.stdtr(freedom, -np.abs(log_lift) / se),
            "freedom": freedom,
            **counts,
        }
    ).with_columns(pl.selectors.float().fill_nan(None))


def judged(parts: Sequence[pl.DataFrame], level: float) -> pl.DataFrame:
    """Everything that was tested as one family a scope and grade of evidence, with q-values and shrunk lifts: a frame with schema FOUND."""
    if not parts:
        return pl.DataFrame(schema=FOUND)
    return (
        pl.concat(parts, how="diagonal")
        .pipe(_with_q_values)
        .pipe(_shrunk, level)
        .select(pl.col(name).cast(kind) for name, kind in FOUND.items())
        .sort(KEY)
    )


def _with_q_values(found: pl.DataFrame) -> pl.DataFrame:
    """Benjamini-Hochberg (1995) within scope, account and grade of evidence; NULL p-values are no tests."""
    family = ["scope", "account_id", "niche", "evidence"]
    p = pl.col("p_value")
    return (
        found.with_columns(rank=p.rank("ordinal").over(family), tests=p.count().over(family))
        .sort("rank", descending=True, nulls_last=True)
        .with_columns(q_value=(p * pl.col("tests") / pl.col("rank")).cum_min().over(family))
        .drop("rank", "tests")
    )


def _shrunk(found: pl.DataFrame, level: float) -> pl.DataFrame:
    """Posterior of the lifts, taken as normal over the levels of their attribute (DerSimonian & Laird 1986)."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    levels = ["scope", "account_id", "niche", "evidence", "attribute", "metric"]
    lift, w, ws = pl.col("log_lift"), pl.col("_w"), pl.col("_ws")

    def summed(amount: pl.Expr) -> pl.Expr:
        return amount.sum().over(levels)

    normal = float(special.ndtri((1 + level) / 2))
    posterior = (
        found.sort(KEY)
        .with_columns(_v=((pl.col("high") - pl.col("low")) / (2 * normal)) ** 2, _k=pl.col("se").count().over(levels))
        .with_columns(_w=pl.when(pl.col("_k") > 1).then(1 / pl.col("_v")))
        .with_columns(_mean=summed(w * lift) / summed(w))
        .with_columns(
            _tau2=(
                (summed(w * (lift - pl.col("_mean")) ** 2) - (pl.col("_k") - 1.0)) / (summed(w) - summed(w**2) / summed(w))
            ).clip(lower_bound=0)
        )
        .with_columns(_ws=1 / (pl.col("_v") + pl.col("_tau2")))
        .with_columns(_ws=pl.when(w.is_not_null()).then(ws))
        .with_columns(_mean=summed(ws * lift) / summed(ws), _b=pl.col("_tau2") * ws)
        .with_columns(
            shrunk_log_lift=pl.col("_mean") + pl.col("_b") * (lift - pl.col("_mean")),
            _sd=(pl.col("_b") * pl.col("_v") + (1 - pl.col("_b")) ** 2 / summed(ws)).sqrt(),
        )
    )
    shrunk, sd = pl.col("shrunk_log_lift"), pl.col("_sd")
    right_sign = special.ndtr(posterior.select((shrunk.abs() / sd).fill_null(float("nan")))["shrunk_log_lift"].to_numpy())
    return posterior.with_columns(
        shrunk_low=shrunk - normal * sd, shrunk_high=shrunk + normal * sd, confidence=pl.Series(right_sign).fill_nan(None)
    )
