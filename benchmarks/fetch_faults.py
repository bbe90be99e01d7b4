"""What a fetch loses, doubles or hides when the platform misbehaves, fault by fault.

What belongs here: every fault switch of the simulated Graph server against a fetch of the source, and what came of it. What does not: how
the source copes, which is in `learning_assets.platforms.meta`.

    python -m benchmarks.fetch_faults --seed 7 [--short]

Each fault is met in several ways: once somewhere in the fetch, several times in a row, and for ever on one account. Facts by day are
fetched for 30 days of 20 accounts, and with the faults that concern them, delivery by hour and the catalog.

- `rows_lost`: rows of an undisturbed fetch that are missing although the manifest calls their account and day usable. - `rows_doubled`: rows
whose key came more than once. - `rows_wrong`: rows with another value than in the undisturbed fetch, in a column that is known in both
(what the platform itself restates is left out). - `rows_unknown`: rows with a column that is NULL and was known. - `outcome`: `complete`,
`incomplete-and-said-so` (the manifest names account and day), or `stopped-with-remedy` (it also says what a person must do), the worst
of the ways. - `silent_gaps`: accounts and days that were asked for and have no row in the manifest, or lost rows.
"""

import argparse
import json
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from benchmarks.graph import NOW, ended_days, market
from learning_assets.platforms.meta import MetaSource
from learning_assets.platforms.source import USABLE, Fetched, PlatformDown, SourceError
from learning_assets.sandbox.control import Control
from learning_assets.sandbox.graph.faults import FAULTS
from learning_assets.sandbox.process import start
from learning_assets.settings import Meta

OUTCOMES = ("complete", "incomplete-and-said-so", "stopped-with-remedy")
OPTIONS: dict[str, dict[str, Any]] = {
    "throttle": {"wait": 0},
    "throttle_headers": {"pct": 96},
    "too_much_data": {"limit": 100, "days": 7},
    "too_much_1487534": {"days": 4, "fields": 8},
    "slow": {"seconds": 1.2},
    "version_expired": {"version": "v27.0"},
}
RESTATED = {
    "restated_down": {"conversions", "conversions_7d_click", "conversions_1d_view", "revenue_micros", "conversion_type"},
    "clicks_lost": {"clicks_all", "link_clicks"},
}
"""Columns that a fault makes the platform restate: what it says now is right."""
EXPECTED_TEXT = {"unknown_cta": {"cta"}}
"""Columns that a fault gives another content, which is to be passed on as it is."""


@dataclass
class Tally:
    """What became of the fetches under one fault."""

    rows_lost: int = 0
    rows_doubled: int = 0
    rows_wrong: int = 0
    rows_unknown: int = 0
    requests: int = 0
    silent: int = 0
    outcomes: set[str] = field(default_factory=set[str])

    def figures(self) -> dict[str, int | str]:
        """The figures of the fault."""
        return {
            "rows_lost": self.rows_lost,
            "rows_doubled": self.rows_doubled,
            "rows_wrong": self.rows_wrong,
            "rows_unknown": self.rows_unknown,
            "outcome": max(self.outcomes, key=OUTCOMES.index),
            "requests": self.requests,
        }


@dataclass(frozen=True)
class Question:
    """A part of the fetch: how it is asked, the key of its rows, and what an undisturbed fetch answers."""

    ask: Callable[[MetaSource], Fetched]
    key: tuple[str, ...]
    truth: pl.DataFrame
    asked: pl.DataFrame


def settings(control: Control) -> Meta:
    """Settings of a fetch that does not wait long, for the server's clock stands still."""
    return Meta.model_validate(
        {
            "access_token": control.token,
            "graph_url": control.url,
            "backoff_seconds": 0.02,
            "throttle_pause_seconds": 0.02,
            "wait_minutes": 0.03,
            "poll_seconds": 0.02,
            "report_minutes": 0.02,
            "read_seconds": 1,
            "page_size": 250,
        }
    )


def source(control: Control, folder: Path) -> MetaSource:
    """A source with nothing put aside."""
    return MetaSource(
        settings(control), kind="sandbox", aside=Path(tempfile.mkdtemp(dir=folder)), now=lambda: NOW, consents=True
    )


def ways(name: str, rng: random.Random, accounts: list[str], calls: int) -> Iterator[dict[str, Any]]:
    """The ways in which a fault is met."""
    options = OPTIONS.get(name, {})
    yield {"after": rng.randrange(calls), "times": 1, **options}
    yield {"after": rng.randrange(calls), "times": 3, **options}
    yield {"account": rng.choice(accounts[1:]), "times": None, **options}
    if name == "throttle":
        for code in ("account", "business", "spike"):
            yield {"after": rng.randrange(calls), "times": 4, "code": code, **options}
        yield {"account": rng.choice(accounts), "times": None, "code": "business", "wait": 3_600}
    if name == "slow":
        yield {"account": rng.choice(accounts), "times": 2, "seconds": 0.3}


def questions(name: str, known: dict[str, Question], general: tuple[str, ...]) -> list[Question]:
    """The parts of the fetch that a fault concerns; `general` are those that every call's faults are met in."""
    if FAULTS[name] == "hourly":
        return [known["hourly"]]
    if FAULTS[name] == "ads":
        return [known["catalog"]]
    if FAULTS[name] in ("any", "list"):
        return [known[part] for part in general]
    return [known["daily"]]


def judge(tally: Tally, question: Question, fetched: Fetched, name: str, same: tuple[str, str] | None) -> None:
    """Compare an answer with the undisturbed one."""
    truth = question.truth
    if same is not None:
        # The account's ids are those of another account now.
        account, number = same
        own = pl.col("account_id") == account
        alike = pl.col("ad_id").str.replace(rf"^(12[1-5]){number}", "${1}000000")
        truth = truth.with_columns(pl.when(own).then(alike).otherwise("ad_id").alias("ad_id"))
    days = ["account_id", "date"] if "date" in truth.columns else ["account_id"]
    usable = fetched.manifest.filter(pl.col("status").is_in(USABLE)).select(days).unique()
    rows, key = fetched.rows, list(question.key)
    tally.rows_doubled += rows.height - rows.select(key).n_unique()
    lost = truth.join(usable, on=days, how="semi").join(rows, on=key, how="anti")
    tally.rows_lost += lost.height
    told = fetched.manifest.select("account_id", "date").unique()
    tally.silent += question.asked.join(told, on=["account_id", "date"], how="anti").height
    tally.silent += lost.select(days).n_unique() if lost.height else 0

    left_out = RESTATED.get(name, set()) | EXPECTED_TEXT.get(name, set())
    ids = {"campaign_id", "ad_set_id", "creative_id", "experiment_id", "video_id", "image_id", "image_url", "video_url"}
    columns = [c for c in truth.columns if c not in (*key, *left_out, *(ids if same else ()))]
    both = rows.unique(key).join(truth, on=key, suffix=" then")
    wrong, unknown = pl.lit(value=False), pl.lit(value=False)
    for column in columns:
        wrong = wrong | (pl.col(column) != pl.col(f"{column} then")).fill_null(value=False)
        unknown = unknown | (pl.col(column).is_null() & pl.col(f"{column} then").is_not_null())
    counted = both.select(wrong.sum().alias("wrong"), unknown.sum().alias("unknown"))
    tally.rows_wrong += counted["wrong"].item() or 0
    tally.rows_unknown += counted["unknown"].item() or 0

    bad = fetched.manifest.filter(~pl.col("status").is_in(USABLE))
    if not bad["reason"].str.contains("account").fill_null(value=False).all():
        raise RuntimeError(f"{name}: a day that is not usable has no reason: {bad.head(1).to_dicts()}")
    stopped = (bad["status"] == "stopped").any()
    tally.outcomes.add(OUTCOMES[2] if stopped else OUTCOMES[1] if bad.height else OUTCOMES[0])


def run(
    seed: int,
    accounts: int = 20,
    days: int = 30,
    ads: int = 30,
    faults: list[str] | None = None,
    general: tuple[str, ...] = ("daily", "hourly", "catalog"),
) -> dict[str, object]:
    """Run the benchmark; its figures by key."""
    rng = random.Random(seed)
    wanted = ended_days(days)
    first, last = wanted[0], wanted[-1]
    begun = perf_counter()
    with start(market(seed, accounts, ads), now=NOW) as control, tempfile.TemporaryDirectory() as room:
        undisturbed = source(control, Path(room))
        names = undisturbed.accounts()["account_id"].to_list()
        parts: dict[str, tuple[Callable[[MetaSource], Fetched], tuple[str, ...], list[date]]] = {
            "daily": (
                lambda s: s.actuals(first, last, last),
                ("account_id", "date", "ad_id"),
                wanted,
            ),
            "hourly": (lambda s: s.hourly(last), ("account_id", "date", "hour", "ad_id"), [last]),
            "catalog": (lambda s: s.catalog(last), ("account_id", "ad_id"), [last]),
        }
        known: dict[str, Question] = {}
        for part, (ask, key, asked) in parts.items():
            fetched = ask(undisturbed)
            if not fetched.manifest["status"].is_in(["complete", "running"]).all():
                raise RuntimeError(f"an undisturbed fetch is not complete: {fetched.manifest['status'].value_counts()}")
            grid = pl.DataFrame({"account_id": names}).join(pl.DataFrame({"date": asked}), how="cross")
            known[part] = Question(ask, key, fetched.rows, grid)

        figures: dict[str, dict[str, int | str]] = {}
        silent = 0
        for name in faults or list(FAULTS):
            tally = Tally()
            for way in ways(name, rng, names, calls=4 * accounts):
                for question in questions(name, known, general):
                    control.clear()
                    control.clear_requests()
                    control.fault(name, **way)
                    same = None
                    if name == "same_ids" and way.get("account"):
                        same = (way["account"], f"{names.index(way['account']):06d}")
                    elif name == "same_ids":
                        # Ids that change in the middle of a fetch happen nowhere.
                        continue
                    try:
                        judge(tally, question, question.ask(source(control, Path(room))), name, same)
                    except PlatformDown as error:
                        if not re.search(r"(No account answered|Try again later)", str(error)):
                            raise
                        tally.outcomes.add(OUTCOMES[1])
                    except SourceError:
                        tally.outcomes.add(OUTCOMES[2])
                    tally.requests += len(control.requests())
            control.clear()
            silent += tally.silent
            figures[name] = tally.figures()
            print(f"{perf_counter() - begun:6.1f} s  {name}: {figures[name]}", file=sys.stderr, flush=True)
    return {"faults": figures, "silent_gaps": silent, "seconds": round(perf_counter() - begun, 1)}


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="seed of the market and of where the faults strike")
    parser.add_argument("--short", action="store_true", help="3 accounts of 6 ads and 4 days")
    arguments = parser.parse_args()
    sizes: dict[str, Any] = {"accounts": 3, "days": 4, "ads": 6} if arguments.short else {}
    print(json.dumps(run(arguments.seed, **sizes)))


if __name__ == "__main__":
    main()
