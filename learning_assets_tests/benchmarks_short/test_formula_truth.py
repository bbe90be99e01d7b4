"""The short form of `formula_truth` gives every figure."""

from benchmarks import formula_truth


def test_every_figure_is_given():
    figures = formula_truth.run(seed=1, short=True)
    assert list(figures) == [
        "suggestions_per_creative",
        "right_sign",
        "coverage",
        "lift_ratio",
        "score_spearman",
        "score_slope",
        "score_slope_low",
        "score_slope_high",
        "score_spearman_truth",
        "score_calibration_error",
        "creatives_with_false_suggestion",
        "false_suggestions_per_creative",
        "score_says_nothing_null",
        "seconds_to_learn",
    ]
    assert figures["creatives_with_false_suggestion"] == 0
    assert figures["score_says_nothing_null"] == 1
    assert (figures["score_spearman_truth"] or 0) > 0.4
