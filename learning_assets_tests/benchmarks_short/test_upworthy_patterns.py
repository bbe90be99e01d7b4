"""The short form of `upworthy_patterns` gives every figure."""

from pathlib import Path

from benchmarks import upworthy_patterns


def test_every_figure_is_given(tmp_path: Path):
    figures = upworthy_patterns.run_short(tmp_path, seed=7)
    assert list(figures) == [
        "active",
        "sign_agreement",
        "sign_agreement_later_clear",
        "coverage",
        "compared",
        "srm_flagged_in_faulty_weeks",
        "srm_flagged_elsewhere",
    ]
    assert figures["compared"]
    assert 0.8 <= (figures["coverage"] or 0) <= 1
