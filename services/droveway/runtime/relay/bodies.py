"""Large request bodies at the door that holds them, sent to whichever caller pulls them."""

import asyncio
import logging
import secrets
from collections.abc import Callable

from droveway.contracts import relay
from droveway.contracts.envelope import encode, is_inbox_of
from droveway.contracts.errors import failure
from droveway.otel.logs import log_event
from droveway.runtime.errors import BusError, RelayCut
from droveway.runtime.relay.sender import Sender
from droveway.runtime.relay.wire import Wire

log = logging.getLogger(__name__)

PULLERS = frozenset({"caller"})
"""Services that may pull a body from a door."""
MAX_WAITING_PULLS = 1_024
"""Pulls not looked at yet; further ones are dropped, and callers repeat theirs."""


class Bodies:
    """The bodies on offer; a later pull of the same body ends the earlier one."""

    def __init__(
        self,
        bus: Wire,
        open_sender: Callable[[bytes, str, str], Sender],
        close_sender: Callable[[Sender], None],
        is_open: Callable[[Sender], bool],
    ) -> None:
        self._bus = bus
        self._open_sender = open_sender
        self._close_sender = close_sender
        self._is_open = is_open
        self._offers: dict[bytes, bytes] = {}
        self._running: dict[bytes, tuple[str, Sender]] = {}
        self._pulls: asyncio.Queue[relay.Pull] = asyncio.Queue(maxsize=MAX_WAITING_PULLS)
        self.malformed = 0

    def offer(self, body: bytes) -> bytes:
        """Keeps a body until `withdraw`; returns its id."""
        relay_id = secrets.token_bytes(16)
        self._offers[relay_id] = body
        return relay_id

    def withdraw(self, relay_id: bytes) -> None:
        """The body isn't wanted any more; whoever is pulling it is told."""
        self._offers.pop(relay_id, None)
        _, sender = self._running.pop(relay_id, ("", None))
        if sender is not None and not sender.terminated:
            sender.interrupt(failure("client_closed_request", "withdrawn"), relay.Usage())
            sender.cancel("withdrawn")

    def on_pull(self, pull: relay.Pull) -> None:
        """Notes a pull; `serve` looks at it."""
        if not self._pulls.full():
            self._pulls.put_nowait(pull)

    async def serve(self, tasks: asyncio.TaskGroup) -> None:
        """Sends bodies to those who pull them, until cancelled."""
        while True:
            pull = await self._pulls.get()
            body = self._offers.get(pull.relay_id)
            if not is_inbox_of(pull.answer_to, PULLERS):
                self.malformed += 1
            elif body is None:
                self._refuse(pull)
            elif not self._is_answered(pull):
                _, earlier = self._running.get(pull.relay_id, ("", None))
                if earlier is not None:
                    earlier.cancel("pulled by a later attempt")
                sender = self._open_sender(pull.relay_id, pull.peer, pull.answer_to)
                self._running[pull.relay_id] = pull.answer_to, sender
                tasks.create_task(self._send(sender, body))

    def _is_answered(self, pull: relay.Pull) -> bool:
        """Whether it repeats one that is under way or was answered, and not forgotten unheard."""
        answered_to, sender = self._running.get(pull.relay_id, ("", None))
        if sender is None or answered_to != pull.answer_to:
            return False
        taken = sender.done.is_set() and not sender.cancelled.is_set()
        return taken or self._is_open(sender)

    def _refuse(self, pull: relay.Pull) -> None:
        gone = failure("client_closed_request", "the body isn't here any more")
        try:
            self._bus.publish(pull.answer_to, encode(relay.Interrupted(0, gone)))
        except BusError:
            log_event(log, "pull_unanswered", level=logging.DEBUG, peer=pull.peer)

    async def _send(self, sender: Sender, body: bytes) -> None:
        try:
            view = memoryview(body)
            for start in range(0, len(body), relay.WINDOW_BYTES):
                await sender.send((bytes(view[start : start + relay.WINDOW_BYTES]),))
            sender.complete(relay.Usage(), "body")
        except RelayCut:
            log_event(log, "pull_cut", level=logging.DEBUG, peer=sender.peer)
        finally:
            self._close_sender(sender)
