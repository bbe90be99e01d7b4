"""What a store has learned, as tables for a terminal."""

from collections.abc import Iterator

import polars as pl
from rich.markup import escape
from rich.table import Table

from learning_assets.assets.decision_cards import in_words as decided_in_words
from learning_assets.assets.decision_cards import to_look_at
from learning_assets.assets.patterns import in_words, strongest
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE


def summary(store: Store) -> Iterator[Table]:
    """Patterns, models, accuracy against the noise floor, decisions, and growth, each as of its newest day."""
    note = " (simulated)" if store.identity.kind == "sandbox" else ""
    yield _patterns(store, note)
    yield _models(store, note)
    yield _accuracy(store, note)
    yield _decisions(store, note)
    yield _growth(store, note)


def _table(title: str, rows: pl.DataFrame, empty: str) -> Table:
    table = Table(title=title, title_justify="left", caption=empty if rows.is_empty() else None, caption_justify="left")
    for name in rows.columns:
        table.add_column(name.replace("_", " "), justify="right" if rows.schema[name].is_numeric() else "left")
    for row in rows.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _patterns(store: Store, note: str) -> Table:
    rows = store.tables.read("learning_patterns", PIPELINE, latest=True)
    if rows.is_empty():
        return _table("Patterns" + note, rows.clear().select("attribute"), "Nothing was learned yet: learning-assets replay")
    active = rows.filter(pl.col("status") == "active").height
    title = f"Patterns as of {rows['as_of'][0]}{note}: {active} active of {rows.height:,} that were looked at; the surest"
    return _table(title, in_words(strongest(rows, 10)).drop("after shrinkage"), "None was found.")


def _models(store: Store, note: str) -> Table:
    rows = store.tables.read(
        "champions", PIPELINE, latest=True, columns=["as_of", "pool", "target", "status", "model_id", "reason"]
    )
    history = store.tables.read("champions", PIPELINE, columns=["pool", "target", "status"])
    counts = history.group_by("pool", "target").agg(
        promoted=(pl.col("status") == "retrained").sum(), challengers_that_lost=(pl.col("status") == "kept_champion").sum()
    )
    shown = rows.join(counts, on=["pool", "target"], how="left").select(
        "pool", "target", "model_id", "promoted", "challengers_that_lost", "status"
    )
    return _table("Models" + note, shown, "None was trained yet.")


def _accuracy(store: Store, note: str) -> Table:
    rows = store.tables.read("prediction_comparisons", PIPELINE, latest=True, segment="all")
    rows = rows.filter(pl.col("account_id").is_null()).sort("pool", "made", "metric", "model")
    title = "Predictions against what happened" + note + ": a perfect predictor's WAPE would be the noise floor"
    shown = rows.select(
        "pool",
        "metric",
        "model",
        "made",
        "wape",
        "noise_floor",
        "accuracy",
        "calibration_ratio",
        "skill",
        "skill_low",
        "skill_high",
        "ad_days",
    )
    return _table(title, shown, "No prediction could be compared yet.")


def _decisions(store: Store, note: str) -> Table:
    day = store.promotions.newest_day()
    if day is None:
        return _table("Decisions" + note, pl.DataFrame(), "Nothing was decided yet.")
    rows = store.promotions.decisions(day)
    promoted = rows.filter(pl.col("status") == "promoted").height
    title = f"Decisions as of {day}{note}: {promoted} promoted of {rows.height} experiments; the first to look at"
    return _table(title, decided_in_words(to_look_at(rows, 8)).drop("why"), "There is no experiment.")


def _growth(store: Store, note: str) -> Table:
    rows = store.tables.read("improvement_snapshots", PIPELINE, latest=True).sort("account_id", nulls_last=False)
    shown = rows.select(
        pl.col("account_id").fill_null("all accounts").alias("account"),
        "metric",
        baseline="baseline_value",
        current="current_value",
        factor="improvement_factor",
        low="improvement_low",
        high="improvement_high",
        on_track_for_10x="on_track_for_10x",
        status="status",
    )
    day = f" as of {rows['as_of'][0]}" if rows.height else ""
    return _table(f"Growth{day}{note}", shown.head(12), "Nothing was measured yet.")
