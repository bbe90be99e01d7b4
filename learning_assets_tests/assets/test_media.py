"""Media of creatives: served by a Graph server, fetched, decoded and stored, so many a cycle, and nothing twice."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa

from learning_assets.assets.day import QUIET_TAG
from learning_assets.assets.media import MEANING
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.learning import footage
from learning_assets.platforms.media import reading
from learning_assets.sandbox import media
from learning_assets.sandbox.control import Control
from learning_assets.sandbox.process import start
from learning_assets.store import schema
from learning_assets_tests.world import MakeWorld, World, failure, metadata

DAY = date(2026, 2, 28)
KEY = ["account_id", "creative_id"]
MARKET: dict[str, int | str | float] = {"epoch": "2026-02-20", "seed": 5, "accounts": 1, "ads": 4, "history_days": 30}


@pytest.fixture(scope="module")
def control() -> Iterator[Control]:
    with start(MARKET, now=datetime(2026, 3, 2, 9, tzinfo=UTC)) as running:
        yield running


@pytest.fixture
def world(make_world: MakeWorld, control: Control) -> World:
    """One account behind its Graph server; two files a cycle, and one process that decodes."""
    meta = {"graph_url": control.url, "access_token": control.token}
    return make_world(source="meta", meta=meta, media={"files_per_day": 2, "workers": 1, "fetch_seconds": 120})


def read(world: World, day: date = DAY, *assets: str) -> dict[str, Any]:
    result = world.run(day, *(assets or ("ad_catalog", "creative_dna")), replaying=True)
    assert result.success, failure(result)
    return metadata(result, "creative_dna")


def listed(world: World) -> pl.DataFrame:
    """The day's catalog, one row per creative."""
    assert world.run(DAY, "ad_catalog", replaying=True).success
    return world.store.lake.read("ad_catalog", DAY).unique(KEY, keep="first").sort(KEY)


def stored(world: World, status: str | None = None) -> pl.DataFrame:
    rows = world.table("creative_dna").sort(KEY)
    return rows if status is None else rows.filter(pl.col("media_status") == status)


def counts(shown: dict[str, Any]) -> dict[str, int]:
    return {name: shown[f"media_{name}"] for name in ("files", *MEANING)}


def test_files_are_read_so_many_a_cycle_and_nothing_twice(world: World):
    shown = read(world)
    first = stored(world)
    waiting = first.height - 2
    assert counts(shown) == {"files": 2, "read": 2, "unknown": 0, "waiting": waiting, "not_read": 0}
    assert "| waiting | " in shown["media_status"]
    done = first.filter(pl.col("media_status") == "read")
    assert done.select("media_version", "media_tries", "media_tried_on").unique().rows() == [(footage.VERSION, 1, DAY)]
    left = first.filter(pl.col("media_status") == "waiting")
    assert left.select(footage.MEASURES.names()).null_count().row(0) == (waiting,) * len(footage.MEASURES)

    # A day that is run again reads no more; the next one does.
    assert counts(read(world, DAY, "creative_dna")) == counts(shown) | {"files": 0}
    assert stored(world).equals(first)
    shown = read(world, DAY + timedelta(days=1))
    assert shown["media_files"] == 2
    assert stored(world, "read").height == 4
    assert stored(world).join(done, on=KEY, how="semi").equals(done)
    # What is stored is what is true of the files.
    found = stored(world, "read")
    catalog = pl.concat(world.store.lake.read("ad_catalog", day) for day in (DAY, DAY + timedelta(days=1)))
    catalog = catalog.unique(KEY).select(*KEY, "video_id")
    for row in found.join(catalog, on=KEY).iter_rows(named=True):
        film = media.film_of(5, row["video_id"]) if row["video_id"] else None
        assert row["media_kind"] == ("image" if film is None else "video")
        if film is not None:
            assert row["cuts"] == len(film.cuts)
            assert row["duration_seconds"] == pytest.approx(film.seconds, abs=0.1)
            assert row["sound"] == film.sound
        assert row["dominant_colour"] is not None
        assert row["brightness_band"] in ("dark", "medium", "bright")
    assert {path.suffix for path in (world.store.home / "media").rglob("*") if path.is_file()} == {".json"}
    assert not list((world.store.home / "media").glob("incoming-*"))
    # The figures say how many, and nothing of where the files are.
    assert world.settings.meta.graph_url not in str(shown)
    assert "oe=7F" not in str(shown)


def test_a_file_that_cannot_be_had_is_unknown_and_tried_again_on_another_day(world: World):
    lost = listed(world).head(1)
    gone = f"{world.settings.meta.graph_url}/media/img_1.png?oe=7F000000"
    for day in (DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)):
        world.store.lake.write("ad_catalog", day, lost.with_columns(video_id=pl.lit(None, pl.String), image_url=pl.lit(gone)))
    shown = read(world, DAY, "creative_dna")
    assert counts(shown) == {"files": 1, "read": 0, "unknown": 1, "waiting": 0, "not_read": 0}
    (row,) = stored(world).iter_rows(named=True)
    assert row["media_reason"] == (
        f"{world.settings.meta.graph_url}/media/img_1.png: the host answered 404. Addresses of media expire; fetch the catalog again."
    )
    assert (row["media_version"], row["media_tries"], row["brightness"]) == (None, 1, None)
    # Not again on the same day, again on the next, and never once the attempts are used up.
    assert read(world, DAY, "creative_dna")["media_files"] == 0
    assert read(world, DAY + timedelta(days=1), "creative_dna")["media_files"] == 1
    assert stored(world)["media_tries"].to_list() == [2]
    settled = world.again(media={"attempts": 2})
    assert read(settled, DAY + timedelta(days=2), "creative_dna")["media_files"] == 0


def test_creatives_with_the_same_image_share_its_reading(world: World):
    catalog = listed(world)
    image = catalog.filter(pl.col("video_id").is_null())["image_url"][0]
    same = catalog.with_columns(
        video_id=pl.lit(None, pl.String),
        image_id=pl.lit("one"),
        image_url=pl.concat_str(pl.lit(f"{image}&n="), pl.int_range(pl.len()).cast(pl.String)),
    )
    world.store.lake.write("ad_catalog", DAY, same)
    assert read(world, DAY, "creative_dna")["media_files"] == 1
    assert stored(world, "read").height == catalog.height
    assert stored(world)["media_hash"].n_unique() == 1


def test_another_version_of_the_measures_reads_again(world: World):
    read(world)
    known = stored(world, "read")
    world.store.tables.execute(
        sa.update(schema.creative_dna)
        .where(schema.creative_dna.c.media_status == "read")
        .values(media_version="0", brightness=0.0)
    )
    assert read(world, DAY, "creative_dna")["media_files"] == 2
    again = stored(world, "read").join(known, on=KEY, how="semi")
    assert again.drop("media_tries").equals(known.drop("media_tries"))


def test_without_the_extra_files_are_not_read_and_wait_for_it(world: World, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(reading, "installed", lambda: False)
        shown = read(world)
        assert (shown["media_files"], shown["media_not_read"]) == (0, stored(world).height)
        assert stored(world)["media_reason"].unique().to_list() == ["install learning_assets[media]"]
        assert stored(world).select(footage.MEASURES.names()).null_count().row(0) == (stored(world).height,) * len(
            footage.MEASURES
        )
    shown = read(world, DAY, "creative_dna")
    assert counts(shown) == {"files": 2, "read": 2, "unknown": 0, "waiting": stored(world).height - 2, "not_read": 0}
    assert stored(world)["media_reason"].unique().to_list() == [None]


def test_days_of_a_range_leave_their_files_to_its_last(world: World):
    job = world.cycle.get_subset(asset_selection={dg.AssetKey("ad_catalog"), dg.AssetKey("creative_dna")})
    result = job.execute_in_process(
        run_config=QUIET_CONSOLE, partition_key=str(DAY), instance=world.instance, tags={QUIET_TAG: "1"}
    )
    shown = metadata(result, "creative_dna")
    assert (shown["media_files"], shown["media_waiting"]) == (0, stored(world).height)


def test_a_source_without_files_says_nothing_of_them(make_world: MakeWorld):
    world = make_world(sandbox={"accounts": 1, "ads": 4})
    shown = read(world)
    assert counts(shown) == dict.fromkeys(("files", *MEANING), 0)
    assert stored(world)["media_status"].unique().to_list() == [None]
