"""The one protocol through which budgets are read and moved, and the choke point that every amount passes.

What belongs here: the shape of a platform's answers about budgets, its refusals, and what an amount must be. What does not: whether a budget may be
moved (`learning.guards`), and anything that knows one platform.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

EntityKind = Literal["ad_set", "campaign"]

LARGEST_MICROS = 10**15
"""A billion in any currency, above which an amount is a mistake."""


class AmountError(ValueError):
    """What was given is no budget; the message says why."""


class Refused(Exception):
    """The platform did not change anything, and said why; trying the same again does not help now."""


class Unanswered(Exception):
    """No clear answer came: the platform may have changed the budget, or not."""


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """`minor_micros`: micros of the currency's smallest unit; `minimum_micros`: the smallest daily budget, None where it is not told."""

    account_id: str
    currency: str
    timezone: str
    minor_micros: int
    minimum_micros: int | None


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget as the platform has it now.

    `micros`: a day's budget; None where the entity has none of its own, or a lifetime one (`lifetime`). `live`: it is delivering or may. `learning`: the
    learning phase as the platform names it (LEARNING, SUCCESS, FAIL), None where it is not told.
    """

    account_id: str
    entity_kind: EntityKind
    entity_id: str
    micros: int | None
    lifetime: bool
    live: bool
    learning: str | None


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a budget in the platform's own log, by whomever. Micros are None where the log does not say."""

    entity_id: str
    at: datetime
    old_micros: int | None
    new_micros: int | None
    who: str


@runtime_checkable
class Budgets(Protocol):
    """A platform's budgets. Every call raises Refused or Unanswered; a write is sent once and never tried again here."""

    simulated: bool
    """Whether it is the sandbox's own server."""

    def account(self, account_id: str) -> AccountFacts:
        """Currency, zone and smallest budget."""
        ...

    def read(self, entity_kind: EntityKind, entity_id: str) -> Budget:
        """The budget now."""
        ...

    def edits(self, account_id: str, since: datetime) -> list[Edit]:
        """Changes of budgets since a moment, oldest first."""
        ...

    def validate(self, entity_id: str, micros: int, facts: AccountFacts) -> None:
        """Ask whether a daily budget would be accepted, without changing it."""
        ...

    def write(self, entity_id: str, micros: int, facts: AccountFacts) -> None:
        """Set a daily budget; that it returns says that the platform said yes, and reading back says whether it did."""
        ...


def minor_units(micros: Any, currency: str, facts: AccountFacts) -> int:
    """The amount that goes over the wire: whole smallest units. Every write passes here.

    Raises
    ------
    AmountError : not an integer, not above 0, beyond LARGEST_MICROS, another currency than the account's, or not a whole number of smallest units.
    """
    if isinstance(micros, bool) or not isinstance(micros, int):
        raise AmountError(f"{micros!r} is no amount: budgets are whole micros")
    if currency != facts.currency:
        raise AmountError(f"the budget is in {currency}, and account {facts.account_id} is in {facts.currency}")
    if not 0 < micros <= LARGEST_MICROS:
        raise AmountError(f"{micros} micros are no daily budget")
    if micros % facts.minor_micros:
        raise AmountError(f"{micros} micros of {currency} are not whole units of {facts.minor_micros} micros")
    return micros // facts.minor_micros
