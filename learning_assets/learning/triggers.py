"""When a model is to be trained again.

What belongs here: one rule per trigger, from measured figures to fired or not. What does not: the measurements (`accuracy`),
the training (`ctr_model`), and whether the new model is used (`champion`).

A new trigger is a field of `Evidence`, a function like `accuracy`, and its name in `RULES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from math import isnan

from learning_assets.settings import Models


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known on `day`; None or NaN where it is not.

    `tried_on`: the newest day on which a challenger was trained, whether it won or not; None where there was none.
    `max_age_days`: age that the source's cadence allows (`settings.max_age_days`, or `archive_max_age_days` for an archive).
    `wape`: weighted absolute percentage error of the champion's predictions; `noise_floor`: the WAPE that a perfect predictor
    would show. Both are fractions of the clicks. `purchase_signals`: how many wait for a retrain. `forced`: somebody asked for it.
    """

    day: date
    tried_on: date | None
    max_age_days: int
    wape: float | None = None
    noise_floor: float | None = None
    purchase_signals: int = 0
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Trigger:
    """One reason to train again. `value` fires above `threshold`; each is None where it is not known or there is none."""

    name: str
    fired: bool
    value: float | None
    threshold: float | None
    reason: str


def accuracy(evidence: Evidence, settings: Models) -> Trigger:
    """Errors are large, and larger than counting noise explains: WAPE above `max_wape` and `noise_floor_factor` × noise floor.

    The first bound alone fires on perfect models wherever ads have few impressions.
    """
    wape, floor = _known(evidence.wape), _known(evidence.noise_floor)
    if wape is None or floor is None:
        unknown = " and ".join(name for name, value in (("WAPE", wape), ("noise floor", floor)) if value is None)
        return Trigger("accuracy", False, wape, None, f"Not fired: the {unknown} of the champion's predictions is not known.")
    threshold = max(settings.max_wape, settings.noise_floor_factor * floor)
    fired = wape > threshold
    bound = (
        f"{threshold:.1%}, the larger of {settings.max_wape:.1%} and {settings.noise_floor_factor:g} × noise floor {floor:.1%}"
    )
    return Trigger("accuracy", fired, wape, threshold, f"WAPE {wape:.1%} is {'above' if fired else 'not above'} {bound}.")


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
    """Purchases were told of since the last training."""
    waiting = evidence.purchase_signals
    reason = f"{waiting:,} purchase signals wait." if waiting else "No purchase signal waits."
    return Trigger("purchase_signal", waiting > 0, float(waiting), 0.0, reason)


def force(evidence: Evidence, settings: Models) -> Trigger:  # noqa: ARG001 - every rule takes both
    """Somebody asked for it."""
    return Trigger("force", evidence.forced, None, None, "Asked for." if evidence.forced else "Not asked for.")


RULES: tuple[Callable[[Evidence, Models], Trigger], ...] = (accuracy, age, purchase_signal, force)
"""Every trigger, in the order in which they are shown."""


def evaluate(evidence: Evidence, settings: Models) -> list[Trigger]:
    """All triggers with what they rest on, fired or not; train again if any fired.

    Raises ValueError where the champion saw days after `evidence.day`.
    """
    return [rule(evidence, settings) for rule in RULES]


def _known(value: float | None) -> float | None:
    """NaN is unknown."""
    return None if value is None or isnan(value) else value
