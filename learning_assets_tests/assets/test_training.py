"""Training in a process of its own: the same model to the byte, ended where it takes too much, and nothing left of what broke off."""

import os
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest

from learning_assets.assets import training
from learning_assets.assets.training import TRAINERS, TrainingError, bounded
from learning_assets.learning import champion, dna, retraining
from learning_assets.learning.targets import CTR
from learning_assets.settings import Models
from learning_assets_tests.world import Learned, failure

SETTINGS = Models.model_validate({"trees": 30})
LONG = Models.model_validate({"trees": 200_000, "max_seconds": 60})
MODELS = "LEARNING_MODELS_"
Made = tuple[pl.DataFrame, pl.DataFrame]


@pytest.fixture(scope="module")
def made() -> Made:
    """Facts and creatives of 20 days, of 80 ads of 8 owners whose texts differ in one word that matters."""
    rng = np.random.default_rng(3)
    ads = pl.DataFrame({"n": range(80)}).select(
        pl.format("o{}", pl.col("n") % 8).alias("owner"),
        pl.format("a{}", pl.col("n") % 8).alias("account_id"),
        pl.format("ad{}", "n").alias("ad_id"),
        pl.format("c{}", "n").alias("creative_id"),
        pl.when(pl.col("n") % 3 == 0)
        .then(pl.format("free shoes today {}", "n"))
        .otherwise(pl.format("shoes {}", "n"))
        .alias("text"),
    )
    days = pl.DataFrame({"date": [date(2026, 1, 1) + timedelta(days=n) for n in range(20)]})
    facts = days.join(ads, how="cross").with_columns(
        experiment_id=pl.lit(None, pl.String),
        impressions=pl.Series(rng.integers(200, 2_000, 1_600)),
        **{name: pl.lit(None, pl.String) for name in ("audience", "template", "cta")},
    )
    rate = np.where(facts["text"].str.starts_with("free"), 0.04, 0.02)
    facts = facts.with_columns(link_clicks=pl.Series(rng.binomial(facts["impressions"].to_numpy(), rate)))
    kinds = {name: kind for name, kind in dna.DNA.items() if name not in ads.columns}
    creatives = ads.select(
        "account_id", "creative_id", "text", *(pl.lit(None, kind).alias(name) for name, kind in kinds.items())
    )
    return facts.drop("text"), creatives


def seconds_of(process: psutil.Process) -> float:
    """Processor time of a process and of those that it forked and that have ended."""
    used = process.cpu_times()
    return used.user + used.system + used.children_user + used.children_system


def nothing_left(room: Path) -> bool:
    return list(room.iterdir()) == []


def test_the_model_is_the_same_to_the_byte_as_one_that_was_trained_here(made: Made, tmp_path: Path):
    there = bounded(tmp_path / "room", *made, SETTINGS, min_owners=5)
    here = retraining.train(*made, SETTINGS, min_owners=5)
    assert there.fingerprint == here.fingerprint
    assert there.card() == here.card()
    for name, model in (("there", there), ("here", here)):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    files = {name: {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("there", "here")}
    assert files["there"].keys() == files["here"].keys() >= {"model.ubj", "card.json", "text.json", "text_scores.parquet"}
    assert [name for name in files["here"] if files["here"][name] != files["there"][name]] == []
    assert nothing_left(tmp_path / "room")


def test_a_search_is_the_same_there_as_here_and_sees_no_day_but_those_given(made: Made, tmp_path: Path):
    facts, creatives = made
    quick = SETTINGS.model_copy(update={"trees": 8, "min_child_clicks": 20.0, "l2": 20.0})
    there = bounded(tmp_path, facts, creatives, quick, min_owners=5, search=True)
    assert there.search is not None
    assert (there.search.fit_until, there.search.scored_from) == (date(2026, 1, 15), date(2026, 1, 16))
    assert there.search.ad_days == 5 * 80
    assert len(there.search.candidates) == 12
    here = retraining.train(facts, creatives, quick, min_owners=5, search=True)
    assert here.search is not None
    assert dict(there.search.chosen) == dict(here.search.chosen)
    for one, other in zip(there.search.candidates, here.search.candidates, strict=True):
        assert one.log_loss == pytest.approx(other.log_loss, rel=1e-9)
    chosen = quick.model_copy(update=dict(there.search.chosen))
    plain = bounded(tmp_path, facts, creatives, chosen, min_owners=5)
    assert (plain.fingerprint, plain.search) == (there.fingerprint, None), "trained on all days with what was chosen"
    assert there.card()["search"]["chosen"] == dict(there.search.chosen)
    assert there.trees.card.rounds == there.search.chosen["trees"]


def test_nothing_that_a_search_learns_from_knows_the_days_that_are_scored(made: Made):
    """Where all clicks of the scored days go to other ads, the losses are those of the same candidates, trained and with words learned before."""
    facts, creatives = made
    quick = SETTINGS.model_copy(update={"trees": 4, "min_child_clicks": 20.0, "l2": 20.0})
    since = date(2026, 1, 16)
    turned = facts.with_columns(
        link_clicks=pl.when(pl.col("date") < since)
        .then("link_clicks")
        .otherwise(
            (pl.col("impressions") * pl.when(pl.col("creative_id").str.ends_with("0")).then(0.9).otherwise(0.0)).cast(int)
        )
    )
    found = retraining.train(turned, creatives, quick, min_owners=5, search=True).search
    assert found is not None
    assert found.scored_from == since
    later = turned.filter(pl.col("date") >= since)
    events, exposure = (later[name].to_numpy().astype(float) for name in ("link_clicks", "impressions"))
    before = retraining.train(turned.filter(pl.col("date") < since), creatives, quick, min_owners=5)
    first_days = before.predict(later.filter(pl.col("date") == since), turned, creatives, quick)
    assert (first_days < 0.1).all(), "what is predicted of the first of them knows no click of it"
    loss = champion.log_loss(events, exposure, before.predict(later, turned, creatives, quick), CTR)
    assert found.candidates[0].log_loss == pytest.approx(loss, rel=1e-9)


def test_too_few_days_or_ads_leave_the_settings_own_parameters(made: Made):
    facts, creatives = made
    own = retraining.train(facts.filter(date=date(2026, 1, 3)), creatives, SETTINGS, min_owners=5, search=True)
    assert own.search is not None
    assert (dict(own.search.chosen), own.trees.card.rounds) == ({}, SETTINGS.trees)
    assert own.search.reason == "There are too few days to part: the settings' own parameters hold."
    many = SETTINGS.model_copy(update={"min_ads": 500})
    told = retraining.train(facts, creatives, many, min_owners=5, search=True).search
    assert told is not None
    assert told.reason.startswith("The settings' own parameters hold. Of the days before 2026-01-16: 80 ads have at least")


def test_models_that_were_stored_before_effects_were_kept_can_be_read(made: Made, tmp_path: Path):
    model = retraining.train(*made, SETTINGS, min_owners=5)
    model.save(tmp_path)
    assert retraining.RateModel.load(tmp_path).effects == model.effects != ()
    (tmp_path / "effects.json").unlink()
    assert retraining.RateModel.load(tmp_path).effects == ()


def test_the_process_is_kept_for_the_next_training_and_starts_no_threads_of_polars(made: Made, tmp_path: Path):
    bounded(tmp_path, *made, SETTINGS, min_owners=5)
    first = TRAINERS.start()
    process = psutil.Process(first.pid)
    spent = seconds_of(process)
    bounded(tmp_path, *made, SETTINGS, min_owners=5)
    there, began = seconds_of(process) - spent, time.process_time()
    retraining.train(*made, SETTINGS, min_owners=5)
    assert TRAINERS.start() is first
    assert there - (time.process_time() - began) < 1.5, "a training costs little more there than here"
    threads = [(one / "comm").read_text().strip() for one in Path(f"/proc/{first.pid}/task").iterdir()]
    assert not [name for name in threads if name.startswith("polars-") and name[7:].isdigit()]


def test_it_gets_no_secrets(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    TRAINERS.start().stop()
    monkeypatch.setenv("LEARNING_META_ACCESS_TOKEN", "secret")
    bounded(tmp_path, *made, SETTINGS, min_owners=5)
    assert b"secret" not in Path(f"/proc/{TRAINERS.start().pid}/environ").read_bytes()


def test_what_takes_too_long_is_ended(made: Made, tmp_path: Path):
    bounded(tmp_path, *made, SETTINGS, min_owners=5)
    processes = psutil.Process(TRAINERS.start().pid)
    began = time.monotonic()
    with pytest.raises(TrainingError, match=f"more than 0.8 seconds and was ended; the champion stays.*{MODELS}MAX_SECONDS"):
        bounded(tmp_path, *made, LONG.model_copy(update={"max_seconds": 0.8}), min_owners=5)
    with pytest.raises(
        TrainingError, match="It searched for parameters, which takes several times as long: leave the search out"
    ):
        bounded(tmp_path, *made, LONG.model_copy(update={"max_seconds": 0.8}), min_owners=5, search=True)
    assert time.monotonic() - began < 5
    assert not processes.is_running() or processes.status() == psutil.STATUS_ZOMBIE
    assert nothing_left(tmp_path)
    assert bounded(tmp_path, *made, SETTINGS, min_owners=5).trees.card.rows > 0, "the next one is trained as ever"


@pytest.mark.parametrize("memory_mb", [1, 150])
def test_what_takes_too_much_memory_is_ended(made: Made, tmp_path: Path, memory_mb: int):
    """Far below what is loaded already, and little above it."""
    facts, creatives = made
    many = pl.concat([facts.with_columns(ad_id=pl.format("{}-{}", "ad_id", pl.lit(n))) for n in range(300)])
    with pytest.raises(TrainingError, match=rf"more than {memory_mb} MB of memory.*the champion stays.*{MODELS}MAX_MEMORY_MB"):
        bounded(tmp_path, many, creatives, SETTINGS.model_copy(update={"max_memory_mb": memory_mb}), min_owners=5)
    assert nothing_left(tmp_path)
    assert bounded(tmp_path, *made, SETTINGS, min_owners=5).trees.card.rows > 0


def test_facts_that_teach_nothing_say_so_as_here(made: Made, tmp_path: Path):
    facts, creatives = made
    with pytest.raises(ValueError, match="teach no model"):
        bounded(tmp_path, facts.with_columns(link_clicks=pl.lit(0)), creatives, SETTINGS, min_owners=5)
    with pytest.raises(TrainingError, match=r"broke off .* unexpected keyword"):
        bounded(tmp_path, facts, creatives, SETTINGS, no_such_argument=1)


def test_a_training_process_that_is_killed_is_replaced(made: Made, tmp_path: Path):
    bounded(tmp_path, *made, SETTINGS, min_owners=5)
    victim = psutil.Process(TRAINERS.start().pid)

    def kill() -> None:
        while not victim.children():
            time.sleep(0.01)
        victim.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TrainingError, match="was killed; the champion stays in force"):
        bounded(tmp_path, *made, LONG, min_owners=5)
    killer.join()
    assert nothing_left(tmp_path)
    assert bounded(tmp_path, *made, SETTINGS, min_owners=5).trees.card.rows > 0


def test_training_ends_with_the_process_that_asked_for_it(made: Made, tmp_path: Path):
    """A training process whose input is closed ends its training and itself."""
    trainer = training._Trainer()
    process, thread = psutil.Process(trainer.pid), threading.Thread(target=lambda: asked(trainer, made, tmp_path))
    thread.start()
    deadline = time.monotonic() + 60
    while not process.children():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (child,) = process.children()
    assert trainer._worker._process.stdin is not None
    trainer._worker._process.stdin.close()
    thread.join(10)
    trainer._worker._process.wait(10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def asked(trainer: training._Trainer, made: Made, folder: Path) -> None:
    made[0].write_parquet(folder / "facts.parquet")
    made[1].write_parquet(folder / "creatives.parquet")
    (folder / "job.json").write_text(f'{{"settings": {LONG.model_dump_json()}, "arguments": {{"min_owners": 5}}}}')
    with pytest.raises(training.NoAnswer):
        trainer.ask(folder, LONG)


def test_what_killed_processes_left_is_removed_and_what_others_hold_is_not(made: Made, tmp_path: Path):
    dead = 2**22 + 1
    with pytest.raises(ProcessLookupError):
        os.kill(dead, 0)
    for name in (f"{dead}-x", f"{os.getppid()}-x", "draft"):
        (tmp_path / name).mkdir()
    bounded(tmp_path, *made, SETTINGS, min_owners=5)
    assert [path.name for path in tmp_path.iterdir()] == [f"{os.getppid()}-x"]


@pytest.mark.parametrize(
    ("limits", "setting"),
    [({"max_seconds": 0.01}, f"{MODELS}MAX_SECONDS"), ({"max_memory_mb": 1}, f"{MODELS}MAX_MEMORY_MB")],
)
def test_a_run_whose_training_takes_too_much_fails_and_changes_nothing(
    learned_copy: Learned, limits: dict[str, float], setting: str
):
    day, tables = learned_copy.days[-1], ("champions", "models", "asset_days")
    before = [learned_copy.table(name) for name in tables]
    artifacts = sorted(path.name for path in (learned_copy.store.home / "artifacts").iterdir())
    strict = learned_copy.again(models={**learned_copy.settings.models.model_dump(exclude_unset=True), **limits})
    result = strict.run(day, "retrained_model", ops={"retrained_model": {"config": {"force": True}}})
    assert setting in failure(result)
    assert "the champion stays in force" in failure(result)
    assert all(learned_copy.table(name).equals(rows) for name, rows in zip(tables, before, strict=True))
    assert sorted(path.name for path in (learned_copy.store.home / "artifacts").iterdir()) == artifacts
    assert nothing_left(learned_copy.store.home / "training")
    assert learned_copy.run(day, "predictions").success
