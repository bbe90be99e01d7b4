"""Parameters of the trees, chosen from a small grid by a split in time inside the days that a model is trained on.

What belongs here: the grid, the split, and the choice. What does not: training (`ctr_model`), what the trees see (`retraining`), and whether the model
that comes of it takes the champion's place (`champion`): of the days on which that is decided nothing is seen here.

The newest share of the training days is predicted by models of the days before, as the product predicts (Bergmeir & Benítez, On the use of
cross-validation for time series predictor evaluation, Information Sciences 2012). The least log loss per unit of exposure wins, the loss that the trees
are trained by; the settings' own parameters win ties.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from itertools import product
from typing import Any

import polars as pl

from learning_assets.learning import champion, ctr_model
from learning_assets.learning.targets import Target
from learning_assets.settings import Models

_DEEPER = (0, -2, 2)
_PULLS = (1.0, 0.25)
_LENGTHS = (1.0, 0.5)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place of the grid: settings by name, and the log loss of the later days, nats per unit of exposure."""

    parameters: Mapping[str, float]
    log_loss: float


@dataclass(frozen=True, slots=True)
class Search:
    """What a search has found, and on what it rests.

    Attributes
    ----------
    chosen : settings by name; empty where nothing could be compared, so that the settings' own hold.
    reason : in a sentence, how they were chosen or why they were not.
    fit_until, scored_from : the split: candidates were trained on days up to the first and scored on days from the second; None without one.
    ad_days, exposure, events : of the days that were scored.
    candidates : in the order of the grid, the settings' own first; empty where nothing could be compared.
    """

    chosen: Mapping[str, float]
    reason: str
    fit_until: date | None = None
    scored_from: date | None = None
    ad_days: int = 0
    exposure: float = 0.0
    events: float = 0.0
    candidates: tuple[Candidate, ...] = ()

    def to_json(self) -> str:
        """Text from which `from_json` makes an equal search."""
        return json.dumps(asdict(self), default=date.isoformat)

    @classmethod
    def from_json(cls, text: str) -> "Search":
        """A search from what `to_json` gave."""
        told: dict[str, Any] = json.loads(text)
        for name in ("fit_until", "scored_from"):
            told[name] = None if told[name] is None else date.fromisoformat(told[name])
        told["candidates"] = tuple(Candidate(**one) for one in told["candidates"])
        return cls(**told)


def grid(settings: Models) -> list[dict[str, float]]:
    """The candidates around the settings' own parameters, which come first: twelve, fewer where two would be the same.

    Depth as it is, two less and two more; the pull of `l2` and `min_child_clicks` as it is and a quarter of it; `trees` as many and half as many.
    """
    found: list[dict[str, float]] = []
    for deeper, pull, length in product(_DEEPER, _PULLS, _LENGTHS):
        one: dict[str, float] = {
            "max_depth": max(1, settings.max_depth + deeper),
            "min_child_clicks": settings.min_child_clicks * pull,
            "l2": settings.l2 * pull,
            "trees": max(1, round(settings.trees * length)),
        }
        if one not in found:
            found.append(one)
    return found


def first_scored(facts: pl.DataFrame, settings: Models, target: Target) -> date | None:
    """The day from which candidates are scored: the first of the newest `settings.search_share` of the days whose results are known.

    None where a day on either side is lacking. `facts`: rows with `date` and the target's columns.
    """
    days = facts.drop_nulls([target.exposure, target.events])["date"].unique().sort()
    later = max(1, round(len(days) * settings.search_share))
    return days[-later] if later < len(days) else None


def choose(frame: pl.DataFrame, since: date, settings: Models, target: Target) -> Search:
    """Train each candidate on the days before `since`, and take the one that predicts the days from then on best.

    Parameters
    ----------
    frame : from `ctr_model.features`, with the target's columns. No feature may know anything of `since` or later but for what was known before each
        ad-day itself.
    since : from `first_scored`.
    settings : as for `ctr_model.train`; `min_ads`, `min_impressions`.

    Raises
    ------
    ValueError : the days before `since` teach nothing.
    """
    known = frame.drop_nulls([target.exposure, target.events]).filter(pl.col(target.exposure) > 0)
    before, later = known.filter(pl.col("date") < since), known.filter(pl.col("date") >= since)
    exposure, events = (later[name].to_numpy().astype(float) for name in (target.exposure, target.events))
    if not events.sum() > 0:
        return Search({}, f"From {since} on no {target.events.replace('_', ' ')} are known: the settings' own parameters hold.")
    candidates: list[Candidate] = []
    for one in grid(settings):
        model = ctr_model.train(before, settings.model_copy(update=one), target)
        candidates.append(Candidate(one, champion.log_loss(events, exposure, model.predict(later), target)))
    own = candidates[0]
    # The first of the least is taken, and the settings' own stand first.
    best = min(candidates, key=lambda candidate: candidate.log_loss)
    until = before["date"].max()
    assert isinstance(until, date)
    told = (
        "the settings' own parameters predicted best"
        if best is own
        else f"the chosen parameters lose {own.log_loss - best.log_loss:.2e} nats per unit of exposure less than the settings' own"
    )
    return Search(
        chosen=best.parameters,
        reason=f"Of {len(candidates)} candidates, trained on days up to {until} and scored on those from {since} on, {told}.",
        fit_until=until,
        scored_from=since,
        ad_days=later.height,
        exposure=float(exposure.sum()),
        events=float(events.sum()),
        candidates=tuple(candidates),
    )
