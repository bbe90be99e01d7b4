"""Replay: a range is learned day by day, the same way from everywhere, by one at a time, and each failure names its remedy."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from learning_assets.automation.calendar import days_to_learn, range_to_replay
from learning_assets.automation.replay import QUIET_CONSOLE, ReplayError, replay
from learning_assets.build import build_definitions
from learning_assets.clock import days_between
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.platforms.source import Fetched, SourceError
from learning_assets.settings import Settings
from learning_assets.store import schema
from learning_assets.store.address import Address
from learning_assets.store.store import ChainError, Store
from learning_assets_tests.conftest import LEARNED, copy_of
from learning_assets_tests.world import Learned, MakeWorld, World, failure, materialized

FIRST, LAST = date(2026, 2, 24), date(2026, 3, 1)
SMALL = {"accounts": 5, "ads": 3, "impressions": 100}
CLOCKS = {"seconds", "written_at", "created_at", "at", "made_at"}
"""Columns that say when or how fast something was done, and not what was learned."""


def everything_learned(world: World) -> dict[str, pl.DataFrame]:
    """Every table and every file of the lake, without clocks and the ids of runs."""
    skipped = {"learning_cycle_log", "store_identity", "budget_wishes"}  # a replay wishes for nothing
    tables = {
        name: world.table(name).drop(*CLOCKS & set(table.c.keys()))
        for name, table in schema.metadata.tables.items()
        if name not in skipped
    }
    cards = [json.dumps(without_seconds(json.loads(card)), sort_keys=True) for card in tables["models"]["card"]]
    tables["models"] = tables["models"].with_columns(pl.Series("card", cards, pl.String))
    # Every revision of a day is kept; the newest is what was learned.
    newest = pl.col("revision") == pl.col("revision").max().over("as_of")
    decisions = tables["promotion_decisions"].filter(newest)
    tables["promotion_decisions"] = decisions.drop("revision", "decision_id", "decided_at", "replayed")
    lake = {
        f"{asset}/{day}": world.store.lake.read_as_written(asset, day).drop("made_at", strict=False)
        for asset in sorted(path.name for path in world.store.lake.root.iterdir())
        for day in world.store.lake.days(asset)
    }
    return tables | lake


def without_seconds(card: Any) -> Any:
    if isinstance(card, dict):
        return {name: without_seconds(value) for name, value in card.items() if name != "seconds"}
    return card


ROUNDED = {"prediction_comparisons", "promotion_decisions", "promotion_evidence", "thompson_arms"}
"""Tables of sums over ad-days and hours, which polars adds up in no fixed order: their last bits differ from run to run."""


def differing(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> list[str]:
    """Tables and files that do not hold the same rows, in whatever order the database gave them."""

    def differ(name: str) -> bool:
        key = [column for column, kind in one[name].schema.items() if not kind.is_nested() and not kind.is_float()]
        pair = (frame.sort(key, nulls_last=True) for frame in (one[name], other[name]))
        try:
            assert_frame_equal(*pair, check_exact=name not in ROUNDED, rel_tol=1e-9, abs_tol=1e-12)
        except AssertionError:
            return True
        return False

    return [name for name in one if differ(name)]


@pytest.fixture
def twins(server: Address, learned: Learned, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two stores of the same market with the same facts before FIRST, that have learned nothing."""
    with ExitStack() as held:
        worlds = []
        for name in ("one", "other"):
            home = tmp_path / name
            for asset in ("ad_catalog", "actuals"):
                (home / "lake" / asset).mkdir(parents=True)
                for day in days_between(learned.facts_from, FIRST - timedelta(days=1)):
                    shutil.copy(learned.store.lake.path(asset, day), home / "lake" / asset)
            database = held.enter_context(copy_of(server, "template_learning"))
            worlds.append(World.of(Settings(home=home, database_url=database.learning(), **LEARNED)))  # type: ignore[arg-type]
        yield worlds[0], worlds[1]


def test_replay_and_the_job_of_the_ui_learn_the_same(twins: tuple[World, World]) -> None:
    by_command, by_job = twins
    days = days_between(FIRST, LAST)
    seen: list[tuple[date, int, int]] = []
    done = replay(by_command.cycle, by_command.instance, by_command.store, days, lambda *step: seen.append(step))
    assert done.days == tuple(days)
    assert seen == [(day, n, len(days)) for n, day in enumerate(days, start=1)]
    job = by_job.definitions.resolve_job_def("replay_range")
    asked = {"replay_days": {"config": {"first": str(FIRST), "last": ""}}}
    result = job.execute_in_process(run_config={"ops": asked, **QUIET_CONSOLE}, instance=by_job.instance)
    assert result.success
    one, other = everything_learned(by_command), everything_learned(by_job)
    assert one.keys() == other.keys()
    assert differing(one, other) == []
    # What was compared is worth comparing.
    assert one["learning_patterns"]["as_of"].unique().sort().to_list() == days
    assert one["champions"]["model_id"].drop_nulls().len() > 0
    assert one["models"].height >= 2
    assert one["improvement_snapshots"].height == len(days) * 7
    assert one["prediction_comparisons"].filter(pl.col("wape").is_not_null()).height > 0
    assert [name for name in one if name.startswith("predictions/")] == [f"predictions/{day}" for day in days]
    for world, cause in ((by_command, "replay"), (by_job, "replay_range")):
        log = world.table("learning_cycle_log").sort("partition_day")
        assert log["partition_day"].to_list() == days
        assert log.select("job", "status", "cause", "written_by").unique().rows() == [
            ("learning_cycle", "success", cause, "replay")
        ]
        assert log["error"].null_count() == len(days)
    files = [
        {str(path.relative_to(world.store.home)): path.read_bytes() for path in world.store.home.glob("artifacts/**/*.ubj")}
        for world in twins
    ]
    assert files[0] == files[1]
    assert len(files[0]) == one["models"].height


# -- failures


class FailsOn(SandboxSource):
    """The simulated market, whose actuals of one day cannot be fetched while it is broken."""

    broken: date | None = None

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        if first == self.broken:
            raise SourceError(f"The market has no answer for {first}. Ask again.")
        return super().actuals(first, last, known_on)


@pytest.fixture
def fragile(make_world: MakeWorld) -> World:
    """A small world whose source can be broken."""
    world = make_world(sandbox=SMALL)
    assert isinstance(world.source, SandboxSource)
    source = FailsOn(world.source.settings, world.source.epoch)
    definitions = build_definitions(settings=world.settings, store=world.store, source=source)
    return replace(world, source=source, definitions=definitions)


def learned_days(world: World) -> dict[str, list[date]]:
    """Days that each learned table has rows of."""
    tables = ("learning_patterns", "champions", "prediction_comparisons", "improvement_snapshots")
    return {name: world.table(name, columns=["as_of"])["as_of"].unique().sort().to_list() for name in tables}


def test_a_day_that_fails_ends_the_replay_and_names_the_remedy(fragile: World) -> None:
    days = days_between(date(2026, 2, 26), LAST)
    assert isinstance(fragile.source, FailsOn)
    fragile.source.broken = days[1]
    seen: list[date] = []
    with pytest.raises(ReplayError) as raised:
        replay(fragile.cycle, fragile.instance, fragile.store, days, lambda day, *_: seen.append(day))
    assert str(raised.value) == (
        "2026-02-27: actuals: The market has no answer for 2026-02-27. Ask again.\n"
        "The days before it are learned. When mended: learning-assets replay --from 2026-02-27"
    )
    assert seen == days[:1]
    assert learned_days(fragile)["improvement_snapshots"] == days[:1]
    log = fragile.table("learning_cycle_log").sort("partition_day")
    assert log.select("partition_day", "status").rows() == [(days[0], "success"), (days[1], "failure")]
    assert log["error"].to_list() == [None, "actuals: The market has no answer for 2026-02-27. Ask again."]

    fragile.source.broken = None
    replay(fragile.cycle, fragile.instance, fragile.store, days[1:3])
    assert learned_days(fragile)["learning_patterns"] == days[:3]

    # An older day alone is refused, with the remedy; the remedy then replaces it and takes the later days away.
    again = fragile.run(days[0])
    assert not again.success
    assert "learning-assets replay --from 2026-02-26" in failure(again)
    assert learned_days(fragile)["learning_patterns"] == days[:3]
    replay(fragile.cycle, fragile.instance, fragile.store, days[:1])
    kept = learned_days(fragile)
    assert kept["learning_patterns"] == kept["champions"] == kept["improvement_snapshots"] == days[:1]
    assert set(kept["prediction_comparisons"]) <= {days[0]}
    assert days_to_learn(fragile.store, fragile.source, date(2026, 3, 2)) == days[1:]


def test_two_replays_at_once_are_one_too_many(fragile: World) -> None:
    """The second is refused while the first runs, from the command line as from the UI, and so is a day of its own."""
    other = World.of(fragile.settings)
    day = date(2026, 2, 28)
    told: list[str] = []

    def meanwhile(*_: object) -> None:
        with pytest.raises(ReplayError) as raised:
            replay(other.cycle, other.instance, other.store, [day])
        told.append(str(raised.value))
        job = other.definitions.resolve_job_def("replay_range")
        asked = {"replay_days": {"config": {"first": str(day)}}}
        result = job.execute_in_process(
            run_config={"ops": asked, **QUIET_CONSOLE}, instance=other.instance, raise_on_error=False
        )
        told.append(failure(result))
        with pytest.raises(ChainError, match="A replay is under way; patterns of 2026-03-01 can be learned when it has ended"):
            other.store.require_next("patterns", LAST, 1)

    replay(fragile.cycle, fragile.instance, fragile.store, [day], meanwhile)
    under_way = "Another replay is under way. Wait until it has ended, or cancel it."
    assert told == [under_way, f"replay_days: {under_way}"]
    assert fragile.table("learning_cycle_log").height == 1
    # The lock is gone with the first.
    other.store.require_next("patterns", LAST, 1)
    assert materialized(other.run(LAST)) >= {"patterns", "snapshots"}


def test_a_replay_that_failed_leaves_no_lock(fragile: World) -> None:
    day = date(2026, 2, 28)
    assert isinstance(fragile.source, FailsOn)
    fragile.source.broken = day
    for _ in range(2):
        with pytest.raises(ReplayError, match=r"^2026-02-28: actuals"):
            replay(fragile.cycle, fragile.instance, fragile.store, [day])


# -- which days


@dataclass(frozen=True)
class Steps:
    """A source by its calendar alone: its first day, and steps of a day or a week from it on."""

    cadence: str
    first: date
    steps: int

    @property
    def step(self) -> int:
        """Days from step to step."""
        return 7 if self.cadence == "week" else 1

    def first_day(self) -> date:
        """The first step."""
        return self.first

    def last_day(self, today: date) -> date:
        """The newest step before today."""
        every = [self.first + timedelta(days=self.step * n) for n in range(-1, self.steps)]
        return max((day for day in every if day < today), default=every[0])


calendars = st.builds(
    Steps, st.sampled_from(["day", "week"]), st.dates(date(2025, 1, 1), date(2025, 3, 1)), st.integers(1, 120)
)
todays = st.dates(date(2025, 1, 2), date(2026, 3, 1))
FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def learn(make_world: MakeWorld) -> Callable[[date | None], Store]:
    """A store of which only the newest learned day is known."""
    store = make_world(sandbox=SMALL).store

    def until(day: date | None) -> Store:
        store.tables.execute(schema.asset_days.delete())
        if day is not None:
            empty = store.tables.schema("improvement_snapshots").to_frame()
            store.replace_day("improvement_snapshots", day, empty, asset="snapshots")
        return store

    return until


@FAST
@given(calendar=calendars, today=todays, learned_steps=st.integers(-1, 119))
def test_what_is_to_be_learned_follows_what_was_learned(
    learn: Callable[[date | None], Store], calendar: Steps, today: date, learned_steps: int
) -> None:
    done = None if learned_steps < 0 else calendar.first + timedelta(days=calendar.step * learned_steps)
    found = days_to_learn(learn(done), calendar, today)  # type: ignore[arg-type]
    last = calendar.last_day(today)
    assert len(found) <= 28
    assert all(day <= last < today for day in found) or not found
    assert found == sorted(set(found))
    if done is None:
        assert found == [last]
    elif done >= last:
        assert found == []
    else:
        # No gap: a chained day could not be learned after one.
        assert found == days_between(done + timedelta(days=calendar.step), last, calendar.step)[:28]
        assert found


@FAST
@given(calendar=calendars, today=todays, offset=st.integers(-10, 400), length=st.integers(0, 60))
def test_a_range_has_the_steps_of_the_source(
    learn: Callable[[date | None], Store], calendar: Steps, today: date, offset: int, length: int
) -> None:
    store = learn(None)
    first = calendar.first + timedelta(days=offset)
    last = first + timedelta(days=length)
    ended = calendar.last_day(today)
    if last > ended or not any(first <= ended - timedelta(days=calendar.step * n) <= last for n in range(200)):
        with pytest.raises(ValueError, match=str(last)):
            range_to_replay(store, calendar, first, last, today)  # type: ignore[arg-type]
        return
    found = range_to_replay(store, calendar, first, last, today)  # type: ignore[arg-type]
    assert first <= found[0]
    assert found[-1] <= last <= ended
    assert {(ended - day).days % calendar.step for day in found} == {0}
    assert len(found) == 1 + (found[-1] - found[0]).days // calendar.step
    assert found[0] - first < timedelta(days=calendar.step)
    assert last - found[-1] < timedelta(days=calendar.step)


def test_by_default_a_replay_is_of_everything(make_world: MakeWorld) -> None:
    world = make_world(sandbox=SMALL)
    found = range_to_replay(world.store, world.source, None, None, date(2026, 3, 2))
    assert (found[0], found[-1], len(found)) == (date(2025, 12, 2), LAST, 90)


def test_a_range_that_cannot_be_learned_says_why(make_world: MakeWorld) -> None:
    world = make_world(sandbox=SMALL, start_day="2026-02-01")
    today = date(2026, 3, 2)

    def ask(first: date | None, last: date | None) -> list[date]:
        return range_to_replay(world.store, world.source, first, last, today)

    assert ask(None, None)[0] == date(2026, 2, 1)
    with pytest.raises(ValueError, match=r"2026-01-31 is before the first partition, 2026-02-01\. Begin there or later"):
        ask(date(2026, 1, 31), None)
    with pytest.raises(ValueError, match=r"2026-03-02 has not ended yet.* The newest day that can be learned is 2026-03-01"):
        ask(None, today)
    with pytest.raises(ValueError, match="2026-03-05 has not ended yet"):
        ask(date(2026, 3, 5), None)
    with pytest.raises(ValueError, match="There is no day to learn from 2026-02-20 to 2026-02-19"):
        ask(date(2026, 2, 20), date(2026, 2, 19))
