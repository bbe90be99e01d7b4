"""The state that the server serves: a market, its clock, and the budgets that were changed.

What belongs here: which accounts, campaigns, ad sets and ads exist at a moment, with their status and budget, and keeping budget
changes over restarts. What does not: their shapes on the wire (`objects`, `insights`) and requests (`answers`).
"""

import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from learning_assets.sandbox import delivery
from learning_assets.sandbox.delivery import BudgetEdit
from learning_assets.sandbox.graph.clock import Clock
from learning_assets.sandbox.market import Market

CHANGES_AN_HOUR = 4
"""Changes of one budget within an hour; the next one is refused."""


@dataclass(frozen=True, slots=True)
class Change:
    """A budget that was changed: micros before and after, by whom and with what application."""

    entity_id: str
    at: str
    old_micros: int
    new_micros: int
    actor: str
    application: str

    @property
    def moment(self) -> datetime:
        """When, with the offset."""
        return datetime.fromisoformat(self.at)


@dataclass(frozen=True, slots=True)
class Account:
    """An account's fixed facts."""

    index: int
    account_id: str
    owner: str
    name: str
    currency: str
    timezone: str
    minor_micros: int


@dataclass(frozen=True, slots=True)
class Launched:
    """An ad that exists, as `Market.launches` tells, with its statuses at the moment of the listing."""

    account: Account
    facts: dict[str, Any]
    status: str
    effective_status: str
    ad_set_status: str
    campaign_status: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What exists in an account at a moment: ads by id, and the ads of each ad set, campaign, creative and video, oldest first."""

    ads: dict[str, Launched]
    ad_sets: dict[str, list[Launched]]
    campaigns: dict[str, list[Launched]]
    creatives: dict[str, list[Launched]]
    videos: dict[str, list[Launched]]


class World:
    """A market that is served.

    Parameters
    ----------
    market : the market.
    history_days : days of history before its epoch; nothing is older.
    clock : the server's clock.
    state : file in which budget changes are kept, or None to forget them with the process.
    """

    def __init__(self, market: Market, history_days: int, clock: Clock, state: Path | None = None) -> None:
        self.market = market
        self.clock = clock
        self.first_day = market.epoch - timedelta(days=history_days)
        self.state = state
        self.changes: list[Change] = []
        if state is not None and state.exists():
            self.changes = [Change(**change) for change in json.loads(state.read_text())["changes"]]
        self._changes_of: dict[int, list[Change]] = {}
        for change in self.changes:
            self._changes_of.setdefault(market.entity(change.entity_id).account, []).append(change)
        minor = {"JPY": 1_000_000, "KRW": 1_000_000}
        self.accounts: dict[str, Account] = {
            row["account_id"]: Account(
                index=index,
                account_id=row["account_id"],
                owner=row["owner"],
                name=row["name"],
                currency=row["currency"],
                timezone=row["timezone"],
                minor_micros=minor.get(row["currency"], 10_000),
            )
            for index, row in enumerate(market.accounts().iter_rows(named=True))
        }
        self.by_index = list(self.accounts.values())
        self._listings: OrderedDict[tuple[int, date, bool], Listing] = OrderedDict()
        self._phases: OrderedDict[tuple[int, datetime, int], dict[str, dict[str, Any]]] = OrderedDict()

    # Who and what exists.

    def account_of(self, object_id: str) -> Account | None:
        """The account of a campaign, ad set, ad, creative or video; None for anything else."""
        try:
            return self.by_index[self.market.entity(object_id).account]
        except ValueError:
            return None

    def today(self, account: Account, at: datetime | None = None) -> date:
        """The account's local date."""
        return delivery.local_moment(account.timezone, at or self.clock.now())[0]

    def listing(self, account: Account) -> Listing:
        """What exists in the account now. An ad exists from the day before its launch, on which it is planned."""
        today, elapsed = delivery.local_moment(account.timezone, self.clock.now())
        key = (account.index, today, elapsed >= 12)
        if key in self._listings:
            self._listings.move_to_end(key)
            return self._listings[key]
        found = self._list(account, today, elapsed >= 12)
        self._listings[key] = found
        if len(self._listings) > 1_000:
            self._listings.popitem(last=False)
        return found

    def _list(self, account: Account, today: date, afternoon: bool) -> Listing:
        rows = self.market.launches(self.first_day, today + timedelta(days=1), np.array([account.index]))
        listing = Listing({}, {}, {}, {}, {})
        for facts in sorted(rows.iter_rows(named=True), key=lambda row: (row["starts_on"], row["ad_id"])):
            last: date = facts["ends_on"]
            over = today > last
            gone = facts["deleted"] and (over or (today == last and afternoon))
            group_over = facts["in_group"] and over
            # Of what has ended, half is archived and half only paused; a group ends as a whole.
            draw = (int(facts["campaign_id"]) // 7) % 2 == 0 if facts["in_group"] else facts["ad_draw"] < 0.5
            ended = "ARCHIVED" if draw else "PAUSED"
            campaign = ended if group_over else "ACTIVE"
            status = "DELETED" if gone else (ended if not facts["in_group"] else campaign) if over else "ACTIVE"
            effective = "CAMPAIGN_PAUSED" if status == "PAUSED" and facts["in_group"] else status
            # Arms of a group that has ended are themselves active under a paused campaign.
            own = "ACTIVE" if effective == "CAMPAIGN_PAUSED" else status
            ad = Launched(account, facts, own, effective, campaign, campaign)
            listing.ads[facts["ad_id"]] = ad
            for group, name in (
                (listing.ad_sets, "ad_set_id"),
                (listing.campaigns, "campaign_id"),
                (listing.creatives, "creative_id"),
                (listing.videos, "video_id"),
            ):
                if facts[name] is not None:
                    group.setdefault(facts[name], []).append(ad)
        return listing

    def phases(self, account: Account) -> dict[str, dict[str, Any]]:
        """Learning phases by ad set id, as of the running hour."""
        hour = self.clock.now().replace(minute=0, second=0, microsecond=0)
        key = (account.index, hour, len(self.changes))
        if key not in self._phases:
            rows = self.market.learning_phases(
                self.clock.now(), np.array([account.index]), self.edits(account, self.clock.now())
            )
            self._phases[key] = {row["ad_set_id"]: row for row in rows.iter_rows(named=True)}
            if len(self._phases) > 1_000:
                self._phases.popitem(last=False)
        return self._phases[key]

    # Budgets.

    def edits(self, account: Account, at: datetime) -> list[BudgetEdit]:
        """Budget changes of an account until a moment."""
        return [
            BudgetEdit(change.entity_id, change.moment, change.new_micros)
            for change in self.changes_of(account)
            if change.moment <= at
        ]

    def changes_of(self, account: Account) -> Sequence[Change]:
        """Budget changes of an account, oldest first."""
        return self._changes_of.get(account.index, [])

    def changes_to(self, entity_id: str) -> list[Change]:
        """Changes of one budget until now, oldest first."""
        now = self.clock.now()
        made = self._changes_of.get(self.market.entity(entity_id).account, [])
        return [change for change in made if change.entity_id == entity_id and change.moment <= now]

    def budget(self, entity_id: str) -> int:
        """The daily budget, in micros, that an ad set or campaign has now."""
        made = self.changes_to(entity_id)
        return made[-1].new_micros if made else self.market.base_budget(entity_id)

    def changed_lately(self, entity_id: str) -> int:
        """How often a budget was changed within the last hour."""
        since = self.clock.now() - timedelta(hours=1)
        return sum(change.moment > since for change in self.changes_to(entity_id))

    def change_budget(self, entity_id: str, micros: int, actor: str, application: str) -> None:
        """Change a daily budget now, and keep the change."""
        change = Change(
            entity_id, self.clock.now().isoformat(), self.budget(entity_id), micros, actor=actor, application=application
        )
        changes = sorted([*self.changes, change], key=lambda c: c.moment)
        if self.state is not None:
            self.state.parent.mkdir(parents=True, exist_ok=True)
            beside = self.state.with_name(self.state.name + ".new")
            with beside.open("w") as file:
                json.dump({"changes": [asdict(c) for c in changes]}, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.state)
        self.changes = changes
        of = self._changes_of.setdefault(self.market.entity(entity_id).account, [])
        of.append(change)
        of.sort(key=lambda c: c.moment)


def market_of(chosen: dict[str, Any]) -> tuple[Market, int]:
    """The market and its days of history, of the keys epoch, seed, accounts, ads, impressions and history_days; keys of
    `MarketParams` are understood too.

    Raises
    ------
    ValueError : a key is unknown, the epoch is missing, or the numbers make no market.
    """
    from learning_assets.sandbox.market import MarketParams

    rest = dict(chosen)
    try:
        epoch = date.fromisoformat(str(rest.pop("epoch")))
    except KeyError:
        raise ValueError("a market needs its epoch, an ISO date") from None
    history_days = int(rest.pop("history_days", 90))
    try:
        return Market(replace(MarketParams(), **rest), epoch), history_days
    except TypeError:
        known = ", ".join(["epoch", "history_days", *MarketParams.__dataclass_fields__])
        raise ValueError(f"a market has no {', '.join(sorted(set(rest) - set(known.split(', '))))}; it has: {known}") from None
