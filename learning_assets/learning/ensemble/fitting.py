"""Learning the parameters of the vote from days whose results are known.

What belongs here: strength and weight by log loss, the noise of days, the spread of true rates, and the unit of money. What does not: using
them (`voting`).
"""

from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl

from learning_assets.learning.accuracy import SMALLEST_RATE
from learning_assets.learning.ensemble.days import State, calibration, walk
from learning_assets.learning.ensemble.parameters import SMALLEST_VARIANCE, Parameters, rate_variance
from learning_assets.learning.ensemble.rows import Codes, Floats, Rows, date_of, rows_of
from learning_assets.learning.targets import Target
from learning_assets.settings import Models

_STRENGTHS = np.array([1, 2, 5, 10, 20, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800], dtype=np.float64)
_WEIGHTS = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.5])
_GRID = (len(_STRENGTHS), len(_WEIGHTS))
_WIDENINGS = np.array([0.25, 0.5, 1, 2, 4, 8, 16, 32])
_PRIOR_VARIANCES = np.array([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32])
_USUAL_NOISE, _LARGEST_NOISE = 0.1, 0.5
"""Noise of an ad-day by which differences are weighted, and above which none is said."""
_MAX_SPREAD_ROWS = 20_000
"""Ad-days from which the spread of rates is learned, at most; every k-th beyond."""
_MIN_FREEDOM = 30
"""Degrees of freedom of an account's ad-days below which the unit of its money is not known."""


def learn(past: pl.DataFrame, target: Target, settings: Models) -> Parameters:
    """Learn the parameters of the vote from days whose results are known.

    Each scored ad-day is predicted from what was known before it, for every strength and weight of a grid; the pair with the least log loss
    (binomial for counts, Poisson's quasi-likelihood for money) is taken. The noise of a day comes from differences between successive days of an
    ad, and how far true rates lie from what is said of them is the spread with the greatest negative-binomial likelihood of these out-of-sample
    predictions.

    Parameters
    ----------
    past : one row per ad and day: `date`, `account_id`, `ad_id`, the target's two columns (events or money, and exposure; rows where one is
        NULL are left out), and `xgboost` and `dna_score`, the rates that were predicted *before* that day, NULL where none was stored. Where
        results mature, only mature days. All of it is used: give nothing of the day to predict or later.
    target : of `targets.TARGETS`.
    settings : `history_decay`, `ensemble_*` and `calibration_*`.

    Raises
    ------
    ValueError : a missing column, a NULL key, an ad that has two rows for a day, a negative amount, or a rate that is negative or not finite.
    """
    rows = rows_of(past, None, target)
    units = _units(rows, target)
    rows = rows.in_events(units, target)
    days = np.unique(rows.day[rows.said.any(axis=1) & (rows.den > 0)])[-settings.ensemble_days :]
    scored = np.isin(rows.day, days) & rows.said.any(axis=1) & (rows.den > 0)
    events = float(rows.num[scored].sum())
    known_until = date_of(rows.day.max()) if len(rows.day) else None
    found = Parameters(
        target=target.name,
        learned=False,
        reason="",
        first_day=date_of(days[0]) if len(days) else None,
        last_day=date_of(days[-1]) if len(days) else None,
        known_until=known_until,
        ad_days=int(scored.sum()),
        events=events,
        strength=settings.ensemble_strength,
        dna_weight=0.0,
        dna_strength=settings.ensemble_dna_strength,
        prior_variance=settings.ensemble_prior_variance,
        widening=1.0,
        day_noise=settings.ensemble_day_noise,
        calibration=calibration(rows, settings),
        units={name: float(unit) for name, unit in zip(rows.accounts, units, strict=True) if unit > 0} if target.money else {},
    )
    if len(days) < settings.ensemble_min_days or events < settings.ensemble_min_events:
        reason = (
            f"{len(days)} days with {events:,.0f} events have predictions that were stored before them; {settings.ensemble_min_days} days and "
            f"{settings.ensemble_min_events:,} events are needed, so that strength and noise are those of the settings."
        )
        return replace(found, reason=reason)
    state = walk(rows, scored, _WEIGHTS, settings)
    num, den, said = rows.num[scored], rows.den[scored], rows.said[scored]
    trees, dna = said[:, 0], said[:, 1]
    strength, weight, dna_strength = found.strength, 0, found.dna_strength
    enough = {
        name: num[spoke].sum() >= settings.ensemble_min_events for name, spoke in (("XGBoost", trees), ("the DNA score", dna))
    }
    if enough["XGBoost"]:
        # Without a DNA score on those days every weight gives the same loss, and the first, 0, is taken.
        place = np.unravel_index(_losses(state.of(trees), num[trees], den[trees], slice(0, -1), target).argmin(), _GRID)
        strength, weight = float(_STRENGTHS[place[0]]), int(place[1])
    if enough["the DNA score"]:
        dna_strength = float(_STRENGTHS[_losses(state.of(dna), num[dna], den[dna], slice(-1, None), target).argmin()])
    told = trees if enough["XGBoost"] else trees | dna
    k = np.where(trees, strength, dna_strength)
    p = state.prior[:, weight] * (k + state.events) / (k + state.expected[:, weight])
    day_noise = _day_noise(num[told], den[told], p[told], rows.unit[scored][told], rows.day[scored][told])
    prior_variance, widening = _spread(num[told], (den * p)[told], state.events[told], day_noise)
    kept = "".join(
        f" {name[0].upper()}{name[1:]} has too few events, so that its strength is that of the settings."
        for name, is_enough in enough.items()
        if not is_enough
    )
    reason = (
        f"Chosen by log loss on {len(days)} days ({date_of(days[0])} to {date_of(days[-1])}) with {events:,.0f} events, each predicted from what "
        f"was known before it.{kept}"
    )
    return replace(
        found,
        learned=True,
        reason=reason,
        strength=strength,
        dna_weight=float(_WEIGHTS[weight]),
        dna_strength=dna_strength,
        prior_variance=prior_variance,
        widening=widening,
        day_noise=day_noise,
    )


def _losses(state: State, num: Floats, den: Floats, ways: slice, target: Target) -> Floats:
    """Log loss of each strength and way, nats, shape (strengths, ways)."""
    prior, expected, events = state.prior[:, ways], state.expected[:, ways], state.events[:, None]
    num, den = num[:, None], den[:, None]
    losses: list[Floats] = []
    for k in _STRENGTHS:
        p = prior * (k + events) / (k + expected)
        if target.money:
            losses.append((den * p - num * np.log(p)).sum(axis=0))
        else:
            p = np.clip(p, SMALLEST_RATE, 1 - SMALLEST_RATE)
            # Conversions that came without a click may be more than the clicks.
            losses.append(-(num * np.log(p) + np.maximum(den - num, 0.0) * np.log1p(-p)).sum(axis=0))
    return np.stack(losses)


def _day_noise(num: Floats, den: Floats, rate: Floats, unit: Codes, day: Codes) -> float:
    """Standard deviation of the logarithm of an ad-day's rate, beyond counts, from the differences of an ad's successive days.

    Of the observed rates of two days over what was predicted, half the squared difference is what counts and days add; what the prediction
    misses of the ad cancels (von Neumann, Annals of Mathematical Statistics 1941). Both are taken over the first day's prediction, since the
    second one's has learned from the first day. Ad-days on which more was expected weigh more.
    """
    order = np.lexsort((day, unit))
    first, second = order[:-1], order[1:]
    same = unit[first] == unit[second]
    first, second = first[same], second[same]
    mean, next_mean = den[first] * rate[first], den[second] * rate[first]
    one, other = num[first] / mean, num[second] / next_mean
    weight = (1 / mean + 1 / next_mean + 2 * _USUAL_NOISE**2) ** -2
    excess = float((weight * ((one - other) ** 2 - one / mean - other / next_mean)).sum())
    level = float((weight * one * other).sum())
    return float(np.sqrt(min(max(excess / (2 * level), 0.0), _LARGEST_NOISE**2))) if level > 0 else 0.0


def _spread(num: Floats, mean: Floats, events: Floats, day_noise: float) -> tuple[float, float]:
    """Prior variance and widening by the likelihood of negative-binomial counts, given the noise of the days."""
    every = -(-len(num) // _MAX_SPREAD_ROWS)
    told = np.rint(num[::every]), mean[::every], events[::every]
    pairs: list[tuple[float, float]] = list(product(_PRIOR_VARIANCES.tolist(), _WIDENINGS.tolist()))
    return pairs[int(np.argmax([_likelihood(*told, *one, day_noise) for one in pairs]))]


def _likelihood(count: Floats, mean: Floats, events: Floats, prior_variance: float, widening: float, noise: float) -> float:
    """Logarithm of the negative-binomial likelihood of counts, less what depends on them alone, with a prior of the widening."""
    from scipy.special import gammaln, xlogy  # pyright: ignore[reportMissingTypeStubs]

    variance = rate_variance(prior_variance, widening, events) + noise**2
    size = 1 / np.maximum(variance, SMALLEST_VARIANCE)
    mass = gammaln(count + size) - gammaln(size) + xlogy(count, mean / (size + mean)) - size * np.log1p(mean / size)
    # Log-normal around 1: where days are few or alike, an event says what one event says.
    return float(np.sum(mass)) - 0.5 * float(np.log(widening) / np.log(2)) ** 2


def _units(rows: Rows, target: Target) -> Floats:
    """Variance over mean of the ad-days' money, by account, shape (accounts,); NaN where too few days show it. 1 for counts."""
    accounts = len(rows.accounts)
    if not target.money:
        return np.ones(accounts)
    use = rows.den > 0
    ads = int(rows.unit.max()) + 1 if len(rows.unit) else 0
    unit, num, den = rows.unit[use], rows.num[use], rows.den[use]
    came, spent, days = np.bincount(unit, num, ads), np.bincount(unit, den, ads), np.bincount(unit, minlength=ads)
    paid = came > 0
    rate = np.divide(came, spent, out=np.zeros(ads), where=paid)
    counted = paid[unit]
    unit, num, mean = unit[counted], num[counted], (den * rate[unit])[counted]
    squares = np.bincount(rows.account[use][counted], (num - mean) ** 2 / mean, accounts)
    owner = np.zeros(ads, dtype=np.int64)
    owner[rows.unit] = rows.account
    freedom = np.bincount(owner[paid], (days[paid] - 1).astype(np.float64), accounts)
    enough = (freedom >= _MIN_FREEDOM) & (squares > 0)
    return np.divide(squares, freedom, out=np.full(accounts, np.nan), where=enough)
