"""The short form of `pattern_truth` gives every figure."""

from benchmarks import pattern_truth


def test_every_figure_is_given():
    figures = pattern_truth.run(seed=3, short=True)
    assert list(figures) == [
        "false_of_12_null",
        "coverage",
        "rmse_log_lift",
        "power_25",
        "interaction_fdr",
        "interaction_power",
        "incremental_equals_full",
        "rows_per_second",
        "ratio_to_scan",
    ]
    assert figures["false_of_12_null"] < 1
    assert 0.88 <= figures["coverage"] <= 1
    assert figures["rmse_log_lift"] < 0.06
    assert figures["power_25"] == 1
    assert 0 <= figures["interaction_fdr"] < 0.5
    assert figures["interaction_power"] > 0.5
    assert figures["incremental_equals_full"] is True
    assert figures["rows_per_second"] > 0
    assert figures["ratio_to_scan"] > 0
