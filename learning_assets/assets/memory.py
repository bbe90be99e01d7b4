"""Which creatives are proven winners: `winner_memory`."""

from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, next_in_chain
from learning_assets.assets.report import Number, markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import memory
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Memory, Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

if TYPE_CHECKING:
    import altair as alt


@dg.asset(partitions_def=DAILY, deps=["actuals", "creative_dna"], kinds={"polars", "postgres"}, code_version=memory.VERSION)
@bounded_retries
def winner_memory(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """The proven winners, each stored once, to be searched by text: `learning-assets search TEXT`.

    A creative enters when the lower end of the 95 % interval of its CTR (of its CVR or ROAS) reaches a threshold, and leaves when it falls
    below a lower one; it is looked at when its impressions have doubled or a purchase signal named it, not every day. Who has left is marked and
    kept.
    """
    day = next_in_chain(context, store, source, "winner_memory")
    sums, recent = store.creative_totals(day.date)
    creatives, told = store.creatives(["account_id", "creative_id", "owner", "fingerprint"]), store.signalled(day.date)
    totals, noise = memory.entries(sums, creatives), memory.noise(recent, settings.memory)
    named = memory.signalled(told, creatives)
    looks = memory.look(store.memory.before(day.date), totals, noise, day.date, settings.memory, named)
    written = store.memory.replace(day.date, looks, now=store.now, onward=day.replaying)
    members, search = store.memory.members(PIPELINE), store.memory.how()
    best = strongest(members, settings.memory, 12)
    numbers = {
        **figures(looks, members),
        **of_signals(told, named, looks),
        "hit_rate": store.memory.hit_rate(day.date),
        "search_is_exact": search.exact,
    }
    return report(
        written,
        looks.schema,
        numbers,
        says=" ".join(filter(None, (f"{members.height:,} winners are remembered. {search.says}.", search.remedy))),
        table=markdown_table(in_words(best), day.simulated, f"The strongest of {members.height:,} winners."),
        tables={"by_account": markdown_table(by_account(store, members), day.simulated, "Winners by account and niche.")},
        plot=None if day.quiet or best.is_empty() else intervals(best, day, settings.memory),
    )


def figures(looks: pl.DataFrame, members: pl.DataFrame) -> dict[str, Number]:
    """What the UI plots from day to day."""
    outcomes = dict(looks["outcome"].value_counts().iter_rows())
    return {
        "members": members.height,
        **{outcome: outcomes.get(outcome, 0) for outcome in ("entered", "returned", "validated", "left")},
        "looked_at": looks.height,
        "members_without_text": members["embedding"].null_count(),
    }


def of_signals(told: pl.DataFrame, named: pl.DataFrame, looks: pl.DataFrame) -> dict[str, Number]:
    """Purchase signals that named a creative, the creatives that they named, and what came of it."""
    looked = looks.join(named, on=memory.KEY, how="semi")
    return {
        "signals": int(told["signals"].sum()),
        "creatives_with_signals": named.height,
        "looked_at_for_signals": looks.filter(pl.col("cause") == "signal").height,
        "too_new_for_signals": named.height - looked.height,
        "signals_without_creative": int(told.filter(pl.col("creative_id").is_null())["signals"].sum()),
    }


def strongest(members: pl.DataFrame, rules: Memory, count: int) -> pl.DataFrame:
    """The members to look at first: those whose lower end is furthest above what it takes to enter."""
    above = [
        pl.when(pl.col("metric") == metric).then(pl.col(f"{metric}_low") / getattr(rules, f"enter_{metric}"))
        for metric in memory.METRICS
    ]
    return members.sort(pl.coalesce(*above), "account_id", "creative_id", descending=[True, False, False]).head(count)


def by_account(store: Store, members: pl.DataFrame) -> pl.DataFrame:
    """How many members each account has, most first."""
    niches = store.accounts(PIPELINE).select("account_id", pl.col("niche").fill_null("unknown"))
    counted = members.group_by("account_id").agg(
        winners=pl.len(), newest=pl.col("entered_on").max(), impressions=pl.col("impressions").sum()
    )
    return (
        niches.join(counted, on="account_id")
        .sort("winners", "account_id", descending=[True, False])
        .rename({"account_id": "account"})
        .head(20)
    )


def in_words(members: pl.DataFrame) -> pl.DataFrame:
    """Members as a media buyer reads them."""
    return pl.DataFrame(
        [
            {
                "creative": row["creative_id"],
                "account": row["account_id"],
                "proven by": row["metric"].upper(),
                **{name: rate(row, row["metric"], end) for name, end in (("rate", ""), ("95 % from", "_low"), ("to", "_high"))},
                "CTR": rate(row, "ctr"),
                "impressions": row["impressions"],
                "winner since": row["entered_on"],
                "last looked at": row["looked_on"],
            }
            for row in members.iter_rows(named=True)
        ],
        schema={
            **dict.fromkeys(("creative", "account", "proven by", "rate", "95 % from", "to", "CTR"), pl.String),
            "impressions": pl.Int64,
            "winner since": pl.Date,
            "last looked at": pl.Date,
        },
    )


def rate(row: dict[str, float | None], metric: str, end: str = "") -> str:
    """A rate of a row, or an end of its interval: `3.12 %`, a ROAS as `3.12`; `unknown` where it is not known."""
    value = row[f"{metric}{end}"]
    if value is None:
        return "unknown"
    return f"{value:.2f}" if metric == "roas" else f"{100 * value:.2f} %"


def intervals(members: pl.DataFrame, day: Day, rules: Memory) -> "alt.TopLevelMixin":
    """CTR of members with their intervals, against what it takes to enter and what a member by its CTR leaves at."""
    import altair as alt

    shown = members.sort("ctr", descending=True).select(
        label=pl.format("{} ({})", "creative_id", "account_id"),
        proven_by=pl.col("metric").str.to_uppercase(),
        ctr=100 * pl.col("ctr"),
        low=100 * pl.col("ctr_low"),
        high=100 * pl.col("ctr_high"),
    )
    base = alt.Chart(shown).encode(
        y=alt.Y("label:N", sort=shown["label"].to_list(), title=None, axis=alt.Axis(labelLimit=320)),
        color=alt.Color("proven_by:N", title="proven by"),
    )
    lines = base.mark_rule().encode(
        x=alt.X("low:Q", title="CTR, %, with 95 % interval", scale=alt.Scale(zero=False)), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=60).encode(x="ctr:Q")
    bounds = pl.DataFrame({"x": [100 * rules.enter_ctr, 100 * rules.leave_ctr], "bound": ["enters at", "leaves at"]})
    marks = alt.Chart(bounds).mark_rule().encode(x="x:Q", strokeDash=alt.StrokeDash("bound:N", title="lower end"))
    title = f"Proven winners as of {day.date}" + (" (simulated)" if day.simulated else "")
    return alt.layer(marks, lines, points).properties(width=420, title=title)
