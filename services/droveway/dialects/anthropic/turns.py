"""An Anthropic conversation as chat messages.

    system              one system message first; later ones where they stand
    user                tool messages for its tool_result blocks, then a user message for the rest
    assistant           assistant: text as content, tool_use as tool_calls, thinking kept aside

Turns of one role in a row become one, as they do there, so that results follow their calls.
"""

from typing import Any

import msgspec

from droveway.dialects.anthropic import blocks as anthropic_blocks
from droveway.dialects.anthropic.request_fields import list_at, name_at, object_at, text_at
from droveway.dialects.anthropic.tool_pairing import ToolPairing
from droveway.dialects.untranslatable import Untranslatable

_encode = msgspec.json.Encoder().encode


def chat_messages(system: object, messages: object, warnings: list[str]) -> list[dict[str, Any]]:
    """The conversation as chat messages; `warnings` gets what was dropped.

    Raises:
        Untranslatable: A block has no equivalent, or a tool call and its result don't pair.
    """
    conversation = _Conversation(warnings)
    conversation.add_system(system, "system")
    for place, message in enumerate(list_at(messages, "messages")):
        path = f"messages[{place}]"
        fields = object_at(message, path)
        match fields.get("role"):
            case "user":
                conversation.add_user(fields.get("content"), path)
            case "assistant":
                conversation.add_assistant(fields.get("content"), path)
            case "system":
                conversation.add_later_system(fields.get("content"), path)
            case _:
                raise Untranslatable(
                    f"{path}.role has to be one of user, assistant, system", f"{path}.role"
                )
    return conversation.close()


class _Conversation:
    def __init__(self, warnings: list[str]) -> None:
        self._warnings = warnings
        self._messages: list[dict[str, Any]] = []
        self._turn: list[dict[str, Any]] = []
        """Parts of the user's turn that are no results; its message comes when it ends."""
        self._assistant: dict[str, Any] | None = None
        """The last message, while it may still grow."""
        self._texts: list[dict[str, Any]] = []
        """Its parts; content once it has ended, since copying them at each turn is quadratic."""
        self._thoughts: list[str] = []
        self._pairing = ToolPairing()

    def add_system(self, content: object, path: str) -> None:
        if content is None:
            return
        blocks = [] if isinstance(content, str) else list_at(content, path)
        for place, block in enumerate(blocks):
            self._require_text(block, f"{path}[{place}]")
        self._append_system({"content": content}, path)

    def add_later_system(self, content: object, path: str) -> None:
        self._end_turn()
        self._pairing.end_turn()
        if isinstance(content, list):
            for place, block in enumerate(content):
                self._require_text(block, f"{path}.content[{place}]")
        self._append_system({"content": content}, path)

    def add_user(self, content: object, path: str) -> None:
        self._end_assistant()
        if isinstance(content, str):
            self._turn += anthropic_blocks.parts(content, path, self._warnings)
            return
        for place, block in enumerate(anthropic_blocks.block_list(content, path)):
            at = f"{path}.content[{place}]"
            fields = object_at(block, at)
            if fields.get("type") == "tool_result":
                self._add_result(fields, at)
            else:
                self._turn += anthropic_blocks.part(fields, at, self._warnings)

    def add_assistant(self, content: object, path: str) -> None:
        if self._assistant is None:
            self._end_turn()
            self._pairing.end_turn()
            self._assistant = {"role": "assistant", "content": None}
            self._messages.append(self._assistant)
        if isinstance(content, str):
            self._texts += anthropic_blocks.parts(content, path, self._warnings)
            return
        for place, block in enumerate(anthropic_blocks.block_list(content, path)):
            self._add_block(block, f"{path}.content[{place}]", self._assistant)

    def close(self) -> list[dict[str, Any]]:
        self._end_turn()
        self._pairing.end_turn()
        return [message for message in self._messages if _says_something(message)]

    def _require_text(self, block: object, at: str) -> None:
        if object_at(block, at).get("type") != "text":
            raise Untranslatable(f"{at}.type has to be text", f"{at}.type")

    def _append_system(self, fields: dict[str, Any], path: str) -> None:
        made = anthropic_blocks.parts(fields["content"], path, self._warnings)
        if not made:
            return
        marked = any("cache_control" in part for part in made)
        content = made if marked else "\n".join([part["text"] for part in made])
        self._messages.append({"role": "system", "content": content})

    def _add_result(self, block: dict[str, Any], at: str) -> None:
        self._pairing.result(block.get("tool_use_id"), at, "tool_use_id")
        made = anthropic_blocks.parts(block.get("content"), at, self._warnings)
        texts = [part for part in made if part["type"] == "text"]
        self._turn += [part for part in made if part["type"] != "text"]  # tools answer in text only
        if texts and (control := block.get("cache_control")) is not None:
            texts[-1]["cache_control"] = control
        message: dict[str, Any] = {
            "role": "tool",
            "tool_call_id": block["tool_use_id"],
            "content": anthropic_blocks.shortest(texts),
        }
        if block.get("is_error") is True:
            message["is_error"] = True
        self._messages.append(message)

    def _add_block(self, block: object, at: str, message: dict[str, Any]) -> None:
        fields = object_at(block, at)
        match fields.get("type"):
            case "text":
                self._texts += anthropic_blocks.part(fields, at, self._warnings)
            case "tool_use":
                message.setdefault("tool_calls", []).append(self._tool_call(fields, at))
            case "thinking":
                message.setdefault("thinking_blocks", []).append(block)
                if thought := text_at(fields.get("thinking"), f"{at}.thinking"):
                    self._thoughts.append(thought)
            case "redacted_thinking":
                message.setdefault("thinking_blocks", []).append(block)
            case _:
                raise Untranslatable(
                    f"{at}.type has to be one of text, tool_use, thinking, redacted_thinking for"
                    " this model",
                    f"{at}.type",
                )

    def _tool_call(self, block: dict[str, Any], at: str) -> dict[str, Any]:
        self._pairing.call(block.get("id"), at)
        name = name_at(block.get("name"), f"{at}.name")
        arguments = _encode(object_at(block.get("input"), f"{at}.input")).decode()
        function = {"name": name, "arguments": arguments}
        return {"id": block["id"], "type": "function", "function": function}

    def _end_assistant(self) -> None:
        if (message := self._assistant) is None:
            return
        if self._texts:
            message["content"] = anthropic_blocks.shortest(self._texts)
        if self._thoughts:
            message["reasoning_content"] = "\n".join(self._thoughts)
        self._assistant, self._texts, self._thoughts = None, [], []

    def _end_turn(self) -> None:
        self._end_assistant()
        if self._turn:
            content = anthropic_blocks.shortest(self._turn)
            self._messages.append({"role": "user", "content": content})
            self._turn = []


def _says_something(message: dict[str, Any]) -> bool:
    """An assistant's turn without a block may end a request; chat has no word for it."""
    return message["role"] != "assistant" or len(message) > 2 or message["content"] is not None
