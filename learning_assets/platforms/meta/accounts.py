"""One account's part of a fetch: its days asked, reconciled with the account's own level, and said to be what they are.

What belongs here: which days of an account are complete, running, incomplete or without data, and why. What does not: the wire
(`transport`, `reports`), the meaning of a row (`facts`), and many accounts at once (`source`).

The counts of requests and pages of a range stand on its first day in the manifest, and its seconds in equal parts on all, so that their
sums are right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from learning_assets.clock import days_between
from learning_assets.platforms.meta import conversions, errors, facts, reports
from learning_assets.platforms.meta.aside import Piece
from learning_assets.platforms.meta.transport import Graph, Scope, stopwatch
from learning_assets.platforms.source import ACTUALS, HOURLY, MANIFEST

FINAL_DAYS = 28
"""Age of a day, in days, from which the platform restates it no more."""
_LOOK_BACK = 28
"""Days up to the last one asked in which an action type counts as reported by the account."""
_KEPT_DAYS = 1_120
"""Days that the platform keeps: 37 months, rounded down."""


@dataclass(frozen=True, slots=True)
class AdAccount:
    """An account as the platform describes it."""

    account_id: str
    name: str | None
    currency: str
    timezone: str

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone, in which its days begin and end."""
        return ZoneInfo(self.timezone)

    def today(self, now: datetime) -> date:
        """Its own date at `now`."""
        return now.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class Work:
    """What every part of a fetch needs: server, the account and its scope, the clock's time, the tolerance of reconciliation."""

    graph: Graph
    account: AdAccount
    scope: Scope
    now: datetime
    tolerance: float

    @property
    def today(self) -> date:
        """The account's own date."""
        return self.account.today(self.now)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Action types that count as a conversion."""
        return conversions.preference(self.graph.settings.conversions, self.account.account_id)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Facts of some days and the account's own level, with what was left out of the question."""

    rows: pl.DataFrame
    own: facts.Account
    left_out: tuple[str, ...] = ()


def daily(work: Work, first: date, last: date) -> Piece:
    """Daily facts of the account on `first` to `last` (at most a report's days), with schema ACTUALS, and their manifest."""
    seconds = stopwatch()
    days = days_between(first, last)
    until = min(last, work.today)
    wrong: dict[date, str] = {}
    answer = _Answer(facts.DAILY.to_frame(), facts.Account(_NO_DAYS))
    if first <= until:
        answer, wrong = _reconciled(
            lambda begin, end: _ask_daily(work, begin, end),
            lambda got, last_time: _judge_daily(work, got, first, last_time),
            first,
            until,
        )
    left_out = ", ".join(answer.left_out)
    note = (
        f"account {work.account.account_id}: {left_out} are unknown, for the platform refused them as too much data"
        if left_out
        else None
    )
    found = _dated(answer.rows.filter(~pl.col("date").is_in(list(wrong))), work)
    return Piece(found, _manifest(work, "daily", days, answer, wrong, seconds(), note))


def hourly(work: Work, day: date, _: date) -> Piece:
    """Delivery by hour of the account on one `day`, with schema HOURLY, and its manifest."""
    seconds = stopwatch()
    answer, wrong = _reconciled(
        lambda begin, _: _ask_hourly(work, begin), lambda got, last_time: _judge_hourly(work, got, last_time, day), day, day
    )
    rows = answer.rows if day not in wrong else answer.rows.clear()
    found = (
        rows.group_by("date", "hour", "ad_id", maintain_order=True)
        # An hour that daylight saving repeats is one row; NULL and a number is the number.
        .agg(pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()) for name in _DELIVERY)
        .with_columns(account_id=pl.lit(work.account.account_id), currency=pl.lit(work.account.currency))
        .match_to_schema(HOURLY)
        .sort("date", "hour", "ad_id")
    )
    return Piece(found, _manifest(work, "hourly", [day], answer, wrong, seconds(), None))


def reach(work: Work, first: date, last: date) -> Piece:
    """People reached by each ad of the account on `first` to `last` together, with schema REACH, and their manifest, dated on `last`."""
    seconds = stopwatch()
    question = reports.Question(work.account.account_id, first, last, reports.REACH_FIELDS, whole=True)
    rows = facts.reach(reports.ask(work.graph, question, work.scope), work.account.account_id, first, last)
    name = f"account {work.account.account_id}"
    status, reason = "complete", None
    if last >= work.today:
        status, reason = "running", f"{name}: {last} has not ended in {work.account.timezone}."
    elif rows.is_empty():
        status, reason = "no_data", f"{name} had no delivery on {first} to {last}."
    elif rows["reach"].null_count() == rows.height:
        reason = f"{name}: the platform did not say how many people were reached on {first} to {last}."
    told = plain(work.account.account_id, "reach", [last], status, reason, work.now, work.scope)
    return Piece(rows, told.with_columns(rows=pl.lit(rows.height, dtype=pl.Int64), seconds=pl.lit(seconds())))


def plain(
    account: str, fact: str, days: list[date], status: str, reason: str | None, now: datetime, scope: Scope | None
) -> pl.DataFrame:
    """Manifest of days of an account of which there is nothing more to say than `status` and `reason`."""
    rows = [
        {
            "account_id": account,
            "date": day,
            "fact": fact,
            "status": status,
            "rows": 0,
            "pages": 0,
            "requests": 0,
            "seconds": 0.0,
        }
        | {"requested_at": now.astimezone(UTC), "reason": reason}
        | (_told(scope) if scope is not None else {})
        for day in days
    ]
    if scope is not None and rows:
        rows[0] |= {"requests": scope.requests, "pages": scope.pages}
    return pl.DataFrame(rows, schema=MANIFEST)


# Asking.

_NO_DAYS = pl.DataFrame(schema={"date": pl.Date, "impressions": pl.Int64, "spend_micros": pl.Int64})
_DELIVERY = ("impressions", "link_clicks", "clicks_all", "spend_micros", "video_3s_views")


def _ask_own(work: Work, first: date, last: date) -> facts.Account:
    """The account's own level; looked at further back than asked, so that what it reports at all does not hang on how a range is cut."""
    begin = max(min(first, last - timedelta(days=_LOOK_BACK - 1)), work.today - timedelta(days=_KEPT_DAYS))
    question = reports.Question(work.account.account_id, min(begin, first), last, reports.ACCOUNT_FIELDS, level="account")
    return facts.account_level(reports.ask(work.graph, question, work.scope), work.account.account_id, work.wanted)


def _ask_daily(work: Work, first: date, last: date) -> _Answer:
    own = _ask_own(work, first, last)
    question = reports.Question(work.account.account_id, first, last, reports.DAILY_FIELDS)
    question = replace(question, report=question.days > work.graph.settings.sync_days)
    parts = reports.ask(work.graph, question, work.scope)
    rows = facts.daily(parts, work.account.account_id, work.wanted, own)
    _refuse_strange_days(rows, first, last)
    asked = set.intersection(*(set(part.question.names) for part in parts))
    return _Answer(rows, own, tuple(name for name in question.names if name not in asked))


def _ask_hourly(work: Work, day: date) -> _Answer:
    # Only a day that has ended can be compared with the account's own level: the other one grows between the two questions.
    own = _ask_own(work, day, day) if day < work.today else facts.Account(_NO_DAYS)
    question = reports.Question(
        work.account.account_id, day, day, reports.HOURLY_FIELDS, by_hour=True, report=work.graph.settings.sync_days == 0
    )
    rows = facts.hourly(reports.ask(work.graph, question, work.scope), work.account.account_id)
    _refuse_strange_days(rows, day, day)
    return _Answer(rows, own)


def _refuse_strange_days(rows: pl.DataFrame, first: date, last: date) -> None:
    strange = rows.filter(~pl.col("date").is_between(first, last))
    if not strange.is_empty():
        raise errors.Contradiction(f"the answer has rows of {strange['date'][0]}, which was not asked for")


# Judging.

_Ask = Callable[[date, date], _Answer]
_Judge = Callable[[_Answer, bool], tuple[pl.DataFrame, dict[date, str]]]


def _reconciled(ask: _Ask, judge: _Judge, first: date, last: date) -> tuple[_Answer, dict[date, str]]:
    """An answer, and its days that contradict themselves with the reason, after the doubtful days were asked for once more.

    `judge` gives the rows of an answer and its doubtful days; the second time, what is said twice in the same words is one.
    """
    try:
        answer = ask(first, last)
    except errors.Contradiction:
        answer = ask(first, last)
        rows, wrong = judge(answer, True)
        return replace(answer, rows=rows), wrong
    rows, wrong = judge(answer, False)
    if wrong:
        begin, end = min(wrong), max(wrong)
        again = ask(begin, end)
        doubtful = pl.col("date").is_between(begin, end)
        own = replace(again.own, days=pl.concat([answer.own.days.filter(~doubtful), again.own.days.filter(doubtful)]))
        answer = _Answer(pl.concat([answer.rows.filter(~doubtful), again.rows]), own, answer.left_out or again.left_out)
        rows, wrong = judge(answer, True)
    return replace(answer, rows=rows), wrong


def _judge_daily(work: Work, answer: _Answer, first: date, last_time: bool) -> tuple[pl.DataFrame, dict[date, str]]:
    rows, wrong = _without_repeats(answer.rows, ["date", "ad_id"], last_time)
    ended = pl.col("date") < work.today
    ads = rows.filter(ended).group_by("date").agg(pl.col("spend_micros").sum())
    # The account's own level was looked at further back than the ads.
    own = answer.own.days.filter(ended & (pl.col("date") >= first)).select("date", pl.col("spend_micros").alias("own"))
    both = ads.join(own, on="date", how="full", coalesce=True)
    for day, spent, told in both.sort("date").iter_rows():
        if abs((spent or 0) - (told or 0)) > work.tolerance * abs(told or 0):
            wrong.setdefault(day, _apart(work, "spent", _amount(work, spent), _amount(work, told)))
    return rows, wrong


def _judge_hourly(work: Work, answer: _Answer, last_time: bool, day: date) -> tuple[pl.DataFrame, dict[date, str]]:
    rows = answer.rows
    silent = pl.col("hour").is_null() & pl.all_horizontal(pl.col(_DELIVERY).fill_null(0) == 0)
    rows = rows.filter(~silent)
    nameless = rows["hour"].null_count()
    wrong: dict[date, str] = {}
    if nameless:
        wrong[day] = f"{nameless} rows with delivery do not say their hour"
        return rows, wrong
    repeated = pl.col("hour").is_in(_repeated_hours(day, work.account.zone))
    once, wrong = _without_repeats(rows.filter(~repeated), ["date", "hour", "ad_id"], last_time)
    rows = pl.concat([once, rows.filter(repeated)])
    if day < work.today and day not in wrong:
        own = answer.own.days.filter(pl.col("date") == day)
        told, counted = int(own["impressions"].sum()), int(rows["impressions"].sum())
        if abs(counted - told) > work.tolerance * told:
            wrong[day] = _apart(work, "had", f"{counted:,} impressions by hour", f"{told:,} on the day")
    return rows, wrong


def _without_repeats(rows: pl.DataFrame, key: list[str], last_time: bool) -> tuple[pl.DataFrame, dict[date, str]]:
    """Rows with each key once, and the days on which one came more than once: the first time any such day is doubtful, the last time those
    whose rows differ."""
    if not rows.select(pl.struct(key).is_duplicated().any()).item():
        return rows, {}
    if last_time:
        rows = rows.unique(maintain_order=True)
    twice = rows.filter(pl.struct(key).is_duplicated()).group_by("date").agg(pl.col("ad_id").n_unique())
    kind = "with different figures" if last_time else "twice"
    return rows, {day: f"{ads} ads came {kind}" for day, ads in twice.iter_rows()}


def _repeated_hours(day: date, zone: ZoneInfo) -> list[int]:
    """Local hours of `day` that daylight saving runs through twice."""
    found: list[int] = []
    for hour in range(24):
        for minute in (0, 30):
            moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            before, after = moment.utcoffset(), moment.replace(fold=1).utcoffset()
            # In a gap the second offset is the larger one.
            if before is not None and after is not None and before > after:
                found.append(hour)
                break
    return found


def _apart(work: Work, verb: str, ads: str, account: str) -> str:
    return f"its ads {verb} {ads}, the account {account}, which is more than {100 * work.tolerance:g} % apart"


def _amount(work: Work, amount: int | None) -> str:
    return f"{(amount or 0) / 1_000_000:,.2f} {work.account.currency}"


# Saying.


def _dated(rows: pl.DataFrame, work: Work) -> pl.DataFrame:
    """Daily facts with what the account and the clock say of them, schema ACTUALS."""
    today = pl.lit(work.today)
    age = (today - pl.col("date")).dt.total_days()
    return (
        rows.with_columns(
            account_id=pl.lit(work.account.account_id),
            currency=pl.lit(work.account.currency),
            is_final=age >= FINAL_DAYS,
            complete=age >= 1,
            # Two days after its end, the fetch of its own cycle is past.
            restated=age > 2,
        )
        .match_to_schema(ACTUALS)
        .sort("date", "ad_id")
    )


def _manifest(
    work: Work, fact: str, days: list[date], answer: _Answer, wrong: Mapping[date, str], seconds: float, note: str | None
) -> pl.DataFrame:
    name = f"account {work.account.account_id}"
    counted = {
        day: (rows, spent)
        for day, rows, spent in answer.rows.group_by("date").agg(pl.len(), pl.col("spend_micros").sum()).iter_rows()
    }
    own: dict[date, int] = dict(answer.own.days.select("date", "spend_micros").iter_rows())
    rows: list[dict[str, object]] = []
    for day in days:
        count, spent = counted.get(day, (0, 0))
        reason = note
        if day in wrong:
            status = "incomplete"
            reason = f"{name}, {day}: {wrong[day]}. It is fetched again with the next cycle."
        elif day > work.today:
            status, reason = "running", f"{name}: {day} has not begun in {work.account.timezone}."
        elif day == work.today:
            status, reason = "running", f"{name}: {day} has not ended in {work.account.timezone}."
        elif count == 0:
            status, reason = "no_data", f"{name} had no delivery on {day}."
        else:
            status = "complete"
        rows.append(
            {
                "account_id": work.account.account_id,
                "date": day,
                "fact": fact,
                "status": status,
                "rows": count,
                "pages": work.scope.pages if day == days[0] else 0,
                "requests": work.scope.requests if day == days[0] else 0,
                "spend_micros": spent,
                "account_spend_micros": own.get(day),
                "seconds": seconds / len(days),
                "requested_at": work.now.astimezone(UTC),
                "reason": reason,
            }
            | _told(work.scope)
        )
    return pl.DataFrame(rows, schema=MANIFEST)


def _told(scope: Scope) -> dict[str, object]:
    """What the platform's answers told about themselves."""
    return {"job_id": ",".join(scope.jobs) or None, "api_version": scope.api_version, "throttle_pct": scope.throttle_pct}
