"""How the traffic of every experiment is shared between its arms: `budget_allocation`."""

from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, next_in_chain
from learning_assets.assets.promotions import DECIDE_JOB
from learning_assets.assets.promotions import in_force as promotions_in_force
from learning_assets.assets.report import Number, markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import bandit, targets
from learning_assets.partitions import DAILY
from learning_assets.platforms.meta.money import minor_unit_micros
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.bandits import ASSET
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

if TYPE_CHECKING:
    import altair as alt

_AD = ["account_id", "ad_id"]
_EXPERIMENT = ["account_id", "experiment_id"]
_SHOWN = 12
"""Experiments in the table and in the plot."""


@dg.asset(
    partitions_def=DAILY,
    deps=["ad_catalog", "actuals", "predictions", "promotions"],
    kinds={"polars", "postgres"},
    code_version=bandit.VERSION,
)
@bounded_retries
def budget_allocation(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What is known of every arm of an experiment, how much of the traffic it should get, and what that is in money.

    Top-two Thompson sampling until the experiment is decided, discounted Thompson sampling afterwards, on counts that lose 1 % a day, with the
    ensemble as the prior. Shares are shown; budgets are moved only in accounts that are armed for it.
    """
    day = next_in_chain(context, store, source, ASSET)
    with store.bandits.refreshing():
        before = store.bandits.before(day.date)
        arms = known_arms(store, settings, day, before)
        facts = achieved(store, settings, day, arms, before)
        counted = bandit.counts(arms, before, facts, day.date, settings.bandit)
        state = bandit.assess(counted, expected(store, settings, day), promotions_in_force(store, day.date), settings.bandit)
        in_force = state.filter(pl.col("live"), metric=settings.bandit.reward)
        rows, asked = state.with_columns(as_of=pl.lit(day.date)), wishes(store, settings, day, in_force)
        running = context.job_name == DECIDE_JOB
        written = store.bandits.replace(day.date, rows, asked, now=store.now, running=running, onward=day.replaying)
    return report(
        written,
        store.tables.schema("thompson_arms"),
        figures(state, in_force, settings) | {"budgets_asked_for": asked.height},
        says=in_words(in_force, settings),
        table=markdown_table(largest(in_force), day.simulated, f"Shares by {settings.bandit.reward.upper()} as of {day.date}."),
        plot=None if day.quiet or in_force.is_empty() else picture_of(in_force, day),
    )


def known_arms(store: Store, settings: Settings, day: Day, before: pl.DataFrame) -> pl.DataFrame:
    """The arms of the day (ARM columns, `owner` and `bandit.PLACE`): those of its catalog, those that were registered on it, and those that were live
    within `keep_days`."""
    found = store.arms(day.date).with_columns(live=pl.lit(value=True), last_live=pl.lit(day.date))
    unit = minor_unit_micros(found["currency"]).rename({"minor_unit_micros": "unit_micros"})
    columns = [*bandit.ARM, "owner", *bandit.PLACE]
    today = found.join(unit, on="currency", how="left").select(columns)
    registered = store.bandits.registered(day.date).select(columns).unique(bandit.ARM)
    today = pl.concat([today, registered.join(today, on=_AD, how="anti")])
    gone = before.select(columns).unique(bandit.ARM).join(today, on=bandit.ARM, how="anti")
    kept = gone.filter(pl.col("last_live") >= day.date - timedelta(days=settings.bandit.keep_days))
    return pl.concat([today, kept.with_columns(live=pl.lit(value=False))])


def achieved(store: Store, settings: Settings, day: Day, arms: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """What the arms achieved on each day that is not settled yet (schema `bandit.DAILY`).

    Of an account whose day is not complete yet the hours that have come count instead, which know impressions and clicks only.
    """
    settled = before.select("settled_until").min().item() or day.date - timedelta(days=settings.bandit.history_days)
    ads = arms.select(*bandit.ARM, "starts_on", "last_live")
    counted = pl.col("date").is_between("starts_on", "last_live").fill_null(pl.col("date") <= pl.col("last_live"))
    looked_up = pl.when(pl.col("restated").fill_null(value=False)).then(max(day.date, store.now.date())).otherwise(day.date)
    facts = (
        store.facts(settled + timedelta(days=1), day.date)
        .join(ads.lazy(), on=_AD)
        .filter(counted)
        .with_columns(age_days=(looked_up - pl.col("date")).dt.total_days())
        .collect()
    )
    lags = store.tables.read("conversion_lags", PIPELINE, until=day.date, latest=True)
    whole = bandit.rewards(targets.exposed(facts, lags, settings.growth.mature_days), settings.bandit)
    complete = facts.filter(date=day.date).select("account_id").unique()
    hours = (
        store.lake.scan("actuals_hourly", day.date, day.date)
        .join(complete.lazy(), on="account_id", how="anti")
        .join(ads.lazy(), on=_AD)
        .filter(counted)
        .group_by(*bandit.ARM, "date", metric=pl.lit("ctr"))
        .agg(events=pl.col("link_clicks").sum().cast(pl.Float64), exposure=pl.col("impressions").sum().cast(pl.Float64))
        .collect()
    )
    return pl.concat([whole, hours.select(bandit.DAILY.names())])


def expected(store: Store, settings: Settings, day: Day) -> pl.DataFrame:
    """What the ensemble expects of ads, by its newest predictions (schema `bandit.PRIORS`)."""
    newest = (
        store.lake.scan("predictions", day.date - timedelta(days=day.step_days), day.date)
        .filter(model="ensemble")
        .sort("as_of")
        .unique([*_AD, "metric"], keep="last")
        .collect()
    )
    return bandit.priors(newest, settings.models.ensemble_level, settings.bandit)


def wishes(store: Store, settings: Settings, day: Day, in_force: pl.DataFrame) -> pl.DataFrame:
    """The budgets that are asked for (schema `bandit.WISHES`): in armed accounts, by the newest day alone, never in a replay, and not of experiments
    whose winner is on its way to a larger share."""
    today = store.now.date()
    current = not day.replaying and day.date >= today - timedelta(days=1)
    rising = store.promotions.decisions(day.date).filter(pl.col("move").is_in(["step", "hold"]))
    mine = in_force.filter(pl.col("account_id").is_in(store.ledger.armed_for_bandit() if current else []))
    return bandit.wishes(mine, rising.select(_EXPERIMENT), today, settings.bandit)


def gain(in_force: pl.DataFrame) -> pl.DataFrame:
    """By experiment what the shares are expected to give over an equal split, as a fraction; NULL where nothing is known."""
    by_share, equal = (pl.col("rate") * pl.col("share")).sum(), pl.col("rate").mean()
    known = pl.col("rate").is_not_null().all()
    return in_force.group_by(_EXPERIMENT).agg(
        gain=pl.when(known, equal > 0).then(by_share / equal - 1), exposure=pl.col("exposure").sum()
    )


def figures(state: pl.DataFrame, in_force: pl.DataFrame, settings: Settings) -> dict[str, Number]:
    """What the UI plots from day to day."""
    rules = dict(in_force.unique(_EXPERIMENT)["rule"].value_counts().iter_rows())
    gains = gain(in_force).drop_nulls()
    weight = float(gains["exposure"].sum())
    return {
        "experiments": in_force.select(_EXPERIMENT).n_unique(),
        "arms": in_force.height,
        "arms_gone": state.filter(~pl.col("live")).select(bandit.ARM).n_unique(),
        **{f"experiments_{rule}": rules.get(rule, 0) for rule in ("top_two", "thompson", "equal")},
        "floor": settings.bandit.floor,
        "smallest_share": in_force["share"].min(),  # pyright: ignore[reportReturnType]
        "largest_share": in_force["share"].max(),  # pyright: ignore[reportReturnType]
        "gain_over_equal_split": float((gains["gain"] * gains["exposure"]).sum()) / weight if weight else None,
        "experiments_with_budgets": in_force.filter(pl.col("budget_note").is_null()).select(_EXPERIMENT).n_unique(),
        "arms_whose_budget_would_move": in_force.filter(bandit.moves()).height,
    }


def in_words(in_force: pl.DataFrame, settings: Settings) -> str:
    """One sentence for a media buyer."""
    found = figures(in_force, in_force, settings)
    rate = found["gain_over_equal_split"]
    told = (
        "what that gives over an equal split is not known yet"
        if rate is None
        else f"by what is known now that gives {rate:+.1%} over an equal split"
    )
    return (
        f"{found['experiments']:,} experiments with {found['arms']:,} arms share their traffic by {settings.bandit.reward.upper()}; {told}. No arm "
        f"gets less than {settings.bandit.floor:.0%} where that many fit. Budgets are moved only in accounts that are armed with --bandit."
    )


def largest(in_force: pl.DataFrame) -> pl.DataFrame:
    """The arms of the experiments with most exposure, money in units of the currency."""
    sizes = in_force.group_by(_EXPERIMENT).agg(size=pl.col("exposure").sum())
    top = sizes.sort("size", *_EXPERIMENT, descending=[True, False, False]).head(_SHOWN)
    by_size = in_force.join(top, on=_EXPERIMENT).sort("size", *bandit.ARM, descending=[True, False, False, False])
    return by_size.select(
        account="account_id",
        experiment="experiment_id",
        ad="ad_id",
        rate="rate",
        low="rate_low",
        high="rate_high",
        best=pl.col("p_best").round(4),
        share="share",
        equal_split=1 / pl.len().over(_EXPERIMENT),
        rule="rule",
        budget=pl.col("budget_micros") / 1e6,
        target=pl.col("target_micros") / 1e6,
        next_step=pl.col("wanted_micros") / 1e6,
        currency="currency",
        note="budget_note",
    )


def picture_of(in_force: pl.DataFrame, day: Day) -> "alt.TopLevelMixin":
    """Shares of the largest experiments: a bar of each, parted between its arms, by how likely each is the best."""
    import altair as alt

    shown = largest(in_force).select("ad", "share", "best", experiment=pl.format("{} ({})", "experiment", "account"))
    order = shown["experiment"].unique(maintain_order=True).to_list()
    return (
        alt.Chart(shown)
        .mark_bar(stroke="white")
        .encode(
            x=alt.X(
                "share:Q", title="share of the experiment's traffic", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
            ),
            y=alt.Y("experiment:N", title=None, sort=order, axis=alt.Axis(labelLimit=320)),
            color=alt.Color("best:Q", title="probability to be best", scale=alt.Scale(domain=[0, 1])),
            order=alt.Order("share:Q", sort="descending"),
            detail="ad:N",
        )
        .properties(width=480, title=f"Shares as of {day.date}" + (" (simulated)" if day.simulated else ""))
    )
