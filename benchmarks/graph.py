"""The simulated Graph server that the benchmarks of fetching ask: one market, one moment at which its clock stands."""

from datetime import UTC, date, datetime, timedelta

from learning_assets.clock import days_between

EPOCH = date(2026, 11, 1)
NOW = datetime(2026, 11, 20, 13, 20, tzinfo=UTC)


def market(seed: int, accounts: int, ads: int) -> dict[str, str | int]:
    """Numbers of a market with 40 days of history before its epoch."""
    return {
        "epoch": EPOCH.isoformat(),
        "seed": seed,
        "accounts": accounts,
        "ads": ads,
        "impressions": 1_000,
        "history_days": 40,
    }


def ended_days(days: int) -> list[date]:
    """The newest days that had ended everywhere, oldest first."""
    last = NOW.date() - timedelta(days=1)
    return days_between(last - timedelta(days=days - 1), last)
