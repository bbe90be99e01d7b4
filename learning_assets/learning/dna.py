"""The text part of creative DNA: what can be said of an ad from its words, its button and its template.

What belongs here: measures of text (hook, copy and CTA blocks), the fixed bins that patterns mine, the fingerprint, and the one text of a
creative that models read. What does not: the hook rules (`hooks`), embeddings (`embedding`), media, and anything learned from results.

Word lists are our own, for English, and small on purpose: they are meant to be read. Reading ease is Flesch's (J. Applied Psychology 1948).
What is not known is NULL: a creative without any text has NULL in every text column.
"""

import hashlib
from collections.abc import Sequence
from html.entities import html5

import polars as pl

from learning_assets.learning import hooks

VERSION = f"1+hooks-{hooks.VERSION}"

CREATIVES = pl.Schema(
    {
        "account_id": pl.String,
        "creative_id": pl.String,
        "headline": pl.String,
        "body": pl.String,
        "description": pl.String,
        "cta": pl.String,
        "template": pl.String,
        "image_id": pl.String,
    }
)
"""What `extract` reads: one row per creative. Texts as the advertiser wrote them (HTML is stripped), NULL where there is none; `cta` is
Meta's call-to-action enum (SHOP_NOW, LEARN_MORE, ...)."""

_CONFIDENCES = tuple(f"hook_confidence_{hook}" for hook in hooks.HOOK_TYPES)

DNA = pl.Schema(
    {
        "account_id": pl.String,
        "creative_id": pl.String,
        "fingerprint": pl.String,
        # hook: of the opening, which is the headline, or the body's first sentence where there is no headline
        "hook_types": pl.List(pl.String),
        "hook_confidences": pl.List(pl.Float64),
        "hook_sources": pl.List(pl.String),
        **dict.fromkeys(_CONFIDENCES, pl.Float64),
        "hook_words": pl.Int32,
        "headline_words": pl.Int32,
        "hook_emotion": pl.String,
        "has_question": pl.String,
        "has_number": pl.String,
        "second_person": pl.String,
        # copy: of headline, body and description together
        "copy_words": pl.Int32,
        "copy_sentences": pl.Int32,
        "reading_ease": pl.Float64,
        "sentiment": pl.Float64,
        "power_words": pl.Int32,
        "emoji_count": pl.Int32,
        "emoji": pl.String,
        "price": pl.String,
        "percent_off": pl.Float64,
        # CTA
        "cta": pl.String,
        "offer": pl.String,
        "time_limit": pl.String,
        "template": pl.String,
        # fixed bins
        "reading_ease_band": pl.String,
        "sentiment_band": pl.String,
        "power_words_band": pl.String,
        "percent_off_band": pl.String,
    }
)
"""One row per creative. `hook_confidence_*` 0 to 1, by the rules alone, so that a model's features mean the same everywhere; `*_words`,
`*_sentences`, `emoji_count` and `power_words` are counts; `reading_ease` is Flesch's scale (about 0 hard to 100 easy, unbounded, NULL
without Latin words); `sentiment` is (positive - negative) / (positive + negative) words, -1 to 1, 0 where no word of either list stands;
`percent_off` is the largest discount named, in percent, NULL where none is named; flags are `yes` or `no`. Bins: see `_bins`."""

ATTRIBUTES: tuple[str, ...] = (
    "hook_types",
    "hook_emotion",
    "has_question",
    "has_number",
    "second_person",
    "reading_ease_band",
    "sentiment_band",
    "power_words_band",
    "emoji",
    "price",
    "percent_off_band",
    "cta",
    "offer",
    "time_limit",
    "template",
)
"""Columns of DNA that patterns mine: `hook_types` is a list (several values hold), the others are categories."""

FEATURES: tuple[str, ...] = (
    *_CONFIDENCES,
    "hook_words",
    "hook_emotion",
    "has_question",
    "has_number",
    "second_person",
    "copy_words",
    "copy_sentences",
    "reading_ease",
    "sentiment",
    "power_words",
    "emoji_count",
    "price",
    "percent_off",
    "cta",
    "offer",
    "time_limit",
    "template",
)
"""Columns of DNA that a CTR model may use: numbers, and categories as strings."""

EMOTIONS: dict[str, str] = {
    "joy": (
        "happy|happiest|happier|happiness|joy|joyful|love|loves|loved|loving|smile|smiles|smiling|laugh|"
        "laughs|laughing|laughter|fun|funny|hilarious|delight|delightful|cheer|celebrate|adorable|cute|sweet|"
        "beautiful|beauty|enjoy|excited|exciting|amazing|awesome|wonderful|heartwarming|inspiring|inspire|"
        "inspired|hope|hopeful|proud|grateful"
    ),
    "anger": (
        "angry|anger|mad|furious|outrage|outraged|outrageous|hate|hates|hated|rage|disgusting|disgust|"
        "disgusted|ridiculous|insane|unfair|injustice|racist|sexist|bully|bullies|bullying|shame|shameful|"
        "lies|liar|offensive|infuriating|pissed"
    ),
    "fear": (
        "fear|fears|afraid|scared|scary|scarier|scariest|terrifying|terrified|terror|panic|danger|dangerous|"
        "threat|warning|beware|risk|deadly|creepy|nightmare|horrifying|horror|horrific|disturbing|alarming|"
        "worried|worry"
    ),
    "sadness": (
        "sad|sadder|saddest|sadness|cry|cries|crying|cried|tears|tear|heartbreaking|heartbroken|heartbreak|"
        "tragic|tragedy|lonely|alone|grief|death|die|dies|died|dying|dead|lost|hurt|hurts|pain|painful|"
        "depressed|depressing|depression|suffer|suffering"
    ),
    "surprise": (
        "surprise|surprised|surprising|surprisingly|shock|shocked|shocking|shockingly|unbelievable|incredible|"
        "incredibly|unexpected|wow|whoa|stunning|stunned|astonishing|mindblowing|speechless|suddenly|believe|"
        "blown|jaw|crazy|weird"
    ),
}
"""Words of each emotion, as alternatives of a regular expression; on a tie the first emotion is named."""

POSITIVE = (
    "good|great|best|better|amazing|awesome|wonderful|fantastic|excellent|perfect|perfectly|beautiful|"
    "brilliant|lovely|love|loves|loved|happy|happiness|joy|fun|funny|hilarious|smile|laugh|win|wins|"
    "winning|winner|success|successful|easy|easily|free|fresh|healthy|strong|safe|trusted|favorite|"
    "favourite|enjoy|delicious|gorgeous|comfortable|comfy|soft|smart|clever|incredible|inspiring|hope|"
    "proud|hero|heroes|brave|kind|kindness|generous|genius|delightful|adorable|cute|sweet|helpful|help|"
    "helps|saved|saves|gift|thank|thanks|grateful|powerful|premium|luxury|quality|improved|improve|"
    "effective|effortless|glowing|confident|celebrate"
)
NEGATIVE = (
    "bad|worse|worst|terrible|terribly|awful|horrible|horrific|horrifying|ugly|sad|sadly|sadness|hate|"
    "hates|hated|angry|anger|mad|furious|disgusting|gross|stupid|dumb|ridiculous|insane|unfair|wrong|"
    "fail|fails|failed|failure|problem|problems|pain|painful|hurt|hurts|hurting|sick|tired|stressed|"
    "worried|worry|fear|afraid|scared|scary|dangerous|danger|threat|risk|deadly|death|dead|die|dies|"
    "died|dying|kill|kills|killed|killing|murder|rape|violence|violent|abuse|abused|racist|racism|"
    "sexist|sexism|bully|bullying|shame|shameful|lie|lies|lied|scam|cheap|broken|break|lose|loses|"
    "losing|lost|poor|poverty|hungry|war|crime|prison|cancer|disease|depressing|depression|tragic|"
    "tragedy|crisis|cry|crying|tears|lonely|struggle|struggling|annoying|frustrating|boring"
)
POWER = (
    "free|new|now|proven|guaranteed|guarantee|instantly|instant|secret|secrets|exclusive|limited|save|"
    "easy|easily|best|amazing|discover|ultimate|powerful|results|unlock|revealed|reveal|today|hurry|"
    "bonus|premium|essential|insider|breakthrough|effortless|incredible|unbelievable|shocking|stunning|"
    "mind|blowing|epic|perfect|simple|quick|fast|boost|transform|hack|hacks|never|ever|only|finally|"
    "must-have|bestselling|unforgettable|jaw-dropping"
)

_EMOJI = (
    r"(?:\p{Regional_Indicator}{2}|(?:\p{Emoji_Presentation}|\p{Extended_Pictographic}\x{FE0F})[\x{1F3FB}-\x{1F3FF}]?"
    r"(?:\x{200D}(?:\p{Emoji_Presentation}|\p{Extended_Pictographic})\x{FE0F}?[\x{1F3FB}-\x{1F3FF}]?)*)"
)
_NUMBER_WORD = r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred|thousand|million|billion"
_TIME_LIMIT = (
    r"\b(?:today only|tonight only|this week(?:end)? only|limited time|last (?:chance|day|days|call)|final (?:hours|days)|deadline|expires?"
    r"|ends? (?:soon|today|tonight|tomorrow|midnight|in|on|at|monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
    r"|until (?:midnight|tomorrow|monday|tuesday|wednesday|thursday|friday|saturday|sunday)|(?:next|only|for) (?:24|48|72) hours"
    r"|while (?:supplies|stocks?) lasts?)\b"
)
_PERCENT_OFF = r"(\d{1,3})\s?(?:%|percent)\s?(?:off|discount)|sav(?:e|es|ing)\s(?:up to\s)?(?P<b>\d{1,3})\s?(?:%|percent)"
_PRICE = rf"{hooks.MONEY}|\b\d[\d,.]*\s?(?:usd|eur|gbp|dollars|euros|bucks)\b"
_BIG_MONEY = (
    rf"{hooks.MONEY}\s?(?:thousand|million|billion|trillion|bn)\b|\b\d[\d,.]* (?:thousand|million|billion|trillion) dollars"
)

# Advertisers' texts pass through HTML editors; a name without its semicolon is left alone, since "&copy" may be a URL's parameter.
_ENTITIES = {f"&{name}": sign for name, sign in html5.items() if name.endswith(";")} | {
    f"&#{code};": chr(code) for code in (*range(32, 256), *range(8192, 8304))
}


def plain(text: pl.Expr) -> pl.Expr:
    """`text` without HTML tags, scripts and entities, with single spaces; NULL where nothing is left."""
    clean = (
        text.str.replace_all(r"(?is)<(?:script|style)\b.*?</(?:script|style)\s*>|<!--.*?-->", " ")
        .str.replace_all(r"(?i)</?(?:b|i|em|strong|a|span|u|small|sup|sub|font)(?:\s[^<>]*)?/?>", "")
        .str.replace_all(r"</?[a-zA-Z][^<>]*>", " ")
        .str.replace_many(_ENTITIES)
        .str.replace_all(r"[\s\u00a0\u200b]+", " ")
        .str.strip_chars()
    )
    return pl.when(clean.str.len_chars() > 0).then(clean)


def text_of(headline: pl.Expr, body: pl.Expr, description: pl.Expr) -> pl.Expr:
    """The one text of a creative that models read: its parts as lines, what is read first on the first line.

    Models weigh the first line most, so that arms that differ by headline differ in their text. NULL where all parts are.
    """
    parts = pl.concat_str(plain(headline), plain(body), plain(description), separator="\n", ignore_nulls=True)
    return pl.when(parts.str.len_chars() > 0).then(parts)


def opening_of(headline: pl.Expr, body: pl.Expr, description: pl.Expr) -> pl.Expr:
    """What of a creative is read first: the headline, else the body's first sentence, else the description; NULL where all parts are."""
    return _first(plain(headline), plain(body), plain(description))


def _first(headline: pl.Expr, body: pl.Expr, description: pl.Expr) -> pl.Expr:
    return pl.coalesce(headline, body.str.extract(r"^(.*?[.!?]+[\"')\u201d]*)(?:\s|$)", 1), body, description)


def extract(creatives: pl.DataFrame, min_confidence: float = 0.5) -> pl.DataFrame:
    """Text DNA of each creative.

    Parameters
    ----------
    creatives : schema CREATIVES (`image_id` may be missing, other columns are ignored), one row per creative, any order.
    min_confidence : a hook type is said at or above this confidence, 0 to 1.

    Returns
    -------
    Frame with schema DNA, rows in the order given.

    Raises
    ------
    ValueError : a column is missing.
    """
    missing = [name for name in CREATIVES if name not in creatives.columns and name != "image_id"]
    if missing:
        raise ValueError(f"creatives have no column {', '.join(missing)}; expected {', '.join(CREATIVES)}")
    if "image_id" not in creatives.columns:
        creatives = creatives.with_columns(image_id=pl.lit(None, dtype=pl.String))
    texts = creatives.select(
        pl.col(name).cast(kind) if name not in ("headline", "body", "description") else plain(pl.col(name).cast(kind))
        for name, kind in CREATIVES.items()
    ).with_columns(
        cta=_enum(pl.col("cta")),
        template=pl.col("template").str.strip_chars().replace("", None),
    )
    texts = texts.with_columns(
        opening=_first(pl.col("headline"), pl.col("body"), pl.col("description")),
        whole=pl.concat_str("headline", "body", "description", separator=" . ", ignore_nulls=True).replace("", None),
    ).with_columns(hook=hooks.normalised(pl.col("opening")), copy=hooks.normalised(pl.col("whole")))
    measured = pl.concat(
        [
            texts.select("account_id", "creative_id", "cta", "template", "headline", fingerprint=_fingerprints(texts)),
            hooks.label(texts["opening"], min_confidence),
            texts.select(*_hook(pl.col("hook")), *_copy(pl.col("copy"), pl.col("whole"))),
        ],
        how="horizontal",
    )
    return measured.with_columns(_bins()).select(DNA.names()).cast(DNA)


def _fingerprints(texts: pl.DataFrame) -> pl.Series:
    """One hash per distinct normalised text and image, NULL where there is neither."""
    parts = texts.select(*(hooks.normalised(pl.col(name)) for name in ("headline", "body", "description")), "image_id")
    return pl.Series(
        [
            hashlib.blake2b("\x1f".join(part or "" for part in row).encode(), digest_size=16).hexdigest() if any(row) else None
            for row in parts.iter_rows()
        ],
        dtype=pl.String,
    )


def _enum(cta: pl.Expr) -> pl.Expr:
    name = cta.str.strip_chars().str.to_uppercase().str.replace_all(r"[\s-]+", "_")
    return pl.when(name.str.len_chars() > 0).then(name)


def _yes(flag: pl.Expr) -> pl.Expr:
    return pl.when(flag).then(pl.lit("yes")).when(~flag).then(pl.lit("no"))


def _any_of(words: str) -> str:
    return rf"\b(?:{words})\b"


def _words(text: pl.Expr) -> pl.Expr:
    return text.str.count_matches(r"\b[\p{L}\p{N}]+(?:['-][\p{L}\p{N}]+)*")


def _hook(text: pl.Expr) -> list[pl.Expr]:
    counts = {name: text.str.count_matches(_any_of(words)) for name, words in EMOTIONS.items()}
    most = pl.max_horizontal(*counts.values())
    emotion = pl.when(most == 0).then(pl.lit("none"))
    for name, count in counts.items():
        emotion = emotion.when(count == most).then(pl.lit(name))
    return [
        _words(text).alias("hook_words"),
        emotion.alias("hook_emotion"),
        _yes(text.str.contains(r"\?")).alias("has_question"),
        _yes(text.str.contains(rf"\d|\b(?:{_NUMBER_WORD})\b")).alias("has_number"),
        _yes(text.str.contains(r"\b(?:you|your|yours|yourself|yourselves|y'all)\b")).alias("second_person"),
    ]


def _copy(text: pl.Expr, written: pl.Expr) -> list[pl.Expr]:
    """Measures of the whole text: `text` normalised, `written` with its signs as they were."""
    words = _words(text)
    # parts are joined by " . ", so that a headline without a full stop is a sentence of its own
    sentences = pl.max_horizontal(text.str.count_matches(r"[\p{L}\p{N}][^.!?]*(?:[.!?]+(?:\s|$)|$)"), pl.lit(1)).cast(pl.Int32)
    latin = text.str.count_matches(r"\b[a-z]+(?:'[a-z]+)?\b")
    silent = text.str.count_matches(r"[b-df-hj-km-np-tv-z]e(?:s|d)?\b")
    syllables = pl.max_horizontal(
        text.str.count_matches(r"[aeiouy]+").cast(pl.Float64) - silent.cast(pl.Float64), latin.cast(pl.Float64)
    )
    positive = text.str.count_matches(_any_of(POSITIVE)).cast(pl.Float64)
    negative = text.str.count_matches(_any_of(NEGATIVE)).cast(pl.Float64)
    negated = text.str.count_matches(
        rf"\b(?:not|never|no|isn't|wasn't|aren't|don't|doesn't|nothing) (?:so |very |a |that )?{_any_of(POSITIVE)}"
    ).cast(pl.Float64)
    felt = positive + negative
    per_cent = text.str.replace_all(r"\bhalf (?:off|price)\b", "50% off")
    percents = per_cent.str.extract_all(_PERCENT_OFF).list.eval(pl.element().str.extract(r"(\d{1,3})").cast(pl.Float64)).list
    largest = percents.max()
    return [
        words.alias("copy_words"),
        pl.when(words > 0).then(sentences).otherwise(pl.when(text.is_not_null()).then(0)).alias("copy_sentences"),
        pl.when(latin > 0).then(206.835 - 1.015 * latin / sentences - 84.6 * syllables / latin).alias("reading_ease"),
        pl.when(felt > 0)
        .then((positive - negative - 2 * negated) / felt)
        .when(text.is_not_null())
        .then(0.0)
        .alias("sentiment"),
        text.str.count_matches(_any_of(POWER)).alias("power_words"),
        written.str.count_matches(_EMOJI).alias("emoji_count"),
        _yes(written.str.contains(_EMOJI)).alias("emoji"),
        _yes(text.str.replace_all(_BIG_MONEY, " ").str.contains(_PRICE)).alias("price"),
        pl.when(largest <= 100).then(largest).alias("percent_off"),
        _yes(hooks.confidence(text, "offer") >= 0.5).alias("offer"),
        _yes(text.str.contains(_TIME_LIMIT)).alias("time_limit"),
    ]


def bands(column: pl.Expr, edges: Sequence[float], labels: Sequence[str]) -> pl.Expr:
    """The name of the bin of a number between fixed edges, ascending; a bin includes its lower edge, NULL stays NULL."""
    band = pl.when(column < edges[0]).then(pl.lit(labels[0]))
    for edge, name in zip(edges[1:], labels[1:-1], strict=True):
        band = band.when(column < edge).then(pl.lit(name))
    return band.when(column >= edges[-1]).then(pl.lit(labels[-1]))


def _bins() -> list[pl.Expr]:
    """Fixed bins, so that a value means the same on every day and for every account; each includes its lower edge. Lengths are binned by
    what is usual (`bins`)."""

    known = pl.col("copy_words").is_not_null()
    return [
        # The opening is the headline where there is one.
        pl.when(pl.col("headline").is_not_null()).then("hook_words").alias("headline_words"),
        bands(pl.col("reading_ease"), [50, 70, 90], ["hard", "plain", "easy", "very_easy"]).alias("reading_ease_band"),
        bands(pl.col("sentiment"), [-0.2, 0.2000001], ["negative", "neutral", "positive"]).alias("sentiment_band"),
        bands(pl.col("power_words"), [1, 3], ["none", "few", "many"]).alias("power_words_band"),
        pl.when(known)
        .then(bands(pl.col("percent_off"), [20, 40], ["under_20", "20_to_39", "40_up"]).fill_null("none"))
        .alias("percent_off_band"),
    ]
