"""A pending request's answer over HTTP: one JSON body, or server-sent events."""

from collections.abc import Callable

from droveway.contracts import relay
from droveway.gateway import sse
from droveway.gateway.adapted import Frames
from droveway.gateway.answers import Headers
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.taking import (
    cut_before_it_began,
    origin_of,
    served_headers,
    take_ready,
    take_whole,
    whole_headers,
)
from droveway.gateway.journal import Journal
from droveway.runtime.deadline import Deadline

Amend = Callable[[bytes, int], bytes]
"""Takes a whole answer's body, and the milliseconds that it took; gives the body to send."""


async def answer_own(
    exchange: Exchange, journal: Journal, body: bytes, headers: Headers | None = None
) -> None:
    """One JSON answer that the gateway gives by itself."""
    journal.finish(200)
    await exchange.answer(200, body, headers or [])


async def answer_whole(
    pending: Frames,
    deadline: Deadline,
    exchange: Exchange,
    journal: Journal,
    amend: Amend | None = None,
) -> None:
    """One JSON answer, once all of it is there.

    Args:
        pending: Where its frames come from.
        deadline: When it is given up.
        exchange: Where it goes.
        journal: What notes it.
        amend: Adds to its body what some clients want beyond the API.

    Raises:
        AskFailed: No attempt committed.
        ClientGone: The client has left.
        Refusal: The answer was cut; the client has seen nothing of it.
    """
    body, _ = await take_whole(pending, deadline, journal)
    if amend is not None:
        body = amend(body, journal.elapsed_us() // 1000)
    journal.answer_bytes, journal.events = len(body), 1
    journal.status = 200
    headers = [
        *exchange.face.standing_headers(pending.standing),
        *served_headers(journal),
        *whole_headers(journal),
    ]
    journal.mark("first_byte")
    await exchange.answer(200, body, headers)


async def answer_stream(
    pending: Frames, patience_s: float, exchange: Exchange, journal: Journal
) -> None:
    """Server-sent events as they come; the headers go out with the first of them.

    After `patience_s` seconds without one the client gets its headers and a comment.

    Raises:
        AskFailed: No attempt committed.
        ClientGone: The client has left.
        Refusal: The answer was cut before its first event.
    """
    face = exchange.face
    frame = await pending.first(patience_s)
    if isinstance(frame, relay.Interrupted):
        raise cut_before_it_began(frame, journal)
    journal.status = 200
    if frame is None:
        await exchange.start(200, [*sse.HEADERS, *face.standing_headers(pending.standing)])
        while frame is None:
            await exchange.write(sse.KEEP_ALIVE)
            frame = await pending.first(patience_s)
    else:
        journal.saw(origin_of(frame))
        limits = face.standing_headers(pending.standing)
        await exchange.start(200, [*sse.HEADERS, *limits, *served_headers(journal)])
    while True:
        events, terminal = take_ready(frame, pending, journal) if frame else ([], None)
        data = face.frame(events) if frame else sse.KEEP_ALIVE
        journal.answer_bytes += len(data) if frame else 0
        journal.mark("first_byte")
        if isinstance(terminal, relay.Interrupted):
            journal.end(terminal)
            if not pending.told_cut:
                data += face.error_event(terminal.failure, request_id=exchange.request_id)
            await exchange.write(data)
            return  # the body stays without its last chunk: no client takes it for whole
        if terminal is not None:
            journal.end(terminal)
            await exchange.write(data + face.ends_with, last=True)
            return
        await exchange.write(data)
        frame = await pending.next(patience_s)
