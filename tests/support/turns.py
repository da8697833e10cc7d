"""Requests in a router's waiting room, without the router."""

from droveway.contracts.envelope import new_request_id
from droveway.contracts.inference import INTERACTIVE, Body, InferenceRequested
from droveway.router.places import PlaceKey, Places
from droveway.router.queue import Bounds
from droveway.router.turn import Allowance, Turn
from droveway.router.waiting import WaitingRoom


def waiting_room(requests: int = 1_000, tokens: int = 10_000_000) -> WaitingRoom:
    """An empty one."""
    return WaitingRoom(Bounds(requests, tokens))


def places(*names: str) -> Places:
    """Places of providers with these names."""
    return frozenset(PlaceKey(name) for name in names)


def turn(
    room: WaitingRoom,
    tenant: str = "default",
    *,
    allowed_s: float = 2.0,
    remaining_s: float = 60.0,
    tokens: int = 10,
    priority: str = INTERACTIVE,
) -> Turn:
    """One request's; it may wait as long for its client's own limits."""
    request = InferenceRequested(
        request_id=new_request_id(), relay_id=bytes(16), door="gateway-a", traceparent="",
        tenant=tenant, key_id="k1", dialect="openai.chat", model="m", stream=False,
        body=Body(size_bytes=0), max_output_tokens=tokens, remaining_ms=1_000, first_token_ms=1_000,
    )  # fmt: skip
    allowed = Allowance(allowed_s, allowed_s)
    return Turn(room, request, priority, allowed, remaining_s, lambda: None)
