"""What is decided of canaries while the system runs: entries by route in the bucket `routing`.

An entry stands for the whole canary of its route. It holds for as long as the configuration file
says of that canary what it said when the entry was made: who changes the file's line is newer.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec

from droveway.contracts.access import Name
from droveway.contracts.config import Canary, Config, Route
from droveway.contracts.envelope import Text
from droveway.contracts.inference import InferenceRequested, user_hash

Channel = Literal["canary", "stable"]
PREFIX = "canary."
"""Of the names of entries."""
STEPS = (5.0, 20.0, 50.0, 100.0)
"""Percent of users, one after the other as a canary proves itself."""
_SHARES = 10_000
"""Users are told apart to a hundredth of a percent."""


class CanaryOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One route's canary as it was last set, in JSON."""

    route: Name
    """The route's `model`."""
    state: Literal["running", "rolled_back"]
    """`rolled_back`: it gets nothing, and isn't a fallback either."""
    canary: Canary
    file: str
    """`digest_of` what the file said then."""
    at: str
    """RFC 3339, UTC."""
    by: Text
    reason: Text = ""


encode_order = msgspec.json.Encoder().encode
order_decoder = msgspec.json.Decoder(CanaryOrder)


def entry_of(route: str) -> str:
    """The name of a route's entry; base64, since models have names that subjects can't have."""
    return PREFIX + base64.urlsafe_b64encode(route.encode()).decode().rstrip("=")


def digest_of(canary: Canary | None) -> str:
    """Tells whether the file says the same of a canary; empty: it says nothing."""
    if canary is None:
        return ""
    return hashlib.sha256(msgspec.json.encode(canary)).hexdigest()[:32]


def in_force(route: Route, order: CanaryOrder | None) -> Canary | None:
    """The canary that a route has by its own words and an order."""
    if order is None or order.file != digest_of(route.canary):
        return route.canary
    return order.canary if order.state == "running" else None


def with_orders(config: Config, orders: Mapping[str, CanaryOrder]) -> Config:
    """The configuration with each route's canary as it is in force; `orders` by route."""
    routes = tuple(
        msgspec.structs.replace(one, canary=in_force(one, orders.get(one.model)))
        if one.model in orders
        else one
        for one in config.routes
    )
    return msgspec.structs.replace(config, routes=routes)


def channel_of(canary: Canary, request: InferenceRequested) -> Channel:
    """Which channel a request goes to first."""
    if request.tenant in canary.tenants or request.region in canary.regions:
        return "canary"
    user = request.user or user_hash(request.tenant, key_id=request.key_id)
    share = int.from_bytes(user, "big") % _SHARES
    return "canary" if share < round(canary.percent * _SHARES / 100) else "stable"
