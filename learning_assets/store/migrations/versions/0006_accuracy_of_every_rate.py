"""Accuracy of every rate at every horizon, with the share of late events that is known

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLE, _KEY = "prediction_comparisons", "uq_prediction_comparisons"
_OF = ("as_of", "pool", "account_id", "segment", "segment_value", "model", "metric")


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("horizon_days", sa.BigInteger(), nullable=False, server_default="1"))
    op.alter_column(_TABLE, "horizon_days", server_default=None)
    op.add_column(_TABLE, sa.Column("share_known", sa.Double(), nullable=True))
    op.alter_column(_TABLE, "actual", type_=sa.Double())
    op.drop_constraint(_KEY, _TABLE)
    op.create_unique_constraint(_KEY, _TABLE, [*_OF, "horizon_days", "made"], postgresql_nulls_not_distinct=True)


def downgrade() -> None:
    op.execute(sa.text(f"DELETE FROM {_TABLE} WHERE horizon_days <> 1 OR metric <> 'ctr'"))
    op.drop_constraint(_KEY, _TABLE)
    op.create_unique_constraint(_KEY, _TABLE, [*_OF, "made"], postgresql_nulls_not_distinct=True)
    op.alter_column(_TABLE, "actual", type_=sa.BigInteger())
    op.drop_column(_TABLE, "share_known")
    op.drop_column(_TABLE, "horizon_days")
