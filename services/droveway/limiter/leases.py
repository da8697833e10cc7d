"""When what is reserved falls back: the owner's memory of who still works, which isn't logged."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple


class Over(NamedTuple):
    """One lease that has run out."""

    request_id: str
    output_tokens: int
    """So far, by its caller's last word; 0: none came."""


class Leases:
    """All leases are equally long, so the one that was renewed longest ago ends first."""

    def __init__(self, lease_ms: int) -> None:
        self.lease_ms = lease_ms
        self._leases: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Until when, and output tokens so far."""

    def __len__(self) -> int:
        return len(self._leases)

    def start(self, request_id: str, now_ms: int) -> None:
        """A whole lease from now, for one that begins or whose next attempt does."""
        self._leases[request_id] = (now_ms + self.lease_ms, 0)
        self._leases.move_to_end(request_id)

    def renew(self, request_id: str, output_tokens: int, now_ms: int) -> None:
        """Its caller lives; one that isn't known is none any more."""
        known = self._leases.get(request_id)
        if known is not None:
            self._leases[request_id] = (now_ms + self.lease_ms, max(known[1], output_tokens))
            self._leases.move_to_end(request_id)

    def end(self, request_id: str) -> None:
        """It is settled."""
        self._leases.pop(request_id, None)

    def restart(self, request_ids: Iterable[str], now_ms: int) -> None:
        """A whole lease from now for just these: what was renewed before isn't known."""
        kept = {one: self._leases[one][1] if one in self._leases else 0 for one in request_ids}
        until_ms = now_ms + self.lease_ms
        self._leases = OrderedDict((one, (until_ms, tokens)) for one, tokens in kept.items())

    def run_out(self, now_ms: int, at_most: int) -> list[Over]:
        """Those that have run out, taken off; the rest at the next call."""
        over: list[Over] = []
        while self._leases and len(over) < at_most:
            request_id, (until_ms, tokens) = next(iter(self._leases.items()))
            if until_ms > now_ms:
                break
            del self._leases[request_id]
            over.append(Over(request_id, tokens))
        return over
