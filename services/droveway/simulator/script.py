"""Writes the steps of one reply: a stream, a whole answer, or what a fault sends instead."""

from collections.abc import Iterator

import msgspec

from droveway.simulator.answer import Answer
from droveway.simulator.errors import error_body, refusal
from droveway.simulator.faults import STATUSES, Faults
from droveway.simulator.shapes import Chunk, Kind, chunks, completion
from droveway.simulator.steps import End, Head, Step, Timing, Wait, Write, body_steps

JSON_HEADERS = {"content-type": "application/json"}
SSE_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
HTML = b"<!doctype html><title>Sign in</title><p>Sign in to the network to go on.</p>\n"
MALFORMED = b'{"id":"chatcmpl-malformed","choices":[{"index":0,"delta":{"content":"'
FAILED_HERE = error_body("The simulator was told to fail here.", code="server_error")
BOM = b"\xef\xbb\xbf"

_ENDS = {
    "cut-after": End.RESET,
    "fin-after": End.CLOSE,
    "end-after": End.COMPLETE,
    "stall-after": End.STALL,
    "error-after": End.COMPLETE,
}


def instead_of_answer(faults: Faults) -> Iterator[Step]:
    """Send what `faults.instead` names; it needs no answer."""
    if delay_ms := faults.numbers.get("slow-first-token"):
        yield Wait(delay_ms)
    match faults.instead:
        case status if status in STATUSES:
            retry = {} if faults.retry_after is None else {"retry-after": faults.retry_after}
            body = refusal(int(status)).body
            yield from body_steps(int(status), {**JSON_HEADERS, **retry}, body)
        case "html":
            yield from body_steps(200, {"content-type": "text/html; charset=utf-8"}, HTML)
        case "json-error-200":
            yield from body_steps(200, JSON_HEADERS, FAILED_HERE)
        case "redirect":
            yield from body_steps(302, {"location": "/book"}, b"")
        case "silence":
            yield End.STALL
        case "close-before-headers":
            yield End.CLOSE
        case "reset-after-headers":
            yield Head(status=200, headers=JSON_HEADERS)
            yield End.RESET
        case _:
            yield End.RESET


def stream(answer: Answer, include_usage: bool, faults: Faults, timing: Timing) -> Iterator[Step]:
    """Send the answer as server-sent events, up to where a fault ends it."""
    yield Head(status=200, headers=SSE_HEADERS)
    yield Wait(timing.first_token_ms)
    if "bom" in faults.flags:
        yield Write(data=BOM)
    sent_chunks = 0
    malformed_after = faults.numbers.get("malformed-after")
    for chunk in chunks(answer, include_usage, faults):
        past_content = chunk.kind not in (Kind.ROLE, Kind.CONTENT)
        at_content = chunk.kind is Kind.CONTENT
        if malformed_after is not None and (
            past_content or (at_content and sent_chunks >= malformed_after)
        ):
            yield Write(data=_event(MALFORMED, faults))
            malformed_after = None
        if faults.ending and (past_content or (at_content and sent_chunks >= faults.after_chunks)):
            yield from _stream_end(faults)
            return
        if at_content and sent_chunks:
            yield Wait(timing.token_interval_ms)
        yield _chunk_write(chunk, faults)
        sent_chunks += at_content
    yield End.COMPLETE


def whole(answer: Answer, faults: Faults, timing: Timing) -> Iterator[Step]:
    """Send the answer as one JSON body after the time that its tokens take."""
    tokens = answer.usage.completion_tokens
    yield Wait(timing.first_token_ms + timing.token_interval_ms * max(0, tokens - 1))
    if faults.ending == "error-after":
        yield from body_steps(200, JSON_HEADERS, FAILED_HERE)
        return
    body = _whole_body(answer, faults)
    if faults.ending:
        part = body[: len(body) // 2]
        promised = len(part) if faults.ending == "end-after" else len(body)
        yield Head(status=200, headers=JSON_HEADERS, length=promised)
        yield Write(data=part)
        yield _ENDS[faults.ending]
        return
    usage = None if "no-usage" in faults.flags else answer.usage
    yield Head(status=200, headers=JSON_HEADERS, length=len(body))
    yield Write(data=body, tokens=tokens, usage=usage)
    yield End.COMPLETE


def _whole_body(answer: Answer, faults: Faults) -> bytes:
    body = msgspec.json.encode(completion(answer, faults))
    if "malformed-after" in faults.numbers:
        body = body[: len(body) // 2] + b'"\x00{' + body[len(body) // 2 :]
    if "blank-lines-before-json" in faults.flags:
        body = b"\n\n\n" + body
    if "duplicate" in faults.flags:
        body = body + body
    return BOM + body if "bom" in faults.flags else body


def _stream_end(faults: Faults) -> Iterator[Step]:
    if faults.ending == "error-after":
        yield Write(data=_event(FAILED_HERE, faults))
    yield _ENDS[faults.ending]


def _chunk_write(chunk: Chunk, faults: Faults) -> Write:
    return Write(data=_event(chunk.data, faults), tokens=chunk.tokens, usage=chunk.usage)


def _event(data: bytes, faults: Faults) -> bytes:
    end_of_line = b"\r\n" if "crlf" in faults.flags else b"\n"
    field = b"data:" if "no-space" in faults.flags else b"data: "
    event = field + data + end_of_line * 2
    if "comments" in faults.flags:
        return b": keep-alive" + end_of_line * 2 + event
    return event
