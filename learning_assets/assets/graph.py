"""What has been learned, since when, and how sure it still is: `knowledge_graph`."""

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from learning_assets.assets.day import Day, next_in_chain
from learning_assets.assets.report import markdown_table, percent, report
from learning_assets.assets.retries import bounded_retries
from learning_assets.assets.words import choice, in_a_sentence, place, sureness
from learning_assets.learning import graph
from learning_assets.learning.graph import Change, Graph
from learning_assets.partitions import DAILY
from learning_assets.platforms.source import Source
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, SHARED, label

if TYPE_CHECKING:
    import altair as alt

REPORTS = Path("reports") / "knowledge_graph"
"""Where the exports are, below the store's home."""


@dg.asset(partitions_def=DAILY, deps=["patterns"], kinds={"polars", "postgres"}, code_version=graph.VERSION)
@bounded_retries
def knowledge_graph(
    context: dg.AssetExecutionContext,
    store: dg.ResourceParam[Store],
    source: dg.ResourceParam[Source],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What has been learned: creative choices, what they do to CTR, CVR and ROAS, on which evidence, since when, and how sure that still is.

    *causes* needs arms that were assigned at random and shown by the experimenter's own draw; everything else *correlates*. Two choices
    together *enhance* each other or *conflict*. A change is a new version, so the graph of any past day can be read; what nothing confirms
    becomes less sure with age. Each owner's graph is exported as node-link JSON.
    """
    day = next_in_chain(context, store, source, "knowledge_graph")
    found = store.tables.read("learning_patterns", PIPELINE, as_of=day.date)
    change = graph.advance(
        store.graph_before(day.date), found, day.date, settings.graph, controlled_delivery=source.controlled_delivery
    )
    written = store.replace_graph(day.date, change, onward=day.replaying)
    now = store.graph(day.date, PIPELINE)
    exported = "" if day.quiet else export(store, day, now)
    most = graph.top(now, 12)
    return report(
        written,
        store.tables.schema("knowledge_relationships"),
        figures(now, change),
        table=markdown_table(in_words(most), day.simulated, f"The most important of what is known as of {day.date}."),
        plot=None if day.quiet or most.relationships.is_empty() else picture(now, settings.graph.pictured_nodes, day),
        tables={"export": exported} if exported else None,
    )


def figures(now: Graph, change: Change) -> dict[str, int]:
    """What the UI plots from day to day."""
    nodes, relationships = (dict(rows["kind"].value_counts().iter_rows()) for rows in (now.nodes, now.relationships))
    opened = change.relationships.opened.filter(pl.col("kind").is_in(graph.EFFECTS))
    closed = change.relationships.closed.filter(pl.col("ended") != "unreferenced")
    return {
        "nodes": now.nodes.height,
        **{f"nodes_{kind}": nodes.get(kind, 0) for kind in ("attribute", "pattern", "niche", "metric", "insight")},
        "relationships": now.relationships.height,
        **{f"relationships_{kind}": relationships.get(kind, 0) for kind in graph.EFFECTS},
        "patterns_active": nodes.get("pattern", 0),
        "relationships_opened": opened.height,
        "relationships_closed": closed.height,
        "relationships_contradicted": closed.filter(pl.col("ended") == "contradicted").height,
    }


def in_words(found: Graph) -> pl.DataFrame:
    """Effects as a media buyer reads them."""
    rows = found.relationships.iter_rows(named=True)
    return pl.DataFrame(
        [
            {
                "what is known": in_a_sentence(row),
                "where": place(row),
                "as": row["kind"],
                "sure of the direction": sureness(row["confidence"]),
                "since": str(row["valid_from"]),
                "last confirmed": str(row["confirmed_on"]),
            }
            for row in rows
        ]
    )


def export(store: Store, day: Day, now: Graph) -> str:
    """Write each owner's part of the graph, and what belongs to nobody, as node-link JSON; where they are.

    Files of owners that are no more are removed.
    """
    folder = store.home / REPORTS
    folder.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    for owner in (None, *store.accounts(PIPELINE)["owner"].unique().sort()):
        path = folder / f"{SHARED if owner is None else label(owner)}.json"
        draft = folder / f".{path.name}.{uuid.uuid4().hex}"
        draft.write_text(json.dumps(graph.to_node_link(part_of(now, owner), day.date), ensure_ascii=False))
        draft.replace(path)
        written.add(path.name)
    for path in folder.iterdir():
        if path.name not in written:
            path.unlink()
    return (
        f"Node-link JSON: what belongs to nobody in `{REPORTS}/{SHARED}.json`, and each owner's part in a file of its own beside it "
        f"({len(written) - 1} of them). Any day, both together: `learning-assets graph --account ID --as-of DAY`."
    )


def part_of(whole: Graph, owner: str | None) -> Graph:
    """What belongs to an owner, or to nobody, with the nodes at the ends of its relationships."""
    own = whole.relationships.filter(pl.col("owner").eq_missing(pl.lit(owner, pl.String)))
    ends = pl.concat([own["source_id"], own["target_id"]]).unique().implode()
    return Graph(whole.nodes.filter(pl.col("node_id").is_in(ends)), own)


def pictured(now: Graph, nodes: int) -> list[dict[str, object]]:
    """The most important effects that a picture has room for, by importance: choice, metric, lift, and what they rest on.

    There is room for so many nodes and as many effects.
    """
    seen, rows = set[str](), list[dict[str, object]]()
    for row in graph.top(now, now.relationships.height).relationships.iter_rows(named=True):
        named = f"{choice(row['attribute'], row['value'])} ({place(row)})"
        ends = {named, row["metric"]}
        if len(rows) == nodes or len(seen | ends) > nodes:
            continue
        seen |= ends
        rows.append(
            {
                "choice": named,
                "metric": row["metric"].upper(),
                "lift": percent(row["strength"]),
                "direction": "raises" if row["strength"] > 0 else "lowers",
                "evidence": row["evidence"],
            }
        )
    return rows


def picture(now: Graph, nodes: int, day: Day) -> "alt.TopLevelMixin":
    """Choices on the left, metrics on the right, and between them what the choices do; the most important ones, so that all can be read."""
    import altair as alt

    edges = pl.DataFrame(pictured(now, nodes))
    first = pl.col("metric").first().over("choice", order_by=pl.int_range(pl.len()))
    choices = edges.sort(first, maintain_order=True)["choice"].unique(maintain_order=True)
    metrics = edges.sort(first, maintain_order=True)["metric"].unique(maintain_order=True)
    left = pl.DataFrame({"choice": choices, "y": _spread(len(choices)), "x": 0.0})
    right = pl.DataFrame({"metric": metrics, "y2": _spread(len(metrics)), "x2": 1.0})
    lines = edges.join(left, on="choice").join(right, on="metric")
    # Labels of one choice's lines stand one after the other, those of the next choice between them, so that none covers another.
    nth = pl.col("y").rank("dense").cast(pl.Int64) % 2
    along = 0.13 + 0.09 * nth + 0.18 * pl.int_range(pl.len()).over("choice")
    names = lines.select("lift", "direction", x=along, y=pl.col("y") + along * (pl.col("y2") - pl.col("y")))
    span = alt.Scale(domain=[-1.1, 1.3], nice=False)
    x, y = alt.X("x:Q", axis=None, scale=span), alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[0, 1], reverse=True))
    colour = alt.Color("direction:N", title=None, scale=alt.Scale(domain=["raises", "lowers"], range=["#2a7f3f", "#b3362c"]))
    dash = alt.StrokeDash(
        "evidence:N", title=None, scale=alt.Scale(domain=["randomized", "observational"], range=[[1, 0], [6, 4]])
    )
    drawn = [
        alt.Chart(lines).mark_rule(strokeWidth=1.6).encode(x=x, y=y, x2="x2:Q", y2="y2:Q", color=colour, strokeDash=dash),
        alt.Chart(names).mark_text(stroke="white", strokeWidth=5, fontWeight="bold").encode(x=x, y=y, text="lift:N"),
        alt.Chart(names).mark_text(fontWeight="bold").encode(x=x, y=y, text="lift:N", color=colour),
        alt.Chart(left).mark_text(align="right", dx=-8, limit=400).encode(x=x, y=y, text="choice:N"),
        alt.Chart(right.rename({"x2": "x", "y2": "y"}))
        .mark_text(align="left", dx=8, fontWeight="bold")
        .encode(x=x, y=y, text="metric:N"),
    ]
    title = f"What moves what, as of {day.date}" + (" (simulated)" if day.simulated else "")
    return alt.layer(*drawn).properties(width=760, height=40 + 30 * len(choices), title=title).configure_view(strokeWidth=0)


def _spread(count: int) -> list[float]:
    """So many heights between 0 and 1, evenly."""
    return [(number + 0.5) / count for number in range(count)]
