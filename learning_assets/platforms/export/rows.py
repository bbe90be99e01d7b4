"""What one file of exports says, in the same columns whatever kind of file it was.

What belongs here: those columns, and checks that hold for every kind. What does not: how a kind of file is read (`ads_manager`,
`own_schema`), and what several files say together (`book`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from learning_assets.platforms.source import ACTUALS, CATALOG, SourceError

COUNTS = ("impressions", "link_clicks", "clicks_all", "outbound_clicks", "conversions", "video_3s_views")
WINDOWS = ("conversions_7d_click", "conversions_1d_view")
AMOUNTS = ("spend_micros", "revenue_micros")
FACTS = (*COUNTS, *WINDOWS, "conversion_type", *AMOUNTS, "reach")
"""What two files that both have an ad's day must agree on, where both say something."""
NAMES = ("account_name", "campaign_name", "ad_set_name", "ad_name")
ATTRIBUTES = tuple(name for name in CATALOG if name not in ("account_id", "ad_id", "currency"))
FLAGS = ("is_final", "complete", "restated")

ROWS = pl.Schema(
    {
        "row": pl.Int64,
        "date": pl.Date,
        "account_id": pl.String,
        "ad_id": pl.String,
        **dict.fromkeys(NAMES, pl.String),
        **{name: ACTUALS[name] for name in FACTS},
        "currency": pl.String,
        **{name: CATALOG[name] for name in ATTRIBUTES},
        **{name: ACTUALS[name] for name in FLAGS},
    }
)
"""One row per ad and day with delivery. `row`: its first row in the file. `ad_id` is NULL where the file has names only, `account_id` where
it names an account without its id; the others of NAMES say who it is then."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What one file says. `modified` is when the file was made, in the time zone of the accounts.

    `labels`: the file's names of our columns. `spans`: first and last day that the file covers, by account_id or, where it has none, by name.
    `settled`: the conversions' type was chosen by a column of that name, not by what a row's results are. `notes`: what was left out, and why.
    """

    file: str
    modified: datetime
    rows: pl.DataFrame
    labels: Mapping[str, str]
    spans: Mapping[str, tuple[date, date]]
    settled: bool = True
    notes: tuple[str, ...] = ()
    listed: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"date": pl.Date, **CATALOG}))
    """Rows of a file of catalog only; `date` is NULL where the file says it of every day."""

    def check(self) -> None:
        """Raise SourceError for an ad's day with more link clicks than impressions."""
        wrong = self.rows.filter(pl.col("link_clicks") > pl.col("impressions").fill_null(0))
        if wrong.height:
            row = wrong.row(0, named=True)
            clicks, views = (self.labels.get(name, name) for name in ("link_clicks", "impressions"))
            raise SourceError(
                f"{self.file}, row {row['row']}, column '{clicks}': {row['link_clicks']} is above the ad's {row['impressions'] or 0} of "
                f"'{views}' on {row['date']}. Check that the columns were not mixed up, and export the file again."
            )


def delivered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in which anything at all happened; exports also list ads that were not shown."""
    return rows.filter(pl.any_horizontal(pl.col(*COUNTS, *AMOUNTS) > 0))
