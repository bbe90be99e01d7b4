"""Rates as ratios of sums, and sums that keep the unknown unknown.

What belongs here: the few expressions that every other module uses to turn counts and money into rates. What does not:
intervals, smoothing and comparisons (those are estimates, and live with their methods).

Except `ratio`, the expressions aggregate: use them in `group_by(...).agg(...)`, in `select(...)` or with `.over(...)`.
Money is micros of one currency; currencies are never added, so `totals` and `ratios` give NULL for the money of a group
that holds several, and the single expressions are for groups of one.
"""

import polars as pl


def total(column: str) -> pl.Expr:
    """Sum of the known values of `column`, NULL where none is known (`pl.sum` would say 0)."""
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum()).alias(column)


def ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """`numerator / denominator` element by element as Float64; NULL where the denominator is zero or either is NULL."""
    return pl.when(denominator != 0).then(numerator / denominator)


def ratio_of_sums(numerator: str, denominator: str) -> pl.Expr:
    """Σ numerator / Σ denominator over the rows in which both are known; NULL where that denominator is zero.

    A row that lacks one of the two is left out of both sums, so that unknown revenue does not dilute ROAS.
    """
    known = pl.col(numerator).is_not_null() & pl.col(denominator).is_not_null()
    return ratio(pl.col(numerator).filter(known).sum(), pl.col(denominator).filter(known).sum())


def ctr() -> pl.Expr:
    """Click-through rate, link clicks per impression: a fraction, 0 to 1."""
    return ratio_of_sums("link_clicks", "impressions").alias("ctr")


def cvr() -> pl.Expr:
    """Conversion rate, conversions per link click: a fraction, which view-through conversions may lift above 1."""
    return ratio_of_sums("conversions", "link_clicks").alias("cvr")


def roas() -> pl.Expr:
    """Return on ad spend, revenue per spend: unit-free, at least 0."""
    return ratio_of_sums("revenue_micros", "spend_micros").alias("roas")


def cpa() -> pl.Expr:
    """Spend per conversion, in micros of the group's currency."""
    return ratio_of_sums("spend_micros", "conversions").alias("cpa")


def cpm() -> pl.Expr:
    """Spend per 1,000 impressions, in micros of the group's currency."""
    return (1_000 * ratio_of_sums("spend_micros", "impressions")).alias("cpm")


def hook_rate() -> pl.Expr:
    """Three-second video views per impression: a fraction, 0 to 1."""
    return ratio_of_sums("video_3s_views", "impressions").alias("hook_rate")


def totals(currency: str | None = "currency") -> list[pl.Expr]:
    """Sums of impressions, link clicks, conversions, spend and revenue, each NULL where nothing is known.

    `currency` names the column of currencies, by which money of several is NULL; None says that every group holds one.
    """
    return [
        *(total(name) for name in ("impressions", "link_clicks", "conversions")),
        *(_of_one(currency, total(name)) for name in ("spend_micros", "revenue_micros")),
    ]


def ratios(currency: str | None = "currency") -> list[pl.Expr]:
    """CTR, CVR and ROAS; ROAS is NULL over several currencies (see `totals`)."""
    return [ctr(), cvr(), _of_one(currency, roas())]


def _of_one(currency: str | None, money: pl.Expr) -> pl.Expr:
    return money if currency is None else pl.when(pl.col(currency).n_unique() == 1).then(money)
