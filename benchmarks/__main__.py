"""All benchmarks, one after the other: `python -m benchmarks [--archive PATH] [--asos PATH] [--seed N] [--short]`."""

import argparse
import subprocess
import sys

ALL = (
    "pattern_truth",
    "formula_truth",
    "privacy_attacks",
    "hook_agreement",
    "media_truth",
    "niche_detection",
    "memory_search",
    "ctr_models",
    "flat_growth",
    "retrain_triggers",
    "champion_gate",
    "bandit_regret",
    "fatigue_truth",
    "cycle_cost",
    "incremental_day",
    "fetch_faults",
    "fetch_speed",
    "fetch_kills",
    "promotion_truth",
    "decision_speed",
)
ON_AN_ARCHIVE = {"headline_pairs": "--train-until", "upworthy_patterns": "--split-week"}
"""Benchmarks that need an archive, and how each is told which week is the last that is learned."""
LAST_WEEK = "201430"


def main() -> int:
    """Run each in a process of its own, print its last line behind its name, and return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", help="Parquet file of the Upworthy Research Archive")
    parser.add_argument("--asos", help="Parquet file of the ASOS Digital Experiments Dataset")
    parser.add_argument("--seed", default="7")
    parser.add_argument("--short", action="store_true")
    asked = parser.parse_args()
    common = ["--seed", asked.seed, *(["--short"] if asked.short else [])]
    runs = dict.fromkeys(ALL, common)
    if asked.archive:
        runs["champion_gate"] = [*common, "--archive", asked.archive]
        runs |= {name: [*common, "--archive", asked.archive, until, LAST_WEEK] for name, until in ON_AN_ARCHIVE.items()}
    if asked.asos:
        runs |= {"asos_replay": ["--data", asked.asos]}
    failed = 0
    for name, arguments in runs.items():
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments], stdout=subprocess.PIPE, text=True, check=False
        )
        lines = done.stdout.splitlines()
        failed += done.returncode != 0
        print(f"{name}: {lines[-1] if lines and not done.returncode else f'failed with {done.returncode}'}", flush=True)
    for name in () if asked.archive else ON_AN_ARCHIVE:
        print(f"{name}: left out, give --archive PATH")
    if not asked.asos:
        print("asos_replay: left out, give --asos PATH")
    return failed


if __name__ == "__main__":
    sys.exit(main())
