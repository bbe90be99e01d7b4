"""Steering a Graph server that runs: its clock, its faults, its limits, and the requests that it has seen.

What belongs here: the client of the server's control API, for tests, benchmarks and the command line. What does not: starting a
server (`process`), and the Graph API, which its own clients speak.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit


class ControlError(Exception):
    """The server did not do what was asked; the message says what, and why."""


@dataclass(frozen=True, slots=True)
class Control:
    """A server that runs: where it stands (no slash at the end), an access token that is valid, and its process id.

    The token `EXPIRED` is always an expired one; any other that is not `token` is invalid.
    """

    url: str
    token: str
    pid: int

    def now(self) -> datetime:
        """The server's clock, in UTC."""
        return datetime.fromisoformat(self.about()["now"])

    def about(self, seconds: float = 30) -> dict[str, Any]:
        """What the server says of itself: `now` and `market`. Raises ControlError if it does not answer within `seconds`."""
        return self._call("GET", "clock", None, seconds)

    def step(self, to: datetime | timedelta) -> None:
        """Set the clock to a moment (with an offset), at which it then stands, or move it by a span."""
        self._call("POST", "clock", {"seconds": to.total_seconds()} if isinstance(to, timedelta) else {"to": to.isoformat()})

    def follow_wall(self) -> None:
        """Let the server's clock follow the wall clock."""
        self._call("POST", "clock", {"to": None})

    def fault(self, name: str, *, account: str | None = None, after: int = 0, times: int | None = 1, **options: Any) -> None:
        """Switch a fault on: from the (`after` + 1)-th call that it concerns, of that account (None: of any), for `times` calls (None:
        for ever). `graph.faults.FAULTS` says which calls each fault concerns; every fault takes the options `path` (a part that the
        call's path must have) and `method`."""
        asked = {"name": name, "account": account, "after": after, "times": times, "options": options}
        self._call("POST", "faults", asked)

    def clear(self) -> None:
        """Switch all faults off."""
        self._call("DELETE", "faults")

    def limit(self, *, quota: int | None = None, report_polls: int | None = None) -> None:
        """Set the quota (score an hour and account; a read is 1, a write 3) and the looks at a report before it is complete."""
        asked = {"quota": quota, "report_polls": report_polls}
        self._call("POST", "limits", {name: value for name, value in asked.items() if value is not None})

    def requests(self) -> list[dict[str, Any]]:
        """Every Graph call since the start or the last `clear_requests`: method, path, account, status, fault, at. A connection that
        was closed without a reply has status 0."""
        return self._call("GET", "requests")["requests"]

    def clear_requests(self) -> None:
        """Forget the requests."""
        self._call("DELETE", "requests")

    def _call(self, method: str, what: str, asked: object = None, seconds: float = 30) -> dict[str, Any]:
        where = urlsplit(self.url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=seconds)
        try:
            connection.request(
                method,
                f"/sandbox/{what}",
                None if asked is None else json.dumps(asked),
                {"Authorization": f"Bearer {self.token}", "Connection": "close"},
            )
            reply = connection.getresponse()
            body = reply.read()
        except (OSError, HTTPException) as error:
            raise ControlError(f"the Graph server at {self.url} does not answer: {error}") from error
        finally:
            connection.close()
        try:
            found: dict[str, Any] = json.loads(body)
        except ValueError:
            raise ControlError(f"what answers at {self.url} is no Graph server of the sandbox") from None
        if reply.status != 200:
            raise ControlError(f"{method} /sandbox/{what}: {found.get('error')}")
        return found
