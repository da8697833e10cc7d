"""`POST /v1/messages/count_tokens`: how large a prompt is, without asking the model."""

from typing import Protocol

import msgspec

from droveway.contracts.access import Key
from droveway.contracts.errors import status_of
from droveway.contracts.relay import Usage
from droveway.dialects.estimate import prompt_tokens
from droveway.gateway.adapted import Frames
from droveway.gateway.doors.answering import answer_own
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.http import HttpDoor
from droveway.gateway.doors.inference import Inference
from droveway.gateway.journal import Journal
from droveway.gateway.json_caps import JsonCaps, read_json_object
from droveway.gateway.operations import COUNT_TOKENS, Asked, user_of
from droveway.gateway.refusal import Refusal, no_such_model, refusing
from droveway.runtime.deadline import Deadline

EXACT_WITHIN_S = 5.0
"""For so long a provider is waited for; then the count is estimated."""
_ESTIMATED = (b"x-droveway-estimated", b"true")


class Served(Protocol):
    """What the configuration in force says of models."""

    def allows(self, key: Key, model: str) -> bool:
        """Whether it routes this name for this key."""
        ...

    def counts(self, model: str) -> bool:
        """Whether a provider can tell how many tokens a prompt for this name has."""
        ...


class CountTokens:
    """Has a provider of the model count; else counts by size, as `x-droveway-estimated` says."""

    def __init__(self, inference: Inference, door: HttpDoor, served: Served) -> None:
        self._inference = inference
        self._door = door
        self._served = served
        self._caps = JsonCaps()

    async def serve(self, exchange: Exchange, journal: Journal, key: Key) -> None:
        """Answers one request.

        Raises:
            Refusal: It isn't a request, or its model isn't served to this key.
            ClientGone: The client has left.
        """
        exchange.check_json()
        with self._inference.held.share() as share:
            body = await exchange.body(share.grow)
            journal.mark("body")
            with refusing():
                request = read_json_object(body, self._caps)
                asked = COUNT_TOKENS.read(request)
            asked = asked._replace(user=user_of(COUNT_TOKENS, request))
            model: str = request["model"]
            if not self._served.allows(key, model):
                raise no_such_model(model)
            journal.model = model
            if self._served.counts(model) and await self._exact(
                asked, body, exchange, journal, key
            ):
                return
            answer = msgspec.json.encode({"input_tokens": prompt_tokens(request)})
        journal.failure, journal.usage = None, Usage()  # of the attempt; its row tells of it
        await answer_own(exchange, journal, answer, [_ESTIMATED])

    async def _exact(
        self, asked: Asked, body: bytes, exchange: Exchange, journal: Journal, key: Key
    ) -> bool:
        """Answers with a provider's count; False when there is none."""

        async def answer(frames: Frames) -> None:
            await self._door.answer(frames, deadline, exchange, journal)

        try:
            options = self._inference.options(exchange.raw_headers)
            within_ms = min(EXACT_WITHIN_S * 1000, options.deadline.remaining_ms())
            deadline = Deadline.after_ms(within_ms)
            options = options._replace(deadline=deadline)
            await self._inference.ask(COUNT_TOKENS, asked, body, options, journal, key, answer)
        except Refusal as refusal:
            if exchange.started or _is_the_clients(refusal):
                raise
            return False
        return True


def _is_the_clients(refusal: Refusal) -> bool:
    """Whether the provider says, in its own words, what is wrong with the request."""
    rejected = refusal.failure
    return rejected.code == "provider_rejected" and status_of(rejected) == 400
