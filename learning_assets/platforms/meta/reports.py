"""Questions to Insights, asked so that the platform can answer them.

What belongs here: the request recipe, synchronous and as an asynchronous report, and how a question is made smaller when it is too
much or its report fails: fewer days, then a report of its own, then fewer fields or fewer campaigns. What does not: what the rows mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from time import monotonic
from typing import Any, Literal

from learning_assets.platforms.meta import errors
from learning_assets.platforms.meta.transport import Graph, Params, Scope

HOUR = "hourly_stats_aggregated_by_advertiser_time_zone"
AD_STATUSES = (
    "ACTIVE",
    "PAUSED",
    "CAMPAIGN_PAUSED",
    "ADSET_PAUSED",
    "ARCHIVED",
    "DELETED",
    "DISAPPROVED",
    "IN_PROCESS",
    "PENDING_BILLING_INFO",
    "PENDING_REVIEW",
    "PREAPPROVED",
    "WITH_ISSUES",
)
"""Every status of an ad; without them, archived and deleted ads are left out."""
WINDOWS = ("1d_click", "7d_click", "28d_click", "1d_view")
"""Attribution windows that exist; 7d_view and 28d_view were withdrawn in January 2026."""
DAILY_FIELDS = (
    ("account_id", "ad_id", "impressions", "inline_link_clicks", "spend"),
    ("actions", "action_values"),
    ("clicks",),
    ("reach", "outbound_clicks"),
)
"""Fields of daily facts; where an answer is too much, the groups are left out from the last to the second."""
HOURLY_FIELDS = (("account_id", "ad_id", "impressions", "inline_link_clicks", "spend"), ("clicks",), ("actions",))
REACH_FIELDS = (("account_id", "ad_id", "impressions", "reach"),)
ACCOUNT_FIELDS = (("account_id", "impressions", "spend"), ("actions", "action_values"))
_LOOKS_AT_NEW_REPORT = 3
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one account: days, level, fields. `campaigns` restricts it to some; `report` makes it asynchronous.
    `whole`: the days together in one row, which cannot be put together from fewer days."""

    account: str
    first: date
    last: date
    fields: tuple[tuple[str, ...], ...]
    level: Literal["ad", "account"] = "ad"
    by_hour: bool = False
    campaigns: tuple[str, ...] | None = None
    report: bool = False
    whole: bool = False

    @property
    def days(self) -> int:
        """Number of days, both ends included."""
        return (self.last - self.first).days + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that are asked for."""
        return tuple(name for group in self.fields for name in group)

    def params(self) -> Params:
        """The request's parameters. `action_breakdowns` is left out: with it the numbers differ from Ads Manager's."""
        params: Params = {
            "level": self.level,
            "time_increment": "all_days" if self.whole else 1,
            "time_range": {"since": self.first.isoformat(), "until": self.last.isoformat()},
            "fields": ",".join(self.names),
            "use_unified_attribution_setting": True,
        }
        if "actions" in self.names:
            params["action_attribution_windows"] = list(WINDOWS)
        conditions: list[dict[str, Any]] = []
        if self.level == "ad":
            conditions.append({"field": "ad.effective_status", "operator": "IN", "value": list(AD_STATUSES)})
        if self.campaigns is not None:
            conditions.append({"field": "campaign.id", "operator": "IN", "value": list(self.campaigns)})
        if conditions:
            params["filtering"] = conditions
        if self.by_hour:
            params["breakdowns"] = [HOUR]
        return params


@dataclass(frozen=True, slots=True)
class Part:
    """Rows as they came, and the question that they answer; a field that was not asked for is unknown, one that is absent is not."""

    rows: list[dict[str, Any]]
    question: Question


def ask(graph: Graph, question: Question, scope: Scope) -> list[Part]:
    """The answer to a question, in parts where it had to be split.

    Raises GraphError: TooMuch where one day with the fewest fields still is, ReportFailed where one day of one campaign still does.
    """
    try:
        return [Part(_answer(graph, question, scope), question)]
    except errors.TooMuch:
        smaller = list(_smaller(question))
        if not smaller:
            raise
    except errors.ReportFailed:
        smaller = list(_halves(question)) or _by_campaigns(graph, question, scope)
        if not smaller:
            raise
    return [part for piece in smaller for part in ask(graph, piece, scope)]


def _smaller(question: Question) -> Iterator[Question]:
    """What to ask instead of a question that is too much."""
    if question.days > 1 and not question.whole:
        yield from _halves(question)
    elif not question.report:
        # An answer that takes too long at once may still be found by a report.
        yield replace(question, report=True)
    elif len(question.fields) > 1:
        yield replace(question, fields=question.fields[:-1])


def _halves(question: Question) -> Iterator[Question]:
    if question.days > 1 and not question.whole:
        middle = question.first + timedelta(days=question.days // 2 - 1)
        yield replace(question, last=middle)
        yield replace(question, first=middle + timedelta(days=1))


def _by_campaigns(graph: Graph, question: Question, scope: Scope) -> list[Question]:
    """Halves of the question's campaigns; empty where there are fewer than two, or the level has none."""
    if question.level != "ad":
        return []
    campaigns = question.campaigns
    if campaigns is None:
        edge = (f"act_{question.account}", "campaigns")
        rows = graph.rows(edge, {"fields": "id", "effective_status": list(CAMPAIGN_STATUSES)}, scope)
        campaigns = tuple(sorted({str(row["id"]) for row in rows}))
    if len(campaigns) < 2:
        return []
    middle = len(campaigns) // 2
    return [replace(question, campaigns=campaigns[:middle]), replace(question, campaigns=campaigns[middle:])]


CAMPAIGN_STATUSES = ("ACTIVE", "PAUSED", "DELETED", "ARCHIVED", "IN_PROCESS", "WITH_ISSUES")
AD_SET_STATUSES = ("ACTIVE", "PAUSED", "DELETED", "ARCHIVED", "CAMPAIGN_PAUSED", "IN_PROCESS", "WITH_ISSUES")


def _answer(graph: Graph, question: Question, scope: Scope) -> list[dict[str, Any]]:
    if not question.report:
        return graph.rows((f"act_{question.account}", "insights"), question.params(), scope)
    try:
        return _report(graph, question, scope)
    except (errors.ReportFailed, errors.ReportStuck):
        # The platform says itself that reports fail by chance: one restart, then the caller splits.
        return _report(graph, question, scope)


def _report(graph: Graph, question: Question, scope: Scope) -> list[dict[str, Any]]:
    """Start a report, wait for its end, read it."""
    run = graph.create_report(question.account, question.params() | {"fields": list(question.names)}, scope)
    deadline = monotonic() + 60 * graph.settings.report_minutes
    pause = graph.settings.poll_seconds
    unseen = 0
    while True:
        try:
            if _ended(graph.read((run, ""), {}, scope), run):
                return graph.rows((run, "insights"), {}, scope)
        except errors.NotReady:
            # It said that it had ended, and cannot be read yet.
            pass
        except errors.Missing as error:
            unseen += 1
            if unseen > _LOOKS_AT_NEW_REPORT:
                raise errors.ReportFailed(f"report {run} is not to be found: {error}") from None
        if monotonic() + pause > deadline:
            raise errors.ReportStuck(f"report {run} did not end within {graph.settings.report_minutes:g} minutes")
        scope.fetch.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _ended(state: dict[str, Any], run: str) -> bool:
    """Whether a report can be read; a status of 100 % while it is still running does not count.

    Raises what a report that failed or was skipped says of itself.
    """
    status = str(state.get("async_status", ""))
    if status in ("Job Failed", "Job Skipped"):
        said = state.get("error_user_msg") or state.get("error_message") or "without a reason"
        code, subcode = state.get("error_code"), state.get("error_subcode")
        found = errors.classify(f"report {run}: {status}: {said}", code, subcode) if isinstance(code, int) else None
        if isinstance(found, errors.TooMuch):
            raise found
        raise errors.ReportFailed(
            f"report {run}: {status}: {said}",
            code=code if isinstance(code, int) else None,
            subcode=subcode if isinstance(subcode, int) else None,
        )
    return status == "Job Completed" and int(float(state.get("async_percent_completion", 100))) >= 100
