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
MAX_PULLS = 4
"""Pulls of one body at once; a further one is refused, and that attempt fails."""
MAX_WAITING_PULLS = 1_024
"""Pulls not looked at yet; further ones are dropped, and callers repeat theirs."""


class _Offer:
    """A body, and its pulls by their ids: under way, and the last ones that are over."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.pulls: dict[bytes, Sender] = {}

    def is_answered(self, pull_id: bytes) -> bool:
        """Whether it was sent and taken: a repeated question came late."""
        sender = self.pulls.get(pull_id)
        return sender is not None and sender.done.is_set() and not sender.cancelled.is_set()

    def add(self, sender: Sender) -> None:
        """Notes a pull that begins; forgets the oldest one that is over."""
        self.pulls.pop(sender.relay_id, None)
        over = [pull_id for pull_id, earlier in self.pulls.items() if earlier.done.is_set()]
        if len(over) >= MAX_PULLS:
            del self.pulls[over[0]]
        self.pulls[sender.relay_id] = sender


class Bodies:
    """The bodies on offer, each sent to all who pull it.

    A pull is a relay of its own: what one caller says, or that it goes, is nothing to another that
    pulls the same body.
    """

    def __init__(
        self,
        bus: Wire,
        open_sender: Callable[[bytes, str, str], Sender],
        close_sender: Callable[[Sender], None],
        sender_of: Callable[[bytes], Sender | None],
    ) -> None:
        self._bus = bus
        self._open_sender = open_sender
        self._close_sender = close_sender
        self._sender_of = sender_of
        self._offers: dict[bytes, _Offer] = {}
        self._pulls: asyncio.Queue[relay.Pull] = asyncio.Queue(maxsize=MAX_WAITING_PULLS)
        self.malformed = 0

    def offer(self, body: bytes) -> bytes:
        """Keeps a body until `withdraw`; returns its id."""
        body_id = secrets.token_bytes(16)
        self._offers[body_id] = _Offer(body)
        return body_id

    def withdraw(self, body_id: bytes) -> None:
        """The body isn't wanted any more; all who are pulling it are told."""
        offer = self._offers.pop(body_id, None)
        for sender in offer.pulls.values() if offer is not None else ():
            if not sender.terminated:
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
            offer = self._offers.get(pull.relay_id)
            if not is_inbox_of(pull.answer_to, PULLERS):
                self.malformed += 1
            elif offer is None:
                self._refuse(pull, "the body isn't here any more")
            elif self._sender_of(pull.pull_id) is None and not offer.is_answered(pull.pull_id):
                self._answer(offer, pull, tasks)

    def _answer(self, offer: _Offer, pull: relay.Pull, tasks: asyncio.TaskGroup) -> None:
        if sum(self._is_under_way(one) for one in offer.pulls.values()) >= MAX_PULLS:
            self._refuse(pull, f"the body is being pulled by {MAX_PULLS} attempts already")
            return
        sender = self._open_sender(pull.pull_id, pull.peer, pull.answer_to)
        offer.add(sender)
        tasks.create_task(self._send(sender, offer.body))

    def _is_under_way(self, sender: Sender) -> bool:
        return self._sender_of(sender.relay_id) is sender and not sender.done.is_set()

    def _refuse(self, pull: relay.Pull, reason: str) -> None:
        refused = failure("client_closed_request", reason)
        try:
            self._bus.publish(pull.answer_to, encode(relay.Interrupted(0, refused)))
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
