"""Whether clicks leave their expectation, hour by hour: the sequential detector that notices a shift within hours.

What belongs here: what is expected of each hour, and the detector's evidence from day to day. What does not: errors over whole windows of days
(`accuracy`), the decision to train again (`triggers`), and which hours are finished (the caller gives finished hours only).

Hours are the account's local hours, 0 to 23, of its local date, as platforms report them. An account ahead of UTC has ended its day earlier, one
behind it later: a stream over several accounts adds up hours of the same local name, which are hours apart on the clock, and an account whose day
has not ended when the others are judged joins them a day later (`watch`). Its evidence is as valid, because each account's clicks are compared
with what was expected of that account; delays count local hours. Where daylight saving repeats an hour the two are one, and where it skips one
there is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.settings import Models

VERSION = "1"

Floats = NDArray[np.float64]

CHANGES = (-0.3, -0.2, -0.1, 0.1, 0.2, 0.3)
"""Changes r of the rate that the detector bets on, each relative to what was expected."""

_LARGEST = 700.0
"""Logarithm up to which evidence is told; beyond it only says that it is enormous."""


@dataclass(frozen=True, slots=True)
class State:
    """What a detector carries from hour to hour.

    `evidence` : M(r) of each of CHANGES, hours, at least 0; all 0 at the start and after an alarm. `last` : the newest hour that it has seen, as
    local date and hour; None before the first.
    """

    evidence: tuple[float, ...] = (0.0,) * len(CHANGES)
    last: tuple[date, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """As values that JSON knows."""
        last = None if self.last is None else [self.last[0].isoformat(), self.last[1]]
        return {"evidence": list(self.evidence), "last": last}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "State":
        """What `to_json` gave; ValueError where it holds anything else."""
        evidence = tuple(float(value) for value in values["evidence"])
        if len(evidence) != len(CHANGES) or not all(0 <= value < np.inf for value in evidence):
            raise ValueError(f"a detector's evidence is {len(CHANGES)} numbers of at least 0, not {evidence}; start it anew")
        last = values["last"]
        return cls(evidence, None if last is None else (date.fromisoformat(last[0]), int(last[1])))


@dataclass(frozen=True, slots=True)
class Day:
    """What the hours did to a detector.

    `peak` : highest mean evidence over CHANGES after any of the hours, in hours; None where there was none. `change` : the one of CHANGES that it
    speaks for most, there. `alarms` : hours in which the evidence reached the threshold, and the detector began anew.
    """

    state: State
    peak: float | None
    change: float | None
    alarms: tuple[tuple[date, int], ...]


def hourly(delivery: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Clicks of each account and hour beside those that the day's predictions give, before any profile of the day.

    Parameters
    ----------
    delivery : one row per ad and finished local hour: `date`, `hour`, `account_id`, `ad_id`, `impressions`, `link_clicks`; rows with unknown
        counts, and of ads without a prediction, are left out.
    predictions : one row per ad and date: `date`, `account_id`, `ad_id`, `predicted`, the rate expected over that day; made before it.

    Returns
    -------
    `account_id`, `date`, `hour`, `clicks` and `flat`, the sum of impressions x predicted; sorted.
    """
    rates = predictions.select("date", "account_id", "ad_id", "predicted").drop_nulls("predicted")
    return (
        delivery.drop_nulls(["impressions", "link_clicks"])
        .join(rates, on=["date", "account_id", "ad_id"], how="inner")
        .sort("account_id", "date", "hour", "ad_id")
        .group_by("account_id", "date", "hour", maintain_order=True)
        .agg(clicks=pl.col("link_clicks").sum(), flat=(pl.col("impressions") * pl.col("predicted")).sum())
    )


def profile(past: pl.DataFrame) -> pl.DataFrame:
    """How the click rate varies over an account's local day, learned from past days.

    An hour's factor is its clicks over those expected of it, given the account's total, so that a model which is off everywhere leaves no mark
    on it. Factors are shrunk towards 1 by the moments of their differences, (k + clicks) / (k + expected) with k = φ / τ² (DerSimonian & Laird,
    Controlled Clinical Trials 1986), then scaled so that the past adds up: an account whose hours do not differ beyond chance has 1 throughout.
    φ is Pearson's, of the hours of single days around what day and hour say of them, at least 1.

    Parameters
    ----------
    past : from `hourly`, any number of days.

    Returns
    -------
    `account_id`, `hour`, `factor`: above 0 and around 1. Hours that the past does not have are not there; take 1.
    """
    clicks, mean, account = pl.col("clicks"), pl.col("mean"), "account_id"
    # Always added up in one order, so that the same hours give the same bits.
    cells = (
        past.filter(pl.col("flat") > 0)
        .sort(account, "hour", "date")
        .with_columns(mean=pl.col("flat") * (clicks.sum() / pl.col("flat").sum()).over(account, "date"))
        .with_columns(mean=mean * (clicks.sum() / mean.sum()).over(account, "hour"))
    )
    dispersion = (
        cells.filter(mean > 0)
        .group_by(account, maintain_order=True)
        .agg(off=((clicks - mean) ** 2 / mean).sum(), freedom=(pl.col("date").n_unique() - 1) * (pl.col("hour").n_unique() - 1))
        .select(
            account,
            phi=pl.when(pl.col("freedom") > 0).then(pl.col("off") / pl.col("freedom")).clip(lower_bound=1.0).fill_null(1.0),
        )
    )
    by_hour = (
        cells.group_by(account, "hour", maintain_order=True)
        .agg(pl.col("clicks", "flat").sum())
        .with_columns(mean=pl.col("flat") * (clicks.sum() / pl.col("flat").sum()).over(account))
        .filter(mean > 0)
        .join(dispersion, on=account, how="left")
    )
    exposure = mean.sum() - (mean**2).sum() / mean.sum()
    variance = ((((clicks - mean) ** 2 / mean).sum() - (pl.len() - 1) * pl.col("phi").first()) / exposure).over(account)
    shrunk = (pl.col("prior") + clicks) / (pl.col("prior") + mean)
    return (
        by_hour.with_columns(prior=pl.when(variance > 0).then(pl.col("phi") / variance))
        .with_columns(factor=shrunk.fill_null(1.0))
        .select(account, "hour", factor=pl.col("factor") * (mean.sum() / (mean * pl.col("factor")).sum()).over(account))
    )


def noise(past: pl.DataFrame, dispersion: Mapping[str, float], level: float = 0.95) -> pl.DataFrame:
    """Dispersion of each stream's hourly counts, allowing for swings that all its ads share.

    φ of single ads does not show what moves a whole account on a day, which grows with its volume. Half the mean squared difference of
    successive days' standardised totals does (von Neumann, Annals of Mathematical Statistics 1941), and a lasting shift enters it once only. It
    takes the place of the ads' own φ where it is surely larger, at `level`.

    Parameters
    ----------
    past : `stream`, `date`, `hour`, `clicks`, `expected` of past days; hours of one stream and day add up, and what is expected counts in
        proportion only.
    dispersion : φ of single ads (`accuracy.MEASURES`) by stream, at least 1 and 1 where it is not there: the least that is returned.

    Returns
    -------
    `stream`, `dispersion`; streams without three days with expected clicks have what was given.
    """
    from scipy.special import chdtri  # pyright: ignore[reportMissingTypeStubs]

    ordered = past.sort("stream", "date", "hour").group_by("stream", "date", maintain_order=True)
    days = ordered.agg(pl.col("clicks", "expected").sum())
    least = pl.DataFrame(
        {"stream": list(dispersion), "least": list(dispersion.values())}, {"stream": pl.String, "least": pl.Float64}
    )
    level_of = pl.col("clicks").sum().over("stream") / pl.col("expected").sum().over("stream")
    found = (
        days.filter(pl.col("expected") > 0)
        .with_columns(mean=pl.col("expected") * level_of)
        .filter(pl.col("mean") > 0)
        .with_columns(step=((pl.col("clicks") - pl.col("mean")) / pl.col("mean").sqrt()).diff().over("stream"))
        .group_by("stream")
        .agg(own=(pl.col("step") ** 2).mean() / 2, steps=pl.col("step").count())
    )
    # Squared differences overlap; their mean is as sure as two thirds as many independent squares.
    freedom = np.maximum(found["steps"].to_numpy() * 2 / 3, 1.0)
    bound = np.asarray(chdtri(freedom, 1 - level), dtype=np.float64) / freedom
    surely = (pl.col("steps") >= 2) & (pl.col("own") > pl.col("bound") * pl.col("least"))
    return (
        past.select("stream")
        .unique()
        .join(found.with_columns(bound=pl.Series(bound, dtype=pl.Float64)), on="stream", how="left")
        .join(least, on="stream", how="left")
        .with_columns(pl.col("least").fill_null(1.0))
        .select("stream", dispersion=pl.when(surely).then("own").otherwise("least"))
        .sort("stream")
    )


def expect(day: pl.DataFrame, past: pl.DataFrame, dispersion: Mapping[str, float]) -> pl.DataFrame:
    """Hours of each stream with the clicks that were expected of them, and the dispersion to judge them by.

    Expected of an hour is Σ impressions of the hour x the rate predicted for the day x the account's factor for that hour, the last learned from
    days before it only: what a detector is told beforehand may not depend on the clicks that it judges.

    Parameters
    ----------
    day, past : from `hourly`, with a column `stream` (a pool, or the account itself), the days to judge and days before all of them. An account
        may be in several streams.
    dispersion : φ of single ads by stream, at least 1 and 1 where it is not there.

    Returns
    -------
    `stream`, `date`, `hour`, `clicks`, `expected`, `dispersion`, for `advance`.

    Raises
    ------
    ValueError : the past reaches into the days to judge, or dispersion below 1.
    """
    for stream, phi in dispersion.items():
        if not phi >= 1:
            raise ValueError(f"{stream}: dispersion is {phi}; counts vary at least as Poisson counts do, give 1 or more")
    latest = past["date"].max()
    if day.height and latest is not None and latest >= day["date"].min():  # pyright: ignore[reportOperatorIssue]
        raise ValueError(f"the past reaches to {latest}, into the days from {day['date'].min()}; learn from earlier days only")
    hours = ["account_id", "date", "hour"]
    factors = profile(past.unique(hours).select(*hours, "clicks", "flat"))

    def streams(rows: pl.DataFrame) -> pl.DataFrame:
        factor = pl.col("factor").fill_null(1.0)
        return (
            rows.join(factors, on=["account_id", "hour"], how="left")
            .sort("stream", "date", "hour", "account_id")
            .group_by("stream", "date", "hour", maintain_order=True)
            .agg(pl.col("clicks").sum(), expected=(pl.col("flat") * factor).sum())
        )

    told = noise(streams(past), dispersion)
    least = pl.col("stream").replace_strict(dict(dispersion), default=1.0, return_dtype=pl.Float64)
    return (
        streams(day)
        .join(told, on="stream", how="left")
        .with_columns(pl.col("dispersion").fill_null(least))
        .sort("stream", "date", "hour")
    )


def watch(
    day: date,
    today: pl.DataFrame,
    past: pl.DataFrame,
    states: Mapping[str, State],
    dispersion: Mapping[str, float],
    settings: Models,
) -> dict[str, Day]:
    """Bring detectors forward by a day: the hours that were found finished on it, against what was predicted of them and what the past says.

    An account is judged once the past has `drift_min_days` days of it. Until then the profile of its day is not known, and its hours would
    leave any expectation. Hours of earlier dates (an account's day that ended late) count as hours of `day`, added to those of the same name:
    the evidence needs every hour once, and what is expected of it before it is seen, but not in the order of the calendar.

    A detector speaks of the predictions of one model. A new champion is a new expectation: what spoke against the old one does not speak
    against it, so the caller gives no state of a stream whose champion has changed, and only hours that the champion in force predicted. It
    still has the old one's days as its past, since profile and dispersion are learned given the level of the days, in which a change of
    models is one step. After an alarm the detector begins anew by itself, whether or not a challenger wins: if the champion stays and is off,
    the evidence of later hours says so again, and the mean time to a false alarm holds from each beginning.

    Parameters
    ----------
    day : the day that is learned; every date of `today` is at most that, every date of `past` is before it.
    today, past : as for `expect`; of the past the `drift_profile_days` days before `day` are used.
    states : by stream, after the day before; streams that are not there begin anew.
    dispersion : φ of single ads by stream, known before the day.
    settings : `drift_min_days`, `drift_profile_days`, and `drift_hours`, the threshold.

    Returns
    -------
    One Day per stream of `states`, and of `today` where hours could be judged.

    Raises
    ------
    ValueError : as for `expect` and `advance`.
    """
    first = day - timedelta(days=settings.drift_profile_days)
    known = past.filter(pl.col("date").is_between(first, day, closed="left"))
    days = known.group_by("account_id").agg(days=pl.col("date").n_unique()).filter(pl.col("days") >= settings.drift_min_days)
    judged = today.join(days, on="account_id", how="semi").with_columns(date=pl.lit(day))
    return advance(states, expect(judged, known, dispersion), settings.drift_hours)


def advance(states: Mapping[str, State], hours: pl.DataFrame, threshold: float) -> dict[str, Day]:
    """Bring detectors forward by finished hours.

    In each hour, with x clicks of which E were expected, M(r) ← (M(r) + 1) · exp((x log(1 + r) − E r) / φ) for each r of CHANGES; the mean of M
    over them is the evidence. While the expectation holds it grows by at most 1 an hour on average, so that the mean time to a false alarm is
    at least `threshold` hours, for any way the volume goes (Shin, Ramdas & Rinaldo, New England Journal of Statistics in Data Science 2024, arXiv
    2203.03532). Changes below about 5 % speak for none of CHANGES; they alarm now and then, and more often the nearer to
    10 % they are: a model that is always 3 % off is no expectation to rely on for long. With φ above 1 the same holds for counts that
    behave as φ times a Poisson count does; it is the usual quasi-likelihood (Wedderburn, Biometrika 1974) for others.

    The hours may come in any chunks, each hour once and in order of time: days one by one give what hours one by one give. From the same states
    and hours come the same days, so that a day can be learned again from the states before it.

    Parameters
    ----------
    states : by stream; streams that are not there begin anew.
    hours : `stream`, `date`, `hour` (0 to 23, unique), `clicks`, `expected` (counts), `dispersion` (at least 1), in any order. Hours that
        are unknown are left out by the caller, and the detector then waits.
    threshold : evidence at which it alarms and begins anew, hours; above 0.

    Returns
    -------
    One Day per stream of `states` and `hours`.

    Raises
    ------
    ValueError : an hour twice, or not after what its detector has seen; counts that are negative or unknown; a dispersion below 1.
    """
    if not threshold > 0:
        raise ValueError(f"the threshold is {threshold}; a mean time to a false alarm is above 0")
    _refuse(states, hours)
    streams = sorted(set(states) | set(hours["stream"].to_list()))
    times = hours.select("date", "hour").unique().sort("date", "hour").with_row_index("step")
    names = pl.DataFrame({"stream": streams}, schema={"stream": pl.String}).with_row_index("unit")
    placed = hours.join(times, on=["date", "hour"]).join(names, on="stream")
    at = placed["step"].to_numpy(), placed["unit"].to_numpy()
    grids: list[Floats] = []
    for name in ("clicks", "expected", "dispersion"):
        grid = np.full((times.height, len(streams)), np.nan)
        grid[at] = placed[name].cast(pl.Float64).to_numpy()
        grids.append(grid)
    bets = np.array(CHANGES)
    clicks, expected, dispersion = (grid[:, :, None] for grid in grids)
    gains = (clicks * np.log1p(bets) - expected * bets) / dispersion

    evidence = np.array([states.get(stream, State()).evidence for stream in streams]).reshape(len(streams), len(bets))
    peak, change = np.full(len(streams), -np.inf), np.zeros(len(streams), np.int64)
    alarms: dict[int, list[tuple[date, int]]] = {}
    when = list(times.select("date", "hour").iter_rows())
    for step, gain in enumerate(gains):
        seen = ~np.isnan(gain[:, 0])
        # On the log scale, since a single hour of a large stream can exceed any float.
        logs = np.minimum(np.log1p(evidence) + np.where(seen[:, None], gain, 0.0), _LARGEST)
        mean = np.logaddexp.reduce(logs, axis=1) - np.log(len(bets))
        higher = seen & (mean > peak)
        peak, change = np.where(higher, mean, peak), np.where(higher, logs.argmax(axis=1), change)
        alarmed = seen & (mean >= np.log(threshold))
        evidence = np.where(seen[:, None], np.exp(logs), evidence)
        evidence[alarmed] = 0.0
        for unit in np.flatnonzero(alarmed).tolist():
            alarms.setdefault(unit, []).append(when[step])
    newest: dict[str, tuple[date, int]] = {stream: (day, hour) for stream, day, hour in _newest(hours).iter_rows()}
    favoured: list[int] = change.tolist()
    return {
        stream: Day(
            State(tuple(evidence[unit].tolist()), newest.get(stream, states[stream].last if stream in states else None)),
            float(np.exp(peak[unit])) if stream in newest else None,
            CHANGES[favoured[unit]] if stream in newest else None,
            tuple(alarms.get(unit, ())),
        )
        for unit, stream in enumerate(streams)
    }


def _newest(hours: pl.DataFrame) -> pl.DataFrame:
    """The newest hour of each stream."""
    return hours.sort("stream", "date", "hour").group_by("stream", maintain_order=True).agg(pl.col("date", "hour").last())


def _refuse(states: Mapping[str, State], hours: pl.DataFrame) -> None:
    """Refuse hours that a detector cannot take; the message names the first."""
    key = ["stream", "date", "hour"]
    missing = sorted({*key, "clicks", "expected", "dispersion"} - set(hours.columns))
    if missing:
        raise ValueError(f"hours: no column {', '.join(map(repr, missing))}; it has {', '.join(hours.columns)}")
    number = pl.col("clicks", "expected").cast(pl.Float64)
    sound = pl.all_horizontal(number.is_finite() & (number >= 0)) & pl.col("dispersion").is_between(1, 1e9)
    checks = {
        "is there twice": pl.struct(key).is_duplicated(),
        "is no hour from 0 to 23": ~pl.col("hour").is_between(0, 23),
        "has counts that are unknown or negative, or a dispersion below 1": ~sound,
    }
    for name, check in checks.items():
        bad = hours.filter(check.fill_null(value=True))
        if bad.height:
            raise ValueError(f"an hour {name}: {bad.select(*key, 'clicks', 'expected', 'dispersion').row(0, named=True)}")
    first = hours.sort(key).group_by("stream", maintain_order=True).agg(pl.col("date", "hour").first())
    for stream, day, hour in first.iter_rows():
        last = states[stream].last if stream in states else None
        if last is not None and (day, hour) <= last:
            raise ValueError(
                f"{stream}: the hour {day} {hour:02d} is not after {last[0]} {last[1]:02d}, which its detector has seen. "
                "To learn a day again, start from the states of the day before it"
            )
