"""Why an answer ended, in each dialect's words: one table per direction.

Source: OpenAI API reference, chat completions; Anthropic API reference, messages; DeepSeek,
Zhipu, Mistral and vLLM API references; 2026-11.
"""

from droveway.dialects.events import FINISHES, Finished

_CHAT_RELATIVES = {
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    # The provider gave up in the middle: as after `length`, what there is isn't all.
    "insufficient_system_resource": "length",
    "network_error": "length",
    "abort": "length",
    "error": "length",
    "safety": "content_filter",
    "recitation": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
}
"""Words of providers that speak OpenAI's dialect otherwise; `function_call` was OpenAI's own."""

_FROM_ANTHROPIC = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_TO_ANTHROPIC = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def from_chat(word: str) -> tuple[str, str]:
    """One of `FINISHES` if any fits, and the provider's own word where it differs from that."""
    if word in FINISHES and word != "function_call":
        return word, ""
    known = _CHAT_RELATIVES.get(word.lower())
    if known is None:
        lower = word.lower()
        return (lower, word) if lower in FINISHES else (word, "")
    return known, word


def from_anthropic(word: str) -> tuple[str, str]:
    """One of `FINISHES` if any fits, and Anthropic's own word where it differs from that."""
    known = _FROM_ANTHROPIC.get(word)
    return (word, "") if known is None else (known, word)


def to_chat(reason: str) -> str:
    """A `finish_reason` that chat clients know; unknown words end an answer like any other."""
    return reason if reason in FINISHES else "stop"


def to_anthropic(finished: Finished | None, *, refused: bool, calls: bool) -> str:
    """The `stop_reason` of an answer.

    Args:
        finished: How it ended; None if that was never told.
        refused: It has a text by which the model declines.
        calls: It has tool calls. A client runs them only after `tool_use`, while some providers
            of chat completions say `stop` there.
    """
    if refused:
        return "refusal"
    if finished is None:
        return "end_turn"
    if finished.native in _FROM_ANTHROPIC:
        return finished.native
    if finished.reason == "stop" and finished.stop_sequence is not None:
        return "stop_sequence"
    if finished.reason == "stop" and calls:
        return "tool_use"
    return _TO_ANTHROPIC.get(finished.reason, "end_turn")
