"""Lifts against the other ads of a stratum, their errors, and the life cycle of patterns."""

import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

from learning_assets.learning import lift
from learning_assets.learning.lift import clusters
from learning_assets.settings import Patterns

SETTINGS = Patterns()
SUNDAY = date(2026, 1, 4)
COLUMNS: dict[str, Any] = {
    "account_id": pl.String,
    "ad_id": pl.String,
    "experiment_id": pl.String,
    "week": pl.Date,
    "impressions": pl.Int64,
    "link_clicks": pl.Int64,
    "conversions": pl.Int64,
    "spend_micros": pl.Int64,
    "revenue_micros": pl.Int64,
}


def sums(*rows: dict[str, Any], **attributes: pl.DataType) -> pl.DataFrame:
    """Rows of sums; what a row does not say is account a, the first week, and NULL."""
    base = {"account_id": "a", "week": SUNDAY}
    return pl.DataFrame([base | row for row in rows], schema={**COLUMNS, **(attributes or {"hook": pl.String()})})


def ad(name: str, hook: str | list[str] | None, impressions: int, clicks: int, **more: Any) -> dict[str, Any]:
    return {"ad_id": name, "hook": hook, "impressions": impressions, "link_clicks": clicks, **more}


def market(
    seed: int, accounts: int, ads: int, weeks: int = 4, values: int = 3, effect: float = 0.0, experiments: bool = False
) -> pl.DataFrame:
    """Ads of unequal size; the first value lifts CTR by `effect`."""
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), ads)
    hook = np.tile(np.arange(ads) % values, accounts)
    size = 2_000 * np.exp(rng.normal(0, 0.5, (account.size, 1)))
    rate = 0.015 * np.exp(rng.normal(0, 0.3, (account.size, 1)) + rng.normal(0, 0.4, accounts)[account][:, None])
    impressions = rng.poisson(size, (account.size, weeks)) + 1
    clicks = np.minimum(rng.poisson(impressions * rate * np.exp(effect * (hook == 0))[:, None]), impressions)
    conversions = rng.binomial(clicks, 0.1)
    n = account.size
    return pl.DataFrame(
        {
            "account_id": np.repeat(account, weeks).astype(str),
            "ad_id": np.repeat(np.arange(n), weeks).astype(str),
            "week": np.tile(np.datetime64(SUNDAY) + 7 * np.arange(weeks), n),
            "impressions": impressions.ravel(),
            "link_clicks": clicks.ravel(),
            "conversions": conversions.ravel(),
            "spend_micros": impressions.ravel() * 8_000,
            "revenue_micros": conversions.ravel() * 60_000_000,
            "hook": np.array([f"h{number}" for number in range(values)])[np.repeat(hook, weeks)],
        }
    ).with_columns(
        experiment_id=pl.format("x{}", pl.col("ad_id").cast(pl.Int64) // 4) if experiments else pl.lit(None, pl.String)
    )


def one(found: pl.DataFrame, value: str, metric: str = "ctr", **more: str) -> dict[str, Any]:
    (row,) = found.filter(value=value, metric=metric, **more).to_dicts()
    return row


def slow_lift(rows: pl.DataFrame, value: str) -> tuple[float, float, float]:
    """Log lift, its error and degrees of freedom for CTR of one account, ad by ad and week by week."""
    theta_r = theta_s = spread = 0.0
    weeks = {
        week: (part, part.filter(hook=value), part.filter(pl.col("hook") != value))
        for (week,), part in rows.partition_by("week", as_dict=True).items()
    }
    total = lambda part, name: float(part[name].sum())  # noqa: E731
    for part, has, has_not in weeks.values():
        n = total(part, "impressions")
        theta_r += total(has, "link_clicks") * total(has_not, "impressions") / n
        theta_s += total(has_not, "link_clicks") * total(has, "impressions") / n
        spread += total(has, "impressions") * total(has_not, "impressions") / n
    theta = theta_r / theta_s
    variance, sides = 0.0, {True: [0.0, 0.0, 0.0], False: [0.0, 0.0, 0.0]}
    for _, mine in rows.group_by("ad_id"):
        share = leverage = noise = lowered = 0.0
        on_side = mine["hook"][0] == value
        for row in mine.iter_rows(named=True):
            part, has, has_not = weeks[row["week"]]
            n_all, n = total(part, "impressions"), row["impressions"]
            mu = (total(has, "link_clicks") + theta * total(has_not, "link_clicks")) / n_all
            other = total(has_not if on_side else has, "impressions") / n_all
            residual = row["link_clicks"] - n * (mu if on_side else mu / theta)
            share += (other / theta_r if on_side else -other / theta_s) * residual / math.sqrt(1 - n / n_all)
            leverage += n / (1 - n / n_all) * other**2 / spread
            noise += n * other * mu
            lowered += n * other * mu / math.sqrt(1 - n / n_all)
        variance += share**2 / (1 - leverage)
        for place, amount in enumerate((noise, noise**2, lowered**2)):
            sides[on_side][place] += amount
    parts = [(second, first**2 / below) for first, second, below in sides.values()]
    freedom = sum(second for second, _ in parts) ** 2 / sum(second**2 / (ads - 1) for second, ads in parts)
    return math.log(theta), math.sqrt(variance), freedom


def test_the_lift_is_mantel_haenszel_within_weeks():
    found = lift.mine(
        sums(
            ad("1", "q", 1_000, 30), ad("2", "s", 3_000, 60), ad("3", None, 9_000, 900), ad("4", "unknown", 9_000, 900),
            ad("1", "q", 4_000, 40, week=SUNDAY + timedelta(7)), ad("2", "s", 1_000, 5, week=SUNDAY + timedelta(7)),
        ),
        ["hook"], SETTINGS, "account",
    )  # fmt: skip
    r, s = 30 * 3_000 / 4_000 + 40 * 1_000 / 5_000, 60 * 1_000 / 4_000 + 5 * 4_000 / 5_000
    row = one(found, "q")
    assert row["log_lift"] == pytest.approx(math.log(r / s))
    assert {name: row[name] for name in ("account_id", "ads_with", "ads_without", "accounts", "strata", "impressions")} == {
        "account_id": "a", "ads_with": 1, "ads_without": 1, "accounts": 1, "strata": 2, "impressions": 5_000,
    }  # fmt: skip
    assert one(found, "s")["log_lift"] == pytest.approx(-row["log_lift"])
    assert found.schema == lift.FOUND


def test_one_ad_against_another_has_a_lift_but_no_error():
    row = one(lift.mine(sums(ad("1", "q", 1_000, 30), ad("2", "s", 3_000, 60)), ["hook"], SETTINGS, "account"), "q")
    assert [row[name] for name in ("se", "low", "high", "p_value", "q_value", "shrunk_log_lift", "confidence")] == [None] * 7


@pytest.mark.parametrize("value", ["h0", "h1", "h2"])
def test_errors_within_an_account_are_those_of_the_slow_way(value: str):
    rows = market(3, accounts=3, ads=16).filter(
        pl.col("ad_id").cast(pl.Int64) % 5 + 1 > (pl.col("week") - SUNDAY).dt.total_days() / 14
    )
    found = lift.mine(rows, ["hook"], SETTINGS, "account")
    for account in ("0", "1", "2"):
        row = one(found, value, account_id=account)
        log_lift, se, freedom = slow_lift(rows.filter(account_id=account), value)
        assert row["log_lift"] == pytest.approx(log_lift)
        assert row["se"] == pytest.approx(se)
        assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(log_lift / se), freedom))
        assert row["high"] - row["log_lift"] == pytest.approx(se * stats.t.isf(0.025, freedom))


def test_the_number_of_values_held_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    rows = market(4, accounts=4, ads=20, values=7)
    whole = lift.mine(rows, ["hook"], SETTINGS, "account")
    monkeypatch.setattr(clusters, "_CELLS", 160)
    assert_frame_equal(lift.mine(rows, ["hook"], SETTINGS, "account"), whole, rel_tol=1e-12)


def test_accounts_of_equal_weight_have_the_textbooks_clustered_error():
    clicks = [(30, 20), (25, 27), (40, 26), (22, 30)]
    rows = [
        row | {"account_id": f"a{number}"}
        for number, (has, has_not) in enumerate(clicks)
        for row in (ad("1", "q", 1_000, has), ad("2", "s", 1_000, has_not))
    ]
    row = one(lift.mine(sums(*rows), ["hook"], SETTINGS, "all"), "q")
    r, s = np.array(clicks).T / np.array(clicks).sum(axis=0)[:, None]
    weight = (r + s) / 2
    assert row["se"] == pytest.approx(math.sqrt(((r - s) ** 2 / (1 - weight)).sum()))
    assert row["se"] == pytest.approx(math.sqrt(4 / 3 * ((r - s) ** 2).sum()), rel=0.03)
    freedom = 1 / (weight**2).sum() - 1
    assert freedom == pytest.approx(3, rel=0.1)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(row["log_lift"] / row["se"]), freedom))
    assert (row["accounts"], row["strata"], row["account_id"]) == (4, 4, None)


def test_one_account_is_no_evidence_over_several():
    row = one(lift.mine(market(1, accounts=1, ads=30), ["hook"], SETTINGS, "all"), "h0")
    assert row["log_lift"] is not None
    assert (row["se"], row["p_value"], row["accounts"]) == (None, None, 1)


def test_intervals_within_accounts_cover_the_truth():
    found = lift.mine(market(5, accounts=400, ads=12, effect=0.3), ["hook"], SETTINGS, "account")
    ctr = found.filter(value="h0", metric="ctr").drop_nulls("se")
    assert ctr.height > 380
    assert 0.92 <= ctr.select(pl.lit(0.3).is_between("low", "high").mean()).item() <= 0.985


def test_intervals_within_two_arm_experiments_cover_the_truth():
    rng = np.random.default_rng(6)
    pairs = 200 * 12
    rate = 0.015 * np.exp(rng.normal(0, 0.3, (pairs, 2)) + rng.normal(0, 0.5, (pairs, 1)) + [0.2, 0])
    clicks = rng.poisson(3_000 * rate)
    rows = pl.DataFrame(
        {
            "account_id": np.repeat(np.arange(pairs) // 12, 2).astype(str),
            "ad_id": np.arange(2 * pairs).astype(str),
            "experiment_id": np.repeat(np.arange(pairs), 2).astype(str),
            "week": SUNDAY,
            "impressions": 3_000,
            "link_clicks": clicks.ravel(),
            "hook": ["q", "s"] * pairs,
        }
    ).with_columns(pl.lit(None, pl.Int64).alias(name) for name in ("conversions", "spend_micros", "revenue_micros"))
    found = lift.mine(rows, ["hook"], SETTINGS, "account").filter(value="q")
    assert found["evidence"].unique().to_list() == ["randomized"]
    assert 0.92 <= found.select(pl.lit(0.2).is_between("low", "high").mean()).item() <= 0.985


def test_without_effects_accounts_of_unequal_size_are_seldom_significant():
    rows = market(7, accounts=30, ads=24)
    size = np.exp(np.random.default_rng(8).normal(0, 1, 30)) * 10
    scaled = pl.col("account_id").cast(pl.Int64).replace_strict(dict(enumerate(size.round().astype(int) + 1)))
    rows = rows.with_columns(impressions=pl.col("impressions") * scaled, link_clicks=pl.col("link_clicks") * scaled)
    rng = np.random.default_rng(9)
    ads = rows.select("ad_id").unique(maintain_order=True)
    names = [f"coin{number}" for number in range(150)]
    coins = ads.with_columns(pl.Series(name, rng.choice(["heads", "tails"], ads.height)) for name in names)
    found = lift.mine(rows.join(coins, on="ad_id"), names, SETTINGS, "all").filter(value="heads", metric="ctr")
    assert found.height == 150
    assert found.filter(pl.col("p_value") < 0.05).height <= 15


def test_randomized_and_observational_rows_are_never_mixed():
    seen = [ad("1", "q", 1_000, 30), ad("2", "s", 1_000, 20)]
    tried = [row | {"ad_id": "x" + row["ad_id"], "experiment_id": "e", "link_clicks": 10} for row in seen]
    found = lift.mine(sums(*seen, *tried), ["hook"], SETTINGS, "account")
    assert one(found, "q", evidence="observational")["log_lift"] == pytest.approx(math.log(1.5))
    assert one(found, "q", evidence="randomized")["log_lift"] == pytest.approx(0)
    assert found["ads_with"].to_list() == [1] * 4


def test_the_weeks_of_an_experiments_ad_are_added_up():
    rows = market(10, accounts=2, ads=24, experiments=True)
    counts = [name for name, kind in COLUMNS.items() if kind == pl.Int64]
    merged = rows.group_by("account_id", "ad_id", "experiment_id", "hook").agg(pl.col(counts).sum(), pl.col("week").max())
    for scope in ("account", "all"):
        assert_frame_equal(lift.mine(rows, ["hook"], SETTINGS, scope), lift.mine(merged, ["hook"], SETTINGS, scope))


def test_an_ad_with_several_values_stands_for_each_of_them():
    kind = pl.List(pl.String())
    found = lift.mine(
        sums(
            ad("1", ["q", "s", "q"], 1_000, 40), ad("2", ["s"], 1_000, 20), ad("3", ["t"], 1_000, 10),
            ad("4", ["unknown"], 5_000, 0), ad("5", [], 5_000, 0), ad("6", None, 5_000, 0),
            hook=kind,
        ),
        ["hook"], SETTINGS, "account",
    )  # fmt: skip
    assert one(found, "q")["log_lift"] == pytest.approx(math.log((40 * 2_000) / (30 * 1_000)))
    assert one(found, "s")["log_lift"] == pytest.approx(math.log((60 * 1_000) / (10 * 2_000)))
    assert (one(found, "s")["ads_with"], one(found, "s")["ads_without"]) == (2, 1)
    assert sorted(found["value"].unique()) == ["q", "s", "t"]


def test_lists_of_one_value_are_the_same_as_single_values():
    rows = market(11, accounts=5, ads=18)
    for scope in ("account", "all"):
        listed = lift.mine(rows.with_columns(pl.concat_list("hook")), ["hook"], SETTINGS, scope)
        assert_frame_equal(listed, lift.mine(rows, ["hook"], SETTINGS, scope))


def test_an_unknown_count_leaves_a_row_out_of_that_metric_only():
    rows = [
        ad("1", "q", 1_000, 30, conversions=3), ad("2", "s", 1_000, 20, conversions=1),
        ad("3", "q", 1_000, 60), ad("4", "s", 1_000, 20),
    ]  # fmt: skip
    found = lift.mine(sums(*rows), ["hook"], SETTINGS, "account")
    assert one(found, "q")["log_lift"] == pytest.approx(math.log(90 / 40))
    assert one(found, "q", "cvr")["log_lift"] == pytest.approx(math.log((3 / 30) / (1 / 20)))
    assert (one(found, "q")["ads_with"], one(found, "q", "cvr")["ads_with"]) == (2, 1)
    assert set(found["metric"]) == {"ctr", "cvr"}


def test_a_side_that_is_empty_everywhere_is_left_out_and_one_without_clicks_is_null():
    assert lift.mine(sums(ad("1", "q", 1_000, 30), ad("2", "q", 1_000, 20)), ["hook"], SETTINGS, "account").height == 0
    found = lift.mine(sums(ad("1", "q", 1_000, 0), ad("2", "s", 1_000, 20)), ["hook"], SETTINGS, "all")
    assert found["log_lift"].to_list() == [None, None]
    assert found["strata"].to_list() == [1, 1]


@pytest.mark.parametrize("scope", ["account", "all"])
def test_nothing_known_gives_no_rows(scope: lift.Scope):
    rows = market(1, accounts=2, ads=6)
    assert lift.mine(rows.clear(), ["hook"], SETTINGS, scope).schema == lift.FOUND
    unknown = rows.with_columns(hook=pl.lit("unknown"), angle=pl.lit(None), words=pl.lit([], pl.List(pl.String)))
    assert lift.mine(unknown, ["hook", "angle", "words"], SETTINGS, scope).height == 0


@pytest.mark.parametrize("scope", ["account", "all"])
def test_the_currency_of_an_account_does_not_matter(scope: lift.Scope):
    rows = market(12, accounts=8, ads=18)
    yen = pl.when(pl.col("account_id") < "4").then(150).otherwise(1)
    exchanged = rows.with_columns(pl.col("spend_micros", "revenue_micros") * yen)
    assert_frame_equal(
        lift.mine(exchanged, ["hook"], SETTINGS, scope), lift.mine(rows, ["hook"], SETTINGS, scope), rel_tol=1e-9
    )


def test_an_account_is_not_changed_by_what_others_do():
    rows = market(13, accounts=6, ads=15)
    alone = lift.mine(rows.filter(account_id="2"), ["hook"], SETTINGS, "account")
    assert_frame_equal(lift.mine(rows, ["hook"], SETTINGS, "account").filter(account_id="2"), alone, rel_tol=1e-12)


@pytest.mark.parametrize("scope", ["account", "all"])
def test_the_order_of_rows_changes_no_bit(scope: lift.Scope):
    rows = market(14, accounts=8, ads=15)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1).lazy()
    assert_frame_equal(
        lift.mine(shuffled, ["hook"], SETTINGS, scope), lift.mine(rows, ["hook"], SETTINGS, scope), check_exact=True
    )


def test_q_values_are_benjamini_hochberg_over_an_accounts_list():
    rows = market(15, accounts=4, ads=30, values=5).with_columns(size=pl.format("s{}", pl.col("ad_id").cast(pl.Int64) % 4))
    found = lift.mine(rows, ["hook", "size"], SETTINGS, "account")
    for family in found.partition_by("account_id"):
        assert family.height == 27
        assert family["q_value"].to_list() == pytest.approx(stats.false_discovery_control(family["p_value"].to_numpy()))


def test_lifts_are_shrunk_towards_the_mean_of_their_attribute():
    found = lift.mine(market(16, accounts=40, ads=24, values=6, effect=0.4), ["hook"], SETTINGS, "all").filter(metric="ctr")
    lifts = found["log_lift"].to_numpy()
    variance = ((found["high"] - found["low"]).to_numpy() / 2 / stats.norm.ppf(0.975)) ** 2
    w = 1 / variance
    mean = (w * lifts).sum() / w.sum()
    tau2 = max(0, ((w * (lifts - mean) ** 2).sum() - 5) / (w.sum() - (w**2).sum() / w.sum()))
    ws = 1 / (variance + tau2)
    mean, b = (ws * lifts).sum() / ws.sum(), tau2 * ws
    expected = mean + b * (lifts - mean)
    sd = np.sqrt(b * variance + (1 - b) ** 2 / ws.sum())
    assert tau2 > 0
    assert found["shrunk_log_lift"].to_list() == pytest.approx(expected)
    assert found["shrunk_low"].to_list() == pytest.approx(expected - 1.959964 * sd, rel=1e-5)
    assert found["confidence"].to_list() == pytest.approx(stats.norm.cdf(np.abs(expected) / sd))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from(["q", "s"]), st.integers(1, 500), st.integers(0, 20)),
        min_size=2,
        max_size=30,
    )
)
def test_two_values_mirror_each_other_and_nothing_is_infinite(rows: list[tuple[int, int, str, int, int]]):
    frame = sums(
        *(
            ad(str(number), hook, n + clicks, clicks, account_id=f"a{account}", week=SUNDAY + timedelta(7 * week))
            for number, (account, week, hook, n, clicks) in enumerate(rows)
        )
    )
    for scope in ("account", "all"):
        found = lift.mine(frame, ["hook"], SETTINGS, scope)
        has, has_not = found.filter(value="q"), found.filter(value="s")
        for name, sign in (("log_lift", -1), ("se", 1), ("p_value", 1)):
            assert_frame_equal(has.select(name), has_not.select(pl.col(name) * sign), rel_tol=1e-6, abs_tol=1e-9)
        assert found.select(pl.selectors.float().is_finite().all()).row(0) == (True,) * 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hook": pl.col("impressions")}, "'hook' is Int64; cast it to String"),
        ({"week": pl.lit(None, pl.Date)}, "'week' of the sums is NULL in 1 rows"),
    ],
)
def test_wrong_sums_are_refused(change: dict[str, pl.Expr], message: str):
    with pytest.raises(ValueError, match=message):
        lift.mine(sums(ad("1", "q", 1, 1)).with_columns(**change), ["hook"], SETTINGS, "all")
    with pytest.raises(ValueError, match="lack the columns \\['angle'\\]"):
        lift.mine(sums(ad("1", "q", 1, 1)), ["angle"], SETTINGS, "all")


def pattern(q: float | None, log_lift: float = 0.2, **more: Any) -> pl.DataFrame:
    row = {
        "scope": "account", "account_id": "a", "attribute": "hook", "value": "q", "metric": "ctr", "evidence": "observational",
        "log_lift": log_lift, "q_value": q, "ads_with": 9, "ads_without": 9, "accounts": 1, "strata": 4, "impressions": 1,
    }  # fmt: skip
    return pl.DataFrame([row | more], schema=lift.FOUND)


def live(days: Sequence[pl.DataFrame | None]) -> list[dict[str, Any]]:
    """The pattern's row after each of successive days; None is a day on which it was not found."""
    state, rows = None, []
    for number, found in enumerate(days):
        state = lift.advance(state, pattern(0.5).clear() if found is None else found, SUNDAY + timedelta(number), SETTINGS)
        rows += state.to_dicts()
    return rows


def test_a_significant_pattern_becomes_active_and_is_counted():
    first, second, third = live([pattern(0.4), pattern(0.1), pattern(0.05)])
    assert (first["status"], first["discovered_at"], first["validation_count"]) == ("testing", None, 0)
    assert (second["status"], second["discovered_at"], second["since"]) == (
        "active",
        SUNDAY + timedelta(1),
        SUNDAY + timedelta(1),
    )
    assert (third["validation_count"], third["last_validated"], third["sign"]) == (2, SUNDAY + timedelta(2), 1)
    assert third["since"] == SUNDAY + timedelta(1)


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (pattern(0.01, ads_with=4), "few_ads"),
        (pattern(0.01, ads_without=4), "few_ads"),
        (pattern(0.01, strata=1), "few_strata"),
        (pattern(0.01, scope="all", account_id=None, accounts=9), "suggestive"),
        (pattern(0.11), None),
        (pattern(None), None),
    ],
)
def test_too_little_evidence_stays_testing(found: pl.DataFrame, note: str | None):
    (row,) = lift.advance(None, found, SUNDAY, SETTINGS).to_dicts()
    assert (row["status"], row["note"], row["discovered_at"]) == ("testing", note, None)


def test_ten_accounts_are_enough():
    found = pattern(0.01, scope="all", account_id=None, accounts=10)
    assert lift.advance(None, found, SUNDAY, SETTINGS)["status"].to_list() == ["active"]


def test_seven_weak_days_in_a_row_deprecate():
    rows = live([pattern(0.01), *[pattern(0.4)] * 6, pattern(0.3), *[pattern(0.4)] * 7])
    assert [row["status"] for row in rows[:14]] == ["active"] * 14
    assert (rows[14]["status"], rows[14]["note"], rows[14]["weak_days"]) == ("deprecated", "weak", 7)
    assert (rows[14]["discovered_at"], rows[14]["last_validated"]) == (SUNDAY, SUNDAY)


def test_days_without_a_test_neither_count_nor_forgive():
    rows = live([pattern(0.01), *[pattern(0.4)] * 6, None, pattern(None), pattern(0.4)])
    assert (rows[7]["status"], rows[7]["note"], rows[7]["weak_days"], rows[7]["q_value"]) == ("active", "not_tested", 6, 0.4)
    assert (rows[8]["note"], rows[8]["weak_days"]) == (None, 6)
    assert rows[9]["status"] == "deprecated"


def test_a_turned_sign_deprecates_at_once_and_the_pattern_must_prove_itself_twice():
    turned = pattern(0.01, log_lift=-0.2)
    rows = live([pattern(0.01), pattern(0.2, log_lift=-0.1), turned, None, pattern(0.4), turned, turned])
    assert [row["status"] for row in rows] == [
        "active", "active", "deprecated", "deprecated", "deprecated", "testing", "active",
    ]  # fmt: skip
    assert [row["note"] for row in rows[2:]] == ["sign_reversed", "sign_reversed", "sign_reversed", "returned", None]
    assert [row["sign"] for row in rows[4:]] == [1, -1, -1]
    assert (rows[6]["discovered_at"], rows[6]["validation_count"]) == (SUNDAY, 2)


def test_a_returned_pattern_that_turns_again_starts_over():
    down, up = pattern(0.01, log_lift=-0.2), pattern(0.01)
    rows = live([up, down, down, up, up])
    assert [row["status"] for row in rows] == ["active", "deprecated", "testing", "testing", "active"]
    assert [row["sign"] for row in rows] == [1, 1, -1, 1, 1]


def test_advancing_is_a_function_of_its_arguments():
    found = pl.concat([lift.mine(market(17, 12, 18, effect=0.5), ["hook"], SETTINGS, scope) for scope in ("account", "all")])
    first = lift.advance(None, found, SUNDAY, SETTINGS)
    second = lift.advance(first, found.sample(fraction=1, shuffle=True), SUNDAY + timedelta(1), SETTINGS)
    stored = first.with_columns(as_of=pl.lit(SUNDAY), owner=pl.lit("o"))
    assert_frame_equal(lift.advance(stored, found, SUNDAY + timedelta(1), SETTINGS), second)
    assert second.height == found.height
    assert second.schema == pl.Schema({**lift.FOUND, **lift.STATE})
    assert second.filter(pl.col("status") == "active")["validation_count"].unique().to_list() == [2]


def test_the_state_of_the_same_day_is_refused():
    state = lift.advance(None, pattern(0.01), SUNDAY, SETTINGS)
    with pytest.raises(ValueError, match="are of 2026-01-04, and 2026-01-04 is to be learned"):
        lift.advance(state, pattern(0.01), SUNDAY, SETTINGS)
    with pytest.raises(ValueError, match="twice"):
        lift.advance(None, pl.concat([pattern(0.01)] * 2), SUNDAY, SETTINGS)
