"""A pending request's frames as any door takes them, and what the journal and the client learn."""

from droveway.contracts import relay
from droveway.gateway.adapted import Frames
from droveway.gateway.answers import Headers
from droveway.gateway.journal import Journal
from droveway.gateway.refusal import Refusal
from droveway.runtime.deadline import Deadline

Terminal = relay.Completed | relay.Interrupted


async def take_whole(
    pending: Frames, deadline: Deadline, journal: Journal
) -> tuple[bytes, relay.Completed]:
    """The body of an answer that isn't streamed, and its terminal, once all of it is there.

    Raises:
        AskFailed: No attempt committed.
        ClientGone: The client has left.
        Refusal: The answer was cut; the client has seen nothing of it.
    """
    frame = await pending.first(deadline.remaining_s() + 1)
    pieces: list[bytes] = []
    while not isinstance(frame, relay.Completed):
        if isinstance(frame, relay.Interrupted):
            raise cut_before_it_began(frame, journal)
        if frame is not None:
            journal.saw(frame.origin)
            pieces.extend(frame.events)
        frame = await pending.next(deadline.remaining_s() + 1)
    journal.saw(frame.origin)
    journal.end(frame)
    return b"".join((*pieces, frame.body)), frame


def cut_before_it_began(frame: relay.Interrupted, journal: Journal) -> Refusal:
    """The refusal of an answer that was cut when its client had seen nothing of it."""
    journal.end(frame)
    return Refusal(frame.failure, spent=journal.continuations > 0)


def take_ready(
    frame: relay.Frame, pending: Frames, journal: Journal
) -> tuple[list[bytes], Terminal | None]:
    """The events of `frame` and of all that are there as well, and the terminal if it is too."""
    events: list[bytes] = []
    ready: relay.Frame | None = frame
    while ready is not None:
        if not isinstance(ready, relay.Chunk):
            journal.events += len(events)
            return events, ready
        if ready.origin is not None:
            journal.saw(ready.origin)
        events.extend(ready.events)
        ready = pending.next_ready()
    journal.events += len(events)
    return events, None


def origin_of(frame: relay.Frame) -> relay.Origin | None:
    """Who answers, if the frame says so."""
    return None if isinstance(frame, relay.Interrupted) else frame.origin


def served_headers(journal: Journal) -> Headers:
    """Who answered, how long it took here, and what the provider didn't get."""
    headers: Headers = []
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
    warnings = (*journal.warnings, *(origin.warnings if origin else ()))
    headers += [(b"x-droveway-warning", _header_value(one)) for one in warnings]
    return headers


def whole_headers(journal: Journal) -> Headers:
    """What is known besides when an answer that isn't streamed goes out: its time, its tokens."""
    return [
        (b"x-droveway-duration-ms", b"%d" % (journal.elapsed_us() // 1000)),
        (b"x-droveway-cached-tokens", b"%d" % journal.usage.cache_read_tokens),
    ]


def _header_value(text: str) -> bytes:
    """A provider's words as a header value: printable ASCII, bounded."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:200]).encode()
