"""`POST /v1/messages/count_tokens`: how large a prompt is, without asking the model."""

from collections.abc import Callable
from typing import Any

import msgspec

from droveway.contracts.access import Key
from droveway.dialects.anthropic import checks as anthropic_checks
from droveway.dialects.estimate import prompt_tokens
from droveway.gateway.doors.answering import answer_own
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.held import HeldBytes
from droveway.gateway.journal import Journal
from droveway.gateway.json_caps import JsonCaps, read_json_object
from droveway.gateway.refusal import no_such_model, refusing

_ESTIMATED = (b"x-droveway-estimated", b"true")


class CountTokens:
    """Counts by size, which the answer's `x-droveway-estimated` says; no provider is asked."""

    def __init__(self, allows: Callable[[Key, str], bool], held: HeldBytes) -> None:
        self._allows = allows
        self._held = held
        self._caps = JsonCaps()

    async def serve(self, exchange: Exchange, journal: Journal, key: Key) -> None:
        """Answers one request.

        Raises:
            Refusal: It isn't a request, or its model isn't served to this key.
            ClientGone: The client has left.
        """
        exchange.check_json()
        with self._held.share() as share:
            request = self._read(await exchange.body(share.grow))
            model: str = request["model"]
            if not self._allows(key, model):
                raise no_such_model(model)
            journal.model = model
            answer = msgspec.json.encode({"input_tokens": prompt_tokens(request)})
        await answer_own(exchange, journal, answer, [_ESTIMATED])

    def _read(self, body: bytes) -> dict[str, Any]:
        with refusing():
            request = read_json_object(body, self._caps)
            anthropic_checks.check(request, counting=True)
            return request
