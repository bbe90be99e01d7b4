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
    for table in ("budget_wishes", "experiment_arms"):
        op.drop_table(table)
