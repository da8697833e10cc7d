"""Is this body a JSON object within our caps? What its fields may be is for `dialects` to say.

Second stop of a request's path, after authentication and before anything is published. Of what
passes the top-level fields are encoded again for the upstream, so a duplicate key among them has
one reading everywhere. Messages never quote the client's content. Pure functions.
"""

import re
from typing import Any

import msgspec

from droveway.dialects.chat.caps import Count
from droveway.dialects.field_checks import kind


class JsonCaps(msgspec.Struct, frozen=True, kw_only=True):
    """Caps of a request body, whatever it asks for; each one ends in a 400."""

    max_depth: Count = 64
    """Levels of objects and arrays, the outermost one included."""

    max_brackets: Count = 50_000
    """Objects and arrays; bounds memory (64 B each) and, since Python's collector looks through
    them all, time."""

    max_values: Count = 200_000
    """Members and elements of all objects and arrays together; bounds the time of the check."""


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
    within_caps = _check_counts(body, caps)
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
        raise BadRequest(f"The body must be a JSON object; it is {kind(decoded)}.")
    if not within_caps:
        _check_shape(decoded, caps)
    return decoded


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


def _check_counts(body: bytes, caps: JsonCaps) -> bool:
    """Refuses before decoding what would cost too much; prompts may hold any number of brackets.

    Returns:
        Whether the counts alone show that a JSON body is within all caps: it has at most as many
        levels as brackets, and of values one more than commas in each pair of brackets.
    """
    brackets, commas = _brackets(body), body.count(b",")
    if brackets <= caps.max_brackets and commas <= caps.max_values:
        return brackets <= caps.max_depth and brackets + commas <= caps.max_values
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * caps.max_values + 2:  # a name and a string for each member
        raise _too_many_values(caps)
    outside = b"".join(plain.split(b'"')[::2])
    if _brackets(outside) > caps.max_brackets:
        raise BadRequest(f"The body has more than {caps.max_brackets} objects and arrays.")
    if outside.count(b",") > caps.max_values:
        raise _too_many_values(caps)
    return False


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
