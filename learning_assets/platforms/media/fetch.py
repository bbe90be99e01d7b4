"""One file by its address, fetched from the platform's own hosts only.

What belongs here: getting a file within bounds. What does not: what is in it (`decode`).

An address comes from outside, so it is held to rules: https, hosts of the platform, redirects under the same rules, a size and a time.
"""

import hashlib
import os
import uuid
from pathlib import Path
from time import monotonic
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from learning_assets.settings import LOOPBACK

HOSTS = ("fbcdn.net", "facebook.com", "cdninstagram.com")
"""Hosts of the platform's media, with everything below them."""
_REDIRECTS = 5
_CHUNK = 64 * 1024
_CONNECT_SECONDS = 10.0
_SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
}


class MediaError(Exception):
    """A file was not fetched; the message says which rule or bound it broke, without the address's query, which may be signed."""


def fetch(url: str, folder: Path, *, max_bytes: int, seconds: float, loopback: bool = False) -> Path:
    """Fetch the file at `url` into `folder`, named by the hash of its content; the same content is the same file.

    Parameters
    ----------
    max_bytes : size above which it is given up.
    seconds : time in which all of it must have come.
    loopback : also allow plain http to this machine, as the simulated platform needs.

    Raises
    ------
    MediaError : the address is not allowed, the host refuses, or a bound is passed. Nothing is left in `folder` then.
    """
    deadline = monotonic() + seconds
    with requests.Session() as session:
        session.trust_env = not loopback
        for _ in range(_REDIRECTS + 1):
            _allow(url, loopback)
            try:
                response = session.get(
                    url,
                    stream=True,
                    allow_redirects=False,
                    headers={"Accept-Encoding": "identity"},
                    timeout=(min(_CONNECT_SECONDS, seconds), max(deadline - monotonic(), 0.1)),
                )
            except requests.RequestException as error:
                failure = f"{_shown(url)} cannot be fetched: {type(error).__name__}."
            else:
                with response:
                    if not response.is_redirect:
                        return _save(response, url, folder, max_bytes, deadline, seconds)
                    url = urljoin(url, response.headers["location"])
                continue
            raise MediaError(failure)
    raise MediaError(f"{_shown(url)} was redirected more than {_REDIRECTS} times.")


def _allow(url: str, loopback: bool) -> None:
    """Raise MediaError unless the rules allow the address."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower().rstrip("."), parts.port
    except ValueError:
        raise MediaError("The address of a media file is not one.") from None
    if loopback and parts.scheme in ("http", "https") and host in LOOPBACK:
        return
    if parts.scheme != "https":
        raise MediaError(f"{_shown(url)}: media are fetched by https only, not by {parts.scheme or 'no scheme'}.")
    if parts.username is not None or parts.password is not None or port not in (None, 443):
        raise MediaError(f"{_shown(url)}: an address of media has no user and no port of its own.")
    if not any(host == known or host.endswith(f".{known}") for known in HOSTS):
        raise MediaError(f"{_shown(url)}: {host or 'no host'} is not a media host of the platform ({', '.join(HOSTS)}).")


def _save(response: requests.Response, url: str, folder: Path, max_bytes: int, deadline: float, seconds: float) -> Path:
    """Write the body while it comes, and give it its name."""
    if response.status_code != 200:
        raise MediaError(
            f"{_shown(url)}: the host answered {response.status_code}. Addresses of media expire; fetch the catalog again."
        )
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and not kind.startswith(("image/", "video/", "audio/")) and kind != "application/octet-stream":
        raise MediaError(f"{_shown(url)}: the host sent {kind}, which is no medium.")
    told = response.headers.get("content-length", "")
    if told.isdigit() and int(told) > max_bytes:
        raise MediaError(f"{_shown(url)} has {int(told):,} bytes, more than the {max_bytes:,} that are allowed.")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp"
    digest, size = hashlib.sha256(), 0
    try:
        with temporary.open("wb") as file:
            try:
                # One read of the socket at a time: a body that drips would else outlive every deadline.
                while chunk := response.raw.read1(_CHUNK):
                    size += len(chunk)
                    if size > max_bytes:
                        raise MediaError(f"{_shown(url)} has more than the {max_bytes:,} bytes that are allowed.")
                    if monotonic() > deadline:
                        raise MediaError(f"{_shown(url)} did not come within {seconds:g} seconds.")
                    digest.update(chunk)
                    file.write(chunk)
            except OSError as error:
                broken = type(error).__name__
            except urllib3.exceptions.HTTPError as error:
                broken = type(error).__name__
            else:
                broken = None
        if broken is not None:
            late = f"did not come within {seconds:g} seconds" if monotonic() > deadline - 0.05 else f"broke off: {broken}"
            raise MediaError(f"{_shown(url)} {late}.")
        if told.isdigit() and size != int(told):
            raise MediaError(f"{_shown(url)} broke off after {size:,} of {int(told):,} bytes.")
        if size == 0:
            raise MediaError(f"{_shown(url)} is empty.")
        suffix = _SUFFIXES.get(kind) or Path(urlsplit(url).path).suffix.lower()
        path = folder / f"{digest.hexdigest()[:40]}{suffix if suffix in _SUFFIXES.values() else ''}"
        temporary.replace(path)
        return path
    finally:
        temporary.unlink(missing_ok=True)


def _shown(url: str) -> str:
    """The address without its query."""
    return url.partition("?")[0].partition("#")[0]
