"""The short form of `media_truth` gives every figure, within its tolerances."""

from benchmarks import media_truth


def test_every_figure_is_given():
    figures = media_truth.run(seed=7, short=True)
    assert list(figures) == [
        "files",
        "pictures",
        "cuts_exact",
        "brightness_error",
        "loudness_error_db",
        "tempo_error_bpm",
        "tempo_within",
        "beats_missed",
        "beats_invented",
        "sound_right",
        "text_right",
        "duration_error_seconds",
        "seconds_per_minute",
        "peak_mb",
        "bad_files",
        "unreadable_said_so",
    ]
    assert figures["cuts_exact"] == figures["tempo_within"] == figures["unreadable_said_so"] == 1
    assert figures["brightness_error"] < 0.02
    assert figures["loudness_error_db"] < 0.3
    assert figures["peak_mb"] < 500
