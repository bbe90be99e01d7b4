"""Winner memory, the rule: sums, day noise, intervals, who enters and who leaves."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from learning_assets.learning import memory
from learning_assets.settings import Memory

SETTINGS = Memory()
DAY = date(2026, 3, 1)


def days(*rows: dict[str, Any]) -> pl.DataFrame:
    """Days of creatives; what a row does not say is creative c of account a, on DAY, and NULL."""
    base = {"account_id": "a", "creative_id": "c", "date": DAY}
    return pl.DataFrame([base | row for row in rows], schema=memory.DAYS)


def totals(*rows: dict[str, Any]) -> pl.DataFrame:
    """Sums of entries; what a row does not say is of account and owner a, and 0."""
    zeros = {name: 0 for name, kind in memory.TOTALS.items() if kind == pl.Int64}
    base = zeros | {"owner": "a", "account_id": "a", "creatives": 1}
    named = [base | row | {"creative_id": row["fingerprint"]} for row in rows]
    return pl.DataFrame(named, schema=memory.TOTALS)


def entry(name: str, impressions: int, ctr: float, day_impressions: int = 100, **more: Any) -> dict[str, Any]:
    counts = {"impressions": impressions, "link_clicks": round(impressions * ctr)}
    return {"fingerprint": name, **counts, "impressions_squared": impressions * day_impressions, **more}


def plain(count: int = 20) -> list[dict[str, Any]]:
    """Creatives of an ordinary account: CTRs of 1 to 2 %."""
    return [entry(f"p{n:02}", 20_000, 0.01 + 0.01 * n / count) for n in range(count)]


NOTHING = memory.LOOKS.to_frame()
NO_NOISE = pl.DataFrame(
    schema={
        "account_id": pl.String,
        **dict.fromkeys(("ctr_day_variance", "cvr_day_variance", "roas_dispersion"), pl.Float64),
    }
)


def look(previous: pl.DataFrame, rows: list[dict[str, Any]], after: int = 0, noise: pl.DataFrame = NO_NOISE) -> pl.DataFrame:
    return memory.look(previous, totals(*rows), noise, DAY + timedelta(days=after), SETTINGS)


def of(looks: pl.DataFrame, name: str) -> dict[str, Any]:
    return looks.filter(fingerprint=name).row(0, named=True)


# -- sums


def test_both_numbers_of_a_rate_are_summed_where_both_are_known():
    found = memory.add_up(
        days(
            {"impressions": 100, "link_clicks": 3, "conversions": 1, "spend_micros": 50, "revenue_micros": 90},
            {"date": DAY - timedelta(days=1), "impressions": 200, "link_clicks": None, "spend_micros": 70},
            {"date": DAY - timedelta(days=2), "impressions": 300, "link_clicks": 4, "spend_micros": 30, "revenue_micros": 10},
        ).lazy(),
        DAY - timedelta(days=1),
    ).collect()
    row = found.row(0, named=True)
    assert (row["impressions"], row["link_clicks"], row["impressions_squared"]) == (400, 7, 100**2 + 300**2)
    assert (row["mature_clicks"], row["conversions"]) == (0, 0), "conversions of the newest day are not known yet"
    assert (row["mature_spend_micros"], row["revenue_micros"]) == (30, 10)


counts = st.one_of(st.none(), st.integers(0, 1_000))
drawn = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("cd"), st.integers(0, 9), counts, counts, counts),
    unique_by=lambda row: row[:3],
    max_size=20,
)


@given(drawn, st.integers(0, 9))
def test_parts_of_a_history_add_up_to_the_whole(rows: list[tuple[Any, ...]], cut: int):
    names = ("impressions", "link_clicks", "conversions")
    whole = days(
        *(
            {
                "account_id": account,
                "creative_id": creative,
                "date": DAY + timedelta(days=n),
                **dict(zip(names, some, strict=True)),
            }
            for account, creative, n, *some in rows
        )
    )
    border, mature = DAY + timedelta(days=cut), DAY + timedelta(days=7)
    parts = [whole.filter(pl.col("date") < border), whole.filter(pl.col("date") >= border)]
    summed = memory.together([memory.add_up(part.lazy(), mature) for part in parts]).collect()
    assert summed.equals(memory.together([memory.add_up(whole.lazy(), mature)]).collect())


def test_creatives_of_an_owner_with_one_fingerprint_are_one_entry():
    number = {name: 1 for name in memory.SUMS if name not in ("account_id", "creative_id")}
    rows = [
        {"account_id": "a1", "creative_id": "1", **number, "impressions": 300, "impressions_squared": 9},
        {"account_id": "a1", "creative_id": "2", **number, "impressions": 100, "impressions_squared": 16},
        {"account_id": "a2", "creative_id": "3", **number, "impressions": 350},
        {"account_id": "b", "creative_id": "1", **number},
        {"account_id": "b", "creative_id": "2", **number},
        {"account_id": "stranger", "creative_id": "1", **number},
    ]
    named = [("a1", "1", "x"), ("a1", "2", "x"), ("a2", "3", "x"), ("b", "1", "x"), ("b", "2", None)]
    creatives = pl.DataFrame(named, schema=["account_id", "creative_id", "fingerprint"], orient="row").with_columns(
        owner=pl.col("account_id").str.head(1)
    )
    found = memory.entries(pl.DataFrame(rows, schema=memory.SUMS), creatives)
    assert found.schema == memory.TOTALS
    assert found.select("owner", "fingerprint", "creatives").rows() == [("a", "x", 3), ("b", "b/2", 1), ("b", "x", 1)]
    first = found.row(0, named=True)
    assert (first["account_id"], first["creative_id"]) == ("a1", "1"), "the account, then the creative with most impressions"
    assert (first["impressions"], first["link_clicks"]) == (750, 3)
    assert first["mature_spend_micros"] == first["revenue_micros"] == 2, "money of two accounts is not added"
    assert first["impressions_squared"] == (3 + 4 + 1) ** 2


# -- noise


def market(rng: np.random.Generator, sd: float, creatives: int = 60, n: int = 28, volume: int = 3_000) -> pl.DataFrame:
    rate = 0.02 * np.exp(rng.normal(0, 0.4, creatives))
    impressions = rng.poisson(volume, (creatives, n))
    clicks = rng.poisson(impressions * rate[:, None] * np.exp(rng.normal(0, sd, (creatives, n))))
    who = np.repeat(np.arange(creatives), n)
    frame = pl.DataFrame({"creative_id": who, "impressions": impressions.ravel(), "link_clicks": clicks.ravel()})
    return frame.with_columns(
        pl.col("creative_id").cast(pl.String),
        account_id=pl.lit("a"),
        date=pl.Series([DAY - timedelta(days=back) for back in range(n)] * creatives),
        conversions=pl.lit(None, pl.Int64),
        spend_micros=pl.lit(1, pl.Int64),
        revenue_micros=pl.Series(rng.poisson(200, creatives * n)),
    ).select(pl.col(name).cast(kind) for name, kind in memory.DAYS.items())


@pytest.mark.parametrize("sd", [0.0, 0.1, 0.3])
def test_day_noise_is_found_again(sd: float):
    found = memory.noise(market(np.random.default_rng(3), sd), SETTINGS).row(0, named=True)
    assert found["ctr_day_variance"] ** 0.5 == pytest.approx(sd, abs=0.03)
    assert found["cvr_day_variance"] == pytest.approx(SETTINGS.day_noise**2), "nothing is known of conversions"


def test_before_days_can_be_compared_it_is_assumed():
    one = days({"impressions": 1_000, "link_clicks": 20, "spend_micros": 10, "revenue_micros": 10})
    assert memory.noise(one, SETTINGS).row(0) == ("a", SETTINGS.day_noise**2, SETTINGS.day_noise**2, None)


def test_noise_and_looks_do_not_depend_on_the_order_of_rows():
    facts, rows = market(np.random.default_rng(5), 0.1, creatives=12), [*plain(), entry("winner", 50_000, 0.05)]
    noise = memory.noise(facts, SETTINGS)
    assert noise.equals(memory.noise(facts.sample(fraction=1, shuffle=True, seed=1), SETTINGS))
    assert look(NOTHING, rows, noise=noise).equals(look(NOTHING, rows[::-1], noise=noise))


# -- intervals


def test_intervals_hold_the_truth_as_often_as_they_say_with_day_noise():
    rng = np.random.default_rng(11)
    creatives, held, asked = 40, 0, 0
    for _ in range(25):
        truth = 0.02 * np.exp(rng.normal(0, 0.4, creatives))
        volume = np.broadcast_to(rng.integers(100, 10_000, (creatives, 1)), (creatives, 20))
        clicks = rng.poisson(volume * truth[:, None] * np.exp(rng.normal(0, 0.1, volume.shape)))
        rows = totals(
            *(
                {
                    "fingerprint": f"{n:02}",
                    "impressions": int(volume[n].sum()),
                    "link_clicks": int(clicks[n].sum()),
                    "impressions_squared": int((volume[n] ** 2).sum()),
                }
                for n in range(creatives)
            )
        )
        found = memory.estimate(rows, pl.Series([True] * creatives), NO_NOISE, SETTINGS)
        held += int(((found["ctr_low"].to_numpy() <= truth) & (truth <= found["ctr_high"].to_numpy())).sum())
        asked += creatives
    assert 0.94 <= held / asked <= 0.99


def test_an_accounts_other_creatives_hold_back_and_never_lift():
    """A new creative of an account whose every creative has 5 % has shown nothing yet."""
    alike = [entry(f"w{n}", 40_000, 0.05 + 0.0002 * n) for n in range(12)]
    found = look(NOTHING, [*alike, entry("new", 600, 0.04)])
    assert of(found, "w3")["outcome"] == "entered"
    assert of(found, "new")["outcome"] == "passed_over"
    # The same 24 clicks among ordinary creatives are believed less.
    assert of(look(NOTHING, [*plain(), entry("new", 600, 0.04)]), "new")["ctr"] < of(found, "new")["ctr"]


@pytest.mark.parametrize("ctr", [0.05, 0.0])
def test_a_creative_alone_in_its_account_is_judged_by_its_own_counts(ctr: float):
    row = of(look(NOTHING, [entry("only", 20_000, ctr)]), "only")
    assert row["ctr_low"] - 1e-6 <= ctr <= row["ctr_high"]
    assert row["outcome"] == ("entered" if ctr else "passed_over")


def test_cvr_and_roas_are_unknown_below_a_number_of_conversions():
    rows = [
        entry(
            f"{n}", 50_000, 0.02, mature_clicks=1_000, conversions=n, mature_clicks_squared=1_000 * 50, mature_spend_micros=10
        )
        for n in (10, 29, 100)
    ]
    found = look(NOTHING, rows)
    assert found["cvr"].is_null().to_list() == [True, False, True]
    assert of(found, "100")["metric"] == "cvr"
    assert of(found, "100")["cvr_low"] >= SETTINGS.enter_cvr
    assert found["roas"].null_count() == 3, "no two days of revenue"


def test_a_creative_enters_by_its_roas():
    noise = pl.DataFrame({"account_id": "a", "ctr_day_variance": 0.01, "cvr_day_variance": 0.01, "roas_dispersion": 80e6})
    money = {"mature_spend_micros": 1_000_000_000, "revenue_micros": 5_000_000_000}
    clicks = {"mature_clicks": 3_000, "conversions": 80, "mature_clicks_squared": 3_000 * 60}
    rows = [*plain(), entry("paying", 90_000, 0.02, **money, **clicks)]
    row = of(look(NOTHING, rows, noise=noise), "paying")
    assert (row["outcome"], row["metric"]) == ("entered", "roas")
    assert 3 <= row["roas_low"] < row["roas"] <= 5
    assert row["reason"].startswith("ROAS ")
    assert row["reason"].endswith(": the lower end reaches 3")


# -- the rule


def after(rows: list[dict[str, Any]], *steps: list[dict[str, Any]]) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """The state after several days, and the looks of each."""
    state, seen = NOTHING, []
    for number, step in enumerate([rows, *steps]):
        looks = look(state, step, number)
        state = pl.concat([state.join(looks, on=memory.KEY, how="anti"), looks])
        seen.append(looks)
    return state, seen


def test_the_life_of_a_winner():
    series = [(10_000, 0.045), (19_999, 0.001), (20_000, 0.045), (45_000, 0.024), (90_000, 0.022), (200_000, 0.04)]
    state, seen = after(*([*plain(), entry("w", *step)] for step in series))
    told = [looks.filter(fingerprint="w").to_dicts() for looks in seen]
    assert [len(rows) for rows in told] == [1, 0, 1, 1, 1, 1]
    entered, validated, left, passed, returned = (row for rows in told for row in rows)
    outcomes = [row["outcome"] for row in (entered, validated, left, passed, returned)]
    assert outcomes == ["entered", "validated", "left", "passed_over", "returned"]
    assert entered["next_look_impressions"] == 20_000
    assert (entered["entered_on"], entered["last_validated"], entered["validations"]) == (DAY, DAY, 0)
    assert (validated["entered_on"], validated["last_validated"]) == (DAY, DAY + timedelta(days=2))
    assert (left["left_on"], left["metric"], left["validations"]) == (DAY + timedelta(days=3), "ctr", 1)
    assert left["reason"].startswith("CTR 2.")
    assert left["reason"].endswith("the lower end is below 2.5 %")
    assert passed["left_on"] == left["left_on"]
    assert (returned["entered_on"], returned["left_on"], returned["looks"]) == (DAY + timedelta(days=5), None, 5)
    assert of(state, "w") == returned


def test_between_entering_and_leaving_a_member_stays():
    """What would not let it enter does not make it leave."""
    _, seen = after([*plain(), entry("w", 20_000, 0.04)], [*plain(), entry("w", 60_000, 0.0285), entry("n", 60_000, 0.0285)])
    member, other = of(seen[1], "w"), of(seen[1], "n")
    assert SETTINGS.leave_ctr <= member["ctr_low"] < SETTINGS.enter_ctr
    assert (member["outcome"], other["outcome"]) == ("validated", "passed_over")


def test_a_member_stays_by_another_metric_that_would_let_it_enter():
    converting = {"mature_clicks": 2_000, "conversions": 200, "mature_clicks_squared": 2_000 * 50}
    _, seen = after([*plain(), entry("w", 20_000, 0.05)], [*plain(), entry("w", 100_000, 0.02, **converting)])
    row = of(seen[1], "w")
    assert (row["outcome"], row["metric"], row["validations"]) == ("validated", "cvr", 1)


def test_nothing_is_looked_at_before_its_impressions_have_doubled():
    rows = [*plain(), entry("small", SETTINGS.first_look_impressions - 1, 0.5)]
    state, (first, second) = after(rows, [*plain(), entry("small", SETTINGS.first_look_impressions, 0.5)])
    assert "small" not in first["fingerprint"]
    assert second["fingerprint"].to_list() == ["small"]
    assert look(state, rows, after=2).is_empty()


def test_a_member_whose_fingerprint_nothing_has_any_more_has_left():
    state, _ = after([*plain(), entry("w", 20_000, 0.05)])
    looks = look(state, plain(), after=1)
    (row,) = looks.to_dicts()
    assert (row["fingerprint"], row["outcome"], row["left_on"], row["ctr"]) == ("w", "left", DAY + timedelta(days=1), None)
    assert row["impressions"] == 20_000
    gone = pl.concat([state.join(looks, on=memory.KEY, how="anti"), looks])
    assert look(gone, plain(), after=2).is_empty()


def test_accounts_do_not_shape_each_others_priors():
    alone = look(NOTHING, [*plain(), entry("w", 5_000, 0.035)])
    rich = [entry(f"r{n}", 50_000, 0.06, owner="b", account_id="b") for n in range(20)]
    both = look(NOTHING, [*plain(), entry("w", 5_000, 0.035), *rich])
    assert_frame_equal(both.filter(owner="a"), alone, check_exact=True)


def test_an_entry_that_stands_there_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        look(NOTHING, [entry("w", 1_000, 0.05), entry("w", 1_000, 0.05)])


def test_nothing_delivered_is_nothing_looked_at():
    assert look(NOTHING, []).equals(NOTHING)


# -- likeness


def test_likeness_is_the_cosine_and_unknown_without_text():
    one, other = np.eye(256)[0], np.eye(256)[0] + np.eye(256)[1]
    found = memory.similarity(np.stack([one, np.full(256, np.nan)]), np.stack([3 * one, other]))
    assert found[0].tolist() == pytest.approx([1, 0.5**0.5])
    assert np.isnan(found[1]).all()
    assert memory.similarity(np.stack([one]), np.empty((0, 256))).shape == (1, 0)


def test_a_hit_is_a_winner_that_was_known_before():
    ideas = np.stack([np.eye(256)[0], np.eye(256)[0], np.eye(256)[1], np.full(256, np.nan)])
    since = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=1), DAY]
    assert memory.hits(ideas, since, np.eye(256)[:1], [DAY], 0.9) == (1, 3)
    assert memory.hits(ideas, since, np.empty((0, 256)), [], 0.9) == (0, 3)
    assert memory.hits(ideas[3:], since[3:], np.eye(256)[:1], [DAY], 0.9) == (0, 0)


def test_a_signal_adds_a_look_and_leaves_the_doublings_where_they_are():
    first = look(NOTHING, [*plain(), entry("w", 10_000, 0.02), entry("new", 300, 0.02)])
    rows = [*plain(), entry("w", 15_000, 0.05), entry("new", 400, 0.05), entry("p99", 20_000, 0.01)]
    named = pl.DataFrame({"owner": ["a"] * 3, "fingerprint": ["w", "new", "no such entry"]})
    found = memory.look(first, totals(*rows), NO_NOISE, DAY + timedelta(days=1), SETTINGS, named)
    assert found.select("fingerprint", "cause").rows() == [("p99", "impressions"), ("w", "signal")]
    one = of(found, "w")
    assert (one["outcome"], one["looks"], one["signal_looks"], one["next_look_impressions"]) == ("entered", 2, 1, 20_000)
    state = pl.concat([first.join(found, on=memory.KEY, how="anti"), found])
    doubled = memory.look(state, totals(*plain(), entry("w", 21_000, 0.05)), NO_NOISE, DAY + timedelta(days=2), SETTINGS, named)
    again = of(doubled, "w")
    assert (again["cause"], again["looks"], again["signal_looks"], again["next_look_impressions"]) == (
        "impressions",
        3,
        1,
        42_000,
    )
    assert (again["outcome"], again["entered_on"]) == ("validated", DAY + timedelta(days=1))


def test_who_is_named_every_day_is_taken_for_a_winner_by_chance_at_most_about_twice_as_often():
    """On the edge itself (a true CTR of the threshold), over 90 days, against looks at doublings only: 1.65 and 1.9 times as often."""
    from scipy.special import gammaincinv

    rng = np.random.default_rng(1)
    for impressions in (200, 1_000):
        seen = np.cumsum(np.full(90, impressions))
        clicks = np.cumsum(rng.poisson(SETTINGS.enter_ctr * impressions, (4_000, 90)), axis=1)
        enters = gammaincinv(0.5 + clicks, 0.025) / seen >= SETTINGS.enter_ctr
        doublings, due = [], SETTINGS.first_look_impressions
        for day, total in enumerate(seen):
            if total >= due:
                doublings.append(day)
                due = 2 * total
        alone, named = enters[:, doublings].any(axis=1).mean(), enters[:, doublings[0] :].any(axis=1).mean()
        assert alone < 0.025 * len(doublings)
        assert named < 2.2 * alone
