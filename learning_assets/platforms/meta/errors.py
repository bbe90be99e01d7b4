"""What a Graph server refuses, in classes that say what to do about it.

What belongs here: telling from an answer's body (never from its HTTP status alone, since throttling comes as 400) which class of
refusal it is, and the words in which a person is told. What does not: waiting, trying again and splitting, which the callers do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TRANSIENT = frozenset({1, 2, 104, 960})
_APP_LIMITS = frozenset({4, 341})
_LIMITS = frozenset({4, 17, 32, 341, 368, 613, *range(80_000, 80_015)})
_TOKEN = frozenset({102, 190})
_PERMISSION = frozenset({10, 294, *range(200, 300)})
_TOO_MUCH = frozenset({1_487_534, 1_504_018, 1_504_038})
_SETTING = frozenset({1_504_041, 1_504_042, 2_446_289})
_BLOCKED_BUDGET = 1_487_632
_NOT_READY = 1_815_107
_NO_SUCH_OBJECT = 33
_REPORT_FAILED = 2_490_547
_SERVER_ERROR = 500


class GraphError(Exception):
    """A Graph server did not give what was asked.

    `says`: its own words, without token and secret. `code` and `subcode` are those of the body, `status` is HTTP's; NULL where it gave none.
    """

    def __init__(self, says: str, *, code: int | None = None, subcode: int | None = None, status: int | None = None) -> None:
        super().__init__(says)
        self.says = says
        self.code = code
        self.subcode = subcode
        self.status = status

    def __str__(self) -> str:
        number = "" if self.code is None else f" (code {self.code}" + (f"/{self.subcode})" if self.subcode else ")")
        return f"{self.says.rstrip('.')}{number}"


class Throttled(GraphError):
    """A rate limit is used up; the same call is right later."""

    @property
    def of_app(self) -> bool:
        """Whether the limit is the app's, so that every account must wait."""
        return self.code in _APP_LIMITS


class Transient(GraphError):
    """The server failed, and a read may be tried again after a pause."""

    reached: bool
    """Whether there was a connection at all; False concerns the server, and not the account that was asked for."""

    def __init__(self, says: str, *, reached: bool = True, **numbers: int | None) -> None:
        super().__init__(says, **numbers)
        self.reached = reached


class TooMuch(GraphError):
    """The question is too large: fewer rows a page, fewer days or fewer fields are needed."""


class ReportFailed(GraphError):
    """An asynchronous report ended without a result."""


class ReportStuck(GraphError):
    """An asynchronous report did not end within the bounds."""


class NotReady(GraphError):
    """An asynchronous report was read before it can be."""


class Missing(GraphError):
    """There is no such object, or the token may not see it; a report that was just made may say so for a moment."""


class TokenRefused(GraphError):
    """The access token is not accepted; every account that uses it is concerned."""


class PermissionRefused(GraphError):
    """The token lacks a permission for this object."""


class Misconfigured(GraphError):
    """The question is wrong: a setting, a version or a name that the platform does not know."""


class Contradiction(GraphError):
    """The answer contradicts itself: a cursor that returns, rows that disagree, a number that is none."""


class WaitTooLong(GraphError):
    """A rate limit asks for a longer wait than the account's budget for waiting allows."""


def read(status: int, body: Any) -> GraphError | None:
    """The error that an answer is, or None; `body` is parsed JSON, or text where it was none."""
    if not isinstance(body, dict | list):
        return Transient(f"HTTP {status} with a body that is not JSON", status=status)
    error = body.get("error") if isinstance(body, dict) else None
    if error is None:
        if isinstance(body, dict) and body.get("success") is False:
            return Transient("the server says that it did not succeed, and not why", status=status)
        return Transient(f"HTTP {status} without an error in its body", status=status) if status >= _SERVER_ERROR else None
    if not isinstance(error, Mapping):
        return Transient(f"HTTP {status} with an error that is not an object", status=status)
    return classify(
        _words(error),
        _number(error.get("code")),
        _number(error.get("error_subcode")),
        status=status,
        transient=error.get("is_transient") is True,
    )


def classify(
    says: str, code: int | None, subcode: int | None, *, status: int | None = None, transient: bool = False
) -> GraphError:
    """The error of a body's numbers; a code that is not known is what the body's `is_transient` says, else a wrong question."""
    kind: type[GraphError]
    lower = says.lower()
    if subcode in _SETTING or code == 2_635:
        kind = Misconfigured
    elif code == 2_601 or subcode == _NOT_READY:
        kind = NotReady
    elif subcode in _TOO_MUCH or (code in (1, 100) and "reduce the amount of data" in lower):
        kind = TooMuch
    elif subcode == _REPORT_FAILED or (code is not None and code < 0):
        kind = ReportFailed
    elif code in _TOKEN:
        kind = TokenRefused
    elif code in _LIMITS:
        kind = Throttled
    elif code in _PERMISSION:
        kind = PermissionRefused
    elif code == 100 and subcode == _NO_SUCH_OBJECT:
        kind = Missing
    elif code == 100 and "summary param" in lower:
        # Said at random of a report that is sound.
        kind = Transient
    elif transient or code in _TRANSIENT or code is None or 99 in (code, subcode) or subcode == 104:
        kind = Transient
    else:
        kind = Transient if status is not None and status >= _SERVER_ERROR else Misconfigured
    return kind(says, code=code, subcode=subcode, status=status)


def blocks_budget(error: GraphError) -> bool:
    """Whether the refusal is of a budget that was changed too often; it holds for an hour."""
    return error.subcode == _BLOCKED_BUDGET


@dataclass(frozen=True, slots=True)
class Told:
    """What a person is told of a failing account: the manifest's status, what `says` is wrong (it names the account), and the remedy."""

    status: str
    says: str
    remedy: str

    @property
    def reason(self) -> str:
        """Both as one text."""
        return f"{self.says} {self.remedy}"


_AGAIN = "It is fetched again with the next cycle"
_RENEW = "Make a new one for the system user in Business settings and set LEARNING_META_ACCESS_TOKEN."


def explain(account: str, error: GraphError) -> Told:
    """What to tell of an account that failed with `error`."""
    if isinstance(error, TokenRefused):
        says, remedy = token_words(error)
        return Told("stopped", f"account {account}: {says}", remedy)
    status, says, remedy = _told(error)
    return Told(status, f"account {account}: {says}.", remedy)


def _told(error: GraphError) -> tuple[str, str, str]:
    if isinstance(error, PermissionRefused):
        return (
            "stopped",
            f"the token may not read it: {error}",
            "Give the token the permission ads_read, and assign the account to its system user.",
        )
    if isinstance(error, Missing):
        return (
            "stopped",
            f"the platform knows no such account, or the token may not see it: {error}",
            "Correct LEARNING_META_ACCOUNTS, or assign the account to the token's system user.",
        )
    if isinstance(error, Misconfigured):
        return (
            "stopped",
            f"the platform does not accept the question: {error}",
            "Check LEARNING_META_API_VERSION and LEARNING_META_CONVERSIONS.",
        )
    if isinstance(error, WaitTooLong):
        return "rate_limited", f"{error}", f"{_AGAIN}; LEARNING_META_WAIT_MINUTES lets it wait longer."
    if isinstance(error, Throttled):
        return "rate_limited", f"{error}", f"{_AGAIN}."
    if isinstance(error, Contradiction):
        return "incomplete", f"{error}", f"{_AGAIN}."
    if isinstance(error, TooMuch):
        return "failed", f"the platform refuses even one day as too much data: {error}", f"{_AGAIN}."
    if isinstance(error, ReportStuck):
        return "failed", f"{error}", f"{_AGAIN}; LEARNING_META_REPORT_MINUTES lets a report take longer."
    if isinstance(error, ReportFailed | NotReady):
        return "failed", f"the platform's report failed: {error}", f"{_AGAIN}."
    return "failed", f"the platform did not answer: {error}", f"{_AGAIN}."


def token_words(error: GraphError) -> tuple[str, str]:
    """What is wrong with the token, and the remedy, a sentence each."""
    words = {
        463: ("the access token has expired.", _RENEW),
        460: ("the password of the token's user was changed, which ended the token.", _RENEW),
        458: ("the token's user has removed the app.", _RENEW),
        459: ("the token's user must log in at https://www.facebook.com once.", "Do that, then try again."),
        464: ("the token's user must confirm the account at https://www.facebook.com once.", "Do that, then try again."),
    }
    return words.get(error.subcode or 0, (f"the access token is not valid: {error}.", _RENEW))


def _words(error: Mapping[str, Any]) -> str:
    parts = [error.get("message"), error.get("error_user_msg")]
    said = [part.strip() for part in parts if isinstance(part, str) and part.strip()]
    return ": ".join(dict.fromkeys(part.rstrip(".") for part in said)) or json.dumps(dict(error), sort_keys=True)[:300]


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
