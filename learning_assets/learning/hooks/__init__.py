"""Which hook an ad opens with: the types (`types`), the rules for each (`rules`), and the labels of texts (`labels`).

What does not belong here: any other measure of a text (`dna`).
"""

from learning_assets.learning.hooks.labels import RANKING, SAID, above, combine, confidence, label, normalised
from learning_assets.learning.hooks.rules import MONEY, RULES
from learning_assets.learning.hooks.types import DEFINITIONS, HOOK_TYPES, UNKNOWN, HookType, Source

VERSION = "2"

__all__ = [
    "DEFINITIONS",
    "HOOK_TYPES",
    "MONEY",
    "RANKING",
    "RULES",
    "SAID",
    "UNKNOWN",
    "VERSION",
    "HookType",
    "Source",
    "above",
    "combine",
    "confidence",
    "label",
    "normalised",
]
