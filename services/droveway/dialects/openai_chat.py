"""OpenAI chat completions: what goes upstream, and what an answer's events say.

Events pass undecoded: only the few fields that decide (finish, usage, error, whether there is
content) are read from each. Source: OpenAI API reference, chat completions, 2026-11.
"""

from typing import NamedTuple

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import Failure, failure
from droveway.contracts.relay import Usage
from droveway.dialects import openai_chunk
from droveway.dialects.event_template import EventTemplate, template

DIALECT = "openai.chat"
PATH = "/chat/completions"
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
_CHARS_PER_TOKEN = 4
_TEMPLATES = 4
"""Templates in a row that no event fits, after which a stream's events are all decoded."""


class _Asked(msgspec.Struct, frozen=True):
    n: int | None = None


_asked = msgspec.json.Decoder(_Asked)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _ErrorBody(msgspec.Struct, frozen=True):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class _ErrorEnvelope(msgspec.Struct, frozen=True):
    error: _ErrorBody | str | None = None
    message: str | None = None


_errors = msgspec.json.Decoder(_ErrorEnvelope)


class EventFacts(NamedTuple):
    """What one event of a stream means for us."""

    has_content: bool
    """It bears content: the attempt commits with it."""
    only_usage: bool
    """The closing usage event, which goes only to clients that asked for it."""
    failure: Failure | None
    """The provider's own error, told in band."""
    says_nothing: bool
    """It repeats that choices have finished: a second terminal, which no client should see."""


_CONTENT = EventFacts(True, False, None, False)


class AnswerFacts:
    """What a whole answer has said so far."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model = ""
        self.response_id = ""
        self.content_bytes = 0
        self.expected_choices = 1
        """The request's `n`."""
        self._open: set[int] = set()
        self._finished: dict[int, str] = {}
        self._template: EventTemplate | None = None
        self._templates_left = _TEMPLATES

    @property
    def finished(self) -> bool:
        """Every choice that was begun has its finish reason."""
        return bool(self._finished) and not self._open

    @property
    def whole(self) -> bool:
        """As many choices as were asked for have finished; some providers ignore `n`."""
        return self.finished and len(self._finished) >= self.expected_choices

    @property
    def finish_reason(self) -> str:
        """The first choice's; empty while there is none."""
        return next((self._finished[index] for index in sorted(self._finished)), "")

    @property
    def finish_reasons(self) -> list[str]:
        """One per finished choice, by index."""
        return [self._finished[index] for index in sorted(self._finished)]

    def settle(self, input_estimate_tokens: int) -> Usage:
        """The provider's usage; without one an estimate from sizes, marked as such."""
        if self.usage is not None:
            return self.usage
        if not self.content_bytes and not self._finished:
            return Usage(estimated=True)
        output = -(-self.content_bytes // _CHARS_PER_TOKEN)
        return Usage(input_estimate_tokens, output, estimated=True)

    def read_alike(self, data: bytes, *, include_usage: bool) -> bytes:
        """Takes in an event that differs in its content only from one that `read_event` took.

        Returns: The event as the client sees it; empty if it isn't such a one, and not taken in.
        """
        if self._template is None or not (content := self._template.content(data)):
            return b""
        self._templates_left = _TEMPLATES
        self.content_bytes += len(content)
        return data if include_usage else self._template.shown(data, content)

    def read_event(self, data: bytes) -> EventFacts:
        """Takes in one event of a stream.

        Raises:
            msgspec.DecodeError: It isn't a chat completion chunk.
        """
        chunk = openai_chunk.decode(data)
        if chunk.is_error():
            return EventFacts(False, False, failure_in_band(data), False)
        was_finished = self.finished
        names = self.model, self.response_id
        has_content = self._read(chunk)
        if names != (self.model, self.response_id):
            self._template = None  # its events would have set other names
        if has_content:
            if self._templates_left:
                self._learn(data, chunk)
            return _CONTENT
        choices = chunk.choices or []
        only_usage = chunk.usage is not None and not choices
        finishes = bool(choices) and all(choice.finish_reason for choice in choices)
        says_nothing = was_finished and finishes and chunk.usage is None
        return EventFacts(False, only_usage, None, says_nothing)

    def _learn(self, data: bytes, chunk: openai_chunk.Chunk) -> None:
        if (size := chunk.text_bytes()) and (found := template(data, size, without_usage)):
            self._template = found
            self._templates_left -= 1

    def read_body(self, body: bytes) -> Failure | None:
        """Takes in a whole answer; the failure when it isn't one."""
        try:
            answer = openai_chunk.decode(body)
        except MALFORMED:
            return failure("bad_upstream", "The provider's answer is no chat completion")
        if answer.is_error():
            return failure_in_band(body)
        self._read(answer)
        if not self._finished and not answer.choices:
            return failure("bad_upstream", "The provider's answer has no choices")
        if not self.finished:
            return failure("bad_upstream", "The provider's answer has no finish_reason")
        return None

    def _read(self, answer: openai_chunk.Chunk) -> bool:
        has_content = False
        for choice in answer.choices or ():
            index = choice.index or 0
            part = choice.delta or choice.message
            if part is not None and (size := part.size_bytes()):
                has_content = True
                self.content_bytes += size
            if index in self._finished:
                continue
            if choice.finish_reason:
                self._finished[index] = choice.finish_reason
                self._open.discard(index)
                has_content = True
            else:
                self._open.add(index)
        if answer.usage is not None:
            self.usage = answer.usage.counted()
        if answer.model:
            self.model = answer.model
        if answer.id:
            self.response_id = answer.id
        return has_content


def choices_asked(body: bytes) -> int:
    """The request's `n`; 1 where it has none.

    Raises:
        msgspec.DecodeError: The body isn't a request.
    """
    if b'"n"' not in body:
        return 1
    return _asked.decode(body).n or 1


def upstream_body(body: bytes, model: str, *, stream: bool) -> bytes:
    """The client's body for the provider: its own model name, and usage always asked for.

    Keys keep their order and values their bytes, so that providers' prompt caches hit; of a key
    that stands twice the last value counts, here and for whoever read the body before us.
    """
    fields = _fields.decode(body)
    for name in NEVER_FORWARDED.intersection(fields):
        del fields[name]
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    if stream:
        options = _object(fields.get("stream_options"))
        options["include_usage"] = msgspec.Raw(b"true")
        fields["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
    metadata = _object(fields.get("metadata"))
    if "tenant" in metadata:
        del metadata["tenant"]
        fields["metadata"] = msgspec.Raw(msgspec.json.encode(metadata))
    return msgspec.json.encode(fields)


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
    """Message, type, code and param of an error body in OpenAI's shape; empty where absent."""
    try:
        envelope = _errors.decode(body)
    except MALFORMED:
        return "", "", "", None
    match envelope.error:
        case _ErrorBody() as error:
            code = "" if error.code is None else str(error.code)
            param = _short(error.param) or None
            return _short(error.message), _short(error.type), _short(code), param
        case str() as message:
            return _short(message), "", "", None
        case None:
            return _short(envelope.message), "", "", None


def _short(text: str | None) -> str:
    return (text or "")[:2_000]


def _object(value: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    if value is None:
        return {}
    try:
        return _fields.decode(value)
    except msgspec.DecodeError:
        return {}
