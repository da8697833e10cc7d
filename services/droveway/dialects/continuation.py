"""A request whose answer broke off, asked of another target: with its beginning as the last turn.

What the client sent keeps its bytes and its order, so that prompt caches hit.
"""

import msgspec

_BOUNDS = ("max_tokens", "max_completion_tokens")
_THINKING = ("thinking", "reasoning_effort")
"""It has thought already, and no provider that is asked to think takes a beginning."""


class _Shape(msgspec.Struct, frozen=True):
    type: str = ""


class _Output(msgspec.Struct, frozen=True):
    format: _Shape | None = None


class _Shaped(msgspec.Struct, frozen=True):
    response_format: _Shape | None = None
    """Of a chat completion."""
    output_config: _Output | None = None
    """Of an Anthropic message."""


_shapes = msgspec.json.Decoder(_Shaped)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def is_structured(body: bytes) -> bool:
    """Whether the answer is to have a form beyond text, of which nobody makes just a part."""
    asked = _shapes.decode(body)
    output = asked.output_config or _Output()
    return any(
        one is not None and one.type != "text" for one in (asked.response_format, output.format)
    )


def continued(body: bytes, said: str, spent_tokens: int) -> bytes:
    """The body of a chat completion, or of an Anthropic message, that goes on after `said`.

    Args:
        body: As it was asked, and checked.
        said: The beginning of the answer, not empty.
        spent_tokens: The beginning's: the rest may have so many fewer, at least one.
    """
    fields = _fields.decode(body)
    for name in _THINKING:
        fields.pop(name, None)
    for name in _BOUNDS:
        if name in fields and (bound := msgspec.json.decode(fields[name])) is not None:
            fields[name] = msgspec.Raw(_encode(max(1, bound - spent_tokens)))
    messages = _raws.decode(fields["messages"])
    last = _fields.decode(messages[-1])
    if msgspec.json.decode(last["role"]) == "assistant" and "tool_calls" not in last:
        last["content"] = msgspec.Raw(_encode(_lengthened(last.get("content"), said)))
        messages[-1] = msgspec.Raw(_encode(last))
    else:
        messages.append(msgspec.Raw(_encode({"role": "assistant", "content": said})))
    fields["messages"] = msgspec.Raw(_encode(messages))
    return _encode(fields)


def _lengthened(content: msgspec.Raw | None, said: str) -> object:
    """The client's own beginning of the answer, and what was said after it."""
    begun = None if content is None else msgspec.json.decode(content)
    if isinstance(begun, list):
        return [*begun, {"type": "text", "text": said}]
    return f"{begun or ''}{said}"
