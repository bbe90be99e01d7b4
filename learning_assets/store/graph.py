"""The knowledge graph in its tables of versions: as it stood on a day, and what a day does to it.

What belongs here: which rows make a graph. What does not: how tables of versions are written (`tables`), and what the graph means
(`learning.graph`).
"""

from datetime import date, datetime, timedelta

from learning_assets.learning import graph
from learning_assets.store.tables import Tables, Written
from learning_assets.store.walls import Wall

ASSET = "knowledge_graph"

_NODES, _RELATIONSHIPS = "knowledge_nodes", "knowledge_relationships"
_OF_PATTERNS = [
    *("owner", *graph.KEY, "last_validated", "p_value", "confidence", "log_lift", "low", "high"),
    *("shrunk_log_lift", "shrunk_low", "shrunk_high", "ads_with", "ads_without", "accounts", "impressions"),
]


def read(tables: Tables, day: date, wall: Wall, half_life_days: float) -> graph.Graph:
    """The graph in force on a day as far as the wall lets through, with the figures of that day; see `learning.graph.as_seen`."""
    held = graph.Graph(tables.in_force(_NODES, wall, day), tables.in_force(_RELATIONSHIPS, wall, day))
    newest = tables.newest_day("patterns", before=day + timedelta(days=1))
    patterns = tables.read("learning_patterns", wall, columns=_OF_PATTERNS, as_of=newest, status="active")
    return graph.as_seen(held, patterns, day, half_life_days)


def before(tables: Tables, day: date) -> graph.Graph:
    """The newest version of everything as it was before a day, for the pipeline."""
    return graph.Graph(tables.last_versions(_NODES, day), tables.last_versions(_RELATIONSHIPS, day))


def replace(tables: Tables, day: date, change: graph.Change, *, now: datetime, onward: bool) -> Written:
    """Put a day's change in the place of what the day did before; with `onward`, of what later days did too."""
    changes = {_NODES: change.nodes, _RELATIONSHIPS: change.relationships}
    return tables.replace_versions(ASSET, day, changes, now=now, onward=onward)
