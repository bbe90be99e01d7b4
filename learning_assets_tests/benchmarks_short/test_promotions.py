"""The short forms of the benchmarks of promotions."""

import json

import numpy as np
import polars as pl

from benchmarks import asos_replay, decision_speed, promotion_truth
from learning_assets.settings import Promotion

KINDS = [
    f"{scenario}/{kind}"
    for scenario in ("iid", "hour_noise", "day_noise", "moving_allocation", "late_starter", "five_arms")
    for kind in ("new", "known")
]


def test_false_winners_and_power():
    figures = promotion_truth.run(5, experiments=60, powered=20, accounts=6, say=lambda _: None)
    assert list(figures) == [
        "false_winners",
        "rivals",
        "power",
        "median_hours",
        "inflation",
        "observed_inflation",
        "experiments",
    ]
    assert list(figures["false_winners"]) == KINDS
    assert max(figures["false_winners"].values()) <= 0.1
    assert set(figures["rivals"]) == {"naive", "p_best_95", "msprt"}
    assert figures["power"]["iid/known"]["30"] == 1.0
    json.dumps(figures)


def test_an_experiment_is_replayed(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for name, lift in (("same", 0.0), ("better", 0.2)):
        shown, came = np.zeros(2), np.zeros(2)
        for step in range(20):
            new = rng.poisson(3_000, 2)
            shown += new
            came += rng.binomial(new, [0.05, 0.05 * (1 + lift)])
            rate = came / shown
            rows.append((name, 1, 1, 0.5 * (step + 1), *shown, *rate, 0.0, 0.0))
    names = [
        "experiment_id",
        "variant_id",
        "metric_id",
        "time_since_start",
        "count_c",
        "count_t",
        "mean_c",
        "mean_t",
        "variance_c",
        "variance_t",
    ]
    path = tmp_path / "asos.parquet"
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(path)
    figures = asos_replay.replay(asos_replay.read(path), Promotion())
    assert (figures["comparisons"], figures["promoted"], figures["contradicted"]) == (2, 1, 0.0)


def test_a_refresh_is_timed():
    figures = decision_speed.run(20, 3)
    assert figures["experiments"] == 20
    assert figures["seconds"] > 0
