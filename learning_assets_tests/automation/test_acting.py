"""The job `act` and the sensor that starts it, and the commands that let it: on the world that has learned."""

from datetime import timedelta

import dagster as dg
import polars as pl
import pytest

from learning_assets.acting.writer import Outcome
from learning_assets.automation.acting import ACT, decisions_made, fresh_wishes, told, worth_telling
from learning_assets.learning.guards import Wish
from learning_assets.store.ledger import wishes as as_wishes
from learning_assets_tests.world import Learned, Run


def asked_for(world: Learned, hours: float = 1.0, name: str = "d-1") -> Wish:
    """A wish that decisions wrote so many hours ago."""
    store = world.store
    arm = store.arms(world.days[-1]).row(0, named=True)
    row = {
        "decision_id": name,
        "entity_id": arm["ad_set_id"],
        "account_id": arm["account_id"],
        "owner": arm["owner"],
        "entity_kind": "ad_set",
        "currency": arm["currency"],
        "expected_micros": 10_000_000,
        "wanted_micros": 11_000_000,
        "kind": "promotion",
        "decided_at": store.now - timedelta(hours=hours),
        "as_of": world.days[-1],
        "reason": "better",
        "lift": 0.1,
        "share": 0.6,
    }
    frame = pl.DataFrame([row], schema=store.tables.schema("budget_wishes"))
    store.tables.upsert("budget_wishes", frame)
    return as_wishes(frame)[0]


def tick(world: Learned, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(instance=world.instance, cursor=cursor, resources={"store": world.store})
    found = decisions_made(context)
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_only_fresh_decisions_are_acted_on(learned_copy: Learned):
    asked_for(learned_copy, hours=3.5, name="old")
    asked_for(learned_copy, hours=-1, name="from the future")
    assert fresh_wishes(learned_copy.store) == []
    wish = asked_for(learned_copy)
    assert fresh_wishes(learned_copy.store) == [wish]


def test_the_sensor_asks_once_for_what_is_new(learned_copy: Learned):
    assert isinstance(tick(learned_copy), dg.SkipReason)
    wish = asked_for(learned_copy)
    found = tick(learned_copy)
    assert isinstance(found, dg.SensorResult)
    assert [request.run_key for request in found.run_requests or []] == [f"act/{wish.decided_at.isoformat()}"]
    assert isinstance(tick(learned_copy, found.cursor), dg.SkipReason)
    assert isinstance(tick(learned_copy, "no moment"), dg.SensorResult)


@pytest.mark.parametrize("tag", ["learning/replay", "dagster/backfill", "dagster/parent_run_id"])
def test_a_replay_a_backfill_and_a_re_execution_never_act(learned_copy: Learned, tag: str):
    job = learned_copy.definitions.resolve_job_def(ACT)
    done = job.execute_in_process(instance=learned_copy.instance, tags={tag: "1"}, raise_on_error=False)
    assert not done.success
    assert "Budgets are not moved by a replay" in str(done.all_events)


def test_a_source_without_budgets_moves_none(learned_copy: Learned):
    asked_for(learned_copy)
    done = learned_copy.definitions.resolve_job_def(ACT).execute_in_process(instance=learned_copy.instance)
    assert done.success
    assert learned_copy.store.ledger.changes().is_empty()


def test_an_alert_says_before_after_why_and_how_to_take_it_back(learned_copy: Learned):
    wish = asked_for(learned_copy)
    text = told(Outcome(wish, "applied", None, "raise the daily budget from 10 USD to 11 USD (+10.0%)", "c-1"), simulated=True)
    assert text.startswith("Simulated market. Account ")
    for part in ("from 10 USD to 11 USD", "Why: better", "learning-assets undo c-1"):
        assert part in text


def test_the_commands_say_what_is_in_force_and_what_is_missing(run: Run):
    assert "None was ever armed" in run("promote").output
    assert "needs --cap-entity, --cap-account and --cap-month" in run("promote", "--arm", "4000001", "--by", "Ann").output
    missing = run("promote", "--disarm", "77", "--by", "Ann")
    assert (missing.exit_code, "There is no account 77" in missing.output) == (1, True)
    assert "Ask for one thing at a time" in run("promote", "--kill", "--resume", "--by", "Ann").output
    assert "No decision nothing asks for a budget" in run("promote", "--approve", "nothing", "--by", "Ann").output
    assert "There is no ad set or campaign 5" in run("promote", "--protect", "5", "--by", "Ann").output
    assert "None yet" in run("changes").output
    assert "The outcome of every change is known" in run("reconcile").output


def test_people_hear_of_what_waits_for_them_and_not_of_the_hour(learned_copy: Learned):
    wish = asked_for(learned_copy)
    for outcome, guard, tells in (
        ("applied", None, True),
        ("dry_run", "armed", True),
        ("blocked", "approval", True),
        ("blocked", "working_hours", False),
    ):
        assert worth_telling(Outcome(wish, outcome, guard, "why")) is tells


def test_what_keeps_a_budget_is_told_once_however_often_it_is_asked_for(learned_copy: Learned):
    ledger, now = learned_copy.store.ledger, learned_copy.store.now
    tells = []
    for hours in range(0, 24 * 9, 12):
        guard = "working_hours" if hours % 24 else "approval"
        wish = asked_for(learned_copy, name=f"d-{hours}")
        tells.append(ledger.outcome(wish, "blocked", guard=guard, reason="why", at=now + timedelta(hours=hours)))
    assert [n for n, told in enumerate(tells) if told] == [0, 1]
    assert ledger.outcomes().height == len(tells)
    later = now + timedelta(days=30)
    assert ledger.outcome(asked_for(learned_copy), "blocked", guard="approval", reason="why", at=later)
