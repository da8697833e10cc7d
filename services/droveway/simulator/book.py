"""The simulator's book: one entry for each request to a model, told from the provider's side."""

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from droveway.simulator.tokens import MessagesUsage, Usage

Outcome = Literal["open", "answered", "refused", "broken", "client_closed", "stopped"]
"""`answered`: sent to its end with 200. `refused`: sent with another status. `broken`: a fault
ended it. `client_closed`: the caller left first. `stopped`: the simulator was stopped first."""


class Entry(msgspec.Struct, kw_only=True):
    """One request as the provider saw it; times are monotonic milliseconds."""

    id: str
    dialect: Literal["openai", "anthropic"] = "openai"
    endpoint: str = "chat"
    """`chat`, `embeddings`, `messages` or `count_tokens`."""
    model: str = ""
    stream: bool = False
    authorization_present: bool
    key_fingerprint: str | None
    """First 12 hex digits of the key's SHA-256; the key itself is never kept."""
    key_headers: list[str] = []
    """Which of `authorization` and `x-api-key` were there."""
    anthropic_version: str | None = None
    anthropic_beta: str | None = None
    """The values of all such headers, joined by commas."""
    header_names: list[str]
    started_ms: float
    ended_ms: float | None = None
    client_closed_ms: float | None = None
    """When the caller was seen to close before the answer's end."""
    body_bytes: int = 0
    images: int = 0
    audios: int = 0
    user_fingerprint: str | None = None
    """The same of the user that a chat names; none if it names nobody."""
    status: int | None = None
    """The status sent; none if no head left."""
    tokens_sent: int = 0
    usage: Usage | None = None
    """The usage that was written to the caller; none if it wasn't reached or wasn't asked for."""
    anthropic_usage: MessagesUsage | None = None
    """The same of a message; then `usage` is none."""
    fault: str | None = None
    """The spec that struck this request."""
    outcome: Outcome = "open"


class Totals(msgspec.Struct, kw_only=True):
    """Sums since the start or the last reset; `open_requests` is of now."""

    requests: int = 0
    open_requests: int = 0
    answered: int = 0
    refused: int = 0
    broken: int = 0
    client_closed: int = 0
    stopped: int = 0
    faults: int = 0
    tokens_sent: int = 0
    forgotten_entries: int = 0


class Book:
    """The last `limit` entries and the totals of all; opening and closing call `changed`."""

    def __init__(
        self, limit: int, now_ms: Callable[[], float], changed: Callable[[], None] | None = None
    ) -> None:
        self._now_ms = now_ms
        self._changed = changed or (lambda: None)
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._bodies: dict[str, bytes] = {}
        self._serial = 0
        self.totals = Totals()

    @property
    def entries(self) -> list[Entry]:
        """The entries still kept, oldest first."""
        return list(self._entries)

    def open(self, authorized: bool, key: str | None, header_names: list[str]) -> Entry:
        """Begin an entry; the oldest is forgotten when the book is full."""
        self._serial += 1
        entry = Entry(
            id=f"req_{self._serial:08d}",
            authorization_present=authorized,
            key_fingerprint=fingerprint(key) if key else None,
            header_names=sorted(name.lower() for name in header_names),
            started_ms=self._now_ms(),
        )
        if len(self._entries) == self._entries.maxlen:
            self._bodies.pop(self._entries[0].id, None)
            self.totals.forgotten_entries += 1
        self._entries.append(entry)
        self.totals.requests += 1
        self.totals.open_requests += 1
        self._changed()
        return entry

    def close(self, entry: Entry, outcome: Outcome) -> None:
        """End an entry; only the first end of an entry counts."""
        if entry.outcome != "open":
            return
        entry.outcome = outcome
        entry.ended_ms = self._now_ms()
        if outcome == "client_closed":
            entry.client_closed_ms = entry.ended_ms
        self.totals.open_requests -= 1
        self.totals.tokens_sent += entry.tokens_sent
        self.totals.faults += entry.fault is not None
        setattr(self.totals, outcome, getattr(self.totals, outcome) + 1)
        self._changed()

    def keep_body(self, entry: Entry, body: bytes) -> None:
        """Keep a request's body for as long as its entry."""
        if any(kept.id == entry.id for kept in self._entries):
            self._bodies[entry.id] = body

    def find(self, entry_id: str) -> Entry | None:
        """Look an entry up by its id, which the answer carried as (`x-`)`request-id`."""
        return next((entry for entry in self._entries if entry.id == entry_id), None)

    def body(self, entry_id: str) -> bytes | None:
        """The kept body of a request; none if bodies aren't kept."""
        return self._bodies.get(entry_id)

    def clear(self) -> None:
        """Forget the ended entries and the sums; open requests stay."""
        kept = [entry for entry in self._entries if entry.outcome == "open"]
        self._entries.clear()
        self._entries.extend(kept)
        self._bodies = {
            entry.id: self._bodies[entry.id] for entry in kept if entry.id in self._bodies
        }
        still_open = self.totals.open_requests
        self.totals = Totals(requests=still_open, open_requests=still_open)


def fingerprint(key: str) -> str:
    """Name a key, or a user, without telling it."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]
