"""Is what is measured in media files true?

    python -m benchmarks.media_truth [--seed 7] [--films 60] [--short]

Videos and pictures of the simulated platform, whose cuts, light, loudness and tempo are known before they are encoded
(`learning_assets.sandbox.media`), are read as the assets read them: fetched from a folder, decoded in processes of their
own, measured. The loudness that is known is measured by FFmpeg's own meter; sound is lossy (AAC), pictures too (H.264).

- `files`: videos; `pictures`: pictures.
- `cuts_exact`: share of the videos with exactly the true cuts, the first within 0.2 s; bar 1.0.
- `brightness_error`: largest absolute error of the mean luma (0 to 1), pictures included; tolerance 0.02.
- `loudness_error_db`: largest absolute error, LUFS; tolerance 0.3.
- `tempo_error_bpm`: largest absolute error over the videos with a beat; `tempo_within`: share of them within 1 bpm;
  `beats_missed` and `beats_invented`: shares of the videos with and without a beat.
- `sound_right`: share of the videos whose music, speech or silence was called so.
- `text_right`: share of all files in which written text was found or not found as it is there.
- `duration_error_seconds`: largest absolute error.
- `seconds_per_minute`: processor seconds per minute of video, start-up and the first file's imports left out.
- `peak_mb`: largest resident memory of that process, also over a 10-minute video and a picture of 8,000 x 8,000 pixels.
- `unreadable_said_so`: share of the `bad_files` (cut off, broken, empty, missing, too long, too large, of no format, a
  playlist, and such over which the decoder dies or hangs) that were `unknown` with a reason, and the file after it read.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from learning_assets.platforms.media.decode import Limits, arguments
from learning_assets.platforms.media.reading import Decoders, Origin, Reading, read_files
from learning_assets.sandbox.media import Film, Truth, film_of, picture, video
from learning_assets.settings import Media

VIDEO, CREATIVE = 125 * 10**15, 124 * 10**15
"""Where the platform's ids begin."""


def plans(seed: int, films: int, short: bool) -> list[Film]:
    """The first films of the platform; for `short` the shortest of each sound."""
    first = [film_of(seed, str(VIDEO + number)) for number in range(films)]
    if not short:
        return first
    return [
        min((film for film in first if film.sound == sound), key=lambda film: film.frames)
        for sound in ("music", "speech", "silent")
    ]


def make(room: Path, seed: int, films: list[Film], pictures: int) -> tuple[dict[str, Truth], dict[str, Truth]]:
    """Files in a folder, and what is true of them by their names."""
    videos: dict[str, Truth] = {}
    for number, film in enumerate(films):
        content, truth = video(film)
        (room / f"{number}.mp4").write_bytes(content)
        videos[f"{number}.mp4"] = truth
        if (number + 1) % max(1, len(films) // 5) == 0:
            print(f"videos made: {number + 1} of {len(films)}", file=sys.stderr)
    stills: dict[str, Truth] = {}
    for number in range(pictures):
        kind = "png" if number % 2 else "jpeg"
        content, truth = picture(seed, str(CREATIVE + number), kind=kind)
        (room / f"{number}.{kind}").write_bytes(content)
        stills[f"{number}.{kind}"] = truth
    return videos, stills


def truth_figures(room: Path, videos: dict[str, Truth], stills: dict[str, Truth]) -> dict[str, float]:
    """How far the measures are from the truth."""
    every = {**videos, **stills}
    readings = read_files(list(every), Media(), home=room / "home", origin=Origin(folder=room))
    found = {name: _measures(name, one) for name, one in zip(every, readings, strict=True)}
    loud = [name for name, truth in videos.items() if truth.loudness_lufs is not None]
    beats = [name for name, truth in videos.items() if truth.bpm is not None]
    heard = [name for name in beats if found[name]["tempo_bpm"] is not None]
    tempo = np.array([abs(found[name]["tempo_bpm"] - (videos[name].bpm or 0)) for name in heard])
    invented = [found[name]["tempo_bpm"] is not None for name in videos if name not in beats]
    return {
        "files": len(videos),
        "pictures": len(stills),
        "cuts_exact": _share(_cuts_right(found[name], truth) for name, truth in videos.items()),
        "brightness_error": max(abs(found[name]["brightness"] - truth.brightness) for name, truth in every.items()),
        "loudness_error_db": max(abs(found[name]["loudness_lufs"] - (videos[name].loudness_lufs or 0)) for name in loud),
        "tempo_error_bpm": float(tempo.max()),
        "tempo_within": float((tempo <= 1).mean()),
        "beats_missed": 1 - len(heard) / len(beats),
        "beats_invented": _share(invented),
        "sound_right": _share(found[name]["sound"] == truth.sound for name, truth in videos.items()),
        "text_right": _share((found[name]["text_share"] > 0.01) == truth.has_text for name, truth in every.items()),
        "duration_error_seconds": max(abs(found[name]["duration_seconds"] - (t.seconds or 0)) for name, t in videos.items()),
    }


def _measures(name: str, reading: Reading) -> Any:
    if reading.status != "read":
        raise RuntimeError(f"{name} was not read: {reading.reason}")
    return reading.measures


def _share(flags: Any) -> float:
    return float(np.mean(list(flags)))


def _cuts_right(found: Any, truth: Truth) -> bool:
    """Whether there are as many cuts as there should be, and the first is where it should be."""
    cuts = truth.cut_seconds or ()
    first = cuts[0] if cuts else (truth.seconds or 0)
    return found["cuts"] == len(cuts) and abs(found["first_scene_seconds"] - first) <= 0.2


def cost_figures(room: Path, videos: dict[str, Truth], minutes: float, side: int) -> dict[str, float]:
    """Time and memory of one process that decodes."""
    long = Film(
        320,
        180,
        25,
        round(minutes * 60 * 25),
        tuple(range(100, round(minutes * 60 * 25) - 100, 100)),
        "music",
        120,
        -20.0,
        None,
        (1, 1),
    )
    (room / "long.mp4").write_bytes(video(long)[0])
    cv2.imwrite(str(room / "large.png"), np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    limits = Limits(max_seconds=600, max_side=8_192, cpu_seconds=600, memory_mb=Media().memory_mb)
    with psutil.Popen(arguments(limits), stdin=-1, stdout=-1, stderr=-3, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()

        def ask(name: str) -> float:
            before = child.cpu_times()
            print(json.dumps(str(room / name)), file=child.stdin, flush=True)
            assert "measures" in json.loads(child.stdout.readline()), name
            after = child.cpu_times()
            return after.user + after.system - before.user - before.system

        names = list(videos)
        ask(names[0])
        spent = sum(ask(name) for name in names)
        ask("long.mp4")
        ask("large.png")
        peak = int(Path(f"/proc/{child.pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
        child.stdin.close()
    seconds = sum(videos[name].seconds or 0 for name in names)
    return {"seconds_per_minute": 60 * spent / seconds, "peak_mb": peak}


def bad_figures(room: Path, good: bytes) -> dict[str, float]:
    """What is said of files that cannot be read, and whether the file after each is."""
    bad = room / "bad"
    bad.mkdir()
    broken = bytearray(good)
    broken[200 : len(good) // 2] = bytes(len(good) // 2 - 200)
    (bad / "good.mp4").write_bytes(good)
    for name, content in {
        "half.mp4": good[: len(good) // 2],
        "head.mp4": good[:40],
        "broken.mp4": bytes(broken),
        "empty.mp4": b"",
        "noise.mp4": np.random.default_rng(0).bytes(10_000),
        "page.jpg": b"<html>Not found</html>",
        "list.mp4": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
    }.items():
        (bad / name).write_bytes(content)
    cv2.imwrite(str(bad / "wide.png"), np.zeros((4, 9_000), np.uint8))
    names = [*sorted(path.name for path in bad.iterdir() if path.name != "good.mp4"), "missing.mp4"]
    mixed = [each for name in names for each in (name, "good.mp4")]
    found = read_files(mixed, Media(workers=1), home=room / "bad-home", origin=Origin(folder=bad), progress=False)
    said = [
        one.status == "unknown" and bool(one.reason) and after.status == "read"
        for one, after in zip(found[::2], found[1::2], strict=True)
    ]
    short = Media(max_minutes=0.05, workers=1)
    (long,) = read_files(["good.mp4"], short, home=room / "long-home", origin=Origin(folder=bad), progress=False)
    said.append(long.status == "unknown" and bool(long.reason))
    os.mkfifo(bad / "pipe.mp4")
    with Decoders(Media(workers=1, seconds=5)) as decoders:
        decoders.measure(bad / "good.mp4")
        child = next(one for one in psutil.Process().children() if "media.decode" in " ".join(one.cmdline()))
        threading.Timer(0.5, child.kill).start()
        said.append("SIGKILL" in decoders.measure(bad / "pipe.mp4").get("reason", ""))
        said.append("measures" in decoders.measure(bad / "good.mp4"))
    with Decoders(Media(workers=1, seconds=2)) as decoders:
        said.append("more than 2 seconds" in decoders.measure(bad / "pipe.mp4").get("reason", ""))
    return {"bad_files": len(said), "unreadable_said_so": _share(said)}


def run(seed: int, films: int = 60, short: bool = False) -> dict[str, float]:
    """All figures; `short` takes seconds and shows that they can be computed, not what they are."""
    with tempfile.TemporaryDirectory(prefix="media-truth-") as folder:
        room = Path(folder)
        videos, stills = make(room, seed, plans(seed, films, short), 2 if short else films)
        good = (room / "0.mp4").read_bytes()
        return {
            **truth_figures(room, videos, stills),
            **cost_figures(room, videos, minutes=0.1 if short else 9.9, side=800 if short else 8_000),
            **bad_figures(room, good),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="Is what is measured in media files true?")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--films", type=int, default=60, help="videos, and as many pictures")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes, for tests")
    asked = parser.parse_args()
    print(json.dumps(run(asked.seed, asked.films, asked.short)))


if __name__ == "__main__":
    main()
