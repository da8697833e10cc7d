"""The paths that tell what was used, from the structs that are answered.

Clients send their key, admins theirs.
"""

from typing import Any

import msgspec

from droveway.gateway.doors.usage_views import COST, METRICS, STATS, CostList, KeyCost
from droveway.gateway.openapi import failures, headers
from droveway.gateway.openapi.shapes import TEXT, Schema, either, ref, said, text
from droveway.runtime.dashboard import Dashboard

_PREFIX = "Usage"
_QUERY: dict[str, Schema] = {
    "since": said(
        text(1, 64), "A date, a date-time, or a time ago: `7d`, `24h`. Else this month, in UTC."
    ),
    "key_id": said(text(1, 64), "For admins: only of this key."),
}
_TAG = "usage"


def schemas() -> dict[str, Schema]:
    """What is answered, each name behind `Usage`."""
    _, made = msgspec.json.schema_components(
        [KeyCost, CostList, Dashboard], ref_template=f"#/components/schemas/{_PREFIX}{{name}}"
    )
    plain = msgspec.json.decode(msgspec.json.encode(made))
    return {f"{_PREFIX}{name}": schema for name, schema in plain.items()}


def paths() -> dict[str, Any]:
    """The three of them."""
    return {
        COST: {"get": _asked("usage.cost", "What was used, and what it cost", _cost())},
        STATS: {"get": _asked("usage.stats", "A dashboard's numbers", ref(f"{_PREFIX}Dashboard"))},
        METRICS: {"get": _scraped()},
    }


def _cost() -> Schema:
    """An admin who names no key gets the list."""
    return either(ref(f"{_PREFIX}KeyCost"), ref(f"{_PREFIX}CostList"))


def _asked(name: str, summary: str, schema: Schema) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "description": "Of its own key to a client, of all keys to an admin.",
        "tags": [_TAG],
        "security": [{"bearer": []}, {"api_key": []}, {"admin": []}],
        "parameters": [
            {"name": name, "in": "query", "schema": schema} for name, schema in _QUERY.items()
        ],
        "responses": {
            "200": {
                "description": "Answered.",
                "headers": headers.of_answer(*headers.BASE["openai"]),
                "content": {"application/json": {"schema": schema}},
            },
            **failures.responses("openai", "usage"),
        },
    }


def _scraped() -> dict[str, Any]:
    return {
        "operationId": "usage.metrics",
        "summary": "This gateway's metrics, as on its admin port",
        "description": "For admins, and without a key from `DROVEWAY_GATEWAY_METRICS_ADDRESSES`.",
        "tags": [_TAG],
        "security": [{"admin": []}, {}],
        "responses": {
            "200": {
                "description": "Prometheus text, or OpenMetrics for whoever takes it.",
                "headers": headers.of_answer(*headers.BASE["openai"]),
                "content": {"text/plain": {"schema": TEXT}},
            },
            **failures.responses("openai", "scrape"),
        },
    }
