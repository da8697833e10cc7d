"""OpenAI chat completions: what goes upstream, and what a provider's errors say.

Source: OpenAI API reference, chat completions, 2026-11.
"""

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import Failure, failure

DONE = b"[DONE]"

NEVER_FORWARDED = frozenset(
    {
        "api_base", "api_key", "api_type", "api_version", "base_url", "custom_llm_provider",
        "default_headers", "extra_body", "extra_headers", "extra_query", "headers", "organization",
        "proxy", "timeout",
    }
)  # fmt: skip
"""Fields by which other gateways were made to send their credentials elsewhere."""

_NULL_USAGE = b',"usage":null}'


class _Asked(msgspec.Struct, frozen=True):
    n: int | None = None


_asked = msgspec.json.Decoder(_Asked)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _ErrorBody(msgspec.Struct, frozen=True):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class _ErrorEnvelope(_ErrorBody, frozen=True):
    error: _ErrorBody | str | None = None
    """Absent where the body is the error itself, as SiliconFlow's and older vLLM's."""


_errors = msgspec.json.Decoder(_ErrorEnvelope | list[_ErrorEnvelope] | str)
"""A list of one from Google, now and then a string from SiliconFlow."""


def choices_asked(body: bytes) -> int:
    """The request's `n`; 1 where it has none.

    Raises:
        msgspec.DecodeError: The body isn't a request.
    """
    if b'"n"' not in body:
        return 1
    return _asked.decode(body).n or 1


def upstream_fields(body: bytes, model: str, *, stream: bool) -> dict[str, msgspec.Raw]:
    """The client's body for the provider: its own model name, and usage always asked for.

    Keys keep their order and values their bytes, so that providers' prompt caches hit; of a key
    that stands twice the last value counts, here and for whoever read the body before us.
    """
    fields = forwarded(body, model)
    if stream:
        options = _object(fields.get("stream_options"))
        options["include_usage"] = msgspec.Raw(b"true")
        fields["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
    return fields


def forwarded(body: bytes, model: str) -> dict[str, msgspec.Raw]:
    """A client's fields in their order, with the provider's name of the model.

    What would send a request elsewhere, and our own label of the tenant, stays here.

    Raises:
        msgspec.DecodeError: The body isn't a JSON object.
    """
    fields = _fields.decode(body)
    for name in NEVER_FORWARDED.intersection(fields):
        del fields[name]
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    metadata = _object(fields.get("metadata"))
    if metadata.pop("tenant", None) is not None:
        fields["metadata"] = msgspec.Raw(msgspec.json.encode(metadata))
    return fields


def without_usage(data: bytes) -> bytes:
    """The event as a client sees it that didn't ask for usage: without that key."""
    if data.endswith(_NULL_USAGE):  # the brace is the event's own, so the key is too
        return data[: -len(_NULL_USAGE)] + b"}"
    if b'"usage"' not in data:
        return data
    fields = _fields.decode(data)
    if fields.pop("usage", None) is None:
        return data
    return msgspec.json.encode(fields)


def failure_in_band(data: bytes) -> Failure:
    """An error that a provider sent as part of a 200 answer."""
    message, _, code, _ = error_parts(data)
    return failure(
        "provider_unavailable",
        f"The provider reported an error: {message}" if message else "",
        provider_code=code,
    )


def error_parts(body: bytes) -> tuple[str, str, str, str | None]:
    """Message, type, code and param of an error body as OpenAI and its relatives have it.

    Empty where absent.
    """
    try:
        said = _errors.decode(body)
    except MALFORMED:
        return "", "", "", None
    if isinstance(said, list):
        said = said[0] if said else ""
    error = said if isinstance(said, str) or said.error is None else said.error
    if isinstance(error, str):
        return _short(error), "", "", None
    code = "" if error.code is None else str(error.code)
    return _short(error.message), _short(error.type), _short(code), _short(error.param) or None


def _short(text: str | None) -> str:
    return (text or "")[:2_000]


def _object(value: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    if value is None:
        return {}
    try:
        return _fields.decode(value)
    except msgspec.DecodeError:
        return {}
