"""What a day's retraining tells a person: the champions in words, a card for each challenger, and plots of what models use.

What belongs here: words and drawings of what stands on a model's card. What does not: computing it (`learning.ctr_model`, `learning.effects`), and the
page around it (`accuracy_page`).
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from learning_assets.assets.champions import Retrained
from learning_assets.assets.day import Day
from learning_assets.assets.page import COLOURS

if TYPE_CHECKING:
    import altair as alt

_DRAWN_FEATURES = 12


def in_words(done: list[Retrained]) -> pl.DataFrame:
    """What became of each champion."""
    return pl.DataFrame(
        [{"of": one.champion["target"].upper(), **one.champion, "why": one.reason} for one in done],
        schema={"pool": pl.String, "of": pl.String, "status": pl.String, "why": pl.String},
    )


def card_of(one: Retrained) -> str:
    """A challenger's card as markdown: what it saw, how it did, what it uses."""
    assert one.model is not None
    card = json.loads(one.model["card"])
    lines = [f"**{one.model['model_id']}**: {one.status.replace('_', ' ')}. {one.reason}", ""]
    days = f"{one.model['trained_from']} to {one.model['trained_until']}"
    lines += [
        f"Trained on {one.model['ad_days']:,} ad-days of {one.model['ads']:,} ads, {days}, in {one.model['seconds']:.1f} s."
    ]
    lines += [f"Text model: {card['text']}.", ""]
    lines += ["| feature | share of gain |", "|---|---|"]
    lines += [f"| {name} | {gain:.3f} |" for name, gain in card["importance"][:12]]
    if card["search"]:
        lines += ["", f"Parameters were searched for. {card['search']['reason']}", "", *_candidates(card["search"])]
    return "\n".join(lines)


def _candidates(search: dict[str, Any]) -> list[str]:
    """The candidates of a search as a markdown table, the best first."""
    tried = sorted(search["candidates"], key=lambda one: one["log_loss"])
    if not tried:
        return []
    names = list(tried[0]["parameters"])
    lines = [f"| {' | '.join(names)} | log loss |", "|---" * (len(names) + 1) + "|"]
    for one in tried:
        values = [f"{value:g}" for value in one["parameters"].values()]
        lines.append(f"| {' | '.join(values)} | {one['log_loss']:.7f} |")
    return lines


def drawn(models: list[dict[str, Any]], day: Day) -> "alt.TopLevelMixin | None":
    """What the day's challengers use and what that does, of the pool whose samples are largest; None where none was trained."""
    import altair as alt

    if not models:
        return None
    pool = max(models, key=lambda model: model["ad_days"])["pool"]
    kind = " (simulated)" if day.simulated else ""
    charts = [
        importance_and_effects(json.loads(model["card"]), f"What {model['model_id']} uses{kind}")
        for model in models
        if model["pool"] == pool
    ]
    found = [chart for chart in charts if chart is not None]
    return alt.vconcat(*found, spacing=30) if found else None


def importance_and_effects(card: Mapping[str, Any], title: str = "") -> "alt.HConcatChart | None":
    """Shares of the gain beside the mean predicted rate by each of the most important features; None of a model that uses none.

    `card`: `RateModel.card()` as JSON keeps it. Cards that were stored before effects were kept have importance alone.
    """
    import altair as alt

    used = [(_said(name), gain) for name, gain in card["importance"][:_DRAWN_FEATURES] if gain > 0]
    if not used:
        return None
    shares = pl.DataFrame(used, schema={"feature": pl.String, "gain": pl.Float64}, orient="row")
    base = alt.Chart(shares).encode(
        x=alt.X("gain:Q", title="share of gain", axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(domainMin=0)),
        y=alt.Y("feature:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)),
        tooltip=["feature:N", alt.Tooltip("gain:Q", format=".2%")],
    )
    # One feature may hold nearly all of it: the figures say what bars cannot show.
    figures = base.mark_text(align="left", dx=3).encode(text=alt.Text("gain:Q", format=".1%"))
    bars = alt.layer(base.mark_bar(color=COLOURS[0]), figures).properties(width=200, height={"step": 20})
    panels = [_panel(effect, card["target"]) for effect in card.get("effects", [])]
    parts = [bars, alt.concat(*panels, columns=3)] if panels else [bars]
    return alt.hconcat(*parts, **({"title": title} if title else {}))


def effect_rows(card: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """The same effects as rows: feature, value and mean predicted rate."""
    return [
        (_said(effect["feature"]), _level(value), rate)
        for effect in card.get("effects", [])
        for value, rate in zip(effect["values"], effect["predicted"], strict=True)
    ]


def _level(value: object) -> str:
    return "(none)" if value is None else str(value)


def _said(feature: str) -> str:
    return feature.replace("_", " ")


def _panel(effect: Mapping[str, Any], target: str) -> "alt.Chart":
    """One feature: a line over numbers, a point for each level."""
    import altair as alt

    coarse, fine = (".2f", ".3f") if target == "roas" else (".2%", ".3%")
    name, values = _said(effect["feature"]), effect["values"]
    of_rate = {
        "title": f"predicted {target.upper()}",
        "axis": alt.Axis(format=coarse, tickCount=4),
        "scale": alt.Scale(zero=False),
    }
    rate_tip = alt.Tooltip("predicted:Q", format=fine)
    if all(isinstance(value, (int, float)) for value in values):
        rows = pl.DataFrame({"value": values, "predicted": effect["predicted"]}, schema_overrides={"value": pl.Float64})
        line = alt.Chart(rows).mark_line(color=COLOURS[1], point=alt.OverlayMarkDef(color=COLOURS[1], size=26))
        return line.encode(
            x=alt.X("value:Q", title=name, axis=alt.Axis(tickCount=5), scale=alt.Scale(zero=False)),
            y=alt.Y("predicted:Q", **of_rate),
            tooltip=[alt.Tooltip("value:Q", title=name), rate_tip],
        ).properties(width=150, height=110)
    rows = pl.DataFrame({"level": [_level(value) for value in values], "predicted": effect["predicted"]})
    points = alt.Chart(rows).mark_point(filled=True, size=50, opacity=1, color=COLOURS[1])
    return points.encode(
        x=alt.X("predicted:Q", **of_rate),
        y=alt.Y("level:N", title=name, sort=None, axis=alt.Axis(labelLimit=110)),
        tooltip=["level:N", rate_tip],
    ).properties(width=120, height=110)
