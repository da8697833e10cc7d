"""OpenAI's chunks of a chat completion, exact or as sloppy as a fault asks."""

from collections.abc import Iterator
from itertools import zip_longest

import msgspec

from droveway.simulator.delivery import Event, Kind
from droveway.simulator.faults import Faults
from droveway.simulator.openai.chat_whole import (
    Answer,
    Json,
    call,
    call_id,
    envelope,
    extras,
    finish_reason,
    logprobs,
    worded,
)
from droveway.simulator.speech import Speech

_DONE = b"[DONE]"
_PROMPT_FILTER: Json = {
    "id": "",
    "object": "",
    "created": 0,
    "model": "",
    "choices": [],
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
}


class Delta(msgspec.Struct, frozen=True):
    """A piece of one choice."""

    content: Json
    tokens: int
    logprobs: Json | None = None


def chunks(answer: Answer, include_usage: bool, faults: Faults) -> Iterator[Event]:
    """Shape an answer's stream: roles, content, finishes, usage if asked for, `[DONE]`."""
    shaper = _Shaper(answer, include_usage, faults)
    times = 2 if "two-terminals" in faults.flags else 1
    if "prompt-filter" in faults.flags:
        yield shaper.event(Kind.AROUND, msgspec.json.encode(_PROMPT_FILTER))
    if "no-role-chunk" not in faults.flags:
        for index, choice in enumerate(answer.choices):
            yield shaper.chunk(Kind.AROUND, index, Delta(_role_delta(choice, faults), 0))
    yield from shaper.content()
    if "no-finish" not in faults.flags:
        for index, choice in enumerate(answer.choices):
            yield from [shaper.finish(index, choice)] * times
    if include_usage and "no-usage" not in faults.flags:
        yield shaper.usage()
    if "no-done" not in faults.flags:
        yield from [Event(kind=Kind.TERMINAL, data=_DONE)] * times
    if "after-done" in faults.flags:
        yield shaper.chunk(Kind.TERMINAL, 0, Delta({"content": "after"}, 0))


class _Shaper:
    """Fills the envelope that all chunks of one stream share."""

    def __init__(self, answer: Answer, include_usage: bool, faults: Faults) -> None:
        self._answer = answer
        self._faults = faults
        self._include_usage = include_usage
        self._sent_tokens = 0
        self._sent_chunks = 0
        self._envelope = envelope(answer, "chat.completion.chunk", faults)

    def content(self) -> Iterator[Event]:
        """Interleave the choices' deltas, as they come from one batch."""
        padding = self._faults.numbers.get("huge-line", 0)
        copies = 2 if "duplicate" in self._faults.flags else 1
        streams = (
            _deltas(self._answer, index, choice, self._faults)
            for index, choice in enumerate(self._answer.choices)
        )
        for row in zip_longest(*streams):
            for index, delta in enumerate(row):
                if delta is None:
                    continue
                self._sent_tokens += delta.tokens
                extra: Json = {"obfuscation": "x" * padding} if padding else {}
                padding = 0
                yield self.chunk(Kind.CONTENT, index, delta, extra)
                for _ in range(copies - 1):
                    uncounted = Delta(delta.content, 0, delta.logprobs)
                    yield self.chunk(Kind.CONTENT, index, uncounted, extra)

    def chunk(self, kind: Kind, index: int, delta: Delta, extra: Json | None = None) -> Event:
        choice = {
            "index": index,
            "delta": delta.content,
            "logprobs": delta.logprobs,
            "finish_reason": None,
        }
        return self.event(kind, self._encoded([choice], extra), delta.tokens)

    def finish(self, index: int, choice: Speech) -> Event:
        delta: Json = {"content": None} if "null-content" in self._faults.flags else {}
        shaped: Json = {"index": index, "delta": delta, "logprobs": None}
        shaped["finish_reason"] = finish_reason(choice, self._faults)
        if "delta-missing" in self._faults.flags:
            del shaped["delta"]
        return self.event(Kind.TERMINAL, self._encoded([shaped], extras(self._faults)))

    def usage(self) -> Event:
        usage = self._answer.usage
        body = {**self._envelope, "choices": [], "usage": worded(usage, self._faults)}
        return Event(kind=Kind.TERMINAL, data=msgspec.json.encode(body), usage=usage)

    def event(self, kind: Kind, data: bytes, tokens: int = 0) -> Event:
        name = "message" if "event-lines" in self._faults.flags else None
        return Event(kind=kind, data=data, name=name, tokens=tokens)

    def _encoded(self, choices: list[Json], extra: Json | None) -> bytes:
        body: Json = {**self._envelope, "choices": choices, **(extra or {})}
        if "new-id-per-chunk" in self._faults.flags:
            self._sent_chunks += 1
            body["id"] = f"chatcmpl-{self._answer.serial}-{self._sent_chunks}"
        if "usage-everywhere" in self._faults.flags:
            body["usage"] = self._running_usage()
        elif self._include_usage:
            body["usage"] = None
        return msgspec.json.encode(body)

    def _running_usage(self) -> Json:
        prompt_tokens = self._answer.usage.prompt_tokens
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self._sent_tokens,
            "total_tokens": prompt_tokens + self._sent_tokens,
        }


def _role_delta(choice: Speech, faults: Faults) -> Json:
    silent = (choice.calls and not choice.pieces) or "null-content" in faults.flags
    delta: Json = {"role": "assistant", "content": None if silent else "", "refusal": None}
    if "no-role" in faults.flags:
        del delta["role"]
    return delta


def _deltas(answer: Answer, index: int, choice: Speech, faults: Faults) -> Iterator[Delta]:
    for piece in choice.reasoning:
        yield Delta({"reasoning_content": piece}, 1)
    for piece in choice.pieces:
        yield Delta({"content": piece}, 1, logprobs(answer, [piece]))
    for number, called in enumerate(choice.calls):
        place: Json = {} if "tool-index-missing" in faults.flags else {"index": number}
        name = call_id(answer, index, number)
        if "whole-calls" in faults.flags:
            shaped = call(name, called.name, "".join(called.pieces), faults)
            yield Delta({"tool_calls": [{**place, **shaped}]}, len(called.pieces))
            continue
        yield Delta({"tool_calls": [{**place, **call(name, called.name, "", faults)}]}, 0)
        for piece in called.pieces:
            yield Delta({"tool_calls": [{**place, "function": {"arguments": piece}}]}, 1)
