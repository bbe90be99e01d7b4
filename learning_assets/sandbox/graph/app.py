"""The server's transport: HTTP in and out, media, and the control API under /sandbox/.

What belongs here: reading requests, sending answers (late, or not at all, where a fault says so), and steering the server. What does
not: the Graph API itself (`answers`), and the server's process (`sandbox.process`).
"""

import asyncio
import hmac
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from learning_assets.sandbox.graph.answers import Graph, Reply, Request
from learning_assets.sandbox.graph.files import Files, NoMedia

TRANSPORT = "learning_assets.transport"


class Protocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, that hands the application its connection, so that it can be closed without a reply."""

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[typeddict-unknown-key]


class Server:
    """The application: the Graph API, media, and its control.

    Parameters
    ----------
    graph : the API.
    about : what the control API tells about the server (its market).
    """

    def __init__(self, graph: Graph, about: dict[str, Any]) -> None:
        self.graph = graph
        self.about = about
        self.files = Files(graph.world)
        self.last_request = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        self.last_request = time.monotonic()
        path: str = scope["path"]
        params = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        body = await _body(receive)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        if path.startswith("/media/"):
            # Making a file takes a second, in which others want to be answered.
            await _send(send, await asyncio.to_thread(self._media, path.removeprefix("/media/")))
            return
        bearer = headers.get("authorization", "")
        bearer = bearer[7:] if bearer.lower().startswith("bearer ") else None
        if path.startswith("/sandbox/"):
            await _send(send, self._control(scope["method"], path, body, params.get("access_token") or bearer or ""))
            return
        if body and "json" in headers.get("content-type", ""):
            params |= {k: v if isinstance(v, str) else json.dumps(v) for k, v in json.loads(body).items()}
        elif body:
            params |= dict(parse_qsl(body.decode(), keep_blank_values=True))
        reply = self.graph.answer(Request(scope["method"], path, params, bearer))
        if reply.seconds:
            await asyncio.sleep(reply.seconds)
        if reply.dropped:
            scope[TRANSPORT].abort()
            # The connection's end is seen in the next turn of the loop; until then there is nobody to answer.
            await asyncio.sleep(0.05)
            return
        await _send(send, reply)

    def _media(self, name: str) -> Reply:
        try:
            content, kind = self.files.get(name)
        except NoMedia as error:
            return Reply(404, str(error).encode(), {"content-type": "text/plain"})
        return Reply(200, content, {"content-type": kind})

    def _control(self, method: str, path: str, body: bytes, token: str) -> Reply:
        if not hmac.compare_digest(token.encode(), self.graph.token.encode()):
            return _json(403, {"error": "the control API needs the server's token"})
        routes: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "/sandbox/clock"): lambda _: {"now": self.graph.world.clock.now().isoformat(), **self.about},
            ("POST", "/sandbox/clock"): self._set_clock,
            ("POST", "/sandbox/faults"): self._switch_on,
            ("DELETE", "/sandbox/faults"): lambda _: self.graph.faults.clear() or {},
            ("POST", "/sandbox/limits"): self._set_limits,
            ("GET", "/sandbox/requests"): lambda _: {"requests": self.graph.log},
            ("DELETE", "/sandbox/requests"): lambda _: self.graph.log.clear() or {},
        }
        route = routes.get((method, path))
        if route is None:
            return _json(404, {"error": f"there is no {method} {path}"})
        try:
            return _json(200, route(json.loads(body) if body else {}))
        except (ValueError, KeyError, TypeError) as error:
            return _json(400, {"error": str(error)})

    def _set_clock(self, asked: dict[str, Any]) -> dict[str, Any]:
        clock = self.graph.world.clock
        if "seconds" in asked:
            clock.advance(timedelta(seconds=float(asked["seconds"])))
        else:
            clock.set(datetime.fromisoformat(asked["to"]) if asked["to"] else None)
        return {"now": clock.now().isoformat()}

    def _switch_on(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.graph.faults.switch_on(
            str(asked["name"]),
            asked.get("account"),
            int(asked.get("after", 0)),
            asked.get("times", 1),
            asked.get("options", {}),
        )
        return {}

    def _set_limits(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.graph.usage.quota = int(asked.get("quota", self.graph.usage.quota))
        self.graph.report_polls = int(asked.get("report_polls", self.graph.report_polls))
        return {}


def _json(status: int, body: Any) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"content-type": "application/json"})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _send(send: Send, reply: Reply) -> None:
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def application(server: Server) -> ASGIApp:
    """The server as an application; a fault of its own is an answer with status 500, logged by uvicorn."""
    from starlette.middleware.errors import ServerErrorMiddleware

    return ServerErrorMiddleware(server)
