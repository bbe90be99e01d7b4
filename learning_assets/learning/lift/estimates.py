"""Lifts of the values of an attribute against the other ads of a stratum.

What belongs here: which rows are compared, by which grade of evidence, and the estimates. What does not: their errors (`clusters`), what
follows from all of them together (`found`), pairs of attributes (`interactions`) and hours (`timing`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from learning_assets.learning.lift.clusters import Cells, Coded, between, between_ads, codes, floats, sum_by
from learning_assets.learning.lift.found import COUNTS, EVIDENCE, METRICS, Evidence, Floats, Scope, estimated, judged
from learning_assets.settings import Patterns

_UNKNOWN = "unknown"


def mine(
    sums: pl.LazyFrame | pl.DataFrame,
    attributes: Sequence[str],
    settings: Patterns,
    scope: Scope,
    niche: str | None = None,
) -> pl.DataFrame:
    """Lifts of every value of every attribute on CTR, CVR and ROAS.

    Parameters
    ----------
    sums : one row per ad and week (several weeks of an ad in one experiment are added up) with account_id, ad_id,
        experiment_id (set only where arms were assigned at random and the sample ratio is sound), week, impressions,
        link_clicks, conversions, spend_micros, revenue_micros, and the attributes: Categorical or String (which costs
        more time), or List(String) where several values may hold. A NULL attribute, `unknown` or an empty list puts a row on neither side; a NULL count
        leaves it out of that metric only. An ad's attributes are constant within an experiment; its latest known are
        taken.
    attributes : names of the attribute columns.
    settings : `confidence_level` is the level of all intervals.
    scope : `account` mines every account on its own (clusters are ads), `niche` and `all` pool the accounts of `sums`
        (clusters are accounts). Money is then divided by the account's spend per click: R and S of an account change by one
        factor, which its lift does not see and which only says how much the account weighs, so that no currencies are
        added.
    niche : of all accounts of `sums`, in scope `niche`.

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
    ValueError : a column is missing, an attribute is of another type, or a row has no account, ad or week.
    """
    frame = select(sums, attributes)
    # What nobody has said (files that were not read, a button that every ad has) has no two sides, and costs as much as what has.
    attributes = [name for name in attributes if frame[name].null_count() < frame.height and _differs(frame[name])]
    parts: list[pl.DataFrame] = []
    for evidence in EVIDENCE:
        facts = facts_of(frame, attributes, evidence, scope)
        if facts.strata.height:
            parts += [part for attribute in attributes for part in lifts(facts, attribute, settings.confidence_level)]
    return judged([part.with_columns(niche=pl.lit(niche, pl.String)) for part in parts], settings.confidence_level)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one grade of evidence rests on.

    `rows`: account_id, stratum, ad_id, the attributes, and the counts; `counts` names the column of n_METRIC and m_METRIC
    (denominator and numerator; NULL where either is). `strata`: account_id and stratum with their codes `account` and `s`, from 0 in sorted order.
    `ads`: block, ad_id and attributes, and by metric whether the ad has a denominator; a block is where ads are
    compared, whatever the week: the account, or the experiment. `one_row_per_ad`: no attribute changes within a block.
    `money_unit`: by account, what makes money unit-free. `coded` is there where ads are the clusters.
    """

    rows: pl.LazyFrame
    strata: pl.DataFrame
    ads: pl.DataFrame
    one_row_per_ad: bool
    block: list[str]
    counts: Mapping[str, str]
    evidence: Evidence
    scope: Scope
    metrics: list[str]
    account_ids: pl.Series
    money_unit: Floats
    coded: Coded | None


def _differs(values: pl.Series) -> bool:
    """Whether there may be two sides: a list may hold several values, and some that others lack."""
    return isinstance(values.dtype, pl.List) or bool((values != values.drop_nulls().first()).any())


def select(sums: pl.LazyFrame | pl.DataFrame, attributes: Sequence[str]) -> pl.DataFrame:
    """The columns that are needed; attributes that say nothing are NULL, lists hold each value once."""
    names = ["account_id", "ad_id", "experiment_id", "week", *COUNTS, *attributes]
    schema = sums.lazy().collect_schema()
    if missing := [name for name in names if name not in schema]:
        raise ValueError(f"The sums lack the columns {missing}; they need {names}.")
    known: list[pl.Expr] = []
    for name in attributes:
        kind, column = schema[name], pl.col(name)
        if kind == pl.String or kind == pl.Categorical:
            known.append(pl.when(column != _UNKNOWN).then(column).alias(name))
        elif kind == pl.Null:
            known.append(column.cast(pl.String))
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


def facts_of(frame: pl.DataFrame, attributes: Sequence[str], evidence: Evidence, scope: Scope) -> Facts:
    """The rows of one grade of evidence, counted and coded; `frame` is of `select`."""
    counts, masked = _counts(frame)
    columns = sorted({"impressions", *counts.values()})
    if evidence == "randomized":
        rows = (
            frame.lazy()
            .filter(pl.col("experiment_id").is_not_null())
            .with_columns(masked)
            .sort("week")
            .group_by("account_id", "ad_id", stratum="experiment_id")
            .agg(pl.col(columns).sum(), *(pl.col(name).drop_nulls().last() for name in attributes))
            .collect()
            .lazy()
        )
        block = ["account_id", "stratum"]
    else:
        # A filter that lets everything through would copy all rows on each of the passes that follow.
        apart = frame.lazy().filter(pl.col("experiment_id").is_null())
        rows = (frame.lazy() if frame["experiment_id"].null_count() == frame.height else apart).with_columns(masked)
        rows = rows.select("account_id", "ad_id", *columns, *attributes, stratum="week")
        block = ["account_id"]
    strata = collect(
        rows.group_by("account_id", "stratum")
        .agg(
            *(pl.col(counts[f"n_{metric}"]).sum().alias(metric) for metric in METRICS),
            clicks=pl.col(counts["m_ctr"]).filter(pl.col(counts["n_roas"]).is_not_null()).sum(),
        )
        .sort("account_id", "stratum")
        .with_row_index("s")
        .with_columns(account=pl.col("account_id").rle_id())
    )
    metrics = [metric for metric in METRICS if strata[metric].sum() > 0]
    has = [(pl.col(counts[f"n_{metric}"]).sum() > 0).alias(metric) for metric in metrics]
    ads = collect(rows.group_by(*block, "ad_id", *attributes).agg(has))
    accounts = strata.group_by("account_id", maintain_order=True).agg(pl.col("clicks", "roas").sum())
    clicks, spend = floats(accounts, "clicks"), floats(accounts, "roas")
    strata = strata.select("account_id", "stratum", "account", "s")
    return Facts(
        rows=rows,
        strata=strata,
        ads=ads,
        one_row_per_ad=collect(ads.lazy().select(*block, "ad_id").unique().select(pl.len())).item() == ads.height,
        block=block,
        counts=counts,
        evidence=evidence,
        scope=scope,
        metrics=metrics,
        account_ids=accounts["account_id"],
        money_unit=money_unit(clicks, spend),
        coded=_coded(rows, strata, counts, metrics, attributes) if scope == "account" else None,
    )


def _counts(frame: pl.DataFrame) -> tuple[dict[str, str], list[pl.Expr]]:
    """The column of n_METRIC and m_METRIC, and those columns that have to be made: where a numerator or a denominator is NULL, so is the other."""
    counts: dict[str, str] = {}
    masked: list[pl.Expr] = []
    for metric, (numerator, denominator) in METRICS.items():
        whole = frame[numerator].null_count() + frame[denominator].null_count() == 0
        known = pl.col(numerator).is_not_null() & pl.col(denominator).is_not_null()
        for side, name in ((f"n_{metric}", denominator), (f"m_{metric}", numerator)):
            counts[side] = name if whole else side
            if not whole:
                masked.append(pl.when(known).then(name).alias(side))
    return counts, masked


def money_unit(clicks: Floats, spend: Floats) -> Floats:
    """What makes an account's money free of its currency, clicks a unit of spend; NaN without either."""
    return np.where((clicks > 0) & (spend > 0), clicks, np.nan) / np.where(spend > 0, spend, 1)


def collect(rows: pl.LazyFrame) -> pl.DataFrame:
    """Run a group-by in pieces: memory is that of the groups. Only integers are added so, for whose sums order does not matter."""
    return rows.collect(engine="streaming")


def lifts(facts: Facts, attribute: str, level: float) -> Iterator[pl.DataFrame]:
    """Lifts of the attribute's values, one frame per metric, with `freedom` beside what `found.estimated` gives."""
    counted = sorted({facts.counts[f"{side}_{metric}"] for metric in facts.metrics for side in "nm"})
    everywhere = facts.ads[attribute].null_count() == 0
    known = facts.rows if everywhere else facts.rows.filter(pl.col(attribute).is_not_null())
    listed = isinstance(facts.ads.schema[attribute], pl.List)
    sums = collect(
        (known.explode(attribute) if listed else known)
        .group_by("account_id", "stratum", attribute)
        .agg(pl.col(sorted({"impressions", *counted})).sum())
    )
    totals = collect((known if listed else sums.lazy()).group_by("account_id", "stratum").agg(pl.col(counted).sum()))
    values = sums[attribute].unique().cast(pl.String).sort()
    value = pl.col(attribute).cast(pl.Enum(values)).to_physical().cast(pl.Int64).alias("value")
    sums = (
        sums.lazy()
        .join(totals.lazy(), on=["account_id", "stratum"], suffix="_all")
        .join(facts.strata.lazy(), on=["account_id", "stratum"])
        .with_columns(value)
        .sort("value", "s")
        .collect()
    )
    ads_known = facts.ads.lazy().filter(pl.col(attribute).is_not_null())
    distinct = [
        (pl.col(metric).sum() if facts.one_row_per_ad else pl.col("ad_id").filter(metric).n_unique()).alias(metric)
        for metric in facts.metrics
    ]
    ads = collect(
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
            there = np.ones(r.size, dtype=bool)
            found = between(cells.pattern, cells.patterns, cells.account, facts.account_ids.len(), (r, s, there))
            variance, freedom, accounts = found.variance, found.freedom, found.clusters
        else:
            variance, freedom = between_ads(facts.coded, attribute, value, cells, total_r, total_s)
            accounts = np.ones(cells.patterns)
        with_value, without_value = _ads(facts, cells, ads)
        pattern = np.flatnonzero(cells.per_pattern() > 0)
        counted_ads = {"ads_with": with_value, "ads_without": without_value, "accounts": accounts}
        counted_rows = {"strata": cells.per_pattern(), "impressions": cells.per_pattern(cells.impressions)}
        yield estimated(log_lift, variance, freedom, counted_ads | counted_rows, level)[pattern].with_columns(
            values.gather(pattern % cells.values).alias("value"),
            facts.account_ids.gather(pattern // cells.values).alias("account_id")
            if facts.scope == "account"
            else pl.lit(None, pl.String).alias("account_id"),
            niche=pl.lit(None, pl.String),
            scope=pl.lit(facts.scope),
            attribute=pl.lit(attribute),
            metric=pl.lit(metric),
            evidence=pl.lit(facts.evidence),
        )


def _ads(facts: Facts, cells: Cells, ads: pl.DataFrame) -> tuple[Floats, Floats]:
    """Numbers of distinct ads with and without the value, per pattern, in the accounts (or experiments) that have both."""
    code = "account" if facts.evidence == "observational" else "s"
    has_both = np.zeros((facts.strata.height, cells.values), dtype=bool)
    has_both[cells.account if code == "account" else cells.stratum, cells.value] = True
    counts = has_both[codes(ads, code), codes(ads, "value")]
    account, value = codes(ads, "account")[counts], codes(ads, "value")[counts]
    pattern = value if facts.scope != "account" else account * cells.values + value
    having, known = floats(ads, cells.metric)[counts], floats(ads, f"{cells.metric}_all")[counts]
    return sum_by(pattern, having, cells.patterns), sum_by(pattern, known - having, cells.patterns)


def _coded(
    rows: pl.LazyFrame, strata: pl.DataFrame, counts: Mapping[str, str], metrics: Sequence[str], attributes: Sequence[str]
) -> Coded:
    ads = collect(rows.select("account_id", "ad_id").unique().sort("account_id", "ad_id").with_row_index("ad"))
    coded = collect(
        rows.join(ads.lazy(), on=["account_id", "ad_id"])
        .join(strata.lazy(), on=["account_id", "stratum"])
        .select(
            pl.col("ad", "s").cast(pl.Int64),
            *(
                pl.col(counts[name]).cast(pl.Float64).fill_null(0).alias(name)
                for name in (f"{side}_{metric}" for metric in metrics for side in "nm")
            ),
            *attributes,
        )
        .sort("ad", "s")
    )
    first = ads.group_by("account_id", maintain_order=True).agg(pl.col("ad").first())
    return Coded(coded, strata.height, ads.height, codes(first, "ad"))


def _cells(facts: Facts, sums: pl.DataFrame, metric: str, values: int) -> Cells:
    stratum, account = codes(sums, "s"), codes(sums, "account")
    pooled, n, m = facts.scope != "account", facts.counts[f"n_{metric}"], facts.counts[f"m_{metric}"]
    n1, m1 = floats(sums, n), floats(sums, m)
    n0, m0 = floats(sums, f"{n}_all") - n1, floats(sums, f"{m}_all") - m1
    unit = facts.money_unit[account] if metric == "roas" and pooled else np.ones(account.size)
    both = (n1 > 0) & (n0 > 0) & np.isfinite(unit)
    value = codes(sums, "value")
    return Cells(
        metric=metric,
        stratum=stratum[both],
        account=account[both],
        value=value[both],
        pattern=(value if pooled else account * values + value)[both],
        patterns=values * (1 if pooled else facts.account_ids.len()),
        values=values,
        n1=(n1 * unit)[both],
        m1=(m1 * unit)[both],
        n0=(n0 * unit)[both],
        m0=(m0 * unit)[both],
        impressions=floats(sums, "impressions")[both],
    )
