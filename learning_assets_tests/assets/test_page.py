"""The shell of the reports: nothing from outside gets into the markup, and nothing of the page asks for a network."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import altair as alt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.assets import page
from learning_assets.assets.page import Page, Section

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)> & \"quotes\" 'single'"


def made(*parts: str, simulated: bool = False) -> str:
    return page.render(Page(EVIL, EVIL, [EVIL], [Section(EVIL, [EVIL], parts)], simulated), "/* vega */")


def test_what_comes_from_outside_is_text():
    chart = alt.Chart(pl.DataFrame({"a": [EVIL], "b": [1]})).mark_point().encode(x="a:N", y="b:Q").properties(title=EVIL)
    text = made(
        page.table([{EVIL: EVIL, "n": 1}], EVIL),
        page.figure(chart, EVIL),
        page.fold(EVIL, [page.note(EVIL), page.heading(EVIL)]),
    )
    assert "alert(1)" in text
    assert "<img" not in text
    # The page's own scripts: one of data for the plot, Vega, and the drawing.
    assert len(re.findall("<script", text)) == 3 == len(re.findall("</script", text))
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data)["title"] == EVIL


@given(st.text())
def test_every_text_is_a_cell(text: str):
    markup = page.table([{"a": text}])
    inside = re.sub(r"</?(div|table|thead|tbody|tr|th|td|span)( class=\"\w+\")?>", "", markup)
    assert "<" not in inside
    assert ">" not in inside


def test_the_page_may_not_connect_to_anything():
    text = made()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert "unsafe-eval" not in policy[1]
    assert "http" not in policy[1]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)


def test_simulated_is_said_at_the_head_and_in_the_title():
    assert "Simulated market." in made(simulated=True)
    assert "(simulated)</title>" in made(simulated=True)
    assert "imulated" not in made()


def test_what_is_unknown_is_said_to_be():
    text = page.table([{"a": None, "b": 1234, "c": 0.123456, "d": True}])
    for cell in ('<span class="unknown">unknown</span>', "1,234", "0.1235", "yes"):
        assert cell in text
    assert "Nothing yet." in page.table([])


def test_the_script_of_the_plots_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import vl_convert

    asked: list[int] = []

    def bundle() -> str:
        asked.append(1)
        return "const vega = 1;"

    monkeypatch.setattr(vl_convert, "javascript_bundle", bundle)
    assert [page.vega_bundle(tmp_path) for _ in range(2)] == ["const vega = 1;"] * 2
    assert len(asked) == 1
    assert [path.name for path in tmp_path.iterdir()] == [f"vega-{version('vl-convert-python')}.js"]
