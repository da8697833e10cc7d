"""A streamed answer as an application reads it, event by event."""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from droveway.client.errors import Interrupted, StreamClosed
from droveway.client.exchange import Exchange
from droveway.client.request import Published, Request
from droveway.contracts import client, relay
from droveway.contracts.envelope import MALFORMED

MAX_TEXT_CHARACTERS = 1_000_000
"""So much of what was said is kept for whoever asks after a cut."""
_decode = msgspec.json.Decoder().decode


class Stream:
    """`async with client.stream(...) as stream: async for event in stream: ...`.

    Entering waits until the answer begins, so that an error in its place is raised there. Leaving
    before its end cancels it, all the way to the provider.
    """

    def __init__(self, request: Request) -> None:
        self.completed: client.Completed | None = None
        """Finish reason and usage, once the last event was read."""
        self._request = request
        self._published: Published | None = None
        self._ready: deque[bytes] = deque()
        self._said: list[str] = []
        self._said_characters = 0
        self._closed = False

    @property
    def request_id(self) -> str:
        """The request's id, as in logs and for `droveway trace`."""
        return self._exchange.request_id

    @property
    def headers(self) -> Mapping[str, str]:
        """What HTTP would have answered: who served it, how long it took here, limits."""
        return self._exchange.headers

    @property
    def said(self) -> str:
        """What the first choice has said so far, in the events that were read."""
        return "".join(self._said)

    async def __aenter__(self) -> Self:
        """Sends the request and waits for the first event.

        Raises:
            NotConnected: Nothing was sent.
            NoGateway: No gateway was there to take it.
            Failed: An error in place of an answer.
            Interrupted: The answer was cut before its first event.
        """
        self._published = self._request.publish()
        try:
            await self._fill()
        except BaseException as error:
            self._published.close(error)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancels what hasn't ended."""
        self._closed = True
        if self._published is not None:
            self._published.close(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next event, decoded.

        Raises:
            Interrupted: The answer was cut; what came before is a true prefix.
            StreamClosed: The block was left.
        """
        if self._closed:
            raise StreamClosed("the stream's block was left: read it inside of `async with`")
        while not self._ready:
            if self.completed is not None:
                raise StopAsyncIteration
            await self._fill()
        event: dict[str, Any] = _decode(self._ready.popleft())
        self._note(event)
        return event

    async def text(self) -> AsyncIterator[str]:
        """What the first choice says, piece by piece."""
        async for event in self:
            if said := _content(event):
                yield said

    async def _fill(self) -> None:
        """Waits for the next frame and keeps its events."""
        match await self._exchange.take():
            case relay.Chunk() as chunk:
                self._ready.extend(chunk.events)
            case relay.Completed():
                assert isinstance(self._exchange.terminal, client.Completed)
                self.completed = self._exchange.terminal
            case relay.Interrupted() as cut:
                raise interrupted(self._exchange, cut, self.said)

    @property
    def _exchange(self) -> Exchange:
        if self._published is None:
            raise StreamClosed("the stream isn't open: enter it by `async with`")
        return self._published.exchange

    def _note(self, event: dict[str, Any]) -> None:
        said = _content(event)
        if said and self._said_characters < MAX_TEXT_CHARACTERS:
            self._said.append(said)
            self._said_characters += len(said)


def interrupted(exchange: Exchange, cut: relay.Interrupted, text: str) -> Interrupted:
    """The exception for an answer that the gateway, or we ourselves, cut."""
    told = exchange.terminal
    if isinstance(told, client.Interrupted):
        code, message = told.error.code or cut.failure.code, told.error.message
        usage: client.Usage | None = told.usage
    else:
        code, message, usage = cut.failure.code, cut.failure.message, None
    return Interrupted(code, message, text=text, usage=usage, request_id=exchange.request_id)


def read_answer(body: bytes) -> dict[str, Any] | None:
    """A whole answer; None when it isn't JSON."""
    try:
        answer: dict[str, Any] = _decode(body)
    except MALFORMED:
        return None
    return answer


def _content(event: dict[str, Any]) -> str:
    for choice in event.get("choices") or ():
        if not choice.get("index"):
            return (choice.get("delta") or {}).get("content") or ""
    return ""
