"""Parts of a chat message's content as Anthropic's blocks.

Nothing is ever fetched: an image is sent inline or by its https URL, which the provider fetches.
Source: OpenAI API reference, chat completions, and Anthropic, messages, 2026-11.
"""

from typing import Any

from droveway.dialects.anthropic.request_fields import name_at, object_at, text_at
from droveway.dialects.untranslatable import Untranslatable

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
PDF = "application/pdf"

_MEDIA_TYPE_CHARS = 256
"""Of a data URL, what comes before its data."""


def blocks(content: object, path: str, cache_ttl: str) -> list[dict[str, Any]]:
    """Blocks of a user's content; text without a visible character is left out.

    Raises:
        Untranslatable: A part has no equivalent, or isn't formed as it has to be.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content and not content.isspace() else []
    made: list[dict[str, Any]] = []
    for place, part in enumerate(_parts(content, path)):
        block = _block(part, f"{path}.content[{place}]")
        if block is not None:
            made.append(mark(block, part, cache_ttl))
    return made


def text_blocks(content: object, path: str, cache_ttl: str) -> list[dict[str, Any]]:
    """Blocks of content that may only be text, such as a system prompt's or an assistant's.

    Raises:
        Untranslatable: A part is none.
    """
    if content is None or isinstance(content, str):
        return blocks(content, path, cache_ttl)
    made: list[dict[str, Any]] = []
    for place, part in enumerate(_parts(content, path)):
        at = f"{path}.content[{place}]"
        if object_at(part, at).get("type") not in ("text", "refusal"):
            raise Untranslatable(f"{at}.type has to be text here", f"{at}.type")
        block = _block(part, at)
        if block is not None:
            made.append(mark(block, part, cache_ttl))
    return made


def mark(block: dict[str, Any], part: dict[str, Any], cache_ttl: str) -> dict[str, Any]:
    """The new block, marked as the end of a cached prefix if its part is."""
    if (control := part.get("cache_control")) is not None:
        block["cache_control"] = control
    elif part.get("prompt_cache_breakpoint"):
        block["cache_control"] = {"type": "ephemeral", "ttl": cache_ttl}
    return block


def _parts(content: object, path: str) -> list[Any]:
    if isinstance(content, list):
        return content
    raise Untranslatable(
        f"{path}.content has to be a string or an array of parts", f"{path}.content"
    )


def _block(part: object, at: str) -> dict[str, Any] | None:
    fields = object_at(part, at)
    match fields.get("type"):
        case "text" | "refusal" as kind:
            text = text_at(fields.get(kind), f"{at}.{kind}")
            return {"type": "text", "text": text} if text and not text.isspace() else None
        case "image_url":
            return _image(fields.get("image_url"), f"{at}.image_url")
        case "file":
            return _document(object_at(fields.get("file"), f"{at}.file"), f"{at}.file")
        case "document":
            return {name: fields[name] for name in fields if name != "cache_control"}
        case "input_audio":
            raise Untranslatable(f"{at}: the model takes no audio", at)
        case _:
            raise Untranslatable(
                f"{at}.type has to be one of text, image_url, file for this model", f"{at}.type"
            )


def _image(image: object, at: str) -> dict[str, Any]:
    url = name_at(image.get("url") if isinstance(image, dict) else image, f"{at}.url")
    scheme = url[:8].lower()
    if scheme.startswith("https://"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    if not scheme.startswith("data:"):
        raise Untranslatable(f"{at}.url has to begin with https: or data:", f"{at}.url")
    media_type, data = _inline(url, f"{at}.url")
    if media_type not in IMAGE_TYPES:
        raise Untranslatable(
            f"{at}.url has to be an image of type jpeg, png, gif or webp", f"{at}.url"
        )
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "image", "source": source}


def _document(file: dict[str, Any], at: str) -> dict[str, Any]:
    if file.get("file_id") is not None:
        raise Untranslatable(
            f"{at}.file_id isn't known to the model's provider; send file_data", f"{at}.file_id"
        )
    media_type, data = _inline(name_at(file.get("file_data"), f"{at}.file_data"), f"{at}.file_data")
    if media_type != PDF:
        raise Untranslatable(f"{at}.file_data has to be of type {PDF}", f"{at}.file_data")
    block: dict[str, Any] = {
        "type": "document",
        "source": {"type": "base64", "media_type": media_type, "data": data},
    }
    if (name := file.get("filename")) is not None:
        block["title"] = text_at(name, f"{at}.filename")
    return block


def _inline(url: str, at: str) -> tuple[str, str]:
    """Media type and base64 text of a data URL."""
    comma = url.find(",", 0, _MEDIA_TYPE_CHARS)
    kind, *parameters = url[5 : max(comma, 5)].lower().split(";")
    data = url[comma + 1 :]
    if comma < 0 or not data or url[:5].lower() != "data:" or "base64" not in parameters:
        raise Untranslatable(f"{at} has to be a data URL with data in base64", at)
    return "image/jpeg" if kind == "image/jpg" else kind, data
