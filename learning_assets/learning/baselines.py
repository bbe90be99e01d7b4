"""What the past of an ad and of its account alone say about its rate: no model, no creative.

What belongs here: decayed histories of counts, the empirical-Bayes mean of an account, and the ad's own history around it.
What does not: anything that looks at creatives, texts or several features at once (`ctr_model`), and scores of predictions.

Every figure of a day rests on facts dated strictly before that day.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_UNIT = ["account_id", "ad_id"]


class _Prior(NamedTuple):
    """A Gamma prior: its mean (a rate) and its strength in numerator events (clicks); infinite where units do not differ."""

    rate: Floats
    strength: Floats | float


@dataclass(frozen=True, slots=True)
class _Decayed:
    """Decayed sums of each unit. `noise` decays twice as fast: times the rate it is the count variance of `clicks`."""

    clicks: Floats
    seen: Floats
    noise: Floats

    @classmethod
    def empty(cls, units: int) -> "_Decayed":
        return cls(np.zeros(units), np.zeros(units), np.zeros(units))

    def age(self, weight: float) -> None:
        self.clicks[:] *= weight
        self.seen[:] *= weight
        self.noise[:] *= weight * weight

    def add(self, unit: Codes, clicks: Floats, seen: Floats) -> None:
        size = len(self.clicks)
        self.clicks[:] += np.bincount(unit, clicks, size)
        fresh = np.bincount(unit, seen, size)
        self.seen[:] += fresh
        self.noise[:] += fresh


def history(
    facts: pl.DataFrame,
    ad_days: pl.DataFrame,
    decay: float,
    numerator: str = "link_clicks",
    denominator: str = "impressions",
) -> pl.DataFrame:
    """What was known before each ad-day: decayed counts and the rates that they alone suggest.

    A fact that is `a` days old on the ad-day counts `decay ** a`, with `a` at least 1: facts of the day itself and of later
    days never enter. Gaps and weekly cadence need no care, since ages are differences of dates. The sums are carried forward
    from day to day, so that no power of `decay` is ever inverted and long windows lose no digits.

    Two Gamma–Poisson estimates come with them. The account's rate is shrunk to the rate of all accounts,
    `r = R (k + clicks) / (k + R seen)`, and the ad's own rate to that of its account, `p = r (k + clicks) / (k + r seen)`,
    with clicks and seen decayed. Both strengths k, in clicks, are estimated anew on each day by the moments of the units'
    rates (gamma-Poisson: Clayton & Kaldor, Biometrics 1987; moments: DerSimonian & Laird, Controlled Clinical Trials 1986).
    An account without past has the rate of all, an ad without past that of its account.

    Parameters
    ----------
    facts : one row per ad and day with `date`, `account_id`, `ad_id` and the two count columns; rows in which a count
        is NULL are left out. Rows of one ad on one day add up.
    ad_days : any rows with `date`, `account_id`, `ad_id`: the facts themselves, or the ads that are live on a later day.
    decay : weight left after each day of age, 0 to 1; 1 forgets nothing.
    numerator, denominator : integer count columns; the rate is their ratio (a rate above 1, such as ROAS, is possible).

    Returns
    -------
    `ad_days` in its order, with the columns
    `own_seen`, `own_clicks`, `account_seen`, `account_clicks` : decayed counts of denominator and numerator before the day;
    `account_rate`, `own_rate` : the two estimates; NULL before the first fact with a numerator event (nothing is known then);
    `own_weight` : share of the ad's own past in `own_rate`, 0 to 1; NULL where `own_rate` is.

    Raises
    ------
    ValueError : `decay` outside 0 to 1, a missing column, a NULL key or a negative count.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay is {decay}; a weight per day lies between 0 and 1")
    for name, frame, columns in (
        ("facts", facts, ["date", *_UNIT, numerator, denominator]),
        ("ad_days", ad_days, ["date", *_UNIT]),
    ):
        missing = sorted(set(columns) - set(frame.columns))
        if missing:
            raise ValueError(f"{name}: no column {', '.join(map(repr, missing))}; it has {', '.join(frame.columns)}")
        unknown = frame.select(pl.col("date", *_UNIT).is_null().any()).row(0, named=True)
        if any(unknown.values()):
            raise ValueError(f"{name}: NULL in {', '.join(k for k, v in unknown.items() if v)}; every row needs its day and ad")
    facts = facts.drop_nulls([numerator, denominator])
    negative = facts.filter((pl.col(numerator) < 0) | (pl.col(denominator) < 0))
    if negative.height:
        raise ValueError(f"facts: negative count in {negative.row(0, named=True)}; counts are 0 or more")

    units = pl.concat([facts.select(_UNIT), ad_days.select(_UNIT)]).unique().sort(_UNIT).with_row_index("unit")
    units = units.with_columns(account=pl.col("account_id").rank("dense").cast(pl.Int64) - 1)
    account = units["account"].to_numpy()
    fact_unit, ad_unit = (
        frame.select(_UNIT).join(units, on=_UNIT, how="left", maintain_order="left")["unit"].to_numpy().astype(np.int64)
        for frame in (facts, ad_days)
    )
    clicks, seen = (facts[name].to_numpy().astype(np.float64) for name in (numerator, denominator))
    fact_rows, ad_rows = _rows_by_day(facts["date"]), _rows_by_day(ad_days["date"])

    accounts = int(account.max()) + 1 if len(account) else 0
    ads, sums = _Decayed.empty(len(account)), _Decayed.empty(accounts)
    found = {name: np.full(ad_days.height, np.nan) for name in _COLUMNS}
    last = None
    for day in sorted(fact_rows.keys() | ad_rows.keys()):
        if last is not None:
            ads.age(decay ** (day - last))
            sums.age(decay ** (day - last))
        last = day
        if (rows := ad_rows.get(day)) is not None:
            for name, values in _estimates(ads, sums, account, ad_unit[rows]).items():
                found[name][rows] = values
        if (rows := fact_rows.get(day)) is not None:
            ads.add(fact_unit[rows], clicks[rows], seen[rows])
            sums.add(account[fact_unit[rows]], clicks[rows], seen[rows])
    return ad_days.with_columns(pl.Series(name, values).fill_nan(None) for name, values in found.items())


_COLUMNS = ("own_seen", "own_clicks", "account_seen", "account_clicks", "account_rate", "own_rate", "own_weight")


def _rows_by_day(dates: pl.Series) -> dict[int, Codes]:
    """Row numbers of each day (days since the epoch)."""
    days = dates.cast(pl.Date).to_physical().to_numpy().astype(np.int64)
    order = np.argsort(days, kind="stable")
    found, starts = np.unique(days[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True)) if len(days) else {}


def _estimates(ads: _Decayed, sums: _Decayed, account: Codes, asked: Codes) -> dict[str, Floats]:
    """The columns of `history` for the ads `asked` of one day, from all units' sums before that day."""
    of = account[asked]
    counts = {
        "own_seen": ads.seen[asked],
        "own_clicks": ads.clicks[asked],
        "account_seen": sums.seen[of],
        "account_clicks": sums.clicks[of],
    }
    # Units that only later days know have seen nothing; left out of the sums, they do not even change the last digit.
    active = sums.seen > 0
    clicks, seen = sums.clicks[active].sum(), sums.seen[active].sum()
    if not clicks > 0:
        return counts
    overall = np.full(len(sums.seen), clicks / seen)
    raw = np.divide(sums.clicks, sums.seen, out=np.zeros_like(overall), where=active)
    of_accounts = _Prior(overall, _strength(sums, overall, np.zeros(len(overall), np.int64)))
    account_rate, _ = _posterior(of_accounts, sums.clicks, sums.seen)
    of_ads = _Prior(account_rate[of], _strength(ads, raw[account], account))
    own_rate, own_weight = _posterior(of_ads, counts["own_clicks"], counts["own_seen"])
    return {**counts, "account_rate": account_rate[of], "own_rate": own_rate, "own_weight": own_weight}


def _posterior(prior: _Prior, clicks: Floats, seen: Floats) -> tuple[Floats, Floats]:
    """Gamma–Poisson posterior mean of a rate, and the share of the data in it.

    Written as a mix of prior and observed rate, which stays finite for an infinitely strong prior.
    """
    expected = prior.rate * seen
    weight = expected / (prior.strength + expected)
    observed = np.divide(clicks, seen, out=prior.rate.copy(), where=seen > 0)
    return prior.rate + weight * (observed - prior.rate), weight


def _strength(units: _Decayed, rate: Floats, group: Codes) -> float:
    """Strength k, in clicks, of the Gamma distribution of the units' true rates around their group's `rate`: 1 / CV².

    DerSimonian–Laird moments with weights `expected`: Q = Σ (clicks − expected)² / expected exceeds what counts alone give,
    by CV² Σ expected, both less what the fitted rate of each group takes. Infinite where Q does not exceed it, or where no
    group has two units, so that nothing shows how they differ.
    """
    known = (units.seen > 0) & (rate > 0)
    expected = rate[known] * units.seen[known]
    noise = rate[known] * units.noise[known]
    of = group[known]
    totals = np.bincount(of, expected)
    per_group = totals > 0

    def fitted(values: Floats) -> float:
        return float((np.bincount(of, values)[per_group] / totals[per_group]).sum())

    excess = float(((units.clicks[known] - expected) ** 2 / expected - noise / expected).sum()) + fitted(noise)
    exposure = float(expected.sum()) - fitted(expected**2)
    told_apart = exposure > 1e-9 * float(expected.sum())
    return exposure / excess if told_apart and excess > 0 else np.inf
