"""What assets tell the UI: text from outside cannot become markup, and what is unknown is not drawn."""

import html
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from learning_assets.assets.report import escape, markdown_table, percent, picture, report
from learning_assets.store.lake import DayFile
from learning_assets.store.tables import Written

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(text: str) -> str:
    """The HTML of a table's only cell that holds a text from outside."""
    page = MARKDOWN.render(markdown_table(pl.DataFrame({"h": [text]}), simulated=False))
    return page.split("<td>")[1].split("</td>")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 | 60", "50 | 60"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("`code` and ``more``", "`code` and ``more``"),
        ("first\nsecond\r\n\n| third |", "first second | third |"),
        ("[click](javascript:alert(1))", "[click](javascript:alert(1))"),
        ("![x](http://x/y.png)", "![x](http:\u200b//x/y.png)"),
        ("<http://example.com>", "&lt;http:\u200b//example.com&gt;"),
        ("*a* _b_ **c** ~~d~~", "*a* _b_ **c** ~~d~~"),
        ("&lt;b&gt; &copy;", "&amp;lt;b&amp;gt; &amp;copy;"),
        ("back\\slash \\| pipe\\", "back\\slash \\| pipe\\"),
        ("$x^2$", "$x^2$"),
        ("# title", "# title"),
    ],
)
def test_text_from_outside_stays_text(text: str, expected: str):
    assert shown(text) == expected


@given(st.text(st.sampled_from("ab1 \\|<>`*_~[]()!#&;:/\"'$+-=.{}\n\té漢"), max_size=40))
def test_whatever_the_text_it_is_shown_as_it_is(text: str):
    """No character becomes markup: the rendered cell, read as a browser reads it, is the text with its white space folded."""
    cell = shown(text)
    assert "<" not in cell
    assert html.unescape(cell) == " ".join(text.split()).replace("://", ":\u200b//")


def test_columns_from_outside_stay_text_too():
    page = MARKDOWN.render(markdown_table(pl.DataFrame({"a|<b>\nc": [1]}), simulated=False))
    assert "<th>a|&lt;b&gt; c</th>" in page


def test_an_escaped_text_has_one_line():
    assert escape(" a\n\n b\tc ") == "a b c"
    assert escape("a|b") == "a\\|b"


def test_values_are_shown_as_people_read_them():
    frame = pl.DataFrame(
        {"n": [1234567, None], "x": [0.0123456, None], "yes": [True, False], "day": [None, "2026-03-01"]},
        schema_overrides={"x": pl.Float64},
    )
    lines = markdown_table(frame, simulated=False, caption="Of the day.").splitlines()
    assert lines[0] == "Of the day."
    assert lines[2:] == [
        "| n | x | yes | day |",
        "|---|---|---|---|",
        "| 1,234,567 | 0.01235 | yes | – |",
        "| – | – | no | 2026-03-01 |",
    ]


def test_simulated_figures_say_so_and_nothing_is_nothing():
    assert markdown_table(pl.DataFrame({"n": [1]}), simulated=True, caption="Ads.").startswith("*Simulated market.* Ads.")
    assert markdown_table(pl.DataFrame({"n": []}), simulated=False).endswith("Nothing yet.")


@pytest.mark.parametrize(
    ("log_ratio", "says"), [(0.2231435513, "+25 %"), (-0.6931471806, "-50 %"), (0.0, "+0 %"), (None, "unknown")]
)
def test_a_log_ratio_in_percent(log_ratio: float | None, says: str):
    assert percent(log_ratio) == says


def test_what_is_unknown_has_no_point_in_a_plot():
    numbers = {"ctr": None, "clicks": 0, "rate": 0.5, "flag": True}
    result = report(Written("t", 3, 2), {"a": pl.Int64}, numbers, says="It went well.")
    assert isinstance(result, dg.MaterializeResult)
    told = result.metadata or {}
    assert "ctr" not in told
    plain = {name: value.value for name, value in told.items() if isinstance(value, dg.FloatMetadataValue)}
    assert plain == {"clicks": 0.0, "rate": 0.5, "flag": 1.0}
    assert told["dagster/row_count"] == 3
    assert told["dagster/column_schema"] == dg.TableSchema([dg.TableColumn("a", "Int64")])
    assert told["summary"] == dg.MetadataValue.md("It went well.")
    assert not {"table", "plot"} & set(told)
    assert result.data_version is None, "the tables keep revisions, not versions"


def test_a_day_of_the_lake_carries_the_version_of_its_content():
    result = report(DayFile(2, "0123456789abcdef", True), {}, {}, table="| a |", tables={"card": "**x**"})
    assert result.data_version == dg.DataVersion("0123456789abcdef")
    assert {"table", "card"} <= set(result.metadata or {})


def test_a_chart_is_a_picture_in_place(tmp_path: Path):
    import base64

    import altair as alt

    chart = alt.Chart(pl.DataFrame({"x": [1, 2], "y": [1, 4]})).mark_line().encode(x="x:Q", y="y:Q")
    text = picture(chart).value
    assert text is not None
    begins, data = text.split("base64,")
    assert begins == "![plot](data:image/png;"
    assert base64.b64decode(data.rstrip(")")).startswith(b"\x89PNG")
    assert not list(tmp_path.iterdir())
