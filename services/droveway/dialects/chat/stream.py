"""A provider's stream of chat completion chunks, brought into the one form that clients get.

Constant id and time, for each choice first its role with empty content, usage only where asked and
then last. Events that are so already pass as they came, most of them undecoded.
Source: OpenAI API reference, chat completions streaming, 2026-11.
"""

import msgspec

from droveway.contracts.relay import Usage
from droveway.dialects.chat import chunk as openai_chunk
from droveway.dialects.chat.event_template import EventTemplate, template
from droveway.dialects.chat.facts import ChatFacts
from droveway.dialects.chat.passing import failure_in_band, without_usage
from droveway.dialects.events import MAX_NAME_CHARS, Context, InBandError, one_line
from droveway.dialects.usage_shapes import chat_usage

_TEMPLATES = 4
"""Templates in a row that no event fits, after which a stream's events are all decoded."""
_NULL = msgspec.Raw(b"null")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_encode = msgspec.json.Encoder().encode


class ChatStream:
    """One stream; `facts` know how it stands."""

    def __init__(self, context: Context) -> None:
        self.facts = ChatFacts()
        self._include_usage = context.include_usage
        self._id = ""
        self._created = context.created_s
        self._context = context
        self._begun: set[int] = set()
        self._role_again = False
        """The event at hand tells the role of a choice that has it."""
        self._usage: msgspec.Raw | None = None
        """The provider's own, to be shown last."""
        self._template: EventTemplate | None = None
        self._templates_left = _TEMPLATES
        self.undecoded = 0
        """Events that were taken by the bytes around their content alone."""

    def take(self, data: bytes, events: list[bytes]) -> bool:
        """Takes in one event and adds what the client is to see; whether it bears content.

        Raises:
            InBandError: It is an error.
            msgspec.DecodeError: It isn't a chat completion chunk; nothing has changed.
        """
        if self._template is not None and (content := self._template.content(data)):
            self._templates_left = _TEMPLATES
            self.undecoded += 1
            self.facts.content_bytes += len(content)
            events.append(self._template.shown(data, content))
            return True
        data = one_line(data)
        chunk = openai_chunk.decode(data)
        if chunk.is_error():
            raise InBandError(failure_in_band(data))
        facts = self.facts
        was_finished, model = facts.finished, facts.model
        has_content = facts.read(chunk)
        if facts.model != model:
            self._template = None  # its events would have set another name
        choices = chunk.choices or []
        if chunk.usage is not None and chunk.usage.counted() is not None:
            self._usage = _fields.decode(data)["usage"]
        if not choices or (was_finished and not has_content and _finishes(choices)):
            return False  # usage, which comes last; or a second terminal, which nobody should see
        self._show(data, chunk, events)
        if has_content:
            self._learn(data, chunk)
        return has_content

    def close(self, usage: Usage) -> list[bytes]:
        """The last events, where the client asked for usage; `[DONE]` is the door's."""
        if not self._include_usage:
            return []
        counted = self._usage if self._usage is not None else chat_usage(usage)
        return [_encode(self._chunk([], counted))]

    def _show(self, data: bytes, chunk: openai_chunk.Chunk, events: list[bytes]) -> None:
        """Adds the event in the form that clients get, and before it a role that was left out."""
        if not self._id:
            ours = f"chatcmpl-{self._context.response_id}"
            self._id = chunk.id if chunk.id and len(chunk.id) <= MAX_NAME_CHARS else ours
            self._created = int(chunk.created or self._created)
        for choice in chunk.choices or ():
            index, delta = choice.index or 0, choice.delta
            said = delta is not None and delta.has_role()
            if index in self._begun:
                self._role_again |= said
                continue
            self._begun.add(index)
            if delta is not None and delta.begins():
                continue
            self._role_again |= said
            events.append(_encode(self._chunk([_role(index)], None)))
            alone = len(chunk.choices or ()) == 1 and not choice.finish_reason
            if alone and delta is not None and not delta.size_bytes() and _is_bare(data):
                self._role_again = False
                return  # role without content, or null: the one just added says it better
        if self._role_again:
            self._role_again = False
            data = _without_roles(data)  # clients that add pieces up would have it twice
        events.append(self._form(data, chunk))

    def _form(self, data: bytes, chunk: openai_chunk.Chunk) -> bytes:
        """Also of an event that differs from `chunk` in its text only."""
        if not self._include_usage:
            data = without_usage(data)
        named = chunk.id == self._id and chunk.created == self._created
        if named and not self._include_usage:
            return data
        if named and chunk.usage is None and b'"usage"' not in data and data.endswith(b"}"):
            return data[:-1] + b',"usage":null}'
        fields = _fields.decode(data)
        if named and chunk.usage is None and "usage" in fields:
            return data
        fields["id"] = msgspec.Raw(_encode(self._id))
        fields["created"] = msgspec.Raw(b"%d" % self._created)
        if self._include_usage:
            fields["usage"] = _NULL
        return _encode(fields)

    def _learn(self, data: bytes, chunk: openai_chunk.Chunk) -> None:
        if not self._templates_left or not (size := chunk.text_bytes()):
            return
        if (found := template(data, size, lambda event: self._form(event, chunk))) is not None:
            self._template = found
            self._templates_left -= 1

    def _chunk(self, choices: list[object], usage: object) -> dict[str, object]:
        chunk: dict[str, object] = {
            "id": self._id or f"chatcmpl-{self._context.response_id}",
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.facts.model or self._context.model,
            "choices": choices,
        }
        if self._include_usage:
            chunk["usage"] = usage
        return chunk


def _is_bare(data: bytes) -> bool:
    """The only choice's delta has nothing beside its role that anybody could miss."""
    (choice,) = _objects.decode(_fields.decode(data)["choices"])
    delta = _fields.decode(choice["delta"])
    delta.pop("role", None)
    return all(bytes(value) in openai_chunk.NOTHING for value in delta.values())


def _without_roles(data: bytes) -> bytes:
    fields = _fields.decode(data)
    choices = _objects.decode(fields["choices"])
    for choice in choices:
        raw = choice.get("delta", _NULL)
        delta = {} if bytes(raw) == b"null" else _fields.decode(raw)
        delta.pop("role", None)
        choice["delta"] = msgspec.Raw(_encode(delta))
    fields["choices"] = msgspec.Raw(_encode(choices))
    return _encode(fields)


def _finishes(choices: "list[openai_chunk.Choice]") -> bool:
    return all(choice.finish_reason for choice in choices)


def _role(index: int) -> dict[str, object]:
    return {
        "index": index,
        "delta": {"role": "assistant", "content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
