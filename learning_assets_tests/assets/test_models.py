"""Models and predictions: why a model was or was not trained, who may be fitted together, and what was known when."""

import json
from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest

from learning_assets.assets import PREDICTIONS
from learning_assets.assets.day import QUIET_TAG
from learning_assets.automation.cycle_log import Ended, write_log
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.learning.retraining import RateModel
from learning_assets.platforms.sandbox import SandboxSource
from learning_assets.settings import Sandbox
from learning_assets.store.walls import Wall
from learning_assets_tests.world import Learned, MakeWorld, World, metadata

UNFIRED = dict.fromkeys(("accuracy", "mae", "calibration", "skill", "drift", "age", "purchase_signal", "force"), False)
FORCE = {"retrained_model": {"config": {"force": True}}}


def champion(world: World, day: date, pool: str = "shared", target: str = "ctr") -> dict:
    """The pool's row of `champions` of a day, with its triggers as fired or not."""
    (row,) = world.table("champions", as_of=day, pool=pool, target=target).to_dicts()
    return row | {"triggers": {trigger["name"]: trigger["fired"] for trigger in json.loads(row["triggers"])}}


# -- what was learned day by day


def test_the_first_model_is_trained_because_there_is_none(learned: Learned):
    row = champion(learned, learned.days[0])
    assert (row["status"], row["triggers"]) == ("retrained", UNFIRED | {"age": True})
    assert row["model_id"] == row["challenger_id"]
    assert row["reason"].startswith("The challenger beats baseline by at least ")
    assert row["owner"] is None


def test_a_young_and_good_model_stays(learned: Learned):
    """Three days within `max_age_days` = 4 of the first training: the pointer stays and says why."""
    first = champion(learned, learned.days[0])["model_id"]
    for age, day in enumerate(learned.days[1:5], start=1):
        row = champion(learned, day)
        assert (row["status"], row["model_id"], row["challenger_id"], row["verdict"]) == (
            "no_retrain_needed",
            first,
            None,
            None,
        )
        assert not any(row["triggers"].values())
        assert f"The last challenger was trained {age} days ago, not above 4." in row["reason"]
        assert "WAPE" in row["reason"]


def test_an_old_model_is_contested_on_days_that_neither_saw(learned: Learned):
    day, first = learned.days[5], champion(learned, learned.days[0])["model_id"]
    row = champion(learned, day)
    assert row["triggers"]["age"]
    assert row["status"] in ("retrained", "kept_champion")
    assert row["model_id"] == (row["challenger_id"] if row["status"] == "retrained" else first)
    models = learned.table("models", target="ctr").sort("as_of")
    assert models["model_id"].to_list() == [first, row["challenger_id"]]
    assert models["as_of"].to_list() == models["holdout_until"].to_list() == [learned.days[0], day]
    assert models["trained_until"].to_list() == [learned.days[0] - timedelta(days=7), day - timedelta(days=7)]
    assert set(models["trained_from"]) == {learned.facts_from}


def test_a_card_says_what_the_model_saw_and_how_it_did(learned: Learned):
    row = learned.table("models", target="ctr", as_of=learned.days[0]).row(0, named=True)
    facts = pl.concat(
        learned.store.lake.read("actuals", day)
        for day in learned.store.lake.days("actuals", row["trained_from"], row["trained_until"])
    )
    assert row["ad_days"] == facts.height
    assert row["ads"] == facts.select("account_id", "ad_id").n_unique()
    card = json.loads(row["card"])
    assert (card["rows"], card["exposure"]) == (facts.height, facts["impressions"].sum())
    assert (card["promoted"], card["verdict"]["winner"]) == (True, "challenger")
    assert card["parameters"]["rounds"] == learned.settings.models.trees
    assert sum(gain for _, gain in card["importance"]) == pytest.approx(1)
    model = RateModel.load(learned.store.artifacts.folder(row["model_id"]))
    assert model.trained_until == row["trained_until"]
    assert row["model_id"].endswith(model.fingerprint)


# -- asked for


def test_force_trains_although_nothing_calls_for_it_and_the_champion_has_to_be_beaten(learned_copy: Learned):
    """With a bound that no challenger reaches, the champion is kept and the challenger stays in the registry."""
    day = learned_copy.days[-1]
    before = champion(learned_copy, day)
    assert before["status"] == "no_retrain_needed"
    strict = learned_copy.again(
        models={**learned_copy.settings.models.model_dump(exclude_unset=True), "gate_confidence": 0.9999999}
    )
    result = strict.run(day, "retrained_model", ops=FORCE)
    assert result.success
    row = champion(strict, day)
    assert (row["status"], row["model_id"]) == ("kept_champion", before["model_id"])
    assert row["triggers"] == UNFIRED | {"force": True}
    assert row["challenger_id"] not in (None, before["model_id"])
    assert row["reason"].startswith("The challenger is not surely better than champion")
    (kept,) = strict.table("models", target="ctr", as_of=day).to_dicts()
    assert (kept["model_id"], json.loads(kept["card"])["promoted"]) == (row["challenger_id"], False)
    assert RateModel.load(strict.store.artifacts.folder(kept["model_id"])).trained_until == day - timedelta(days=7)
    shown = metadata(result, "retrained_model")
    assert (shown["kept_champion"], shown["retrained"]) == (3, 0)
    assert f"**{kept['model_id']}**: kept champion." in shown["card_ctr_shared"]
    again = learned_copy.run(day, "retrained_model")
    assert again.success
    assert champion(learned_copy, day) == before, "the day is replaced, with its model"
    assert learned_copy.table("models", target="ctr", as_of=day).is_empty()


def test_a_search_is_on_the_card_and_never_sees_the_days_of_the_contest(learned_copy: Learned):
    """Few trees for the sake of time; with a search the parameters are those of the candidate with the least loss."""
    day = learned_copy.days[-1]
    quick = learned_copy.again(models={**learned_copy.settings.models.model_dump(exclude_unset=True), "trees": 8})
    result = quick.run(day, "retrained_model", ops={"retrained_model": {"config": {"force": True, "search": True}}})
    assert result.success
    rows = quick.table("models", as_of=day).to_dicts()
    assert {row["target"] for row in rows} == {"ctr", "cvr", "roas"}
    for row in rows:
        card = json.loads(row["card"])
        search, parameters = card["search"], card["parameters"]
        best = min(search["candidates"], key=lambda one: one["log_loss"])
        assert search["chosen"] == best["parameters"]
        assert (parameters["max_depth"], parameters["rounds"]) == (search["chosen"]["max_depth"], search["chosen"]["trees"])
        assert (parameters["lambda"], parameters["min_child_weight"]) == (
            search["chosen"]["l2"],
            search["chosen"]["min_child_clicks"],
        )
        assert search["fit_until"] < search["scored_from"] <= str(row["trained_until"]) <= str(day - timedelta(days=7))
        shown = metadata(result, "retrained_model")[f"card_{row['target']}_shared"]
        assert search["reason"] in shown
        assert shown.count("\n| ") >= 12


def test_what_the_models_use_is_drawn_and_a_quiet_day_draws_nothing(learned_copy: Learned):
    day = learned_copy.days[-1]
    quick = learned_copy.again(models={**learned_copy.settings.models.model_dump(exclude_unset=True), "trees": 8})
    shown = metadata(quick.run(day, "retrained_model", ops=FORCE), "retrained_model")
    assert shown["plot"].startswith("![plot](data:image/png;base64,")
    card = json.loads(quick.table("models", target="ctr", as_of=day)["card"].item())
    assert card["search"] is None
    assert [effect["feature"] for effect in card["effects"]] == [name for name, gain in card["importance"] if gain > 0][:6]
    assert all(0 < rate < 1 for effect in card["effects"] for rate in effect["predicted"])
    assert "plot" not in metadata(quick.run(day, "retrained_model"), "retrained_model"), "nothing was trained"
    job = quick.cycle.get_subset(asset_selection={dg.AssetKey("retrained_model")})
    quiet = job.execute_in_process(
        run_config={**QUIET_CONSOLE, "ops": FORCE}, partition_key=str(day), instance=quick.instance, tags={QUIET_TAG: "1"}
    )
    assert "plot" not in metadata(quiet, "retrained_model")


def test_it_says_how_often_retraining_succeeds_and_how_its_samples_grow(learned_copy: Learned):
    """The days on which a challenger was trained, one run that failed in it, one that failed elsewhere; then one more day."""
    day, models = learned_copy.days[-1], learned_copy.table("models").sort("as_of")
    trained = models.filter(pl.col("as_of") < day)["as_of"].n_unique()
    assert trained >= 2
    for name, error in (
        ("a", "retrained_model: Training takes more than 300 seconds"),
        ("b", "actuals: the token has expired"),
    ):
        run = Ended(name, "learning_cycle", day, "failure", None, None, None, None, error, "test")
        write_log(learned_copy.store, run)
    shown = metadata(learned_copy.run(day, "retrained_model"), "retrained_model")
    assert (shown["retrains_30d"], shown["failed_retrains_30d"]) == (trained, 1)
    assert shown["success_rate_30d"] == pytest.approx(trained / (trained + 1))
    assert "sample_growth" not in shown, "nothing was trained on this day"
    shown = metadata(learned_copy.run(day, "retrained_model", ops=FORCE), "retrained_model")
    assert shown["retrains_30d"] == trained + 1
    before = models.filter(pl.col("as_of") < day).unique("target", keep="last", maintain_order=True)
    now = learned_copy.table("models", as_of=day).join(before, on="target", how="semi")
    assert shown["sample_growth"] == pytest.approx(sum(now["ad_days"]) / sum(before["ad_days"]) - 1)
    assert shown["training_seconds"] > 0


def test_too_few_ads_train_nothing_and_leave_the_champion(learned_copy: Learned):
    day, before = learned_copy.days[-1], learned_copy.table("models", target="ctr")
    few = learned_copy.again(models={**learned_copy.settings.models.model_dump(exclude_unset=True), "min_ads": 500})
    assert few.run(day, "retrained_model", ops=FORCE).success
    row = champion(few, day)
    assert (row["status"], row["challenger_id"]) == ("insufficient_data", None)
    assert row["model_id"] == champion(learned_copy, learned_copy.days[-2])["model_id"]
    assert row["reason"].endswith("ads have at least 100 impressions; 500 are needed to train.")
    assert few.table("models", target="ctr").equals(before)


def test_an_artifact_that_is_gone_is_named_with_the_remedy(learned_copy: Learned):
    day = learned_copy.days[-1]
    folder = learned_copy.store.artifacts.folder(champion(learned_copy, day)["model_id"])
    folder.rename(folder.with_suffix(".gone"))
    before = learned_copy.store.lake.version("predictions", day)
    result = learned_copy.run(day, "predictions")
    assert not result.success
    (event,) = result.get_step_failure_events()
    assert event.step_failure_data.user_failure_data is not None
    said = event.step_failure_data.user_failure_data.description
    assert said is not None
    assert said.startswith(f"The artifact of model {folder.name} is not in ")
    assert learned_copy.store.lake.version("predictions", day) == before


# -- predictions


def test_every_ad_that_will_be_live_is_predicted_by_every_model(learned: Learned):
    for day in (learned.days[0], learned.days[-1]):
        rows, tomorrow = learned.store.lake.read("predictions", day), day + timedelta(days=1)
        assert rows.schema == PREDICTIONS
        assert set(rows["as_of"]) == {day}
        assert set(rows["date"]) == {tomorrow}
        catalog = learned.source.catalog(day).rows
        live = catalog.filter(
            pl.col("status").is_in(["active", "scheduled"]),
            (pl.col("starts_on") <= tomorrow).fill_null(value=True),
            (pl.col("ends_on") >= tomorrow).fill_null(value=True),
        )
        assert live.filter(status="scheduled").height > 0 or day == learned.days[-1]
        assert set(rows["metric"]) <= {"ctr", "cvr", "roas"}
        by_model = {str(name): part for (name,), part in rows.filter(metric="ctr").group_by("model")}
        assert set(by_model) - {"dna_score"} == {"account_mean", "own_history", "xgboost", "ensemble", "fixed_vote"}
        no_score = by_model.pop("dna_score", None) is None
        whole = by_model["ensemble"]
        assert (whole["low"] < whole["predicted"]).all()
        assert (whole["predicted"] < whole["high"]).all()
        counted = whole.select(pl.sum_horizontal(pl.col("^weight_.*$").fill_null(0.0))).to_series()
        assert counted.is_close(1.0).all()
        assert whole["note"].null_count() == 0 or not no_score, "who is missing is said"
        for part in by_model.values():
            assert sorted(part["ad_id"]) == sorted(live["ad_id"])
            assert part["predicted"].is_between(0.0005, 0.2).all()
        assert set(by_model["xgboost"]["model_id"]) == {champion(learned, day)["model_id"]}
        assert by_model["own_history"]["model_id"].null_count() == live.height
        assert (
            by_model["account_mean"].group_by("account_id").agg(pl.col("predicted").n_unique())["predicted"].to_list()
            == [1] * 6
        )


def test_a_prediction_says_whether_the_day_had_ended_when_it_was_made(learned: Learned):
    for day in learned.days:
        rows = learned.store.lake.read("predictions", day)
        assert set(rows["made"]) == {"live" if day == learned.days[-1] else "replayed"}
        assert set(rows["made_at"]) == {learned.store.now}


# -- walls


class Private(SandboxSource):
    """The market, of which the accounts in `private` do not consent."""

    private: tuple[str, ...] = ()

    def accounts(self) -> pl.DataFrame:
        return super().accounts().with_columns(consents=~pl.col("account_id").is_in(self.private))


@pytest.fixture
def private(make_world: MakeWorld) -> World:
    """Three weeks of facts: five owners consent, one of two accounts and one of one account do not."""
    market = Sandbox(accounts=8, ads=8, impressions=5_000)
    source = Private(market, date(2026, 3, 2))
    source.private = tuple(source.accounts()["account_id"][5:])
    world = make_world(source, sandbox=market.model_dump(), models={"min_ads": 5, "trees": 20})
    world.fetch(date(2026, 2, 7), date(2026, 2, 26))
    return world


def test_who_does_not_consent_gets_models_of_his_own_rows(private: World):
    day = date(2026, 2, 27)
    result = private.run(
        day, "ad_catalog", "actuals", "creative_dna", "prediction_accuracy", "retrained_model", "predictions", replaying=True
    )
    assert result.success
    owners = dict(private.store.accounts(Wall(None)).select("account_id", "owner").iter_rows())
    pools = {"shared": sorted(owners)[:5], "owner_0005": sorted(owners)[5:7], "owner_0007": sorted(owners)[7:]}
    models = {row["pool"]: row for row in private.table("models", target="ctr").to_dicts()}
    stored = private.table("champions", target="ctr")
    assert dict(stored.select("pool", "owner").iter_rows()) == {
        "shared": None,
        "owner_0005": "owner_0005",
        "owner_0007": "owner_0007",
    }
    rows = private.store.lake.read("predictions", day).filter(model="xgboost", metric="ctr")
    won = dict(stored.select("pool", "model_id").iter_rows())
    for pool, accounts in pools.items():
        seen = pl.concat(
            private.store.lake.read("actuals", past) for past in private.store.lake.days("actuals", last=date(2026, 2, 20))
        )
        assert models[pool]["ad_days"] == seen.filter(pl.col("account_id").is_in(accounts)).height
        assert models[pool]["model_id"].startswith(f"ctr-{pool}-{day}-")
        of_pool = rows.filter(pl.col("account_id").is_in(accounts))
        assert set(of_pool["model_id"]) == ({won[pool]} if won[pool] else set())
    assert won["shared"] is not None
    for asked, seen_pools in (("owner_0000", ["shared"]), ("owner_0005", ["owner_0005", "shared"])):
        assert sorted(private.table("champions", Wall(asked), target="ctr")["pool"]) == seen_pools
        assert sorted(private.table("models", Wall(asked), target="ctr")["pool"]) == seen_pools
