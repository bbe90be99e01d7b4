"""What a day's decisions about experiments tell a person: a card for each, in words, and the evidence over time as a plot.

What belongs here: words and drawings of rows of `promotion_decisions`. What does not: deciding (`promotions`). Platform ids and figures only.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.assets.report import Number, escape, percent

if TYPE_CHECKING:
    import altair as alt

_ORDER = {"promoted": 0, "blocked": 1, "cannot_isolate": 2, "continue_testing": 3, "insufficient_data": 4}
_METRICS = {"ctr": "clicks per impression", "cvr": "conversions per impression"}
_GRADES = {
    "randomized": "randomized: arms were assigned at random",
    "observational": "observational: delivery chose who saw which arm, so the winner is the ad with its delivery; good for moving budget, no proof of why",
}
WITHOUT_EVIDENCE = "unknown"
_SMALLEST_P = 1e-9
"""Smaller ones say more about the model than about the ads."""


def to_look_at(decisions: pl.DataFrame, count: int) -> pl.DataFrame:
    """The decisions to look at first: what changed on the day, then promoted, blocked, not isolated, and what is closest to its threshold."""
    rank = pl.col("status").replace_strict(_ORDER, return_dtype=pl.Int8)
    near = pl.col("log_e") / pl.col("log_threshold")
    return decisions.sort(
        pl.col("event").is_null(),
        rank,
        near,
        *("account_id", "experiment_id"),
        descending=[False, False, True, False, False],
        nulls_last=True,
    ).head(count)


def in_words(decisions: pl.DataFrame) -> pl.DataFrame:
    """Decisions as a media buyer reads them, one row each."""
    return pl.DataFrame(
        [
            {
                "account": row["account_id"],
                "experiment": row["experiment_id"],
                "decision": said(row),
                "ad": row["ad_id"],
                "lift": percent(row["shrunk_lift"]),
                "anytime p": row["anytime_p"],
                "budget": row["move"],
                "why": row["reason"],
            }
            for row in decisions.iter_rows(named=True)
        ],
        schema={
            **dict.fromkeys(("account", "experiment", "decision", "ad", "lift"), pl.String),
            "anytime p": pl.Float64,
            **dict.fromkeys(("budget", "why"), pl.String),
        },
    )


def said(row: Mapping[str, Any]) -> str:
    """The outcome with the guard, and whether it is of this very day."""
    guard = f" ({row['guard']})" if row["guard"] else ""
    today = f", {row['event']} today" if row["event"] else ""
    return row["status"].replace("_", " ") + guard + today


OF_IMPROVEMENT = (
    "What promoted arms are better than what they were promoted over, multiplied over the promotions in force: `improvement` of the lifts after shrinkage "
    "with its 95 % interval, `plain product` of the lifts as observed, which overstates."
)


def card(row: Mapping[str, Any], simulated: bool) -> str:
    """A decision's card as markdown."""
    note = ["*Simulated market.*", ""] if simulated else []
    return "\n".join([*note, "| | |", "|---|---|", *(f"| {name} | {escape(text)} |" for name, text in card_lines(row).items())])


def card_lines(row: Mapping[str, Any]) -> dict[str, str]:
    """A decision's card: who, what, how sure, how much, what a plain test would have said, where the budget goes, how to undo."""
    metric = _METRICS.get(row["metric"] or "", WITHOUT_EVIDENCE)
    return {
        "decision": f"{said(row)}: {row['reason']}",
        "experiment": f"{row['experiment_id']} of account {row['account_id']}, {row['arms']} arms, evidence since {row['evidence_from']}",
        "arm": f"ad {row['ad_id'] or WITHOUT_EVIDENCE} against its closest rival, ad {row['other_id'] or WITHOUT_EVIDENCE}, by {metric}",
        "behind it": f"{_periods(row)}; {_count(row['impressions'])} impressions, "
        f"{_count(row['link_clicks'])} clicks, {_count(row['conversions'])} conversions of all arms",
        "evidence": _evidence(row),
        "grade of evidence": _GRADES[row["evidence"]],
        "observed lift": _interval(
            row["lift"], row["lift_low"], row["lift_high"], "confidence sequence, at all times together"
        ),
        "shrunk lift": _interval(row["shrunk_lift"], row["shrunk_low"], row["shrunk_high"], "what budgets move on"),
        "a plain z-test": _naive(row),
        "budget": _budget(row),
        "undo": "a decision changes no budget by itself; learning-assets changes "
        f"{row['account_id']} lists what was changed for it, learning-assets undo CHANGE takes that back",
        "decision id": row["decision_id"],
    }


def _count(number: int | None) -> str:
    return WITHOUT_EVIDENCE if number is None else f"{number:,}"


def _periods(row: Mapping[str, Any]) -> str:
    days = f"{_count(row['days'])} days"
    return days if row["metric"] == "cvr" else f"{_count(row['hours'])} h on {days}"


def _interval(value: float | None, low: float | None, high: float | None, what: str) -> str:
    return WITHOUT_EVIDENCE if value is None else f"{percent(value)} ({percent(low)} to {percent(high)}; {what})"


def _evidence(row: Mapping[str, Any]) -> str:
    if row["log_e"] is None:
        return "none yet"
    of = row["log_e"] / row["log_threshold"]
    where = f"{max(of, 0.0):.0%} of the way to the threshold, on the log scale" if of < 1 else "beyond the threshold"
    return f"{where}; anytime p {_p(row['anytime_p'])}, which may be looked at every hour"


def _p(value: float) -> str:
    return f"= {value:.2g}" if value >= _SMALLEST_P else f"< {_SMALLEST_P:g}"


def _naive(row: Mapping[str, Any]) -> str:
    if row["naive"] is None:
        return WITHOUT_EVIDENCE
    p = "" if row["naive_p"] is None else f" (p {_p(row['naive_p'])})"
    return (
        f"{row['naive']}{p}. It does not decide: looked at every hour it finds a winner in half of the tests of an ad against itself, and it takes "
        "every click as a draw of its own"
    )


def _budget(row: Mapping[str, Any]) -> str:
    if row["move"] is None:
        return "nothing is to move" if row["stage"] is None else "waits while the experiment is blocked"
    wanted = "" if row["wanted_micros"] is None else f", to {row['wanted_micros'] / 1e6:,.2f} {row['currency']} a day"
    share = "" if row["budget_share"] is None else f"; it has {row['budget_share']:.0%} of the experiment's budget at present"
    return f"{row['move']}{wanted}: {row['move_reason']}{share}"


def figures(decisions: pl.DataFrame, wishes: pl.DataFrame) -> dict[str, Number]:
    """What the UI plots from day to day."""
    status = dict(decisions["status"].value_counts().iter_rows())
    event = dict(decisions["event"].drop_nulls().value_counts().iter_rows())
    return {
        "experiments": decisions.height,
        **{name: status.get(name, 0) for name in _ORDER},
        "promoted_today": event.get("promoted", 0),
        "demoted_today": event.get("demoted", 0),
        "budgets_asked_for": wishes.height,
        "naive_winners": decisions.filter(pl.col("naive_p") < 0.05).height,
        "smallest_anytime_p": decisions["anytime_p"].min(),  # pyright: ignore[reportReturnType]
    }


def drawn(path: pl.DataFrame, day: Day) -> "alt.TopLevelMixin | None":
    """The evidence of some experiments day by day, as a part of the way to the threshold on the log scale.

    `path` : account_id, experiment_id, ad_id, date, log_e, log_threshold.
    """
    import altair as alt

    if path.is_empty():
        return None
    shown = path.select(
        "date", arm=pl.format("{} ({})", "ad_id", "account_id"), evidence=pl.col("log_e") / pl.col("log_threshold")
    )
    lines = alt.Chart(shown).mark_line(point=True).encode(
        x=alt.X("date:T", title=None),
        y=alt.Y("evidence:Q", title="evidence, part of the threshold (log scale)", axis=alt.Axis(format="%")),
        color=alt.Color("arm:N", title="leading arm", legend=alt.Legend(labelLimit=240)),
    )  # fmt: skip
    line = alt.Chart(pl.DataFrame({"y": [1.0]})).mark_rule(strokeDash=[4, 4]).encode(y="y:Q")
    title = f"Evidence about experiments up to {day.date}" + (" (simulated)" if day.simulated else "")
    return alt.layer(line, lines).properties(width=460, height=260, title=title)
