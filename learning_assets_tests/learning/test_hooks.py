"""Hook rules: one example a type, whole words only, unknown where nothing is said."""

import polars as pl
import pytest
from hypothesis import given, settings
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

OTHER_WORDS = [
    ("pain_point", "Stiff shoulders after every shift"),
    ("pain_point", "Another evening lost to ironing"),
    ("statistic", "Four in five bikes are sold with the wrong saddle"),
    ("social_proof", "Midwife-approved? Voted best pram by parents"),
    ("social_proof", "Chosen by three generations of sailors"),
    ("bold_claim", "The lightest tent you can buy"),
    ("bold_claim", "Never iron a shirt again"),
    ("how_to", "Bake focaccia at home in 40 minutes"),
    ("story", "Two years ago, Ines sold everything"),
    ("ugc", "Okay, this kettle is a bit much"),
    ("ugc", "“It follows me around the house”"),
    ("transformation", "Goodbye dull floors, hello shine"),
    ("offer", "Three jars for £12"),
    ("curiosity", "Only locals know where the path ends"),
    ("negative", "Five mistakes that shorten a battery's life"),
    ("direct_address", "Cyclists, this lane is new"),
    ("urgency", "Two days to go"),
    ("contrarian", "Rain was never the problem"),
    ("demonstration", "Swipe to compare the two lenses"),
]

PLAIN = [
    "Cocoa powder, 72% cocoa",
    "Cotton shirts, 100% cotton",
    "Sugar-free gum, 12 pieces",
    "Houses for sale in Kent",
    "Two in one shampoo",
    "Trains from Leeds at 9.15",
]


def said(*texts: str | None, min_confidence: float = 0.5) -> list[list[str] | None]:
    return hooks.label(pl.Series(texts, dtype=pl.String), min_confidence)["hook_types"].to_list()


@pytest.mark.parametrize(("hook", "text"), EXAMPLES)
def test_each_type_is_said_where_it_stands(hook: str, text: str):
    assert hook in (said(text)[0] or [])


@pytest.mark.parametrize(("hook", "text"), OTHER_WORDS)
def test_constructions_are_known_beside_stock_phrases(hook: str, text: str):
    assert hook in (said(text)[0] or [])


@pytest.mark.parametrize("text", PLAIN)
def test_what_only_looks_like_a_cue_says_nothing(text: str):
    assert said(text) == [["unknown"]]


def test_a_promise_and_a_deadline_are_not_warnings():
    assert "negative" not in (said("Never iron a shirt again")[0] or [])
    assert said("Don't miss the last weekend") == [["urgency"]]


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


@settings(deadline=None)
@given(
    cue=st.sampled_from(["you", "sale", "secret", "never", "hurry", "watch", "worst", "pain", "ever", "expires", "discount"]),
    before=st.text("abcdefghijklmnopqrstuvwxyzäé", min_size=1, max_size=3),
    after=st.text("zxqé", min_size=1, max_size=3),
)
def test_letters_around_a_cue_take_it_away(cue: str, before: str, after: str):
    found = hooks.label(pl.Series([f"{before}{cue}{after}"]))
    assert found["hook_types"].to_list() == [["unknown"]]


@settings(deadline=None)
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


def says(*rows: tuple[list[str], list[float | None]] | None) -> pl.DataFrame:
    """What a source says of some ads."""
    schema = {"hook_types": pl.List(pl.String), "hook_confidences": pl.List(pl.Float64)}
    return pl.DataFrame([row or (None, None) for row in rows], schema=schema, orient="row")


def test_a_models_answer_replaces_the_rules_and_its_silence_does_not():
    rule = says((["offer"], [0.9]), (["offer"], [0.9]), (["offer"], [0.9]), None)
    llm = says((["story", "question"], [0.6, 0.8]), ([], []), None, None)
    found = hooks.combine({"rule": rule, "llm": llm})
    assert found.schema == hooks.SAID
    assert found["hook_types"].to_list() == [["question", "story"], ["unknown"], ["offer"], None]
    assert found["hook_confidences"].to_list() == [[0.8, 0.6], [None], [0.9], None]
    assert found["hook_sources"].to_list() == [["llm", "llm"], ["llm"], ["rule"], None]


def test_what_platform_and_person_say_stands_beside_the_others():
    found = hooks.combine(
        {
            "rule": says((["offer", "urgency"], [0.9, 0.6]), (["unknown"], [None])),
            "human": says((["urgency"], [None]), (["story"], [1.0])),
            "meta": says((["ugc"], [0.7]), None),
        }
    )
    assert found["hook_types"].to_list() == [["ugc", "urgency", "offer"], ["story"]]
    assert found["hook_sources"].to_list() == [["meta", "human", "rule"], ["human"]]
    assert found["hook_confidences"].to_list() == [[0.7, None, 0.9], [1.0]]


def test_rules_alone_are_what_they_say():
    rule = hooks.label(pl.Series(["How to save 50% on your bills", "Blue linen shirt", None]))
    assert hooks.combine({"rule": rule}).equals(rule.select(hooks.SAID.names()))


def test_types_below_the_bar_are_not_said_and_an_answer_stays_an_answer():
    said = says((["offer", "story"], [0.9, 0.4]), (["story"], [0.4]), ([], []), (["ugc"], [None]), None)
    assert hooks.above(said, 0.5).rows() == [(["offer"], [0.9]), ([], []), ([], []), ([], []), (None, None)]
    assert hooks.above(says(([], []), ([], [])), 0.5).rows() == [([], []), ([], [])]


@pytest.mark.parametrize("said", [{}, {"rule": says(None), "llm": says(None, None)}])
def test_what_cannot_be_combined_is_refused(said: dict[hooks.Source, pl.DataFrame]):
    with pytest.raises(ValueError, match="same number of rows"):
        hooks.combine(said)


one = st.one_of(
    st.none(),
    st.lists(st.sampled_from([*hooks.HOOK_TYPES[:4], hooks.UNKNOWN]), unique=True, max_size=4).map(
        lambda kinds: (kinds, [0.5] * len(kinds))
    ),
)


@settings(deadline=None)
@given(st.lists(st.tuples(one, one, one, one), min_size=1, max_size=5))
def test_every_type_that_counts_is_said_once_by_the_first_in_rank(rows: list[tuple[tuple[list[str], list[float]] | None, ...]]):
    found = hooks.combine({source: says(*(row[n] for row in rows)) for n, source in enumerate(hooks.RANKING)})  # type: ignore[arg-type]
    for row, got in zip(rows, found.iter_rows(named=True), strict=True):
        heard = {source: said for source, said in zip(hooks.RANKING, row, strict=True) if said is not None}
        if "llm" in heard:
            heard.pop("rule", None)
        expected: dict[str, str] = {}
        for source, (kinds, _) in heard.items():
            expected |= {kind: source for kind in kinds if kind != hooks.UNKNOWN and kind not in expected}
        if heard and not expected:
            expected = {hooks.UNKNOWN: next(iter(heard))}
        assert dict(zip(got["hook_types"] or [], got["hook_sources"] or [], strict=True)) == expected
        assert (got["hook_types"] is None) == (not heard)
