"""Whether money moves once: `python -m benchmarks.money_safety [--schedules 2000] [--seed N] [--short]`.

Random schedules against the simulated Graph server over HTTP. In each, one decision about one ad set is carried out by the product's writer, and something may
go wrong: the process is killed at one of the ledger's steps (`KILLS` of them with SIGKILL, the others by leaving everything where it is and going on with new
connections), the answer to the write is lost after it was applied, comes too late, or says success without an effect, a rate limit or an error
refuses it, somebody else edits the budget, two processes act at once, the clocks differ by up to half an hour, or the decision itself asks for more
than its caps allow. Then the account is reconciled, the same decision is carried out once more, and some changes are taken back, a part of them after
somebody else has changed the budget.

What really happened is what the server's own file of changes says. The last line is one JSON object: `schedules`; `raised_twice`, budgets that were raised more
than once by one decision; `cap_exceeded`, changes of ours above a cap or a step of more than 20 % of what the decision knew; `unknown_left`, changes
whose outcome is not known after reconciliation; `undo_exact`, share of takings back that restored the budget exactly, or left alone one that somebody else had
changed; `killed`, processes; `applied`, `outcomes`: how schedules ended, by status or guard; `ledger_wrong`, changes that the ledger calls applied and
the server does not know, or the reverse.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.stores import remove
from learning_assets.learning.guards import Wish

EPOCH = date(2026, 1, 5)
BEGIN = datetime(2026, 2, 2, 15, 0, tzinfo=UTC)
STEPS = ("intent", "validate", "validated", "sent", "write", "read back", "settle applied")
"""Steps at which the process is ended; each is told before it is taken."""
TROUBLES = (
    *("none", "killed", "lost_reply", "late_reply", "no_effect", "throttled", "server_error", "refused", "foreign_edit"),
    *("two_writers", "clock_skew", "too_much"),
)
SKEW = timedelta(minutes=30)
REST = timedelta(days=4)
"""Time after which an ad set is decided about again: longer than the cool-down."""
KILLS, MOST_DAYS, A_DAY = 60, 70, 3
CAP_ENTITY, CAP_ACCOUNT = 1.6, 1.12
"""Caps over the budget at the beginning: of an ad set, and of an account's together."""


@dataclass(frozen=True, slots=True)
class Entity:
    """An ad set of the market, with its budget at the beginning, micros."""

    account_id: str
    entity_id: str
    currency: str
    minor_micros: int
    base_micros: int


@dataclass(slots=True)
class Tally:
    """What the schedules came to."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    undone: int = 0
    undone_exactly: int = 0
    killed: int = 0


# The process that acts.


def work() -> None:
    """Carry out what is asked on standard input, a line each, as the environment says where; answers are lines too."""
    from learning_assets.acting.reconciling import reconcile
    from learning_assets.acting.writer import act, undo
    from learning_assets.build import open_store
    from learning_assets.learning.guards import Caps
    from learning_assets.opening import open_identity, open_source
    from learning_assets.settings import Settings
    from learning_assets.store.ledger import LedgerError
    from learning_assets.store.store import Store

    class Dated(Store):
        """A store whose clock is told."""

        moment = BEGIN

        @property
        def now(self) -> datetime:
            return self.moment

    class Ended(BaseException):
        """The process is gone, as far as store and platform can see."""

    settings = Settings()
    source = open_source(settings, open_identity(settings))
    opened = open_store(settings)

    def fresh() -> Dated:
        return Dated(settings, opened._schemas, opened._identity)  # pyright: ignore[reportPrivateUsage]

    store = fresh()
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        store.moment = datetime.fromisoformat(asked["now"])

        def at_step(name: str, asked: dict[str, Any] = asked) -> None:
            if name == asked.get("end_at"):
                if asked.get("kill"):
                    os.kill(os.getpid(), signal.SIGKILL)
                raise Ended

        answer: dict[str, Any] = {}
        budgets = source.budgets  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        try:
            if "arm" in asked:
                for account, caps in asked["arm"].items():
                    store.ledger.arm(account, account, Caps(**caps), by="benchmark", at=store.now)
            elif "reconcile" in asked:
                answer["open"] = [
                    one.status for one in reconcile(store, budgets, asked["reconcile"]) if one.status == "unknown"
                ]
            elif "undo" in asked:
                done = undo(store, budgets, asked["undo"], by="benchmark", at_step=at_step)
                answer |= {"outcome": done.outcome, "guard": done.guard, "reason": done.reason}
            else:
                wish = _wish(asked["wish"])
                _decided(store, wish)
                (done,) = act(store, budgets, [wish], at_step=at_step)
                answer |= {"outcome": done.outcome, "guard": done.guard, "reason": done.reason, "change": done.change_id}
        except Ended:
            answer["outcome"] = "ended"
            store = fresh()
        except LedgerError as error:
            answer |= {"outcome": "refused", "reason": str(error)}
        print(json.dumps(answer), flush=True)


def _wish(told: dict[str, Any]) -> Wish:
    return Wish(**told | {"decided_at": datetime.fromisoformat(told["decided_at"]), "as_of": date.fromisoformat(told["as_of"])})


def _decided(store: Any, wish: Wish) -> None:
    """The decision behind a wish, of an experiment that is old enough."""
    import polars as pl

    row = {
        "as_of": wish.as_of,
        "revision": 1,
        "account_id": wish.account_id,
        "experiment_id": wish.entity_id,
        "decision_id": wish.decision_id,
        "owner": wish.owner,
        "decided_at": wish.decided_at,
        "replayed": False,
        "status": "promoted",
        "evidence": "observational",
        "reason": "benchmark",
        "evidence_from": wish.as_of - timedelta(days=40),
    }
    columns = store.tables.schema("promotion_decisions")
    store.tables.upsert(
        "promotion_decisions", pl.DataFrame([row], schema={name: columns[name] for name in row}), overwrite=False
    )


class Worker:
    """One process that acts, and the next one where it was killed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._started = [self._start(), self._start()]

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "benchmarks.money_safety", "--work"]
        return subprocess.Popen(command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, asked: dict[str, Any]) -> None:
        """Ask, without waiting."""
        process = self._started[0]
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The next answer; `killed` where the process ended, whose place the spare one takes."""
        process = self._started[0]
        assert process.stdout is not None
        line = process.stdout.readline()
        while line.strip() == "ready":
            line = process.stdout.readline()
        if line:
            return json.loads(line)
        if process.wait() != -signal.SIGKILL:
            raise RuntimeError(f"the process that acts ended with {process.returncode}")
        self._started = [self._started[1], self._start()]
        return {"outcome": "killed"}

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Ask and wait."""
        self.send(asked)
        return self.answer()

    def close(self) -> None:
        """End the processes."""
        for process in self._started:
            process.kill()
            process.wait()


# Schedules.


class Schedules:
    """The random schedules against one server and one store."""

    def __init__(
        self, seed: int, control: Any, state: Path, workers: list[Worker], entities: list[Entity], kills: int, of: int
    ) -> None:
        self.chance = random.Random(seed)
        self.control, self.state, self.workers = control, state, workers
        self.entities = {entity.entity_id: entity for entity in entities}
        self.by_account: dict[str, list[Entity]] = {}
        for entity in entities:
            self.by_account.setdefault(entity.account_id, []).append(entity)
        self.caps = self._caps()
        self.kills_left = kills
        self.share_of_kills = min(1.0, kills / max(of / len(TROUBLES), 1))
        self.tally = Tally()
        self.decisions: dict[tuple[str, str], Wish] = {}
        self.asked: dict[str, datetime] = {}

    def add(self, live: dict[str, Entity]) -> None:
        """Ad sets that came, as they were before anything was moved."""
        self.entities = live | self.entities

    def _caps(self) -> dict[str, dict[str, Any]]:
        """Caps by account."""
        found: dict[str, dict[str, Any]] = {}
        for account, mine in self.by_account.items():
            whole = sum(entity.base_micros for entity in mine)
            found[account] = {
                "currency": mine[0].currency,
                "entity_micros": self.cap_of_entity(account),
                "account_micros": int(CAP_ACCOUNT * whole),
                "month_micros": 10 * whole,
                "bandit": False,
            }
        return found

    def cap_of_entity(self, account: str) -> int:
        """The cap of one ad set: that of the account's middle one."""
        sizes = sorted(entity.base_micros for entity in self.by_account[account])
        return int(CAP_ENTITY * sizes[len(sizes) // 2])

    def changes(self) -> list[dict[str, Any]]:
        """The server's own list."""
        return json.loads(self.state.read_text())["changes"] if self.state.exists() else []

    def budget(self, entity: Entity) -> int:
        """The server's present budget of an ad set."""
        mine = [change for change in self.changes() if change["entity_id"] == entity.entity_id]
        return mine[-1]["new_micros"] if mine else entity.base_micros

    def day(self, now: datetime, live: list[str], count: int) -> int:
        """Schedules of one day about ad sets that deliver, and how many there were."""
        rested = [name for name in live if now - self.asked.get(name, BEGIN - REST) >= REST]
        for name in self.chance.sample(rested, min(count, len(rested))):
            entity = self.entities[name]
            self.asked[name] = now
            # The circuit breaker disarms; a person who has looked arms again.
            self.workers[0].ask({"now": now.isoformat(), "arm": {entity.account_id: self.caps[entity.account_id]}})
            self.one(entity, now)
        later = now + timedelta(minutes=40)
        self.control.step(later)
        for account in self.by_account:
            self.workers[0].ask({"now": later.isoformat(), "reconcile": account})
        return min(count, len(rested))

    def one(self, entity: Entity, now: datetime) -> None:
        """One schedule."""
        trouble = self.chance.choice(TROUBLES)
        present = self.budget(entity)
        step = self.chance.uniform(0.05, 0.2) if trouble != "too_much" else self.chance.uniform(0.21, 3)
        wanted = int(present * (1 + step)) // entity.minor_micros * entity.minor_micros
        wish = Wish(
            decision_id=f"d-{entity.entity_id}-{now:%Y%m%d}",
            account_id=entity.account_id,
            owner=entity.account_id,
            entity_kind="ad_set",
            entity_id=entity.entity_id,
            currency=entity.currency,
            expected_micros=present,
            wanted_micros=wanted,
            kind="promotion",
            decided_at=now - timedelta(minutes=45),
            as_of=(now - timedelta(days=1)).date(),
            reason="benchmark",
            lift=step,
            share=0.6,
        )
        self.decisions[entity.entity_id, str(wish.as_of)] = wish
        told = asdict(wish) | {"decided_at": wish.decided_at.isoformat(), "as_of": str(wish.as_of)}
        skew = self.chance.uniform(-1, 1) * SKEW if trouble == "clock_skew" else timedelta(0)
        asked: dict[str, Any] = {"now": (now + skew).isoformat(), "wish": told}
        self._trouble(trouble, entity, asked)
        self.workers[0].send(asked)
        answers = []
        if trouble == "two_writers":
            self.workers[1].send(asked)
            answers.append(self.workers[1].answer())
        answers.append(self.workers[0].answer())
        self.control.clear()
        first = answers[-1]
        self.tally.killed += first["outcome"] == "killed"
        self.tally.outcomes[first.get("guard") or first["outcome"]] += 1
        # What a schedule left open is resolved, and the same decision is carried out once more.
        soon = now + timedelta(minutes=15)
        self.workers[0].ask({"now": soon.isoformat(), "reconcile": entity.account_id})
        again = self.workers[0].ask({"now": soon.isoformat(), "wish": told})
        change = first.get("change") or again.get("change")
        applied = "applied" in (first["outcome"], again["outcome"])
        if applied and change and self.chance.random() < 0.3:
            self._undo(entity, wish, change, soon)

    def _trouble(self, trouble: str, entity: Entity, asked: dict[str, Any]) -> None:
        """Switch on what goes wrong."""
        path, fault = f"/{entity.entity_id}", self.control.fault
        # The first call that changes a budget only validates.
        if trouble == "killed":
            asked["end_at"] = self.chance.choice(STEPS)
            asked["kill"] = self.kills_left > 0 and self.chance.random() < self.share_of_kills
            self.kills_left -= asked["kill"]
        elif trouble == "lost_reply":
            fault("reset", after=1, path=path, method="POST")
        elif trouble == "late_reply":
            fault("slow", after=1, path=path, method="POST", seconds=1.5)
        elif trouble == "no_effect":
            fault("success_without_effect", after=1, path=path)
        elif trouble == "throttled":
            fault("throttle", after=self.chance.randrange(2), path=path, method="POST", wait=1)
        elif trouble == "server_error":
            fault(
                self.chance.choice(("html_502", "http_500", "not_json", "transient")),
                after=self.chance.randrange(2),
                path=path,
                method="POST",
            )
        elif trouble == "refused":
            fault("budget_changes", after=self.chance.randrange(2), path=path)
        elif trouble == "foreign_edit":
            fault("foreign_edit", after=0, path=path, factor=self.chance.choice((0.7, 1.3, 2.0)))

    def _undo(self, entity: Entity, wish: Wish, change: str, now: datetime) -> None:
        """Take a change back, in a part of the cases after somebody else has changed the budget."""
        meddled = self.chance.random() < 0.3
        if meddled:
            self.control.fault("foreign_edit", path=f"/{entity.entity_id}", factor=1.1)
        before = self.budget(entity)
        answer = self.workers[0].ask({"now": now.isoformat(), "undo": change})
        self.control.clear()
        after = self.budget(entity)
        ours = [one for one in self.changes() if one["entity_id"] == entity.entity_id][-1]["application"] != "Ads Manager"
        self.tally.undone += 1
        restored = answer["outcome"] == "applied" and after == wish.expected_micros
        left_alone = answer["outcome"] != "applied" and (after == before or not ours)
        self.tally.undone_exactly += restored or left_alone

    # What the server says.

    def judged(self, changes: list[dict[str, Any]], ledger: list[dict[str, Any]]) -> dict[str, Any]:
        """The figures."""
        ours = [change for change in changes if change["application"] != "Ads Manager"]
        taken_back = {(row["entity_id"], row["before_micros"], row["after_micros"]) for row in ledger if row["undoes"]}
        raises = Counter(
            (change["entity_id"], change["at"][:10]) for change in ours if change["new_micros"] > change["old_micros"]
        )
        caps = self.caps
        account_of = {name: entity.account_id for name, entity in self.entities.items()}
        exceeded, budgets, moved = 0, {name: entity.base_micros for name, entity in self.entities.items()}, set[str]()
        for change in changes:
            name = change["entity_id"]
            budgets[name] = change["new_micros"]
            if change["application"] == "Ads Manager" or change["new_micros"] <= change["old_micros"]:
                continue
            moved.add(name)
            account = account_of[name]
            together = sum(budgets[one] for one in moved if account_of[one] == account)
            known = [
                wish.expected_micros
                for (entity, _), wish in self.decisions.items()
                if entity == name and wish.wanted_micros == change["new_micros"]
            ]
            back = any(entity == name and after == change["new_micros"] for entity, _, after in taken_back)
            too_far = not back and not any(change["new_micros"] <= 1.2 * one + 1 for one in known)
            exceeded += (
                change["new_micros"] > caps[account]["entity_micros"] or together > caps[account]["account_micros"] or too_far
            )
        applied = Counter(
            (row["entity_id"], row["before_micros"], row["after_micros"]) for row in ledger if row["status"] == "applied"
        )
        real = Counter((change["entity_id"], change["old_micros"], change["new_micros"]) for change in ours)
        return {
            "raised_twice": sum(count > 1 for count in raises.values()),
            "cap_exceeded": exceeded,
            "unknown_left": sum(row["status"] not in ("applied", "failed") for row in ledger),
            "undo_exact": self.tally.undone_exactly / self.tally.undone if self.tally.undone else None,
            "applied": sum(applied.values()),
            "undone": self.tally.undone,
            "killed": self.tally.killed,
            "ledger_wrong": sum(((applied - real) + (real - applied)).values()),
            "outcomes": dict(self.tally.outcomes.most_common()),
        }


def entities_of(source: Any, accounts: list[str]) -> list[Entity]:
    """Ad sets with a daily budget of their own that are out of their learning phase."""
    found: list[Entity] = []
    for account in accounts:
        facts = source.budgets.account(account)
        rows = source.graph.rows(
            (f"act_{account}", "adsets"),
            {"fields": "id,daily_budget,effective_status,learning_stage_info"},
            _scope(source, account),
        )
        for row in rows:
            stage = (row.get("learning_stage_info") or {}).get("status")
            if row.get("daily_budget") and row["effective_status"] == "ACTIVE" and stage in ("SUCCESS", "FAIL"):
                base = int(row["daily_budget"]) * facts.minor_micros
                found.append(Entity(account, row["id"], facts.currency, facts.minor_micros, base))
    return found


def _scope(source: Any, account: str) -> Any:
    from learning_assets.platforms.meta.transport import Fetch

    return source.graph.scope(Fetch(), account)


def furnish(store: Any, accounts: Any, first: date, last: date) -> None:
    """What the guards read of the facts: whole days with an even spend, of which nothing is wrong."""
    import polars as pl

    from learning_assets.clock import days_between
    from learning_assets.platforms.source import ACTUALS, CATALOG

    store.register(accounts.with_columns(consents=pl.lit(None, dtype=pl.Boolean)))
    told: list[pl.DataFrame] = []
    for day in days_between(first, last):
        rows = accounts.select(
            "account_id",
            "currency",
            date=pl.lit(day),
            ad_id=pl.col("account_id"),
            impressions=1_000,
            link_clicks=20,
            spend_micros=10_000_000,
        )
        store.lake.write("actuals", day, rows.match_to_schema(ACTUALS, missing_columns="insert", integer_cast="upcast"))
        store.lake.write("ad_catalog", day, CATALOG.to_frame())
        told.append(
            accounts.select(
                "account_id",
                "owner",
                as_of=pl.lit(day),
                fact=pl.lit("daily"),
                status=pl.lit("complete"),
                rows=pl.lit(1),
                seconds=pl.lit(0.0),
                spend_micros=10_000_000,
                account_spend_micros=10_000_000,
            )
        )
    store.tables.upsert("fetch_manifest", pl.concat(told))


def run(seed: int, schedules: int = 2_000, accounts: int = 20, ads: int = 30, kills: int = KILLS) -> dict[str, Any]:
    """The benchmark."""
    from learning_assets.build import open_store
    from learning_assets.opening import open_identity, open_source
    from learning_assets.sandbox.process import start
    from learning_assets.settings import Settings
    from learning_assets.store.walls import PIPELINE

    market = {
        "epoch": EPOCH.isoformat(),
        "seed": seed,
        "accounts": accounts,
        "ads": ads,
        "impressions": 1_000,
        "history_days": 40,
    }
    with tempfile.TemporaryDirectory(prefix="money-safety-") as room:
        state = Path(room) / "state.json"
        with start(market, now=BEGIN, state=state) as control:
            control.limit(quota=10**9)
            told = {
                "LEARNING_HOME": str(Path(room) / "home"),
                "LEARNING_SOURCE": "meta",
                "LEARNING_META_GRAPH_URL": control.url,
                "LEARNING_META_ACCESS_TOKEN": control.token,
                "LEARNING_META_BACKOFF_SECONDS": "0.01",
                "LEARNING_META_READ_SECONDS": "1",
                "LEARNING_META_WAIT_MINUTES": "0.001",
                "LEARNING_META_THROTTLE_PCT": "1000",
                "LEARNING_ACTING_FIRST_HOUR": "0",
                "LEARNING_ACTING_OPEN_HOURS": "24",
                "LEARNING_ACTING_OPEN_WEEKDAYS": "7",
                "LEARNING_ACTING_READ_BACK_SECONDS": "0.01",
                "LEARNING_START_DAY": "2025-12-01",
                "POLARS_MAX_THREADS": "1",
            }
            outside = {name: value for name, value in os.environ.items() if not name.startswith("LEARNING_")}
            os.environ.update(told)
            try:
                settings = Settings()
                store, source = open_store(settings), open_source(settings, open_identity(settings))
                known = source.accounts()
                names = known["account_id"].to_list()
                entities = entities_of(source, names)
                days = MOST_DAYS
                furnish(store, known, BEGIN.date() - timedelta(days=12), BEGIN.date() + timedelta(days=days + 2))
                workers = [Worker(outside | told), Worker(outside | told)]
                of = Schedules(seed, control, state, workers, entities, kills, schedules)
                done = number = 0
                try:
                    for number in range(days):
                        now = BEGIN + timedelta(days=number)
                        control.step(now)
                        live = {one.entity_id: one for one in entities_of(source, names)}
                        of.add(live)
                        done += of.day(now, sorted(live), min(A_DAY * accounts, schedules - done))
                        if done == schedules:
                            break
                        print(f"{done} of {schedules}: {dict(of.tally.outcomes)}", file=sys.stderr, flush=True)
                finally:
                    for worker in workers:
                        worker.close()
                ledger = store.tables.read("budget_changes", PIPELINE).to_dicts()
                return {"schedules": done, **of.judged(of.changes(), ledger), "entities": len(of.asked), "days": number + 1}
            finally:
                for name in told:
                    os.environ.pop(name, None)
                remove(Path(room) / "home")


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="few schedules, in seconds")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work()
    elif asked.short:
        print(json.dumps(run(asked.seed, schedules=40, accounts=4, ads=8, kills=2)))
    else:
        print(json.dumps(run(asked.seed, asked.schedules)))


if __name__ == "__main__":
    main()
