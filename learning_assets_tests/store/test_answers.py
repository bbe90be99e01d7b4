"""The ledger of what a language model was asked, and the consents that it rests on."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from learning_assets.assets import LAKE
from learning_assets.platforms.source import ACCOUNTS
from learning_assets.store import answers
from learning_assets.store.store import POOLED_LEARNING, TEXT_TO_CLAUDE, Store
from learning_assets.store.walls import PIPELINE, Wall

NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)
ANSWER = {"hook_types": ["offer"], "hook_confidences": [0.9]}


def call(owner: str = "ann", request_hash: str = "h", attempt: int = 1, **values: Any) -> dict[str, Any]:
    plain = {
        "purpose": "hook_types",
        "model": "m",
        "status": "answered",
        "answer": ANSWER,
        "input_tokens": 10,
        "output_tokens": 2,
    }
    return {"owner": owner, "request_hash": request_hash, "attempt": attempt, **plain, "cost_usd_micros": 3, "at": NOW} | values


def known(store: Store, *hashes: str, owner: str = "ann", purpose: str = "hook_types") -> dict[str, tuple[bool, int, int]]:
    rows = answers.asked(store.tables, owner, purpose, hashes, ("refused",)).iter_rows(named=True)
    return {row["request_hash"]: (row["answer"] is not None, row["attempts"], row["failures"]) for row in rows}


def test_an_answer_is_found_by_its_owner_purpose_and_question_alone(store: Store):
    answers.record(store.tables, [call(), call(request_hash="i", status="refused", answer=None)])
    answers.record(store.tables, [])
    assert known(store, "h", "i", "j") == {"h": (True, 1, 0), "i": (False, 1, 1)}
    assert known(store, "h", owner="bob") == {}
    assert known(store, "h", purpose="niche") == {}
    found = answers.asked(store.tables, "ann", "hook_types", ["h"], ())["answer"].str.json_decode(
        pl.Struct({"hook_types": pl.List(pl.String), "hook_confidences": pl.List(pl.Float64)})
    )
    assert found.to_list() == [ANSWER]
    assert store.tables.read("llm_calls", Wall("bob")).is_empty()


def test_failures_that_are_not_the_texts_do_not_count_against_it(store: Store):
    answers.record(
        store.tables,
        [
            call(status="timeout", answer=None),
            call(attempt=2, status="refused", answer=None),
            call(attempt=3),
        ],
    )
    assert known(store, "h") == {"h": (True, 3, 1)}


def test_what_was_spent_is_that_of_all_owners_since_the_moment(store: Store):
    assert answers.spent_usd_micros(store.tables, NOW) == 0
    answers.record(store.tables, [call(), call("bob", cost_usd_micros=5), call(attempt=2, at=NOW - timedelta(seconds=1))])
    assert answers.spent_usd_micros(store.tables, NOW) == 8
    assert answers.spent_usd_micros(store.tables, NOW - timedelta(days=1)) == 11


@pytest.fixture
def known_accounts(store: Store) -> Store:
    rows = [
        {"account_id": name, "owner": name, "name": name, "currency": "EUR", "timezone": "UTC", "consents": True}
        for name in "ab"
    ]
    store.register(pl.DataFrame(rows, schema=ACCOUNTS))
    return store


def test_nobody_has_allowed_anything_that_was_not_asked(known_accounts: Store):
    assert known_accounts.consenting(TEXT_TO_CLAUDE) == []
    assert known_accounts.consenting(POOLED_LEARNING) == ["a", "b"]


def test_the_newest_word_counts_also_where_the_clock_stands_still(known_accounts: Store):
    store = Store(known_accounts.settings.model_copy(update={"now": NOW}), LAKE, known_accounts.identity)
    told: list[bool] = []
    for given in (True, True, False, False, True):
        told.append(store.consent("a", TEXT_TO_CLAUDE, given=given, by=" Ann "))
        assert store.consenting(TEXT_TO_CLAUDE) == (["a"] if given else [])
    assert told == [True, False, True, False, True]
    rows = store.tables.read("consents", PIPELINE, purpose=TEXT_TO_CLAUDE).sort("at")
    assert rows.select("account_id", "given", "given_by").rows() == [("a", given, "Ann") for given in (True, False, True)]
    assert rows["at"].to_list() == [NOW + timedelta(microseconds=n) for n in range(3)]


def test_a_consent_needs_an_account_and_a_name(known_accounts: Store):
    with pytest.raises(ValueError, match="There is no account c; there are a, b"):
        known_accounts.consent("c", TEXT_TO_CLAUDE, given=True, by="Ann")
    with pytest.raises(ValueError, match="needs the name"):
        known_accounts.consent("a", TEXT_TO_CLAUDE, given=True, by=" ")
    assert known_accounts.consenting(TEXT_TO_CLAUDE) == []
