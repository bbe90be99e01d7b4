"""How conversions become known after their click: the lag curve, learned from what was known at each age.

What belongs here: the estimate of the share that is known at an age. What does not: the versions of the facts that it is learned from
(`store.facts`), and what is corrected by it.

The development factor from age a to a + 1 is the ratio of sums over the days that have reached a + 1, and the share known at an age is one
over the product of the later factors: the chain ladder (Mack, ASTIN Bulletin 23:2, 1993). It uses days that are not final yet, as far as
they have come. Platforms retract conversions too, so a share may exceed 1.
"""

import polars as pl

LAGS = pl.Schema(
    {
        "account_id": pl.String,
        "age_days": pl.Int64,
        "days": pl.Int64,
        "conversions": pl.Int64,
        "factor": pl.Float64,
        "share_known": pl.Float64,
    }
)
"""One row per account and age. `days`: days that have been seen at this age and at the next; `conversions`: what was known of them at this
age; `factor`: what was known of them at the next age, over that; `share_known`: what is known at this age of what will be in the end, a
fraction. NULL where no day says."""


def curve(by_age: pl.DataFrame, final_age: int) -> pl.DataFrame:
    """The lag curve of each account.

    Parameters
    ----------
    by_age : account_id, date, age_days (whole days from 0), conversions (count known at that age); unique by the first three.
    final_age : age in days from which nothing changes any more.

    Returns
    -------
    Frame with schema LAGS, ages 0 to `final_age`, sorted. The share of `final_age` is 1; a share is NULL from which on, towards younger
    ages, a factor is not known.

    Raises
    ------
    ValueError : negative conversions or a negative age.
    """
    wrong = by_age.filter((pl.col("conversions") < 0) | (pl.col("age_days") < 0))
    if wrong.height:
        row = wrong.row(0, named=True)
        raise ValueError(
            f"account {row['account_id']}, {row['date']}: {row['conversions']} conversions at an age of {row['age_days']} days; "
            "neither can be below 0"
        )
    key = ["account_id", "date"]
    following = by_age.select(*key, pl.col("age_days") - 1, later="conversions")
    steps = (
        by_age.join(following, on=[*key, "age_days"])
        .group_by("account_id", "age_days")
        .agg(days=pl.len().cast(pl.Int64), conversions=pl.col("conversions").sum(), later=pl.col("later").sum())
    )
    ages = pl.DataFrame({"age_days": range(final_age + 1)}, schema={"age_days": pl.Int64})
    grid = by_age.select("account_id").unique().join(ages, how="cross").join(steps, on=["account_id", "age_days"], how="left")
    last = pl.col("age_days") == final_age
    factor = pl.when(last).then(1.0).when(pl.col("conversions") > 0).then(pl.col("later") / pl.col("conversions"))
    return (
        grid.sort("account_id", "age_days")
        .with_columns(factor=factor)
        .with_columns(
            # A product from the final age down that ends at the first unknown factor.
            onward=pl.when(pl.col("factor").is_null().cum_sum(reverse=True).over("account_id") == 0).then(
                pl.col("factor").cum_prod(reverse=True).over("account_id")
            )
        )
        .select(
            "account_id",
            "age_days",
            pl.col("days").fill_null(0),
            pl.col("conversions").fill_null(0),
            pl.when(~last).then("factor").alias("factor"),
            pl.when(pl.col("onward") > 0).then(1 / pl.col("onward")).alias("share_known"),
        )
        .cast(dict(LAGS))  # pyright: ignore[reportArgumentType]
    )
