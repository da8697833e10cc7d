"""Inference over HTTP: from the client's bytes to the last byte of its answer."""

import asyncio
from collections.abc import Awaitable, Callable

from droveway.contracts.access import Key
from droveway.gateway.adapted import Frames
from droveway.gateway.doors.answering import Amend, answer_stream, answer_whole
from droveway.gateway.doors.compat import amendment
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.inference import Inference
from droveway.gateway.journal import Journal
from droveway.gateway.operations import Operation
from droveway.runtime.deadline import Deadline

Endpoint = Callable[[Exchange, Journal, Key], Awaitable[None]]


class HttpDoor:
    """Takes requests in HTTP's form; one instance per gateway."""

    def __init__(
        self,
        inference: Inference,
        tasks: asyncio.TaskGroup,
        first_comment_s: float,
        compat: str = "",
    ) -> None:
        self._inference = inference
        self._tasks = tasks
        self._first_comment_s = first_comment_s
        self._compat = compat

    def endpoint(self, operation: Operation) -> Endpoint:
        """What serves an operation's path."""

        async def serve(exchange: Exchange, journal: Journal, key: Key) -> None:
            await self._serve(operation, exchange, journal, key)

        return serve

    async def _serve(
        self, operation: Operation, exchange: Exchange, journal: Journal, key: Key
    ) -> None:
        """Answers one request.

        Raises:
            Refusal: An error is to be answered, in band if the answer has begun.
            ClientGone: The client has left.
        """
        exchange.check_json()
        options = self._inference.options(exchange.raw_headers)

        amend = amendment(self._compat, operation)

        async def answer(frames: Frames) -> None:
            await self.answer(frames, options.deadline, exchange, journal, amend)

        with self._inference.held.share() as share:
            body = await exchange.body(share.grow)
            journal.mark("body")
            await self._inference.serve(operation, body, options, journal, key, answer)

    async def answer(
        self, frames: Frames, deadline: Deadline, exchange: Exchange, journal: Journal,
        amend: Amend | None = None,
    ) -> None:  # fmt: skip
        """Answers a published request as its frames come.

        Raises:
            AskFailed: No attempt committed.
            ClientGone: The client has left.
            Refusal: The answer was cut; the client has seen nothing of it.
        """
        watch = self._tasks.create_task(_watch(exchange, frames))
        try:
            if journal.stream:
                await answer_stream(frames, self._first_comment_s, exchange, journal)
            else:
                await answer_whole(frames, deadline, exchange, journal, amend)
        finally:
            watch.cancel()


async def _watch(exchange: Exchange, frames: Frames) -> None:
    """Tells the pending request when its client leaves, in both modes."""
    await exchange.wait_gone()
    frames.client_gone()
