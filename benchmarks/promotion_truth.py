"""How often the promotion test names a winner where there is none, and how soon it finds one: `python -m benchmarks.promotion_truth [--seed N] [--short]`.

Experiments of 14 days at a CTR of 2 % and 500 impressions an hour and arm are decided every hour by the product's own evidence, dispersion and gates. In
`false_winners` no arm is better; a promotion of any arm at any hour counts. Scenarios: `iid`; `hour_noise` (clicks of an arm and hour vary twice as much as
counts); `day_noise` (an arm's rate varies by 10 % from day to day); `moving_allocation` (a bandit moves the traffic every hour while the click rate drifts);
`late_starter` (the other arm begins after 72 h; conversions per click, which come 1.5 days later on average, counted on the day they become known);
`five_arms`. `new` is an account of which nothing is known, `known` one whose 20 past experiments had a quarter of the volume.

The last line is one JSON object: `false_winners` by scenario; `rivals`, the share of iid experiments in which other rules, looked at every hour, name a winner;
`power` and `median_hours` by scenario and true lift in per cent; `inflation`, the reported (shrunk) log lift at promotion over the true one at +10 %, and
`observed_inflation` of the lift as observed; `experiments` behind each false share.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning import sequential
from learning_assets.learning.sequential import grid
from learning_assets.settings import Promotion

Floats = NDArray[np.float64]

CTR, CVR, HOURLY, DAYS, HOURS = 0.02, 0.03, 500.0, 14, 24
PAST, ACCOUNTS, PAST_VOLUME = 20, 500, 0.25
BLOCK = 20
"""Experiments at once: their paths stay in the processor's cache."""
FIRST = date(2026, 1, 1)
LATE_DAYS, LAG_DAYS = 3, 1.5
BASELINE = ("iid", "hour_noise", "day_noise")


@dataclass(frozen=True, slots=True)
class World:
    """Counts of experiments: `exposure` and `events`, shape (experiments, arms, periods); `periods` of a day, 24 or 1."""

    exposure: Floats
    events: Floats
    periods: int

    def of(self, some: slice) -> "World":
        """Some of the experiments."""
        return World(self.exposure[some], self.events[some], self.periods)


def simulate(scenario: str, lift: float, experiments: int, rng: np.random.Generator, volume: float = 1.0) -> World:
    """Draw experiments in which the last arm is better by `lift`, a fraction."""
    arms = 5 if scenario == "five_arms" else 2
    shape = (experiments, arms, DAYS * HOURS)
    rate = np.full(shape, CTR)
    rate[:, -1] *= 1 + lift
    if scenario == "day_noise":
        noise = rng.normal(0, 0.1, (experiments, arms, DAYS))
        rate *= np.repeat(np.exp(noise - 0.005), HOURS, axis=2)
    if scenario == "late_starter":
        return _late(rate, experiments, rng, volume)
    if scenario == "moving_allocation":
        return _moving(rate, experiments, rng, volume)
    shown = rng.poisson(HOURLY * volume, shape).astype(np.float64)
    mean = shown * rate
    if scenario == "hour_noise":
        # Gamma with a variance that doubles that of the count.
        mean = rng.gamma(np.maximum(mean, 1e-9), 1.0)
    return World(shown, np.minimum(rng.poisson(mean), shown).astype(np.float64), HOURS)


def _moving(rate: Floats, experiments: int, rng: np.random.Generator, volume: float) -> World:
    """Traffic follows the arms' posteriors, from the hours before, while all rates fall by half and rise again."""
    hours = np.arange(DAYS * HOURS)
    phase = rng.uniform(0, 2 * np.pi, (experiments, 1))
    rate = rate * (1 + 0.5 * np.sin(2 * np.pi * hours / (7 * HOURS) + phase))[:, None, :]
    shown, clicks = np.zeros(rate.shape), np.zeros(rate.shape)
    seen, came = np.full((experiments, 2), 100.0), np.full((experiments, 2), 100.0 * CTR)
    for hour in hours:
        draws = rng.gamma(came[:, :, None], 1 / seen[:, :, None], (experiments, 2, 16))
        share = np.clip((draws[:, 1] > draws[:, 0]).mean(axis=1), 0.05, 0.95)
        now = rng.poisson(2 * HOURLY * volume * np.stack([1 - share, share], axis=1)).astype(np.float64)
        got = rng.poisson(now * rate[:, :, hour]).astype(np.float64)
        shown[:, :, hour], clicks[:, :, hour] = now, np.minimum(got, now)
        seen, came = seen * 0.995 + now, came * 0.995 + got
    return World(shown, clicks, HOURS)


def lag() -> Floats:
    """Share of conversions known at each age in days: exponential, 1.5 days on average, clicks spread over their day."""
    ends = np.arange(1, 15, dtype=np.float64)
    return 1 - LAG_DAYS * (np.exp(-(ends - 1) / LAG_DAYS) - np.exp(-ends / LAG_DAYS))


def _late(rate: Floats, experiments: int, rng: np.random.Generator, volume: float) -> World:
    """Conversions by day, the second arm's clicks beginning late; exposure by the product's lagged clicks."""
    clicks = rng.poisson(20 * HOURLY * volume * HOURS * rate[:, :, ::HOURS]).astype(np.float64)
    clicks[:, 1, :LATE_DAYS] = 0
    came = np.zeros(clicks.shape)
    comes = np.diff(lag(), prepend=0.0)
    for age, part in enumerate(comes[:DAYS]):
        came[:, :, age:] += rng.poisson(clicks[:, :, : DAYS - age] * CVR * part)
    e, a, d = np.meshgrid(np.arange(experiments), np.arange(2), np.arange(DAYS), indexing="ij")
    frame = pl.DataFrame(
        {"account_id": "a", "experiment_id": e.ravel(), "ad_id": a.ravel(), "day": d.ravel(), "clicks": clicks.ravel()}
    ).with_columns(pl.col("experiment_id", "ad_id").cast(pl.String), date=pl.lit(FIRST) + pl.duration(days="day"))
    exposure = sequential.lagged(frame, lag().tolist()).with_columns(
        pl.col("experiment_id", "ad_id").cast(pl.Int64), day=(pl.col("date") - FIRST).dt.total_days()
    )
    found = np.zeros(clicks.shape)
    found[tuple(exposure[name].to_numpy() for name in ("experiment_id", "ad_id", "day"))] = exposure["exposure"].to_numpy()
    return World(found, np.where(found > 0, came, 0.0), 1)


# The product's evidence, hour by hour.


def pairs(arms: int) -> list[tuple[int, int]]:
    """Every two arms."""
    return [(a, b) for a in range(arms) for b in range(a + 1, arms)]


def pair_days(world: World, accounts: NDArray[np.int64], name: str = "e") -> pl.DataFrame:
    """What `dispersion` is learned from: a row per pair and day, as `increments` gives it."""
    experiments, arms, periods = world.exposure.shape
    days = periods // world.periods
    frames: list[pl.DataFrame] = []
    for a, b in pairs(arms):
        ours, theirs, shown, other = world.events[:, a], world.events[:, b], world.exposure[:, a], world.exposure[:, b]
        both = (shown > 0) & (other > 0)
        total = np.where(both, ours + theirs, 0.0)
        share = np.divide(shown, shown + other, out=np.full(shown.shape, 0.5), where=both)
        parts = (total * share * (1 - share), np.where(both, ours - total * share, 0.0))
        information, excess = (part.reshape(experiments, days, -1).sum(axis=2) for part in parts)
        e, d = np.meshgrid(np.arange(experiments), np.arange(days), indexing="ij")
        frames.append(
            pl.DataFrame(
                {"number": e.ravel(), "day": d.ravel(), "information": information.ravel(), "excess": excess.ravel()}
            ).with_columns(ad_id=pl.lit(str(a)), other_id=pl.lit(str(b)))
        )
    told = pl.DataFrame({"number": np.arange(experiments), "account_id": accounts}).with_columns(
        pl.col("account_id").cast(pl.String)
    )
    return (
        pl.concat(frames)
        .join(told, on="number")
        .with_columns(
            experiment_id=pl.lit(name) + pl.col("number").cast(pl.String), date=pl.lit(FIRST) + pl.duration(days="day")
        )
    )


def dispersions(world: World, accounts: NDArray[np.int64], variance: pl.DataFrame, rules: Promotion) -> Floats:
    """phi of each experiment and day, known before it; shape (experiments, days)."""
    own = pair_days(world, accounts)
    found = sequential.dispersion(own, own.select("account_id", "experiment_id", "date"), variance, rules)
    number = found["experiment_id"].str.slice(1).cast(pl.Int64).to_numpy()
    day = (found["date"] - FIRST).dt.total_days().to_numpy()
    phi = np.ones((world.exposure.shape[0], int(day.max()) + 1))
    phi[number, day] = found["dispersion"].to_numpy()
    return phi


@dataclass(frozen=True, slots=True)
class Found:
    """By experiment: the hour of the promotion (NaN for none), which arm, and its log lift as observed and shrunk."""

    hour: Floats
    arm: Floats
    lift: Floats
    shrunk: Floats


def promote(world: World, phi: Floats, rules: Promotion) -> Found:
    """Look at every experiment after every period by the product's rule."""
    blocks = [
        _promote(world.of(some), phi[some], rules)
        for some in (slice(at, at + BLOCK) for at in range(0, world.exposure.shape[0], BLOCK))
    ]
    return Found(*(np.concatenate([getattr(block, name) for block in blocks]) for name in Found.__slots__))


def _promote(world: World, phi: Floats, rules: Promotion) -> Found:
    experiments, arms, periods = world.exposure.shape
    noise = np.repeat(phi, world.periods, axis=1)[..., None]
    prior = grid.one_sided(rules.prior_sd)
    threshold = np.log(arms / rules.alpha)
    least = np.full((arms, experiments, periods), np.inf)
    path: dict[tuple[int, int], Floats] = {}
    for a, b in pairs(arms):
        shown, other = world.exposure[:, a], world.exposure[:, b]
        both = (shown > 0) & (other > 0)
        share = np.divide(shown, shown + other, out=np.full(shown.shape, 0.5), where=both)
        ours, theirs = (np.where(both, world.events[:, arm], 0.0) for arm in (a, b))
        summed = (grid.log_likelihoods(ours, theirs, share) / noise).cumsum(axis=1)
        least[a] = np.minimum(least[a], grid.mixture(summed, prior))
        least[b] = np.minimum(least[b], grid.mixture(summed[..., ::-1], prior))
        path[a, b] = summed
    hours = np.where(world.exposure > 0, HOURS // world.periods, 0).cumsum(axis=2).min(axis=1)
    events = world.events.cumsum(axis=2).min(axis=1)
    enough = (hours >= rules.min_hours) & (events >= (rules.min_clicks if world.periods > 1 else rules.min_conversions))
    found = Found(*(np.full(experiments, np.nan) for _ in range(4)))
    for arm in range(arms):
        crossed = enough & (least[arm] >= threshold)
        for number in np.flatnonzero(crossed.any(axis=1)).tolist():
            lifts = [path[arm, o][number] if arm < o else path[o, arm][number][:, ::-1] for o in range(arms) if o != arm]
            for at in np.flatnonzero(crossed[number]).tolist():
                shrunk = [float(grid.shrunk(one[at], rules.shrink_sd, 0.95)[0]) for one in lifts]
                if min(shrunk) < np.log1p(rules.min_lift):
                    continue
                hour = (at + 1) * (HOURS // world.periods)
                if not found.hour[number] <= hour:
                    weakest = lifts[int(np.argmin([grid.mixture(one[at], prior) for one in lifts]))]
                    found.hour[number], found.arm[number] = hour, arm
                    found.lift[number] = float(grid.most_likely(weakest[at][None])[0])
                    found.shrunk[number] = float(grid.shrunk(weakest[at], rules.shrink_sd, 0.95)[0])
                break
    return found


# Other rules, looked at every hour.


def rivals(world: World) -> dict[str, float]:
    """Share of experiments in which each rule names a winner: a z-test at 5 %, P(best) > 95 %, and mSPRT with a normal mixture of 10 %."""
    from scipy.special import ndtr

    shown, clicks = world.exposure.cumsum(axis=2), world.events.cumsum(axis=2)
    rate = clicks / shown
    pooled = clicks.sum(axis=1) / shown.sum(axis=1)
    error = np.sqrt(pooled * (1 - pooled) * (1 / shown[:, 0] + 1 / shown[:, 1]))
    z = np.divide(rate[:, 1] - rate[:, 0], error, out=np.zeros(error.shape), where=error > 0)
    best = ndtr(z)
    ready = clicks.min(axis=1) > 0
    lift = np.log(np.maximum(rate[:, 1], 1e-9) / np.maximum(rate[:, 0], 1e-9))
    variance = 1 / np.maximum(clicks[:, 0], 1) + 1 / np.maximum(clicks[:, 1], 1)
    tau = 0.1**2
    log_ratio = 0.5 * np.log(variance / (variance + tau)) + 0.5 * lift**2 * tau / (variance * (variance + tau))
    rules = {"naive": np.abs(z) > 1.96, "p_best_95": (best > 0.95) | (best < 0.05), "msprt": log_ratio > np.log(1 / 0.05)}
    return {name: float((ready & says).any(axis=1).mean()) for name, says in rules.items()}


def variances(scenario: str, rng: np.random.Generator, rules: Promotion, accounts: int) -> pl.DataFrame:
    """What accounts know from 20 past experiments at a quarter of the volume."""
    world = simulate(scenario, 0.0, accounts * PAST, rng, PAST_VOLUME)
    return sequential.log_rate_variance(pair_days(world, np.repeat(np.arange(accounts), PAST), "past"), rules)


NOTHING = pl.DataFrame(schema={"account_id": pl.String, "log_rate_variance": pl.Float64, "pair_days": pl.Int64})


def kinds(scenario: str, rng: np.random.Generator, rules: Promotion, accounts: int) -> Iterator[tuple[str, pl.DataFrame]]:
    """The two accounts: one of which nothing is known, and one with a past."""
    yield "new", NOTHING
    yield "known", variances(scenario, rng, rules, accounts)


def run(
    seed: int, experiments: int = 10_000, powered: int = 2_000, accounts: int = ACCOUNTS, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """The benchmark; `experiments` without a better arm in each scenario, `powered` with one."""
    rules, rng = Promotion(), np.random.default_rng(seed)
    of = np.arange(experiments) % accounts
    false: dict[str, float] = {}
    others: dict[str, float] = {}
    for scenario in (*BASELINE, "moving_allocation", "late_starter", "five_arms"):
        began = time.perf_counter()
        world = simulate(scenario, 0.0, experiments, rng)
        if scenario == "iid":
            others = rivals(world)
        for kind, variance in kinds(scenario, rng, rules, accounts):
            found = promote(world, dispersions(world, of, variance, rules), rules)
            false[f"{scenario}/{kind}"] = float(np.isfinite(found.hour).mean())
            say(f"{scenario}/{kind}: {false[f'{scenario}/{kind}']:.4f}, {time.perf_counter() - began:.0f} s")
    power: dict[str, dict[str, float]] = {}
    hours: dict[str, dict[str, float | None]] = {}
    inflation: dict[str, float] = {}
    some = np.arange(powered) % accounts
    for scenario in BASELINE:
        for kind, variance in kinds(scenario, rng, rules, accounts):
            name = f"{scenario}/{kind}"
            power[name], hours[name] = {}, {}
            for percent in (10, 20, 30):
                world = simulate(scenario, percent / 100, powered, rng)
                found = promote(world, dispersions(world, some, variance, rules), rules)
                right = found.arm == 1
                power[name][str(percent)] = float(right.mean())
                hours[name][str(percent)] = float(np.median(found.hour[right])) if right.any() else None
                if name == "iid/known" and percent == 10:
                    true = np.log(1.1)
                    inflation = {
                        "inflation": float(np.nanmean(found.shrunk[right]) / true),
                        "observed_inflation": float(np.nanmean(found.lift[right]) / true),
                    }
            say(f"{name}: {power[name]}, {hours[name]}")
    return {
        "false_winners": false,
        "rivals": others,
        "power": power,
        "median_hours": hours,
        **inflation,
        "experiments": experiments,
    }


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="few experiments, in seconds")
    asked = parser.parse_args()
    sizes = {"experiments": 200, "powered": 50, "accounts": 20} if asked.short else {}
    print(json.dumps(run(asked.seed, **sizes, say=lambda text: print(text, file=sys.stderr))))


if __name__ == "__main__":
    main()
