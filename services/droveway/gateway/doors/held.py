"""Bytes of request bodies that this process holds: from their first byte to the answer's end."""

from collections.abc import Iterator
from contextlib import contextmanager

from droveway.gateway.refusal import refuse


class HeldBytes:
    """A bound that all requests share; a body that would pass it is refused as `overloaded`."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """One request's share, given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.used_bytes -= share.size_bytes


class Share:
    """What one request holds."""

    def __init__(self, held: HeldBytes) -> None:
        self._held = held
        self.size_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Takes more.

        Raises:
            Refusal: 503 `overloaded`; what is taken already stays taken until the end.
        """
        if self._held.used_bytes + size_bytes > self._held.limit_bytes:
            raise refuse("overloaded")
        self._held.used_bytes += size_bytes
        self.size_bytes += size_bytes
