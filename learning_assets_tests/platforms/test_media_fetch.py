"""Media are fetched under rules: hosts, redirects, size and time."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from learning_assets.platforms.media.fetch import MediaError, fetch

PICTURE = b"\x89PNG" + bytes(range(256)) * 40


class Host(BaseHTTPRequestHandler):
    """A host of media with bad habits."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/moved":
            self._head(302, location=f"http://127.0.0.1:{self.headers['host'].partition(':')[2]}/picture.png")
        elif path == "/away":
            self._head(302, location="http://example.com/picture.png")
        elif path == "/circle":
            self._head(302, location="/circle")
        elif path == "/gone":
            self._head(403)
        elif path == "/page":
            self._head(200, **{"content-type": "text/html; charset=utf-8", "content-length": "2"})
            self.wfile.write(b"hi")
        elif path == "/endless":
            self._head(200, **{"content-type": "video/mp4"})
            self._pour(lambda: self.wfile.write(PICTURE))
        elif path == "/drips":
            self._head(200, **{"content-type": "video/mp4", "content-length": "1000"})
            self._pour(lambda: (self.wfile.write(b"x"), self.wfile.flush(), time.sleep(0.05)))
        elif path == "/broken":
            self._head(200, **{"content-type": "image/png", "content-length": str(2 * len(PICTURE))})
            self.wfile.write(PICTURE)
        elif path == "/empty":
            self._head(200, **{"content-type": "image/png", "content-length": "0"})
        else:
            self._head(200, **{"content-type": "image/png", "content-length": str(len(PICTURE))})
            self.wfile.write(PICTURE)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _pour(self, pour) -> None:
        try:
            for _ in range(10_000):
                pour()
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: ARG002
        return


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def get(url: str, folder: Path, max_bytes: int = 100_000, seconds: float = 5, loopback: bool = True) -> Path:
    return fetch(url, folder, max_bytes=max_bytes, seconds=seconds, loopback=loopback)


def test_a_file_is_named_by_its_content(host: str, tmp_path: Path):
    first, moved = get(f"{host}/picture.png?oe=1", tmp_path), get(f"{host}/moved", tmp_path)
    assert first == moved
    assert first.read_bytes() == PICTURE
    assert first.suffix == ".png"
    assert [p.name for p in tmp_path.iterdir()] == [first.name]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (
            "http://scontent.fbcdn.net/a.jpg?sig=1",
            "http://scontent.fbcdn.net/a.jpg: media are fetched by https only, not by http.",
        ),
        (
            "https://evil.example/a.jpg",
            "https://evil.example/a.jpg: evil.example is not a media host of the platform (fbcdn.net, facebook.com, cdninstagram.com).",
        ),
        (
            "https://notfbcdn.net/a.jpg",
            "https://notfbcdn.net/a.jpg: notfbcdn.net is not a media host of the platform (fbcdn.net, facebook.com, cdninstagram.com).",
        ),
        (
            "https://fbcdn.net.evil.example/a.jpg",
            "https://fbcdn.net.evil.example/a.jpg: fbcdn.net.evil.example is not a media host of the platform "
            "(fbcdn.net, facebook.com, cdninstagram.com).",
        ),
        (
            "https://user@scontent.fbcdn.net/a.jpg",
            "https://user@scontent.fbcdn.net/a.jpg: an address of media has no user and no port of its own.",
        ),
        (
            "https://scontent.fbcdn.net:8443/a.jpg",
            "https://scontent.fbcdn.net:8443/a.jpg: an address of media has no user and no port of its own.",
        ),
        ("file:///etc/passwd", "file:///etc/passwd: media are fetched by https only, not by file."),
        ("a.jpg", "a.jpg: media are fetched by https only, not by no scheme."),
    ],
)
def test_only_the_platforms_hosts(url: str, says: str, tmp_path: Path):
    for loopback in (True, False):
        with pytest.raises(MediaError) as error:
            get(url, tmp_path, loopback=loopback)
        assert str(error.value) == says


def test_the_loopback_only_where_it_is_allowed(host: str, tmp_path: Path):
    with pytest.raises(MediaError, match="by https only"):
        get(f"{host}/picture.png", tmp_path, loopback=False)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/away", "http://example.com/picture.png: media are fetched by https only, not by http."),
        ("/circle", "{}/circle was redirected more than 5 times."),
        ("/gone", "{}/gone: the host answered 403. Addresses of media expire; fetch the catalog again."),
        ("/page", "{}/page: the host sent text/html, which is no medium."),
        ("/endless", "{}/endless has more than the 100,000 bytes that are allowed."),
        ("/broken", "{}/broken broke off"),
        ("/empty", "{}/empty is empty."),
    ],
)
def test_what_is_given_up(host: str, path: str, says: str, tmp_path: Path):
    with pytest.raises(MediaError) as error:
        get(f"{host}{path}?token=secret", tmp_path)
    assert str(error.value).startswith(says.format(host))
    assert "secret" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_size_is_told_before_it_comes(host: str, tmp_path: Path):
    with pytest.raises(MediaError) as error:
        get(f"{host}/picture.png", tmp_path, max_bytes=1_000)
    assert str(error.value) == f"{host}/picture.png has 10,244 bytes, more than the 1,000 that are allowed."


def test_a_body_that_drips_does_not_outlive_its_time(host: str, tmp_path: Path):
    begun = time.monotonic()
    with pytest.raises(MediaError) as error:
        get(f"{host}/drips", tmp_path, seconds=0.5)
    assert time.monotonic() - begun < 10
    assert str(error.value) == f"{host}/drips did not come within 0.5 seconds."


def test_a_host_that_is_not_there(tmp_path: Path):
    with pytest.raises(MediaError) as error:
        get("http://127.0.0.1:9/a.png?sig=secret", tmp_path)
    assert str(error.value) == "http://127.0.0.1:9/a.png cannot be fetched: ConnectionError."
