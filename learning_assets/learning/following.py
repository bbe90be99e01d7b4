"""What following the predictions would have saved, from stored spend only.

What belongs here: the figure and its interval. What does not: making predictions, moving money, and whether a model is right (`accuracy`).

The rule that would have been followed is one that a person can follow in the morning: take the day's spend of the ads that are predicted at least
`settings.below` under the mean prediction of their account, and give it to the account's other ads, to each in proportion to its spend. The rule sees
predictions only, and only such as were made before the day. What the moved money would have brought is what a unit of money brought on the
account's other ads *on that same day*, and what it did bring is what is given up:

    extra = Σ over days of (spend moved × results of the others / spend of the others − results given up)

Results are clicks, conversions or revenue, by the metric that was predicted. Given the spend, this is unbiased if results go with spend; it takes
no ratio of small counts but that of the many other ads. `gain` is extra over the account's results, and results that would have come anyway for
less would have cost spend / (1 + gain): the rest is what is saved, negative where following loses.

It is observational. An ad that is given more money may reach people who care less, so that the gain is more likely too high than too low, and a
delivery algorithm would have changed what it shows.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from learning_assets.settings import Following

RESULTS = {"ctr": "link_clicks", "cvr": "conversions", "roas": "revenue_micros"}
"""What money is spent for, by the metric that was predicted."""

SAVED = pl.Schema(
    {
        "accounts": pl.Int64,
        "days": pl.Int64,
        "ads": pl.Int64,
        "moved_ads": pl.Int64,
        "spend_micros": pl.Int64,
        "moved_micros": pl.Int64,
        "moved_share": pl.Float64,
        "gain": pl.Float64,
        "gain_low": pl.Float64,
        "gain_high": pl.Float64,
        "saved_share": pl.Float64,
        "saved_low": pl.Float64,
        "saved_high": pl.Float64,
        "saved_micros": pl.Int64,
        "saved_micros_low": pl.Int64,
        "saved_micros_high": pl.Int64,
        "currency": pl.String,
        "status": pl.String,
        "reason": pl.String,
    }
)
"""What `saved` adds to the group keys; what is not known is NULL, with the `reason`.

`accounts`, `days` (account-days), `ads`, `moved_ads` (ads of which spend would have been moved on some day), `spend_micros` and `moved_micros`: what the
figures rest on. `moved_share`: moved over all spend. `gain`: more results for the same spend, a fraction, below 0 where fewer. `saved_share`: spend that
the same results would not have needed, a fraction of it; `saved_micros` the same in money. Money is NULL over several currencies; fractions are then
means over accounts, weighted by impressions instead of by spend. `status`: measured, or insufficient_data.
"""


def saved(judged: pl.DataFrame, by: Sequence[str], settings: Following) -> pl.DataFrame:
    """What following each group's predictions would have saved.

    The interval takes ads as the units, within accounts that are what they are: an ad's influence is what its results differ from its group's rate,
    weighted as the money of its group was moved (linearisation of a ratio; Cochran, Sampling Techniques, 1977, §6). Each account has Student's t with as
    many degrees of freedom as the smaller of its two groups of ads has, less one; several accounts have those of Welch & Satterthwaite (1946).
    An account counts if `settings.min_ads` ads are in each group.

    Parameters
    ----------
    judged : one row per ad, day, model and metric: `date`, `as_of` (newest fact behind the prediction), `account_id`, `ad_id`, `metric`, `predicted`,
        `impressions`, `currency`, `spend_micros` and the results of the metrics that occur (RESULTS); spend and results NULL where they are not known.
    by : columns that make a group. Predictions of two models or metrics must not be in one; `account_id` or `currency` may be among them.
    settings : `below`, `min_ads`, `confidence_level`.

    Returns
    -------
    One row per group of `judged`, sorted: the columns `by`, then those of SAVED (`currency` once).

    Raises
    ------
    ValueError : a prediction was not made before its day.
    """
    late = judged.filter((pl.col("as_of") >= pl.col("date")).fill_null(True))
    if late.height:
        raise ValueError(f"{late.height} predictions were not made before their day; nobody could have followed them")
    keys = [name for name in by if name not in ("account_id", "currency")]
    account = [*keys, "account_id"]
    accounts = _accounts(_days(judged, account, settings), account, settings)
    groups = judged.select(by).unique().sort(by)
    within = accounts.with_columns(
        _money=pl.col("currency").n_unique().over(by) == 1 if by else pl.col("currency").n_unique() == 1
    )
    found = _together(within, list(by), settings)
    own = [name for name in SAVED if name not in by]
    return (
        groups.join(found, on=list(by), how="left", nulls_equal=True)
        .sort(by)
        .with_columns(
            pl.col("status").fill_null("insufficient_data"),
            # Groups that are not there after spend and results were asked for.
            reason=pl.when(pl.col("status").is_null())
            .then(pl.lit("Spend and results are known of none of the ads that were predicted."))
            .otherwise("reason"),
        )
        .select(*by, *(pl.col(name).cast(SAVED[name]) for name in own))
    )


def _days(judged: pl.DataFrame, account: list[str], settings: Following) -> pl.DataFrame:
    """Ad-days with known spend and results, whether they are given up, and their account's sums of the day."""
    results = pl.coalesce(
        pl.when(pl.col("metric") == metric).then(pl.col(column).cast(pl.Float64))
        for metric, column in RESULTS.items()
        if column in judged.columns
    )
    day = [*account, "date"]
    rows = judged.with_columns(
        # The mean is that of all predictions of the morning, also of ads that were then not shown.
        low=pl.col("predicted") < (1 - settings.below) * pl.col("predicted").mean().over(day),
        results=results,
        spend=pl.col("spend_micros").cast(pl.Float64),
    ).filter(pl.col("spend") > 0, pl.col("results").is_not_null(), pl.col("low").is_not_null())

    def sums(name: str, low: bool) -> pl.Expr:
        return pl.col(name).filter(pl.col("low") == low).sum().over(day)

    rows = rows.with_columns(given=sums("spend", True), taken=sums("spend", False), bought=sums("results", False))
    # Where no other ad was shown there is nowhere to move the money to.
    can = (pl.col("given") > 0) & (pl.col("taken") > 0)
    return rows.with_columns(
        given=pl.when(can).then("given").otherwise(0.0),
        moves=can & pl.col("low"),
        rate=pl.when(can).then(pl.col("bought") / pl.col("taken")),
        times=pl.when(can).then(pl.col("given") / pl.col("taken")).otherwise(0.0),
    )


def _accounts(rows: pl.DataFrame, account: list[str], settings: Following) -> pl.DataFrame:
    """Each account's gain with its variance and degrees of freedom, NULL where it has too few ads of either kind."""
    change = pl.col("rate") * pl.col("spend") - pl.col("results")
    ads = (
        rows.with_columns(
            extra=pl.when("moves").then(change).otherwise(0.0),
            moved=pl.when("moves").then("spend").otherwise(0.0),
            # An ad that takes money on differs from the rate of its group by so much on each unit that it is given.
            # On a day on which nothing moves `rate` is NULL and `times` is 0.
            noise=pl.when("moves").then(change).otherwise(-(change * pl.col("times")).fill_null(0.0)),
            stays=~pl.col("moves"),
        )
        .group_by(*account, "ad_id")
        .agg(
            pl.col("extra", "moved", "noise", "spend", "results", "impressions").sum(),
            pl.col("stays").any(),
            currency=pl.col("currency").first(),
            currencies=pl.col("currency").n_unique(),
        )
    )
    whole = [pl.col(name).sum().over(account).alias(f"_{name}") for name in ("extra", "moved", "spend", "results")]
    ads = ads.with_columns(whole).with_columns(
        gain=pl.when(pl.col("_results") > 0).then(pl.col("_extra") / pl.col("_results")),
        centred=pl.col("noise")
        - pl.when(pl.col("_moved") > 0).then(pl.col("moved") * pl.col("_extra") / pl.col("_moved")).otherwise(0.0),
        own=pl.col("results") - pl.col("spend") * pl.col("_results") / pl.col("_spend"),
    )
    influence = (pl.col("centred") - pl.col("gain") * pl.col("own")) / pl.col("_results")
    days = rows.group_by(account).agg(days=pl.col("date").n_unique())
    found = ads.group_by(account).agg(
        pl.len().alias("ads"),
        pl.col("currency").first(),
        pl.col("gain").first(),
        pl.col("spend", "moved", "impressions", "results").sum(),
        moved_ads=(pl.col("moved") > 0).sum(),
        kept_ads=pl.col("stays").sum(),
        variance=(influence**2).sum() * pl.len() / (pl.len() - 1),
        single=pl.col("currencies").max() == 1,
    )
    enough = pl.min_horizontal("moved_ads", "kept_ads") >= max(settings.min_ads, 2)
    sound = enough & pl.col("gain").is_finite() & (pl.col("gain") > -1)
    return found.join(days, on=account).with_columns(
        counts=sound.fill_null(value=False),
        freedom=(pl.min_horizontal("moved_ads", "kept_ads").cast(pl.Float64) - 1),
        currency=pl.when("single").then("currency"),
    )


def _together(accounts: pl.DataFrame, by: list[str], settings: Following) -> pl.DataFrame:
    """Accounts put together: by spend where they share a currency, else by impressions."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    counts = pl.col("counts")
    weight = pl.when("_money").then("spend").otherwise(pl.col("impressions").cast(pl.Float64))
    share = pl.when("counts").then(weight) / weight.filter(counts).sum().over(by)
    rows = accounts.with_columns(share=share)
    part = (pl.col("share") ** 2 * pl.col("variance")).filter(counts)
    found = rows.group_by(by).agg(
        accounts=counts.sum(),
        days=pl.col("days").filter(counts).sum(),
        ads=pl.col("ads").filter(counts).sum(),
        moved_ads=pl.col("moved_ads").filter(counts).sum(),
        all_moved=pl.col("moved_ads").sum(),
        all_accounts=pl.len(),
        spend=pl.col("spend").filter(counts).sum(),
        moved=pl.col("moved").filter(counts).sum(),
        moved_share=(pl.col("share") * pl.col("moved") / pl.col("spend")).filter(counts).sum(),
        gain=(pl.col("share") * pl.col("gain")).filter(counts).sum(),
        variance=part.sum(),
        freedom=part.sum() ** 2 / (part**2 / pl.col("freedom").filter(counts)).sum(),
        money=pl.col("_money").first(),
        **({} if "currency" in by else {"currency": pl.col("currency").first()}),
    )
    some = pl.col("accounts") > 0
    freedom = found["freedom"].fill_nan(None).fill_null(1.0).to_numpy()
    side = (1 + settings.confidence_level) / 2
    critical = pl.Series(np.asarray(stdtrit(np.maximum(freedom, 1.0), side), dtype=np.float64))
    margin = critical * pl.col("variance").sqrt()
    found = found.with_columns(
        *(pl.when(some).then(name).alias(name) for name in ("gain", "moved_share")),
        gain_low=pl.when(some).then((pl.col("gain") - margin).clip(lower_bound=-0.999)),
        gain_high=pl.when(some).then(pl.col("gain") + margin),
    )

    def of(gain: str) -> pl.Expr:
        return pl.col(gain) / (1 + pl.col(gain))

    reason = (
        pl.when(some)
        .then(None)
        .when(pl.col("all_moved") == 0)
        .then(
            pl.lit(
                f"No ad was predicted {100 * settings.below:g} % or more below the mean of its account, so that nothing would have been moved."
            )
        )
        .otherwise(
            pl.lit(
                f"No account has {settings.min_ads} ads that would have given money and {settings.min_ads} that would have been given it."
            )
        )
    )
    money = some & pl.col("money")
    return found.with_columns(
        spend_micros=pl.when(money).then(pl.col("spend").round().cast(pl.Int64)),
        moved_micros=pl.when(money).then(pl.col("moved").round().cast(pl.Int64)),
        **{f"saved_{name}": of(gain) for name, gain in (("share", "gain"), ("low", "gain_low"), ("high", "gain_high"))},
        **{
            f"saved_micros{name}": pl.when(money).then((of(f"gain{name}") * pl.col("spend")).round().cast(pl.Int64))
            for name in ("", "_low", "_high")
        },
        **({} if "currency" in by else {"currency": pl.when("money").then("currency")}),
        reason=reason,
        status=pl.when(some).then(pl.lit("measured")).otherwise(pl.lit("insufficient_data")),
    )
