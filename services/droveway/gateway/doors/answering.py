"""A pending request's frames as the client's answer: one JSON body, or server-sent events."""

from droveway.contracts import relay
from droveway.gateway import answers, sse
from droveway.gateway.answers import Headers
from droveway.gateway.doors.exchange import Exchange
from droveway.gateway.journal import Journal
from droveway.gateway.pending import Pending
from droveway.gateway.refusal import Refusal
from droveway.runtime.deadline import Deadline


async def answer_whole(
    pending: Pending, deadline: Deadline, exchange: Exchange, journal: Journal
) -> None:
    """One JSON answer, once all of it is there.

    Raises:
        AskFailed: No attempt committed.
        ClientGone: The client has left.
        Refusal: The answer was cut; the client has seen nothing of it.
    """
    frame = await pending.first(deadline.remaining_s() + 1)
    pieces: list[bytes] = []
    while not isinstance(frame, relay.Completed):
        if isinstance(frame, relay.Interrupted):
            journal.end(frame)
            raise Refusal(frame.failure)
        if frame is not None:
            journal.saw(frame.origin)
            pieces.extend(frame.events)
        frame = await pending.next(deadline.remaining_s() + 1)
    journal.saw(frame.origin)
    journal.end(frame)
    body = b"".join((*pieces, frame.body))
    journal.answer_bytes, journal.events = len(body), 1
    journal.status = 200
    headers = [*_served_headers(journal, pending), *_usage_headers(frame.usage)]
    journal.mark("first_byte")
    await exchange.answer(200, body, headers)


async def answer_stream(
    pending: Pending, patience_s: float, exchange: Exchange, journal: Journal
) -> None:
    """Server-sent events as they come; the headers go out with the first of them.

    After `patience_s` seconds without one the client gets its headers and a comment.

    Raises:
        AskFailed: No attempt committed.
        ClientGone: The client has left.
        Refusal: The answer was cut before its first event.
    """
    frame = await pending.first(patience_s)
    if isinstance(frame, relay.Interrupted):
        journal.end(frame)
        raise Refusal(frame.failure)
    journal.status = 200
    if frame is None:
        await exchange.start(200, [*sse.HEADERS, *answers.window_headers(pending.window)])
        while frame is None:
            await exchange.write(sse.KEEP_ALIVE)
            frame = await pending.first(patience_s)
    else:
        journal.saw(_origin(frame))
        await exchange.start(200, [*sse.HEADERS, *_served_headers(journal, pending)])
    while True:
        data, terminal = _gather(frame, pending, journal) if frame else (sse.KEEP_ALIVE, None)
        journal.mark("first_byte")
        if isinstance(terminal, relay.Interrupted):
            journal.end(terminal)
            await exchange.write(
                data
                + sse.frame([answers.error_body(terminal.failure, request_id=exchange.request_id)])
            )
            return  # the body stays without its last chunk: no client takes it for whole
        if terminal is not None:
            journal.end(terminal)
            await exchange.write(data + sse.DONE, last=True)
            return
        await exchange.write(data)
        frame = await pending.next(patience_s)


def _gather(
    frame: relay.Frame, pending: Pending, journal: Journal
) -> tuple[bytes, relay.Completed | relay.Interrupted | None]:
    """All frames that are there, as one write, and the terminal if it is among them."""
    pieces: list[bytes] = []
    ready: relay.Frame | None = frame
    terminal: relay.Completed | relay.Interrupted | None = None
    while ready is not None:
        if not isinstance(ready, relay.Chunk):
            terminal = ready
            break
        if ready.origin is not None:
            journal.saw(ready.origin)
        pieces.append(sse.frame(ready.events))
        journal.events += len(ready.events)
        ready = pending.next_ready()
    data = b"".join(pieces)
    journal.answer_bytes += len(data)
    return data, terminal


def _origin(frame: relay.Frame) -> relay.Origin | None:
    return None if isinstance(frame, relay.Interrupted) else frame.origin


def _served_headers(journal: Journal, pending: Pending) -> Headers:
    headers = answers.window_headers(pending.window)
    elapsed_us = journal.elapsed_us()
    headers.append((b"openai-processing-ms", b"%d" % (elapsed_us // 1000)))
    headers.append((b"x-droveway-trace-id", journal.span.trace_id.hex().encode()))
    if (origin := journal.origin) is not None:
        overhead_us = max(0, elapsed_us - origin.upstream_us)
        headers += [
            (b"x-droveway-provider", origin.provider.encode()),
            (b"x-droveway-model", _header_value(origin.model)),
            (b"x-droveway-attempts", b"%d" % origin.attempt),
            (b"x-droveway-overhead-ms", b"%.2f" % (overhead_us / 1000)),
        ]
    return headers


def _usage_headers(usage: relay.Usage) -> Headers:
    return [(b"x-droveway-cached-tokens", b"%d" % usage.cache_read_tokens)]


def _header_value(text: str) -> bytes:
    """A provider's words as a header value: printable ASCII, bounded."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:200]).encode()
