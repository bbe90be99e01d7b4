"""What finished hours say about the arms of experiments: reading the facts that evidence is made of, and keeping it by pair and local day.

What belongs here: which hours and days count for which arms, and which of them are counted anew. What does not: what they prove
(`learning.sequential`), and the decisions (`promotions`).

CTR is counted by the hour. Conversions are known by the day only, of the day of their click, and become known late: their exposure is the
impressions times the share of the conversions that is known at that age (`learning.targets`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from learning_assets.assets.day import Day
from learning_assets.clock import days_between
from learning_assets.learning import sequential, targets
from learning_assets.platforms.source import USABLE
from learning_assets.settings import Settings
from learning_assets.store.promotions import PAIR
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

EXPERIMENT = ["account_id", "experiment_id"]
ARM = [*EXPERIMENT, "ad_id"]
NOISE_DAYS = 182
"""Days of an account's past experiments from which the dispersion is learned."""

_AD = ["account_id", "ad_id"]
_ACCOUNT_DAY = ["account_id", "date"]


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the experiments: the day, the moment (UTC) by which hours can be finished, the arms of the day, and those of the days that may have
    been restated (`Store.arms_of`)."""

    day: Day
    moment: datetime
    arms: pl.DataFrame
    recent_arms: pl.DataFrame
    recent: list[date]


def look(store: Store, settings: Settings, day: Day) -> Look:
    """What is looked at on a day. A replayed day is looked at when it had ended everywhere."""
    recent = days_between(day.date - timedelta(days=settings.automation.restate_days - 1), day.date)
    arms = store.arms_of(recent)
    ended = datetime.combine(day.date + timedelta(days=2), datetime.min.time(), UTC)
    moment = ended if day.replaying else min(store.now, ended)
    return Look(day, moment, arms.filter(day=day.date).drop("day"), arms, recent)


def known_days(store: Store, settings: Settings, looking: Look, first: date) -> pl.DataFrame:
    """Complete days of arms since `first` as the cycle of the day knows them; of recent days those that were arms then, else the arms of the day.

    Returns
    -------
    ARM, date, impressions, link_clicks, conversions (NULL where they are not known yet), spend_micros, revenue_micros, share_known (of the
    conversions).
    """
    day = looking.day.date
    looked_up = pl.when(pl.col("restated").fill_null(value=False)).then(max(day, store.now.date())).otherwise(day)
    counts = ("impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros")
    then = looking.recent_arms.select(*ARM, date="day").lazy()
    facts = store.facts(first, day).with_columns(age_days=(looked_up - pl.col("date")).dt.total_days())
    found = pl.concat(
        [
            facts.filter(pl.col("date") >= looking.recent[0]).join(then, on=[*_AD, "date"]),
            facts.filter(pl.col("date") < looking.recent[0]).join(looking.arms.select(ARM).lazy(), on=_AD),
        ]
    )
    columns = [*ARM, "date", *counts]
    lags = store.tables.read("conversion_lags", PIPELINE, until=day, latest=True)
    return targets.exposed(found.select(*columns, "age_days").collect(), lags, settings.growth.mature_days).select(
        *columns, "share_known"
    )


def counted(store: Store, settings: Settings, looking: Look, days: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the day adds to the evidence, and all that is known with it.

    Parameters
    ----------
    days : from `known_days`.

    Returns
    -------
    The rows of `promotion_evidence` that the day writes: new ones, and those of days that were restated since they were counted. And those of
    the experiments of the day, in force on it.
    """
    yesterday, accounts = looking.day.date - timedelta(days=1), looking.recent_arms["account_id"].unique().sort().to_list()
    experiments = looking.recent_arms["experiment_id"].unique().sort().to_list()
    kept = store.promotions.evidence(yesterday, experiments)
    past = store.promotions.splits(yesterday, looking.day.date - timedelta(days=NOISE_DAYS), accounts)
    again = _days_to_count(store, looking, kept)
    hours, whole = _finished_hours(store, settings, looking, again)
    daily = _converting_days(days.filter(pl.col("date") >= looking.recent[0]))
    versions = pl.DataFrame({"date": again, "facts_version": [_version(store, day) for day in again]}, schema=_VERSIONS)
    ctr = _evidence("ctr", hours, kept, past, settings).join(versions, on="date", how="left")
    cvr = _evidence("cvr", daily, kept, past, settings).with_columns(facts_version=pl.lit(None, pl.String))
    gone = [
        _nothing_left(kept.filter(metric="ctr"), ctr, whole),
        _nothing_left(
            kept.filter(metric="cvr"), cvr, days.filter(pl.col("date") >= looking.recent[0]).select(_ACCOUNT_DAY).unique()
        ),
    ]
    owners = store.accounts(PIPELINE).select("account_id", "owner")
    found = pl.concat([ctr, cvr, *gone], how="diagonal").join(owners, on="account_id", how="left")
    fresh = _changed(found, kept).with_columns(as_of=pl.lit(looking.day.date)).select(kept.columns)
    known = pl.concat([kept.join(fresh, on=PAIR, how="anti"), fresh]).filter(pl.col("hours") > 0)
    return fresh, known.join(looking.arms.select(EXPERIMENT).unique(), on=EXPERIMENT, how="semi").sort(PAIR)


_VERSIONS = pl.Schema({"date": pl.Date, "facts_version": pl.String})


def _version(store: Store, day: date) -> str:
    """The version of a day's hours and of its arms."""
    return f"{store.lake.version('actuals_hourly', day)}/{store.lake.version('ad_catalog', day)}"


def _days_to_count(store: Store, looking: Look, kept: pl.DataFrame) -> list[date]:
    """Recent days whose hours were not counted as they are now, and the last two, on which hours become finished."""
    told = dict(kept.filter(metric="ctr").group_by("date").agg(pl.col("facts_version").unique()).iter_rows())
    running = looking.day.date - timedelta(days=1)
    return [day for day in looking.recent if day >= running or told.get(day) != [_version(store, day)]]


def _finished_hours(store: Store, settings: Settings, looking: Look, days: Sequence[date]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Delivery of arms in the hours of these days that are finished (schema `sequential.HOURS`), and the accounts and dates whose hours were fetched.

    An hour is finished `promotion.finished_hours` after its end, by the account's clock, if it was fetched after that.
    """
    told = store.tables.read(
        "fetch_manifest", PIPELINE, columns=["account_id", "as_of", "status", "requested_at"], fact="hourly", as_of=list(days)
    )
    usable = told.filter(pl.col("status").is_in(USABLE)).rename({"as_of": "date"})
    zones = store.accounts(PIPELINE).select("account_id", pl.col("timezone").fill_null("UTC"))
    moment = pl.lit(looking.moment - timedelta(hours=settings.promotion.finished_hours)).dt.cast_time_unit("us")
    fetched = pl.col("requested_at") - pl.duration(hours=settings.promotion.finished_hours)
    until = usable.join(zones, on="account_id").with_columns(until=pl.min_horizontal(moment, fetched))
    # A column has one time zone; there are a few dozen of them.
    local = [
        part.with_columns(
            until=pl.col("until").dt.convert_time_zone(ZoneInfo(part["timezone"][0]).key).dt.replace_time_zone(None)
        )
        for part in until.partition_by("timezone")
    ]
    until = pl.concat(local).select(*_ACCOUNT_DAY, "until") if local else _UNTIL.to_frame()
    ends = pl.col("date").cast(pl.Datetime("us")) + pl.duration(hours=pl.col("hour") + 1)
    hours = (
        pl.concat([store.lake.scan("actuals_hourly", one, one) for one in days])
        .select("date", "hour", *_AD, "impressions", "link_clicks")
        .join(looking.recent_arms.select(*ARM, date="day").lazy(), on=[*_AD, "date"])
        .join(until.lazy(), on=_ACCOUNT_DAY)
        .filter(ends <= pl.col("until"), pl.col("impressions") > 0, pl.col("link_clicks").is_not_null())
        .select(*ARM, "date", "hour", exposure=pl.col("impressions").cast(pl.Float64), events="link_clicks")
        .collect()
    )
    return hours, until.select(_ACCOUNT_DAY)


_UNTIL = pl.Schema({"account_id": pl.String, "date": pl.Date, "until": pl.Datetime("us")})


def _converting_days(days: pl.DataFrame) -> pl.DataFrame:
    """Conversions by arm and day, exposed by the impressions that can have led to what is known by now (schema `sequential.HOURS`)."""
    exposure = pl.col("impressions") * pl.col("share_known")
    return days.filter(pl.col("conversions").is_not_null(), exposure > 0).select(
        *ARM, "date", hour=pl.lit(0, pl.Int64), exposure=exposure, events="conversions"
    )


def _evidence(metric: str, periods: pl.DataFrame, kept: pl.DataFrame, past: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The evidence of periods (schema `sequential.PAIR_DAYS`, and `metric`), each day with the dispersion that it was first counted with."""
    rules = settings.promotion
    splits = sequential.increments(periods, periods.select(*EXPERIMENT, "date", dispersion=pl.lit(1.0)).unique())
    days = splits.select(*EXPERIMENT, "date").unique()
    first = (
        kept.filter(pl.col("metric") == metric, pl.col("hours") > 0)
        .group_by(*EXPERIMENT, "date")
        .agg(pl.col("dispersion").first())
    )
    new = days.join(first, on=[*EXPERIMENT, "date"], how="anti")
    begin = min(new["date"], default=date.max)
    pairs = sequential.PAIR_DAYS.names()
    before = past.filter(pl.col("metric") == metric, pl.col("hours") > 0).select(
        name for name in pairs if name != "log_likelihood"
    )
    variance = sequential.log_rate_variance(before.filter(pl.col("date") < begin), rules)
    own = splits.select(before.columns)
    own = pl.concat([before.join(own, on=[*EXPERIMENT, "ad_id", "other_id", "date"], how="anti"), own])
    learned = sequential.dispersion(own, new, variance, rules).select(first.columns)
    told = pl.concat([first.join(days, on=[*EXPERIMENT, "date"], how="semi"), learned])
    return sequential.increments(periods, told).with_columns(metric=pl.lit(metric))


def _nothing_left(kept: pl.DataFrame, found: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Pairs of these accounts and dates of which nothing is left since they were counted: rows without hours."""
    gone = kept.filter(pl.col("hours") > 0).join(days, on=_ACCOUNT_DAY, how="semi").join(found, on=PAIR, how="anti")
    zero = ("hours", "exposure", "other_exposure", "events", "other_events", "information", "excess")
    return gone.drop("as_of", "owner").with_columns(
        *(pl.lit(0).cast(kept.schema[name]).alias(name) for name in zero),
        log_likelihood=pl.lit([0.0] * len(sequential.GRID), dtype=pl.List(pl.Float64)),
    )


def _changed(found: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """The rows that say something else than what is kept. Exposures to conversions grow alike for all arms of a day, which changes nothing."""
    share = pl.col("exposure") / (pl.col("exposure") + pl.col("other_exposure"))
    told = ("hours", "events", "other_events", "facts_version")
    both = found.join(kept.select(*PAIR, *told, was=share), on=PAIR, how="left", suffix="_kept", maintain_order="left")
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_kept")) for name in told)
    return both.filter(~(same & ((share - pl.col("was")).abs() < 1e-9).fill_null(value=True))).select(found.columns)
