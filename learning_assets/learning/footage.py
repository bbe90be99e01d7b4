"""The media part of creative DNA: what can be seen and heard in a creative's file, in one row, and the fixed bins that patterns mine.

What belongs here: the row and its bins. What does not: how pictures and sound are measured (`sight`, `hearing`), files and their decoding
(`platforms.media`), the text part (`dna`), and the bins of durations, which are learned (`bins`).
"""

from collections.abc import Sequence
from typing import Literal

import polars as pl

from learning_assets.learning.dna import bands
from learning_assets.learning.hearing import SILENCE, Heard
from learning_assets.learning.sight import Seen

VERSION = "1"
"""Of everything that is measured in a file; a file that another version read is read again."""

Kind = Literal["video", "image", "audio"]

MEASURES = pl.Schema(
    {
        "media_kind": pl.String,
        # visual
        "brightness": pl.Float64,
        "contrast": pl.Float64,
        "colourfulness": pl.Float64,
        "palette": pl.List(pl.String),
        "motion": pl.Float64,
        "cuts": pl.Int64,
        "scenes": pl.Int64,
        "faces": pl.Int64,
        "face_share": pl.Float64,
        "text_share": pl.Float64,
        # audio
        "loudness_lufs": pl.Float64,
        "tempo_bpm": pl.Float64,
        "beat_strength": pl.Float64,
        "sound": pl.String,
        # pacing
        "duration_seconds": pl.Float64,
        "cuts_per_second": pl.Float64,
        "first_scene_seconds": pl.Float64,
    }
)
"""What is measured in a file. `media_kind`: video, image or audio; of an image there is the visual block only and no motion, of a file without
a picture no visual block. `brightness`, `contrast`, `colourfulness`, `palette`, `motion`: see `sight.Seen`. `scenes`: `cuts` + 1. `faces`: most
faces seen in at least two of the pictures that were looked at (in the picture of an image); `face_share`: share of those pictures with a face;
`text_share`: mean share of their area under written text. `loudness_lufs`, `tempo_bpm`, `beat_strength`: see `hearing.Heard`; `sound`: music,
speech, silent or unknown. `first_scene_seconds`: until the first cut, or the whole clip."""

FOOTAGE = pl.Schema(
    {
        "media_status": pl.String,
        "media_reason": pl.String,
        "media_hash": pl.String,
        "media_version": pl.String,
        "media_tries": pl.Int64,
        "media_tried_on": pl.Date,
        **MEASURES,
        # fixed bins
        "dominant_colour": pl.String,
        "brightness_band": pl.String,
        "contrast_band": pl.String,
        "colourfulness_band": pl.String,
        "motion_band": pl.String,
        "cutting_band": pl.String,
        "has_faces": pl.String,
        "text_overlay": pl.String,
        "loudness_band": pl.String,
        "tempo_band": pl.String,
    }
)
"""What is known of a creative's file. `media_status`: `read`; `unknown` (it could not be fetched or decoded, `media_reason` says why);
`waiting` (for its turn in a later cycle); `not_read` (the extra `media` is not installed); NULL where the source gives no file.
`media_hash`: SHA-256 of the file. `media_version`: what read it, or found that it cannot be read; NULL until then. `media_tries`: days on which
it was tried; `media_tried_on`: the day that was learned when it was last tried. Everything else is NULL unless it was read. Bins: see
`describe`."""

ATTRIBUTES: tuple[str, ...] = (
    "dominant_colour",
    "brightness_band",
    "contrast_band",
    "colourfulness_band",
    "motion_band",
    "cutting_band",
    "has_faces",
    "text_overlay",
    "sound",
    "loudness_band",
    "tempo_band",
)
"""Columns of FOOTAGE that patterns mine as categories."""


def measures(
    kind: Kind,
    seen: Seen | None,
    heard: Heard | None,
    duration_seconds: float | None,
    faces: Sequence[int] | None = None,
    text_shares: Sequence[float] | None = None,
) -> dict[str, object]:
    """The columns MEASURES of one file.

    Parameters
    ----------
    seen : NULL of a file without a picture.
    heard : NULL of a file without a sound track.
    duration_seconds : NULL of an image.
    faces : faces in each picture that was looked at; NULL where nobody looked.
    text_shares : share of each such picture under written text, 0 to 1; NULL where nobody looked.
    """
    found: dict[str, object] = {**dict.fromkeys(MEASURES), "media_kind": kind}
    if seen is not None:
        found |= {
            "brightness": seen.brightness,
            "contrast": seen.contrast,
            "colourfulness": seen.colourfulness,
            "palette": list(seen.palette),
            "motion": seen.motion,
        }
    if seen is not None and seen.cut_seconds is not None:
        cuts = len(seen.cut_seconds)
        found |= {"cuts": cuts, "scenes": cuts + 1}
        if duration_seconds:
            found |= {
                "cuts_per_second": cuts / duration_seconds,
                "first_scene_seconds": seen.cut_seconds[0] if cuts else duration_seconds,
            }
    if faces:
        # A detector sees a face now and then where there is none; twice the same number is hardly chance.
        sure = sorted(faces, reverse=True)[min(1, len(faces) - 1)]
        found |= {"faces": sure, "face_share": sum(count > 0 for count in faces) / len(faces)}
    if text_shares:
        found["text_share"] = sum(text_shares) / len(text_shares)
    if kind != "image":
        told = heard or SILENCE
        found |= {
            "loudness_lufs": told.loudness_lufs,
            "tempo_bpm": told.tempo_bpm,
            "beat_strength": told.beat_strength,
            "sound": told.sound,
            "duration_seconds": duration_seconds,
        }
    return found


def describe(read: pl.DataFrame) -> pl.DataFrame:
    """Rows with schema FOOTAGE, bins added; other columns are kept before them.

    Bins are fixed, so that a value means the same on every day and for every account; each includes its lower edge.

    Parameters
    ----------
    read : the columns of FOOTAGE that are no bins; those of MEASURES may be missing and are NULL then.
    """
    kept = [name for name in read.columns if name not in FOOTAGE]
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in MEASURES.items() if name not in read.columns]
    rows = read.with_columns(missing)
    said = pl.col("media_status") == "read"
    looked = pl.col("face_share").is_not_null()
    return rows.with_columns(
        dominant_colour=_colour_name(pl.col("palette").list.first()),
        brightness_band=bands(pl.col("brightness"), [0.35, 0.6], ["dark", "medium", "bright"]),
        contrast_band=bands(pl.col("contrast"), [0.15, 0.25], ["flat", "medium", "strong"]),
        colourfulness_band=bands(pl.col("colourfulness"), [15, 45], ["muted", "moderate", "vivid"]),
        motion_band=bands(pl.col("motion"), [0.01, 0.04], ["still", "calm", "lively"]),
        cutting_band=bands(pl.col("cuts_per_second"), [0.1, 0.3, 0.6], ["hardly", "slow", "medium", "fast"]),
        has_faces=pl.when(said & looked & (pl.col("faces") > 0)).then(pl.lit("yes")).when(said & looked).then(pl.lit("no")),
        text_overlay=bands(pl.col("text_share"), [0.01, 0.1], ["none", "some", "much"]),
        loudness_band=bands(pl.col("loudness_lufs"), [-24, -16], ["quiet", "medium", "loud"]),
        tempo_band=bands(pl.col("tempo_bpm"), [90, 120], ["slow", "medium", "fast"]),
    ).select(*kept, *(pl.col(name).cast(kind) for name, kind in FOOTAGE.items()))


def _colour_name(colour: pl.Expr) -> pl.Expr:
    """What people call a colour #rrggbb: black, white or grey where it has hardly any hue, else the hue's name."""
    red, green, blue = (
        colour.str.slice(1 + 2 * part, 2).str.to_integer(base=16, strict=True).cast(pl.Float64) / 255 for part in range(3)
    )
    most, least = pl.max_horizontal(red, green, blue), pl.min_horizontal(red, green, blue)
    spread = most - least
    hue = 60 * (
        pl.when(most == red)
        .then(((green - blue) / spread) % 6)
        .when(most == green)
        .then((blue - red) / spread + 2)
        .otherwise((red - green) / spread + 4)
    )
    named = (
        pl.when((hue < 15) | (hue >= 345))
        .then(pl.lit("red"))
        .when((hue < 45) & (most < 0.6))
        .then(pl.lit("brown"))
        .when(hue < 45)
        .then(pl.lit("orange"))
        .when(hue < 70)
        .then(pl.lit("yellow"))
        .when(hue < 165)
        .then(pl.lit("green"))
        .when(hue < 195)
        .then(pl.lit("cyan"))
        .when(hue < 255)
        .then(pl.lit("blue"))
        .when(hue < 290)
        .then(pl.lit("purple"))
        .otherwise(pl.lit("pink"))
    )
    return (
        pl.when(most < 0.15)
        .then(pl.lit("black"))
        .when((spread < 0.1) & (least > 0.85))
        .then(pl.lit("white"))
        .when(spread < 0.1 * pl.max_horizontal(most, pl.lit(0.5)))
        .then(pl.lit("grey"))
        .when(colour.is_not_null())
        .then(named)
    )
