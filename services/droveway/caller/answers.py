"""A provider's answer on its way into the client's dialect: passed where both speak alike.

Each class takes one answer: event by event, or whole. What it takes in fills its `facts`.
"""

from typing import Annotated, Protocol

import msgspec

from droveway.contracts import dispatch
from droveway.contracts.config import Provider
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import Failure, failure
from droveway.contracts.relay import Usage
from droveway.dialects import dialect
from droveway.dialects.anthropic.reader import AnthropicReader
from droveway.dialects.anthropic.writer import AnthropicWriter
from droveway.dialects.chat import passing as openai_chat
from droveway.dialects.chat.facts import ChatFacts
from droveway.dialects.chat.reader import ChatReader
from droveway.dialects.chat.stream import ChatStream
from droveway.dialects.chat.writer import ChatWriter
from droveway.dialects.embeddings import answer as embeddings_answer
from droveway.dialects.embeddings import request as embeddings
from droveway.dialects.estimate import body_tokens
from droveway.dialects.events import Context, Event, InBandError, Reader, Writer, one_line
from droveway.dialects.facts import Facts
from droveway.dialects.usage_shapes import chat_usage

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Answer(Protocol):
    """One answer; made anew for each attempt."""

    @property
    def facts(self) -> Facts:
        """What it has said so far."""
        ...

    @property
    def done(self) -> bool:
        """The provider has said that its stream is over."""
        ...

    def take(self, data: bytes, events: list[bytes]) -> bool:
        """Takes in one event of a stream and adds what the client sees; whether it bears content.

        Raises:
            InBandError: It is an error.
            msgspec.DecodeError: It can't be read; nothing has changed.
        """
        ...

    def close(self, usage: Usage) -> list[bytes]:
        """What the client's stream ends with, once all choices have finished."""
        ...

    def whole(self, body: bytes, input_estimate_tokens: int) -> bytes:
        """A whole answer as the client sees it.

        Raises:
            InBandError: It is an error, or no answer.
        """
        ...


class PassedChat:
    """Chat completions for a client that speaks them too."""

    def __init__(self, context: Context) -> None:
        self._stream = ChatStream(context)
        self.facts: ChatFacts = self._stream.facts
        self.done = False

    def take(self, data: bytes, events: list[bytes]) -> bool:
        """See `Answer`."""
        if data == openai_chat.DONE:
            self.done = True
            return False
        return self._stream.take(data, events)

    def close(self, usage: Usage) -> list[bytes]:
        """See `Answer`."""
        return self._stream.close(usage)

    def whole(self, body: bytes, input_estimate_tokens: int) -> bytes:
        """See `Answer`; as it came, but for usage where the provider gave none."""
        if (problem := self.facts.read_body(body)) is not None:
            raise InBandError(problem)
        if self.facts.usage is not None:
            return body
        fields = _fields.decode(body)
        usage = chat_usage(self.facts.settle(input_estimate_tokens))
        fields["usage"] = msgspec.Raw(msgspec.json.encode(usage))
        return msgspec.json.encode(fields)


class PassedMessages:
    """Anthropic messages for a client that speaks them too: byte for byte, read beside."""

    def __init__(self) -> None:
        self.facts = Facts()
        self._reader = AnthropicReader()
        self._last = b'{"type":"message_stop"}'

    @property
    def done(self) -> bool:
        """See `Answer`."""
        return self._reader.ended

    def take(self, data: bytes, events: list[bytes]) -> bool:
        """See `Answer`."""
        data = one_line(data)
        read = self._reader.read(data)
        if self._reader.ended:
            self._last = data
        else:
            events.append(data)
        return self.facts.take(read)

    def close(self, usage: Usage) -> list[bytes]:
        """See `Answer`."""
        return [self._last]

    def whole(self, body: bytes, input_estimate_tokens: int) -> bytes:
        """See `Answer`."""
        _read_whole(self._reader, self.facts, body)
        return body


class Converted:
    """An answer of one dialect for a client of another.

    Left out is what `events` has no word for, since the other dialect has none: citations and
    annotations, tools that the provider ran itself, audio, service tiers, fields that only one
    provider has (Gemini's `extra_content` of a call, OpenRouter's `reasoning_details`).
    """

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.facts = Facts()
        self.done = False
        self._reader = reader
        self._writer = writer

    def take(self, data: bytes, events: list[bytes]) -> bool:
        """See `Answer`."""
        if data == openai_chat.DONE:
            self.done = True
            return False
        read = self._reader.read(data)
        self.done = self._reader.ended
        has_content = self.facts.take(read)
        events += self._writer.write(read)
        return has_content

    def close(self, usage: Usage) -> list[bytes]:
        """See `Answer`."""
        return self._writer.close(usage)

    def whole(self, body: bytes, input_estimate_tokens: int) -> bytes:
        """See `Answer`."""
        events = _read_whole(self._reader, self.facts, body)
        return self._writer.whole(events, self.facts.settle(input_estimate_tokens))


class _Count(msgspec.Struct, frozen=True):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


_count = msgspec.json.Decoder(_Count)


class PassedCount:
    """How large a prompt is, as it came; no tokens are spent on it."""

    def __init__(self) -> None:
        self.facts = Facts()
        # Nobody tells a usage: as an estimate, the limiter learns nothing of answers' lengths.
        self.facts.usage = Usage(estimated=True)
        self.done = False

    def take(self, data: bytes, events: list[bytes]) -> bool:
        """Counts aren't streamed."""
        raise InBandError(failure("bad_upstream", "A count came as a stream"))

    def close(self, usage: Usage) -> list[bytes]:
        """Counts aren't streamed."""
        return []

    def whole(self, body: bytes, input_estimate_tokens: int) -> bytes:
        """See `Answer`."""
        try:
            _count.decode(body)
        except MALFORMED:
            text = "The provider's count can't be read"
            raise InBandError(failure("bad_upstream", text)) from None
        self.facts.finish(0, "stop")
        return body


class PassedEmbeddings:
    """Vectors, in the encoding that the client asked for."""

    def __init__(self, encoding_format: str | None, model: str) -> None:
        self.facts = Facts()
        self._model = model
        self.done = False
        self._encoding_format = encoding_format

    def take(self, data: bytes, events: list[bytes]) -> bool:
        """Vectors aren't streamed."""
        raise InBandError(failure("bad_upstream", "Embeddings came as a stream"))

    def close(self, usage: Usage) -> list[bytes]:
        """Vectors aren't streamed."""
        return []

    def whole(self, body: bytes, input_estimate_tokens: int) -> bytes:
        """See `Answer`."""
        read = embeddings_answer.read(body)
        if isinstance(read, Failure):
            raise InBandError(read)
        # No tokens come out: what wasn't counted is the input.
        usage = read.usage or Usage(input_estimate_tokens, estimated=True)
        self.facts.usage, self.facts.model = usage, read.model
        self.facts.finish(0, "stop")
        try:
            return embeddings_answer.answer(body, self._encoding_format, usage, model=self._model)
        except msgspec.DecodeError as error:
            raise InBandError(failure("bad_upstream", str(error)[:200])) from None


def answer_for(call: dispatch.CallRouted, provider: Provider, body: bytes) -> Answer:
    """What takes the answer of `call` by a provider of that dialect."""
    if call.dialect == dialect.EMBEDDINGS:
        return PassedEmbeddings(embeddings.encoding_asked(body), call.model)
    if call.dialect == dialect.COUNT_TOKENS:
        return PassedCount()
    context = Context(
        response_id=call.attempt_id.hex(),
        created_s=call.received_ns // 1_000_000_000,
        model=call.model,
        include_usage=call.include_usage,
        input_estimate_tokens=body_tokens(body),
    )
    anthropic = provider.dialect == "anthropic"
    if call.dialect == dialect.MESSAGES:
        return PassedMessages() if anthropic else Converted(ChatReader(), AnthropicWriter(context))
    return Converted(AnthropicReader(), ChatWriter(context)) if anthropic else PassedChat(context)


def _read_whole(reader: Reader, facts: Facts, body: bytes) -> list[Event]:
    try:
        events = reader.read_whole(body)
    except MALFORMED:
        text = "The provider's answer can't be read"
        raise InBandError(failure("bad_upstream", text)) from None
    facts.take(events)
    if not facts.finished:
        raise InBandError(failure("bad_upstream", "The provider's answer has no end"))
    return events
