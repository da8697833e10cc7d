"""Is this a chat completion request that we can read?

Checked is what we read and what costs memory or time, here or at a provider; fields and values that
aren't known here are left to the provider. Source: OpenAI API reference, chat completions, 2026-11.
"""

from typing import Any

from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.chat.message_checks import check_messages, content
from droveway.dialects.field_checks import (
    Check,
    any_integer,
    any_object,
    boolean,
    check_fields,
    check_model,
    identifier,
    integer,
    name,
    number,
    objects,
    one_of,
    schema,
    string,
    wrong,
)
from droveway.dialects.untranslatable import Untranslatable

CAPS = ChatCaps()

REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def check(request: dict[str, Any], caps: ChatCaps = CAPS) -> None:
    """Check the fields of a chat completion request that we read or that cost us memory.

    Raises:
        Untranslatable: With the field as `param`, in OpenAI's notation.
    """
    check_model(request.get("model"), caps)
    check_messages(request.get("messages"), caps)
    check_fields(request, FIELDS, caps)
    if request.get("stream_options") is not None:
        check_stream_options(request, caps)


def check_stream_options(request: dict[str, Any], caps: ChatCaps) -> None:
    """`stream_options` are an object, and there only beside `stream`.

    Raises:
        Untranslatable: They aren't.
    """
    options = request["stream_options"]
    if type(options) is not dict:
        raise wrong("stream_options", options, "an object or null")
    if not request.get("stream"):
        message = "`stream_options` is only allowed when `stream` is true."
        raise Untranslatable(message, "stream_options")
    check_fields(options, _STREAM_OPTIONS, caps, "stream_options.")


def _tokens(param: str, value: Any, caps: ChatCaps) -> None:
    integer(param, value, 1, caps.max_output_tokens)


def _choices(param: str, value: Any, caps: ChatCaps) -> None:
    integer(param, value, 1, caps.max_choices)


def _top_logprobs(param: str, value: Any, caps: ChatCaps) -> None:
    integer(param, value, 0, caps.max_top_logprobs)


def _stop(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is str:
        _check_sequence(param, value, caps)
        return
    if type(value) is not list or len(value) > caps.max_stop_items:
        expected = f"a string, an array of at most {caps.max_stop_items} strings, or null"
        raise wrong(param, value, expected)
    for index, item in enumerate(value):
        _check_sequence(f"{param}[{index}]", item, caps)


def _check_sequence(param: str, value: object, caps: ChatCaps) -> None:
    if type(value) is not str or len(value) > caps.max_stop_chars:
        raise wrong(param, value, f"a string of at most {caps.max_stop_chars} characters")


def _object_of(param: str, value: Any, max_members: int) -> None:
    if type(value) is not dict or len(value) > max_members:
        raise wrong(param, value, f"an object of at most {max_members} members, or null")


def _logit_bias(param: str, value: Any, caps: ChatCaps) -> None:
    _object_of(param, value, caps.max_logit_bias_keys)
    for bias in value.values():
        if type(bias) not in (int, float) or not -100 <= bias <= 100:
            raise wrong(param, value, "an object of numbers from -100 to 100")


def _metadata(param: str, value: Any, caps: ChatCaps) -> None:
    _object_of(param, value, caps.max_metadata_pairs)
    longest_key, longest = caps.max_metadata_key_chars, caps.max_metadata_value_chars
    for key, text in value.items():
        if len(key) > longest_key or type(text) is not str or len(text) > longest:
            expected = (
                f"an object of strings of at most {longest} characters, "
                f"with names of at most {longest_key}"
            )
            raise wrong(param, value, expected)


def _function(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not dict:
        raise wrong(param, value, "an object with a `name`")
    name(f"{param}.name", value.get("name"), caps)
    check_fields(value, _FUNCTION, caps, f"{param}.")


def _functions(param: str, value: Any, caps: ChatCaps) -> None:
    objects(param, value, caps.max_tools)
    for index, function in enumerate(value):
        _function(f"{param}[{index}]", function, caps)


def _tools(param: str, value: Any, caps: ChatCaps) -> None:
    objects(param, value, caps.max_tools)
    for index, tool in enumerate(value):
        type_ = tool.get("type")
        if type(type_) is not str:
            raise wrong(f"{param}[{index}].type", type_, "a string such as function")
        if type_ in ("function", "custom"):
            _function(f"{param}[{index}].{type_}", tool.get(type_), caps)
        if len(tool) > 2:
            check_fields(tool, _MARKS, caps, f"{param}[{index}].")


def _tool_choice(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is str:
        return
    if type(value) is not dict:
        raise wrong(param, value, "none, auto, required, an object or null")
    type_ = value.get("type")
    if type(type_) is not str:
        raise wrong(f"{param}.type", type_, "a string such as function")
    if type_ in ("function", "custom"):
        _named(f"{param}.{type_}", value.get(type_), caps)


def _function_call(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not str:
        _named(param, value, caps)


def _named(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not dict:
        raise wrong(param, value, "an object with a `name`")
    name(f"{param}.name", value.get("name"), caps)


def _response_format(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not dict:
        raise wrong(param, value, "an object or null")
    type_ = value.get("type")
    if type(type_) is not str:
        raise wrong(f"{param}.type", type_, "a string: text, json_object or json_schema")
    if type_ == "json_schema":
        _function(f"{param}.json_schema", value.get("json_schema"), caps)


def _prediction(param: str, value: Any, caps: ChatCaps) -> None:
    any_object(param, value, caps)
    check_fields(value, {"type": string, "content": content}, caps, f"{param}.")


def _cache_options(param: str, value: Any, caps: ChatCaps) -> None:
    any_object(param, value, caps)
    check_fields(value, {"mode": string, "ttl": string}, caps, f"{param}.")


def _audio(param: str, value: Any, caps: ChatCaps) -> None:
    any_object(param, value, caps)
    check_fields(value, {"format": string}, caps, f"{param}.")
    voice = value.get("voice")
    if voice is not None and type(voice) not in (str, dict):
        raise wrong(f"{param}.voice", voice, "a string or an object with an `id`")


def _modalities(param: str, value: Any, _caps: ChatCaps) -> None:
    if type(value) is not list or any(type(item) is not str for item in value):
        raise wrong(param, value, "an array of strings such as text, or null")


_STREAM_OPTIONS: dict[str, Check] = {"include_usage": boolean, "include_obfuscation": boolean}
_MARKS: dict[str, Check] = {"cache_control": any_object}
_FUNCTION: dict[str, Check] = {
    "description": string,
    "parameters": schema,
    "schema": schema,
    "strict": boolean,
}
"""Of a function, and of what describes a structured answer: both are a name and a JSON Schema."""

SAMPLING: dict[str, Check] = {
    "max_tokens": _tokens,
    "n": _choices,
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "logit_bias": _logit_bias,
    "seed": any_integer,
    "stop": _stop,
    "stream": boolean,
    "user": identifier,
}
"""Fields that legacy completions have as well."""

FIELDS: dict[str, Check] = SAMPLING | {
    "max_completion_tokens": _tokens,
    "top_logprobs": _top_logprobs,
    "logprobs": boolean,
    "metadata": _metadata,
    "tools": _tools,
    "functions": _functions,
    "tool_choice": _tool_choice,
    "function_call": _function_call,
    "parallel_tool_calls": boolean,
    "response_format": _response_format,
    "reasoning_effort": one_of(*REASONING_EFFORTS),
    "verbosity": one_of("low", "medium", "high"),
    "modalities": _modalities,
    "audio": _audio,
    "prediction": _prediction,
    "prompt_cache_key": identifier,
    "prompt_cache_options": _cache_options,
    "prompt_cache_retention": string,
    "safety_identifier": identifier,
    "service_tier": string,
    "store": boolean,
    "web_search_options": any_object,
    "moderation": any_object,
    "thinking": any_object,
    "top_k": any_integer,
}
