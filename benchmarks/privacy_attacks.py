"""What does somebody who sees every niche figure ever told learn about one owner?

    python -m benchmarks.privacy_attacks --seed 7 [--short]

Worlds are drawn: the lift of a niche (standard deviation 0.15), of each owner around it (0.20), and its estimate (standard error 0.03 to 0.25, by the
owner's volume). Insights and releases are those of the product (`learning.wisdom`), run day by day on all worlds at once. An attacker knows all
figures and intervals of all days, who joined and left when, how much volume each has, the niche's true mean (which the figures are there to teach),
and the insights of one contributor. The attack is the best linear one: fitted by least squares on half of the worlds, judged on the other half.
Insights do not change over time, which makes subtraction exact. The blind guess knows the same but no release.

- `best_attack_vs_blind`: mean absolute error of an attack on an owner's insight over that of the blind guess, the minimum over all attacks and k.
- `attacks`: the same of each attack by k, the number of owners at first; the minimum over whom it aims at and over who lends its data.
  `join`, `leave`, `forget`: figures before and after one joins a day, one leaves (the target, or the
  contributor itself) and then one joins a day, several are forgotten between joins.
  `self_subtraction`: no change at all, and a contributor takes itself out. `dominance`: the target has 70 times the volume of the others.
  `complementary_3`, `complementary_5`: an attribute of so many values that add up to zero; the target stands in groups of different owners; beside
  the niche there is one of three owners.
  `reconstruction`: forty days of joins and leaves at random. `membership`: whether an owner, whose insight the attacker knows, is in the cell at all
  (error of the probability over one half).
- `two_colluders`: as `best_attack_vs_blind`, where two contributors lend their data.
- `mean_unknown`: as `best_attack_vs_blind`, where neither side knows the niche's mean: what wisdom teaches about all counts as told about each.
- `plain_rule`: as `best_attack_vs_blind` and by k, if the mean of all owners was told in steps of 5 % whenever five memberships had changed.
- `published_share`: of the days of cells with at least five owners, those on which it is told; niches that gain 10 % of k and lose 1 % of their
  owners a month, over half a year; attributes of 3, 8 and 12 values, of which an owner has each with probability 0.85. Mean over k; by k, and by
  the share that leaves a month (at k = 10), beside it.
- `utility_rmse_ratio`: root mean squared error of a niche's lift as told over that of saying nothing (zero). By k beside it, and for `plain_rule`.
- `interval_coverage`, `interval_half_width`: share of the intervals that hold the niche's true mean; mean half width in log points, by k.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning import wisdom
from learning_assets.settings import Network

Floats = NDArray[np.float64]
SIZES = (5, 10, 20, 50)
NICHE_SD, OWNER_SD, SE = 0.15, 0.20, (0.03, 0.25)
START, SETTINGS = date(2026, 1, 1), Network()
FIGURES = ("log_ratio", "low", "high")


@dataclass(frozen=True)
class Worlds:
    """Niche means, shape (worlds,), and insights as they leave the owners, shape (worlds, owners)."""

    mean: Floats
    told: Floats
    frame: pl.DataFrame


def name(owner: int) -> str:
    """Owner number so-and-so."""
    return f"o{owner:03}"


def draw(rng: np.random.Generator, worlds: int, errors: Floats) -> Worlds:
    """Worlds with owners of given standard errors; each world is an attribute of one value."""
    mean = rng.normal(0, NICHE_SD, worlds)
    owners = errors.size
    estimate = mean[:, None] + rng.normal(0, 1, (worlds, owners)) * np.sqrt(OWNER_SD**2 + errors**2)
    frame = told(estimate, errors, np.char.mod("w%06d", np.arange(worlds)))
    wide = frame.pivot("owner", index="attribute", values="log_ratio").sort("attribute")
    return Worlds(mean, wide.select(name(owner) for owner in range(owners)).to_numpy(), frame)


def told(estimate: Floats, errors: Floats, attributes: NDArray[np.str_]) -> pl.DataFrame:
    """What leaves owners (one account each, of one niche) of estimates, shape (attributes, owners); NaN is no estimate."""
    names = np.array([name(owner) for owner in range(errors.size)])
    patterns = pl.DataFrame(
        {
            "attribute": np.repeat(attributes, errors.size),
            "account_id": np.tile(names, len(attributes)),
            "log_lift": estimate.ravel(),
            "se": np.tile(errors, len(attributes)),
        }
    ).with_columns(scope=pl.lit("account"), value=pl.lit("v"), metric=pl.lit("ctr"), evidence=pl.lit("observational"))
    accounts = pl.DataFrame({"account_id": names, "owner": names, "niche": ["fitness"] * errors.size})
    return wisdom.lifts(patterns.filter(pl.col("log_lift").is_not_nan()), accounts, SETTINGS)


def volumes(rng: np.random.Generator, owners: int) -> Floats:
    """Standard errors of owners' estimates, shape (owners,): volumes differ by a factor of e."""
    return np.clip(0.12 * np.exp(rng.normal(0, 0.5, owners)), *SE)


def releases(frame: pl.DataFrame, days: Sequence[Sequence[int]], niche: str = "fitness") -> list[pl.DataFrame]:
    """What is told on each day, of the days' owners: by cell of a niche and over all niches, sorted."""
    state, seen = wisdom.State.empty(), list[pl.DataFrame]()
    for number, owners in enumerate(days):
        consenting = pl.Series([name(owner) for owner in owners])
        state = wisdom.advance(state, frame, consenting, START + timedelta(number), SETTINGS)
        seen.append(wisdom.published(state).filter((pl.col("scope") == "all") | (pl.col("niche") == niche)))
    return seen


def features(seen: Sequence[pl.DataFrame], worlds: int, values: int = 1) -> Floats:
    """Everything that was told, shape (worlds, figures); what was told twice stands once."""
    columns = dict[bytes, Floats]()
    for day in seen:
        for _, cells in day.group_by("scope", maintain_order=True):
            if cells["log_ratio"].null_count() == cells.height or cells.height != worlds * values:
                continue
            for figure in FIGURES:
                for value in range(values):
                    told = cells.sort("attribute", "value")[figure].fill_null(0).to_numpy()[value::values]
                    columns[np.ascontiguousarray(told).tobytes()] = told
    return np.column_stack(list(columns.values())) if columns else np.empty((worlds, 0))


def error(target: Floats, known: Floats) -> float:
    """Mean absolute error of the best linear guess, fitted on every other world, on the rest."""
    design = np.column_stack([np.ones(target.size), known])
    weights = np.linalg.lstsq(design[::2], target[::2], rcond=1e-9)[0]
    return float(np.abs(target[1::2] - design[1::2] @ weights).mean())


@dataclass
class Tally:
    """The least ratio so far of each attack."""

    one: float = np.inf
    two: float = np.inf
    unknown: float = np.inf

    def attack(self, world: Worlds, seen: Floats, targets: Sequence[int], helpers: Sequence[Sequence[int]]) -> None:
        """Aim at targets, with the data of nobody, of each helper, or of each pair of them."""
        for target in targets:
            for lent in ([], *helpers):
                if target in lent:
                    continue
                own, x = world.told[:, list(lent)], world.told[:, target]
                blind = np.column_stack([world.mean, own])
                ratio = error(x, np.column_stack([blind, seen])) / error(x, blind)
                if len(lent) < 2:
                    self.one = min(self.one, ratio)
                    self.unknown = min(self.unknown, error(x, np.column_stack([own, seen])) / error(x, own))
                self.two = min(self.two, ratio)


def schedules(rng: np.random.Generator, k: int) -> dict[str, tuple[list[list[int]], list[int], list[list[int]]]]:
    """Attacks by figures over time: owners of every day, targets, and who lends data. The first owner is the one that goes."""
    first = list(range(k))
    fresh = list(range(k, k + 12))
    helpers = [[1], [1, 2], [k], [1, k]]
    join = [first] + [first + fresh[: day + 1] for day in range(11)]
    leave = [first] + [first[1:] + fresh[:day] for day in range(12)]
    forget = [first, first[1:], first[1:] + fresh[:5], first[2:] + fresh[:5], first[2:] + fresh[:6], first[2:] + fresh[:10]]
    forget += [[owner for owner in forget[-1] if owner != k], [owner for owner in forget[-1] if owner != k] + [k + 10, k + 11]]
    there, coming, churn = list(first), k, [list(first)]
    gone = list[int]()
    for _ in range(40):
        if rng.random() < 0.6:
            there.append(coming)
            coming += 1
        if rng.random() < 0.3 and len(there) > 5:
            gone.append(there.pop(int(rng.integers(len(there)))))
        churn.append(list(there))
    stays = next(owner for owner in there if owner > 2)
    return {
        "self_subtraction": ([first], [0], [[1], [1, 2]]),
        "join": (join, [0, k], [*helpers, [k + 1], [k + 1, k + 2]]),
        "leave": (leave, [0, 3], [*helpers, [0], [0, 1]]),
        "forget": (forget, [0, 1, k], [[2], [2, 3], [k + 1], [2, k + 1]]),
        "reconstruction": (churn, [*gone[:3], stays, k], [[1], [2], [k + 1], [1, 2], [k + 1, k + 2]]),
    }


def plain(world: Worlds, days: Sequence[Sequence[int]]) -> Floats:
    """What the plain rule would have told."""
    columns, last = list[Floats](), set[int]()
    for owners in days:
        if len(owners) >= 5 and len(last ^ set(owners)) >= 5:
            last = set(owners)
            columns.append(np.round(world.told[:, list(owners)].mean(axis=1) / 0.05) * 0.05)
    return np.column_stack(columns)


def dominated(rng: np.random.Generator, worlds: int, k: int) -> Tally:
    """One large account among small ones."""
    errors = np.full(k, SE[1])
    errors[0] = SE[0]
    world, tally = draw(rng, worlds, errors), Tally()
    seen = features(releases(world.frame, [list(range(k))]), worlds)
    tally.attack(world, seen, [0, 1], [[2], [2, 3]])
    return tally


def complementary(rng: np.random.Generator, worlds: int, k: int, values: int) -> Tally:
    """An attribute whose values add up to zero, whose groups have nobody but the target in common, beside a niche that is too thin."""
    owners, niche_of_thin = k + 9, "travel"
    errors = volumes(rng, owners)
    mean = rng.normal(0, NICHE_SD, (worlds, values))
    estimate = mean[..., None] + rng.normal(0, 1, (worlds, values, owners)) * np.sqrt(OWNER_SD**2 + errors**2)
    estimate -= estimate.mean(axis=1, keepdims=True)
    mean -= mean.mean(axis=1, keepdims=True)
    names = np.char.mod("w%06d", np.arange(worlds))
    parts = [told(estimate[:, value], errors, names).with_columns(value=pl.lit(f"v{value}")) for value in range(values)]
    number = pl.col("owner").str.slice(1).cast(pl.Int64)
    thin = pl.when(number >= owners - 3).then(pl.lit(niche_of_thin)).otherwise("niche")
    frame = pl.concat(parts).with_columns(niche=thin)
    at_first = (number == 0) | (pl.format("v{}", (number - 1) // 4 % values) == pl.col("value"))
    first, later, others = list(range(k)), list(range(k, owners - 3)), list(range(owners - 3, owners))
    state, columns = wisdom.State.empty(), dict[bytes, Floats]()
    for day, there in enumerate([first, *(first + later[: more + 1] + others for more in range(6))]):
        shown, consenting = frame if day else frame.filter(at_first), pl.Series([name(owner) for owner in there])
        state = wisdom.advance(state, shown, consenting, START + timedelta(day), SETTINGS)
        seen = wisdom.published(state).filter(pl.col("status") == "published")
        for _, cells in seen.group_by("scope", "niche", "value", maintain_order=True):
            by = pl.DataFrame({"attribute": names}).join(cells, on="attribute", how="left")
            columns |= {by[figure].fill_null(0).to_numpy().tobytes(): by[figure].fill_null(0).to_numpy() for figure in FIGURES}
    tally = Tally()
    for value in range(min(values, 3)):
        wide = parts[value].pivot("owner", index="attribute", values="log_ratio").sort("attribute")
        world = Worlds(mean, wide.select(name(owner) for owner in range(owners)).to_numpy(), frame)
        tally.attack(world, np.column_stack(list(columns.values())), [0, 2, owners - 1], [[1], [3], [k], [1, 3]])
    return tally


def membership(rng: np.random.Generator, worlds: int, k: int) -> float:
    """Is the first owner in the cell, or another in its place?"""
    world = draw(rng, worlds, volumes(rng, k + 1))
    inside = (np.arange(worlds) // 2) % 2 == 0
    names = pl.DataFrame({"attribute": np.char.mod("w%06d", np.arange(worlds)), "inside": inside})
    other = pl.when("inside").then(pl.lit(name(k))).otherwise(pl.lit(name(0)))
    frame = world.frame.join(names, on="attribute").filter(pl.col("owner") != other).drop("inside")
    seen = features(releases(frame, [list(range(k + 1))]), worlds)
    x, own = world.told[:, :1] - world.mean[:, None], world.told[:, 1:2] - world.mean[:, None]
    centred = seen - world.mean[:, None]
    known = np.column_stack([x, x**2, own, x * own, centred, centred**2, centred * x, centred * x**2, centred * own])
    return error(inside.astype(float), known) / 0.5


def shares(rng: np.random.Generator, k: int, niches: int, leaving: float = 0.01, days: int = 182) -> float:
    """Of the days of cells with at least five owners, the share that is told, in niches that begin with k owners."""
    counts = {"a": 3, "b": 8, "c": 12}
    owners = [[f"{niche:02}-{owner:03}" for owner in range(3 * k + 40)] for niche in range(niches)]
    rows = [
        (owner, f"{niche:02}", attribute, f"{value:02}", "ctr", float(rng.uniform(-0.3, 0.3)))
        for niche, names in enumerate(owners)
        for owner in names
        for attribute, values in counts.items()
        for value in range(values)
        if rng.random() < 0.85
    ]
    frame = pl.DataFrame(rows, schema=wisdom.INSIGHTS, orient="row")
    cell = ["niche", "attribute", "value"]
    state, told, possible = wisdom.State.empty(), 0, 0
    there, coming = [names[:k] for names in owners], [k] * niches
    for day in range(days):
        for niche, names in enumerate(owners if day else []):
            joins = int(rng.poisson(0.10 / 30.4 * k))
            stay = [owner for owner in there[niche] if rng.random() > leaving / 30.4]
            there[niche] = stay + names[coming[niche] : coming[niche] + joins]
            coming[niche] += joins
        consenting = pl.Series([owner for names in there for owner in names])
        state = wisdom.advance(state, frame, consenting, START + timedelta(day), SETTINGS)
        enough = frame.filter(pl.col("owner").is_in(consenting.implode())).group_by(cell).len().filter(pl.col("len") >= 5)
        cells = wisdom.published(state).filter(pl.col("scope") == "niche", pl.col("status") == "published")
        told += enough.join(cells, on=cell, how="semi").height
        possible += enough.height
    return told / possible


def usefulness(world: Worlds, k: int) -> dict[str, float]:
    """How far what is told is from the niche's true mean."""
    cells = releases(world.frame, [list(range(k))])[0].filter(pl.col("scope") == "niche").sort("attribute")
    value, low, high = (cells[figure].to_numpy() for figure in FIGURES)
    nothing = np.sqrt((world.mean**2).mean())
    simple = plain(world, [list(range(k))])[:, 0]
    return {
        "utility_rmse_ratio": float(np.sqrt(((value - world.mean) ** 2).mean()) / nothing),
        "utility_rmse_ratio_plain_rule": float(np.sqrt(((simple - world.mean) ** 2).mean()) / nothing),
        "interval_coverage": float(((low <= world.mean) & (world.mean <= high)).mean()),
        "interval_half_width": float(50 * (high - low).mean()),
    }


def run(seed: int, worlds: int = 6_000, sizes: Sequence[int] = SIZES, niches: int = 10) -> dict[str, Any]:
    """All figures, from so many worlds an attack."""
    rng = np.random.default_rng(seed)
    attacks, plain_rule = dict[str, dict[str, float]](), dict[str, float]()
    two, unknown = dict[str, float](), dict[str, float]()
    useful, share = dict[str, dict[str, float]](), dict[str, float]()
    for k in sizes:
        all_of_k, simple = Tally(), Tally()
        world = draw(rng, worlds, volumes(rng, k + 45))
        tallies = {"dominance": dominated(rng, worlds, k)}
        tallies |= {f"complementary_{values}": complementary(rng, worlds // 2, k, values) for values in (3, 5)}
        for attack, (days, targets, helpers) in schedules(rng, k).items():
            tallies[attack] = Tally()
            tallies[attack].attack(world, features(releases(world.frame, days), worlds), targets, helpers)
            simple.attack(world, plain(world, days), targets, helpers)
        for attack, tally in tallies.items():
            attacks.setdefault(attack, {})[str(k)] = tally.one
            all_of_k.two, all_of_k.unknown = min(all_of_k.two, tally.two), min(all_of_k.unknown, tally.unknown)
        attacks.setdefault("membership", {})[str(k)] = membership(rng, worlds, k)
        plain_rule[str(k)], two[str(k)], unknown[str(k)] = simple.one, all_of_k.two, all_of_k.unknown
        useful[str(k)] = usefulness(world, k)
        share[str(k)] = shares(rng, k, niches)
    by_k = {figure: {k: found[figure] for k, found in useful.items()} for figure in next(iter(useful.values()))}
    return {
        "best_attack_vs_blind": min(ratio for found in attacks.values() for ratio in found.values()),
        "published_share": float(np.mean(list(share.values()))),
        "utility_rmse_ratio": max(by_k["utility_rmse_ratio"].values()),
        "attacks": attacks,
        "two_colluders": two,
        "mean_unknown": unknown,
        "plain_rule": plain_rule,
        "published_share_by_k": share,
        "published_share_by_leaving": {str(leaving): shares(rng, 10, niches, leaving) for leaving in (0.0, 0.02, 0.05)},
        "utility_rmse_ratio_by_k": by_k["utility_rmse_ratio"],
        "utility_rmse_ratio_plain_rule": by_k["utility_rmse_ratio_plain_rule"],
        "interval_coverage": by_k["interval_coverage"],
        "interval_half_width": by_k["interval_half_width"],
    }


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7, help="seed of the worlds")
    parser.add_argument("--short", action="store_true", help="600 worlds an attack instead of 6,000, k = 5 and 10")
    asked = parser.parse_args()
    print(json.dumps(run(asked.seed, 600, (5, 10), 2) if asked.short else run(asked.seed)))


if __name__ == "__main__":
    main()
