"""The short form of the benchmark of the gate, and the replay of a small simulated archive."""

import json
from pathlib import Path

import polars as pl

from benchmarks import champion_gate
from benchmarks.headline_pairs import simulated
from learning_assets.settings import Models


def test_the_last_line_is_the_figures(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["champion_gate", "--seed", "3", "--short"])
    champion_gate.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures) == ["worse_promoted", "better_promoted", "by_size", "archive"]
    assert figures["worse_promoted"] <= 0.2 < 0.5 <= figures["better_promoted"]
    assert {ads: list(found) for ads, found in figures["by_size"].items()} == {
        "100": ["better_promoted", "ads"],
        "300": ["better_promoted", "ads"],
    }
    assert figures["archive"] is None


def test_an_archive_is_lived_through(tmp_path: Path):
    table = simulated(3, tests=200).drop("arm").with_columns(lede=pl.lit("Of one kind."))
    table.write_parquet(tmp_path / "archive.parquet")
    facts, creatives = champion_gate.read(tmp_path / "archive.parquet")
    assert facts.height == table.height
    found = champion_gate.replay(facts, creatives, Models(trees=20))
    assert list(found) == ["weeks", "challengers", "promoted", "promoted_worse_later"]
    assert found["weeks"] == facts["date"].n_unique()
    assert 0 < found["challengers"] <= found["weeks"] // 4
    assert found["promoted_worse_later"] <= found["promoted"] <= found["challengers"]
