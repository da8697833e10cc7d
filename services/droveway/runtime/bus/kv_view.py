"""What is known of a KV bucket: the revision of each key, bounded, and what a new one means."""

import logging
from collections.abc import Callable, Iterable

from droveway.otel.logs import log_event
from droveway.runtime.bus.direct_get import Stored

log = logging.getLogger(__name__)

OnChange = Callable[[str, bytes | None, int], None]
"""(key, value or None when it was deleted, purged or has expired, revision)."""


class KvView:
    """Folds a bucket's messages; tells each change once.

    A revision is known by its sequence and its time: a bucket that was made anew counts from one
    again, and only the time tells that its third revision isn't the third of the one before.
    """

    def __init__(
        self, bucket: str, on_change: OnChange, max_keys: int, max_value_bytes: int
    ) -> None:
        self._bucket = bucket
        self._prefix_length = len(f"$KV.{bucket}.")
        self._on_change = on_change
        self._max_keys = max_keys
        self._max_value_bytes = max_value_bytes
        self._known: dict[str, tuple[int, str]] = {}
        self._untold: set[str] = set()
        """Known keys of which no value was fit to be told."""
        self._full = False
        self.last: tuple[int, str] = (0, "")
        """Sequence and time of the last message folded."""
        self.changes = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._known)

    def fold(self, messages: Iterable[Stored]) -> None:
        """Takes messages in the order of their sequences; those known already change nothing."""
        for message in messages:
            self._fold(message)
            if message.sequence > self.last[0]:
                self.last = (message.sequence, message.stored_at)

    def settle(self, present: set[str], last: tuple[int, str]) -> None:
        """After all was folded: keys whose subject isn't `present` are gone without a message."""
        for key in [key for key in self._known if key not in present]:
            self._forget(key, last[0])
        self.last = last

    def key_of(self, message: Stored) -> str:
        """The key that a message is about."""
        return message.subject[self._prefix_length :]

    def _fold(self, message: Stored) -> None:
        key = self.key_of(message)
        known = self._known.get(key)
        if known is not None and message.sequence <= known[0] and message.stored_at <= known[1]:
            return
        if message.operation:
            if known is not None:
                self._forget(key, message.sequence)
            return
        if known is None and self._is_full(key):
            return
        self._known[key] = (message.sequence, message.stored_at)
        if len(message.payload) > self._max_value_bytes:
            if known is None:
                self._untold.add(key)
            self._refuse("kv_value_too_big", key, self._max_value_bytes)
            return
        self._untold.discard(key)
        self._tell(key, message.payload, message.sequence)

    def _is_full(self, key: str) -> bool:
        if len(self._known) < self._max_keys:
            self._full = False
            return False
        if not self._full:
            self._full = True
            self._refuse("kv_too_many_keys", key, self._max_keys)
        else:
            self.refused += 1
        return True

    def _refuse(self, event: str, key: str, bound: int) -> None:
        self.refused += 1
        log_event(log, event, level=logging.ERROR, bucket=self._bucket, key=key, bound=bound)

    def _forget(self, key: str, revision: int) -> None:
        del self._known[key]
        if key in self._untold:
            self._untold.remove(key)
            return
        self._tell(key, None, revision)

    def _tell(self, key: str, value: bytes | None, revision: int) -> None:
        self.changes += 1
        try:
            self._on_change(key, value, revision)
        except Exception:
            log.exception("kv_handler_failed on %s", self._bucket)
