"""The whole model of a rate as it is trained, kept and used: the text model's score as a feature of the trees, and the contest for the pointer.

What belongs here: putting text model, trees, baselines and gate together. What does not: how each of them works (`text_model`, `ctr_model`, `tuning`,
`effects`, `baselines`, `champion`), when to train (`triggers`) and where models are kept.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning import baselines, champion, ctr_model, dna, effects, text_model, tuning
from learning_assets.learning.champion import Verdict
from learning_assets.learning.ctr_model import CtrModel
from learning_assets.learning.effects import Effect
from learning_assets.learning.targets import CTR, TARGETS, Target
from learning_assets.learning.text_model import NotEnoughText, TextModel
from learning_assets.learning.tuning import Search
from learning_assets.settings import Models

VERSION = f"2+{ctr_model.VERSION}+{text_model.VERSION}"

_CREATIVE = ["account_id", "creative_id"]
_SCORES = pl.Schema({"account_id": pl.String, "creative_id": pl.String, "text_score": pl.Float64})


@dataclass(frozen=True, slots=True)
class RateModel:
    """A trained model of a target.

    Attributes
    ----------
    trees : XGBoost and its card.
    text : the text model, or None where the texts taught nothing.
    text_note : why `text` is None, or how well it did out of fold.
    scores : one row per creative that the text model was fitted on: its score by a model that had not seen it.
    effects : what the most important features do to the predictions; empty of models that were stored before these were kept.
    search : how the parameters of the trees were chosen; None where they are the settings'.
    """

    trees: CtrModel
    text: TextModel | None
    text_note: str
    scores: pl.DataFrame
    effects: tuple[Effect, ...] = ()
    search: Search | None = None

    @property
    def target(self) -> Target:
        """What it predicts."""
        return TARGETS[self.trees.card.target]

    @property
    def trained_until(self) -> date:
        """The newest day that it saw."""
        return self.trees.card.last_day

    def predict(
        self, ad_days: pl.DataFrame, facts: pl.DataFrame, creatives: pl.DataFrame, settings: Models
    ) -> NDArray[np.float64]:
        """Expected rate of each ad-day, shape (n,); arguments as for `train`, and only facts before an ad-day are used."""
        return self.trees.predict(self.features(ad_days, facts, creatives, settings))

    def features(self, ad_days: pl.DataFrame, facts: pl.DataFrame, creatives: pl.DataFrame, settings: Models) -> pl.DataFrame:
        """What the trees see of each ad-day (`ctr_model.features`), the text score included; arguments as for `predict`."""
        return ctr_model.features(
            ad_days, facts, _described(creatives, _scored(self.text, self.scores, creatives)), settings, self.target
        )

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that differ where the trees do."""
        return hashlib.sha256(self.trees.to_bytes()).hexdigest()[:8]

    def card(self) -> dict[str, Any]:
        """What the model is and what it uses, for people and for the registry; no ids, texts or rows."""
        card = self.trees.card
        return {
            "version": VERSION,
            "parameters": dict(card.parameters) | {"rounds": card.rounds},
            "features": [feature.name for feature in card.features],
            "importance": [[name, gain] for name, gain in self.trees.importance().iter_rows()],
            "effects": [asdict(effect) for effect in self.effects],
            "search": None if self.search is None else json.loads(self.search.to_json()),
            "rows": card.rows,
            "ads": card.ads,
            "target": card.target,
            "exposure": card.exposure,
            "events": card.events,
            "text": self.text_note,
            "xgboost": card.xgboost,
        }

    def save(self, folder: Path) -> None:
        """Write the model's files into an existing folder; no pickles."""
        self.trees.save(folder)
        (folder / "text.json").write_text(json.dumps({"note": self.text_note}))
        self.scores.write_parquet(folder / "text_scores.parquet")
        (folder / "effects.json").write_text(json.dumps([asdict(effect) for effect in self.effects]))
        if self.search is not None:
            (folder / "search.json").write_text(self.search.to_json())
        if self.text is not None:
            self.text.save(folder / "text.npz")

    @classmethod
    def load(cls, folder: Path) -> "RateModel":
        """Read what `save` wrote; ValueError or FileNotFoundError where it cannot be used."""
        text = text_model.load(folder / "text.npz") if (folder / "text.npz").exists() else None
        note = json.loads((folder / "text.json").read_text())["note"]
        # Models that were stored before these were kept have none.
        shown, found = folder / "effects.json", folder / "search.json"
        return cls(
            CtrModel.load(folder),
            text,
            str(note),
            pl.read_parquet(folder / "text_scores.parquet"),
            effects.from_json(shown.read_text()) if shown.exists() else (),
            Search.from_json(found.read_text()) if found.exists() else None,
        )


def train(
    facts: pl.DataFrame,
    creatives: pl.DataFrame,
    settings: Models,
    min_owners: int,
    target: Target = CTR,
    *,
    search: bool = False,
) -> RateModel:
    """Train on all facts given. Words are learned from for CTR only: conversions are too few to tell what a word does.

    Parameters
    ----------
    facts : one row per ad and day: `date`, `owner`, `account_id`, `ad_id`, `creative_id`, `experiment_id` (where arms were random),
        `audience`, `template`, `cta`, `impressions`, `link_clicks`, and the target's columns (`targets.exposed`).
    creatives : one row per creative: `account_id`, `creative_id`, `text` and the columns of `dna.DNA`.
    settings : parameters of the trees; `history_decay`.
    min_owners : over several owners, n-grams of fewer owners carry no weight, and levels of fewer are not shown among the effects.
    search : choose the parameters of the trees from a grid around those of the settings first (`tuning`), on these facts alone.

    Raises
    ------
    ValueError : the facts teach nothing; check `ctr_model.readiness` before.
    """
    found = _searched(facts, creatives, settings, min_owners, target) if search else None
    chosen = settings if found is None else settings.model_copy(update=dict(found.chosen))
    text, note, scores = _words(facts, creatives, min_owners, target)
    frame = _frame(facts, _described(creatives, scores), settings, target)
    trees = ctr_model.train(frame, chosen, target)
    owners = facts.select("account_id", "owner").unique()
    shown = effects.partial(trees, frame, owners, min_owners=min_owners, seed=settings.seed)
    return RateModel(trees, text, note, scores, shown, found)


def _searched(facts: pl.DataFrame, creatives: pl.DataFrame, settings: Models, min_owners: int, target: Target) -> Search:
    """Parameters by a split in time. Words are learned from the days before it, so that nothing knows the days that are scored."""
    since = tuning.first_scored(facts, settings, target)
    if since is None:
        return Search({}, "There are too few days to part: the settings' own parameters hold.")
    before = facts.filter(pl.col("date") < since)
    ready = ctr_model.readiness(before, settings, target)
    if not ready.ready:
        return Search({}, f"The settings' own parameters hold. Of the days before {since}: {ready.reason}")
    text, _, scores = _words(before, creatives, min_owners, target)
    described = _described(creatives, _scored(text, scores, creatives))
    return tuning.choose(_frame(facts, described, settings, target), since, settings, target)


def _frame(facts: pl.DataFrame, described: pl.DataFrame, settings: Models, target: Target) -> pl.DataFrame:
    """What trees are trained on.

    Thinned before the features are made, so that their memory is bounded; the history of the kept ad-days is that of all facts.
    """
    return ctr_model.features(ctr_model.thin(facts, settings.max_rows), facts, described, settings, target)


def _scored(text: TextModel | None, scores: pl.DataFrame, creatives: pl.DataFrame) -> pl.DataFrame:
    """Text scores of the creatives: those of the fit by a model that had not seen them, others by the model itself."""
    if text is None:
        return creatives.select(*_CREATIVE, text_score=pl.lit(None, pl.Float64))
    new = creatives.join(scores, on=_CREATIVE, how="anti")
    fresh = new.select(*_CREATIVE, pl.Series("text_score", text.score(new["text"].to_list())).fill_nan(None))
    return pl.concat([scores, fresh])


def _words(
    facts: pl.DataFrame, creatives: pl.DataFrame, min_owners: int, target: Target
) -> tuple[TextModel | None, str, pl.DataFrame]:
    """The text model, or why there is none, and the creatives' out-of-fold scores."""
    if target is not CTR:
        return None, "clicks only", _SCORES.to_frame()
    arms = _arms(facts, creatives)
    try:
        text, found = text_model.fit_and_score(arms, min_owners=min_owners)
        note = f"out-of-fold correlation with log CTR inside groups: {text.correlation:.3f}, from {text.texts} texts"
        scores = (
            arms.with_columns(text_score=pl.Series(found).fill_nan(None))
            .group_by(_CREATIVE)
            .agg(pl.col("text_score").mean())
            .sort(_CREATIVE)
            .match_to_schema(_SCORES)
        )
    except NotEnoughText as reason:
        return None, str(reason), _SCORES.to_frame()
    return text, note, scores


def contest(
    incumbent: RateModel | None,
    challenger: RateModel,
    facts: pl.DataFrame,
    creatives: pl.DataFrame,
    settings: Models,
) -> Verdict:
    """Compare challenger, champion and the accounts' empirical-Bayes means on the days that neither model saw.

    `facts` and `creatives` as for `train`, up to and including the hold-out; each ad-day is predicted from facts before it.
    """
    target = challenger.target
    seen = max(model.trained_until for model in (incumbent, challenger) if model is not None)
    known = facts.drop_nulls([target.exposure, target.events])
    holdout = known.filter((pl.col("date") > seen) & (pl.col(target.exposure) > 0))
    rates = baselines.history(known, holdout, settings.history_decay, target.events, target.exposure)
    rows = holdout.select("account_id", "ad_id", target.events, target.exposure).with_columns(
        challenger=pl.Series(challenger.predict(holdout, facts, creatives, settings), dtype=pl.Float64),
        baseline=rates["account_rate"],
    )
    if incumbent is not None:
        rows = rows.with_columns(champion=pl.Series(incumbent.predict(holdout, facts, creatives, settings), dtype=pl.Float64))
    return champion.contest(rows, "champion" if incumbent is not None else None, "challenger", "baseline", settings, target)


def facts_version(facts: pl.DataFrame, target: Target = CTR) -> str:
    """Sixteen hex digits that differ where the facts do: which actuals a model saw."""
    key = ["date", "account_id", "ad_id"]
    counts = facts.select(*key, target.exposure, target.events).sort(key)
    return hashlib.sha256(counts.write_csv().encode()).hexdigest()[:16]


def _arms(facts: pl.DataFrame, creatives: pl.DataFrame) -> pl.DataFrame:
    """Creatives with their counts, grouped by experiment where arms were random, by account elsewhere."""
    # Filtered facts may begin with empty chunks, in which `format` of polars 2.1 panics.
    return (
        facts.rechunk()
        .with_columns(group=pl.coalesce(pl.format("experiment {}", "experiment_id"), pl.format("account {}", "account_id")))
        .group_by("owner", "group", *_CREATIVE)
        .agg(pl.col("impressions").sum(), pl.col("link_clicks").sum())
        .join(creatives.select(*_CREATIVE, "text"), on=_CREATIVE, how="inner")
        .sort("owner", "group", *_CREATIVE)
    )


def _described(creatives: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The creatives' features: DNA but what an ad-day itself says, hook types, and the text score."""
    own = [name for name in dna.FEATURES if name not in ("cta", "template")]
    return creatives.select(*_CREATIVE, "hook_types", *own).join(scores, on=_CREATIVE, how="left")
