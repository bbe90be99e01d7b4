"""Media files in all their badness: each is read, or unknown with the reason, and the others go on."""

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from learning_assets.learning import footage
from learning_assets.platforms.media import decode, reading
from learning_assets.platforms.media.decode import Limits, Unreadable, measure
from learning_assets.platforms.media.reading import DecoderError, Decoders, Origin, Reading, read_files
from learning_assets.settings import Media, Settings
from learning_assets_tests.clips import encode, textures, tone

LIMITS = Limits(max_seconds=600, max_side=8_192, cpu_seconds=60, memory_mb=2_048)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of two seconds each, with a tone."""
    pictures = [picture for picture in textures(3) for _ in range(20)]
    return encode(tmp_path_factory.mktemp("clips") / "good.mp4", pictures, tone(6))


def reason(path: Path, **limits: Any) -> str:
    with pytest.raises(Unreadable) as error:
        measure(path, Limits(**{"max_seconds": 600, "max_side": 8_192, "cpu_seconds": 60, "memory_mb": 2_048, **limits}))
    return str(error.value)


def test_a_clip_is_measured(good: Path):
    found = measure(good, LIMITS)
    assert list(found) == footage.MEASURES.names()
    assert (found["media_kind"], found["cuts"], found["sound"]) == ("video", 2, "unknown")
    assert found["duration_seconds"] == pytest.approx(6, abs=0.05)
    assert found["first_scene_seconds"] == pytest.approx(2, abs=0.11)
    assert found["loudness_lufs"] == pytest.approx(-20, abs=0.2)
    assert found["brightness"] == pytest.approx(0.5, abs=0.05)


def test_a_clip_without_sound_is_silent(tmp_path: Path):
    found = measure(encode(tmp_path / "silent.mp4", textures(1) * 20), LIMITS)
    assert (found["sound"], found["loudness_lufs"], found["cuts"]) == ("silent", None, 0)


def test_one_frame(tmp_path: Path):
    found = measure(encode(tmp_path / "one.mp4", textures(1)), LIMITS)
    assert (found["media_kind"], found["cuts"], found["motion"]) == ("video", 0, None)
    assert found["duration_seconds"] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("name", ["sound.m4a", "sound.mp3"])
def test_sound_alone(name: str, tmp_path: Path):
    found = measure(encode(tmp_path / name, samples=tone(3)), LIMITS)
    assert (found["media_kind"], found["brightness"], found["cuts"]) == ("audio", None, None)
    # The encoder of mp3 makes everything half a decibel quieter.
    assert found["loudness_lufs"] == pytest.approx(-20, abs=0.6)


def test_frames_at_uneven_times_count_as_long_as_they_show(tmp_path: Path):
    """Of 12 s the first scene shows for 9 with two frames, the second for 3 with many."""
    first, second = textures(2)
    seconds = [0, 4, *np.arange(9, 12, 0.05)]
    path = encode(tmp_path / "uneven.mkv", [first, first, *[second] * (len(seconds) - 2)], seconds=seconds)
    found = measure(path, LIMITS)
    assert (found["cuts"], found["first_scene_seconds"]) == (1, pytest.approx(9, abs=0.11))
    assert found["duration_seconds"] == pytest.approx(12, abs=0.1)
    shares = [picture @ np.array([0.2126, 0.7152, 0.0722]) / 255 for picture in (first, second)]
    assert found["brightness"] == pytest.approx((3 * shares[0].mean() + shares[1].mean()) / 4, abs=0.01)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_pictures(suffix: str, tmp_path: Path):
    path = tmp_path / f"picture%03d.{suffix}"
    cv2.imwrite(str(path), textures(1)[0])
    found = measure(path, LIMITS)
    assert (found["media_kind"], found["sound"], found["duration_seconds"], found["motion"]) == ("image", None, None, None)
    assert found["brightness"] == pytest.approx(0.5, abs=0.1)


def test_a_moving_gif_is_a_clip_and_a_still_one_a_picture(tmp_path: Path):
    moving = encode(tmp_path / "moving.gif", [one for one in textures(2) for _ in range(15)], codec="gif")
    found = measure(moving, LIMITS)
    assert (found["media_kind"], found["cuts"], found["sound"]) == ("video", 1, "silent")
    assert measure(encode(tmp_path / "still.gif", textures(1), codec="gif"), LIMITS)["media_kind"] == "image"


def test_a_moving_webp_is_measured_or_said_to_be_unreadable(tmp_path: Path):
    path = tmp_path / "moving.webp"
    animation = cv2.Animation()
    animation.frames, animation.durations = [*textures(3)], [500, 500, 500]
    assert cv2.imwriteanimation(str(path), animation)
    try:
        assert measure(path, LIMITS)["media_kind"] in ("video", "image")
    except Unreadable as error:
        assert "damaged, or no picture" in str(error) or "none of its pictures" in str(error)  # noqa: PT017


def test_text_over_a_clip_is_seen(tmp_path: Path):
    plain = np.full((180, 320, 3), (120, 140, 90), np.uint8)
    written = cv2.putText(
        plain.copy(), "SHOP NOW", (20, 100), cv2.FONT_HERSHEY_DUPLEX, 1.6, (255, 255, 255), 3, cv2.LINE_AA
    ).astype(np.uint8)
    shares = [
        measure(encode(tmp_path / f"{n}.mp4", [one] * 20), LIMITS)["text_share"] for n, one in enumerate((plain, written))
    ]
    assert shares[0] == 0
    assert isinstance(shares[1], float)
    assert shares[1] > 0.05


# What cannot be read.


def damaged(good: Path, how: str, path: Path) -> Path:
    content = bytearray(good.read_bytes())
    if how == "noise":
        content = bytearray(np.random.default_rng(0).bytes(5_000))
    elif how == "text":
        content = bytearray(b"<html>Not found</html>" * 50)
    elif how == "cut off":
        del content[len(content) // 2 :]
    elif how == "head only":
        del content[40:]
    elif how == "broken":
        # The pictures' own bytes, which come before the index at the end.
        content[200 : len(content) - 6_000] = bytes(len(content) - 6_200)
    elif how == "playlist":
        content = bytearray(b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    elif how == "list":
        content = bytearray(f"ffconcat version 1.0\nfile {good}\n".encode())
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("how", ["noise", "text", "cut off", "head only", "broken", "playlist", "list"])
def test_what_is_damaged_or_no_medium_says_so(how: str, good: Path, tmp_path: Path):
    said = reason(damaged(good, how, tmp_path / "bad.mp4"))
    assert said.startswith("it is damaged")
    assert str(tmp_path) not in said


def test_a_clip_that_breaks_off_says_where(tmp_path: Path):
    whole = encode(tmp_path / "whole.avi", [one for one in textures(3) for _ in range(20)], codec="mpeg4")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert reason(cut).startswith("it is damaged: it breaks off after ")


def test_limits(good: Path, tmp_path: Path):
    assert reason(good, max_seconds=5) == "it lasts 6 seconds, more than 5"
    assert reason(good, max_side=100) == "its pictures have 160 x 90 pixels, more than 100 a side"
    wide = tmp_path / "wide.png"
    cv2.imwrite(str(wide), np.zeros((4, 9_000, 3), np.uint8))
    assert reason(wide) == "its pictures have 9,000 x 4 pixels, more than 8,192 a side"


# Many files.


def read(folder: Path, names: list[str], home: Path | None = None, **settings: Any) -> list[Reading]:
    chosen = Media(**{"workers": 1, **settings})
    return read_files(names, chosen, home=home or folder / "home", origin=Origin(folder=folder), progress=False)


def test_bad_files_do_not_stop_the_others(good: Path, tmp_path: Path):
    (tmp_path / "good.mp4").write_bytes(good.read_bytes())
    (tmp_path / "empty.mp4").touch()
    damaged(good, "noise", tmp_path / "noise.mp4")
    names = [
        "good.mp4",
        "missing.mp4",
        "empty.mp4",
        "noise.mp4",
        "../good.mp4",
        "http://127.0.0.1:9/a.mp4?sig=secret",
        "good.mp4",
    ]
    found = read(tmp_path, names)
    assert [one.status for one in found] == ["read", *["unknown"] * 5, "read"]
    assert found[0].measures == found[-1].measures
    assert [one.reason for one in found[1:-1]] == [
        "missing.mp4 is not in the folder of the exports",
        "the file is empty",
        found[3].reason,
        "good.mp4 lies outside the folder of the exports; put it there",
        "http://127.0.0.1:9/a.mp4: media are fetched by https only, not by http.",
    ]
    assert [one.lasting for one in found] == [True, False, False, True, False, False, True]
    assert not list((tmp_path / "home" / "media").glob("incoming-*"))


def test_what_a_killed_process_had_fetched_is_removed(tmp_path: Path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, busy = (tmp_path / "media" / f"incoming-{pid}-x" for pid in (gone.pid, os.getpid()))
    for folder in (left, busy):
        folder.mkdir(parents=True)
        (folder / "file.mp4").touch()
    read_files([], Media(), home=tmp_path, origin=Origin())
    assert (left.exists(), busy.exists()) == (False, True)


def test_a_file_that_is_too_large_is_not_opened(good: Path):
    (found,) = read(good.parent, ["good.mp4"], max_mb=0.001)
    assert found.reason == "the file has 0 MB, more than 0.001 (LEARNING_MEDIA_MAX_MB)"


def test_a_link_does_not_lead_out_of_the_folder(good: Path, tmp_path: Path):
    (tmp_path / "link.mp4").symlink_to(good)
    (found,) = read(tmp_path, ["link.mp4"])
    assert found.reason == "good.mp4 lies outside the folder of the exports; put it there"


def test_a_source_without_a_folder_reads_no_paths(good: Path, tmp_path: Path):
    (found,) = read_files([str(good)], Media(), home=tmp_path, origin=Origin(), progress=False)
    assert found.reason == "its address is no https address, and this source has no folder of files"


def test_what_was_read_is_known_again_by_its_content(good: Path, tmp_path: Path):
    first, again = (read(good.parent, ["good.mp4"], home=tmp_path)[0] for _ in range(2))
    (note,) = (tmp_path / "media").rglob("*.json")
    assert note.stem == first.content
    assert first == again
    # It is not decoded again: what is noted is what is told.
    answer = json.loads(note.read_text())
    answer["measures"]["brightness"] = 0.123
    note.write_text(json.dumps(answer))
    assert read(good.parent, ["good.mp4"], home=tmp_path)[0].measures["brightness"] == 0.123
    # A note that a crash left behind is none.
    note.write_text(note.read_text()[:20])
    assert read(good.parent, ["good.mp4"], home=tmp_path)[0] == first


def test_what_passes_a_limit_is_not_noted(good: Path, tmp_path: Path):
    (found,) = read(good.parent, ["good.mp4"], home=tmp_path, max_pixels=100)
    assert found.reason == "its pictures have 160 x 90 pixels, more than 100 a side"
    assert read(good.parent, ["good.mp4"], home=tmp_path)[0].status == "read"


def test_a_worker_that_is_killed_is_replaced(good: Path, tmp_path: Path):
    """The file that it was at is unknown, the next one is read."""
    with Decoders(Media(workers=1)) as decoders:
        assert "measures" in decoders.measure(good)
        (child,) = children()
        # It reads the pipe's other end: opening that blocks until it is killed.
        pipe = tmp_path / "pipe.mp4"
        os.mkfifo(pipe)
        threading.Timer(0.3, child.kill).start()
        assert decoders.measure(pipe) == {"reason": "the decoder broke off over it (SIGKILL)", "final": False}
        assert "measures" in decoders.measure(good)
        assert [one.pid for one in children()] != [child.pid]
    assert children() == []


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with Decoders(Media(workers=1, seconds=0.3)) as decoders:
        answer = decoders.measure(tmp_path / "pipe.mp4")
    assert answer == {"reason": "decoding it takes more than 0.3 seconds (LEARNING_MEDIA_SECONDS)", "final": False}
    assert children() == []


def children() -> list[psutil.Process]:
    """Decoding processes of this one."""
    return [one for one in psutil.Process().children() if "learning_assets.platforms.media.decode" in " ".join(one.cmdline())]


def answers(path: Path, **limits: Any) -> subprocess.CompletedProcess[str]:
    """The decoding process, asked about one file."""
    command = decode.arguments(
        Limits(**{"max_seconds": 600, "max_side": 8_192, "cpu_seconds": 60, "memory_mb": 2_048, **limits})
    )
    return subprocess.run(command, input=json.dumps(str(path)) + "\n", capture_output=True, text=True, timeout=120, check=False)


def test_memory_is_limited(tmp_path: Path):
    large = tmp_path / "large.png"
    cv2.imwrite(str(large), np.zeros((8_000, 8_000, 3), np.uint8))
    told = json.loads(answers(large, memory_mb=700).stdout.splitlines()[-1])
    assert told == {"reason": "decoding it takes more than 700 MB of memory", "final": False}


def test_it_answers_on_a_line_of_its_own_and_says_nothing_else(good: Path):
    done = answers(good)
    ready, answer = done.stdout.splitlines()
    assert json.loads(ready) == {"ready": True}
    assert json.loads(answer)["measures"]["cuts"] == 2
    assert done.returncode == 0


def test_a_decoder_that_does_not_start_says_the_remedy(good: Path, tmp_path: Path):
    with pytest.raises(DecoderError, match=r"does not start .*LEARNING_MEDIA_MEMORY_MB"):
        read(good.parent, ["good.mp4"], home=tmp_path, memory_mb=30)


def test_without_the_extra_nothing_is_read(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    find = reading.importlib.util.find_spec
    monkeypatch.setattr(reading.importlib.util, "find_spec", lambda name: None if name == "av" else find(name))
    with pytest.raises(DecoderError, match=r"install learning_assets\[media\]"):
        read(good.parent, ["good.mp4"], home=tmp_path)


@pytest.mark.parametrize(
    ("chosen", "origin"),
    [
        ({}, Origin(None, loopback=True)),
        ({"source": "meta"}, Origin(None, loopback=False)),
        ({"source": "meta", "meta": {"graph_url": "http://127.0.0.1:9"}}, Origin(None, loopback=True)),
        ({"source": "export", "export": {"path": "/exports"}}, Origin(Path("/exports"), loopback=False)),
        ({"source": "warehouse"}, Origin(None, loopback=False)),
    ],
)
def test_where_files_may_come_from(chosen: dict[str, Any], origin: Origin):
    assert Origin.of(Settings(**chosen)) == origin


def test_the_decoder_gets_no_secrets(monkeypatch: pytest.MonkeyPatch, good: Path):
    monkeypatch.setenv("LEARNING_META_ACCESS_TOKEN", "secret")
    with Decoders(Media(workers=1)) as decoders:
        decoders.measure(good)
        (child,) = children()
        assert "secret" not in child.environ().values()
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_AS)[0] == 2_048 * 1024**2
