"""What the simulator says: choices of text or tool calls, and their usage."""

from typing import Literal

import msgspec

from droveway.simulator import text, tokens
from droveway.simulator.chat import ChatRequest, Function, Tool
from droveway.simulator.errors import ApiError

FinishReason = Literal["stop", "length", "tool_calls"]


class Call(msgspec.Struct, frozen=True):
    """A tool call with its arguments in pieces, one a token."""

    id: str
    name: str
    pieces: list[str]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of `n` answers: either text in pieces or calls."""

    index: int
    pieces: list[str]
    calls: list[Call]
    finish_reason: FinishReason

    @property
    def token_count(self) -> int:
        """The choice's tokens: one for each piece."""
        return len(self.pieces) + sum(len(call.pieces) for call in self.calls)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer; how it is sent is decided elsewhere."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: tokens.Usage


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Writes answers: same seed and same question, same words."""

    seed: int
    answer_tokens: int
    max_answer_tokens: int
    cache: tokens.PrefixCache

    def write(
        self, request: ChatRequest, *, serial: str, created: int, numbered: int | None
    ) -> Answer:
        """Answer a request; `numbered` asks for that many numbered tokens instead of prose.

        Raises:
            ApiError: 400, the tool choice names a tool that isn't there.
        """
        functions = _called_functions(request)
        choices = [
            self._choice(request, index, functions, serial, numbered)
            for index in range(request.n or 1)
        ]
        prompt = request.prompt()
        usage = tokens.usage(
            prompt,
            request.images,
            self.cache.cached_tokens(request.model, prompt),
            sum(choice.token_count for choice in choices),
        )
        return Answer(
            id=f"chatcmpl-{serial}",
            created=created,
            model=request.model,
            choices=choices,
            usage=usage,
        )

    def _choice(
        self,
        request: ChatRequest,
        index: int,
        functions: list[Function],
        serial: str,
        numbered: int | None,
    ) -> Choice:
        limit = min(request.output_limit_tokens or self.max_answer_tokens, self.max_answer_tokens)
        key = f"{self.seed}/{index}"
        if functions and numbered is None:
            calls, cut = _calls(functions, f"{key}/{request.question}", f"{serial}_{index}", limit)
            reason: FinishReason = "length" if cut else "tool_calls"
            return Choice(index=index, pieces=[], calls=calls, finish_reason=reason)
        pieces, cut = self._pieces(request, key, numbered, limit)
        reason = "length" if cut else "stop"
        return Choice(index=index, pieces=pieces, calls=[], finish_reason=reason)

    def _pieces(
        self, request: ChatRequest, key: str, numbered: int | None, limit: int
    ) -> tuple[list[str], bool]:
        if numbered is not None:
            return text.numbered(min(numbered, limit)), numbered > limit
        if request.response_format and request.response_format.type != "text":
            pieces = text.json_pieces(f"{key}/{request.question}", _schema(request))
            return pieces[:limit], len(pieces) > limit
        natural = text.natural_tokens(request.question, self.answer_tokens)
        return text.prose(key, request.question, min(natural, limit)), natural > limit


def _called_functions(request: ChatRequest) -> list[Function]:
    """Choose the functions to call; none unless a user message is to be answered."""
    functions = [tool.function for tool in request.tools or [] if tool.function]
    if not functions or request.tool_choice == "none" or request.messages[-1].role != "user":
        return []
    if isinstance(request.tool_choice, Tool) and request.tool_choice.function:
        return [_named(functions, request.tool_choice.function.name)]
    if request.parallel_tool_calls is not False and "parallel" in request.question.lower():
        return functions
    return functions[:1]


def _named(functions: list[Function], name: str) -> Function:
    for function in functions:
        if function.name == name:
            return function
    known = ", ".join(function.name for function in functions)
    message = f"tool_choice names {name!r}; the request's tools are {known}."
    raise ApiError(400, message, param="tool_choice")


def _calls(functions: list[Function], key: str, serial: str, limit: int) -> tuple[list[Call], bool]:
    calls: list[Call] = []
    left = limit
    for number, function in enumerate(functions):
        schema = {"type": "object", "properties": {}, **function.parameters}
        pieces = text.json_pieces(f"{key}/{function.name}", schema)
        calls.append(Call(f"call_{serial}_{number}", function.name, pieces[:left]))
        if len(pieces) > left:
            return calls, True
        left -= len(pieces)
    return calls, False


def _schema(request: ChatRequest) -> dict[str, object]:
    asked = request.response_format and request.response_format.json_schema
    if asked:
        return asked.schema
    return {"properties": {"answer": {"type": "string"}, "steps": {"type": "integer"}}}
