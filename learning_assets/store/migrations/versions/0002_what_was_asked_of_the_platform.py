"""What was asked of the platform, page by page, and how late conversions become known

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ASKED = {
    "pages": sa.BigInteger(),
    "requests": sa.BigInteger(),
    "requested_at": sa.DateTime(timezone=True),
    "job_id": sa.Text(),
    "api_version": sa.Text(),
    "throttle_pct": sa.Double(),
}


def upgrade() -> None:
    for name, kind in _ASKED.items():
        op.add_column("fetch_manifest", sa.Column(name, kind, nullable=True))
    op.create_table(
        "conversion_lags",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("age_days", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("days", sa.BigInteger(), nullable=False),
        sa.Column("conversions", sa.BigInteger(), nullable=False),
        sa.Column("factor", sa.Double(), nullable=True),
        sa.Column("share_known", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("as_of", "account_id", "age_days", name=op.f("pk_conversion_lags")),
    )


def downgrade() -> None:
    op.drop_table("conversion_lags")
    for name in _ASKED:
        op.drop_column("fetch_manifest", name)
