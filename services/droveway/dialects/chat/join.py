"""Joins streams of chat completion chunks: see `dialects.joining`.

One id, one time, one model, each as the first answer has them; the role once; usage of all.
"""

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.relay import Usage
from droveway.dialects.chat.answer import ChatAnswer, Choice, decode
from droveway.dialects.events import InBandError
from droveway.dialects.joining import Said
from droveway.dialects.usage_shapes import added, chat_usage

_NAMES = ("id", "created", "model")
_NOTHING = frozenset({b"null", b'""', b"[]", b"{}"})
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class ChatJoin:
    """One client's stream of chunks."""

    def __init__(self) -> None:
        self.said = Said()
        self._named: dict[str, msgspec.Raw] = {}
        """As the first chunk is that the client has."""
        self._before: Usage | None = None
        """What the answers before took; None: the first one is at hand."""
        self._sealed = False
        """It has said what nobody can go on with: a call, a refusal, another choice, its end."""
        self._reasoned = False

    @property
    def can_go_on(self) -> bool:
        """See `Join`; reasoning alone is shown already and can't be handed on."""
        if self._sealed or self.said.full:
            return False
        return bool(self.said.prefill) or not self._reasoned

    def take(self, data: bytes) -> list[bytes]:
        """See `Join`."""
        try:
            chunk = decode(data)
        except (InBandError, *MALFORMED):
            self._sealed = True  # its caller lets through what it can't read either
            return [data]
        if self._before is not None and self._named:
            return self._rest(data, chunk, self._before)
        if not self._named and chunk.choices:
            fields = _fields.decode(data)
            self._named = {name: fields[name] for name in _NAMES if name in fields}
        for choice in chunk.choices or ():
            self._note(choice)
        return [data]

    def go_on(self, before: Usage) -> None:
        """See `Join`."""
        self._before = before
        self.said.go_on()

    def _note(self, choice: Choice) -> None:
        delta = choice.delta
        if choice.index or choice.finish_reason:
            self._sealed = True
        if delta is None:
            return
        if delta.tool_calls or delta.function_call or delta.refusal:
            self._sealed = True
        if delta.reasoning_text() or delta.thinking_blocks:
            self._reasoned = True
        if text := delta.text():
            self.said.add(text)

    def _rest(self, data: bytes, chunk: ChatAnswer, before: Usage) -> list[bytes]:
        fields = _fields.decode(data) | self._named
        for choice in chunk.choices or ():
            self._seal(choice)
        if chunk.choices:
            choices = [self._rest_of(choice) for choice in _objects.decode(fields["choices"])]
            kept = [choice for choice in choices if choice is not None]
            if not kept:
                return []
            fields["choices"] = msgspec.Raw(_encode(kept))
        counted = chunk.usage.counted() if chunk.usage is not None else None
        if counted is not None:
            told = _fields.decode(fields["usage"]) | chat_usage(added(before, counted))
            fields["usage"] = msgspec.Raw(_encode(told))
        return [_encode(fields)]

    def _seal(self, choice: Choice) -> None:
        """As `_note`, but for text, of which some may be the client's already."""
        if choice.delta is not None:
            choice = msgspec.structs.replace(
                choice, delta=msgspec.structs.replace(choice.delta, content=None)
            )
        self._note(choice)

    def _rest_of(self, choice: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
        """A choice without its role and without text that the client has; None: nothing is left."""
        delta = _fields.decode(choice["delta"]) if "delta" in choice else {}
        delta.pop("role", None)
        content = bytes(delta.get("content", b"null"))
        if content.startswith(b'"'):
            text = self.said.rest(_text.decode(content))
            self.said.add(text)
            delta["content"] = msgspec.Raw(_encode(text))
        finish = bytes(choice.get("finish_reason", b"null"))
        said = any(bytes(value) not in _NOTHING for value in delta.values())
        return (
            choice | {"delta": msgspec.Raw(_encode(delta))} if said or finish != b"null" else None
        )
