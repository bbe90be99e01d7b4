"""What can be seen and heard in the creatives: the media columns of `creative_dna`.

What belongs here: which files are read in a run, and what is stored of them. What does not: files and their decoding (`platforms.media`), and
what is measured (`learning.footage`).
"""

from dataclasses import dataclass

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.assets.report import Number
from learning_assets.learning import footage
from learning_assets.platforms.media.reading import EXTRA, DecoderError, Origin, read_files
from learning_assets.settings import Media, Settings
from learning_assets.store.store import Store

_KEY = ["account_id", "creative_id"]
_MEDIUM = ["account_id", "medium"]
_STORED = [*_KEY, "owner", "first_seen", "version", "media_status", "media_version", "media_tries", "media_tried_on"]

MEANING = {
    "read": "what can be seen and heard is known",
    "unknown": "the file could not be fetched or decoded; `media_reason` of the creative says why",
    "waiting": "their turn comes with a later cycle",
    "not_read": EXTRA,
}
"""Statuses of a creative's file."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What a run did: `files` that it read, and how many of the day's creatives with files now have which status."""

    files: int
    status: dict[str, int]

    @property
    def numbers(self) -> dict[str, Number]:
        """Figures under stable keys."""
        return {"media_files": self.files, **{f"media_{name}": self.status.get(name, 0) for name in MEANING}}

    @property
    def table(self) -> pl.DataFrame:
        """How many creatives have which status."""
        rows = [(name, self.status[name], meaning) for name, meaning in MEANING.items() if name in self.status]
        return pl.DataFrame(rows, schema={"status": pl.String, "creatives": pl.Int64, "meaning": pl.String}, orient="row")


def read_media(store: Store, settings: Settings, day: Day, listed: pl.DataFrame) -> Watched:
    """Read files of the day's creatives that were not read yet, as many as a day may, and store what is in them.

    A file that cannot be fetched or decoded leaves its creatives `unknown`, and the others go on. Days of a range whose last day is still
    to come leave their files to it. Creatives of an account with the same video or image share its reading.

    Parameters
    ----------
    listed : the day's catalog, one row per creative; their rows in `creative_dna` are there.
    """
    address = pl.when(pl.col("video_id").is_null()).then("image_url").otherwise("video_url")
    medium = pl.coalesce("video_id", "image_id", address)
    held = listed.select(*_KEY, medium=medium, address=address).filter(pl.col("address").is_not_null())
    if held.is_empty():
        return Watched(0, {})
    # One process at a time, so that no file is fetched twice.
    with store.tables.lock("media"):
        known = store.creatives(_STORED, held["account_id"].unique().to_list()).join(held, on=_KEY)
        room = _files_of(day, settings.media) - known.filter(_was_tried(day)).n_unique(_MEDIUM)
        due = known.filter(_is_due(day, settings.media)).sort("first_seen", *_KEY, descending=[True, False, False])
        chosen = due.unique(_MEDIUM, keep="first", maintain_order=True).head(max(0, room))
        try:
            written = [
                _read(store, settings, day, due, chosen),
                _put_off(due.join(chosen, on=_MEDIUM, how="anti"), "waiting", None),
            ]
        except DecoderError as error:
            chosen, written = chosen.clear(), [_put_off(due, "not_read", str(error))]
        for rows in written:
            store.tables.upsert("creative_dna", rows)
    now = store.creatives([*_KEY, "media_status"]).join(held, on=_KEY, how="semi")["media_status"].drop_nulls()
    return Watched(chosen.height, dict(now.value_counts().iter_rows()))


def _files_of(day: Day, settings: Media) -> int:
    """Files that a day may read."""
    return 0 if day.quiet else settings.simulated_files_per_day if day.simulated else settings.files_per_day


def _was_tried(day: Day) -> pl.Expr:
    """Whether the day has read a file already: by a run that was killed, say."""
    return (pl.col("media_tried_on") == day.date) & (
        pl.col("media_version").is_null() | (pl.col("media_version") == footage.VERSION)
    )


def _is_due(day: Day, settings: Media) -> pl.Expr:
    """Whether a file was never read, was read by an older version, or could not be had on a day before and may be tried again."""
    status, version = pl.col("media_status"), pl.col("media_version")
    never = status.is_null() | status.is_in(["waiting", "not_read"])
    again = (status == "unknown") & version.is_null() & (pl.col("media_tries") < settings.attempts)
    return never | (version != footage.VERSION) | (again & (pl.col("media_tried_on") < day.date))


def _read(store: Store, settings: Settings, day: Day, due: pl.DataFrame, chosen: pl.DataFrame) -> pl.DataFrame:
    """Rows of `creative_dna` of all due creatives with one of the chosen files."""
    readings = read_files(chosen["address"].to_list(), settings.media, home=store.home, origin=Origin.of(settings))
    found = pl.DataFrame(
        [
            {
                **reading.measures,
                "media_status": reading.status,
                "media_reason": reading.reason,
                "media_hash": reading.content,
                "media_version": footage.VERSION if reading.lasting else None,
            }
            for reading in readings
        ],
        schema={name: kind for name, kind in footage.FOOTAGE.items() if name in _FOUND},
    )
    of_medium = pl.concat([chosen.select(_MEDIUM), found], how="horizontal")
    mine = due.drop("media_status", "media_version").join(of_medium, on=_MEDIUM)
    rows = mine.with_columns(media_tries=pl.col("media_tries").fill_null(0) + 1, media_tried_on=pl.lit(day.date))
    return footage.describe(rows).drop("medium", "address")


_FOUND = frozenset({"media_status", "media_reason", "media_hash", "media_version", *footage.MEASURES})


def _put_off(due: pl.DataFrame, status: str, reason: str | None) -> pl.DataFrame:
    """Rows of creatives whose file is not read now and was not before, where that is not what stands there."""
    unread = due.filter(pl.col("media_status").is_null() | pl.col("media_status").is_in(["waiting", "not_read"]))
    told = unread.filter(pl.col("media_status").ne_missing(status))
    return told.select(
        *_KEY, "owner", "first_seen", "version", media_status=pl.lit(status), media_reason=pl.lit(reason, dtype=pl.String)
    )
