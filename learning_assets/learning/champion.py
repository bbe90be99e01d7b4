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

from learning_assets.learning.targets import CTR, Target
from learning_assets.settings import Models

Floats = NDArray[np.float64]
Winner = Literal["challenger", "champion", "none"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The challenger against one opponent on the hold-out.

    `difference`: log loss of the opponent less that of the challenger, nats per unit of exposure (an impression, for CTR); above 0 the
    challenger is better.
    `standard_error`: of the difference, clustered by ad. `lower_bound`: one-sided, at the gate's confidence.
    `log_loss`, `calibration` (events over expected events), `mae` and `r2` are the opponent's, as for `Verdict`.
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

    `n_ads`: ads with exposure in the hold-out; `exposure` and `events` are those of the target. `log_loss` (nats per unit of exposure) and
    `calibration` (events over expected events) are the challenger's. They and the comparisons are None where there was nothing to
    compare, as the reason says. `mae` (mean absolute error of the rate, weighted by exposure) and `r2` (1 − squared error / variance of
    the rates of ad-days, weighted likewise; None where these do not vary) are the challenger's too. They are for people; the verdict
    does not rest on them.
    """

    winner: Winner
    reason: str
    n_ads: int
    exposure: float
    events: float
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


def contest(
    holdout: pl.DataFrame, champion: str | None, challenger: str, baseline: str, settings: Models, target: Target = CTR
) -> Verdict:
    """Compare predictions on later days that neither model saw, and say who is in force from now on.

    The challenger wins if the lower bound of the paired difference in log loss is above 0 against the champion and against the
    baseline, and its calibration ratio is not farther from 1 than the champion's by surely more than
    `settings.max_calibration_loss`: at the same confidence, since the clicks that both ratios share are uncertain. As a point that
    rule would refuse, by chance, models that the log loss, which pays for calibration too, has shown to be better. Without a
    champion the baseline decides alone. Whatever cannot be decided (ties, unknown predictions, too few ads, no clicks) leaves the
    champion in force.

    The ad is the unit: differences are summed per ad, and the mean per impression is a ratio of sums whose error is clustered
    by ad, d = Σ d_i / Σ n_i, se² = m / (m − 1) Σ (d_i − d n_i)² / (Σ n_i)², with Student's t on m − 1 degrees of freedom
    (Cochran, Sampling Techniques, 1977, §6; Diebold & Mariano, J. Business & Economic Statistics 1995, for the paired loss).

    Parameters
    ----------
    holdout : one row per ad-day with `account_id`, `ad_id`, the target's columns and the predicted rates, whose columns
        the next three name. All of it must be dated after the last training day of both models.
    champion, challenger, baseline : columns of predicted rates, above 0 and at most the target's highest; NULL or NaN where a
        model knows nothing. `champion` is None where there is none. The baseline is the account's empirical-Bayes mean
        (`baselines.history`).
    settings : `gate_confidence`, `max_calibration_loss`, `min_ads`.

    Raises
    ------
    ValueError : a missing column, clicks that are unknown or outside 0 to impressions, or a prediction outside (0, 1);
        the message names the row.
    """
    models = [name for name in (champion, challenger, baseline) if name is not None]
    rows = _checked(holdout, models, target)
    stay: Winner = "none" if champion is None else "champion"
    kept = "no model is in force" if champion is None else "the champion stays"
    n_ads = rows.select("account_id", "ad_id").n_unique()
    events, exposure = float(rows["events"].sum()), float(rows["exposure"].sum())

    def keep(why: str) -> Verdict:
        return Verdict(stay, f"{why}; {kept}.", n_ads, exposure, events)

    needed = max(settings.min_ads, 2)
    if n_ads < needed:
        return keep(f"The hold-out has {n_ads} ads with {target.exposure.replace('_', ' ')}, {needed} are needed")
    if events == 0:
        nothing = "Nobody clicked" if target is CTR else f"There are no {target.events.replace('_', ' ')}"
        return keep(f"{nothing} in the hold-out, so that nothing can be compared")
    for name in models:
        unknown = int(rows[name].is_nan().sum())
        if unknown:
            return keep(f"{name} has no prediction for {unknown} of {rows.height} rows of the hold-out")

    against_baseline = _compare(rows, challenger, baseline, settings.gate_confidence, target)
    against_champion = None if champion is None else _compare(rows, challenger, champion, settings.gate_confidence, target)
    calibration = _calibration(rows, challenger)
    told = "clicks" if target is CTR else target.events.replace("_", " ")
    gate = f"{settings.gate_confidence:.1%} bound, {n_ads} ads"
    unit = "an impression" if target is CTR else f"a unit of {target.exposure.replace('_', ' ')}"

    def verdict(winner: Winner, reason: str) -> Verdict:
        return Verdict(
            winner,
            reason,
            n_ads,
            exposure,
            events,
            log_loss(*_counts(rows), rows[challenger].to_numpy(), target),
            calibration,
            against_champion,
            against_baseline,
            *_errors(rows, challenger),
        )

    for comparison in filter(None, (against_champion, against_baseline)):
        if not comparison.lower_bound > 0:
            return verdict(
                stay,
                f"The challenger is not surely better than {comparison.opponent}: it gains {comparison.difference:.2e} nats {unit}, "
                f"and at least {comparison.lower_bound:.2e} ({gate}); {kept}.",
            )
    if against_champion:
        surely = _calibration_lost(rows, challenger, against_champion.opponent, settings.gate_confidence)
        if not surely <= log1p(settings.max_calibration_loss):
            return verdict(
                stay,
                f"The challenger's {told} are {calibration:.3f} times what it expected, the champion's "
                f"{against_champion.calibration:.3f}: surely worse by more than {settings.max_calibration_loss:.0%}; {kept}.",
            )
    won = " and ".join(
        f"{comparison.opponent} by at least {comparison.lower_bound:.2e}"
        for comparison in filter(None, (against_champion, against_baseline))
    )
    return verdict("challenger", f"The challenger beats {won} nats {unit} ({gate}).")


def _checked(holdout: pl.DataFrame, models: list[str], target: Target) -> pl.DataFrame:
    """Rows with exposure, their counts as `events` and `exposure`; predictions as floats, NaN where unknown."""
    missing = sorted({"account_id", "ad_id", target.events, target.exposure, *models} - set(holdout.columns))
    if missing:
        raise ValueError(f"hold-out: no column {', '.join(map(repr, missing))}; it has {', '.join(holdout.columns)}")
    rows = holdout.with_row_index("row").with_columns(
        pl.col(models).cast(pl.Float64).fill_null(nan),
        events=pl.col(target.events).cast(pl.Float64),
        exposure=pl.col(target.exposure).cast(pl.Float64),
    )
    sound = pl.col("events").is_between(0, pl.col("exposure") if target.binomial else float("inf")) & (pl.col("exposure") >= 0)
    wrong = rows.filter(~sound.fill_null(False))
    if wrong.height:
        at = wrong.row(0, named=True)
        rule = f"clicks lie between 0 and {target.exposure}" if target.binomial else "neither lies below 0"
        raise ValueError(
            f"hold-out row {at['row']}, ad {at['ad_id']!r}: {at[target.events]} {target.events} of {at[target.exposure]} "
            f"{target.exposure}; {rule}, and rows with unknown counts are to be left out"
        )
    closed = "right" if target.highest > 1 or not target.binomial else "none"
    bounds = f"between 0 and {target.highest:g}, both excluded" if target.binomial else f"above 0, up to {target.highest:g}"
    for name in models:
        wrong = rows.filter(pl.col(name).is_not_nan() & ~pl.col(name).is_between(0, target.highest, closed=closed))
        if wrong.height:
            at = wrong.row(0, named=True)
            raise ValueError(
                f"hold-out row {at['row']}, ad {at['ad_id']!r}: {name} predicts {at[name]}; a {target.name.upper()} lies {bounds}. "
                "Leave it NULL where the model knows nothing"
            )
    return rows.filter(pl.col("exposure") > 0)


def _counts(rows: pl.DataFrame) -> tuple[Floats, Floats]:
    return rows["events"].to_numpy(), rows["exposure"].to_numpy()


def log_loss(events: Floats, exposure: Floats, rate: Floats, target: Target) -> float:
    """Mean log loss of predicted rates per unit of exposure, nats; of a Poisson distribution up to what no prediction changes.

    All of shape (n,); rates above 0 and, for counts, below 1.
    """
    misses = (exposure - events) * np.log1p(-rate) if target.binomial else -exposure * rate
    return float(-(events * np.log(rate) + misses).sum() / exposure.sum())


def _calibration(rows: pl.DataFrame, model: str) -> float:
    """Events over expected events."""
    events, exposure = _counts(rows)
    return float(events.sum()) / float((exposure * rows[model].to_numpy()).sum())


def _calibration_lost(rows: pl.DataFrame, challenger: str, opponent: str, confidence: float) -> float:
    """How much farther than the opponent's the challenger's calibration ratio surely is from 1, on the log scale.

    Both ratios have the same events, whose number is uncertain and moves them together: by up to t standard errors of the log of the events,
    clustered by ad. Between these ends |log ours − s| − |log theirs − s| is monotone or constant, so that its least value is at one of them.
    """
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    events, exposure = _counts(rows)
    ours, theirs = _calibration(rows, challenger), _calibration(rows, opponent)
    surplus = events - ours * exposure * rows[challenger].to_numpy()
    key = ["account_id", "ad_id"]
    per_ad = rows.select(*key, surplus=surplus).group_by(key).agg(pl.col("surplus").sum()).sort(key)
    error = sqrt(per_ad.height / (per_ad.height - 1) * float((per_ad["surplus"].to_numpy() ** 2).sum())) / float(events.sum())
    width = float(stdtrit(per_ad.height - 1, confidence)) * error
    return min(abs(log(ours) - moved) - abs(log(theirs) - moved) for moved in (-width, width))


def _errors(rows: pl.DataFrame, model: str) -> tuple[float, float | None]:
    """Mean absolute error and R² of the rates of ad-days, both weighted by exposure."""
    events, exposure = _counts(rows)
    predicted, mean = rows[model].to_numpy(), events.sum() / exposure.sum()
    variation = float((exposure * (events / exposure - mean) ** 2).sum())
    squared = float((exposure * (events / exposure - predicted) ** 2).sum())
    # Rates that differ by rounding only have no variance to explain.
    r2 = 1 - squared / variation if variation > 1e-12 * float(exposure.sum()) * mean**2 else None
    return float(np.abs(events - exposure * predicted).sum() / exposure.sum()), r2


def _compare(rows: pl.DataFrame, challenger: str, opponent: str, confidence: float, target: Target) -> Comparison:
    """Paired difference in log loss with its error clustered by ad."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    events, exposure = _counts(rows)
    ours, theirs = rows[challenger].to_numpy(), rows[opponent].to_numpy()
    # From log ratios and not from two losses, so that equal predictions differ by exactly 0.
    misses = (exposure - events) * (np.log1p(-ours) - np.log1p(-theirs)) if target.binomial else exposure * (theirs - ours)
    gain = events * (np.log(ours) - np.log(theirs)) + misses
    ads = (
        rows.select("account_id", "ad_id", "exposure", gain=gain)
        .group_by("account_id", "ad_id")
        .agg(pl.all().sum())
        .sort("account_id", "ad_id")
    )
    per_ad, seen_per_ad = ads["gain"].to_numpy(), ads["exposure"].to_numpy()
    total = float(seen_per_ad.sum())
    difference = float(per_ad.sum()) / total
    spread = float(((per_ad - difference * seen_per_ad) ** 2).sum())
    standard_error = sqrt(ads.height / (ads.height - 1) * spread) / total
    mae, r2 = _errors(rows, opponent)
    return Comparison(
        opponent=opponent,
        log_loss=log_loss(events, exposure, theirs, target),
        calibration=_calibration(rows, opponent),
        difference=difference,
        standard_error=standard_error,
        lower_bound=difference - float(stdtrit(ads.height - 1, confidence)) * standard_error,
        mae=mae,
        r2=r2,
    )
