"""The hook types, what each means, and who may say them."""

from typing import Literal

HookType = Literal[
    "question",
    "pain_point",
    "statistic",
    "social_proof",
    "bold_claim",
    "how_to",
    "story",
    "ugc",
    "transformation",
    "offer",
    "curiosity",
    "negative",
    "direct_address",
    "urgency",
    "contrarian",
    "demonstration",
]
Source = Literal["meta", "rule", "llm", "human"]

HOOK_TYPES: tuple[HookType, ...] = (
    "question",
    "pain_point",
    "statistic",
    "social_proof",
    "bold_claim",
    "how_to",
    "story",
    "ugc",
    "transformation",
    "offer",
    "curiosity",
    "negative",
    "direct_address",
    "urgency",
    "contrarian",
    "demonstration",
)
UNKNOWN = "unknown"

DEFINITIONS: dict[HookType, str] = {
    "question": "asks something, of the reader or rhetorically",
    "pain_point": "names a discomfort, problem or frustration that people have and that the product is to relieve",
    "statistic": "puts forward a share, ratio, count or measurement as evidence; a price, discount, date, size, model number or a "
    "count of customers or reviews is none",
    "social_proof": "leans on others: customers, reviews, ratings, awards, experts, press, famous users, or how many there are",
    "bold_claim": "makes a superlative, absolute or guaranteed promise about the product",
    "how_to": "promises instruction: how something is done, steps, tips, a guide, a recipe",
    "story": "tells what happened to somebody or to the company, as an event in time",
    "ugc": "speaks in the informal first person of a customer or creator, like a post or a quoted review",
    "transformation": "sets a state before against a state after",
    "offer": "gives a reason to buy in money: discount, low price, gift, free trial, bundle, easy returns",
    "curiosity": "withholds something on purpose, so that one has to read on to learn it",
    "negative": "is framed by what is bad or to be avoided: warning, mistake, loss, danger; a mere 'not' is none",
    "direct_address": "speaks to the reader as 'you', or calls out a group of readers by name; an imperative alone is none",
    "urgency": "says that time or stock is running out, or to act at once",
    "contrarian": "contradicts what people commonly believe, do or are told",
    "demonstration": "shows the product at work, or invites to watch it: a test, a comparison side by side, a tour",
}
"""What the opening of an ad does where a type holds. Several may hold; where none does it is UNKNOWN."""
