"""A chat conversation as Anthropic's turns.

    system, developer   top-level system; later ones too, or as turns of their own (version 2026)
    user                user
    assistant           assistant: thinking as it came, then text, then tool_use
    tool, function      user: tool_result blocks, all of a turn's first in one message

Turns of one role in a row become one message. Source: Anthropic, messages and mid-conversation
system messages, 2026-11.
"""

from typing import Any, NamedTuple

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.dialects.anthropic import chat_parts
from droveway.dialects.anthropic.request_fields import dropped, list_at, name_at, object_at, text_at
from droveway.dialects.anthropic.tool_pairing import ToolPairing
from droveway.dialects.untranslatable import Untranslatable

STRIPPED = "white space at the end of the assistant's last message was dropped"

_THINKING = ("thinking", "redacted_thinking")
_decode = msgspec.json.Decoder().decode


class Turns(NamedTuple):
    """What was said, as Anthropic takes it."""

    system: str | list[dict[str, Any]] | None
    """Blocks only where one of them ends a cached prefix."""
    messages: list[dict[str, Any]]


def turns(
    messages: list[Any], warnings: list[str], *, system_in_place: bool, cache_ttl: str
) -> Turns:
    """The conversation in Anthropic's turns; `warnings` gets what was dropped.

    Raises:
        Untranslatable: A message has no equivalent, or a tool call and its result don't pair.
    """
    conversation = _Conversation(warnings, cache_ttl)
    for place, message in enumerate(messages):
        path = f"messages[{place}]"
        fields = object_at(message, path)
        match fields.get("role"):
            case "user":
                conversation.add_user(fields, path)
            case "assistant":
                conversation.add_assistant(fields, path)
            case "tool":
                conversation.add_result(fields, path, "tool_call_id", fields.get("tool_call_id"))
            case "function":
                call_id = _function_id(name_at(fields.get("name"), f"{path}.name"))
                conversation.add_result(fields, path, "name", call_id)
            case "system" | "developer":
                conversation.add_system(fields, path, in_place=system_in_place)
            case _:
                raise Untranslatable(
                    f"{path}.role has to be one of developer, system, user, assistant, tool",
                    f"{path}.role",
                )
    return conversation.close()


class _Conversation:
    def __init__(self, warnings: list[str], cache_ttl: str) -> None:
        self._warnings = warnings
        self._cache_ttl = cache_ttl
        self._messages: list[dict[str, Any]] = []
        self._role = ""
        """Of the last message."""
        self._results = 0
        """Leading tool_result blocks of the last message."""
        self._system: list[dict[str, Any]] = []
        self._later_system: list[dict[str, Any]] = []
        """Waits for the user's turn to end: only there may it stand."""
        self._pairing = ToolPairing()

    def add_system(self, message: dict[str, Any], path: str, *, in_place: bool) -> None:
        made = chat_parts.text_blocks(message.get("content"), path, self._cache_ttl)
        self._mark_last(made, message)
        (self._later_system if in_place and self._messages else self._system).extend(made)

    def add_user(self, message: dict[str, Any], path: str) -> None:
        content = message.get("content")
        if content is None:
            raise Untranslatable(f"{path}.content is missing", f"{path}.content")
        made = chat_parts.blocks(content, path, self._cache_ttl)
        self._mark_last(made, message)
        if message.get("name") is not None:
            self._warn_of_name()
        self._append("user", content, made)

    def add_result(self, message: dict[str, Any], path: str, field: str, call_id: object) -> None:
        fit = self._pairing.result(call_id, path, field)
        content = message.get("content")
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": fit, "content": content}
        if not isinstance(content, str):
            made = chat_parts.blocks(content, path, self._cache_ttl)
            marks = [found for block in made if (found := block.pop("cache_control", None))]
            result["content"] = made or ""
            if marks:
                result["cache_control"] = marks[-1]
        if message.get("is_error") is True:
            result["is_error"] = True
        self._mark_last([result], message)
        if self._role != "user":
            self._append("user", None, [result])
        else:
            self._blocks_of_last().insert(self._results, result)
        self._results += 1

    def add_assistant(self, message: dict[str, Any], path: str) -> None:
        if self._role == "user":
            self._pairing.end_turn()
        content = message.get("content")
        made = _thinking(message, path)
        made += chat_parts.text_blocks(content, path, self._cache_ttl)
        if message.get("refusal"):
            made.append({"type": "text", "text": text_at(message["refusal"], f"{path}.refusal")})
        if message.get("audio") is not None:
            raise Untranslatable(f"{path}.audio: the model takes no audio", f"{path}.audio")
        if (calls := message.get("tool_calls")) is not None:
            for place, call in enumerate(list_at(calls, f"{path}.tool_calls")):
                made.append(self._tool_use(call, f"{path}.tool_calls[{place}]"))
        elif (function := message.get("function_call")) is not None:
            made.append(self._function_use(function, f"{path}.function_call"))
        self._mark_last(made, message)
        if message.get("name") is not None:
            self._warn_of_name()
        if made and self._role == "user":
            self._place_later_system()
        self._append("assistant", content, made)

    def close(self) -> Turns:
        self._pairing.end_turn()
        if self._role == "user":
            self._place_later_system()
        self._system += self._later_system  # nothing of the user's comes before it
        if not self._messages:
            raise Untranslatable("messages has to have a user's message with content", "messages")
        if self._role == "assistant":
            self._strip_prefill()
        return Turns(_joined(self._system), self._messages)

    def _tool_use(self, call: object, path: str) -> dict[str, Any]:
        fields = object_at(call, path)
        if fields.get("type", "function") != "function":
            raise Untranslatable(f"{path}.type has to be function for this model", f"{path}.type")
        function = object_at(fields.get("function"), f"{path}.function")
        fit = self._pairing.call(fields.get("id"), path)
        return _tool_use(fit, function, f"{path}.function")

    def _function_use(self, call: object, path: str) -> dict[str, Any]:
        function = object_at(call, path)
        call_id = _function_id(name_at(function.get("name"), f"{path}.name"))
        return _tool_use(self._pairing.call(call_id, path), function, path)

    def _mark_last(self, made: list[dict[str, Any]], message: dict[str, Any]) -> None:
        """Some clients mark a message instead of its parts."""
        control = message.get("cache_control")
        if control is not None and made and made[-1]["type"] not in _THINKING:
            made[-1]["cache_control"] = control

    def _warn_of_name(self) -> None:
        self._warnings.append(dropped("messages[].name"))

    def _append(self, role: str, content: object, made: list[dict[str, Any]]) -> None:
        if not made:
            return
        if role == self._role:
            self._blocks_of_last().extend(made)
            return
        plain = isinstance(content, str) and made == [{"type": "text", "text": content}]
        self._messages.append({"role": role, "content": content if plain else made})
        self._role, self._results = role, 0

    def _blocks_of_last(self) -> list[dict[str, Any]]:
        last = self._messages[-1]
        if isinstance(last["content"], str):
            last["content"] = [{"type": "text", "text": last["content"]}]
        blocks: list[dict[str, Any]] = last["content"]
        return blocks

    def _place_later_system(self) -> None:
        if self._later_system:
            content = _joined(self._later_system)
            self._messages.append({"role": "system", "content": content})
            self._later_system = []

    def _strip_prefill(self) -> None:
        last = self._messages[-1]
        text = last["content"] if isinstance(last["content"], str) else last["content"][-1]
        if isinstance(text, str):
            stripped = last["content"] = text.rstrip()
        elif text["type"] == "text":
            text = text["text"]
            stripped = text.rstrip()
            last["content"][-1] = last["content"][-1] | {"text": stripped}
        else:
            return
        if stripped != text:
            self._warnings.append(STRIPPED)


def _joined(system: list[dict[str, Any]]) -> str | list[dict[str, Any]] | None:
    if not system:
        return None
    if any("cache_control" in block for block in system):
        return system
    return "\n".join([block["text"] for block in system])


def _function_id(name: str) -> str:
    """Calls by the old fields have no id; the conversation's order makes them unique."""
    return f"function_{name}"


def _tool_use(fit: str, function: dict[str, Any], path: str) -> dict[str, Any]:
    name = name_at(function.get("name"), f"{path}.name")
    arguments = _arguments(function.get("arguments"), f"{path}.arguments")
    return {"type": "tool_use", "id": fit, "name": name, "input": arguments}


def _arguments(text: object, path: str) -> dict[str, Any]:
    if text is None or text == "":
        return {}
    try:
        arguments = _decode(text_at(text, path))
    except MALFORMED:
        arguments = None
    if isinstance(arguments, dict):
        return arguments
    raise Untranslatable(f"{path} has to be the text of a JSON object", path)


def _thinking(message: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """As the provider once sent it: it checks what it signed."""
    kept = message.get("thinking_blocks")
    if kept is None:
        return []
    blocks = list_at(kept, f"{path}.thinking_blocks")
    for place, block in enumerate(blocks):
        at = f"{path}.thinking_blocks[{place}]"
        if object_at(block, at).get("type") not in _THINKING:
            raise Untranslatable(f"{at}.type has to be thinking or redacted_thinking", f"{at}.type")
    return list(blocks)
