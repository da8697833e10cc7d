"""Parts of a Responses item's content to parts of a chat message's. Pure functions.

Nothing that a part points to is ever fetched here.
Source: OpenAI API reference, responses, 2026-11.
"""

from typing import Any

from droveway.dialects.anthropic.request_fields import name_at, object_at, text_at
from droveway.dialects.chat import message_checks
from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.field_checks import wrong
from droveway.dialects.untranslatable import Untranslatable

ALLOWED: dict[str, tuple[str, ...]] = {
    "user": ("input_text", "input_image", "input_file", "input_audio"),
    "tool": ("input_text", "input_image", "input_file"),
    "system": ("input_text",),
    "developer": ("input_text",),
    "assistant": ("output_text", "refusal"),
}
"""Types of parts by whose they are; `tool` is the output of a function call."""

_KEPT = ("cache_control", "prompt_cache_breakpoint")
"""Marks for a provider's prompt cache: they go where their part goes."""
_CAPS = ChatCaps()
_CHAT_PATHS = {"input_image": (".image_url.url", ".image_url"), "input_file": (".file.", ".")}
"""How a path in a chat message's part begins, and in the client's own."""


def chat_content(value: object, param: str, role: str) -> str | list[dict[str, Any]]:
    """A string as it is, parts as parts; a single text without marks becomes a string.

    Raises:
        Untranslatable: A part isn't one, isn't of this role, or has no words in a chat message.
    """
    if isinstance(value, str):
        return value
    limit = _CAPS.max_content_parts
    if not isinstance(value, list) or len(value) > limit:
        raise wrong(param, value, f"a string or an array of at most {limit} parts")
    parts = [_part(part, f"{param}[{index}]", role) for index, part in enumerate(value)]
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts or ""


def word_at(value: object, param: str, allowed: tuple[str, ...]) -> str:
    """One of a few words.

    Raises:
        Untranslatable: It is another, or something else.
    """
    if isinstance(value, str) and value in allowed:
        return value
    raise Untranslatable(f"`{param}` must be one of {', '.join(allowed)}.", param)


def _part(value: object, param: str, role: str) -> dict[str, Any]:
    part = object_at(value, param)
    if part.get("type") == "text":  # as chat has it: many who come from there write it so
        part = part | {"type": "output_text" if role == "assistant" else "input_text"}
    kind = word_at(part.get("type"), f"{param}.type", ALLOWED[role])
    if kind == "refusal":
        return {"type": kind, kind: text_at(part.get(kind), f"{param}.{kind}")}
    kept = {name: part[name] for name in _KEPT if part.get(name) is not None}
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": text_at(part.get("text"), f"{param}.text"), **kept}
    made = _made(kind, part, param) | kept
    try:
        message_checks.content(param, [made], _CAPS)
    except Untranslatable as error:
        raise _in_clients_words(error, kind, param) from None
    return made


def _made(kind: str, part: dict[str, Any], param: str) -> dict[str, Any]:
    if kind == "input_image":
        if part.get("file_id") is not None:
            message = f"`{param}.file_id` can't be sent to a provider; send image_url instead."
            raise Untranslatable(message, f"{param}.file_id")
        image = {name: part[key] for name, key in _IMAGE if part.get(key) is not None}
        return {"type": "image_url", "image_url": image}
    if kind == "input_file":
        if part.get("file_url") is not None:
            message = f"`{param}.file_url` is not fetched here; send file_data instead."
            raise Untranslatable(message, f"{param}.file_url")
        file = {name: part[name] for name in _FILE if part.get(name) is not None}
        if not file.keys() & {"file_data", "file_id"}:
            name_at(None, f"{param}.file_data")
        return {"type": "file", "file": file}
    return {"type": kind, kind: part.get(kind)}


_IMAGE = (("url", "image_url"), ("detail", "detail"))
_FILE = ("file_data", "file_id", "filename")


def _in_clients_words(error: Untranslatable, kind: str, param: str) -> Untranslatable:
    """The refusal of a chat message's only part, as one of the client's part."""
    chat, own = _CHAT_PATHS.get(kind, ("", ""))
    path = error.param.replace(f"{param}[0]", param, 1).replace(f"{param}{chat}", param + own, 1)
    return Untranslatable(error.message.replace(error.param, path), path)
