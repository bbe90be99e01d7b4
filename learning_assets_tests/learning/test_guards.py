"""Every guard refuses what it is for, says why in words, and refuses what it does not know."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.learning import guards
from learning_assets.learning.guards import Caps, Facts, Guarded, Move, Wish
from learning_assets.settings import Acting

RULES = Acting()
NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)  # a Wednesday
UNIT = 1_000_000
WISH = Wish(
    decision_id="p-1",
    account_id="a",
    owner="o",
    entity_kind="ad_set",
    entity_id="s",
    currency="USD",
    expected_micros=100 * UNIT,
    wanted_micros=115 * UNIT,
    kind="promotion",
    decided_at=NOW - timedelta(hours=1),
    as_of=date(2026, 3, 3),
    reason="better",
    lift=0.14,
    share=0.6,
)
CAPS = Caps("USD", 200 * UNIT, 500 * UNIT, 5_000 * UNIT, bandit=False)
SOUND = Facts(
    now=NOW,
    timezone="America/New_York",
    simulated_store=False,
    simulated_platform=False,
    killed="",
    armed=CAPS,
    protected=False,
    approved_micros=None,
    current_micros=100 * UNIT,
    minimum_micros=UNIT,
    currency="USD",
    live=True,
    learning="SUCCESS",
    unknown=0,
    moves=[],
    foreign=[],
    budgets={},
    mature_days=9,
    complete=True,
    checks="",
    spend_ratio=1.1,
)


def refused(wish: Wish = WISH, facts: Facts = SOUND, rules: Acting = RULES) -> Guarded | None:
    return guards.first_refusal(wish, facts, rules)


def test_a_sound_raise_passes():
    assert refused() is None


def move(hours: float, before: int = 90, after: int = 100, entity: str = "s", *, undone: bool = False) -> Move:
    return Move(entity, NOW - timedelta(hours=hours), before * UNIT, after * UNIT, undone)


@pytest.mark.parametrize(
    ("guard", "facts", "says"),
    [
        ("right_platform", {"simulated_store": True}, "the store is simulated and the platform is real"),
        ("right_platform", {"simulated_platform": True}, "the store is real and the platform is simulated"),
        ("kill_switch", {"killed": "by Ann: spend looks odd"}, "by Ann: spend looks odd"),
        ("not_unknown", {"unknown": 1}, "learning-assets reconcile"),
        ("protected", {"protected": True}, "it is protected"),
        ("own_budget", {"current_micros": 101 * UNIT}, "somebody has changed it since"),
        ("own_budget", {"currency": "EUR"}, "in USD, the account in EUR"),
        ("minimum", {"minimum_micros": 116 * UNIT}, "below the platform's smallest budget, 116 USD"),
        ("live", {"live": False}, "not delivering"),
        ("sound_data", {"complete": False}, "is not complete"),
        ("sound_data", {"checks": "ad 7 appears more than once"}, "ad 7 appears more than once"),
        ("foreign_edits", {"foreign": [NOW - timedelta(hours=71)]}, "somebody else changed this budget"),
        ("week", {"moves": [move(100, before=70, after=100)]}, "+64% within 7 days"),
        ("caps", {"armed": replace(CAPS, entity_micros=114 * UNIT)}, "above the cap of one entity, 114 USD"),
        (
            "caps",
            {"moves": [move(200, entity="other")], "budgets": {"other": 400 * UNIT}},
            "515 USD a day are above the account's cap",
        ),
        ("caps", {"armed": replace(CAPS, month_micros=400 * UNIT)}, "may add 420 USD to the spend"),
        ("caps", {"armed": replace(CAPS, currency="EUR")}, "caps are in EUR"),
        ("cooldown", {"moves": [move(31)]}, "raised 31 h ago, 72 h required"),
        ("learning_phase", {"learning": "LEARNING"}, "learning phase is LEARNING"),
        ("mature", {"mature_days": 6}, "6 days of the experiment are mature; 7 are needed"),
        ("spend_spike", {"spend_ratio": 1.76}, "1.76 times its usual"),
        (
            "actions_per_day",
            {"moves": [move(1, entity=name) for name in "xyz"], "budgets": {}},
            "3 budgets of the account were moved today",
        ),
        ("working_hours", {"timezone": "Asia/Tokyo"}, "Thursday 00:00"),
        ("working_hours", {"timezone": "Pacific/Auckland"}, "Thursday 04:00"),
        ("armed", {"armed": None}, "this is a dry run"),
    ],
)
def test_each_guard_refuses_and_says_why(guard: str, facts: dict[str, object], says: str):
    found = refused(facts=replace(SOUND, **facts))  # type: ignore[arg-type]
    assert found is not None
    assert found.guard == guard
    assert says in found.reason


@pytest.mark.parametrize(
    ("guard", "wish", "says"),
    [
        ("fresh", {"decided_at": NOW - timedelta(hours=3.2)}, "3.2 hours ago"),
        ("fresh", {"decided_at": NOW + timedelta(hours=1)}, "clocks disagree"),
        ("fresh", {"as_of": date(2026, 3, 1)}, "3 days ago"),
        ("step", {"wanted_micros": 121 * UNIT}, "a raise by 21.0%; 20% at most"),
        ("approval", {"share": 0.75}, "learning-assets promote --approve p-1"),
        ("approval", {"share": None}, "an unknown share"),
        ("bandit_armed", {"kind": "bandit"}, "arm it with --bandit"),
        ("amount", {"wanted_micros": 100 * UNIT}, "no change"),
        ("amount", {"wanted_micros": 0}, "no change of a budget"),
        ("amount", {"expected_micros": 0}, "no change of a budget"),
    ],
)
def test_what_is_asked_is_bounded(guard: str, wish: dict[str, object], says: str):
    found = refused(replace(WISH, **wish))  # type: ignore[arg-type]
    assert found is not None
    assert (found.guard, says in found.reason) == (guard, True)


UNKNOWN = (
    *(
        "killed",
        "protected",
        "current_micros",
        "minimum_micros",
        "currency",
        "live",
        "learning",
        "unknown",
        "moves",
        "foreign",
        "budgets",
    ),
    *("mature_days", "complete", "checks", "spend_ratio", "timezone", "armed"),
)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_refuses_a_raise(name: str):
    assert refused(facts=replace(SOUND, **{name: None})) is not None


def test_an_approval_lets_up_to_its_amount_through():
    much = replace(WISH, share=0.75)
    assert refused(much, replace(SOUND, approved_micros=115 * UNIT)) is None
    assert refused(much, replace(SOUND, approved_micros=114 * UNIT)) is not None


def test_a_cut_passes_where_a_raise_would_not():
    cut = replace(WISH, wanted_micros=80 * UNIT, kind="demotion")
    hard = replace(SOUND, learning="LEARNING", mature_days=0, spend_ratio=3.0, moves=[move(25, before=90, after=100)])
    assert refused(cut, hard) is None
    assert refused(cut, replace(hard, moves=[move(23)])) == Guarded("cooldown", "changed 23 h ago, 24 h required")
    assert refused(cut, replace(hard, killed="by Ann: stop")) is not None


def test_taking_back_needs_no_arming_and_no_hour_but_hands_off_what_is_not_ours():
    back = replace(WISH, wanted_micros=80 * UNIT, kind="undo", decided_at=NOW)
    assert refused(back, replace(SOUND, armed=None, timezone="Asia/Tokyo", foreign=[NOW])) is None
    for facts in ({"current_micros": 99 * UNIT}, {"killed": "by Ann: stop"}, {"unknown": 1}, {"protected": True}):
        assert refused(back, replace(SOUND, **facts)) is not None  # type: ignore[arg-type]


def test_a_raise_that_was_undone_does_not_count_towards_the_month():
    caps = replace(CAPS, month_micros=500 * UNIT)
    assert (
        refused(facts=replace(SOUND, armed=caps, moves=[move(80, entity="other", undone=True)], budgets={"other": 90 * UNIT}))
        is None
    )
    found = refused(facts=replace(SOUND, armed=caps, moves=[move(80, entity="other")], budgets={"other": 90 * UNIT}))
    assert found is not None
    assert found.guard == "caps"


@given(
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 10**6), st.integers(1, 10**6)), max_size=6),
)
def test_nothing_that_passes_is_above_a_cap_or_a_bound(expected: int, wanted: int, past: list[tuple[int, int, int]]):
    wish = replace(WISH, expected_micros=expected * 1_000, wanted_micros=wanted * 1_000)
    moves = [Move("s" if n % 2 else "t", NOW - timedelta(hours=h), b * 1_000, a * 1_000) for n, (h, b, a) in enumerate(past)]
    facts = replace(SOUND, current_micros=expected * 1_000, moves=moves, budgets={"t": 77 * UNIT}, minimum_micros=1)
    if refused(wish, facts) is None and wanted > expected:
        assert wanted <= 1.2 * expected * (1 + 1e-9)
        assert wish.wanted_micros <= CAPS.entity_micros
        least = min(
            [
                wish.expected_micros,
                *(min(m.before_micros, m.after_micros) for m in moves if m.entity_id == "s" and m.at > NOW - timedelta(days=7)),
            ]
        )
        assert wish.wanted_micros <= 1.5 * least * (1 + 1e-9)
        assert guards.exposure(facts, [*moves, Move("s", NOW, wish.expected_micros, wish.wanted_micros)]) <= CAPS.month_micros


def test_weekends_and_fridays_rest():
    for days, passes in ((0, True), (1, True), (2, False), (3, False), (4, False), (5, True)):
        later = timedelta(days=days)
        facts = replace(SOUND, now=NOW + later)
        wish = replace(WISH, decided_at=WISH.decided_at + later, as_of=WISH.as_of + later)
        assert (refused(wish, facts) is None) is passes


@pytest.mark.parametrize(("day", "left"), [(date(2026, 2, 28), 1), (date(2026, 12, 1), 31), (date(2024, 2, 1), 29)])
def test_days_left_of_a_month(day: date, left: int):
    assert guards.days_left(day) == left
