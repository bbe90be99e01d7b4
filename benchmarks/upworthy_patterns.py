"""Do patterns that were learned on earlier tests hold in later ones?

    python -m benchmarks.upworthy_patterns --archive PATH --split-week YYYYWW [--short]

Headline tests of the Upworthy Research Archive (Matias et al., Sci Data 2021, doi 10.1038/s41597-021-00934-7) are learned week by week, as the
product does it, up to `--split-week`; what is active then is compared with the lifts of the later weeks alone. `--short` learns a small
simulated table instead. The last line is one JSON object:

    active                        patterns of randomized evidence that are active at the split
    sign_agreement                share of them whose lift in the later weeks has the same sign
    sign_agreement_later_clear    the same among those whose later lift differs from zero at p < 0.05
    coverage                      share of later lifts inside the 95 % predictive interval of the earlier weeks, over all patterns with at least
                                  `min_ads` ads on each side before and after
    compared                      how many these are
    srm_flagged_in_faulty_weeks   tests that the sample-ratio check took out, in the weeks 201325 to 201402, whose randomization was broken
    srm_flagged_elsewhere         the same in all other weeks

The predictive interval of a later lift is that of the shrunk lift, widened by the error of the later estimate itself.
"""

import argparse
import json
import sys
from datetime import date
from pathlib import Path

import polars as pl

from benchmarks.headline_pairs import BROKEN_WEEKS, SHORT_UNTIL, simulated
from learning_assets.learning import bins, dna, experiments, lift
from learning_assets.platforms.archive import ArchiveSource
from learning_assets.settings import Archive, Checks, Patterns

COLUMNS = {
    "experiment": "clickability_test_id",
    "time": "test_week",
    "body": "lede",
    "description": "excerpt",
    "image": "eyecatcher_id",
}


ATTRIBUTES = (*dna.ATTRIBUTES, *bins.BINNED)
"""What is said by texts: an archive has no media files."""


def sums(archive: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The archive as the product sees it: sums of arms by week, with `mismatched` experiments told, and the creatives."""
    source = ArchiveSource(Archive(path=archive, columns=COLUMNS))
    arms = source.arms.with_columns(account_id=pl.lit("archive"))
    unknown = pl.lit(None, pl.Int64)
    rows = arms.select(
        "account_id",
        "ad_id",
        "creative_id",
        "planned_share",
        "impressions",
        experiment_id="experiment",
        assignment=pl.lit("random"),
        week="date",
        link_clicks="clicks",
        conversions=unknown,
        spend_micros=unknown,
        revenue_micros=unknown,
    )
    texts = arms.unique(["account_id", "creative_id"], keep="first", maintain_order=True)
    absent = [pl.lit(None, pl.String).alias(name) for name in ("cta", "template")]
    creatives = dna.extract(
        texts.select("account_id", "creative_id", "headline", "body", "description", *absent, image_id="image")
    )
    return experiments.sound(rows, Checks().sample_ratio_p), creatives.with_columns(pool=pl.lit("archive"))


def learned(facts: pl.DataFrame, creatives: pl.DataFrame, settings: Patterns) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Patterns week by week, each from the facts up to it: the newest state, and the bins in force then."""
    state, edges = None, bins.BINS.to_frame()
    for week in facts["week"].unique().sort():
        until = facts.filter(pl.col("week") <= week)
        edges = bins.learn(creatives.join(until, on="creative_id", how="semi"), edges, week, settings)
        state = lift.advance(state, mined(until, creatives, edges, settings), week, settings)
        print(f"{week}: {(state['status'] == 'active').sum()} active", file=sys.stderr)
    if state is None:
        raise ValueError("There is no week up to the split; choose a later one.")
    return state, edges


def mined(facts: pl.DataFrame, creatives: pl.DataFrame, edges: pl.DataFrame, settings: Patterns) -> pl.DataFrame:
    """Lifts of all attributes in these weeks."""
    described = bins.named(creatives, edges).select("account_id", "creative_id", *ATTRIBUTES)
    return lift.mine(facts.join(described, on=["account_id", "creative_id"], how="left"), ATTRIBUTES, settings, "account")


def compare(facts: pl.DataFrame, creatives: pl.DataFrame, split: date) -> dict[str, float | int | None]:
    """The figures of the module's docstring but for those of the sample-ratio check."""
    settings = Patterns()
    state, edges = learned(facts.filter(pl.col("week") <= split), creatives, settings)
    later = mined(facts.filter(pl.col("week") > split), creatives, edges, settings)
    both = state.filter(evidence="randomized", metric="ctr").join(
        later, on=lift.KEY, how="inner", suffix="_later", nulls_equal=True
    )
    agrees = pl.col("log_lift_later").sign() == pl.col("sign")
    active = both.filter(pl.col("status") == "active", pl.col("log_lift_later").is_not_null())
    clear = active.filter(pl.col("p_value_later") < 0.05)
    # Half-widths over 1.96 are errors that know how few the clusters were.
    sd = [
        (pl.col(f"{high}") - pl.col(f"{low}")) / (2 * 1.96)
        for low, high in (("shrunk_low", "shrunk_high"), ("low_later", "high_later"))
    ]
    miss = (pl.col("log_lift_later") - pl.col("shrunk_log_lift")).abs()
    enough = pl.min_horizontal("ads_with", "ads_without", "ads_with_later", "ads_without_later") >= settings.min_ads
    judged = both.filter(enough).select(inside=miss <= 1.96 * (sd[0] ** 2 + sd[1] ** 2).sqrt())["inside"].drop_nulls()
    return {
        "active": state.filter(evidence="randomized", status="active").height,
        "sign_agreement": _mean(active.select(agrees).to_series()),
        "sign_agreement_later_clear": _mean(clear.select(agrees).to_series()),
        "coverage": _mean(judged),
        "compared": judged.len(),
    }


def _mean(shares: pl.Series) -> float | None:
    return round(float(shares.mean()), 4) if shares.len() else None  # type: ignore[arg-type]


def mismatches(facts: pl.DataFrame) -> dict[str, int]:
    """Tests that the sample-ratio check took out, by whether their week was faulty."""
    week = pl.col("week").dt.iso_year().cast(pl.Int64) * 100 + pl.col("week").dt.week()
    flagged = facts.filter(pl.col("mismatched").is_not_null()).select("mismatched", week=week).unique("mismatched")
    faulty = flagged["week"].is_between(*BROKEN_WEEKS)
    return {"srm_flagged_in_faulty_weeks": int(faulty.sum()), "srm_flagged_elsewhere": int((~faulty).sum())}


def run(archive: Path, split_week: int) -> dict[str, float | int | None]:
    """All figures of one archive."""
    facts, creatives = sums(archive)
    split = date.fromisocalendar(split_week // 100, split_week % 100, 7)
    return compare(facts, creatives, split) | mismatches(facts)


def run_short(folder: Path, seed: int) -> dict[str, float | int | None]:
    """The same on a small simulated archive, whose arms get the same traffic."""
    path = folder / "archive.parquet"
    alike = pl.col("impressions").max().over("clickability_test_id")
    simulated(seed).drop("arm").with_columns(alike).write_parquet(path)
    return run(path, SHORT_UNTIL)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="Parquet file with the columns of the Upworthy Research Archive")
    parser.add_argument("--split-week", type=int, help="last ISO week that is learned, YYYYWW")
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated table of --short; all else is deterministic")
    parser.add_argument("--short", action="store_true", help="a small simulated table instead of --archive")
    asked = parser.parse_args()
    if asked.short:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run_short(Path(folder), asked.seed)))
    elif asked.archive is None or asked.split_week is None:
        parser.error("--archive and --split-week are needed (or --short)")
    else:
        print(json.dumps(run(asked.archive, asked.split_week)))


if __name__ == "__main__":
    main()
