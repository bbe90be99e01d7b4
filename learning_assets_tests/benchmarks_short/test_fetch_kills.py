"""The short form of the fetch that is killed: real processes, a real server, real stores."""

from benchmarks import fetch_kills


def test_what_was_killed_ends_as_what_was_not():
    found = fetch_kills.run(seed=3, kills=2, accounts=3, ads=6, days=4)
    assert found == {"kills": 2, "stores": found["stores"], "files_differing": 0, "accounts_silent": 0}
    assert found["stores"] >= 1
