"""Hook types of a column of texts by the rules, and what counts where several speak.

What belongs here: matching, adding up, and combining what rules, a model, a person and the platform say. What does not: the cues (`rules`),
and asking anybody else (`platforms`).

A cue counts only as whole words ("hair" is not "ai"). Cues of one type add up as independent witnesses (noisy or, Pearl 1988): two cues of
0.4 give 1 - 0.6 * 0.6 = 0.64.
"""

from collections.abc import Mapping

import polars as pl

from learning_assets.learning.hooks.rules import RULES
from learning_assets.learning.hooks.types import HOOK_TYPES, UNKNOWN, HookType, Source


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


def above(said: pl.DataFrame, min_confidence: float) -> pl.DataFrame:
    """What a source says, `hook_types` and `hook_confidences` as in `combine`, without types below a confidence or without one."""
    sure = pl.col("hook_confidences") >= min_confidence
    kept = (
        said.select("hook_types", "hook_confidences")
        .with_row_index("row")
        .explode("hook_types", "hook_confidences", empty_as_null=True)
        .group_by("row", maintain_order=True)
        .agg(pl.col("hook_types", "hook_confidences").filter(sure))
    )
    answered = pl.Series(said["hook_types"].is_not_null())
    return kept.select(pl.when(answered).then(pl.col("hook_types", "hook_confidences")))


RANKING: tuple[Source, ...] = ("meta", "human", "llm", "rule")
"""Who is believed first."""

SAID = pl.Schema(
    {"hook_types": pl.List(pl.String), "hook_confidences": pl.List(pl.Float64), "hook_sources": pl.List(pl.String)}
)
"""Hook types, their confidences (0 to 1, NULL where none was given) and who said each; three aligned lists."""


def combine(said: Mapping[Source, pl.DataFrame]) -> pl.DataFrame:
    """Hook types of each ad where several have spoken.

    What the platform and a person say always stands. A model's answer replaces that of the rules: it has read the same words and knows
    more of them. A type that several say is credited to the first of them in RANKING, with the confidence given there.

    Parameters
    ----------
    said : by source, a frame of n rows in the same order with `hook_types` (List[String]) and `hook_confidences` (List[Float64], aligned,
        0 to 1 or NULL); both lists NULL where the source has no answer for the ad, empty or `["unknown"]` where it sees no type.

    Returns
    -------
    Frame of n rows with schema SAID, platform and person first, then by falling confidence. `["unknown"]` only where a source answered and none named a type,
    credited to the first that answered; NULL where none answered.

    Raises
    ------
    ValueError : no source, or frames of different heights.
    """
    if len({frame.height for frame in said.values()}) != 1:
        raise ValueError(
            f"hook types of {', '.join(said) or 'no source'} are to be combined; their frames must have the same number of rows"
        )
    spoken = pl.concat(
        said[source]
        .select(pl.col("hook_types").cast(pl.List(pl.String)), pl.col("hook_confidences").cast(pl.List(pl.Float64)))
        .with_row_index("row")
        .filter(pl.col("hook_types").is_not_null())
        .with_columns(rank=pl.lit(rank), source=pl.lit(source))
        for rank, source in enumerate(RANKING)
        if source in said
    )
    replaced = (pl.col("source") == "rule") & (pl.col("source") == "llm").any().over("row")
    heard = spoken.filter(~replaced)
    named = (
        heard.filter(pl.col("hook_types").list.len() > 0)
        .explode("hook_types", "hook_confidences")
        .filter(pl.col("hook_types") != UNKNOWN)
        .unique(["row", "hook_types"], keep="first", maintain_order=True)
        .with_columns(first=pl.col("rank") >= RANKING.index("llm"))
        .sort("row", "first", "hook_confidences", "hook_types", descending=[False, False, True, False], nulls_last=True)
    )
    silent = heard.filter(~pl.col("row").is_in(named["row"].implode())).unique("row", keep="first", maintain_order=True)
    nothing = silent.select("row", hook_types=pl.lit(UNKNOWN), hook_confidences=pl.lit(None, pl.Float64), source="source")
    lists = (
        pl.concat([named.select(nothing.columns), nothing])
        .group_by("row", maintain_order=True)
        .agg("hook_types", "hook_confidences", hook_sources="source")
    )
    rows = pl.DataFrame({"row": range(next(iter(said.values())).height)}, schema={"row": spoken.schema["row"]})
    return rows.join(lists, on="row", how="left", maintain_order="left").select(SAID.names()).cast(SAID)
