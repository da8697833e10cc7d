"""Which routers were told that a provider is full, so that they hear when it isn't any more."""

import time
from collections import OrderedDict
from collections.abc import Callable

from droveway.contracts.relay import MAX_ROOM, Room

TOLD_S = 5.0
"""A router that still waits then has asked again, and was told again."""
MAX_TOLD = 256
"""Of one provider; more of them look for themselves."""


class RoomNews:
    """Tells them each time that a call ends, for as long as they may wait.

    Args:
        send: Hands a message to a router's control subject.
    """

    def __init__(self, send: Callable[[str, Room], None]) -> None:
        self._send = send
        self._told: dict[str, OrderedDict[str, float]] = {}
        """By provider: routers, and when each was told last; that one stands last."""

    def refused(self, provider: str, router: str) -> None:
        """A router hears that the provider has no room."""
        told = self._told.setdefault(provider, OrderedDict())
        told[router] = time.monotonic()
        told.move_to_end(router)
        if len(told) > MAX_TOLD:
            told.popitem(last=False)

    def freed(self, provider: str, free: int) -> None:
        """A call has ended; the provider has room for `free` more."""
        told = self._told.get(provider)
        if told is None or free <= 0:
            return
        oldest_s = time.monotonic() - TOLD_S
        while told and next(iter(told.values())) < oldest_s:
            told.popitem(last=False)
        if not told:
            del self._told[provider]
        for router in told:
            self._send(router, Room(provider, min(free, MAX_ROOM)))
