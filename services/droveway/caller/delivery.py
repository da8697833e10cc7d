"""What a client gets of an answer: held back until the attempt is committed, then relayed."""

from collections.abc import Callable

from droveway.caller.attempt import AttemptRecord
from droveway.contracts import relay
from droveway.contracts.errors import Failure, failure
from droveway.runtime.relay import Sender

MAX_HELD_BYTES = 1024 * 1024
"""Events before the first content that are held back; a provider that sends more is refused."""


class CallFailed(Exception):
    """The attempt ends here, for a reason that isn't a broken connection."""

    def __init__(self, occurrence: Failure) -> None:
        super().__init__(occurrence.code)
        self.failure = occurrence


class Delivery:
    """One attempt's frames, from commit to their terminal."""

    def __init__(
        self,
        record: AttemptRecord,
        sender: Sender,
        on_commit: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._record = record
        self._sender = sender
        self._on_commit = on_commit
        self._on_end = on_end
        self._held: list[bytes] = []
        self._held_bytes = 0

    async def forward(self, events: list[bytes], *, has_content: bool) -> None:
        """Relays what one read brought; before the first content it is held back.

        Raises:
            CallFailed: Too much would be.
            RelayCut: The door has gone.
        """
        if self._record.committed:
            await self.send(events)
            return
        self._held.extend(events)
        self._held_bytes += sum(map(len, events))
        if has_content:
            self._commit()
            held, self._held = self._held, []
            await self.send(held, self._record.origin())
        elif self._held_bytes > MAX_HELD_BYTES:
            raise CallFailed(failure("bad_upstream", "Too much before the first content"))

    async def send(self, events: list[bytes], origin: relay.Origin | None = None) -> None:
        """Relays events as one frame, or as several where one would be too large for the bus."""
        if sum(map(len, events)) <= relay.INLINE_BYTES:
            await self._sender.send(tuple(events), origin)
            return
        frame: list[bytes] = []
        size_bytes = 0
        for event in events:
            if frame and size_bytes + len(event) > relay.INLINE_BYTES:
                await self._sender.send(tuple(frame), origin)
                frame, size_bytes, origin = [], 0, None
            frame.append(event)
            size_bytes += len(event)
        await self._sender.send(tuple(frame), origin)

    async def whole(self, body: bytes) -> None:
        """Commits a whole answer, which is complete and checked, and relays it to its end."""
        record = self._record
        self._commit()
        origin = record.origin()
        if len(body) > relay.INLINE_BYTES:
            for start in range(0, len(body), relay.WINDOW_BYTES):
                await self._sender.send((body[start : start + relay.WINDOW_BYTES],), origin)
            body = b""
        self.end(record.used(), body, origin)

    def end(
        self, usage: relay.Usage, body: bytes = b"", origin: relay.Origin | None = None
    ) -> None:
        """The provider has finished as its protocol says."""
        self._on_end()
        self._sender.complete(usage, self._record.facts.finish_reason, body, origin)

    def _commit(self) -> None:
        self._record.committed = True
        self._on_commit()
