"""What moves champions and looks from outside: purchase signals, and champions that were put back

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LOOKS = ("winner_looks", "winner_memory")


def upgrade() -> None:
    op.create_table(
        "purchase_signals",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("signal_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("received_no", sa.BigInteger(), nullable=False),
        sa.Column("received_on", sa.Date(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("creative_id", sa.Text(), nullable=True),
        sa.Column("ad_id", sa.Text(), nullable=True),
        sa.Column("value_micros", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "signal_id", name=op.f("pk_purchase_signals")),
    )
    op.create_index(op.f("ix_purchase_signals_received_no"), "purchase_signals", ["received_no"])
    op.create_index(op.f("ix_purchase_signals_received_on"), "purchase_signals", ["received_on"])
    op.create_table(
        "champion_rollbacks",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("from_model_id", sa.Text(), nullable=False),
        sa.Column("to_model_id", sa.Text(), nullable=False),
        sa.Column("said_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("target", "pool", "number", name=op.f("pk_champion_rollbacks")),
    )
    for table in _LOOKS:
        op.add_column(table, sa.Column("cause", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("signal_looks", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for table in _LOOKS:
        op.drop_column(table, "signal_looks")
        op.drop_column(table, "cause")
    op.drop_table("champion_rollbacks")
    for column in ("received_on", "received_no"):
        op.drop_index(op.f(f"ix_purchase_signals_{column}"), table_name="purchase_signals")
    op.drop_table("purchase_signals")
