"""Patterns that nobody found, for tests of what is made of patterns."""

from datetime import date
from typing import Any

import polars as pl
from hypothesis import strategies as st

from learning_assets.learning import lift

DAY = date(2026, 2, 1)
PATTERNS = pl.Schema({"owner": pl.String, **lift.FOUND, **lift.STATE})


def pattern(**given: Any) -> dict[str, Any]:
    """An active pattern of an account: question hooks raise CTR by a tenth."""
    strength = given.get("strength", 0.1)
    half = given.get("half", 0.05)
    row = {
        "owner": "ann",
        "scope": "account",
        "account_id": "1",
        "niche": None,
        "attribute": "hook_types",
        "value": "question",
        "metric": "ctr",
        "evidence": "observational",
        "log_lift": None if strength is None else 1.2 * strength,
        "low": None if strength is None else 1.2 * strength - 2 * half,
        "high": None if strength is None else 1.2 * strength + 2 * half,
        "p_value": 0.01,
        "shrunk_log_lift": strength,
        "shrunk_low": None if strength is None else strength - half,
        "shrunk_high": None if strength is None else strength + half,
        "confidence": 0.98,
        "ads_with": 14,
        "ads_without": 40,
        "accounts": 1,
        "impressions": 100_000,
        "status": "active",
        "sign": 1 if (strength or 1) > 0 else -1,
        "last_validated": DAY,
    }
    return {name: value for name, value in (row | given).items() if name in PATTERNS}


def of_all(**given: Any) -> dict[str, Any]:
    return pattern(**({"owner": None, "scope": "all", "account_id": None, "accounts": 12} | given))


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=PATTERNS)


RICH = frame(
    pattern(strength=0.1),
    pattern(value="story", strength=-0.3, half=0.1),
    pattern(attribute="cta", value="BUY", metric="cvr", strength=0.2),
    pattern(attribute="cta × hook_types", value="BUY × question", strength=0.05, half=0.02),
    of_all(strength=0.2),
    of_all(attribute="template", value="video", strength=0.15, evidence="randomized"),
    of_all(scope="niche", niche="beauty", value="story", strength=0.25),
    pattern(owner="ann", account_id="2", value="urgency", strength=0.5),
)
"""Patterns of two accounts of one owner, of a niche and of all, single ones and a pair."""

STATES = st.sampled_from(
    [
        None,
        pattern(),
        pattern(strength=0.12),
        pattern(strength=0.4),
        pattern(strength=-0.2),
        pattern(strength=None),
        pattern(status="testing"),
        pattern(status="deprecated", note="weak"),
        pattern(status="deprecated", note="sign_reversed", strength=-0.2, sign=1),
    ]
)
CHOICES = [
    {},
    {"value": "story", "evidence": "randomized"},
    {"metric": "cvr", "attribute": "cta", "value": "BUY"},
    {"attribute": "cta × hook_types", "value": "BUY × question"},
    {"owner": None, "scope": "niche", "account_id": None, "niche": "beauty"},
    {"owner": "bob", "account_id": "2"},
]


@st.composite
def histories(draw: st.DrawFn) -> list[pl.DataFrame]:
    """Patterns of some days, each in any state on any day."""
    days = draw(st.integers(2, 5))
    states = draw(st.lists(st.lists(STATES, min_size=days, max_size=days), min_size=len(CHOICES), max_size=len(CHOICES)))
    return [
        frame(*(state[day] | choice for choice, state in zip(CHOICES, states, strict=True) if state[day] is not None))
        for day in range(days)
    ]
