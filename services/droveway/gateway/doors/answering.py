"""A pending request's answer over HTTP: one JSON body, or server-sent events."""

from droveway.contracts import relay
from droveway.gateway import sse
from droveway.gateway.adapted import Frames
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.doors.taking import (
    origin_of,
    served_headers,
    take_ready,
    take_whole,
    usage_headers,
)
from droveway.gateway.journal import Journal
from droveway.gateway.refusal import Refusal
from droveway.runtime.deadline import Deadline


async def answer_whole(
    pending: Frames, deadline: Deadline, exchange: Exchange, journal: Journal
) -> None:
    """One JSON answer, once all of it is there.

    Raises:
        AskFailed: No attempt committed.
        ClientGone: The client has left.
        Refusal: The answer was cut; the client has seen nothing of it.
    """
    body, terminal = await take_whole(pending, deadline, journal)
    journal.answer_bytes, journal.events = len(body), 1
    journal.status = 200
    headers = [
        *exchange.face.window_headers(pending.window),
        *served_headers(journal),
        *usage_headers(terminal.usage),
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
        journal.end(frame)
        raise Refusal(frame.failure)
    journal.status = 200
    if frame is None:
        await exchange.start(200, [*sse.HEADERS, *face.window_headers(pending.window)])
        while frame is None:
            await exchange.write(sse.KEEP_ALIVE)
            frame = await pending.first(patience_s)
    else:
        journal.saw(origin_of(frame))
        window = face.window_headers(pending.window)
        await exchange.start(200, [*sse.HEADERS, *window, *served_headers(journal)])
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
