"""Do the rules, and Claude, say the hook types that a person says?

    python -m benchmarks.hook_agreement [--sample PATH] [--seed N] [--short]

The sample (`benchmarks/data/hook_sample.csv`, see the README beside it) was written and labelled by hand and is held apart from the
development of the rules. It goes through the same code as creatives do. The last line is one JSON object:

    ads                 ads in the sample
    rules               agreement of the rules with the hand labels:
        micro_f1, macro_f1      over the 16 types; `_low` and `_high` are 95 % bootstrap intervals over ads
        exact                   share of ads of which exactly the same types are said
        share_unknown           share of ads of which no type is said; `true_share_unknown` by hand
        types                   per type and for `unknown`: said, true, both, precision, recall, f1, kappa (Cohen)
    ads_per_second      ads labelled by the rules a second, on one process; best of 5
    claude              the same of Claude's labels, and `with_rules`, the agreement of the two; null where none was asked
    claude_reason       why none was asked, or null

Claude is asked where a key is set (LEARNING_LLM_API_KEY or ANTHROPIC_API_KEY) and the `llm` extra is installed; the texts are our own, and
the cost is bounded by LEARNING_LLM_MAX_USD_PER_RUN. `--short` takes fewer repetitions and asks nobody.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import polars as pl

from learning_assets.learning import dna, hooks
from learning_assets.learning.agreement import Agreement, agreement
from learning_assets.platforms.claude import Ad, Claude, Said
from learning_assets.settings import Settings

SAMPLE = Path(__file__).parent / "data" / "hook_sample.csv"
COLUMNS = ("id", "headline", "body", "hook_types")


def sample(path: Path) -> pl.DataFrame:
    """The labelled ads: `id`, `headline`, `body`, `hook_types` as a list. Raises ValueError for a file that is not such a sample."""
    found = pl.read_csv(path, schema_overrides=dict.fromkeys(COLUMNS, pl.String))
    if tuple(found.columns) != COLUMNS:
        raise ValueError(f"{path} has the columns {', '.join(found.columns)}; expected {', '.join(COLUMNS)}.")
    found = found.with_columns(pl.col("hook_types").str.split("|"))
    known = {*hooks.HOOK_TYPES, hooks.UNKNOWN}
    for row in found.iter_rows(named=True):
        types = row["hook_types"]
        if not types or not set(types) <= known or len(set(types)) != len(types) or (hooks.UNKNOWN in types and len(types) > 1):
            raise ValueError(f"{path}, ad {row['id']}: {types} are not distinct hook types, or 'unknown' alone.")
    return found


def creatives(ads: pl.DataFrame) -> pl.DataFrame:
    """The ads as creatives of a catalog."""
    given = {
        "account_id": pl.lit("sample"),
        "creative_id": pl.col("id"),
        "headline": pl.col("headline"),
        "body": pl.col("body"),
    }
    missing = {name: pl.lit(None, kind) for name, kind in dna.CREATIVES.items() if name not in given}
    return ads.select(**given, **missing)


def texts(ads: pl.DataFrame) -> pl.DataFrame:
    """What is read of each ad: `opening` and `text`."""
    parts = [pl.col(name) for name in ("headline", "body", "description")]
    return creatives(ads).select(opening=dna.opening_of(*parts), text=dna.text_of(*parts))


def figures(said: pl.Series, true: pl.Series, seed: int, draws: int) -> dict[str, Any]:
    """Agreement of two sources' lists as plain numbers."""
    over_types = agreement(said, true, hooks.HOOK_TYPES, seed=seed, draws=draws)
    every = agreement(said, true, (*hooks.HOOK_TYPES, hooks.UNKNOWN), seed=seed, draws=1)
    return {
        **_plain(over_types),
        "share_unknown": _share_unknown(said),
        "true_share_unknown": _share_unknown(true),
        "types": {row.pop("label"): row for row in every.labels.iter_rows(named=True)},
    }


def _plain(found: Agreement) -> dict[str, float]:
    names = ("micro_f1", "micro_low", "micro_high", "macro_f1", "macro_low", "macro_high", "exact")
    return {name: getattr(found, name) for name in names}


def _share_unknown(lists: pl.Series) -> float:
    return float(lists.list.contains(hooks.UNKNOWN).sum()) / len(lists)


def speed(ads: pl.DataFrame, at_least: int, runs: int) -> float:
    """Ads that the rules label a second; the sample is repeated to `at_least` ads."""
    openings = pl.concat([texts(ads)["opening"]] * -(-at_least // ads.height))
    seconds: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        hooks.label(openings)
        seconds.append(time.perf_counter() - began)
    return len(openings) / min(seconds)


def by_claude(ads: pl.DataFrame, settings: Settings) -> tuple[pl.Series | None, str | None]:
    """Claude's hook types of every ad, or None and why there are none."""
    if settings.llm_key is None:
        return None, "no key is set (LEARNING_LLM_API_KEY or ANTHROPIC_API_KEY)"
    claude = Claude(settings.llm, settings.llm_key.get_secret_value())
    questions = [Ad(opening, text) for opening, text in texts(ads).iter_rows()]
    said: list[Said | None] = []
    spent, size = 0, settings.llm.max_ads_per_request
    for start in range(0, len(questions), size):
        batch = questions[start : start + size]
        if spent + claude.most_usd_micros(batch) > 1e6 * settings.llm.max_usd_per_run:
            return None, "LEARNING_LLM_MAX_USD_PER_RUN does not suffice for the sample"
        reply = claude.ask(batch)
        spent += reply.cost_usd_micros
        if reply.status != "answered" or None in reply.said:
            return None, f"no answer: {reply.status}"
        said += reply.said
    lists = [list(one.labels) for one in said if one is not None]
    sure = [list(one.confidences) for one in said if one is not None]
    answers = pl.DataFrame(
        {"hook_types": lists, "hook_confidences": sure},
        schema={"hook_types": pl.List(pl.String), "hook_confidences": pl.List(pl.Float64)},
    )
    return hooks.combine({"llm": hooks.above(answers, settings.hooks.min_confidence)})["hook_types"], None


def run(seed: int, path: Path = SAMPLE, *, short: bool = False, settings: Settings | None = None) -> dict[str, Any]:
    """All figures; `short` shows that they can be computed, and asks nobody."""
    settings = settings or Settings()
    ads = sample(path)
    true, draws = ads["hook_types"], 100 if short else 2_000
    rules = dna.extract(creatives(ads), settings.hooks.min_confidence)["hook_types"]
    claude, reason = (None, "not asked in the short form") if short else by_claude(ads, settings)
    return {
        "ads": ads.height,
        "rules": figures(rules, true, seed, draws),
        "ads_per_second": speed(ads, 1_000 if short else 50_000, 1 if short else 5),
        "claude": None
        if claude is None
        else {**figures(claude, true, seed, draws), "with_rules": figures(rules, claude, seed, draws)},
        "claude_reason": reason,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Do the rules, and Claude, say the hook types that a person says?")
    parser.add_argument("--sample", type=Path, default=SAMPLE)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="a few seconds, and nobody is asked; for tests")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, arguments.sample, short=arguments.short)))


if __name__ == "__main__":
    main()
