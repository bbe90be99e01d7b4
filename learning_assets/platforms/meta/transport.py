"""Calls to a Graph server: the official SDK as transport, with our own bounds, retries, pager and secrecy around it.

What belongs here: one session and its timeouts, sending a call, trying reads again, waiting for rate limits, following pages, batches.
What does not: what is asked (`reports`, `catalog`) and what the answers mean (`facts`).

The SDK is used as it is, one session per source and never its global default. It has no retries, takes an HTML page for a success, and
stops paging at an empty page that has a next one; so what came back is read from the HTTP answer itself, and pages are followed here.
"""

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import requests
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookError
from facebook_business.session import FacebookSession
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from learning_assets.platforms.meta import errors, limits
from learning_assets.platforms.source import SourceError
from learning_assets.settings import LOOPBACK, Meta

LEAST_ROWS = 25
"""Rows a page below which a smaller page is not tried."""
MOST_PAGES = 5_000
"""Pages of one answer, above which the pager gives up."""
MOST_ALIKE = 100
"""Pages with the same rows (or none) in a row, above which the pager gives up: cursors that move on over nothing new."""
MOST_REFUSALS = 50
"""Refusals by rate limits of one call, above which it is given up however short the waits were."""
LONGEST_BACKOFF = 60.0
BATCH = 50
"""Calls that the platform takes in one batch."""

Params = dict[str, Any]


class Interrupted(Exception):
    """The fetch was called off while it waited."""


class Fetch:
    """What the threads of one fetch share: whether it was called off, whether the token was refused, whether anything answered at all."""

    def __init__(self) -> None:
        self._off = threading.Event()
        self.token: errors.TokenRefused | None = None
        self.answered = False
        self.unreachable: errors.Transient | None = None

    def call_off(self) -> None:
        """End every wait; the threads then stop."""
        self._off.set()

    def sleep(self, seconds: float) -> None:
        """Wait, or raise Interrupted when the fetch is called off."""
        if self._off.wait(seconds):
            raise Interrupted

    def check(self) -> None:
        """Raise what concerns every account: a token that was refused, a platform that does not answer."""
        if self._off.is_set():
            raise Interrupted
        if self.token is not None:
            raise errors.TokenRefused(
                self.token.says, code=self.token.code, subcode=self.token.subcode, status=self.token.status
            )
        if self.unreachable is not None and not self.answered:
            raise errors.Transient(self.unreachable.says, reached=False)


@dataclass(slots=True)
class Scope:
    """One account's part of a fetch: what was asked on its behalf, and how long it may still wait for rate limits (seconds).

    `account` is None for calls that concern none. Used by one thread at a time.
    """

    fetch: Fetch
    account: str | None
    allowance: float
    requests: int = 0
    pages: int = 0
    throttle_pct: float | None = None
    api_version: str | None = None
    jobs: list[str] = field(default_factory=list[str])
    told_wait: float | None = None
    """Seconds that the last refusal's headers asked to wait, NULL where they did not say."""

    def spend(self, seconds: float) -> None:
        """Wait for a rate limit, out of the allowance."""
        self.allowance -= seconds
        self.fetch.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of HTTP; `body` is parsed JSON, or text where it is none."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Graph:
    """The Graph server of the settings. Safe for threads: at most `settings.concurrency` requests are under way at a time.

    Raises SourceError when it is made without a token.
    """

    def __init__(self, settings: Meta) -> None:
        if settings.access_token is None or not settings.access_token.get_secret_value().strip():
            raise SourceError(
                "LEARNING_SOURCE=meta needs LEARNING_META_ACCESS_TOKEN: the token of a system user with the permission ads_read. "
                "`learning-assets connect` walks through it."
            )
        self.settings = settings
        token = settings.access_token.get_secret_value().strip()
        secret = settings.app_secret.get_secret_value().strip() if settings.app_secret else None
        session = FacebookSession(
            access_token=token, app_secret=secret or None, timeout=(settings.connect_seconds, settings.read_seconds)
        )
        session.GRAPH = settings.graph_url  # pyright: ignore[reportAttributeAccessIssue]
        # A proxy of the environment would be asked for the loopback, too.
        session.requests.trust_env = urlsplit(settings.graph_url).hostname not in LOOPBACK
        pool = HTTPAdapter(pool_maxsize=settings.concurrency)
        session.requests.mount("https://", pool)
        session.requests.mount("http://", pool)
        self._seen = threading.local()
        session.requests.hooks["response"] = [self._remember]
        self._api = FacebookAdsApi(session, api_version=settings.api_version)
        self._slots = threading.BoundedSemaphore(settings.concurrency)
        self.holds = limits.Holds()
        proof = getattr(session, "appsecret_proof", None)
        self.token = token
        self._secrets = tuple(filter(None, (token, secret, proof)))
        _keep_out_of_logs(self._secrets)

    def scrub(self, text: str) -> str:
        """`text` without token, secret and signature."""
        return scrub(text, self._secrets)

    def scope(self, fetch: Fetch, account: str | None = None) -> Scope:
        """A new scope with the account's whole allowance for waiting."""
        return Scope(fetch, account, 60 * self.settings.wait_minutes)

    def read(
        self,
        path: Iterable[str],
        params: Params,
        scope: Scope,
        *,
        needs: str | None = None,
        shrink: Callable[[errors.GraphError], None] | None = None,
    ) -> dict[str, Any]:
        """GET an object. `needs`: a list that the body must have. `shrink` may change `params` before another attempt.

        Raises GraphError when attempts or allowance are used up, or when trying again cannot help.
        """
        body = self._ask("GET", tuple(path), params, scope, needs=needs, shrink=shrink)
        if not isinstance(body, dict):
            raise errors.Contradiction("the answer is a list where an object was asked for")
        return body

    def create_report(self, account: str, params: Params, scope: Scope) -> str:
        """Start an asynchronous report; its id.

        It changes nothing at the platform, so that it may be tried again like a read.
        """
        body = self._ask("POST", (f"act_{account}", "insights"), params, scope, needs=None, shrink=None, wanted="report_run_id")
        run = str(body["report_run_id"])
        scope.jobs.append(run)
        return run

    def write(self, path: Iterable[str], params: Params, scope: Scope) -> None:
        """POST a change, once: no answer, and no clear one, is Transient and never sent again, since the change may have been made."""
        body = self._once("POST", tuple(path), params, scope)
        if not isinstance(body, dict) or body.get("success") is not True:
            raise errors.Transient("the platform's answer does not say that it succeeded")

    def pages(self, path: Iterable[str], params: Params, scope: Scope) -> Iterator[list[dict[str, Any]]]:
        """Rows of an edge page by page, as long as there is a next one, empty pages included.

        A page that is too much is asked for with half the rows, as is one that the server broke on.

        Raises
        ------
        Contradiction : a cursor comes again, the same page comes more than MOST_ALIKE times, or there are more than MOST_PAGES pages.
        TooMuch : even LEAST_ROWS rows are.
        """
        path = tuple(path)
        query = {**params, "limit": self.settings.page_size}

        def shrink(error: errors.GraphError) -> None:
            if isinstance(error, errors.TooMuch) or error.status == 500:
                query["limit"] = max(query["limit"] // 2, min(LEAST_ROWS, query["limit"]))

        seen: set[str] = set()
        last: list[dict[str, Any]] | None = None
        alike = 0
        for _ in range(MOST_PAGES):
            try:
                body = self.read(path, query, scope, needs="data", shrink=shrink)
            except errors.TooMuch as error:
                if query["limit"] <= LEAST_ROWS:
                    raise
                shrink(error)
                continue
            scope.pages += 1
            alike = alike + 1 if body["data"] == last else 0
            last = body["data"]
            if alike > MOST_ALIKE:
                raise errors.Contradiction(f"the platform gives the same page again and again, more than {MOST_ALIKE} times")
            yield body["data"]
            after = next_cursor(body)
            if after is None:
                return
            if after in seen:
                raise errors.Contradiction("the platform's pages go round in a circle: a cursor came twice")
            seen.add(after)
            query["after"] = after
        raise errors.Contradiction(f"the answer has more than {MOST_PAGES:,} pages")

    def rows(self, path: Iterable[str], params: Params, scope: Scope) -> list[dict[str, Any]]:
        """All rows of an edge; see `pages`."""
        return [row for page in self.pages(path, params, scope) for row in page]

    def batch(self, ids: list[str], fields: str, scope: Scope) -> dict[str, dict[str, Any]]:
        """Objects by id, BATCH in a call; those that the platform does not give are left out, for each call in a batch fails alone.

        A batch of reads changes nothing, so that it may be tried again.
        """
        found: dict[str, dict[str, Any]] = {}
        left = ids
        for _ in range(self.settings.attempts):
            again: list[str] = []
            for start in range(0, len(left), BATCH):
                for one, body in self._batch(left[start : start + BATCH], fields, scope):
                    error = errors.read(200, body)
                    if error is None:
                        found[one] = body
                    elif isinstance(error, errors.Transient | errors.Throttled):
                        again.append(one)
            left = again
        return found

    def _batch(self, ids: list[str], fields: str, scope: Scope) -> list[tuple[str, Any]]:
        """Ids with the bodies of their calls; a call that the platform did not make has none."""
        calls = [{"method": "GET", "relative_url": f"{one}?fields={fields}"} for one in ids]
        answers = self._ask("POST", ("",), {"batch": calls, "include_headers": False}, scope, needs=None, shrink=None)
        if not isinstance(answers, list) or len(answers) != len(ids):
            raise errors.Contradiction("the answer to a batch has not one part for each of its calls")
        bodies = [_parse(answer.get("body")) if isinstance(answer, dict) else None for answer in answers]
        return list(zip(ids, bodies, strict=True))

    # One call.

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        params: Params,
        scope: Scope,
        *,
        needs: str | None,
        shrink: Callable[[errors.GraphError], None] | None,
        wanted: str | None = None,
    ) -> Any:
        def once() -> Any:
            body = self._once(method, path, params, scope)
            if (needs is not None and not _has_rows(body, needs)) or (wanted is not None and not _has(body, wanted)):
                raise errors.Transient(f"the answer has no {needs or wanted}")
            return body

        def again(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if shrink is not None and isinstance(error, errors.GraphError):
                shrink(error)

        refusals = 0
        while True:
            failure: errors.GraphError
            attempts = Retrying(
                stop=stop_after_attempt(self.settings.attempts),
                wait=wait_random_exponential(multiplier=self.settings.backoff_seconds, max=LONGEST_BACKOFF),
                retry=retry_if_exception_type(errors.Transient),
                sleep=scope.fetch.sleep,
                before_sleep=again,
                reraise=True,
            )
            try:
                return attempts(once)
            except errors.Throttled as error:
                failure = error
            except errors.TokenRefused as error:
                scope.fetch.token = error
                raise
            except errors.Transient as error:
                if not error.reached and not scope.fetch.answered:
                    scope.fetch.unreachable = error
                raise
            refusals += 1
            self._hold(failure, refusals, scope)

    def _hold(self, refusal: errors.Throttled, refusals: int, scope: Scope) -> None:
        """Hold the account, or all where the app's own limit is used up, until the platform lets it in again."""
        told = scope.told_wait
        seconds = told if told is not None else self.settings.throttle_pause_seconds * 2 ** (refusals - 1)
        self.holds.hold(None if refusal.of_app else scope.account, seconds, binding=True)
        if seconds > scope.allowance or refusals > MOST_REFUSALS:
            raise _too_long(refusal, seconds, self.settings)

    def _once(self, method: str, path: tuple[str, ...], params: Params, scope: Scope) -> Any:
        scope.fetch.check()
        self._wait_for_turn(scope)
        with self._slots:
            scope.fetch.check()
            scope.requests += 1
            reply = self._send(method, path, params)
        scope.fetch.answered = True
        told = limits.usage(reply.headers)
        if told.pct is not None:
            scope.throttle_pct = max(told.pct, scope.throttle_pct or 0.0)
        scope.api_version = _version(reply.headers) or scope.api_version
        error = errors.read(reply.status, reply.body)
        if error is not None:
            if isinstance(error, errors.Throttled):
                scope.told_wait = 3_600.0 if errors.blocks_budget(error) else told.wait(error.code)
            error.says = self.scrub(error.says)
            error.args = (error.says,)
            raise error
        bound, pause = self.settings.throttle_pct, self.settings.throttle_pause_seconds
        for who, pct in ((scope.account, told.account_pct), (None, told.app_pct)):
            if pct is not None and pct > bound and pause > 0:
                self.holds.hold(who, pause, binding=False)
        return reply.body

    def _wait_for_turn(self, scope: Scope) -> None:
        """Wait while the account is held. A courtesy hold ends with the allowance, a binding one then ends the account's fetch."""
        while (left := self.holds.left(scope.account, binding=True)) > 0:
            if left > scope.allowance:
                raise _too_long(None, left, self.settings)
            scope.spend(left)
        left = min(self.holds.left(scope.account, binding=False), scope.allowance)
        if left > 0:
            scope.spend(left)

    def _send(self, method: str, path: tuple[str, ...], params: Params) -> Reply:
        """One call through the SDK; Transient where no answer came. No error keeps the SDK's or requests' own, whose texts have the address
        with the token."""
        self._seen.response = None
        broken: str | None = None
        reached = True
        answer: Any = None
        try:
            answer = self._api.call(method, path, params=dict(params))
        except (FacebookError, ValueError, TypeError, AttributeError, KeyError) as error:
            # The SDK stumbles over bodies that it does not expect; what came back is read below all the same.
            if self._seen.response is None:
                broken = f"{type(error).__name__}: {error}"
        except requests.RequestException as error:
            cause = _cause(error)
            reached = not isinstance(cause, NewConnectionError | ConnectTimeoutError)
            broken = f"{type(error).__name__}: {_words(cause)}"
        response: requests.Response | None = self._seen.response
        self._seen.response = None
        if broken is not None or response is None:
            raise errors.Transient(f"no answer from {self.settings.graph_url}: {self.scrub(broken or 'none')}", reached=reached)
        body = answer.json() if answer is not None else _parse(response.text)
        return Reply(response.status_code, response.headers, body)

    def _remember(self, response: requests.Response, **_: Any) -> None:
        # Without a charset, requests would guess one from the whole text.
        response.encoding = "utf-8"
        self._seen.response = response


def next_cursor(body: Mapping[str, Any]) -> str | None:
    """The cursor of the next page, or None on the last one: `next` alone decides, whatever the page holds.

    Raises Contradiction where there is a next page and no cursor to it.
    """
    paging = body.get("paging")
    if not isinstance(paging, Mapping) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, Mapping) else None
    after = after or next(iter(parse_qs(urlsplit(str(paging["next"])).query).get("after", [])), None)
    if not after:
        raise errors.Contradiction("the answer has a next page without a cursor to it")
    return str(after)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets, plain or quoted, and without any other access token of an address."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}:
            text = text.replace(form, "***")
    return re.sub(r"(access_token|appsecret_proof|input_token)=[^&\s\"'<>\\]+", r"\1=***", text)


def _too_long(refusal: errors.GraphError | None, seconds: float, settings: Meta) -> errors.WaitTooLong:
    said = f"{refusal}; " if refusal is not None else ""
    return errors.WaitTooLong(
        f"{said}the platform's rate limit asks to wait {_duration(seconds)} more, and LEARNING_META_WAIT_MINUTES allows "
        f"{settings.wait_minutes:g} minutes in one fetch"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


def _cause(error: BaseException) -> BaseException:
    """The innermost cause of a connection's error, whose text is short and has no address."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException) or inner is error:
            return error
        error = inner


def _words(error: BaseException) -> str:
    return re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?|HTTPS?Connection(Pool)?\([^)]*\): ", "", str(error))


def _parse(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _version(headers: Mapping[str, str]) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == "facebook-api-version"), None)


def _has_rows(body: Any, name: str) -> bool:
    rows = body.get(name) if isinstance(body, dict) else None
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _has(body: Any, name: str) -> bool:
    return isinstance(body, dict) and bool(body.get(name))


class _Secrecy(logging.Filter):
    """Takes secrets out of what the HTTP library logs at its debug level: the addresses of its requests."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: frozenset[str] = frozenset()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = scrub(record.getMessage(), self.secrets)
        record.args = ()
        return True


_SECRECY = _Secrecy()
_CHATTY = ("urllib3", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry", "urllib3.response", "requests")


def _keep_out_of_logs(secrets: Iterable[str]) -> None:
    _SECRECY.secrets |= frozenset(secrets)
    for name in _CHATTY:
        logging.getLogger(name).addFilter(_SECRECY)


def stopwatch() -> Callable[[], float]:
    """Seconds since the call."""
    begun = monotonic()
    return lambda: monotonic() - begun
