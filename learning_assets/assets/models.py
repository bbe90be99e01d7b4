"""The champions in force: `retrained_model`."""

import json
import time
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, get_args

import dagster as dg
import polars as pl

from learning_assets.assets import retrains, training, watching
from learning_assets.assets.day import Day, next_in_chain
from learning_assets.assets.model_plots import importance_and_effects
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
from learning_assets.store.walls import PIPELINE, Pool

if TYPE_CHECKING:
    import altair as alt

Status = Literal["no_retrain_needed", "retrained", "insufficient_data", "kept_champion", "rolled_back"]
CREATIVE_COLUMNS = ["account_id", "creative_id", "text", "hook_types", *dna.FEATURES]


class RetrainConfig(dg.Config):
    """What may be asked of a run of `retrained_model`."""

    force: bool = False
    """Train a challenger although nothing calls for it; the champion still has to be beaten."""

    search: bool = False
    """Choose the parameters of each challenger that is trained from a grid around the settings' own, by a split in time inside its training days."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """What became of a pool's champion of a target on a day; a row of `champions`, and of `models` where a challenger was trained."""

    status: Status
    reason: str
    champion: dict[str, Any]
    model: dict[str, Any] | None = None


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
    facts, creatives = observed(store, settings, day), store.creatives(CREATIVE_COLUMNS)
    pools, watched = store.pools(), judged_hours(store, day)
    done = [
        retrain(store, settings, day, pool, target, facts, creatives, watched, force=config.force, search=config.search)
        for pool in pools
        for target in TARGETS.values()
    ]
    done = with_rollbacks(store, day.date, done)
    models, champions = [one.model for one in done if one.model], [one.champion for one in done]
    told = in_words(done)
    numbers = figures(told, done) | retrains.figures(store, day.date, models) | watched.figures(pools)
    cards = {f"card_{one.champion['target']}_{one.champion['pool']}": _card(one) for one in done if one.model}
    # The pointer moves last, with its registry: a run that is killed before has not learned the day, and the old champion is in force.
    beside = {"models": _rows(store, "models", models), "click_hours": watched.hours, "click_drift": watched.drift}
    written = store.champions.replace(
        day.date, _rows(store, "champions", champions), beside, now=store.now, onward=day.replaying
    )
    return report(
        written,
        store.tables.schema("champions"),
        numbers,
        table=markdown_table(told, day.simulated, "The champions."),
        plot=None if day.quiet else drawn(models, day),
        tables=cards,
    )


def in_words(done: list[Retrained]) -> pl.DataFrame:
    """What became of each champion."""
    return pl.DataFrame(
        [{"of": one.champion["target"].upper(), **one.champion, "why": one.reason} for one in done],
        schema={"pool": pl.String, "of": pl.String, "status": pl.String, "why": pl.String},
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


def drawn(models: list[dict[str, Any]], day: Day) -> "alt.TopLevelMixin | None":
    """What the day's challengers use and what that does, of the pool whose samples are largest; None where none was trained."""
    import altair as alt

    if not models:
        return None
    pool = max(models, key=lambda model: model["ad_days"])["pool"]
    kind = " (simulated)" if day.simulated else ""
    charts = [
        importance_and_effects(json.loads(model["card"]), f"What {model['model_id']} uses{kind}")
        for model in models
        if model["pool"] == pool
    ]
    found = [chart for chart in charts if chart is not None]
    return alt.vconcat(*found, spacing=30) if found else None


def retrain(
    store: Store,
    settings: Settings,
    day: Day,
    pool: Pool,
    target: Target,
    facts: pl.DataFrame,
    creatives: pl.DataFrame,
    watched: Watched,
    *,
    force: bool,
    search: bool,
) -> Retrained:
    """Decide whether a pool's model of a target is trained anew, do it, and let it contest the champion; `force` and `search` as for `RetrainConfig`."""
    rules = settings.models
    mine = facts.filter(pl.col("account_id").is_in(pool.account_ids))
    texts = creatives.filter(pl.col("account_id").is_in(pool.account_ids))
    last = last_champion(store, pool, target, day.date)
    incumbent_id = last["model_id"] if last else None
    known = evidence(store, settings, day, pool, target, incumbent_id, watched, force=force)
    fired = triggers.evaluate(known, rules)
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
        min_owners=settings.patterns.min_owners,
        target=target.name,
        search=search,
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


def evidence(
    store: Store,
    settings: Settings,
    day: Day,
    pool: Pool,
    target: Target,
    incumbent_id: str | None,
    watched: Watched,
    *,
    force: bool,
) -> Evidence:
    """What the triggers of a pool's target rest on."""
    tried_on = last_trained(store, pool, target, day.date)
    return Evidence(
        day=day.date,
        tried_on=tried_on,
        max_age_days=day.pick(settings.models.max_age_days, settings.models.archive_max_age_days),
        **measured(store, pool, target, day.date, incumbent_id),
        **watched.evidence(pool, target),
        purchase_signals=store.signals.waiting(pool.account_ids, day.date, tried_on),
        forced=force,
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


def last_champion(store: Store, pool: Pool, target: Target, day: date) -> dict[str, Any] | None:
    """A pool's row of `champions` of the newest day before `day`."""
    before = store.newest_day("retrained_model", before=day)
    if before is None:
        return None
    rows = store.tables.read("champions", PIPELINE, as_of=before, target=target.name, pool=pool.name).to_dicts()
    return rows[0] if rows else None


def champion_of(store: Store, pool: Pool, target: Target, day: date) -> tuple[str, RateModel] | None:
    """A pool's champion as of a day, with its id; None where none has won yet."""
    rows = store.tables.read("champions", PIPELINE, until=day, latest=True, target=target.name, pool=pool.name).to_dicts()
    if not rows or rows[0]["model_id"] is None:
        return None
    return rows[0]["model_id"], RateModel.load(store.artifacts.folder(rows[0]["model_id"]))


def last_trained(store: Store, pool: Pool, target: Target, day: date) -> date | None:
    """The newest day before `day` on which a challenger was trained."""
    rows = store.tables.read("models", PIPELINE, columns=["as_of"], target=target.name, pool=pool.name)
    return rows.filter(pl.col("as_of") < day)["as_of"].max()  # pyright: ignore[reportReturnType]


def measured(store: Store, pool: Pool, target: Target, day: date, model_id: str | None) -> dict[str, Any]:
    """What was measured of the champion's predictions over the pool as of `day` (`triggers.FIGURES`); None where there is none or nothing was."""
    nothing = dict.fromkeys(triggers.FIGURES)
    if model_id is None:
        return nothing
    rows = store.tables.read(
        "prediction_comparisons",
        PIPELINE,
        columns=["impressions", "account_id", *triggers.FIGURES],
        as_of=day,
        pool=pool.name,
        segment="all",
        model="xgboost",
        metric=target.name,
    ).filter(pl.col("account_id").is_null(), pl.col("expected").is_not_null())
    best = rows.sort("impressions", descending=True).select(triggers.FIGURES).head(1).to_dicts()
    return best[0] if best else nothing


def _rows(store: Store, name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=store.tables.schema(name))


def _card(one: Retrained) -> str:
    """A challenger's card as markdown: what it saw, how it did, what it uses."""
    assert one.model is not None
    card = json.loads(one.model["card"])
    lines = [f"**{one.model['model_id']}**: {one.status.replace('_', ' ')}. {one.reason}", ""]
    days = f"{one.model['trained_from']} to {one.model['trained_until']}"
    lines += [
        f"Trained on {one.model['ad_days']:,} ad-days of {one.model['ads']:,} ads, {days}, in {one.model['seconds']:.1f} s."
    ]
    lines += [f"Text model: {card['text']}.", ""]
    lines += ["| feature | share of gain |", "|---|---|"]
    lines += [f"| {name} | {gain:.3f} |" for name, gain in card["importance"][:12]]
    if card["search"]:
        lines += ["", f"Parameters were searched for. {card['search']['reason']}", "", *_candidates(card["search"])]
    return "\n".join(lines)


def _candidates(search: dict[str, Any]) -> list[str]:
    """The candidates of a search as a markdown table, the best first."""
    tried = sorted(search["candidates"], key=lambda one: one["log_loss"])
    if not tried:
        return []
    names = list(tried[0]["parameters"])
    lines = [f"| {' | '.join(names)} | log loss |", "|---" * (len(names) + 1) + "|"]
    for one in tried:
        values = [f"{value:g}" for value in one["parameters"].values()]
        lines.append(f"| {' | '.join(values)} | {one['log_loss']:.7f} |")
    return lines
