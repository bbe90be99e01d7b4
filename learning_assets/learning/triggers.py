"""When a model is to be trained again.

What belongs here: one rule per trigger, from measured figures to fired or not. What does not: the measurements (`accuracy`, `drift`),
the training (`ctr_model`), and whether the new model is used (`champion`).

A new trigger is a field of `Evidence`, a function like `accuracy`, and its name in `RULES`.

Every rule on predictions needs an error that is large and one that chance does not explain. It is looked at every day over the last days, so that
a week has `settings.looks` chances to fire by luck for each of three rules; the chance that one look at `settings.standard_errors` has is shared
among them (Bonferroni).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from math import inf, isnan, log, sqrt

from learning_assets.settings import Models

_ANSCOMBE = 3 / 8
_SHARING = 3
"""Rules that count standard errors: accuracy, mae and calibration."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known on `day`; None or NaN where it is not.

    The fields named in FIGURES are the champion's, and those of `accuracy.MEASURES`.

    Attributes
    ----------
    tried_on : the newest day on which a challenger was trained, whether it won or not; None where there was none.
    max_age_days : age that the source's cadence allows (`settings.max_age_days`, or `archive_max_age_days` for an archive).
    wape, noise_floor : weighted absolute percentage error, and that of a perfect predictor; fractions of the clicks.
    mae, mae_floor : mean absolute error weighted by impressions, and that of a perfect predictor; units of the rate.
    actual, expected : clicks that came and clicks that were predicted; counts.
    dispersion : variance of daily counts over Poisson variance, at least 1; where unknown, 1 is taken.
    ads, ad_days : numbers behind these figures.
    skill_high : upper bound of the skill over the better baseline, clustered by ad.
    drift : highest evidence of the day for a change in the hourly stream (`drift.Day.peak`), hours; `drift_change` is the change of the rate
        that it speaks for, -0.1 being 10 % fewer clicks than expected. `drift_unknown` says why there is no evidence, where there is none.
    purchase_signals : signals of people that wait for a check.
    forced : somebody asked for it.
    """

    day: date
    tried_on: date | None
    max_age_days: int
    wape: float | None = None
    noise_floor: float | None = None
    forced: bool = False
    mae: float | None = None
    mae_floor: float | None = None
    actual: float | None = None
    expected: float | None = None
    dispersion: float | None = None
    ads: int | None = None
    ad_days: int | None = None
    skill_high: float | None = None
    drift: float | None = None
    drift_change: float | None = None
    drift_unknown: str = "the hourly stream is not watched"
    purchase_signals: int = 0


FIGURES = (
    *("wape", "noise_floor", "mae", "mae_floor", "actual", "expected", "dispersion"),
    *("ads", "ad_days", "skill_high"),
)
"""Fields of `Evidence` that `accuracy.measure` measures, by its names."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One reason to train again. `value` fires above `threshold` (`skill`: below it); each is finite, and None where it is not known or there is none."""

    name: str
    fired: bool
    value: float | None
    threshold: float | None
    reason: str


def accuracy(evidence: Evidence, settings: Models) -> Trigger:
    """Errors are large, and larger than counting noise explains: WAPE above `max_wape` and beyond the noise floor.

    The first bound alone fires on perfect models wherever ads have few impressions. Beyond the floor is above `noise_floor_factor` times the
    floor and, where few ad-days make the error itself uncertain, above what its standard errors allow.
    """
    return _error("accuracy", "WAPE", evidence.wape, evidence.noise_floor, settings.max_wape, evidence, settings)


def mae(evidence: Evidence, settings: Models) -> Trigger:
    """The mean absolute error is large, and beyond its noise floor: `accuracy` in units of the rate, for ads with high rates."""
    return _error("mae", "MAE", evidence.mae, evidence.mae_floor, settings.max_mae, evidence, settings)


def calibration(evidence: Evidence, settings: Models) -> Trigger:
    """Clicks are off their expectation by more than `max_calibration` times, and by more standard errors than chance explains.

    The value is |log(actual / expected)|, which is None where one of them is 0; such a model fires too when the counts suffice. Standard errors
    are counted on the scale of square roots, 2 (sqrt(actual + 3/8) - sqrt(expected + 3/8)) / sqrt(φ) (Anscombe, Biometrika 1948), which is
    log(actual / expected) / sqrt(φ / clicks) for many clicks, and right for few and none as well. Their quantile is Student's, since φ is
    estimated: ad-days less ads are its degrees of freedom.
    """
    actual, expected = _known(evidence.actual), _known(evidence.expected)
    if actual is None or expected is None:
        return _unknown("calibration", None, clicks=actual, expected_clicks=expected)
    spread = sqrt(_known(evidence.dispersion) or 1.0)
    needed = _critical(evidence, settings, sides=2)
    off = 2 * (sqrt(actual + _ANSCOMBE) - sqrt(expected + _ANSCOMBE)) / spread
    value = abs(log(actual / expected)) if actual > 0 and expected > 0 else None
    least = log(settings.max_calibration)
    fired = abs(off) > needed and (value is None or value > least)
    # Root and clicks that would be as many standard errors off as are needed; below none there is no such number.
    root = sqrt(expected + _ANSCOMBE) + (needed if off > 0 else -needed) * spread / 2
    clicks = root**2 - _ANSCOMBE if root > 0 else 0.0
    threshold = max(least, abs(log(clicks / expected))) if clicks > 0 and expected > 0 else None
    times = f"{actual / expected:.3f} times as many, " if expected > 0 else ""
    reason = (
        f"{actual:,.0f} clicks came where {expected:,.1f} were expected, {times}{abs(off):.1f} standard errors off: "
        f"{'' if fired else 'not '}above both {settings.max_calibration:g} times and {needed:.1f} standard errors."
    )
    return Trigger("calibration", fired, value, threshold, reason)


def skill(evidence: Evidence, settings: Models) -> Trigger:  # noqa: ARG001 - the level of the bound is a setting of the measurement
    """The model is surely worse than a plain baseline: the upper bound of its skill is below 0."""
    high = _known(evidence.skill_high)
    if high is None:
        return _unknown("skill", None, skill=None)
    fired = high < 0
    reason = f"Skill over the better baseline is at most {high:.2%}, {'below' if fired else 'which does not exclude'} 0."
    return Trigger("skill", fired, high, 0.0, reason)


def drift(evidence: Evidence, settings: Models) -> Trigger:
    """The hourly stream of clicks left its expectation: the e-detector's evidence reached `drift_hours`, its mean time to a false alarm."""
    found = _known(evidence.drift)
    limit = float(settings.drift_hours)
    if found is None:
        return Trigger("drift", False, None, limit, f"Not fired: {evidence.drift_unknown}.")
    fired = found >= limit
    change = _known(evidence.drift_change)
    likely = f"; the likeliest change of the rate is {change:+.0%}" if fired and change is not None else ""
    reason = f"Evidence for a change in the hourly stream {'reached' if fired else 'did not reach'} {limit:,.0f} hours: {found:,.1f}{likely}."
    return Trigger("drift", fired, found, limit, reason)


def age(evidence: Evidence, settings: Models) -> Trigger:  # noqa: ARG001 - the cadence chooses between two settings
    """The last challenger was trained too long ago, or there never was one.

    The age counts from the last attempt and not from the champion's last training day: the hold-out alone makes that older than a week,
    and a champion that has just been defended is not challenged again on every day.
    """
    limit = float(evidence.max_age_days)
    if evidence.tried_on is None:
        return Trigger("age", True, None, limit, "No model was trained yet.")
    days = (evidence.day - evidence.tried_on).days
    if days < 0:
        raise ValueError(f"a challenger was trained on {evidence.tried_on}, after {evidence.day}; nothing looks ahead")
    fired = days > limit
    reason = f"The last challenger was trained {days} days ago, {'above' if fired else 'not above'} {limit:.0f}."
    return Trigger("age", fired, float(days), limit, reason)


def purchase_signal(evidence: Evidence, settings: Models) -> Trigger:  # noqa: ARG001 - every rule takes both
    """People said that something was bought, and their signals wait for a check."""
    waiting = evidence.purchase_signals
    if waiting < 0:
        raise ValueError(f"{waiting} purchase signals wait; a count is 0 or more")
    reason = f"{waiting or 'No'} purchase signal{'s wait' if waiting != 1 else ' waits'}."
    return Trigger("purchase_signal", waiting > 0, float(waiting), 0.0, reason)


def force(evidence: Evidence, settings: Models) -> Trigger:  # noqa: ARG001 - every rule takes both
    """Somebody asked for it."""
    return Trigger("force", evidence.forced, None, None, "Asked for." if evidence.forced else "Not asked for.")


Rule = Callable[[Evidence, Models], Trigger]

OF_ACCURACY: tuple[Rule, ...] = (accuracy, mae, calibration, skill)
"""Triggers that rest on the measured accuracy of predictions alone."""

RULES: tuple[Rule, ...] = (*OF_ACCURACY, drift, age, purchase_signal, force)
"""Every trigger, in the order in which they are shown."""


def evaluate(evidence: Evidence, settings: Models) -> list[Trigger]:
    """All triggers with what they rest on, fired or not; train again if any fired.

    Raises ValueError where the champion saw days after `evidence.day`, and for a negative count of signals.
    """
    return [rule(evidence, settings) for rule in RULES]


def _error(
    name: str, title: str, error: float | None, floor: float | None, least: float, evidence: Evidence, settings: Models
) -> Trigger:
    """An absolute error above `least` and beyond its noise floor."""
    error, floor = _known(error), _known(floor)
    if error is None or floor is None:
        return _unknown(name, error, **{title: error, "noise floor": floor})
    if evidence.actual == 0:
        return Trigger(name, False, error, None, "Not fired: nobody clicked, which is for the calibration to judge.")
    factor = max(settings.noise_floor_factor, 1 + _critical(evidence, settings, sides=1) * _uncertainty(evidence))
    threshold = max(least, factor * floor)
    fired = error > threshold
    bound = f"{threshold:.1%}, the larger of {least:.1%} and {factor:.3g} × noise floor {floor:.1%}"
    return Trigger(name, fired, error, threshold, f"{title} {error:.1%} is {'above' if fired else 'not above'} {bound}.")


def _uncertainty(evidence: Evidence) -> float:
    """Standard error of a perfect predictor's WAPE or MAE over its noise floor; 0 where it is not known.

    A count deviates from its mean λ by d on average, with variance φ λ - d². Over n ad-days with A clicks and a floor f = Σ d / A that adds up
    to at most φ A - (f A)² / n, because the mean of squares is at least the square of the mean; it is that where all ad-days are alike.
    """
    actual, floor = _known(evidence.actual), _known(evidence.noise_floor)
    if not actual or not floor or not evidence.ad_days:
        return 0.0
    return sqrt(max((_known(evidence.dispersion) or 1.0) / actual - floor**2 / evidence.ad_days, 0.0)) / floor


def _critical(evidence: Evidence, settings: Models, sides: int) -> float:
    """Standard errors above which a figure is off: `settings.standard_errors` of one look, its chance shared among all looks."""
    from scipy.special import ndtr, ndtri, stdtrit  # pyright: ignore[reportMissingTypeStubs]

    tail = 2 * float(ndtr(-settings.standard_errors)) / (settings.looks * _SHARING) / sides
    estimated = _known(evidence.dispersion) is not None and evidence.ads is not None and evidence.ad_days is not None
    freedom = (evidence.ad_days or 0) - (evidence.ads or 0) if estimated else inf
    return -float(ndtri(tail)) if freedom == inf else -float(stdtrit(max(freedom, 1), tail))


def _unknown(name: str, value: float | None, **figures: float | None) -> Trigger:
    """Not fired, because some of the figures are not known."""
    unknown = " and ".join(title.replace("_", " ") for title, figure in figures.items() if figure is None)
    are = "are" if " and " in unknown or unknown.endswith("s") else "is"
    return Trigger(name, False, value, None, f"Not fired: the {unknown} of the champion's predictions {are} not known.")


def _known(value: float | None) -> float | None:
    """NaN is unknown."""
    return None if value is None or isnan(value) else value
