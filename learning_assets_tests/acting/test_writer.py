"""A budget moves once, only under its guards, and can be put back: writer, reconciler and undo against a server that misbehaves."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks import money_safety
from benchmarks.money_safety import EPOCH, Entity
from learning_assets.acting.reconciling import reconcile
from learning_assets.acting.writer import Outcome, act, undo
from learning_assets.assets import LAKE
from learning_assets.learning.guards import Caps, Wish
from learning_assets.opening import open_identity
from learning_assets.platforms.budgets import AmountError, Budgets, Refused, minor_units
from learning_assets.platforms.meta import MetaSource
from learning_assets.sandbox.control import Control
from learning_assets.sandbox.process import start
from learning_assets.settings import Acting, Meta, Settings
from learning_assets.store.ledger import LedgerError
from learning_assets.store.store import Store

NOW = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)
MARKET = {"epoch": EPOCH.isoformat(), "seed": 3, "accounts": 8, "ads": 20, "impressions": 1_000, "history_days": 30}


class Dated(Store):
    """A store whose clock is told."""

    moment = NOW

    @property
    def now(self) -> datetime:
        return self.moment


class Room:
    """A store that may act, the server it acts on, and an ad set."""

    def __init__(self, store: Dated, source: MetaSource, control: Control, entity: Entity) -> None:
        self.store, self.source, self.control, self.entity = store, source, control, entity
        self.budgets: Budgets = source.budgets

    def wish(self, step: float = 0.1, **changes: Any) -> Wish:
        unit, present = self.entity.minor_micros, self.present()
        wish = Wish(
            decision_id=f"d-{self.store.now:%Y%m%d%H}",
            account_id=self.entity.account_id,
            owner=self.entity.account_id,
            entity_kind="ad_set",
            entity_id=self.entity.entity_id,
            currency=self.entity.currency,
            expected_micros=present,
            wanted_micros=int(present * (1 + step)) // unit * unit,
            kind="promotion",
            decided_at=self.store.now - timedelta(minutes=30),
            as_of=(self.store.now - timedelta(days=1)).date(),
            reason="better by 12 %",
            lift=0.1,
            share=0.6,
        )
        wish = replace(wish, **changes)
        money_safety._decided(self.store, wish)
        return wish

    def present(self) -> int:
        found = self.budgets.read("ad_set", self.entity.entity_id).micros
        assert found is not None
        return found

    def act(self, wish: Wish, **options: Any) -> Outcome:
        (done,) = act(self.store, self.budgets, [wish], **options)
        return done

    def later(self, **span: float) -> None:
        self.store.moment += timedelta(**span)
        self.control.step(self.store.moment)

    def arm(self, **changes: Any) -> None:
        base = self.entity.base_micros
        caps = Caps(self.entity.currency, 3 * base, 5 * base, 100 * base, bandit=False)
        self.store.ledger.arm(
            self.entity.account_id, self.entity.account_id, replace(caps, **changes), by="Ann", at=self.store.now
        )

    def statuses(self) -> list[str]:
        return self.store.ledger.changes()["status"].to_list()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with start(MARKET, now=NOW, state=tmp_path_factory.mktemp("market") / "state.json") as control:
        yield control


@pytest.fixture(scope="module")
def entities(platform: Control, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entity]:
    source = _source(platform, tmp_path_factory.mktemp("aside"))
    return iter(money_safety.entities_of(source, source.accounts()["account_id"].to_list()))


def _source(control: Control, folder: Path) -> MetaSource:
    told = {
        "access_token": control.token,
        "graph_url": control.url,
        "backoff_seconds": 0.01,
        "read_seconds": 1,
        "wait_minutes": 0.001,
    }
    return MetaSource(Meta.model_validate(told | {"throttle_pct": 1_000}), aside=folder, now=lambda: NOW)


@pytest.fixture
def room(
    platform: Control, entities: Iterator[Entity], make_settings: Callable[..., Settings], tmp_path: Path
) -> Iterator[Room]:
    """An armed account and an ad set that no other test has moved."""
    platform.clear()
    platform.step(NOW)
    source = _source(platform, tmp_path)
    rules = Acting(first_hour=0, open_hours=24, open_weekdays=7, read_back_seconds=0.01)
    settings = make_settings(
        source="meta", meta=source.settings.model_dump(), acting=rules.model_dump(), start_day=date(2025, 12, 1)
    )
    store = Dated(settings, LAKE, lambda: open_identity(settings))
    money_safety.furnish(store, source.accounts(), NOW.date() - timedelta(days=12), NOW.date() + timedelta(days=8))
    found = Room(store, source, platform, next(entities))
    found.arm()
    yield found
    platform.clear()


def test_a_budget_is_raised_once_and_the_ledger_says_how(room: Room):
    wish = room.wish()
    done = room.act(wish)
    assert (done.outcome, room.present()) == ("applied", wish.wanted_micros)
    row = room.store.ledger.changes().row(0, named=True)
    assert (row["status"], row["before_micros"], row["after_micros"], row["read_micros"]) == (
        "applied",
        wish.expected_micros,
        wish.wanted_micros,
        wish.wanted_micros,
    )
    assert None not in (row["intent_at"], row["validated_at"], row["sent_at"], row["settled_at"])
    assert room.act(wish).outcome == "done"
    again = room.act(room.wish(decision_id="another"))
    assert (again.outcome, room.present()) == ("done", wish.wanted_micros)


def test_a_day_later_the_cool_down_holds(room: Room):
    room.act(room.wish())
    room.later(days=1)
    done = room.act(room.wish())
    assert (done.outcome, done.guard) == ("blocked", "cooldown")
    outcomes = room.store.ledger.outcomes()
    assert outcomes["outcome"].to_list() == ["applied", "blocked"]
    room.act(room.wish())
    assert room.store.ledger.outcomes().height == 2


def test_nothing_is_sent_for_an_account_that_is_not_armed(room: Room):
    room.store.ledger.disarm(room.entity.account_id, room.entity.account_id, by="Ann", why="holiday", at=room.store.now)
    before = room.present()
    room.control.clear_requests()
    done = room.act(room.wish())
    assert (done.outcome, done.guard, room.present()) == ("dry_run", "armed", before)
    assert "would raise the daily budget" in done.reason
    assert not [one for one in room.control.requests() if one["method"] == "POST"]
    assert room.statuses() == []


@pytest.mark.parametrize("step", ["intent", "validate", "validated", "sent", "write", "read back", "settle applied"])
def test_wherever_the_process_ends_the_budget_is_raised_at_most_once(room: Room, step: str):
    class Ended(BaseException):
        pass

    def end(name: str) -> None:
        if name == step:
            raise Ended

    wish = room.wish()
    with pytest.raises(Ended):
        act(room.store, room.budgets, [wish], at_step=end)
    room.later(minutes=15)
    done = room.act(wish)
    written = step in ("read back", "settle applied")
    # Before the intent was written nothing is known of it, and the decision is carried out; after it, the day has had its change.
    expected = wish.wanted_micros if written or step == "intent" else wish.expected_micros
    assert (done.outcome, room.present()) == ("applied" if step == "intent" else "done", expected)
    assert room.statuses() == ["applied" if expected == wish.wanted_micros else "failed"]


def test_a_lost_answer_is_unknown_until_the_platform_says_that_it_was_applied(room: Room):
    wish = room.wish()
    room.control.fault("reset", after=1, path=f"/{wish.entity_id}", method="POST")
    done = room.act(wish)
    assert done.outcome == "unknown"
    assert room.store.ledger.caps(wish.account_id) is None, "one unknown outcome disarms the account"
    assert [one.status for one in reconcile(room.store, room.budgets, wish.account_id)] == ["applied"]
    assert room.present() == wish.wanted_micros


def test_a_success_without_effect_has_failed_after_a_while(room: Room):
    wish = room.wish()
    room.control.fault("success_without_effect", after=1, path=f"/{wish.entity_id}")
    assert room.act(wish).outcome == "unknown"
    assert [one.status for one in reconcile(room.store, room.budgets, wish.account_id)] == ["unknown"]
    room.later(minutes=11)
    assert [one.status for one in reconcile(room.store, room.budgets, wish.account_id)] == ["failed"]
    assert room.present() == wish.expected_micros


def test_while_an_outcome_is_unknown_nothing_else_moves(room: Room):
    wish = room.wish()
    room.control.fault("success_without_effect", after=1, path=f"/{wish.entity_id}")
    room.act(wish)
    room.arm()
    done = room.act(replace(wish, as_of=wish.as_of + timedelta(days=1), decision_id="next"))
    assert (done.outcome, done.guard) == ("blocked", "not_unknown")


def test_somebody_elses_change_is_respected(room: Room):
    wish = room.wish()
    room.control.fault("foreign_edit", path=f"/{wish.entity_id}", factor=1.3)
    room.present()
    changed = room.present()
    done = room.act(wish)
    assert (done.outcome, done.guard, room.present()) == ("blocked", "own_budget", changed)
    done = room.act(room.wish(decision_id="knows it"))
    assert (done.outcome, done.guard) == ("blocked", "foreign_edits")


def test_three_failures_in_a_row_disarm(room: Room):
    for day in range(3):
        room.control.fault("budget_changes", after=0, path=f"/{room.entity.entity_id}")
        assert room.act(room.wish()).outcome == "failed"
        assert (room.store.ledger.caps(room.entity.account_id) is None) is (day == 2)
        room.control.clear()
        room.later(days=1)
    row = room.store.ledger.arming().filter(account_id=room.entity.account_id).row(0, named=True)
    assert (row["armed"], row["why"]) == (False, "circuit breaker: 3 changes in a row failed")


def test_a_change_is_taken_back_exactly(room: Room):
    wish = room.wish()
    done = room.act(wish)
    assert done.change_id is not None
    back = undo(room.store, room.budgets, done.change_id, by="Ann")
    assert (back.outcome, room.present()) == ("applied", wish.expected_micros)
    with pytest.raises(LedgerError, match="taken back already"):
        undo(room.store, room.budgets, done.change_id, by="Ann")
    with pytest.raises(LedgerError, match="There is no change"):
        undo(room.store, room.budgets, "c-0", by="Ann")


def test_a_budget_that_somebody_else_has_changed_is_not_taken_back(room: Room):
    done = room.act(room.wish())
    assert done.change_id is not None
    room.control.fault("foreign_edit", path=f"/{room.entity.entity_id}", factor=1.2)
    room.present()
    theirs = room.present()
    back = undo(room.store, room.budgets, done.change_id, by="Ann")
    assert (back.outcome, back.guard, room.present()) == ("blocked", "own_budget", theirs)


def test_the_kill_switch_wins(room: Room):
    room.store.ledger.switch(killed=True, by="Ann", why="odd spend", at=room.store.now)
    done = room.act(room.wish())
    assert (done.guard, "by Ann: odd spend" in done.reason) == ("kill_switch", True)
    room.store.ledger.switch(killed=False, by="Ann", why="checked", at=room.store.now)
    assert room.act(room.wish()).outcome == "applied"


def test_a_protected_budget_and_one_with_a_broken_day_stay(room: Room):
    room.store.ledger.protect(room.entity.entity_id, room.entity.account_id, "o", protected=True, by="Ann", at=room.store.now)
    assert room.act(room.wish()).guard == "protected"
    room.store.ledger.protect(room.entity.entity_id, room.entity.account_id, "o", protected=False, by="Ann", at=room.store.now)
    wish = room.wish()
    day = room.store.lake.read("actuals", wish.as_of)
    room.store.lake.write("actuals", wish.as_of, pl.concat([day, day.head(1)]))
    done = room.act(wish)
    assert (done.guard, "appears more than once" in done.reason) == ("sound_data", True)


def test_an_approval_lets_a_large_share_through(room: Room):
    wish = room.wish(share=0.8)
    assert room.act(wish).guard == "approval"
    room.store.ledger.approve(wish, by="Ann", at=room.store.now)
    assert room.act(wish).outcome == "applied"


def test_what_the_platform_does_not_tell_stops_the_change(room: Room):
    wish = room.wish()
    room.control.fault("permission", times=None, path="/activities", code=200)
    done = room.act(wish)
    assert (done.outcome, done.guard, room.present()) == ("blocked", "foreign_edits", wish.expected_micros)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), True, 1.5, "100", -1, 0, 10**16, 1])
def test_only_whole_amounts_pass_the_choke_point(room: Room, amount: Any):
    facts = room.budgets.account(room.entity.account_id)
    with pytest.raises(AmountError):
        minor_units(amount, facts.currency, facts)
    with pytest.raises(AmountError, match="and account"):
        minor_units(facts.minor_micros, "XXX", facts)


def test_what_is_no_budget_is_refused(room: Room):
    with pytest.raises(Refused):
        room.budgets.read("ad_set", "120999")


def test_caps_must_make_sense(room: Room):
    with pytest.raises(LedgerError, match="above that of the account"):
        room.arm(account_micros=1)
    with pytest.raises(LedgerError, match="give an amount above 0"):
        room.arm(month_micros=0)
    with pytest.raises(LedgerError, match="Say who decides"):
        room.store.ledger.switch(killed=True, by=" ", why="", at=NOW)
