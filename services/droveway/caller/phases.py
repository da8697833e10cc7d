"""How long each phase of a call to a provider may last, and the one timer that watches them.

pool_wait ─▶ connect ─▶ write ─▶ response headers ─▶ idle, idle, idle …
└────────────────────────────── total ──────────────────────────────┘
             └────────── first token, where set ─────────┘
"""

import asyncio
import enum
import math
from collections.abc import Callable

import msgspec

from droveway.caller.upstream_errors import (
    ReadStalled,
    ResponseTimeout,
    SendFailed,
    UpstreamError,
)
from droveway.runtime.settings import Seconds


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits of one call, in seconds; each expiry is an error of its own.

    Source: docs/architecture.md, "Calling a provider".
    """

    pool_wait_s: Seconds = 2.0
    """Waiting for a free connection; then `PoolFull`."""
    connect_s: Seconds = 3.0
    """DNS, TCP and TLS together, over all addresses; then `ConnectFailed` (timeout)."""
    write_s: Seconds = 30.0
    """Writing the request, body included; then `SendFailed` (timeout)."""
    first_byte_s: Seconds = 60.0
    """From the written request to the complete response headers; then `ResponseTimeout`."""
    first_token_s: Seconds | None = None
    """From the call's start to the first token, told by `first_token_seen`; None: no limit."""
    idle_s: Seconds = 30.0
    """Silence while we wait for more of the body; a reader that pauses doesn't count."""
    total_s: Seconds = 600.0
    """The whole call."""


class Phase(enum.Enum):
    """A phase that the timer watches; pool wait and connect are bounded where they wait."""

    WRITE = "write"
    RESPONSE_HEADERS = "response_headers"
    FIRST_TOKEN = "first_token"  # noqa: S105  a phase, not a secret
    IDLE = "idle"
    TOTAL = "total"


class PhaseTimer:
    """Watches the running phase of one call and calls `on_expiry` once when it is over its limit.

    Entering a phase only moves a number: the event loop's timer is set anew when it fires too
    early, so a stream of many reads costs no timer per read.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, phases: Phases, on_expiry: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._handle: asyncio.TimerHandle | None = None
        self._armed_for = math.inf
        now = loop.time()
        self._total_due = now + phases.total_s
        limit_s = phases.first_token_s
        self._first_token_due = math.inf if limit_s is None else now + limit_s
        self._due = self._total_due
        self._phase = Phase.TOTAL
        self.expired: Phase | None = None

    @property
    def left_s(self) -> float:
        """What is left of the whole call."""
        return max(0.0, self._total_due - self._loop.time())

    def enter(self, phase: Phase, limit_s: float) -> None:
        """Begin a phase; the first token's and the total limit go on underneath."""
        due = self._loop.time() + limit_s
        if self._first_token_due < due:
            due, phase = self._first_token_due, Phase.FIRST_TOKEN
        if self._total_due < due:
            due, phase = self._total_due, Phase.TOTAL
        self._set(phase, due)

    def rest(self) -> None:
        """We ourselves pause: only the total limit goes on."""
        self._phase, self._due = Phase.TOTAL, self._total_due

    def first_token_seen(self) -> None:
        """Lift the first token's limit."""
        self._first_token_due = math.inf

    def close(self) -> None:
        """The call is over; lets go of what the expiry would have ended."""
        self._disarm()
        self._on_expiry = _nothing

    def error(self, *, request_sent: bool) -> UpstreamError:
        """The error of the phase that expired."""
        phase = self.expired or self._phase
        explanation = f"over the limit of the {phase.value} phase"
        if phase is Phase.WRITE:
            return SendFailed("timeout", explanation, request_sent=request_sent)
        if phase is Phase.IDLE:
            return ReadStalled("idle", explanation, request_sent=request_sent)
        return ResponseTimeout(phase.value, explanation, request_sent=request_sent)

    def _set(self, phase: Phase, due: float) -> None:
        self._phase, self._due = phase, due
        if self._handle is None or due < self._armed_for:
            self._disarm()
            self._arm()

    def _arm(self) -> None:
        self._armed_for = self._due
        self._handle = self._loop.call_at(self._due, self._fire)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        if self._loop.time() < self._due:
            self._arm()
        elif self.expired is None:
            self.expired = self._phase
            self._on_expiry()


def _nothing() -> None:
    """What a closed timer would do."""
