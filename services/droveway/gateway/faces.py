"""How answers look to a client, beside their content: errors, event framing, headers, statuses.

One face for each API that clients know; which one a request gets is decided by its path.
Sources: OpenAI API reference, 2026-11; Anthropic API reference (errors, streaming), 2026-11.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from droveway.contracts.errors import Failure, status_of
from droveway.contracts.inference import Standing, TriedTarget
from droveway.dialects.responses.shapes import Numbering, error_event
from droveway.gateway import answers, sse
from droveway.gateway.answers import Headers

Tried = Iterable[TriedTarget]

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_NAME_START = b'{"type":"'
_MAX_NAME_BYTES = 64
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz_.")


class _Typed(msgspec.Struct):
    type: str = "message"


_typed = msgspec.json.Decoder(_Typed)


class OpenAIFace:
    """As OpenAI answers."""

    ends_with = sse.DONE

    def status(self, occurrence: Failure) -> int:
        """The HTTP status of an error before the first byte."""
        return status_of(occurrence)

    def error_body(self, occurrence: Failure, tried: Tried = (), request_id: str = "") -> bytes:
        """An error as the whole answer."""
        return answers.error_body(occurrence, tried)

    def error_event(self, occurrence: Failure, tried: Tried = (), request_id: str = "") -> bytes:
        """An error in a stream that has begun, framed."""
        return sse.frame([answers.error_body(occurrence, tried, request_id)])

    def frame(self, events: Iterable[bytes]) -> bytes:
        """Events as one write."""
        return sse.frame(events)

    def base_headers(self, request_id: str) -> Headers:
        """Headers of every answer."""
        return answers.with_base([], request_id)

    def standing_headers(self, standing: Standing | None) -> Headers:
        """Where the client stands in its limits."""
        return answers.standing_headers(standing)


class ResponsesFace(OpenAIFace):
    """As OpenAI's Responses API answers: named events, no `[DONE]`, its own error event."""

    ends_with = b""

    def error_event(self, occurrence: Failure, tried: Tried = (), request_id: str = "") -> bytes:
        """An error before the first event of the response, framed.

        Later the response's writer tells it, which alone knows the sequence.
        """
        told = answers.error_object(occurrence, tried, request_id)
        return _named([Numbering().event("error", **error_event(msgspec.to_builtins(told)))])

    def frame(self, events: Iterable[bytes]) -> bytes:
        """Events as one write, each with its name."""
        return _named(events)


class AnthropicFace:
    """As Anthropic answers."""

    ends_with = b""

    def status(self, occurrence: Failure) -> int:
        """The HTTP status of an error before the first byte; 529 is Anthropic's 503."""
        if occurrence.code == "insufficient_quota":
            return 402
        status = status_of(occurrence)
        return 529 if status == 503 else status

    def error_body(self, occurrence: Failure, tried: Tried = (), request_id: str = "") -> bytes:
        """An error as the whole answer."""
        told = answers.error_object(occurrence, tried)
        status = self.status(occurrence)
        other = "api_error" if status >= 500 else "invalid_request_error"
        kind = _ANTHROPIC_TYPES.get(status, other)
        details: dict[str, Any] = {"error_code": told.code}
        if told.param is not None:
            details["param"] = told.param
        if told.details:
            details["tried"] = told.details
        error = {"type": kind, "message": told.message, "details": details}
        return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})

    def error_event(self, occurrence: Failure, tried: Tried = (), request_id: str = "") -> bytes:
        """An error in a stream that has begun, framed."""
        return b"event: error\ndata: %b\n\n" % self.error_body(occurrence, tried, request_id)

    def frame(self, events: Iterable[bytes]) -> bytes:
        """Events as one write, each with its name: without it the SDK skips them."""
        return _named(events)

    def base_headers(self, request_id: str) -> Headers:
        """Headers of every answer."""
        name = request_id.encode()
        return [(b"request-id", name), (b"x-request-id", name)]

    def standing_headers(self, standing: Standing | None) -> Headers:
        """Where the client stands in its limits."""
        if standing is None:
            return []
        windows = (
            (b"requests", standing.requests),
            (b"tokens", standing.tokens),
            (b"input-tokens", standing.input_tokens),
            (b"output-tokens", standing.output_tokens),
        )
        headers: Headers = []
        for kind, window in windows:
            if window is not None:
                name = b"anthropic-ratelimit-" + kind
                headers += [
                    (name + b"-limit", b"%d" % window.limit),
                    (name + b"-remaining", b"%d" % window.remaining),
                    (name + b"-reset", answers.moment(window.reset_ms)),
                ]
        return headers


Face = OpenAIFace | AnthropicFace

OPENAI = OpenAIFace()
RESPONSES_FACE = ResponsesFace()
ANTHROPIC = AnthropicFace()


def face_of(path: str) -> Face:
    """The face of a path that the application hasn't judged yet."""
    return ANTHROPIC if "/messages" in path[:_MAX_NAME_BYTES] else OPENAI


def _named(events: Iterable[bytes]) -> bytes:
    return b"".join([b"event: %b\ndata: %b\n\n" % (event_name(one), one) for one in events])


def event_name(event: bytes) -> bytes:
    """An event's `type`, which as a rule stands first."""
    if event.startswith(_NAME_START):
        end = event.find(b'"', len(_NAME_START), _MAX_NAME_BYTES)
        name = event[len(_NAME_START) : end]
    else:
        name = _typed.decode(event).type.encode()[:_MAX_NAME_BYTES]
    return name if name and _PLAIN.issuperset(name) else b"message"
