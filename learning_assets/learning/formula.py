"""What winners have that losers lack: who won, who lost, and the choices that tell them apart.

What belongs here: the verdict on each creative, and the log-odds of its attributes among winners against losers. What does not: how much a
choice lifts a rate (`lift`), the score of a new creative (`score`), and what to change in it (`suggestions`).

**The unit** is a creative within its account: ads with the same fingerprint (same text and image) are added up, so that an ad copied twenty
times is one winner. Their attributes are those of the copy with most impressions.

**Verdicts.** An account whose revenue is known is judged by it: a winner has ROAS of at least `min_roas` and `min_impressions` in weeks old
enough for their conversions to be known; a loser has the impressions and an upper bound of ROAS below that. Elsewhere by CTR against what the
account's other ads had in the same week (of the same experiment where arms were random): a winner's lower bound is above the account's mean, a
loser's upper bound below. Whoever is neither is undecided. Bounds are one-sided, of a Gamma posterior (Clayton & Kaldor, Biometrics 1987): with
o events where the account's mean expects e, dispersion φ and k the strength of the prior over the account's creatives, the creative's rate
relative to the mean is Gamma(k + o/φ, k + e/φ). φ is the chi-square of a creative's weeks around its own rate over its degrees of freedom (1
where no creative has two weeks); k follows from the moments of the rates (DerSimonian & Laird 1986). For ROAS events are money, and φ the
money of an event and its spread; where φ is not known there, nobody is a loser.

**Log-odds** with an informative Dirichlet prior (Monroe, Colaresi & Quinn, Political Analysis 16, 2008): of the winners of a stratum a have the
value and b have not, of the losers c and d, each plus a prior of `prior_ads` ads on each side that have it as often as all ads of the account;
log (a d / b c), with variance 1/a + 1/b + 1/c + 1/d (they leave out b and d, which is right for rare words only). Over several accounts each is
a stratum, since accounts differ in level and in habits: Mantel & Haenszel's odds ratio with the variance of Robins, Breslow & Greenland
(Biometrics 42, 1986), which for one stratum are the formulae above, or the jackknife over accounts (Efron & Stein, Annals of Statistics 1981)
where that is larger, with Student's t.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Literal

import numpy as np
import polars as pl

from learning_assets.learning.hooks import UNKNOWN
from learning_assets.settings import Formula

VERSION = "1"

Scope = Literal["account", "niche", "all"]

KEY = ("scope", "account_id", "niche", "attribute", "value")
"""What names a row of a formula."""

FORMULA = pl.Schema(
    {
        **dict.fromkeys(("scope", "account_id", "niche"), pl.String),
        **dict.fromkeys(("status", "reason"), pl.String),
        **dict.fromkeys(("kind", "attribute", "value"), pl.String),
        **dict.fromkeys(("winners_with", "winners", "losers_with", "losers", "ads", "accounts"), pl.Int64),
        "share": pl.Float64,
        **dict.fromkeys(("log_odds", "z", "low", "high", "p_value", "q_value"), pl.Float64),
        **dict.fromkeys(("bin_low", "bin_high"), pl.Float64),
        **dict.fromkeys(("winners_quartiles", "losers_quartiles"), pl.List(pl.Float64)),
    }
)
"""One row per scope and attribute = value, and one per scope that has NULL there and says what the others rest on.

`status`: `learned`, or `insufficient_data` with the `reason`, and then no estimates. `kind`: `scope`; `choice`, a value of a category or list;
`number`, a quarter of a number's range from `bin_low` (above) to `bin_high` (included; NULL where open), whose rows together are its lift
curve. `winners_with` of `winners` whose attribute is known have the value, `losers_with` of `losers`; on the scope's row `winners` and
`losers` are all. `ads`: creatives with the value, decided or not, over `accounts` accounts; `share`: of those whose attribute is known, 0 to 1.
`log_odds` with its bounds `low` and `high` is the natural log of winners' odds of having the value over losers'; `q_value` is
Benjamini-Hochberg over all attributes and values of the scope. `*_quartiles`: of the number itself."""

_COUNTS = ("impressions", "link_clicks", "spend_micros", "revenue_micros")
_UNIT = ["account_id", "unit"]
_SERIES = [*_UNIT, "experiment_id"]
"""Weeks of a creative that ought to have one rate but for noise: against other arms it is another rate over the mean."""
_FIGURES = (
    *_UNIT,
    "owner",
    "first_week",
    "impressions",
    "clicks",
    "expected",
    "dispersion",
    "log_ratio",
    "noise",
    "metric",
    "rate",
    "verdict",
)
_ROW = ["s", "attribute", "value"]
_SMOOTHING = 0.5
"""Clicks added to observed and expected ones before their logarithm."""


def units(
    sums: pl.DataFrame, carried: Sequence[str], events: str = "link_clicks", exposure: str = "impressions"
) -> pl.DataFrame:
    """Creatives with their clicks against what their account's mean expects of the same weeks.

    Parameters
    ----------
    sums : one row per ad and week: owner, account_id, ad_id, fingerprint (NULL: the ad is alone), experiment_id (set only where arms were
        assigned at random and the sample ratio is sound), week, impressions, link_clicks and the columns `carried`. Rows without
        impressions or with an unknown count are left out.
    carried : attributes and numbers, taken from the copy with most impressions.
    events, exposure : columns of another rate, in place of clicks and impressions, which stand for them in what follows.

    Returns
    -------
    One row per account and creative, sorted: owner, account_id, unit, first_week, impressions, clicks, `expected` clicks at the account's
    mean, `dispersion` of the account's weekly counts (at least 1), `log_ratio`, the smoothed log of clicks over expected ones, its count
    variance `noise`, and `carried`.

    Raises
    ------
    ValueError : a column is missing, or one of `carried` has the name of a figure.
    """
    if taken := sorted({*carried} & {*_FIGURES}):
        raise ValueError(f"These are names of figures; carry {', '.join(map(repr, taken))} under another name.")
    rows = _rows(sums, carried, (exposure, events)).drop_nulls(events).rename({exposure: "impressions", events: "clicks"})
    stratum = ["account_id", pl.coalesce("experiment_id", pl.col("week").cast(pl.String))]
    rate = pl.col("clicks").sum().over(stratum) / pl.col("impressions").sum().over(stratum)
    weeks = (
        rows.with_columns(expected=rate * pl.col("impressions"))
        .group_by("owner", *_SERIES, "week")
        .agg(pl.col("impressions", "clicks", "expected").sum())
        .sort(*_SERIES, "week")
    )
    return (
        weeks.group_by("owner", *_UNIT, maintain_order=True)
        .agg(pl.col("week").min().alias("first_week"), pl.col("impressions", "clicks", "expected").sum())
        .join(_dispersion(weeks, "clicks", "expected"), on="account_id", how="left")
        .with_columns(pl.col("dispersion").clip(lower_bound=1).fill_null(1.0))
        .with_columns(
            log_ratio=((pl.col("clicks") + _SMOOTHING) / (pl.col("expected") + _SMOOTHING)).log(),
            noise=pl.col("dispersion") / (pl.col("expected") + _SMOOTHING),
        )
        .join(_described(rows, carried), on=_UNIT)
        .sort(_UNIT)
    )


def judge(sums: pl.DataFrame, carried: Sequence[str], day: date, settings: Formula) -> pl.DataFrame:
    """Winners and losers of every account.

    Parameters
    ----------
    sums : as for `units`, with spend_micros and revenue_micros (NULL where unknown), for the window that ends on `day`. Weeks are dated on
        their last day.
    carried : attributes and numbers that are kept beside the verdict.
    day : the newest day of the facts; weeks that ended less than `settings.mature_days` before it do not count for ROAS.
    settings : `min_roas`, `min_impressions`, `bound_level`, `mature_days`.

    Returns
    -------
    The rows of `units` with `metric` (`roas` or `ctr`: what the account is judged by), `rate` (ROAS, or CTR over the account's mean), its
    one-sided bounds `rate_low` and `rate_high` (NULL where they cannot be known), and `verdict`: `winner`, `loser`, `undecided`, or `few`
    (too few impressions). An account is judged by ROAS where at least half of its creatives with enough impressions have a known revenue.

    Raises
    ------
    ValueError : a column is missing.
    """
    by_clicks = _bounds(units(sums, carried), "clicks", settings.bound_level, "ratio")
    money = _roas(_rows(sums, []).filter(pl.col("week") <= day - timedelta(days=settings.mature_days)), settings)
    shown = pl.col("impressions") >= settings.min_impressions
    paid = (pl.col("paid_impressions") >= settings.min_impressions).fill_null(value=False)
    known = (shown & paid).sum().over("account_id")
    judged = by_clicks.join(money, on=_UNIT, how="left", maintain_order="left").with_columns(
        metric=pl.when((known > 0) & (2 * known >= shown.sum().over("account_id")))
        .then(pl.lit("roas"))
        .otherwise(pl.lit("ctr"))
    )
    roas = pl.col("metric") == "roas"
    winner = pl.when(roas).then(pl.col("roas") >= settings.min_roas).otherwise(pl.col("ratio_low") > 1)
    loser = pl.when(roas).then(pl.col("roas_high") < settings.min_roas).otherwise(pl.col("ratio_high") < 1)
    verdict = (
        pl.when(~pl.when(roas).then(paid).otherwise(shown))
        .then(pl.lit("few"))
        .when(winner)
        .then(pl.lit("winner"))
        .when(loser)
        .then(pl.lit("loser"))
        .otherwise(pl.lit("undecided"))
    )
    rates = {f"rate{end}": pl.when(roas).then(f"roas{end}").otherwise(f"ratio{end}") for end in ("", "_low", "_high")}
    return judged.select(*by_clicks.columns[: -len(rates)], "metric", **rates, verdict=verdict)


def mine(
    judged: pl.DataFrame,
    attributes: Sequence[str],
    numbers: Sequence[str],
    settings: Formula,
    scope: Scope,
    *,
    niche: str | None = None,
    min_owners: int = 1,
) -> pl.DataFrame:
    """Formulas of every account (scope `account`), or one over all accounts given.

    Parameters
    ----------
    judged : as `judge` gives it.
    attributes : columns of String, or List(String) where several values may hold; NULL and `unknown` put a creative on neither side.
    numbers : numeric columns, cut at the quartiles of the scope's decided creatives.
    settings : `min_winners` (and losers) below which a scope learns nothing; `min_ads` creatives that have a value, below which it is left
        out, and decided ones that have and lack it, below which nothing is said of it; `prior_ads`, `confidence_level`.
    scope, niche : what the rows are of; over several accounts each is a stratum.
    min_owners : values that creatives of fewer owners have are left out.

    Returns
    -------
    Frame with schema FORMULA, sorted by its key.
    """
    alone = scope == "account"
    frame = judged.with_columns(s=pl.col("account_id") if alone else pl.lit(scope))
    scopes = frame.group_by("s").agg(
        winners=(pl.col("verdict") == "winner").sum(),
        losers=(pl.col("verdict") == "loser").sum(),
        ads=pl.len(),
        accounts=pl.col("account_id").n_unique(),
        by_roas=pl.col("account_id").filter(pl.col("metric") == "roas").n_unique(),
    )
    cut = [_cut(frame, name) for name in numbers]
    cells = [_cells(frame, name, settings) for name in attributes]
    cells += [_cells(labelled, name, settings) for name, (labelled, _) in zip(numbers, cut, strict=True)]
    values = _log_odds(pl.concat([*cells, _CELLS.to_frame()]), settings, alone=alone).filter(
        pl.col("ads") >= settings.min_ads, pl.col("owners") >= min_owners
    )
    values = values.join(pl.concat([bounds for _, bounds in cut]) if cut else _NO_BOUNDS, on=_ROW, how="left")
    estimates = ["log_odds", "z", "low", "high", "p_value"]
    rows = (
        pl.concat([scopes.with_columns(kind=pl.lit("scope")), values], how="diagonal_relaxed")
        .join(scopes.select("s", *_status(settings)), on="s")
        .with_columns(
            *(pl.when(pl.col("status") == "learned").then(name).alias(name) for name in estimates),
            kind=pl.coalesce(
                "kind", pl.when(pl.col("attribute").is_in(list(numbers))).then(pl.lit("number")), pl.lit("choice")
            ),
            scope=pl.lit(scope),
            account_id=pl.col("s") if alone else pl.lit(None),
            niche=pl.lit(niche),
        )
    )
    return (
        _with_q_values(rows)
        .with_columns(pl.lit(None).alias(name) for name in FORMULA if name not in rows.columns and name != "q_value")
        .select(pl.col(name).cast(kind) for name, kind in FORMULA.items())
        .sort(KEY)
    )


def _rows(sums: pl.DataFrame, carried: Sequence[str], counts: Sequence[str] = _COUNTS) -> pl.DataFrame:
    """Rows with impressions, with the `unit` that each belongs to."""
    names = [*dict.fromkeys(("owner", "account_id", "ad_id", "fingerprint", "experiment_id", "week", *counts, *carried))]
    if missing := [name for name in names if name not in sums.columns]:
        raise ValueError(f"The sums lack the columns {missing}; they need {names}.")
    unit = pl.coalesce("fingerprint", pl.format("ad {}", "ad_id"))
    return sums.select(names).filter(pl.col(counts[0]) > 0).with_columns(unit=unit)


def _described(rows: pl.DataFrame, carried: Sequence[str]) -> pl.DataFrame:
    size = pl.col("impressions").sum().over("account_id", "ad_id")
    keys = rows.select(*_UNIT, "ad_id", "week", size=size).with_row_index("row")
    first = keys.sort("size", "ad_id", "week", descending=[True, False, True]).unique(_UNIT, keep="first")
    return rows.select(*_UNIT, *carried)[first["row"]]


def _dispersion(weeks: pl.DataFrame, events: str, expected: str) -> pl.DataFrame:
    """By account, chi-square of the weeks of each series around its own rate over its degrees of freedom; NULL where none has two weeks."""
    own = pl.col(events).sum().over(_SERIES) / pl.col(expected).sum().over(_SERIES) * pl.col(expected)
    term = (pl.col(events) - own) ** 2 / own
    counted = (pl.len().over(_SERIES) > 1) & (own > 0)
    return (
        weeks.filter(pl.col(expected) > 0)
        .with_columns(term=pl.when(counted).then(term), share=pl.when(counted).then(1 - 1 / pl.len().over(_SERIES)))
        .group_by("account_id")
        .agg(freedom=pl.col("share").sum(), chi_square=pl.col("term").sum())
        .select("account_id", dispersion=pl.when(pl.col("freedom") > 0).then(pl.col("chi_square") / pl.col("freedom")))
    )


def _bounds(found: pl.DataFrame, events: str, level: float, name: str) -> pl.DataFrame:
    """`found` with the rate over the account's mean and its one-sided bounds, as `name`, `name_low` and `name_high`."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    o, e = pl.col(events) / pl.col("dispersion"), pl.col("expected") / pl.col("dispersion")

    def of_account(amount: pl.Expr) -> pl.Expr:
        return amount.sum().over("account_id")

    usable = (pl.col("dispersion") > 0) & (pl.col("expected") > 0)
    moments = found.select(
        o=pl.when(usable).then(o),
        e=pl.when(usable).then(e),
        excess=of_account(pl.when(usable).then((o - e) ** 2 / e)) - of_account(usable.cast(pl.Int64)) + 1,
        room=of_account(pl.when(usable).then(e)) - of_account(pl.when(usable).then(e**2)) / of_account(pl.when(usable).then(e)),
    )
    o, e, excess, room = (moments[column].cast(pl.Float64).fill_null(np.nan).to_numpy() for column in moments.columns)
    # Where rates do not differ beyond chance every creative is its account's mean, and the bounds are that mean.
    differ = (excess > 0) & (room > 0)
    k = np.where(differ, room, 1) / np.where(differ, excess, 1)
    low, high = (
        np.where(np.isnan(o), np.nan, np.where(differ, special.gammaincinv(k + o, p) / (k + e), 1.0))
        for p in (1 - level, level)
    )
    bounds = {f"{name}_low": low, f"{name}_high": high}
    return found.with_columns(
        pl.when(pl.col("expected") > 0).then(pl.col(events) / pl.col("expected")).alias(name),
        *(pl.Series(column, values).fill_nan(None) for column, values in bounds.items()),
    )


def _roas(rows: pl.DataFrame, settings: Formula) -> pl.DataFrame:
    """By unit, ROAS with its bounds and the impressions behind it, over the rows in which spend and revenue are known."""
    weeks = (
        rows.drop_nulls(["spend_micros", "revenue_micros"])
        .group_by(*_SERIES, "week")
        .agg(pl.col("impressions", "spend_micros", "revenue_micros").sum())
        .with_columns(mean=pl.col("revenue_micros").sum().over("account_id") / pl.col("spend_micros").sum().over("account_id"))
        .filter(pl.col("mean").is_finite())
        .with_columns(expected=pl.col("spend_micros") * pl.col("mean"))
        .sort(*_SERIES, "week")
    )
    found = (
        weeks.group_by(_UNIT, maintain_order=True)
        .agg(pl.col("mean").first(), pl.col("impressions", "spend_micros", "revenue_micros", "expected").sum())
        .filter(pl.col("spend_micros") > 0)
        .join(_dispersion(weeks, "revenue_micros", "expected"), on="account_id", how="left", maintain_order="left")
    )
    return _bounds(found, "revenue_micros", settings.bound_level, "ratio").select(
        *_UNIT,
        paid_impressions="impressions",
        roas=pl.col("revenue_micros") / pl.col("spend_micros"),
        roas_low=pl.col("ratio_low") * pl.col("mean"),
        roas_high=pl.col("ratio_high") * pl.col("mean"),
    )


def _status(settings: Formula) -> list[pl.Expr]:
    few = pl.min_horizontal("winners", "losers") < settings.min_winners
    why = pl.format(
        "{} winners and {} losers of {} creatives are told; {} of each are needed.",
        "winners",
        "losers",
        "ads",
        pl.lit(settings.min_winners),
    )
    by = (
        pl.when(pl.col("by_roas") == 0)
        .then(pl.lit("by CTR against the account's mean"))
        .when(pl.col("by_roas") == pl.col("accounts"))
        .then(pl.format("by ROAS of {} and more", pl.lit(settings.min_roas)))
        .otherwise(pl.format("by ROAS in {} of {} accounts, by CTR in the others", "by_roas", "accounts"))
    )
    told = pl.format("{} winners against {} losers, {}.", "winners", "losers", by)
    return [
        pl.when(few).then(pl.lit("insufficient_data")).otherwise(pl.lit("learned")).alias("status"),
        pl.when(few).then(why).otherwise(told).alias("reason"),
    ]


def _cut(frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The frame with a number as labels of its quarters, and by label the bounds of the quarter and the quartiles of winners and losers."""
    number, decided = pl.col(name).cast(pl.Float64), pl.col("verdict").is_in(["winner", "loser"])
    edges = [f"_edge{quarter}" for quarter in (1, 2, 3)]
    quartiles = {
        f"{side}s_quartiles": pl.concat_list(
            number.filter(pl.col("verdict") == side).quantile(q / 4, "linear") for q in (1, 2, 3)
        )
        for side in ("winner", "loser")
    }
    by_scope = frame.group_by("s").agg(
        *(number.filter(decided).quantile(q / 4, "lower").alias(edge) for q, edge in zip((1, 2, 3), edges, strict=True)),
        **quartiles,
    )
    low = pl.max_horizontal(pl.when(number > pl.col(edge)).then(edge) for edge in edges)
    high = pl.min_horizontal(pl.when(number <= pl.col(edge)).then(edge) for edge in edges)
    shown_low, shown_high = (
        pl.col(bound).round_sig_figs(3).cast(pl.String).str.strip_suffix(".0") for bound in ("bin_low", "bin_high")
    )
    label = (
        pl.when(pl.col("bin_low").is_null() & pl.col("bin_high").is_not_null())
        .then(pl.format("at most {}", shown_high))
        .when(pl.col("bin_high").is_null() & pl.col("bin_low").is_not_null())
        .then(pl.format("above {}", shown_low))
        .when(pl.col("bin_low").is_not_null())
        .then(pl.format("{} to {}", shown_low, shown_high))
    )
    labelled = frame.join(by_scope, on="s", how="left", maintain_order="left").with_columns(bin_low=low, bin_high=high)
    labelled = labelled.with_columns(label.alias(name))
    bounds = labelled.drop_nulls(name).select(
        "s", attribute=pl.lit(name), value=name, bin_low="bin_low", bin_high="bin_high", **{n: n for n in quartiles}
    )
    return labelled.select(frame.columns), bounds.unique(_ROW, keep="first", maintain_order=True)


_CELLS = pl.Schema(
    {
        **dict.fromkeys(("s", "account_id", "owner", "attribute", "value"), pl.String),
        **dict.fromkeys(("w", "l", "b", "winners", "losers", "known", "all_winners", "all_losers", "all_known"), pl.Int64),
        "prior": pl.Float64,
    }
)
"""Of a scope `s`, an account and a value: winners, losers and all that have it (w, l, b), those whose attribute is known, in the account and
over all accounts of the scope, and the weight of the prior, in creatives on each side."""
_NO_BOUNDS = pl.DataFrame(schema=dict.fromkeys(_ROW, pl.String))


def _cells(frame: pl.DataFrame, name: str, settings: Formula) -> pl.DataFrame:
    """Winners, losers and all with each value of an attribute, by account, with those whose attribute is known, and the prior's weight."""
    known = frame.select("s", "account_id", "owner", "verdict", value=name)
    if isinstance(known.schema["value"], pl.List):
        said = pl.col("value").list.eval(pl.element().filter(pl.element() != UNKNOWN)).list.unique()
        known = known.with_columns(said).filter(pl.col("value").list.len() > 0)
    else:
        known = known.with_columns(pl.col("value").cast(pl.String)).filter(pl.col("value") != UNKNOWN)
    winner, loser = (pl.col("verdict") == side for side in ("winner", "loser"))
    decided = pl.col("winners") + pl.col("losers")
    compared = pl.when((pl.col("winners") > 0) & (pl.col("losers") > 0)).then(decided)
    totals = (
        known.group_by("s", "account_id")
        .agg(winners=winner.sum(), losers=loser.sum(), known=pl.len())
        .with_columns(prior=settings.prior_ads * compared / compared.sum().over("s"))
        .with_columns(pl.col("winners", "losers", "known").sum().over("s").name.prefix("all_"))
    )
    each = known.explode("value") if isinstance(known.schema["value"], pl.List) else known
    return (
        each.group_by("s", "account_id", "value")
        .agg(owner=pl.col("owner").first(), w=winner.sum(), l=loser.sum(), b=pl.len())
        .join(totals, on=["s", "account_id"])
        .with_columns(attribute=pl.lit(name))
        .select(pl.col(column).cast(kind) for column, kind in _CELLS.items())
    )


def _log_odds(cells: pl.DataFrame, settings: Formula, *, alone: bool) -> pl.DataFrame:
    """Log-odds of each value over the accounts of a scope, with counts; NULL where too few decided creatives have or lack it."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    prior, p = pl.col("prior"), pl.col("b") / pl.col("known")
    a, b = pl.col("w") + prior * p, pl.col("winners") - pl.col("w") + prior * (1 - p)
    c, d = pl.col("l") + prior * p, pl.col("losers") - pl.col("l") + prior * (1 - p)
    n = a + b + c + d
    without = (pl.col("r").sum().over(_ROW) - pl.col("r")) / (pl.col("s0").sum().over(_ROW) - pl.col("s0"))
    sums = (
        cells.sort(*_ROW, "account_id")
        .with_columns(r=a * d / n, s0=b * c / n, same=(a + d) / n, other=(b + c) / n)
        .with_columns(left_out=pl.when((pl.col("r") + pl.col("s0")) > 0).then(without.log()))
        .group_by(_ROW, maintain_order=True)
        .agg(
            winners_with=pl.col("w").sum(),
            losers_with=pl.col("l").sum(),
            winners=pl.col("all_winners").first(),
            losers=pl.col("all_losers").first(),
            ads=pl.col("b").sum(),
            share=pl.col("b").sum() / pl.col("all_known").first(),
            accounts=pl.len(),
            owners=pl.col("owner").n_unique(),
            compared=((pl.col("r") + pl.col("s0")) > 0).sum(),
            r=pl.col("r").sum(),
            s0=pl.col("s0").sum(),
            rr=(pl.col("same") * pl.col("r")).sum(),
            rs=(pl.col("same") * pl.col("s0") + pl.col("other") * pl.col("r")).sum(),
            ss=(pl.col("other") * pl.col("s0")).sum(),
            jackknife=(pl.col("left_out") - pl.col("left_out").mean()).pow(2).sum(),
        )
    )
    have = pl.col("winners_with").cast(pl.Int64) + pl.col("losers_with")
    lack = pl.col("winners").cast(pl.Int64) + pl.col("losers") - have
    enough = (have >= settings.min_ads) & (lack >= settings.min_ads) & (pl.col("r") > 0) & (pl.col("s0") > 0)
    k = pl.col("compared").cast(pl.Float64)
    model = (
        pl.col("rr") / (2 * pl.col("r") ** 2)
        + pl.col("rs") / (2 * pl.col("r") * pl.col("s0"))
        + pl.col("ss") / (2 * pl.col("s0") ** 2)
    )
    variance = model if alone else pl.when(k > 1).then(pl.max_horizontal(model, pl.col("jackknife") * (k - 1) / k))
    found = sums.with_columns(
        log_odds=pl.when(enough).then((pl.col("r") / pl.col("s0")).log()), se=pl.when(enough).then(variance.sqrt())
    ).with_columns(z=pl.col("log_odds") / pl.col("se"))
    z, freedom = found["z"].fill_null(np.nan).to_numpy(), found["compared"].to_numpy().astype(np.float64) - 1
    level = (1 + settings.confidence_level) / 2
    freedom = np.where(freedom > 0, freedom, np.nan)
    p_value = 2 * special.ndtr(-np.abs(z)) if alone else 2 * special.stdtr(freedom, -np.abs(z))
    reach = np.full(z.size, special.ndtri(level)) if alone else special.stdtrit(freedom, level)
    half = pl.Series(reach).fill_nan(None) * found["se"]
    return found.with_columns(
        low=pl.col("log_odds") - half, high=pl.col("log_odds") + half, p_value=pl.Series(p_value).fill_nan(None)
    )


def _with_q_values(rows: pl.DataFrame) -> pl.DataFrame:
    """Benjamini-Hochberg (1995) over the tests of each scope; NULL p-values are no tests."""
    p = pl.col("p_value")
    bound = p * p.count().over("s") / p.rank("max").over("s")
    smallest = bound.cum_min().over("s", order_by="p_value", descending=True)
    return rows.with_columns(q_value=pl.when(p.is_not_null()).then(smallest))
