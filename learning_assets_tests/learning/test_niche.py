"""Niches of texts and of accounts: keywords are whole words, doubt is said, two niches are mixed, and nothing depends on chance."""

import numpy as np
import polars as pl
import pytest

from learning_assets.learning import embedding, niche
from learning_assets.learning.niche import classifier
from learning_assets.settings import Niches

SETTINGS = Niches()
FOOD = [
    "Fresh pasta with a rich tomato sauce, dinner in ten minutes.",
    "Our bakery opens at six: warm bread and croissants.",
    "Two burgers, fries and a milkshake for twelve.",
]
CARS = [
    "Test drive the new hybrid sedan at your dealer.",
    "Winter tyres and brakes, fitted while you wait.",
    "The seven-seat SUV with all-wheel drive.",
]


def creatives(**texts: list[str]) -> pl.DataFrame:
    rows = [(account, text) for account, listed in texts.items() for text in listed]
    frame = pl.DataFrame(rows, schema={"account_id": pl.String, "text": pl.String}, orient="row")
    vectors = embedding.to_bytes(embedding.embed(frame["text"].to_list()))
    return frame.with_columns(embedding=pl.Series(vectors, dtype=pl.Binary))


def test_the_shipped_ads_hold_every_label_often_enough_and_none_twice():
    ads = niche.training_ads()
    counts = dict(ads["niche"].value_counts().iter_rows())
    assert set(counts) == set(niche.LABELS)
    assert min(count for name, count in counts.items() if name != niche.UNKNOWN) >= 30
    assert counts[niche.UNKNOWN] >= 60
    assert ads["text"].is_unique().all()


def test_every_keyword_is_of_one_niche_and_every_niche_has_sub_niches():
    listed = classifier._table("keywords.csv").with_columns(pl.col("words").str.split("|")).explode("words")
    assert listed["words"].is_unique().all()
    assert (listed["words"] == listed["words"].str.to_lowercase().str.strip_chars()).all()
    assert set(listed["niche"]) == set(niche.LABELS)
    assert (listed.group_by("niche").agg(pl.col("sub_niche").n_unique())["sub_niche"] >= 3).all()


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("scared of scarves and of Oscar", 0),  # none of them is a car
        ("Car, cars and a CAR's door", 3),
        ("chair, hairy, affairs", 0),  # neither hair nor fair
        ("70% off, 70 % off", 2),
        ("401(k)", 1),
    ],
)
def test_keywords_are_whole_words(text: str, hits: int):
    listed = classifier._keywords()
    counted = classifier._counts([text])[0]
    wanted = listed["niche"].is_in(["automotive", "beauty", "entertainment", "ecommerce", "finance"]).to_numpy()
    assert counted[wanted].sum() == hits


def test_probabilities_sum_to_one_and_are_the_same_each_time():
    texts = [*FOOD, *CARS, None, "  "]
    found = niche.probabilities(texts)
    assert found.shape == (8, 16)
    np.testing.assert_allclose(found[:6].sum(axis=1), 1)
    assert np.isnan(found[6:]).all()
    model = classifier.fit(niche.training_ads())
    np.testing.assert_allclose(niche.probabilities(texts, model=model)[:6], found[:6], atol=1e-12)


def test_a_text_without_a_subject_is_unknown_and_no_text_is_null():
    said = niche.label(["Yes.", "Now, here, for you.", None, *FOOD], SETTINGS.min_confidence)
    assert said["niche"].to_list() == ["unknown", "unknown", None, "food", "food", "food"]
    assert said["confidence"][2] is None
    assert said["confidence"].drop_nulls().is_between(0, 1).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="min_confidence is 2"):
        niche.label(["a"], 2.0)
    with pytest.raises(ValueError, match=r"expected \(1, 256\)"):
        niche.probabilities(["a"], np.zeros((2, 256), dtype=np.float32))
    with pytest.raises(ValueError, match=r"each of fitness, .* is needed"):
        classifier.fit(niche.training_ads().filter(pl.col("niche") != "food"))


def test_an_account_is_what_its_texts_are_and_mixed_where_two_niches_have_it():
    found = niche.of_accounts(creatives(both=FOOD + CARS, cars=CARS, food=[*FOOD, *FOOD, "Yes.", "Now."]), SETTINGS)
    assert found.schema == niche.ACCOUNTS
    said = {row["account_id"]: row for row in found.iter_rows(named=True)}
    assert list(said) == ["both", "cars", "food"]
    assert {said["both"]["niche"], said["both"]["second_niche"]} == {"food", "automotive"}
    assert said["both"]["second_confidence"] <= said["both"]["confidence"]
    assert (said["cars"]["niche"], said["cars"]["second_niche"]) == ("automotive", None)
    assert (said["food"]["niche"], said["food"]["second_niche"], said["food"]["texts"]) == ("food", None, 5)
    assert said["food"]["confidence"] >= SETTINGS.min_confidence
    assert said["cars"]["sub_niche"] in {"cars", "dealers", "parts and repair", "driving"}


def test_an_account_of_which_little_is_sure_is_unknown():
    said = niche.of_accounts(creatives(vague=["Yes.", "Now.", "For you.", "Because.", FOOD[0]]), SETTINGS)
    assert said["niche"].to_list() == ["unknown"]
    assert said["second_niche"].to_list() == [None]
    assert niche.of_accounts(creatives(), SETTINGS).schema == niche.ACCOUNTS
