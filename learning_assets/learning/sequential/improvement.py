"""What promotions brought together, said honestly.

What belongs here: products of promoted lifts. What does not: single lifts (`evidence`).
"""

import polars as pl

IMPROVEMENT = pl.Schema(
    {
        "account_id": pl.String,
        "promotions": pl.Int64,
        "improvement": pl.Float64,
        "improvement_low": pl.Float64,
        "improvement_high": pl.Float64,
        "plain_product": pl.Float64,
    }
)
"""One row per account with a promotion: the factor by which promoted arms beat what they were promoted over, multiplied over promotions. `improvement`: of the
lifts after shrinkage for the winner's curse, with its 95 % interval. `plain_product`: of the lifts as they were observed when they won, which overstates:
an arm wins when chance has helped it."""


def cumulative(promotions: pl.DataFrame) -> pl.DataFrame:
    """Multiply the lifts of an account's promotions.

    Parameters
    ----------
    promotions : one row per promotion in force: `account_id`, `lift`, `shrunk_lift`, `shrunk_low`, `shrunk_high` (log rate ratios at the promotion, the ends
        those of a 95 % interval).

    Returns
    -------
    Frame with schema IMPROVEMENT, sorted. Promotions are of different experiments, so their errors add up as squares. `plain_product` is NULL where a lift was
    beyond the grid.
    """
    half = ((pl.col("shrunk_high") - pl.col("shrunk_low")) / 2).pow(2).sum().sqrt()
    total = pl.col("shrunk_lift").sum()
    return (
        promotions.group_by("account_id")
        .agg(
            promotions=pl.len().cast(pl.Int64),
            improvement=total.exp(),
            improvement_low=(total - half).exp(),
            improvement_high=(total + half).exp(),
            plain_product=pl.when(pl.col("lift").is_not_null().all()).then(pl.col("lift").sum().exp()),
        )
        .sort("account_id")
        .select(IMPROVEMENT.names())
    )
