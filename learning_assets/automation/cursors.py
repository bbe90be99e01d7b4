"""How sensors remember what they have read of the event log."""

import json

BATCH = 50
"""Events that one tick reads, at most."""


def read_cursor(text: str | None, newest: int) -> int:
    """Where a sensor stopped reading, at most the `newest` event's id; the beginning where that cannot be read, since run keys make a
    second reading harmless."""
    try:
        position = json.loads(text or "0")
    except ValueError:
        return 0
    return position if isinstance(position, int) and not isinstance(position, bool) and 0 <= position <= newest else 0
