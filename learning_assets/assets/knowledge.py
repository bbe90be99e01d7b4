"""What works: `patterns`."""

from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, next_in_chain
from learning_assets.assets.report import markdown_table, percent, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import dna, experiments, lift
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, SHARED

if TYPE_CHECKING:
    import altair as alt

ATTRIBUTES = (*dna.ATTRIBUTES, "audience")


@dg.asset(partitions_def=DAILY, deps=["actuals", "creative_dna"], kinds={"polars", "postgres"}, code_version=lift.VERSION)
@bounded_retries
def patterns(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Which creative choices lift CTR, CVR and ROAS, as of the day, by account and over all consenting accounts.

    A lift is against the other ads of the same account and week (of the same experiment where arms were random), with errors clustered by
    ad or account, and false discoveries controlled over everything that was tested. *active* patterns have proven themselves; *testing* ones
    have not; *deprecated* ones did once.
    """
    day = next_in_chain(context, store, source, "patterns")
    sums = store.sums(day.date, day.pick(settings.patterns.window_days, settings.patterns.archive_window_days))
    window = with_attributes(
        sound_experiments(sums, settings.checks.sample_ratio_p), store.creatives(["account_id", "creative_id", *dna.ATTRIBUTES])
    )
    found = [lift.mine(window, ATTRIBUTES, settings.patterns, "account")]
    for pool in store.pools():
        if pool.name == SHARED:
            shared = window.filter(pl.col("account_id").is_in(pool.account_ids))
            found.append(lift.mine(shared, ATTRIBUTES, settings.patterns, "all"))
    before = store.newest_day("patterns", before=day.date)
    previous = None if before is None else store.tables.read("learning_patterns", PIPELINE, as_of=before)
    state = lift.advance(previous, pl.concat(found), day.date, settings.patterns)
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    rows = state.with_columns(as_of=pl.lit(day.date)).join(owners, on="account_id", how="left")
    written = store.replace_day("learning_patterns", day.date, rows, asset="patterns", onward=day.replaying)
    status = dict(state["status"].value_counts().iter_rows())
    numbers = {
        "patterns": state.height,
        **{f"patterns_{name}": status.get(name, 0) for name in ("testing", "active", "deprecated")},
        "patterns_active_over_all_accounts": state.filter(pl.col("status") == "active", pl.col("scope") == "all").height,
        "ads_in_window": window.select("account_id", "ad_id").n_unique(),
        "sample_ratio_mismatches": window["mismatched"].drop_nulls().n_unique(),
    }
    best = strongest(state, 12)
    return report(
        written,
        rows.schema,
        numbers,
        table=markdown_table(
            in_words(best), day.simulated, f"The surest patterns of the {state.height:,} that were looked at."
        ),
        plot=None if day.quiet or best.is_empty() else forest(best, day),
    )


def sound_experiments(sums: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """The sums with `experiment_id` only where arms were assigned at random and got the traffic that was planned.

    An experiment whose arms got other traffic stands in `mismatched`; its ads count as observational.
    """
    arms = sums.filter(pl.col("assignment") == "random").group_by("account_id", "experiment_id", "ad_id")
    checked = experiments.sample_ratio(arms.agg(pl.col("impressions").sum(), pl.col("planned_share").last()), threshold)
    return sums.join(
        checked.select("account_id", "experiment_id", split="status"), on=["account_id", "experiment_id"], how="left"
    ).with_columns(
        experiment_id=pl.when(pl.col("split") != "mismatch").then("experiment_id"),
        mismatched=pl.when(pl.col("split") == "mismatch").then("experiment_id"),
    )


def with_attributes(sums: pl.DataFrame, creatives: pl.DataFrame) -> pl.DataFrame:
    """The sums with the attributes of their creatives; what is not known is NULL."""
    return sums.join(creatives, on=["account_id", "creative_id"], how="left")


def strongest(state: pl.DataFrame, count: int) -> pl.DataFrame:
    """The patterns to look at first: active before testing, then those with the smallest q-value."""
    rank = pl.col("status").replace_strict({"active": 0, "testing": 1, "deprecated": 2}, return_dtype=pl.Int8)
    return state.filter(pl.col("q_value").is_not_null()).sort(rank, "q_value", "attribute", "value", "metric").head(count)


def in_words(found: pl.DataFrame) -> pl.DataFrame:
    """Patterns as a media buyer reads them."""
    return pl.DataFrame(
        [
            {
                "pattern": f"{row['attribute']} = {row['value']}",
                "metric": row["metric"].upper(),
                "lift": percent(row["log_lift"]),
                "95 %": f"{percent(row['low'])} to {percent(row['high'])}",
                "after shrinkage": percent(row["shrunk_log_lift"]),
                "q": row["q_value"],
                "ads with": row["ads_with"],
                "ads without": row["ads_without"],
                "accounts": row["accounts"],
                "evidence": row["evidence"],
                "where": row["account_id"] or "all accounts",
                "status": row["status"],
            }
            for row in found.iter_rows(named=True)
        ]
    )


def forest(found: pl.DataFrame, day: Day) -> "alt.TopLevelMixin":
    """Lifts with their intervals, one line per pattern."""
    import altair as alt

    shown = found.select(
        label=pl.format(
            "{} = {}, {} ({}, {})",
            "attribute",
            "value",
            pl.col("metric").str.to_uppercase(),
            pl.coalesce("account_id", pl.lit("all accounts")),
            "evidence",
        ),
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
