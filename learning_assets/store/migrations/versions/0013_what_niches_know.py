"""What niches know, and what stands behind it

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account_insights",
        sa.Column("as_of", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("owner", "attribute", "value", "metric")),
        sa.Column("niche", sa.Text(), nullable=True),
        sa.Column("log_ratio", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "owner", "attribute", "value", "metric", name=op.f("pk_account_insights")),
    )
    cell = ("scope", "niche", "attribute", "value", "metric")
    op.create_table(
        "niche_patterns",
        sa.Column("as_of", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=name == "niche") for name in (*cell, "status")),
        *(sa.Column(name, sa.Double(), nullable=True) for name in ("log_ratio", "low", "high")),
        sa.Column("owners", sa.Text(), nullable=True),
        sa.Column("released_on", sa.Date(), nullable=True),
        sa.UniqueConstraint("as_of", *cell, name="uq_niche_patterns", postgresql_nulls_not_distinct=True),
    )
    op.create_table(
        "wisdom_cells",
        sa.Column("as_of", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in cell),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("as_of", *cell, name="uq_wisdom_cells", postgresql_nulls_not_distinct=True),
    )
    op.create_table(
        "wisdom_groups",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("group", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("niche", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("attribute", "value", "metric")),
        sa.Column("owners", sa.BigInteger(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("spread", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "group", name=op.f("pk_wisdom_groups")),
    )
    op.create_table(
        "wisdom_members",
        sa.Column("as_of", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("owner", "attribute", "value", "metric")),
        sa.Column("group", sa.BigInteger(), nullable=True),
        sa.Column("entered_on", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "owner", "attribute", "value", "metric", name=op.f("pk_wisdom_members")),
    )


def downgrade() -> None:
    for table in ("wisdom_members", "wisdom_groups", "wisdom_cells", "niche_patterns", "account_insights"):
        op.drop_table(table)
