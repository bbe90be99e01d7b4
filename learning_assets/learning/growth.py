"""Did the accounts get better: improvement against the baseline, trend, projections and status of each account.

What belongs here: how a history of account days becomes one honest growth row. What does not: where the days come from, which
loop earned the growth, and anything about single ads.

Everything is a ratio of sums. A window's value is the sum of its numerators over the sum of its denominators (revenue over
spend, or link clicks over impressions), so "the mean of 14 days" weights a day by what was delivered on it, and a day without
delivery counts for nothing. All spans are calendar days between dates and never row numbers, so gaps and weekly series need
no special case.

Two views stand beside each other. The compounding view extrapolates the ratio of two windows and is exact when an account
compounds steadily and wildly off when it does not. The damped view starts at the last week's level and lets a slope that was
shrunk by its own uncertainty die out; it is close on flat accounts and too low on accounts that truly compound. Neither
replaces the other.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.settings import Growth

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

HORIZONS = (30, 90, 365)
"""Days that are projected."""

REFERENCE_DAYS, REFERENCE_FACTORS = (0, 30, 90, 365), (1.0, 2.0, 5.0, 10.0)
"""The reference curve: these improvement factors these days after the baseline, log-linear between them, 10 after the last."""

TARGET_FACTOR, TARGET_HORIZON = 10.0, 365
DAYS_PER_CONTRAST = 16
"""Days of the trend for each noise contrast; fewer would measure swings that are faster than a trend and miss slow ones."""
SMALLEST_SE = 1e-9
"""Log units a day. Money is rounded to micros, so a finer slope is rounding and no trend."""

GROWTH = pl.Schema(
    {
        "account_id": pl.String,
        "as_of": pl.Date,
        "metric": pl.String,
        "first_day": pl.Date,
        "days_of_history": pl.Int64,
        "days_since_baseline": pl.Int64,
        "baseline_value": pl.Float64,
        "current_value": pl.Float64,
        "improvement_factor": pl.Float64,
        "improvement_low": pl.Float64,
        "improvement_high": pl.Float64,
        "daily_rate": pl.Float64,
        "trend": pl.Float64,
        "trend_low": pl.Float64,
        "trend_high": pl.Float64,
        **{f"projected_{k}": pl.Float64 for k in HORIZONS},
        **{f"damped_{k}{end}": pl.Float64 for k in HORIZONS for end in ("", "_low", "_high")},
        **{f"reason_{k}": pl.String for k in HORIZONS},
        "damped_factor": pl.Float64,
        "damped_factor_low": pl.Float64,
        "damped_factor_high": pl.Float64,
        "reference_factor": pl.Float64,
        "on_track_for_10x": pl.Boolean,
        "reason_on_track": pl.String,
        "status": pl.String,
        "reason": pl.String,
    }
)
"""One row per account; a figure that is not known is NULL.

`metric`: roas or ctr, the unit of every value. `days_of_history`: from `first_day` to the last mature day.
`days_since_baseline`: from the baseline's last day to the last mature day. `daily_rate`: 0.001 is 0.1 % a day. `trend`: log
units a day. `_low` and `_high`: ends of two-sided 95 % intervals. `projected_k`: the compounding view, k days after the
baseline. `damped_k`: the damped view, k days after the last mature day; `damped_factor` is the one at 365 days over the
baseline. `reason_k` and `reason_on_track`: why the figure is NULL.
"""


_NUMERATOR = pl.when(pl.col("metric") == "roas").then(pl.lit("revenue")).otherwise(pl.lit("link clicks"))


def measure(days: pl.DataFrame, as_of: date, settings: Growth) -> pl.DataFrame:
    """Measure the growth of every account as of a day.

    The history is the days with a denominator that are older than `settings.mature_days` on `as_of`, counted from the first
    of them: give all days that are stored, since the baseline (the first `baseline_days`) is frozen. The metric is ROAS over
    days whose revenue is known if the baseline has revenue, else CTR; a frozen baseline thus freezes the metric.

    The status comes from intervals and not from points: *improving* when the trend's 95 % interval lies above zero,
    *accelerating* when the trend's curvature is positive at the same level as well, *declining* when the interval lies below
    zero, *stable* when it holds zero, *insufficient_data* before `min_days_30` or when no trend can be fitted.

    The trend is the log-linear one of the last 91 mature days, summed to weeks so that weekday profiles cancel, by Poisson
    pseudo-likelihood, which takes zero rates as they are and weights weeks by their denominators (Santos Silva & Tenreyro,
    Review of Economics and Statistics 2006). Its standard error is robust to autocorrelation: the long-run variance is that of
    the residuals' slow contrasts orthogonal to the trend, with Student's t of as many degrees of freedom (Sun, Journal of
    Econometrics 2011). The damped view is `y(t + h) = level + b φ (1 − φ^h) / (1 − φ)` (Gardner & McKenzie, Management Science 1985) with the level
    of the last 7 days and the slope b shrunk towards zero with prior variance `slope_sd²`. Intervals are those of the
    account's underlying level, not of a single day.

    Parameters
    ----------
    days : one row per account and date (or week, dated on one of its days) with `account_id`, `date`, `impressions`,
        `link_clicks`, `spend_micros` and `revenue_micros`; integers, NULL where unknown. Other columns and days after `as_of`
        are ignored.
    as_of : the day whose knowledge counts.
    settings : windows, minimum histories, `slope_sd` and `damping`.

    Returns
    -------
    Frame with schema GROWTH, one row per account of `days`, sorted by account.

    Raises
    ------
    ValueError : an account has a date twice, or a negative count or amount.
    """
    _refuse_bad_days(days)
    last = as_of - timedelta(days=settings.mature_days + 1)
    series = _series(days.filter(pl.col("date") <= last), settings)
    rows = (
        days.select("account_id")
        .unique()
        .join(_windows(series, last, settings), on="account_id", how="left")
        .with_columns(pl.lit(as_of).alias("as_of"), ready=pl.col("days_since_baseline") >= settings.min_days_30)
        .join(_trends(series, last, settings), on="account_id", how="left")
        .sort("account_id")
    )
    rows = _with_compounding(rows, settings)
    rows = _with_damped(rows, settings)
    rows = _with_on_track(rows, settings)
    rows = _with_status(rows, settings)
    return rows.select(GROWTH.names()).cast(GROWTH)


def reference_factor(days_since_baseline: Sequence[int] | Counts) -> Floats:
    """Improvement factor of the reference curve: 1 at the baseline, 2, 5 and 10 after 30, 90 and 365 days, 10 from then on."""
    return np.exp(np.interp(np.asarray(days_since_baseline, dtype=float), REFERENCE_DAYS, np.log(REFERENCE_FACTORS)))


def over_all(rows: pl.DataFrame, settings: Growth) -> pl.DataFrame:
    """Sum growth rows up over accounts, in unit-free figures only.

    Parameters
    ----------
    rows : frame with schema GROWTH of one day.

    Returns
    -------
    One row: `accounts`, `accounts_measured` (those with an improvement factor above zero and an interval),
    `improvement_factor` (the geometric mean over them, each account counted once) with `improvement_low` and
    `improvement_high` (Student's t over accounts; NULL below two), and the number of accounts of each status.
    """
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    logs = rows.filter(pl.col("improvement_low").is_not_null())["improvement_factor"].log().to_numpy()
    n = len(logs)
    mean = float(logs.mean()) if n else None
    margin = float(stdtrit(n - 1, 0.5 + settings.confidence_level / 2) * logs.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    statuses = ("accelerating", "improving", "stable", "declining", "insufficient_data")
    return pl.DataFrame(
        {
            "accounts": [rows.height],
            "accounts_measured": [n],
            "improvement_factor": [None if mean is None else np.exp(mean)],
            "improvement_low": [None if mean is None or margin is None else np.exp(mean - margin)],
            "improvement_high": [None if mean is None or margin is None else np.exp(mean + margin)],
            **{status: [int((rows["status"] == status).sum())] for status in statuses},
        },
        schema_overrides=dict.fromkeys(("improvement_factor", "improvement_low", "improvement_high"), pl.Float64),
    )


def _refuse_bad_days(days: pl.DataFrame) -> None:
    twice = days.group_by("account_id", "date").len().filter(pl.col("len") > 1).sort("account_id", "date")
    if twice.height:
        account, day, n = twice.row(0)
        raise ValueError(f"account {account} has {n} rows for {day}; sum its ads up to one row a day before measuring growth")
    amounts = ("impressions", "link_clicks", "spend_micros", "revenue_micros")
    negative = days.filter(pl.any_horizontal(pl.col(name) < 0 for name in amounts))
    if negative.height:
        row = negative.row(0, named=True)
        name = next(name for name in amounts if row[name] is not None and row[name] < 0)
        raise ValueError(
            f"account {row['account_id']}, {row['date']}: {name} is {row[name]}; counts and amounts cannot be negative"
        )


def _series(mature: pl.DataFrame, settings: Growth) -> pl.DataFrame:
    """Numerator and denominator of each account's metric by day: account_id, date, metric, num, den, first (day)."""

    def of(metric: str, num: str, den: str) -> pl.DataFrame:
        return (
            mature.filter(pl.col(den) > 0, pl.col(num).is_not_null())
            .select(
                "account_id", "date", metric=pl.lit(metric), num=pl.col(num).cast(pl.Float64), den=pl.col(den).cast(pl.Float64)
            )
            .with_columns(first=pl.col("date").min().over("account_id"))
        )

    roas, ctr = of("roas", "revenue_micros", "spend_micros"), of("ctr", "link_clicks", "impressions")
    in_baseline = (pl.col("date") - pl.col("first")).dt.total_days() < settings.baseline_days
    earning = roas.filter(in_baseline, pl.col("num") > 0).select("account_id").unique()
    return pl.concat([roas.join(earning, on="account_id", how="semi"), ctr.join(earning, on="account_id", how="anti")])


def _windows(series: pl.DataFrame, last: date, settings: Growth) -> pl.DataFrame:
    """Sums over the baseline, the current and the level window of each account, and how long its history is."""
    day = (pl.col("date") - pl.col("first")).dt.total_days()
    age = (pl.lit(last) - pl.col("date")).dt.total_days()
    windows = {
        "baseline": day < settings.baseline_days,
        "current": age < settings.current_days,
        "level": age < settings.level_days,
    }
    sums = [
        pl.col(part).filter(inside).sum().alias(f"{name}_{part}") for name, inside in windows.items() for part in ("num", "den")
    ]
    history = (pl.lit(last) - pl.col("first_day")).dt.total_days() + 1
    begun = pl.col("days_since_baseline") >= 0
    return (
        series.group_by("account_id")
        .agg(pl.col("metric").first(), pl.col("first").first().alias("first_day"), *sums)
        .with_columns(days_of_history=history, days_since_baseline=history - settings.baseline_days)
        .with_columns(
            baseline_value=pl.when(begun, pl.col("baseline_den") > 0).then(pl.col("baseline_num") / pl.col("baseline_den")),
            current_value=pl.when(begun, pl.col("current_den") > 0).then(pl.col("current_num") / pl.col("current_den")),
        )
    )


def _with_compounding(rows: pl.DataFrame, settings: Growth) -> pl.DataFrame:
    """Improvement factor, daily rate and the compounding projections."""
    factor = pl.when(pl.col("baseline_value") > 0).then(pl.col("current_value") / pl.col("baseline_value"))
    # The windows' centres lie this far apart, which is `days_since_baseline` when both windows are equally long.
    days = pl.col("days_since_baseline") + (settings.baseline_days - settings.current_days) / 2
    error = (pl.col("dispersion") * (1 / pl.col("baseline_num") + 1 / pl.col("current_num"))).sqrt()
    margin = pl.when(pl.col("ready"), pl.col("current_num") > 0).then(pl.col("critical") * error)
    rows = rows.with_columns(improvement_factor=factor).with_columns(
        improvement_low=pl.col("improvement_factor") * (-margin).exp(),
        improvement_high=pl.col("improvement_factor") * margin.exp(),
        daily_rate=pl.when(days > 0).then(pl.col("improvement_factor") ** (1 / days) - 1),
        reference_factor=pl.when(pl.col("days_since_baseline") >= 0).then(
            pl.Series(reference_factor(rows["days_since_baseline"].fill_null(0).to_numpy()))
        ),
    )
    needed = {
        30: ("days_since_baseline", "days after the baseline", settings.min_days_30),
        90: ("days_since_baseline", "days after the baseline", settings.min_days_90),
        365: ("days_of_history", "days of history", settings.min_days_365),
    }
    rows = rows.with_columns(
        pl.coalesce(
            _unknown(settings),
            _too_early(f"A {k}-day projection", *needed[k]),
            pl.when(pl.col("daily_rate").is_null()).then(pl.lit("The baseline and the current window do not lie apart yet.")),
        ).alias(f"reason_{k}")
        for k in HORIZONS
    )
    return rows.with_columns(
        pl.when(pl.col(f"reason_{k}").is_null())
        .then(pl.col("baseline_value") * (1 + pl.col("daily_rate")) ** k)
        .alias(f"projected_{k}")
        for k in HORIZONS
    )


def _with_damped(rows: pl.DataFrame, settings: Growth) -> pl.DataFrame:
    """Damped, shrunk projections with intervals, and the one of 365 days over the baseline."""
    prior, noise = settings.slope_sd**2, pl.col("trend_se") ** 2
    known = pl.col("trend").is_not_null() & (pl.col("level_num") > 0)
    level = pl.when(known).then((pl.col("level_num") / pl.col("level_den")).log())
    slope, slope_variance = pl.col("trend") * prior / (prior + noise), prior * noise / (prior + noise)
    level_variance = pl.col("dispersion") / pl.col("level_num")
    columns: list[pl.Expr] = []
    for k in HORIZONS:
        days = float(k) if settings.damping == 1 else settings.damping * (1 - settings.damping**k) / (1 - settings.damping)
        variance = level_variance + days**2 * slope_variance
        shown = pl.col(f"reason_{k}").is_null()
        columns += _interval(f"damped_{k}", level + slope * days, variance, shown)
        if k == TARGET_HORIZON:
            variance = variance + pl.col("dispersion") / pl.col("baseline_num")
            columns += _interval(
                "damped_factor", level + slope * days - pl.col("baseline_value").log(), variance, pl.col("ready")
            )
    rows = rows.with_columns(columns)
    no_level = pl.format(
        f"No trend, or no {{}} in the last {settings.level_days} mature days, to damp the projection from.", _NUMERATOR
    )
    return rows.with_columns(
        pl.coalesce(f"reason_{k}", pl.when(pl.col(f"damped_{k}").is_null()).then(no_level)).alias(f"reason_{k}")
        for k in HORIZONS
    )


def _with_on_track(rows: pl.DataFrame, settings: Growth) -> pl.DataFrame:
    """Whether the account is on track for ten times its baseline; the factor stays hidden until 365-day figures are shown."""
    reason = pl.coalesce(
        _unknown(settings),
        _too_early("The 10x question", "days_since_baseline", "days after the baseline", settings.min_days_on_track),
        pl.when(pl.col("damped_factor_low").is_null()).then(pl.col("reason_30")),
    )
    rows = rows.with_columns(reason_on_track=reason)
    on_track = pl.when(pl.col("reason_on_track").is_null()).then(pl.col("damped_factor_low") >= TARGET_FACTOR)
    shown = pl.when(pl.col("reason_on_track").is_null(), pl.col("days_of_history") >= settings.min_days_365)
    ends = ("damped_factor", "damped_factor_low", "damped_factor_high")
    return rows.with_columns(on_track.alias("on_track_for_10x"), *(shown.then(pl.col(end)).alias(end) for end in ends))


def _with_status(rows: pl.DataFrame, settings: Growth) -> pl.DataFrame:
    missing = pl.coalesce(
        _unknown(settings),
        _too_early("A trend", "days_since_baseline", "days after the baseline", settings.min_days_30),
        pl.when(pl.col("trend").is_null()).then(
            pl.format(f"Too few days with {{}} in the last {settings.trend_days} mature days for a trend.", _NUMERATOR)
        ),
    )
    status = (
        pl.when(missing.is_not_null())
        .then(pl.lit("insufficient_data"))
        .when((pl.col("trend_low") > 0) & (pl.col("curvature") > pl.col("critical")))
        .then(pl.lit("accelerating"))
        .when(pl.col("trend_low") > 0)
        .then(pl.lit("improving"))
        .when(pl.col("trend_high") < 0)
        .then(pl.lit("declining"))
        .otherwise(pl.lit("stable"))
    )
    clear = (
        pl.when(pl.col("trend_low") > 0)
        .then(pl.lit("clearly up"))
        .when(pl.col("trend_high") < 0)
        .then(pl.lit("clearly down"))
        .otherwise(pl.lit("not clearly up or down"))
    )
    sentence = pl.format(
        "{} is {} times its baseline ({} to {}), {} days after it; its trend is {} % a day ({} to {}), {}.",
        pl.col("metric").str.to_uppercase(),
        pl.col("improvement_factor").round(2),
        *(pl.col(name).round(2).cast(pl.String).fill_null("unknown") for name in ("improvement_low", "improvement_high")),
        pl.col("days_since_baseline"),
        *(((pl.col(name).exp() - 1) * 100).round(2) for name in ("trend", "trend_low", "trend_high")),
        clear,
    )
    trend = ("trend", "trend_low", "trend_high")
    return rows.with_columns(status=status, reason=pl.coalesce(missing, sentence)).with_columns(
        pl.when(pl.col("status") != "insufficient_data").then(pl.col(name)).alias(name) for name in trend
    )


def _unknown(settings: Growth) -> pl.Expr:
    """Why an account has no improvement factor, or NULL where it has one."""
    return (
        pl.when(pl.col("metric").is_null())
        .then(pl.lit(f"No day with delivery is older than {settings.mature_days} days yet."))
        .when(pl.col("days_since_baseline") < 0)
        .then(pl.format(f"The baseline needs {settings.baseline_days} mature days; there are {{}}.", "days_of_history"))
        .when(pl.col("baseline_num") == 0)
        .then(pl.format("The baseline has no {}, so nothing can be compared with it.", _NUMERATOR))
        .when(pl.col("current_value").is_null())
        .then(pl.lit(f"No delivery in the last {settings.current_days} mature days."))
    )


def _too_early(what: str, column: str, unit: str, needed: int) -> pl.Expr:
    return pl.when(pl.col(column) < needed).then(pl.format(f"{what} needs {needed} {unit}; there are {{}}.", column))


def _interval(name: str, log_mean: pl.Expr, variance: pl.Expr, shown: pl.Expr) -> list[pl.Expr]:
    margin = pl.col("critical") * variance.sqrt()
    ends = {"": log_mean, "_low": log_mean - margin, "_high": log_mean + margin}
    return [pl.when(shown).then(value.exp()).alias(f"{name}{end}") for end, value in ends.items()]


def _trends(series: pl.DataFrame, last: date, settings: Growth) -> pl.DataFrame:
    """Log-linear trend of each account over the last `settings.trend_days`, all accounts at once.

    Returns account_id, trend and trend_se (log units a day), trend_low, trend_high, dispersion (long-run variance over the
    mean, in units of the numerator), curvature (t statistic of the quadratic contrast) and critical (t quantile); accounts
    without a trend are left out.
    """
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    age = (pl.lit(last) - pl.col("date")).dt.total_days()
    weeks = (
        series.filter(age < settings.trend_days)
        .group_by("account_id", (age // 7).alias("week"))
        .agg(
            pl.col("metric").first(),
            pl.col("num", "den").sum(),
            day=-(age * pl.col("den")).sum() / pl.col("den").sum(),
        )
    )
    points, first, newest = pl.len().cast(pl.Int64), pl.col("day").min(), pl.col("day").max()
    # Two polynomials are the trend and one its curvature; at least one more measures noise.
    accounts = (
        weeks.group_by("account_id")
        .agg(
            middle=(first + newest) / 2,
            half=(newest - first) / 2,
            contrasts=pl.min_horizontal(((newest - first + 1) // DAYS_PER_CONTRAST).clip(lower_bound=2), points - 3),
            # Counts vary at least like Poisson's; amounts of money have no such floor.
            least=pl.when(pl.col("metric").first() == "ctr").then(1.0).otherwise(0.0),
            total=pl.col("num").sum(),
        )
        .filter(pl.col("contrasts") >= 1, pl.col("total") > 0)
        .sort("account_id")
        .with_row_index("account")
    )
    weeks = weeks.join(accounts, on="account_id").with_columns(x=(pl.col("day") - pl.col("middle")) / pl.col("half"))
    x, num, den = (np.zeros((accounts.height, -(-settings.trend_days // 7))) for _ in range(3))
    for grid, column in ((x, "x"), (num, "num"), (den, "den")):
        grid[weeks["account"].to_numpy(), weeks["week"].to_numpy()] = weeks[column].to_numpy()

    half, contrasts = accounts["half"].to_numpy(), accounts["contrasts"].cast(pl.Int64).to_numpy()
    slope, mean, converged = _pseudo_likelihood(x, num, den)
    error, curvature, dispersion = _long_run(x, num, mean, contrasts, accounts["least"].to_numpy())
    slope, error = slope / half, np.maximum(error / half, SMALLEST_SE)
    critical = np.asarray(stdtrit(contrasts, 0.5 + settings.confidence_level / 2), dtype=np.float64)
    return accounts.select(
        "account_id",
        trend=pl.Series(slope),
        trend_se=pl.Series(error),
        trend_low=pl.Series(slope - critical * error),
        trend_high=pl.Series(slope + critical * error),
        dispersion=pl.Series(dispersion),
        curvature=pl.Series(curvature),
        critical=pl.Series(critical),
    ).filter(pl.Series(converged))


def _pseudo_likelihood(x: Floats, num: Floats, den: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Fit num ≈ den · exp(a + b x) for each row by Newton's method; b, the fitted means, and whether the fit converged."""
    a, b = np.log(num.sum(axis=1) / den.sum(axis=1)), np.zeros(len(x))
    step = np.full(len(x), np.inf)
    mean = den * np.exp(a)[:, None]
    for _ in range(30):
        residual = num - mean
        m0, m1, m2 = mean.sum(axis=1), (mean * x).sum(axis=1), (mean * x**2).sum(axis=1)
        s0, s1 = residual.sum(axis=1), (residual * x).sum(axis=1)
        determinant = m0 * m2 - m1**2
        # Revenue in the first or last week only has no finite slope; bounded steps let such an account run out of steps.
        db = np.clip(np.divide(m0 * s1 - m1 * s0, determinant, out=np.zeros_like(a), where=determinant > 0), -1, 1)
        da = np.clip((s0 - m1 * db) / m0, -1, 1)
        a, b = a + da, b + db
        mean = den * np.exp(a[:, None] + b[:, None] * x)
        step = np.maximum(np.abs(da), np.abs(db))
        if not (step > 1e-10).any():
            break
    return b, mean, step <= 1e-6


def _long_run(x: Floats, num: Floats, mean: Floats, contrasts: Counts, least: Floats) -> tuple[Floats, Floats, Floats]:
    """Standard error of b, t statistic of the curvature, and dispersion, from the residuals' contrasts with polynomials of x.

    Polynomials of degree 0 and 1 are the trend, 2 is the curvature, and the next `contrasts` of them measure the slow noise,
    whose dispersion is taken to be at least `least`.
    """
    from numpy.polynomial.legendre import legvander

    weight = np.sqrt(mean)
    most = int(contrasts.max(initial=1))
    q, r = np.linalg.qr(weight[:, :, None] * np.asarray(legvander(x, most + 2)))
    residual = np.divide(num - mean, weight, out=np.zeros_like(num), where=weight > 0)
    sizes = np.einsum("at,atk->ak", residual, q)
    noise = np.where(np.arange(most) < contrasts[:, None], sizes[:, 3:] ** 2, 0).sum(axis=1) / contrasts
    noise = np.maximum(noise, least)
    curvature = sizes[:, 2] * np.sign(r[:, 2, 2])
    error = np.sqrt(noise) / np.abs(r[:, 1, 1])
    return error, np.divide(curvature, np.sqrt(noise), out=np.zeros_like(noise), where=noise > 0), noise
