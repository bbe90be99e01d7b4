"""Why predictions went wrong: drift, tracking, new creatives, or what the figures do not tell.

What belongs here: a diagnosis from sums. What does not: whether accuracy dropped (`triggers`), and whom to tell.

The error that is to be explained is the *excess*: absolute errors of ad-days beyond those that a perfect predictor shows (`accuracy.mean_deviation`).
Each cause leaves another trace in the excess, by account and by whether an ad is new:

- `tracking`: counts of an account are gone, or nearly so, where hundreds were to come, while what they are counted on (impressions, clicks) goes on.
- `new_creatives`: the excess lies with ads first seen within the last days, and the old ones are as predicted.
- `drift`: the counts are off their expectation, all in one direction, in new and old ads and in most accounts.
- `unknown`: none of these explains most of the excess.

How sure it is, is a grade and no probability, since nobody has counted how often each cause occurs: `sure` is the share of the excess that the cause
explains, and only traces of more than `settings.standard_errors` standard errors count.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
import polars as pl

from learning_assets.learning import accuracy
from learning_assets.settings import Causes

Name = Literal["tracking", "new_creatives", "drift", "unknown"]

COUNTED = {"ctr": ("clicks", "impressions"), "cvr": ("conversions", "clicks"), "roas": ("revenue", "spend")}
"""What is counted for a metric, and on what."""

CELLS = pl.Schema(
    {
        "account_id": pl.String,
        "new": pl.Boolean,
        "ads": pl.Int64,
        "base": pl.Int64,
        "actual": pl.Float64,
        "expected": pl.Float64,
        "absolute": pl.Float64,
        "floor": pl.Float64,
        "dispersion": pl.Float64,
    }
)
"""One row per account and kind of ad, of one metric and model over the days that accuracy was measured on.

`new`: the ads were first seen within the last days. `base`: sum of the denominators (impressions, clicks, spend); `actual` and `expected`: sums of the
numerators, as counted and as predicted; `absolute`: sum over ad-days of |actual − expected|; `floor`: what of it a perfect predictor would show;
`dispersion`: variance of counts over Poisson variance, at least 1; NULL means 1."""

FLOWS = pl.Schema(
    {
        "account_id": pl.String,
        "counted": pl.String,
        "base": pl.Int64,
        "actual": pl.Int64,
        "usual": pl.Float64,
    }
)
"""One row per account and kind of count (`clicks` on impressions, `conversions` on clicks) on the newest days: `base` and `actual` counts, and `usual`, the
count that the account's earlier days would have given on this base; NULL where there were none."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The likely cause of a drop.

    Attributes
    ----------
    name : of the cause.
    share : part of the excess error that it explains, 0 to 1; None where it is unknown or the error has no excess.
    sure : `likely` from `settings.sure` of the excess on, `possible` from `settings.least` on; None where unknown.
    accounts : those in which it was seen, the largest part of the excess first.
    reason : a sentence with the figures, without names of accounts.
    """

    name: Name
    share: float | None
    sure: Literal["likely", "possible"] | None
    accounts: tuple[str, ...]
    reason: str


def cells(compared: pl.DataFrame, dispersion: float | None) -> pl.DataFrame:
    """Sums by account and kind of ad.

    Parameters
    ----------
    compared : one row per ad and day of one metric and model: `account_id`, `ad_id`, `metric`, `new` (whether the ad was first seen lately), `predicted`,
        `num` and `den` (counts, or micros for roas). Rows without one of these, or with nothing in the denominator, are left out.
    dispersion : variance of daily counts over Poisson variance; None where it is not known.

    Returns
    -------
    Frame with schema CELLS. Amounts of money have no floor: theirs is 0, all of their error is taken for excess.
    """
    spread = max(dispersion or 1.0, 1.0)
    rows = compared.drop_nulls(["predicted", "num", "den", "new"]).filter(pl.col("den") > 0)
    rows = rows.with_columns(expected=pl.col("den") * pl.col("predicted"))
    deviation = pl.Series(accuracy.mean_deviation(rows["expected"].to_numpy(), np.array(spread)), dtype=pl.Float64)
    return (
        rows.with_columns(floor=pl.when(pl.col("metric") != "roas").then(deviation).otherwise(0.0))
        .group_by("account_id", "new")
        .agg(
            ads=pl.col("ad_id").n_unique(),
            base=pl.col("den").sum(),
            actual=pl.col("num").sum(),
            expected=pl.col("expected").sum(),
            absolute=(pl.col("num") - pl.col("expected")).abs().sum(),
            floor=pl.col("floor").sum(),
        )
        .with_columns(dispersion=pl.lit(dispersion, pl.Float64))
        .sort("account_id", "new")
        .select(pl.col(name).cast(kind) for name, kind in CELLS.items())
    )


def concerned(cells: pl.DataFrame) -> pl.DataFrame:
    """Accounts by their part of the excess error, the largest first: `account_id`, `excess` (counts), `share` (0 to 1), `actual`, `expected`.

    Accounts without excess are left out.
    """
    found = (
        cells.group_by("account_id")
        .agg(pl.col("actual", "expected").sum(), excess=_excess())
        .filter(pl.col("excess") > 0)
        .sort("excess", "account_id", descending=[True, False])
    )
    return found.with_columns(share=pl.col("excess") / pl.col("excess").sum()).select(
        "account_id", "excess", "share", "actual", "expected"
    )


def diagnose(cells: pl.DataFrame, flows: pl.DataFrame, metric: str, settings: Causes) -> Cause:
    """The likely cause of the errors of one model and metric.

    Tracking is looked for first, since a count that is gone explains whatever rests on it; then new creatives, then drift.

    Parameters
    ----------
    cells : schema CELLS.
    flows : schema FLOWS; may be empty.
    metric : ctr, cvr or roas.
    settings : bounds of each trace.

    Raises
    ------
    ValueError : the metric is not known.
    """
    if metric not in COUNTED:
        raise ValueError(f"metric {metric!r} is not one of {', '.join(COUNTED)}")
    whole = concerned(cells)
    total = float(whole["excess"].sum())
    if total <= 0:
        return Cause(
            "unknown", None, None, (), "The errors are no larger than chance explains, so that there is no cause to be found."
        )
    found = (
        _tracking(cells, flows, whole, metric, settings),
        _new(cells, settings),
        _drift(cells, whole, metric, settings),
    )
    for cause in found:
        if cause is not None and cause.share is not None and cause.share >= settings.least:
            return cause
    return Cause("unknown", None, None, (), _undecided(cells, whole, metric, settings))


def _graded(name: Name, share: float, accounts: list[str], reason: str, settings: Causes) -> Cause:
    return Cause(name, share, "likely" if share >= settings.sure else "possible", tuple(accounts), reason)


def _tracking(cells: pl.DataFrame, flows: pl.DataFrame, whole: pl.DataFrame, metric: str, settings: Causes) -> Cause | None:
    """Counts that are gone while what they are counted on goes on."""
    counted = COUNTED[metric][0]
    # Whatever a metric's counts rest on may have gone: without clicks there are no conversions, without conversions no revenue.
    relevant = {"ctr": ["clicks"], "cvr": ["clicks", "conversions"], "roas": ["clicks", "conversions"]}[metric]
    expected = cells.group_by("account_id").agg(pl.col("base", "actual", "expected").sum())
    by_model = expected.select("account_id", counted=pl.lit(counted), base="base", actual="actual", usual="expected")
    if metric == "roas":
        by_model = by_model.clear()  # amounts have no smallest number that would be beyond chance
    seen = pl.concat(
        [by_model.cast(dict(FLOWS) | {"actual": pl.Float64}), flows.cast(dict(FLOWS) | {"actual": pl.Float64})],  # pyright: ignore[reportArgumentType]
    ).filter(pl.col("counted").is_in(relevant))
    gone = seen.filter(
        pl.col("usual") >= settings.min_expected, pl.col("actual") <= settings.gone * pl.col("usual"), pl.col("base") > 0
    )
    if gone.is_empty():
        return None
    parts = whole.join(gone.select("account_id").unique(), on="account_id", how="semi")
    if parts.is_empty():
        return None
    told = gone.join(parts.select("account_id"), on="account_id", how="semi").sort("usual", descending=True).row(0, named=True)
    on = dict(COUNTED.values())[told["counted"]]
    share = float(parts["share"].sum())
    reason = (
        f"In {_accounts(parts.height)} {told['counted']} are gone while {on} go on: {told['actual']:,.0f} on {told['base']:,} {on}, "
        f"where about {told['usual']:,.0f} were to come. That is {share:.0%} of the error beyond chance. Look at the pixel, the conversions API and "
        "the links of these ads before a model is blamed."
    )
    return _graded("tracking", share, parts["account_id"].to_list(), reason, settings)


def _new(cells: pl.DataFrame, settings: Causes) -> Cause | None:
    """An excess that new ads have and old ones do not."""
    new, old = (cells.filter(pl.col("new") == value) for value in (True, False))
    if new.is_empty() or old.is_empty():
        return None
    excess, rest = (float(rows.select(_excess(each=True)).item() or 0.0) for rows in (new, old))
    if excess <= 0:
        return None
    share = excess / (excess + max(rest, 0.0))
    floor, expected = float(new["floor"].sum()), float(new["expected"].sum())
    weight = expected / float(cells["expected"].sum()) if expected > 0 else 0.0
    # The excess of new ads has to stand out from the noise of absolute errors, whose spread is about 0.75 of their mean on each ad-day.
    if excess < settings.standard_errors * 0.75 * floor / sqrt(max(int(new["ads"].sum()), 1)):
        return None
    # Old ads that share the error in proportion to their size make it no matter of novelty.
    if share < weight + (1 - weight) * settings.least or _off(old, settings):
        return None
    accounts = new.group_by("account_id").agg(excess=_excess()).filter(pl.col("excess") > 0)
    reason = (
        f"{share:.0%} of the error beyond chance lies with the {new['ads'].sum():,} ads first seen in the last {settings.new_days} days, which make "
        f"{weight:.0%} of what was expected; the older ads are about as predicted. The model has not seen their like yet."
    )
    return _graded("new_creatives", share, accounts.sort("excess", descending=True)["account_id"].to_list(), reason, settings)


def _drift(cells: pl.DataFrame, whole: pl.DataFrame, metric: str, settings: Causes) -> Cause | None:
    """Counts that are off in one direction, in new and old ads and in most accounts."""
    ratio = _ratio(cells)
    if ratio is None or not _off(cells, settings):
        return None
    up = ratio > 1
    for kind in (True, False):
        part = cells.filter(pl.col("new") == kind)
        other = _ratio(part)
        # Too few counts to tell are no objection; the other direction, or nothing at all where much was to come, is.
        if other is not None and (other > 1) != up and float(part["expected"].sum()) >= settings.min_expected:
            return None
    accounts = cells.group_by("account_id").agg(pl.col("actual", "expected").sum())
    told = accounts.filter(pl.col("expected") >= settings.min_expected)
    same = told.filter((pl.col("actual") > pl.col("expected")) == up)
    # As many accounts as chance alone would hardly turn one way.
    if told.height and same.height / told.height < settings.across:
        return None
    weight = float(same["expected"].sum()) / float(told["expected"].sum()) if told.height else 1.0
    largest = whole["share"][0]
    if told.height > 1 and largest > settings.sure:
        return None
    counted = COUNTED[metric][0]
    actual, expected = float(cells["actual"].sum()), float(cells["expected"].sum())
    # Errors that a common factor takes away are explained by it.
    shift = abs(actual - expected)
    share = min(1.0, shift / float(whole["excess"].sum())) * weight
    reason = (
        f"{counted.capitalize()} are {'above' if up else 'below'} what was predicted across the board, {ratio:.2f} times as many, in new and old ads, "
        f"in {same.height} of {told.height} accounts that say enough. The market, the season or the delivery has "
        "changed; a model that is trained anew learns it."
    )
    return _graded("drift", share, whole["account_id"].to_list(), reason, settings)


def _undecided(cells: pl.DataFrame, whole: pl.DataFrame, metric: str, settings: Causes) -> str:
    """Why no cause is named, with what can be seen."""
    largest = float(whole["share"][0])
    if cells["account_id"].n_unique() > 1 and largest >= settings.least:
        return (
            f"One account alone has {largest:.0%} of the error beyond chance, in ads old and new and without a count that is gone: something of its "
            "own has changed there, which these figures do not tell."
        )
    ratio = _ratio(cells)
    times = "" if ratio is None else f" On the whole, {COUNTED[metric][0]} are {ratio:.2f} times what was predicted."
    return f"The error is spread over ads without a pattern by account, age of the ads or direction.{times}"


def _excess(*, each: bool = False) -> pl.Expr:
    """Absolute errors beyond those of a perfect predictor; with `each`, an account whose errors are below takes nothing from the others."""
    excess = pl.col("absolute") - pl.col("floor")
    return (excess.clip(lower_bound=0.0) if each else excess).sum()


def _ratio(cells: pl.DataFrame) -> float | None:
    expected = float(cells["expected"].sum())
    return float(cells["actual"].sum()) / expected if expected > 0 else None


def _off(cells: pl.DataFrame, settings: Causes) -> bool:
    """Whether counts are off their expectation by more than `max_ratio`, and by more than chance explains."""
    actual, expected = float(cells["actual"].sum()), float(cells["expected"].sum())
    if expected <= 0:
        return actual > 0
    variance = float((cells["expected"] * cells["dispersion"].fill_null(1.0)).sum())
    larger = max(actual / expected, expected / actual) if actual > 0 else settings.max_ratio + 1
    return larger > settings.max_ratio and abs(actual - expected) > settings.standard_errors * sqrt(variance)


def _accounts(count: int) -> str:
    return "one account" if count == 1 else f"{count} accounts"
