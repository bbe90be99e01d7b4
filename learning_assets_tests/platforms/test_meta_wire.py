"""Calls to a Graph server that knows nothing of the sandbox: it plays back what a test tells it to."""

import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learning_assets.platforms.meta import errors, reports
from learning_assets.platforms.meta.connection import Finding, examine
from learning_assets.platforms.meta.transport import MOST_PAGES, Fetch, Graph, Interrupted, next_cursor, scrub
from learning_assets.platforms.source import SourceError
from learning_assets.settings import Meta

TOKEN, SECRET = "EAAB+secret/token=1", "0123456789abcdefsecret"
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
Params = dict[str, str]
Answer = tuple[int, Any, dict[str, str]]


class Player:
    """A Graph server whose `answer` takes method, path and parameters."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Params]] = []
        self.answer: Callable[[str, str, Params], Any] = lambda *_: {"data": []}
        player = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Small replies in two parts would wait for delayed acknowledgements.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._play("")

            def do_POST(self) -> None:
                self._play(self.rfile.read(int(self.headers.get("content-length", 0))).decode())

            def _play(self, body: str) -> None:
                parts = urlsplit(self.path)
                params = dict(parse_qsl(parts.query)) | dict(parse_qsl(body))
                player.calls.append((self.command, parts.path, params))
                answer = player.answer(self.command, parts.path.partition("/v26.0/")[2], params)
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, content, headers = answer if isinstance(answer, tuple) else (200, answer, {})
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(data)), "facebook-api-version": "v26.0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: ARG002
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that gave up waiting is no error of the server."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def graph(self, **changes: Any) -> Graph:
        """Our client of this server, quick to try again."""
        chosen = {"backoff_seconds": 0, "throttle_pause_seconds": 0.02, "poll_seconds": 0.005, "read_seconds": 2, "attempts": 3}
        return Graph(
            Meta.model_validate({"access_token": TOKEN, "app_secret": SECRET, "graph_url": self.url, **chosen, **changes})
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Player]:
    found = Player()
    yield found
    found.server.shutdown()


@pytest.fixture
def player(server: Player) -> Player:
    server.calls.clear()
    return server


def refusal(
    code: int, subcode: int | None = None, status: int = 400, headers: dict[str, str] | None = None, **more: Any
) -> Answer:
    error = {"message": "No", "type": "OAuthException", "code": code, **more} | ({"error_subcode": subcode} if subcode else {})
    return status, {"error": error}, headers or {}


def in_turn(*answers: Any) -> Callable[..., Any]:
    """The answers one after the other, the last for ever."""
    left = list(answers)
    return lambda *_: left.pop(0) if len(left) > 1 else left[0]


# Pages.


def book(pages: list[list[int]]) -> Callable[[str, str, Params], Any]:
    """An edge whose pages are told apart by their cursor."""

    def answer(_method: str, _path: str, params: Params) -> Any:
        number = int(params.get("after", "c0")[1:])
        cursors = {"before": f"c{number}", "after": f"c{number + 1}"}
        more = {"next": f"http://elsewhere/?after=c{number + 1}"} if number + 1 < len(pages) else {}
        return {"data": [{"id": str(row)} for row in pages[number]], "paging": {"cursors": cursors, **more}}

    return answer


@given(st.lists(st.lists(st.integers(), max_size=3), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_pager_gives_every_row_whatever_the_pages_hold(server: Player, pages: list[list[int]]):
    server.answer = book(pages)
    graph = server.graph()
    scope = graph.scope(Fetch())
    assert [row["id"] for row in graph.rows(("act_1", "ads"), {}, scope)] == [str(row) for page in pages for row in page]
    assert scope.pages == len(pages)


def test_the_sdks_cursor_stops_at_an_empty_page_and_ours_does_not(player: Player):
    player.answer = book([[1, 2], [], [3, 4]])
    session = FacebookSession(access_token=TOKEN, timeout=(5, 5))
    session.GRAPH = player.url  # pyright: ignore[reportAttributeAccessIssue]
    session.requests.trust_env = False
    theirs: Any = AdAccount("act_1", api=FacebookAdsApi(session, api_version="v26.0")).get_ads(fields=["id"])
    assert [ad["id"] for ad in theirs] == ["1", "2"]
    graph = player.graph()
    assert [ad["id"] for ad in graph.rows(("act_1", "ads"), {}, graph.scope(Fetch()))] == ["1", "2", "3", "4"]


def test_a_cursor_that_comes_again_ends_the_paging(player: Player):
    player.answer = lambda *_: {"data": [{"id": "1"}], "paging": {"cursors": {"after": "x"}, "next": "http://elsewhere"}}
    graph = player.graph()
    with pytest.raises(errors.Contradiction) as error:
        graph.rows(("act_1", "ads"), {}, graph.scope(Fetch()))
    assert str(error.value) == "the platform's pages go round in a circle: a cursor came twice"
    assert len(player.calls) == 2


def test_pages_without_end_are_given_up(player: Player, monkeypatch: pytest.MonkeyPatch):
    assert MOST_PAGES == 5_000
    monkeypatch.setattr("learning_assets.platforms.meta.transport.MOST_PAGES", 7)
    player.answer = book([[]] * 100)
    graph = player.graph()
    with pytest.raises(errors.Contradiction, match="more than 7 pages"):
        graph.rows(("act_1", "ads"), {}, graph.scope(Fetch()))


def test_the_next_cursor():
    assert next_cursor({"data": []}) is None
    assert next_cursor({"paging": {"cursors": {"after": "x"}}}) is None
    assert next_cursor({"paging": {"next": "http://h/v26.0/x?limit=3&after=Mg%3D%3D"}}) == "Mg=="
    with pytest.raises(errors.Contradiction):
        next_cursor({"paging": {"next": "http://h/"}})


# Trying again.


@pytest.mark.parametrize(
    "broken",
    [
        (502, "<html><body>502 Bad Gateway</body></html>", {"content-type": "text/html"}),
        (200, "just text", {}),
        (200, {"rows": []}, {}),
        (200, {"data": "none"}, {}),
        (200, "null", {}),
        (200, {"success": False}, {}),
        refusal(2, is_transient=True),
        refusal(1, 99, 500),
        refusal(2, error_data="not json at all"),
        None,
    ],
    ids=["html", "text", "no rows", "no list", "null", "no success", "code 2", "code 1", "error_data", "reset"],
)
def test_what_may_pass_is_tried_again(player: Player, broken: Any):
    player.answer = in_turn(broken, broken, {"data": [{"id": "1"}]})
    graph = player.graph()
    assert graph.rows(("act_1", "ads"), {}, graph.scope(Fetch())) == [{"id": "1"}]
    # A connection that was kept alive and breaks may be tried once more below us.
    assert len(player.calls) in ((3,) if broken is not None else (3, 4))
    player.answer = lambda *_: broken
    with pytest.raises(errors.Transient):
        graph.rows(("act_1", "ads"), {}, graph.scope(Fetch()))


def test_a_server_that_is_too_slow_is_not_waited_for(player: Player):
    gate = threading.Event()
    player.answer = lambda *_: gate.wait(5) and {"data": []}
    graph = player.graph(read_seconds=0.1, attempts=2)
    begun = monotonic()
    with pytest.raises(errors.Transient) as error:
        graph.rows(("act_1", "ads"), {}, graph.scope(Fetch()))
    gate.set()
    assert monotonic() - begun < 10
    assert "ReadTimeout" in str(error.value)


def test_a_token_that_is_refused_stops_every_account(player: Player):
    player.answer = lambda *_: refusal(190, 463)
    graph, fetch = player.graph(), Fetch()
    for account in ("1", "2"):
        with pytest.raises(errors.TokenRefused):
            graph.rows((f"act_{account}", "ads"), {}, graph.scope(fetch, account))
    assert len(player.calls) == 1


def test_nobody_is_asked_when_nothing_answers():
    graph = Graph(Meta.model_validate({"access_token": TOKEN, "graph_url": "http://127.0.0.1:9", "backoff_seconds": 0}))
    fetch, second = Fetch(), None
    for account in ("1", "2"):
        second = graph.scope(fetch, account)
        with pytest.raises(errors.Transient):
            graph.read(("act_1", ""), {}, second)
    assert second is not None
    assert second.requests == 0


# Rate limits.

FULL = {"x-business-use-case-usage": '{"1":[{"type":"ads_insights","call_count":100,"estimated_time_to_regain_access":9}]}'}


def test_a_refusal_is_waited_for(player: Player):
    player.answer = in_turn(
        refusal(80_000), refusal(17, 2446079, headers={"x-ad-account-usage": '{"reset_time_duration": 0.1}'}), {"data": []}
    )
    graph = player.graph()
    scope = graph.scope(Fetch(), "1")
    begun = monotonic()
    graph.rows(("act_1", "ads"), {}, scope)
    assert monotonic() - begun > 0.11
    assert scope.allowance == pytest.approx(20 * 60 - 0.12, abs=0.05)


def test_a_longer_wait_than_the_budget_allows_is_told(player: Player):
    player.answer = lambda *_: refusal(80_000, headers=FULL)
    graph = player.graph(wait_minutes=5)
    scope = graph.scope(Fetch(), "1")
    with pytest.raises(errors.WaitTooLong) as error:
        graph.rows(("act_1", "ads"), {}, scope)
    told = errors.explain("1", error.value)
    assert (told.status, told.reason) == (
        "rate_limited",
        "account 1: No (code 80000); the platform's rate limit asks to wait 9 minutes more, and LEARNING_META_WAIT_MINUTES allows "
        "5 minutes in one fetch. It is fetched again with the next cycle; LEARNING_META_WAIT_MINUTES lets it wait longer.",
    )
    # The account is left alone from now on, and others are not.
    with pytest.raises(errors.WaitTooLong):
        graph.rows(("act_1", "ads"), {}, graph.scope(Fetch(), "1"))
    assert len(player.calls) == 1
    player.answer = lambda *_: {"data": []}
    assert graph.rows(("act_2", "ads"), {}, graph.scope(Fetch(), "2")) == []


def test_the_apps_own_limit_holds_every_account(player: Player):
    player.answer = in_turn(refusal(4), {"data": []})
    graph = player.graph(throttle_pause_seconds=0.3)
    fetch = Fetch()
    thread = threading.Thread(target=lambda: graph.rows(("act_1", "ads"), {}, graph.scope(fetch, "1")))
    thread.start()
    while not player.calls:
        pass
    begun = monotonic()
    thread.join(0.05)
    graph.rows(("act_2", "ads"), {}, graph.scope(fetch, "2"))
    assert monotonic() - begun > 0.2
    thread.join()


def test_high_utilisation_makes_a_pause_and_no_failure(player: Player):
    player.answer = lambda *_: (200, {"data": []}, {"x-app-usage": '{"call_count": 97}'})
    graph = player.graph(throttle_pause_seconds=0.2, wait_minutes=0.3 / 60)
    scope = graph.scope(Fetch(), "1")
    begun = monotonic()
    for _ in range(4):
        graph.rows(("act_1", "ads"), {}, scope)
    # The budget of 0.3 seconds is spent, then nothing is waited for.
    assert monotonic() - begun > 0.25
    assert scope.allowance == pytest.approx(0, abs=0.01)
    assert (scope.throttle_pct, scope.api_version) == (97, "v26.0")


def test_a_refusal_without_end_is_given_up(player: Player):
    player.answer = lambda *_: refusal(613, 1996)
    graph = player.graph(throttle_pause_seconds=0)
    with pytest.raises(errors.WaitTooLong):
        graph.rows(("act_1", "ads"), {}, graph.scope(Fetch(), "1"))


def test_waiting_ends_when_the_fetch_is_called_off(player: Player):
    player.answer = lambda *_: refusal(80_000)
    graph, fetch = player.graph(throttle_pause_seconds=60), Fetch()
    threading.Timer(0.1, fetch.call_off).start()
    begun = monotonic()
    with pytest.raises(Interrupted):
        graph.rows(("act_1", "ads"), {}, graph.scope(fetch, "1"))
    assert monotonic() - begun < 20


# Too much data.


def too_much(limit: int = 10_000, days: int = 10_000, fields: int = 10_000) -> Callable[..., Any]:
    """Refuses questions above a bound."""

    def answer(method: str, path: str, params: Params) -> Any:
        span = json.loads(params.get("time_range", '{"since":"2026-01-01","until":"2026-01-01"}'))
        asked = (date.fromisoformat(span["until"]) - date.fromisoformat(span["since"])).days + 1
        names = (
            params["fields"] if params.get("fields", "").startswith("[") else json.dumps(params.get("fields", "").split(","))
        )
        if (method == "GET" and int(params.get("limit", 1)) > limit) or asked > days or len(json.loads(names)) > fields:
            return refusal(100, message="Please reduce the amount of data you're asking for, then retry your request")
        if method == "POST":
            return {"report_run_id": f"7{asked}"}
        if path.endswith("/insights"):
            return {"data": [{"first": span["since"], "last": span["until"]}]}
        return {"async_status": "Job Completed", "async_percent_completion": 100}

    return answer


def test_fewer_rows_a_page_then_fewer_days_then_fewer_fields(player: Player):
    question = reports.Question("1", date(2026, 3, 1), date(2026, 3, 10), reports.DAILY_FIELDS)
    graph = player.graph(page_size=200)
    player.answer = too_much(limit=60)
    assert len(reports.ask(graph, question, graph.scope(Fetch()))) == 1
    assert [int(params["limit"]) for *_, params in player.calls] == [200, 100, 50]

    player.answer = too_much(days=3)
    parts = reports.ask(graph, question, graph.scope(Fetch()))
    days = [(part.rows[0]["first"], part.rows[0]["last"]) for part in parts]
    assert days == [
        ("2026-03-01", "2026-03-02"),
        ("2026-03-03", "2026-03-05"),
        ("2026-03-06", "2026-03-07"),
        ("2026-03-08", "2026-03-10"),
    ]

    player.answer = too_much(fields=8)
    (part,) = reports.ask(
        graph, reports.Question("1", date(2026, 3, 1), date(2026, 3, 1), reports.DAILY_FIELDS), graph.scope(Fetch())
    )
    assert part.question.fields == reports.DAILY_FIELDS[:3]

    player.answer = too_much(fields=1)
    with pytest.raises(errors.TooMuch):
        reports.ask(graph, question, graph.scope(Fetch()))


def test_a_window_is_never_put_together_from_fewer_days(player: Player):
    question = reports.Question("1", date(2026, 3, 1), date(2026, 3, 7), reports.REACH_FIELDS, whole=True)
    graph = player.graph()
    player.answer = in_turn({"data": []})
    reports.ask(graph, question, graph.scope(Fetch()))
    assert player.calls[-1][2]["time_increment"] == "all_days"
    player.answer = too_much(days=6)
    with pytest.raises(errors.TooMuch):
        reports.ask(graph, question, graph.scope(Fetch()))
    player.answer = book = Reports(lambda _, asked: "Job Completed" if '"campaign.id"' in asked["filtering"] else "Job Failed")
    parts = reports.ask(graph, replace(question, report=True), graph.scope(Fetch()))
    assert [part.question.campaigns for part in parts] == [("a", "b"), ("c", "d")]
    assert {asked["time_range"] for asked in book.made} == {'{"since":"2026-03-01","until":"2026-03-07"}'}


def test_a_server_error_halves_the_page(player: Player):
    player.answer = in_turn(refusal(1, status=500), {"data": []})
    graph = player.graph(page_size=200)
    graph.rows(("act_1", "ads"), {}, graph.scope(Fetch()))
    assert [int(params["limit"]) for *_, params in player.calls] == [200, 100]


# Reports.


class Reports:
    """A server of reports: `status` tells how the n-th report goes, by its campaigns and days."""

    def __init__(self, status: Callable[[int, Params], Any]) -> None:
        self.made: list[Params] = []
        self.status = status
        self.looks: dict[int, int] = {}

    def __call__(self, method: str, path: str, params: Params) -> Any:
        if method == "POST":
            self.made.append(params)
            return {"report_run_id": str(1_000 + len(self.made))}
        if path == "act_1/campaigns":
            return {"data": [{"id": c} for c in "abcd"]}
        number = int(path.split("/")[0]) - 1_001
        if path.endswith("/insights"):
            return {"data": [{"report": number}]}
        self.looks[number] = self.looks.get(number, 0) + 1
        answer = self.status(number, self.made[number])
        return answer if isinstance(answer, dict | tuple) else {"async_status": answer, "async_percent_completion": 100}


QUESTION = reports.Question("1", date(2026, 3, 1), date(2026, 3, 2), reports.DAILY_FIELDS, report=True)


def test_a_report_is_asked_for_as_the_recipe_says(player: Player):
    player.answer = book = Reports(lambda *_: "Job Completed")
    graph = player.graph()
    scope = graph.scope(Fetch(), "1")
    (part,) = reports.ask(graph, QUESTION, scope)
    assert part.rows == [{"report": 0}]
    assert scope.jobs == ["1001"]
    (asked,) = book.made
    assert {name: asked[name] for name in ("level", "time_increment", "time_range", "use_unified_attribution_setting")} == {
        "level": "ad",
        "time_increment": "1",
        "time_range": '{"since":"2026-03-01","until":"2026-03-02"}',
        "use_unified_attribution_setting": "true",
    }
    assert json.loads(asked["action_attribution_windows"]) == ["1d_click", "7d_click", "28d_click", "1d_view"]
    (condition,) = json.loads(asked["filtering"])
    assert (condition["field"], condition["operator"]) == ("ad.effective_status", "IN")
    assert {"ARCHIVED", "DELETED"} < set(condition["value"])
    assert not {"action_breakdowns", "summary"} & set(asked)
    assert [path for _, path, _ in player.calls] == ["/v26.0/act_1/insights", "/v26.0/1001/", "/v26.0/1001/insights"]
    assert "summary" not in player.calls[-1][2]


def test_a_report_is_read_only_when_it_has_ended(player: Player):
    states = iter(
        [
            refusal(100, 33),
            "Job Not Started",
            "Job Running",
            {"async_status": "Job Running", "async_percent_completion": 100},
            {"async_status": "Job Completed", "async_percent_completion": 99},
            "Job Completed",
        ]
    )
    player.answer = Reports(lambda *_: next(states))
    graph = player.graph()
    assert reports.ask(graph, QUESTION, graph.scope(Fetch()))[0].rows == [{"report": 0}]
    assert len(player.answer.looks) == 1


def test_a_report_that_is_not_ready_is_read_again(player: Player):
    answers = in_turn(refusal(2601, 1815107, is_transient=True), refusal(2601, 1815107), {"data": [{"id": "1"}]})
    book = Reports(lambda *_: "Job Completed")
    player.answer = lambda method, path, params: (
        answers() if path.endswith("1/insights") and method == "GET" else book(method, path, params)
    )
    graph = player.graph()
    assert reports.ask(graph, QUESTION, graph.scope(Fetch()))[0].rows == [{"id": "1"}]


FAILED = {
    "async_status": "Job Failed",
    "async_percent_completion": 0,
    "error_code": -2,
    "error_subcode": 2490547,
    "error_message": "x",
}


def test_a_failed_report_is_started_once_more(player: Player):
    for status in (FAILED, "Job Skipped", "Job Failed"):
        player.answer = book = Reports(lambda n, _, s=status: s if n == 0 else "Job Completed")
        graph = player.graph()
        assert reports.ask(graph, QUESTION, graph.scope(Fetch()))[0].rows == [{"report": 1}]
        assert book.made[0] == book.made[1]


def campaigns_of(params: Params) -> list[str] | None:
    return next((c["value"] for c in json.loads(params["filtering"]) if c["field"] == "campaign.id"), None)


def test_a_report_that_fails_again_is_split_by_days_and_then_by_campaigns(player: Player):
    def status(_: int, params: Params) -> Any:
        span = json.loads(params["time_range"])
        if span["since"] != span["until"] or (
            span["since"] == "2026-03-02"
            and "c" in (campaigns_of(params) or "abcd")
            and len(campaigns_of(params) or "abcd") > 1
        ):
            return FAILED
        return "Job Completed"

    player.answer = book = Reports(status)
    graph = player.graph()
    parts = reports.ask(graph, QUESTION, graph.scope(Fetch()))
    said = [
        (json.loads(book.made[p.rows[0]["report"]]["time_range"])["since"], campaigns_of(book.made[p.rows[0]["report"]]))
        for p in parts
    ]
    assert said == [("2026-03-01", None), ("2026-03-02", ["a", "b"]), ("2026-03-02", ["c"]), ("2026-03-02", ["d"])]


def test_a_report_that_always_fails_is_told(player: Player):
    player.answer = Reports(lambda *_: FAILED)
    graph = player.graph()
    with pytest.raises(errors.ReportFailed) as error:
        reports.ask(graph, QUESTION, graph.scope(Fetch()))
    assert "Job Failed: x (code -2/2490547)" in str(error.value)


def test_a_report_that_never_ends_is_started_once_more_and_then_told(player: Player):
    player.answer = book = Reports(lambda *_: "Job Running")
    graph = player.graph(report_minutes=0.05 / 60)
    with pytest.raises(errors.ReportStuck, match=r"report 1002 did not end within 0\.000833"):
        reports.ask(graph, QUESTION, graph.scope(Fetch()))
    assert len(book.made) == 2


# Batches.


def test_a_batch_fails_softly(player: Player):
    def answer(_method: str, _path: str, params: Params) -> Any:
        calls = json.loads(params["batch"])
        ids = [call["relative_url"].partition("?")[0] for call in calls]
        bodies = {"2": refusal(10)[1], "3": None}
        return [
            None
            if i == "3"
            else {"code": 200, "headers": [], "body": json.dumps(bodies.get(i, {"id": i, "source": f"http://{i}"}))}
            for i in ids
        ]

    player.answer = answer
    graph = player.graph()
    ids = [str(n) for n in range(1, 120)]
    found = graph.batch(ids, "source", graph.scope(Fetch()))
    assert set(ids) - set(found) == {"2", "3"}
    assert found["7"]["source"] == "http://7"
    assert [len(json.loads(params["batch"])) for *_, params in player.calls] == [50, 50, 19, 1, 1]


# Secrecy.


def whole(error: BaseException | None) -> str:
    """Everything that an exception and those behind it say."""
    text = ""
    while error is not None:
        text += "".join(traceback.format_exception(error)) + repr(error) + repr(error.args) + str(error)
        error = error.__cause__ or error.__context__
    return text


def test_no_secret_is_ever_said(player: Player, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    logging.getLogger().setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    said = ""
    leaky = f"Bad token {TOKEN} at http://h/?access_token={TOKEN}&appsecret_proof=abc"
    answers = [
        None,
        (502, f"<html>{TOKEN}</html>", {}),
        refusal(190, 467, message=leaky),
        refusal(100, message=leaky, error_user_msg=f"{SECRET} {TOKEN}"),
        refusal(2, error_data=f"not json {TOKEN}"),
        {"data": [{"id": "1"}], "paging": {"next": f"http://h/?access_token={TOKEN}&after=x", "cursors": {"after": "x"}}},
        (302, "", {"location": "http://127.0.0.1:9/v26.0/?access_token=EAAB%2Bsecret%2Ftoken%3D1"}),
    ]
    for url in (player.url, "http://127.0.0.1:9", "http://127.0.0.1:1"):
        for answer in answers:
            player.answer = lambda *_, a=answer: a
            graph = player.graph(graph_url=url, attempts=2)
            for method in (lambda g, s: g.rows(("act_1", "ads"), {}, s), lambda g, s: g.create_report("1", {}, s)):
                with pytest.raises(errors.GraphError) as error:
                    method(graph, graph.scope(Fetch(), "1"))
                said += whole(error.value) + errors.explain("1", error.value).reason
    out = capfd.readouterr()
    everything = said + caplog.text + out.out + out.err + "".join(repr(r.__dict__) for r in caplog.records)
    assert "GET /v26.0/act_1/ads" in caplog.text, "the HTTP library's log was not captured"
    for secret in (TOKEN, SECRET, "EAAB%2Bsecret%2Ftoken%3D1", "EAAB%2Bsecret/token%3D1", player.graph()._secrets[2]):
        assert secret not in everything


def test_scrub():
    assert scrub("a/b+c a%2Fb%2Bc access_token=xyz&z", ["a/b+c"]) == "*** *** access_token=***&z"


def test_no_token():
    with pytest.raises(SourceError) as error:
        Graph(Meta())
    assert str(error.value) == (
        "LEARNING_SOURCE=meta needs LEARNING_META_ACCESS_TOKEN: the token of a system user with the permission ads_read. "
        "`learning-assets connect` walks through it."
    )


def test_the_sdk_is_not_made_global(player: Player):
    player.graph()
    assert FacebookAdsApi.get_default_api() is None


def test_not_more_requests_than_allowed_are_under_way(player: Player):
    now, most, lock = [0], [0], threading.Lock()

    def answer(*_: Any) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.02)
        with lock:
            now[0] -= 1
        return {"data": []}

    player.answer = answer
    graph = player.graph(concurrency=3)
    fetch = Fetch()
    threads = [threading.Thread(target=lambda: graph.rows(("act_1", "ads"), {}, graph.scope(fetch))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 2 <= most[0] <= 3


def test_requests_are_signed_and_dated(player: Player):
    player.answer = lambda *_: {"data": []}
    graph = player.graph()
    graph.rows(("act_1", "ads"), {"since": str(date(2026, 1, 1) + timedelta(days=1))}, graph.scope(Fetch()))
    (_, path, params) = player.calls[0]
    assert path == "/v26.0/act_1/ads"
    assert params["access_token"] == TOKEN
    assert len(params["appsecret_proof"]) == 64


# The token's expiry, which only the app may ask for.


@pytest.mark.parametrize(
    ("expires", "ok", "says"),
    [
        (NOW + timedelta(days=30), True, "The token expires on 2026-12-10 at 12:00 UTC."),
        (NOW + timedelta(days=3), False, "The token expires on 2026-11-13 at 12:00 UTC."),
        (None, True, "The token does not expire."),
    ],
)
def test_when_the_token_expires(player: Player, expires: datetime | None, ok: bool, says: str):
    seen: list[Params] = []

    def answer(_method: str, path: str, params: Params) -> Any:
        if path == "app/":
            return {"id": "99"}
        if path == "debug_token/":
            seen.append(params)
            moment = int(expires.timestamp()) if expires else 0
            return {"data": {"expires_at": moment, "data_access_expires_at": moment + 60 if moment else 0, "is_valid": True}}
        return {"data": [], "id": "1"}

    player.answer = answer
    findings = examine(player.graph(accounts="1").settings, NOW)
    found = next(f for f in findings if f.what == "expiry")
    assert (found.ok, found.says, found.remedy is None) == (ok, says, ok)
    # The app asks, so neither the token nor its signature is the user's.
    assert seen[0]["input_token"] == TOKEN
    assert seen[0]["access_token"] == f"99|{SECRET}"
    assert "appsecret_proof" not in seen[0]


def test_permissions_that_are_missing(player: Player):
    player.answer = lambda *_: {"data": [{"permission": "ads_read", "status": "declined"}], "id": "1"}
    found = {f.what: f for f in examine(player.graph(accounts="1").settings, NOW)}
    assert found["permission to read"] == Finding(
        False,
        "permission to read",
        "The token lacks the permission ads_read.",
        "Make a token for the system user that has it: Business settings, System users, Generate token, ads_read.",
    )
    assert found["permission to act"] == Finding(
        True,
        "permission to act",
        "The token may not change budgets: it is read only, and acting stays off (ads_management is missing).",
    )
