"""Alembic's entry: runs the revisions on the connection that `migrate` gives."""

from alembic import context

from learning_assets.store.migrations import VERSION_TABLE
from learning_assets.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
