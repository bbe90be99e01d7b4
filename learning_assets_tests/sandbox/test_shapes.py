"""The Graph server against the tables of a widely used connector: each of their columns can be filled from what it serves."""

import csv
import os
import re
from pathlib import Path
from typing import Any

import pytest

from learning_assets_tests.sandbox.graph_client import DOLLARS, EVERY_STATUS, Client

SHARED = Path(os.environ.get("LEARNING_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
TABLES = SHARED / "facebook_connector_schema"
pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason=f"the connector's tables are not at {TABLES}")

OWN = {"_fivetran_id", "_fivetran_synced", "index"}
"""Columns that the connector makes itself."""


def table(name: str) -> tuple[set[str], list[dict[str, str]]]:
    """Columns and rows of a table."""
    with (TABLES / f"facebook_ads_{name}_data.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return set(rows[0]) - OWN, rows


def kind(value: str) -> str:
    """What a value looks like."""
    for name, pattern in (
        ("integer", r"\d+"),
        ("number", r"\d+\.\d*"),
        ("day", r"\d{4}-\d\d-\d\d"),
        ("time", r"\d{4}-\d\d-\d\d[T ].*"),
    ):
        if re.fullmatch(pattern, value):
            return name
    return "text"


def like(ours: str, theirs: str) -> bool:
    """Whether our value can stand where theirs does; a whole number is a number too."""
    numbers = {"integer", "number"}
    return kind(ours) == kind(theirs) or {kind(ours), kind(theirs)} <= numbers


@pytest.fixture
def rows(client: Client) -> list[dict[str, Any]]:
    return client.insights(
        DOLLARS,
        "2026-02-01",
        "2026-03-09",
        fields="ad_id,account_id,impressions,inline_link_clicks,spend,reach,frequency,actions,action_values",
        filtering=EVERY_STATUS,
        action_attribution_windows=["1d_click", "7d_click", "28d_click", "1d_view"],
    )


def test_basic_ad(rows: list[dict[str, Any]]):
    columns, theirs = table("basic_ad")
    for row in rows:
        ours = {**row, "date": row["date_start"], "inline_link_clicks": row.get("inline_link_clicks", "0")}
        assert columns <= ours.keys()
        assert all(like(ours[column], theirs[0][column]) for column in columns)


@pytest.mark.parametrize(("name", "field"), [("basic_ad_actions", "actions"), ("basic_ad_action_values", "action_values")])
def test_actions_and_their_values(rows: list[dict[str, Any]], name: str, field: str):
    columns, theirs = table(name)
    flat = [
        {
            "ad_id": row["ad_id"],
            "date": row["date_start"],
            "inline": "",
            **{re.sub(r"^(\d+)(d)_", r"_\1_\2_", key): value for key, value in action.items()},
        }
        for row in rows
        for action in row.get(field, [])
    ]
    assert {"_7_d_click", "_1_d_view"} <= {key for row in flat for key in row}
    assert columns <= {key for row in flat for key in row}
    example = {column: next((row[column] for row in theirs if row[column]), "") for column in columns}
    for row in flat:
        assert all(like(row[column], example[column]) for column in columns & row.keys() - {"inline"} if example[column])
    shared = {row["action_type"] for row in theirs} & {row["action_type"] for row in flat}
    assert field == "actions" or "offsite_conversion.fb_pixel_purchase" in shared


@pytest.mark.parametrize(
    ("name", "path", "names"),
    [
        ("account_history", "", {"id": "account_id"}),
        ("campaign_history", "campaigns", {}),
        ("ad_set_history", "adsets", {}),
        ("ad_history", "ads", {"ad_set_id": "adset_id", "creative_id": "creative"}),
    ],
)
def test_histories(client: Client, name: str, path: str, names: dict[str, str]):
    columns, theirs = table(name)
    fields = ",".join(names.get(column, column) for column in columns)
    found = (
        client.rows(f"act_{DOLLARS}/{path}", fields=fields, limit=100)
        if path
        else [client.get(f"act_{DOLLARS}", fields=fields).json()]
    )
    assert found
    for node in found:
        for column in columns:
            value = node[names.get(column, column)]
            value = value["id"] if isinstance(value, dict) else value
            assert like(value, theirs[0][column]), column


def test_creative_history(client: Client):
    columns, _ = table("creative_history_json")
    nodes = client.rows(
        f"act_{DOLLARS}/adcreatives", fields="account_id,name,url_tags,link_url,object_story_spec,asset_feed_spec", limit=100
    )
    found: set[str] = set()
    for node in nodes:
        link = node.get("object_story_spec", {}).get("link_data", {})
        found |= {"id", "account_id", "name"} & node.keys()
        found |= {"url_tags_string"} if "url_tags" in node else set()
        found |= {"page_link"} if "link_url" in node else set()
        found |= {f"object_story_link_data_{key}" for key in link}
        found |= {f"asset_feed_spec_{key}" for key in node.get("asset_feed_spec", {})}
    # Templates of catalogue ads are not simulated.
    assert columns - found <= {"template_page_link", "template_app_link_spec_ios"}
