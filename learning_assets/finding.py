"""One thing that was examined for a person: whether it is as it should be, and what to do where it is not."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`ok`: whether it holds, None where it cannot be said; `what` was looked at, what it `says`, and the `remedy` where a person should
    do something."""

    ok: bool | None
    what: str
    says: str
    remedy: str | None = None
