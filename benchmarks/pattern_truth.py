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
- `rows_per_second`: 10 million rows (ads x 13 weeks in 200 accounts, 6 attributes of 12 values, three metrics) mined over
  all accounts; best of 5.
- `ratio_to_scan`: the time of that over the time of one polars group-by (sums by account and week) of the same frame;
  best of 5.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning import lift
from learning_assets.settings import Patterns

ACCOUNTS, ADS, IMPRESSIONS, HOOKS, WEEKS = 60, 20, 20_000, 12, 4
CTR, ACCOUNT_SD, HOOK_SD, DEVIATION_SD, AD_SD = 0.015, 0.4, 0.15, 0.10, 0.30
START = date(2026, 1, 4)
ATTRIBUTES = [f"attribute_{number}" for number in range(6)]


def market(rng: np.random.Generator, effects: NDArray[np.float64]) -> tuple[pl.DataFrame, NDArray[np.float64]]:
    """Sums per ad and week of one market, and the Mantel-Haenszel log lift of every hook at expected rates, shape (12,)."""
    account = np.repeat(np.arange(ACCOUNTS), ADS)
    hook = rng.integers(0, HOOKS, account.size)
    expected = np.log(CTR) + rng.normal(0, ACCOUNT_SD, ACCOUNTS)[account] + effects[hook]
    deviation = rng.normal(0, DEVIATION_SD, (ACCOUNTS, HOOKS))[account, hook]
    rate = np.exp(expected + deviation + rng.normal(0, AD_SD, account.size))
    impressions = rng.poisson(IMPRESSIONS / WEEKS, (account.size, WEEKS))
    clicks = np.minimum(rng.poisson(impressions * rate[:, None]), impressions)

    truth = np.empty(HOOKS)
    strata = account[:, None] * WEEKS + np.arange(WEEKS)
    for value in range(HOOKS):
        has = np.broadcast_to((hook == value)[:, None], impressions.shape)
        n1, n0, m1, m0 = (
            np.bincount(strata.ravel(), (amount * side).ravel(), ACCOUNTS * WEEKS)
            for amount in (impressions, impressions * np.exp(expected)[:, None])
            for side in (has, ~has)
        )
        truth[value] = math.log((m1 * n0 / (n1 + n0)).sum() / (m0 * n1 / (n1 + n0)).sum())
    unknown = pl.lit(None, pl.Int64)
    sums = pl.DataFrame(
        {
            "account_id": np.repeat(account, WEEKS),
            "ad_id": np.repeat(np.arange(account.size), WEEKS),
            "hook": np.repeat(hook, WEEKS),
            "week": np.tile(np.arange(WEEKS), account.size),
            "impressions": impressions.ravel(),
            "link_clicks": clicks.ravel(),
        }
    ).with_columns(
        pl.col("account_id", "ad_id", "hook").cast(pl.String),
        week=START + pl.duration(days=7 * pl.col("week")),
        experiment_id=pl.lit(None, pl.String),
        conversions=unknown,
        spend_micros=unknown,
        revenue_micros=unknown,
    )
    return sums, truth


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
        sums, _ = market(rng, np.zeros(HOOKS))
        false += int((learned(sums)["status"] == "active").sum())

        effects = rng.normal(0, HOOK_SD, HOOKS)
        effects[0] = math.log(1.25 * np.exp(effects[1:]).mean())
        sums, truth = market(rng, effects)
        found = learned(sums).with_columns(truth=pl.Series(truth))
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


def wide_sums(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """About `rows` rows of ads x 13 weeks in 200 accounts with six attributes, week after week as they are stored."""
    accounts, weeks = 200, 13
    ads = max(1, rows // (accounts * weeks)) * accounts
    names = pl.DataFrame({"ad": np.arange(ads)}).select(
        account_id=pl.format("account_{}", pl.col("ad") % accounts),
        ad_id=pl.format("ad_{}", "ad"),
        **{name: pl.format("value_{}", pl.Series(rng.integers(0, 12, ads))) for name in ATTRIBUTES},
    )
    names = names.sort("account_id", "ad_id")
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
    counts = ["impressions", "link_clicks", "conversions", "spend_micros", "revenue_micros"]
    scan = best(lambda: sums.lazy().group_by("account_id", "week").agg(pl.col(counts).sum()).collect())
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


def run(seed: int, short: bool = False) -> dict[str, float]:
    """All figures; `short` takes a few seconds and shows that they can be computed, not what they are."""
    rng = np.random.default_rng(seed)
    truth = truth_figures(rng, markets=15 if short else 1_000)
    return {**truth, **speed_figures(rng, rows=100_000 if short else 10_000_000)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Do pattern lifts tell the truth, and at what speed?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="a few seconds instead of minutes, for tests")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, arguments.short)))


if __name__ == "__main__":
    main()
