"""Which hook an ad opens with, said by rules on whole words.

What belongs here: the list of hook types, the rules for each with their confidence, and their evaluation over a column. What does not:
any other measure of a text (`dna`), and hooks said by somebody else (the platform, a model, a person).

The rules are our own, for English. A cue counts only as whole words ("hair" is not "ai"). Cues of one type add up as independent
witnesses (noisy or, Pearl 1988): two cues of 0.4 give 1 - 0.6 * 0.6 = 0.64.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

VERSION = "1"

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

_NUMBER = r"\d[\d,.]*"
_PERSON = (
    r"(?:guy|man|woman|mom|dad|mother|father|kid|boy|girl|teen|teenager|teacher|student|couple|family|artist|doctor|soldier)"
)
_PERCENT_OFF = (
    rf"{_NUMBER}\s?(?:%|percent|per cent)\s?(?:off|discount)|(?:save|saves|saving)\s(?:up to\s)?{_NUMBER}\s?(?:%|percent)"
)
MONEY = r"[$€£¥]\s?\d[\d,.]*"


@dataclass(frozen=True, slots=True)
class Rule:
    """A cue for a hook type: `pattern` is matched between word boundaries in text as `normalised` gives it.

    `confidence` is our judgement, 0 to 1, of how surely the cue alone means the type. `without` is taken out of the text
    before looking (a discount is no statistic). `whole` is False where the cue ends or begins with a sign, and brings its own bounds.
    """

    hook: HookType
    confidence: float
    pattern: str
    without: str | None = None
    whole: bool = True


RULES: tuple[Rule, ...] = (
    Rule("question", 0.95, r"\?[\"')\]]*$", whole=False),
    Rule("question", 0.80, r"\?", whole=False),
    Rule("question", 0.60, r"did you know|have you ever|ever wonder(?:ed)?|what if|who knew"),
    Rule(
        "pain_point",
        0.80,
        r"(?:sick and )?tired of|sick of|fed up(?: with)?|struggl(?:e|es|ed|ing) (?:with|to)|frustrated (?:with|by)|hate (?:it )?when"
        r"|had enough of|say goodbye to|no more",
    ),
    Rule(
        "pain_point",
        0.60,
        r"frustrat(?:ed|ing)|overwhelmed|stressed(?: out)?|suffer(?:s|ed|ing)?|can't (?:sleep|focus|stop|afford|find)|worried about"
        r"|headaches?|back pain|acne|insomnia|anxiety|burnout|annoy(?:ed|ing)|painful",
    ),
    Rule("pain_point", 0.40, r"pain|problems?|stuck|worr(?:y|ied)|hard to|hassle|afraid of|struggl(?:e|es|ed|ing)"),
    Rule(
        "statistic",
        0.85,
        rf"{_NUMBER}\s?%|{_NUMBER} (?:percent|per cent)\b|\b{_NUMBER} (?:out of|in) (?:every )?{_NUMBER}\b",
        without=_PERCENT_OFF,
        whole=False,
    ),
    Rule("statistic", 0.70, r"(?:one|two|three|four|nine) (?:out of|in) (?:every )?(?:two|three|four|five|ten)"),
    Rule(
        "statistic",
        0.60,
        rf"(?:{_NUMBER}|an?|\w+teen|two|three|four|five|six|seven|eight|nine|ten) (?:thousand|million|billion|trillion)",
    ),
    Rule(
        "statistic",
        0.60,
        rf"{_NUMBER}\s?x|(?:\d+|two|three|four|five|ten) times (?:more|less|as|the)|twice as|half of (?:all|the)",
    ),
    Rule("statistic", 0.40, r"\d{1,3}(?:,\d{3})+|statistics?|study|studies|survey|data|average"),
    Rule(
        "social_proof",
        0.80,
        rf"loved by|trusted by|recommended by|approved by|join (?:the )?(?:{_NUMBER}|thousands|millions|over|more than)"
        rf"|(?:{_NUMBER}\+?|thousands of|millions of|happy|our) (?:\w+ )?(?:customers|reviews|fans|users|members|subscribers|people)"
        r"|as seen (?:on|in)|best[- ]?sell(?:er|ers|ing)|(?:five|5)[- ]stars?|top[- ]rated|highest[- ]rated",
    ),
    Rule(
        "social_proof",
        0.50,
        r"everyone(?:'s| is)|everybody(?:'s| is)|people are|reviews?|testimonials?|viral|went viral|rated|experts?",
    ),
    Rule("social_proof", 0.35, r"customers|fans|famous|popular|celebrit(?:y|ies)|the internet"),
    Rule(
        "bold_claim",
        0.75,
        r"(?:best|worst|greatest|most \w+|coolest|funniest|smartest|craziest) .{1,60}\b(?:ever|in the world|of all time|on earth|in history)"
        r"|(?:simply|still|hands down) the (?:best|greatest)"
        r"|guaranteed?|world's (?:first|best|most|only|largest|smallest)|number one|the only \w+|changes everything"
        r"|change (?:your life|everything|the world)|once and for all",
    ),
    Rule("bold_claim", 0.75, r"#\s?1\b", whole=False),
    Rule(
        "bold_claim",
        0.50,
        r"ever (?:made|seen|heard|created)|perfect(?:ly)?|ultimate|revolutionary|proven|always works?|unbeatable",
    ),
    Rule(
        "bold_claim",
        0.35,
        r"(?:best|greatest|worst|biggest|most|coolest|smartest|bravest)|everything|always|absolutely|completely|totally",
    ),
    Rule("how_to", 0.95, r"how to"),
    Rule(
        "how_to",
        0.75,
        r"here's how|step[- ]by[- ]step|(?:\d+|two|three|four|five|six|seven|eight|nine|ten) (?:\w+ )?(?:ways|steps|tips|tricks|hacks|things|reasons)"
        r"|(?:a|the|your) (?:\w+ )?guide to|learn (?:how|to)|the (?:easy|easiest|best|right|fastest) way to",
    ),
    Rule(
        "story",
        0.70,
        r"(?:true |real )?stor(?:y|ies)|one day|years? ago|the day (?:i|we|he|she|they|my)|last (?:\w+ )?(?:i|we|he|she|they)"
        r"|once upon|what happened next|meet (?:the|this|my|a)|grew up",
    ),
    Rule(
        "story",
        0.60,
        rf"(?:this|a|an|one|these) (?:\d+[- ]year[- ]old )?(?:\w+ )?{_PERSON}s? (?:\w+ )?(?:who|was|had|did|went|got|said|made|is|just|has|decided|asked)"
        r"|\d+[- ]year[- ]olds?|when (?:i|he|she|they|we|my|his|her|this|a|an|the)\b.{1,80}\b(?:he|she|they|i|we|it)"
        r"|(?:he|she|they|i|we) (?:was|were|had|went|got|said|thought|made|took|found|decided|started|asked|told|saw|knew|wanted)",
    ),
    Rule(
        "story",
        0.35,
        r"until|then (?:he|she|they|it|i|we)|and then|his|her|my (?:son|daughter|mom|dad|wife|husband|friend|life)",
    ),
    Rule(
        "ugc",
        0.80,
        r"i (?:tried|bought|tested|ordered|switched|wish i'd|wish i had)|i've been using|i'm obsessed|my (?:honest|new|favou?rite|morning|daily) \w+"
        r"|unboxing|pov|grwm|get ready with me|you guys|haul|honest(?:ly)? review|my review|my routine",
    ),
    Rule("ugc", 0.40, r"^(?:i|i'm|i've|my|so i)|obsessed|literally|omg|tiktok", whole=True),
    Rule(
        "transformation",
        0.80,
        r"before (?:and|&) after|transform(?:s|ed|ing|ation|ations)?|went from|go(?:es)? from|glow[- ]?up|makeover"
        r"|lost \d+ (?:lbs?|pounds|kg|kilos)|(?:changed|saved) (?:my|his|her|their|our) (?:\w+ )?li(?:fe|ves)"
        r"|turn(?:s|ed|ing)? (?:\w+ ){1,6}into",
    ),
    Rule(
        "transformation",
        0.50,
        r"from (?:\w+ ){1,4}to|in (?:just |only |under )?\d+ (?:days|weeks|months|minutes)|bec(?:ame|ome|omes)|no longer",
    ),
    Rule(
        "offer",
        0.90,
        rf"(?:{_PERCENT_OFF})|{MONEY} off\b|\b(?:free (?:shipping|delivery|trial|gift|returns)|coupon|promo(?: code)?|discounts?|bogo|half (?:price|off)"
        r"|buy (?:one|two|1|2),? get|clearance|black friday|cyber monday|use code|sale)\b",
        whole=False,
    ),
    Rule(
        "offer",
        0.60,
        rf"\bsave (?:up to )?{MONEY}|\b(?:deals?|bundle|for free|special offer|lowest price|risk[- ]free)\b",
        whole=False,
    ),
    Rule("offer", 0.35, rf"\b(?:free|offers?|save|cheap|price)\b|{MONEY}", whole=False),
    Rule(
        "curiosity",
        0.80,
        r"you(?:'ll| will) (?:never|not) (?:believe|guess|forget)|you won't (?:believe|expect)|wait (?:until|till|for it)|what happen(?:s|ed)(?: next)?"
        r"|(?:the )?(?:real )?reason (?:why|you|they|he|she|for|this)|no ?(?:body|one) (?:knows|tells?|told|talks|wants|is talking)|the truth (?:about|behind)"
        r"|little[- ]known|ever wonder(?:ed)?|(?:the )?secrets? (?:to|of|behind)|find out (?:why|what|how)|guess (?:what|who|how)|you might not",
    ),
    Rule(
        "curiosity",
        0.60,
        r"(?:this|here|that) (?:is|might be|may be|could be) (?:what|why|how|the)|this(?:'s| is) (?:what|why|how)|here's (?:what|why|the|a)|turns out"
        r"|that's (?:what|why|how)|secrets?|myster(?:y|ies|ious)|revealed?|surpris(?:e|es|ed|ing|ingly)|unexpected(?:ly)?|see (?:why|what|how)"
        r"|what (?:he|she|they) (?:did|does|do|said)",
    ),
    Rule("curiosity", 0.35, r"this|these|something|weird|strange|what|why|discover|until|might|the one thing"),
    Rule("curiosity", 0.35, r"\.\.\.", whole=False),
    Rule(
        "negative",
        0.75,
        r"^(?:never|don't|do not|stop|avoid|beware)|worst|mistakes?|warning|beware|dangers?|dangerous",
        whole=True,
    ),
    Rule(
        "negative",
        0.55,
        r"terribl[ey]|awful|horrible|horrif(?:ied|ic|ying)|disgust(?:ed|ing)|ruin(?:s|ed|ing)?|scams?|lies|lied|lying|hate[sd]?|evil|racis[mt]|rape"
        r"|kill(?:s|ed|ing)?|dead|die[sd]?|death|wrong|shame(?:ful)?|scar(?:y|iest|ed)|toxic|avoid",
    ),
    Rule(
        "negative",
        0.40,
        r"never|don't|stop|no one|nobody|bad|fail(?:s|ed|ure)?|sad(?:dest)?|los(?:e|es|t|ing)|can't|won't|isn't|not|without",
    ),
    Rule("direct_address", 0.90, r"you|your|yours|yourself|yourselves|you're|you'll|you've|you'd|y'all"),
    Rule("direct_address", 0.55, r"^(?:hey|dear|attention|calling all|listen up)", whole=True),
    Rule(
        "urgency",
        0.85,
        r"hurry|last (?:chance|call|day|days)|limited (?:time|edition|stock|offer|supply|spots)"
        r"|ends (?:soon|today|tonight|tomorrow|sunday|monday|friday|midnight|in)"
        r"|only \d+ (?:\w+ )?(?:left|remaining)|while (?:supplies|stocks?) lasts?|act (?:now|fast)|today only|expires?"
        r"|before (?:it's|they're|it is) (?:too late|gone)"
        r"|don't (?:miss|wait)|final (?:hours|days|call)|almost gone|selling (?:out|fast)|deadline|running out",
    ),
    Rule(
        "urgency",
        0.50,
        r"right now|immediately|as soon as possible|asap|tonight|(?:24|48|72) hours|this weekend|too late|urgent",
    ),
    Rule("urgency", 0.35, r"now|today|soon|quick(?:ly)?|finally"),
    Rule(
        "contrarian",
        0.85,
        r"unpopular opinion|myths?|debunk(?:s|ed|ing)?|(?:doing|got|getting) (?:it|this|that|everything) (?:all )?wrong"
        r"|been (?:\w+ )?(?:told|doing) (?:\w+ )?wrong"
        r"|been lied to|everything (?:you|they|we) (?:know|knew|thought|heard|learned|told)|not what you(?:'d)? (?:think|thought|expect)"
        r"|think again|contrary to|overrated|you (?:don't|do not) need"
        r"|wrong about|why you (?:shouldn't|should not|should stop)|is a lie",
    ),
    Rule(
        "contrarian",
        0.55,
        r"forget (?:everything|about|what|the)|stop (?:\w+ing)|instead of|you thought|isn't (?:what|about|really)|we need to stop",
    ),
    Rule("contrarian", 0.35, r"actually|but|not (?:a|the|because)|shouldn't|despite"),
    Rule(
        "demonstration",
        0.80,
        r"watch (?:how|me|us|as|what|him|her|them|it|this|these|a|an|the|one|until|someone)|see it in action|in action|demo(?:nstration|nstrates?)?|tutorial"
        r"|side[- ]by[- ]side|watch:|let me show|shows? (?:you|us|me) (?:how|what|why|that|exactly)|look (?:at )?how|see how",
    ),
    Rule(
        "demonstration",
        0.50,
        r"watch(?:ing)?|this is how|(?:put|puts) .{1,30} to the test|experiments?|tested|explain(?:s|ed)? in",
    ),
    Rule("demonstration", 0.35, r"look(?:s)?|see|show(?:s|ed)?|video|test"),
)


def normalised(text: pl.Expr) -> pl.Expr:
    """Lower-case `text` with straight quotes, `...` for an ellipsis and single spaces; NULL where nothing is left."""
    clean = (
        text.str.to_lowercase()
        .str.replace_all(r"[\u2018\u2019\u02bc\u0060]", "'")
        .str.replace_all(r"[\u201c\u201d]", '"')
        .str.replace_all(r"\u2026|\.{2,}", "...")
        .str.replace_all(r"[\s\u00a0]+", " ")
        .str.strip_chars()
    )
    return pl.when(clean.str.len_chars() > 0).then(clean)


def confidence(text: pl.Expr, hook: HookType) -> pl.Expr:
    """Confidence, 0 to 1, that `text` (as `normalised` gives it) opens with `hook`; 0 where no cue is found, NULL without text."""
    doubt = pl.lit(1.0)
    for rule in RULES:
        if rule.hook == hook:
            looked_at = text if rule.without is None else text.str.replace_all(rule.without, " ")
            pattern = rf"\b(?:{rule.pattern})\b" if rule.whole else rule.pattern
            doubt = doubt * (1.0 - looked_at.str.contains(pattern).cast(pl.Float64) * rule.confidence)
    return (1.0 - doubt).round(4).alias(f"hook_confidence_{hook}")


def label(opening: pl.Series, min_confidence: float = 0.5) -> pl.DataFrame:
    """Hook types of each opening text.

    Parameters
    ----------
    opening : String, shape (n,), the text that is read first; NULL or blank where there is none.
    min_confidence : a type is said at or above this confidence, 0 to 1.

    Returns
    -------
    Frame of n rows: `hook_types` (List[String], most confident first; `["unknown"]` where no type reaches the bar),
    `hook_confidences` (List[Float64], aligned; NULL beside `unknown`), `hook_sources` (List[String], aligned, always `rule`) and
    `hook_confidence_TYPE` (Float64, 0 to 1) for every type. All are NULL without text.

    Raises
    ------
    ValueError : `min_confidence` outside (0, 1].
    """
    if not 0 < min_confidence <= 1:
        raise ValueError(f"min_confidence is {min_confidence}; it must be above 0 and at most 1")
    frame = pl.DataFrame({"text": opening}).with_columns(normalised(pl.col("text").cast(pl.String)))
    sure = frame.select(confidence(pl.col("text"), hook) for hook in HOOK_TYPES)
    columns = [f"hook_confidence_{hook}" for hook in HOOK_TYPES]
    said = (
        sure.with_row_index("row")
        .unpivot(on=columns, index="row", variable_name="hook", value_name="confidence")
        .filter(pl.col("confidence") >= min_confidence)
        .with_columns(pl.col("hook").str.strip_prefix("hook_confidence_"))
        .sort("row", "confidence", "hook", descending=[False, True, False])
        .group_by("row", maintain_order=True)
        .agg(hook_types=pl.col("hook"), hook_confidences=pl.col("confidence"))
    )
    known = pl.col(columns[0]).is_not_null()
    none_said = known & pl.col("hook_types").is_null()
    return (
        sure.with_row_index("row")
        .join(said, on="row", how="left", maintain_order="left")
        .with_columns(
            hook_types=pl.when(none_said).then(pl.lit([UNKNOWN])).otherwise("hook_types"),
            hook_confidences=pl.when(none_said).then(pl.lit([None], dtype=pl.List(pl.Float64))).otherwise("hook_confidences"),
        )
        .with_columns(
            hook_sources=pl.when(known).then(pl.col("hook_types").list.eval(pl.element().replace_strict({}, default="rule")))
        )
        .select("hook_types", "hook_confidences", "hook_sources", *columns)
    )
