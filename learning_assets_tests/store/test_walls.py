"""Pools: rows of several owners are fitted together only where enough of them consent."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from learning_assets.store.walls import SHARED, Pool, niches, pools

Account = tuple[str, str, bool | None]


def accounts(*rows: Account) -> pl.DataFrame:
    schema = {"account_id": pl.String, "owner": pl.String, "consents": pl.Boolean}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def consenting(count: int) -> list[Account]:
    return [(f"a{n}", f"o{n}", True) for n in range(count)]


def test_below_five_owners_everybody_is_alone():
    found = pools(accounts(*consenting(4)), 5)
    assert found == [Pool(f"o{n}", f"o{n}", (f"a{n}",), 1) for n in range(4)]


def test_from_five_owners_on_they_share_one_pool():
    assert pools(accounts(*consenting(5)), 5) == [Pool(SHARED, None, ("a0", "a1", "a2", "a3", "a4"), 5)]


def test_owners_count_and_not_accounts():
    """Five accounts of four owners are four owners; the owner's accounts stay together."""
    found = pools(accounts(*consenting(4), ("b", "o0", True)), 5)
    assert found[0] == Pool("o0", "o0", ("a0", "b"), 1)
    assert [pool.name for pool in found] == ["o0", "o1", "o2", "o3"]


def test_who_does_not_consent_or_was_never_asked_has_a_pool_of_his_own():
    rows = [*consenting(5), ("x2", "zoe", None), ("x1", "zoe", False), ("y", "yan", False)]
    found = pools(accounts(*rows), 5)
    assert found[1:] == [Pool("yan", "yan", ("y",), 1), Pool("zoe", "zoe", ("x1", "x2"), 1)]
    assert found[0].account_ids == ("a0", "a1", "a2", "a3", "a4")


def test_an_owners_account_that_does_not_consent_stays_out_of_the_shared_pool():
    found = pools(accounts(*consenting(5), ("b", "o0", False)), 5)
    assert found == [Pool(SHARED, None, ("a0", "a1", "a2", "a3", "a4"), 5), Pool("o0", "o0", ("b",), 1)]


def test_without_accounts_there_are_no_pools():
    assert pools(accounts(), 5) == []


owners = st.sampled_from([f"o{n}" for n in range(8)])
drawn = st.lists(st.tuples(owners, st.sampled_from([True, True, False, None])), max_size=14)


@given(drawn, st.integers(1, 6))
def test_every_account_is_in_exactly_one_pool_and_no_pool_mixes_owners_but_the_shared(
    drawn: list[tuple[str, bool | None]], least: int
):
    rows = [(f"a{n:02}", owner, consents) for n, (owner, consents) in enumerate(drawn)]
    found = pools(accounts(*rows), least)
    assert sorted(account for pool in found for account in pool.account_ids) == [account for account, _, _ in rows]
    assert len({pool.name for pool in found}) == len(found)
    by_account = {account: (owner, consents) for account, owner, consents in rows}
    consent = {owner for owner, consents in drawn if consents}
    assert (SHARED in {pool.name for pool in found}) == (len(consent) >= least)
    for pool in found:
        of = {by_account[account][0] for account in pool.account_ids}
        assert pool.owners == len(of)
        assert pool.account_ids == tuple(sorted(pool.account_ids))
        if pool.name == SHARED:
            assert pool.owner is None
            assert len(of) >= least
            assert all(by_account[account][1] is True for account in pool.account_ids)
        else:
            assert of == {pool.owner} == {pool.name}
    assert pools(accounts(*reversed(rows)), least) == found, "the order of the accounts changes nothing"


def test_a_niche_is_learned_over_five_owners_that_consent():
    accounts = pl.DataFrame(
        {
            "account_id": [f"a{n}" for n in range(12)],
            "owner": [f"o{n}" for n in range(5)] + [f"o{n % 4}" for n in range(5)] + ["o8", "o9"],
            "consents": [True] * 10 + [False, True],
            "niche": ["beauty"] * 5 + ["food"] * 5 + ["beauty", None],
        }
    )
    (beauty,) = niches(accounts, 5)
    assert (beauty.name, beauty.owner, beauty.owners) == ("beauty", None, 5)
    assert beauty.account_ids == ("a0", "a1", "a2", "a3", "a4")
