"""How hard a model thinks: OpenAI's one word, Anthropic's effort and thinking.

    reasoning_effort none        thinking disabled
    reasoning_effort minimal     effort low
    the others                   the same effort
    thinking with a budget       the effort nearest to it

Source: OpenAI API reference, chat completions; Anthropic, effort, extended thinking, 2026-11.
"""

from collections.abc import Collection
from typing import Any

from droveway.dialects.anthropic.request_fields import dropped, object_at
from droveway.dialects.untranslatable import Untranslatable

EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
"""What `output_config.effort` may be; each model knows some of them."""

MEDIUM_FROM_TOKENS = 4_096
"""Budgets of thinking below mean a low effort."""

HIGH_FROM_TOKENS = 16_384
"""Budgets of thinking from here on mean a high effort."""

_WORDS = EFFORTS | {"none", "minimal"}


def put_effort(
    request: dict[str, Any],
    body: dict[str, Any],
    output_config: dict[str, Any],
    warnings: list[str],
    efforts: Collection[str],
) -> None:
    """Adds a chat request's wish to an Anthropic body; `efforts` are those that the model knows.

    Raises:
        Untranslatable: The wish isn't one that there is.
    """
    effort, thinking = request.get("reasoning_effort"), request.get("thinking")
    if thinking is not None:
        body["thinking"] = object_at(thinking, "thinking")
        if effort == _effort_of(body["thinking"]):
            return
    if effort is None:
        return
    if not isinstance(effort, str) or effort not in _WORDS:
        raise Untranslatable(
            "reasoning_effort has to be one of none, minimal, low, medium, high, xhigh, max",
            "reasoning_effort",
        )
    if effort == "none":
        body.setdefault("thinking", {"type": "disabled"})
        return
    known = "low" if effort == "minimal" else effort
    if known not in efforts and "high" in efforts:
        warnings.append(f"reasoning_effort {known} is unknown to the model and became high")
        known = "high"
    if known in efforts:
        output_config["effort"] = known
    else:
        warnings.append(dropped("reasoning_effort", "is unknown to the model"))


def reasoning_effort(thinking: object, effort: object) -> str | None:
    """The word for an Anthropic request's wish; none if it has none.

    Raises:
        Untranslatable: The wish isn't one that there is.
    """
    told = None if thinking is None else _effort_of(object_at(thinking, "thinking"))
    if effort is None or told == "none":
        return told
    if isinstance(effort, str) and effort in EFFORTS:
        return effort
    raise Untranslatable(
        "output_config.effort has to be one of low, medium, high, xhigh, max",
        "output_config.effort",
    )


def _effort_of(thinking: dict[str, Any]) -> str | None:
    if thinking.get("type") == "disabled":
        return "none"
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int):
        return None
    if budget < MEDIUM_FROM_TOKENS:
        return "low"
    return "medium" if budget < HIGH_FROM_TOKENS else "high"
