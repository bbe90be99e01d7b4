"""Asset checks: what must hold of a day that was written. Blocking ones stop what rests on it."""

import warnings

from dagster import PreviewWarning

# Partitioned asset checks are marked as a preview in Dagster 1.13; the bounds in pyproject.toml hold it to that version.
warnings.filterwarnings("ignore", message="Specifying a partitions_def on an AssetCheckSpec", category=PreviewWarning)
