"""What works: `patterns`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from learning_assets.assets.attributes import ATTRIBUTES, bins_of, measured, with_attributes
from learning_assets.assets.day import Day, next_in_chain
from learning_assets.assets.report import markdown_table, percent, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.assets.words import choice, counted, in_a_sentence, place
from learning_assets.learning import bins, experiments, lift
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Patterns, Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

if TYPE_CHECKING:
    import altair as alt

_ACCOUNTS_AT_ONCE = 25


@dg.asset(partitions_def=DAILY, deps=["actuals", "creative_dna"], kinds={"polars", "postgres"}, code_version=lift.VERSION)
@bounded_retries
def patterns(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Which creative choices lift CTR, CVR and ROAS, as of the day, by account, by niche and over all consenting accounts.

    A lift is against the other ads of the same account and week (of the same experiment where arms were random), with errors clustered by
    ad or account, and false discoveries controlled over everything that was tested. Two attributes together, and hours and weekdays, are
    families of their own. *active* patterns have proven themselves; *testing* ones have not; *deprecated* ones did once.
    """
    day = next_in_chain(context, store, source, "patterns")
    window, times = windows(store, day, settings)
    before = store.newest_day("patterns", before=day.date)
    previous = None if before is None else store.tables.read("learning_patterns", PIPELINE, as_of=before)
    found = pl.concat(mined(store, window, times, settings.patterns))
    state = lift.advance(previous, found, day.date, settings.patterns)
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    rows = state.with_columns(as_of=pl.lit(day.date)).join(owners, on="account_id", how="left")
    written = store.replace_day("learning_patterns", day.date, rows, asset="patterns", onward=day.replaying)
    best = strongest(state, 12)
    return report(
        written,
        rows.schema,
        figures(state, window),
        table=markdown_table(
            in_words(best), day.simulated, f"The surest patterns of the {state.height:,} that were looked at."
        ),
        plot=None if day.quiet or best.is_empty() else forest(best, day),
    )


def windows(store: Store, day: Day, settings: Settings) -> tuple[pl.DataFrame, pl.LazyFrame]:
    """The window's sums by ad and week with the attributes of the ads, and by ad, week and time; bins are learned on the way and kept."""
    days = day.pick(settings.patterns.window_days, settings.patterns.archive_window_days)
    sums = experiments.sound(store.sums(day.date, days), settings.checks.sample_ratio_p)
    creatives = measured(store, sums)
    pools, times = store.pool_of_accounts(), store.times(day.date, days)
    times = times.join(pools.lazy().select("account_id", "pool"), on="account_id", how="left")
    edges = learn_bins(store, day, creatives, times, settings.patterns)
    rows = edges.join(pools.select("pool", "owner").unique(), on="pool", how="left").with_columns(as_of=pl.lit(day.date))
    store.replace_day("attribute_bins", day.date, rows, onward=day.replaying)
    return with_attributes(sums, creatives, edges), bins.named_hours(times, edges)


def learn_bins(store: Store, day: Day, creatives: pl.DataFrame, times: pl.LazyFrame, settings: Patterns) -> pl.DataFrame:
    """The edges in force on the day, from those of the day before and what the families of accounts have shown since."""
    before = store.newest_day("attribute_bins", before=day.date)
    kept = bins.BINS.to_frame() if before is None else bins_of(store, before)
    delivery = (
        times.filter(pl.col("attribute") == "posting_hour")
        .group_by("pool", "account_id", hour=pl.col("value").cast(pl.Int64))
        .agg(pl.col("impressions").sum())
        .collect()
    )
    numbers, hours = bins.learn(creatives, kept, day.date, settings), bins.learn_hours(delivery, kept, day.date, settings)
    return pl.concat([numbers, hours]).sort("pool", "attribute")


def mined(store: Store, window: pl.DataFrame, times: pl.LazyFrame, settings: Patterns) -> Iterator[pl.DataFrame]:
    """Everything that is found on the day: of each account, of each niche, and of all consenting accounts together."""

    def of(ads: pl.DataFrame, shown: lift.Compared, scope: lift.Scope, niche: str | None = None) -> Iterator[pl.DataFrame]:
        yield lift.mine(ads, ATTRIBUTES, settings, scope, niche)
        yield lift.mine_pairs(ads, settings.pairs, settings, scope, niche)
        yield lift.mine_times(shown, settings, scope, niche)

    accounts, compared = window["account_id"].unique().sort(), list[lift.Compared]()
    # Accounts have nothing to do with each other: memory is that of a batch, however many there are.
    for start in range(0, max(accounts.len(), 1), _ACCOUNTS_AT_ONCE):
        batch = pl.col("account_id").is_in(accounts[start : start + _ACCOUNTS_AT_ONCE].implode())
        compared.append(lift.compare_times(times.filter(batch)))
        yield from of(window.filter(batch), compared[-1], "account")
    together = lift.Compared.together(compared)
    for scope, pool in store.shared_scopes():
        inside = pl.col("account_id").is_in(pool.account_ids)
        yield from of(window.filter(inside), together.of(inside), scope, pool.name if scope == "niche" else None)


def figures(state: pl.DataFrame, window: pl.DataFrame) -> dict[str, int]:
    """What the UI plots from day to day."""
    status = dict(state["status"].value_counts().iter_rows())
    active = state.filter(pl.col("status") == "active")
    return {
        "patterns": state.height,
        **{f"patterns_{name}": status.get(name, 0) for name in ("testing", "active", "deprecated")},
        "patterns_active_over_all_accounts": active.filter(pl.col("scope") == "all").height,
        "patterns_active_pairs": active.filter(pl.col("attribute").str.contains(lift.PAIR, literal=True)).height,
        "ads_in_window": window.select("account_id", "ad_id").n_unique(),
        "sample_ratio_mismatches": window["mismatched"].drop_nulls().n_unique(),
    }


def strongest(state: pl.DataFrame, count: int) -> pl.DataFrame:
    """The patterns to look at first: active before testing, then those with the smallest q-value."""
    rank = pl.col("status").replace_strict({"active": 0, "testing": 1, "deprecated": 2}, return_dtype=pl.Int8)
    return state.filter(pl.col("q_value").is_not_null()).sort(rank, "q_value", "attribute", "value", "metric").head(count)


def in_words(found: pl.DataFrame) -> pl.DataFrame:
    """Patterns as a media buyer reads them."""
    return pl.DataFrame(
        [
            {
                "what was found": in_a_sentence(row),
                "after shrinkage": percent(row["shrunk_log_lift"]),
                "q": row["q_value"],
                "against": counted(row["ads_without"], "ad"),
                "where": place(row),
                "status": row["status"],
            }
            for row in found.iter_rows(named=True)
        ]
    )


def forest(found: pl.DataFrame, day: Day) -> "alt.TopLevelMixin":
    """Lifts with their intervals, one line per pattern."""
    import altair as alt

    said = [
        f"{choice(row['attribute'], row['value'])}, {row['metric'].upper()} ({place(row)}, {row['evidence']})"
        for row in found.iter_rows(named=True)
    ]
    shown = found.select(
        label=pl.Series(said),
        status="status",
        lift=100 * (pl.col("log_lift").exp() - 1),
        low=100 * (pl.col("low").exp() - 1),
        high=100 * (pl.col("high").exp() - 1),
    )
    order = shown["label"].to_list()
    base = alt.Chart(shown).encode(y=alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=420)))
    lines = base.mark_rule().encode(x=alt.X("low:Q", title="lift, %, with 95 % interval"), x2="high:Q", color="status:N")
    points = base.mark_point(filled=True, size=60).encode(x="lift:Q", color="status:N")
    zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
    title = f"Patterns as of {day.date}" + (" (simulated)" if day.simulated else "")
    return alt.layer(zero, lines, points).properties(width=420, title=title)
