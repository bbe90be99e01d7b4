"""How much of the traffic each arm gets, and which arm one request gets.

**Which arm leads.** The probability that an arm's rate is the highest, and the second highest, of its experiment. The cube root of a Gamma
variable is near to normal (Wilson & Hilferty, PNAS 1931), so that both are integrals of normal distribution functions, which midpoints of
equal probability give to about 0.004: without draws, hence without their noise, without a seed, and the same in whatever order arms come.

**Top-two** until an experiment is decided: half of the traffic goes to the arm that leads, half to the one that is second (top-two Thompson
sampling, Russo, Operations Research 2020). Russo draws again until another arm leads; the second of the same draw is the same for two arms,
and needs no second draw where one arm always leads. Plain Thompson sampling starves the rivals of the leader, and with them the test that would
prove it. **Thompson sampling** afterwards: each arm gets the probability that it is best (Thompson 1933; Russo et al. 2018).

**Floor.** Of K arms each gets the floor f, and the rest, 1 − K f, is shared as above.
"""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.settings import Bandit

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

SHARES = pl.Schema({"p_best": pl.Float64, "share": pl.Float64, "rule": pl.String})
"""`p_best`: probability that the arm's rate is the highest, NULL where a rate of the experiment is not known. `share`: of the experiment's
traffic, over its arms together 1. `rule`: `top_two`, `thompson`, or `equal` where nothing is known."""

_POINTS = 128
"""Points by which an arm's rate is integrated over."""
_AT_ONCE = 4_000_000
"""Numbers in memory at a time."""
_SMALLEST = 1e-30
_EXPERIMENT = ["account_id", "experiment_id", "metric"]


def leading(alpha: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Probability that each arm's rate is the highest, and that it is the second highest, of its experiment.

    Parameters
    ----------
    alpha, beta : Gamma posteriors, shape (experiments, arms); `alpha` at least 1 for the approximation to hold.

    Returns
    -------
    Two arrays of that shape; rows sum to 1, the second one's to 0 where there is one arm.

    Raises
    ------
    ValueError : a parameter is not positive and finite.
    """
    from scipy.special import ndtr, ndtri  # pyright: ignore[reportMissingTypeStubs]

    _refuse(alpha, beta)
    experiments, arms = alpha.shape
    best, second = np.empty(alpha.shape), np.zeros(alpha.shape)
    points = np.asarray(ndtri((np.arange(_POINTS) + 0.5) / _POINTS))
    mean, sd = _cube_roots(alpha, beta)
    rows = max(1, _AT_ONCE // (arms * _POINTS))
    for start in range(0, experiments, rows):
        some = slice(start, start + rows)
        for arm in range(arms):
            others = [other for other in range(arms) if other != arm]
            at = mean[some, arm, None, None] + sd[some, arm, None, None] * points
            below = np.maximum(ndtr((at - mean[some, others, None]) / sd[some, others, None]), _SMALLEST)
            first = below.prod(axis=1)
            best[some, arm] = first.mean(axis=-1)
            second[some, arm] = (first * ((1 - below) / below).sum(axis=1)).mean(axis=-1)
    best /= best.sum(axis=1, keepdims=True)
    if arms == 2:
        return best, best[:, ::-1]
    return best, second / second.sum(axis=1, keepdims=True) if arms > 2 else second


def top_two(best: Floats, second: Floats) -> Floats:
    """Shares of top-two Thompson sampling from what `leading` gives."""
    return best if best.shape[1] == 1 else (best + second) / 2


def floored(shares: Floats, floor: float) -> Floats:
    """Shares of which none is below the floor, shape (experiments, arms); equal ones where the floor leaves nothing to share."""
    arms = shares.shape[1]
    least = min(floor, 1 / arms)
    return least + (1 - arms * least) * shares


def allocate(arms: pl.DataFrame, decided: pl.DataFrame, rules: Bandit) -> pl.DataFrame:
    """The share of every arm.

    Parameters
    ----------
    arms : one row per arm and reward with `alpha` and `beta`, as `posterior` gives; only arms that get traffic.
    decided : `account_id` and `experiment_id` of the experiments that are decided.

    Returns
    -------
    `arms` in their order with the columns of SHARES.
    """
    if arms.is_empty():
        return arms.with_columns(pl.lit(None, kind).alias(name) for name, kind in SHARES.items())
    known = pl.all_horizontal("alpha", "beta").is_not_null().all().over(_EXPERIMENT)
    rows = (
        arms.with_row_index("row")
        .join(decided.select("account_id", "experiment_id", is_decided=True).unique(), on=_EXPERIMENT[:2], how="left")
        .with_columns(
            size=pl.len().over(_EXPERIMENT),
            rule=pl.when(~known)
            .then(pl.lit("equal"))
            .when(pl.col("is_decided").fill_null(value=False))
            .then(pl.lit("thompson"))
            .otherwise(pl.lit("top_two")),
        )
        .sort(*_EXPERIMENT, "row")
    )
    size, rule = rows["size"].to_numpy(), rows["rule"].to_numpy()
    alpha, beta = (rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("alpha", "beta"))
    p_best, share = np.full(rows.height, np.nan), 1 / size
    for several in np.unique(size):
        of = np.flatnonzero((size == several) & (rule != "equal")).reshape(-1, int(several))
        best, second = leading(alpha[of], beta[of])
        p_best[of] = best
        share[of] = floored(np.where(rule[of] == "thompson", best, top_two(best, second)), rules.floor)
    found = rows.with_columns(p_best=pl.Series(p_best).fill_nan(None), share=pl.Series(share)).sort("row")
    return found.drop("row", "size", "is_decided")


def select(alpha: Floats, beta: Floats, seeds: NDArray[np.uint64], *, decided: bool, floor: float) -> Codes:
    """Which arm each request gets: a pure function of the posterior and the request's seed.

    Over many seeds the arms are taken as often as their shares say.

    Parameters
    ----------
    alpha, beta : Gamma posteriors of one experiment's arms, shape (arms,).
    seeds : one per request, such as `request_seed` of its id, shape (requests,).
    decided : whether the experiment is decided: Thompson sampling then, top-two before.
    floor : smallest share of an arm.

    Returns
    -------
    Places of the arms, shape (requests,).

    Raises
    ------
    ValueError : there is no arm, or a parameter is not positive and finite.
    """
    from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs]

    if not len(alpha):
        raise ValueError("an experiment without arms has none to select; register one first")
    _refuse(alpha, beta)
    arms = len(alpha)
    drawn = _uniforms(seeds, arms + 2)
    mean, sd = _cube_roots(alpha, beta)
    rates = mean + sd * np.asarray(ndtri(drawn[:, 2:]))
    chosen = rates.argmax(axis=1)
    if arms > 1 and not decided:
        challenged = np.flatnonzero(drawn[:, 1] < 0.5)
        rates[challenged, chosen[challenged]] = -np.inf
        chosen[challenged] = rates[challenged].argmax(axis=1)
    least = min(floor, 1 / arms)
    explored = drawn[:, 0] < arms * least
    chosen[explored] = np.minimum(drawn[explored, 0] / max(least, _SMALLEST), arms - 1).astype(np.int64)
    return chosen


def request_seed(request: str) -> int:
    """The seed of a request by its id: the same id gets the same arm as long as the posterior stays."""
    return int.from_bytes(hashlib.blake2b(request.encode(), digest_size=8).digest(), "little")


def _cube_roots(alpha: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the normal variable whose cube is near to the Gamma variable."""
    root = np.cbrt(alpha / beta)
    return root * (1 - 1 / (9 * alpha)), root / (3 * np.sqrt(alpha))


def _uniforms(seeds: NDArray[np.uint64], count: int) -> Floats:
    """Numbers between 0 and 1 by seed and place, shape (seeds, count): SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    step = np.uint64(0x9E3779B97F4A7C15)
    places = np.arange(1, count + 1, dtype=np.uint64) * step
    bits = _mixed(_mixed(seeds + step)[:, None] + places) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) / 2**53


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _refuse(alpha: Floats, beta: Floats) -> None:
    if not (np.isfinite(alpha) & np.isfinite(beta) & (alpha > 0) & (beta > 0)).all():
        raise ValueError(
            "alpha and beta of every arm must be positive and finite; leave out experiments of which nothing is known"
        )
