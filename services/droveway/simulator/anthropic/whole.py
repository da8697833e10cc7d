"""A message as Anthropic answers it."""

import msgspec

from droveway.simulator.anthropic.answer import Answer, Called, Part, Redacted, Said, Thought
from droveway.simulator.faults import Faults
from droveway.simulator.tokens import MessagesUsage

Json = dict[str, object]


def message(answer: Answer, faults: Faults) -> bytes:
    """Encode a whole answer."""
    body = envelope(answer, faults)
    ended = "no-finish" not in faults.flags
    silent = "null-content" in faults.flags
    body["content"] = None if silent else [_block(part) for part in answer.parts]
    body["stop_reason"] = answer.stop_reason if ended else None
    body["stop_sequence"] = answer.stop_sequence
    if "no-usage" not in faults.flags:
        body["usage"] = answer.usage
    if huge := faults.numbers.get("huge-line"):
        body["padding"] = "x" * huge
    return msgspec.json.encode(body)


def envelope(answer: Answer, faults: Faults) -> Json:
    """What a message and the head of a stream have in common."""
    body: Json = {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    if "no-id" in faults.flags:
        del body["id"]
    if "no-role" in faults.flags:
        del body["role"]
    return body


def with_output(usage: MessagesUsage, output_tokens: int) -> MessagesUsage:
    """The same prompt with another count of the answer."""
    return msgspec.structs.replace(usage, output_tokens=output_tokens, output_tokens_details=None)


def _block(part: Part) -> Json:
    match part:
        case Thought(pieces, signature):
            return {"type": "thinking", "thinking": "".join(pieces), "signature": signature}
        case Redacted(data):
            return {"type": "redacted_thinking", "data": data}
        case Said(pieces):
            return {"type": "text", "text": "".join(pieces)}
        case Called(name_of_call, name, pieces):
            given = _input("".join(pieces))
            return {"type": "tool_use", "id": name_of_call, "name": name, "input": given}


def _input(pieces: str) -> object:
    try:
        return msgspec.json.decode(pieces) if pieces else {}
    except msgspec.DecodeError:
        # A call that max_tokens cut has no input yet.
        return {}
