"""Legacy completions as chat completions: one prompt becomes one user message.

What a chat can't say is refused by name: several prompts, tokens, echo, the best of several, text
to go before a suffix. Source: OpenAI API reference, completions (legacy), 2026-11.
"""

from typing import Any

from droveway.dialects.anthropic.request_fields import dropped
from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.chat.checks import SAMPLING, check_stream_options
from droveway.dialects.field_checks import (
    Check,
    boolean,
    check_fields,
    check_model,
    integer,
    string,
    wrong,
)
from droveway.dialects.untranslatable import Translated, Untranslatable

MAX_PROMPTS = 2_048
"""Elements of `prompt`, unless they are tokens."""
MAX_LOGPROBS = 5
MAX_BEST_OF = 20

_CAPS = ChatCaps()
_PROMPT = "one string that is not empty, or an array of one"
_CHAT_ONLY = frozenset(
    {
        "messages", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call",
        "modalities", "audio", "top_logprobs",
    }
)  # fmt: skip
"""Fields whose answers have no place in a text completion."""
_UNSAID = frozenset({"suffix", "best_of", "echo"})
"""Fields that pass only with the value that they have when absent."""


def check(request: dict[str, Any], caps: ChatCaps = _CAPS) -> None:
    """Check the fields of a legacy completion request; others are left to the provider.

    Raises:
        Untranslatable: With the field as `param`.
    """
    check_model(request.get("model"), caps)
    _check_prompt(request.get("prompt"))
    check_fields(request, _CHECKS, caps)
    if request.get("stream_options") is not None:
        check_stream_options(request, caps)


def to_chat(request: dict[str, Any]) -> Translated:
    """The chat completion request for a checked legacy one.

    Raises:
        Untranslatable: It asks for what no chat completion does.
    """
    text = _only_prompt(request.get("prompt"))
    _check_unsaid(request)
    body: dict[str, Any] = {}
    warnings = []
    for name, value in request.items():
        if name == "prompt":
            body["messages"] = [{"role": "user", "content": text}]
        elif name == "logprobs":
            if value is not None:
                warnings.append(dropped(name, "has another form in chat completions"))
        elif name in _CHAT_ONLY:
            if value is not None:
                warnings.append(dropped(name, "is no parameter of text completions"))
        elif name not in _UNSAID:
            body[name] = value
    return Translated(body, tuple(warnings))


def _only_prompt(prompt: object) -> str:
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return prompt
    if isinstance(prompt, list) and len(prompt) > 1 and all(isinstance(one, str) for one in prompt):
        message = f"`prompt` must be {_PROMPT}; send {len(prompt)} requests for {len(prompt)}."
        raise Untranslatable(message, "prompt")
    if isinstance(prompt, list | int):
        message = f"`prompt` must be {_PROMPT}: models behind this gateway take text, no tokens."
        raise Untranslatable(message, "prompt")
    raise wrong("prompt", prompt, _PROMPT)


def _check_unsaid(request: dict[str, Any]) -> None:
    if request.get("suffix"):
        message = "`suffix` must be absent or empty: a chat model can't write what goes before it."
        raise Untranslatable(message, "suffix")
    if request.get("echo"):
        message = "`echo` must be false or absent; put the prompt before the answer yourself."
        raise Untranslatable(message, "echo")
    if request.get("best_of") not in (None, 1):
        message = "`best_of` must be 1 or absent; ask for `n` answers and choose one."
        raise Untranslatable(message, "best_of")


def _check_prompt(prompt: object) -> None:
    if isinstance(prompt, str):
        return
    if not isinstance(prompt, list) or not prompt:
        raise wrong("prompt", prompt, _PROMPT)
    if type(prompt[0]) is int:
        _check_tokens("prompt", prompt)
        return
    if len(prompt) > MAX_PROMPTS:
        raise wrong("prompt", prompt, f"an array of at most {MAX_PROMPTS} strings")
    for index, one in enumerate(prompt):
        if isinstance(one, list):
            _check_tokens(f"prompt[{index}]", one)
        elif not isinstance(one, str):
            raise wrong(f"prompt[{index}]", one, "a string")


def _check_tokens(param: str, tokens: list[Any]) -> None:
    if any(type(token) is not int for token in tokens):
        raise wrong(param, tokens, "an array of tokens only")


def _logprobs(param: str, value: Any, _caps: ChatCaps) -> None:
    integer(param, value, 0, MAX_LOGPROBS)


def _best_of(param: str, value: Any, _caps: ChatCaps) -> None:
    integer(param, value, 1, MAX_BEST_OF)


_CHECKS: dict[str, Check] = SAMPLING | {
    "suffix": string,
    "echo": boolean,
    "logprobs": _logprobs,
    "best_of": _best_of,
}
