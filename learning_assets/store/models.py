"""The registry's artifacts: what a trained model is on disk. Which model is in force stands in the table `champions`.

An artifact is a folder of plain files (no pickles), written under a temporary name and renamed, so that a model exists whole or not
at all.
"""

import glob
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path


class ModelError(Exception):
    """A model's artifact cannot be read; the message names it and the remedy."""


class Artifacts:
    """Folders of trained models below `root`, by model id."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(self, model_id: str, write: Callable[[Path], None]) -> Path:
        """Let `write` fill a folder, then give it its name; an artifact of that name is replaced where it differs.

        What killed processes left of the same model is removed.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        for left_over in self._root.glob(f".{glob.escape(model_id)}.*"):
            shutil.rmtree(left_over)
        draft = self._root / f".{model_id}.{uuid.uuid4().hex}"
        draft.mkdir()
        try:
            write(draft)
            final = self._root / model_id
            # A model that may be in force is not taken away for a moment only to be put back as it was.
            if final.exists() and _files(final) == _files(draft):
                return final
            if final.exists():
                final.rename(draft.with_suffix(".old"))
            draft.rename(final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(draft.with_suffix(".old"), ignore_errors=True)
        return final

    def folder(self, model_id: str) -> Path:
        """Where a model is kept.

        Raises
        ------
        ModelError : there is no such artifact.
        """
        found = self._root / model_id
        if not found.is_dir():
            raise ModelError(
                f"The artifact of model {model_id} is not in {self._root}. Train again with `learning-assets replay`."
            )
        return found


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
