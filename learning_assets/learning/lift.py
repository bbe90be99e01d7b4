"""Which creative choices go with better results: lifts of attribute values, and the life cycle of what was found.

What belongs here: lifts against the other ads of a stratum, their errors, shrinkage, q-values, and the passage of a
pattern from testing to active to deprecated. What does not: where the sums come from, pairs of attributes, and what is
recommended from a pattern.

**Estimate.** In stratum s (account x week; the experiment where arms were assigned at random) let n1, m1 be the
denominators and numerators of the ads with the value, n0, m0 those of the other ads whose attribute is known, N = n0 +
n1. With R = m1 n0 / N and S = m0 n1 / N, the log lift is log(ΣR / ΣS) (Mantel & Haenszel 1959; for rates Greenland &
Robins, Biometrics 41, 1985). It compares within strata only, so the level of an account and the week's season cancel.

**Error over several accounts.** Accounts are the clusters: u_c = R_c / ΣR - S_c / ΣS, and w_c the account's share of the
comparison (mean of R_c / ΣR and S_c / ΣS). se² = Σ u_c² / (1 - w_c), Student's t with 1/Σw² - 1 degrees of freedom. Where
k accounts weigh the same these are the textbook's k/(k-1) Σu² and k - 1; where one account dominates, the textbook's
would call half a dozen accounts sixty (simulated at twenty accounts whose sizes vary by a factor of e: p < 0.05 in 12 %
of comparisons without any effect, against 6 %).

**Error within an account.** Ads are the clusters. The derivative of the log lift by the weight of ad i is its share,

    u_i = Σ_s (n0/N) (m_i - n_i μ1) / ΣR     over the strata in which it has the value,     μ1 = (m1 + θ m0) / N,
        - Σ_s (n1/N) (m_i - n_i μ0) / ΣS     over those in which it has not,                μ0 = μ1 / θ,

θ being the lift; the shares of a stratum add up to R_s/ΣR - S_s/ΣS, so both clusterings linearise the same estimate.
Residuals are too small because μ and θ were fitted to the same ads, by half in an experiment of two arms: they are
divided by √(1 - n_i/N) in every stratum and by √(1 - g_i) per ad, g_i being its leverage on the lift, which makes the
variance unbiased where ads are alike (Bell & McCaffrey, Survey Methodology 28, 2002). Degrees of freedom are Welch's for
two sides, each with an effective number of ads (Σa)²/Σa², a being the weight of an ad's noise (Kish 1965), lowered by
the strata's fitted means. One ad against many therefore says nothing (its spread is unknown), and neither does a side
that one ad dominates: the error is NULL. Simulated coverage of 95 % intervals is 92 % or more
from 8 ads or 5 experiments up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.settings import Patterns

VERSION = "1"

Scope = Literal["account", "all"]
Evidence = Literal["randomized", "observational"]
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

METRICS = {
    "ctr": ("link_clicks", "impressions"),
    "cvr": ("conversions", "link_clicks"),
    "roas": ("revenue_micros", "spend_micros"),
}
"""Numerator and denominator of every metric."""

KEY = ("scope", "account_id", "attribute", "value", "metric", "evidence")
"""What names a pattern."""

FOUND = pl.Schema(
    {
        **dict.fromkeys(KEY, pl.String),
        **dict.fromkeys(("log_lift", "se", "low", "high", "p_value", "q_value"), pl.Float64),
        **dict.fromkeys(("shrunk_log_lift", "shrunk_low", "shrunk_high", "confidence"), pl.Float64),
        **dict.fromkeys(("ads_with", "ads_without", "accounts", "strata", "impressions"), pl.Int64),
    }
)
"""Estimates, one row per pattern; `account_id` is NULL in scope `all`.

Lifts, errors and bounds are natural logs of a ratio. `ads_with`, `ads_without`, `accounts`, `strata` and `impressions`
(of the ads with the value) count what stands behind the estimate: strata with ads on both sides. An ad that has the
value in one week and another in the next counts as with."""

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
"""Life cycle of a pattern; see `advance`."""

_COUNTS = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")
_UNKNOWN = "unknown"
_CELLS = 8_000_000
"""Ads x values held at once while errors within accounts are computed (64 MB an array)."""


def mine(sums: pl.LazyFrame | pl.DataFrame, attributes: Sequence[str], settings: Patterns, scope: Scope) -> pl.DataFrame:
    """Lifts of every value of every attribute on CTR, CVR and ROAS.

    Parameters
    ----------
    sums : one row per ad and week (several weeks of an ad in one experiment are added up) with account_id, ad_id,
        experiment_id (set only where arms were assigned at random and the sample ratio is sound), week, impressions,
        link_clicks, conversions, spend_micros, revenue_micros, and the attributes: String, or List(String) where
        several values may hold. A NULL attribute, `unknown` or an empty list puts a row on neither side; a NULL count
        leaves it out of that metric only. An ad's attributes are constant within an experiment; its latest known are
        taken.
    attributes : names of the attribute columns.
    settings : `confidence_level` is the level of all intervals.
    scope : `account` mines every account on its own (clusters are ads), `all` pools the accounts of `sums` (clusters
        are accounts). Money is then divided by the account's spend per click: R and S of an account change by one
        factor, which its lift does not see and which only says how much the account weighs, so that no currencies are
        added.

    Returns
    -------
    Frame with schema `FOUND`, sorted by its key. Randomized rows and others are never mixed: a pattern may stand there
    twice, by evidence. Pairs without a stratum that has both sides are left out; NULL is what cannot be estimated, such
    as a lift without clicks.

    `q_value` is Benjamini-Hochberg over all attributes, values and metrics of one account (or of the pool) and grade of
    evidence: what one owner reads as one list, and what no other owner's data may change. The shrunk values are an
    empirical-Bayes posterior over the levels of an attribute (DerSimonian & Laird 1986), which needs two of them; their
    errors are half-widths of the interval over the normal quantile, so that few clusters shrink more. `confidence` is 1
    - the local false-sign rate (Stephens, Biostatistics 18, 2017).

    Raises
    ------
    ValueError : a column is missing, an attribute is neither String nor List(String), or a row has no account, ad or week.
    """
    frame = _select(sums, attributes)
    parts: list[pl.DataFrame] = []
    for evidence in ("randomized", "observational"):
        facts = _facts(frame, attributes, evidence, scope)
        if facts.strata.height:
            parts += [part for attribute in attributes for part in _lifts(facts, attribute, settings.confidence_level)]
    if not parts:
        return pl.DataFrame(schema=FOUND)
    return (
        pl.concat(parts)
        .pipe(_with_q_values)
        .pipe(_shrunk, settings.confidence_level)
        .select(pl.col(name).cast(kind) for name, kind in FOUND.items())
        .sort(KEY)
    )


@dataclass(frozen=True, slots=True)
class _Coded:
    """Rows with `ad` and `s` (stratum) as codes from 0, n_METRIC and m_METRIC as floats, and the attributes, sorted by ad.

    `strata` and `ads` are their numbers, `first_ad` is the first ad of every account.
    """

    rows: pl.DataFrame
    strata: int
    ads: int
    first_ad: Codes


@dataclass(frozen=True, slots=True)
class _Facts:
    """What one grade of evidence rests on.

    `rows`: account_id, stratum, ad_id, impressions, n_METRIC and m_METRIC (denominator and numerator; NULL where either
    is) and the attributes. `strata`: account_id and stratum with their codes `account` and `s`, from 0 in sorted order.
    `ads`: block, ad_id and attributes, and by metric whether the ad has a denominator; a block is where ads are
    compared, whatever the week: the account, or the experiment. `one_row_per_ad`: no attribute changes within a block.
    `money_unit`: by account, what makes money unit-free. `coded` is there where ads are the clusters.
    """

    rows: pl.LazyFrame
    strata: pl.DataFrame
    ads: pl.DataFrame
    one_row_per_ad: bool
    block: list[str]
    evidence: Evidence
    scope: Scope
    metrics: list[str]
    account_ids: pl.Series
    money_unit: Floats
    coded: _Coded | None


def _select(sums: pl.LazyFrame | pl.DataFrame, attributes: Sequence[str]) -> pl.DataFrame:
    """The columns that are needed; attributes that say nothing are NULL, lists hold each value once."""
    names = ["account_id", "ad_id", "experiment_id", "week", *_COUNTS, *attributes]
    schema = sums.lazy().collect_schema()
    if missing := [name for name in names if name not in schema]:
        raise ValueError(f"The sums lack the columns {missing}; they need {names}.")
    known: list[pl.Expr] = []
    for name in attributes:
        kind, column = schema[name], pl.col(name)
        if kind == pl.String or kind == pl.Null:
            known.append(pl.when(column != _UNKNOWN).then(column).cast(pl.String).alias(name))
        elif kind == pl.List(pl.String):
            said = column.list.eval(pl.element().filter(pl.element() != _UNKNOWN)).list.unique()
            known.append(pl.when(said.list.len() > 0).then(said).alias(name))
        else:
            raise ValueError(
                f"Attribute {name!r} is {kind}; cast it to String (numbers into named bins) or List(String) first."
            )
    frame = sums.lazy().select(names).with_columns(known).collect()
    for name in ("account_id", "ad_id", "week"):
        if empty := frame[name].null_count():
            raise ValueError(f"Column {name!r} of the sums is NULL in {empty} rows; every row needs its account, ad and week.")
    return frame


def _facts(frame: pl.DataFrame, attributes: Sequence[str], evidence: Evidence, scope: Scope) -> _Facts:
    counts: list[pl.Expr] = []
    for metric, (numerator, denominator) in METRICS.items():
        known = pl.col(numerator).is_not_null() & pl.col(denominator).is_not_null()
        whole = frame[numerator].null_count() + frame[denominator].null_count() == 0
        for side, name in (("n", denominator), ("m", numerator)):
            counts.append((pl.col(name) if whole else pl.when(known).then(name)).alias(f"{side}_{metric}"))
    if evidence == "randomized":
        rows = (
            frame.lazy()
            .filter(pl.col("experiment_id").is_not_null())
            .sort("week")
            .group_by("account_id", "ad_id", stratum="experiment_id")
            .agg(
                pl.col("impressions").sum(),
                *(count.sum() for count in counts),
                *(pl.col(name).drop_nulls().last() for name in attributes),
            )
            .collect()
            .lazy()
        )
        block = ["account_id", "stratum"]
    else:
        # A filter that lets everything through would copy all rows on each of the passes that follow.
        apart = frame.lazy().filter(pl.col("experiment_id").is_null())
        rows = (frame.lazy() if frame["experiment_id"].null_count() == frame.height else apart).select(
            "account_id", "ad_id", "impressions", *counts, *attributes, stratum="week"
        )
        block = ["account_id"]
    strata = _collect(
        rows.group_by("account_id", "stratum")
        .agg(
            *(pl.col(f"n_{metric}").sum() for metric in METRICS),
            clicks=pl.col("m_ctr").filter(pl.col("n_roas").is_not_null()).sum(),
        )
        .sort("account_id", "stratum")
        .with_row_index("s")
        .with_columns(account=pl.col("account_id").rle_id())
    )
    metrics = [metric for metric in METRICS if strata[f"n_{metric}"].sum() > 0]
    has = [(pl.col(f"n_{metric}").sum() > 0).alias(metric) for metric in metrics]
    ads = _collect(rows.group_by(*block, "ad_id", *attributes).agg(has))
    accounts = strata.group_by("account_id", maintain_order=True).agg(pl.col("clicks", "n_roas").sum())
    clicks, spend = _floats(accounts, "clicks"), _floats(accounts, "n_roas")
    strata = strata.select("account_id", "stratum", "account", "s")
    return _Facts(
        rows=rows,
        strata=strata,
        ads=ads,
        one_row_per_ad=_collect(ads.lazy().select(*block, "ad_id").unique().select(pl.len())).item() == ads.height,
        block=block,
        evidence=evidence,
        scope=scope,
        metrics=metrics,
        account_ids=accounts["account_id"],
        money_unit=np.where((clicks > 0) & (spend > 0), clicks, np.nan) / np.where(spend > 0, spend, 1),
        coded=_coded(rows, strata, metrics, attributes) if scope == "account" else None,
    )


def _coded(rows: pl.LazyFrame, strata: pl.DataFrame, metrics: Sequence[str], attributes: Sequence[str]) -> _Coded:
    ads = _collect(rows.select("account_id", "ad_id").unique().sort("account_id", "ad_id").with_row_index("ad"))
    coded = _collect(
        rows.join(ads.lazy(), on=["account_id", "ad_id"])
        .join(strata.lazy(), on=["account_id", "stratum"])
        .select(
            pl.col("ad", "s").cast(pl.Int64),
            *(pl.col(f"{side}_{metric}").cast(pl.Float64).fill_null(0) for metric in metrics for side in "nm"),
            *attributes,
        )
        .sort("ad", "s")
    )
    first = ads.group_by("account_id", maintain_order=True).agg(pl.col("ad").first())
    return _Coded(coded, strata.height, ads.height, _codes(first, "ad"))


def _collect(rows: pl.LazyFrame) -> pl.DataFrame:
    """Run a group-by in pieces: memory is that of the groups. Only integers are added so, for whose sums order does not matter."""
    return rows.collect(engine="streaming")


def _codes(frame: pl.DataFrame, column: str) -> Codes:
    return frame[column].to_numpy().astype(np.int64)


def _floats(frame: pl.DataFrame, column: str) -> Floats:
    return frame[column].fill_null(0).to_numpy().astype(np.float64)


def _sum(codes: Codes, values: Floats | None, size: int) -> Floats:
    """Sums by code, added in row order, so that the same rows give the same bits."""
    return np.asarray(np.bincount(codes, values, size), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Strata x values with ads on both sides, for one metric. `pattern` numbers what a cell is evidence for; `patterns`
    says how many."""

    metric: str
    stratum: Codes
    account: Codes
    value: Codes
    pattern: Codes
    patterns: int
    values: int
    n1: Floats
    m1: Floats
    n0: Floats
    m0: Floats
    impressions: Floats

    def per_pattern(self, amounts: Floats | None = None) -> Floats:
        return _sum(self.pattern, amounts, self.patterns)


def _lifts(facts: _Facts, attribute: str, level: float) -> Iterator[pl.DataFrame]:
    """Lifts of the attribute's values, one frame per metric."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    counted = [f"{side}_{metric}" for metric in facts.metrics for side in "nm"]
    everywhere = facts.ads[attribute].null_count() == 0
    known = facts.rows if everywhere else facts.rows.filter(pl.col(attribute).is_not_null())
    listed = isinstance(facts.ads.schema[attribute], pl.List)
    sums = _collect(
        (known.explode(attribute) if listed else known)
        .group_by("account_id", "stratum", attribute)
        .agg(pl.col("impressions", *counted).sum())
    )
    totals = _collect((known if listed else sums.lazy()).group_by("account_id", "stratum").agg(pl.col(counted).sum()))
    values = sums[attribute].unique().sort()
    value = pl.col(attribute).cast(pl.Enum(values)).to_physical().cast(pl.Int64).alias("value")
    sums = (
        sums.join(totals, on=["account_id", "stratum"], suffix="_all")
        .join(facts.strata, on=["account_id", "stratum"])
        .with_columns(value)
        .sort("value", "s")
    )
    ads_known = facts.ads.lazy().filter(pl.col(attribute).is_not_null())
    distinct = [
        (pl.col(metric).sum() if facts.one_row_per_ad else pl.col("ad_id").filter(metric).n_unique()).alias(metric)
        for metric in facts.metrics
    ]
    ads = _collect(
        (ads_known.explode(attribute) if listed else ads_known)
        .group_by(*facts.block, attribute)
        .agg(distinct)
        .join(ads_known.group_by(facts.block).agg(distinct), on=facts.block, suffix="_all")
        .join(facts.strata.lazy().unique(facts.block, keep="first", maintain_order=True), on=facts.block)
        .with_columns(value)
    )
    for metric in facts.metrics:
        cells = _cells(facts, sums, metric, values.len())
        if not cells.stratum.size:
            continue
        r, s = cells.m1 * cells.n0 / (cells.n1 + cells.n0), cells.m0 * cells.n1 / (cells.n1 + cells.n0)
        total_r, total_s = cells.per_pattern(r), cells.per_pattern(s)
        possible = (total_r > 0) & (total_s > 0)
        log_lift = np.log(np.where(possible, total_r, np.nan) / np.where(possible, total_s, np.nan))
        if facts.coded is None:
            variance, freedom, accounts = _between_accounts(cells, r, s, facts.account_ids.len())
        else:
            variance, freedom = _between_ads(facts.coded, attribute, value, cells, total_r, total_s)
            accounts = np.ones(cells.patterns)
        with_value, without_value = _ads(facts, cells, ads)
        estimable = possible & (variance > 0) & (freedom >= 1)
        se, freedom = np.sqrt(np.where(estimable, variance, np.nan)), np.where(estimable, freedom, np.nan)
        half = special.stdtrit(freedom, (1 + level) / 2) * se
        pattern = np.flatnonzero(cells.per_pattern() > 0)
        yield pl.DataFrame(
            {
                "log_lift": log_lift,
                "se": se,
                "low": log_lift - half,
                "high": log_lift + half,
                "p_value": 2 * special.stdtr(freedom, -np.abs(log_lift) / se),
                "ads_with": with_value,
                "ads_without": without_value,
                "accounts": accounts,
                "strata": cells.per_pattern(),
                "impressions": cells.per_pattern(cells.impressions),
            }
        )[pattern].with_columns(
            pl.selectors.float().fill_nan(None),
            values.gather(pattern % cells.values).alias("value"),
            facts.account_ids.gather(pattern // cells.values).alias("account_id")
            if facts.scope == "account"
            else pl.lit(None, pl.String).alias("account_id"),
            scope=pl.lit(facts.scope),
            attribute=pl.lit(attribute),
            metric=pl.lit(metric),
            evidence=pl.lit(facts.evidence),
        )


def _cells(facts: _Facts, sums: pl.DataFrame, metric: str, values: int) -> _Cells:
    stratum, account = _codes(sums, "s"), _codes(sums, "account")
    n1, m1 = _floats(sums, f"n_{metric}"), _floats(sums, f"m_{metric}")
    n0, m0 = _floats(sums, f"n_{metric}_all") - n1, _floats(sums, f"m_{metric}_all") - m1
    unit = facts.money_unit[account] if metric == "roas" and facts.scope == "all" else np.ones(account.size)
    both = (n1 > 0) & (n0 > 0) & np.isfinite(unit)
    value = _codes(sums, "value")
    return _Cells(
        metric=metric,
        stratum=stratum[both],
        account=account[both],
        value=value[both],
        pattern=(value if facts.scope == "all" else account * values + value)[both],
        patterns=values * (1 if facts.scope == "all" else facts.account_ids.len()),
        values=values,
        n1=(n1 * unit)[both],
        m1=(m1 * unit)[both],
        n0=(n0 * unit)[both],
        m0=(m0 * unit)[both],
        impressions=_floats(sums, "impressions")[both],
    )


def _ads(facts: _Facts, cells: _Cells, ads: pl.DataFrame) -> tuple[Floats, Floats]:
    """Numbers of distinct ads with and without the value, per pattern, in the accounts (or experiments) that have both."""
    code = "account" if facts.evidence == "observational" else "s"
    has_both = np.zeros((facts.strata.height, cells.values), dtype=bool)
    has_both[cells.account if code == "account" else cells.stratum, cells.value] = True
    counts = has_both[_codes(ads, code), _codes(ads, "value")]
    account, value = _codes(ads, "account")[counts], _codes(ads, "value")[counts]
    pattern = value if facts.scope == "all" else account * cells.values + value
    having, known = _floats(ads, cells.metric)[counts], _floats(ads, f"{cells.metric}_all")[counts]
    return _sum(pattern, having, cells.patterns), _sum(pattern, known - having, cells.patterns)


def _between_accounts(cells: _Cells, r: Floats, s: Floats, accounts: int) -> tuple[Floats, Floats, Floats]:
    """Variance of the log lift clustered by account, its degrees of freedom, and the number of accounts, per pattern."""

    def by_account(amounts: Floats | None) -> Floats:
        return _sum(cells.pattern * accounts + cells.account, amounts, cells.patterns * accounts).reshape(-1, accounts)

    r, s, compared = by_account(r), by_account(s), by_account(None) > 0
    r, s = (part / np.maximum(part.sum(axis=1, keepdims=True), np.finfo(float).tiny) for part in (r, s))
    weight = (r + s) / 2
    alone = weight > 1 - 1e-9
    variance = np.where(alone, np.nan, (r - s) ** 2 / np.where(alone, 1, 1 - weight)).sum(axis=1)
    freedom = 1 / np.maximum((weight**2).sum(axis=1), np.finfo(float).tiny) - 1
    return variance, freedom, compared.sum(axis=1).astype(np.float64)


def _between_ads(
    coded: _Coded, attribute: str, value: pl.Expr, cells: _Cells, total_r: Floats, total_s: Floats
) -> tuple[Floats, Floats]:
    """Variance of the log lift clustered by ad, and its degrees of freedom, per account and value.

    Every ad of a stratum is on the other side of every value that it does not have. Those shares are products of the
    sparse matrix ads x strata with dense matrices strata x values; the pairs of an ad and its own value, which are few,
    are then put right.
    """
    from scipy.sparse import csr_array  # pyright: ignore[reportMissingTypeStubs]

    n_all = cells.n1 + cells.n0
    possible = (total_r > 0) & (total_s > 0)
    r, s = np.where(possible, total_r, np.inf)[cells.pattern], np.where(possible, total_s, np.inf)[cells.pattern]
    theta = np.where(possible, total_r, 1)[cells.pattern] / np.where(possible, total_s, 1)[cells.pattern]
    size = cells.per_pattern(cells.n1 * cells.n0 / n_all)[cells.pattern]
    mu = (cells.m1 + theta * cells.m0) / n_all
    x1, x0 = cells.n0 / n_all, cells.n1 / n_all
    # What an ad's row is multiplied by: numerator and denominator in its share u, leverage g, noise a, a with residuals' factor.
    without = (-x0 / s, x0 / s * mu / theta, x0**2 / size, x0 * mu, x0 * mu)
    with_ = (x1 / r, -x1 / r * mu, x1**2 / size, x1 * mu, x1 * mu)

    rows = coded.rows.filter(pl.col(attribute).is_not_null())
    ad, stratum = rows["ad"].to_numpy(), rows["s"].to_numpy()
    n, m = rows[f"n_{cells.metric}"].to_numpy(), rows[f"m_{cells.metric}"].to_numpy()
    n_stratum = _sum(stratum, n, coded.strata)
    others = 1 - n / np.where(n_stratum > 0, n_stratum, 1)[stratum]
    factor = 1 / np.where(others > 0, others, 1)
    root = np.sqrt(factor)
    amounts = (root * m, root * n, factor * n, n, root * n)
    starts = np.searchsorted(ad, np.arange(coded.ads + 1))
    matrices = [csr_array((amount, stratum, starts), shape=(coded.ads, coded.strata)) for amount in amounts]
    pairs = rows.select(pl.int_range(pl.len()).alias("row"), attribute)
    if isinstance(rows.schema[attribute], pl.List):
        pairs = pairs.explode(attribute)
        row = _codes(pairs, "row")
        ad, stratum, amounts = ad[row], stratum[row], tuple(amount[row] for amount in amounts)
    own_value = _codes(pairs.select(value), "value")

    variance = np.empty((coded.first_ad.size, cells.values))
    freedom = np.empty_like(variance)
    width = max(1, _CELLS // coded.ads)
    for start in range(0, cells.values, width):
        block = slice(start, min(start + width, cells.values))
        columns = block.stop - start
        cell = np.flatnonzero((cells.value >= start) & (cells.value < block.stop))
        place = cells.stratum[cell] * columns + cells.value[cell] - start
        own = slice(None) if columns == cells.values else np.flatnonzero((own_value >= start) & (own_value < block.stop))
        own_place, own_cluster = (code[own] * columns + own_value[own] - start for code in (stratum, ad))
        shares: list[Floats] = []
        for matrix, amount, weight0, weight1 in zip(matrices, amounts, without, with_, strict=True):
            weights, change = np.zeros((2, coded.strata * columns))
            weights[place], change[place] = weight0[cell], (weight1 - weight0)[cell]
            share = np.asarray(matrix @ weights.reshape(-1, columns), dtype=np.float64)
            share += _sum(own_cluster, amount[own] * change[own_place], share.size).reshape(share.shape)
            shares.append(share)
        u, leverage, noise, lowered = shares[0] + shares[1], shares[2], shares[3], shares[4]
        alone = leverage > 1 - 1e-9
        squares = np.where(noise > 0, u**2 / np.where(alone, np.nan, 1 - leverage), 0)
        variance[:, block] = np.add.reduceat(squares, coded.first_ad)
        has = np.zeros(noise.size, dtype=bool)
        has[own_cluster] = True
        total, of_sides = np.zeros((2, *variance[:, block].shape))
        for side in (has.reshape(noise.shape), ~has.reshape(noise.shape)):
            first, second, below = (
                np.add.reduceat(np.where(side, amount, 0), coded.first_ad) for amount in (noise, noise**2, lowered**2)
            )
            effective = first**2 / np.where(below > 0, below, 1)
            total += second
            of_sides += np.where(effective > 1, second**2 / np.where(effective > 1, effective - 1, 1), np.inf)
        freedom[:, block] = total**2 / np.where(of_sides > 0, of_sides, np.inf)
    return variance.ravel(), freedom.ravel()


def _with_q_values(found: pl.DataFrame) -> pl.DataFrame:
    """Benjamini-Hochberg (1995) within scope, account and grade of evidence; NULL p-values are no tests."""
    family = ["scope", "account_id", "evidence"]
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

    levels = ["scope", "account_id", "evidence", "attribute", "metric"]
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


def advance(previous: pl.DataFrame | None, found: pl.DataFrame, day: date, settings: Patterns) -> pl.DataFrame:
    """Carry the life cycle of the patterns one day on.

    *testing* becomes *active* at q <= `q_active` with `min_ads` ads on each side and `min_strata` strata, and
    `min_accounts` accounts in scope `all`. *active* becomes *deprecated* after `deprecate_days` successive tests at q >
    `q_deprecated`, or at once when the sign turns at q <= `q_active`. *deprecated* goes back to *testing*, with its
    present sign, on a day on which it would have become active, and has to do it again with that sign on another day. A
    day on which a pattern is not found, or has no q-value, is no test: it changes nothing, and a pattern that was not
    found keeps the figures of the last day on which it was.

    Parameters
    ----------
    previous : what this function returned for the day (step) before, or None; further columns are ignored.
    found : estimates of `day`, as `mine` gives them; scopes may be concatenated.
    day : day of the estimates.
    settings : the thresholds named above.

    Returns
    -------
    Frame with the columns FOUND and STATE, sorted by key, a function of the arguments only. `note` is NULL or why the
    status is not better: `suggestive` (significant, in too few accounts), `few_ads`, `few_strata`, `returned` (after a
    deprecation), `weak` or `sign_reversed` (why it was deprecated); `not_tested` for a row that was not found today,
    unless it is deprecated. `sign` is that of the lift (1 or -1) when it last became active or returned,
    `discovered_at` the day on which it first became active, `last_validated` and `validation_count` the last day and
    the number of days that it was active at q <= `q_active`, `weak_days` the successive tests at q > `q_deprecated`,
    and `since` the day from which the status holds.

    Raises
    ------
    ValueError : `previous` is of `day` or later, or `found` holds a pattern twice.
    """
    schema = pl.Schema({**FOUND, **STATE})
    if found.select(KEY).is_duplicated().any():
        raise ValueError(f"The patterns found on {day} hold a key {KEY} twice; concatenate each scope once.")
    if previous is None:
        previous = pl.DataFrame(schema=schema)
    dates = [name for name in ("as_of", "since", "last_validated") if name in previous.columns]
    newest = previous.select(pl.max_horizontal(pl.col(dates).cast(pl.Date).max())).item()
    if newest is not None and newest >= day:
        raise ValueError(f"The previous patterns are of {newest}, and {day} is to be learned; hand in the state before {day}.")
    previous = previous.select(pl.col(name).cast(kind) for name, kind in schema.items())

    q, sign, was = pl.col("q_value"), pl.col("sign"), pl.col("status").fill_null("testing")
    now = pl.col("log_lift").sign().cast(pl.Int64)
    strong, weak = (q <= settings.q_active).fill_null(value=False), (q > settings.q_deprecated).fill_null(value=False)
    ads = pl.min_horizontal("ads_with", "ads_without") >= settings.min_ads
    strata = pl.col("strata") >= settings.min_strata
    accounts = (pl.col("scope") == "account") | (pl.col("accounts") >= settings.min_accounts)
    qualifies = strong & ads & strata & accounts
    turned = strong & (now != sign).fill_null(value=False)
    weak_days = (
        pl.when(weak)
        .then(pl.col("weak_days").fill_null(0) + 1)
        .when(q.is_null())
        .then(pl.col("weak_days").fill_null(0))
        .otherwise(0)
    )

    before = found.select(pl.col(name).cast(kind) for name, kind in FOUND.items()).join(
        previous.select(*KEY, *STATE), on=KEY, how="left", nulls_equal=True
    )
    after = (
        before.with_columns(weak_days=weak_days, _turned=turned, _qualifies=qualifies, _was=was)
        .with_columns(
            status=pl.when(
                (pl.col("_was") == "active") & (pl.col("_turned") | (pl.col("weak_days") >= settings.deprecate_days))
            )
            .then(pl.lit("deprecated"))
            .when((pl.col("_was") == "active") | ((pl.col("_was") == "testing") & pl.col("_qualifies") & ~pl.col("_turned")))
            .then(pl.lit("active"))
            .when((pl.col("_was") == "deprecated") & ~pl.col("_qualifies"))
            .then(pl.lit("deprecated"))
            .otherwise(pl.lit("testing")),
            sign=pl.when((pl.col("_was") != "active") & pl.col("_qualifies")).then(now).otherwise(sign),
        )
        .with_columns(_validated=strong & (pl.col("status") == "active"))
        .with_columns(
            note=pl.when((pl.col("status") == "deprecated") & (pl.col("_was") == "active"))
            .then(pl.when("_turned").then(pl.lit("sign_reversed")).otherwise(pl.lit("weak")))
            .when(pl.col("status") == "deprecated")
            .then("note")
            .when(pl.col("status") == "active")
            .then(None)
            .when(pl.col("sign").is_not_null())
            .then(pl.lit("returned"))
            .when(strong & ~ads)
            .then(pl.lit("few_ads"))
            .when(strong & ~strata)
            .then(pl.lit("few_strata"))
            .when(strong & ~accounts)
            .then(pl.lit("suggestive")),
            discovered_at=pl.coalesce("discovered_at", pl.when(pl.col("status") == "active").then(pl.lit(day))),
            last_validated=pl.when("_validated").then(pl.lit(day)).otherwise("last_validated"),
            validation_count=pl.col("validation_count").fill_null(0) + pl.col("_validated").cast(pl.Int64),
            since=pl.when((pl.col("status") == pl.col("_was")) & pl.col("since").is_not_null())
            .then("since")
            .otherwise(pl.lit(day)),
        )
        .select(list(schema))
    )
    carried = previous.join(found, on=KEY, how="anti", nulls_equal=True).with_columns(
        note=pl.when(pl.col("status") == "deprecated").then("note").otherwise(pl.lit("not_tested"))
    )
    return pl.concat([after, carried]).sort(KEY)
