"""A Responses request as a chat completion: what it goes on from, and what is kept of it."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from droveway.contracts import relay
from droveway.contracts.access import Key
from droveway.contracts.relay import Usage
from droveway.dialects.events import Context, Event
from droveway.dialects.responses.request import check, conversation, stores, to_chat
from droveway.dialects.responses.writer import ResponsesWriter, output_messages
from droveway.gateway.adaptation import Adaptation
from droveway.gateway.answers import error_object
from droveway.gateway.doors.responses_views import record
from droveway.gateway.refusal import refuse
from droveway.gateway.stored_responses import StoredResponses


class ResponsesAdapter:
    """Makes adaptations; one instance per gateway."""

    def __init__(self, stored: StoredResponses, *, keeps: bool) -> None:
        self._stored = stored
        self._keeps = keeps

    async def adapt(self, request: dict[str, Any], key: Key) -> Adaptation:
        """The chat completion that serves a checked request.

        Raises:
            Untranslatable: There is none.
            Refusal: 404: the response that it goes on from isn't there; 503: nobody can say.
        """
        if not self._keeps:
            check(request, stores=False)
        translated = to_chat(request, await self._earlier(request, key))
        keeps = stores(request, enabled=self._keeps)
        response_id = secrets.token_hex(16)
        context = Context(
            response_id=response_id,
            created_s=int(time.time()),
            model=request["model"],
            request=request | {"store": keeps},
        )
        writer = ResponsesWriter(context)

        async def keep(events: Sequence[Event], usage: Usage) -> None:
            kept = record(
                f"resp_{response_id}",
                request,
                ResponsesWriter(context).whole(events, usage),
                conversation(request, translated.body),
                output_messages(events),
            )
            if await self._stored.put(key, f"resp_{response_id}", kept):
                writer.say_not_stored()

        def cut(terminal: relay.Interrupted) -> list[bytes]:
            occurrence = terminal.failure
            told = error_object(occurrence)
            code = occurrence.provider_code or occurrence.code
            return writer.failed(code, told.message, told.type)

        return Adaptation(
            translated.body, writer, translated.warnings, keep if keeps else None, cut
        )

    async def _earlier(self, request: dict[str, Any], key: Key) -> list[dict[str, Any]]:
        previous = request.get("previous_response_id")
        if previous is None:
            return []
        kept = await self._stored.get(key, previous)
        if kept is None:
            text = f"Previous response with id '{previous[:64]}' not found."
            raise refuse("previous_response_not_found", text, param="previous_response_id")
        return kept.messages
