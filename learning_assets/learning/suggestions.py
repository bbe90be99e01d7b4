"""What to change in a new creative, and what to expect of it: one change at a time, each carried by evidence.

What belongs here: which changes are possible, which the evidence carries, and their expected lift. What does not: the evidence itself
(`lift` for lifts, `formula` for winners against losers) and the words of pages and terminals.

**Carried** is a value whose pattern is active at q <= `q_level`, in the account, its niche or over all, or that winners have more (or less) often
than losers at that level; and whose expected lift there has an interval on one side of zero, the same side for all that is known of it: a value
that lifts one metric and surely lowers another is not suggested, nor one that losers surely have more often.

**Expected lift** is a posterior for the account. Accounts differ in what works, with a standard deviation τ of the log lift that is estimated from
the accounts' own lifts around the common one (`between_accounts`). Where a value's lift over several accounts is known, the
account's own lift is drawn towards it, as far as its error and τ say; where it has none the common one holds, give or take τ. So an account's
lucky find promises little, and the interval is that of the account, not of the mean of all. Where no other accounts are known, it is the
account's shrunk lift. Arms that were drawn at random go before others.

**A change** is from the value that the creative has. With p the share of ads that have a value and l its lift against the other ads, the value lies
(1 − p) l above the mean of all, so from c to v the change is (1 − p_v) l_v − (1 − p_c) l_c; half-widths are added, since the two rest on the
same ads. Lifts of several changes do not add up: they were estimated one by one, and overlap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning.hooks import UNKNOWN
from learning_assets.settings import Formula

Floats = NDArray[np.float64]
Action = Literal["add", "change", "choose", "drop", "leave"]

SUGGESTIONS = pl.Schema(
    {
        **dict.fromkeys(("action", "attribute", "from_value", "to_value", "metric"), pl.String),
        **dict.fromkeys(("log_lift", "low", "high", "q_value"), pl.Float64),
        **dict.fromkeys(("evidence", "scope"), pl.String),
        **dict.fromkeys(("ads_with", "ads_without", "accounts", "impressions"), pl.Int64),
        **dict.fromkeys(("winners_with", "winners", "losers_with", "losers"), pl.Int64),
    }
)
"""One row per suggestion, the surest gain first.

`action`: `add` a value to those of a list or `drop` one of them, `change` from one value to another, `leave` a value for any other, `choose` a
value where the creative's is not known (`to_value` is NULL after `drop` and `leave`). `log_lift` is the natural log of the expected ratio of
`metric` after the change, with bounds `low` and `high`; it is one at a time. `evidence`, `scope` and the counts are those of the pattern that is
cited, and of the formula (NULL where it says nothing of the value)."""

BETWEEN = pl.Schema(dict.fromkeys(("between_ctr", "between_cvr", "between_roas"), pl.Float64))
"""By metric, how much accounts differ in their lifts: kept on the row of a formula's scope over several accounts, NULL elsewhere."""

_PERCENT_BANDS = ("under_20", "20_to_39", "40_up")

SAME: tuple[frozenset[tuple[str, str]], ...] = (
    frozenset({("hook_types", "question"), ("has_question", "yes")}),
    frozenset({("hook_types", "direct_address"), ("second_person", "yes")}),
    frozenset({("hook_types", "statistic"), ("has_number", "yes")}),
    frozenset({("hook_types", "offer"), ("offer", "yes"), *(("percent_off_band", band) for band in _PERCENT_BANDS)}),
)
"""Values that come together: of each set one change is suggested."""

RULED_OUT_BY: Mapping[tuple[str, str], frozenset[tuple[str, str]]] = {
    ("has_question", "no"): frozenset({("hook_types", "question")}),
    ("second_person", "no"): frozenset({("hook_types", "direct_address")}),
    ("has_number", "no"): frozenset({("hook_types", "statistic"), *(("percent_off_band", band) for band in _PERCENT_BANDS)}),
    ("offer", "no"): frozenset({("hook_types", "offer"), *(("percent_off_band", band) for band in _PERCENT_BANDS)}),
}
"""What cannot be had while a creative keeps something else: one whose hook is a question has a question mark."""

_FLAGS = ("yes", "no")
"""Of these, dropping one is changing to the other, which is suggested as such."""

_SCOPES = ("account", "niche", "all")
_MIN_COMPARED = 20
"""Lifts of accounts below which nobody can say how much accounts differ."""
_METRICS = ("roas", "cvr", "ctr")


def suggest(
    creative: Mapping[str, Any], formula: pl.DataFrame, patterns: pl.DataFrame, attributes: Sequence[str], settings: Formula
) -> pl.DataFrame:
    """What to change in a creative.

    Parameters
    ----------
    creative : its attributes, a string or a list of strings each; what is missing, None or `unknown` is not known. An empty mapping asks what
        to try next.
    formula : rows of `formula.FORMULA` that the creative's account may know, with the columns BETWEEN; may be empty.
    patterns : rows of `lift.FOUND` and `lift.STATE` likewise.
    attributes : which attributes can be changed.
    settings : `q_level`, and `suggestions`, how many at most.

    Returns
    -------
    Frame with schema SUGGESTIONS; empty where the evidence carries none.
    """
    known = _Evidence(formula, patterns, attributes, settings)
    found: list[dict[str, Any]] = []
    for (name, value), belief in known.carried.items():
        has, listed = _values(creative.get(name)), isinstance(creative.get(name), (list, tuple))
        if belief.gain > 0 and value not in has and _possible(creative, name, value):
            found.append(_towards(known, belief, has, listed=listed))
        elif belief.gain < 0 and value in has and value not in _FLAGS:
            found.append(_told(known, belief, "drop" if listed else "leave", value, None, -belief.gain, belief.half))
    sure = sorted((one for one in found if one["low"] > 0), key=_order)
    return pl.DataFrame(_distinct(sure)[: settings.suggestions], schema=SUGGESTIONS)


def between_accounts(patterns: pl.DataFrame, scope: str, settings: Formula) -> dict[str, float | None]:
    """How much accounts differ in their lifts, for each of BETWEEN: the standard deviation of log lifts around those of `scope`.

    By moments (Hedges & Olkin, Statistical Methods for Meta-Analysis, 1985): squared distances less squared errors. Lifts are weighted by their
    numbers of ads, n = n1 n0 / (n1 + n0) squared, and not by their errors, which would favour those whose error is too small by luck. NULL
    where fewer than `_MIN_COMPARED` lifts can be compared.

    Parameters
    ----------
    patterns : rows of `lift.FOUND` of some accounts and of the scope over them.
    settings : `min_ads` that have and lack a value.
    """
    wide = patterns.filter(scope=scope, evidence="observational").select(
        "attribute", "value", "metric", common="shrunk_log_lift"
    )
    enough = pl.min_horizontal("ads_with", "ads_without") >= settings.min_ads
    own = patterns.filter(enough, scope="account", evidence="observational").join(wide, on=["attribute", "value", "metric"])
    weight = (pl.col("ads_with") * pl.col("ads_without") / (pl.col("ads_with") + pl.col("ads_without"))) ** 2
    excess = (pl.col("log_lift") - pl.col("common")) ** 2 - pl.col("se") ** 2
    by_metric = (
        own.drop_nulls(["common", "log_lift", "se"])
        .sort("metric", "account_id", "attribute", "value")
        .group_by("metric", maintain_order=True)
        .agg(apart=((weight * excess).sum() / weight.sum()).clip(lower_bound=0).sqrt(), lifts=pl.len())
    )
    found = dict(by_metric.filter(pl.col("lifts") >= _MIN_COMPARED).select("metric", "apart").iter_rows())
    return {name: found.get(name.removeprefix("between_")) for name in BETWEEN}


def _quantile(settings: Formula) -> float:
    """The normal quantile of the intervals."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    return float(special.ndtri((1 + settings.confidence_level) / 2))


@dataclass(frozen=True, slots=True)
class _Belief:
    """What is expected of a value in the account: log lift `gain` give or take `half`; `row` is the pattern that is cited for it."""

    gain: float
    half: float
    row: Mapping[str, Any]

    @property
    def sign(self) -> int:
        return _sign(self.gain - self.half, self.gain + self.half)


class _Evidence:
    """What is known of each value: `carried` holds what a change to it, or away from it, would rest on, by attribute and value."""

    def __init__(self, formula: pl.DataFrame, patterns: pl.DataFrame, attributes: Sequence[str], settings: Formula) -> None:
        told = formula.filter(
            pl.col("attribute").is_in(list(attributes)), pl.col("kind") == "choice", pl.col("value") != UNKNOWN
        )
        self.settings = settings
        self.quantile = _quantile(settings)
        self.formula = _by_key(told, ("scope", "attribute", "value"))
        self.between = _by_key(formula.filter(pl.col("kind") == "scope"), ("scope",))
        usable = patterns.filter(
            pl.col("attribute").is_in(list(attributes)),
            pl.col("value") != UNKNOWN,
            pl.col("status") != "deprecated",
            pl.col("shrunk_log_lift").is_not_null() & pl.col("shrunk_low").is_not_null() & pl.col("shrunk_high").is_not_null(),
        )
        first = usable.sort(pl.col("evidence") != "randomized", "q_value", nulls_last=True)
        self.patterns = _by_key(first, ("attribute", "value", "metric", "scope"))
        values = sorted({(str(name), str(value)) for name, value, _, _ in self.patterns})
        self.carried = {key: belief for key in values if (belief := self._carrying(*key)) is not None}

    def counts(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The formula's row of the value: of the pattern's scope, else of the nearest one that has it."""
        keys = [(scope, row["attribute"], row["value"]) for scope in (row["scope"], *_SCOPES)]
        return next((self.formula[key] for key in keys if key in self.formula), dict[str, Any]())

    def belief(self, attribute: str, value: str, metric: str) -> _Belief | None:
        """What is expected of a value in the account; None where nothing is known of it."""
        known = {scope: row for scope in _SCOPES if (row := self.patterns.get((attribute, value, metric, scope))) is not None}
        own, wide = known.get("account"), known.get("niche", known.get("all"))
        if wide is None:
            return None if own is None else _Belief(own["shrunk_log_lift"], _half(own), own)
        apart = self.between.get((wide["scope"],), {}).get(f"between_{metric}")
        if apart is None:
            # Nobody knows how much accounts differ, so how much the account's own lift weighs is not known either.
            return _Belief(wide["shrunk_log_lift"], _half(wide), wide)
        common, mean = (_half(wide) / self.quantile) ** 2 + apart**2, wide["shrunk_log_lift"]
        if own is None or own["low"] is None or own["high"] is None:
            return _Belief(mean, self.quantile * math.sqrt(common), wide)
        error = ((own["high"] - own["low"]) / (2 * self.quantile)) ** 2
        weight = common / (common + error)
        gain = mean + weight * (own["log_lift"] - mean)
        return _Belief(gain, self.quantile * math.sqrt(weight * error), wide)

    def _carrying(self, attribute: str, value: str) -> _Belief | None:
        beliefs: list[_Belief] = []
        for metric in _METRICS:
            belief = self.belief(attribute, value, metric)
            rows = [row for scope in _SCOPES if (row := self.patterns.get((attribute, value, metric, scope))) is not None]
            carriers = [row for row in rows if belief is not None and belief.sign and self._carries(row, belief.sign)]
            if belief is not None and carriers:
                beliefs.append(replace(belief, row=carriers[0]))
        if not beliefs:
            return None
        best = beliefs[0]
        against = any(belief.sign != best.sign for belief in beliefs)
        lost = any(
            _sign(row["low"], row["high"]) == -best.sign and _at_most(row["q_value"], self.settings.q_level)
            for scope in _SCOPES
            if (row := self.formula.get((scope, attribute, value))) is not None
        )
        return None if against or lost else best

    def _carries(self, row: Mapping[str, Any], sign: int) -> bool:
        """Whether a pattern has proven itself, or winners and losers of its scope differ in the value, both in this direction."""
        if _sign(row["shrunk_low"], row["shrunk_high"]) != sign:
            return False
        if row["status"] == "active" and _at_most(row["q_value"], self.settings.q_level):
            return True
        told = self.formula.get((row["scope"], row["attribute"], row["value"]))
        return (
            told is not None and _sign(told["low"], told["high"]) == sign and _at_most(told["q_value"], self.settings.q_level)
        )


def _by_key(rows: pl.DataFrame, key: Sequence[str]) -> dict[tuple[str, ...], dict[str, Any]]:
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(tuple(row[name] for name in key), row)
    return found


def _sign(low: float | None, high: float | None) -> int:
    """1 or -1 where an interval lies on one side of zero, else 0."""
    if low is None or high is None:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def _at_most(q: float | None, level: float) -> bool:
    return q is not None and q <= level


def _order(one: Mapping[str, Any]) -> tuple[object, ...]:
    """The surest gain first; where two are as sure, the one that says what to do before the one that says what not to."""
    return -round(one["low"], 9), one["action"], one["attribute"], one["to_value"] or one["from_value"]


def _values(said: object) -> frozenset[str]:
    """The values that a creative has of an attribute; none where it is not known."""
    listed = cast("Sequence[object]", said if isinstance(said, (list, tuple)) else [said])
    return frozenset(str(value) for value in listed if value is not None and value != UNKNOWN)


def _possible(creative: Mapping[str, Any], name: str, value: str) -> bool:
    """Whether the value can be had without giving up something else that the creative has."""
    return not any(
        other in _values(creative.get(attribute)) for attribute, other in RULED_OUT_BY.get((name, value), frozenset())
    )


def _half(row: Mapping[str, Any]) -> float:
    return (row["shrunk_high"] - row["shrunk_low"]) / 2


def _towards(known: _Evidence, belief: _Belief, has: frozenset[str], *, listed: bool) -> dict[str, Any]:
    """The suggestion to have a value, from what the creative has."""
    row = belief.row
    if listed:
        return _told(known, belief, "add", None, row["value"], belief.gain, belief.half)
    if not has:
        return _told(known, belief, "choose", None, row["value"], belief.gain, belief.half)
    (current,) = has
    gain, half = belief.gain, belief.half
    before = known.belief(row["attribute"], current, row["metric"])
    if before is not None:
        above, below = _lacking(row), _lacking(before.row)
        gain = above * gain - below * before.gain
        half = above * half + below * before.half
    return _told(known, belief, "change", current, row["value"], gain, half)


def _lacking(row: Mapping[str, Any]) -> float:
    """Share of the ads that lack the value."""
    return row["ads_without"] / max(row["ads_with"] + row["ads_without"], 1)


def _told(
    known: _Evidence, belief: _Belief, action: Action, from_value: str | None, to_value: str | None, gain: float, half: float
) -> dict[str, Any]:
    row = belief.row
    counts = known.counts(row)
    return {
        "action": action,
        "attribute": row["attribute"],
        "from_value": from_value,
        "to_value": to_value,
        "metric": row["metric"],
        "log_lift": gain,
        "low": gain - half,
        "high": gain + half,
        **{name: row[name] for name in ("q_value", "evidence", "scope", "ads_with", "ads_without", "accounts", "impressions")},
        **{name: counts.get(name) for name in ("winners_with", "winners", "losers_with", "losers")},
    }


def _distinct(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of each attribute of one value, and of values that come together."""
    kept: list[dict[str, Any]] = []
    taken: set[object] = set()
    for one in found:
        value = one["to_value"] or one["from_value"]
        same = next((group for group in SAME if (one["attribute"], value) in group), None)
        # A list may gain several values; an attribute of one value can only be changed once.
        key = same or ((one["attribute"], value) if one["action"] == "add" else one["attribute"])
        if key not in taken:
            kept.append(one)
        taken.add(key)
    return kept
