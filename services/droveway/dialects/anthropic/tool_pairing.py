"""Which of a conversation's tool calls wait for their results, message by message.

Both dialects want each call answered once, right after the turn that made it; a provider's refusal
of anything else names no cause, ours does. Anthropic also wants ids of its own alphabet that are
never used twice, so ids of other providers get fitting ones, the same in each request.
"""

import re

from droveway.dialects.untranslatable import Untranslatable

_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
"""What an id may not have. Source: Anthropic's error for `tool_use.id`, 2026-11."""


class ToolPairing:
    """The calls and results of one conversation, told in their order."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, str]] = {}
        """Original id to fitting id and path, of calls without a result."""
        self._answered: set[str] = set()
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}
        """The last number that was put behind an id; some providers begin anew in each turn."""

    def call(self, call_id: object, path: str) -> str:
        """Takes in a call; its id as Anthropic takes it.

        Raises:
            Untranslatable: It has no id, or that of another call of the same turn.
        """
        if not isinstance(call_id, str) or not call_id:
            raise Untranslatable(f"{path}.id has to be a string that isn't empty", f"{path}.id")
        if call_id in self._waiting:
            raise Untranslatable(f"{path}.id is that of another call of this turn", f"{path}.id")
        fit = base = _UNFIT.sub("_", call_id)
        while fit in self._used:
            count = self._counts[base] = self._counts.get(base, 1) + 1
            fit = f"{base}_{count}"
        self._used.add(fit)
        self._waiting[call_id] = fit, path
        return fit

    def result(self, call_id: object, path: str, field: str) -> str:
        """Takes in a call's result; the id as Anthropic takes it.

        Raises:
            Untranslatable: The turn before made no such call, or it already has its result.
        """
        if isinstance(call_id, str):
            if (known := self._waiting.pop(call_id, None)) is not None:
                self._answered.add(call_id)
                return known[0]
            if call_id in self._answered:
                raise Untranslatable(f"{path} is a second result of the same tool call", path)
        raise Untranslatable(
            f"{path}.{field} names no tool call of the turn before it; a result has to follow the"
            " turn that made the call",
            path,
        )

    def end_turn(self) -> None:
        """The user's turn is over: nothing may wait any more.

        Raises:
            Untranslatable: A call has no result.
        """
        for _, path in self._waiting.values():
            raise Untranslatable(
                f"{path} has no result; one has to follow directly after its turn", path
            )
        self._answered.clear()
