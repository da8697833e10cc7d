"""When an answer's bytes leave, and where a fault ends them; every dialect is delivered so."""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum

import msgspec

from droveway.simulator.fault_names import FLOOD_MIB, REFUSALS, STATUSES
from droveway.simulator.faults import Faults
from droveway.simulator.floods import flood, with_odd_bytes
from droveway.simulator.steps import (
    End,
    Head,
    Raw,
    Reported,
    Step,
    Timing,
    Wait,
    Write,
    body_steps,
)

JSON_HEADERS = {"content-type": "application/json"}
SSE_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
HTML = b"<!doctype html><title>Sign in</title><p>Sign in to the network to go on.</p>\n"
BOM = b"\xef\xbb\xbf"
JUNK = b"this is no chunk\r\n"

_ENDS = {
    "cut-after": End.RESET,
    "fin-after": End.CLOSE,
    "end-after": End.COMPLETE,
    "stall-after": End.STALL,
    "error-after": End.COMPLETE,
    "junk-after": End.CLOSE,
    "flood-after": End.COMPLETE,
}


class Kind(Enum):
    """Which part of a stream an event is."""

    AROUND = "opens, heads or divides content"
    CONTENT = "content"
    TERMINAL = "comes after all content"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a stream."""

    kind: Kind
    data: bytes
    name: str | None = None
    """The `event:` field; none: there is none."""
    tokens: int = 0
    usage: Reported = None


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect says where its answer fails."""

    refusal: Callable[[str], tuple[int, bytes]]
    """Status and body of a status or of one of REFUSALS."""
    failed_whole: bytes
    failed_event: Event
    malformed: Event


def instead_of_answer(faults: Faults, words: Words) -> Iterator[Step]:
    """Send what `faults.instead` names; it needs no answer."""
    if delay_ms := faults.numbers.get("slow-first-token"):
        yield Wait(delay_ms)
    match faults.instead:
        case name if name in STATUSES or name in REFUSALS:
            retry = {} if faults.retry_after is None else {"retry-after": faults.retry_after}
            status, body = words.refusal(name)
            yield from body_steps(status, {**JSON_HEADERS, **retry}, body)
        case "html":
            yield from body_steps(200, {"content-type": "text/html; charset=utf-8"}, HTML)
        case "json-error-200":
            yield from body_steps(200, JSON_HEADERS, words.failed_whole)
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


def stream(events: Iterable[Event], words: Words, faults: Faults, timing: Timing) -> Iterator[Step]:
    """Send the answer as server-sent events, up to where a fault ends it."""
    yield Head(status=200, headers=SSE_HEADERS)
    yield Wait(timing.first_token_ms)
    if "bom" in faults.flags:
        yield Write(data=BOM)
    sent = 0
    malformed_after = faults.numbers.get("malformed-after")
    for event in events:
        at_content = event.kind is Kind.CONTENT
        past_content = event.kind is Kind.TERMINAL
        if malformed_after is not None and (
            past_content or (at_content and sent >= malformed_after)
        ):
            yield _write(words.malformed, faults)
            malformed_after = None
        if faults.ending and (past_content or (at_content and sent >= faults.after_chunks)):
            if faults.ending == "error-after":
                yield _write(words.failed_event, faults)
            yield from _without_end(faults, stream=True)
            yield _ENDS[faults.ending]
            return
        if at_content and sent:
            yield Wait(timing.token_interval_ms)
        yield _write(event, faults)
        sent += at_content
    yield End.COMPLETE


def whole(
    body: bytes, tokens: int, usage: Reported, words: Words, faults: Faults, timing: Timing
) -> Iterator[Step]:
    """Send the answer as one JSON body after the time that its tokens take."""
    yield Wait(timing.first_token_ms + timing.token_interval_ms * max(0, tokens - 1))
    if faults.ending == "error-after":
        yield from body_steps(200, JSON_HEADERS, words.failed_whole)
        return
    body = _sloppy_body(body, faults)
    if faults.ending in ("junk-after", "flood-after"):
        yield Head(status=200, headers=JSON_HEADERS)
        yield Write(data=b" ")  # the head leaves with the first bytes of the body
        yield from _without_end(faults, stream=False)
        yield _ENDS[faults.ending]
        return
    if faults.ending:
        part = body[: len(body) // 2]
        promised = len(part) if faults.ending == "end-after" else len(body)
        yield Head(status=200, headers=JSON_HEADERS, length=promised)
        yield Write(data=part)
        yield _ENDS[faults.ending]
        return
    yield Head(status=200, headers=JSON_HEADERS, length=len(body))
    yield Write(data=body, tokens=tokens, usage=None if "no-usage" in faults.flags else usage)
    yield End.COMPLETE


def _without_end(faults: Faults, *, stream: bool) -> Iterator[Step]:
    if faults.ending == "junk-after":
        yield Raw(data=JUNK)
    elif faults.ending == "flood-after":
        mib = faults.numbers.get("mib", FLOOD_MIB)
        yield from (Write(data=data) for data in flood(faults.flood, mib, stream=stream))


def _sloppy_body(body: bytes, faults: Faults) -> bytes:
    body = with_odd_bytes(body, faults.odd)
    if "malformed-after" in faults.numbers:
        body = body[: len(body) // 2] + b'"\x00{' + body[len(body) // 2 :]
    if "blank-lines-before-json" in faults.flags:
        body = b"\n\n\n" + body
    if "duplicate" in faults.flags:
        body = body + body
    return BOM + body if "bom" in faults.flags else body


def _write(event: Event, faults: Faults) -> Write:
    end_of_line = b"\r\n" if "crlf" in faults.flags else b"\r" if "cr" in faults.flags else b"\n"
    colon = b":" if "no-space" in faults.flags else b": "
    said = with_odd_bytes(event.data, faults.odd) if event.kind is Kind.CONTENT else event.data
    data = b"data" + colon + said + end_of_line * 2
    if event.name is not None and "no-event-lines" not in faults.flags:
        data = b"event" + colon + event.name.encode() + end_of_line + data
    if "stray-lines" in faults.flags:
        data = b"stray" + end_of_line + b"x-field: 1" + end_of_line + data
    if "comments" in faults.flags:
        data = b": keep-alive" + end_of_line * 2 + data
    return Write(data=data, tokens=event.tokens, usage=event.usage)
