"""Which ads tire

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ad_fatigue",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("ad_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("ruled_out", sa.ARRAY(sa.Text()), nullable=False),
        *(sa.Column(name, sa.Date(), nullable=True) for name in ("baseline_from", "baseline_until")),
        *(
            sa.Column(name, sa.BigInteger(), nullable=True)
            for name in ("impressions_then", "link_clicks_then", "impressions_now", "link_clicks_now")
        ),
        *(sa.Column(name, sa.Double(), nullable=True) for name in ("ctr_then", "ctr_now", "log_change", "low", "high")),
        sa.Column("account_ads", sa.BigInteger(), nullable=True),
        *(
            sa.Column(name, sa.Double(), nullable=True)
            for name in (
                *("account_log_change", "beyond_account", "beyond_low", "beyond_high"),
                *("frequency_then", "frequency_now", "cost_ratio", "day_noise"),
            )
        ),
        sa.PrimaryKeyConstraint("as_of", "account_id", "ad_id", name=op.f("pk_ad_fatigue")),
    )


def downgrade() -> None:
    op.drop_table("ad_fatigue")
