"""Hook rules: one example a type, whole words only, unknown where nothing is said."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.learning import hooks

EXAMPLES = [
    ("question", "Is your mattress older than your dog?"),
    ("pain_point", "Tired of shoes that hurt after an hour"),
    ("statistic", "92% of runners finish the plan"),
    ("statistic", "Nine out of ten dentists agree"),
    ("social_proof", "Join 12,000 happy customers"),
    ("bold_claim", "The best coffee in the world"),
    ("how_to", "How to fold a fitted sheet"),
    ("story", "When I lost my job, I started to bake"),
    ("ugc", "I tried the serum for a month"),
    ("transformation", "Before and after the garden makeover"),
    ("offer", "20% off all boots"),
    ("offer", "Free shipping on every order"),
    ("curiosity", "Nobody tells runners this about their knees"),
    ("negative", "The worst mistake new parents make"),
    ("direct_address", "Your garden deserves better"),
    ("urgency", "Last chance: the doors close on Sunday"),
    ("contrarian", "Unpopular opinion: breakfast is overrated"),
    ("demonstration", "Watch how the blade cuts a tomato"),
]


def said(*texts: str | None, min_confidence: float = 0.5) -> list[list[str] | None]:
    return hooks.label(pl.Series(texts, dtype=pl.String), min_confidence)["hook_types"].to_list()


@pytest.mark.parametrize(("hook", "text"), EXAMPLES)
def test_each_type_is_said_where_it_stands(hook: str, text: str):
    assert hook in (said(text)[0] or [])


def test_every_type_has_an_example_and_a_rule():
    assert {hook for hook, _ in EXAMPLES} == set(hooks.HOOK_TYPES) == {rule.hook for rule in hooks.RULES}


def test_a_plain_sentence_is_unknown_and_no_text_is_null():
    found = hooks.label(pl.Series(["Blue linen shirt", None, "  \u00a0 "]))
    assert found["hook_types"].to_list() == [["unknown"], None, None]
    assert found["hook_confidences"].to_list() == [[None], None, None]
    assert found["hook_sources"].to_list() == [["rule"], None, None]
    assert found["hook_confidence_offer"].to_list() == [0.0, None, None]


def test_several_types_hold_most_confident_first():
    found = hooks.label(pl.Series(["How to save 50% on your bills"])).row(0, named=True)
    assert found["hook_types"] == ["how_to", "offer", "direct_address"]
    assert found["hook_confidences"] == [0.95, 0.935, 0.9]
    assert found["hook_sources"] == ["rule"] * 3
    assert all(
        found[f"hook_confidence_{hook}"] == sure
        for hook, sure in zip(found["hook_types"], found["hook_confidences"], strict=True)
    )


def test_a_discount_is_an_offer_and_not_a_statistic():
    assert said("30% off today's picks", "30% of all picks")[0] == ["offer"]
    assert said("30% of all picks") == [["statistic"]]


def test_cues_of_one_type_add_up():
    one, two = hooks.label(pl.Series(["A popular lamp", "A popular lamp that went viral"]))["hook_confidence_social_proof"]
    assert one == 0.35
    assert two == pytest.approx(1 - 0.65 * 0.5)


def test_curly_quotes_and_capitals_do_not_hide_a_cue():
    assert said("YOU WON’T BELIEVE the light") == said("you won't believe the light")
    assert "curiosity" in (said("YOU WON’T BELIEVE the light")[0] or [])


@pytest.mark.parametrize(
    "text", ["Hair care", "Wholesale", "Youth clubs", "Unwatched", "Showtime", "Nowhere lane", "Salesman", "Painter"]
)
def test_a_cue_inside_a_longer_word_is_not_a_cue(text: str):
    found = hooks.label(pl.Series([text])).row(0, named=True)
    assert {name: value for name, value in found.items() if name.startswith("hook_confidence_") and value} == {}


@given(
    cue=st.sampled_from(["you", "sale", "secret", "never", "hurry", "watch", "worst", "pain", "ever", "expires", "discount"]),
    before=st.text("abcdefghijklmnopqrstuvwxyzäé", min_size=1, max_size=3),
    after=st.text("zxqé", min_size=1, max_size=3),
)
def test_letters_around_a_cue_take_it_away(cue: str, before: str, after: str):
    found = hooks.label(pl.Series([f"{before}{cue}{after}"]))
    assert found["hook_types"].to_list() == [["unknown"]]


@given(st.lists(st.one_of(st.none(), st.text(max_size=60)), max_size=8))
def test_any_text_gives_aligned_answers_within_bounds(texts: list[str | None]):
    found = hooks.label(pl.Series(texts, dtype=pl.String))
    assert found.height == len(texts)
    for row in found.iter_rows(named=True):
        sure = [row[f"hook_confidence_{hook}"] for hook in hooks.HOOK_TYPES]
        if row["hook_types"] is None:
            assert set(sure) == {None}
            continue
        assert len(row["hook_types"]) == len(row["hook_confidences"]) == len(row["hook_sources"])
        assert all(0 <= value <= 1 for value in sure)
        expected = {hook for hook, value in zip(hooks.HOOK_TYPES, sure, strict=True) if value >= 0.5} or {"unknown"}
        assert set(row["hook_types"]) == expected


def test_the_bar_is_checked():
    assert said("A popular lamp", min_confidence=0.3) == [["social_proof"]]
    with pytest.raises(ValueError, match="min_confidence is 0"):
        hooks.label(pl.Series(["a"]), 0)
