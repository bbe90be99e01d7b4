"""The tables: what is learned, every ledger, and who owns what. Columns and keys; how they are read and written is in `tables`.

Rates are fractions, lifts are differences of natural logarithms, money is in micros of the account's currency, days are local dates,
moments are UTC. `as_of` is the newest day whose facts a row may rest on. `owner` is NULL where a row was fitted over several owners.
"""

from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from learning_assets.learning.accuracy import MEASURES
from learning_assets.learning.bandit import STATE as BANDIT
from learning_assets.learning.dna import DNA
from learning_assets.learning.fatigue import FATIGUE
from learning_assets.learning.footage import FOOTAGE
from learning_assets.learning.formula import FORMULA
from learning_assets.learning.graph import NODES, RELATIONSHIPS
from learning_assets.learning.growth import GROWTH
from learning_assets.learning.lag import LAGS
from learning_assets.learning.lift import FOUND, STATE
from learning_assets.learning.memory import LOOKS
from learning_assets.learning.score import KEPT
from learning_assets.learning.suggestions import BETWEEN
from learning_assets.learning.wisdom import CELLS, GROUPS, INSIGHTS, MEMBERS, WISDOM

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_TEXT, _DAY, _BOOL, _INT, _REAL = sa.Text, sa.Date, sa.Boolean, sa.BigInteger, sa.Double


def _column(name: str, kind: type[sa.types.TypeEngine[Any]], *, required: bool = False) -> "sa.Column[Any]":
    return sa.Column(name, kind, nullable=not required)


_KINDS: dict[pl.DataType, "sa.types.TypeEngine[Any] | type[sa.types.TypeEngine[Any]]"] = {
    pl.String(): sa.Text,
    pl.Date(): sa.Date,
    pl.Boolean(): sa.Boolean,
    pl.Int32(): sa.BigInteger,
    pl.Int64(): sa.BigInteger,
    pl.Float64(): sa.Double,
    pl.List(pl.String): sa.ARRAY(sa.Text),
    pl.List(pl.Float64): sa.ARRAY(sa.Double),
}


def _columns(found: pl.Schema, *, without: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> "list[sa.Column[Any]]":
    """The columns of what `learning` finds, under the names that it gives them."""
    return [sa.Column(name, _KINDS[kind], nullable=name not in required) for name, kind in found.items() if name not in without]


def _moment(name: str, *, required: bool = True) -> "sa.Column[Any]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=not required)


def _key(*names: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*names, postgresql_nulls_not_distinct=True)


store_identity = sa.Table(
    "store_identity",
    metadata,
    sa.Column("store_id", _TEXT, primary_key=True),
    _column("kind", _TEXT, required=True),
    _column("start_day", _DAY, required=True),
    _moment("created_at"),
)

owners = sa.Table("owners", metadata, sa.Column("owner", _TEXT, primary_key=True), _moment("created_at"))

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("owner", _TEXT, sa.ForeignKey("owners.owner"), nullable=False, index=True),
    _column("name", _TEXT),
    _column("currency", _TEXT),
    _column("timezone", _TEXT),
    _moment("created_at"),
)

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("consent_id", _INT, sa.Identity(), primary_key=True),
    sa.Column("account_id", _TEXT, sa.ForeignKey("accounts.account_id"), nullable=False),
    _column("purpose", _TEXT, required=True),
    _column("given", _BOOL, required=True),
    _column("given_by", _TEXT, required=True),
    _moment("at"),
    _key("account_id", "purpose", "at"),
)
"""Append-only; the newest row of an account and purpose is in force."""

account_niches = sa.Table(
    "account_niches",
    metadata,
    sa.Column("account_id", _TEXT, sa.ForeignKey("accounts.account_id"), primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
    _column("niche", _TEXT),
    _column("said_by", _TEXT, required=True),
    sa.Column("source", _TEXT, primary_key=True),
    _column("confidence", _REAL),
    _column("second_niche", _TEXT),
    _column("second_confidence", _REAL),
    _column("sub_niche", _TEXT),
    _column("texts", _INT),
    _column("creatives", _INT),
    _column("version", _TEXT),
)
"""Append-only. `source` is `human`, `llm` or `local`. The newest word of a person is in force, where it is not NULL, which takes it back; else the
newest of the others, where NULL is unknown."""

asset_days = sa.Table(
    "asset_days",
    metadata,
    sa.Column("asset", _TEXT, primary_key=True),
    sa.Column("day", _DAY, primary_key=True),
    _column("rows", _INT, required=True),
    _column("revision", _INT, required=True),
    _moment("written_at"),
)
"""Which days of an asset's table were written, days without rows included; written in the same transaction as the rows."""

fetch_manifest = sa.Table(
    "fetch_manifest",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("fact", _TEXT, primary_key=True),
    _column("owner", _TEXT, required=True),
    _column("status", _TEXT, required=True),
    _column("rows", _INT, required=True),
    _column("pages", _INT),
    _column("requests", _INT),
    _column("spend_micros", _INT),
    _column("account_spend_micros", _INT),
    _column("seconds", _REAL, required=True),
    _moment("requested_at", required=False),
    _column("job_id", _TEXT),
    _column("api_version", _TEXT),
    _column("throttle_pct", _REAL),
    _column("reason", _TEXT),
)
"""What was asked of the platform for an account, day and fact, and what came: the columns of `platforms.source.MANIFEST`. No row means
unknown."""

conversion_lags = sa.Table(
    "conversion_lags",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("age_days", _INT, primary_key=True),
    _column("owner", _TEXT, required=True),
    *_columns(LAGS, without=("account_id", "age_days"), required=("days", "conversions")),
)
"""How many of a day's conversions are known after so many days: the columns of `learning.lag.LAGS`."""

creative_dna = sa.Table(
    "creative_dna",
    metadata,
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("creative_id", _TEXT, primary_key=True),
    _column("owner", _TEXT, required=True),
    _column("first_seen", _DAY, required=True),
    _column("version", _TEXT, required=True),
    _column("text", _TEXT),
    sa.Column("embedding", sa.LargeBinary),
    *_columns(DNA, without=("account_id", "creative_id")),
    *_columns(FOOTAGE),
    sa.Index(None, "owner"),
)
"""`text`: what models read; `embedding`: 256 float16, little-endian, NULL without text. The others are the columns of `learning.dna.DNA`
and `learning.footage.FOOTAGE`."""

attribute_bins = sa.Table(
    "attribute_bins",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    sa.Column("pool", _TEXT, primary_key=True),
    sa.Column("attribute", _TEXT, primary_key=True),
    _column("owner", _TEXT),
    sa.Column("edges", sa.ARRAY(sa.Double), nullable=False),
    _column("learned_on", _DAY, required=True),
)
"""Where the bins of a number begin for the accounts of a pool: the columns of `learning.bins.BINS`; every day holds all that are in force."""

llm_calls = sa.Table(
    "llm_calls",
    metadata,
    sa.Column("owner", _TEXT, primary_key=True),
    sa.Column("purpose", _TEXT, primary_key=True),
    sa.Column("request_hash", _TEXT, primary_key=True),
    sa.Column("attempt", _INT, primary_key=True),
    _column("model", _TEXT, required=True),
    _column("status", _TEXT, required=True),
    sa.Column("answer", pg.JSONB(none_as_null=True)),
    _column("input_tokens", _INT),
    _column("output_tokens", _INT),
    _column("cost_usd_micros", _INT, required=True),
    _moment("at"),
    sa.Index(None, "at"),
)
"""Append-only: what a language model was asked on behalf of an owner, one row per text and attempt, without the text. `request_hash` is
of model, prompt and text; `answer` is NULL where none came, `status` says why; `cost_usd_micros` is the text's part of the request's
cost, millionths of a US dollar, at most what it can have been where the service did not say. Both the cache of answers and the budget."""

learning_patterns = sa.Table(
    "learning_patterns",
    metadata,
    _column("as_of", _DAY, required=True),
    _column("owner", _TEXT),
    *_columns(FOUND, required=("scope", "attribute", "value", "metric", "evidence")),
    *_columns(STATE, required=("status", "validation_count", "weak_days", "since")),
    _key("as_of", "scope", "account_id", "niche", "attribute", "value", "metric", "evidence"),
)
"""The columns of `learning.lift.FOUND` and `STATE`; every day holds every pattern that is known."""

knowledge_nodes = sa.Table(
    "knowledge_nodes",
    metadata,
    *_columns(NODES, required=("node_id", "version", "kind", "valid_from")),
    sa.PrimaryKeyConstraint("node_id", "version"),
    sa.Index(None, "valid_to"),
)
"""The columns of `learning.graph.NODES`: one row per version of a node, in force from `valid_from` until before `valid_to`."""

knowledge_relationships = sa.Table(
    "knowledge_relationships",
    metadata,
    *_columns(RELATIONSHIPS, required=("relationship_id", "version", "kind", "source_id", "target_id", "valid_from")),
    sa.PrimaryKeyConstraint("relationship_id", "version"),
    sa.Index(None, "valid_to"),
)
"""The columns of `learning.graph.RELATIONSHIPS`: one row per version of a relationship, likewise."""

winning_formulas = sa.Table(
    "winning_formulas",
    metadata,
    _column("as_of", _DAY, required=True),
    _column("owner", _TEXT),
    *_columns(FORMULA, required=("scope", "status", "reason", "kind", "ads", "accounts")),
    *_columns(KEPT),
    *_columns(BETWEEN),
    _key("as_of", "scope", "account_id", "niche", "attribute", "value"),
)
"""The columns of `learning.formula.FORMULA` , `learning.score.KEPT` and `learning.suggestions.BETWEEN`. A scope's own row has NULL as attribute and value."""

_LOOKS_REQUIRED = (
    *("owner", "fingerprint", "account_id", "creative_id", "creatives", "outcome"),
    *("impressions", "looks", "next_look_impressions", "validations"),
)

winner_looks = sa.Table(
    "winner_looks",
    metadata,
    *_columns(LOOKS, required=_LOOKS_REQUIRED),
    _column("as_of", _DAY, required=True),
    _column("superseded_on", _DAY),
    sa.PrimaryKeyConstraint("owner", "fingerprint", "as_of"),
    sa.Index(None, "as_of"),
    sa.Index(None, "superseded_on"),
)
"""Every look at a creative: the columns of `learning.memory.LOOKS`. The newest one before a day is the state that the day begins with;
`superseded_on` is the day of the next look, NULL while there is none."""

winner_memory = sa.Table(
    "winner_memory",
    metadata,
    *_columns(LOOKS, required=_LOOKS_REQUIRED),
    _column("looked_on", _DAY, required=True),
    _column("dna_version", _TEXT),
    sa.Column("embedding", sa.ARRAY(sa.REAL)),
    sa.PrimaryKeyConstraint("owner", "fingerprint"),
    sa.Index(
        "ix_winner_memory_embedding",
        sa.literal_column("(embedding::halfvec(256))", sa.Text).label("direction"),
        postgresql_using="hnsw",
        postgresql_ops={"direction": "halfvec_cosine_ops"},
        postgresql_where=sa.text("left_on IS NULL"),
    ),
)
"""The newest look at every creative that is or was a member, renewed with the looks. `embedding`: 256 numbers, NULL without text, of the
creative as `creative_dna` of `dna_version` has it. The index by similarity is there only where pgvector is: see `store.memory`."""

account_insights = sa.Table(
    "account_insights",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    *(sa.Column(name, _TEXT, primary_key=True) for name in ("owner", "attribute", "value", "metric")),
    *_columns(INSIGHTS, without=("owner", "attribute", "value", "metric"), required=("log_ratio",)),
)
"""The columns of `learning.wisdom.INSIGHTS`: what leaves the owners that consent."""

_CELL = ("scope", "niche", "attribute", "value", "metric")

niche_patterns = sa.Table(
    "niche_patterns",
    metadata,
    _column("as_of", _DAY, required=True),
    *_columns(WISDOM, required=("scope", "attribute", "value", "metric", "status")),
    _key("as_of", *_CELL),
)
"""The columns of `learning.wisdom.WISDOM`: what everybody may be told of the niches."""

wisdom_cells = sa.Table(
    "wisdom_cells",
    metadata,
    _column("as_of", _DAY, required=True),
    *_columns(CELLS, without=tuple(name for name in WISDOM if name not in _CELL), required=("changed",)),
    _key("as_of", *_CELL),
)
"""What `learning.wisdom.CELLS` has beside `niche_patterns`; the pipeline's own."""

wisdom_groups = sa.Table(
    "wisdom_groups",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    sa.Column("group", _INT, primary_key=True, autoincrement=False),
    *_columns(GROUPS, without=("group",), required=("attribute", "value", "metric", "owners", "mean", "spread")),
)
"""The columns of `learning.wisdom.GROUPS`; the pipeline's own."""

wisdom_members = sa.Table(
    "wisdom_members",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    *(sa.Column(name, _TEXT, primary_key=True) for name in ("owner", "attribute", "value", "metric")),
    *_columns(MEMBERS, without=("owner", "attribute", "value", "metric"), required=("entered_on",)),
)
"""The columns of `learning.wisdom.MEMBERS`: who stands in which group."""

models = sa.Table(
    "models",
    metadata,
    sa.Column("model_id", _TEXT, primary_key=True),
    _column("as_of", _DAY, required=True),
    _column("owner", _TEXT),
    _column("target", _TEXT, required=True),
    _column("pool", _TEXT, required=True),
    _column("trained_from", _DAY, required=True),
    _column("trained_until", _DAY, required=True),
    _column("holdout_until", _DAY, required=True),
    _column("ad_days", _INT, required=True),
    _column("ads", _INT, required=True),
    _column("seconds", _REAL, required=True),
    _column("code_version", _TEXT, required=True),
    _column("features_hash", _TEXT, required=True),
    _column("facts_version", _TEXT, required=True),
    sa.Column("card", pg.JSONB, nullable=False),
    sa.Index(None, "as_of"),
)

champions = sa.Table(
    "champions",
    metadata,
    _column("as_of", _DAY, required=True),
    _column("owner", _TEXT),
    _column("target", _TEXT, required=True),
    _column("pool", _TEXT, required=True),
    _column("status", _TEXT, required=True),
    _column("reason", _TEXT, required=True),
    _column("model_id", _TEXT),
    _column("challenger_id", _TEXT),
    sa.Column("triggers", pg.JSONB, nullable=False),
    sa.Column("verdict", pg.JSONB),
    _column("seconds", _REAL),
    _key("as_of", "target", "pool"),
)
"""The pointer and its history: one row a day, target and pool. `model_id` is the champion in force, NULL where none has won yet. `status` is
that of `retrained_model`, or `rolled_back` where a person put the champion back on that day."""

champion_rollbacks = sa.Table(
    "champion_rollbacks",
    metadata,
    sa.Column("target", _TEXT, primary_key=True),
    sa.Column("pool", _TEXT, primary_key=True),
    sa.Column("number", _INT, primary_key=True, autoincrement=False),
    _column("as_of", _DAY, required=True),
    _column("owner", _TEXT),
    *(_column(name, _TEXT, required=True) for name in ("from_model_id", "to_model_id", "said_by", "why")),
    _moment("at"),
)
"""Append-only: who put an earlier champion back, when and why. `number` counts those of a target and pool; `as_of` is the day whose
pointer was moved, the newest then. The last one of a day holds on that day however often it is decided anew."""

click_hours = sa.Table(
    "click_hours",
    metadata,
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("date", _DAY, primary_key=True),
    _column("as_of", _DAY, required=True),
    _column("owner", _TEXT, required=True),
    sa.Column("hour", sa.ARRAY(_INT), nullable=False),
    sa.Column("clicks", sa.ARRAY(_INT), nullable=False),
    sa.Column("flat", sa.ARRAY(_REAL), nullable=False),
    sa.Index(None, "as_of"),
)
"""Finished hours that were predicted, one row per account and local date: the columns of `learning.drift.hourly`, hours in order. `as_of` is the day
that found them finished; the key says that no hour is ever judged twice."""

click_drift = sa.Table(
    "click_drift",
    metadata,
    _column("as_of", _DAY, required=True),
    _column("owner", _TEXT),
    _column("target", _TEXT, required=True),
    _column("pool", _TEXT, required=True),
    _column("model_id", _TEXT),
    _column("evidence", _REAL),
    _column("change", _REAL),
    sa.Column("alarms", sa.ARRAY(_INT), nullable=False),
    _column("reason", _TEXT),
    sa.Column("state", pg.JSONB, nullable=False),
    _key("as_of", "target", "pool"),
)
"""Whether clicks leave what a pool's champion (`model_id`) expects: what the day's hours did to its detector (`learning.drift.Day`), and its
state after the day. `target` is ctr, since hours know clicks only. `evidence` is the day's peak, hours, and `change` what it speaks for; NULL, with
the `reason`, where no hour was judged. `alarms` are hours of the day, 0 to 23."""

purchase_signals = sa.Table(
    "purchase_signals",
    metadata,
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("signal_id", _TEXT, primary_key=True),
    _column("owner", _TEXT, required=True),
    _column("received_no", _INT, required=True),
    _column("received_on", _DAY, required=True),
    _moment("received_at"),
    _moment("at"),
    _column("creative_id", _TEXT),
    _column("ad_id", _TEXT),
    _column("value_micros", _INT),
    _column("currency", _TEXT),
    _column("source", _TEXT, required=True),
    sa.Index(None, "received_no"),
    sa.Index(None, "received_on"),
)
"""Append-only: purchases that somebody told of. `signal_id` is the teller's own; `received_no` counts them in the order in which they could be
read, `received_on` is the date in UTC of `received_at`; `at` is when the purchase was made, as the teller says."""

prediction_comparisons = sa.Table(
    "prediction_comparisons",
    metadata,
    _column("as_of", _DAY, required=True),
    _column("revision", _INT, required=True),
    _column("owner", _TEXT),
    _column("pool", _TEXT, required=True),
    _column("account_id", _TEXT),
    _column("segment", _TEXT, required=True),
    _column("segment_value", _TEXT),
    _column("model", _TEXT, required=True),
    _column("metric", _TEXT, required=True),
    _column("horizon_days", _INT, required=True),
    _column("made", _TEXT, required=True),
    *_columns(MEASURES, required=("status",)),
    _key("as_of", "pool", "account_id", "segment", "segment_value", "model", "metric", "horizon_days", "made"),
)
"""The columns of `learning.accuracy.MEASURES`. `account_id` NULL is the whole pool; `segment` `all` is every ad, else what the ads have in
common (hook type, template, audience), by `segment_value`. `horizon_days`: from the newest fact behind a prediction to its day."""

accuracy_alerts = sa.Table(
    "accuracy_alerts",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    sa.Column("pool", _TEXT, primary_key=True),
    sa.Column("revision", _INT, primary_key=True),
    _column("owner", _TEXT),
    _column("metric", _TEXT, required=True),
    _column("triggers", _TEXT, required=True),
    _column("cause", _TEXT, required=True),
    _column("share", _REAL),
    _moment("sent_at"),
)
"""Append-only: which drops of accuracy people were told of, by day, pool and `prediction_comparisons.revision`. `metric`: the first that dropped;
`triggers`: names with commas; `cause` and `share` as `learning.causes.Cause`. No accounts, since a pool's rows belong to nobody."""

experiment_arms = sa.Table(
    "experiment_arms",
    metadata,
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("experiment_id", _TEXT, primary_key=True),
    sa.Column("ad_id", _TEXT, primary_key=True),
    _column("owner", _TEXT, required=True),
    _column("planned_share", _REAL),
    _column("starts_on", _DAY, required=True),
    _column("ends_on", _DAY),
    _column("defined_by", _TEXT, required=True),
    _moment("at"),
)
"""Arms of experiments that people defined. `planned_share`: the arm's planned part of the impressions, 0 to 1, NULL where none was planned.
`ends_on`: the last day, NULL while it goes on. A row that is told again replaces the one before."""

promotion_evidence = sa.Table(
    "promotion_evidence",
    metadata,
    _column("as_of", _DAY, required=True),
    _column("owner", _TEXT, required=True),
    _column("account_id", _TEXT, required=True),
    _column("experiment_id", _TEXT, required=True),
    _column("metric", _TEXT, required=True),
    _column("ad_id", _TEXT, required=True),
    _column("other_id", _TEXT, required=True),
    _column("date", _DAY, required=True),
    sa.Column("log_likelihood", sa.ARRAY(sa.Double), nullable=False),
    _column("hours", _INT, required=True),
    _column("dispersion", _REAL, required=True),
    _column("exposure", _REAL, required=True),
    _column("other_exposure", _REAL, required=True),
    _column("events", _INT, required=True),
    _column("other_events", _INT, required=True),
    _column("information", _REAL, required=True),
    _column("excess", _REAL, required=True),
    _column("facts_version", _TEXT),
    _key("as_of", "account_id", "experiment_id", "metric", "ad_id", "other_id", "date"),
    sa.Index(None, "account_id", "experiment_id"),
)
"""What a local day's finished hours say about a pair of arms: the columns of `learning.sequential.PAIR_DAYS`, by `metric` (ctr, or cvr for conversions
per impression). A restated day gets a new row under the `as_of` of the cycle that saw it first; the newest counts, and one without hours says
that nothing is left of it. `facts_version`: of the hours that it was made from, NULL of days."""

promotion_decisions = sa.Table(
    "promotion_decisions",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    sa.Column("revision", _INT, primary_key=True),
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("experiment_id", _TEXT, primary_key=True),
    _column("decision_id", _TEXT, required=True),
    _column("owner", _TEXT, required=True),
    _moment("decided_at"),
    _column("replayed", _BOOL, required=True),
    _column("status", _TEXT, required=True),
    _column("event", _TEXT),
    _column("reason", _TEXT, required=True),
    _column("evidence", _TEXT, required=True),
    _column("guard", _TEXT),
    _column("metric", _TEXT),
    _column("ad_id", _TEXT),
    _column("other_id", _TEXT),
    *(_column(name, _REAL) for name in ("log_e", "log_threshold", "anytime_p", "lift", "lift_low", "lift_high")),
    *(_column(name, _REAL) for name in ("shrunk_lift", "shrunk_low", "shrunk_high", "naive_p")),
    _column("naive", _TEXT),
    *(_column(name, _INT) for name in ("arms", "days", "hours", "impressions", "link_clicks", "conversions")),
    _column("evidence_from", _DAY, required=True),
    _column("promoted_on", _DAY),
    _column("moved_ad_id", _TEXT),
    _column("before_micros", _INT),
    _column("stage", _INT),
    _column("reached_on", _DAY),
    _column("move", _TEXT),
    _column("move_reason", _TEXT),
    _column("budget_share", _REAL),
    _column("wanted_micros", _INT),
    _column("currency", _TEXT),
    sa.Index(None, "decision_id"),
)
"""Append-only: what was decided about every experiment on a day. The newest revision of a day counts; earlier ones, and those of days that were
replayed since, are kept.

`status`: continue_testing, promoted, insufficient_data, blocked or cannot_isolate; `event`: promoted or demoted on this very day. `evidence`: randomized
or observational. `ad_id`: the
winner, or the arm that leads, against its closest rival `other_id`; lifts are log ratios of `metric` between the two (`learning.sequential`).
`naive`: what a plain z-test would have decided. `evidence_from`, `promoted_on`, `moved_ad_id`, `before_micros`, `stage`, `reached_on`: the columns of
`learning.promoting.STATE`. `move`, `move_reason`, `budget_share`, `wanted_micros`: where the budget stands and goes (`learning.stages`)."""

budget_wishes = sa.Table(
    "budget_wishes",
    metadata,
    sa.Column("decision_id", _TEXT, primary_key=True),
    sa.Column("entity_id", _TEXT, primary_key=True),
    _column("account_id", _TEXT, required=True),
    _column("owner", _TEXT, required=True),
    _column("entity_kind", _TEXT, required=True),
    _column("currency", _TEXT, required=True),
    _column("expected_micros", _INT, required=True),
    _column("wanted_micros", _INT, required=True),
    _column("kind", _TEXT, required=True),
    _moment("decided_at"),
    _column("as_of", _DAY, required=True),
    _column("reason", _TEXT, required=True),
    _column("lift", _REAL),
    _column("share", _REAL),
    sa.Index(None, "decided_at"),
    sa.Index(None, "account_id", "as_of"),
)
"""Append-only: budgets that decisions ask for; whether and how they are carried out is not decided here. Every revision of a day's decisions asks again
for what was not carried out.

`entity_kind`: `ad_set` or `campaign`, the owner of the budget, `entity_id`. `expected_micros`: the day's budget as it was known, which it must still
be; `wanted_micros`: the absolute budget that is asked for, both in micros of `currency`. `kind`: promotion, demotion, bandit or undo. `as_of`: the
decision's day. `lift`: the shrunk log lift that the step rests on, NULL where none is; `share`: the part of the experiment's budget that
the entity would have, 0 to 1."""

arming = sa.Table(
    "arming",
    metadata,
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("number", _INT, primary_key=True, autoincrement=False),
    _column("owner", _TEXT, required=True),
    _column("armed", _BOOL, required=True),
    _column("bandit", _BOOL, required=True),
    *(_column(name, _INT) for name in ("cap_entity_micros", "cap_account_micros", "cap_month_micros")),
    _column("currency", _TEXT),
    *(_column(name, _TEXT, required=True) for name in ("said_by", "why")),
    _moment("at"),
)
"""Append-only: who armed or disarmed an account, with which caps; the highest `number` is in force. Caps are micros of `currency`: the largest daily
budget of one entity; of all entities together whose budgets were moved; and what raises of a calendar month may add to its spend."""

acting_switch = sa.Table(
    "acting_switch",
    metadata,
    sa.Column("number", _INT, primary_key=True, autoincrement=False),
    _column("killed", _BOOL, required=True),
    *(_column(name, _TEXT, required=True) for name in ("said_by", "why")),
    _moment("at"),
)
"""Append-only: the kill switch over all accounts; the highest `number` is in force."""

protected_entities = sa.Table(
    "protected_entities",
    metadata,
    sa.Column("entity_id", _TEXT, primary_key=True),
    sa.Column("number", _INT, primary_key=True, autoincrement=False),
    *(_column(name, _TEXT, required=True) for name in ("account_id", "owner", "said_by")),
    _column("protected", _BOOL, required=True),
    _moment("at"),
)
"""Append-only: ad sets and campaigns whose budgets are never moved; the highest `number` of an id is in force."""

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("decision_id", _TEXT, primary_key=True),
    sa.Column("entity_id", _TEXT, primary_key=True),
    _column("account_id", _TEXT, required=True),
    _column("owner", _TEXT, required=True),
    _column("wanted_micros", _INT, required=True),
    _column("said_by", _TEXT, required=True),
    _moment("at"),
)
"""Append-only: raises that a person approved. An approval holds for the entity and up to `wanted_micros`, also where a later decision asks again."""

budget_changes = sa.Table(
    "budget_changes",
    metadata,
    sa.Column("entity_id", _TEXT, primary_key=True),
    sa.Column("decision_day", _DAY, primary_key=True),
    sa.Column("number", _INT, primary_key=True, autoincrement=False),
    _column("change_id", _TEXT, required=True),
    *(
        _column(name, _TEXT, required=True)
        for name in ("account_id", "owner", "entity_kind", "currency", "kind", "decision_id", "status")
    ),
    *(_column(name, _INT, required=True) for name in ("before_micros", "after_micros")),
    _column("read_micros", _INT),
    _column("undoes", _TEXT),
    *(_column(name, _TEXT, required=True) for name in ("said_by", "why")),
    _column("settled_why", _TEXT),
    _moment("intent_at"),
    *(_moment(name, required=False) for name in ("validated_at", "sent_at", "settled_at")),
    sa.Index(None, "change_id"),
    sa.Index(None, "account_id", "intent_at"),
)
"""The ledger of budgets that were moved, written before each call. `decision_day` is the decision's day; its decision has `number` 0, and undoing counts
on. `status`: intent, validated, sent, applied, failed or unknown. A row's numbers never change; its status goes one way and its moments are
filled in. `read_micros`: the budget as it was read back. `undoes`: the change that is taken back."""

wish_outcomes = sa.Table(
    "wish_outcomes",
    metadata,
    sa.Column("decision_id", _TEXT, primary_key=True),
    sa.Column("entity_id", _TEXT, primary_key=True),
    sa.Column("number", _INT, primary_key=True, autoincrement=False),
    _column("account_id", _TEXT, required=True),
    _column("owner", _TEXT, required=True),
    _column("outcome", _TEXT, required=True),
    _column("guard", _TEXT),
    _column("reason", _TEXT, required=True),
    _column("change_id", _TEXT),
    _moment("at"),
    sa.Index(None, "account_id", "at"),
)
"""Append-only: what became of each budget that a decision asked for, each time that it was looked at and something else came of it. `outcome`: dry_run,
blocked, applied, failed or unknown; `guard`: which one refused."""

_ARM = ("account_id", "experiment_id", "ad_id", "metric")

thompson_arms = sa.Table(
    "thompson_arms",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    *(sa.Column(name, _TEXT, primary_key=True) for name in _ARM),
    _column("owner", _TEXT, required=True),
    *_columns(BANDIT, without=_ARM, required=("settled_until", "events", "exposure", "live", "last_live", "origin")),
    sa.Index(None, "account_id", "experiment_id", "as_of"),
)
"""The columns of `learning.bandit.STATE`, by arm and reward (`metric`); every day holds every arm that is remembered."""

ad_fatigue = sa.Table(
    "ad_fatigue",
    metadata,
    sa.Column("as_of", _DAY, primary_key=True),
    sa.Column("account_id", _TEXT, primary_key=True),
    sa.Column("ad_id", _TEXT, primary_key=True),
    _column("owner", _TEXT, required=True),
    *_columns(FATIGUE, without=("account_id", "ad_id"), required=("state", "reason", "ruled_out")),
)
"""Which ads tire, one row per ad that delivered on the day: the columns of `learning.fatigue.FATIGUE`."""

improvement_snapshots = sa.Table(
    "improvement_snapshots",
    metadata,
    *_columns(GROWTH, without=("account_id",), required=("as_of", "status", "reason")),
    _column("owner", _TEXT),
    _column("account_id", _TEXT),
    _column("currency", _TEXT),
    *(_column(name, _INT) for name in ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")),
    *(_column(name, _REAL) for name in ("ctr", "cvr", "roas")),
    *(_column(name, _INT) for name in ("ads", "patterns", "active_patterns", "models")),
    _key("as_of", "account_id"),
)
"""The day's totals, what is known by then, and the columns of `learning.growth.GROWTH`. `account_id` NULL is the figure over all accounts,
of unit-free measures only."""

learning_cycle_log = sa.Table(
    "learning_cycle_log",
    metadata,
    sa.Column("run_id", _TEXT, primary_key=True),
    _column("job", _TEXT, required=True),
    _column("partition_day", _DAY),
    _column("status", _TEXT, required=True),
    _column("cause", _TEXT),
    _moment("started_at", required=False),
    _moment("ended_at", required=False),
    _column("seconds", _REAL),
    _column("error", _TEXT),
    _column("written_by", _TEXT, required=True),
    _moment("written_at"),
    sa.Index(None, "partition_day"),
)
"""Append-only under the run's id: failed runs are there too."""
