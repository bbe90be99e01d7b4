"""What growth rows say about accounts that do not grow, and about accounts that truly do.

What belongs here: simulated account histories with a known truth, and the rates at which growth rows get them wrong. What
does not: any formula of growth itself; every figure comes from `learning_assets.learning.growth.measure`.

    python -m benchmarks.flat_growth --seed 7 [--short]

Accounts earn a ROAS of 2.0 with 20 % noise a day, independent or with autocorrelation 0.5; each figure is the worse of the two.

- `on_track_rate`: share of flat accounts that are called on track for 10x, 14, 30 and 90 days after their baseline; NULL is
not on track. - `doubling_called`: share of accounts that compound to ten times a year which are called improving or
accelerating after 90 days of history, the baseline included. - `median_error_factor`: median over flat accounts of exp
|log(projected / true)| of the 365-day projection from 90 days of history, the fewest that it is shown for, by the compounding
formula and by the damped one.
"""

import argparse
import json
from datetime import date, timedelta

import numpy as np
import polars as pl

from learning_assets.learning import growth
from learning_assets.settings import Growth

NOISE, CORRELATIONS = 0.2, (0.0, 0.5)
TRUE_ROAS, SPEND_MICROS = 2.0, 100_000_000
TENFOLD_A_YEAR = float(np.log(10)) / 365
START = date(2025, 1, 1)


def account_days(
    rng: np.random.Generator, accounts: int, days: int, slope: float = 0.0, correlation: float = 0.0
) -> pl.DataFrame:
    """Histories whose expected ROAS is 2.0 on the first day and grows by `slope` log units a day; one row per account and day."""
    swings = rng.normal(size=(accounts, days))
    for day in range(1, days):
        swings[:, day] = correlation * swings[:, day - 1] + np.sqrt(1 - correlation**2) * swings[:, day]
    roas = TRUE_ROAS * np.exp(slope * np.arange(days) + NOISE * swings - NOISE**2 / 2)
    n = accounts * days
    return pl.DataFrame(
        {
            "account_id": np.repeat(np.arange(accounts), days).astype(str),
            "date": np.tile(np.datetime64(START) + np.arange(days), accounts),
            "impressions": np.full(n, 10_000),
            "link_clicks": np.full(n, 150),
            "spend_micros": np.full(n, SPEND_MICROS),
            "revenue_micros": (roas * SPEND_MICROS).round().astype(np.int64).ravel(),
        }
    )


def grown(rng: np.random.Generator, accounts: int, days: int, slope: float = 0.0, correlation: float = 0.0) -> pl.DataFrame:
    """Growth rows of such accounts on the first day on which all their `days` are mature."""
    settings = Growth()
    as_of = START + timedelta(days=days + settings.mature_days)
    return growth.measure(account_days(rng, accounts, days, slope, correlation), as_of, settings)


def run(seed: int, accounts: int = 5_000) -> dict[str, object]:
    """Run the benchmark with `accounts` accounts of each kind; its figures by key."""
    rng = np.random.default_rng(seed)
    settings = Growth()
    on_track: dict[str, float] = {}
    for age in (14, 30, 90):
        rows = [grown(rng, accounts, settings.baseline_days + age, 0.0, rho) for rho in CORRELATIONS]
        on_track[str(age)] = max(int(flat["on_track_for_10x"].fill_null(value=False).sum()) / accounts for flat in rows)

    called: list[float] = []
    errors: dict[str, list[float]] = {"compound": [], "damped": []}
    for rho in CORRELATIONS:
        rising = grown(rng, accounts, settings.min_days_365, TENFOLD_A_YEAR, rho)
        called.append(int(rising["status"].is_in(["improving", "accelerating"]).sum()) / accounts)
        flat = grown(rng, accounts, settings.min_days_365, 0.0, rho)
        for name, column in (("compound", "projected_365"), ("damped", "damped_365")):
            if flat[column].null_count():
                raise RuntimeError(f"{column} is unknown for {flat[column].null_count()} of {accounts} full histories")
            errors[name].append(float(np.exp(np.median(np.abs(np.log(flat[column].to_numpy() / TRUE_ROAS))))))
    return {
        "on_track_rate": on_track,
        "doubling_called": min(called),
        "median_error_factor": {name: round(max(values), 4) for name, values in errors.items()},
    }


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulated accounts")
    parser.add_argument("--short", action="store_true", help="300 accounts of each kind instead of 5,000")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.seed, accounts=300 if arguments.short else 5_000)))


if __name__ == "__main__":
    main()
