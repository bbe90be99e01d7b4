"""The simulated market: a pure, seeded function from (parameters, day) to accounts, ads and what the ads achieved.

What belongs here: who advertises, which ads live when, their true rates, and the counts drawn from them. What does not: the
words of the ads (`copywriter`), the protocol in which a source answers (`platforms.sandbox`), clocks, files and servers.

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

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from learning_assets.learning.hooks import HOOK_TYPES
from learning_assets.sandbox import copywriter

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

TEMPLATES = ("video", "single_image", "carousel", "collection")
AUDIENCES = ("broad", "lookalike", "retargeting", "interest")
CTAS = ("SHOP_NOW", "LEARN_MORE", "SIGN_UP", "GET_OFFER", "SUBSCRIBE", "BOOK_NOW")
NICHES = tuple(copywriter.NICHES)
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
HOUR_SHARES = tuple(
    weight / 1000 for weight in (18, 12, 9, 7, 7, 10, 19, 32, 43, 48, 49, 50, 54, 53, 50, 49, 51, 55, 62, 70, 76, 74, 63, 39)
)
"""Share of a day's impressions in each local hour, 0 to 23."""


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
        name: (_uniform(params.seed, f"launch {name}", places.key) * ATTRIBUTES[name]).astype(np.int64)
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
        budget = np.where(in_campaign, self._campaign_budget[ads.account, ads.campaign], self._budget[ads.account, ads.ad_set])
        copies = [
            copywriter.write(NICHES[a % len(NICHES)], self._brand(a), HOOK_TYPES[h], self._angles(a)[g], picks)
            for a, h, g, picks in zip(
                ads.account.tolist(),
                ads.attributes["hook"].tolist(),
                ads.attributes["angle"].tolist(),
                self._picks(ads.creative).tolist(),
                strict=True,
            )
        ]
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
                "template": [TEMPLATES[i] for i in ads.attributes["template"].tolist()],
                "audience": [AUDIENCES[i] for i in ads.audience.tolist()],
                "cta": [CTAS[i] for i in ads.attributes["cta"].tolist()],
                "headline": [c.headline for c in copies],
                "body": [c.body for c in copies],
                "description": [c.description for c in copies],
                "image_id": "img_" + ids["creative_id"],
            }
        ).sort("account_id", "ad_id")

    def actuals(self, first: date, last: date, known_on: date) -> pl.DataFrame:
        """What ads achieved on `first` to `last` (included), as known at the end of `known_on`; later days have no rows.

        Impressions, clicks and spend of a day are known at its end; conversions and revenue come with their lag, so both only
        grow with `known_on` and are final after `params.final_days`. Columns are those of a source's actuals, sorted by date,
        account and ad.
        """
        p, known = self.params, self._day(known_on)
        ads, days = self._ad_days(self._day(first), min(self._day(last), known))
        account = ads.account[days.ad]
        impressions, spend = self._delivery(ads, days)
        clicks = np.minimum(_poisson(p.seed, "clicks", days.key, impressions * days.ctr), impressions)
        final_orders = np.minimum(_poisson(p.seed, "conversions", days.key, clicks * days.cvr), clicks)
        conversions, revenue = self._orders(days, account, final_orders, known)
        is_video = ads.attributes["template"][days.ad] == TEMPLATES.index("video")
        views = self._views(ads, days, impressions)
        age = days.day - ads.starts[days.ad]
        frequency = 1.1 + 0.4 * (1 - 2.0 ** (-age / p.fatigue_half_life))
        reach = np.maximum(np.rint(impressions / frequency).astype(np.int64), 1)
        keep = np.flatnonzero(impressions > 0)
        kept, who = days.ad[keep], account[keep]
        return pl.DataFrame(
            {
                "date": self._dates(days.day[keep]),
                "account_id": pl.Series(self._account_ids, dtype=pl.String).gather(who),
                "ad_id": self._ids(ads)["ad_id"].gather(kept),
                "impressions": impressions[keep],
                "link_clicks": clicks[keep],
                "conversions": conversions[keep],
                "spend_micros": spend[keep],
                "revenue_micros": revenue[keep],
                "video_3s_views": _nullable(views[keep], is_video[keep]),
                "reach": reach[keep],
                "currency": pl.Series([place[0].code for place in self._places], dtype=pl.String).gather(who),
                "is_final": known - days.day[keep] >= p.final_days,
            }
        ).sort("date", "account_id", "ad_id")

    def expected_rates(self, first: date, last: date) -> pl.DataFrame:
        """True rates per ad and day: date, account_id, ad_id, `ctr` and `cvr` from which counts were drawn, and `ctr_forecast`,
        which leaves the ad-day deviation out and is the best that a forecaster can know."""
        ads, days = self._ad_days(self._day(first), self._day(last))
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
        self._account_effect = p.account_sd * _normal(p.seed, "account", key)
        self._cvr_effect = p.cvr_account_sd * _normal(p.seed, "account cvr", key)
        self._level_effects: dict[str, Floats] = {}
        self._deviations: dict[str, Floats] = {}
        for name, levels in ATTRIBUTES.items():
            scopes = len(NICHES) if name == "angle" else 1
            draws = _normal(p.seed, f"levels {name}", np.arange(scopes * levels).astype(np.uint64)).reshape(scopes, levels)
            draws = (draws - draws.mean(axis=1, keepdims=True)) * np.sqrt(levels / (levels - 1))
            self._level_effects[name] = p.attribute_sd * draws
            grid = (account[:, None] * _MANY + np.arange(levels)).astype(np.uint64)
            self._deviations[name] = p.deviation_sd * _normal(p.seed, f"deviations {name}", grid)
        self._per_usd = np.array([place[0].per_usd for place in self._places])
        self._minor = np.array([place[0].minor_micros for place in self._places], dtype=np.int64)
        earned = p.ctr * np.exp(self._account_effect - p.account_sd**2 / 2)
        earned *= p.cvr * np.exp(self._cvr_effect - p.cvr_account_sd**2 / 2) * p.order_value
        roas = p.roas * np.exp(_centred(p.roas_account_sd, _normal(p.seed, "account roas", key)))
        self._cpm = 1_000 * earned / roas * self._per_usd
        self._phases = np.stack([_uniform(p.seed, f"drift {i}", key) for i in range(len(_WAVES))])

        line = (account[:, None] * _MANY + self._budget_line).astype(np.uint64)
        spread = np.exp(_centred(p.budget_sd, _normal(p.seed, "budget", line)))
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
        line = _key(account, self._first_slot[slot], np.zeros_like(slot))
        phase = _uniform(p.seed, "phase", line)
        moved = _uniform(p.seed, "launch day", _key(account, self._first_slot[slot], generation))
        return np.floor((generation + phase + 0.66 * (moved - 0.5)) * p.life_days).astype(np.int64) - _BEGINNING

    def _ads(self, first: int, last: int) -> _Ads:
        """Ads that live on a day of `first` to `last`, in the order of account, slot and generation."""
        p = self.params
        low = int((first + _BEGINNING) // p.life_days) - 2
        high = int((last + _BEGINNING) // p.life_days) + 2
        account, slot, generation = (
            axis.ravel()
            for axis in np.meshgrid(np.arange(p.accounts), np.arange(p.ads), np.arange(low, high + 1), indexing="ij")
        )
        starts = self._launch_days(account, slot, generation)
        ends = self._launch_days(account, slot, generation + 1) - 1
        lives = np.flatnonzero((starts <= last) & (ends >= first))
        account, slot, generation, starts, ends = (a[lives] for a in (account, slot, generation, starts, ends))
        key = _key(account, slot, generation)
        group = self._group[slot]
        group_key = _key(account, self._first_slot[slot], generation)
        is_aa = (group >= 0) & (_uniform(p.seed, "a/a", group_key) < p.aa_share)
        creative_slot = np.where(is_aa, self._first_slot[slot], slot)
        creative = _key(account, creative_slot, generation)
        ad_set = self._ad_set[slot]
        # One audience a group and generation; ad sets of a running campaign keep theirs, neighbours differ.
        set_audience = ad_set + account
        group_audience = (_uniform(p.seed, "audience", group_key) * len(AUDIENCES)).astype(np.int64)
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
            deleted=_uniform(p.seed, "deleted", key) < p.deleted_share,
            attributes={name: attributes[name] for name in ATTRIBUTES},
            attribute_effect=effect,
            ad_effect=p.ad_sd * _normal(p.seed, "ad", creative),
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

    def _picks(self, creative: Keys) -> Ints:
        """Seven choices per creative for the copywriter."""
        return np.stack(
            [(_uniform(self.params.seed, f"copy {i}", creative) * _MANY).astype(np.int64) for i in range(7)], axis=1
        )

    # What they achieve.

    def _log_base(self) -> float:
        p = self.params
        return float(np.log(p.ctr / p.mean_fatigue) - p.log_ctr_variance / 2)

    def _ad_days(self, first: int, last: int) -> tuple[_Ads, _Days]:
        """Ads and their days in the range, with the true rates of each."""
        p = self.params
        ads = self._ads(first, last)
        begin, end = np.maximum(ads.starts, first), np.minimum(ads.ends, last)
        lengths = np.maximum(end - begin + 1, 0)
        ad = np.repeat(np.arange(len(ads)), lengths)
        within = np.arange(len(ad)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        day = begin[ad] + within
        key = _key_day(ads.key[ad], day)
        account = ads.account[ad]

        fatigue = p.fatigue_floor + (1 - p.fatigue_floor) * 2.0 ** (-(day - ads.starts[ad]) / p.fatigue_half_life)
        waves = [np.sin(2 * np.pi * (day / period + self._phases[i][account])) for i, period in enumerate(_WAVES)]
        static = self._log_base() + (self._account_effect[ads.account] + ads.attribute_effect + ads.ad_effect)[ad]
        log_ctr = static + p.drift_sd * (waves[0] + waves[1])
        # The ad-day deviation has mean one as a factor, so the forecast adds its part of the centring back.
        forecast = np.exp(log_ctr + p.ad_day_sd**2 / 2) * fatigue * np.array(WEEKDAY_CTR)[self._weekday(day)]
        deviation = np.exp(_centred(p.ad_day_sd, _normal(p.seed, "ad-day", key)))
        cvr_effect = self._cvr_effect[ads.account] + p.cvr_ad_sd * _normal(p.seed, "ad cvr", ads.creative)
        cvr = p.cvr * np.exp(cvr_effect - (p.cvr_account_sd**2 + p.cvr_ad_sd**2) / 2)
        return ads, _Days(
            ad, day, key, np.minimum(forecast, 1.0), np.minimum(forecast * deviation, 1.0), np.minimum(cvr, 1.0)[ad]
        )

    def _delivery(self, ads: _Ads, days: _Days) -> tuple[Ints, Ints]:
        """Impressions, and spend in micros: an ad set's budget, split over its ads, buys impressions at the day's CPM."""
        p = self.params
        account, ad_set = ads.account[days.ad], ads.ad_set[days.ad]
        weight = np.exp(p.split_sd * _normal(p.seed, "split", ads.key))[days.ad]
        start = int(days.day.min(initial=0))
        span = int(days.day.max(initial=0)) - start + 1
        cell = (account * len(self._set_size) + ad_set) * span + (days.day - start)
        share = weight / np.bincount(cell, weights=weight)[cell]
        noise = np.exp(_centred(p.cpm_day_sd, _normal(p.seed, "cpm", _key_day(account.astype(np.uint64), days.day))))
        cpm_micros = self._cpm[account] * 1e6 * noise
        bought = self._budget[account, ad_set] * share / cpm_micros * 1_000
        bought *= np.array(WEEKDAY_VOLUME)[self._weekday(days.day)]
        bought *= np.exp(_centred(p.delivery_sd, _normal(p.seed, "delivery", days.key)))
        bought *= np.where(ads.deleted[days.ad] & (days.day == ads.ends[days.ad]), 0.5, 1.0)
        impressions = np.rint(bought).astype(np.int64)
        minor = self._minor[account]
        return impressions, np.rint(impressions * cpm_micros / 1_000 / minor).astype(np.int64) * minor

    def _orders(self, days: _Days, account: Ints, count: Ints, known: int) -> tuple[Ints, Ints]:
        """Conversions and revenue in micros of those orders whose lag has passed by the end of day `known`."""
        p = self.params
        row = np.repeat(np.arange(len(count)), count)
        number = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        key = _key_day(days.key[row], number)
        lag = np.minimum(self._lag(key), p.final_days)
        seen = np.flatnonzero(days.day[row] + lag <= known)
        row, key = row[seen], key[seen]
        log_variance = np.log1p((p.order_value_sd / p.order_value) ** 2)
        value = p.order_value * np.exp(_centred(np.sqrt(log_variance), _normal(p.seed, "order value", key)))
        minor = self._minor[account[row]]
        micros = np.rint(value * self._per_usd[account[row]] * 1e6 / minor) * minor
        # Sums of whole micros below 2**53 are exact in floats.
        revenue = np.bincount(row, weights=micros, minlength=len(count)).astype(np.int64)
        return np.bincount(row, minlength=len(count)), revenue

    def _lag(self, key: Keys) -> Ints:
        """Whole days from click to known conversion: geometric from 0."""
        mean = self.params.lag_days
        if mean == 0:
            return np.zeros(len(key), dtype=np.int64)
        return np.floor(np.log(_uniform(self.params.seed, "lag", key)) / np.log(mean / (1 + mean))).astype(np.int64)

    def _views(self, ads: _Ads, days: _Days, impressions: Ints) -> Ints:
        """3-second views, were every ad a video; binomial in the normal approximation."""
        p = self.params
        rate = np.minimum(p.hook_rate * np.exp(_centred(0.2, _normal(p.seed, "hook rate", ads.creative))), 0.95)[days.ad]
        noise = np.sqrt(impressions * rate * (1 - rate)) * _normal(p.seed, "views", days.key)
        return np.clip(np.rint(impressions * rate + noise), 0, impressions).astype(np.int64)

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


# Random numbers by hash.

_GOLDEN = 0x9E3779B97F4A7C15


def _mix(x: Keys) -> Keys:
    """SplitMix64's finalizer: a bijection of 64 bits in which every input bit moves every output bit (Steele, Lea & Flood,
    OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _stream(seed: int, name: str) -> np.uint64:
    """Start of a named stream; a name, not a number, so that adding a stream moves no other."""
    state = seed * _GOLDEN % 2**64
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return _mix(np.array([state], dtype=np.uint64))[0]


def _key(account: Ints, slot: Ints, generation: Ints) -> Keys:
    """Key of a generation of a slot."""
    return _mix(((account << 48) | (slot << 32) | (generation + 2**20)).astype(np.uint64))


def _key_day(key: Keys, day: Ints) -> Keys:
    """Key of an entity's day (or of the n-th part of it)."""
    return _mix(key + (day + 2**20).astype(np.uint64) * np.uint64(_GOLDEN))


def _uniform(seed: int, stream: str, key: Keys) -> Floats:
    """Uniform in (0, 1), shape of `key`."""
    return ((_mix(_mix(key ^ _stream(seed, stream)) + np.uint64(_GOLDEN)) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _normal(seed: int, stream: str, key: Keys) -> Floats:
    """Standard normal, shape of `key` (Box & Muller, Ann. Math. Stat. 1958)."""
    radius = np.sqrt(-2 * np.log(_uniform(seed, stream, key)))
    return radius * np.cos(2 * np.pi * _uniform(seed, stream + "/turn", key))


def _poisson(seed: int, stream: str, key: Keys, mean: Floats) -> Ints:
    """Poisson counts with the given means, same shape.

    Below 10 by inversion of the distribution function, above by the normal asymptotic expansion of its inverse, whose first two
    moments are exact to 0.1 % there (Giles, ACM TOMS 2016, algorithm 955).
    """
    z = _normal(seed, stream, key)
    root = np.sqrt(np.maximum(mean, 1.0))
    count = np.floor(mean + root * z + 1 / 3 + z**2 / 6 - (z / 36 + z**3 / 72) / root)
    count = np.maximum(count, 0).astype(np.int64)
    few = np.flatnonzero(mean < 10)
    count[few] = 0
    left, rate = _uniform(seed, stream + "/few", key[few]), mean[few]
    term = np.exp(-rate)
    k = 0
    # Whoever's uniform lies above the cumulated probability goes on to the next count; 60 is beyond the reach of 53 bits.
    while len(few) and k < 60:
        above = np.flatnonzero(left >= term)
        few, left, rate, term = few[above], (left - term)[above], rate[above], term[above]
        k += 1
        count[few] = k
        term = term * rate / k
    return count
