"""Whether a budget may be moved: each guard by itself, from what is known at the moment before the call.

What belongs here: the guards, as pure functions that say what refuses and why. What does not: finding out what is known, and moving the budget
(`learning_assets.acting`).

Every guard fails closed: what it needs and does not know refuses. Raises pass all of them; cuts pass those that protect from harm by too many
or mistaken changes; taking back a change of ours, which a person asks for, passes those that keep money and hands off what is not ours.
"""

# Every guard takes the same three arguments, whether it needs them all or not.
# ruff: noqa: ARG001

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil
from zoneinfo import ZoneInfo

from learning_assets.settings import Acting

DAY = timedelta(days=1)
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Wish:
    """A budget that is asked for: a row of `budget_wishes`, or a change to take back. Money is micros of `currency` a day."""

    decision_id: str
    account_id: str
    owner: str
    entity_kind: str
    entity_id: str
    currency: str
    expected_micros: int
    wanted_micros: int
    kind: str
    decided_at: datetime
    as_of: date
    reason: str
    lift: float | None = None
    share: float | None = None

    @property
    def raises(self) -> bool:
        """Whether the budget grows."""
        return self.wanted_micros > self.expected_micros

    @property
    def step(self) -> float:
        """The change as a fraction of the present budget."""
        return self.wanted_micros / self.expected_micros - 1


@dataclass(frozen=True, slots=True)
class Move:
    """A change that was made or may have been made: applied, or of unknown outcome."""

    entity_id: str
    at: datetime
    before_micros: int
    after_micros: int
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds that a person set when arming, micros of `currency`."""

    currency: str
    entity_micros: int
    account_micros: int
    month_micros: int
    bandit: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at the moment; None is unknown.

    `killed`: by whom or what the kill switch is set, empty where it is not. `armed`: caps in force, None where the account is not armed. `unknown`: changes
    of the account whose outcome is not known. `moves`: the account's changes of the last 31 days at least. `foreign`: changes of this budget by others.
    `budgets`: present daily budgets of the entities that were moved. `mature_days`: of the experiment. `complete`: the account's data of the
    decision's day. `checks`: the first blocking check that fails, empty where all hold. `spend_ratio`: the account's newest whole day over its mean
    of the week before.
    """

    now: datetime
    timezone: str | None
    simulated_store: bool
    simulated_platform: bool
    killed: str | None
    armed: Caps | None
    protected: bool | None
    approved_micros: int | None
    current_micros: int | None
    minimum_micros: int | None
    currency: str | None
    live: bool | None
    learning: str | None
    unknown: int | None
    moves: Sequence[Move] | None
    foreign: Sequence[datetime] | None
    budgets: dict[str, int] | None
    mature_days: int | None
    complete: bool | None
    checks: str | None
    spend_ratio: float | None

    @property
    def local(self) -> datetime:
        """The account's time."""
        return self.now.astimezone(ZoneInfo(self.timezone or "UTC"))


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guard that refuses, and why, in a sentence that a media buyer understands."""

    guard: str
    reason: str


Guard = Callable[[Wish, Facts, Acting], str | None]
"""Says why it refuses, None where it does not."""


def right_platform(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """A simulated store moves simulated budgets only, and a real one real budgets only."""
    if facts.simulated_store == facts.simulated_platform:
        return None
    store, platform = (
        ("simulated" if simulated else "real") for simulated in (facts.simulated_store, facts.simulated_platform)
    )
    return f"the store is {store} and the platform is {platform}; use a LEARNING_HOME of the platform's own"


def kill_switch(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """The kill switch wins over everything."""
    if facts.killed is None:
        return "whether the kill switch is set is not known"
    return (
        f"the kill switch is set ({facts.killed}); to take it back: learning-assets promote --resume" if facts.killed else None
    )


def not_unknown(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Nothing is moved while the outcome of an earlier change is not known."""
    if facts.unknown is None or facts.unknown:
        count = "an unknown number" if facts.unknown is None else f"{facts.unknown}"
        return f"the outcome of {count} of earlier changes is not known; run: learning-assets reconcile"
    return None


def own_budget(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """The budget is the entity's own daily one, in the account's currency, and as it was when decided."""
    if facts.current_micros is None:
        return "the entity has no daily budget of its own that can be read"
    if facts.currency != wish.currency:
        return f"the decision is in {wish.currency}, the account in {facts.currency or 'an unknown currency'}"
    if facts.current_micros != wish.expected_micros:
        return (
            f"the budget is {money(facts.current_micros, wish.currency)}, not the {money(wish.expected_micros, wish.currency)} that the decision rests on: "
            "somebody has changed it since"
        )
    return None


def protected(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Protected ids are never moved."""
    if facts.protected is None:
        return "whether it is protected is not known"
    return "it is protected (learning-assets promote --unprotect)" if facts.protected else None


def live(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Only what delivers is moved."""
    return None if facts.live else "it is not delivering, or that is not known"


def fresh(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """A decision is acted on while it is fresh, and rests on fresh days."""
    age = (facts.now - wish.decided_at).total_seconds() / 3600
    if age < -0.25:
        return f"it was decided {-age:.1f} hours from now: clocks disagree"
    if age > rules.decision_hours:
        return f"it was decided {age:.1f} hours ago; decisions older than {rules.decision_hours:g} hours are not acted on"
    old = (facts.local.date() - wish.as_of).days
    if not -1 <= old <= rules.stale_days:
        return f"it rests on {wish.as_of}, {old} days ago in the account's time; {rules.stale_days} at most"
    return None


def sound_data(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """The data behind the decision is complete and passes its checks."""
    if not facts.complete:
        return f"the account's data of {wish.as_of} is not complete, or that is not known"
    if facts.checks is None or facts.checks:
        return f"a check of the data of {wish.as_of} fails: {facts.checks or 'not known'}"
    return None


def working_hours(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Budgets move when people are there who can see it."""
    if facts.timezone is None:
        return "the account's time zone is not known"
    at, until = facts.local, rules.first_hour + rules.open_hours
    if rules.first_hour <= at.hour < until and at.weekday() < rules.open_weekdays:
        return None
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    last = days[min(rules.open_weekdays, len(days)) - 1]
    return f"it is {at:%A %H:%M} in the account's time; budgets move from {rules.first_hour} to {min(until, 24)} o'clock, Monday to {last}"


def actions_per_day(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Few changes an account and day."""
    if facts.moves is None:
        return "the account's earlier changes are not known"
    today = [move for move in facts.moves if move.at.astimezone(facts.local.tzinfo).date() == facts.local.date()]
    if len(today) < rules.actions_per_day:
        return None
    return f"{len(today)} budgets of the account were moved today; {rules.actions_per_day} at most"


def cooldown(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Time between two changes of one budget."""
    if facts.moves is None:
        return "its earlier changes are not known"
    needed = rules.raise_hours if wish.raises else rules.cut_hours
    mine = [
        move
        for move in facts.moves
        if move.entity_id == wish.entity_id and (not wish.raises or move.after_micros > move.before_micros)
    ]
    last = max((move.at for move in mine), default=None)
    if last is None:
        return None
    hours = (facts.now - last).total_seconds() / 3600
    done = "raised" if wish.raises else "changed"
    return f"{done} {hours:.0f} h ago, {needed:g} h required" if hours < needed else None


def foreign_edits(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Whoever else changed the budget lately has the say."""
    if facts.foreign is None:
        return "whether others changed the budget is not known: the account's log cannot be read"
    since = facts.now - timedelta(hours=rules.foreign_hours)
    last = max((at for at in facts.foreign if at > since), default=None)
    return (
        None
        if last is None
        else f"somebody else changed this budget at {last.astimezone(UTC):%Y-%m-%d %H:%M} UTC; hands off for {rules.foreign_hours:g} h"
    )


def step(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Small steps."""
    if wish.step > rules.max_step + 1e-9:
        return f"a raise by {wish.step:.1%}; {rules.max_step:.0%} at most"
    return None


def week(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Not much in a week."""
    if facts.moves is None:
        return "its earlier changes are not known"
    lately = [m for m in facts.moves if m.entity_id == wish.entity_id and m.at > facts.now - WEEK]
    least = min([wish.expected_micros, *(min(m.before_micros, m.after_micros) for m in lately)])
    grown = wish.wanted_micros / least - 1
    return f"{grown:+.0%} within 7 days; {rules.max_week:.0%} at most" if grown > rules.max_week + 1e-9 else None


def caps(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """The caps that were set at arming: per entity, account and month."""
    if facts.armed is None:
        return None
    cap, of = facts.armed, wish.currency
    if cap.currency != of:
        return f"the caps are in {cap.currency}, the budget in {of}; arm the account again"
    if facts.moves is None or facts.budgets is None:
        return "what was moved before is not known, so that the caps cannot be held"
    if wish.wanted_micros > cap.entity_micros:
        return f"{money(wish.wanted_micros, of)} a day are above the cap of one entity, {money(cap.entity_micros, of)}"
    together = (
        sum(facts.budgets.get(name, 0) for name in {move.entity_id for move in facts.moves} - {wish.entity_id})
        + wish.wanted_micros
    )
    if together > cap.account_micros:
        return f"together with what was moved before, {money(together, of)} a day are above the account's cap, {money(cap.account_micros, of)}"
    added = exposure(facts, [*facts.moves, Move(wish.entity_id, facts.now, wish.expected_micros, wish.wanted_micros)])
    if added > cap.month_micros:
        return (
            f"this month's raises may add {money(added, of)} to the spend, above the month's cap, {money(cap.month_micros, of)}"
        )
    return None


def exposure(facts: Facts, moves: Sequence[Move]) -> int:
    """What raises of this calendar month, in the account's time, may add to its spend until its end: whole weeks, since a platform holds a daily budget
    over seven days only. Raises that were undone do not count."""
    zone = facts.local.tzinfo
    month = (facts.local.year, facts.local.month)
    total = 0
    for move in moves:
        at = move.at.astimezone(zone)
        if (at.year, at.month) != month or move.undone or move.after_micros <= move.before_micros:
            continue
        total += (move.after_micros - move.before_micros) * 7 * ceil(days_left(at.date()) / 7)
    return total


def days_left(day: date) -> int:
    """Days of the month from `day` on, itself included."""
    after = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (after - day).days


def learning_phase(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """A raise would start the learning phase again."""
    if wish.entity_kind == "campaign" and facts.learning is None:
        return None
    return None if facts.learning in ("SUCCESS", "FAIL") else f"its learning phase is {facts.learning or 'not known'}"


def mature(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Enough of the experiment is older than the time in which results are restated most."""
    if facts.mature_days is None or facts.mature_days < rules.mature_days:
        return f"{facts.mature_days or 0} days of the experiment are mature; {rules.mature_days} are needed"
    return None


def spend_spike(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Something else is going on where spend jumps."""
    if facts.spend_ratio is None:
        return "the account's spend of the last days is not known"
    return (
        f"the account spent {facts.spend_ratio:.2f} times its usual; {rules.spend_spike:g} at most"
        if facts.spend_ratio > rules.spend_spike
        else None
    )


def minimum(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """The platform's smallest budget."""
    if facts.minimum_micros is None:
        return "the platform's smallest budget is not known"
    if wish.wanted_micros < facts.minimum_micros:
        return f"{money(wish.wanted_micros, wish.currency)} are below the platform's smallest budget, {money(facts.minimum_micros, wish.currency)}"
    return None


def approval(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Large raises, and raises to a large share, wait for a person."""
    large = wish.step > rules.approval_step + 1e-9
    much = wish.share is None or wish.share > rules.approval_share
    if not (large or much) or (facts.approved_micros is not None and facts.approved_micros >= wish.wanted_micros):
        return None
    what = (
        f"a raise by {wish.step:.0%}"
        if large
        else "an unknown share"
        if wish.share is None
        else f"a share of {wish.share:.0%} of its experiment's budget"
    )
    return f"{what} needs an approval: learning-assets promote --approve {wish.decision_id}"


def bandit_armed(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Shares of traffic move budgets only where the account was armed for that."""
    if wish.kind == "bandit" and facts.armed is not None and not facts.armed.bandit:
        return "the account is armed for promotions only; arm it with --bandit"
    return None


def armed(wish: Wish, facts: Facts, rules: Acting) -> str | None:
    """Nothing is moved until a person arms the account, with caps."""
    return None if facts.armed is not None else "the account is not armed: this is a dry run"


ALWAYS: tuple[Guard, ...] = (right_platform, kill_switch, not_unknown, protected, own_budget, minimum)
CUTS: tuple[Guard, ...] = (
    *ALWAYS,
    live,
    fresh,
    sound_data,
    foreign_edits,
    cooldown,
    actions_per_day,
    working_hours,
    bandit_armed,
)
RAISES: tuple[Guard, ...] = (
    *(*ALWAYS, live, fresh, sound_data, foreign_edits, step, week, caps, cooldown, learning_phase, mature, spend_spike),
    *(actions_per_day, working_hours, approval, bandit_armed),
)
UNDO: tuple[Guard, ...] = (*ALWAYS, caps)


def first_refusal(wish: Wish, facts: Facts, rules: Acting) -> Guarded | None:
    """The first guard that refuses; whether the account is armed comes last, so that a dry run says what else would have stopped it."""
    guards = UNDO if wish.kind == "undo" else RAISES if wish.raises else CUTS
    if wish.expected_micros <= 0 or wish.wanted_micros <= 0 or wish.wanted_micros == wish.expected_micros:
        return Guarded("amount", f"from {wish.expected_micros} to {wish.wanted_micros} micros is no change of a budget")
    for guard in (*guards, *((armed,) if wish.kind != "undo" else ())):
        reason = guard(wish, facts, rules)
        if reason is not None:
            return Guarded(guard.__name__, reason)
    return None


def money(micros: int, currency: str) -> str:
    """An amount as people read it: `1,234.50 USD`; whole where it is whole."""
    return f"{micros / 1e6:,.2f} {currency}" if micros % 1_000_000 else f"{micros // 1_000_000:,} {currency}"
