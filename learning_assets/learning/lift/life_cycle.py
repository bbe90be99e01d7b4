"""The passage of a pattern from testing to active to deprecated, day by day.

What belongs here: the state of a pattern and what a day's estimate does to it. What does not: the estimates (`estimates` and its neighbours).
"""

from datetime import date

import polars as pl

from learning_assets.learning.lift.found import FOUND, KEY, STATE
from learning_assets.settings import Patterns


def advance(previous: pl.DataFrame | None, found: pl.DataFrame, day: date, settings: Patterns) -> pl.DataFrame:
    """Carry the life cycle of the patterns one day on.

    *testing* becomes *active* at q <= `q_active` with `min_ads` ads on each side and `min_strata` strata, and
    `min_accounts` accounts in the scopes `niche` and `all`. *active* becomes *deprecated* after `deprecate_days` successive tests at q >
    `q_deprecated`, or at once when the sign turns at q <= `q_active`. *deprecated* goes back to *testing*, with its
    present sign, on a day on which it would have become active, and has to do it again with that sign on another day. A
    day on which a pattern is not found, or has no q-value, is no test: it changes nothing, and a pattern that was not
    found keeps the figures of the last day on which it was.

    Parameters
    ----------
    previous : what this function returned for the day (step) before, or None; further columns are ignored.
    found : estimates of `day`, as `mine` gives them; scopes, pairs and hours may be concatenated.
    day : day of the estimates.
    settings : the thresholds named above.

    Returns
    -------
    Frame with the columns FOUND and STATE, sorted by key, a function of the arguments only. `note` is NULL or why the
    status is not better: `suggestive` (significant, in too few accounts), `few_ads`, `few_strata`, `returned` (after a
    deprecation), `weak` or `sign_reversed` (why it was deprecated); `not_tested` for a row that was not found today,
    unless it is deprecated. `sign` is that of the lift (1 or -1) when it last became active or returned,
    `discovered_at` the day on which it first became active, `last_validated` and `validation_count` the last day and
    the number of days that it was active at q <= `q_active`, `weak_days` the successive tests at q > `q_deprecated`,
    and `since` the day from which the status holds.

    Raises
    ------
    ValueError : `previous` is of `day` or later, or `found` holds a pattern twice.
    """
    schema = pl.Schema({**FOUND, **STATE})
    if found.select(KEY).is_duplicated().any():
        raise ValueError(f"The patterns found on {day} hold a key {KEY} twice; concatenate each scope once.")
    if previous is None:
        previous = pl.DataFrame(schema=schema)
    dates = [name for name in ("as_of", "since", "last_validated") if name in previous.columns]
    newest = previous.select(pl.max_horizontal(pl.col(dates).cast(pl.Date).max())).item()
    if newest is not None and newest >= day:
        raise ValueError(f"The previous patterns are of {newest}, and {day} is to be learned; hand in the state before {day}.")
    previous = previous.select(pl.col(name).cast(kind) for name, kind in schema.items())

    q, sign, was = pl.col("q_value"), pl.col("sign"), pl.col("status").fill_null("testing")
    now = pl.col("log_lift").sign().cast(pl.Int64)
    strong, weak = (q <= settings.q_active).fill_null(value=False), (q > settings.q_deprecated).fill_null(value=False)
    ads = pl.min_horizontal("ads_with", "ads_without") >= settings.min_ads
    strata = pl.col("strata") >= settings.min_strata
    accounts = (pl.col("scope") == "account") | (pl.col("accounts") >= settings.min_accounts)
    qualifies = strong & ads & strata & accounts
    turned = strong & (now != sign).fill_null(value=False)
    weak_days = (
        pl.when(weak)
        .then(pl.col("weak_days").fill_null(0) + 1)
        .when(q.is_null())
        .then(pl.col("weak_days").fill_null(0))
        .otherwise(0)
    )

    before = found.select(pl.col(name).cast(kind) for name, kind in FOUND.items()).join(
        previous.select(*KEY, *STATE), on=KEY, how="left", nulls_equal=True
    )
    after = (
        before.with_columns(weak_days=weak_days, _turned=turned, _qualifies=qualifies, _was=was)
        .with_columns(
            status=pl.when(
                (pl.col("_was") == "active") & (pl.col("_turned") | (pl.col("weak_days") >= settings.deprecate_days))
            )
            .then(pl.lit("deprecated"))
            .when((pl.col("_was") == "active") | ((pl.col("_was") == "testing") & pl.col("_qualifies") & ~pl.col("_turned")))
            .then(pl.lit("active"))
            .when((pl.col("_was") == "deprecated") & ~pl.col("_qualifies"))
            .then(pl.lit("deprecated"))
            .otherwise(pl.lit("testing")),
            sign=pl.when((pl.col("_was") != "active") & pl.col("_qualifies")).then(now).otherwise(sign),
        )
        .with_columns(_validated=strong & (pl.col("status") == "active"))
        .with_columns(
            note=pl.when((pl.col("status") == "deprecated") & (pl.col("_was") == "active"))
            .then(pl.when("_turned").then(pl.lit("sign_reversed")).otherwise(pl.lit("weak")))
            .when(pl.col("status") == "deprecated")
            .then("note")
            .when(pl.col("status") == "active")
            .then(None)
            .when(pl.col("sign").is_not_null())
            .then(pl.lit("returned"))
            .when(strong & ~ads)
            .then(pl.lit("few_ads"))
            .when(strong & ~strata)
            .then(pl.lit("few_strata"))
            .when(strong & ~accounts)
            .then(pl.lit("suggestive")),
            discovered_at=pl.coalesce("discovered_at", pl.when(pl.col("status") == "active").then(pl.lit(day))),
            last_validated=pl.when("_validated").then(pl.lit(day)).otherwise("last_validated"),
            validation_count=pl.col("validation_count").fill_null(0) + pl.col("_validated").cast(pl.Int64),
            since=pl.when((pl.col("status") == pl.col("_was")) & pl.col("since").is_not_null())
            .then("since")
            .otherwise(pl.lit(day)),
        )
        .select(list(schema))
    )
    carried = previous.join(found, on=KEY, how="anti", nulls_equal=True).with_columns(
        note=pl.when(pl.col("status") == "deprecated").then("note").otherwise(pl.lit("not_tested"))
    )
    return pl.concat([after, carried]).sort(KEY)
