"""The one partitioning: a calendar date. Rows carry their account's local date, so tomorrow's label exists for accounts ahead of UTC."""

from dagster import DailyPartitionsDefinition

from learning_assets.opening import open_identity
from learning_assets.settings import Settings

DAILY = DailyPartitionsDefinition(start_date=open_identity(Settings()).start_day.isoformat(), end_offset=2)
"""From the store's first day until tomorrow."""
