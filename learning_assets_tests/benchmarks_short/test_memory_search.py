"""The short form of the benchmark of the winner memory: a real store, real texts, the functions of the asset."""

from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import memory_search


def test_the_figures_are_measured():
    found = memory_search.run(seed=3, vectors=1_000, short=True)
    assert found["vectors"] == 1_000
    assert found["recall_at_10"] >= 0.98
    assert found["worst_owner_recall_at_10"] >= 0.98
    assert found["owner_filtered_recall_at_10"] >= found["worst_owner_recall_at_10"]
    assert found["index_seconds"] > 0
    assert found["ms_per_query"] > 0
    assert found["entry_precision"] >= 0.8, "of a few dozen creatives"
    assert 0 < found["entry_recall"] <= 1
    assert found["entry_members"] > 0


def test_texts_are_distinct_and_the_seed_decides():
    first, again, other = (
        memory_search.distinct(memory_search.written_texts(np.random.default_rng(seed)), 500) for seed in (1, 1, 2)
    )
    assert len(set(first)) == 500
    assert first == again != other


def test_texts_of_a_file_are_taken_and_too_few_are_said(tmp_path: Path):
    lines, table = tmp_path / "texts.txt", tmp_path / "texts.parquet"
    lines.write_text("one\n\n two \none\n")
    pl.DataFrame({"headline": ["one", None, " ", "two"]}).write_parquet(table)
    for path in (lines, table):
        assert list(islice(memory_search.texts_of(path, "headline"), 2)) == ["one", "two"]
        with pytest.raises(ValueError, match="There are 2 distinct texts; 3 are needed"):
            memory_search.distinct(memory_search.texts_of(path, "headline"), 3)


def test_owners_are_of_every_size():
    owners = memory_search.owners_of(100_000)
    names, sizes = np.unique(owners, return_counts=True)
    assert len(owners) == 100_000
    assert set(sizes[names != "big"].tolist()) == {10, 100, 1_000, 10_000}
    assert sizes[names == "big"] >= 50_000
