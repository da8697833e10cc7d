"""What our normal form of a request has beyond OpenAI's: taken out before an OpenAI provider.

Looked for in the bytes first, since hardly any request has one; what has none keeps its bytes.
"""

import re
from typing import Any

import msgspec

Fields = dict[str, msgspec.Raw]

TOP = ("thinking", "top_k", "cache_control")
"""Top-level fields; `top_k` is known to some providers, but to OpenAI's own API it isn't."""
_MESSAGE = ("thinking_blocks", "is_error")
_has_trace = re.compile(rb'"(?:thinking_blocks|is_error|cache_control)"').search
_any = msgspec.json.Decoder(list[Any])


def without_extensions(fields: Fields, *, translated: bool) -> Fields:
    """A chat request's fields as an OpenAI provider may see them.

    Args:
        fields: The request's, undecoded; not changed.
        translated: It comes from another dialect. What a chat client itself says at the top is for
            its provider to judge: some know `top_k` or `thinking`.
    """
    kept = {name: value for name, value in fields.items() if not translated or name not in TOP}
    for name in ("messages", "tools"):
        value = kept.get(name)
        if value is not None and _has_trace(value):
            kept[name] = msgspec.Raw(msgspec.json.encode(_stripped(_any.decode(value))))
    return kept


def _stripped(value: Any) -> Any:
    """Without the extensions, where they stand as keys of messages, parts and tools."""
    if isinstance(value, list):
        return [_stripped(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _stripped(inner) if name in ("content", "function") else inner
        for name, inner in value.items()
        if name not in _MESSAGE and name != "cache_control"
    }
