"""A provider's answer on its way into the client's dialect: passed where both speak alike.

Each class takes one answer: event by event, or whole. What it takes in fills its `facts`.
"""

from typing import Protocol

import msgspec

from droveway.caller.unstreamed import PassedCount, PassedEmbeddings
from droveway.contracts import dispatch
from droveway.contracts.config import Provider
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import failure
from droveway.contracts.relay import Usage
from droveway.dialects import dialect
from droveway.dialects.anthropic.reader import AnthropicReader
from droveway.dialects.anthropic.writer import AnthropicWriter
from droveway.dialects.chat import passing as openai_chat
from droveway.dialects.chat.facts import ChatFacts
from droveway.dialects.chat.reader import ChatReader
from droveway.dialects.chat.stream import ChatStream
from droveway.dialects.chat.writer import ChatWriter
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


class Gathered(Converted):
    """A provider's stream for a client that wants it whole: no event of it is shown."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        super().__init__(reader, writer)
        self._events: list[Event] = []

    def take(self, data: bytes, events: list[bytes]) -> bool:
        """See `Answer`; `events` stays as it is."""
        if data == openai_chat.DONE:
            self.done = True
            return False
        read = self._reader.read(data)
        self.done = self._reader.ended
        self._events += read
        return self.facts.take(read)

    def body(self, usage: Usage) -> bytes:
        """All of it as the client wants it."""
        return self._writer.whole(self._events, usage)


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
    if call.gathered:
        reader = AnthropicReader() if anthropic else ChatReader()
        messages = call.dialect == dialect.MESSAGES
        return Gathered(reader, AnthropicWriter(context) if messages else ChatWriter(context))
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
