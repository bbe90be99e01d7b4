"""Do pattern lifts tell the truth, and at what speed?

    python -m benchmarks.pattern_truth --seed 1 [--short]

Simulated markets of 60 accounts x 20 ads x 20,000 impressions (spread over 4 weeks) with 12 hooks are mined over all
accounts for CTR. The log CTR of an ad is log 1.5 % + account (standard deviation 0.4) + hook (0.15; the first hook is
set, see `power_25`) + the account's deviation from that hook's effect (0.10) + ad (0.30); clicks are Poisson.

- `false_of_12_null`: hooks out of 12 that become active although no hook has an effect (accounts still deviate), mean
  over the markets.
- `coverage`: share of the 95 % intervals of the unshrunk lift that hold the Mantel-Haenszel estimand, over all hooks and
  markets. The estimand is the Mantel-Haenszel ratio of *expected* clicks: the levels of the accounts, the hooks of the ads
  and the impressions are what they are; what another draw would draw anew is averaged over: ads' noise, accounts'
  deviations from an effect, and clicks.
- `rmse_log_lift`: root mean squared error of the unshrunk log lift against that estimand.
- `power_25`: share of the markets in which a hook whose true rate is 25 % above the mean rate of the others becomes
  active with that sign.
- `interaction_fdr`: of the pairs (12 hooks x 4 buttons) that become active in markets like these, the share that is false, mean over markets
  (0 where none is active). Half of the markets have no interaction; in the others three pairs have one of 0.4, up or down. False is a pair
  whose contrast at expected rates has the other sign, or is below 1 %.
- `interaction_power`: share of the planted pairs that become active with the right sign.
- `incremental_equals_full`: whether weekly sums and sums by time that were kept from day to day, while days were restated, equal those that are
  computed from all facts, and so do the patterns mined from them.
- `rows_per_second`: 10 million rows (ads x 13 weeks in 200 accounts, 6 attributes of 12 values, three metrics) mined over
  all accounts; best of 5.
- `ratio_to_scan`: the time of that over the time of one polars group-by (sums by account and week) of the same frame;
  best of 5.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.assets import LAKE
from learning_assets.learning import lift
from learning_assets.platforms.source import ACTUALS, CATALOG
from learning_assets.settings import Patterns
from learning_assets.store.facts import swap
from learning_assets.store.lake import Lake
from learning_assets.store.sums import times, weekly_sums

ACCOUNTS, ADS, IMPRESSIONS, HOOKS, CTAS, WEEKS = 60, 20, 20_000, 12, 4, 4
CTR, ACCOUNT_SD, HOOK_SD, DEVIATION_SD, AD_SD = 0.015, 0.4, 0.15, 0.10, 0.30
START = date(2026, 1, 4)
COUNTS = ["impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros"]
ATTRIBUTES = [f"attribute_{number}" for number in range(6)]


@dataclass(frozen=True)
class Market:
    """Sums per ad and week of one market, and of the same ads what rates could be expected, shape (ads,), with their choices."""

    sums: pl.DataFrame
    account: NDArray[np.int64]
    hook: NDArray[np.int64]
    cta: NDArray[np.int64]
    impressions: NDArray[np.int64]
    expected: NDArray[np.float64]

    def log_lift(self, has: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
        """Mantel-Haenszel log lift, at expected rates, of the ads that `has` says against the others, among some ads."""
        strata = (self.account[:, None] * WEEKS + np.arange(WEEKS)).ravel()
        n1, n0, m1, m0 = (
            np.bincount(strata, (amount * (side & among)[:, None]).ravel(), ACCOUNTS * WEEKS)
            for amount in (self.impressions, self.impressions * np.exp(self.expected)[:, None])
            for side in (has, ~has)
        )
        whole = np.where(n1 + n0 > 0, n1 + n0, 1)
        return math.log((m1 * n0 / whole).sum() / (m0 * n1 / whole).sum())


def market(rng: np.random.Generator, effects: NDArray[np.float64], pairs: NDArray[np.float64] | None = None) -> Market:
    """One market; `pairs`, shape (12, 4), is what a hook and a button have together beyond their own effects."""
    account = np.repeat(np.arange(ACCOUNTS), ADS)
    hook = rng.integers(0, HOOKS, account.size)
    expected = np.log(CTR) + rng.normal(0, ACCOUNT_SD, ACCOUNTS)[account] + effects[hook]
    deviation = rng.normal(0, DEVIATION_SD, (ACCOUNTS, HOOKS))[account, hook]
    cta = np.zeros_like(hook)
    if pairs is not None:
        cta = rng.integers(0, CTAS, account.size)
        expected += rng.normal(0, HOOK_SD, CTAS)[cta] + pairs[hook, cta]
    rate = np.exp(expected + deviation + rng.normal(0, AD_SD, account.size))
    impressions = rng.poisson(IMPRESSIONS / WEEKS, (account.size, WEEKS))
    clicks = np.minimum(rng.poisson(impressions * rate[:, None]), impressions)
    unknown = pl.lit(None, pl.Int64)
    sums = pl.DataFrame(
        {
            "account_id": np.repeat(account, WEEKS),
            "ad_id": np.repeat(np.arange(account.size), WEEKS),
            "hook": np.repeat(hook, WEEKS),
            "cta": np.repeat(cta, WEEKS),
            "week": np.tile(np.arange(WEEKS), account.size),
            "impressions": impressions.ravel(),
            "link_clicks": clicks.ravel(),
        }
    ).with_columns(
        pl.col("account_id", "ad_id", "hook", "cta").cast(pl.String),
        week=START + pl.duration(days=7 * pl.col("week")),
        experiment_id=pl.lit(None, pl.String),
        conversions=unknown,
        spend_micros=unknown,
        revenue_micros=unknown,
    )
    return Market(sums, account, hook, cta, impressions, expected)


def learned(sums: pl.DataFrame) -> pl.DataFrame:
    """Patterns of the hooks on the first day, in the order of the hooks."""
    settings = Patterns()
    found = lift.advance(None, lift.mine(sums, ["hook"], settings, "all"), START, settings)
    return found.sort(pl.col("value").cast(pl.Int64))


def truth_figures(rng: np.random.Generator, markets: int) -> dict[str, float]:
    """The four figures about truth from `markets` markets with effects and as many without."""
    false = covered = called = 0
    squares = 0.0
    for number in range(markets):
        false += int((learned(market(rng, np.zeros(HOOKS)).sums)["status"] == "active").sum())

        effects = rng.normal(0, HOOK_SD, HOOKS)
        effects[0] = math.log(1.25 * np.exp(effects[1:]).mean())
        made = market(rng, effects)
        everything = np.ones(made.account.size, dtype=bool)
        truth = [made.log_lift(made.hook == value, everything) for value in range(HOOKS)]
        found = learned(made.sums).with_columns(truth=pl.Series(truth))
        covered += int(found.select(pl.col("truth").is_between("low", "high").sum()).item())
        squares += float(found.select(((pl.col("log_lift") - pl.col("truth")) ** 2).sum()).item())
        called += int(found["status"][0] == "active" and found["sign"][0] == 1)
        if (number + 1) % max(1, markets // 10) == 0:
            print(f"markets: {number + 1} of {markets}", file=sys.stderr)
    return {
        "false_of_12_null": false / markets,
        "coverage": covered / (markets * HOOKS),
        "rmse_log_lift": math.sqrt(squares / (markets * HOOKS)),
        "power_25": called / markets,
    }


def pair_figures(rng: np.random.Generator, markets: int) -> dict[str, float]:
    """The two figures about two attributes together."""
    settings = Patterns()
    shares: list[float] = []
    planted = called = 0
    for number in range(markets):
        pairs = np.zeros((HOOKS, CTAS))
        if number % 2:
            places = rng.choice(HOOKS * CTAS, 3, replace=False)
            pairs.ravel()[places] = rng.choice([-0.4, 0.4], 3)
        made = market(rng, rng.normal(0, HOOK_SD, HOOKS), pairs)
        found = lift.advance(None, lift.mine_pairs(made.sums, ["hook", "cta"], settings, "all"), START, settings)
        false = 0
        active = found.filter(pl.col("status") == "active")
        for row in active.to_dicts():
            hook, cta = map(int, row["value"].split(lift.PAIR))
            contrast = made.log_lift(made.hook == hook, made.cta == cta) - made.log_lift(made.hook == hook, made.cta != cta)
            false += int(abs(contrast) < 0.01 or contrast * row["sign"] < 0)
            called += int(pairs[hook, cta] * row["sign"] > 0)
        planted += int((pairs != 0).sum())
        shares.append(false / max(active.height, 1))
    return {"interaction_fdr": float(np.mean(shares)), "interaction_power": called / planted}


def incremental_equals_full(rng: np.random.Generator, days: int = 45) -> bool:
    """Live through days with restatements, keeping sums; then compare with sums and patterns computed from all facts."""
    week = pl.col("date") + pl.duration(days=7 - pl.col("date").dt.weekday())
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder), LAKE, lambda _: nullcontext())
        for number in range(days):
            day = START + timedelta(days=number)
            lake.write("ad_catalog", day, _catalog())
            swap(lake, day, _facts(rng, day), day)
            for back in rng.integers(1, 29, 2):
                earlier = day - timedelta(days=int(back))
                if earlier >= START:
                    swap(lake, earlier, _facts(rng, earlier), day)
            for kept_anew in (weekly_sums(lake, day, 28), times(lake, day, 28)):
                kept_anew.collect()
        last = START + timedelta(days=days - 1)
        kept = weekly_sums(lake, last, 28).collect(), times(lake, last, 28).collect()
        daily = lake.scan("actuals", START, last).collect().with_columns(week=week)
        full = daily.group_by("week", "account_id", "ad_id").agg(pl.col(COUNTS).sum())
        weekdays = (
            daily.with_columns(attribute=pl.lit("posting_weekday"), value=pl.col("date").dt.strftime("%a"))
            .group_by("week", "account_id", "ad_id", "attribute", "value")
            .agg(pl.col(COUNTS).sum())
        )
    key = ["week", "account_id", "ad_id"]
    asked = kept[0]["week"].unique().implode()
    full, weekdays = full.filter(pl.col("week").is_in(asked)), weekdays.filter(pl.col("week").is_in(asked))
    ads = kept[0].with_columns(hook=pl.col("ad_id").str.slice(-1), experiment_id=pl.lit(None, pl.String))
    again = ads.drop(COUNTS).join(full, on=key)
    return (
        kept[0].select(*key, *COUNTS).sort(key).equals(full.select(*key, *COUNTS).sort(key))
        and kept[1].sort(*key, "value").equals(weekdays.select(kept[1].columns).sort(*key, "value"))
        and lift.mine(ads, ["hook"], Patterns(), "all").equals(
            lift.mine(again.select(ads.columns), ["hook"], Patterns(), "all")
        )
    )


def _facts(rng: np.random.Generator, day: date) -> pl.DataFrame:
    """A day of 12 accounts with 20 ads each, with schema ACTUALS."""
    ads = _catalog().select("account_id", "ad_id")
    shown = rng.poisson(500, ads.height)
    return (
        ads.with_columns(
            date=pl.lit(day),
            impressions=pl.Series(shown),
            link_clicks=pl.Series(rng.binomial(shown, 0.02)),
            conversions=pl.Series(rng.poisson(0.5, ads.height)),
            spend_micros=pl.Series(rng.poisson(4_000_000, ads.height)),
            revenue_micros=pl.Series(rng.poisson(8_000_000, ads.height)),
            complete=pl.lit(value=True),
        )
        .match_to_schema(ACTUALS, missing_columns="insert", integer_cast="upcast")
        .select(ACTUALS.names())
    )


def _catalog() -> pl.DataFrame:
    """240 active ads, with schema CATALOG."""
    numbers = pl.DataFrame({"ad": range(240)})
    return (
        numbers.select(
            account_id=pl.format("account {}", pl.col("ad") % 12),
            ad_id=pl.format("ad {}", "ad"),
            creative_id=pl.format("creative {}", "ad"),
            status=pl.lit("active"),
        )
        .match_to_schema(CATALOG, missing_columns="insert")
        .select(CATALOG.names())
    )


def wide_sums(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """About `rows` rows of ads x 13 weeks in 200 accounts with six attributes, week after week as they are stored."""
    accounts, weeks = 200, 13
    ads = max(1, rows // (accounts * weeks)) * accounts
    names = pl.DataFrame({"ad": np.arange(ads)}).select(
        account_id=pl.format("account_{}", pl.col("ad") % accounts),
        ad_id=pl.format("ad_{}", "ad"),
        **{name: pl.format("value_{}", pl.Series(rng.integers(0, 12, ads))) for name in ATTRIBUTES},
    )
    names = names.sort("account_id", "ad_id").with_columns(pl.col(ATTRIBUTES).cast(pl.Categorical))
    impressions = [rng.poisson(1_000, ads) for _ in range(weeks)]
    return pl.concat(
        names.with_columns(
            week=pl.lit(START + timedelta(days=7 * week)),
            experiment_id=pl.lit(None, pl.String),
            impressions=pl.Series(impressions[week]),
            link_clicks=pl.Series(rng.binomial(impressions[week], CTR)),
            conversions=pl.Series(rng.poisson(0.5, ads)),
            spend_micros=pl.Series(rng.poisson(8_000_000, ads)),
            revenue_micros=pl.Series(rng.poisson(16_000_000, ads)),
        )
        for week in range(weeks)
    ).rechunk()


def speed_figures(rng: np.random.Generator, rows: int) -> dict[str, float]:
    """Rows mined a second, and that time over the time of a plain group-by."""
    sums = wide_sums(rng, rows)
    print(f"mining {sums.height:,} rows", file=sys.stderr)
    scan = best(lambda: sums.lazy().group_by("account_id", "week").agg(pl.col(COUNTS).sum()).collect())
    mined = best(lambda: lift.mine(sums, ATTRIBUTES, Patterns(), "all"))
    print(f"group-by {scan:.2f} s, mining {mined:.2f} s", file=sys.stderr)
    return {"rows_per_second": sums.height / mined, "ratio_to_scan": mined / scan}


def best(work: Callable[[], object], runs: int = 5) -> float:
    """Shortest of several runs in seconds: what the machine's other work adds is not what is measured."""
    seconds: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def run(seed: int, short: bool = False) -> dict[str, float | bool]:
    """All figures; `short` takes a few seconds and shows that they can be computed, not what they are."""
    rng = np.random.default_rng(seed)
    truth = truth_figures(rng, markets=15 if short else 1_000)
    pairs = pair_figures(rng, markets=6 if short else 400)
    same = incremental_equals_full(rng, days=20 if short else 45)
    speed = speed_figures(rng, rows=100_000 if short else 10_000_000)
    return {**truth, **pairs, "incremental_equals_full": same, **speed}


def main() -> None:
    parser = argparse.ArgumentParser(description="Do pattern lifts tell the truth, and at what speed?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="a few seconds instead of minutes, for tests")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, arguments.short)))


if __name__ == "__main__":
    main()
