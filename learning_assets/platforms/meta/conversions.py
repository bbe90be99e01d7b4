"""What counts as a conversion: action types that are names of one event, the preferred one first.

What belongs here: the order of preference. What does not: reading action types from an answer (`facts`) or from a warehouse's tables.
"""

from collections.abc import Mapping

GOALS: dict[str, tuple[str, ...]] = {
    "purchase": (
        "omni_purchase",
        "purchase",
        "offsite_conversion.fb_pixel_purchase",
        "onsite_web_purchase",
        "onsite_conversion.purchase",
    ),
    "lead": ("lead", "onsite_conversion.lead_grouped", "offsite_conversion.fb_pixel_lead"),
}
"""Action types of a goal in order. The first that is reported counts, and they are never added up: each is a name of the same event."""


def action_types(goal: str) -> tuple[str, ...]:
    """Action types of a goal, the preferred one first; what is no goal is itself one action type."""
    return GOALS.get(goal, (goal,))


def preference(conversions: Mapping[str, str], account: str) -> tuple[str, ...]:
    """Action types that count as a conversion of `account`, preferred first, by the setting LEARNING_META_CONVERSIONS."""
    return action_types(conversions.get(account) or conversions.get(f"act_{account}") or conversions.get("*") or "purchase")
