"""Promotions on real online experiments, replayed as they went on: `python -m benchmarks.asos_replay --data PATH`.

PATH is a Parquet file of the ASOS Digital Experiments Dataset (Liu et al., NeurIPS Datasets and Benchmarks 2021): cumulative interim results. Of its binary
metric (1), what came between two looks is judged against the visitors so far, who are what it came from; each treatment is compared with its control by the
product's increments, dispersion, evidence and threshold, after each local day. The dataset has no dates: the other
experiments are the account's past. An arm is promoted the first time; the final result of the same
experiment says whether that was right.

The last line is one JSON object: `comparisons`; `promoted`, how many named a winner of either side; `contradicted`, the share of these whose side the final
result contradicts; `promoted_naive` and `contradicted_naive`, the same of a z-test at 5 % looked at after each day; `promoted_worth`, of `promoted` those
whose shrunk lift was at least the smallest that is worth a budget (`min_lift`), which the product asks for as well; `days_to_promotion`, their median.
"""

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from learning_assets.learning import sequential
from learning_assets.settings import Promotion

FIRST = date(2020, 1, 1)
BINARY = 1
_EXPERIMENT = ["account_id", "experiment_id"]


def read(path: Path) -> pl.DataFrame:
    """One row per comparison, arm and period: the columns of `sequential.HOURS`, and `shown` and `succeeded` so far."""
    table = pl.read_parquet(path).filter(pl.col("metric_id") == BINARY).sort("experiment_id", "variant_id", "time_since_start")
    sides = [
        table.select(
            experiment_id=pl.format("{}/{}", "experiment_id", "variant_id"),
            ad_id=pl.lit(name),
            time="time_since_start",
            shown=pl.col(f"count_{side}").cast(pl.Float64),
            succeeded=(pl.col(f"count_{side}") * pl.col(f"mean_{side}")).round().cast(pl.Int64),
        )
        for name, side in (("control", "c"), ("treatment", "t"))
    ]
    arm = ["experiment_id", "ad_id"]
    new = pl.col("succeeded") - pl.col("succeeded").shift(1, fill_value=0).over(arm)
    rows = pl.concat(sides).sort(*arm, "time").with_columns(events=new)
    # A look at which fewer had succeeded than before corrects an earlier one; both arms are then taken together with the next look.
    wrong = rows.filter((pl.col("events") < 0) | (pl.col("shown") <= 0)).select("experiment_id", "time").unique()
    kept = rows.join(wrong, on=["experiment_id", "time"], how="anti").sort(*arm, "time")
    return (
        kept.with_columns(events=new)
        .filter((pl.col("events") >= 0).all().over("experiment_id", "time"))
        .select(
            account_id=pl.lit("asos"),
            experiment_id="experiment_id",
            ad_id="ad_id",
            date=pl.lit(FIRST) + pl.duration(days=pl.col("time").floor().cast(pl.Int64)),
            hour=((pl.col("time") % 1) * 24).round().cast(pl.Int64),
            exposure="shown",
            events="events",
            shown="shown",
            succeeded="succeeded",
        )
    )


def replay(rows: pl.DataFrame, rules: Promotion) -> dict[str, Any]:
    """Look at every comparison after each of its days."""
    hours = rows.select(sequential.HOURS.names())
    days = hours.select(*_EXPERIMENT, "date").unique()
    # What dispersion is learned from does not depend on it, so that increments are made twice.
    raw = sequential.increments(hours, days.with_columns(dispersion=1.0))
    phi = pl.concat([_known_before(raw, days, test, rules) for test in days.select(_test()).to_series().unique().sort()])
    told = sequential.increments(hours, phi)
    threshold = np.log(2 / rules.alpha)
    looks: list[pl.DataFrame] = []
    for day in told["date"].unique().sort().to_list():
        known = told.filter(pl.col("date") <= day)
        going = known.group_by(_EXPERIMENT).agg(last=pl.col("date").max()).filter(pl.col("last") == day)
        looks.append(sequential.evidence(known.join(going, on=_EXPERIMENT, how="semi"), rules).with_columns(day=pl.lit(day)))
    every = pl.concat(looks).sort("experiment_id", "day")
    age = (pl.col("day") - FIRST).dt.total_days() + 1
    ready = every.filter(age * 24 >= rules.min_hours, pl.min_horizontal("events", "other_events") >= rules.min_clicks)
    final = (
        rows.group_by("experiment_id", "ad_id")
        .agg(rate=pl.col("succeeded").max() / pl.col("shown").max())
        .sort("experiment_id", "ad_id")
        .group_by("experiment_id", maintain_order=True)
        .agg(better=pl.col("ad_id").sort_by("rate").last())
    )

    def first(of: pl.DataFrame) -> pl.DataFrame:
        return of.group_by("experiment_id", maintain_order=True).first().join(final, on="experiment_id")

    ours = first(ready.filter(pl.col("log_e") >= threshold))
    naive = first(every.filter(pl.col("naive_p") < rules.alpha / 2))

    def contradicted(found: pl.DataFrame) -> float | None:
        return None if found.is_empty() else float((found["ad_id"] != found["better"]).mean())  # pyright: ignore[reportArgumentType]

    return {
        "comparisons": rows["experiment_id"].n_unique(),
        "promoted": ours.height,
        "contradicted": contradicted(ours),
        "promoted_naive": naive.height,
        "contradicted_naive": contradicted(naive),
        "promoted_worth": ours.filter(pl.col("shrunk_lift") >= np.log1p(rules.min_lift)).height,
        "days_to_promotion": ours.select(((pl.col("day") - FIRST).dt.total_days() + 1).median()).item(),
    }


def _test() -> pl.Expr:
    """The experiment that a comparison is of; several share one control."""
    return pl.col("experiment_id").str.split("/").list.first()


def _known_before(pair_days: pl.DataFrame, days: pl.DataFrame, test: str, rules: Promotion) -> pl.DataFrame:
    """Dispersion of one experiment's days, from its own days before and from all other experiments."""
    variance = sequential.log_rate_variance(pair_days.filter(_test() != test), rules)
    mine = _test() == test
    return sequential.dispersion(pair_days.filter(mine), days.filter(mine), variance, rules)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Parquet file of the ASOS Digital Experiments Dataset")
    parser.add_argument(
        "--seed", type=int, default=7, help="nothing is drawn at random; taken so that every benchmark takes one"
    )
    print(json.dumps(replay(read(parser.parse_args().data), Promotion())))


if __name__ == "__main__":
    main()
