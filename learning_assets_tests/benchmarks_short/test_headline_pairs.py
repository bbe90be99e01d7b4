"""The headline benchmark: which pairs count, its keys, and its bar on the real archive where that is present."""

import json
import os
from pathlib import Path

import polars as pl
import pytest

from benchmarks import headline_pairs

ARCHIVE = (
    Path(os.environ.get("LEARNING_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    / "upworthy"
    / "upworthy_to_2014w42.parquet"
)
KEYS = ["pairs", "pairwise_accuracy", "hook_features_accuracy", "tfidf_accuracy", "accuracy_z3"]


def table(rows: list[tuple[str, int, str, str, int, int]]) -> pl.DataFrame:
    names = ["clickability_test_id", "test_week", "headline", "eyecatcher_id", "impressions", "clicks"]
    return pl.DataFrame(rows, schema=names, orient="row").with_row_index("arm")


def test_pairs_share_test_and_image_and_differ_in_headline_and_rate():
    found = headline_pairs.pairs(
        table(
            [
                ("t", 201410, "one", "i", 1_000, 10),
                ("t", 201410, "two", "i", 1_000, 40),  # z = -4.3 against the first
                ("t", 201410, "one", "i", 1_000, 41),  # the first's headline; no difference from the second
                ("t", 201410, "three", "j", 1_000, 90),  # another image
                ("u", 201410, "four", "i", 1_000, 90),  # another test
            ]
        )
    )
    assert found.select("arm", "arm_b").rows() == [(0, 1)]
    assert found["z"].item() == pytest.approx(-4.296, abs=1e-3)


def test_broken_weeks_and_labels_are_never_read(tmp_path: Path):
    weeks = [201324, 201325, 201402, 201403]
    rows = table([(f"t{week}", week, "one", "i", 10, 1) for week in weeks]).drop("arm")
    full = rows.with_columns(lede=pl.lit(""), excerpt=pl.lit(""), winner=pl.lit(True), significance=pl.lit(100.0))
    full.write_parquet(tmp_path / "archive.parquet")
    found = headline_pairs.arms(tmp_path / "archive.parquet")
    assert found["test_week"].to_list() == [201324, 201403]
    assert set(found.columns) == {*headline_pairs.COLUMNS, "arm"}


def test_the_short_form_prints_its_figures(capsys: pytest.CaptureFixture[str]):
    headline_pairs.main(["--short", "--seed", "3"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures) == KEYS
    assert figures["pairs"] > 300
    assert figures["pairwise_accuracy"] > 0.85
    assert figures["accuracy_z3"] >= figures["pairwise_accuracy"]


def test_arguments_are_asked_for(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        headline_pairs.main(["--train-until", "201430"])
    assert "--archive and --train-until are needed" in capsys.readouterr().err
    with pytest.raises(ValueError, match="week 209901 leaves"):
        headline_pairs.measure(headline_pairs.simulated(1, tests=40), 209901)


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"the Upworthy archive is not at {ARCHIVE}")
def test_on_real_later_tests_it_beats_chance_and_both_baselines():
    figures = headline_pairs.measure(headline_pairs.arms(ARCHIVE), 201430)
    assert figures["pairs"] == 1400
    assert 0.64 <= figures["pairwise_accuracy"] < 0.75
    assert figures["pairwise_accuracy"] > max(figures["hook_features_accuracy"], figures["tfidf_accuracy"])
    assert figures["accuracy_z3"] > figures["pairwise_accuracy"]
