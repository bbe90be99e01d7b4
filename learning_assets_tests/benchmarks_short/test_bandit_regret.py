"""The short form of the benchmark of the bandit."""

import json

import pytest

from benchmarks import bandit_regret


def test_the_last_line_is_the_figures(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bandit_regret", "--seed", "3", "--short"])
    bandit_regret.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(figures["regret"]) == set(figures["clicks_over_equal"]) == {"stationary", "switch", "drift", "fatigue"}
    for scenario in figures["regret"].values():
        assert scenario.keys() == bandit_regret.POLICIES.keys()
        assert scenario["equal"] == 1
    still = figures["regret"]["stationary"]
    assert still["thompson"] < still["unfloored"] * 1.2 < still["discounted"] < still["top_two"] < 0.8
    assert figures["clicks_over_equal"]["stationary"]["discounted"] > 0.05
    assert set(figures["decisions_per_second"]) == {"one_by_one", "batch"}
    assert figures["decisions_per_second"]["batch"] > figures["decisions_per_second"]["one_by_one"] > 100


def test_top_two_lets_the_test_finish_and_plain_thompson_does_not():
    found = {
        name: bandit_regret.promotion(bandit_regret.POLICIES[name], 5, 20, 10) for name in ("top_two", "thompson", "equal")
    }
    assert found["thompson"]["promoted"] < 0.2
    for name in ("top_two", "equal"):
        assert found[name]["promoted"] > 0.8
        assert found[name]["wrong"] <= 0.05
        assert found[name]["median"] == pytest.approx(80, abs=40)
