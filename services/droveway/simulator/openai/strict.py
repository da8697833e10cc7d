"""Checks a chat request as OpenAI does: known fields only, and tool messages in their place.

Source: platform.openai.com/docs/api-reference/chat/create and openai-python 3.54.
"""

from typing import Any

import msgspec

from droveway.simulator.errors import ApiError

_REQUEST = frozenset(
    [
        "messages",
        "model",
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
_MESSAGE = {
    "developer": {"role", "content", "name"},
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {
        "role", "content", "name", "refusal", "audio", "tool_calls", "function_call", "annotations",
    },
    "tool": {"role", "content", "tool_call_id"},
    "function": {"role", "content", "name"},
}  # fmt: skip
_PART = {
    "text": {"type", "text", "prompt_cache_breakpoint"},
    "image_url": {"type", "image_url", "prompt_cache_breakpoint"},
    "input_audio": {"type", "input_audio", "prompt_cache_breakpoint"},
    "file": {"type", "file", "prompt_cache_breakpoint"},
    "refusal": {"type", "refusal"},
}
_TOOL = {"type", "function"}
_FUNCTION = {"name", "description", "parameters", "strict"}


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct):
    id: str
    type: str
    function: _CalledFunction


def check(body: bytes) -> None:
    """Refuse what OpenAI refuses.

    Raises:
        ApiError: 400 that names the parameter.
    """
    request: dict[str, Any] = msgspec.json.decode(body)
    _known(request, _REQUEST, "")
    for index, tool in enumerate(request.get("tools") or []):
        _known(tool, _TOOL, f"tools[{index}]")
        _known(tool.get("function") or {}, _FUNCTION, f"tools[{index}].function")
    messages = request["messages"]
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    _check_tool_messages(messages)
    if request.get("tool_choice") is not None and not request.get("tools"):
        raise _wrong("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if request.get("stream_options") is not None and not request.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise _wrong(message, "stream_options")


def _check_message(message: dict[str, Any], path: str) -> None:
    _known(message, _MESSAGE[message["role"]], path)
    content = message.get("content")
    if content is None and not (message["role"] == "assistant" and _says(message)):
        raise _wrong("Invalid value for 'content': expected a string, got null.", f"{path}.content")
    for index, part in enumerate(content if isinstance(content, list) else []):
        place = f"{path}.content[{index}]"
        if part["type"] not in _PART:
            known = ", ".join(f"'{kind}'" for kind in _PART)
            message_text = f"Invalid value: '{part['type']}'. Supported values are: {known}."
            raise _wrong(message_text, f"{place}.type")
        _known(part, _PART[part["type"]], place)
    _calls(message, path)


def _calls(message: dict[str, Any], path: str = "") -> list[_Call]:
    try:
        return msgspec.convert(message.get("tool_calls") or [], list[_Call])
    except msgspec.ValidationError as error:
        raise _wrong(f"Invalid value: {error}.", f"{path}.tool_calls") from error


def _says(message: dict[str, Any]) -> bool:
    return any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))


def _check_tool_messages(messages: list[dict[str, Any]]) -> None:
    waiting: set[str] = set()
    for index, message in enumerate([*messages, {"role": "end"}]):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                text = (
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'."
                )
                raise _wrong(text, f"messages[{index}].role")
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            text = (
                "An assistant message with 'tool_calls' must be followed by tool messages "
                "responding to each 'tool_call_id'. The following tool_call_ids did not have "
                f"response messages: {', '.join(sorted(waiting))}"
            )
            raise _wrong(text, "messages")
        waiting = {call.id for call in _calls(message)}


def _known(given: dict[str, Any], known: frozenset[str] | set[str], path: str) -> None:
    for name in given:
        if name not in known:
            place = f"{path}.{name}" if path else name
            raise ApiError(
                400, f"Unknown parameter: '{place}'.", code="unknown_parameter", param=place
            )


def _wrong(message: str, param: str) -> ApiError:
    return ApiError(400, message, param=param)
