"""What a message request is: its fields, and the words that refuse another."""

import re
from typing import Annotated, Literal, TypeVar

import msgspec

from droveway.simulator.anthropic.content import Block, CacheControl, NonEmpty, TextBlock
from droveway.simulator.errors import ApiError

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
ToolName = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
Effort = Literal["low", "medium", "high", "xhigh", "max"]

MAX_MESSAGES = 100_000

T = TypeVar("T")


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """A turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        """The content as blocks."""
        return [TextBlock(text=self.content)] if isinstance(self.content, str) else self.content


class Tool(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A tool of the caller's; tools that run at the provider aren't served."""

    name: ToolName
    input_schema: dict[str, object]
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None
    input_examples: list[dict[str, object]] | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    allowed_callers: list[str] | None = None


class ToolChoice(msgspec.Struct, forbid_unknown_fields=True):
    """Whether and which tools are called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the model thinks aloud."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class Format(msgspec.Struct, forbid_unknown_fields=True):
    """The schema that a structured answer obeys."""

    type: Literal["json_schema"]
    schema: dict[str, object]


class OutputConfig(msgspec.Struct, forbid_unknown_fields=True):
    """How much is thought, and which form the answer has."""

    effort: Effort | None = None
    format: Format | None = None


class Metadata(msgspec.Struct, forbid_unknown_fields=True):
    """Who asks."""

    user_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class Prompt(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `count_tokens` counts and a message request answers."""

    model: NonEmpty
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=MAX_MESSAGES)]
    system: str | list[TextBlock] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    cache_control: CacheControl | None = None
    output_config: OutputConfig | None = None
    speed: Literal["standard", "fast"] | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None

    @property
    def max_output_tokens(self) -> int | None:
        """The caller's bound on the answer; none where only the prompt is of interest."""
        return None


class MessageRequest(Prompt, forbid_unknown_fields=True, kw_only=True):
    """A message request."""

    max_tokens: Annotated[int, msgspec.Meta(ge=0)]
    stream: bool = False
    stop_sequences: list[str] | None = None
    temperature: Fraction | msgspec.UnsetType | None = msgspec.UNSET
    top_p: Fraction | msgspec.UnsetType | None = msgspec.UNSET
    top_k: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    container: str | dict[str, object] | None = None
    inference_geo: str | None = None
    diagnostics: dict[str, object] | None = None

    @property
    def max_output_tokens(self) -> int | None:
        """The caller's bound on the answer."""
        return self.max_tokens


_MISSING = re.compile(r"Object missing required field `(\w+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_PATH = re.compile(r" - at `\$([^`]*)`$")


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Read a request's body.

    Raises:
        ApiError: 400 that names the place, as Anthropic does.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ApiError(400, _located(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from error


def _located(text: str) -> str:
    """Turn `Expected ... - at `$.a[0].b`` into `a.0.b: Expected ...`."""
    path = _PATH.search(text)
    place = re.sub(r"\[(\d+)\]", r".\1", path[1]).strip(".") if path else ""
    said = _PATH.sub("", text)
    for pattern, words in (
        (_MISSING, "Field required"),
        (_UNKNOWN, "Extra inputs are not permitted"),
    ):
        if field := pattern.search(said):
            place, said = f"{place}.{field[1]}".strip("."), words
    return f"{place}: {said}" if place else said
