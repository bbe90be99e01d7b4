"""Scores and suggestions from a store, and the command that prints them."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from learning_assets import cli
from learning_assets.learning import score
from learning_assets.scoring import ScoringError, read, scored
from learning_assets.store.store import Store
from learning_assets.store.walls import Wall
from learning_assets_tests.world import Learned

TEXT = "Tired of sore feet?\nOur running shoes are 30% off today only. Shop now."


def test_a_text_is_a_headline_and_a_body():
    (row,) = read(TEXT).to_dicts()
    assert row["headline"] == "Tired of sore feet?"
    assert row["body"].startswith("Our running shoes")
    assert (row["name"], row["cta"]) == ("creative 1", None)


def test_files_of_each_kind_are_read_alike(tmp_path: Path):
    creative = {"name": "shoes", "headline": "Tired of sore feet?", "body": "30% off", "cta": "SHOP_NOW"}
    pl.DataFrame([creative]).write_csv(tmp_path / "a.csv")
    (tmp_path / "a.json").write_text(json.dumps([creative]))
    (tmp_path / "b.json").write_text(json.dumps(creative))
    (tmp_path / "a.txt").write_text(TEXT)
    assert read(str(tmp_path / "a.csv")).equals(read(str(tmp_path / "a.json")))
    assert read(str(tmp_path / "a.json")).equals(read(str(tmp_path / "b.json")))
    assert read(str(tmp_path / "a.txt")).equals(read(TEXT))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.csv", None, "There is no file"),
        ("broken.json", "[{", "cannot be read"),
        ("list.json", "[1]", "creative 1 is no object"),
        ("empty.json", "[]", "holds no creative"),
        ("silent.csv", "headline,cta\nHello,SHOP_NOW\n,SHOP_NOW\n", "creative 2 has no text"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_remedy(tmp_path: Path, name: str, content: str | None, says: str):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ScoringError, match=says):
        read(str(tmp_path / name))


def test_a_score_is_that_of_the_stored_formula_or_honestly_unknown(learned: Learned):
    day, (one,) = scored(learned.store, read(TEXT), "4000001")
    assert day == learned.days[-1]
    assert one.attributes["has_question"] == "yes"
    assert "question" in one.attributes["hook_types"]
    assert "cta" not in one.attributes
    rows = learned.table("winning_formulas", Wall("owner_0000"), as_of=day)
    told = {scope: score.restored(rows.filter(scope=scope))[1] for scope in ("account", "all")}
    speaks = [scope for scope in ("account", "all") if not told[scope].says_nothing]
    if speaks:
        assert one.score is not None
        assert one.low is not None
        assert one.high is not None
        assert 0 <= one.low <= one.score <= one.high <= 100
        assert told[speaks[0]].reason in one.reason
    else:
        assert (one.score, one.says) == (None, "score unknown")
        assert all(validation.reason in one.reason for validation in told.values())


def test_suggestions_rest_on_what_the_owner_may_know(learned: Learned):
    _, (one,) = scored(learned.store, read(TEXT), "4000001")
    _, (anybody,) = scored(learned.store, read(TEXT), None)
    seen = learned.table("learning_patterns", Wall("owner_0000"), as_of=learned.days[-1])
    assert set(seen["account_id"]) <= {"4000001", None}
    for row in one.suggestions.iter_rows(named=True):
        assert seen.filter(scope=row["scope"], attribute=row["attribute"], metric=row["metric"]).height
    assert set(anybody.suggestions["scope"]) <= {"all"}


def test_an_account_that_is_not_known_is_named(learned: Learned):
    with pytest.raises(ScoringError, match="no account '9'; there are 4000001, 4000002"):
        scored(learned.store, read(TEXT), "9")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `learning-assets score` on a store."""

    def invoke(store: Store, *arguments: str) -> Result:
        assert store.settings.database_url is not None
        monkeypatch.setenv("LEARNING_HOME", str(store.settings.home))
        monkeypatch.setenv("LEARNING_DATABASE_URL", store.settings.database_url.get_secret_value())
        return CliRunner().invoke(cli.app, ["score", *arguments], catch_exceptions=False)

    return invoke


def test_the_command_prints_score_dna_and_suggestions(learned: Learned, run: Callable[..., Result]):
    result = run(learned.store, TEXT, "--account", "4000001")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert f"As of {learned.days[-1]} (simulated), for account 4000001." in said
    assert "creative 1: score " in said
    assert "has question yes" in said
    assert "expected" in said or "No change is carried by the evidence so far." in said


def test_before_anything_was_learned_the_command_says_what_to_do(store: Store, run: Callable[..., Result]):
    result = run(store, TEXT)
    assert result.exit_code == 1
    assert "Learn first: learning-assets replay" in " ".join(result.output.split())
