"""What a person is told about token, permissions and accounts, word for word."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from learning_assets.platforms.meta.connection import Finding, examine
from learning_assets.sandbox.control import Control
from learning_assets.sandbox.process import start
from learning_assets.settings import Meta

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
RENEW = "Make a new one for the system user in Business settings and set LEARNING_META_ACCESS_TOKEN."


@pytest.fixture(scope="module")
def server() -> Iterator[Control]:
    market = {"epoch": "2026-11-01", "seed": 7, "accounts": 2, "ads": 4, "impressions": 300, "history_days": 5}
    with start(market, now=NOW) as control:
        yield control


@pytest.fixture
def control(server: Control) -> Control:
    server.clear()
    return server


def look(control: Control, **changes: Any) -> list[Finding]:
    quick = {"backoff_seconds": 0, "attempts": 2}
    return examine(Meta.model_validate({"access_token": control.token, "graph_url": control.url, **quick, **changes}), NOW)


def test_all_is_well(control: Control):
    assert look(control) == [
        Finding(True, "token", "The platform accepts the token, of Learning assets (simulated)."),
        Finding(
            None,
            "expiry",
            "When the token expires cannot be said without the app's secret.",
            "Set LEARNING_META_APP_SECRET to be warned a week before.",
        ),
        Finding(True, "permission to read", "The token may read ads (ads_read)."),
        Finding(True, "permission to act", "The token may change budgets (ads_management)."),
        Finding(True, "version", "The platform serves version v26.0, as asked."),
        Finding(True, "account 4000001", "Account 4000001 is readable: USD, America/New_York."),
        Finding(True, "account 4000002", "Account 4000002 is readable: EUR, Europe/Berlin."),
    ]


def test_no_token(control: Control):
    (finding,) = look(control, access_token=None)
    assert finding == Finding(
        False,
        "token",
        "There is no access token.",
        "Set LEARNING_META_ACCESS_TOKEN to the token of a system user with the permission ads_read.",
    )


def test_an_expired_token(control: Control):
    assert look(control, access_token="EXPIRED") == [Finding(False, "token", "The access token has expired.", RENEW)]


def test_a_wrong_token(control: Control):
    (finding,) = look(control, access_token="typo")
    assert finding == Finding(
        False,
        "token",
        "The access token is not valid: Error validating access token: The session is invalid (code 190/467).",
        RENEW,
    )


def test_a_missing_permission(control: Control):
    control.fault("permission", account="4000002", times=None)
    assert look(control, accounts="4000001,act_4000002")[-1] == Finding(
        False,
        "account 4000002",
        "Account 4000002: the token may not read it: (#200) Ad account owner has NOT grant ads_management or ads_read permission "
        "(code 200).",
        "Give the token the permission ads_read, and assign the account to its system user.",
    )


def test_an_unknown_account(control: Control):
    good, bad = look(control, accounts="4000001,42")[-2:]
    assert good.ok is True
    assert bad == Finding(
        False,
        "account 42",
        "Account 42: the platform knows no such account, or the token may not see it: Unsupported get request. Object with ID 'act_42' "
        "does not exist, cannot be loaded due to missing permissions, or does not support this operation (code 100/33).",
        "Correct LEARNING_META_ACCOUNTS, or assign the account to the token's system user.",
    )


def test_a_name_that_is_no_id(control: Control):
    assert look(control, accounts="my shop")[-1] == Finding(
        False,
        "accounts",
        "LEARNING_META_ACCOUNTS: 'my shop' is not the id of an ad account.",
        "Ids are digits, with or without act_, such as act_1234567890; or set it to all.",
    )


def test_no_server(control: Control):
    (finding,) = look(control, graph_url="http://127.0.0.1:9")
    assert finding.ok is False
    assert finding.what == "server"
    assert finding.says.startswith("http://127.0.0.1:9 does not answer as a Graph server: no answer from http://127.0.0.1:9: ")
    assert finding.remedy == "Check LEARNING_META_GRAPH_URL and the network, then try again."
    assert control.token not in repr(finding)


def test_another_version(control: Control):
    control.fault("version_expired", times=None, version="v27.0")
    assert next(f for f in look(control) if f.what == "version") == Finding(
        False,
        "version",
        "The platform serves version v27.0 where v26.0 was asked for, which it serves no more; figures may mean something else.",
        "Read the platform's changelog, then set LEARNING_META_API_VERSION=v27.0.",
    )


def test_when_the_token_expires_is_told_to_the_app(control: Control):
    finding = next(f for f in look(control, app_secret="secret") if f.what == "expiry")
    assert finding == Finding(True, "expiry", "The token does not expire.")


def test_an_expiry_that_the_platform_does_not_tell(control: Control):
    control.fault("permission", after=1, times=1)
    finding = next(f for f in look(control, app_secret="secret") if f.what == "expiry")
    assert finding.ok is None
    assert finding.says.startswith("When the token expires cannot be said: ")
    assert "secret" not in finding.says
