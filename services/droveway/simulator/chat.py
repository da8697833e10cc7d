"""What a chat request asks: the fields that change the simulator's answer, checked."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from droveway.simulator.errors import ApiError

Positive = Annotated[int, msgspec.Meta(ge=1)]

_AT_FIELD = re.compile(r"at `\$\.(\w+)")


class Part(msgspec.Struct):
    """A content part; images are counted, never fetched."""

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

    @property
    def images(self) -> int:
        """The number of image parts."""
        parts = self.content if isinstance(self.content, list) else []
        return sum(part.type == "image_url" for part in parts)


class Function(msgspec.Struct):
    """A function the model may call, or the name of the one it must call."""

    name: str
    description: str = ""
    parameters: dict[str, object] = {}


class Tool(msgspec.Struct):
    """A tool; only functions are called."""

    type: str
    function: Function | None = None


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
    """A chat completion request; fields that don't change the answer are ignored."""

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

    @property
    def question(self) -> str:
        """The last user message's text."""
        texts = (message.text for message in reversed(self.messages) if message.role == "user")
        return next(texts, "")

    @property
    def images(self) -> int:
        """The number of images in all messages."""
        return sum(message.images for message in self.messages)

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def output_limit_tokens(self) -> int | None:
        """The caller's bound on the answer; the newer field wins."""
        return self.max_completion_tokens or self.max_tokens

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
