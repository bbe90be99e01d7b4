"""What a model's features do to its predictions: partial effects, as tables that can be drawn.

What belongs here: the mean prediction while one feature is set to one value after the other (Friedman, Greedy function approximation, Annals of
Statistics 2001). What does not: importance (`ctr_model`), and the plot.

A partial effect says what the model answers, not what would happen: features that go together are parted here as they never are in the market.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from learning_assets.learning import ctr_model
from learning_assets.learning.ctr_model import CtrModel, Feature

FEATURES = 6
"""Most important features whose effects are shown."""
VALUES = 10
"""Values of a feature, at most."""
SAMPLE = 1_000
"""Ad-days over which predictions are averaged, at most."""

Value = float | str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """Mean predicted rate over the sample while `feature` has each of `values`.

    Numbers are quantiles, rounded to two digits so that they are nobody's in particular. Levels are the most frequent ones; of a feature that holds
    several at once each stands alone, and None is none of them.
    """

    feature: str
    values: tuple[Value, ...]
    predicted: tuple[float, ...]


def from_json(text: str) -> tuple[Effect, ...]:
    """Effects from a list of their fields as JSON."""
    return tuple(Effect(one["feature"], tuple(one["values"]), tuple(one["predicted"])) for one in json.loads(text))


def partial(model: CtrModel, frame: pl.DataFrame, owners: pl.DataFrame, *, min_owners: int, seed: int) -> tuple[Effect, ...]:
    """Partial effects of the FEATURES most important features that the model uses, most important first.

    Parameters
    ----------
    frame : what the model was trained on, from `ctr_model.features`; SAMPLE rows of it are drawn, the same ones whatever their order.
    owners : `account_id`, `owner`: whose rows these are. Where there are several owners, levels of fewer than `min_owners` are not shown.
    seed : of the draw.
    """
    order = frame.select(pl.arg_sort_by("date", "account_id", "ad_id")).to_series()
    drawn = np.sort(np.random.default_rng(seed).choice(frame.height, min(SAMPLE, frame.height), replace=False))
    sample = frame[order.gather(drawn)]
    numbers = ctr_model.matrix(sample, model.card.features)
    starts = np.cumsum([0, *(len(feature.columns) for feature in model.card.features)]).tolist()
    places = {feature.name: (feature, start) for feature, start in zip(model.card.features, starts, strict=False)}
    used = model.importance().filter(pl.col("gain") > 0)["feature"].head(FEATURES)
    found: list[Effect] = []
    for feature, start in (places[name] for name in used):
        values = _quantiles(sample[feature.name]) if feature.kind == "number" else _levels(feature, frame, owners, min_owners)
        if not values:
            continue
        told = _column(feature, values)
        each = ctr_model.matrix(told.to_frame(), (feature,))
        # All values at once: a copy of the sample for each of them.
        many = np.tile(numbers, (len(values), 1))
        many[:, start : start + each.shape[1]] = np.repeat(each, sample.height, axis=0)
        means = model.rates(many).reshape(len(values), sample.height).mean(axis=1)
        found.append(Effect(feature.name, tuple(values), tuple(means.tolist())))
    return tuple(found)


def _quantiles(known: pl.Series) -> list[Value]:
    """Values of a number from the 5 % to the 95 % quantile, ascending; all of them where they are few."""
    numbers = known.cast(pl.Float64).fill_nan(None).drop_nulls()
    distinct = numbers.unique()
    if len(distinct) > VALUES:
        distinct = pl.Series(np.quantile(numbers.to_numpy(), np.linspace(0.05, 0.95, VALUES)))
    return distinct.round_sig_figs(2).unique().sort().to_list()


def _levels(feature: Feature, frame: pl.DataFrame, owners: pl.DataFrame, min_owners: int) -> list[Value]:
    """The most frequent levels that enough owners have, sorted by name; None before them where a feature may hold none."""
    rows = frame.select("account_id", level=feature.name).join(owners.unique(), on="account_id")
    if feature.kind == "labels":
        rows = rows.explode("level", empty_as_null=True)
    least = min_owners if owners["owner"].n_unique() > 1 else 1
    counted = (
        rows.with_columns(pl.col("level").cast(pl.String))
        .filter(pl.col("level").is_in(feature.levels))
        .group_by("level")
        .agg(pl.len(), owners=pl.col("owner").n_unique())
        .filter(pl.col("owners") >= least)
        .sort(["len", "level"], descending=[True, False])
    )
    none: list[Value] = [None] if feature.kind == "labels" and counted.height else []
    return [*none, *sorted(counted["level"].head(VALUES - len(none)))]


def _column(feature: Feature, values: Sequence[Value]) -> pl.Series:
    """A frame's column that holds the values."""
    if feature.kind == "labels":
        return pl.Series(feature.name, [[] if value is None else [value] for value in values], dtype=pl.List(pl.String))
    return pl.Series(feature.name, values, dtype=pl.Float64 if feature.kind == "number" else pl.String)
