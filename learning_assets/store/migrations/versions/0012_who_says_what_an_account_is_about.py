"""Who says what an account is about, and how surely

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ADDED = (
    ("confidence", sa.Double()),
    ("second_niche", sa.Text()),
    ("second_confidence", sa.Double()),
    ("sub_niche", sa.Text()),
    ("texts", sa.BigInteger()),
    ("creatives", sa.BigInteger()),
    ("version", sa.Text()),
)


def upgrade() -> None:
    # Until now only people said it.
    op.add_column("account_niches", sa.Column("source", sa.Text(), nullable=False, server_default="human"))
    op.alter_column("account_niches", "source", server_default=None)
    for name, kind in _ADDED:
        op.add_column("account_niches", sa.Column(name, kind, nullable=True))
    op.drop_constraint("pk_account_niches", "account_niches", type_="primary")
    op.create_primary_key("pk_account_niches", "account_niches", ["account_id", "at", "source"])


def downgrade() -> None:
    op.execute("DELETE FROM account_niches WHERE source <> 'human'")
    op.drop_constraint("pk_account_niches", "account_niches", type_="primary")
    op.create_primary_key("pk_account_niches", "account_niches", ["account_id", "at"])
    for name, _ in _ADDED:
        op.drop_column("account_niches", name)
    op.drop_column("account_niches", "source")
