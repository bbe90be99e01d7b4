"""Lake: a day is there whole or as it was, and its version says whether its content changed."""

import threading
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.store.lake import Lake, LakeError, content_version

DAY, NEXT = date(2026, 2, 1), date(2026, 2, 2)
SCHEMA = pl.Schema({"ad_id": pl.String, "clicks": pl.Int64, "rate": pl.Float64})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, {"facts": SCHEMA}, lambda _: nullcontext())


def frame(*rows: tuple[str | None, int | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def state(path: Path) -> tuple[int, int]:
    """Differs where the file was written anew, whatever its content."""
    return path.stat().st_mtime_ns, path.stat().st_ino


def test_a_day_comes_back_as_it_was_written(lake: Lake):
    rows = frame(("b", 1, 0.1), ("a", None, None), ("", 0, 0.0))
    written = lake.write("facts", DAY, rows)
    assert (written.rows, written.changed) == (3, True)
    assert lake.read("facts", DAY).equals(rows)
    assert lake.version("facts", DAY) == written.version == content_version(rows)
    assert lake.path("facts", DAY).relative_to(lake.root) == Path("facts/2026-02-01.parquet")


def test_columns_may_come_in_any_order(lake: Lake):
    first = lake.write("facts", DAY, frame(("a", 1, 0.5)))
    again = lake.write("facts", DAY, frame(("a", 1, 0.5)).select("rate", "clicks", "ad_id"))
    assert (again.version, again.changed) == (first.version, False)
    assert lake.read("facts", DAY).columns == SCHEMA.names()


def test_writing_what_is_there_touches_nothing(lake: Lake):
    rows = frame(("a", 1, 0.1), ("b", None, None))
    first = lake.write("facts", DAY, rows, note={"sources": "x"})
    before = state(lake.path("facts", DAY))
    again = lake.write("facts", DAY, lake.read("facts", DAY), note={"sources": "x"})
    assert (again.changed, again.version, again.rows) == (False, first.version, 2)
    assert state(lake.path("facts", DAY)) == before


def test_another_note_is_kept_beside_the_same_content(lake: Lake):
    first = lake.write("facts", DAY, frame(("a", 1, 0.1)), note={"sources": "x"})
    again = lake.write("facts", DAY, frame(("a", 1, 0.1)), note={"sources": "y"})
    assert (again.changed, again.version) == (True, first.version)
    assert lake.notes("facts", DAY) == {"version": first.version, "rows": "1", "sources": "y"}
    assert lake.notes("facts", NEXT) is None


def test_wrong_columns_leave_the_day_as_it_was(lake: Lake):
    rows = frame(("a", 1, 0.1))
    lake.write("facts", DAY, rows)
    for wrong in (rows.drop("rate"), rows.with_columns(more=1), rows.cast({"clicks": pl.Int32})):
        with pytest.raises(LakeError, match=r"facts of 2026-02-01: columns differ .* The day was left as it was\."):
            lake.write("facts", DAY, wrong)
    assert lake.read("facts", DAY).equals(rows)
    assert [path.name for path in lake.path("facts", DAY).parent.iterdir()] == ["2026-02-01.parquet"]


def test_unknown_assets_and_absent_days_are_named(lake: Lake):
    with pytest.raises(LakeError, match="'fact' keeps no day files; those that do: facts"):
        lake.write("fact", DAY, frame())
    for read in (lake.read, lake.read_as_written):
        with pytest.raises(LakeError, match=r"facts of 2026-02-01 does not exist\. Materialize that day of 'facts' first\."):
            read("facts", DAY)
    assert lake.version("facts", DAY) is None


rows_of = st.lists(
    st.tuples(
        st.none() | st.text(st.sampled_from('a",\n\\é '), max_size=20),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        # Adding zero turns -0.0 into 0.0, which polars holds equal to it.
        st.none() | st.floats(allow_nan=False).map(lambda x: x + 0.0),
    ),
    max_size=4,
)


@given(rows_of, rows_of)
def test_versions_differ_if_and_only_if_contents_do(one: list[tuple], other: list[tuple]):
    a, b = frame(*one), frame(*other)
    assert (content_version(a) == content_version(b)) == a.equals(b)


@given(rows_of.filter(bool), st.randoms(use_true_random=False))
def test_a_version_does_not_know_how_a_frame_came_about(rows: list[tuple], random):
    """The same rows cut out of a larger frame, put together from pieces, or with values hidden beneath their NULLs."""
    made = frame(*rows)
    cut = pl.concat([made, made.with_columns(clicks=pl.lit(7, pl.Int64))]).slice(0, made.height)
    kept = (
        pl.concat([frame(("a text too long to be kept in place", 1, 1.0)), made]).with_row_index().filter(pl.col("index") > 0)
    )
    hidden = made.with_columns(there=pl.col("clicks").is_not_null(), clicks=pl.col("clicks").fill_null(random.randint(1, 99)))
    hidden = hidden.select("ad_id", pl.when("there").then("clicks").alias("clicks"), "rate")
    for same in (cut, kept.drop("index"), hidden):
        assert same.equals(made)
        assert content_version(same) == content_version(made)


def test_types_belong_to_the_content():
    empty = pl.DataFrame(schema=SCHEMA)
    assert content_version(empty) != content_version(empty.cast({"clicks": pl.Float64}))
    moment = pl.DataFrame({"at": [datetime(2026, 2, 1, tzinfo=UTC)]})
    assert content_version(moment) != content_version(moment.select(pl.col("at").dt.cast_time_unit("ns")))


def test_an_empty_day_is_a_day(lake: Lake):
    lake.write("facts", DAY, frame())
    assert lake.days("facts") == [DAY]
    assert lake.read("facts", DAY).schema == SCHEMA
    assert lake.notes("facts", DAY) == {"version": content_version(frame()), "rows": "0"}


def test_absent_days_are_scanned_as_nothing(lake: Lake):
    assert lake.scan("facts", DAY, NEXT).collect().equals(frame())
    assert lake.days("facts") == []
    days = [DAY, DAY + timedelta(days=2), DAY + timedelta(days=5)]
    for number, day in enumerate(days):
        lake.write("facts", day, frame(("a", number, None)))
    found = lake.scan("facts", DAY - timedelta(days=3), DAY + timedelta(days=4)).collect()
    assert found["clicks"].to_list() == [0, 1]
    assert lake.days("facts", DAY + timedelta(days=1), DAY + timedelta(days=5)) == days[1:]


def test_rows_may_be_dated_by_their_file(lake: Lake):
    lake.write("facts", DAY, frame(("a", 1, 0.1)))
    lake.write("facts", NEXT, frame(("a", 2, 0.1), ("b", None, None)))
    found = lake.scan("facts", DAY, NEXT, dated="day").collect()
    assert found.schema == pl.Schema({**SCHEMA, "day": pl.Date})
    assert found.select("day", "ad_id").rows() == [(DAY, "a"), (NEXT, "a"), (NEXT, "b")]
    assert lake.scan("facts", DAY - timedelta(days=9), DAY - timedelta(days=8), dated="day").collect_schema() == found.schema


def test_a_column_that_an_older_version_did_not_write_is_unknown(lake: Lake):
    lake.write("facts", NEXT, frame(("b", 2, 0.2)))
    frame(("a", 1, 0.1)).drop("rate").write_parquet(lake.path("facts", DAY))
    assert lake.scan("facts", DAY, NEXT).collect().equals(frame(("a", 1, None), ("b", 2, 0.2)))
    assert lake.read_as_written("facts", DAY).columns == ["ad_id", "clicks"]


def test_a_draft_that_was_left_over_is_never_seen_and_goes_with_the_next_write(lake: Lake):
    lake.write("facts", DAY, frame(("a", 1, 0.1)))
    folder = lake.path("facts", DAY).parent
    dead = folder / ".2026-02-01.parquet.0123456789abcdef"
    other = folder / ".2026-02-02.parquet.0123456789abcdef"
    for draft in (dead, other):
        draft.write_bytes(b"half a day")
    assert lake.days("facts") == [DAY]
    assert lake.scan("facts", DAY, NEXT).collect().height == 1
    lake.write("facts", DAY, frame(("a", 2, 0.1)))
    assert not dead.exists()
    assert other.exists(), "another day's draft may be somebody's at work"


def test_a_reader_sees_the_old_day_or_the_new_one(lake: Lake):
    old, new = (frame(*((str(n), value, 0.5) for n in range(500))) for value in (1, 2))
    lake.write("facts", DAY, old)
    seen: list[set[int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(set(lake.read("facts", DAY)["clicks"]))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        lake.write("facts", DAY, new)
        lake.write("facts", DAY, old)
    done.set()
    reader.join()
    assert seen
    assert all(clicks in ({1}, {2}) for clicks in seen)


def test_one_writer_of_a_day_at_a_time(tmp_path: Path):
    """The lock's name is the asset and the day, and it is held until the day is there."""
    held: list[tuple[str, bool]] = []

    class Lock:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            held.append((self.name, lake.path("facts", DAY).exists()))

        def __exit__(self, *_: object) -> None:
            held.append((self.name, lake.path("facts", DAY).exists()))

    lake = Lake(tmp_path, {"facts": SCHEMA}, Lock)
    lake.write("facts", DAY, frame(("a", 1, 0.1)))
    assert held == [("lake/facts/2026-02-01", False), ("lake/facts/2026-02-01", True)]
