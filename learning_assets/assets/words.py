"""What was learned in plain words, as a media buyer says it.

What belongs here: the names of choices, and the one sentence about an effect that the UI and the command line share. What does not:
tables and plots, and texts of ads, which no sentence quotes.
"""

import math
from collections.abc import Mapping
from typing import Any

from learning_assets.assets.report import percent
from learning_assets.learning.graph import parts

_CHOICES = {
    "hook_types": "{} hooks",
    "hook_emotion": "openings with the emotion {}",
    "headline_length": "headlines of {}",
    "copy_length": "copy of {}",
    "duration": "videos of {}",
    "first_scene": "first scenes of {}",
    "reading_ease_band": "copy that reads {}",
    "sentiment_band": "{} copy",
    "power_words_band": "{} power words",
    "percent_off_band": "{} per cent off",
    "cta": "the button {}",
    "template": "{} ads",
    "audience": "{} audiences",
    "posting_hour": "the hours {}",
}
"""How a value of an attribute is spoken of; any other is named after its attribute."""

_SAID_APART = {
    ("has_question", "yes"): "a question in the opening",
    ("has_question", "no"): "no question in the opening",
    ("has_number", "yes"): "a number in the opening",
    ("has_number", "no"): "no number in the opening",
    ("second_person", "yes"): "speaking to the reader",
    ("second_person", "no"): "not speaking to the reader",
    ("emoji", "yes"): "emoji",
    ("emoji", "no"): "no emoji",
    ("price", "yes"): "a price",
    ("price", "no"): "no price",
    ("offer", "yes"): "an offer",
    ("offer", "no"): "no offer",
    ("time_limit", "yes"): "a time limit",
    ("time_limit", "no"): "no time limit",
    ("hook_emotion", "none"): "openings without emotion",
    ("power_words_band", "none"): "no power words",
    ("percent_off_band", "none"): "no discount in per cent",
    **{
        ("posting_weekday", day[:3]): f"{day}s"
        for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    },
}
"""Values that are spoken of in a way of their own."""


def choice(attribute: str, value: str) -> str:
    """A creative choice in words, or two that are made together."""
    return " with ".join(_one(*part) for part in parts(attribute, value))


def _one(attribute: str, value: str) -> str:
    if (attribute, value) in _SAID_APART:
        return _SAID_APART[attribute, value]
    named = value.replace("_", " ")
    if attribute == "cta":
        named = named.capitalize()
    return _CHOICES.get(attribute, attribute.replace("_", " ") + " {}").format(named)


def in_a_sentence(row: Mapping[str, Any]) -> str:
    """What a pattern or a relationship says: `question hooks: +12 % CTR, 95 % between +4 and +20, 14 ads, 3 accounts, observational`.

    Parameters
    ----------
    row : attribute, value, metric, low, high, ads_with, accounts, evidence, and the log ratio as `strength` (of a relationship) or
        `log_lift` (of a pattern). What is NULL is said to be unknown.
    """
    lift = row["strength"] if "strength" in row else row["log_lift"]
    together = " beyond the two apart" if len(parts(row["attribute"], row["value"])) > 1 else ""
    said = [f"{choice(row['attribute'], row['value'])}: {percent(lift)} {row['metric'].upper()}{together}"]
    said.append(_interval(row["low"], row["high"]))
    said += [counted(row["ads_with"], "ad"), counted(row["accounts"], "account"), row["evidence"]]
    return ", ".join(said)


def counted(number: int | None, thing: str) -> str:
    """`1 ad`, `14 ads`; `an unknown number of ads`."""
    return f"an unknown number of {thing}s" if number is None else f"{number:,} {thing}{'' if number == 1 else 's'}"


def sureness(confidence: float) -> str:
    """A probability between 0 and 1 in per cent: `95 %`; nothing is more than `over 99 %` sure."""
    return "over 99 %" if confidence > 0.99 else f"{100 * confidence:.0f} %"


def place(row: Mapping[str, Any]) -> str:
    """Where it was seen: an account, a niche, or all accounts."""
    return row["account_id"] or row["niche"] or "all accounts"


def suggested(one: Mapping[str, Any]) -> str:
    """A suggestion, a row of `suggestions.SUGGESTIONS`, with what it rests on, in one sentence."""
    old, new = (value and choice(one["attribute"], value) for value in (one["from_value"], one["to_value"]))
    what = {
        "add": f"Add {new}",
        "change": f"Instead of {old}, try {new}",
        "choose": f"Try {new}",
        "drop": f"Drop {old}",
        "leave": f"Try anything but {old}",
    }[one["action"]]
    won = ""
    if one["winners"] and one["losers"]:
        won = f"; {one['winners_with']} of {one['winners']} winners and {one['losers_with']} of {one['losers']} losers had {new or old}"
    where = {"account": "this account", "niche": "the niche", "all": "all accounts"}[one["scope"]]
    return (
        f"{what}: {percent(one['log_lift'])} {one['metric'].upper()} expected, {_interval(one['low'], one['high'])}, from "
        f"{counted(one['ads_with'], 'ad')} with and {one['ads_without']:,} without in {where}, {one['evidence']}{won}."
    )


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "interval unknown"
    return "95 % between {:+.0f} and {:+.0f}".format(*(100 * math.expm1(bound) for bound in (low, high)))
