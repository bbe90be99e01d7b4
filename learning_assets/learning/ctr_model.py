"""The model of a rate (CTR, CVR, ROAS): XGBoost over what is known of an ad before it is served.

What belongs here: the features of an ad-day, their encoding, training, prediction, and the model's files.
What does not: estimates from counts alone (`baselines`), features of creatives (`dna`), the text model, and whether a new model
may replace the old one (`champion`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning import baselines
from learning_assets.learning.targets import CTR, TARGETS, Target
from learning_assets.settings import Models

if TYPE_CHECKING:
    import xgboost as xgb

VERSION = "2"
"""Changes when the same facts would give another model."""

Kind = Literal["number", "category", "labels"]

_KEYS = ["date", "account_id", "ad_id"]
_CONTEXT = ["audience", "template", "cta"]
_COMPUTED = ["weekday", "age_days", "account_log_rate", "own_log_rate", "own_weight"]
_RISING = {"own_log_rate", "account_log_rate", "text_score"}
"""Features with which the expected rate can only rise."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column and how it becomes numbers.

    `number` (booleans too) stays as it is; `category` is one of `levels`; `labels` holds several of `levels` at once and
    becomes one column each. A level that training did not see is missing, and so is NULL.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of the matrix columns that it fills."""
        return [f"{self.name}={level}" for level in self.levels] if self.kind == "labels" else [self.name]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether facts suffice for training; `ads` counts those with enough impressions."""

    ready: bool
    ads: int
    reason: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a model is and what it saw; stored beside it as JSON.

    `first_day`, `last_day`: of the ad-days that it was given; `rows` to `events`: those that it was trained on (`thin`). `exposure` and `events`
    are those of the `target` (`targets.TARGETS`).
    """

    version: str
    target: str
    features: tuple[Feature, ...]
    schema_hash: str
    parameters: Mapping[str, float | int | str]
    rounds: int
    first_day: date
    last_day: date
    rows: int
    ads: int
    exposure: float
    events: float
    xgboost: str


def readiness(facts: pl.DataFrame, settings: Models, target: Target = CTR) -> Readiness:
    """Whether enough ads have enough impressions to train on: `settings.min_ads` with `settings.min_impressions` each.

    `facts`: rows with `account_id`, `ad_id`, `impressions` and the target's columns; NULL counts are unknown and do not count.
    """
    known = facts.drop_nulls(["impressions", target.events, target.exposure])
    ads = known.group_by("account_id", "ad_id").agg(pl.col("impressions").sum())
    enough = ads.filter(pl.col("impressions") >= settings.min_impressions).height
    if enough < settings.min_ads:
        reason = f"{enough} ads have at least {settings.min_impressions} impressions; {settings.min_ads} are needed to train."
        return Readiness(False, enough, reason)
    if not known[target.events].sum():
        nothing = "none of them was clicked" if target is CTR else f"no {target.events.replace('_', ' ')} are known of them"
        return Readiness(False, enough, f"{enough} ads have enough impressions, but {nothing}.")
    return Readiness(True, enough, f"{enough} ads have at least {settings.min_impressions} impressions.")


def thin(facts: pl.DataFrame, max_rows: int) -> pl.DataFrame:
    """At most about `max_rows` ad-days, the same ones every time: every k-th day of each ad, shifted from ad to ad.

    Days are left out rather than ads, because an ad's days share its creative, and more ads teach more than more days of
    the same ads. k is the smallest whole number that brings the rows to `max_rows` on average; with k = 1 nothing is left out.
    The history of the kept days is to be taken from all facts.
    """
    if max_rows < 1:
        raise ValueError(f"max_rows is {max_rows}; at least one row is needed")
    step = -(-facts.height // max_rows)
    if step <= 1:
        return facts
    day = pl.col("date").rank("dense")
    ad = pl.struct("account_id", "ad_id").rank("dense")
    return facts.filter((day + ad) % step == 0)


def features(
    ad_days: pl.DataFrame, facts: pl.DataFrame, creatives: pl.DataFrame, settings: Models, target: Target = CTR
) -> pl.DataFrame:
    """What is known of each ad-day before it is served.

    Parameters
    ----------
    ad_days : rows with `date`, `account_id`, `ad_id`, `creative_id`, `audience`, `template`, `cta`: past ad-days for training,
        with the target's events and exposure, which are handed through as labels; or the ads that are live on a day to predict.
    facts : one row per ad and day with `date`, `account_id`, `ad_id` and the target's columns. Only rows dated before an
        ad-day enter its features.
    creatives : one row per (`account_id`, `creative_id`); every other column is a feature: numbers, booleans, strings
        (categories) and lists of strings (labels that hold together). NULL is missing. An ad-day whose creative is not
        there has these features missing. A creative's `audience`, `template` or `cta` stands in where the ad-day's is NULL.
    settings : `history_decay`.

    Returns
    -------
    The rows of `ad_days` in their order: keys, the counts where given, and the features: the creative's columns; `audience`,
    `template`, `cta`; `weekday` (1 Monday to 7); `age_days`, days since the ad's first fact, 0 for a new ad and NULL where that
    is the first day of all facts, so that the ad may be older; `account_log_rate` and `own_log_rate`, logs of the smoothed rate
    of account and ad (`baselines.history`); `own_weight`, the share of the ad's own past in the latter, 0 to 1.

    Raises
    ------
    ValueError : a missing column, a NULL key, a negative count (from `baselines.history`), a creative that appears twice, or
        a creative's column with the name of another feature.
    """
    keys, labels = ["account_id", "creative_id"], [target.exposure, target.events]
    missing = sorted({"creative_id", *_CONTEXT} - set(ad_days.columns))
    if missing:
        raise ValueError(f"ad_days: no column {', '.join(map(repr, missing))}; it has {', '.join(ad_days.columns)}")
    taken = sorted({*_KEYS, *labels, *_COMPUTED} & set(creatives.columns) - set(keys))
    if taken:
        raise ValueError(f"creatives: column {', '.join(map(repr, taken))} is computed here; leave it out or rename it")
    twice = creatives.filter(pl.struct(keys).is_duplicated()).select(keys)
    if twice.height:
        raise ValueError(f"creatives: {twice.row(0, named=True)} appears more than once; give one row per creative")

    known = facts.drop_nulls(labels)
    start = known.select(pl.col("date").min().alias("start"))
    born = known.group_by("account_id", "ad_id").agg(born=pl.col("date").min())
    age = (pl.col("date") - pl.col("born")).dt.total_days().clip(lower_bound=0).fill_null(0)
    may_be_older = (pl.col("date") <= pl.col("start")) | (pl.col("born") == pl.col("start")).fill_null(False)
    counts = [name for name in labels if name in ad_days.columns]
    history = baselines.history(
        known, ad_days.select(*_KEYS, "creative_id", *_CONTEXT, *counts), settings.history_decay, target.events, target.exposure
    )
    context = (
        history.join(born, on=["account_id", "ad_id"], how="left", maintain_order="left")
        .join(start, how="cross", maintain_order="left")
        .select(
            *_KEYS,
            "creative_id",
            *counts,
            pl.col(_CONTEXT).cast(pl.String),
            pl.col("date").dt.weekday().alias("weekday"),
            pl.when(~may_be_older).then(age).cast(pl.Float32).alias("age_days"),
            pl.col("account_rate").log().cast(pl.Float32).alias("account_log_rate"),
            pl.col("own_rate").log().cast(pl.Float32).alias("own_log_rate"),
            pl.col("own_weight").cast(pl.Float32),
        )
    )
    shared = [name for name in _CONTEXT if name in creatives.columns]
    stand_ins = creatives.with_columns(pl.col(shared).cast(pl.String)).rename({name: f"creative:{name}" for name in shared})
    return (
        context.join(stand_ins, on=keys, how="left", maintain_order="left")
        .with_columns(pl.coalesce(name, f"creative:{name}") for name in shared)
        .drop("creative_id", *(f"creative:{name}" for name in shared))
    )


def schema_hash(described: tuple[Feature, ...]) -> str:
    """Hash of the features' names and kinds, in order, 16 hex digits. New levels of a category leave it as it is."""
    text = "\n".join(f"{feature.name}:{feature.kind}" for feature in described)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _describe(frame: pl.DataFrame, max_levels: int, target: Target) -> tuple[Feature, ...]:
    """Features of a training frame in the order of their names; the levels are those with most rows, sorted by name."""
    described: list[Feature] = []
    for name in sorted(set(frame.columns) - {*_KEYS, target.exposure, target.events}):
        dtype = frame.schema[name]
        if dtype.is_numeric() or dtype == pl.Boolean:
            described.append(Feature(name, "number"))
            continue
        kind: Kind
        if dtype == pl.List(pl.String):
            kind, values = "labels", frame[name].explode()
        elif dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
            kind, values = "category", frame[name].cast(pl.String)
        else:
            raise ValueError(
                f"feature {name!r} is {dtype}; features are numbers, booleans, strings or lists of strings. "
                "Leave the column out or turn it into one of these."
            )
        counts = values.drop_nulls().value_counts(name="rows").sort(["rows", name], descending=[True, False])
        described.append(Feature(name, kind, tuple(sorted(counts[name].head(max_levels)))))
    return tuple(described)


def matrix(frame: pl.DataFrame, described: tuple[Feature, ...]) -> NDArray[np.float32]:
    """A frame from `features` as numbers: rows × the columns of `described`, in order; NaN is missing, categories are codes of their levels.

    Raises ValueError where a feature is missing.
    """
    missing = [feature.name for feature in described if feature.name not in frame.columns]
    if missing:
        raise ValueError(
            f"no feature {', '.join(map(repr, missing))} in the frame, with which the model was trained; "
            "predict with the features of the same version, or train again"
        )
    columns: list[pl.Expr] = []
    for feature in described:
        column = pl.col(feature.name)
        if feature.kind == "number":
            columns.append(column.cast(pl.Float32))
        elif feature.kind == "category":
            codes = pl.Series(range(len(feature.levels)), dtype=pl.Float32)
            text = column.cast(pl.String)
            levels = pl.Series(feature.levels, dtype=pl.String)
            columns.append(text.replace_strict(levels, codes, default=None, return_dtype=pl.Float32).alias(feature.name))
        else:
            columns += [
                column.list.contains(level).cast(pl.Float32).alias(name)
                for level, name in zip(feature.levels, feature.columns, strict=True)
            ]
    numbers = np.empty((frame.height, len(columns)), np.float32)
    for position, expression in enumerate(columns):
        # Column by column: the whole frame of encoded features never stands beside the matrix.
        numbers[:, position] = frame.select(expression).to_series().fill_null(np.nan).to_numpy()
    return numbers


@dataclass(frozen=True, slots=True, eq=False)
class CtrModel:
    """A trained model: XGBoost's booster and the card that says what went into it."""

    booster: "xgb.Booster"
    card: Card

    def predict(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """Expected rate of each row of a frame from `features`, above 0 and at most the target's highest.

        Raises ValueError where a feature is missing that the model was trained with; further columns do not matter.
        """
        return self.rates(matrix(frame, self.card.features)) if frame.height else np.empty(0)

    def rates(self, numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        """The same of rows of `matrix`, of which there is at least one."""
        import xgboost as xgb

        data = xgb.DMatrix(numbers, feature_types=_types(self.card.features), enable_categorical=True, nthread=1)
        return self.booster.predict(data).astype(np.float64).clip(max=TARGETS[self.card.target].highest)

    def importance(self) -> pl.DataFrame:
        """Share of each feature in the gain of all splits: columns `feature`, `gain` (0 to 1), largest first.

        Gain says what the model uses, not what causes clicks. Features that are not used have 0.
        """
        gained = self.booster.get_score(importance_type="total_gain")
        owners = [feature.name for feature in self.card.features for _ in feature.columns]
        gain = dict.fromkeys((feature.name for feature in self.card.features), 0.0)
        for column, value in gained.items():
            gain[owners[int(column.removeprefix("f"))]] += float(np.sum(value))
        total = sum(gain.values()) or 1.0
        frame = pl.DataFrame({"feature": list(gain), "gain": [value / total for value in gain.values()]})
        return frame.sort(["gain", "feature"], descending=[True, False])

    def save(self, folder: Path) -> None:
        """Write `model.ubj` and `card.json` into `folder`, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.ubj").write_bytes(self.to_bytes())
        card = asdict(self.card) | {"first_day": self.card.first_day.isoformat(), "last_day": self.card.last_day.isoformat()}
        (folder / "card.json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def to_bytes(self) -> bytes:
        """The booster in XGBoost's UBJ; equal for equal training rows and settings."""
        return bytes(self.booster.save_raw("ubj"))

    @classmethod
    def load(cls, folder: Path) -> "CtrModel":
        """Read what `save` wrote.

        Raises FileNotFoundError where a file is missing, and ValueError where card and model do not belong together.
        """
        import xgboost as xgb

        card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        described = tuple(Feature(row["name"], row["kind"], tuple(row["levels"])) for row in card["features"])
        booster = xgb.Booster({"nthread": 1}, model_file=bytearray((folder / "model.ubj").read_bytes()))
        width = len(_types(described))
        if schema_hash(described) != card["schema_hash"] or booster.num_features() != width:
            raise ValueError(
                f"{folder}: card.json describes {width} columns with schema {schema_hash(described)}, model.ubj has "
                f"{booster.num_features()} with schema {card['schema_hash']}; the files do not belong together. Train again."
            )
        card["features"] = described
        for name in ("first_day", "last_day"):
            card[name] = date.fromisoformat(card[name])
        return cls(booster, Card(**card))


def train(frame: pl.DataFrame, settings: Models, target: Target = CTR) -> CtrModel:
    """Train on ad-days: label events / exposure, weight exposure; logistic loss for clicks, Poisson loss for the other targets.

    One row per ad-day gives the same likelihood as one row per impression. The order of the rows does not matter, and equal
    rows give equal bytes. (He et al., Practical lessons from predicting clicks on ads at Facebook, ADKDD 2014; Chen & Guestrin,
    XGBoost, KDD 2016.)

    Parameters
    ----------
    frame : from `features`, with the target's columns; rows without exposure or with unknown counts are left out.
    settings : `trees`, `max_depth`, `learning_rate`, `min_child_clicks`, `l2`, `max_rows`, `max_levels`, `threads`, `seed`. A large
        `min_child_clicks` and `l2` suit ad-days, which are not independent draws: a leaf should rest on many of them.

    Raises
    ------
    ValueError : no rows, no clicks, only clicks, a row with more clicks than impressions, or a feature of an unknown type.
    """
    import xgboost as xgb

    labels = [target.exposure, target.events]
    lacking = [name for name in (*_KEYS, *labels) if name not in frame.columns]
    if lacking:
        raise ValueError(f"no column {', '.join(map(repr, lacking))} in the training frame; `features` hands them through")
    rows = frame.drop_nulls(labels).filter(pl.col(target.exposure) > 0)
    most = pl.col(target.exposure) if target.binomial else float("inf")
    wrong = rows.filter(~pl.col(target.events).is_between(0, most))
    if wrong.height:
        bounds = f"0 to {target.exposure}" if target.binomial else "0 or more"
        raise ValueError(f"{target.events} outside {bounds}: {wrong.row(0, named=True)}; see the checks of the actuals")
    days = rows.select(first=pl.col("date").min(), last=pl.col("date").max()).row(0)
    rows = thin(rows, settings.max_rows).sort(_KEYS)
    exposure, events = (rows[name].to_numpy().astype(np.float64) for name in labels)
    mean = float(events.sum() / exposure.sum()) if rows.height else 0.0
    if not 0 < mean < target.highest:
        told = "clicks" if target is CTR else target.events
        raise ValueError(f"{rows.height} ad-days with {events.sum():.0f} {told} teach no model; check `readiness` before")

    described = _describe(rows, settings.max_levels, target)
    types = _types(described)
    rising = tuple(int(feature.name in _RISING) for feature in described for _ in feature.columns)
    parameters: dict[str, Any] = {
        "objective": "binary:logistic" if target.binomial else "count:poisson",
        "tree_method": "hist",
        "max_depth": settings.max_depth,
        "learning_rate": settings.learning_rate,
        "min_child_weight": settings.min_child_clicks,
        "lambda": settings.l2,
        "base_score": mean,
        "seed": settings.seed,
    }
    data = xgb.QuantileDMatrix(
        matrix(rows, described),
        label=events / exposure,
        weight=exposure,
        feature_types=types,
        enable_categorical=True,
        nthread=settings.threads,
    )
    booster = xgb.train(
        parameters | {"monotone_constraints": rising, "nthread": settings.threads, "verbosity": 1},
        data,
        num_boost_round=settings.trees,
    )
    card = Card(
        version=VERSION,
        target=target.name,
        features=described,
        schema_hash=schema_hash(described),
        parameters=parameters,
        rounds=settings.trees,
        first_day=days[0],
        last_day=days[1],
        rows=rows.height,
        ads=rows.select("account_id", "ad_id").n_unique(),
        exposure=float(exposure.sum()),
        events=float(events.sum()),
        xgboost=xgb.__version__,
    )
    return CtrModel(booster, card)


def _types(described: tuple[Feature, ...]) -> list[str]:
    """XGBoost's types of the matrix columns: `c` categorical, `q` a quantity."""
    return ["c" if feature.kind == "category" else "q" for feature in described for _ in feature.columns]
