"""Past days, one after the other: what was known before each ad-day that is scored or asked for, and the rolling calibration.

What belongs here: the walk through time, which alone decides that nothing looks ahead. What does not: choosing parameters (`fitting`).
"""

from dataclasses import dataclass

import numpy as np

from learning_assets.learning.ensemble.parameters import Calibration
from learning_assets.learning.ensemble.rows import PRIORS, Codes, Floats, Mask, Rows
from learning_assets.settings import Models


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What was known before each of some rows, for every way to pool the prior (columns; the last is the DNA score alone where learned).

    `prior`, `expected`: shape (n, ways); `events`, `seen`: shape (n,), decayed.
    """

    prior: Floats
    expected: Floats
    events: Floats
    seen: Floats

    def of(self, keep: Mask) -> "State":
        return State(self.prior[keep], self.expected[keep], self.events[keep], self.seen[keep])


class _Recent:
    """Events and expected events by member and account over the newest days with predictions, from which they are calibrated."""

    def __init__(self, accounts: int, settings: Models) -> None:
        self._settings = settings
        self._days: list[tuple[Floats, Floats]] = []
        self._none = np.zeros((len(PRIORS), accounts))

    def add(self, rows: Rows, of: Codes) -> None:
        """The facts of a day: what came of what was predicted."""
        said = rows.said[of]
        if not said.any():
            return
        size = self._none.shape[1]
        account, num, den = rows.account[of], rows.num[of], rows.den[of]
        foretold = np.where(said, den[:, None] * rows.prior[of], 0.0)
        came, expected = self._none.copy(), self._none.copy()
        for m in range(len(PRIORS)):
            came[m] = np.bincount(account, num * said[:, m], size)
            expected[m] = np.bincount(account, foretold[:, m], size)
        self._days = [*self._days, (came, expected)][-self._settings.calibration_days :]

    def sums(self) -> tuple[Floats, Floats]:
        """Events and expected events, shape (members, accounts)."""
        came, expected = self._none.copy(), self._none.copy()
        for day in self._days:
            came += day[0]
            expected += day[1]
        return came, expected

    def pooled(self) -> Floats:
        """Factor of each member over all accounts, shape (members, 1)."""
        came, expected = (total.sum(axis=1, keepdims=True) for total in self.sums())
        return (came + self._settings.calibration_events) / (expected + self._settings.calibration_events)

    def factors(self) -> Floats:
        """Factor of each member and account, shape (members, accounts)."""
        came, expected = self.sums()
        weight, pooled = self._settings.calibration_account_events, self.pooled()
        return pooled * (came + weight) / (expected * pooled + weight)


def walk(rows: Rows, wanted: Mask, weights: Floats, settings: Models) -> State:
    """Go through the days once, and keep what was known before the wanted rows; ways are the weights, and the DNA score alone."""
    ways = len(weights) + 1
    units = int(rows.unit.max()) + 1 if len(rows.unit) else 0
    # Expected events of days with a stored prediction, and the exposure of days without one.
    expected, untold = np.zeros((units, ways)), np.zeros((units, ways))
    events, seen = np.zeros(units), np.zeros(units)
    place = np.cumsum(wanted) - 1
    count = int(wanted.sum())
    state = State(np.full((count, ways), np.nan), np.full((count, ways), np.nan), np.zeros(count), np.zeros(count))
    recent = _Recent(len(rows.accounts), settings)
    order = np.argsort(rows.day, kind="stable")
    days, starts = np.unique(rows.day[order], return_index=True)
    last = None
    for day, of in zip(days.tolist(), np.split(order, starts[1:]), strict=True) if len(days) else ():
        if last is not None:
            for amounts in (expected, untold, events, seen):
                amounts *= settings.history_decay ** (day - last)
        last = day
        prior = _pooled(rows.prior[of] * recent.factors()[:, rows.account[of]].T, rows.said[of], weights)
        kept = wanted[of]
        unit = rows.unit[of][kept]
        at = place[of[kept]]
        state.prior[at] = prior[kept]
        state.expected[at] = expected[unit] + prior[kept] * untold[unit]
        state.events[at], state.seen[at] = events[unit], seen[unit]
        fact = ~rows.asked[of]
        of, prior = of[fact], prior[fact]
        unit, den = rows.unit[of], rows.den[of][:, None]
        # An ad has one fact a day, so that no unit is written twice.
        expected[unit] += np.nan_to_num(prior) * den
        untold[unit] += np.isnan(prior) * den
        events[unit] += rows.num[of]
        seen[unit] += rows.den[of]
        recent.add(rows, of)
    return state


def _pooled(prior: Floats, said: Mask, weights: Floats) -> Floats:
    """Priors by each weight of the DNA score, and by the DNA score alone; NaN where nobody who counts speaks. Shape (n, weights + 1)."""
    log = np.log(prior)
    trees, dna = log[:, :1], log[:, 1:]
    pooled = np.where(said.all(axis=1, keepdims=True), (1 - weights) * trees + weights * dna, np.where(said[:, :1], trees, dna))
    return np.exp(np.concatenate([pooled, dna], axis=1))


def calibration(rows: Rows, settings: Models) -> tuple[Calibration, ...]:
    """How the newest days calibrate each member that spoke on them, over all accounts."""
    recent = _Recent(len(rows.accounts), settings)
    for day in np.unique(rows.day[rows.said.any(axis=1)])[-settings.calibration_days :]:
        recent.add(rows, np.flatnonzero(rows.day == day))
    came, expected = (total.sum(axis=1) for total in recent.sums())
    factors = recent.pooled()[:, 0]
    return tuple(
        Calibration(name, float(factors[m]), float(came[m]), float(expected[m]))
        for m, name in enumerate(PRIORS)
        if expected[m] > 0
    )
