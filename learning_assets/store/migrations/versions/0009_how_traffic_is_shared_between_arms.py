"""What is known of the arms of experiments, and how traffic is shared between them

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY = ("account_id", "experiment_id", "ad_id", "metric")
_COUNTS = ("settled_events", "settled_exposure", "events", "exposure", "day_events", "day_exposure")
_POSTERIOR = ("prior_rate", "prior_strength", "alpha", "beta", "rate", "rate_low", "rate_high")


def upgrade() -> None:
    op.create_table(
        "thompson_arms",
        sa.Column("as_of", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _KEY),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("settled_until", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=name not in ("events", "exposure")) for name in _COUNTS),
        *(sa.Column(name, sa.Double(), nullable=True) for name in _POSTERIOR),
        sa.Column("prior_from", sa.Text(), nullable=True),
        sa.Column("p_best", sa.Double(), nullable=True),
        sa.Column("share", sa.Double(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("last_live", sa.Date(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("ad_set_id", sa.Text(), nullable=True),
        sa.Column("budget_owner", sa.Text(), nullable=True),
        sa.Column("isolated", sa.Boolean(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        *(
            sa.Column(name, sa.BigInteger(), nullable=True)
            for name in ("unit_micros", "budget_micros", "target_micros", "wanted_micros")
        ),
        sa.Column("budget_note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("as_of", *_KEY, name=op.f("pk_thompson_arms")),
    )
    op.create_index(
        op.f("ix_thompson_arms_account_id_experiment_id_as_of"), "thompson_arms", ["account_id", "experiment_id", "as_of"]
    )


def downgrade() -> None:
    op.drop_table("thompson_arms")
