"""The grid of log rate ratios, its priors, and the likelihood of an hour on it.

What belongs here: numpy on whole arrays, shared by evidence, intervals and benchmarks. What does not: frames.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRID: Floats = np.linspace(-0.9, 0.9, 61)
"""Log rate ratios r of an arm over another, shape (61,), 0 in the middle: from 59 % below to 146 % above."""


def one_sided(scale: float) -> Floats:
    """Logarithm of the prior weights of r > 0, a half normal of standard deviation `scale`; -inf elsewhere. Shape (61,); weights sum to 1."""
    weights = np.where(GRID > 1e-9, np.exp(-0.5 * (GRID / scale) ** 2), 0.0)
    with np.errstate(divide="ignore"):
        return np.log(weights / weights.sum())


def two_sided(scale: float) -> Floats:
    """The same of a normal around 0 over the whole grid."""
    weights = np.exp(-0.5 * (GRID / scale) ** 2)
    return np.log(weights / weights.sum())


def log_likelihoods(events: Floats, other_events: Floats, share: Floats) -> Floats:
    """Log likelihood ratio of each r against r = 0 given the sum of the events, nats, before any dispersion.

    With q0 = n_B / (n_A + n_B): log(q / q0) = r - log(1 + q0 (e^r - 1)) and log((1 - q) / (1 - q0)) = -log(1 + q0 (e^r - 1)).

    Parameters
    ----------
    events, other_events : of the arm and the other one, at least 0, shape (...,).
    share : the arm's part q0 of both exposures, 0 to 1, same shape.

    Returns
    -------
    Shape (..., 61).
    """
    found: Floats = share[..., None] * np.expm1(GRID)
    np.log1p(found, out=found)
    found *= -(events + other_events)[..., None]
    found += events[..., None] * GRID
    return found


def mixture(log_likelihood: Floats, log_prior: Floats) -> Floats:
    """Logarithm of the prior's mean of the likelihood ratios, shape (...,): the log e-value."""
    # Half of the grid has no weight under a one-sided prior.
    first = int(np.isfinite(log_prior).argmax())
    weighted = log_likelihood[..., first:] + log_prior[first:]
    top = weighted.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(weighted - top).sum(axis=-1, keepdims=True)))[..., 0]


def most_likely(log_likelihood: Floats) -> Floats:
    """The r of the greatest likelihood, by a parabola through the best point and its neighbours; NaN at the grid's ends, where it may lie beyond."""
    best = log_likelihood.argmax(axis=-1)
    at = best.clip(1, len(GRID) - 2)[..., None]
    left, middle, right = (np.take_along_axis(log_likelihood, at + step, -1)[..., 0] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.divide(left - right, 2 * bend, out=np.zeros_like(bend), where=bend < 0)
    inside = (best > 0) & (best < len(GRID) - 1) & (bend < 0)
    return np.where(inside, GRID[at[..., 0]] + shift * (GRID[1] - GRID[0]), np.nan)


def confidence_set(log_likelihood: Floats, scale: float, alpha: float) -> tuple[Floats, Floats]:
    """Ends of the confidence sequence {r : log mean L - log L(r) < log 1/alpha}, which holds the true r at all times together with chance 1 - alpha.

    The mean is over the two-sided prior, so that both ends are as sharp. An end that the grid does not hold is infinite.
    """
    excess = mixture(log_likelihood, two_sided(scale))[..., None] - log_likelihood - np.log(1 / alpha)
    inside = excess < 0
    return -_edge(inside[..., ::-1], excess[..., ::-1]), _edge(inside, excess)


def _edge(inside: NDArray[np.bool_], excess: Floats) -> Floats:
    """The last r of a set, interpolated; infinite where it reaches the grid's end."""
    size = len(GRID)
    last = size - 1 - inside[..., ::-1].argmax(axis=-1)
    after = np.minimum(last + 1, size - 1)
    low, high = (np.take_along_axis(excess, at[..., None], -1)[..., 0] for at in (last, after))
    part = np.divide(-low, high - low, out=np.zeros_like(low), where=high > low)
    return np.where(last == size - 1, np.inf, GRID[last] + part * (GRID[1] - GRID[0]))


def shrunk(log_likelihood: Floats, scale: float, level: float) -> tuple[Floats, Floats, Floats]:
    """Posterior mean of r, and the ends of its interval of `level`, under a normal prior of standard deviation `scale` around 0."""
    weighted = log_likelihood - 0.5 * (GRID / scale) ** 2
    mass = np.exp(weighted - weighted.max(axis=-1, keepdims=True))
    mass /= mass.sum(axis=-1, keepdims=True)
    below = mass.cumsum(axis=-1) - mass / 2
    ends = [_quantile(below, end) for end in ((1 - level) / 2, (1 + level) / 2)]
    return mass @ GRID, ends[0], ends[1]


def _quantile(below: Floats, end: float) -> Floats:
    size = len(GRID)
    after = (below >= end).argmax(axis=-1)
    after = np.where(below[..., -1] < end, size - 1, after)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(below, at[..., None], -1)[..., 0] for at in (before, after))
    part = np.divide(end - low, high - low, out=np.zeros_like(low), where=high > low).clip(0, 1)
    return GRID[before] + part * (GRID[after] - GRID[before])
