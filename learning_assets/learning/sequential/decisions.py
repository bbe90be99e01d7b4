"""Who has won: the rule, in frames.

What belongs here: the metric that money moves on, the gates, and the sentence that a media buyer reads. What does not: evidence (`evidence`), and how far
and by whom a budget is moved.
"""

import numpy as np
import polars as pl

from learning_assets.settings import Promotion

DECISIONS = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "status": pl.String,
        "reason": pl.String,
        "guard": pl.String,
        "metric": pl.String,
        "arms": pl.Int64,
        "ad_id": pl.String,
        "other_id": pl.String,
        "log_e": pl.Float64,
        "log_threshold": pl.Float64,
        "anytime_p": pl.Float64,
        "lift": pl.Float64,
        "lift_low": pl.Float64,
        "lift_high": pl.Float64,
        "shrunk_lift": pl.Float64,
        "shrunk_low": pl.Float64,
        "shrunk_high": pl.Float64,
        "naive_p": pl.Float64,
        "naive": pl.String,
        "days": pl.Int64,
        "hours": pl.Int64,
    }
)
"""One row per experiment. `status`: continue_testing, promoted, insufficient_data, blocked or cannot_isolate. `ad_id`: the winner, or the arm that leads;
`other_id`: the arm that it is least sure to beat, of which the figures are. `log_threshold`: log(K / alpha). `guard`: what blocks, where something does.
`naive`: what a plain z-test at 5 % would have said, `promoted` or `continue_testing`."""

ARM_TOTALS = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "ad_id": pl.String,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
        "conversions": pl.Int64,
        "hours": pl.Int64,
    }
)
"""One row per arm that is compared now: what it achieved in the days that count. `conversions` NULL where they are not known; `hours`: finished
hours in which it was shown."""

FLAGS = pl.Schema(
    {
        "account_id": pl.String,
        "experiment_id": pl.String,
        "isolated": pl.Boolean,
        "sample_ratio": pl.String,
        "complete": pl.Boolean,
    }
)
"""One row per experiment. `isolated`: every arm's budget moves it alone; `sample_ratio`: sound, mismatch or not_applicable; `complete`: the account's
actuals of the days that count are."""

_KEY = ["account_id", "experiment_id"]
_PAIR = [*_KEY, "ad_id", "other_id"]
_LIFTS = ("lift", "lift_low", "lift_high", "shrunk_lift", "shrunk_low", "shrunk_high")
_MANY = 1_000_000
"""Odds beyond which a number says no more."""

_FIGURES = ("log_e", "anytime_p", *_LIFTS, "naive_p", "days", "hours")


def decide(
    evidence: dict[str, pl.DataFrame], arms: pl.DataFrame, flags: pl.DataFrame, roas: pl.DataFrame, rules: Promotion
) -> pl.DataFrame:
    """Decide every experiment.

    Parameters
    ----------
    evidence : EVIDENCE by metric: `ctr` (clicks per impression) and, where known, `cvr` (conversions per impression).
    arms : ARM_TOTALS.
    flags : FLAGS.
    roas : ROAS, which may veto.
    rules : settings.

    Returns
    -------
    Frame with schema DECISIONS, one row per experiment of `flags`, sorted.
    """
    counted = arms.group_by(_KEY).agg(
        arms=pl.len().cast(pl.Int64),
        least_hours=pl.col("hours").min(),
        least_clicks=pl.col("link_clicks").min(),
        least_conversions=pl.when(pl.col("conversions").is_not_null().all()).then(pl.col("conversions").min()),
    )
    enough = (pl.col("least_conversions") >= rules.min_conversions).fill_null(value=False)
    metric = pl.when(enough & pl.lit("cvr" in evidence)).then(pl.lit("cvr")).otherwise(pl.lit("ctr"))
    experiments = flags.join(counted, on=_KEY, how="left").with_columns(metric=metric)
    present = arms.select(*_KEY, "ad_id")
    leading = [_leading(found, present).with_columns(metric=pl.lit(name)) for name, found in evidence.items()]
    judged = (
        experiments.join(pl.concat(leading), on=[*_KEY, "metric"], how="left")
        .with_columns(log_threshold=(pl.col("arms") / rules.alpha).log())
        .join(_vetoes(evidence, present, roas, rules), on=[*_KEY, "metric", "ad_id"], how="left")
    )
    return (
        judged.with_columns(status=pl.lit(None, pl.String))
        .with_columns(*_verdict(rules))
        .with_columns(
            naive=pl.when(pl.col("naive_p").is_not_null()).then(
                pl.when(pl.col("naive_p") < rules.alpha / 2).then(pl.lit("promoted")).otherwise(pl.lit("continue_testing"))
            )
        )
        .select(pl.col(name).cast(kind) for name, kind in DECISIONS.items())
        .sort(_KEY)
    )


def _leading(evidence: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """The arm of each experiment that is surest to beat every other present one, with the figures against the one that it is least sure to beat."""
    weakest = (
        _among(evidence, present)
        .sort(*_KEY, "ad_id", "log_e", "other_id")
        .group_by(*_KEY, "ad_id", maintain_order=True)
        .agg(pl.col("other_id", *_FIGURES).first(), rivals=pl.len())
    )
    return (
        weakest.sort(*_KEY, "log_e", "ad_id", descending=[False, False, True, False])
        .group_by(_KEY, maintain_order=True)
        .agg(pl.col("ad_id", "other_id", "rivals", *_FIGURES).first())
    )


def _vetoes(evidence: dict[str, pl.DataFrame], present: pl.DataFrame, roas: pl.DataFrame, rules: Promotion) -> pl.DataFrame:
    """Arms that are credibly below another present arm in conversions per click or in ROAS: `account_id`, `experiment_id`, `metric`, `ad_id`, `worse`.

    ROAS vetoes either metric. Conversions per click veto clicks only: an arm that wins by conversions per impression may have more and weaker clicks.
    """
    from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs]

    z = float(ndtri(rules.cvr_guard_confidence))
    below = _among(roas, present).filter(pl.col("lift") + z * pl.col("standard_error") < 0)
    found = [below.select(*_KEY, "ad_id", metric=pl.lit(name), worse=pl.lit("ROAS")) for name in evidence]
    if "cvr" in evidence and "ctr" in evidence:
        weaker = _weaker_clicks(_among(evidence["cvr"], present), evidence["ctr"], rules.cvr_guard_confidence)
        found.insert(0, weaker.select(*_KEY, "ad_id", metric=pl.lit("ctr"), worse=pl.lit("conversions per click")))
    return pl.concat(found).unique([*_KEY, "metric", "ad_id"], keep="first", maintain_order=True)


def _weaker_clicks(conversions: pl.DataFrame, clicks: pl.DataFrame, confidence: float) -> pl.DataFrame:
    """Ordered pairs whose arm has credibly fewer conversions per click than the other.

    Given the sum of both arms' conversions, the arm's part is binomial with its share of the clicks that can have converted by now; its posterior under
    Jeffreys' prior is a beta, with counts over the dispersion. Good for no conversions at all.
    """
    from scipy.special import betainc  # pyright: ignore[reportMissingTypeStubs]

    rates = clicks.select(
        *_PAIR, ours=pl.col("events") / pl.col("exposure"), theirs=pl.col("other_events") / pl.col("other_exposure")
    )
    # Exposure to conversions is in impressions that can have converted: times clicks per impression, it is such clicks.
    pairs = conversions.join(rates, on=_PAIR).with_columns(
        ours=pl.col("exposure") * pl.col("ours"), theirs=pl.col("other_exposure") * pl.col("theirs")
    )
    pairs = pairs.filter(pl.col("ours") > 0, pl.col("theirs") > 0)
    x, y, share = (
        pairs.select(one.alias("x")).to_series().to_numpy()
        for one in (
            pl.col("events") / pl.col("dispersion"),
            pl.col("other_events") / pl.col("dispersion"),
            pl.col("ours") / (pl.col("ours") + pl.col("theirs")),
        )
    )
    return pairs.filter(pl.Series(np.asarray(betainc(x + 0.5, y + 0.5, share)) >= confidence, dtype=pl.Boolean))


def _among(pairs: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """Pairs of two present arms."""
    others = present.rename({"ad_id": "other_id"})
    return pairs.join(present, on=[*_KEY, "ad_id"], how="semi").join(others, on=[*_KEY, "other_id"], how="semi")


def _verdict(rules: Promotion) -> list[pl.Expr]:
    """Status, guard and reason: the first case that holds."""
    hours, clicks = rules.min_hours, rules.min_clicks
    unit = (
        pl.when(pl.col("metric") == "cvr").then(pl.lit("conversions per impression")).otherwise(pl.lit("clicks per impression"))
    )
    few = pl.when(pl.col("metric") == "cvr").then(pl.lit(value=False)).otherwise(pl.col("least_clicks") < clicks)
    beats = (pl.col("log_e") >= pl.col("log_threshold")) & (pl.col("rivals") == pl.col("arms") - 1)
    lift = (100 * (pl.col("shrunk_lift").exp() - 1)).round(1)
    against = (100 * pl.col("anytime_p")).round(2)
    odds = (
        pl.when(pl.col("log_e") > np.log(_MANY))
        .then(pl.lit(f"over {_MANY:,}"))
        .otherwise(pl.col("log_e").exp().round(0).cast(pl.Int64, strict=False).cast(pl.String))
    )
    cases: list[tuple[pl.Expr, str, str | None, pl.Expr]] = [
        (
            ~pl.col("isolated").fill_null(value=False),
            "cannot_isolate",
            None,
            pl.lit("A budget moves several arms together: give each ad an ad set of its own, with the ad set's own budget."),
        ),
        (
            ~pl.col("complete").fill_null(value=False),
            "blocked",
            "incomplete",
            pl.lit("The account's actuals are not complete; the decision waits until they are."),
        ),
        (
            ~pl.col("sample_ratio").is_in(["sound", "not_applicable"]).fill_null(value=False),
            "blocked",
            "sample_ratio",
            pl.lit("The arms did not get the traffic that was planned for them, so that what differs may not be the ads."),
        ),
        (
            pl.col("arms").fill_null(0) < 2,
            "insufficient_data",
            None,
            pl.lit("Fewer than two arms were shown."),
        ),
        (
            pl.col("least_hours") < hours,
            "insufficient_data",
            None,
            pl.format(f"An arm was shown in {{}} hours; {hours} are needed.", "least_hours"),
        ),
        (
            few,
            "insufficient_data",
            None,
            pl.format(
                f"An arm has {{}} clicks; {clicks} are needed, or {rules.min_conversions} conversions of every arm.",
                "least_clicks",
            ),
        ),
        (
            pl.col("log_e").is_null(),
            "insufficient_data",
            None,
            pl.lit("No hour is known in which the arms were shown together."),
        ),
        (
            beats & (pl.col("shrunk_lift") < np.log1p(rules.min_lift)),
            "continue_testing",
            None,
            pl.format(f"The leading arm is surely better, but by {{}} % only; {100 * rules.min_lift:g} % are asked for.", lift),
        ),
        (
            beats & pl.col("worse").is_not_null(),
            "blocked",
            "cvr_guard",
            pl.format("The arm wins by {}, but its {} is credibly below another arm's.", unit, "worse"),
        ),
        (
            beats,
            "promoted",
            None,
            pl.format(
                f"Better than every other arm by {{}}: evidence {{}} to 1 where {{}} to 1 are asked for (chance of ever being wrong at most "
                f"{100 * rules.alpha:g} %); expected lift {{}} %.",
                unit,
                odds,
                pl.col("log_threshold").exp().round(0).cast(pl.Int64, strict=False),
                lift,
            ),
        ),
        (
            pl.lit(value=True),
            "continue_testing",
            None,
            pl.format("The leading arm is not surely better by {}: anytime p {} %.", unit, against),
        ),
    ]
    status, guard, reason = (pl.lit(None, pl.String) for _ in range(3))
    for condition, what, which, why in reversed(cases):
        holds = condition.fill_null(value=False)
        status = pl.when(holds).then(pl.lit(what)).otherwise(status)
        guard = pl.when(holds).then(pl.lit(which, pl.String)).otherwise(guard)
        reason = pl.when(holds).then(why).otherwise(reason)
    return [status.alias("status"), guard.alias("guard"), reason.alias("reason")]
