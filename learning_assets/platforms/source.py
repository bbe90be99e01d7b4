"""The one protocol behind which every ad platform stands, and the columns of what it gives.

What belongs here: the shape of a source's answers and its errors. What does not: anything that knows one platform.
Another platform is another module beside this one.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

import polars as pl

Cadence = Literal["day", "week"]

ACCOUNTS = pl.Schema(
    {
        "account_id": pl.String,
        "owner": pl.String,
        "name": pl.String,
        "currency": pl.String,
        "timezone": pl.String,
        "consents": pl.Boolean,
    }
)
"""One row per account. `consents`: simulated and archive accounts consent to pooled learning; NULL where it was never asked."""

CATALOG = pl.Schema(
    {
        "account_id": pl.String,
        "campaign_id": pl.String,
        "ad_set_id": pl.String,
        "ad_id": pl.String,
        "creative_id": pl.String,
        "experiment_id": pl.String,
        "assignment": pl.String,
        "planned_share": pl.Float64,
        "status": pl.String,
        "starts_on": pl.Date,
        "ends_on": pl.Date,
        "budget_owner": pl.String,
        "budget_micros": pl.Int64,
        "currency": pl.String,
        "template": pl.String,
        "audience": pl.String,
        "cta": pl.String,
        "headline": pl.String,
        "body": pl.String,
        "description": pl.String,
        "image_id": pl.String,
    }
)
"""One row per ad that is live on the day or known to start on the next step (`status` = `scheduled`); unique by (account_id, ad_id).

`assignment` of an ad in an experiment: `random` (arms were assigned at random, as in an imported test) or `delivery` (an algorithm
or a person chose); NULL outside experiments. `planned_share`: the arm's planned part of the experiment's impressions, 0 to 1, NULL where
none was planned. `status`: active, paused, archived, deleted or scheduled. `starts_on`/`ends_on`: local dates, NULL when not known.
`budget_micros`: a day's budget in micros of `currency`. Texts are as the advertiser wrote them; NULL where there is none.
"""

ACTUALS = pl.Schema(
    {
        "date": pl.Date,
        "account_id": pl.String,
        "ad_id": pl.String,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
        "conversions": pl.Int64,
        "spend_micros": pl.Int64,
        "revenue_micros": pl.Int64,
        "video_3s_views": pl.Int64,
        "reach": pl.Int64,
        "currency": pl.String,
        "is_final": pl.Boolean,
    }
)
"""One row per ad with delivery on the account's local `date`; unique by (account_id, ad_id). Counts are integers, money is micros of
`currency`, and NULL means that the platform reported nothing, never 0. `is_final`: older than the platform's restatement window."""

MANIFEST = pl.Schema(
    {
        "account_id": pl.String,
        "status": pl.String,
        "rows": pl.Int64,
        "spend_micros": pl.Int64,
        "account_spend_micros": pl.Int64,
        "seconds": pl.Float64,
        "reason": pl.String,
    }
)
"""One row per account that was asked for: `status` is complete, no_data, failed or rate_limited. `spend_micros`: sum over the ads;
`account_spend_micros`: what the platform says that the whole account spent, NULL where it does not say."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source achieved for one day: `actuals` (schema ACTUALS) and `manifest` (schema MANIFEST)."""

    actuals: pl.DataFrame
    manifest: pl.DataFrame


class SourceError(Exception):
    """A source cannot be read; the message names the file, row, column or setting and the remedy."""


class Source(Protocol):
    """An ad platform, as the assets see it."""

    kind: Literal["sandbox", "archive", "ads"]
    cadence: Cadence

    def accounts(self) -> pl.DataFrame:
        """Accounts that the source gives, with schema ACCOUNTS."""
        ...

    def first_day(self) -> date | None:
        """Oldest day with facts, or None where the platform does not say."""
        ...

    def last_day(self, today: date) -> date:
        """Newest day that has ended everywhere and can be learned on `today`."""
        ...

    def catalog(self, day: date) -> pl.DataFrame:
        """Ads live on `day` and those known to start on the next step, with schema CATALOG."""
        ...

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        """What the ads achieved on `first` to `last`, both included, as it was known at the end of `known_on`.

        A platform that cannot look back gives what it knows now. The manifest then covers the whole range.
        """
        ...
