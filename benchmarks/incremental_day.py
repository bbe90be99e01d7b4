"""Does a day cost a day? `python -m benchmarks.incremental_day [--ads N] [--seed N] [--short]`.

The cycles of a week are run on a simulated market with 90 days of history in the store, and with 365, as in `cycle_cost`; what the last day
of each took is compared, of the assets that learn from creatives. The last line is one JSON object: `ratio_365_90`, seconds of all of them
with 365 days over those with 90; `seconds_90` and `seconds_365`; and by asset the same ratio.
"""

import argparse
import json
from typing import Any

from benchmarks.cycle_cost import measured

ASSETS = ("creative_dna", "patterns", "knowledge_graph", "winning_formulas", "winner_memory")
SHORT, LONG = 90, 365


def figures(short: dict[str, Any], long: dict[str, Any]) -> dict[str, float]:
    """The figures of the module's docstring, from what `cycle_cost.measured` finds with a short history and with a long one."""
    seconds = {name: sum(found["steps"][asset] for asset in ASSETS) for name, found in (("90", short), ("365", long))}
    return {
        "ratio_365_90": seconds["365"] / seconds["90"],
        "seconds_90": seconds["90"],
        "seconds_365": seconds["365"],
        **{f"ratio_{asset}": long["steps"][asset] / short["steps"][asset] for asset in ASSETS},
    }


def run(ads: int, seed: int, days: tuple[int, int] = (SHORT, LONG), warm_up: int = 7) -> dict[str, float]:
    """The benchmark; `warm_up` cycles come before the one that is measured."""
    long, short = (measured(ads, length, seed, days[1], warm_up) for length in reversed(days))
    return figures(short, long)


def run_short(seed: int) -> dict[str, float]:
    """The same on a small market, in seconds."""
    return run(60, seed, days=(10, 15), warm_up=1)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="a small market, in seconds")
    asked = parser.parse_args()
    print(json.dumps(run_short(asked.seed) if asked.short else run(asked.ads, asked.seed)))


if __name__ == "__main__":
    main()
