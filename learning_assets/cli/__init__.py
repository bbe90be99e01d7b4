"""The command `learning-assets`: what a person does outside the Dagster UI.

Commands print plain words and end with 0, or with 1 and the remedy. Each module holds the commands of one kind; `terminal` is what they
share. What does not belong here: anything that an asset or a job could do.
"""

from learning_assets.cli import accounts, asking, deciding, learning, reporting, telling, terminal
from learning_assets.cli.terminal import app

__all__ = ["accounts", "app", "asking", "deciding", "learning", "reporting", "telling", "terminal"]
