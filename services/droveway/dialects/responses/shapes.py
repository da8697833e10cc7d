"""The Response object, and the events that carry it. Pure functions.

Source: OpenAI API reference, responses, 2026-11.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from droveway.contracts.relay import Usage
from droveway.dialects.events import Context

LOGPROBS = "message.output_text.logprobs"
REASONING = "reasoning.encrypted_content"
"""What a request may ask to have included in its response."""

encode = msgspec.json.Encoder().encode

_SHOWN: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": None,
    "store": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}
"""Fields of the request that a response repeats, with what stands for their absence."""
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_RATE_LIMITED = frozenset({"rate_limit_exceeded", "provider_rate_limited"})


def repeated(request: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    """The request's part of the response, encoded once for all events that carry it."""
    fields = {
        name: absent if request.get(name) is None else request[name]
        for name, absent in _SHOWN.items()
    }
    fields["background"] = False
    fields["reasoning"] = {"effort": None, "summary": None} | _object(request.get("reasoning"))
    fields["tools"] = [{"parameters": None, "strict": None, **tool} for tool in fields["tools"]]
    fields["text"] = {"format": {"type": "text"}} | _object(request.get("text"))
    fields["truncation"] = "disabled"  # whatever was asked: nothing is ever cut here
    return {name: msgspec.Raw(encode(value)) for name, value in fields.items()}


def response(
    context: Context,
    request: Mapping[str, msgspec.Raw],
    model: str,
    output: Sequence[dict[str, Any]],
    *,
    status: str,
    reason: str = "",
    usage: Usage | None = None,
    error: Mapping[str, Any] | None = None,
) -> msgspec.Raw:
    """A Response object.

    Args:
        context: Its id and its time.
        request: What `repeated` made.
        model: The model that answers.
        output: Its items.
        status: `in_progress`, `completed`, `incomplete` or `failed`.
        reason: Why it is incomplete, in the words of chat completions.
        usage: The tokens, once known.
        error: Why it failed.
    """
    fields = {
        "id": f"resp_{context.response_id}",
        "object": "response",
        "created_at": context.created_s,
        "status": status,
        "error": error,
        "incomplete_details": {"reason": _INCOMPLETE[reason]} if status == "incomplete" else None,
        "model": model,
        "output": output,
        "usage": None if usage is None else usage_object(usage),
        **request,
    }
    return msgspec.Raw(encode(fields))


def status_of(reason: str) -> str:
    """The status of a response, by why its answer ended."""
    return "incomplete" if reason in _INCOMPLETE else "completed"


def usage_object(usage: Usage) -> dict[str, Any]:
    """Tokens: input and output, and of these what was cached, written and reasoned."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def error_object(code: str, message: str) -> dict[str, Any]:
    """Why a response failed: OpenAI has a closed list of codes, of which two are about us."""
    known = "rate_limit_exceeded" if code in _RATE_LIMITED else "server_error"
    return {"code": known, "message": message}


def error_event(error: Mapping[str, Any]) -> dict[str, Any]:
    """An `error` event's fields, beside its name and number.

    They are there twice: as documented, and within `error` as OpenAI's service sends them. The
    latter alone makes its SDKs raise an `APIError`.
    Source: openai-python 1.109 and 3.54, `_streaming.py`.
    """
    told = {"param": None, **error}
    return {**{name: told[name] for name in ("code", "message", "param")}, "error": told}


class Numbering:
    """Writes a stream's events, each with its number."""

    def __init__(self) -> None:
        self._next = 0

    def event(self, name: str, **fields: Any) -> bytes:
        """One event: its name comes first, so that whoever frames it needn't decode it."""
        return encode({"type": name, "sequence_number": self._number(), **fields})

    def piece(self, before: bytes, after: bytes, text: str) -> bytes:
        """An event of which only the number and its last field are new."""
        return b"%b%d%b%b}" % (before, self._number(), after, encode(text))

    def _number(self) -> int:
        number = self._next
        self._next += 1
        return number


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    return {name: one for name, one in value.items() if one is not None}
