"""The vote of three models: what an ad's rate will be on its next day, by its own history, by XGBoost and by the DNA score together.

What belongs here: putting the three members together, the parameters that this takes and how they are learned from past days, published
weights, intervals, and whether intervals hold what they promise. What does not: the members (`baselines`, `ctr_model`, `score`), how good
predictions were (`accuracy`), and where predictions are kept.

**The vote** is Gamma–Poisson with XGBoost as the prior of the ad's own history (Clayton & Kaldor, Biometrics 1987):

    p = q (k + events) / (k + expected)

q is what the prior says of the next day; `events` are the ad's own (clicks, for CTR) and `expected` what the prior had said of them before each
of those days, both decayed by age; k is the strength of the prior in events. An ad without a past has p = q; with thousands of events the
ratio of what came to what was expected decides. q is XGBoost's prediction times a rolling calibration (He et al., ADKDD 2014, on freshness),
pooled log-linearly with the DNA score's, equally calibrated, at a weight that past days choose and that may be 0 (Genest & Zidek, Statistical
Science 1986). A member that says nothing of an ad is left out. Without XGBoost the DNA score is the prior, with a strength of its own; without
either the ad's own history (`baselines.history`, a Thompson posterior mean) stands alone.

**Leak-free.** Only predictions that were stored before their day enter `expected`. Past days without one count as the *present* prediction says
of them, which knows nothing of the day it is made for; they are never scored.

**Money.** The numerator of ROAS is no count: its variance is its mean times far more than 1. Revenue and spend of an account are divided by a
`unit`, the variance over the mean of its ad-days' revenue, in micros, learned from the days of each ad around its own total (Pearson's
chi-square over its degrees of freedom; McCullagh & Nelder 1989, §4.5). What is left are *equivalent events*, which vary as counts do, have no
currency, and may be added over accounts; a rate stays what it was. An account whose unit is not known has no own history in the vote.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning.accuracy import SMALLEST_RATE
from learning_assets.learning.targets import Target
from learning_assets.settings import Models

VERSION = "1"
"""Changes when the same predictions and facts would give another vote."""

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]

MEMBERS = ("own_history", "xgboost", "dna_score")
"""Columns of the members' predictions; rates, NULL where a member says nothing."""
_PRIORS = MEMBERS[1:]

VOTE = pl.Schema(
    {
        "ensemble": pl.Float64,
        "fixed_vote": pl.Float64,
        **{f"weight_{name}": pl.Float64 for name in MEMBERS},
        "prior": pl.Float64,
        "own_events": pl.Float64,
        "own_expected": pl.Float64,
        "rate_variance": pl.Float64,
        "unit": pl.Float64,
        "vote_note": pl.String,
    }
)
"""What `vote` adds to an ad; a figure that is not known is NULL.

`ensemble`: the vote, a rate. `fixed_vote`: the plain mean of the members by fixed weights. `weight_*`: what each member counts in the ensemble,
0 to 1, together 1. `prior`: q. `own_events`, `own_expected`: decayed, in events. `rate_variance`: variance of the true rate over the square of
`ensemble`; NULL where the own history stands alone. What a bandit draws is Gamma with the mean `ensemble` and the shape 1 / `rate_variance`.
`unit`: of the numerator per event, 1 for counts. `vote_note`: which member is missing and what stood in, NULL where all three spoke.
"""

_STRENGTHS = np.array([1, 2, 5, 10, 20, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800], dtype=np.float64)
_WEIGHTS = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.5])
_GRID = (len(_STRENGTHS), len(_WEIGHTS))
_WIDENINGS = np.array([0.25, 0.5, 1, 2, 4, 8, 16, 32])
_PRIOR_VARIANCES = np.array([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32])
_USUAL_NOISE, _LARGEST_NOISE = 0.1, 0.5
"""Noise of an ad-day by which differences are weighted, and above which none is said."""
_SMALLEST_VARIANCE = 1e-6
"""Relative variance below which a negative binomial is a Poisson to every digit that matters."""
_MAX_SPREAD_ROWS = 20_000
"""Ad-days from which the spread of rates is learned, at most; every k-th beyond."""
_MIN_FREEDOM = 30
"""Degrees of freedom of an account's ad-days below which the unit of its money is not known."""


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
    rows = _rows(past, None, target)
    units = _units(rows, target)
    rows = rows.in_events(units, target)
    days = np.unique(rows.day[rows.said.any(axis=1) & (rows.den > 0)])[-settings.ensemble_days :]
    scored = np.isin(rows.day, days) & rows.said.any(axis=1) & (rows.den > 0)
    events = float(rows.num[scored].sum())
    known_until = _date(rows.day.max()) if len(rows.day) else None
    found = Parameters(
        target=target.name,
        learned=False,
        reason="",
        first_day=_date(days[0]) if len(days) else None,
        last_day=_date(days[-1]) if len(days) else None,
        known_until=known_until,
        ad_days=int(scored.sum()),
        events=events,
        strength=settings.ensemble_strength,
        dna_weight=0.0,
        dna_strength=settings.ensemble_dna_strength,
        prior_variance=settings.ensemble_prior_variance,
        widening=1.0,
        day_noise=settings.ensemble_day_noise,
        calibration=_calibration(rows, settings),
        units={name: float(unit) for name, unit in zip(rows.accounts, units, strict=True) if unit > 0} if target.money else {},
    )
    if len(days) < settings.ensemble_min_days or events < settings.ensemble_min_events:
        reason = (
            f"{len(days)} days with {events:,.0f} events have predictions that were stored before them; {settings.ensemble_min_days} days and "
            f"{settings.ensemble_min_events:,} events are needed, so that strength and noise are those of the settings."
        )
        return replace(found, reason=reason)
    state = _walk(rows, scored, _WEIGHTS, settings)
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
        f"Chosen by log loss on {len(days)} days ({_date(days[0])} to {_date(days[-1])}) with {events:,.0f} events, each predicted from what "
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


def vote(ad_days: pl.DataFrame, past: pl.DataFrame, parameters: Parameters, target: Target, settings: Models) -> pl.DataFrame:
    """The ensemble, its published weights, and the plain fixed vote beside it, for the ads of later days.

    The weight of an ad's own history is expected / (k + expected); the rest is parted between XGBoost and the DNA score as the prior pools
    them. The fixed vote is the mean of the members by `settings.vote_*`, over those that speak. The own history of an ad that has no past says
    nothing of that ad, so it counts in neither where another member speaks.

    Parameters
    ----------
    ad_days : the ads to predict: `date`, `account_id`, `ad_id` and `own_history`, `xgboost`, `dna_score`, predicted rates, NULL where a
        member says nothing. Further columns are handed through.
    past : as for `learn`. Only rows dated before an ad-day enter it.
    parameters : from `learn`, of days before every ad-day.
    target : as for `learn`.
    settings : `history_decay`, `calibration_*` and `vote_*`.

    Returns
    -------
    `ad_days` in its order with the columns of VOTE. An ad of which no member says anything has NULL.

    Raises
    ------
    ValueError : as for `learn`; parameters of another target, or that have seen an ad-day's date.
    """
    if parameters.target != target.name:
        raise ValueError(f"the parameters were learned for {parameters.target}, not for {target.name}")
    taken = sorted(set(VOTE) & set(ad_days.columns))
    if taken:
        raise ValueError(f"ad_days: column {', '.join(map(repr, taken))} is computed here; leave it out or rename it")
    rows = _rows(past, ad_days, target)
    asked = rows.asked
    first = rows.day[asked].min() if asked.any() else None
    if first is not None and parameters.known_until is not None and _date(first) <= parameters.known_until:
        raise ValueError(
            f"the parameters rest on facts up to {parameters.known_until}, and {_date(first)} is to be predicted; "
            "learn them from days before it"
        )
    units = np.array([parameters.units.get(name, np.nan) if target.money else 1.0 for name in rows.accounts])
    state = _walk(rows.in_events(units, target), asked, np.array([parameters.dna_weight]), settings)

    said = rows.said[asked]
    trees, dna = said[:, 0], said[:, 1]
    k = np.where(trees, parameters.strength, parameters.dna_strength)
    q, expected = state.prior[:, 0], state.expected[:, 0]
    with_prior = trees | dna
    own = ad_days["own_history"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    alone = ~with_prior & ~np.isnan(own)
    p = np.where(with_prior, q * (k + state.events) / (k + expected), own)
    if not target.money:
        p = np.minimum(p, 1.0)
    own_weight = np.where(with_prior, expected / (k + expected), np.where(alone, 1.0, np.nan))
    dna_share = np.where(trees & dna, parameters.dna_weight, dna.astype(np.float64))
    has_own = ~np.isnan(own) & ((state.seen > 0) | alone)
    unit = units[rows.account[asked]]
    # The noise is learned where XGBoost speaks; by how much ads differ from the DNA score, its strength says.
    prior_variance = np.where(trees, parameters.prior_variance, max(parameters.prior_variance, 1 / parameters.dna_strength))
    figures = {
        "ensemble": p,
        "fixed_vote": _fixed_vote(ad_days, has_own, settings),
        "weight_own_history": own_weight,
        "weight_xgboost": (1 - own_weight) * (1 - dna_share),
        "weight_dna_score": (1 - own_weight) * dna_share,
        "prior": np.where(with_prior, q, np.nan),
        "own_events": np.where(np.isnan(unit), np.nan, state.events),
        "own_expected": np.where(np.isnan(unit) | ~with_prior, np.nan, expected),
        "rate_variance": np.where(with_prior, _rate_variance(prior_variance, parameters.widening, state.events), np.nan),
        "unit": unit,
    }
    notes = _notes(trees, dna, ~np.isnan(own), state.seen > 0, np.isnan(unit))
    return ad_days.with_columns(
        *(pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in figures.items()),
        pl.Series("vote_note", notes, dtype=pl.String),
    )


def mean_weights(voted: pl.DataFrame) -> dict[str, float | None]:
    """Mean over ads of each member's published weight, by member; None where no ad has one. The means sum to 1."""
    return {name: voted[f"weight_{name}"].mean() for name in MEMBERS}  # pyright: ignore[reportReturnType]


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
    p, variance = _floats(voted, "ensemble"), np.maximum(_floats(voted, "rate_variance"), _SMALLEST_VARIANCE)
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
    count = np.rint(_floats(voted, target.events) / unit)
    chance = size / (size + mean)

    def below(x: Floats) -> Floats:
        return np.where(x < 0, 0.0, np.asarray(betainc(size, np.maximum(x, 0) + 1, chance), dtype=np.float64))

    low, high = below(count - 1), below(count)
    found = low + drawn * (high - low)
    return np.where(np.isnan(mean + count), np.nan, found)


# What comes in.


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Ad-days by day: facts, and those that are asked for, whose amounts are 0.

    `day`: since 1970; `unit`: ad; `account`: index into `accounts`; `prior`: raw rates of XGBoost and the DNA score, shape (n, 2); `said`: where
    they are known.
    """

    day: Codes
    unit: Codes
    account: Codes
    accounts: list[str]
    num: Floats
    den: Floats
    prior: Floats
    said: Mask
    asked: Mask

    def in_events(self, units: Floats, target: Target) -> "_Rows":
        """Money in equivalent events; facts of accounts without a unit count nothing."""
        if not target.money:
            return self
        unit = units[self.account]
        num, den = (np.where(np.isnan(unit), 0.0, values / unit) for values in (self.num, self.den))
        return _Rows(self.day, self.unit, self.account, self.accounts, num, den, self.prior, self.said, self.asked)


def _rows(past: pl.DataFrame, ad_days: pl.DataFrame | None, target: Target) -> _Rows:
    keys, amounts = ["date", "account_id", "ad_id"], [target.events, target.exposure]
    _refuse_columns("past", past, [*keys, *amounts, *_PRIORS], keys)
    facts = past.drop_nulls(amounts).select(
        *keys, *(pl.col(name).cast(pl.Float64) for name in (*amounts, *_PRIORS)), asked=False
    )
    twice = facts.filter(pl.struct(keys).is_duplicated()).select(keys)
    if twice.height:
        raise ValueError(f"past: {twice.row(0, named=True)} appears more than once; give one row per ad and day")
    for name in amounts:
        wrong = facts.filter(~(pl.col(name).is_finite() & (pl.col(name) >= 0)))
        if wrong.height:
            raise ValueError(
                f"past: {name} is {wrong[name][0]} in {wrong.select(keys).row(0, named=True)}; it must be 0 or more"
            )
    every = [facts]
    if ad_days is not None:
        _refuse_columns("ad_days", ad_days, [*keys, *MEMBERS], keys)
        every.append(
            ad_days.select(
                *keys,
                *(pl.lit(0.0).alias(name) for name in amounts),
                *(pl.col(name).cast(pl.Float64) for name in _PRIORS),
                asked=True,
            )
        )
    for what, frame, names in (("past", past, _PRIORS), *((("ad_days", ad_days, MEMBERS),) if ad_days is not None else ())):
        for name in names:
            wrong = frame.filter(~(pl.col(name).cast(pl.Float64).is_finite() & (pl.col(name) >= 0)))
            if wrong.height:
                at = wrong.select(*keys, name).row(0, named=True)
                raise ValueError(f"{what}: {at}; a predicted rate is at least 0, and NULL where nothing is said")
    rows = pl.concat(every)
    units = rows.select("account_id", "ad_id").unique().sort("account_id", "ad_id").with_row_index("unit")
    accounts = units["account_id"].unique().sort()
    coded = rows.join(units, on=["account_id", "ad_id"], how="left", maintain_order="left").join(
        accounts.to_frame().with_row_index("account"), on="account_id", how="left", maintain_order="left"
    )
    prior = coded.select(_PRIORS).fill_null(np.nan).to_numpy()
    return _Rows(
        day=coded["date"].cast(pl.Date).to_physical().to_numpy().astype(np.int64),
        unit=coded["unit"].to_numpy().astype(np.int64),
        account=coded["account"].to_numpy().astype(np.int64),
        accounts=accounts.to_list(),
        num=coded[target.events].to_numpy(),
        den=coded[target.exposure].to_numpy(),
        prior=np.maximum(prior, SMALLEST_RATE),
        said=~np.isnan(prior),
        asked=coded["asked"].to_numpy(),
    )


def _refuse_columns(what: str, frame: pl.DataFrame, columns: list[str], keys: list[str]) -> None:
    missing = sorted(set(columns) - set(frame.columns))
    if missing:
        raise ValueError(f"{what}: no column {', '.join(map(repr, missing))}; it has {', '.join(frame.columns)}")
    unknown = frame.select(pl.col(keys).is_null().any()).row(0, named=True)
    if any(unknown.values()):
        raise ValueError(f"{what}: NULL in {', '.join(k for k, v in unknown.items() if v)}; every row needs its day and ad")


def _refuse_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; the level of an interval lies between 0 and 1")


def _date(day: int | np.int64) -> date:
    return date.fromordinal(int(day) + date(1970, 1, 1).toordinal())


def _floats(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


# Days, one after the other.


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """What was known before each of some rows, for every way to pool the prior (columns; the last is the DNA score alone where learned).

    `prior`, `expected`: shape (n, ways); `events`, `seen`: shape (n,), decayed.
    """

    prior: Floats
    expected: Floats
    events: Floats
    seen: Floats

    def of(self, keep: Mask) -> "_State":
        return _State(self.prior[keep], self.expected[keep], self.events[keep], self.seen[keep])


class _Recent:
    """Events and expected events by member and account over the newest days with predictions, from which they are calibrated."""

    def __init__(self, accounts: int, settings: Models) -> None:
        self._settings = settings
        self._days: list[tuple[Floats, Floats]] = []
        self._none = np.zeros((len(_PRIORS), accounts))

    def add(self, rows: _Rows, of: Codes) -> None:
        """The facts of a day: what came of what was predicted."""
        said = rows.said[of]
        if not said.any():
            return
        size = self._none.shape[1]
        account, num, den = rows.account[of], rows.num[of], rows.den[of]
        foretold = np.where(said, den[:, None] * rows.prior[of], 0.0)
        came, expected = self._none.copy(), self._none.copy()
        for m in range(len(_PRIORS)):
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


def _walk(rows: _Rows, wanted: Mask, weights: Floats, settings: Models) -> _State:
    """Go through the days once, and keep what was known before the wanted rows; ways are the weights, and the DNA score alone."""
    ways = len(weights) + 1
    units = int(rows.unit.max()) + 1 if len(rows.unit) else 0
    # Expected events of days with a stored prediction, and the exposure of days without one.
    expected, untold = np.zeros((units, ways)), np.zeros((units, ways))
    events, seen = np.zeros(units), np.zeros(units)
    place = np.cumsum(wanted) - 1
    count = int(wanted.sum())
    state = _State(np.full((count, ways), np.nan), np.full((count, ways), np.nan), np.zeros(count), np.zeros(count))
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


def _calibration(rows: _Rows, settings: Models) -> tuple[Calibration, ...]:
    """How the newest days calibrate each member that spoke on them, over all accounts."""
    recent = _Recent(len(rows.accounts), settings)
    for day in np.unique(rows.day[rows.said.any(axis=1)])[-settings.calibration_days :]:
        recent.add(rows, np.flatnonzero(rows.day == day))
    came, expected = (total.sum(axis=1) for total in recent.sums())
    factors = recent.pooled()[:, 0]
    return tuple(
        Calibration(name, float(factors[m]), float(came[m]), float(expected[m]))
        for m, name in enumerate(_PRIORS)
        if expected[m] > 0
    )


# What is learned.


def _losses(state: _State, num: Floats, den: Floats, ways: slice, target: Target) -> Floats:
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

    variance = _rate_variance(prior_variance, widening, events) + noise**2
    size = 1 / np.maximum(variance, _SMALLEST_VARIANCE)
    mass = gammaln(count + size) - gammaln(size) + xlogy(count, mean / (size + mean)) - size * np.log1p(mean / size)
    # Log-normal around 1: where days are few or alike, an event says what one event says.
    return float(np.sum(mass)) - 0.5 * float(np.log(widening) / np.log(2)) ** 2


def _rate_variance(prior_variance: float | Floats, widening: float, events: Floats) -> Floats:
    """Variance of an ad's true rate over its square: the prior's, less what the ad's own events say, each of them as much as 1 / widening."""
    return 1 / (1 / prior_variance + events / widening)


def _units(rows: _Rows, target: Target) -> Floats:
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


# What is told.


def _fixed_vote(ad_days: pl.DataFrame, has_own: Mask, settings: Models) -> Floats:
    """Mean of the members that speak, by the fixed weights."""
    weights = np.array([settings.vote_own_history, settings.vote_xgboost, settings.vote_dna_score])
    rates = ad_days.select(pl.col(name).cast(pl.Float64) for name in MEMBERS).fill_null(np.nan).to_numpy().copy()
    rates[~has_own, 0] = np.nan
    counted = np.where(np.isnan(rates), 0.0, weights)
    total = counted.sum(axis=1)
    return np.divide((np.nan_to_num(rates) * counted).sum(axis=1), total, out=np.full(len(rates), np.nan), where=total > 0)


def _notes(trees: Mask, dna: Mask, own: Mask, past: Mask, no_unit: Mask) -> pl.Series:
    """Which member says nothing of an ad, and what stood in."""
    flags = pl.DataFrame({"trees": trees, "dna": dna, "own": own, "past": past, "no_unit": no_unit})
    return flags.select(
        pl.when(~pl.col("trees") & ~pl.col("dna") & ~pl.col("own"))
        .then(pl.lit("No member says anything of this ad."))
        .when(~pl.col("trees") & ~pl.col("dna"))
        .then(pl.lit("Neither XGBoost nor the DNA score says anything: the ad's own history stands alone."))
        .when("no_unit")
        .then(pl.lit("How the account's revenue varies is not known: the ad's own history does not count."))
        .when(~pl.col("past"))
        .then(pl.lit("The ad has no past: the vote is what its models expect."))
        .when(~pl.col("trees"))
        .then(pl.lit("XGBoost says nothing: the DNA score is the prior."))
        .when(~pl.col("dna"))
        .then(pl.lit("The DNA score says nothing: XGBoost alone is the prior."))
    ).to_series()


def _predictive(voted: pl.DataFrame, denominator: str, parameters: Parameters) -> tuple[Floats, Floats, Floats]:
    """Mean and size of the negative binomial of the ad-days' events, and the unit; NaN where not known."""
    unit = _floats(voted, "unit")
    mean = _floats(voted, denominator) * _floats(voted, "ensemble") / unit
    variance = _floats(voted, "rate_variance") + parameters.day_noise**2
    size = 1 / np.maximum(variance, _SMALLEST_VARIANCE)
    return np.where(np.isnan(size), np.nan, mean), size, unit
