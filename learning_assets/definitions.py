"""The code location."""

from learning_assets.build import build_definitions

defs = build_definitions()
