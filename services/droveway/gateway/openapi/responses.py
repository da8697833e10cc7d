"""OpenAI's Responses as their checks take them, and as they are answered, kept and listed.

Source: OpenAI API reference, responses, 2026-11.
"""

from droveway.dialects.chat.checks import CAPS
from droveway.gateway.doors.responses_views import DEFAULT_LIMIT, MAX_LIMIT
from droveway.gateway.openapi import chat
from droveway.gateway.openapi.shapes import (
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    WHOLE,
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

_ALIKE = (
    "frequency_penalty", "logit_bias", "metadata", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "temperature",
    "thinking", "top_k", "top_logprobs", "top_p", "user",
)  # fmt: skip
_PARTS = either(
    record({"type": words("input_text", "output_text"), "text": TEXT}),
    record({"type": {"const": "refusal"}, "refusal": TEXT}),
    record({"type": words("input_image", "input_file", "input_audio")}),
)
_MESSAGE = record(
    {
        "role": words("user", "assistant", "system", "developer"),
        "content": either(TEXT, items(_PARTS, 0, CAPS.max_content_parts)),
    },
    {"type": {"const": "message"}},
    "The assistant says `output_text` and `refusal`; all others the rest.",
)
_FUNCTION = request(
    {"type": {"const": "function"}, "name": chat.NAME},
    {"description": TEXT, "parameters": ref("JsonSchema"), "strict": FLAG},
    "Only functions: built-in tools don't run here.",
)
_FORMAT = either(
    record({"type": words("text", "json_object")}),
    request(
        {"type": {"const": "json_schema"}, "name": chat.NAME, "schema": ref("JsonSchema")},
        {"description": TEXT, "strict": FLAG},
        "",
    ),
)
FIELDS: dict[str, Schema] = {name: chat.FIELDS[name] for name in _ALIKE} | {
    "background": said(FLAG | {"enum": [False]}, "Only false."),
    "include": items(TEXT),
    "instructions": TEXT,
    "max_output_tokens": whole(1, CAPS.max_output_tokens),
    "previous_response_id": said(chat.IDENTIFIER, "The response to go on from."),
    "reasoning": request({}, {"effort": chat.EFFORT, "summary": TEXT}, ""),
    "stream_options": OBJECT,
    "text": request({}, {"verbosity": chat.VERBOSITY, "format": _FORMAT}, ""),
    "tools": items(_FUNCTION, 0, CAPS.max_tools),
    "tool_choice": either(
        words("none", "auto", "required"),
        record({"type": {"const": "function"}, "name": chat.NAME}),
    ),
    "truncation": words("auto", "disabled"),
}
REQUESTS: dict[str, Schema] = {
    "ResponseItem": either(
        _MESSAGE,
        record(
            {"type": {"const": "function_call"}, "call_id": text(1), "name": text(1),
             "arguments": TEXT},
        ),
        record(
            {"type": {"const": "function_call_output"}, "call_id": text(1),
             "output": either(TEXT, items(_PARTS, 0, CAPS.max_content_parts))},
        ),
        record({"type": {"const": "reasoning"}}),
    ),
    "ResponseRequest": request(
        {"model": chat.MODEL},
        {"input": either(TEXT, items(ref("ResponseItem"), 1)), **FIELDS},
        "A response. Fields that aren't listed and are none of chat completions' own go to the "
        "provider.",
    ) | {"anyOf": [{"required": ["input"]}, {"required": ["previous_response_id"]}]},
}  # fmt: skip

_USAGE = record(
    {
        "input_tokens": COUNT,
        "input_tokens_details": record({"cached_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": record({"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    }
)
EVENTS = (
    "response.created", "response.in_progress", "response.output_item.added",
    "response.content_part.added", "response.output_text.delta", "response.output_text.done",
    "response.refusal.delta", "response.refusal.done", "response.content_part.done",
    "response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done", "response.reasoning_summary_part.done",
    "response.function_call_arguments.delta", "response.function_call_arguments.done",
    "response.output_item.done", "response.completed", "response.incomplete", "error",
    "response.failed",
)  # fmt: skip
"""Of a stream, by their names."""

_ENDS = ("response.completed", "response.incomplete", "response.failed")
_CARRIES = ("response.created", "response.in_progress", *_ENDS)
_NUMBERED: dict[str, Schema] = {"sequence_number": COUNT}
ANSWERS: dict[str, Schema] = {
    "Response": record(
        {
            "id": TEXT,
            "object": {"const": "response"},
            "created_at": WHOLE,
            "status": words("in_progress", "completed", "incomplete", "failed"),
            "model": TEXT,
            "output": items(record({"type": words("message", "reasoning", "function_call")})),
            "error": nullable(record({"code": TEXT, "message": TEXT})),
            "incomplete_details": nullable(record({"reason": TEXT})),
            "usage": nullable(_USAGE),
            "store": FLAG,
        },
        {"instructions": nullable(TEXT), "metadata": OBJECT, "tools": items(OBJECT)},
    ),
    "ResponseEvent": either(
        record({"type": words(*_CARRIES), **_NUMBERED, "response": ref("Response")}),
        record({"type": words(*[name for name in EVENTS if name not in _CARRIES]), **_NUMBERED}),
    ),
    "ResponseDeleted": record(
        {"id": TEXT, "object": {"const": "response"}, "deleted": {"const": True}}
    ),
    "ResponseInput": record(
        {
            "object": {"const": "list"},
            "data": items(record({"id": TEXT, "type": TEXT})),
            "first_id": nullable(TEXT),
            "last_id": nullable(TEXT),
            "has_more": FLAG,
        }
    ),
}

PAGE: tuple[tuple[str, Schema], ...] = (
    ("limit", whole(1, MAX_LIMIT) | {"default": DEFAULT_LIMIT}),
    ("order", words("asc", "desc") | {"default": "desc"}),
    ("after", said(TEXT, "The id of the item before the page.")),
)
"""Query parameters of a list."""
