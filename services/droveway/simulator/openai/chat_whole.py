"""OpenAI's chat completion, exact or, where a fault asks for it, sloppy as real upstreams are.

Source: openai-python 3.54, `types/chat`.
"""

import msgspec

from droveway.simulator.faults import Faults
from droveway.simulator.speech import Call, Speech
from droveway.simulator.tokens import Usage

Json = dict[str, object]

_FINISH_REASONS = {"stop_sequence": "stop"}
_TIMINGS = {"prompt_n": 1, "prompt_ms": 1.5, "predicted_n": 1, "predicted_ms": 2.5}
_THOUGHT = {"google": {"thought_signature": "c2lnbmF0dXJlIG9mIGEgdGhvdWdodA=="}}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer; how it is sent is decided elsewhere."""

    serial: str
    created: int
    model: str
    choices: list[Speech]
    usage: Usage
    top_logprobs: int | None
    """How many alternatives stand beside each token; none: no log probabilities at all."""


def completion(answer: Answer, faults: Faults) -> bytes:
    """Encode a whole answer."""
    body = envelope(answer, "chat.completion", faults)
    body["choices"] = [
        _choice(answer, index, choice, faults) for index, choice in enumerate(answer.choices)
    ]
    if "no-usage" not in faults.flags:
        body["usage"] = worded(answer.usage, faults)
    if huge := faults.numbers.get("huge-line"):
        body["obfuscation"] = "x" * huge
    return msgspec.json.encode({**body, **extras(faults)})


def envelope(answer: Answer, name: str, faults: Faults) -> Json:
    """What a completion and each chunk have in common."""
    body: Json = {
        "id": f"chatcmpl-{answer.serial}",
        "object": name,
        "created": answer.created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }
    if "no-id" in faults.flags:
        del body["id"]
    if "int-created-missing" in faults.flags:
        del body["created"]
    return body


def extras(faults: Faults) -> Json:
    """What llama.cpp adds where an answer ends."""
    return {"timings": _TIMINGS} if "timings" in faults.flags else {}


def worded(usage: Usage, faults: Faults) -> Usage | Json:
    """Put the usage into the provider's words."""
    if "deepseek-usage" not in faults.flags:
        return usage
    cached_tokens = usage.prompt_tokens_details.cached_tokens
    reasoning_tokens = usage.completion_tokens_details.reasoning_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_cache_hit_tokens": cached_tokens,
        "prompt_cache_miss_tokens": usage.prompt_tokens - cached_tokens,
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens},
    }


def finish_reason(choice: Speech, faults: Faults) -> str:
    """Say why the answer ends here."""
    return faults.finish or _FINISH_REASONS.get(choice.end, choice.end)


def call(call_id: str, name: str, arguments: str, faults: Faults) -> Json:
    """Shape a call, or the first piece of one."""
    function = {"name": name, "arguments": arguments}
    thought: Json = {"extra_content": _THOUGHT} if "thought-signature" in faults.flags else {}
    return {"id": call_id, "type": "function", "function": function, **thought}


def call_id(answer: Answer, index: int, number: int) -> str:
    """Name a call after its answer, its choice and its place."""
    return f"call_{answer.serial}_{index}_{number}"


def logprobs(answer: Answer, pieces: list[str]) -> Json | None:
    """Say how sure each token was; the first alternative is the token itself."""
    if answer.top_logprobs is None:
        return None
    return {"content": [_logprob(piece, answer.top_logprobs) for piece in pieces], "refusal": None}


def _logprob(piece: str, alternatives: int) -> Json:
    def token(text: str, logprob: float) -> Json:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    top = [token(piece if n == 0 else f"{piece}{n}", -0.25 - n) for n in range(alternatives)]
    return {**token(piece, -0.25), "top_logprobs": top}


def _choice(answer: Answer, index: int, choice: Speech, faults: Faults) -> Json:
    silent = (choice.calls and not choice.pieces) or "null-content" in faults.flags
    message: Json = {
        "role": "assistant",
        "content": None if silent else "".join(choice.pieces),
        "refusal": None,
        "annotations": [],
    }
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.calls:
        message["tool_calls"] = [
            _whole_call(answer, index, number, called, faults)
            for number, called in enumerate(choice.calls)
        ]
    if "no-role" in faults.flags:
        del message["role"]
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs(answer, choice.pieces),
        "finish_reason": None if "no-finish" in faults.flags else finish_reason(choice, faults),
    }


def _whole_call(answer: Answer, index: int, number: int, called: Call, faults: Faults) -> Json:
    return call(call_id(answer, index, number), called.name, "".join(called.pieces), faults)
