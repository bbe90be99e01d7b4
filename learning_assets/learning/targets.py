"""What is predicted of an ad: rates, each a ratio of two sums, as events over what they were exposed to.

What belongs here: which columns are numerator and denominator of each rate, how conversions that are not known yet are allowed for, and what
makes money free of its currency. What does not: models of the rates (`ctr_model`, `ensemble`), and measures of them (`accuracy`).

**Late conversions.** Of the conversions of a day that is a days old only a share F(a) is known (`lag`). The clicks and the spend that could have
been followed by what is known are the exposure, clicks × F(a): conversions over exposure has the expectation of the rate, at any age. Days of which
F is not known, or less than `MIN_SHARE`, are left out.

**Money.** Revenue and spend are divided by the account's revenue per conversion, so that they count conversions' worth: no currencies are added, and
a rate's events say how much is known of it, like clicks. Revenue is then a sum of counts with marks, whose variance is in proportion to its mean
(compound Poisson: quasi-likelihood, McCullagh & Nelder, Generalized Linear Models, 1989, §9.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

MIN_SHARE = 0.25
"""A day whose known share is smaller would be scaled up more than fourfold."""


@dataclass(frozen=True, slots=True)
class Target:
    """A rate: `events` over `exposure`, columns of what `exposed` gives.

    `binomial`: both are whole numbers, and every event is one of the exposure's units; the loss is that of the binomial distribution, else that
    of the Poisson distribution, of which only the mean and a variance in proportion to it are used. `money`: events are worth, not number.
    """

    name: str
    events: str
    exposure: str
    binomial: bool = False
    money: bool = False

    @property
    def highest(self) -> float:
        """No rate lies above it."""
        return float("inf") if self.money else 1.0


CTR = Target("ctr", "link_clicks", "impressions", binomial=True)
CVR = Target("cvr", "conversions", "clicks_exposed")
ROAS = Target("roas", "revenue_in_orders", "spend_in_orders", money=True)

TARGETS: Mapping[str, Target] = {target.name: target for target in (CTR, CVR, ROAS)}


def exposed(facts: pl.DataFrame, shares: pl.DataFrame, mature_days: int) -> pl.DataFrame:
    """Facts with the events and exposures of every target.

    Parameters
    ----------
    facts : one row per ad and day with `account_id`, `age_days` (days from the fact's day to when it was looked up), `impressions`,
        `link_clicks`, `conversions`, `spend_micros`, `revenue_micros` (NULL: not known).
    shares : `account_id`, `age_days`, `share_known` (`lag.LAGS`). Where it does not say, days older than `mature_days` are taken to be known whole, and
        younger ones not at all.

    Returns
    -------
    The rows of `facts` in their order with the floats `share_known`, `clicks_exposed`, `revenue_in_orders` and `spend_in_orders`; NULL where they are
    not known. `conversions` are NULL where their share is.
    """
    curve = shares.select("account_id", "age_days", "share_known").drop_nulls()
    # Joined apart from the other columns, which a join would copy.
    known = facts.select("account_id", "age_days").join(curve, on=["account_id", "age_days"], how="left", maintain_order="left")
    known = known.join(order_values(facts), on="account_id", how="left", maintain_order="left")
    known = facts.with_columns(known.select("share_known", "order_value").get_columns())
    share = pl.coalesce("share_known", pl.when(pl.col("age_days") > mature_days).then(1.0))
    known = known.with_columns(share_known=pl.when(share >= MIN_SHARE).then(share))
    is_known = pl.col("share_known").is_not_null()
    return known.with_columns(
        conversions=pl.when(is_known).then("conversions"),
        clicks_exposed=pl.col("link_clicks") * pl.col("share_known"),
        revenue_in_orders=pl.when(is_known).then(pl.col("revenue_micros") / pl.col("order_value")),
        spend_in_orders=pl.col("spend_micros") * pl.col("share_known") / pl.col("order_value"),
    ).drop("order_value")


def order_values(facts: pl.DataFrame) -> pl.DataFrame:
    """Revenue per conversion of each account, micros of its currency, over the days on which both are known: `account_id`, `order_value`, NULL where
    there is no revenue or no conversion."""
    orders, revenue = pl.col("conversions"), pl.col("revenue_micros")
    both = facts.select("account_id", orders, revenue).drop_nulls()
    sums = both.group_by("account_id").agg(orders.sum(), revenue.sum())
    return sums.select("account_id", order_value=pl.when(orders > 0, revenue > 0).then(revenue / orders))
