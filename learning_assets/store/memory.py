"""The memory of winners in its tables, and the search in it for those that resemble an idea.

What belongs here: the newest look at every creative, who is a member, and the nearest members of an owner. What does not: the rule by which
creatives enter and leave (`learning.memory`).

The looks are a ledger by day. The members are the newest look at each creative that ever entered, and are renewed in the transaction that
replaces a day's looks: a reader sees the memory of yesterday or that of today, also where a replay goes back to an older day.

Embeddings are arrays, which every PostgreSQL has, and the index by similarity is one on an expression: it follows the rows, and can be made
anew at any time. Where pgvector is there it finds the nearest approximately, and goes on until it has enough of the owner's own. Without
it they are compared one by one, exactly.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import UserDefinedType

from learning_assets.learning import embedding
from learning_assets.learning.memory import KEY, LOOKS, STATE, hits, similarity
from learning_assets.settings import Memory
from learning_assets.store import schema
from learning_assets.store.tables import Tables, Written
from learning_assets.store.walls import PIPELINE, Wall

ASSET = "winner_memory"
OLDEST_PGVECTOR = (0, 8)
"""From which on an index scan goes on until a filter has let enough rows through."""

_LOOKS, _MEMBERS = schema.winner_looks, schema.winner_memory
_INDEX = "ix_winner_memory_embedding"
_VECTOR = "(embedding::halfvec(256))"
_DISTANCE: sa.Double[float] = sa.Double()
_FOUND = pl.Schema({**LOOKS, "looked_on": pl.Date, "similarity": pl.Float64})


class _Halfvec(UserDefinedType[str]):
    """pgvector's type of an embedding in half precision."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return f"halfvec({embedding.DIMENSIONS})"


@dataclass(frozen=True, slots=True)
class Search:
    """How members are searched: `exact`, one by one, or by the vector index; and what a person should know and can do about it."""

    exact: bool
    says: str
    remedy: str = ""


def ensure_index(connection: sa.Connection, *, may_create_extension: bool = False) -> Search:
    """Make the index by similarity where pgvector is there and it is missing; how members are searched then.

    Parameters
    ----------
    may_create_extension : try to add pgvector to the database where the server has it.
    """
    if may_create_extension:
        _create_extension(connection)
    version, reachable, indexed = connection.execute(sa.text(_PRESENT), {"name": _INDEX}).one()
    if version is None:
        return Search(
            True,
            "pgvector is not installed: search is exact, in memory",
            "Have an administrator install pgvector 0.8 or newer on the server and run in this database: CREATE EXTENSION vector",
        )
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PGVECTOR:
        return Search(
            True,
            f"pgvector {version} is too old: search is exact, in memory",
            "Have an administrator install pgvector 0.8 or newer on the server and run in this database: ALTER EXTENSION vector UPDATE",
        )
    if not reachable:
        return Search(
            True,
            "pgvector is in a schema that is not searched: search is exact, in memory",
            "Have an administrator run in this database: ALTER EXTENSION vector SET SCHEMA public",
        )
    if not indexed:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(_INDEX, 0))))
        connection.execute(sa.text("SET LOCAL maintenance_work_mem = '256MB'"))
        (index,) = (one for one in _MEMBERS.indexes if one.name == _INDEX)
        connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
    return Search(False, f"pgvector {version}, index by cosine similarity (HNSW)")


_PRESENT = """
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vector'), to_regtype('halfvec') IS NOT NULL, to_regclass(:name) IS NOT NULL
"""


def _create_extension(connection: sa.Connection) -> None:
    """Add pgvector to the database where the server has it and the user may."""
    if not connection.execute(sa.text("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")).scalar():
        return
    attempt = connection.begin_nested()
    try:
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
    except DBAPIError:
        attempt.rollback()
    else:
        attempt.commit()


class WinnerMemory:
    """The memory of winners of one database."""

    def __init__(self, tables: Tables, settings: Memory) -> None:
        self._tables = tables
        self._settings = settings

    # -- the chain

    def before(self, day: date) -> pl.DataFrame:
        """The newest look at every creative before a day, for the pipeline: the columns `learning.memory.STATE`."""
        then = (_LOOKS.c.as_of < day) & (_LOOKS.c.superseded_on.is_(None) | (_LOOKS.c.superseded_on >= day))
        newest = sa.select(*(_LOOKS.c[name] for name in STATE)).where(then)
        return self._tables.frame(newest, pl.Schema({name: LOOKS[name] for name in STATE}))

    def replace(self, day: date, looks: pl.DataFrame, *, now: datetime, onward: bool = False) -> Written:
        """Replace the looks of a day and renew the members, in one transaction.

        Parameters
        ----------
        looks : schema LOOKS.
        now : the moment that is recorded.
        onward : the looks of later days go too, and what they did to members, as a replay does that makes them anew.
        """
        rows = looks.with_columns(as_of=pl.lit(day), superseded_on=pl.lit(None, pl.Date))
        return self._tables.replace_day(
            _LOOKS.name, day, rows, asset=ASSET, now=now, onward=onward, then=lambda connection: self._renew(connection, day)
        )

    def _renew(self, connection: sa.Connection, day: date) -> None:
        """Bring the members in line with the looks after those of `day` were replaced, and their embeddings with `creative_dna`."""
        ensure_index(connection)
        of_day = _LOOKS.alias()
        same = [_LOOKS.c[name] == of_day.c[name] for name in KEY]
        in_force = _LOOKS.c.superseded_on.is_(None)
        connection.execute(sa.update(_LOOKS).where(_LOOKS.c.superseded_on >= day).values(superseded_on=None))
        connection.execute(
            sa.update(_LOOKS).where(in_force, _LOOKS.c.as_of < day, of_day.c.as_of == day, *same).values(superseded_on=day)
        )
        connection.execute(sa.delete(_MEMBERS).where(_MEMBERS.c.looked_on >= day))
        # Once a creative has entered, every later look at it says when.
        newest = sa.select(_LOOKS).where(in_force, _LOOKS.c.entered_on.is_not(None)).subquery()
        dna = schema.creative_dna
        changed = (
            sa.select(*(newest.c[name] for name in LOOKS), newest.c.as_of, dna.c.version, dna.c.embedding)
            .outerjoin_from(newest, _MEMBERS, sa.and_(*(_MEMBERS.c[name] == newest.c[name] for name in KEY)))
            .outerjoin(dna, sa.and_(*(dna.c[name] == newest.c[name] for name in ("account_id", "creative_id"))))
            .where(
                _MEMBERS.c.looked_on.is_distinct_from(newest.c.as_of) | _MEMBERS.c.dna_version.is_distinct_from(dna.c.version)
            )
        )
        found = connection.execute(changed).all()
        rows = pl.DataFrame(
            [row[:-1] for row in found],
            schema={**LOOKS, "looked_on": pl.Date, "dna_version": pl.String},
            orient="row",
        )
        vectors = embedding.from_bytes(row[-1] for row in found)
        lists = [None if np.isnan(vector).any() else vector.tolist() for vector in vectors]
        rows = rows.with_columns(pl.Series("embedding", lists, pl.List(pl.Float32)))
        self._tables.upsert(_MEMBERS.name, rows, within=connection)

    # -- reading

    def members(self, wall: Wall) -> pl.DataFrame:
        """Who is a member, as far as the wall lets through: the columns of LOOKS, and `looked_on` and `embedding`."""
        columns = [*LOOKS.names(), "looked_on", "embedding"]
        return self._tables.read(_MEMBERS.name, wall, columns=columns, left_on=None).sort(KEY)

    def hit_rate(self, day: date) -> float | None:
        """Share of the creatives seen first in the `recent_days` up to a day that resemble a member of their owner's which entered before,
        over all owners, for the pipeline; None where no new creative has text. It says how often a search finds something."""
        dna = schema.creative_dna
        first = day - timedelta(days=self._settings.recent_days)
        columns = pl.Schema({"owner": pl.String, "first_seen": pl.Date, "embedding": pl.Binary})
        new = sa.select(*(dna.c[name] for name in columns)).where(dna.c.first_seen > first, dna.c.first_seen <= day)
        ideas = self._tables.frame(new, columns)
        members = self.members(PIPELINE).filter(pl.col("embedding").is_not_null())
        found = asked = 0
        for (owner,), own in ideas.group_by("owner"):
            mine = members.filter(owner=owner)
            of = (
                embedding.from_bytes(own["embedding"]),
                own["first_seen"].to_list(),
                vectors_of(mine),
                mine["entered_on"].to_list(),
            )
            hit, of_all = hits(*of, self._settings.min_similarity)
            found, asked = found + hit, asked + of_all
        return found / asked if asked else None

    def how(self) -> Search:
        """How members are searched in this database."""
        with self._tables.engine.begin() as connection:
            return ensure_index(connection)

    def search(
        self,
        idea: NDArray[np.floating[Any]],
        wall: Wall,
        *,
        count: int | None = None,
        min_similarity: float | None = None,
        min_ctr: float = 0.0,
        but: tuple[str, str] | None = None,
    ) -> pl.DataFrame:
        """Members that resemble an idea, nearest first.

        Parameters
        ----------
        idea : embedding of the idea, shape (256,).
        wall : whose members.
        count : how many at most, by default `results`.
        min_similarity : cosine similarity, -1 to 1, by default the setting of that name.
        min_ctr : CTR (posterior mean, a fraction) below which a member is left out.
        but : owner and fingerprint of a creative that is the idea itself.

        Returns
        -------
        The columns of LOOKS, `looked_on` and `similarity`. Empty where the idea has no embedding (NaN).

        Raises
        ------
        ValueError : another shape, or `count` below 1.
        """
        count = self._settings.results if count is None else count
        least = self._settings.min_similarity if min_similarity is None else min_similarity
        if idea.shape != (embedding.DIMENSIONS,) or count < 1:
            raise ValueError(
                f"An idea has the shape ({embedding.DIMENSIONS},), not {idea.shape}, and count is at least 1, not {count}."
            )
        if np.isnan(idea).any():
            return _FOUND.to_frame()
        kept = [self._tables.behind(_MEMBERS, wall), _MEMBERS.c.left_on.is_(None), _MEMBERS.c.embedding.is_not(None)]
        if min_ctr > 0:
            kept.append(_MEMBERS.c.ctr >= min_ctr)
        if but is not None:
            kept.append(sa.or_(*(_MEMBERS.c[name] != value for name, value in zip(KEY, but, strict=True))))
        with self._tables.engine.begin() as connection:
            found = None if ensure_index(connection).exact else self._by_index(connection, idea, kept, count)
        if found is None:
            found = self._one_by_one(idea, kept, count)
        return found.filter(pl.col("similarity") >= least)

    def _one_by_one(self, idea: NDArray[Any], kept: list[sa.ColumnElement[bool]], count: int) -> pl.DataFrame:
        """The nearest rows of those that are kept, all of which are compared."""
        columns = pl.Schema({**dict.fromkeys(KEY, pl.String), "embedding": pl.List(pl.Float32)})
        compared = self._tables.frame(sa.select(*(_MEMBERS.c[name] for name in columns)).where(*kept), columns)
        alike = similarity(idea[None, :], vectors_of(compared))[0]
        best = compared.select(*KEY, similarity=pl.Series(alike, dtype=pl.Float64)).top_k(count, by="similarity")
        told = [name for name in _FOUND if name != "similarity"]
        these = _MEMBERS.c.fingerprint.in_(best["fingerprint"].to_list())
        rows = self._tables.frame(
            sa.select(*(_MEMBERS.c[name] for name in told)).where(*kept, these),
            pl.Schema({name: _FOUND[name] for name in told}),
        )
        return rows.join(best, on=KEY).sort("similarity", descending=True).select(_FOUND.names())

    def _by_index(
        self, connection: sa.Connection, idea: NDArray[Any], kept: list[sa.ColumnElement[bool]], count: int
    ) -> pl.DataFrame:
        """The same by the vector index, which finds nearly all of them without comparing them all."""
        told = {
            "hnsw.ef_search": min(max(self._settings.hnsw_ef_search, count), 1_000),
            # Where a filter lets few rows through, the index goes on until there are enough.
            "hnsw.iterative_scan": "strict_order",
            "hnsw.max_scan_tuples": self._settings.hnsw_max_scan,
            # The rows of a small owner are found by the owner, those of a big one by the index: one plan cannot serve both.
            "plan_cache_mode": "force_custom_plan",
        }
        connection.execute(sa.select(*(sa.func.set_config(name, str(value), True) for name, value in told.items())))
        vector = sa.bindparam("idea", "[" + ",".join(repr(float(number)) for number in idea) + "]", sa.Text)
        distance: sa.ColumnElement[float] = sa.literal_column(_VECTOR, sa.Text).op("<=>", return_type=_DISTANCE)(
            sa.cast(vector, _Halfvec)
        )
        columns: list[sa.ColumnElement[Any]] = [_MEMBERS.c[name] for name in _FOUND if name != "similarity"]
        query: sa.Select[Any] = sa.select(*columns, 1 - distance).where(*kept).order_by(distance).limit(count)
        rows = connection.execute(query).all()
        return pl.DataFrame([tuple(row) for row in rows], schema=_FOUND, orient="row")


def vectors_of(members: pl.DataFrame) -> NDArray[np.float32]:
    """The embeddings of members, shape (members, 256); rows of NaN where there is none."""
    missing = pl.Series([[float("nan")] * embedding.DIMENSIONS], dtype=pl.List(pl.Float32))
    flat = members.select(pl.col("embedding").fill_null(missing)).to_series().explode().to_numpy()
    return flat.reshape(members.height, embedding.DIMENSIONS)
