"""Which ads are compared with each other, and were they served as planned?

What belongs here: the arms of experiments, and checks of the design of an experiment. What does not: who won it, and what its arms
teach about creative choices.
"""

import numpy as np
import polars as pl

ARMS = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "ad_id": pl.String,
        "ad_set_id": pl.String,
        "campaign_id": pl.String,
        "assignment": pl.String,
        "planned_share": pl.Float64,
        "isolated": pl.Boolean,
        "budget_owner": pl.String,
        "budget_micros": pl.Int64,
        "currency": pl.String,
        "starts_on": pl.Date,
        "origin": pl.String,
    }
)
"""One row per arm of an experiment, unique by account and ad.

`assignment`: `random` or `delivery`, as in a catalog. `planned_share`: the arm's planned part of the impressions, 0 to 1, NULL where none was
planned. `isolated`: the ad is the only active one of its ad set, and the ad set has the budget: only then does a budget move this arm and
no other. `budget_owner`: `ad_set` or `campaign`; `budget_micros`: a day's budget in micros of `currency`, NULL where it is not known.
`starts_on`: local date. `origin`: `campaign` (found in the account's structure), `imported` (a test with random assignment) or `table`
(defined by a person)."""

DEFINED = pl.Schema(
    {"account_id": pl.String, "experiment_id": pl.String, "ad_id": pl.String, "planned_share": pl.Float64, "starts_on": pl.Date}
)
"""Arms of experiments that people defined, as they hold on one day; an ad is in one of them at most."""

LISTED = (
    *("account_id", "campaign_id", "ad_set_id", "ad_id", "experiment_id", "assignment", "planned_share"),
    *("status", "starts_on", "budget_owner", "budget_micros", "currency"),
)
"""Columns of a catalog that arms are found by."""

SAMPLE_RATIO = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "arms": pl.UInt32,
        "impressions": pl.Int64,
        "p_value": pl.Float64,
        "status": pl.String,
    }
)
"""One row per experiment. `p_value` is NULL where nothing can be judged."""


def arms(catalog: pl.DataFrame, defined: pl.DataFrame) -> pl.DataFrame:
    """The arms of the experiments that run on a day: those that were defined, then those that the account's structure shows.

    An experiment is what the catalog calls one: the ad sets of a campaign that share audience and optimization goal and hold one active ad
    each, or an imported test. Several active ads in one ad set are one too, under the ad set's id, though no budget can part them. An ad that
    a person put into an experiment is in no other. An experiment that is down to one arm is none.

    Parameters
    ----------
    catalog : the day's ads, with the columns LISTED. Only `active` ones are arms.
    defined : DEFINED; arms whose ad is not active are left out.

    Returns
    -------
    Frame with schema `ARMS`, sorted by account, experiment and ad.

    Raises
    ------
    ValueError : an ad stands in two experiments that were defined.
    """
    ad = ["account_id", "ad_id"]
    twice = defined.filter(defined.select(ad).is_duplicated())
    if twice.height:
        first = twice.sort(*ad, "experiment_id").row(0, named=True)
        raise ValueError(
            f"Ad {first['ad_id']!r} of account {first['account_id']!r} stands in {twice.join(twice[:1], on=ad, how='semi').height} experiments; "
            "an ad can be in one at a time. End one of them."
        )
    said = defined.select(*ad, said="experiment_id", said_share="planned_share", said_on="starts_on")
    in_ad_set = pl.len().over("account_id", "ad_set_id")
    alone = pl.col("ad_set_id").is_not_null() & (in_ad_set == 1)
    by_table = pl.col("said").is_not_null()
    together = pl.when(pl.col("ad_set_id").is_not_null() & (in_ad_set > 1)).then("ad_set_id")
    return (
        catalog.filter(pl.col("status") == "active")
        .join(said, on=ad, how="left")
        .with_columns(
            isolated=alone & pl.col("budget_owner").eq_missing("ad_set"), found=pl.coalesce("experiment_id", together)
        )
        .with_columns(
            experiment_id=pl.coalesce("said", "found"),
            assignment=pl.col("assignment").fill_null("delivery"),
            planned_share=pl.when(by_table).then("said_share").otherwise("planned_share"),
            starts_on=pl.when(by_table).then(pl.max_horizontal("said_on", "starts_on")).otherwise("starts_on"),
            origin=pl.when(by_table)
            .then(pl.lit("table"))
            .when(pl.col("assignment") == "random")
            .then(pl.lit("imported"))
            .otherwise(pl.lit("campaign")),
        )
        .filter(pl.col("experiment_id").is_not_null())
        .filter(pl.len().over("account_id", "experiment_id") > 1)
        .select(pl.col(name).cast(kind) for name, kind in ARMS.items())
        .sort("account_id", "experiment_id", "ad_id")
    )


def sample_ratio(arms: pl.DataFrame | pl.LazyFrame, threshold: float) -> pl.DataFrame:
    """Compare the impressions of every experiment's arms with the planned shares (sample-ratio mismatch).

    Pearson's chi-square against the planned shares; when traffic was split as planned, the chance of a `mismatch` is
    `threshold`. An experiment whose assignment is broken gives wrong effects whatever the analysis (Fabijan et al., KDD
    2019).

    Parameters
    ----------
    arms : one row per arm with account_id, experiment_id, ad_id, impressions (count) and planned_share (0 to 1, NULL
        where none was planned). Rows without experiment_id are ignored. An arm that got no traffic must be present with
        0 impressions. Shares count relative to their sum over the experiment's arms.
    threshold : p-value below which the split is called a mismatch, 0 to 1.

    Returns
    -------
    Frame with schema `SAMPLE_RATIO`, sorted by account and experiment. `status` is `sound`, `mismatch`, or
    `not_applicable` (an arm without planned share or impressions, a single arm, or no impressions at all).

    Raises
    ------
    ValueError : an arm stands in several rows, or has negative impressions or a negative share.
    """
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    key = ["account_id", "experiment_id"]
    rows = (
        arms.lazy()
        .filter(pl.col("experiment_id").is_not_null())
        .select(*key, "ad_id", "impressions", "planned_share")
        .collect()
    )
    _refuse(rows, rows.select(*key, "ad_id").is_duplicated(), "stands in several rows; sum them into one row per arm")
    _refuse(rows, rows["impressions"] < 0, "has negative impressions; correct the source")
    _refuse(rows, rows["planned_share"] < 0, "has a negative planned_share; give 0 to 1, or NULL where none was planned")

    shown, share = pl.col("impressions"), pl.col("planned_share")
    expected = shown.sum().over(key) * share / share.sum().over(key)
    # An arm that was planned to get nothing adds nothing while it gets nothing, and is impossible once it is shown.
    term = (
        pl.when(expected == 0)
        .then(pl.when(shown == 0).then(0.0).otherwise(float("inf")))
        .otherwise((shown - expected) ** 2 / expected)
    )
    known = (shown.is_not_null() & share.is_not_null()).all() & (pl.len() > 1) & (shown.sum() > 0) & (share.sum() > 0)
    judged = (
        rows.with_columns(term=term)
        .group_by(key)
        .agg(
            arms=pl.len(),
            impressions=shown.sum(),
            chi_square=pl.when(known).then(pl.col("term").sum()),
        )
        .sort(key)
    )
    freedom = judged["arms"].to_numpy().astype(np.float64) - 1
    p_value = special.chdtrc(freedom, judged["chi_square"].to_numpy())
    return judged.with_columns(p_value=pl.Series(p_value, dtype=pl.Float64).fill_nan(None)).select(
        *key,
        "arms",
        "impressions",
        "p_value",
        status=pl.when(pl.col("p_value").is_null())
        .then(pl.lit("not_applicable"))
        .when(pl.col("p_value") < threshold)
        .then(pl.lit("mismatch"))
        .otherwise(pl.lit("sound")),
    )


def sound(sums: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """The sums with `experiment_id` only where arms were assigned at random and got the traffic that was planned.

    An experiment whose arms got other traffic stands in `mismatched`; its ads count as observational.
    """
    arms = sums.filter(pl.col("assignment") == "random").group_by("account_id", "experiment_id", "ad_id")
    checked = sample_ratio(arms.agg(pl.col("impressions").sum(), pl.col("planned_share").last()), threshold)
    return sums.join(
        checked.select("account_id", "experiment_id", split="status"), on=["account_id", "experiment_id"], how="left"
    ).with_columns(
        experiment_id=pl.when(pl.col("split") != "mismatch").then("experiment_id"),
        mismatched=pl.when(pl.col("split") == "mismatch").then("experiment_id"),
    )


def _refuse(rows: pl.DataFrame, wrong: pl.Series, what: str) -> None:
    bad = rows.filter(wrong)
    if bad.height:
        arm = bad.row(0, named=True)
        raise ValueError(
            f"Arm {arm['ad_id']!r} of experiment {arm['experiment_id']!r} (account {arm['account_id']!r}) {what}. "
            f"Rows concerned: {bad.height}."
        )
