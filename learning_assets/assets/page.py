"""The HTML shell that reports stand in: one file that opens offline, with its plots inside.

What belongs here: title, banner, sections, tables, figures, escaping, and writing the file. What does not: what a report says (`accuracy_page`).

A page asks nothing of any network: Vega stands in it, and its content security policy forbids connections, foreign scripts and evaluated code. Whatever is
given as text is escaped here, once; the parts of a section are markup that only this module makes.
"""

import html
import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import altair as alt

COLOURS = ("#1f6feb", "#c2410c", "#2a7f3f", "#7c3aed", "#b3362c", "#0e7490")
"""Of series, in their order."""
FLOOR_COLOUR = "#6b7280"
"""Of what chance alone would show."""

_FIGURE = re.compile(r"[+−-]?\d[\d,.]*(?:e[+-]?\d+)?(?: [%‱]| [A-Z]{3})?(?: \(.*\)| of \d[\d,]*)?$")
"""A figure as the reports write it, with its unit and its interval."""

_LONG = 40
"""Characters of a cell above which it is given room."""

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_LOOK = {
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#eaeef2"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "symbolSize": 90, "labelLimit": 300},
    "header": {"labelFontSize": 12, "titleFontSize": 12},
    "view": {"stroke": "#d8dee4"},
    "title": {"fontSize": 13, "anchor": "start"},
}
"""Of every plot, as Vega-Lite configures it."""

_STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1160px; padding: 24px 28px 64px; font: 15px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink); }
h1 { font-size: 26px; line-height: 1.25; margin: 8px 0 4px; } h2 { font-size: 19px; margin: 44px 0 6px; border-top: 1px solid var(--line); padding-top: 18px; }
h3 { font-size: 15px; margin: 22px 0 4px; } p { margin: 6px 0 10px; max-width: 860px; } .soft, figcaption, caption { color: var(--soft); font-size: 13px; }
.banner { background: #fff3cd; border: 1px solid #e0b400; padding: 8px 14px; border-radius: 6px; font-weight: 600; max-width: none; }
.lead { background: #f3f6fa; border-left: 4px solid #1f6feb; padding: 10px 16px; margin: 14px 0; border-radius: 0 6px 6px 0; }
.lead p { font-size: 16px; max-width: none; }
figure { margin: 14px 0; overflow-x: auto; } figcaption { max-width: 860px; margin-top: 4px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: 10px 0; } caption { text-align: left; padding-bottom: 4px; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; } th { white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.above td { border-bottom: 0; padding-bottom: 0; } td.remark { color: var(--soft); padding-top: 0; }
td.short { white-space: nowrap; }
td.long { min-width: 280px; max-width: 460px; }
.unknown { color: var(--soft); font-style: italic; } details { margin: 8px 0; } summary { cursor: pointer; color: #1f6feb; font-size: 13px; }
nav a { margin-right: 14px; font-size: 13px; color: #1f6feb; } .vega-embed details { display: none; }
@media print { nav, summary { display: none; } body { max-width: none; } }
"""

_DRAW = """
for (const place of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(place.querySelector("script").textContent);
  vegaEmbed(place.querySelector("div"), spec, {actions: false, ast: true, renderer: "svg"})
    .catch(error => { place.append("This plot cannot be drawn here: " + error.message + ". Its figures are in the table below it."); });
}
"""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a page: its title, what it says in plain words (a paragraph each), and markup of `table`, `figure`, `note` and `fold`."""

    title: str
    says: Sequence[str]
    parts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Attributes
    ----------
    title, subtitle : plain text.
    lead : what somebody needs to know who reads no further, a paragraph each; plain text.
    sections : in their order.
    simulated : whether every figure comes from the simulated market; the page then says so at its head and in its title.
    """

    title: str
    subtitle: str
    lead: Sequence[str]
    sections: Sequence[Section]
    simulated: bool


def escaped(value: object) -> str:
    """Text as it may stand in HTML, in attributes too."""
    return html.escape(str(value), quote=True)


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{f' class={kind}' if kind else ''}>{escaped(text)}</p>"


def note(text: str) -> str:
    """A remark in small print."""
    return paragraph(text, "soft")


def heading(text: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escaped(text)}</h3>"


def table(rows: Iterable[Mapping[str, object]], caption: str = "", remark: str | None = None) -> str:
    """Rows as a table: numbers as they are said, to the right; what is None is said to be unknown.

    Parameters
    ----------
    rows : by column name, all with the same columns; floats and integers stand for themselves, so that percentages are given as text.
    remark : name of a column of sentences, which stand beneath their row over its whole width.
    """
    rows = list(rows)
    if not rows:
        return note(f"{caption} Nothing yet.".strip())
    names = [name for name in rows[0] if name != remark]
    right = {name for name in names if all(_numeric(row[name]) for row in rows)}
    head = "".join(f"<th{_right(name in right)}>{escaped(name)}</th>" for name in names)
    body = ""
    for row in rows:
        said = row[remark] if remark else None
        kind = ' class="above"' if said else ""
        body += f"<tr{kind}>{''.join(f'<td{_class(row[name], name in right)}>{_cell(row[name])}</td>' for name in names)}</tr>"
        if said:
            body += f'<tr><td class="remark" colspan="{len(names)}">{escaped(said)}</td></tr>'
    told = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{told}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _right(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _class(value: object, numeric: bool) -> str:
    if isinstance(value, str) and not numeric:
        return ' class="long"' if len(value) > _LONG else ' class="short"'
    return _right(numeric)


def _numeric(value: object) -> bool:
    return value is None or isinstance(value, (int, float)) or (isinstance(value, str) and _FIGURE.match(value) is not None)


def _cell(value: object) -> str:
    if value is None:
        return '<span class="unknown">unknown</span>'
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return escaped(f"{value:.4g}" if isinstance(value, float) else value)


def fold(summary: str, parts: Iterable[str]) -> str:
    """Markup that is shown when somebody asks for it."""
    return f"<details><summary>{escaped(summary)}</summary>{''.join(parts)}</details>"


def figure(chart: "alt.TopLevelMixin", caption: str) -> str:
    """A plot with what it shows in words."""
    # The look goes into what is made of the chart, since altair copies a chart with all its data for each setting.
    told = chart.to_dict(validate=False)
    told["config"] = {**told.get("config", {}), **_LOOK}
    # In a script element only "<" can end it; JSON may write it otherwise.
    spec = json.dumps(told, ensure_ascii=True, default=str).replace("<", "\\u003c")
    place = f'<div class="chart"><div></div><script type="application/json">{spec}</script></div>'
    return f"<figure>{place}<figcaption>{escaped(caption)}</figcaption></figure>"


def render(page: Page, vega: str) -> str:
    """The whole page; `vega` is what `vega_bundle` gives."""
    banner = '<p class="banner">Simulated market. No figure on this page is of a real account.</p>' if page.simulated else ""
    told = f"{page.title}{' (simulated)' if page.simulated else ''}"
    links = "".join(f'<a href="#s{number}">{escaped(one.title)}</a>' for number, one in enumerate(page.sections))
    sections = "".join(
        f'<section><h2 id="s{number}">{escaped(one.title)}</h2>{"".join(map(paragraph, one.says))}{"".join(one.parts)}</section>'
        for number, one in enumerate(page.sections)
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escaped(told)}</title><style>{_STYLE}</style></head>\n'
        f'<body>{banner}<h1>{escaped(told)}</h1><p class="soft">{escaped(page.subtitle)}</p>'
        f'<div class="lead">{"".join(map(paragraph, page.lead))}</div><nav>{links}</nav>\n{sections}\n'
        f"<script>{vega}</script>\n<script>{_DRAW}</script></body></html>\n"
    )


def vega_bundle(folder: Path) -> str:
    """Vega, Vega-Lite and their loader as one script, from vl-convert; kept in `folder`, since making it takes seconds.

    The file is named after vl-convert's version, so that another version makes its own.
    """
    from importlib.metadata import version

    import vl_convert

    of = version("vl-convert-python")
    path = folder / f"vega-{of}.js"
    if not path.exists():
        script = vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue]
        if "</script" in script.lower():
            raise ValueError(f"Vega of vl-convert {of} cannot stand in a page: it holds the end of a script element.")
        write(path, script)
    return path.read_text(encoding="utf-8")


def write(path: Path, text: str) -> None:
    """Put a file in its place whole; a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
