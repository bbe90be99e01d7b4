"""The sections of the page on accuracy, and its headline."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import polars as pl

from learning_assets.assets import page
from learning_assets.assets.accuracy_page import plots, written
from learning_assets.assets.accuracy_page.told import Told
from learning_assets.assets.cards import effect_rows, importance_and_effects
from learning_assets.assets.page import Page, Section
from learning_assets.learning import calibration, following
from learning_assets.settings import Settings

COUNTED = {"ctr": "clicks", "cvr": "conversions", "roas": "revenue"}
_ROWS_SHOWN = 60
_DRAWN_VALUES = 14


@dataclass(frozen=True, slots=True)
class Said:
    """A page and the figures that others show of it.

    Attributes
    ----------
    page : to be rendered.
    lead : its headline, a paragraph each.
    saved : `following.saved` by metric, made and model.
    contests, won : challengers that were scored, and those that took over.
    """

    page: Page
    lead: tuple[str, ...]
    saved: pl.DataFrame
    contests: int
    won: int


def said(told: Told, settings: Settings) -> Said:
    """The page of what was read."""
    parts = _Parts(told, settings)
    whose = "" if told.owner is None else f" Accounts of {told.owner}, and what was fitted over several owners."
    lead = tuple(parts.headline())
    made = Page(
        title="How good the predictions are",
        subtitle=f"As of {told.day.date}, from what was stored up to that day.{whose} What is not known is said to be unknown, with the reason.",
        lead=lead,
        sections=[
            Section("Predicted and happened", *parts.calibration()),
            Section("Error over time", *parts.over_time()),
            Section("Where the errors are", *parts.segments()),
            Section("Each retraining", *parts.retrains()),
            Section("What the models use", *parts.uses()),
            Section("What following the predictions would have saved", *parts.savings()),
            Section("How to read this", _READING),
        ],
        simulated=told.day.simulated,
    )
    return Said(made, lead, parts.saved, len(parts.contests), sum(row["status"] == "retrained" for row in parts.contests))


_READING = [
    "WAPE is the sum of absolute errors over the sum of what happened, over ad-days with enough impressions; accuracy is 1 less it. It cannot reach 0: "
    "clicks come by chance. The noise floor is the WAPE that a predictor would show who knew every rate exactly. It is a lower limit where no ad has two days.",
    "Skill is how much smaller the loss is than that of the better of two plain baselines, the account's mean and the ad's own history, with an interval "
    "in which the ad is the unit. Above 0 for sure means that the model is worth having.",
    "Every prediction was made before its day, from facts of earlier days; one that could have known its day stops the measurement. Live predictions were made "
    "before their day had ended; replayed ones were made later, from what was known then, and are shown apart.",
]


class _Parts:
    """The sections, each a list of paragraphs and a list of markup."""

    def __init__(self, told: Told, settings: Settings) -> None:
        self.told = told
        self.settings = settings
        self.horizon = ["horizon_days"] if "horizon_days" in told.comparisons.columns else []

    # -- which rows

    @cached_property
    def pools(self) -> pl.DataFrame:
        """Comparisons of whole pools over all ads."""
        return self.told.comparisons.filter(pl.col("account_id").is_null(), pl.col("segment") == "all")

    @cached_property
    def main(self) -> list[dict[str, Any]]:
        """One row per metric: the trained model (a baseline where there is none) of the largest pool, live before replayed."""
        rows = self.pools.filter(pl.col("wape").is_not_null()).with_columns(
            trained=pl.col("model").is_in(list(self.told.trained)), live=pl.col("made") == "live"
        )
        order = rows.sort(
            ["metric", "trained", "live", "impressions", *self.horizon, "wape", "model"],
            descending=[False, True, True, True, *([False] * len(self.horizon)), False, False],
        )
        return order.unique("metric", keep="first", maintain_order=True).to_dicts()

    def name(self, row: Mapping[str, Any]) -> str:
        """A model with its horizon, where that is not the next day."""
        ahead = row.get("horizon_days")
        return f"{row['model']}, {ahead} days ahead" if ahead and ahead > self.told.day.step_days else str(row["model"])

    def faces(self) -> Iterator[tuple[str, str]]:
        """Metric and way of making, of everything that was predicted in the window; live first."""
        yield from self.told.judged.select("metric", "made").unique().sort("metric", "made").iter_rows()

    # -- what is said

    def headline(self) -> Iterator[str]:
        """The state of each metric in plain words."""
        if not self.main:
            yield f"Nothing can be said yet: {self.nothing()}"
        for row in self.main:
            yield self.sentence(row)
        saved = {(row["metric"], row["model"], row["made"]): row for row in self.saved.to_dicts()}
        level = written.level(self.settings.following.confidence_level)
        for row in self.main:
            found = saved.get((row["metric"], row["model"], row["made"]))
            if found is not None and found["status"] == "measured":
                more = "more" if found["gain"] >= 0 else "fewer"
                plain = ", ".join(
                    f"{other['model']} {written.signed(other['gain'])}"
                    for other in self.saved.filter(metric=row["metric"], made=row["made"], status="measured").to_dicts()
                    if other["model"] not in self.told.trained
                )
                yield (
                    f"Following {row['model']} would have bought {written.percent(abs(found['gain']))} {more} {COUNTED.get(row['metric'], 'results')} for "
                    f"the same spend ({level} interval {written.signed(found['gain_low'])} to {written.signed(found['gain_high'])}; observational, see below)."
                    + (
                        f" Following what is no more than counts would have changed it by: {plain}."
                        if plain and row["trained"]
                        else ""
                    )
                )

    def nothing(self) -> str:
        reasons = self.pools["reason"].drop_nulls().unique().sort().to_list()
        return " ".join(reasons) or "no prediction was compared with what happened on these days."

    def sentence(self, row: Mapping[str, Any]) -> str:
        """One metric in plain words."""
        metric, day = row["metric"], self.told.day
        counted, floor = COUNTED.get(metric, "results"), row["noise_floor"]
        days = day.pick(self.settings.accuracy.window_days, self.settings.accuracy.archive_window_days)
        kind = "" if row["trained"] else ", a plain baseline, since no trained model was in force"
        made = "" if row["made"] == "live" else " These predictions were made in a replay, from what was known before each day."
        off = f"was off by {written.percent(row['wape'])} of the {counted}."
        said = f"{written.named(metric)}: over the {days} days to {day.date}, {self.name(row)}{kind} {off}"
        if floor is None:
            said += " How much of that is chance is unknown."
        else:
            times = row["wape"] / floor if floor > 0 else float("inf")
            verdict = (
                "hardly more than"
                if times <= 1.1
                else "somewhat more than"
                if times <= self.settings.models.noise_floor_factor
                else "far more than"
            )
            said += f" That is {verdict} chance makes unavoidable: a perfect predictor would have been off by {written.percent(floor)}."
        if row["calibration_ratio"] is not None:
            said += (
                f" In all, {row['calibration_ratio']:.2f} times as many {counted} came as were predicted{written.around(row)}."
            )
        low, high = row["skill_low"], row["skill_high"]
        if row["skill"] is not None and row["trained"]:
            sure = (
                "surely better than"
                if low is not None and low > 0
                else "surely worse than"
                if high is not None and high < 0
                else "not surely better than"
            )
            said += f" It is {sure} the better plain baseline: its loss is {100 * abs(row['skill']):.2f} % {'smaller' if row['skill'] >= 0 else 'larger'}"
            said += "." if low is None else f" (skill between {written.signed(low, 2)} and {written.signed(high, 2)})."
        return said + made

    # -- predicted and happened

    def calibration(self) -> tuple[list[str], list[str]]:
        """A plot for each metric and way of making, one panel a model."""
        rules = self.settings.report
        by = ["metric", "made", "model"]
        rows = self.told.judged.filter(pl.col("impressions") >= self.settings.accuracy.min_impressions)
        found = calibration.table(rows, by, rules.bins, rules.confidence_level)
        days = self.told.day.pick(rules.window_days, rules.archive_window_days)
        says = [
            "If predictions are right on average, points lie on the line. Each holds as much weight as the others; "
            f"bars are {written.level(rules.confidence_level)} intervals in which the ad is the unit. The last {days} days"
            + (
                "."
                if self.told.day.archive
                else f"; conversions and revenue only of days that are {self.settings.growth.mature_days} days old, since later ones are still coming in."
            )
        ]
        parts: list[str] = []
        for metric, made in self.faces():
            one = found.filter(metric=metric, made=made)
            parts.append(page.heading(f"{written.named(metric)}, {made} predictions"))
            if one.is_empty():
                parts.append(page.note(f"Unknown: of no {made} prediction is the result known yet."))
                continue
            parts.append(
                page.figure(
                    plots.calibration(one, metric),
                    f"{written.named(metric)}: predicted (across) against happened (up), by model.",
                )
            )
            parts.append(
                page.fold(
                    "The figures",
                    [
                        page.table(
                            {
                                "model": row["model"],
                                "bin": row["bin"],
                                "ads": row["ads"],
                                "ad-days": row["ad_days"],
                                "predicted": written.rate(row["predicted"], metric),
                                "happened": written.rate(row["rate"], metric),
                                "from": written.rate(row["low"], metric),
                                "to": written.rate(row["high"], metric),
                            }
                            for row in one.iter_rows(named=True)
                        )
                    ],
                )
            )
        return says, parts or [page.note("Nothing was predicted for these days.")]

    # -- over time

    def over_time(self) -> tuple[list[str], list[str]]:
        """WAPE of each model against the noise floor, for the largest pool."""
        rows = self.told.history.filter(pl.col("wape").is_not_null())
        says = [
            "The error of each model over the days, and beneath it what chance alone would show. A line that rises while the floor does not is a "
            "model that has fallen behind."
        ]
        if rows.is_empty():
            return says, [page.note(f"Unknown: {self.nothing()}")]
        pool = rows.group_by("pool").agg(pl.col("impressions").sum()).sort("impressions", "pool")["pool"].last()
        others = rows["pool"].n_unique() - 1
        if others:
            says.append(
                f"Drawn is the pool with most impressions, {pool}; there are {others} others, whose newest figures are in the table."
            )
        parts: list[str] = []
        for metric, made in rows.filter(pool=pool).select("metric", "made").unique().sort("metric", "made").iter_rows():
            one = rows.filter(pool=pool, metric=metric, made=made)
            lines = one.with_columns(series=pl.struct("model", *self.horizon).map_elements(self.name, return_dtype=pl.String))
            title = f"{written.named(metric)}, {made} predictions"
            parts += [
                page.heading(title),
                page.figure(
                    plots.over_time(lines), f"{title}: WAPE by day, pool {pool}; the floor is the mean of those of the models."
                ),
            ]
        order = self.pools.sort("metric", "pool", "made", "wape", "model", nulls_last=True)
        parts.append(
            page.fold(
                "The newest figures of every pool and model",
                [page.table((self.measures(row, pool=True) for row in order.to_dicts()), remark="why unknown")],
            )
        )
        return says, parts

    def measures(self, row: Mapping[str, Any], *, pool: bool = False) -> dict[str, object]:
        """A row of comparisons as a person reads it."""
        metric = row["metric"]
        return {
            **({"pool": row["pool"]} if pool else {}),
            "metric": metric,
            "model": self.name(row),
            "made": row["made"],
            "ads": row["ads"],
            "WAPE": written.percent(row["wape"]),
            "noise floor": written.percent(row["noise_floor"]),
            "MAE": written.rate(row["mae"], metric),
            "R²": None if row["r2"] is None else f"{row['r2']:.3f}",
            "happened / predicted": None if row["calibration_ratio"] is None else f"{row['calibration_ratio']:.3f}",
            "skill": written.signed(row["skill"], 2),
            "from": written.signed(row["skill_low"], 2),
            "to": written.signed(row["skill_high"], 2),
            "why unknown": row["reason"] or "",
        }

    # -- segments

    def segments(self) -> tuple[list[str], list[str]]:
        """The main model of each metric by account and by every segment that was measured."""
        says = [
            "The error of the model of the headline by account and by what the ads are. A dot far above its tick is an error that chance does not explain."
        ]
        parts: list[str] = []
        for main in self.main:
            same = pl.all_horizontal(
                pl.col(name).eq_missing(pl.lit(main[name])) for name in ("metric", "model", "made", *self.horizon)
            )
            rows = self.told.comparisons.filter(same)
            accounts = rows.filter(pl.col("account_id").is_not_null(), pl.col("segment") == "all").with_columns(
                segment=pl.lit("account"), segment_value="account_id"
            )
            inside = rows.filter(pl.col("account_id").is_null(), pl.col("segment") != "all", pl.col("pool") == main["pool"])
            found = pl.concat([accounts, inside]).sort(
                "segment", "impressions", "segment_value", descending=[False, True, False]
            )
            title = f"{written.named(main['metric'])}, {self.name(main)}, {main['made']}"
            parts.append(page.heading(title))
            known = found.filter(pl.col("wape").is_not_null())
            if known.is_empty():
                parts.append(page.note("Unknown: no segment has enough that happened."))
                continue
            drawn = known.filter(pl.int_range(pl.len()).over("segment") < _DRAWN_VALUES)
            parts.append(
                page.figure(
                    plots.segments(drawn),
                    f"{title}: WAPE (dots) and noise floor (ticks). Up to {_DRAWN_VALUES} values of each, those with most impressions.",
                )
            )
            shown = found.head(_ROWS_SHOWN)
            table = page.table(
                ({"what": row["segment"], "value": row["segment_value"]} | self.measures(row) for row in shown.to_dicts()),
                "" if found.height <= _ROWS_SHOWN else f"{_ROWS_SHOWN} of {found.height}.",
                "why unknown",
            )
            parts.append(page.fold("The figures", [table]))
        return says, parts or [page.note(f"Unknown: {self.nothing()}")]

    # -- retrainings

    @cached_property
    def contests(self) -> list[dict[str, Any]]:
        """Days on which a challenger was trained, the newest first."""
        order = self.told.champions.sort("as_of", "pool", "target", descending=[True, False, False])
        return [row for row in order.to_dicts() if row["verdict"]]

    def retrains(self) -> tuple[list[str], list[str]]:
        """Every contest up to the day, what the challenger gained on the same held-out days, and how often one won."""
        models = {row["model_id"]: row for row in self.told.models.to_dicts()}
        skipped = self.told.champions.filter(pl.col("status") == "insufficient_data").height
        says = [
            "A challenger and the champion in force are scored on the same later days that neither saw; where there is no champion, the account's "
            "mean is the opponent. ΔR² above 0 and ΔMAE below 0 speak for the challenger; it takes over only if it is surely better by log loss."
        ]
        if not self.contests:
            why = f" On {skipped} occasions there were too few ads to train on." if skipped else ""
            return says, [page.note(f"No model was trained yet.{why}")]
        won = sum(row["status"] == "retrained" for row in self.contests)
        low, high = calibration.jeffreys(won, len(self.contests), self.settings.report.confidence_level)
        says.append(
            f"{won} of {len(self.contests)} challengers took over: {written.percent(won / len(self.contests))} "
            f"({written.level(self.settings.report.confidence_level)} interval {written.percent(low)} to {written.percent(high)})."
        )
        rows = [self.contest(row, models.get(row["challenger_id"], {})) for row in self.contests]
        parts = []
        known = [row for row in self.contests if (_gains(row)[0] is not None)]
        if known:
            drawn = pl.DataFrame(
                [
                    {
                        "day": str(row["as_of"]),
                        "what": name,
                        "value": value,
                        "outcome": "took over" if row["status"] == "retrained" else "champion stayed",
                        "target": row["target"],
                    }
                    for row in known
                    for name, value in zip(("ΔR²", "ΔMAE, ‱"), _gains(row, 10_000), strict=True)
                    if value is not None
                ]
            )
            parts.append(page.figure(plots.retrains(drawn), "What each challenger gained on the held-out days."))
        parts.append(
            page.table(
                rows[:_ROWS_SHOWN], "" if len(rows) <= _ROWS_SHOWN else f"The newest {_ROWS_SHOWN} of {len(rows)}.", "verdict"
            )
        )
        if any(value is None for row in self.contests for value in _gains(row)):
            parts.append(
                page.note(
                    "ΔR² and ΔMAE are unknown where nothing could be compared, or where the comparison was stored before they were kept."
                )
            )
        return says, parts + self.failures()

    def contest(self, row: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, object]:
        """One retraining as a row."""
        r2, mae = _gains(row)
        verdict = json.loads(row["verdict"])
        fired = [one["name"] for one in json.loads(row["triggers"]) if one["fired"]]
        return {
            "day": str(row["as_of"]),
            "pool": row["pool"],
            "target": row["target"],
            "why": ", ".join(fired),
            "outcome": row["status"].replace("_", " "),
            "against": "champion"
            if verdict.get("against_champion")
            else "account mean"
            if verdict.get("against_baseline")
            else None,
            "ΔR²": None if r2 is None else f"{r2:+.4f}",
            "ΔMAE": None if mae is None else f"{10_000 * mae:+.3f} ‱",
            "held-out ads": verdict.get("n_ads"),
            "trained on ad-days": model.get("ad_days"),
            "seconds": None if row["seconds"] is None else f"{row['seconds']:.1f}",
            "verdict": verdict.get("reason"),
        }

    def failures(self) -> list[str]:
        """Runs that failed, by week and job."""
        if self.told.log.is_empty():
            return []
        since = self.told.day.date - timedelta(days=55)
        runs = (
            self.told.log.with_columns(week=pl.col("ended_at").dt.date().dt.truncate("1w"))
            .filter(pl.col("week") > since)
            .group_by("week", "job")
            .agg(runs=pl.len(), failed=(pl.col("status") == "failure").sum())
            .sort("week", "job", descending=[True, False])
        )
        rows = [
            {"week from": str(row["week"]), "job": row["job"], "runs": row["runs"], "failed": row["failed"]}
            for row in runs.to_dicts()
        ]
        return [page.fold("Runs that failed, by week and job", [page.table(rows, "Eight weeks.")])]

    # -- what the models use

    @cached_property
    def in_force(self) -> list[dict[str, Any]]:
        """The champion of each target, a row of `models` with its card: of the owner's own pool where there is one, else of the largest."""
        newest = self.told.champions.sort("as_of").unique(["target", "pool"], keep="last").drop_nulls("model_id")
        rows = self.told.models.join(newest.select("model_id"), on="model_id", how="semi")
        own = pl.col("owner").eq_missing(pl.lit(self.told.owner, pl.String))
        order = rows.with_columns(own=own).sort("target", "own", "ad_days", "model_id", descending=[False, True, True, False])
        return order.unique("target", keep="first", maintain_order=True).to_dicts()

    def uses(self) -> tuple[list[str], list[str]]:
        """Importance and partial effects of the champions in force."""
        says = [
            "Left, the share of each feature in what the trees of a champion gained while they learned. Right, the mean rate that it predicts while "
            "one feature is set to one value after the other and all others stay as they are; scales differ from panel to panel. This says what the "
            "model answers, not what causes clicks."
        ]
        parts: list[str] = []
        for row in self.in_force:
            card = json.loads(row["card"])
            chart = importance_and_effects(card)
            if chart is None:
                continue
            parts.append(page.heading(f"{written.named(row['target'])}: {row['model_id']}"))
            parts.append(
                page.figure(
                    chart, f"What the champion of {written.named(row['target'])} uses, trained until {row['trained_until']}."
                )
            )
            effects = [
                {"feature": feature, "value": value, "predicted": written.rate(rate, row["target"])}
                for feature, value, rate in effect_rows(card)
            ]
            parts.append(page.fold("The figures", [page.table(effects, "Mean predicted rate by value.")]))
        return says, parts or [page.note("Unknown: no trained model is in force.")]

    # -- savings

    @cached_property
    def saved(self) -> pl.DataFrame:
        """What following would have saved, by metric, model and way of making."""
        return following.saved(self.told.judged, ["metric", "made", "model"], self.settings.following)

    def savings(self) -> tuple[list[str], list[str]]:
        """The figure with its method beside it."""
        rules, report = self.settings.following, self.settings.report
        says = [
            f"The rule that would have been followed: each day, the spend of ads that were predicted {written.level(rules.below)} or more below the mean "
            "prediction of their account goes to the account's other ads, in proportion to their spend. Only predictions "
            "that were stored before the day count. What the moved money would have brought is what a unit of spend brought on the "
            "account's other ads that day; what it did bring is given up.",
            f"This is observational and rests on the stored spend of the last {self.told.day.pick(report.window_days, report.archive_window_days)} days "
            "alone. Delivery might have changed: "
            "an ad that is given more money reaches people who care less, so that the gain is rather too high than too low. "
            f"Intervals ({written.level(rules.confidence_level)}) take the ad as the unit. An account counts if {rules.min_ads} of its ads would have given "
            f"and {rules.min_ads} taken.",
        ]
        rows = self.saved.to_dicts()
        if not rows:
            return says, [page.note("Unknown: nothing was predicted for these days.")]
        parts: list[str] = []
        measured = self.saved.filter(pl.col("status") == "measured")
        if measured.height:
            parts.append(
                page.figure(
                    plots.gains(measured),
                    "More results for the same spend, by the model that would have been followed. Left of 0, following would have lost.",
                )
            )
        parts.append(page.table((_saving(row) for row in rows), "Over all accounts.", "remark"))
        for name, title in (("currency", "By currency"), ("account_id", "By account")):
            known = self.told.judged.filter(
                pl.col(name).is_not_null(), pl.col("model").is_in([main["model"] for main in self.main])
            )
            found = following.saved(known, ["metric", "made", "model", name], rules).filter(pl.col("status") == "measured")
            if found.height and found[name].n_unique() > 1:
                shown = ({name.removesuffix("_id"): row[name]} | _saving(row) for row in found.head(_ROWS_SHOWN).to_dicts())
                parts.append(
                    page.fold(
                        f"{title}, of the models of the headline",
                        [
                            page.table(
                                shown,
                                "Those of which something can be said."
                                if found.height <= _ROWS_SHOWN
                                else f"{_ROWS_SHOWN} of {found.height}.",
                                "remark",
                            )
                        ],
                    )
                )
        return says, parts


def _saving(row: Mapping[str, Any]) -> dict[str, object]:
    """A row of `following.saved` as a person reads it."""
    told: dict[str, object] = {"followed": f"{row['metric'].upper()} by {row['model']}, {row['made']}"}
    if row["status"] != "measured":
        return told | dict.fromkeys(_SAVING) | {"remark": row["reason"]}
    low, high, money = row["saved_micros_low"], row["saved_micros_high"], row["saved_micros"]
    columns = (
        f"{written.signed(row['gain'])} ({written.bare(row['gain_low'])} to {written.bare(row['gain_high'])})",
        f"{written.signed(row['saved_share'])} ({written.bare(row['saved_low'])} to {written.bare(row['saved_high'])})",
        "several currencies"
        if money is None
        else f"{written.money(money)} {row['currency']} ({written.money(low)} to {written.money(high)})",
        written.percent(row["moved_share"]),
        f"{row['moved_ads']:,} of {row['ads']:,}",
        row["accounts"],
    )
    return told | dict(zip(_SAVING, columns, strict=True)) | {"remark": ""}


_SAVING = ("more results", "or spend saved", "in money", "spend moved", "ads that gave", "accounts")


def _gains(row: Mapping[str, Any], times: float = 1.0) -> tuple[float | None, float | None]:
    """ΔR² and ΔMAE (`times` so much) of a contest, challenger less opponent; None where they are not known."""
    verdict = json.loads(row["verdict"])
    other = verdict.get("against_champion") or verdict.get("against_baseline") or {}

    def gain(name: str) -> float | None:
        ours, theirs = verdict.get(name), other.get(name)
        return None if ours is None or theirs is None else ours - theirs

    mae = gain("mae")
    return gain("r2"), None if mae is None else times * mae
