"""Writes the events of an answer as a Response, whole or as a stream.

    created, in_progress, { output_item.added, { deltas }, output_item.done }, completed

One item is open at a time, but for function calls whose arguments arrive by turns: one of these
ends when its arguments are a whole object and another item begins, or else with the answer.
Source: OpenAI API reference, responses streaming events, 2026-11.
"""

from collections.abc import Sequence
from typing import Any, Literal, assert_never

import msgspec

from droveway.contracts.relay import Usage
from droveway.dialects.events import (
    Begun,
    Context,
    Counted,
    Event,
    Finished,
    RedactedThinking,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
)
from droveway.dialects.responses.items import chat_messages
from droveway.dialects.responses.output import Call, Item, Message, Reasoning, Status
from droveway.dialects.responses.shapes import (
    LOGPROBS,
    REASONING,
    Numbering,
    error_event,
    error_object,
    repeated,
    response,
    status_of,
)


class ResponsesWriter:
    """Writes one answer for a client that speaks OpenAI's Responses API.

    Only the first choice is written; the API has no others.
    """

    def __init__(self, context: Context) -> None:
        include = context.request.get("include") or ()
        self._context = context
        self._request = repeated(context.request)
        self._with_logprobs = LOGPROBS in include or bool(context.request.get("top_logprobs"))
        self._with_blocks = REASONING in include
        self._numbers = Numbering()
        self._model = context.model
        self._begun = False
        self._reason: str | None = None
        self._items: list[Item] = []
        self._open: Message | Reasoning | None = None
        self._tools: set[int] = set()
        self._open_calls: dict[int, Call] = {}

    def write(self, events: Sequence[Event]) -> list[bytes]:
        """The stream's next events."""
        written: list[bytes] = []
        for event in events:
            if not self._begun:
                self._begin(event.model if type(event) is Begun else "", written)
            if self._reason is None and not getattr(event, "choice", 0):
                self._write(event, written)
        return written

    def close(self, usage: Usage) -> list[bytes]:
        """The event that ends the response, with all of it."""
        written: list[bytes] = []
        self._end(written)
        final = self._final(usage)
        name = f"response.{status_of(self._reason or '')}"
        return [*written, self._numbers.event(name, response=final)]

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        """All events as one Response."""
        self.write(events)
        self._end([])
        return bytes(self._final(usage))

    def failed(
        self, error_code: str, message: str, error_type: str = "server_error"
    ) -> list[bytes]:
        """The events that end a stream which breaks: what was wrong, and what there is."""
        written: list[bytes] = []
        if not self._begun:
            self._begin("", written)
        for item in self._items:
            if item.status == "in_progress":
                item.status = "incomplete"
        told = self._response("failed", error=error_object(error_code, message))
        numbers = self._numbers
        error = error_event({"message": message, "type": error_type, "code": error_code})
        written.append(numbers.event("error", **error))
        return [*written, numbers.event("response.failed", response=told)]

    def say_not_stored(self) -> None:
        """From now on the response says that it isn't kept."""
        self._request["store"] = msgspec.Raw(b"false")

    def output_messages(self) -> list[dict[str, Any]]:
        """What was written so far as chat messages; calls that were cut are left out."""
        items = [
            item.replayed()
            for item in self._items
            if not (isinstance(item, Call) and item.status == "incomplete")
        ]
        return chat_messages(items, "output").messages

    def _begin(self, model: str, written: list[bytes]) -> None:
        self._begun = True
        self._model = model or self._model
        told = self._response("in_progress")
        names = ("response.created", "response.in_progress")
        written += [self._numbers.event(name, response=told) for name in names]

    def _write(self, event: Event, written: list[bytes]) -> None:
        match event:
            case Text(text=text, logprobs=logprobs):
                self._say("output_text", text, logprobs if self._with_logprobs else None, written)
            case ToolArguments(tool=tool, piece=piece):
                if piece and (call := self._open_calls.get(tool)) is not None:
                    written.append(call.pass_arguments(self._numbers, piece))
            case Refusal(text=text):
                self._say("refusal", text, None, written)
            case Thinking() | Signature() | RedactedThinking():
                self._think(event, written)
            case ToolBegun():
                self._call(event, written)
            case Finished(reason=reason):
                self._finish(reason, written)
            case Begun() | Counted():
                pass
            case _:
                assert_never(event)

    def _say(
        self, kind: Literal["output_text", "refusal"], text: str, logprobs: msgspec.Raw | None,
        written: list[bytes],
    ) -> None:  # fmt: skip
        if not text and logprobs is None:
            return
        message = self._open
        if not isinstance(message, Message):
            message = Message(self._context.response_id, len(self._items))
            self._add(message, written)
            self._open = message
        written += message.say(self._numbers, kind, text, logprobs)

    def _think(self, event: Thinking | Signature | RedactedThinking, written: list[bytes]) -> None:
        match event:
            case Thinking(text=text):
                if text:
                    written += self._reasoning(written).think(self._numbers, text)
                return
            case Signature(signature=signature):
                self._reasoning(written).sign(signature)
            case RedactedThinking(data=data):
                self._close_open("completed", written)
                self._reasoning(written).redact(data)
        self._close_open("completed", written)

    def _call(self, event: ToolBegun, written: list[bytes]) -> None:
        if event.tool in self._tools:
            return
        self._tools.add(event.tool)
        call = Call(self._context.response_id, len(self._items), event.call_id, event.name)
        self._add(call, written)
        self._open_calls[event.tool] = call

    def _reasoning(self, written: list[bytes]) -> Reasoning:
        if not isinstance(self._open, Reasoning):
            item = Reasoning(
                self._context.response_id, len(self._items), with_blocks=self._with_blocks
            )
            self._add(item, written)
            self._open = item
        return self._open

    def _add(self, item: Item, written: list[bytes]) -> None:
        """Begins an item; others end that nothing can be added to any more."""
        self._close_open("completed", written)
        for tool, call in list(self._open_calls.items()):
            if call.is_whole:
                written += call.closed(self._numbers, "completed")
                del self._open_calls[tool]
        self._items.append(item)
        written.append(item.opened(self._numbers))

    def _close_open(self, status: Status, written: list[bytes]) -> None:
        if self._open is not None:
            written += self._open.closed(self._numbers, status)
            self._open = None

    def _finish(self, reason: str, written: list[bytes]) -> None:
        """Ends all items; one that the end cut short says so."""
        self._reason = reason
        status: Status = "incomplete" if status_of(reason) == "incomplete" else "completed"
        self._close_open(status, written)
        for call in self._open_calls.values():
            whole: Status = "completed" if call.is_whole else status
            written += call.closed(self._numbers, whole)
        self._open_calls.clear()

    def _end(self, written: list[bytes]) -> None:
        if not self._begun:
            self._begin("", written)
        if self._reason is None:
            self._finish("stop", written)

    def _final(self, usage: Usage) -> msgspec.Raw:
        return self._response(status_of(self._reason or ""), usage=usage)

    def _response(
        self, status: str, *, usage: Usage | None = None, error: dict[str, Any] | None = None
    ) -> msgspec.Raw:
        return response(
            self._context, self._request, self._model, [item.shape() for item in self._items],
            status=status, reason=self._reason or "", usage=usage, error=error,
        )  # fmt: skip


def output_messages(events: Sequence[Event]) -> list[dict[str, Any]]:
    """An answer as chat messages, for the conversation that goes on from it."""
    writer = ResponsesWriter(Context("", 0, ""))
    writer.whole(events, Usage())
    return writer.output_messages()
