"""The short form of `ctr_models` gives every figure."""

from benchmarks import ctr_models


def test_every_figure_is_given():
    figures = ctr_models.run(seed=3, short=True)
    assert list(figures) == [
        "members",
        "rivals",
        "ensemble",
        "oracle",
        "beats_all",
        "share_of_oracle",
        "calibration_ratio",
        "coverage_80",
        "ad_days",
    ]
    for regime in ctr_models.JUDGED:
        assert set(figures["members"][regime]) == {"own_history", "xgboost", "dna_score", "fixed_vote"}
        assert set(figures["rivals"][regime]) == {"lightgbm", "logistic", "ad_mean"}
        assert 0 < figures["ensemble"][regime] < figures["oracle"][regime]
        assert 0.5 < figures["share_of_oracle"][regime] < 1
        assert 0.9 < figures["calibration_ratio"][regime] < 1.1
        assert 0.7 < figures["coverage_80"][regime] < 0.9
    assert isinstance(figures["beats_all"], bool)
    assert figures["ad_days"] == 2 * 5 * 7 * 12
