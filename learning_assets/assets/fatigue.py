"""Which ads tire: `ad_fatigue`."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, day_of
from learning_assets.assets.report import Number, markdown_table, percent, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import fatigue
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Fatigue, Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

if TYPE_CHECKING:
    import altair as alt

_ACCOUNTS_AT_ONCE = 25


@dg.asset(partitions_def=DAILY, deps=["ad_catalog", "actuals"], kinds={"polars", "postgres"}, code_version=fatigue.VERSION)
@bounded_retries
def ad_fatigue(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Which ads tire: the link CTR of the newest week against the ad's own first full one, and what else could explain a fall.

    *watch*: a fall is proven, and something is missing or another cause is not ruled out. *limited*: people saw the ad often, nothing else explains
    the fall, and a click costs less than twice what it did. *fatigued*: it costs at least twice as much. A remedy is suggested, and never taken.
    """
    day = day_of(context, source, store.settings)
    found = judged(store, day, settings.fatigue)
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    rows = found.with_columns(as_of=pl.lit(day.date)).join(owners, on="account_id", how="left")
    written = store.replace_day("ad_fatigue", day.date, rows, onward=day.replaying)
    tired = worst(found, 20)
    return report(
        written,
        store.tables.schema("ad_fatigue"),
        figures(found),
        says=in_short(found),
        table=markdown_table(in_words(tired), day.simulated, "The ads that fell most, those that tire first."),
        plot=None if day.quiet or tired.is_empty() else falls(tired.head(12), day),
    )


def judged(store: Store, day: Day, rules: Fatigue) -> pl.DataFrame:
    """The state of every ad that delivered on the day; of an archive none, whose ads have no first weeks."""
    listed = store.lake.scan("ad_catalog", day.date, day.date).select("account_id", "ad_id", "starts_on")
    live = store.facts(day.date, day.date).select(fatigue.KEY).join(listed, on=fatigue.KEY, how="left").collect()
    accounts = live["account_id"].unique().sort()
    found = [fatigue.FATIGUE.to_frame()]
    # Accounts have nothing to do with each other: memory is that of a batch, however many there are.
    for start in range(0, 0 if day.archive else accounts.len(), _ACCOUNTS_AT_ONCE):
        batch = pl.col("account_id").is_in(accounts[start : start + _ACCOUNTS_AT_ONCE].implode())
        found.append(of_accounts(store, day.date, live.filter(batch), batch, rules))
    return pl.concat(found)


def of_accounts(store: Store, day: date, live: pl.DataFrame, chosen: pl.Expr, rules: Fatigue) -> pl.DataFrame:
    """The state of the `live` ads of the `chosen` accounts, from the facts since the oldest of these ads began."""
    oldest = day - timedelta(days=rules.history_days - 1)
    first = oldest if live["starts_on"].has_nulls() else max(oldest, min(live["starts_on"]))
    listed = store.lake.scan("ad_catalog", first, day, dated="date").filter(chosen, pl.col("status") != "scheduled")
    edits = fatigue.edits(listed.join(live.lazy(), on=fatigue.KEY, how="semi"), rules)
    reach = store.lake.scan("actuals_reach", first, day).filter(chosen, pl.col("days") == rules.window_days)
    return fatigue.judge(store.facts(first, day).filter(chosen), edits, reach, day, rules)


def figures(found: pl.DataFrame) -> dict[str, Number]:
    """What the UI plots from day to day."""
    states = dict(found["state"].value_counts().iter_rows())
    return {
        "ads": found.height,
        "ads_judged": found["log_change"].count(),
        **{f"ads_{state}": states.get(state, 0) for state in fatigue.STATES},
        "ads_with_reach": found["frequency_now"].count(),
        "falls_explained": found["cause"].count(),
    }


def in_short(found: pl.DataFrame) -> str:
    """The day in a sentence or two."""
    tiring = found.filter(pl.col("state").is_in(["limited", "fatigued"])).height
    says = f"{tiring:,} of {found['log_change'].count():,} ads that can be judged tire."
    if found.height and not found["frequency_now"].count():
        says += " Reach of the week is not known of any ad, so that none is more than watched."
    return says


def worst(found: pl.DataFrame, count: int) -> pl.DataFrame:
    """The ads to look at first: by state, then those that fell most."""
    rank = pl.col("state").replace_strict({state: i for i, state in enumerate(fatigue.STATES)}, return_dtype=pl.Int8)
    seen = found.filter(pl.col("state") != "none")
    return seen.sort(rank, -pl.col("log_change"), "account_id", "ad_id", descending=[True, True, False, False]).head(count)


def in_words(found: pl.DataFrame) -> pl.DataFrame:
    """Ads as a media buyer reads them."""
    rows = [
        {
            "ad": row["ad_id"],
            "account": row["account_id"],
            "state": row["state"],
            "CTR then": f"{100 * row['ctr_then']:.2f} %",
            "now": f"{100 * row['ctr_now']:.2f} %",
            "change": percent(row["log_change"]),
            "rest of account": percent(row["account_log_change"]),
            "seen a week": row["frequency_now"],
            "before": row["frequency_then"],
            "why": row["reason"],
            "suggestion": row["remedy"],
        }
        for row in found.iter_rows(named=True)
    ]
    return pl.DataFrame(rows)


def falls(found: pl.DataFrame, day: Day) -> "alt.TopLevelMixin":
    """How far each ad fell, with its interval, beside the account's other ads."""
    import altair as alt

    def share(name: str) -> pl.Expr:
        return 100 * (pl.col(name).exp() - 1)

    shown = found.select(
        "state",
        label=pl.format("{} ({})", "ad_id", "account_id"),
        change=share("log_change"),
        low=share("low"),
        high=share("high"),
        account=share("account_log_change"),
    )
    axis = alt.Axis(labelLimit=320)
    base = alt.Chart(shown).encode(y=alt.Y("label:N", sort=shown["label"].to_list(), title=None, axis=axis))
    lines = base.mark_rule().encode(
        x=alt.X("low:Q", title="change of the CTR, %, with 99.9 % bounds"), x2="high:Q", color="state:N"
    )
    points = base.mark_point(filled=True, size=60).encode(x="change:Q", color="state:N")
    others = base.mark_tick(thickness=3, color="grey").encode(x="account:Q")
    zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
    title = f"Ads that fell as of {day.date}, and their account's others (grey)" + (" (simulated)" if day.simulated else "")
    return alt.layer(zero, lines, points, others).properties(width=420, title=title)
