"""`POST /v1/chat/completions`: from the client's bytes to the last byte of its answer."""

import asyncio

from droveway.contracts.config import Key
from droveway.gateway.doors.answering import answer_stream, answer_whole
from droveway.gateway.doors.chat import Chat
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.journal import Journal
from droveway.gateway.pending import Pending
from droveway.runtime.deadline import Deadline


class HttpDoor:
    """Takes requests in HTTP's form; one instance per gateway."""

    def __init__(self, chat: Chat, tasks: asyncio.TaskGroup, first_comment_s: float) -> None:
        self._chat = chat
        self._tasks = tasks
        self._first_comment_s = first_comment_s

    async def serve(self, exchange: Exchange, journal: Journal, key: Key) -> None:
        """Answers one request.

        Raises:
            Refusal: An error is to be answered, in band if the answer has begun.
            ClientGone: The client has left.
        """
        exchange.check_json()
        options = self._chat.options(exchange.raw_headers)

        async def answer(pending: Pending) -> None:
            await self._answer(pending, options.deadline, exchange, journal)

        with self._chat.held.share() as share:
            body = await exchange.body(share.grow)
            journal.mark("body")
            await self._chat.serve(body, options, journal, key, answer)

    async def _answer(
        self, pending: Pending, deadline: Deadline, exchange: Exchange, journal: Journal
    ) -> None:
        watch = self._tasks.create_task(_watch(exchange, pending))
        try:
            if journal.stream:
                await answer_stream(pending, self._first_comment_s, exchange, journal)
            else:
                await answer_whole(pending, deadline, exchange, journal)
        finally:
            watch.cancel()


async def _watch(exchange: Exchange, pending: Pending) -> None:
    """Tells the pending request when its client leaves, in both modes."""
    await exchange.wait_gone()
    pending.client_gone()
