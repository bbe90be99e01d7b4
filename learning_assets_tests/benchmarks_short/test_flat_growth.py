"""The short form of the growth benchmark."""

import json

import pytest

from benchmarks import flat_growth


def test_the_last_line_is_the_figures(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["flat_growth", "--seed", "3", "--short"])
    flat_growth.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(figures) == {"on_track_rate", "doubling_called", "median_error_factor"}
    assert figures["on_track_rate"] == pytest.approx({"14": 0, "30": 0, "90": 0}, abs=0.0099)
    assert figures["doubling_called"] >= 0.8
    assert set(figures["median_error_factor"]) == {"compound", "damped"}
    assert 1 < figures["median_error_factor"]["damped"] < 1.15 < figures["median_error_factor"]["compound"]


def test_the_seed_decides():
    first = flat_growth.run(seed=5, accounts=50)
    assert first == flat_growth.run(seed=5, accounts=50)
    assert first != flat_growth.run(seed=6, accounts=50)
