"""How often does a good model get trained again for nothing, and how surely and soon is a bad one noticed?

    python -m benchmarks.retrain_triggers --seed 7 [--short]

Simulated accounts live day by day as the product does: each day is predicted, the last seven days are measured (`accuracy.measure`), the day's hours
go to the account's drift detector (`drift`), and all triggers are evaluated. A week of seven such days fires if any of its days does; the windows
of its days overlap. The rule is all triggers but age, purchase signals and force.

An ad's log CTR is that of 1.5 % with a standard deviation of 0.3; impressions are Poisson, and so are clicks unless said; clicks and delivery have
profiles over the day, which the detector has to learn from the 28 days before. Accounts come in sizes: `least` with about 1,200 clicks a week, `large`
with ten times as many, `small_ads` with about 110 impressions an ad-day, `busy` with 200 clicks an hour.

- `firing`: share of weeks in which each trigger fires, and `any` of the rule, mean over the scenario's sizes. perfect (least, large): the model
  predicts the true rates; 1.1x, 1.25x, 2x (least, large): half of the models predict so many times the truth, half the truth over that; zero (least,
  large, small_ads): it predicts 0; drift_minus_10, drift_minus_20 (busy): rates fall by 10 % or 20 % at one hour of the week's first day and stay
  there; small_ads: a perfect model of such; phi_2 (least, small_ads): a perfect model, counts of each ad-day with twice the Poisson variance.
- `false_firing`: share of weeks in which the rule fires with a perfect model, the worst of its scenarios and sizes.
- `caught_1_25x`: share of weeks in which it fires at 1.25x, the worst of sizes and directions.
- `zero_model_caught`: the same of the model that predicts 0.
- `drift_10_hours`: median hours from the shift by -10 % to the detector's alarm; a week without alarm counts as endless (168).
- `fires_at_1_1x`: share of weeks at 1.1x, mean over sizes and directions.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning import accuracy, baselines, drift, triggers
from learning_assets.settings import Accuracy, Models

Floats = NDArray[np.float64]

CTR, AD_SD = 0.015, 0.3
PAST, WEEK = 28, 7
START = date(2026, 1, 5)
RULE = ("accuracy", "mae", "calibration", "skill", "drift")
AT_ONCE = 50
"""Accounts that are simulated at a time, so that their hours fit into memory."""


class Size(NamedTuple):
    """Ads of an account, and expected impressions of each a day."""

    ads: int
    impressions: int


SIZES = {"least": Size(40, 290), "large": Size(40, 2_900), "small_ads": Size(60, 110), "busy": Size(40, 8_000)}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is wrong with the model (`times`: what it predicts over the truth, one of them by account), or with the world."""

    sizes: tuple[str, ...]
    times: tuple[float, ...] = (1.0,)
    dispersion: float = 1.0
    shift: float = 0.0
    perfect: bool = False


SCENARIOS = {
    "perfect": Scenario(("least", "large"), perfect=True),
    "1.1x": Scenario(("least", "large"), (1.1, 1 / 1.1)),
    "1.25x": Scenario(("least", "large"), (1.25, 1 / 1.25)),
    "2x": Scenario(("least", "large"), (2.0, 0.5)),
    "zero": Scenario(("least", "large", "small_ads"), (0.0,)),
    "drift_minus_10": Scenario(("busy",), shift=-0.1),
    "drift_minus_20": Scenario(("busy",), shift=-0.2),
    "small_ads": Scenario(("small_ads",), perfect=True),
    "phi_2": Scenario(("least", "small_ads"), dispersion=2.0, perfect=True),
}


class World(NamedTuple):
    """Accounts with ads: one row per ad and day, and one per account and hour as `drift.hourly` gives them; the hours of the shifts."""

    ad_days: pl.DataFrame
    hours: pl.DataFrame
    shifted: NDArray[np.int64]


def world(rng: np.random.Generator, size: Size, scenario: Scenario, times: Floats, weeks: int) -> World:
    """Accounts, one per entry of `times`, over the past, a week before the first evaluated day, and `weeks` weeks."""
    accounts, days = len(times), PAST + WEEK + weeks * WEEK
    rate = CTR * np.exp(rng.normal(-(AD_SD**2) / 2, AD_SD, (accounts, size.ads)))
    clock = np.arange(24) * 2 * np.pi / 24
    delivery, profile = 1 + 0.6 * np.sin(clock - 2), 1 + 0.25 * np.sin(clock)
    profile /= (delivery * profile).sum() / delivery.sum()
    shape = (accounts, size.ads, days, 24)
    shown = rng.poisson(size.impressions * delivery / delivery.sum(), shape).astype(np.int32)
    mean = shown * profile.astype(np.float32) * rate[:, :, None, None].astype(np.float32)
    # The shift comes at a random hour of the first evaluated day; before it the detector has been running for a week.
    shifted = (PAST + WEEK) * 24 + rng.integers(0, 24, accounts)
    if scenario.shift:
        after = np.arange(days * 24) >= shifted[:, None]
        mean *= np.where(after, 1 + scenario.shift, 1.0).reshape(accounts, 1, days, 24).astype(np.float32)
    if scenario.dispersion > 1:
        total = mean.sum(axis=3, keepdims=True) / (scenario.dispersion - 1)
        mean *= rng.gamma(total) / total
    clicks = np.minimum(rng.poisson(mean), shown)
    predicted = np.broadcast_to(np.minimum(rate * times[:, None], 1.0)[:, :, None], shape[:3])
    dates = np.datetime64(START) + np.arange(days)
    account, ad, day = (grid.ravel() for grid in np.indices(shape[:3]))
    ad_days = pl.DataFrame(
        {
            "date": dates[day],
            "account_id": account,
            "ad_id": ad,
            "predicted": predicted.ravel(),
            "impressions": shown.sum(axis=3, dtype=np.int64).ravel(),
            "link_clicks": clicks.sum(axis=3, dtype=np.int64).ravel(),
        }
    ).with_columns(pl.col("account_id", "ad_id").cast(pl.String))
    by_hour = np.indices((accounts, days, 24))
    hours = pl.DataFrame(
        {
            "account_id": by_hour[0].ravel(),
            "date": dates[by_hour[1].ravel()],
            "hour": by_hour[2].ravel(),
            "clicks": clicks.sum(axis=1, dtype=np.int64).ravel(),
            "flat": (shown * predicted[:, :, :, None]).sum(axis=1).ravel(),
        }
    ).with_columns(pl.col("account_id").cast(pl.String), stream=pl.col("account_id").cast(pl.String))
    return World(ad_days, hours, shifted)


def measured(ad_days: pl.DataFrame, days: list[date]) -> pl.DataFrame:
    """The account's accuracy as of each day, with columns `account_id`, `as_of` and those of `accuracy.MEASURES`."""
    known = baselines.history(ad_days, ad_days.filter(pl.col("date") > days[0] - timedelta(WEEK)), Models().history_decay)
    compared = known.with_columns(
        model=pl.lit("xgboost"),
        metric=pl.lit("ctr"),
        baseline_account=pl.col("account_rate"),
        baseline_history=pl.col("own_rate"),
    )
    windows = pl.concat(
        compared.filter(pl.col("date").is_between(day - timedelta(WEEK - 1), day)).with_columns(as_of=pl.lit(day))
        for day in days
    )
    return accuracy.measure(windows, ["account_id", "as_of"], Accuracy())


def watched(
    hours: pl.DataFrame, days: list[date], dispersion: dict[date, dict[str, float]]
) -> dict[date, dict[str, drift.Day]]:
    """What the day's hours did to each account's detector, which has run for a week before the first of `days`."""
    states: dict[str, drift.State] = {}
    found: dict[date, dict[str, drift.Day]] = {}
    for day in [days[0] - timedelta(back) for back in range(WEEK, 0, -1)] + days:
        today, past = hours.filter(pl.col("date") == day), hours.filter(pl.col("date") < day)
        found[day] = drift.watch(day, today, past, states, dispersion.get(day - timedelta(1), {}), Models())
        states = {stream: one.state for stream, one in found[day].items()}
    return found


class Weeks(NamedTuple):
    """Weeks of one scenario and size: which triggers fired in each, shape (weeks, triggers); what the model predicted over the truth; hours to alarm."""

    fired: NDArray[np.bool_]
    times: Floats
    delays: Floats


def live(rng: np.random.Generator, size: Size, scenario: Scenario, accounts: int, weeks: int) -> Iterator[Weeks]:
    """Weeks of `accounts` accounts, some at a time."""
    settings = Models()
    days = [START + timedelta(PAST + WEEK + number) for number in range(weeks * WEEK)]
    for first in range(0, accounts, AT_ONCE):
        times = np.resize(np.array(scenario.times), min(AT_ONCE, accounts - first))
        made = world(rng, size, scenario, times, weeks)
        rows = {
            (row["account_id"], row["as_of"]): row
            for row in measured(made.ad_days, days).select("account_id", "as_of", *triggers.FIGURES).iter_rows(named=True)
        }
        dispersion: dict[date, dict[str, float]] = {}
        for (account, day), row in rows.items():
            dispersion.setdefault(day, {})[account] = row["dispersion"] or 1.0
        found = watched(made.hours, days, dispersion)
        fired = np.zeros((len(times), len(days), len(RULE)), dtype=bool)
        delays = np.full(len(times), float(WEEK * 24))
        for number in range(len(times)):
            account = str(number)
            for at, day in enumerate(days):
                row, seen = rows[account, day], found[day][account]
                evidence = triggers.Evidence(
                    day,
                    tried_on=day,
                    max_age_days=settings.max_age_days,
                    drift=seen.peak,
                    drift_change=seen.change,
                    **{name: row[name] for name in triggers.FIGURES},
                )
                by_name = {trigger.name: trigger.fired for trigger in triggers.evaluate(evidence, settings)}
                fired[number, at] = [by_name[name] for name in RULE]
                for alarm, hour in seen.alarms:
                    waited = ((alarm - START).days * 24 + hour) - made.shifted[number] + 1
                    delays[number] = min(delays[number], waited) if waited > 0 else delays[number]
        by_week = fired.reshape(len(times), weeks, WEEK, len(RULE)).any(axis=2)
        yield Weeks(by_week.reshape(-1, len(RULE)), np.repeat(times, weeks), delays)


def run(seed: int, accounts: int = 400, weeks: int = 8, faulty: int = 50) -> dict[str, object]:
    """All figures from `accounts` accounts with a perfect model, and `faulty` ones with a bad model or a shift, of each size."""
    rng = np.random.default_rng(seed)
    firing: dict[str, dict[str, float]] = {}
    false: list[float] = []
    caught: dict[str, list[float]] = {}
    delays: dict[str, Floats] = {}
    for name, scenario in SCENARIOS.items():
        of_sizes: list[Floats] = []
        for size in scenario.sizes:
            # A shift comes once; its first week is looked at.
            lasting = 1 if scenario.shift else weeks
            number = accounts if scenario.perfect else faulty * (4 if scenario.shift else 1)
            parts = list(live(rng, SIZES[size], scenario, number, lasting))
            fired = np.concatenate([part.fired for part in parts])
            times = np.concatenate([part.times for part in parts])
            any_of = np.asarray(fired.any(axis=1), dtype=np.float64)
            of_sizes.append(np.append(fired.mean(axis=0), any_of.mean()))
            delays[name] = np.concatenate([part.delays for part in parts])
            caught.setdefault(name, []).extend(float(any_of[times == one].mean()) for one in scenario.times)
            if scenario.perfect:
                false.append(float(any_of.mean()))
            shares = dict(zip((*RULE, "any"), np.round(of_sizes[-1], 5).tolist(), strict=True))
            print(f"{name}, {size}, {fired.shape[0]} weeks: {shares}", file=sys.stderr)
        firing[name] = dict(zip((*RULE, "any"), np.round(np.mean(of_sizes, axis=0), 5).tolist(), strict=True))
    return {
        "firing": firing,
        "false_firing": max(false),
        "caught_1_25x": min(caught["1.25x"]),
        "zero_model_caught": min(caught["zero"]),
        "drift_10_hours": float(np.median(delays["drift_minus_10"])),
        "fires_at_1_1x": float(np.mean(caught["1.1x"])),
    }


def run_short(seed: int) -> dict[str, object]:
    """The same from few accounts: it shows that the figures can be computed, not what they are."""
    return run(seed, accounts=6, weeks=1, faulty=4)


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated accounts")
    parser.add_argument("--short", action="store_true", help="a few accounts, in seconds")
    asked = parser.parse_args()
    print(json.dumps(run_short(asked.seed) if asked.short else run(asked.seed)))


if __name__ == "__main__":
    main()
