"""Errors as the Graph API words them: a body with code, subcode and texts, an HTTP status, and the headers that go with them.

What belongs here: the errors by name. What does not: when they are raised (`answers`, `faults`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class GraphError(Exception):
    """An answer that is an error; `status` is the HTTP status."""

    message: str
    code: int
    subcode: int | None = None
    kind: str = "OAuthException"
    transient: bool | None = False
    title: str | None = None
    user_message: str | None = None
    status: int = 400
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def body(self, trace: str) -> dict[str, Any]:
        """The body's `error`, with the id of the request."""
        found: dict[str, Any] = {"message": self.message, "type": self.kind}
        if self.transient is not None:
            found["is_transient"] = self.transient
        found["code"] = self.code
        if self.subcode is not None:
            found["error_subcode"] = self.subcode
        if self.title is not None:
            found["error_user_title"] = self.title
            found["error_user_msg"] = self.user_message or self.message
        return {"error": {**found, "fbtrace_id": trace}}


def invalid(message: str, subcode: int | None = None, title: str | None = None, user_message: str | None = None) -> GraphError:
    """A parameter that cannot be."""
    return GraphError(f"(#100) {message}", 100, subcode, title=title, user_message=user_message)


def unknown_object(object_id: str, method: str = "get") -> GraphError:
    """An object that does not exist, or that the token may not see: the platform says the same of both."""
    return GraphError(
        f"Unsupported {method} request. Object with ID '{object_id}' does not exist, cannot be loaded due to missing permissions, "
        "or does not support this operation.",
        100,
        33,
        kind="GraphMethodException",
        transient=None,
    )


def _token(message: str, subcode: int | None) -> GraphError:
    return GraphError(
        message,
        190,
        subcode,
        transient=None,
        status=401,
        headers={"www-authenticate": f'OAuth "Facebook Platform" "invalid_token" "{message}"'},
    )


def expired_token() -> GraphError:
    """A token whose session has ended."""
    return _token("Error validating access token: Session has expired on Tuesday, 24-Nov-26 09:00:00 PST.", 463)


def invalid_token() -> GraphError:
    """A token that was never one, or is one no more."""
    return _token("Error validating access token: The session is invalid.", 467)


def no_token() -> GraphError:
    """A request without a token."""
    return GraphError("An access token is required to request this resource.", 104, transient=None)


def permission(code: int = 200, name: str = "ads_read") -> GraphError:
    """A token without the permission; codes 10 and 200 to 299 are seen."""
    if code == 10:
        return GraphError("(#10) Application does not have permission for this action", 10)
    return GraphError(
        f"(#{code}) Ad account owner has NOT grant ads_management or {name} permission", code, kind="OAuthException"
    )


def transient() -> GraphError:
    """The platform asks to try again."""
    return GraphError(
        "An unexpected error has occurred. Please retry your request later.",
        2,
        transient=True,
        status=500,
    )


def report_not_ready() -> GraphError:
    """A report's rows are asked for before it is complete."""
    return GraphError(
        "Error accessing adreport job.",
        2601,
        1815107,
        transient=True,
        title="Loading Async Ads Report Failed",
        user_message="The report is not ready yet. Wait until it is complete.",
    )


def reduce_data() -> GraphError:
    """More data than the platform gathers; it has no subcode of its own."""
    return GraphError(
        "Please reduce the amount of data you're asking for, then retry your request", 1, transient=False, status=500
    )


def too_much_data() -> GraphError:
    """More rows or points than one call may have."""
    return GraphError(
        "(#100) Too much data was requested for this call",
        100,
        1487534,
        title="There is too much data",
        user_message="Ask for fewer days or fields.",
    )


def budget_changes() -> GraphError:
    """A budget that was changed too often within an hour."""
    return GraphError(
        "(#613) Calls to this api have exceeded the rate limit.",
        613,
        1487632,
        title="Ad Set Budget Changed Too Many Times",
        user_message="The budget of this ad set was changed 4 times within an hour. Wait one hour before changing it again.",
    )


def budget_too_low(minimum: str) -> GraphError:
    """A budget below the account's minimum."""
    return invalid(
        "Invalid parameter",
        1885272,
        "Your Budget Is Too Low",
        f"Your budget must be at least {minimum}. Raise it, and try again.",
    )


def campaign_has_budget() -> GraphError:
    """A budget for an ad set whose campaign has one."""
    return invalid(
        "Invalid parameter",
        1885621,
        "Cannot Set Both Campaign And Ad Set Budgets",
        "You can only set an ad set budget or a campaign budget. The campaign of this ad set has a budget: change that one.",
    )


def throttled(which: str) -> GraphError:
    """A limit that is reached: of the app, the ad account, the business use case, or calls in a short time (`spike`).

    The headers say how long to wait.
    """
    known = {
        "app": (4, 1504022, "(#4) Application request limit reached"),
        "account": (17, 2446079, "(#17) User request limit reached"),
        "business": (80000, 2446079, "(#80000) There have been too many calls to this ad-account. Wait a bit and try again."),
        "spike": (613, 1487742, "(#613) Calls to this api have exceeded the rate limit."),
    }
    if which not in known:
        raise ValueError(f"throttle: code {which!r} is none of {', '.join(known)}")
    code, subcode, message = known[which]
    return GraphError(
        message, code, subcode, transient=which == "app", title="Ad Account Has Too Many API Calls", user_message=message
    )
