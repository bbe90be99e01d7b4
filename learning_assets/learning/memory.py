"""Which creatives are proven winners: when a creative is looked at, when it enters the memory, and when it leaves.

What belongs here: sums of a creative's days, the interval of its rates, and the rule. What does not: where sums and embeddings are kept,
and the search for creatives that resemble an idea (`store.memory`).

**Interval.** A creative has x clicks on n impressions, over days of n_d impressions each. Counts of one day share what that day did to the
creative: with day noise of standard deviation σ in the log rate θ, Var(x) = φ θ n with φ = 1 + σ² θ Σn_d² / n. σ² is learned from the
daily rates of the account's creatives (Pearson residuals around each creative's own rate; McCullagh & Nelder 1989) and pulled to 10 % with
the weight of six days. The prior is a Gamma over the account's creatives, fitted by moments in two steps (DerSimonian & Kacker, Contemporary
Clinical Trials 28, 2007), the posterior Gamma(k + x/φ, k/μ + n/φ) (gamma-Poisson: Clayton & Kaldor, Biometrics 43, 1987). The interval is the
hull of the posterior's and of that of the creative's own counts alone (Jeffreys' prior): what an account's other creatives achieved can hold
a creative back, and never makes it a winner.

**Rule.** A creative enters when the *lower end of its 95 % interval* (a one-sided bound of 97.5 %) reaches the threshold, and leaves when it
falls below a lower one. It is looked at only when its impressions have doubled: a creative that is tested every day is one day lucky.

**Looks by signals.** A purchase signal adds a look between two doublings: at most one a day and creative, counted, by the same rule, and the
doublings stay where they are. Signals come when things go well, so that the looks are not chosen independently of the figures; what that
can do is bounded by what looking without pause would do. Between n and 2n impressions the standardized estimate is an Ornstein-Uhlenbeck
process over a time of log 2, which passes a bound of 1.96 with a probability of about 0.06 (Pickands' approximation) where a single look does
with 0.025. So a creative that a signal names every day is at worst about twice as often taken for a winner by chance as one that none
names: `docs/methods.md` has the simulation.

CVR is treated like CTR, on days old enough for their conversions to be known. Revenue has no counts: its φ is the dispersion of daily
revenue per account, in micros, and nothing is known of it before a creative has had a number of conversions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.settings import Memory

VERSION = "2"

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

KEY = ("owner", "fingerprint")
"""What names an entry: creatives of one owner with the same fingerprint are one."""

METRICS = ("ctr", "cvr", "roas")
"""In the order in which they are asked: a creative that enters by its CTR is not asked for the others."""

_CREATIVE = ("account_id", "creative_id")

DAYS = pl.Schema(
    {
        "account_id": pl.String,
        "creative_id": pl.String,
        "date": pl.Date,
        **dict.fromkeys(("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros"), pl.Int64),
    }
)
"""One row per creative and day; a count is NULL where it is unknown."""

SUMS = pl.Schema(
    {
        "account_id": pl.String,
        "creative_id": pl.String,
        **dict.fromkeys(("impressions", "link_clicks", "impressions_squared"), pl.Int64),
        **dict.fromkeys(("mature_clicks", "conversions", "mature_clicks_squared"), pl.Int64),
        **dict.fromkeys(("mature_spend_micros", "revenue_micros"), pl.Int64),
    }
)
"""Sums of a creative's days, of both numbers of a rate where both are known. `*_squared` sum the squares of the days' denominators;
`mature_*`, `conversions` and `revenue_micros` are of days whose conversions are known."""

_SUMMED = [name for name in SUMS if name not in _CREATIVE]

TOTALS = pl.Schema(
    {
        "owner": pl.String,
        "fingerprint": pl.String,
        "account_id": pl.String,
        "creative_id": pl.String,
        "creatives": pl.Int64,
        **{name: SUMS[name] for name in _SUMMED},
    }
)
"""One row per entry: the sums of its `creatives`, and account and creative of the one with most impressions. Money is that account's alone,
since currencies are not added."""

LOOKS = pl.Schema(
    {
        **dict.fromkeys((*KEY, *_CREATIVE), pl.String),
        "creatives": pl.Int64,
        "outcome": pl.String,
        "metric": pl.String,
        "reason": pl.String,
        **dict.fromkeys(("impressions", "link_clicks", "mature_clicks", "conversions"), pl.Int64),
        **{f"{metric}{end}": pl.Float64 for metric in METRICS for end in ("", "_low", "_high")},
        "cause": pl.String,
        "looks": pl.Int64,
        "signal_looks": pl.Int64,
        "next_look_impressions": pl.Int64,
        "entered_on": pl.Date,
        "last_validated": pl.Date,
        "validations": pl.Int64,
        "left_on": pl.Date,
    }
)
"""One row per look. `outcome`: `entered`, `returned` (after it had left), `validated` (a member, and it stays), `left`, or `passed_over` (not
a member before or after). `metric`: by which a member is one, or was one. Rates are posterior means with their intervals, NULL where
unknown. `cause`: `impressions` (they had doubled) or `signal` (a purchase); `looks` counts all up to this one, `signal_looks` those by
signals. `entered_on`: day of the newest entry, `left_on`: NULL for a member; both are NULL for what never was one."""


STATE = (
    *(*KEY, *_CREATIVE, "creatives", "metric", "looks", "signal_looks", "next_look_impressions"),
    *("entered_on", "last_validated", "validations", "left_on"),
)
"""Columns of LOOKS that the next look rests on."""


def add_up(days: pl.LazyFrame, mature_until: date) -> pl.LazyFrame:
    """Sums per creative.

    Parameters
    ----------
    days : schema DAYS, one row per creative and day.
    mature_until : the last day whose conversions count as known.

    Returns
    -------
    Columns SUMS. Sums of parts of a history add up to those of the whole; see `together`.
    """
    mature = pl.col("date") <= mature_until
    clicked = pl.all_horizontal(pl.col("impressions", "link_clicks").is_not_null())
    converted = mature & pl.all_horizontal(pl.col("link_clicks", "conversions").is_not_null())
    earned = mature & pl.all_horizontal(pl.col("spend_micros", "revenue_micros").is_not_null())

    def total(name: str, known: pl.Expr, squared: bool = False) -> pl.Expr:
        values = pl.col(name).filter(known)
        return (values * values if squared else values).sum()

    return days.group_by(_CREATIVE).agg(
        total("impressions", clicked),
        total("link_clicks", clicked),
        total("impressions", clicked, squared=True).alias("impressions_squared"),
        total("link_clicks", converted).alias("mature_clicks"),
        total("conversions", converted),
        total("link_clicks", converted, squared=True).alias("mature_clicks_squared"),
        total("spend_micros", earned).alias("mature_spend_micros"),
        total("revenue_micros", earned),
    )


def together(parts: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """The sums (columns SUMS) of several parts of a history that share no day, sorted by account and creative."""
    added = pl.concat([part.select(SUMS.names()) for part in parts]).group_by(_CREATIVE).agg(pl.col(_SUMMED).sum())
    return added.select(SUMS.names()).sort(_CREATIVE)


def entries(sums: pl.DataFrame, creatives: pl.DataFrame) -> pl.DataFrame:
    """Sums per entry, from sums per creative.

    Parameters
    ----------
    sums : schema SUMS.
    creatives : account_id, creative_id, owner, fingerprint. A creative without a fingerprint is an entry of its own; one that is not
        among them is left out, since nobody knows whose it is.

    Returns
    -------
    Frame with schema TOTALS, sorted by key.
    """
    known = sums.join(_named(creatives), on=_CREATIVE)
    size = pl.col("impressions").sum().over(*KEY, "account_id")
    ranked = known.with_columns(_account=size).sort(
        "_account", "impressions", *_CREATIVE, descending=[True, True, False, False]
    )
    money = [name for name in _SUMMED if name.endswith("_micros")]
    squares = [name for name in _SUMMED if name.endswith("_squared")]
    home = pl.col("account_id") == pl.col("account_id").first()
    return (
        ranked.group_by(KEY, maintain_order=True)
        .agg(
            pl.col(_CREATIVE).first(),
            pl.len().cast(pl.Int64).alias("creatives"),
            pl.col([name for name in _SUMMED if name not in money + squares]).sum(),
            # Two creatives on the same day are one and the same day: by Minkowski's inequality their squares are at most this.
            *(pl.col(name).sqrt().sum().pow(2).ceil().cast(pl.Int64).alias(name) for name in squares),
            *(pl.col(name).filter(home).sum() for name in money),
        )
        .select(TOTALS.names())
        .sort(KEY)
    )


def _named(creatives: pl.DataFrame) -> pl.DataFrame:
    """Creatives with the KEY of their entry."""
    return creatives.with_columns(fingerprint=pl.coalesce("fingerprint", pl.format("{}/{}", *_CREATIVE)))


def signalled(told: pl.DataFrame, creatives: pl.DataFrame) -> pl.DataFrame:
    """The entries that purchase signals named: columns KEY, each once, sorted.

    Parameters
    ----------
    told : account_id, creative_id; what is not among `creatives` is left out.
    creatives : as for `entries`.
    """
    return _named(creatives).join(told, on=_CREATIVE, how="semi").select(KEY).unique().sort(KEY)


@dataclass(frozen=True, slots=True)
class _Metric:
    """A rate of every entry: numerators, denominators, Σ of squared daily denominators, and what counts vary by."""

    events: Floats
    seen: Floats
    squares: Floats
    base: Floats
    day_variance: Floats
    known: NDArray[np.bool_]

    def where(self, rows: NDArray[np.bool_]) -> "_Metric":
        """Some of the entries."""
        return _Metric(
            self.events[rows], self.seen[rows], self.squares[rows], self.base[rows], self.day_variance[rows], self.known[rows]
        )

    def dispersion(self, rate: Floats) -> Floats:
        """Variance of the numerator over rate × denominator, at least `base`."""
        mean_square = np.divide(self.squares, self.seen, out=np.zeros_like(self.seen), where=self.seen > 0)
        return self.base + self.day_variance * rate * mean_square


def noise(days: pl.DataFrame, settings: Memory) -> pl.DataFrame:
    """How much more the daily figures of an account's creatives vary than counts do.

    Parameters
    ----------
    days : schema DAYS, the newest weeks.
    settings : `day_noise` and `day_noise_days`, what is assumed before anything is known, and its weight.

    Returns
    -------
    One row per account of `days`: `account_id`, `ctr_day_variance` and `cvr_day_variance` (of the log rate, at least 0), and
    `roas_dispersion` (variance of daily revenue over its mean, micros; NULL where no creative had revenue that differed between days).
    """
    return (
        days.select("account_id")
        .unique()
        .join(_excess(days, "ctr", "link_clicks", "impressions"), on="account_id", how="left")
        .join(_excess(days, "cvr", "conversions", "link_clicks"), on="account_id", how="left")
        .join(_excess(days, "roas", "revenue_micros", "spend_micros"), on="account_id", how="left")
        .select(
            "account_id",
            *(_day_variance(metric, settings).alias(f"{metric}_day_variance") for metric in ("ctr", "cvr")),
            roas_dispersion=pl.when(pl.col("roas_q") > 0).then(pl.col("roas_q") / pl.col("roas_freedom")),
        )
        .sort("account_id")
    )


def _excess(days: pl.DataFrame, metric: str, events: str, seen: str) -> pl.DataFrame:
    """Per account: Σ of squared Pearson residuals of the days around each creative's rate (`_q`), their degrees of freedom, and the
    events a day that they rest on, summed (`_exposure`)."""
    x, n = pl.col(events).cast(pl.Float64), pl.col(seen).cast(pl.Float64)
    # In the same order on every run, so that the last digits of the sums are the same too.
    of_creatives = (
        days.lazy()
        .filter(x.is_not_null() & (n > 0))
        .sort(*_CREATIVE, "date")
        .group_by(_CREATIVE, maintain_order=True)
        .agg(x=x.sum(), n=n.sum(), ratios=(x * x / n).sum(), squares=(n * n).sum(), freedom=pl.len() - 1.0)
        .filter((pl.col("x") > 0) & (pl.col("freedom") > 0))
    )
    rate = pl.col("x") / pl.col("n")
    return (
        of_creatives.group_by("account_id", maintain_order=True)
        .agg(
            (pl.col("ratios") / rate - pl.col("x")).sum().alias(f"{metric}_q"),
            pl.col("freedom").sum().alias(f"{metric}_freedom"),
            (rate * (pl.col("n") - pl.col("squares") / pl.col("n"))).sum().alias(f"{metric}_exposure"),
        )
        .collect()
    )


def _day_variance(metric: str, settings: Memory) -> pl.Expr:
    q, freedom, exposure = (pl.col(f"{metric}_{name}") for name in ("q", "freedom", "exposure"))
    assumed = settings.day_noise_days * exposure / freedom
    learned = (q - freedom + assumed * settings.day_noise**2) / (exposure + assumed)
    return pl.when(exposure > 0).then(learned.clip(lower_bound=0)).otherwise(settings.day_noise**2)


def estimate(totals: pl.DataFrame, asked: pl.Series, noise: pl.DataFrame, settings: Memory) -> pl.DataFrame:
    """Rates of entries with their intervals.

    Parameters
    ----------
    totals : schema TOTALS; the prior of an account rests on all its rows.
    asked : Boolean, for which rows of `totals`.
    noise : what `noise` returned; an account that is missing gets what is assumed.
    settings : `confidence_level` of the intervals, `max_prior_events`, `min_conversions` behind CVR and ROAS.

    Returns
    -------
    The rows asked for, with `ctr`, `cvr` and `roas` (posterior means), `*_low` and `*_high`; NULL where a rate is not known.
    """
    known = totals.select("account_id").join(noise, on="account_id", how="left", maintain_order="left")
    account = totals["account_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    ones, enough = np.ones(totals.height), totals["conversions"].to_numpy() >= settings.min_conversions

    def floats(frame: pl.DataFrame, name: str, missing: float = np.nan) -> Floats:
        return frame[name].cast(pl.Float64).fill_null(missing).to_numpy()

    def of_counts(metric: str, events: str, seen: str, known_from: NDArray[np.bool_]) -> _Metric:
        variance = floats(known, f"{metric}_day_variance", settings.day_noise**2)
        return _Metric(
            floats(totals, events), floats(totals, seen), floats(totals, f"{seen}_squared"), ones, variance, known_from
        )

    money, dispersion = floats(totals, "mature_spend_micros"), floats(known, "roas_dispersion")
    metrics = {
        "ctr": of_counts("ctr", "link_clicks", "impressions", ones > 0),
        "cvr": of_counts("cvr", "conversions", "mature_clicks", enough),
        "roas": _Metric(floats(totals, "revenue_micros"), money, 0 * ones, dispersion, 0 * ones, enough),
    }
    columns: list[pl.Series] = []
    for name, metric in metrics.items():
        found = _intervals(metric, account, asked.to_numpy(), settings)
        columns += [pl.Series(f"{name}{end}", found[row]).fill_nan(None) for row, end in enumerate(("", "_low", "_high"))]
    return totals.filter(asked).with_columns(columns)


def _intervals(metric: _Metric, account: Codes, asked: NDArray[np.bool_], settings: Memory) -> Floats:
    """Posterior mean of each asked entry's rate and the ends of its interval, shape (3, asked); NaN where it is not known."""
    from scipy.special import gammaincinv  # pyright: ignore[reportMissingTypeStubs]

    known = metric.known & (metric.seen > 0) & np.isfinite(metric.base)
    found = np.full((3, int(asked.sum())), np.nan)
    if not (known & asked).any():
        return found
    mean, strength = _prior(metric.where(known), account[known], settings.max_prior_events)
    mean, strength = mean[asked[known]], strength[asked[known]]
    of = metric.where(known & asked)
    raw = of.events / of.seen
    phi = of.dispersion(np.maximum(raw, mean))
    # An account without a single event: its rate is not known to be anything but low.
    with_prior = mean > 0
    events = of.events / phi
    shape = np.where(with_prior, strength + events, 0.5 + events)
    exposure = np.where(with_prior, strength / np.where(with_prior, mean, 1), 0) + of.seen / phi
    tail = (1 - settings.confidence_level) / 2
    ends = [
        np.stack([gammaincinv(a, level) / b for a, b in ((shape, exposure), (0.5 + events, of.seen / phi))])
        for level in (tail, 1 - tail)
    ]
    found[:, known[asked]] = shape / exposure, ends[0].min(axis=0), ends[1].max(axis=0)
    return found


def _prior(of: _Metric, account: Codes, max_events: float) -> tuple[Floats, Floats]:
    """Mean and strength (in events of dispersion 1) of the Gamma prior of each entry's account.

    Strength is 1 / CV² of the creatives' true rates, at most `max_events`: where they seem to be all alike, a creative's own counts must
    still be able to say otherwise.
    """
    accounts = int(account.max()) + 1

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(account, values, accounts), dtype=np.float64)

    raw = of.events / of.seen
    seen = np.maximum(total(of.seen), 1)
    mean, spread = total(of.events) / seen, np.zeros(accounts)
    for _ in range(3):
        level = mean[account]
        error = of.dispersion(level) * np.where(level > 0, level, 1) / of.seen
        weight = 1 / (error + spread[account])
        weights = total(weight)
        safe = np.where(weights > 0, weights, 1)
        mean = total(weight * raw) / safe
        expected = total(weight * error) - total(weight**2 * error) / safe
        told_apart = weights - total(weight**2) / safe
        between = total(weight * (raw - mean[account]) ** 2) - expected
        # One creative alone says nothing of how they differ.
        several = told_apart > 1e-9 * weights
        spread = np.where(several, np.maximum(between, 0) / np.where(several, told_apart, 1), 0)
    strength = np.divide(mean**2, spread, out=np.full(accounts, float(max_events)), where=spread * max_events > mean**2)
    return mean[account], strength[account]


def look(
    previous: pl.DataFrame,
    totals: pl.DataFrame,
    noise: pl.DataFrame,
    day: date,
    settings: Memory,
    signals: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Look at the entries whose impressions have doubled since they were looked at last, or which purchase signals named, and decide who is
    a member.

    Parameters
    ----------
    previous : the newest look at each entry before `day`, with the columns STATE; others are ignored.
    totals : schema TOTALS, sums up to `day` of everything that was ever delivered. A member that is not among them has left: its creative
        has another fingerprint since the rules of fingerprints have changed.
    noise : see `noise`.
    day : day of the sums.
    settings : `first_look_impressions`, and per metric `enter_*` and `leave_*`.
    signals : columns KEY, the entries that signals named; those that never were looked at wait for `first_look_impressions` all the same.

    Returns
    -------
    Frame with schema LOOKS, only those that were looked at, sorted by key; a function of the arguments only.

    Raises
    ------
    ValueError : `totals` holds an entry twice.
    """
    if totals.select(KEY).is_duplicated().any():
        raise ValueError(f"The sums up to {day} hold an entry {KEY} twice; add up the creatives that share a fingerprint.")
    before = previous.select(*KEY, *(pl.col(name).cast(LOOKS[name]).alias(f"_{name}") for name in STATE if name not in KEY))
    named = (previous.clear() if signals is None else signals).select(*KEY, _signal=pl.lit(value=True))
    known = totals.join(before, on=KEY, how="left", maintain_order="left").join(
        named, on=KEY, how="left", maintain_order="left"
    )
    doubled = pl.col("impressions") >= pl.coalesce("_next_look_impressions", pl.lit(settings.first_look_impressions))
    due = doubled | (pl.col("_looks").is_not_null() & pl.col("_signal").is_not_null())
    member = pl.col("_entered_on").is_not_null() & pl.col("_left_on").is_null()
    gone = previous.filter(pl.col("entered_on").is_not_null(), pl.col("left_on").is_null()).join(totals, on=KEY, how="anti")
    looked = (
        estimate(known, known.select(due).to_series(), noise, settings)
        .with_columns(_was=member, _by=_best(settings), _holds=_holds(settings))
        # A member stays by the metric that it entered by, or by another that would let it enter today.
        .with_columns(_now=pl.when("_was", "_holds").then("_metric").otherwise("_by"))
        .with_columns(
            outcome=pl.when(pl.col("_was") & pl.col("_now").is_not_null())
            .then(pl.lit("validated"))
            .when("_was")
            .then(pl.lit("left"))
            .when(pl.col("_now").is_null())
            .then(pl.lit("passed_over"))
            .when(pl.col("_left_on").is_not_null())
            .then(pl.lit("returned"))
            .otherwise(pl.lit("entered")),
            metric=pl.coalesce("_now", "_metric"),
            cause=pl.when(doubled).then(pl.lit("impressions")).otherwise(pl.lit("signal")),
            looks=pl.col("_looks").fill_null(0) + 1,
            signal_looks=pl.col("_signal_looks").fill_null(0) + (~doubled).cast(pl.Int64),
            # A signal brings no doubling forward and puts none off.
            next_look_impressions=pl.when(doubled).then(2 * pl.col("impressions")).otherwise("_next_look_impressions"),
        )
        .with_columns(_in=pl.col("outcome").is_in(["entered", "returned"]), _good=pl.col("outcome") == "validated")
        .with_columns(
            entered_on=pl.when("_in").then(pl.lit(day)).otherwise("_entered_on"),
            last_validated=pl.when(pl.col("_in") | pl.col("_good")).then(pl.lit(day)).otherwise("_last_validated"),
            validations=pl.col("_validations").fill_null(0) + pl.col("_good").cast(pl.Int64),
            left_on=pl.when(pl.col("outcome") == "left").then(pl.lit(day)).when(~pl.col("_in")).then("_left_on"),
        )
        .with_columns(reason=_reason(settings))
        .select(pl.col(name).cast(kind) for name, kind in LOOKS.items())
    )
    return pl.concat([looked, _gone(gone, day)]).sort(KEY)


def _gone(members: pl.DataFrame, day: date) -> pl.DataFrame:
    """The last look at members whose fingerprint nothing has any more, without figures."""
    return members.with_columns(
        outcome=pl.lit("left"),
        reason=pl.lit("No creative has this fingerprint any more: its text is read by other rules since."),
        impressions=pl.col("next_look_impressions") // 2,
        left_on=pl.lit(day),
    ).select(
        (pl.col(name) if name in (*STATE, "outcome", "reason", "impressions") else pl.lit(None)).cast(kind).alias(name)
        for name, kind in LOOKS.items()
    )


def _best(settings: Memory) -> pl.Expr:
    """The first metric whose lower end reaches its threshold, or NULL."""
    found = pl.when(pl.col("ctr_low") >= settings.enter_ctr).then(pl.lit("ctr"))
    for metric in METRICS[1:]:
        found = found.when(pl.col(f"{metric}_low") >= getattr(settings, f"enter_{metric}")).then(pl.lit(metric))
    return found


def _holds(settings: Memory) -> pl.Expr:
    """Whether the lower end of the metric that a member entered by is not below what it leaves at."""
    holds = pl.lit(value=False)
    for metric in METRICS:
        good = (pl.col(f"{metric}_low") >= getattr(settings, f"leave_{metric}")).fill_null(value=False)
        holds = pl.when(pl.col("_metric") == metric).then(good).otherwise(holds)
    return holds


def _reason(settings: Memory) -> pl.Expr:
    """One sentence: the interval, and the threshold that it was held against; NULL for what never was a member."""
    said = pl.lit(None, pl.String)
    for metric in METRICS:
        unit, factor = ("", 1) if metric == "roas" else (" %", 100)
        figures = [(factor * pl.col(f"{metric}{end}")).round(2) for end in ("", "_low", "_high")]
        enter, leave = (f"{factor * getattr(settings, f'{way}_{metric}'):g}{unit}" for way in ("enter", "leave"))
        sentence = pl.format(
            f"{metric.upper()} {{}}{unit}, {100 * settings.confidence_level:g} % between {{}} and {{}}: the lower end {{}}",
            *figures,
            pl.when(pl.col("outcome") == "left")
            .then(pl.lit(f"is below {leave}"))
            .when(pl.col("outcome").is_in(["entered", "returned"]))
            .then(pl.lit(f"reaches {enter}"))
            .otherwise(pl.lit(f"is at least {leave}")),
        )
        said = pl.when(pl.col("metric") == metric).then(sentence).otherwise(said)
    return said


def similarity(ideas: NDArray[np.floating], winners: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cosine of every idea with every winner, shape (ideas, winners), -1 to 1; NaN where either has no embedding.

    Parameters
    ----------
    ideas, winners : embeddings, shapes (ideas, 256) and (winners, 256), of any length but zero.
    """
    left, right = (
        np.divide(side, np.linalg.norm(side, axis=1, keepdims=True), dtype=np.float32) if len(side) else side.astype(np.float32)
        for side in (ideas, winners)
    )
    return left @ right.T


def hits(
    ideas: NDArray[np.floating], since: Sequence[date], winners: NDArray[np.floating], entered: Sequence[date], least: float
) -> tuple[int, int]:
    """How many new creatives resemble a winner that was known before they began: how often a search has something to say.

    Parameters
    ----------
    ideas : embeddings of one owner's new creatives, shape (ideas, 256); those without one (NaN) are left out.
    since : the day on which each was seen first.
    winners, entered : the owner's members and the day on which each entered.
    least : cosine similarity from which on a winner resembles an idea.

    Returns
    -------
    New creatives for which there is one, and new creatives that have an embedding.
    """
    known = ~np.isnan(ideas).any(axis=1)
    before = np.array(entered, dtype="datetime64[D]")[None, :] < np.array(since, dtype="datetime64[D]")[known][:, None]
    alike = similarity(ideas[known], winners) >= least
    return int((before & alike).any(axis=1).sum()), int(known.sum())
