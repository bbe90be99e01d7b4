"""Stores that benchmarks make below temporary folders."""

import shutil
from pathlib import Path


def remove(home: Path) -> None:
    """Stop a store's embedded server and remove the store."""
    from learning_assets.store.embedded import EmbeddedPostgres

    server = EmbeddedPostgres(home)
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
