"""How good predictions were: one definition of accuracy, for every model, account and segment.

What belongs here: measures of predicted rates against what happened, the noise floor that no predictor can beat, skill over
plain baselines, and the refusal of predictions that saw their own target. What does not: making predictions, deciding to
retrain.

Rates are ratios of sums and every measure weights an ad-day by the metric's exposure (`targets`): impressions for CTR, clicks
for CVR, spend for ROAS, the latter two as far as what followed them is known. The weighted absolute percentage error is then
the sum of absolute differences of counts over the sum of counts.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning.targets import TARGETS
from learning_assets.settings import Accuracy

Floats = NDArray[np.float64]

SMALLEST_RATE = 1e-6
"""Log loss takes predictions to lie this far from 0 and 1 at least: a click after a prediction of 0 would cost infinitely much."""

MEASURES = pl.Schema(
    {
        "ads": pl.Int64,
        "ad_days": pl.Int64,
        "impressions": pl.Int64,
        "actual": pl.Float64,
        "expected": pl.Float64,
        "share_known": pl.Float64,
        "accuracy": pl.Float64,
        "wape": pl.Float64,
        "noise_floor": pl.Float64,
        "dispersion": pl.Float64,
        "mae": pl.Float64,
        "mae_floor": pl.Float64,
        "rmse": pl.Float64,
        "r2": pl.Float64,
        "log_loss": pl.Float64,
        "normalized_entropy": pl.Float64,
        "calibration_ratio": pl.Float64,
        "calibration_se": pl.Float64,
        "calibration_error": pl.Float64,
        "skill": pl.Float64,
        "skill_low": pl.Float64,
        "skill_high": pl.Float64,
        "baseline": pl.String,
        "status": pl.String,
        "reason": pl.String,
    }
)
"""What `measure` adds to the group keys; a figure that is not known is NULL.

`actual`: sum of the events (counts; for ROAS revenue in orders, which knows no currency); `expected`: the same as predicted, of what can be known by now.
`share_known`: the share of the events that is known by the lag curve, 1 for CTR; `expected` over it is what is predicted in the end. `accuracy` = max(0, 1 −
`wape`). `noise_floor`: the `wape` of a perfect predictor; `mae_floor` its `mae`. `dispersion` φ: variance of daily counts
over Poisson variance, at least 1; NULL where no ad has two days, and the floors and `calibration_se` then take 1, the least it
can be. `mae`, `rmse` and `calibration_error` are in units of the rate. `r2`: 1 − squared error / variance of the rates.
`log_loss`: nats an impression (a click for CVR); `normalized_entropy`: it over the entropy of the group's mean rate.
`calibration_ratio`: actual / expected, with `calibration_se` the standard error of its logarithm, sqrt(φ / actual). `skill`:
1 − loss / loss of the better baseline, which `baseline` names (account or history), between its one-sided 99.5 % bounds.
`status`: measured, or insufficient_data with `reason`. Counts have all measures; ROAS has no log loss and no floor.
"""


def measure(
    comparisons: pl.DataFrame, by: Sequence[str], settings: Accuracy, clusters: Sequence[str] = ("account_id", "ad_id")
) -> pl.DataFrame:
    """Measure predictions against what happened, for each group.

    An ad-day counts if it has at least `settings.min_impressions` impressions, a prediction, known events and a positive
    exposure of its metric. The caller chooses the window by the rows it gives.

    Dispersion is estimated from each ad's days around the ad's own total, spread as the prediction spreads it, so that a
    model that misjudges an ad does not pass its error off as noise. Ads weigh by their clicks: with m clicks on k days, shares
    s, the sum of x² / s − m² is (k − 1) φ times the expected clicks on average, however few they are. The noise floor is the mean absolute deviation of Poisson
    (φ = 1) or negative binomial counts around the predictions scaled to the actual total (`mean_deviation`).

    Log loss and its ratios follow He et al. (ADKDD 2014). The loss of skill is log loss for CTR and CVR and spend-weighted
    squared error of the rate for ROAS, over the ad-days with a baseline; an ad without history has the account's mean as its
    history. The bounds of skill are those of a ratio of sums with errors clustered (Cameron & Miller, Journal of Human
    Resources 2015), Student's t with clusters − 1 degrees of freedom.

    Parameters
    ----------
    comparisons : one row per ad, date, model and metric: `date`, `account_id`, `ad_id`, `model`, `metric` (ctr, cvr or roas),
        `predicted`, `baseline_account` and `baseline_history` (rates; the baselines may be NULL), `impressions`, and the columns of
        the targets that occur (`targets.exposed`): events, exposure, and `share_known` but for ctr. Further columns may serve
        as groups.
    by : columns that make a group, at least one; `model` and `metric` must be among them unless the frame has one of each.
    settings : `min_impressions` and `bins` of equal weight for the calibration error.
    clusters : columns that make a unit of independent errors; the ad, or `("account_id",)` for groups over many accounts.

    Returns
    -------
    One row per group of `comparisons`, sorted by it: the columns `by`, then those of MEASURES.

    Raises
    ------
    ValueError : models or metrics would be mixed in a group; a metric is not known; a predicted rate is negative, not finite
        or (ctr, cvr) above 1; a count or amount is negative; clicks exceed impressions.
    """
    _refuse_mixtures(comparisons, by)
    keys = comparisons.select(by).unique().sort(by).with_row_index("group")
    rows = _rows(comparisons.join(keys, on=list(by), nulls_equal=True), settings)
    _refuse_impossible(rows, comparisons, keys)
    measures = keys
    for part in (_errors(rows), _calibration_error(rows, settings.bins), _skill(rows, clusters, settings)):
        measures = measures.join(part, on="group", how="left")
    measures = measures.with_columns(pl.col("ads", "ad_days", "impressions").fill_null(0))
    reason = (
        pl.when(pl.col("ad_days") == 0)
        .then(pl.lit(f"No ad-day has {settings.min_impressions} impressions, a prediction and a known result."))
        .when(pl.col("actual") == 0)
        .then(pl.format("{} ad-days without any {}: errors relative to it are not defined.", "ad_days", "numerator"))
    )
    return (
        measures.with_columns(
            reason=reason, status=pl.when(reason.is_null()).then(pl.lit("measured")).otherwise(pl.lit("insufficient_data"))
        )
        .sort("group")
        .select(*by, *(pl.col(name).cast(dtype) for name, dtype in MEASURES.items()))
    )


def mean_deviation(mean: Floats, dispersion: Floats) -> Floats:
    """Expected absolute difference between a count and its mean.

    For a Poisson count with mean λ it is `2 λ f(⌊λ⌋)` (De Moivre 1730), and for a negative binomial one with variance φ λ it is
    `2 (λ + ⌊λ⌋ (φ − 1)) f(⌊λ⌋)`, f being the probability mass (Diaconis & Zabell, Statistical Science 1991).

    Parameters
    ----------
    mean : expected counts λ, at least 0.
    dispersion : φ, variance over mean, at least 1; broadcast against `mean`.

    Returns
    -------
    Array of the broadcast shape, in counts.

    Raises
    ------
    ValueError : a mean below 0 or a dispersion below 1.
    """
    from scipy.special import gammaln, xlogy  # pyright: ignore[reportMissingTypeStubs]

    mean, dispersion = np.broadcast_arrays(mean, dispersion)
    if (mean < 0).any() or (dispersion < 1).any():
        raise ValueError("a mean deviation needs means of at least 0 and dispersions of at least 1")
    k, excess = np.floor(mean), dispersion - 1
    # Below this excess the negative binomial's size is so large that its logarithms cancel; there it is Poisson to 0.01 %.
    poisson = excess < 1e-4
    size = mean / np.where(poisson, 1.0, excess)
    with np.errstate(invalid="ignore"):
        spread = gammaln(k + size) - gammaln(size) - size * np.log(dispersion) + xlogy(k, excess / dispersion)
    log_mass = np.asarray(np.where(poisson, xlogy(k, mean) - mean, spread) - gammaln(k + 1), dtype=np.float64)
    return np.where(mean > 0, 2 * (mean + k * excess) * np.exp(log_mass), 0.0)


def refuse_leaks(predictions: pl.LazyFrame) -> None:
    """Refuse predictions that could have seen the day they predict.

    Parameters
    ----------
    predictions : rows with `date` (the target day) and `as_of` (the newest day of any fact behind the prediction).

    Raises
    ------
    ValueError : an `as_of` is not before its `date`, or is not known; the first such row is named.
    """
    leaks = predictions.filter((pl.col("as_of") >= pl.col("date")).fill_null(True)).collect()
    if leaks.height:
        row = leaks.row(0, named=True)
        name = ", ".join(f"{key} {row[key]}" for key in ("account_id", "ad_id", "model", "metric") if key in row)
        raise ValueError(
            f"{leaks.height} of {predictions.select(pl.len()).collect().item()} predictions may know their target day. First: {name}, "
            f"for {row['date']} from facts up to {row['as_of'] or 'an unknown day'}. Predict each day from facts of earlier days only"
        )


def _refuse_mixtures(comparisons: pl.DataFrame, by: Sequence[str]) -> None:
    for name in ("model", "metric"):
        if name not in by and comparisons[name].n_unique() > 1:
            raise ValueError(f"the comparisons hold several values of {name!r}; add it to `by`, they cannot be measured as one")
    unknown = set(comparisons["metric"].unique().to_list()) - set(TARGETS)
    if unknown:
        raise ValueError(f"metric {min(map(str, unknown))!r} is not one of {', '.join(TARGETS)}")


def _refuse_impossible(rows: pl.DataFrame, comparisons: pl.DataFrame, keys: pl.DataFrame) -> None:
    rates = ("predicted", "baseline_account", "baseline_history")
    highest = pl.when("counts").then(1.0).otherwise(float("inf"))
    checks = {name: ~pl.col(name).is_finite() | (pl.col(name) < 0) | (pl.col(name) > highest) for name in rates}
    checks["numerator"] = (pl.col("num") < 0) | ((pl.col("numerator") == "clicks") & (pl.col("num") > pl.col("den")))
    for name, check in checks.items():
        bad = rows.filter(check)
        if bad.height:
            row = bad.row(0, named=True)
            group = {"model": comparisons["model"][0], "metric": comparisons["metric"][0]} | keys.row(row["group"], named=True)
            raise ValueError(
                f"account {row['account_id']}, ad {row['ad_id']}, {row['date']}, model {group['model']}, {group['metric']}: "
                f"{name} is impossible (predicted {row['predicted']}, happened {row['num']:g} of {row['den']:g})"
            )


def _rows(comparisons: pl.DataFrame, settings: Accuracy) -> pl.DataFrame:
    """Ad-days that count, with their `group`, num, den, share, rate, expected (numerator), shape, counts and the name of the numerator.

    Always in one order, so that the same comparisons are added up to the same bits; ids are numbers in the order of their names, which sort and group
    faster. Nothing else is carried along: the rows are copied several times.
    """

    def fact(side: str) -> pl.Expr:
        columns = {name: getattr(target, side) for name, target in TARGETS.items()}
        return pl.coalesce(
            pl.when(pl.col("metric") == name).then(pl.col(column).cast(pl.Float64))
            for name, column in columns.items()
            if column in comparisons.columns
        )

    share = pl.when(pl.col("metric") != "ctr").then("share_known") if "share_known" in comparisons.columns else None
    named = {"ctr": "clicks", "cvr": "conversions", "roas": "revenue"}
    return (
        comparisons.lazy()
        .select(
            "group",
            *(pl.col(name).cast(pl.Enum(comparisons[name].unique().sort())) for name in ("account_id", "ad_id")),
            *("date", "predicted", "baseline_account", "baseline_history", "impressions"),
            num=fact("events"),
            den=fact("exposure"),
            share=pl.coalesce(share, pl.lit(1.0)),
            counts=pl.col("metric") != "roas",
            numerator=pl.col("metric").replace_strict(named, return_dtype=pl.Enum(named.values())),
        )
        .filter(
            pl.col("impressions") >= settings.min_impressions,
            pl.col("predicted").is_not_null(),
            pl.col("num").is_not_null(),
            pl.col("den") > 0,
        )
        .sort("group", "account_id", "ad_id", "date")
        .with_columns(
            rate=pl.col("num") / pl.col("den"),
            expected=pl.col("den") * pl.col("predicted"),
            # How the prediction spreads a total over days; a prediction of 0 spreads it evenly over the denominator.
            shape=pl.col("den") * pl.col("predicted").clip(lower_bound=SMALLEST_RATE),
        )
        .collect()
    )


def _errors(rows: pl.DataFrame) -> pl.DataFrame:
    """Sizes, errors, noise floors and calibration ratio by group."""
    ads = (
        rows.group_by("group", "account_id", "ad_id", maintain_order=True)
        .agg(
            pl.col("num", "den", "expected", "shape", "impressions").sum(),
            pl.col("counts", "numerator").first(),
            pl.len().alias("days"),
            whole=(pl.col("den") / pl.col("share")).sum(),
            spread=(pl.col("num") ** 2 / pl.col("shape")).sum(),
        )
        .with_columns(
            # Pearson's chi-square of the ad's days around its own total, and its degrees of freedom, times the ad's clicks. Unweighted, ads
            # with hardly a click, which cannot show how clicks cluster, would say that counts are Poisson.
            chi2=pl.col("spread") * pl.col("shape") - pl.col("num") ** 2,
            freedom=(pl.col("days").cast(pl.Float64) - 1) * pl.col("num"),
        )
    )
    groups = (
        ads.group_by("group", maintain_order=True)
        .agg(
            pl.len().alias("ads"),
            pl.col("days").sum().alias("ad_days"),
            pl.col("num", "den", "whole", "expected", "shape", "impressions", "chi2", "freedom").sum(),
            pl.col("counts", "numerator").first(),
        )
        .with_columns(
            mean=pl.col("num") / pl.col("den"),
            scale=pl.col("num") / pl.col("shape"),
            dispersion=pl.when(pl.col("freedom") > 0).then((pl.col("chi2") / pl.col("freedom")).clip(lower_bound=1.0)),
        )
    )
    rows = rows.join(groups.select("group", "mean", "scale", "dispersion"), on="group", maintain_order="left")
    deviation = mean_deviation((rows["shape"] * rows["scale"]).to_numpy(), rows["dispersion"].fill_null(1.0).to_numpy())
    sums = (
        rows.with_columns(pl.Series("deviation", deviation))
        .group_by("group", maintain_order=True)
        .agg(
            absolute=(pl.col("num") - pl.col("expected")).abs().sum(),
            squared=(pl.col("den") * (pl.col("rate") - pl.col("predicted")) ** 2).sum(),
            variation=(pl.col("den") * (pl.col("rate") - pl.col("mean")) ** 2).sum(),
            nats=_log_loss("predicted").sum(),
            deviation=pl.col("deviation").sum(),
        )
    )
    some, counts, den, mean = pl.col("num") > 0, pl.col("counts"), pl.col("den"), pl.col("mean")
    wape = pl.when(some).then(pl.col("absolute") / pl.col("num"))
    entropy = -(mean * mean.log() + (1 - mean) * (1 - mean).log())
    return groups.join(sums, on="group").select(
        "group",
        "ads",
        "ad_days",
        "impressions",
        "expected",
        "dispersion",
        "numerator",
        actual="num",
        share_known=den / pl.col("whole"),
        wape=wape,
        accuracy=(1 - wape).clip(lower_bound=0.0),
        noise_floor=pl.when(counts & some).then(pl.col("deviation") / pl.col("num")),
        mae=pl.col("absolute") / den,
        mae_floor=pl.when(counts).then(pl.col("deviation") / den),
        rmse=(pl.col("squared") / den).sqrt(),
        # Rates that differ by rounding only have no variance to explain.
        r2=pl.when(pl.col("variation") > 1e-12 * den * mean**2).then(1 - pl.col("squared") / pl.col("variation")),
        log_loss=pl.when(counts).then(pl.col("nats") / den),
        normalized_entropy=pl.when(counts, mean.is_between(0, 1, closed="none")).then(pl.col("nats") / den / entropy),
        calibration_ratio=pl.when(pl.col("expected") > 0).then(pl.col("num") / pl.col("expected")),
        calibration_se=pl.when(some, counts | pl.col("dispersion").is_not_null()).then(
            (pl.col("dispersion").fill_null(1.0) / pl.col("num")).sqrt()
        ),
    )


def _calibration_error(rows: pl.DataFrame, bins: int) -> pl.DataFrame:
    """Weighted mean over bins of equal weight of |mean rate − mean prediction|; equal predictions share a bin."""
    values = (
        rows.group_by("group", "predicted", maintain_order=True)
        .agg(pl.col("num", "den", "expected").sum())
        .sort("group", "predicted")
    )
    middle = pl.col("den").cum_sum().over("group") - pl.col("den") / 2
    return (
        values.with_columns(bin=(bins * middle / pl.col("den").sum().over("group")).floor())
        .group_by("group", "bin", maintain_order=True)
        .agg(pl.col("num", "den", "expected").sum())
        .group_by("group", maintain_order=True)
        .agg(calibration_error=(pl.col("num") - pl.col("expected")).abs().sum() / pl.col("den").sum())
    )


def _skill(rows: pl.DataFrame, clusters: Sequence[str], settings: Accuracy) -> pl.DataFrame:
    """Skill over the better baseline with its clustered bounds, by group."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    def loss(prediction: str) -> pl.Expr:
        squared = pl.col("den") * (pl.col("rate") - pl.col(prediction)) ** 2
        return pl.when("counts").then(_log_loss(prediction)).otherwise(squared).sum()

    units = (
        rows.filter(pl.col("baseline_account").is_not_null())
        .with_columns(pl.col("baseline_history").fill_null(pl.col("baseline_account")))
        .group_by("group", *clusters, maintain_order=True)
        .agg(model=loss("predicted"), account=loss("baseline_account"), history=loss("baseline_history"))
    )
    history_wins = pl.col("history").sum().over("group") < pl.col("account").sum().over("group")
    units = units.with_columns(
        base=pl.when(history_wins).then("history").otherwise("account"),
        baseline=pl.when(history_wins).then(pl.lit("history")).otherwise(pl.lit("account")),
    )
    ratio = pl.col("model").sum() / pl.col("base").sum()
    groups = (
        units.group_by("group", maintain_order=True)
        .agg(
            pl.col("baseline").first(),
            pl.len().alias("units"),
            total=pl.col("base").sum(),
            skill=1 - ratio,
            influence=((pl.col("model") - ratio * pl.col("base")) ** 2).sum(),
        )
        .filter(pl.col("total") > 0)
    )
    freedom = groups["units"].cast(pl.Float64).to_numpy() - 1
    critical = np.asarray(stdtrit(np.maximum(freedom, 1), settings.skill_confidence), dtype=np.float64)
    error = (pl.col("influence") * pl.col("units") / (pl.col("units") - 1)).sqrt() / pl.col("total")
    margin = pl.when(pl.col("units") > 1).then(pl.Series(critical) * error)
    return groups.select("group", "baseline", "skill", skill_low=pl.col("skill") - margin, skill_high=pl.col("skill") + margin)


def _log_loss(prediction: str) -> pl.Expr:
    """Log loss of each row, nats."""
    p = pl.col(prediction).clip(SMALLEST_RATE, 1 - SMALLEST_RATE)
    return -(pl.col("num") * p.log() + (pl.col("den") - pl.col("num")) * (1 - p).log())
