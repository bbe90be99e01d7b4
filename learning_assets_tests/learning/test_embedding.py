"""Embeddings: unit vectors from the packaged weights, NaN for nothing, and storage."""

import numpy as np
import pytest

from learning_assets.learning import embedding


def test_vectors_are_unit_and_near_texts_are_near():
    vectors = embedding.embed(["running shoes for women", "sneakers for female runners", "quarterly tax report"])
    assert vectors.shape == (3, 256)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_nothing_to_embed_is_nan_and_does_not_disturb_the_others():
    vectors = embedding.embed([None, "shoes", "  ", ""])
    assert np.isnan(vectors).all(axis=1).tolist() == [True, False, True, True]
    assert (vectors[1] == embedding.embed(["shoes"])[0]).all()
    assert embedding.embed([]).shape == (0, 256)


def test_storage_round_trip():
    vectors = embedding.embed(["shoes", None, "a quiet garden"])
    stored = embedding.to_bytes(vectors)
    assert [row if row is None else len(row) for row in stored] == [512, None, 512]
    assert stored[0] == vectors[0].astype("<f2").tobytes()
    back = embedding.from_bytes(stored)
    assert np.nanmax(np.abs(back - vectors)) < 5e-4
    assert np.isnan(back[1]).all()


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected \(n, 256\)"):
        embedding.to_bytes(np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="row 1 has 3 bytes"):
        embedding.from_bytes([None, b"abc"])
