"""What a day of learning costs: `python -m benchmarks.cycle_cost --ads 20000 --days 90 [--seed N] [--short]`.

A simulated market is written into a store for `--days` days, and for 365 days into a second one. In each, the cycles of `--warm-up` days are run first
(the first of them reads every creative and trains the first models), then the cycle of the next day is measured, in a process of its own. Accuracy compares
as many days of predictions; from seven of them on a day costs the same.

The last line is one JSON object: `cycle_s`, seconds of the last day's cycle; `dagster_overhead_s`, what of them is not spent inside assets and
checks; `ratio_to_scan`, cycle over a plain polars group-by of the window's facts; `history_ratio`, cycle with 365 days in the store over that
with `--days`; `peak_mb`, largest resident memory of the process, training included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.stores import remove

if TYPE_CHECKING:
    import polars as pl

ADS_PER_ACCOUNT = 100
LAST = date(2026, 3, 1)


def prepare(home: Path, days: int, warm_up: int) -> None:
    """Write catalogs and actuals of the last `days` days, but those that cycles are run for, into the lake of a new store."""
    from learning_assets.build import open_store
    from learning_assets.opening import open_identity
    from learning_assets.platforms.sandbox import SandboxSource
    from learning_assets.settings import Settings
    from learning_assets.store.facts import swap

    settings = Settings(home=home)
    source, store = SandboxSource.of(open_identity(settings).market), open_store(settings)
    store.register(source.accounts())
    first, last = LAST - timedelta(days=days - 1), LAST - timedelta(days=warm_up + 1)
    known: dict[date, pl.DataFrame] = {}
    for begin in range(0, days - warm_up - 1, 30):
        start = first + timedelta(days=begin)
        end = min(start + timedelta(days=29), last)
        facts = source.actuals(start, end, LAST).rows.partition_by("date", as_dict=True)
        known |= {date.fromisoformat(str(key[0])): frame for key, frame in facts.items()}
        for day in sorted(known):
            store.lake.write("ad_catalog", day, source.catalog(day).rows.sort("account_id", "ad_id"))
            swap(store.lake, day, known.pop(day), last)
        print(f"written up to {end}", file=sys.stderr)


def measure(warm_up: int) -> dict[str, Any]:
    """Run the cycles of the last days in this process and time the last, and each of its assets and checks (`steps`)."""
    import dagster as dg
    import polars as pl

    from learning_assets.automation.replay import QUIET_CONSOLE
    from learning_assets.build import build_definitions, open_store
    from learning_assets.cli.learning import dagster_instance
    from learning_assets.clock import days_between
    from learning_assets.opening import open_identity
    from learning_assets.platforms.sandbox import SandboxSource
    from learning_assets.settings import Settings

    settings = Settings()
    store, source = open_store(settings), SandboxSource.of(open_identity(settings).market)
    job = build_definitions(settings=settings, store=store, source=source).resolve_job_def("learning_cycle")

    def cycle(day: date) -> tuple[float, dg.ExecuteInProcessResult]:
        began = time.perf_counter()
        result = job.execute_in_process(
            run_config=QUIET_CONSOLE, partition_key=day.isoformat(), instance=instance, tags={"learning/quiet": "1"}
        )
        seconds = time.perf_counter() - began
        print(f"{day}: {seconds:.1f} s", file=sys.stderr)
        return seconds, result

    with dagster_instance() as instance:
        for day in days_between(LAST - timedelta(days=warm_up), LAST - timedelta(days=1)):
            cycle(day)
        seconds, result = cycle(LAST)
    steps = {
        event.step_key: cast("Any", event.event_specific_data).duration_ms / 1000
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.STEP_SUCCESS
    }
    for name, took in steps.items():
        print(f"{name}: {took:.2f} s", file=sys.stderr)
    window = settings.patterns.window_days
    began = time.perf_counter()
    store.lake.scan("actuals", LAST - timedelta(days=window - 1), LAST).group_by("account_id", "ad_id").agg(
        pl.col("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros").sum()
    ).collect()
    scan = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cycle_s": seconds, "overhead_s": seconds - sum(steps.values()), "scan_s": scan, "peak_mb": peak, "steps": steps}


def measured(ads: int, days: int, seed: int, history: int, warm_up: int) -> dict[str, Any]:
    """What `measure` finds in a process of its own, with `days` days in a store below a temporary folder; `history` days are simulated."""
    folder = Path(tempfile.mkdtemp(prefix="cycle-cost-"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEARNING_")} | {
        "LEARNING_HOME": str(folder),
        "LEARNING_NOW": f"{LAST + timedelta(days=1)}T03:00:00+00:00",
        "LEARNING_SANDBOX_SEED": str(seed),
        "LEARNING_SANDBOX_ACCOUNTS": str(max(5, ads // ADS_PER_ACCOUNT)),
        "LEARNING_SANDBOX_ADS": str(min(ads, ADS_PER_ACCOUNT)),
        "LEARNING_SANDBOX_HISTORY_DAYS": str(history + 5),
        "LEARNING_START_DAYS": "500",
    }
    try:
        for step in (["--prepare", str(days)], ["--measure"]):
            command = [sys.executable, "-m", "benchmarks.cycle_cost", "--warm-up", str(warm_up), *step]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
    finally:
        remove(folder)
    print(f"{days} days: {found}", file=sys.stderr)
    return found


def figures(short: dict[str, Any], long: dict[str, Any]) -> dict[str, float]:
    """The figures of the module's docstring, from what was `measured` with a short history and with a long one."""
    return {
        "cycle_s": short["cycle_s"],
        "dagster_overhead_s": short["overhead_s"],
        "ratio_to_scan": short["cycle_s"] / short["scan_s"],
        "history_ratio": long["cycle_s"] / short["cycle_s"],
        "peak_mb": max(short["peak_mb"], long["peak_mb"]),
    }


def run(ads: int, days: int, seed: int, longer: int = 365, warm_up: int = 2) -> dict[str, float]:
    """The benchmark; `warm_up` cycles come before the one that is measured."""
    long, short = (measured(ads, length, seed, longer, warm_up) for length in (longer, days))
    return figures(short, long)


def run_short(seed: int) -> dict[str, float]:
    """The same on a small market, in seconds."""
    return run(ads=60, days=10, seed=seed, longer=15, warm_up=1)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ads", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="a small market, in seconds")
    parser.add_argument("--warm-up", type=int, default=2, help="cycles before the one that is measured")
    parser.add_argument("--prepare", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.prepare:
        prepare(Path(os.environ["LEARNING_HOME"]), asked.prepare, asked.warm_up)
    elif asked.measure:
        print(json.dumps(measure(asked.warm_up)))
    elif asked.short:
        print(json.dumps(run_short(asked.seed)))
    else:
        print(json.dumps(run(asked.ads, asked.days, asked.seed, warm_up=asked.warm_up)))


if __name__ == "__main__":
    main()
