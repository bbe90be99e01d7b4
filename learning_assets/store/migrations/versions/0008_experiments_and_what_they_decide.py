"""Experiments that people define, their evidence and decisions, and the budgets that decisions ask for

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment_arms",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("ad_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("planned_share", sa.Double(), nullable=True),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("defined_by", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "experiment_id", "ad_id", name=op.f("pk_experiment_arms")),
    )
    op.create_table(
        "promotion_evidence",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("ad_id", sa.Text(), nullable=False),
        sa.Column("other_id", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("log_likelihood", sa.ARRAY(sa.Double()), nullable=False),
        sa.Column("hours", sa.BigInteger(), nullable=False),
        sa.Column("dispersion", sa.Double(), nullable=False),
        sa.Column("exposure", sa.Double(), nullable=False),
        sa.Column("other_exposure", sa.Double(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("other_events", sa.BigInteger(), nullable=False),
        sa.Column("information", sa.Double(), nullable=False),
        sa.Column("excess", sa.Double(), nullable=False),
        sa.Column("facts_version", sa.Text(), nullable=True),
        sa.UniqueConstraint(
            *("as_of", "account_id", "experiment_id", "metric", "ad_id", "other_id", "date"),
            name="uq_promotion_evidence",
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(
        op.f("ix_promotion_evidence_account_id_experiment_id"), "promotion_evidence", ["account_id", "experiment_id"]
    )
    op.create_table(
        "promotion_decisions",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replayed", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("guard", sa.Text(), nullable=True),
        sa.Column("metric", sa.Text(), nullable=True),
        sa.Column("ad_id", sa.Text(), nullable=True),
        sa.Column("other_id", sa.Text(), nullable=True),
        sa.Column("log_e", sa.Double(), nullable=True),
        sa.Column("log_threshold", sa.Double(), nullable=True),
        sa.Column("anytime_p", sa.Double(), nullable=True),
        sa.Column("lift", sa.Double(), nullable=True),
        sa.Column("lift_low", sa.Double(), nullable=True),
        sa.Column("lift_high", sa.Double(), nullable=True),
        sa.Column("shrunk_lift", sa.Double(), nullable=True),
        sa.Column("shrunk_low", sa.Double(), nullable=True),
        sa.Column("shrunk_high", sa.Double(), nullable=True),
        sa.Column("naive_p", sa.Double(), nullable=True),
        sa.Column("naive", sa.Text(), nullable=True),
        sa.Column("arms", sa.BigInteger(), nullable=True),
        sa.Column("days", sa.BigInteger(), nullable=True),
        sa.Column("hours", sa.BigInteger(), nullable=True),
        sa.Column("impressions", sa.BigInteger(), nullable=True),
        sa.Column("link_clicks", sa.BigInteger(), nullable=True),
        sa.Column("conversions", sa.BigInteger(), nullable=True),
        sa.Column("evidence_from", sa.Date(), nullable=False),
        sa.Column("promoted_on", sa.Date(), nullable=True),
        sa.Column("moved_ad_id", sa.Text(), nullable=True),
        sa.Column("before_micros", sa.BigInteger(), nullable=True),
        sa.Column("stage", sa.BigInteger(), nullable=True),
        sa.Column("reached_on", sa.Date(), nullable=True),
        sa.Column("move", sa.Text(), nullable=True),
        sa.Column("move_reason", sa.Text(), nullable=True),
        sa.Column("budget_share", sa.Double(), nullable=True),
        sa.Column("wanted_micros", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("as_of", "revision", "account_id", "experiment_id", name=op.f("pk_promotion_decisions")),
    )
    op.create_index(op.f("ix_promotion_decisions_decision_id"), "promotion_decisions", ["decision_id"])
    op.create_table(
        "budget_wishes",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("entity_kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("expected_micros", sa.BigInteger(), nullable=False),
        sa.Column("wanted_micros", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("lift", sa.Double(), nullable=True),
        sa.Column("share", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("decision_id", "entity_id", name=op.f("pk_budget_wishes")),
    )
    op.create_index(op.f("ix_budget_wishes_decided_at"), "budget_wishes", ["decided_at"])
    op.create_index(op.f("ix_budget_wishes_account_id_as_of"), "budget_wishes", ["account_id", "as_of"])


def downgrade() -> None:
    for table in ("budget_wishes", "promotion_decisions", "promotion_evidence", "experiment_arms"):
        op.drop_table(table)
