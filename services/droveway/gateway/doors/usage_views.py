"""The paths that tell what was used, and what `GET /api/cost` answers.

The OpenAPI document is made from it.
"""

from typing import Any, Literal

import msgspec

from droveway.contracts.reports import ReportLine, ReportMade
from droveway.runtime.dashboard import moment_text

COST, STATS, METRICS = "/api/cost", "/api/stats", "/api/metrics"
QUERY = ("since", "key_id")
"""What the first two may be asked with."""
_NANO = 1e9


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of a time; money by the price book, not by a provider's invoice."""

    total_requests: int
    total_tokens: int
    """Input and output."""
    estimated_cost_usd: float
    estimated_cost_cny: float


class KeyCost(Spent, frozen=True, kw_only=True):
    """What one key has used."""

    key_id: str
    object: Literal["cost"] = "cost"
    since: str
    until: str


class KeySpent(Spent, frozen=True, kw_only=True):
    """One key of the list."""

    key_id: str


class CostList(Spent, frozen=True, kw_only=True):
    """What all keys have used, the most expensive first."""

    object: Literal["list"] = "list"
    since: str
    until: str
    data: tuple[KeySpent, ...]
    has_more: bool
    """Keys are left out: `key_id` asks for one."""


def key_cost(key_id: str, made: ReportMade) -> KeyCost:
    """The answer to a key."""
    return KeyCost(key_id=key_id, **_time(made), **_spent(made.total))


def cost_list(made: ReportMade) -> CostList:
    """The answer about all keys."""
    return CostList(
        **_time(made),
        **_spent(made.total),
        data=tuple(KeySpent(key_id=line.group[0], **_spent(line)) for line in made.lines),
        has_more=not made.complete,
    )


def _time(made: ReportMade) -> dict[str, Any]:
    return {"since": moment_text(made.since_ms), "until": moment_text(made.until_ms)}


def _spent(line: ReportLine) -> dict[str, Any]:
    return {
        "total_requests": line.requests or 0,
        "total_tokens": line.input_tokens + line.output_tokens,
        "estimated_cost_usd": line.cost_nano_usd / _NANO,
        "estimated_cost_cny": line.cost_nano_cny / _NANO,
    }
