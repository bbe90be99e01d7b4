"""The simulated market: a pure, seeded function from (parameters, day) to accounts, ads and what the ads achieved.

What belongs here: who advertises, which ads live when, their true rates, and the counts drawn from them. What does not: the
words of the ads (`copywriter`), how counts fall on hours, budgets and conversion windows (`delivery`), the protocol in which they
are served (`graph`), clocks, files and servers.

How it stays a function of the day: every random number is a hash of (seed, stream, entity, day), so nothing is drawn in a
sequence, and any day asked alone has exactly the numbers it has inside a range. Days are counted from the epoch; days before
it are simulated by the same function as days after it.

The true click rate of an ad on a day is log-linear:

    log CTR = log base + account + Σ attribute level + Σ account's deviation of that level + ad
              + fatigue(age) + weekday + drift(day) + ad-day

with normal effects, each centred so that its exponential has mean one; an ad's CTR is therefore `params.ctr` in expectation
over accounts, ads and ages. Fatigue multiplies the CTR by `f + (1 − f)·2^(−age / half-life)` with f = `fatigue_floor`: the
part 1 − f that novelty earned halves every 21 days, the rest stays. Counts are Poisson given the rate (clicks given
impressions, conversions given clicks), cut at their parent count, so day noise shows as overdispersion of the ad-day counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from learning_assets.learning.hooks import HOOK_TYPES
from learning_assets.sandbox import copywriter, delivery
from learning_assets.sandbox.delivery import BudgetEdit, Conversions, Hours, Orders, Parts
from learning_assets.sandbox.draws import Floats, Ints, Keys, entity_key, normal, part_key, poisson, uniform

TEMPLATES = ("video", "single_image", "carousel", "collection")
AUDIENCES = ("broad", "lookalike", "retargeting", "interest")
CTAS = ("SHOP_NOW", "LEARN_MORE", "SIGN_UP", "GET_OFFER", "SUBSCRIBE", "BOOK_NOW")
NICHES = tuple(copywriter.NICHES)
OTHER_CLICKS = 0.35
"""Clicks that do not lead to the advertiser's page (on the name, a reaction, "see more"), relative to link clicks."""
SIGNIFICANT_CHANGE = 0.2
"""A budget change of more than this part starts the learning phase again."""
LEARNING_CONVERSIONS = 50
LEARNING_DAYS = 7
OPTIMIZATION_GOAL = "OFFSITE_CONVERSIONS"
CONVERSION_TYPE = "omni_purchase"
ATTRIBUTES: dict[str, int] = {
    "hook": len(HOOK_TYPES),
    "template": len(TEMPLATES),
    "audience": len(AUDIENCES),
    "cta": len(CTAS),
    "angle": copywriter.ANGLES,
}
"""Attributes that move CTR, with their number of levels. `angle` is the niche-specific one: its effects differ by niche."""

WEEKDAY_VOLUME = (1.02, 1.03, 1.02, 1.00, 0.97, 0.95, 1.01)
"""Impressions by weekday, Monday first, relative to the mean of the week."""
WEEKDAY_CTR = (0.98, 0.98, 0.99, 1.00, 1.00, 1.03, 1.02)
"""CTR by weekday, Monday first, relative to the mean of the week."""


_NEW_PEOPLE = (0.62, 0.30)
"""Share of a further day's people whom an ad has not reached before: at launch, and of an old ad. In a week a new ad is then seen 1.6 times by each
person, one of a month 2.7 times."""


class Currency(NamedTuple):
    """A currency: how many of it one US dollar buys here, and the micros of its smallest unit."""

    code: str
    per_usd: float
    minor_micros: int


_USD, _EUR, _GBP = Currency("USD", 1.0, 10_000), Currency("EUR", 0.92, 10_000), Currency("GBP", 0.79, 10_000)
_PLACES: tuple[tuple[Currency, str], ...] = (
    (_USD, "America/New_York"),
    (_EUR, "Europe/Berlin"),
    (_GBP, "Europe/London"),
    (_USD, "America/Los_Angeles"),
    (Currency("JPY", 150.0, 1_000_000), "Asia/Tokyo"),
    (Currency("NZD", 1.65, 10_000), "Pacific/Auckland"),
    (_EUR, "Europe/Madrid"),
    (_USD, "Pacific/Tongatapu"),
    (Currency("AUD", 1.52, 10_000), "Australia/Sydney"),
    (Currency("BRL", 5.10, 10_000), "America/Sao_Paulo"),
    (Currency("KRW", 1_350.0, 1_000_000), "Asia/Seoul"),
    (Currency("INR", 84.0, 10_000), "Asia/Kolkata"),
    (_USD, "America/Chicago"),
)
"""Currency and time zone of the accounts, in turn. Among them are zones with daylight saving and one of +13 all year."""


@dataclass(frozen=True, slots=True)
class MarketParams:
    """All numbers of a market. Standard deviations are of natural logarithms unless said."""

    seed: int = 7
    accounts: int = 20
    """Accounts."""
    ads: int = 30
    """Live ads an account; each place of an ad is filled again when its ad retires."""
    impressions: float = 1_000
    """Expected impressions of a live ad and day."""
    launches_per_week: float = 2
    """Launches (and retirements) a week an account; an ad lives 7·ads/launches days on average."""
    ctr: float = 0.015
    """Expected CTR of an ad, a fraction."""
    account_sd: float = 0.40
    attribute_sd: float = 0.15
    """Of the levels of one attribute, which sum to zero within it."""
    deviation_sd: float = 0.10
    """By which an account's effect of a level deviates from the market's."""
    ad_sd: float = 0.30
    ad_day_sd: float = 0.05
    drift_sd: float = 0.08
    """Of an account's slow drift, two waves of 61 and 180 days."""
    fatigue_half_life: float = 21
    """Days in which the part of an ad's CTR that wears off halves."""
    fatigue_floor: float = 0.55
    """Part of an ad's CTR that does not wear off, 0 to 1."""
    cvr: float = 0.03
    """Expected conversions a link click."""
    cvr_account_sd: float = 0.20
    cvr_ad_sd: float = 0.20
    order_value: float = 60
    """Mean value of an order, US dollars."""
    order_value_sd: float = 30
    """Standard deviation of an order's value, US dollars."""
    lag_days: float = 1.5
    """Mean of the geometric lag from click to known conversion, whole days."""
    final_days: int = 28
    """Days after the click in which conversions still become known; the lag is cut there."""
    roas: float = 2.0
    """Expected revenue over spend; it sets an account's CPM."""
    roas_account_sd: float = 0.15
    budget_sd: float = 0.30
    """Between the budgets of an account's ad sets."""
    split_sd: float = 0.30
    """Between the parts that delivery gives to the ads of one ad set."""
    delivery_sd: float = 0.10
    """Of an ad-day's impressions around what its budget buys."""
    cpm_day_sd: float = 0.05
    """Of an account-day's CPM."""
    hook_rate: float = 0.30
    """Expected 3-second views an impression of a video."""
    ab_share: float = 0.30
    """Part of an account's ads that live in A/B groups of two to four ad sets with one ad each."""
    aa_share: float = 0.25
    """Part of the A/B groups whose arms are one and the same creative."""
    deleted_share: float = 0.02
    """Part of the ads that end by deletion, at noon of their last day."""

    def __post_init__(self) -> None:
        for name in ("accounts", "ads", "impressions", "launches_per_week", "fatigue_half_life", "ctr", "cvr", "roas"):
            if not getattr(self, name) > 0:
                raise ValueError(f"MarketParams.{name} is {getattr(self, name)}; it must be above 0")
        if not (self.accounts < 2**15 and self.ads < 2**12):
            raise ValueError(f"a market has at most 32,767 accounts of 4,095 ads, not {self.accounts} of {self.ads}")
        if self.life_days < 5:
            raise ValueError(
                f"{self.launches_per_week} launches a week of {self.ads} ads leave an ad {self.life_days:.1f} days; at least 5 "
                "are needed: lower launches_per_week or raise ads"
            )

    @property
    def life_days(self) -> float:
        """Mean life of an ad in days."""
        return 7 * self.ads / self.launches_per_week

    @property
    def log_ctr_variance(self) -> float:
        """Variance of log CTR over accounts, ads and days, fatigue and weekday left out."""
        attributes = len(ATTRIBUTES) * (self.attribute_sd**2 + self.deviation_sd**2)
        return self.account_sd**2 + attributes + self.ad_sd**2 + self.ad_day_sd**2 + self.drift_sd**2

    @property
    def mean_fatigue(self) -> float:
        """Mean of the fatigue factor over the life of an ad of mean length."""
        halves = self.life_days / self.fatigue_half_life
        return self.fatigue_floor + (1 - self.fatigue_floor) * (1 - 2**-halves) / (halves * np.log(2))


VARIANTS: dict[str, MarketParams] = {
    "reference": MarketParams(),
    "large": MarketParams(impressions=20_000),
    "small": MarketParams(impressions=300),
    "noisy": MarketParams(ad_day_sd=0.10),
}
"""Named markets; `dataclasses.replace` makes others."""


@dataclass(frozen=True, slots=True)
class Places:
    """The places in which ads are launched: one element per ad. `key` names the creative; arms of an A/A group share it."""

    key: Keys
    account: Ints
    """Index of the account."""
    niche: Ints
    """Index into NICHES."""
    audience: Ints
    """Index into AUDIENCES; the ad set has it, so the launch does not choose it."""
    starts: Ints
    """Day of launch, counted from the epoch."""


Launch = Callable[[MarketParams, Places], dict[str, Ints]]
"""Decides which creative is launched in each place: level indices of hook, template, cta and angle. It must be a function of
the place alone (not of the places asked with it), or a day asked alone would differ from the day inside a range."""


def launch_at_random(params: MarketParams, places: Places) -> dict[str, Ints]:
    """Marketers who follow no advice: every level of every attribute is equally likely."""
    return {
        name: (uniform(params.seed, f"launch {name}", places.key) * ATTRIBUTES[name]).astype(np.int64)
        for name in ("hook", "template", "cta", "angle")
    }


@dataclass(frozen=True, slots=True)
class Truth:
    """What only a simulation knows.

    `effects`: attribute, scope (`market`, `niche` or `account`), scope_id (niche name or account id, NULL for the market),
    level, log_effect. `ads`: one row per ad with its ids, niche, attribute levels, `in_experiment`, `is_aa`, life, and the
    parts of its log CTR: account_effect, attribute_effect (levels and deviations), ad_effect; `log_ctr` is their sum with the
    base, without fatigue, weekday, drift and ad-day.
    """

    effects: pl.DataFrame
    ads: pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Ads:
    """One element per ad (generation of a slot) that lives in the asked days."""

    account: Ints
    slot: Ints
    generation: Ints
    starts: Ints
    ends: Ints
    key: Keys
    creative: Keys
    creative_slot: Ints
    group: Ints
    """A/B group of the slot, −1 outside."""
    ad_set: Ints
    campaign: Ints
    audience: Ints
    is_aa: npt.NDArray[np.bool_]
    deleted: npt.NDArray[np.bool_]
    attributes: dict[str, Ints]
    attribute_effect: Floats
    ad_effect: Floats

    def __len__(self) -> int:
        return len(self.account)


@dataclass(frozen=True, slots=True)
class _Days:
    """One element per ad and day: index into the ads, day, true rates."""

    ad: Ints
    day: Ints
    key: Keys
    forecast: Floats
    """CTR without the ad-day deviation: what a perfect forecaster knows."""
    ctr: Floats
    cvr: Floats


class Entity(NamedTuple):
    """What an id names: a campaign, ad_set, ad, creative or video, by its account's index, its number in the account's layout, and the
    generation (0 where it outlives generations)."""

    kind: str
    account: int
    number: int
    generation: int


@dataclass(frozen=True, slots=True)
class _Placed:
    """The parts of ad-days from which a delivery was summed; `hours` are those of the parts `partial`."""

    parts: Parts
    totals: Hours
    partial: Ints
    hours: Hours | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What ads delivered: one element per ad and day with impressions, in the order of account, ad and day.

    `ad` indexes `ads`; `day` counts from the epoch; `counts` holds impressions, link clicks, all clicks, 3-second views (were every
    ad a video) and spend in micros.
    """

    ads: _Ads
    days: _Days
    row: Ints
    ad: Ints
    day: Ints
    key: Keys
    counts: Hours
    outbound: Ints
    reach: Ints
    orders: Orders
    placed: _Placed

    def __len__(self) -> int:
        return len(self.ad)

    def conversions(self, moment: float | Floats) -> Conversions:
        """Conversions and revenue known at `moment`, days from the epoch on the accounts' own clocks."""
        return delivery.known_orders(self.orders, len(self), np.broadcast_to(np.asarray(moment, dtype=float), len(self)))


class Market:
    """A market whose days are counted from `epoch`.

    Parameters
    ----------
    params : all numbers, the seed among them.
    epoch : day 0, an account-local date. Only weekdays and dates depend on it.
    launch : decides which creative is launched (`launch_at_random` by default).
    """

    def __init__(self, params: MarketParams, epoch: date, launch: Launch = launch_at_random) -> None:
        self.params = params
        self.epoch = epoch
        self.launch = launch
        self._layout()
        self._account_effects()

    def accounts(self) -> pl.DataFrame:
        """Accounts: account_id, owner, name, currency, timezone, niche, and the account's CPM in micros of its currency."""
        p = self.params
        index = range(p.accounts)
        return pl.DataFrame(
            {
                "account_id": self._account_ids,
                # Every seventh account belongs to the owner of the account before it.
                "owner": [f"owner_{i - 1 if i % 7 == 6 else i:04d}" for i in index],
                "name": [f"{self._brand(i)} {NICHES[i % len(NICHES)]} {i + 1} (simulated)" for i in index],
                "currency": [place[0].code for place in self._places],
                "timezone": [place[1] for place in self._places],
                "niche": [NICHES[i % len(NICHES)] for i in index],
                "cpm_micros": np.rint(self._cpm * 1e6).astype(np.int64),
            }
        )

    def catalog(self, day: date) -> pl.DataFrame:
        """Ads live on `day`, and those that start the day after (`status` = `scheduled`), with their texts.

        Columns are those of a source's catalog. `ends_on` is known of A/B groups, which are planned to it, and of deleted ads.
        """
        t = self._day(day)
        ads = self._ads(t, t + 1)
        ads = _take(ads, (ads.starts <= t + 1) & (ads.ends >= t))
        scheduled = ads.starts == t + 1
        in_group = ads.group >= 0
        deleted = ads.deleted & (ads.ends == t)
        in_campaign = ~in_group & (ads.campaign % 2 == 1)
        known_end = in_group | deleted
        is_video = ads.attributes["template"] == TEMPLATES.index("video")
        budget = np.where(in_campaign, self._campaign_budget[ads.account, ads.campaign], self._budget[ads.account, ads.ad_set])
        ids = self._ids(ads)
        return pl.DataFrame(
            {
                **ids,
                "experiment_id": _nullable(ids["campaign_id"], in_group),
                "assignment": _nullable(pl.repeat("delivery", len(ads), eager=True), in_group),
                "planned_share": pl.repeat(None, len(ads), dtype=pl.Float64, eager=True),
                "status": ["scheduled" if s else "deleted" if d else "active" for s, d in zip(scheduled, deleted, strict=True)],
                "starts_on": self._dates(ads.starts),
                "ends_on": self._dates(np.where(known_end, ads.ends, _NEVER)),
                "budget_owner": ["campaign" if c else "ad_set" for c in in_campaign.tolist()],
                "budget_micros": budget,
                "currency": [self._places[a][0].code for a in ads.account.tolist()],
                "optimization_goal": pl.repeat(OPTIMIZATION_GOAL, len(ads), eager=True),
                **self._described(ads),
                "image_id": "img_" + ids["creative_id"],
                "image_url": pl.repeat(None, len(ads), dtype=pl.String, eager=True),
                "video_id": _nullable(self._video_ids(ads), is_video),
                "video_url": pl.repeat(None, len(ads), dtype=pl.String, eager=True),
            }
        ).sort("account_id", "ad_id")

    def _described(self, ads: _Ads) -> dict[str, list[str]]:
        """What the creatives are and say."""
        copies = self._copies(ads)
        return {
            "template": [TEMPLATES[i] for i in ads.attributes["template"].tolist()],
            "audience": [AUDIENCES[i] for i in ads.audience.tolist()],
            "cta": [CTAS[i] for i in ads.attributes["cta"].tolist()],
            "headline": [c.headline for c in copies],
            "body": [c.body for c in copies],
            "description": [c.description for c in copies],
        }

    def launches(self, first: date, last: date, accounts: Ints | None = None) -> pl.DataFrame:
        """Ads that live on any day of `first` to `last`, with all that was decided when they were launched, by account and ad.

        Columns: account_id, campaign_id, ad_set_id, ad_id, creative_id, `video_id` (NULL where the ad is no video), `starts_on` and
        `ends_on` (the last day), `in_group` (an arm of an A/B group), `deleted` (ends by deletion, at noon), `budget_owner`, template,
        audience, cta, headline, body, description, and two numbers `ad_draw` and `creative_draw` in (0, 1) by which those who serve
        the ads vary what has no effect.
        """
        ads = self._ads(self._day(first), self._day(last), accounts)
        in_campaign = (ads.group < 0) & (ads.campaign % 2 == 1)
        is_video = ads.attributes["template"] == TEMPLATES.index("video")
        return pl.DataFrame(
            {
                **self._ids(ads),
                "video_id": _nullable(self._video_ids(ads), is_video),
                "starts_on": self._dates(ads.starts),
                "ends_on": self._dates(ads.ends),
                "in_group": ads.group >= 0,
                "deleted": ads.deleted,
                "budget_owner": ["campaign" if c else "ad_set" for c in in_campaign.tolist()],
                **self._described(ads),
                "ad_draw": uniform(self.params.seed, "served ad", ads.key),
                "creative_draw": uniform(self.params.seed, "served creative", ads.creative),
            }
        )

    def actuals(self, first: date, last: date, known_on: date, edits: Sequence[BudgetEdit] = ()) -> pl.DataFrame:
        """What ads achieved on `first` to `last` (included), as known at the end of `known_on`; later days have no rows.

        Impressions, clicks and spend of a day are known at its end; conversions and revenue come with their lag, a few are taken
        back, and both are final after `params.final_days`. Columns are those of a source's actuals, sorted by date, account and ad.
        """
        p, known = self.params, self._day(known_on)
        found = self.delivered(first, min(last, known_on), edits=edits)
        ads, orders = found.ads, found.conversions(known + 1.0)
        who = ads.account[found.ad]
        return pl.DataFrame(
            {
                "date": self._dates(found.day),
                "account_id": pl.Series(self._account_ids, dtype=pl.String).gather(who),
                "ad_id": self._ids(ads)["ad_id"].gather(found.ad),
                "impressions": found.counts.impressions,
                "link_clicks": found.counts.clicks,
                "clicks_all": found.counts.clicks_all,
                "outbound_clicks": found.outbound,
                "conversions": orders.counts["value"],
                "conversions_7d_click": orders.counts["7d_click"],
                "conversions_1d_view": orders.counts["1d_view"],
                "conversion_type": pl.repeat(CONVERSION_TYPE, len(found), eager=True),
                "spend_micros": found.counts.spend,
                "revenue_micros": orders.micros["value"],
                "video_3s_views": _nullable(found.counts.views, self.is_video(found)),
                "reach": found.reach,
                "currency": pl.Series([place[0].code for place in self._places], dtype=pl.String).gather(who),
                "is_final": known - found.day >= p.final_days,
                "complete": pl.repeat(True, len(found), eager=True),
                "restated": pl.repeat(False, len(found), eager=True),
            }
        ).sort("date", "account_id", "ad_id")

    def reach(self, first: date, last: date) -> pl.DataFrame:
        """People reached by each ad on `first` to `last` together, sorted by account and ad: date (`last`), days, account_id, ad_id, impressions
        in them, and reach."""
        found = self.delivered(first, last)
        row = np.arange(len(found))
        who = found.ads.account
        ids = self._ids(found.ads)["ad_id"]
        ads, group = np.unique(found.ad, return_inverse=True)
        return pl.DataFrame(
            {
                "date": pl.repeat(last, len(ads), dtype=pl.Date, eager=True),
                "days": pl.repeat((last - first).days + 1, len(ads), dtype=pl.Int64, eager=True),
                "account_id": pl.Series(self._account_ids, dtype=pl.String).gather(who[ads]),
                "ad_id": ids.gather(ads),
                "impressions": np.bincount(group, weights=found.counts.impressions, minlength=len(ads)).astype(np.int64),
                "reach": self.people(found, row, group),
            }
        ).sort("account_id", "ad_id")

    def people(self, found: Delivered, row: Ints, group: Ints) -> Ints:
        """People reached by each group (0 to the largest number) of the ad-days `row`: all of its largest ad-day, and of the others those whom
        the group had not reached yet. As an ad ages, delivery comes back to the same people: fewer are new."""
        reach = found.reach[row]
        age = found.day[row] - found.ads.starts[found.ad[row]]
        new = _NEW_PEOPLE[1] + (_NEW_PEOPLE[0] - _NEW_PEOPLE[1]) * 2.0 ** (-age / self.params.fatigue_half_life)
        groups = int(group.max(initial=-1)) + 1
        largest = np.zeros(groups, dtype=np.int64)
        np.maximum.at(largest, group, reach)
        total = np.bincount(group, weights=reach, minlength=groups)
        share = np.bincount(group, weights=reach * new, minlength=groups) / np.maximum(total, 1)
        return largest + np.rint(share * (total - largest)).astype(np.int64)

    def hourly(self, first: date, last: date, until: datetime | None = None, edits: Sequence[BudgetEdit] = ()) -> pl.DataFrame:
        """Delivery by hour of the accounts' local days `first` to `last` (included), as far as it has come at `until`.

        Columns are those of a source's hourly facts, sorted by date, hour, account and ad; hours in which an ad did not deliver have
        no row. The two hours that daylight saving repeats are one row. The hours of a day sum to its row in `actuals`.
        """
        found = self.delivered(first, last, until=until, edits=edits)
        hours = self.by_hour(found)
        row, elapsed = np.nonzero(hours.impressions)
        who = found.ads.account[found.ad[row]]
        is_video = self.is_video(found)[row]
        labels = self.hour_labels(found)
        return (
            pl.DataFrame(
                {
                    "date": self._dates(found.day[row]),
                    "hour": labels[row, elapsed],
                    "account_id": pl.Series(self._account_ids, dtype=pl.String).gather(who),
                    "ad_id": self._ids(found.ads)["ad_id"].gather(found.ad[row]),
                    "impressions": hours.impressions[row, elapsed],
                    "link_clicks": hours.clicks[row, elapsed],
                    "clicks_all": hours.clicks_all[row, elapsed],
                    "spend_micros": hours.spend[row, elapsed],
                    "video_3s_views": _nullable(hours.views[row, elapsed], is_video),
                    "currency": pl.Series([place[0].code for place in self._places], dtype=pl.String).gather(who),
                }
            )
            .group_by("date", "hour", "account_id", "ad_id")
            .agg(
                pl.col("impressions", "link_clicks", "clicks_all", "spend_micros").sum(),
                pl.when(pl.col("video_3s_views").count() > 0).then(pl.col("video_3s_views").sum()),
                pl.col("currency").first(),
            )
            .sort("date", "hour", "account_id", "ad_id")
        )

    def learning_phases(self, at: datetime, accounts: Ints | None = None, edits: Sequence[BudgetEdit] = ()) -> pl.DataFrame:
        """Learning phases at the moment `at` of the ad sets that have live ads.

        Columns: account_id, ad_set_id, `status` (LEARNING, SUCCESS or FAIL), `conversions` since the last significant edit, and
        `last_sig_edit`, a moment in UTC. A significant edit is the launch of one of its ads, or a change of the budget by more than
        20 %. Learning ends with 50 conversions (SUCCESS), or after seven days without them (FAIL).
        """
        wanted = np.arange(self.params.accounts) if accounts is None else np.asarray(accounts)
        rows: list[dict[str, object]] = []
        for account in wanted.tolist():
            rows += self._account_phases(account, at, [e for e in edits if self.entity(e.entity_id).account == account])
        return pl.DataFrame(
            rows,
            schema={
                "account_id": pl.String,
                "ad_set_id": pl.String,
                "status": pl.String,
                "conversions": pl.Int64,
                "last_sig_edit": pl.Datetime("us", "UTC"),
            },
        )

    def _account_phases(self, account: int, at: datetime, edits: Sequence[BudgetEdit]) -> list[dict[str, object]]:
        timezone = self._places[account][1]
        today, _ = delivery.local_moment(timezone, at)
        t, chosen = self._day(today), np.array([account])
        live = self._ads(t, t, chosen)
        ids = self._ids(live)
        since: dict[str, datetime] = {}
        campaign_of: dict[str, str] = {}
        for ad_set, campaign, start in zip(ids["ad_set_id"], ids["campaign_id"], live.starts.tolist(), strict=True):
            launched = delivery.midnight(timezone, self.epoch + timedelta(days=start))
            since[ad_set] = max(since.get(ad_set, launched), launched)
            campaign_of[ad_set] = campaign
        budgets: dict[str, int] = {}
        changed: dict[str, datetime] = {}
        for edit in sorted((e for e in edits if e.at <= at), key=lambda e: e.at):
            before = budgets.get(edit.entity_id) or self.base_budget(edit.entity_id)
            if abs(edit.daily_budget_micros / before - 1) > SIGNIFICANT_CHANGE:
                changed[edit.entity_id] = edit.at
            budgets[edit.entity_id] = edit.daily_budget_micros
        for ad_set, launched in since.items():
            since[ad_set] = max([launched, *(changed[e] for e in (ad_set, campaign_of[ad_set]) if e in changed)])
        since_day = {ad_set: self._day(delivery.local_moment(timezone, moment)[0]) for ad_set, moment in since.items()}
        ads = self._ads(min(since_day.values(), default=t), t, chosen)
        ad_sets = self._ids(ads)["ad_set_id"].to_list()
        # Ad sets of groups that have ended are left out: their days end before they begin.
        begin = np.array([since_day.get(ad_set, t + 1) for ad_set in ad_sets], dtype=np.int64)
        end = np.minimum(np.minimum(ads.ends, begin + LEARNING_DAYS - 1), t)
        found = self._delivered(ads, np.maximum(ads.starts, begin), end, at, edits)
        bought: dict[str, int] = {}
        for ad, count in zip(
            found.ad.tolist(), found.conversions(self.moment(account, at)).counts["value"].tolist(), strict=True
        ):
            bought[ad_sets[ad]] = bought.get(ad_sets[ad], 0) + count
        rows: list[dict[str, object]] = []
        for ad_set, moment in since.items():
            conversions = bought.get(ad_set, 0)
            done = conversions >= LEARNING_CONVERSIONS
            status = "SUCCESS" if done else "LEARNING" if at - moment < timedelta(days=LEARNING_DAYS) else "FAIL"
            rows.append(
                {
                    "account_id": self._account_ids[account],
                    "ad_set_id": ad_set,
                    "status": status,
                    "conversions": conversions,
                    "last_sig_edit": moment,
                }
            )
        return rows

    # What was delivered, for those who serve it.

    def ad_ids(self, found: "Delivered") -> list[str]:
        """Ids of `found.ads`, which `found.ad` indexes."""
        return self._ids(found.ads)["ad_id"].to_list()

    def hour_labels(self, found: "Delivered") -> Ints:
        """What a local clock shows in each elapsed hour of each ad-day, shape (rows, 25); 0 beyond the day's end."""

        def labels(zone: str, on: date) -> Ints:
            shown = delivery.hour_labels(zone, on)
            return np.array([*shown, *[0] * (delivery.HOURS - len(shown))])

        return self._grid(found.ads.account[found.ad], found.day, labels)

    def is_video(self, found: "Delivered") -> npt.NDArray[np.bool_]:
        """Whether the ad of each ad-day is a video."""
        return found.ads.attributes["template"][found.ad] == TEMPLATES.index("video")

    def delivered(
        self,
        first: date,
        last: date,
        accounts: Ints | None = None,
        until: datetime | None = None,
        edits: Sequence[BudgetEdit] = (),
    ) -> "Delivered":
        """What ads delivered on the local days `first` to `last` (included), by account, ad and day, and all orders of it.

        Parameters
        ----------
        accounts : indices of the accounts (all by default); their numbers do not depend on which others are asked.
        until : moment to which delivery has come; whole days by default. Of the running hour its part is given, rounded down.
        edits : budgets changed so far, in any order.
        """
        begin, end = self._day(first), self._day(last)
        ads = self._ads(begin, end, accounts)
        return self._delivered(ads, np.maximum(ads.starts, begin), np.minimum(ads.ends, end), until, edits)

    def _delivered(self, ads: _Ads, begin: Ints, end: Ints, until: datetime | None, edits: Sequence[BudgetEdit]) -> "Delivered":
        """The same on the days of each ad from `begin` to `end`, which the ads of an ad set must share (as far as they live)."""
        days = self._ad_days(ads, begin, end)
        parts = self._parts(ads, days, edits)
        if until is not None:
            parts = self._cut(ads, days, parts, until)
        row, seed = parts.row, self.params.seed
        part_ads = days.ad[row]
        account = ads.account[part_ads]
        totals = self._totals(ads, days, parts)
        labels = self._day_lengths(account, days.day[row])
        partial = np.flatnonzero((parts.start > 0) | (parts.stop < labels))
        counts = totals
        hours: Hours | None = None
        if len(partial):
            some = Hours(*(values[partial] for values in totals.each()))
            minor = self._minor[account[partial]]
            shares = self._shares(ads, part_ads[partial], days.day[row[partial]])
            placed = delivery.by_hour(seed, days.key[row[partial]], shares, some, minor)
            hours = delivery.covered(placed, parts.start[partial], parts.stop[partial], minor)
            counts = Hours(*(values.copy() for values in totals.each()))
            for values, by_hour in zip(counts.each(), hours.each(), strict=True):
                values[partial] = by_hour.sum(axis=1)
        orders = self._orders(ads, days, parts, totals.clicks)
        if len(row) != len(days.ad) or not np.array_equal(row, np.arange(len(row))):
            counts = Hours(*(np.bincount(row, weights=v, minlength=len(days.ad)).astype(np.int64) for v in counts.each()))
        return self._kept(ads, days, counts, orders, _Placed(parts, totals, partial, hours))

    def by_hour(self, found: "Delivered") -> Hours:
        """The counts of `found` by elapsed hour of the local day, each of shape (rows, 25); they sum to its counts."""
        placed, days, ads = found.placed, found.days, found.ads
        parts = placed.parts
        sums = Hours(*(np.zeros((len(days.ad), delivery.HOURS), dtype=np.int64) for _ in range(5)))
        whole = np.setdiff1d(np.arange(len(parts.row)), placed.partial)
        if len(whole):
            row = parts.row[whole]
            totals = Hours(*(values[whole] for values in placed.totals.each()))
            minor = self._minor[ads.account[days.ad[row]]]
            shares = self._shares(ads, days.ad[row], days.day[row])
            for values, add in zip(
                sums.each(), delivery.by_hour(self.params.seed, days.key[row], shares, totals, minor).each(), strict=True
            ):
                values[row] = add
        if placed.hours is not None:
            for values, add in zip(sums.each(), placed.hours.each(), strict=True):
                np.add.at(values, parts.row[placed.partial], add)
        return Hours(*(values[found.row] for values in sums.each()))

    def moment(self, account: int, at: datetime) -> float:
        """A moment as days from the epoch on the account's own clock."""
        timezone = self._places[account][1]
        day, elapsed = delivery.local_moment(timezone, at)
        return self._day(day) + elapsed / len(delivery.hour_labels(timezone, day))

    def entity(self, entity_id: str) -> "Entity":
        """Reads an id of this market. Raises ValueError for any other id."""
        number = int(entity_id) if entity_id.isascii() and entity_id.isdigit() else 0
        kind, rest = divmod(number, 10**15)
        account, rest = divmod(rest, 10**9)
        place, generation = divmod(rest, 10**5)
        if kind not in _KINDS or account >= self.params.accounts:
            raise ValueError(f"{entity_id!r} is no id of this market")
        return Entity(_KINDS[kind], account, place, generation)

    def base_budget(self, entity_id: str) -> int:
        """The daily budget, in micros, that an ad set or campaign has before any edit.

        Raises
        ------
        ValueError : the id is none of an ad set or a campaign of this market.
        """
        entity = self.entity(entity_id)
        budgets = {"campaign": self._campaign_budget, "ad_set": self._budget}.get(entity.kind)
        if budgets is None or entity.number >= budgets.shape[1]:
            raise ValueError(f"{entity_id!r} is no ad set or campaign of this market, so it has no budget")
        return int(budgets[entity.account, entity.number])

    def expected_rates(self, first: date, last: date) -> pl.DataFrame:
        """True rates per ad and day: date, account_id, ad_id, `ctr` and `cvr` from which counts were drawn, and `ctr_forecast`,
        which leaves the ad-day deviation out and is the best that a forecaster can know."""
        begin, end = self._day(first), self._day(last)
        ads = self._ads(begin, end)
        days = self._ad_days(ads, np.maximum(ads.starts, begin), np.minimum(ads.ends, end))
        return pl.DataFrame(
            {
                "date": self._dates(days.day),
                "account_id": pl.Series(self._account_ids, dtype=pl.String).gather(ads.account[days.ad]),
                "ad_id": self._ids(ads)["ad_id"].gather(days.ad),
                "ctr": days.ctr,
                "ctr_forecast": days.forecast,
                "cvr": days.cvr,
            }
        ).sort("date", "account_id", "ad_id")

    def truth(self, first: date, last: date) -> Truth:
        """Effects of the market, and of the ads that live on any day of `first` to `last`."""
        p = self.params
        ads = self._ads(self._day(first), self._day(last))
        account_effect = self._account_effect[ads.account]
        frame = pl.DataFrame(
            {
                **self._ids(ads),
                "niche": [NICHES[a % len(NICHES)] for a in ads.account.tolist()],
                "in_experiment": ads.group >= 0,
                "is_aa": ads.is_aa,
                "starts_on": self._dates(ads.starts),
                "ends_on": self._dates(ads.ends),
                **{
                    name: [self._levels(name, a)[i] for a, i in zip(ads.account.tolist(), levels.tolist(), strict=True)]
                    for name, levels in ads.attributes.items()
                },
                "account_effect": account_effect,
                "attribute_effect": ads.attribute_effect,
                "ad_effect": ads.ad_effect,
                "log_ctr": self._log_base() + account_effect + ads.attribute_effect + ads.ad_effect,
            }
        )
        rows = [
            (name, "niche" if name == "angle" else "market", NICHES[n] if name == "angle" else None, level, float(effect))
            for name in ATTRIBUTES
            for n in range(len(NICHES) if name == "angle" else 1)
            for level, effect in zip(self._levels(name, n), self._level_effects[name][n], strict=True)
        ] + [
            (name, "account", self._account_ids[a], level, float(effect))
            for name in ATTRIBUTES
            for a in range(p.accounts)
            for level, effect in zip(self._levels(name, a), self._deviations[name][a], strict=True)
        ]
        schema = {
            "attribute": pl.String,
            "scope": pl.String,
            "scope_id": pl.String,
            "level": pl.String,
            "log_effect": pl.Float64,
        }
        return Truth(pl.DataFrame(rows, schema=schema, orient="row"), frame.sort("account_id", "ad_id"))

    # Who advertises.

    def _brand(self, account: int) -> str:
        return copywriter.brand(NICHES[account % len(NICHES)], account // len(NICHES))

    def _angles(self, account: int) -> tuple[str, ...]:
        return copywriter.angle_names(NICHES[account % len(NICHES)])

    def _levels(self, attribute: str, account: int) -> tuple[str, ...]:
        known = {"hook": HOOK_TYPES, "template": TEMPLATES, "audience": AUDIENCES, "cta": CTAS}
        return known[attribute] if attribute in known else self._angles(account)

    def _account_effects(self) -> None:
        """Draw what is fixed per account: effects, CPM and budgets."""
        p, n = self.params, self.params.accounts
        account = np.arange(n, dtype=np.int64)
        key = account.astype(np.uint64)
        self._account_ids = [str(_ACCOUNT_ID + i) for i in range(n)]
        self._places = [_PLACES[i % len(_PLACES)] for i in range(n)]
        self._account_effect = p.account_sd * normal(p.seed, "account", key)
        self._cvr_effect = p.cvr_account_sd * normal(p.seed, "account cvr", key)
        self._level_effects: dict[str, Floats] = {}
        self._deviations: dict[str, Floats] = {}
        for name, levels in ATTRIBUTES.items():
            scopes = len(NICHES) if name == "angle" else 1
            draws = normal(p.seed, f"levels {name}", np.arange(scopes * levels).astype(np.uint64)).reshape(scopes, levels)
            draws = (draws - draws.mean(axis=1, keepdims=True)) * np.sqrt(levels / (levels - 1))
            self._level_effects[name] = p.attribute_sd * draws
            grid = (account[:, None] * _MANY + np.arange(levels)).astype(np.uint64)
            self._deviations[name] = p.deviation_sd * normal(p.seed, f"deviations {name}", grid)
        self._per_usd = np.array([place[0].per_usd for place in self._places])
        self._minor = np.array([place[0].minor_micros for place in self._places], dtype=np.int64)
        earned = p.ctr * np.exp(self._account_effect - p.account_sd**2 / 2)
        earned *= p.cvr * np.exp(self._cvr_effect - p.cvr_account_sd**2 / 2) * p.order_value
        roas = p.roas * np.exp(_centred(p.roas_account_sd, normal(p.seed, "account roas", key)))
        self._cpm = 1_000 * earned / roas * self._per_usd
        self._phases = np.stack([uniform(p.seed, f"drift {i}", key) for i in range(len(_WAVES))])

        line = (account[:, None] * _MANY + self._budget_line).astype(np.uint64)
        spread = np.exp(_centred(p.budget_sd, normal(p.seed, "budget", line)))
        wanted = spread * self._set_size * p.impressions * self._cpm[:, None] * 1_000
        minor = self._minor[:, None]
        self._budget: Ints = np.maximum(np.rint(wanted / minor).astype(np.int64), 1) * minor
        of_campaign = (self._set_campaign[:, None] == np.arange(self._campaigns)).astype(np.int64)
        self._campaign_budget: Ints = self._budget @ of_campaign

    # Which ads live when.

    def _layout(self) -> None:
        """Lay an account's slots out in campaigns and ad sets; all accounts share the layout.

        First A/B groups of 2, 3, 4, 2 … ad sets with one slot each, one campaign a group, until `ab_share` of the slots is in
        them; then ad sets of up to three slots, two in a campaign, with different audiences.
        """
        p = self.params
        group: list[int] = []
        ad_set: list[int] = []
        set_campaign: list[int] = []
        target = round(p.ab_share * p.ads)
        while len(group) + (size := 2 + (max(group, default=-1) + 1) % 3) <= target:
            number = max(group, default=-1) + 1
            group += [number] * size
            ad_set += range(len(ad_set), len(ad_set) + size)
            set_campaign += [number] * size
        groups, grouped_sets = max(group, default=-1) + 1, len(set_campaign)
        for slot in range(p.ads - len(group)):
            number = slot // 3
            if slot % 3 == 0:
                set_campaign.append(groups + number // 2)
            ad_set.append(grouped_sets + number)
        group += [-1] * (p.ads - len(group))
        self._group = np.array(group, dtype=np.int64)
        self._ad_set = np.array(ad_set, dtype=np.int64)
        self._set_campaign = np.array(set_campaign, dtype=np.int64)
        self._campaigns = int(self._set_campaign.max()) + 1
        self._set_size = np.bincount(self._ad_set)
        # Ad sets of a group have one budget; other ad sets each their own.
        self._budget_line = np.where(
            np.arange(len(set_campaign)) < grouped_sets, self._set_campaign, _MANY // 2 + np.arange(len(set_campaign))
        )
        # Slots of a group are renewed together.
        first_slot = np.array([group.index(g) if g >= 0 else s for s, g in enumerate(group)], dtype=np.int64)
        self._first_slot = first_slot

    def _launch_days(self, account: Ints, slot: Ints, generation: Ints) -> Ints:
        """Day on which a generation of a slot starts: one a life on average, moved by up to a third of a life either way."""
        p = self.params
        line = entity_key(account, self._first_slot[slot], np.zeros_like(slot))
        phase = uniform(p.seed, "phase", line)
        moved = uniform(p.seed, "launch day", entity_key(account, self._first_slot[slot], generation))
        return np.floor((generation + phase + 0.66 * (moved - 0.5)) * p.life_days).astype(np.int64) - _BEGINNING

    def _ads(self, first: int, last: int, accounts: Ints | None = None) -> _Ads:
        """Ads that live on a day of `first` to `last`, in the order of account, slot and generation."""
        p = self.params
        low = int((first + _BEGINNING) // p.life_days) - 2
        high = int((last + _BEGINNING) // p.life_days) + 2
        account, slot, generation = (
            axis.ravel()
            for axis in np.meshgrid(
                np.arange(p.accounts) if accounts is None else accounts,
                np.arange(p.ads),
                np.arange(low, high + 1),
                indexing="ij",
            )
        )
        starts = self._launch_days(account, slot, generation)
        ends = self._launch_days(account, slot, generation + 1) - 1
        lives = np.flatnonzero((starts <= last) & (ends >= first))
        account, slot, generation, starts, ends = (a[lives] for a in (account, slot, generation, starts, ends))
        key = entity_key(account, slot, generation)
        group = self._group[slot]
        group_key = entity_key(account, self._first_slot[slot], generation)
        is_aa = (group >= 0) & (uniform(p.seed, "a/a", group_key) < p.aa_share)
        creative_slot = np.where(is_aa, self._first_slot[slot], slot)
        creative = entity_key(account, creative_slot, generation)
        ad_set = self._ad_set[slot]
        # One audience a group and generation; ad sets of a running campaign keep theirs, neighbours differ.
        set_audience = ad_set + account
        group_audience = (uniform(p.seed, "audience", group_key) * len(AUDIENCES)).astype(np.int64)
        audience = np.where(group >= 0, group_audience, set_audience % len(AUDIENCES))
        niche = account % len(NICHES)
        attributes = self.launch(p, Places(creative, account, niche, audience, starts)) | {"audience": audience}
        effect = np.zeros(len(account))
        for name in ATTRIBUTES:
            level = attributes[name]
            scope = niche if name == "angle" else np.zeros_like(niche)
            effect += self._level_effects[name][scope, level] + self._deviations[name][account, level]
        return _Ads(
            account=account,
            slot=slot,
            generation=generation,
            starts=starts,
            ends=ends,
            key=key,
            creative=creative,
            creative_slot=creative_slot,
            group=group,
            ad_set=ad_set,
            campaign=self._set_campaign[ad_set],
            audience=audience,
            is_aa=is_aa,
            deleted=uniform(p.seed, "deleted", key) < p.deleted_share,
            attributes={name: attributes[name] for name in ATTRIBUTES},
            attribute_effect=effect,
            ad_effect=p.ad_sd * normal(p.seed, "ad", creative),
        )

    def _ids(self, ads: _Ads) -> dict[str, pl.Series]:
        """Ids of campaign, ad set, ad and creative: digits as on a platform; a group's campaign is new with each generation."""
        base = ads.account * 10**9
        born = np.where(ads.group >= 0, ads.generation, 0)

        def named(kind: int, number: Ints, generation: Ints) -> pl.Series:
            return pl.Series(kind * 10**15 + base + number * 10**5 + generation).cast(pl.String)

        return {
            "account_id": pl.Series(self._account_ids, dtype=pl.String).gather(ads.account),
            "campaign_id": named(121, ads.campaign, born),
            "ad_set_id": named(122, ads.ad_set, born),
            "ad_id": named(123, ads.slot, ads.generation),
            "creative_id": named(124, ads.creative_slot, ads.generation),
        }

    def _copies(self, ads: _Ads) -> list[copywriter.Copy]:
        """The texts of the ads."""
        return [
            copywriter.write(NICHES[a % len(NICHES)], self._brand(a), HOOK_TYPES[h], self._angles(a)[g], picks)
            for a, h, g, picks in zip(
                ads.account.tolist(),
                ads.attributes["hook"].tolist(),
                ads.attributes["angle"].tolist(),
                self._picks(ads.creative).tolist(),
                strict=True,
            )
        ]

    def _picks(self, creative: Keys) -> Ints:
        """Seven choices per creative for the copywriter."""
        return np.stack([(uniform(self.params.seed, f"copy {i}", creative) * _MANY).astype(np.int64) for i in range(7)], axis=1)

    # What they achieve.

    def _log_base(self) -> float:
        p = self.params
        return float(np.log(p.ctr / p.mean_fatigue) - p.log_ctr_variance / 2)

    def _ad_days(self, ads: _Ads, begin: Ints, end: Ints) -> _Days:
        """The days of each ad from `begin` to `end` (of its life), with the true rates of each."""
        p = self.params
        lengths = np.maximum(end - begin + 1, 0)
        ad = np.repeat(np.arange(len(ads)), lengths)
        within = np.arange(len(ad)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        day = begin[ad] + within
        key = part_key(ads.key[ad], day)
        account = ads.account[ad]

        fatigue = p.fatigue_floor + (1 - p.fatigue_floor) * 2.0 ** (-(day - ads.starts[ad]) / p.fatigue_half_life)
        waves = [np.sin(2 * np.pi * (day / period + self._phases[i][account])) for i, period in enumerate(_WAVES)]
        static = self._log_base() + (self._account_effect[ads.account] + ads.attribute_effect + ads.ad_effect)[ad]
        log_ctr = static + p.drift_sd * (waves[0] + waves[1])
        # The ad-day deviation has mean one as a factor, so the forecast adds its part of the centring back.
        forecast = np.exp(log_ctr + p.ad_day_sd**2 / 2) * fatigue * np.array(WEEKDAY_CTR)[self._weekday(day)]
        deviation = np.exp(_centred(p.ad_day_sd, normal(p.seed, "ad-day", key)))
        cvr_effect = self._cvr_effect[ads.account] + p.cvr_ad_sd * normal(p.seed, "ad cvr", ads.creative)
        cvr = p.cvr * np.exp(cvr_effect - (p.cvr_account_sd**2 + p.cvr_ad_sd**2) / 2)
        return _Days(ad, day, key, np.minimum(forecast, 1.0), np.minimum(forecast * deviation, 1.0), np.minimum(cvr, 1.0)[ad])

    def _bought(self, ads: _Ads, days: _Days) -> tuple[Floats, Floats]:
        """Impressions that an ad set's own budget, split over its ads, buys at the day's CPM, and that CPM in micros."""
        p = self.params
        account, ad_set = ads.account[days.ad], ads.ad_set[days.ad]
        weight = np.exp(p.split_sd * normal(p.seed, "split", ads.key))[days.ad]
        start = int(days.day.min(initial=0))
        span = int(days.day.max(initial=0)) - start + 1
        cell = (account * len(self._set_size) + ad_set) * span + (days.day - start)
        share = weight / np.bincount(cell, weights=weight)[cell]
        noise = np.exp(_centred(p.cpm_day_sd, normal(p.seed, "cpm", part_key(account.astype(np.uint64), days.day))))
        cpm_micros = self._cpm[account] * 1e6 * noise
        bought = self._budget[account, ad_set] * share / cpm_micros * 1_000
        bought *= np.array(WEEKDAY_VOLUME)[self._weekday(days.day)]
        bought *= np.exp(_centred(p.delivery_sd, normal(p.seed, "delivery", days.key)))
        bought *= np.where(ads.deleted[days.ad] & (days.day == ads.ends[days.ad]), 0.5, 1.0)
        return bought, cpm_micros

    def _totals(self, ads: _Ads, days: _Days, parts: Parts) -> Hours:
        """Counts of the whole day of each part, as if its budget had held all day."""
        p, row = self.params, parts.row
        bought, cpm_micros = self._bought(ads, days)
        key, ad = days.key[row], days.ad[row]
        impressions = np.rint(bought[row] * parts.factor**delivery.SATURATION).astype(np.int64)
        minor = self._minor[ads.account[ad]]
        dearer = parts.factor ** (1 - delivery.SATURATION)
        spend = np.rint(impressions * (cpm_micros[row] * dearer) / 1_000 / minor).astype(np.int64) * minor
        clicks = np.minimum(poisson(p.seed, "clicks", key, impressions * days.ctr[row]), impressions)
        other = poisson(p.seed, "other clicks", key, impressions * days.ctr[row] * OTHER_CLICKS)
        views = self._views(ads.creative[ad], key, impressions)
        return Hours(impressions, clicks, np.minimum(clicks + other, impressions), views, spend)

    def _parts(self, ads: _Ads, days: _Days, edits: Sequence[BudgetEdit]) -> Parts:
        """Ad-days split where a budget was changed."""
        parts = delivery.whole_days(len(days.ad))
        by_entity: dict[str, list[BudgetEdit]] = {}
        for edit in edits:
            by_entity.setdefault(edit.entity_id, []).append(edit)
        for entity_id, changes in by_entity.items():
            entity, base = self.entity(entity_id), self.base_budget(entity_id)
            timezone = self._places[entity.account][1]
            number = ads.campaign if entity.kind == "campaign" else ads.ad_set
            born = np.where(ads.group >= 0, ads.generation, 0)
            owned = (ads.account == entity.account) & (number == entity.number) & (born == entity.generation)
            steps: list[tuple[int, int, float]] = []
            for edit in sorted(changes, key=lambda change: change.at):
                day, hour = delivery.effective_from(timezone, edit.at)
                step = (self._day(day), hour, edit.daily_budget_micros / base)
                # Of several edits within one hour the last one governs.
                steps = [*(s for s in steps if s[:2] != step[:2]), step]
            rows = np.flatnonzero(owned[days.ad])
            rows = rows[days.day[rows] >= steps[0][0]]
            if len(rows):
                parts = delivery.edited(parts, rows, days.day[rows], steps)
        return parts

    def _cut(self, ads: _Ads, days: _Days, parts: Parts, until: datetime) -> Parts:
        """What of the parts has passed at `until`."""
        now = {a: delivery.local_moment(self._places[a][1], until) for a in np.unique(ads.account).tolist()}
        today, elapsed = np.zeros(self.params.accounts, dtype=np.int64), np.zeros(self.params.accounts)
        for account, (day, hours) in now.items():
            today[account], elapsed[account] = self._day(day), hours
        account, day = ads.account[days.ad[parts.row]], days.day[parts.row]
        end = np.where(day < today[account], np.inf, np.where(day == today[account], elapsed[account], -1.0))
        stop = np.minimum(parts.stop, end)
        kept = np.flatnonzero(stop > parts.start)
        return Parts(parts.row[kept], parts.factor[kept], parts.start[kept], stop[kept])

    def _kept(self, ads: _Ads, days: _Days, counts: Hours, orders: Orders, placed: "_Placed") -> "Delivered":
        """The ad-days with delivery, and the orders of them."""
        p = self.params
        keep = np.flatnonzero(counts.impressions > 0)
        new_row = np.full(len(days.ad), -1, dtype=np.int64)
        new_row[keep] = np.arange(len(keep))
        counts = Hours(*(values[keep] for values in counts.each()))
        key = days.key[keep]
        age = days.day[keep] - ads.starts[days.ad[keep]]
        frequency = 1.1 + 0.4 * (1 - 2.0 ** (-age / p.fatigue_half_life))
        outside = 0.86 + 0.1 * uniform(p.seed, "outbound", key)
        belongs = np.flatnonzero(new_row[orders.row] >= 0)
        return Delivered(
            ads=ads,
            days=days,
            row=keep,
            ad=days.ad[keep],
            day=days.day[keep],
            key=key,
            counts=counts,
            outbound=np.rint(counts.clicks * outside).astype(np.int64),
            reach=np.maximum(np.rint(counts.impressions / frequency).astype(np.int64), 1),
            orders=replace(
                Orders(*(getattr(orders, name)[belongs] for name in Orders.__slots__)), row=new_row[orders.row[belongs]]
            ),
            placed=placed,
        )

    def _orders(self, ads: _Ads, days: _Days, parts: Parts, clicks: Ints) -> Orders:
        """Orders of the parts of ad-days, by the hour of their click, with those that are reported and taken back."""
        p = self.params
        key, mean = days.key[parts.row], clicks * days.cvr[parts.row]
        stay = np.minimum(poisson(p.seed, "conversions", key, mean), clicks)
        late = poisson(p.seed, "late conversions", key, mean * delivery.LATE_SHARE)
        taken = np.minimum(poisson(p.seed, "retracted", key, mean * delivery.RETRACTED_SHARE), clicks - stay)
        kinds = [self._order_kind(ads, days, parts, count, kind) for kind, count in enumerate((stay, late, taken))]
        return Orders(*(np.concatenate([getattr(kind, name) for kind in kinds]) for name in Orders.__slots__))

    def _order_kind(self, ads: _Ads, days: _Days, parts: Parts, count: Ints, kind: int) -> Orders:
        """Orders that stay (kind 0), that only the window of 28 days counts (1), or that are taken back (2)."""
        p = self.params
        part = np.repeat(np.arange(len(count)), count)
        number = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count)
        row = parts.row[part]
        key = part_key(days.key[row], number + kind * _MANY)
        account, day = ads.account[days.ad[row]], days.day[row]
        length = self._day_lengths(account, day)
        clicked = np.searchsorted(_HOURS_REACHED, uniform(p.seed, "hour of order", key)) + uniform(p.seed, "minute", key)
        clicked = np.minimum(clicked, length - 1e-6)
        lag = np.minimum(self._lag(key), p.final_days)
        if kind == 1:
            lag = 8 + np.floor(21 * uniform(p.seed, "late lag", key)).astype(np.int64)
        gone = np.full(len(row), np.inf)
        if kind == 2:
            lag = np.minimum(lag, p.final_days // 2)
            stays = 1 + np.floor(-2 * np.log(uniform(p.seed, "stays", key)))
            gone = day + np.minimum(lag + stays, p.final_days)
        hour = np.where(lag == 0, clicked / length, uniform(p.seed, "hour known", key))
        log_variance = np.log1p((p.order_value_sd / p.order_value) ** 2)
        value = p.order_value * np.exp(_centred(np.sqrt(log_variance), normal(p.seed, "order value", key)))
        minor = self._minor[account]
        view = (uniform(p.seed, "window", key) < delivery.VIEW_SHARE) & (kind != 1)
        # Orders belong to the part in which their click fell.
        kept = np.flatnonzero((clicked >= parts.start[part]) & (clicked < parts.stop[part]))
        return Orders(
            row=row[kept],
            known=(day + lag + hour)[kept].astype(np.float64),
            gone=gone[kept].astype(np.float64),
            micros=(np.rint(value * self._per_usd[account] * 1e6 / minor) * minor)[kept].astype(np.float64),
            view=view[kept],
            first_day=((lag <= 1) & ~view)[kept],
            late=np.full(len(kept), kind == 1),
        )

    def _lag(self, key: Keys) -> Ints:
        """Whole days from click to known conversion: geometric from 0."""
        mean = self.params.lag_days
        if mean == 0:
            return np.zeros(len(key), dtype=np.int64)
        return np.floor(np.log(uniform(self.params.seed, "lag", key)) / np.log(mean / (1 + mean))).astype(np.int64)

    def _views(self, creative: Keys, key: Keys, impressions: Ints) -> Ints:
        """3-second views, were every ad a video; binomial in the normal approximation."""
        p = self.params
        rate = np.minimum(p.hook_rate * np.exp(_centred(0.2, normal(p.seed, "hook rate", creative))), 0.95)
        noise = np.sqrt(impressions * rate * (1 - rate)) * normal(p.seed, "views", key)
        return np.clip(np.rint(impressions * rate + noise), 0, impressions).astype(np.int64)

    def _video_ids(self, ads: _Ads) -> pl.Series:
        """Ids of the videos, one a creative."""
        return pl.Series(125 * 10**15 + ads.account * 10**9 + ads.creative_slot * 10**5 + ads.generation).cast(pl.String)

    # Local days.

    def _grid(self, account: Ints, day: Ints, of: Callable[[str, date], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """`of` for the time zone and date of each element; zones and dates are few."""
        if not len(day):
            return np.zeros((0, *of("UTC", self.epoch).shape))
        low = int(day.min())
        zones = sorted({place[1] for place in self._places})
        zone = np.array([zones.index(place[1]) for place in self._places])[account]
        cell = zone * (int(day.max()) - low + 1) + (day - low)
        values, where = np.unique(cell, return_inverse=True)
        span = int(day.max()) - low + 1
        known = [of(zones[int(v) // span], self.epoch + timedelta(days=low + int(v) % span)) for v in values]
        return np.stack(known)[where]

    def _day_lengths(self, account: Ints, day: Ints) -> Ints:
        """Hours of the local day, 23 to 25."""
        return self._grid(account, day, lambda zone, on: np.array(len(delivery.hour_labels(zone, on))))

    def _shares(self, ads: _Ads, ad: Ints, day: Ints) -> Floats:
        """Expected share of each elapsed hour in the day's delivery; a deleted ad delivers until noon of its last day."""
        shares = self._grid(ads.account[ad], day, delivery.hour_shares).copy()
        shares[ads.deleted[ad] & (day == ads.ends[ad]), 12:] = 0
        return shares

    # Days.

    def _day(self, day: date) -> int:
        t = (day - self.epoch).days
        if t < _LIMIT - _BEGINNING:
            raise ValueError(f"{day} is more than {_BEGINNING - _LIMIT} days before the market's epoch {self.epoch}")
        return t

    def _weekday(self, day: Ints) -> Ints:
        return (day + self.epoch.weekday()) % 7

    def _dates(self, day: Ints) -> pl.Series:
        since_1970 = (self.epoch - date(1970, 1, 1)).days
        return pl.Series(_nullable(np.where(day == _NEVER, 0, day + since_1970), day != _NEVER)).cast(pl.Int32).cast(pl.Date)


_ACCOUNT_ID = 4_000_001
_KINDS = {121: "campaign", 122: "ad_set", 123: "ad", 124: "creative", 125: "video"}
_HOURS_REACHED = np.cumsum(delivery.HOUR_SHARES)[:-1]
_BEGINNING = 7_300
"""Days before the epoch from which generations are counted, so that they count from 0."""
_LIMIT = 3_650
_NEVER = -(2**40)
_MANY = 2**20
_WAVES = (61.0, 180.0)


def _take(ads: _Ads, mask: npt.NDArray[np.bool_]) -> _Ads:
    """The ads where `mask` holds."""
    arrays = {name: getattr(ads, name) for name in _Ads.__slots__ if name != "attributes"}
    return replace(
        ads,
        **{name: values[mask] for name, values in arrays.items()},
        attributes={name: values[mask] for name, values in ads.attributes.items()},
    )


def _nullable(values: Ints | pl.Series, known: npt.NDArray[np.bool_]) -> pl.Series:
    """`values` with NULL where not `known`."""
    return pl.select(pl.when(pl.Series(known)).then(pl.Series(values))).to_series()


def _centred(sd: float, z: Floats) -> Floats:
    """Normal of standard deviation `sd` whose exponential has mean one."""
    return sd * z - sd**2 / 2
