"""One client connection's life: its phases, their deadlines, and how it ends.

    CONNECTED ──▶ HEAD ──▶ BODY ──▶ ANSWER ──▶ IDLE ──▶ HEAD …
        │ idle      │ 408    │ 408      │ stall   │ idle
        ▼           ▼        ▼          ▼         ▼
      close      LINGERING ─────────▶ close     close

The end of the client's input during ANSWER may mean that it has shut down its sending side and
still reads, or that it is gone. The answer goes on, a probe is sent (`Answer.probe`), and a reset
becomes `http.disconnect` within the probe's delay and one round trip. A client that half-closes
first and leaves later is noticed at the next write.
"""

import asyncio
import logging
import socket

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from droveway.contracts.envelope import new_request_id
from droveway.gateway.connections import (
    Connections,
    DateHeader,
    HangupWatch,
    Phase,
    unacknowledged_bytes,
)
from droveway.gateway.http_answer import Answer
from droveway.gateway.http_body import Body
from droveway.gateway.http_limits import HttpLimits, HttpRefusal
from droveway.otel.logs import log_event

logger = logging.getLogger(__name__)

_STALL_CHECKS = 4  # looks at a reader's progress per `write_stall_s`


class Edge(msgspec.Struct, frozen=True):
    """What all connections of one server share."""

    config: Config
    limits: HttpLimits
    state: ServerState
    connections: Connections
    hangups: HangupWatch
    date: DateHeader


class BoundedConnection(HttpToolsProtocol):
    """The transport's side of a connection: every phase has a deadline, every ending is clean."""

    cycle: Answer

    def __init__(self, edge: Edge) -> None:
        super().__init__(edge.config, edge.state, {})
        self.phase = Phase.CONNECTED
        self.address = ""
        self._edge = edge
        self._limits = edge.limits
        self._incoming = b""
        self._body: Body | None = None
        self._body_since_s = 0.0
        self._draining = False
        self._peer_finished = False
        self._path = ""
        """Of the request at hand, as far as it was read."""
        self._swallowed_bytes = 0
        self._written_bytes = 0
        self._drained_bytes: int | None = None
        self._drained_at_s = 0.0
        self._descriptor = -1
        self._phase_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._probe_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection, or refuse it when a cap is reached."""
        super().connection_made(transport)
        self._draining = self._edge.connections.draining
        self.address = self.client[0] if self.client else ""
        peer = transport.get_extra_info("socket")
        self._descriptor = peer.fileno()
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # Else the kernel takes megabytes for a slow reader, and its provider isn't slowed.
            unsent_bytes = self._limits.max_unsent_bytes
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent_bytes)
        transport.set_write_buffer_limits(high=self._limits.max_buffered_bytes)
        if refusal := self._edge.connections.opened(self):
            self._refuse(refusal)
        else:
            self._enter(Phase.CONNECTED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back; a running application sees `http.disconnect`."""
        for timer in (self._phase_timer, self._stall_timer, self._probe_timer):
            if timer is not None:
                timer.cancel()
        self._edge.hangups.remove(self._descriptor)
        self._edge.connections.closed(self)
        if isinstance(exc, TimeoutError):
            self._edge.connections.count_refusal("write_stalled")
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; True keeps its connection open for the running answer."""
        self._peer_finished = True
        if self.phase is not Phase.ANSWER or self._limits.half_close == "disconnect":
            return False
        if self._probe_timer is None:
            self._edge.hangups.add(self._descriptor, self.cut)
            delay_s = self._limits.half_close_probe_s
            self._probe_timer = self.loop.call_later(delay_s, lambda: self.cycle.probe())
        return True

    def shutdown(self) -> None:
        """Let the next answer be the last one; one that hasn't begun says so itself."""
        self._draining = True
        if self.phase is Phase.IDLE:
            self._enter(Phase.IDLE)
        elif self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def cut(self) -> None:
        """Close at once, whatever is under way."""
        self.transport.abort()

    def _swallow(self, data: bytes) -> None:
        self._swallowed_bytes += len(data)
        if self._swallowed_bytes > self._limits.linger_bytes:
            self.cut()

    def _refuse(self, refusal: HttpRefusal) -> None:
        self._edge.connections.count_refusal(refusal.code)
        if self.cycle is None or self.cycle.response_complete:
            request_id, path = new_request_id(), self._path
            status, code = refusal.status, refusal.code
            log_event(logger, "http_refused", request_id=request_id, status=status, code=code)
        else:
            # The application's own line tells the refusal.
            state = self.cycle.scope["state"]
            request_id, path = state["request_id"], self.cycle.scope["path"]
            state["refused"] = refusal.failure
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.cut()
                return
        self._write(refusal.answer(self._edge.date.value(), request_id, path))
        self._finish()

    def _finish(self) -> None:
        """Close, without letting unread input turn into a reset that overtakes the answer."""
        unread = self.phase is not Phase.ANSWER or self._incoming
        self._incoming = b""
        if self._peer_finished or not unread or not self._edge.connections.may_linger(self):
            self.transport.close()
            return
        self._enter(Phase.LINGERING)
        self.flow.resume_reading()
        try:
            self.transport.write_eof()
        except OSError:
            # Reset already, and the loop doesn't know yet: nobody to linger for.
            self.cut()

    def _write(self, data: bytes) -> None:
        self.transport.write(data)
        self._written_bytes += len(data)
        if self._stall_timer is None and self.transport.get_write_buffer_size():
            self._drained_bytes = None
            self._check_stall()

    def _check_stall(self) -> None:
        now_s = self.loop.time()
        self._stall_timer = None
        buffered_bytes = self.transport.get_write_buffer_size()
        if not buffered_bytes:
            return
        drained_bytes = self._written_bytes - buffered_bytes
        drained_bytes -= unacknowledged_bytes(self._descriptor)
        if drained_bytes != self._drained_bytes:
            self._drained_bytes = drained_bytes
            self._drained_at_s = now_s
        elif now_s - self._drained_at_s >= self._limits.write_stall_s:
            self._edge.connections.count_refusal("write_stalled")
            self.cut()
            return
        wait_s = self._limits.write_stall_s / _STALL_CHECKS
        self._stall_timer = self.loop.call_later(wait_s, self._check_stall)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        if self._phase_timer is not None:
            self._phase_timer.cancel()
            self._phase_timer = None
        limits = self._limits
        if phase is Phase.IDLE:
            self._after(self._rest_s())
        elif phase is Phase.BODY:
            self._body_since_s = self.loop.time()
            self._after(limits.body_base_s)
        elif phase is Phase.HEAD:
            self._after(limits.header_timeout_s)
        elif phase is Phase.CONNECTED:
            self._after(limits.connect_idle_s)
        elif phase is Phase.LINGERING:
            self._after(limits.linger_s)

    def _rest_s(self) -> float:
        limits = self._limits
        if not self._draining:
            return limits.keep_alive_idle_s
        return min(limits.idle_drain_s, limits.drain_s / 2)  # before all are cut

    def _after(self, wait_s: float) -> None:
        self._phase_timer = self.loop.call_later(wait_s, self._phase_expired)

    def _phase_expired(self) -> None:
        if self.phase is Phase.BODY:
            self._check_body()
        elif self.phase is Phase.HEAD:
            wait_s = self._limits.header_timeout_s
            message = f"The request head was not complete within {wait_s:g} s."
            self._refuse(HttpRefusal(408, "request_timeout", message))
        elif self.phase is Phase.LINGERING and self.transport.get_write_buffer_size():
            # A slow reader of the answer; the stall check is in charge of it.
            self._after(self._limits.linger_s)
        elif self.phase is Phase.LINGERING:
            self.cut()
        else:
            self.transport.close()

    def _check_body(self) -> None:
        assert self._body is not None
        now_s = self.loop.time()
        if self.cycle.waiting_for_100_continue or self.flow.read_paused:
            # The application hasn't asked for the body; that time is not the client's.
            self._body_since_s = now_s
        allowed_s = self._limits.body_base_s
        allowed_s += self._body.expected_bytes / self._limits.body_min_bytes_per_s
        left_s = self._body_since_s + allowed_s - now_s
        if left_s > 0:
            self._after(left_s)
            return
        message = f"The request body was not complete within {allowed_s:g} s."
        self._refuse(HttpRefusal(408, "request_timeout", message))
