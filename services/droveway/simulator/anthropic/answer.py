"""What the model answers to a message: thoughts, text and calls as blocks, and why it ends."""

import msgspec

from droveway.simulator.anthropic.content import TextBlock
from droveway.simulator.anthropic.request import MessageRequest, Prompt
from droveway.simulator.anthropic.signatures import Signer
from droveway.simulator.anthropic.turns import results
from droveway.simulator.faults import Faults
from droveway.simulator.speech import Function, Question, Speech, chosen
from droveway.simulator.tokens import MessagesUsage

THINKING_TOKENS = 16
MAGIC_REDACTED = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING"
MAGIC_REFUSAL = "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL"
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Thought(msgspec.Struct, frozen=True):
    """A thinking block in pieces, one a token."""

    pieces: list[str]
    signature: str


class Redacted(msgspec.Struct, frozen=True):
    """A thinking block that isn't shown."""

    data: str


class Said(msgspec.Struct, frozen=True):
    """A text block in pieces, one a token."""

    pieces: list[str]


class Called(msgspec.Struct, frozen=True):
    """A tool_use block; its input in pieces, none if the tool takes nothing."""

    id: str
    name: str
    pieces: list[str]


Part = Thought | Redacted | Said | Called


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer; how it is sent is decided elsewhere."""

    id: str
    model: str
    parts: list[Part]
    stop_reason: str
    stop_sequence: str | None
    usage: MessagesUsage


def question(request: MessageRequest, faults: Faults) -> Question:
    """What is asked, in no dialect."""
    text = question_text(request)
    output_format = request.output_config and request.output_config.format
    thinks = request.thinking is not None and request.thinking.type != "disabled"
    return Question(
        text=text,
        functions=_called(request, text),
        schema=output_format.schema if output_format else None,
        stops=tuple(request.stop_sequences or ()),
        limit_tokens=request.max_tokens,
        reasoning_tokens=faults.numbers.get("reasoning", THINKING_TOKENS) if thinks else 0,
        said=_said(request),
    )


def _said(prompt: Prompt) -> str:
    last = prompt.messages[-1]
    if last.role != "assistant":
        return ""
    return "".join(block.text for block in last.blocks if isinstance(block, TextBlock))


def question_text(prompt: Prompt) -> str:
    """The text of the last user message."""
    for message in reversed(prompt.messages):
        if message.role == "user":
            return "".join(block.text for block in message.blocks if isinstance(block, TextBlock))
    return ""


def parts(
    request: MessageRequest, speech: Speech, serial: str, signer: Signer, faults: Faults
) -> list[Part]:
    """Put what is said into blocks."""
    said: list[Part] = []
    if speech.reasoning:
        thinking = "".join(speech.reasoning)
        if "redacted-thinking" in faults.flags or MAGIC_REDACTED in question_text(request):
            said.append(Redacted(signer.redact(thinking)))
        if request.thinking and request.thinking.display == "omitted":
            said.append(Thought([], signer.sign("")))
        else:
            said.append(Thought(speech.reasoning, signer.sign(thinking)))
    if speech.pieces:
        said.append(Said(speech.pieces))
    for number, call in enumerate(speech.calls):
        pieces = [] if call.takes_nothing else call.pieces
        said.append(Called(f"toolu_{serial}_{number}", call.name, pieces))
    return said


def stop_reason(request: MessageRequest, speech: Speech, faults: Faults) -> str:
    """Say why the answer ends here."""
    if faults.finish:
        return faults.finish
    if MAGIC_REFUSAL in question_text(request):
        return "refusal"
    return _STOP_REASONS.get(speech.end, speech.end)


def _called(request: MessageRequest, text: str) -> list[Function]:
    """Choose the tools to call; none unless the user has the word and gave no result with it."""
    last, choice = request.messages[-1], request.tool_choice
    functions = [Function(tool.name, tool.input_schema) for tool in request.tools or []]
    if last.role != "user" or results(last) or (choice and choice.type == "none"):
        return []
    if choice and choice.type == "tool":
        return [function for function in functions if function.name == choice.name]
    return chosen(functions, text, not (choice and choice.disable_parallel_tool_use))
