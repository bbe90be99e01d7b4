"""What an asset tells the Dagster UI: row counts, columns, numbers under stable keys, a table and a plot.

Figures, platform ids and attribute values only: never ad text, names, tokens or samples of facts. Text from outside is escaped.
"""

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from learning_assets.store.lake import DayFile
from learning_assets.store.tables import Written

if TYPE_CHECKING:
    import altair as alt

Number = int | float | bool | None

_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>()#+!|~$&"})


def escape(text: str) -> str:
    """Text from outside as it may stand in markdown: without markup, links, HTML or line breaks.

    A zero-width space parts the scheme of an address from its slashes, since some renderers make links of bare addresses.
    """
    return " ".join(text.split()).replace("://", ":\u200b//").translate(_MARKDOWN)


def percent(log_ratio: float | None) -> str:
    """A log ratio as people say it: `+12 %`; `unknown` where it is not known."""
    import math

    return "unknown" if log_ratio is None else f"{100 * math.expm1(log_ratio):+.0f} %"


def markdown_table(frame: pl.DataFrame, simulated: bool, caption: str = "") -> str:
    """A frame as a markdown table under a caption; numbers shortened, NULL shown as an en dash."""
    lines = [f"*Simulated market.* {caption}" if simulated else caption, ""]
    if frame.is_empty():
        return "\n".join([*lines, "Nothing yet."])
    lines += ["| " + " | ".join(escape(name.replace("_", " ")) for name in frame.columns) + " |", "|" + "---|" * frame.width]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in frame.iter_rows()]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return escape(str(value))


def picture(chart: "alt.TopLevelMixin") -> dg.MarkdownMetadataValue:
    """A chart as a picture that the UI shows in place."""
    buffer = io.BytesIO()
    chart.save(buffer, format="png", scale_factor=1.5)
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")


def column_schema(schema: Mapping[str, object]) -> dg.TableSchema:
    """The columns of a frame as the UI lists them."""
    return dg.TableSchema([dg.TableColumn(name, str(kind)) for name, kind in schema.items()])


def report(
    written: Written | DayFile,
    schema: Mapping[str, object],
    numbers: Mapping[str, Number],
    *,
    says: str | None = None,
    table: str | None = None,
    plot: "alt.TopLevelMixin | None" = None,
    tables: Mapping[str, str] | None = None,
) -> dg.MaterializeResult[None]:
    """The result of an asset that wrote a day.

    Parameters
    ----------
    written : what was written.
    schema : its columns.
    numbers : figures under keys that stay the same from day to day; what is unknown is left out, since it has no point in a plot.
    says : one sentence in plain words.
    table : markdown.
    plot : a chart.
    tables : further markdown by key.
    """
    metadata: dict[str, Any] = {
        "dagster/row_count": written.rows,
        "dagster/column_schema": column_schema(schema),
    }
    if says:
        metadata["summary"] = dg.MetadataValue.md(says)
    if table:
        metadata["table"] = dg.MetadataValue.md(table)
    if plot is not None:
        metadata["plot"] = picture(plot)
    metadata |= {name: dg.MetadataValue.md(text) for name, text in (tables or {}).items()}
    metadata |= {name: dg.MetadataValue.float(float(value)) for name, value in numbers.items() if value is not None}
    version = dg.DataVersion(written.version) if isinstance(written, DayFile) else None
    return dg.MaterializeResult(metadata=metadata, data_version=version)  # pyright: ignore[reportReturnType]
