"""The text model: it finds words that lift clicks, keeps its walls, scores out of fold without leaks, and survives its file."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from learning_assets.learning import text_model

LIFTS = {"secret": 0.4, "tears": 0.3, "report": -0.4, "committee": -0.3}
PLAIN = ["city", "school", "house", "family", "water", "music", "road", "garden", "letter", "morning", "market", "winter"]


def market(
    seed: int, groups: int, arms: int, *, owners: int = 1, lifts: dict[str, float] | None = None, impressions: int = 5_000
) -> tuple[pl.DataFrame, np.ndarray]:
    """Arms of groups with rates of their own, and each arm's true log lift."""
    rng = np.random.default_rng(seed)
    lifts = LIFTS if lifts is None else lifts
    rows, truth = [], []
    for group in range(groups):
        rate = 0.015 * np.exp(rng.normal(0, 0.5))
        for _ in range(arms):
            words = [*rng.choice(PLAIN, 4, replace=False), *rng.choice(list(LIFTS), 1)]
            rng.shuffle(words)
            lift = sum(lifts.get(word, 0.0) for word in words)
            truth.append(lift)
            clicks = int(rng.binomial(impressions, rate * np.exp(lift + rng.normal(0, 0.1))))
            account = f"account {group % max(owners, 1)}"
            rows.append((f"owner {group % owners}", account, f"group {group}", " ".join(words), impressions, clicks))
    return pl.DataFrame(rows, schema=text_model.ROWS, orient="row"), np.array(truth)


def inside(scores: np.ndarray, truth: np.ndarray, rows: pl.DataFrame) -> float:
    """Correlation of scores and truth inside groups; 0 where every score is the same."""
    if np.ptp(scores) == 0:
        return 0.0
    frame = pl.DataFrame({"group": rows["group"], "s": scores, "t": truth}).select(
        pl.col("s") - pl.col("s").mean().over("group"), pl.col("t") - pl.col("t").mean().over("group")
    )
    return float(np.corrcoef(frame["s"], frame["t"])[0, 1])


def test_words_that_lift_clicks_are_found_in_unseen_texts():
    rows, _ = market(1, groups=150, arms=4)
    model = text_model.fit(rows)
    later, truth = market(2, groups=100, arms=4)
    assert inside(model.score(later["text"].to_list()), truth, later) > 0.9
    assert model.correlation > 0.5
    assert (model.groups, model.owners) == (150, 1)


def test_scores_are_log_rates():
    rows, _ = market(3, groups=300, arms=4, impressions=20_000)
    high, low = text_model.fit(rows).score(["garden secret road city music", "garden report road city music"])
    assert high - low == pytest.approx(0.8, abs=0.15)


def test_templated_ads_of_few_accounts_are_learned_from():
    rng = np.random.default_rng(4)
    openings = {"Tired of {}?": 0.2, "Save 20% on {}": 0.1, "Watch {} in action": -0.1, "{} by people you trust": -0.2}
    things = ["boots", "lamps", "tea", "bags", "desks", "coats", "rugs", "mugs", "pens", "soap"]
    rows = []
    for account in range(8):
        for _ in range(40):
            opening = list(openings)[rng.integers(4)]
            clicks = int(rng.poisson(300 * np.exp(openings[opening] + rng.normal(0, 0.25))))
            text = opening.format(things[rng.integers(10)])
            rows.append((f"owner {account}", f"account {account}", f"account {account}", text, 20_000, clicks))
    model = text_model.fit(pl.DataFrame(rows, schema=text_model.ROWS, orient="row"))
    scores = [float(np.mean(model.score([opening.format(thing) for thing in things]))) for opening in openings]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[3] == pytest.approx(0.4, abs=0.15)


def test_where_words_tell_nothing_the_score_is_next_to_nothing():
    rows, _ = market(5, groups=100, arms=4, lifts={})
    found = text_model.out_of_fold(rows)
    assert np.std(found) < 0.05


def test_out_of_fold_scores_agree_with_truth_but_do_not_know_their_own_noise():
    rows, truth = market(6, groups=150, arms=4)
    assert inside(text_model.out_of_fold(rows), truth, rows) > 0.85
    rng = np.random.default_rng(7)
    # every text is unique and its clicks are noise: a model that saw its own row would agree with it
    noise = rows.with_columns(
        text=pl.col("text") + pl.int_range(pl.len()).cast(pl.String), link_clicks=rng.poisson(75, rows.height)
    )
    agreement = inside(text_model.out_of_fold(noise), np.log(noise["link_clicks"].to_numpy() + 1), noise)
    assert abs(agreement) < 0.15


def test_a_text_in_several_groups_does_not_leak():
    rng = np.random.default_rng(8)
    texts = [
        f"{a} {b} {index}" for index, (a, b) in enumerate(zip(rng.choice(PLAIN, 200), rng.choice(PLAIN, 200), strict=True))
    ]
    luck = rng.normal(0, 0.4, 200)
    rows = [
        ("o", "a", f"week {week}", texts[index], 20_000, int(rng.poisson(300 * np.exp(luck[index]))))
        for week in range(6)
        for index in range(200)
    ]
    frame = pl.DataFrame(rows, schema=text_model.ROWS, orient="row")
    found = text_model.out_of_fold(frame)
    # what each text's luck was is in the other weeks' rows: a split by row or by week would read it there
    assert abs(inside(found, np.tile(luck, 6), frame)) < 0.25
    by_text = frame.with_columns(score=pl.Series(found)).group_by("text").agg(pl.col("score").n_unique())
    assert by_text["score"].to_list() == [1] * 200


def test_rows_that_teach_nothing_are_nan_and_stay_aligned():
    rows, _ = market(9, groups=20, arms=4)
    extra = pl.DataFrame(
        [
            ("owner 0", "account 0", "alone", "garden secret", 1_000, 20),
            ("owner 0", "account 0", "group 1", None, 1_000, 20),
            ("owner 0", "account 0", "group 1", "garden tears letters", 0, 0),
        ],
        schema=text_model.ROWS,
        orient="row",
    )
    found = text_model.out_of_fold(pl.concat([extra, rows]))
    assert np.isnan(found[:3]).all()
    assert np.isfinite(found[3:]).all()
    assert (found[3:] == text_model.out_of_fold(rows)).all()


def _weighs(model: text_model.TextModel, word: str) -> bool:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashed: Any = HashingVectorizer(n_features=2**31 - 1, alternate_sign=False).transform([word])
    return bool(np.isin(hashed.indices, model.hashes).all())


def test_over_several_owners_only_words_of_five_owners_keep_a_weight():
    rows, _ = market(10, groups=60, arms=4, owners=6)
    own = [f"owner {index}" for index in range(4)]
    with_private = rows.with_columns(
        text=pl.when(pl.col("owner") == "owner 0")
        .then(pl.col("text") + " brandname")
        .when(pl.col("owner").is_in(own))
        .then(pl.col("text") + " fourowners")
        .otherwise("text")
    )
    model = text_model.fit(with_private, min_owners=5)
    assert _weighs(model, "secret")
    assert not _weighs(model, "brandname")
    assert not _weighs(model, "fourowners")
    assert _weighs(text_model.fit(with_private, min_owners=3), "fourowners")
    assert _weighs(text_model.fit(with_private.filter(pl.col("owner") == "owner 0")), "brandname")


def test_several_owners_but_too_few_are_refused():
    rows, _ = market(11, groups=12, arms=3, owners=4)
    with pytest.raises(text_model.NotEnoughText, match="rows of 4 owners"):
        text_model.fit(rows)


def test_groups_of_two_accounts_with_one_name_are_two_groups():
    rows, _ = market(12, groups=40, arms=4)
    renamed = rows.with_columns(
        account_id=pl.concat_str(pl.lit("account "), pl.col("group").str.extract(r"(\d+)").cast(pl.Int64) % 2),
        group=pl.concat_str(pl.lit("group "), pl.col("group").str.extract(r"(\d+)").cast(pl.Int64) // 2),
    )
    assert text_model.fit(renamed).groups == 40


def test_the_order_of_rows_does_not_matter_and_the_file_holds_the_model(tmp_path: Path):
    rows, _ = market(13, groups=40, arms=4)
    model, again = text_model.fit(rows), text_model.fit(rows.sample(fraction=1, shuffle=True, seed=1))
    model.save(tmp_path / "one.npz")
    again.save(tmp_path / "two.npz")
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("one.npz", "two.npz")}
    assert len(digests) == 1
    loaded = text_model.load(tmp_path / "one.npz")
    texts = ["secret garden\nA body.", None, " ", "nothing of it was ever seen"]
    assert np.array_equal(loaded.score(texts), model.score(texts), equal_nan=True)
    assert np.isnan(model.score(texts)).tolist() == [False, True, True, False]
    assert (loaded.texts, loaded.correlation, loaded.version) == (model.texts, model.correlation, text_model.VERSION)


def test_a_file_of_another_version_is_refused(tmp_path: Path):
    path = tmp_path / "old.npz"
    np.savez_compressed(path, version=np.asarray("0"))
    with pytest.raises(ValueError, match=r"old.npz was fitted by text model 0, .* train it again"):
        text_model.load(path)


def test_bad_rows_are_named():
    rows, _ = market(14, groups=5, arms=3)
    with pytest.raises(ValueError, match="no column owner"):
        text_model.fit(rows.drop("owner"))
    with pytest.raises(
        ValueError, match="more clicks than impressions; the first is of account account 0: 6000 clicks of 5000"
    ):
        text_model.fit(rows.with_columns(link_clicks=pl.lit(6_000)))
    with pytest.raises(text_model.NotEnoughText, match="nothing to compare"):
        text_model.fit(rows.unique("group"))
    with pytest.raises(text_model.NotEnoughText, match="for 50 folds"):
        text_model.fit(rows, folds=50)
    with pytest.raises(ValueError, match="at least 2"):
        text_model.fit(rows, folds=1)
