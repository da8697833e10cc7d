"""What a chat request asks: the fields that change the simulator's answer, checked."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from droveway.simulator.errors import ApiError
from droveway.simulator.speech import Function, Question, chosen

Positive = Annotated[int, msgspec.Meta(ge=1)]
TopLogprobs = Annotated[int, msgspec.Meta(ge=0, le=20)]

_AT_FIELD = re.compile(r"at `\$\.(\w+)")


class Part(msgspec.Struct):
    """A content part; images and sounds are counted, never fetched."""

    type: str
    text: str = ""


class Message(msgspec.Struct):
    """A message of any role."""

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: msgspec.Raw = msgspec.Raw(b"")

    @property
    def text(self) -> str:
        """The message's text parts as one."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""

    def parts(self, kind: str) -> int:
        """Count the parts of a type."""
        parts = self.content if isinstance(self.content, list) else []
        return sum(part.type == kind for part in parts)


class ToolFunction(msgspec.Struct):
    """A function the model may call, or the name of the one it must call."""

    name: str
    description: str = ""
    parameters: dict[str, object] = {}


class Tool(msgspec.Struct):
    """A tool; only functions are called."""

    type: str
    function: ToolFunction | None = None


class JsonSchema(msgspec.Struct):
    """The schema that a structured answer obeys."""

    name: str = ""
    schema: dict[str, object] = {}


class ResponseFormat(msgspec.Struct):
    """Which form the answer's text has."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct):
    """What a stream carries beside the answer."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct):
    """A chat completion request; fields that change neither answer nor book are ignored."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Positive | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Tool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    user: str | None = None

    @property
    def images(self) -> int:
        """The number of images in all messages."""
        return sum(message.parts("image_url") for message in self.messages)

    @property
    def audios(self) -> int:
        """The number of sounds in all messages."""
        return sum(message.parts("input_audio") for message in self.messages)

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def question(self, reasoning_tokens: int) -> Question:
        """What is asked, in no dialect.

        Raises:
            ApiError: 400, the tool choice names a tool that isn't there.
        """
        texts = (message.text for message in reversed(self.messages) if message.role == "user")
        text = next(texts, "")
        stop = self.stop or []
        return Question(
            text=text,
            functions=_called(self, text),
            schema=_schema(self.response_format),
            stops=(stop,) if isinstance(stop, str) else tuple(stop),
            limit_tokens=self.max_completion_tokens or self.max_tokens,
            reasoning_tokens=reasoning_tokens,
            said=self.messages[-1].text if self.messages[-1].role == "assistant" else "",
        )

    def prompt(self) -> bytes:
        """The bytes that count as the prompt, in an order that keeps prefixes stable."""
        return b"".join(self._prompt_parts())

    def _prompt_parts(self) -> Iterator[bytes]:
        if self.tools:
            yield msgspec.json.encode(self.tools)
        for message in self.messages:
            yield f"{message.role}\n{message.text}\n".encode()
            yield bytes(message.tool_calls)


_decoder = msgspec.json.Decoder(ChatRequest)


def decode(body: bytes, max_choices: int) -> ChatRequest:
    """Read a request's body.

    Raises:
        ApiError: 400 that names the field, as OpenAI does.
    """
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        field = _AT_FIELD.search(str(error))
        param = field[1] if field else None
        raise ApiError(400, f"Invalid request: {error}.", param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"The body isn't JSON: {error}.") from error
    if (request.n or 1) > max_choices:
        raise ApiError(400, f"n is {request.n}; at most {max_choices} is served.", param="n")
    return request


def _called(request: ChatRequest, question: str) -> list[Function]:
    """Choose the functions to call; none unless a user message is to be answered."""
    tools = [tool.function for tool in request.tools or [] if tool.function]
    functions = [Function(tool.name, tool.parameters) for tool in tools]
    if not functions or request.tool_choice == "none" or request.messages[-1].role != "user":
        return []
    if isinstance(request.tool_choice, Tool) and request.tool_choice.function:
        return [_named(functions, request.tool_choice.function.name)]
    return chosen(functions, question, request.parallel_tool_calls is not False)


def _named(functions: list[Function], name: str) -> Function:
    for function in functions:
        if function.name == name:
            return function
    known = ", ".join(function.name for function in functions)
    message = f"tool_choice names {name!r}; the request's tools are {known}."
    raise ApiError(400, message, param="tool_choice")


def _schema(asked: ResponseFormat | None) -> dict[str, object] | None:
    if asked is None or asked.type == "text":
        return None
    if asked.json_schema:
        return asked.json_schema.schema
    return {"properties": {"answer": {"type": "string"}, "steps": {"type": "integer"}}}
