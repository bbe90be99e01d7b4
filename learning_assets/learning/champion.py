"""Whether a newly trained model replaces the one in force.

What belongs here: the comparison of predictions on days that no model saw, and its verdict. What does not: training
(`ctr_model`), when to train (`triggers`), and the pointer to the champion (the registry).
"""

from dataclasses import dataclass
from math import log, log1p, nan, sqrt
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.settings import Models

Floats = NDArray[np.float64]
Winner = Literal["challenger", "champion", "none"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The challenger against one opponent on the hold-out.

    `difference`: log loss of the opponent less that of the challenger, nats per impression; above 0 the challenger is better.
    `standard_error`: of the difference, clustered by ad. `lower_bound`: one-sided, at the gate's confidence.
    `log_loss`, `calibration` (clicks over expected clicks), `mae` and `r2` are the opponent's, as for `Verdict`.
    """

    opponent: str
    log_loss: float
    calibration: float
    difference: float
    standard_error: float
    lower_bound: float
    mae: float
    r2: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who is in force from now on, and on which figures that rests.

    `n_ads`: ads with impressions in the hold-out. `log_loss` (nats per impression) and `calibration` (clicks over expected
    clicks) are the challenger's. They and the comparisons are None where there was nothing to compare, as the reason says.
    `mae` (mean absolute error of the rate, weighted by impressions) and `r2` (1 − squared error / variance of the rates of ad-days, weighted
    likewise; None where these do not vary) are the challenger's too. They are for people; the verdict does not rest on them.
    """

    winner: Winner
    reason: str
    n_ads: int
    impressions: int
    clicks: int
    log_loss: float | None = None
    calibration: float | None = None
    against_champion: Comparison | None = None
    against_baseline: Comparison | None = None
    mae: float | None = None
    r2: float | None = None

    @property
    def difference(self) -> float | None:
        """Log loss gained on the champion, or on the baseline where there is none; nats per impression."""
        comparison = self.against_champion or self.against_baseline
        return comparison.difference if comparison else None

    @property
    def lower_bound(self) -> float | None:
        """Lower bound of `difference`."""
        comparison = self.against_champion or self.against_baseline
        return comparison.lower_bound if comparison else None


def contest(holdout: pl.DataFrame, champion: str | None, challenger: str, baseline: str, settings: Models) -> Verdict:
    """Compare predictions on later days that neither model saw, and say who is in force from now on.

    The challenger wins if the lower bound of the paired difference in log loss is above 0 against the champion and against the
    baseline, and its calibration is not worse than the champion's by more than `settings.max_calibration_loss`. Without a
    champion the baseline decides alone. Whatever cannot be decided (ties, unknown predictions, too few ads, no clicks) leaves
    the champion in force.

    The ad is the unit: differences are summed per ad, and the mean per impression is a ratio of sums whose error is clustered
    by ad, d = Σ d_i / Σ n_i, se² = m / (m − 1) Σ (d_i − d n_i)² / (Σ n_i)², with Student's t on m − 1 degrees of freedom
    (Cochran, Sampling Techniques, 1977, §6; Diebold & Mariano, J. Business & Economic Statistics 1995, for the paired loss).

    Parameters
    ----------
    holdout : one row per ad-day with `account_id`, `ad_id`, `link_clicks`, `impressions` and the predicted rates, whose columns
        the next three name. All of it must be dated after the last training day of both models.
    champion, challenger, baseline : columns of predicted CTR, inside 0 to 1; NULL or NaN where a model knows nothing.
        `champion` is None where there is none. The baseline is the account's empirical-Bayes mean (`baselines.history`).
    settings : `gate_confidence`, `max_calibration_loss`, `min_ads`.

    Raises
    ------
    ValueError : a missing column, clicks that are unknown or outside 0 to impressions, or a prediction outside (0, 1);
        the message names the row.
    """
    models = [name for name in (champion, challenger, baseline) if name is not None]
    rows = _checked(holdout, models)
    stay: Winner = "none" if champion is None else "champion"
    kept = "no model is in force" if champion is None else "the champion stays"
    n_ads = rows.select("account_id", "ad_id").n_unique()
    clicks, impressions = int(rows["link_clicks"].sum()), int(rows["impressions"].sum())

    def keep(why: str) -> Verdict:
        return Verdict(stay, f"{why}; {kept}.", n_ads, impressions, clicks)

    needed = max(settings.min_ads, 2)
    if n_ads < needed:
        return keep(f"The hold-out has {n_ads} ads with impressions, {needed} are needed")
    if clicks == 0:
        return keep("Nobody clicked in the hold-out, so that nothing can be compared")
    for name in models:
        unknown = int(rows[name].is_nan().sum())
        if unknown:
            return keep(f"{name} has no prediction for {unknown} of {rows.height} rows of the hold-out")

    against_baseline = _compare(rows, challenger, baseline, settings.gate_confidence)
    against_champion = None if champion is None else _compare(rows, challenger, champion, settings.gate_confidence)
    calibration = _calibration(rows, challenger)
    gate = f"{settings.gate_confidence:.1%} bound, {n_ads} ads"

    def verdict(winner: Winner, reason: str) -> Verdict:
        return Verdict(
            winner,
            reason,
            n_ads,
            impressions,
            clicks,
            _log_loss(rows, challenger),
            calibration,
            against_champion,
            against_baseline,
            *_errors(rows, challenger),
        )

    for comparison in filter(None, (against_champion, against_baseline)):
        if not comparison.lower_bound > 0:
            return verdict(
                stay,
                f"The challenger is not surely better than {comparison.opponent}: it gains {comparison.difference:.2e} nats an "
                f"impression, and at least {comparison.lower_bound:.2e} ({gate}); {kept}.",
            )
    tolerated = log1p(settings.max_calibration_loss)
    if against_champion and not _off(calibration) - _off(against_champion.calibration) <= tolerated:
        return verdict(
            stay,
            f"The challenger's clicks are {calibration:.3f} times what it expected, the champion's "
            f"{against_champion.calibration:.3f}: worse by more than {settings.max_calibration_loss:.0%}; {kept}.",
        )
    won = " and ".join(
        f"{comparison.opponent} by at least {comparison.lower_bound:.2e}"
        for comparison in filter(None, (against_champion, against_baseline))
    )
    return verdict("challenger", f"The challenger beats {won} nats an impression ({gate}).")


def _checked(holdout: pl.DataFrame, models: list[str]) -> pl.DataFrame:
    """Rows with impressions; predictions as floats, NaN where unknown."""
    missing = sorted({"account_id", "ad_id", "link_clicks", "impressions", *models} - set(holdout.columns))
    if missing:
        raise ValueError(f"hold-out: no column {', '.join(map(repr, missing))}; it has {', '.join(holdout.columns)}")
    rows = holdout.with_row_index("row").with_columns(pl.col(models).cast(pl.Float64).fill_null(nan))
    sound = pl.col("link_clicks").is_between(0, pl.col("impressions")).fill_null(False)
    wrong = rows.filter(~sound)
    if wrong.height:
        at = wrong.row(0, named=True)
        raise ValueError(
            f"hold-out row {at['row']}, ad {at['ad_id']!r}: {at['link_clicks']} link_clicks of {at['impressions']} "
            "impressions; clicks lie between 0 and impressions, and rows with unknown counts are to be left out"
        )
    for name in models:
        wrong = rows.filter(pl.col(name).is_not_nan() & ~pl.col(name).is_between(0, 1, closed="none"))
        if wrong.height:
            at = wrong.row(0, named=True)
            raise ValueError(
                f"hold-out row {at['row']}, ad {at['ad_id']!r}: {name} predicts {at[name]}; a CTR lies between 0 and 1, both "
                "excluded. Leave it NULL where the model knows nothing"
            )
    return rows.filter(pl.col("impressions") > 0)


def _counts(rows: pl.DataFrame) -> tuple[Floats, Floats]:
    return rows["link_clicks"].to_numpy().astype(np.float64), rows["impressions"].to_numpy().astype(np.float64)


def _log_loss(rows: pl.DataFrame, model: str) -> float:
    """Mean log loss per impression, nats."""
    clicks, seen = _counts(rows)
    rate = rows[model].to_numpy()
    return float(-(clicks * np.log(rate) + (seen - clicks) * np.log1p(-rate)).sum() / seen.sum())


def _calibration(rows: pl.DataFrame, model: str) -> float:
    """Clicks over expected clicks."""
    clicks, seen = _counts(rows)
    return float(clicks.sum()) / float((seen * rows[model].to_numpy()).sum())


def _errors(rows: pl.DataFrame, model: str) -> tuple[float, float | None]:
    """Mean absolute error and R² of the rates of ad-days, both weighted by impressions."""
    clicks, seen = _counts(rows)
    predicted, mean = rows[model].to_numpy(), clicks.sum() / seen.sum()
    variation = float((seen * (clicks / seen - mean) ** 2).sum())
    squared = float((seen * (clicks / seen - predicted) ** 2).sum())
    # Rates that differ by rounding only have no variance to explain.
    r2 = 1 - squared / variation if variation > 1e-12 * float(seen.sum()) * mean**2 else None
    return float(np.abs(clicks - seen * predicted).sum() / seen.sum()), r2


def _off(calibration: float) -> float:
    """Distance of a calibration ratio from 1 on the log scale."""
    return abs(log(calibration))


def _compare(rows: pl.DataFrame, challenger: str, opponent: str, confidence: float) -> Comparison:
    """Paired difference in log loss with its error clustered by ad."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    clicks, seen = _counts(rows)
    ours, theirs = rows[challenger].to_numpy(), rows[opponent].to_numpy()
    # From log ratios and not from two losses, so that equal predictions differ by exactly 0.
    gain = clicks * (np.log(ours) - np.log(theirs)) + (seen - clicks) * (np.log1p(-ours) - np.log1p(-theirs))
    ads = (
        rows.select("account_id", "ad_id", "impressions", gain=gain)
        .group_by("account_id", "ad_id")
        .agg(pl.all().sum())
        .sort("account_id", "ad_id")
    )
    per_ad, seen_per_ad = ads["gain"].to_numpy(), ads["impressions"].to_numpy().astype(np.float64)
    total = float(seen_per_ad.sum())
    difference = float(per_ad.sum()) / total
    spread = float(((per_ad - difference * seen_per_ad) ** 2).sum())
    standard_error = sqrt(ads.height / (ads.height - 1) * spread) / total
    mae, r2 = _errors(rows, opponent)
    return Comparison(
        opponent=opponent,
        log_loss=_log_loss(rows, opponent),
        calibration=_calibration(rows, opponent),
        difference=difference,
        standard_error=standard_error,
        lower_bound=difference - float(stdtrit(ads.height - 1, confidence)) * standard_error,
        mae=mae,
        r2=r2,
    )
