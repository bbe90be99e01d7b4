"""The score of a creative: how likely it beats its account's median ad, and whether that can be said at all.

What belongs here: the additive model behind the score, its validation on later ads, and the score of a new creative. What does not: what
winners have (`formula`), and what to change (`suggestions`).

**Model.** The log of an ad's clicks over what its account's mean expects of its weeks (`formula.units`), less the account's median, is a sum of
weights of its attributes, each against how common it is in the account, and what they do not say: y = x·w + u + noise. Weights are normal
around 0 with one standard deviation τ, u with σ; τ maximises the marginal likelihood on a grid that holds τ = 0, all variances with it (empirical
Bayes; MacKay, Neural Computation 4, 1992). Where attributes say nothing, τ is 0 and so is every weight.

**Validation** goes forward in time. The ads are cut into blocks by their first week; those of a block are scored by a model of the ads and
weeks before it. An ad beats the median if its ratio is above that of its account's ads of the same block, so that neither novelty nor season
helps it. The calibration slope is that of a logistic regression of this on the logit of what was said (Cox, Biometrika 45, 1958), with errors
clustered by account where there are five, else by ad. If its interval does not lie above 0, the score says nothing and is not given; else what
is said is the model's logit times the slope, at most 1.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning import formula
from learning_assets.learning.hooks import UNKNOWN
from learning_assets.settings import Formula

VERSION = "1"

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

SAID = pl.Schema(
    {
        "score": pl.Float64,
        "score_low": pl.Float64,
        "score_high": pl.Float64,
    }
)
"""Probability to beat the account's median ad in per cent, 0 to 100, with the bounds that the uncertain slope gives; NULL: unknown."""

KEPT = pl.Schema(
    {
        "weight": pl.Float64,
        "says_nothing": pl.Boolean,
        "score_reason": pl.String,
        **dict.fromkeys(("earlier_ads", "later_ads"), pl.Int64),
        **dict.fromkeys(("spread", "spearman", "slope", "slope_low", "slope_high", "brier", "brier_base"), pl.Float64),
    }
)
"""What is kept of a score beside the rows of its formula: `weight` on the rows of values, the others on the scope's own row. They are the
attributes of Model and Validation; weights are NULL where the score says nothing."""

_TAUS = (0.0, 0.02, 0.04, 0.07, 0.10, 0.14, 0.20, 0.30)
_FIRST_SHARE = 0.4
"""Share of the weeks whose ads no block scores: the first model learns from them."""
_MIN_COHORT = 4
"""Ads of an account and block below which they have no median."""
_MIN_EXPECTED = 5.0
"""Events that an account's mean expects of an ad, below which `learn_rates` does not use it."""
_MIN_ACCOUNTS = 5
"""Accounts from which on errors are clustered by account."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How the score did on later ads.

    Attributes
    ----------
    says_nothing : the interval of the slope does not lie above 0, or nothing could be measured: no score is given.
    reason : why, in a sentence.
    earlier_ads, later_ads : ads that the model in force was learned from, and ads that were scored before they were seen.
    spearman : rank correlation of score and log ratio over the later ads, -1 to 1.
    slope, slope_low, slope_high : calibration slope; 1 is right, below it the score was too sure.
    brier, brier_base : mean squared error of the probabilities, and that of saying 50 % of each.
    """

    says_nothing: bool
    reason: str
    earlier_ads: int
    later_ads: int
    spearman: float | None = None
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    brier: float | None = None
    brier_base: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """Weights of attribute values, in log rate, and what they leave open.

    `weights`: attribute, value, `weight`, and `share`, how common the value is among the ads that it was learned from, 0 to 1. `spread`:
    standard deviation of an ad's log ratio around its weights' sum.
    """

    weights: pl.DataFrame
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class _Ads:
    """Ads sorted by account and unit with `y`, their log ratio less the account's median, and their values as codes of `History.values`.

    `row`, `code`: the pairs of an ad and a value that it has, by row. `known`: whether the attribute is known, ads x attributes.
    """

    frame: pl.DataFrame
    row: Codes
    code: Codes
    known: NDArray[np.bool_]

    def of(self, keep: NDArray[np.bool_]) -> "_Ads":
        """The ads that are kept."""
        pairs = keep[self.row]
        return _Ads(
            self.frame.filter(pl.Series(keep)), (np.cumsum(keep) - 1)[self.row[pairs]], self.code[pairs], self.known[keep]
        )

    def matrix(self, codes: Codes, attribute: Codes) -> Floats:
        """Ads x `codes`, which are sorted: 1 where the ad has the value, 0 where not, NaN where its attribute is not known."""
        found = np.where(self.known[:, attribute[codes]], 0.0, np.nan)
        place = np.searchsorted(codes, self.code)
        inside = (place < codes.size) & (codes[np.minimum(place, codes.size - 1)] == self.code) if codes.size else place < 0
        found[self.row[inside], place[inside]] = 1.0
        return found


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The ads of a window, as they stood at its end and before each of the weeks at which later ads begin; see `history`.

    `values`: attribute and value by code; `attribute`: number of the attribute of each code.
    """

    values: pl.DataFrame
    attribute: Codes
    ads: _Ads
    before: tuple[tuple[date, _Ads], ...]


def history(sums: pl.DataFrame, attributes: Sequence[str], settings: Formula) -> History:
    """What scores are learned from and checked on, for all accounts at once.

    Parameters
    ----------
    sums : as for `formula.units`.
    attributes : columns of String or List(String).
    settings : `min_impressions` of an ad to count, and the number of `blocks` that the last 60 % of the weeks are cut into.
    """
    weeks = sums["week"].unique().sort()
    places = sorted(
        {round(weeks.len() * (_FIRST_SHARE + (1 - _FIRST_SHARE) * n / settings.blocks)) for n in range(settings.blocks)}
    )
    cuts: list[date] = [weeks[place] for place in places if 0 < place < weeks.len()]
    frames = [_ads(sums if cut is None else sums.filter(pl.col("week") < cut), attributes, settings) for cut in (None, *cuts)]
    return _history(frames, [_long(frame, attributes) for frame in frames], attributes, cuts)


def _history(
    frames: Sequence[pl.DataFrame], long: Sequence[pl.DataFrame], attributes: Sequence[str], cuts: Sequence[date]
) -> History:
    """`frames` and what `_long` makes of them: the ads at the end, and before each cut."""
    values = pl.concat(long).select("attribute", "value").unique().sort("attribute", "value").with_row_index("code")
    number = {name: place for place, name in enumerate(attributes)}
    coded = [_coded(frame, one, values, attributes) for frame, one in zip(frames, long, strict=True)]
    return History(
        values=values.select("attribute", "value"),
        attribute=np.array([number[name] for name in values["attribute"]], dtype=np.int64),
        ads=coded[0],
        before=tuple(zip(cuts, coded[1:], strict=True)),
    )


def learn(
    past: History, settings: Formula, account_ids: Collection[str] | None = None, *, min_owners: int = 1
) -> tuple[Model | None, Validation]:
    """The model of an account, or of accounts that may be pooled, and how such models did on later ads.

    Parameters
    ----------
    past : as `history` gives it.
    settings : `min_ads` that have and lack a value; `min_scored` ads before and in the blocks; `confidence_level` of the slope's interval.
    account_ids : whose ads to learn from; all where not given.
    min_owners : values that ads of fewer owners have carry no weight.

    Returns
    -------
    The model, None where the score says nothing, and its validation.
    """
    ads = _of_accounts(past.ads, account_ids)
    if ads.frame.height < settings.min_scored:
        reason = f"{ads.frame.height} ads have {settings.min_impressions:,} impressions; {settings.min_scored} are needed for a score."
        return None, Validation(True, reason, ads.frame.height, 0)
    begun = ads.frame.filter(pl.col("first_week") >= past.before[0][0]).height if past.before else 0
    if begun < settings.min_scored:
        return None, Validation(True, _few_later(begun, settings), ads.frame.height, begun)
    validation = _validate(_later(past, ads, account_ids, settings, min_owners), ads.frame.height, settings)
    if validation.says_nothing:
        return None, validation
    return _fit(past, ads, settings, min_owners).model(past), validation


def learn_rates(units: pl.DataFrame, attributes: Sequence[str], settings: Formula, *, min_owners: int = 1) -> Model | None:
    """The additive model of any rate, for `rates`. Nothing is validated: whoever uses it finds out what it is worth.

    Parameters
    ----------
    units : `formula.units` of the rate's events and exposure, with the attributes; those of which fewer than `_MIN_EXPECTED` events were expected are left
        out, since the log of their ratio is biased.
    attributes : columns of String or List(String).
    settings, min_owners : as for `learn`; None where fewer than `min_scored` units are left.
    """
    kept = units.filter(pl.col("expected") >= _MIN_EXPECTED)
    if kept.height < settings.min_scored:
        return None
    kept = kept.with_columns(y=pl.col("log_ratio") - pl.col("log_ratio").median().over("account_id"))
    long = _long(kept, attributes)
    past = _history([kept], [long], attributes, [])
    return _fit(past, past.ads, settings, min_owners).model(past)


def score(
    creatives: pl.DataFrame, model: Model | None, validation: Validation, shares: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Scores of creatives.

    Parameters
    ----------
    creatives : the attributes that the model knows; one that is NULL or not there is taken as the account's average.
    model, validation : as `learn` gave them.
    shares : attribute, value, `share` of the account that the creatives are for; those of the model's ads where not given.

    Returns
    -------
    Frame with schema SAID, rows in the order given; all NULL where the score says nothing.
    """
    slope, slope_low, slope_high = validation.slope, validation.slope_low, validation.slope_high
    if model is None or slope is None or slope_low is None or slope_high is None:
        return pl.DataFrame({name: [None] * creatives.height for name in SAID}, schema=SAID)
    logit = _logit(_normal(_log_ratios(creatives, model, shares) / model.spread))
    slopes = (min(slope, 1.0), slope_low, slope_high)
    said, one, other = (100 / (1 + np.exp(-logit * slope)) for slope in slopes)
    ends = (said, np.minimum(one, other), np.maximum(one, other))
    return pl.DataFrame(dict(zip(SAID, ends, strict=True)), schema=SAID)


def rates(creatives: pl.DataFrame, model: Model | None, shares: pl.DataFrame | None = None) -> pl.Series:
    """Rates that creatives are expected to have from what they are made of alone, whatever they have achieved themselves.

    The account's rate times the exponential of the creative's weights, each against how common it is in the account.

    Parameters
    ----------
    creatives, shares : as for `score`, the creatives with the rate of their account in the column `account_rate` (`baselines.history`).
    model : as `learn` gave it.

    Returns
    -------
    Float64, rows in the order given; NULL where the account's rate is, and everywhere where the score says nothing.
    """
    if model is None:
        return pl.Series("account_rate", [None] * creatives.height, dtype=pl.Float64)
    return creatives["account_rate"].cast(pl.Float64) * pl.Series(np.exp(_log_ratios(creatives, model, shares)))


def kept(rows: pl.DataFrame, model: Model | None, validation: Validation) -> pl.DataFrame:
    """The rows of one scope's formula with the columns KEPT; `restored` reads them."""
    told = asdict(validation) | {"score_reason": validation.reason, "spread": model.spread if model else None}
    own = pl.col("kind") == "scope"
    rows = rows.with_columns(pl.when(own).then(pl.lit(told.get(name), kind)).alias(name) for name, kind in KEPT.items())
    if model is None:
        return rows
    weights = model.weights.select("attribute", "value", kind=pl.lit("choice"), told="weight")
    joined = rows.join(weights, on=["attribute", "value", "kind"], how="left", maintain_order="left")
    return joined.with_columns(weight=pl.col("told")).drop("told")


def restored(rows: pl.DataFrame) -> tuple[Model | None, Validation]:
    """Model and validation from one scope's rows, as `kept` made them."""
    own = rows.filter(pl.col("kind") == "scope").row(0, named=True)
    figures = {field.name: own[field.name] for field in fields(Validation) if field.name != "reason"}
    weights = rows.filter(pl.col("weight").is_not_null()).select("attribute", "value", "weight", "share")
    # In one order, so that what they add up to has the same bits.
    weights = weights.sort("attribute", "value")
    model = None if own["spread"] is None else Model(weights, own["spread"])
    return model, Validation(reason=own["score_reason"], **figures)


def _log_ratios(creatives: pl.DataFrame, model: Model, shares: pl.DataFrame | None) -> Floats:
    """Sum of the weights of each creative, against how common they are."""
    weights = model.weights
    if shares is not None:
        mine = shares.select("attribute", "value", mine="share")
        weights = weights.join(mine, on=["attribute", "value"], how="left", maintain_order="left")
        weights = weights.with_columns(share=pl.col("mine").fill_null(0.0))
    known = [name for name in weights["attribute"].unique(maintain_order=True) if name in creatives.columns]
    weights = weights.filter(pl.col("attribute").is_in(known))
    numbered = weights.select("attribute", "value").with_row_index("code")
    coded = _coded(creatives, _long(creatives, known), numbered, known)
    number = {name: place for place, name in enumerate(known)}
    attribute = np.array([number[name] for name in weights["attribute"]], dtype=np.int64)
    x = _centred(coded.matrix(np.arange(weights.height), attribute), weights["share"].to_numpy())
    return x @ weights["weight"].to_numpy()


def _ads(sums: pl.DataFrame, attributes: Sequence[str], settings: Formula) -> pl.DataFrame:
    """Units with enough impressions and `y`, their log ratio less the account's median, sorted."""
    seen = formula.units(sums, attributes).filter(pl.col("impressions") >= settings.min_impressions)
    return seen.with_columns(y=pl.col("log_ratio") - pl.col("log_ratio").median().over("account_id"))


def _long(ads: pl.DataFrame, attributes: Sequence[str]) -> pl.DataFrame:
    """One row per ad, attribute and known value: row, attribute, value."""
    rows = ads.with_row_index("row")
    parts = [pl.DataFrame(schema={"row": pl.UInt32, "attribute": pl.String, "value": pl.String})]
    for name in attributes:
        said = rows.select("row", attribute=pl.lit(name), value=name)
        if isinstance(said.schema["value"], pl.List):
            said = said.explode("value").unique(maintain_order=True)
        parts.append(said.with_columns(pl.col("value").cast(pl.String)).filter(pl.col("value") != UNKNOWN))
    return pl.concat(parts)


def _coded(frame: pl.DataFrame, long: pl.DataFrame, values: pl.DataFrame, attributes: Sequence[str]) -> _Ads:
    """`frame` with the pairs of `long` as codes of `values`; a value that is not there only says that its attribute is known."""
    pairs = long.join(values, on=["attribute", "value"], how="left").sort("row", "code")
    known = np.zeros((frame.height, len(attributes)), dtype=bool)
    for place, name in enumerate(attributes):
        known[pairs.filter(attribute=name)["row"].to_numpy(), place] = True
    coded = pairs.drop_nulls("code")
    return _Ads(frame, coded["row"].to_numpy().astype(np.int64), coded["code"].to_numpy().astype(np.int64), known)


def _of_accounts(ads: _Ads, account_ids: Collection[str] | None) -> _Ads:
    if account_ids is None:
        return ads
    return ads.of(ads.frame["account_id"].is_in(list(account_ids)).to_numpy())


def _centred(x: Floats, share: Floats) -> Floats:
    """Values less how common they are; 0, the average, where the attribute is not known."""
    return np.nan_to_num(x - share)


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """Codes of the values that carry a weight, sorted, their weights and shares, and the shares of each account (accounts x codes)."""

    codes: Codes
    weights: Floats
    share: Floats
    spread: float
    accounts: dict[str, Floats]

    def model(self, past: History) -> Model:
        """What is kept of it."""
        weights = past.values[self.codes].with_columns(weight=pl.Series(self.weights), share=pl.Series(self.share))
        return Model(weights, self.spread)

    def expect(self, past: History, ads: _Ads) -> Floats:
        """Sum of the weights of each ad, against its account's shares."""
        names = ads.frame["account_id"].to_list()
        shares = np.array([self.accounts.get(name, self.share) for name in names]).reshape(len(names), self.codes.size)
        return _centred(ads.matrix(self.codes, past.attribute), shares) @ self.weights


def _fit(past: History, ads: _Ads, settings: Formula, min_owners: int) -> _Fitted:
    size = past.attribute.size
    have = np.bincount(ads.code, minlength=size)
    known = ads.known.sum(axis=0)[past.attribute]
    owner = ads.frame["owner"].rank("dense").to_numpy().astype(np.int64)
    owners = np.bincount(np.unique(np.column_stack([ads.code, owner[ads.row]]), axis=0)[:, 0], minlength=size)
    enough = (have >= settings.min_ads) & (known - have >= settings.min_ads) & (owners >= min_owners)
    codes = np.flatnonzero(enough)
    x = ads.matrix(codes, past.attribute)
    names, starts = np.unique(ads.frame["account_id"].to_numpy(), return_index=True)
    told = np.add.reduceat(~np.isnan(x), starts, axis=0)
    share = have[codes] / known[codes]
    by_account = np.where(told > 0, np.add.reduceat(np.nan_to_num(x), starts, axis=0) / np.maximum(told, 1), share)
    counts = np.diff([*starts, ads.frame.height])
    y, noise = ads.frame["y"].to_numpy(), ads.frame["noise"].to_numpy()
    weights, spread = _empirical_bayes(_centred(x, np.repeat(by_account, counts, axis=0)), y, noise)
    return _Fitted(codes, weights, share, spread, dict(zip(names.tolist(), by_account, strict=True)))


def _empirical_bayes(x: Floats, y: Floats, noise: Floats) -> tuple[Floats, float]:
    """Posterior means of the weights, and the standard deviation of a new ad around their sum."""
    taus = np.array(_TAUS if x.shape[1] else _TAUS[:1])[:, None]
    variance = max(float(y.var()) - float(noise.mean()), 1e-4)
    precision = 1 / (variance + noise)
    centred = y - np.average(y, weights=precision)
    values, axes = cast("tuple[Floats, Floats]", np.linalg.eigh((x * precision[:, None]).T @ x))
    moments = axes.T @ (x.T @ (precision * centred))
    # Along the axes of x the weights are independent, with posterior variance τ² / (1 + τ² value). All variances have a common
    # factor, which has its most likely value for every τ, and τ is in its units.
    spread = taus**2 / (1 + taus**2 * np.maximum(values, 0))
    factor = (float((precision * centred**2).sum()) - (spread * moments**2).sum(axis=1)) / y.size
    likelihood = -y.size * np.log(np.maximum(factor, 1e-12)) - np.log1p(taus**2 * np.maximum(values, 0)).sum(axis=1)
    best = int(np.argmax(likelihood))
    unsure = float(((x @ axes) ** 2 * spread[best]).sum(axis=1).mean())
    return axes @ (spread[best] * moments), float(np.sqrt(factor[best] * (variance + unsure)))


def _later(past: History, ads: _Ads, account_ids: Collection[str] | None, settings: Formula, min_owners: int) -> pl.DataFrame:
    """Ads of the blocks with what was said of them before: account_id, unit, `logit`, and `y`, the log ratio less the median of the account's
    ads of the block."""
    parts = [
        pl.DataFrame(
            schema={"account_id": pl.String, "unit": pl.String, "log_ratio": pl.Float64, "logit": pl.Float64, "block": pl.Date}
        )
    ]
    first = ads.frame["first_week"]
    for (cut, seen), ends in zip(past.before, [*(cut for cut, _ in past.before[1:]), None], strict=True):
        before = _of_accounts(seen, account_ids)
        begun = (first >= cut) & (first < ends if ends else True)
        if before.frame.height < settings.min_scored or not begun.any():
            continue
        block = ads.of(begun.to_numpy())
        fitted = _fit(past, before, settings, min_owners)
        noise = block.frame["noise"].to_numpy()
        chance = _normal(fitted.expect(past, block) / np.sqrt(fitted.spread**2 + noise))
        told = block.frame.select("account_id", "unit", "log_ratio")
        parts.append(told.with_columns(logit=pl.Series(_logit(chance), dtype=pl.Float64), block=pl.lit(cut)))
    cohort = ["account_id", "block"]
    return (
        pl.concat(parts)
        .filter(pl.len().over(cohort) >= _MIN_COHORT)
        .select("account_id", "unit", "logit", y=pl.col("log_ratio") - pl.col("log_ratio").median().over(cohort))
        .sort("account_id", "unit")
    )


def _few_later(ads: int, settings: Formula) -> str:
    return f"{ads} later ads can be compared with what was said of them before; {settings.min_scored} are needed for a score."


def _validate(later: pl.DataFrame, earlier_ads: int, settings: Formula) -> Validation:
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    if later.height < settings.min_scored:
        reason = (
            f"{later.height} later ads could be compared with what was said of them before; {settings.min_scored} are needed."
        )
        return Validation(True, reason, earlier_ads, later.height)
    y, logit = later["y"].to_numpy(), later["logit"].to_numpy()
    if np.ptp(logit) < 1e-9:
        reason = f"The attributes did not tell earlier ads apart, so {later.height} later ads had one and the same score."
        return Validation(True, reason, earlier_ads, later.height)
    spearman = later.select(pl.corr("logit", "y", method="spearman")).item()
    off_median = y != 0  # where a cohort is odd, one of its ads is the median itself
    beats, logit = (y > 0)[off_median].astype(np.float64), logit[off_median]
    chance = 1 / (1 + np.exp(-logit))
    by_account = later["account_id"].n_unique() >= _MIN_ACCOUNTS
    cluster = later.select("account_id" if by_account else pl.struct("account_id", "unit")).to_series()
    slope, error, clusters = _slope(logit, beats, cluster.rank("dense").to_numpy()[off_median])
    half = error * float(special.stdtrit(clusters - 1, (1 + settings.confidence_level) / 2))
    low, high = slope - half, slope + half
    nothing = not low > 0
    says = f"slope {slope:.2f}, {settings.confidence_level:.0%} between {low:.2f} and {high:.2f}, over {later.height} later ads"
    reason = f"The score did not tell later ads apart: {says}." if nothing else f"The score told later ads apart: {says}."
    return Validation(
        says_nothing=nothing,
        reason=reason,
        earlier_ads=earlier_ads,
        later_ads=later.height,
        spearman=spearman,
        slope=slope,
        slope_low=low,
        slope_high=high,
        brier=float(np.mean((chance - beats) ** 2)),
        brier_base=float(np.mean((0.5 - beats) ** 2)),
    )


def _slope(logit: Floats, beats: Floats, cluster: NDArray[np.int64]) -> tuple[float, float, int]:
    """Slope of a logistic regression with intercept, its clustered standard error, and the number of clusters."""
    x = np.column_stack([np.ones_like(logit), logit])
    beta = np.zeros(2)
    for _ in range(50):
        mean = 1 / (1 + np.exp(-x @ beta))
        information = (x * (mean * (1 - mean))[:, None]).T @ x
        step = np.linalg.solve(information + 1e-9 * np.eye(2), x.T @ (beats - mean))
        beta += np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-9:
            break
    mean = 1 / (1 + np.exp(-x @ beta))
    bread = np.linalg.inv((x * (mean * (1 - mean))[:, None]).T @ x + 1e-9 * np.eye(2))
    names, code = np.unique(cluster, return_inverse=True)
    scores = np.column_stack([np.bincount(code, column * (beats - mean), len(names)) for column in x.T])
    variance = bread @ (scores.T @ scores) @ bread * len(names) / (len(names) - 1)
    return float(beta[1]), float(np.sqrt(variance[1, 1])), len(names)


def _normal(z: Floats) -> Floats:
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    return np.asarray(special.ndtr(z), dtype=np.float64)


def _logit(p: Floats) -> Floats:
    inside = np.clip(p, 1e-9, 1 - 1e-9)
    return np.log(inside / (1 - inside))
