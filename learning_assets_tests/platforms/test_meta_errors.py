"""What an answer's body says decides what it is; the words for a person are exact."""

from typing import Any

import pytest

from learning_assets.platforms.meta import errors, limits

SAID = "Something"


def body(code: int | None, subcode: int | None = None, message: str = SAID, **more: Any) -> dict[str, Any]:
    numbers = {"code": code} | ({"error_subcode": subcode} if subcode is not None else {})
    return {"error": {"message": message, "type": "OAuthException", "fbtrace_id": "A", **numbers, **more}}


@pytest.mark.parametrize(
    ("code", "subcode", "kind"),
    [
        (1, None, errors.Transient),
        (1, 99, errors.Transient),
        (2, None, errors.Transient),
        (2, 1504043, errors.Transient),
        (960, None, errors.Transient),
        (104, None, errors.Transient),
        (4, 1504022, errors.Throttled),
        (4, 1504039, errors.Throttled),
        (17, 2446079, errors.Throttled),
        (32, None, errors.Throttled),
        (613, 1487742, errors.Throttled),
        (613, 5044001, errors.Throttled),
        (613, 1996, errors.Throttled),
        (613, 1487632, errors.Throttled),
        *((code, None, errors.Throttled) for code in range(80_000, 80_015)),
        (341, None, errors.Throttled),
        (368, None, errors.Throttled),
        (100, 1487534, errors.TooMuch),
        (100, 1504018, errors.TooMuch),
        (2, 1504038, errors.TooMuch),
        (2, 1504041, errors.Misconfigured),
        (2, 1504042, errors.Misconfigured),
        (-2, 2490547, errors.ReportFailed),
        (100, 33, errors.Missing),
        (2601, 1815107, errors.NotReady),
        *((190, subcode, errors.TokenRefused) for subcode in (463, 460, 467, 458, 459, 464)),
        (102, None, errors.TokenRefused),
        (10, None, errors.PermissionRefused),
        (200, None, errors.PermissionRefused),
        (299, None, errors.PermissionRefused),
        (294, None, errors.PermissionRefused),
        (2635, None, errors.Misconfigured),
        (100, None, errors.Misconfigured),
        (100, 2446289, errors.Misconfigured),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 500])
def test_the_body_decides(code: int, subcode: int | None, kind: type, status: int):
    found = errors.read(status, body(code, subcode))
    if status == 500 and kind is errors.Misconfigured and code == 100 and subcode is None:
        kind = errors.Transient
    assert found is not None
    assert type(found) is kind
    assert (found.code, found.subcode, found.status) == (code, subcode, status)


@pytest.mark.parametrize("code", [1, 100])
def test_too_much_is_known_by_its_words(code: int):
    said = "Please reduce the amount of data you're asking for, then retry your request"
    assert isinstance(errors.read(400, body(code, None, said)), errors.TooMuch)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (502, "<html><body>502 Bad Gateway</body></html>"),
        (200, "Service Unavailable"),
        (200, None),
        (500, {}),
        (200, {"success": False}),
        (400, {"error": "oops"}),
        (400, body(None, None)),
        (400, body(9_999, None, is_transient=True)),
        (
            400,
            body(100, None, "Cannot include reach in summary param because they weren't there while creating the report run."),
        ),
    ],
)
def test_what_may_pass(status: int, answer: Any):
    assert isinstance(errors.read(status, answer), errors.Transient)


@pytest.mark.parametrize("answer", [{"data": []}, {"success": True}, [{"code": 200}], {}])
def test_what_is_no_error(answer: Any):
    assert errors.read(200, answer) is None


RENEW = "Make a new one for the system user in Business settings and set LEARNING_META_ACCESS_TOKEN."


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (body(190, 463), "stopped", f"account 42: the access token has expired. {RENEW}"),
        (
            body(190, 467, "Invalid OAuth access token."),
            "stopped",
            f"account 42: the access token is not valid: Invalid OAuth access token (code 190/467). {RENEW}",
        ),
        (
            body(190, 460),
            "stopped",
            f"account 42: the password of the token's user was changed, which ended the token. {RENEW}",
        ),
        (body(190, 458), "stopped", f"account 42: the token's user has removed the app. {RENEW}"),
        (
            body(190, 459),
            "stopped",
            "account 42: the token's user must log in at https://www.facebook.com once. Do that, then try again.",
        ),
        (
            body(200, None, "(#200) Ad account owner has NOT grant ads_management or ads_read permission"),
            "stopped",
            "account 42: the token may not read it: (#200) Ad account owner has NOT grant ads_management or ads_read permission "
            "(code 200). Give the token the permission ads_read, and assign the account to its system user.",
        ),
        (
            body(100, 33, "Unsupported get request."),
            "stopped",
            "account 42: the platform knows no such account, or the token may not see it: Unsupported get request (code 100/33). "
            "Correct LEARNING_META_ACCOUNTS, or assign the account to the token's system user.",
        ),
        (
            body(100, None, "hook_rate is not valid for fields param."),
            "stopped",
            "account 42: the platform does not accept the question: hook_rate is not valid for fields param (code 100). "
            "Check LEARNING_META_API_VERSION and LEARNING_META_CONVERSIONS.",
        ),
        (
            body(-2, 2490547, "Report failed"),
            "failed",
            "account 42: the platform's report failed: Report failed (code -2/2490547). It is fetched again with the next cycle.",
        ),
    ],
)
def test_a_person_is_told_what_to_do(answer: dict[str, Any], status: str, reason: str):
    error = errors.read(400, answer)
    assert error is not None
    told = errors.explain("42", error)
    assert (told.status, told.reason) == (status, reason)


def test_usage_is_read_from_all_headers():
    read = limits.usage(
        {
            "X-Business-Use-Case-Usage": '{"42":[{"type":"ads_management","call_count":3,"total_cputime":1,"total_time":2,'
            '"estimated_time_to_regain_access":0},{"type":"ads_insights","call_count":97,"total_cputime":5,"total_time":8,'
            '"estimated_time_to_regain_access":7}]}',
            "x-app-usage": '{"call_count":28,"total_cputime":25,"total_time":60}',
            "x-ad-account-usage": '{"acc_id_util_pct":9.67,"reset_time_duration":100,"ads_api_access_tier":"standard_access"}',
            "x-fb-ads-insights-throttle": '{"app_id_util_pct":61.5,"acc_id_util_pct":10,"ads_api_access_tier":"standard_access"}',
        }
    )
    assert read == limits.Usage(account_pct=97, app_pct=61.5, regain=420, reset=100)
    assert (read.pct, read.wait(17), read.wait(80_000), read.wait(4)) == (97, 100, 420, 420)


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"42": "full"}', '{"acc_id_util_pct": "9"}', "3"])
def test_strange_usage_is_no_usage(text: str):
    names = ("x-business-use-case-usage", "x-app-usage", "x-ad-account-usage", "x-fb-ads-insights-throttle")
    assert limits.usage(dict.fromkeys(names, text)) == limits.Usage()
