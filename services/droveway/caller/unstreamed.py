"""Answers that are never streamed: a prompt's size, vectors."""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import Failure, failure
from droveway.contracts.relay import Usage
from droveway.dialects.embeddings import answer as embeddings_answer
from droveway.dialects.events import InBandError
from droveway.dialects.facts import Facts


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
