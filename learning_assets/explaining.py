"""Why an ad did well or badly, and the graph that says so, from what is stored: for the command line.

What belongs here: finding the ad and its account, and putting together what is known of it. What does not: how reasons are chosen and ranked
(`learning.graph`), and words (`assets.words`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import get_close_matches

import polars as pl

from learning_assets.assets.attributes import ATTRIBUTES, bins_of, measured, with_attributes
from learning_assets.assets.report import percent
from learning_assets.assets.words import choice, in_a_sentence, place
from learning_assets.learning import experiments, formula, graph
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE, SHARED, Wall


@dataclass(frozen=True, slots=True)
class Standing:
    """An ad's CTR against its account's in the same weeks (in the same experiment where arms were random).

    Attributes
    ----------
    impressions, clicks : of the ad in the window.
    expected : clicks at the CTR that the account, the ad included, had in the same weeks.
    low, high : bounds of the ad's CTR over the account's by empirical Bayes with the account's dispersion, at the level of the
        patterns' intervals; NULL where they cannot be known.
    dispersion : variance of the account's weekly counts over that of chance alone, at least 1.
    """

    impressions: int
    clicks: int
    expected: float
    low: float | None
    high: float | None
    dispersion: float

    @property
    def verdict(self) -> str:
        """What the interval says: above, below, or not to be told apart from the account."""
        if self.low is None or self.high is None:
            return "unknown"
        return (
            "above its account" if self.low > 1 else "below its account" if self.high < 1 else "not told apart from its account"
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of an ad.

    Attributes
    ----------
    as_of : the learned day.
    attributes : the ad's values by attribute.
    standing : its own numbers, or None where the clicks of its account are not known.
    reasons : relationships that speak of it, strongest first, with schema `learning.graph.SEEN`.
    tested : the patterns of its choices that are not active, surest first.
    """

    as_of: date
    account_id: str
    ad_id: str
    attributes: dict[str, list[str]]
    standing: Standing | None
    reasons: pl.DataFrame
    tested: pl.DataFrame


def learned_day(store: Store, as_of: date | None) -> date:
    """The newest day that the graph was learned for, up to a day.

    Raises
    ------
    ValueError : there is none; with the remedy.
    """
    found = store.newest_day("knowledge_graph", before=None if as_of is None else as_of + timedelta(days=1))
    if found is None:
        until = f" up to {as_of}" if as_of else ""
        raise ValueError(f"No knowledge graph was learned{until}. Learn some days: learning-assets replay")
    return found


def wall_of(store: Store, account_id: str | None) -> Wall:
    """The wall of an account's owner; without an account that of the only owner, and else one that shows what belongs to nobody.

    Raises
    ------
    ValueError : there is no such account.
    """
    owners = dict(store.accounts(PIPELINE).select("account_id", "owner").iter_rows())
    if account_id is None:
        return Wall(next(iter(owners.values()))) if len(set(owners.values())) == 1 else Wall(SHARED)
    if account_id not in owners:
        raise ValueError(f"There is no account {account_id}. The accounts are listed by: learning-assets accounts")
    return Wall(owners[account_id])


def explain(store: Store, ad_id: str, account_id: str | None = None, as_of: date | None = None) -> Explanation:
    """Put together why an ad did well or badly, as of the newest learned day up to `as_of`.

    Raises
    ------
    ValueError : nothing was learned yet, or the ad or the account is not known, or the ad's id stands in several accounts; with the remedy.
    """
    day = learned_day(store, as_of)
    patterns = store.settings.patterns
    days = patterns.archive_window_days if store.identity.kind == "archive" else patterns.window_days
    sums = experiments.sound(store.sums(day, days), store.settings.checks.sample_ratio_p)
    account = _account_of(store, sums, ad_id, account_id, f"in the {days} days up to {day}")
    known = store.accounts(PIPELINE).filter(pl.col("account_id") == account).row(0, named=True)
    mine = sums.filter(pl.col("account_id") == account)
    attributes = _attributes(store, mine.filter(pl.col("ad_id") == ad_id), day)
    wall = Wall(known["owner"])
    about = (attributes, account, known["niche"])
    tested = graph.speaking_of(store.tables.read("learning_patterns", wall, as_of=day), *about)
    return Explanation(
        as_of=day,
        account_id=account,
        ad_id=ad_id,
        attributes=attributes,
        standing=_standing(store, mine.with_columns(owner=pl.lit(known["owner"])), ad_id, day),
        reasons=graph.why(store.graph(day, wall).relationships, *about),
        tested=tested.filter(pl.col("status") != "active").sort("q_value", "attribute", "value", "metric", nulls_last=True),
    )


def in_plain_words(found: Explanation) -> Iterator[str]:
    """What is known of the ad but for the reasons, line by line."""
    standing, own = found.standing, "Its numbers are not known."
    if standing is not None:
        rate, average = (100 * clicks / standing.impressions for clicks in (standing.clicks, standing.expected))
        own = (
            f"CTR {rate:.2f} % ({standing.clicks:,} clicks on {standing.impressions:,} impressions), where its account had "
            f"{average:.2f} % in the same weeks: {standing.verdict}"
        )
        if standing.low is not None and standing.high is not None:
            bounds = (percent(math.log(standing.low)), percent(math.log(standing.high)))
            own += f", {bounds[0]} to {bounds[1]} with 95 % (empirical Bayes, dispersion {standing.dispersion:.1f})"
        own += "."
    yield own
    made_of = "; ".join(choice(name, value) for name, values in found.attributes.items() for value in values)
    yield f"Made of: {made_of}." if made_of else "Nothing is known of what it is made of."
    if not found.reasons.is_empty():
        return
    yield "No active pattern speaks about this ad."
    if found.tested.is_empty():
        yield "None of its choices was tested yet: too few ads with and without them, or too few clicks."
        return
    counts = ", ".join(f"{n:,} {status}" for status, n in found.tested["status"].value_counts(sort=True).iter_rows())
    yield f"Tested were {found.tested.height:,} patterns of its choices ({counts}). The surest of them:"
    for row in found.tested.head(5).iter_rows(named=True):
        q = "q unknown" if row["q_value"] is None else f"q = {row['q_value']:.2f}"
        yield f"  {in_a_sentence(row)} ({place(row)}; {row['status']}, {q})"


def _account_of(store: Store, sums: pl.DataFrame, ad_id: str, account_id: str | None, when: str) -> str:
    """The account of an ad that had delivery; near matches are named within the owner's wall only."""
    accounts = store.accounts(PIPELINE)
    wall = wall_of(store, account_id)
    if account_id is not None:
        sums = sums.filter(pl.col("account_id") == account_id)
    found = sums.filter(pl.col("ad_id") == ad_id)["account_id"].unique().sort().to_list()
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"Ads called {ad_id} are in the accounts {', '.join(found)}. Name one of them with --account.")
    if wall.owner == SHARED:
        raise ValueError(f"No ad {ad_id} was shown {when}. To see ads with ids like it, name an account with --account.")
    of_owner = accounts.filter(pl.col("owner") == wall.owner)["account_id"].implode()
    near = get_close_matches(ad_id, sums.filter(pl.col("account_id").is_in(of_owner))["ad_id"].unique().sort().to_list())
    like = f" Ads with ids like it: {', '.join(near)}." if near else " No id is like it."
    where = "" if account_id is None else f" in account {account_id}"
    raise ValueError(f"No ad {ad_id} was shown{where} {when}.{like}")


def _attributes(store: Store, rows: pl.DataFrame, day: date) -> dict[str, list[str]]:
    """The ad's values by attribute, of its newest creative; an attribute that is not known is left out."""
    newest = with_attributes(rows, measured(store, rows), bins_of(store, day)).sort("week").row(-1, named=True)
    values = {name: newest[name] if isinstance(newest[name], list) else [newest[name]] for name in ATTRIBUTES}
    return {
        name: kept for name, found in values.items() if (kept := [one for one in found if one not in (None, formula.UNKNOWN)])
    }


def _standing(store: Store, sums: pl.DataFrame, ad_id: str, day: date) -> Standing | None:
    # Each ad stands for itself, and by its clicks: copies of a creative are not added up, and revenue does not decide.
    alone = sums.with_columns(fingerprint=pl.lit(None, pl.String), revenue_micros=pl.lit(None, pl.Int64))
    level = (1 + store.settings.patterns.confidence_level) / 2
    judged = formula.judge(alone, ["ad_id"], day, store.settings.formula.model_copy(update={"bound_level": level}))
    for row in judged.filter(pl.col("ad_id") == ad_id).iter_rows(named=True):
        return Standing(
            row["impressions"], row["clicks"], row["expected"], row["rate_low"], row["rate_high"], row["dispersion"]
        )
    return None
