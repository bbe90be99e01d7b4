"""Rows of Insights as facts: text to counts and micros, one action type for what a conversion is, and what is unknown as NULL.

What belongs here: the meaning of an Insights row. What does not: asking for it (`reports`), and judging whether a day is complete
(`accounts`).

**0 or NULL.** A count that was asked for and is absent is 0, for the platform leaves zeros out. An action is different: absent may mean
none, or not measured. It is 0 where the account reported that action type at all on the days looked at, and NULL where it never did, for
then nobody knows that it is measured. A row with link clicks and no actions whatever is NULL too: a link click is itself an action, so
the list was withheld. Revenue is of the same action type as the conversions; where there are conversions and no value of their type
it is NULL, never 0. Three-second views are NULL where the row reports none, as for an image.
"""

from dataclasses import dataclass, field
from datetime import date

import polars as pl

from learning_assets.platforms.meta import money
from learning_assets.platforms.meta.errors import Contradiction
from learning_assets.platforms.meta.reports import HOUR, Part
from learning_assets.platforms.source import REACH

_VIEW, _OUTBOUND = "video_view", "outbound_click"
_WINDOWS = ("7d_click", "1d_view")

_WIRE = pl.Schema(
    {
        **dict.fromkeys(("account_id", "ad_id", "date_start", "date_stop", HOUR), pl.String()),
        **dict.fromkeys(("impressions", "reach", "clicks", "inline_link_clicks", "spend"), pl.String()),
    }
)
_ENTRY = pl.Schema({"row": pl.get_index_type(), **dict.fromkeys(("action_type", "value", *_WINDOWS), pl.String())})
_COUNTS = {"impressions": "impressions", "inline_link_clicks": "link_clicks", "clicks": "clicks_all"}

DAILY = pl.Schema(
    {
        "date": pl.Date,
        "ad_id": pl.String,
        **dict.fromkeys(("impressions", "link_clicks", "clicks_all", "outbound_clicks", "conversions"), pl.Int64()),
        **dict.fromkeys(("conversions_7d_click", "conversions_1d_view"), pl.Int64()),
        "conversion_type": pl.String,
        **dict.fromkeys(("spend_micros", "revenue_micros", "video_3s_views", "reach"), pl.Int64()),
    }
)
"""Daily facts of one account, before what its time zone and the clock say of them."""
HOURLY = pl.Schema(
    {
        "date": pl.Date,
        "hour": pl.Int64,
        "ad_id": pl.String,
        **dict.fromkeys(("impressions", "link_clicks", "clicks_all", "spend_micros", "video_3s_views"), pl.Int64()),
    }
)
"""Hourly delivery of one account; `hour` is NULL where the row has no key of its hour."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account's own level: `days` with date, impressions and spend_micros, and which action types it reported at all (`actions`), with
    which windows, and with values (`valued`)."""

    days: pl.DataFrame
    actions: frozenset[str] = frozenset()
    windows: frozenset[str] = frozenset()
    valued: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Reported:
    """What an account reported at all."""

    actions: set[str] = field(default_factory=set[str])
    windows: set[str] = field(default_factory=set[str])
    valued: set[str] = field(default_factory=set[str])

    def add(self, table: "_Table") -> None:
        """Add what a table reports."""
        self.actions |= set(table.actions["action_type"])
        self.valued |= set(table.values["action_type"])
        self.windows |= {name for name in _WINDOWS if table.actions[name].null_count() < table.actions.height}


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows of a part with their `row` and `date`, and by row the entries of its lists: conversions, their values, 3-second views and
    outbound clicks."""

    rows: pl.DataFrame
    actions: pl.DataFrame
    values: pl.DataFrame
    views: pl.DataFrame
    outbound: pl.DataFrame


def account_level(parts: list[Part], account: str, wanted: tuple[str, ...]) -> Account:
    """Read rows of level `account`."""
    tables = [_read(part, account, wanted) for part in parts]
    days = pl.concat([table.rows.select("date", "impressions", "spend") for table in tables])
    if days["date"].is_duplicated().any():
        days = days.unique()
        if days["date"].is_duplicated().any():
            raise Contradiction("the account's own level has two different rows of one day")
    reported = _Reported()
    for table in tables:
        reported.add(table)
    return Account(
        days.select("date", _count(days, "impressions"), _money(days).alias("spend_micros")),
        frozenset(reported.actions),
        frozenset(reported.windows),
        frozenset(reported.valued),
    )


def daily(parts: list[Part], account: str, wanted: tuple[str, ...], own: Account) -> pl.DataFrame:
    """Daily facts with schema DAILY, one row per row of the answer (duplicates stay).

    Parameters
    ----------
    wanted : action types that count as a conversion, preferred first.
    own : the account's own level, which says what it reports at all.

    Raises
    ------
    Contradiction : a row of another account, of several days, or with a number that is none.
    """
    tables = [_read(part, account, wanted) for part in parts]
    reported = _Reported(set(own.actions), set(own.windows), set(own.valued))
    for table in tables:
        reported.add(table)
    outbound = any(table.outbound.height for table in tables)
    found = [_daily(part, table, wanted, reported, outbound=outbound) for part, table in zip(parts, tables, strict=True)]
    return pl.concat([DAILY.to_frame(), *found])


def _daily(part: Part, table: _Table, wanted: tuple[str, ...], reported: _Reported, *, outbound: bool) -> pl.DataFrame:
    asked = set(part.question.names)
    joined = (
        table.rows.lazy()
        .join(_best(table.actions, wanted).rename({"value": "converted"}).lazy(), on="row", how="left", maintain_order="left")
        .join(
            _once(table.values.select("row", "action_type", worth="value"), ["row", "action_type"]).lazy(),
            on=["row", "action_type"],
            how="left",
            maintain_order="left",
        )
        .join(_once(table.views.select("row", views="value"), ["row"]).lazy(), on="row", how="left", maintain_order="left")
        .join(_once(table.outbound.select("row", out="value"), ["row"]).lazy(), on="row", how="left", maintain_order="left")
        .collect()
    )
    counts = joined.with_columns(
        *(_count(joined, name).alias(ours) for name, ours in _COUNTS.items()),
        *(_count(joined, name, absent=None).alias(name) for name in ("reach", "converted", "views", "out", *_WINDOWS)),
        _money(joined).alias("spend_micros"),
        money.micros(joined["worth"].alias("revenue_micros")),
    ).with_columns(
        # Counts that were not asked for are not zero.
        *(pl.lit(None, dtype=pl.Int64).alias(ours) for name, ours in _COUNTS.items() if name not in asked),
    )
    leading = next((name for name in wanted if name in reported.actions), None)
    is_zero = (
        pl.lit("actions" in asked and leading is not None)
        & pl.col("converted").is_null()
        & (pl.col("has_actions") | (pl.col("link_clicks") == 0))
    )

    def else_zero(name: str, *, known: bool) -> pl.Expr:
        none = is_zero | pl.col("converted").is_not_null() if name in _WINDOWS else is_zero
        return pl.when(pl.col(name).is_null() & none & pl.lit(known)).then(0).otherwise(pl.col(name))

    return counts.select(
        "date",
        "ad_id",
        "impressions",
        "link_clicks",
        "clicks_all",
        (pl.col("out").fill_null(0) if outbound and "outbound_clicks" in asked else pl.col("out")).alias("outbound_clicks"),
        else_zero("converted", known=True).alias("conversions"),
        else_zero("7d_click", known="7d_click" in reported.windows).alias("conversions_7d_click"),
        else_zero("1d_view", known="1d_view" in reported.windows).alias("conversions_1d_view"),
        pl.when(is_zero).then(pl.lit(leading, dtype=pl.String)).otherwise("action_type").alias("conversion_type"),
        "spend_micros",
        # Zero conversions earn nothing where the account reports values at all, and nobody knows what where it does not.
        pl.when((is_zero | (pl.col("converted") == 0)) & pl.lit(bool(reported.valued)))
        .then(pl.col("revenue_micros").fill_null(0))
        .otherwise("revenue_micros")
        .alias("revenue_micros"),
        pl.col("views").alias("video_3s_views"),
        "reach",
    ).match_to_schema(DAILY)


def hourly(parts: list[Part], account: str) -> pl.DataFrame:
    """Hourly delivery with schema HOURLY, one row per row of the answer (duplicates stay). Raises Contradiction as `daily` does."""
    found = [HOURLY.to_frame()]
    for part in parts:
        asked = set(part.question.names)
        read = _read(part, account, ())
        views = _once(read.views.select("row", views="value"), ["row"])
        table = read.rows.join(views, on="row", how="left", maintain_order="left")
        hour = table[HOUR].str.extract(r"^(\d{2}):00:00 - \d{2}:59:59$", 1).cast(pl.Int64)
        if (hour.is_null() & table[HOUR].is_not_null()).any() or (hour > 23).any():
            raise Contradiction(
                f"'{table[HOUR].filter(hour.is_null() | (hour > 23)).drop_nulls().first()}' is not an hour of a day"
            )
        counts = table.with_columns(
            hour.alias("hour"),
            *(_count(table, name).alias(ours) for name, ours in _COUNTS.items()),
            _count(table, "views", absent=None).alias("video_3s_views"),
            _money(table).alias("spend_micros"),
        )
        if "clicks" not in asked:
            counts = counts.with_columns(pl.lit(None, dtype=pl.Int64).alias("clicks_all"))
        found.append(counts.select(HOURLY.names()))
    viewed = pl.col("video_3s_views").count().over("ad_id") > 0
    # An ad that was viewed in one hour is a video, and an hour without views is one with none.
    return pl.concat(found).with_columns(pl.when(viewed).then(pl.col("video_3s_views").fill_null(0)).alias("video_3s_views"))


def reach(parts: list[Part], account: str, first: date, last: date) -> pl.DataFrame:
    """People reached by each ad on `first` to `last` together, with schema REACH; `reach` is NULL where the answer does not say.

    Raises Contradiction as `daily` does, and where a row is of other days or an ad has two rows that differ.
    """
    tables = [_wire(part, account) for part in parts]
    found = pl.concat([_WIRE.to_frame(), *tables]).with_columns(
        *(pl.col(name).str.to_date("%Y-%m-%d", strict=False) for name in ("date_start", "date_stop"))
    )
    strange = found.filter(pl.col("date_start").ne_missing(first) | pl.col("date_stop").ne_missing(last))
    if not strange.is_empty():
        begin, end = strange.select("date_start", "date_stop").row(0)
        raise Contradiction(f"a row is of {begin} to {end} where {first} to {last} was asked for")
    rows = found.select(
        date=pl.lit(last),
        days=pl.lit((last - first).days + 1, pl.Int64),
        account_id=pl.lit(account),
        ad_id="ad_id",
        impressions=_count(found, "impressions"),
        reach=_count(found, "reach", absent=None),
    ).unique(maintain_order=True)
    if rows["ad_id"].is_duplicated().any():
        raise Contradiction("an ad came twice with different figures")
    return rows.select(REACH.names()).sort("ad_id")


def _wire(part: Part, account: str) -> pl.DataFrame:
    """The answer's rows as a table of text, in their order."""
    table = pl.from_dicts(part.rows, schema=_WIRE, strict=False) if part.rows else _WIRE.to_frame()
    strange = table.filter(pl.col("account_id").is_not_null() & (pl.col("account_id").str.strip_prefix("act_") != account))
    if not strange.is_empty():
        raise Contradiction(f"the answer has rows of another account, {strange['account_id'][0]}")
    if part.question.level == "ad" and table["ad_id"].null_count():
        raise Contradiction("the answer has rows without the id of their ad")
    return table


def _day_of(table: pl.DataFrame) -> pl.DataFrame:
    """With `date`; Contradiction where a row is not of one day."""
    dates = table["date_start"].str.to_date("%Y-%m-%d", strict=False)
    wrong = dates.is_null() | (table["date_stop"].is_not_null() & (table["date_stop"] != table["date_start"]))
    if wrong.any():
        row = table.filter(wrong).row(0, named=True)
        raise Contradiction(f"a row is of {row['date_start']} to {row['date_stop']} where single days were asked for")
    return table.with_columns(dates.alias("date"))


def _read(part: Part, account: str, wanted: tuple[str, ...]) -> _Table:
    """The rows of a part and their lists, with the conversions that are `wanted`."""
    rows = _day_of(_wire(part, account)).with_row_index("row")
    actions = _entries(part, "actions", {*wanted, _VIEW})
    return _Table(
        rows.with_columns(pl.Series("has_actions", [row.get("actions") is not None for row in part.rows], dtype=pl.Boolean)),
        actions.filter(pl.col("action_type").is_in(wanted)),
        _entries(part, "action_values", set(wanted)),
        actions.filter(pl.col("action_type") == _VIEW),
        _entries(part, "outbound_clicks", {_OUTBOUND}),
    )


def _entries(part: Part, column: str, types: set[str]) -> pl.DataFrame:
    """The entries of a list of actions that have one of `types`: row, action_type, value and the windows.

    Taken from the lists before they become a table: a row has a dozen entries, of which two or three are wanted.
    """
    found = [
        (number, entry["action_type"], entry.get("value"), *(entry.get(window) for window in _WINDOWS))
        for number, row in enumerate(part.rows)
        for entry in row.get(column) or ()
        if entry.get("action_type") in types
    ]
    return pl.DataFrame(found, schema=_ENTRY, orient="row", strict=False).filter(pl.col("value").is_not_null())


def _once(table: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """One entry for each key; Contradiction where two differ."""
    if table.height < 2 or not table.select(pl.struct(key).is_duplicated().any()).item():
        return table
    table = table.unique(maintain_order=True)
    if table.select(pl.struct(key).is_duplicated().any()).item():
        raise Contradiction("a row has one action type twice, with different values")
    return table


def _best(actions: pl.DataFrame, wanted: tuple[str, ...]) -> pl.DataFrame:
    """For each row its first action type in the order of `wanted`."""
    rank = pl.DataFrame({"action_type": list(wanted), "rank": range(len(wanted))})
    ranked = _once(actions, ["row", "action_type"]).join(rank, on="action_type")
    return ranked.sort("row", "rank").unique("row", keep="first", maintain_order=True).drop("rank")


def _count(table: pl.DataFrame, name: str, *, absent: int | None = 0) -> pl.Series:
    """Text as counts; Contradiction where it is none, NULL as `absent`."""
    text = table[name]
    number = text.cast(pl.Int64, strict=False)
    odd = number.is_null() & text.is_not_null()
    if odd.any():
        # "3.0" is a count, "2.5" is none.
        decimal = text.cast(pl.Float64, strict=False)
        whole = decimal.is_finite() & (decimal == decimal.floor())
        if (odd & ~whole.fill_null(value=False)).any():
            raise Contradiction(f"'{text.filter(odd & ~whole.fill_null(value=False)).first()}' is not a whole number ({name})")
        number = number.zip_with(~odd, decimal.cast(pl.Int64, strict=False))
    if (number < 0).any():
        raise Contradiction(f"{name} is negative: {number.filter(number < 0).first()}")
    return number if absent is None else number.fill_null(absent)


def _money(table: pl.DataFrame) -> pl.Series:
    return money.micros(table["spend"]).fill_null(0)
