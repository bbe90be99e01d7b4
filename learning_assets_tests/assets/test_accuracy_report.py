"""The page on accuracy: what it says of a world that has learned, behind which wall, and that quiet days write none."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from learning_assets.assets import PREDICTIONS, accuracy_page, cards, page
from learning_assets.assets.accuracy_report import REPORTS, pages, written
from learning_assets.assets.day import QUIET_TAG, day_by_itself
from learning_assets.automation.replay import QUIET_CONSOLE
from learning_assets.store.walls import PIPELINE, Wall
from learning_assets_tests.world import Learned, Run, metadata

DAY = date(2026, 3, 1)
ANY_SECTION = (
    "Predicted and happened",
    "Error over time",
    "Where the errors are",
    "Each retraining",
    "What the models use",
    "What following the predictions would have saved",
    "How to read this",
)


def wrote(world: Learned, wall: Wall = PIPELINE) -> tuple[Path, accuracy_page.Said, str]:
    path, said = written(world.store, day_by_itself(DAY, world.source, world.settings), world.settings, wall)
    return path, said, path.read_text(encoding="utf-8")


def specs(text: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)]


def test_the_last_day_of_a_replay_has_a_page_and_the_others_do_not(learned: Learned):
    assert [path.name for path in pages(learned.store.home / REPORTS)] == ["2026-03-01.html"]


def test_the_page_is_linked_and_its_headline_shown(learned_copy: Learned):
    result = learned_copy.run(DAY, "accuracy_report")
    assert result.success
    shown = metadata(result, "accuracy_report")
    path = Path(shown["page"])
    assert path == learned_copy.store.home / REPORTS / "2026-03-01.html"
    text = path.read_text(encoding="utf-8")
    for title in ANY_SECTION:
        assert f"{title}</h2>" in text, title
    assert "Click\\-through rate \\(CTR\\)" in shown["summary"] or "Click-through rate \\(CTR\\)" in shown["summary"]
    assert shown["contests"] >= 1
    assert 0 <= shown["retrain_success_rate"] <= 1
    assert "ctr_xgboost_gain" in shown
    assert "window.vegaEmbed" in text
    assert "Simulated market." in text


def test_a_quiet_day_writes_nothing(learned_copy: Learned):
    (page,) = pages(learned_copy.store.home / REPORTS)
    page.unlink()
    job = learned_copy.cycle.get_subset(asset_selection={dg.AssetKey("accuracy_report")})
    done = job.execute_in_process(
        run_config=dict(QUIET_CONSOLE), partition_key=str(DAY), instance=learned_copy.instance, tags={QUIET_TAG: "1"}
    )
    assert "Left out" in metadata(done, "accuracy_report")["summary"]
    assert pages(learned_copy.store.home / REPORTS) == []


def test_what_it_says_is_what_is_stored(learned: Learned):
    _, said, text = wrote(learned)
    row = learned.table("prediction_comparisons", as_of=DAY, segment="all", model="xgboost", metric="ctr").filter(
        pl.col("account_id").is_null()
    )
    assert f"xgboost was off by {100 * row['wape'].item():.1f} % of the clicks" in said.lead[0]
    assert f"a perfect predictor would have been off by {100 * row['noise_floor'].item():.1f} %" in said.lead[0]
    assert "made in a replay" in said.lead[0]
    contests = learned.table("champions").filter(pl.col("verdict").is_not_null())
    assert (said.contests, said.won) == (contests.height, contests.filter(status="retrained").height)
    compared = contests.filter(pl.col("verdict").str.json_path_match("$.mae").is_not_null())
    for verdict in compared["verdict"].str.json_decode(pl.Struct({"r2": pl.Float64, "mae": pl.Float64})):
        assert verdict["mae"] > 0
        assert verdict["r2"] is not None
    assert {row["model"] for row in said.saved.to_dicts()} >= {
        "account_mean",
        "own_history",
        "xgboost",
        "ensemble",
        "fixed_vote",
    }
    assert len(specs(text)) >= 5
    for account in learned.store.accounts(PIPELINE)["account_id"]:
        assert account in text


def test_what_the_champions_use_is_drawn_with_its_figures(learned: Learned):
    _, _, text = wrote(learned)
    part = text.split("What the models use</h2>")[1].split("</section>")[0]
    champions = learned.table("champions", as_of=DAY).drop_nulls("model_id")
    assert champions.height >= 1
    for row in champions.to_dicts():
        assert row["model_id"] in part
        (card,) = learned.table("models", model_id=row["model_id"])["card"]
        drawn = json.dumps(specs(part))
        for effect in json.loads(card)["effects"]:
            assert f'"title": "{effect["feature"].replace("_", " ")}"' in drawn
    assert len(specs(part)) == champions.height


def test_levels_and_features_are_text_and_a_card_without_effects_has_importance_alone():
    card = {
        "target": "roas",
        "importance": [["audience", 0.9], ["weekday", 0.1], ["cta", 0.0]],
        "effects": [{"feature": "audience", "values": [None, "</script><b>"], "predicted": [1.5, 2.5]}],
    }
    chart = cards.importance_and_effects(card)
    assert chart is not None
    assert "<" not in page.figure(chart, "").replace("<figure>", "").split('json">')[1].split("</script>")[0]
    assert cards.effect_rows(card) == [("audience", "(none)", 1.5), ("audience", "</script><b>", 2.5)]
    del card["effects"]
    assert cards.importance_and_effects(card) is not None
    assert cards.effect_rows(card) == []
    assert cards.importance_and_effects(card | {"importance": [["cta", 0.0]]}) is None


def test_an_owners_page_shows_no_other_account(learned: Learned):
    mine = learned.store.accounts(Wall("owner_0003"))["account_id"].to_list()
    others = set(learned.store.accounts(PIPELINE)["account_id"]) - set(mine)
    path, _, text = wrote(learned, Wall("owner_0003"))
    assert path == learned.store.home / REPORTS / "owner_0003" / "2026-03-01.html"
    told = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert [account for account in sorted(others) if account in told] == []
    assert mine[0] in told
    assert "owner_0002" not in told
    assert "Runs that failed" not in told


def test_metrics_and_models_are_whatever_is_stored(learned_copy: Learned):
    """Predictions of conversion rate and ROAS by another model appear, and those made live apart."""
    lake = learned_copy.store.lake
    for written_on in lake.days("predictions"):
        rows = lake.read("predictions", written_on)
        base = rows.filter(model="xgboost")
        more = [
            base.with_columns(
                metric=pl.lit(metric), model=pl.lit("<b>other</b>"), predicted=pl.col("predicted") * factor, made=pl.lit("live")
            )
            for metric, factor in (("cvr", 2.0), ("roas", 100.0))
        ]
        lake.write("predictions", written_on, pl.concat([rows, *more]).select(PREDICTIONS.names()))
    mature = learned_copy.again(growth={"mature_days": 0})
    _, said, text = wrote(replace(learned_copy, settings=mature.settings))
    assert "Conversion rate (CVR), live predictions" in text
    assert "Return on ad spend (ROAS), live predictions" in text
    assert "<b>other" not in text
    found = said.saved.filter(model="<b>other</b>")
    assert set(found["metric"]) == {"cvr", "roas"}
    assert set(found["status"]) == {"measured"}
    # With results of a week's age asked for, there are none in a week: unknown, and not zero.
    _, _, text = wrote(learned_copy)
    assert "Unknown: of no live prediction is the result known yet." in text


def test_a_store_without_predictions_says_why(learned_copy: Learned):
    lake = learned_copy.store.lake
    for written_on in lake.days("predictions"):
        lake.write("predictions", written_on, PREDICTIONS.to_frame())
    assert learned_copy.run(DAY, "prediction_accuracy").success
    _, said, text = wrote(learned_copy)
    assert said.lead == ("Nothing can be said yet: no prediction was compared with what happened on these days.",)
    assert "Unknown: nothing was predicted for these days." in text


def test_a_prediction_that_may_know_its_day_stops_the_page(learned_copy: Learned):
    lake = learned_copy.store.lake
    before = DAY - timedelta(days=1)
    lake.write("predictions", before, lake.read("predictions", before).with_columns(as_of=pl.lit(DAY)))
    with pytest.raises(ValueError, match="may know their target day"):
        wrote(learned_copy)


def test_only_the_newest_pages_are_kept(learned_copy: Learned):
    folder = learned_copy.store.home / REPORTS
    for day in range(1, 6):
        (folder / f"2026-02-0{day}.html").write_text("old")
    (folder / "notes.html").write_text("somebody's own")
    few = learned_copy.again(report={"kept_pages": 3})
    wrote(replace(learned_copy, settings=few.settings))
    assert [path.name for path in pages(folder)] == ["2026-02-04.html", "2026-02-05.html", "2026-03-01.html"]
    assert (folder / "notes.html").exists()


def test_the_command_names_the_newest_page_and_writes_others(run: Run, learned: Learned):
    told = run("report")
    assert told.exit_code == 0
    assert str(learned.store.home / REPORTS / "2026-03-01.html") in told.stdout
    day = learned.days[4]
    wrote_anew = run("report", "--day", str(day))
    assert wrote_anew.exit_code == 0, wrote_anew.stdout
    path = learned.store.home / REPORTS / f"{day}.html"
    assert str(path) in wrote_anew.stdout
    assert path.exists()
    path.unlink()
    wrong = run("report", "--day", "2026-01-25")
    assert wrong.exit_code == 1
    assert "2026-01-25 was not learned. learning-assets replay --from 2026-01-25" in wrong.stdout
    nobody = run("report", "--owner", "nobody")
    assert nobody.exit_code == 1
    assert "There is no owner 'nobody'" in nobody.stdout


def test_the_latest_facts_behind_a_prediction_count(learned_copy: Learned):
    """Of two predictions for a day, the later one is judged."""
    lake, world = learned_copy.store.lake, learned_copy
    before = DAY - timedelta(days=1)
    rows = lake.read("predictions", before)
    early = rows.with_columns(
        as_of=pl.lit(before - timedelta(days=1)),
        predicted=pl.lit(0.5),
        made_at=pl.lit(datetime(2026, 2, 27, tzinfo=UTC)).dt.cast_time_unit("us"),
    )
    lake.write("predictions", before, pl.concat([early, rows]))
    day = day_by_itself(DAY, world.source, world.settings)
    found = accuracy_page.judged(world.store, day, 1, world.store.accounts(PIPELINE)["account_id"].to_list(), 7)
    assert found.height == rows.height
    assert set(found["as_of"]) == {before}
