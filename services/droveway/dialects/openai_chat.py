"""OpenAI chat completions: what goes upstream, and what an answer's events say.

Events pass undecoded: only the few fields that decide (finish, usage, error, whether there is
content) are read from each. Source: OpenAI API reference, chat completions, 2026-11.
"""

from typing import NamedTuple

import msgspec

from droveway.contracts.errors import Failure, failure
from droveway.contracts.relay import Usage

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

_Raw = msgspec.Raw
_ABSENT = msgspec.Raw()
_NOTHING = (b"", b"null", b'""', b"[]")
_NULL_USAGE = b',"usage":null}'
_CHARS_PER_TOKEN = 4

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's own spelling."""


class _Content(msgspec.Struct, frozen=True):
    content: _Raw = _ABSENT
    tool_calls: _Raw = _ABSENT
    function_call: _Raw = _ABSENT
    refusal: _Raw = _ABSENT
    reasoning_content: _Raw = _ABSENT
    reasoning: _Raw = _ABSENT
    audio: _Raw = _ABSENT


class _Choice(msgspec.Struct, frozen=True):
    index: int | None = None
    delta: _Content | None = None
    message: _Content | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Raw = _ABSENT
    model: str | None = None
    id: str | None = None


class _ErrorBody(msgspec.Struct, frozen=True):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class _ErrorEnvelope(msgspec.Struct, frozen=True):
    error: _ErrorBody | str | None = None
    message: str | None = None


_answers = msgspec.json.Decoder(_Answer)
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


class AnswerFacts:
    """What a whole answer has said so far."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model = ""
        self.response_id = ""
        self.content_bytes = 0
        self._open: set[int] = set()
        self._finished: dict[int, str] = {}

    @property
    def finished(self) -> bool:
        """Every choice that was begun has its finish reason."""
        return bool(self._finished) and not self._open

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

    def read_event(self, data: bytes) -> EventFacts:
        """Takes in one event of a stream.

        Raises:
            msgspec.DecodeError: It isn't a chat completion chunk.
        """
        chunk = _answers.decode(data)
        if chunk.error is not _ABSENT and bytes(chunk.error) not in _NOTHING:
            return EventFacts(False, False, failure_in_band(data), False)
        was_finished = self.finished
        has_content = self._read(chunk)
        choices = chunk.choices or []
        only_usage = chunk.usage is not None and not choices
        finishes = bool(choices) and all(choice.finish_reason for choice in choices)
        says_nothing = was_finished and finishes and not has_content and chunk.usage is None
        return EventFacts(has_content, only_usage, None, says_nothing)

    def read_body(self, body: bytes) -> Failure | None:
        """Takes in a whole answer; the failure when it isn't one."""
        try:
            answer = _answers.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return failure("bad_upstream", "The provider's answer is no chat completion")
        if bytes(answer.error) not in _NOTHING:
            return failure_in_band(body)
        self._read(answer)
        if not self._finished and not answer.choices:
            return failure("bad_upstream", "The provider's answer has no choices")
        if not self.finished:
            return failure("bad_upstream", "The provider's answer has no finish_reason")
        return None

    def _read(self, answer: _Answer) -> bool:
        has_content = False
        for choice in answer.choices or ():
            index = choice.index or 0
            part = choice.delta or choice.message
            if part is not None and (size := _content_bytes(part)):
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
            self.usage = _usage(answer.usage)
        if answer.model:
            self.model = answer.model
        if answer.id:
            self.response_id = answer.id
        return has_content


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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
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


def _content_bytes(part: _Content) -> int:
    size = 0
    for value in (
        part.content, part.tool_calls, part.function_call, part.refusal,
        part.reasoning_content, part.reasoning, part.audio,
    ):  # fmt: skip
        if value is not _ABSENT and (raw := bytes(value)) not in _NOTHING:
            size += max(1, len(raw) - 2)
    return size


def _usage(usage: _Usage) -> Usage:
    read = usage.prompt_tokens_details
    written = usage.completion_tokens_details
    cached = (read.cached_tokens if read else None) or usage.prompt_cache_hit_tokens or 0
    return Usage(
        input_tokens=max(0, usage.prompt_tokens or 0),
        output_tokens=max(0, usage.completion_tokens or 0),
        cache_read_tokens=max(0, cached),
        cache_write_tokens=max(0, (read.cache_write_tokens if read else None) or 0),
        reasoning_tokens=max(0, (written.reasoning_tokens if written else None) or 0),
    )
