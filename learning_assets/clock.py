"""The one clock: the wall, or `LEARNING_NOW`, so that a day can be lived again. Every age and cool-down asks here."""

from datetime import UTC, date, datetime, timedelta

from learning_assets.settings import Settings


def now(settings: Settings) -> datetime:
    """The present moment in UTC."""
    return settings.clock or datetime.now(UTC)


def today(settings: Settings) -> date:
    """The present date in UTC."""
    return now(settings).date()


def days_between(first: date, last: date, step: int = 1) -> list[date]:
    """Dates from `first` to `last`, both included, every `step` days; empty where `last` is before `first`."""
    return [first + timedelta(days=n) for n in range(0, (last - first).days + 1, step)]
