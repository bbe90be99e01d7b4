"""How long deciding takes: `python -m benchmarks.decision_speed [--experiments N] [--seed N] [--short]`.

A refresh adds one local day of finished hours to every experiment of two arms, sums its evidence of two weeks and decides it. The last line is one JSON object:
`experiments`; `seconds` of the whole refresh, and of its parts `update_seconds` (the day's increments), `evidence_seconds`, `decide_seconds`;
`library_seconds`, of a loop that calls statsmodels' two-proportion z-test once for each experiment, on its sums: it has no sequential test, and learns no
dispersion; `ratio`, the loop over the refresh. `processor_seconds`, `library_processor_seconds` and `processor_ratio` are the same without the time in which
the machine did other work. `same_seconds`: a loop that gets the likelihoods of the day's hours, experiment by experiment, from scipy's binomial, which is the
first step of the refresh only (`same_processor_seconds`).
"""

import argparse
import json
import time
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from learning_assets.learning import sequential
from learning_assets.learning.sequential.decisions import ARM_TOTALS, FLAGS
from learning_assets.settings import Promotion

DAYS, FIRST = 14, date(2026, 1, 1)
_KEY = ["account_id", "experiment_id"]


def hours(experiments: int, first: date, days: int, rng: np.random.Generator) -> pl.DataFrame:
    """HOURS of two arms at 500 impressions an hour and a CTR of 2 %."""
    e, a, d, h = np.meshgrid(np.arange(experiments), np.arange(2), np.arange(days), np.arange(24), indexing="ij")
    shown = rng.poisson(500, e.size)
    return pl.DataFrame(
        {
            "account_id": e.ravel() // 20,
            "experiment_id": e.ravel(),
            "ad_id": 2 * e.ravel() + a.ravel(),
            "day": d.ravel(),
            "hour": h.ravel().astype(np.int64),
            "exposure": shown.astype(np.float64),
            "events": rng.binomial(shown, 0.02).astype(np.int64),
        }
    ).select(
        pl.col("account_id", "experiment_id", "ad_id").cast(pl.String),
        date=pl.lit(first) + pl.duration(days="day"),
        hour="hour",
        exposure="exposure",
        events="events",
    )


def run(experiments: int, seed: int) -> dict[str, Any]:
    """The benchmark."""
    from statsmodels.stats.proportion import proportions_ztest

    rules, rng = Promotion(), np.random.default_rng(seed)
    past: list[pl.DataFrame] = []
    for day in range(DAYS - 1):
        some = hours(experiments, FIRST + timedelta(days=day), 1, rng)
        past.append(sequential.increments(some, some.select(*_KEY, "date").unique().with_columns(dispersion=1.5)))
    known = pl.concat(past)
    today = hours(experiments, FIRST + timedelta(days=DAYS - 1), 1, rng)

    began, worked = time.perf_counter(), time.process_time()
    days = today.select(*_KEY, "date").unique()
    phi = sequential.dispersion(known, days, sequential.log_rate_variance(known, rules), rules)
    everything = pl.concat([known, sequential.increments(today, phi)])
    updated = time.perf_counter()
    evidence = sequential.evidence(everything, rules)
    summed = time.perf_counter()
    arms = evidence.group_by(*_KEY, "ad_id").agg(
        impressions=pl.col("exposure").first().cast(pl.Int64),
        link_clicks=pl.col("events").first(),
        conversions=pl.lit(None, pl.Int64),
        hours=pl.col("hours").first(),
    )
    flags = arms.select(_KEY).unique().with_columns(isolated=True, sample_ratio=pl.lit("not_applicable"), complete=True)
    decided = sequential.decide(
        {"ctr": evidence}, arms.select(ARM_TOTALS.names()), flags.select(FLAGS.names()), sequential.ROAS.to_frame(), rules
    )
    ended, work_ended = time.perf_counter(), time.process_time()

    for row in evidence.filter(pl.col("ad_id") < pl.col("other_id")).iter_rows(named=True):
        proportions_ztest([row["events"], row["other_events"]], [row["exposure"], row["other_exposure"]])
    looped, loop_work, work = time.perf_counter() - ended, time.process_time() - work_ended, work_ended - worked
    began_same, work_began = time.perf_counter(), time.process_time()
    _likelihoods_one_by_one(today, experiments)
    same, same_work = time.perf_counter() - began_same, time.process_time() - work_began
    return {
        "experiments": decided.height,
        "seconds": ended - began,
        "update_seconds": updated - began,
        "evidence_seconds": summed - updated,
        "decide_seconds": ended - summed,
        "library_seconds": looped,
        "ratio": looped / (ended - began),
        "processor_seconds": work,
        "library_processor_seconds": loop_work,
        "processor_ratio": loop_work / work,
        "same_seconds": same,
        "same_processor_seconds": same_work,
    }


def _likelihoods_one_by_one(today: pl.DataFrame, experiments: int) -> None:
    from scipy.stats import binom

    events, exposure = (today[name].to_numpy().reshape(experiments, 2, 24) for name in ("events", "exposure"))
    for (ours, theirs), (shown, other) in zip(events, exposure, strict=True):
        total, leads = ours + theirs, np.exp(sequential.GRID) * shown[:, None]
        split = leads / (leads + other[:, None])
        alike = binom.logpmf(ours, total, shown / (shown + other))
        (binom.logpmf(ours[:, None], total[:, None], split) - alike[:, None]).sum(axis=0)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="few experiments, in a second")
    asked = parser.parse_args()
    print(json.dumps(run(100 if asked.short else asked.experiments, asked.seed)))


if __name__ == "__main__":
    main()
