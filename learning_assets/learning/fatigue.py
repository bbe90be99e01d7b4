"""Which ads tire: link CTR of the newest week against the ad's own first one, with what else could explain a fall.

What belongs here: the comparison, the causes that are ruled out, and the state. What does not: where reach and facts come from, and doing
anything about it.

**Baseline.** The first 7 days in a row with delivery after the day on which an ad reached 2,000 impressions; of an ad that is older than the facts,
the first ones that are known. It is fixed: "20 % below its best week" flags every steady ad in time, since the best of many weeks is the luckiest one.
A change of budget, audience or creative, and a pause of a week, make it another ad: impressions are counted from there, and the old baseline holds
until the new one is there. Weeks are compared with weeks, so that weekdays cancel.

**Fall.** A week has x clicks on n impressions over days of n_d each. Clicks of a day share what that day did to the ad: with day noise of standard
deviation s in the log rate θ, Var(x) = φ θ n with φ = 1 + s² θ Σn_d²/n. s² is learned from pairs of successive days of the account's ads, which a
slow fall does not inflate: given their m clicks, q = (x₂ − mp)² / c with p = n₂/(n₁ + n₂) and c = m p (1 − p) has mean 1 + 2 s² c, since two days
differ by the difference of two noises. Then s² = Σ(q − 1) / Σ2c, pulled to 10 % with the weight of six pairs. The log ratio of the two weeks has
variance φ₀/x₀ + φ₁/x₁, the baseline's own noise included. An ad has fallen where its CTR is down by at least 20 % and the one-sided 99.9 % bound of
the log ratio is below 0.

**The account's own movement** is that of its CTR in the same two weeks without the ad. Its variance is clustered by ad (linearisation of a ratio;
Cochran, Sampling Techniques, 1977, §6), with Student's t of as many degrees of freedom as there are other ads, less one: an account whose ads came
and went in between has moved by chance, and few ads tell little. What is left of the fall must pass the same two tests.

**States**, after the two words with which Meta marks ads whose cost per result is above that of past ads (limited: less than twice; fatigue: at least
twice):

- `none`: no fall is proven, or nothing can be judged yet; the reason says which.
- `watch`: a fall is proven, and something is missing: reach is not known, people have not seen the ad often (frequency below 2.5 or not above the
  baseline's), or another cause is not ruled out.
- `limited`: all is there, and a click costs less than twice what it did at the baseline *at equal prices of impressions*, the ratio of the CTRs.
  What the auction does to prices is not the creative's doing.
- `fatigued`: all is there, and it costs at least twice as much: the CTR has halved.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from learning_assets.settings import Fatigue

VERSION = "1"

KEY = ("account_id", "ad_id")
STATES = ("none", "watch", "limited", "fatigued")
CAUSES = ("budget", "audience", "learning", "account")
"""What else can lower a CTR. `learning`: another creative or goal, or a pause, after which the platform learns anew."""

DAYS = pl.Schema(
    {"date": pl.Date, **dict.fromkeys(KEY, pl.String), "impressions": pl.Int64, "link_clicks": pl.Int64},
)
"""One row per ad and day with delivery."""

WINDOWS = pl.Schema({"date": pl.Date, **dict.fromkeys(KEY, pl.String), "impressions": pl.Int64, "reach": pl.Int64})
"""People reached by an ad in the `window_days` days that end on `date`; `reach` is NULL where the platform did not say."""

CATALOG = pl.Schema(
    {
        "date": pl.Date,
        **dict.fromkeys((*KEY, "ad_set_id", "creative_id", "audience", "optimization_goal"), pl.String),
        "budget_micros": pl.Int64,
    }
)
"""What an ad was on a day; NULL where nobody knows."""

FATIGUE = pl.Schema(
    {
        **dict.fromkeys((*KEY, "state", "reason", "remedy", "cause"), pl.String),
        "ruled_out": pl.List(pl.String),
        **dict.fromkeys(("baseline_from", "baseline_until"), pl.Date),
        **dict.fromkeys(("impressions_then", "link_clicks_then", "impressions_now", "link_clicks_now"), pl.Int64),
        **dict.fromkeys(("ctr_then", "ctr_now", "log_change", "low", "high"), pl.Float64),
        "account_ads": pl.Int64,
        **dict.fromkeys(("account_log_change", "beyond_account", "beyond_low", "beyond_high"), pl.Float64),
        **dict.fromkeys(("frequency_then", "frequency_now", "cost_ratio", "day_noise"), pl.Float64),
    }
)
"""One row per ad that delivered on the day. `cause`: the one of CAUSES that may explain a fall, NULL where none is left or none fell; `ruled_out`:
those that were looked at and do not. `log_change`: of the CTR from the baseline, with the ends of its interval, each a one-sided bound
at the settings' level; `beyond_account` is what is left of it when the movement of the account's other ads (`account_log_change`, of `account_ads`
ads) is taken off. Frequencies are impressions per person in the two weeks. `cost_ratio`: of a click, now over then, at equal prices of impressions.
`day_noise`: standard deviation of an ad-day's log CTR in the account. What is not known is NULL."""


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes of ads: `found` has KEY, `date` and `cause`, one row per change; `known` has KEY, `cause` and `since`, the first day on which what
    would have changed was known."""

    found: pl.DataFrame
    known: pl.DataFrame


def edits(catalog: pl.LazyFrame, settings: Fatigue) -> Edits:
    """Changes of budget, audience and what makes the platform learn anew.

    Parameters
    ----------
    catalog : columns CATALOG, one row per ad and day. A day on which a value is not known is passed over.
    settings : `budget_step`.
    """
    rows = catalog.select(CATALOG.names()).sort(*KEY, "date").collect()
    of = {"budget": ("budget_micros",), "audience": ("audience", "ad_set_id"), "learning": ("creative_id", "optimization_goal")}
    found, known = list[pl.DataFrame](), list[pl.DataFrame]()
    for cause, columns in of.items():
        for column in columns:
            told = rows.filter(pl.col(column).is_not_null()).with_columns(was=pl.col(column).shift(1).over(KEY))
            step = pl.col(column) != pl.col("was")
            if cause == "budget":
                step = (pl.col(column) - pl.col("was")).abs() > settings.budget_step * pl.col("was")
            found.append(told.filter(step).select(*KEY, "date", cause=pl.lit(cause)))
            known.append(told.group_by(KEY).agg(since=pl.col("date").min()).with_columns(cause=pl.lit(cause)))
    return Edits(pl.concat(found).unique(), pl.concat(known).group_by(*KEY, "cause").agg(pl.col("since").min()))


def judge(days: pl.LazyFrame, edits: Edits, reach: pl.LazyFrame, day: date, settings: Fatigue) -> pl.DataFrame:
    """The state of every ad that delivered on `day`.

    Parameters
    ----------
    days : columns DAYS, complete days up to `day` of all ads of the accounts, as far back as `history_days`.
    edits : see `edits`; of the ads that deliver.
    reach : columns WINDOWS; those of `day` and of the baselines are looked up.
    day : the newest day.
    settings : all of them.

    Returns
    -------
    Frame with schema FATIGUE, sorted by account and ad; a function of the arguments only.

    Raises
    ------
    ValueError : `days` hold a day after `day`, or an ad twice on a day.
    """
    rows = days.select(DAYS.names()).filter(pl.col("impressions") > 0, pl.col("link_clicks").is_not_null())
    rows = rows.sort(*KEY, "date").collect()
    _refuse(rows, day)
    week = timedelta(days=settings.window_days - 1)
    live = rows.filter(pl.col("date") == day).select(KEY)
    own = rows.join(live, on=KEY, how="semi")
    now = _sums(own.filter(pl.col("date") >= day - week)).rename(lambda name: name if name in KEY else f"{name}_now")
    base, changes = _baselines(own, edits.found, day - week, settings)
    joined = (
        live.join(base, on=KEY, how="left")
        .join(now, on=KEY, how="left")
        .join(
            _noise(rows.filter(pl.col("date") > day - timedelta(days=settings.noise_days)), settings),
            on="account_id",
            how="left",
        )
        .join(_cause(base, changes), on=KEY, how="left")
        .join(_checked(base, edits.known), on=KEY, how="left")
        .join(_frequency(reach, live.with_columns(date=pl.lit(day)), "frequency_now"), on=KEY, how="left")
        .join(_frequency(reach, base.rename({"baseline_until": "date"}), "frequency_then"), on=KEY, how="left")
    )
    moved = _movement(rows, base, day - week, settings)
    return _decide(_changes(joined.join(moved, on=KEY, how="left"), settings), settings).select(FATIGUE.names()).sort(KEY)


def _refuse(rows: pl.DataFrame, day: date) -> None:
    late = rows.filter(pl.col("date") > day)
    if late.height:
        raise ValueError(f"{late.height} ad-days are later than {day}, the day that is judged; leave them out")
    if rows.select(pl.struct(*KEY, "date").is_duplicated().any()).item():
        raise ValueError("an ad stands twice on a day; sum it into one row first")


def _sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Days, impressions, clicks and squared impressions of each ad."""
    return rows.group_by(KEY).agg(
        pl.col("impressions", "link_clicks").sum(),
        days=pl.len(),
        squares=(pl.col("impressions").cast(pl.Float64) ** 2).sum(),
    )


def _baselines(rows: pl.DataFrame, changed: pl.DataFrame, newest: date, settings: Fatigue) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The newest baseline of each ad that ends before `newest`, with its sums, and all changes of the ads, pauses among them."""
    pauses = (
        rows.with_columns(gap=(pl.col("date") - pl.col("date").shift(1).over(KEY)).dt.total_days())
        .filter(pl.col("gap") > settings.pause_days)
        .select(*KEY, "date", cause=pl.lit("learning"))
    )
    changes = pl.concat([changed.join(rows, on=KEY, how="semi"), pauses]).sort("date")
    begins = changes.select(*KEY, "date", begun="date").unique().sort("date")
    parts = rows.sort("date").join_asof(begins, on="date", by=list(KEY), strategy="backward", check_sortedness=False)
    part = [*KEY, "begun"]
    # Days in a row after the day on which the impressions were reached.
    enough = (
        parts.sort(*KEY, "date")
        .with_columns(before=pl.col("impressions").cum_sum().over(part) - pl.col("impressions"))
        .filter(pl.col("before") >= settings.min_impressions)
    )
    length = settings.window_days - 1
    whole = enough.filter((pl.col("date") - pl.col("date").shift(length).over(part)).dt.total_days() == length)
    until = (
        whole.group_by(part)
        .agg(baseline_until=pl.col("date").min())
        .filter(pl.col("baseline_until") < newest)
        .sort("baseline_until")
        .group_by(KEY)
        .agg(pl.col("baseline_until").last())
        .with_columns(baseline_from=pl.col("baseline_until") - timedelta(days=length))
    )
    inside = rows.join(until, on=KEY).filter(pl.col("date").is_between("baseline_from", "baseline_until"))
    sums = _sums(inside).rename({name: f"{name}_then" for name in ("impressions", "link_clicks", "days", "squares")})
    return until.join(sums, on=KEY), changes


def _cause(base: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """The newest change of each ad since its baseline."""
    since = changes.join(base.select(*KEY, "baseline_until"), on=KEY).filter(pl.col("date") > pl.col("baseline_until"))
    return since.sort("date", "cause").group_by(KEY).agg(changed=pl.col("cause").last(), changed_on=pl.col("date").last())


def _checked(base: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Which changes of each ad would be known, had they come since its baseline began."""
    told = known.join(base.select(*KEY, "baseline_from"), on=KEY).filter(pl.col("since") <= pl.col("baseline_from"))
    return told.group_by(KEY).agg(checked=pl.col("cause"))


def _frequency(reach: pl.LazyFrame, windows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Impressions per person of each ad in the window that ends on its `date`."""
    frequency = pl.when(pl.col("reach") > 0).then(pl.col("impressions") / pl.col("reach"))
    chosen = reach.join(windows.lazy().select(*KEY, "date"), on=[*KEY, "date"], how="semi")
    return chosen.select(*KEY, frequency.alias(name)).collect()


def _noise(rows: pl.DataFrame, settings: Fatigue) -> pl.DataFrame:
    """Standard deviation of an ad-day's log CTR, `day_noise`, by account."""
    n1, n2 = pl.col("n1").cast(pl.Float64), pl.col("impressions").cast(pl.Float64)
    m, p = (pl.col("x1") + pl.col("link_clicks")).cast(pl.Float64), n2 / (n1 + n2)
    pairs = (
        rows.with_columns(
            n1=pl.col("impressions").shift(1).over(KEY),
            x1=pl.col("link_clicks").shift(1).over(KEY),
            gap=(pl.col("date") - pl.col("date").shift(1).over(KEY)).dt.total_days(),
        )
        .filter(pl.col("gap") == 1)
        .with_columns(m=m, p=p)
        .filter(pl.col("m") > 0)
        .with_columns(c=pl.col("m") * pl.col("p") * (1 - pl.col("p")))
        .with_columns(q=(pl.col("link_clicks") - pl.col("m") * pl.col("p")) ** 2 / pl.col("c"))
    )
    # Two days' shares differ by the difference of two noises: the mean of q is 1 + 2 s² c.
    weight = settings.day_noise_pairs / pl.len()
    learned = (pl.col("q") - 1).sum() + weight * 2 * pl.col("c").sum() * settings.day_noise**2
    per_account = pairs.group_by("account_id", maintain_order=True).agg(
        variance=learned / (2 * pl.col("c").sum() * (1 + weight))
    )
    accounts = rows.select("account_id").unique().join(per_account, on="account_id", how="left")
    return accounts.select("account_id", day_noise=pl.col("variance").clip(0).sqrt().fill_null(settings.day_noise))


def _movement(rows: pl.DataFrame, base: pl.DataFrame, newest: date, settings: Fatigue) -> pl.DataFrame:
    """How the CTR of the account's other ads moved from each ad's baseline to now: `account_log_change`, its standard error `account_se` (clustered
    by ad), and `account_ads`, how many of them delivered in either week."""
    windows = base.select("account_id", "baseline_until").unique()
    back = timedelta(days=settings.window_days - 1)
    dates = windows.with_columns(date=pl.date_ranges(pl.col("baseline_until") - back, "baseline_until")).explode("date")
    counts = {"n": pl.col("impressions").sum().cast(pl.Float64), "x": pl.col("link_clicks").sum().cast(pl.Float64)}
    then = rows.join(dates, on=["account_id", "date"]).group_by("account_id", "baseline_until", "ad_id")
    now = rows.filter(pl.col("date") >= newest).group_by(KEY).agg(**{f"{k}1": v for k, v in counts.items()})
    both = (
        windows.join(now, on="account_id")
        .join(
            then.agg(**{f"{k}0": v for k, v in counts.items()}),
            on=["account_id", "baseline_until", "ad_id"],
            how="full",
            coalesce=True,
        )
        .with_columns(pl.col("n0", "x0", "n1", "x1").fill_null(0.0))
        .with_columns(ads=pl.lit(1.0))
    )
    names = ("n0", "x0", "n1", "x1")
    products = {f"{a}{b}": pl.col(a) * pl.col(b) for i, a in enumerate(names) for b in names[i:]}
    moments = both.with_columns(**products)
    summed = ["ads", *names, *products]
    whole = moments.group_by("account_id", "baseline_until").agg(pl.col(summed).sum())
    # The other ads are the account less the ad.
    less = whole.join(moments, on=["account_id", "baseline_until"], suffix="_own").join(
        base.select(*KEY, "baseline_until"), on=[*KEY, "baseline_until"]
    )
    others = less.select(*KEY, *(pl.col(name) - pl.col(f"{name}_own") for name in summed))
    # An ad's influence on log(Σx₁/Σn₁) − log(Σx₀/Σn₀).
    share = {"x1": 1 / pl.col("x1"), "n1": -1 / pl.col("n1"), "x0": -1 / pl.col("x0"), "n0": 1 / pl.col("n0")}
    square = pl.sum_horizontal(
        (1 if a == b else 2) * share[a] * share[b] * pl.col(f"{a}{b}") for i, a in enumerate(names) for b in names[i:]
    )
    known = (pl.col("ads") >= 2) & (pl.min_horizontal("x0", "x1") > 0)
    change = (pl.col("x1") / pl.col("n1") / (pl.col("x0") / pl.col("n0"))).log()
    return others.select(
        *KEY,
        account_ads=pl.col("ads").cast(pl.Int64),
        account_log_change=pl.when(known).then(change),
        account_se=pl.when(known).then((pl.col("ads") / (pl.col("ads") - 1) * square.clip(0)).sqrt()),
    )


def _changes(rows: pl.DataFrame, settings: Fatigue) -> pl.DataFrame:
    """The change of each ad's CTR, and what is left of it beyond its account's, with their bounds; NULL where it is not judged."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    z = float(special.ndtri(settings.confidence_level))
    freedom = rows["account_ads"].cast(pl.Float64).to_numpy() - 1
    with np.errstate(invalid="ignore"):
        t = pl.Series("t", special.stdtrit(np.where(freedom > 0, freedom, np.nan), settings.confidence_level)).fill_nan(None)

    def variance(when: str) -> pl.Expr:
        # No click at all counts as half of one.
        clicks, shown = pl.max_horizontal(pl.col(f"link_clicks_{when}"), pl.lit(0.5)), pl.col(f"impressions_{when}")
        phi = 1 + pl.col("day_noise") ** 2 * clicks / shown * pl.col(f"squares_{when}") / shown
        return phi / clicks

    def log_rate(when: str) -> pl.Expr:
        return (pl.max_horizontal(pl.col(f"link_clicks_{when}"), pl.lit(0.5)) / pl.col(f"impressions_{when}")).log()

    judged = (pl.col("link_clicks_then") >= settings.min_clicks) & (pl.col("days_now") >= settings.min_days)
    half, account = z * pl.col("se"), pl.col("t") * pl.col("account_se")
    return (
        rows.with_columns(
            t,
            judged=judged.fill_null(value=False),
            log_change=pl.when(judged).then(log_rate("now") - log_rate("then")),
            se=(variance("then") + variance("now")).sqrt(),
            **{f"ctr_{when}": pl.col(f"link_clicks_{when}") / pl.col(f"impressions_{when}") for when in ("then", "now")},
        )
        .with_columns(
            low=pl.col("log_change") - half,
            high=pl.col("log_change") + half,
            beyond_account=pl.col("log_change") - pl.col("account_log_change"),
            cost_ratio=pl.when("judged", pl.col("ctr_now") > 0).then(pl.col("ctr_then") / pl.col("ctr_now")),
        )
        .with_columns(
            beyond_low=pl.col("beyond_account") - (half**2 + account**2).sqrt(),
            beyond_high=pl.col("beyond_account") + (half**2 + account**2).sqrt(),
        )
    )


_REMEDIES = {
    "fatigued": "Replace the creative by a new one; until then lower the ad's budget.",
    "limited": "Prepare a new creative, with another hook or picture; lower the ad's budget if none is ready within a week.",
    "reach": "Compare the frequency in the platform's own report; if people saw the ad more than two or three times in the week, refresh the creative.",
    "seldom": "Look at offer, landing page and audience first: people have not seen this ad often enough to tire of it.",
    "account": "Look at what the ads of the account share (season, offer, price, tracking) before you change this one.",
    "unproven": "Have a new creative ready, and wait: with more clicks the ad's fall can be told from the account's own movement.",
    "change": "Leave the ad as it is until it has a week of its own after the change.",
}


def _decide(rows: pl.DataFrame, settings: Fatigue) -> pl.DataFrame:
    """State, cause, what was ruled out, reason and remedy."""
    limit = float(np.log1p(-settings.min_decline))
    fallen = ((pl.col("log_change") <= limit) & (pl.col("high") < 0)).fill_null(value=False)
    beyond = ((pl.col("beyond_account") <= limit) & (pl.col("beyond_high") < 0)).fill_null(value=False)
    now, then = pl.col("frequency_now"), pl.col("frequency_then")
    often = ((now >= settings.min_frequency) & (now > then)).fill_null(value=False)
    costs = pl.when(pl.col("ctr_now") > 0).then(pl.col("cost_ratio") >= settings.fatigued_cost).otherwise(True)
    found = rows.with_columns(fallen=fallen).with_columns(
        cause=pl.when("fallen").then(
            pl.when(pl.col("changed").is_not_null()).then("changed").when(~beyond).then(pl.lit("account"))
        )
    )
    whole = pl.col("fallen") & pl.col("cause").is_null() & often
    state = pl.when(whole & costs).then(pl.lit("fatigued")).when(whole).then(pl.lit("limited"))
    checked = pl.col("checked").fill_null([])
    out = [
        pl.when("fallen", pl.col("changed").ne_missing(name), checked.list.contains(name)).then(pl.lit(name))
        for name in CAUSES[:3]
    ]
    by_account = pl.when(pl.col("fallen") & beyond).then(pl.lit("account"))
    why = (
        pl.when(pl.col("cause") == "account")
        .then(
            pl.when((pl.col("beyond_account") <= limit).fill_null(value=False))
            .then(pl.lit("unproven"))
            .otherwise(pl.lit("account"))
        )
        .when(pl.col("cause").is_not_null())
        .then(pl.lit("change"))
        .when(now.is_null() | then.is_null())
        .then(pl.lit("reach"))
        .otherwise(pl.lit("seldom"))
    )
    decided = found.with_columns(
        state=state.when("fallen").then(pl.lit("watch")).otherwise(pl.lit("none")),
        ruled_out=pl.concat_list(*out, by_account).list.drop_nulls().list.sort(),
    ).with_columns(why=pl.when(pl.col("state") == "watch").then(why).when(pl.col("state") != "none").then("state"))
    return decided.with_columns(
        remedy=pl.col("why").replace_strict(_REMEDIES, return_dtype=pl.String, default=None),
        reason=pl.concat_str(_fell(settings), _explained(settings), separator=" ", ignore_nulls=True),
    )


def _percent(log_ratio: pl.Expr) -> pl.Expr:
    number = (100 * (log_ratio.exp() - 1)).round(1)
    return pl.format("{}{} %", pl.when(number > 0).then(pl.lit("+")).otherwise(pl.lit("")), number)


def _fell(settings: Fatigue) -> pl.Expr:
    """How the CTR moved, or why that cannot be said."""
    week = settings.window_days
    moved = pl.format(
        "The link CTR of the last {} days is {} (between {} and {}) against the {} days from {}, its first full ones that are known.",
        *(pl.lit(week), *(_percent(pl.col(name)) for name in ("log_change", "low", "high")), pl.lit(week), "baseline_from"),
    )
    return (
        pl.when(pl.col("baseline_until").is_null())
        .then(
            pl.lit(
                f"Not judged: the ad has no {week} full days after {settings.min_impressions:,} impressions yet that lie before the last {week}."
            )
        )
        .when(pl.col("link_clicks_then") < settings.min_clicks)
        .then(
            pl.format(
                "Not judged: {} link clicks in the ad's first full days, {} are needed.",
                "link_clicks_then",
                pl.lit(settings.min_clicks),
            )
        )
        .when(~pl.col("judged"))
        .then(
            pl.format(
                "Not judged: {} days with delivery in the last {}, {} are needed.",
                "days_now",
                pl.lit(week),
                pl.lit(settings.min_days),
            )
        )
        .otherwise(moved)
    )


def _explained(settings: Fatigue) -> pl.Expr:
    """What is missing, or what was ruled out."""
    moved, around = pl.col("account_log_change"), pl.col("t") * pl.col("account_se")
    others = pl.format("the account's other ads moved by {} in the same time", _percent(moved))
    seen = pl.format("people saw it {} times in the week", pl.col("frequency_now").round(2))
    changes = {
        "budget": "its budget was changed on",
        "audience": "its audience or ad set was changed on",
        "learning": "the platform learns anew, after another creative or goal or a pause, since",
    }
    changed = pl.col("changed").replace_strict(changes, return_dtype=pl.String, default=None)
    unknown = pl.lit([*CAUSES[:3]]).list.set_difference(pl.col("ruled_out"))
    blind = (
        pl.when(unknown.list.len() > 0)
        .then(pl.format(" Not known is whether these were changed: {}.", unknown.list.sort().list.join(", ")))
        .otherwise(pl.lit(""))
    )
    return (
        pl.when(pl.col("state") == "none")
        .then(pl.lit(None, pl.String))
        .when(pl.col("why") == "change")
        .then(pl.format("But {} {}, and the ad has no full week to compare with since then.", changed, "changed_on"))
        .when(pl.col("why") == "account", pl.col("account_log_change").is_null())
        .then(pl.lit("But the account has no other ads that would tell whether all fell."))
        .when(pl.col("why") == "account")
        .then(
            pl.format("But {}; what is left of the fall is less than {} %.", others, pl.lit(f"{100 * settings.min_decline:g}"))
        )
        .when(pl.col("why") == "unproven")
        .then(
            pl.format(
                "But beyond the account's own movement ({}, between {} and {}) a fall is not proven.",
                *(_percent(change) for change in (pl.col("account_log_change"), moved - around, moved + around)),
            )
        )
        .when(pl.col("why") == "reach")
        .then(pl.lit("But reach of one of the two weeks is not known, so that nobody can say how often people saw it."))
        .when(pl.col("why") == "seldom")
        .then(
            pl.format(
                "But {} ({} times then), and tiring takes at least {} and more than then.",
                seen,
                pl.col("frequency_then").round(2),
                pl.lit(settings.min_frequency),
            )
        )
        .otherwise(
            pl.format(
                "{} ({} times then), {}, and no change of the ad is known. A click costs {} times what it did, at equal prices of impressions.{}",
                pl.concat_str(pl.lit("P"), seen.str.slice(1)),
                pl.col("frequency_then").round(2),
                others,
                pl.col("cost_ratio").round(1).cast(pl.String).fill_null("many"),
                blind,
            )
        )
    )
