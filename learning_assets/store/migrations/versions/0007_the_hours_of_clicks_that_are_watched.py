"""The hours of clicks that are watched, and the detectors that watch them

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "click_hours",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("hour", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("clicks", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("flat", sa.ARRAY(sa.Double()), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "date", name=op.f("pk_click_hours")),
    )
    op.create_index(op.f("ix_click_hours_as_of"), "click_hours", ["as_of"])
    op.create_table(
        "click_drift",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Double(), nullable=True),
        sa.Column("change", sa.Double(), nullable=True),
        sa.Column("alarms", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.UniqueConstraint("as_of", "target", "pool", name="uq_click_drift", postgresql_nulls_not_distinct=True),
    )


def downgrade() -> None:
    op.drop_table("click_drift")
    op.drop_index(op.f("ix_click_hours_as_of"), table_name="click_hours")
    op.drop_table("click_hours")
