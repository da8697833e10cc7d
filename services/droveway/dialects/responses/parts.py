"""One part of an output item: text that grows, from the event that adds it to the one that ends it.

Source: OpenAI API reference, responses streaming events, 2026-11.
"""

from typing import Any, Literal, NamedTuple

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.dialects.responses.shapes import Numbering, encode

Kind = Literal["output_text", "refusal", "summary_text"]


class _Words(NamedTuple):
    part: str
    """As in `response.<part>.added`."""
    text: str
    """As in `response.<text>.delta`."""
    place: str
    """What its number in its list is called."""
    field: str


_WORDS: dict[str, _Words] = {
    "output_text": _Words("content_part", "output_text", "content_index", "text"),
    "refusal": _Words("content_part", "refusal", "content_index", "refusal"),
    "summary_text": _Words(
        "reasoning_summary_part", "reasoning_summary_text", "summary_index", "text"
    ),
}


class _Logprobs(msgspec.Struct):
    content: list[dict[str, Any]] | None = None


_logprobs = msgspec.json.Decoder(_Logprobs)


class Part:
    """A part of the item `item_id`, the `index`th of its kind of list."""

    def __init__(self, kind: Kind, item_id: str, output_index: int, index: int) -> None:
        self.kind = kind
        self._words = _WORDS[kind]
        self._place = {
            "item_id": item_id,
            "output_index": output_index,
            self._words.place: index,
        }
        self._pieces: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._delta = f"response.{self._words.text}.delta"
        extra: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
        self._before = b'{"type":"%b","sequence_number":' % self._delta.encode()
        self._after = b"," + encode(self._place | extra)[1:-1] + b',"delta":'

    @property
    def text(self) -> str:
        """What it says so far."""
        return "".join(self._pieces)

    def opened(self, numbers: Numbering) -> bytes:
        """The event that adds it, empty."""
        name = f"response.{self._words.part}.added"
        return numbers.event(name, **self._place, part=self.shape())

    def grown(self, numbers: Numbering, text: str, logprobs: msgspec.Raw | None = None) -> bytes:
        """The event of one more piece."""
        self._pieces.append(text)
        listed = _listed(logprobs)
        if not listed:
            return numbers.piece(self._before, self._after, text)
        self._logprobs += listed
        return numbers.event(self._delta, **self._place, delta=text, logprobs=listed)

    def closed(self, numbers: Numbering) -> list[bytes]:
        """The events that end its text and itself."""
        shape = self.shape()
        done = {self._words.field: self.text}
        if self.kind == "output_text":
            done["logprobs"] = shape["logprobs"]
        return [
            numbers.event(f"response.{self._words.text}.done", **self._place, **done),
            numbers.event(f"response.{self._words.part}.done", **self._place, part=shape),
        ]

    def shape(self) -> dict[str, Any]:
        """As it stands in its item."""
        shape: dict[str, Any] = {"type": self.kind, self._words.field: self.text}
        if self.kind == "output_text":
            shape |= {"annotations": [], "logprobs": list(self._logprobs)}
        return shape


def _listed(logprobs: msgspec.Raw | None) -> list[dict[str, Any]]:
    """The tokens of a chat completion's `logprobs`, each with all fields that clients require."""
    if logprobs is None:
        return []
    try:
        content = _logprobs.decode(logprobs).content or []
    except MALFORMED:
        return []
    return [{"bytes": [], "top_logprobs": [], **_present(token)} for token in content]


def _present(token: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in token.items() if value is not None}
