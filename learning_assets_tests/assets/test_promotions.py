"""Decisions about experiments: what they rest on, that they are kept, what they ask of budgets, and that a day again is a day again."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from learning_assets.assets.promotions import in_force
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.learning import sequential
from learning_assets.store import schema
from learning_assets.store.promotions import PAIR
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, Run, World, failure, metadata

DAY, BEFORE = date(2026, 3, 1), date(2026, 2, 28)
TODAY = date(2026, 3, 2)
WINS = ("4000002", "121000001000000173")
"""An experiment of two ad sets in which one arm is far better: promoted on its third day."""
SAYS_NOTHING_OF = ("decision_id", "revision", "decided_at", "replayed")


def decide(world: World, day: date = DAY, **more: Any) -> Any:
    result = world.run(day, "promotions", **more)
    assert result.success
    return result


def decided(world: World, day: date = DAY, experiment: tuple[str, str] = WINS) -> dict[str, Any]:
    (row,) = world.store.promotions.decisions(day, account_id=experiment[0], experiment_id=experiment[1]).to_dicts()
    return row


def evidence(world: World, day: date, experiment: tuple[str, str] = WINS, metric: str = "ctr") -> pl.DataFrame:
    return world.store.promotions.evidence(day, [experiment[1]]).filter(metric=metric, account_id=experiment[0])


def hours_of(world: World, day: date, ad: str) -> pl.DataFrame:
    return world.store.lake.read("actuals_hourly", day).filter(pl.col("ad_id") == ad)


def rewrite_hours(world: World, day: date, ad: str, clicks: pl.Expr) -> None:
    """Restate the clicks of an ad's hours."""
    hours = world.store.lake.read("actuals_hourly", day)
    changed = pl.when(pl.col("ad_id") == ad).then(clicks).otherwise("link_clicks").cast(pl.Int64)
    world.store.lake.write("actuals_hourly", day, hours.with_columns(link_clicks=changed))


def test_a_day_decides_about_every_experiment_of_its_catalog(learned: Learned):
    arms, rows = learned.store.arms(DAY), learned.store.promotions.decisions(DAY)
    assert (
        rows.select("account_id", "experiment_id").rows()
        == arms.select("account_id", "experiment_id").unique().sort("account_id", "experiment_id").rows()
    )
    assert set(rows["status"]) <= {"continue_testing", "promoted", "insufficient_data", "blocked", "cannot_isolate"}
    apart = dict(arms.group_by("experiment_id").agg(pl.col("isolated").all()).iter_rows())
    for row in rows.iter_rows(named=True):
        assert (row["status"] == "cannot_isolate") is not apart[row["experiment_id"]]
        assert row["reason"]


def test_evidence_is_that_of_the_hours_in_the_lake(learned: Learned):
    rows = evidence(learned, DAY)
    (ours,), (other,) = rows["ad_id"].unique(), rows["other_id"].unique()
    assert ours < other
    assert rows["date"].to_list() == list(learned.days)
    for row in rows.iter_rows(named=True):
        both = hours_of(learned, row["date"], ours).join(hours_of(learned, row["date"], other), on="hour")
        sums = both.select(*("link_clicks", "link_clicks_right", "impressions", "impressions_right"), n=pl.lit(1)).sum().row(0)
        assert (row["events"], row["other_events"], row["exposure"], row["other_exposure"], row["hours"]) == sums
    found = sequential.evidence(rows.select(sequential.PAIR_DAYS.names()), learned.settings.promotion)
    best = found.sort("log_e").row(-1, named=True)
    told = decided(learned)
    assert (told["ad_id"], told["other_id"]) == (best["ad_id"], best["other_id"])
    assert told["log_e"] == pytest.approx(best["log_e"])
    assert told["anytime_p"] == pytest.approx(best["anytime_p"])


def test_conversions_are_counted_by_day_with_their_exposure(learned: Learned):
    rows = evidence(learned, DAY, metric="cvr")
    facts = learned.store.facts(rows["date"].min(), DAY).collect()  # type: ignore[arg-type]
    for row in rows.iter_rows(named=True):
        of = facts.filter(pl.col("date") == row["date"])
        ours, other = (of.filter(pl.col("ad_id") == row[name]).row(0, named=True) for name in ("ad_id", "other_id"))
        assert (row["hours"], row["events"], row["other_events"]) == (1, ours["conversions"], other["conversions"])
        assert row["exposure"] <= ours["impressions"]
        # What is not known yet is missing from both arms alike.
        assert row["exposure"] / row["other_exposure"] == pytest.approx(ours["impressions"] / other["impressions"])


def test_the_dispersion_of_a_day_is_known_before_it(learned: Learned):
    rows = evidence(learned, DAY)
    past = learned.store.promotions.splits(BEFORE, date(2026, 1, 1), [WINS[0]]).filter(metric="ctr")
    columns = [name for name in sequential.PAIR_DAYS if name != "log_likelihood"]
    variance = sequential.log_rate_variance(past.select(columns), learned.settings.promotion)
    asked = rows.filter(date=DAY).select("account_id", "experiment_id", "date")
    found = sequential.dispersion(past.select(columns), asked, variance, learned.settings.promotion)
    assert rows.filter(date=DAY)["dispersion"].to_list() == pytest.approx(found["dispersion"].to_list())


def test_a_winner_is_promoted_once_and_stays(learned: Learned):
    days = [decided(learned, day) for day in learned.days]
    first = next(number for number, row in enumerate(days) if row["status"] == "promoted")
    assert first >= 2, "72 hours are asked for"
    assert [row["event"] for row in days] == [None] * first + ["promoted"] + [None] * (7 - first)
    assert {row["promoted_on"] for row in days[first:]} == {learned.days[first]}
    assert {row["moved_ad_id"] for row in days[first:]} == {days[first]["ad_id"]}
    events = learned.store.promotions.events(DAY).filter(pl.col("experiment_id") == WINS[1])
    assert events.select("as_of", "event").rows() == [(learned.days[first], "promoted")]


def test_a_day_again_is_a_further_revision_that_says_the_same(learned_copy: Learned):
    world = learned_copy
    before = world.store.promotions.decisions(DAY)
    kept = world.table("promotion_evidence").sort("as_of", *PAIR)
    decide(world, replaying=True)
    again = world.store.promotions.decisions(DAY)
    assert again["revision"].unique().to_list() == [before["revision"][0] + 1]
    assert_frame_equal(again.drop(SAYS_NOTHING_OF), before.drop(SAYS_NOTHING_OF))
    assert_frame_equal(world.table("promotion_evidence").sort("as_of", *PAIR), kept)
    # What was decided first is not lost.
    assert world.table("promotion_decisions", as_of=DAY)["revision"].unique().sort().to_list() == [1, 2]


def test_a_restated_day_replaces_its_own_and_nothing_before_knows_of_it(learned_copy: Learned):
    world, past = learned_copy, date(2026, 2, 26)
    known = evidence(world, DAY)
    ad = known["ad_id"][0]
    rewrite_hours(world, past, ad, pl.col("link_clicks") + 1)
    decide(world)
    now = evidence(world, DAY)
    changed = now.join(known, on=["date", "events"], how="anti")
    assert changed["date"].to_list() == [past]
    assert changed["as_of"].to_list() == [DAY]
    whole = hours_of(world, past, ad)
    assert changed["events"].to_list() == [whole["link_clicks"].sum()]
    # The day keeps the dispersion that it was first counted with.
    assert changed["dispersion"].to_list() == known.filter(date=past)["dispersion"].to_list()
    assert evidence(world, BEFORE).equals(known.filter(pl.col("as_of") < DAY))
    # Counted once: another run finds nothing new.
    written = world.table("promotion_evidence", as_of=DAY).height
    decide(world)
    assert world.table("promotion_evidence", as_of=DAY).height == written


def test_a_day_that_is_gone_counts_no_more(learned_copy: Learned):
    world, past = learned_copy, date(2026, 2, 26)
    ad = evidence(world, DAY)["ad_id"][0]
    hours = world.store.lake.read("actuals_hourly", past)
    world.store.lake.write("actuals_hourly", past, hours.filter(pl.col("ad_id") != ad))
    decide(world)
    assert evidence(world, DAY).filter(date=past).select("as_of", "hours", "events").rows() == [(DAY, 0, 0)]
    assert decided(world)["days"] == len(world.days) - 1


def test_only_finished_hours_of_a_running_day_count(learned_copy: Learned):
    world = learned_copy.again(now=datetime(2026, 3, 2, 18, 30, tzinfo=UTC))
    assert world.run(TODAY, "ad_catalog", "actuals").success
    job = world.definitions.resolve_job_def("decide")
    assert job.execute_in_process(run_config=QUIET_CONSOLE, partition_key=str(TODAY), instance=world.instance).success
    zones = dict(world.store.accounts(PIPELINE).select("account_id", "timezone").iter_rows())
    finished = world.store.promotions.splits(TODAY, TODAY, list(zones)).filter(metric="ctr", date=TODAY)
    most = dict(finished.group_by("account_id").agg(pl.col("hours").max()).iter_rows())
    assert zones["4000002"] == "Europe/Berlin"
    # 18:30 UTC is 19:30 in Berlin; hours that ended by 16:30 are finished: 0 to 15.
    assert most["4000002"] == 16
    assert world.store.newest_day("promotions") == DAY


def test_an_incomplete_account_is_blocked(learned_copy: Learned):
    world = learned_copy
    failed = {"as_of": DAY, "account_id": WINS[0], "fact": "daily", "owner": "x", "status": "failed", "rows": 0, "seconds": 0.0}
    world.store.tables.upsert("fetch_manifest", pl.DataFrame([failed], schema_overrides={"as_of": pl.Date}))
    decide(world)
    row = decided(world)
    assert (row["status"], row["guard"], row["move"]) == ("blocked", "incomplete", None)
    assert row["promoted_on"] is not None
    others = world.store.promotions.decisions(DAY).filter(pl.col("account_id") != WINS[0])
    assert "blocked" not in others["status"].to_list()


def test_traffic_that_was_not_planned_is_blocked(learned_copy: Learned):
    world = learned_copy
    arms = world.store.arms(DAY).filter(pl.col("experiment_id") == WINS[1])
    rows = arms.select(
        *("account_id", "ad_id", "owner"),
        experiment_id=pl.lit("planned"),
        planned_share=pl.Series([0.9, 0.1]),
        starts_on=pl.lit(date(2026, 2, 22)),
        defined_by=pl.lit("pat"),
        at=pl.lit(world.store.now).dt.cast_time_unit("us"),
    )
    world.store.tables.upsert("experiment_arms", rows)
    decide(world)
    row = decided(world, experiment=(WINS[0], "planned"))
    assert (row["status"], row["guard"]) == ("blocked", "sample_ratio")
    assert row["evidence_from"] >= date(2026, 2, 22)
    assert world.store.promotions.decisions(DAY, experiment_id=WINS[1]).is_empty()


def live(world: World, day: date = DAY) -> None:
    """Decide a day as the cycle does, not as a replay."""
    decide(world, day)


def test_a_promotion_asks_for_one_step_of_the_winners_budget_a_day(learned_copy: Learned):
    world = learned_copy
    # What a replay decided has asked for nothing.
    assert world.table("budget_wishes").is_empty()
    live(world)
    wish = world.store.promotions.wishes(account_id=WINS[0]).row(0, named=True)
    row = decided(world)
    arm = world.store.arms(DAY).filter(pl.col("ad_id") == row["moved_ad_id"]).row(0, named=True)
    assert wish["decision_id"] == row["decision_id"]
    assert (wish["entity_kind"], wish["entity_id"], wish["kind"]) == ("ad_set", arm["ad_set_id"], "promotion")
    assert (wish["expected_micros"], wish["currency"], wish["as_of"]) == (arm["budget_micros"], arm["currency"], DAY)
    assert wish["expected_micros"] < wish["wanted_micros"] <= 1.2 * wish["expected_micros"]
    assert wish["wanted_micros"] % 10_000 == 0
    assert (wish["lift"], wish["owner"]) == (row["shrunk_lift"], arm["owner"])
    assert row["move"] == "step"
    assert row["before_micros"] == arm["budget_micros"]
    # What was not carried out is asked for again, under the next revision's id.
    live(world)
    asked = world.store.promotions.wishes(entity_id=wish["entity_id"])
    assert asked["wanted_micros"].to_list() == [wish["wanted_micros"]] * 2
    assert asked["decision_id"].n_unique() == 2


def test_a_step_that_was_taken_is_followed_by_another_only_after_days(learned_copy: Learned):
    world = learned_copy
    live(world)
    first = decided(world)
    for hours, move, micros in ((71, "hold", None), (73, "step", True)):
        world = world.again(now=datetime(2026, 3, 2, 9, tzinfo=UTC) + timedelta(hours=hours))
        ads = world.store.lake.read("ad_catalog", DAY)
        raised = (
            pl.when(pl.col("ad_id") == first["moved_ad_id"]).then(pl.lit(first["wanted_micros"])).otherwise("budget_micros")
        )
        world.store.lake.write("ad_catalog", DAY, ads.with_columns(budget_micros=raised.cast(pl.Int64)))
        live(world)
        row = decided(world)
        assert (row["move"], row["wanted_micros"] is not None) == (move, bool(micros)), hours
        assert row["before_micros"] == first["before_micros"]
    assert first["wanted_micros"] < row["wanted_micros"]


def test_days_that_are_past_ask_for_nothing(learned_copy: Learned):
    world = learned_copy.again(now=datetime(2026, 3, 4, 9, tzinfo=UTC))
    live(world)
    assert decided(world)["move"] == "step"
    assert world.table("budget_wishes").is_empty()


def test_evidence_that_reverses_takes_the_promotion_and_the_budget_back(learned_copy: Learned):
    world = learned_copy
    live(world)
    promoted = decided(world)
    winner, loser = promoted["moved_ad_id"], promoted["other_id"]
    last = TODAY + timedelta(days=1)
    for day in (TODAY, last):
        world = world.again(now=datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=9))
        assert world.run(day, "ad_catalog", "actuals").success
        # From now on the winner gets no click, and the other one many; and its budget was raised.
        rewrite_hours(world, day, winner, pl.lit(0))
        rewrite_hours(world, day, loser, pl.col("impressions") // 4)
        ads = world.store.lake.read("ad_catalog", day)
        raised = pl.when(pl.col("ad_id") == winner).then(pl.lit(promoted["wanted_micros"])).otherwise("budget_micros")
        world.store.lake.write("ad_catalog", day, ads.with_columns(budget_micros=raised.cast(pl.Int64)))
        live(world, day)
    demoted = world.store.promotions.events(last).filter(pl.col("experiment_id") == WINS[1], pl.col("event") == "demoted")
    assert demoted.height == 1
    turned = demoted.row(0, named=True)
    assert turned["status"] == "continue_testing"
    assert turned["reason"].startswith(f"the evidence since the promotion on {promoted['promoted_on']} has reversed")
    assert turned["evidence_from"] == turned["as_of"] + timedelta(days=1)
    (wish,) = world.store.promotions.wishes(kind="demotion", as_of=turned["as_of"]).to_dicts()
    assert (wish["expected_micros"], wish["wanted_micros"]) == (promoted["wanted_micros"], promoted["before_micros"])
    assert WINS[1] not in in_force(world.store, last)["experiment_id"].to_list()


def test_an_older_day_is_refused_with_the_remedy(learned_copy: Learned):
    assert "replay --from 2026-02-28" in failure(learned_copy.run(BEFORE, "promotions"))


def test_a_replay_of_the_days_finds_what_it_found(learned_copy: Learned):
    world = learned_copy
    columns = [column.name for column in schema.promotion_decisions.c if column.name not in SAYS_NOTHING_OF]
    before = [world.store.promotions.decisions(day).select(columns) for day in world.days]
    for day in world.days:
        decide(world, day, replaying=True)
    for day, rows in zip(world.days, before, strict=True):
        again = world.store.promotions.decisions(day).select(columns)
        for name in ("status", "event", "ad_id", "guard", "promoted_on", "evidence_from", "move", "wanted_micros"):
            assert again[name].to_list() == rows[name].to_list()
        for name in ("log_e", "shrunk_lift", "anytime_p"):
            assert again[name].to_list() == pytest.approx(rows[name].to_list())


def test_what_the_ui_is_told_holds_ids_and_figures_only(learned_copy: Learned):
    world = learned_copy
    told = metadata(decide(world), "promotions")
    assert told["experiments"] == world.store.arms(DAY)["experiment_id"].n_unique()
    assert told["promoted"] >= 1
    assert told["promotions_in_force"] >= 1
    card = told[f"card_{WINS[1]}"]
    assert card.startswith("*Simulated market.*")
    for part in ("anytime p", "shrunk lift", "a plain z-test", "undo", "decision id", "evidence", "budget"):
        assert f"| {part}" in card or part in card
    assert told["plot"].startswith("![plot](data:image/png;base64,")
    texts = world.store.lake.read("ad_catalog", DAY).select("headline", "body").unpivot()["value"].drop_nulls().unique()
    names = world.store.accounts(PIPELINE)["name"].drop_nulls()
    everything = " ".join(str(value) for name, value in told.items() if name != "plot")
    assert not [text for text in [*texts, *names] if text in everything]


def test_owners_see_their_own(learned: Learned):
    owner = learned.store.accounts(PIPELINE).filter(pl.col("account_id") == WINS[0])["owner"][0]
    mine = learned.store.promotions.decisions(DAY, Wall(owner))
    assert mine["account_id"].unique().to_list() == [WINS[0]]


def test_the_command_prints_decisions_and_cards(run: Run):
    everything = run("decisions")
    assert "24 decisions as of 2026-03-01, revision 1 (simulated)" in everything.output
    one = " ".join(run("decisions", WINS[0], "--experiment", WINS[1]).output.split())
    assert "decision: promoted" in one
    assert "a plain z-test: promoted" in one
    wrong = run("decisions", "9")
    assert wrong.exit_code == 1
    assert "Nothing was decided about account 9 as of 2026-03-01" in wrong.output
