"""What does sharing traffic by the bandit cost and gain, and does it let the promotion test finish?

    python -m benchmarks.bandit_regret --seed 7 [--short]

Simulated experiments of 8 arms with 4,000 impressions an hour in all, for 28 days. Log CTRs lie around that of 2 % with a standard deviation of 0.2;
clicks are Poisson. What an arm gets in an hour is its share by what was known before the hour.

Scenarios: `stationary`; `switch`: after 14 days the order of the arms is turned round; `drift`: log CTRs walk at random by 0.05 a day; `fatigue`: an arm's
CTR halves with every 252,000 impressions of its own, three weeks of an equal share.

Policies: `top_two` (the product until an experiment is decided) and `discounted` (afterwards), both with the product's discount and floor;
`top_two_daily`: as top_two with shares that change once a day, as budgets do; `thompson`: plain Thompson sampling without discount and floor;
for comparison, `unfloored`: as discounted, without floor, and `forgetful`: with a discount of 0.995 an hour and no floor; `equal`.

- `regret`: by scenario and policy, clicks lost against always showing the arm that is best at that moment, over what an equal split loses.
- `clicks_over_equal`: the clicks of a policy over those of an equal split, less 1; where arms tire, regret says little, since whoever shows the best arm
  wears it out.
- `hours_to_promotion`: 5 arms, 2,500 impressions an hour, one arm 20 % above the others at 2 %, 14 days, looked at every hour: `median` hours until
  the promotion test is passed against every other arm (NULL where fewer than half are), the `promoted` share, and `wrong`, the share in which another
  arm was. The rule besides asks for 72 hours.
- `decisions_per_second`: `one_by_one`, requests that come one at a time, and `batch`, many at once; 8 arms, one process.
- `allocations_per_second`: experiments of 8 arms whose shares are computed.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning_assets.learning import bandit
from learning_assets.learning.sequential.grid import GRID, log_likelihoods, mixture, one_sided
from learning_assets.settings import Bandit, Promotion

Floats = NDArray[np.float64]

CTR, SPREAD, ARMS, PER_ARM = 0.02, 0.2, 8, 500
TESTED, LIFT, TEST_DAYS = 5, 0.2, 14
LEAST = 1e-6
"""Impressions of an hour below which an arm has as good as none; a split with nothing says nothing."""
DRIFT_A_DAY, TIRED_AT = 0.05, 21 * 24 * PER_ARM
RULES, TEST = Bandit(), Promotion()
HOURLY = RULES.discount ** (1 / 24)


@dataclass(frozen=True, slots=True)
class Policy:
    """How traffic is shared: weight of counts per hour of age, smallest share, which rule, and how often shares change."""

    discount: float = HOURLY
    floor: float = RULES.floor
    top_two: bool = False
    equal: bool = False
    every_hours: int = 1


POLICIES = {
    "top_two": Policy(top_two=True),
    "top_two_daily": Policy(top_two=True, every_hours=24),
    "discounted": Policy(),
    "thompson": Policy(discount=1.0, floor=0.0),
    "unfloored": Policy(floor=0.0),
    "forgetful": Policy(discount=0.995, floor=0.0),
    "equal": Policy(equal=True),
}


def shares(policy: Policy, events: Floats, exposure: Floats) -> Floats:
    """Shares by counts, shape (experiments, arms)."""
    if policy.equal:
        return np.full(events.shape, 1 / events.shape[1])
    strength = RULES.prior_events
    best, second = bandit.leading(strength + events, strength / CTR + exposure)
    return bandit.floored(bandit.top_two(best, second) if policy.top_two else best, policy.floor)


TESTED_POLICIES = ("top_two", "top_two_daily", "discounted", "thompson", "equal")

World = Callable[[int, Floats], Floats]
"""True rates in an hour, given the impressions that each arm has had; shape (experiments, arms)."""


def world(name: str, seed: int, experiments: int, hours: int) -> World:
    """A scenario; the same seed gives every policy the same rates."""
    rng = np.random.default_rng(seed)
    log_rate = np.log(CTR) + rng.normal(0, SPREAD, (experiments, ARMS))
    if name == "switch":
        turned = log_rate.mean(axis=1, keepdims=True) * 2 - log_rate
        return lambda hour, _: np.exp(log_rate if hour < hours // 2 else turned)
    if name == "drift":
        walked = rng.normal(0, DRIFT_A_DAY / np.sqrt(24), (hours, experiments, ARMS)).cumsum(axis=0)
        return lambda hour, _: np.exp(log_rate + walked[hour])
    if name == "fatigue":
        return lambda _, shown: np.exp(log_rate) * 0.5 ** (shown / TIRED_AT)
    return lambda _hour, _shown: np.exp(log_rate)


SCENARIOS = ("stationary", "switch", "drift", "fatigue")


def lived(rates: World, policy: Policy, seed: int, experiments: int, hours: int) -> tuple[float, float]:
    """Expected clicks that a policy lost against the best arm of each moment, and those that it got."""
    rng = np.random.default_rng(seed)
    events, exposure, shown = (np.zeros((experiments, ARMS)) for _ in range(3))
    share = shares(policy, events, exposure)
    lost = got = 0.0
    for hour in range(hours):
        if hour % policy.every_hours == 0:
            share = shares(policy, events, exposure)
        rate, impressions = rates(hour, shown), share * ARMS * PER_ARM
        expected = rate * impressions
        lost += float((rate.max(axis=1) * ARMS * PER_ARM - expected.sum(axis=1)).sum())
        got += float(expected.sum())
        events = policy.discount * events + rng.poisson(expected)
        exposure = policy.discount * exposure + impressions
        shown += impressions
    return lost, got


def regrets(seed: int, experiments: int, days: int) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Regret and clicks of each policy over those of an equal split, by scenario."""
    regret: dict[str, dict[str, float]] = {}
    clicks: dict[str, dict[str, float]] = {}
    for number, scenario in enumerate(SCENARIOS):
        rates = world(scenario, seed + number, experiments, days * 24)
        found = {name: lived(rates, policy, seed + 100, experiments, days * 24) for name, policy in POLICIES.items()}
        lost, got = found["equal"]
        regret[scenario] = {name: round(one[0] / lost, 4) for name, one in found.items()}
        clicks[scenario] = {name: round(one[1] / got - 1, 4) for name, one in found.items()}
    return regret, clicks


def promotion(policy: Policy, seed: int, experiments: int, days: int) -> dict[str, Any]:
    """How soon and how often the promotion test is passed while a policy shares the traffic."""
    rng = np.random.default_rng(seed)
    rate = np.full(TESTED, CTR) * np.where(np.arange(TESTED) == 0, 1 + LIFT, 1.0)
    log, prior = np.zeros((experiments, TESTED, TESTED, len(GRID))), one_sided(TEST.prior_sd)
    events, exposure = (np.zeros((experiments, TESTED)) for _ in range(2))
    passed, winner = np.full(experiments, np.nan), np.full(experiments, -1)
    itself, impressions = np.eye(TESTED, dtype=bool)[None], np.empty(events.shape)
    for hour in range(days * 24):
        if hour % policy.every_hours == 0:
            impressions = shares(policy, events, exposure) * TESTED * PER_ARM
        clicks = rng.poisson(rate * impressions).astype(np.float64)
        shown = np.maximum(impressions, LEAST)
        share = shown[:, :, None] / (shown[:, :, None] + shown[:, None, :])
        log += log_likelihoods(clicks[:, :, None], clicks[:, None, :], share)
        worst = np.where(itself, np.inf, mixture(log, prior)).min(axis=-1)
        new = np.isnan(passed) & (worst.max(axis=1) >= np.log(TESTED / TEST.alpha))
        passed[new], winner[new] = hour + 1, worst.argmax(axis=1)[new]
        events, exposure = policy.discount * events + clicks, policy.discount * exposure + impressions
    promoted = float((winner >= 0).mean())
    median = float(np.median(np.nan_to_num(passed, nan=np.inf)))
    return {
        "median": median if np.isfinite(median) else None,
        "promoted": round(promoted, 4),
        "wrong": round(float((winner > 0).mean()), 4),
    }


def speed(decisions: int, allocations: int) -> dict[str, object]:
    """Decisions and allocations per second."""
    alpha = np.linspace(40, 90, ARMS)
    beta = alpha / np.linspace(0.018, 0.022, ARMS)
    began = time.perf_counter()
    for request in range(decisions):
        seeds = np.array([bandit.request_seed(str(request))], dtype=np.uint64)
        bandit.select(alpha, beta, seeds, decided=False, floor=RULES.floor)
    one_by_one = decisions / (time.perf_counter() - began)
    seeds = np.arange(decisions * 50, dtype=np.uint64)
    began = time.perf_counter()
    bandit.select(alpha, beta, seeds, decided=False, floor=RULES.floor)
    batch = len(seeds) / (time.perf_counter() - began)
    many = np.tile(alpha, (allocations, 1))
    began = time.perf_counter()
    bandit.leading(many, np.tile(beta, (allocations, 1)))
    return {
        "decisions_per_second": {"one_by_one": round(one_by_one), "batch": round(batch)},
        "allocations_per_second": round(allocations / (time.perf_counter() - began)),
    }


def run(seed: int, experiments: int = 200, days: int = 28, decisions: int = 20_000) -> dict[str, object]:
    """Run the benchmark; its figures by key."""
    regret, clicks = regrets(seed, experiments, days)
    test_days = min(days, TEST_DAYS)
    hours = {name: promotion(POLICIES[name], seed + 200, experiments, test_days) for name in TESTED_POLICIES}
    return {"regret": regret, "clicks_over_equal": clicks, "hours_to_promotion": hours, **speed(decisions, decisions // 4)}


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated experiments")
    parser.add_argument("--short", action="store_true", help="few experiments of few days")
    asked = parser.parse_args()
    print(json.dumps(run(asked.seed, *((6, 6, 1_000) if asked.short else ()))))


if __name__ == "__main__":
    main()
