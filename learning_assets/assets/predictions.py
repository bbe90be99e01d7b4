"""What is expected of every ad on the next step, by each model and by all together: `predictions`."""

from dataclasses import dataclass
from datetime import timedelta

import dagster as dg
import polars as pl

from learning_assets.assets import PREDICTIONS
from learning_assets.assets.attributes import ATTRIBUTES, bins_of, described, measured
from learning_assets.assets.champions import champion_of
from learning_assets.assets.day import Day, day_of
from learning_assets.assets.models import CREATIVE_COLUMNS
from learning_assets.assets.outcomes import observed
from learning_assets.assets.report import markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import baselines, ensemble, formula, retraining, score
from learning_assets.learning.targets import CTR, TARGETS, Target
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, SHARED, Pool

_AD = ["account_id", "ad_id"]
_CREATIVE = ["account_id", "creative_id"]
_SEEN = ["date", "owner", *_AD, "creative_id", "experiment_id", "audience", "template", "cta", "impressions", "link_clicks"]
_FOUND = [name for name in PREDICTIONS if name not in ("as_of", "date", "made_at", "made")]


@dg.asset(
    partitions_def=DAILY,
    deps=["ad_catalog", "actuals", "creative_dna", "winning_formulas", "retrained_model"],
    kinds={"xgboost", "polars", "parquet"},
    code_version=f"{retraining.VERSION}+vote-{ensemble.VERSION}+score-{score.VERSION}",
)
@bounded_retries
def predictions(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What is expected of every ad on the next step, from facts up to this day: CTR, CVR and ROAS.

    By the champion (`xgboost`), by the ad's own history around its account's mean (`own_history`), by what it is made of (`dna_score`), by all three
    together (`ensemble`, with an interval and what each of them counts) and by their plain mean (`fixed_vote`); `account_mean` stands beside them. An ad
    of which a model can say nothing has no row of it.
    """
    day = day_of(context, source, store.settings)
    known = known_on(store, settings, day)
    found = [expect(known, pool, target) for pool in store.pools() for target in TARGETS.values()]
    made = "live" if store.now.date() <= day.next else "replayed"
    rows = (
        pl.concat([PREDICTIONS.to_frame().select(_FOUND), *found])
        .with_columns(
            as_of=pl.lit(day.date), date=pl.lit(day.next), made_at=pl.lit(store.now).dt.cast_time_unit("us"), made=pl.lit(made)
        )
        .select(PREDICTIONS.names())
        .sort("account_id", "ad_id", "metric", "model")
    )
    written = store.lake.write("predictions", day.date, rows)
    shown = by_model(rows)
    counted = {f"{metric}_by_{model}": ads for metric, model, ads in shown.select("metric", "model", "ads").iter_rows()}
    return report(
        written,
        PREDICTIONS,
        {"ads": known.live.height, "predictions": rows.height, **counted, **weights(rows)},
        table=markdown_table(shown, day.simulated, f"For {day.next}, by model."),
    )


def by_model(rows: pl.DataFrame) -> pl.DataFrame:
    """How many ads each model speaks of, and between what."""
    order = pl.col("metric").replace_strict({name: at for at, name in enumerate(TARGETS)})
    predicted = pl.col("predicted")
    return (
        rows.group_by("metric", "model")
        .agg(ads=pl.len(), median=predicted.median(), lowest=predicted.min(), highest=predicted.max())
        .sort(order, "model")
    )


def weights(rows: pl.DataFrame) -> dict[str, float | None]:
    """What each member counts in the ensemble, on average over ads, by metric."""
    means = rows.filter(model="ensemble").group_by("metric").agg(pl.col("^weight_.*$").mean())
    return {f"{row['metric']}_{name}": row[name] for row in means.to_dicts() for name in row if name != "metric"}


def live_next(catalog: pl.LazyFrame, day: Day) -> pl.LazyFrame:
    """The catalog's ads that are expected to be live on the next step, dated on it."""
    starts = pl.col("starts_on").is_null() | (pl.col("starts_on") <= day.next)
    goes_on = pl.col("ends_on").is_null() | (pl.col("ends_on") >= day.next)
    kept = catalog.filter(pl.col("status").is_in(["active", "scheduled"]) & starts & goes_on)
    return kept.select(
        pl.lit(day.next).alias("date"), "account_id", "ad_id", "creative_id", "audience", "template", "cta"
    ).sort("account_id", "ad_id")


@dataclass(frozen=True, slots=True)
class Known:
    """What all models of a day are told.

    `live`: the ads of the next step; `facts`: `outcomes.observed`; `creatives`: as models read them; `attributes`: of the creatives of both; `stored`: what
    XGBoost and the DNA score said of past days before them; `formulas`: the day's.
    """

    store: Store
    settings: Settings
    day: Day
    live: pl.DataFrame
    facts: pl.DataFrame
    creatives: pl.DataFrame
    attributes: pl.DataFrame
    stored: pl.DataFrame
    formulas: pl.DataFrame


def known_on(store: Store, settings: Settings, day: Day) -> Known:
    """What is known at the end of a day."""
    live = live_next(store.lake.scan("ad_catalog", day.date, day.date), day).collect()
    first = day.date - timedelta(days=day.step_days * settings.models.ensemble_days)
    stored = (
        store.lake.scan("predictions", first, day.date - timedelta(days=1))
        .filter(pl.col("model").is_in(ensemble.MEMBERS[1:]))
        .select("date", *_AD, "metric", "model", "predicted")
        .collect()
    )
    facts = observed(store, settings, day)
    shown = pl.concat([live.select(_CREATIVE), facts.select(_CREATIVE)])
    return Known(
        store=store,
        settings=settings,
        day=day,
        live=live,
        facts=facts,
        creatives=store.creatives(CREATIVE_COLUMNS),
        attributes=described(measured(store, shown), bins_of(store, day.date)),
        stored=stored,
        formulas=store.tables.read("winning_formulas", PIPELINE, until=day.date, latest=True),
    )


def expect(known: Known, pool: Pool, target: Target) -> pl.DataFrame:
    """What each model of a target expects of a pool's live ads: the columns of PREDICTIONS but for when it was said."""
    of_pool, rules = pl.col("account_id").is_in(pool.account_ids), known.settings.models
    ads, sides = known.live.filter(of_pool), [target.events, target.exposure]
    # Of the facts, which are many, only what is needed is copied.
    seen = known.facts.lazy().filter(of_pool).drop_nulls(sides).select(*dict.fromkeys([*_SEEN, *sides])).collect()
    if ads.is_empty():
        return PREDICTIONS.to_frame().select(_FOUND)
    rates = baselines.history(seen, ads, rules.history_decay, target.events, target.exposure)
    champion = champion_of(known.store, pool, target, known.day.date)
    members = ads.with_columns(
        account_mean=rates["account_rate"].clip(upper_bound=target.highest),
        own_history=rates["own_rate"].clip(upper_bound=target.highest),
        xgboost=_trees(known, champion[1], ads, seen) if champion else None,
        dna_score=_dna(known, pool, target, rates, seen),
    ).with_columns(pl.col(*ensemble.MEMBERS, "account_mean").cast(pl.Float64))
    voted = together(known, target, members, seen)
    said = [
        voted.select(
            *_AD,
            predicted=name,
            model=pl.lit(name),
            model_id=pl.lit(champion[0] if champion and name == "xgboost" else None, pl.String),
        )
        for name in ("account_mean", *ensemble.MEMBERS, "fixed_vote")
    ]
    whole = voted.select(
        *_AD,
        predicted="ensemble",
        model=pl.lit("ensemble"),
        low="rate_low",
        high="rate_high",
        weight_own_history="weight_own_history",
        weight_xgboost="weight_xgboost",
        weight_dna_score="weight_dna_score",
        note="vote_note",
    )
    rows = pl.concat([*said, whole], how="diagonal_relaxed").with_columns(metric=pl.lit(target.name))
    return rows.filter(pl.col("predicted").is_not_null()).match_to_schema(
        pl.Schema({name: PREDICTIONS[name] for name in _FOUND}), missing_columns="insert"
    )


def _trees(known: Known, model: retraining.RateModel, ads: pl.DataFrame, seen: pl.DataFrame) -> pl.Series:
    """What the champion expects."""
    texts = known.creatives.join(pl.concat([seen.select(_CREATIVE), ads.select(_CREATIVE)]), on=_CREATIVE, how="semi")
    return pl.Series(model.predict(ads, seen, texts, known.settings.models)).fill_nan(None)


def _dna(known: Known, pool: Pool, target: Target, rates: pl.DataFrame, seen: pl.DataFrame) -> pl.Series:
    """What the ads are expected to have by what they are made of."""
    model = _score_model(known, pool) if target is CTR else _rate_model(known, pool, target, seen)
    made_of = rates.select(*_CREATIVE, "audience", "account_rate").join(
        known.attributes, on=_CREATIVE, how="left", maintain_order="left"
    )
    return score.rates(made_of, model).clip(upper_bound=target.highest)


def _score_model(known: Known, pool: Pool) -> score.Model | None:
    """The model behind the score of creatives, which is of CTR: over all consenting accounts, or of the owner's account."""
    scope = (
        pl.col("scope") == "all"
        if pool.name == SHARED
        else pl.col("account_id").is_in(pool.account_ids) & (pl.col("scope") == "account")
    )
    rows = known.formulas.filter(scope)
    # An owner of several accounts has a score for each; without a common one none of them speaks for all.
    return score.restored(rows)[0] if rows.filter(kind="scope").height == 1 else None


def _rate_model(known: Known, pool: Pool, target: Target, seen: pl.DataFrame) -> score.Model | None:
    """The same model of a rate that has no score, learned from the pool's facts."""
    week = pl.col("date").dt.truncate("1w")
    by = ["owner", *_AD, "creative_id", "audience", "experiment_id"]
    sums = seen.group_by(*by, week=week, maintain_order=True).agg(pl.col(target.exposure, target.events).sum())
    carried = ["creative_id", "audience"]
    units = formula.units(sums.with_columns(fingerprint="creative_id"), carried, target.events, target.exposure)
    made_of = units.join(known.attributes, on=_CREATIVE, how="left", maintain_order="left")
    min_owners = known.settings.patterns.min_owners if pool.name == SHARED else 1
    return score.learn_rates(made_of, ATTRIBUTES, known.settings.formula, min_owners=min_owners)


def together(known: Known, target: Target, members: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """The members with the vote, its interval and the plain fixed vote, each past day as it was predicted before it."""
    rules = known.settings.models
    said = known.stored.filter(metric=target.name).pivot(
        "model", on_columns=ensemble.MEMBERS[1:], index=["date", *_AD], values="predicted"
    )
    past = seen.select("date", *_AD, target.events, target.exposure).join(
        said, on=["date", *_AD], how="left", maintain_order="left"
    )
    parameters = ensemble.learn(past, target, rules)
    return ensemble.intervals(ensemble.vote(members, past, parameters, target, rules), rules.ensemble_level)
