"""Every threshold and address of the product, once, typed, read from the environment.

What belongs here: a number, name or address that somebody may want to change, with its unit and its default.
What does not: anything that is computed, opened or fetched (this module does no I/O).

A top-level setting `x` is read from `LEARNING_X`; a setting `x` of the group `g` from `LEARNING_G_X`
(`LEARNING_PATTERNS_WINDOW_DAYS=60`).
"""

from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SourceKind = Literal["sandbox", "archive", "ads"]
SourceName = Literal["sandbox", "archive"]
"""Sources that can be set; `ads` is the kind of every source of real accounts."""

Probability = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Group(BaseModel):
    """A group of settings; unknown names are refused so that a typo does not pass silently."""

    model_config = {"extra": "forbid", "frozen": True}


class Archive(_Group):
    """A table of finished experiments, learned from as history (`LEARNING_SOURCE=archive`)."""

    path: Path | None = Field(default=None, description="Parquet or CSV file, one row per arm of an experiment")
    columns: Annotated[dict[str, str], NoDecode] = Field(
        default={},
        description="Which column of the file holds what, as `ours=theirs` pairs with commas. Ours: experiment, time, headline, "
        "body, description, image, impressions, clicks. A name that is not mapped stands for itself",
    )
    time_format: Literal["iso_week", "date"] = Field(
        default="iso_week", description="`iso_week`: YYYYWW, dated on its Sunday; `date`: ISO 8601 days"
    )
    account: str = Field(default="archive", description="Account id that the archive's arms get")

    @field_validator("columns", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs: dict[str, str] = {}
        for item in filter(None, (part.strip() for part in value.split(","))):
            ours, sign, theirs = item.partition("=")
            if not sign or not ours.strip() or not theirs.strip():
                raise ValueError(f"LEARNING_ARCHIVE_COLUMNS: {item!r} is not of the form ours=theirs")
            pairs[ours.strip()] = theirs.strip()
        return pairs


class Sandbox(_Group):
    """The simulated market (`LEARNING_SOURCE=sandbox`, the default). Its numbers are simulated everywhere they appear."""

    seed: int = Field(default=7, ge=0, description="Seed of the market; the same seed gives the same market")
    accounts: Count = Field(default=20, description="Accounts in the market")
    ads: Count = Field(default=30, description="Live ads an account at the epoch")
    impressions: Count = Field(default=1_000, description="Expected impressions a live ad and day")
    history_days: Count = Field(default=90, description="Days of history before the market's first use")


class Lake(_Group):
    """Facts on disk."""

    compression: Literal["zstd", "lz4", "snappy", "uncompressed"] = Field(default="zstd", description="Parquet compression")


class Hooks(_Group):
    """Hook types said by rules on word boundaries."""

    min_confidence: Probability = Field(default=0.5, description="A hook type is said at or above this confidence, 0 to 1")


class Patterns(_Group):
    """Which creative choices lift CTR, CVR and ROAS."""

    window_days: Count = Field(
        default=91, description="Days of facts behind an estimate; whole weeks, the current one included"
    )
    archive_window_days: Count = Field(default=728, description="The same for an archive, which is read as history")
    q_active: Probability = Field(
        default=0.10, description="Largest q-value (Benjamini-Hochberg) at which a pattern becomes active"
    )
    q_deprecated: Probability = Field(default=0.30, description="q-value above which a day counts towards deprecation")
    deprecate_days: Count = Field(
        default=7, description="Successive days (steps) above `q_deprecated` until a pattern is deprecated"
    )
    min_ads: Count = Field(default=5, description="Ads on each side, with and without the attribute value, to become active")
    min_strata: Count = Field(default=2, description="Strata (account x week, or experiments) to become active")
    min_accounts: Count = Field(
        default=10, description="Accounts behind an active pattern over several accounts; fewer is `suggestive`"
    )
    min_owners: Count = Field(default=5, description="Consenting owners behind anything fitted over several owners")
    confidence_level: Level = Field(default=0.95, description="Level of the intervals")


class Models(_Group):
    """Retraining, champions and predictions."""

    window_days: Count = Field(default=90, description="Days of facts that a model is trained on")
    archive_window_days: Count = Field(default=728, description="The same for an archive, which is read as history")
    holdout_days: Count = Field(
        default=7, description="Newest days that champion and challenger are compared on; neither saw them"
    )
    archive_holdout_days: Count = Field(default=28, description="The same for an archive: four of its weeks")
    min_ads: Count = Field(default=50, description="Ads with `min_impressions` each, below which nothing is trained")
    min_impressions: Count = Field(default=100, description="Impressions of an ad to count towards `min_ads`")
    max_age_days: Count = Field(default=7, description="Age trigger: days since the champion's last training day")
    archive_max_age_days: Count = Field(default=28, description="Age trigger in an archive")
    max_wape: Probability = Field(
        default=0.20, description="Accuracy trigger: weighted absolute percentage error above this ..."
    )
    noise_floor_factor: Positive = Field(default=1.25, description="... and above this many times the noise floor")
    gate_confidence: Level = Field(default=0.975, description="One-sided level of the bound by which a challenger must win")
    max_calibration_loss: Positive = Field(default=0.02, description="How much worse the challenger's calibration ratio may be")
    history_decay: Probability = Field(default=0.95, description="Weight of an ad's own history per day of age")
    trees: Count = Field(default=200, description="Boosting rounds of XGBoost")
    max_depth: Count = Field(default=4, description="Depth of its trees")
    learning_rate: Positive = Field(default=0.05, description="Step size of its rounds")
    min_child_clicks: Positive = Field(default=200.0, description="Expected clicks below which no leaf is made")
    l2: Positive = Field(default=200.0, description="Ridge penalty of a leaf, in expected clicks that speak for no change")
    max_rows: Count = Field(default=500_000, description="Ad-days to train on, at most about; days are left out evenly beyond")
    max_levels: Count = Field(
        default=64, description="Levels of a categorical feature, the most frequent ones; others are missing"
    )
    threads: Count = Field(default=1, description="Threads of XGBoost; one is deterministic everywhere")
    seed: int = Field(default=7, description="Seed of everything random in training")


class Accuracy(_Group):
    """One definition of accuracy."""

    window_days: Count = Field(default=7, description="Days of predictions and actuals that are compared, ending on the day")
    archive_window_days: Count = Field(default=28, description="The same for an archive")
    min_impressions: Count = Field(default=100, description="Impressions of an ad-day to be compared")
    skill_confidence: Level = Field(default=0.995, description="One-sided level of each bound of skill")
    bins: Count = Field(default=20, description="Equal-impression bins of the calibration error")


class Growth(_Group):
    """Did the accounts get better."""

    baseline_days: Count = Field(default=14, description="First mature days, whose mean is the baseline")
    current_days: Count = Field(default=14, description="Last mature days, whose mean is the present state")
    mature_days: Annotated[int, Field(ge=0)] = Field(default=7, description="Age in days above which actuals are mature")
    min_days_30: Count = Field(default=14, description="Days after the baseline before a 30-day projection is shown")
    min_days_90: Count = Field(default=30, description="Days after the baseline before a 90-day projection is shown")
    min_days_365: Count = Field(default=90, description="Days of history before a 365-day projection is shown")
    min_days_on_track: Count = Field(default=30, description="Days after the baseline before `on_track_for_10x` is said")
    trend_days: Count = Field(default=91, description="Last mature days that the trend is fitted to: thirteen weeks")
    level_days: Count = Field(default=7, description="Last mature days whose level a projection starts from")
    confidence_level: Level = Field(default=0.95, description="Level of the intervals")
    slope_sd: Positive = Field(default=0.001, description="Prior standard deviation of the daily log slope")
    damping: Probability = Field(default=0.98, description="Share of the slope that is left after each projected day")


class Checks(_Group):
    """Validation of what was fetched."""

    spend_tolerance: Probability = Field(default=0.005, description="Ads' spend may differ from the account's by this share")
    sample_ratio_p: Probability = Field(default=0.001, description="Sample-ratio mismatch below this p-value")


class Automation(_Group):
    """Schedules, sensors and alerts."""

    cycle_days: Count = Field(default=28, description="Days that one scheduled cycle catches up with, at most")
    restate_days: Count = Field(default=28, description="Days back in which the platform restates its figures")
    slack_token: SecretStr | None = Field(default=None, description="Slack bot token; alerts go to the log without one")
    slack_channel: str = Field(default="#learning-assets", description="Slack channel of the alerts")


class Settings(BaseSettings):
    """All settings; `Settings()` reads the environment."""

    model_config = SettingsConfigDict(
        env_prefix="LEARNING_", env_nested_delimiter="_", env_nested_max_split=1, frozen=True, extra="ignore"
    )

    home: Path = Field(default=Path(".learning"), description="Folder of the lake, artifacts, logs and the embedded Postgres")
    source: SourceName = Field(default="sandbox", description="Where actuals come from")
    database_url: SecretStr | None = Field(
        default=None,
        description="The user's own Postgres, `postgresql://user:password@host:port/database`; embedded when not set",
    )
    dagster_database: str = Field(
        default="dagster", description="Database on the same server that Dagster's own storage is kept in"
    )
    postgres_dir: Path | None = Field(
        default=None,
        description="Data folder of the embedded Postgres; by default in `home`, or the system's state folder for root",
    )
    now: datetime | None = Field(default=None, description="The clock, ISO 8601 with offset, so that a day can be lived again")
    timezone: str = Field(default="UTC", description="Time zone of the schedules (IANA name)")
    start_day: date | None = Field(
        default=None, description="First partition; by default `start_days` before the store was created"
    )
    start_days: Count = Field(default=400, description="Days before the store's creation that partitions begin")

    archive: Archive = Archive()
    sandbox: Sandbox = Sandbox()
    lake: Lake = Lake()
    hooks: Hooks = Hooks()
    patterns: Patterns = Patterns()
    models: Models = Models()
    accuracy: Accuracy = Accuracy()
    growth: Growth = Growth()
    checks: Checks = Checks()
    automation: Automation = Automation()

    @field_validator("now")
    @classmethod
    def _has_offset(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("LEARNING_NOW needs an offset, such as 2026-03-01T09:00:00+00:00")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except Exception as error:
            raise ValueError(f"LEARNING_TIMEZONE: {value!r} is not an IANA time zone, such as Europe/Berlin") from error
        return value

    @cached_property
    def source_kind(self) -> SourceKind:
        """The kind of source a store belongs to."""
        return self.source

    @property
    def clock(self) -> datetime | None:
        """`LEARNING_NOW` in UTC, or None where the wall clock rules."""
        return self.now.astimezone(UTC) if self.now else None
