"""How often is a steady ad called tired, and how surely and soon is one that tires?

    python -m benchmarks.fatigue_truth --seed 7 [--short]

Simulated accounts of 20 ads are judged every day by the production function (`fatigue.judge`), which learns their day noise as it does in the product.
CTR is 1.5 % on average, with a standard deviation of the logarithm of 0.3 between ads; impressions and clicks are Poisson, and an ad-day's rate has
noise of 5 % or 10 % (standard deviation of its logarithm). Everybody sees every ad often, and more often every day, so that the frequency holds
nothing back: what is measured is the test of the CTR. An ad is found, or flagged, on a day on which it is `limited` or `fatigued`.

The ad that tires, one of each account, has a CTR of 1.5 %, which falls by 30 % in 14 days (evenly in the logarithm) and stays there. It is looked for
from the first day of the fall for eight weeks.

- `steady_flagged`: share of weeks (six of each ad) in which a steady ad is flagged on any day, by impressions a day; the worse of the two noises.
- `decay_found`: share of ads that tire, of 2,000 impressions a day and noise of 5 %, that are found.
- `decay_days`: median days from the beginning of the fall to the first day on which it is; an ad that is not found counts as endless.
- `decay_found_500`: the same share at 500 impressions a day.
- `decay_found_by_week`: of those of `decay_found`, the share that is found within so many weeks.
- `steady_flagged_by_noise`, `decay_by_noise`: all of this by noise and impressions a day; days are NULL where fewer than half are found.
- `decay_found_rotating`: as `decay_found`, where each of the account's other ads is replaced by another one on some day.
- `falling_account_flagged`: share of weeks in which steady ads (2,000 impressions a day) are flagged in an account all of whose ads fall like that.
- `falling_account_watched`: share of its weeks with `watch` on any day, because the account explains the fall.
- `halved_fatigued`: share of ads at 2,000 impressions a day whose CTR halves in 14 days that are called `fatigued`.
- `without_reach`: share of ad-days beyond `watch` where reach is not known.
- `judged_per_second`: ads judged a second on one core.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning import fatigue
from learning_assets.settings import Fatigue

CTR, AD_SD, ADS = 0.015, 0.3, 20
START = date(2026, 1, 5)
BEGINS = 20
"""Day on which the judging begins, and on which a fall begins: every baseline lies before it."""
FALL_DAYS, STEADY_WEEKS, FALLING_WEEKS = 14, 6, 8
VOLUMES, NOISES = (500, 2_000, 20_000), (0.05, 0.10)
FLAGGED = ("limited", "fatigued")


class Judged(NamedTuple):
    """States of ads on the judged days, as indices of `fatigue.STATES`, shape (ads, days), and seconds that it took."""

    states: NDArray[np.int64]
    seconds: float

    def any_in(self, states: Sequence[str]) -> float:
        """Share of weeks with one of the states on any day."""
        hit = np.isin(self.states, [fatigue.STATES.index(state) for state in states])
        return float(hit.reshape(len(hit), -1, 7).any(axis=2).mean())


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens: the CTR of the first `falling` ads of an account falls to `falls_to` of what it was, the others are replaced or not, and the
    platform says how many people were reached or not."""

    volume: int = 2_000
    noise: float = NOISES[0]
    falls_to: float = 1.0
    falling: int = 0
    rotating: bool = False
    reach: bool = True
    weeks: int = FALLING_WEEKS


def lived(rng: np.random.Generator, accounts: int, scenario: Scenario) -> Judged:
    """The states of the ads that fall, day by day; of all where none does."""
    days = BEGINS + 7 * scenario.weeks
    shape = (accounts, ADS, days)
    account, ad, day = np.indices(shape)
    replaced = scenario.rotating & (ad > 0) & (day >= rng.integers(0, days, shape[:2])[:, :, None])
    rates = CTR * np.exp(rng.normal(-(AD_SD**2) / 2, AD_SD, (2, accounts, ADS, 1)))
    if scenario.falling == 1:
        rates[:, :, 0] = CTR
    fall = np.clip((np.arange(days) - BEGINS + 1) / FALL_DAYS, 0, 1) * np.log(scenario.falls_to)
    path = np.where(ad < scenario.falling, np.exp(fall), 1.0) * np.where(replaced, rates[1], rates[0])
    shown = rng.poisson(scenario.volume, shape)
    noise = np.exp(rng.normal(-(scenario.noise**2) / 2, scenario.noise, shape))
    clicks = np.minimum(rng.poisson(shown * path * noise), shown)
    names = np.arange(2 * accounts * ADS).astype(str)
    rows = pl.DataFrame(
        {
            "date": (np.datetime64(START) + np.arange(days))[day.ravel()],
            "account_id": names[account.ravel()],
            "ad_id": names[(account * ADS + ad + replaced * accounts * ADS).ravel()],
            "impressions": shown.ravel(),
            "link_clicks": clicks.ravel(),
        },
        schema=fatigue.DAYS,
    )
    frequency = 2.6 + 0.01 * np.arange(days)
    week = np.cumsum(shown, axis=2)
    week[:, :, 7:] -= week[:, :, :-7].copy()
    people = np.rint(week / frequency).astype(np.int64).ravel()
    windows = rows.select("date", *fatigue.KEY, impressions=pl.Series(week.ravel()), reach=pl.Series(people))
    windows = windows.filter(pl.lit(scenario.reach))
    found = np.zeros((2 * accounts * ADS, 7 * scenario.weeks), dtype=np.int64)
    began = perf_counter()
    for number in range(7 * scenario.weeks):
        today = START + timedelta(BEGINS + number)
        past = rows.lazy().filter(pl.col("date") <= today)
        judged = fatigue.judge(past, NO_EDITS, windows.lazy(), today, Fatigue())
        state = judged["state"].replace_strict({state: i for i, state in enumerate(fatigue.STATES)}, return_dtype=pl.Int64)
        found[judged["ad_id"].cast(pl.Int64).to_numpy(), number] = state.to_numpy()
    seconds = perf_counter() - began
    mine = np.tile(np.arange(ADS) < (scenario.falling or ADS), accounts)
    return Judged(found[: accounts * ADS][mine], seconds)


NO_EDITS = fatigue.edits(pl.LazyFrame(schema=fatigue.CATALOG), Fatigue())


def first_day(judged: Judged, states: Sequence[str] = FLAGGED) -> NDArray[np.float64]:
    """Days from the beginning of the fall to the first day with one of the states, 1 for its own; infinite where there is none."""
    hit = np.isin(judged.states, [fatigue.STATES.index(state) for state in states])
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)


def _median(days: NDArray[np.float64]) -> float | None:
    middle = float(np.median(days))
    return middle if np.isfinite(middle) else None


def run(seed: int, accounts: int = 100, falling_accounts: int = 400) -> dict[str, object]:
    """All figures: steady ads from `accounts` accounts, falling ones from one ad of each of `falling_accounts`."""
    rng = np.random.default_rng(seed)
    grid = [(noise, volume) for noise in NOISES for volume in VOLUMES]
    steady = {at: lived(rng, accounts, Scenario(at[1], at[0], weeks=STEADY_WEEKS)) for at in grid}
    flagged = {at: judged.any_in(FLAGGED) for at, judged in steady.items()}
    decay = Scenario(falls_to=0.7, falling=1)
    days = {at: first_day(lived(rng, falling_accounts, replace(decay, noise=at[0], volume=at[1]))) for at in grid}
    found = {at: float(np.isfinite(waited).mean()) for at, waited in days.items()}
    main_one = (NOISES[0], 2_000)
    falling = lived(rng, accounts, replace(decay, falling=ADS, weeks=STEADY_WEEKS))
    halved = lived(rng, falling_accounts, replace(decay, falls_to=0.5))
    rotating = lived(rng, falling_accounts, replace(decay, rotating=True))
    blind = lived(rng, falling_accounts, replace(decay, reach=False))

    def by_noise(of: dict[tuple[float, int], Any]) -> dict[str, dict[str, Any]]:
        return {f"{noise:g}": {str(volume): of[noise, volume] for volume in VOLUMES} for noise in NOISES}

    return {
        "steady_flagged": {str(volume): max(flagged[noise, volume] for noise in NOISES) for volume in VOLUMES},
        "decay_found": found[main_one],
        "decay_days": _median(days[main_one]),
        "decay_found_500": found[NOISES[0], 500],
        "decay_found_by_week": {str(week): float((days[main_one] <= 7 * week).mean()) for week in (2, 3, 4, 6, 8)},
        "steady_flagged_by_noise": by_noise(flagged),
        "decay_by_noise": by_noise({at: {"found": found[at], "days": _median(days[at])} for at in grid}),
        "decay_found_rotating": float(np.isfinite(first_day(rotating)).mean()),
        "falling_account_flagged": falling.any_in(FLAGGED),
        "falling_account_watched": falling.any_in(("watch",)),
        "halved_fatigued": float(np.isfinite(first_day(halved, ("fatigued",))).mean()),
        "without_reach": float(np.isin(blind.states, [fatigue.STATES.index(state) for state in FLAGGED]).mean()),
        "judged_per_second": steady[main_one].states.size / steady[main_one].seconds,
    }


def main() -> int:
    """Read the command line and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--short", action="store_true")
    asked = parser.parse_args()
    figures = run(asked.seed, 3, 3) if asked.short else run(asked.seed)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
