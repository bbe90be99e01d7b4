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

from pydantic import AliasChoices, BaseModel, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SourceKind = Literal["sandbox", "archive", "ads"]
SourceName = Literal["sandbox", "archive", "meta", "export", "warehouse"]
"""Sources that can be set; `ads` is the kind of every source of real accounts."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Names of this machine, to which plain http may go."""

Probability = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _pairs(setting: str, value: object) -> object:
    """`a=b,c=d` as a dict; anything but text is left to the type's own validation."""
    if not isinstance(value, str):
        return value
    pairs: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in value.split(","))):
        left, sign, right = item.partition("=")
        if not sign or not left.strip() or not right.strip():
            raise ValueError(f"{setting}: {item!r} is not of the form name=value")
        pairs[left.strip()] = right.strip()
    return pairs


def _no_plain_http(address: str, sent: str) -> None:
    """Refuse plain http to another machine."""
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError(f"plain http to {parts.hostname} would send {sent} unencrypted; use https")


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
    controlled_delivery: bool = Field(
        default=True,
        description="Whether the site that ran the experiments drew who saw which arm; false where an ad platform delivered them",
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _read_columns(cls, value: object) -> object:
        return _pairs("LEARNING_ARCHIVE_COLUMNS", value)


class Sandbox(_Group):
    """The simulated market (`LEARNING_SOURCE=sandbox`, the default). Its numbers are simulated everywhere they appear."""

    seed: int = Field(default=7, ge=0, description="Seed of the market; the same seed gives the same market")
    accounts: Count = Field(default=20, description="Accounts in the market")
    ads: Count = Field(default=30, description="Live ads an account at the epoch")
    impressions: Count = Field(default=1_000, description="Expected impressions a live ad and day")
    history_days: Count = Field(default=90, description="Days of history before the market's first use")


class Meta(_Group):
    """The Meta Marketing API (`LEARNING_SOURCE=meta`), and any Graph server that keeps to it."""

    access_token: SecretStr | None = Field(default=None, description="Token of a system user with ads_read on the accounts")
    app_secret: SecretStr | None = Field(
        default=None, description="Secret of the token's app; requests are then signed with it"
    )
    accounts: str = Field(
        default="all", description="Ids of ad accounts with commas, with or without act_, or `all` that the token can read"
    )
    graph_url: str = Field(default="https://graph.facebook.com", description="Graph server; plain http on loopback only")
    api_version: str = Field(
        default="v26.0", pattern=r"^v\d+\.\d+$", description="Version of the Marketing API that is asked for"
    )
    conversions: Annotated[dict[str, str], NoDecode] = Field(
        default={},
        description="What counts as a conversion, as `account=goal` pairs with commas: `purchase` (the default), `lead`, or one action "
        "type of the platform's, such as offsite_conversion.custom.123; the account `*` is every other one",
    )
    concurrency: Count = Field(default=8, description="Requests under way at a time, over all accounts")
    page_size: Annotated[int, Field(ge=1, le=1_000)] = Field(default=500, description="Rows a page that are asked for")
    connect_seconds: Positive = Field(default=5, description="Seconds to wait for a connection")
    read_seconds: Positive = Field(default=60, description="Seconds to wait for an answer")
    attempts: Count = Field(
        default=5, description="Attempts at one read, the first included, where the platform fails transiently"
    )
    backoff_seconds: Annotated[float, Field(ge=0)] = Field(
        default=1, description="Longest first pause between attempts, doubled for each next one; the pause is random below it"
    )
    wait_minutes: Annotated[float, Field(ge=0)] = Field(
        default=20, description="Minutes of one fetch that an account may wait for its rate limits"
    )
    throttle_pct: Positive = Field(default=85, description="Utilisation of a rate limit, per cent, above which requests pause")
    throttle_pause_seconds: Annotated[float, Field(ge=0)] = Field(default=120, description="Seconds of that pause")
    report_minutes: Positive = Field(default=30, description="Minutes until an asynchronous report counts as failed")
    poll_seconds: Positive = Field(default=2, description="First pause between looks at a report, doubled up to 30 s")
    report_days: Count = Field(default=31, description="Days of one report of daily facts")
    sync_days: Annotated[int, Field(ge=0)] = Field(
        default=1, description="Daily facts of at most so many days are asked for without an asynchronous report"
    )
    hourly_days: Annotated[int, Field(ge=0)] = Field(
        default=28, description="Days back in which delivery by hour is fetched; 0 for none"
    )
    reach_days: Annotated[int, Field(ge=0)] = Field(
        default=60, description="Days back in which the people that ads reached in a week are fetched; 0 for none"
    )
    aside_hours: Positive = Field(
        default=3, description="Hours in which what a killed run had fetched is used again instead of being fetched anew"
    )

    @field_validator("conversions", mode="before")
    @classmethod
    def _read_conversions(cls, value: object) -> object:
        return _pairs("LEARNING_META_CONVERSIONS", value)

    @field_validator("graph_url")
    @classmethod
    def _safe(cls, value: str) -> str:
        from urllib.parse import urlsplit

        parts = urlsplit(value)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.path.strip("/")
            or parts.query
            or parts.username
        ):
            raise ValueError("must be an address without a path, such as https://graph.facebook.com")
        _no_plain_http(value, "the token")
        return value.rstrip("/")


class Export(_Group):
    """A folder of exports (`LEARNING_SOURCE=export`): CSV from Ads Manager, or Parquet in our own schema."""

    path: Path | None = Field(default=None, description="Folder of the files, or one file")
    account: str | None = Field(default=None, description="Account id of rows whose file names none")
    currency: str | None = Field(default=None, description="Currency (ISO 4217) where no column's header has it")
    timezone: str = Field(default="UTC", description="Time zone of the accounts, which an export does not say")
    decimal: Literal[".", ","] = Field(default=".", description="Decimal sign of the numbers; the other one parts thousands")


class Warehouse(_Group):
    """Tables in the widely used connector schema (`LEARNING_SOURCE=warehouse`)."""

    url: SecretStr | None = Field(default=None, description="SQLAlchemy address of the warehouse, read only")
    db_schema: str = Field(default="facebook_ads", description="Schema of the connector's tables")
    prefix: str = Field(default="", description="What stands before each table's name, such as facebook_ads_")
    conversions: str = Field(default="purchase", description="What counts as a conversion: purchase, lead, or one action type")


class Lake(_Group):
    """Facts on disk."""

    compression: Literal["zstd", "lz4", "snappy", "uncompressed"] = Field(default="zstd", description="Parquet compression")


class Hooks(_Group):
    """Hook types said by rules on word boundaries."""

    min_confidence: Probability = Field(default=0.5, description="A hook type is said at or above this confidence, 0 to 1")


class Niches(_Group):
    """What accounts are about, by the texts of their creatives."""

    min_confidence: Probability = Field(default=0.35, description="A text is of a niche at or above this confidence, 0 to 1")
    min_share: Probability = Field(
        default=0.25, description="Share of an account's texts that must be sure of something; below it the account is unknown"
    )
    second_share: Probability = Field(
        default=0.25, description="Share of the pooled probability from which a second niche makes an account mixed"
    )
    llm_min_confidence: Probability = Field(
        default=0.5, description="A niche is said by Claude at or above this confidence, 0 to 1"
    )
    max_creatives: Count = Field(
        default=500, description="Creatives of an account that are read for its niche, the newest ones"
    )


class Media(_Group):
    """What can be seen and heard in the files of creatives (needs the extra `media`)."""

    max_mb: Positive = Field(default=200, description="Size of a file, megabytes, above which it is not read")
    max_minutes: Positive = Field(default=10, description="Length of a clip, minutes, above which it is not read")
    max_pixels: Count = Field(default=8_192, description="Pixels a side above which a picture or clip is not read")
    fetch_seconds: Positive = Field(default=60, description="Seconds in which a file must have come")
    seconds: Positive = Field(default=120, description="Seconds that decoding and measuring one file may take")
    memory_mb: Count = Field(default=2_048, description="Address space of a process that decodes, megabytes")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(default=2, description="Processes that decode at a time")
    files_per_day: Annotated[int, Field(ge=0)] = Field(
        default=200,
        description="Files that a day's cycle reads, newest creatives first; the others wait for the next day's; 0 for none",
    )
    simulated_files_per_day: Annotated[int, Field(ge=0)] = Field(
        default=6, description="The same for the simulated platform, which has to make its files first"
    )
    attempts: Count = Field(default=3, description="Days on which a file is tried that could not be fetched, or passed a limit")


class Llm(_Group):
    """Hook types and niches said by Claude, of accounts that allowed it (needs the extra `llm` and a key)."""

    api_key: SecretStr | None = Field(
        default=None,
        description="Key of the Messages API; without one ANTHROPIC_API_KEY is taken, and nothing is asked without either",
    )
    base_url: str = Field(
        default="https://api.anthropic.com", description="Address of the Messages API, or of a proxy before it"
    )
    model: str = Field(default="claude-haiku-5-5", description="Model that is asked")
    input_usd: Positive = Field(default=0.10, description="Price of the model's input, US dollars per million tokens")
    output_usd: Positive = Field(default=0.50, description="Price of its output, US dollars per million tokens")
    max_usd_per_day: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="US dollars of one day (UTC) over all accounts, above which nothing is asked"
    )
    max_usd_per_run: Annotated[float, Field(ge=0)] = Field(default=0.25, description="The same for one run")
    max_ads_per_request: Annotated[int, Field(ge=1, le=100)] = Field(
        default=20, description="Ads whose texts go into one request"
    )
    max_text_chars: Count = Field(default=2_000, description="Characters of an ad's text that are sent, its first ones")
    max_output_tokens: Count = Field(
        default=8_192, description="Tokens of one answer, at most; budgets reckon with all of them"
    )
    timeout_seconds: Positive = Field(default=60, description="Seconds in which a whole answer must have come")
    attempts: Count = Field(default=3, description="Attempts at one request, the first included")
    wait_seconds: Annotated[float, Field(ge=0)] = Field(
        default=20,
        description="Longest pause between attempts; a service that asks for a longer one is not asked again in the run",
    )
    run_seconds: Positive = Field(default=300, description="Seconds of one run that are spent on asking")

    @field_validator("base_url")
    @classmethod
    def _safe(cls, value: str) -> str:
        from urllib.parse import urlsplit

        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError("must be an address, such as https://api.anthropic.com")
        _no_plain_http(value, "key and ad text")
        return value.rstrip("/")


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
    pairs: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("hook_types", "cta", "template", "offer", "audience"),
        description="Attributes, with commas, of which every two are also looked at together",
    )
    min_creatives: Count = Field(
        default=50, description="Creatives of a family of accounts from which it has bins of its own for lengths and durations"
    )
    bins_days: Count = Field(default=28, description="Days that bins are kept for at least")

    @field_validator("pairs", mode="before")
    @classmethod
    def _read_pairs(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


class Graph(_Group):
    """The knowledge graph."""

    half_life_days: Positive = Field(
        default=28, description="Days without confirmation after which half of what was known about a direction is left"
    )
    insight_patterns: Count = Field(default=3, description="Patterns that an insight rests on, at most")
    pictured_nodes: Annotated[int, Field(ge=2)] = Field(default=14, description="Nodes in the picture of the graph, at most")


class Memory(_Group):
    """The memory of proven winners, and the search in it."""

    enter_ctr: Positive = Field(
        default=0.03, description="A creative enters when the lower end of the interval of its CTR reaches this fraction"
    )
    leave_ctr: Positive = Field(default=0.025, description="A member by its CTR leaves when that lower end falls below this")
    enter_cvr: Positive = Field(default=0.05, description="The same of its CVR, conversions per link click")
    leave_cvr: Positive = Field(default=0.04, description="The same of its CVR")
    enter_roas: Positive = Field(default=3.0, description="The same of its ROAS, revenue per spend")
    leave_roas: Positive = Field(default=2.5, description="The same of its ROAS")
    confidence_level: Level = Field(default=0.95, description="Level of the intervals, between their two ends")
    first_look_impressions: Count = Field(
        default=500, description="Impressions of a creative at its first look; the next one is when they have doubled"
    )
    min_conversions: Count = Field(default=30, description="Conversions of a creative from which on CVR and ROAS are known")
    day_noise: Probability = Field(
        default=0.10, description="Standard deviation of a day's log rate that is assumed before an account's days tell"
    )
    day_noise_days: Positive = Field(default=6.0, description="Days of one creative that this assumption counts as")
    max_prior_events: Positive = Field(
        default=400.0, description="Clicks (or conversions) that the account's other creatives count as, at most"
    )
    recent_days: Count = Field(
        default=28,
        description="Newest days that are added up anew on every day, since the platform restates them; day noise is learned from them",
    )
    mature_days: Annotated[int, Field(ge=0)] = Field(
        default=7, description="Age in days above which a day's conversions count for CVR and ROAS"
    )
    min_similarity: Annotated[float, Field(ge=-1, le=1)] = Field(
        default=0.5, description="Cosine similarity from which on a winner resembles an idea"
    )
    results: Count = Field(default=10, description="Winners that a search shows, at most")
    hnsw_ef_search: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=200, description="Candidates that the vector index keeps during a search; more find more and take longer"
    )
    hnsw_max_scan: Count = Field(
        default=100_000, description="Entries that the vector index visits at most while it looks for those of one owner"
    )


class Formula(_Group):
    """Winners against losers, the score of a new creative, and what to change in it."""

    window_days: Count = Field(
        default=90, description="Days of facts that winners are told from; whole weeks, the current one too"
    )
    archive_window_days: Count = Field(default=728, description="The same for an archive, which is read as history")
    mature_days: Annotated[int, Field(ge=0)] = Field(
        default=7, description="Age in days above which a week's conversions count for ROAS"
    )
    min_roas: Positive = Field(default=3.0, description="A winner has at least this revenue per spend")
    min_impressions: Count = Field(default=1_000, description="Impressions in the window below which an ad is not judged")
    bound_level: Level = Field(default=0.95, description="One-sided level of the bounds by which winners and losers are told")
    min_winners: Count = Field(default=10, description="Winners, and losers, below which there is no formula")
    min_ads: Annotated[int, Field(ge=2)] = Field(
        default=3, description="Ads that have an attribute value, below which nothing is said of it"
    )
    prior_ads: Positive = Field(
        default=5.0, description="Weight of the prior (all ads of the scope) in the log-odds, ads on each side"
    )
    q_level: Probability = Field(
        default=0.10, description="Largest q-value (Benjamini-Hochberg) on which a suggestion may rest"
    )
    confidence_level: Level = Field(default=0.95, description="Level of the intervals")
    min_scored: Count = Field(
        default=30, description="Earlier ads that a score is learned from, and later ads that it is checked on, at least"
    )
    blocks: Count = Field(default=3, description="Blocks of later ads, each scored by what was known before it")
    suggestions: Count = Field(default=5, description="Suggestions for a creative, at most")


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
    max_mae: Probability = Field(
        default=0.02,
        description="MAE trigger: mean absolute error of the rate above this, and above that many times its noise floor",
    )
    max_calibration: Annotated[float, Field(gt=1)] = Field(
        default=1.10, description="Calibration trigger: clicks over expected clicks, or the reverse, above this ratio ..."
    )
    standard_errors: Positive = Field(
        default=3.0, description="... and this many standard errors off, which the MAE and accuracy triggers allow for as well"
    )
    looks: Count = Field(
        default=7, description="Evaluations, a week's, among which the chance of a false alarm at `standard_errors` is shared"
    )
    drift_hours: Positive = Field(
        default=20_000, description="Drift trigger: mean time to a false alarm in the hourly stream of clicks, hours, at least"
    )
    drift_profile_days: Count = Field(
        default=28, description="Past days from which the profile of an account's day and the swings of its totals are learned"
    )
    drift_min_days: Count = Field(
        default=14, description="Past days of hours with predictions that an account needs before its hours are judged"
    )
    gate_confidence: Level = Field(default=0.975, description="One-sided level of the bound by which a challenger must win")
    max_calibration_loss: Positive = Field(
        default=0.02, description="How much worse, at that level, the challenger's calibration ratio may be"
    )
    history_decay: Probability = Field(default=0.95, description="Weight of an ad's own history per day of age")
    trees: Count = Field(default=200, description="Boosting rounds of XGBoost")
    max_depth: Count = Field(default=4, description="Depth of its trees")
    learning_rate: Positive = Field(default=0.05, description="Step size of its rounds")
    min_child_clicks: Positive = Field(default=200.0, description="Expected clicks below which no leaf is made")
    l2: Positive = Field(default=200.0, description="Ridge penalty of a leaf, in expected clicks that speak for no change")
    search_share: Level = Field(
        default=0.25,
        description="Newest share of the training days by which parameters of the trees are chosen where a run asks for a `search`",
    )
    max_rows: Count = Field(default=500_000, description="Ad-days to train on, at most about; days are left out evenly beyond")
    max_levels: Count = Field(
        default=64, description="Levels of a categorical feature, the most frequent ones; others are missing"
    )
    ensemble_days: Count = Field(
        default=28, description="Newest days with stored predictions on which strength and weights of the vote are chosen"
    )
    ensemble_min_days: Count = Field(default=7, description="Such days below which they are not chosen but the next three")
    ensemble_min_events: Count = Field(default=1_000, description="Events (clicks for CTR) in such days, likewise")
    ensemble_strength: Positive = Field(
        default=1_000.0, description="Strength of XGBoost as the prior of an ad's own history, in events, while none is learned"
    )
    ensemble_dna_strength: Positive = Field(default=10.0, description="The same of the DNA score alone")
    ensemble_prior_variance: Positive = Field(
        default=0.09,
        description="Relative variance of the true rate of an ad without events while none is learned: 30 % squared",
    )
    ensemble_day_noise: Annotated[float, Field(ge=0)] = Field(
        default=0.10, description="Standard deviation of the logarithm of an ad-day's rate while none is learned"
    )
    ensemble_level: Level = Field(default=0.80, description="Level of the vote's intervals")
    calibration_days: Count = Field(
        default=3, description="Newest days (steps) with predictions by which members are calibrated"
    )
    calibration_events: Positive = Field(
        default=400.0, description="Events that hold the calibration over all accounts at 1: a standard deviation of 5 %"
    )
    calibration_account_events: Positive = Field(
        default=1_000.0, description="Events that hold an account's calibration at that of all: a standard deviation of 3 %"
    )
    vote_own_history: Probability = Field(default=0.4, description="Weight of the ad's own history in the plain fixed vote")
    vote_xgboost: Probability = Field(default=0.4, description="Weight of XGBoost in it")
    vote_dna_score: Probability = Field(default=0.2, description="Weight of the DNA score in it")
    threads: Count = Field(default=1, description="Threads of XGBoost; one is deterministic everywhere")
    seed: int = Field(default=7, description="Seed of everything random in training")
    max_seconds: Positive = Field(
        default=300, description="Seconds that training one challenger may take; beyond, it is ended and the run fails"
    )
    max_memory_mb: Count = Field(
        default=4_096, description="Memory of the process that trains, megabytes, what it has loaded included; beyond, likewise"
    )


class Accuracy(_Group):
    """One definition of accuracy."""

    window_days: Count = Field(default=7, description="Days of predictions and actuals that are compared, ending on the day")
    archive_window_days: Count = Field(default=28, description="The same for an archive")
    min_impressions: Count = Field(default=100, description="Impressions of an ad-day to be compared")
    skill_confidence: Level = Field(default=0.995, description="One-sided level of each bound of skill")
    bins: Count = Field(default=20, description="Equal-impression bins of the calibration error")


class Bandit(_Group):
    """How the traffic of an experiment is shared between its arms."""

    reward: Literal["ctr", "cvr", "roas"] = Field(
        default="ctr", description="What budgets follow; shares are shown for all three"
    )
    discount: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.99, description="Weight of a day's counts per day of age; the prior is never discounted"
    )
    prior_events: Annotated[float, Field(ge=1)] = Field(
        default=20.0, description="Events (clicks for CTR) that a prediction counts as, at most"
    )
    floor: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="Smallest share of an arm; where so many do not fit, all arms have the same"
    )
    recent_days: Count = Field(
        default=28, description="Newest days that are added up anew on every day, since the platform restates them"
    )
    history_days: Count = Field(default=90, description="Days of facts that the first day of all begins with")
    keep_days: Count = Field(default=28, description="Days that an arm is remembered after it was last live")
    order_dispersion: Annotated[float, Field(ge=1)] = Field(
        default=1.25,
        description="Variance over mean of revenue counted in orders: 1 plus the square of the variation of order values",
    )
    level: Level = Field(default=0.95, description="Level of the intervals of an arm's rate")
    max_step: Annotated[float, Field(gt=0, le=0.2)] = Field(
        default=0.20, description="An arm's budget is raised by this share a day at most; the others move in proportion"
    )
    min_step: Probability = Field(
        default=0.05,
        description="Budgets of an experiment stay where no arm's is to change by this share, for each change has its price",
    )


class Following(_Group):
    """What following the predictions would have saved."""

    below: Level = Field(
        default=0.20,
        description="An ad gives up its spend of a day where it is predicted to be so far below the mean of its account, a fraction",
    )
    min_ads: Annotated[int, Field(ge=2)] = Field(
        default=3, description="Ads of an account that give and that take, below which the account does not count"
    )
    confidence_level: Level = Field(default=0.95, description="Level of the intervals")


class Causes(_Group):
    """What a drop of accuracy may come from."""

    new_days: Count = Field(default=7, description="An ad is new that was first seen within so many days")
    flow_days: Count = Field(default=1, description="Newest days on which counts that are gone are looked for")
    usual_days: Count = Field(default=14, description="Days before these that say how many are usual")
    min_expected: Positive = Field(
        default=20.0, description="Counts that were to come, below which none is no sign of anything"
    )
    gone: Probability = Field(default=0.10, description="Counts are gone below this share of what was to come")
    max_ratio: Annotated[float, Field(gt=1)] = Field(
        default=1.10,
        description="Counts are off where they are more than so many times what was predicted, or as many times less",
    )
    standard_errors: Positive = Field(default=3.0, description="... and by so many standard errors")
    across: Probability = Field(default=0.75, description="Share of the accounts that drift in one direction")
    least: Probability = Field(default=0.5, description="Share of the error beyond chance from which a cause is named")
    sure: Probability = Field(default=0.8, description="Share from which it is called likely")


class Report(_Group):
    """The page on how good the predictions are."""

    window_days: Count = Field(default=28, description="Days of predictions behind calibration and savings, ending on the day")
    archive_window_days: Count = Field(default=364, description="The same for an archive: 52 of its weeks")
    history_steps: Count = Field(default=120, description="Days (weeks of an archive) of error over time that are drawn")
    bins: Count = Field(default=10, description="Bins of a calibration plot, of equal weight")
    confidence_level: Level = Field(default=0.95, description="Level of its intervals")
    kept_pages: Count = Field(default=30, description="Newest pages that are kept; older ones can be written anew")


class Fatigue(_Group):
    """Which ads tire: their CTR against their own first weeks."""

    window_days: Count = Field(default=7, description="Days of the baseline, and of what is compared with it; whole weeks")
    min_days: Count = Field(
        default=5, description="Days with delivery of the newest `window_days`, below which an ad is not judged"
    )
    min_impressions: Count = Field(
        default=2_000, description="Impressions of an ad, since it began or was changed, after which its baseline begins"
    )
    min_clicks: Count = Field(default=30, description="Link clicks of the baseline, below which an ad is not judged")
    min_decline: Level = Field(default=0.20, description="Fall of the CTR from the baseline, a fraction, that counts")
    confidence_level: Level = Field(default=0.999, description="One-sided level at which a fall must be proven")
    min_frequency: Positive = Field(
        default=2.5, description="Impressions per person in `window_days`, from which people have seen it often"
    )
    fatigued_cost: Annotated[float, Field(gt=1)] = Field(
        default=2.0,
        description="Times the baseline's cost of a click, at equal prices of impressions, from which an ad is fatigued; below, limited",
    )
    budget_step: Positive = Field(
        default=0.10, description="Change of the daily budget, a fraction, above which a new baseline is needed"
    )
    pause_days: Count = Field(default=7, description="Days without delivery from which on learning begins anew")
    history_days: Count = Field(default=365, description="Days of facts in which an ad's baseline is looked for")
    day_noise: Probability = Field(
        default=0.10, description="Standard deviation of an ad-day's log CTR that is assumed before an account's days tell"
    )
    day_noise_pairs: Positive = Field(
        default=6.0, description="Pairs of successive days of one ad that this assumption counts as"
    )
    noise_days: Count = Field(default=28, description="Newest days from which an account's day noise is learned")


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


class Promotion(_Group):
    """When an arm of an experiment has won."""

    alpha: Level = Field(
        default=0.05, description="Chance, over an experiment's life, of ever promoting an arm that is not better, at most"
    )
    min_hours: Count = Field(
        default=72, description="Finished hours in which every arm was shown, below which nothing is decided"
    )
    finished_hours: Annotated[int, Field(ge=0)] = Field(
        default=3, description="Hours after its end in which an hour's delivery may still come in; younger hours do not count"
    )
    min_clicks: Count = Field(default=100, description="Clicks of every arm, likewise, unless every arm has ...")
    min_conversions: Count = Field(default=30, description="... so many conversions; then they decide, by impression")
    min_lift: Annotated[float, Field(ge=0)] = Field(
        default=0.02, description="Smallest shrunk lift that is worth a promotion, a fraction"
    )
    cvr_guard_confidence: Level = Field(
        default=0.90, description="How credibly CVR or ROAS must be below another arm's to block a promotion by CTR"
    )
    prior_sd: Positive = Field(
        default=0.20, description="Log rate ratios that the test looks for: standard deviation of its prior"
    )
    shrink_sd: Positive = Field(
        default=0.10, description="Standard deviation of true log rate ratios between arms, by which a winner's lift is shrunk"
    )
    new_account_noise: Annotated[float, Field(ge=0)] = Field(
        default=0.10, description="Day-to-day standard deviation of an arm's log rate in an account without past experiments"
    )
    noise_prior_days: Positive = Field(default=30.0, description="Days of pairs of arms that this counts as")
    dispersion_prior_days: Positive = Field(
        default=6.0, description="Days that the account's past counts as in an experiment's own dispersion"
    )
    first_information: Positive = Field(
        default=120.0,
        description="Information (half of an arm's clicks of a day) that is reckoned with on an experiment's first day",
    )


class Stages(_Group):
    """How far a promoted arm's budget goes, and in which steps."""

    shares: Annotated[tuple[float, ...], NoDecode] = Field(
        default=(0.6, 0.7, 0.8),
        description="Parts of the experiment's budget that a promoted arm is to have, one after the other, ascending, with commas",
    )
    max_step: Level = Field(default=0.20, description="Largest raise of one step, a fraction; a smaller lift raises by less")
    step_hours: Count = Field(default=72, description="Hours after a step was taken before the next one is asked for")
    recheck_days: Count = Field(
        default=3, description="Days at a share after which the evidence since then decides on the next one"
    )

    @field_validator("shares", mode="before")
    @classmethod
    def _read_shares(cls, value: object) -> object:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("shares")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or list(value) != sorted(set(value)) or not all(0 < share < 1 for share in value):
            raise ValueError("must be parts above 0 and below 1, ascending, such as 0.6,0.7,0.8")
        return value


class Acting(_Group):
    """Whether and how far budgets are moved; every bound fails closed: what is not known refuses."""

    kill: bool = Field(default=False, description="Kill switch: no budget is moved while it is set, whatever the database says")
    max_step: Level = Field(default=0.20, description="Largest raise of one step, a fraction of the present budget")
    max_week: Level = Field(default=0.50, description="Largest raise of a budget within 7 days, a fraction")
    raise_hours: Positive = Field(default=72, description="Hours between two raises of a budget")
    cut_hours: Positive = Field(default=24, description="Hours between two changes of a budget of which the later is a cut")
    actions_per_day: Count = Field(default=3, description="Budgets of an account that are moved on one of its days")
    first_hour: Annotated[int, Field(ge=0, le=23)] = Field(
        default=9, description="Hour of the account's day from which budgets are moved"
    )
    open_hours: Count = Field(default=8, description="Hours from then on in which budgets are moved, until 17 o'clock")
    open_weekdays: Count = Field(default=4, description="Weekdays from Monday on which budgets are moved: until Thursday")
    foreign_hours: Positive = Field(
        default=72, description="Hours in which a change of the budget by anybody else keeps it from being moved"
    )
    mature_days: Count = Field(default=7, description="Days of an experiment that must be mature (`growth.mature_days` old)")
    stale_days: Count = Field(
        default=2, description="Age in days, in the account's time, above which a decision's day is stale"
    )
    decision_hours: Positive = Field(default=3, description="Hours after which a decision is not acted on any more")
    spend_spike: Positive = Field(
        default=1.75,
        description="Spend of the account's newest day over its mean of the 7 days before, above which nothing is raised",
    )
    failures: Count = Field(
        default=3, description="Failed changes in a row after which an account is disarmed; one unknown does it too"
    )
    approval_step: Level = Field(default=0.20, description="Raises above this fraction need a person's approval")
    approval_share: Level = Field(
        default=0.70, description="Raises beyond this part of an experiment's budget need a person's approval"
    )
    approval_hours: Positive = Field(default=48, description="Hours in which an approval holds")
    settle_minutes: Positive = Field(
        default=10,
        description="Minutes after a lost answer in which a budget that did not move may still do so; then it has failed",
    )
    read_back_seconds: Annotated[float, Field(ge=0)] = Field(
        default=2, description="Pause before a budget is read back again that the platform said it had changed"
    )


class Network(_Group):
    """What leaves an owner, and when what niches know is told."""

    min_owners: Annotated[int, Field(ge=5)] = Field(
        default=5,
        description="Owners of a group that enters a cell together, of a cell, and memberships that thaw a cell, at least",
    )
    clip: Level = Field(default=0.5, description="Largest log lift, up or down, that leaves an owner")
    rounding: Level = Field(
        default=0.05, description="Step in log units that figures are rounded to; coarser where fewer owners stand behind them"
    )
    prior_sd: Positive = Field(
        default=0.25, description="Standard deviation of true log lifts over owners, by which insights are shrunk"
    )
    min_reliability: Level = Field(
        default=0.5, description="Share of an estimate's variance that is no noise, below which it does not leave the owner"
    )
    benchmark_clip: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Largest log ratio of an owner's rate to the reference, up or down, that leaves the owner"
    )
    benchmark_days: Count = Field(
        default=28, description="Days of facts behind an owner's benchmark rates, older than `growth.mature_days`"
    )
    benchmark_events: Count = Field(
        default=30, description="Clicks (CTR) or conversions (CVR, ROAS) from which on a benchmark rate leaves the owner"
    )
    reference_ctr: Probability = Field(default=0.015, description="CTR, a fraction, that benchmarks are ratios to")
    reference_cvr: Probability = Field(default=0.03, description="CVR, a fraction, likewise")
    reference_roas: Positive = Field(default=2.0, description="ROAS likewise")
    confidence_level: Level = Field(default=0.95, description="Level of the intervals")


class Checks(_Group):
    """Validation of what was fetched."""

    spend_tolerance: Probability = Field(default=0.005, description="Ads' spend may differ from the account's by this share")
    sample_ratio_p: Probability = Field(default=0.001, description="Sample-ratio mismatch below this p-value")


class Automation(_Group):
    """Schedules, sensors and alerts."""

    cycle_days: Count = Field(default=28, description="Days that one scheduled cycle catches up with, at most")
    restate_days: Count = Field(default=28, description="Days back in which the platform restates its figures")
    platform_retries: Annotated[int, Field(ge=0)] = Field(
        default=3, description="Attempts after the first at a platform that answers for no account at all"
    )
    platform_retry_seconds: Annotated[float, Field(ge=0)] = Field(
        default=30, description="Pause before the first of them, doubled for each next one"
    )
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

    anthropic_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("anthropic_api_key"),
        description="ANTHROPIC_API_KEY, which other programs use too; `llm.api_key` goes before it",
    )

    archive: Archive = Archive()
    sandbox: Sandbox = Sandbox()
    meta: Meta = Meta()
    export: Export = Export()
    warehouse: Warehouse = Warehouse()
    lake: Lake = Lake()
    hooks: Hooks = Hooks()
    niches: Niches = Niches()
    media: Media = Media()
    llm: Llm = Llm()
    patterns: Patterns = Patterns()
    graph: Graph = Graph()
    formula: Formula = Formula()
    memory: Memory = Memory()
    models: Models = Models()
    accuracy: Accuracy = Accuracy()
    bandit: Bandit = Bandit()
    following: Following = Following()
    report: Report = Report()
    causes: Causes = Causes()
    fatigue: Fatigue = Fatigue()
    growth: Growth = Growth()
    promotion: Promotion = Promotion()
    stages: Stages = Stages()
    acting: Acting = Acting()
    network: Network = Network()
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
        return self.source if self.source in ("sandbox", "archive") else "ads"

    @property
    def llm_key(self) -> SecretStr | None:
        """The key that Claude is asked with, or None where nothing is asked."""
        return self.llm.api_key or self.anthropic_api_key

    @property
    def clock(self) -> datetime | None:
        """`LEARNING_NOW` in UTC, or None where the wall clock rules."""
        return self.now.astimezone(UTC) if self.now else None
