"""The niche benchmark: its keys, our own sample apart from the fitted ads, and its bars, on real ads where they are present."""

import os
from pathlib import Path

import polars as pl
import pytest

from benchmarks import niche_detection
from learning_assets.learning.niche import LABELS, UNKNOWN, training_ads

REAL = (
    Path(os.environ.get("LEARNING_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    / "ad_transcripts"
    / "ad_transcripts_half.parquet"
)


def test_our_own_sample_passes_the_bar_and_a_small_file_gives_every_figure(tmp_path: Path):
    path = tmp_path / "texts.parquet"
    pl.DataFrame(
        {
            "Category": ["Food & Beverage", "HeaLth Care", "Automotive", "Automotive", "Corporate"],
            "Advertiser": ["a", "b", "c", "c", "d"],
            "Ad_copy": [
                "Fresh pizza and cold beer.",
                "Our hospital's surgeons.",
                "Test drive the new sedan.",
                "A truck.",
                "We.",
            ],
        }
    ).write_parquet(path)
    found = niche_detection.run(path, draws=50)
    assert found["texts"] == 4
    assert found["accuracy_answered"] == 1
    assert (found["accounts"], found["accounts_accuracy_answered"]) == (1, 1)
    assert found["own_texts"] >= 150
    assert found["own_accuracy_answered"] >= 0.82
    assert found["own_answered"] >= 0.80
    assert found["own_accuracy_answered_low"] <= found["own_accuracy_answered"] <= found["own_accuracy_answered_high"]
    assert found["own_wrong_when_sure"] < 0.15
    assert found["own_unknown_said"] > 0.5
    assert niche_detection.run(None, draws=50)["texts"] is None


def test_our_own_sample_is_apart_from_the_ads_that_are_fitted():
    ours, fitted = niche_detection.sample(niche_detection.SAMPLE), training_ads()
    assert set(ours["niche"]) == set(LABELS)
    assert (ours.filter(pl.col("niche") != UNKNOWN)["niche"].value_counts()["count"] >= 10).all()
    assert not set(ours["text"].str.to_lowercase()) & set(fitted["text"].str.to_lowercase())


def test_the_bars_hold_on_real_ads():
    if not REAL.exists():
        pytest.skip(f"real ads are not at {REAL}; set LEARNING_SHARED_DATA")
    found = niche_detection.run(REAL, draws=50, most=300)
    assert found["accuracy_answered"] >= 0.80
    assert found["answered"] >= 0.80


def test_files_that_cannot_be_judged_are_refused(tmp_path: Path):
    path = tmp_path / "texts.parquet"
    pl.DataFrame({"Category": ["Beauty"], "text": ["a"]}).write_parquet(path)
    with pytest.raises(ValueError, match="has no column Advertiser, Ad_copy"):
        niche_detection.mapped(path)
    own = tmp_path / "own.csv"
    own.write_text("niche,text\nbeuty,a\n")
    with pytest.raises(ValueError, match="labels beuty"):
        niche_detection.sample(own)
