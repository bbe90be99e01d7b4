"""The short form of the benchmark of the fetch's speed."""

import json

import pytest

from benchmarks import fetch_speed


def test_the_last_line_is_the_figures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["fetch_speed", "--short"])
    fetch_speed.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(figures) == {"rows", "rows_per_second", "requests", "seconds", "peak_mb", "sdk_rows_per_second", "ratio_to_sdk"}
    assert figures["rows"] == 6 * 10 * 3
    assert figures["ratio_to_sdk"] > 0
    # The list of accounts; for each the account's own level, a report, two or three looks at it and its page.
    assert 31 <= figures["requests"] <= 43
