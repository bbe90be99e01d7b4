"""The checks as Dagster sees them, made from the rules: one per rule of the facts, one per learned table."""

from datetime import date

import dagster as dg
import polars as pl

from learning_assets.checks import rules
from learning_assets.checks.rules import Rule
from learning_assets.learning import bandit, experiments, lift
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import ACTUALS, CATALOG, USABLE, WHOLE
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

FACTS: dict[str, dict[str, tuple[str, Rule | None]]] = {
    "ad_catalog": {
        "schema": ("The columns and types are as declared.", rules.has_schema(CATALOG)),
        "unique_key": ("Every ad stands there once.", rules.unique_key(("account_id", "ad_id"))),
    },
    "actuals": {
        "schema": ("The columns and types are as declared.", rules.has_schema(ACTUALS)),
        "unique_key": ("Every ad stands there once.", rules.unique_key(("account_id", "ad_id"))),
        "no_negatives": ("No count and no amount is below zero.", rules.no_negatives),
        "clicks_within_impressions": ("Link clicks are at most the impressions.", rules.clicks_within_impressions),
        "dated_inside": ("Every row is of the partition's day.", rules.dated_inside),
        "spend_reconciles": ("The ads' spend is what the account spent, within the tolerance.", None),
    },
}
"""Blocking rules of the facts; None where the rule needs the settings and the manifest of the day."""

LEARNED = {
    "prediction_accuracy": (
        "prediction_comparisons",
        ("pool", "account_id", "segment", "segment_value", "model", "metric", "horizon_days", "made"),
        {"accuracy": (0, 1)},
    ),
    "patterns": (
        "learning_patterns",
        lift.KEY,
        {"q_value": (0, 1), "confidence": (0, 1)},
    ),
    "winning_formulas": (
        "winning_formulas",
        ("scope", "account_id", "niche", "attribute", "value"),
        {"q_value": (0, 1), "share": (0, 1), "spearman": (-1, 1)},
    ),
    "winner_memory": (
        "winner_looks",
        ("owner", "fingerprint"),
        {"ctr": (0, 1), "ctr_low": (0, 1)},
    ),
    "promotions": (
        "promotion_decisions",
        ("revision", "account_id", "experiment_id"),
        {"anytime_p": (0, 1), "naive_p": (0, 1), "budget_share": (0, 1)},
    ),
    "account_insights": ("account_insights", ("owner", "attribute", "value", "metric"), {"log_ratio": (-1, 1)}),
    "niche_wisdom": ("niche_patterns", ("scope", "niche", "attribute", "value", "metric"), {"log_ratio": (-1, 1)}),
    "retrained_model": ("champions", ("target", "pool"), {}),
    "budget_allocation": ("thompson_arms", (*bandit.ARM, "metric"), {"share": (0, 1), "p_best": (0, 1)}),
    "ad_fatigue": (
        "ad_fatigue",
        ("account_id", "ad_id"),
        {"ctr_then": (0, 1), "ctr_now": (0, 1)},
    ),
    "snapshots": ("improvement_snapshots", ("account_id",), {"ctr": (0, 1)}),
}
"""Of each learned asset: its table, the key of a day's rows, and the bounds of columns."""


def _result(
    broken: rules.Broken | None, rows: int, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    if broken is None:
        return dg.AssetCheckResult(passed=True, metadata={"rows": rows})
    return dg.AssetCheckResult(
        passed=False, severity=severity, description=broken.says, metadata={"rows": rows, "rows_broken": broken.rows}
    )


def first_broken(store: Store, day: date) -> str:
    """The first blocking rule of the facts that a day's actuals and catalog break now, in its own words; empty where all hold.

    What is stored is judged, so that a day which any run left broken is seen by all.
    """
    for asset, named in FACTS.items():
        rows = store.lake.read_as_written(asset, day)
        for _, given in named.values():
            broken = (given or _spend_rule(store, day))(rows, day)
            if broken is not None:
                return broken.says
    return ""


def _spend_rule(store: Store, day: date) -> Rule:
    manifest = store.tables.read("fetch_manifest", PIPELINE, as_of=day, fact="daily", status="complete")
    return rules.spend_reconciles(manifest, store.settings.checks.spend_tolerance)


def _fact_check(asset: str, name: str, description: str, given: Rule | None) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, description=description, blocking=True, partitions_def=DAILY)
    def check(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        day = date.fromisoformat(context.partition_key)
        rows = store.lake.read_as_written(asset, day)
        return _result((given or _spend_rule(store, day))(rows, day), rows.height)

    return check


def _learned_check(
    asset: str, table: str, key: tuple[str, ...], bounds: dict[str, tuple[float, float]]
) -> dg.AssetChecksDefinition:
    describe = f"In {table}, each {', '.join(key)} stands once a day, numbers are finite" + (
        f", {', '.join(bounds)} within bounds." if bounds else "."
    )

    @dg.asset_check(asset=asset, name="sound", description=describe, blocking=True, partitions_def=DAILY)
    def check(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        day = date.fromisoformat(context.partition_key)
        rows = store.tables.read(table, PIPELINE, as_of=day)
        broken = (rule(rows, day) for rule in (rules.unique_key(key), rules.numbers_are_finite, rules.within(bounds)))
        return _result(next(filter(None, broken), None), rows.height)

    return check


@dg.asset_check(
    asset="patterns",
    name="sample_ratio",
    description="Experiments with planned shares got the traffic that was planned; those that did not give no randomized evidence.",
    partitions_def=DAILY,
)
def sample_ratio(
    context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store], settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    day = date.fromisoformat(context.partition_key)
    sums = store.sums(day, 7).filter(pl.col("assignment") == "random")
    arms = sums.group_by("account_id", "experiment_id", "ad_id").agg(
        pl.col("impressions").sum(), pl.col("planned_share").last()
    )
    found = experiments.sample_ratio(arms, settings.checks.sample_ratio_p)
    counts = dict(found["status"].value_counts().iter_rows())
    metadata = {status: counts.get(status, 0) for status in ("sound", "mismatch", "not_applicable")}
    if not metadata["mismatch"]:
        return dg.AssetCheckResult(passed=True, metadata=metadata)
    worst = found.filter(pl.col("status") == "mismatch").sort("p_value")
    says = (
        f"{metadata['mismatch']} of {found.height} experiments of the week got other traffic than planned; first: {worst['experiment_id'][0]} "
        f"(p = {worst['p_value'][0]:.1e}). They give no randomized evidence."
    )
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=says, metadata=metadata)


@dg.asset_check(
    asset="knowledge_graph",
    name="sound",
    description="Of every node and relationship one version is in force, both ends are nodes in force, numbers are finite, confidence is "
    "0.5 to 1, and what causes something rests on randomized evidence.",
    blocking=True,
    partitions_def=DAILY,
)
def graph_is_sound(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
    day = date.fromisoformat(context.partition_key)
    graph = store.graph(day, PIPELINE)
    broken = [rules.unique_key(("node_id",))(graph.nodes, day)]
    broken += [
        rule(graph.relationships, day)
        for rule in (
            rules.unique_key(("relationship_id",)),
            rules.ends_are_there(graph.nodes),
            rules.numbers_are_finite,
            rules.within({"confidence": (0.5, 1)}),
            rules.causes_are_random,
        )
    ]
    return _result(next(filter(None, broken), None), graph.relationships.height)


@dg.asset_check(
    asset="actuals",
    name="hours_within_the_day",
    description="The hours of an ad add up to no more than its day, and no hour stands twice.",
    blocking=True,
    partitions_def=DAILY,
)
def hours_within_the_day(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
    day = date.fromisoformat(context.partition_key)
    hours = store.lake.scan("actuals_hourly", day, day).collect()
    whole = store.facts(day, day).select("account_id", "ad_id", "impressions").collect()
    broken = rules.unique_key(("date", "hour", "account_id", "ad_id"))(hours, day) or rules.hours_within(whole)(hours, day)
    return _result(broken, hours.height)


@dg.asset_check(
    asset="actuals",
    name="accounts_complete",
    description="Every account's day was fetched completely. One that was not keeps its old rows and is left out of that day's learning.",
    partitions_def=DAILY,
)
def accounts_complete(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
    day = date.fromisoformat(context.partition_key)
    asked = store.tables.read("fetch_manifest", PIPELINE, as_of=day).sort("account_id", "fact")
    known = store.accounts(PIPELINE).select("account_id")
    never = known.join(asked.filter(pl.col("fact") == "daily"), on="account_id", how="anti")
    # Without reach the ads' fatigue cannot be told, and everything else can.
    missing = asked.filter(~pl.col("status").is_in(WHOLE), pl.col("fact") != "reach")
    metadata = {
        "accounts": known.height,
        "accounts_complete": known.height - never.height - missing["account_id"].n_unique(),
        "by_account": dg.MetadataValue.table(
            [
                dg.TableRecord({name: "" if value is None else str(value) for name, value in row.items()})
                for row in asked.select("account_id", "fact", "status", "rows", "reason").iter_rows(named=True)
            ]
        ),
    }
    if missing.is_empty() and never.is_empty():
        return dg.AssetCheckResult(passed=True, metadata=metadata)
    first = missing.row(0, named=True) if missing.height else None
    says = (
        f"{day}: {missing['account_id'].n_unique() + never.height} of {known.height} accounts are not complete; first: "
        + (
            f"{first['account_id']} ({first['fact']}): {first['status']}"
            if first
            else f"{never['account_id'][0]} was not asked for"
        )
        + (f". {first['reason']}" if first and first["reason"] else ".")
    )
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=says, metadata=metadata)


@dg.asset_check(
    asset="ad_fatigue",
    name="reach_known",
    description="Where the platform says how many people ads reached in the week, it said so. Without it no ad is more than watched.",
    partitions_def=DAILY,
)
def reach_known(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
    day = date.fromisoformat(context.partition_key)
    asked = store.tables.read("fetch_manifest", PIPELINE, as_of=day, fact="reach").sort("account_id")
    missing = asked.filter(~pl.col("status").is_in(USABLE))
    metadata = {"accounts_asked": asked.height, "accounts_missing": missing.height}
    if missing.is_empty():
        return dg.AssetCheckResult(passed=True, metadata=metadata)
    account, reason = missing.select("account_id", "reason").row(0)
    says = f"{day}: reach is missing of {missing.height} of {asked.height} accounts; first: {account}: {reason}"
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=says, metadata=metadata)


def all_checks() -> list[dg.AssetChecksDefinition]:
    """Every check of the code location."""
    facts = [_fact_check(asset, name, says, rule) for asset, named in FACTS.items() for name, (says, rule) in named.items()]
    learned = [_learned_check(asset, *about) for asset, about in LEARNED.items()]
    return [*facts, hours_within_the_day, accounts_complete, *learned, sample_ratio, graph_is_sound, reach_known]
