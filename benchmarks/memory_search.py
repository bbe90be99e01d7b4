"""Does the memory hold winners only, and does the search find those that resemble an idea?

    python -m benchmarks.memory_search --vectors 100000 [--texts PATH [--column NAME]] [--seed N] [--short]

*Search.* Distinct texts of the simulated market's copywriter (or those of `--texts`: one a line, or a column of a Parquet file) are embedded and
kept as members in a new store with an embedded PostgreSQL: half of them one owner's, the others of owners with 10, 100, 1,000 and 10,000.
Ideas are further texts, which are not among them.

- `recall_at_10`: share of the ten nearest of all members that the index finds. Whichever is as near as the tenth counts, since many texts
  are exactly as near as each other.
- `owner_filtered_recall_at_10`: the same within one owner, mean over owners of each size; the other owners' members are in the index too.
  `worst_owner_recall_at_10` is that of the size with the lowest.
- `ms_per_query`, `owner_filtered_ms_per_query`: one search from Python, median.
- `exact_ms`: the same by numpy on vectors in memory; `without_pgvector_ms`: by the search of a database without pgvector, which reads them
  first.
- `index_seconds`: building the index.

*Entry.* Accounts of 60 creatives with log-normal true CTRs, of which about 6 % are at least 3 %, are delivered for 90 days: launched over 75 days,
500 impressions a day in the median (log-normal, 0.8), with independent day noise of 10 % in the log CTR. Each day is learned by the functions
that the asset calls.

- `entry_precision`: share of those that are members at the end whose true CTR is at least 3 %.
- `entry_recall`: share of those whose true CTR is at least 3 % that are members; `entry_base_rate`: their share of all creatives.
- `entry_members`: members at the end.
- `entry_precision_day_noise_20`, `entry_precision_five_creatives`, `entry_precision_bunched`: the first with 20 % day noise, in accounts of five
  creatives, and where all true CTRs lie around 2.7 %, apart by 9 %.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.stores import remove
from learning_assets.learning import embedding, memory
from learning_assets.learning.hooks import HOOK_TYPES
from learning_assets.sandbox import copywriter
from learning_assets.settings import Memory, Settings

if TYPE_CHECKING:
    from learning_assets.store.store import Store

START = date(2026, 1, 1)
NEAREST = 10
OWNER_SIZES = (10, 100, 1_000, 10_000)
ALL_CREATIVES, DAYS, LAUNCH_DAYS = 12_000, 90, 75
IMPRESSIONS, IMPRESSIONS_SD = 500, 0.8


@dataclass(frozen=True, slots=True)
class Truth:
    """How true CTRs are spread: their median, and standard deviations of the log."""

    creatives: int = 60
    """Creatives an account."""
    ctr: float = 0.0111
    account_sd: float = 0.4
    creative_sd: float = 0.5
    day_sd: float = 0.10


HARDER = {
    "day_noise_20": Truth(day_sd=0.20),
    "five_creatives": Truth(creatives=5),
    "bunched": Truth(ctr=0.027, account_sd=0.05, creative_sd=0.08),
}


def written_texts(rng: np.random.Generator) -> Iterator[str]:
    """Texts of simulated ads for ever, not all of them distinct."""
    niches = list(copywriter.NICHES)
    while True:
        niche = niches[rng.integers(len(niches))]
        angles = copywriter.angle_names(niche)
        hook, angle = HOOK_TYPES[rng.integers(len(HOOK_TYPES))], angles[rng.integers(len(angles))]
        brand = copywriter.brand(niche, int(rng.integers(3)))
        copy = copywriter.write(niche, brand, hook, angle, [int(pick) for pick in rng.integers(0, 1_000, 7)])
        yield f"{copy.headline} . {copy.body} . {copy.description}"


def distinct(texts: Iterator[str], count: int) -> list[str]:
    """The first so many distinct ones.

    Raises
    ------
    ValueError : there are fewer.
    """
    found: dict[str, None] = {}
    for text in texts:
        found[text] = None
        if len(found) == count:
            return list(found)
    raise ValueError(f"There are {len(found):,} distinct texts; {count:,} are needed. Ask for fewer --vectors.")


def texts_of(path: Path, column: str) -> Iterator[str]:
    """The texts of a file that are not empty."""
    lines = (
        pl.read_parquet(path, columns=[column])[column].to_list()
        if path.suffix == ".parquet"
        else path.read_text().splitlines()
    )
    return (line.strip() for line in lines if line and line.strip())


def owners_of(count: int) -> NDArray[np.str_]:
    """Whose each of the members is: half of them one owner's, the others of owners of each size, as many as fit in equal parts."""
    names = ["big"] * (count // 2)
    sizes = [size for size in OWNER_SIZES if size <= count // 8]
    for size in sizes:
        for number in range(max(1, (count - count // 2) // len(sizes) // size)):
            names += [f"{size}-{number:04}"] * size
    return np.array((names + ["big"] * count)[:count])


def remember(store: "Store", vectors: NDArray[np.float32], owners: NDArray[np.str_]) -> float:
    """Put members into the store; seconds of building the index on them."""
    import sqlalchemy as sa

    from learning_assets.store.memory import ensure_index

    number = pl.int_range(len(vectors), eager=True)
    filler = {name: pl.lit(None, kind) for name, kind in memory.LOOKS.items()}
    counts = ("creatives", "impressions", "looks", "next_look_impressions", "validations")
    filler |= {name: pl.lit(1, pl.Int64) for name in counts} | {"outcome": pl.lit("entered"), "account_id": pl.lit("a")}
    rows = pl.DataFrame({"owner": owners, "fingerprint": number.cast(pl.String)}).with_columns(
        **{name: value for name, value in filler.items() if name not in memory.KEY},
        dna_version=pl.lit(embedding.VERSION),
        looked_on=pl.lit(START),
        embedding=pl.Series(vectors.tolist(), dtype=pl.List(pl.Float32)),
    )
    rows = rows.with_columns(creative_id="fingerprint", entered_on=pl.lit(START), ctr=pl.lit(0.04))
    engine = store.tables.engine
    with engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX IF EXISTS ix_winner_memory_embedding"))
    for part in rows.iter_slices(20_000):
        store.tables.upsert("winner_memory", part)
    began = time.perf_counter()
    with engine.begin() as connection:
        ensure_index(connection)
    seconds = time.perf_counter() - began
    with engine.begin() as connection:
        connection.execute(sa.text("ANALYZE winner_memory"))
    return seconds


def searched(
    store: "Store", ideas: NDArray[np.float32], vectors: NDArray[np.float32], owners: NDArray[np.str_], owner: str | None
) -> dict[str, float]:
    """Recall among all members or those of an owner, and milliseconds of the search and of numpy, medians."""
    from learning_assets.store.walls import Wall

    mine = np.ones(len(owners), bool) if owner is None else owners == owner
    names = np.flatnonzero(mine).astype(str)
    mine_vectors = vectors[mine] / np.linalg.norm(vectors[mine], axis=1, keepdims=True)
    ask = min(NEAREST, len(names))
    recall: list[float] = []
    index_ms: list[float] = []
    exact_ms: list[float] = []
    for idea in ideas:
        began = time.perf_counter()
        found = store.memory.search(idea, Wall(owner), count=NEAREST, min_similarity=-1)
        index_ms.append(1_000 * (time.perf_counter() - began))
        began = time.perf_counter()
        alike = mine_vectors @ idea
        least = np.partition(alike, -ask)[-ask]
        exact_ms.append(1_000 * (time.perf_counter() - began))
        near = set(names[alike >= least - 1e-4].tolist())
        recall.append(min(ask, len(near & set(found["fingerprint"].to_list()))) / ask)
    return {"recall": float(np.mean(recall)), "ms": float(np.median(index_ms)), "exact_ms": float(np.median(exact_ms))}


def search_figures(texts: list[str], held_out: list[str]) -> dict[str, float]:
    """All figures of the search."""
    import sqlalchemy as sa

    from learning_assets.build import open_store

    vectors = embedding.from_bytes(embedding.to_bytes(embedding.embed(texts)))
    ideas = embedding.embed(held_out)
    vectors, ideas = (side[~np.isnan(side).any(axis=1)] for side in (vectors, ideas))
    owners = np.random.default_rng(0).permutation(owners_of(len(vectors)))
    home = Path(tempfile.mkdtemp(prefix="memory-search-"))
    try:
        store = open_store(Settings(home=home, now=datetime(2026, 1, 2, tzinfo=UTC)))
        seconds = remember(store, vectors, owners)
        print(f"{len(vectors):,} members, index built in {seconds:.1f} s", file=sys.stderr)
        every = searched(store, ideas, vectors, owners, None)
        print(f"all: {every}", file=sys.stderr)
        by_size: list[dict[str, float]] = []
        everybody, sizes = np.unique(owners, return_counts=True)
        for size in sorted(set(sizes.tolist())):
            names = everybody[sizes == size][:3].tolist()
            of = [searched(store, ideas[: max(1, len(ideas) // len(names))], vectors, owners, name) for name in names]
            by_size.append({name: float(np.mean([one[name] for one in of])) for name in of[0]})
            print(f"owners of {size:,}: {by_size[-1]}", file=sys.stderr)
        with store.tables.engine.begin() as connection:
            connection.execute(sa.text("DROP EXTENSION vector CASCADE"))
        without = searched(store, ideas[:5], vectors, owners, None)
        assert without["recall"] == 1, "what is compared one by one is exact"
        store.tables.engine.dispose()
    finally:
        remove(home)
    recalls = [one["recall"] for one in by_size]
    return {
        "vectors": len(vectors),
        "recall_at_10": every["recall"],
        "owner_filtered_recall_at_10": float(np.mean(recalls)),
        "worst_owner_recall_at_10": min(recalls),
        "ms_per_query": every["ms"],
        "owner_filtered_ms_per_query": max(one["ms"] for one in by_size),
        "exact_ms": every["exact_ms"],
        "without_pgvector_ms": without["ms"],
        "index_seconds": seconds,
    }


def entry_figures(rng: np.random.Generator, of: Truth, size: int, days: int) -> dict[str, float]:
    """What the memory holds of so many creatives after so many days, against the truth."""
    rules = Memory()
    account = np.arange(size) // of.creatives
    accounts = int(account[-1]) + 1
    truth = of.ctr * np.exp(rng.normal(0, of.account_sd, accounts)[account] + rng.normal(0, of.creative_sd, size))
    launched = rng.integers(0, min(LAUNCH_DAYS, days), size)
    volume = IMPRESSIONS * np.exp(rng.normal(0, IMPRESSIONS_SD, size))
    names = pl.DataFrame({"account_id": account, "creative_id": np.arange(size)}).cast(pl.String)
    creatives = names.with_columns(owner="account_id", fingerprint="creative_id")
    unknown = pl.lit(None, pl.Int64)

    state, sums = memory.LOOKS.to_frame(), memory.SUMS.to_frame()
    recent: list[pl.DataFrame] = []
    for number in range(days):
        day = START + timedelta(days=number)
        live = np.flatnonzero(launched <= number)
        impressions = rng.poisson(volume[live])
        clicks = rng.poisson(impressions * truth[live] * np.exp(rng.normal(-(of.day_sd**2) / 2, of.day_sd, live.size)))
        counts = {"impressions": impressions, "link_clicks": np.minimum(clicks, impressions)}
        facts = names[live].with_columns(
            date=pl.lit(day),
            **{name: pl.Series(values) for name, values in counts.items()},
            **dict.fromkeys(("conversions", "spend_micros", "revenue_micros"), unknown),
        )
        facts = facts.select(pl.col(name).cast(kind) for name, kind in memory.DAYS.items())
        recent = [*recent, facts][-rules.recent_days :]
        sums = memory.together([sums.lazy(), memory.add_up(facts.lazy(), day)]).collect()
        totals = memory.entries(sums, creatives)
        looks = memory.look(state, totals, memory.noise(pl.concat(recent), rules), day, rules)
        state = pl.concat([state.join(looks, on=memory.KEY, how="anti"), looks])
        if number % 30 == 29:
            print(f"day {number + 1}: {looks['outcome'].value_counts().rows()}", file=sys.stderr)
    inside = state.filter(pl.col("entered_on").is_not_null(), pl.col("left_on").is_null())
    member = np.zeros(size, bool)
    member[inside["fingerprint"].cast(pl.Int64).to_numpy()] = True
    good = truth >= rules.enter_ctr
    return {
        "entry_precision": float(good[member].mean()) if member.any() else 1.0,
        "entry_recall": float(member[good].mean()),
        "entry_members": int(member.sum()),
        "entry_base_rate": float(good.mean()),
    }


def run(seed: int, vectors: int, texts: Iterator[str] | None = None, short: bool = False) -> dict[str, Any]:
    """All figures; `short` takes a few seconds and shows that they can be computed, not what they are."""
    rng = np.random.default_rng(seed)
    ideas = 10 if short else 500
    known = distinct(texts or written_texts(rng), vectors + ideas)
    # The last ones are the ideas; a file may be in an order.
    mixed = [known[number] for number in rng.permutation(len(known))]
    found = search_figures(mixed[:vectors], mixed[vectors:])
    size, days = (480, 12) if short else (ALL_CREATIVES, DAYS)
    found |= entry_figures(rng, Truth(), size, days)
    for name, of in HARDER.items():
        found[f"entry_precision_{name}"] = entry_figures(rng, of, size // 2, days)["entry_precision"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Does the memory hold winners only, and does the search find them?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--texts", type=Path, help="texts of your own: one a line, or a Parquet file")
    parser.add_argument("--column", default="headline", help="the column of a Parquet file that holds them")
    parser.add_argument("--short", action="store_true", help="a few seconds instead of minutes, for tests")
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("LEARNING_")]:
        del os.environ[name]
    texts = None if asked.texts is None else texts_of(asked.texts, asked.column)
    print(json.dumps(run(asked.seed, 2_000 if asked.short else asked.vectors, texts, asked.short)))


if __name__ == "__main__":
    main()
