"""Carrying a wish out: ledger, guards, validation, compare-and-set of an absolute budget, and reading back.

What belongs here: the order of these steps, and what each failure means. What does not: who asks (`automation`, `cli`).

    intent written -> validated by the platform -> budget read: as expected? -> marked as sent -> written once -> read back -> applied / failed / unknown

The ledger's row is there before any call that changes something, so that a crash anywhere leaves a row that says how far it came, and its key (entity and
decision day) keeps a second one from being made. Budgets are absolute, so that sending one twice would not add up, and it is never sent twice.
One process at a time acts for an account. Three failures in a row, or one unknown outcome, disarm the account.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from learning_assets.acting import facts
from learning_assets.acting.reconciling import reconcile
from learning_assets.learning import guards
from learning_assets.learning.guards import Guarded, Wish, money
from learning_assets.platforms.budgets import AccountFacts, AmountError, Budget, Budgets, Refused, Unanswered, minor_units
from learning_assets.store.ledger import LedgerError
from learning_assets.store.store import Store

ACTOR = "learning_assets"
READS_BACK = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a wish: `applied`, `failed`, `unknown`, `blocked` (by `guard`), `dry_run`, or `done` where the day has its change already.

    `new`: something else than when it was last looked at, so that people are to be told.
    """

    wish: Wish
    outcome: str
    guard: str | None
    reason: str
    change_id: str | None = None
    new: bool = True


Step = Callable[[str], None]
"""Is told the name of each step before it is taken; tests end the process there."""


def _go_on(_: str) -> None:
    """Nothing."""


def act(store: Store, budgets: Budgets, wishes: Iterable[Wish], *, by: str = ACTOR, at_step: Step = _go_on) -> list[Outcome]:
    """Carry wishes out, account by account, each under the account's lock; the newest decision about an entity counts.

    An account whose platform fails does not keep the others from theirs.
    """
    newest: dict[tuple[str, str], Wish] = {}
    for wish in sorted(wishes, key=lambda one: (one.decided_at, one.decision_id)):
        newest[wish.account_id, wish.entity_id] = wish
    by_account: dict[str, list[Wish]] = {}
    for wish in newest.values():
        by_account.setdefault(wish.account_id, []).append(wish)
    done: list[Outcome] = []
    for account_id, mine in sorted(by_account.items()):
        with store.tables.lock(f"acting/{account_id}"):
            reconcile(store, budgets, account_id)
            # Cuts first: they make room below the caps.
            done += [
                _carry_out(store, budgets, wish, by, at_step)
                for wish in sorted(mine, key=lambda one: (one.raises, one.entity_id))
            ]
    return done


def _carry_out(store: Store, budgets: Budgets, wish: Wish, by: str, at_step: Step, undoes: str | None = None) -> Outcome:
    """One wish, under the account's lock."""
    ledger = store.ledger
    if undoes is None and ledger.changes(entity_id=wish.entity_id, decision_day=wish.as_of, number=0).height:
        return Outcome(wish, "done", None, f"the budget of {wish.entity_id} has its change of {wish.as_of} already", new=False)
    known, budget, account = facts.gather(store, budgets, wish)
    refused = guards.first_refusal(wish, known, store.settings.acting)
    if refused is None:
        refused = _bad_amount(wish, account)
    if refused is not None or account is None or budget is None:
        refused = refused or Guarded("own_budget", "the platform does not tell of the account")
        dry = refused.guard == "armed"
        words = f"would {_said(wish)}; {refused.reason}" if dry else refused.reason
        new = ledger.outcome(wish, "dry_run" if dry else "blocked", guard=refused.guard, reason=words, at=store.now)
        return Outcome(wish, "dry_run" if dry else "blocked", refused.guard, words, new=new)
    at_step("intent")
    change_id = ledger.begin(wish, by=by, at=store.now, undoes=undoes)
    if change_id is None:
        return Outcome(wish, "done", None, f"the budget of {wish.entity_id} has its change of {wish.as_of} already", new=False)
    status, why = _send(store, budgets, wish, budget, account, change_id, at_step)
    _break_circuit(store, wish)
    new = ledger.outcome(wish, status, guard=None, reason=why, at=store.now, change_id=change_id)
    return Outcome(wish, status, None, why, change_id, new)


def _send(
    store: Store, budgets: Budgets, wish: Wish, budget: Budget, account: AccountFacts, change_id: str, at_step: Step
) -> tuple[str, str]:
    """From the intent to a settled change: its status, and why."""
    ledger = store.ledger

    def settle(status: str, why: str, read_micros: int | None = None) -> tuple[str, str]:
        at_step(f"settle {status}")
        ledger.advance(change_id, status, at=store.now, why=why, read_micros=read_micros)
        return status, why

    at_step("validate")
    try:
        budgets.validate(wish.entity_id, wish.wanted_micros, account)
    except (Refused, Unanswered) as error:
        return settle("failed", f"the platform would not accept it: {error}")
    at_step("validated")
    ledger.advance(change_id, "validated", at=store.now)
    try:
        now = budgets.read(budget.entity_kind, wish.entity_id).micros
    except (Refused, Unanswered) as error:
        return settle("failed", f"the budget could not be read before the change, which was not sent: {error}")
    if now != wish.expected_micros:
        return settle("failed", "somebody changed the budget in the meantime; it was not touched", now)
    at_step("sent")
    ledger.advance(change_id, "sent", at=store.now)
    at_step("write")
    try:
        budgets.write(wish.entity_id, wish.wanted_micros, account)
    except Refused as error:
        return settle("failed", f"the platform refused: {error}", now)
    except Unanswered as error:
        return settle("unknown", f"no clear answer came: {error}")
    at_step("read back")
    return settle(*_read_back(store, budgets, wish, budget))


def _read_back(store: Store, budgets: Budgets, wish: Wish, budget: Budget) -> tuple[str, str, int | None]:
    """Whether the budget is what the platform said that it made it."""
    now: int | None = None
    for attempt in range(READS_BACK):
        if attempt:
            time.sleep(store.settings.acting.read_back_seconds)
        try:
            now = budgets.read(budget.entity_kind, wish.entity_id).micros
        except (Refused, Unanswered) as error:
            return "unknown", f"the platform said yes, and the budget cannot be read back: {error}", None
        if now == wish.wanted_micros:
            return "applied", _said(wish), now
        if now != wish.expected_micros:
            break
    if now == wish.expected_micros:
        return "unknown", "the platform said yes, and the budget is as it was", now
    return "unknown", "the platform said yes, and the budget is another one", now


def _bad_amount(wish: Wish, account: AccountFacts | None) -> Guarded | None:
    """The choke point of amounts, before anything is written."""
    if account is None:
        return None
    try:
        minor_units(wish.wanted_micros, wish.currency, account)
    except AmountError as error:
        return Guarded("amount", str(error))
    return None


def _break_circuit(store: Store, wish: Wish) -> None:
    """Disarm the account after an unknown outcome, or too many failures in a row since it was armed."""
    ledger, rules = store.ledger, store.settings.acting
    armed = ledger.arming().filter(pl.col("account_id") == wish.account_id, "armed")
    if armed.is_empty():
        return
    since = ledger.changes(account_id=wish.account_id).filter(pl.col("intent_at") >= armed["at"][0])["status"].to_list()
    last = since[-rules.failures :]
    unknown = any(status == "unknown" for status in since)
    if unknown or (len(last) == rules.failures and all(status == "failed" for status in last)):
        why = "the outcome of a change is not known" if unknown else f"{rules.failures} changes in a row failed"
        ledger.disarm(wish.account_id, wish.owner, by=ACTOR, why=f"circuit breaker: {why}", at=store.now)


def undo(store: Store, budgets: Budgets, change_id: str, *, by: str, at_step: Step = _go_on) -> Outcome:
    """Put a budget back to what it was before a change of ours, if it is still what we made it.

    It counts towards the platform's four changes of a budget an hour, and a large one starts its learning phase again.

    Raises
    ------
    LedgerError : there is no such change, it was not applied, or it was taken back already.
    """
    rows = store.ledger.changes(change_id=change_id)
    if rows.is_empty():
        raise LedgerError(f"There is no change {change_id}. See: learning-assets changes")
    row = rows.row(0, named=True)
    with store.tables.lock(f"acting/{row['account_id']}"):
        reconcile(store, budgets, row["account_id"])
        row = store.ledger.changes(change_id=change_id).row(0, named=True)
        if row["status"] != "applied":
            raise LedgerError(f"The change {change_id} is '{row['status']}', not applied: there is nothing to take back.")
        if store.ledger.changes(undoes=change_id, status="applied").height:
            raise LedgerError(f"The change {change_id} was taken back already.")
        wish = Wish(
            **{name: row[name] for name in ("decision_id", "account_id", "owner", "entity_kind", "entity_id", "currency")},
            expected_micros=row["after_micros"],
            wanted_micros=row["before_micros"],
            kind="undo",
            decided_at=store.now,
            as_of=row["decision_day"],
            reason=f"takes back {change_id}",
        )
        return _carry_out(store, budgets, wish, by, at_step, undoes=change_id)


def _said(wish: Wish) -> str:
    verb = "raise" if wish.raises else "cut"
    return (
        f"{verb} the daily budget of {wish.entity_kind.replace('_', ' ')} {wish.entity_id} from {money(wish.expected_micros, wish.currency)} to "
        f"{money(wish.wanted_micros, wish.currency)} ({wish.step:+.1%})"
    )
