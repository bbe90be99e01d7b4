"""Who has won, and what that asks of budgets: `promotions`."""

from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import polars as pl

from learning_assets.assets import decision_cards as cards
from learning_assets.assets import wishing
from learning_assets.assets.day import Day, next_in_chain
from learning_assets.assets.evidence import ARM, EXPERIMENT, Look, counted, known_days, look
from learning_assets.assets.report import Number, markdown_table, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.learning import experiments, promoting, rates, sequential
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import USABLE, Source
from learning_assets.settings import Settings
from learning_assets.store.promotions import ASSET
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

DECIDE_JOB = "decide"
"""The job that decides about a day while it goes on."""

_CARDS, _DRAWN = 5, 6


@dg.asset(partitions_def=DAILY, deps=["ad_catalog", "actuals"], kinds={"polars", "postgres"}, code_version=sequential.VERSION)
@bounded_retries
def promotions(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Which arm of each experiment has won, how sure that is, and the next step of its budget.

    The evidence may be looked at every hour: the chance of ever promoting an arm that is not better is at most 5 % over an experiment's life. A
    promoted arm's budget is asked to grow by small steps on its shrunk lift; when the evidence since then reverses, it is asked back. This asset
    changes no budget. Each run of a day is a further revision of its decisions; a replay decides the same and asks for nothing.
    """
    day = next_in_chain(context, store, source, ASSET)
    known = gather(store, settings, look(store, settings, day))
    decided = decide(store, settings, known)
    wishes = wishing.wishes(store, decided, day)
    columns = store.tables.schema("promotion_decisions")
    rows = decided.select(pl.col(name).cast(kind) for name, kind in columns.items())
    running = context.job_name == DECIDE_JOB
    written = store.promotions.replace(
        day.date, known.fresh, rows, wishes, now=store.now, running=running, onward=day.replaying
    )
    shown, gained = cards.to_look_at(rows, _CARDS), improvement(store, day)
    return report(
        written,
        columns,
        cards.figures(rows, wishes) | improved(gained),
        table=markdown_table(cards.in_words(cards.to_look_at(rows, 20)), day.simulated, f"{rows.height:,} experiments."),
        tables={
            **{f"card_{row['experiment_id']}": cards.card(row, day.simulated) for row in shown.iter_rows(named=True)},
            "improvement": markdown_table(gained, day.simulated, cards.OF_IMPROVEMENT),
        },
        plot=None if day.quiet else cards.drawn(path(known.evidence, rows, settings), day),
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What a decision rests on.

    `state`: `promoting.STATE` of every experiment of the day before its decision; `fresh`: evidence that the day writes; `evidence`: all that counts,
    with `metric`; `days`: `evidence.known_days` of what counts.
    """

    looking: Look
    state: pl.DataFrame
    fresh: pl.DataFrame
    evidence: pl.DataFrame
    days: pl.DataFrame


def gather(store: Store, settings: Settings, looking: Look) -> Known:
    """Count what is new, and read what was known."""
    day = looking.day
    # What was decided earlier on the day stays decided; a replay knows nothing of it.
    newest = day.date - timedelta(days=day.replaying)
    before = store.promotions.states(day.date - timedelta(days=settings.automation.restate_days), newest)
    state = promoting.standing(looking.arms, before.select(promoting.STATE.names()), day.date)
    first = min([looking.recent[0], *state["evidence_from"]])
    days = known_days(store, settings, looking, first)
    fresh, evidence = counted(store, settings, looking, days)
    counts = state.select(*EXPERIMENT, "evidence_from")
    of = pl.col("date") >= pl.col("evidence_from")
    return Known(
        looking,
        state,
        fresh,
        evidence.join(counts, on=EXPERIMENT).filter(of).drop("evidence_from"),
        days.join(counts, on=EXPERIMENT).filter(of).drop("evidence_from"),
    )


def decide(store: Store, settings: Settings, known: Known) -> pl.DataFrame:
    """The decision about every experiment of the day: the columns of `promotion_decisions`, and what `wishing.wishes` reads."""
    rules, day, arms = settings.promotion, known.looking.day, known.looking.arms
    metrics = ("ctr", "cvr")
    proofs = {metric: _evidence(known.evidence, metric, settings) for metric in metrics}
    totals = achieved(arms, proofs["ctr"], known.days)
    roas = sequential.ratio_of_roas(known.days, rules)
    proof = sequential.decide(proofs, totals, gates(store, settings, known), roas, rules)
    since = _since(known, settings, "promoted_on")
    decided = promoting.advance(proof, known.state, _reversed(since, proof, known.state), day.date)
    decided = _of_the_winner(decided, proofs).join(
        _ahead(_since(known, settings, "reached_on"), decided), on=EXPERIMENT, how="left"
    )
    moved = promoting.moved(decided, wishing.moves(store, decided, arms, day, settings.stages), day.date)
    revision = store.promotions.revision(day.date) + 1
    sums = totals.group_by(EXPERIMENT).agg(rates.total(name) for name in ("impressions", "link_clicks", "conversions"))
    random = (pl.col("assignment") == "random").all()
    of = arms.group_by(EXPERIMENT).agg(
        pl.col("owner").first(), evidence=pl.when(random).then(pl.lit("randomized")).otherwise(pl.lit("observational"))
    )
    return (
        moved.join(sums, on=EXPERIMENT, how="left")
        .join(of, on=EXPERIMENT, how="left")
        .with_columns(
            as_of=pl.lit(day.date),
            revision=pl.lit(revision, pl.Int64),
            decision_id=pl.format("p-{}-{}-{}-r{}", "account_id", "experiment_id", pl.lit(str(day.date)), pl.lit(revision)),
            decided_at=pl.lit(store.now).dt.cast_time_unit("us"),
            replayed=pl.lit(day.replaying),
            move_reason="why",
            budget_share="share",
            currency="moved_currency",
        )
        .sort(EXPERIMENT)
    )


def gates(store: Store, settings: Settings, known: Known) -> pl.DataFrame:
    """Whether each experiment may be decided (schema `sequential.FLAGS`): isolated arms, traffic as planned, and complete actuals of the day."""
    arms, day = known.looking.arms, known.looking.day.date
    told = store.tables.read("fetch_manifest", PIPELINE, columns=["account_id", "fact", "status"], as_of=day)
    well = pl.col("status").is_in(USABLE)
    complete = told.group_by("account_id").agg(complete=well.all() & (pl.col("fact") == "daily").any())
    shown = known.days.group_by(ARM).agg(pl.col("impressions").sum())
    planned = arms.join(shown, on=ARM, how="left").with_columns(pl.col("impressions").fill_null(0))
    split = experiments.sample_ratio(planned, settings.checks.sample_ratio_p).select(*EXPERIMENT, sample_ratio="status")
    return (
        arms.group_by(EXPERIMENT)
        .agg(pl.col("isolated").all())
        .join(split, on=EXPERIMENT, how="left")
        .join(complete, on="account_id", how="left")
        .with_columns(pl.col("complete").fill_null(value=False))
        .select(sequential.FLAGS.names())
    )


def achieved(arms: pl.DataFrame, by_hour: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """What each arm of the day achieved in what counts (schema `sequential.ARM_TOTALS`): hours shared with a rival, and known conversions."""
    hours = by_hour.group_by(ARM).agg(
        impressions=pl.col("exposure").max(), link_clicks=pl.col("events").max(), hours=pl.col("hours").max()
    )
    orders = days.group_by(ARM).agg(rates.total("conversions"))
    return (
        arms.select(ARM)
        .join(hours, on=ARM, how="left")
        .join(orders, on=ARM, how="left")
        .with_columns(pl.col("impressions", "link_clicks", "hours").fill_null(0))
        .select(pl.col(name).cast(kind) for name, kind in sequential.ARM_TOTALS.items())
    )


def _evidence(pair_days: pl.DataFrame, metric: str, settings: Settings) -> pl.DataFrame:
    of_metric = pair_days.filter(metric=metric).select(sequential.PAIR_DAYS.names())
    return sequential.evidence(of_metric, settings.promotion)


def _since(known: Known, settings: Settings, moment: str) -> pl.DataFrame:
    """The evidence of the days after `promoted_on` or `reached_on`, of experiments that have one: `sequential.EVIDENCE` and `metric`."""
    begun = known.state.filter(pl.col(moment).is_not_null()).select(*EXPERIMENT, since=moment)
    later = known.evidence.join(begun, on=EXPERIMENT).filter(pl.col("date") > pl.col("since"))
    return pl.concat([_evidence(later, metric, settings).with_columns(metric=pl.lit(metric)) for metric in ("ctr", "cvr")])


def _reversed(since: pl.DataFrame, proof: pl.DataFrame, state: pl.DataFrame) -> pl.DataFrame:
    """Experiments in which an arm has proven itself against the winner since its promotion, by the metric that money moves on."""
    against = since.join(state.select(*EXPERIMENT, other_id="moved_ad_id"), on=[*EXPERIMENT, "other_id"])
    thresholds = proof.select(*EXPERIMENT, "metric", "log_threshold")
    crossed = against.join(thresholds, on=[*EXPERIMENT, "metric"]).filter(pl.col("log_e") >= pl.col("log_threshold"))
    return crossed.select(EXPERIMENT).unique()


def _ahead(since: pl.DataFrame, decided: pl.DataFrame) -> pl.DataFrame:
    """How far the winner was ahead of its closest rival since it reached its share: EXPERIMENT, `lift_since`, shrunk."""
    mine = decided.select(*EXPERIMENT, "metric", ad_id="moved_ad_id")
    return since.join(mine, on=[*ARM, "metric"]).group_by(EXPERIMENT).agg(lift_since=pl.col("shrunk_lift").min())


def _of_the_winner(decided: pl.DataFrame, proofs: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The decisions with the figures of the promoted arm where another one happens to lead at present."""
    names = ["other_id", "log_e", "anytime_p", *_LIFTS, "naive_p", "days", "hours"]
    closest = [
        found.sort("log_e").group_by(ARM, maintain_order=True).agg(pl.col(names).first()).with_columns(metric=pl.lit(metric))
        for metric, found in proofs.items()
    ]
    winner = pl.concat(closest).rename({"ad_id": "moved_ad_id"} | {name: f"{name}_won" for name in names})
    found = decided.join(winner, on=[*EXPERIMENT, "moved_ad_id", "metric"], how="left", maintain_order="left")
    stays = pl.col("promoted_on").is_not_null() & pl.col("log_e_won").is_not_null()
    return found.with_columns(
        ad_id=pl.when(stays).then("moved_ad_id").otherwise("ad_id"),
        **{name: pl.when(stays).then(f"{name}_won").otherwise(name) for name in names},
    ).drop(f"{name}_won" for name in names)


_LIFTS = ("lift", "lift_low", "lift_high", "shrunk_lift", "shrunk_low", "shrunk_high")


def path(evidence: pl.DataFrame, decisions: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The evidence of the decisions to look at first by the end of each day: account_id, experiment_id, ad_id, date, log_e, log_threshold."""
    shown = cards.to_look_at(decisions.filter(pl.col("log_e").is_not_null()), _DRAWN).select(
        *EXPERIMENT, "metric", "ad_id", "other_id", "log_threshold"
    )
    pair = pl.concat([shown, shown.rename({"ad_id": "other_id", "other_id": "ad_id"}).select(shown.columns)])
    days = evidence.join(pair.drop("log_threshold"), on=[*ARM, "other_id", "metric"])
    ends = days.select(*EXPERIMENT, until="date").unique()
    # Each day's end is an experiment of its own, whose evidence is that of the days so far.
    apart = days.join(ends, on=EXPERIMENT).filter(pl.col("date") <= pl.col("until"))
    named = apart.with_columns(experiment_id=pl.format("{}|{}", "experiment_id", "until"))
    found = sequential.evidence(named.select(sequential.PAIR_DAYS.names()), settings.promotion)
    told = found.with_columns(
        pl.col("experiment_id").str.split_exact("|", 1).struct.rename_fields(["experiment_id", "date"]).alias("of")
    )
    told = told.drop("experiment_id").unnest("of").with_columns(pl.col("date").str.to_date("%Y-%m-%d"))
    return told.join(shown, on=[*ARM, "other_id"]).select(*ARM, "date", "log_e", "log_threshold").sort(*ARM, "date")


def improvement(store: Store, day: Day) -> pl.DataFrame:
    """What the promotions up to the day brought each account, those left out that were demoted since (schema `sequential.IMPROVEMENT`)."""
    return sequential.cumulative(in_force(store, day.date))


def in_force(store: Store, day: date) -> pl.DataFrame:
    """The decisions that promoted an arm and were not taken back by the day."""
    events = store.promotions.events(day)
    demoted = events.filter(event="demoted").select(*EXPERIMENT, until="as_of")
    taken_back = events.join(demoted, on=EXPERIMENT).filter(pl.col("as_of") <= pl.col("until"))
    return events.filter(event="promoted").join(taken_back, on=[*EXPERIMENT, "as_of"], how="anti")


def improved(gained: pl.DataFrame) -> dict[str, Number]:
    """What the UI plots of it: unit-free, over all accounts."""
    return {
        "promotions_in_force": int(gained["promotions"].sum()),
        "accounts_improved": gained.height,
        "mean_log_improvement": gained["improvement"].log().mean() if gained.height else None,  # pyright: ignore[reportReturnType]
    }
