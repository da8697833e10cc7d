"""Anthropic's messages as their checks take them and as they are answered.

Source: Anthropic API reference, messages and streaming, 2026-11.
"""

from droveway.dialects.anthropic import checks
from droveway.gateway.openapi.shapes import (
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    Schema,
    either,
    items,
    nullable,
    record,
    ref,
    request,
    said,
    text,
    whole,
    words,
)

_BLOCKS = items(ref("MessageBlock"), 0, checks.MAX_BLOCKS)
_SAID: dict[str, Schema] = {
    "model": text(1, checks.MAX_MODEL_CHARS),
    "messages": items(ref("Message"), 1, checks.MAX_MESSAGES),
}
_MAX_TOKENS = whole(0, checks.MAX_OUTPUT_TOKENS)
FIELDS: dict[str, Schema] = {
    "stream": said(FLAG, "Answer with server-sent events."),
    "system": either(TEXT, _BLOCKS),
    "tools": items(request({}, {"type": TEXT}, ""), 0, checks.MAX_TOOLS),
    "stop_sequences": items(TEXT, 0, checks.MAX_STOP_SEQUENCES),
    "metadata": request({}, {"user_id": TEXT}, ""),
}

REQUESTS: dict[str, Schema] = {
    "MessageBlock": either(
        record({"type": {"const": "text"}, "text": TEXT}),
        record({"type": text(1)}, {}, "A block of another type; the provider checks the rest."),
    ),
    "Message": record({"role": words(*checks.ROLES), "content": either(TEXT, _BLOCKS)}),
    "MessagesRequest": request(
        {**_SAID, "max_tokens": _MAX_TOKENS},
        FIELDS,
        "A message. Fields that aren't listed go to an Anthropic provider as they are.",
    ),
    "CountTokensRequest": request(
        _SAID, {**FIELDS, "max_tokens": _MAX_TOKENS}, "A message to be counted."
    ),
}

_USAGE = record(
    {"input_tokens": COUNT, "output_tokens": COUNT},
    {
        "cache_creation_input_tokens": nullable(COUNT),
        "cache_read_input_tokens": nullable(COUNT),
        "cache_creation": nullable(OBJECT),
    },
    "`input_tokens` is without what was read from or written to the cache.",
)
_BEGUN: dict[str, Schema] = {
    "id": TEXT,
    "type": {"const": "message"},
    "role": {"const": "assistant"},
    "model": TEXT,
    "content": items(ref("MessageBlock")),
    "stop_reason": nullable(TEXT),
    "usage": ref("MessageUsage"),
}
_STOPPED = record({"stop_reason": nullable(TEXT)}, {"stop_sequence": nullable(TEXT)})
_INDEX: dict[str, Schema] = {"index": COUNT}


def _event(kind: str, fields: dict[str, Schema]) -> Schema:
    return record({"type": {"const": kind}, **fields})


EVENTS: dict[str, Schema] = {
    "message_start": _event("message_start", {"message": record(_BEGUN)}),
    "content_block_start": _event(
        "content_block_start", {**_INDEX, "content_block": ref("MessageBlock")}
    ),
    "content_block_delta": _event(
        "content_block_delta", {**_INDEX, "delta": record({"type": TEXT})}
    ),
    "content_block_stop": _event("content_block_stop", _INDEX),
    "message_delta": _event(
        "message_delta", {"delta": _STOPPED, "usage": record({"output_tokens": COUNT})}
    ),
    "message_stop": _event("message_stop", {}),
    "ping": _event("ping", {}),
}
"""Of a stream, by their names."""

ANSWERS: dict[str, Schema] = {
    "MessageUsage": _USAGE,
    "MessageAnswer": record(
        _BEGUN, {"stop_sequence": nullable(TEXT)}, "A whole message of the model."
    ),
    "MessageEvent": either(*EVENTS.values()),
    "TokenCount": record(
        {"input_tokens": COUNT},
        {},
        "The count of a provider of Anthropic's API; without one, or without its answer within "
        "5 s, an estimate by size, as `x-droveway-estimated` says.",
    ),
}
