"""The plots of the page on accuracy."""

from typing import TYPE_CHECKING, Any

import polars as pl

from learning_assets.assets import page

if TYPE_CHECKING:
    import altair as alt


def calibration(rows: pl.DataFrame, metric: str) -> "alt.TopLevelMixin":
    import altair as alt

    shape = ".2f" if metric == "roas" else ".2%"
    x = alt.X("predicted:Q", title="predicted", axis=alt.Axis(format=shape, tickCount=5), scale=alt.Scale(zero=False))
    y = alt.Y("rate:Q", title="happened", axis=alt.Axis(format=shape), scale=alt.Scale(zero=False))
    tips = [
        alt.Tooltip("bin:Q"),
        alt.Tooltip("ads:Q"),
        alt.Tooltip("predicted:Q", format=shape),
        alt.Tooltip("rate:Q", title="happened", format=shape),
        alt.Tooltip("low:Q", title="from", format=shape),
        alt.Tooltip("high:Q", title="to", format=shape),
    ]
    base = alt.Chart(rows.select("model", "bin", "ads", "predicted", "rate", "low", "high"))
    drawn = alt.layer(
        base.mark_line(color=page.FLOOR_COLOUR, strokeDash=[5, 4]).encode(x=x, y=alt.Y("predicted:Q", title="happened")),
        base.mark_rule(color=page.COLOURS[0], strokeWidth=2).encode(x=x, y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(color=page.COLOURS[0], filled=True, size=60, opacity=1).encode(x=x, y=y, tooltip=tips),
    ).properties(width=250, height=220)
    return drawn.facet(facet=alt.Facet("model:N", title=None), columns=3).resolve_scale(x="independent", y="independent")


def over_time(rows: pl.DataFrame) -> "alt.TopLevelMixin":
    import altair as alt

    floor = (
        rows.group_by("as_of")
        .agg(wape=pl.col("noise_floor").mean())
        .drop_nulls()
        .with_columns(series=pl.lit(_FLOOR))
        .sort("as_of")
    )
    lines = pl.concat([rows.select("as_of", "wape", "series"), floor.select("as_of", "wape", "series")])
    names = [*rows["series"].unique().sort(), _FLOOR]
    colours = [*(page.COLOURS[number % len(page.COLOURS)] for number in range(len(names) - 1)), page.FLOOR_COLOUR]
    return (
        alt.Chart(lines)
        .mark_line(point=alt.OverlayMarkDef(size=26))
        .encode(
            x=alt.X(
                "as_of:T",
                title=None,
                axis=alt.Axis(format="%d %b", tickCount={"interval": "day", "step": _every(rows)}, labelOverlap=True),
            ),
            y=alt.Y("wape:Q", title="WAPE", axis=alt.Axis(format=".0%"), scale=alt.Scale(zero=False, padding=12)),
            color=alt.Color("series:N", title=None, scale=alt.Scale(domain=names, range=colours)),
            strokeDash=alt.condition(f"datum.series === '{_FLOOR}'", alt.value([5, 4]), alt.value([1, 0])),
            tooltip=[alt.Tooltip("as_of:T", title="day"), "series:N", alt.Tooltip("wape:Q", format=".2%")],
        )
        .properties(width=680, height=250)
    )


_FLOOR = "noise floor (a perfect predictor)"


def _every(rows: pl.DataFrame) -> int:
    """Days between the ticks of a time axis."""
    days = rows["as_of"].unique().sort().to_list()
    return max(1, (days[-1] - days[0]).days // 10)


def segments(rows: pl.DataFrame) -> "alt.TopLevelMixin":
    import altair as alt

    shown = rows.select("segment", "segment_value", "ads", "wape", "noise_floor", "calibration_ratio")
    charts: list[Any] = []
    top = float(max(shown["wape"].max() or 0, shown["noise_floor"].max() or 0))  # pyright: ignore[reportArgumentType]
    for (segment,), part in shown.group_by("segment", maintain_order=True):
        y = alt.Y(
            "segment_value:N", title=str(segment).replace("_", " "), sort=None, axis=alt.Axis(labelLimit=220, titlePadding=10)
        )
        x = alt.X("wape:Q", title=None, axis=alt.Axis(format=".0%", tickCount=8), scale=alt.Scale(domain=[0, top * 1.05]))
        tips = [
            "segment_value:N",
            "ads:Q",
            alt.Tooltip("wape:Q", format=".1%"),
            alt.Tooltip("noise_floor:Q", format=".1%"),
            alt.Tooltip("calibration_ratio:Q", format=".3f"),
        ]
        base = alt.Chart(part)
        charts.append(
            alt.layer(
                base.mark_rule(color="#d0d7de", strokeWidth=2).encode(x=alt.X("noise_floor:Q"), x2="wape:Q", y=y),
                base.mark_tick(color=page.FLOOR_COLOUR, thickness=3, size=14).encode(
                    x=alt.X("noise_floor:Q"), y=y, tooltip=tips
                ),
                base.mark_point(color=page.COLOURS[0], filled=True, size=70, opacity=1).encode(x=x, y=y, tooltip=tips),
            ).properties(width=560, height={"step": 22})
        )
    return alt.vconcat(*charts, spacing=14)


def retrains(rows: pl.DataFrame) -> "alt.TopLevelMixin":
    import altair as alt

    base = alt.Chart(rows).encode(
        x=alt.X("day:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        color=alt.Color(
            "outcome:N",
            title=None,
            scale=alt.Scale(domain=["took over", "champion stayed"], range=[page.COLOURS[2], page.FLOOR_COLOUR]),
        ),
        shape=alt.Shape("target:N", title="target", legend=alt.Legend() if rows["target"].n_unique() > 1 else None),
    )
    panels = [
        alt.layer(
            alt.Chart().mark_rule(color="#d0d7de").encode(y=alt.datum(0)),
            base.transform_filter(f"datum.what === '{name}'")
            .mark_point(filled=True, size=80, opacity=1)
            .encode(
                y=alt.Y("value:Q", title=name, axis=alt.Axis(format=shape)),
                tooltip=["day:O", "target:N", "outcome:N", alt.Tooltip("value:Q", title=name, format=".6f")],
            ),
        ).properties(width=330, height=170)
        for name, shape in (("ΔR²", "+.3f"), ("ΔMAE, ‱", "+.2f"))
    ]
    return alt.hconcat(*panels)


def gains(rows: pl.DataFrame) -> "alt.TopLevelMixin":
    import altair as alt

    shown = rows.select(
        "gain", "gain_low", "gain_high", "made", what=pl.format("{}: {}", pl.col("metric").str.to_uppercase(), "model")
    )
    ways = shown["made"].unique().sort().to_list()
    y = alt.Y("what:N", title=None, axis=alt.Axis(labelLimit=260))
    x = alt.X("gain:Q", title="more results for the same spend", axis=alt.Axis(format="+.0%"))
    offset = alt.YOffset("made:N")
    colour = alt.Color("made:N", title=None, scale=alt.Scale(domain=ways, range=list(page.COLOURS[: len(ways)])))
    tips = ["what:N", "made:N", *(alt.Tooltip(f"{name}:Q", format="+.1%") for name in ("gain", "gain_low", "gain_high"))]
    base = alt.Chart(shown)
    return alt.layer(
        alt.Chart().mark_rule(color=page.FLOOR_COLOUR, strokeDash=[5, 4]).encode(x=alt.datum(0)),
        base.mark_rule(strokeWidth=2).encode(x=alt.X("gain_low:Q"), x2="gain_high:Q", y=y, yOffset=offset, color=colour),
        base.mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, yOffset=offset, color=colour, tooltip=tips),
    ).properties(width=560, height={"step": 34})
