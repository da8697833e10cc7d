"""Is this body a JSON object within our caps, and a chat completion request we can read?

Second stop of a request's path, after authentication and before anything is published. What passes
is decoded once and encoded again for the upstream, so a duplicate key has one reading everywhere.
Messages name a field of ours and never quote the client's content. Pure functions.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]

ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})


class JsonCaps(msgspec.Struct, frozen=True, kw_only=True):
    """Caps of a request body; each one ends in a 400 that names the field."""

    max_depth: Count = 64
    """Levels of objects and arrays, the outermost one included."""

    max_brackets: Count = 50_000
    """Objects and arrays; bounds memory (64 B each) and, since Python's collector looks through
    them all, time."""

    max_values: Count = 200_000
    """Members and elements of all objects and arrays together; bounds the time of the check."""

    max_model_chars: Count = 256
    """Characters of `model`."""

    max_messages: Count = 10_000
    """Elements of `messages`."""

    max_content_parts: Count = 1_000
    """Parts of one message's `content`."""

    max_tools: Count = 128
    """Elements of `tools`, of `functions` and of one message's `tool_calls`."""

    max_stop_items: Count = 16
    """Elements of `stop`."""

    max_stop_chars: Count = 1_024
    """Characters of one stop sequence."""

    max_choices: Count = 128
    """Largest `n`."""

    max_logit_bias_keys: Count = 1_024
    """Members of `logit_bias`."""

    max_output_tokens: Count = 2_000_000
    """Largest `max_tokens` and `max_completion_tokens`, in tokens."""

    max_metadata_pairs: Count = 16
    """Members of `metadata`."""

    max_top_logprobs: Count = 20
    """Largest `top_logprobs`."""


class BadRequest(Exception):
    """A body that the client must change before sending it again: HTTP 400."""

    def __init__(self, message: str, code: str = "invalid_request", param: str | None = None):
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


_decode = msgspec.json.Decoder().decode
_ERROR_BYTE = re.compile(r"\(byte (\d+)\)")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_CONTAINERS = (dict, list)


def read_json_object(body: bytes, caps: JsonCaps) -> dict[str, Any]:
    """Decode a request body that must be one JSON object.

    msgspec refuses NaN, lone surrogates, a byte order mark and numbers out of range by itself;
    depth and invalid UTF-8 leave it as exceptions outside its own family.

    Raises:
        BadRequest: `invalid_json` for bytes that aren't JSON, `invalid_request` for another JSON
            type or a cap.
    """
    if not body:
        raise BadRequest("The body is empty; send a JSON object.", "invalid_json")
    _check_counts(body, caps)
    try:
        decoded = _decode(body)
    except msgspec.DecodeError as error:
        raise BadRequest(_explain(body, str(error)), "invalid_json") from None
    except UnicodeDecodeError:
        message = "The body is not valid JSON: a string isn't valid UTF-8."
        raise BadRequest(message, "invalid_json") from None
    except RecursionError:
        raise _too_deep(caps) from None
    if type(decoded) is not dict:
        raise BadRequest(f"The body must be a JSON object; it is {_kind(decoded)}.")
    _check_shape(decoded, caps)
    return decoded


def check_chat_request(request: dict[str, Any], caps: JsonCaps) -> None:
    """Check the fields of a chat completion request that we read or that cost us memory.

    Types are strict: `"5"` is no integer and `1` is no boolean. Fields that aren't known here are
    left alone.

    Raises:
        BadRequest: `invalid_request` with the field as `param`, in OpenAI's notation.
    """
    _check_model(request.get("model"), caps)
    _check_messages(request.get("messages"), caps)
    for name in ("max_tokens", "max_completion_tokens"):
        _check_integer(request, name, 1, caps.max_output_tokens)
    _check_integer(request, "n", 1, caps.max_choices)
    _check_integer(request, "top_logprobs", 0, caps.max_top_logprobs)
    _check_number(request, "temperature", 0, 2)
    _check_number(request, "top_p", 0, 1)
    _check_object(request, "logit_bias", caps.max_logit_bias_keys)
    _check_object(request, "metadata", caps.max_metadata_pairs)
    for name in ("tools", "functions"):
        _check_objects(request.get(name), name, caps.max_tools)
    _check_stop(request.get("stop"), caps)
    _check_stream(request)


def _explain(body: bytes, reason: str) -> str:
    """Say what is wrong in the client's terms; msgspec's reasons hold positions, no content."""
    found = _ERROR_BYTE.search(reason)
    at = int(found[1]) if found else 0
    if body.startswith(b"\xef\xbb\xbf"):
        reason = "it begins with a byte order mark; send UTF-8 without one"
    elif body.startswith((b"NaN", b"Infinity"), at) or body.startswith(b"Infinity", at + 1):
        reason = f"NaN and Infinity are no JSON numbers; send null (byte {at})"
    elif "out of range" in reason:
        reason = "a number is out of range"
    elif _SURROGATE_ESCAPE.search(body) and ("surrogate" in reason or "truncated" in reason):
        reason = r"a \u escape is half of a surrogate pair; send both halves"
    elif not body.strip():
        reason = "it is blank; send a JSON object"
    return f"The body is not valid JSON: {reason.removeprefix('JSON is malformed: ')}."


def _check_counts(body: bytes, caps: JsonCaps) -> None:
    """Refuses before decoding what would cost too much; prompts may hold any number of brackets."""
    if _brackets(body) <= caps.max_brackets and body.count(b",") <= caps.max_values:
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * caps.max_values + 2:  # a name and a string for each member
        raise _too_many_values(caps)
    outside = b"".join(plain.split(b'"')[::2])
    if _brackets(outside) > caps.max_brackets:
        raise BadRequest(f"The body has more than {caps.max_brackets} objects and arrays.")
    if outside.count(b",") > caps.max_values:
        raise _too_many_values(caps)


def _brackets(body: bytes) -> int:
    return body.count(b"{") + body.count(b"[")


def _too_many_values(caps: JsonCaps) -> BadRequest:
    return BadRequest(f"The body has more than {caps.max_values} values.")


def _check_shape(decoded: dict[str, Any], caps: JsonCaps) -> None:
    level: list[Any] = [decoded]
    values = depth = 0
    while level:
        depth += 1
        values += sum(map(len, level))
        if depth > caps.max_depth:
            raise _too_deep(caps)
        if values > caps.max_values:
            raise _too_many_values(caps)
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in _CONTAINERS
        ]


def _too_deep(caps: JsonCaps) -> BadRequest:
    return BadRequest(f"The body is nested deeper than {caps.max_depth} levels.")


def _check_model(model: object, caps: JsonCaps) -> None:
    if type(model) is not str or not 0 < len(model) <= caps.max_model_chars:
        raise _wrong("model", model, f"a string of 1 to {caps.max_model_chars} characters")


def _check_messages(messages: object, caps: JsonCaps) -> None:
    if type(messages) is not list or not 0 < len(messages) <= caps.max_messages:
        raise _wrong("messages", messages, f"an array of 1 to {caps.max_messages} objects")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise _wrong(f"messages[{index}]", message, "an object with a `role`")
        role = message.get("role")
        if type(role) is not str or role not in ROLES:
            raise _wrong(f"messages[{index}].role", role, f"one of {', '.join(sorted(ROLES))}")
        content = message.get("content")
        if content is not None and type(content) is not str:
            _check_parts(content, f"messages[{index}].content", caps)
        if "tool_calls" in message:
            _check_objects(message["tool_calls"], f"messages[{index}].tool_calls", caps.max_tools)


def _check_parts(parts: object, param: str, caps: JsonCaps) -> None:
    expected = f"a string, null or an array of at most {caps.max_content_parts} parts"
    if type(parts) is not list or len(parts) > caps.max_content_parts:
        raise _wrong(param, parts, expected)
    for index, part in enumerate(parts):
        if type(part) is not dict:
            raise _wrong(f"{param}[{index}]", part, "an object with a `type`")
        if type(part.get("type")) is not str:
            raise _wrong(f"{param}[{index}].type", part.get("type"), "a string such as text")


def _check_integer(request: dict[str, Any], name: str, low: int, high: int) -> None:
    value = request.get(name)
    if value is not None and (type(value) is not int or not low <= value <= high):
        raise _wrong(name, value, f"an integer from {low} to {high}, or null")


def _check_number(request: dict[str, Any], name: str, low: int, high: int) -> None:
    value = request.get(name)
    if value is not None and (type(value) not in (int, float) or not low <= value <= high):
        raise _wrong(name, value, f"a number from {low} to {high}, or null")


def _check_object(request: dict[str, Any], name: str, max_members: int) -> None:
    value = request.get(name)
    if value is not None and (type(value) is not dict or len(value) > max_members):
        raise _wrong(name, value, f"an object of at most {max_members} members, or null")


def _check_objects(value: object, param: str, max_items: int) -> None:
    if value is None:
        return
    if type(value) is not list or len(value) > max_items:
        raise _wrong(param, value, f"an array of at most {max_items} objects, or null")
    for index, item in enumerate(value):
        if type(item) is not dict:
            raise _wrong(f"{param}[{index}]", item, "an object")


def _check_stop(stop: object, caps: JsonCaps) -> None:
    if stop is None:
        return
    expected = f"a string, an array of at most {caps.max_stop_items} strings, or null"
    if type(stop) not in (str, list) or (type(stop) is list and len(stop) > caps.max_stop_items):
        raise _wrong("stop", stop, expected)
    sequences: Iterable[tuple[str, object]] = [("stop", stop)]
    if type(stop) is list:
        sequences = ((f"stop[{index}]", item) for index, item in enumerate(stop))
    for param, sequence in sequences:
        if type(sequence) is not str or len(sequence) > caps.max_stop_chars:
            raise _wrong(param, sequence, f"a string of at most {caps.max_stop_chars} characters")


def _check_stream(request: dict[str, Any]) -> None:
    stream, options = request.get("stream"), request.get("stream_options")
    if stream is not None and type(stream) is not bool:
        raise _wrong("stream", stream, "true, false or null")
    if options is None:
        return
    if type(options) is not dict:
        raise _wrong("stream_options", options, "an object or null")
    if not stream:
        message = "`stream_options` is only allowed when `stream` is true."
        raise BadRequest(message, param="stream_options")
    usage = options.get("include_usage")
    if usage is not None and type(usage) is not bool:
        raise _wrong("stream_options.include_usage", usage, "true, false or null")


def _wrong(param: str, value: object, expected: str) -> BadRequest:
    return BadRequest(f"`{param}` must be {expected}; it is {_kind(value)}.", param=param)


def _kind(value: object) -> str:
    """What a value is, without saying its content."""
    if value is None:
        return "null or missing"
    if isinstance(value, str | list | dict):
        noun = {str: "a string of length", list: "an array of", dict: "an object of"}[type(value)]
        return f"{noun} {len(value)}"
    return {bool: "a boolean", int: "an integer", float: "a decimal number"}[type(value)]
