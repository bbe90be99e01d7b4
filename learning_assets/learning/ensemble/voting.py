"""The vote itself, its published weights, and the plain fixed vote beside it.

What belongs here: what the members and the parameters say of ads that are asked for. What does not: intervals of it (`spread`).
"""

import numpy as np
import polars as pl

from learning_assets.learning.ensemble.days import walk
from learning_assets.learning.ensemble.parameters import Parameters, rate_variance
from learning_assets.learning.ensemble.rows import MEMBERS, Floats, Mask, date_of, rows_of
from learning_assets.learning.targets import Target
from learning_assets.settings import Models

VOTE = pl.Schema(
    {
        "ensemble": pl.Float64,
        "fixed_vote": pl.Float64,
        **{f"weight_{name}": pl.Float64 for name in MEMBERS},
        "prior": pl.Float64,
        "own_events": pl.Float64,
        "own_expected": pl.Float64,
        "rate_variance": pl.Float64,
        "unit": pl.Float64,
        "vote_note": pl.String,
    }
)
"""What `vote` adds to an ad; a figure that is not known is NULL.

`ensemble`: the vote, a rate. `fixed_vote`: the plain mean of the members by fixed weights. `weight_*`: what each member counts in the ensemble,
0 to 1, together 1. `prior`: q. `own_events`, `own_expected`: decayed, in events. `rate_variance`: variance of the true rate over the square of
`ensemble`; NULL where the own history stands alone. What a bandit draws is Gamma with the mean `ensemble` and the shape 1 / `rate_variance`.
`unit`: of the numerator per event, 1 for counts. `vote_note`: which member is missing and what stood in, NULL where all three spoke.
"""


def vote(ad_days: pl.DataFrame, past: pl.DataFrame, parameters: Parameters, target: Target, settings: Models) -> pl.DataFrame:
    """The ensemble, its published weights, and the plain fixed vote beside it, for the ads of later days.

    The weight of an ad's own history is expected / (k + expected); the rest is parted between XGBoost and the DNA score as the prior pools
    them. The fixed vote is the mean of the members by `settings.vote_*`, over those that speak. The own history of an ad that has no past says
    nothing of that ad, so it counts in neither where another member speaks.

    Parameters
    ----------
    ad_days : the ads to predict: `date`, `account_id`, `ad_id` and `own_history`, `xgboost`, `dna_score`, predicted rates, NULL where a
        member says nothing. Further columns are handed through.
    past : as for `learn`. Only rows dated before an ad-day enter it.
    parameters : from `learn`, of days before every ad-day.
    target : as for `learn`.
    settings : `history_decay`, `calibration_*` and `vote_*`.

    Returns
    -------
    `ad_days` in its order with the columns of VOTE. An ad of which no member says anything has NULL.

    Raises
    ------
    ValueError : as for `learn`; parameters of another target, or that have seen an ad-day's date.
    """
    if parameters.target != target.name:
        raise ValueError(f"the parameters were learned for {parameters.target}, not for {target.name}")
    taken = sorted(set(VOTE) & set(ad_days.columns))
    if taken:
        raise ValueError(f"ad_days: column {', '.join(map(repr, taken))} is computed here; leave it out or rename it")
    rows = rows_of(past, ad_days, target)
    asked = rows.asked
    first = rows.day[asked].min() if asked.any() else None
    if first is not None and parameters.known_until is not None and date_of(first) <= parameters.known_until:
        raise ValueError(
            f"the parameters rest on facts up to {parameters.known_until}, and {date_of(first)} is to be predicted; "
            "learn them from days before it"
        )
    units = np.array([parameters.units.get(name, np.nan) if target.money else 1.0 for name in rows.accounts])
    state = walk(rows.in_events(units, target), asked, np.array([parameters.dna_weight]), settings)

    said = rows.said[asked]
    trees, dna = said[:, 0], said[:, 1]
    k = np.where(trees, parameters.strength, parameters.dna_strength)
    q, expected = state.prior[:, 0], state.expected[:, 0]
    with_prior = trees | dna
    own = ad_days["own_history"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    alone = ~with_prior & ~np.isnan(own)
    p = np.where(with_prior, q * (k + state.events) / (k + expected), own)
    if not target.money:
        p = np.minimum(p, 1.0)
    own_weight = np.where(with_prior, expected / (k + expected), np.where(alone, 1.0, np.nan))
    dna_share = np.where(trees & dna, parameters.dna_weight, dna.astype(np.float64))
    has_own = ~np.isnan(own) & ((state.seen > 0) | alone)
    unit = units[rows.account[asked]]
    # The noise is learned where XGBoost speaks; by how much ads differ from the DNA score, its strength says.
    prior_variance = np.where(trees, parameters.prior_variance, max(parameters.prior_variance, 1 / parameters.dna_strength))
    figures = {
        "ensemble": p,
        "fixed_vote": _fixed_vote(ad_days, has_own, settings),
        "weight_own_history": own_weight,
        "weight_xgboost": (1 - own_weight) * (1 - dna_share),
        "weight_dna_score": (1 - own_weight) * dna_share,
        "prior": np.where(with_prior, q, np.nan),
        "own_events": np.where(np.isnan(unit), np.nan, state.events),
        "own_expected": np.where(np.isnan(unit) | ~with_prior, np.nan, expected),
        "rate_variance": np.where(with_prior, rate_variance(prior_variance, parameters.widening, state.events), np.nan),
        "unit": unit,
    }
    notes = _notes(trees, dna, ~np.isnan(own), state.seen > 0, np.isnan(unit))
    return ad_days.with_columns(
        *(pl.Series(name, values, dtype=pl.Float64).fill_nan(None) for name, values in figures.items()),
        pl.Series("vote_note", notes, dtype=pl.String),
    )


def mean_weights(voted: pl.DataFrame) -> dict[str, float | None]:
    """Mean over ads of each member's published weight, by member; None where no ad has one. The means sum to 1."""
    return {name: voted[f"weight_{name}"].mean() for name in MEMBERS}  # pyright: ignore[reportReturnType]


def _fixed_vote(ad_days: pl.DataFrame, has_own: Mask, settings: Models) -> Floats:
    """Mean of the members that speak, by the fixed weights."""
    weights = np.array([settings.vote_own_history, settings.vote_xgboost, settings.vote_dna_score])
    rates = ad_days.select(pl.col(name).cast(pl.Float64) for name in MEMBERS).fill_null(np.nan).to_numpy().copy()
    rates[~has_own, 0] = np.nan
    counted = np.where(np.isnan(rates), 0.0, weights)
    total = counted.sum(axis=1)
    return np.divide((np.nan_to_num(rates) * counted).sum(axis=1), total, out=np.full(len(rates), np.nan), where=total > 0)


def _notes(trees: Mask, dna: Mask, own: Mask, past: Mask, no_unit: Mask) -> pl.Series:
    """Which member says nothing of an ad, and what stood in."""
    flags = pl.DataFrame({"trees": trees, "dna": dna, "own": own, "past": past, "no_unit": no_unit})
    return flags.select(
        pl.when(~pl.col("trees") & ~pl.col("dna") & ~pl.col("own"))
        .then(pl.lit("No member says anything of this ad."))
        .when(~pl.col("trees") & ~pl.col("dna"))
        .then(pl.lit("Neither XGBoost nor the DNA score says anything: the ad's own history stands alone."))
        .when("no_unit")
        .then(pl.lit("How the account's revenue varies is not known: the ad's own history does not count."))
        .when(~pl.col("past"))
        .then(pl.lit("The ad has no past: the vote is what its models expect."))
        .when(~pl.col("trees"))
        .then(pl.lit("XGBoost says nothing: the DNA score is the prior."))
        .when(~pl.col("dna"))
        .then(pl.lit("The DNA score says nothing: XGBoost alone is the prior."))
    ).to_series()
