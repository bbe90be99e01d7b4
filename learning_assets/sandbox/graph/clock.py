"""The server's own clock, which tests step.

What belongs here: the clock. What does not: local days (`sandbox.delivery`), and the one clock of the package, which the server's process
does not share.
"""

from datetime import UTC, datetime, timedelta


class Clock:
    """The server's clock: the wall clock, or one that stands where it was set and moves only when it is stepped."""

    def __init__(self, at: datetime | None) -> None:
        self.set(at)

    def set(self, at: datetime | None) -> None:
        """Stand still at a moment with an offset, or (None) follow the wall clock."""
        if at is not None and at.tzinfo is None:
            raise ValueError(f"the moment {at.isoformat()} needs an offset")
        self._standing = at.astimezone(UTC) if at is not None else None
        self._ahead = timedelta()

    def advance(self, by: timedelta) -> None:
        """Move a standing clock, or set the running one that much ahead of the wall clock."""
        if self._standing is not None:
            self._standing += by
        else:
            self._ahead += by

    def now(self) -> datetime:
        """The moment, in UTC."""
        return self._standing if self._standing is not None else datetime.now(UTC) + self._ahead
