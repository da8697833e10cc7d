"""What holds between turns: who speaks, and tool results right behind the calls they answer."""

from droveway.simulator.anthropic.content import (
    OF_ASSISTANT,
    OF_SYSTEM,
    OF_USER,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    tag,
)
from droveway.simulator.anthropic.request import Message
from droveway.simulator.anthropic.signatures import Signer
from droveway.simulator.errors import ApiError

_ALLOWED = {"user": OF_USER, "assistant": OF_ASSISTANT, "system": OF_SYSTEM}


def check_turns(messages: list[Message], system_turns: bool, signer: Signer) -> None:
    """Refuse a conversation that Anthropic refuses.

    Args:
        messages: the conversation.
        system_turns: whether the API version knows the role system.
        signer: knows which thoughts are the model's.

    Raises:
        ApiError: 400 that names the message.
    """
    if messages[0].role != "user":
        raise _wrong("messages", 'first message must use the "user" role')
    for index, message in enumerate(messages):
        if message.role == "system" and not system_turns:
            raise _wrong(f"messages.{index}.role", "Input should be 'user' or 'assistant'")
        _check_blocks(index, message, index == len(messages) - 1, signer)
    _check_tools(messages)


def check_thought_first(messages: list[Message]) -> None:
    """Refuse a tool loop that goes on without the thought that it began with.

    Raises:
        ApiError: 400 that names the message.
    """
    index = len(messages) - 1
    if messages[index].role == "user" and results(messages[index]):
        index -= 1
    if messages[index].role != "assistant":
        return
    first = messages[index].blocks[:1]
    if not first or not isinstance(first[0], ThinkingBlock | RedactedThinkingBlock):
        found = tag(first[0]) if first else "nothing"
        text = (
            f"Expected `thinking` or `redacted_thinking`, but found `{found}`. When `thinking` is "
            "enabled, a final `assistant` message must start with a thinking block (preceding the "
            "lastmost set of `tool_use` and `tool_result` blocks)."
        )
        raise _wrong(f"messages.{index}.content.0.type", text)


def results(message: Message) -> list[ToolResultBlock]:
    """The tool results of a turn."""
    return [block for block in message.blocks if isinstance(block, ToolResultBlock)]


def check_text(place: str, block: TextBlock) -> None:
    """Refuse a text without words.

    Raises:
        ApiError: 400 that names the block.
    """
    if not block.text:
        raise _wrong(place, "text content blocks must be non-empty")
    if not block.text.strip():
        raise _wrong(place, "text content blocks must contain non-whitespace text")


def _check_blocks(index: int, message: Message, last: bool, signer: Signer) -> None:
    final_assistant = last and message.role == "assistant"
    if not message.content and not final_assistant:
        text = "all messages must have non-empty content except for the optional final assistant"
        raise _wrong(f"messages.{index}", f"{text} message")
    if not message.content:
        return
    for number, block in enumerate(message.blocks):
        place = f"messages.{index}.content.{number}"
        if not isinstance(block, _ALLOWED[message.role]):
            text = f"`{tag(block)}` blocks are not allowed in `{message.role}` messages"
            raise _wrong(place, text)
        if isinstance(block, TextBlock):
            check_text(place, block)
        if isinstance(block, ToolResultBlock) and isinstance(block.content, list):
            for part in block.content:
                if isinstance(part, TextBlock):
                    check_text(place, part)
        _check_thought(place, block, signer)
    final = message.blocks[-1]
    if final_assistant and isinstance(final, TextBlock) and final.text != final.text.rstrip():
        text = "final assistant content cannot end with trailing whitespace"
        raise _wrong("messages", text)


def _check_thought(place: str, block: object, signer: Signer) -> None:
    if isinstance(block, ThinkingBlock) and not signer.signed(block.thinking, block.signature):
        raise _wrong(place, "Invalid `signature` in `thinking` block")
    if isinstance(block, RedactedThinkingBlock) and not signer.redacted(block.data):
        raise _wrong(place, "Invalid `data` in `redacted_thinking` block")


def _check_tools(messages: list[Message]) -> None:
    seen: set[str] = set()
    waiting: list[str] = []
    for index, message in enumerate(messages):
        _check_results(index, message, waiting)
        waiting = [block.id for block in message.blocks if isinstance(block, ToolUseBlock)]
        if seen.intersection(waiting) or len(set(waiting)) != len(waiting):
            raise _wrong(f"messages.{index}", "`tool_use` ids must be unique")
        seen.update(waiting)
    if waiting:
        raise _unanswered(len(messages) - 1, waiting)


def _check_results(index: int, message: Message, waiting: list[str]) -> None:
    given: list[str] = []
    other_before = False
    for number, block in enumerate(message.blocks):
        if not isinstance(block, ToolResultBlock):
            other_before = True
            continue
        place, name = f"messages.{index}.content.{number}", block.tool_use_id
        if name not in waiting:
            text = (
                f"unexpected `tool_use_id` found in `tool_result` blocks: {name}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous "
                "message."
            )
            raise _wrong(place, text)
        if name in given:
            text = "each tool_use must have a single result. Found multiple `tool_result` blocks"
            raise _wrong(place, f"{text} with id: {name}")
        if other_before:
            raise _unanswered(index - 1, [name])
        given.append(name)
    if missing := [name for name in waiting if name not in given]:
        raise _unanswered(index - 1, missing)


def _unanswered(index: int, names: list[str]) -> ApiError:
    text = (
        "`tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(names)}. Each `tool_use` block must have a corresponding `tool_result` block "
        "in the next message."
    )
    return _wrong(f"messages.{index}", text)


def _wrong(place: str, text: str) -> ApiError:
    return ApiError(400, f"{place}: {text}")
