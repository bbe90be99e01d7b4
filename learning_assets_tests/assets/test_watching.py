"""The hourly stream behind the drift trigger: what is judged, what is kept, and that no hour counts twice."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from learning_assets.assets.watching import LATE_DAYS
from learning_assets.clock import days_between
from learning_assets.learning import drift
from learning_assets.learning.drift import State
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import HOURLY, MANIFEST, Fetched
from learning_assets.settings import Sandbox
from learning_assets.store import schema
from learning_assets.store.walls import Wall
from learning_assets_tests.world import Learned, MakeWorld, World, metadata

TABLES = ("click_hours", "click_drift", "champions")


@pytest.fixture
def watching(learned_copy: Learned) -> Learned:
    """The world that has learned, in which two days of hours suffice for a profile: the last five of its days can be judged."""
    again = learned_copy.again(models={**learned_copy.settings.models.model_dump(exclude_unset=True), "drift_min_days": 2})
    parts = (again.settings, again.store, again.source, again.instance, again.definitions)
    return Learned(*parts, learned_copy.facts_from, learned_copy.days)


def decide(world: World, days: Sequence[date], **config: Any) -> list[dict[str, Any]]:
    """Learn champions of days anew, from the first on; what the run of each day reported."""
    found: list[dict[str, Any]] = []
    for day in days:
        result = world.run(day, "retrained_model", replaying=True, **config)
        assert result.success
        found.append(metadata(result, "retrained_model"))
    return found


def row(world: World, day: date, pool: str = "shared") -> dict[str, Any]:
    """A pool's row of `click_drift`."""
    (found,) = world.table("click_drift", as_of=day, pool=pool).to_dicts()
    return found | {"state": State.from_json(json.loads(found["state"]))}


def trigger(world: World, day: date, target: str = "ctr", pool: str = "shared") -> dict[str, Any]:
    """The drift trigger as it stands with a pool's champion."""
    (found,) = world.table("champions", as_of=day, pool=pool, target=target)["triggers"].to_list()
    return next(one for one in json.loads(found) if one["name"] == "drift")


def kept(world: World) -> dict[str, pl.DataFrame]:
    """What the days have stored, without how long anything took."""
    found = {name: world.table(name).drop("seconds", strict=False) for name in TABLES}
    return {
        name: rows.sort([c for c in rows.columns if c in ("as_of", "date", "account_id", "target", "pool")])
        for name, rows in found.items()
    }


def thin_out(world: World, day: date, share: float, account: str | None = None) -> None:
    """Of the clicks of every hour of a day, or of one account's, only a share is left."""
    rows = world.store.lake.read("actuals_hourly", day)
    which = pl.lit(value=True) if account is None else pl.col("account_id") == account
    clicks = pl.when(which).then((pl.col("link_clicks") * share).round().cast(pl.Int64)).otherwise("link_clicks")
    world.store.lake.write("actuals_hourly", day, rows.with_columns(link_clicks=clicks))


def say(world: World, account: str, day: date, status: str) -> None:
    """Let the manifest say how the fetch of an account's hours ended."""
    told = schema.fetch_manifest
    of = (told.c.account_id == account, told.c.as_of == day, told.c.fact == "hourly")
    assert world.store.tables.execute(sa.update(told).where(*of).values(status=status)) == 1


# -- judged and kept


def test_hours_are_judged_once_enough_days_of_them_are_known(learned: Learned):
    """By default after 14 days; until then the day's hours are kept, and the trigger says why it is silent."""
    assert row(learned, learned.days[0])["reason"] == "no champion was there to predict the day's clicks"
    for day in learned.days[1:]:
        assert (row(learned, day)["evidence"], row(learned, day)["state"]) == (None, State())
        reason = "Not fired: an account's hours are judged once 14 earlier days of them are known, and no account has as many."
        assert (trigger(learned, day)["fired"], trigger(learned, day)["value"], trigger(learned, day)["reason"]) == (
            False,
            None,
            reason,
        )
    assert (
        trigger(learned, learned.days[-1], "cvr")["reason"]
        == "Not fired: platforms tell clicks by hour, and nothing of what follows them."
    )


def test_kept_hours_are_those_that_the_champion_predicted(learned: Learned):
    rows = learned.table("click_hours").sort("date", "account_id")
    assert rows["date"].to_list() == rows["as_of"].to_list() == [day for day in learned.days[1:] for _ in range(6)]
    day = learned.days[3]
    said = learned.store.lake.read("predictions", learned.days[2]).filter(metric="ctr", model="xgboost")
    hours = learned.store.lake.read("actuals_hourly", day).join(said, on=["account_id", "ad_id"])
    expected = hours.group_by("account_id", "hour").agg(
        clicks=pl.col("link_clicks").sum(), flat=(pl.col("impressions") * pl.col("predicted")).sum()
    )
    found = rows.filter(date=day).explode("hour", "clicks", "flat").select("account_id", "hour", "clicks", "flat")
    key = ["account_id", "hour"]
    both = found.join(expected, on=key, suffix="_true")
    assert both.height == found.height == expected.height
    assert (both["clicks"] == both["clicks_true"]).all()
    assert both["flat"].is_close(both["flat_true"], rel_tol=1e-9).all()
    owners = dict(learned.store.accounts(Wall(None)).select("account_id", "owner").iter_rows())
    assert all(owners[account] == owner for account, owner in rows.select("account_id", "owner").iter_rows())
    asked = learned.table("click_hours", Wall(owners[rows["account_id"][0]]))
    assert set(asked["account_id"]) == {rows["account_id"][0]}


def test_a_calm_stream_is_watched_day_by_day_and_a_new_champion_begins_anew(watching: Learned):
    """The days are judged from the third with predictions on; `days[5]` has promoted a challenger, whose first predictions are of `days[6]`."""
    days = watching.days
    reported = decide(watching, days[2:])
    assert [watching.table("champions", as_of=day, target="ctr")["status"].item() for day in days[4:7]] == [
        *("no_retrain_needed", "retrained", "no_retrain_needed"),
    ]
    last = State()
    for number, day in enumerate(days[2:], start=2):
        found, seen = row(watching, day), reported[number - 2]
        if number < 3:
            assert (found["evidence"], "drift_hours_shared" in seen, seen["pools_watched"]) == (None, False, 0)
            continue
        assert 0 < found["evidence"] < 20_000
        assert (seen["drift_hours_shared"], seen["pools_watched"], seen["drift_alarms"]) == (found["evidence"], 1, 0)
        assert (found["alarms"], found["reason"], found["state"].last) == ([], None, (day, 23))
        fired = trigger(watching, day)
        assert (fired["fired"], fired["value"], fired["threshold"]) == (False, found["evidence"], 20_000)
        # What the pure functions make of the same hours, from the state before; from none where the champion is another.
        before = State() if number == 6 else last
        assert found["state"] == anew(watching, day, before).state
        assert (number == 6) == (found["model_id"] != row(watching, days[number - 1])["model_id"])
        last = found["state"]
    said = watching.table("champions", as_of=days[4], target="ctr")["reason"].item()
    assert "Evidence for a change in the hourly stream did not reach 20,000 hours" in said


def test_hours_that_another_model_predicted_do_not_speak_of_the_champion(watching: Learned):
    """As after a rollback: the champion put back has not predicted the next day, whose hours are kept for the profile."""
    days, pointer = watching.days, schema.champions
    first = watching.table("champions", as_of=days[0], target="ctr")["model_id"].item()
    decide(watching, days[2:])
    hours = watching.table("click_hours").sort("account_id", "date")
    back = sa.update(pointer).where(pointer.c.as_of == days[-2], pointer.c.target == "ctr").values(model_id=first)
    assert watching.store.tables.execute(back) == 1
    decide(watching, days[-1:])
    found = row(watching, days[-1])
    assert (found["evidence"], found["state"], found["model_id"]) == (None, State(), first)
    assert trigger(watching, days[-1])["reason"] == "Not fired: the champion in force did not predict the day."
    assert watching.table("click_hours").sort("account_id", "date").equals(hours)


def anew(world: World, day: date, before: State) -> drift.Day:
    """A day's hours judged straight from the facts, of a world whose accounts are all of one pool."""
    lake, first = world.store.lake, date(2026, 2, 23)
    said = lake.scan("predictions", first - timedelta(days=1), day).filter(metric="ctr", model="xgboost").collect()
    hours = drift.hourly(lake.scan("actuals_hourly", first, day).collect(), said).with_columns(stream=pl.lit("shared"))
    measured = world.table(
        "prediction_comparisons", as_of=day - timedelta(days=1), segment="all", model="xgboost", metric="ctr"
    )
    (phi,) = measured.filter(pl.col("account_id").is_null())["dispersion"].to_list()
    today, past = hours.filter(date=day), hours.filter(pl.col("date") < day)
    return drift.watch(day, today, past, {"shared": before}, {"shared": phi}, world.settings.models)["shared"]


def test_a_day_that_is_decided_again_gives_the_same_rows(watching: Learned):
    days = watching.days
    decide(watching, days[2:])
    once = kept(watching)
    assert watching.run(days[-1], "retrained_model").success, "as the check at 02:00 and the cycle at 03:00 do"
    decide(watching, days[-3:])
    decide(watching, days[4:])
    again = kept(watching)
    assert {name for name in TABLES if not again[name].equals(once[name])} == set()


# -- a shift


def test_a_shift_of_the_click_rate_fires_within_the_day_and_trains(watching: Learned):
    """Two of five clicks are missing on a day on which nothing else calls for a challenger."""
    days, day = watching.days, watching.days[4]
    thin_out(watching, day, 0.6)
    decide(watching, days[2:4])
    (seen,) = decide(watching, [day])
    found, fired = row(watching, day), trigger(watching, day)
    assert fired["fired"]
    assert fired["value"] == found["evidence"] >= 20_000
    assert found["change"] < -0.1
    assert 0 < len(found["alarms"]) == seen["drift_alarms"]
    assert f"; the likeliest change of the rate is {found['change']:+.0%}." in fired["reason"]
    decided = watching.table("champions", as_of=day, target="ctr").row(0, named=True)
    assert decided["challenger_id"] is not None
    assert [one["name"] for one in json.loads(decided["triggers"]) if one["fired"]] == ["drift"]
    assert watching.table("champions", as_of=day, target="cvr")["challenger_id"].item() is None, (
        "hours tell nothing of conversions"
    )
    # The detector has begun anew: what it carries is of the hours since its last alarm.
    assert sum(found["state"].evidence) / len(found["state"].evidence) < 20_000


def test_the_shift_of_one_account_fires_where_its_own_pool_is_watched(make_world: MakeWorld):
    """Owners who do not consent have detectors of their own; the clicks of one are nothing to that of the other."""
    market = Sandbox(accounts=2, ads=16, impressions=8_000)
    world = make_world(Alone(market, date(2026, 3, 2)), sandbox=market.model_dump(), models=FEW)
    world.fetch(date(2026, 2, 1), date(2026, 2, 22))
    days = days_between(date(2026, 2, 23), date(2026, 2, 27))
    assert all(world.run(day, *LEARNING, replaying=True).success for day in days)
    shifted, calm = world.store.pools()
    before = row(world, days[-1], calm.name)
    assert before["evidence"] is not None
    thin_out(world, days[-1], 0.3, shifted.account_ids[0])
    (seen,) = decide(world, days[-1:])
    assert trigger(world, days[-1], pool=shifted.name)["fired"]
    assert row(world, days[-1], shifted.name)["change"] == min(drift.CHANGES)
    assert row(world, days[-1], calm.name) == before
    assert seen[f"drift_hours_{shifted.label}"] >= 20_000
    assert seen[f"drift_hours_{calm.label}"] == before["evidence"]
    assert set(world.table("click_drift", Wall(calm.owner))["pool"]) == {calm.name}


LEARNING = ("ad_catalog", "actuals", "creative_dna", "prediction_accuracy", "retrained_model", "predictions")
FEW = {"min_ads": 5, "trees": 20, "drift_min_days": 3}


class Alone(SandboxSource):
    """The market, of which nobody consents."""

    def accounts(self) -> pl.DataFrame:
        return super().accounts().with_columns(consents=False)


# -- hours that come late, or never


def test_hours_that_are_whole_a_day_later_count_then_and_once(watching: Learned):
    """An account behind UTC: its day goes on when the others are judged."""
    days, late = watching.days, watching.days[4]
    account = watching.table("click_hours")["account_id"].min()
    assert isinstance(account, str)
    decide(watching, days[2:])
    whole = watching.table("click_hours").drop("as_of").sort("account_id", "date")
    say(watching, account, late, "running")
    decide(watching, days[2:5])
    assert account not in set(watching.table("click_hours", as_of=late)["account_id"])
    say(watching, account, late, "complete")
    decide(watching, days[5:])
    rows = watching.table("click_hours", account_id=account).sort("date")
    assert dict(rows.select("date", "as_of").iter_rows()) == {day: day if day != late else days[5] for day in days[1:]}
    assert watching.table("click_hours").drop("as_of").sort("account_id", "date").equals(whole)
    state = row(watching, days[5])["state"]
    assert state.last == (days[5], 23)
    assert watching.run(days[-1], "retrained_model").success
    assert watching.table("click_hours").drop("as_of").sort("account_id", "date").equals(whole)


def test_hours_that_never_become_whole_are_given_up(watching: Learned):
    days, account = watching.days, watching.table("click_hours")["account_id"].min()
    assert isinstance(account, str)
    say(watching, account, days[3], "failed")
    decide(watching, days[3 : 4 + LATE_DAYS])
    say(watching, account, days[3], "complete")
    decide(watching, days[4 + LATE_DAYS :])
    assert days[3] not in set(watching.table("click_hours", account_id=account)["date"])


class WithoutHours(SandboxSource):
    """The market of a platform that tells nothing by hour."""

    def hourly(self, day: date) -> Fetched:  # noqa: ARG002
        return Fetched(HOURLY.to_frame(), MANIFEST.to_frame())


def test_without_hours_drift_is_unknown_and_says_so(make_world: MakeWorld):
    market = Sandbox(accounts=5, ads=8, impressions=5_000)
    world = make_world(WithoutHours(market, date(2026, 3, 2)), sandbox=market.model_dump(), models=FEW)
    world.fetch(date(2026, 2, 1), date(2026, 2, 22))
    for day in (date(2026, 2, 23), date(2026, 2, 24)):
        result = world.run(day, *LEARNING, replaying=True)
        assert result.success
        assert "drift_hours_shared" not in metadata(result, "retrained_model")
        fired = trigger(world, day)
        assert (fired["fired"], fired["value"]) == (False, None)
        assert fired["reason"] == "Not fired: no hours of the day are known that are finished."
    assert world.table("champions", as_of=date(2026, 2, 24), target="ctr")["model_id"].item() is not None
    assert world.table("click_hours").is_empty()
