"""What the OpenAI SDK and its like demand of a stream of the Responses API, as one checker.

Source: openai-python 3.54, `lib/streaming/responses`; OpenAI API reference, 2026-11.
"""

import json
from collections.abc import Sequence
from typing import Any

PIECES = {
    "response.output_text": ("content_index", "text"),
    "response.refusal": ("content_index", "refusal"),
    "response.reasoning_summary_text": ("summary_index", "text"),
}
PARTS = {
    "response.content_part": ("content_index", "content"),
    "response.reasoning_summary_part": ("summary_index", "summary"),
}
TERMINALS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}


class Item:
    """An item of the output as a client builds it from events."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.added = item
        self.done: dict[str, Any] | None = None
        self.parts: list[dict[str, Any]] = []
        self.open_part: int | None = None
        self.text_done = False
        self.arguments = ""
        self.arguments_done: str | None = None


class Checker:
    """Takes events one by one; asserts that each may come where it does."""

    def __init__(self) -> None:
        self.count = 0
        self.response_id = ""
        self.items: list[Item] = []
        self.final: dict[str, Any] | None = None
        self.told_error = False

    def take(self, data: bytes) -> None:
        event = json.loads(data)
        name = event["type"]
        assert data.startswith(b'{"type":"' + name.encode() + b'"')
        assert event["sequence_number"] == self.count
        assert self.final is None, "nothing comes after the end"
        if self.count < 2:
            assert name == ("response.created", "response.in_progress")[self.count]
        self.count += 1
        if "response" in event:
            self._lifecycle(name, event["response"])
        elif name == "error":
            self.told_error = True
        elif name.startswith("response.output_item."):
            self._item(name, event)
        else:
            item = self._open_item(event)
            stem, _, verb = name.rpartition(".")
            if stem in PARTS:
                self._part(item, stem, verb, event)
            elif stem == "response.function_call_arguments":
                self._arguments(item, verb, event)
            else:
                self._piece(item, stem, verb, event)

    def _lifecycle(self, name: str, response: dict[str, Any]) -> None:
        self.response_id = self.response_id or response["id"]
        assert response["id"] == self.response_id
        if name not in TERMINALS:
            assert response["status"] == "in_progress"
            assert response["output"] == []
            return
        self.final = response
        assert response["status"] == TERMINALS[name]
        if name == "response.failed":
            assert self.told_error
            return
        assert response["output"] == [item.done for item in self.items], "all done, and alike"
        assert response["usage"] is not None

    def _item(self, name: str, event: dict[str, Any]) -> None:
        index, item = event["output_index"], event["item"]
        if name.endswith(".added"):
            assert index == len(self.items), "an index is never used twice"
            assert item["id"] not in [other.added["id"] for other in self.items]
            self.items.append(Item(item))
            empty = {"message": "content", "reasoning": "summary", "function_call": "arguments"}
            assert not item[empty[item["type"]]]
            return
        known = self.items[index]
        assert known.done is None
        assert known.open_part is None
        for field in ("id", "type", "role", "name", "call_id"):
            assert item.get(field) == known.added.get(field)
        match item["type"]:
            case "function_call":
                assert item["arguments"] == known.arguments == known.arguments_done
            case "message":
                assert item["content"] == known.parts
                assert item["content"]
            case "reasoning":
                assert item["summary"] == known.parts
        if item["type"] != "reasoning":
            assert known.added["status"] == "in_progress"
            assert item["status"] in ("completed", "incomplete")
        known.done = item

    def _open_item(self, event: dict[str, Any]) -> Item:
        assert event["output_index"] < len(self.items), "content comes after its item"
        item: Item = self.items[event["output_index"]]
        assert item.done is None
        assert item.added["id"] == event["item_id"]
        return item

    def _part(self, item: Item, stem: str, verb: str, event: dict[str, Any]) -> None:
        index = event[PARTS[stem][0]]
        if verb == "added":
            assert item.open_part is None
            assert index == len(item.parts)
            item.parts.append(event["part"])
            item.open_part, item.text_done = index, False
            return
        assert verb == "done"
        assert item.open_part == index
        assert item.text_done
        assert item.parts[index] == event["part"]
        item.open_part = None

    def _piece(self, item: Item, stem: str, verb: str, event: dict[str, Any]) -> None:
        index_field, field = PIECES[stem]
        assert item.open_part == event[index_field]
        part = item.parts[event[index_field]]
        if verb == "delta":
            assert not item.text_done
            part[field] += event["delta"]
            part.get("logprobs", []).extend(event.get("logprobs", []))
            return
        assert verb == "done"
        assert event[field] == part[field]
        assert event.get("logprobs") == part.get("logprobs")
        item.text_done = True

    def _arguments(self, item: Item, verb: str, event: dict[str, Any]) -> None:
        assert item.added["type"] == "function_call"
        assert item.arguments_done is None
        if verb == "delta":
            item.arguments += event["delta"]
        else:
            assert verb == "done"
            item.arguments_done = event["arguments"]


def checked(events: Sequence[bytes]) -> dict[str, Any]:
    """The response that a complete stream ends with."""
    checker = Checker()
    for data in events:
        checker.take(data)
    assert checker.final is not None
    return checker.final
