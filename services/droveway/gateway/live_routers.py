"""Which routers were heard a moment ago: one of them is asked when the one chosen is mute.

The broker gives a message to any router of the group, a frozen one included, again and again.
"""

import time

MAX_ROUTERS = 256
"""Routers that are remembered; beyond it the one that was heard longest ago is forgotten."""


class LiveRouters:
    """One gateway's; every word of a router counts."""

    def __init__(self) -> None:
        self._heard_s: dict[str, float] = {}

    def heard(self, router: str) -> None:
        """The router lives."""
        self._heard_s[router] = time.monotonic()
        if len(self._heard_s) > MAX_ROUTERS:
            del self._heard_s[min(self._heard_s, key=self._heard_s.__getitem__)]

    def pick(self, since_s: float, but: str = "") -> str:
        """The router that was heard last, if that was after `since_s`; else an empty string."""
        others = ((at_s, name) for name, at_s in self._heard_s.items() if name != but)
        at_s, name = max(others, default=(0.0, ""))
        return name if at_s > since_s else ""
