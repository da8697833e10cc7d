"""The fields of a chat completion, whole or one chunk of a stream, that decide what it means.

Source: OpenAI API reference, chat completions, 2026-11.
"""

from typing import Annotated

import msgspec

from droveway.dialects.usage_shapes import ChatUsage

MAX_CHOICES = 128
"""As many as a request may ask for; an event that counts further can't be read."""
_ABSENT = msgspec.Raw()
NOTHING = (b"", b"null", b'""', b"[]")
_LONGEST_NOTHING = 4


class _Content(msgspec.Struct, frozen=True):
    content: msgspec.Raw = _ABSENT
    tool_calls: msgspec.Raw = _ABSENT
    function_call: msgspec.Raw = _ABSENT
    refusal: msgspec.Raw = _ABSENT
    reasoning_content: msgspec.Raw = _ABSENT
    reasoning: msgspec.Raw = _ABSENT
    audio: msgspec.Raw = _ABSENT
    role: msgspec.Raw = _ABSENT

    def has_role(self) -> bool:
        """It says who speaks."""
        return self.role is not _ABSENT and bytes(self.role) != b"null"

    def begins(self) -> bool:
        """It is what a choice's first delta has to be: the role with empty content, only."""
        return self.has_role() and bytes(self.content) == b'""' and not self.size_bytes()

    def size_bytes(self) -> int:
        """Bytes of content of any kind, without the quotes or brackets around it."""
        size = 0
        for value in (
            self.content, self.tool_calls, self.function_call, self.refusal,
            self.reasoning_content, self.reasoning, self.audio,
        ):  # fmt: skip
            if value is _ABSENT:
                continue
            raw = bytes(value)
            if (length := len(raw)) > _LONGEST_NOTHING:
                size += length - 2
            elif raw not in NOTHING:
                size += max(1, length - 2)
        return size


class Choice(msgspec.Struct, frozen=True):
    """One choice, or a piece of one."""

    index: Annotated[int, msgspec.Meta(ge=0, lt=MAX_CHOICES)] | None = None
    delta: _Content | None = None
    message: _Content | None = None
    finish_reason: str | None = None
    usage: ChatUsage | None = None
    """Moonshot counts here."""


class Chunk(msgspec.Struct, frozen=True):
    """What is read of it; all else passes unread."""

    choices: list[Choice] | None = None
    usage: ChatUsage | None = None
    error: msgspec.Raw = _ABSENT
    model: str | None = None
    id: str | None = None
    created: int | float | None = None

    def is_error(self) -> bool:
        """The provider reports an error in band."""
        return self.error is not _ABSENT and bytes(self.error) not in NOTHING

    def text_bytes(self) -> int:
        """Size of the first choice's text where that is all that the chunk says; else 0."""
        choices = self.choices or ()
        if len(choices) != 1 or self.usage is not None:
            return 0
        choice = choices[0]
        if choice.index or choice.finish_reason or choice.delta is None:
            return 0
        if choice.delta.has_role():
            return 0
        content = bytes(choice.delta.content)
        size = len(content) - 2
        return size if content.startswith(b'"') and size == choice.delta.size_bytes() else 0


_chunks = msgspec.json.Decoder(Chunk)
decode = _chunks.decode
