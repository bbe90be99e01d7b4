"""What has been learned, as a graph in time: choices, what they do to metrics, since when, and how sure that still is.

What belongs here: the passage from the graph of the day before and the day's patterns to the graph of the day, the graph as it stood on
any day, and questions to it. What does not: where patterns come from (`lift`), tables, words and pictures.

**Nodes** are of the kinds `attribute` (an attribute and its value), `metric`, `niche`, `pattern` (what the estimate of a relationship is
kept under) and `insight` (what raises, or lowers, a metric most in one account, in a niche, or over all). **Relationships** are what
active patterns say: `causes` where arms were assigned at random *and* the experimenter controlled who saw which arm, `correlates` for
everything else (a platform shows the arms of its own tests to different people, Braun & Schwartz, J. Marketing 2025), `enhances` and
`conflicts` for two attributes whose effect together is above or below their separate ones. A few more hold the graph together: a pattern
`describes` attributes, `measures` a metric and `holds_in` a niche; an insight `rests_on` patterns.

**Versions.** A row holds from `valid_from` until `valid_to`, which is the first day on which it did not, and what was established on the
first day stands in it unchanged. A relationship gets a new version when its direction turns, its kind changes, or the day's interval no
longer contains the strength that was established; it ends without a successor when its pattern is no longer active. Estimates that
wobble within their intervals write nothing. How a relationship stood on a day (the newest estimate, the day on which it was last
confirmed, how sure that is) is read from the patterns of that day, which are kept day by day: see `as_seen`.

**Confidence** is the probability that the direction is right (1 - local false-sign rate; Stephens, Biostatistics 18, 2017). Where nothing
confirms a relationship it fades towards one half, which is what knowing nothing means, with a half-life. **Importance** is
`|strength| (2 confidence - 1) log(1 + impressions)`: the expected size of the effect if its direction may be wrong, times how much
delivery it was seen in, of which each doubling counts the same. Centrality (PageRank) would say how many relationships a node has, and so
reward attributes with many metrics, not large effects.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from learning_assets.learning.lift import KEY, PAIR
from learning_assets.settings import Graph as GraphSettings

VERSION = "1"

EFFECTS = ("causes", "correlates", "enhances", "conflicts")
"""Kinds of relationships that say something about a metric; the others hold the graph together."""

_PATTERN = ("owner", *KEY)
_NAMES = ("kind", *_PATTERN)
_LIFE = {"valid_from": pl.Date, "valid_to": pl.Date, "ended": pl.String}

NODES = pl.Schema(
    {
        "node_id": pl.String,
        "version": pl.Int64,
        **dict.fromkeys(_NAMES, pl.String),
        "says": pl.String,
        **_LIFE,
    }
)
"""Versions of nodes; what does not apply to a kind is NULL.

`node_id` is a hash of what names the node, `owner` included, which is NULL for what belongs to nobody (metrics, niches, and whatever was
learned over several owners). `says` of an insight: `raises` or `lowers`. `ended`: `unreferenced`, since no relationship is left."""

RELATIONSHIPS = pl.Schema(
    {
        "relationship_id": pl.String,
        "version": pl.Int64,
        **dict.fromkeys(_NAMES, pl.String),
        **dict.fromkeys(("source_id", "target_id", "pattern_id"), pl.String),
        "sign": pl.Int64,
        **dict.fromkeys(("strength", "low", "high"), pl.Float64),
        "shrunk": pl.Boolean,
        "confidence": pl.Float64,
        **dict.fromkeys(("ads_with", "ads_without", "accounts", "impressions"), pl.Int64),
        "contradicts": pl.Int64,
        **_LIFE,
    }
)
"""Versions of relationships, as established on `valid_from`; the figures are NULL where a relationship only holds the graph together.

`relationship_id` is a hash of what names it, `owner` included; `source_id`, `target_id` and `pattern_id` are nodes. Of `enhances` and
`conflicts`, source and target are the two attributes, and `attribute` and `value` name both. `sign` is the direction that was proven, 1 or
-1. `strength`, `low` and `high` are natural logs of a ratio: shrunk where `shrunk`, else as observed (a lift with no other level of its
attribute to be shrunk towards). `confidence` is 0.5 to 1. `contradicts`: the version of the same relationship that said the opposite.
`ended`: `contradicted`, `strength_changed` or `kind_changed` (another version follows, after a contradiction only once the opposite has
proven itself), `deprecated` or `withdrawn` (the pattern is no longer active, or not known any more), `unreferenced`."""

SEEN = pl.Schema({**RELATIONSHIPS, "confirmed_on": pl.Date, "age_days": pl.Int64, "importance": pl.Float64})
"""Relationships as they stood on a day; see `as_seen`."""

_FIGURES = ("strength", "low", "high", "shrunk", "confidence", "ads_with", "ads_without", "accounts", "impressions")
_IDS = {"node_id": NODES, "relationship_id": RELATIONSHIPS}


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and relationships: a history of versions, or one version each as on a day."""

    nodes: pl.DataFrame
    relationships: pl.DataFrame

    @classmethod
    def empty(cls) -> "Graph":
        """Nothing is known yet."""
        return cls(NODES.to_frame(), RELATIONSHIPS.to_frame())


@dataclass(frozen=True, slots=True)
class Versions:
    """What a day does to the versions of one table.

    Attributes
    ----------
    opened : new versions, of the table's schema.
    closed : which versions end on the day: their id, `version`, and why they `ended`.
    """

    opened: pl.DataFrame
    closed: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Change:
    """What a day does to the graph."""

    nodes: Versions
    relationships: Versions


# -- from day to day


def advance(last: Graph, patterns: pl.DataFrame, day: date, settings: GraphSettings, *, controlled_delivery: bool) -> Change:
    """What the patterns of a day change in the graph.

    Parameters
    ----------
    last : the newest version of every node and relationship as it was before `day`, ended ones included.
    patterns : every pattern that is known on `day`: the columns `lift.FOUND` and `lift.STATE`, and `owner`.
    day : the day that is learned.
    settings : `insight_patterns`.
    controlled_delivery : whether the source's experimenter decided who saw which arm.

    Returns
    -------
    The change, a function of the arguments only; the same patterns on a later day change nothing.

    Raises
    ------
    ValueError : `last` has a version of `day` or later, or `patterns` holds a pattern twice.
    """
    for versions in (last.nodes, last.relationships):
        newest = versions["valid_from"].max()
        if isinstance(newest, date) and newest >= day:
            raise ValueError(f"The graph has versions of {newest}, and {day} is to be learned; hand in the graph before {day}.")
    if patterns.select(KEY).is_duplicated().any():
        raise ValueError(f"The patterns of {day} hold a key {KEY} twice; hand in one day's patterns.")
    effects, rest = _parted(last.relationships)
    effects_changed = _effects(effects, patterns, day, controlled_delivery)
    held = _held(effects, effects_changed)
    nodes, ties = _structure(held, settings.insight_patterns)
    ties_changed = _compared(rest, ties, day)
    return Change(
        _compared(last.nodes, nodes, day),
        Versions(
            pl.concat([effects_changed.opened, ties_changed.opened]).sort("relationship_id"),
            pl.concat([effects_changed.closed, ties_changed.closed]).sort("relationship_id"),
        ),
    )


def _parted(relationships: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    is_effect = pl.col("kind").is_in(EFFECTS)
    return relationships.filter(is_effect), relationships.filter(~is_effect)


def _effects(last: pl.DataFrame, patterns: pl.DataFrame, day: date, controlled_delivery: bool) -> Versions:
    """Versions that active patterns open, and those that end."""
    now = _of_patterns(patterns, controlled_delivery)
    was = last.select(
        "relationship_id",
        was_version="version",
        was_kind="kind",
        was_sign="sign",
        was_strength="strength",
        was_open=pl.col("valid_to").is_null(),
    )
    turned, moved = pl.col("was_sign") != pl.col("sign"), ~pl.col("was_strength").is_between("low", "high")
    both = (
        now.join(was, on="relationship_id", how="left")
        .with_columns(pl.col("was_open").fill_null(value=False))
        .with_columns(
            ended=pl.when("was_open").then(
                pl.when(turned)
                .then(pl.lit("contradicted"))
                .when(pl.col("was_kind") != pl.col("kind"))
                .then(pl.lit("kind_changed"))
                .when(moved)
                .then(pl.lit("strength_changed"))
            )
        )
    )
    new = both.filter(pl.col("strength").is_not_null() & (~pl.col("was_open") | pl.col("ended").is_not_null()))
    opened = _opened(
        new.with_columns(version=pl.col("was_version").fill_null(0) + 1, contradicts=pl.when(turned).then("was_version")),
        RELATIONSHIPS,
        day,
    )
    replaced = new.filter("was_open").select("relationship_id", version="was_version", ended="ended")
    gone = (
        last.filter(pl.col("valid_to").is_null())
        .join(now, on="relationship_id", how="anti")
        .join(patterns.select(*_PATTERN, "status", "note"), on=_PATTERN, how="left", nulls_equal=True)
        .select(
            "relationship_id",
            "version",
            ended=pl.when(pl.col("note") == "sign_reversed")
            .then(pl.lit("contradicted"))
            .when(pl.col("status") == "deprecated")
            .then(pl.lit("deprecated"))
            .otherwise(pl.lit("withdrawn")),
        )
    )
    return Versions(opened, pl.concat([replaced, gone]))


def _of_patterns(patterns: pl.DataFrame, controlled_delivery: bool) -> pl.DataFrame:
    """The relationships that active patterns are, with the day's figures: columns of RELATIONSHIPS but for those of a version."""
    active = patterns.filter(pl.col("status") == "active")
    sources: list[str] = []
    targets: list[str] = []
    of_pattern: list[str] = []
    of_effect: list[str] = []
    for row in active.select(_PATTERN).iter_rows(named=True):
        attributes = [_attribute(row["owner"], *part) for part in parts(row["attribute"], row["value"])]
        sources.append(attributes[0])
        targets.append(attributes[1] if len(attributes) > 1 else _metric(row["metric"]))
        of_pattern.append(_id("pattern", *row.values()))
        of_effect.append(_id("relationship", *row.values()))
    sign = pl.coalesce("sign", pl.col("log_lift").sign().cast(pl.Int64))
    controlled = (pl.col("evidence") == "randomized") & pl.lit(controlled_delivery)
    kind = (
        pl.when(pl.col("attribute").str.contains(PAIR, literal=True))
        .then(pl.when(sign > 0).then(pl.lit("enhances")).otherwise(pl.lit("conflicts")))
        .otherwise(pl.when(controlled).then(pl.lit("causes")).otherwise(pl.lit("correlates")))
    )
    return active.select(
        *_PATTERN,
        *_figures(),
        relationship_id=pl.Series(of_effect, dtype=pl.String),
        kind=kind,
        sign=sign,
        source_id=pl.Series(sources, dtype=pl.String),
        target_id=pl.Series(targets, dtype=pl.String),
        pattern_id=pl.Series(of_pattern, dtype=pl.String),
    )


def _figures() -> list[pl.Expr]:
    """The figures of a relationship from those of its pattern.

    Where nothing could be shrunk, the probability of the right sign under a flat prior, 1 - p / 2, stands for the confidence.
    """
    shrunk = pl.col("shrunk_log_lift").is_not_null()

    def either(there: str, otherwise: str) -> pl.Expr:
        return pl.when(shrunk).then(there).otherwise(otherwise)

    return [
        either("shrunk_log_lift", "log_lift").alias("strength"),
        either("shrunk_low", "low").alias("low"),
        either("shrunk_high", "high").alias("high"),
        shrunk.alias("shrunk"),
        pl.coalesce("confidence", 1 - pl.col("p_value") / 2).alias("confidence"),
        *(pl.col(name) for name in ("ads_with", "ads_without", "accounts", "impressions")),
    ]


def _held(last: pl.DataFrame, changed: Versions) -> pl.DataFrame:
    """The versions in force after a change."""
    on = ["relationship_id", "version"]
    return pl.concat([last.filter(pl.col("valid_to").is_null()).join(changed.closed, on=on, how="anti"), changed.opened])


def _structure(effects: pl.DataFrame, insight_patterns: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Nodes that the effects in force need, and what ties patterns and insights to them: no versions yet."""
    nodes: dict[str, dict[str, Any]] = {}
    ties: dict[str, dict[str, Any]] = {}

    def tie(kind: str, owner: str | None, source: str, target: str) -> None:
        ties[_id(kind, source, target)] = {"kind": kind, "owner": owner, "source_id": source, "target_id": target}

    for row in effects.sort("relationship_id").iter_rows(named=True):
        owner, pattern = row["owner"], row["pattern_id"]
        key = {name: row[name] for name in KEY}
        nodes[pattern] = {"kind": "pattern", "owner": owner, **key}
        for attribute, value in parts(row["attribute"], row["value"]):
            node = _attribute(owner, attribute, value)
            nodes[node] = {"kind": "attribute", "owner": owner, "attribute": attribute, "value": value}
            tie("describes", owner, pattern, node)
        metric = _metric(row["metric"])
        nodes[metric] = {"kind": "metric", "metric": row["metric"]}
        tie("measures", owner, pattern, metric)
        if row["niche"] is not None:
            niche = _id("niche", row["niche"])
            nodes[niche] = {"kind": "niche", "niche": row["niche"]}
            tie("holds_in", owner, pattern, niche)
    place = ("owner", "scope", "account_id", "niche", "metric")
    for row in _strongest(effects, insight_patterns).iter_rows(named=True):
        where = {name: row[name] for name in place}
        insight = _id("insight", *where.values(), row["says"])
        nodes[insight] = {"kind": "insight", **where, "says": row["says"]}
        tie("rests_on", row["owner"], insight, row["pattern_id"])
    return (_frame(nodes, "node_id"), _frame(ties, "relationship_id"))


def _strongest(effects: pl.DataFrame, count: int) -> pl.DataFrame:
    """The most important effects of single attributes in each place, by metric and direction.

    By the figures that were established, so that an insight changes only when a relationship does.
    """
    return (
        effects.filter(pl.col("kind").is_in(("causes", "correlates")), pl.col("strength") != 0)
        .with_columns(
            says=pl.when(pl.col("strength") > 0).then(pl.lit("raises")).otherwise(pl.lit("lowers")), importance=_importance()
        )
        .sort("importance", "relationship_id", descending=[True, False], nulls_last=True)
        .group_by("owner", "scope", "account_id", "niche", "metric", "says", maintain_order=True)
        .head(count)
    )


def _compared(last: pl.DataFrame, wanted: pl.DataFrame, day: date) -> Versions:
    """Versions of what holds by being referred to: opened where wanted, closed where not any more."""
    (name,) = (name for name in _IDS if name in last.columns)
    in_force = last.filter(pl.col("valid_to").is_null())
    new = wanted.join(in_force, on=name, how="anti").join(last.select(name, was="version"), on=name, how="left")
    gone = in_force.join(wanted, on=name, how="anti")
    return Versions(
        _opened(new.with_columns(version=pl.col("was").fill_null(0) + 1), _IDS[name], day),
        gone.select(name, "version", ended=pl.lit("unreferenced")),
    )


def _opened(rows: pl.DataFrame, schema: pl.Schema, day: date) -> pl.DataFrame:
    """New versions from the day on; what the rows do not say is NULL."""
    rows = rows.with_columns(valid_from=pl.lit(day), valid_to=pl.lit(None), ended=pl.lit(None))
    missing = [pl.lit(None).alias(name) for name in schema if name not in rows.columns]
    return rows.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in schema.items())


def _frame(rows: Mapping[str, Mapping[str, Any]], name: str) -> pl.DataFrame:
    schema = {column: kind for column, kind in _IDS[name].items() if column not in ("version", *_LIFE)}
    return pl.DataFrame([{name: key, **row} for key, row in rows.items()], schema=schema).sort(name)


# -- names


def parts(attribute: str, value: str) -> list[tuple[str, str]]:
    """The attribute of a pattern with its value, or the two that it is about together."""
    attributes = attribute.split(PAIR)
    return list(zip(attributes, value.split(PAIR, len(attributes) - 1), strict=True))


def _id(*names: str | None) -> str:
    """The same id for the same names, in every process and on every day."""
    text = "\x1f".join("\x00" if name is None else name for name in names)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _attribute(owner: str | None, attribute: str, value: str) -> str:
    return _id("attribute", owner, attribute, value)


def _metric(metric: str) -> str:
    return _id("metric", metric)


# -- as of a day


def known(history: Graph, day: date) -> Graph:
    """The history as it was at the end of a day: later versions are not there, and what ended later has not ended."""

    def then(versions: pl.DataFrame) -> pl.DataFrame:
        ended = pl.col("valid_to") <= day
        return versions.filter(pl.col("valid_from") <= day).with_columns(
            pl.when(ended).then("valid_to").alias("valid_to"), pl.when(ended).then("ended").alias("ended")
        )

    return Graph(then(history.nodes), then(history.relationships))


def as_of(history: Graph, day: date) -> Graph:
    """The graph in force on a day, as it was known then."""
    then = known(history, day)
    return Graph(*(versions.filter(pl.col("valid_to").is_null()) for versions in (then.nodes, then.relationships)))


def applied(history: Graph, change: Change, day: date) -> Graph:
    """The history after a change of `day`."""

    def after(versions: pl.DataFrame, changed: Versions) -> pl.DataFrame:
        (name,) = (name for name in _IDS if name in versions.columns)
        ends = changed.closed.select(name, "version", _why="ended")
        closed = versions.join(ends, on=[name, "version"], how="left").with_columns(
            valid_to=pl.when(pl.col("_why").is_not_null()).then(pl.lit(day)).otherwise("valid_to"),
            ended=pl.coalesce("ended", "_why"),
        )
        return pl.concat([closed.drop("_why"), changed.opened])

    return Graph(after(history.nodes, change.nodes), after(history.relationships, change.relationships))


def as_seen(graph: Graph, patterns: pl.DataFrame, day: date, half_life_days: float) -> Graph:
    """A graph with its relationships as they stood on a day: the newest figures, when they were confirmed, and how sure they still are.

    Parameters
    ----------
    graph : one version each, in force on `day`.
    patterns : the patterns as of `day`, or of the newest day before; those of other owners may be left out.
    day : confidence is as of this day.
    half_life_days : days without confirmation after which half of what was known about the direction is left.

    Returns
    -------
    The nodes as they are, and relationships with schema SEEN, sorted by importance. Where a pattern is not there, the figures are those of
    the version. `confirmed_on`: the last day on which the pattern was active and significant; `age_days` since then; `confidence` has
    faded towards one half by that age, and `importance` with it.
    """
    now = (
        patterns.select(_figures())
        .rename(lambda name: f"now_{name}")
        .with_columns(patterns.select(*_PATTERN, confirmed_on="last_validated"))
    )
    there = pl.col("now_strength").is_not_null()
    age = (pl.lit(day) - pl.coalesce("confirmed_on", "valid_from")).dt.total_days()
    is_effect = pl.col("kind").is_in(EFFECTS)
    seen = (
        graph.relationships.join(now, on=_PATTERN, how="left", nulls_equal=True)
        .with_columns(pl.when(there).then(f"now_{name}").otherwise(name).alias(name) for name in _FIGURES)
        .with_columns(
            confirmed_on=pl.when(is_effect).then(pl.coalesce("confirmed_on", "valid_from")),
            age_days=pl.when(is_effect).then(age),
        )
        .with_columns(confidence=0.5 + (pl.col("confidence") - 0.5) * 0.5 ** (pl.col("age_days") / half_life_days))
        .with_columns(importance=_importance())
        .select(pl.col(name).cast(kind) for name, kind in SEEN.items())
        .sort("importance", "relationship_id", descending=[True, False], nulls_last=True)
    )
    return Graph(graph.nodes, seen)


def _expected() -> pl.Expr:
    """Expected size of an effect whose direction may be wrong, log ratio."""
    return pl.col("strength").abs() * (2 * pl.col("confidence") - 1)


def _importance() -> pl.Expr:
    return _expected() * pl.col("impressions").log1p()


# -- questions


def neighbours(graph: Graph, node_id: str, depth: int = 1) -> Graph:
    """What surrounds a node: everything at most `depth` relationships away, in either direction, and what relates it.

    A metric is reached but not passed through, unless it is where one starts: almost everything is next to a metric.

    Raises
    ------
    ValueError : the graph has no such node, or `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}; the neighbours of a node are at least 1 away")
    kinds: dict[str, str] = dict(graph.nodes.select("node_id", "kind").iter_rows())
    if node_id not in kinds:
        raise ValueError(f"The graph has no node {node_id!r}; it has {len(kinds)} others.")
    around: dict[str, set[str]] = {}
    for source, target in graph.relationships.select("source_id", "target_id").iter_rows():
        around.setdefault(source, set()).add(target)
        around.setdefault(target, set()).add(source)
    reached, edge = {node_id}, {node_id}
    for _ in range(depth):
        through = (one for one in edge if one == node_id or kinds.get(one) != "metric")
        edge = {other for one in through for other in around.get(one, ())} - reached
        reached |= edge
    return _induced(graph, reached)


def _induced(graph: Graph, nodes: Iterable[str]) -> Graph:
    """The nodes and what relates them to each other."""
    among = list(nodes)
    return Graph(
        graph.nodes.filter(pl.col("node_id").is_in(among)),
        graph.relationships.filter(pl.col("source_id").is_in(among) & pl.col("target_id").is_in(among)),
    )


def top(graph: Graph, count: int) -> Graph:
    """The `count` most important effects and the nodes that they relate; relationships have schema SEEN."""
    effects, _ = _parted(graph.relationships)
    most = effects.sort("importance", "relationship_id", descending=[True, False], nulls_last=True).head(count)
    ends = pl.concat([most["source_id"], most["target_id"], most["pattern_id"]]).unique().to_list()
    return Graph(graph.nodes.filter(pl.col("node_id").is_in(ends)), most)


def speaking_of(
    rows: pl.DataFrame, attributes: Mapping[str, Sequence[str]], account_id: str, niche: str | None = None
) -> pl.DataFrame:
    """Patterns or relationships that are about an ad: of a value that it has, or of two that it has both, in its account, its niche or
    over all.

    Parameters
    ----------
    rows : with the columns of `lift.KEY`, as far as the account's owner may see them.
    attributes : the ad's values by attribute; what is not known is left out.
    account_id, niche : of the ad.
    """
    here = ((pl.col("scope") == "account") & (pl.col("account_id") == account_id)) | (pl.col("scope") == "all")
    if niche is not None:
        here |= (pl.col("scope") == "niche") & (pl.col("niche") == niche)
    has = {(name, value) for name, values in attributes.items() for value in values}
    near = rows.filter(here)
    about = [has.issuperset(parts(*row)) for row in near.select("attribute", "value").iter_rows()]
    return near.filter(pl.Series(about, dtype=pl.Boolean))


def why(
    relationships: pl.DataFrame, attributes: Mapping[str, Sequence[str]], account_id: str, niche: str | None = None
) -> pl.DataFrame:
    """Reasons why an ad does well or badly against the other ads of its account.

    Parameters
    ----------
    relationships : with schema SEEN, as far as the account's owner may see them.
    attributes, account_id, niche : of the ad, see `speaking_of`.

    Returns
    -------
    Rows of schema SEEN, the strongest first by expected size, `|strength| (2 confidence - 1)`: the effects that speak of the ad. Of those
    that say something of the same choice and metric, the one with the best evidence stands there (caused, then randomized, then
    observational), and of these the one from the nearest place (the account itself, its niche, all).
    """
    effects, _ = _parted(relationships)
    evidence = pl.when(pl.col("kind") == "causes").then(0).when(pl.col("evidence") == "randomized").then(1).otherwise(2)
    nearness = pl.col("scope").replace_strict({"account": 0, "niche": 1, "all": 2}, return_dtype=pl.Int8)
    return (
        speaking_of(effects, attributes, account_id, niche)
        .sort(evidence, nearness, "relationship_id")
        .unique(["attribute", "value", "metric"], keep="first", maintain_order=True)
        .sort(_expected(), "relationship_id", descending=[True, False], nulls_last=True)
    )


def to_node_link(graph: Graph, day: date) -> dict[str, Any]:
    """The graph as node-link data, as d3 and networkx (`json_graph.node_link_graph(data, edges="links")`) read it.

    What is not known is left out, days are ISO 8601. Several relationships may join two nodes, so links have a `key`.
    """

    def told(row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value.isoformat() if isinstance(value, date) else value for name, value in row.items() if value is not None
        }

    nodes = graph.nodes.sort("node_id").rename({"node_id": "id"})
    links = graph.relationships.sort("relationship_id").rename(
        {"relationship_id": "key", "source_id": "source", "target_id": "target"}
    )
    return {
        "directed": True,
        "multigraph": True,
        "graph": {"as_of": day.isoformat(), "version": VERSION},
        "nodes": [told(row) for row in nodes.iter_rows(named=True)],
        "links": [told(row) for row in links.iter_rows(named=True)],
    }
