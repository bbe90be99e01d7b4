"""What patterns and formulas know of an ad: the attributes of its creative, with numbers as bins, and its audience."""

from datetime import date

import polars as pl

from learning_assets.learning import bins, dna, footage
from learning_assets.store.store import Store
from learning_assets.store.walls import PIPELINE

_READ = (*dna.ATTRIBUTES, *footage.ATTRIBUTES)
OF_CREATIVE = (*_READ, *bins.BINNED)
ATTRIBUTES = (*OF_CREATIVE, "audience")
"""Every attribute that is mined; `audience` is the ad set's."""

_KEY = ["account_id", "creative_id"]


def bins_of(store: Store, until: date) -> pl.DataFrame:
    """The edges in force at the end of a day (columns `bins.BINS`); none before patterns were learned."""
    return store.tables.read("attribute_bins", PIPELINE, until=until, latest=True).select(bins.BINS.names())


def measured(store: Store, ads: pl.DataFrame | None = None) -> pl.DataFrame:
    """The creatives of some ads (`account_id`, `creative_id`), else all, with their pool, their attributes, and the numbers that are binned."""
    numbers = [binned.column for binned in bins.BINNED.values()]
    pools = store.pool_of_accounts().select("account_id", "pool")
    found = store.creatives([*_KEY, *_READ, *numbers])
    return (found if ads is None else found.join(ads, on=_KEY, how="semi")).join(pools, on="account_id", how="left")


def described(creatives: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """`account_id`, `creative_id` and the attributes of creatives that were `measured`; what is not known is NULL."""
    return bins.named(creatives, edges).select(*_KEY, *OF_CREATIVE)


def with_attributes(sums: pl.DataFrame, creatives: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Sums of ads with the attributes of their creatives, which were `measured`; names as categories, which are compared as numbers."""
    known = described(creatives, edges).with_columns(pl.col(OF_CREATIVE).exclude(pl.List).cast(pl.Categorical))
    return sums.with_columns(pl.col("audience").cast(pl.Categorical)).join(known, on=_KEY, how="left")
