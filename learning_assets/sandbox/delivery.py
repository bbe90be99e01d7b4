"""What a day's delivery is made of: local hours, budgets that were edited, and orders that become known later.

What belongs here: how the counts of an ad-day fall on the hours of its local day, which part of a day each budget of an edited
sequence governs, and when each order is known and by which attribution window. What does not: who advertises and the true
rates (`market`), and the protocol that serves any of it (`graph`).

An hour of the local day is counted as it elapses, from 0; a day has 23 or 25 of them where daylight saving changes, so hours
have a label (what a local clock shows) beside their number. Counts are placed, never drawn anew: the hours of a day sum to the day.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import ceil
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from learning_assets.sandbox.draws import Floats, Ints, Keys, normal, part_key, uniform

HOUR_SHARES = tuple(
    weight / 1000 for weight in (18, 12, 9, 7, 7, 10, 19, 32, 43, 48, 49, 50, 54, 53, 50, 49, 51, 55, 62, 70, 76, 74, 63, 39)
)
"""Share of a day's impressions in each local hour, 0 to 23."""
HOURS = 25
"""Most hours that a local day has."""
HOUR_SD = 0.15
"""Standard deviation of the logarithm of an ad's share of an hour."""
SATURATION = 0.9
"""Impressions grow with this power of the budget: spend follows the budget exactly, and the impressions it adds get dearer."""
VIEW_SHARE = 0.12
"""Part of the counted conversions that are credited to a view within a day instead of a click within seven."""
LATE_SHARE = 0.05
"""Conversions 8 to 28 days after the click, which only the window of 28 days counts, relative to the counted ones."""
RETRACTED_SHARE = 0.02
"""Conversions that are reported and taken back some days later, relative to those that stay."""


@dataclass(frozen=True, slots=True)
class BudgetEdit:
    """A new daily budget: the id of an ad set or (where the campaign has the budget) a campaign, the moment with its offset, and
    micros of the account's currency. It governs delivery from the next full hour on."""

    entity_id: str
    at: datetime
    daily_budget_micros: int


# Local days.


@lru_cache(maxsize=4096)
def hour_labels(timezone: str, day: date) -> tuple[int, ...]:
    """What a local clock shows at the start of each hour of `day`: 23, 24 or 25 labels, one missing or repeated."""
    zone = ZoneInfo(timezone)
    begin = datetime.combine(day, time(), zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    return tuple((begin + timedelta(hours=h)).astimezone(zone).hour for h in range(round((end - begin).total_seconds() / 3600)))


@lru_cache(maxsize=4096)
def hour_shares(timezone: str, day: date) -> Floats:
    """Expected share of each elapsed hour in the day's impressions, shape (25,), 0 beyond the day's end; sums to 1."""
    shares = np.zeros(HOURS)
    labels = hour_labels(timezone, day)
    shares[: len(labels)] = [HOUR_SHARES[label] for label in labels]
    return shares / shares.sum()


def local_moment(timezone: str, at: datetime) -> tuple[date, float]:
    """The local date of a moment, and the hours that have elapsed of that day."""
    zone = ZoneInfo(timezone)
    day = at.astimezone(zone).date()
    begin = datetime.combine(day, time(), zone).astimezone(UTC)
    return day, (at.astimezone(UTC) - begin).total_seconds() / 3600


def midnight(timezone: str, day: date) -> datetime:
    """The moment at which a local day begins, in UTC."""
    return datetime.combine(day, time(), ZoneInfo(timezone)).astimezone(UTC)


def effective_from(timezone: str, at: datetime) -> tuple[date, int]:
    """Local date and elapsed hour from which an edit made at `at` governs delivery; the hour may be the day's end."""
    day, elapsed = local_moment(timezone, at)
    return day, ceil(elapsed)


# Budgets.


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of ad-days, each under one budget: `row` indexes the ad-days, `factor` is the budget over the market's own, and the
    part lasts from elapsed hour `start` to `stop`."""

    row: Ints
    factor: Floats
    start: Floats
    stop: Floats


def whole_days(rows: int) -> Parts:
    """One part for each ad-day, under the market's own budget."""
    return Parts(np.arange(rows), np.ones(rows), np.zeros(rows), np.full(rows, float(HOURS)))


def edited(parts: Parts, rows: Ints, day: Ints, changes: Sequence[tuple[int, int, float]]) -> Parts:
    """`parts` with the ad-days `rows` (whose days are `day`) under `changes`: day, elapsed hour and factor, oldest first."""
    keep = ~np.isin(parts.row, rows)
    pieces = [(parts.row[keep], parts.factor[keep], parts.start[keep], parts.stop[keep])]
    bounds = [(np.iinfo(np.int64).min, 0, 1.0), *changes]
    starts = [np.where(day > since, 0.0, np.where(day == since, float(hour), np.inf)) for since, hour, _ in bounds]
    for k, (_, _, factor) in enumerate(bounds):
        stop = np.minimum(starts[k + 1] if k + 1 < len(bounds) else np.inf, HOURS)
        holds = np.flatnonzero(stop > starts[k])
        pieces.append((rows[holds], np.full(len(holds), factor), starts[k][holds], np.broadcast_to(stop, len(rows))[holds]))
    row, factor, start, stop = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = np.lexsort((start, row))
    return Parts(row[order], factor[order], start[order], stop[order])


# Hours.


@dataclass(frozen=True, slots=True)
class Hours:
    """Counts by ad-day and elapsed hour, each of shape (rows, 25); spend in micros."""

    impressions: Ints
    clicks: Ints
    clicks_all: Ints
    views: Ints
    spend: Ints

    def each(self) -> tuple[Ints, ...]:
        """The five counts in their order."""
        return self.impressions, self.clicks, self.clicks_all, self.views, self.spend


def by_hour(seed: int, key: Keys, shares: Floats, totals: Hours, minor: Ints) -> Hours:
    """Place an ad-day's counts on its hours, so that every hour is possible (clicks and views at most impressions) and all sum up.

    Parameters
    ----------
    key : of the ad-day, shape (rows,).
    shares : expected share of each hour, shape (rows, 25).
    totals : the days' counts, each of shape (rows,).
    minor : micros of the currency's smallest unit, shape (rows,); each hour's spend is whole ones.
    """
    rows = len(key)
    numbers = np.arange(HOURS)
    weights = shares * np.exp(HOUR_SD * normal(seed, "hour", part_key(key[:, None], numbers[None, :])))
    reached = np.cumsum(weights, axis=1)
    reached /= reached[:, -1:]
    shown = np.rint(totals.impressions[:, None] * reached).astype(np.int64)
    link, every = (_placed(seed, stream, key, shown, count) for stream, count in _clicks(totals))
    every = every + link
    # Clicks fall on impressions at random; where that is impossible (tiny hours), they are spread evenly over them.
    crowded = np.flatnonzero((_steps(every) > _steps(shown)).any(axis=1))
    if len(crowded):
        offset = uniform(seed, "even", key[crowded])
        every[crowded] = _even(shown[crowded], totals.clicks_all[crowded], offset)
        link[crowded] = _even(every[crowded], totals.clicks[crowded], offset)
    views = _even(shown, totals.views, uniform(seed, "even views", key))
    part = np.divide(shown, totals.impressions[:, None], out=np.zeros((rows, HOURS)), where=totals.impressions[:, None] > 0)
    spend = np.rint(totals.spend[:, None] * part / minor[:, None]).astype(np.int64) * minor[:, None]
    return Hours(*(_steps(reached_count) for reached_count in (shown, link, every, views, spend)))


def _clicks(totals: Hours) -> tuple[tuple[str, Ints], tuple[str, Ints]]:
    return ("hour of click", totals.clicks), ("hour of other click", totals.clicks_all - totals.clicks)


def _steps(reached: Ints) -> Ints:
    """Counts by hour of counts reached by the end of each hour."""
    return np.diff(reached, axis=1, prepend=0)


def _placed(seed: int, stream: str, key: Keys, shown: Ints, count: Ints) -> Ints:
    """Counts reached by the end of each hour when each falls on one of the day's impressions at random."""
    row = np.repeat(np.arange(len(key)), count)
    number = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    total = shown[:, -1]
    before = np.cumsum(total) - total
    chosen = np.floor(uniform(seed, stream, part_key(key[row], number)) * total[row]).astype(np.int64)
    flat = (before[:, None] + shown).ravel()
    cell = np.searchsorted(flat, before[row] + chosen, side="right")
    return np.cumsum(np.bincount(cell, minlength=flat.size).reshape(shown.shape), axis=1)


def _even(parents: Ints, count: Ints, offset: Floats) -> Ints:
    """Counts reached by the end of each hour when they are spread over their parents at equal steps."""
    total = np.maximum(parents[:, -1:], 1)
    reached = np.ceil(parents * (count[:, None] / total) - offset[:, None])
    reached = np.clip(reached, 0, count[:, None]).astype(np.int64)
    reached[parents == parents[:, -1:]] = np.broadcast_to(count[:, None], reached.shape)[parents == parents[:, -1:]]
    return reached


def covered(hours: Hours, start: Floats, stop: Floats, minor: Ints) -> Hours:
    """What of the hours lies between `start` and `stop`, in elapsed hours of the day; a running hour gives its part, rounded down to
    whole counts and whole units of `minor` micros."""
    numbers = np.arange(HOURS)
    part = np.clip(np.minimum(stop[:, None], numbers + 1) - np.maximum(start[:, None], numbers), 0, 1)
    found = Hours(*(np.floor(counts * part).astype(np.int64) for counts in hours.each()))
    return replace(found, spend=found.spend // minor[:, None] * minor[:, None])


# Orders.


@dataclass(frozen=True, slots=True)
class Orders:
    """One element per order, and per order that is reported and taken back: index of the ad-day, the moments at which it becomes
    known and is taken back (days from the epoch; infinite if never), its value in micros, and by what it is counted."""

    row: Ints
    known: Floats
    gone: Floats
    micros: Floats
    view: npt.NDArray[np.bool_]
    """Credited to a view within a day."""
    first_day: npt.NDArray[np.bool_]
    """Credited to a click within a day."""
    late: npt.NDArray[np.bool_]
    """Counted by the window of 28 days only."""


@dataclass(frozen=True, slots=True)
class Conversions:
    """What is known of orders, per ad-day: counts and micros by window. `value` is the ad set's attribution setting: clicks of
    7 days and views of one."""

    counts: dict[str, Ints]
    micros: dict[str, Ints]


WINDOWS = ("value", "1d_click", "7d_click", "28d_click", "1d_view")


def known_orders(orders: Orders, rows: int, moment: Floats) -> Conversions:
    """Orders known at `moment` (days from the epoch, one for each of the `rows` ad-days)."""
    now = moment[orders.row]
    known = (orders.known < now) & (orders.gone >= now)
    counted, clicked = known & ~orders.late, known & ~orders.view
    chosen = {
        "value": counted,
        "1d_click": counted & orders.first_day,
        "7d_click": counted & ~orders.view,
        "28d_click": clicked,
        "1d_view": counted & orders.view,
    }
    counts: dict[str, Ints] = {}
    micros: dict[str, Ints] = {}
    for window, mask in chosen.items():
        row = orders.row[mask]
        counts[window] = np.bincount(row, minlength=rows)
        # Sums of whole micros below 2**53 are exact in floats.
        micros[window] = np.bincount(row, weights=orders.micros[mask], minlength=rows).astype(np.int64)
    return Conversions(counts, micros)
