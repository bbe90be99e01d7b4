"""What a row of Insights means: counts, one action type, and what is unknown as NULL."""

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from learning_assets.platforms.meta import accounts, conversions, facts
from learning_assets.platforms.meta.errors import Contradiction
from learning_assets.platforms.meta.reports import (
    ACCOUNT_FIELDS,
    DAILY_FIELDS,
    HOUR,
    HOURLY_FIELDS,
    REACH_FIELDS,
    Part,
    Question,
)

DAY = date(2026, 11, 9)
PURCHASE = conversions.GOALS["purchase"]


def row(ad_id: str = "a", **changes: Any) -> dict[str, Any]:
    plain = {"impressions": "1042", "clicks": "31", "inline_link_clicks": "22", "spend": "12.34", "reach": "880"}
    found = {"account_id": "1", "ad_id": ad_id, "date_start": str(DAY), "date_stop": str(DAY), **plain, **changes}
    return {name: value for name, value in found.items() if value is not None}


def actions(**values: str | dict[str, str]) -> list[dict[str, str]]:
    return [
        {"action_type": name.replace("__", "."), **({"value": value} if isinstance(value, str) else value)}
        for name, value in values.items()
    ]


def read(
    *rows: dict[str, Any], own: list[dict[str, Any]] | None = None, fields: Any = DAILY_FIELDS, wanted: Any = PURCHASE
) -> pl.DataFrame:
    level = facts.account_level([Part(own or [], Question("1", DAY, DAY, ACCOUNT_FIELDS, level="account"))], "1", wanted)
    return facts.daily([Part(list(rows), Question("1", DAY, DAY, fields))], "1", wanted, level)


SAME = actions(
    link_click="22",
    video_view="310",
    purchase="3",
    offsite_conversion__fb_pixel_purchase="3",
    omni_purchase={"value": "3", "1d_click": "1", "7d_click": "2", "28d_click": "3", "1d_view": "1"},
    onsite_web_purchase="3",
    lead="9",
)


def test_one_purchase_under_many_names_is_one_purchase():
    values = actions(omni_purchase="150.5", purchase="150.5")
    found = read(row(actions=SAME, action_values=values, outbound_clicks=actions(outbound_click="20"))).row(0, named=True)
    assert found == {
        "date": DAY,
        "ad_id": "a",
        "impressions": 1042,
        "link_clicks": 22,
        "clicks_all": 31,
        "outbound_clicks": 20,
        "conversions": 3,
        "conversions_7d_click": 2,
        "conversions_1d_view": 1,
        "conversion_type": "omni_purchase",
        "spend_micros": 12_340_000,
        "revenue_micros": 150_500_000,
        "video_3s_views": 310,
        "reach": 880,
    }


def test_the_first_of_the_preference_that_is_present():
    found = read(row(actions=SAME), row("b", actions=actions(link_click="1", purchase="2")))
    assert found.select("conversions", "conversion_type").rows() == [(3, "omni_purchase"), (2, "purchase")]
    (lead,) = read(row(actions=SAME), wanted=conversions.GOALS["lead"]).select("conversions", "conversion_type").rows()
    assert lead == (9, "lead")


def test_revenue_is_of_the_same_type():
    found = read(row(actions=SAME, action_values=actions(purchase="9")))
    assert found.select("conversions", "revenue_micros").row(0) == (3, None)


def test_zero_where_the_account_reports_the_type_and_unknown_where_it_does_not():
    none = row("b", actions=actions(link_click="22"))
    assert read(none).select("conversions", "revenue_micros", "conversion_type").row(0) == (None, None, None)
    sold = row(actions=SAME, action_values=actions(omni_purchase="9"))
    assert read(sold, none).select("conversions", "revenue_micros", "conversion_type").row(1) == (0, 0, "omni_purchase")
    # Its own level tells it, too, so that it does not hang on the days asked.
    own = {name: value for name, value in sold.items() if name != "ad_id"}
    assert read(none, own=[own]).select("conversions", "conversions_7d_click", "revenue_micros").row(0) == (0, 0, 0)
    # An account without values has purchases, and nobody knows what they earn.
    assert read(row(actions=SAME), none).select("conversions", "revenue_micros").row(1) == (0, None)


def test_a_row_whose_actions_were_withheld_is_unknown():
    sold = row(actions=SAME)
    found = read(sold, row("b"), row("c", inline_link_clicks="0"), row("d", inline_link_clicks=None, clicks=None))
    assert found["conversions"].to_list() == [3, None, 0, 0]
    assert found["link_clicks"].to_list() == [22, 22, 0, 0]
    assert found["clicks_all"].to_list() == [31, 31, 31, 0]


def test_what_was_not_asked_for_is_unknown():
    found = read(row(clicks=None, reach=None, actions=SAME), row("b", clicks=None, reach=None), fields=DAILY_FIELDS[:2])
    assert found.select("clicks_all", "reach", "outbound_clicks").null_count().row(0) == (2, 2, 2)
    bare = read(
        row(clicks=None), fields=DAILY_FIELDS[:1], own=[{"date_start": str(DAY), "date_stop": str(DAY), "actions": SAME}]
    )
    assert bare.select("conversions", "revenue_micros", "video_3s_views").row(0) == (None, None, None)


def test_numbers_instead_of_text_are_read():
    found = read(row(impressions=10, spend=1.25, actions=[{"action_type": "omni_purchase", "value": 2}]))
    assert found.select("impressions", "spend_micros", "conversions").row(0) == (10, 1_250_000, 2)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (row(impressions="many"), "'many' is not a whole number (impressions)"),
        (row(impressions="-3"), "impressions is negative: -3"),
        (row(actions=actions(omni_purchase="2.5")), "'2.5' is not a whole number (converted)"),
        (row(spend="1,5"), "'1,5' is not an amount of money"),
        (row(account_id="2"), "the answer has rows of another account, 2"),
        (row(ad_id=None), "the answer has rows without the id of their ad"),  # pyright: ignore[reportArgumentType]
        (row(date_stop="2026-11-10"), "a row is of 2026-11-09 to 2026-11-10 where single days were asked for"),
        (row(actions=[*SAME, *actions(omni_purchase="4")]), "a row has one action type twice, with different values"),
    ],
)
def test_an_answer_that_contradicts_itself(wrong: dict[str, Any], says: str):
    with pytest.raises(Contradiction) as error:
        read(row("z"), wrong)
    assert str(error.value) == says


def test_the_goal_of_an_account():
    assert conversions.preference({}, "1") == PURCHASE
    assert conversions.preference({"*": "lead"}, "1") == conversions.GOALS["lead"]
    assert conversions.preference({"*": "lead", "act_1": "purchase"}, "1") == PURCHASE
    assert conversions.preference({"1": "offsite_conversion.custom.5"}, "1") == ("offsite_conversion.custom.5",)


# Hours.


def test_hours():
    rows = [
        row(**{HOUR: "13:00:00 - 13:59:59"}, actions=actions(video_view="4")),
        row("b", **{HOUR: "00:00:00 - 00:59:59"}),
        row("c"),
    ]
    found = facts.hourly([Part(rows, Question("1", DAY, DAY, HOURLY_FIELDS, by_hour=True))], "1")
    assert found.schema == facts.HOURLY
    assert found["hour"].to_list() == [13, 0, None]
    assert found["video_3s_views"].to_list() == [4, None, None]
    with pytest.raises(Contradiction, match="'noon' is not an hour of a day"):
        facts.hourly([Part([row(**{HOUR: "noon"})], Question("1", DAY, DAY, HOURLY_FIELDS, by_hour=True))], "1")


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 11, 1), "America/New_York", [1]),
        (date(2026, 10, 25), "Europe/Berlin", [2]),
        (date(2026, 3, 29), "Europe/Berlin", []),
        (date(2026, 11, 9), "Europe/Berlin", []),
        # Half an hour is repeated there.
        (date(2026, 4, 5), "Australia/Lord_Howe", [1]),
        (date(2026, 11, 1), "Pacific/Tongatapu", []),
    ],
)
def test_hours_that_daylight_saving_repeats(day: date, zone: str, hours: list[int]):
    assert accounts._repeated_hours(day, ZoneInfo(zone)) == hours


# People of several days.

WEEK = (DAY - timedelta(days=6), DAY)


def people(*rows: dict[str, Any]) -> pl.DataFrame:
    return facts.reach([Part(list(rows), Question("1", *WEEK, REACH_FIELDS, whole=True))], "1", *WEEK)


def of_week(ad_id: str = "a", **changes: Any) -> dict[str, Any]:
    return row(ad_id, date_start=str(WEEK[0]), **changes)


def test_reach_of_a_window_is_one_row_an_ad_and_unknown_where_it_is_absent():
    found = people(of_week("b", reach=None), of_week(), of_week())
    assert found.rows() == [(DAY, 7, "1", "a", 1042, 880), (DAY, 7, "1", "b", 1042, None)]
    assert people().is_empty()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([row()], "a row is of 2026-11-09 to 2026-11-09 where 2026-11-03 to 2026-11-09 was asked for"),
        ([of_week(), of_week(reach="881")], "an ad came twice with different figures"),
        ([of_week(reach="many")], "'many' is not a whole number"),
        ([of_week(account_id="2")], "rows of another account, 2"),
    ],
)
def test_reach_that_contradicts_itself(rows: list[dict[str, Any]], says: str):
    with pytest.raises(Contradiction, match=says):
        people(*rows)
