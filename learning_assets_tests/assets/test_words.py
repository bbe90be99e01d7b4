"""What is said in plain words."""

from typing import Any

import pytest

from learning_assets.assets import words

ADD: dict[str, Any] = {
    "action": "add",
    "attribute": "hook_types",
    "from_value": None,
    "to_value": "ugc",
    "metric": "ctr",
    "log_lift": 0.2,
    "low": 0.15,
    "high": 0.25,
    "evidence": "observational",
    "scope": "all",
    "ads_with": 30,
    "ads_without": 70,
    "winners_with": 9,
    "winners": 20,
    "losers_with": 5,
    "losers": 40,
}


def test_a_suggestion_says_what_to_do_and_on_what_that_rests():
    assert words.suggested(ADD) == (
        "Add ugc hooks: +22 % CTR expected, 95 % between +16 and +28, from 30 ads with and 70 without in all accounts, observational; "
        "9 of 20 winners and 5 of 40 losers had ugc hooks."
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"action": "choose", "attribute": "has_number", "to_value": "no"}, "Try no number in the opening: "),
        (
            {"action": "change", "attribute": "cta", "from_value": "LEARN_MORE", "to_value": "SHOP_NOW"},
            "Instead of the button Learn more, try the button Shop now: ",
        ),
        ({"action": "drop", "from_value": "story", "to_value": None}, "Drop story hooks: "),
        ({"action": "leave", "attribute": "template", "from_value": "video", "to_value": None}, "Try anything but video ads: "),
    ],
)
def test_each_kind_of_suggestion_has_words_of_its_own(changes: dict[str, Any], says: str):
    assert words.suggested(ADD | changes).startswith(says)


def test_a_suggestion_without_a_formula_says_nothing_of_winners():
    said = words.suggested(
        ADD | {"winners": None, "winners_with": None, "losers": None, "losers_with": None, "scope": "account"}
    )
    assert said.endswith("from 30 ads with and 70 without in this account, observational.")
