"""What is said, whatever the dialect: reasoning, text, tool calls; the same words in each."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from droveway.simulator import text
from droveway.simulator.faults import Faults

End = Literal["stop", "length", "tool_calls", "stop_sequence"]
WORDS_BEFORE_CALLS = 4


class Function(msgspec.Struct, frozen=True):
    """A function that may be called, with the schema of its arguments."""

    name: str
    parameters: dict[str, object]


class Call(msgspec.Struct, frozen=True):
    """A call with its arguments in pieces, one a token."""

    name: str
    pieces: list[str]
    takes_nothing: bool


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, in no dialect."""

    text: str
    functions: Sequence[Function] = ()
    """The functions to call; then calls are the answer."""
    schema: dict[str, object] | None = None
    """The schema of an answer in JSON; none: prose."""
    stops: tuple[str, ...] = ()
    limit_tokens: int | None = None
    reasoning_tokens: int = 0
    said: str = ""
    """The beginning of the answer: an answer that begins so is gone on with."""


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered, one piece a token."""

    reasoning: list[str]
    pieces: list[str]
    calls: list[Call]
    end: End
    stop: str | None = None
    """The stop sequence that would have been said next."""

    @property
    def token_count(self) -> int:
        """The tokens of everything that is said."""
        called = sum(len(call.pieces) for call in self.calls)
        return len(self.reasoning) + len(self.pieces) + called


class Speaker(msgspec.Struct, frozen=True, kw_only=True):
    """Answers: same seed and same question, same words."""

    seed: int
    answer_tokens: int
    max_answer_tokens: int

    def answer(self, question: Question, faults: Faults, index: int = 0) -> Speech:
        """Answer a question; `index` tells apart several answers to the same one."""
        asked = question.limit_tokens
        limit = self.max_answer_tokens if asked is None else min(asked, self.max_answer_tokens)
        key = f"{self.seed}/{index}"
        reasoning = text.prose(f"{key}/reasoning", "", question.reasoning_tokens)[:limit]
        left = limit - len(reasoning)
        numbered = faults.numbers.get("numbered")
        if question.functions and numbered is None:
            before = WORDS_BEFORE_CALLS if "text-before-calls" in faults.flags else 0
            pieces = text.prose(key, "", min(before, left))
            calls, cut = _calls(question, f"{key}/{question.text}", left - len(pieces))
            end: End = "length" if cut else "tool_calls"
            return Speech(reasoning=reasoning, pieces=pieces, calls=calls, end=end)
        pieces, cut = self._pieces(question, key, numbered, left + len(question.said))
        pieces = text.after(pieces, question.said)
        pieces, cut = pieces[:left], cut or len(pieces) > left
        pieces, stop = _stopped(pieces, question.stops)
        end = "stop_sequence" if stop else "length" if cut else "stop"
        return Speech(reasoning=reasoning, pieces=pieces, calls=[], end=end, stop=stop)

    def _pieces(
        self, question: Question, key: str, numbered: int | None, limit: int
    ) -> tuple[list[str], bool]:
        if numbered is not None:
            return text.numbered(min(numbered, limit)), numbered > limit
        if question.schema is not None:
            pieces = text.json_pieces(f"{key}/{question.text}", question.schema)
            return pieces[:limit], len(pieces) > limit
        natural = text.natural_tokens(question.text, self.answer_tokens)
        return text.prose(key, question.text, min(natural, limit)), natural > limit


def chosen(functions: list[Function], question: str, parallel: bool) -> list[Function]:
    """Choose what to call: the first, or all if the question says "parallel" and it may be."""
    return functions if parallel and "parallel" in question.lower() else functions[:1]


def _calls(question: Question, key: str, limit: int) -> tuple[list[Call], bool]:
    calls: list[Call] = []
    left = limit
    for function in question.functions:
        schema = {"type": "object", "properties": {}, **function.parameters}
        pieces = text.json_pieces(f"{key}/{function.name}", schema)
        calls.append(Call(function.name, pieces[:left], pieces == ["{}"]))
        if len(pieces) > left:
            return calls, True
        left -= len(pieces)
    return calls, False


def _stopped(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[str], str | None]:
    said = "".join(pieces)
    found = [(said.find(stop), stop) for stop in stops if stop and stop in said]
    if not found:
        return pieces, None
    at, stop = min(found)
    kept: list[str] = []
    for piece in pieces:
        if at <= 0:
            break
        kept.append(piece[:at])
        at -= len(piece)
    return kept, stop
