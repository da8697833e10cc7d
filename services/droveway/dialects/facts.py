"""What an answer has said so far, whatever its dialect: who answers, how much, and how it ended."""

from collections.abc import Iterable

import msgspec

from droveway.contracts.relay import Usage
from droveway.dialects.estimate import BYTES_PER_TOKEN
from droveway.dialects.events import (
    Begun,
    Counted,
    Event,
    Finished,
    RedactedThinking,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
)


class Facts:
    """Filled in as the answer comes."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model = ""
        self.response_id = ""
        self.content_bytes = 0
        self._known: Usage | None = None
        """What the provider told when it began: the input, before there was an answer."""
        self.expected_choices = 1
        """The request's `n`."""
        self._open: set[int] = set()
        self._finished: dict[int, str] = {}

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
        output = -(-self.content_bytes // BYTES_PER_TOKEN)
        if self._known is not None:
            output = max(output, self._known.output_tokens)
            return msgspec.structs.replace(self._known, output_tokens=output, estimated=True)
        if not self.content_bytes and not self._finished:
            return Usage(estimated=True)
        return Usage(input_estimate_tokens, output, estimated=True)

    def finish(self, choice: int, reason: str) -> None:
        """A choice is complete; what comes of it afterwards changes nothing."""
        if choice not in self._finished:
            self._finished[choice] = reason
            self._open.discard(choice)

    def take(self, events: Iterable[Event]) -> bool:
        """Takes in events of the normal form; whether they bear content."""
        before = self.content_bytes
        has_content = False
        for event in events:
            match event:
                case Text(text, choice) | Refusal(text, choice) | Thinking(text, choice):
                    self._content(choice, _size(text))
                case ToolBegun(_, _, name, choice):
                    self._content(choice, len(name) or 1)
                case ToolArguments(_, piece, choice):
                    self._content(choice, _size(piece))
                case Signature(opaque) | RedactedThinking(opaque):
                    self._content(0, len(opaque))
                case Finished(reason, choice):
                    self.finish(choice, reason)
                    has_content = True
                case Counted(usage):
                    self.usage = usage
                case Begun(response_id, model, known):
                    self.response_id, self.model = response_id, model
                    self._known = known
        return has_content or self.content_bytes > before

    def _content(self, choice: int, size: int) -> None:
        self.content_bytes += size
        if choice not in self._finished:
            self._open.add(choice)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
