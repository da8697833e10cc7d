"""Tool calls of a chat completion's choice, told apart although providers number them differently.

A piece belongs to a call by what it has of these:
1. an id that was seen before: that call, unless the index is new;
2. any other id: a new call, even where all of them say index 0;
3. an index that is new: a new call;
4. no id, but a name, while the call at that index has no id either: a new call if the name
   differs, or if that one's arguments are complete and here are more;
5. else it continues the call at its index; without an index, the latest.
"""

import msgspec

from droveway.contracts.envelope import MALFORMED
from droveway.dialects.chat.answer import Call
from droveway.dialects.events import Event, ToolArguments, ToolBegun


class _Tool:
    __slots__ = ("arguments", "name", "number", "wire_id")

    def __init__(self, number: int, wire_id: str, name: str) -> None:
        self.number = number
        self.wire_id = wire_id
        """As the provider has it: empty where it gave none."""
        self.name = name
        self.arguments: list[str] = []
        """Of a call without id all pieces, else the first."""

    def take(self, piece: str) -> None:
        if not self.wire_id or not self.arguments:
            self.arguments.append(piece)

    def is_complete(self) -> bool:
        text = "".join(self.arguments)
        if not text.endswith("}"):
            return False
        try:
            msgspec.json.decode(text)
        except MALFORMED:
            return False
        return True


class ToolCalls:
    """The calls of one choice, as a stream tells them piece by piece."""

    def __init__(self, choice: int, response_id: str) -> None:
        self._choice = choice
        self._seed = "".join(filter(str.isalnum, response_id.removeprefix("chatcmpl-")))
        self._tools: list[_Tool] = []
        self._by_index: dict[int, _Tool] = {}
        self._by_id: dict[str, _Tool] = {}

    def read_piece(self, call: Call) -> list[Event]:
        """A piece of a stream."""
        tool = self._continued(call)
        return self.read_call(call) if tool is None else self._more(tool, call)

    def read_call(self, call: Call) -> list[Event]:
        """A call that isn't part of any before it."""
        name = (call.function.name if call.function else None) or ""
        tool = _Tool(len(self._tools), call.id or "", name)
        self._tools.append(tool)
        if call.index is not None:
            self._by_index[call.index] = tool
        if call.id:
            self._by_id[call.id] = tool
        call_id = call.id or self._made_id(tool.number)
        return [ToolBegun(tool.number, call_id, name, self._choice), *self._more(tool, call)]

    def close(self) -> list[Event]:
        """Calls without arguments get an empty object: all that clients parse must be JSON."""
        return [
            ToolArguments(tool.number, "{}", self._choice)
            for tool in self._tools
            if not tool.arguments
        ]

    def _continued(self, call: Call) -> _Tool | None:
        at = self._by_index.get(call.index) if call.index is not None else self._latest()
        if call.id:  # cases 1 and 2
            seen = self._by_id.get(call.id)
            return seen if at is not None else None
        if at is None or at.wire_id:  # cases 3 and 5
            return at
        function = call.function  # cases 4 and 5
        if function is None or not function.name:
            return at
        another = function.name != at.name or (function.arguments and at.is_complete())
        return None if another else at

    def _latest(self) -> _Tool | None:
        return self._tools[-1] if self._tools else None

    def _more(self, tool: _Tool, call: Call) -> list[Event]:
        piece = call.function.arguments_text() if call.function else ""
        if not piece:
            return []
        tool.take(piece)
        return [ToolArguments(tool.number, piece, self._choice)]

    def _made_id(self, number: int) -> str:
        """An id for a call that has none, as different from other answers' as the answer's own."""
        return f"call_{self._seed}_{self._choice}_{number}"
