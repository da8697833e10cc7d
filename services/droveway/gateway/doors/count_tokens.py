"""`POST /v1/messages/count_tokens`: how large a prompt is, without asking the model."""

from collections.abc import Callable
from typing import Any

import msgspec

from droveway.contracts.config import Key
from droveway.contracts.errors import failure
from droveway.dialects.anthropic import checks as anthropic_checks
from droveway.dialects.estimate import prompt_tokens
from droveway.dialects.untranslatable import Untranslatable
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.held import HeldBytes
from droveway.gateway.journal import Journal
from droveway.gateway.json_caps import BadRequest, JsonCaps, read_json_object
from droveway.gateway.refusal import Refusal, refuse

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
                text = f"The model `{model[:100]}` does not exist or you do not have access to it."
                raise refuse("model_not_found", text, param="model")
            journal.model = model
            answer = msgspec.json.encode({"input_tokens": prompt_tokens(request)})
        journal.finish(200)
        await exchange.answer(200, answer, [_ESTIMATED])

    def _read(self, body: bytes) -> dict[str, Any]:
        try:
            request = read_json_object(body, self._caps)
            anthropic_checks.check(request, counting=True)
        except BadRequest as error:
            raise Refusal(failure(error.code, str(error), param=error.param)) from None
        except Untranslatable as error:
            raise refuse(error.code, error.message, param=error.param) from None
        return request
