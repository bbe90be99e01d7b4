"""Ad-days as the vote takes them in: checked, coded, and money in equivalent events.

What belongs here: the shape of what comes in and what is refused. What does not: anything that is worked out of it.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from learning_assets.learning.accuracy import SMALLEST_RATE
from learning_assets.learning.targets import Target

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]

MEMBERS = ("own_history", "xgboost", "dna_score")
"""Columns of the members' predictions; rates, NULL where a member says nothing."""
PRIORS = MEMBERS[1:]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Ad-days by day: facts, and those that are asked for, whose amounts are 0.

    `day`: since 1970; `unit`: ad; `account`: index into `accounts`; `prior`: raw rates of XGBoost and the DNA score, shape (n, 2); `said`: where
    they are known.
    """

    day: Codes
    unit: Codes
    account: Codes
    accounts: list[str]
    num: Floats
    den: Floats
    prior: Floats
    said: Mask
    asked: Mask

    def in_events(self, units: Floats, target: Target) -> "Rows":
        """Money in equivalent events; facts of accounts without a unit count nothing."""
        if not target.money:
            return self
        unit = units[self.account]
        num, den = (np.where(np.isnan(unit), 0.0, values / unit) for values in (self.num, self.den))
        return Rows(self.day, self.unit, self.account, self.accounts, num, den, self.prior, self.said, self.asked)


def rows_of(past: pl.DataFrame, ad_days: pl.DataFrame | None, target: Target) -> Rows:
    keys, amounts = ["date", "account_id", "ad_id"], [target.events, target.exposure]
    _refuse_columns("past", past, [*keys, *amounts, *PRIORS], keys)
    facts = past.drop_nulls(amounts).select(
        *keys, *(pl.col(name).cast(pl.Float64) for name in (*amounts, *PRIORS)), asked=False
    )
    twice = facts.filter(pl.struct(keys).is_duplicated()).select(keys)
    if twice.height:
        raise ValueError(f"past: {twice.row(0, named=True)} appears more than once; give one row per ad and day")
    for name in amounts:
        wrong = facts.filter(~(pl.col(name).is_finite() & (pl.col(name) >= 0)))
        if wrong.height:
            raise ValueError(
                f"past: {name} is {wrong[name][0]} in {wrong.select(keys).row(0, named=True)}; it must be 0 or more"
            )
    every = [facts]
    if ad_days is not None:
        _refuse_columns("ad_days", ad_days, [*keys, *MEMBERS], keys)
        every.append(
            ad_days.select(
                *keys,
                *(pl.lit(0.0).alias(name) for name in amounts),
                *(pl.col(name).cast(pl.Float64) for name in PRIORS),
                asked=True,
            )
        )
    for what, frame, names in (("past", past, PRIORS), *((("ad_days", ad_days, MEMBERS),) if ad_days is not None else ())):
        for name in names:
            wrong = frame.filter(~(pl.col(name).cast(pl.Float64).is_finite() & (pl.col(name) >= 0)))
            if wrong.height:
                at = wrong.select(*keys, name).row(0, named=True)
                raise ValueError(f"{what}: {at}; a predicted rate is at least 0, and NULL where nothing is said")
    rows = pl.concat(every)
    units = rows.select("account_id", "ad_id").unique().sort("account_id", "ad_id").with_row_index("unit")
    accounts = units["account_id"].unique().sort()
    coded = rows.join(units, on=["account_id", "ad_id"], how="left", maintain_order="left").join(
        accounts.to_frame().with_row_index("account"), on="account_id", how="left", maintain_order="left"
    )
    prior = coded.select(PRIORS).fill_null(np.nan).to_numpy()
    return Rows(
        day=coded["date"].cast(pl.Date).to_physical().to_numpy().astype(np.int64),
        unit=coded["unit"].to_numpy().astype(np.int64),
        account=coded["account"].to_numpy().astype(np.int64),
        accounts=accounts.to_list(),
        num=coded[target.events].to_numpy(),
        den=coded[target.exposure].to_numpy(),
        prior=np.maximum(prior, SMALLEST_RATE),
        said=~np.isnan(prior),
        asked=coded["asked"].to_numpy(),
    )


def _refuse_columns(what: str, frame: pl.DataFrame, columns: list[str], keys: list[str]) -> None:
    missing = sorted(set(columns) - set(frame.columns))
    if missing:
        raise ValueError(f"{what}: no column {', '.join(map(repr, missing))}; it has {', '.join(frame.columns)}")
    unknown = frame.select(pl.col(keys).is_null().any()).row(0, named=True)
    if any(unknown.values()):
        raise ValueError(f"{what}: NULL in {', '.join(k for k, v in unknown.items() if v)}; every row needs its day and ad")


def date_of(day: int | np.int64) -> date:
    return date.fromordinal(int(day) + date(1970, 1, 1).toordinal())


def floats(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
