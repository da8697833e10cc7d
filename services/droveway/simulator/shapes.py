"""OpenAI's chat shapes, exact or, where a fault asks for it, sloppy as real upstreams are.

Source: openai-python 3.54, `types/chat`.
"""

from collections.abc import Iterator
from enum import Enum
from itertools import zip_longest

import msgspec

from droveway.simulator.answer import Answer, Choice
from droveway.simulator.faults import Faults
from droveway.simulator.tokens import Usage

Json = dict[str, object]


class Kind(Enum):
    """Which part of a stream a chunk is."""

    ROLE = "role"
    CONTENT = "content"
    FINISH = "finish"
    USAGE = "usage"
    DONE = "done"


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One `data:` event."""

    kind: Kind
    data: bytes
    tokens: int = 0
    usage: Usage | None = None


def completion(answer: Answer, faults: Faults) -> Json:
    """Shape a whole answer."""
    body = _envelope(answer, "chat.completion", faults)
    body["choices"] = [_whole_choice(choice, faults) for choice in answer.choices]
    if "no-usage" not in faults.flags:
        body["usage"] = answer.usage
    if huge := faults.numbers.get("huge-line"):
        body["obfuscation"] = "x" * huge
    return body


def chunks(answer: Answer, include_usage: bool, faults: Faults) -> Iterator[Chunk]:
    """Shape an answer's stream: roles, content, finishes, usage if asked for, `[DONE]`."""
    shaper = _Shaper(answer, include_usage, faults)
    times = 2 if "two-terminals" in faults.flags else 1
    for choice in answer.choices:
        yield shaper.chunk(Kind.ROLE, choice, _role_delta(choice, faults))
    yield from shaper.content()
    if "no-finish" not in faults.flags:
        for choice in answer.choices:
            yield from [shaper.finish(choice)] * times
    if include_usage and "no-usage" not in faults.flags:
        yield shaper.usage()
    if "no-done" not in faults.flags:
        yield from [Chunk(kind=Kind.DONE, data=b"[DONE]")] * times
    if "after-done" in faults.flags:
        yield shaper.chunk(Kind.DONE, answer.choices[0], {"content": "after"})


class _Shaper:
    """Fills the envelope that all chunks of one stream share."""

    def __init__(self, answer: Answer, include_usage: bool, faults: Faults) -> None:
        self._answer = answer
        self._faults = faults
        self._include_usage = include_usage
        self._sent_tokens = 0
        self._envelope = _envelope(answer, "chat.completion.chunk", faults)

    def content(self) -> Iterator[Chunk]:
        """Interleave the choices' deltas, as they come from one batch."""
        padding = self._faults.numbers.get("huge-line", 0)
        copies = 2 if "duplicate" in self._faults.flags else 1
        for row in zip_longest(*(_deltas(choice) for choice in self._answer.choices)):
            for choice, pair in zip(self._answer.choices, row, strict=True):
                if pair is None:
                    continue
                delta, tokens = pair
                self._sent_tokens += tokens
                extra: Json = {"obfuscation": "x" * padding} if padding else {}
                padding = 0
                for copy in range(copies):
                    counted = tokens if copy == 0 else 0
                    yield self.chunk(Kind.CONTENT, choice, delta, counted, extra)

    def chunk(
        self, kind: Kind, choice: Choice, delta: Json, tokens: int = 0, extra: Json | None = None
    ) -> Chunk:
        shaped = {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": None}
        return self._encode(kind, [shaped], tokens=tokens, extra=extra)

    def finish(self, choice: Choice) -> Chunk:
        delta: Json = {"content": None} if "null-content" in self._faults.flags else {}
        shaped: Json = {"index": choice.index, "delta": delta, "logprobs": None}
        shaped["finish_reason"] = choice.finish_reason
        if "delta-missing" in self._faults.flags:
            del shaped["delta"]
        return self._encode(Kind.FINISH, [shaped])

    def usage(self) -> Chunk:
        data = msgspec.json.encode({**self._envelope, "choices": [], "usage": self._answer.usage})
        return Chunk(kind=Kind.USAGE, data=data, usage=self._answer.usage)

    def _encode(
        self, kind: Kind, choices: list[Json], tokens: int = 0, extra: Json | None = None
    ) -> Chunk:
        body: Json = {**self._envelope, "choices": choices, **(extra or {})}
        if "usage-everywhere" in self._faults.flags:
            body["usage"] = self._running_usage()
        elif self._include_usage:
            body["usage"] = None
        return Chunk(kind=kind, data=msgspec.json.encode(body), tokens=tokens)

    def _running_usage(self) -> Json:
        prompt_tokens = self._answer.usage.prompt_tokens
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self._sent_tokens,
            "total_tokens": prompt_tokens + self._sent_tokens,
        }


def _envelope(answer: Answer, name: str, faults: Faults) -> Json:
    body: Json = {
        "id": answer.id,
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


def _whole_choice(choice: Choice, faults: Faults) -> Json:
    empty = choice.calls or "null-content" in faults.flags
    message: Json = {
        "role": "assistant",
        "content": None if empty else "".join(choice.pieces),
        "refusal": None,
        "annotations": [],
    }
    if choice.calls:
        message["tool_calls"] = [
            _call(call.id, call.name, "".join(call.pieces)) for call in choice.calls
        ]
    if "no-role" in faults.flags:
        del message["role"]
    reason = None if "no-finish" in faults.flags else choice.finish_reason
    return {"index": choice.index, "message": message, "logprobs": None, "finish_reason": reason}


def _role_delta(choice: Choice, faults: Faults) -> Json:
    empty = choice.calls or "null-content" in faults.flags
    delta: Json = {"role": "assistant", "content": None if empty else "", "refusal": None}
    if "no-role" in faults.flags:
        del delta["role"]
    return delta


def _deltas(choice: Choice) -> Iterator[tuple[Json, int]]:
    for piece in choice.pieces:
        yield {"content": piece}, 1
    for index, call in enumerate(choice.calls):
        yield {"tool_calls": [{"index": index, **_call(call.id, call.name, "")}]}, 0
        for piece in call.pieces:
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, 1


def _call(call_id: str, name: str, arguments: str) -> Json:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}
