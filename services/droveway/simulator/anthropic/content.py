"""Content blocks of a message; an unknown type or field is no block."""

import binascii
from base64 import b64decode
from typing import Annotated, Literal

import msgspec

NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9_-]+$")]


class CacheControl(msgspec.Struct, forbid_unknown_fields=True):
    """Marks the end of a prefix that is kept."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class _Block(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    cache_control: CacheControl | None = None


class TextBlock(_Block, tag="text"):
    """Words; citations stand beside words that the model said."""

    text: str
    citations: list[dict[str, object]] | None = None


class _Base64(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    data: NonEmpty

    def __post_init__(self) -> None:
        try:
            b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"data is not valid base64 data: {error}") from error


class Base64Image(_Base64, tag="base64"):
    """A picture in the request."""

    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]


class Base64Pdf(_Base64, tag="base64"):
    """A document in the request."""

    media_type: Literal["application/pdf"]


class UrlSource(msgspec.Struct, forbid_unknown_fields=True, tag="url"):
    """Bytes elsewhere; the simulator fetches nothing."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://")]


class FileSource(msgspec.Struct, forbid_unknown_fields=True, tag="file"):
    """Bytes sent earlier."""

    file_id: NonEmpty


class PlainTextSource(msgspec.Struct, forbid_unknown_fields=True, tag="text"):
    """A document of plain text."""

    media_type: Literal["text/plain"]
    data: NonEmpty


class ImageBlock(_Block, tag="image"):
    """A picture."""

    source: Base64Image | UrlSource | FileSource
    transformations: dict[str, object] | None = None


class ContentSource(msgspec.Struct, forbid_unknown_fields=True, tag="content"):
    """A document of blocks."""

    content: str | list[TextBlock | ImageBlock]


class Citations(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the model may cite."""

    enabled: bool = False


class DocumentBlock(_Block, tag="document"):
    """A document."""

    source: Base64Pdf | UrlSource | FileSource | PlainTextSource | ContentSource
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None


class SearchResultBlock(_Block, tag="search_result"):
    """Something found by the caller."""

    source: str
    title: str
    content: list[TextBlock]
    citations: Citations | None = None


class ToolUseBlock(_Block, tag="tool_use"):
    """A call that the model asked for."""

    id: Id
    name: NonEmpty
    input: dict[str, object]
    caller: dict[str, object] | None = None
    toolset_name: str | None = None


ResultPart = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock


class ToolResultBlock(_Block, tag="tool_result"):
    """What a call gave."""

    tool_use_id: Id
    content: str | list[ResultPart] | None = None
    is_error: bool = False
    toolset_name: str | None = None


class ThinkingBlock(msgspec.Struct, forbid_unknown_fields=True, tag="thinking"):
    """What the model thought, signed by it; no cache marker goes here."""

    thinking: str
    signature: str


class RedactedThinkingBlock(msgspec.Struct, forbid_unknown_fields=True, tag="redacted_thinking"):
    """What the model thought and doesn't show."""

    data: str


Block = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
)
OF_USER = (TextBlock, ImageBlock, DocumentBlock, SearchResultBlock, ToolResultBlock)
OF_ASSISTANT = (TextBlock, DocumentBlock, ToolUseBlock, ThinkingBlock, RedactedThinkingBlock)
OF_SYSTEM = (TextBlock,)


def tag(block: Block) -> str:
    """Name a block's type."""
    return str(type(block).__struct_config__.tag)
