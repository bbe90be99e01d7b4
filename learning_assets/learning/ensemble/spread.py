"""Intervals of what was voted, and whether they hold what they promise.

What belongs here: posterior intervals of rates, predictive ones of counts and money, and the integral transform that checks them. What does
not: the vote (`voting`).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from learning_assets.learning.ensemble.parameters import SMALLEST_VARIANCE, Parameters
from learning_assets.learning.ensemble.rows import Floats, floats
from learning_assets.learning.targets import Target


def intervals(voted: pl.DataFrame, level: float) -> pl.DataFrame:
    """Intervals of the ads' true rates, from the Gamma posterior.

    Parameters
    ----------
    voted : from `vote`.
    level : of the intervals, between 0 and 1.

    Returns
    -------
    `voted` with `rate_low` and `rate_high`; NULL where `rate_variance` is.
    """
    from scipy.special import gammaincinv  # pyright: ignore[reportMissingTypeStubs]

    _refuse_level(level)
    p, variance = floats(voted, "ensemble"), np.maximum(floats(voted, "rate_variance"), SMALLEST_VARIANCE)
    ends = {
        name: p * variance * np.asarray(gammaincinv(1 / variance, end), dtype=np.float64)
        for name, end in (("rate_low", (1 - level) / 2), ("rate_high", (1 + level) / 2))
    }
    return voted.with_columns(pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in ends.items())


def count_intervals(voted: pl.DataFrame, denominator: str, parameters: Parameters, level: float) -> pl.DataFrame:
    """Predictive intervals of what the numerator will be, given the denominator.

    The count is negative binomial: Poisson around a rate that is Gamma by the posterior and by the noise of the day, with relative variance
    `rate_variance` + `day_noise`². Intervals of counts hold more than their level where few events are expected; whether they hold what
    they promise is seen by `pit`.

    Parameters
    ----------
    voted : from `vote`, with the column `denominator`.
    denominator : exposure of the day: impressions, clicks, or micros spent.
    parameters : that the vote was made with.
    level : of the intervals, between 0 and 1.

    Returns
    -------
    `voted` with `numerator_low` and `numerator_high`, counts (micros for money, in whole units); both ends belong to the interval. NULL where
    `rate_variance`, `unit` or the denominator is.
    """
    from scipy.stats import nbinom  # pyright: ignore[reportMissingTypeStubs]

    _refuse_level(level)
    mean, size, unit = _predictive(voted, denominator, parameters)
    ends = {
        name: unit * np.asarray(nbinom.ppf(end, size, size / (size + mean)), dtype=np.float64)  # pyright: ignore[reportUnknownMemberType]
        for name, end in (("numerator_low", (1 - level) / 2), ("numerator_high", (1 + level) / 2))
    }
    return voted.with_columns(pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in ends.items())


def pit(voted: pl.DataFrame, target: Target, parameters: Parameters, draws: Sequence[float] | Floats) -> Floats:
    """Randomized probability integral transform of what came, against what was predicted.

    Uniform between 0 and 1 where the predictive distributions are right, however few events there are: a draw between F(x − 1) and F(x)
    (Czado, Gneiting & Held, Biometrics 2009). The share between 0.1 and 0.9 is the coverage of 80 % intervals. Money is rounded to whole
    equivalent events.

    Parameters
    ----------
    voted : from `vote`, with the target's two columns as they came to be known.
    target, parameters : that the vote was made with.
    draws : uniform numbers from 0 to 1, one per row; they decide ties and come in as an argument, so that a figure can be repeated.

    Returns
    -------
    Shape (rows,), 0 to 1; NaN where nothing was predicted or is known.

    Raises
    ------
    ValueError : the draws are not one per row or lie outside 0 to 1.
    """
    from scipy.special import betainc  # pyright: ignore[reportMissingTypeStubs]

    drawn = np.asarray(draws, dtype=np.float64)
    if drawn.shape != (voted.height,) or not ((drawn >= 0) & (drawn <= 1)).all():
        raise ValueError(f"{voted.height} draws from 0 to 1 are needed, one per row")
    mean, size, unit = _predictive(voted, target.exposure, parameters)
    count = np.rint(floats(voted, target.events) / unit)
    chance = size / (size + mean)

    def below(x: Floats) -> Floats:
        return np.where(x < 0, 0.0, np.asarray(betainc(size, np.maximum(x, 0) + 1, chance), dtype=np.float64))

    low, high = below(count - 1), below(count)
    found = low + drawn * (high - low)
    return np.where(np.isnan(mean + count), np.nan, found)


def _refuse_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; the level of an interval lies between 0 and 1")


def _predictive(voted: pl.DataFrame, denominator: str, parameters: Parameters) -> tuple[Floats, Floats, Floats]:
    """Mean and size of the negative binomial of the ad-days' events, and the unit; NaN where not known."""
    unit = floats(voted, "unit")
    mean = floats(voted, denominator) * floats(voted, "ensemble") / unit
    variance = floats(voted, "rate_variance") + parameters.day_noise**2
    size = 1 / np.maximum(variance, SMALLEST_VARIANCE)
    return np.where(np.isnan(size), np.nan, mean), size, unit
