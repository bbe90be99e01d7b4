"""A small server that speaks the Messages API on loopback, with faults, and keeps every request that it got.

What belongs here: what the service would answer. What does not: what is expected of the client (the tests).
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "sk-ant-test-key"
INPUT_TOKENS, OUTPUT_TOKENS = 1_000, 200

Fault = Callable[["MessagesApi", dict[str, Any]], Response | None]
"""What comes in place of a good answer to a request's body, or None for the good one."""


@dataclass(slots=True)
class MessagesApi:
    """The server's state; the tests set `faults`, which are used up one a request, and `niches`, which it answers
    of every account, and read `bodies` (of questions about hook types), `niche_bodies` and `headers`."""

    url: str = ""
    faults: list[Fault] = field(default_factory=list[Fault])
    always: Fault | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    niche_bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    niches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    raw: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def forget(self) -> None:
        """Have no faults and no requests."""
        self.faults, self.always, self.bodies, self.raw, self.headers = [], None, [], [], []
        self.niche_bodies, self.niches = [], []

    @property
    def openings(self) -> list[str]:
        """The openings of all ads that were sent, request by request."""
        return [ad["opening"] for body in self.bodies for ad in ads_of(body)]

    async def answer(self, request: Request) -> Response:
        """One call of /v1/messages."""
        self.raw.append((await request.body()).decode())
        body = json.loads(self.raw[-1])
        about_niches = '"niches"' in self.raw[-1]
        (self.niche_bodies if about_niches else self.bodies).append(body)
        self.headers.append(dict(request.headers))
        # the API takes a key in either header
        if KEY not in (request.headers.get("x-api-key"), request.headers.get("authorization", "").removeprefix("Bearer ")):
            return error(401, "authentication_error")
        fault = self.faults.pop(0) if self.faults else self.always
        # a fault may sleep, and the server goes on meanwhile
        found = await asyncio.to_thread(fault, self, body) if fault else None
        answer = [{"number": ad["number"], "niches": self.niches} for ad in ads_of(body)] if about_niches else labels(body)
        return found or message(json.dumps({"ads": answer}))


def ads_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The ads of a request."""
    return json.loads(body["messages"][0]["content"])["ads"]


def labels(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What this server takes for hook types: an opening with a question mark is a question, surely, and a story, hardly; all others are none."""
    return [
        {
            "number": ad["number"],
            "hooks": [{"type": "story", "confidence": 0.2}, {"type": "question", "confidence": 0.9}]
            if "?" in ad["opening"]
            else [],
        }
        for ad in ads_of(body)
    ]


def message(text: str, stop_reason: str = "end_turn") -> Response:
    """An answer as the API gives it."""
    return JSONResponse(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "a-model",
            "content": [{"type": "text", "text": text}],
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
        }
    )


def error(status: int, kind: str, **headers: str) -> Response:
    """An error as the API gives it."""
    return JSONResponse({"type": "error", "error": {"type": kind, "message": "words of the service"}}, status, headers=headers)


def fails(status: int, kind: str, **headers: str) -> Fault:
    """A fault of HTTP; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _api, _body: error(status, kind, **named)


def says(text: str, stop_reason: str = "end_turn") -> Fault:
    """A well-formed message with a text of its own."""
    return lambda _api, _body: message(text, stop_reason)


def sends(body: bytes, content_type: str = "application/json") -> Fault:
    """A body of its own with status 200."""
    return lambda _api, _body: Response(body, media_type=content_type)


def slow(seconds: float) -> Fault:
    """The good answer, late."""

    def wait(_api: MessagesApi, _body: dict[str, Any]) -> None:
        time.sleep(seconds)

    return wait


def drips(seconds: float) -> Fault:
    """An answer that comes byte by byte, each in good time, and never ends."""

    async def drops() -> AsyncIterator[bytes]:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            yield b" "
            await asyncio.sleep(0.02)

    return lambda _api, _body: StreamingResponse(drops(), media_type="application/json")


def moves(url: str) -> Fault:
    """A redirect to another place."""
    return lambda _api, _body: Response(status_code=307, headers={"location": url})


@contextmanager
def serve() -> Iterator[MessagesApi]:
    """The server on a free port of loopback, for as long as the context lasts."""
    api = MessagesApi()
    app = Starlette(routes=[Route("/v1/messages", api.answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    api.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield api
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(20)
