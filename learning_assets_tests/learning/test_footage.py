"""The media row: blocks by the kind of file, pacing, faces, and fixed bins."""

import polars as pl
import pytest

from learning_assets.learning import footage
from learning_assets.learning.hearing import Heard
from learning_assets.learning.sight import Seen

SEEN = Seen(0.5, 0.2, 30.0, ("#3366cc", "#ffffff"), 0.02, (1.5, 4.0))
HEARD = Heard(-15.0, 124.0, 0.8, "music")


def test_a_video_has_all_blocks():
    found = footage.measures("video", SEEN, HEARD, 8.0, [0, 2, 2, 1], [0.0, 0.2])
    assert list(found) == footage.MEASURES.names()
    assert (found["cuts"], found["scenes"], found["cuts_per_second"], found["first_scene_seconds"]) == (2, 3, 0.25, 1.5)
    assert (found["faces"], found["face_share"], found["text_share"]) == (2, 0.75, 0.1)
    assert (found["sound"], found["tempo_bpm"], found["duration_seconds"]) == ("music", 124.0, 8.0)


def test_without_a_cut_the_first_scene_is_the_clip():
    found = footage.measures("video", Seen(0.5, 0.2, 30.0, (), 0.0, ()), None, 6.0)
    assert (found["cuts"], found["scenes"], found["cuts_per_second"], found["first_scene_seconds"]) == (0, 1, 0.0, 6.0)
    assert found["sound"] == "silent"
    assert found["faces"] is None


def test_an_image_has_the_visual_block_only():
    found = footage.measures("image", Seen(0.5, 0.2, 30.0, ("#000000",), None, None), None, None, [1], [0.0])
    known = {name for name, value in found.items() if value is not None}
    assert known == {"media_kind", "brightness", "contrast", "colourfulness", "palette", "faces", "face_share", "text_share"}
    assert found["faces"] == 1


def test_sound_alone_has_no_visual_block():
    found = footage.measures("audio", None, HEARD, 30.0)
    known = {name for name, value in found.items() if value is not None}
    assert known == {"media_kind", "loudness_lufs", "tempo_bpm", "beat_strength", "sound", "duration_seconds"}


def test_a_face_that_is_seen_once_in_a_clip_is_chance():
    assert footage.measures("video", SEEN, None, 8.0, [0, 1, 0])["faces"] == 0


def described(**found: object) -> dict[str, object]:
    state = {"media_status": "read", "media_reason": None, "media_hash": "a", "media_version": "1", "media_tries": 1}
    schema = {name: kind for name, kind in footage.FOOTAGE.items() if name in found or name.startswith("media_")}
    row = pl.DataFrame([{**state, "media_tried_on": None, **found}], schema={"creative_id": pl.String, **schema})
    rows = footage.describe(row)
    assert rows.columns == ["creative_id", *footage.FOOTAGE]
    return rows.row(0, named=True)


@pytest.mark.parametrize(
    ("column", "value", "band", "name"),
    [
        ("brightness", 0.349, "brightness_band", "dark"),
        ("brightness", 0.35, "brightness_band", "medium"),
        ("contrast", 0.3, "contrast_band", "strong"),
        ("colourfulness", 10.0, "colourfulness_band", "muted"),
        ("motion", 0.0, "motion_band", "still"),
        ("cuts_per_second", 0.05, "cutting_band", "hardly"),
        ("cuts_per_second", 0.6, "cutting_band", "fast"),
        ("text_share", 0.05, "text_overlay", "some"),
        ("loudness_lufs", -14.0, "loudness_band", "loud"),
        ("tempo_bpm", 100.0, "tempo_band", "medium"),
    ],
)
def test_bins_include_their_lower_edge(column: str, value: float, band: str, name: str):
    assert described(**{column: value})[band] == name


def test_what_is_not_known_is_in_no_bin():
    row = described()
    assert [row[name] for name in footage.ATTRIBUTES] == [None] * len(footage.ATTRIBUTES)
    assert described(faces=0, face_share=0.0)["has_faces"] == "no"
    assert described(faces=2, face_share=1.0)["has_faces"] == "yes"


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ("#000000", "black"), ("#0f1012", "black"), ("#ffffff", "white"), ("#808080", "grey"), ("#ff0000", "red"), ("#ff8000", "orange"),
        ("#7a4a20", "brown"), ("#ffee00", "yellow"), ("#11aa22", "green"), ("#00cccc", "cyan"), ("#2244dd", "blue"), ("#7711cc", "purple"),
        ("#ff69b4", "pink"), (None, None),
    ],
)  # fmt: skip
def test_colours_have_the_names_that_people_give_them(colour: str | None, name: str | None):
    assert described(palette=None if colour is None else [colour, "#00ff00"])["dominant_colour"] == name


def test_every_attribute_is_a_column():
    assert set(footage.ATTRIBUTES) <= set(footage.FOOTAGE)
    assert {footage.FOOTAGE[name] for name in footage.ATTRIBUTES} == {pl.String()}
