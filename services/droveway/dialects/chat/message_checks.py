"""Checks of a chat completion request's messages: roles, parts of content, calls and results.

Nothing that a message points to is ever fetched here. Source: OpenAI API reference, chat
completions, 2026-11; `document`, `cache_control` and `video_url` are others' extensions of it.
"""

import re
from collections.abc import Mapping
from typing import Any

from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.field_checks import (
    Check,
    any_object,
    boolean,
    check_fields,
    name,
    objects,
    string,
    wrong,
)

ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})

_PLAIN = ROLES - {"tool"}
"""Roles whose messages may consist of a role and a text."""
_EMBEDDED = re.compile(r"data:(image|video)/[a-z0-9.+-]{1,32};base64,", re.IGNORECASE).match


def check_messages(messages: object, caps: ChatCaps) -> None:
    """`messages` is required; each has a known role, and parts of types that are known.

    Raises:
        Untranslatable: The first message that can't be, with its path.
    """
    if type(messages) is not list or not 0 < len(messages) <= caps.max_messages:
        raise wrong("messages", messages, f"an array of 1 to {caps.max_messages} objects")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise wrong(f"messages[{index}]", message, "an object with a `role`")
        role = message.get("role")
        is_word = type(role) is str
        if is_word and len(message) == 2 and role in _PLAIN and type(message.get("content")) is str:
            continue
        if not is_word or role not in ROLES:
            raise wrong(f"messages[{index}].role", role, f"one of {', '.join(sorted(ROLES))}")
        prefix = f"messages[{index}]."
        check_fields(message, _MESSAGE, caps, prefix)
        if role == "tool" and type(call_id := message.get("tool_call_id")) is not str:
            raise wrong(f"{prefix}tool_call_id", call_id, "the `id` of the call that it answers")


def content(param: str, value: Any, caps: ChatCaps) -> None:
    """A text, or parts of known types."""
    if type(value) is str:
        return
    if type(value) is not list or len(value) > caps.max_content_parts:
        expected = f"a string, null or an array of at most {caps.max_content_parts} parts"
        raise wrong(param, value, expected)
    for index, part in enumerate(value):
        if type(part) is not dict:
            raise wrong(f"{param}[{index}]", part, "an object with a `type`")
        type_ = part.get("type")
        if type_ == "text" and len(part) == 2 and type(part.get("text")) is str:
            continue
        if type(type_) is not str:
            raise wrong(f"{param}[{index}].type", type_, "a string such as text")
        if (required := _PARTS.get(type_)) is None:
            raise wrong(f"{param}[{index}].type", type_, f"one of {', '.join(_PARTS)}")
        _check_part(f"{param}[{index}].", part, required, caps)


def called(param: str, value: Any, caps: ChatCaps) -> None:
    """A function's name and the text of its arguments, as a model has made them."""
    if type(value) is not dict:
        raise wrong(param, value, "an object with a `name` and `arguments`")
    name(f"{param}.name", value.get("name"), caps)
    arguments = value.get("arguments")
    if arguments is not None and type(arguments) is not str:
        raise wrong(f"{param}.arguments", arguments, "a string that holds JSON")


def _check_part(
    prefix: str, part: dict[str, Any], required: Mapping[str, Check], caps: ChatCaps
) -> None:
    for field, check in required.items():
        check(prefix + field, part.get(field), caps)
    check_fields(part, _MARKS, caps, prefix)


def _text(param: str, value: Any, _caps: ChatCaps) -> None:
    if type(value) is not str:
        raise wrong(param, value, "a string")


def _addressed(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not dict:
        raise wrong(param, value, "an object with a `url`")
    _check_url(f"{param}.url", value.get("url"), param.endswith("video_url"), caps)
    check_fields(value, {"detail": string}, caps, f"{param}.")


def _check_url(param: str, url: object, is_video: bool, caps: ChatCaps) -> None:
    media = "video" if is_video else "image"
    expected = f"an https:// address or data:{media}/...;base64,..."
    if type(url) is not str:
        raise wrong(param, url, expected)
    if url[:8].lower() == "https://" and len(url) > 8:
        limit = caps.max_url_chars
    elif (embedded := _EMBEDDED(url)) and embedded[1].lower() == media:
        limit = caps.max_data_chars
    else:
        raise wrong(param, url, expected)
    if len(url) > limit:
        raise wrong(param, url, f"{expected} of at most {limit} characters")


def _data(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not str or len(value) > caps.max_data_chars:
        raise wrong(param, value, f"a string of at most {caps.max_data_chars} characters")


def _audio(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not dict:
        raise wrong(param, value, "an object with `data` and `format`")
    _data(f"{param}.data", value.get("data"), caps)
    check_fields(value, {"format": string}, caps, f"{param}.")


def _file(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not dict:
        raise wrong(param, value, "an object with `file_data` or `file_id`")
    check_fields(value, _FILE, caps, f"{param}.")


def _source(param: str, value: Any, caps: ChatCaps) -> None:
    if type(value) is not dict:
        raise wrong(param, value, "an object with a `type`")
    url = value.get("url")
    if url is not None and (type(url) is not str or url[:8].lower() != "https://"):
        raise wrong(f"{param}.url", url, "an https:// address")
    if url is not None and len(url) > caps.max_url_chars:
        raise wrong(f"{param}.url", url, f"an address of at most {caps.max_url_chars} characters")
    if value.get("data") is not None:
        _data(f"{param}.data", value["data"], caps)


def _tool_calls(param: str, value: Any, caps: ChatCaps) -> None:
    objects(param, value, caps.max_tools)
    for index, call in enumerate(value):
        prefix = f"{param}[{index}]."
        check_fields(call, _CALL, caps, prefix)
        if call.get("type", "function") in ("function", None):
            called(f"{prefix}function", call.get("function"), caps)


def _blocks(param: str, value: Any, caps: ChatCaps) -> None:
    objects(param, value, caps.max_content_parts)


_MESSAGE: dict[str, Check] = {
    "content": content,
    "name": string,
    "tool_call_id": string,
    "tool_calls": _tool_calls,
    "function_call": called,
    "refusal": string,
    "audio": any_object,
    "reasoning_content": string,
    "thinking_blocks": _blocks,
    "is_error": boolean,
    "cache_control": any_object,
}
_PARTS: dict[str, Mapping[str, Check]] = {
    "text": {"text": _text},
    "image_url": {"image_url": _addressed},
    "input_audio": {"input_audio": _audio},
    "file": {"file": _file},
    "refusal": {"refusal": _text},
    "document": {"source": _source},
    "video_url": {"video_url": _addressed},
    "cache_control": {},
}
"""What a part of each type must have."""
_MARKS: dict[str, Check] = {"cache_control": any_object, "prompt_cache_breakpoint": any_object}
_FILE: dict[str, Check] = {"file_data": _data, "file_id": string, "filename": string}
_CALL: dict[str, Check] = {"id": string, "type": string}
