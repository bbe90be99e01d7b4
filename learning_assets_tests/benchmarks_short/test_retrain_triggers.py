"""The short form of the benchmark of triggers."""

import json

from benchmarks import retrain_triggers


def test_the_last_line_is_the_figures(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["retrain_triggers", "--seed", "3", "--short"])
    retrain_triggers.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures) == [
        *("firing", "false_firing", "caught_1_25x", "zero_model_caught", "drift_10_hours", "fires_at_1_1x"),
    ]
    assert list(figures["firing"]) == list(retrain_triggers.SCENARIOS)
    assert all(list(shares) == [*retrain_triggers.RULE, "any"] for shares in figures["firing"].values())
    assert (figures["zero_model_caught"], figures["caught_1_25x"]) == (1, 1)
    assert figures["false_firing"] <= 1 / 6
    assert figures["drift_10_hours"] <= 24
