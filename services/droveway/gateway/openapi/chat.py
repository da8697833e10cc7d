"""Chat completions as their checks take them and as they are answered.

Source: OpenAI API reference, chat completions, 2026-11; bounds are those of `ChatCaps`.
"""

from droveway.dialects.chat.checks import CAPS, REASONING_EFFORTS
from droveway.dialects.chat.message_checks import ROLES
from droveway.gateway.openapi.shapes import (
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    WHOLE,
    Schema,
    either,
    items,
    none_of,
    nullable,
    number,
    record,
    ref,
    request,
    said,
    text,
    whole,
    words,
)

MODEL = said(text(1, CAPS.max_model_chars), "A name that `GET /v1/models` lists.")
NAME = text(1, CAPS.max_name_chars)
IDENTIFIER = text(0, CAPS.max_identifier_chars)
STOP = either(
    text(0, CAPS.max_stop_chars), items(text(0, CAPS.max_stop_chars), 0, CAPS.max_stop_items)
)
STREAM_OPTIONS = request({}, {"include_usage": FLAG, "include_obfuscation": FLAG}, "")
STREAM_OPTIONS["description"] = "Only beside `stream: true`."
METADATA: Schema = OBJECT | {
    "maxProperties": CAPS.max_metadata_pairs,
    "propertyNames": {"maxLength": CAPS.max_metadata_key_chars},
    "additionalProperties": text(0, CAPS.max_metadata_value_chars),
}
EFFORT = words(*REASONING_EFFORTS)
VERBOSITY = words("low", "medium", "high")

_FUNCTION_FIELDS = {
    "description": TEXT,
    "parameters": ref("JsonSchema"),
    "schema": ref("JsonSchema"),
    "strict": FLAG,
}
_NAMED = record({"name": NAME})
_OTHER_TOOL = said(record({"type": none_of("function", "custom")}), "The provider's to judge.")
_MARKED: dict[str, Schema] = {"cache_control": OBJECT}
_TOOL = either(
    request({"type": {"const": "function"}, "function": ref("Function")}, _MARKED, ""),
    request({"type": {"const": "custom"}, "custom": ref("Function")}, _MARKED, ""),
    _OTHER_TOOL,
)
_CHOICE_WORD = said(TEXT, "`none`, `auto` or `required`.")
_TOOL_CHOICE = either(
    _CHOICE_WORD,
    record({"type": {"const": "function"}, "function": _NAMED}),
    record({"type": {"const": "custom"}, "custom": _NAMED}),
    _OTHER_TOOL,
)
_RESPONSE_FORMAT = either(
    said(record({"type": none_of("json_schema")}), "`text` or `json_object`."),
    record({"type": {"const": "json_schema"}, "json_schema": ref("Function")}),
)

SAMPLING: dict[str, Schema] = {
    "max_tokens": whole(1, CAPS.max_output_tokens),
    "n": whole(1, CAPS.max_choices),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "logit_bias": OBJECT
    | {
        "maxProperties": CAPS.max_logit_bias_keys,
        "additionalProperties": number(-100, 100),
    },
    "seed": WHOLE,
    "stop": STOP,
    "stream": said(FLAG, "Answer with server-sent events."),
    "user": IDENTIFIER,
    "stream_options": STREAM_OPTIONS,
}
"""Fields that legacy completions have as well."""

FIELDS: dict[str, Schema] = SAMPLING | {
    "max_completion_tokens": whole(1, CAPS.max_output_tokens),
    "top_logprobs": whole(0, CAPS.max_top_logprobs),
    "logprobs": FLAG,
    "metadata": METADATA,
    "tools": items(_TOOL, 0, CAPS.max_tools),
    "functions": items(ref("Function"), 0, CAPS.max_tools),
    "tool_choice": _TOOL_CHOICE,
    "function_call": either(_CHOICE_WORD, _NAMED),
    "parallel_tool_calls": FLAG,
    "response_format": _RESPONSE_FORMAT,
    "reasoning_effort": EFFORT,
    "verbosity": VERBOSITY,
    "modalities": items(TEXT),
    "audio": request({}, {"format": TEXT, "voice": either(TEXT, OBJECT)}, ""),
    "prediction": request({}, {"type": TEXT, "content": ref("ChatContent")}, ""),
    "prompt_cache_key": IDENTIFIER,
    "prompt_cache_options": request({}, {"mode": TEXT, "ttl": TEXT}, ""),
    "prompt_cache_retention": TEXT,
    "safety_identifier": IDENTIFIER,
    "service_tier": TEXT,
    "store": FLAG,
    "web_search_options": OBJECT,
    "moderation": OBJECT,
    "thinking": said(OBJECT, "Anthropic's object, for models that have it."),
    "top_k": WHOLE,
}

_TOOL_CALL = either(
    request({"function": ref("Called")}, {"id": TEXT, "type": TEXT | {"enum": ["function"]}}, ""),
    request({"type": none_of("function")}, {"id": TEXT}, ""),
)
_MESSAGE_FIELDS: dict[str, Schema] = {
    "content": ref("ChatContent"),
    "name": TEXT,
    "tool_call_id": said(TEXT, "Required where `role` is `tool`."),
    "tool_calls": items(_TOOL_CALL, 0, CAPS.max_tools),
    "function_call": ref("Called"),
    "refusal": TEXT,
    "audio": OBJECT,
    "reasoning_content": TEXT,
    "thinking_blocks": said(
        items(OBJECT, 0, CAPS.max_content_parts), "An earlier answer's, byte for byte."
    ),
    "is_error": FLAG,
    "cache_control": OBJECT,
}

REQUESTS: dict[str, Schema] = {
    "JsonSchema": said(OBJECT, f"A JSON Schema of at most {CAPS.max_schema_depth} levels."),
    "Function": request({"name": NAME}, _FUNCTION_FIELDS, "A name, and a JSON Schema."),
    "Called": request(
        {"name": NAME}, {"arguments": said(TEXT, "JSON.")}, "A call as the model has made it."
    ),
    "ChatMessage": either(
        request({"role": words(*sorted(ROLES - {"tool"}))}, _MESSAGE_FIELDS, ""),
        request({"role": {"const": "tool"}, "tool_call_id": TEXT}, _MESSAGE_FIELDS, ""),
    ),
    "ChatRequest": request(
        {"model": MODEL, "messages": items(ref("ChatMessage"), 1, CAPS.max_messages)},
        FIELDS,
        "A chat completion. Fields that aren't listed go to the provider as they are.",
    ),
}

_ANSWERED = record(
    {"role": {"const": "assistant"}},
    {
        "content": nullable(TEXT),
        "refusal": nullable(TEXT),
        "reasoning_content": nullable(TEXT),
        "thinking_blocks": items(OBJECT),
        "tool_calls": items(OBJECT),
    },
)
_USAGE = record(
    {"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT},
    {
        "prompt_tokens_details": nullable(OBJECT),
        "completion_tokens_details": nullable(OBJECT),
        "estimated": said(FLAG, "Counted by the gateway: the provider told nothing."),
    },
)
_NAMES: dict[str, Schema] = {"id": TEXT, "created": WHOLE, "model": TEXT}

ANSWERS: dict[str, Schema] = {
    "ChatUsage": _USAGE,
    "ChatAnswer": record(
        _NAMES
        | {
            "object": {"const": "chat.completion"},
            "choices": items(
                record({"index": COUNT, "message": _ANSWERED, "finish_reason": TEXT}), 1
            ),
        },
        {"usage": ref("ChatUsage")},
        "A whole chat completion.",
    ),
    "ChatChunk": record(
        _NAMES
        | {
            "object": {"const": "chat.completion.chunk"},
            "choices": items(
                record({"index": COUNT, "delta": OBJECT}, {"finish_reason": nullable(TEXT)})
            ),
        },
        {"usage": nullable(ref("ChatUsage"))},
        "One event of a stream; `choices` is empty in the one that tells the usage.",
    ),
}
