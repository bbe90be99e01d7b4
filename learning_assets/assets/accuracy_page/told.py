"""What the page on accuracy reads."""

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.assets.outcomes import predicted
from learning_assets.settings import Settings
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, Wall

SIDES = {
    "ctr": ("link_clicks", "impressions"),
    "cvr": ("conversions", "link_clicks"),
    "roas": ("revenue_micros", "spend_micros"),
}
"""Numerator and denominator of each metric, of days whose conversions are known."""

_KEY = ["date", "account_id", "ad_id"]


@dataclass(frozen=True, slots=True)
class Told:
    """What a page rests on.

    Attributes
    ----------
    day : that it is of.
    owner : whose page it is, None for whoever runs this.
    comparisons : rows of `prediction_comparisons` of the day.
    history : those over pools and all ads, of the last steps.
    judged : one row per prediction of the window and what happened, `num` and `den` of its metric included; results that are still coming in are NULL.
    trained : models that were trained, and are no mere counts.
    champions : rows of `champions` up to the day; `models` likewise.
    log : runs that ended, with job and status; empty for an owner.
    """

    day: Day
    owner: str | None
    comparisons: pl.DataFrame
    history: pl.DataFrame
    judged: pl.DataFrame
    trained: frozenset[str]
    champions: pl.DataFrame
    models: pl.DataFrame
    log: pl.DataFrame


def read(store: Store, day: Day, settings: Settings, wall: Wall = PIPELINE) -> Told:
    """Everything that a page of `day` says, as far as the wall lets through.

    Raises
    ------
    ValueError : a prediction could have known its target day.
    """
    rules = settings.report
    first = day.date - timedelta(days=rules.history_steps * day.step_days)
    history = store.tables.read("prediction_comparisons", wall, segment="all", until=day.date)
    accounts = store.accounts(wall)["account_id"].to_list()
    found = judged(store, day, day.pick(rules.window_days, rules.archive_window_days), accounts, settings.growth.mature_days)
    log = store.tables.read("learning_cycle_log", PIPELINE, columns=["job", "status", "ended_at"])
    return Told(
        day=day,
        owner=wall.owner,
        comparisons=store.tables.read("prediction_comparisons", wall, as_of=day.date),
        history=history.filter(pl.col("account_id").is_null(), pl.col("as_of") > first),
        judged=found,
        trained=frozenset(found.filter(pl.col("model_id").is_not_null())["model"].unique().to_list()),
        champions=store.tables.read("champions", wall, until=day.date),
        models=store.tables.read("models", wall, until=day.date),
        log=log if wall.owner is None else log.clear(),
    )


def judged(store: Store, day: Day, days: int, accounts: list[str], mature_days: int) -> pl.DataFrame:
    """Each prediction for a day of the window, the one with the shortest horizon where there are several, and what happened.

    Returns
    -------
    `date`, `account_id`, `ad_id`, `as_of`, `made`, `metric`, `model`, `model_id`, `predicted`, then the day's facts (NULL where the ad was not
    shown) and `num` and `den` of the metric. Conversions and revenue younger than `mature_days` are NULL: they are still coming in.

    Raises
    ------
    ValueError : a prediction could have known its target day.
    """
    first = day.date - timedelta(days=days - 1)
    columns = [*_KEY, "as_of", "made", "metric", "model", "model_id", "predicted"]
    told = predicted(store, day, first).filter(pl.col("account_id").is_in(accounts)).select(columns).collect()
    told = told.sort("as_of").unique([*_KEY, "made", "metric", "model"], keep="last", maintain_order=True)
    mature = pl.col("date") <= day.date - timedelta(days=mature_days)
    happened = (
        store.facts(first, day.date)
        .select(
            *_KEY,
            "currency",
            "impressions",
            "link_clicks",
            "spend_micros",
            *(pl.when(mature).then(name).alias(name) for name in ("conversions", "revenue_micros")),
        )
        .collect()
    )
    found = told.join(happened, on=_KEY, how="left")

    def side(number: int) -> pl.Expr:
        return pl.coalesce(pl.when(pl.col("metric") == metric).then(names[number]) for metric, names in SIDES.items())

    return found.with_columns(num=side(0), den=side(1))
