"""What the vote takes besides the members, and how sure it leaves one of an ad's true rate.

What belongs here: the parameters, their file, and the spread that they give. What does not: how they are learned (`fitting`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from learning_assets.learning.ensemble.rows import Floats

SMALLEST_VARIANCE = 1e-6
"""Relative variance below which a negative binomial is a Poisson to every digit that matters."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a member's next predictions are multiplied with over all accounts, `events` in its days over `expected`, drawn towards 1."""

    member: str
    factor: float
    events: float
    expected: float


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the vote takes besides the members, and what it rests on.

    Attributes
    ----------
    target : name of the rate.
    learned : whether strength, weight and noise come from past days; where not, they are the settings' documented values.
    reason : in a sentence, what they rest on or why they are not learned.
    first_day, last_day : of the days that were scored; None where none was.
    known_until : newest day of any fact that was seen, None without facts.
    ad_days, events : scored, and the events in them.
    strength : k, events, where XGBoost is in the prior.
    dna_weight : of the DNA score in the prior's logarithm where both speak, 0 to 0.5.
    dna_strength : k, events, where the DNA score alone is the prior.
    prior_variance : variance of the true rate of an ad without events over the square of what the vote says.
    widening : events that say of a rate as much as one would, did ad-days vary no more than counts; at least 0.25.
    day_noise : standard deviation of the logarithm of an ad-day's rate around the ad's own, at least 0.
    calibration : of each member that spoke lately.
    units : of money: micros per equivalent event, by account; empty for counts.
    """

    target: str
    learned: bool
    reason: str
    first_day: date | None
    last_day: date | None
    known_until: date | None
    ad_days: int
    events: float
    strength: float
    dna_weight: float
    dna_strength: float
    prior_variance: float
    widening: float
    day_noise: float
    calibration: tuple[Calibration, ...]
    units: Mapping[str, float]

    def to_json(self) -> str:
        """Text from which `from_json` makes equal parameters."""
        return json.dumps(asdict(self), default=date.isoformat, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Parameters":
        """Parameters from what `to_json` gave; ValueError or TypeError where it is something else."""
        told: dict[str, Any] = json.loads(text)
        for name in ("first_day", "last_day", "known_until"):
            told[name] = None if told[name] is None else date.fromisoformat(told[name])
        told["calibration"] = tuple(Calibration(**one) for one in told["calibration"])
        return cls(**told)


def rate_variance(prior_variance: float | Floats, widening: float, events: Floats) -> Floats:
    """Variance of an ad's true rate over its square: the prior's, less what the ad's own events say, each of them as much as 1 / widening."""
    return 1 / (1 / prior_variance + events / widening)
