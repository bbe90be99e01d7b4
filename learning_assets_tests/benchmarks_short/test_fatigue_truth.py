"""The short form of the benchmark of fatigue."""

import json

from benchmarks import fatigue_truth


def test_the_last_line_is_the_figures(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["fatigue_truth", "--seed", "3", "--short"])
    fatigue_truth.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures)[:4] == ["steady_flagged", "decay_found", "decay_days", "decay_found_500"]
    assert list(figures["steady_flagged"]) == ["500", "2000", "20000"]
    assert all(share <= 0.02 for share in figures["steady_flagged"].values())
    assert figures["falling_account_flagged"] <= 0.02
    assert figures["without_reach"] == 0
    assert figures["decay_by_noise"]["0.05"]["20000"]["found"] == figures["halved_fatigued"] == 1
