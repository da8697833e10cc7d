"""Items of the Responses API to messages of a chat completion: input, and output come back.

What one turn of the assistant was made of is one message:

    reasoning, message, function_call, function_call   {"role": "assistant", ...}
    function_call_output                               {"role": "tool", ...}

Pure functions. Source: OpenAI API reference, responses, 2026-11.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from droveway.dialects.anthropic.request_fields import dropped, list_at, name_at, object_at, text_at
from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.field_checks import wrong
from droveway.dialects.responses.content import chat_content, word_at
from droveway.dialects.responses.reasoning import unseal
from droveway.dialects.untranslatable import Untranslatable

_MAX_ITEMS = ChatCaps().max_messages
_ROLES = ("user", "assistant", "system", "developer")
_TYPES = ("message", "function_call", "function_call_output", "reasoning")
_MAX_WARNINGS = 4
"""Items that are told of; a header has room for a few."""

Content = str | list[dict[str, Any]]


class ChatMessages(NamedTuple):
    """Items as messages."""

    messages: list[dict[str, Any]]
    warnings: tuple[str, ...] = ()


def chat_messages(items: object, param: str = "input") -> ChatMessages:
    """Messages for a string or an array of items; ids and states of items are of no account.

    Raises:
        Untranslatable: An item isn't one, or a chat completion has no words for it; names its path.
    """
    if isinstance(items, str):
        return ChatMessages([{"role": "user", "content": items}])
    if not isinstance(items, list) or len(items) > _MAX_ITEMS:
        raise wrong(param, items, f"a string or an array of at most {_MAX_ITEMS} items")
    turns = _Turns()
    for index, item in enumerate(items):
        turns.take(item, f"{param}[{index}]")
    turns.end()
    return ChatMessages(turns.messages, tuple(turns.warnings[:_MAX_WARNINGS]))


class _Turns:
    """Gathers items to messages, in their order."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self._turn: dict[str, Any] | None = None
        """The assistant's message that further items may belong to; the last of `messages`."""
        self._thoughts: list[str] = []
        """Its reasoning; joined once it has ended, since joining at each item is quadratic."""

    def take(self, value: object, param: str) -> None:
        """Adds one item."""
        item = object_at(value, param)
        match item.get("type", "message" if "role" in item else None):
            case "message":
                self._message(item, param)
            case "function_call":
                self._call(item, param)
            case "function_call_output":
                self._output(item, param)
            case "reasoning":
                self._reasoning(item, param)
            case "item_reference":
                text = f"`{param}.type` must be an item's own: single items aren't stored here."
                raise Untranslatable(text, f"{param}.type")
            case other:
                word_at(other, f"{param}.type", _TYPES)

    def end(self) -> None:
        """Ends the assistant's turn; one that was only reasoning leaves nothing."""
        if self._turn is not None and not _has_spoken(self._turn):
            self.messages.pop()
        elif self._turn is not None and self._thoughts:
            self._turn["reasoning_content"] = "\n\n".join(self._thoughts)
        self._turn, self._thoughts = None, []

    def _message(self, item: dict[str, Any], param: str) -> None:
        role = word_at(item.get("role"), f"{param}.role", _ROLES)
        content = chat_content(item.get("content"), f"{param}.content", role)
        if role != "assistant":
            self.end()
            self.messages.append({"role": role, "content": content})
            return
        turn = self._assistant()
        if turn["content"] is not None and "tool_calls" not in turn:
            self.end()
            turn = self._assistant()
        # After a call the text joins its message: between a call and its output stands nothing.
        turn["content"] = _joined(turn["content"], content)

    def _call(self, item: dict[str, Any], param: str) -> None:
        call = {
            "id": name_at(item.get("call_id"), f"{param}.call_id"),
            "type": "function",
            "function": {
                "name": name_at(item.get("name"), f"{param}.name"),
                "arguments": text_at(item.get("arguments"), f"{param}.arguments"),
            },
        }
        self._assistant().setdefault("tool_calls", []).append(call)

    def _output(self, item: dict[str, Any], param: str) -> None:
        self.end()
        message = {
            "role": "tool",
            "tool_call_id": name_at(item.get("call_id"), f"{param}.call_id"),
            "content": chat_content(item.get("output"), f"{param}.output", "tool"),
        }
        self.messages.append(message)

    def _reasoning(self, item: dict[str, Any], param: str) -> None:
        if self._turn is not None and _has_spoken(self._turn):
            self.end()
        turn = self._assistant()
        self._thoughts += _texts(item, param)
        if item.get("encrypted_content") is None:
            return
        if blocks := unseal(item["encrypted_content"]):
            turn.setdefault("thinking_blocks", []).extend(blocks)
        else:
            self.warnings.append(dropped(f"{param}.encrypted_content", "is not from here"))

    def _assistant(self) -> dict[str, Any]:
        if self._turn is None:
            self._turn = {"role": "assistant", "content": None}
            self.messages.append(self._turn)
        return self._turn


def _has_spoken(turn: dict[str, Any]) -> bool:
    return turn["content"] is not None or "tool_calls" in turn


def _joined(first: Content | None, second: Content) -> Content:
    """Adds to `first` where it can: a copy at each item would be quadratic."""
    if first is None:
        return second
    parts = _parts(first)
    parts += _parts(second)
    return parts


def _parts(content: Content) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _texts(item: dict[str, Any], param: str) -> Sequence[str]:
    """The reasoning itself, or else its summary."""
    name = "content" if item.get("content") else "summary"
    return [
        text_at(object_at(part, path).get("text"), f"{path}.text")
        for index, part in enumerate(list_at(item.get(name) or [], f"{param}.{name}"))
        for path in (f"{param}.{name}[{index}]",)
    ]
