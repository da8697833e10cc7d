"""Operations that are asked as chat completions: how each request becomes one, and comes back."""

import secrets
import time
from typing import Any

from droveway.contracts.access import Key
from droveway.dialects.completions import request as completions_request
from droveway.dialects.completions.writer import CompletionsWriter
from droveway.dialects.events import Context
from droveway.gateway.adaptation import Adaptation
from droveway.gateway.operations import RESPONSES, Operation
from droveway.gateway.responses import ResponsesAdapter


class Adapters:
    """Makes adaptations; one instance per gateway."""

    def __init__(self, responses: ResponsesAdapter) -> None:
        self._responses = responses

    async def adapt(self, operation: Operation, request: dict[str, Any], key: Key) -> Adaptation:
        """The chat completion that serves a checked request of `operation`.

        Raises:
            Untranslatable: There is none.
            Refusal: What it refers to isn't there.
        """
        if operation is RESPONSES:
            return await self._responses.adapt(request, key)
        return _completion(request)


def _completion(request: dict[str, Any]) -> Adaptation:
    translated = completions_request.to_chat(request)
    options = request.get("stream_options") or {}
    context = Context(
        response_id=secrets.token_hex(16),
        created_s=int(time.time()),
        model=request["model"],
        include_usage=options.get("include_usage") is True,
        request=request,
    )
    return Adaptation(translated.body, CompletionsWriter(context), translated.warnings)
