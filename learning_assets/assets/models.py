"""The champions in force: `retrained_model`."""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, get_args

import dagster as dg
import polars as pl

from learning_assets.assets import cards, retrains, training, watching
from learning_assets.assets.champions import Retrained, Status, last_champion, last_trained, measured
from learning_assets.assets.day import Day, next_in_chain
from learning_assets.assets.outcomes import observed
from learning_assets.assets.pointer import one_at_a_time, with_rollbacks
from learning_assets.assets.report import Number, markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.assets.watching import Expecting, Watched
from learning_assets.learning import ctr_model, dna, drift, retraining, triggers
from learning_assets.learning.champion import Verdict
from learning_assets.learning.retraining import RateModel
from learning_assets.learning.targets import CTR, TARGETS, Target
from learning_assets.learning.triggers import Evidence
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import Pool

CREATIVE_COLUMNS = ["account_id", "creative_id", "text", "hook_types", *dna.FEATURES]


class RetrainConfig(dg.Config):
    """What may be asked of a run of `retrained_model`."""

    force: bool = False
    """Train a challenger although nothing calls for it; the champion still has to be beaten."""

    search: bool = False
    """Choose the parameters of each challenger that is trained from a grid around the settings' own, by a split in time inside its training days."""


@dg.asset(
    partitions_def=DAILY,
    deps=["actuals", "creative_dna", "prediction_accuracy"],
    kinds={"xgboost", "scikitlearn", "postgres"},
    code_version=f"{retraining.VERSION}+drift-{drift.VERSION}",
)
@bounded_retries
@one_at_a_time
def retrained_model(
    context: dg.AssetExecutionContext,
    config: RetrainConfig,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """The models of CTR, CVR and ROAS in force: kept, or retrained and promoted.

    A challenger is trained when a trigger fires, on days before the hold-out; it takes the champion's place only if it is surely better than the
    champion and than the accounts' empirical-Bayes means on the hold-out, which neither saw.
    """
    day = next_in_chain(context, store, source, "retrained_model")
    check = Check(
        store=store,
        settings=settings,
        day=day,
        facts=observed(store, settings, day),
        creatives=store.creatives(CREATIVE_COLUMNS),
        watched=judged_hours(store, day),
        force=config.force,
        search=config.search,
    )
    pools = store.pools()
    done = [retrain(check, pool, target) for pool in pools for target in TARGETS.values()]
    done = with_rollbacks(store, day.date, done)
    models, champions = [one.model for one in done if one.model], [one.champion for one in done]
    told = cards.in_words(done)
    numbers = figures(told, done) | retrains.figures(store, day.date, models) | check.watched.figures(pools)
    # The pointer moves last, with its registry: a run that is killed before has not learned the day, and the old champion is in force.
    beside = {"models": _rows(store, "models", models), "click_hours": check.watched.hours, "click_drift": check.watched.drift}
    written = store.champions.replace(
        day.date, _rows(store, "champions", champions), beside, now=store.now, onward=day.replaying
    )
    return report(
        written,
        store.tables.schema("champions"),
        numbers,
        table=markdown_table(told, day.simulated, "The champions."),
        plot=None if day.quiet else cards.drawn(models, day),
        tables={f"card_{one.champion['target']}_{one.champion['pool']}": cards.card_of(one) for one in done if one.model},
    )


def figures(told: pl.DataFrame, done: list[Retrained]) -> dict[str, Number]:
    """What the UI plots of a day's decisions."""
    counts = dict(told["status"].value_counts().iter_rows())
    return {
        "pools": told["pool"].n_unique(),
        **{status: counts.get(status, 0) for status in get_args(Status)},
        "champions_in_force": sum(one.champion["model_id"] is not None for one in done),
        "training_seconds": sum(one.champion["seconds"] or 0.0 for one in done),
    }


@dataclass(frozen=True, slots=True)
class Check:
    """What a day's check of all champions knows.

    `facts`: `outcomes.observed`; `creatives`: CREATIVE_COLUMNS; `force` and `search` as for `RetrainConfig`.
    """

    store: Store
    settings: Settings
    day: Day
    facts: pl.DataFrame
    creatives: pl.DataFrame
    watched: Watched
    force: bool
    search: bool


def retrain(check: Check, pool: Pool, target: Target) -> Retrained:
    """Decide whether a pool's model of a target is trained anew, do it, and let it contest the champion."""
    store, day = check.store, check.day
    rules = check.settings.models
    last = last_champion(store, pool, target, day.date)
    incumbent_id = last["model_id"] if last else None
    fired = triggers.evaluate(evidence(check, pool, target, incumbent_id), rules)
    row: dict[str, Any] = {
        "as_of": day.date,
        "owner": pool.owner,
        "target": target.name,
        "pool": pool.name,
        "model_id": incumbent_id,
        "challenger_id": None,
        "triggers": json.dumps([asdict(trigger) for trigger in fired], default=str),
        "verdict": None,
        "seconds": None,
    }

    def ends(status: Status, reason: str, model: dict[str, Any] | None = None, **changes: object) -> Retrained:
        return Retrained(status, reason, row | {"status": status, "reason": reason} | changes, model)

    if not any(trigger.fired for trigger in fired):
        return ends("no_retrain_needed", " ".join(trigger.reason for trigger in fired if trigger.value is not None))
    mine = check.facts.filter(pl.col("account_id").is_in(pool.account_ids))
    texts = check.creatives.filter(pl.col("account_id").is_in(pool.account_ids))
    holdout_days = day.pick(rules.holdout_days, rules.archive_holdout_days)
    seen = mine.filter(pl.col("date") <= day.date - pl.duration(days=holdout_days))
    ready = ctr_model.readiness(seen, rules, target)
    if not ready.ready:
        return ends("insufficient_data", ready.reason)
    began = time.monotonic()
    challenger = training.bounded(
        store.home / "training",
        seen,
        texts,
        rules,
        min_owners=check.settings.patterns.min_owners,
        target=target.name,
        search=check.search,
    )
    incumbent = None if incumbent_id is None else RateModel.load(store.artifacts.folder(incumbent_id))
    verdict = retraining.contest(incumbent, challenger, mine, texts, rules)
    seconds = time.monotonic() - began
    challenger_id = f"{target.name}-{pool.label}-{day.date}-{challenger.fingerprint}"
    store.artifacts.publish(challenger_id, challenger.save)
    won = verdict.winner == "challenger"
    model = registered(challenger, verdict) | {
        "model_id": challenger_id,
        "as_of": day.date,
        "owner": pool.owner,
        "pool": pool.name,
        "holdout_until": day.date,
        "seconds": seconds,
        "facts_version": retraining.facts_version(seen, target),
    }
    return ends(
        "retrained" if won else "kept_champion",
        verdict.reason,
        model,
        model_id=challenger_id if won else incumbent_id,
        challenger_id=challenger_id,
        verdict=json.dumps(asdict(verdict), default=str),
        seconds=seconds,
    )


def evidence(check: Check, pool: Pool, target: Target, incumbent_id: str | None) -> Evidence:
    """What the triggers of a pool's target rest on."""
    store, day, rules = check.store, check.day, check.settings.models
    tried_on = last_trained(store, pool, target, day.date)
    return Evidence(
        day=day.date,
        tried_on=tried_on,
        max_age_days=day.pick(rules.max_age_days, rules.archive_max_age_days),
        **measured(store, pool, target, day.date, incumbent_id),
        **check.watched.evidence(pool, target),
        purchase_signals=store.signals.waiting(pool.account_ids, day.date, tried_on),
        forced=check.force,
    )


def judged_hours(store: Store, day: Day) -> Watched:
    """What the day's hours say of the champions that predicted them."""
    before = store.newest_day("retrained_model", before=day.date)

    def expecting(pool: Pool) -> Expecting:
        last = last_champion(store, pool, CTR, day.date)
        model_id = last["model_id"] if last else None
        # As of the day before: what the hours are judged by may not depend on them.
        known = measured(store, pool, CTR, before, model_id) if before else {}
        return Expecting(pool, model_id, known.get("dispersion") or 1.0)

    return watching.watch(store, day, before, [expecting(pool) for pool in store.pools()])


def registered(challenger: RateModel, verdict: Verdict) -> dict[str, Any]:
    """What the registry keeps of a challenger itself: columns of `models`."""
    card = challenger.trees.card
    contested = {"verdict": asdict(verdict), "promoted": verdict.winner == "challenger"}
    return {
        "target": card.target,
        "trained_from": card.first_day,
        "trained_until": card.last_day,
        "ad_days": card.rows,
        "ads": card.ads,
        "code_version": retraining.VERSION,
        "features_hash": card.schema_hash,
        "card": json.dumps(challenger.card() | contested, default=str),
    }


def _rows(store: Store, name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=store.tables.schema(name))
