"""Follows a KV bucket without a consumer, so that a broker's restart leaves nothing deaf.

    message under $KV.<bucket>.>  --- only a nudge ---+
    reconnected  -------------------- load -----------+--> read what is stored --> on_change
    each 5 s  ----------------------- compare --------+

A watch of nats-py rests on a consumer that a killed broker forgets: it hears nothing for 15 to 30 s
after the restart. Here the truth is read from the stream itself: what lies behind the last revision
seen, or everything.
"""

import asyncio
import logging
import time
from typing import NamedTuple

import msgspec

from droveway.otel.logs import log_event
from droveway.runtime.backoff import full_jitter_s
from droveway.runtime.bus.bus import Bus
from droveway.runtime.bus.direct_get import DirectGet, Page, reading
from droveway.runtime.bus.kv_view import KvView, OnChange
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

_TOO_EARLY_S = (0.3, 0.08, 0.02, 0.005)
"""A nudge may overtake the storing of its message: waits before looking again, from the last."""
_LOADS_TO_BELIEVE = 2
"""A replica may lag behind: what it misses is gone once so many loads in a row miss it."""


class KvWatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a bucket is followed, and how much of it."""

    check_every_s: float = 5.0
    """The bucket's last revision is compared this often: a lost nudge costs no more."""
    load_every_s: float = 60.0
    """Everything is read this often: keys that expired leave no revision behind."""
    retry_base_s: float = 0.05
    retry_cap_s: float = 1.0
    """The longest wait before an unanswered read is repeated."""
    timeout_s: float = 5.0
    """One page of a read."""
    max_keys: int = 10_000
    """Keys that are followed; one more is refused, logged and counted."""
    max_value_bytes: int = 1024 * 1024
    """A bigger value is refused, logged and counted; the key keeps the value before."""
    page_messages: int = 256
    page_bytes: int = 4 * 1024 * 1024


class KvStatistics(NamedTuple):
    """A snapshot for gauges."""

    keys: int
    revision: int
    """The last one seen; those of deletions count."""
    loads: int
    """Times that everything was read."""
    changes: int
    refused: int
    """Values that were too big, and keys beyond the bound."""
    failed: int
    """Reads that were not answered; each is repeated."""
    age_s: float
    """Seconds since the bucket was last known to be as told; -1: not loaded yet."""


class KvWatch:
    """Tells `on_change` what the keys hold: revisions of a key in order, none twice."""

    def __init__(
        self, bus: Bus, bucket: str, on_change: OnChange, settings: KvWatchSettings | None = None
    ) -> None:
        self._bus = bus
        self._bucket = bucket
        self._settings = own = settings or KvWatchSettings()
        self._pattern = f"$KV.{bucket}.>"
        self._view = KvView(bucket, on_change, own.max_keys, own.max_value_bytes)
        self.loaded = asyncio.Event()
        """Everything that was in the bucket has been told."""
        self._wake = asyncio.Event()
        self._nudged = False
        self._early_looks = 0
        self._load_due_s = 0.0
        self._behind = 0
        self._attempt = 0
        self._failing = False
        self._loads = self._failed = 0
        self._right_at_s = 0.0

    async def run(self) -> None:
        """Follows the bucket until cancelled; what isn't answered is asked again, logged once."""
        nudges = await self._bus.subscribe_raw(self._pattern, self._nudge)
        forget = self._bus.on_reconnected(self._reconnected)
        try:
            async with reading(self._bus, f"KV_{self._bucket}", self._settings.timeout_s) as reader:
                while True:
                    await self._pause(await self._look(reader))
        finally:
            forget()
            nudges.close()

    def statistics(self) -> KvStatistics:
        """A snapshot for gauges."""
        return KvStatistics(
            keys=len(self._view),
            revision=self._view.last[0],
            loads=self._loads,
            changes=self._view.changes,
            refused=self._view.refused,
            failed=self._failed,
            age_s=time.monotonic() - self._right_at_s if self.loaded.is_set() else -1.0,
        )

    def _nudge(self, _payload: bytes, _reply: str, _subject: str, _raw: bytes | None) -> None:
        self._nudged = True
        if not self._failing:
            self._wake.set()

    def _reconnected(self) -> None:
        self._load_due_s = 0.0
        self._attempt = 0
        self._wake.set()

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _look(self, reader: DirectGet) -> float:
        """Reads what is due; returns the seconds until the next look."""
        nudged, self._nudged = self._nudged, False
        try:
            if time.monotonic() >= self._load_due_s:
                return await self._load(reader)
            found = await self._catch_up(reader)
        except BusError as error:
            return self._failed_s(error)
        self._is_right()
        if found:
            self._early_looks = 0
        elif nudged:
            self._early_looks = len(_TOO_EARLY_S)
        if self._early_looks:
            self._early_looks -= 1
            return _TOO_EARLY_S[self._early_looks]
        return self._settings.check_every_s

    async def _load(self, reader: DirectGet) -> float:
        """Reads everything; returns the seconds until the next look."""
        present: set[str] = set()
        last = (0, "")
        complete = False
        while not complete:
            page = await self._page(reader, last[0] + 1)
            for message in page.messages:
                present.add(self._view.key_of(message))
                last = (message.sequence, message.stored_at)
            self._view.fold(page.messages)
            complete = page.complete or not page.messages
        return self._loaded(present, last)

    def _loaded(self, present: set[str], last: tuple[int, str]) -> float:
        """All that is there was folded; returns the seconds until the next look."""
        self._loads += 1
        self._behind = self._behind + 1 if last[0] < self._view.last[0] else 0
        if 0 < self._behind < _LOADS_TO_BELIEVE:
            return self._settings.retry_cap_s
        self._behind = 0
        self._view.settle(present, last)
        self._load_due_s = time.monotonic() + self._settings.load_every_s
        self._is_right()
        self.loaded.set()
        return self._settings.check_every_s

    async def _catch_up(self, reader: DirectGet) -> bool:
        """Reads what lies behind the last revision seen; whether there was anything."""
        found, complete = False, False
        while not complete:
            page = await self._page(reader, self._view.last[0] + 1)
            self._view.fold(page.messages)
            found = found or bool(page.messages)
            complete = page.complete or not page.messages
        if not found:
            last = await reader.last(self._pattern)
            stored = (last.sequence, last.stored_at) if last else (0, "")
            if stored != self._view.last:
                self._wake.set()
                if stored[0] <= self._view.last[0]:  # expired, purged, or the bucket was made anew
                    self._load_due_s = 0.0
        return found

    async def _page(self, reader: DirectGet, first: int) -> Page:
        own = self._settings
        return await reader.page(self._pattern, first, own.page_messages, own.page_bytes)

    def _is_right(self) -> None:
        self._right_at_s = time.monotonic()
        self._attempt = 0
        if self._failing:
            self._failing = False
            log_event(log, "kv_read_again", bucket=self._bucket)

    def _failed_s(self, error: BusError) -> float:
        self._failed += 1
        if not self._failing:
            self._failing = True
            log_event(
                log, "kv_unread", level=logging.WARNING, bucket=self._bucket, error=str(error)
            )
        self._attempt += 1
        own = self._settings
        return full_jitter_s(self._attempt, base_s=own.retry_base_s, cap_s=own.retry_cap_s)
