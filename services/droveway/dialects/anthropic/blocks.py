"""Blocks of an Anthropic message's content as parts of a chat message's.

Source: OpenAI API reference, chat completions, and Anthropic, messages, 2026-11.
"""

from typing import Any

from droveway.dialects.anthropic.chat_parts import PDF
from droveway.dialects.anthropic.request_fields import dropped, is_set, name_at, object_at, text_at
from droveway.dialects.untranslatable import Untranslatable

UNNAMED_PDF = "document.pdf"
"""Title of documents without one; a chat file has to have a name."""

CITATIONS = dropped("citations")


def parts(content: object, path: str, warnings: list[str]) -> list[dict[str, Any]]:
    """Parts of content that a user or a tool sent: a string or blocks of text, images, documents.

    Raises:
        Untranslatable: A block has no equivalent, or isn't formed as it has to be.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    made: list[dict[str, Any]] = []
    for place, block in enumerate(block_list(content, path)):
        at = f"{path}.content[{place}]"
        made += part(object_at(block, at), at, warnings)
    return made


def block_list(content: object, path: str) -> list[Any]:
    """A message's blocks.

    Raises:
        Untranslatable: There is something else.
    """
    if isinstance(content, list):
        return content
    raise Untranslatable(
        f"{path}.content has to be a string or an array of blocks", f"{path}.content"
    )


def shortest(made: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Parts as content: a string, which every provider takes, where one text is all there is."""
    if not made:
        return ""
    first = made[0]
    if len(made) == 1 and first["type"] == "text" and "cache_control" not in first:
        text: str = first["text"]
        return text
    return made


def part(block: dict[str, Any], at: str, warnings: list[str]) -> list[dict[str, Any]]:
    """The parts for one block: one, or none for empty text.

    Raises:
        Untranslatable: It has no equivalent, or isn't formed as it has to be.
    """
    match block.get("type"):
        case "text":
            text = text_at(block.get("text"), f"{at}.text")
            if not text:
                return []
            if block.get("citations"):
                warnings.append(CITATIONS)
            made: dict[str, Any] = {"type": "text", "text": text}
        case "image":
            made = _image(object_at(block.get("source"), f"{at}.source"), f"{at}.source")
        case "document":
            made = _document(block, at, warnings)
        case _:
            raise Untranslatable(
                f"{at}.type has to be one of text, image, document, tool_result for this model",
                f"{at}.type",
            )
    if (control := block.get("cache_control")) is not None:
        made["cache_control"] = control
    return [made]


def _image(source: dict[str, Any], at: str) -> dict[str, Any]:
    match source.get("type"):
        case "base64":
            url = _data_url(source, at)
        case "url":
            url = name_at(source.get("url"), f"{at}.url")
            if not url[:8].lower().startswith("https://"):
                raise Untranslatable(f"{at}.url has to begin with https:", f"{at}.url")
        case _:
            raise Untranslatable(f"{at}.type has to be base64 or url for this model", f"{at}.type")
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: dict[str, Any], at: str, warnings: list[str]) -> dict[str, Any]:
    source = object_at(block.get("source"), f"{at}.source")
    citations = block.get("citations")
    if isinstance(citations, dict) and is_set(citations.get("enabled")):
        warnings.append(CITATIONS)
    title, context = (
        text_at(block.get(name) or "", f"{at}.{name}") for name in ("title", "context")
    )
    if source.get("type") == "text":
        data = text_at(source.get("data"), f"{at}.source.data")
        text = "\n\n".join(piece for piece in (title, context, data) if piece)
        return {"type": "text", "text": text}
    if source.get("type") != "base64" or source.get("media_type") != PDF:
        raise Untranslatable(
            f"{at}.source has to be of type text, or of type base64 and {PDF}, for this model",
            f"{at}.source",
        )
    if context:
        warnings.append(dropped("a document's context"))
    file = {"filename": title or UNNAMED_PDF, "file_data": _data_url(source, f"{at}.source")}
    return {"type": "file", "file": file}


def _data_url(source: dict[str, Any], at: str) -> str:
    media_type = name_at(source.get("media_type"), f"{at}.media_type")
    return f"data:{media_type};base64,{name_at(source.get('data'), f'{at}.data')}"
