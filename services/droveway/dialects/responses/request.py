"""Responses requests as chat completions: what is asked, after what was said before.

What the gateway does itself (storing) isn't sent on; what it can't do is refused by name.
Source: OpenAI API reference, responses, 2026-11.
"""

from collections.abc import Sequence
from typing import Any

from droveway.dialects.anthropic.request_fields import (
    dropped,
    is_set,
    optional_list,
    optional_object,
)
from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.chat.checks import FIELDS
from droveway.dialects.field_checks import (
    Check,
    any_object,
    boolean,
    check_fields,
    check_model,
    identifier,
    integer,
    objects,
    string,
    wrong,
)
from droveway.dialects.responses.items import chat_messages
from droveway.dialects.responses.shapes import LOGPROBS, REASONING
from droveway.dialects.responses.tools import chat_tool_choice, chat_tools, response_format
from droveway.dialects.untranslatable import Translated, Untranslatable

_CAPS = ChatCaps()
_TRUNCATIONS = ("auto", "disabled")
_REFUSED = {
    "background": "this gateway answers while the client waits",
    "context_management": "this gateway never shortens a conversation",
    "conversation": "send previous_response_id, or the conversation's items",
    "moderation": "this gateway doesn't moderate",
    "prompt": "this gateway keeps no prompts; send their text as instructions",
}
_OF_CHAT = {
    "audio": "answers are text",
    "function_call": "use tool_choice",
    "functions": "use tools",
    "logprobs": f"add {LOGPROBS} to include",
    "max_completion_tokens": "use max_output_tokens",
    "max_tokens": "use max_output_tokens",
    "messages": "use input",
    "modalities": "answers are text",
    "n": "send one request for each answer",
    "reasoning_effort": "use reasoning.effort",
    "response_format": "use text.format",
    "verbosity": "use text.verbosity",
}
"""Parameters of chat completions, which would be taken for ours if they were sent on."""
_DROPPED = {
    "access_programs": "is OpenAI's own",
    "background_options": "has nothing to act on",
    "image": "is OpenAI's own",
    "max_tool_calls": "counts built-in tools, which don't run here,",
}
_OURS = frozenset(
    {
        "include", "input", "instructions", "max_output_tokens", "metadata", "model",
        "parallel_tool_calls", "previous_response_id", "reasoning", "store", "stream_options",
        "text", "tool_choice", "tools", "top_logprobs", "truncation",
    }
)  # fmt: skip
"""Fields that are translated, or that belong to what is stored and shown."""
_NOT_SENT = frozenset({*_OURS, *_REFUSED, *_OF_CHAT, *_DROPPED})


class UnsupportedParameter(Untranslatable):
    """The API has it, this gateway doesn't."""

    code = "unsupported_parameter"
    """OpenAI's word for it."""


def check(request: dict[str, Any], *, stores: bool = True) -> None:
    """Check a request's fields; those of its items, tools and forms are checked in `to_chat`.

    Args:
        request: The decoded body.
        stores: Whether this gateway keeps responses, so that one can follow another.

    Raises:
        UnsupportedParameter: It asks for what this gateway doesn't do.
        Untranslatable: A field is wrong or missing, with the field as `param`.
    """
    check_model(request.get("model"), _CAPS)
    for name in request:
        if name in _OF_CHAT and request[name] is not None:
            text = f"`{name}` is no parameter of responses: {_OF_CHAT[name]}."
            raise UnsupportedParameter(text, name)
        if name in _REFUSED and is_set(request[name]):
            raise UnsupportedParameter(f"`{name}` is not supported: {_REFUSED[name]}.", name)
    previous = request.get("previous_response_id")
    if previous is not None and not stores:
        text = "`previous_response_id` is not supported: this gateway keeps no responses."
        raise UnsupportedParameter(text, "previous_response_id")
    if request.get("input") is None and previous is None:
        raise wrong("input", None, "a string or an array of items")
    check_fields(request, _CHECKS, _CAPS)


def to_chat(request: dict[str, Any], earlier: Sequence[dict[str, Any]]) -> Translated:
    """The chat completion request for a checked one.

    Args:
        request: The decoded body; left as it is.
        earlier: The messages of the conversation that it continues, without instructions: each
            request brings its own.

    Raises:
        Untranslatable: An item, a tool or a form has no words in a chat completion.
    """
    told = chat_messages([] if request.get("input") is None else request["input"])
    first = [{"role": "system", "content": text}] if (text := request.get("instructions")) else []
    if request.get("input") and not told.messages:
        text = (
            "`input` has only reasoning items, which go before what they led to: add the message "
            "or the function_call with its function_call_output, or a new message of the user."
        )
        raise Untranslatable(text, "input")
    messages = [*first, *earlier, *told.messages]
    if len(messages) == len(first):
        raise wrong("input", request.get("input"), "a string or an array of at least one item")
    body: dict[str, Any] = {"model": request["model"], "messages": messages}
    body |= {
        name: value
        for name, value in request.items()
        if name not in _NOT_SENT and value is not None
    }
    body |= _tools(request) | _form(request) | _logprobs(request)
    if request.get("max_output_tokens") is not None:
        body["max_completion_tokens"] = request["max_output_tokens"]
    return Translated(body, (*_warnings(request), *told.warnings))


def conversation(request: dict[str, Any], chat: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of a translated request that its successor goes on from."""
    messages: list[dict[str, Any]] = chat["messages"]
    return messages[1:] if request.get("instructions") else messages


def stores(request: dict[str, Any], *, enabled: bool) -> bool:
    """Whether the response to a request is to be kept: unless told otherwise, as at OpenAI."""
    return enabled and request.get("store") is not False


def _tools(request: dict[str, Any]) -> dict[str, Any]:
    """Tools with their choice; without tools providers refuse even the choice of none."""
    choice = request.get("tool_choice")
    chosen = None if choice is None else chat_tool_choice(choice)
    if not request.get("tools"):
        return {} if chosen in (None, "auto", "none") else {"tool_choice": chosen}
    fields: dict[str, Any] = {"tools": chat_tools(request["tools"])}
    if chosen is not None:
        fields["tool_choice"] = chosen
    if request.get("parallel_tool_calls") is not None:
        fields["parallel_tool_calls"] = request["parallel_tool_calls"]
    return fields


def _form(request: dict[str, Any]) -> dict[str, Any]:
    """How the answer looks, and how much is thought about it."""
    text = optional_object(request, "text")
    fields = {
        "response_format": response_format(text),
        "verbosity": text.get("verbosity"),
        "reasoning_effort": optional_object(request, "reasoning").get("effort"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _logprobs(request: dict[str, Any]) -> dict[str, Any]:
    top = request.get("top_logprobs")
    if not top and LOGPROBS not in optional_list(request, "include"):
        return {}
    return {"logprobs": True} | ({} if top is None else {"top_logprobs": top})


def _warnings(request: dict[str, Any]) -> list[str]:
    warnings = [dropped(name, why) for name, why in _DROPPED.items() if is_set(request.get(name))]
    if request.get("truncation") == "auto":
        warnings.append(dropped("truncation", "auto is never done here"))
    if set(optional_object(request, "reasoning")) - {"effort", "summary", "generate_summary"}:
        warnings.append(dropped("reasoning", "has only effort and summary here; the rest"))
    unknown = [word for word in optional_list(request, "include") if word not in _INCLUDED]
    if unknown:
        warnings.append(dropped(f"include ({len(unknown)} of its values)", "is unknown here"))
    return warnings


_INCLUDED = (LOGPROBS, REASONING)


def _tokens(param: str, value: Any, caps: ChatCaps) -> None:
    integer(param, value, 1, caps.max_output_tokens)


def _include(param: str, value: Any, _caps: ChatCaps) -> None:
    if not isinstance(value, list) or any(not isinstance(word, str) for word in value):
        raise wrong(param, value, "an array of strings, or null")


def _text(param: str, value: Any, caps: ChatCaps) -> None:
    any_object(param, value, caps)
    check_fields(value, {"verbosity": FIELDS["verbosity"]}, caps, f"{param}.")


def _reasoning(param: str, value: Any, caps: ChatCaps) -> None:
    any_object(param, value, caps)
    checks = {"effort": FIELDS["reasoning_effort"], "summary": string}
    check_fields(value, checks, caps, f"{param}.")


def _tool_list(param: str, value: Any, caps: ChatCaps) -> None:
    objects(param, value, caps.max_tools)


def _truncation(param: str, value: Any, _caps: ChatCaps) -> None:
    if value not in _TRUNCATIONS:
        raise wrong(param, value, "auto, disabled or null")


_ALIKE = (
    "frequency_penalty", "logit_bias", "metadata", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "temperature",
    "thinking", "top_k", "top_logprobs", "top_p", "user",
)  # fmt: skip
_CHECKS: dict[str, Check] = {name: FIELDS[name] for name in _ALIKE} | {
    "background": boolean,
    "include": _include,
    "instructions": string,
    "max_output_tokens": _tokens,
    "previous_response_id": identifier,
    "reasoning": _reasoning,
    "stream_options": any_object,
    "text": _text,
    "tools": _tool_list,
    "truncation": _truncation,
}
