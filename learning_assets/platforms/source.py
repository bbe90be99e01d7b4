"""The one protocol behind which every ad platform stands, and the columns of what it gives.

What belongs here: the shape of a source's answers and its errors. What does not: anything that knows one platform.
Another platform is another module beside this one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

import polars as pl

from learning_assets.settings import SourceKind

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
        "optimization_goal": pl.String,
        "template": pl.String,
        "audience": pl.String,
        "cta": pl.String,
        "headline": pl.String,
        "body": pl.String,
        "description": pl.String,
        "image_id": pl.String,
        "image_url": pl.String,
        "video_id": pl.String,
        "video_url": pl.String,
    }
)
"""One row per ad that is live on the day or known to start on the next step (`status` = `scheduled`); unique by (account_id, ad_id).

`assignment` of an ad in an experiment: `random` (arms were assigned at random, as in an imported test) or `delivery` (an algorithm
or a person chose); NULL outside experiments. `planned_share`: the arm's planned part of the experiment's impressions, 0 to 1, NULL where
none was planned. `status`: active, paused, archived, deleted or scheduled. `starts_on`/`ends_on`: local dates, NULL when not known.
`budget_owner`: `campaign` or `ad_set`; `budget_micros`: a day's budget in micros of `currency`, NULL on a past day where the platform keeps
no history. `template`: video, single_image, carousel or collection. `audience`: broad, lookalike, retargeting or interest. `cta`: the
platform's own name of the call to action. Texts are as the advertiser wrote them; NULL where there is none. Addresses of media expire.
"""

ACTUALS = pl.Schema(
    {
        "date": pl.Date,
        "account_id": pl.String,
        "ad_id": pl.String,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
        "clicks_all": pl.Int64,
        "outbound_clicks": pl.Int64,
        "conversions": pl.Int64,
        "conversions_7d_click": pl.Int64,
        "conversions_1d_view": pl.Int64,
        "conversion_type": pl.String,
        "spend_micros": pl.Int64,
        "revenue_micros": pl.Int64,
        "video_3s_views": pl.Int64,
        "reach": pl.Int64,
        "currency": pl.String,
        "is_final": pl.Boolean,
        "complete": pl.Boolean,
        "restated": pl.Boolean,
    }
)
"""One row per ad with delivery on the account's local `date`; unique by (date, account_id, ad_id). Counts are integers, money is micros of
`currency`, and NULL means that the platform reported nothing, never 0.

`conversions`: those of the one action type `conversion_type`, in the attribution of the ad set; `conversions_7d_click` and `conversions_1d_view`
are the same by window and never added to it. `is_final`: older than the platform's restatement window. `complete`: the account's own day
had ended when the row was fetched, and the account's fetch was complete; rows that are not are left out of learning. `restated`: the row was
fetched for the first time after its restatement had begun (as in a replay), so it may hold conversions that became known later.
"""

HOURLY = pl.Schema(
    {
        "date": pl.Date,
        "hour": pl.Int64,
        "account_id": pl.String,
        "ad_id": pl.String,
        "impressions": pl.Int64,
        "link_clicks": pl.Int64,
        "clicks_all": pl.Int64,
        "spend_micros": pl.Int64,
        "video_3s_views": pl.Int64,
        "currency": pl.String,
    }
)
"""Delivery of an ad in a local hour, 0 to 23, of the account's local `date`; unique by (date, hour, account_id, ad_id). Platforms report no
conversions, revenue or reach by hour, so there are none here. Where daylight saving repeats an hour, the two are one row."""

REACH = pl.Schema(
    {
        "date": pl.Date,
        "days": pl.Int64,
        "account_id": pl.String,
        "ad_id": pl.String,
        "impressions": pl.Int64,
        "reach": pl.Int64,
    }
)
"""People whom an ad reached in the `days` days that end on the account's local `date`, and its impressions in them; unique by (date, account_id,
ad_id). People of several days do not add up, so the platform is asked for the window itself. `reach` is NULL where it did not say."""

MANIFEST = pl.Schema(
    {
        "account_id": pl.String,
        "date": pl.Date,
        "fact": pl.String,
        "status": pl.String,
        "rows": pl.Int64,
        "pages": pl.Int64,
        "requests": pl.Int64,
        "spend_micros": pl.Int64,
        "account_spend_micros": pl.Int64,
        "seconds": pl.Float64,
        "requested_at": pl.Datetime("us", "UTC"),
        "job_id": pl.String,
        "api_version": pl.String,
        "throttle_pct": pl.Float64,
        "reason": pl.String,
    }
)
"""One row per account, date and fact (`catalog`, `daily`, `hourly` or `reach`, dated on the window's last day) that was asked for.

`status`: `complete`; `no_data` (asked, and the platform has none); `running` (fetched, but the account's own day has not ended);
`incomplete` (the answer contradicts itself: its rows are not to be used); `failed` (the platform did not answer within the bounds);
`rate_limited` (it asked to wait longer than the budget allows); `stopped` (token, permission or an unknown account: a person must act).
`reason` says why in a sentence that names the account and the remedy, NULL when complete. `spend_micros`: sum over the ads;
`account_spend_micros`: what the platform says that the whole account spent, NULL where it does not say. `job_id`: the platform's id of an
asynchronous report. `throttle_pct`: the highest utilisation that the platform's headers told, 0 to 100 and above."""

WHOLE = ("complete", "no_data")
"""Statuses of an account's day of which nothing is missing."""

USABLE = (*WHOLE, "running")
"""Statuses whose rows replace those that were there; with any other the old rows stay."""


def _nothing() -> None:
    """Nothing was put aside."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: `rows` (schema CATALOG, ACTUALS, HOURLY or REACH) and `manifest` (schema MANIFEST).

    `release` is called when the rows are stored: what the source had put aside to survive a crash may then be deleted.
    """

    rows: pl.DataFrame
    manifest: pl.DataFrame
    release: Callable[[], None] = _nothing


class SourceError(Exception):
    """A source cannot be read; the message names the file, row, column, account or setting and the remedy."""


class PlatformDown(Exception):
    """The platform answered for no account at all within the bounds; trying again later may help."""


class Source(Protocol):
    """An ad platform, as the assets see it.

    A failing account is told in the manifest and does not stop the others; SourceError is for what concerns all of them.
    """

    kind: SourceKind
    cadence: Cadence
    looks_back: bool
    """Whether it can say what was known on a past day; others give what they know now, whatever `known_on` is."""
    controlled_delivery: bool
    """Whether who saw which arm of an experiment was the experimenter's own draw; an ad platform chooses, even in its own tests."""

    def accounts(self) -> pl.DataFrame:
        """Accounts that the source gives, with schema ACCOUNTS."""
        ...

    def first_day(self) -> date | None:
        """Oldest day with facts, or None where the platform does not say."""
        ...

    def last_day(self, today: date) -> date:
        """Newest day that has ended in the time zone of the schedules and can be learned on `today`."""
        ...

    def catalog(self, day: date) -> Fetched:
        """Ads live on `day` and those known to start on the next step, with schema CATALOG; the manifest is of `day`."""
        ...

    def actuals(self, first: date, last: date, known_on: date) -> Fetched:
        """What the ads achieved on `first` to `last`, both included, as it was known at the end of `known_on`, with schema ACTUALS.

        The manifest has a row for each account and day of the range.
        """
        ...

    def hourly(self, day: date) -> Fetched:
        """Delivery by hour on `day`, with schema HOURLY; no rows and an empty manifest where the source has no hours."""
        ...

    def reach(self, first: date, last: date) -> Fetched:
        """People reached by each ad on `first` to `last` together, with schema REACH; no rows and an empty manifest where the source cannot say.

        The manifest is of `last`.
        """
        ...
