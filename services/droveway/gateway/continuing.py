"""One answer, out of several if need be: what breaks off is asked anew, of another target.

A whole answer that broke off on its way is asked again: its client has nothing of it. A stream is
gone on with where its route says so and its dialect's join can; that is one more publication of
the same request, which names the target that broke off, the router that had it, and what was said.
Where only the caller is gone, killed or replaced, another one may ask the same target again; once
more callers have died of it, that target is to blame.
"""

import logging
import time
from collections.abc import Callable

import msgspec

from droveway.contracts import relay
from droveway.contracts.inference import InferenceRequested, Standing
from droveway.dialects import dialect
from droveway.dialects.anthropic.join import MessagesJoin
from droveway.dialects.chat.join import ChatJoin
from droveway.dialects.estimate import BYTES_PER_TOKEN
from droveway.dialects.joining import Join
from droveway.dialects.usage_shapes import added
from droveway.gateway.journal import Journal
from droveway.gateway.pending import AskFailed, Pending
from droveway.gateway.remainder import Broken, Original, is_to_blame
from droveway.gateway.witness import Lost, lost_answer
from droveway.otel.logs import log_event

log = logging.getLogger(__name__)

Ask = Callable[[InferenceRequested], Pending]
_JOINS: dict[str, Callable[[], Join]] = {dialect.CHAT: ChatJoin, dialect.MESSAGES: MessagesJoin}


class Continuing:
    """Stands where a `Pending` would: the same frames, with the usage of all answers."""

    told_cut = False
    """A cut that stays one is for the door to tell."""

    def __init__(self, ask: Ask, asked: Original, journal: Journal) -> None:
        self._ask = ask
        self._asked = asked
        self._journal = journal
        self._asked_s = time.monotonic()
        """When the answer at hand was asked for."""
        self._part = ask(asked.request)
        self._parts = [self._part]
        self._begun = False
        """The answer at hand has."""
        self._origin: relay.Origin | None = None
        self._join: Join | None = None
        self._pieces: list[bytes] = []
        """Of a whole answer, of which its client sees nothing before its end."""
        self._broken: Broken | None = None
        self._before: relay.Usage | None = None
        """What answers took that broke off."""
        self._said_bytes = 0
        """By those, of text."""
        self._gone = False

    @property
    def standing(self) -> Standing | None:
        """Where the client stands in its limits, once known."""
        heard = (part.standing for part in reversed(self._parts))
        return next((standing for standing in heard if standing is not None), None)

    @property
    def accepted(self) -> bool:
        """Whether a router took it."""
        return self._parts[0].accepted

    @property
    def accepted_s(self) -> float:
        """When it was taken first, by the monotonic clock; 0 before."""
        return self._parts[0].accepted_s

    def client_gone(self) -> None:
        """The client has left; whoever waits for a frame is told."""
        self._gone = True
        self._part.client_gone()

    def publish(self) -> None:
        """Hands the request to the routers.

        Raises:
            AskFailed: The bus doesn't take it.
        """
        self._part.publish()

    async def first(self, within_s: float) -> relay.Frame | None:
        """See `Pending.first`."""
        return await self.next(within_s)

    async def next(self, within_s: float) -> relay.Frame | None:
        """See `Pending.next`.

        Raises:
            AskFailed: The router refused, or there is none; not once an answer has begun.
            ClientGone: The client has left.
        """
        until_s = time.monotonic() + within_s
        while True:
            take = self._part.next if self._begun else self._part.first
            try:
                frame = await take(max(0.0, until_s - time.monotonic()))
            except AskFailed as error:
                if self._broken is None:
                    raise
                return self._given_up(self._broken, error)
            if frame is None:
                return None
            if (shown := self._shown(frame)) is not None:
                return shown

    def next_ready(self) -> relay.Frame | None:
        """A further frame that is there already, for the same write."""
        while self._begun and (frame := self._part.next_ready()) is not None:
            if (shown := self._shown(frame)) is not None:
                return shown
        return None

    def close(self) -> None:
        """Ends it; an answer that hasn't ended is cancelled all the way to the provider."""
        self._part.close()

    def _shown(self, frame: relay.Frame) -> relay.Frame | None:
        """The frame as the door is to see it; None: it is to see nothing of it."""
        self._begun = True
        match frame:
            case relay.Chunk():
                return self._chunk(frame)
            case relay.Completed():
                body = b"".join((*self._pieces, frame.body)) if self._pieces else frame.body
                return msgspec.structs.replace(frame, usage=self._all(frame.usage), body=body)
            case relay.Interrupted():
                return self._interrupted(frame)

    def _interrupted(self, frame: relay.Interrupted) -> relay.Interrupted | None:
        """It broke off: the end as the door is to see it; None if somebody goes on."""
        origin = self._origin
        broken = None if origin is None else self._broken_off(frame, origin)
        goes_on = broken is not None and self._may_go_on(broken, origin)
        if origin is not None and self._part.caller_gone and (goes_on or self._broken is not None):
            self._tell_of_lost(frame, origin)
        if broken is None or not goes_on:
            used = frame.usage if self._broken is None else self._used(frame.usage)
            return msgspec.structs.replace(frame, usage=self._all(used))
        return self._go_on(broken)

    def _may_go_on(self, broken: Broken, origin: relay.Origin | None) -> bool:
        """Whether anybody may; a stream's router says, for each attempt, if there may be more."""
        streams = self._asked.request.stream
        if self._gone or (streams and not (origin is not None and origin.continuable)):
            return False
        return self._asked.may_go_on(broken, self._join)

    def _chunk(self, frame: relay.Chunk) -> relay.Chunk | None:
        if (origin := frame.origin) is not None:
            self._origin = origin
            if origin.continuable and self._join is None and self._asked.request.stream:
                self._join = _JOINS[self._asked.request.dialect]()
        if not self._asked.request.stream:
            self._pieces.extend(frame.events)
            return relay.Chunk(frame.seq, (), origin, frame.attempt)
        if self._join is None:
            return frame
        events = [shown for event in frame.events for shown in self._join.take(event)]
        if not events:
            self._journal.saw(origin)
            return None
        return relay.Chunk(frame.seq, tuple(events), origin, frame.attempt)

    def _all(self, usage: relay.Usage) -> relay.Usage:
        return usage if self._before is None else added(self._before, usage)

    def _broken_off(self, frame: relay.Interrupted, origin: relay.Origin) -> Broken:
        before = self._broken
        again = before is not None and origin.target in before.targets
        to_blame = is_to_blame(frame.failure, caller_gone=self._part.caller_gone, again=again)
        return Broken(
            frame.failure,
            (*(before.targets if before else ()), origin.target),
            (*(before.blamed if before else ()), *((origin.target,) if to_blame else ())),
            origin.attempt,
            self._part.router,
            self._part.asks,
            self._all(self._used(frame.usage)),
        )

    def _go_on(self, broken: Broken) -> relay.Interrupted | None:
        """Asks another target; None: its answer is waited for."""
        said = "" if self._join is None else self._join.said.prefill
        if self._join is not None:
            self._join.go_on(broken.used)
            self._said_bytes = self._join.said.size_bytes
        self._broken, self._before = broken, broken.used
        self._part.close("its answer broke off")
        self._pieces, self._begun, self._origin = [], False, None
        self._journal.continuations += 1
        self._tell("answer_continued", broken, broken.cause.code)
        self._asked_s = time.monotonic()
        self._part = self._ask(self._asked.rest(broken, said))
        self._parts.append(self._part)
        try:
            self._part.publish()
        except AskFailed as error:
            return self._given_up(broken, error)
        return None

    def _given_up(self, broken: Broken, error: AskFailed) -> relay.Interrupted:
        """Nobody goes on with it: the client is told why it broke off, the log why it stays so."""
        self._tell("answer_not_continued", broken, error.failure.code)
        self._journal.attempts = broken.attempts + len(error.tried)
        return relay.Interrupted(0, broken.cause, broken.used)

    def _used(self, usage: relay.Usage) -> relay.Usage:
        """As its caller told; of one that is gone, what came of it."""
        if usage != relay.Usage():
            return usage
        size_bytes = sum(map(len, self._pieces))
        if self._join is not None:
            size_bytes = self._join.said.size_bytes - self._said_bytes
        output_tokens = -(-size_bytes // BYTES_PER_TOKEN)
        return relay.Usage(self._asked.request.input_estimate_tokens, output_tokens, estimated=True)

    def _tell_of_lost(self, frame: relay.Interrupted, origin: relay.Origin) -> None:
        """Its caller can't; its own part of the usage, of which the request's row has the sum."""
        request, journal = self._asked.request, self._journal
        lost = Lost(
            origin,
            self._part.router,
            frame.failure,
            self._used(frame.usage),
            journal.at_ns(self._asked_s),
            journal.at_ns(time.monotonic()),
        )
        journal.tell_of_attempt(lost_answer(request, lost, journal.span, request.door))

    def _tell(self, event: str, broken: Broken, code: str) -> None:
        log_event(
            log,
            event,
            level=logging.WARNING,
            trace=self._journal.span,
            request_id=self._asked.request.request_id,
            target=broken.targets[-1],
            code=code,
        )
