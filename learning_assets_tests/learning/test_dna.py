"""Text DNA: each measure on texts whose answer is known, bins, fingerprints, and NULL for what is not known."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from learning_assets.learning import dna


def creatives(*rows: Mapping[str, str | None]) -> pl.DataFrame:
    listed = [{"account_id": "a", "creative_id": str(index), **row} for index, row in enumerate(rows)]
    return pl.DataFrame(listed, schema=dna.CREATIVES)


def one(**texts: str | None) -> dict[str, Any]:
    return dna.extract(creatives(texts)).row(0, named=True)


def test_schema_rows_and_named_columns():
    found = dna.extract(creatives({"headline": "Blue shirt"}, {"body": "Soft linen."}))
    assert found.schema == dna.DNA
    assert found["creative_id"].to_list() == ["0", "1"]
    assert set(dna.ATTRIBUTES) <= set(dna.DNA)
    assert set(dna.FEATURES) <= set(dna.DNA)
    assert dna.extract(creatives()).schema == dna.DNA


def test_without_text_everything_said_of_text_is_null():
    found = one(headline=" ", body="<p>&nbsp;</p>", cta="shop now", template="carousel")
    known = {name for name, value in found.items() if value is not None}
    assert known == {"account_id", "creative_id", "cta", "template"}
    assert found["cta"] == "SHOP_NOW"


def test_html_is_stripped_from_every_part():
    html = creatives(
        {
            "headline": "Fish &amp; chips&#8217; <b>best</b>",
            "body": "<p>One<br/>two</p><script>var you = 1;</script> a < b &copy x",
            "description": "<!-- you --> Sea",
        }
    )
    text = html.select(dna.text_of(pl.col("headline"), pl.col("body"), pl.col("description"))).item()
    assert text == "Fish & chips’ best\nOne two a < b &copy x\nSea"
    assert dna.extract(html)["second_person"].item() == "no"


def test_text_of_puts_what_is_read_first_on_the_first_line():
    frame = creatives({"body": "Body.", "description": "Below."}, {"headline": "Head"}, {})
    text = frame.select(text=dna.text_of(pl.col("headline"), pl.col("body"), pl.col("description")))["text"]
    assert text.to_list() == ["Body.\nBelow.", "Head", None]


def test_hook_block_reads_the_headline_or_the_bodys_first_sentence():
    headline = one(headline="3 tears you never cried", body="Is it true? Yes.")
    assert (headline["hook_words"], headline["has_number"], headline["second_person"], headline["has_question"]) == (
        5,
        "yes",
        "yes",
        "no",
    )
    assert headline["hook_emotion"] == "sadness"
    body = one(body="Is it true? Your shirt says yes.")
    assert (body["hook_words"], body["has_question"], body["second_person"]) == (3, "yes", "no")
    assert (headline["headline_words"], body["headline_words"]) == (5, None)
    assert one(headline="Blue shirt")["hook_emotion"] == "none"


def test_copy_counts():
    found = one(headline="Soft linen", body="Made in Porto. Don't wait!", description="100% flax")
    assert (found["copy_words"], found["copy_sentences"]) == (9, 4)


def test_reading_ease_is_fleschs():
    # 6 words, 1 sentence, 6 syllables: 206.835 - 1.015 * 6 - 84.6
    assert one(headline="The cat sat on the mat.")["reading_ease"] == pytest.approx(206.835 - 1.015 * 6 - 84.6)
    hard = one(headline="International organisations facilitate administrative simplification.")
    assert hard["reading_ease"] < 0
    assert hard["reading_ease_band"] == "hard"
    assert one(headline="新しい靴")["reading_ease"] is None


def test_sentiment_is_the_balance_of_words():
    assert one(headline="Great, lovely, terrible shoes")["sentiment"] == pytest.approx(1 / 3)
    assert one(headline="This is not good")["sentiment"] == -1.0
    assert one(headline="Blue linen")["sentiment"] == 0.0
    bands = dna.extract(creatives({"headline": "awful"}, {"headline": "linen"}, {"headline": "great"}))["sentiment_band"]
    assert bands.to_list() == ["negative", "neutral", "positive"]


@pytest.mark.parametrize(
    ("text", "price", "percent_off", "offer"),
    [
        ("Now $19.99", "yes", None, "no"),
        ("From 20 EUR", "yes", None, "no"),
        ("He gave away $5 million", "no", None, "no"),
        ("Save up to 40%, some 25% off", "no", 40.0, "yes"),
        ("Half price boots", "no", 50.0, "yes"),
        ("100% cotton", "no", None, "no"),
    ],
)
def test_prices_and_discounts(text: str, price: str, percent_off: float | None, offer: str):
    found = one(headline=text)
    assert (found["price"], found["percent_off"], found["offer"]) == (price, percent_off, offer)


def test_time_limits_and_emoji():
    assert one(headline="Ends Sunday")["time_limit"] == "yes"
    assert one(headline="Weekend bags")["time_limit"] == "no"
    assert one(headline="Hot 🔥 deal 👩‍👩‍👧 for 🇩🇪 ❤️")["emoji_count"] == 4
    plain = one(headline="Linen™ © 2024 #1")
    assert (plain["emoji_count"], plain["emoji"]) == (0, "no")


def test_discount_bins():
    found = dna.extract(creatives(*({"headline": text} for text in ("10% off", "20% off", "75% off", "linen"))))
    assert found["percent_off_band"].to_list() == ["under_20", "20_to_39", "40_up", "none"]


def test_fingerprint_is_shared_by_the_same_text_and_image_only():
    same = dna.extract(
        creatives(
            {"headline": "Blue  Shirt", "body": "<b>Soft</b>", "image_id": "i"},
            {"headline": "blue shirt", "body": "Soft", "image_id": "i"},
            {"headline": "blue shirt", "body": "Soft", "image_id": "j"},
            {"headline": "blue shirt soft", "image_id": "i"},
            {"image_id": "i"},
            {},
        )
    )["fingerprint"].to_list()
    assert same[0] == same[1]
    assert len(set(same)) == 5
    assert same[5] is None


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="no column template"):
        dna.extract(creatives({}).drop("template"))
