"""What a client says of its request beside the body: headers that all doors know."""

import contextlib
from typing import NamedTuple

from droveway.gateway.auth import RawHeaders
from droveway.gateway.idempotency import Idempotency
from droveway.gateway.settings import GatewaySettings
from droveway.runtime.deadline import Deadline

_CLIENT_SHARE = 0.4
"""Of the time-out that a client announces: what one attempt may take to its first token, and for
how long it may be silent then."""
_MAX_TIMEOUT_S = 86_400.0
_MAX_DIGITS = 15
_MAX_WORDS = 200
"""Characters of a header that is handed on."""


class Options(NamedTuple):
    """What a client says beside the body."""

    token: bytes | None
    """Its `Idempotency-Key`."""
    deadline: Deadline
    first_token_s: float
    api_version: str = ""
    api_features: str = ""
    user: str = ""
    """Who is behind the key, where the body doesn't say it."""
    region: str = ""
    idle_s: float | None = None
    """None: as each target's time-outs say."""
    max_queue_ms: int | None = None
    """How long it may wait for room, within the gateway's own; None: as its key says."""


def read_options(headers: RawHeaders, settings: GatewaySettings) -> Options:
    """Reads the headers (names in lower case); the request's clock starts here.

    Raises:
        Refusal: 400 for an `Idempotency-Key` that can't be one; else what is wrong is ignored.
    """
    asked = _seconds(headers, b"x-request-timeout")
    announced = _seconds(headers, b"x-stainless-read-timeout")
    allowed_s, first_s = settings.request_timeout_s, settings.first_token_s
    silent_s = None if announced is None else _CLIENT_SHARE * announced
    return Options(
        Idempotency.token(headers),
        Deadline.after_ms((allowed_s if asked is None else min(allowed_s, asked)) * 1000),
        first_s if silent_s is None else min(first_s, silent_s),
        _words(headers, b"anthropic-version"),
        _words(headers, b"anthropic-beta"),
        user=_first(headers, b"x-droveway-user").decode("latin-1").strip(),
        region=_words(headers, b"x-droveway-region"),
        idle_s=silent_s,
        max_queue_ms=_milliseconds(headers, b"x-droveway-max-queue-ms", settings.max_queue_s),
    )


def _first(headers: RawHeaders, header: bytes) -> bytes:
    return next((value for name, value in headers if name == header), b"")


def _words(headers: RawHeaders, header: bytes) -> str:
    """A header that is handed on to a provider of the same API, if it is one that may be."""
    text = _first(headers, header).decode("latin-1")
    return text if len(text) <= _MAX_WORDS and text.isascii() and text.isprintable() else ""


def _milliseconds(headers: RawHeaders, header: bytes, most_s: float) -> int | None:
    """A whole number of milliseconds, 0 or more; anything else counts as not said."""
    text = _first(headers, header).decode("latin-1")
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        return None
    return min(int(text), int(most_s * 1000))


def _seconds(headers: RawHeaders, header: bytes) -> float | None:
    """A positive, finite number of seconds; anything else counts as not said."""
    text = _first(headers, header)
    with contextlib.suppress(ValueError):
        value = float(text.decode("latin-1")) if text else 0.0
        if 0 < value < _MAX_TIMEOUT_S:
            return value
    return None
